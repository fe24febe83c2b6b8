/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the recorded results do not show of floating point: rounding, traps, flushing to zero. */
#include "qemu/osdep.h"

#include "e2k-test.h"
#include "../../lib/testlib.h"

#define EXC(name) (UINT64_C(1) << E2K_EXC_##name)
#define ALL_MASKED 0x1f80
#define ROUNDING(n) ((n) << 13)

#define FADDS 0x30
#define FADDD 0x31
#define FMULD 0x39

static uint64_t bits(double value)
{
    uint64_t result;

    memcpy(&result, &value, 8);
    return result;
}

/* Execute als in channel 0 with %r0 and %r1; returns the exceptions. */
static uint64_t run(E2kCpu *cpu, uint32_t als, uint64_t a, uint64_t b)
{
    cpu->ip = TEST_CODE;
    cpu->wsize = 16;
    cpu->reg[0] = a;
    cpu->reg[1] = b;
    test_op(cpu, TEST_CODE, 0, als);
    test_steps(cpu, 1);
    return test_trap(cpu);
}

static void test_rounding(void)
{
    static const uint64_t sums[] = {
        0x3ff0000000000000, /* 1 + 2^-60, nearest */
        0x3ff0000000000000, /* down */
        0x3ff0000000000001, /* up */
        0x3ff0000000000000, /* toward zero */
    };
    static const int integers[] = { -2, -3, -2, -2 }; /* of -2.5 */
    E2kCpu *cpu = test_cpu_new("e8c");

    for (unsigned i = 0; i < 4; i++) {
        cpu->pfpfr = ALL_MASKED | ROUNDING(i);
        g_assert_cmphex(run(cpu, FADDD << 24 | 0x808182, bits(1), bits(0x1p-60)), ==, 0);
        g_assert_cmphex(cpu->reg[2], ==, sums[i]);
        g_assert_cmphex(cpu->pfpfr & 0x3f, ==, 0x20);
        g_assert_cmphex(run(cpu, 0x3fc28182u, 0, bits(-2.5)), ==, 0); /* fdtoistr */
        g_assert_cmpint((int32_t)cpu->reg[2], ==, -2);
        g_assert_cmphex(run(cpu, 0x3fc08182u, 0, bits(-2.5)), ==, 0); /* fdtois */
        g_assert_cmpint((int32_t)cpu->reg[2], ==, integers[i]);
    }
    test_cpu_free(cpu);
}

static void test_unmasked_trap(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    /* invalid is not masked: a signaling NaN traps, and the destination keeps its value */
    cpu->pfpfr = ALL_MASKED & ~0x80;
    cpu->reg[2] = 4711;
    g_assert_cmphex(run(cpu, FADDS << 24 | 0x808182, 0x7f800001, 0), ==, EXC(FP));
    cpu->pfpfr = ALL_MASKED & ~0x80;
    /* speculatively it does not */
    g_assert_cmphex(run(cpu, 0x80000000u | FADDS << 24 | 0x808182, 0x7f800001, 0), ==, 0);
    g_assert_cmphex((uint32_t)cpu->reg[2], ==, 0x7fc00001);
    test_cpu_free(cpu);
}

static void test_disabled(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    cpu->upsr &= ~E2K_UPSR_FE;
    g_assert_cmphex(run(cpu, FMULD << 24 | 0x808182, bits(2), bits(3)), ==, EXC(FP_DISABLED));
    cpu->upsr |= E2K_UPSR_FE;
    g_assert_cmphex(run(cpu, FMULD << 24 | 0x808182, bits(2), bits(3)), ==, 0);
    g_assert_cmphex(cpu->reg[2], ==, bits(6));
    test_cpu_free(cpu);
}

static void test_flush_to_zero(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    g_assert_cmphex(run(cpu, FMULD << 24 | 0x808182, bits(-0x1p-1000), bits(0x1p-60)), ==, 0);
    g_assert_cmphex(cpu->reg[2], ==, bits(-0x1p-1060));
    cpu->pfpfr = ALL_MASKED | 1u << 15;
    g_assert_cmphex(run(cpu, FMULD << 24 | 0x808182, bits(-0x1p-1000), bits(0x1p-60)), ==, 0);
    g_assert_cmphex(cpu->reg[2], ==, UINT64_C(1) << 63);
    g_assert_cmphex(cpu->pfpfr & 0x3f, ==, 0x30);
    test_cpu_free(cpu);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/fpu/rounding/follows-pfpfr", test_rounding);
    g_test_add_func("/fpu/trap/unmasked-unless-speculative", test_unmasked_trap);
    g_test_add_func("/fpu/trap/disabled-by-upsr", test_disabled);
    g_test_add_func("/fpu/denormal/flushed-when-asked", test_flush_to_zero);
    return g_test_run();
}
