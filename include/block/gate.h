/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gate: where a user's requests enter the graph, are counted, and can be held back.
 *
 *  enter:  in_flight[my shard]++, full fence, then look at `frozen`; if set step back and sleep.
 *  leave:  in_flight[my shard]--; if frozen, kick whoever freezes.
 *
 * Users (BlockBackend, BlockJob) embed a gate and enter it exactly once per request; whoever is
 * counted never enters a gate again (retries, copies and creation of images use edges).
 * Enter and leave: any thread.  Everything else: main thread.
 */
#ifndef BLOCK_GATE_H
#define BLOCK_GATE_H

#include "block/claim.h"
#include "qemu/co-lock.h"
#include "qemu/thread.h"

#define BDRV_GATE_SHARDS 16

/* Upward calls of the core to the user of a gate.  All in the main thread; none may yield. */
typedef struct BdrvGateOps {
    /* Who this is, for errors and query-block-blockers; strings live as long as the gate. */
    BdrvOwner (*owner)(BdrvGate *gate);
    /* Name of the backend ("" or NULL: none), for device-name lookups. */
    const char *(*name)(BdrvGate *gate);
    /* A freeze begins or ends: jobs pause and resume here. NULL: just stop entering. */
    void (*quiesce)(BdrvGate *gate);
    void (*resume)(BdrvGate *gate);
    /* True while the user still does work outside the gate's count (a job not yet paused). */
    bool (*busy)(BdrvGate *gate);
    /* The root node's size changed, or its medium. */
    void (*resized)(BdrvGate *gate);
    void (*media_changed)(BdrvGate *gate, bool loaded);
} BdrvGateOps;

struct BdrvGate {
    const BdrvGateOps *ops;
    bool is_job;              /* a job's own requests pass while frozen; the job pauses instead */
    int frozen;               /* nesting count; written by the main thread, read by all */
    struct {
        int count;
        char pad[60];
    } in_flight[BDRV_GATE_SHARDS] __attribute__((aligned(64)));
    QemuMutex waiters_lock;
    CoQueue waiters;          /* requests parked while frozen; under waiters_lock */
    QTAILQ_ENTRY(BdrvGate) next; /* all gates; main thread */
};

/** Make a gate ready; @ops lives as long as it. */
void bdrv_gate_init(BdrvGate *gate, const BdrvGateOps *ops);
/** The gate must be empty, without edges, and nobody wait at it; freezes forget it. */
void bdrv_gate_done(BdrvGate *gate);

/** Count one request in, sleeping while the gate is frozen. */
void coroutine_fn bdrv_gate_co_enter(BdrvGate *gate);
/** The same without sleeping: false if frozen. */
bool bdrv_gate_try_enter(BdrvGate *gate);
void bdrv_gate_leave(BdrvGate *gate);

/**
 * Requests inside now, a sum over shards.  While frozen, one that looks and steps back may show
 * for a moment; it kicks the freezer when it is gone.
 */
int bdrv_gate_in_flight(const BdrvGate *gate);

#endif
