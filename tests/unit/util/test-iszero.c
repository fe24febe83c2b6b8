/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/crc32c.h"
#include "qemu/iszero.h"
#include "../../lib/testlib.h"

static void assert_zero_is(const void *buf, size_t len, bool expected)
{
    g_assert_cmpint(buffer_is_zero(buf, len), ==, expected);
    for (int i = 0; i < buffer_is_zero_variants(); i++) {
        g_assert_cmpint(buffer_is_zero_variant(i, buf, len), ==, expected);
    }
}

static void test_every_length_and_position(void)
{
    /* Rubbish on both sides shows reads that decide by bytes outside. */
    uint8_t memory[1100];

    for (size_t align = 0; align < 3; align++) {
        uint8_t *buf = memory + 32 + align * 5;
        memset(memory, 0xff, sizeof(memory));
        for (size_t len = 0; len < 700; len += len < 300 ? 1 : 37) {
            memset(buf, 0, len);
            assert_zero_is(buf, len, true);
            for (size_t at = 0; at < len; at += len < 80 ? 1 : 7) {
                buf[at] = 0x10;
                assert_zero_is(buf, len, false);
                buf[at] = 0;
            }
            if (len) {
                buf[len - 1] = 1;
                assert_zero_is(buf, len, false);
                buf[len - 1] = 0;
            }
        }
    }
}

static void assert_zero_words(const void *buf, size_t n, size_t expected)
{
    g_assert_cmpuint(buffer_count_zero_words(buf, n), ==, expected);
    for (int i = 0; i < buffer_is_zero_variants(); i++) {
        g_assert_cmpuint(buffer_count_zero_words_variant(i, buf, n), ==, expected);
    }
}

static void test_zero_words_before_any_other(void)
{
    uint8_t memory[72 * 8 + 5];

    for (size_t n = 0; n <= 70; n++) {
        uint8_t *buf = memory + n % 5;
        memset(memory, 0xff, sizeof(memory));
        memset(buf, 0, n * 8);
        assert_zero_words(buf, n, n);
        for (size_t at = 0; at < n * 8; at++) {
            buf[at] = 0x80;
            assert_zero_words(buf, n, at / 8);
            memset(buf + at + 1, 0x11, n * 8 - at - 1);
            assert_zero_words(buf, n, at / 8);
            memset(buf + at, 0, n * 8 - at);
        }
    }
}

static void assert_used_words(const void *buf, uint64_t expected)
{
    g_assert_cmphex(buffer_used_words(buf), ==, expected);
    for (int i = 0; i < buffer_is_zero_variants(); i++) {
        g_assert_cmphex(buffer_used_words_variant(i, buf), ==, expected);
    }
}

static void test_words_that_are_used(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    uint8_t memory[64 * 8 + 40];

    memset(memory, 0xff, sizeof(memory));
    for (size_t at = 0; at < 64 * 8; at++) {
        uint8_t *buf = memory + at % 40;
        uint64_t used = UINT64_C(1) << at / 8;

        memset(buf, 0, 64 * 8);
        assert_used_words(buf, 0);
        buf[at] = at % 2 ? 0x80 : 1;
        assert_used_words(buf, used);
        for (int i = 0; i < 20; i++) {
            size_t other = g_rand_int_range(rand, 0, 64 * 8);

            buf[other] = 0x7f;
            used |= UINT64_C(1) << other / 8;
        }
        assert_used_words(buf, used);
        memset(memory, 0xff, sizeof(memory));
        assert_used_words(buf, UINT64_MAX);
    }
}

static void test_crc32c_known_values(void)
{
    static const uint8_t zeroes[32];
    g_autoptr(GRand) rand = test_rand_new();
    uint8_t buf[200];

    /* RFC 3720, appendix B.4, and the usual check value. */
    g_assert_cmphex(crc32c(~0u, (const uint8_t *)"123456789", 9), ==, 0xe3069283);
    g_assert_cmphex(crc32c(~0u, zeroes, 32), ==, 0x8a9136aa);
    test_rand_fill(rand, buf, sizeof(buf));
    for (size_t len = 0; len <= sizeof(buf); len++) {
        uint32_t whole = crc32c(~0u, buf, len);
        g_assert_cmphex(crc32c_portable(~0u, buf, len), ==, whole);
        g_assert_cmphex(crc32c(~crc32c(~0u, buf, len / 3), buf + len / 3, len - len / 3), ==,
                        whole);
    }
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/iszero/variants/every-length-and-position", test_every_length_and_position);
    g_test_add_func("/iszero/words/zeroes-before-any-other", test_zero_words_before_any_other);
    g_test_add_func("/iszero/words/which-are-used", test_words_that_are_used);
    g_test_add_func("/crc32c/variants/known-values", test_crc32c_known_values);
    return g_test_run();
}
