/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compressed clusters: writing.
 *
 * A request is cut into batches.  The clusters of a batch are compressed by as many workers as
 * there are processors; then the batch waits for its turn and takes room for all of them: streams
 * in the bytes behind the last stream, what cannot be compressed in whole clusters.  Turns are in
 * the order in which batches began, so the same requests give the same file however many workers
 * there are.  Streams that follow one another are written at once.
 *
 * While a batch has room but is not linked it is on the list of allocating writes (alloc.c), and
 * waits for nobody.
 */
#include "qemu/osdep.h"

#include "block/thread-pool.h"
#include "qcow2.h"
#include "qemu/atomic.h"
#include "qemu/iov.h"

/* Clusters in one batch, streams in one write. */
#define BATCH_BYTES (2 * MiB)
#define MAX_JOINED 512

typedef struct PackedCluster {
    uint64_t host_offset;
    ssize_t len; /* of the stream; -ENOSPC: is to be stored as it is; or another error */
} PackedCluster;

typedef struct Batch {
    BlockDriverState *bs;
    int64_t offset, bytes;
    uint32_t n;                /* clusters */
    uint32_t nb_workers;       /* atomic: that have begun */
    uint32_t nb_taken;         /* atomic: clusters that a worker compresses or compressed */
    const QEMUIOVector *qiov;  /* the guest's data ... */
    size_t qiov_offset;        /* ... from here on */
    uint8_t *packed;           /* what is stored of each, cluster_size bytes apart; a place for
                                  each worker */
    PackedCluster *clusters;
    uint64_t ticket;
    Qcow2Alloc alloc;
} Batch;

static uint32_t batch_clusters(const Qcow2State *s)
{
    return MAX(BATCH_BYTES >> s->cluster_bits, 1);
}

/* ---- memory -------------------------------------------------------------------------------- */

/*
 * Of whole batches it is kept as long as others are under way: the system would have to clear every
 * page of it again.  Lock held.
 */
static uint8_t *take_memory(Qcow2State *s, uint32_t n)
{
    GPtrArray *spare = s->pack_spare;

    s->nb_packing++;
    if (n == batch_clusters(s) && spare->len > 0) {
        return g_ptr_array_steal_index_fast(spare, spare->len - 1);
    }
    n += MIN(n, (uint32_t)thread_pool_processors());
    return g_try_malloc((size_t)n << s->cluster_bits);
}

static void give_memory(Qcow2State *s, uint32_t n, uint8_t *memory)
{
    if (memory && n == batch_clusters(s)) {
        g_ptr_array_add(s->pack_spare, memory);
    } else {
        g_free(memory);
    }
    if (--s->nb_packing == 0) {
        g_ptr_array_set_size(s->pack_spare, 0);
    }
}

/* ---- compressing --------------------------------------------------------------------------- */

/* Cluster @i, with zeroes behind the end of the disk.  What the guest changes later is not seen. */
static void copy_cluster(const Batch *batch, uint32_t i, uint8_t *copy, uint32_t cluster_size)
{
    size_t at = (size_t)i * cluster_size;
    size_t bytes = MIN((size_t)batch->bytes - at, cluster_size);

    qemu_iovec_to_buf(batch->qiov, batch->qiov_offset + at, copy, bytes);
    memset(copy + bytes, 0, cluster_size - bytes);
}

/* In a worker. */
static int pack(void *opaque)
{
    Batch *batch = opaque;
    const Qcow2State *s = batch->bs->opaque;
    uint32_t place = batch->n + qatomic_fetch_inc(&batch->nb_workers), i;
    uint8_t *copy = batch->packed + ((size_t)place << s->cluster_bits);
    int ret = 0;

    while ((i = qatomic_fetch_inc(&batch->nb_taken)) < batch->n) {
        uint8_t *packed = batch->packed + ((size_t)i << s->cluster_bits);
        ssize_t len;

        copy_cluster(batch, i, copy, s->cluster_size);
        len = codec_compress(s->codec, packed, s->cluster_size - 1, copy, s->cluster_size);
        if (len == -ENOSPC) {
            memcpy(packed, copy, s->cluster_size);
        } else if (len < 0) {
            ret = len;
        }
        batch->clusters[i].len = len;
    }
    return ret;
}

/* No more than two at a time, so that the second has work for who is done with the first. */
static int coroutine_fn co_pack(Batch *batch)
{
    Qcow2State *s = batch->bs->opaque;
    int ret;

    qemu_co_sem_down(&s->packers);
    ret = thread_pool_share_co(pack, batch, batch->n);
    qemu_co_sem_up(&s->packers);
    return ret;
}

