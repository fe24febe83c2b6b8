/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -drive and -blockdev: from what the user said to nodes and named backends.
 *
 * A -drive argument is taken apart in three steps: spec_from_opts() picks out what belongs to the
 * drive (place, medium, error policy, cache mode, id), the rest are options of its node, and
 * drive_co_new() opens that and registers both.
 */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/export.h"
#include "block/graph.h"
#include "block/job.h"
#include "block/qmp/qmp-block.h"
#include "block/throttle-group.h"
#include "qapi/gen/block-core-visit.h"
#include "qapi/gen/qom-visit.h"
#include "qapi/object-input.h"
#include "qemu/cutils.h"
#include "qobject/flatten.h"
#include "qobject/qlist.h"
#include "qobject/qstring.h"

/* A list with no descriptions takes any option: what remains is checked by the node's driver. */
QemuOptsList qemu_drive_opts = { .name = "drive" };

const QemuOptDesc drive_option_desc[] = {
    { .name = "id", .help = "name of the drive" },
    { .name = "file", .help = "the image" },
    { .name = "format", .help = "its format; without it, it is guessed" },
    { .name = "if", .help = "what the drive is plugged into" },
    { .name = "bus", .type = QEMU_OPT_NUMBER, .help = "number of the bus" },
    { .name = "unit", .type = QEMU_OPT_NUMBER, .help = "place on the bus" },
    { .name = "index", .type = QEMU_OPT_NUMBER, .help = "place, counted over all buses" },
    { .name = "media", .help = "disk or cdrom", .def_value_str = "disk" },
    { .name = "snapshot", .type = QEMU_OPT_BOOL, .help = "whether writes are temporary" },
    { .name = "read-only", .type = QEMU_OPT_BOOL, .help = "whether it cannot be written" },
    { .name = "auto-read-only", .type = QEMU_OPT_BOOL, .help = "open read-only if need be" },
    { .name = "force-share", .type = QEMU_OPT_BOOL, .help = "let others write the image" },
    { .name = "cache", .help = "cache mode: writeback, none, ..." },
    { .name = "cache.writeback", .type = QEMU_OPT_BOOL, .help = "whether writes may be cached" },
    { .name = "cache.direct", .type = QEMU_OPT_BOOL, .help = "bypass the host's page cache" },
    { .name = "cache.no-flush", .type = QEMU_OPT_BOOL, .help = "ignore flushes" },
    { .name = "aio", .help = "threads, native or io_uring" },
    { .name = "discard", .help = "ignore or unmap" },
    { .name = "detect-zeroes", .help = "off, on or unmap" },
    { .name = "copy-on-read", .type = QEMU_OPT_BOOL, .help = "keep what is read from below" },
    { .name = "werror", .help = "what a failing write does: report, ignore, enospc or stop" },
    { .name = "rerror", .help = "what a failing read does: report, ignore or stop" },
    { .name = "stats-account-invalid", .type = QEMU_OPT_BOOL, .help = "count invalid requests" },
    { .name = "stats-account-failed", .type = QEMU_OPT_BOOL, .help = "count failed requests" },
    { .name = "throttling.iops-total", .type = QEMU_OPT_NUMBER, .help = "requests a second" },
    { .name = "throttling.iops-read", .type = QEMU_OPT_NUMBER, .help = "reads a second" },
    { .name = "throttling.iops-write", .type = QEMU_OPT_NUMBER, .help = "writes a second" },
    { .name = "throttling.bps-total", .type = QEMU_OPT_NUMBER, .help = "bytes a second" },
    { .name = "throttling.bps-read", .type = QEMU_OPT_NUMBER, .help = "bytes read a second" },
    { .name = "throttling.bps-write", .type = QEMU_OPT_NUMBER, .help = "bytes written a second" },
    { .name = "throttling.group", .help = "limits that drives share" },
    { .name = NULL },
};

/* Drives in the order of their creation.  Main thread. */
static QTAILQ_HEAD(, DriveInfo) drives = QTAILQ_HEAD_INITIALIZER(drives);

