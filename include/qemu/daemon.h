/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a process begins with, going into the background, and the file that says who is there.
 * Main thread.
 */
#ifndef QEMU_DAEMON_H
#define QEMU_DAEMON_H

#include <stdbool.h>

typedef struct Error Error;

/**
 * First of all in main().  Standard streams that the caller closed go to /dev/null: else the next
 * file opened would get their number, and an image what is printed.  A write past the limit of file
 * sizes (RLIMIT_FSIZE) fails with EFBIG instead of ending the program.
 */
void daemon_prepare_process(void);

/**
 * Go on in a child without terminal; the parent waits for daemon_ready() or the child's end, and
 * exits with status 0 or 1.  Before any thread or loop exists.
 */
void daemon_fork(void);
/** After daemon_fork(): the standard streams are not for anybody to use. */
bool daemon_is_in_background(void);

/** Let the parent go, and drop the standard streams.  Nothing without daemon_fork(). */
void daemon_ready(void);

/** Write and lock the pid file; it is removed by daemon_remove_pidfile(). */
bool daemon_write_pidfile(const char *path, Error **errp);
void daemon_remove_pidfile(void);

#endif
