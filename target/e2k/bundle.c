/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the words of a bundle to what the interpreter executes, and the cache of the results.
 */
#include "qemu/osdep.h"

#include "qemu/log.h"

#include "cpu.h"
#include "disas.h"

#define HASH_SIZE 32768
#define CHUNK_BUNDLES 1024
#define MAX_CHUNKS 32

/* ---- what executes an operation -------------------------------------------------------------- */

typedef struct ExecInfo {
    E2kAlu *alu;
    E2kAlu *alu2;
    uint8_t kind;
    uint8_t size;
    uint8_t segment;
    uint8_t arg;
    uint8_t arg2;
} ExecInfo;

static const struct {
    const char *name;
    uint8_t kind;
    uint8_t size;
    uint8_t segment;
} special_ops[] = {
    { "ldb", E2K_SLOT_LOAD, 1, E2K_SEGMENT_FLAT },
    { "ldh", E2K_SLOT_LOAD, 2, E2K_SEGMENT_FLAT },
    { "ldw", E2K_SLOT_LOAD, 4, E2K_SEGMENT_FLAT },
    { "ldd", E2K_SLOT_LOAD, 8, E2K_SEGMENT_FLAT },
    { "stb", E2K_SLOT_STORE, 1, E2K_SEGMENT_FLAT },
    { "sth", E2K_SLOT_STORE, 2, E2K_SEGMENT_FLAT },
    { "stw", E2K_SLOT_STORE, 4, E2K_SEGMENT_FLAT },
    { "std", E2K_SLOT_STORE, 8, E2K_SEGMENT_FLAT },
    { "ldgdb", E2K_SLOT_LOAD, 1, E2K_SEGMENT_GD },
    { "ldgdh", E2K_SLOT_LOAD, 2, E2K_SEGMENT_GD },
    { "ldgdw", E2K_SLOT_LOAD, 4, E2K_SEGMENT_GD },
    { "ldgdd", E2K_SLOT_LOAD, 8, E2K_SEGMENT_GD },
    { "stgdb", E2K_SLOT_STORE, 1, E2K_SEGMENT_GD },
    { "stgdh", E2K_SLOT_STORE, 2, E2K_SEGMENT_GD },
    { "stgdw", E2K_SLOT_STORE, 4, E2K_SEGMENT_GD },
    { "stgdd", E2K_SLOT_STORE, 8, E2K_SEGMENT_GD },
    { "ldcudb", E2K_SLOT_LOAD, 1, E2K_SEGMENT_CUD },
    { "ldcudh", E2K_SLOT_LOAD, 2, E2K_SEGMENT_CUD },
    { "ldcudw", E2K_SLOT_LOAD, 4, E2K_SEGMENT_CUD },
    { "ldcudd", E2K_SLOT_LOAD, 8, E2K_SEGMENT_CUD },
    { "merges", E2K_SLOT_MERGE, 0, 0 },
    { "merged", E2K_SLOT_MERGE, 0, 0 },
    { "rrs", E2K_SLOT_READ_SPECIAL, 0, 0 },
    { "rrd", E2K_SLOT_READ_SPECIAL, 0, 0 },
    { "rws", E2K_SLOT_WRITE_SPECIAL, 0, 0 },
    { "rwd", E2K_SLOT_WRITE_SPECIAL, 0, 0 },
    { "getsp", E2K_SLOT_GETSP, 0, 0 },
};

static E2kAlu *alu_find(const char *name, uint8_t *arg)
{
    static const E2kAluArgEntry *const tables[] = { e2k_alu_simd, e2k_alu_fp };

    *arg = 0;
    for (const E2kAluEntry *entry = e2k_alu_int; entry->name; entry++) {
        if (!strcmp(entry->name, name)) {
            return entry->alu;
        }
    }
    for (size_t i = 0; i < G_N_ELEMENTS(tables); i++) {
        for (const E2kAluArgEntry *entry = tables[i]; entry->name; entry++) {
            if (!strcmp(entry->name, name)) {
                *arg = entry->arg;
                return entry->alu;
            }
        }
    }
    return NULL;
}

/*
 * "and_adds" is adds(c, ands(a, b)): the first half lacks the size letter, and in "fmul_addd" and
 * "pfmul_addd" the second half lacks the prefix.
 */
