/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The interpreter.  A bundle executes in two phases: first all sources are read and all results
 * computed, memory accessed in channel order; then, if nothing raised an exception, registers
 * change.  An exception therefore leaves the registers as they were before the bundle.
 */
#include "qemu/osdep.h"

#include "qemu/atomic.h"

#include "cpu.h"

#define SR_NIP 0x82
#define LSR_PCNT(lsr) ((lsr) >> 48 & 31)
#define LSR_STRMD_SHIFT 53
#define LSR_STRMD(lsr) ((lsr) >> LSR_STRMD_SHIFT & 127)
#define NO_REG UINT_MAX

/* What phase one leaves for phase two. */
typedef struct Pending {
    uint64_t result[E2K_N_CHANNELS]; /* by channel */
    unsigned reg[E2K_N_CHANNELS];    /* by slot: index in reg[] */
    unsigned enabled;                /* bit n: slot n executes */
    uint32_t preds;                  /* before the bundle */
    uint16_t wsize;
    bool is_taken;
} Pending;

/* ---- registers ------------------------------------------------------------------------------- */

static inline unsigned window_index(E2kCpu *cpu, unsigned reg)
{
    if (unlikely(reg >= cpu->wsize)) {
        e2k_raise(cpu, E2K_EXC_WINDOW_BOUNDS);
        return 0;
    }
    return reg;
}

static inline unsigned based_index(E2kCpu *cpu, unsigned reg)
{
    unsigned index = reg + cpu->based_cur;

    if (unlikely(reg >= cpu->based_size)) {
        e2k_raise(cpu, E2K_EXC_WINDOW_BOUNDS);
        return 0;
    }
    if (index >= cpu->based_size) {
        index -= cpu->based_size;
    }
    return window_index(cpu, cpu->based_start + index);
}

static inline uint64_t operand_read(E2kCpu *cpu, const E2kOperand *operand)
{
    switch (operand->kind) {
    case E2K_OPERAND_LITERAL:
        return operand->literal;
    case E2K_OPERAND_WINDOW:
        return cpu->reg[window_index(cpu, operand->reg)];
    case E2K_OPERAND_BASED:
        return cpu->reg[based_index(cpu, operand->reg)];
    default:
        return cpu->reg[operand->reg];
    }
}

static inline unsigned dest_index(E2kCpu *cpu, const E2kSlot *slot)
{
    switch (slot->dest) {
    case E2K_DEST_WINDOW:
        return window_index(cpu, slot->dest_reg);
    case E2K_DEST_BASED:
        return based_index(cpu, slot->dest_reg);
    case E2K_DEST_GLOBAL:
        return slot->dest_reg;
    default:
        return NO_REG;
    }
}

/* ---- phase one ------------------------------------------------------------------------------- */

static inline bool slot_is_enabled(const E2kCpu *cpu, const E2kBundle *bundle, const E2kSlot *slot)
{
    switch (slot->cond) {
    case E2K_COND_ALWAYS:
        return true;
    case E2K_COND_PRED:
        return e2k_pred(cpu, slot->cond_pred);
    case E2K_COND_NOT_PRED:
        return !e2k_pred(cpu, slot->cond_pred);
    default:
        return e2k_slot_enabled(cpu, bundle, slot);
    }
}

static uint64_t segment_base(const E2kCpu *cpu, unsigned segment)
{
    unsigned number = segment == E2K_SEGMENT_GD ? E2K_SR_GD_LO : E2K_SR_CUD_LO;

    return cpu->special[number] & E2K_CTPR_TARGET;
}

static inline uint64_t slot_address(const E2kCpu *cpu, const E2kSlot *slot, uint64_t a, uint64_t b)
{
    if (likely(slot->segment == E2K_SEGMENT_FLAT)) {
        return a + b;
    }
    return segment_base(cpu, slot->segment) + (uint32_t)(a + b);
}