/* ---- room ---------------------------------------------------------------------------------- */

static bool is_stream(const PackedCluster *cluster)
{
    return cluster->len >= 0;
}

static uint32_t stored_len(const Qcow2State *s, const PackedCluster *cluster)
{
    return is_stream(cluster) ? cluster->len : s->cluster_size;
}

/* @ret is -EAGAIN: let the refcount table grow, the lock released; -EAGAIN again if it did. */
static int64_t coroutine_fn co_grow_if_asked(BlockDriverState *bs, int64_t ret)
{
    Qcow2State *s = bs->opaque;
    int grown;

    if (ret != -EAGAIN) {
        return ret;
    }
    qemu_co_mutex_unlock(&s->lock);
    grown = qcow2_refcount_co_grow(bs);
    qemu_co_mutex_lock(&s->lock);
    return grown < 0 ? grown : -EAGAIN;
}

/* Lock held. */
static int coroutine_fn co_take_room(BlockDriverState *bs, int64_t guest_offset,
                                     PackedCluster *cluster)
{
    Qcow2State *s = bs->opaque;
    Qcow2CacheEntry *slice;
    uint32_t index;
    int64_t host;

    do {
        /* The L2 table first: so the place of everything is settled in the order of turns. */
        host = qcow2_co_get_slice_for_write(bs, guest_offset, &slice, &index);
        if (host >= 0) {
            qcow2_cache_put(slice);
            host = is_stream(cluster) ? qcow2_co_alloc_bytes(bs, cluster->len)
                                      : qcow2_co_alloc_clusters(bs, 1, NULL);
        }
        host = co_grow_if_asked(bs, host);
    } while (host == -EAGAIN);
    cluster->host_offset = MAX(host, 0);
    return host < 0 ? host : qcow2_overlap_co_check(bs, host, stored_len(s, cluster));
}

/* Nothing refers to the room of clusters @first...  Lock held. */
static void coroutine_fn co_give_back(Batch *batch, uint32_t first, uint32_t end)
{
    Qcow2State *s = batch->bs->opaque;

    for (uint32_t i = first; i < end; i++) {
        PackedCluster *cluster = &batch->clusters[i];
        uint64_t start = qcow2_cluster_start(s, cluster->host_offset);
        uint64_t stop = cluster->host_offset + stored_len(s, cluster);

        if (cluster->host_offset) {
            /* At worst a leak. */
            qcow2_co_free_unused(batch->bs, start, qcow2_nb_clusters(s, stop - start));
        }
    }
}

static int coroutine_fn co_reserve(Batch *batch)
{
    Qcow2State *s = batch->bs->opaque;
    int ret = 0;

    qcow2_alloc_co_reserve(batch->bs, batch->offset, batch->n, &batch->alloc);
    for (uint32_t i = 0; i < batch->n && ret >= 0; i++) {
        ret = co_take_room(batch->bs, batch->offset + ((int64_t)i << s->cluster_bits),
                           &batch->clusters[i]);
    }
    if (ret < 0) {
        co_give_back(batch, 0, batch->n);
        qcow2_alloc_release(&batch->alloc);
    }
    return ret;
}

/* Wait for the turn, take room if there is no @error, let the next have it.  Lock held. */
static int coroutine_fn co_take_turn(Batch *batch, int error)
{
    Qcow2State *s = batch->bs->opaque;
    int ret;

    while (s->pack_turn != batch->ticket) {
        qemu_co_queue_wait(&s->pack_waiters, &s->lock);
    }
    ret = error < 0 ? error : co_reserve(batch);
    s->pack_turn++;
    qemu_co_queue_restart_all(&s->pack_waiters);
    return ret;
}

/* ---- writing ------------------------------------------------------------------------------- */

/* Clusters from @first on that are adjacent in the file, as one vector; returns their number. */
static uint32_t join_clusters(const Batch *batch, uint32_t first, QEMUIOVector *qiov)
{
    const Qcow2State *s = batch->bs->opaque;
    uint64_t end = batch->clusters[first].host_offset;
    uint32_t i;

    for (i = first; i < batch->n && i - first < MAX_JOINED; i++) {
        const PackedCluster *cluster = &batch->clusters[i];
        size_t at = (size_t)i << s->cluster_bits;

        if (cluster->host_offset != end) {
            break;
        }
        qemu_iovec_add(qiov, batch->packed + at, stored_len(s, cluster));
        end += stored_len(s, cluster);
    }
    return i - first;
}

