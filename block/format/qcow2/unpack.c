/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compressed clusters: reading.
 *
 * Who reads part of a cluster will want the rest, so such clusters are kept, inflated, by the place
 * of their stream.  A stream never changes: its place is given to another only when no request can
 * still look for the first (R4), and then qcow2_unpacked_drop() forgets it.
 */
#include "qemu/osdep.h"

#include "block/thread-pool.h"
#include "qcow2.h"

/* ---- inflating ----------------------------------------------------------------------------- */

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

/* Read the stream and inflate it into the cluster_size bytes at @cluster. */
static int coroutine_fn co_unpack(BlockDriverState *bs, uint64_t host_offset, uint32_t packed_len,
                                  uint8_t *cluster)
{
    Qcow2State *s = bs->opaque;
    g_autofree uint8_t *packed = g_try_malloc(packed_len);
    UnpackTask task = { s->codec, cluster, s->cluster_size, packed, packed_len };
    int ret;

    if (!packed) {
        return -ENOMEM;
    }
    if (host_offset > (uint64_t)BDRV_MAX_LENGTH - packed_len) {
        return -EIO;
    }
    BLKDBG_CO_EVENT(bs->file, READ_COMPRESSED);
    /* The stream may end before its last sector, at the end of the file: zeroes do no harm. */
    ret = bdrv_co_pread(bs->file, host_offset, packed_len, packed, 0);
    return ret < 0 ? ret : thread_pool_submit_co(unpack, &task);
}

/* ---- the clusters inflated last ------------------------------------------------------------ */

#define MAX_UNPACKED_BYTES (4 * MiB)
#define MAX_UNPACKED 64
#define MIN_UNPACKED 2

typedef struct UnpackedCluster {
    uint64_t host_offset;   /* of the stream */
    uint32_t packed_len;
    int ret;                /* 1: being inflated; 0: @data is there; or a negative errno */
    unsigned users;
    bool is_forgotten;      /* not on the list any more */
    uint8_t *data;
    CoQueue waiters;        /* for @ret to be no longer 1 */
    QTAILQ_ENTRY(UnpackedCluster) next;
} UnpackedCluster;

struct Qcow2Unpacked {
    QemuMutex lock;
    unsigned n, max;
    QTAILQ_HEAD(, UnpackedCluster) lru; /* most recently used at the head */
};

Qcow2Unpacked *qcow2_unpacked_new(uint32_t cluster_size)
{
    Qcow2Unpacked *cache = g_new0(Qcow2Unpacked, 1);

    qemu_mutex_init(&cache->lock);
    QTAILQ_INIT(&cache->lru);
    cache->max = MAX(MIN(MAX_UNPACKED_BYTES / cluster_size, MAX_UNPACKED), MIN_UNPACKED);
    return cache;
}

static void cluster_free(UnpackedCluster *cluster)
{
    g_free(cluster->data);
    g_free(cluster);
}

/* Lock held. */
static void cluster_forget(Qcow2Unpacked *cache, UnpackedCluster *cluster)
{
    QTAILQ_REMOVE(&cache->lru, cluster, next);
    cache->n--;
    cluster->is_forgotten = true;
    if (cluster->users == 0) {
        cluster_free(cluster);
    }
}

void qcow2_unpacked_free(Qcow2Unpacked *cache)
{
    UnpackedCluster *cluster, *next;

    if (!cache) {
        return;
    }
    QTAILQ_FOREACH_SAFE(cluster, &cache->lru, next, next) {
        assert(cluster->users == 0);
        cluster_forget(cache, cluster);
    }
    qemu_mutex_destroy(&cache->lock);
    g_free(cache);
}

void qcow2_unpacked_drop(Qcow2Unpacked *cache, uint64_t host_offset, uint64_t bytes)
{
    UnpackedCluster *cluster, *next;

    QEMU_LOCK_GUARD(&cache->lock);
    QTAILQ_FOREACH_SAFE(cluster, &cache->lru, next, next) {
        if (cluster->host_offset < host_offset + bytes &&
            host_offset < cluster->host_offset + cluster->packed_len) {
            cluster_forget(cache, cluster);
        }
    }
}

/* Lock held. */
static UnpackedCluster *find_cluster(Qcow2Unpacked *cache, const Qcow2Mapping *map)
{
    UnpackedCluster *cluster;

    QTAILQ_FOREACH(cluster, &cache->lru, next) {
        if (cluster->host_offset == map->host_offset && cluster->packed_len == map->packed_len) {
            QTAILQ_REMOVE(&cache->lru, cluster, next);
            QTAILQ_INSERT_HEAD(&cache->lru, cluster, next);
            cluster->users++;
            return cluster;
        }
    }
    return NULL;
}

