/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files of a host that does not do what was asked, or changes them: copying inside the host, flush
 * that fails, a length that others change.
 *
 * copy_file_range(), ioctl() and fdatasync() of this program are those below, which do as they are
 * told.
 */
#include "qemu/osdep.h"

#include <dlfcn.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include "block/block-backend.h"
#include "qobject/json-parser.h"

#define BYTES (1 * MiB)

static char *path;

/* ---- the host -------------------------------------------------------------------------------- */

static int copy_calls, copy_errno, copy_most; /* atomic: so far; 0: works; bytes in a call, or 0 */
static int flush_calls, flush_errno;          /* atomic; the errno is for one call */

ssize_t copy_file_range(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t bytes,
                        unsigned flags)
{
    static __typeof__(copy_file_range) *real;
    int error = qatomic_read(&copy_errno), most = qatomic_read(&copy_most);

    if (!real) {
        real = (__typeof__(copy_file_range) *)dlsym(RTLD_NEXT, "copy_file_range");
    }
    qatomic_inc(&copy_calls);
    if (error) {
        if (error == EINTR) {
            qatomic_set(&copy_errno, 0);
        }
        errno = error;
        return -1;
    }
    return real(from, from_offset, to, to_offset, most ? MIN(bytes, (size_t)most) : bytes, flags);
}

static int share_calls, share_errno; /* atomic: of FICLONERANGE, so far; 0: it seems to work */

int ioctl(int fd, unsigned long request, ...)
{
    static __typeof__(ioctl) *real;
    va_list args;
    void *arg;

    va_start(args, request);
    arg = va_arg(args, void *);
    va_end(args);
    if (!real) {
        real = (__typeof__(ioctl) *)dlsym(RTLD_NEXT, "ioctl");
    }
    if (request != FICLONERANGE) {
        return real(fd, request, arg);
    }
    qatomic_inc(&share_calls);
    errno = qatomic_read(&share_errno);
    if (errno == EINTR) {
        qatomic_set(&share_errno, 0);
    }
    return errno ? -1 : 0;
}

int fdatasync(int fd)
{
    static __typeof__(fdatasync) *real;
    int error = qatomic_xchg(&flush_errno, 0);

    if (!real) {
        real = (__typeof__(fdatasync) *)dlsym(RTLD_NEXT, "fdatasync");
    }
    qatomic_inc(&flush_calls);
    errno = error;
    return error ? -1 : real(fd);
}

/* ---- a disk ---------------------------------------------------------------------------------- */

/* NULL: this file system or kernel has not what @options want, and the case is skipped. */
static BlockBackend *coroutine_fn co_disk(const char *options)
{
    g_autofree char *json = g_strdup_printf("{'driver': 'file', 'filename': '%s'%s}", path,
                                            options);
    g_autofree char *content = g_malloc(BYTES);
    g_autoptr(BlockDriverState) bs = NULL;
    Error *err = NULL;

    memset(content, 0x11, BYTES);
    memset(content, 0x22, BYTES / 2);
    g_assert_true(g_file_set_contents(path, content, BYTES, NULL));
    bs = bdrv_co_open(NULL, NULL, qobject_to(QDict, qobject_from_json(json, &error_abort)),
                      BDRV_O_RDWR | BDRV_O_UNMAP, &err);
    if (!bs) {
        g_test_skip(error_get_pretty(err));
        error_free(err);
        return NULL;
    }
    copy_calls = copy_errno = copy_most = flush_calls = flush_errno = 0;
    share_calls = share_errno = 0;
    return blk_co_new_with_bs(bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE,
                              BLK_PERM_ALL, &error_abort);
}

static void coroutine_fn co_expect(BlockBackend *blk, int64_t offset, int64_t bytes, uint8_t value)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    g_assert_cmpint(blk_co_pread(blk, offset, bytes, buf, 0), ==, 0);
    for (int64_t i = 0; i < bytes; i++) {
        g_assert_cmpint(buf[i], ==, value);
    }
}

