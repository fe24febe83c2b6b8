/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What reaches a driver of what its users ask for: each call of it is written down as
 * "LETTER OFFSET+BYTES FLAGS", and compared.
 */
#include "qemu/osdep.h"

#include "fake.h"

#define BYTES (64 * KiB)

static GString *calls;
static int fail_with;    /* the next call fails with this errno, unless 0 ... */
static int pass_first;   /* ... but so many are carried out before */
static int most_vectors; /* that a call came with */

static int note(const char *what, int64_t offset, int64_t bytes, const QEMUIOVector *qiov,
                unsigned flags)
{
    int ret = 0;

    g_string_append_printf(calls, "%s%s %" PRIi64 "+%" PRIi64 "%s%s%s", calls->len ? ", " : "",
                           what, offset, bytes, flags & BDRV_REQ_FUA ? " fua" : "",
                           flags & BDRV_REQ_MAY_UNMAP ? " unmap" : "",
                           flags & BDRV_REQ_NO_FALLBACK ? " strict" : "");
    if (qiov) {
        most_vectors = MAX(most_vectors, qiov->niov);
    }
    if (fail_with && pass_first-- == 0) {
        ret = -fail_with;
        fail_with = pass_first = 0;
    }
    return ret;
}

static int coroutine_fn rec_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    qemu_iovec_memset(qiov, qiov_offset, 0, bytes);
    return note("r", offset, bytes, qiov, flags);
}

static int coroutine_fn rec_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                       QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    return note("w", offset, bytes, qiov, flags);
}

static int coroutine_fn rec_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                             unsigned flags)
{
    return note("z", offset, bytes, NULL, flags);
}

static int coroutine_fn rec_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return note("d", offset, bytes, NULL, 0);
}

static int coroutine_fn rec_co_flush(BlockDriverState *bs)
{
    return note("f", 0, 0, NULL, 0);
}

static int coroutine_fn rec_co_copy_range_from(BlockDriverState *bs, BdrvChild *src,
                                               int64_t src_offset, BdrvChild *dst,
                                               int64_t dst_offset, int64_t bytes, unsigned flags)
{
    return note("from", src_offset, bytes, NULL, flags) ?:
           bdrv_co_copy_range_to(src, src_offset, dst, dst_offset, bytes, flags);
}

static int coroutine_fn rec_co_copy_range_to(BlockDriverState *bs, BdrvChild *src,
                                             int64_t src_offset, BdrvChild *dst,
                                             int64_t dst_offset, int64_t bytes, unsigned flags)
{
    return note("to", dst_offset, bytes, NULL, flags);
}

static int64_t coroutine_fn rec_co_getlength(BlockDriverState *bs)
{
    return BYTES;
}

static BlockLimits limits;

static void rec_refresh_limits(BlockDriverState *bs)
{
    bs->bl = limits;
}

static BlockDriver recorder = {
    .format_name = "recorder",
    .options_type = BLOCKDEV_DRIVER__MAX,
    .is_protocol = true,
    .bdrv_refresh_limits = rec_refresh_limits,
    .bdrv_co_preadv = rec_co_preadv,
    .bdrv_co_pwritev = rec_co_pwritev,
    .bdrv_co_pwrite_zeroes = rec_co_pwrite_zeroes,
    .bdrv_co_pdiscard = rec_co_pdiscard,
    .bdrv_co_flush_to_disk = rec_co_flush,
    .bdrv_co_copy_range_from = rec_co_copy_range_from,
    .bdrv_co_copy_range_to = rec_co_copy_range_to,
    .bdrv_co_getlength = rec_co_getlength,
};

/* ---- a disk and what it is asked ------------------------------------------------------------- */

static FakeUser user;
static uint8_t buf[BYTES];

static BlockDriverState *coroutine_fn co_disk(const BlockLimits *bl, int flags)
{
    BlockDriverState *bs;

    limits = *bl;
    calls = calls ?: g_string_new("");
    g_string_truncate(calls, 0);
    fail_with = pass_first = most_vectors = 0;
    memset(buf, 0x11, BYTES);
    bs = bdrv_co_open_driver(&recorder, "disk", BDRV_O_RDWR | flags, &error_abort);
    bs->supported_zero_flags = BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK;
    bdrv_refresh_limits(bs);
    bdrv_co_refresh_length(bs);
    g_assert_true(fake_co_attach(&user, bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                                 BLK_PERM_ALL, &error_abort));
    return bs;
}

