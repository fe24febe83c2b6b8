/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stored dirty bitmaps: their directory, loading them, and saying that they are in use.
 *
 * What is stored is true of the disk as long as nothing has changed, so the directory says "in use"
 * only from the first change on (R10).  Whoever finds it there after a crash knows that a bitmap
 * misses writes; it is then kept as inconsistent, good only for being removed.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "bitmap.h"
#include "qemu/atomic.h"

#define ENTRY_FIXED_LEN 24
#define TYPE_DIRTY_TRACKING 1
#define MAX_TABLE_ENTRIES 0x8000000U
#define ALL_ONES UINT64_C(1)

/* ---- the directory ------------------------------------------------------------------------- */

static void bitmap_clear_item(void *item)
{
    g_free(((Qcow2Bitmap *)item)->name);
}

GArray *qcow2_bitmaps_new(void)
{
    GArray *bitmaps = g_array_new(FALSE, FALSE, sizeof(Qcow2Bitmap));

    g_array_set_clear_func(bitmaps, bitmap_clear_item);
    return bitmaps;
}

void qcow2_bitmaps_append(GArray *bitmaps, const Qcow2Bitmap *bm)
{
    Qcow2Bitmap copy = *bm;

    copy.name = g_strdup(bm->name);
    g_array_append_val(bitmaps, copy);
}

Qcow2Bitmap *qcow2_bitmaps_find(const GArray *bitmaps, const char *name)
{
    for (guint i = 0; i < bitmaps->len; i++) {
        Qcow2Bitmap *bm = &g_array_index(bitmaps, Qcow2Bitmap, i);

        if (strcmp(bm->name, name) == 0) {
            return bm;
        }
    }
    return NULL;
}

/* What is wrong with an entry of the directory, of which @len bytes are there; NULL: nothing. */
static const char *entry_fault(const Qcow2Bitmap *bm, const uint8_t *buf, size_t len,
                               uint32_t cluster_size)
{
    size_t name_len = lduw_be_p(buf + 18);

    if (!bm->table_offset || (bm->table_offset & (cluster_size - 1)) ||
        bm->table_offset >= QCOW2_MAX_HOST_OFFSET) {
        return "the offset of its table";
    }
    if (!bm->table_size || bm->table_size > MAX_TABLE_ENTRIES) {
        return "the size of its table";
    }
    if (bm->flags & ~(QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO)) {
        return "a flag that is not known";
    }
    if (buf[16] != TYPE_DIRTY_TRACKING) {
        return "its type";
    }
    if (bm->granularity_bits < QCOW2_MIN_BITMAP_GRANULARITY_BITS ||
        bm->granularity_bits > QCOW2_MAX_BITMAP_GRANULARITY_BITS) {
        return "its granularity";
    }
    if (name_len == 0 || name_len > QCOW2_MAX_BITMAP_NAME || name_len > len - ENTRY_FIXED_LEN) {
        return "the length of its name";
    }
    if (memchr(buf + ENTRY_FIXED_LEN, 0, name_len)) {
        return "its name";
    }
    return ldl_be_p(buf + 20) ? "extra data, which nobody knows" : NULL;
}

GArray *qcow2_bitmaps_parse(const uint8_t *dir, size_t len, uint32_t nb, uint32_t cluster_size,
                            Error **errp)
{
    g_autoptr(GArray) bitmaps = qcow2_bitmaps_new();
    size_t pos = 0;

    for (uint32_t i = 0; i < nb; i++) {
        const uint8_t *buf = dir + pos;
        const char *fault;
        Qcow2Bitmap bm;
        size_t name_len;

        if (len - pos < ENTRY_FIXED_LEN) {
            error_setg(errp, "Less bitmaps found than specified in header extension");
            return NULL;
        }
        bm = (Qcow2Bitmap){
            .table_offset = ldq_be_p(buf),
            .table_size = ldl_be_p(buf + 8),
            .flags = ldl_be_p(buf + 12),
            .granularity_bits = buf[17],
        };
        fault = entry_fault(&bm, buf, len - pos, cluster_size);
        if (fault) {
            error_setg(errp, "Bitmap directory entry %" PRIu32 " is invalid: %s", i, fault);
            return NULL;
        }
        name_len = lduw_be_p(buf + 18);
        bm.name = g_strndup((const char *)buf + ENTRY_FIXED_LEN, name_len);
        g_array_append_val(bitmaps, bm);
        pos += MIN(QEMU_ALIGN_UP(ENTRY_FIXED_LEN + name_len, 8), len - pos);
    }
    if (pos < len) {
        error_setg(errp, "More bitmaps found than specified in header extension");
        return NULL;
    }
    return g_steal_pointer(&bitmaps);
}

