/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapshot-access: it reads as the source was at one moment, while guests overwrite the source. */
#include "qemu/osdep.h"

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include "block/block-backend.h"
#include "block/copy-before-write.h"
#include "qobject/json-parser.h"

#define DISK_BYTES (2 * MiB)
#define CLUSTER (64 * KiB)
#define REQUESTS 400

typedef struct Setup {
    BlockDriverState *source, *target, *cbw, *access;
    BlockBackend *guest, *reader;
    BlockCopyState *bcs;
    GRand *rand;
    uint8_t *moment; /* content of the source when the filter was put in */
    int running;
    Coroutine *waiter;
} Setup;

static BlockDriverState *coroutine_fn co_open_access(const char *file, Error **errp)
{
    g_autofree char *json = g_strdup_printf("{'driver': 'snapshot-access', 'file': '%s', "
                                            "'node-name': 'sa', 'discard': 'unmap'}", file);

    return bdrv_co_open(NULL, NULL, qobject_to(QDict, qobject_from_json(json, &error_abort)),
                        BDRV_O_RDWR, errp);
}

static void coroutine_fn co_set_up(Setup *s, OnCbwError on_cbw_error)
{
    CbwArgs args = { .filter_node_name = "cbw", .on_cbw_error = on_cbw_error };

    memset(s, 0, sizeof(*s));
    s->rand = test_rand_new();
    s->source = args.source = memdisk_co_new("source", DISK_BYTES);
    s->target = args.target = memdisk_co_new("target", DISK_BYTES);
    test_rand_fill(s->rand, memdisk(s->source)->data, DISK_BYTES);
    memset(memdisk(s->source)->data + MiB, 0, MiB / 2);
    s->moment = g_memdup2(memdisk(s->source)->data, DISK_BYTES);
    s->guest = blk_co_new_with_bs(s->source, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                                  BLK_PERM_CONSISTENT_READ, &error_abort);
    s->cbw = cbw_co_insert(&args, &s->bcs, &error_abort);
    s->access = co_open_access("cbw", &error_abort);
    s->reader = blk_co_new_with_bs(s->access, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                                   BLK_PERM_ALL, &error_abort);
}

static void coroutine_fn co_tear_down(Setup *s)
{
    blk_co_unref(s->reader);
    bdrv_unref(s->access);
    bdrv_co_control_unlock();
    bdrv_co_control_lock();
    g_assert_true(cbw_co_drop(s->cbw, &error_abort));
    blk_co_unref(s->guest);
    bdrv_unref(s->source);
    bdrv_unref(s->target);
    g_rand_free(s->rand);
    g_free(s->moment);
}

static int64_t random_range(Setup *s, int64_t *bytes)
{
    int64_t offset = test_rand_below(s->rand, DISK_BYTES);

    *bytes = 1 + test_rand_below(s->rand, MIN(DISK_BYTES - offset, 3 * CLUSTER));
    return offset;
}

static void leave(Setup *s)
{
    if (--s->running == 0) {
        aio_co_wake(s->waiter);
    }
}

static void coroutine_fn co_guest(void *opaque)
{
    Setup *s = opaque;

    for (int i = 0; i < REQUESTS; i++) {
        int64_t bytes, offset = random_range(s, &bytes);
        g_autofree uint8_t *buf = g_malloc(bytes);
        int dice = test_rand_below(s->rand, 5);

        memset(buf, 0xe0 + i % 16, bytes);
        g_assert_cmpint(dice == 0 ? blk_co_pwrite_zeroes(s->guest, offset, bytes, 0)
                        : dice == 1 ? blk_co_pdiscard(s->guest, offset, bytes)
                                    : blk_co_pwrite(s->guest, offset, bytes, buf, 0), ==, 0);
    }
    leave(s);
}

static void coroutine_fn co_check_status(Setup *s, int64_t offset, int64_t bytes)
{
    while (bytes > 0) {
        BlockDriverState *file;
        int64_t n, map;
        int ret = blk_co_block_status_above(s->reader, NULL, offset, bytes, &n, &map, &file, NULL);

        g_assert_cmpint(ret, >=, 0);
        for (int64_t i = offset; ret & BDRV_BLOCK_ZERO && i < offset + n; i++) {
            g_assert_cmpint(s->moment[i], ==, 0);
        }
        offset += n;
        bytes -= n;
    }
}

