/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A CPU with a little RAM, for tests: code is written as words and stepped bundle by bundle.
 */
#ifndef TESTS_UNIT_TARGET_E2K_TEST_H
#define TESTS_UNIT_TARGET_E2K_TEST_H

#include "qemu/error.h"
#include "target/e2k.h"

#include "../../../target/e2k/cpu.h"
#include "../../lib/e2k-vectors.h"

#define TEST_RAM_SIZE 0x100000
#define TEST_CODE 0x1000
#define TEST_HANDLER 0x8000 /* OSCUD base: traps and system entries */
#define TEST_PSP 0x40000
#define TEST_PCSP 0x60000
#define TEST_USD_TOP 0x90000

static inline E2kCpu *test_cpu_new(const char *model)
{
    MemoryMap *mem = memory_map_new("memory", false);
    Error *err = NULL;

    g_assert_nonnull(memory_add_ram(mem, "ram", 0, TEST_RAM_SIZE, false, &err));
    VCpu *vcpu = e2k_cpu_type.create(model, NULL, mem, &err);
    g_assert_nonnull(vcpu);

    VCpuEntry entry = {
        .pc = TEST_CODE,
        .image_base = TEST_HANDLER,
        .proc_stack = TEST_PSP,
        .proc_stack_size = 0x10000,
        .chain_stack = TEST_PCSP,
        .chain_stack_size = 0x1000,
        .user_stack_top = TEST_USD_TOP,
        .user_stack_size = 0x10000,
    };
    vcpu->ops->reset(vcpu);
    vcpu->ops->set_entry(vcpu, &entry);
    return e2k_cpu(vcpu);
}

static inline void test_cpu_free(E2kCpu *cpu)
{
    MemoryMap *mem = cpu->vcpu.mem;

    cpu->vcpu.ops->free(&cpu->vcpu);
    memory_map_free(mem);
}

/* Write "words" at @addr; returns the address after them. */
static inline uint64_t test_code(E2kCpu *cpu, uint64_t addr, const char *words)
{
    uint8_t code[1024];
    unsigned len = e2k_vector_bytes(words, code, sizeof(code));

    g_assert_cmpint(mem_write(cpu->vcpu.mem, addr, code, len), ==, MEM_OK);
    return addr + len;
}

/* Words of frequent bundles. */
#define NOP "00000000 00000000"
#define SETWD(wsz_shifted_5) "00008011 00000000 00000000 " wsz_shifted_5
#define SETWD_8 SETWD("00000100")
#define SETWD_16 SETWD("00000200")
#define RETURN_CTPR3 "00004001 f0000000"
#define CT_CTPR1 "00001001 c0000420"
#define CT_CTPR3 "00001001 c0000c20"
#define CALL_CTPR1_WBS_4 "00009012 c0000420 50000004 00000000"
#define DONE "00005012 c0000020 30000000 00000000"

/* disp %ctpr1 from @addr to @target; returns the address after it. */
static inline uint64_t test_disp(E2kCpu *cpu, uint64_t addr, uint64_t target)
{
    char words[32];

    snprintf(words, sizeof(words), "00004001 %08x",
             0x40000000 | ((unsigned)((int64_t)(target - addr) / 8) & 0xfffffff));
    return test_code(cpu, addr, words);
}

/* An operation of form F1 in @channel: opcode, src1, src2 and dst bytes. */
static inline uint64_t test_op(E2kCpu *cpu, uint64_t addr, unsigned channel, uint32_t als)
{
    char words[32];

    snprintf(words, sizeof(words), "%08x %08x", UINT32_C(1) << (26 + channel) | 1, als);
    return test_code(cpu, addr, words);
}

/* Execute @n bundles; none may stop the CPU. */
static inline void test_steps(E2kCpu *cpu, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        g_assert_true(e2k_step(cpu));
    }
}

/* The exceptions of the trap that the last step ended in; 0 if it did not. */
static inline uint64_t test_trap(const E2kCpu *cpu)
{
    return cpu->ip == TEST_HANDLER ? cpu->tir_hi & ((UINT64_C(1) << 44) - 1) : 0;
}

#endif
