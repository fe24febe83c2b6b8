/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The human monitor's commands about disks: thin covers over the QMP handlers.
 */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/graph.h"
#include "block/qapi.h"
#include "monitor/hmp.h"
#include "qapi/gen/block-core-commands.h"
#include "qapi/gen/block-info-commands.h"
#include "qemu/cutils.h"
#include "qmp-block.h"

/* ---- info block ------------------------------------------------------------------------------ */

static void print_images(Monitor *mon, ImageInfo *image)
{
    g_autoptr(GString) text = g_string_new("\nImages:\n");
    for (; image; image = image->backing_image) {
        bdrv_node_info_dump(bdrv_image_info_node(image), 0, false, text);
        if (image->backing_image) {
            g_string_append_c(text, '\n');
        }
    }
    monitor_puts(mon, text->str);
}

static void print_device(Monitor *mon, const BlockInfo *info)
{
    if (info->qdev) {
        monitor_printf(mon, "    Attached to:      %s\n", info->qdev);
    }
    if (info->has_io_status && info->io_status != BLOCK_DEVICE_IO_STATUS_OK) {
        monitor_printf(mon, "    I/O status:       %s\n", BlockDeviceIoStatus_str(info->io_status));
    }
    if (info->removable) {
        monitor_printf(mon, "    Removable device: %slocked, tray %s\n",
                       info->locked ? "" : "not ", info->tray_open ? "open" : "closed");
    }
}

static void print_node(Monitor *mon, const BlockDeviceInfo *node, bool verbose)
{
    monitor_printf(mon, "    Cache mode:       %s%s%s\n",
                   node->cache->writeback ? "writeback" : "writethrough",
                   node->cache->direct ? ", direct" : "",
                   node->cache->no_flush ? ", ignore flushes" : "");
    if (node->backing_file) {
        monitor_printf(mon, "    Backing file:     %s (chain depth: %" PRId64 ")\n",
                       node->backing_file, node->backing_file_depth);
    }
    if (node->detect_zeroes != BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF) {
        monitor_printf(mon, "    Detect zeroes:    %s\n",
                       BlockdevDetectZeroesOptions_str(node->detect_zeroes));
    }
    if (node->group) {
        monitor_printf(mon, "    I/O throttling:   bps=%" PRId64 " bps_rd=%" PRId64 " bps_wr=%"
                       PRId64 " bps_max=%" PRId64 " bps_rd_max=%" PRId64 " bps_wr_max=%" PRId64
                       " iops=%" PRId64 " iops_rd=%" PRId64 " iops_wr=%" PRId64 " iops_max=%"
                       PRId64 " iops_rd_max=%" PRId64 " iops_wr_max=%" PRId64 " iops_size=%" PRId64
                       " group=%s\n", node->bps, node->bps_rd, node->bps_wr, node->bps_max,
                       node->bps_rd_max, node->bps_wr_max, node->iops, node->iops_rd,
                       node->iops_wr, node->iops_max, node->iops_rd_max, node->iops_wr_max,
                       node->iops_size, node->group);
    }
    if (verbose) {
        print_images(mon, node->image);
    }
}

/* @info: NULL when nodes are listed; @node: NULL without a medium. */
static void print_block(Monitor *mon, const BlockInfo *info, const BlockDeviceInfo *node,
                        bool verbose)
{
    if (info && *info->device) {
        monitor_printf(mon, "%s", info->device);
        if (node) {
            monitor_printf(mon, " (%s)", node->node_name);
        }
    } else {
        monitor_printf(mon, "%s", node ? node->node_name : info->qdev ? info->qdev : "<anonymous>");
    }
    if (node) {
        monitor_printf(mon, ": %s (%s%s%s)\n", node->file, node->drv,
                       node->ro ? ", read-only" : "", node->encrypted ? ", encrypted" : "");
    } else {
        monitor_printf(mon, ": [not inserted]\n");
    }
    if (info) {
        print_device(mon, info);
    }
    if (node) {
        print_node(mon, node, verbose);
    }
}

