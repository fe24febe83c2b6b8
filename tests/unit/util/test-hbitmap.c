/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/hbitmap.h"
#include "../../lib/testlib.h"

/* A hierarchical bitmap and the plain array it must agree with. */
typedef struct Pair {
    HBitmap *hb;
    bool *bits;
    int64_t nbits;
    int64_t size;
    int gran;
} Pair;

static void pair_init(Pair *p, int64_t size, int gran)
{
    p->hb = hbitmap_alloc(size, gran);
    p->size = size;
    p->gran = gran;
    p->nbits = (size + (INT64_C(1) << gran) - 1) >> gran;
    p->bits = g_new0(bool, p->nbits);
}

static void pair_done(Pair *p)
{
    hbitmap_free(p->hb);
    g_free(p->bits);
}

/* Change a random range, short or long. */
static void pair_change(Pair *p, GRand *rand)
{
    bool set = test_rand_below(rand, 2);
    int64_t first = test_rand_below(rand, p->nbits);
    int64_t n = 1 + test_rand_below(rand, test_rand_below(rand, 3) ? 5 : p->nbits - first);
    int64_t start, end;

    n = MIN(n, p->nbits - first);
    memset(p->bits + first, set, n);
    start = first << p->gran;
    end = MIN((first + n) << p->gran, p->size);
    if (set) {
        /* Any item of a bit sets it. */
        start += test_rand_below(rand, MIN(end - start, INT64_C(1) << p->gran));
        hbitmap_set(p->hb, start, end - start);
    } else {
        hbitmap_reset(p->hb, start, end - start);
    }
}

static int64_t model_find(const Pair *p, int64_t start, int64_t end, bool wanted)
{
    for (; start < end; start++) {
        if (p->bits[start >> p->gran] == wanted) {
            return start;
        }
    }
    return -1;
}

static void assert_same(const Pair *p)
{
    HBitmapIter iter;
    int64_t count = 0, item;

    hbitmap_iter_init(&iter, p->hb, 0);
    for (int64_t bit = 0; bit < p->nbits; bit++) {
        if (p->bits[bit]) {
            g_assert_cmpint(hbitmap_iter_next(&iter), ==, bit << p->gran);
            count++;
        }
    }
    item = hbitmap_iter_next(&iter);
    g_assert_cmpint(item, ==, -1);
    g_assert_cmpuint(hbitmap_count(p->hb), ==, count << p->gran);
    g_assert_cmpint(hbitmap_empty(p->hb), ==, count == 0);
}

static void assert_searches_agree(const Pair *p, GRand *rand)
{
    int64_t start = test_rand_below(rand, p->size);
    int64_t count = 1 + test_rand_below(rand, p->size);
    int64_t end = MIN(start + count, p->size);
    int64_t dirty = model_find(p, start, end, true);
    int64_t max = 1 + test_rand_below(rand, 200);
    int64_t area, len;

    g_assert_cmpint(hbitmap_next_dirty(p->hb, start, count), ==, dirty);
    g_assert_cmpint(hbitmap_next_zero(p->hb, start, count), ==, model_find(p, start, end, false));
    g_assert_cmpint(hbitmap_get(p->hb, start), ==, p->bits[start >> p->gran]);
    if (hbitmap_next_dirty_area(p->hb, start, start + count, max, &area, &len)) {
        int64_t zero = model_find(p, dirty, end, false);
        g_assert_cmpint(area, ==, dirty);
        g_assert_cmpint(len, ==, MIN((zero < 0 ? end : zero) - dirty, max));
    } else {
        g_assert_cmpint(dirty, ==, -1);
    }
}

static void test_random_against_model(void)
{
    static const struct {
        int64_t size;
        int gran;
    } shapes[] = { { 1, 0 }, { 64, 0 }, { 65, 0 }, { 5000, 0 }, { 5001, 3 }, { 300000, 6 } };
    g_autoptr(GRand) rand = test_rand_new();

    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        Pair p;

        pair_init(&p, shapes[i].size, shapes[i].gran);
        assert_same(&p);
        for (int round = 0; round < 300; round++) {
            pair_change(&p, rand);
            assert_same(&p);
            assert_searches_agree(&p, rand);
        }
        hbitmap_reset_all(p.hb);
        memset(p.bits, 0, p.nbits);
        assert_same(&p);
        pair_done(&p);
    }
}

static void test_truncate_against_model(void)
{
    g_autoptr(GRand) rand = test_rand_new();

    for (int round = 0; round < 300; round++) {
        Pair p;
        int64_t nbits, size = test_rand_below(rand, 9000);
        int gran = test_rand_below(rand, 4);

        pair_init(&p, 1 + test_rand_below(rand, 9000), gran);
        for (int i = 0; i < 5; i++) {
            pair_change(&p, rand);
        }
        nbits = (size + (INT64_C(1) << gran) - 1) >> gran;
        p.bits = g_renew(bool, p.bits, nbits);
        if (nbits > p.nbits) {
            memset(p.bits + p.nbits, 0, nbits - p.nbits);
        }
        p.size = size;
        p.nbits = nbits;
        hbitmap_truncate(p.hb, size);
        assert_same(&p);
        if (size) {
            pair_change(&p, rand);
            assert_same(&p);
        }
        pair_done(&p);
    }
}

