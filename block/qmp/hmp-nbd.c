/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The human monitor's commands about the NBD server.
 */
#include "qemu/osdep.h"

#include "block/export.h"
#include "io/sockets.h"
#include "monitor/hmp.h"
#include "qapi/gen/block-export-commands.h"
#include "qapi/gen/block-info-commands.h"
#include "qmp-block.h"

static void coroutine_fn co_add_export(const char *device, const char *name, bool writable,
                                       Error **errp)
{
    NbdServerAddOptions options = {
        .device = (char *)device,
        .name = (char *)name,
        .has_writable = true,
        .writable = writable,
    };
    qmp_nbd_server_add(&options, errp);
}

/* Every drive that has a medium, under its own name; all or none. */
static void coroutine_fn co_add_all(bool writable, Error **errp)
{
    Error *err = NULL;
    g_autoptr(BlockInfoList) list = qmp_query_block(false, false, &err);
    for (BlockInfoList *e = list; e && !err; e = e->next) {
        if (e->value->inserted && *e->value->device) {
            co_add_export(e->value->device, NULL, writable, &err);
        }
    }
    if (err) {
        qmp_nbd_server_stop(NULL);
        error_propagate(errp, err);
    }
}

static void coroutine_fn hmp_nbd_server_start(Monitor *mon, const QDict *args)
{
    bool writable = qdict_get_try_bool(args, "writable", false);
    bool all = qdict_get_try_bool(args, "all", false);
    Error *err = NULL;
    if (writable && !all) {
        error_setg(&err, "-w only valid together with -a");
        hmp_handle_error(mon, err);
        return;
    }
    g_autoptr(SocketAddress) addr = socket_parse(qdict_get_str(args, "uri"), &err);
    if (addr && nbd_server_start(addr, NBD_HANDSHAKE_MAX_SECONDS, NBD_MAX_CONNECTIONS, &err) &&
        all) {
        co_add_all(writable, &err);
    }
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_nbd_server_add(Monitor *mon, const QDict *args)
{
    Error *err = NULL;
    co_add_export(qdict_get_str(args, "device"), qdict_get_try_str(args, "name"),
                  qdict_get_try_bool(args, "writable", false), &err);
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_nbd_server_remove(Monitor *mon, const QDict *args)
{
    Error *err = NULL;
    bool force = qdict_get_try_bool(args, "force", false);
    /* Without a mode the safe one holds, as in stock. */
    qmp_nbd_server_remove(qdict_get_str(args, "name"), force, BLOCK_EXPORT_REMOVE_MODE_HARD, &err);
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_nbd_server_stop(Monitor *mon, const QDict *args)
{
    Error *err = NULL;
    qmp_nbd_server_stop(&err);
    hmp_handle_error(mon, err);
}

static void complete_export(GPtrArray *words, const GPtrArray *before, const char *prefix)
{
    for (BlockExport *exp = blk_exp_next(NULL); exp; exp = blk_exp_next(exp)) {
        hmp_add_choice(words, exp->id, prefix);
    }
}

static const HMPCommand commands[] = {
    { "nbd_server_start", "all:-a,writable:-w,uri:s", "[-a] [-w] host:port|unix:path",
      "serve block devices over NBD; -a: all of them, -w: also for writing",
      hmp_nbd_server_start, false },
    { "nbd_server_add", "writable:-w,device:B,name:s?", "[-w] device [name]",
      "export a block device over NBD; -w: also for writing", hmp_nbd_server_add, false },
    { "nbd_server_remove", "force:-f,name:s", "[-f] name",
      "remove an export; -f: even while it is used", hmp_nbd_server_remove, false },
    { "nbd_server_stop", "", "", "stop serving block devices over NBD", hmp_nbd_server_stop,
      false },
    { .name = NULL },
};

void hmp_nbd_register(void)
{
    hmp_register_commands(commands);
    hmp_set_completer("nbd_server_remove", 0, complete_export);
}
