/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img bitmap: change the dirty bitmaps that an image keeps. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "bitmaps.h"
#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "qapi/gen/block-core-commands.h"
#include "qemu-img.h"
#include "qemu/cutils.h"

typedef struct BitmapOptions {
    bool image_opts;
    const char *format, *granularity, *source_file, *source_format;
    GArray *steps; /* of ImgStep */
} BitmapOptions;

#define STEP(name, arg, help) { 0, name, IMG_STEP, offsetof(BitmapOptions, steps), arg, help }

static const ImgOption bitmap_options[] = {
    STEP("add", NULL, "make the bitmap BITMAP, recording"),
    STEP("remove", NULL, "remove it"),
    STEP("remove-all", NULL, "remove all bitmaps of FILE (without BITMAP)"),
    STEP("clear", NULL, "make it all clean"),
    STEP("enable", NULL, "record writes in it from now on"),
    STEP("disable", NULL, "leave it as it is from now on"),
    STEP("merge", "SOURCE", "add what is dirty in the bitmap SOURCE"),
    { 'g', "granularity", IMG_STRING, offsetof(BitmapOptions, granularity), "SIZE",
      "with --add: bytes for which one bit stands" },
    { 'b', "source-file", IMG_STRING, offsetof(BitmapOptions, source_file), "FILE",
      "with --merge: SOURCE is in this image" },
    { 'F', "source-format", IMG_STRING, offsetof(BitmapOptions, source_format), "FMT",
      "format of the image of SOURCE" },
    IMG_OPT_FORMAT(BitmapOptions),
    IMG_OPT_IMAGE_OPTS(BitmapOptions),
    IMG_OPT_OBJECT,
    { 0 },
};

/* ---- options --------------------------------------------------------------------------------- */

