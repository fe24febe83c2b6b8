/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transaction: several changes that take effect together or not at all.
 *
 * Each change is made at once and adds a step that knows how to finish it and how to undo it.
 *   - tran_commit() runs every commit in the order of adding;
 *   - tran_abort() runs every abort, the newest first;
 *   - then every clean runs, the newest first, and the transaction is freed.
 * None of these can fail, and none may add steps.
 * A `g_autoptr(Transaction)` that goes out of scope aborts; take it out with
 * tran_commit(g_steal_pointer(&tran)).  One thread at a time.
 */
#ifndef QEMU_TRANSACTION_H
#define QEMU_TRANSACTION_H

#include <glib.h>

/* What a step does; each may be NULL. */
typedef struct TransactionActionDrv {
    void (*abort)(void *opaque);
    void (*commit)(void *opaque);
    void (*clean)(void *opaque);
} TransactionActionDrv;

typedef struct Transaction Transaction;

Transaction *tran_new(void);
/* Add a step; @drv is borrowed, @opaque belongs to the step from now on. */
void tran_add(Transaction *tran, const TransactionActionDrv *drv, void *opaque);
/* Both take @tran; NULL is fine. */
void tran_abort(Transaction *tran);
void tran_commit(Transaction *tran);
/* Abort when @ret is negative, else commit. */
static inline void tran_finalize(Transaction *tran, int ret)
{
    if (ret < 0) {
        tran_abort(tran);
    } else {
        tran_commit(tran);
    }
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Transaction, tran_abort)

#endif
