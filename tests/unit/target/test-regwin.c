/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Register windows: names of registers, calls and returns, the stacks in memory, system entry. */
#include "qemu/osdep.h"

#include "e2k-test.h"
#include "../../lib/testlib.h"

#define CALLEE 0x2000

static uint64_t load(E2kCpu *cpu, uint64_t addr)
{
    uint64_t value;

    g_assert_cmpint(mem_load(cpu->vcpu.mem, addr, 8, &value), ==, MEM_OK);
    return value;
}

/* { setwd wsz = 16 ; disp %ctpr1, callee ; call %ctpr1, wbs = 4 ; nop } and a returning callee. */
static void write_call(E2kCpu *cpu)
{
    uint64_t addr = test_code(cpu, TEST_CODE, SETWD_16);

    addr = test_disp(cpu, addr, CALLEE);
    test_code(cpu, addr, CALL_CTPR1_WBS_4 " " NOP);
    addr = test_code(cpu, CALLEE, SETWD_8 " " RETURN_CTPR3);
    addr = test_op(cpu, addr, 0, 0x1180c580); /* addd %r0, 5, %r0 */
    test_code(cpu, addr, CT_CTPR3);
}

static void test_call_passes_registers(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    write_call(cpu);
    test_steps(cpu, 2);
    for (unsigned i = 0; i < 32; i++) {
        cpu->reg[i] = 100 + i;
    }
    test_steps(cpu, 1);
    g_assert_cmphex(cpu->ip, ==, CALLEE);
    g_assert_cmpuint(cpu->reg[0], ==, 108);
    g_assert_cmpuint(cpu->wsize, ==, 24);
    g_assert_cmpuint(cpu->psize, ==, 24);
    g_assert_cmphex(cpu->ctpr[1] & E2K_CTPR_TAGS, ==, 0);
    /* setwd to fewer registers than the parameters are is refused */
    test_steps(cpu, 1);
    g_assert_cmphex(test_trap(cpu), ==, 1);
    test_cpu_free(cpu);
}

static void test_return_restores(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    write_call(cpu);
    test_code(cpu, CALLEE, SETWD_16);
    test_steps(cpu, 2);
    for (unsigned i = 0; i < 32; i++) {
        cpu->reg[i] = 100 + i;
        cpu->ext[i] = 200 + i;
    }
    cpu->preds = 0xdeadbeef;
    e2k_set_br(cpu, 8 | 3 << 6 | 1 << 12 | 7 << 18 | 2 << 23);
    uint32_t br = e2k_get_br(cpu);
    test_steps(cpu, 1);
    cpu->preds = 0;
    e2k_set_br(cpu, 0);
    test_steps(cpu, 4);
    g_assert_cmphex(cpu->ip, ==, TEST_CODE + 16 + 8 + 16);
    g_assert_cmpuint(cpu->wsize, ==, 32);
    g_assert_cmpuint(cpu->psize, ==, 8);
    g_assert_cmphex(cpu->preds, ==, 0xdeadbeef);
    g_assert_cmphex(e2k_get_br(cpu), ==, br);
    for (unsigned i = 0; i < 32; i++) {
        g_assert_cmpuint(cpu->reg[i], ==, i == 8 ? 113 : 100 + i);
        g_assert_cmpuint(cpu->ext[i], ==, i == 8 ? cpu->ext[8] : 200 + i);
    }
    g_assert_cmpuint(cpu->psp.ind, ==, 0);
    g_assert_cmpuint(cpu->pcsp.ind, ==, 32);
    test_cpu_free(cpu);
}

static void check_spill_layout(const char *model, unsigned second, unsigned upper)
{
    E2kCpu *cpu = test_cpu_new(model);

    write_call(cpu);
    test_steps(cpu, 2);
    for (unsigned i = 0; i < 8; i++) {
        cpu->reg[i] = 100 + i;
        cpu->ext[i] = 200 + i;
    }
    cpu->preds = 5;
    cpu->cr.cr0_hi = 0x7777777777777778;
    test_steps(cpu, 1);
    for (unsigned i = 0; i < 8; i++) {
        uint64_t addr = TEST_PSP + i / 2 * 32 + i % 2 * second;

        g_assert_cmpuint(load(cpu, addr), ==, 100 + i);
        g_assert_cmpuint(load(cpu, addr + upper), ==, 200 + i);
    }
    g_assert_cmpuint(cpu->psp.ind, ==, 4 * 32);
    /* the caller's own frame went to memory, the new one is in the registers */
    g_assert_cmphex(load(cpu, TEST_PCSP + 32 + 8), ==, 0x7777777777777778);
    g_assert_cmpuint(cpu->pcsp.ind, ==, 64);
    g_assert_cmphex(cpu->cr.cr0_lo, ==, 0x11);
    g_assert_cmphex(cpu->cr.cr0_hi, ==, TEST_CODE + 16 + 8 + 16);
    g_assert_cmpuint(cpu->cr.cr1_lo >> 33 & 0x7f, ==, 4);
    g_assert_cmpuint(cpu->cr.cr1_lo >> 57, ==, E2K_PSR_PM);
    g_assert_cmpuint(cpu->cr.cr1_hi >> 36, ==, 0x1000);
    test_cpu_free(cpu);
}

