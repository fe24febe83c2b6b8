/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blklogwrites: replaying the log gives the disk; logs are gone on with; bad ones are refused. */
#include "qemu/osdep.h"

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include "block/block-backend.h"
#include "qobject/json-parser.h"

#define DISK_BYTES (1 * MiB)
#define LOG_BYTES (64 * MiB)

static BlockDriverState *coroutine_fn co_open(const char *options, Error **errp)
{
    g_autofree char *json = g_strdup_printf("{'driver': 'blklogwrites', 'file': 'disk', "
                                            "'log': 'log', 'discard': 'unmap'%s%s}",
                                            *options ? ", " : "", options);
    QDict *dict = qobject_to(QDict, qobject_from_json(json, &error_abort));

    return bdrv_co_open(NULL, NULL, dict, BDRV_O_RDWR, errp);
}

typedef struct Setup {
    BlockDriverState *disk, *log, *bs;
    BlockBackend *blk;
    uint8_t *replayed;
} Setup;

static void coroutine_fn co_open_log(Setup *s, const char *options)
{
    s->bs = co_open(options, &error_abort);
    s->blk = blk_co_new_with_bs(s->bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE, BLK_PERM_ALL,
                                &error_abort);
}

static void coroutine_fn co_close_log(Setup *s)
{
    blk_co_unref(s->blk);
    bdrv_unref(s->bs);
    bdrv_co_control_unlock(); /* closes it */
    bdrv_co_control_lock();
}

static void coroutine_fn co_set_up(Setup *s)
{
    s->disk = memdisk_co_new("disk", DISK_BYTES);
    s->log = memdisk_co_new("log", LOG_BYTES);
    s->replayed = g_malloc0(DISK_BYTES);
}

static void coroutine_fn co_tear_down(Setup *s)
{
    bdrv_unref(s->disk);
    bdrv_unref(s->log);
    g_free(s->replayed);
}

/* ---- a replay of its own, from the format's description -------------------------------------- */

static uint64_t log_u64(Setup *s, uint64_t offset)
{
    return ldq_le_p(memdisk(s->log)->data + offset);
}

/* Apply entries [from, to); returns flags of the last. */
static uint64_t replay(Setup *s, uint64_t from, uint64_t to)
{
    uint64_t sector_size = ldl_le_p(memdisk(s->log)->data + 24);
    uint64_t at = sector_size, flags = 0;

    for (uint64_t i = 0; i < to; i++) {
        uint64_t sector = log_u64(s, at), nr = log_u64(s, at + 8);

        flags = log_u64(s, at + 16);
        g_assert_cmpuint(log_u64(s, at + 24), ==, 0);
        at += sector_size;
        if (!(flags & 4)) {
            if (i >= from) {
                memcpy(s->replayed + sector * sector_size, memdisk(s->log)->data + at,
                       nr * sector_size);
            }
            at += nr * sector_size;
        } else if (i >= from) {
            memset(s->replayed + sector * sector_size, 0, nr * sector_size);
        }
    }
    return flags;
}

static void assert_replayed(Setup *s)
{
    g_assert_cmpmem(s->replayed, DISK_BYTES, memdisk(s->disk)->data, DISK_BYTES);
}

/* ---- cases ----------------------------------------------------------------------------------- */

static void coroutine_fn co_change(Setup *s, GRand *rand)
{
    int64_t offset = test_rand_below(rand, DISK_BYTES);
    int64_t bytes = 1 + test_rand_below(rand, MIN(DISK_BYTES - offset, 64 * KiB));
    g_autofree uint8_t *buf = g_malloc(bytes);

    switch (test_rand_below(rand, 5)) {
    case 0:
        g_assert_cmpint(blk_co_pwrite_zeroes(s->blk, offset, bytes, BDRV_REQ_MAY_UNMAP), ==, 0);
        break;
    case 1:
        g_assert_cmpint(blk_co_pdiscard(s->blk, offset, bytes), ==, 0);
        break;
    case 2:
        g_assert_cmpint(blk_co_flush(s->blk), ==, 0);
        break;
    default:
        test_rand_fill(rand, buf, bytes);
        g_assert_cmpint(blk_co_pwrite(s->blk, offset, bytes, buf, 0), ==, 0);
        break;
    }
}

static void coroutine_fn co_replays(const char *options, uint32_t sector_size)
{
    g_autoptr(GRand) rand = test_rand_new();
    uint64_t n;
    Setup s;

    co_set_up(&s);
    memdisk(s.disk)->max_yields = 2;
    co_open_log(&s, options);
    for (int i = 0; i < 100; i++) {
        co_change(&s, rand);
    }
    co_close_log(&s);
    g_assert_cmphex(log_u64(&s, 0), ==, 0x6a736677736872);
    g_assert_cmpuint(log_u64(&s, 8), ==, 1);
    g_assert_cmpuint(ldl_le_p(memdisk(s.log)->data + 24), ==, sector_size);
    n = log_u64(&s, 16);
    g_assert_cmpuint(n, >=, 80);
    replay(&s, 0, n);
    assert_replayed(&s);
    /* The same log again, and more. */
    co_open_log(&s, "'log-append': true");
    g_assert_cmpuint(s.bs->bl.request_alignment, ==, sector_size);
    for (int i = 0; i < 50; i++) {
        co_change(&s, rand);
    }
    co_close_log(&s);
    replay(&s, n, log_u64(&s, 16));
    assert_replayed(&s);
    co_tear_down(&s);
}

static void coroutine_fn co_replays_512(void)
{
    co_replays("", 512);
}

