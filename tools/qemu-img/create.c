/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img create: make a new image. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "block/graph.h"
#include "create-opts.h"
#include "qemu-img.h"
#include "qobject/opts.h"

typedef struct CreateOptions {
    bool quiet, unsafe, reproducible;
    const char *format, *backing, *backing_format;
    char *options;
} CreateOptions;

static const ImgOption create_options[] = {
    IMG_OPT_QUIET(CreateOptions),
    { 'f', "format", IMG_STRING, offsetof(CreateOptions, format), "FMT",
      "format of the new image (default: raw)" },
    { 'o', "options", IMG_LIST, offsetof(CreateOptions, options), "OPTS",
      "options of the format: NAME=VALUE,...; 'help' lists them" },
    { 'b', "backing", IMG_STRING, offsetof(CreateOptions, backing), "BACKING",
      "image that provides what is not written to the new one" },
    { 'F', NULL, IMG_STRING, offsetof(CreateOptions, backing_format), "FMT",
      "format of BACKING" },
    { 'B', "backing-format", IMG_STRING, offsetof(CreateOptions, backing_format), "FMT",
      "another name of -F" },
    { 'u', "backing-unsafe", IMG_FLAG, offsetof(CreateOptions, unsafe), NULL,
      "do not open BACKING, which may be absent" },
    { 0, "reproducible", IMG_FLAG, offsetof(CreateOptions, reproducible), NULL,
      "refuse what would not give the same bytes each time" },
    IMG_OPT_OBJECT,
    { 0 },
};

/* Options that cannot be read are left to those who make the image. */
static bool is_encrypted(const CreateOptions *opts, const char *filename)
{
    const BlockDriver *drv = bdrv_find_format(opts->format);
    if (!drv || !bdrv_create_opts(drv)) {
        return false;
    }
    QemuOptsList *list = img_create_options_list(drv, bdrv_find_protocol(filename, true, NULL));
    QemuOpts *parsed = qemu_opts_create(list, NULL, false, &error_abort);
    bool result = (!opts->options || qemu_opts_do_parse(parsed, opts->options, NULL, NULL)) &&
                  img_create_is_encrypted(opts->format, parsed);
    qemu_opts_del(parsed);
    qemu_opts_free(list);
    return result;
}

static int coroutine_fn co_create(const CreateOptions *opts, const char *filename, const char *size)
{
    Error *local_err = NULL;
    BdrvImgCreate args = {
        .filename = filename,
        .format = opts->format,
        .backing_filename = opts->backing,
        .backing_format = opts->backing_format,
        .options = opts->options,
        .size = -1,
        .flags = opts->unsafe ? BDRV_O_NO_BACKING : 0,
        .quiet = opts->quiet,
    };
    if (size && !img_parse_size("image size", size, 0, INT64_MAX, &args.size)) {
        return 1;
    }
    BDRV_CONTROL_GUARD();
    if (!bdrv_co_img_create(&args, &local_err)) {
        error_reportf_err(local_err, "%s: ", filename);
        return 1;
    }
    return 0;
}

static int coroutine_fn co_run_create(int argc, char **argv)
{
    CreateOptions opts = { 0 };
    int status;
    bool go_on = img_parse(&img_create, &opts, argc, argv, &status);
    g_autofree char *owned_options = opts.options;
    if (!go_on) {
        return status;
    }
    opts.format = opts.format ? opts.format : "raw";
    const char *filename = optind < argc ? argv[optind++] : NULL;
    if (opts.options && has_help_option(opts.options)) {
        return img_print_create_options(opts.format, filename);
    }
    if (!filename) {
        return img_usage_error(&img_create, "Expecting image file name");
    }
    const char *size = optind < argc ? argv[optind++] : NULL;
    if (optind < argc) {
        return img_usage_error(&img_create, "Unexpected argument: %s", argv[optind]);
    }
    if (opts.options && !is_valid_option_list(opts.options)) {
        error_report("Invalid option list: %s", opts.options);
        return 1;
    }
    if (opts.reproducible && is_encrypted(&opts, filename)) {
        error_report(IMG_NOT_REPRODUCIBLE);
        return 1;
    }
    return co_create(&opts, filename, size);
}

const ImgCommand img_create = {
    .name = "create",
    .arguments = "FILE [SIZE]",
    .summary = "Make a new image of SIZE bytes (suffixes k M G T P E), or of BACKING's size.",
    .options = create_options,
    .co_run = co_run_create,
};
