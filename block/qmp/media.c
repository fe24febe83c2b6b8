/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Removable media: opening and closing trays, taking a medium out and putting one in.
 *
 * A drive without a device counts as removable, without a tray.
 */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/graph.h"
#include "qapi/gen/block-core-commands.h"
#include "qmp-block.h"
#include "qobject/qdict.h"

BlockBackend *block_backend_lookup(const char *device, const char *id, Error **errp)
{
    if (!device == !id) {
        error_setg(errp, "Need exactly one of 'device' and 'id'");
        return NULL;
    }
    if (id) {
        return blk_by_qdev_id(id, errp);
    }
    BlockBackend *blk = blk_by_name(device);
    if (!blk) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", device);
    }
    return blk;
}

/* ---- trays ----------------------------------------------------------------------------------- */

static bool check_removable(BlockBackend *blk, const char *called, Error **errp)
{
    if (!blk_dev_has_removable_media(blk)) {
        error_setg(errp, "Device '%s' is not removable", called);
        return false;
    }
    return true;
}

/* A medium that the guest has locked is asked for, and with @force taken. */
static bool open_tray(BlockBackend *blk, const char *called, bool force, Error **errp)
{
    if (!check_removable(blk, called, errp)) {
        return false;
    }
    if (!blk_dev_has_tray(blk) || blk_dev_is_tray_open(blk)) {
        return true;
    }
    bool locked = blk_dev_is_medium_locked(blk);
    if (locked) {
        blk_dev_eject_request(blk, force);
    }
    if (locked && !force) {
        error_setg(errp, "Device '%s' is locked and force was not specified, wait for tray to "
                   "open and try again", called);
        return false;
    }
    return blk_dev_move_tray(blk, true, errp);
}

static bool close_tray(BlockBackend *blk, const char *called, Error **errp)
{
    if (!check_removable(blk, called, errp)) {
        return false;
    }
    return !blk_dev_is_tray_open(blk) || blk_dev_move_tray(blk, false, errp);
}

void coroutine_fn qmp_blockdev_open_tray(const char *device, const char *id, bool has_force,
                                         bool force, Error **errp)
{
    BlockBackend *blk = block_backend_lookup(device, id, errp);
    if (blk) {
        open_tray(blk, device ? device : id, has_force && force, errp);
    }
}

void coroutine_fn qmp_blockdev_close_tray(const char *device, const char *id, Error **errp)
{
    BlockBackend *blk = block_backend_lookup(device, id, errp);
    if (blk) {
        close_tray(blk, device ? device : id, errp);
    }
}

/* ---- media ----------------------------------------------------------------------------------- */

/* May the medium of @blk be exchanged right now? */
static bool check_reachable(BlockBackend *blk, const char *called, Error **errp)
{
    if (blk_get_attached_dev(blk) && !check_removable(blk, called, errp)) {
        return false;
    }
    if (blk_dev_has_tray(blk) && !blk_dev_is_tray_open(blk)) {
        error_setg(errp, "Tray of device '%s' is not open", called);
        return false;
    }
    return true;
}

static bool coroutine_fn co_remove_medium(BlockBackend *blk, const char *called, Error **errp)
{
    if (!check_reachable(blk, called, errp)) {
        return false;
    }
    BlockDriverState *bs = blk_bs(blk) ? bdrv_skip_implicit_filters(blk_bs(blk)) : NULL;
    if (bs && bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_EJECT, errp)) {
        return false;
    }
    if (bs) {
        if (!blk_dev_change_medium(blk, false, errp)) {
            return false;
        }
        blk_co_remove_bs(blk);
    }
    return true;
}

static bool coroutine_fn co_insert_medium(BlockBackend *blk, const char *called,
                                          BlockDriverState *bs, Error **errp)
{
    if (!check_reachable(blk, called, errp)) {
        return false;
    }
    if (blk_bs(blk)) {
        error_setg(errp, "There already is a medium in device '%s'", called);
        return false;
    }
    if (!blk_co_insert_bs(blk, bs, errp)) {
        return false;
    }
    if (!blk_dev_change_medium(blk, true, errp)) {
        blk_co_remove_bs(blk);
        return false;
    }
    return true;
}

