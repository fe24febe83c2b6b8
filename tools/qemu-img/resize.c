/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img resize: change the size of an image. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "block/graph.h"
#include "qemu-img.h"
#include "qobject/opts.h"

typedef struct ResizeOptions {
    bool quiet, image_opts, shrink;
    const char *format, *preallocation;
} ResizeOptions;

static const ImgOption resize_options[] = {
    IMG_OPT_QUIET(ResizeOptions),
    IMG_OPT_FORMAT(ResizeOptions),
    { 0, "preallocation", IMG_STRING, offsetof(ResizeOptions, preallocation), "MODE",
      "what becomes of new space: off (default), metadata, falloc, full" },
    { 0, "shrink", IMG_FLAG, offsetof(ResizeOptions, shrink), NULL,
      "allow the image to lose what lies beyond its new end" },
    IMG_OPT_IMAGE_OPTS(ResizeOptions),
    IMG_OPT_OBJECT,
    { 0 },
};

/* The new size: absolute, or by how much more or less. */
typedef struct NewSize {
    char sign; /* '+', '-' or 0 */
    uint64_t bytes;
} NewSize;

static bool parse_size(const char *text, NewSize *size)
{
    static const QemuOptDesc desc[] = { { .name = "size", .type = QEMU_OPT_SIZE },
                                         { .name = NULL } };
    QemuOptsList list = { .name = "resize", .desc = desc };
    Error *local_err = NULL;
    QemuOpts *opts = qemu_opts_create(&list, NULL, false, &error_abort);
    size->sign = *text == '+' || *text == '-' ? *text : 0;
    bool ok = qemu_opt_set(opts, "size", text + !!size->sign, &local_err);
    if (ok) {
        size->bytes = qemu_opt_get_size(opts, "size", 0);
    } else {
        error_report_err(local_err);
    }
    qemu_opts_del(opts);
    qemu_opts_reset(&list);
    return ok;
}

/* 0 or less, or too large: -1. */
static int64_t apply_size(const NewSize *size, int64_t old_bytes)
{
    int64_t bytes;
    bool overflow;
    if (size->sign == '+') {
        overflow = __builtin_add_overflow(old_bytes, size->bytes, &bytes);
    } else if (size->sign == '-') {
        overflow = __builtin_sub_overflow(old_bytes, size->bytes, &bytes);
    } else {
        overflow = __builtin_add_overflow(0, size->bytes, &bytes);
    }
    return overflow || bytes <= 0 ? -1 : bytes;
}

static int coroutine_fn co_resize(const ResizeOptions *opts, ImgBackend *image,
                                  const NewSize *size, PreallocMode prealloc)
{
    Error *local_err = NULL;
    int64_t old_bytes = blk_co_getlength(image);
    int64_t bytes = apply_size(size, MAX(old_bytes, 0));
    if (old_bytes < 0) {
        error_report("Could not get the size of the image: %s", g_strerror(-old_bytes));
        return 1;
    }
    if (bytes < 0) {
        error_report("New image size must be positive");
        return 1;
    }
    if (bytes <= old_bytes && prealloc != PREALLOC_MODE_OFF) {
        error_report("Preallocation can only be used for growing images");
        return 1;
    }
    if (bytes < old_bytes && !opts->shrink) {
        error_report("Use the --shrink option to perform a shrink operation.");
        warn_report("Shrinking an image will delete all data beyond the shrunken image's end. "
                    "Before performing such an operation, make sure there is no important data "
                    "there.");
        return 1;
    }
    if (blk_co_truncate(image, bytes, true, prealloc, 0, &local_err) < 0) {
        error_report_err(local_err);
        return 1;
    }
    int ret = blk_co_flush(image);
    if (ret < 0) {
        error_report("Could not flush the image: %s", g_strerror(-ret));
        return 1;
    }
    if (!opts->quiet) {
        puts("Image resized.");
    }
    return 0;
}

static bool coroutine_fn co_get_resize_right(ImgBackend *image, const char *filename)
{
    Error *local_err = NULL;
    uint64_t perm, shared;
    BDRV_CONTROL_GUARD();
    blk_get_perm(image, &perm, &shared);
    if (!blk_co_set_perm(image, perm | BLK_PERM_RESIZE, shared, &local_err)) {
        error_reportf_err(local_err, "Could not open '%s': ", filename);
        return false;
    }
    return true;
}

static int coroutine_fn co_run_with(const ResizeOptions *opts, const char *filename,
                                    const char *size_text)
{
    Error *local_err = NULL;
    NewSize size;
    PreallocMode prealloc = PREALLOC_MODE_OFF;
    ImgOpen how = {
        .filename = filename,
        .format = opts->format,
        .image_opts = opts->image_opts,
        .flags = BDRV_O_RDWR,
    };
    if (opts->preallocation) {
        int mode = qapi_enum_parse(&PreallocMode_lookup, opts->preallocation, -1, &local_err);
        if (mode < 0) {
            error_free(local_err);
            error_report("Invalid preallocation mode '%s'", opts->preallocation);
            return 1;
        }
        prealloc = mode;
    }
    if (!parse_size(size_text, &size)) {
        return 1;
    }
    g_autoptr(ImgBackend) image = img_co_open(&how);
    if (!image || !co_get_resize_right(image, filename)) {
        return 1;
    }
    return co_resize(opts, image, &size, prealloc);
}

static int coroutine_fn co_run_resize(int argc, char **argv)
{
    ResizeOptions opts = { 0 };
    const char *size = NULL;
    int status;
    /* "-1M" at the end is a size, not options. */
    if (argc > 1 && (argv[argc - 1][0] == '-' || argv[argc - 1][0] == '+') &&
        g_ascii_isdigit(argv[argc - 1][1])) {
        size = argv[--argc];
    }
    if (!img_parse(&img_resize, &opts, argc, argv, &status)) {
        return status;
    }
    const char *filename = optind < argc ? argv[optind++] : NULL;
    if (!size && optind < argc) {
        size = argv[optind++];
    }
    if (!filename || !size) {
        return img_usage_error(&img_resize, "Expecting image file name and size");
    }
    if (optind < argc) {
        return img_usage_error(&img_resize, "Unexpected argument: %s", argv[optind]);
    }
    return co_run_with(&opts, filename, size);
}

const ImgCommand img_resize = {
    .name = "resize",
    .arguments = "FILE [+|-]SIZE",
    .summary = "Give FILE the new SIZE, or SIZE more or less than it has.",
    .options = resize_options,
    .co_run = co_run_resize,
};
