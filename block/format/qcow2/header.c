/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The header cluster: fixed fields, extensions, the backing file's name.  Parsing is pure.
 *
 * Fields that point to tables or switch features all lie in the first 512 bytes of the file, so
 * that one write of one sector changes them (R5).
 */
#include "qemu/osdep.h"

#include "crypto/luks.h"
#include "qcow2.h"
#include "qemu/atomic.h"
#include "qemu/ranges.h"

/* ---- reading ------------------------------------------------------------------------------- */

static void read_fields(const uint8_t *buf, Qcow2Header *h)
{
    *h = (Qcow2Header){
        .version = ldl_be_p(buf + 4),
        .backing_offset = ldq_be_p(buf + 8),
        .backing_len = ldl_be_p(buf + 16),
        .cluster_bits = ldl_be_p(buf + 20),
        .size = ldq_be_p(buf + QCOW2_HDR_SIZE),
        .crypt_method = ldl_be_p(buf + 32),
        .l1_size = ldl_be_p(buf + QCOW2_HDR_L1),
        .l1_offset = ldq_be_p(buf + QCOW2_HDR_L1 + 4),
        .reftable_offset = ldq_be_p(buf + QCOW2_HDR_REFTABLE),
        .reftable_clusters = ldl_be_p(buf + QCOW2_HDR_REFTABLE + 8),
        .nb_snapshots = ldl_be_p(buf + 60),
        .snapshots_offset = ldq_be_p(buf + 64),
        .refcount_order = 4,
        .header_len = QCOW2_V2_HEADER_LEN,
    };
    if (h->version >= 3) {
        h->incompatible = ldq_be_p(buf + QCOW2_HDR_INCOMPAT);
        h->compatible = ldq_be_p(buf + 80);
        h->autoclear = ldq_be_p(buf + QCOW2_HDR_AUTOCLEAR);
        h->refcount_order = ldl_be_p(buf + 96);
        h->header_len = ldl_be_p(buf + 100);
        if (h->header_len > 104) {
            h->compression_type = buf[104];
        }
    }
}

/* What may not be trusted before anything else of the header is looked at. */
static bool check_layout(const Qcow2Header *h, Error **errp)
{
    uint64_t cluster_size;

    if (h->cluster_bits < QCOW2_MIN_CLUSTER_BITS || h->cluster_bits > QCOW2_MAX_CLUSTER_BITS) {
        error_setg(errp, "Unsupported cluster size: 2^%" PRIu32, h->cluster_bits);
        return false;
    }
    cluster_size = UINT64_C(1) << h->cluster_bits;
    if (h->version >= 3 && h->header_len < QCOW2_V3_HEADER_MIN) {
        error_setg(errp, "qcow2 header too short");
        return false;
    }
    if (h->header_len > cluster_size) {
        error_setg(errp, "qcow2 header exceeds cluster size");
        return false;
    }
    if (!QEMU_IS_ALIGNED(h->header_len, 8)) {
        error_setg(errp, "qcow2 header length %" PRIu32 " is not a multiple of 8", h->header_len);
        return false;
    }
    if (h->backing_offset > cluster_size ||
        (h->backing_offset && h->backing_offset < h->header_len)) {
        error_setg(errp, "Invalid backing file offset");
        return false;
    }
    return true;
}

bool qcow2_header_parse(const uint8_t *buf, size_t len, Qcow2Header *header, Error **errp)
{
    uint8_t padded[QCOW2_HEADER_LEN] = { 0 };

    memcpy(padded, buf, MIN(len, sizeof(padded)));
    if ((uint32_t)ldl_be_p(padded) != QCOW2_MAGIC) {
        error_setg(errp, "Image is not in qcow2 format");
        return false;
    }
    read_fields(padded, header);
    if (header->version != 2 && header->version != 3) {
        error_setg(errp, "Unsupported qcow2 version %" PRIu32, header->version);
        return false;
    }
    return check_layout(header, errp);
}

uint64_t qcow2_header_ext_end(const Qcow2Header *header)
{
    return header->backing_offset ? header->backing_offset : UINT64_C(1) << header->cluster_bits;
}

