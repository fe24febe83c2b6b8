/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into a program under test: stands between it and the calls that read, change and flush
 * files, for files whose path ends with $IOSHIM_MATCH (several: separated by colons).
 *
 * $IOSHIM_LOG=FILE: each change and flush that went well is appended there, as ShimEntry and, for
 * a write, its data.  Calls are carried out one at a time, so the log has an order.
 *
 * $IOSHIM_FAIL=N:ERRNO:KINDS: the N-th call (from 1) fails with that number and without effect;
 * with a '+' behind N, all later ones, too.  KINDS are the letters of ShimKind that count.  File
 * $IOSHIM_MARK is made when that happens, so that a test knows when it has tried all.
 *
 * $IOSHIM_HANG=FILE: while FILE exists, every call sleeps before it does anything, as with storage
 * that does not answer.
 *
 * $IOSHIM_SHORT=N: the N-th read or write of more than one byte does only the first half, as the
 * host may.  $IOSHIM_MARK is made then, too.
 *
 * Files share no blocks, unless $IOSHIM_CLONE=FILE: then they seem to, as on a file system that can
 * do that, and each time a line "OFFSET LENGTH" is appended to FILE.
 */
#include "qemu/osdep.h"

#include <dlfcn.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#define SHIM_MAX_IOV 64
#define SHIM_BLOCK 4096 /* what is shared is made of these */

typedef enum ShimKind {
    SHIM_READ = 'r',
    SHIM_WRITE = 'w',
    SHIM_ZERO = 'z',    /* part of the file becomes zeroes */
    SHIM_RESIZE = 't',  /* length is the new size of the file */
    SHIM_EXTEND = 'e',  /* the file has at least this length */
    SHIM_FLUSH = 'f',
    SHIM_CLONE = 'c',   /* fails, or is logged as writes */
} ShimKind;

typedef struct ShimEntry {
    uint64_t kind, offset, length;
} ShimEntry;

static pthread_mutex_t shim_lock = PTHREAD_MUTEX_INITIALIZER;
static int shim_log_fd = -1;
static long shim_calls, shim_fail_at;
static bool shim_fails_on;
static int shim_errno;
static char shim_kinds[16];
static long shim_transfers, shim_short_at;

/* The next definition of a function, from libc or a sanitizer. */
#define REAL(name) \
    static __typeof__(name) *real_##name; \
    if (!real_##name) { \
        real_##name = (__typeof__(name) *)dlsym(RTLD_NEXT, #name); \
    }

__attribute__((constructor)) static void shim_start(void)
{
    const char *log = getenv("IOSHIM_LOG"), *fail = getenv("IOSHIM_FAIL");
    const char *at = getenv("IOSHIM_SHORT");
    char *end;

    shim_short_at = at ? strtol(at, NULL, 10) : 0;
    if (log) {
        shim_log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    if (fail) {
        shim_fail_at = strtol(fail, &end, 10);
        shim_fails_on = *end == '+';
        shim_errno = strtol(end + shim_fails_on + 1, &end, 10);
        snprintf(shim_kinds, sizeof(shim_kinds), "%s", end + 1);
    }
}

static bool shim_matches(int fd)
{
    const char *match = getenv("IOSHIM_MATCH");
    char link[64], path[PATH_MAX];
    ssize_t len;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof(path) - 1);
    while (len > 0 && match && *match) {
        size_t n = strcspn(match, ":");

        if (n && (size_t)len >= n && !memcmp(path + len - n, match, n)) {
            return true;
        }
        match += n + (match[n] == ':');
    }
    return false;
}

static bool shim_is_hung(void)
{
    const char *hang = getenv("IOSHIM_HANG");

    return hang && access(hang, F_OK) == 0;
}

/* Not under the lock: each hangs by itself. */
static void shim_hang(void)
{
    while (shim_is_hung()) {
        usleep(5000);
    }
}

/* Would a call that must not wait have to? */
static bool shim_refuses_to_wait(int fd, int flags)
{
    if (flags & RWF_NOWAIT && shim_matches(fd) && shim_is_hung()) {
        errno = EAGAIN;
        return true;
    }
    return false;
}

