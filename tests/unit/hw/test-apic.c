/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupt controllers and the system timer, seen through their registers.
 */
#include "qemu/osdep.h"

#include "../../lib/testlib.h"
#include "hw/intc/apic.h"
#include "hw/timer/e2k-timer.h"
#include "qemu/error.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "system/vcpu.h"

#define SPURIOUS 0xff
#define PIN 4
#define TIMER_PIN 2
#define REDIR_LEVEL 0x8000
#define REDIR_MASKED 0x10000

typedef struct Fixture {
    MemoryMap *map;
    LocalApic *local;
    IoApic *io;
    VCpu cpu;
} Fixture;

static void unused_run(VCpu *cpu)
{
}

static const VCpuOps cpu_ops = {.run = unused_run};

static uint32_t local_read(Fixture *f, unsigned reg)
{
    uint64_t value;

    mem_load(f->map, LOCAL_APIC_BASE + reg, 4, &value);
    return value;
}

static void local_write(Fixture *f, unsigned reg, uint32_t value)
{
    mem_store(f->map, LOCAL_APIC_BASE + reg, 4, value);
}

static uint64_t redir_read(Fixture *f, int pin)
{
    uint64_t low, high;

    mem_store(f->map, IO_APIC_BASE, 4, 0x10 + 2 * pin);
    mem_load(f->map, IO_APIC_BASE + 0x10, 4, &low);
    mem_store(f->map, IO_APIC_BASE, 4, 0x11 + 2 * pin);
    mem_load(f->map, IO_APIC_BASE + 0x10, 4, &high);
    return high << 32 | low;
}

static void redir_write(Fixture *f, int pin, uint64_t value)
{
    mem_store(f->map, IO_APIC_BASE, 4, 0x11 + 2 * pin);
    mem_store(f->map, IO_APIC_BASE + 0x10, 4, value >> 32);
    mem_store(f->map, IO_APIC_BASE, 4, 0x10 + 2 * pin);
    mem_store(f->map, IO_APIC_BASE + 0x10, 4, (uint32_t)value);
}

static bool is_interrupted(Fixture *f)
{
    return vcpu_interrupt_pending(&f->cpu);
}

static void set_up(Fixture *f, gconstpointer unused)
{
    bql_lock();
    f->map = memory_map_new("test", false);
    f->local = local_apic_create(f->map);
    f->io = io_apic_create(f->map, f->local);
    vcpu_init(&f->cpu, &cpu_ops, f->map);
    local_apic_set_cpu(f->local, &f->cpu);
    local_write(f, 0xf0, 0x100 | SPURIOUS);
}

static void tear_down(Fixture *f, gconstpointer unused)
{
    device_free_all();
    memory_map_free(f->map);
    vcpu_done(&f->cpu);
    bql_unlock();
}

static void test_vector_register_accepts(Fixture *f, gconstpointer unused)
{
    g_assert_cmphex(local_read(f, 0xff0), ==, SPURIOUS);
    local_apic_msi(f->local, MSI_ADDR_BASE, 0x41);
    g_assert_true(is_interrupted(f));
    g_assert_cmphex(local_read(f, 0x220), ==, 1 << 1); /* IRR: 0x41 */
    g_assert_cmphex(local_read(f, 0xff0), ==, 0x41);
    g_assert_false(is_interrupted(f));
    g_assert_cmphex(local_read(f, 0x220), ==, 0);
    g_assert_cmphex(local_read(f, 0x120), ==, 1 << 1);
    g_assert_cmphex(local_read(f, 0xff0), ==, SPURIOUS);
    local_write(f, 0xb0, 0);
    g_assert_cmphex(local_read(f, 0x120), ==, 0);
}

