/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frame around a CPU: its thread, and how the rest of the machine talks to it.
 *
 * Rules of use:
 *  - An architecture provides a CpuType; vcpu_new() makes a CPU of it by calling its create().
 *    An architecture's CPU structure begins with a VCpu.
 *  - vcpu_start() creates the thread.  It sleeps while the machine is stopped or the CPU halted
 *    with nothing pending, and calls ops->run() otherwise, without the machine lock.
 *  - run() returns soon after vcpu_must_exit() has become true.  It tests vcpu_poll() at least
 *    once every few hundred bundles; that is one relaxed load.
 *  - interrupts: a controller sets the level of the CPU's interrupt input with vcpu_interrupt();
 *    the CPU sees vcpu_interrupt_pending() and fetches the vector from the controller's register.
 *  - State of the architecture belongs to the CPU's thread.  Others touch it (dump, reset,
 *    set_entry) only while the CPU is paused; vcpu_run_paused() sees to that.
 */
#ifndef SYSTEM_VCPU_H
#define SYSTEM_VCPU_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "system/memory.h"

typedef struct VCpu VCpu;
typedef struct VCpuThread VCpuThread;
typedef struct VmStateParts VmStateParts;

/* Where and how a kernel starts (MACHINE.md 7.3).  All addresses are physical. */
typedef struct VCpuEntry {
    hwaddr pc;
    hwaddr image_base;                 /* base of OSCUD and CUD; multiple of 4 KiB */
    hwaddr proc_stack, proc_stack_size;   /* PSP */
    hwaddr chain_stack, chain_stack_size; /* PCSP; one zeroed frame lies at its start */
    hwaddr user_stack_top, user_stack_size; /* USD; SBR is the top */
    uint64_t boot_info;                /* %r0 */
} VCpuEntry;

typedef struct VCpuOps {
    /** Put the CPU into its state after power-on.  Paused, or before the thread exists. */
    void (*reset)(VCpu *cpu);
    /** After reset: start at a kernel entry instead of the ROM.  Same context as reset. */
    void (*set_entry)(VCpu *cpu, const VCpuEntry *entry);
    /** Execute until vcpu_must_exit() or the CPU halts.  CPU thread, machine lock not held. */
    void (*run)(VCpu *cpu);
    /** Append the registers, as `info registers` shows them.  Paused. */
    void (*dump)(VCpu *cpu, GString *out);
    /** List what must be saved of it (system/vmstate.h); it is read and changed while paused. */
    void (*add_state)(VCpu *cpu, VmStateParts *parts);
    /** Free what create() allocated, including @cpu.  The thread has ended. */
    void (*free)(VCpu *cpu);
} VCpuOps;

/* An architecture's CPUs, as -cpu names them. */
typedef struct CpuType {
    const char *arch;             /* "e2k" */
    const char *const *models;    /* NULL-terminated; the first is the default */
    const char *const *descriptions; /* parallel to models */
    /**
     * Make a CPU that executes from @mem.  Its VCpu must be set up with vcpu_init().
     * @model: one of models, followed in -cpu by ",prop=value..." in @features (may be NULL).
     */
    VCpu *(*create)(const char *model, const char *features, MemoryMap *mem, Error **errp);
} CpuType;

/* Reasons in VCpu.pending. */
enum {
    VCPU_EXIT = 1 << 0,      /* return from run() */
    VCPU_INTERRUPT = 1 << 1, /* level of the interrupt input */
    VCPU_NMI = 1 << 2,       /* cleared by the CPU when it takes it */
    VCPU_CODE = 1 << 3,      /* for the architecture: decoded code is stale */
};

struct VCpu {
    /* fixed after vcpu_init */
    const VCpuOps *ops;
    MemoryMap *mem;
    VCpuThread *thread;
    /* atomic: reasons why the CPU should look up from its work */
    uint32_t pending;
    /* CPU thread; others while paused */
    bool is_halted; /* run() returned to wait for an interrupt */
};

/* ---- for the architecture -------------------------------------------------------------------- */

/** Set up the common part.  @ops is not copied. */
void vcpu_init(VCpu *cpu, const VCpuOps *ops, MemoryMap *mem);

/** Free the common part; called by the architecture's free(). */
void vcpu_done(VCpu *cpu);

/** Not 0 when run() should look at the reasons.  One relaxed load. */
static inline uint32_t vcpu_poll(const VCpu *cpu)
{
    return __atomic_load_n(&cpu->pending, __ATOMIC_RELAXED);
}

/** Whether run() must return. */
static inline bool vcpu_must_exit(const VCpu *cpu)
{
    return vcpu_poll(cpu) & VCPU_EXIT;
}

/** The level of the interrupt input. */
static inline bool vcpu_interrupt_pending(const VCpu *cpu)
{
    return vcpu_poll(cpu) & VCPU_INTERRUPT;
}

/** Set reasons; any thread.  Also wakes a halted CPU. */
void vcpu_set_pending(VCpu *cpu, uint32_t reasons);

/** Clear reasons, and return those that had been set; any thread. */
static inline uint32_t vcpu_clear_pending(VCpu *cpu, uint32_t reasons)
{
    return __atomic_fetch_and(&cpu->pending, ~reasons, __ATOMIC_SEQ_CST) & reasons;
}

/**
 * The CPU cannot go on (MACHINE.md 7.4): log @detail under guest_errors and ask for a reset.
 * Context: CPU thread.  run() must return right after.
 */
void vcpu_triple_fault(VCpu *cpu, const char *detail);

/** Nanoseconds of the guest's time, which stands still while the machine does. */
int64_t vcpu_clock_ns(void);

/* ---- for the machine ------------------------------------------------------------------------- */

/** Set the level of the CPU's interrupt input.  Any thread. */
void vcpu_interrupt(VCpu *cpu, bool level);

/** Create the thread, stopped until vcpu_resume().  Main thread. */
void vcpu_start(VCpu *cpu);

/** Let the CPU run.  Main thread. */
void vcpu_resume(VCpu *cpu);

/**
 * Stop the CPU and wait until it has left run().  Main thread; releases the machine lock while
 * waiting, because the CPU may need it to finish an access.
 */
void vcpu_pause(VCpu *cpu);

/** Call @fn while the CPU is paused, then let it go on as before.  Main thread. */
void vcpu_run_paused(VCpu *cpu, void (*fn)(VCpu *cpu, void *opaque), void *opaque);

/** End the thread and free the CPU; accepts NULL.  Main thread. */
void vcpu_free(VCpu *cpu);

#endif
