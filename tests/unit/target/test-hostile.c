/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Code that means harm: vectors with flipped bits and random words, run from random states.  The
 * CPU must neither crash nor leave its bounds, whatever a guest executes.
 */
#include "qemu/osdep.h"

#include "qemu/main-loop.h"

#include "e2k-test.h"
#include "../../lib/testlib.h"

#define ROUNDS 4000
#define BUNDLES 8
#define STEPS 12

typedef struct Fuzz {
    GRand *rand;
    GPtrArray *words; /* of each vector, as text */
    char **lines;
} Fuzz;

static uint64_t random_u64(Fuzz *fuzz)
{
    return (uint64_t)g_rand_int(fuzz->rand) << 32 | g_rand_int(fuzz->rand);
}

static bool one_in(Fuzz *fuzz, unsigned n)
{
    return g_rand_int(fuzz->rand) % n == 0;
}

static void fuzz_init(Fuzz *fuzz)
{
    fuzz->rand = g_rand_new_with_seed(g_test_rand_int());
    fuzz->lines = e2k_vectors_load("vectors.tsv.gz");
    fuzz->words = g_ptr_array_new_with_free_func(g_free);
    for (char **line = fuzz->lines; *line; line++) {
        g_auto(GStrv) columns = g_strsplit(*line, "\t", 0);

        if (g_strv_length(columns) > 3 && **line != '#') {
            g_ptr_array_add(fuzz->words, g_strdup(columns[3]));
        }
    }
    g_assert_cmpuint(fuzz->words->len, >, 4000);
}

static void fuzz_done(Fuzz *fuzz)
{
    g_rand_free(fuzz->rand);
    g_ptr_array_free(fuzz->words, true);
    g_strfreev(fuzz->lines);
}

/* Values that are often interesting: small numbers, addresses of RAM, anything. */
static uint64_t random_value(Fuzz *fuzz)
{
    switch (g_rand_int(fuzz->rand) % 3) {
    case 0:
        return g_rand_int(fuzz->rand) % 64;
    case 1:
        return g_rand_int(fuzz->rand) % (2 * TEST_RAM_SIZE);
    default:
        return random_u64(fuzz);
    }
}

static void randomize(Fuzz *fuzz, E2kCpu *cpu)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(cpu->reg); i++) {
        cpu->reg[i] = random_value(fuzz);
    }
    cpu->preds = g_rand_int(fuzz->rand);
    cpu->lsr = random_u64(fuzz);
    cpu->psr = one_in(fuzz, 4) ? 0 : E2K_PSR_PM;
    for (unsigned i = 1; i <= 3; i++) {
        uint64_t tag = g_rand_int(fuzz->rand) % 8;

        cpu->ctpr[i] = (random_value(fuzz) & E2K_CTPR_TARGET) | tag << E2K_CTPR_TAG_SHIFT;
    }
    cpu->cr = (E2kFrame) {
        .cr0_lo = random_u64(fuzz),
        .cr0_hi = TEST_CODE + g_rand_int(fuzz->rand) % 0x1000,
        .cr1_lo = random_u64(fuzz),
        .cr1_hi = random_u64(fuzz),
    };
    if (one_in(fuzz, 3)) {
        cpu->psp.ind = g_rand_int(fuzz->rand) % 0x12000;
        cpu->pcsp.ind = g_rand_int(fuzz->rand) % 0x1400;
    }
    if (one_in(fuzz, 8)) {
        cpu->psp.lo = random_value(fuzz);
        cpu->pcsp.size = random_value(fuzz);
    }
}

static uint64_t write_mutated(Fuzz *fuzz, E2kCpu *cpu, uint64_t addr)
{
    const char *text = fuzz->words->pdata[g_rand_int(fuzz->rand) % fuzz->words->len];
    uint8_t code[64];
    unsigned len = e2k_vector_bytes(text, code, sizeof(code));

    for (unsigned flips = g_rand_int(fuzz->rand) % 4; flips; flips--) {
        code[g_rand_int(fuzz->rand) % len] ^= 1 << g_rand_int(fuzz->rand) % 8;
    }
    mem_write(cpu->vcpu.mem, addr, code, len);
    return addr + len;
}

static void write_random(Fuzz *fuzz, E2kCpu *cpu, uint64_t addr, unsigned words)
{
    for (unsigned i = 0; i < words; i++) {
        uint32_t word = g_rand_int(fuzz->rand);

        mem_store(cpu->vcpu.mem, addr + i * 4, 4, word);
    }
}

static void run_some(E2kCpu *cpu)
{
    for (unsigned i = 0; i < STEPS && e2k_step(cpu); i++) {
        g_assert_cmpuint(cpu->wsize, <=, E2K_WINDOW_REGS);
        g_assert_cmpuint(cpu->psize, <=, cpu->wsize);
        g_assert_cmpuint(cpu->exc, ==, 0);
    }
}

static void fuzz_run(bool is_mutated)
{
    static const char *const models[] = { "e2c+", "e2s", "e8c", "e8c2", "e16c" };
    Fuzz fuzz;

    fuzz_init(&fuzz);
    for (unsigned m = 0; m < G_N_ELEMENTS(models); m++) {
        for (unsigned round = 0; round < ROUNDS / G_N_ELEMENTS(models); round++) {
            E2kCpu *cpu = test_cpu_new(models[m]);
            uint64_t addr = TEST_CODE;

            randomize(&fuzz, cpu);
            for (unsigned i = 0; is_mutated && i < BUNDLES; i++) {
                addr = write_mutated(&fuzz, cpu, addr);
            }
            write_random(&fuzz, cpu, addr, 64);
            run_some(cpu);
            test_cpu_free(cpu);
        }
    }
    fuzz_done(&fuzz);
}

static void test_mutated_vectors(void)
{
    fuzz_run(true);
}

static void test_random_words(void)
{
    fuzz_run(false);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort); /* a CPU that cannot go on asks it for a reset */
    g_test_add_func("/hostile/mutated-vectors/stay-in-bounds", test_mutated_vectors);
    g_test_add_func("/hostile/random-words/stay-in-bounds", test_random_words);
    return g_test_run();
}