static void exec_info_pair(ExecInfo *info, const char *name)
{
    const char *second = strchr(name, '_') + 1;
    char size = name[strlen(name) - 1];
    bool is_packed = g_str_has_prefix(name, "pf");
    bool is_float = is_packed || name[0] == 'f';
    g_autofree char *first = g_strdup_printf("%.*s%c", (int)(second - 1 - name), name, size);
    g_autofree char *last = g_strdup_printf("%s%s", is_packed ? "pf" : is_float ? "f" : "",
                                            second);

    info->alu2 = alu_find(last, &info->arg2);
    if (g_str_has_prefix(name, "merge_")) {
        info->kind = info->alu2 ? E2K_SLOT_MERGE_PAIR : E2K_SLOT_ILLEGAL;
        return;
    }
    info->alu = alu_find(first, &info->arg);
    info->kind = info->alu && info->alu2 ? E2K_SLOT_PAIR : E2K_SLOT_ILLEGAL;
}

static void exec_info_fill(ExecInfo *info, const E2kOp *op)
{
    info->kind = E2K_SLOT_ILLEGAL;
    if (strpbrk(op->sizes, "QP")) {
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(special_ops); i++) {
        if (!strcmp(special_ops[i].name, op->name)) {
            info->kind = special_ops[i].kind;
            info->size = special_ops[i].size;
            info->segment = special_ops[i].segment;
            return;
        }
    }
    info->alu = alu_find(op->name, &info->arg);
    if (info->alu) {
        info->kind = E2K_SLOT_ALU;
    } else if ((op->form == E2K_F21 || op->form == E2K_F21_MERGE) && strchr(op->name, '_')) {
        exec_info_pair(info, op->name);
    }
}

static const ExecInfo *exec_info_get(const E2kOp *op)
{
    static ExecInfo *infos;
    size_t n;
    const E2kOp *ops = e2k_op_table(&n);

    if (g_once_init_enter(&infos)) {
        ExecInfo *fresh = g_new0(ExecInfo, n);

        for (size_t i = 0; i < n; i++) {
            exec_info_fill(&fresh[i], &ops[i]);
        }
        g_once_init_leave(&infos, fresh);
    }
    return &infos[op - ops];
}

bool e2k_op_is_implemented(const E2kOp *op)
{
    return exec_info_get(op)->kind != E2K_SLOT_ILLEGAL;
}

/* ---- operands -------------------------------------------------------------------------------- */

static void operand_literal(E2kOperand *operand, uint64_t value)
{
    operand->kind = E2K_OPERAND_LITERAL;
    operand->literal = value;
}

/* A register byte, the same in every position.  Returns: false for 110xxxxx. */
static bool operand_register(E2kOperand *operand, uint8_t reg)
{
    if (!(reg & 0x80)) {
        operand->kind = E2K_OPERAND_BASED;
        operand->reg = reg;
    } else if (!(reg & 0x40)) {
        operand->kind = E2K_OPERAND_WINDOW;
        operand->reg = reg & 0x3f;
    } else if (reg & 0x20) {
        operand->kind = E2K_OPERAND_GLOBAL;
        operand->reg = E2K_WINDOW_REGS + (reg & 0x1f);
    } else {
        return false;
    }
    return true;
}

static bool operand_src1(E2kOperand *operand, uint8_t src)
{
    if ((src & 0xe0) == 0xc0) {
        operand_literal(operand, src & 0x1f);
        return true;
    }
    return operand_register(operand, src);
}

static bool operand_src2(E2kOperand *operand, const E2kParts *parts, uint8_t src)
{
    if ((src & 0xf0) == 0xc0) {
        operand_literal(operand, src & 15);
        return true;
    }
    if ((src & 0xf0) == 0xd0) {
        operand->kind = E2K_OPERAND_LITERAL;
        return e2k_literal(parts, src, &operand->literal);
    }
    return operand_register(operand, src);
}

