/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A thread that runs one AioContext.
 *
 * - The creator owns a reference; iothread_stop ends the thread and keeps the object.
 * - The loop's queued work is done before the thread ends; descriptors still watched are forgotten.
 * - Context: main thread, but for the queries of fixed values.
 */
#ifndef QEMU_IOTHREAD_H
#define QEMU_IOTHREAD_H

#include "block/aio.h"

typedef struct IOThread IOThread;

#define IOTHREAD_POLL_MAX_NS_DEFAULT 32768

/** Start a thread with a loop.  @id: its name, copied. */
IOThread *iothread_create(const char *id, Error **errp);
IOThread *iothread_ref(IOThread *iothread);
/** The last one stops the thread.  NULL is fine. */
void iothread_unref(IOThread *iothread);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(IOThread, iothread_unref)

/** Free its id: nobody finds @iothread any more, who has a reference goes on. */
void iothread_hide(IOThread *iothread);

/** End the thread and wait for it; again is fine. */
void iothread_stop(IOThread *iothread);

/* ---- queries --------------------------------------------------------------------------------- */
const char *iothread_get_id(const IOThread *iothread);
/** Lives as long as @iothread. */
AioContext *iothread_get_aio_context(const IOThread *iothread);
/** The kernel's number of the thread; -1 when it was stopped. */
int iothread_get_thread_id(const IOThread *iothread);
/** Whether the caller runs in this thread. */
bool iothread_is_self(const IOThread *iothread);

/** The iothread named @id, or NULL; no reference is taken. */
IOThread *iothread_by_id(const char *id);
/** Call @fn for each iothread in order of creation until it returns non-zero, which is returned. */
int iothread_foreach(int (*fn)(IOThread *iothread, void *opaque), void *opaque);

/* ---- busy polling before sleep: see aio_context_set_poll_params ------------------------------ */
typedef struct IOThreadPollParams {
    int64_t max_ns;
    int64_t grow;
    int64_t shrink;
    int64_t weight;
} IOThreadPollParams;

void iothread_set_poll_params(IOThread *iothread, const IOThreadPollParams *params);
void iothread_get_poll_params(const IOThread *iothread, IOThreadPollParams *params);

#endif
