/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests above the core: a protocol node in memory that takes its time, fails when told to, and
 * counts; and a user without a backend.
 *
 * A request yields at random points, so that concurrent ones interleave.  All functions are static:
 * the including test links what they use.
 */
#ifndef TESTS_LIB_MEMDISK_H
#define TESTS_LIB_MEMDISK_H

#include "block/block_int.h"
#include "block/freeze.h"
#include "qemu/atomic.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"

#define MEMDISK_BLOCK (64 * KiB)

typedef struct MemDisk {
    QemuMutex lock;        /* guests may write one place at once: then either wins */
    uint8_t *data;
    int64_t bytes;
    int max_yields;        /* per request, at random */
    int fail_reads;        /* atomic: the next so many fail with EIO */
    int fail_writes, fail_flushes, fail_truncates;
    bool fails_in_part;    /* writes that fail get half of it down before */
    int refuse_zeroes;     /* atomic: the next so many are not supported */
    int writes, zeroes, discards, flushes; /* atomic */
    int64_t last_end;      /* of the writes that ended, the one furthest on; under the lock */
    int n_backward;        /* writes that ended after one further on */
    int *block_writes;     /* atomic each: writes per MEMDISK_BLOCK */
    CoQueue *hold_writes;  /* if set, writes sleep here first */
    int n_held;            /* that do so now */
} MemDisk;

static inline MemDisk *memdisk(BlockDriverState *bs)
{
    return bs->opaque;
}

static void coroutine_fn memdisk_co_dawdle(const MemDisk *disk)
{
    int n = disk->max_yields ? g_random_int_range(0, disk->max_yields + 1) : 0;

    for (int i = 0; i < n; i++) {
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
}

/* Take one from a counter of failures. */
static bool memdisk_fails(int *counter)
{
    int n = qatomic_read(counter);

    while (n > 0) {
        int seen = qatomic_cmpxchg(counter, n, n - 1);

        if (seen == n) {
            return true;
        }
        n = seen;
    }
    return false;
}

static void memdisk_count_blocks(MemDisk *disk, int64_t offset, int64_t bytes)
{
    for (int64_t i = offset / MEMDISK_BLOCK; i * MEMDISK_BLOCK < offset + bytes; i++) {
        qatomic_inc(&disk->block_writes[i]);
    }
}

static void memdisk_note_end(MemDisk *disk, int64_t end)
{
    QEMU_LOCK_GUARD(&disk->lock);

    disk->n_backward += end < disk->last_end;
    disk->last_end = MAX(disk->last_end, end);
}

/* Under the lock. */
static void memdisk_resize(MemDisk *disk, int64_t bytes)
{
    disk->data = g_realloc(disk->data, bytes);
    disk->block_writes = g_renew(int, disk->block_writes, bytes / MEMDISK_BLOCK + 1);
    if (bytes > disk->bytes) {
        memset(disk->data + disk->bytes, 0, bytes - disk->bytes);
    }
    disk->bytes = bytes;
}

static int coroutine_fn memdisk_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                          QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    MemDisk *disk = bs->opaque;

    memdisk_co_dawdle(disk);
    if (memdisk_fails(&disk->fail_reads)) {
        return -EIO;
    }
    qemu_mutex_lock(&disk->lock);
    qemu_iovec_from_buf(qiov, qiov_offset, disk->data + offset, bytes);
    qemu_mutex_unlock(&disk->lock);
    memdisk_co_dawdle(disk);
    return 0;
}

static void memdisk_put(MemDisk *disk, int64_t offset, int64_t bytes, const QEMUIOVector *qiov,
                        size_t qiov_offset)
{
    QEMU_LOCK_GUARD(&disk->lock);

    if (offset + bytes > disk->bytes) {
        memdisk_resize(disk, offset + bytes);
    }
    qemu_iovec_to_buf(qiov, qiov_offset, disk->data + offset, bytes);
}

static int coroutine_fn memdisk_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                           QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    MemDisk *disk = bs->opaque;

    if (disk->hold_writes) {
        disk->n_held++;
        qemu_co_queue_wait(disk->hold_writes, NULL);
        disk->n_held--;
    }
    memdisk_co_dawdle(disk);
    if (memdisk_fails(&disk->fail_writes)) {
        if (disk->fails_in_part) {
            memdisk_put(disk, offset, QEMU_ALIGN_DOWN(bytes / 2, 512), qiov, qiov_offset);
        }
        return -ENOSPC;
    }
    memdisk_put(disk, offset, bytes, qiov, qiov_offset);
    qatomic_inc(&disk->writes);
    memdisk_count_blocks(disk, offset, bytes);
    memdisk_co_dawdle(disk);
    memdisk_note_end(disk, offset + bytes);
    return 0;
}

static int coroutine_fn memdisk_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                                 int64_t bytes, unsigned flags)
{
    MemDisk *disk = bs->opaque;

    memdisk_co_dawdle(disk);
    if (memdisk_fails(&disk->fail_writes)) {
        return -ENOSPC;
    }
    if (memdisk_fails(&disk->refuse_zeroes)) {
        return -ENOTSUP;
    }
    qemu_mutex_lock(&disk->lock);
    memset(disk->data + offset, 0, bytes);
    qemu_mutex_unlock(&disk->lock);
    qatomic_inc(&disk->zeroes);
    memdisk_count_blocks(disk, offset, bytes);
    memdisk_note_end(disk, offset + bytes);
    return 0;
}

static int coroutine_fn memdisk_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    MemDisk *disk = bs->opaque;

    qemu_mutex_lock(&disk->lock);
    memset(disk->data + offset, 0, bytes);
    qemu_mutex_unlock(&disk->lock);
    qatomic_inc(&disk->discards);
    return 0;
}

