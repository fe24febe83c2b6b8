/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 and bad luck: images with random bytes changed, which must be refused or read or written
 * without harm to the program; and files that fail one request, after which the image must be in
 * order and hold what was flushed.
 */
#include "qemu/osdep.h"

#include "qcow2-test.h"

#define DISK_BYTES (256 * KiB)
#define MUTANTS 400

/* ---- mutants ------------------------------------------------------------------------------- */

static void coroutine_fn co_make_parent(const char *name, uint32_t cluster_size)
{
    BlockdevCreateOptionsQcow2 o = {
        .size = DISK_BYTES,
        .has_cluster_size = true,
        .cluster_size = cluster_size,
    };
    g_autofree uint8_t *buf = g_malloc(DISK_BYTES / 2);
    MemUser *user;

    g_assert_true(qcow2_test_create(name, &o, &error_abort));
    user = qcow2_test_open(name, BDRV_O_RDWR);
    memset(buf, 0x5a, DISK_BYTES / 2);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 4096, DISK_BYTES / 2, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_pwrite_zeroes(user->root, 8192, 16384, 0), ==, 0);
    mem_co_unuse(user);
}

/* Mostly in the header and in the tables, where it matters. */
static void mutate(GRand *rand, GByteArray *data, uint32_t cluster_size)
{
    static const uint8_t telling[] = { 0, 1, 0x7f, 0x80, 0xff, 0x40, 0xc0, 2 };
    int n = g_rand_int_range(rand, 1, 6);

    for (int i = 0; i < n; i++) {
        guint limit = g_rand_int_range(rand, 0, 2) ? 128 : MIN(8 * cluster_size, data->len);
        guint at = g_rand_int_range(rand, 4, MIN(limit, data->len));

        /* Entries begin at multiples of 8; most of a table is zero. */
        if (limit > 128 && g_rand_int_range(rand, 0, 3)) {
            at = at / cluster_size * cluster_size + g_rand_int_range(rand, 0, 64);
        }
        if (at < data->len) {
            data->data[at] = g_rand_int_range(rand, 0, 2)
                                 ? telling[g_rand_int_range(rand, 0, ARRAY_SIZE(telling))]
                                 : data->data[at] ^ (1 << g_rand_int_range(rand, 0, 8));
        }
    }
}

/* Use the image as if it were good.  Errors are fine. */
static void coroutine_fn co_use_mutant(GRand *rand, const char *name, int flags)
{
    Error *err = NULL;
    MemUser *user = mem_co_use(qcow2_test_options(name), flags, &err);
    BdrvCheckResult res = { 0 };
    g_autofree uint8_t *buf = g_malloc(65536);
    int64_t size;

    if (!user) {
        g_assert_nonnull(err);
        error_free(err);
        return;
    }
    bdrv_co_check(user->bs, &res, 0);
    size = bdrv_getlength(user->bs);
    for (int i = 0; i < 12 && size >= 512; i++) {
        int64_t offset = test_rand_below(rand, MIN(size, DISK_BYTES) / 512) * 512;
        int64_t bytes = MIN(512 * (int64_t)g_rand_int_range(rand, 1, 128), size - offset);
        int64_t pnum, map;
        BlockDriverState *file;

        switch (flags & BDRV_O_RDWR ? i % 6 : i % 2) {
        case 0:
            bdrv_co_pread(user->root, offset, bytes, buf, 0);
            break;
        case 1:
            bdrv_co_block_status(user->bs, offset, bytes, &pnum, &map, &file);
            break;
        case 2:
        case 3:
            bdrv_co_pwrite(user->root, offset, bytes, buf, 0);
            break;
        case 4:
            bdrv_co_pwrite_zeroes(user->root, offset, bytes, BDRV_REQ_MAY_UNMAP);
            break;
        default:
            bdrv_co_pdiscard(user->root, offset, bytes);
            bdrv_co_flush(user->bs);
            break;
        }
    }
    mem_co_unuse(user);
}

/* "Marking image as corrupt" hundreds of times. */
static bool swallow_report(const char *text)
{
    return true;
}

static void coroutine_fn co_mutants(void)
{
    static const uint32_t sizes[] = { 512, 4096, 65536 };
    g_autoptr(GRand) rand = test_rand_new();

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        g_autofree char *name = g_strdup_printf("parent-%zu", i);

        co_make_parent(name, sizes[i]);
        for (int n = 0; n < MUTANTS; n++) {
            MemFile *parent = mem_file(name);

            mem_set_content("mutant", parent->data->data, parent->data->len);
            mutate(rand, mem_file("mutant")->data, sizes[i]);
            co_use_mutant(rand, "mutant", n % 3 ? BDRV_O_RDWR | BDRV_O_UNMAP : BDRV_O_CHECK);
        }
    }
}

static void test_mutants(void)
{
    mem_run_case(qcow2_drivers, co_mutants);
}

/* ---- chosen damage ------------------------------------------------------------------------- */

