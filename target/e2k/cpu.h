/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State of the e2k CPU, and the calls between the parts that change it.
 *
 * Rules of use:
 *  - All of it belongs to the CPU's thread (see system/vcpu.h).
 *  - Nothing here asserts on guest code.  What is wrong becomes an exception: e2k_raise() notes it
 *    and the bundle is given up before it has changed registers; e2k_trap() enters the handler.
 *  - Registers are spilled to memory at each call ("eager"), so the procedure and chain stacks
 *    in memory are always complete, PSHTP, PCSHTP and CWD are 0, flushes do nothing.
 *  - The chain registers CR0 and CR1 describe the caller of the running procedure; memory holds
 *    the older frames.
 */
#ifndef E2K_CPU_H
#define E2K_CPU_H

#include "bundle.h"
#include "system/vcpu.h"

#define E2K_WINDOW_REGS 224
#define E2K_GLOBAL_REGS 32
#define E2K_WBS_BYTES 32       /* of procedure stack per two registers */
#define E2K_FRAME_BYTES 32     /* of chain stack per call */
#define E2K_ENTRY_BYTES 0x800  /* between system entries */
#define E2K_SM_FAULT UINT64_C(0x4afafafa4afafafa) /* what a speculative load delivers */

/* Exceptions: bit numbers in TIR.hi. */
typedef enum E2kExc {
    E2K_EXC_ILLEGAL_OPCODE = 0,
    E2K_EXC_PRIV_ACTION = 1,
    E2K_EXC_FP_DISABLED = 2,
    E2K_EXC_ILLEGAL_INSTR_ADDR = 7,
    E2K_EXC_WINDOW_BOUNDS = 9,
    E2K_EXC_USER_STACK_BOUNDS = 10,
    E2K_EXC_PROC_STACK_BOUNDS = 11,
    E2K_EXC_CHAIN_STACK_BOUNDS = 12,
    E2K_EXC_ILLEGAL_OPERAND = 16,
    E2K_EXC_ADDR_NOT_ALIGNED = 19,
    E2K_EXC_INSTR_PAGE_MISS = 20,
    E2K_EXC_DATA_PAGE = 29,
    E2K_EXC_INTERRUPT = 32,
    E2K_EXC_NM_INTERRUPT = 33,
    E2K_EXC_DIV = 34,
    E2K_EXC_FP = 35,
} E2kExc;

enum {
    E2K_PSR_PM = 1 << 0,
    E2K_PSR_IE = 1 << 1,
    E2K_PSR_UIE = 1 << 4,
    E2K_PSR_NMIE = 1 << 5,
    E2K_PSR_UNMIE = 1 << 6,
};

enum {
    E2K_UPSR_FE = 1 << 0,
    E2K_UPSR_AC = 1 << 2,
    E2K_UPSR_IE = 1 << 5,
    E2K_UPSR_NMIE = 1 << 7,
};

/* CTPR fields. */
#define E2K_CTPR_TARGET ((UINT64_C(1) << 48) - 1)
#define E2K_CTPR_TAG_SHIFT 54
#define E2K_CTPR_TAGS (UINT64_C(7) << E2K_CTPR_TAG_SHIFT)
#define E2K_CTPR_OPC_SHIFT 57

enum {
    E2K_TAG_NONE = 0,
    E2K_TAG_RETURN = 2,
    E2K_TAG_DISP = 3,
    E2K_TAG_SDISP = 5,
};

/* Special registers that are stored as they were written; numbers as in rrd and rwd. */
enum {
    E2K_SR_OSCUD_HI = 0x26,
    E2K_SR_OSCUD_LO = 0x27,
    E2K_SR_OSGD_HI = 0x28,
    E2K_SR_OSGD_LO = 0x29,
    E2K_SR_CUD_HI = 0x30,
    E2K_SR_CUD_LO = 0x31,
    E2K_SR_GD_HI = 0x32,
    E2K_SR_GD_LO = 0x33,
};

/* A hardware stack: PSP or PCSP. */
typedef struct E2kStack {
    uint64_t lo; /* base 47:0, access rights 60:59 */
    uint32_t ind;
    uint32_t size;
} E2kStack;