/* ---- cases ----------------------------------------------------------------------------------- */

static void coroutine_fn co_copies(void)
{
    static const int missing[] = { ENOSYS, EXDEV, EINVAL, EOPNOTSUPP };
    static const int errors[] = { EIO, ENOSPC, EDQUOT };
    BlockBackend *blk = co_disk("");
    int ret;

    /* Some kernels have it for no file system, some not for this one. */
    ret = blk_co_copy_range(blk, 0, blk, BYTES / 2, 4096, 0);
    g_assert_cmpint(copy_calls, ==, 1);
    if (ret == 0) {
        co_expect(blk, BYTES / 2, 4096, 0x22);
        co_expect(blk, BYTES / 2 + 4096, 4096, 0x11);
        /* Interrupted, and in parts. */
        copy_most = 1000;
        copy_errno = EINTR;
        copy_calls = 0;
        g_assert_cmpint(blk_co_copy_range(blk, 0, blk, BYTES - 4096, 4096, 0), ==, 0);
        g_assert_cmpint(copy_calls, ==, 1 + 5);
        co_expect(blk, BYTES - 4096, 4096, 0x22);
    } else {
        g_assert_cmpint(ret, ==, -ENOTSUP);
    }
    copy_most = 0;
    /* Not possible here: whoever asked reads and writes. */
    for (unsigned i = 0; i < ARRAY_SIZE(missing); i++) {
        copy_errno = missing[i];
        g_assert_cmpint(blk_co_copy_range(blk, 0, blk, 700 * KiB, 4096, 0), ==, -ENOTSUP);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
        copy_errno = errors[i];
        g_assert_cmpint(blk_co_copy_range(blk, 0, blk, 700 * KiB, 4096, 0), ==, -errors[i]);
    }
    co_expect(blk, 700 * KiB, 4096, 0x11);
    blk_co_unref(blk);
}

/* Never between these files, not this range, or done: nothing else is tried. */
static void coroutine_fn co_shares(void)
{
    static const struct {
        int error, want;
    } cases[] = {
        { 0, 0 }, { EINTR, 0 }, { EOPNOTSUPP, -EXDEV }, { ENOTTY, -EXDEV }, { EXDEV, -EXDEV },
        { EINVAL, -ENOTSUP }, { EPERM, -ENOTSUP }, { ENOSPC, -ENOTSUP }, { EIO, -ENOTSUP },
    };
    BlockBackend *blk = co_disk("");

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        share_errno = cases[i].error;
        g_assert_cmpint(blk_co_copy_range(blk, 0, blk, BYTES / 2, 4096, BDRV_REQ_NO_FALLBACK), ==,
                        cases[i].want);
    }
    g_assert_cmpint(share_calls, ==, ARRAY_SIZE(cases) + 1);
    g_assert_cmpint(copy_calls, ==, 0);
    co_expect(blk, BYTES / 2, 4096, 0x11);
    blk_co_unref(blk);
}

/* Whose cache mode says so finds copies on stable storage. */
static void coroutine_fn co_written_through(void)
{
    BlockBackend *blk = co_disk("");

    blk_set_enable_write_cache(blk, false);
    g_assert_cmpint(blk_co_copy_range(blk, 0, blk, BYTES / 2, 4096, BDRV_REQ_NO_FALLBACK), ==, 0);
    g_assert_cmpint(flush_calls, ==, 1);
    share_errno = EINVAL;
    g_assert_cmpint(blk_co_copy_range(blk, 0, blk, BYTES / 2, 4096, BDRV_REQ_NO_FALLBACK), ==,
                    -ENOTSUP);
    g_assert_cmpint(flush_calls, ==, 1);
    blk_co_unref(blk);
}