/* ---- features ------------------------------------------------------------------------------ */

#define FEATURE_ENTRY_LEN 48

char *qcow2_unknown_features_text(uint64_t unknown, const Qcow2Extensions *ext)
{
    GString *text = g_string_new(NULL);
    size_t len = 0;
    const uint8_t *table = ext->features ? g_bytes_get_data(ext->features, &len) : NULL;

    for (; len >= FEATURE_ENTRY_LEN; table += FEATURE_ENTRY_LEN, len -= FEATURE_ENTRY_LEN) {
        bool is_incompatible = table[0] == 0;
        uint64_t bit = table[1] < 64 ? UINT64_C(1) << table[1] : 0;

        if (is_incompatible && (unknown & bit)) {
            g_string_append_printf(text, "%s%.46s", text->len ? ", " : "",
                                   (const char *)table + 2);
            unknown &= ~bit;
        }
    }
    if (unknown) {
        g_string_append_printf(text, "%sUnknown incompatible feature: %" PRIx64,
                               text->len ? ", " : "", unknown);
    }
    return g_string_free(text, FALSE);
}

static bool check_features(const Qcow2Header *h, const Qcow2Extensions *ext, Error **errp)
{
    uint64_t unknown = h->incompatible & ~QCOW2_INCOMPAT_KNOWN;
    bool has_type_bit = h->incompatible & QCOW2_INCOMPAT_COMPRESSION;

    if (h->compression_type != QCOW2_COMPRESSION_DEFLATE && !has_type_bit) {
        error_setg(errp, "qcow2: Compression type incompatible feature bit must be set");
        return false;
    }
    if (h->compression_type == QCOW2_COMPRESSION_DEFLATE && has_type_bit) {
        error_setg(errp, "qcow2: Compression type incompatible feature bit must not be set");
        return false;
    }
    if (h->compression_type > QCOW2_COMPRESSION_ZSTD) {
        error_setg(errp, "qcow2: unknown compression type: %u", h->compression_type);
        return false;
    }
    if (unknown) {
        g_autofree char *names = qcow2_unknown_features_text(unknown, ext);

        error_setg(errp, "Unsupported qcow2 feature(s): %s", names);
        return false;
    }
    if ((h->autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW) &&
        !(h->incompatible & QCOW2_INCOMPAT_DATA_FILE)) {
        error_setg(errp, "data-file-raw requires a data file");
        return false;
    }
    if ((h->incompatible & QCOW2_INCOMPAT_EXTL2) && h->cluster_bits < 14) {
        error_setg(errp, "Unsupported subcluster size: %u",
                   (1u << h->cluster_bits) / QCOW2_SUBCLUSTERS);
        return false;
    }
    return true;
}

/* ---- tables -------------------------------------------------------------------------------- */

typedef struct TablePlace {
    uint64_t offset, entries, entry_len, max_bytes;
    const char *name;
} TablePlace;

static bool check_table(const Qcow2Header *h, const TablePlace *t, Error **errp)
{
    uint64_t cluster_size = UINT64_C(1) << h->cluster_bits;

    if (t->entries > t->max_bytes / t->entry_len) {
        error_setg(errp, "%s too large", t->name);
        return false;
    }
    /* The sum cannot overflow: max_bytes is small, and the offset is tested first. */
    if (t->offset > INT64_MAX - t->max_bytes || !QEMU_IS_ALIGNED(t->offset, cluster_size)) {
        error_setg(errp, "%s offset invalid", t->name);
        return false;
    }
    return true;
}

