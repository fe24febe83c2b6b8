/* SPDX-License-Identifier: GPL-2.0-or-later */
/* quorum: copies vote, failures up to the threshold are survived, losers are put right. */
#include "qemu/osdep.h"

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include "block/graph.h"
#include "qobject/json-parser.h"

extern BlockDriver bdrv_quorum;
static BlockDriver *const drivers[] = { &memdisk_driver, &bdrv_quorum, NULL };

#define DISK_BYTES (1 * MiB)
#define N 3

typedef struct Setup {
    BlockDriverState *disks[N], *quorum;
    MemUser user;
} Setup;

static BlockDriverState *coroutine_fn co_open(const char *more, Error **errp)
{
    g_autofree char *text = g_strdup_printf("{'driver': 'quorum', 'node-name': 'q', 'children': "
                                            "['d0', 'd1', 'd2'], %s}", more);
    g_autoptr(QObject) obj = qobject_from_json(text, &error_abort);

    return bdrv_co_open(NULL, NULL, qobject_ref(qobject_to(QDict, obj)), BDRV_O_RDWR, errp);
}

static void coroutine_fn co_make_disks(Setup *s)
{
    for (int i = 0; i < N; i++) {
        g_autofree char *name = g_strdup_printf("d%d", i);

        s->disks[i] = memdisk_co_new(name, DISK_BYTES);
        memset(memdisk(s->disks[i])->data, 0x11, DISK_BYTES);
        memdisk(s->disks[i])->max_yields = 3;
    }
}

static void coroutine_fn co_set_up(Setup *s, const char *more)
{
    memset(s, 0, sizeof(*s));
    co_make_disks(s);
    s->quorum = co_open(more, &error_abort);
    g_assert_cmpint(bdrv_getlength(s->quorum), ==, DISK_BYTES);
    memuser_co_attach(&s->user, s->quorum, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE, BLK_PERM_ALL);
}

static void coroutine_fn co_tear_down(Setup *s)
{
    memuser_co_detach(&s->user);
    bdrv_unref(s->quorum);
    for (int i = 0; i < N; i++) {
        bdrv_unref(s->disks[i]);
    }
}

static int coroutine_fn co_read(Setup *s, uint8_t *first)
{
    uint8_t buf[4096];
    int ret = bdrv_co_pread(s->user.root, 8192, sizeof(buf), buf, 0);

    *first = buf[0];
    return ret;
}

static int coroutine_fn co_write(Setup *s, uint8_t byte)
{
    uint8_t buf[4096];

    memset(buf, byte, sizeof(buf));
    return bdrv_co_pwrite(s->user.root, 8192, sizeof(buf), buf, 0);
}

static void coroutine_fn co_writes_go_everywhere(void)
{
    uint8_t byte;
    Setup s;

    co_set_up(&s, "'vote-threshold': 3");
    g_assert_cmpint(co_write(&s, 0x22), ==, 0);
    for (int i = 0; i < N; i++) {
        g_assert_cmpint(memdisk(s.disks[i])->data[8192], ==, 0x22);
        g_assert_cmpint(memdisk(s.disks[i])->data[8191], ==, 0x11);
    }
    g_assert_cmpint(co_read(&s, &byte), ==, 0);
    g_assert_cmpint(byte, ==, 0x22);
    g_assert_cmpint(bdrv_co_pwrite_zeroes(s.user.root, 0, 512, 0), ==, 0);
    g_assert_cmpint(memdisk(s.disks[2])->data[0], ==, 0);
    g_assert_cmpint(bdrv_co_flush(s.quorum), ==, 0);
    g_assert_cmpint(memdisk(s.disks[0])->flushes, ==, 1);
    co_tear_down(&s);
}