void coroutine_fn qmp_blockdev_remove_medium(const char *id, Error **errp)
{
    CONTROL_PATH();
    BlockBackend *blk = block_backend_lookup(NULL, id, errp);
    if (blk) {
        co_remove_medium(blk, id, errp);
    }
}

static bool is_medium_somewhere(const BlockDriverState *bs)
{
    for (BlockBackend *blk = blk_all_next(NULL); blk; blk = blk_all_next(blk)) {
        if (blk_bs(blk) == bs) {
            return true;
        }
    }
    return false;
}

void coroutine_fn qmp_blockdev_insert_medium(const char *id, const char *node_name, Error **errp)
{
    CONTROL_PATH();
    BlockBackend *blk = block_backend_lookup(NULL, id, errp);
    if (!blk) {
        return;
    }
    BlockDriverState *bs = bdrv_find_node(node_name);
    if (!bs) {
        error_setg(errp, "Node '%s' not found", node_name);
        return;
    }
    if (is_medium_somewhere(bs)) {
        error_setg(errp, "Node '%s' is already in use", node_name);
        return;
    }
    co_insert_medium(blk, id, bs, errp);
}

static bool coroutine_fn co_eject(BlockBackend *blk, const char *called, bool force, Error **errp)
{
    return open_tray(blk, called, force, errp) && co_remove_medium(blk, called, errp);
}

void coroutine_fn qmp_eject(const char *device, const char *id, bool has_force, bool force,
                            Error **errp)
{
    CONTROL_PATH();
    BlockBackend *blk = block_backend_lookup(device, id, errp);
    if (blk) {
        co_eject(blk, device ? device : id, has_force && force, errp);
    }
}

/* ---- another medium -------------------------------------------------------------------------- */

/* How the next medium is opened: as the present one, unless the user wants it otherwise. */
static int medium_flags(BlockBackend *blk, BlockdevChangeReadOnlyMode mode)
{
    const DriveInfo *drive = blk_legacy_dinfo(blk);
    int flags = blk_bs(blk) ? bdrv_get_open_flags(blk_bs(blk)) : BDRV_O_RDWR;

    if (!blk_bs(blk) && drive && drive->read_only) {
        flags &= ~BDRV_O_RDWR;
    }
    if (mode == BLOCKDEV_CHANGE_READ_ONLY_MODE_READ_ONLY) {
        flags &= ~BDRV_O_RDWR;
    } else if (mode == BLOCKDEV_CHANGE_READ_ONLY_MODE_READ_WRITE) {
        flags |= BDRV_O_RDWR;
    }
    return flags & (BDRV_O_RDWR | BDRV_O_NOCACHE | BDRV_O_NO_FLUSH | BDRV_O_UNMAP |
                    BDRV_O_NATIVE_AIO | BDRV_O_IO_URING);
}

static BlockDriverState *coroutine_fn co_open_medium(const char *filename, const char *format,
                                                     int flags, Error **errp)
{
    QDict *options = qdict_new();

    if (format) {
        qdict_put_str(options, "driver", format);
    }
    return bdrv_co_open(filename, NULL, options, flags, errp);
}

void coroutine_fn qmp_blockdev_change_medium(const char *device, const char *id,
                                             const char *filename, const char *format,
                                             bool has_force, bool force, bool has_mode,
                                             BlockdevChangeReadOnlyMode mode, Error **errp)
{
    CONTROL_PATH();
    const char *called = device ? device : id;
    BlockBackend *blk = block_backend_lookup(device, id, errp);
    if (!blk) {
        return;
    }
    if (!has_mode) {
        mode = BLOCKDEV_CHANGE_READ_ONLY_MODE_RETAIN;
    }
    /* Nothing is taken out unless what comes instead is there. */
    g_autoptr(BlockDriverState) bs = co_open_medium(filename, format, medium_flags(blk, mode),
                                                    errp);
    if (!bs || !co_eject(blk, called, has_force && force, errp) ||
        !co_insert_medium(blk, called, bs, errp)) {
        return;
    }
    close_tray(blk, called, errp);
}