static bool check_tables(const Qcow2Header *h, bool for_check, Error **errp)
{
    uint64_t cluster_size = UINT64_C(1) << h->cluster_bits;
    unsigned l2_bits = h->cluster_bits - (h->incompatible & QCOW2_INCOMPAT_EXTL2 ? 4 : 3);
    uint64_t l1_reach = UINT64_C(1) << (h->cluster_bits + l2_bits);
    uint64_t l1_needed = h->size / l1_reach + !!(h->size % l1_reach);
    TablePlace reftable = { h->reftable_offset, h->reftable_clusters, cluster_size,
                            QCOW2_MAX_REFTABLE_BYTES, "Reference count table" };
    /* Those that are too many are repaired. */
    uint32_t nb_snapshots = for_check ? MIN(h->nb_snapshots, QCOW2_MAX_SNAPSHOTS) : h->nb_snapshots;
    TablePlace snapshots = { h->snapshots_offset, nb_snapshots, 40,
                             QCOW2_MAX_SNAPSHOTS * 40, "Snapshot table" };
    TablePlace l1 = { h->l1_offset, h->l1_size, 8, QCOW2_MAX_L1_BYTES, "Active L1 table" };

    if (h->reftable_clusters == 0 && !for_check) {
        error_setg(errp, "Image does not contain a reference count table");
        return false;
    }
    if (!check_table(h, &reftable, errp) || !check_table(h, &snapshots, errp) ||
        !check_table(h, &l1, errp)) {
        return false;
    }
    if (l1_needed > QCOW2_MAX_L1_BYTES / 8 || h->size > BDRV_MAX_LENGTH) {
        error_setg(errp, "Image is too big");
        return false;
    }
    if (h->l1_size < l1_needed) {
        error_setg(errp, "L1 table is too small");
        return false;
    }
    return true;
}

static bool check_crypto(const Qcow2Header *h, const Qcow2Extensions *ext, Error **errp)
{
    uint32_t cluster_size = UINT32_C(1) << h->cluster_bits;

    if (h->crypt_method > QCOW2_CRYPT_LUKS) {
        error_setg(errp, "Unsupported encryption method %" PRIu32, h->crypt_method);
        return false;
    }
    if (ext->has_crypto && h->crypt_method != QCOW2_CRYPT_LUKS) {
        error_setg(errp, "CRYPTO header extension only expected with LUKS encryption method");
        return false;
    }
    if (!ext->has_crypto && h->crypt_method == QCOW2_CRYPT_LUKS) {
        error_setg(errp, "Missing CRYPTO header for crypt method %" PRIu32, h->crypt_method);
        return false;
    }
    if (!QEMU_IS_ALIGNED(ext->crypto_offset, cluster_size)) {
        error_setg(errp, "Encryption header offset '%" PRIu64 "' is not a multiple of cluster size "
                   "'%" PRIu32 "'", ext->crypto_offset, cluster_size);
        return false;
    }
    if (ext->has_crypto && (ext->crypto_offset == 0 ||
                            ext->crypto_offset > QCOW2_MAX_HOST_OFFSET)) {
        error_setg(errp, "Encryption header offset '%" PRIu64 "' is invalid", ext->crypto_offset);
        return false;
    }
    if (ext->has_crypto && ext->crypto_len < CRYPTO_LUKS_HEADER_LEN) {
        error_setg(errp, "Encryption header of %" PRIu64 " bytes is too small", ext->crypto_len);
        return false;
    }
    if (ext->crypto_len > QCOW2_MAX_CRYPTO_BYTES) {
        error_setg(errp, "Encryption header of %" PRIu64 " bytes is too large", ext->crypto_len);
        return false;
    }
    return true;
}

bool qcow2_header_validate(const Qcow2Header *h, const Qcow2Extensions *ext, bool for_check,
                           Error **errp)
{
    if (!check_features(h, ext, errp)) {
        return false;
    }
    if (h->refcount_order > 6) {
        error_setg(errp, "Reference count entry width too large; may not exceed 64 bits");
        return false;
    }
    if (!check_crypto(h, ext, errp)) {
        return false;
    }
    if (!check_tables(h, for_check, errp)) {
        return false;
    }
    if (ext->has_bitmaps && (h->autoclear & QCOW2_AUTOCLEAR_BITMAPS) &&
        !QEMU_IS_ALIGNED(ext->bitmap_dir_offset, UINT64_C(1) << h->cluster_bits)) {
        error_setg(errp, "bitmaps_ext: invalid bitmap directory offset");
        return false;
    }
    if (h->backing_offset) {
        uint64_t room = (UINT64_C(1) << h->cluster_bits) - h->backing_offset;

        if (h->backing_len > MIN(room, QCOW2_MAX_BACKING_NAME)) {
            error_setg(errp, "Backing file name too long");
            return false;
        }
    }
    return true;
}