static void shim_mark(void)
{
    const char *mark = getenv("IOSHIM_MARK");

    if (mark) {
        close(open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    }
}

/* Under the lock: is it this call's turn to fail? */
static bool shim_fail(ShimKind kind)
{

    if (!shim_fail_at || !strchr(shim_kinds, kind)) {
        return false;
    }
    shim_calls++;
    if (shim_calls != shim_fail_at && !(shim_fails_on && shim_calls > shim_fail_at)) {
        return false;
    }
    shim_mark();
    return true;
}

/* The vector, or its first half in @half if it is this transfer's turn to be short. */
static const struct iovec *shim_cut(int fd, const struct iovec *iov, int *count,
                                    struct iovec *half)
{
    size_t total = 0, left;
    int n = 0;

    for (int i = 0; i < *count; i++) {
        total += iov[i].iov_len;
    }
    if (!shim_short_at || total < 2 || *count > SHIM_MAX_IOV ||
        !shim_matches(fd) ||
        __atomic_add_fetch(&shim_transfers, 1, __ATOMIC_RELAXED) != shim_short_at) {
        return iov;
    }
    shim_mark();
    for (left = total / 2; left; left -= half[n++].iov_len) {
        half[n] = iov[n];
        half[n].iov_len = iov[n].iov_len < left ? iov[n].iov_len : left;
    }
    *count = n;
    return half;
}

static void shim_append(const void *data, size_t len)
{
    while (len) {
        ssize_t done = write(shim_log_fd, data, len);

        if (done < 0) {
            _exit(99);
        }
        data = (const char *)data + done;
        len -= done;
    }
}

static void shim_log(ShimKind kind, uint64_t offset, uint64_t length)
{
    ShimEntry entry = { kind, offset, length };

    if (shim_log_fd >= 0) {
        shim_append(&entry, sizeof(entry));
    }
}

static void shim_log_iov(const struct iovec *iov, int count, size_t length)
{
    for (int i = 0; shim_log_fd >= 0 && i < count && length; i++) {
        size_t part = iov[i].iov_len < length ? iov[i].iov_len : length;

        shim_append(iov[i].iov_base, part);
        length -= part;
    }
}

/* Carry out @call, or make it fail; leaves errno alone while logging. */
#define SHIM_CALL(fd, kind, call, failed, log) do { \
    if (!shim_matches(fd)) { \
        return call; \
    } \
    shim_hang(); \
    pthread_mutex_lock(&shim_lock); \
    bool is_bad = shim_fail(kind); \
    __typeof__(call) ret = is_bad ? (failed) : call; \
    int error = is_bad ? shim_errno : errno; \
    log; \
    pthread_mutex_unlock(&shim_lock); \
    errno = error; \
    return ret; \
} while (0)

ssize_t preadv64(int fd, const struct iovec *iov, int count, off64_t offset)
{
    struct iovec half[SHIM_MAX_IOV];

    REAL(preadv64)
    iov = shim_cut(fd, iov, &count, half);
    SHIM_CALL(fd, SHIM_READ, real_preadv64(fd, iov, count, offset), -1, (void)0);
}

ssize_t preadv64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
{
    struct iovec half[SHIM_MAX_IOV];

    REAL(preadv64v2)
    if (shim_refuses_to_wait(fd, flags)) {
        return -1;
    }
    iov = shim_cut(fd, iov, &count, half);
    SHIM_CALL(fd, SHIM_READ, real_preadv64v2(fd, iov, count, offset, flags), -1, (void)0);
}

static void shim_log_write(const struct iovec *iov, int count, off64_t offset, ssize_t done)
{
    if (done > 0) {
        shim_log(SHIM_WRITE, offset, done);
        shim_log_iov(iov, count, done);
    }
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t offset)
{
    struct iovec half[SHIM_MAX_IOV];

    REAL(pwritev64)
    iov = shim_cut(fd, iov, &count, half);
    SHIM_CALL(fd, SHIM_WRITE, real_pwritev64(fd, iov, count, offset), -1,
              shim_log_write(iov, count, offset, ret));
}

ssize_t pwritev64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
{
    struct iovec half[SHIM_MAX_IOV];

    REAL(pwritev64v2)
    if (shim_refuses_to_wait(fd, flags)) {
        return -1;
    }
    iov = shim_cut(fd, iov, &count, half);
    SHIM_CALL(fd, SHIM_WRITE, real_pwritev64v2(fd, iov, count, offset, flags), -1,
              shim_log_write(iov, count, offset, ret));
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t offset)
{
    struct iovec whole = { (void *)buf, len }, half[SHIM_MAX_IOV];
    int count = 1;
    const struct iovec *iov = shim_cut(fd, &whole, &count, half);

    REAL(pwrite64)
    SHIM_CALL(fd, SHIM_WRITE, real_pwrite64(fd, buf, iov->iov_len, offset), -1,
              shim_log_write(iov, 1, offset, ret));
}

