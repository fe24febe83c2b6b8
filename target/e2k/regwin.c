/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Register windows, and the two hardware stacks behind them.
 *
 * reg[] holds the window of the running procedure, its first register at index 0.  A call with
 * wbs=W writes registers 0..2W-1 to the procedure stack and moves the rest down; a return moves
 * the parameters back up and reads them again.
 */
#include "qemu/osdep.h"

#include "qemu/bswap.h"

#include "cpu.h"

#define STACK_BASE ((UINT64_C(1) << 48) - 1)
/* The end of a stack of some size is kept for the trap that tells of its overflow. */
#define PROC_RESERVE (E2K_WINDOW_REGS / 2 * E2K_WBS_BYTES)
#define CHAIN_RESERVE E2K_FRAME_BYTES
#define RESERVE_FACTOR 4

/* CR1.lo */
#define CR1_WFX_SHIFT 25
#define CR1_WPSZ_SHIFT 26
#define CR1_WBS_SHIFT 33
#define CR1_CUIR_SHIFT 40
#define CR1_PSR_SHIFT 57
/* CR1.hi */
#define CR1_BR_MASK ((UINT64_C(1) << 28) - 1)
#define CR1_WDBL_SHIFT 35
#define CR1_USSZ_SHIFT 36

/* ---- BR -------------------------------------------------------------------------------------- */

uint32_t e2k_get_br(const E2kCpu *cpu)
{
    return cpu->rbs | cpu->rsz << 6 | cpu->rcur << 12 | cpu->psz << 18 | (uint32_t)cpu->pcur << 23;
}

void e2k_set_br(E2kCpu *cpu, uint32_t br)
{
    cpu->rbs = br & 63;
    cpu->rsz = br >> 6 & 63;
    cpu->rcur = br >> 12 & 63;
    cpu->psz = br >> 18 & 31;
    cpu->pcur = br >> 23 & 31;
    e2k_update_based(cpu);
}

void e2k_update_based(E2kCpu *cpu)
{
    cpu->based_start = cpu->rbs * 2;
    cpu->based_size = (cpu->rsz + 1) * 2;
    cpu->based_cur = cpu->rcur * 2 % cpu->based_size;
}

/* ---- chain registers ------------------------------------------------------------------------- */

/* Predicate n is bit 2n of CR0.lo; the odd bits are tags, which are not kept. */
static uint64_t preds_spread(uint32_t preds)
{
    uint64_t x = preds;

    x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
    x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    x = (x | x << 2) & UINT64_C(0x3333333333333333);
    return (x | x << 1) & UINT64_C(0x5555555555555555);
}

static uint32_t preds_gather(uint64_t x)
{
    x &= UINT64_C(0x5555555555555555);
    x = (x | x >> 1) & UINT64_C(0x3333333333333333);
    x = (x | x >> 2) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    x = (x | x >> 4) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x >> 8) & UINT64_C(0x0000ffff0000ffff);
    return x | x >> 16;
}

static unsigned frame_wbs(const E2kFrame *frame)
{
    return frame->cr1_lo >> CR1_WBS_SHIFT & 0x7f;
}

static void frame_make(E2kCpu *cpu, E2kFrame *frame, unsigned wbs, uint64_t return_ip)
{
    uint64_t ussz = cpu->usd_hi >> 32 >> 4;

    frame->cr0_lo = preds_spread(cpu->preds);
    frame->cr0_hi = return_ip & ~UINT64_C(7);
    frame->cr1_lo = (uint64_t)cpu->wfx << CR1_WFX_SHIFT
                  | (uint64_t)(cpu->psize / 2) << CR1_WPSZ_SHIFT
                  | (uint64_t)wbs << CR1_WBS_SHIFT | (uint64_t)cpu->cuir << CR1_CUIR_SHIFT
                  | (uint64_t)cpu->psr << CR1_PSR_SHIFT;
    frame->cr1_hi = e2k_get_br(cpu) | (uint64_t)cpu->wdbl << CR1_WDBL_SHIFT
                  | ussz << CR1_USSZ_SHIFT;
}

/* ---- stacks ---------------------------------------------------------------------------------- */

static uint64_t stack_top(const E2kStack *stack)
{
    return (stack->lo & STACK_BASE) + stack->ind;
}

/* Whether @len bytes more fit above the top, leaving @reserve if the stack is large. */
static bool stack_has_room(const E2kStack *stack, uint64_t len, uint64_t reserve)
{
    uint64_t size = stack->size;

    if (size >= reserve * RESERVE_FACTOR) {
        size -= reserve;
    }
    return stack->ind + len <= size;
}

static bool stack_is_writable(E2kCpu *cpu, const E2kStack *stack, uint64_t len)
{
    return len == 0 || e2k_host(cpu, stack_top(stack), len, true);
}