/* Lock held.  A new one, being inflated by the caller. */
static UnpackedCluster *add_cluster(Qcow2Unpacked *cache, const Qcow2Mapping *map, uint8_t *data)
{
    UnpackedCluster *cluster = g_new0(UnpackedCluster, 1), *old, *prev;

    cluster->host_offset = map->host_offset;
    cluster->packed_len = map->packed_len;
    cluster->ret = 1;
    cluster->users = 1;
    cluster->data = data;
    qemu_co_queue_init(&cluster->waiters);
    QTAILQ_FOREACH_REVERSE_SAFE(old, &cache->lru, next, prev) {
        if (cache->n < cache->max) {
            break;
        }
        if (old->users == 0) {
            cluster_forget(cache, old);
        }
    }
    QTAILQ_INSERT_HEAD(&cache->lru, cluster, next);
    cache->n++;
    return cluster;
}

static void put_cluster(Qcow2Unpacked *cache, UnpackedCluster *cluster)
{
    QEMU_LOCK_GUARD(&cache->lock);
    if (--cluster->users == 0 && cluster->is_forgotten) {
        cluster_free(cluster);
    }
}

/* The cluster, inflated, once however many ask; to be put. */
static int coroutine_fn co_get_cluster(BlockDriverState *bs, const Qcow2Mapping *map,
                                       UnpackedCluster **result)
{
    Qcow2State *s = bs->opaque;
    Qcow2Unpacked *cache = s->unpacked;
    UnpackedCluster *cluster;
    uint8_t *data;
    int ret;

    qemu_mutex_lock(&cache->lock);
    cluster = find_cluster(cache, map);
    if (cluster) {
        while (cluster->ret == 1) {
            qemu_co_queue_wait(&cluster->waiters, &cache->lock);
        }
        qemu_mutex_unlock(&cache->lock);
        *result = cluster;
        return cluster->ret;
    }
    data = g_try_malloc(s->cluster_size);
    if (!data) {
        qemu_mutex_unlock(&cache->lock);
        *result = NULL;
        return -ENOMEM;
    }
    cluster = *result = add_cluster(cache, map, data);
    qemu_mutex_unlock(&cache->lock);

    ret = co_unpack(bs, map->host_offset, map->packed_len, cluster->data);

    qemu_mutex_lock(&cache->lock);
    cluster->ret = ret;
    if (ret < 0 && !cluster->is_forgotten) {
        cluster_forget(cache, cluster);
    }
    qemu_co_queue_restart_all(&cluster->waiters);
    qemu_mutex_unlock(&cache->lock);
    return ret;
}

/* ---- reading ------------------------------------------------------------------------------- */

uint8_t *qcow2_piece_of(const QEMUIOVector *qiov, size_t qiov_offset, size_t bytes)
{
    for (int i = 0; i < qiov->niov; i++) {
        if (qiov_offset < qiov->iov[i].iov_len) {
            bool fits = qiov->iov[i].iov_len - qiov_offset >= bytes;

            return fits ? (uint8_t *)qiov->iov[i].iov_base + qiov_offset : NULL;
        }
        qiov_offset -= qiov->iov[i].iov_len;
    }
    return NULL;
}

/* Whether the cluster is there already, or has to be kept since more of it will be wanted. */
static bool goes_through_cache(const Qcow2State *s, const Qcow2Mapping *map, bool is_whole)
{
    Qcow2Unpacked *cache = s->unpacked;
    UnpackedCluster *cluster;

    if (!is_whole) {
        return true;
    }
    QEMU_LOCK_GUARD(&cache->lock);
    cluster = find_cluster(cache, map);
    if (cluster) {
        cluster->users--;
    }
    return cluster;
}

int coroutine_fn qcow2_co_read_compressed(BlockDriverState *bs, const Qcow2Mapping *map,
                                          uint32_t in_cluster, int64_t bytes, QEMUIOVector *qiov,
                                          size_t qiov_offset)
{
    Qcow2State *s = bs->opaque;
    uint8_t *dst = bytes == s->cluster_size ? qcow2_piece_of(qiov, qiov_offset, bytes) : NULL;
    UnpackedCluster *cluster;
    int ret;

    if (!goes_through_cache(s, map, dst)) {
        return co_unpack(bs, map->host_offset, map->packed_len, dst);
    }
    ret = co_get_cluster(bs, map, &cluster);
    if (ret >= 0) {
        qemu_iovec_from_buf(qiov, qiov_offset, cluster->data + in_cluster, bytes);
    }
    if (cluster) {
        put_cluster(s->unpacked, cluster);
    }
    return ret;
}
