/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Metadata in bulk; see refarray.h. */
#include "qemu/osdep.h"

#include "qemu/bitmap.h"
#include "refarray.h"

#define MAX_WORKERS 8
/* What the page cache has of so much at once, a file gives without a thread. */
#define MAX_RUN_BYTES (256 * KiB)
/* One request for each worker, and the processor's cache still has them then. */
uint64_t qcow2_walk_window_bytes = MAX_WORKERS * MAX_RUN_BYTES;

/* ---- many clusters at once ----------------------------------------------------------------- */

/* What the workers share; all run in one loop. */
typedef struct Qcow2Pool {
    BlockDriverState *bs;
    Qcow2Place *places;
    size_t n, next;
    bool is_write;
    unsigned running;
    Coroutine *waiter;
    int ret;
} Qcow2Pool;

/* Places from @first on that are adjacent in the file and in memory. */
static size_t run_length(const Qcow2Pool *pool, size_t first)
{
    uint32_t unit = ((Qcow2State *)pool->bs->opaque)->cluster_size;
    const Qcow2Place *start = &pool->places[first];
    size_t max = MIN(MAX(MAX_RUN_BYTES / unit, 1), pool->n - first), len = 1;

    while (len < max && start[len].offset == start->offset + (uint64_t)len * unit &&
           start[len].buf == start->buf + len * unit) {
        len++;
    }
    return len;
}

static int coroutine_fn co_do_run(const Qcow2Pool *pool, size_t first, size_t len)
{
    uint32_t unit = ((Qcow2State *)pool->bs->opaque)->cluster_size;
    const Qcow2Place *place = &pool->places[first];
    int64_t bytes = (int64_t)len * unit;

    return pool->is_write ? bdrv_co_pwrite(pool->bs->file, place->offset, bytes, place->buf, 0)
                          : bdrv_co_pread(pool->bs->file, place->offset, bytes, place->buf, 0);
}

static void coroutine_fn co_worker(void *opaque)
{
    Qcow2Pool *pool = opaque;

    while (pool->next < pool->n) {
        size_t first = pool->next, len = run_length(pool, first);
        int ret;

        pool->next += len;
        ret = co_do_run(pool, first, len);
        for (size_t i = first; i < first + len; i++) {
            /* Which of them was it? */
            pool->places[i].ret = ret < 0 && len > 1 ? co_do_run(pool, i, 1) : ret;
            if (pool->places[i].ret < 0 && pool->ret == 0) {
                pool->ret = pool->places[i].ret;
            }
        }
    }
    if (--pool->running == 0 && pool->waiter) {
        aio_co_wake(pool->waiter);
    }
}

/* One that starts late finds nothing left; the count is complete when we wait. */
static void coroutine_fn co_start(Qcow2Pool *pool)
{
    for (unsigned i = 0; i < MAX_WORKERS && pool->next < pool->n; i++) {
        pool->running++;
        qemu_coroutine_enter(qemu_coroutine_create(co_worker, pool));
    }
}

