/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Taking bundles apart: what each part is, and that no bytes are too odd. */
#include "qemu/osdep.h"

#include "../../../target/e2k/disas.h"
#include "../../lib/e2k-vectors.h"
#include "../../lib/testlib.h"

static bool unpack(E2kParts *parts, const char *words)
{
    uint8_t code[E2K_MAX_BUNDLE];
    unsigned len = e2k_vector_bytes(words, code, sizeof(code));

    return e2k_unpack(parts, code, len);
}

static void test_first_half_is_high(void)
{
    E2kParts parts;

    g_assert_true(unpack(&parts, "04100011 3dc08515 01c00000 00000000"));
    g_assert_cmpuint(parts.length, ==, 16);
    g_assert_cmphex(parts.als[0], ==, 0x3dc08515);
    g_assert_cmphex(parts.ales[0], ==, 0x01c0);
    g_assert_cmpuint(parts.n_lts, ==, 1);
    g_assert_cmpstr(e2k_channel_op(&parts, 0, 4)->name, ==, "rwd");
}

static void test_ales5_is_low(void)
{
    E2kParts parts;

    g_assert_true(unpack(&parts, "82000012 3991b8f0 01c002c0 00000000"));
    g_assert_cmphex(parts.ales[5], ==, 0x02c0);
    g_assert_cmphex(parts.ales[2], ==, 0);
}

static void test_absent_ales2_has_default(void)
{
    E2kParts parts;

    g_assert_true(unpack(&parts, "10400001 0a9c12fb"));
    g_assert_cmphex(parts.ales[2], ==, 0x01c0);
    g_assert_cmpstr(e2k_channel_op(&parts, 2, 4)->name, ==, "puttags");
}

static void test_literals_count_down(void)
{
    E2kParts parts;
    uint64_t value;

    g_assert_true(unpack(&parts, "04100021 3dc0dc83 01c00000 00000000 00000012 3456789a"));
    g_assert_cmphex(parts.lts[0], ==, 0x3456789a);
    g_assert_cmphex(parts.lts[1], ==, 0x12);
    g_assert_true(e2k_literal(&parts, 0xdc, &value));
    g_assert_cmphex(value, ==, 0x123456789a);
    g_assert_true(e2k_literal(&parts, 0xd4, &value));
    g_assert_cmphex(value, ==, 0x3456);
    g_assert_true(e2k_literal(&parts, 0xd0, &value));
    g_assert_cmphex(value, ==, 0x789a);
    g_assert_true(e2k_literal(&parts, 0xd2, &value) == false);
    g_assert_false(e2k_literal(&parts, 0xdb, &value));
    g_assert_false(e2k_literal(&parts, 0xde, &value));
}

static void test_conditions_before_literals(void)
{
    E2kParts parts;

    g_assert_true(unpack(&parts, "80010011 13c61f87 00000000 52650000"));
    g_assert_cmphex(parts.cds[0], ==, 0x52650000);
    g_assert_cmpuint(parts.n_lts, ==, 1);
}

static void test_malformed(void)
{
    E2kParts parts;

    /* longer than what there is */
    g_assert_false(unpack(&parts, "00000011 00000000"));
    /* words in front do not add up */
    g_assert_false(unpack(&parts, "04000000 11c08080"));
    g_assert_false(unpack(&parts, "0400000f 11c08080"));
    /* no room for CDS and PLS */
    g_assert_false(unpack(&parts, "040f0001 11c08080"));
    g_assert_false(e2k_unpack(&parts, (const uint8_t *)"\0\0\0\0", 4));
}

static void test_random_bytes(void)
{
    uint8_t code[E2K_MAX_BUNDLE];
    g_autoptr(GString) text = g_string_new(NULL);
    E2kDisas dis = { .out = text };
    unsigned n_valid = 0;

    for (unsigned i = 0; i < 300000; i++) {
        E2kParts parts;

        for (unsigned k = 0; k < sizeof(code); k += 4) {
            uint32_t word = g_test_rand_int();
            memcpy(code + k, &word, 4);
        }
        /* Few random headers add up: half of the time use one that fits its own flags. */
        if (i % 2) {
            unsigned n = 1 + (code[1] >> 4 & 1) + (code[1] >> 6 & 1) + (code[1] >> 7)
                       + __builtin_popcount(code[3] >> 2);
            code[0] = 0x70 | (n - 1);
        }
        if (!e2k_unpack(&parts, code, sizeof(code))) {
            continue;
        }
        n_valid++;
        dis.isa = 1 + i % 6;
        g_string_truncate(text, 0);
        e2k_disas(&dis, &parts);
        g_assert_cmpuint(parts.length, <=, sizeof(code));
        g_assert_cmpuint(parts.n_lts, <=, 4);
    }
    g_test_message("%u of 300000 were valid", n_valid);
    g_assert_cmpuint(n_valid, >, 50000);
}

static void test_table(void)
{
    size_t n;
    const E2kOp *ops = e2k_op_table(&n);
    unsigned hidden = 0;

    g_assert_cmpuint(n, ==, 2105);
    for (size_t i = 0; i < n; i++) {
        const E2kOp *op = &ops[i];
        E2kOpKey key = {
            .channel = __builtin_ctz(op->channels),
            .als = op->opcode << 24 | (op->opce1 < 0 ? 0 : op->opce1) << 16
                 | (op->cmp < 0 ? 0 : op->cmp) << 5,
            .page = op->page,
            .ales = op->ales < 0 ? 0 : op->ales,
            .isa = op->min_isa,
        };
        const E2kOp *found = e2k_op_find(&key);

        g_assert_nonnull(found);
        hidden += strcmp(found->name, op->name) != 0;
    }
    /* The array unit's register moves share encodings with its loads and stores. */
    g_test_message("%u operations lie behind others", hidden);
    g_assert_cmpuint(hidden, ==, 8);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/decode/unpack/first-half-word-is-the-high-one", test_first_half_is_high);
    g_test_add_func("/decode/unpack/ales5-is-the-low-half", test_ales5_is_low);
    g_test_add_func("/decode/unpack/absent-ales2-has-a-default", test_absent_ales2_has_default);
    g_test_add_func("/decode/unpack/literals-count-from-the-end", test_literals_count_down);
    g_test_add_func("/decode/unpack/conditions-lie-last", test_conditions_before_literals);
    g_test_add_func("/decode/unpack/malformed-is-refused", test_malformed);
    g_test_add_func("/decode/unpack/any-bytes-are-safe", test_random_bytes);
    g_test_add_func("/decode/table/every-operation-is-found", test_table);
    return g_test_run();
}
