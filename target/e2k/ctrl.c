/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Conditions, predicate logic and control transfers.
 */
#include "qemu/osdep.h"

#include "cpu.h"

#define LSR_PCNT_SHIFT 48
#define LSR_ECNT_SHIFT 32
#define LSR_VLC (UINT64_C(1) << 37)
#define LSR_OVER (UINT64_C(1) << 38)

static unsigned lsr_pcnt(const E2kCpu *cpu)
{
    return cpu->lsr >> LSR_PCNT_SHIFT & 31;
}

/* ---- CDS ------------------------------------------------------------------------------------- */

/* One entry, as it applies to the channel with @bit in its cluster. */
static bool cds_value(const E2kCpu *cpu, unsigned entry, unsigned bit)
{
    unsigned n = entry & 31;
    bool value = entry & 0x20 ? e2k_pred(cpu, n) : lsr_pcnt(cpu) <= n;

    return value != (entry >> (7 + bit) & 1);
}

/*
 * The entries of @kind that cover the channel of @slot: all predicates or'ed, and'ed with all
 * prologue counters or'ed.  @missing is the answer when there is no entry.
 */
static bool cds_condition(const E2kCpu *cpu, const E2kBundle *bundle, const E2kSlot *slot,
                          unsigned kind, bool missing)
{
    unsigned bit = slot->channel % 3;
    bool has[2] = { false, false };
    bool value[2] = { false, false };

    for (unsigned i = 0; i < 6; i++) {
        unsigned entry = bundle->parts.cds[i / 2] >> (i % 2 ? 0 : 16) & 0xffff;

        if (entry >> 14 == kind && (entry >> (10 + bit) & 1)) {
            unsigned group = entry >> 5 & 1;

            has[group] = true;
            value[group] |= cds_value(cpu, entry, bit);
        }
    }
    if (!has[0] && !has[1]) {
        return missing;
    }
    return (!has[0] || value[0]) && (!has[1] || value[1]);
}

bool e2k_slot_enabled(const E2kCpu *cpu, const E2kBundle *bundle, const E2kSlot *slot)
{
    return cds_condition(cpu, bundle, slot, slot->channel / 3, true);
}

bool e2k_slot_merge(const E2kCpu *cpu, const E2kBundle *bundle, const E2kSlot *slot)
{
    return cds_condition(cpu, bundle, slot, 2 + slot->channel / 3, false);
}

/* ---- PLS ------------------------------------------------------------------------------------- */

static bool elp_value(const E2kCpu *cpu, unsigned source, uint32_t before)
{
    if ((source & 0x60) == 0x60) {
        return before >> e2k_pred_index(cpu, source & 31) & 1;
    }
    /* %lcntex; decoding lets nothing else through */
    return (uint32_t)cpu->lsr == 0;
}

/* Values of @p0..@p6; for the movep ones, whether they move goes to bits of *@moves. */
static unsigned pls_values(const E2kCpu *cpu, const E2kBundle *bundle, uint32_t before,
                           unsigned *moves)
{
    const uint32_t *pls = bundle->parts.pls;
    unsigned n = bundle->parts.hs >> 18 & 3;
    unsigned p = 0;

    *moves = 0;
    for (unsigned i = 0; i < MIN(n, 2); i++) {
        p |= (unsigned)elp_value(cpu, pls[i] >> 24 & 0x7f, before) << (i * 2);
        p |= (unsigned)elp_value(cpu, pls[i] >> 16 & 0x7f, before) << (i * 2 + 1);
    }
    for (unsigned i = 0; i < n; i++) {
        unsigned clp = pls[i] & 0xffff;
        bool first = (p >> (clp >> 10 & 7) & 1) != (clp >> 13 & 1);
        bool second = (p >> (clp >> 6 & 7) & 1) != (clp >> 9 & 1);

        p |= (unsigned)(first && second) << (4 + i);
        *moves |= (unsigned)(clp >> 14 != 3 || first) << i;
    }
    return p;
}

void e2k_predicate_logic(E2kCpu *cpu, const E2kBundle *bundle, uint32_t before)
{
    unsigned moves;
    unsigned p = pls_values(cpu, bundle, before, &moves);

    for (unsigned i = 0; i < (bundle->parts.hs >> 18 & 3); i++) {
        unsigned clp = bundle->parts.pls[i] & 0xffff;
        uint32_t bit = UINT32_C(1) << e2k_pred_index(cpu, clp & 31);

        if ((clp >> 5 & 1) && (moves >> i & 1)) {
            cpu->preds = p >> (4 + i) & 1 ? cpu->preds | bit : cpu->preds & ~bit;
        }
    }
}

/* ---- transfer conditions --------------------------------------------------------------------- */

