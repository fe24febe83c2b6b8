/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frame around a CPU: a CPU that only counts, in its thread.
 */
#include "qemu/osdep.h"

#include "qemu/error.h"
#include "qemu/main-loop.h"
#include "system/vcpu.h"
#include "../../lib/testlib.h"

typedef struct Counter {
    VCpu cpu;
    uint64_t count;      /* atomic */
    bool must_halt;      /* atomic */
    MemoryMap *registers;
    uint64_t n_accesses; /* machine lock */
} Counter;

static void counter_run(VCpu *cpu)
{
    Counter *c = (Counter *)cpu;

    while (!vcpu_must_exit(cpu)) {
        uint64_t value;

        __atomic_fetch_add(&c->count, 1, __ATOMIC_SEQ_CST);
        mem_load(c->registers, 0, 4, &value);
        if (__atomic_exchange_n(&c->must_halt, false, __ATOMIC_SEQ_CST)) {
            cpu->is_halted = true;
            return;
        }
    }
}

static void counter_free(VCpu *cpu)
{
    vcpu_done(cpu);
    memory_map_free(((Counter *)cpu)->registers);
    g_free(cpu);
}

static const VCpuOps counter_ops = {.run = counter_run, .free = counter_free};

static uint64_t register_read(void *opaque, hwaddr offset, unsigned size)
{
    Counter *c = opaque;

    g_assert_true(bql_locked());
    return c->n_accesses++;
}

static void register_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
}

static const MemoryOps register_ops = {.read = register_read, .write = register_write};

static Counter *counter_new(void)
{
    Counter *c = g_new0(Counter, 1);

    c->registers = memory_map_new("registers", true);
    memory_add_io(c->registers, "register", 0, 4, &register_ops, c);
    vcpu_init(&c->cpu, &counter_ops, c->registers);
    vcpu_start(&c->cpu);
    return c;
}

static uint64_t count_of(Counter *c)
{
    return __atomic_load_n(&c->count, __ATOMIC_SEQ_CST);
}

static void wait_until_above(Counter *c, uint64_t count)
{
    while (count_of(c) <= count) {
        g_thread_yield();
    }
}

static void test_runs_only_between_resume_and_pause(void)
{
    Counter *c = counter_new();

    g_assert_cmpuint(count_of(c), ==, 0);
    for (int i = 0; i < 50; i++) {
        uint64_t before = count_of(c);

        vcpu_resume(&c->cpu);
        wait_until_above(c, before);
        vcpu_pause(&c->cpu);
        before = count_of(c);
        g_thread_yield();
        g_assert_cmpuint(count_of(c), ==, before);
    }
    vcpu_free(&c->cpu);
}

static void test_pause_lets_the_cpu_finish_its_access(void)
{
    Counter *c = counter_new();

    bql_lock();
    for (int i = 0; i < 50; i++) {
        vcpu_resume(&c->cpu);
        while (!count_of(c)) {
            g_thread_yield();
        }
        vcpu_pause(&c->cpu);
        g_assert_true(bql_locked());
    }
    bql_unlock();
    vcpu_free(&c->cpu);
}

static void test_halted_wakes_by_interrupt_only(void)
{
    Counter *c = counter_new();
    uint64_t before;

    vcpu_resume(&c->cpu);
    __atomic_store_n(&c->must_halt, true, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&c->must_halt, __ATOMIC_SEQ_CST)) {
        g_thread_yield();
    }
    vcpu_pause(&c->cpu);
    before = count_of(c);
    vcpu_set_pending(&c->cpu, VCPU_CODE);
    vcpu_resume(&c->cpu);
    g_thread_yield();
    g_assert_cmpuint(count_of(c), ==, before);
    vcpu_interrupt(&c->cpu, true);
    wait_until_above(c, before);
    g_assert_true(vcpu_interrupt_pending(&c->cpu));
    vcpu_interrupt(&c->cpu, false);
    g_assert_false(vcpu_interrupt_pending(&c->cpu));
    vcpu_free(&c->cpu);
}

static void add_one(VCpu *cpu, void *opaque)
{
    uint64_t before = count_of((Counter *)cpu);

    g_thread_yield();
    g_assert_cmpuint(count_of((Counter *)cpu), ==, before);
    (*(int *)opaque)++;
}

static void test_run_paused_keeps_state(void)
{
    Counter *c = counter_new();
    int n = 0;
    uint64_t before;

    vcpu_run_paused(&c->cpu, add_one, &n);
    g_assert_cmpuint(count_of(c), ==, 0);
    vcpu_resume(&c->cpu);
    wait_until_above(c, 0);
    vcpu_run_paused(&c->cpu, add_one, &n);
    before = count_of(c);
    wait_until_above(c, before);
    g_assert_cmpint(n, ==, 2);
    vcpu_free(&c->cpu);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    g_test_add_func("/vcpu/thread/runs-only-between-resume-and-pause",
                    test_runs_only_between_resume_and_pause);
    g_test_add_func("/vcpu/pause/lets-the-cpu-finish-its-access",
                    test_pause_lets_the_cpu_finish_its_access);
    g_test_add_func("/vcpu/halt/wakes-by-interrupt-only", test_halted_wakes_by_interrupt_only);
    g_test_add_func("/vcpu/run-paused/keeps-state", test_run_paused_keeps_state);
    return g_test_run();
}