/* In loop mode, stores of the prologue and of the iterations past the end do nothing. */
static bool loop_store_enabled(E2kCpu *cpu)
{
    if (LSR_PCNT(cpu->lsr)) {
        return false;
    }
    return !e2k_loop_end(cpu) || LSR_STRMD(cpu->lsr);
}

/* The user stack pointer after getsp.  Its free size moves along. */
static uint64_t getsp(E2kCpu *cpu, uint64_t delta)
{
    int64_t change = (int32_t)delta & ~INT64_C(15);
    int64_t size = (int64_t)(cpu->usd_hi >> 32) + change;

    if (size < 0 || size > UINT32_MAX) {
        e2k_raise(cpu, E2K_EXC_USER_STACK_BOUNDS);
    }
    return (cpu->usd_lo + change) & E2K_CTPR_TARGET;
}

static uint64_t slot_execute_special(E2kCpu *cpu, const E2kBundle *bundle, const E2kSlot *slot,
                                     uint64_t a, uint64_t b)
{
    switch (slot->kind) {
    case E2K_SLOT_MERGE:
        return e2k_slot_merge(cpu, bundle, slot) ? b : a;
    case E2K_SLOT_MERGE_PAIR:
        return slot->alu2(cpu, operand_read(cpu, &slot->src[2]),
                          e2k_slot_merge(cpu, bundle, slot) ? b : a, slot->arg2);
    case E2K_SLOT_READ_SPECIAL:
        cpu->special[SR_NIP] = cpu->ip + bundle->length;
        return e2k_special_read(cpu, slot->special);
    case E2K_SLOT_WRITE_SPECIAL:
        e2k_special_write_check(cpu, slot->special);
        return b;
    case E2K_SLOT_GETSP:
        return getsp(cpu, b);
    default:
        e2k_raise(cpu, E2K_EXC_ILLEGAL_OPCODE);
        return 0;
    }
}

static inline uint64_t slot_execute(E2kCpu *cpu, const E2kBundle *bundle, const E2kSlot *slot)
{
    uint64_t a = operand_read(cpu, &slot->src[0]);
    uint64_t b = operand_read(cpu, &slot->src[1]);

    switch (slot->kind) {
    case E2K_SLOT_ALU:
        return slot->alu(cpu, a, b, slot->n_src > 2 ? operand_read(cpu, &slot->src[2]) : slot->arg);
    case E2K_SLOT_LOAD:
        return e2k_load(cpu, slot, slot_address(cpu, slot, a, b));
    case E2K_SLOT_STORE: {
        uint64_t value = operand_read(cpu, &slot->src[2]);

        if (likely(!cpu->exc && (!(bundle->flags & E2K_BUNDLE_LOOP_MODE)
                                 || loop_store_enabled(cpu)))) {
            e2k_store(cpu, slot, slot_address(cpu, slot, a, b), value);
        }
        return 0;
    }
    case E2K_SLOT_PAIR:
        return slot->alu2(cpu, operand_read(cpu, &slot->src[2]), slot->alu(cpu, a, b, slot->arg),
                          slot->arg2);
    default:
        return slot_execute_special(cpu, bundle, slot, a, b);
    }
}

static void compute(E2kCpu *cpu, const E2kBundle *bundle, Pending *pending)
{
    for (unsigned i = 0; i < bundle->n_slots; i++) {
        const E2kSlot *slot = &bundle->slot[i];
        uint64_t exc = cpu->exc;

        if (!slot_is_enabled(cpu, bundle, slot)) {
            continue;
        }
        pending->enabled |= 1u << i;
        pending->result[slot->channel] = slot_execute(cpu, bundle, slot);
        if (unlikely(cpu->exc != exc)) {
            if (slot->is_sm) {
                cpu->exc = exc;
            } else {
                cpu->exc_channels |= 1u << slot->channel;
            }
        }
    }
}

