/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tracked requests (rules: request.h).
 *
 * A shard's mutex is held over "link and number", so whoever holds it sees only numbered requests.
 * Let a < b be two serials: a's number was taken inside a's shard's critical section, so when b
 * looks there afterwards it finds a.  A serialising request raises n_serialising before it takes
 * its number, so an ordinary request with a larger number sees it raised.
 */
#include "qemu/osdep.h"

#include "block/block_int.h"
#include "qemu/atomic.h"
#include "qemu/lockable.h"

/* Threads are dealt out to shards in order of first use. */
unsigned bdrv_request_shard(void)
{
    static unsigned next_shard;
    static __thread unsigned shard_plus_one;

    if (unlikely(!shard_plus_one)) {
        shard_plus_one = qatomic_fetch_add(&next_shard, 1) % BDRV_REQUEST_SHARDS + 1;
    }
    return shard_plus_one - 1;
}

static bool must_wait_for(const BdrvRequest *me, const BdrvRequest *other)
{
    return other->serial < me->serial && (me->serialising || other->serialising) &&
           me->overlap_offset < other->overlap_offset + other->overlap_bytes &&
           other->overlap_offset < me->overlap_offset + me->overlap_bytes;
}

static void set_overlap_range(BdrvRequest *req, int64_t align)
{
    int64_t end = req->offset + req->bytes;

    req->overlap_offset = req->offset;
    if (req->serialising && align > 1) {
        req->overlap_offset = QEMU_ALIGN_DOWN(req->offset, align);
        end = QEMU_ALIGN_UP(end, align);
    }
    req->overlap_bytes = end - req->overlap_offset;
}

/* Sleep until @other, in a shard whose lock is held and is released here, has ended. */
static void coroutine_fn co_sleep_until_end(BdrvRequest *other, QemuMutex *shard_lock)
{
    BdrvRequestWaiter waiter = { .co = qemu_coroutine_self() };

    QSIMPLEQ_INSERT_TAIL(&other->waiters, &waiter, next);
    qemu_mutex_unlock(shard_lock);
    qemu_coroutine_yield();
}

typedef enum WaitResult { NOBODY_IN_THE_WAY, WAITED, WOULD_WAIT } WaitResult;

/*
 * Wait for one request that is in the way of @me.  Since waits are only for smaller serials, no
 * cycle can form.
 */
static WaitResult coroutine_fn co_wait_for_one(BdrvRequest *me, bool no_wait)
{
    for (unsigned i = 0; i < BDRV_REQUEST_SHARDS; i++) {
        QemuMutex *lock = &me->bs->shard[i].lock;
        BdrvRequest *other;

        qemu_mutex_lock(lock);
        QTAILQ_FOREACH(other, &me->bs->shard[i].requests, next) {
            if (!must_wait_for(me, other)) {
                continue;
            }
            if (no_wait) {
                qemu_mutex_unlock(lock);
                return WOULD_WAIT;
            }
            co_sleep_until_end(other, lock);
            return WAITED;
        }
        qemu_mutex_unlock(lock);
    }
    return NOBODY_IN_THE_WAY;
}

/* ---- visits of the fast path ----------------------------------------------------------------- */

static bool bank_is_in_use(BlockDriverState *bs, unsigned bank)
{
    for (unsigned i = 0; i < BDRV_REQUEST_SHARDS; i++) {
        if (qatomic_load_acquire(&bs->shard[i].visits[bank]) != 0) {
            return true;
        }
    }
    return false;
}

static bool has_visits(BlockDriverState *bs)
{
    return bank_is_in_use(bs, 0) || bank_is_in_use(bs, 1);
}

/*
 * n_serialising is raised, so no visit begins: each count needs to be seen at 0 only once.  Those
 * that look and step back wake us as well.
 */
static void coroutine_fn co_wait_for_visits(BlockDriverState *bs)
{
    BdrvRequestWaiter waiter = { .co = qemu_coroutine_self() };

    qatomic_inc(&bs->n_visit_waiters);
    smp_mb(); /* pairs with the end of a visit: count lowered, then waiters looked for */
    qemu_mutex_lock(&bs->shard[0].lock);
    while (has_visits(bs)) {
        QSIMPLEQ_INSERT_TAIL(&bs->visit_waiters, &waiter, next);
        qemu_mutex_unlock(&bs->shard[0].lock);
        qemu_coroutine_yield();
        qemu_mutex_lock(&bs->shard[0].lock);
    }
    qemu_mutex_unlock(&bs->shard[0].lock);
    qatomic_dec(&bs->n_visit_waiters);
}