static void coroutine_fn print_nodes(Monitor *mon, const char *name, bool verbose)
{
    Error *err = NULL;
    g_autoptr(BlockDeviceInfoList) list = qmp_query_named_block_nodes(false, false, &err);
    bool is_first = true;
    for (BlockDeviceInfoList *e = list; e; e = e->next) {
        if (!name || strcmp(name, e->value->node_name) == 0) {
            monitor_printf(mon, "%s", is_first ? "" : "\n");
            print_block(mon, NULL, e->value, verbose);
            is_first = false;
        }
    }
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_info_block(Monitor *mon, const QDict *args)
{
    const char *name = qdict_get_try_str(args, "device");
    bool verbose = qdict_get_try_bool(args, "verbose", false);
    Error *err = NULL;
    if (qdict_get_try_bool(args, "nodes", false)) {
        print_nodes(mon, name, verbose);
        return;
    }
    g_autoptr(BlockInfoList) list = qmp_query_block(false, false, &err);
    bool is_first = true;
    for (BlockInfoList *e = list; e; e = e->next) {
        if (!name || strcmp(name, e->value->device) == 0 ||
            (e->value->qdev && strcmp(name, e->value->qdev) == 0)) {
            monitor_printf(mon, "%s", is_first ? "" : "\n");
            print_block(mon, e->value, e->value->inserted, verbose);
            is_first = false;
        }
    }
    hmp_handle_error(mon, err);
}

/* ---- info blockstats, block-jobs, block-blockers --------------------------------------------- */

static void coroutine_fn hmp_info_blockstats(Monitor *mon, const QDict *args)
{
    Error *err = NULL;
    g_autoptr(BlockStatsList) list = qmp_query_blockstats(false, false, &err);
    for (BlockStatsList *e = list; e; e = e->next) {
        const BlockDeviceStats *s = e->value->stats;
        const char *name = e->value->device && *e->value->device ? e->value->device
                                                                 : e->value->qdev;
        monitor_printf(mon, "%s: rd_bytes=%" PRId64 " wr_bytes=%" PRId64 " rd_operations=%" PRId64
                       " wr_operations=%" PRId64 " flush_operations=%" PRId64
                       " wr_total_time_ns=%" PRId64 " rd_total_time_ns=%" PRId64
                       " flush_total_time_ns=%" PRId64 " rd_merged=%" PRId64 " wr_merged=%" PRId64
                       " idle_time_ns=%" PRId64 "\n", name ? name : "", s->rd_bytes, s->wr_bytes,
                       s->rd_operations, s->wr_operations, s->flush_operations,
                       s->wr_total_time_ns, s->rd_total_time_ns, s->flush_total_time_ns,
                       s->rd_merged, s->wr_merged, s->idle_time_ns);
    }
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_info_block_jobs(Monitor *mon, const QDict *args)
{
    Error *err = NULL;
    g_autoptr(BlockJobInfoList) list = qmp_query_block_jobs(&err);
    if (hmp_handle_error(mon, err)) {
        return;
    }
    if (!list) {
        monitor_printf(mon, "No active jobs\n");
    }
    for (BlockJobInfoList *e = list; e; e = e->next) {
        const BlockJobInfo *job = e->value;
        monitor_printf(mon, "Type %s, device %s: Completed %" PRId64 " of %" PRId64
                       " bytes, speed limit %" PRId64 " bytes/s\n", JobType_str(job->type),
                       job->device, job->offset, job->len, job->speed);
    }
}

static void coroutine_fn hmp_info_blockers(Monitor *mon, const QDict *args)
{
    g_autoptr(GString) text = g_string_new("");
    Error *err = NULL;
    if (bdrv_blockers_dump(qdict_get_try_str(args, "device"), qdict_get_try_str(args, "op"), text,
                           &err)) {
        monitor_puts(mon, text->str);
    }
    hmp_handle_error(mon, err);
}

/* ---- drives ---------------------------------------------------------------------------------- */

/* drive_add -n: a node without a drive.  @opts: taken. */
static void coroutine_fn co_add_node(QemuOpts *opts, Error **errp)
{
    QDict *options = qemu_opts_to_qdict(opts, NULL);
    qemu_opts_del(opts);
    if (!qdict_haskey(options, "node-name")) {
        error_setg(errp, "'node-name' needs to be specified");
        qobject_unref(options);
        return;
    }
    g_autoptr(BlockDriverState) bs = bdrv_co_open(NULL, NULL, options, BDRV_O_RDWR, errp);
    if (bs) {
        bdrv_set_monitor_owned(bs, true);
    }
}

static void coroutine_fn hmp_drive_add(Monitor *mon, const QDict *args)
{
    Error *err = NULL;
    QemuOpts *opts = qemu_opts_parse(&qemu_drive_opts, qdict_get_str(args, "opts"), false, &err);
    if (opts && qdict_get_try_bool(args, "node", false)) {
        co_add_node(opts, &err);
    } else if (opts) {
        DriveInfo *drive = drive_co_new(opts, IF_NONE, &err);
        if (!drive) {
            qemu_opts_del(opts);
        } else if (drive->type != IF_NONE) {
            error_setg(&err, "Can't hot-add drive to type %d", drive->type);
            drive_co_del(drive->id, NULL);
        } else {
            monitor_printf(mon, "OK\n");
        }
    }
    if (err) {
        error_report_err(err);
    }
}

static void coroutine_fn hmp_eject(Monitor *mon, const QDict *args)
{
    Error *err = NULL;

    qmp_eject(qdict_get_str(args, "device"), NULL, true, qdict_get_try_bool(args, "force", false),
              &err);
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_change(Monitor *mon, const QDict *args)
{
    const char *mode_name = qdict_get_try_str(args, "read-only-mode");
    Error *err = NULL;
    int mode = BLOCKDEV_CHANGE_READ_ONLY_MODE_RETAIN;

    if (mode_name) {
        mode = qapi_enum_parse(&BlockdevChangeReadOnlyMode_lookup, mode_name, -1, &err);
    }
    if (!err) {
        qmp_blockdev_change_medium(qdict_get_str(args, "device"), NULL,
                                   qdict_get_str(args, "target"),
                                   qdict_get_try_str(args, "arg"), true,
                                   qdict_get_try_bool(args, "force", false), true, mode, &err);
    }
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_drive_del(Monitor *mon, const QDict *args)
{
    const char *id = qdict_get_str(args, "id");
    BlockDriverState *bs = bdrv_find_node(id);
    Error *err = NULL;
    if (bs && bdrv_is_monitor_owned(bs)) {
        qmp_blockdev_del(id, &err);
    } else {
        drive_co_del(id, &err);
    }
    if (err) {
        error_report_err(err);
    }
}

static void coroutine_fn hmp_block_resize(Monitor *mon, const QDict *args)
{
    Error *err = NULL;
    qmp_block_resize(qdict_get_str(args, "device"), NULL, qdict_get_int(args, "size"), &err);
    hmp_handle_error(mon, err);
}

/* Flag -n: the image is there already. */
static NewImageMode new_image_mode_of(const QDict *args)
{
    return qdict_get_try_bool(args, "reuse", false) ? NEW_IMAGE_MODE_EXISTING
                                                    : NEW_IMAGE_MODE_ABSOLUTE_PATHS;
}

static void coroutine_fn hmp_snapshot_blkdev(Monitor *mon, const QDict *args)
{
    Error *err = NULL;
    BlockdevSnapshotSync snapshot = {
        .device = (char *)qdict_get_str(args, "device"),
        .snapshot_file = (char *)qdict_get_try_str(args, "snapshot-file"),
        .format = (char *)qdict_get_try_str(args, "format"),
        .has_mode = true,
        .mode = new_image_mode_of(args),
    };
    if (!snapshot.snapshot_file) {
        error_setg(&err, "Parameter 'snapshot-file' is missing");
    } else {
        qmp_blockdev_snapshot_sync(&snapshot, &err);
    }
    hmp_handle_error(mon, err);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

/* What the flags of drive_backup and drive_mirror mean. */
static MirrorSyncMode sync_of(const QDict *args)
{
    return qdict_get_try_bool(args, "full", false) ? MIRROR_SYNC_MODE_FULL : MIRROR_SYNC_MODE_TOP;
}

static void coroutine_fn hmp_drive_backup(Monitor *mon, const QDict *args)
{
    Error *err = NULL;
    DriveBackup backup = {
        .device = (char *)qdict_get_str(args, "device"),
        .target = (char *)qdict_get_str(args, "target"),
        .format = (char *)qdict_get_try_str(args, "format"),
        .sync = sync_of(args),
        .has_mode = true,
        .mode = new_image_mode_of(args),
        .has_compress = true,
        .compress = qdict_get_try_bool(args, "compress", false),
    };
    qmp_drive_backup(&backup, &err);
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_drive_mirror(Monitor *mon, const QDict *args)
{
    Error *err = NULL;
    DriveMirror mirror = {
        .device = (char *)qdict_get_str(args, "device"),
        .target = (char *)qdict_get_str(args, "target"),
        .format = (char *)qdict_get_try_str(args, "format"),
        .sync = sync_of(args),
        .has_mode = true,
        .mode = new_image_mode_of(args),
    };
    qmp_drive_mirror(&mirror, &err);
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_block_stream(Monitor *mon, const QDict *args)
{
    Error *err = NULL;
    BlockStreamArgs stream = {
        .device = (char *)qdict_get_str(args, "device"),
        .base = (char *)qdict_get_try_str(args, "base"),
        .speed = qdict_get_try_int(args, "speed", 0),
    };
    qmp_block_stream(&stream, &err);
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_block_job_set_speed(Monitor *mon, const QDict *args)
{
    Error *err = NULL;
    qmp_block_job_set_speed(qdict_get_str(args, "device"), qdict_get_int(args, "speed"), &err);
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_block_job_cancel(Monitor *mon, const QDict *args)
{
    Error *err = NULL;
    qmp_block_job_cancel(qdict_get_str(args, "device"), true,
                         qdict_get_try_bool(args, "force", false), &err);
    hmp_handle_error(mon, err);
}

/* Verbs that need nothing but the job. */
#define JOB_VERB_COMMAND(verb) \
    static void coroutine_fn hmp_block_job_##verb(Monitor *mon, const QDict *args) \
    { \
        Error *err = NULL; \
        qmp_block_job_##verb(qdict_get_str(args, "device"), &err); \
        hmp_handle_error(mon, err); \
    }

JOB_VERB_COMMAND(pause)
JOB_VERB_COMMAND(resume)
JOB_VERB_COMMAND(complete)

/* ---- objects --------------------------------------------------------------------------------- */

static void coroutine_fn hmp_block_set_io_throttle(Monitor *mon, const QDict *args)
{
    const char *device = qdict_get_str(args, "device");
    bool is_drive = blk_by_name(device) != NULL;
    Error *err = NULL;
    BlockIOThrottle limits = {
        .device = is_drive ? (char *)device : NULL,
        .id = is_drive ? NULL : (char *)device,
        .bps = qdict_get_int(args, "bps"),
        .bps_rd = qdict_get_int(args, "bps_rd"),
        .bps_wr = qdict_get_int(args, "bps_wr"),
        .iops = qdict_get_int(args, "iops"),
        .iops_rd = qdict_get_int(args, "iops_rd"),
        .iops_wr = qdict_get_int(args, "iops_wr"),
    };
    qmp_block_set_io_throttle(&limits, &err);
    hmp_handle_error(mon, err);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static const HMPCommand commands[] = {
    { "drive_add", "node:-n,slot:s,opts:s", "[-n] slot [file=file][,if=type][,...]",
      "add drive; -n: only its node", hmp_drive_add, false },
    { "drive_del", "id:B", "device", "remove host block device", hmp_drive_del, false },
    { "eject", "force:-f,device:B", "[-f] device", "eject a removable medium (use -f to force it)",
      hmp_eject, false },
    { "change", "device:B,force:-f,target:F,arg:s?,read-only-mode:s?",
      "device [-f] filename [format [read-only-mode]]", "change a removable medium", hmp_change,
      false },
    { "block_resize", "device:B,size:o", "device size", "resize a block image", hmp_block_resize,
      false },
    { "snapshot_blkdev", "reuse:-n,device:B,snapshot-file:s?,format:s?",
      "[-n] device [new-image-file] [format]",
      "put a new overlay on the device; -n: the file exists already", hmp_snapshot_blkdev, false },
    { "drive_backup", "reuse:-n,full:-f,compress:-c,device:B,target:s,format:s?",
      "[-n] [-f] [-c] device target [format]",
      "start a backup of a device; -n: the target exists, -f: the whole disk, -c: compressed",
      hmp_drive_backup, false },
    { "drive_mirror", "reuse:-n,full:-f,device:B,target:s,format:s?",
      "[-n] [-f] device target [format]",
      "start to mirror a device; -n: the target exists, -f: the whole disk", hmp_drive_mirror,
      false },
    { "block_stream", "device:B,speed:o?,base:s?", "device [speed [base]]",
      "start copying data from a backing file into a block device", hmp_block_stream, false },
    { "block_job_set_speed", "device:B,speed:o", "device speed",
      "set the speed of a background block operation", hmp_block_job_set_speed, true },
    { "block_job_cancel", "force:-f,device:B", "[-f] device",
      "stop an active background block operation; -f: at once", hmp_block_job_cancel, true },
    { "block_job_complete", "device:B", "device", "end an active background block operation",
      hmp_block_job_complete, true },
    { "block_job_pause", "device:B", "device", "pause an active background block operation",
      hmp_block_job_pause, true },
    { "block_job_resume", "device:B", "device", "resume a paused background block operation",
      hmp_block_job_resume, true },
    { "block_set_io_throttle", "device:B,bps:l,bps_rd:l,bps_wr:l,iops:l,iops_rd:l,iops_wr:l",
      "device bps bps_rd bps_wr iops iops_rd iops_wr", "change I/O throttle limits of a device",
      hmp_block_set_io_throttle, false },
    { .name = NULL },
};

static const HMPCommand infos[] = {
    { "block", "nodes:-n,verbose:-v,device:B?", "[-n] [-v] [device]",
      "show block devices; -n: nodes, -v: more of their images", hmp_info_block, true },
    { "blockstats", "", "", "show block device statistics", hmp_info_blockstats, true },
    { "block-jobs", "", "", "show progress of ongoing block device operations",
      hmp_info_block_jobs, true },
    { "block-blockers|blockers", "device:B?,op:s?", "[device] [op]",
      "show who keeps whom from doing what with block nodes, or only from doing op",
      hmp_info_blockers, true },
    { .name = NULL },
};

static void complete_drive(GPtrArray *words, const GPtrArray *before, const char *prefix)
{
    for (BlockBackend *blk = blk_next(NULL); blk; blk = blk_next(blk)) {
        hmp_add_choice(words, blk_name(blk), prefix);
    }
}

void hmp_block_register(void)
{
    hmp_set_completer(NULL, 0, complete_drive);
    hmp_register_commands(commands);
    hmp_register_info(infos);
    hmp_snapshot_register();
    hmp_commit_register();
    hmp_nbd_register();
    hmp_objects_register();
}
