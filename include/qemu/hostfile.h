/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files of the host: opening, whole reads and writes, allocation, locks on byte ranges.
 *
 * Rules of use:
 *   - Unless said otherwise a function returns 0 or negative errno, and retries after EINTR.
 *   - Descriptors made here are close-on-exec.
 *   - What qemu_open() or qemu_create() opened is closed by qemu_close(), which knows about
 *     /dev/fdset.
 *   - These calls block: in an event loop, run them in a thread pool where that matters.
 */
#ifndef QEMU_HOSTFILE_H
#define QEMU_HOSTFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "qemu/error.h"

/* ---- open and close ------------------------------------------------------------------------- */

/* Open file @name, or duplicate a descriptor when it is /dev/fdset/N.  @flags: without O_CREAT.
 * Returns the descriptor, or -1 with @errp and errno set. */
int qemu_open(const char *name, int flags, Error **errp);
/* The same of a file that people know as @shown. */
int qemu_open_as(const char *name, const char *shown, int flags, Error **errp);
/* Open @name, made with @mode when it does not exist (O_CREAT is added to @flags). */
int qemu_create(const char *name, int flags, mode_t mode, Error **errp);
/* Close @fd. */
int qemu_close(int fd);
/* A duplicate with close-on-exec; -1 with errno set. */
int qemu_dup(int fd);
/* A duplicate with the status flags @flags, as far as Linux can change them; -1 with errno set. */
int qemu_dup_flags(int fd, int flags);
/* A pipe; 0, or -1 with errno set. */
int qemu_pipe(int pipefd[2]);

/* Set or clear O_NONBLOCK. */
bool qemu_set_blocking(int fd, bool block, Error **errp);

/* ---- whole reads and writes: go on after short results -------------------------------------- */

/* Return the bytes read, short only at the end of the file, or negative errno. */
ssize_t qemu_read_full(int fd, void *buf, size_t count);
ssize_t qemu_pread_full(int fd, void *buf, size_t count, off_t offset);
ssize_t qemu_preadv_full(int fd, const struct iovec *iov, int iovcnt, off_t offset);
/* Return @count (the vector's size), or negative errno. */
ssize_t qemu_write_full(int fd, const void *buf, size_t count);
ssize_t qemu_pwrite_full(int fd, const void *buf, size_t count, off_t offset);
ssize_t qemu_pwritev_full(int fd, const struct iovec *iov, int iovcnt, off_t offset);

/* ---- allocation ----------------------------------------------------------------------------- */

/* fallocate() with FALLOC_FL_* in @mode.  -ENOTSUP for every way a file system or kernel has to
 * say that it cannot do this. */
int qemu_fallocate(int fd, int mode, int64_t offset, int64_t len);
/* Make the range read as zeroes and give its space back; the file keeps its size. */
int qemu_punch_hole(int fd, int64_t offset, int64_t len);
/* Make the range read as zeroes, space allocated; the file grows when the range ends beyond it. */
int qemu_zero_range(int fd, int64_t offset, int64_t len);

/**
 * Where is data, from @start on?
 * At the return of 0 one of these holds: *@data == @start < *@hole: data up to *@hole;
 * *@hole == @start < *@data: a hole up to *@data.
 * Returns: -ENXIO: @start is beyond the end, or in a hole up to the end.  -EBUSY: the file
 * changed meanwhile.  Other errors: the file system cannot tell.  Moves the file position.
 */
int qemu_find_allocation(int fd, int64_t start, int64_t *data, int64_t *hole);

/* ---- locks on byte ranges that belong to the open file (OFD locks) -------------------------- */

/* Whether the kernel has them. */
bool qemu_has_ofd_lock(void);
/* Lock without waiting: -EAGAIN when another open file is in the way. */
int qemu_lock_fd(int fd, int64_t start, int64_t len, bool exclusive);
int qemu_unlock_fd(int fd, int64_t start, int64_t len);
/* Could qemu_lock_fd() succeed now?  0 or -EAGAIN.  Own locks are never in the way. */
int qemu_lock_fd_test(int fd, int64_t start, int64_t len, bool exclusive);

#endif
