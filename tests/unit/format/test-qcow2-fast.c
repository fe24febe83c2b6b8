/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the mapping fast path of qcow2 answers, and what it leaves to the full path. */
#include "qemu/osdep.h"

#include "qcow2-test.h"
#include "../../../block/format/qcow2/qcow2.h"

#define CLUSTER (64 * KiB)
#define SUB (CLUSTER / QCOW2_SUBCLUSTERS)
#define DISK_BYTES (16 * (int64_t)CLUSTER)

static MemUser *coroutine_fn co_make(bool is_extended)
{
    BlockdevCreateOptionsQcow2 o = {
        .size = DISK_BYTES,
        .has_extended_l2 = true,
        .extended_l2 = is_extended,
    };

    g_assert_true(qcow2_test_create("disk", &o, &error_abort));
    return qcow2_test_open("disk", BDRV_O_RDWR);
}

static void coroutine_fn co_fill(MemUser *user, int64_t offset, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    memset(buf, 0x3c, bytes);
    g_assert_cmpint(bdrv_co_pwrite(user->root, offset, bytes, buf, 0), ==, 0);
}

/* A write may go straight to where @offset is, or has to take the full path. */
static void expect_write(MemUser *user, int64_t offset, int64_t bytes, bool is_fast)
{
    BdrvMapping map = { 0 };
    BdrvMapKind kind = qcow2_map(user->bs, true, offset, bytes, &map);

    g_assert_cmpint(kind, ==, is_fast ? BDRV_MAP_CHILD : BDRV_MAP_NONE);
    if (is_fast) {
        g_assert_true(map.child == qcow2_data(user->bs));
    }
}

static void coroutine_fn co_plain(void)
{
    MemUser *user = co_make(false);

    co_fill(user, 0, 2 * CLUSTER);
    co_fill(user, 4 * CLUSTER, 512);
    expect_write(user, 512, 4096, true);
    expect_write(user, CLUSTER - 512, 1024, true);
    expect_write(user, 2 * CLUSTER - 512, 1024, false);
    expect_write(user, 4 * CLUSTER + 8192, 512, true);
    g_assert_cmpint(bdrv_co_pwrite_zeroes(user->root, 4 * CLUSTER, CLUSTER, 0), ==, 0);
    expect_write(user, 4 * CLUSTER + 8192, 512, false);
    mem_co_unuse(user);
}

/* New clusters that need nothing but themselves: linked at once, and in place from then on. */
static void coroutine_fn co_new(void)
{
    MemUser *user = co_make(false);
    Qcow2State *s = user->bs->opaque;
    BdrvMapping map = { 0 };

    /* The table is not there yet. */
    expect_write(user, CLUSTER, 512, false);
    co_fill(user, 0, 512);
    expect_write(user, 4 * CLUSTER - 512, 1024, true);
    g_assert_cmphex(qcow2_map(user->bs, false, 4 * CLUSTER - 512, 1024, &map), ==, BDRV_MAP_CHILD);
    g_assert_cmphex(map.offset + 512, ==, s->ahead_end - CLUSTER);
    /* Some have a place, some have none. */
    expect_write(user, 5 * CLUSTER - 512, 1024, false);
    expect_write(user, 6 * CLUSTER, CLUSTER, true);
    g_assert_cmphex(s->ahead_end, ==, s->fresh_from << s->cluster_bits);
    /* What was used before may hold anything. */
    g_assert_cmpint(bdrv_co_pdiscard(user->root, 6 * CLUSTER, CLUSTER), ==, 0);
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
    expect_write(user, 8 * CLUSTER, CLUSTER, false);
    mem_co_unuse(user);
}

/* What may not be taken without a longer look. */
static void coroutine_fn co_not_new(void)
{
    MemUser *user = co_make(false);
    Qcow2State *s = user->bs->opaque;
    uint64_t first;

    co_fill(user, 0, CLUSTER);
    first = s->free_cluster_index;
    s->header.crypt_method = QCOW2_CRYPT_AES; /* zeroes in the file are none */
    expect_write(user, CLUSTER, 512, false);
    s->header.crypt_method = 0;
    s->is_lost = true;
    expect_write(user, CLUSTER, 512, false);
    s->is_lost = false;
    mem_driver.new_is_undefined = true;
    expect_write(user, CLUSTER, 512, false);
    mem_driver.new_is_undefined = false;
    s->free_cluster_index = s->fresh_from = first - 1; /* in use */
    expect_write(user, CLUSTER, 512, false);
    /* A table, whatever its count. */
    s->free_cluster_index = s->fresh_from = s->l1.offset / CLUSTER;
    qemu_co_mutex_lock(&s->lock);
    g_assert_cmpint(qcow2_co_free_unused(user->bs, s->l1.offset, 1), ==, 0);
    qemu_co_mutex_unlock(&s->lock);
    expect_write(user, CLUSTER, 512, false);
    g_assert_cmphex(s->free_cluster_index, ==, s->l1.offset / CLUSTER);
    s->free_cluster_index = s->fresh_from = first;
    expect_write(user, CLUSTER, 512, true);
    mem_co_unuse(user);
}

