/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block-latency-histogram-set: how long requests of a device take, counted in intervals.
 */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "qapi/gen/block-core-commands.h"

/* What the user said of one kind of request; NULL: nothing. */
typedef struct Wish {
    BlockAcctType type;
    const char *name;
    bool is_given;
    const uint64List *boundaries;
} Wish;

static bool start_counting(BlockAcctStats *stats, const char *id, const Wish *wish, Error **errp)
{
    g_autoptr(GArray) ends = g_array_new(FALSE, FALSE, sizeof(uint64_t));

    for (const uint64List *item = wish->boundaries; item; item = item->next) {
        g_array_append_val(ends, item->value);
    }
    if (!block_latency_histogram_set(stats, wish->type, (uint64_t *)ends->data, ends->len)) {
        error_setg(errp, "Device '%s' set %s boundaries fail", id, wish->name);
        return false;
    }
    return true;
}

void coroutine_fn qmp_block_latency_histogram_set(BlockLatencyHistogramSet *arg, Error **errp)
{
    const Wish wishes[] = {
        { BLOCK_ACCT_READ, "read", arg->has_boundaries_read, arg->boundaries_read },
        { BLOCK_ACCT_WRITE, "write", arg->has_boundaries_write, arg->boundaries_write },
        { BLOCK_ACCT_ZONE_APPEND, "append write", arg->has_boundaries_zap, arg->boundaries_zap },
        { BLOCK_ACCT_FLUSH, "flush", arg->has_boundaries_flush, arg->boundaries_flush },
    };
    BlockBackend *blk = blk_by_qdev_id(arg->id, errp);
    bool any = arg->has_boundaries;

    if (!blk) {
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(wishes); i++) {
        Wish wish = wishes[i];

        any |= wish.is_given;
        if (!wish.is_given && arg->has_boundaries) {
            wish.is_given = true;
            wish.boundaries = arg->boundaries;
        }
        if (wish.is_given && !start_counting(blk_get_stats(blk), arg->id, &wish, errp)) {
            return;
        }
    }
    if (!any) {
        block_latency_histograms_clear(blk_get_stats(blk));
    }
}
