/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The e2k CPU as a whole: models, reset, what `info registers` shows.
 */
#include "qemu/osdep.h"

#include "qemu/error.h"
#include "target/e2k.h"

#include "cpu.h"

static const char *const model_names[] = { "e8c", "e2c+", "e2s", "e8c2", "e16c", NULL };

static const char *const model_descriptions[] = {
    "Elbrus-8C (ISA v4)",
    "Elbrus-2C+ (ISA v2)",
    "Elbrus-4C (ISA v3)",
    "Elbrus-8C2 (ISA v5)",
    "Elbrus-16C (ISA v6)",
    NULL,
};

static const struct {
    uint8_t isa;
    uint8_t model_number; /* %idr */
} models[] = { { 4, 7 }, { 2, 0 }, { 3, 3 }, { 5, 9 }, { 6, 11 } };

static void cpu_reset(VCpu *vcpu)
{
    E2kCpu *cpu = e2k_cpu(vcpu);

    memset(cpu->reg, 0, sizeof(cpu->reg));
    memset(cpu->ext, 0, sizeof(cpu->ext));
    memset(cpu->ctpr, 0, sizeof(cpu->ctpr));
    memset(cpu->special, 0, sizeof(cpu->special));
    memset(cpu->mmu_reg, 0, sizeof(cpu->mmu_reg));
    memset(&cpu->cr, 0, sizeof(cpu->cr));
    memset(&cpu->user_module, 0, sizeof(cpu->user_module));
    cpu->preds = 0;
    cpu->wsize = 16;
    cpu->psize = 8;
    cpu->wfx = false;
    cpu->wdbl = false;
    e2k_set_br(cpu, 4 | 3 << 6);
    cpu->ip = E2K_RESET_PC;
    cpu->psp = (E2kStack) { .lo = 0x810000, .size = 0x100000 };
    cpu->pcsp = (E2kStack) { .lo = 0x910000, .size = 0x10000 };
    cpu->sbr = 0xb000;
    cpu->usd_lo = 0xb000;
    cpu->usd_hi = UINT64_C(0x4000) << 32;
    cpu->psr = E2K_PSR_PM;
    cpu->upsr = E2K_UPSR_FE | E2K_UPSR_NMIE;
    cpu->cuir = 0;
    cpu->tir_lo = 0;
    cpu->tir_hi = 0;
    cpu->lsr = 0;
    cpu->ilcr = 0;
    cpu->pfpfr = 0x1f80;
    cpu->fpcr = 0x37f;
    cpu->fpsr = 0;
    cpu->lock_valid = false;
    cpu->mlock = false;
    cpu->exc = 0;
    cpu->exc_channels = 0;
    cpu->vcpu.is_halted = false;
    e2k_update_poll(cpu);
    e2k_cache_clear(cpu);
}

static void cpu_set_entry(VCpu *vcpu, const VCpuEntry *entry)
{
    E2kCpu *cpu = e2k_cpu(vcpu);
    uint64_t all = UINT64_C(0xffffffff) << 32;

    cpu->ip = entry->pc;
    cpu->special[E2K_SR_OSCUD_LO] = entry->image_base;
    cpu->special[E2K_SR_OSCUD_HI] = all;
    cpu->special[E2K_SR_CUD_LO] = entry->image_base;
    cpu->special[E2K_SR_CUD_HI] = all;
    cpu->psp = (E2kStack) { .lo = entry->proc_stack, .size = entry->proc_stack_size };
    cpu->pcsp = (E2kStack) {
        .lo = entry->chain_stack,
        .size = entry->chain_stack_size,
        .ind = E2K_FRAME_BYTES,
    };
    cpu->usd_lo = entry->user_stack_top;
    cpu->usd_hi = entry->user_stack_size << 32;
    cpu->sbr = entry->user_stack_top;
    cpu->reg[0] = entry->boot_info;
}

static void dump_registers(const E2kCpu *cpu, GString *out)
{
    for (unsigned i = 0; i < cpu->wsize; i++) {
        g_string_append_printf(out, "%%r%-3u %016" PRIx64 "%s", i, cpu->reg[i],
                               i % 4 == 3 || i + 1u == cpu->wsize ? "\n" : "  ");
    }
    for (unsigned i = 0; i < E2K_GLOBAL_REGS; i++) {
        g_string_append_printf(out, "%%g%-3u %016" PRIx64 "%s", i,
                               cpu->reg[E2K_WINDOW_REGS + i], i % 4 == 3 ? "\n" : "  ");
    }
}