static bool slot_sources(E2kSlot *slot, const E2kParts *parts, const E2kOp *op)
{
    uint32_t als = parts->als[slot->channel];
    uint8_t low = parts->ales[slot->channel] & 0xff;
    unsigned sources = e2k_form_sources(op->form);

    if ((sources & 1) && !operand_src1(&slot->src[0], als >> 16 & 0xff)) {
        return false;
    }
    if ((sources & 2) && !operand_src2(&slot->src[1], parts, als >> 8 & 0xff)) {
        return false;
    }
    slot->n_src = sources & 2 ? 2 : 0;
    if (sources & 4) {
        slot->n_src = 3;
        return operand_register(&slot->src[2], e2k_form_is_store(op->form) ? als & 0xff : low);
    }
    if (op->form == E2K_F11_LIT8 || op->form == E2K_F12_PSHUFH) {
        operand_literal(&slot->src[2], low);
        slot->n_src = 3;
    }
    return true;
}

static bool slot_dest(E2kSlot *slot, uint32_t als, const E2kOp *op)
{
    uint8_t dst = als & 0xff;
    E2kOperand reg;

    switch (op->form) {
    case E2K_F3:
    case E2K_F13:
        return true;
    case E2K_F7:
    case E2K_F8:
    case E2K_F17:
        slot->dest = E2K_DEST_PRED;
        slot->dest_reg = dst & 31;
        return true;
    case E2K_F15:
        slot->special = dst;
        return true;
    case E2K_F16:
        slot->special = als >> 16 & 0xff;
        break;
    default:
        break;
    }
    if ((dst & 0xfe) == 0xde) {
        return true;
    }
    if (dst >= 0xd1 && dst <= 0xd3) {
        slot->dest = E2K_DEST_CTPR;
        slot->dest_reg = dst & 3;
        return g_str_has_prefix(op->name, "movt") && !slot->is_32;
    }
    if (!operand_register(&reg, dst)) {
        return false;
    }
    slot->dest = reg.kind == E2K_OPERAND_BASED ? E2K_DEST_BASED
               : reg.kind == E2K_OPERAND_WINDOW ? E2K_DEST_WINDOW : E2K_DEST_GLOBAL;
    slot->dest_reg = reg.reg;
    return true;
}

static unsigned cds_entry(const E2kParts *parts, unsigned i)
{
    return parts->cds[i / 2] >> (i % 2 ? 0 : 16) & 0xffff;
}

/* Look for the execution conditions of the slot's channel in CDS. */
static bool slot_conditions(E2kSlot *slot, const E2kParts *parts)
{
    unsigned bit = slot->channel % 3;
    unsigned n = 0;

    for (unsigned i = 0; i < 6; i++) {
        unsigned entry = cds_entry(parts, i);

        if (entry >> 14 != slot->channel / 3 || !(entry >> (10 + bit) & 1)) {
            continue;
        }
        if (!(entry & 0x40)) {
            return false;
        }
        slot->cond = (entry & 0x60) != 0x60 ? E2K_COND_GENERAL
                   : entry >> (7 + bit) & 1 ? E2K_COND_NOT_PRED : E2K_COND_PRED;
        slot->cond_pred = entry & 31;
        n++;
    }
    if (n > 1) {
        slot->cond = E2K_COND_GENERAL;
    }
    return true;
}

/* Returns: false if executing it is an illegal opcode. */
static bool slot_decode(E2kSlot *slot, const E2kParts *parts, unsigned channel, unsigned isa)
{
    const E2kOp *op = e2k_channel_op(parts, channel, isa);

    memset(slot, 0, sizeof(*slot));
    slot->kind = E2K_SLOT_ILLEGAL;
    slot->channel = channel;
    if (!op) {
        return false;
    }
    const ExecInfo *info = exec_info_get(op);
    size_t n_sizes = strlen(op->sizes);
    char result = n_sizes ? op->sizes[n_sizes - 1] : 0;

    slot->alu = info->alu;
    slot->alu2 = info->alu2;
    slot->arg = info->arg;
    slot->arg2 = info->arg2;
    slot->size = info->size;
    slot->segment = info->segment;
    slot->is_sm = parts->als[channel] >> 31;
    slot->mas = op->flags & E2K_OP_MAS ? e2k_channel_mas(parts, channel) : 0;
    slot->is_32 = result == 'S' || (op->form == E2K_F15 && op->sizes[0] == 'S');
    slot->keeps_upper = g_str_has_prefix(op->name, "movt");
    if (info->kind == E2K_SLOT_ILLEGAL || !slot_sources(slot, parts, op)
        || !slot_dest(slot, parts->als[channel], op) || !slot_conditions(slot, parts)) {
        return false;
    }
    slot->kind = info->kind;
    return true;
}

