/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disassembler against recorded bundles and their texts, for every ISA version. */
#include "qemu/osdep.h"

#include "../../../target/e2k/disas.h"
#include "../../lib/e2k-vectors.h"
#include "../../lib/testlib.h"

typedef struct Counts {
    unsigned rows;
    unsigned wrong;
} Counts;

static void check_row(Counts *counts, char *line)
{
    g_auto(GStrv) field = g_strsplit(line, "\t", 0);
    uint8_t code[E2K_MAX_BUNDLE];
    E2kParts parts;
    g_autoptr(GString) text = g_string_new(NULL);

    g_assert_cmpuint(g_strv_length(field), >=, 5);
    unsigned len = e2k_vector_bytes(field[3], code, sizeof(code));
    E2kDisas dis = {
        .out = text,
        .isa = atoi(field[0] + 1),
        .address = strtoull(field[1], NULL, 16),
    };

    counts->rows++;
    if (!e2k_unpack(&parts, code, len)) {
        g_string_append(text, "<refused>");
    } else if (parts.length != len || len != strtoul(field[2], NULL, 10)) {
        g_string_append(text, "<wrong length>");
    } else {
        e2k_disas(&dis, &parts);
    }
    if (strcmp(text->str, field[4])) {
        counts->wrong++;
        g_test_message("%s %s\n  expected %s\n  got      %s", field[0], field[3], field[4],
                       text->str);
    }
}

static void test_vectors(void)
{
    g_auto(GStrv) lines = e2k_vectors_load("vectors.tsv.gz");
    Counts counts = { 0 };

    for (char **line = lines; *line; line++) {
        if (**line && **line != '#') {
            check_row(&counts, *line);
        }
    }
    g_test_message("%u bundles, %u wrong", counts.rows, counts.wrong);
    g_assert_cmpuint(counts.rows, ==, 4718);
    g_assert_cmpuint(counts.wrong, ==, 0);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/disas/vectors/all-print-as-recorded", test_vectors);
    return g_test_run();
}