static void dump_stack(GString *out, const char *name, const E2kStack *stack)
{
    g_string_append_printf(out, "%-5s base %012" PRIx64 " ind %08x size %08x\n", name,
                           stack->lo & E2K_CTPR_TARGET, stack->ind, stack->size);
}

static void cpu_dump(VCpu *vcpu, GString *out)
{
    const E2kCpu *cpu = e2k_cpu(vcpu);

    g_string_append_printf(out, "IP    %016" PRIx64 "  PSR %02x  UPSR %03x  %s%s\n", cpu->ip,
                           cpu->psr, cpu->upsr, cpu->model_name,
                           vcpu->is_halted ? "  halted" : "");
    g_string_append_printf(out, "WD    size %u psize %u fx %d dbl %d  BR rbs %u rsz %u rcur %u "
                           "psz %u pcur %u\n", cpu->wsize, cpu->psize, cpu->wfx, cpu->wdbl,
                           cpu->rbs, cpu->rsz, cpu->rcur, cpu->psz, cpu->pcur);
    g_string_append_printf(out, "PRED  %08x  LSR %016" PRIx64 "  ILCR %016" PRIx64 "\n",
                           cpu->preds, cpu->lsr, cpu->ilcr);
    for (unsigned i = 1; i <= 3; i++) {
        g_string_append_printf(out, "CTPR%u %016" PRIx64 "%s", i, cpu->ctpr[i],
                               i == 3 ? "\n" : "  ");
    }
    g_string_append_printf(out, "CR0   %016" PRIx64 ":%016" PRIx64 "  CR1 %016" PRIx64 ":%016"
                           PRIx64 "\n", cpu->cr.cr0_hi, cpu->cr.cr0_lo, cpu->cr.cr1_hi,
                           cpu->cr.cr1_lo);
    dump_stack(out, "PSP", &cpu->psp);
    dump_stack(out, "PCSP", &cpu->pcsp);
    g_string_append_printf(out, "USD   base %012" PRIx64 " size %08x  SBR %012" PRIx64 "\n",
                           cpu->usd_lo & E2K_CTPR_TARGET, (unsigned)(cpu->usd_hi >> 32), cpu->sbr);
    g_string_append_printf(out, "OSCUD %016" PRIx64 ":%016" PRIx64 "  TIR %016" PRIx64 ":%016"
                           PRIx64 "\n", cpu->special[E2K_SR_OSCUD_HI],
                           cpu->special[E2K_SR_OSCUD_LO], cpu->tir_hi, cpu->tir_lo);
    dump_registers(cpu, out);
}

static void cpu_free(VCpu *vcpu)
{
    E2kCpu *cpu = e2k_cpu(vcpu);

    e2k_cache_done(cpu);
    vcpu_done(vcpu);
    g_free(cpu);
}

static const VCpuOps cpu_ops = {
    .reset = cpu_reset,
    .set_entry = cpu_set_entry,
    .run = e2k_run,
    .dump = cpu_dump,
    .add_state = e2k_add_state,
    .free = cpu_free,
};

static VCpu *cpu_create(const char *model, const char *features, MemoryMap *mem, Error **errp)
{
    unsigned i = 0;

    while (model_names[i] && strcmp(model_names[i], model)) {
        i++;
    }
    if (!model_names[i]) {
        error_setg(errp, "CPU model '%s' not found", model);
        return NULL;
    }
    if (features && *features) {
        error_setg(errp, "CPU model '%s' has no property '%.*s'", model,
                   (int)strcspn(features, "=,"), features);
        return NULL;
    }
    E2kCpu *cpu = g_new0(E2kCpu, 1);
    cpu->isa = models[i].isa;
    cpu->model_number = models[i].model_number;
    cpu->model_name = model_names[i];
    vcpu_init(&cpu->vcpu, &cpu_ops, mem);
    e2k_cache_init(cpu);
    cpu_reset(&cpu->vcpu);
    return &cpu->vcpu;
}

const CpuType e2k_cpu_type = {
    .arch = "e2k",
    .models = model_names,
    .descriptions = model_descriptions,
    .create = cpu_create,
};
