/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "hw/block/conf.h"
#include "qapi/user-object.h"
#include "qemu/bits.h"
#include "qemu/cutils.h"
#include "qemu/error.h"

#define BLOCK_SIZE_MIN 512
#define BLOCK_SIZE_MAX (2 * MiB)
#define MAX_CYLS 65535
#define MAX_HEADS 255
#define MAX_SECS 255

/* ---- kinds of properties --------------------------------------------------------------------- */

/* A backend by its name, or a new one for a node. */
static BlockBackend *coroutine_fn find_drive(const char *name)
{
    BlockBackend *blk = blk_by_name(name);
    BlockDriverState *bs;

    if (blk) {
        return blk_ref(blk);
    }
    bs = bdrv_lookup_bs(NULL, name, NULL);
    /* It claims nothing before the device says what it needs. */
    return bs ? blk_co_new_with_bs(bs, 0, BLK_PERM_ALL, NULL) : NULL;
}

/* Gives a reference back; the last one leaves the node before the command that did it replies. */
static void coroutine_fn drop_drive(BlockBackend **blk)
{
    blk_co_unref(*blk);
    *blk = NULL;
}

static bool coroutine_fn set_drive(Device *dev, const DeviceProperty *prop, const char *value,
                                   Error **errp)
{
    BlockBackend **field = device_field(dev, prop);
    BlockBackend *blk = find_drive(value);

    if (!blk) {
        error_setg(errp, "Property '%s.%s' can't find value '%s'",
                   device_property_owner(dev->type, prop), prop->name, value);
        return false;
    }
    if (blk_get_attached_dev(blk)) {
        error_setg(errp, "Drive '%s' is already in use by another device", value);
        drop_drive(&blk);
        return false;
    }
    drop_drive(field);
    *field = blk;
    return true;
}

static char *get_drive(const Device *dev, const DeviceProperty *prop)
{
    BlockBackend *blk = *(BlockBackend *const *)device_field(dev, prop);

    if (!blk) {
        return NULL;
    }
    if (*blk_name(blk)) {
        return g_strdup(blk_name(blk));
    }
    return blk_bs(blk) ? g_strdup(bdrv_get_node_name(blk_bs(blk))) : NULL;
}

static void coroutine_fn release_drive(Device *dev, const DeviceProperty *prop)
{
    drop_drive(device_field(dev, prop));
}

const PropertyKind prop_kind_drive = {
    .name = "str",
    .description = "Node name or ID of a block device to use as a backend",
    .set = set_drive,
    .get = get_drive,
    .release = release_drive,
};

static bool set_block_size(Device *dev, const DeviceProperty *prop, const char *value,
                           Error **errp)
{
    uint64_t size;

    if (qemu_strtosz(value, NULL, &size) < 0) {
        error_setg(errp, "Parameter '%s' expects size", prop->name);
        return false;
    }
    if (size && (size < BLOCK_SIZE_MIN || size > BLOCK_SIZE_MAX || !is_power_of_2(size))) {
        error_setg(errp, "parameter %s must be a power of 2 between %d and %d", prop->name,
                   BLOCK_SIZE_MIN, (int)BLOCK_SIZE_MAX);
        return false;
    }
    *(uint32_t *)device_field(dev, prop) = size;
    return true;
}

static char *get_block_size(const Device *dev, const DeviceProperty *prop)
{
    return g_strdup_printf("%u", *(const uint32_t *)device_field(dev, prop));
}

const PropertyKind prop_kind_block_size = {
    .name = "size",
    .description = "A power of two between 512 B and 2 MiB",
    .set = set_block_size,
    .get = get_block_size,
};

static void release_iothread(Device *dev, const DeviceProperty *prop)
{
    IOThread **field = device_field(dev, prop);

    if (*field) {
        user_object_release(user_object_find(iothread_get_id(*field)));
        g_clear_pointer(field, iothread_unref);
    }
}

static bool set_iothread(Device *dev, const DeviceProperty *prop, const char *value, Error **errp)
{
    IOThread *iothread = iothread_by_id(value);

    if (!iothread) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", value);
        return false;
    }
    /* While a device uses it, the object cannot be deleted. */
    if (!user_object_use(value, "iothread", errp)) {
        return false;
    }
    release_iothread(dev, prop);
    *(IOThread **)device_field(dev, prop) = iothread_ref(iothread);
    return true;
}

static char *get_iothread(const Device *dev, const DeviceProperty *prop)
{
    IOThread *iothread = *(IOThread *const *)device_field(dev, prop);

    return iothread ? g_strdup_printf("/objects/%s", iothread_get_id(iothread)) : NULL;
}

const PropertyKind prop_kind_iothread = {
    .name = "link<iothread>",
    .set = set_iothread,
    .get = get_iothread,
    .release = release_iothread,
};

