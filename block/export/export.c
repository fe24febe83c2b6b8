/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of exports.
 */
#include "qemu/osdep.h"

#include "block/export.h"
#include "block/graph.h"
#include "qapi/gen/block-export-events.h"
#include "qemu/cutils.h"

static const BlockExportDriver *const drivers[] = {
    &blk_exp_nbd,
};

/* Latest first; and who waits until there is none.  Main thread. */
static QLIST_HEAD(, BlockExport) exports = QLIST_HEAD_INITIALIZER(exports);
static Coroutine *waiting_for_end;

static const BlockExportDriver *find_driver(BlockExportType type)
{
    for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
        if (drivers[i]->type == type) {
            return drivers[i];
        }
    }
    return NULL;
}

BlockExport *blk_exp_find(const char *id)
{
    BlockExport *exp;
    QLIST_FOREACH(exp, &exports, next) {
        if (strcmp(exp->id, id) == 0) {
            return exp;
        }
    }
    return NULL;
}

BlockExport *blk_exp_next(BlockExport *exp)
{
    return exp ? QLIST_NEXT(exp, next) : QLIST_FIRST(&exports);
}

/* ---- birth ----------------------------------------------------------------------------------- */

static bool check_args(const BlockExportOptions *args, Error **errp)
{
    if (!id_wellformed(args->id)) {
        error_setg(errp, "Invalid block export id");
        return false;
    }
    if (blk_exp_find(args->id)) {
        error_setg(errp, "Block export id '%s' is already in use", args->id);
        return false;
    }
    return true;
}

/* What an export shares: all but the size, which its clients were told once and for all. */
static BlockBackend *coroutine_fn co_make_backend(const BlockExportOptions *args,
                                                  BlockDriverState *bs, Error **errp)
{
    BlockRights perm = BLK_PERM_CONSISTENT_READ | (args->writable ? BLK_PERM_WRITE : 0);
    BlockBackend *blk = blk_new(perm, BLK_PERM_ALL);
    /* No description: in conflicts it is "an unnamed block device", the id is in the hint. */
    blk_set_owner(blk, (BdrvOwner) { .kind = BDRV_OWNER_EXPORT, .id = args->id });
    blk_set_enable_write_cache(blk, !args->writethrough);
    /* What it uses first, so that a conflict over that is told rather than one over the size. */
    if (!blk_co_insert_bs(blk, bs, errp) ||
        !blk_co_set_perm(blk, perm, BLK_PERM_ALL & ~BLK_PERM_RESIZE, errp)) {
        blk_co_unref(blk);
        return NULL;
    }
    return blk;
}

AioContext *blk_exp_next_aio_context(BlockExport *exp)
{
    unsigned int n = exp->iothreads->len;

    return n ? iothread_get_aio_context(exp->iothreads->pdata[exp->next_iothread++ % n])
             : qemu_get_aio_context();
}

static bool add_iothread(GPtrArray *iothreads, const char *id, Error **errp)
{
    IOThread *iothread = iothread_by_id(id);

    if (!iothread) {
        error_setg(errp, "iothread \"%s\" not found", id);
        return false;
    }
    g_ptr_array_add(iothreads, iothread_ref(iothread));
    return true;
}

/*
 * A node belongs to no thread, so it can always be served by the wanted ones: nothing is left that
 * fixed-iothread could complain of.
 */
static GPtrArray *find_iothreads(const BlockExportIothreads *wanted, Error **errp)
{
    g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func((GDestroyNotify)iothread_unref);

    if (wanted && wanted->type == QTYPE_QSTRING) {
        if (!add_iothread(found, wanted->u.single, errp)) {
            return NULL;
        }
    } else if (wanted) {
        if (!wanted->u.multi) {
            error_setg(errp, "The list of iothreads must not be empty");
            return NULL;
        }
        for (const strList *at = wanted->u.multi; at; at = at->next) {
            if (!add_iothread(found, at->value, errp)) {
                return NULL;
            }
        }
    }
    return g_steal_pointer(&found);
}

