/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of image creation, which create and convert have in common. */
#ifndef QEMU_IMG_CREATE_OPTS_H
#define QEMU_IMG_CREATE_OPTS_H

#include "block/block.h"
#include "qobject/opts.h"

/**
 * What can be said of a new image of @drv in the place @proto (NULL: not known), the format's
 * options first.  Free with qemu_opts_free().
 */
QemuOptsList *img_create_options_list(const BlockDriver *drv, const BlockDriver *proto);

/** Print them for "-o help"; @filename may be NULL.  Returns the exit status. */
int img_print_create_options(const char *format, const char *filename);

#endif
