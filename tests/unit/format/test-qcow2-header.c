/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pure parts of qcow2: header and extensions, refcounts of every width, L2 entries. */
#include "qemu/osdep.h"

#include "../../../block/format/qcow2/qcow2.h"
#include "../../lib/testlib.h"

/* ---- header -------------------------------------------------------------------------------- */

static Qcow2Header good_header(void)
{
    return (Qcow2Header){
        .version = 3,
        .cluster_bits = 16,
        .size = 1 * MiB,
        .l1_size = 1,
        .l1_offset = 3 * 65536,
        .reftable_offset = 65536,
        .reftable_clusters = 1,
        .refcount_order = 4,
    };
}

/* The header cluster of @h with nothing else in it. */
static uint8_t *build(const Qcow2Header *h, const Qcow2Extensions *ext, const char *backing)
{
    Qcow2HeaderImage image = { h, ext, NULL, backing, false };
    size_t len = (size_t)1 << h->cluster_bits;
    uint8_t *buf = g_malloc(len);

    g_assert_true(qcow2_header_build(&image, buf, len, &error_abort));
    return buf;
}

static void test_header_round_trip(void)
{
    Qcow2Header h = good_header(), got;
    Qcow2Extensions ext = { .backing_format = "raw", .has_bitmaps = true, .nb_bitmaps = 2,
                            .bitmap_dir_size = 64, .bitmap_dir_offset = 5 * 65536 };
    Qcow2Extensions got_ext = { 0 };
    g_autofree uint8_t *buf = NULL;
    uint64_t end;

    h.compatible = QCOW2_COMPAT_LAZY_REFCOUNTS;
    h.autoclear = QCOW2_AUTOCLEAR_BITMAPS;
    buf = build(&h, &ext, "base.img");
    g_assert_true(qcow2_header_parse(buf, 65536, &got, &error_abort));
    g_assert_cmpuint(got.size, ==, h.size);
    g_assert_cmpuint(got.header_len, ==, QCOW2_HEADER_LEN);
    g_assert_cmpuint(got.compatible, ==, h.compatible);
    g_assert_cmpmem(buf + got.backing_offset, got.backing_len, "base.img", 8);
    end = qcow2_header_ext_end(&got);
    g_assert_true(qcow2_extensions_parse(buf + got.header_len, end - got.header_len, &got_ext,
                                         &error_abort));
    g_assert_cmpstr(got_ext.backing_format, ==, "raw");
    g_assert_cmpuint(got_ext.nb_bitmaps, ==, 2);
    g_assert_cmpuint(got_ext.bitmap_dir_offset, ==, 5 * 65536);
    g_assert_cmpuint(g_bytes_get_size(got_ext.features), ==, 384);
    g_assert_true(qcow2_header_validate(&got, &got_ext, false, &error_abort));
    qcow2_extensions_clear(&got_ext);
}

typedef struct BadHeader {
    void (*spoil)(Qcow2Header *h);
    const char *message;
} BadHeader;

#define SPOIL(name, field, value) \
    static void name(Qcow2Header *h) \
    { \
        h->field = value; \
    }

SPOIL(l1_short, size, (uint64_t)2 << 29)
SPOIL(l1_huge, l1_size, 0xffffffff)
SPOIL(l1_unaligned, l1_offset, 3 * 65536 + 512)
SPOIL(reftable_none, reftable_clusters, 0)
SPOIL(reftable_huge, reftable_clusters, 129)
SPOIL(reftable_far, reftable_offset, UINT64_MAX - 65535)
SPOIL(snapshots_many, nb_snapshots, 65537)
SPOIL(size_huge, size, UINT64_MAX)
SPOIL(order_wide, refcount_order, 7)
SPOIL(crypt_unknown, crypt_method, 3)
SPOIL(unknown_feature, incompatible, UINT64_C(1) << 30)
SPOIL(zstd_without_bit, compression_type, 1)
SPOIL(bit_without_zstd, incompatible, QCOW2_INCOMPAT_COMPRESSION)
SPOIL(raw_without_file, autoclear, QCOW2_AUTOCLEAR_DATA_FILE_RAW)

