/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copying with a bitmap of what is left.  Who copies what: copy-int.h. */
#include "qemu/osdep.h"

#include "copy-int.h"
#include "qemu/atomic.h"

#define DEFAULT_CLUSTER (64 * KiB)
#define DEFAULT_CHUNK (1 * MiB)
#define MAX_CHUNK (16 * MiB)
#define MAX_CLUSTER (1 * GiB)
/* Data goes in pieces that are worth a call each to the host, or as clusters of the target. */
#define MIN_BUFFER (1 * MiB)
#define MAX_BUFFER (2 * MiB)
/* ... and is read in parts that a page cache gives at once, without a thread. */
#define CACHED_READ (256 * KiB)
/* What is in memory is copied best by a few; each piece that takes long brings one more. */
#define FIRST_WORKERS 4
#define LONG_NS (20 * SCALE_MS)

/* ---- life ------------------------------------------------------------------------------------ */

/* Returns 0 with @errp set if there is none. */
static int64_t choose_cluster_size(const BlockCopyArgs *args, Error **errp)
{
    BlockDriverState *bs = (args->target ? args->target : args->source)->bs;
    uint64_t min = args->min_cluster_size;
    BlockDriverInfo info = { 0 };

    if (args->cluster_size) {
        return args->cluster_size;
    }
    if (min & (min - 1)) {
        error_setg(errp, "min-cluster-size needs to be a power of 2");
        return 0;
    }
    if (min > MAX_CLUSTER) {
        error_setg(errp, "min-cluster-size too large: %" PRIu64 " > %" PRId64, min,
                   (int64_t)MAX_CLUSTER);
        return 0;
    }
    /* Smaller units would make the target copy parts of its own clusters. */
    if (bdrv_get_info(bs, &info) < 0 || info.cluster_size < 0) {
        info.cluster_size = 0;
    }
    return MAX(MAX(DEFAULT_CLUSTER, min), MIN(pow2ceil(info.cluster_size), MAX_CLUSTER));
}

/* The bitmap of what is left, as @args say. */
static BdrvDirtyBitmap *make_bitmap(const BlockCopyArgs *args, int64_t cluster_size, int64_t bytes,
                                    Error **errp)
{
    BdrvDirtyBitmap *left = bdrv_create_dirty_bitmap(args->source->bs, cluster_size, NULL, errp);

    if (!left) {
        return NULL;
    }
    bdrv_disable_dirty_bitmap(left);
    if (!args->bitmap) {
        if (!args->start_clean) {
            bdrv_set_dirty_bitmap(left, 0, bytes);
        }
    } else if (!bdrv_merge_dirty_bitmap(left, args->bitmap, NULL, errp)) {
        bdrv_release_dirty_bitmap(left);
        return NULL;
    }
    return left;
}

BlockCopyState *block_copy_state_new(const BlockCopyArgs *args, Error **errp)
{
    BlockDriverState *bs = args->source->bs;
    int64_t cluster_size = choose_cluster_size(args, errp);
    int64_t bytes = bdrv_getlength(bs);
    BlockCopyState *state;
    BdrvDirtyBitmap *left;

    if (!cluster_size) {
        return NULL;
    }
    left = make_bitmap(args, cluster_size, bytes, errp);
    if (!left) {
        return NULL;
    }

    state = g_new0(BlockCopyState, 1);
    state->source = args->source;
    state->target = args->target;
    state->source_bs = bdrv_ref(bs);
    state->cluster_size = cluster_size;
    state->bytes = bytes;
    state->discard_source = args->discard_source;
    state->bottom = args->bottom ? bdrv_ref(args->bottom) : NULL;
    state->is_compressed = args->compress;
    state->no_copy_range = !args->use_copy_range || args->compress;
    state->sharing.is_off = !args->share || args->compress;
    /* Fleecing: the target's backing chain reads what we write about; no reader in between. */
    if (args->target && bdrv_chain_contains(args->target->bs, bs)) {
        state->write_flags = BDRV_REQ_SERIALISING;
    }
    state->zero_flags = state->write_flags | (args->keep_allocated ? 0 : BDRV_REQ_MAY_UNMAP);
    state->left = left;
    buffer_pool_init(&state->buffers, bdrv_opt_mem_align(bs),
                     MAX(MIN_BUFFER, MIN(cluster_size, MAX_BUFFER)));
    qemu_mutex_init(&state->lock);
    QLIST_INIT(&state->tasks);
    return state;
}

