/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blkdebug: rules from options and files, breakpoints, limits. */
#include "qemu/osdep.h"

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include "block/block-backend.h"
#include "block/debug.h"
#include "qobject/json-parser.h"

#define DISK_BYTES (1 * MiB)

static BlockDriverState *coroutine_fn co_open(const char *options, Error **errp)
{
    g_autofree char *json = g_strdup_printf("{'driver': 'blkdebug', 'image': 'disk', "
                                            "'discard': 'unmap'%s%s}", *options ? ", " : "",
                                            options);
    QDict *dict = qobject_to(QDict, qobject_from_json(json, &error_abort));

    return bdrv_co_open(NULL, NULL, dict, BDRV_O_RDWR, errp);
}

typedef struct Setup {
    BlockDriverState *disk, *bs;
    BlockBackend *blk;
} Setup;

static void coroutine_fn co_set_up(Setup *s, const char *options)
{
    s->disk = memdisk_co_new("disk", DISK_BYTES);
    s->bs = co_open(options, &error_abort);
    s->blk = blk_co_new_with_bs(s->bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                                BLK_PERM_ALL, &error_abort);
}

static void coroutine_fn co_tear_down(Setup *s)
{
    blk_co_unref(s->blk);
    bdrv_unref(s->bs);
    bdrv_unref(s->disk);
}

static int coroutine_fn co_read(Setup *s, int64_t offset, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    return blk_co_pread(s->blk, offset, bytes, buf, 0);
}

static int coroutine_fn co_write(Setup *s, int64_t offset, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc0(bytes);

    memset(buf, 0x5a, bytes);
    return blk_co_pwrite(s->blk, offset, bytes, buf, 0);
}

static void coroutine_fn co_event(Setup *s, BlkdebugEvent event)
{
    bdrv_co_debug_event(s->bs, event);
}

/* ---- rules ----------------------------------------------------------------------------------- */

static void coroutine_fn co_none_is_active_at_once(void)
{
    Setup s;

    co_set_up(&s, "'inject-error': [{'event': 'none', 'iotype': 'write', 'errno': 28}]");
    g_assert_cmpint(co_write(&s, 0, 512), ==, -ENOSPC);
    g_assert_cmpint(co_write(&s, 0, 512), ==, -ENOSPC);
    g_assert_cmpint(co_read(&s, 0, 512), ==, 0);
    co_tear_down(&s);
}

/* Only the least time is sure. */
static void coroutine_fn co_delay_comes_before_the_result(void)
{
    const int64_t delay_ns = 2000000;
    Setup s;

    co_set_up(&s, "'inject-error': ["
              "{'event': 'none', 'iotype': 'write', 'delay-ns': 2000000},"
              "{'event': 'none', 'iotype': 'read', 'delay-ns': 2000000, 'errno': 0}]");
    int64_t start = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    g_assert_cmpint(co_write(&s, 0, 512), ==, -EIO);
    int64_t failed = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    g_assert_cmpint(failed - start, >=, delay_ns);
    g_assert_cmpint(co_read(&s, 0, 512), ==, 0);
    g_assert_cmpint(qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - failed, >=, delay_ns);
    co_tear_down(&s);
}

static void coroutine_fn co_event_activates_once(void)
{
    Setup s;

    co_set_up(&s, "'inject-error': [{'event': 'read_aio', 'sector': 4, 'once': true, "
              "'immediately': true}]");
    g_assert_cmpint(co_read(&s, 2048, 512), ==, 0);
    co_event(&s, BLKDBG_READ_AIO);
    g_assert_cmpint(co_read(&s, 1536, 512), ==, 0);
    g_assert_cmpint(co_read(&s, 2560, 512), ==, 0);
    g_assert_cmpint(co_read(&s, 0, 4096), ==, -EIO);
    co_event(&s, BLKDBG_READ_AIO);
    g_assert_cmpint(co_read(&s, 0, 4096), ==, 0);
    co_tear_down(&s);
}