/* ---- extensions ---------------------------------------------------------------------------- */

static void unknown_ext_clear(void *item)
{
    g_bytes_unref(((Qcow2UnknownExt *)item)->data);
}

void qcow2_extensions_clear(Qcow2Extensions *ext)
{
    g_clear_pointer(&ext->features, g_bytes_unref);
    g_clear_pointer(&ext->unknown, g_array_unref);
    g_free(ext->data_file);
    *ext = (Qcow2Extensions){ 0 };
}

static bool read_bitmaps_ext(const uint8_t *data, uint32_t len, Qcow2Extensions *ext, Error **errp)
{
    if (len != 24) {
        error_setg(errp, "bitmaps_ext: Invalid extension length");
        return false;
    }
    if (ldl_be_p(data + 4) != 0) {
        error_setg(errp, "bitmaps_ext: Reserved field is not zero");
        return false;
    }
    ext->has_bitmaps = true;
    ext->nb_bitmaps = ldl_be_p(data);
    ext->bitmap_dir_size = ldq_be_p(data + 8);
    ext->bitmap_dir_offset = ldq_be_p(data + 16);
    if (ext->nb_bitmaps == 0) {
        error_setg(errp, "found bitmaps extension with zero bitmaps");
        return false;
    }
    if (ext->nb_bitmaps > QCOW2_MAX_BITMAPS) {
        error_setg(errp, "bitmaps_ext: Image has %" PRIu32 " bitmaps, exceeding the QEMU supported "
                   "maximum of %d", ext->nb_bitmaps, QCOW2_MAX_BITMAPS);
        return false;
    }
    if (ext->bitmap_dir_size > QCOW2_MAX_BITMAP_DIR_BYTES ||
        ext->bitmap_dir_offset > INT64_MAX - QCOW2_MAX_BITMAP_DIR_BYTES) {
        error_setg(errp, "bitmaps_ext: bitmap directory size (%" PRIu64 ") exceeds the maximum "
                   "supported size (%" PRIu64 ")", ext->bitmap_dir_size,
                   (uint64_t)QCOW2_MAX_BITMAP_DIR_BYTES);
        return false;
    }
    return true;
}

static bool read_crypto_ext(const uint8_t *data, uint32_t len, Qcow2Extensions *ext, Error **errp)
{
    if (len != 16) {
        error_setg(errp, "CRYPTO header extension size %" PRIu32 ", but expected size 16", len);
        return false;
    }
    ext->has_crypto = true;
    ext->crypto_offset = ldq_be_p(data);
    ext->crypto_len = ldq_be_p(data + 8);
    return true;
}

/* One extension; @data has @len bytes. */
static bool read_extension(uint32_t type, const uint8_t *data, uint32_t len, Qcow2Extensions *ext,
                           Error **errp)
{
    switch (type) {
    case QCOW2_EXT_BACKING_FORMAT:
        if (len >= sizeof(ext->backing_format)) {
            error_setg(errp, "ERROR: ext_backing_format: len=%" PRIu32 " too large (>=%zu)", len,
                       sizeof(ext->backing_format));
            return false;
        }
        memset(ext->backing_format, 0, sizeof(ext->backing_format));
        memcpy(ext->backing_format, data, len);
        return true;
    case QCOW2_EXT_FEATURES:
        g_clear_pointer(&ext->features, g_bytes_unref);
        ext->features = g_bytes_new(data, len);
        return true;
    case QCOW2_EXT_BITMAPS:
        return read_bitmaps_ext(data, len, ext, errp);
    case QCOW2_EXT_CRYPTO:
        return read_crypto_ext(data, len, ext, errp);
    case QCOW2_EXT_DATA_FILE:
        g_free(ext->data_file);
        ext->data_file = g_strndup((const char *)data, len);
        return true;
    default: {
        Qcow2UnknownExt unknown = { type, g_bytes_new(data, len) };

        g_array_append_val(ext->unknown, unknown);
        return true;
    }
    }
}