static void coroutine_fn co_reader(void *opaque)
{
    Setup *s = opaque;

    for (int i = 0; i < REQUESTS; i++) {
        int64_t bytes, offset = random_range(s, &bytes);
        g_autofree uint8_t *buf = g_malloc(bytes);

        g_assert_cmpint(blk_co_pread(s->reader, offset, bytes, buf, 0), ==, 0);
        g_assert_cmpmem(buf, bytes, s->moment + offset, bytes);
        co_check_status(s, offset, bytes);
    }
    leave(s);
}

static void coroutine_fn co_reads_the_moment(void)
{
    Setup s;

    co_set_up(&s, ON_CBW_ERROR_BREAK_GUEST_WRITE);
    memdisk(s.source)->max_yields = memdisk(s.target)->max_yields = 5;
    s.waiter = qemu_coroutine_self();
    for (s.running = 0; s.running < 6; s.running++) {
        aio_co_schedule(qemu_get_aio_context(),
                        qemu_coroutine_create(s.running % 2 ? co_reader : co_guest, &s));
    }
    qemu_coroutine_yield();
    g_assert_true(memcmp(memdisk(s.source)->data, s.moment, DISK_BYTES) != 0);
    co_tear_down(&s);
}

static void coroutine_fn co_discard_lets_go(void)
{
    Setup s;
    uint8_t buf[512] = { 1 };

    co_set_up(&s, ON_CBW_ERROR_BREAK_GUEST_WRITE);
    g_assert_cmpint(blk_co_pdiscard(s.reader, 2 * CLUSTER, CLUSTER + 512), ==, 0);
    g_assert_cmpint(blk_co_pread(s.reader, 2 * CLUSTER, 512, buf, 0), ==, -EACCES);
    g_assert_cmpint(blk_co_pread(s.reader, 3 * CLUSTER, 512, buf, 0), ==, 0);
    g_assert_cmpint(blk_co_pwrite(s.guest, 2 * CLUSTER, 512, buf, 0), ==, 0);
    g_assert_cmpint(memdisk(s.target)->writes, ==, 0);
    g_assert_cmpint(blk_co_pwrite(s.guest, 3 * CLUSTER, 512, buf, 0), ==, 0);
    g_assert_cmpint(memdisk(s.target)->writes, ==, 1);
    g_assert_cmpint(blk_co_pwrite(s.reader, 0, 512, buf, 0), ==, -ENOTSUP);
    co_tear_down(&s);
}

static void coroutine_fn co_broken_snapshot(void)
{
    Setup s;
    uint8_t buf[512] = { 1 };

    co_set_up(&s, ON_CBW_ERROR_BREAK_SNAPSHOT);
    memdisk(s.target)->fail_writes = 1;
    g_assert_cmpint(blk_co_pwrite(s.guest, 0, 512, buf, 0), ==, 0);
    g_assert_cmpint(blk_co_pread(s.reader, CLUSTER, 512, buf, 0), ==, -EACCES);
    co_tear_down(&s);
}

static void coroutine_fn co_needs_a_snapshot(void)
{
    BlockDriverState *disk = memdisk_co_new("disk", DISK_BYTES);
    g_autoptr(Error) err = NULL;

    g_assert_null(co_open_access("disk", &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "keeps no snapshot"));
    bdrv_unref(disk);
}

static const MemCase cases[] = {
    { "/snapshot-access/read/is-the-moment", co_reads_the_moment },
    { "/snapshot-access/discard/lets-go", co_discard_lets_go },
    { "/snapshot-access/broken-snapshot/reads-fail", co_broken_snapshot },
    { "/snapshot-access/open/needs-copy-before-write", co_needs_a_snapshot },
};

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    bdrv_init();
    mem_drivers = bdrv_drivers;
    mem_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