static void coroutine_fn co_done(BlockDriverState *bs)
{
    fake_co_detach(&user);
    bdrv_unref(bs);
}

/* What was called since the last time. */
static void expect(const char *text)
{
    g_assert_cmpstr(calls->str, ==, text);
    g_string_truncate(calls, 0);
}

static int coroutine_fn co_write(int64_t offset, int64_t bytes, unsigned flags)
{
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, bytes);

    return bdrv_co_pwritev(user.root, offset, bytes, &qiov, flags);
}

/* @n vectors of 512 bytes. */
static int coroutine_fn co_scattered(bool is_write, int n)
{
    QEMUIOVector qiov;
    int ret;

    qemu_iovec_init(&qiov, n);
    for (int i = 0; i < n; i++) {
        qemu_iovec_add(&qiov, buf + (i * 1024) % BYTES, 512);
    }
    ret = is_write ? bdrv_co_pwritev(user.root, 0, qiov.size, &qiov, 0)
                   : bdrv_co_preadv(user.root, 0, qiov.size, &qiov, 0);
    qemu_iovec_destroy(&qiov);
    return ret;
}

/* ---- cases ----------------------------------------------------------------------------------- */

static const BlockLimits sectors = { .request_alignment = 512 };

static void coroutine_fn co_detect_zeroes(void)
{
    BlockDriverState *bs = co_disk(&sectors, BDRV_O_UNMAP);

    memset(buf, 0, 4096);
    g_assert_cmpint(co_write(512, 4096, 0), ==, 0);
    expect("w 512+4096");
    bs->detect_zeroes = BLOCKDEV_DETECT_ZEROES_OPTIONS_ON;
    g_assert_cmpint(co_write(512, 4096, 0), ==, 0);
    expect("z 512+4096");
    bs->detect_zeroes = BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP;
    g_assert_cmpint(co_write(512, 4096, 0), ==, 0);
    expect("z 512+4096 unmap");
    g_assert_cmpint(co_write(512, 4096, BDRV_REQ_FUA), ==, 0);
    expect("z 512+4096 unmap, f 0+0");
    /* One byte is enough. */
    buf[4095] = 1;
    g_assert_cmpint(co_write(512, 4096, 0), ==, 0);
    expect("w 512+4096");
    /* Where the driver has no zeroes they are written. */
    buf[4095] = 0;
    fail_with = ENOTSUP;
    g_assert_cmpint(co_write(0, 4096, 0), ==, 0);
    expect("z 0+4096 unmap, w 0+4096");
    co_done(bs);
}

static void coroutine_fn co_flush(void)
{
    BlockDriverState *bs = co_disk(&sectors, BDRV_O_UNMAP);

    g_assert_cmpint(bdrv_co_flush(bs), ==, 0);
    expect("");
    g_assert_cmpint(co_write(0, 512, 0), ==, 0);
    g_assert_cmpint(bdrv_co_flush(bs), ==, 0);
    expect("w 0+512, f 0+0");
    g_assert_cmpint(bdrv_co_flush(bs), ==, 0);
    expect("");
    /* All that changes counts. */
    g_assert_cmpint(bdrv_co_pwrite_zeroes(user.root, 0, 512, 0), ==, 0);
    g_assert_cmpint(bdrv_co_flush(bs), ==, 0);
    expect("z 0+512, f 0+0");
    g_assert_cmpint(bdrv_co_pdiscard(user.root, 0, 512), ==, 0);
    g_assert_cmpint(bdrv_co_flush(bs), ==, 0);
    expect("d 0+512, f 0+0");
    g_assert_cmpint(bdrv_co_copy_range(user.root, 0, user.root, 1024, 512, 0), ==, 0);
    g_assert_cmpint(bdrv_co_flush(bs), ==, 0);
    expect("from 0+512, to 1024+512, f 0+0");
    /* A write that failed may have changed something; a flush that failed has not flushed. */
    fail_with = EIO;
    g_assert_cmpint(co_write(0, 512, 0), ==, -EIO);
    fail_with = ENOSPC;
    expect("w 0+512");
    g_assert_cmpint(bdrv_co_flush(bs), ==, -ENOSPC);
    g_assert_cmpint(bdrv_co_flush(bs), ==, 0);
    expect("f 0+0, f 0+0");
    g_assert_cmpint(bdrv_co_flush(bs), ==, 0);
    expect("");
    co_done(bs);
    /* cache.no-flush */
    bs = co_disk(&sectors, BDRV_O_NO_FLUSH);
    g_assert_cmpint(co_write(0, 512, BDRV_REQ_FUA), ==, 0);
    g_assert_cmpint(bdrv_co_flush(bs), ==, 0);
    expect("w 0+512");
    co_done(bs);
}