GBytes *qcow2_bitmaps_build(const GArray *bitmaps)
{
    GByteArray *dir = g_byte_array_new();

    for (guint i = 0; i < bitmaps->len; i++) {
        const Qcow2Bitmap *bm = &g_array_index(bitmaps, Qcow2Bitmap, i);
        size_t name_len = strlen(bm->name);
        uint8_t fixed[ENTRY_FIXED_LEN] = { 0 };
        static const uint8_t padding[8];

        stq_be_p(fixed, bm->table_offset);
        stl_be_p(fixed + 8, bm->table_size);
        stl_be_p(fixed + 12, bm->flags);
        fixed[16] = TYPE_DIRTY_TRACKING;
        fixed[17] = bm->granularity_bits;
        stw_be_p(fixed + 18, name_len);
        g_byte_array_append(dir, fixed, sizeof(fixed));
        g_byte_array_append(dir, (const uint8_t *)bm->name, name_len);
        g_byte_array_append(dir, padding, -dir->len & 7);
    }
    return g_byte_array_free_to_bytes(dir);
}

GArray *coroutine_fn qcow2_bitmaps_co_read(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;
    g_autofree uint8_t *dir = NULL;
    int ret;

    if (!s->ext.has_bitmaps || !(s->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        return qcow2_bitmaps_new();
    }
    if (s->ext.bitmap_dir_size == 0) {
        error_setg(errp, "Requested bitmap directory size is zero");
        return NULL;
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

/* ---- in use -------------------------------------------------------------------------------- */

/*
 * The directory is rewritten in place.  Only one bit of each entry changes, so that a write torn
 * anywhere leaves a good directory: some bitmaps in use, the others not, and nothing changed yet.
 */
int coroutine_fn qcow2_bitmaps_co_mark_in_use(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    g_autoptr(GBytes) dir = NULL;
    g_autoptr(GArray) marked = qcow2_bitmaps_new();
    bool any = false;
    int ret;

    for (guint i = 0; i < s->bitmaps->len; i++) {
        Qcow2Bitmap bm = g_array_index(s->bitmaps, Qcow2Bitmap, i);

        any |= !(bm.flags & QCOW2_BITMAP_IN_USE);
        bm.flags |= QCOW2_BITMAP_IN_USE;
        qcow2_bitmaps_append(marked, &bm);
    }
    if (!any) {
        return 0;
    }
    dir = qcow2_bitmaps_build(marked);
    ret = bdrv_co_pwrite_sync(bs->file, s->ext.bitmap_dir_offset,
                              MIN(g_bytes_get_size(dir), s->ext.bitmap_dir_size),
                              g_bytes_get_data(dir, NULL), 0);
    for (guint i = 0; i < s->bitmaps->len && ret >= 0; i++) {
        /* In its place: queries of the main thread go through the list meanwhile. */
        qatomic_or(&g_array_index(s->bitmaps, Qcow2Bitmap, i).flags, QCOW2_BITMAP_IN_USE);
    }
    return ret;
}

static bool has_persistent(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bdrv_dirty_bitmap_persistent(bitmap)) {
            return true;
        }
    }
    return false;
}

bool qcow2_bitmaps_check_resize(BlockDriverState *bs, uint64_t bytes, Error **errp)
{
    const Qcow2State *s = bs->opaque;

    if (bytes == s->header.size) {
        return true;
    }
    if (bytes == 0 && (s->bitmaps->len || has_persistent(bs))) {
        error_setg(errp, "A disk of 0 bytes cannot have persistent bitmaps");
        return false;
    }
    for (guint i = 0; i < s->bitmaps->len; i++) {
        const Qcow2Bitmap *bm = &g_array_index(s->bitmaps, Qcow2Bitmap, i);
        BdrvDirtyBitmap *bitmap = bdrv_find_dirty_bitmap(bs, bm->name);

        if (!bitmap) {
            error_setg(errp, "Cannot resize qcow2 with persistent bitmaps that were not loaded "
                       "into memory");
            return false;
        }
        if (!bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_DEFAULT, errp)) {
            return false;
        }
    }
    return true;
}

