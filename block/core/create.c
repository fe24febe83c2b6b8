/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Creating images: the typed way (blockdev-create), the legacy way of qemu-img, and what both need.
 */
#include "qemu/osdep.h"

#include "core-int.h"
#include "qapi/gen/block-core-visit.h"
#include "qemu/cutils.h"
#include "qobject/opts.h"

QemuOptsList *bdrv_create_opts(const BlockDriver *drv)
{
    return drv->create_opts;
}

bool coroutine_fn bdrv_co_create(const BlockdevCreateOptions *options, Error **errp)
{
    CONTROL_PATH();
    const char *name = BlockdevDriver_str(options->driver);
    BlockDriver *drv = bdrv_find_format(name);
    if (!drv) {
        error_setg(errp, "Block driver '%s' not found or not supported", name);
        return false;
    }
    if (!drv->bdrv_co_create) {
        error_setg(errp, "Driver does not support blockdev-create");
        return false;
    }
    bool ok = drv->bdrv_co_create(options, errp);
    /* The nodes it was made with give up their host locks now: the image may be opened next. */
    bdrv_co_reap();
    return ok;
}

bool coroutine_fn bdrv_co_create_opts(BlockDriver *drv, const char *filename, QemuOpts *opts,
                                      Error **errp)
{
    CONTROL_PATH();
    if (!drv->bdrv_co_create_opts) {
        error_setg(errp, "Driver '%s' does not support image creation", drv->format_name);
        return false;
    }
    Error *local_err = NULL;
    bool ok = drv->bdrv_co_create_opts(drv, filename, opts, &local_err);
    bdrv_co_reap(); /* as above */
    if (!ok) {
        if (!local_err) {
            error_setg(&local_err, "Could not create image");
        }
        error_propagate(errp, local_err);
        return false;
    }
    return true;
}

/* The protocol's list takes over what it knows; the rest was for the format. */
static QemuOpts *protocol_options(const BlockDriver *drv, const QemuOpts *opts, Error **errp)
{
    g_autoptr(QDict) all = qemu_opts_to_qdict(opts, NULL);
    g_autoptr(QemuOpts) own = qemu_opts_create(drv->create_opts, NULL, false, errp);
    if (!own || !qemu_opts_absorb_qdict(own, all, errp)) {
        return NULL;
    }
    return g_steal_pointer(&own);
}

/* Adapt an existing target: large enough, and without the signature of an older image. */
static bool coroutine_fn adapt_existing(BlockDriverState *bs, int64_t wanted, Error **errp)
{
    Error *local_err = NULL;
    TemporaryUser *user = temporary_user_co_new(bs, "image creation",
                                                BLK_PERM_WRITE | BLK_PERM_RESIZE, errp);
    if (!user) {
        return false;
    }
    BdrvChild *edge = temporary_user_co_enter(user);
    int ret = bdrv_co_truncate(edge, wanted, false, PREALLOC_MODE_OFF, 0, &local_err);
    int64_t bytes = bdrv_co_getlength(bs);
    if (ret == -ENOTSUP && bytes >= wanted) {
        g_clear_pointer(&local_err, error_free); /* it cannot change, and need not */
    }
    if (!local_err && bytes > 0) {
        ret = bdrv_co_pwrite_zeroes(edge, 0, MIN(bytes, BDRV_PROBE_BYTES), 0);
        if (ret < 0) {
            error_setg_errno(&local_err, -ret, "Failed to clear the new image's first sector");
        }
    }
    temporary_user_leave(user);
    temporary_user_co_free(user);
    if (local_err) {
        error_propagate(errp, local_err);
        return false;
    }
    return true;
}

/* A place that its protocol cannot make may be there already. */
static bool coroutine_fn use_existing_file(BlockDriver *drv, const char *filename,
                                           const QemuOpts *opts, Error **errp)
{
    Error *local_err = NULL;
    QDict *options = qdict_new();
    qdict_put_str(options, "driver", drv->format_name);
    g_autoptr(BlockDriverState) bs = bdrv_co_open(filename, NULL, options,
                                                  BDRV_O_RDWR | BDRV_O_PROTOCOL, &local_err);
    if (!bs) {
        error_propagate_prepend(errp, local_err, "Protocol driver '%s' does not support creating "
                                "new images, so an existing image must be selected as the target; "
                                "however, opening the given target as an existing image failed: ",
                                drv->format_name);
        return false;
    }
    return adapt_existing(bs, qemu_opt_get_size(opts, "size", 0), errp);
}

