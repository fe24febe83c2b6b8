/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Write threshold: tell the user once when a write goes beyond an offset, so that a thin volume can
 * be grown in time.
 */
#include "qemu/osdep.h"

#include "core-int.h"
#include "qapi/gen/block-core-events.h"
#include "qemu/atomic.h"

typedef struct ThresholdEvent {
    BlockDriverState *bs;
    uint64_t exceeded, threshold;
} ThresholdEvent;

static void send_event(void *opaque)
{
    g_autofree ThresholdEvent *event = opaque;
    qapi_event_send_block_write_threshold(event->bs->node_name, event->exceeded,
                                          event->threshold);
    bdrv_activity_end(event->bs);
}

void bdrv_write_threshold_check(BlockDriverState *bs, int64_t end)
{
    uint64_t threshold = qatomic_read(&bs->write_threshold);
    if (!threshold || (uint64_t)end <= threshold) {
        return;
    }
    /* Whoever clears it sends the event. */
    if (qatomic_cmpxchg(&bs->write_threshold, threshold, 0) != threshold) {
        return;
    }
    ThresholdEvent *event = g_new(ThresholdEvent, 1);
    *event = (ThresholdEvent) {
        .bs = bs,
        .exceeded = (uint64_t)end - threshold,
        .threshold = threshold,
    };
    /* The activity keeps the node until the main loop came round. */
    bdrv_activity_begin(bs);
    aio_bh_schedule_oneshot(qemu_get_aio_context(), send_event, event);
}

void bdrv_write_threshold_set(BlockDriverState *bs, uint64_t threshold)
{
    qatomic_set(&bs->write_threshold, threshold);
}

uint64_t bdrv_write_threshold_get(const BlockDriverState *bs)
{
    return qatomic_read(&bs->write_threshold);
}
