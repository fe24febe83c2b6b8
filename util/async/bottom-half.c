/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bottom halves.  Any thread pushes them on the context's lock-free stack; the home thread takes
 * the whole stack, turns it round and calls them.
 *
 * A bottom half is on the stack or in the home thread's queue exactly while BH_POSTED is set, and
 * only the home thread frees it: deleting means posting it one last time.
 */
#include "qemu/osdep.h"

#include "aio-internal.h"

enum {
    BH_POSTED = 1,       /* in a list */
    BH_SCHEDULED = 2,    /* is to be called */
    BH_ONESHOT = 4,      /* is freed after the call */
    BH_DELETED = 8,      /* is to be freed, not called */
};

struct QEMUBH {
    AioContext *ctx;
    QEMUBHFunc *cb;
    void *opaque;
    const char *name;
    unsigned flags;                   /* atomic */
    QSLIST_ENTRY(QEMUBH) posted;
    QSIMPLEQ_ENTRY(QEMUBH) ready;
};

static void bh_post(QEMUBH *bh, unsigned flags)
{
    AioContext *ctx = bh->ctx;

    if (!(qatomic_fetch_or(&bh->flags, flags | BH_POSTED) & BH_POSTED)) {
        /* From here on the home thread may free @bh. */
        QSLIST_INSERT_HEAD_ATOMIC(&ctx->posted, bh, posted);
        aio_notify(ctx);
    }
}

static QEMUBH *bh_alloc(AioContext *ctx, QEMUBHFunc *cb, void *opaque, const char *name)
{
    QEMUBH *bh = g_new(QEMUBH, 1);

    bh->ctx = ctx;
    bh->cb = cb;
    bh->opaque = opaque;
    bh->name = name;
    bh->flags = 0;
    return bh;
}

QEMUBH *aio_bh_new_full(AioContext *ctx, QEMUBHFunc *cb, void *opaque, const char *name)
{
    return bh_alloc(ctx, cb, opaque, name);
}

void aio_bh_schedule_oneshot_full(AioContext *ctx, QEMUBHFunc *cb, void *opaque,
                                  const char *name)
{
    bh_post(bh_alloc(ctx, cb, opaque, name), BH_SCHEDULED | BH_ONESHOT);
}

void qemu_bh_schedule(QEMUBH *bh)
{
    bh_post(bh, BH_SCHEDULED);
}

void qemu_bh_cancel(QEMUBH *bh)
{
    qatomic_and(&bh->flags, ~BH_SCHEDULED);
}

void qemu_bh_delete(QEMUBH *bh)
{
    if (bh) {
        bh_post(bh, BH_DELETED);
    }
}

/* Append what was posted since to the home thread's queue. */
static void bh_collect(AioContext *ctx)
{
    QSLIST_HEAD(, QEMUBH) newest_first, in_order;

    if (!qatomic_read(&ctx->posted.first)) {
        return;
    }
    QSLIST_INIT(&in_order);
    QSLIST_MOVE_ATOMIC(&newest_first, &ctx->posted);
    while (!QSLIST_EMPTY(&newest_first)) {
        QEMUBH *bh = QSLIST_FIRST(&newest_first);

        QSLIST_REMOVE_HEAD(&newest_first, posted);
        QSLIST_INSERT_HEAD(&in_order, bh, posted);
    }
    while (!QSLIST_EMPTY(&in_order)) {
        QEMUBH *bh = QSLIST_FIRST(&in_order);

        QSLIST_REMOVE_HEAD(&in_order, posted);
        QSIMPLEQ_INSERT_TAIL(&ctx->bh_ready, bh, ready);
    }
}

static QEMUBH *bh_pop(AioContext *ctx, unsigned *flags)
{
    QEMUBH *bh = QSIMPLEQ_FIRST(&ctx->bh_ready);

    QSIMPLEQ_REMOVE_HEAD(&ctx->bh_ready, ready);
    /* From here on others may post it again, so that it may be found in a list once more. */
    *flags = qatomic_fetch_and(&bh->flags, ~(BH_POSTED | BH_SCHEDULED));
    return bh;
}

/*
 * A callback that polls the loop again goes on with the same queue, so none is delayed by that.
 * What a callback schedules is left for the next iteration.
 */
bool aio_bh_dispatch(AioContext *ctx)
{
    bool progress = false;

    bh_collect(ctx);
    while (!QSIMPLEQ_EMPTY(&ctx->bh_ready)) {
        unsigned flags;
        QEMUBH *bh = bh_pop(ctx, &flags);

        if (flags & BH_DELETED) {
            g_free(bh);
        } else if (flags & BH_ONESHOT) {
            QEMUBHFunc *cb = bh->cb;
            void *opaque = bh->opaque;

            g_free(bh);
            cb(opaque);
            progress = true;
        } else if (flags & BH_SCHEDULED) {
            bh->cb(bh->opaque);
            progress = true;
        }
    }
    return progress;
}

void aio_bh_done(AioContext *ctx)
{
    bh_collect(ctx);
    while (!QSIMPLEQ_EMPTY(&ctx->bh_ready)) {
        unsigned flags;
        QEMUBH *bh = bh_pop(ctx, &flags);

        if (flags & (BH_DELETED | BH_ONESHOT)) {
            g_free(bh);
        }
    }
}
