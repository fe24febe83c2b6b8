/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The header cluster built anew, and changed in the file.
 *
 * Fields that point to tables or switch features all lie in the first 512 bytes of the file, so
 * that one write of one sector changes them (R5).
 */
#include "qemu/osdep.h"

#include "bitmap.h"
#include "qemu/atomic.h"

/* ---- building ------------------------------------------------------------------------------ */

typedef struct Feature {
    uint8_t class, bit;
    const char *name;
} Feature;

static const Feature known_features[] = {
    { 0, 0, "dirty bit" },           { 0, 1, "corrupt bit" },
    { 0, 2, "external data file" },  { 0, 3, "compression type" },
    { 0, 4, "extended L2 entries" }, { 1, 0, "lazy refcounts" },
    { 2, 0, "bitmaps" },             { 2, 1, "raw external data" },
};

/* Where building stands. */
typedef struct Writer {
    uint8_t *buf;
    size_t size, pos;
    bool is_full;
} Writer;

static void put_bytes(Writer *w, const void *data, size_t len)
{
    if (len > w->size - w->pos) {
        w->is_full = true;
        return;
    }
    if (len) {
        memcpy(w->buf + w->pos, data, len);
    }
    w->pos += len;
}

static void put_extension(Writer *w, uint32_t type, const void *data, size_t len)
{
    static const uint8_t zeroes[8];
    uint8_t head[8];

    stl_be_p(head, type);
    stl_be_p(head + 4, len);
    put_bytes(w, head, sizeof(head));
    put_bytes(w, data, len);
    put_bytes(w, zeroes, -len & 7);
}

static void put_feature_table(Writer *w)
{
    uint8_t table[ARRAY_SIZE(known_features) * QCOW2_FEATURE_ENTRY_LEN] = { 0 };

    for (size_t i = 0; i < ARRAY_SIZE(known_features); i++) {
        uint8_t *entry = table + i * QCOW2_FEATURE_ENTRY_LEN;

        entry[0] = known_features[i].class;
        entry[1] = known_features[i].bit;
        memcpy(entry + 2, known_features[i].name, strlen(known_features[i].name));
    }
    put_extension(w, QCOW2_EXT_FEATURES, table, sizeof(table));
}

static void put_extensions(Writer *w, const Qcow2HeaderImage *image, size_t cluster_size)
{
    const Qcow2Extensions *ext = image->ext;
    uint8_t data[24];

    if (ext->backing_format[0]) {
        put_extension(w, QCOW2_EXT_BACKING_FORMAT, ext->backing_format,
                      strlen(ext->backing_format));
    }
    if (ext->data_file) {
        put_extension(w, QCOW2_EXT_DATA_FILE, ext->data_file, strlen(ext->data_file));
    }
    if (ext->has_crypto) {
        stq_be_p(data, ext->crypto_offset);
        stq_be_p(data + 8, ext->crypto_len);
        put_extension(w, QCOW2_EXT_CRYPTO, data, 16);
    }
    if (image->header->version >= 3 && cluster_size > 4096 && !image->without_feature_names) {
        put_feature_table(w);
    }
    if (ext->has_bitmaps) {
        stl_be_p(data, ext->nb_bitmaps);
        stl_be_p(data + 4, 0);
        stq_be_p(data + 8, ext->bitmap_dir_size);
        stq_be_p(data + 16, ext->bitmap_dir_offset);
        put_extension(w, QCOW2_EXT_BITMAPS, data, 24);
    }
    for (guint i = 0; ext->unknown && i < ext->unknown->len; i++) {
        Qcow2UnknownExt *unknown = &g_array_index(ext->unknown, Qcow2UnknownExt, i);
        size_t len;
        const void *bytes = g_bytes_get_data(unknown->data, &len);

        put_extension(w, unknown->type, bytes, len);
    }
    put_extension(w, QCOW2_EXT_END, NULL, 0);
}

