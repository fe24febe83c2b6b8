/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 against an array: random reads, writes (also compressed), zeroes, discards, flushes,
 * resizes and reopenings by several coroutines, for many cluster sizes, refcount widths and cache
 * sizes, with and without a backing file or a data file (a raw one must equal the array, too).
 * At the end the image is checked and must not even leak.
 */
#include "qemu/osdep.h"

#include "qcow2-test.h"

#define DISK_BYTES (2 * MiB)
#define SECTORS (DISK_BYTES / 512)
#define WORKERS 5

typedef struct Shape {
    uint32_t cluster_size;
    int refcount_bits;
    bool is_v2, has_backing;
    const char *l2_cache, *slice;
    bool is_extended;
    enum { NO_DATA_FILE, DATA_FILE, RAW_DATA_FILE } data_file;
} Shape;

static const Shape shapes[] = {
    { 65536, 16, false, false, NULL, NULL, false, 0 },
    { 65536, 16, false, true, NULL, NULL, false, 0 },
    { 4096, 16, false, true, "1k", "512", false, 0 },
    { 512, 16, false, false, NULL, NULL, false, 0 },
    { 512, 1, false, true, "1k", NULL, false, 0 },
    { 1024, 64, false, true, NULL, NULL, false, 0 },
    { 2048, 8, false, false, "4k", "1k", false, 0 },
    { 65536, 16, true, false, NULL, NULL, false, 0 },
    { 4096, 16, true, true, NULL, NULL, false, 0 },
    { 2097152, 32, false, true, NULL, "4k", false, 0 },
    { 65536, 16, false, false, NULL, NULL, true, 0 },
    { 65536, 16, false, true, "4k", "1k", true, 0 },
    { 16384, 16, false, true, NULL, NULL, true, 0 },
    { 65536, 16, false, false, NULL, NULL, false, DATA_FILE },
    { 4096, 16, false, true, "1k", "512", false, DATA_FILE },
    { 65536, 16, false, false, NULL, NULL, false, RAW_DATA_FILE },
    { 65536, 16, false, true, NULL, NULL, true, DATA_FILE },
    { 16384, 16, false, false, NULL, NULL, true, RAW_DATA_FILE },
};

typedef struct Test {
    MemUser *user;
    uint8_t *model;
    GRand *rand;
    MemCrew crew;
    int rounds;
    int64_t cluster_size;
} Test;

typedef struct Worker {
    Test *test;
    int index;
} Worker;

/* Sectors are dealt out to workers in turn, so that neighbours meet in every cluster. */
static int64_t pick_offset(Worker *w)
{
    int64_t n = g_rand_int_range(w->test->rand, 0, SECTORS / WORKERS);

    return (n * WORKERS + w->index) * 512;
}

static void coroutine_fn co_write_one(Worker *w)
{
    Test *t = w->test;
    int64_t offset = pick_offset(w);

    memset(t->model + offset, g_rand_int_range(t->rand, 1, 256), 512);
    g_assert_cmpint(bdrv_co_pwrite(t->user->root, offset, 512, t->model + offset, 0), ==, 0);
}

static void coroutine_fn co_zero_one(Worker *w)
{
    Test *t = w->test;
    int64_t offset = pick_offset(w);
    unsigned flags = g_rand_int_range(t->rand, 0, 2) ? BDRV_REQ_MAY_UNMAP : 0;

    memset(t->model + offset, 0, 512);
    g_assert_cmpint(bdrv_co_pwrite_zeroes(t->user->root, offset, 512, flags), ==, 0);
}

static void coroutine_fn co_read_one(Worker *w)
{
    int64_t offset = pick_offset(w);
    uint8_t buf[512];

    g_assert_cmpint(bdrv_co_pread(w->test->user->root, offset, 512, buf, 0), ==, 0);
    g_assert_cmpmem(buf, 512, w->test->model + offset, 512);
}

static void coroutine_fn co_worker(void *opaque)
{
    Worker *w = opaque;
    Test *t = w->test;

    for (int i = 0; i < t->rounds; i++) {
        switch (g_rand_int_range(t->rand, 0, 12)) {
        case 0 ... 5:
            co_write_one(w);
            break;
        case 6:
            co_zero_one(w);
            break;
        case 7:
            g_assert_cmpint(bdrv_co_flush(t->user->bs), ==, 0);
            break;
        default:
            co_read_one(w);
            break;
        }
    }
    g_free(w);
    mem_crew_leave(&t->crew);
}

/* Everybody at once, on sectors of their own. */
static void coroutine_fn co_small_requests(Test *t)
{
    for (int i = 0; i < WORKERS; i++) {
        Worker *w = g_new0(Worker, 1);

        *w = (Worker){ t, i };
        mem_crew_start(&t->crew, co_worker, w);
    }
    mem_crew_wait(&t->crew);
}

