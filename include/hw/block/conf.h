/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every disk device is configured with: its drive, block sizes, error policy, cache.
 *
 * A device embeds a BlockConf, lists BLOCK_CONF_PROPS in its properties, and calls
 * block_conf_co_attach() when it is realized and block_conf_detach() when unrealized.
 */
#ifndef HW_BLOCK_CONF_H
#define HW_BLOCK_CONF_H

#include "block/block-backend.h"
#include "qemu/iothread.h"
#include "system/device.h"

typedef struct BlockConf {
    BlockBackend *blk; /* a reference */
    uint32_t logical_block_size, physical_block_size; /* 0: 512 */
    uint32_t min_io_size, opt_io_size;                /* bytes; 0: unknown */
    uint32_t discard_granularity;                     /* bytes; UINT32_MAX: not set */
    uint32_t cyls, heads, secs;                       /* 0: guessed */
    int write_cache;                                  /* ON_OFF_PROP_* */
    bool share_rw;
    int account_invalid, account_failed;              /* ON_OFF_PROP_*; auto: as the drive has it */
    int rerror, werror;                               /* index into the property's values */
    bool is_attached;
} BlockConf;

extern const PropertyKind prop_kind_drive;      /* BlockBackend * */
extern const PropertyKind prop_kind_block_size; /* uint32_t */
extern const PropertyKind prop_kind_iothread;   /* IOThread * */
extern const char *const block_conf_error_values[];

#define BLOCK_CONF_PROPS(_struct, _conf) \
    DEVICE_PROP("drive", prop_kind_drive, _struct, _conf.blk, NULL, NULL), \
    DEVICE_PROP("logical_block_size", prop_kind_block_size, _struct, _conf.logical_block_size, \
                "0", NULL), \
    DEVICE_PROP("physical_block_size", prop_kind_block_size, _struct, \
                _conf.physical_block_size, "0", NULL), \
    DEVICE_PROP("min_io_size", prop_kind_size32, _struct, _conf.min_io_size, "0", NULL), \
    DEVICE_PROP("opt_io_size", prop_kind_size32, _struct, _conf.opt_io_size, "0", NULL), \
    DEVICE_PROP("discard_granularity", prop_kind_size32, _struct, _conf.discard_granularity, \
                "4294967295", NULL), \
    DEVICE_PROP("write-cache", prop_kind_on_off_auto, _struct, _conf.write_cache, "auto", NULL), \
    DEVICE_PROP("share-rw", prop_kind_bool, _struct, _conf.share_rw, "off", NULL), \
    DEVICE_PROP("account-invalid", prop_kind_on_off_auto, _struct, _conf.account_invalid, "auto", \
                NULL), \
    DEVICE_PROP("account-failed", prop_kind_on_off_auto, _struct, _conf.account_failed, "auto", \
                NULL), \
    { .name = "rerror", .kind = &prop_kind_enum, .offset = offsetof(_struct, _conf.rerror), \
      .default_value = "auto", .values = block_conf_error_values, \
      .description = "Error handling policy, report/ignore/enospc/stop/auto" }, \
    { .name = "werror", .kind = &prop_kind_enum, .offset = offsetof(_struct, _conf.werror), \
      .default_value = "auto", .values = block_conf_error_values, \
      .description = "Error handling policy, report/ignore/enospc/stop/auto" }

#define BLOCK_CHS_PROPS(_struct, _conf) \
    DEVICE_PROP("cyls", prop_kind_uint32, _struct, _conf.cyls, "0", NULL), \
    DEVICE_PROP("heads", prop_kind_uint32, _struct, _conf.heads, "0", NULL), \
    DEVICE_PROP("secs", prop_kind_uint32, _struct, _conf.secs, "0", NULL)

/**
 * Check the configuration, attach @dev to its drive and claim the rights it needs.
 *
 * @read_only: the device will not write.  @resizable: it can tell its guest of a new size.
 * Context: coroutine, control lock held.
 */
bool coroutine_fn block_conf_co_attach(BlockConf *conf, Device *dev, bool read_only,
                                       bool resizable, Error **errp);

/** Undo block_conf_co_attach().  No request in flight. */
void block_conf_detach(BlockConf *conf, Device *dev);

#endif
