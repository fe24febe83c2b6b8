/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Channel operations against recorded results.  Each row becomes a bundle that the CPU executes:
 * sources in %r0..%r2, result in %r3 or %pred0, merge condition in %pred1.
 *
 * Operations this CPU lacks are counted as skipped; none of the first profile may be among them.
 */
#include "qemu/osdep.h"

#include "e2k-test.h"
#include "../../lib/testlib.h"

/* Operations of the first profile that have rows, and how many. */
#define FIRST_PROFILE_ROWS 1473
static const char *const first_profile[] = {
    "adds", "addd", "ands", "andd", "andns", "andnd", "subs", "subd", "ors", "ord", "orns", "ornd",
    "xors", "xord", "xorns", "xornd", "shls", "shld", "shrs", "shrd", "sars", "sard", "scls",
    "scld", "scrs", "scrd", "getfs", "getfd", "sxt", "movts", "movtd", "merges", "merged",
    "cmposb", "cmpbsb", "cmpesb", "cmpbesb", "cmpssb", "cmppsb", "cmplsb", "cmplesb", "cmpodb",
    "cmpbdb", "cmpedb", "cmpbedb", "cmpsdb", "cmppdb", "cmpldb", "cmpledb", "cmpandesb",
    "cmpandssb", "cmpandpsb", "cmpandlesb", "cmpandedb", "cmpandsdb", "cmpandpdb", "cmpandledb",
};

enum { NAME, FORM, CHANNEL, ISA, SRC1, SRC2, SRC3, LITERAL, WIDTH, RESULT, FLAGS, N_FIELDS };

typedef struct Counts {
    unsigned rows;
    unsigned first_rows;
    unsigned right;
    unsigned wrong;
    unsigned skipped;
    unsigned disputed;
    GHashTable *skipped_ops;
} Counts;

static bool is_first_profile(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(first_profile); i++) {
        if (!strcmp(first_profile[i], name)) {
            return true;
        }
    }
    return false;
}

/* Three-input logic has an operation per truth table; the recording has other names for them. */
static char *table_name(const char *name)
{
    static const struct {
        const char *name;
        unsigned number;
    } aliases[] = {
        { "and", 128 }, { "xor", 150 }, { "sel3", 216 }, { "mjr", 232 }, { "or", 254 },
    };
    const char *table = strstr(name, "plog_");

    if (!table) {
        return g_strdup(name);
    }
    table += strlen("plog_");
    unsigned number = strtoul(table, NULL, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(aliases); i++) {
        if (!strcmp(table, aliases[i].name)) {
            number = aliases[i].number;
        }
    }
    return g_strdup_printf("%.*s%u", (int)(table - name), name, number);
}

static const E2kOp *find_op(const char *recorded, unsigned channel, unsigned isa)
{
    g_autofree char *name = table_name(recorded);
    size_t n;
    const E2kOp *ops = e2k_op_table(&n);

    for (size_t i = 0; i < n; i++) {
        if (!strcmp(ops[i].name, name) && (ops[i].channels >> channel & 1)
            && isa >= ops[i].min_isa && isa <= ops[i].max_isa) {
            return &ops[i];
        }
    }
    return NULL;
}

/* Assemble a bundle with @op in @channel. */
static void write_bundle(E2kCpu *cpu, const E2kOp *op, unsigned channel, unsigned literal)
{
    bool has_ales = op->page != 0;
    bool has_merge = op->form == E2K_MERGE || op->form == E2K_F11_MERGE
                  || op->form == E2K_F21_MERGE;
    unsigned dst = op->form == E2K_F7 || op->form == E2K_F8 || op->form == E2K_F17 ? 0 : 0x83;
    unsigned low = op->ales != E2K_ANY ? (unsigned)op->ales
                 : op->form == E2K_F21 || op->form == E2K_F21_MERGE ? 0x82 : literal;
    uint32_t ales = op->page << 8 | low;
    uint32_t words[16] = { 0 };
    unsigned n = 1;

    words[n++] = (uint32_t)op->opcode << 24
               | (op->opce1 != E2K_ANY ? (uint32_t)op->opce1 : 0x80) << 16 | 0x8100
               | dst | (op->cmp != E2K_ANY ? (uint32_t)op->cmp << 5 : 0);
    if (has_ales && (channel == 2 || channel == 5)) {
        words[n++] = ales << 16 | ales;
    }
    unsigned front = n;
    if (has_ales && channel != 2 && channel != 5) {
        words[n++] = ales << 16;
    }
    n += has_merge;
    n = (n + 1) & ~1u;
    if (has_merge) {
        words[n - 1] = (2 + channel / 3) << 30 | 1u << (26 + channel % 3) | 0x610000;
    }
    words[0] = (front - 1) | (n / 2 - 1) << 4 | (uint32_t)has_merge << 16
             | (uint32_t)has_ales << (20 + channel) | UINT32_C(1) << (26 + channel);
    for (unsigned i = 0; i < n; i++) {
        mem_store(cpu->vcpu.mem, TEST_CODE + i * 4, 4, words[i]);
    }
}