/* Zeroes that one copy cannot write quickly are not left out there. */
static void coroutine_fn co_refused_zeroes(void)
{
    Setup s;

    co_set_up(&s, "'vote-threshold': 2");
    memdisk(s.disks[1])->refuse_zeroes = 1;
    g_assert_cmpint(bdrv_co_pwrite_zeroes(s.user.root, 0, 4096, BDRV_REQ_NO_FALLBACK), ==,
                    -ENOTSUP);
    g_assert_cmpint(memdisk(s.disks[1])->data[0], ==, 0x11);
    memdisk(s.disks[1])->refuse_zeroes = 1;
    g_assert_cmpint(bdrv_co_pwrite_zeroes(s.user.root, 0, 4096, 0), ==, 0);
    for (int i = 0; i < N; i++) {
        g_assert_cmpint(memdisk(s.disks[i])->data[0], ==, 0);
    }
    co_tear_down(&s);
}

static void coroutine_fn co_one_may_fail(void)
{
    uint8_t byte;
    Setup s;

    co_set_up(&s, "'vote-threshold': 2");
    memdisk(s.disks[1])->fail_writes = 1;
    g_assert_cmpint(co_write(&s, 0x22), ==, 0);
    memdisk(s.disks[0])->fail_reads = 1;
    memdisk(s.disks[1])->data[8192] = 0x22;
    memset(memdisk(s.disks[1])->data + 8192, 0x22, 4096);
    g_assert_cmpint(co_read(&s, &byte), ==, 0);
    g_assert_cmpint(byte, ==, 0x22);
    memdisk(s.disks[2])->fail_flushes = 1;
    g_assert_cmpint(bdrv_co_flush(s.quorum), ==, 0);
    memdisk(s.disks[1])->fail_writes = memdisk(s.disks[2])->fail_writes = 1;
    g_assert_cmpint(co_write(&s, 0x33), ==, -ENOSPC);
    memdisk(s.disks[1])->fail_reads = memdisk(s.disks[2])->fail_reads = 1;
    g_assert_cmpint(co_read(&s, &byte), ==, -EIO);
    co_tear_down(&s);
}

static void coroutine_fn co_majority_wins(void)
{
    uint8_t byte;
    Setup s;

    co_set_up(&s, "'vote-threshold': 2");
    memdisk(s.disks[0])->data[8192 + 700] = 0;
    memdisk(s.disks[0])->data[8192] = 0;
    g_assert_cmpint(co_read(&s, &byte), ==, 0);
    g_assert_cmpint(byte, ==, 0x11);
    g_assert_cmpint(memdisk(s.disks[0])->data[8192], ==, 0);
    memdisk(s.disks[1])->data[8192] = 5;
    g_assert_cmpint(co_read(&s, &byte), ==, -EIO);
    co_tear_down(&s);
}

static void coroutine_fn co_losers_are_put_right(void)
{
    uint8_t byte;
    Setup s;

    co_set_up(&s, "'vote-threshold': 2, 'rewrite-corrupted': true");
    memdisk(s.disks[0])->data[8192] = 0;
    g_assert_cmpint(co_read(&s, &byte), ==, 0);
    g_assert_cmpint(byte, ==, 0x11);
    g_assert_cmpint(memdisk(s.disks[0])->data[8192], ==, 0x11);
    co_tear_down(&s);
}

static void coroutine_fn co_fifo(void)
{
    uint8_t byte;
    Setup s;

    co_set_up(&s, "'vote-threshold': 1, 'read-pattern': 'fifo'");
    memset(memdisk(s.disks[1])->data, 0x44, DISK_BYTES);
    g_assert_cmpint(co_read(&s, &byte), ==, 0);
    g_assert_cmpint(byte, ==, 0x11);
    memdisk(s.disks[0])->fail_reads = 1;
    g_assert_cmpint(co_read(&s, &byte), ==, 0);
    g_assert_cmpint(byte, ==, 0x44);
    co_tear_down(&s);
}

static void coroutine_fn co_claims(void)
{
    Setup s;

    co_set_up(&s, "'vote-threshold': 2");
    g_assert_false(bdrv_rights_available(s.disks[0], BLK_PERM_WRITE, NULL, NULL));
    g_assert_true(bdrv_rights_available(s.disks[0], BLK_PERM_CONSISTENT_READ, NULL, NULL));
    co_tear_down(&s);
}