static void test_priorities(Fixture *f, gconstpointer unused)
{
    local_apic_msi(f->local, MSI_ADDR_BASE, 0x51);
    g_assert_cmphex(local_read(f, 0xff0), ==, 0x51);
    local_apic_msi(f->local, MSI_ADDR_BASE, 0x58); /* same class: waits */
    g_assert_false(is_interrupted(f));
    local_apic_msi(f->local, MSI_ADDR_BASE, 0x61);
    g_assert_true(is_interrupted(f));
    g_assert_cmphex(local_read(f, 0xff0), ==, 0x61);
    g_assert_cmphex(local_read(f, 0xa0), ==, 0x60);
    local_write(f, 0xb0, 0);
    g_assert_false(is_interrupted(f));
    local_write(f, 0xb0, 0);
    g_assert_true(is_interrupted(f));
    local_write(f, 0x80, 0x50); /* task priority */
    g_assert_false(is_interrupted(f));
    local_write(f, 0x80, 0x4f);
    g_assert_cmphex(local_read(f, 0xff0), ==, 0x58);
}

static void test_disabled_apic_delivers_nothing(Fixture *f, gconstpointer unused)
{
    local_write(f, 0xf0, SPURIOUS);
    local_apic_msi(f->local, MSI_ADDR_BASE, 0x41);
    g_assert_false(is_interrupted(f));
    g_assert_cmphex(local_read(f, 0xff0), ==, SPURIOUS);
}

static void test_messages_for_others_are_ignored(Fixture *f, gconstpointer unused)
{
    local_apic_msi(f->local, MSI_ADDR_BASE | 5 << 12, 0x41);
    local_apic_msi(f->local, MSI_ADDR_BASE + MSI_ADDR_SIZE, 0x41);
    local_apic_msi(f->local, 0x1000, 0x41);
    g_assert_false(is_interrupted(f));
    local_write(f, 0xd0, 0x02000000);
    local_apic_msi(f->local, MSI_ADDR_BASE | 2 << 12 | 4, 0x41);
    g_assert_true(is_interrupted(f));
}

static void test_illegal_vector_is_an_error(Fixture *f, gconstpointer unused)
{
    local_apic_msi(f->local, MSI_ADDR_BASE, 0x05);
    g_assert_false(is_interrupted(f));
    g_assert_cmphex(local_read(f, 0x280), ==, 0);
    local_write(f, 0x280, 0);
    g_assert_cmphex(local_read(f, 0x280), ==, 0x40);
}

static void test_self_interrupt_and_nmi(Fixture *f, gconstpointer unused)
{
    local_write(f, 0x300, 0x40000 | 0x33); /* shorthand self */
    g_assert_cmphex(local_read(f, 0xff0), ==, 0x33);
    local_write(f, 0x300, 0xc0000 | 0x34); /* all but self */
    g_assert_false(is_interrupted(f));
    local_write(f, 0x300, 0x40000 | 0x400); /* NMI */
    g_assert_cmpuint(vcpu_clear_pending(&f->cpu, VCPU_NMI), ==, VCPU_NMI);
}

static void test_edge_pin(Fixture *f, gconstpointer unused)
{
    IrqLine *pin = io_apic_pin(f->io, PIN);

    redir_write(f, PIN, 0x24);
    irq_raise(pin);
    irq_raise(pin);
    g_assert_cmphex(local_read(f, 0xff0), ==, 0x24);
    local_write(f, 0xb0, 0);
    g_assert_false(is_interrupted(f));
    irq_lower(pin);
    redir_write(f, PIN, REDIR_MASKED | 0x24);
    irq_pulse(pin); /* an edge while masked is not lost */
    g_assert_false(is_interrupted(f));
    redir_write(f, PIN, 0x24);
    g_assert_cmphex(local_read(f, 0xff0), ==, 0x24);
}

static void test_level_pin(Fixture *f, gconstpointer unused)
{
    IrqLine *pin = io_apic_pin(f->io, PIN);

    redir_write(f, PIN, REDIR_LEVEL | 0x35);
    irq_raise(pin);
    g_assert_cmphex(local_read(f, 0xff0), ==, 0x35);
    g_assert_cmphex(redir_read(f, PIN) & 0x4000, ==, 0x4000);
    local_write(f, 0xb0, 0); /* still asserted: comes again */
    g_assert_cmphex(local_read(f, 0xff0), ==, 0x35);
    irq_lower(pin);
    local_write(f, 0xb0, 0);
    g_assert_false(is_interrupted(f));
    g_assert_cmphex(redir_read(f, PIN) & 0x4000, ==, 0);
}