/*
 * The recording emulator shifted by 64 bits on its host for these, where the result is the
 * unshifted half.
 */
static bool is_disputed(char **field)
{
    return (!strcmp(field[NAME], "psllqh") || !strcmp(field[NAME], "psrlql"))
        && !strcmp(field[LITERAL], "00");
}

static uint64_t parse(const char *text)
{
    return strcmp(text, "-") ? strtoull(text, NULL, 16) : 0;
}

static bool run_row(E2kCpu *cpu, const E2kOp *op, char **field, GString *got)
{
    unsigned channel = atoi(field[CHANNEL]);

    write_bundle(cpu, op, channel, parse(field[LITERAL]));
    cpu->ip = TEST_CODE;
    cpu->wsize = 8;
    cpu->psize = 0;
    cpu->pfpfr = 0x1f80;
    cpu->preds = field[SRC3][0] == 'p' && field[SRC3][1] == '1' ? 3 : 1;
    cpu->reg[0] = parse(field[SRC1]);
    cpu->reg[1] = parse(field[SRC2]);
    cpu->reg[2] = field[SRC3][0] == 'p' ? 0 : parse(field[SRC3]);
    cpu->reg[3] = UINT64_C(0xa5a5a5a5a5a5a5a5);
    if (!e2k_step(cpu) || test_trap(cpu)) {
        g_string_printf(got, "trap %" PRIx64, cpu->tir_hi);
        return false;
    }

    uint64_t result = cpu->reg[3];
    if (field[WIDTH][0] == 'S') {
        result = (uint32_t)result;
    } else if (field[WIDTH][0] == 'B') {
        result = cpu->preds & 1;
    }
    g_string_printf(got, "%" PRIx64 " flags %x", result, cpu->pfpfr & 0x3f);
    return result == parse(field[RESULT])
        && (field[FLAGS][0] == '-' || (cpu->pfpfr & 0x3f) == parse(field[FLAGS]));
}

static void check_row(Counts *counts, E2kCpu **cpus, char *line)
{
    g_auto(GStrv) field = g_strsplit(line, "\t", 0);
    g_autoptr(GString) got = g_string_new(NULL);

    g_assert_cmpuint(g_strv_length(field), ==, N_FIELDS);
    unsigned isa = atoi(field[ISA] + 1);
    const E2kOp *op = find_op(field[NAME], atoi(field[CHANNEL]), isa);
    bool is_first = is_first_profile(field[NAME]);

    if (!op) {
        g_error("no operation for %s", line);
    }
    counts->rows++;
    counts->first_rows += is_first;
    if (!e2k_op_is_implemented(op) && !is_first) {
        counts->skipped++;
        g_hash_table_add(counts->skipped_ops, g_strdup(field[NAME]));
    } else if (is_disputed(field)) {
        counts->disputed++;
    } else if (run_row(cpus[isa], op, field, got)) {
        counts->right++;
    } else {
        counts->wrong++;
        g_test_message("%s: got %s", line, got->str);
    }
}

static void test_vectors(void)
{
    g_auto(GStrv) lines = e2k_vectors_load("exec-vectors.tsv.gz");
    Counts counts = {
        .skipped_ops = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
    };
    E2kCpu *cpus[7] = {
        [4] = test_cpu_new("e8c"),
        [5] = test_cpu_new("e8c2"),
        [6] = test_cpu_new("e16c"),
    };

    for (char **line = lines; *line; line++) {
        if (**line && **line != '#') {
            check_row(&counts, cpus, *line);
        }
    }
    for (unsigned i = 4; i <= 6; i++) {
        test_cpu_free(cpus[i]);
    }
    g_test_message("%u rows, %u of the first profile: %u right, %u wrong; %u skipped, "
                   "because their %u operations are not in this CPU, %u because the recording "
                   "is at fault", counts.rows, counts.first_rows, counts.right, counts.wrong,
                   counts.skipped, g_hash_table_size(counts.skipped_ops), counts.disputed);
    g_hash_table_unref(counts.skipped_ops);
    g_assert_cmpuint(counts.rows, ==, 13296);
    g_assert_cmpuint(counts.first_rows, ==, FIRST_PROFILE_ROWS);
    g_assert_cmpuint(counts.wrong, ==, 0);
    g_assert_cmpuint(counts.disputed, ==, 12);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/exec/vectors/results-are-as-recorded", test_vectors);
    return g_test_run();
}