static void coroutine_fn co_verify(Test *t)
{
    g_autofree uint8_t *buf = g_malloc(DISK_BYTES);

    g_assert_cmpint(bdrv_co_pread(t->user->root, 0, DISK_BYTES, buf, 0), ==, 0);
    g_assert_cmpmem(buf, DISK_BYTES, t->model, DISK_BYTES);
}

/* Something that shrinks by half; every third time nothing that shrinks. */
static void fill_half(Test *t, int64_t offset, int64_t bytes)
{
    bool is_noise = g_rand_int_range(t->rand, 0, 3) == 0;

    for (int64_t i = 0; i < bytes; i += 512) {
        if (is_noise || i % 1024 == 0) {
            test_rand_fill(t->rand, t->model + offset + i, 512);
        } else {
            memset(t->model + offset + i, 'x', 512);
        }
    }
}

/* Whole clusters compressed, parts of them read and overwritten; each worker has its own. */
static void coroutine_fn co_pack_worker(void *opaque)
{
    Worker *w = opaque;
    Test *t = w->test;
    int64_t size = t->cluster_size, n = DISK_BYTES / size / WORKERS;

    for (int i = 0; i < t->rounds / 4; i++) {
        int64_t offset = (g_rand_int_range(t->rand, 0, n) * WORKERS + w->index) * size;
        int64_t at = offset + 512 * g_rand_int_range(t->rand, 0, size / 512);
        uint8_t buf[512];

        switch (g_rand_int_range(t->rand, 0, 4)) {
        case 0:
            memset(t->model + at, i, 512);
            g_assert_cmpint(bdrv_co_pwrite(t->user->root, at, 512, t->model + at, 0), ==, 0);
            break;
        case 1:
            fill_half(t, offset, size);
            g_assert_cmpint(bdrv_co_pwrite(t->user->root, offset, size, t->model + offset,
                                           BDRV_REQ_WRITE_COMPRESSED), ==, 0);
            break;
        default:
            g_assert_cmpint(bdrv_co_pread(t->user->root, at, 512, buf, 0), ==, 0);
            g_assert_cmpmem(buf, 512, t->model + at, 512);
            break;
        }
    }
    g_free(w);
    mem_crew_leave(&t->crew);
}

static void coroutine_fn co_packed_requests(Test *t)
{
    for (int i = 0; i < WORKERS && DISK_BYTES / t->cluster_size >= WORKERS; i++) {
        Worker *w = g_new0(Worker, 1);

        *w = (Worker){ t, i };
        mem_crew_start(&t->crew, co_pack_worker, w);
    }
    mem_crew_wait(&t->crew);
}

/* One large request after the other. */
static void coroutine_fn co_large_requests(Test *t, const Shape *shape)
{
    for (int i = 0; i < 40; i++) {
        int64_t offset = 512 * g_rand_int_range(t->rand, 0, SECTORS);
        int64_t bytes = 512 * g_rand_int_range(t->rand, 1, 600);
        int64_t end;
        unsigned flags = g_rand_int_range(t->rand, 0, 2) ? BDRV_REQ_MAY_UNMAP : 0;

        bytes = MIN(bytes, DISK_BYTES - offset);
        end = offset + bytes;
        switch (g_rand_int_range(t->rand, 0, 5)) {
        case 4:
            if (shape->data_file) {
                break; /* nothing is compressed there */
            }
            offset = ROUND_DOWN(offset, (int64_t)shape->cluster_size);
            end = MIN(ROUND_UP(end, (int64_t)shape->cluster_size), DISK_BYTES);
            fill_half(t, offset, end - offset);
            g_assert_cmpint(bdrv_co_pwrite(t->user->root, offset, end - offset, t->model + offset,
                                           BDRV_REQ_WRITE_COMPRESSED), ==, 0);
            break;
        case 0:
        case 1:
            test_rand_fill(t->rand, t->model + offset, bytes);
            g_assert_cmpint(bdrv_co_pwrite(t->user->root, offset, bytes, t->model + offset, 0),
                            ==, 0);
            break;
        case 2:
            memset(t->model + offset, 0, bytes);
            g_assert_cmpint(bdrv_co_pwrite_zeroes(t->user->root, offset, bytes, flags), ==, 0);
            break;
        default:
            /* Discard is advice, but where it is taken the clusters read as zeroes. */
            if (shape->is_v2 && shape->has_backing) {
                break;
            }
            offset = ROUND_UP(offset, (int64_t)shape->cluster_size);
            end = ROUND_DOWN(end, (int64_t)shape->cluster_size);
            if (offset < end) {
                memset(t->model + offset, 0, end - offset);
                g_assert_cmpint(bdrv_co_pdiscard(t->user->root, offset, end - offset), ==, 0);
            }
            break;
        }
    }
}