/* ---- loading ------------------------------------------------------------------------------- */

uint64_t qcow2_bitmap_table_size(const Qcow2State *s, int64_t disk_bytes,
                                 unsigned granularity_bits)
{
    uint64_t bits = DIV_ROUND_UP((uint64_t)disk_bytes, UINT64_C(1) << granularity_bits);

    return qcow2_nb_clusters(s, DIV_ROUND_UP(bits, 8));
}

bool qcow2_bitmap_entry_is_sane(const Qcow2State *s, uint64_t entry)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK;

    return !(entry & ~(QCOW2_OFFSET_MASK | ALL_ONES)) && !qcow2_offset_in_cluster(s, offset) &&
           !(offset && (entry & ALL_ONES));
}

static uint64_t *coroutine_fn co_read_table(BlockDriverState *bs, const Qcow2Bitmap *bm,
                                            Error **errp)
{
    const Qcow2State *s = bs->opaque;
    g_autofree uint64_t *table = g_try_new(uint64_t, bm->table_size);
    int ret;

    if (!table) {
        error_setg(errp, "The table of bitmap '%s' does not fit in memory", bm->name);
        return NULL;
    }
    ret = bdrv_co_pread(bs->file, bm->table_offset, (int64_t)bm->table_size * 8, table, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the table of bitmap '%s'", bm->name);
        return NULL;
    }
    for (uint32_t i = 0; i < bm->table_size; i++) {
        be64_to_cpus(&table[i]);
        if (!qcow2_bitmap_entry_is_sane(s, table[i])) {
            error_setg(errp, "Entry %" PRIu32 " of the table of bitmap '%s' is invalid: %#" PRIx64,
                       i, bm->name, table[i]);
            return NULL;
        }
    }
    return g_steal_pointer(&table);
}

static bool coroutine_fn co_load_bits(BlockDriverState *bs, const Qcow2Bitmap *bm,
                                      const uint64_t *table, BdrvDirtyBitmap *bitmap, Error **errp)
{
    const Qcow2State *s = bs->opaque;
    int64_t len = bdrv_dirty_bitmap_size(bitmap);
    int64_t reach = ((int64_t)s->cluster_size * 8) << bm->granularity_bits;
    g_autofree uint8_t *buf = g_try_malloc(s->cluster_size);

    if (!buf) {
        error_setg_errno(errp, ENOMEM, "Could not read bitmap '%s'", bm->name);
        return false;
    }
    for (uint32_t i = 0; i < bm->table_size; i++) {
        int64_t start = i * reach, bytes = MIN(reach, len - start);
        uint64_t offset = table[i] & QCOW2_OFFSET_MASK;
        int ret;

        if (!offset) {
            if (table[i] & ALL_ONES) {
                bdrv_dirty_bitmap_deserialize_ones(bitmap, start, bytes);
            }
            continue;
        }
        ret = bdrv_co_pread(bs->file, offset, s->cluster_size, buf, 0);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not read bitmap '%s'", bm->name);
            return false;
        }
        bdrv_dirty_bitmap_deserialize_part(bitmap, buf, start, bytes);
    }
    bdrv_dirty_bitmap_deserialize_finish(bitmap);
    return true;
}