void block_copy_state_free(BlockCopyState *state)
{
    if (state) {
        assert(QLIST_EMPTY(&state->tasks));
        bdrv_release_dirty_bitmap(state->left);
        buffer_pool_done(&state->buffers);
        bdrv_unref(state->source_bs);
        bdrv_unref(state->bottom);
        qemu_mutex_destroy(&state->lock);
        g_free(state);
    }
}

void block_copy_set_progress(BlockCopyState *state, BlockCopyProgress *cb, void *opaque)
{
    state->progress = cb;
    state->progress_opaque = opaque;
}

int64_t block_copy_cluster_size(const BlockCopyState *state)
{
    return state->cluster_size;
}

BdrvDirtyBitmap *block_copy_dirty_bitmap(BlockCopyState *state)
{
    return state->left;
}

/* ---- copying one piece ----------------------------------------------------------------------- */

/* Let others run. */
static void coroutine_fn co_give_way(void)
{
    aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
    qemu_coroutine_yield();
}

static int coroutine_fn co_read(BlockCopyState *state, int64_t offset, int64_t bytes, uint8_t *buf)
{
    bool direct = state->source->bs->open_flags & BDRV_O_NOCACHE;
    int64_t step = direct ? bytes : CACHED_READ;
    int ret = 0;

    for (int64_t done = 0; done < bytes && ret >= 0; done += step) {
        if (done > 0) {
            co_give_way();
        }
        ret = bdrv_co_pread(state->source, offset + done, MIN(step, bytes - done), buf + done, 0);
    }
    return ret;
}

static int coroutine_fn co_copy_by_buffer(BlockCopyState *state, const CopyTask *task,
                                          int64_t offset, int64_t bytes, bool *error_is_read)
{
    uint8_t *buf = buffer_pool_get(&state->buffers);
    int ret;

    *error_is_read = true;
    if (!buf) {
        return -ENOMEM;
    }
    ret = co_read(state, offset, bytes, buf);
    if (ret >= 0) {
        *error_is_read = false;
        copy_task_co_wait_turn(state, task);
        ret = bdrv_co_pwrite(state->target, offset, bytes, buf,
                             state->write_flags |
                             (state->is_compressed ? BDRV_REQ_WRITE_COMPRESSED : 0));
    }
    buffer_pool_put(&state->buffers, buf);
    return ret;
}

/* False: read and write.  Whatever went wrong, that will tell it exactly. */
static bool coroutine_fn co_offload(BlockCopyState *state, const CopyTask *task, int64_t offset,
                                    int64_t bytes)
{
    bool shares = block_sharing_suits(&state->sharing, bytes);
    int ret;

    if (!shares && qatomic_read(&state->no_copy_range)) {
        return false;
    }
    copy_task_co_wait_turn(state, task);
    ret = bdrv_co_copy_range(state->source, offset, state->target, offset, bytes,
                             state->write_flags | (shares ? BDRV_REQ_NO_FALLBACK : 0));
    if (shares) {
        return block_sharing_done(&state->sharing, ret);
    }
    if (ret < 0) {
        qatomic_set(&state->no_copy_range, true);
    }
    return ret >= 0;
}

static int coroutine_fn co_copy_data(BlockCopyState *state, const CopyTask *task, int64_t offset,
                                     int64_t bytes, bool *error_is_read)
{
    if (co_offload(state, task, offset, bytes)) {
        return 0;
    }
    while (bytes > 0) {
        int64_t n = MIN(bytes, (int64_t)state->buffers.size);
        int ret = co_copy_by_buffer(state, task, offset, n, error_is_read);

        if (ret < 0) {
            return ret;
        }
        offset += n;
        bytes -= n;
    }
    return 0;
}

/* Status of a prefix, in whole clusters: a cluster that is mixed counts as data. */
static int coroutine_fn co_source_status(BlockCopyState *state, int64_t offset, int64_t bytes,
                                         int64_t *pnum)
{
    BlockDriverState *bs = state->source->bs;
    BlockDriverState *base = state->bottom ? bdrv_filter_or_cow_bs(state->bottom) : NULL;
    int ret = bdrv_co_block_status_above(bs, base, offset, bytes, pnum, NULL, NULL, NULL);

    if (ret < 0 || *pnum == 0) {
        /* Copy it; if something is wrong, reading tells. */
        *pnum = bytes;
        return BDRV_BLOCK_ALLOCATED | BDRV_BLOCK_DATA;
    }
    if (*pnum >= bytes) {
        *pnum = bytes;
        return ret;
    }
    if (*pnum < state->cluster_size) {
        *pnum = MIN(state->cluster_size, bytes);
        return BDRV_BLOCK_ALLOCATED | BDRV_BLOCK_DATA;
    }
    *pnum = QEMU_ALIGN_DOWN(*pnum, state->cluster_size);
    return ret;
}

