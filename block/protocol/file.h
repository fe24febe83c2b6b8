/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the file and host_device drivers share.
 */
#ifndef BLOCK_PROTOCOL_FILE_H
#define BLOCK_PROTOCOL_FILE_H

#include "block/block_int.h"

/* Byte locks of one open file description: bit i of @uses is byte 100+i, of @unshared byte 200+i. */
typedef struct FileLocks {
    BlockRights uses, unshared;
} FileLocks;

/**
 * Get the locks of @want that are not in @held, and look for others' that conflict.  May block on a
 * network file system: runs in a worker.  On failure @held is what is held still.
 */
bool coroutine_fn file_locks_co_get(int fd, const FileLocks *held, const FileLocks *want,
                                    const char *filename, Error **errp);
/* Give up the locks of @have that are not in @keep.  Failures are only warned of. */
void file_locks_drop(int fd, const FileLocks *have, const FileLocks *keep);

#endif