/* CR0 and CR1: how to return to the caller. */
typedef struct E2kFrame {
    uint64_t cr0_lo;
    uint64_t cr0_hi;
    uint64_t cr1_lo;
    uint64_t cr1_hi;
} E2kFrame;

/* The module descriptors that system entry replaces (GD and CUD of the caller). */
typedef struct E2kModule {
    uint64_t cud_lo, cud_hi;
    uint64_t gd_lo, gd_hi;
} E2kModule;

typedef struct E2kCpu {
    VCpu vcpu; /* must be first */

    /* the model; fixed */
    uint8_t isa;
    uint8_t model_number;
    const char *model_name;

    /* window registers, then globals; ext holds bits 127:64 */
    uint64_t reg[E2K_WINDOW_REGS + E2K_GLOBAL_REGS];
    uint64_t ext[E2K_WINDOW_REGS + E2K_GLOBAL_REGS];
    uint32_t preds;

    /* window; sizes in registers */
    uint16_t wsize;
    uint16_t psize;
    bool wfx;
    bool wdbl;
    /* BR, and the rotated area of registers that follows from it */
    uint8_t rbs, rsz, rcur, psz, pcur;
    uint16_t based_start, based_size, based_cur;

    uint64_t ip; /* of the bundle being executed */
    uint64_t ctpr[4]; /* 1..3 */
    E2kFrame cr;
    E2kStack psp;
    E2kStack pcsp;
    uint64_t usd_lo; /* base: the stack pointer */
    uint64_t usd_hi; /* size 63:32: free bytes below */
    uint64_t sbr;
    E2kModule user_module; /* GD and CUD to return to from system entry */

    uint32_t psr;
    uint32_t upsr;
    uint16_t cuir;
    uint64_t tir_lo, tir_hi;
    uint64_t lsr, ilcr;
    uint32_t pfpfr, fpcr, fpsr;
    uint64_t special[256]; /* the ones without a field here */
    uint64_t mmu_reg[0x80]; /* by number / 16 */

    /* atomic operations: a reservation, and whether the last conditional access failed */
    bool lock_valid;
    bool mlock;
    uint64_t lock_addr;

    uint64_t exc; /* exceptions raised by the bundle being executed */
    uint8_t exc_channels;
    uint32_t poll_mask; /* reasons in vcpu.pending that matter now */
    bool nmi_pending;   /* VCPU_NMI, while it is saved or loaded */

    const RamBlock *ram; /* where the last access went */
    E2kBundleCache cache;
} E2kCpu;

static inline E2kCpu *e2k_cpu(VCpu *vcpu)
{
    return (E2kCpu *)vcpu;
}

/* ---- exceptions (excp.c) ------------------------------------------------------------------- */

/** Note an exception in the bundle being executed. */
static inline void e2k_raise(E2kCpu *cpu, E2kExc exc)
{
    cpu->exc |= UINT64_C(1) << exc;
}

/**
 * Enter the trap handler with exceptions @exc, to return to @ip.
 * Returns: false if the CPU cannot go on and run() must end.
 */
bool e2k_trap(E2kCpu *cpu, uint64_t exc, uint64_t ip);

/** Take a pending interrupt if it is enabled.  Returns: as e2k_trap(). */
bool e2k_take_interrupts(E2kCpu *cpu);

/** Recompute poll_mask after PSR or UPSR changed. */
void e2k_update_poll(E2kCpu *cpu);

/** The CPU cannot go on; @why goes into the log. */
void e2k_fatal(E2kCpu *cpu, const char *why);

/* ---- windows, calls, stacks (regwin.c) ------------------------------------------------------- */

/** Recompute the rotated area after BR changed. */
void e2k_update_based(E2kCpu *cpu);

/** BR as a register. */
uint32_t e2k_get_br(const E2kCpu *cpu);
void e2k_set_br(E2kCpu *cpu, uint32_t br);

/** Physical register index of %pred @n. */
static inline unsigned e2k_pred_index(const E2kCpu *cpu, unsigned n)
{
    return n <= cpu->psz && cpu->pcur ? (cpu->pcur + n) % (cpu->psz + 1u) : n;
}

