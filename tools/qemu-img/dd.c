/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img dd: copy a part of an image into a new one.  The copying itself is copy.c. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "block/graph.h"
#include "copy.h"
#include "create-opts.h"
#include "new-file.h"
#include "qemu-img.h"
#include "qemu/progress.h"
#include "qobject/opts.h"

#define DEFAULT_BLOCK_BYTES 512
#define DD_SPARSE_BYTES 4096

typedef struct DdOptions {
    bool image_opts, force_share;
    const char *format, *target_format;
} DdOptions;

#define OPT(field) offsetof(DdOptions, field)

static const ImgOption dd_options[] = {
    IMG_OPT_FORMAT(DdOptions),
    { 'O', "target-format", IMG_STRING, OPT(target_format), "FMT",
      "format of the new image (default: raw)" },
    { 0, "output-format", IMG_STRING, OPT(target_format), "FMT", NULL },
    IMG_OPT_FORCE_SHARE(DdOptions),
    IMG_OPT_IMAGE_OPTS(DdOptions),
    IMG_OPT_OBJECT,
    { 0 },
};

/* The operands. */
typedef struct DdOperands {
    const char *in, *out;
    int64_t block_bytes;
    int64_t count; /* blocks, -1: all */
    int64_t skip;  /* blocks */
} DdOperands;

static bool parse_operand(const char *arg, DdOperands *ops)
{
    const char *equals = strchr(arg, '=');
    g_autofree char *name = g_strndup(arg, equals ? (size_t)(equals - arg) : strlen(arg));
    const char *value = equals ? equals + 1 : "";

    if (!equals) {
        error_report("unrecognized operand %s", arg);
        return false;
    }
    if (!strcmp(name, "if")) {
        ops->in = value;
    } else if (!strcmp(name, "of")) {
        ops->out = value;
    } else if (!strcmp(name, "bs")) {
        return img_parse_size("bs", value, 1, INT_MAX, &ops->block_bytes);
    } else if (!strcmp(name, "count")) {
        return img_parse_size("count", value, 0, INT64_MAX, &ops->count);
    } else if (!strcmp(name, "skip")) {
        return img_parse_size("skip", value, 0, INT64_MAX, &ops->skip);
    } else {
        error_report("unrecognized operand %s", name);
        return false;
    }
    return true;
}

static bool parse_operands(int argc, char **argv, DdOperands *ops)
{
    for (int i = 0; i < argc; i++) {
        if (!parse_operand(argv[i], ops)) {
            return false;
        }
    }
    if (!ops->in || !ops->out) {
        error_report("Must specify both input and output files");
        return false;
    }
    return true;
}

/*
 * What part of the source is meant.  As scripts know it from QEMU: count is counted from the start
 * of the source, not from where skip ends; and skipping all of it is no failure.
 */
static void find_range(const DdOperands *ops, int64_t source_bytes, ImgCopy *copy)
{
    int64_t end = source_bytes, wanted;

    if (ops->count >= 0 && !__builtin_mul_overflow(ops->count, ops->block_bytes, &wanted)) {
        end = MIN(end, wanted);
    }
    if (__builtin_mul_overflow(ops->skip, ops->block_bytes, &copy->skip) || copy->skip > end) {
        copy->skip = end;
        error_report("%s: cannot skip to specified offset", ops->in);
    }
    copy->limit = end - copy->skip;
}