bool coroutine_fn bdrv_co_create_file(const char *filename, QemuOpts *opts, Error **errp)
{
    CONTROL_PATH();
    BlockDriver *drv = bdrv_find_protocol(filename, true, errp);
    if (!drv) {
        return false;
    }
    if (!drv->bdrv_co_create_opts || !drv->create_opts) {
        return use_existing_file(drv, filename, opts, errp);
    }
    g_autoptr(QemuOpts) own = protocol_options(drv, opts, errp);
    return own && bdrv_co_create_opts(drv, filename, own, errp);
}

/* ---- qemu-img create ------------------------------------------------------------------------- */

/* Everything known to format and protocol, the format's meaning first. */
static QemuOptsList *merged_options(BlockDriver *drv, BlockDriver *proto)
{
    QemuOptsList *list = qemu_opts_append(NULL, drv->create_opts);
    return proto->create_opts ? qemu_opts_append(list, proto->create_opts) : list;
}

static bool check_drivers(const BlockDriver *drv, const BlockDriver *proto, Error **errp)
{
    if (!drv->create_opts) {
        error_setg(errp, "Format driver '%s' does not support image creation", drv->format_name);
        return false;
    }
    if (!proto->create_opts && !proto->is_protocol) {
        error_setg(errp, "Protocol driver '%s' does not support image creation",
                   proto->format_name);
        return false;
    }
    return true;
}

static bool set_from_args(QemuOpts *opts, const BdrvImgCreate *args, Error **errp)
{
    if (args->options && !qemu_opts_do_parse(opts, args->options, NULL, errp)) {
        return false;
    }
    if (args->size >= 0) {
        if (qemu_opt_is_set(opts, "size")) {
            error_setg(errp, "The image size must be specified only once");
            return false;
        }
        qemu_opt_set_number(opts, "size", args->size, &error_abort);
    }
    if (args->backing_filename &&
        !qemu_opt_set(opts, "backing_file", args->backing_filename, NULL)) {
        error_setg(errp, "Backing file not supported for file format '%s'", args->format);
        return false;
    }
    if (args->backing_format && !qemu_opt_set(opts, "backing_fmt", args->backing_format, NULL)) {
        error_setg(errp, "Backing file format not supported for file format '%s'", args->format);
        return false;
    }
    return true;
}

static char *full_name_beside(const char *backing, const char *filename)
{
    bool has_prefix = backing[strcspn(backing, ":/")] == ':';
    const char *slash = strrchr(filename, '/');
    if (has_prefix || *backing == '/' || !slash) {
        return g_strdup(backing);
    }
    return g_strdup_printf("%.*s%s", (int)(slash + 1 - filename), filename, backing);
}

/* Open the backing file: it must exist, and it says how large the image is if nobody else does. */
static bool coroutine_fn take_backing(QemuOpts *opts, const BdrvImgCreate *args, Error **errp)
{
    const char *backing = qemu_opt_get(opts, "backing_file");
    const char *format = qemu_opt_get(opts, "backing_fmt");
    bool has_size = qemu_opt_is_set(opts, "size");
    if (!backing) {
        return true;
    }
    if (!*backing) {
        error_setg(errp, "Expected backing file name, got empty string");
        return false;
    }
    if (strcmp(backing, args->filename) == 0) {
        error_setg(errp, "Error: Trying to create an image with the same filename as the backing "
                   "file");
        return false;
    }
    if (args->flags & BDRV_O_NO_BACKING) {
        if (!format) {
            error_setg(errp, "Backing file specified without backing format");
        }
        return format != NULL; /* without a size it fails later */
    }
    g_autofree char *full = full_name_beside(backing, args->filename);
    QDict *options = qdict_new();
    if (format) {
        qdict_put_str(options, "driver", format);
    }
    /* Its data is not looked at, so an encrypted one needs no secret. */
    int flags = (args->flags & ~(BDRV_O_RDWR | BDRV_O_SNAPSHOT | BDRV_O_NO_BACKING)) | BDRV_O_NO_IO;
    Error *local_err = NULL;
    g_autoptr(BlockDriverState) bs = bdrv_co_open(full, NULL, options, flags, &local_err);
    if (!bs) {
        error_append_hint(&local_err, "Could not open backing image.\n");
        error_propagate(errp, local_err);
        return false;
    }
    if (!format) {
        error_setg(errp, "Backing file specified without backing format");
        error_append_hint(errp, "Detected format of %s.\n", bdrv_get_format_name(bs));
        return false;
    }
    int64_t bytes = bdrv_co_getlength(bs);
    if (bytes < 0) {
        error_setg_errno(errp, -bytes, "Could not get size of '%s'", full);
        return false;
    }
    if (!has_size) {
        qemu_opt_set_number(opts, "size", bytes, &error_abort);
    }
    return true;
}

