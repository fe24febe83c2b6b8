/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Special registers, as rrs, rrd, rws and rwd see them.
 */
#include "qemu/osdep.h"

#include "cpu.h"
#include "disas.h"

#define STACK_LO_MASK (((UINT64_C(1) << 48) - 1) | UINT64_C(3) << 59)
#define USD_LO_MASK (((UINT64_C(1) << 48) - 1) | UINT64_C(7) << 58)
#define PSR_MASK 0x7f
#define UPSR_MASK 0x7ff
#define LSR_MASK ((UINT64_C(1) << 61) - 1)
/* lcnt, ecnt and pcnt */
#define ILCR_MASK (UINT64_C(0xffffffff) | UINT64_C(31) << 32 | UINT64_C(31) << 48)

enum {
    SR_PSR = 0x00,
    SR_WD = 0x01,
    SR_CORE_MODE = 0x04,
    SR_CWD = 0x06,
    SR_PSP_HI = 0x07,
    SR_PSP_LO = 0x09,
    SR_PSHTP = 0x0b,
    SR_PCSP_HI = 0x0d,
    SR_PCSP_LO = 0x0f,
    SR_PCSHTP = 0x13,
    SR_CTPR1 = 0x15,
    SR_CTPR3 = 0x17,
    SR_SBR = 0x1e,
    SR_CUIR = 0x25,
    SR_USD_HI = 0x2c,
    SR_USD_LO = 0x2d,
    SR_CR0_HI = 0x51,
    SR_CR0_LO = 0x53,
    SR_CR1_HI = 0x55,
    SR_CR1_LO = 0x57,
    SR_UPSR = 0x80,
    SR_IP = 0x81,
    SR_NIP = 0x82,
    SR_LSR = 0x83,
    SR_PFPFR = 0x84,
    SR_FPCR = 0x85,
    SR_FPSR = 0x86,
    SR_ILCR = 0x87,
    SR_BR = 0x88,
    SR_IDR = 0x8a,
    SR_CLKR = 0x90,
    SR_SCLKR = 0x92,
    SR_TIR_HI = 0x9c,
    SR_TIR_LO = 0x9d,
    SR_RPR_LO = 0xa0,
    SR_SBBP = 0xa1,
    SR_RPR_HI = 0xa2,
    SR_UPSRM = 0xc0,
    SR_LSR1 = 0xc3,
    SR_ILCR1 = 0xc7,
};

/* Registers that came with later versions. */
static bool exists(const E2kCpu *cpu, unsigned number)
{
    switch (number) {
    case SR_CORE_MODE:
    case SR_IDR:
        return cpu->isa >= 3;
    case 0x78:
    case 0x79:
    case SR_LSR1:
    case SR_ILCR1:
        return cpu->isa >= 5;
    default:
        return e2k_special_name(number) != NULL;
    }
}

/* Sizes in WD are in bytes of the 64-bit registers. */
static uint64_t read_wd(const E2kCpu *cpu)
{
    return (uint64_t)(cpu->wsize * 8) << 16 | (uint64_t)(cpu->psize * 8) << 32
         | (uint64_t)cpu->wfx << 48 | (uint64_t)cpu->wdbl << 49;
}

static void write_wd(E2kCpu *cpu, uint64_t value)
{
    cpu->wsize = MIN((value >> 16 & 0x7ff) / 16 * 2, E2K_WINDOW_REGS);
    cpu->psize = MIN((value >> 32 & 0x7ff) / 16 * 2, cpu->wsize);
    cpu->wfx = value >> 48 & 1;
    cpu->wdbl = value >> 49 & 1;
}

static uint64_t stack_hi(const E2kStack *stack)
{
    return stack->ind | (uint64_t)stack->size << 32;
}

static void write_stack_hi(E2kStack *stack, uint64_t value)
{
    stack->ind = value & ~31u;
    stack->size = value >> 32;
}

uint64_t e2k_special_read(E2kCpu *cpu, unsigned number)
{
    if (!exists(cpu, number)) {
        e2k_raise(cpu, E2K_EXC_ILLEGAL_OPCODE);
        return 0;
    }
    switch (number) {
    case SR_PSR:
        return cpu->psr;
    case SR_WD:
        return read_wd(cpu);
    case SR_CWD:
    case SR_PSHTP:
    case SR_PCSHTP:
        return 0;
    case SR_PSP_HI:
        return stack_hi(&cpu->psp);
    case SR_PSP_LO:
        return cpu->psp.lo;
    case SR_PCSP_HI:
        return stack_hi(&cpu->pcsp);
    case SR_PCSP_LO:
        return cpu->pcsp.lo;
    case SR_CTPR1:
    case SR_CTPR1 + 1:
    case SR_CTPR3:
        return cpu->ctpr[number - SR_CTPR1 + 1];
    case SR_SBR:
        return cpu->sbr;
    case SR_CUIR:
        return cpu->cuir;
    case SR_USD_HI:
        return cpu->usd_hi;
    case SR_USD_LO:
        return cpu->usd_lo;
    case SR_CR0_HI:
        return cpu->cr.cr0_hi;
    case SR_CR0_LO:
        return cpu->cr.cr0_lo;
    case SR_CR1_HI:
        return cpu->cr.cr1_hi;
    case SR_CR1_LO:
        return cpu->cr.cr1_lo;
    case SR_UPSR:
        return cpu->upsr;
    case SR_IP:
        return cpu->ip;
    case SR_LSR:
        return cpu->lsr;
    case SR_PFPFR:
        return cpu->pfpfr;
    case SR_FPCR:
        return cpu->fpcr;
    case SR_FPSR:
        return cpu->fpsr;
    case SR_ILCR:
        return cpu->ilcr;
    case SR_BR:
        return e2k_get_br(cpu);
    case SR_IDR:
        return cpu->model_number;
    case SR_CLKR:
    case SR_SCLKR:
        return vcpu_clock_ns();
    case SR_TIR_HI:
        return cpu->tir_hi;
    case SR_TIR_LO:
        return cpu->tir_lo;
    default:
        return cpu->special[number];
    }
}