static const struct {
    const char *name;
    int max_devs; /* on one bus; 0: there is one bus without a limit */
} interfaces[IF_COUNT] = {
    [IF_NONE] = { "none", 0 },     [IF_IDE] = { "ide", 2 },       [IF_SCSI] = { "scsi", 7 },
    [IF_FLOPPY] = { "floppy", 0 }, [IF_PFLASH] = { "pflash", 0 }, [IF_MTD] = { "mtd", 0 },
    [IF_SD] = { "sd", 0 },         [IF_VIRTIO] = { "virtio", 0 }, [IF_XEN] = { "xen", 0 },
};

/* ---- options of one drive -------------------------------------------------------------------- */

typedef struct DriveSpec {
    QDict *options; /* flat; in the end: those of the node */
    char *id, *file;
    BlockInterfaceType type;
    int bus, unit;
    bool media_cd;
    bool writethrough;
    bool account_invalid, account_failed;
    GArray *intervals; /* of unsigned: seconds */
    BlockdevOnError on_read_error, on_write_error;
    ThrottleConfig throttle;
    char *throttle_group; /* NULL: called as the drive */
    int flags; /* BDRV_O_* */
} DriveSpec;

static void spec_free(DriveSpec *spec)
{
    qobject_unref(spec->options);
    if (spec->intervals) {
        g_array_unref(spec->intervals);
    }
    g_free(spec->id);
    g_free(spec->file);
    g_free(spec->throttle_group);
    g_free(spec);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriveSpec, spec_free)

/* The text of @key, removed from @options; NULL if it is not there. */
static char *take_str(QDict *options, const char *key)
{
    char *value = g_strdup(qdict_get_try_str(options, key));
    qdict_del(options, key);
    return value;
}

/* *@value keeps its default if @key is not there. */
static bool take_bool(QDict *options, const char *key, bool *value, Error **errp)
{
    g_autofree char *text = take_str(options, key);
    return !text || qemu_opts_parse_bool(key, text, value, errp);
}

static bool take_index(QDict *options, const char *key, int *value, Error **errp)
{
    g_autofree char *text = take_str(options, key);
    uint64_t number;
    if (!text) {
        return true;
    }
    if (qemu_strtou64(text, NULL, 0, &number) < 0) {
        error_setg(errp, "Parameter '%s' expects a number", key);
        return false;
    }
    if (number > INT_MAX / 8) {
        error_setg(errp, "Parameter '%s' is too large", key);
        return false;
    }
    *value = number;
    return true;
}

/* Names that options had before they got those of the schema. */
static const QDictRenames legacy_names[] = {
    { "iops", "throttling.iops-total" },
    { "iops_rd", "throttling.iops-read" },
    { "iops_wr", "throttling.iops-write" },
    { "bps", "throttling.bps-total" },
    { "bps_rd", "throttling.bps-read" },
    { "bps_wr", "throttling.bps-write" },
    { "iops_max", "throttling.iops-total-max" },
    { "iops_rd_max", "throttling.iops-read-max" },
    { "iops_wr_max", "throttling.iops-write-max" },
    { "bps_max", "throttling.bps-total-max" },
    { "bps_rd_max", "throttling.bps-read-max" },
    { "bps_wr_max", "throttling.bps-write-max" },
    { "iops_max_length", "throttling.iops-total-max-length" },
    { "iops_rd_max_length", "throttling.iops-read-max-length" },
    { "iops_wr_max_length", "throttling.iops-write-max-length" },
    { "bps_max_length", "throttling.bps-total-max-length" },
    { "bps_rd_max_length", "throttling.bps-read-max-length" },
    { "bps_wr_max_length", "throttling.bps-write-max-length" },
    { "iops_size", "throttling.iops-size" },
    { "group", "throttling.group" },
    { "readonly", "read-only" },
    { NULL, NULL },
};

static bool rename_legacy(QDict *options, Error **errp)
{
    for (const QDictRenames *r = legacy_names; r->from; r++) {
        if (qdict_haskey(options, r->from) && qdict_haskey(options, r->to)) {
            error_setg(errp, "'%s' and its alias '%s' can't be used at the same time", r->to,
                       r->from);
            return false;
        }
    }
    return qdict_rename_keys(options, legacy_names, errp);
}

