/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens when a device's request fails: report to the guest, ignore, or stop the machine.
 */
#include "qemu/osdep.h"

#include "backend-int.h"

#include "qapi/gen/block-core-events.h"

static void (*announce_stop)(void);
static void (*stop_machine)(void);

void blk_set_stop_hooks(void (*announce)(void), void (*stop)(void))
{
    announce_stop = announce;
    stop_machine = stop;
}

void blk_set_on_error(BlockBackend *blk, BlockdevOnError on_read, BlockdevOnError on_write)
{
    blk->on_read_error = on_read;
    blk->on_write_error = on_write;
}

BlockdevOnError blk_get_on_error(const BlockBackend *blk, bool is_read)
{
    return is_read ? blk->on_read_error : blk->on_write_error;
}

BlockErrorAction blk_get_error_action(BlockBackend *blk, bool is_read, int error)
{
    switch (blk_get_on_error(blk, is_read)) {
    case BLOCKDEV_ON_ERROR_ENOSPC:
        return error == ENOSPC ? BLOCK_ERROR_ACTION_STOP : BLOCK_ERROR_ACTION_REPORT;
    case BLOCKDEV_ON_ERROR_STOP:
        return BLOCK_ERROR_ACTION_STOP;
    case BLOCKDEV_ON_ERROR_IGNORE:
        return BLOCK_ERROR_ACTION_IGNORE;
    default:
        return BLOCK_ERROR_ACTION_REPORT;
    }
}

/* The name of the root node, or NULL.  The failed request has left the gate. */
static char *root_name(BlockBackend *blk)
{
    BlockDriverState *bs;
    char *name;

    if (!blk_look_begin(blk)) {
        return NULL;
    }
    bs = blk_bs(blk);
    name = bs ? g_strdup(bdrv_get_node_name(bs)) : NULL;
    blk_look_end(blk);
    return name;
}

void blk_error_action(BlockBackend *blk, BlockErrorAction action, bool is_read, int error)
{
    g_autofree char *node_name = root_name(blk);
    bool has_path = blk->dev_ops && blk->dev_ops->get_path;
    g_autofree char *path = has_path ? blk->dev_ops->get_path(blk->dev_opaque) : g_strdup("");

    bool stops = action == BLOCK_ERROR_ACTION_STOP;

    if (stops && blk->iostatus_enabled) {
        /* The first error counts. */
        qatomic_cmpxchg(&blk->iostatus, BLOCK_DEVICE_IO_STATUS_OK,
                        error == ENOSPC ? BLOCK_DEVICE_IO_STATUS_NOSPACE
                                        : BLOCK_DEVICE_IO_STATUS_FAILED);
    }
    if (stops && announce_stop) {
        announce_stop();
    }
    qapi_event_send_block_io_error(path, blk_name(blk), node_name,
                                   is_read ? IO_OPERATION_TYPE_READ : IO_OPERATION_TYPE_WRITE,
                                   action, blk->iostatus_enabled, error == ENOSPC,
                                   strerror(error));
    if (stops && stop_machine) {
        stop_machine();
    }
}

void blk_iostatus_enable(BlockBackend *blk)
{
    blk->iostatus_enabled = true;
    blk_iostatus_reset(blk);
}

bool blk_iostatus_is_enabled(const BlockBackend *blk)
{
    return blk->iostatus_enabled && (blk->on_write_error == BLOCKDEV_ON_ERROR_ENOSPC ||
                                     blk->on_write_error == BLOCKDEV_ON_ERROR_STOP ||
                                     blk->on_read_error == BLOCKDEV_ON_ERROR_STOP);
}

BlockDeviceIoStatus blk_iostatus(const BlockBackend *blk)
{
    return qatomic_read(&blk->iostatus);
}

void blk_iostatus_reset(BlockBackend *blk)
{
    qatomic_set(&blk->iostatus, BLOCK_DEVICE_IO_STATUS_OK);
}
