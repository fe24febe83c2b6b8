/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stored bitmaps: their directory, loading (bitmap.c), storing and removing (bitmap-store.c).
 */
#ifndef BLOCK_FORMAT_QCOW2_BITMAP_H
#define BLOCK_FORMAT_QCOW2_BITMAP_H

#include "qcow2.h"

/* A stored bitmap, as its directory on disk says. */
typedef struct Qcow2Bitmap {
    char *name;
    uint64_t table_offset;
    uint32_t table_size; /* entries */
    uint32_t flags;      /* atomic: the first change of the image marks it in use */
    uint8_t granularity_bits;
} Qcow2Bitmap;

#define QCOW2_BITMAP_IN_USE 1U
#define QCOW2_BITMAP_AUTO 2U

/** Parse a directory of @len bytes; NULL with @errp set if it is damaged.  Pure. */
GArray *qcow2_bitmaps_parse(const uint8_t *dir, size_t len, uint32_t nb, uint32_t cluster_size,
                            Error **errp);
/** The bytes of a directory; free with g_bytes_unref().  Pure. */
GBytes *qcow2_bitmaps_build(const GArray *bitmaps);
/** An empty directory. */
GArray *qcow2_bitmaps_new(void);
void qcow2_bitmaps_append(GArray *bitmaps, const Qcow2Bitmap *bm);
Qcow2Bitmap *qcow2_bitmaps_find(const GArray *bitmaps, const char *name);
/** Clusters that the table of a bitmap of this disk has entries for. */
uint64_t qcow2_bitmap_table_size(const Qcow2State *s, int64_t disk_bytes,
                                 unsigned granularity_bits);
/** Is @entry of a bitmap's table something that may be there?  Pure. */
bool qcow2_bitmap_entry_is_sane(const Qcow2State *s, uint64_t entry);
/** Read the directory; an empty array if there is none. */
GArray *coroutine_fn qcow2_bitmaps_co_read(BlockDriverState *bs, Error **errp);
/** Make the dirty bitmaps of the node from what is stored.  Context: open. */
bool coroutine_fn qcow2_bitmaps_co_load(BlockDriverState *bs, Error **errp);
/** Instead of those that are loaded.  Context: activation. */
bool coroutine_fn qcow2_bitmaps_co_reload(BlockDriverState *bs, Error **errp);
/** Say in the file that the stored bitmaps are out of date from now on.  Lock held. */
int coroutine_fn qcow2_bitmaps_co_mark_in_use(BlockDriverState *bs);
/** May the disk get a size of @bytes, as far as its bitmaps are concerned? */
bool qcow2_bitmaps_check_resize(BlockDriverState *bs, uint64_t bytes, Error **errp);

/* bitmap-store.c; control path */

/** Store what changed.  Nobody writes to the node meanwhile. */
int coroutine_fn qcow2_bitmaps_co_store(BlockDriverState *bs, Error **errp);
/** The same of all, changed or not, so that their clusters may come to lie elsewhere. */
int coroutine_fn qcow2_bitmaps_co_move(BlockDriverState *bs, Error **errp);
bool coroutine_fn qcow2_co_can_store_new_dirty_bitmap(BlockDriverState *bs, const char *name,
                                                      uint32_t granularity, Error **errp);
int coroutine_fn qcow2_co_remove_persistent_dirty_bitmap(BlockDriverState *bs, const char *name,
                                                         Error **errp);

#endif