static void coroutine_fn co_fua(void)
{
    static const BlockLimits small = { .request_alignment = 512, .max_transfer = 4096 };
    BlockDriverState *bs = co_disk(&small, 0);

    /* By a flush after the last piece, which leaves nothing for another one. */
    g_assert_cmpint(co_write(0, 9000 / 512 * 512, BDRV_REQ_FUA), ==, 0);
    expect("w 0+4096, w 4096+4096, w 8192+512, f 0+0");
    g_assert_cmpint(bdrv_co_pwrite_zeroes(user.root, 0, 512, BDRV_REQ_FUA), ==, 0);
    expect("z 0+512, f 0+0");
    g_assert_cmpint(co_write(0, 512, BDRV_REQ_FUA), ==, 0);
    expect("w 0+512, f 0+0");
    /* By the driver. */
    bs->supported_write_flags = BDRV_REQ_FUA;
    bs->supported_zero_flags |= BDRV_REQ_FUA;
    g_assert_cmpint(co_write(0, 8192, BDRV_REQ_FUA), ==, 0);
    expect("w 0+4096 fua, w 4096+4096 fua");
    g_assert_cmpint(bdrv_co_pwrite_zeroes(user.root, 0, 512, BDRV_REQ_FUA), ==, 0);
    expect("z 0+512 fua");
    /* The write is as good as its flush. */
    bs->supported_write_flags = 0;
    fail_with = EIO;
    pass_first = 1;
    g_assert_cmpint(co_write(0, 512, BDRV_REQ_FUA), ==, -EIO);
    expect("w 0+512, f 0+0");
    co_done(bs);
}

static void coroutine_fn co_pieces(void)
{
    static const BlockLimits small = { .request_alignment = 512, .max_transfer = 2000,
                                       .max_iov = 2 };
    BlockDriverState *bs = co_disk(&small, 0);
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, 4096);

    /* Whole blocks, though the limit is none. */
    g_assert_cmpint(co_write(512, 4096, 0), ==, 0);
    expect("w 512+1536, w 2048+1536, w 3584+1024");
    g_assert_cmpint(bdrv_co_preadv(user.root, 0, 4096, &qiov, 0), ==, 0);
    expect("r 0+1536, r 1536+1536, r 3072+1024");
    /* The first that fails ends it. */
    fail_with = EIO;
    g_assert_cmpint(co_write(0, 4096, 0), ==, -EIO);
    expect("w 0+1536");
    fail_with = ENOSPC;
    pass_first = 1;
    g_assert_cmpint(co_write(0, 4096, 0), ==, -ENOSPC);
    expect("w 0+1536, w 1536+1536");
    /* Blocks are completed by reading. */
    g_assert_cmpint(co_write(100, 100, 0), ==, 0);
    expect("r 0+512, w 0+512");
    most_vectors = 0;
    g_assert_cmpint(co_scattered(true, 5), ==, 0);
    expect("w 0+1536, w 1536+1024");
    g_assert_cmpint(co_scattered(false, 5), ==, 0);
    expect("r 0+1536, r 1536+1024");
    g_assert_cmpint(most_vectors, <=, 2);
    co_done(bs);
    /* No host takes more than IOV_MAX. */
    bs = co_disk(&sectors, 0);
    g_assert_cmpint(co_scattered(true, IOV_MAX + 1), ==, 0);
    g_assert_cmpint(co_scattered(false, IOV_MAX + 1), ==, 0);
    g_assert_cmpint(most_vectors, <=, IOV_MAX);
    co_done(bs);
}