static int coroutine_fn memdisk_co_flush(BlockDriverState *bs)
{
    MemDisk *disk = bs->opaque;

    qatomic_inc(&disk->flushes);
    return memdisk_fails(&disk->fail_flushes) ? -EIO : 0;
}

/* Runs of zero and other sectors. */
static int coroutine_fn memdisk_co_block_status(BlockDriverState *bs, bool want_zero,
                                                int64_t offset, int64_t bytes, int64_t *pnum,
                                                int64_t *map, BlockDriverState **file)
{
    static const uint8_t zeroes[512];
    MemDisk *disk = bs->opaque;
    QEMU_LOCK_GUARD(&disk->lock);
    bool is_zero = memcmp(disk->data + offset, zeroes, 512) == 0;

    *pnum = 512;
    while (*pnum < bytes && (memcmp(disk->data + offset + *pnum, zeroes, 512) == 0) == is_zero) {
        *pnum += 512;
    }
    *map = offset;
    *file = bs;
    return BDRV_BLOCK_OFFSET_VALID | (is_zero ? BDRV_BLOCK_ZERO : BDRV_BLOCK_DATA);
}

static int coroutine_fn memdisk_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                                            PreallocMode prealloc, unsigned flags, Error **errp)
{
    MemDisk *disk = bs->opaque;

    if (memdisk_fails(&disk->fail_truncates)) {
        error_setg_errno(errp, EIO, "Could not resize");
        return -EIO;
    }
    qemu_mutex_lock(&disk->lock);
    memdisk_resize(disk, offset);
    qemu_mutex_unlock(&disk->lock);
    return 0;
}

static int64_t coroutine_fn memdisk_co_getlength(BlockDriverState *bs)
{
    return memdisk(bs)->bytes;
}

static void memdisk_refresh_limits(BlockDriverState *bs)
{
    bs->bl.request_alignment = 512;
}

static void coroutine_fn memdisk_co_close(BlockDriverState *bs)
{
    g_free(memdisk(bs)->data);
    g_free(memdisk(bs)->block_writes);
    qemu_mutex_destroy(&memdisk(bs)->lock);
}

static BlockDriver memdisk_driver = {
    .format_name = "memdisk",
    .instance_size = sizeof(MemDisk),
    .options_type = BLOCKDEV_DRIVER__MAX,
    .is_protocol = true,
    .bdrv_co_close = memdisk_co_close,
    .bdrv_refresh_limits = memdisk_refresh_limits,
    .bdrv_co_preadv = memdisk_co_preadv,
    .bdrv_co_pwritev = memdisk_co_pwritev,
    .bdrv_co_pwrite_zeroes = memdisk_co_pwrite_zeroes,
    .bdrv_co_pdiscard = memdisk_co_pdiscard,
    .bdrv_co_flush_to_disk = memdisk_co_flush,
    .bdrv_co_block_status = memdisk_co_block_status,
    .bdrv_co_truncate = memdisk_co_truncate,
    .bdrv_co_getlength = memdisk_co_getlength,
};

/* A disk of @bytes zeroes; the caller owns the reference. */
static inline BlockDriverState *coroutine_fn memdisk_co_new(const char *name, int64_t bytes)
{
    BlockDriverState *bs = bdrv_co_open_driver(&memdisk_driver, name,
                                               BDRV_O_RDWR | BDRV_O_UNMAP, &error_abort);
    MemDisk *disk = memdisk(bs);

    qemu_mutex_init(&disk->lock);
    disk->bytes = bytes;
    disk->data = g_malloc0(bytes);
    disk->block_writes = g_new0(int, bytes / MEMDISK_BLOCK + 1);
    bs->supported_zero_flags = BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK;
    bs->supported_truncate_flags = BDRV_REQ_ZERO_WRITE;
    bdrv_refresh_limits(bs);
    bdrv_co_refresh_length(bs);
    return bs;
}

/* ---- a user ---------------------------------------------------------------------------------- */

typedef struct MemUser {
    BdrvGate gate;
    BdrvChild *root;
} MemUser;

static BdrvOwner memuser_owner(BdrvGate *gate)
{
    return (BdrvOwner) { .kind = BDRV_OWNER_USER, .description = "a test" };
}

static const BdrvGateOps memuser_ops = { .owner = memuser_owner };

static inline void coroutine_fn memuser_co_attach(MemUser *user, BlockDriverState *bs,
                                                  uint64_t perm, uint64_t shared)
{
    BdrvChildSpec spec = {
        .name = "root",
        .role = BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY,
        .gate = &user->gate,
        .perm = perm,
        .shared = shared,
    };

    bdrv_gate_init(&user->gate, &memuser_ops);
    user->root = bdrv_co_attach_child(&spec, bdrv_ref(bs), &error_abort);
}

static inline void coroutine_fn memuser_co_detach(MemUser *user)
{
    bdrv_co_detach_child(user->root);
    bdrv_gate_done(&user->gate);
}

/* ---- frame: each case runs in a coroutine that holds the control lock ------------------------ */

typedef struct MemCase {
    const char *path;
    void (*co_fn)(void);
} MemCase;

static void coroutine_fn mem_co_case(void *opaque)
{
    const MemCase *c = opaque;

    bdrv_co_control_lock();
    c->co_fn();
    bdrv_co_control_unlock();
}

static BlockDriver *const *mem_drivers; /* registered before each case, unless NULL */

static void mem_run_case(gconstpointer data)
{
    if (mem_drivers) {
        bdrv_register_drivers(mem_drivers);
    }
    co_run(mem_co_case, (void *)data);
    g_assert_null(bdrv_next_node(NULL));
    bdrv_graph_reset();
}

static inline void mem_add_cases(const MemCase *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        g_test_add_data_func(cases[i].path, &cases[i], mem_run_case);
    }
}

#endif
