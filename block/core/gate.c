/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gate: counting requests in and out, and holding them back while frozen.
 *
 * Enter raises the count before it looks at `frozen`; freeze sets `frozen` before it looks at the
 * counts.  With a full fence between the two steps on both sides at least one of them sees the
 * other.
 */
#include "qemu/osdep.h"

#include "core-int.h"
#include "qemu/atomic.h"

static unsigned my_shard(void)
{
    return aio_current_loop_index() % BDRV_GATE_SHARDS;
}

void bdrv_gate_init(BdrvGate *gate, const BdrvGateOps *ops)
{
    GLOBAL_STATE_CODE();
    memset(gate, 0, sizeof(*gate));
    gate->ops = ops;
    qemu_mutex_init(&gate->waiters_lock);
    qemu_co_queue_init(&gate->waiters);
    QTAILQ_INSERT_TAIL(&bdrv_graph()->gates, gate, next);
}

void bdrv_gate_done(BdrvGate *gate)
{
    GLOBAL_STATE_CODE();
    freeze_forget_gate(gate);
    assert(!gate->frozen && bdrv_gate_in_flight(gate) == 0);
    QTAILQ_REMOVE(&bdrv_graph()->gates, gate, next);
    qemu_mutex_destroy(&gate->waiters_lock);
}

bool bdrv_gate_try_enter(BdrvGate *gate)
{
    qatomic_inc(&gate->in_flight[my_shard()].count);
    smp_mb();
    if (likely(!qatomic_load_acquire(&gate->frozen)) || gate->is_job) {
        return true;
    }
    bdrv_gate_leave(gate);
    return false;
}

void coroutine_fn bdrv_gate_co_enter(BdrvGate *gate)
{
    while (!bdrv_gate_try_enter(gate)) {
        qemu_mutex_lock(&gate->waiters_lock);
        if (qatomic_read(&gate->frozen)) {
            qemu_co_queue_wait(&gate->waiters, &gate->waiters_lock);
        }
        qemu_mutex_unlock(&gate->waiters_lock);
    }
}

void bdrv_gate_leave(BdrvGate *gate)
{
    qatomic_dec(&gate->in_flight[my_shard()].count);
    smp_mb();
    if (unlikely(qatomic_read(&gate->frozen))) {
        bdrv_freeze_kick();
    }
}

int bdrv_gate_in_flight(const BdrvGate *gate)
{
    int sum = 0;
    for (int i = 0; i < BDRV_GATE_SHARDS; i++) {
        sum += qatomic_load_acquire(&gate->in_flight[i].count);
    }
    return sum;
}

void gate_wake(BdrvGate *gate)
{
    /*
     * Whoever saw the gate frozen saw it under the lock, and is in the queue when it lets go.  The
     * lock is not held while waking: outside a coroutine, those of this loop run at once.
     */
    qemu_mutex_lock(&gate->waiters_lock);
    qemu_mutex_unlock(&gate->waiters_lock);
    qemu_co_queue_restart_all(&gate->waiters);
}
