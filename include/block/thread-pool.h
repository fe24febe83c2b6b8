/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocking calls made by worker threads on behalf of a loop.
 *
 * - One set of workers serves all loops.  No thread is started before it is needed; idle ones end.
 * - The functions run in a worker: they must not touch anything of the block layer but @arg.
 * - Submissions of one iteration are handed over together at its end, completions come together.
 *
 * Context: a loop thread.
 */
#ifndef BLOCK_THREAD_POOL_H
#define BLOCK_THREAD_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "qemu/compiler.h"

/* Returns what the submitter gets: by convention 0 or a negative errno. */
typedef int ThreadPoolFunc(void *arg);
typedef void ThreadPoolCompletion(void *opaque, int ret);

/** Run @func(@arg) in a worker and return what it returned. */
int coroutine_fn thread_pool_submit_co(ThreadPoolFunc *func, void *arg);

/**
 * Run @func(@arg), which shares out the work among its callers, in as many workers as there are
 * processors but at most @max; return 0 or the error of one.
 */
int coroutine_fn thread_pool_share_co(ThreadPoolFunc *func, void *arg, int max);

/** Run @func(@arg) in a worker, then @cb(@opaque, its result) in this loop.  @cb may be NULL. */
void thread_pool_submit_aio(ThreadPoolFunc *func, void *arg, ThreadPoolCompletion *cb,
                            void *opaque);

/**
 * Calls that the host does one after the other anyway, as cached writes of one file, form a group:
 * one worker at a time does those that wait, in order, and tells of many at once.
 */
typedef struct ThreadPoolGroup ThreadPoolGroup;
/**
 * Do some of the calls with @args, from the first on, and set @rets.  Returns how many it did, at
 * least one; the more, the fewer wake-ups, but their callbacks wait for the last.
 */
typedef int ThreadPoolGroupFunc(void *const *args, int *rets, int n);

/** A group with nothing in it. */
ThreadPoolGroup *thread_pool_group_new(ThreadPoolGroupFunc *func);
/** All callbacks have been called.  NULL is fine. */
void thread_pool_group_free(ThreadPoolGroup *group);
/** As thread_pool_submit_co(), of a call of @group. */
int coroutine_fn thread_pool_group_submit_co(ThreadPoolGroup *group, void *arg);
/** As thread_pool_submit_aio(), of a call of @group; any of its loops may submit. */
void thread_pool_group_submit_aio(ThreadPoolGroup *group, void *arg, ThreadPoolCompletion *cb,
                                  void *opaque);

/**
 * The number of workers kept when idle, and started at most (default 0 and 64).
 * Any thread; @min <= @max, @max > 0.
 */
void thread_pool_set_limits(int min, int max);

/** The most workers that thread_pool_share_co() takes.  Any thread. */
int thread_pool_processors(void);

#endif