static void coroutine_fn co_zeroes(void)
{
    static const BlockLimits bl = { .request_alignment = 512, .pwrite_zeroes_alignment = 4096,
                                    .max_pwrite_zeroes = 8192 };
    BlockDriverState *bs = co_disk(&bl, BDRV_O_UNMAP);

    g_assert_cmpint(bdrv_co_pwrite_zeroes(user.root, 512, 20480, BDRV_REQ_MAY_UNMAP), ==, 0);
    expect("z 512+3584 unmap, z 4096+8192 unmap, z 12288+8192 unmap, z 20480+512 unmap");
    /* Without zeroes of the driver: by data, unless that is not wanted. */
    fail_with = ENOTSUP;
    g_assert_cmpint(bdrv_co_pwrite_zeroes(user.root, 0, 4096, 0), ==, 0);
    expect("z 0+4096, w 0+4096");
    fail_with = ENOTSUP;
    g_assert_cmpint(bdrv_co_pwrite_zeroes(user.root, 0, 4096, BDRV_REQ_NO_FALLBACK), ==, -ENOTSUP);
    expect("z 0+4096 strict");
    bs->supported_zero_flags = 0;
    g_assert_cmpint(bdrv_co_pwrite_zeroes(user.root, 0, 4096, BDRV_REQ_NO_FALLBACK), ==, -ENOTSUP);
    expect("");
    co_done(bs);
    /* discard=ignore keeps the space. */
    bs = co_disk(&sectors, 0);
    g_assert_cmpint(bdrv_co_pwrite_zeroes(user.root, 0, 4096, BDRV_REQ_MAY_UNMAP), ==, 0);
    expect("z 0+4096");
    co_done(bs);
}

static void coroutine_fn co_discard(void)
{
    static const BlockLimits bl = { .request_alignment = 512, .pdiscard_alignment = 4096,
                                    .max_pdiscard = 8192 };
    BlockDriverState *bs = co_disk(&bl, BDRV_O_UNMAP);

    g_assert_cmpint(bdrv_co_pdiscard(user.root, 512, 20480), ==, 0);
    expect("d 512+3584, d 4096+8192, d 12288+8192, d 20480+512");
    /* Parts of blocks stay; so does what the driver cannot discard. */
    g_assert_cmpint(bdrv_co_pdiscard(user.root, 100, 100), ==, 0);
    expect("");
    fail_with = ENOTSUP;
    g_assert_cmpint(bdrv_co_pdiscard(user.root, 0, 12288), ==, 0);
    expect("d 0+8192, d 8192+4096");
    fail_with = EIO;
    g_assert_cmpint(bdrv_co_pdiscard(user.root, 0, 12288), ==, -EIO);
    expect("d 0+8192");
    /* Nothing past the end. */
    g_assert_cmpint(bdrv_co_pdiscard(user.root, BYTES - 4096, 8192), ==, 0);
    expect("d 61440+4096");
    co_done(bs);
    bs = co_disk(&sectors, 0);
    g_assert_cmpint(bdrv_co_pdiscard(user.root, 0, 4096), ==, 0);
    expect("");
    co_done(bs);
}

static void coroutine_fn co_copy_range(void)
{
    BlockDriverState *bs = co_disk(&sectors, 0);

    g_assert_cmpint(bdrv_co_copy_range(user.root, 512, user.root, 8192, 4096, 0), ==, 0);
    expect("from 512+4096, to 8192+4096");
    g_assert_cmpint(bdrv_co_copy_range(user.root, 512, user.root, 8192, 0, 0), ==, 0);
    expect("");
    fail_with = EIO;
    g_assert_cmpint(bdrv_co_copy_range(user.root, 0, user.root, 8192, 4096, 0), ==, -EIO);
    expect("from 0+4096");
    /* Where somebody must see the data, or blocks would be cut, it is left to the caller. */
    g_assert_cmpint(bdrv_co_copy_range(user.root, 100, user.root, 8192, 4096, 0), ==, -ENOTSUP);
    expect("");
    g_assert_cmpint(bdrv_co_copy_range(user.root, 512, user.root, 8100, 4096, 0), ==, -ENOTSUP);
    expect("from 512+4096");
    bs->detect_zeroes = BLOCKDEV_DETECT_ZEROES_OPTIONS_ON;
    g_assert_cmpint(bdrv_co_copy_range(user.root, 512, user.root, 8192, 4096, 0), ==, -ENOTSUP);
    bs->detect_zeroes = BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF;
    bs->encrypted = true;
    g_assert_cmpint(bdrv_co_copy_range(user.root, 512, user.root, 8192, 4096, 0), ==, -ENOTSUP);
    expect("");
    co_done(bs);
}

int main(int argc, char **argv)
{
    static const FakeCase cases[] = {
        { "/request/detect-zeroes/makes-zeroes", co_detect_zeroes },
        { "/request/flush/needless-ones-are-left-out", co_flush },
        { "/request/fua/by-driver-or-flush", co_fua },
        { "/request/pieces/are-what-the-driver-takes", co_pieces },
        { "/request/zeroes/pieces-and-fallback", co_zeroes },
        { "/request/discard/pieces-and-advice", co_discard },
        { "/request/copy-range/offloaded-or-left", co_copy_range },
    };

    return fake_main(argc, argv, cases, ARRAY_SIZE(cases));
}
