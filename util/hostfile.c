/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files of the host.
 */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "qemu/cutils.h"
#include "qemu/fdset.h"
#include "qemu/hostfile.h"
#include "qemu/iov.h"

/* Elements handed to the kernel at a time when a vector must be rebuilt after a short result. */
#define IOV_WINDOW 64
#define IOV_LIMIT 1024

/* ---- open and close ------------------------------------------------------------------------- */

static int open_fdset(const char *name, const char *number, int flags, Error **errp)
{
    uint64_t id;

    if (parse_uint_full(number, 10, &id) < 0 || id > INT64_MAX) {
        errno = EINVAL;
        error_setg(errp, "Could not open '%s': '%s' is not the number of an fd set", name, number);
        return -1;
    }
    return fdset_dup_fd(id, flags, errp);
}

static int open_file(const char *name, const char *shown, int flags, mode_t mode, Error **errp)
{
    const char *verb = flags & O_CREAT ? "create" : "open";
    const char *number;
    int fd, saved_errno;

    if (strstart(name, "/dev/fdset/", &number)) {
        return open_fdset(name, number, flags, errp);
    }
    do {
        fd = open(name, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    if (fd >= 0) {
        return fd;
    }
    saved_errno = errno;
    if (saved_errno == EINVAL && (flags & O_DIRECT)) {
        error_setg(errp, "Could not %s '%s': filesystem does not support O_DIRECT", verb, shown);
    } else {
        error_setg_errno(errp, saved_errno, "Could not %s '%s'", verb, shown);
    }
    errno = saved_errno;
    return -1;
}

int qemu_open(const char *name, int flags, Error **errp)
{
    return qemu_open_as(name, name, flags, errp);
}

int qemu_open_as(const char *name, const char *shown, int flags, Error **errp)
{
    assert(!(flags & O_CREAT));
    return open_file(name, shown, flags, 0, errp);
}

int qemu_create(const char *name, int flags, mode_t mode, Error **errp)
{
    return open_file(name, name, flags | O_CREAT, mode, errp);
}

int qemu_close(int fd)
{
    fdset_forget_dup(fd);
    /* Linux closes the descriptor even when interrupted: never call again. */
    return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

int qemu_dup(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

int qemu_dup_flags(int fd, int flags)
{
    const int settable = O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_NONBLOCK;
    int copy = qemu_dup(fd);
    int old;

    if (copy < 0) {
        return -1;
    }
    old = fcntl(copy, F_GETFL);
    if (old < 0 || ((old ^ flags) & O_SYNC) ||
        (((old ^ flags) & settable) &&
         fcntl(copy, F_SETFL, (old & ~settable) | (flags & settable)) < 0)) {
        int saved_errno = old >= 0 && ((old ^ flags) & O_SYNC) ? EINVAL : errno;
        close(copy);
        errno = saved_errno;
        return -1;
    }
    return copy;
}

int qemu_pipe(int pipefd[2])
{
    return pipe2(pipefd, O_CLOEXEC);
}

bool qemu_set_blocking(int fd, bool block, Error **errp)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 ||
        fcntl(fd, F_SETFL, block ? flags & ~O_NONBLOCK : flags | O_NONBLOCK) < 0) {
        error_setg_errno(errp, errno, "Can't set file descriptor %d %s", fd,
                         block ? "blocking" : "non-blocking");
        return false;
    }
    return true;
}

/* ---- whole reads and writes ----------------------------------------------------------------- */

ssize_t qemu_read_full(int fd, void *buf, size_t count)
{
    size_t done = 0;

    while (done < count) {
        ssize_t ret = read(fd, (char *)buf + done, count - done);
        if (ret == 0) {
            break;
        }
        if (ret > 0) {
            done += ret;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return done;
}

ssize_t qemu_write_full(int fd, const void *buf, size_t count)
{
    size_t done = 0;

    while (done < count) {
        ssize_t ret = write(fd, (const char *)buf + done, count - done);
        if (ret >= 0) {
            done += ret;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return done;
}

/*
 * Transfer a vector with as many system calls as it takes.  The usual case is one call on the
 * caller's own array; after a short result the rest is rebuilt in a window.
 */
static ssize_t transfer_full(int fd, const struct iovec *iov, int iovcnt, off_t offset,
                             bool is_write)
{
    const size_t size = iov_size(iov, iovcnt);
    struct iovec window[IOV_WINDOW];
    const struct iovec *part = iov;
    int part_cnt = MIN(iovcnt, IOV_LIMIT);
    size_t done = 0;

    while (done < size) {
        ssize_t ret = is_write ? pwritev(fd, part, part_cnt, offset + done)
                               : preadv(fd, part, part_cnt, offset + done);
        if (ret < 0) {
            if (errno == EINTR) {
                continue;
            }
            /* Direct I/O came to the end of a file of odd size: the rest cannot be asked for. */
            if (errno == EINVAL && !is_write && done) {
                break;
            }
            return -errno;
        }
        if (ret == 0 && iov_size(part, part_cnt)) {
            if (is_write) {
                return -EIO;    /* no progress and no reason: do not spin */
            }
            break;
        }
        done += ret;
        part_cnt = iov_copy(window, IOV_WINDOW, iov, iovcnt, done, size - done);
        part = window;
    }
    return done;
}

ssize_t qemu_preadv_full(int fd, const struct iovec *iov, int iovcnt, off_t offset)
{
    return transfer_full(fd, iov, iovcnt, offset, false);
}

ssize_t qemu_pwritev_full(int fd, const struct iovec *iov, int iovcnt, off_t offset)
{
    return transfer_full(fd, iov, iovcnt, offset, true);
}

ssize_t qemu_pread_full(int fd, void *buf, size_t count, off_t offset)
{
    struct iovec iov = { .iov_base = buf, .iov_len = count };

    return transfer_full(fd, &iov, 1, offset, false);
}

ssize_t qemu_pwrite_full(int fd, const void *buf, size_t count, off_t offset)
{
    struct iovec iov = { .iov_base = (void *)buf, .iov_len = count };

    return transfer_full(fd, &iov, 1, offset, true);
}

/* ---- allocation ----------------------------------------------------------------------------- */

int qemu_fallocate(int fd, int mode, int64_t offset, int64_t len)
{
    int ret;

    do {
        ret = fallocate(fd, mode, offset, len);
    } while (ret < 0 && errno == EINTR);
    if (ret == 0) {
        return 0;
    }
    switch (errno) {
    case EOPNOTSUPP:
    case ENOSYS:
    case ENODEV:
    case ENOTTY:
        return -ENOTSUP;
    default:
        return -errno;
    }
}

int qemu_punch_hole(int fd, int64_t offset, int64_t len)
{
    return qemu_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len);
}

int qemu_zero_range(int fd, int64_t offset, int64_t len)
{
    return qemu_fallocate(fd, FALLOC_FL_ZERO_RANGE, offset, len);
}

int qemu_find_allocation(int fd, int64_t start, int64_t *data, int64_t *hole)
{
    off_t found = lseek(fd, start, SEEK_DATA);

    if (found < 0) {
        return -errno;
    }
    if (found < start) {
        return -EIO;            /* a broken file system; no information */
    }
    if (found > start) {
        *hole = start;
        *data = found;
        return 0;
    }
    found = lseek(fd, start, SEEK_HOLE);
    if (found < 0) {
        return -errno;
    }
    if (found < start) {
        return -EIO;
    }
    if (found == start) {
        return -EBUSY;          /* discarded between the two calls */
    }
    *data = start;
    *hole = found;
    return 0;
}

/* ---- locks ---------------------------------------------------------------------------------- */

bool qemu_has_ofd_lock(void)
{
    static int known = -1;      /* -1, or the answer; racing threads find the same */
    int answer = __atomic_load_n(&known, __ATOMIC_RELAXED);

    if (answer < 0) {
        struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        answer = fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0;
        if (fd >= 0) {
            close(fd);
            __atomic_store_n(&known, answer, __ATOMIC_RELAXED);
        }
    }
    return answer;
}

static int set_lock(int fd, int64_t start, int64_t len, short type)
{
    struct flock lock = {
        .l_type = type,
        .l_whence = SEEK_SET,
        .l_start = start,
        .l_len = len,
    };
    int ret;

    do {
        ret = fcntl(fd, F_OFD_SETLK, &lock);
    } while (ret < 0 && errno == EINTR);
    if (ret < 0) {
        return errno == EACCES ? -EAGAIN : -errno;
    }
    return 0;
}

int qemu_lock_fd(int fd, int64_t start, int64_t len, bool exclusive)
{
    return set_lock(fd, start, len, exclusive ? F_WRLCK : F_RDLCK);
}

int qemu_unlock_fd(int fd, int64_t start, int64_t len)
{
    return set_lock(fd, start, len, F_UNLCK);
}

int qemu_lock_fd_test(int fd, int64_t start, int64_t len, bool exclusive)
{
    struct flock lock = {
        .l_type = exclusive ? F_WRLCK : F_RDLCK,
        .l_whence = SEEK_SET,
        .l_start = start,
        .l_len = len,
    };

    if (fcntl(fd, F_OFD_GETLK, &lock) < 0) {
        return -errno;
    }
    return lock.l_type == F_UNLCK ? 0 : -EAGAIN;
}
