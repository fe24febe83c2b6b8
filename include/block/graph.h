/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The graph: nodes, the edges between them, the one mutable global, and the control lock.
 *
 *  - The graph changes only in the main thread, only under the control lock, and only while the
 *  gates
 *    above the changed edge are frozen; so a running request walks it without a lock.
 *  - rank(node) = 1 + the highest rank of its children: an edge to a node of equal or higher rank
 *    would close a loop and is refused.
 *  - Every change of an edge goes through a Transaction: prepare may yield and fail (file locks),
 *    commit and abort do neither.
 */
#ifndef BLOCK_GRAPH_H
#define BLOCK_GRAPH_H

#include "block/claim.h"
#include "block/gate.h"
#include "qemu/co-lock.h"
#include "qemu/transaction.h"

/* ---- roles of a child ------------------------------------------------------------------------ */

/* 0: none of the node's content lies there; flushing the node leaves it alone. */
typedef enum BdrvChildRole {
    BDRV_CHILD_DATA = 1 << 0,     /* holds guest data */
    BDRV_CHILD_METADATA = 1 << 1, /* holds the format's metadata */
    BDRV_CHILD_FILTERED = 1 << 2, /* a filter's one child whose data it presents */
    BDRV_CHILD_COW = 1 << 3,      /* backing */
    BDRV_CHILD_PRIMARY = 1 << 4,  /* stands for the node: size, file name */
    BDRV_CHILD_IMAGE = BDRV_CHILD_DATA | BDRV_CHILD_METADATA,
} BdrvChildRole;

struct BdrvChild {
    char *name; /* "file", "backing", "root", "target", "children.0" */
    BdrvChildRole role;
    BlockDriverState *parent; /* the node above, or NULL if a gate is */
    BdrvGate *gate;           /* the gate above, or NULL */
    BlockDriverState *bs;     /* the node below; changes only while frozen */
    bool stays;               /* not moved by bdrv_replace_node() (jobs, operations) */
    bool counts_as_overlay;   /* in bs->n_overlays */
    BdrvClaim claim;          /* on bs */
    QLIST_ENTRY(BdrvChild) next;        /* in parent's children */
    QTAILQ_ENTRY(BdrvChild) next_parent; /* in bs's parents */
};

/* ---- the one global -------------------------------------------------------------------------- */

typedef struct BlockGraph BlockGraph;

/** All nodes, gates, the control lock. */
BlockGraph *bdrv_graph(void);

/** Free everything and start again; asserts that no node is left.  Tests. */
void bdrv_graph_reset(void);

/**
 * Close all that is left at the end of a program: backends first (their owners did), then nodes.
 */
void coroutine_fn bdrv_co_close_all(void);

/**
 * A node that is being closed could not write back all it held.  The user has been told; this is
 * for the exit status of programs.
 */
void bdrv_note_failed_close(void);
/** How many there were. */
unsigned bdrv_failed_closes(void);

/**
 * The control lock: one control operation at a time.  Release closes the nodes that nobody refers
 * to any more.  Nobody waits for a guest, a user or a job to finish while holding it.
 */
void coroutine_fn bdrv_co_control_lock(void);
void coroutine_fn bdrv_co_control_unlock(void);
bool bdrv_control_locked(void);
/**
 * Close what nobody refers to any more, and what that leaves unreferenced, now.  For those who tell
 * others of an end before they release the lock.  Context: control lock.
 */
void coroutine_fn bdrv_co_reap(void);

typedef struct BdrvControlGuard BdrvControlGuard;
static inline BdrvControlGuard *coroutine_fn bdrv_co_control_guard(void)
{
    bdrv_co_control_lock();
    return (BdrvControlGuard *)1;
}
static inline void coroutine_fn bdrv_control_guard_end(BdrvControlGuard *guard)
{
    if (guard) {
        bdrv_co_control_unlock();
    }
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BdrvControlGuard, bdrv_control_guard_end)
/* Hold the control lock to the end of the scope. */
#define BDRV_CONTROL_GUARD() \
    g_autoptr(BdrvControlGuard) control_guard_ __attribute__((unused)) = bdrv_co_control_guard()