/* What was in the page cache may be lost, and is not promised again; past the cache it is not. */
static void coroutine_fn co_flush_fails(void)
{
    static const char *const options[] = { "", ", 'aio': 'threads', 'cache': {'direct': true}" };
    g_autofree uint8_t *buf = g_malloc0(4096);

    for (unsigned i = 0; i < ARRAY_SIZE(options); i++) {
        BlockBackend *blk = co_disk(options[i]);

        if (!blk) {
            return;
        }
        g_assert_cmpint(blk_co_pwrite(blk, 0, 4096, buf, 0), ==, 0);
        qatomic_set(&flush_errno, ENOSPC);
        g_assert_cmpint(blk_co_flush(blk), ==, -ENOSPC);
        g_assert_cmpint(blk_co_flush(blk), ==, i ? 0 : -EIO);
        g_assert_cmpint(blk_co_pwrite(blk, 0, 4096, buf, BDRV_REQ_FUA), ==, i ? 0 : -EIO);
        g_assert_cmpint(qatomic_read(&flush_calls), ==, i ? 3 : 1);
        blk_co_unref(blk);
    }
}

/* Others cut the file, and make it longer: no error, no old data. */
static void coroutine_fn co_length_changes(const char *options)
{
    g_autofree uint8_t *buf = g_malloc(4096);
    BlockBackend *blk = co_disk(options);
    struct stat st;

    if (!blk) {
        return;
    }
    g_assert_cmpint(truncate(path, BYTES / 2 - 5000), ==, 0);
    g_assert_cmpint(blk_getlength(blk), ==, BYTES);
    co_expect(blk, BYTES / 2 - 9000, 4000, 0x22);
    co_expect(blk, BYTES / 2 - 5000, 64 * KiB, 0);
    co_expect(blk, BYTES - 4096, 4096, 0);
    /* Writing there goes well, with zeroes before it. */
    memset(buf, 0x33, 4096);
    g_assert_cmpint(blk_co_pwrite(blk, 640 * KiB, 4096, buf, 0), ==, 0);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 644 * KiB);
    co_expect(blk, 512 * KiB, 128 * KiB, 0);
    co_expect(blk, 640 * KiB, 4096, 0x33);
    co_expect(blk, 644 * KiB, 64 * KiB, 0);
    /* Longer than it was: once the length is asked for anew. */
    g_assert_cmpint(truncate(path, 2 * BYTES), ==, 0);
    g_assert_cmpint(blk_co_pread(blk, BYTES, 4096, buf, 0), ==, -EIO);
    g_assert_cmpint(bdrv_co_refresh_length(blk_bs(blk)), ==, 2 * BYTES);
    g_assert_cmpint(blk_getlength(blk), ==, 2 * BYTES);
    co_expect(blk, 2 * BYTES - 4096, 4096, 0);
    blk_co_unref(blk);
}

static void coroutine_fn co_length_threads(void)
{
    co_length_changes("");
}

static void coroutine_fn co_length_direct(void)
{
    co_length_changes(", 'cache': {'direct': true}");
}

static void coroutine_fn co_length_uring(void)
{
    co_length_changes(", 'aio': 'io_uring'");
}

static void coroutine_fn co_length_native(void)
{
    co_length_changes(", 'aio': 'native', 'cache': {'direct': true}");
}

int main(int argc, char **argv)
{
    static const MemCase cases[] = {
        { "/file/copy/by-the-host", co_copies },
        { "/file/copy/shares-blocks-or-nothing", co_shares },
        { "/file/copy/written-through", co_written_through },
        { "/file/flush/failed-one-is-remembered", co_flush_fails },
        { "/file/length/threads", co_length_threads },
        { "/file/length/direct", co_length_direct },
        { "/file/length/io_uring", co_length_uring },
        { "/file/length/native", co_length_native },
    };

    test_init(&argc, &argv);
    path = test_tmpfile("disk.raw");
    qemu_init_main_loop(&error_abort);
    mem_drivers = bdrv_drivers;
    mem_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