static int coroutine_fn co_copy_piece(BlockCopyState *state, CopyTask *task, bool *error_is_read)
{
    int64_t offset = task->offset, end = task->offset + task->bytes;

    while (offset < end) {
        int64_t n;
        int status = co_source_status(state, offset, end - offset, &n);
        int ret = 0;

        if (state->bottom && !(status & BDRV_BLOCK_ALLOCATED)) {
            /* The layers that count say nothing of it. */
        } else if (status & BDRV_BLOCK_ZERO) {
            *error_is_read = false;
            task->moved = true;
            copy_task_co_wait_turn(state, task);
            ret = bdrv_co_pwrite_zeroes(state->target, offset, n, state->zero_flags);
        } else {
            task->moved = true;
            ret = co_copy_data(state, task, offset, n, error_is_read);
        }
        if (ret < 0) {
            return ret;
        }
        offset += n;
    }
    return 0;
}

/* ---- without a target: a copy-on-read node fills itself -------------------------------------- */

/* 1: the start of the range is to be brought to the top, 0: not; for *@n bytes. */
static int coroutine_fn co_lacks(BlockDriverState *top, BlockDriverState *bottom, int64_t offset,
                                 int64_t bytes, int64_t *n)
{
    int64_t below;
    int ret = bdrv_co_is_allocated(top, offset, bytes, n);

    if (ret != 0) {
        return MIN(ret, 0);
    }
    ret = bdrv_co_is_allocated_above(top, bottom, bottom != NULL, offset, *n, &below);
    *n = MIN(*n, below);
    return ret;
}

static int coroutine_fn co_prefetch(BdrvChild *source, int64_t offset, int64_t bytes)
{
    QEMUIOVector none = { 0 };

    if (QEMU_IS_ALIGNED(offset | bytes, (int64_t)source->bs->bl.request_alignment)) {
        return bdrv_co_preadv(source, offset, bytes, &none, BDRV_REQ_PREFETCH);
    }
    QEMU_AUTO_VFREE uint8_t *buf = bdrv_try_blockalign(source->bs, bytes);

    return buf ? bdrv_co_pread(source, offset, bytes, buf, 0) : -ENOMEM;
}

static int coroutine_fn co_fill_piece(BlockCopyState *state, CopyTask *task, bool *error_is_read)
{
    BlockDriverState *top = bdrv_skip_filters(state->source->bs);
    int64_t offset = task->offset, end = task->offset + task->bytes;

    *error_is_read = true;
    while (offset < end) {
        int64_t n;
        int ret = co_lacks(top, state->bottom, offset, end - offset, &n);

        if (ret > 0) {
            task->moved = true;
            ret = co_prefetch(state->source, offset, n);
        }
        if (ret < 0) {
            return ret;
        }
        offset += n;
    }
    return 0;
}

static int coroutine_fn co_run_task(BlockCopyState *state, CopyTask *task, bool *error_is_read)
{
    int64_t bytes = task->bytes;
    int ret = state->target ? co_copy_piece(state, task, error_is_read)
                            : co_fill_piece(state, task, error_is_read);

    if (ret >= 0 && state->discard_source) {
        /* Only saves space: its failure is none of ours. */
        bdrv_co_pdiscard(state->source, task->offset, bytes);
    }
    if (ret >= 0 && state->progress) {
        state->progress(state->progress_opaque, bytes, task->moved);
    }
    /* Last of all: whoever waits for the task may free the state then. */
    copy_task_end(state, task, ret);
    return ret;
}

int coroutine_fn block_copy_co_locked(BlockCopyState *state, BlockCopyLock *lock)
{
    CopyTask *task = &lock->task;
    int64_t end = MIN(task->offset + task->bytes, state->bytes);
    bool error_is_read;

    bdrv_reset_dirty_bitmap(state->left, task->offset, end - task->offset);
    return co_copy_data(state, task, task->offset, end - task->offset, &error_is_read);
}

/* ---- looking ahead --------------------------------------------------------------------------- */

#define SCAN_BYTES (1 * GiB)
#define SCAN_TURNS 256