static void test_spill_pairs(void)
{
    check_spill_layout("e8c", 8, 16);
}

static void test_spill_registers(void)
{
    check_spill_layout("e8c2", 16, 8);
}

static void test_call_bounds(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    write_call(cpu);
    test_steps(cpu, 2);
    cpu->wsize = 6;
    test_steps(cpu, 1);
    g_assert_cmphex(test_trap(cpu), ==, 1u << E2K_EXC_WINDOW_BOUNDS);
    test_cpu_free(cpu);

    cpu = test_cpu_new("e8c");
    write_call(cpu);
    test_steps(cpu, 2);
    cpu->psp.ind = cpu->psp.size - 3584;
    test_steps(cpu, 1);
    g_assert_cmphex(test_trap(cpu), ==, 1u << E2K_EXC_PROC_STACK_BOUNDS);
    test_cpu_free(cpu);

    cpu = test_cpu_new("e8c");
    write_call(cpu);
    test_steps(cpu, 2);
    cpu->pcsp.ind = cpu->pcsp.size - 32;
    test_steps(cpu, 1);
    g_assert_cmphex(test_trap(cpu), ==, 1u << E2K_EXC_CHAIN_STACK_BOUNDS);
    test_cpu_free(cpu);
}

static void test_window_names(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    /* movtd,0 of %r15, %r16 */
    test_op(cpu, TEST_CODE, 0, 0x61c08f80);
    cpu->reg[15] = 77;
    test_steps(cpu, 1);
    g_assert_cmpuint(cpu->reg[0], ==, 77);
    test_op(cpu, TEST_CODE + 8, 0, 0x61c09080);
    test_steps(cpu, 1);
    g_assert_cmphex(test_trap(cpu), ==, 1u << E2K_EXC_WINDOW_BOUNDS);
    g_assert_cmphex(cpu->tir_lo, ==, TEST_CODE + 8);
    test_cpu_free(cpu);
}

static void test_based_names(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    /* rbs 4, rsz 3, rcur 1: %b[n] = window[8 + (n + 2) mod 8] */
    e2k_set_br(cpu, 4 | 3 << 6 | 1 << 12);
    for (unsigned i = 0; i < 16; i++) {
        cpu->reg[i] = 100 + i;
    }
    test_op(cpu, TEST_CODE, 0, 0x61c00080); /* %b[0] */
    test_op(cpu, TEST_CODE + 8, 0, 0x61c00781); /* %b[7] */
    test_op(cpu, TEST_CODE + 16, 0, 0x61c00882); /* %b[8] */
    test_steps(cpu, 2);
    g_assert_cmpuint(cpu->reg[0], ==, 110);
    g_assert_cmpuint(cpu->reg[1], ==, 109);
    test_steps(cpu, 1);
    g_assert_cmphex(test_trap(cpu), ==, 1u << E2K_EXC_WINDOW_BOUNDS);
    test_cpu_free(cpu);
}

static void test_globals(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    write_call(cpu);
    cpu->reg[E2K_WINDOW_REGS + 31] = 4711;
    test_steps(cpu, 3);
    test_op(cpu, cpu->ip, 0, 0x61c0ff80); /* movtd %g31, %r0 */
    test_steps(cpu, 1);
    g_assert_cmpuint(cpu->reg[0], ==, 4711);
    test_cpu_free(cpu);
}

static void test_upper_half(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    cpu->reg[0] = UINT64_MAX;
    cpu->reg[1] = 2;
    test_op(cpu, TEST_CODE, 0, 0x1081c180); /* adds %r1, 1, %r0 */
    test_op(cpu, TEST_CODE + 8, 0, 0x1081c180);
    test_steps(cpu, 1);
    g_assert_cmphex(cpu->reg[0], ==, UINT64_C(0xffffffff00000003));
    cpu->wdbl = true;
    test_steps(cpu, 1);
    g_assert_cmphex(cpu->reg[0], ==, 3);
    test_cpu_free(cpu);
}

