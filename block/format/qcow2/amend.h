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
/** Make the image one of version 3. */
bool coroutine_fn qcow2_amend_co_upgrade(BlockDriverState *bs, Error **errp);
/** Can version 2 express the image, once it has @size?  With @force, its bitmaps may be lost. */
bool qcow2_amend_check_downgrade(BlockDriverState *bs, uint64_t size, bool force, Error **errp);
/** Make the image, which was checked, one of version 2 and of 16-bit counts. */
bool coroutine_fn qcow2_amend_co_downgrade(BlockDriverState *bs, const BdrvAmendProgress *progress,
                                           Error **errp);
/** Replace all zero clusters, of the disk and of snapshots, by what version 2 can express. */
bool coroutine_fn qcow2_amend_co_expand_zeroes(BlockDriverState *bs,
                                               const BdrvAmendProgress *progress, Error **errp);

#endif
