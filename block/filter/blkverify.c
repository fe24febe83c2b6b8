/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blkverify: every change goes to two images, "test" and "raw"; every read is made of both and
 * compared.  For testing formats: test is in the format on trial, raw is trusted.
 *
 * The first difference ends the program: what follows would only hide where it began.  So zeroes
 * and status are not passed on, but become reads and writes that are compared.
 */
#include "qemu/osdep.h"

#include "filter-int.h"

#include "qemu/cutils.h"

typedef struct BlkverifyState {
    BdrvChild *test;
} BlkverifyState;

typedef enum VerifyOp { VERIFY_READ, VERIFY_WRITE, VERIFY_DISCARD } VerifyOp;

typedef struct VerifyRequest VerifyRequest;

/* What one of the images is asked. */
typedef struct VerifySide {
    VerifyRequest *request;
    BdrvChild *child;
    QEMUIOVector *qiov;
    size_t qiov_offset;
    int ret;
} VerifySide;

struct VerifyRequest {
    VerifyOp op;
    int64_t offset, bytes;
    unsigned flags;
    VerifySide test, raw;
    int running;
    Coroutine *waiter; /* both sides run in the loop of the request */
};

static const char *const op_names[] = {
    [VERIFY_READ] = "read", [VERIFY_WRITE] = "write", [VERIFY_DISCARD] = "discard",
};

static void G_GNUC_NORETURN G_GNUC_PRINTF(2, 3) differ(const VerifyRequest *r,
                                                       const char *format, ...)
{
    va_list args;

    fprintf(stderr, "blkverify: %s offset=%" PRId64 " bytes=%" PRId64 " ", op_names[r->op],
            r->offset, r->bytes);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

/* ---- both at once ---------------------------------------------------------------------------- */

static void coroutine_fn co_side(void *opaque)
{
    VerifySide *side = opaque;
    VerifyRequest *r = side->request;

    switch (r->op) {
    case VERIFY_READ:
        side->ret = bdrv_co_preadv_part(side->child, r->offset, r->bytes, side->qiov,
                                        side->qiov_offset, r->flags);
        break;
    case VERIFY_WRITE:
        side->ret = bdrv_co_pwritev_part(side->child, r->offset, r->bytes, side->qiov,
                                         side->qiov_offset, r->flags);
        break;
    case VERIFY_DISCARD:
        side->ret = bdrv_co_pdiscard(side->child, r->offset, r->bytes);
        break;
    }
    if (--r->running == 0 && r->waiter) {
        aio_co_wake(r->waiter);
    }
}

/* The result that both images gave. */
static int coroutine_fn co_both(VerifyRequest *r)
{
    r->test.request = r->raw.request = r;
    r->running = 2;
    qemu_coroutine_enter(qemu_coroutine_create(co_side, &r->test));
    qemu_coroutine_enter(qemu_coroutine_create(co_side, &r->raw));
    if (r->running) {
        r->waiter = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
    if (r->test.ret != r->raw.ret) {
        differ(r, "return value mismatch %d != %d", r->test.ret, r->raw.ret);
    }
    return r->test.ret;
}

/* Offset of the first of @bytes bytes that differ, from the given places on; -1: none does. */
static int64_t first_difference(const QEMUIOVector *a, size_t a_offset, const QEMUIOVector *b,
                                int64_t bytes)
{
    g_autofree uint8_t *left = g_malloc(BDRV_SECTOR_SIZE), *right = g_malloc(BDRV_SECTOR_SIZE);

    for (int64_t pos = 0; pos < bytes; pos += BDRV_SECTOR_SIZE) {
        size_t n = MIN((int64_t)BDRV_SECTOR_SIZE, bytes - pos);

        qemu_iovec_to_buf(a, a_offset + pos, left, n);
        qemu_iovec_to_buf(b, pos, right, n);
        for (size_t i = 0; memcmp(left, right, n) && i < n; i++) {
            if (left[i] != right[i]) {
                return pos + i;
            }
        }
    }
    return -1;
}

/* ---- requests -------------------------------------------------------------------------------- */

static int coroutine_fn blkverify_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                            QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    BlkverifyState *s = bs->opaque;
    QEMU_AUTO_VFREE uint8_t *buf = bdrv_try_blockalign(bs->file->bs, bytes);
    QEMUIOVector raw_qiov = QEMU_IOVEC_INIT_BUF(raw_qiov, buf, bytes);
    VerifyRequest r = {
        .op = VERIFY_READ, .offset = offset, .bytes = bytes, .flags = flags,
        .test = { .child = s->test, .qiov = qiov, .qiov_offset = qiov_offset },
        .raw = { .child = bs->file, .qiov = &raw_qiov },
    };
    int64_t where;
    int ret;

    if (!buf) {
        return -ENOMEM;
    }
    ret = co_both(&r);
    where = ret < 0 ? -1 : first_difference(qiov, qiov_offset, &raw_qiov, bytes);
    if (where >= 0) {
        differ(&r, "contents mismatch at offset %" PRId64, offset + where);
    }
    return ret;
}

static int coroutine_fn blkverify_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                             QEMUIOVector *qiov, size_t qiov_offset,
                                             unsigned flags)
{
    BlkverifyState *s = bs->opaque;
    VerifyRequest r = {
        .op = VERIFY_WRITE, .offset = offset, .bytes = bytes, .flags = flags,
        .test = { .child = s->test, .qiov = qiov, .qiov_offset = qiov_offset },
        .raw = { .child = bs->file, .qiov = qiov, .qiov_offset = qiov_offset },
    };

    return co_both(&r);
}

