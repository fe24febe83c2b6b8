/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps of a node: which granules were written since it was last asked.
 *
 * States: enabled (records writes) or disabled; busy (an operation uses it; users must not);
 * read-only; inconsistent (persistent bitmap that was not stored); with a successor (a frozen
 * bitmap whose writes go to a child until they are merged or replace it).
 * Lists and names: main thread.  Setting bits: any thread (each node's bitmaps have a lock).
 */
#ifndef BLOCK_DIRTY_BITMAP_H
#define BLOCK_DIRTY_BITMAP_H

#include "block/block.h"
#include "qapi/gen/block-info-types.h"
#include "qemu/hbitmap.h"

typedef struct BdrvDirtyBitmap BdrvDirtyBitmap;

#define BDRV_BITMAP_NAME_MAX 1023

/* What must not be true of a bitmap for a use of it. */
typedef enum BdrvBitmapChecks {
    BDRV_BITMAP_BUSY = 1,
    BDRV_BITMAP_RO = 2,
    BDRV_BITMAP_INCONSISTENT = 4,
    BDRV_BITMAP_DEFAULT = 7,
    BDRV_BITMAP_ALLOW_RO = 5,
} BdrvBitmapChecks;

/** @granularity: bytes, power of two >= 512.  @name NULL: internal.  Enabled. */
BdrvDirtyBitmap *bdrv_create_dirty_bitmap(BlockDriverState *bs, uint32_t granularity,
                                          const char *name, Error **errp);
/**
 * A bitmap that is stored in the image but misses writes: it has no bits, and is good for nothing
 * but being listed and removed.
 */
BdrvDirtyBitmap *bdrv_add_inconsistent_dirty_bitmap(BlockDriverState *bs, uint32_t granularity,
                                                    const char *name, Error **errp);
/** Forget @bitmap (not busy); or all of @bs that have names. */
void bdrv_release_dirty_bitmap(BdrvDirtyBitmap *bitmap);
void bdrv_release_named_dirty_bitmaps(BlockDriverState *bs);
/** Can the format of @bs keep bitmaps at all? */
bool bdrv_supports_persistent_dirty_bitmap(BlockDriverState *bs);
/** Could the image of @bs keep a bitmap called @name?  Sets @errp if not. */
bool coroutine_fn bdrv_co_can_store_new_dirty_bitmap(BlockDriverState *bs, const char *name,
                                                     uint32_t granularity, Error **errp);
/** Remove the copy of @name from the image; nothing if there is none.  0 or negative errno. */
int coroutine_fn bdrv_co_remove_persistent_dirty_bitmap(BlockDriverState *bs, const char *name,
                                                        Error **errp);
/**
 * To be called before bits or state of a bitmap that persists are changed by other means than a
 * write to the node: the image says first that its copy is out of date.  Else a crash would leave
 * the old copy, which looks good.
 */
bool coroutine_fn bdrv_co_dirty_bitmap_before_change(BdrvDirtyBitmap *bitmap, Error **errp);
/** The bitmap of @bs called @name, or NULL. */
BdrvDirtyBitmap *bdrv_find_dirty_bitmap(BlockDriverState *bs, const char *name);
/** The next bitmap of @bs, internal ones included; NULL starts, NULL ends. */
BdrvDirtyBitmap *bdrv_dirty_bitmap_next(BlockDriverState *bs, BdrvDirtyBitmap *bitmap);
/** Say whether @bitmap may be used: none of @flags (BdrvBitmapChecks) is true of it. */
bool bdrv_dirty_bitmap_check(const BdrvDirtyBitmap *bitmap, unsigned flags, Error **errp);

/** Change a property.  Storing what persists is the format driver's business. */
void bdrv_enable_dirty_bitmap(BdrvDirtyBitmap *bitmap);
/** Record no more writes; not while there is a successor. */
void bdrv_disable_dirty_bitmap(BdrvDirtyBitmap *bitmap);
/** Whether an operation has it: nobody else may use it then. */
void bdrv_dirty_bitmap_set_busy(BdrvDirtyBitmap *bitmap, bool busy);
/** Whether it may be changed: not in an image that is opened read-only. */
void bdrv_dirty_bitmap_set_readonly(BdrvDirtyBitmap *bitmap, bool value);
/** Whether it is to be stored in the image. */
void bdrv_dirty_bitmap_set_persistence(BdrvDirtyBitmap *bitmap, bool persistent);
/** It has missed writes: it is disabled for good. */
void bdrv_dirty_bitmap_set_inconsistent(BdrvDirtyBitmap *bitmap);
/** Whether it is left out when bitmaps are stored though it persists. */
void bdrv_dirty_bitmap_skip_store(BdrvDirtyBitmap *bitmap, bool skip);

/**
 * Freeze with a successor (backup), then merge back (reclaim) or let it take the place
 * (abdicate).
 */
bool bdrv_dirty_bitmap_create_successor(BdrvDirtyBitmap *bitmap, Error **errp);
/**
 * The successor takes name and properties of @bitmap, which is freed; NULL with @errp set if there
 * is none.
 */
BdrvDirtyBitmap *bdrv_dirty_bitmap_abdicate(BdrvDirtyBitmap *bitmap, Error **errp);
/** The successor is merged into @bitmap, which is returned, and freed.  As above. */
BdrvDirtyBitmap *bdrv_reclaim_dirty_bitmap(BdrvDirtyBitmap *bitmap, Error **errp);

/**
 * Ask for a property.  Strings: the bitmap's; NULL: an internal one's name.  Granularity and size
 * (that of the node): bytes.  Busy: has an operation, or a successor.  Persistent: will be stored.
 */
const char *bdrv_dirty_bitmap_name(const BdrvDirtyBitmap *bitmap);
BlockDriverState *bdrv_dirty_bitmap_bs(const BdrvDirtyBitmap *bitmap);
uint32_t bdrv_dirty_bitmap_granularity(const BdrvDirtyBitmap *bitmap);
int64_t bdrv_dirty_bitmap_size(const BdrvDirtyBitmap *bitmap);
bool bdrv_dirty_bitmap_enabled(const BdrvDirtyBitmap *bitmap);
bool bdrv_dirty_bitmap_busy(const BdrvDirtyBitmap *bitmap);
bool bdrv_dirty_bitmap_has_successor(const BdrvDirtyBitmap *bitmap);
bool bdrv_dirty_bitmap_readonly(const BdrvDirtyBitmap *bitmap);
bool bdrv_dirty_bitmap_persistent(const BdrvDirtyBitmap *bitmap);
bool bdrv_dirty_bitmap_inconsistent(const BdrvDirtyBitmap *bitmap);
/** Bytes that are copied at once if one of them is dirty, unless the user says so. */
uint32_t bdrv_get_default_bitmap_granularity(BlockDriverState *bs);
/** What query-block tells of the bitmaps of @bs; caller frees. */
BlockDirtyInfoList *bdrv_query_dirty_bitmaps(BlockDriverState *bs);
/** A digest of the bits, for tests; free with g_free(). */
char *bdrv_dirty_bitmap_sha256(const BdrvDirtyBitmap *bitmap, Error **errp);

/** Bits.  Thread-safe.  Offsets and lengths in bytes. */
bool bdrv_dirty_bitmap_get(BdrvDirtyBitmap *bitmap, int64_t offset);
int64_t bdrv_get_dirty_count(BdrvDirtyBitmap *bitmap); /* bytes */
void bdrv_set_dirty_bitmap(BdrvDirtyBitmap *bitmap, int64_t offset, int64_t bytes);
void bdrv_reset_dirty_bitmap(BdrvDirtyBitmap *bitmap, int64_t offset, int64_t bytes);
/** Clear all; @backup: if not NULL receives the old content for bdrv_restore_dirty_bitmap(). */
void bdrv_clear_dirty_bitmap(BdrvDirtyBitmap *bitmap, HBitmap **backup);
/** Take @backup, as it was given, for the content. */
void bdrv_restore_dirty_bitmap(BdrvDirtyBitmap *bitmap, HBitmap *backup);
/**
 * Add the bits of @src, of any node; @backup as above.  False with @errp set if one of them may not
 * be used, or their sizes differ.
 */
bool bdrv_merge_dirty_bitmap(BdrvDirtyBitmap *dest, const BdrvDirtyBitmap *src, HBitmap **backup,
                             Error **errp);
/** The first dirty (clean) byte of [@offset, @offset + @bytes), or -1. */
int64_t bdrv_dirty_bitmap_next_dirty(BdrvDirtyBitmap *bitmap, int64_t offset, int64_t bytes);
int64_t bdrv_dirty_bitmap_next_zero(BdrvDirtyBitmap *bitmap, int64_t offset, int64_t bytes);
/** The first dirty range of [@start, @end), at most @max bytes of it; false if there is none. */
bool bdrv_dirty_bitmap_next_dirty_area(BdrvDirtyBitmap *bitmap, int64_t start, int64_t end,
                                       int64_t max, int64_t *dirty_start, int64_t *dirty_bytes);

/**
 * Bits as bytes, for those who store them: @offset is a multiple of 64 granules, @bytes too, unless
 * it reaches the end.  Deserializing wants a new bitmap; it is usable after _finish().
 */
void bdrv_dirty_bitmap_serialize_part(BdrvDirtyBitmap *bitmap, uint8_t *buf, int64_t offset,
                                      int64_t bytes);
void bdrv_dirty_bitmap_deserialize_part(BdrvDirtyBitmap *bitmap, const uint8_t *buf,
                                        int64_t offset, int64_t bytes);
void bdrv_dirty_bitmap_deserialize_ones(BdrvDirtyBitmap *bitmap, int64_t offset, int64_t bytes);
void bdrv_dirty_bitmap_deserialize_finish(BdrvDirtyBitmap *bitmap);
/** Whether bits changed since set_stored() was last called; true for a new bitmap. */
bool bdrv_dirty_bitmap_changed(const BdrvDirtyBitmap *bitmap);
void bdrv_dirty_bitmap_set_stored(BdrvDirtyBitmap *bitmap);

/* Request path: a write ended (also in error).  Any thread. */
void bdrv_set_dirty(BlockDriverState *bs, int64_t offset, int64_t bytes);
/* The node was resized, which it says already: adapt all its bitmaps.  Any thread. */
void bdrv_dirty_bitmap_truncate(BlockDriverState *bs);

#endif
