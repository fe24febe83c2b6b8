/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of operations that the six arithmetic channels know: how each is encoded, which
 * operands it has, which ISA versions have it.  Decoder, disassembler and tests read it.
 *
 * Rules of use:
 *  - The table is made once, on first use, and does not change; any thread may read it.
 *  - Several operations may share opcode and page; e2k_op_find() picks by channel, sub-opcodes
 *    and version, and the first in table order wins.
 */
#ifndef E2K_OPS_H
#define E2K_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Traditional names of the encodings; which fields hold what is described in decode.c. */
typedef enum E2kForm {
    E2K_F1,
    E2K_F2,
    E2K_F3,
    E2K_F7,
    E2K_F8,
    E2K_F10,
    E2K_F11,
    E2K_F11_LIT8,
    E2K_F11_MERGE,
    E2K_F12,
    E2K_F12_IBRANCHD,
    E2K_F12_ICALLD,
    E2K_F12_PSHUFH,
    E2K_F13,
    E2K_F15,
    E2K_F16,
    E2K_F17,
    E2K_F19,
    E2K_F21,
    E2K_F21_MERGE,
    E2K_F22,
    E2K_MERGE,
    E2K_AAURR,
    E2K_AAURW,
} E2kForm;

enum {
    E2K_OP_MAS = 1 << 0,  /* a memory-access specifier of CS1 applies */
    E2K_OP_PAIR = 1 << 1, /* a 128-bit operation filling two channels; written as one */
};

#define E2K_ANY (-1)

/* What the channels of a bundle can select an operation by. */
typedef struct E2kOpKey {
    unsigned channel;
    uint32_t als;
    uint8_t page;   /* ALES[15:8]; 0 when no ALES is in use */
    uint8_t ales;   /* ALES[7:0] */
    unsigned isa;   /* 1..6 */
} E2kOpKey;

typedef struct E2kOp {
    char name[18];
    char sizes[5];     /* per operand: S 32, D 64, Q 2x64, P 128 bits, B predicate, R special */
    uint8_t form;      /* E2kForm */
    uint8_t opcode;    /* ALS[30:24] */
    uint8_t page;
    uint8_t channels;  /* bit n: channel n has it */
    uint8_t flags;     /* E2K_OP_* */
    uint8_t min_isa;
    uint8_t max_isa;
    int16_t opce1;     /* required ALS[23:16], or E2K_ANY */
    int16_t cmp;       /* required ALS[7:5], or E2K_ANY */
    int16_t ales;      /* required ALES[7:0], or E2K_ANY */
    int16_t next;      /* next with the same opcode and page, or -1 */
} E2kOp;

/** The operation that @key selects, or NULL. */
const E2kOp *e2k_op_find(const E2kOpKey *key);

/** All operations, @n of them, in table order. */
const E2kOp *e2k_op_table(size_t *n);

/** How many source registers or literals @form reads through src1, src2 and src3, as bits 0..2. */
unsigned e2k_form_sources(E2kForm form);

/** Whether @form names a stored register where others have a destination. */
static inline bool e2k_form_is_store(E2kForm form)
{
    return form == E2K_F3 || form == E2K_F13;
}

#endif
