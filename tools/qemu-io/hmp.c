/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "qemu-io" of the human monitor.  As in the program, results go to standard output and errors to
 * standard error, not to the monitor: tests rely on it.
 */
#include "qemu/osdep.h"

#include "qemu-io.h"

#include "block/graph.h"
#include "monitor/hmp.h"
#include "tools/qemu-io-hmp.h"

/* What a command borrowed, and what it has to give back. */
typedef struct Borrowed {
    BlockBackend *blk;
    void *dev;               /* its device at the beginning */
    uint64_t perm, shared;   /* what the backend had */
} Borrowed;

static BlockBackend *coroutine_fn co_temporary_backend(const char *node, Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(NULL, node, errp);
    g_autoptr(BlockBackend) blk = bs ? blk_new(0, BLK_PERM_ALL) : NULL;

    if (!blk || !blk_co_insert_bs(blk, bs, errp)) {
        return NULL;
    }
    return g_steal_pointer(&blk);
}

static bool coroutine_fn co_borrow(Borrowed *b, const char *name, bool is_qdev, Error **errp)
{
    BDRV_CONTROL_GUARD();
    BlockBackend *blk = is_qdev ? blk_by_qdev_id(name, errp) : blk_by_name(name);

    if (!blk && is_qdev) {
        return false;
    }
    b->blk = blk ? blk_ref(blk) : co_temporary_backend(name, errp);
    if (!b->blk) {
        return false;
    }
    b->dev = blk_get_attached_dev(b->blk);
    blk_get_perm(b->blk, &b->perm, &b->shared);
    return true;
}

/* A device that came meanwhile has asked for what it needs: then that stays. */
static void coroutine_fn co_give_back(Borrowed *b)
{
    BDRV_CONTROL_GUARD();
    Error *err = NULL;

    if (blk_get_attached_dev(b->blk) == b->dev &&
        !blk_co_set_perm(b->blk, b->perm, b->shared, &err)) {
        error_free(err);
    }
    blk_co_unref(b->blk);
}

static void coroutine_fn hmp_qemu_io(Monitor *mon, const QDict *args)
{
    Borrowed borrowed = { NULL };
    QemuIo io = { .is_guest = true };
    Error *err = NULL;

    if (!co_borrow(&borrowed, qdict_get_str(args, "device"),
                   qdict_get_try_bool(args, "qdev", false), &err)) {
        hmp_handle_error(mon, err);
        return;
    }
    io.blk = borrowed.blk;
    qemu_co_queue_init(&io.aio_done);
    qemuio_co_command(&io, qdict_get_str(args, "command"));
    qemuio_co_wait_aio(&io);
    fflush(stdout);
    co_give_back(&borrowed);
}

/* It takes the control lock where it changes claims, and not while it waits for the disk. */
static const HMPCommand commands[] = {
    { "qemu-io", "qdev:-d,device:B,command:s", "[-d] device \"command\"",
      "run a command of qemu-io on a block device; -d: the device is named by its id",
      hmp_qemu_io, true },
    { .name = NULL },
};

void qemuio_register_hmp(void)
{
    hmp_register_commands(commands);
}
