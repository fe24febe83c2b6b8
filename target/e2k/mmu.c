/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory accesses of the CPU: RAM directly, devices through the memory map, and what the
 * memory-access specifier (MAS) makes of an access.
 *
 * Address translation is always off: a virtual address is physical.  Turning it on in MMU_CR is
 * an illegal operation.
 */
#include "qemu/osdep.h"

#include "qemu/bswap.h"

#include "cpu.h"

#define MMU_CR 0x00
#define MMU_CR_TRANSLATION 1

/* MAS fields. */
#define MAS_MOD(mas) ((mas) & 7)
#define MAS_OPCODE(mas) ((mas) >> 3 & 15)
#define MAS_BIG_ENDIAN 8

enum {
    MOD_WAIT = 2,      /* stores: only if the reservation holds */
    MOD_UNLOCK = 3,    /* loads in channels 2 and 5: check of an earlier speculative load */
    MOD_DROP_LOCK = 5, /* stores: give up the reservation, store nothing */
    MOD_IO = 6,
    MOD_SPECIAL = 7,   /* loads in channels 0 and 3: take a reservation */
};

enum {
    SPECIAL_CACHE_FLUSH = 0,
    SPECIAL_DCACHE_LINE = 1,
    SPECIAL_ICACHE_LINE = 2,
    SPECIAL_ICACHE_FLUSH = 4,
    SPECIAL_MMU_REGISTER = 8,
    SPECIAL_FIRST_CACHE_REGISTER = 9,
    SPECIAL_LAST_CACHE_REGISTER = 13,
};

static bool is_right_channel(const E2kSlot *slot)
{
    return slot->channel == 2 || slot->channel == 5;
}

static uint64_t physical(const E2kCpu *cpu, uint64_t addr)
{
    unsigned bits = cpu->isa >= 6 ? 48 : 40;

    return addr & ((UINT64_C(1) << bits) - 1);
}

/* The block that holds [@addr, @addr + @size); remembers the last one. */
static inline const RamBlock *ram_find(E2kCpu *cpu, uint64_t addr, unsigned size)
{
    const RamBlock *block = cpu->ram;

    if (likely(block && addr - block->base < block->size
               && size <= block->size - (addr - block->base))) {
        return block;
    }
    block = mem_ram_find(cpu->vcpu.mem, addr, size);
    if (block) {
        cpu->ram = block;
    }
    return block;
}

uint8_t *e2k_host(E2kCpu *cpu, uint64_t addr, uint64_t len, bool is_write)
{
    RamBlock *block = mem_ram_find(cpu->vcpu.mem, physical(cpu, addr), len);

    if (!block || (is_write && block->is_rom)) {
        return NULL;
    }
    return block->host + (physical(cpu, addr) - block->base);
}

void e2k_host_written(E2kCpu *cpu, uint64_t addr, uint64_t len)
{
    addr = physical(cpu, addr);

    RamBlock *block = mem_ram_find(cpu->vcpu.mem, addr, len);
    while (len) {
        uint64_t part = MIN(len, MEM_PAGE_SIZE - addr % MEM_PAGE_SIZE);

        mem_code_written(cpu->vcpu.mem, block, addr, part);
        addr += part;
        len -= part;
    }
}

/* ---- the access itself ----------------------------------------------------------------------- */

static inline uint64_t host_load(const uint8_t *p, unsigned size)
{
    switch (size) {
    case 1:
        return *p;
    case 2:
        return (uint16_t)lduw_le_p(p);
    case 4:
        return (uint32_t)ldl_le_p(p);
    default:
        return ldq_le_p(p);
    }
}

static inline void host_store(uint8_t *p, uint64_t value, unsigned size)
{
    switch (size) {
    case 1:
        *p = value;
        break;
    case 2:
        stw_le_p(p, value);
        break;
    case 4:
        stl_le_p(p, value);
        break;
    default:
        stq_le_p(p, value);
        break;
    }
}

static uint64_t swap(uint64_t value, unsigned size)
{
    return __builtin_bswap64(value) >> (64 - size * 8);
}

/* Whether an access to device registers or under UPSR.ac is aligned as it must be. */
static bool check_alignment(E2kCpu *cpu, const E2kSlot *slot, uint64_t addr)
{
    bool is_io = MAS_MOD(slot->mas) == MOD_IO && is_right_channel(slot);

    if (likely(!(addr & (slot->size - 1u))) || (!is_io && !(cpu->upsr & E2K_UPSR_AC))) {
        return true;
    }
    if (!slot->is_sm) {
        e2k_raise(cpu, E2K_EXC_ADDR_NOT_ALIGNED);
    }
    return false;
}

static uint64_t load_physical(E2kCpu *cpu, const E2kSlot *slot, uint64_t addr)
{
    const RamBlock *block = ram_find(cpu, addr, slot->size);
    uint64_t value;

    if (likely(block)) {
        return host_load(block->host + (addr - block->base), slot->size);
    }
    if (mem_load(cpu->vcpu.mem, addr, slot->size, &value) != MEM_OK) {
        if (!slot->is_sm) {
            e2k_raise(cpu, E2K_EXC_DATA_PAGE);
        }
        return E2K_SM_FAULT;
    }
    return value;
}

