/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tracked requests: who runs over which bytes of a node, and who waits for whom.
 *
 * A request is on its coroutine's stack from begin to end.  Order of begin (the order is
 * essential):
 *   1. whether it is serialising is decided before it is visible; a serialising one raises
 *      bs->n_serialising;
 *   2. link into the shard of this thread;
 *   3. take serial = bs->next_serial++ (acquire-release);
 *   4. look: an ordinary request returns if n_serialising is 0, else waits for overlapping
 *      serialising requests with a smaller serial; a serialising one waits for every overlapping
 *      request with a smaller serial.
 * Waits are only ever for a smaller serial, so no cycle can form.  Thread-safe.
 *
 * Requests of the fast path are not linked; they are counted as visits of the nodes they pass, from
 * before they look at a mapping until they have ended (fast-path.c):
 *   - a visit raises its count, then looks at n_serialising, and steps back unless it is 0;
 *   - a serialising request raises n_serialising, then waits until the counts are 0;
 *   - a node has two banks of counts, turned over by bdrv_oldest_serial(), so that waiting for the
 *     visits of one bank ends although others come.
 */
#ifndef BLOCK_REQUEST_H
#define BLOCK_REQUEST_H

#include "block/block.h"
#include "block/coroutine.h"
#include "qemu/queue.h"

typedef enum BdrvRequestKind {
    BDRV_REQUEST_READ,
    BDRV_REQUEST_WRITE,
    BDRV_REQUEST_DISCARD,
    BDRV_REQUEST_TRUNCATE,
    BDRV_REQUEST_ZONE, /* the state of zones */
} BdrvRequestKind;

/* A coroutine that sleeps until a request ends; on its own stack. */
typedef struct BdrvRequestWaiter {
    Coroutine *co;
    QSIMPLEQ_ENTRY(BdrvRequestWaiter) next;
} BdrvRequestWaiter;

typedef struct BdrvRequest {
    BlockDriverState *bs;
    BdrvRequestKind kind;
    bool serialising;
    int64_t offset, bytes;                 /* what was asked */
    int64_t overlap_offset, overlap_bytes; /* what others may not touch */
    uint64_t serial;                       /* 0: linked but not numbered yet */
    unsigned shard;
    QSIMPLEQ_HEAD(, BdrvRequestWaiter) waiters; /* under the shard's lock */
    QTAILQ_ENTRY(BdrvRequest) next;
} BdrvRequest;

/**
 * Begin: link, number, wait for older conflicting requests.
 * @align: a serialising request's overlap range is widened to multiples of it (1: not).
 * Returns 0, or -EBUSY if @no_wait and it would have to wait (then the request is not begun).
 */
int coroutine_fn bdrv_request_co_begin(BdrvRequest *req, BlockDriverState *bs, BdrvRequestKind kind,
                                       int64_t offset, int64_t bytes, int64_t align,
                                       bool serialising, bool no_wait);
/** End it: whoever waits for it goes on. */
void bdrv_request_end(BdrvRequest *req);

/**
 * Serial of the oldest request in flight on @bs, or of the next one.  Memory or clusters freed at
 * serial s may be reused once this is greater than s.
 */
uint64_t bdrv_oldest_serial(BlockDriverState *bs);
/** The serial that the next request on @bs will have at the least. */
uint64_t bdrv_current_serial(BlockDriverState *bs);

/** Fast path: a visit has ended, and somebody waits for that. */
void bdrv_visit_wake(BlockDriverState *bs);

/** The shard of the calling thread, below BDRV_REQUEST_SHARDS. */
unsigned bdrv_request_shard(void);

#endif