/* A new window size takes effect between reading sources and writing results. */
static void set_window(E2kCpu *cpu, const E2kParts *parts)
{
    unsigned wsize = (parts->lts[0] >> 5 & 0x7f) * 2;

    if (wsize < cpu->psize) {
        e2k_raise(cpu, E2K_EXC_ILLEGAL_OPCODE);
    } else {
        cpu->wsize = wsize;
    }
}

/* Everything else that can fail. */
static void check(E2kCpu *cpu, const E2kBundle *bundle, Pending *pending)
{
    if (bundle->flags & E2K_BUNDLE_SETWD) {
        set_window(cpu, &bundle->parts);
    }
    for (unsigned i = 0; i < bundle->n_slots; i++) {
        if (pending->enabled >> i & 1) {
            pending->reg[i] = dest_index(cpu, &bundle->slot[i]);
        }
    }
    if (unlikely(cpu->exc)) {
        return;
    }
    if (bundle->flags & E2K_BUNDLE_TRANSFER) {
        pending->is_taken = e2k_condition(cpu, bundle, pending->result);
        if (pending->is_taken) {
            e2k_transfer_check(cpu, bundle);
        }
    }
}

/* ---- phase two ------------------------------------------------------------------------------- */

static void set_pred(E2kCpu *cpu, unsigned n, bool value)
{
    uint32_t bit = UINT32_C(1) << e2k_pred_index(cpu, n);

    cpu->preds = value ? cpu->preds | bit : cpu->preds & ~bit;
}

static void slot_commit_special(E2kCpu *cpu, const E2kSlot *slot, uint64_t value)
{
    if (slot->kind == E2K_SLOT_WRITE_SPECIAL) {
        e2k_special_write(cpu, slot->special, value, slot->is_32);
    } else if (slot->kind == E2K_SLOT_GETSP) {
        uint64_t change = value - (cpu->usd_lo & E2K_CTPR_TARGET);

        cpu->usd_lo += change;
        cpu->usd_hi += change << 32;
    }
}

static inline void slot_commit(E2kCpu *cpu, const E2kSlot *slot, unsigned reg, uint64_t value)
{
    if (unlikely(slot->kind == E2K_SLOT_WRITE_SPECIAL || slot->kind == E2K_SLOT_GETSP)) {
        slot_commit_special(cpu, slot, value);
    }
    if (likely(reg != NO_REG)) {
        if (slot->is_32) {
            uint64_t upper = cpu->wdbl && !slot->keeps_upper ? 0 : cpu->reg[reg] >> 32 << 32;

            value = upper | (uint32_t)value;
        }
        cpu->reg[reg] = value;
    } else if (slot->dest == E2K_DEST_PRED) {
        set_pred(cpu, slot->dest_reg, value & 1);
    } else if (slot->dest == E2K_DEST_CTPR) {
        cpu->ctpr[slot->dest_reg] = (value & E2K_CTPR_TARGET)
                                  | (uint64_t)E2K_TAG_DISP << E2K_CTPR_TAG_SHIFT;
    }
}

static void loop_store_count(E2kCpu *cpu, const E2kBundle *bundle, const Pending *pending)
{
    for (unsigned i = 0; i < bundle->n_slots; i++) {
        if ((pending->enabled >> i & 1) && bundle->slot[i].kind == E2K_SLOT_STORE
            && e2k_loop_end(cpu) && !LSR_PCNT(cpu->lsr) && LSR_STRMD(cpu->lsr)) {
            cpu->lsr -= UINT64_C(1) << LSR_STRMD_SHIFT;
        }
    }
}