/* Of the range, the clusters that lie in it as a whole need not be copied. */
static void forget_range(BlockCopyState *state, int64_t offset, int64_t bytes)
{
    int64_t start = QEMU_ALIGN_UP(offset, state->cluster_size);
    int64_t end = offset + bytes;

    end = end >= state->bytes ? state->bytes : QEMU_ALIGN_DOWN(end, state->cluster_size);
    if (start < end) {
        bdrv_reset_dirty_bitmap(state->left, start, end - start);
        if (state->progress) {
            state->progress(state->progress_opaque, end - start, false);
        }
    }
}

/* 1: @what concerns the start of the range, 0: not; for *@n bytes. */
static int coroutine_fn co_scan_one(BlockCopyState *state, BlockDriverState *bottom,
                                    BlockCopyScan what, int64_t offset, int64_t *n)
{
    BlockDriverState *top = bdrv_skip_filters(state->source->bs);
    int ret;

    switch (what) {
    case BLOCK_COPY_MARK_NONZERO:
        ret = bdrv_co_block_status_above(top, bottom ? bdrv_filter_or_cow_bs(bottom) : NULL, offset,
                                         *n, n, NULL, NULL, NULL);
        return ret < 0 ? ret : !(ret & BDRV_BLOCK_ZERO);
    case BLOCK_COPY_FORGET_REST:
        if (!state->target) {
            ret = co_lacks(top, bottom, offset, *n, n);
            return ret < 0 ? ret : !ret;
        }
        ret = bdrv_co_is_allocated_above(top, bottom, bottom != NULL, offset, *n, n);
        return ret < 0 ? ret : !ret;
    default:
        return bdrv_co_is_allocated_above(top, bottom, bottom != NULL, offset, *n, n);
    }
}

int coroutine_fn block_copy_co_scan(BlockCopyState *state, BlockDriverState *bottom,
                                    BlockCopyScan what, const BlockCopyAll *how, int64_t *offset)
{

    for (int turn = 1; *offset < state->bytes; turn++) {
        int64_t n = MIN(state->bytes - *offset, SCAN_BYTES);
        int ret;

        if (how->stop && how->stop(how->opaque)) {
            return 1;
        }
        ret = co_scan_one(state, bottom, what, *offset, &n);
        if (ret < 0) {
            return ret;
        }
        if (n == 0) {
            break;
        }
        if (ret && what == BLOCK_COPY_FORGET_REST) {
            forget_range(state, *offset, n);
        } else if (ret) {
            bdrv_set_dirty_bitmap(state->left, *offset, n);
        }
        *offset += n;
        if (turn % SCAN_TURNS == 0) {
            /* Status is often answered without waiting. */
            co_give_way();
        }
    }
    return 0;
}

/* ---- a range --------------------------------------------------------------------------------- */

int coroutine_fn block_copy_co_range(BlockCopyState *state, int64_t offset, int64_t bytes,
                                     bool *error_is_read)
{
    int64_t end = copy_cluster_end(state, offset + bytes);
    int ret = 0;

    offset = QEMU_ALIGN_DOWN(offset, state->cluster_size);
    while (ret >= 0 && offset < end) {
        CopyTask task, *other;

        qemu_mutex_lock(&state->lock);
        if (copy_task_begin(state, &task, offset, end, DEFAULT_CHUNK, &other)) {
            qemu_mutex_unlock(&state->lock);
            ret = co_run_task(state, &task, error_is_read);
            continue;
        }
        other = other ? other : copy_task_find(state, offset, end);
        if (!other) {
            qemu_mutex_unlock(&state->lock);
            return 0;
        }
        /* If it fails, its bits are set again, and it is our turn to copy. */
        copy_task_co_wait(state, other);
    }
    return ret;
}

void coroutine_fn block_copy_co_forget(BlockCopyState *state, int64_t offset, int64_t bytes)
{
    int64_t end = copy_cluster_end(state, offset + bytes);

    offset = QEMU_ALIGN_DOWN(offset, state->cluster_size);
    while (offset < end) {
        CopyTask *task;

        /* First nobody begins with it any more; what is under way may fail and set bits again. */
        qemu_mutex_lock(&state->lock);
        bdrv_reset_dirty_bitmap(state->left, offset, end - offset);
        task = copy_task_find(state, offset, end);
        if (!task) {
            qemu_mutex_unlock(&state->lock);
            return;
        }
        copy_task_co_wait(state, task);
    }
}

/* ---- everything ------------------------------------------------------------------------------ */

/* What the workers of one block_copy_co_all() share.  All run in one loop: no lock is needed. */
typedef struct CopyAll {
    BlockCopyState *state;
    const BlockCopyAll *how;
    int64_t max_chunk;
    Coroutine *parent; /* sleeping until the last worker ends; else NULL */
    int n_workers;
    bool stopped;
    int ret;
    bool error_is_read;
} CopyAll;

