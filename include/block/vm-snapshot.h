/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots of a machine with its disks: what the front end asks of the machine, and what the
 * program asks of the front end.
 *
 * The front end knows disks and where the machine's state lies in them; the machine knows its
 * state, which is a stream of bytes here.  Main thread; coroutines with the control lock held, so
 * devices neither come nor go.
 */
#ifndef BLOCK_VM_SNAPSHOT_H
#define BLOCK_VM_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qemu/compiler.h"
#include "qemu/error.h"

typedef struct VmSnapshotSaved VmSnapshotSaved; /* the machine's */

/* Append @len bytes to the stream. */
typedef bool coroutine_fn VmSnapshotWrite(void *opaque, const void *buf, size_t len, Error **errp);
/* Read @len bytes at @pos of the stream. */
typedef bool coroutine_fn VmSnapshotRead(void *opaque, int64_t pos, void *buf, size_t len,
                                         Error **errp);

typedef struct VmSnapshotMachine {
    /** Whether the machine can be saved at all. */
    bool (*can_save)(Error **errp);
    /** Stop it, and have its devices take no new requests. */
    void coroutine_fn (*co_hold)(bool is_load);
    /** Wait until the devices' requests have ended. */
    void coroutine_fn (*co_settle)(void);
    /** Write its state. */
    bool coroutine_fn (*co_save)(VmSnapshotWrite *write, void *opaque, Error **errp);
    /** Read a state of @size bytes; NULL with @errp set if the machine cannot be like that. */
    VmSnapshotSaved *coroutine_fn (*co_check)(int64_t size, VmSnapshotRead *read, void *opaque,
                                              Error **errp);
    /** Make it like that; a failure leaves it unusable until it is reset. */
    bool coroutine_fn (*co_load)(VmSnapshotSaved *saved, Error **errp);
    void (*saved_free)(VmSnapshotSaved *saved);
    /** Leave it to itself again: it runs if it ran before, or if somebody said so meanwhile. */
    void (*release)(void);
} VmSnapshotMachine;

/** Say what machine there is.  Once, at start-up; without, nothing is saved or loaded. */
void vm_snapshot_set_machine(const VmSnapshotMachine *machine);

/** -loadvm: as HMP's loadvm.  Coroutine, control lock held. */
bool coroutine_fn vm_snapshot_co_load(const char *tag, Error **errp);

#endif
