/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The core's own short use of a node: reading its start to guess a format, clearing it.  As
 * everybody else it comes through a gate.
 */
#include "qemu/osdep.h"

#include "core-int.h"

struct TemporaryUser {
    BdrvGate gate;
    BdrvChild *edge;
    const char *what;
};

static BdrvOwner owner(BdrvGate *gate)
{
    const TemporaryUser *user = container_of(gate, TemporaryUser, gate);
    return (BdrvOwner) { .kind = BDRV_OWNER_OPERATION, .description = user->what };
}

static const BdrvGateOps gate_ops = { .owner = owner };

TemporaryUser *coroutine_fn temporary_user_co_new(BlockDriverState *bs, const char *what,
                                                  uint64_t perm, Error **errp)
{
    TemporaryUser *user = g_new0(TemporaryUser, 1);
    BdrvChildSpec spec = {
        .name = "root",
        .role = BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY,
        .gate = &user->gate,
        .perm = perm,
        .shared = BLK_PERM_ALL,
    };
    user->what = what;
    bdrv_gate_init(&user->gate, &gate_ops);
    user->edge = bdrv_co_attach_child(&spec, bdrv_ref(bs), errp);
    if (!user->edge) {
        temporary_user_co_free(user);
        return NULL;
    }
    return user;
}

BdrvChild *coroutine_fn temporary_user_co_enter(TemporaryUser *user)
{
    bdrv_gate_co_enter(&user->gate);
    return user->edge;
}

void temporary_user_leave(TemporaryUser *user)
{
    bdrv_gate_leave(&user->gate);
}

void coroutine_fn temporary_user_co_free(TemporaryUser *user)
{
    bdrv_co_detach_child(user->edge);
    bdrv_gate_done(&user->gate);
    g_free(user);
}
