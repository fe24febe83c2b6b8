/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What drivers need to make images: a user of nodes, and their files.
 *
 * Context: the control path.
 */
#ifndef BLOCK_FORMAT_CREATION_H
#define BLOCK_FORMAT_CREATION_H

#include "block/block_int.h"
#include "block/gate.h"

/** The user of the nodes of one creation; bdrv_gate_done() ends it. */
void creation_gate_init(BdrvGate *gate);
/** An edge from @gate to @bs for writing and resizing; bdrv_co_detach_child() ends it. */
BdrvChild *coroutine_fn creation_co_use_node(BdrvGate *gate, BlockDriverState *bs, Error **errp);

/** The node that @ref names or describes; the caller unrefs it. */
BlockDriverState *coroutine_fn creation_co_open_ref(const BlockdevRef *ref, Error **errp);

/** Make the file @filename and open it; the caller unrefs it. */
BlockDriverState *coroutine_fn creation_co_make_file(const char *filename, QemuOpts *opts,
                                                     Error **errp);
/** Remove the file of a creation that failed; NULL is fine. */
void coroutine_fn creation_co_delete(BlockDriverState *file);

#endif