static BlockExport *new_export(const BlockExportDriver *drv, const BlockExportOptions *args,
                               BlockBackend *blk, GPtrArray *iothreads)
{
    BlockExport *exp = g_malloc0(drv->instance_size);
    exp->drv = drv;
    exp->id = g_strdup(args->id);
    exp->blk = blk;
    exp->iothreads = g_ptr_array_ref(iothreads);
    exp->writable = args->writable;
    exp->refcnt = 1;
    exp->user_owned = true;
    return exp;
}

static void free_export(BlockExport *exp)
{
    g_ptr_array_unref(exp->iothreads);
    g_free(exp->id);
    g_free(exp);
}

BlockExport *coroutine_fn blk_exp_co_add(const BlockExportOptions *args, Error **errp)
{
    CONTROL_PATH();
    const BlockExportDriver *drv = find_driver(args->type);
    if (!drv) {
        error_setg(errp, "No driver found for the requested export type");
        return NULL;
    }
    if (!check_args(args, errp)) {
        return NULL;
    }
    BlockDriverState *bs = bdrv_lookup_bs(NULL, args->node_name, errp);
    if (!bs) {
        return NULL;
    }
    if (args->writable && bdrv_is_read_only(bs)) {
        error_setg(errp, "Cannot export read-only node as writable");
        return NULL;
    }
    g_autoptr(GPtrArray) iothreads = find_iothreads(args->iothread, errp);
    if (!iothreads) {
        return NULL;
    }
    if (!args->allow_inactive && !bdrv_co_activate(bs, errp)) {
        return NULL;
    }
    BlockBackend *blk = co_make_backend(args, bs, errp);
    if (!blk) {
        return NULL;
    }
    BlockExport *exp = new_export(drv, args, blk, iothreads);
    if (!drv->co_create(exp, args, errp)) {
        blk_co_unref(blk);
        free_export(exp);
        return NULL;
    }
    QLIST_INSERT_HEAD(&exports, exp, next);
    return exp;
}

/* ---- death ----------------------------------------------------------------------------------- */

void blk_exp_ref(BlockExport *exp)
{
    assert(exp->refcnt > 0);
    exp->refcnt++;
}

/* The event tells that the node is free, so the backend goes first. */
void coroutine_fn blk_exp_co_unref(BlockExport *exp)
{
    CONTROL_PATH();
    assert(exp->refcnt > 0);
    if (--exp->refcnt > 0) {
        return;
    }
    QLIST_REMOVE(exp, next);
    exp->drv->destroy(exp);
    blk_co_remove_bs(exp->blk);
    blk_co_unref(exp->blk);
    qapi_event_send_block_export_deleted(exp->id);
    free_export(exp);
    if (QLIST_EMPTY(&exports) && waiting_for_end) {
        aio_co_wake(waiting_for_end);
    }
}

void coroutine_fn blk_exp_co_request_shutdown(BlockExport *exp)
{
    CONTROL_PATH();
    if (!exp->shutting_down) {
        exp->shutting_down = true;
        exp->drv->request_shutdown(exp);
    }
    if (exp->user_owned) {
        exp->user_owned = false;
        blk_exp_co_unref(exp);
    }
}

static void coroutine_fn co_shut_down_all(void)
{
    BDRV_CONTROL_GUARD();
    BlockExport *exp, *after;
    QLIST_FOREACH_SAFE(exp, &exports, next, after) {
        blk_exp_co_request_shutdown(exp);
    }
}

void coroutine_fn blk_exp_co_close_all(void)
{
    co_shut_down_all();
    waiting_for_end = qemu_coroutine_self();
    while (!QLIST_EMPTY(&exports)) {
        qemu_coroutine_yield();
    }
    waiting_for_end = NULL;
}
