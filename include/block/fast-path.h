/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mapping fast path: where a range lies is a value that a driver answers from memory, and the
 * core follows such answers from the edge of a request down to the protocol, on the caller's stack,
 * without a coroutine, an allocation or a tracked request per layer.
 *
 * What cannot be answered so (a table that is not loaded, an allocation, a filter that must see
 * data, an unaligned or serialising request) takes the full path, from the first node that has no
 * answer on; the nodes passed before it stay visited until the request ends.
 *
 * A node passed is visited: serialising requests and whoever waits for older requests see the visit
 * (request.h); after a write, the node learns of it as it does on the full path, also that it grew:
 * a protocol takes writes past its end.
 *
 * Context: any loop thread; nothing here yields.
 */
#ifndef BLOCK_FAST_PATH_H
#define BLOCK_FAST_PATH_H

#include "block/aio.h"
#include "block/graph.h"
#include "qemu/iov.h"

/* ---- what drivers answer --------------------------------------------------------------------- */

typedef enum BdrvMapKind {
    BDRV_MAP_NONE,    /* not now, or not in one piece: take the full path */
    BDRV_MAP_HERE,    /* protocols: BlockDriver.bdrv_submit takes it as it is */
    BDRV_MAP_CHILD,   /* the bytes are those of BdrvMapping.child at BdrvMapping.offset */
    BDRV_MAP_BACKING, /* reads: none of the range is in this layer, see the backing file */
    BDRV_MAP_ZERO,    /* reads: zeroes */
} BdrvMapKind;

typedef struct BdrvMapping {
    BdrvChild *child;
    int64_t offset;
} BdrvMapping;

/* One transfer at a protocol. */
typedef struct BdrvDirectIO BdrvDirectIO;
struct BdrvDirectIO {
    bool is_write;
    int64_t offset, bytes;
    QEMUIOVector *qiov; /* lives until the end of the transfer */
    size_t qiov_offset;
    void (*done)(BdrvDirectIO *io, int ret); /* of a pending one, from this thread's loop */
    /* The driver's. */
    BlockDriverState *bs;
    AioFileIO file;
};

/* Results of starting, besides 0 and negative errnos, which mean that it has ended. */
enum {
    BDRV_FAST_PENDING = 1, /* @done will be called, not before the starting function returned */
    BDRV_FAST_NO,          /* nothing was done: take the full path */
    BDRV_FAST_REST,        /* the full path is to go on at BdrvFastRequest.child and .offset */
};

/* ---- requests -------------------------------------------------------------------------------- */

/* More nodes in the way than this: the full path from there on.  Backing chains count as two. */
#define BDRV_FAST_DEPTH 8

/* A node on the way of a request that is under way. */
typedef struct BdrvVisit {
    BlockDriverState *bs;
    int64_t offset;
    int *count; /* of visits, which this one is part of */
} BdrvVisit;

typedef struct BdrvFastRequest BdrvFastRequest;
struct BdrvFastRequest {
    /* The caller's.  @child and @offset are moved down the graph. */
    BdrvChild *child;
    int64_t offset, bytes;
    QEMUIOVector *qiov;
    size_t qiov_offset;
    bool is_write;
    void (*done)(BdrvFastRequest *req, int ret); /* of a pending one */
    void *opaque;
    int ret;

    /* The core's; not initialized by the caller. */
    unsigned n_visits;
    BdrvVisit visits[BDRV_FAST_DEPTH];
    BdrvDirectIO io;
};

/**
 * Try to do @req, whose caller has set the first group.  Returns what it ended with, or PENDING,
 * NO or REST; after REST the caller does the rest and then calls bdrv_fast_end().
 */
int bdrv_fast_start(BdrvFastRequest *req);
/** After BDRV_FAST_REST: it ended with @ret. */
void bdrv_fast_end(BdrvFastRequest *req, int ret);
/** After BDRV_FAST_REST: nothing was done, and all is going to be done otherwise. */
void bdrv_fast_abandon(BdrvFastRequest *req);

/**
 * Switch it on or off.  On at first, unless the environment has QEMU_BLOCK_FAST=0: the full path
 * does the same, only slower, so this is for finding and testing errors.  No request may run.
 */
void bdrv_fast_path_enable(bool enable);

/* ---- backing chains -------------------------------------------------------------------------- */

/**
 * Which layer below @top has [@offset, @offset + @bytes), of which @top has nothing?  The edge to
 * it, from which to go on at the same offset; NULL: no layer, it reads as zeroes.  Remembers
 * answers, so that the length of the chain does not matter.
 */
BdrvChild *bdrv_chain_find(BlockDriverState *top, int64_t offset, int64_t bytes);
/** The graph or the size of some layer has changed: forget all answers. */
void bdrv_chains_changed(void);
/** Some layer may have got content there that it did not have: forget what was answered of it. */
void bdrv_chains_changed_at(int64_t offset, int64_t bytes);
/** @bs is freed. */
void bdrv_chain_free(BlockDriverState *bs);

#endif