/* throttling.*: limits and their group, which need no node of their own to be named. */
static bool take_throttling(DriveSpec *spec, Error **errp)
{
    g_autoptr(QDict) dict = NULL;
    g_autoptr(ThrottleLimits) limits = NULL;
    g_autoptr(Visitor) v = NULL;
    throttle_config_init(&spec->throttle);
    qdict_extract_subqdict(spec->options, &dict, "throttling.");
    spec->throttle_group = take_str(dict, "group");
    v = qobject_input_visitor_new_keyval(QOBJECT(dict));
    return visit_type_ThrottleLimits(v, NULL, &limits, errp) &&
           throttle_limits_apply(limits, &spec->throttle, errp);
}

/* ---- place and medium ------------------------------------------------------------------------ */

static bool take_interface(DriveSpec *spec, BlockInterfaceType default_type, Error **errp)
{
    g_autofree char *name = take_str(spec->options, "if");
    spec->type = default_type;
    if (!name) {
        return true;
    }
    for (int type = 0; type < IF_COUNT; type++) {
        if (strcmp(name, interfaces[type].name) == 0) {
            spec->type = type;
            return true;
        }
    }
    error_setg(errp, "unsupported bus type '%s'", name);
    return false;
}

static bool take_place(DriveSpec *spec, Error **errp)
{
    int max_devs = interfaces[spec->type].max_devs;
    int bus = -1, unit = -1, index = -1;
    if (!take_index(spec->options, "bus", &bus, errp) ||
        !take_index(spec->options, "unit", &unit, errp) ||
        !take_index(spec->options, "index", &index, errp)) {
        return false;
    }
    if (index >= 0 && (bus >= 0 || unit >= 0)) {
        error_setg(errp, "index cannot be used with bus and unit");
        return false;
    }
    if (index >= 0) {
        bus = max_devs ? index / max_devs : 0;
        unit = max_devs ? index % max_devs : index;
    }
    bus = MAX(bus, 0);
    if (unit < 0) {
        for (unit = 0; drive_get(spec->type, bus, unit); ) {
            unit++;
            if (max_devs && unit >= max_devs) {
                unit = 0;
                bus++;
            }
        }
    }
    if (max_devs && unit >= max_devs) {
        error_setg(errp, "unit %d too big (max is %d)", unit, max_devs - 1);
        return false;
    }
    if (drive_get(spec->type, bus, unit)) {
        error_setg(errp, "drive with bus=%d, unit=%d (index=%d) exists", bus, unit,
                   max_devs ? bus * max_devs + unit : unit);
        return false;
    }
    spec->bus = bus;
    spec->unit = unit;
    return true;
}

static bool take_media(DriveSpec *spec, Error **errp)
{
    g_autofree char *media = take_str(spec->options, "media");
    if (!media || strcmp(media, "disk") == 0) {
        return true;
    }
    if (strcmp(media, "cdrom") == 0) {
        spec->media_cd = true;
        return true;
    }
    error_setg(errp, "'%s' invalid media", media);
    return false;
}

/* virtio0, ide0-hd1, scsi0-cd2 */
static char *default_id(const DriveSpec *spec)
{
    const char *name = interfaces[spec->type].name;
    const char *medium = "";
    if (spec->type == IF_IDE || spec->type == IF_SCSI) {
        medium = spec->media_cd ? "-cd" : "-hd";
    }
    if (interfaces[spec->type].max_devs) {
        return g_strdup_printf("%s%d%s%d", name, spec->bus, medium, spec->unit);
    }
    return g_strdup_printf("%s%s%d", name, medium, spec->unit);
}

/* ---- policies -------------------------------------------------------------------------------- */

static bool parse_on_error(const char *text, bool is_read, BlockdevOnError *policy, Error **errp)
{
    if (strcmp(text, "ignore") == 0) {
        *policy = BLOCKDEV_ON_ERROR_IGNORE;
    } else if (!is_read && strcmp(text, "enospc") == 0) {
        *policy = BLOCKDEV_ON_ERROR_ENOSPC;
    } else if (strcmp(text, "stop") == 0) {
        *policy = BLOCKDEV_ON_ERROR_STOP;
    } else if (strcmp(text, "report") == 0) {
        *policy = BLOCKDEV_ON_ERROR_REPORT;
    } else {
        error_setg(errp, "'%s' invalid %s error action", text, is_read ? "read" : "write");
        return false;
    }
    return true;
}

