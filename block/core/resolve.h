/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Resolving: what a user says about a disk (a name, a dict, both, much of it left out) becomes
 * BlockdevOptions.  Only block/core uses this.
 */
#ifndef BLOCK_CORE_RESOLVE_H
#define BLOCK_CORE_RESOLVE_H

#include "block/block_int.h"

typedef struct Resolved {
    BlockdevOptions *options;
    bool probed;            /* the format was guessed */
    GHashTable *guessed;    /* paths ("children.0") of children whose format was; owned */
    QDict *pending_backing; /* backing.* options, to be joined with what the image says; or NULL */
    GPtrArray *held;        /* nodes opened on the way, named in options */
} Resolved;

void resolved_free(Resolved *res);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Resolved, resolved_free)

/**
 * Resolve @filename (NULL: none) and @dict (borrowed; nested or flat).
 *
 * @flags: BDRV_O_PROTOCOL: a protocol is wanted, so no format is guessed.
 * @parent: completed options of the node above an edge of role @role, or NULL.
 * Opens and reads the file if a format must be guessed.
 */
Resolved *coroutine_fn resolve_co_options(const char *filename, const QDict *dict, int flags,
                                          const BlockdevOptions *parent, BdrvChildRole role,
                                          Error **errp);

/** Open @filename and @options (taken) read-only with a temporary overlay on top (snapshot=on). */
BlockDriverState *coroutine_fn open_co_temporary_overlay(const char *filename, QDict *options,
                                                         int flags, Error **errp);

#endif