static const BadHeader bad_headers[] = {
    { l1_short, "L1 table is too small" },
    { l1_huge, "Active L1 table too large" },
    { l1_unaligned, "Active L1 table offset invalid" },
    { reftable_none, "Image does not contain a reference count table" },
    { reftable_huge, "Reference count table too large" },
    { reftable_far, "Reference count table offset invalid" },
    { snapshots_many, "Snapshot table too large" },
    { size_huge, "Image is too big" },
    { order_wide, "Reference count entry width too large; may not exceed 64 bits" },
    { crypt_unknown, "Unsupported encryption method 3" },
    { unknown_feature, "Unsupported qcow2 feature(s): Unknown incompatible feature: 40000000" },
    { zstd_without_bit, "qcow2: Compression type incompatible feature bit must be set" },
    { bit_without_zstd, "qcow2: Compression type incompatible feature bit must not be set" },
    { raw_without_file, "data-file-raw requires a data file" },
};

static void test_header_refused(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(bad_headers); i++) {
        Qcow2Header h = good_header();
        Qcow2Extensions ext = { 0 };
        Error *err = NULL;

        bad_headers[i].spoil(&h);
        g_assert_false(qcow2_header_validate(&h, &ext, false, &err));
        g_assert_cmpstr(error_get_pretty(err), ==, bad_headers[i].message);
        error_free(err);
    }
}

