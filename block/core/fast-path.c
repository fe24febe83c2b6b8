/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Following mappings from an edge to the protocol (rules: fast-path.h).
 *
 * Order of a visit: raise the node's count, look at n_serialising, then ask for the mapping.  So
 * whoever raised n_serialising and then saw the counts at 0 knows that no request of the fast path
 * holds an old mapping or overlaps with it.
 */
#include "qemu/osdep.h"

#include "io.h"

#include "qemu/atomic.h"

static bool is_off;

void bdrv_fast_path_enable(bool enable)
{
    qatomic_set(&is_off, !enable);
}

static void __attribute__((constructor)) read_environment(void)
{
    const char *value = getenv("QEMU_BLOCK_FAST");

    is_off = value && strcmp(value, "0") == 0;
}

/* ---- visits ---------------------------------------------------------------------------------- */

static inline void visit_end(const BdrvVisit *visit)
{
    BlockDriverState *bs = visit->bs;

    qatomic_dec(visit->count);
    smp_mb__after_rmw(); /* pairs with co_wait_for_visits() */
    if (unlikely(qatomic_read(&bs->n_visit_waiters))) {
        bdrv_visit_wake(bs);
    }
}

static inline bool visit_begin(BdrvVisit *visit, BlockDriverState *bs, int64_t offset,
                               unsigned shard)
{
    if (unlikely(qatomic_read(&bs->n_serialising))) {
        return false;
    }
    visit->bs = bs;
    visit->offset = offset;
    visit->count = &bs->shard[shard].visits[qatomic_read(&bs->visit_bank) & 1];
    qatomic_inc(visit->count);
    smp_mb__after_rmw(); /* pairs with bdrv_request_co_begin(): raised before it looks at counts */
    if (unlikely(qatomic_read(&bs->n_serialising))) {
        visit_end(visit);
        return false;
    }
    return true;
}

/* ---- what can pass --------------------------------------------------------------------------- */

static inline bool may_write(const BdrvChild *child)
{
    const BlockDriverState *bs = child->bs;

    return !bs->read_only && !bs->inactive && bs->detect_zeroes == 0 &&
           (child->claim.uses & (BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED));
}

/* Files grow by being written to; rights were looked at, and the end is one that can be. */
static inline bool may_grow(const BdrvFastRequest *req)
{
    return req->is_write && req->child->bs->drv->is_protocol &&
           req->offset <= BDRV_MAX_LENGTH - req->bytes;
}

/* Could the full path pass the request to the driver in one piece, and nothing before it? */
static inline bool fits(const BdrvFastRequest *req)
{
    const BdrvChild *child = req->child;
    const BlockDriverState *bs = child->bs;
    const BlockDriver *drv = bs->drv;

    if (!drv || req->offset < 0 ||
        (req->offset > qatomic_read(&bs->total_bytes) - req->bytes && !may_grow(req)) ||
        ((req->offset | req->bytes) & (bs->bl.request_alignment - 1)) ||
        (bs->bl.max_transfer && req->bytes > bs->bl.max_transfer) ||
        (bs->bl.max_iov && req->qiov->niov > bs->bl.max_iov) || drv->bdrv_serialise_reads ||
        (bs->file && bs->file->bs->drv->bdrv_co_debug_event)) {
        return false;
    }
    return !req->is_write || may_write(child);
}

static inline BdrvMapKind ask(const BdrvFastRequest *req, BlockDriverState *bs, BdrvMapping *map)
{
    const BlockDriver *drv = bs->drv;

    if (likely(drv->bdrv_map)) {
        return drv->bdrv_map(bs, req->is_write, req->offset, req->bytes, map);
    }
    if (req->is_write ? !!drv->bdrv_co_pwritev : !!drv->bdrv_co_preadv) {
        return BDRV_MAP_NONE;
    }
    map->child = bdrv_forwarding_child(bs);
    map->offset = req->offset;
    return map->child ? BDRV_MAP_CHILD : BDRV_MAP_NONE;
}

/* ---- the end --------------------------------------------------------------------------------- */

void bdrv_fast_abandon(BdrvFastRequest *req)
{
    while (req->n_visits > 0) {
        visit_end(&req->visits[--req->n_visits]);
    }
}

