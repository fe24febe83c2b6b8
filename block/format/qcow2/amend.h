/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing properties of an image after it was made: the parts of amend.
 * Context: control path; the node is frozen.
 */
#ifndef BLOCK_FORMAT_QCOW2_AMEND_H
#define BLOCK_FORMAT_QCOW2_AMEND_H

#include "qcow2.h"

/** Counts of 1 << @order bits, by one switch of the header (R15). */
bool coroutine_fn qcow2_amend_co_refcount_width(BlockDriverState *bs, unsigned order,
                                                const BdrvAmendProgress *progress, Error **errp);
/** Make the image one of version 3, or of version 2, which cannot express everything. */
bool coroutine_fn qcow2_amend_co_upgrade(BlockDriverState *bs, Error **errp);
bool coroutine_fn qcow2_amend_co_downgrade(BlockDriverState *bs, bool force,
                                           const BdrvAmendProgress *progress, Error **errp);
/** Replace all zero clusters, of the disk and of snapshots, by what version 2 can express. */
bool coroutine_fn qcow2_amend_co_expand_zeroes(BlockDriverState *bs,
                                               const BdrvAmendProgress *progress, Error **errp);

#endif