/* ---- the rest of a bundle -------------------------------------------------------------------- */

static bool has_call(const E2kParts *parts)
{
    return e2k_hs_has_cs1(parts->hs) && parts->cs1 >> 28 == E2K_CS1_CALL;
}

static bool has_transfer(const E2kParts *parts)
{
    E2kCs0Op op = e2k_cs0_op(parts);

    return e2k_ss_ctop(parts->ss) || op == E2K_CS0_IBRANCH || op == E2K_CS0_DONE
        || has_call(parts);
}

static bool ss_is_legal(const E2kParts *parts)
{
    uint32_t ss = parts->ss;
    unsigned cond = e2k_ss_cond(ss);

    /* bap, recovery points, vfdi, abg */
    if (ss & (UINT32_C(1) << 28 | 7u << 25 | 3u << 23)) {
        return false;
    }
    /* array moves */
    if (e2k_ss_is_sf1(ss) && (ss >> 12 & 15)) {
        return false;
    }
    return !has_transfer(parts) || cond < 10 || cond > 13;
}

static bool cs0_is_legal(const E2kParts *parts)
{
    switch (e2k_cs0_op(parts)) {
    case E2K_CS0_NONE:
    case E2K_CS0_IBRANCH:
    case E2K_CS0_PREF:
    case E2K_CS0_DONE:
    case E2K_CS0_DISP:
    case E2K_CS0_LDISP:
    case E2K_CS0_SDISP:
    case E2K_CS0_RETURN:
        return true;
    default:
        return false;
    }
}

static bool cs1_is_legal(const E2kParts *parts)
{
    uint32_t cs1 = parts->cs1;

    if (!e2k_hs_has_cs1(parts->hs)) {
        return true;
    }
    switch (cs1 >> 28) {
    case E2K_CS1_SETR0:
        return parts->n_lts > 0 && (parts->lts[0] >> 5 & 0x7f) * 2 <= E2K_WINDOW_REGS;
    case E2K_CS1_SETEI:
        return !(cs1 >> 27 & 1);
    case E2K_CS1_CALL:
        return e2k_ss_ctop(parts->ss) != 0;
    case E2K_CS1_WAIT:
    case E2K_CS1_SETBR:
    case E2K_CS1_MAS:
    case E2K_CS1_FLUSH:
        return true;
    default:
        return false;
    }
}

/*
 * The inputs that CLP number @i may have, as bits of @p0..@p6: earlier ones only, and no chain of
 * three.
 */
static bool clp_is_legal(const E2kParts *parts, unsigned i)
{
    static const uint8_t inputs[] = { 0x03, 0x1f, 0x3f };
    unsigned clp = parts->pls[i] & 0xffff;
    unsigned used = 1u << (clp >> 10 & 7) | 1u << (clp >> 6 & 7);
    unsigned second = parts->pls[1] & 0xffff;
    bool second_is_deep = i == 2 && ((second >> 10 & 7) == 4 || (second >> 6 & 7) == 4);

    return clp >> 14 != 2 && !(used & ~inputs[i]) && !(second_is_deep && (used >> 5 & 1));
}

/* Only predicates and %lcntex are known as sources. */
static bool elp_is_legal(unsigned source)
{
    return source == 0 || (source & 0x60) == 0x60;
}

static bool pls_is_legal(const E2kParts *parts)
{
    for (unsigned i = 0; i < (parts->hs >> 18 & 3); i++) {
        uint32_t pls = parts->pls[i];

        if (!clp_is_legal(parts, i)
            || (i < 2 && (!elp_is_legal(pls >> 24 & 0x7f) || !elp_is_legal(pls >> 16 & 0x7f)))) {
            return false;
        }
    }
    return true;
}

/* A store in channel 2 excludes a load in 3, one in 5 excludes a load in 0. */
static bool memory_group_is_legal(const E2kBundle *bundle)
{
    unsigned loads = 0;
    unsigned stores = 0;

    for (unsigned i = 0; i < bundle->n_slots; i++) {
        const E2kSlot *slot = &bundle->slot[i];

        loads |= (unsigned)(slot->kind == E2K_SLOT_LOAD) << slot->channel;
        stores |= (unsigned)(slot->kind == E2K_SLOT_STORE) << slot->channel;
    }
    return !((stores >> 2 & 1) && (loads >> 3 & 1)) && !((stores >> 5 & 1) && (loads & 1));
}

