/* SPDX-License-Identifier: GPL-2.0-or-later */
/* preallocate: the file is longer than the node while it is written, and no longer afterwards. */
#include "qemu/osdep.h"

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include "block/block-backend.h"
#include "qemu/iszero.h"
#include "qobject/json-parser.h"

#define DISK_BYTES (128 * KiB)
#define AHEAD (1 * MiB)

typedef struct Setup {
    BlockDriverState *disk, *bs;
    BlockBackend *blk;
} Setup;

static BlockDriverState *coroutine_fn co_open(const char *options, Error **errp)
{
    g_autofree char *json = g_strdup_printf("{'driver': 'preallocate', 'file': 'disk', "
                                            "'node-name': 'p'%s}", options);

    return bdrv_co_open(NULL, NULL, qobject_to(QDict, qobject_from_json(json, &error_abort)),
                        BDRV_O_RDWR, errp);
}

static void coroutine_fn co_set_up(Setup *s)
{
    s->disk = memdisk_co_new("disk", DISK_BYTES);
    s->bs = co_open(", 'prealloc-size': 1048576, 'prealloc-align': 65536", &error_abort);
    s->blk = blk_co_new_with_bs(s->bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE |
                                BLK_PERM_RESIZE, BLK_PERM_ALL, &error_abort);
    blk_set_allow_write_beyond_eof(s->blk, true);
}

static void coroutine_fn co_close(Setup *s)
{
    blk_co_unref(s->blk);
    bdrv_unref(s->bs);
    bdrv_co_control_unlock();
    bdrv_co_control_lock();
}

static void coroutine_fn co_write(Setup *s, int64_t offset, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    memset(buf, 0x77, bytes);
    g_assert_cmpint(blk_co_pwrite(s->blk, offset, bytes, buf, 0), ==, 0);
}

static void coroutine_fn co_write_past_the_end(void)
{
    Setup s;

    co_set_up(&s);
    co_write(&s, DISK_BYTES - 512, 512);
    g_assert_cmpint(memdisk(s.disk)->bytes, ==, DISK_BYTES);
    co_write(&s, DISK_BYTES, 1024);
    g_assert_cmpint(memdisk(s.disk)->bytes, ==, QEMU_ALIGN_UP(DISK_BYTES + 1024 + AHEAD, 65536));
    g_assert_cmpint(blk_co_getlength(s.blk), ==, DISK_BYTES + 1024);
    /* Within what is there: nothing grows, and what was skipped is zero. */
    co_write(&s, DISK_BYTES + 100 * KiB, 512);
    g_assert_cmpint(memdisk(s.disk)->bytes, ==, QEMU_ALIGN_UP(DISK_BYTES + 1024 + AHEAD, 65536));
    g_assert_cmpint(blk_co_getlength(s.blk), ==, DISK_BYTES + 100 * KiB + 512);
    g_assert_cmpint(memdisk(s.disk)->data[DISK_BYTES + 50 * KiB], ==, 0);
    co_close(&s);
    g_assert_cmpint(memdisk(s.disk)->bytes, ==, DISK_BYTES + 100 * KiB + 512);
    bdrv_unref(s.disk);
}

static void coroutine_fn co_resize(void)
{
    Setup s;

    co_set_up(&s);
    co_write(&s, DISK_BYTES, 512);
    g_assert_cmpint(blk_co_truncate(s.blk, DISK_BYTES + 4096, true, PREALLOC_MODE_OFF, 0,
                                    &error_abort), ==, 0);
    g_assert_cmpint(memdisk(s.disk)->bytes, >, DISK_BYTES + AHEAD);
    g_assert_cmpint(blk_co_truncate(s.blk, DISK_BYTES - 512, true, PREALLOC_MODE_OFF, 0,
                                    &error_abort), ==, 0);
    g_assert_cmpint(memdisk(s.disk)->bytes, ==, DISK_BYTES - 512);
    g_assert_cmpint(blk_co_getlength(s.blk), ==, DISK_BYTES - 512);
    co_write(&s, DISK_BYTES, 512);
    g_assert_cmpint(memdisk(s.disk)->data[DISK_BYTES - 512], ==, 0);
    co_close(&s);
    g_assert_cmpint(memdisk(s.disk)->bytes, ==, DISK_BYTES + 512);
    bdrv_unref(s.disk);
}

/* Whether somebody else may resize the file. */
static bool coroutine_fn co_others_may_resize(const Setup *s)
{
    Error *err = NULL;
    BlockBackend *other = blk_co_new_with_bs(s->disk, BLK_PERM_WRITE | BLK_PERM_RESIZE,
                                             BLK_PERM_ALL, &err);
    bool may = !err;

    blk_co_unref(other);
    error_free(err);
    return may;
}

/* What was allocated ahead goes with the last writer, and with it the right to resize the file. */
static void coroutine_fn co_writer_goes(void)
{
    const uint64_t writes = BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE;
    Setup s;

    co_set_up(&s);
    for (int round = 0; round < 2; round++) {
        int64_t end = DISK_BYTES + (round + 1) * 512;

        co_write(&s, end - 512, 512);
        g_assert_true(blk_co_set_perm(s.blk, writes, BLK_PERM_ALL, &error_abort));
        g_assert_cmpint(memdisk(s.disk)->bytes, >, DISK_BYTES + AHEAD);
        g_assert_false(co_others_may_resize(&s));
        g_assert_true(blk_co_set_perm(s.blk, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL,
                                      &error_abort));
        g_assert_cmpint(memdisk(s.disk)->bytes, ==, end);
        g_assert_cmpint(blk_co_getlength(s.blk), ==, end);
        g_assert_true(co_others_may_resize(&s));
        g_assert_true(blk_co_set_perm(s.blk, writes | BLK_PERM_RESIZE, BLK_PERM_ALL,
                                      &error_abort));
    }
    co_close(&s);
    bdrv_unref(s.disk);
}