/* Rules of one event replace those of another; each is held against its own kind of request. */
static void coroutine_fn co_events_replace(void)
{
    Setup s;

    co_set_up(&s, "'inject-error': [{'event': 'l2_load', 'iotype': 'read', 'errno': 5}, "
              "{'event': 'l2_update', 'iotype': 'discard', 'errno': 6}, "
              "{'event': 'l2_update', 'iotype': 'write-zeroes', 'errno': 7}, "
              "{'event': 'l2_update', 'iotype': 'flush', 'errno': 8}]");
    co_event(&s, BLKDBG_L2_LOAD);
    g_assert_cmpint(co_read(&s, 0, 512), ==, -5);
    co_event(&s, BLKDBG_L2_UPDATE);
    g_assert_cmpint(co_read(&s, 0, 512), ==, 0);
    g_assert_cmpint(blk_co_pdiscard(s.blk, 0, 512), ==, -6);
    g_assert_cmpint(blk_co_pwrite_zeroes(s.blk, 0, 512, 0), ==, -7);
    g_assert_cmpint(co_write(&s, 0, 512), ==, 0);
    g_assert_cmpint(blk_co_flush(s.blk), ==, -8);
    co_event(&s, BLKDBG_L1_UPDATE); /* nobody's: what is active stays */
    g_assert_cmpint(blk_co_pdiscard(s.blk, 0, 512), ==, -6);
    co_tear_down(&s);
}

static void coroutine_fn co_states(void)
{
    Setup s;

    co_set_up(&s, "'set-state': [{'event': 'l1_update', 'state': 1, 'new_state': 2}, "
              "{'event': 'l1_update', 'state': 2, 'new_state': 3}], "
              "'inject-error': [{'event': 'write_aio', 'state': 3}]");
    co_event(&s, BLKDBG_WRITE_AIO);
    g_assert_cmpint(co_write(&s, 0, 512), ==, 0);
    co_event(&s, BLKDBG_L1_UPDATE); /* to 2 only: one step per event */
    co_event(&s, BLKDBG_WRITE_AIO);
    g_assert_cmpint(co_write(&s, 0, 512), ==, 0);
    co_event(&s, BLKDBG_L1_UPDATE);
    co_event(&s, BLKDBG_WRITE_AIO);
    g_assert_cmpint(co_write(&s, 0, 512), ==, -EIO);
    co_tear_down(&s);
}

static void coroutine_fn co_block_status_fails(void)
{
    int64_t pnum;
    Setup s;

    co_set_up(&s, "'inject-error': [{'event': 'none', 'iotype': 'block-status', 'errno': 9}]");
    g_assert_cmpint(bdrv_co_block_status(s.bs, 0, 512, &pnum, NULL, NULL), ==, -9);
    g_assert_cmpint(co_read(&s, 0, 512), ==, 0);
    co_tear_down(&s);
}

/* ---- breakpoints ----------------------------------------------------------------------------- */

typedef struct Sleeper {
    Setup *setup;
    bool is_done;
} Sleeper;

static void coroutine_fn co_sleeper(void *opaque)
{
    Sleeper *sleeper = opaque;

    co_event(sleeper->setup, BLKDBG_WRITE_AIO);
    sleeper->is_done = true;
}