/* Clusters beyond the end go, and come back as zeroes. */
static void coroutine_fn co_resize(Test *t)
{
    int64_t size = 512 * g_rand_int_range(t->rand, 1, SECTORS);

    g_assert_cmpint(bdrv_co_truncate(t->user->root, size, true, PREALLOC_MODE_OFF, 0,
                                     &error_abort), ==, 0);
    if (g_rand_int_range(t->rand, 0, 2)) {
        g_assert_cmpint(bdrv_co_flush(t->user->bs), ==, 0);
    }
    g_assert_cmpint(bdrv_co_truncate(t->user->root, DISK_BYTES, true, PREALLOC_MODE_OFF, 0,
                                     &error_abort), ==, 0);
    memset(t->model + size, 0, DISK_BYTES - size);
}

static MemUser *coroutine_fn co_open_shape(const Shape *shape)
{
    QDict *options = qcow2_test_options("top");

    if (shape->has_backing) {
        qdict_put_str(options, "backing.driver", "raw");
        qdict_put_str(options, "backing.file.driver", "file");
        qdict_put_str(options, "backing.file.filename", "base");
    }
    if (shape->l2_cache) {
        qdict_put_str(options, "l2-cache-size", shape->l2_cache);
    }
    if (shape->slice) {
        qdict_put_str(options, "l2-cache-entry-size", shape->slice);
    }
    return mem_co_use(options, BDRV_O_RDWR | BDRV_O_UNMAP, &error_abort);
}

static void coroutine_fn co_test_shape(const Shape *shape)
{
    BlockdevCreateOptionsQcow2 o = {
        .size = DISK_BYTES,
        .has_version = true,
        .version = shape->is_v2 ? BLOCKDEV_QCOW2_VERSION_V2 : BLOCKDEV_QCOW2_VERSION_V3,
        .has_cluster_size = true,
        .cluster_size = shape->cluster_size,
        .has_refcount_bits = true,
        .refcount_bits = shape->refcount_bits,
        .has_extended_l2 = true,
        .extended_l2 = shape->is_extended,
    };
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree uint8_t *model = g_malloc0(DISK_BYTES);
    BlockdevRef data_ref = {
        .type = QTYPE_QDICT,
        .u.definition = { .driver = BLOCKDEV_DRIVER_FILE, .u.file.filename = (char *)"data" },
    };
    Test t = { .model = model, .rand = rand, .rounds = 120,
               .cluster_size = shape->cluster_size };

    g_test_message("cluster size %" PRIu32 ", refcount bits %d%s%s", shape->cluster_size,
                   shape->refcount_bits, shape->is_v2 ? ", version 2" : "",
                   shape->has_backing ? ", backing file" : "");
    mem_rand = rand;
    if (shape->has_backing) {
        /* Shorter than the image. */
        test_rand_fill(rand, model, DISK_BYTES * 3 / 4);
        mem_set_content("base", model, DISK_BYTES * 3 / 4);
    }
    if (shape->data_file) {
        mem_set_content("data", "", 0);
        o.data_file = &data_ref;
        o.has_data_file_raw = true;
        o.data_file_raw = shape->data_file == RAW_DATA_FILE;
    }
    g_assert_true(qcow2_test_create("top", &o, &error_abort));
    mem_file("top")->may_discard = true;
    for (int round = 0; round < 4; round++) {
        t.user = co_open_shape(shape);
        co_verify(&t);
        co_small_requests(&t);
        co_large_requests(&t, shape);
        if (!shape->data_file) {
            co_packed_requests(&t);
        }
        co_verify(&t);
        if (!(shape->is_v2 && shape->has_backing)) {
            co_resize(&t);
        }
        co_small_requests(&t);
        co_verify(&t);
        mem_co_unuse(t.user);
        if (shape->data_file == RAW_DATA_FILE) {
            g_assert_cmpmem(mem_file("data")->data->data, mem_file("data")->data->len, model,
                            DISK_BYTES);
        }
    }
    t.user = co_open_shape(shape);
    co_verify(&t);
    g_assert_cmpint(qcow2_test_check(t.user), ==, 0);
    mem_co_unuse(t.user);
    if (g_getenv("QCOW2_TEST_KEEP")) {
        g_autofree char *path = g_strdup_printf("%s/%u-%d%s%s.qcow2", g_getenv("QCOW2_TEST_KEEP"),
                                                shape->cluster_size, shape->refcount_bits,
                                                shape->is_v2 ? "-v2" : "",
                                                shape->has_backing ? "-b" : "");
        g_file_set_contents(path, (char *)mem_file("top")->data->data, mem_file("top")->data->len,
                            NULL);
    }
}

static const Shape *current_shape;

static void coroutine_fn co_run_shape(void)
{
    co_test_shape(current_shape);
}

static void test_shape(gconstpointer data)
{
    current_shape = data;
    mem_run_case(qcow2_drivers, co_run_shape);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/io/random-requests-as-in-an-array/%zu", i);

        g_test_add_data_func(path, &shapes[i], test_shape);
    }
    return g_test_run();
}
