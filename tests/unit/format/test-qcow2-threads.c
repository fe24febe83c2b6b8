/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 with requests from several threads at once: writes, zeroes, discards, flushes and reads
 * that meet in clusters and in tables, while the disk is resized, with caches that hold next to
 * nothing.  The file is in memory; what is discarded there turns to garbage, so a cluster that is
 * reused or discarded too early shows.
 *
 * The disk has three parts:
 *   shared   sectors are dealt out to workers in turn, so neighbours meet in every cluster;
 *   own      groups of clusters are dealt out; these are zeroed and discarded, too;
 *   scratch  anybody changes anything; a reader may see any of it, but nothing of another part.
 * Values of the first two are below SCRATCH, those of the last above, garbage is neither.
 */
#include "qemu/osdep.h"

#include "qemu/atomic.h"
#include "qemu/iothread.h"
#include "qemu/lockable.h"
#include "qcow2-test.h"
#include "../../lib/testlib.h"

#define THREADS 3
#define COROUTINES 4
#define WORKERS (THREADS * COROUTINES)
#define PART_BYTES (576 * KiB)
#define DISK_BYTES (3 * PART_BYTES)
#define GROUP_CLUSTERS 3
#define BASE_BYTES (PART_BYTES + PART_BYTES / 2 + 512)
#define FILE_MAX (32 * MiB)
#define SCRATCH 0x80
#define GARBAGE 0xff

/* ---- a file in memory for many threads ----------------------------------------------------- */

typedef struct SharedFile {
    QemuMutex lock;
    uint8_t *data;
    int64_t bytes; /* under lock */
} SharedFile;

static SharedFile image, base;

static SharedFile *shared_file(BlockDriverState *bs)
{
    return *(SharedFile **)bs->opaque;
}

static void coroutine_fn co_dawdle(void)
{
    for (int n = g_random_int_range(0, 3); n > 0; n--) {
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
}

static bool coroutine_fn shared_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                        int flags, Error **errp)
{
    bool is_base = !strcmp(options->u.file.filename, "base");

    *(SharedFile **)bs->opaque = is_base ? &base : &image;
    return true;
}

static int coroutine_fn shared_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                         QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    SharedFile *file = shared_file(bs);

    co_dawdle();
    if (offset + bytes > FILE_MAX) {
        return -EIO;
    }
    qemu_mutex_lock(&file->lock);
    qemu_iovec_from_buf(qiov, qiov_offset, file->data + offset, bytes);
    qemu_mutex_unlock(&file->lock);
    return 0;
}

static int coroutine_fn shared_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                          QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    SharedFile *file = shared_file(bs);

    co_dawdle();
    if (offset + bytes > FILE_MAX) {
        return -EFBIG;
    }
    qemu_mutex_lock(&file->lock);
    qemu_iovec_to_buf(qiov, qiov_offset, file->data + offset, bytes);
    file->bytes = MAX(file->bytes, offset + bytes);
    qemu_mutex_unlock(&file->lock);
    co_dawdle();
    return 0;
}

static int coroutine_fn shared_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    SharedFile *file = shared_file(bs);
    QEMU_LOCK_GUARD(&file->lock);

    bytes = MIN(bytes, file->bytes - offset);
    if (bytes > 0) {
        memset(file->data + offset, GARBAGE, bytes);
    }
    return 0;
}

static int coroutine_fn shared_co_flush(BlockDriverState *bs)
{
    co_dawdle();
    return 0;
}

static int coroutine_fn shared_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                                           PreallocMode prealloc, unsigned flags, Error **errp)
{
    SharedFile *file = shared_file(bs);
    QEMU_LOCK_GUARD(&file->lock);

    g_assert_cmpint(offset, <=, FILE_MAX);
    if (offset < file->bytes) {
        memset(file->data + offset, 0, file->bytes - offset);
    }
    file->bytes = offset;
    return 0;
}