void qcow2_header_put_fields(const Qcow2Header *h, uint8_t *buf)
{
    stl_be_p(buf, QCOW2_MAGIC);
    stl_be_p(buf + 4, h->version);
    stq_be_p(buf + 8, h->backing_offset);
    stl_be_p(buf + 16, h->backing_len);
    stl_be_p(buf + 20, h->cluster_bits);
    stq_be_p(buf + QCOW2_HDR_SIZE, h->size);
    stl_be_p(buf + 32, h->crypt_method);
    stl_be_p(buf + QCOW2_HDR_L1, h->l1_size);
    stq_be_p(buf + QCOW2_HDR_L1 + 4, h->l1_offset);
    stq_be_p(buf + QCOW2_HDR_REFTABLE, h->reftable_offset);
    stl_be_p(buf + QCOW2_HDR_REFTABLE + 8, h->reftable_clusters);
    stl_be_p(buf + 60, h->nb_snapshots);
    stq_be_p(buf + 64, h->snapshots_offset);
    if (h->version >= 3) {
        stq_be_p(buf + QCOW2_HDR_INCOMPAT, h->incompatible);
        stq_be_p(buf + 80, h->compatible);
        stq_be_p(buf + QCOW2_HDR_AUTOCLEAR, h->autoclear);
        stl_be_p(buf + 96, h->refcount_order);
        stl_be_p(buf + 100, h->header_len);
        buf[104] = h->compression_type;
    }
}

bool qcow2_header_build(const Qcow2HeaderImage *image, uint8_t *buf, size_t cluster_size,
                        Error **errp)
{
    Qcow2Header h = *image->header;
    size_t unknown_len = 0;
    const void *unknown = image->unknown_fields
                              ? g_bytes_get_data(image->unknown_fields, &unknown_len) : NULL;
    size_t name_len = image->backing_file ? strlen(image->backing_file) : 0;
    Writer w = { .buf = buf, .size = cluster_size };

    h.backing_offset = 0;
    h.backing_len = name_len;
    if (h.version >= 3) {
        h.header_len = QCOW2_HEADER_LEN + unknown_len;
    }
    memset(buf, 0, cluster_size);
    w.pos = MIN(h.version >= 3 ? QCOW2_HEADER_LEN : QCOW2_V2_HEADER_LEN, cluster_size);
    if (h.version >= 3 && unknown) {
        put_bytes(&w, unknown, unknown_len);
    }
    put_extensions(&w, image, cluster_size);
    if (name_len) {
        h.backing_offset = w.pos;
        put_bytes(&w, image->backing_file, name_len);
    }
    if (w.is_full || name_len > QCOW2_MAX_BACKING_NAME) {
        error_setg(errp, "Header, extensions and backing file name do not fit in a cluster of %zu "
                   "bytes", cluster_size);
        return false;
    }
    qcow2_header_put_fields(&h, buf);
    return true;
}

/* ---- changing ------------------------------------------------------------------------------ */

int coroutine_fn qcow2_header_co_patch(BlockDriverState *bs, uint32_t offset, const void *buf,
                                       size_t len)
{
    assert(offset + len <= BDRV_SECTOR_SIZE);
    if (qcow2_is_lost(bs->opaque)) {
        return -EIO;
    }
    return bdrv_co_pwrite_sync(bs->file, offset, len, buf, 0);
}

/*
 * After a write that failed, or a flush, nobody knows what the file has.  To go on with @old when
 * it has @new would lose what is changed from then on: so it is to have @old again.
 */
static int coroutine_fn co_switch_bytes(BlockDriverState *bs, uint32_t offset, const void *new,
                                        const void *old, size_t len)
{
    Qcow2State *s = bs->opaque;
    int ret = qcow2_header_co_patch(bs, offset, new, len);

    if (ret < 0 && !qcow2_is_lost(s) && qcow2_header_co_patch(bs, offset, old, len) < 0) {
        error_report("qcow2: Nobody knows which header the image of node '%s' has; nothing more "
                     "is written to it", bs->node_name);
        qatomic_set(&s->is_lost, true);
        qatomic_set(&s->is_corrupt, true);
    }
    return ret;
}

