/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * External data files: the guest's clusters are in a file of their own, each at its guest offset,
 * and have no refcounts.  With data-file-raw that file is at all times a raw image of the disk:
 * every cluster has its place, and zeroes are written there, too.
 */
#include "qemu/osdep.h"

#include "qcow2.h"
#include "qemu/atomic.h"

/* Of whatever driver: a file or a device. */
static void set_filename(BlockdevOptions *options, char *filename)
{
    switch (options->driver) {
    case BLOCKDEV_DRIVER_HOST_DEVICE:
        options->u.host_device.filename = filename;
        break;
    case BLOCKDEV_DRIVER_HOST_CDROM:
        options->u.host_cdrom.filename = filename;
        break;
    default:
        options->driver = BLOCKDEV_DRIVER_FILE;
        options->u.file.filename = filename;
    }
}

/*
 * The name in the image is that of a file or of a device, whatever it looks like; options of the
 * user's win.
 */
static BdrvChild *coroutine_fn co_open_by_name(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;
    BlockdevRef ref = { .type = QTYPE_QDICT };
    BlockDriver *drv;

    if (!s->ext.data_file || !*s->ext.data_file) {
        error_setg(errp, "'data-file' is required for this image");
        return NULL;
    }
    drv = bdrv_find_protocol(s->ext.data_file, false, errp);
    if (!drv) {
        return NULL;
    }
    ref.u.definition.driver = qapi_enum_parse(&BlockdevDriver_lookup, bdrv_driver_name(drv),
                                              BLOCKDEV_DRIVER_FILE, NULL);
    set_filename(&ref.u.definition, s->ext.data_file);
    return bdrv_co_open_child(bs, "data-file", BDRV_CHILD_DATA, &ref, false, errp);
}

bool coroutine_fn qcow2_data_file_co_open(BlockDriverState *bs, const BlockdevRef *ref,
                                          const Qcow2State *old, int flags, Error **errp)
{
    Qcow2State *s = bs->opaque;
    int64_t len;

    if (old && (old->has_data_file != s->has_data_file ||
                (!ref && g_strcmp0(old->ext.data_file, s->ext.data_file) != 0))) {
        error_setg(errp, "The external data file is not the one that the image had before");
        return false;
    }

    /* The image's own word for it is not followed by who only looks at metadata. */
    bool looks_only = (flags & BDRV_O_NO_IO) ||
                      ((flags & BDRV_O_CHECK) && !(flags & BDRV_O_RDWR));

    if (!s->has_data_file || (!ref && looks_only)) {
        return true;
    }
    /* No guest data there any more. */
    bs->file->role &= ~BDRV_CHILD_DATA;
    if (old && old->data_file) {
        s->data_file = old->data_file;
    } else {
        s->data_file = ref ? bdrv_co_open_child(bs, "data-file", BDRV_CHILD_DATA, ref, false, errp)
                           : co_open_by_name(bs, errp);
    }
    if (!s->data_file) {
        return false;
    }
    s->no_snapshots = bdrv_claim(bs, bdrv_owner_driver(bs), 0,
                                 BLK_RIGHT_OP(BLOCK_OP_TYPE_INTERNAL_SNAPSHOT) |
                                 BLK_RIGHT_OP(BLOCK_OP_TYPE_INTERNAL_SNAPSHOT_DELETE),
                                 "internal snapshots do not include an external data file", errp);
    if (!s->no_snapshots) {
        return false;
    }
    len = bdrv_co_getlength(s->data_file->bs);
    if (len < 0) {
        error_setg_errno(errp, -len, "Could not get the length of the data file");
        return false;
    }
    s->data_fresh_from = len;
    return true;
}

/* Nothing of the data file past the end of the disk is touched. */
static int64_t within_disk(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return MIN(bytes, MAX(qatomic_read(&bs->total_bytes) - offset, 0));
}

int coroutine_fn qcow2_data_file_co_zero(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                         unsigned flags)
{
    Qcow2State *s = bs->opaque;

    if (!qcow2_data_is_raw(s)) {
        return 0;
    }
    return bdrv_co_pwrite_zeroes(s->data_file, offset, within_disk(bs, offset, bytes),
                                 flags & BDRV_REQ_MAY_UNMAP);
}

/* Is a place given up that the table on disk may still name?  wb_lock and lock held. */
static bool is_named_on_disk(const Qcow2State *s, uint64_t first, uint64_t n)
{
    for (guint i = 0; i < s->pending_frees->len; i++) {
        const Qcow2Free *item = &g_array_index(s->pending_frees, Qcow2Free, i);

        if (item->type == QCOW2_DISCARD_DATA_FILE && item->cluster < first + n &&
            first < item->cluster + item->n) {
            return true; /* given up again since: that item will do it */
        }
    }
    return false;
}

/* Qcow2UnneededFunc for clusters that have no place, neither in memory nor on disk. */
static int64_t coroutine_fn co_unused_bytes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                            uint64_t *host)
{
    Qcow2State *s = bs->opaque;
    Qcow2Mapping map;
    int64_t done = 0;

    while (done < bytes && qcow2_co_map(bs, offset + done, bytes - done, &map) >= 0 &&
           (map.kind == QCOW2_UNALLOCATED || map.kind == QCOW2_ZERO_PLAIN)) {
        done += map.bytes;
    }
    while (done >= s->cluster_size &&
           is_named_on_disk(s, offset >> s->cluster_bits, done >> s->cluster_bits)) {
        done -= s->cluster_size;
    }
    *host = offset;
    return qcow2_cluster_start(s, done);
}

/* The guest may have written to some again, and there is only one place for a cluster. */
void coroutine_fn qcow2_data_file_co_discard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    Qcow2State *s = bs->opaque;
    Qcow2Free item = { .cluster = offset >> s->cluster_bits, .n = bytes >> s->cluster_bits,
                       .type = QCOW2_DISCARD_DATA_FILE };

    qcow2_co_discard_unneeded(bs, &item, co_unused_bytes);
}

int coroutine_fn qcow2_data_file_co_resize(BlockDriverState *bs, int64_t size, bool exact,
                                           PreallocMode prealloc, Error **errp)
{
    Qcow2State *s = bs->opaque;
    bool is_raw = qcow2_data_is_raw(s);
    int64_t there = s->has_data_file ? bdrv_getlength(s->data_file->bs) : 0;

    if (!s->has_data_file || (!is_raw && size < there)) {
        return 0;
    }
    /* A file that is long enough, such as a device, has its space. */
    if (prealloc == PREALLOC_MODE_METADATA || size <= there) {
        prealloc = PREALLOC_MODE_OFF;
    }
    return bdrv_co_truncate(s->data_file, size, exact && is_raw, prealloc, 0, errp);
}