static int64_t coroutine_fn shared_co_getlength(BlockDriverState *bs)
{
    SharedFile *file = shared_file(bs);
    QEMU_LOCK_GUARD(&file->lock);

    return file->bytes;
}

static BlockDriver shared_driver = {
    .format_name = "file",
    .protocol_name = "file",
    .options_type = BLOCKDEV_DRIVER_FILE,
    .instance_size = sizeof(SharedFile *),
    .is_protocol = true,
    .bdrv_co_open = shared_co_open,
    .bdrv_co_preadv = shared_co_preadv,
    .bdrv_co_pwritev = shared_co_pwritev,
    .bdrv_co_pdiscard = shared_co_pdiscard,
    .bdrv_co_flush_to_disk = shared_co_flush,
    .bdrv_co_truncate = shared_co_truncate,
    .bdrv_co_getlength = shared_co_getlength,
};

/* ---- workers ------------------------------------------------------------------------------- */

typedef struct Test {
    MemUser *user;
    uint8_t *model;        /* of the first two parts: every byte belongs to one worker */
    uint32_t cluster_size;
    int rounds;
    int running;           /* atomic */
} Test;

typedef struct Worker {
    Test *test;
    int index;
    GRand *rand;
} Worker;

static void coroutine_fn co_shared_part(Worker *w)
{
    Test *t = w->test;
    int64_t n = g_rand_int_range(w->rand, 0, PART_BYTES / 512 / WORKERS);
    int64_t offset = (n * WORKERS + w->index) * 512;
    uint8_t buf[512];

    switch (g_rand_int_range(w->rand, 0, 8)) {
    case 0:
        memset(t->model + offset, 0, 512);
        g_assert_cmpint(bdrv_co_pwrite_zeroes(t->user->root, offset, 512, BDRV_REQ_MAY_UNMAP),
                        ==, 0);
        break;
    case 1 ... 4:
        memset(t->model + offset, g_rand_int_range(w->rand, 1, SCRATCH), 512);
        g_assert_cmpint(bdrv_co_pwrite(t->user->root, offset, 512, t->model + offset, 0), ==, 0);
        break;
    default:
        g_assert_cmpint(bdrv_co_pread(t->user->root, offset, 512, buf, 0), ==, 0);
        g_assert_cmpmem(buf, 512, t->model + offset, 512);
        break;
    }
}

/* Some sectors, or all, of a group of clusters that starts at @start. */
static void coroutine_fn co_own_part(Worker *w)
{
    Test *t = w->test;
    int64_t group = GROUP_CLUSTERS * t->cluster_size;
    int64_t n = g_rand_int_range(w->rand, 0, PART_BYTES / group / WORKERS);
    int64_t start = PART_BYTES + (n * WORKERS + w->index) * group;
    int64_t first = g_rand_int_range(w->rand, 0, group / 512);
    int64_t offset = start + first * 512;
    int64_t bytes = 512 * g_rand_int_range(w->rand, 1, group / 512 - first + 1);
    g_autofree uint8_t *buf = g_malloc(group);
    unsigned flags = g_rand_int_range(w->rand, 0, 2) ? BDRV_REQ_MAY_UNMAP : 0;

    switch (g_rand_int_range(w->rand, 0, 8)) {
    case 0:
        memset(t->model + start, 0, group);
        g_assert_cmpint(bdrv_co_pdiscard(t->user->root, start, group), ==, 0);
        break;
    case 1:
        memset(t->model + start, 0, group);
        g_assert_cmpint(bdrv_co_pwrite_zeroes(t->user->root, start, group, flags), ==, 0);
        break;
    case 2:
        memset(t->model + offset, 0, bytes);
        g_assert_cmpint(bdrv_co_pwrite_zeroes(t->user->root, offset, bytes, flags), ==, 0);
        break;
    case 3 ... 5:
        memset(t->model + offset, g_rand_int_range(w->rand, 1, SCRATCH), bytes);
        g_assert_cmpint(bdrv_co_pwrite(t->user->root, offset, bytes, t->model + offset, 0), ==, 0);
        break;
    default:
        g_assert_cmpint(bdrv_co_pread(t->user->root, start, group, buf, 0), ==, 0);
        g_assert_cmpmem(buf, group, t->model + start, group);
        break;
    }
}

