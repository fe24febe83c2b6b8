/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inside of a BlockBackend, shared by the files of this folder.
 */
#ifndef BLOCK_BACKEND_INT_H
#define BLOCK_BACKEND_INT_H

#include "block/block-backend.h"
#include "block/block_int.h"
#include "block/gate.h"
#include "qemu/thread.h"

struct BlockBackend {
    BdrvGate gate; /* own synchronisation; every request enters here once */

    /* Main thread only. */
    int refcnt;
    char *name;            /* NULL: anonymous */
    BdrvOwner owner;       /* for anonymous ones; strings owned */
    char *description;     /* built on demand from name, device or owner */
    uint64_t perm, shared; /* wanted at the root; in force if there is one */
    void *dev;
    char *dev_id;
    const BlockDevOps *dev_ops;
    void *dev_opaque;
    bool iostatus_enabled;
    BlockDeviceIoStatus iostatus; /* atomic */
    BlockdevOnError on_read_error, on_write_error;
    QTAILQ_ENTRY(BlockBackend) next;

    /* Changed only while frozen or before use; read by requests. */
    BdrvChild *root; /* NULL: no medium */
    AioContext *ctx; /* where blk_aio_* of threads without a loop run */

    /* Atomics. */
    bool write_cache; /* false: each write is flushed */
    bool allow_write_beyond_eof;
    bool accounts; /* somebody may ask for the statistics */
    int64_t length; /* bytes when it was last looked at, or -ENOMEDIUM */

    BlockAcctStats stats; /* own lock */
    CoMutex drive_lock;   /* one command to the drive of the host at a time */
};

/* ---- backend.c: the root, from any thread ---------------------------------------------------- */

/**
 * Begin to look at the root for a moment, without yielding.  Any thread, in or out of requests.
 * False: it is being changed just now by the main thread, and the caller has to do without.
 */
bool blk_look_begin(BlockBackend *blk);
/** After blk_look_begin() was true, in the same thread. */
void blk_look_end(BlockBackend *blk);

/* ---- backend-io.c: what every request goes through ------------------------------------------- */

/** 0, or why the request cannot be: no medium, out of range. */
int blk_check_range(BlockBackend *blk, int64_t offset, int64_t bytes);
/** Write-through: each write is on stable storage when it returns. */
unsigned blk_write_flags(BlockBackend *blk, unsigned flags);
/** Count a request, if somebody may ask for the count. */
void blk_account_start(BlockBackend *blk, BlockAcctCookie *acct, int64_t bytes,
                       BlockAcctType type);
void blk_account_end(BlockBackend *blk, BlockAcctCookie *acct, int ret);

#endif
