/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inside of block copying: its state, and who copies what.
 *
 * A bit is set: the cluster is still to be copied.  Whoever copies takes bits away and puts a task
 * into the list in one step under the lock, so each cluster is copied once; if copying fails, the
 * bits come back before the task goes.  So "no bit set and no task" means copied.
 */
#ifndef BLOCK_COPY_COPY_INT_H
#define BLOCK_COPY_COPY_INT_H

#include "block/block-copy.h"
#include "block/block-sharing.h"
#include "qemu/buffer-pool.h"
#include "qemu/lockable.h"

/* A coroutine that sleeps until a task has ended; on its own stack. */
typedef struct TaskWaiter {
    Coroutine *co;
    QSIMPLEQ_ENTRY(TaskWaiter) next;
} TaskWaiter;

/* A range that somebody is copying; on the copier's stack. */
typedef struct CopyTask {
    int64_t offset, bytes;
    uint64_t number; /* of those that are written in order; 0: it is none of them */
    bool moved;      /* data was written for it */
    bool is_lock;    /* nobody's copying, but keeps others out */
    QSIMPLEQ_HEAD(, TaskWaiter) waiters;
    QLIST_ENTRY(CopyTask) next;
} CopyTask;

struct BlockCopyState {
    /* Fixed. */
    BdrvChild *source, *target;
    int64_t cluster_size;
    int64_t bytes; /* length of the source */
    bool discard_source, is_compressed;
    BlockDriverState *source_bs; /* where @left is; referenced, since the edge may move */
    BlockDriverState *bottom;    /* referenced, or NULL */
    unsigned write_flags, zero_flags;
    BlockCopyProgress *progress;
    void *progress_opaque;

    BufferPool buffers; /* that data goes through */
    bool no_copy_range; /* atomic: offloaded copy was refused once */
    BlockSharing sharing;

    QemuMutex lock;
    BdrvDirtyBitmap *left; /* changed under lock */
    QLIST_HEAD(, CopyTask) tasks;
    int64_t cursor; /* where co_copy_some() looks first: no part of the disk is neglected */
    uint64_t nb_ordered; /* tasks that had a number */
    int64_t failed_offset, failed_bytes;
};

struct BlockCopyLock {
    CopyTask task;
};

/** Under the lock: a task that touches the range, or NULL. */
CopyTask *copy_task_find(BlockCopyState *state, int64_t offset, int64_t end);
/** The end of the cluster that ends at or after @end. */
int64_t copy_cluster_end(const BlockCopyState *state, int64_t end);
/**
 * Under the lock: take the next piece that is left in the range.  False: nothing is left there
 * (*@other NULL), or somebody works on that piece.
 */
bool copy_task_begin(BlockCopyState *state, CopyTask *task, int64_t offset, int64_t end,
                     int64_t max_chunk, CopyTask **other);
/** Copying has ended; if with an error (a negative @ret), all of it is left again. */
void copy_task_end(BlockCopyState *state, CopyTask *task, int ret);
/** Under the lock, which is dropped: sleep until @task has ended. */
void coroutine_fn copy_task_co_wait(BlockCopyState *state, CopyTask *task);
/** Before anything of @task is written: what it has to follow has ended, well or not. */
void coroutine_fn copy_task_co_wait_turn(BlockCopyState *state, const CopyTask *task);

#endif