static void coroutine_fn co_scratch_part(Worker *w)
{
    Test *t = w->test;
    int64_t first = g_rand_int_range(w->rand, 0, PART_BYTES / 512);
    int64_t n = g_rand_int_range(w->rand, 1, MIN(40, PART_BYTES / 512 - first) + 1);
    int64_t offset = 2 * PART_BYTES + first * 512;
    g_autofree uint8_t *buf = g_malloc(n * 512);
    int64_t aligned = QEMU_ALIGN_DOWN(offset, t->cluster_size);

    switch (g_rand_int_range(w->rand, 0, 6)) {
    case 0:
        g_assert_cmpint(bdrv_co_pdiscard(t->user->root, aligned, t->cluster_size), ==, 0);
        break;
    case 1:
        g_assert_cmpint(bdrv_co_pwrite_zeroes(t->user->root, offset, n * 512,
                                              BDRV_REQ_MAY_UNMAP), ==, 0);
        break;
    case 2:
    case 3:
        memset(buf, g_rand_int_range(w->rand, SCRATCH, GARBAGE), n * 512);
        g_assert_cmpint(bdrv_co_pwrite(t->user->root, offset, n * 512, buf, 0), ==, 0);
        break;
    default:
        g_assert_cmpint(bdrv_co_pread(t->user->root, offset, n * 512, buf, 0), ==, 0);
        for (int64_t i = 0; i < n * 512; i++) {
            g_assert_true(buf[i] == 0 || (buf[i] >= SCRATCH && buf[i] != GARBAGE));
        }
        break;
    }
}

static void coroutine_fn co_worker(void *opaque)
{
    Worker *w = opaque;
    Test *t = w->test;

    for (int i = 0; i < t->rounds; i++) {
        switch (g_rand_int_range(w->rand, 0, 16)) {
        case 0:
            g_assert_cmpint(bdrv_co_flush(t->user->bs), ==, 0);
            break;
        case 1 ... 5:
            co_shared_part(w);
            break;
        case 6 ... 10:
            co_own_part(w);
            break;
        default:
            co_scratch_part(w);
            break;
        }
    }
    g_rand_free(w->rand);
    g_free(w);
    qatomic_dec(&t->running);
}

static void start_worker(void *opaque)
{
    qemu_coroutine_enter(qemu_coroutine_create(co_worker, opaque));
}

static void coroutine_fn co_start_worker(Test *t, GRand *seeds, int index, AioContext *ctx)
{
    Worker *w = g_new(Worker, 1);

    *w = (Worker){ t, index, g_rand_new_with_seed(g_rand_int(seeds)) };
    qatomic_inc(&t->running);
    aio_bh_schedule_oneshot(ctx, start_worker, w);
}

/* ---- the case ------------------------------------------------------------------------------ */

typedef struct Shape {
    uint32_t cluster_size;
    int refcount_bits;
    const char *l2_cache;
    bool has_backing;
} Shape;

static MemUser *coroutine_fn co_open(const Shape *shape)
{
    QDict *options = qcow2_test_options("image");

    if (shape->l2_cache) {
        qdict_put_str(options, "l2-cache-size", shape->l2_cache);
        qdict_put_str(options, "l2-cache-entry-size", "512");
    }
    if (shape->has_backing) {
        qdict_put_str(options, "backing.driver", "raw");
        qdict_put_str(options, "backing.file.driver", "file");
        qdict_put_str(options, "backing.file.filename", "base");
    }
    qdict_put_bool(options, "pass-discard-other", true);
    qdict_put_bool(options, "pass-discard-request", true);
    return mem_co_use(options, BDRV_O_RDWR | BDRV_O_UNMAP, &error_abort);
}