/* First statement of every function of the control plane: main thread, control lock held. */
#define CONTROL_PATH() bdrv_assert_control_path(__func__)
void bdrv_assert_control_path(const char *func);

/* ---- edges ----------------------------------------------------------------------------------- */

/* What an edge is to be. */
typedef struct BdrvChildSpec {
    const char *name;
    BdrvChildRole role;
    BlockDriverState *parent; /* one of parent and gate */
    BdrvGate *gate;
    uint64_t perm, shared;    /* for a gate; a node's come from its driver's child_claims */
    bool stays;
} BdrvChildSpec;

/**
 * Attach @bs below @spec's parent, claiming it.  Takes over the caller's reference to @bs, also on
 * failure.  Context: control lock.  Returns NULL with @errp set if a claim conflicts, a loop would
 * close or the host's file locks refuse.
 */
BdrvChild *coroutine_fn bdrv_co_attach_child(const BdrvChildSpec *spec, BlockDriverState *bs,
                                             Error **errp);

/** Detach and free @child, dropping its claim and its reference; NULL is fine. */
void coroutine_fn bdrv_co_detach_child(BdrvChild *child);

/**
 * Give a node that can have more children (quorum) one more, @child_bs, which has no parent yet; or
 * take away the one whose edge is called @name.
 */
bool coroutine_fn bdrv_co_add_child(BlockDriverState *parent, BlockDriverState *child_bs,
                                    Error **errp);
bool coroutine_fn bdrv_co_del_child(BlockDriverState *parent, const char *name, Error **errp);

/** Change what an edge from a gate uses and shares. */
bool coroutine_fn bdrv_co_child_set_perm(BdrvChild *child, uint64_t perm, uint64_t shared,
                                         Error **errp);

/** A node's own situation changed (read-only, options): recompute what it claims below. */
bool coroutine_fn bdrv_co_refresh_claims(BlockDriverState *bs, Error **errp);

/** Point @child at @new_bs instead; the same claim moves.  Freezes what it must. */
bool coroutine_fn bdrv_co_replace_child(BdrvChild *child, BlockDriverState *new_bs, Error **errp);

/** Move every movable parent edge of @from to @to (edges below @to and `stays` edges stay). */
bool coroutine_fn bdrv_co_replace_node(BlockDriverState *from, BlockDriverState *to, Error **errp);

/**
 * Put filter node @filter (opened, childless) over @bs: filter's @child_name -> bs, parents ->
 * filter.
 */
bool coroutine_fn bdrv_co_insert_filter(BlockDriverState *filter, BlockDriverState *bs,
                                        const char *child_name, Error **errp);
/** Undo: parents of @filter go to its filtered child; drops no reference of the caller. */
bool coroutine_fn bdrv_co_remove_filter(BlockDriverState *filter, Error **errp);

/** Make @overlay's backing @bs and move @bs's parents to @overlay (external snapshot). */
bool coroutine_fn bdrv_co_append(BlockDriverState *overlay, BlockDriverState *bs, Error **errp);

/** Set or clear the backing child. */
bool coroutine_fn bdrv_co_set_backing(BlockDriverState *bs, BlockDriverState *backing,
                                      Error **errp);

/** Is any parent of @bs something else than a gate, or more than one parent there? (root checks) */
bool bdrv_has_node_parent(const BlockDriverState *bs);
/** Has @bs no parents but backends (no node, no job)? */
bool bdrv_is_root_node(const BlockDriverState *bs);
/** Number of parents of any kind. */
unsigned bdrv_parent_count(const BlockDriverState *bs);
/** Visit edges above; stop when @fn returns false. */
void bdrv_foreach_parent(BlockDriverState *bs, bool (*fn)(BdrvChild *edge, void *opaque),
                         void *opaque);

#endif
