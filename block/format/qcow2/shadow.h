/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The shadow switch (R15): a change of much metadata as one write of the header.
 *
 *   begin    everything cached is written; refcounts are loaded as far as there is room (counts.h);
 *   prepare  count trees up and down, move tables that change into clusters that are free, set
 *            the fields of ->header; the image in the file stays as it is;
 *   commit   new refcount blocks and tables are written into free clusters, flushed; then one write
 *            to the first sector makes all of it valid, and another flush makes it last.
 *
 * So a crash leaves the old image or the new one, complete, with no leak.  Both locks are held from
 * begin to commit, and the node is frozen: nobody has a mapping of the old state.
 */
#ifndef BLOCK_FORMAT_QCOW2_SHADOW_H
#define BLOCK_FORMAT_QCOW2_SHADOW_H

#include "counts.h"

typedef struct Qcow2Shadow {
    BlockDriverState *bs;
    Qcow2Counts *counts;       /* of the new image */
    uint64_t cursor;           /* no free single cluster before this */
    uint64_t run_len, run_cursor; /* no so many free ones in a row before this */
    uint64_t limit;            /* clusters: nothing new goes there or behind; 0: anything may */
    uint64_t max_behind;       /* but for tables of several clusters, not more than these */
    bool is_out_of_room;       /* an allocation failed for that */
    Qcow2Header header;        /* of the new image; the places of L1 and refcounts set by commit */
    uint64_t *l1;              /* the active L1 table of the new image, in host byte order */
    uint32_t l1_size;
    GArray *snapshots;         /* of the new image; NULL: as they were */
    uint64_t snapshots_bytes;  /* length of their table */
} Qcow2Shadow;

/** Begin; NULL with @errp set.  Both locks held, node frozen, caches written back. */
Qcow2Shadow *coroutine_fn qcow2_shadow_co_begin(BlockDriverState *bs, Error **errp);
void qcow2_shadow_free(Qcow2Shadow *sh);
/** The same with the locking and writing back; both locks are held afterwards, also if it fails. */
Qcow2Shadow *coroutine_fn qcow2_shadow_co_lock(BlockDriverState *bs, Error **errp);
void coroutine_fn qcow2_shadow_co_unlock(BlockDriverState *bs);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Qcow2Shadow, qcow2_shadow_free)

/** @n adjacent clusters for the new image, that the old one does not use; counted once. */
int64_t coroutine_fn qcow2_shadow_co_alloc(Qcow2Shadow *sh, uint64_t n, Error **errp);
/** This cluster, if it is free: counted once. */
bool coroutine_fn qcow2_shadow_co_take(Qcow2Shadow *sh, uint64_t cluster);
/** The new image does without one reference to each of these clusters of metadata. */
bool coroutine_fn qcow2_shadow_co_retire(Qcow2Shadow *sh, uint64_t offset, uint64_t bytes,
                                         Error **errp);
/** Add @change (1 or -1) to the counts of all that the L1 table @l1 leads to. */
bool coroutine_fn qcow2_shadow_co_count_tree(Qcow2Shadow *sh, const uint64_t *l1, uint32_t size,
                                             int change, Error **errp);
/**
 * Set the COPIED flags of ->l1 and of its L2 tables by the counts, which are final but for
 * metadata; tables that change get a new place.  @twin (may be NULL): another L1 table of the same
 * length, which names the same L2 tables and shall go on doing so.
 */
bool coroutine_fn qcow2_shadow_co_fix_flags(Qcow2Shadow *sh, uint64_t *twin, Error **errp);
/** Say why an L2 table of a walk is not to be had; returns false. */
bool qcow2_shadow_unreadable(Error **errp, const Qcow2Place *table);
/** Write @len bytes into new clusters; returns their offset or a negative errno. */
int64_t coroutine_fn qcow2_shadow_co_write_new(Qcow2Shadow *sh, const void *buf, size_t len,
                                               Error **errp);
/** The same of an L1 table in host byte order; 0 for one without entries, which has no place. */
int64_t coroutine_fn qcow2_shadow_co_write_l1(Qcow2Shadow *sh, const uint64_t *l1, uint32_t size,
                                              Error **errp);
/** Put the table of the new list of snapshots into @sh. */
bool coroutine_fn qcow2_shadow_co_put_list(Qcow2Shadow *sh, GArray *snapshots, Error **errp);
/** The L1 table of a snapshot, in host byte order. */
uint64_t *coroutine_fn qcow2_snapshot_co_read_l1(BlockDriverState *bs, const Qcow2Snapshot *sn,
                                                 Error **errp);

/* ---- all L1 tables (trees.c) --------------------------------------------------------------- */

/* An L1 table in host byte order. */
typedef struct Qcow2Tree {
    uint64_t *l1;              /* of the active image: that of the shadow */
    uint32_t size;
    bool is_owned;             /* ->l1 goes with the tree */
    bool is_changed;           /* it has to be written anew */
} Qcow2Tree;

/** Those of the image: the active one, then the snapshots' in their order; NULL with @errp set. */
GArray *coroutine_fn qcow2_shadow_co_trees(Qcow2Shadow *sh, Error **errp);
/**
 * Put the L1 tables of snapshots that changed into new places, and the snapshot table that names
 * them; so too what of these lies at @cut or behind (UINT64_MAX: nothing does).
 */
bool coroutine_fn qcow2_shadow_co_put_trees(Qcow2Shadow *sh, const GArray *trees, uint64_t cut,
                                            Error **errp);

/* ---- the end ------------------------------------------------------------------------------- */

/**
 * Make the new image the image; the state in memory follows.  On failure the old image is in force,
 * or, if not even that is sure, the image takes no more writes.
 */
bool coroutine_fn qcow2_shadow_co_commit(Qcow2Shadow *sh, Error **errp);

#endif
