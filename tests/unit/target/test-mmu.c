/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads, stores, and what the memory-access specifier makes of them. */
#include "qemu/osdep.h"

#include "e2k-test.h"
#include "../../lib/testlib.h"

#define EXC(name) (UINT64_C(1) << E2K_EXC_##name)
#define DATA 0x20000
#define DEVICE UINT64_C(0x101000000)

/* mas of one channel, to be put into CS1 */
#define MAS2(mas) (0x60000000u | (mas) << 14)
#define MAS0(mas) (0x60000000u | (mas) << 21)
#define MAS5(mas) (0x60000000u | (mas))

/* A memory operation with src1 %r0, src2 0 and data %r1. */
static uint64_t access_memory(E2kCpu *cpu, unsigned channel, unsigned opcode, uint32_t cs1)
{
    g_autofree char *words = g_strdup_printf("%08x %08x %08x 00000000",
                                             UINT32_C(1) << (26 + channel) | 0x8012,
                                             opcode << 24 | 0x80c081, cs1);

    test_code(cpu, TEST_CODE, words);
    cpu->ip = TEST_CODE;
    cpu->wsize = 16;
    test_steps(cpu, 1);
    return test_trap(cpu);
}

static uint64_t memory(E2kCpu *cpu, uint64_t addr)
{
    uint64_t value;

    mem_load(cpu->vcpu.mem, addr, 8, &value);
    return value;
}

static void test_sizes(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");
    static const uint64_t masks[] = { 0xff, 0xffff, 0xffffffff, UINT64_MAX };

    for (unsigned i = 0; i < 4; i++) {
        uint64_t mask = masks[i];

        mem_store(cpu->vcpu.mem, DATA, 8, UINT64_C(0xf1f2f3f4f5f6f7f8));
        cpu->reg[0] = DATA;
        cpu->reg[1] = 0;
        g_assert_cmphex(access_memory(cpu, 0, 0x64 + i, MAS0(0)), ==, 0);
        g_assert_cmphex(cpu->reg[1], ==, UINT64_C(0xf1f2f3f4f5f6f7f8) & mask);
        cpu->reg[1] = UINT64_C(0x1122334455667788);
        g_assert_cmphex(access_memory(cpu, 2, 0x24 + i, MAS2(0)), ==, 0);
        g_assert_cmphex(memory(cpu, DATA), ==, (UINT64_C(0xf1f2f3f4f5f6f7f8) & ~mask)
                        | (UINT64_C(0x1122334455667788) & mask));
    }
    test_cpu_free(cpu);
}

static void test_big_endian(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    mem_store(cpu->vcpu.mem, DATA, 8, UINT64_C(0x0102030405060708));
    cpu->reg[0] = DATA;
    access_memory(cpu, 2, 0x66, MAS2(8));
    g_assert_cmphex(cpu->reg[1], ==, 0x08070605);
    access_memory(cpu, 5, 0x25, MAS5(8));
    g_assert_cmphex(memory(cpu, DATA), ==, UINT64_C(0x0102030405060506));
    test_cpu_free(cpu);
}

static void test_alignment(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    mem_store(cpu->vcpu.mem, DATA, 8, UINT64_C(0x0102030405060708));
    cpu->reg[0] = DATA + 1;
    g_assert_cmphex(access_memory(cpu, 0, 0x66, MAS0(0)), ==, 0);
    g_assert_cmphex(cpu->reg[1], ==, 0x04050607);
    g_assert_cmphex(access_memory(cpu, 2, 0x66, MAS2(6)), ==, EXC(ADDR_NOT_ALIGNED));
    cpu->reg[0] = DATA + 1;
    cpu->upsr |= E2K_UPSR_AC;
    g_assert_cmphex(access_memory(cpu, 0, 0x66, MAS0(0)), ==, EXC(ADDR_NOT_ALIGNED));
    test_cpu_free(cpu);
}

static void test_nothing_there(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    cpu->reg[0] = TEST_RAM_SIZE;
    g_assert_cmphex(access_memory(cpu, 0, 0x66, MAS0(0)), ==, EXC(DATA_PAGE));
    cpu->reg[0] = TEST_RAM_SIZE - 4;
    g_assert_cmphex(access_memory(cpu, 2, 0x27, MAS2(0)), ==, EXC(DATA_PAGE));
    /* a speculative load delivers a value nobody should use */
    cpu->reg[0] = TEST_RAM_SIZE;
    g_assert_cmphex(access_memory(cpu, 0, 0xe7, MAS0(0)), ==, 0);
    g_assert_cmphex(cpu->reg[1], ==, E2K_SM_FAULT);
    test_cpu_free(cpu);
}

static uint64_t device_read(void *opaque, hwaddr offset, unsigned size)
{
    return 0xa0 + offset + size * 0x100;
}

static void device_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
    *(uint64_t *)opaque = value << 16 | offset << 8 | size;
}

