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

/**
 * Does a new image at @proto with @opts get a place that is made with it?  A driver without options
 * of creation takes what exists as it is: old content shows where nothing is written.
 */
bool img_create_makes_place(const BlockDriver *proto, const QemuOpts *opts);

/** Would a new image of @format with @opts be encrypted? */
bool img_create_is_encrypted(const char *format, const QemuOpts *opts);
/** Its keys are random, so it is never the same twice: --reproducible refuses it by this. */
#define IMG_NOT_REPRODUCIBLE "--reproducible cannot be had with encryption: keys must not be known"

#endif