static inline bool e2k_pred(const E2kCpu *cpu, unsigned n)
{
    return cpu->preds >> e2k_pred_index(cpu, n) & 1;
}

/** Whether a call with @wbs would fit; raises what is wrong otherwise. */
bool e2k_call_check(E2kCpu *cpu, unsigned wbs);

/** Push a frame that returns to @return_ip, and move the window up by @wbs pairs. */
void e2k_call(E2kCpu *cpu, unsigned wbs, uint64_t return_ip);

/** Whether a return is possible; raises what is wrong otherwise. */
bool e2k_return_check(E2kCpu *cpu);

/** Go back to the caller; sets ip. */
void e2k_return(E2kCpu *cpu);

/** Whether a trap frame fits; nothing is raised. */
bool e2k_trap_frame_fits(E2kCpu *cpu);

/** Switch to privileged mode and the system's module, for system entry and traps. */
void e2k_enter_system(E2kCpu *cpu);

/* ---- special registers (sreg.c) ------------------------------------------------------------- */

/** Value of special register @number; raises illegal_opcode if there is none. */
uint64_t e2k_special_read(E2kCpu *cpu, unsigned number);

/** Whether @number may be written now; raises what is wrong otherwise. */
bool e2k_special_write_check(E2kCpu *cpu, unsigned number);

/** Write @number, which e2k_special_write_check() has allowed. */
void e2k_special_write(E2kCpu *cpu, unsigned number, uint64_t value, bool is_32);

/* ---- memory (mmu.c) -------------------------------------------------------------------------- */

/** Load for @slot; raises on failure unless speculative. */
uint64_t e2k_load(E2kCpu *cpu, const E2kSlot *slot, uint64_t addr);

/** Store for @slot; raises on failure unless speculative. */
void e2k_store(E2kCpu *cpu, const E2kSlot *slot, uint64_t addr, uint64_t value);

/** Host address of @len bytes of RAM (or ROM, unless @is_write) at @addr, or NULL. */
uint8_t *e2k_host(E2kCpu *cpu, uint64_t addr, uint64_t len, bool is_write);

/** Tell the code cache that @len bytes at @addr were written through e2k_host(). */
void e2k_host_written(E2kCpu *cpu, uint64_t addr, uint64_t len);

/* ---- control (ctrl.c) ------------------------------------------------------------------------ */

/** Whether the channel of @slot executes, by the conditions in CDS. */
bool e2k_slot_enabled(const E2kCpu *cpu, const E2kBundle *bundle, const E2kSlot *slot);

/** The merge condition of @slot. */
bool e2k_slot_merge(const E2kCpu *cpu, const E2kBundle *bundle, const E2kSlot *slot);

/** Predicates after the predicate logic of @bundle, which reads @before. */
void e2k_predicate_logic(E2kCpu *cpu, const E2kBundle *bundle, uint32_t before);

/** Whether the transfer of @bundle is taken; @results are the values its channels computed. */
bool e2k_condition(E2kCpu *cpu, const E2kBundle *bundle, const uint64_t *results);

/** Whether the transfer of @bundle is possible; raises what is wrong otherwise. */
bool e2k_transfer_check(E2kCpu *cpu, const E2kBundle *bundle);

/**
 * All that follows the channel operations: BR, loop stubs, CTPRs, the transfer; sets ip.
 * Returns: false if run() must end.
 */
bool e2k_finish(E2kCpu *cpu, const E2kBundle *bundle, bool is_taken);

static inline bool e2k_loop_end(const E2kCpu *cpu)
{
    uint64_t lsr = cpu->lsr;

    return (lsr >> 37 & 1) && !(lsr >> 32 & 31) && (uint32_t)lsr < 2;
}

/* ---- saving (state.c) ------------------------------------------------------------------------ */

void e2k_add_state(VCpu *vcpu, VmStateParts *parts);

/* ---- running (interp.c) ---------------------------------------------------------------------- */

/** Execute one bundle, with its traps.  Returns: false if run() must end. */
bool e2k_step(E2kCpu *cpu);

void e2k_run(VCpu *vcpu);

#endif