static void store_physical(E2kCpu *cpu, const E2kSlot *slot, uint64_t addr, uint64_t value)
{
    const RamBlock *block = ram_find(cpu, addr, slot->size);

    if (likely(block && !block->is_rom)) {
        host_store(block->host + (addr - block->base), value, slot->size);
        mem_code_written(cpu->vcpu.mem, (RamBlock *)block, addr, slot->size);
    } else if (mem_store(cpu->vcpu.mem, addr, slot->size, value) != MEM_OK && !slot->is_sm) {
        e2k_raise(cpu, E2K_EXC_DATA_PAGE);
    }
}

/* ---- special accesses (mod 7) ---------------------------------------------------------------- */

static uint64_t *mmu_register(E2kCpu *cpu, uint64_t number)
{
    if ((number & 15) || number / 16 >= G_N_ELEMENTS(cpu->mmu_reg)) {
        e2k_raise(cpu, E2K_EXC_ILLEGAL_OPERAND);
        return NULL;
    }
    if (!(cpu->psr & E2K_PSR_PM)) {
        e2k_raise(cpu, E2K_EXC_PRIV_ACTION);
        return NULL;
    }
    return &cpu->mmu_reg[number / 16];
}

static uint64_t load_special(E2kCpu *cpu, const E2kSlot *slot, uint64_t addr)
{
    unsigned opcode = MAS_OPCODE(slot->mas);

    if (opcode == SPECIAL_MMU_REGISTER) {
        uint64_t *reg = mmu_register(cpu, addr);

        return reg ? *reg : 0;
    }
    if (opcode == SPECIAL_CACHE_FLUSH || opcode == SPECIAL_DCACHE_LINE
        || (opcode >= SPECIAL_FIRST_CACHE_REGISTER && opcode <= SPECIAL_LAST_CACHE_REGISTER)) {
        return 0;
    }
    e2k_raise(cpu, E2K_EXC_ILLEGAL_OPCODE);
    return 0;
}

static void store_special(E2kCpu *cpu, const E2kSlot *slot, uint64_t addr, uint64_t value)
{
    unsigned opcode = MAS_OPCODE(slot->mas);

    if (opcode == SPECIAL_MMU_REGISTER) {
        uint64_t *reg = mmu_register(cpu, addr);

        if (reg && addr == MMU_CR && (value & MMU_CR_TRANSLATION)) {
            e2k_raise(cpu, E2K_EXC_ILLEGAL_OPCODE);
        } else if (reg) {
            *reg = value;
        }
    } else if (opcode == SPECIAL_ICACHE_LINE || opcode == SPECIAL_ICACHE_FLUSH) {
        e2k_cache_invalidate(&cpu->cache);
    } else if (opcode != SPECIAL_CACHE_FLUSH && opcode != SPECIAL_DCACHE_LINE
               && (opcode < SPECIAL_FIRST_CACHE_REGISTER
                   || opcode > SPECIAL_LAST_CACHE_REGISTER)) {
        e2k_raise(cpu, E2K_EXC_ILLEGAL_OPCODE);
    }
}

/* ---- loads and stores ------------------------------------------------------------------------ */

uint64_t e2k_load(E2kCpu *cpu, const E2kSlot *slot, uint64_t addr)
{
    unsigned mod = MAS_MOD(slot->mas);

    if (unlikely(mod == MOD_SPECIAL && is_right_channel(slot))) {
        return load_special(cpu, slot, addr);
    }
    addr = physical(cpu, addr);
    if (!check_alignment(cpu, slot, addr)) {
        return E2K_SM_FAULT;
    }
    uint64_t value = load_physical(cpu, slot, addr);

    if (likely(!mod)) {
        return slot->mas & MAS_BIG_ENDIAN ? swap(value, slot->size) : value;
    }
    if (mod == MOD_SPECIAL) {
        cpu->lock_valid = true;
        cpu->lock_addr = addr;
        return value;
    }
    if (mod == MOD_UNLOCK && is_right_channel(slot)) {
        /* Nothing is remembered of speculative loads, so each check fails and code repairs. */
        cpu->mlock = true;
    }
    return slot->mas & MAS_BIG_ENDIAN ? swap(value, slot->size) : value;
}

void e2k_store(E2kCpu *cpu, const E2kSlot *slot, uint64_t addr, uint64_t value)
{
    unsigned mod = MAS_MOD(slot->mas);

    if (unlikely(mod == MOD_SPECIAL)) {
        store_special(cpu, slot, addr, value);
        return;
    }
    addr = physical(cpu, addr);
    if (!check_alignment(cpu, slot, addr)) {
        return;
    }
    if (slot->mas & MAS_BIG_ENDIAN) {
        value = swap(value, slot->size);
    }
    if (mod == MOD_WAIT) {
        cpu->mlock = !cpu->lock_valid || cpu->lock_addr != addr;
        cpu->lock_valid = false;
        if (cpu->mlock) {
            return;
        }
    } else if (mod == MOD_UNLOCK || mod == MOD_DROP_LOCK) {
        cpu->lock_valid = false;
    }
    if (mod != MOD_DROP_LOCK) {
        store_physical(cpu, slot, addr, value);
    }
}
