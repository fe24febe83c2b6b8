/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bundles made ready for execution, and the cache of them.
 *
 * Rules of use:
 *  - A bundle is found by its address.  It is valid while its generation is the cache's; the
 *    generation moves when anybody writes into a page from which code was taken.  Then the bytes
 *    are compared, and only what has changed is decoded again: data beside code costs little.
 *  - Pointers to bundles stay good until the cache is emptied, which only e2k_bundle_get() does.
 */
#ifndef E2K_BUNDLE_H
#define E2K_BUNDLE_H

#include <glib.h>

#include "decode.h"
#include "system/memory.h"

typedef struct E2kCpu E2kCpu;

/**
 * An operation without side effects but exceptions.  Sources are 64 bits wide, 32-bit operations
 * ignore the upper halves; @c is the third source, the literal, or what the table says.
 */
typedef uint64_t E2kAlu(E2kCpu *cpu, uint64_t a, uint64_t b, uint64_t c);

typedef enum E2kSlotKind {
    E2K_SLOT_ALU,
    E2K_SLOT_PAIR,  /* alu2(c, alu(a, b)) */
    E2K_SLOT_MERGE,
    E2K_SLOT_MERGE_PAIR, /* alu2(c, merge(a, b)) */
    E2K_SLOT_LOAD,
    E2K_SLOT_STORE,
    E2K_SLOT_READ_SPECIAL,
    E2K_SLOT_WRITE_SPECIAL,
    E2K_SLOT_GETSP,
    E2K_SLOT_ILLEGAL,
} E2kSlotKind;

typedef enum E2kOperandKind {
    E2K_OPERAND_LITERAL,
    E2K_OPERAND_WINDOW,
    E2K_OPERAND_BASED,
    E2K_OPERAND_GLOBAL,
} E2kOperandKind;

typedef struct E2kOperand {
    uint64_t literal;
    uint8_t kind; /* E2kOperandKind */
    uint8_t reg;
} E2kOperand;

typedef enum E2kDestKind {
    E2K_DEST_NONE,
    E2K_DEST_WINDOW,
    E2K_DEST_BASED,
    E2K_DEST_GLOBAL,
    E2K_DEST_PRED,
    E2K_DEST_CTPR,
} E2kDestKind;

/* How an address is made from src1 + src2. */
typedef enum E2kSegment {
    E2K_SEGMENT_FLAT,
    E2K_SEGMENT_GD,  /* 32-bit offset from GD.lo */
    E2K_SEGMENT_CUD, /* 32-bit offset from CUD.lo */
} E2kSegment;

typedef enum E2kSlotCond {
    E2K_COND_ALWAYS,
    E2K_COND_PRED,     /* cond_pred */
    E2K_COND_NOT_PRED,
    E2K_COND_GENERAL,  /* e2k_slot_enabled() */
} E2kSlotCond;

/* One channel's operation. */
typedef struct E2kSlot {
    E2kAlu *alu;
    E2kAlu *alu2;
    E2kOperand src[3];
    uint8_t kind; /* E2kSlotKind */
    uint8_t n_src; /* sources 0..n_src-1; unused ones among them are literal 0 */
    uint8_t dest; /* E2kDestKind */
    uint8_t dest_reg;
    uint8_t cond; /* E2kSlotCond */
    uint8_t cond_pred;
    uint8_t arg;      /* what alu gets as c when there is no third source */
    uint8_t arg2;     /* same for alu2 */
    uint8_t channel;
    uint8_t mas;
    uint8_t size;     /* bytes in memory */
    uint8_t segment;  /* E2kSegment */
    uint8_t special;  /* number of a special register */
    bool is_32;       /* result (or special register access) of 32 bits */
    bool keeps_upper; /* a 32-bit result leaves the upper half alone whatever DBL says */
    bool is_sm;
} E2kSlot;

enum {
    E2K_BUNDLE_CONTROL = 1 << 0,  /* e2k_finish() has something to do */
    E2K_BUNDLE_TRANSFER = 1 << 1, /* may go elsewhere */
    E2K_BUNDLE_PLS = 1 << 2,
    E2K_BUNDLE_SETWD = 1 << 3,
    E2K_BUNDLE_LOOP_MODE = 1 << 4,
    E2K_BUNDLE_WAIT = 1 << 5,     /* wait for an interrupt */
    E2K_BUNDLE_BARRIER = 1 << 6,  /* wait for memory accesses */
};

typedef struct E2kBundle E2kBundle;

struct E2kBundle {
    uint64_t ip;
    uint32_t generation;
    uint8_t length;
    uint8_t n_slots;
    uint8_t flags; /* E2K_BUNDLE_* */
    uint8_t cs0_op; /* E2kCs0Op */
    bool is_call;  /* CS1 has a call */
    uint64_t exc;  /* exceptions that executing it raises */
    E2kBundle *next;   /* in memory; NULL: not looked up yet */
    E2kBundle *target; /* of ibranch; likewise */
    E2kBundle *hash_next;
    E2kSlot slot[E2K_N_CHANNELS];
    E2kParts parts;
    uint8_t bytes[E2K_MAX_BUNDLE];
};

typedef struct E2kBundleCache {
    E2kBundle **hash;
    GPtrArray *chunks; /* arrays of bundles */
    unsigned n_used;   /* of the last chunk */
    unsigned epoch;    /* moves when all bundles are dropped */
    uint32_t generation; /* atomic */
} E2kBundleCache;

/** Make the empty cache of @cpu and have it told of writes to code. */
void e2k_cache_init(E2kCpu *cpu);

/** Free it. */
void e2k_cache_done(E2kCpu *cpu);

/** Drop all bundles. */
void e2k_cache_clear(E2kCpu *cpu);

/** Any thread: code may have changed. */
static inline void e2k_cache_invalidate(E2kBundleCache *cache)
{
    __atomic_fetch_add(&cache->generation, 1, __ATOMIC_RELEASE);
}

static inline bool e2k_bundle_is_valid(const E2kBundleCache *cache, const E2kBundle *bundle)
{
    return bundle->generation == __atomic_load_n(&cache->generation, __ATOMIC_ACQUIRE);
}

/**
 * The bundle at @ip, valid now.
 * Returns: NULL with an exception raised if there is no code at @ip.
 */
E2kBundle *e2k_bundle_get(E2kCpu *cpu, uint64_t ip);

/** Make @bundle valid again, decoding it anew if its bytes have changed. */
bool e2k_bundle_refresh(E2kCpu *cpu, E2kBundle *bundle);

/** Functions by operation name, for the tables in alu.c, simd.c, fpu.c. */
typedef struct E2kAluEntry {
    const char *name;
    E2kAlu *alu;
} E2kAluEntry;

/* Functions that serve several operations with two sources; @arg is passed to them as c. */
typedef struct E2kAluArgEntry {
    const char *name;
    E2kAlu *alu;
    uint8_t arg;
} E2kAluArgEntry;

extern const E2kAluEntry e2k_alu_int[];
extern const E2kAluArgEntry e2k_alu_simd[];
extern const E2kAluArgEntry e2k_alu_fp[];

/** Whether operation @op can be executed, for tests. */
bool e2k_op_is_implemented(const E2kOp *op);

#endif