static void test_io_apic_registers(Fixture *f, gconstpointer unused)
{
    uint64_t value;

    mem_store(f->map, IO_APIC_BASE, 4, 1);
    mem_load(f->map, IO_APIC_BASE + 0x10, 4, &value);
    g_assert_cmphex(value, ==, 0x170020);
    redir_write(f, 23, UINT64_MAX);
    g_assert_cmphex(redir_read(f, 23), ==, UINT64_C(0xff0000000001afff));
    for (int reg = 0; reg < 256; reg++) {
        mem_store(f->map, IO_APIC_BASE, 4, reg);
        mem_store(f->map, IO_APIC_BASE + 0x10, 4, UINT32_MAX);
        mem_load(f->map, IO_APIC_BASE + 0x10, 4, &value);
    }
}

static void test_local_timer(Fixture *f, gconstpointer unused)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);

    local_write(f, 0x3e0, 0xb); /* undivided */
    local_write(f, 0x320, 0x40);
    local_write(f, 0x380, 1000);
    qemu_clock_step_to(now + 400);
    g_assert_cmpuint(local_read(f, 0x390), ==, 600);
    qemu_clock_step_to(now + 999);
    g_assert_false(is_interrupted(f));
    qemu_clock_step_to(now + 1000);
    g_assert_cmphex(local_read(f, 0xff0), ==, 0x40);
    local_write(f, 0xb0, 0);
    g_assert_cmpuint(local_read(f, 0x390), ==, 0);
    local_write(f, 0x320, 0x20041); /* periodic */
    local_write(f, 0x380, 1000);
    for (int i = 1; i <= 3; i++) {
        qemu_clock_step_to(now + 1000 + 1000 * i);
        g_assert_cmphex(local_read(f, 0xff0), ==, 0x41);
        local_write(f, 0xb0, 0);
    }
}

static uint32_t timer_read(Fixture *f, unsigned reg)
{
    uint64_t value;

    mem_load(f->map, E2K_TIMER_BASE + reg, 4, &value);
    return value;
}

static void test_system_timer(Fixture *f, gconstpointer unused)
{
    int64_t start = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);

    e2k_timer_create(f->map, io_apic_pin(f->io, TIMER_PIN));
    redir_write(f, TIMER_PIN, 0x22);
    mem_store(f->map, E2K_TIMER_BASE, 4, 50 << 9); /* 5 us */
    mem_store(f->map, E2K_TIMER_BASE + 0xc, 4, 7);
    g_assert_cmphex(timer_read(f, 8), ==, 0x80000000);
    qemu_clock_step_to(start + 2000);
    g_assert_cmphex(timer_read(f, 8), ==, 0x80000000 | 20 << 9);
    g_assert_cmpuint(timer_read(f, 0x1c), ==, (start + 2000) / 100);
    g_assert_cmpuint(timer_read(f, 0x28), ==, 20);
    for (int i = 1; i <= 3; i++) {
        qemu_clock_step_to(start + 5000 * i);
        g_assert_cmphex(local_read(f, 0xff0), ==, 0x22);
        local_write(f, 0xb0, 0);
        g_assert_false(is_interrupted(f));
        g_assert_cmphex(timer_read(f, 8) >> 31, ==, i % 2 == 0);
    }
    mem_store(f->map, E2K_TIMER_BASE + 0xc, 4, 0);
    qemu_clock_step_to(start + 100000);
    g_assert_false(is_interrupted(f));
}

#define ADD(path, fn) g_test_add("/apic/" path, Fixture, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    qemu_clock_set_stepped();
    ADD("local/vector-register-accepts", test_vector_register_accepts);
    ADD("local/priorities", test_priorities);
    ADD("local/disabled-delivers-nothing", test_disabled_apic_delivers_nothing);
    ADD("local/messages-for-others-are-ignored", test_messages_for_others_are_ignored);
    ADD("local/illegal-vector-is-an-error", test_illegal_vector_is_an_error);
    ADD("local/self-interrupt-and-nmi", test_self_interrupt_and_nmi);
    ADD("local/timer", test_local_timer);
    ADD("io/edge-pin", test_edge_pin);
    ADD("io/level-pin", test_level_pin);
    ADD("io/registers", test_io_apic_registers);
    ADD("system-timer/limit-interrupts", test_system_timer);
    return g_test_run();
}
