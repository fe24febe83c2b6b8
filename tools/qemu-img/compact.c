/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img compact: give back the free space within the file of an image. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "block/graph.h"
#include "qemu-img.h"
#include "qemu/progress.h"

#define STEP_BYTES (64 * MiB)

typedef struct CompactOptions {
    bool quiet, progress, image_opts;
    const char *format;
} CompactOptions;

static const ImgOption compact_options[] = {
    IMG_OPT_QUIET(CompactOptions),
    IMG_OPT_FORMAT(CompactOptions),
    { 'p', "progress", IMG_FLAG, offsetof(CompactOptions, progress), NULL,
      "show how much of the work is done" },
    IMG_OPT_IMAGE_OPTS(CompactOptions),
    IMG_OPT_OBJECT,
    { 0 },
};

static int coroutine_fn co_compact(const CompactOptions *opts, ImgBackend *image)
{
    BlockDriverState *bs = blk_bs(image);
    Error *local_err = NULL;
    int64_t gained = 0, step, left;

    BDRV_CONTROL_GUARD();
    qemu_progress_init(opts->progress && !opts->quiet, 1.0);
    qemu_progress_print(0, 0);
    while ((step = bdrv_co_compact(bs, STEP_BYTES, &left, &local_err)) > 0) {
        gained += step;
        qemu_progress_print(100.0f * gained / (gained + left), 0);
    }
    if (step >= 0) {
        qemu_progress_print(100, 0);
    }
    qemu_progress_end();
    if (step < 0) {
        error_report_err(local_err);
        return 1;
    }
    if (!opts->quiet) {
        printf("Image compacted: the file is %" PRId64 " bytes shorter.\n", gained);
    }
    return 0;
}

static int coroutine_fn co_run_compact(int argc, char **argv)
{
    CompactOptions opts = { 0 };
    int status;

    if (!img_parse(&img_compact, &opts, argc, argv, &status)) {
        return status;
    }
    if (optind != argc - 1) {
        return img_usage_error(&img_compact, "Expecting one image file name");
    }
    ImgOpen how = {
        .filename = argv[optind],
        .format = opts.format,
        .image_opts = opts.image_opts,
        .flags = BDRV_O_RDWR | BDRV_O_NO_BACKING,
    };
    g_autoptr(ImgBackend) image = img_co_open(&how);
    return image ? co_compact(&opts, image) : 1;
}

const ImgCommand img_compact = {
    .name = "compact",
    .arguments = "FILE",
    .summary = "Move data from the end of FILE into its free space and cut the end off.",
    .options = compact_options,
    .co_run = co_run_compact,
};
