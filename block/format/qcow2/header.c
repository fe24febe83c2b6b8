/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading the header cluster: fixed fields and extensions, and whether they can be.  Pure.
 */
#include "qemu/osdep.h"

#include "crypto/luks.h"
#include "qcow2.h"

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

char *qcow2_unknown_features_text(uint64_t unknown, const Qcow2Extensions *ext)
{
    GString *text = g_string_new(NULL);
    size_t len = 0;
    const uint8_t *table = ext->features ? g_bytes_get_data(ext->features, &len) : NULL;

    for (; len >= QCOW2_FEATURE_ENTRY_LEN; len -= QCOW2_FEATURE_ENTRY_LEN) {
        bool is_incompatible = table[0] == 0;
        uint64_t bit = table[1] < 64 ? UINT64_C(1) << table[1] : 0;

        if (is_incompatible && (unknown & bit)) {
            g_string_append_printf(text, "%s%.46s", text->len ? ", " : "",
                                   (const char *)table + 2);
            unknown &= ~bit;
        }
        table += QCOW2_FEATURE_ENTRY_LEN;
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
    if (ext->bitmap_dir_offset > INT64_MAX - QCOW2_MAX_BITMAP_DIR_BYTES) {
        error_setg(errp, "bitmaps_ext: invalid bitmap directory offset");
        return false;
    }
    if (ext->bitmap_dir_size > QCOW2_MAX_BITMAP_DIR_BYTES) {
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