/* Condition type 9: results of this very bundle. */
static bool compare_condition(E2kCpu *cpu, const E2kBundle *bundle, const uint64_t *results)
{
    static const uint8_t channels[] = { 0, 1, 3, 4 };
    unsigned operand = e2k_ss_cond_operand(bundle->parts.ss);
    unsigned moves;

    switch (operand >> 3) {
    case 0:
        return (results[channels[operand >> 1 & 3]] & 1) != (operand & 1);
    case 1: {
        unsigned pair = (operand >> 2 & 1) * 2;

        return (results[channels[pair]] & 1) != (operand >> 1 & 1)
            || (results[channels[pair + 1]] & 1) != (operand & 1);
    }
    case 2:
        return (pls_values(cpu, bundle, cpu->preds, &moves) >> (4 + (operand >> 1 & 3)) & 1)
            != (operand & 1);
    default:
        return false;
    }
}

bool e2k_condition(E2kCpu *cpu, const E2kBundle *bundle, const uint64_t *results)
{
    uint32_t ss = bundle->parts.ss;
    bool pred = e2k_pred(cpu, e2k_ss_cond_operand(ss));
    bool prologue_over = lsr_pcnt(cpu) == 0;

    switch (e2k_ss_cond(ss)) {
    case 1:
        return true;
    case 2:
        return pred;
    case 3:
        return !pred;
    case 4:
        return e2k_loop_end(cpu);
    case 5:
        return !e2k_loop_end(cpu);
    case 6:
        return (pred && prologue_over) || e2k_loop_end(cpu);
    case 7:
        return (!pred || !prologue_over) && !e2k_loop_end(cpu);
    case 8:
        return cpu->mlock;
    case 9:
        return cpu->mlock || compare_condition(cpu, bundle, results);
    case 14:
        return (!pred && prologue_over) || e2k_loop_end(cpu);
    case 15:
        return (pred || !prologue_over) && !e2k_loop_end(cpu);
    default:
        return false;
    }
}

/* ---- transfers ------------------------------------------------------------------------------- */

static unsigned ctpr_tag(uint64_t ctpr)
{
    return ctpr >> E2K_CTPR_TAG_SHIFT & 7;
}

static bool is_jump_target(uint64_t ctpr)
{
    return ctpr_tag(ctpr) == E2K_TAG_DISP && !(ctpr >> E2K_CTPR_OPC_SHIFT & 3);
}

static bool check_system_entry(E2kCpu *cpu, uint64_t ctpr)
{
    uint64_t base = cpu->special[E2K_SR_OSCUD_LO] & E2K_CTPR_TARGET;

    if ((ctpr & E2K_CTPR_TARGET) - base >= cpu->special[E2K_SR_OSCUD_HI] >> 32) {
        e2k_raise(cpu, E2K_EXC_ILLEGAL_INSTR_ADDR);
        return false;
    }
    return true;
}

bool e2k_transfer_check(E2kCpu *cpu, const E2kBundle *bundle)
{
    const E2kParts *parts = &bundle->parts;
    unsigned ctop = e2k_ss_ctop(parts->ss);
    uint64_t ctpr = cpu->ctpr[ctop];

    if (!ctop) {
        if (bundle->cs0_op != E2K_CS0_DONE) {
            return true;
        }
        if (!(cpu->psr & E2K_PSR_PM)) {
            e2k_raise(cpu, E2K_EXC_PRIV_ACTION);
            return false;
        }
        return e2k_return_check(cpu);
    }
    if (bundle->is_call) {
        if (ctpr_tag(ctpr) == E2K_TAG_SDISP && !check_system_entry(cpu, ctpr)) {
            return false;
        }
        if (ctpr_tag(ctpr) == E2K_TAG_SDISP || is_jump_target(ctpr)) {
            return e2k_call_check(cpu, parts->cs1 & 0x7f);
        }
    } else if (is_jump_target(ctpr)) {
        return true;
    } else if (ctpr_tag(ctpr) == E2K_TAG_RETURN) {
        return e2k_return_check(cpu);
    }
    e2k_raise(cpu, E2K_EXC_ILLEGAL_OPCODE);
    return false;
}

static void clear_ctpr_tags(E2kCpu *cpu)
{
    for (unsigned i = 1; i <= 3; i++) {
        cpu->ctpr[i] &= ~E2K_CTPR_TAGS;
    }
}

static bool transfer_return(E2kCpu *cpu)
{
    bool is_first = cpu->pcsp.ind <= E2K_FRAME_BYTES;
    uint64_t ip = cpu->ip;

    e2k_return(cpu);
    clear_ctpr_tags(cpu);
    if (is_first && cpu->ip == 0) {
        cpu->ip = ip;
        e2k_fatal(cpu, "return from the first procedure");
        return false;
    }
    return true;
}

