/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What several filters share.
 */
#ifndef BLOCK_FILTER_FILTER_INT_H
#define BLOCK_FILTER_FILTER_INT_H

#include "block/block_int.h"

/** For bdrv_refresh_limits of a filter whose requests go to "file" as they are: its flags hold. */
void filter_take_flags_of_file(BlockDriverState *bs);

#endif
