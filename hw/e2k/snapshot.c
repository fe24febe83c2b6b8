/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What snapshots of the machine ask of it: rest, and its state as bytes. */
#include "qemu/osdep.h"

#include "block/vm-snapshot.h"
#include "hw/e2k/board.h"
#include "system/runstate.h"
#include "system/vmstate.h"

/* The front end's name for a VmStateLoad. */
static VmStateLoad *to_load(VmSnapshotSaved *saved)
{
    return (VmStateLoad *)saved;
}

static bool hold_device(Device *dev, void *opaque)
{
    if (dev->type->hold) {
        dev->type->hold(dev);
    }
    return true;
}

static void coroutine_fn co_hold(bool is_load)
{
    vm_co_hold(is_load ? RUN_STATE_RESTORE_VM : RUN_STATE_SAVE_VM);
    device_foreach(hold_device, NULL);
}

static bool note_device(Device *dev, void *opaque)
{
    if (dev->type->co_settle) {
        g_ptr_array_add(opaque, dev);
    }
    return true;
}

static void coroutine_fn co_settle(void)
{
    g_autoptr(GPtrArray) devices = g_ptr_array_new();

    device_foreach(note_device, devices);
    for (guint i = 0; i < devices->len; i++) {
        Device *dev = devices->pdata[i];

        dev->type->co_settle(dev);
    }
}

static bool coroutine_fn co_save(VmSnapshotWrite *write, void *opaque, Error **errp)
{
    return vmstate_co_save(machine_get(), vm_state_after_hold(), write, opaque, errp);
}

static VmSnapshotSaved *coroutine_fn co_check(int64_t size, VmSnapshotRead *read, void *opaque,
                                              Error **errp)
{
    return (VmSnapshotSaved *)vmstate_co_check(machine_get(), size, read, opaque, errp);
}

static bool needs_reset(RunState state)
{
    return state == RUN_STATE_SHUTDOWN || state == RUN_STATE_INTERNAL_ERROR;
}

/*
 * Whether it runs afterwards is up to the user, who had it running or not, unless the saved machine
 * could not have run on.
 */
static bool coroutine_fn co_load(VmSnapshotSaved *saved, Error **errp)
{
    RunState then = vmstate_load_after(to_load(saved));

    if (!vmstate_co_load(to_load(saved), errp)) {
        vm_set_state_after_hold(RUN_STATE_INTERNAL_ERROR);
        return false;
    }
    if (needs_reset(then)) {
        vm_set_state_after_hold(then);
    } else if (needs_reset(vm_state_after_hold())) {
        vm_set_state_after_hold(RUN_STATE_PAUSED);
    }
    return true;
}

static void saved_free(VmSnapshotSaved *saved)
{
    vmstate_load_free(to_load(saved));
}

static const VmSnapshotMachine snapshot_machine = {
    .can_save = vmstate_can_save,
    .co_hold = co_hold,
    .co_settle = co_settle,
    .co_save = co_save,
    .co_check = co_check,
    .co_load = co_load,
    .saved_free = saved_free,
    .release = vm_release,
};

void board_offer_snapshots(void)
{
    vm_snapshot_set_machine(&snapshot_machine);
}