static void test_device(void)
{
    static const MemoryOps ops = { .read = device_read, .write = device_write };
    E2kCpu *cpu = test_cpu_new("e8c");
    uint64_t written = 0;

    memory_add_io(cpu->vcpu.mem, "ports", DEVICE, 0x10000, &ops, &written);
    cpu->reg[0] = DEVICE + 5;
    g_assert_cmphex(access_memory(cpu, 2, 0x64, MAS2(6)), ==, 0);
    g_assert_cmphex(cpu->reg[1], ==, 0xa5);
    cpu->reg[0] = DEVICE + 4;
    cpu->reg[1] = 0x12345678;
    g_assert_cmphex(access_memory(cpu, 5, 0x26, MAS5(6)), ==, 0);
    g_assert_cmphex(written, ==, UINT64_C(0x123456780404));
    test_cpu_free(cpu);
}

static void test_atomic(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    /* load and reserve, then a conditional store: it succeeds once */
    mem_store(cpu->vcpu.mem, DATA, 8, 7);
    cpu->reg[0] = DATA;
    access_memory(cpu, 0, 0x67, MAS0(7));
    g_assert_cmpuint(cpu->reg[1], ==, 7);
    cpu->reg[1] = 8;
    access_memory(cpu, 2, 0x27, MAS2(2));
    g_assert_false(cpu->mlock);
    g_assert_cmpuint(memory(cpu, DATA), ==, 8);
    cpu->reg[1] = 9;
    access_memory(cpu, 2, 0x27, MAS2(2));
    g_assert_true(cpu->mlock);
    g_assert_cmpuint(memory(cpu, DATA), ==, 8);
    /* a trap in between makes it fail */
    access_memory(cpu, 0, 0x67, MAS0(7));
    cpu->reg[0] = TEST_RAM_SIZE;
    access_memory(cpu, 0, 0x67, MAS0(0));
    cpu->reg[0] = DATA;
    cpu->reg[1] = 10;
    access_memory(cpu, 2, 0x27, MAS2(2));
    g_assert_true(cpu->mlock);
    g_assert_cmpuint(memory(cpu, DATA), ==, 8);
    test_cpu_free(cpu);
}

static void test_mmu_registers(void)
{
    E2kCpu *cpu = test_cpu_new("e8c");

    /* special access 8: ROOT_PTB keeps what is written */
    cpu->reg[0] = 0x40;
    cpu->reg[1] = 0x123000;
    g_assert_cmphex(access_memory(cpu, 2, 0x27, MAS2(0x47)), ==, 0);
    cpu->reg[1] = 0;
    g_assert_cmphex(access_memory(cpu, 2, 0x67, MAS2(0x47)), ==, 0);
    g_assert_cmphex(cpu->reg[1], ==, 0x123000);
    /* translation cannot be turned on */
    cpu->reg[0] = 0;
    cpu->reg[1] = 0x21;
    g_assert_cmphex(access_memory(cpu, 2, 0x27, MAS2(0x47)), ==, EXC(ILLEGAL_OPCODE));
    /* flushes do nothing that shows */
    cpu->reg[0] = 0;
    g_assert_cmphex(access_memory(cpu, 2, 0x27, MAS2(0x07)), ==, 0);
    g_assert_cmphex(access_memory(cpu, 2, 0x27, MAS2(0x0f)), ==, 0);
    g_assert_cmphex(access_memory(cpu, 2, 0x27, MAS2(0x27)), ==, 0);
    /* user mode has no business here */
    cpu->psr = 0;
    g_assert_cmphex(access_memory(cpu, 2, 0x67, MAS2(0x47)), ==, EXC(PRIV_ACTION));
    test_cpu_free(cpu);
}

static void test_rom(void)
{
    MemoryMap *mem = memory_map_new("memory", false);
    Error *err = NULL;
    uint8_t code[16];

    memory_add_ram(mem, "rom", E2K_RESET_PC, 0x10000, true, &err);
    /* movtd,0 5, %r0 ; stb %r0 to where it came from */
    unsigned len = e2k_vector_bytes("04000001 61c0c580 10000001 2482c080", code, sizeof(code));
    mem_write_rom(mem, E2K_RESET_PC, code, len);
    E2kCpu *cpu = e2k_cpu(e2k_cpu_type.create("e8c", NULL, mem, &err));
    cpu->reg[2] = E2K_RESET_PC;
    test_steps(cpu, 2);
    g_assert_cmphex(cpu->ip, ==, E2K_RESET_PC + 16);
    g_assert_cmphex(memory(cpu, E2K_RESET_PC), ==, UINT64_C(0x61c0c58004000001));
    test_cpu_free(cpu);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/mmu/access/sizes-zero-extend", test_sizes);
    g_test_add_func("/mmu/access/big-endian-swaps", test_big_endian);
    g_test_add_func("/mmu/access/misaligned-traps-when-asked", test_alignment);
    g_test_add_func("/mmu/access/nowhere-traps-unless-speculative", test_nothing_there);
    g_test_add_func("/mmu/access/reset-runs-rom-and-keeps-it", test_rom);
    g_test_add_func("/mmu/device/registers-are-reached", test_device);
    g_test_add_func("/mmu/atomic/store-needs-the-reservation", test_atomic);
    g_test_add_func("/mmu/special/registers-and-flushes", test_mmu_registers);
    return g_test_run();
}