static bool take_on_error(DriveSpec *spec, bool is_read, Error **errp)
{
    const char *key = is_read ? "rerror" : "werror";
    g_autofree char *text = take_str(spec->options, key);
    if (!text) {
        return true;
    }
    if (spec->type != IF_IDE && spec->type != IF_SCSI && spec->type != IF_VIRTIO &&
        spec->type != IF_NONE) {
        error_setg(errp, "%s is not supported by this bus type", key);
        return false;
    }
    return parse_on_error(text, is_read,
                          is_read ? &spec->on_read_error : &spec->on_write_error, errp);
}

/* stats-intervals.0=SECONDS and so on. */
static bool take_intervals(DriveSpec *spec, Error **errp)
{
    g_autoptr(QDict) dict = NULL;
    g_autoptr(QList) list = NULL;
    const QListEntry *entry;
    spec->intervals = g_array_new(FALSE, FALSE, sizeof(unsigned));
    qdict_extract_subqdict(spec->options, &dict, "stats-intervals.");
    qdict_array_split(dict, &list);
    if (qdict_size(dict)) {
        error_setg(errp, "Invalid option stats-intervals.%s", qdict_entry_key(qdict_first(dict)));
        return false;
    }
    QLIST_FOREACH_ENTRY(list, entry) {
        const QString *text = qobject_to(QString, qlist_entry_obj(entry));
        int64_t number;
        if (!text || qemu_strtoi64(qstring_get_str(text), NULL, 10, &number) < 0 || number <= 0 ||
            number > UINT_MAX) {
            error_setg(errp, "Invalid interval length: %s", text ? qstring_get_str(text) : "");
            return false;
        }
        unsigned seconds = number;
        g_array_append_val(spec->intervals, seconds);
    }
    return true;
}

/* cache=MODE is three options; those given one by one win over it. */
static bool take_cache(DriveSpec *spec, Error **errp)
{
    g_autofree char *mode = take_str(spec->options, "cache");
    bool writeback = true;
    int flags = 0;
    if (mode) {
        bool writethrough;
        if (!bdrv_parse_cache_mode(mode, &flags, &writethrough)) {
            error_setg(errp, "invalid cache option");
            return false;
        }
        writeback = !writethrough;
        qdict_set_default_str(spec->options, "cache.direct", flags & BDRV_O_NOCACHE ? "on" : "off");
        qdict_set_default_str(spec->options, "cache.no-flush",
                              flags & BDRV_O_NO_FLUSH ? "on" : "off");
    }
    if (!take_bool(spec->options, "cache.writeback", &writeback, errp)) {
        return false;
    }
    spec->writethrough = !writeback;
    return true;
}

static bool take_discard(DriveSpec *spec, Error **errp)
{
    const char *discard = qdict_get_try_str(spec->options, "discard");
    const char *zeroes = qdict_get_try_str(spec->options, "detect-zeroes");
    int flags = 0;
    if (discard) {
        if (!bdrv_parse_discard_flags(discard, &flags)) {
            error_setg(errp, "Invalid discard option");
            return false;
        }
        qdict_put_str(spec->options, "discard", flags & BDRV_O_UNMAP ? "unmap" : "ignore");
    }
    if (!zeroes) {
        return true;
    }
    if (qapi_enum_parse(&BlockdevDetectZeroesOptions_lookup, zeroes, -1, NULL) < 0) {
        error_setg(errp, "invalid parameter value: %s", zeroes);
        return false;
    }
    /* Here, unlike in -blockdev, unmap without discard=unmap is not an error but has no effect. */
    if (strcmp(zeroes, "unmap") == 0 && !(flags & BDRV_O_UNMAP)) {
        qdict_put_str(spec->options, "detect-zeroes", "on");
    }
    return true;
}

static bool take_aio(DriveSpec *spec, Error **errp)
{
    g_autofree char *aio = take_str(spec->options, "aio");
    if (aio && !bdrv_parse_aio(aio, &spec->flags)) {
        error_setg(errp, "invalid aio option");
        return false;
    }
    return true;
}

