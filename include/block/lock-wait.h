/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --wait-lock=SECONDS of the tools: how long opening an image waits for another process to let go
 * of its lock.
 *
 * A process-wide setting, made before images are opened.  A program that serves clients sets it
 * back to 0 before it does: one client's image would hold up all others.
 */
#ifndef BLOCK_LOCK_WAIT_H
#define BLOCK_LOCK_WAIT_H

#include "qemu/error.h"

#define BDRV_LOCK_WAIT_MAX 86400 /* seconds */

/** Wait up to @seconds for each image; 0, as at the start: refuse at once. */
void bdrv_set_lock_wait(unsigned seconds);
unsigned bdrv_lock_wait(void);

/** The argument of --wait-lock: a number of seconds; false with @errp set if it is none. */
bool bdrv_parse_lock_wait(const char *arg, Error **errp);

/**
 * Take "--wait-lock=N" or "--wait-lock N" out of a command line, wherever it stands before "--".
 * For programs whose every subcommand has it.  @argv stays NULL-terminated.
 */
bool bdrv_take_lock_wait_option(int *argc, char **argv, Error **errp);

#endif
