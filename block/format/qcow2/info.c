/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is told about an image. */
#include "qemu/osdep.h"

#include "bitmap.h"
#include "qemu/atomic.h"

int qcow2_get_info(BlockDriverState *bs, BlockDriverInfo *info)
{
    const Qcow2State *s = bs->opaque;

    info->cluster_size = s->cluster_size;
    info->subcluster_size = s->is_extended_l2 ? s->cluster_size / QCOW2_SUBCLUSTERS
                                              : s->cluster_size;
    info->is_dirty = s->header.incompatible & QCOW2_INCOMPAT_DIRTY;
    info->vm_state_offset = qcow2_vm_state_offset(s);
    return 0;
}

static Qcow2BitmapInfoList *bitmap_infos(const GArray *bitmaps)
{
    Qcow2BitmapInfoList *list = NULL, **tail = &list;

    for (guint i = 0; i < bitmaps->len; i++) {
        const Qcow2Bitmap *bm = &g_array_index(bitmaps, Qcow2Bitmap, i);
        Qcow2BitmapInfo *info = g_new0(Qcow2BitmapInfo, 1);
        Qcow2BitmapInfoFlagsList **flags = &info->flags;
        uint32_t bits = qatomic_read(&bm->flags);

        info->name = g_strdup(bm->name);
        info->granularity = UINT32_C(1) << bm->granularity_bits;
        if (bits & QCOW2_BITMAP_IN_USE) {
            QAPI_LIST_APPEND(flags, QCOW2_BITMAP_INFO_FLAGS_IN_USE);
        }
        if (bits & QCOW2_BITMAP_AUTO) {
            QAPI_LIST_APPEND(flags, QCOW2_BITMAP_INFO_FLAGS_AUTO);
        }
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

ImageInfoSpecific *qcow2_get_specific_info(BlockDriverState *bs, Error **errp)
{
    const Qcow2State *s = bs->opaque;
    ImageInfoSpecific *spec = g_new0(ImageInfoSpecific, 1);
    ImageInfoSpecificQCow2 *info = g_new0(ImageInfoSpecificQCow2, 1);

    spec->type = IMAGE_INFO_SPECIFIC_KIND_QCOW2;
    spec->u.qcow2.data = info;
    info->refcount_bits = s->refcount_bits;
    info->compression_type = s->header.compression_type == QCOW2_COMPRESSION_ZSTD
                                 ? QCOW2_COMPRESSION_TYPE_ZSTD : QCOW2_COMPRESSION_TYPE_ZLIB;
    info->encrypt = qcow2_crypt_info(s);
    if (s->header.version < 3) {
        info->compat = g_strdup("0.10");
        return spec;
    }
    info->compat = g_strdup("1.1");
    info->has_lazy_refcounts = true;
    info->lazy_refcounts = s->header.compatible & QCOW2_COMPAT_LAZY_REFCOUNTS;
    info->has_corrupt = true;
    info->corrupt = s->header.incompatible & QCOW2_INCOMPAT_CORRUPT;
    info->has_extended_l2 = true;
    info->extended_l2 = s->is_extended_l2;
    if (s->bitmaps->len && (s->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        info->has_bitmaps = true;
        info->bitmaps = bitmap_infos(s->bitmaps);
    }
    if (s->header.incompatible & QCOW2_INCOMPAT_DATA_FILE) {
        info->data_file = g_strdup(s->ext.data_file);
        info->has_data_file_raw = true;
        info->data_file_raw = s->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW;
    }
    return spec;
}

SnapshotInfoList *qcow2_get_snapshots(BlockDriverState *bs)
{
    const Qcow2State *s = bs->opaque;
    SnapshotInfoList *list = NULL, **tail = &list;

    for (guint i = 0; i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot, i);
        SnapshotInfo *info = g_new0(SnapshotInfo, 1);

        info->id = g_strdup(sn->id);
        info->name = g_strdup(sn->name);
        info->vm_state_size = sn->vm_state_size;
        info->date_sec = sn->date_sec;
        info->date_nsec = sn->date_nsec;
        info->vm_clock_sec = sn->vm_clock_nsec / NANOSECONDS_PER_SECOND;
        info->vm_clock_nsec = sn->vm_clock_nsec % NANOSECONDS_PER_SECOND;
        info->has_icount = sn->icount != UINT64_MAX;
        info->icount = info->has_icount ? sn->icount : 0;
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}