static bool take_read_only(DriveSpec *spec, Error **errp)
{
    bool read_only = false, copy_on_read = false, snapshot = false;
    if (!take_bool(spec->options, "read-only", &read_only, errp) ||
        !take_bool(spec->options, "copy-on-read", &copy_on_read, errp) ||
        !take_bool(spec->options, "snapshot", &snapshot, errp)) {
        return false;
    }
    read_only |= spec->media_cd;
    if (copy_on_read && read_only) {
        warn_report("disabling copy-on-read on read-only drive");
    }
    qdict_put_str(spec->options, "read-only", read_only ? "on" : "off");
    qdict_set_default_str(spec->options, "auto-read-only", "on");
    spec->flags |= (read_only ? 0 : BDRV_O_RDWR) | (snapshot ? BDRV_O_SNAPSHOT : 0) |
                   (copy_on_read && !read_only ? BDRV_O_COPY_ON_READ : 0);
    return true;
}

static bool take_format(DriveSpec *spec, Error **errp)
{
    g_autofree char *format = take_str(spec->options, "format");
    if (format && qdict_haskey(spec->options, "driver")) {
        error_setg(errp, "Cannot specify both 'driver' and 'format'");
        return false;
    }
    if (format) {
        qdict_put_str(spec->options, "driver", format);
    }
    return true;
}

static DriveSpec *spec_from_opts(const QemuOpts *opts, BlockInterfaceType default_type,
                                 Error **errp)
{
    g_autoptr(DriveSpec) spec = g_new0(DriveSpec, 1);
    spec->options = qemu_opts_to_qdict(opts, NULL);
    spec->on_read_error = BLOCKDEV_ON_ERROR_REPORT;
    spec->on_write_error = BLOCKDEV_ON_ERROR_ENOSPC;
    spec->account_invalid = spec->account_failed = true;
    spec->id = take_str(spec->options, "id");
    spec->file = take_str(spec->options, "file");
    if (!rename_legacy(spec->options, errp) ||
        !take_cache(spec, errp) ||
        !take_media(spec, errp) ||
        !take_interface(spec, default_type, errp) ||
        !take_place(spec, errp) ||
        !take_on_error(spec, false, errp) ||
        !take_on_error(spec, true, errp) ||
        !take_bool(spec->options, "stats-account-invalid", &spec->account_invalid, errp) ||
        !take_bool(spec->options, "stats-account-failed", &spec->account_failed, errp) ||
        !take_intervals(spec, errp) ||
        !take_aio(spec, errp) ||
        !take_discard(spec, errp) ||
        !take_format(spec, errp) ||
        !take_throttling(spec, errp)) {
        return NULL;
    }
    if (!spec->id) {
        spec->id = default_id(spec);
    }
    if (spec->file && !*spec->file) {
        g_clear_pointer(&spec->file, g_free);
    }
    return g_steal_pointer(&spec);
}

/* ---- making and removing drives -------------------------------------------------------------- */

/* A drive without an image: so far nothing is said of a node but how media are opened. */
static bool spec_is_empty(const DriveSpec *spec)
{
    return !spec->file && qdict_size(spec->options) == qdict_haskey(spec->options, "read-only");
}

static bool coroutine_fn co_insert_image(BlockBackend *blk, DriveSpec *spec, Error **errp)
{
    g_autoptr(BlockDriverState) bs = bdrv_co_open(spec->file, NULL, qobject_ref(spec->options),
                                                  spec->flags, errp);
    return bs && blk_co_insert_bs(blk, bs, errp);
}

static bool coroutine_fn co_apply_limits(BlockBackend *blk, DriveSpec *spec, Error **errp)
{
    if (!throttle_enabled(&spec->throttle)) {
        return true;
    }
    return blk_co_set_throttle(blk, spec->throttle_group ? spec->throttle_group : spec->id,
                               &spec->throttle, errp);
}