int coroutine_fn qcow2_header_co_switch(BlockDriverState *bs, const Qcow2Header *new,
                                        uint32_t start, uint32_t end)
{
    const Qcow2State *s = bs->opaque;
    uint8_t to[QCOW2_HEADER_LEN] = { 0 }, from[QCOW2_HEADER_LEN] = { 0 };

    qcow2_header_put_fields(new, to);
    qcow2_header_put_fields(&s->header, from);
    return co_switch_bytes(bs, start, to + start, from + start, end - start);
}

int coroutine_fn qcow2_header_co_set_incompatible(BlockDriverState *bs, uint64_t set,
                                                  uint64_t clear)
{
    Qcow2State *s = bs->opaque;
    uint64_t bits = (s->header.incompatible | set) & ~clear;
    uint64_t be = cpu_to_be64(bits);
    int ret;

    if (s->header.version < 3) {
        return -ENOTSUP;
    }
    if (bits == s->header.incompatible) {
        return 0;
    }
    ret = qcow2_header_co_patch(bs, QCOW2_HDR_INCOMPAT, &be, sizeof(be));
    if (ret >= 0) {
        s->header.incompatible = bits;
    }
    return ret;
}

int coroutine_fn qcow2_co_prepare_change(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    bool has_bitmaps;
    uint64_t kept, be;
    int ret = 0;

    CO_LOCK_GUARD(&s->lock);
    if (!s->needs_autoclear) {
        return 0;
    }
    has_bitmaps = s->bitmaps->len && (s->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS);
    kept = (s->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW) |
           (has_bitmaps ? QCOW2_AUTOCLEAR_BITMAPS : 0);
    be = cpu_to_be64(kept);
    if (has_bitmaps) {
        ret = qcow2_bitmaps_co_mark_in_use(bs);
    }
    if (ret >= 0 && s->header.autoclear != kept) {
        ret = qcow2_header_co_patch(bs, QCOW2_HDR_AUTOCLEAR, &be, sizeof(be));
    }
    if (ret >= 0) {
        s->header.autoclear = kept;
        qatomic_set(&s->needs_autoclear, false);
    }
    return ret;
}

/* Where the extensions in a header cluster end, the end marker included. */
static uint64_t extensions_end(const uint8_t *buf, uint64_t size)
{
    uint64_t pos = ldl_be_p(buf + 4) >= 3 ? ldl_be_p(buf + 100) : QCOW2_V2_HEADER_LEN;

    while (pos + 8 <= size) {
        uint32_t type = ldl_be_p(buf + pos);

        pos += 8 + QEMU_ALIGN_UP((uint64_t)ldl_be_p(buf + pos + 4), 8);
        if (type == QCOW2_EXT_END) {
            break;
        }
    }
    return MIN(pos, size);
}

/* Where the extensions and the backing file's name in a header cluster end. */
static uint64_t header_end(const Qcow2State *s, const uint8_t *buf)
{
    uint64_t name_end = ldq_be_p(buf + 8) + ldl_be_p(buf + 16);

    return MAX(extensions_end(buf, s->cluster_size), name_end);
}

/* Move the name in @new to where nothing of @old and no extension is, if it can be done. */
static uint64_t move_name(const Qcow2State *s, const uint8_t *old, uint8_t *new)
{
    uint64_t pos = ldq_be_p(new + 8), to = QEMU_ALIGN_UP(header_end(s, old), 8);
    uint32_t len = ldl_be_p(new + 16);

    to = MAX(to, MAX(extensions_end(new, s->cluster_size), BDRV_SECTOR_SIZE));
    if (pos + len <= BDRV_SECTOR_SIZE || to + len > s->cluster_size) {
        return pos;
    }
    memmove(new + to, new + pos, len);
    memset(new + pos, 0, MIN(len, to - pos));
    stq_be_p(new + 8, to);
    return to;
}

