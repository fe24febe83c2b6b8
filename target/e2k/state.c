/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is saved of the CPU: all that programs can see or that decides what they will see.  Decoded
 * bundles and what follows from other registers are made anew.
 */
#include "qemu/osdep.h"

#include "system/vmstate.h"

#include "cpu.h"

#define MAX_ROTATION 63
#define MAX_PRED_ROTATION 31
#define MMU_CR 0
#define MMU_CR_TRANSLATION 1

static void state_pre_save(void *opaque)
{
    E2kCpu *cpu = opaque;

    cpu->nmi_pending = vcpu_poll(&cpu->vcpu) & VCPU_NMI;
}

/* What the interpreter takes for granted, since no instruction can make it untrue. */
static bool state_check(const void *staged, const void *current, Error **errp)
{
    const E2kCpu *cpu = staged;

    if (cpu->wsize > E2K_WINDOW_REGS || cpu->psize > cpu->wsize || (cpu->wsize | cpu->psize) & 1) {
        error_setg(errp, "a window of %u and %u registers cannot be", cpu->wsize, cpu->psize);
        return false;
    }
    if (cpu->rbs > MAX_ROTATION || cpu->rsz > MAX_ROTATION || cpu->rcur > MAX_ROTATION ||
        cpu->psz > MAX_PRED_ROTATION || cpu->pcur > MAX_PRED_ROTATION) {
        error_setg(errp, "the base of rotated registers is out of range");
        return false;
    }
    if (cpu->mmu_reg[MMU_CR] & MMU_CR_TRANSLATION) {
        error_setg(errp, "address translation is on, which this CPU has not");
        return false;
    }
    return true;
}

static void state_post_load(void *opaque)
{
    E2kCpu *cpu = opaque;

    cpu->exc = 0;
    cpu->exc_channels = 0;
    e2k_update_based(cpu);
    e2k_update_poll(cpu);
    e2k_cache_clear(cpu);
    if (cpu->nmi_pending) {
        vcpu_set_pending(&cpu->vcpu, VCPU_NMI);
    } else {
        vcpu_clear_pending(&cpu->vcpu, VCPU_NMI);
    }
}

static const VmStateDescription cpu_state = {
    .name = "e2k-cpu",
    .version = 1,
    .size = sizeof(E2kCpu),
    .fields = (const VmField[]) {
        VM_BOOL(E2kCpu, vcpu.is_halted),
        VM_BOOL(E2kCpu, nmi_pending),
        VM_ARRAY(E2kCpu, reg),
        VM_ARRAY(E2kCpu, ext),
        VM_FIELD(E2kCpu, preds),
        VM_FIELD(E2kCpu, wsize),
        VM_FIELD(E2kCpu, psize),
        VM_BOOL(E2kCpu, wfx),
        VM_BOOL(E2kCpu, wdbl),
        VM_FIELD(E2kCpu, rbs),
        VM_FIELD(E2kCpu, rsz),
        VM_FIELD(E2kCpu, rcur),
        VM_FIELD(E2kCpu, psz),
        VM_FIELD(E2kCpu, pcur),
        VM_FIELD(E2kCpu, ip),
        VM_ARRAY(E2kCpu, ctpr),
        VM_FIELD(E2kCpu, cr.cr0_lo),
        VM_FIELD(E2kCpu, cr.cr0_hi),
        VM_FIELD(E2kCpu, cr.cr1_lo),
        VM_FIELD(E2kCpu, cr.cr1_hi),
        VM_FIELD(E2kCpu, psp.lo),
        VM_FIELD(E2kCpu, psp.ind),
        VM_FIELD(E2kCpu, psp.size),
        VM_FIELD(E2kCpu, pcsp.lo),
        VM_FIELD(E2kCpu, pcsp.ind),
        VM_FIELD(E2kCpu, pcsp.size),
        VM_FIELD(E2kCpu, usd_lo),
        VM_FIELD(E2kCpu, usd_hi),
        VM_FIELD(E2kCpu, sbr),
        VM_FIELD(E2kCpu, user_module.cud_lo),
        VM_FIELD(E2kCpu, user_module.cud_hi),
        VM_FIELD(E2kCpu, user_module.gd_lo),
        VM_FIELD(E2kCpu, user_module.gd_hi),
        VM_FIELD(E2kCpu, psr),
        VM_FIELD(E2kCpu, upsr),
        VM_FIELD(E2kCpu, cuir),
        VM_FIELD(E2kCpu, tir_lo),
        VM_FIELD(E2kCpu, tir_hi),
        VM_FIELD(E2kCpu, lsr),
        VM_FIELD(E2kCpu, ilcr),
        VM_FIELD(E2kCpu, pfpfr),
        VM_FIELD(E2kCpu, fpcr),
        VM_FIELD(E2kCpu, fpsr),
        VM_ARRAY(E2kCpu, special),
        VM_ARRAY(E2kCpu, mmu_reg),
        VM_BOOL(E2kCpu, lock_valid),
        VM_BOOL(E2kCpu, mlock),
        VM_FIELD(E2kCpu, lock_addr),
        {0},
    },
    .pre_save = state_pre_save,
    .check = state_check,
    .post_load = state_post_load,
};

void e2k_add_state(VCpu *vcpu, VmStateParts *parts)
{
    vm_parts_add(parts, &cpu_state, 0, vcpu);
}