static void coroutine_fn co_slow_write(void *opaque)
{
    co_write(opaque, DISK_BYTES, 4096);
}

static void coroutine_fn co_writer_goes_while_writing(void)
{
    Setup s;

    co_set_up(&s);
    memdisk(s.disk)->max_yields = 20;
    for (int i = 0; i < 5; i++) {
        qemu_coroutine_enter(qemu_coroutine_create(co_slow_write, &s));
        g_assert_true(blk_co_set_perm(s.blk, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL,
                                      &error_abort));
        g_assert_cmpint(memdisk(s.disk)->bytes, ==, DISK_BYTES + 4096);
        g_assert_true(blk_co_set_perm(s.blk, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE |
                                      BLK_PERM_RESIZE, BLK_PERM_ALL, &error_abort));
        g_assert_cmpint(blk_co_truncate(s.blk, DISK_BYTES, true, PREALLOC_MODE_OFF, 0,
                                        &error_abort), ==, 0);
    }
    co_close(&s);
    bdrv_unref(s.disk);
}

/* Where that failed, the filter keeps the right, and tries again later. */
static void coroutine_fn co_becomes_read_only(void)
{
    Setup s;

    co_set_up(&s);
    co_write(&s, DISK_BYTES, 512);
    memdisk(s.disk)->fail_truncates = 1;
    g_assert_true(blk_co_set_perm(s.blk, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL, &error_abort));
    g_assert_cmpint(memdisk(s.disk)->bytes, >, DISK_BYTES + AHEAD);
    g_assert_cmpint(blk_co_getlength(s.blk), ==, DISK_BYTES + 512);
    g_assert_true(bdrv_co_reopen_set_read_only(s.bs, true, &error_abort));
    g_assert_cmpint(memdisk(s.disk)->bytes, ==, DISK_BYTES + 512);
    g_assert_cmpint(blk_co_getlength(s.blk), ==, DISK_BYTES + 512);
    co_close(&s);
    bdrv_unref(s.disk);
}

/*
 * A write past the end that fails after a part of it: what it left is its own, and not what a disk
 * that gets longer shows.  @room: the file could be made longer before.
 */
static void coroutine_fn co_fails_in_part(bool room)
{
    const int64_t bytes = 192 * KiB, size = DISK_BYTES + AHEAD;
    g_autofree uint8_t *buf = g_malloc0(bytes);
    Setup s;
    int64_t end;

    co_set_up(&s);
    memdisk(s.disk)->fail_writes = 1;
    memdisk(s.disk)->fails_in_part = true;
    memdisk(s.disk)->fail_truncates = !room;
    memset(buf, 0x77, bytes);
    g_assert_cmpint(blk_co_pwrite(s.blk, DISK_BYTES, bytes, buf, 0), ==, -ENOSPC);
    end = blk_co_getlength(s.blk);
    g_assert_cmpint(end, <=, DISK_BYTES + bytes);
    g_assert_cmpint(blk_co_truncate(s.blk, size, true, PREALLOC_MODE_OFF, 0, &error_abort), ==, 0);
    for (int64_t at = end; at < size; at += bytes) {
        int64_t n = MIN(bytes, size - at);

        g_assert_cmpint(blk_co_pread(s.blk, at, n, buf, 0), ==, 0);
        g_assert_true(buffer_is_zero(buf, n));
    }
    co_close(&s);
    bdrv_unref(s.disk);
}

static void coroutine_fn co_fails_in_part_with_room(void)
{
    co_fails_in_part(true);
}

static void coroutine_fn co_fails_in_part_without_room(void)
{
    co_fails_in_part(false);
}

static void coroutine_fn co_bad_options(void)
{
    BlockDriverState *disk = memdisk_co_new("disk", DISK_BYTES);

    static const char *const bad[] = { ", 'prealloc-align': 100", ", 'prealloc-align': 0",
                                       ", 'prealloc-size': -1" };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autoptr(Error) err = NULL;

        g_assert_null(co_open(bad[i], &err));
        g_assert_nonnull(strstr(error_get_pretty(err), "parameter of preallocate filter"));
    }
    bdrv_unref(disk);
}

static const MemCase cases[] = {
    { "/preallocate/write/lengthens-the-file-alone", co_write_past_the_end },
    { "/preallocate/write/fails-in-part", co_fails_in_part_with_room },
    { "/preallocate/write/fails-in-part-without-room", co_fails_in_part_without_room },
    { "/preallocate/resize/is-exact", co_resize },
    { "/preallocate/claims/given-back-with-the-last-writer", co_writer_goes },
    { "/preallocate/claims/requests-end-before", co_writer_goes_while_writing },
    { "/preallocate/reopen/read-only-gives-back", co_becomes_read_only },
    { "/preallocate/open/bad-options", co_bad_options },
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