/* What a discard leaves may differ and is right nonetheless, so neither image is asked. */
static int coroutine_fn blkverify_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return -ENOTSUP;
}

static int coroutine_fn blkverify_co_flush(BlockDriverState *bs)
{
    BlkverifyState *s = bs->opaque;
    int ret = bdrv_co_flush(s->test->bs);
    int raw_ret = bdrv_co_flush(bs->file->bs);

    return ret < 0 ? ret : raw_ret;
}

/* To be read, then, and compared. */
static int coroutine_fn blkverify_co_block_status(BlockDriverState *bs, bool want_zero,
                                                  int64_t offset, int64_t bytes, int64_t *pnum,
                                                  int64_t *map, BlockDriverState **file)
{
    *pnum = bytes;
    return BDRV_BLOCK_DATA;
}

static int64_t coroutine_fn blkverify_co_getlength(BlockDriverState *bs)
{
    BlkverifyState *s = bs->opaque;

    return bdrv_co_getlength(s->test->bs);
}

static int coroutine_fn blkverify_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                                              PreallocMode prealloc, unsigned flags, Error **errp)
{
    error_setg(errp, "The images of blkverify cannot be resized");
    return -ENOTSUP;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* blkverify:RAW:IMAGE */
static bool blkverify_parse_filename(const char *filename, QDict *options, Error **errp)
{
    const char *rest, *image;

    if (!strstart(filename, "blkverify:", &rest)) {
        qdict_put_str(options, "test.filename", filename);
        return true;
    }
    image = strchr(rest, ':');
    if (!image) {
        error_setg(errp, "blkverify requires raw copy and original image path");
        return false;
    }
    g_autofree char *raw = g_strndup(rest, image - rest);

    qdict_put_str(options, "raw.filename", raw);
    qdict_put_str(options, "test.filename", image + 1);
    return true;
}

static void blkverify_refresh_filename(BlockDriverState *bs)
{
    const BlkverifyState *s = bs->opaque;
    const char *raw = bs->file->bs->exact_filename;
    const char *test = s->test ? s->test->bs->exact_filename : NULL;

    g_clear_pointer(&bs->exact_filename, g_free);
    if (raw && *raw && test && *test) {
        bs->exact_filename = g_strdup_printf("blkverify:%s:%s", raw, test);
    }
}

static bool coroutine_fn blkverify_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                           int flags, Error **errp)
{
    const BlockdevOptionsBlkverify *opts = &options->u.blkverify;
    BlkverifyState *s = bs->opaque;

    if (!bdrv_co_open_child(bs, "raw", BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, opts->raw, false,
                            errp)) {
        return false;
    }
    s->test = bdrv_co_open_child(bs, "test", BDRV_CHILD_DATA, opts->test, false, errp);
    return s->test != NULL;
}

/* Both images are used alike, and nobody else may make them differ. */
static BdrvChildClaims blkverify_child_claims(BlockDriverState *bs, const BdrvChild *child,
                                              BdrvChildRole role, BlockRights parent_uses,
                                              BlockRights parent_shared)
{
    return (BdrvChildClaims) {
        .uses = parent_uses & BLK_PERM_ALL,
        .shared = (parent_shared & BLK_PERM_ALL & ~(BLK_PERM_WRITE | BLK_PERM_RESIZE)) |
                  BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE_UNCHANGED,
    };
}

static void blkverify_refresh_limits(BlockDriverState *bs)
{
    const BlkverifyState *s = bs->opaque;

    if (s->test) {
        bs->bl.request_alignment = MAX(bs->bl.request_alignment,
                                       s->test->bs->bl.request_alignment);
    }
    bs->supported_write_flags = BDRV_REQ_WRITE_UNCHANGED;
}

BlockDriver bdrv_blkverify = {
    .format_name = "blkverify",
    .protocol_name = "blkverify",
    .instance_size = sizeof(BlkverifyState),
    .options_type = BLOCKDEV_DRIVER_BLKVERIFY,
    .is_filter = true,
    .lies_in_many = true,
    .guessed_child = "test",
    .bdrv_parse_filename = blkverify_parse_filename,
    .bdrv_refresh_filename = blkverify_refresh_filename,
    .bdrv_co_open = blkverify_co_open,
    .bdrv_child_claims = blkverify_child_claims,
    .bdrv_refresh_limits = blkverify_refresh_limits,
    .bdrv_co_preadv = blkverify_co_preadv,
    .bdrv_co_pwritev = blkverify_co_pwritev,
    .bdrv_co_pdiscard = blkverify_co_pdiscard,
    .bdrv_co_flush = blkverify_co_flush,
    .bdrv_co_block_status = blkverify_co_block_status,
    .bdrv_co_truncate = blkverify_co_truncate,
    .bdrv_co_getlength = blkverify_co_getlength,
};