/*
 * Write @new over @old, both a header cluster, of which @bare is the same without the names of
 * features, so that all but the backing file's name is within the first sector.  First the name
 * goes where nothing is; then one sector makes it count (R5).  It does not need what is behind it,
 * which comes next; and last the first sector as it shall be.  Those two matter to people only, so
 * it is no failure if they fail.
 */
static int coroutine_fn co_switch_header(BlockDriverState *bs, const uint8_t *old, uint8_t *bare,
                                         uint8_t *new)
{
    Qcow2State *s = bs->opaque;
    uint32_t rest = s->cluster_size - BDRV_SECTOR_SIZE, len = ldl_be_p(new + 16);
    uint64_t pos = len ? move_name(s, old, new) : 0;
    int ret = 0;

    stq_be_p(bare + 8, pos);
    if (pos + len > BDRV_SECTOR_SIZE) {
        ret = bdrv_co_pwrite_sync(bs->file, pos, len, new + pos, 0);
    }
    if (ret >= 0) {
        ret = co_switch_bytes(bs, 0, bare, old, BDRV_SECTOR_SIZE);
    }
    if (ret < 0) {
        return ret;
    }
    if (rest) {
        ret = bdrv_co_pwrite_sync(bs->file, BDRV_SECTOR_SIZE, rest, new + BDRV_SECTOR_SIZE, 0);
    }
    if (ret >= 0 && memcmp(bare, new, BDRV_SECTOR_SIZE)) {
        qcow2_header_co_patch(bs, 0, new, BDRV_SECTOR_SIZE);
    }
    return 0;
}

/* Where co_switch_long_header() may put @len bytes meanwhile; 0: nowhere. */
static uint64_t detour_start(const Qcow2State *s, const uint8_t *old, const uint8_t *new,
                             uint64_t len)
{
    uint64_t start = QEMU_ALIGN_UP(MAX(header_end(s, old), header_end(s, new)), BDRV_SECTOR_SIZE);

    /* Version 2 cannot say where its extensions begin. */
    return ldl_be_p(new + 4) >= 3 && start + len <= s->cluster_size ? start : 0;
}

/*
 * As co_switch_header() where extensions reach past the first sector.  First those of @bare, with
 * the name behind them, go to @detour, where nothing is; one write of the first sector says that
 * the fields of the header end there, and so that extensions begin there (R5).  Now nobody looks
 * at the old place, which comes next; and last the first sector as it shall be.  If one of these
 * two fails, the extensions stay where they are.
 */
static int coroutine_fn co_switch_long_header(BlockDriverState *bs, const uint8_t *old,
                                              uint8_t *bare, const uint8_t *new, uint64_t detour)
{
    Qcow2State *s = bs->opaque;
    uint32_t ext_start = ldl_be_p(bare + 100), name_len = ldl_be_p(bare + 16);
    uint32_t len = header_end(s, bare) - ext_start;
    int ret = bdrv_co_pwrite_sync(bs->file, detour, len, bare + ext_start, 0);

    if (ret >= 0) {
        stl_be_p(bare + 100, detour);
        stq_be_p(bare + 8, name_len ? detour + len - name_len : 0);
        ret = co_switch_bytes(bs, 0, bare, old, BDRV_SECTOR_SIZE);
    }
    if (ret < 0) {
        return ret;
    }
    ret = bdrv_co_pwrite_sync(bs->file, BDRV_SECTOR_SIZE, detour - BDRV_SECTOR_SIZE,
                              new + BDRV_SECTOR_SIZE, 0);
    if (ret >= 0) {
        ret = qcow2_header_co_patch(bs, 0, new, BDRV_SECTOR_SIZE);
    }
    if (ret >= 0) {
        bdrv_co_pwrite_zeroes(bs->file, detour, s->cluster_size - detour, 0);
    }
    return 0;
}

