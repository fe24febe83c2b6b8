/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Moving compressed clusters within a shadow switch.  They are pieces of bytes, each of its own
 * length, that lie one behind the other across the borders of host clusters.  So they are not moved
 * by host clusters: each goes behind the one before it, into whatever is free.
 *
 *   new; add() for each entry; finish(); co_run() copies; then entry() says where a piece is.
 */
#ifndef BLOCK_FORMAT_QCOW2_REPACK_H
#define BLOCK_FORMAT_QCOW2_REPACK_H

#include "shadow.h"

typedef struct Qcow2Repack Qcow2Repack;

/** For pieces that reach into clusters from @floor on; others are not remembered. */
Qcow2Repack *qcow2_repack_new(Qcow2Shadow *sh, uint64_t floor);
void qcow2_repack_free(Qcow2Repack *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Qcow2Repack, qcow2_repack_free)
/** An entry of an L2 table that @times L1 entries name. */
void qcow2_repack_add(Qcow2Repack *r, uint64_t entry, uint64_t times);
/** All entries are in. */
void qcow2_repack_finish(Qcow2Repack *r);
/** Copy the pieces that reach into clusters from @cutoff on; the counts follow. */
bool coroutine_fn qcow2_repack_co_run(Qcow2Repack *r, uint64_t cutoff, Error **errp);
/** What takes the place of @entry: itself, if its piece did not move. */
uint64_t qcow2_repack_entry(const Qcow2Repack *r, uint64_t entry);

#endif