/* The main thread resizes and flushes until the workers are done. */
static void coroutine_fn co_resize_meanwhile(Test *t, GRand *rand)
{
    while (qatomic_load_acquire(&t->running)) {
        int64_t size = DISK_BYTES + 512 * g_rand_int_range(rand, 0, 4000);

        g_assert_cmpint(bdrv_co_truncate(t->user->root, size, true, PREALLOC_MODE_OFF, 0,
                                         &error_abort), ==, 0);
        for (int i = 0; i < 50; i++) {
            aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
            qemu_coroutine_yield();
        }
    }
}

static void coroutine_fn co_verify(Test *t)
{
    g_autofree uint8_t *buf = g_malloc(2 * PART_BYTES);

    g_assert_cmpint(bdrv_co_pread(t->user->root, 0, 2 * PART_BYTES, buf, 0), ==, 0);
    g_assert_cmpmem(buf, 2 * PART_BYTES, t->model, 2 * PART_BYTES);
}

static void coroutine_fn co_run_shape(const Shape *shape, GRand *rand)
{
    BlockdevCreateOptionsQcow2 o = {
        .size = DISK_BYTES,
        .has_cluster_size = true,
        .cluster_size = shape->cluster_size,
        .has_refcount_bits = true,
        .refcount_bits = shape->refcount_bits,
    };
    g_autofree uint8_t *model = g_malloc0(2 * PART_BYTES);
    Test t = { .model = model, .cluster_size = shape->cluster_size, .rounds = 600 };
    IOThread *threads[THREADS];

    memset(image.data, 0, FILE_MAX);
    image.bytes = 0;
    if (shape->has_backing) {
        o.backing_file = (char *)"base";
        o.has_backing_fmt = true;
        o.backing_fmt = BLOCKDEV_DRIVER_RAW;
        memcpy(model, base.data, BASE_BYTES);
    }
    g_assert_true(qcow2_test_create("image", &o, &error_abort));
    t.user = co_open(shape);
    for (int i = 0; i < THREADS; i++) {
        g_autofree char *id = g_strdup_printf("t%d", i);

        threads[i] = iothread_create(id, &error_abort);
        for (int k = 0; k < COROUTINES; k++) {
            co_start_worker(&t, rand, i * COROUTINES + k, iothread_get_aio_context(threads[i]));
        }
    }
    co_resize_meanwhile(&t, rand);
    for (int i = 0; i < THREADS; i++) {
        iothread_stop(threads[i]);
        iothread_unref(threads[i]);
    }
    co_verify(&t);
    mem_co_unuse(t.user);
    t.user = co_open(shape);
    co_verify(&t);
    g_assert_cmpint(qcow2_test_check(t.user), ==, 0);
    mem_co_unuse(t.user);
}

static void coroutine_fn co_all_shapes(void)
{
    static const Shape shapes[] = {
        { 4096, 16, "1k", true },
        { 1024, 1, "1k", false },
        { 512, 64, "1k", true },
        { 16384, 16, NULL, false },
    };
    g_autoptr(GRand) rand = test_rand_new();

    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        g_test_message("clusters of %u", shapes[i].cluster_size);
        co_run_shape(&shapes[i], rand);
    }
}

static void test_all_shapes(void)
{
    static BlockDriver *const drivers[] = { &bdrv_qcow2, &bdrv_raw, &shared_driver, NULL };

    qemu_mutex_init(&image.lock);
    image.data = g_malloc0(FILE_MAX);
    qemu_mutex_init(&base.lock);
    base.data = g_malloc0(FILE_MAX);
    base.bytes = BASE_BYTES;
    for (int64_t i = 0; i < BASE_BYTES; i++) {
        base.data[i] = 1 + i % (SCRATCH - 1);
    }
    mem_run_case(drivers, co_all_shapes);
    g_free(image.data);
    g_free(base.data);
    qemu_mutex_destroy(&image.lock);
    qemu_mutex_destroy(&base.lock);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    g_test_add_func("/qcow2/threads/every-piece-holds-what-was-written", test_all_shapes);
    return g_test_run();
}