static void shim_log_fallocate(int mode, off64_t offset, off64_t length, int ret)
{
    if (ret == 0 && mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
        shim_log(SHIM_ZERO, offset, length);
    }
    if (ret == 0 && !(mode & FALLOC_FL_KEEP_SIZE)) {
        shim_log(SHIM_EXTEND, 0, offset + length);
    }
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
    REAL(fallocate64)
    SHIM_CALL(fd, SHIM_ZERO, real_fallocate64(fd, mode, offset, length), -1,
              shim_log_fallocate(mode, offset, length, ret));
}

int posix_fallocate64(int fd, off64_t offset, off64_t length)
{
    REAL(posix_fallocate64)
    SHIM_CALL(fd, SHIM_ZERO, real_posix_fallocate64(fd, offset, length), shim_errno,
              shim_log_fallocate(0, offset, length, ret));
}

int ftruncate64(int fd, off64_t length)
{
    REAL(ftruncate64)
    SHIM_CALL(fd, SHIM_RESIZE, real_ftruncate64(fd, length), -1,
              ret == 0 ? shim_log(SHIM_RESIZE, 0, length) : (void)0);
}

/* Refused, so that the program falls back to what can be logged. */
ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t length,
                        unsigned flags)
{
    REAL(copy_file_range)
    if (!shim_matches(out)) {
        return real_copy_file_range(in, in_offset, out, out_offset, length, flags);
    }
    errno = ENOSYS;
    return -1;
}

static void shim_note_clone(const struct file_clone_range *range)
{
    FILE *notes = fopen(getenv("IOSHIM_CLONE"), "a");

    if (notes) {
        fprintf(notes, "%llu %llu\n", (unsigned long long)range->dest_offset,
                (unsigned long long)range->src_length);
        fclose(notes);
    }
}

/* By copying, which looks the same; with the rules of file systems that share. */
static int shim_clone(int fd, const struct file_clone_range *range)
{
    uint64_t from = range->src_offset, to = range->dest_offset, left = range->src_length;
    static char buf[64 * 1024] __attribute__((aligned(SHIM_BLOCK))); /* under the lock */
    struct stat st;

    REAL(pwrite64)
    if (!getenv("IOSHIM_CLONE")) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (from % SHIM_BLOCK || to % SHIM_BLOCK || left % SHIM_BLOCK ||
        (range->src_fd == fd && from < to + left && to < from + left) ||
        fstat(range->src_fd, &st) < 0 || from + left > (uint64_t)st.st_size) {
        errno = EINVAL;
        return -1;
    }
    while (left) {
        struct iovec iov = { buf, left < sizeof(buf) ? left : sizeof(buf) };

        if (pread(range->src_fd, buf, iov.iov_len, from) != (ssize_t)iov.iov_len ||
            real_pwrite64(fd, buf, iov.iov_len, to) != (ssize_t)iov.iov_len) {
            return -1;
        }
        shim_log_write(&iov, 1, to, iov.iov_len);
        from += iov.iov_len;
        to += iov.iov_len;
        left -= iov.iov_len;
    }
    shim_note_clone(range);
    return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    void *arg;

    va_start(args, request);
    arg = va_arg(args, void *);
    va_end(args);
    REAL(ioctl)
    if (request != FICLONERANGE) {
        return real_ioctl(fd, request, arg);
    }
    SHIM_CALL(fd, SHIM_CLONE, shim_clone(fd, arg), -1, (void)0);
}

int fdatasync(int fd)
{
    REAL(fdatasync)
    SHIM_CALL(fd, SHIM_FLUSH, real_fdatasync(fd), -1,
              ret == 0 ? shim_log(SHIM_FLUSH, 0, 0) : (void)0);
}

int fsync(int fd)
{
    REAL(fsync)
    SHIM_CALL(fd, SHIM_FLUSH, real_fsync(fd), -1,
              ret == 0 ? shim_log(SHIM_FLUSH, 0, 0) : (void)0);
}
