/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compressed clusters: reading many that follow one another, for the guest and in the file.
 *
 * Their streams are read at once and inflated by as many workers as there are processors, to where
 * they are wanted.  Nothing is kept: who reads whole clusters does not come back for parts of them.
 */
#include "qemu/osdep.h"

#include "block/thread-pool.h"
#include "qcow2.h"
#include "qemu/atomic.h"

#define RUN_BYTES (2 * MiB)
#define MIN_RUN 2
#define MAX_RUN 256

/* A stream, within Run.packed. */
typedef struct Stream {
    uint32_t start, len;
} Stream;

typedef struct Run {
    CodecKind codec;
    size_t cluster_size;
    QEMUIOVector *qiov;
    size_t qiov_offset;
    uint64_t host_offset; /* of the first stream */
    uint8_t *packed;      /* all streams, as in the file */
    uint32_t packed_len;
    uint32_t n;           /* clusters */
    uint32_t nb_taken;    /* atomic: clusters that a worker inflates or inflated */
    Stream streams[MAX_RUN];
} Run;

/* ---- inflating ----------------------------------------------------------------------------- */

static int unpack_cluster(const Run *run, uint32_t i, uint8_t **spare)
{
    size_t at = run->qiov_offset + i * run->cluster_size;
    uint8_t *place = qcow2_piece_of(run->qiov, at, run->cluster_size);
    const Stream *stream = &run->streams[i];
    int ret;

    if (!place && !*spare) {
        *spare = g_try_malloc(run->cluster_size);
        if (!*spare) {
            return -ENOMEM;
        }
    }
    ret = codec_decompress(run->codec, place ?: *spare, run->cluster_size,
                           run->packed + stream->start, stream->len);
    if (ret >= 0 && !place) {
        qemu_iovec_from_buf(run->qiov, at, *spare, run->cluster_size);
    }
    return ret;
}

/* In a worker. */
static int unpack_run(void *opaque)
{
    Run *run = opaque;
    g_autofree uint8_t *spare = NULL;
    uint32_t i;
    int ret = 0;

    while (ret >= 0 && (i = qatomic_fetch_inc(&run->nb_taken)) < run->n) {
        ret = unpack_cluster(run, i, &spare);
    }
    return ret;
}

/* ---- finding ------------------------------------------------------------------------------- */

/* Is the stream where the last one ended (both may have part of a sector), or is it the first? */
static bool add_stream(Run *run, const Qcow2Mapping *map)
{
    uint64_t end = run->host_offset + run->packed_len;

    if (run->n == 0) {
        run->host_offset = end = map->host_offset;
    }
    if (map->host_offset > end || map->host_offset + map->packed_len < end ||
        map->host_offset < run->host_offset) {
        return false;
    }
    run->streams[run->n++] = (Stream){ map->host_offset - run->host_offset, map->packed_len };
    run->packed_len = map->host_offset + map->packed_len - run->host_offset;
    return true;
}

/* Lock held. */
static int coroutine_fn co_find_run(BlockDriverState *bs, int64_t offset, uint32_t max, Run *run)
{
    Qcow2State *s = bs->opaque;
    Qcow2CacheEntry *slice;
    uint32_t index;
    int ret = qcow2_co_get_slice(bs, offset, &slice, &index);

    if (ret < 0 || !slice) {
        return ret;
    }
    max = MIN(max, s->slice_entries - index);
    for (uint32_t i = 0; i < max; i++) {
        Qcow2Mapping map;

        qcow2_map_run(s, slice, index + i, offset + ((int64_t)i << s->cluster_bits),
                      s->cluster_size, &map);
        if (map.kind != QCOW2_DEFLATED || !add_stream(run, &map)) {
            break;
        }
    }
    qcow2_cache_put(slice);
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------- */

static int coroutine_fn co_read_run(BlockDriverState *bs, Run *run)
{
    g_autofree uint8_t *packed = g_try_malloc(run->packed_len);
    int ret;

    if (!packed) {
        return -ENOMEM;
    }
    if (run->host_offset > (uint64_t)BDRV_MAX_LENGTH - run->packed_len) {
        return -EIO;
    }
    run->packed = packed;
    BLKDBG_CO_EVENT(bs->file, READ_COMPRESSED);
    /* The last stream may end before its last sector, at the end of the file: zeroes do no harm. */
    ret = bdrv_co_pread(bs->file, run->host_offset, run->packed_len, packed, 0);
    return ret < 0 ? ret : thread_pool_share_co(unpack_run, run, run->n);
}

int64_t coroutine_fn qcow2_co_read_compressed_run(BlockDriverState *bs, int64_t offset,
                                                  int64_t bytes, QEMUIOVector *qiov,
                                                  size_t qiov_offset)
{
    Qcow2State *s = bs->opaque;
    int64_t max = MIN(MIN(bytes, RUN_BYTES) >> s->cluster_bits, MAX_RUN);
    g_autofree Run *run = NULL;
    int ret;

    if (max < MIN_RUN || qcow2_offset_in_cluster(s, offset)) {
        return 0;
    }
    run = g_new(Run, 1);
    *run = (Run){
        .codec = s->codec,
        .cluster_size = s->cluster_size,
        .qiov = qiov,
        .qiov_offset = qiov_offset,
    };
    qemu_co_mutex_lock(&s->lock);
    ret = co_find_run(bs, offset, max, run);
    qemu_co_mutex_unlock(&s->lock);
    if (ret < 0 || run->n < MIN_RUN) {
        return ret;
    }
    ret = co_read_run(bs, run);
    return ret < 0 ? ret : (int64_t)run->n << s->cluster_bits;
}
