/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exports: block-export-add, block-export-del, query-block-exports, nbd-server-start, -stop, and
 * the older nbd-server-add and -remove.
 */
#include "qemu/osdep.h"

#include "block/export.h"
#include "block/graph.h"
#include "io/sockets.h"
#include "qapi/gen/block-export-commands.h"

void coroutine_fn qmp_block_export_add(BlockExportOptions *arg, Error **errp)
{
    blk_exp_co_add(arg, errp);
}

void coroutine_fn qmp_block_export_del(const char *id, bool has_mode, BlockExportRemoveMode mode,
                                       Error **errp)
{
    BlockExport *exp = blk_exp_find(id);
    if (!exp) {
        error_setg(errp, "Export '%s' is not found", id);
        return;
    }
    if (!exp->user_owned) {
        error_setg(errp, "Export '%s' is already shutting down", id);
        return;
    }
    if ((!has_mode || mode == BLOCK_EXPORT_REMOVE_MODE_SAFE) && exp->refcnt > 1) {
        error_setg(errp, "export '%s' still in use", id);
        error_append_hint(errp, "Use mode='hard' to force client disconnect\n");
        return;
    }
    blk_exp_co_request_shutdown(exp);
}

BlockExportInfoList *coroutine_fn qmp_query_block_exports(Error **errp)
{
    BlockExportInfoList *list = NULL, **tail = &list;
    for (BlockExport *exp = blk_exp_next(NULL); exp; exp = blk_exp_next(exp)) {
        BlockDriverState *bs = blk_bs(exp->blk);
        BlockExportInfo *info = g_new0(BlockExportInfo, 1);
        info->id = g_strdup(exp->id);
        info->type = exp->drv->type;
        info->shutting_down = !exp->user_owned;
        info->node_name = g_strdup(bs ? bdrv_get_node_name(bs) : "");
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

void coroutine_fn qmp_nbd_server_start(NbdServerOptionsLegacy *arg, Error **errp)
{
    g_autoptr(SocketAddress) addr = socket_address_flatten(arg->addr);
    nbd_server_start(addr,
                     arg->has_handshake_max_seconds ? arg->handshake_max_seconds
                                                    : NBD_HANDSHAKE_MAX_SECONDS,
                     arg->has_max_connections ? arg->max_connections : NBD_MAX_CONNECTIONS, errp);
}

void coroutine_fn qmp_nbd_server_stop(Error **errp)
{
    BlockExport *exp, *after;
    if (!nbd_server_is_running()) {
        error_setg(errp, "NBD server not running");
        return;
    }
    /* The clients are told to go; their exports end with the last of them. */
    for (exp = blk_exp_next(NULL); exp; exp = after) {
        after = blk_exp_next(exp);
        if (exp->drv == &blk_exp_nbd && !exp->shutting_down) {
            blk_exp_co_request_shutdown(exp);
        }
    }
    nbd_server_stop();
}

/* ---- exports as older clients make them ------------------------------------------------------ */

void coroutine_fn qmp_nbd_server_add(NbdServerAddOptions *arg, Error **errp)
{
    const char *name = arg->name ? arg->name : arg->device;
    BlockDriverState *bs = bdrv_lookup_bs(arg->device, arg->device, errp);
    if (!bs) {
        return;
    }
    g_autoptr(BlockExportOptions) options = g_new0(BlockExportOptions, 1);
    options->type = BLOCK_EXPORT_TYPE_NBD;
    options->id = g_strdup(name);
    options->node_name = g_strdup(bdrv_get_node_name(bs));
    options->has_writable = true;
    options->writable = arg->writable && !bdrv_is_read_only(bs);
    options->u.nbd.name = g_strdup(name);
    options->u.nbd.description = g_strdup(arg->description);
    if (arg->bitmap) {
        BlockDirtyBitmapOrStr *bitmap = g_new0(BlockDirtyBitmapOrStr, 1);
        bitmap->type = QTYPE_QSTRING;
        bitmap->u.local = g_strdup(arg->bitmap);
        QAPI_LIST_PREPEND(options->u.nbd.bitmaps, bitmap);
        options->u.nbd.has_bitmaps = true;
    }
    blk_exp_co_add(options, errp);
}

void coroutine_fn qmp_nbd_server_remove(const char *name, bool has_mode,
                                        BlockExportRemoveMode mode, Error **errp)
{
    BlockExport *exp = blk_exp_find(name);
    if (exp && exp->drv != &blk_exp_nbd) {
        error_setg(errp, "Block export '%s' is not an NBD export", name);
        return;
    }
    qmp_block_export_del(name, has_mode, mode, errp);
}