static void coroutine_fn co_breakpoints(void)
{
    Setup s;
    Sleeper a = { .setup = &s }, b = { .setup = &s };

    co_set_up(&s, "");
    g_assert_cmpint(bdrv_debug_breakpoint(s.bs, "bogus", "A"), ==, -ENOENT);
    g_assert_cmpint(bdrv_debug_resume(s.bs, "A"), ==, -ENOENT);
    g_assert_cmpint(bdrv_debug_remove_breakpoint(s.bs, "A"), ==, -ENOENT);
    g_assert_cmpint(bdrv_debug_breakpoint(s.bs, "write_aio", "A"), ==, 0);
    qemu_coroutine_enter(qemu_coroutine_create(co_sleeper, &a));
    g_assert_false(a.is_done);
    g_assert_true(bdrv_debug_is_suspended(s.bs, "A"));
    qemu_coroutine_enter(qemu_coroutine_create(co_sleeper, &b));
    g_assert_true(b.is_done); /* a breakpoint holds one request */
    g_assert_cmpint(bdrv_debug_resume(s.bs, "A"), ==, 0);
    qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, 1);
    g_assert_true(a.is_done);
    g_assert_false(bdrv_debug_is_suspended(s.bs, "A"));
    /* Removing wakes who sleeps there. */
    a.is_done = false;
    g_assert_cmpint(bdrv_debug_breakpoint(s.bs, "write_aio", "A"), ==, 0);
    qemu_coroutine_enter(qemu_coroutine_create(co_sleeper, &a));
    g_assert_cmpint(bdrv_debug_remove_breakpoint(s.bs, "A"), ==, 0);
    qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, 1);
    g_assert_true(a.is_done);
    co_tear_down(&s);
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* The driver asserts that the core keeps to what it pretends. */
static void coroutine_fn co_limits_are_kept(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree uint8_t *model = g_malloc0(DISK_BYTES), *buf = g_malloc0(DISK_BYTES);
    Setup s;

    co_set_up(&s, "'align': 4096, 'max-transfer': 12288, 'opt-write-zero': 16384, "
              "'max-write-zero': 32768, 'opt-discard': 8192, 'max-discard': 16384");
    for (int i = 0; i < 300; i++) {
        int64_t offset = test_rand_below(rand, DISK_BYTES);
        int64_t bytes = 1 + test_rand_below(rand, DISK_BYTES - offset);

        bytes = MIN(bytes, 200 * KiB);
        switch (test_rand_below(rand, 4)) {
        case 0:
            g_assert_cmpint(blk_co_pwrite_zeroes(s.blk, offset, bytes, 0), ==, 0);
            memset(model + offset, 0, bytes);
            break;
        case 1:
            /* Zeroed first, so that a part that is not discarded reads the same. */
            g_assert_cmpint(blk_co_pwrite_zeroes(s.blk, offset, bytes, 0), ==, 0);
            memset(model + offset, 0, bytes);
            g_assert_cmpint(blk_co_pdiscard(s.blk, offset, bytes), ==, 0);
            break;
        case 2:
            test_rand_fill(rand, model + offset, bytes);
            g_assert_cmpint(blk_co_pwrite(s.blk, offset, bytes, model + offset, 0), ==, 0);
            break;
        default:
            g_assert_cmpint(blk_co_pread(s.blk, offset, bytes, buf, 0), ==, 0);
            g_assert_cmpmem(buf, bytes, model + offset, bytes);
            break;
        }
    }
    g_assert_cmpmem(memdisk(s.disk)->data, DISK_BYTES, model, DISK_BYTES);
    co_tear_down(&s);
}

static void coroutine_fn co_bad_options(void)
{
    static const struct {
        const char *options, *text;
    } cases[] = {
        { "'align': 3", "Cannot meet constraints with align 3" },
        { "'align': 4096, 'max-transfer': 6144", "Cannot meet constraints with max-transfer 6144" },
        { "'opt-write-zero': 100", "Cannot meet constraints with opt-write-zero 100" },
        { "'opt-write-zero': 1024, 'max-write-zero': 1536",
          "Cannot meet constraints with max-write-zero 1536" },
        { "'opt-discard': -512", "Cannot meet constraints with opt-discard -512" },
        { "'max-discard': 511", "Cannot meet constraints with max-discard 511" },
        { "'inject-error': [{'event': 'none', 'errno': -1}]",
          "Parameter 'errno' must be between 0 and 4095" },
        { "'inject-error': [{'event': 'none', 'sector': 9223372036854775807}]",
          "Parameter 'sector' is out of range" },
        { "'config': '/nonexistent/b'", "Could not read blkdebug config file: "
          "No such file or directory" },
    };
    g_autoptr(BlockDriverState) disk = memdisk_co_new("disk", DISK_BYTES);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        Error *err = NULL;

        g_assert_null(co_open(cases[i].options, &err));
        g_assert_cmpstr(error_get_pretty(err), ==, cases[i].text);
        error_free(err);
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

static char *write_config(const char *text)
{
    char *name = test_tmpfile("rules");

    g_assert_true(g_file_set_contents(name, text, -1, NULL));
    return name;
}

static void coroutine_fn co_config_file(void)
{
    g_autofree char *name = write_config("# a comment\n\n[set-state]\n event = \"l1_update\"\n"
                                         "new_state = \"2\"\n[inject-error]\n"
                                         "event = \"write_aio\"\n"
                                         "state = \"2\"\nerrno = \"28\"\nonce = \"on\"\n"
                                         "sector = \"1\"\n");
    g_autofree char *options = g_strdup_printf("'config': '%s'", name);
    Setup s;

    co_set_up(&s, options);
    co_event(&s, BLKDBG_WRITE_AIO);
    g_assert_cmpint(co_write(&s, 0, 1024), ==, 0);
    co_event(&s, BLKDBG_L1_UPDATE);
    co_event(&s, BLKDBG_WRITE_AIO);
    g_assert_cmpint(co_write(&s, 0, 512), ==, 0);
    g_assert_cmpint(co_write(&s, 0, 1024), ==, -ENOSPC);
    g_assert_cmpint(co_write(&s, 0, 1024), ==, 0);
    co_tear_down(&s);
}

static void coroutine_fn co_bad_config_files(void)
{
    static const struct {
        const char *config, *text;
    } cases[] = {
        { "event = \"none\"\n", ":1: no group defined" },
        { "[inject-error]\nevent = none\n", ":2: parse error" },
        { "[inject-error]\nevent = \"none\n", ":2: parse error" },
        { "[foo]\n", "There is no option group 'foo'" },
        { "[inject-error]\nerrno = \"5\"\n", "Missing event name for rule" },
        { "[inject-error]\nevent = \"write_aio\"\nonce=\"on\"\n",
          "Invalid parameter 'once=\"on\"'" },
        { "[set-state]\nevent = \"l1_update\"\nerrno = \"5\"\n", "Invalid parameter 'errno'" },
    };
    g_autoptr(BlockDriverState) disk = memdisk_co_new("disk", DISK_BYTES);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *name = write_config(cases[i].config);
        g_autofree char *options = g_strdup_printf("'config': '%s'", name);
        Error *err = NULL;

        g_assert_null(co_open(options, &err));
        g_assert_nonnull(strstr(error_get_pretty(err), cases[i].text));
        error_free(err);
    }
}

