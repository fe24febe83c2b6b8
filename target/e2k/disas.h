/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bundles as text, in the notation of the e2k assemblers' disassemblers.
 */
#ifndef E2K_DISAS_H
#define E2K_DISAS_H

#include <glib.h>

#include "decode.h"

/** Where text is appended to, and what the bundle is read as. */
typedef struct E2kDisas {
    GString *out;
    unsigned isa;     /* 1..6 */
    uint64_t address; /* of the bundle, for branch targets */
} E2kDisas;

/** Append the text of @parts; its parts are joined by " ; ". */
void e2k_disas(const E2kDisas *dis, const E2kParts *parts);

/** The name of special register @number without the percent sign, or NULL. */
const char *e2k_special_name(unsigned number);

#endif