bool e2k_call_check(E2kCpu *cpu, unsigned wbs)
{
    uint64_t spill = wbs * E2K_WBS_BYTES;

    if (wbs * 2u > cpu->wsize) {
        e2k_raise(cpu, E2K_EXC_WINDOW_BOUNDS);
    } else if (!stack_has_room(&cpu->psp, spill, PROC_RESERVE)) {
        e2k_raise(cpu, E2K_EXC_PROC_STACK_BOUNDS);
    } else if (!stack_has_room(&cpu->pcsp, E2K_FRAME_BYTES, CHAIN_RESERVE)) {
        e2k_raise(cpu, E2K_EXC_CHAIN_STACK_BOUNDS);
    } else if (!stack_is_writable(cpu, &cpu->psp, spill)
               || !stack_is_writable(cpu, &cpu->pcsp, E2K_FRAME_BYTES)) {
        e2k_raise(cpu, E2K_EXC_DATA_PAGE);
    }
    return !cpu->exc;
}

bool e2k_trap_frame_fits(E2kCpu *cpu)
{
    uint64_t spill = cpu->wsize / 2 * E2K_WBS_BYTES;

    return stack_has_room(&cpu->psp, spill, 0) && stack_has_room(&cpu->pcsp, E2K_FRAME_BYTES, 0)
        && stack_is_writable(cpu, &cpu->psp, spill)
        && stack_is_writable(cpu, &cpu->pcsp, E2K_FRAME_BYTES);
}

/*
 * Spilled pairs: lower halves of both registers, then upper halves; from v5 on register by
 * register.
 */
static void pair_offsets(const E2kCpu *cpu, unsigned *second, unsigned *upper)
{
    *second = cpu->isa >= 5 ? 16 : 8;
    *upper = cpu->isa >= 5 ? 8 : 16;
}

static void window_spill(E2kCpu *cpu, unsigned wbs)
{
    uint64_t addr = stack_top(&cpu->psp);
    uint8_t *p = e2k_host(cpu, addr, wbs * E2K_WBS_BYTES, true);
    unsigned second;
    unsigned upper;

    pair_offsets(cpu, &second, &upper);
    for (unsigned i = 0; i < wbs * 2; i += 2, p += E2K_WBS_BYTES) {
        stq_le_p(p, cpu->reg[i]);
        stq_le_p(p + second, cpu->reg[i + 1]);
        stq_le_p(p + upper, cpu->ext[i]);
        stq_le_p(p + second + upper, cpu->ext[i + 1]);
    }
    e2k_host_written(cpu, addr, wbs * E2K_WBS_BYTES);
    cpu->psp.ind += wbs * E2K_WBS_BYTES;
}

static void window_fill(E2kCpu *cpu, unsigned wbs)
{
    cpu->psp.ind -= wbs * E2K_WBS_BYTES;

    const uint8_t *p = e2k_host(cpu, stack_top(&cpu->psp), wbs * E2K_WBS_BYTES, false);
    unsigned second;
    unsigned upper;

    pair_offsets(cpu, &second, &upper);
    for (unsigned i = 0; i < wbs * 2; i += 2, p += E2K_WBS_BYTES) {
        cpu->reg[i] = ldq_le_p(p);
        cpu->reg[i + 1] = ldq_le_p(p + second);
        cpu->ext[i] = ldq_le_p(p + upper);
        cpu->ext[i + 1] = ldq_le_p(p + second + upper);
    }
}

static void frame_push(E2kCpu *cpu)
{
    uint64_t addr = stack_top(&cpu->pcsp);
    uint8_t *p = e2k_host(cpu, addr, E2K_FRAME_BYTES, true);

    stq_le_p(p, cpu->cr.cr0_lo);
    stq_le_p(p + 8, cpu->cr.cr0_hi);
    stq_le_p(p + 16, cpu->cr.cr1_lo);
    stq_le_p(p + 24, cpu->cr.cr1_hi);
    e2k_host_written(cpu, addr, E2K_FRAME_BYTES);
    cpu->pcsp.ind += E2K_FRAME_BYTES;
}

/* The first procedure has no older frame; its chain registers become empty. */
static void frame_pop(E2kCpu *cpu)
{
    memset(&cpu->cr, 0, sizeof(cpu->cr));
    if (cpu->pcsp.ind < E2K_FRAME_BYTES) {
        return;
    }
    cpu->pcsp.ind -= E2K_FRAME_BYTES;

    const uint8_t *p = e2k_host(cpu, stack_top(&cpu->pcsp), E2K_FRAME_BYTES, false);
    cpu->cr.cr0_lo = ldq_le_p(p);
    cpu->cr.cr0_hi = ldq_le_p(p + 8);
    cpu->cr.cr1_lo = ldq_le_p(p + 16);
    cpu->cr.cr1_hi = ldq_le_p(p + 24);
}

/* ---- call and return ------------------------------------------------------------------------- */

void e2k_call(E2kCpu *cpu, unsigned wbs, uint64_t return_ip)
{
    unsigned saved = wbs * 2;
    unsigned kept = cpu->wsize - saved;

    frame_push(cpu);
    frame_make(cpu, &cpu->cr, wbs, return_ip);
    if (saved) {
        window_spill(cpu, wbs);
        memmove(cpu->reg, cpu->reg + saved, kept * sizeof(cpu->reg[0]));
        memmove(cpu->ext, cpu->ext + saved, kept * sizeof(cpu->ext[0]));
    }
    cpu->wsize = kept;
    cpu->psize = kept;
}