void bdrv_fast_end(BdrvFastRequest *req, int ret)
{
    /* From the bottom up, as the full path returns. */
    while (req->n_visits > 0) {
        const BdrvVisit *visit = &req->visits[--req->n_visits];

        if (req->is_write) {
            int64_t end = visit->offset + req->bytes;

            if (unlikely(end > qatomic_read(&visit->bs->total_bytes)) && ret >= 0 &&
                visit->bs->drv->is_protocol) {
                bdrv_grew(visit->bs, end);
            }
            bdrv_note_write(visit->bs, visit->offset, req->bytes, end, ret);
        }
        visit_end(visit);
    }
}

static void direct_io_done(BdrvDirectIO *io, int ret)
{
    BdrvFastRequest *req = container_of(io, BdrvFastRequest, io);

    bdrv_fast_end(req, ret);
    req->ret = ret;
    req->done(req, ret);
}

/* ---- writes that will not find clusters ------------------------------------------------------ */

/*
 * Who writes to new clusters will do so next time, right behind: asking is in vain.  Now and then
 * it is asked all the same, since what follows may be there.
 */
#define ASK_EVERY 8

static inline bool will_miss(const BdrvFastRequest *req, unsigned shard)
{
    BlockDriverState *bs = req->child->bs;
    unsigned n;

    if (!req->is_write || !bs->drv || req->offset == 0 ||
        qatomic_read(&bs->shard[shard].missed_end) != req->offset) {
        return false;
    }
    n = qatomic_read(&bs->shard[shard].n_missed) + 1;
    qatomic_set(&bs->shard[shard].n_missed, n);
    if (n % ASK_EVERY == 0) {
        return false;
    }
    qatomic_set(&bs->shard[shard].missed_end, req->offset + req->bytes);
    return true;
}

static inline void note_miss(const BdrvFastRequest *req, BlockDriverState *bs, unsigned shard)
{
    if (req->is_write && req->n_visits == 0) {
        qatomic_set(&bs->shard[shard].missed_end, req->offset + req->bytes);
    }
}

/* ---- start ----------------------------------------------------------------------------------- */

/* At the protocol, which is visited.  If it cannot, the visit ends, since the full path begins. */
static int submit(BdrvFastRequest *req, BlockDriverState *bs)
{
    BdrvDirectIO *io = &req->io;
    int ret;

    io->is_write = req->is_write;
    io->offset = req->offset;
    io->bytes = req->bytes;
    io->qiov = req->qiov;
    io->qiov_offset = req->qiov_offset;
    io->done = direct_io_done;
    io->bs = bs;
    ret = bs->drv->bdrv_submit(bs, io);
    if (ret == BDRV_FAST_NO) {
        visit_end(&req->visits[--req->n_visits]);
        return req->n_visits ? BDRV_FAST_REST : BDRV_FAST_NO;
    }
    if (ret <= 0) {
        bdrv_fast_end(req, ret);
    }
    return ret;
}

static int answer_zeroes(BdrvFastRequest *req)
{
    qemu_iovec_memset(req->qiov, req->qiov_offset, 0, req->bytes);
    bdrv_fast_end(req, 0);
    return 0;
}

int bdrv_fast_start(BdrvFastRequest *req)
{
    unsigned shard = bdrv_request_shard();

    req->n_visits = 0;
    if (unlikely(qatomic_read(&is_off) || req->bytes <= 0 ||
                 req->bytes > BDRV_REQUEST_MAX_BYTES || req->qiov->niov > IOV_MAX) ||
        will_miss(req, shard)) {
        return BDRV_FAST_NO;
    }
    while (req->n_visits < BDRV_FAST_DEPTH && fits(req)) {
        BlockDriverState *bs = req->child->bs;
        BdrvVisit *visit = &req->visits[req->n_visits];
        BdrvMapping map;

        if (!visit_begin(visit, bs, req->offset, shard)) {
            break;
        }
        req->n_visits++;
        switch (ask(req, bs, &map)) {
        case BDRV_MAP_HERE:
            return submit(req, bs);
        case BDRV_MAP_CHILD:
            req->child = map.child;
            req->offset = map.offset;
            break;
        case BDRV_MAP_BACKING:
            map.child = bdrv_chain_find(bs, req->offset, req->bytes);
            if (!map.child) {
                return answer_zeroes(req);
            }
            req->child = map.child;
            break;
        case BDRV_MAP_ZERO:
            return answer_zeroes(req);
        case BDRV_MAP_NONE:
            req->n_visits--;
            visit_end(visit);
            note_miss(req, bs, shard);
            return req->n_visits ? BDRV_FAST_REST : BDRV_FAST_NO;
        }
    }
    return req->n_visits ? BDRV_FAST_REST : BDRV_FAST_NO;
}
