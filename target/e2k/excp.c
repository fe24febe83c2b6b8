/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exceptions, interrupts, and what happens when they cannot be delivered.
 */
#include "qemu/osdep.h"

#include "qemu/log.h"

#include "cpu.h"

#define TIR_CHANNELS_SHIFT 44
#define TIR_IP ((UINT64_C(1) << 48) - 1)

void e2k_fatal(E2kCpu *cpu, const char *why)
{
    g_autofree char *detail = g_strdup_printf("%s, ip 0x%" PRIx64 ", exceptions 0x%" PRIx64, why,
                                              cpu->ip, cpu->exc);

    cpu->exc = 0;
    vcpu_triple_fault(&cpu->vcpu, detail);
}

bool e2k_trap(E2kCpu *cpu, uint64_t exc, uint64_t ip)
{
    uint64_t entry = cpu->special[E2K_SR_OSCUD_LO] & E2K_CTPR_TARGET;

    cpu->exc = exc;
    if (!(cpu->special[E2K_SR_OSCUD_HI] >> 32)) {
        e2k_fatal(cpu, "trap without a handler (OSCUD.size is 0)");
        return false;
    }
    if (!e2k_trap_frame_fits(cpu)) {
        e2k_fatal(cpu, "no room on the hardware stacks to enter the trap handler");
        return false;
    }
    qemu_log_mask(CPU_LOG_INT, "e2k: exceptions 0x%" PRIx64 " at 0x%" PRIx64 ", psr 0x%x\n", exc,
                  cpu->ip, cpu->psr);
    cpu->tir_lo = ip & TIR_IP;
    cpu->tir_hi = exc | (uint64_t)cpu->exc_channels << TIR_CHANNELS_SHIFT;
    cpu->exc = 0;
    cpu->exc_channels = 0;
    cpu->lock_valid = false;
    e2k_call(cpu, cpu->wsize / 2, ip);
    e2k_enter_system(cpu);
    cpu->ip = entry;
    return true;
}

static bool interrupts_enabled(const E2kCpu *cpu)
{
    return (cpu->psr & E2K_PSR_IE)
        && (!(cpu->psr & E2K_PSR_UIE) || (cpu->upsr & E2K_UPSR_IE));
}

static bool nm_interrupts_enabled(const E2kCpu *cpu)
{
    return (cpu->psr & E2K_PSR_NMIE)
        && (!(cpu->psr & E2K_PSR_UNMIE) || (cpu->upsr & E2K_UPSR_NMIE));
}

void e2k_update_poll(E2kCpu *cpu)
{
    cpu->poll_mask = VCPU_EXIT | (interrupts_enabled(cpu) ? VCPU_INTERRUPT : 0)
                   | (nm_interrupts_enabled(cpu) ? VCPU_NMI : 0);
}

bool e2k_take_interrupts(E2kCpu *cpu)
{
    uint32_t reasons = vcpu_poll(&cpu->vcpu) & cpu->poll_mask;

    if (reasons & VCPU_NMI) {
        vcpu_clear_pending(&cpu->vcpu, VCPU_NMI);
        return e2k_trap(cpu, UINT64_C(1) << E2K_EXC_NM_INTERRUPT, cpu->ip);
    }
    if (reasons & VCPU_INTERRUPT) {
        return e2k_trap(cpu, UINT64_C(1) << E2K_EXC_INTERRUPT, cpu->ip);
    }
    return true;
}