bool e2k_return_check(E2kCpu *cpu)
{
    uint64_t wbs = frame_wbs(&cpu->cr);
    uint64_t fill = wbs * E2K_WBS_BYTES;

    if (wbs * 2 + cpu->psize > E2K_WINDOW_REGS || cpu->psize > cpu->wsize) {
        e2k_raise(cpu, E2K_EXC_WINDOW_BOUNDS);
    } else if (cpu->psp.ind < fill) {
        e2k_raise(cpu, E2K_EXC_PROC_STACK_BOUNDS);
    } else if ((fill && !e2k_host(cpu, stack_top(&cpu->psp) - fill, fill, false))
               || (cpu->pcsp.ind >= E2K_FRAME_BYTES
                   && !e2k_host(cpu, stack_top(&cpu->pcsp) - E2K_FRAME_BYTES, E2K_FRAME_BYTES,
                                false))) {
        e2k_raise(cpu, E2K_EXC_DATA_PAGE);
    }
    return !cpu->exc;
}

/* Give the caller its user stack back: the pointer moves by as much as the free size does. */
static void return_user_stack(E2kCpu *cpu, const E2kFrame *frame)
{
    uint32_t size = frame->cr1_hi >> CR1_USSZ_SHIFT << 4;
    int64_t change = (int64_t)size - (int64_t)(cpu->usd_hi >> 32);

    cpu->usd_lo = (cpu->usd_lo & ~STACK_BASE) | ((cpu->usd_lo + change) & STACK_BASE);
    cpu->usd_hi = (cpu->usd_hi & UINT32_MAX) | (uint64_t)size << 32;
}

static void return_psr(E2kCpu *cpu, uint32_t psr)
{
    if ((cpu->psr & E2K_PSR_PM) && !(psr & E2K_PSR_PM)) {
        cpu->special[E2K_SR_CUD_LO] = cpu->user_module.cud_lo;
        cpu->special[E2K_SR_CUD_HI] = cpu->user_module.cud_hi;
        cpu->special[E2K_SR_GD_LO] = cpu->user_module.gd_lo;
        cpu->special[E2K_SR_GD_HI] = cpu->user_module.gd_hi;
    }
    cpu->psr = psr;
    e2k_update_poll(cpu);
}

void e2k_return(E2kCpu *cpu)
{
    E2kFrame frame = cpu->cr;
    unsigned wbs = frame_wbs(&frame);
    unsigned saved = wbs * 2;
    unsigned kept = cpu->psize;

    if (saved) {
        memmove(cpu->reg + saved, cpu->reg, kept * sizeof(cpu->reg[0]));
        memmove(cpu->ext + saved, cpu->ext, kept * sizeof(cpu->ext[0]));
        window_fill(cpu, wbs);
    }
    frame_pop(cpu);

    cpu->ip = frame.cr0_hi & E2K_CTPR_TARGET & ~UINT64_C(7);
    cpu->preds = preds_gather(frame.cr0_lo);
    cpu->wsize = saved + kept;
    cpu->psize = MIN((frame.cr1_lo >> CR1_WPSZ_SHIFT & 0x7f) * 2, cpu->wsize);
    cpu->wfx = frame.cr1_lo >> CR1_WFX_SHIFT & 1;
    cpu->wdbl = frame.cr1_hi >> CR1_WDBL_SHIFT & 1;
    cpu->cuir = frame.cr1_lo >> CR1_CUIR_SHIFT;
    e2k_set_br(cpu, frame.cr1_hi & CR1_BR_MASK);
    return_user_stack(cpu, &frame);
    return_psr(cpu, frame.cr1_lo >> CR1_PSR_SHIFT);
}

void e2k_enter_system(E2kCpu *cpu)
{
    if (!(cpu->psr & E2K_PSR_PM)) {
        cpu->user_module.cud_lo = cpu->special[E2K_SR_CUD_LO];
        cpu->user_module.cud_hi = cpu->special[E2K_SR_CUD_HI];
        cpu->user_module.gd_lo = cpu->special[E2K_SR_GD_LO];
        cpu->user_module.gd_hi = cpu->special[E2K_SR_GD_HI];
    }
    cpu->special[E2K_SR_CUD_LO] = cpu->special[E2K_SR_OSCUD_LO];
    cpu->special[E2K_SR_CUD_HI] = cpu->special[E2K_SR_OSCUD_HI];
    cpu->special[E2K_SR_GD_LO] = cpu->special[E2K_SR_OSGD_LO];
    cpu->special[E2K_SR_GD_HI] = cpu->special[E2K_SR_OSGD_HI];
    cpu->cuir = 0;
    cpu->psr &= ~(E2K_PSR_IE | E2K_PSR_UIE | E2K_PSR_NMIE | E2K_PSR_UNMIE);
    cpu->psr |= E2K_PSR_PM;
    e2k_update_poll(cpu);
}
