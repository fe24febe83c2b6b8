/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps in images, for the subcommands that change or copy them.
 * Context: coroutine, without the control lock.
 */
#ifndef QEMU_IMG_BITMAPS_H
#define QEMU_IMG_BITMAPS_H

#include "qemu-img.h"

/**
 * Store the bitmaps of @image now, where failing is still an error of the command; the image is
 * read-only then.  False, reported, if that fails.
 */
bool coroutine_fn img_co_store_bitmaps(ImgBackend *image, const char *filename);

/** Can the bitmaps of @source be copied?  False, reported, if not. */
bool img_check_bitmaps(ImgBackend *source, bool skip_broken);

/** Can @target keep what img_co_copy_bitmaps() copies?  False, reported, if not. */
bool coroutine_fn img_co_check_target_of_bitmaps(ImgBackend *source, ImgBackend *target,
                                                 bool skip_broken);

/** Make bitmaps in @target like those that @source keeps.  False, reported, if that fails. */
bool coroutine_fn img_co_copy_bitmaps(ImgBackend *source, ImgBackend *target, bool skip_broken);

#endif