static void coroutine_fn co_bad_options(void)
{
    static const struct {
        const char *more, *message;
    } bad[] = {
        { "'vote-threshold': 4", "threshold may not exceed children count" },
        { "'vote-threshold': 0", "Parameter 'vote-threshold' expects a value >= 1" },
        { "'vote-threshold': 2, 'blkverify': true", "blkverify=on can only be set if there are "
          "exactly two files and vote-threshold is 2" },
        { "'vote-threshold': 2, 'read-pattern': 'fifo', 'rewrite-corrupted': true",
          "blkverify=on and rewrite-corrupted=on need read-pattern=quorum" },
    };
    Setup s;

    co_make_disks(&s);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        Error *err = NULL;

        g_assert_null(co_open(bad[i].more, &err));
        g_assert_cmpstr(error_get_pretty(err), ==, bad[i].message);
        error_free(err);
    }
    for (int i = 0; i < N; i++) {
        bdrv_unref(s.disks[i]);
    }
}

/* A copy is added, and then holds what is written; one is taken out, and is left alone. */
static void coroutine_fn co_copies_come_and_go(void)
{
    Setup s;
    BlockDriverState *more, *small;
    uint8_t buf[512] = { 0x33 };
    g_autoptr(Error) used = NULL, size = NULL, few = NULL, unknown = NULL, single = NULL;

    co_set_up(&s, "'vote-threshold': 3");
    more = memdisk_co_new("d3", DISK_BYTES);
    small = memdisk_co_new("small", DISK_BYTES / 2);
    memset(memdisk(more)->data, 0x11, DISK_BYTES);
    g_assert_false(bdrv_co_del_child(s.quorum, "children.0", &few));
    g_assert_nonnull(strstr(error_get_pretty(few), "cannot be lower than the vote threshold 3"));
    g_assert_false(bdrv_co_del_child(s.quorum, "children.9", &unknown));
    g_assert_false(bdrv_co_add_child(s.quorum, s.disks[1], &used));
    g_assert_cmpstr(error_get_pretty(used), ==, "The node d1 already has a parent");
    g_assert_false(bdrv_co_add_child(s.quorum, small, &size));
    g_assert_false(bdrv_co_add_child(more, small, &single));
    g_assert_cmpstr(error_get_pretty(single), ==, "The node d3 does not support adding a child");

    g_assert_true(bdrv_co_add_child(s.quorum, more, &error_abort));
    g_assert_true(bdrv_co_del_child(s.quorum, "children.0", &error_abort));
    g_assert_cmpint(bdrv_co_pwrite(s.user.root, 4096, sizeof(buf), buf, 0), ==, 0);
    g_assert_cmpmem(memdisk(more)->data + 4096, sizeof(buf), buf, sizeof(buf));
    g_assert_cmpint(memdisk(s.disks[0])->data[4096], ==, 0x11);
    g_assert_false(bdrv_co_del_child(s.quorum, "children.1", NULL));
    bdrv_unref(more);
    bdrv_unref(small);
    co_tear_down(&s);
}

int main(int argc, char **argv)
{
    static const MemCase cases[] = {
        { "/quorum/write/goes-everywhere", co_writes_go_everywhere },
        { "/quorum/zeroes/refused-by-one-are-refused", co_refused_zeroes },
        { "/quorum/errors/up-to-the-threshold", co_one_may_fail },
        { "/quorum/vote/majority-wins", co_majority_wins },
        { "/quorum/vote/losers-are-put-right", co_losers_are_put_right },
        { "/quorum/read/fifo", co_fifo },
        { "/quorum/claims/nobody-else-writes", co_claims },
        { "/quorum/open/bad-options", co_bad_options },
        { "/quorum/children/come-and-go", co_copies_come_and_go },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    mem_drivers = drivers;
    mem_add_cases(cases, G_N_ELEMENTS(cases));
    return g_test_run();
}
