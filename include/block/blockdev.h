/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -drive, -blockdev and the legacy disk options of the command line; what machines ask about them.
 * Main thread.
 */
#ifndef BLOCK_BLOCKDEV_H
#define BLOCK_BLOCKDEV_H

#include "block/block-backend.h"
#include "qobject/opts.h"

typedef enum BlockInterfaceType {
    IF_DEFAULT = -1, /* the machine's default */
    IF_NONE = 0,
    IF_IDE,
    IF_SCSI,
    IF_FLOPPY,
    IF_PFLASH,
    IF_MTD,
    IF_SD,
    IF_VIRTIO,
    IF_XEN,
    IF_COUNT,
} BlockInterfaceType;

typedef struct DriveInfo {
    const char *id; /* = blk_name() */
    BlockInterfaceType type;
    int bus, unit;
    bool media_cd;
    bool is_default;   /* made by the machine, not the user */
    bool claimed;      /* a device took it */
    QemuOpts *opts;    /* the options as given */
    BlockBackend *blk;
    QTAILQ_ENTRY(DriveInfo) next;
} DriveInfo;

/* The option lists "drive" and legacy forms parse into. */
extern QemuOptsList qemu_drive_opts;

/** Parse a -drive argument into qemu_drive_opts; NULL and @errp if it can't be. */
QemuOpts *drive_parse(const char *optstr, Error **errp);
/** The -hda/-cdrom/-pflash forms: like -drive with this type, index and file. */
QemuOpts *drive_add(BlockInterfaceType type, int index, const char *file, const char *optstr);

/**
 * Make the drive that @opts describes (opens its image).  @default_type: what if= means when absent.
 * Context: coroutine, control lock held.
 */
DriveInfo *coroutine_fn drive_co_new(QemuOpts *opts, BlockInterfaceType default_type, Error **errp);

DriveInfo *drive_get(BlockInterfaceType type, int bus, int unit);
DriveInfo *drive_get_by_index(BlockInterfaceType type, int index);
DriveInfo *drive_next(DriveInfo *dinfo);
/** Drives no device took: sets @errp for the first one (stock's wording) and returns false. */
bool drive_check_orphans(Error **errp);
DriveInfo *blk_legacy_dinfo(BlockBackend *blk);
const char *drive_if_name(BlockInterfaceType type);

/** -blockdev ARG: parse JSON or keyval; later, in order, blockdev_co_add_parsed() opens it. */
BlockdevOptions *blockdev_parse(const char *arg, Error **errp);
bool coroutine_fn blockdev_co_add(const BlockdevOptions *options, Error **errp);

/** Register the QMP and HMP commands of the block layer (those of @system or of the daemon). */
void blockdev_register_commands(bool system);

/** Close every drive and monitor-owned node, ending jobs and exports first (end of a program). */
void coroutine_fn blockdev_co_close_all(void);

#endif