static void coroutine_fn co_replays_4k(void)
{
    co_replays("'log-sector-size': 4096, 'log-super-update-interval': 1", 4096);
}

static void coroutine_fn co_flags_and_super(void)
{
    uint8_t buf[512] = { 1 };
    Setup s;

    co_set_up(&s);
    co_open_log(&s, "'log-super-update-interval': 3");
    g_assert_cmpint(blk_co_pwrite(s.blk, 0, 512, buf, BDRV_REQ_FUA), ==, 0);
    g_assert_cmpuint(replay(&s, 0, 1), ==, 2);
    g_assert_cmpuint(log_u64(&s, 16), ==, 0);
    g_assert_cmpint(blk_co_flush(s.blk), ==, 0);
    g_assert_cmpuint(log_u64(&s, 16), ==, 2); /* a flush publishes */
    g_assert_cmpuint(replay(&s, 0, 2), ==, 1);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpint(blk_co_pwrite(s.blk, 0, 512, buf, 0), ==, 0);
    }
    g_assert_cmpuint(log_u64(&s, 16), ==, 5); /* and so does every third entry */
    g_assert_cmpint(blk_co_pdiscard(s.blk, 0, 512), ==, 0);
    g_assert_cmpuint(replay(&s, 0, 6), ==, 4);
    co_close_log(&s); /* flushes */
    g_assert_cmpuint(log_u64(&s, 16), ==, 7);
    g_assert_cmpuint(replay(&s, 0, 7), ==, 1);
    co_tear_down(&s);
}

/* As qemu-img info does; and afterwards it may become writable. */
static void coroutine_fn co_only_reads(void)
{
    uint8_t buf[512] = { 1 };
    Setup s;

    co_set_up(&s);
    s.bs = co_open("'read-only': true", &error_abort);
    g_assert_cmpuint(log_u64(&s, 0), ==, 0);
    g_assert_true(bdrv_co_reopen_set_read_only(s.bs, false, &error_abort));
    s.blk = blk_co_new_with_bs(s.bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE, BLK_PERM_ALL,
                               &error_abort);
    g_assert_cmpint(blk_co_pwrite(s.blk, 0, 512, buf, 0), ==, 0);
    co_close_log(&s);
    g_assert_cmpuint(log_u64(&s, 16), ==, 2);
    replay(&s, 0, 2);
    g_assert_cmpint(s.replayed[0], ==, 1);
    co_tear_down(&s);
}

static void coroutine_fn co_log_error_is_told(void)
{
    uint8_t buf[512] = { 1 };
    Setup s;

    co_set_up(&s);
    co_open_log(&s, "");
    memdisk(s.log)->fail_writes = 1;
    g_assert_cmpint(blk_co_pwrite(s.blk, 0, 512, buf, 0), ==, -ENOSPC);
    g_assert_cmpint(blk_co_pwrite(s.blk, 512, 512, buf, 0), ==, 0);
    co_close_log(&s);
    g_assert_cmpuint(log_u64(&s, 16), ==, 2); /* the write that was logged, and the last flush */
    replay(&s, 0, 2);
    g_assert_cmpint(s.replayed[512], ==, 1);
    co_tear_down(&s);
}

static void coroutine_fn co_expect_error(const char *options, const char *text)
{
    Error *err = NULL;

    g_assert_null(co_open(options, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, text);
    error_free(err);
    bdrv_co_control_unlock(); /* closes what was opened in vain */
    bdrv_co_control_lock();
}

static void coroutine_fn co_bad_logs(void)
{
    const char *append = "'log-append': true";
    uint8_t *data;
    Setup s;

    co_set_up(&s);
    data = memdisk(s.log)->data;
    co_expect_error("'log-append': true, 'log-sector-size': 512",
                    "log-append and log-sector-size are mutually exclusive");
    co_expect_error("'log-sector-size': 513", "Invalid log sector size 513");
    co_expect_error("'log-sector-size': 2147483648", "Invalid log sector size 2147483648");
    co_expect_error(append, "Invalid log superblock magic");
    stq_le_p(data, 0x6a736677736872);
    co_expect_error(append, "Unsupported log version 0");
    stq_le_p(data + 8, 1);
    co_expect_error(append, "Invalid log sector size 0");
    stl_le_p(data + 24, 512);
    stq_le_p(data + 16, UINT64_MAX);
    stq_le_p(data + 512 + 16, 0x100);
    co_expect_error(append, "Invalid flags 0x100 in log entry 0");
    stq_le_p(data + 512 + 16, 0);
    stq_le_p(data + 512 + 8, UINT64_MAX);
    co_expect_error(append, "Log entry 0 lies beyond the end of the log");
    stq_le_p(data + 512 + 8, LOG_BYTES / 512 - 2);
    co_expect_error(append, "Log entry 1 lies beyond the end of the log");
    memdisk(s.log)->fail_reads = 1;
    co_expect_error(append, "Could not read log superblock: Input/output error");
    memdisk(s.log)->fail_writes = 1;
    co_expect_error("", "Could not write log superblock: No space left on device");
    co_tear_down(&s);
}

int main(int argc, char **argv)
{
    static const MemCase cases[] = {
        { "/blklogwrites/replay/gives-the-disk", co_replays_512 },
        { "/blklogwrites/replay/with-large-sectors", co_replays_4k },
        { "/blklogwrites/entries/flags-and-superblock", co_flags_and_super },
        { "/blklogwrites/read-only/leaves-the-log", co_only_reads },
        { "/blklogwrites/errors/of-the-log-are-told", co_log_error_is_told },
        { "/blklogwrites/open/bad-logs-are-refused", co_bad_logs },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    mem_drivers = bdrv_drivers;
    mem_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