static int coroutine_fn co_wait(Qcow2Pool *pool)
{
    if (pool->running > 0) {
        pool->waiter = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
    return pool->ret;
}

static int coroutine_fn co_do_places(BlockDriverState *bs, Qcow2Place *places, size_t n,
                                     bool is_write)
{
    Qcow2Pool pool = { .bs = bs, .places = places, .n = n, .is_write = is_write };

    co_start(&pool);
    return co_wait(&pool);
}

int coroutine_fn qcow2_co_read_places(BlockDriverState *bs, Qcow2Place *places, size_t n)
{
    return co_do_places(bs, places, n, false);
}

int coroutine_fn qcow2_co_write_places(BlockDriverState *bs, Qcow2Place *places, size_t n)
{
    return co_do_places(bs, places, n, true);
}

/* ---- the array ----------------------------------------------------------------------------- */

uint64_t qcow2_refarray_used_blocks(const Qcow2State *s)
{
    uint64_t n = s->reftable.size;

    while (n > 0 && !(s->reftable.entries[n - 1] & QCOW2_REFTABLE_MASK)) {
        n--;
    }
    return n;
}

static uint8_t *array_counts(BlockDriverState *bs, uint64_t nb_blocks)
{
    Qcow2State *s = bs->opaque;

    if (nb_blocks > SIZE_MAX / 2 / s->cluster_size) {
        return NULL;
    }
    return qemu_try_memalign_large(bdrv_opt_mem_align(bs->file->bs),
                                   MAX(nb_blocks, 1) * s->cluster_size);
}

static void mark_bad(Qcow2RefArray *array, uint64_t block)
{
    set_bit(block, array->bad);
    array->nb_bad++;
    memset(array->counts + block * array->block_bytes, 0, array->block_bytes);
}

/* Read the blocks that there are, zero the others. */
static bool coroutine_fn co_fill(BlockDriverState *bs, Qcow2RefArray *array)
{
    Qcow2State *s = bs->opaque;
    int64_t file_len = bdrv_co_getlength(bs->file->bs);
    g_autofree Qcow2Place *places = g_try_new(Qcow2Place, MAX(array->nb_blocks, 1));
    size_t n = 0;

    if (!places) {
        return false;
    }
    for (uint64_t i = 0; i < array->nb_blocks; i++) {
        uint64_t index = array->first_block + i;
        uint64_t offset = index < s->reftable.size
                              ? s->reftable.entries[index] & QCOW2_REFTABLE_MASK : 0;
        uint8_t *buf = array->counts + i * array->block_bytes;

        if (!offset) {
            memset(buf, 0, array->block_bytes);
        } else if (qcow2_offset_in_cluster(s, offset) || file_len < 0 ||
                   offset >= (uint64_t)file_len) {
            mark_bad(array, i);
        } else {
            places[n++] = (Qcow2Place){ .offset = offset, .buf = buf };
        }
    }
    array->read_error = qcow2_co_read_places(bs, places, n);
    for (size_t i = 0; i < n; i++) {
        if (places[i].ret < 0) {
            mark_bad(array, (places[i].buf - array->counts) / array->block_bytes);
        }
    }
    return true;
}

Qcow2RefArray *coroutine_fn qcow2_refarray_co_load(BlockDriverState *bs, uint64_t first_block,
                                                   uint64_t nb_blocks)
{
    Qcow2State *s = bs->opaque;
    g_autoptr(Qcow2RefArray) array = g_new0(Qcow2RefArray, 1);

    *array = (Qcow2RefArray){
        .counts = array_counts(bs, nb_blocks),
        .first_block = first_block,
        .nb_blocks = nb_blocks,
        .first = first_block << s->refblock_bits,
        .end = (first_block + nb_blocks) << s->refblock_bits,
        .bits = s->refcount_bits,
        .max = s->refcount_max,
        .block_bits = s->refblock_bits,
        .block_bytes = s->cluster_size,
        .dirty = bitmap_try_new(MAX(nb_blocks, 1)),
        .bad = bitmap_try_new(MAX(nb_blocks, 1)),
    };
    if (!array->counts || !array->dirty || !array->bad || !co_fill(bs, array)) {
        return NULL;
    }
    return g_steal_pointer(&array);
}

void qcow2_refarray_free(Qcow2RefArray *array)
{
    if (array) {
        qemu_vfree(array->counts);
        g_free(array->dirty);
        g_free(array->bad);
        g_free(array);
    }
}

void qcow2_refarray_set(Qcow2RefArray *array, uint64_t cluster, uint64_t count)
{
    uint64_t i = cluster - array->first;

    if (array->bits == 16) {
        stw_be_p(array->counts + i * 2, count);
    } else {
        qcow2_refcount_write(array->counts, array->bits, i, count);
    }
    set_bit(i >> array->block_bits, array->dirty);
}

/* ---- walks --------------------------------------------------------------------------------- */

static uint8_t *new_window(const Qcow2Walk *walk)
{
    const Qcow2State *s = walk->bs->opaque;

    return qemu_try_memalign_large(bdrv_opt_mem_align(walk->bs->file->bs),
                                   (size_t)walk->max * s->cluster_size);
}

Qcow2Walk *qcow2_walk_new(BlockDriverState *bs, const uint64_t *l1, uint32_t size)
{
    Qcow2State *s = bs->opaque;
    Qcow2Walk *walk = g_new0(Qcow2Walk, 1);

    *walk = (Qcow2Walk){
        .bs = bs,
        .l1 = l1,
        .size = size,
        .file_len = UINT64_MAX,
        .max = MAX(MIN(qcow2_walk_window_bytes / s->cluster_size, size), 1),
    };
    walk->index = g_try_new(uint32_t, walk->max);
    walk->places = g_try_new(Qcow2Place, walk->max);
    walk->data = new_window(walk);
    if (!walk->index || !walk->places || !walk->data) {
        qcow2_walk_free(walk);
        return NULL;
    }
    return walk;
}

Qcow2Walk *qcow2_walk_new_writer(BlockDriverState *bs, const uint64_t *l1, uint32_t size)
{
    g_autoptr(Qcow2Walk) walk = qcow2_walk_new(bs, l1, size);

    if (walk) {
        walk->spare = new_window(walk);
    }
    return walk && walk->spare ? g_steal_pointer(&walk) : NULL;
}

void qcow2_walk_free(Qcow2Walk *walk)
{
    if (walk) {
        assert(!walk->writes);
        qemu_vfree(walk->spare);
        g_free(walk->index);
        g_free(walk->places);
        qemu_vfree(walk->data);
        g_free(walk);
    }
}

/* Entries for the window; the good ones are also put into @reads. */
static size_t collect_window(Qcow2Walk *walk, Qcow2Place *reads)
{
    Qcow2State *s = walk->bs->opaque;
    size_t nb_reads = 0;

    walk->n = 0;
    for (; walk->next < walk->size && walk->n < walk->max; walk->next++) {
        uint64_t offset = walk->l1[walk->next] & QCOW2_OFFSET_MASK;
        Qcow2Place *place = &walk->places[walk->n];

        if (!offset) {
            continue;
        }
        *place = (Qcow2Place){
            .offset = offset,
            .buf = walk->data + (size_t)walk->n * s->cluster_size,
        };
        if (qcow2_offset_in_cluster(s, offset) || offset >= walk->file_len) {
            place->ret = -EINVAL;
        } else {
            reads[nb_reads++] = *place;
        }
        walk->index[walk->n++] = walk->next;
    }
    return nb_reads;
}

int coroutine_fn qcow2_walk_co_next(Qcow2Walk *walk)
{
    Qcow2State *s = walk->bs->opaque;
    g_autofree Qcow2Place *reads = g_new(Qcow2Place, walk->max);
    size_t nb_reads;

    if (walk->file_len == UINT64_MAX) {
        int64_t len = bdrv_co_getlength(walk->bs->file->bs);

        walk->file_len = len < 0 ? 0 : len;
    }
    nb_reads = collect_window(walk, reads);
    qcow2_co_read_places(walk->bs, reads, nb_reads);
    for (size_t i = 0; i < nb_reads; i++) {
        walk->places[(reads[i].buf - walk->data) / s->cluster_size].ret = reads[i].ret;
    }
    return walk->n > 0;
}

int coroutine_fn qcow2_walk_co_finish(Qcow2Walk *walk)
{
    g_autofree Qcow2Pool *writes = g_steal_pointer(&walk->writes);
    int ret = 0;

    if (writes) {
        ret = co_wait(writes);
        g_free(writes->places);
    }
    return ret;
}

int coroutine_fn qcow2_walk_co_write(Qcow2Walk *walk, const Qcow2Place *places, size_t n)
{
    Qcow2Pool *writes = g_new(Qcow2Pool, 1);
    uint8_t *data = walk->data;
    int ret;

    *writes = (Qcow2Pool){
        .bs = walk->bs,
        .places = g_memdup2(places, n * sizeof(*places)),
        .n = n,
        .is_write = true,
    };
    /* First this, so that there is something to do for those that finish the other. */
    co_start(writes);
    ret = qcow2_walk_co_finish(walk);
    walk->writes = writes;
    walk->data = walk->spare;
    walk->spare = data;
    return ret;
}

uint64_t *coroutine_fn qcow2_co_read_l1(BlockDriverState *bs, uint64_t offset, uint32_t size,
                                        int *ret)
{
    g_autofree uint64_t *l1 = g_try_new(uint64_t, MAX(size, 1));

    *ret = l1 ? bdrv_co_pread(bs->file, offset, (int64_t)size * 8, l1, 0) : -ENOMEM;
    if (*ret < 0) {
        return NULL;
    }
    for (uint32_t i = 0; i < size; i++) {
        be64_to_cpus(&l1[i]);
    }
    return g_steal_pointer(&l1);
}