bool qcow2_extensions_parse(const uint8_t *buf, size_t len, Qcow2Extensions *ext, Error **errp)
{
    size_t pos = 0;

    if (!ext->unknown) {
        ext->unknown = g_array_new(FALSE, FALSE, sizeof(Qcow2UnknownExt));
        g_array_set_clear_func(ext->unknown, unknown_ext_clear);
    }
    while (len - pos >= 8) {
        uint32_t type = ldl_be_p(buf + pos);
        uint32_t data_len = ldl_be_p(buf + pos + 4);

        if (type == QCOW2_EXT_END) {
            break;
        }
        pos += 8;
        if (data_len > len - pos) {
            error_setg(errp, "Header extension too large");
            return false;
        }
        if (!read_extension(type, buf + pos, data_len, ext, errp)) {
            return false;
        }
        pos += MIN(QEMU_ALIGN_UP((size_t)data_len, 8), len - pos);
    }
    return true;
}

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
    uint8_t table[ARRAY_SIZE(known_features) * FEATURE_ENTRY_LEN] = { 0 };

    for (size_t i = 0; i < ARRAY_SIZE(known_features); i++) {
        uint8_t *entry = table + i * FEATURE_ENTRY_LEN;

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
    return bdrv_co_pwrite_sync(bs->file, offset, len, buf, 0);
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
    bool has_bitmaps = s->bitmaps->len && (s->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS);
    uint64_t kept = (s->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW) |
                    (has_bitmaps ? QCOW2_AUTOCLEAR_BITMAPS : 0);
    uint64_t be = cpu_to_be64(kept);
    int ret = 0;

    CO_LOCK_GUARD(&s->lock);
    if (!s->needs_autoclear) {
        return 0;
    }
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
 * which comes next; and last the first sector as it shall be.
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
        ret = bdrv_co_pwrite_sync(bs->file, 0, BDRV_SECTOR_SIZE, bare, 0);
    }
    if (ret >= 0 && rest) {
        ret = bdrv_co_pwrite_sync(bs->file, BDRV_SECTOR_SIZE, rest, new + BDRV_SECTOR_SIZE, 0);
    }
    if (ret >= 0 && memcmp(bare, new, BDRV_SECTOR_SIZE)) {
        ret = bdrv_co_pwrite_sync(bs->file, 0, BDRV_SECTOR_SIZE, new, 0);
    }
    return ret;
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
 * at the old place, which comes next; and last the first sector as it shall be.
 */
static int coroutine_fn co_switch_long_header(BlockDriverState *bs, uint8_t *bare,
                                              const uint8_t *new, uint64_t detour)
{
    Qcow2State *s = bs->opaque;
    uint32_t ext_start = ldl_be_p(bare + 100), name_len = ldl_be_p(bare + 16);
    uint32_t len = header_end(s, bare) - ext_start;
    int ret = bdrv_co_pwrite_sync(bs->file, detour, len, bare + ext_start, 0);

    if (ret >= 0) {
        stl_be_p(bare + 100, detour);
        stq_be_p(bare + 8, name_len ? detour + len - name_len : 0);
        ret = bdrv_co_pwrite_sync(bs->file, 0, BDRV_SECTOR_SIZE, bare, 0);
    }
    if (ret >= 0) {
        ret = bdrv_co_pwrite_sync(bs->file, BDRV_SECTOR_SIZE, detour - BDRV_SECTOR_SIZE,
                                  new + BDRV_SECTOR_SIZE, 0);
    }
    if (ret >= 0) {
        ret = bdrv_co_pwrite_sync(bs->file, 0, BDRV_SECTOR_SIZE, new, 0);
    }
    return ret < 0 ? ret
                   : bdrv_co_pwrite_zeroes(bs->file, detour, s->cluster_size - detour, 0);
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
        ret = bdrv_co_pwrite_sync(bs->file, 0, BDRV_SECTOR_SIZE, new, 0);
    } else if (ret >= 0) {
        uint64_t detour = detour_start(s, old, new, header_end(s, bare));

        if (!detour) {
            error_setg(errp, "The header cluster has no room to change so many extensions safely");
            return -ENOSPC;
        }
        ret = co_switch_long_header(bs, bare, new, detour);
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
