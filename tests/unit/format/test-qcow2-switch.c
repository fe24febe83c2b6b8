/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A change of the header whose flush fails, though what was written is in the file.  The program
 * goes on with the image as it was, so that has to be what the file says, too: what is written and
 * flushed later is there when the image is opened again.
 *
 * If the old header cannot be written again either, nobody knows which one the file has.  From then
 * on nothing is written to it, and no flush promises anything.
 */
#include "qemu/osdep.h"

#include "block/snapshot.h"

#include "../../../block/format/qcow2/refarray.h"
#include "qcow2-test.h"

#define CLUSTER_BYTES 512
#define L2_REACH (CLUSTER_BYTES / 8 * CLUSTER_BYTES) /* guest bytes of one L2 table */
#define DISK_BYTES (4 * MiB)
#define MAX_CALLS 5000

typedef struct Switch {
    int refcount_bits;
    bool coroutine_fn (*co_operate)(MemUser *user);
    /* Says that the image is as before, after a failure. */
    void coroutine_fn (*co_judge)(MemUser *user);
    const char *kinds; /* of the calls that fail (MemFault) */
    uint8_t first;     /* what the disk is full of before; 0: nothing */
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

static MemUser *coroutine_fn co_make_disk(const Switch *k)
{
    BlockdevCreateOptionsQcow2 o = {
        .size = DISK_BYTES,
        .has_cluster_size = true,
        .cluster_size = CLUSTER_BYTES,
        .has_refcount_bits = true,
        .refcount_bits = k->refcount_bits,
    };
    MemUser *user;

    mem_set_content("disk", NULL, 0);
    g_assert_true(qcow2_test_create("disk", &o, &error_abort));
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    if (k->first) {
        co_write_everywhere(user, k->first);
    }
    return user;
}

/* Call number @n of the operation fails.  False: it has not so many. */
static bool coroutine_fn co_fail_at(const Switch *k, guint n)
{
    MemUser *user = co_make_disk(k);
    bool ok, has_failed;

    mem_fault = (MemFault){ .kinds = k->kinds, .error = EIO, .at = n };
    ok = k->co_operate(user);
    has_failed = mem_fault.hits > 0;
    mem_fault = (MemFault){ 0 };
    g_assert_true(ok || has_failed);
    if (!ok && k->first) {
        co_expect_in_file(k, k->first);
    }
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
        g_assert_cmpuint(n, <, MAX_CALLS);
    }
    g_test_message("%u calls", n - 1);
    g_assert_cmpuint(n, >, 1);
}

/* ---- when the old header cannot be written either ------------------------------------------ */

/* Writes into one new cluster after the other, beside the operation. */
typedef struct Neighbour {
    MemCrew crew;
    MemUser *user;
    bool is_over;
} Neighbour;

static void coroutine_fn co_neighbour(void *opaque)
{
    static const uint8_t buf[CLUSTER_BYTES] = { 0x77 };
    Neighbour *n = opaque;
    int ret = 0;

    for (int64_t at = 0; ret >= 0 && !n->is_over && at < DISK_BYTES; at += L2_REACH) {
        ret = bdrv_co_pwrite(n->user->root, at, sizeof(buf), buf, 0);
    }
    mem_crew_leave(&n->crew);
}

/* No flush says that it went well, and nothing changes the file. */
static void coroutine_fn co_expect_stop(MemUser *user)
{
    const GByteArray *data = mem_file("disk")->data;
    g_autoptr(GBytes) before = g_bytes_new(data->data, data->len);

    g_assert_cmpint(bdrv_co_flush(user->bs), ==, -EIO);
    mem_co_unuse(user);
    g_assert_cmpuint(data->len, ==, g_bytes_get_size(before));
    g_assert_cmpint(memcmp(data->data, g_bytes_get_data(before, NULL), data->len), ==, 0);
    user = qcow2_test_open("disk", 0);
    qcow2_test_check(user);
    mem_co_unuse(user);
}

/*
 * From call number @n on, all fail while the operation runs; and none afterwards.  False:
 * it has not so many.  @stops: raised if the image takes no more writes.
 */