static bool is_user_writable(unsigned number)
{
    switch (number) {
    case SR_UPSR:
    case SR_LSR:
    case SR_LSR1:
    case SR_ILCR:
    case SR_ILCR1:
    case SR_PFPFR:
    case SR_FPCR:
    case SR_FPSR:
    case SR_SCLKR:
    case SR_TIR_HI:
    case SR_TIR_LO:
    case SR_RPR_LO:
    case SR_RPR_HI:
    case SR_SBBP:
    case SR_UPSRM:
        return true;
    default:
        return false;
    }
}

bool e2k_special_write_check(E2kCpu *cpu, unsigned number)
{
    if (!exists(cpu, number) || number == SR_IP || number == SR_IDR) {
        e2k_raise(cpu, E2K_EXC_ILLEGAL_OPCODE);
        return false;
    }
    if (!is_user_writable(number) && !(cpu->psr & E2K_PSR_PM)) {
        e2k_raise(cpu, E2K_EXC_PRIV_ACTION);
        return false;
    }
    return true;
}

static void write_stacks(E2kCpu *cpu, unsigned number, uint64_t value)
{
    switch (number) {
    case SR_PSP_HI:
        write_stack_hi(&cpu->psp, value);
        break;
    case SR_PSP_LO:
        cpu->psp.lo = value & STACK_LO_MASK;
        break;
    case SR_PCSP_HI:
        write_stack_hi(&cpu->pcsp, value);
        break;
    case SR_PCSP_LO:
        cpu->pcsp.lo = value & STACK_LO_MASK;
        break;
    case SR_USD_HI:
        cpu->usd_hi = value;
        break;
    case SR_USD_LO:
        cpu->usd_lo = value & USD_LO_MASK;
        break;
    case SR_SBR:
        cpu->sbr = value & E2K_CTPR_TARGET;
        break;
    case SR_CR0_HI:
        cpu->cr.cr0_hi = value & ~UINT64_C(7);
        break;
    case SR_CR0_LO:
        cpu->cr.cr0_lo = value;
        break;
    case SR_CR1_HI:
        cpu->cr.cr1_hi = value;
        break;
    default:
        cpu->cr.cr1_lo = value;
        break;
    }
}

static void write_status(E2kCpu *cpu, unsigned number, uint64_t value)
{
    switch (number) {
    case SR_PSR:
        cpu->psr = value & PSR_MASK;
        e2k_update_poll(cpu);
        break;
    case SR_UPSR:
        cpu->upsr = value & UPSR_MASK;
        e2k_update_poll(cpu);
        break;
    case SR_WD:
        write_wd(cpu, value);
        break;
    case SR_BR:
        e2k_set_br(cpu, value);
        break;
    case SR_LSR:
        cpu->lsr = value & LSR_MASK;
        cpu->ilcr = value & ILCR_MASK;
        break;
    case SR_ILCR:
        cpu->ilcr = value & ILCR_MASK;
        break;
    case SR_PFPFR:
        cpu->pfpfr = value;
        break;
    case SR_FPCR:
        cpu->fpcr = value;
        break;
    case SR_FPSR:
        cpu->fpsr = value;
        break;
    case SR_CUIR:
        cpu->cuir = value;
        break;
    case SR_TIR_HI:
        cpu->tir_hi = value;
        break;
    default:
        cpu->tir_lo = value;
        break;
    }
}

void e2k_special_write(E2kCpu *cpu, unsigned number, uint64_t value, bool is_32)
{
    if (is_32) {
        value = (uint32_t)value;
    }
    switch (number) {
    case SR_PSP_HI:
    case SR_PSP_LO:
    case SR_PCSP_HI:
    case SR_PCSP_LO:
    case SR_USD_HI:
    case SR_USD_LO:
    case SR_SBR:
    case SR_CR0_HI:
    case SR_CR0_LO:
    case SR_CR1_HI:
    case SR_CR1_LO:
        write_stacks(cpu, number, value);
        break;
    case SR_PSR:
    case SR_UPSR:
    case SR_WD:
    case SR_BR:
    case SR_LSR:
    case SR_ILCR:
    case SR_PFPFR:
    case SR_FPCR:
    case SR_FPSR:
    case SR_CUIR:
    case SR_TIR_HI:
    case SR_TIR_LO:
        write_status(cpu, number, value);
        break;
    case SR_CTPR1:
    case SR_CTPR1 + 1:
    case SR_CTPR3:
        cpu->ctpr[number - SR_CTPR1 + 1] = value;
        break;
    case SR_CWD:
    case SR_PSHTP:
    case SR_PCSHTP:
    case SR_CLKR:
    case SR_NIP:
        break;
    default:
        cpu->special[number] = value;
        break;
    }
}
