/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img snapshot: list, create, apply and delete snapshots within an image. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "block/graph.h"
#include "block/qapi.h"
#include "block/snapshot.h"
#include "qemu-img.h"

typedef struct SnapshotOptions {
    bool quiet, image_opts, force_share, reproducible;
    const char *format;
    GArray *actions;                     /* of ImgStep: what was asked for, one of these: */
    const char *create, *apply, *delete; /* none: list */
} SnapshotOptions;

static const ImgOption snapshot_options[] = {
    { 'l', "list", IMG_STEP, offsetof(SnapshotOptions, actions), NULL,
      "list the snapshots (default)" },
    { 'c', "create", IMG_STEP, offsetof(SnapshotOptions, actions), "NAME", "make a snapshot" },
    { 'a', "apply", IMG_STEP, offsetof(SnapshotOptions, actions), "SNAPSHOT",
      "make the disk what it was at the snapshot with this id or name" },
    { 'd', "delete", IMG_STEP, offsetof(SnapshotOptions, actions), "NAME", "delete a snapshot" },
    { 0, "reproducible", IMG_FLAG, offsetof(SnapshotOptions, reproducible), NULL,
      "with -c: say that it was made at the beginning of 1970, so that the same steps give the "
      "same bytes" },
    IMG_OPT_QUIET(SnapshotOptions),
    IMG_OPT_FORMAT(SnapshotOptions),
    IMG_OPT_FORCE_SHARE(SnapshotOptions),
    IMG_OPT_IMAGE_OPTS(SnapshotOptions),
    IMG_OPT_OBJECT,
    { 0 },
};

static void print_list(BlockDriverState *bs)
{
    g_autoptr(SnapshotInfoList) list = bdrv_snapshot_list(bs);
    g_autoptr(GString) out = g_string_new("");

    if (!list) {
        return;
    }
    g_string_append(out, "Snapshot list:\n");
    bdrv_snapshot_dump(NULL, out);
    for (SnapshotInfoList *entry = list; entry; entry = entry->next) {
        bdrv_snapshot_dump(entry->value, out);
    }
    fputs(out->str, stdout);
}

/* By name only, as the id of a snapshot is easily the name of another. */
static int coroutine_fn co_delete(BlockDriverState *bs, const char *name)
{
    g_autoptr(SnapshotInfo) info = bdrv_snapshot_find(bs, NULL, name);
    Error *local_err = NULL;

    if (!info) {
        error_report("Could not delete snapshot '%s': snapshot not found", name);
        return 1;
    }
    if (!bdrv_co_snapshot_delete(bs, info->id, &local_err)) {
        error_reportf_err(local_err, "Could not delete snapshot '%s': ", name);
        return 1;
    }
    return 0;
}

static bool coroutine_fn co_create(BlockDriverState *bs, const SnapshotOptions *opts, Error **errp)
{
    SnapshotInfo timeless = {
        .id = (char *)"",
        .name = (char *)opts->create,
        .has_icount = true,
    };

    return opts->reproducible ? bdrv_co_snapshot_create(bs, &timeless, errp)
                              : bdrv_co_snapshot_create_now(bs, opts->create, errp);
}

static int coroutine_fn co_act(const SnapshotOptions *opts, ImgBackend *image)
{
    Error *local_err = NULL;

    BDRV_CONTROL_GUARD();
    BlockDriverState *bs = blk_bs(image);

    if (opts->create) {
        if (!co_create(bs, opts, &local_err)) {
            error_reportf_err(local_err, "Could not create snapshot '%s': ", opts->create);
            return 1;
        }
    } else if (opts->apply) {
        if (!bdrv_co_snapshot_goto(bs, opts->apply, &local_err)) {
            error_reportf_err(local_err, "Could not apply snapshot '%s': ", opts->apply);
            return 1;
        }
    } else if (opts->delete) {
        return co_delete(bs, opts->delete);
    } else {
        print_list(bs);
    }
    return 0;
}

/* What is asked for; false, reported, if that is several things, also of one kind. */
static bool find_action(SnapshotOptions *opts)
{
    if (opts->actions && opts->actions->len > 1) {
        img_usage_error(&img_snapshot, "Cannot mix '-l', '-a', '-c', '-d'");
        return false;
    }
    if (opts->actions) {
        const ImgStep *action = &g_array_index(opts->actions, ImgStep, 0);
        char letter = action->option->letter;

        opts->create = letter == 'c' ? action->arg : NULL;
        opts->apply = letter == 'a' ? action->arg : NULL;
        opts->delete = letter == 'd' ? action->arg : NULL;
    }
    if (opts->reproducible && !opts->create) {
        img_usage_error(&img_snapshot, "--reproducible requires '-c'");
        return false;
    }
    return true;
}

static int coroutine_fn co_run_with(SnapshotOptions *opts, int n_files, const char *filename)
{
    if (!find_action(opts)) {
        return 1;
    }
    if (n_files != 1) {
        return img_usage_error(&img_snapshot, "Expecting one image file name");
    }
    bool changes = opts->create || opts->apply || opts->delete;
    ImgOpen how = {
        .filename = filename,
        .format = opts->format,
        .image_opts = opts->image_opts,
        .force_share = opts->force_share,
        .flags = changes ? BDRV_O_UNMAP | BDRV_O_RDWR : BDRV_O_NO_BACKING | BDRV_O_NO_IO,
    };
    g_autoptr(ImgBackend) image = img_co_open(&how);
    return image ? co_act(opts, image) : 1;
}

static int coroutine_fn co_run_snapshot(int argc, char **argv)
{
    SnapshotOptions opts = { 0 };
    int status;

    if (img_parse(&img_snapshot, &opts, argc, argv, &status)) {
        status = co_run_with(&opts, argc - optind, argv[optind]);
    }
    g_clear_pointer(&opts.actions, g_array_unref);
    return status;
}

const ImgCommand img_snapshot = {
    .name = "snapshot",
    .arguments = "FILE",
    .summary = "List the snapshots within FILE, or make, apply or delete one.",
    .options = snapshot_options,
    .co_run = co_run_snapshot,
};