/* Until a device takes it, a drive does nothing to its node and forbids nothing. */
static BlockBackend *coroutine_fn co_backend_from_spec(DriveSpec *spec, Error **errp)
{
    bool is_empty = spec_is_empty(spec);
    if (!take_read_only(spec, errp)) {
        return NULL;
    }
    BlockBackend *blk = blk_new(0, BLK_PERM_ALL);
    if (!blk_set_name(blk, spec->id, errp) ||
        (!is_empty && !co_insert_image(blk, spec, errp)) || !co_apply_limits(blk, spec, errp)) {
        blk_co_unref(blk);
        return NULL;
    }
    BlockAcctStats *stats = blk_get_stats(blk);
    stats->account_invalid = spec->account_invalid;
    stats->account_failed = spec->account_failed;
    for (guint i = 0; i < spec->intervals->len; i++) {
        block_acct_add_interval(stats, g_array_index(spec->intervals, unsigned, i));
    }
    blk_set_enable_write_cache(blk, !spec->writethrough);
    blk_set_on_error(blk, spec->on_read_error, spec->on_write_error);
    return blk;
}

DriveInfo *coroutine_fn drive_co_new(QemuOpts *opts, BlockInterfaceType default_type, Error **errp)
{
    CONTROL_PATH();
    g_autoptr(DriveSpec) spec = spec_from_opts(opts, default_type, errp);
    BlockBackend *blk = spec ? co_backend_from_spec(spec, errp) : NULL;
    if (!blk) {
        return NULL;
    }
    DriveInfo *drive = g_new0(DriveInfo, 1);
    drive->id = blk_name(blk);
    drive->type = spec->type;
    drive->bus = spec->bus;
    drive->unit = spec->unit;
    drive->read_only = !(spec->flags & BDRV_O_RDWR);
    drive->opts = opts;
    drive->blk = blk;
    QTAILQ_INSERT_TAIL(&drives, drive, next);
    return drive;
}

static void coroutine_fn drive_co_free(DriveInfo *drive)
{
    QTAILQ_REMOVE(&drives, drive, next);
    blk_set_name(drive->blk, NULL, &error_abort);
    blk_co_unref(drive->blk);
    qemu_opts_del(drive->opts);
    g_free(drive);
}

bool coroutine_fn drive_co_del(const char *id, Error **errp)
{
    CONTROL_PATH();
    BlockBackend *blk = blk_by_name(id);
    if (!blk) {
        error_setg(errp, "Device '%s' not found", id);
        return false;
    }
    DriveInfo *drive = blk_legacy_dinfo(blk);
    if (!drive) {
        error_setg(errp, "Deleting device added with blockdev-add is not supported");
        return false;
    }
    BlockDriverState *bs = blk_bs(blk) ? bdrv_skip_implicit_filters(blk_bs(blk)) : NULL;
    if (bs && bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_DRIVE_DEL, errp)) {
        return false;
    }
    blk_co_remove_bs(blk);
    /* A guest that still has the device meets a drive without a medium; no error may stop it. */
    blk_set_on_error(blk, BLOCKDEV_ON_ERROR_REPORT, BLOCKDEV_ON_ERROR_REPORT);
    drive_co_free(drive);
    return true;
}

/* ---- parsing --------------------------------------------------------------------------------- */

static void print_format(void *opaque, const char *name)
{
    printf(" %s", name);
}

static void print_drive_help(void)
{
    printf("drive options:\n"
           "  aio=threads|native|io_uring\n"
           "  bus=<int>, unit=<int>, index=<int>\n"
           "  cache=none|writeback|writethrough|directsync|unsafe\n"
           "  cache.writeback=on|off, cache.direct=on|off, cache.no-flush=on|off\n"
           "  copy-on-read=on|off\n"
           "  detect-zeroes=on|off|unmap\n"
           "  discard=ignore|unmap\n"
           "  file=<str>\n"
           "  format=<str>  (format=help lists them)\n"
           "  id=<str>\n"
           "  if=none|ide|scsi|floppy|pflash|mtd|sd|virtio|xen\n"
           "  media=disk|cdrom\n"
           "  read-only=on|off, auto-read-only=on|off\n"
           "  rerror=report|ignore|stop\n"
           "  snapshot=on|off\n"
           "  stats-account-failed=on|off, stats-account-invalid=on|off\n"
           "  stats-intervals.<n>=<seconds>\n"
           "  throttling.bps-total=<int>, .bps-read, .bps-write, .iops-total, .iops-read,\n"
           "    .iops-write, each also with -max and -max-length; .iops-size, .group=<str>\n"
           "  werror=report|ignore|enospc|stop\n"
           "All others are options of the block driver, which -blockdev DRIVER,help lists.\n");
}