static bool coroutine_fn co_lose_at(const Switch *k, guint32 seed, guint n, guint *stops)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    static const uint8_t buf[CLUSTER_BYTES];
    MemUser *user = co_make_disk(k);
    Neighbour neighbour = { .user = user };
    bool ok, has_failed;

    mem_rand = rand;
    mem_crew_start(&neighbour.crew, co_neighbour, &neighbour);
    mem_fault = (MemFault){ .kinds = k->kinds, .error = EIO, .at = n, .persists = true };
    ok = k->co_operate(user);
    has_failed = mem_fault.hits > 0;
    mem_fault = (MemFault){ 0 };
    neighbour.is_over = true;
    mem_crew_wait(&neighbour.crew);
    mem_rand = NULL;
    if (!ok && bdrv_co_pwrite(user->root, 0, sizeof(buf), buf, 0) < 0) {
        (*stops)++;
        co_expect_stop(user);
    } else {
        mem_co_unuse(user);
    }
    return has_failed;
}

static void coroutine_fn co_lose_each(const Switch *k)
{
    g_autoptr(GRand) rand = test_rand_new();
    guint32 seed = g_rand_int(rand); /* always the same: the calls before number n are, too */
    guint n = 1, stops = 0;

    while (co_lose_at(k, seed, n, &stops)) {
        n++;
        g_assert_cmpuint(n, <, MAX_CALLS);
    }
    g_test_message("%u calls, after %u of them nothing was written any more", n - 1, stops);
    g_assert_cmpuint(stops, >, 0);
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
    co_fail_each(&(Switch){ 16, co_grow, co_judge_size, "f", 0 });
}

static void coroutine_fn co_resize_lost(void)
{
    co_lose_each(&(Switch){ 16, co_grow, co_judge_size, "wf", 0 });
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
    co_fail_each(&(Switch){ 64, co_fill, NULL, "f", 0 });
}

static void coroutine_fn co_reftable_lost(void)
{
    co_lose_each(&(Switch){ 64, co_fill, NULL, "wf", 0 });
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
    co_fail_each(&(Switch){ 16, co_name_backing, co_judge_backing, "f", 0 });
}

static void coroutine_fn co_rewrite_lost(void)
{
    co_lose_each(&(Switch){ 16, co_name_backing, co_judge_backing, "wf", 0 });
}

/* ---- new metadata ---------------------------------------------------------------------------- */

static bool coroutine_fn co_take_snapshot(MemUser *user)
{
    return bdrv_co_snapshot_create_now(user->bs, "new", NULL);
}

static void coroutine_fn co_snapshot_lost(void)
{
    co_lose_each(&(Switch){ 16, co_take_snapshot, NULL, "wf", 0 });
}

static void coroutine_fn co_judge_snapshots(MemUser *user)
{
    g_autoptr(SnapshotInfo) info = bdrv_snapshot_find(user->bs, NULL, "new");

    g_assert_null(info);
}

/* Tables are written while the next are read: whichever fails, the others have ended, too. */
static void coroutine_fn co_snapshot(void)
{
    const uint64_t window = qcow2_walk_window_bytes;
    g_autoptr(GRand) rand = test_rand_new();

    qcow2_walk_window_bytes = CLUSTER_BYTES; /* no request is of several tables, and tried again */
    mem_rand = rand;
    co_fail_each(&(Switch){ 16, co_take_snapshot, co_judge_snapshots, "rwf", 0x40 });
    mem_rand = NULL;
    qcow2_walk_window_bytes = window;
}

int main(int argc, char **argv)
{
    static const Qcow2TestCase cases[] = {
        { "/qcow2/switch/resize/failed-flush-leaves-old-l1", co_resize },
        { "/qcow2/switch/resize/lost-header-stops-writing", co_resize_lost },
        { "/qcow2/switch/grow/failed-flush-leaves-old-refcounts", co_reftable },
        { "/qcow2/switch/grow/lost-header-stops-writing", co_reftable_lost },
        { "/qcow2/switch/header/failed-flush-leaves-old-header", co_rewrite },
        { "/qcow2/switch/header/lost-header-stops-writing", co_rewrite_lost },
        { "/qcow2/switch/snapshot/lost-header-stops-writing", co_snapshot_lost },
        { "/qcow2/switch/snapshot/any-failure-leaves-old-image", co_snapshot },
    };

    qemu_init_main_loop(&error_abort);
    test_init(&argc, &argv);
    qcow2_test_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
