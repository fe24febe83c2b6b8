/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prefix codes: complete, no longer than allowed, and as good as can be. */
#include "qemu/osdep.h"

#include "../../../codec/deflate-int.h"
#include "../../lib/testlib.h"

#define N 286

/* What all symbols take together. */
static uint64_t total_bits(const uint32_t *counts, const uint8_t *lengths, unsigned n)
{
    uint64_t bits = 0;

    for (unsigned i = 0; i < n; i++) {
        bits += (uint64_t)counts[i] * lengths[i];
    }
    return bits;
}

/* Every bit string is the beginning of a code or begins with one; the frequent have short ones. */
static void check_lengths(const uint32_t *counts, const uint8_t *lengths, unsigned n,
                          unsigned limit)
{
    uint64_t used = 0;

    for (unsigned i = 0; i < n; i++) {
        g_assert_cmpuint(lengths[i], <=, limit);
        used += lengths[i] ? 1ULL << (limit - lengths[i]) : 0;
        g_assert_true(lengths[i] || !counts[i]);
        for (unsigned j = 0; j < i; j++) {
            g_assert_true(counts[i] <= counts[j] || !lengths[j] || lengths[i] <= lengths[j]);
        }
    }
    g_assert_cmpuint(used, ==, 1ULL << limit);
}

/* The best total without a limit: each join of the two lightest costs their weight. */
static uint64_t best_bits(const uint32_t *counts, unsigned n)
{
    g_autofree uint64_t *weights = g_new(uint64_t, n);
    uint64_t bits = 0;
    unsigned k = 0;

    for (unsigned i = 0; i < n; i++) {
        if (counts[i]) {
            weights[k++] = counts[i];
        }
    }
    for (; k > 1; k--) {
        for (unsigned last = k - 1; last >= k - 2 && last < k; last--) {
            unsigned least = 0;
            uint64_t weight = weights[last];

            for (unsigned i = 1; i <= last; i++) {
                least = weights[i] < weights[least] ? i : least;
            }
            weights[last] = weights[least];
            weights[least] = weight;
        }
        weights[k - 2] += weights[k - 1];
        bits += weights[k - 2];
    }
    return bits;
}

static void test_best(void)
{
    g_autoptr(GRand) rand = test_rand_new();

    for (unsigned round = 0; round < 300; round++) {
        unsigned n = 2 + test_rand_below(rand, N - 1), span = 1 + test_rand_below(rand, 200);
        uint32_t counts[N] = { 0 };
        uint8_t lengths[N];

        counts[0] = counts[1] = 1;
        for (unsigned i = 0; i < n; i++) {
            counts[i] += test_rand_below(rand, 3) ? test_rand_below(rand, span) : 0;
        }
        huffman_lengths(lengths, counts, n, 15);
        check_lengths(counts, lengths, n, 15);
        g_assert_cmpuint(total_bits(counts, lengths, n), ==, best_bits(counts, n));
    }
}

/* Each count is the sum of the two before: without a limit the codes would have 29 bits. */
static void test_limit(void)
{
    uint32_t counts[30] = { 1, 1 };
    uint8_t lengths[30];

    for (unsigned i = 2; i < 22; i++) {
        counts[i] = counts[i - 1] + counts[i - 2];
    }
    for (unsigned n = 2; n <= 22; n++) {
        for (unsigned limit = n > 16 ? 5 : 4; limit <= 15; limit++) {
            huffman_lengths(lengths, counts, n, limit);
            check_lengths(counts, lengths, n, limit);
        }
    }
}

static void test_few(void)
{
    uint32_t counts[19] = { 0 };
    uint8_t lengths[19];

    huffman_lengths(lengths, counts, 19, 7);
    g_assert_cmpuint(lengths[0], ==, 1);
    g_assert_cmpuint(lengths[1], ==, 1);
    counts[7] = 1000000;
    huffman_lengths(lengths, counts, 19, 7);
    g_assert_cmpuint(lengths[0], ==, 1);
    g_assert_cmpuint(lengths[7], ==, 1);
    g_assert_cmpuint(lengths[1], ==, 0);
}

/* The example of RFC 1951, 3.2.2: ABCDEFGH by lengths 3 3 3 3 3 2 4 4. */
static void test_codes(void)
{
    static const uint8_t lengths[] = { 3, 3, 3, 3, 3, 2, 4, 4, 0 };
    static const uint16_t reversed[] = { 2, 6, 1, 5, 3, 0, 7, 15, 0 };
    uint16_t codes[ARRAY_SIZE(lengths)];

    huffman_codes(codes, lengths, ARRAY_SIZE(lengths));
    g_assert_cmpmem(codes, sizeof(codes), reversed, sizeof(reversed));
}

static void check_symbol(Symbol s, unsigned symbol, unsigned extra_bits, unsigned extra)
{
    g_assert_cmpuint(s.symbol, ==, symbol);
    g_assert_cmpuint(s.extra_bits, ==, extra_bits);
    g_assert_cmpuint(s.extra, ==, extra);
}

/* Some rows of the tables of RFC 1951, 3.2.5. */
static void test_symbols(void)
{
    check_symbol(symbol_of_length(3), 257, 0, 0);
    check_symbol(symbol_of_length(10), 264, 0, 0);
    check_symbol(symbol_of_length(12), 265, 1, 1);
    check_symbol(symbol_of_length(114), 279, 4, 15);
    check_symbol(symbol_of_length(257), 284, 5, 30);
    check_symbol(symbol_of_length(258), 285, 0, 0);
    check_symbol(symbol_of(1 - 1, 1), 0, 0, 0);
    check_symbol(symbol_of(4 - 1, 1), 3, 0, 0);
    check_symbol(symbol_of(6 - 1, 1), 4, 1, 1);
    check_symbol(symbol_of(193 - 1, 1), 15, 6, 0);
    check_symbol(symbol_of(4096 - 1, 1), 23, 10, 1023);
    for (unsigned length = 3; length <= 258; length++) {
        Symbol s = symbol_of_length(length);

        g_assert_cmpuint(length_extra_bits(s.symbol), ==, s.extra_bits);
    }
    for (unsigned distance = 1; distance <= 4096; distance++) {
        Symbol s = symbol_of(distance - 1, 1);

        g_assert_cmpuint(distance_extra_bits(s.symbol), ==, s.extra_bits);
    }
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/huffman/lengths/no-code-is-better", test_best);
    g_test_add_func("/huffman/lengths/are-limited", test_limit);
    g_test_add_func("/huffman/lengths/two-symbols-at-least", test_few);
    g_test_add_func("/huffman/codes/example-of-the-specification", test_codes);
    g_test_add_func("/huffman/symbols/tables-of-the-specification", test_symbols);
    return g_test_run();
}
