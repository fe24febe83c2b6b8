/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -drive, -blockdev and the legacy disk options of the command line; what machines ask about them.
 * Main thread.
 */
#ifndef BLOCK_BLOCKDEV_H
#define BLOCK_BLOCKDEV_H

#include "block/block-backend.h"
#include "qapi/dispatch.h"
#include "qemu/bucket.h"
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
    bool read_only;    /* so are media that come later, unless the user wants it otherwise */
    bool is_default;   /* made by the machine, not the user */
    bool claimed;      /* a device took it */
    QemuOpts *opts;    /* the options as given */
    BlockBackend *blk;
    QTAILQ_ENTRY(DriveInfo) next;
} DriveInfo;

/* The option lists "drive" and legacy forms parse into. */
extern QemuOptsList qemu_drive_opts;
/** What -drive takes beside the options of the image's driver, for those who ask. */
extern const QemuOptDesc drive_option_desc[];

/**
 * Parse a -drive argument of the command line; NULL with @errp set if it can't be.
 * format=help lists the formats and exits.
 */
QemuOpts *drive_parse(const char *optstr, Error **errp);
/** The -hda/-cdrom/-pflash forms: like -drive with this type, index and file. */
QemuOpts *drive_add(BlockInterfaceType type, int index, const char *file, const char *optstr);

/**
 * Make the drive that @opts describes (opens its image).  @default_type: what an absent if= means.
 * @opts: taken on success; of a failed one the caller disposes (qemu_opts_del).
 * Context: coroutine, control lock held.
 */
DriveInfo *coroutine_fn drive_co_new(QemuOpts *opts, BlockInterfaceType default_type, Error **errp);

/** HMP's drive_del: take the medium out and forget the drive; a guest's device stays, empty. */
bool coroutine_fn drive_co_del(const char *id, Error **errp);

/** The drive at a place, or NULL. */
DriveInfo *drive_get(BlockInterfaceType type, int bus, int unit);
/** Every drive in the order of creation; NULL starts, NULL ends. */
DriveInfo *drive_next(DriveInfo *dinfo);
/** Drives no device took: sets @errp for the first one (stock's wording) and returns false. */
bool drive_check_orphans(Error **errp);
/** The drive of @blk, or NULL if it is none. */
DriveInfo *blk_legacy_dinfo(BlockBackend *blk);

/**
 * Give the drive @blk the limits @cfg, in the group @name; no limits at all: end them.
 * Context: control lock.
 */
bool coroutine_fn blk_co_set_throttle(BlockBackend *blk, const char *name,
                                      const ThrottleConfig *cfg, Error **errp);

/** Parse the argument of -blockdev, JSON or key=value. */
BlockdevOptions *blockdev_parse(const char *arg, Error **errp);
/** Open the node that blockdev-add or -blockdev describes; the monitor owns it. */
bool coroutine_fn blockdev_co_add(const BlockdevOptions *options, Error **errp);

/**
 * Offer the block layer's commands: QMP through @commands, and with @with_hmp those for people,
 * too. Puts the control lock around commands and makes the kinds of objects known.  Once, at
 * start-up.
 */
void blockdev_register_commands(QmpCommandList *commands, bool with_hmp);

/** Make the kinds of objects of the block layer known, where no commands are offered (tools). */
void block_objects_register(void);

/**
 * The program is about to end: should storage hang from now on, end all the same, with status 1 and
 * a message, after QEMU_SHUTDOWN_SECONDS (60) without progress.  Calls after the first do nothing.
 */
void blockdev_watch_shutdown(void);

/** Close every drive and monitor-owned node, ending jobs and exports first (end of a program). */
void coroutine_fn blockdev_co_close_all(void);

#endif
