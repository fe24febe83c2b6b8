/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transaction: a list of steps.
 */
#include "qemu/osdep.h"
#include "qemu/transaction.h"

typedef struct Step {
    const TransactionActionDrv *drv;
    void *opaque;
} Step;

struct Transaction {
    GArray *steps;              /* of Step, oldest first */
    bool ending;
};

Transaction *tran_new(void)
{
    Transaction *tran = g_new0(Transaction, 1);

    tran->steps = g_array_new(FALSE, FALSE, sizeof(Step));
    return tran;
}

void tran_add(Transaction *tran, const TransactionActionDrv *drv, void *opaque)
{
    Step step = { .drv = drv, .opaque = opaque };

    assert(!tran->ending);
    g_array_append_val(tran->steps, step);
}

static void clean_and_free(Transaction *tran)
{
    for (guint i = tran->steps->len; i-- > 0;) {
        const Step *step = &g_array_index(tran->steps, Step, i);
        if (step->drv->clean) {
            step->drv->clean(step->opaque);
        }
    }
    g_array_free(tran->steps, TRUE);
    g_free(tran);
}

void tran_abort(Transaction *tran)
{
    if (!tran) {
        return;
    }
    tran->ending = true;
    for (guint i = tran->steps->len; i-- > 0;) {
        const Step *step = &g_array_index(tran->steps, Step, i);
        if (step->drv->abort) {
            step->drv->abort(step->opaque);
        }
    }
    clean_and_free(tran);
}

void tran_commit(Transaction *tran)
{
    if (!tran) {
        return;
    }
    tran->ending = true;
    for (guint i = 0; i < tran->steps->len; i++) {
        const Step *step = &g_array_index(tran->steps, Step, i);
        if (step->drv->commit) {
            step->drv->commit(step->opaque);
        }
    }
    clean_and_free(tran);
}