static void test_crypto_refused(void)
{
    static const struct {
        uint32_t method;
        bool has_ext;
        uint64_t offset, len;
        const char *message;
    } rows[] = {
        { 0, true, 0x30000, 4096,
          "CRYPTO header extension only expected with LUKS encryption method" },
        { 1, true, 0x30000, 4096,
          "CRYPTO header extension only expected with LUKS encryption method" },
        { 2, false, 0, 0, "Missing CRYPTO header for crypt method 2" },
        { 2, true, 0x30200, 4096,
          "Encryption header offset '197120' is not a multiple of cluster size '65536'" },
        { 2, true, 0, 4096, "Encryption header offset '0' is invalid" },
        { 2, true, UINT64_C(1) << 63, 4096,
          "Encryption header offset '9223372036854775808' is invalid" },
        { 2, true, 0x30000, 0, "Encryption header of 0 bytes is too small" },
        { 2, true, 0x30000, 591, "Encryption header of 591 bytes is too small" },
        { 2, true, 0x30000, UINT64_MAX,
          "Encryption header of 18446744073709551615 bytes is too large" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        Qcow2Header h = good_header();
        Qcow2Extensions ext = {
            .has_crypto = rows[i].has_ext,
            .crypto_offset = rows[i].offset,
            .crypto_len = rows[i].len,
        };
        Error *err = NULL;

        h.crypt_method = rows[i].method;
        g_assert_false(qcow2_header_validate(&h, &ext, false, &err));
        g_assert_cmpstr(error_get_pretty(err), ==, rows[i].message);
        error_free(err);
    }
}

static void expect_parse_error(const uint8_t *buf, size_t len, const char *message)
{
    Error *err = NULL;
    Qcow2Header h;

    g_assert_false(qcow2_header_parse(buf, len, &h, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_free(err);
}

static void test_header_layout(void)
{
    Qcow2Header h = good_header();
    Qcow2Extensions ext = { 0 };
    g_autofree uint8_t *buf = build(&h, &ext, NULL);

    expect_parse_error(buf, 3, "Image is not in qcow2 format");
    stl_be_p(buf + 4, 7);
    expect_parse_error(buf, 112, "Unsupported qcow2 version 7");
    stl_be_p(buf + 4, 3);
    stl_be_p(buf + 100, 96);
    expect_parse_error(buf, 112, "qcow2 header too short");
    stl_be_p(buf + 100, 65544);
    expect_parse_error(buf, 112, "qcow2 header exceeds cluster size");
    stl_be_p(buf + 100, 112);
    stq_be_p(buf + 8, 65537);
    expect_parse_error(buf, 112, "Invalid backing file offset");
    stq_be_p(buf + 8, 0);
    stl_be_p(buf + 20, 8);
    expect_parse_error(buf, 112, "Unsupported cluster size: 2^8");
    stl_be_p(buf + 20, 22);
    expect_parse_error(buf, 112, "Unsupported cluster size: 2^22");
}

static void test_feature_names(void)
{
    uint8_t table[96] = { 0, 33 };
    Qcow2Extensions ext = { 0 };
    g_autofree char *text = NULL;

    strcpy((char *)table + 2, "warp drive");
    table[48] = 1; /* a compatible feature of the same bit has nothing to say here */
    table[49] = 34;
    ext.features = g_bytes_new(table, sizeof(table));
    text = qcow2_unknown_features_text(UINT64_C(3) << 33, &ext);
    g_assert_cmpstr(text, ==, "warp drive, Unknown incompatible feature: 400000000");
    qcow2_extensions_clear(&ext);
}

static void test_extension_too_long(void)
{
    uint8_t buf[32] = { 0 };
    Qcow2Extensions ext = { 0 };
    Error *err = NULL;

    stl_be_p(buf, 0x12345678);
    stl_be_p(buf + 4, 25);
    g_assert_false(qcow2_extensions_parse(buf, sizeof(buf), &ext, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Header extension too large");
    error_free(err);
    qcow2_extensions_clear(&ext);
}

static void test_unknown_extension_kept(void)
{
    uint8_t buf[32] = { 0 };
    Qcow2Header h = good_header();
    Qcow2Extensions ext = { 0 }, again = { 0 };
    g_autofree uint8_t *cluster = NULL;
    Qcow2UnknownExt *unknown;

    stl_be_p(buf, 0x12345678);
    stl_be_p(buf + 4, 5);
    memcpy(buf + 8, "hello", 5);
    g_assert_true(qcow2_extensions_parse(buf, sizeof(buf), &ext, &error_abort));
    cluster = build(&h, &ext, NULL);
    g_assert_true(qcow2_extensions_parse(cluster + 112, 65536 - 112, &again, &error_abort));
    g_assert_cmpuint(again.unknown->len, ==, 1);
    unknown = &g_array_index(again.unknown, Qcow2UnknownExt, 0);
    g_assert_cmphex(unknown->type, ==, 0x12345678);
    g_assert_cmpmem(g_bytes_get_data(unknown->data, NULL), g_bytes_get_size(unknown->data),
                    "hello", 5);
    qcow2_extensions_clear(&ext);
    qcow2_extensions_clear(&again);
}

/* ---- refcounts ----------------------------------------------------------------------------- */

static void test_refcount_widths(void)
{
    g_autoptr(GRand) rand = test_rand_new();

    for (uint32_t bits = 1; bits <= 64; bits *= 2) {
        uint64_t model[64], max = UINT64_MAX >> (64 - bits);
        uint8_t block[512] = { 0 };

        memset(model, 0, sizeof(model));
        for (int round = 0; round < 500; round++) {
            int index = g_rand_int_range(rand, 0, 64);

            model[index] = test_rand_below(rand, UINT64_MAX) & max;
            qcow2_refcount_write(block, bits, index, model[index]);
            for (int i = 0; i < 64; i++) {
                g_assert_cmphex(qcow2_refcount_read(block, bits, i), ==, model[i]);
            }
        }
    }
}

static void test_refcount_layout(void)
{
    uint8_t block[16] = { 0 };

    /* Below a byte the lowest bits come first; above, big endian. */
    qcow2_refcount_write(block, 1, 3, 1);
    g_assert_cmphex(block[0], ==, 0x08);
    qcow2_refcount_write(block, 4, 2, 0xa);
    g_assert_cmphex(block[1], ==, 0x0a);
    qcow2_refcount_write(block, 16, 2, 0x1234);
    g_assert_cmphex(block[4], ==, 0x12);
    g_assert_cmphex(block[5], ==, 0x34);
}

/* ---- L2 entries ---------------------------------------------------------------------------- */

static void test_entry_kinds(void)
{
    Qcow2State s = { .header.version = 3 };
    uint64_t host = 0x50000;

    g_assert_cmpint(qcow2_entry_kind(&s, 0), ==, QCOW2_UNALLOCATED);
    g_assert_cmpint(qcow2_entry_kind(&s, host | QCOW2_COPIED), ==, QCOW2_DATA);
    g_assert_cmpint(qcow2_entry_kind(&s, host), ==, QCOW2_DATA);
    g_assert_cmpint(qcow2_entry_kind(&s, QCOW2_ZERO), ==, QCOW2_ZERO_PLAIN);
    g_assert_cmpint(qcow2_entry_kind(&s, host | QCOW2_ZERO), ==, QCOW2_ZERO_ALLOC);
    g_assert_cmpint(qcow2_entry_kind(&s, QCOW2_COMPRESSED | 1), ==, QCOW2_DEFLATED);
    s.header.version = 2;
    g_assert_cmpint(qcow2_entry_kind(&s, host | QCOW2_ZERO), ==, QCOW2_INVALID);
}

static void test_subcluster_kinds(void)
{
    Qcow2State s = { .header.version = 3, .is_extended_l2 = true };
    uint64_t host = 0x50000;
    uint64_t alloc = UINT64_C(1) << 4, zero = UINT64_C(1) << 36;

    g_assert_cmpint(qcow2_subcluster_kind(&s, 0, 0, 4), ==, QCOW2_UNALLOCATED);
    g_assert_cmpint(qcow2_subcluster_kind(&s, 0, zero, 4), ==, QCOW2_ZERO_PLAIN);
    g_assert_cmpint(qcow2_subcluster_kind(&s, 0, alloc, 4), ==, QCOW2_INVALID);
    g_assert_cmpint(qcow2_subcluster_kind(&s, host, 0, 4), ==, QCOW2_UNALLOCATED_RESERVED);
    g_assert_cmpint(qcow2_subcluster_kind(&s, host, zero, 4), ==, QCOW2_ZERO_ALLOC);
    g_assert_cmpint(qcow2_subcluster_kind(&s, host, alloc, 4), ==, QCOW2_DATA);
    g_assert_cmpint(qcow2_subcluster_kind(&s, host, alloc | zero, 4), ==, QCOW2_INVALID);
    /* In a data file offset 0 is a place. */
    s.has_data_file = true;
    g_assert_cmpint(qcow2_subcluster_kind(&s, QCOW2_COPIED, alloc, 4), ==, QCOW2_DATA);
    g_assert_cmpint(qcow2_subcluster_kind(&s, 0, alloc, 4), ==, QCOW2_INVALID);
}

static void test_compressed_place(void)
{
    Qcow2State s = { .cluster_bits = 16 };
    uint64_t offset;
    uint32_t len;

    /* From an image of stock's: three sectors at 0x50000, then the rest of one at 0x5050f. */
    qcow2_parse_compressed(&s, UINT64_C(0x4080000000050000), &offset, &len);
    g_assert_cmphex(offset, ==, 0x50000);
    g_assert_cmpuint(len, ==, 3 * 512);
    qcow2_parse_compressed(&s, UINT64_C(0x400000000005050f), &offset, &len);
    g_assert_cmphex(offset, ==, 0x5050f);
    g_assert_cmpuint(len, ==, 512 - 0x10f);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/qcow2/header/build-and-parse-agree", test_header_round_trip);
    g_test_add_func("/qcow2/header/bad-fields-are-refused-by-name", test_header_refused);
    g_test_add_func("/qcow2/header/bad-encryption-is-refused-by-name", test_crypto_refused);
    g_test_add_func("/qcow2/header/bad-layout-is-refused-by-name", test_header_layout);
    g_test_add_func("/qcow2/header/unknown-features-are-named-by-the-table", test_feature_names);
    g_test_add_func("/qcow2/extensions/length-past-the-end-is-refused", test_extension_too_long);
    g_test_add_func("/qcow2/extensions/unknown-ones-are-kept", test_unknown_extension_kept);
    g_test_add_func("/qcow2/refcount/every-width-keeps-neighbours", test_refcount_widths);
    g_test_add_func("/qcow2/refcount/layout-as-specified", test_refcount_layout);
    g_test_add_func("/qcow2/entry/kinds", test_entry_kinds);
    g_test_add_func("/qcow2/entry/subcluster-kinds", test_subcluster_kinds);
    g_test_add_func("/qcow2/entry/place-of-compressed-data", test_compressed_place);
    return g_test_run();
}