/* A cache that is too large is seen to by whoever comes next, also by a write in place. */
static void coroutine_fn co_relief(void)
{
    MemUser *user = co_make(false);
    Qcow2State *s = user->bs->opaque;

    co_fill(user, 0, CLUSTER);
    s->wants_write_back = true;
    expect_write(user, CLUSTER, 512, false);
    co_fill(user, CLUSTER, 512);
    g_assert_false(s->wants_write_back);
    mem_co_unuse(user);
}

static void coroutine_fn co_subclusters(void)
{
    MemUser *user = co_make(true);

    co_fill(user, 0, 2 * CLUSTER);
    co_fill(user, 4 * CLUSTER + 2 * SUB, 2 * SUB);
    co_fill(user, 5 * CLUSTER, CLUSTER);
    g_assert_cmpint(bdrv_co_pwrite_zeroes(user->root, 5 * CLUSTER + SUB, SUB, 0), ==, 0);
    expect_write(user, 512, 4096, true);
    expect_write(user, CLUSTER - 512, 1024, true);
    expect_write(user, 2 * CLUSTER - 512, 1024, false);
    expect_write(user, 4 * CLUSTER + 2 * SUB, 2 * SUB, true);
    expect_write(user, 4 * CLUSTER + 2 * SUB - 512, 1024, false);
    expect_write(user, 4 * CLUSTER + 4 * SUB - 512, 1024, false);
    expect_write(user, 4 * CLUSTER + 8 * SUB, 512, false);
    expect_write(user, 5 * CLUSTER, SUB, true);
    expect_write(user, 5 * CLUSTER, SUB + 512, false);
    expect_write(user, 5 * CLUSTER + 2 * SUB, 30 * SUB, true);
    mem_co_unuse(user);
}

/* Only who touches the same clusters has to wait for an allocating write. */
static void coroutine_fn co_allocation(void)
{
    MemUser *user = co_make(false);
    Qcow2State *s = user->bs->opaque;
    Qcow2Alloc alloc;

    co_fill(user, 0, 8 * CLUSTER);
    qemu_co_mutex_lock(&s->lock);
    qcow2_alloc_co_reserve(user->bs, 2 * CLUSTER, 2, &alloc);
    qemu_co_mutex_unlock(&s->lock);
    expect_write(user, 0, 2 * CLUSTER, true);
    expect_write(user, 2 * CLUSTER - 512, 1024, false);
    expect_write(user, 3 * CLUSTER, 512, false);
    expect_write(user, 4 * CLUSTER, 512, true);
    qemu_co_mutex_lock(&s->lock);
    expect_write(user, 4 * CLUSTER, 512, false);
    qcow2_alloc_release(&alloc);
    qemu_co_mutex_unlock(&s->lock);
    expect_write(user, 3 * CLUSTER, 512, true);
    mem_co_unuse(user);
}

/* An entry that names metadata is for the full path, which finds the damage. */
static void coroutine_fn co_over_metadata(void)
{
    MemUser *user = co_make(false);
    Qcow2State *s = user->bs->opaque;
    uint64_t places[] = { 0, s->l1.offset, s->reftable.offset,
                          s->reftable.entries[0] & QCOW2_REFTABLE_MASK };

    co_fill(user, 0, 8 * CLUSTER);
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        Qcow2CacheEntry *slice;
        uint32_t index;

        qemu_co_mutex_lock(&s->lock);
        g_assert_cmpint(qcow2_co_get_slice_for_write(user->bs, 0, &slice, &index), ==, 0);
        qcow2_slice_set(s, slice, index, places[i] | QCOW2_COPIED);
        qcow2_cache_put(slice);
        qemu_co_mutex_unlock(&s->lock);
        expect_write(user, 0, 512, false);
        expect_write(user, CLUSTER, 512, true);
    }
    mem_co_unuse(user);
}

int main(int argc, char **argv)
{
    static const Qcow2TestCase cases[] = {
        { "/qcow2/fast/writes-in-place", co_plain },
        { "/qcow2/fast/writes-to-new-clusters", co_new },
        { "/qcow2/fast/not-to-what-may-be-in-use", co_not_new },
        { "/qcow2/fast/relief-of-caches", co_relief },
        { "/qcow2/fast/writes-to-subclusters-in-place", co_subclusters },
        { "/qcow2/fast/writes-beside-an-allocation", co_allocation },
        { "/qcow2/fast/writes-over-metadata-are-left", co_over_metadata },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    qcow2_test_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
