/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compressed clusters: writing.
 *
 * A request is cut into batches.  The clusters of a batch are compressed by the workers, all at the
 * same time; then the batch waits for its turn and takes room for all of them: streams in the bytes
 * behind the last stream, what cannot be compressed in whole clusters.  Turns are in the order in
 * which batches began, so the same requests give the same file however many workers there are.
 * Streams that follow one another are written at once.
 *
 * While a batch has room but is not linked it is on the list of allocating writes (alloc.c), and
 * waits for nobody.
 */
#include "qemu/osdep.h"

#include "block/thread-pool.h"
#include "qcow2.h"
#include "qemu/atomic.h"
#include "qemu/iov.h"

/* Clusters in one batch, in one worker's task, and streams in one write. */
#define BATCH_BYTES (2 * MiB)
#define TASK_BYTES (64 * KiB)
#define MAX_JOINED 512

typedef struct PackedCluster {
    uint64_t host_offset;
    ssize_t len; /* of the stream; -ENOSPC: is to be stored as it is; or another error */
} PackedCluster;

typedef struct Batch {
    BlockDriverState *bs;
    int64_t offset;
    uint32_t n;                /* clusters */
    const uint8_t *data;       /* that many whole ones */
    uint8_t *packed;           /* the stream of each, cluster_size bytes apart */
    PackedCluster *clusters;
    uint64_t ticket;
    unsigned nb_tasks;         /* not finished */
    Coroutine *co;
    Qcow2Alloc alloc;
} Batch;

/* ---- compressing --------------------------------------------------------------------------- */

/* What a worker gets. */
typedef struct PackTask {
    Batch *batch;
    uint32_t first, n; /* clusters */
} PackTask;

static int pack(void *opaque)
{
    const PackTask *task = opaque;
    Batch *batch = task->batch;
    const Qcow2State *s = batch->bs->opaque;

    for (uint32_t i = task->first; i < task->first + task->n; i++) {
        size_t at = (size_t)i << s->cluster_bits;

        batch->clusters[i].len = codec_compress(s->codec, batch->packed + at, s->cluster_size - 1,
                                                batch->data + at, s->cluster_size);
    }
    return 0;
}

static void pack_done(void *opaque, int ret)
{
    Batch *batch = opaque;

    if (--batch->nb_tasks == 0) {
        aio_co_wake(batch->co);
    }
}

static int coroutine_fn co_pack(Batch *batch)
{
    const Qcow2State *s = batch->bs->opaque;
    uint32_t per_task = MAX(TASK_BYTES >> s->cluster_bits, 1);
    uint32_t nb_tasks = DIV_ROUND_UP(batch->n, per_task);
    g_autofree PackTask *tasks = g_new(PackTask, nb_tasks);

    batch->co = qemu_coroutine_self();
    batch->nb_tasks = nb_tasks;
    for (uint32_t i = 0; i < nb_tasks; i++) {
        uint32_t first = i * per_task;

        tasks[i] = (PackTask){ batch, first, MIN(per_task, batch->n - first) };
        thread_pool_submit_aio(pack, &tasks[i], pack_done, batch);
    }
    qemu_coroutine_yield();
    for (uint32_t i = 0; i < batch->n; i++) {
        ssize_t len = batch->clusters[i].len;

        if (len < 0 && len != -ENOSPC) {
            return len;
        }
    }
    return 0;
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
        qemu_iovec_add(qiov, is_stream(cluster) ? batch->packed + at : (void *)batch->data + at,
                       stored_len(s, cluster));
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

/* The guest's data as whole clusters: where it is, or a copy in *@copy. */
static int take_data(Batch *batch, QEMUIOVector *qiov, size_t qiov_offset, int64_t bytes,
                     uint8_t **copy)
{
    const Qcow2State *s = batch->bs->opaque;
    size_t whole = (size_t)batch->n << s->cluster_bits;

    *copy = g_try_malloc(whole);
    if (!*copy) {
        return -ENOMEM;
    }
    qemu_iovec_to_buf(qiov, qiov_offset, *copy, bytes);
    memset(*copy + bytes, 0, whole - bytes);
    batch->data = *copy;
    return 0;
}

static int coroutine_fn co_write_batch(Batch *batch, QEMUIOVector *qiov, size_t qiov_offset,
                                       int64_t bytes)
{
    Qcow2State *s = batch->bs->opaque;
    g_autofree PackedCluster *clusters = g_new0(PackedCluster, batch->n);
    g_autofree uint8_t *packed = g_try_malloc((size_t)batch->n << s->cluster_bits);
    g_autofree uint8_t *copy = NULL;
    int ret = packed ? take_data(batch, qiov, qiov_offset, bytes, &copy) : -ENOMEM;

    batch->clusters = clusters;
    batch->packed = packed;
    if (ret >= 0) {
        ret = co_pack(batch);
    }
    qemu_co_mutex_lock(&s->lock);
    ret = co_take_turn(batch, ret);
    qemu_co_mutex_unlock(&s->lock);
    if (ret < 0) {
        return ret;
    }
    ret = co_write_clusters(batch);
    qemu_co_mutex_lock(&s->lock);
    ret = co_finish(batch, ret);
    qemu_co_mutex_unlock(&s->lock);
    return qcow2_co_after_step(batch->bs, ret);
}

int coroutine_fn qcow2_co_pwritev_compressed(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                             QEMUIOVector *qiov, size_t qiov_offset)
{
    Qcow2State *s = bs->opaque;
    int64_t end = offset + bytes;
    int ret;

    if (s->has_data_file) {
        return -ENOTSUP;
    }
    if (qcow2_offset_in_cluster(s, offset) ||
        (qcow2_offset_in_cluster(s, end) && end != qatomic_read(&bs->total_bytes))) {
        return -EINVAL;
    }
    ret = qcow2_co_before_change(bs);
    while (offset < end && ret >= 0) {
        int64_t n = MIN(end - offset, MAX(BATCH_BYTES, s->cluster_size));
        Batch batch = {
            .bs = bs,
            .offset = offset,
            .n = qcow2_nb_clusters(s, n),
        };

        qemu_co_mutex_lock(&s->lock);
        batch.ticket = s->pack_tickets++;
        qemu_co_mutex_unlock(&s->lock);
        ret = co_write_batch(&batch, qiov, qiov_offset, n);
        offset += n;
        qiov_offset += n;
    }
    return ret;
}