static bool has_step(const BitmapOptions *opts, const char *name)
{
    for (guint i = 0; opts->steps && i < opts->steps->len; i++) {
        if (strcmp(g_array_index(opts->steps, ImgStep, i).option->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether all steps are about the image as a whole, so that no bitmap is named. */
static bool names_no_bitmap(const BitmapOptions *opts)
{
    for (guint i = 0; i < opts->steps->len; i++) {
        if (strcmp(g_array_index(opts->steps, ImgStep, i).option->name, "remove-all") != 0) {
            return false;
        }
    }
    return true;
}

static bool check_combinations(const BitmapOptions *opts)
{
    const char *problem = NULL;

    if (!opts->steps) {
        problem = "Need at least one of --add, --remove, --clear, --enable, --disable, or --merge";
    } else if (opts->granularity && !has_step(opts, "add")) {
        problem = "granularity only supported with --add";
    } else if (opts->source_format && !opts->source_file) {
        problem = "-F only supported with -b";
    } else if (opts->source_file && !has_step(opts, "merge")) {
        problem = "Merge bitmap source file only supported with --merge";
    }
    if (problem) {
        error_report("%s", problem);
    }
    return !problem;
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* What a step works on. */
typedef struct Target {
    const BitmapOptions *opts;
    const char *node, *name, *source_node;
    int64_t granularity; /* 0: the default */
    bool is_new;         /* the bitmap was added by a step */
} Target;

static void coroutine_fn co_add(const Target *t, Error **errp)
{
    BlockDirtyBitmapAdd args = {
        .node = (char *)t->node,
        .name = (char *)t->name,
        .has_granularity = t->opts->granularity != NULL,
        .granularity = t->granularity,
        .has_persistent = true,
        .persistent = true,
    };

    qmp_block_dirty_bitmap_add(&args, errp);
}

static void coroutine_fn co_merge(const Target *t, const char *source, Error **errp)
{
    BlockDirtyBitmapOrStr value = {
        .type = QTYPE_QDICT,
        .u.external = { .node = (char *)t->source_node, .name = (char *)source },
    };
    BlockDirtyBitmapOrStrList list = { .value = &value };
    BlockDirtyBitmapMerge args = {
        .node = (char *)t->node,
        .target = (char *)t->name,
        .bitmaps = &list,
    };

    qmp_block_dirty_bitmap_merge(&args, errp);
}

static void coroutine_fn co_remove_all(BlockDriverState *bs, Error **errp)
{
    Error *local_err = NULL;
    BdrvDirtyBitmap *bitmap = NULL, *next = bdrv_dirty_bitmap_next(bs, NULL);

    while ((bitmap = next) && !local_err) {
        BlockDirtyBitmap args = {
            .node = (char *)bdrv_get_node_name(bs),
            .name = (char *)bdrv_dirty_bitmap_name(bitmap),
        };

        next = bdrv_dirty_bitmap_next(bs, bitmap);
        if (args.name) {
            qmp_block_dirty_bitmap_remove(&args, &local_err);
        }
    }
    error_propagate(errp, local_err);
}

static void coroutine_fn co_step(BlockDriverState *bs, const Target *t, const ImgStep *step,
                                 Error **errp)
{
    static const struct {
        const char *name;
        void coroutine_fn (*co_run)(BlockDirtyBitmap *arg, Error **errp);
    } plain[] = {
        { "remove", qmp_block_dirty_bitmap_remove },
        { "clear", qmp_block_dirty_bitmap_clear },
        { "enable", qmp_block_dirty_bitmap_enable },
        { "disable", qmp_block_dirty_bitmap_disable },
    };
    BlockDirtyBitmap args = { .node = (char *)t->node, .name = (char *)t->name };
    const char *verb = step->option->name;

    if (strcmp(verb, "add") == 0) {
        co_add(t, errp);
    } else if (strcmp(verb, "merge") == 0) {
        co_merge(t, step->arg, errp);
    } else if (strcmp(verb, "remove-all") == 0) {
        co_remove_all(bs, errp);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(plain); i++) {
        if (strcmp(verb, plain[i].name) == 0) {
            plain[i].co_run(&args, errp);
        }
    }
}

static bool coroutine_fn co_run_steps(BlockDriverState *bs, Target *t)
{
    BDRV_CONTROL_GUARD();
    for (guint i = 0; i < t->opts->steps->len; i++) {
        const ImgStep *step = &g_array_index(t->opts->steps, ImgStep, i);
        Error *local_err = NULL;

        co_step(bs, t, step, &local_err);
        if (local_err && t->name) {
            error_reportf_err(local_err, "Operation %s on bitmap %s failed: ", step->option->name,
                              t->name);
        } else if (local_err) {
            error_reportf_err(local_err, "Operation %s failed: ", step->option->name);
        }
        if (local_err) {
            return false;
        }
        t->is_new |= strcmp(step->option->name, "add") == 0;
    }
    return true;
}

/* There was no room for all: without the new one the others are stored when the image is closed. */
static void coroutine_fn co_give_up_new(BlockDriverState *bs, const Target *t)
{
    BdrvDirtyBitmap *bitmap;

    BDRV_CONTROL_GUARD();
    bitmap = t->is_new ? bdrv_find_dirty_bitmap(bs, t->name) : NULL;
    if (bitmap) {
        bdrv_release_dirty_bitmap(bitmap);
    }
}

/* ---- running --------------------------------------------------------------------------------- */

static int coroutine_fn co_run_with(const BitmapOptions *opts, const char *filename,
                                    const char *name)
{
    Target t = { .opts = opts, .name = name };
    ImgOpen how = {
        .filename = filename,
        .format = opts->format,
        .image_opts = opts->image_opts,
        .flags = BDRV_O_RDWR | BDRV_O_NO_BACKING, /* bitmaps are the image's own */
    };
    ImgOpen source_how = {
        .filename = opts->source_file,
        .format = opts->source_format,
        .flags = BDRV_O_NO_BACKING,
    };
    g_autoptr(ImgBackend) source = NULL;
    bool ok;

    if (opts->granularity &&
        !img_parse_size("granularity", opts->granularity, 1, UINT32_MAX, &t.granularity)) {
        return 1;
    }
    g_autoptr(ImgBackend) image = img_co_open(&how);
    if (!image) {
        return 1;
    }
    if (opts->source_file) {
        source = img_co_open(&source_how);
        if (!source) {
            return 1;
        }
    }
    t.node = bdrv_get_node_name(blk_bs(image));
    t.source_node = source ? bdrv_get_node_name(blk_bs(source)) : t.node;
    ok = co_run_steps(blk_bs(image), &t);
    /* What was done before a step failed is kept. */
    if (!img_co_store_bitmaps(image, filename)) {
        co_give_up_new(blk_bs(image), &t);
        ok = false;
    }
    return ok ? 0 : 1;
}

static int coroutine_fn co_run_bitmap(int argc, char **argv)
{
    BitmapOptions opts = { 0 };
    int status = 1, n_names;

    if (img_parse(&img_bitmap, &opts, argc, argv, &status)) {
        status = 1;
        if (check_combinations(&opts)) {
            n_names = names_no_bitmap(&opts) ? 1 : 2;
            if (argc - optind == n_names) {
                status = co_run_with(&opts, argv[optind], n_names == 2 ? argv[optind + 1] : NULL);
            } else {
                error_report(n_names == 2 ? "Expecting filename and bitmap name"
                                          : "Expecting one image file name");
            }
        }
    }
    if (opts.steps) {
        g_array_unref(opts.steps);
    }
    return status;
}

const ImgCommand img_bitmap = {
    .name = "bitmap",
    .arguments = "FILE BITMAP",
    .summary = "Change the dirty bitmap BITMAP that the image FILE keeps; in the order given.",
    .options = bitmap_options,
    .co_run = co_run_bitmap,
};
