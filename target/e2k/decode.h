/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bundles ("wide instructions"): taking one apart into its words and its operations.
 *
 * Rules of use:
 *  - e2k_unpack() finds the parts; every field of an absent part is 0.  It needs no CPU and looks
 *    at nothing but the bytes.
 *  - A bundle is hostile data: any byte string gives parts or false, never more.
 */
#ifndef E2K_DECODE_H
#define E2K_DECODE_H

#include "ops.h"

#define E2K_N_CHANNELS 6
#define E2K_MAX_BUNDLE 64

/* The words of a bundle, by the names of the manual. */
typedef struct E2kParts {
    uint32_t hs;
    uint32_t ss;
    uint32_t cs0;
    uint32_t cs1;
    uint32_t als[E2K_N_CHANNELS];
    uint16_t ales[E2K_N_CHANNELS];
    uint16_t aas[E2K_N_CHANNELS];
    uint32_t cds[3];
    uint32_t pls[3];
    uint32_t lts[4];
    uint8_t n_lts;  /* literal words there are, at most 4 */
    uint8_t length; /* bytes */
} E2kParts;

/* Fields of HS. */
static inline unsigned e2k_hs_length(uint32_t hs)
{
    return ((hs >> 4 & 7) + 1) * 8;
}

static inline unsigned e2k_hs_nop(uint32_t hs)
{
    return hs >> 7 & 7;
}

static inline bool e2k_hs_loop_mode(uint32_t hs)
{
    return hs >> 10 & 1;
}

static inline bool e2k_hs_has_ss(uint32_t hs)
{
    return hs >> 12 & 1;
}

static inline bool e2k_hs_has_cs0(uint32_t hs)
{
    return hs >> 14 & 1;
}

static inline bool e2k_hs_has_cs1(uint32_t hs)
{
    return hs >> 15 & 1;
}

static inline bool e2k_hs_has_als(uint32_t hs, unsigned channel)
{
    return hs >> (26 + channel) & 1;
}

static inline bool e2k_hs_has_ales(uint32_t hs, unsigned channel)
{
    return hs >> (20 + channel) & 1;
}

/* Fields of SS; the array and loop bits mean something only when ss_is_sf1. */
static inline unsigned e2k_ss_ctop(uint32_t ss)
{
    return ss >> 10 & 3;
}

static inline unsigned e2k_ss_cond(uint32_t ss)
{
    return ss >> 5 & 15;
}

static inline unsigned e2k_ss_cond_operand(uint32_t ss)
{
    return ss & 31;
}

static inline bool e2k_ss_is_sf1(uint32_t ss)
{
    return !(ss >> 20 & 1);
}

/* Signed displacement of CS0 in bytes. */
static inline int64_t e2k_cs0_disp(uint32_t cs0)
{
    return ((int64_t)(int32_t)(cs0 << 4) >> 4) * 8;
}

/* CS1[31:28] */
enum {
    E2K_CS1_SETR0 = 0,
    E2K_CS1_SETR1 = 1,
    E2K_CS1_SETEI = 2,
    E2K_CS1_WAIT = 3,
    E2K_CS1_SETBR = 4,
    E2K_CS1_CALL = 5,
    E2K_CS1_MAS = 6,
    E2K_CS1_FLUSH = 7,
    E2K_CS1_VFBG = 8,
};

/* What CS0 asks for. */
typedef enum E2kCs0Op {
    E2K_CS0_NONE,
    E2K_CS0_IBRANCH,
    E2K_CS0_PREF,
    E2K_CS0_PUTTSD,
    E2K_CS0_DONE,
    E2K_CS0_IRET,
    E2K_CS0_HRET,
    E2K_CS0_GLAUNCH,
    E2K_CS0_DISP,
    E2K_CS0_LDISP,
    E2K_CS0_SDISP,
    E2K_CS0_GETTSD,
    E2K_CS0_RETURN,
    E2K_CS0_CALL_PARAM, /* the operand of icall or hcall */
    E2K_CS0_ILLEGAL,
} E2kCs0Op;

/**
 * Take apart the bundle in @code.
 *
 * @avail: bytes readable at @code; a bundle that needs more is refused.
 * Returns: false if this is not a valid synchronous bundle.
 */
bool e2k_unpack(E2kParts *parts, const uint8_t *code, unsigned avail);

/** What CS0 of @parts asks for; E2K_CS0_NONE without one. */
E2kCs0Op e2k_cs0_op(const E2kParts *parts);

/** The operation in @channel of @parts, which must be in use; NULL if there is no such one. */
const E2kOp *e2k_channel_op(const E2kParts *parts, unsigned channel, unsigned isa);

/**
 * Which other channel holds the second half of @op in @channel, when it is written as one
 * (E2K_OP_PAIR) and that half is there; -1 otherwise.
 */
int e2k_pair_channel(const E2kParts *parts, const E2kOp *op, unsigned channel, unsigned isa);

/** The memory-access specifier that CS1 gives @channel; 0 when none. */
unsigned e2k_channel_mas(const E2kParts *parts, unsigned channel);

/**
 * The 64-bit value of the literal operand byte @src2 (0xd0..0xdf), sign-extended.
 * Returns: false if it refers to a literal word that is not there.
 */
bool e2k_literal(const E2kParts *parts, uint8_t src2, uint64_t *value);

#endif
