/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the NBD server exports: names, bitmaps, meta contexts.
 *
 * An exported bitmap is busy: nobody changes or removes it while clients may ask for it.
 */
#include "qemu/osdep.h"

#include "nbd-int.h"

NbdExport *nbd_export_find(const char *name)
{
    for (BlockExport *exp = blk_exp_next(NULL); exp; exp = blk_exp_next(exp)) {
        NbdExport *nbd = (NbdExport *)exp;
        if (exp->drv == &blk_exp_nbd && !exp->shutting_down && strcmp(nbd->name, name) == 0) {
            return nbd;
        }
    }
    return NULL;
}

/* ---- meta contexts --------------------------------------------------------------------------- */

uint32_t nbd_export_n_contexts(const NbdExport *exp)
{
    return NBD_CONTEXT_BITMAPS + exp->bitmaps->len;
}

char *nbd_export_context(const NbdExport *exp, uint32_t id)
{
    if (id == NBD_CONTEXT_ALLOCATION) {
        return g_strdup(NBD_META_ALLOCATION);
    }
    if (id == NBD_CONTEXT_DEPTH) {
        return exp->has_depth ? g_strdup(NBD_META_DEPTH) : NULL;
    }
    if (id - NBD_CONTEXT_BITMAPS < exp->bitmaps->len) {
        BdrvDirtyBitmap *bitmap = g_ptr_array_index(exp->bitmaps, id - NBD_CONTEXT_BITMAPS);

        return g_strconcat(NBD_META_BITMAP, bdrv_dirty_bitmap_name(bitmap), NULL);
    }
    return NULL;
}

/* ---- bitmaps --------------------------------------------------------------------------------- */

/* A name alone is looked for down the backing chain. */
static BdrvDirtyBitmap *find_bitmap(BlockDriverState *bs, const BlockDirtyBitmapOrStr *wanted,
                                    Error **errp)
{
    bool is_local = wanted->type == QTYPE_QSTRING;
    const char *name = is_local ? wanted->u.local : wanted->u.external.name;
    BdrvDirtyBitmap *bitmap = NULL;

    if (!is_local) {
        const char *node = wanted->u.external.node;

        bs = bdrv_lookup_bs(node, node, errp);
        if (!bs) {
            return NULL;
        }
        bitmap = bdrv_find_dirty_bitmap(bs, name);
    }
    for (; is_local && bs && !bitmap; bs = bdrv_filter_or_cow_bs(bs)) {
        bitmap = bdrv_find_dirty_bitmap(bs, name);
    }
    if (!bitmap) {
        error_setg(errp, "Bitmap '%s' is not found", name);
    }
    return bitmap;
}

static bool check_bitmap(const NbdExport *exp, const BdrvDirtyBitmap *bitmap, Error **errp)
{
    const char *name = bdrv_dirty_bitmap_name(bitmap);

    if (!bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_ALLOW_RO, errp)) {
        return false;
    }
    if (!exp->common.writable && bdrv_dirty_bitmap_enabled(bitmap) &&
        !bdrv_is_read_only(bdrv_dirty_bitmap_bs(bitmap))) {
        error_setg(errp, "Enabled bitmap '%s' incompatible with readonly export", name);
        return false;
    }
    for (unsigned i = 0; i < exp->bitmaps->len; i++) {
        if (strcmp(bdrv_dirty_bitmap_name(g_ptr_array_index(exp->bitmaps, i)), name) == 0) {
            error_setg(errp, "Bitmap name '%s' is exported twice", name);
            return false;
        }
    }
    if (strlen(NBD_META_BITMAP) + strlen(name) > NBD_MAX_STRING_SIZE) {
        error_setg(errp, "Bitmap name '%s' is too long for NBD", name);
        return false;
    }
    return true;
}

static void release_bitmap(void *opaque)
{
    BdrvDirtyBitmap *bitmap = opaque;
    BlockDriverState *bs = bdrv_dirty_bitmap_bs(bitmap);

    bdrv_dirty_bitmap_set_busy(bitmap, false);
    bdrv_unref(bs);
}

static bool take_bitmaps(NbdExport *exp, const BlockDirtyBitmapOrStrList *list, Error **errp)
{
    for (; list; list = list->next) {
        BdrvDirtyBitmap *bitmap = find_bitmap(blk_bs(exp->common.blk), list->value, errp);

        if (!bitmap || !check_bitmap(exp, bitmap, errp)) {
            return false;
        }
        g_ptr_array_add(exp->bitmaps, bitmap);
    }
    /* Not before: the same bitmap named twice is told as that. */
    for (unsigned i = 0; i < exp->bitmaps->len; i++) {
        BdrvDirtyBitmap *bitmap = g_ptr_array_index(exp->bitmaps, i);

        bdrv_ref(bdrv_dirty_bitmap_bs(bitmap));
        bdrv_dirty_bitmap_set_busy(bitmap, true);
    }
    g_ptr_array_set_free_func(exp->bitmaps, release_bitmap);
    return true;
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool check_args(const BlockExportOptionsNbd *nbd, const char *name, Error **errp)
{
    if (!nbd_server_is_running()) {
        error_setg(errp, "NBD server not running");
    } else if (strlen(name) > NBD_MAX_STRING_SIZE) {
        error_setg(errp, "export name '%s' too long", name);
    } else if (nbd->description && strlen(nbd->description) > NBD_MAX_STRING_SIZE) {
        error_setg(errp, "description '%s' too long", nbd->description);
    } else if (nbd_export_find(name)) {
        error_setg(errp, "NBD server already has export named '%s'", name);
    } else {
        return true;
    }
    return false;
}

bool coroutine_fn nbd_export_co_create(BlockExport *exp, const BlockExportOptions *args,
                                       Error **errp)
{
    NbdExport *nbd = (NbdExport *)exp;
    const BlockExportOptionsNbd *options = &args->u.nbd;
    const char *name = options->name ? options->name : args->node_name;
    if (!check_args(options, name, errp)) {
        return false;
    }
    int64_t bytes = blk_co_getlength(exp->blk);
    if (bytes < 0) {
        error_setg_errno(errp, -bytes, "Failed to determine the NBD export's length");
        return false;
    }
    nbd->bitmaps = g_ptr_array_new();
    if (!take_bitmaps(nbd, options->bitmaps, errp)) {
        g_ptr_array_unref(nbd->bitmaps);
        return false;
    }
    nbd->has_depth = options->allocation_depth;
    nbd->name = g_strdup(name);
    nbd->description = g_strdup(options->description);
    return true;
}

void nbd_export_destroy(BlockExport *exp)
{
    NbdExport *nbd = (NbdExport *)exp;
    g_ptr_array_unref(nbd->bitmaps);
    g_free(nbd->name);
    g_free(nbd->description);
}
