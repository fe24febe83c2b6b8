/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "../../lib/testlib.h"

#define NBITS 300

static void assert_like_model(const unsigned long *map, const bool *model)
{
    long count = 0, last = NBITS;

    for (long i = 0; i < NBITS; i++) {
        g_assert_cmpint(test_bit(i, map), ==, model[i]);
        count += model[i];
        last = model[i] ? i : last;
    }
    g_assert_cmpint(bitmap_count_one(map, NBITS), ==, count);
    g_assert_cmpint(find_last_bit(map, NBITS), ==, last);
    g_assert_cmpint(bitmap_empty(map, NBITS), ==, count == 0);
    g_assert_cmpint(bitmap_full(map, NBITS), ==, count == NBITS);
}

static long model_find(const bool *model, long start, bool wanted)
{
    while (start < NBITS && model[start] != wanted) {
        start++;
    }
    return start;
}

static void test_ranges_match_model(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree unsigned long *map = bitmap_new(NBITS);
    bool model[NBITS] = { false };

    for (int round = 0; round < 3000; round++) {
        long start = test_rand_below(rand, NBITS);
        long nr = test_rand_below(rand, test_rand_below(rand, 2) ? 8 : NBITS - start + 1);
        long any = 0;

        nr = MIN(nr, NBITS - start);
        for (long i = start; i < start + nr; i++) {
            any += model[i];
        }
        g_assert_cmpint(bitmap_count_one_with_offset(map, start, nr), ==, any);
        int op = test_rand_below(rand, 5);
        for (long i = start; i < start + nr; i++) {
            model[i] = op < 2;
        }
        switch (op) {
        case 0:
            bitmap_set(map, start, nr);
            break;
        case 1:
            bitmap_set_atomic(map, start, nr);
            break;
        case 2:
            bitmap_clear(map, start, nr);
            break;
        case 3:
            g_assert_cmpint(bitmap_test_and_clear(map, start, nr), ==, any != 0);
            break;
        default:
            g_assert_cmpint(bitmap_test_and_clear_atomic(map, start, nr), ==, any != 0);
        }
        assert_like_model(map, model);
        long from = test_rand_below(rand, NBITS + 1);
        g_assert_cmpint(find_next_bit(map, NBITS, from), ==, model_find(model, from, true));
        g_assert_cmpint(find_next_zero_bit(map, NBITS, from), ==, model_find(model, from, false));
    }
}

static void test_single_bits(void)
{
    DECLARE_BITMAP(map, 128) = { 0 };

    set_bit(127, map);
    g_assert_true(test_and_set_bit(127, map));
    g_assert_false(test_and_set_bit(0, map));
    change_bit(0, map);
    g_assert_cmpint(find_first_bit(map, 128), ==, 127);
    g_assert_true(test_and_clear_bit(127, map));
    g_assert_cmpint(find_first_bit(map, 128), ==, 128);
    set_bit_atomic(64, map);
    g_assert_true(test_bit(64, map));
    clear_bit_atomic(64, map);
    g_assert_cmpint(find_first_zero_bit(map, 128), ==, 0);
}

static void test_zero_area_is_aligned(void)
{
    DECLARE_BITMAP(map, 100) = { 0 };

    bitmap_set(map, 0, 3);
    bitmap_set(map, 10, 1);
    g_assert_cmpint(bitmap_find_next_zero_area(map, 100, 0, 7, 1), ==, 3);
    g_assert_cmpint(bitmap_find_next_zero_area(map, 100, 0, 8, 1), ==, 11);
    g_assert_cmpint(bitmap_find_next_zero_area(map, 100, 0, 7, 4), ==, 12);
    g_assert_cmpint(bitmap_find_next_zero_area(map, 100, 0, 90, 1), ==, 100);
    g_assert_cmpint(bitmap_find_next_zero_area(map, 100, 0, 89, 1), ==, 11);
}

static void test_logic_ignores_bits_beyond_end(void)
{
    unsigned long a[1] = { 0xf5 }, b[1] = { 0xf3 }, dst[1];

    g_assert_true(bitmap_and(dst, a, b, 4));
    g_assert_cmpint(dst[0] & 15, ==, 1);
    g_assert_true(bitmap_andnot(dst, a, b, 4));
    g_assert_cmpint(dst[0] & 15, ==, 4);
    bitmap_or(dst, a, b, 4);
    g_assert_cmpint(dst[0] & 15, ==, 7);
    bitmap_xor(dst, a, b, 4);
    g_assert_cmpint(dst[0] & 15, ==, 6);
    g_assert_false(bitmap_equal(a, b, 4));
    a[0] = 0x13;
    g_assert_true(bitmap_equal(a, b, 4));
    bitmap_complement(dst, a, 4);
    g_assert_false(bitmap_intersects(a, dst, 4));
}

static void test_extend_clears_new_bits(void)
{
    unsigned long *map = bitmap_new(70);

    bitmap_fill(map, 70);
    map[1] = ~0UL;              /* rubbish beyond the end */
    map = bitmap_zero_extend(map, 70, 1000);
    g_assert_cmpint(bitmap_count_one(map, 1000), ==, 70);
    map = bitmap_zero_extend(map, 1000, 60);
    g_assert_true(bitmap_full(map, 60));
    g_free(map);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/bitmap/ranges/match-model", test_ranges_match_model);
    g_test_add_func("/bitmap/bit/set-test-clear", test_single_bits);
    g_test_add_func("/bitmap/zero-area/is-aligned", test_zero_area_is_aligned);
    g_test_add_func("/bitmap/logic/ignores-bits-beyond-end", test_logic_ignores_bits_beyond_end);
    g_test_add_func("/bitmap/extend/clears-new-bits", test_extend_clears_new_bits);
    return g_test_run();
}
