/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img amend: change properties of an image. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "block/graph.h"
#include "qemu-img.h"
#include "qemu/cutils.h"
#include "qemu/progress.h"
#include "qobject/opts.h"

typedef struct AmendOptions {
    bool quiet, image_opts, progress, force;
    const char *format, *cache;
    char *options;
} AmendOptions;

static const ImgOption amend_options[] = {
    { 'o', "options", IMG_LIST, offsetof(AmendOptions, options), "OPTS",
      "what to change: NAME=VALUE,...; 'help' lists the names" },
    { 0, "force", IMG_FLAG, offsetof(AmendOptions, force), NULL,
      "also where something is lost, such as bitmaps" },
    IMG_OPT_PROGRESS(AmendOptions),
    IMG_OPT_CACHE(AmendOptions),
    IMG_OPT_QUIET(AmendOptions),
    IMG_OPT_FORMAT(AmendOptions),
    IMG_OPT_IMAGE_OPTS(AmendOptions),
    IMG_OPT_OBJECT,
    { 0 },
};

/* ---- options --------------------------------------------------------------------------------- */

static bool check_driver(const BlockDriver *drv, const char *format)
{
    if (!bdrv_amend_opts(drv)) {
        error_report("Format driver '%s' does not support option amendment", format);
        return false;
    }
    return true;
}

static int print_options(const char *format)
{
    BlockDriver *drv = bdrv_find_format(format);
    g_autoptr(GString) text = g_string_new(NULL);

    if (!drv) {
        error_report("Unknown file format '%s'", format);
        return 1;
    }
    if (!check_driver(drv, format)) {
        return 1;
    }
    qemu_opts_print_help(bdrv_amend_opts(drv), NULL, text);
    /* With a heading of our own. */
    printf("Amend options for '%s':\n%s", format, strchr(text->str, '\n') + 1);
    return 0;
}

/* Would @options do for a new image? */
static bool are_create_options(const BlockDriver *drv, const char *options)
{
    g_autoptr(QemuOpts) opts = NULL;
    Error *local_err = NULL;
    bool ok;

    if (!bdrv_create_opts(drv)) {
        return false;
    }
    opts = qemu_opts_create(bdrv_create_opts(drv), NULL, false, &error_abort);
    ok = qemu_opts_do_parse(opts, options, NULL, &local_err);
    error_free(local_err);
    return ok;
}

static QemuOpts *parse_options(const BlockDriver *drv, const char *options)
{
    g_autoptr(QemuOpts) opts = qemu_opts_create(bdrv_amend_opts(drv), NULL, false, &error_abort);
    Error *local_err = NULL;

    if (!qemu_opts_do_parse(opts, options, NULL, &local_err)) {
        if (are_create_options(drv, options)) {
            error_append_hint(&local_err, "This option is only supported for image creation\n");
        }
        error_report_err(local_err);
        return NULL;
    }
    return g_steal_pointer(&opts);
}

/* ---- running --------------------------------------------------------------------------------- */

/* Steps begin anew at nothing; what is printed only rises. */
static void show_progress(void *opaque, uint64_t done, uint64_t total)
{
    double *shown = opaque, share = 100.0 * done / total;

    if (share > *shown) {
        qemu_progress_print(share - *shown, 0);
        *shown = share;
    }
}

static bool coroutine_fn co_amend(const AmendOptions *opts, ImgBackend *image, QemuOpts *what)
{
    Error *local_err = NULL;
    double shown = 0;
    BdrvAmendProgress progress = { show_progress, &shown };
    BDRV_CONTROL_GUARD();

    if (!bdrv_co_amend_options(blk_bs(image), what, opts->force, &progress, &local_err)) {
        error_report_err(local_err);
        return false;
    }
    return true;
}

static int coroutine_fn co_run_with(const AmendOptions *opts, const char *filename)
{
    ImgOpen how = {
        .filename = filename,
        .format = opts->format,
        .image_opts = opts->image_opts,
        .flags = BDRV_O_RDWR,
    };
    g_autoptr(QemuOpts) what = NULL;
    bool ok;
    int ret;

    if (!img_parse_cache(&how, "cache", opts->cache ? opts->cache : "writeback")) {
        return 1;
    }
    g_autoptr(ImgBackend) image = img_co_open(&how);
    if (!image) {
        return 1;
    }
    const char *format = bdrv_get_format_name(blk_bs(image));
    BlockDriver *drv = bdrv_find_format(format);
    if (!check_driver(drv, format)) {
        return 1;
    }
    if (has_help_option(opts->options)) {
        return print_options(format);
    }
    what = parse_options(drv, opts->options);
    if (!what) {
        return 1;
    }
    qemu_progress_init(opts->progress && !opts->quiet, 1.0);
    qemu_progress_print(0, 100);
    ok = co_amend(opts, image, what);
    ret = blk_co_flush(image);
    if (ok && ret < 0) {
        error_report("Could not flush the image: %s", g_strerror(-ret));
        ok = false;
    }
    if (ok) {
        qemu_progress_print(100, 0);
    }
    qemu_progress_end();
    return ok ? 0 : 1;
}

static int coroutine_fn co_run_amend(int argc, char **argv)
{
    AmendOptions opts = { 0 };
    int status;
    bool go_on = img_parse(&img_amend, &opts, argc, argv, &status);
    g_autofree char *owned_options = opts.options;

    if (!go_on) {
        return status;
    }
    if (!opts.options) {
        return img_usage_error(&img_amend, "Must specify options (-o)");
    }
    if (!is_valid_option_list(opts.options)) {
        error_report("Invalid option list: %s", opts.options);
        return 1;
    }
    if (opts.format && has_help_option(opts.options)) {
        return print_options(opts.format);
    }
    if (argc - optind != 1) {
        error_report("Expecting one image file name");
        return 1;
    }
    return co_run_with(&opts, argv[optind]);
}

const ImgCommand img_amend = {
    .name = "amend",
    .arguments = "FILE",
    .summary = "Change properties of the image FILE; which, depends on its format.",
    .options = amend_options,
    .co_run = co_run_amend,
};