/* An image with two L2 tables and data behind both. */
static void coroutine_fn co_make_two_tables(const char *name)
{
    BlockdevCreateOptionsQcow2 o = {
        .size = 4 * MiB, .has_cluster_size = true, .cluster_size = 4096,
    };
    uint8_t buf[512];
    MemUser *user;

    memset(buf, 0x5a, sizeof(buf));
    g_assert_true(qcow2_test_create(name, &o, &error_abort));
    user = qcow2_test_open(name, BDRV_O_RDWR);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 0, 512, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 2 * MiB, 512, buf, 0), ==, 0);
    mem_co_unuse(user);
}

static void coroutine_fn co_shared_l2(void)
{
    uint8_t buf[512], *data, *l1;
    MemUser *user;

    co_make_two_tables("shared-l2");
    data = mem_file("shared-l2")->data->data;
    l1 = data + ldq_be_p(data + 40);
    memcpy(l1 + 8, l1, 8);
    user = qcow2_test_open("shared-l2", BDRV_O_RDWR | BDRV_O_UNMAP);
    g_assert_cmpint(bdrv_co_pread(user->root, 2 * MiB, 512, buf, 0), ==, 0);
    g_assert_cmphex(buf[0], ==, 0x5a);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 8192, 512, buf, 0), ==, -EIO);
    g_assert_cmpint(bdrv_co_pdiscard(user->root, 0, 4096), ==, -EIO);
    mem_co_unuse(user);
}

static void test_shared_l2(void)
{
    mem_run_case(qcow2_drivers, co_shared_l2);
}

static void coroutine_fn co_far_l1(void)
{
    Error *err = NULL;
    uint8_t *data;

    co_make_two_tables("far-l1");
    data = mem_file("far-l1")->data->data;
    stq_be_p(data + 40, 1 * GiB);
    g_assert_null(mem_co_use(qcow2_test_options("far-l1"), 0, &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "qcow2: The L1 table at offset 0x40000000 lies past the end of the file");
    error_free(err);
}

static void test_far_l1(void)
{
    mem_run_case(qcow2_drivers, co_far_l1);
}

/* ---- the n-th request fails ---------------------------------------------------------------- */

/*
 * A fixed sequence of requests during which write or flush number @n of the file fails once.  What
 * was acknowledged by the last flush must be there after that; returns whether anything failed.
 */
static bool coroutine_fn co_fail_at(int n)
{
    BlockdevCreateOptionsQcow2 o = {
        .size = DISK_BYTES,
        .has_cluster_size = true,
        .cluster_size = 512,
        .has_refcount_bits = true,
        .refcount_bits = 64,
    };
    g_autofree char *name = g_strdup_printf("fails-%d", n);
    uint8_t flushed[64] = { 0 }, maybe[64] = { 0 };
    uint8_t buf[4096], got[4096];
    bool failed = false;
    MemUser *user;

    g_assert_true(qcow2_test_create(name, &o, &error_abort));
    user = qcow2_test_open(name, BDRV_O_RDWR | BDRV_O_UNMAP);
    mem_file(name)->fail_after = n;
    for (int i = 0; i < 40; i++) {
        int block = i * 7 % 64;

        memset(buf, i + 1, sizeof(buf));
        if (bdrv_co_pwrite(user->root, block * 4096, 4096, buf, 0) < 0) {
            failed = true;
            maybe[block] = i + 1;
            flushed[block] = 0;
        } else {
            flushed[block] = i + 1;
        }
        if (i % 5 == 4 && bdrv_co_flush(user->bs) < 0) {
            failed = true;
            /* It must go well now, and then everything is there. */
            g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
        }
    }
    mem_file(name)->fail_after = -1;
    mem_co_unuse(user);

    user = qcow2_test_open(name, 0);
    qcow2_test_check(user);
    for (int block = 0; block < 64; block++) {
        if (flushed[block] && !maybe[block]) {
            memset(buf, flushed[block], sizeof(buf));
            g_assert_cmpint(bdrv_co_pread(user->root, block * 4096, 4096, got, 0), ==, 0);
            g_assert_cmpmem(got, 4096, buf, 4096);
        }
    }
    mem_co_unuse(user);
    return failed;
}

static void coroutine_fn co_failures(void)
{
    int n = 0;

    while (co_fail_at(n)) {
        n++;
    }
    g_test_message("%d points of failure", n);
    g_assert_cmpint(n, >, 50);
}

static void test_failures(void)
{
    mem_run_case(qcow2_drivers, co_failures);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    error_set_report_hook(swallow_report, NULL);
    g_test_add_func("/qcow2/hostile/mutants-do-no-harm", test_mutants);
    g_test_add_func("/qcow2/hostile/shared-l2-table-is-not-written", test_shared_l2);
    g_test_add_func("/qcow2/hostile/l1-table-past-the-end-is-refused", test_far_l1);
    g_test_add_func("/qcow2/hostile/nth-request-fails-without-damage", test_failures);
    return g_test_run();
}