/* What the bits take in memory when they are all there. */
static uint64_t bytes_in_memory(const Qcow2State *s, const uint64_t *table, uint32_t size)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < size; i++) {
        n += table[i] != 0;
    }
    return n << s->cluster_bits;
}

static BdrvDirtyBitmap *coroutine_fn co_load_one(BlockDriverState *bs, const Qcow2Bitmap *bm,
                                                 uint64_t *budget, Error **errp)
{
    const Qcow2State *s = bs->opaque;
    int64_t len = bdrv_getlength(bs);
    uint64_t expected = qcow2_bitmap_table_size(s, len, bm->granularity_bits), need;
    g_autofree uint64_t *table = NULL;
    BdrvDirtyBitmap *bitmap;

    /* An entry that nothing needs: some wrote that for a disk of 0 bytes. */
    if (bm->table_size != MAX(expected, 1) ||
        expected << s->cluster_bits > QCOW2_MAX_BITMAP_BYTES) {
        error_setg(errp, "Bitmap '%s' does not have the size that the disk needs", bm->name);
        return NULL;
    }
    table = co_read_table(bs, bm, errp);
    if (!table) {
        return NULL;
    }
    need = bytes_in_memory(s, table, bm->table_size);
    if (need > *budget) {
        error_setg(errp, "The stored bitmaps need more than %" PRIu64 " bytes of memory",
                   (uint64_t)QCOW2_MAX_BITMAP_BYTES);
        return NULL;
    }
    *budget -= need;
    bitmap = bdrv_create_dirty_bitmap(bs, UINT32_C(1) << bm->granularity_bits, bm->name, errp);
    if (!bitmap) {
        return NULL;
    }
    if (!co_load_bits(bs, bm, table, bitmap, errp)) {
        bdrv_release_dirty_bitmap(bitmap);
        return NULL;
    }
    if (!(bm->flags & QCOW2_BITMAP_AUTO)) {
        bdrv_disable_dirty_bitmap(bitmap);
    }
    bdrv_dirty_bitmap_set_stored(bitmap);
    return bitmap;
}

static void release_loaded(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap, *next = bdrv_dirty_bitmap_next(bs, NULL);

    while ((bitmap = next)) {
        next = bdrv_dirty_bitmap_next(bs, bitmap);
        if (bdrv_dirty_bitmap_persistent(bitmap)) {
            bdrv_release_dirty_bitmap(bitmap);
        }
    }
}

bool coroutine_fn qcow2_bitmaps_co_load(BlockDriverState *bs, Error **errp)
{
    const Qcow2State *s = bs->opaque;
    uint64_t budget = QCOW2_MAX_BITMAP_BYTES;

    for (guint i = 0; i < s->bitmaps->len; i++) {
        const Qcow2Bitmap *bm = &g_array_index(s->bitmaps, Qcow2Bitmap, i);
        BdrvDirtyBitmap *bitmap =
            bm->flags & QCOW2_BITMAP_IN_USE
                ? bdrv_add_inconsistent_dirty_bitmap(bs, UINT32_C(1) << bm->granularity_bits,
                                                     bm->name, errp)
                : co_load_one(bs, bm, &budget, errp);

        if (!bitmap) {
            release_loaded(bs);
            return false;
        }
        bdrv_dirty_bitmap_set_persistence(bitmap, true);
        bdrv_dirty_bitmap_set_readonly(bitmap, bs->read_only);
    }
    return true;
}

static bool check_not_busy(BlockDriverState *bs, Error **errp)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bdrv_dirty_bitmap_persistent(bitmap) &&
            !bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_BUSY, errp)) {
            return false;
        }
    }
    return true;
}

bool coroutine_fn qcow2_bitmaps_co_reload(BlockDriverState *bs, Error **errp)
{
    if (!check_not_busy(bs, errp)) {
        return false;
    }
    release_loaded(bs);
    return qcow2_bitmaps_co_load(bs, errp);
}