/* Bits of `wait`. */
#define WAIT_TRAP 0x40
#define WAIT_ACCESSES 0x1bf

static uint8_t bundle_flags(const E2kParts *parts)
{
    bool has_cs1 = e2k_hs_has_cs1(parts->hs);
    unsigned cs1_op = has_cs1 ? parts->cs1 >> 28 : E2K_CS1_MAS;
    uint8_t flags = 0;

    if (parts->ss || e2k_cs0_op(parts) != E2K_CS0_NONE || cs1_op == E2K_CS1_SETR0
        || cs1_op == E2K_CS1_SETBR || cs1_op == E2K_CS1_SETEI || cs1_op == E2K_CS1_CALL) {
        flags |= E2K_BUNDLE_CONTROL;
    }
    if (has_transfer(parts)) {
        flags |= E2K_BUNDLE_TRANSFER;
    }
    if (parts->hs >> 18 & 3) {
        flags |= E2K_BUNDLE_PLS;
    }
    if (cs1_op == E2K_CS1_SETR0) {
        flags |= E2K_BUNDLE_SETWD;
    }
    if (e2k_hs_loop_mode(parts->hs)) {
        flags |= E2K_BUNDLE_LOOP_MODE;
    }
    if (cs1_op == E2K_CS1_WAIT && (parts->cs1 & WAIT_TRAP)) {
        flags |= E2K_BUNDLE_WAIT;
    }
    if (cs1_op == E2K_CS1_WAIT && (parts->cs1 & WAIT_ACCESSES)) {
        flags |= E2K_BUNDLE_BARRIER;
    }
    return flags;
}

/* Fill in @bundle from the @avail bytes at @code. */
static void bundle_decode(E2kBundle *bundle, const uint8_t *code, unsigned avail, unsigned isa)
{
    E2kParts *parts = &bundle->parts;
    bool is_legal = true;

    bundle->n_slots = 0;
    bundle->flags = 0;
    bundle->exc = 0;
    bundle->next = NULL;
    bundle->target = NULL;
    bundle->length = MIN(avail, E2K_MAX_BUNDLE);
    memcpy(bundle->bytes, code, bundle->length);
    if (!e2k_unpack(parts, bundle->bytes, bundle->length)) {
        bundle->exc = UINT64_C(1) << E2K_EXC_ILLEGAL_OPCODE;
        parts->length = 0;
        return;
    }
    bundle->length = parts->length;
    for (unsigned i = 0; i < E2K_N_CHANNELS; i++) {
        if (e2k_hs_has_als(parts->hs, i)) {
            is_legal &= slot_decode(&bundle->slot[bundle->n_slots++], parts, i, isa);
        }
    }
    bundle->cs0_op = e2k_cs0_op(parts);
    bundle->is_call = has_call(parts);
    bundle->flags = bundle_flags(parts);
    if (!is_legal || !ss_is_legal(parts) || !cs0_is_legal(parts) || !cs1_is_legal(parts)
        || !pls_is_legal(parts) || !memory_group_is_legal(bundle)) {
        bundle->exc = UINT64_C(1) << E2K_EXC_ILLEGAL_OPCODE;
    }
}

/* ---- cache ----------------------------------------------------------------------------------- */

static void cache_code_written(void *opaque, hwaddr addr, uint64_t len)
{
    e2k_cache_invalidate(opaque);
}

void e2k_cache_init(E2kCpu *cpu)
{
    cpu->cache.hash = g_new0(E2kBundle *, HASH_SIZE);
    cpu->cache.chunks = g_ptr_array_new_with_free_func(g_free);
    cpu->cache.generation = 1;
    mem_add_code_listener(cpu->vcpu.mem, cache_code_written, &cpu->cache);
}

void e2k_cache_clear(E2kCpu *cpu)
{
    E2kBundleCache *cache = &cpu->cache;

    memset(cache->hash, 0, HASH_SIZE * sizeof(cache->hash[0]));
    g_ptr_array_set_size(cache->chunks, 0);
    cache->n_used = CHUNK_BUNDLES;
    cache->epoch++;
}

void e2k_cache_done(E2kCpu *cpu)
{
    g_clear_pointer(&cpu->cache.chunks, g_ptr_array_unref);
    g_clear_pointer(&cpu->cache.hash, g_free);
}