void bdrv_visit_wake(BlockDriverState *bs)
{
    for (;;) {
        BdrvRequestWaiter *waiter;

        qemu_mutex_lock(&bs->shard[0].lock);
        waiter = has_visits(bs) ? NULL : QSIMPLEQ_FIRST(&bs->visit_waiters);
        if (waiter) {
            QSIMPLEQ_REMOVE_HEAD(&bs->visit_waiters, next);
        }
        qemu_mutex_unlock(&bs->shard[0].lock);
        if (!waiter) {
            return;
        }
        aio_co_wake(waiter->co);
    }
}

/*
 * The lesser of @oldest and a serial that all visits are younger than.
 *
 * The number of a new bank is taken before the bank is found empty: whoever enters it then sees all
 * that was changed before that number was given out, and what is changed later has a greater one.
 */
static uint64_t oldest_visit(BlockDriverState *bs, uint64_t oldest)
{
    QEMU_LOCK_GUARD(&bs->shard[0].lock);
    unsigned now = bs->visit_bank & 1, other = !now;
    uint64_t serial;

    smp_mb();
    if (bank_is_in_use(bs, other)) {
        return MIN(bs->bank_serial[other], oldest);
    }
    if (!bank_is_in_use(bs, now)) {
        return oldest;
    }
    serial = qatomic_fetch_inc(&bs->next_serial);
    if (!bank_is_in_use(bs, other)) {
        bs->bank_serial[other] = serial;
        qatomic_set_mb(&bs->visit_bank, other);
    }
    return MIN(bs->bank_serial[now], oldest);
}

/* ---- begin, end ------------------------------------------------------------------------------ */

int coroutine_fn bdrv_request_co_begin(BdrvRequest *req, BlockDriverState *bs, BdrvRequestKind kind,
                                       int64_t offset, int64_t bytes, int64_t align,
                                       bool serialising, bool no_wait)
{
    WaitResult result;

    *req = (BdrvRequest){
        .bs = bs,
        .kind = kind,
        .serialising = serialising,
        .offset = offset,
        .bytes = bytes,
        .shard = bdrv_request_shard(),
    };
    QSIMPLEQ_INIT(&req->waiters);
    set_overlap_range(req, align);

    if (serialising) {
        qatomic_inc(&bs->n_serialising);
    }
    qemu_mutex_lock(&bs->shard[req->shard].lock);
    QTAILQ_INSERT_TAIL(&bs->shard[req->shard].requests, req, next);
    req->serial = qatomic_fetch_inc(&bs->next_serial);
    qemu_mutex_unlock(&bs->shard[req->shard].lock);

    if (likely(!serialising && qatomic_read(&bs->n_serialising) == 0)) {
        return 0;
    }
    if (serialising && no_wait && has_visits(bs)) {
        bdrv_request_end(req);
        return -EBUSY;
    }
    if (serialising) {
        co_wait_for_visits(bs);
    }
    do {
        result = co_wait_for_one(req, no_wait);
    } while (result == WAITED);
    if (result == WOULD_WAIT) {
        bdrv_request_end(req);
        return -EBUSY;
    }
    return 0;
}

void bdrv_request_end(BdrvRequest *req)
{
    BlockDriverState *bs = req->bs;
    BdrvRequestWaiter *waiter, *next;

    qemu_mutex_lock(&bs->shard[req->shard].lock);
    QTAILQ_REMOVE(&bs->shard[req->shard].requests, req, next);
    qemu_mutex_unlock(&bs->shard[req->shard].lock);
    if (req->serialising) {
        qatomic_dec(&bs->n_serialising);
    }
    /* Unlinked, so the list is ours; a waiter's record may vanish as soon as it is woken. */
    QSIMPLEQ_FOREACH_SAFE(waiter, &req->waiters, next, next) {
        aio_co_wake(waiter->co);
    }
}

uint64_t bdrv_current_serial(BlockDriverState *bs)
{
    return qatomic_read(&bs->next_serial);
}

uint64_t bdrv_oldest_serial(BlockDriverState *bs)
{
    /* Taken first: whoever links later has at least this number. */
    uint64_t oldest = qatomic_read(&bs->next_serial);

    for (unsigned i = 0; i < BDRV_REQUEST_SHARDS; i++) {
        BdrvRequest *req;

        QEMU_LOCK_GUARD(&bs->shard[i].lock);
        QTAILQ_FOREACH(req, &bs->shard[i].requests, next) {
            oldest = MIN(oldest, req->serial);
        }
    }
    return oldest_visit(bs, oldest);
}
