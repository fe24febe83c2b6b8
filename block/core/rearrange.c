/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rearranging a graph that is in use: filters in and out, overlays on top, other backing nodes;
 * each in one freeze and one transaction.
 */
#include "qemu/osdep.h"

#include "core-int.h"
#include "options.h"
#include "qobject/opts.h"
#include "resolve.h"

/* Link @upper over @lower by @spec and move @lower's parents to @upper. */
static bool coroutine_fn put_over(const BdrvChildSpec *spec, BlockDriverState *lower, Error **errp)
{
    BlockDriverState *upper = spec->parent;
    BlockDriverState *touched[] = { upper, lower };
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze(touched, 2);
    Transaction *tran = tran_new();
    bool ok = graph_link(tran, spec, lower, errp) &&
              graph_move_parents(tran, lower, upper, errp) &&
              claims_co_refresh(tran, touched, 2, errp);
    if (!graph_finish(tran, ok)) {
        return false;
    }
    bdrv_refresh_limits(upper);
    bdrv_refresh_filename(upper);
    return true;
}

bool coroutine_fn bdrv_co_insert_filter(BlockDriverState *filter, BlockDriverState *bs,
                                        const char *child_name, Error **errp)
{
    CONTROL_PATH();
    BdrvChildSpec spec = {
        .name = child_name,
        .role = BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY,
        .parent = filter,
    };
    /*
     * Whoever passes the filter must find its length: past the end there are zeroes, or errors.
     * Devices of other threads look at it although requests are held up.
     */
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(bs);
    qatomic_set(&filter->total_bytes, MAX(bdrv_getlength(bs), 0));
    if (!put_over(&spec, bs, errp)) {
        return false;
    }
    bdrv_co_refresh_length(filter);
    return true;
}

bool coroutine_fn bdrv_co_remove_filter(BlockDriverState *filter, Error **errp)
{
    CONTROL_PATH();
    BlockDriverState *below = bdrv_filter_bs(filter);
    assert(below);
    g_autoptr(BlockDriverState) filter_ref = bdrv_ref(filter);
    g_autoptr(BlockDriverState) below_ref = bdrv_ref(below);
    BlockDriverState *touched[] = { filter, below };
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze(touched, 2);
    BdrvChild *edge;
    QLIST_FOREACH(edge, &filter->children, next) {
        if (edge->bs == below) {
            break;
        }
    }
    Transaction *tran = tran_new();
    bool ok = graph_may_change(edge, errp);
    if (ok) {
        graph_unlink(tran, edge);
        ok = graph_move_parents(tran, filter, below, errp) &&
             claims_co_refresh(tran, touched, 2, errp);
    }
    if (!graph_finish(tran, ok)) {
        return false;
    }
    bdrv_refresh_limits(below);
    return true;
}

bool coroutine_fn bdrv_co_append(BlockDriverState *overlay, BlockDriverState *bs, Error **errp)
{
    CONTROL_PATH();
    if (overlay->backing) {
        error_setg(errp, "The overlay already has a backing image");
        return false;
    }
    BdrvChildSpec spec = { .name = "backing", .role = BDRV_CHILD_COW, .parent = overlay };
    /*
     * Nobody writes to @bs meanwhile, and nobody will flush it again: a later flush of the overlay
     * does not reach what is only read there.
     */
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(bs);
    int ret = bdrv_co_flush(bs);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not flush node '%s'", bs->node_name);
        return false;
    }
    return put_over(&spec, bs, errp);
}

bool coroutine_fn bdrv_co_set_backing(BlockDriverState *bs, BlockDriverState *backing,
                                      Error **errp)
{
    CONTROL_PATH();
    BlockDriverState *old = bs->backing ? bs->backing->bs : NULL;
    if (old == backing) {
        return true;
    }
    if (bs->backing && !graph_may_change(bs->backing, errp)) {
        return false;
    }
    if (backing && !bs->drv->supports_backing && !bs->drv->filtered_is_backing) {
        error_setg(errp, "Driver '%s' of node '%s' does not support backing files",
                   bs->drv->format_name, bs->node_name);
        return false;
    }
    g_autoptr(BlockDriverState) old_ref = old ? bdrv_ref(old) : NULL;
    BlockDriverState *touched[3] = { bs };
    size_t n = 1;
    if (old) {
        touched[n++] = old;
    }
    if (backing) {
        touched[n++] = backing;
    }
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze(touched, n);
    Transaction *tran = tran_new();
    bool ok = true;
    if (old) {
        graph_unlink(tran, bs->backing);
    }
    if (backing) {
        BdrvChildSpec spec = {
            .name = "backing",
            .role = bs->drv->is_filter ? BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY : BDRV_CHILD_COW,
            .parent = bs,
        };
        ok = graph_link(tran, &spec, backing, errp) != NULL;
    }
    if (!graph_finish(tran, ok && claims_co_refresh(tran, touched, n, errp))) {
        return false;
    }
    bdrv_refresh_limits(bs);
    bdrv_refresh_filename(bs);
    return true;
}

