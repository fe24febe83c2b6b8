/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img measure: how large an image would be in another format. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "block/graph.h"
#include "block/snapshot.h"
#include "create-opts.h"
#include "qapi/gen/block-info-types.h"
#include "qemu-img.h"
#include "qobject/json-writer.h"
#include "qobject/opts.h"

typedef struct MeasureOptions {
    bool image_opts, force_share;
    const char *format, *target_format, *size, *output, *snapshot;
    char *options;
} MeasureOptions;

static const ImgOption measure_options[] = {
    IMG_OPT_FORMAT(MeasureOptions),
    { 'O', "target-format", IMG_STRING, offsetof(MeasureOptions, target_format), "FMT",
      "format of the image to be made (default: raw)" },
    { 'o', "target-format-options", IMG_LIST, offsetof(MeasureOptions, options), "OPTS",
      "its options: NAME=VALUE,...; 'help' lists them" },
    { 0, "options", IMG_LIST, offsetof(MeasureOptions, options), NULL, NULL },
    { 'l', "snapshot", IMG_STRING, offsetof(MeasureOptions, snapshot), "SNAPSHOT",
      "what FILE held in this internal snapshot: its id or name" },
    { 's', "size", IMG_STRING, offsetof(MeasureOptions, size), "SIZE",
      "size of an empty disk, instead of FILE" },
    IMG_OPT_OUTPUT(MeasureOptions),
    IMG_OPT_FORCE_SHARE(MeasureOptions),
    IMG_OPT_IMAGE_OPTS(MeasureOptions),
    IMG_OPT_OBJECT,
    { 0 },
};

static void print_human(const BlockMeasureInfo *info)
{
    printf("required size: %" PRId64 "\nfully allocated size: %" PRId64 "\n", info->required,
           info->fully_allocated);
    if (info->has_bitmaps) {
        printf("bitmaps size: %" PRId64 "\n", info->bitmaps);
    }
}

static void print_json(const BlockMeasureInfo *info)
{
    JSONWriter *json = json_writer_new(true);
    json_writer_start_object(json, NULL);
    if (info->has_bitmaps) {
        json_writer_int64(json, "bitmaps", info->bitmaps);
    }
    json_writer_int64(json, "required", info->required);
    json_writer_int64(json, "fully-allocated", info->fully_allocated);
    json_writer_end_object(json);
    g_autoptr(GString) text = json_writer_get_and_free(json);
    puts(text->str);
}

static bool coroutine_fn co_load_snapshot(ImgBackend *image, const char *snapshot)
{
    Error *local_err = NULL;
    BDRV_CONTROL_GUARD();
    if (!bdrv_co_snapshot_load_tmp_by_text(blk_bs(image), snapshot, &local_err)) {
        error_reportf_err(local_err, "Failed to load snapshot: ");
        return false;
    }
    return true;
}

/* -o and the size (-1: the source tells it) as options of the image. */
static bool set_options(const MeasureOptions *from, int64_t size, QemuOpts *opts)
{
    Error *local_err = NULL;
    if (from->options && !qemu_opts_do_parse(opts, from->options, NULL, &local_err)) {
        error_report_err(local_err);
        error_report("Invalid options for file format '%s'", from->target_format);
        return false;
    }
    if (size >= 0) {
        qemu_opt_unset(opts, "size");
        qemu_opt_set_number(opts, "size", size, &error_abort);
    }
    return true;
}

static int coroutine_fn co_measure(const MeasureOptions *from, BlockDriver *drv, QemuOptsList *list,
                                   ImgBackend *image, int64_t size, ImgOutput output)
{
    g_autoptr(QemuOpts) opts = qemu_opts_create(list, NULL, false, &error_abort);
    Error *local_err = NULL;
    if (!set_options(from, size, opts)) {
        return 1;
    }
    BDRV_CONTROL_GUARD();
    BlockMeasureInfo *info = bdrv_co_measure(drv, opts, image ? blk_bs(image) : NULL, &local_err);
    if (!info) {
        error_report_err(local_err);
        return 1;
    }
    if (output == IMG_OUTPUT_JSON) {
        print_json(info);
    } else {
        print_human(info);
    }
    qapi_free_BlockMeasureInfo(info);
    return 0;
}

static int coroutine_fn co_open_and_measure(const MeasureOptions *opts, const char *filename,
                                            int64_t size, ImgOutput output)
{
    ImgOpen how = {
        .filename = filename,
        .format = opts->format,
        .image_opts = opts->image_opts,
        .force_share = opts->force_share,
    };
    g_autoptr(ImgBackend) image = filename ? img_co_open(&how) : NULL;
    if (filename && !image) {
        return 1;
    }
    if (opts->snapshot && !co_load_snapshot(image, opts->snapshot)) {
        return 1;
    }
    BlockDriver *drv = bdrv_find_format(opts->target_format);
    if (!drv) {
        error_report("Unknown file format '%s'", opts->target_format);
        return 1;
    }
    if (!bdrv_create_opts(drv)) {
        error_report("Format driver '%s' does not support image creation", opts->target_format);
        return 1;
    }
    BlockDriver *file = bdrv_find_format("file");
    QemuOptsList *list = img_create_options_list(drv, file);
    int status = co_measure(opts, drv, list, image, size, output);
    qemu_opts_free(list);
    return status;
}

static bool usage_is_right(const MeasureOptions *opts, const char *filename)
{
    const char *problem = NULL;
    if (!filename && (opts->image_opts || opts->format || opts->snapshot)) {
        problem = "--image-opts, -f, and -l require a filename argument.";
    } else if (!filename && !opts->size) {
        problem = "Either --size N or one filename must be specified.";
    } else if (filename && opts->size) {
        problem = "--size N cannot be used together with a filename.";
    }
    if (problem) {
        error_report("%s", problem);
    }
    return !problem;
}

static int coroutine_fn co_run_measure(int argc, char **argv)
{
    MeasureOptions opts = { .target_format = "raw" };
    ImgOutput output;
    int64_t size = -1;
    int status;
    bool go_on = img_parse(&img_measure, &opts, argc, argv, &status);
    g_autofree char *owned_options = opts.options;
    if (!go_on) {
        return status;
    }
    if (opts.options && has_help_option(opts.options)) {
        return img_print_create_options(opts.target_format, NULL);
    }
    if (opts.size && !img_parse_size("image size", opts.size, 0, INT64_MAX, &size)) {
        return 1;
    }
    if (!img_parse_output(&img_measure, opts.output, &output)) {
        return 1;
    }
    if (argc - optind > 1) {
        error_report("At most one filename argument is allowed.");
        return 1;
    }
    const char *filename = optind < argc ? argv[optind] : NULL;
    if (!usage_is_right(&opts, filename)) {
        return 1;
    }
    return co_open_and_measure(&opts, filename, size, output);
}

const ImgCommand img_measure = {
    .name = "measure",
    .arguments = "[FILE]",
    .summary = "Tell how large a new image would be that holds what FILE holds, or an empty one.",
    .options = measure_options,
    .co_run = co_run_measure,
};
