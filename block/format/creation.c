/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "creation.h"

static BdrvOwner creator_owner(BdrvGate *gate)
{
    return (BdrvOwner){ BDRV_OWNER_OPERATION, gate, NULL, "image creation" };
}

static const BdrvGateOps creator_ops = { .owner = creator_owner };

void creation_gate_init(BdrvGate *gate)
{
    bdrv_gate_init(gate, &creator_ops);
}

BdrvChild *coroutine_fn creation_co_use_node(BdrvGate *gate, BlockDriverState *bs, Error **errp)
{
    BdrvChildSpec spec = {
        .name = "root",
        .role = BDRV_CHILD_IMAGE | BDRV_CHILD_PRIMARY,
        .gate = gate,
        .perm = BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE,
        .shared = 0,
    };

    return bdrv_co_attach_child(&spec, bdrv_ref(bs), errp);
}

BlockDriverState *coroutine_fn creation_co_open_ref(const BlockdevRef *ref, Error **errp)
{
    BlockDriverState *bs;

    if (ref->type != QTYPE_QSTRING) {
        return bdrv_co_open_blockdev(&ref->u.definition, BDRV_O_RDWR, errp);
    }
    bs = bdrv_find_node(ref->u.reference);
    if (!bs) {
        error_setg(errp, "Cannot find device='%s' nor node-name='%s'", ref->u.reference,
                   ref->u.reference);
        return NULL;
    }
    return bdrv_ref(bs);
}

BlockDriverState *coroutine_fn creation_co_make_file(const char *filename, QemuOpts *opts,
                                                     bool *is_new, Error **errp)
{
    g_autoptr(BlockDriverState) old = bdrv_co_open(filename, NULL, NULL,
                                                   BDRV_O_PROTOCOL | BDRV_O_NO_IO, NULL);

    *is_new = !old;
    g_clear_pointer(&old, bdrv_unref);
    if (!bdrv_co_create_file(filename, opts, errp)) {
        return NULL;
    }
    return bdrv_co_open(filename, NULL, NULL, BDRV_O_RDWR | BDRV_O_PROTOCOL, errp);
}

static void coroutine_fn co_make_empty(BlockDriverState *file)
{
    BdrvGate gate;

    creation_gate_init(&gate);
    BdrvChild *edge = creation_co_use_node(&gate, file, NULL);
    if (edge) {
        bdrv_co_truncate(edge, 0, false, PREALLOC_MODE_OFF, 0, NULL);
        bdrv_co_detach_child(edge);
    }
    bdrv_gate_done(&gate);
}

void coroutine_fn creation_co_take_back(BlockDriverState *file, bool is_new)
{
    if (file && !is_new) {
        bdrv_co_reap(); /* the half image over it, which still uses the file */
        co_make_empty(file);
    } else if (file && file->drv->bdrv_co_delete_file) {
        file->drv->bdrv_co_delete_file(file, NULL);
    }
}