/* BlockdevOnError, in its order. */
const char *const block_conf_error_values[] = {
    "report", "ignore", "enospc", "stop", "auto", NULL,
};
static_assert(BLOCKDEV_ON_ERROR_REPORT == 0 && BLOCKDEV_ON_ERROR_IGNORE == 1 &&
              BLOCKDEV_ON_ERROR_ENOSPC == 2 && BLOCKDEV_ON_ERROR_STOP == 3 &&
              BLOCKDEV_ON_ERROR_AUTO == 4, "the property's values are the schema's");

/* ---- checking -------------------------------------------------------------------------------- */

static bool check_multiple(uint32_t value, const char *name, uint32_t of, Error **errp)
{
    if (value % of) {
        error_setg(errp, "%s must be a multiple of logical_block_size", name);
        return false;
    }
    return true;
}

static bool check_sizes(BlockConf *conf, Error **errp)
{
    if (!conf->logical_block_size) {
        conf->logical_block_size = BLOCK_SIZE_MIN;
    }
    if (!conf->physical_block_size) {
        conf->physical_block_size = conf->logical_block_size;
    }
    if (conf->logical_block_size > conf->physical_block_size) {
        error_setg(errp, "logical_block_size > physical_block_size not supported");
        return false;
    }
    if (conf->discard_granularity != UINT32_MAX &&
        !check_multiple(conf->discard_granularity, "discard_granularity",
                        conf->logical_block_size, errp)) {
        return false;
    }
    return check_multiple(conf->min_io_size, "min_io_size", conf->logical_block_size, errp) &&
           check_multiple(conf->opt_io_size, "opt_io_size", conf->logical_block_size, errp);
}

static bool check_geometry(BlockConf *conf, Error **errp)
{
    if (!conf->cyls && !conf->heads && !conf->secs) {
        return true;
    }
    if (!conf->cyls || conf->cyls > MAX_CYLS) {
        error_setg(errp, "cyls must be between 1 and %u", MAX_CYLS);
        return false;
    }
    if (!conf->heads || conf->heads > MAX_HEADS) {
        error_setg(errp, "heads must be between 1 and %u", MAX_HEADS);
        return false;
    }
    if (!conf->secs || conf->secs > MAX_SECS) {
        error_setg(errp, "secs must be between 1 and %u", MAX_SECS);
        return false;
    }
    return true;
}

static bool check_error_policy(const BlockConf *conf, Error **errp)
{
    if (conf->rerror == BLOCKDEV_ON_ERROR_ENOSPC) {
        error_setg(errp, "rerror=enospc is not valid: reads cannot run out of space");
        return false;
    }
    return true;
}

/* ---- attaching ------------------------------------------------------------------------------- */

static bool on_off_or(int property, bool otherwise)
{
    return property == ON_OFF_PROP_AUTO ? otherwise : property == ON_OFF_PROP_ON;
}

static void apply_policy(BlockConf *conf)
{
    BlockBackend *blk = conf->blk;
    BlockAcctStats *stats = blk_get_stats(blk);

    stats->account_invalid = on_off_or(conf->account_invalid, stats->account_invalid);
    stats->account_failed = on_off_or(conf->account_failed, stats->account_failed);

    if (conf->write_cache != ON_OFF_PROP_AUTO) {
        blk_set_enable_write_cache(blk, conf->write_cache == ON_OFF_PROP_ON);
    }
    blk_set_on_error(blk,
                     conf->rerror == BLOCKDEV_ON_ERROR_AUTO ? blk_get_on_error(blk, true)
                                                            : (BlockdevOnError)conf->rerror,
                     conf->werror == BLOCKDEV_ON_ERROR_AUTO ? blk_get_on_error(blk, false)
                                                            : (BlockdevOnError)conf->werror);
    blk_iostatus_enable(blk);
}

static bool coroutine_fn claim_rights(BlockConf *conf, bool read_only, bool resizable,
                                      Error **errp)
{
    uint64_t perm = BLK_PERM_CONSISTENT_READ;
    uint64_t shared = BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE_UNCHANGED;

    perm |= read_only ? 0 : BLK_PERM_WRITE;
    shared |= resizable ? BLK_PERM_RESIZE : 0;
    shared |= conf->share_rw ? BLK_PERM_WRITE : 0;
    return blk_co_set_perm(conf->blk, perm, shared, errp);
}

bool coroutine_fn block_conf_co_attach(BlockConf *conf, Device *dev, bool read_only,
                                       bool resizable, Error **errp)
{
    /* As users know it: by its id, unless a part of it owns the disk. */
    g_autofree char *path = dev->id && !dev->type->child ? g_strdup(dev->id)
                                                         : device_backend_path(dev);

    if (!check_sizes(conf, errp) || !check_geometry(conf, errp) ||
        !check_error_policy(conf, errp) || !blk_attach_dev(conf->blk, dev, path, errp)) {
        return false;
    }
    if (!claim_rights(conf, read_only, resizable, errp)) {
        blk_detach_dev(conf->blk, dev);
        return false;
    }
    apply_policy(conf);
    conf->is_attached = true;
    return true;
}

void block_conf_detach(BlockConf *conf, Device *dev)
{
    if (conf->is_attached) {
        conf->is_attached = false;
        blk_detach_dev(conf->blk, dev);
    }
}