/* ---- snapshot=on ----------------------------------------------------------------------------- */

/* A file that is gone with its last descriptor, and how it can be opened while this one is open. */
typedef struct TemporaryFile {
    int fd;
    char *name;
    bool is_linked; /* name is a path of its own, to be removed */
} TemporaryFile;

static bool temporary_file_open(TemporaryFile *file, Error **errp)
{
    const char *dir = g_getenv("TMPDIR");
    dir = dir && *dir ? dir : "/var/tmp";
    /* Nobody can lie in wait at a name that never is. */
    file->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (file->fd >= 0) {
        file->name = g_strdup_printf("/proc/self/fd/%d", file->fd);
        if (access(file->name, R_OK | W_OK) == 0) {
            return true;
        }
        close(file->fd);
        g_free(file->name);
    }
    file->name = g_strdup_printf("%s/vl.XXXXXX", dir);
    file->fd = g_mkstemp_full(file->name, O_RDWR | O_CLOEXEC, 0600);
    if (file->fd < 0) {
        error_setg_errno(errp, errno, "Could not open temporary file '%s'", file->name);
        g_free(file->name);
        return false;
    }
    file->is_linked = true;
    return true;
}

static void temporary_file_done(TemporaryFile *file)
{
    if (file->is_linked) {
        unlink(file->name);
    }
    close(file->fd);
    g_free(file->name);
}

/* Makes it an empty qcow2 image of @bytes. */
static bool coroutine_fn co_format_temporary(const char *name, int64_t bytes, Error **errp)
{
    BlockDriver *qcow2 = bdrv_find_format("qcow2");
    if (!qcow2) {
        error_setg(errp, "Unknown driver 'qcow2'");
        return false;
    }
    g_autoptr(QemuOpts) opts = qemu_opts_create(bdrv_create_opts(qcow2), NULL, false, errp);
    return opts && qemu_opt_set_number(opts, "size", bytes, errp) &&
           bdrv_co_create_opts(qcow2, name, opts, errp);
}

static BlockDriverState *coroutine_fn open_temporary_image(int64_t bytes, int flags, Error **errp)
{
    Error *local_err = NULL;
    TemporaryFile file = { 0 };
    BlockDriverState *overlay = NULL;
    bool is_open = temporary_file_open(&file, &local_err);
    if (is_open && co_format_temporary(file.name, bytes, &local_err)) {
        QDict *options = qdict_new();
        qdict_put_str(options, "driver", "qcow2");
        qdict_put_str(options, "file.driver", "file");
        qdict_put_str(options, "file.filename", file.name);
        /* What is lost at the end anyway need not be flushed. */
        qdict_put_str(options, "cache.no-flush", "on");
        overlay = bdrv_co_open(NULL, NULL, options, flags | BDRV_O_RDWR | BDRV_O_NO_BACKING,
                               &local_err);
    }
    if (is_open) {
        temporary_file_done(&file);
    }
    if (!overlay) {
        error_propagate_prepend(errp, local_err, "Could not create temporary overlay: ");
    }
    return overlay;
}

BlockDriverState *coroutine_fn open_co_temporary_overlay(const char *filename, QDict *options,
                                                         int flags, Error **errp)
{
    flags &= ~BDRV_O_SNAPSHOT;
    qdict_put_str(options, "read-only", "on");
    qdict_put_str(options, "auto-read-only", "off");
    g_autoptr(BlockDriverState) bs = bdrv_co_open(filename, NULL, options, flags & ~BDRV_O_RDWR,
                                                  errp);
    if (!bs) {
        return NULL;
    }
    int64_t bytes = bdrv_co_getlength(bs);
    if (bytes < 0) {
        error_setg_errno(errp, -bytes, "Could not get image size");
        return NULL;
    }
    g_autoptr(BlockDriverState) overlay = open_temporary_image(bytes, flags, errp);
    if (!overlay || !bdrv_co_append(overlay, bs, errp)) {
        return NULL;
    }
    return g_steal_pointer(&overlay);
}