static int coroutine_fn co_write_header(BlockDriverState *bs, uint8_t *bare, uint8_t *new,
                                        Error **errp)
{
    Qcow2State *s = bs->opaque;
    g_autofree uint8_t *old = g_try_malloc(s->cluster_size);
    int ret = old ? bdrv_co_pread(bs->file, 0, s->cluster_size, old, 0) : -ENOMEM;

    if (ret >= 0 && extensions_end(bare, s->cluster_size) <= BDRV_SECTOR_SIZE) {
        ret = co_switch_header(bs, old, bare, new);
    } else if (ret >= 0 && !memcmp(old + BDRV_SECTOR_SIZE, new + BDRV_SECTOR_SIZE,
                                   s->cluster_size - BDRV_SECTOR_SIZE)) {
        ret = co_switch_bytes(bs, 0, new, old, BDRV_SECTOR_SIZE);
    } else if (ret >= 0) {
        uint64_t detour = detour_start(s, old, new, header_end(s, bare));

        if (!detour) {
            error_setg(errp, "The header cluster has no room to change so many extensions safely");
            return -ENOSPC;
        }
        ret = co_switch_long_header(bs, old, bare, new, detour);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the image header");
    }
    return ret;
}

/*
 * Take over what is new.  Members that stay are not stored to: requests look at some of them
 * without the lock, and those are only changed while there are none.
 */
static void header_update(Qcow2Header *header, const Qcow2Header *from)
{
#define UPDATE(member) \
    do { \
        if (header->member != from->member) { \
            qatomic_set(&header->member, from->member); \
        } \
    } while (0)
    UPDATE(version);
    UPDATE(backing_offset);
    UPDATE(backing_len);
    UPDATE(cluster_bits);
    UPDATE(size);
    UPDATE(crypt_method);
    UPDATE(l1_size);
    UPDATE(l1_offset);
    UPDATE(reftable_offset);
    UPDATE(reftable_clusters);
    UPDATE(nb_snapshots);
    UPDATE(snapshots_offset);
    UPDATE(incompatible);
    UPDATE(compatible);
    UPDATE(autoclear);
    UPDATE(refcount_order);
    UPDATE(header_len);
    UPDATE(compression_type);
#undef UPDATE
}

int coroutine_fn qcow2_header_co_rewrite(BlockDriverState *bs, const Qcow2Header *header,
                                         const Qcow2Extensions *ext, const char *backing_file,
                                         Error **errp)
{
    Qcow2State *s = bs->opaque;
    g_autofree uint8_t *bare = g_try_malloc(s->cluster_size);
    g_autofree uint8_t *new = g_try_malloc(s->cluster_size);
    Qcow2HeaderImage image = { header, ext, s->unknown_fields, backing_file, false };
    Qcow2Header written = *header;
    int ret;

    if (!bare || !new) {
        error_setg_errno(errp, ENOMEM, "Could not write qcow2 header");
        return -ENOMEM;
    }
    if (!qcow2_header_build(&image, new, s->cluster_size, errp)) {
        return -ENOSPC;
    }
    image.without_feature_names = true;
    if (!qcow2_header_build(&image, bare, s->cluster_size, errp)) {
        return -ENOSPC;
    }
    ret = co_write_header(bs, bare, new, errp);
    if (ret < 0) {
        return ret;
    }
    written.backing_offset = ldq_be_p(new + 8);
    written.backing_len = ldl_be_p(new + 16);
    written.header_len = written.version >= 3 ? ldl_be_p(new + 100) : QCOW2_V2_HEADER_LEN;
    header_update(&s->header, &written);
    s->ext = *ext;
    return 0;
}

int coroutine_fn qcow2_header_co_set_backing(BlockDriverState *bs, const char *name,
                                             const char *format, Error **errp)
{
    Qcow2State *s = bs->opaque;
    Qcow2Extensions ext = s->ext;

    memset(ext.backing_format, 0, sizeof(ext.backing_format));
    if (format) {
        if (strlen(format) >= sizeof(ext.backing_format)) {
            error_setg(errp, "Backing format name '%s' is too long", format);
            return -EINVAL;
        }
        strcpy(ext.backing_format, format);
    }
    return qcow2_header_co_rewrite(bs, &s->header, &ext, name, errp);
}
