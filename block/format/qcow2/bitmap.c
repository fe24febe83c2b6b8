/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stored dirty bitmaps: reading the directory.  They are not loaded, so the first change of the
 * image clears the autoclear bit that says they are valid (qcow2_co_prepare_change()).
 */
#include "qemu/osdep.h"

#include "qcow2.h"

#define ENTRY_FIXED_LEN 24
#define TYPE_DIRTY_TRACKING 1
#define MAX_TABLE_ENTRIES 0x8000000U
#define MAX_NAME 1023

static void bitmap_clear_item(void *item)
{
    g_free(((Qcow2Bitmap *)item)->name);
}

static bool entry_is_sane(const Qcow2Bitmap *bm, const uint8_t *buf, uint32_t cluster_size)
{
    return bm->table_offset && !(bm->table_offset & (cluster_size - 1)) &&
           bm->table_offset < QCOW2_MAX_HOST_OFFSET && bm->table_size &&
           bm->table_size <= MAX_TABLE_ENTRIES &&
           !(bm->flags & ~(QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO)) &&
           buf[16] == TYPE_DIRTY_TRACKING && bm->granularity_bits >= 9 &&
           bm->granularity_bits <= 31 && ldl_be_p(buf + 20) == 0;
}

GArray *qcow2_bitmaps_parse(const uint8_t *dir, size_t len, uint32_t nb, uint32_t cluster_size,
                            Error **errp)
{
    g_autoptr(GArray) bitmaps = g_array_new(FALSE, FALSE, sizeof(Qcow2Bitmap));
    size_t pos = 0;

    g_array_set_clear_func(bitmaps, bitmap_clear_item);
    for (uint32_t i = 0; i < nb; i++) {
        const uint8_t *buf = dir + pos;
        Qcow2Bitmap bm;
        size_t name_len;

        if (len - pos < ENTRY_FIXED_LEN) {
            error_setg(errp, "Bitmap directory is truncated");
            return NULL;
        }
        bm = (Qcow2Bitmap){
            .table_offset = ldq_be_p(buf),
            .table_size = ldl_be_p(buf + 8),
            .flags = ldl_be_p(buf + 12),
            .granularity_bits = buf[17],
        };
        name_len = lduw_be_p(buf + 18);
        if (name_len == 0 || name_len > MAX_NAME || len - pos - ENTRY_FIXED_LEN < name_len ||
            !entry_is_sane(&bm, buf, cluster_size)) {
            error_setg(errp, "Bitmap directory entry %" PRIu32 " is invalid", i);
            return NULL;
        }
        bm.name = g_strndup((const char *)buf + ENTRY_FIXED_LEN, name_len);
        g_array_append_val(bitmaps, bm);
        pos += MIN(QEMU_ALIGN_UP(ENTRY_FIXED_LEN + name_len, 8), len - pos);
    }
    return g_steal_pointer(&bitmaps);
}

GArray *coroutine_fn qcow2_bitmaps_co_read(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;
    g_autofree uint8_t *dir = NULL;
    int ret;

    if (!s->ext.has_bitmaps || !(s->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        return g_array_new(FALSE, FALSE, sizeof(Qcow2Bitmap));
    }
    dir = g_try_malloc(s->ext.bitmap_dir_size);
    if (!dir) {
        error_setg(errp, "Bitmap directory of %" PRIu64 " bytes does not fit in memory",
                   s->ext.bitmap_dir_size);
        return NULL;
    }
    ret = bdrv_co_pread(bs->file, s->ext.bitmap_dir_offset, s->ext.bitmap_dir_size, dir, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to read bitmap directory");
        return NULL;
    }
    return qcow2_bitmaps_parse(dir, s->ext.bitmap_dir_size, s->ext.nb_bitmaps, s->cluster_size,
                               errp);
}
