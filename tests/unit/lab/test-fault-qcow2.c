/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Failing calls below qcow2. */
#include "qemu/osdep.h"

#include "fault-lab.h"

#define OPEN "{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': 'disk'}}"
#define MAKE "'driver': 'qcow2', 'file': 'file-disk'"
#define OPEN_WITH_DATA_FILE \
    "{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': 'disk'}, " \
    "'data-file': {'driver': 'file', 'filename': 'data'}}"
#define SIZE (256 * KiB)

static const uint8_t first_byte = 0x11;

/* Some data, flushed. */
static void coroutine_fn co_fill(FaultRun *r)
{
    g_autofree uint8_t *buf = g_malloc(SIZE / 2);

    memset(buf, first_byte, SIZE / 2);
    g_assert_cmpint(bdrv_co_pwrite(r->user->root, 0, SIZE / 2, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_flush(r->user->bs), ==, 0);
}

/* [start, end) holds @value. */
static void coroutine_fn co_assert_holds(FaultRun *r, int64_t start, int64_t end, uint8_t value)
{
    g_autofree uint8_t *buf = g_malloc(end - start);

    g_assert_cmpint(bdrv_co_pread(r->user->root, start, end - start, buf, 0), ==, 0);
    for (int64_t i = 0; i < end - start; i++) {
        g_assert_cmphex(buf[i], ==, value);
    }
}

static bool done(int ret, Error **errp)
{
    if (ret < 0) {
        error_setg_errno(errp, -ret, "The request failed");
    }
    return ret >= 0;
}

/* ---- operations ------------------------------------------------------------------------------ */

static bool coroutine_fn co_open(FaultRun *r, Error **errp)
{
    MemUser *user = mem_co_use(lab_parse(OPEN), BDRV_O_RDWR, errp);

    if (user) {
        mem_co_unuse(user);
    }
    return user;
}

static bool coroutine_fn co_write(FaultRun *r, Error **errp)
{
    g_autofree uint8_t *buf = g_malloc(SIZE / 4);
    int ret;

    memset(buf, 0x22, SIZE / 4);
    ret = bdrv_co_pwrite(r->user->root, SIZE / 2 + 512, SIZE / 4, buf, 0);
    if (ret >= 0) {
        ret = bdrv_co_flush(r->user->bs);
    }
    return done(ret, errp);
}

static bool coroutine_fn co_compress(FaultRun *r, Error **errp)
{
    g_autofree uint8_t *buf = g_malloc(SIZE / 2);
    int ret;

    memset(buf, 0x22, SIZE / 2);
    ret = bdrv_co_pwrite(r->user->root, SIZE / 2, SIZE / 2, buf, BDRV_REQ_WRITE_COMPRESSED);
    if (ret >= 0) {
        ret = bdrv_co_flush(r->user->bs);
    }
    return done(ret, errp);
}

static void coroutine_fn co_judge_compress(FaultRun *r, bool is_done)
{
    co_assert_holds(r, 0, SIZE / 2, first_byte);
    if (is_done) {
        co_assert_holds(r, SIZE / 2, SIZE, 0x22);
    }
}

static void coroutine_fn co_judge_write(FaultRun *r, bool is_done)
{
    co_assert_holds(r, 0, SIZE / 2, first_byte);
    if (is_done) {
        co_assert_holds(r, SIZE / 2 + 512, SIZE / 2 + 512 + SIZE / 4, 0x22);
        co_assert_holds(r, SIZE / 2 + 512 + SIZE / 4, SIZE, 0);
    }
}

static bool coroutine_fn co_discard(FaultRun *r, Error **errp)
{
    int ret = bdrv_co_pdiscard(r->user->root, 0, SIZE / 4);

    if (ret >= 0) {
        ret = bdrv_co_flush(r->user->bs);
    }
    return done(ret, errp);
}

static void coroutine_fn co_judge_discard(FaultRun *r, bool is_done)
{
    co_assert_holds(r, SIZE / 4, SIZE / 2, first_byte);
    if (is_done) {
        co_assert_holds(r, 0, SIZE / 4, 0);
    }
}

static bool coroutine_fn co_grow(FaultRun *r, Error **errp)
{
    return bdrv_co_truncate(r->user->root, 64 * MiB, true, PREALLOC_MODE_OFF, 0, errp) >= 0;
}

static bool coroutine_fn co_grow_preallocated(FaultRun *r, Error **errp)
{
    return bdrv_co_truncate(r->user->root, 2 * SIZE, true, PREALLOC_MODE_METADATA, 0, errp) >= 0;
}

static void coroutine_fn co_judge_size(FaultRun *r, bool is_done)
{
    co_assert_holds(r, 0, SIZE / 2, first_byte);
    if (is_done) {
        g_assert_cmpint(bdrv_co_getlength(r->user->bs), >, SIZE);
    }
}

/* Requests follow, so that the file is cut, too. */
static bool coroutine_fn co_shrink(FaultRun *r, Error **errp)
{
    if (bdrv_co_truncate(r->user->root, SIZE / 4, true, PREALLOC_MODE_OFF, 0, errp) < 0) {
        return false;
    }
    return done(bdrv_co_flush(r->user->bs), errp);
}

static void coroutine_fn co_judge_shrink(FaultRun *r, bool is_done)
{
    co_assert_holds(r, 0, SIZE / 4, first_byte);
    if (is_done) {
        g_assert_cmpint(bdrv_co_getlength(r->user->bs), ==, SIZE / 4);
    }
}

static bool coroutine_fn co_rename_backing(FaultRun *r, Error **errp)
{
    return done(bdrv_co_change_backing_file(r->user->bs, "other", "raw", false), errp);
}

static const FaultCase cases[] = {
    { .path = "/qcow2/fault/open/says-why",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 512}" }, .co_operate = co_open },
    { .path = "/qcow2/fault/write/keeps-the-rest", .open = OPEN,
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 512}" },
      .co_prepare = co_fill, .co_operate = co_write, .co_judge = co_judge_write },
    { .path = "/qcow2/fault/write-64k/keeps-the-rest", .open = OPEN,
      .create = { "{" MAKE ", 'size': 262144}" },
      .co_prepare = co_fill, .co_operate = co_write, .co_judge = co_judge_write },
    { .path = "/qcow2/fault/write-subclusters/keeps-the-rest", .open = OPEN,
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 16384, 'extended-l2': true}" },
      .co_prepare = co_fill, .co_operate = co_write, .co_judge = co_judge_write },
    { .path = "/qcow2/fault/write-compressed/keeps-the-rest", .open = OPEN,
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 512}" },
      .co_prepare = co_fill, .co_operate = co_compress, .co_judge = co_judge_compress },
    { .path = "/qcow2/fault/write-compressed-64k/keeps-the-rest", .open = OPEN,
      .create = { "{" MAKE ", 'size': 262144}" },
      .co_prepare = co_fill, .co_operate = co_compress, .co_judge = co_judge_compress },
    { .path = "/qcow2/fault/write-data-file/keeps-the-rest", .open = OPEN_WITH_DATA_FILE,
      .create = { "{" MAKE ", 'data-file': 'file-data', 'size': 262144, 'cluster-size': 4096}" },
      .co_prepare = co_fill, .co_operate = co_write, .co_judge = co_judge_write },
    { .path = "/qcow2/fault/discard-raw-data-file/keeps-the-rest", .open = OPEN_WITH_DATA_FILE,
      .create = { "{" MAKE ", 'data-file': 'file-data', 'data-file-raw': true, 'size': 262144, "
                  "'cluster-size': 4096}" },
      .co_prepare = co_fill, .co_operate = co_discard, .co_judge = co_judge_discard },
    { .path = "/qcow2/fault/shrink/old-or-new-size", .open = OPEN,
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 512}" },
      .co_prepare = co_fill, .co_operate = co_shrink, .co_judge = co_judge_shrink },
    { .path = "/qcow2/fault/discard/keeps-the-rest", .open = OPEN,
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096}" },
      .co_prepare = co_fill, .co_operate = co_discard, .co_judge = co_judge_discard },
    { .path = "/qcow2/fault/grow/old-or-new-size", .open = OPEN,
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096}" },
      .co_prepare = co_fill, .co_operate = co_grow, .co_judge = co_judge_size },
    { .path = "/qcow2/fault/grow-preallocated/old-or-new-size", .open = OPEN,
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096}" },
      .co_prepare = co_fill, .co_operate = co_grow_preallocated, .co_judge = co_judge_size },
    { .path = "/qcow2/fault/backing-name/old-or-new-name",
      .open = "{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': 'disk'}, "
              "'backing': null}",
      .create = { "{" MAKE ", 'size': 262144}" }, .co_operate = co_rename_backing },
};

int main(int argc, char **argv)
{
    return fault_lab_main(argc, argv, cases, ARRAY_SIZE(cases));
}
