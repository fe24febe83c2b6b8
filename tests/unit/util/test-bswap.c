/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/memalign.h"
#include "../../lib/testlib.h"

static void test_bytes_in_memory(void)
{
    /* At odd addresses, on purpose. */
    uint8_t buf[9] = { 0, 0xf1, 2, 3, 4, 5, 6, 7, 8 };
    uint8_t *p = buf + 1;

    g_assert_cmphex(lduw_be_p(p), ==, 0xf102);
    g_assert_cmphex(lduw_le_p(p), ==, 0x02f1);
    g_assert_cmpint(ldsw_be_p(p), ==, (int16_t)0xf102);
    g_assert_cmpint(ldl_be_p(p), ==, (int32_t)0xf1020304);
    g_assert_cmphex((uint32_t)ldl_le_p(p), ==, 0x040302f1);
    g_assert_cmphex(ldq_be_p(p), ==, UINT64_C(0xf102030405060708));
    g_assert_cmphex(ldq_le_p(p), ==, UINT64_C(0x08070605040302f1));
    g_assert_cmphex(ldn_be_p(p, 4), ==, UINT64_C(0xf1020304));
    g_assert_cmphex(ldn_le_p(p, 1), ==, 0xf1);
    stq_be_p(p, UINT64_C(0x1122334455667788));
    g_assert_cmphex(ldq_le_p(p), ==, UINT64_C(0x8877665544332211));
    stl_le_p(p, 0x01020304);
    g_assert_cmphex(p[0], ==, 4);
    stw_be_p(p, 0x0a0b);
    g_assert_cmphex(p[0], ==, 0x0a);
    stn_le_p(p, 2, 0x0c0d);
    g_assert_cmphex(p[0], ==, 0x0d);
}

static void test_in_place(void)
{
    uint32_t x = 0x01020304;
    uint64_t y = 5;

    cpu_to_be32s(&x);
    g_assert_cmphex(((uint8_t *)&x)[0], ==, 1);
    be32_to_cpus(&x);
    g_assert_cmphex(x, ==, 0x01020304);
    cpu_to_le64s(&y);
    g_assert_cmphex(((uint8_t *)&y)[0], ==, 5);
    g_assert_cmphex(be64_to_cpu(cpu_to_be64(0x1234)), ==, 0x1234);
    g_assert_cmphex(cpu_to_be16(0x1234) ^ cpu_to_le16(0x1234), ==, 0x1234 ^ 0x3412);
}

static void test_bits(void)
{
    g_assert_true(is_power_of_2(1) && is_power_of_2(UINT64_C(1) << 63));
    g_assert_false(is_power_of_2(0) || is_power_of_2(6));
    g_assert_cmpuint(pow2floor(0), ==, 0);
    g_assert_cmpuint(pow2floor(100), ==, 64);
    g_assert_cmpuint(pow2ceil(0), ==, 1);
    g_assert_cmpuint(pow2ceil(65), ==, 128);
    g_assert_cmpuint(pow2ceil(64), ==, 64);
    g_assert_cmpuint(pow2ceil(UINT64_MAX), ==, 0);
    g_assert_cmpint(ctz64(0), ==, 64);
    g_assert_cmpint(clz32(1), ==, 31);
    g_assert_cmpuint(MIN_NON_ZERO(0, 5), ==, 5);
    g_assert_cmpuint(MIN_NON_ZERO(7, 5), ==, 5);
    g_assert_cmphex(extract64(UINT64_C(0xabcdef), 8, 8), ==, 0xcd);
    g_assert_cmpint(sextract32(0x80, 4, 4), ==, -8);
    g_assert_cmphex(deposit64(0, 60, 4, 0xff), ==, UINT64_C(0xf) << 60);
    g_assert_cmphex(rol32(0x80000001, 1), ==, 3);
    g_assert_cmphex(ror64(1, 0), ==, 1);
}

static void test_memalign(void)
{
    QEMU_AUTO_VFREE void *a = qemu_memalign(4096, 100);
    QEMU_AUTO_VFREE void *b = qemu_try_memalign(1, 0);

    g_assert_true(QEMU_IS_ALIGNED((uintptr_t)a, 4096));
    g_assert_nonnull(b);
#ifndef CONFIG_ASAN
    /* The address sanitizer ends the program instead. */
    g_assert_null(qemu_try_memalign(4096, (size_t)PTRDIFF_MAX - 4096));
#endif
    qemu_vfree(NULL);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/bswap/ld-st/any-alignment", test_bytes_in_memory);
    g_test_add_func("/bswap/in-place/round-trip", test_in_place);
    g_test_add_func("/bits/words/edges", test_bits);
    g_test_add_func("/memalign/memalign/aligned-and-null-when-too-large", test_memalign);
    return g_test_run();
}
