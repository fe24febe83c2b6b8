/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compressed clusters: reading. */
#include "qemu/osdep.h"

#include "block/thread-pool.h"
#include "qcow2.h"

/* What a worker gets. */
typedef struct UnpackTask {
    CodecKind codec;
    void *dst;
    size_t dst_len;
    const void *src;
    size_t src_len;
} UnpackTask;

static int unpack(void *opaque)
{
    const UnpackTask *task = opaque;

    return codec_decompress(task->codec, task->dst, task->dst_len, task->src, task->src_len);
}

int coroutine_fn qcow2_co_read_compressed(BlockDriverState *bs, const Qcow2Mapping *map,
                                          uint32_t in_cluster, int64_t bytes, QEMUIOVector *qiov,
                                          size_t qiov_offset)
{
    Qcow2State *s = bs->opaque;
    g_autofree uint8_t *packed = g_try_malloc(map->packed_len);
    g_autofree uint8_t *cluster = g_try_malloc(s->cluster_size);
    UnpackTask task = { s->codec, cluster, s->cluster_size, packed, map->packed_len };
    int ret;

    if (!packed || !cluster) {
        return -ENOMEM;
    }
    if (map->host_offset > (uint64_t)BDRV_MAX_LENGTH - map->packed_len) {
        return -EIO;
    }
    BLKDBG_CO_EVENT(bs->file, READ_COMPRESSED);
    /* The stream may end before its last sector, at the end of the file: zeroes do no harm. */
    ret = bdrv_co_pread(bs->file, map->host_offset, map->packed_len, packed, 0);
    if (ret < 0) {
        return ret;
    }
    ret = thread_pool_submit_co(unpack, &task);
    if (ret < 0) {
        return ret;
    }
    qemu_iovec_from_buf(qiov, qiov_offset, cluster + in_cluster, bytes);
    return 0;
}