static void test_system_entry(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");
    uint64_t entry = TEST_HANDLER + 3 * 0x800;

    cpu->psr = E2K_PSR_IE;
    e2k_update_poll(cpu);
    cpu->special[E2K_SR_CUD_LO] = 0x1234000;
    /* sdisp %ctpr1, 3 ; call %ctpr1, wbs = 4 */
    test_code(cpu, TEST_CODE, SETWD_16 " 00004001 60000003 " CALL_CTPR1_WBS_4 " " NOP);
    test_code(cpu, entry, RETURN_CTPR3 " " CT_CTPR3);
    test_steps(cpu, 3);
    g_assert_cmphex(cpu->ip, ==, entry);
    g_assert_cmphex(cpu->psr, ==, E2K_PSR_PM);
    g_assert_cmphex(cpu->special[E2K_SR_CUD_LO], ==, TEST_HANDLER);
    test_steps(cpu, 2);
    g_assert_cmphex(cpu->ip, ==, TEST_CODE + 16 + 8 + 16);
    g_assert_cmphex(cpu->psr, ==, E2K_PSR_IE);
    g_assert_cmphex(cpu->special[E2K_SR_CUD_LO], ==, 0x1234000);
    test_cpu_free(cpu);
}

static void test_user_stack(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    /* getsp,0 _f32s -0x1010, %r3 */
    write_call(cpu);
    test_steps(cpu, 2);
    test_code(cpu, CALLEE, "04100011 58ecd883 01c00000 ffffefec " RETURN_CTPR3 " " CT_CTPR3);
    test_steps(cpu, 2);
    g_assert_cmphex(cpu->reg[3], ==, TEST_USD_TOP - 0x1020);
    g_assert_cmphex(cpu->usd_lo, ==, TEST_USD_TOP - 0x1020);
    g_assert_cmphex(cpu->usd_hi >> 32, ==, 0x10000 - 0x1020);
    test_steps(cpu, 2);
    g_assert_cmphex(cpu->usd_lo, ==, TEST_USD_TOP);
    g_assert_cmphex(cpu->usd_hi >> 32, ==, 0x10000);

    cpu->usd_hi = UINT64_C(0x1000) << 32;
    cpu->ip = CALLEE;
    test_steps(cpu, 1);
    g_assert_cmphex(test_trap(cpu), ==, 1u << E2K_EXC_USER_STACK_BOUNDS);
    test_cpu_free(cpu);
}

static void test_hand_built_frame(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    /* what a supervisor does to start a program in user mode */
    cpu->pcsp.ind = 0;
    cpu->psize = 0;
    cpu->cr.cr0_hi = 0x3000;
    cpu->cr.cr1_lo = (uint64_t)E2K_PSR_IE << 57 | UINT64_C(0) << 33;
    cpu->cr.cr1_hi = UINT64_C(0x800) << 36;
    test_code(cpu, TEST_CODE, RETURN_CTPR3 " " CT_CTPR3);
    test_code(cpu, 0x3000, SETWD_8);
    test_steps(cpu, 3);
    g_assert_cmphex(cpu->ip, ==, 0x3010);
    g_assert_cmphex(cpu->psr, ==, E2K_PSR_IE);
    g_assert_cmpuint(cpu->wsize, ==, 16);
    g_assert_cmpuint(cpu->pcsp.ind, ==, 0);
    test_cpu_free(cpu);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/regwin/call/passes-registers", test_call_passes_registers);
    g_test_add_func("/regwin/call/out-of-bounds-traps", test_call_bounds);
    g_test_add_func("/regwin/return/restores-the-caller", test_return_restores);
    g_test_add_func("/regwin/return/uses-a-hand-built-frame", test_hand_built_frame);
    g_test_add_func("/regwin/spill/in-pairs-before-v5", test_spill_pairs);
    g_test_add_func("/regwin/spill/register-by-register-since-v5", test_spill_registers);
    g_test_add_func("/regwin/names/window-ends-at-wsize", test_window_names);
    g_test_add_func("/regwin/names/based-registers-rotate", test_based_names);
    g_test_add_func("/regwin/names/globals-stay", test_globals);
    g_test_add_func("/regwin/names/dbl-clears-the-upper-half", test_upper_half);
    g_test_add_func("/regwin/system/entry-and-return-switch-mode", test_system_entry);
    g_test_add_func("/regwin/getsp/return-gives-the-stack-back", test_user_stack);
    return g_test_run();
}