/* Under the lock: as copy_task_begin(), wherever something is left, going round the disk. */
static bool task_begin_anywhere(BlockCopyState *state, CopyTask *task, int64_t max_chunk,
                                CopyTask **other)
{
    CopyTask *ahead = NULL;
    bool found = copy_task_begin(state, task, state->cursor, state->bytes, max_chunk, &ahead);

    *other = ahead;
    if (!found && state->cursor > 0) {
        found = copy_task_begin(state, task, 0, state->cursor, max_chunk, other);
        *other = *other ? *other : ahead;
    }
    if (found) {
        state->cursor = task->offset + task->bytes;
    }
    return found;
}

/* One piece; false: nothing to do. */
static bool coroutine_fn co_copy_some(CopyAll *all)
{
    BlockCopyState *state = all->state;
    bool error_is_read;
    CopyTask task, *other;
    int ret;

    qemu_mutex_lock(&state->lock);
    if (!task_begin_anywhere(state, &task, all->max_chunk, &other)) {
        if (!other) {
            qemu_mutex_unlock(&state->lock);
            return false;
        }
        copy_task_co_wait(state, other);
        return true;
    }
    task.number = all->how->in_order ? ++state->nb_ordered : 0;
    qemu_mutex_unlock(&state->lock);
    ret = co_run_task(state, &task, &error_is_read);
    if (ret < 0 && all->ret >= 0) {
        all->ret = ret;
        all->error_is_read = error_is_read;
        state->failed_offset = task.offset;
        state->failed_bytes = task.bytes;
    }
    return true;
}

static int max_workers(const CopyAll *all)
{
    return MAX(all->how->max_workers, 1);
}

static void coroutine_fn co_copy_worker(void *opaque);

static void start_worker(CopyAll *all)
{
    aio_co_enter(qemu_get_current_aio_context(), qemu_coroutine_create(co_copy_worker, all));
}

static void coroutine_fn co_copy_worker(void *opaque)
{
    CopyAll *all = opaque;
    bool more = true;

    while (more && all->ret >= 0 && !all->stopped) {
        int64_t start = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

        all->stopped = all->how->stop && all->how->stop(all->how->opaque);
        more = !all->stopped && co_copy_some(all);
        if (more && all->n_workers < max_workers(all) &&
            qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - start > LONG_NS) {
            all->n_workers++;
            start_worker(all);
        }
    }
    if (--all->n_workers == 0 && all->parent) {
        aio_co_wake(all->parent);
    }
}

void block_copy_drop_failed_piece(BlockCopyState *state)
{
    bdrv_reset_dirty_bitmap(state->left, state->failed_offset, state->failed_bytes);
    if (state->progress) {
        state->progress(state->progress_opaque, state->failed_bytes, false);
    }
}

/* Run the workers until none has anything to do. */
static void coroutine_fn co_run_workers(CopyAll *all)
{
    /* They may end at once: it is over when the last one begun here does. */
    all->n_workers = MIN(max_workers(all), FIRST_WORKERS);
    for (int i = all->n_workers; i > 0; i--) {
        start_worker(all);
    }
    if (all->n_workers > 0) {
        all->parent = qemu_coroutine_self();
        qemu_coroutine_yield();
        all->parent = NULL;
    }
}

/* Wait for one task of somebody else; false if there is none and nothing is left. */
static bool coroutine_fn co_more_to_do(BlockCopyState *state)
{
    CopyTask *task;

    qemu_mutex_lock(&state->lock);
    QLIST_FOREACH(task, &state->tasks, next) {
        if (!task->is_lock) {
            copy_task_co_wait(state, task);
            return true;
        }
    }
    qemu_mutex_unlock(&state->lock);
    return bdrv_get_dirty_count(state->left) > 0;
}

int coroutine_fn block_copy_co_all(BlockCopyState *state, const BlockCopyAll *how,
                                   bool *error_is_read)
{
    int64_t chunk = how->max_chunk ? MIN(how->max_chunk, MAX_CHUNK) : DEFAULT_CHUNK;
    CopyAll all = {
        .state = state,
        .how = how,
        .max_chunk = MAX(QEMU_ALIGN_DOWN(chunk, state->cluster_size), state->cluster_size),
    };

    do {
        co_run_workers(&all);
        if (all.ret < 0) {
            *error_is_read = all.error_is_read;
            return all.ret;
        }
        if (all.stopped) {
            return 1;
        }
    } while (co_more_to_do(state));
    return 0;
}
