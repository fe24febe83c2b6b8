/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "qemu/ranges.h"
#include "../../lib/testlib.h"

static void test_ranges_overlap_at_the_end_of_numbers(void)
{
    g_assert_true(ranges_overlap(0, 10, 9, 1));
    g_assert_false(ranges_overlap(0, 10, 10, 1));
    g_assert_false(ranges_overlap(5, 0, 0, 10));
    g_assert_true(ranges_overlap(UINT64_MAX, 1, 0, UINT64_MAX) == false);
    g_assert_true(ranges_overlap(UINT64_MAX - 5, 6, UINT64_MAX, 1));
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/ranges/overlap/at-the-end-of-numbers",
                    test_ranges_overlap_at_the_end_of_numbers);
    return g_test_run();
}