static int coroutine_fn co_write_clusters(const Batch *batch)
{
    QEMUIOVector qiov;
    int ret = 0;

    qemu_iovec_init(&qiov, MIN(batch->n, MAX_JOINED));
    for (uint32_t i = 0, n; i < batch->n && ret >= 0; i += n) {
        qemu_iovec_reset(&qiov);
        n = join_clusters(batch, i, &qiov);
        BLKDBG_CO_EVENT(batch->bs->file, WRITE_COMPRESSED);
        ret = bdrv_co_pwritev(batch->bs->file, batch->clusters[i].host_offset, qiov.size, &qiov, 0);
    }
    qemu_iovec_destroy(&qiov);
    return ret;
}

/* Make cluster @i's entry refer to its room.  Lock held. */
static int coroutine_fn co_link_cluster(Batch *batch, uint32_t i)
{
    BlockDriverState *bs = batch->bs;
    Qcow2State *s = bs->opaque;
    const PackedCluster *cluster = &batch->clusters[i];
    Qcow2CacheEntry *slice;
    uint32_t index;
    uint64_t old;
    int ret;

    do {
        ret = qcow2_co_get_slice_for_write(bs, batch->offset + ((int64_t)i << s->cluster_bits),
                                           &slice, &index);
        ret = co_grow_if_asked(bs, ret);
    } while (ret == -EAGAIN);
    if (ret < 0) {
        return ret;
    }
    old = qcow2_slice_get(s, slice, index);
    qcow2_slice_set(s, slice, index,
                    is_stream(cluster)
                        ? qcow2_packed_entry(s, cluster->host_offset, cluster->len)
                        : cluster->host_offset | QCOW2_COPIED);
    if (s->is_extended_l2) {
        qcow2_slice_set_bitmap(s, slice, index, is_stream(cluster) ? 0 : QCOW2_SUB_DATA);
    }
    qcow2_free_l2_entry(bs, old, QCOW2_DISCARD_NEVER);
    qcow2_cache_put(slice);
    return 0;
}

/* Link all if the data was written, else (@error) none.  Lock held. */
static int coroutine_fn co_finish(Batch *batch, int error)
{
    int ret = error;
    uint32_t linked = 0;

    while (ret >= 0 && linked < batch->n) {
        ret = co_link_cluster(batch, linked);
        linked += ret >= 0;
    }
    co_give_back(batch, linked, batch->n);
    qcow2_alloc_release(&batch->alloc);
    return ret;
}

/* ---- requests ------------------------------------------------------------------------------ */

static int coroutine_fn co_write_batch(Batch *batch)
{
    Qcow2State *s = batch->bs->opaque;
    g_autofree PackedCluster *clusters = g_new0(PackedCluster, batch->n);
    int ret = -ENOMEM;

    batch->clusters = clusters;
    qemu_co_mutex_lock(&s->lock);
    batch->ticket = s->pack_tickets++;
    batch->packed = take_memory(s, batch->n);
    qemu_co_mutex_unlock(&s->lock);
    if (batch->packed) {
        ret = co_pack(batch);
    }
    qemu_co_mutex_lock(&s->lock);
    ret = co_take_turn(batch, ret);
    if (ret >= 0) {
        qemu_co_mutex_unlock(&s->lock);
        ret = co_write_clusters(batch);
        qemu_co_mutex_lock(&s->lock);
        ret = co_finish(batch, ret);
    }
    give_memory(s, batch->n, batch->packed);
    qemu_co_mutex_unlock(&s->lock);
    return qcow2_co_after_step(batch->bs, ret);
}

int coroutine_fn qcow2_co_pwritev_compressed(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                             QEMUIOVector *qiov, size_t qiov_offset)
{
    Qcow2State *s = bs->opaque;
    int64_t end = offset + bytes;
    int ret;

    if (s->has_data_file || s->header.crypt_method) {
        return -ENOTSUP; /* streams would be stored for everybody to read */
    }
    if (qcow2_offset_in_cluster(s, offset) ||
        (qcow2_offset_in_cluster(s, end) && end != qatomic_read(&bs->total_bytes))) {
        return -EINVAL;
    }
    ret = qcow2_co_before_change(bs);
    while (offset < end && ret >= 0) {
        int64_t n = MIN(end - offset, (int64_t)batch_clusters(s) << s->cluster_bits);
        Batch batch = {
            .bs = bs,
            .offset = offset,
            .bytes = n,
            .n = qcow2_nb_clusters(s, n),
            .qiov = qiov,
            .qiov_offset = qiov_offset,
        };

        ret = co_write_batch(&batch);
        offset += n;
        qiov_offset += n;
    }
    return ret;
}
