/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A change of the header whose flush fails, though what was written is in the file.  The program
 * goes on with the image as it was, so that has to be what the file says, too: what is written and
 * flushed later is there when the image is opened again.
 */
#include "qemu/osdep.h"

#include "qcow2-test.h"

#define CLUSTER_BYTES 512
#define L2_REACH (CLUSTER_BYTES / 8 * CLUSTER_BYTES) /* guest bytes of one L2 table */
#define DISK_BYTES (4 * MiB)
#define MAX_FLUSHES 1000

typedef struct Switch {
    int refcount_bits;
    bool coroutine_fn (*co_operate)(MemUser *user);
    /* Says that the image is as before, after a failure. */
    void coroutine_fn (*co_judge)(MemUser *user);
} Switch;

/* One sector in each L2 table. */
static void coroutine_fn co_write_everywhere(MemUser *user, uint8_t first)
{
    uint8_t buf[CLUSTER_BYTES];

    for (int64_t i = 0; i < DISK_BYTES / L2_REACH; i++) {
        memset(buf, first + i, sizeof(buf));
        g_assert_cmpint(bdrv_co_pwrite(user->root, i * L2_REACH, sizeof(buf), buf, 0), ==, 0);
    }
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
}

static void coroutine_fn co_expect_everywhere(MemUser *user, uint8_t first)
{
    uint8_t buf[CLUSTER_BYTES], expected[CLUSTER_BYTES];

    for (int64_t i = 0; i < DISK_BYTES / L2_REACH; i++) {
        memset(expected, first + i, sizeof(expected));
        g_assert_cmpint(bdrv_co_pread(user->root, i * L2_REACH, sizeof(buf), buf, 0), ==, 0);
        g_assert_cmpmem(buf, sizeof(buf), expected, sizeof(expected));
    }
}

/* The file as it is now, opened beside the image that is in use. */
static void coroutine_fn co_expect_in_file(const Switch *k, uint8_t first)
{
    const GByteArray *data = mem_file("disk")->data;
    MemUser *user;

    mem_set_content("copy", data->data, data->len);
    user = qcow2_test_open("copy", 0);
    qcow2_test_check(user);
    co_expect_everywhere(user, first);
    if (k->co_judge) {
        k->co_judge(user);
    }
    mem_co_unuse(user);
}

/* Flush number @n of the operation fails.  False: it has not so many. */
static bool coroutine_fn co_fail_at(const Switch *k, guint n)
{
    BlockdevCreateOptionsQcow2 o = {
        .size = DISK_BYTES,
        .has_cluster_size = true,
        .cluster_size = CLUSTER_BYTES,
        .has_refcount_bits = true,
        .refcount_bits = k->refcount_bits,
    };
    MemUser *user;
    bool ok, has_failed;

    mem_set_content("disk", NULL, 0);
    g_assert_true(qcow2_test_create("disk", &o, &error_abort));
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    mem_fault = (MemFault){ .kinds = "f", .error = EIO, .at = n };
    ok = k->co_operate(user);
    has_failed = mem_fault.hits > 0;
    mem_fault = (MemFault){ 0 };
    g_assert_true(ok || has_failed);
    if (!ok) {
        co_write_everywhere(user, n);
        co_expect_in_file(k, n);
    }
    mem_co_unuse(user);
    return has_failed;
}

static void coroutine_fn co_fail_each(const Switch *k)
{
    guint n = 1;

    while (co_fail_at(k, n)) {
        n++;
        g_assert_cmpuint(n, <, MAX_FLUSHES);
    }
    g_assert_cmpuint(n, >, 1);
}

/* ---- a longer L1 table --------------------------------------------------------------------- */

static bool coroutine_fn co_grow(MemUser *user)
{
    return bdrv_co_truncate(user->root, 4 * DISK_BYTES, true, PREALLOC_MODE_OFF, 0, NULL) >= 0;
}

static void coroutine_fn co_judge_size(MemUser *user)
{
    g_assert_cmpint(bdrv_getlength(user->bs), ==, DISK_BYTES);
}

static void coroutine_fn co_resize(void)
{
    co_fail_each(&(Switch){ 16, co_grow, co_judge_size });
}

/* ---- a longer refcount table --------------------------------------------------------------- */

/* 64 counts in a block, 64 blocks in a table: 2 MiB of clusters. */
static bool coroutine_fn co_fill(MemUser *user)
{
    g_autofree uint8_t *buf = g_malloc0(DISK_BYTES);
    int ret = bdrv_co_pwrite(user->root, 0, DISK_BYTES, buf, 0);

    return ret >= 0 && bdrv_co_flush(user->bs) >= 0;
}

static void coroutine_fn co_reftable(void)
{
    co_fail_each(&(Switch){ 64, co_fill, NULL });
}

/* ---- the header as a whole ----------------------------------------------------------------- */

static bool coroutine_fn co_name_backing(MemUser *user)
{
    return bdrv_co_change_backing_file(user->bs, "some other file", "raw", true) >= 0;
}

static void coroutine_fn co_judge_backing(MemUser *user)
{
    g_assert_null(bdrv_cow_bs(user->bs));
}

static void coroutine_fn co_rewrite(void)
{
    co_fail_each(&(Switch){ 16, co_name_backing, co_judge_backing });
}

int main(int argc, char **argv)
{
    static const Qcow2TestCase cases[] = {
        { "/qcow2/switch/resize/failed-flush-leaves-old-l1", co_resize },
        { "/qcow2/switch/grow/failed-flush-leaves-old-refcounts", co_reftable },
        { "/qcow2/switch/header/failed-flush-leaves-old-header", co_rewrite },
    };

    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);
    qcow2_test_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