static bool commit(E2kCpu *cpu, const E2kBundle *bundle, const Pending *pending)
{
    if (bundle->flags & E2K_BUNDLE_SETWD) {
        cpu->wfx = !(bundle->parts.lts[0] >> 4 & 1);
        cpu->wdbl = cpu->isa >= 3 && (bundle->parts.lts[0] >> 3 & 1);
    }
    for (unsigned i = 0; i < bundle->n_slots; i++) {
        const E2kSlot *slot = &bundle->slot[i];

        if (pending->enabled >> i & 1) {
            slot_commit(cpu, slot, pending->reg[i], pending->result[slot->channel]);
        }
    }
    if (bundle->flags & E2K_BUNDLE_PLS) {
        e2k_predicate_logic(cpu, bundle, pending->preds);
    }
    if (unlikely(bundle->flags & E2K_BUNDLE_LOOP_MODE)) {
        loop_store_count(cpu, bundle, pending);
    }
    if (bundle->flags & E2K_BUNDLE_CONTROL) {
        return e2k_finish(cpu, bundle, pending->is_taken);
    }
    cpu->ip += bundle->length;
    return true;
}

/* ---- bundles --------------------------------------------------------------------------------- */

static bool bundle_trap(E2kCpu *cpu)
{
    return e2k_trap(cpu, cpu->exc, cpu->ip);
}

static inline bool bundle_execute(E2kCpu *cpu, const E2kBundle *bundle)
{
    Pending pending;

    pending.enabled = 0;
    pending.preds = cpu->preds;
    pending.wsize = cpu->wsize;
    pending.is_taken = false;
    if (unlikely(bundle->exc)) {
        cpu->exc = bundle->exc;
        return bundle_trap(cpu);
    }
    if (unlikely(bundle->flags & E2K_BUNDLE_BARRIER)) {
        smp_mb(); /* devices work in other threads */
    }
    compute(cpu, bundle, &pending);
    if (likely(!cpu->exc)) {
        check(cpu, bundle, &pending);
    }
    if (unlikely(cpu->exc)) {
        cpu->wsize = pending.wsize;
        return bundle_trap(cpu);
    }
    return commit(cpu, bundle, &pending);
}

/* The bundle at ip, which @previous led to if it is not NULL. */
static inline E2kBundle *bundle_follow(E2kCpu *cpu, E2kBundle *previous)
{
    if (unlikely(!previous)) {
        return e2k_bundle_get(cpu, cpu->ip);
    }
    E2kBundle **link = cpu->ip == previous->ip + previous->length ? &previous->next
                     : &previous->target;
    E2kBundle *bundle = *link;

    if (likely(bundle && bundle->ip == cpu->ip && e2k_bundle_is_valid(&cpu->cache, bundle))) {
        return bundle;
    }
    unsigned epoch = cpu->cache.epoch;
    bundle = e2k_bundle_get(cpu, cpu->ip);
    if (cpu->cache.epoch == epoch) {
        *link = bundle;
    }
    return bundle;
}

bool e2k_step(E2kCpu *cpu)
{
    E2kBundle *bundle = e2k_bundle_get(cpu, cpu->ip);

    return bundle ? bundle_execute(cpu, bundle) : bundle_trap(cpu);
}

/* Whether the CPU should sleep until an interrupt: one must be possible, and none be there. */
static bool should_halt(const E2kCpu *cpu)
{
    return (cpu->poll_mask & VCPU_INTERRUPT) && !(vcpu_poll(&cpu->vcpu) & cpu->poll_mask);
}

void e2k_run(VCpu *vcpu)
{
    E2kCpu *cpu = e2k_cpu(vcpu);
    E2kBundle *bundle = NULL;

    vcpu->is_halted = false;
    for (;;) {
        if (unlikely(vcpu_poll(vcpu) & cpu->poll_mask)) {
            if (vcpu_must_exit(vcpu) || !e2k_take_interrupts(cpu)) {
                return;
            }
            bundle = NULL;
        }
        bundle = bundle_follow(cpu, bundle);
        if (unlikely(!bundle)) {
            if (!bundle_trap(cpu)) {
                return;
            }
            continue;
        }
        if (unlikely(!bundle_execute(cpu, bundle))) {
            return;
        }
        if (unlikely(bundle->flags & E2K_BUNDLE_WAIT) && should_halt(cpu)) {
            vcpu->is_halted = true;
            return;
        }
    }
}
