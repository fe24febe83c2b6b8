/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does anything move still, and if not, who is waited for?
 */
#include "qemu/osdep.h"

#include "block/block_int.h"
#include "qemu/atomic.h"
#include "qemu/lockable.h"

uint64_t bdrv_requests_progress(void)
{
    uint64_t sum = 0;
    for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
        sum += 1 + qatomic_read(&bs->next_serial) + qatomic_read(&bs->flushed_gen);
    }
    return sum;
}

static bool has_request(BlockDriverState *bs)
{
    bool found = qemu_co_mutex_is_locked(&bs->flush_lock);
    for (int i = 0; i < BDRV_REQUEST_SHARDS && !found; i++) {
        QEMU_LOCK_GUARD(&bs->shard[i].lock);
        found = !QLIST_EMPTY(&bs->shard[i].requests) ||
                qatomic_read(&bs->shard[i].visits[0]) || qatomic_read(&bs->shard[i].visits[1]);
    }
    return found;
}

char *bdrv_storage_waited_for(void)
{
    GString *text = g_string_new(NULL);
    for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
        if (bs->drv && bs->drv->is_protocol && has_request(bs)) {
            g_string_append_printf(text, "%snode '%s' (%s)", text->len ? ", " : ": ",
                                   bdrv_get_node_name(bs), bdrv_get_filename(bs));
        }
    }
    return g_string_free(text, FALSE);
}