/* @ctpr is the register's value before this bundle prepared others. */
static bool transfer(E2kCpu *cpu, const E2kBundle *bundle, uint64_t ctpr, uint64_t next_ip)
{
    const E2kParts *parts = &bundle->parts;

    if (!e2k_ss_ctop(parts->ss)) {
        if (bundle->cs0_op == E2K_CS0_DONE) {
            return transfer_return(cpu);
        }
        cpu->ip = (cpu->ip + e2k_cs0_disp(parts->cs0)) & E2K_CTPR_TARGET;
        return true;
    }
    if (!bundle->is_call) {
        if (ctpr_tag(ctpr) == E2K_TAG_RETURN) {
            return transfer_return(cpu);
        }
        cpu->ip = ctpr & E2K_CTPR_TARGET;
        return true;
    }
    e2k_call(cpu, parts->cs1 & 0x7f, next_ip);
    if (ctpr_tag(ctpr) == E2K_TAG_SDISP) {
        e2k_enter_system(cpu);
    }
    clear_ctpr_tags(cpu);
    cpu->ip = ctpr & E2K_CTPR_TARGET;
    return true;
}

/* ---- after the channels ---------------------------------------------------------------------- */

static void finish_cs1(E2kCpu *cpu, const E2kParts *parts)
{
    uint32_t cs1 = parts->cs1;
    unsigned op = cs1 >> 28;

    if (!e2k_hs_has_cs1(parts->hs)) {
        return;
    }
    if (op == E2K_CS1_SETEI) {
        cpu->special[0x23] = cs1 & 0xff;
    }
    if (op != E2K_CS1_SETR0 && op != E2K_CS1_SETBR) {
        return;
    }
    if (cs1 >> 26 & 1) {
        cpu->rbs = cs1 & 63;
        cpu->rsz = cs1 >> 6 & 63;
        cpu->rcur = cs1 >> 12 & 63;
        e2k_update_based(cpu);
    }
    if (cs1 >> 27 & 1) {
        cpu->psz = cs1 >> 18 & 31;
        cpu->pcur = 0;
    }
}

static void advance_loop_counters(E2kCpu *cpu)
{
    uint64_t lsr = cpu->lsr;
    uint32_t lcnt = lsr;

    if (lsr_pcnt(cpu)) {
        lsr -= UINT64_C(1) << LSR_PCNT_SHIFT;
    }
    if (lcnt) {
        lcnt--;
        lsr--;
    }
    lsr = lcnt ? lsr & ~LSR_OVER : lsr | LSR_OVER;
    if ((lsr & LSR_VLC) && !lcnt && (lsr >> LSR_ECNT_SHIFT & 31)) {
        lsr -= UINT64_C(1) << LSR_ECNT_SHIFT;
    }
    cpu->lsr = lsr;
}

static void finish_stubs(E2kCpu *cpu, uint32_t ss, bool is_taken)
{
    /* In each pair the low bit is for a taken transfer, the high one for the others. */
    if (e2k_ss_is_sf1(ss) && (ss >> (is_taken ? 16 : 17) & 1)) {
        advance_loop_counters(cpu);
    }
    if (e2k_ss_is_sf1(ss) && (ss >> (is_taken ? 18 : 19) & 1)) {
        cpu->pcur = cpu->pcur ? cpu->pcur - 1 : cpu->psz;
    }
    if (ss >> (is_taken ? 21 : 22) & 1) {
        cpu->rcur = cpu->rcur ? cpu->rcur - 1 : cpu->rsz;
        e2k_update_based(cpu);
    }
}

static void finish_cs0(E2kCpu *cpu, const E2kBundle *bundle)
{
    const E2kParts *parts = &bundle->parts;
    unsigned ctpr = parts->cs0 >> 30;
    uint64_t target = cpu->ip + e2k_cs0_disp(parts->cs0);
    uint64_t tag = E2K_TAG_DISP;
    uint64_t opc = 0;

    switch (bundle->cs0_op) {
    case E2K_CS0_DISP:
        break;
    case E2K_CS0_LDISP:
        opc = 1;
        break;
    case E2K_CS0_SDISP:
        target = cpu->special[E2K_SR_OSCUD_LO] + (parts->cs0 & 31) * E2K_ENTRY_BYTES;
        tag = E2K_TAG_SDISP;
        break;
    case E2K_CS0_RETURN:
        target = cpu->cr.cr0_hi;
        tag = E2K_TAG_RETURN;
        break;
    default:
        return;
    }
    cpu->ctpr[ctpr] = (target & E2K_CTPR_TARGET) | tag << E2K_CTPR_TAG_SHIFT
                    | opc << E2K_CTPR_OPC_SHIFT;
}

bool e2k_finish(E2kCpu *cpu, const E2kBundle *bundle, bool is_taken)
{
    const E2kParts *parts = &bundle->parts;
    uint64_t ctpr = cpu->ctpr[e2k_ss_ctop(parts->ss)];
    uint64_t next_ip = cpu->ip + bundle->length;

    finish_cs1(cpu, parts);
    if (parts->ss) {
        finish_stubs(cpu, parts->ss, is_taken);
    }
    finish_cs0(cpu, bundle);
    if (is_taken) {
        return transfer(cpu, bundle, ctpr, next_ip);
    }
    cpu->ip = next_ip;
    return true;
}