static void append_quoted(GString *line, const char *value)
{
    for (const char *p = value; *p; p++) {
        g_string_append_c(line, *p);
        if (*p == ',') {
            g_string_append_c(line, ','); /* as it would be written on a command line */
        }
    }
}

/* "Formatting 'a.img', fmt=raw size=1048576": every option that has a value, as listed. */
static void print_formatting(const char *filename, const char *format, const QemuOpts *opts)
{
    GString *line = g_string_new(NULL);
    g_string_append_printf(line, "Formatting '%s', fmt=%s", filename, format);
    for (const QemuOptDesc *desc = qemu_opts_list(opts)->desc; desc->name; desc++) {
        const char *value = qemu_opt_get(opts, desc->name);
        if (!value) {
            continue;
        }
        g_string_append_printf(line, " %s=", desc->name);
        if (desc->type == QEMU_OPT_SIZE) {
            g_string_append_printf(line, "%" PRIu64, qemu_opt_get_size(opts, desc->name, 0));
        } else if (desc->type == QEMU_OPT_NUMBER) {
            g_string_append_printf(line, "%" PRIu64, qemu_opt_get_number(opts, desc->name, 0));
        } else if (desc->type == QEMU_OPT_BOOL) {
            g_string_append(line, qemu_opt_get_bool(opts, desc->name, false) ? "on" : "off");
        } else {
            append_quoted(line, value);
        }
    }
    printf("%s\n", line->str);
    fflush(stdout);
    g_string_free(line, TRUE);
}

static bool coroutine_fn img_create(const BdrvImgCreate *args, BlockDriver *drv, QemuOptsList *list,
                                    Error **errp)
{
    g_autoptr(QemuOpts) opts = qemu_opts_create(list, NULL, false, errp);
    if (!opts || !set_from_args(opts, args, errp) || !take_backing(opts, args, errp)) {
        return false;
    }
    if (!qemu_opt_is_set(opts, "size")) {
        error_setg(errp, "Image creation needs a size parameter");
        return false;
    }
    if (qemu_opt_get_size(opts, "size", 0) > INT64_MAX) {
        error_setg(errp, "The image size must not be greater than %" PRId64 " bytes", INT64_MAX);
        return false;
    }
    if (!args->quiet) {
        print_formatting(args->filename, args->format, opts);
    }
    return bdrv_co_create_opts(drv, args->filename, opts, errp);
}

bool coroutine_fn bdrv_co_img_create(const BdrvImgCreate *args, Error **errp)
{
    CONTROL_PATH();
    BlockDriver *drv = bdrv_find_format(args->format);
    if (!drv) {
        error_setg(errp, "Unknown file format '%s'", args->format);
        return false;
    }
    BlockDriver *proto = bdrv_find_protocol(args->filename, true, errp);
    if (!proto || !check_drivers(drv, proto, errp)) {
        return false;
    }
    QemuOptsList *list = merged_options(drv, proto);
    bool ok = img_create(args, drv, list, errp);
    qemu_opts_free(list);
    return ok;
}

/* ---- measure, check -------------------------------------------------------------------------- */

BlockMeasureInfo *coroutine_fn bdrv_co_measure(BlockDriver *drv, QemuOpts *opts,
                                               BlockDriverState *in_bs, Error **errp)
{
    if (!drv->bdrv_co_measure) {
        error_setg(errp, "Block driver '%s' does not support size measurement", drv->format_name);
        return NULL;
    }
    return drv->bdrv_co_measure(opts, in_bs, errp);
}

int coroutine_fn bdrv_co_check(BlockDriverState *bs, BdrvCheckResult *res, int fix)
{
    if (!bs->drv) {
        return -ENOMEDIUM;
    }
    if (!bs->drv->bdrv_co_check) {
        return -ENOTSUP;
    }
    return bs->drv->bdrv_co_check(bs, res, fix);
}
