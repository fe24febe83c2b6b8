/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options of a node between the user and its driver: dicts, BlockdevOptions, inheritance.
 *
 * "Flat" dicts have dotted keys and scalar values.  Only block/core uses this.
 */
#ifndef BLOCK_CORE_OPTIONS_H
#define BLOCK_CORE_OPTIONS_H

#include "block/block_int.h"

/* A member of a driver's options that names a child. */
typedef struct OptionsChild {
    const char *name;
    bool is_list;
    bool optional;
} OptionsChild;

typedef void OptionsChildFn(const OptionsChild *child, void *opaque);
/** Call @fn for each child that options of @driver can name. */
void options_foreach_child(BlockdevDriver driver, OptionsChildFn *fn, void *opaque);

/** The options every driver has (but driver and node-name) that are in @flat, as a new dict. */
QDict *options_common(const QDict *flat);

/** Does @drv know all options in @flat, by itself or as every driver does? */
bool options_check_keys(const QDict *flat, const BlockDriver *drv, Error **errp);

/** As options_check_keys() for a node in use: sets "Cannot change the option 'x'". */
bool options_check_known(const QDict *flat, const BlockDriver *drv, Error **errp);

/** Make numbers of strings like "64k" where @drv wants integers; not in options of children. */
void options_convert_sizes(QDict *flat, const BlockDriver *drv);

/** Where the format of an image's encryption is left out, it is the one that the image has. */
void options_add_encrypt_format(QDict *flat, const BlockDriver *drv);

/** Visit @flat, in which every level names its driver. */
BlockdevOptions *options_from_dict(QDict *flat, Error **errp);

/** What @options say of the node itself, children left out, as a new flat dict. */
QDict *options_to_own_dict(const BlockdevOptions *options);

/**
 * Fill in what @options leave open: from the completed options of the @parent above an edge of role
 * @role or, without a parent, from @flags.
 */
void options_complete(BlockdevOptions *options, const BlockdevOptions *parent, BdrvChildRole role,
                      int flags);

/** Check what holds between the options of every driver; @options are complete. */
bool options_check(const BlockdevOptions *options, Error **errp);

/** May @drv be used with these @options, which are complete?  May make them read-only. */
bool whitelist_apply(const BlockDriver *drv, BlockdevOptions *options, Error **errp);

/** Completed options as BDRV_O_*. */
int options_to_flags(const BlockdevOptions *options);

#endif