static void test_merge_against_model(void)
{
    g_autoptr(GRand) rand = test_rand_new();

    for (int round = 0; round < 200; round++) {
        int64_t size = 1 + test_rand_below(rand, 5000);
        Pair a, b, r;

        pair_init(&a, size, 0);
        pair_init(&b, size, test_rand_below(rand, 2) ? 0 : 3);
        pair_init(&r, size, 0);
        for (int i = 0; i < 4; i++) {
            pair_change(&a, rand);
            pair_change(&b, rand);
            pair_change(&r, rand);
        }
        for (int64_t i = 0; i < size; i++) {
            r.bits[i] = a.bits[i] || b.bits[i >> b.gran];
        }
        hbitmap_merge(a.hb, b.hb, r.hb);
        assert_same(&r);
        hbitmap_merge(a.hb, b.hb, a.hb);
        memcpy(a.bits, r.bits, size);
        assert_same(&a);
        pair_done(&a);
        pair_done(&b);
        pair_done(&r);
    }
}

static void test_serialize_round_trip_in_parts(void)
{
    g_autoptr(GRand) rand = test_rand_new();

    for (int round = 0; round < 50; round++) {
        Pair p;
        pair_init(&p, 1 + test_rand_below(rand, 20000), 2);
        g_autoptr(HBitmap) copy = hbitmap_alloc(p.size, 2);
        int64_t part = hbitmap_serialization_align(p.hb) * (1 + test_rand_below(rand, 5));

        for (int i = 0; i < 6; i++) {
            pair_change(&p, rand);
        }
        for (int64_t at = 0; at < p.size; at += part) {
            int64_t n = MIN(part, p.size - at);
            uint64_t len = hbitmap_serialization_size(p.hb, at, n);
            g_autofree uint8_t *buf = g_malloc(len);
            hbitmap_serialize_part(p.hb, buf, at, n);
            hbitmap_deserialize_part(copy, buf, at, n, false);
        }
        hbitmap_deserialize_finish(copy);
        hbitmap_free(p.hb);
        p.hb = g_steal_pointer(&copy);
        assert_same(&p);
        pair_done(&p);
    }
}

static void test_serialize_is_little_endian(void)
{
    g_autoptr(HBitmap) hb = hbitmap_alloc(70, 0);
    uint8_t buf[16];

    g_assert_true(hbitmap_is_serializable(hb));
    hbitmap_set(hb, 9, 1);
    hbitmap_set(hb, 64, 1);
    g_assert_cmpuint(hbitmap_serialization_size(hb, 0, 70), ==, 16);
    hbitmap_serialize_part(hb, buf, 0, 70);
    g_assert_cmphex(buf[1], ==, 2);
    g_assert_cmphex(buf[8], ==, 1);
    memset(buf, 0xff, sizeof(buf));
    hbitmap_deserialize_part(hb, buf, 0, 70, true);
    g_assert_cmpuint(hbitmap_count(hb), ==, 70);
    hbitmap_deserialize_zeroes(hb, 0, 64, true);
    g_assert_cmpuint(hbitmap_count(hb), ==, 6);
    hbitmap_deserialize_ones(hb, 0, 70, true);
    g_assert_cmpuint(hbitmap_count(hb), ==, 70);
    g_assert_cmpint(hbitmap_next_zero(hb, 0, 70), ==, -1);
}

static void test_iterator_sees_changes_ahead(void)
{
    g_autoptr(HBitmap) hb = hbitmap_alloc(10000, 0);
    HBitmapIter iter;

    hbitmap_set(hb, 5, 1);
    hbitmap_set(hb, 70, 1);
    hbitmap_iter_init(&iter, hb, 0);
    g_assert_cmpint(hbitmap_iter_next(&iter), ==, 5);
    hbitmap_reset(hb, 70, 1);
    hbitmap_set(hb, 6000, 1);
    g_assert_cmpint(hbitmap_iter_next(&iter), ==, 6000);
    g_assert_cmpint(hbitmap_iter_next(&iter), ==, -1);
    g_assert_cmpint(hbitmap_iter_next(&iter), ==, -1);
}

static void test_too_large_is_an_error(void)
{
    Error *err = NULL;

    g_assert_null(hbitmap_try_alloc(INT64_MAX, 9, &err));
    g_assert_nonnull(err);
    error_free_or_abort(&err);
    g_autoptr(HBitmap) hb = hbitmap_alloc(INT64_MAX, 50);
    hbitmap_set(hb, INT64_MAX - 1, 1);
    g_assert_cmpint(hbitmap_next_dirty(hb, 0, INT64_MAX), ==,
                    (INT64_MAX - 1) & ~((INT64_C(1) << 50) - 1));
    g_assert_false(hbitmap_try_truncate(hb, UINT64_MAX, &err));
    error_free_or_abort(&err);
    g_assert_cmpuint(hbitmap_size(hb), ==, INT64_MAX);
}

static void test_sha256_of_bytes(void)
{
    static const unsigned char bytes[8] = { 0x80 };
    g_autoptr(HBitmap) hb = hbitmap_alloc(64, 0);
    g_autofree char *expected = g_compute_checksum_for_data(G_CHECKSUM_SHA256, bytes, 8);
    hbitmap_set(hb, 7, 1);
    g_autofree char *seen = hbitmap_sha256(hb, &error_abort);

    g_assert_cmpstr(seen, ==, expected);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/hbitmap/random/matches-model", test_random_against_model);
    g_test_add_func("/hbitmap/truncate/matches-model", test_truncate_against_model);
    g_test_add_func("/hbitmap/merge/matches-model", test_merge_against_model);
    g_test_add_func("/hbitmap/serialize/round-trip-in-parts", test_serialize_round_trip_in_parts);
    g_test_add_func("/hbitmap/serialize/is-little-endian", test_serialize_is_little_endian);
    g_test_add_func("/hbitmap/iterator/sees-changes-ahead", test_iterator_sees_changes_ahead);
    g_test_add_func("/hbitmap/alloc/too-large-is-an-error", test_too_large_is_an_error);
    g_test_add_func("/hbitmap/sha256/of-serialized-bytes", test_sha256_of_bytes);
    return g_test_run();
}