/* ---- names ----------------------------------------------------------------------------------- */

static void coroutine_fn co_names(void)
{
    g_autofree char *config = write_config("[set-state]\nevent = \"none\"\nnew_state = \"4\"\n");
    g_autofree char *with = g_strdup_printf("blkdebug:%s:null-co://", config);
    BlockDriverState *bs = bdrv_co_open("blkdebug::null-co://", NULL, NULL, BDRV_O_RDWR,
                                        &error_abort);
    Error *err = NULL;

    g_assert_cmpstr(bdrv_get_format_name(bs), ==, "raw");
    g_assert_cmpstr(bdrv_get_format_name(bs->file->bs), ==, "blkdebug");
    g_assert_cmpstr(bdrv_get_filename(bs), ==, "blkdebug::null-co://");
    /* A breakpoint is set from above. */
    g_assert_cmpint(bdrv_debug_breakpoint(bs, "write_aio", "A"), ==, 0);
    bdrv_unref(bs);
    bs = bdrv_co_open(with, NULL, NULL, BDRV_O_RDWR, &error_abort);
    g_assert_cmpstr(bdrv_get_filename(bs), ==, with);
    bdrv_unref(bs);
    g_assert_null(bdrv_co_open("blkdebug:x", NULL, NULL, BDRV_O_RDWR, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "blkdebug requires both config file and image path");
    error_free(err);
}

int main(int argc, char **argv)
{
    static const MemCase cases[] = {
        { "/blkdebug/rules/none-is-active-at-once", co_none_is_active_at_once },
        { "/blkdebug/rules/delay-comes-before-the-result", co_delay_comes_before_the_result },
        { "/blkdebug/rules/event-sector-once", co_event_activates_once },
        { "/blkdebug/rules/events-replace-each-other", co_events_replace },
        { "/blkdebug/rules/states", co_states },
        { "/blkdebug/rules/block-status", co_block_status_fails },
        { "/blkdebug/breakpoints/suspend-and-resume", co_breakpoints },
        { "/blkdebug/limits/are-kept", co_limits_are_kept },
        { "/blkdebug/options/bad-ones-are-refused", co_bad_options },
        { "/blkdebug/config/is-read", co_config_file },
        { "/blkdebug/config/bad-ones-are-refused", co_bad_config_files },
        { "/blkdebug/names/config-and-image", co_names },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    mem_drivers = bdrv_drivers;
    mem_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