/* Make the target of @copy, or take a device that is there as it is. */
static bool coroutine_fn co_create(const DdOperands *ops, const char *format, ImgCopy *copy,
                                   ImgNewFile *file)
{
    Error *local_err = NULL;
    BlockDriver *drv = bdrv_find_format(format);
    if (!drv) {
        error_report("Unknown file format");
        return false;
    }
    BlockDriver *proto = bdrv_find_protocol(ops->out, true, &local_err);
    if (!proto) {
        error_report_err(local_err);
        return false;
    }
    if (!bdrv_create_opts(drv)) {
        error_report("Format driver '%s' does not support image creation", bdrv_driver_name(drv));
        return false;
    }
    QemuOptsList *list = img_create_options_list(drv, proto);
    QemuOpts *opts = qemu_opts_create(list, NULL, false, &error_abort);
    copy->target_is_zero = img_create_makes_place(proto, opts) &&
                           !bdrv_driver_new_is_undefined(drv);
    qemu_opt_set_number(opts, "size", copy->limit, &error_abort);

    bdrv_co_control_lock();
    img_new_file_note(file, ops->out, proto);
    bool ok = bdrv_co_create_opts(drv, ops->out, opts, &local_err);
    bdrv_co_control_unlock();
    if (!ok) {
        img_new_file_forget(file);
        error_reportf_err(local_err, "%s: error while creating output image of type '%s': ",
                          ops->out, format);
    }
    qemu_opts_del(opts);
    qemu_opts_free(list);
    return ok;
}

static bool coroutine_fn co_fill(const DdOperands *ops, const char *format, ImgCopy *copy)
{
    ImgOpen how = {
        .filename = ops->out,
        .format = format,
        .flags = BDRV_O_RDWR | BDRV_O_UNMAP,
    };
    g_autoptr(ImgBackend) target = img_co_open(&how);
    if (!target) {
        return false;
    }
    copy->target = target;
    if (copy->limit && img_co_copy(copy) < 0) {
        return false;
    }
    int ret = blk_co_flush(target);
    if (ret < 0) {
        error_report("error while flushing '%s': %s", ops->out, g_strerror(-ret));
    }
    return ret >= 0;
}

static int coroutine_fn co_run_with(const DdOptions *opts, const DdOperands *ops)
{
    const char *format = opts->target_format ? opts->target_format : "raw";
    ImgOpen how = {
        .filename = ops->in,
        .format = opts->format,
        .image_opts = opts->image_opts,
        .force_share = opts->force_share,
        .exclusive = true,
    };
    g_autoptr(ImgBackend) source = img_co_open(&how);
    if (!source) {
        return 1;
    }
    int64_t bytes = blk_co_getlength(source);
    if (bytes < 0) {
        error_report("Failed to get size for '%s': %s", ops->in, g_strerror(-bytes));
        return 1;
    }
    ImgCopy copy = {
        .sources = &source,
        .n_sources = 1,
        .n_workers = IMG_COPY_WORKERS,
        .max_in_flight = IMG_COPY_CACHED_BYTES,
        .sparse_bytes = DD_SPARSE_BYTES,
        .share = true,
        .is_interrupted = img_is_interrupted,
    };
    ImgNewFile file = { 0 };
    find_range(ops, bytes, &copy);
    img_catch_interrupts();
    if (!co_create(ops, format, &copy, &file)) {
        return 1;
    }
    bool ok = co_fill(ops, format, &copy);
    /* A file that was there and could not be opened may be somebody else's by now. */
    bool is_ours = copy.target || !file.existed;
    if (!ok && is_ours) {
        img_new_file_discard(&file);
    }
    img_new_file_forget(&file);
    return ok ? 0 : 1;
}

static int coroutine_fn co_run_dd(int argc, char **argv)
{
    DdOptions opts = { 0 };
    DdOperands ops = { .block_bytes = DEFAULT_BLOCK_BYTES, .count = -1 };
    int status;
    if (!img_parse(&img_dd, &opts, argc, argv, &status)) {
        return status;
    }
    if (!parse_operands(argc - optind, argv + optind, &ops)) {
        return 1;
    }
    return co_run_with(&opts, &ops);
}

const ImgCommand img_dd = {
    .name = "dd",
    .arguments = "[bs=BYTES] [count=BLOCKS] [skip=BLOCKS] if=SOURCE of=TARGET",
    .summary = "Copy SOURCE, from block skip up to block count, into the new image TARGET.",
    .options = dd_options,
    .co_run = co_run_dd,
};