QemuOpts *drive_parse(const char *optstr, Error **errp)
{
    if (has_help_option(optstr)) {
        print_drive_help();
        exit(0);
    }
    QemuOpts *opts = qemu_opts_parse(&qemu_drive_opts, optstr, false, errp);
    const char *format = opts ? qemu_opt_get(opts, "format") : NULL;
    if (format && (strcmp(format, "help") == 0 || strcmp(format, "?") == 0)) {
        printf("Supported formats:");
        bdrv_iterate_format(print_format, NULL, false);
        printf("\n");
        exit(0);
    }
    return opts;
}

QemuOpts *drive_add(BlockInterfaceType type, int index, const char *file, const char *optstr)
{
    QemuOpts *opts = drive_parse(optstr ? optstr : "", &error_fatal);
    if (type != IF_DEFAULT) {
        qemu_opt_set(opts, "if", interfaces[type].name, &error_abort);
    }
    if (index >= 0) {
        qemu_opt_set_number(opts, "index", index, &error_abort);
    }
    if (file) {
        qemu_opt_set(opts, "file", file, &error_abort);
    }
    return opts;
}

/* ---- finding drives -------------------------------------------------------------------------- */

DriveInfo *drive_next(DriveInfo *dinfo)
{
    return dinfo ? QTAILQ_NEXT(dinfo, next) : QTAILQ_FIRST(&drives);
}

DriveInfo *drive_get(BlockInterfaceType type, int bus, int unit)
{
    DriveInfo *drive;
    QTAILQ_FOREACH(drive, &drives, next) {
        if (drive->type == type && drive->bus == bus && drive->unit == unit) {
            return drive;
        }
    }
    return NULL;
}

DriveInfo *blk_legacy_dinfo(BlockBackend *blk)
{
    DriveInfo *drive;
    QTAILQ_FOREACH(drive, &drives, next) {
        if (drive->blk == blk) {
            return drive;
        }
    }
    return NULL;
}

bool drive_check_orphans(Error **errp)
{
    DriveInfo *drive;
    QTAILQ_FOREACH(drive, &drives, next) {
        if (!drive->claimed && !drive->is_default && drive->type != IF_NONE &&
            !blk_get_attached_dev(drive->blk)) {
            error_setg(errp, "machine type does not support if=%s,bus=%d,unit=%d",
                       interfaces[drive->type].name, drive->bus, drive->unit);
            return false;
        }
    }
    return true;
}

/* ---- -blockdev ------------------------------------------------------------------------------- */

BlockdevOptions *blockdev_parse(const char *arg, Error **errp)
{
    g_autoptr(Visitor) v = qobject_input_visitor_new_str(arg, "driver", errp);
    BlockdevOptions *options = NULL;
    if (!v || !visit_type_BlockdevOptions(v, NULL, &options, errp)) {
        return NULL;
    }
    return options;
}

bool coroutine_fn blockdev_co_add(const BlockdevOptions *options, Error **errp)
{
    CONTROL_PATH();
    if (!options->node_name) {
        error_setg(errp, "'node-name' must be specified for the root node");
        return false;
    }
    g_autoptr(BlockDriverState) bs = bdrv_co_open_blockdev(options, 0, errp);
    if (!bs) {
        return false;
    }
    bdrv_set_monitor_owned(bs, true);
    return true;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void coroutine_fn co_close_drives(void)
{
    BDRV_CONTROL_GUARD();
    DriveInfo *drive, *after;
    QTAILQ_FOREACH_SAFE(drive, &drives, next, after) {
        blk_co_remove_bs(drive->blk);
        drive_co_free(drive);
    }
}

void coroutine_fn blockdev_co_close_all(void)
{
    blk_exp_co_close_all();
    command_co_wait_for_all();
    job_co_cancel_sync_all();
    co_close_drives();
    bdrv_co_close_all();
}
