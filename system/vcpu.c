/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "qemu/log.h"
#include "qemu/main-loop.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "system/runstate.h"
#include "vcpu-int.h"

/* What ends the sleep of a halted CPU. */
#define WAKE_REASONS (VCPU_INTERRUPT | VCPU_NMI)

struct VCpuThread {
    QemuThread thread;
    bool has_thread;
    QemuMutex lock;
    QemuCond wake; /* for the CPU's thread: something below changed, or a reason came */
    QemuCond idle; /* for those who wait until is_idle */
    /* lock */
    bool must_stop;
    bool must_quit;
    bool is_idle; /* the thread is outside of run() and stays there while must_stop */
};

void vcpu_init(VCpu *cpu, const VCpuOps *ops, MemoryMap *mem)
{
    cpu->ops = ops;
    cpu->mem = mem;
    cpu->pending = 0;
    cpu->is_halted = false;
    cpu->thread = g_new0(VCpuThread, 1);
    qemu_mutex_init(&cpu->thread->lock);
    qemu_cond_init(&cpu->thread->wake);
    qemu_cond_init(&cpu->thread->idle);
    cpu->thread->must_stop = true;
    cpu->thread->is_idle = true;
}

void vcpu_done(VCpu *cpu)
{
    qemu_cond_destroy(&cpu->thread->idle);
    qemu_cond_destroy(&cpu->thread->wake);
    qemu_mutex_destroy(&cpu->thread->lock);
    g_clear_pointer(&cpu->thread, g_free);
}

void vcpu_set_pending(VCpu *cpu, uint32_t reasons)
{
    uint32_t old = __atomic_fetch_or(&cpu->pending, reasons, __ATOMIC_SEQ_CST);

    if (reasons & ~old & WAKE_REASONS) {
        qemu_mutex_lock(&cpu->thread->lock);
        qemu_cond_signal(&cpu->thread->wake);
        qemu_mutex_unlock(&cpu->thread->lock);
    }
}

void vcpu_interrupt(VCpu *cpu, bool level)
{
    if (level) {
        vcpu_set_pending(cpu, VCPU_INTERRUPT);
    } else {
        vcpu_clear_pending(cpu, VCPU_INTERRUPT);
    }
}

void vcpu_triple_fault(VCpu *cpu, const char *detail)
{
    qemu_log_mask(LOG_GUEST_ERROR, "CPU cannot go on: %s\n", detail);
    system_reset_request(SHUTDOWN_CAUSE_GUEST_RESET);
}

int64_t vcpu_clock_ns(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static bool must_sleep(const VCpu *cpu)
{
    return cpu->thread->must_stop || (cpu->is_halted && !(vcpu_poll(cpu) & WAKE_REASONS));
}

static void *vcpu_thread(void *opaque)
{
    VCpu *cpu = opaque;
    VCpuThread *t = cpu->thread;

    qemu_mutex_lock(&t->lock);
    while (!t->must_quit) {
        if (must_sleep(cpu)) {
            t->is_idle = true;
            qemu_cond_broadcast(&t->idle);
            qemu_cond_wait(&t->wake, &t->lock);
            continue;
        }
        t->is_idle = false;
        cpu->is_halted = false;
        vcpu_clear_pending(cpu, VCPU_EXIT);
        qemu_mutex_unlock(&t->lock);
        cpu->ops->run(cpu);
        qemu_mutex_lock(&t->lock);
    }
    t->is_idle = true;
    qemu_cond_broadcast(&t->idle);
    qemu_mutex_unlock(&t->lock);
    return NULL;
}

void vcpu_start(VCpu *cpu)
{
    qemu_thread_create(&cpu->thread->thread, "CPU 0", vcpu_thread, cpu, QEMU_THREAD_JOINABLE);
    cpu->thread->has_thread = true;
}

void vcpu_stop_self(VCpu *cpu)
{
    qemu_mutex_lock(&cpu->thread->lock);
    cpu->thread->must_stop = true;
    vcpu_set_pending(cpu, VCPU_EXIT);
    qemu_mutex_unlock(&cpu->thread->lock);
}

void vcpu_resume(VCpu *cpu)
{
    qemu_mutex_lock(&cpu->thread->lock);
    cpu->thread->must_stop = false;
    qemu_cond_signal(&cpu->thread->wake);
    qemu_mutex_unlock(&cpu->thread->lock);
}

/* Returns: whether the CPU sleeps already, and will go on sleeping. */
static bool ask_to_stop(VCpu *cpu)
{
    VCpuThread *t = cpu->thread;
    bool is_idle;

    qemu_mutex_lock(&t->lock);
    t->must_stop = true;
    vcpu_set_pending(cpu, VCPU_EXIT);
    is_idle = t->is_idle;
    qemu_mutex_unlock(&t->lock);
    return is_idle;
}

void vcpu_pause(VCpu *cpu)
{
    VCpuThread *t = cpu->thread;
    bool had_lock = bql_locked();

    if (ask_to_stop(cpu)) {
        return;
    }
    if (had_lock) {
        bql_unlock();
    }
    qemu_mutex_lock(&t->lock);
    while (!t->is_idle) {
        qemu_cond_wait(&t->idle, &t->lock);
    }
    qemu_mutex_unlock(&t->lock);
    if (had_lock) {
        bql_lock();
    }
}

void vcpu_run_paused(VCpu *cpu, void (*fn)(VCpu *cpu, void *opaque), void *opaque)
{
    bool was_stopped;

    qemu_mutex_lock(&cpu->thread->lock);
    was_stopped = cpu->thread->must_stop;
    qemu_mutex_unlock(&cpu->thread->lock);
    vcpu_pause(cpu);
    fn(cpu, opaque);
    if (!was_stopped) {
        vcpu_resume(cpu);
    }
}

void vcpu_free(VCpu *cpu)
{
    if (!cpu) {
        return;
    }
    if (cpu->thread->has_thread) {
        vcpu_pause(cpu);
        qemu_mutex_lock(&cpu->thread->lock);
        cpu->thread->must_quit = true;
        qemu_cond_signal(&cpu->thread->wake);
        qemu_mutex_unlock(&cpu->thread->lock);
        qemu_thread_join(&cpu->thread->thread);
    }
    cpu->ops->free(cpu);
}
