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

/** Make the file @filename and open it; the caller unrefs it.  *@is_new: it was not there. */
BlockDriverState *coroutine_fn creation_co_make_file(const char *filename, QemuOpts *opts,
                                                     bool *is_new, Error **errp);
/**
 * The creation failed: remove the file if it is new, else leave it empty, as it may be a link or
 * somebody's place.  NULL is fine.
 */
void coroutine_fn creation_co_take_back(BlockDriverState *file, bool is_new);

#endif
