/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors handed to us by management software, because we may not open files ourselves.
 *
 * An fd set holds several descriptors of one file (one read-only, one read-write, ...) under a
 * number N; opening "/dev/fdset/N" duplicates the one whose access mode fits.  A named
 * descriptor (getfd) is used once.  Any thread may call.
 */
#ifndef QEMU_FDSET_H
#define QEMU_FDSET_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "qemu/error.h"

/* ---- sets ----------------------------------------------------------------------------------- */

/**
 * Add @fd (taken on success) to set @id, made when it does not exist; a NULL @id: to a new set
 * with the lowest free number.
 * @opaque: text for query-fdsets; copied; may be NULL.
 * Returns: the number of the set, or -1.
 */
int64_t fdset_add_fd(int fd, const int64_t *id, const char *opaque, Error **errp);
/* Remove and close descriptor @fd of set @id; all of them when @fd is -1. */
bool fdset_remove_fd(int64_t id, int fd, Error **errp);

typedef struct FdsetFdDesc {
    int fd;
    char *opaque;               /* NULL when none was given */
} FdsetFdDesc;
typedef struct FdsetDesc {
    int64_t id;
    GArray *fds;                /* of FdsetFdDesc */
} FdsetDesc;
/* All sets, ascending by number: an array of FdsetDesc *, freed by g_ptr_array_unref(). */
GPtrArray *fdset_query(void);

/* Duplicate the descriptor of set @id that fits @flags; -1 with errno set too.  qemu_open() calls
 * this. */
int fdset_dup_fd(int64_t id, int flags, Error **errp);
/* @fd, perhaps a duplicate, is about to be closed.  qemu_close() calls this. */
void fdset_forget_dup(int fd);

/* A monitor client came or went.  When the last one goes, sets without duplicates are closed. */
void fdset_monitor_opened(void);
void fdset_monitor_closed(void);

/* ---- names ---------------------------------------------------------------------------------- */

/* Give @fd (taken on success) a name; one that had it is closed. */
bool named_fd_add(const char *name, int fd, Error **errp);
/* Close the descriptor called @name. */
bool named_fd_close(const char *name, Error **errp);
/* Take the descriptor called @name, which loses its name; -1 when there is none. */
int named_fd_take(const char *name, Error **errp);
/* The descriptor a user means by @param: a number, or a name as above. */
int named_fd_param(const char *param, Error **errp);

#endif
