/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening and closing images for subcommands. */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "qemu-img.h"
#include "qobject/opts.h"

/* "driver=qcow2,file.filename=a" as a dictionary. */
static QDict *parse_image_opts(const char *text, Error **errp)
{
    static const QemuOptDesc any[] = { { .name = NULL } };
    QemuOptsList list = { .name = "source", .implied_opt_name = "file", .desc = any };
    QDict *options = NULL;
    QemuOpts *opts = qemu_opts_parse(&list, text, true, errp);
    if (opts) {
        options = qemu_opts_to_qdict(opts, NULL);
        qemu_opts_del(opts);
    }
    qemu_opts_reset(&list);
    return options;
}

static QDict *make_options(const ImgOpen *how, Error **errp)
{
    QDict *options;
    if (!how->image_opts) {
        options = qdict_new();
        if (how->key_secret) {
            qdict_put_str(options, how->key_option, how->key_secret);
        }
        if (how->format) {
            qdict_put_str(options, "driver", how->format);
        }
        return options;
    }
    if (how->format) {
        error_setg(errp, "--image-opts and --format are mutually exclusive");
        return NULL;
    }
    options = parse_image_opts(how->filename, errp);
    const char *share = options ? qdict_get_try_str(options, "force-share") : NULL;
    if (how->force_share && share && strcmp(share, "on") != 0) {
        error_setg(errp, "--force-share/-U conflicts with image options");
        g_clear_pointer(&options, qdict_unref);
    }
    return options;
}

bool img_parse_cache(ImgOpen *how, const char *what, const char *mode)
{
    if (!bdrv_parse_cache_mode(mode, &how->flags, &how->writethrough)) {
        error_report("Invalid %s option: %s", what, mode);
        return false;
    }
    return true;
}

/* Formats keep others from writing anyway; a raw image does only if its user asks for it. */
static bool coroutine_fn co_keep_writers_out(ImgBackend *image, Error **errp)
{
    uint64_t perm, shared;

    blk_get_perm(image, &perm, &shared);
    shared &= ~(uint64_t)(BLK_PERM_WRITE | BLK_PERM_RESIZE);
    return blk_co_set_perm(image, perm, shared, errp);
}

ImgBackend *coroutine_fn img_co_open(const ImgOpen *how)
{
    Error *local_err = NULL;
    QDict *options = make_options(how, &local_err);
    if (!options) {
        error_report_err(local_err);
        return NULL;
    }
    int flags = how->flags | (how->force_share ? BDRV_O_FORCE_SHARE : 0);
    BDRV_CONTROL_GUARD();
    ImgBackend *image = blk_co_new_open(how->image_opts ? NULL : how->filename, NULL, options,
                                        flags, &local_err);
    if (image && how->exclusive && !how->force_share && !co_keep_writers_out(image, &local_err)) {
        blk_co_unref(g_steal_pointer(&image));
    }
    if (!image) {
        error_reportf_err(local_err, "Could not open '%s': ", how->filename);
        return NULL;
    }
    blk_set_enable_write_cache(image, !how->writethrough);
    return image;
}

void coroutine_fn img_co_close(ImgBackend *image)
{
    if (image) {
        BDRV_CONTROL_GUARD();
        blk_co_unref(image);
    }
}