/* Room for one more bundle; may drop all others. */
static E2kBundle *cache_alloc(E2kCpu *cpu)
{
    E2kBundleCache *cache = &cpu->cache;

    if (cache->chunks->len == 0 || cache->n_used == CHUNK_BUNDLES) {
        if (cache->chunks->len == MAX_CHUNKS) {
            e2k_cache_clear(cpu);
        }
        g_ptr_array_add(cache->chunks, g_new(E2kBundle, CHUNK_BUNDLES));
        cache->n_used = 0;
    }
    E2kBundle *chunk = g_ptr_array_index(cache->chunks, cache->chunks->len - 1);
    return &chunk[cache->n_used++];
}

/* -d in_asm, and -d unimp for operations that only exist in the table. */
static void bundle_log(const E2kCpu *cpu, const E2kBundle *bundle)
{
    if (qemu_loglevel_mask(CPU_LOG_TB_IN_ASM)) {
        g_autoptr(GString) text = g_string_new(NULL);
        E2kDisas dis = { .out = text, .isa = cpu->isa, .address = bundle->ip };

        if (bundle->parts.length) {
            e2k_disas(&dis, &bundle->parts);
        } else {
            g_string_append(text, "malformed bundle");
        }
        qemu_log("0x%012" PRIx64 ":  %s\n", bundle->ip, text->str);
    }
    for (unsigned i = 0; i < bundle->n_slots; i++) {
        unsigned channel = bundle->slot[i].channel;
        const E2kOp *op = e2k_channel_op(&bundle->parts, channel, cpu->isa);

        if (op && !e2k_op_is_implemented(op)) {
            qemu_log_mask(LOG_UNIMP, "e2k: no support for %s in channel %u at 0x%" PRIx64 "\n",
                          op->name, channel, bundle->ip);
        }
    }
}

bool e2k_bundle_refresh(E2kCpu *cpu, E2kBundle *bundle)
{
    /* In this order a write that happens meanwhile makes the bundle stale once more. */
    uint32_t generation = __atomic_load_n(&cpu->cache.generation, __ATOMIC_ACQUIRE);
    RamBlock *block = mem_ram_find(cpu->vcpu.mem, bundle->ip, 8);

    if (!block) {
        e2k_raise(cpu, E2K_EXC_INSTR_PAGE_MISS);
        return false;
    }
    uint64_t offset = bundle->ip - block->base;
    const uint8_t *code = block->host + offset;
    uint64_t avail = MIN(block->size - offset, E2K_MAX_BUNDLE);

    mem_code_mark(cpu->vcpu.mem, bundle->ip);
    mem_code_mark(cpu->vcpu.mem, bundle->ip + avail - 1);
    if (!bundle->length || memcmp(bundle->bytes, code, bundle->length)) {
        bundle_decode(bundle, code, avail, cpu->isa);
        if (unlikely(qemu_loglevel_mask(CPU_LOG_TB_IN_ASM | LOG_UNIMP))) {
            bundle_log(cpu, bundle);
        }
    }
    bundle->generation = generation;
    return true;
}

E2kBundle *e2k_bundle_get(E2kCpu *cpu, uint64_t ip)
{
    unsigned slot = ip / 8 % HASH_SIZE;
    E2kBundle *bundle = cpu->cache.hash[slot];

    if (ip & 7) {
        e2k_raise(cpu, E2K_EXC_ILLEGAL_INSTR_ADDR);
        return NULL;
    }
    while (bundle && bundle->ip != ip) {
        bundle = bundle->hash_next;
    }
    if (bundle) {
        return e2k_bundle_is_valid(&cpu->cache, bundle) || e2k_bundle_refresh(cpu, bundle)
               ? bundle : NULL;
    }
    if (!mem_ram_find(cpu->vcpu.mem, ip, 8)) {
        e2k_raise(cpu, E2K_EXC_INSTR_PAGE_MISS);
        return NULL;
    }
    bundle = cache_alloc(cpu);
    bundle->ip = ip;
    bundle->length = 0;
    e2k_bundle_refresh(cpu, bundle);
    bundle->hash_next = cpu->cache.hash[slot];
    cpu->cache.hash[slot] = bundle;
    return bundle;
}
