/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by the files of the core's control plane only: the inside of BlockGraph, and the steps of
 * graph changes below the public functions.
 *
 * A graph change is: freeze; structural steps (graph_link, graph_repoint, graph_unlink), each with
 * its undo in the Transaction; claims_co_refresh() over the nodes touched; tran_commit or
 * tran_abort; thaw.  Only claims_co_refresh() may yield.
 */
#ifndef BLOCK_CORE_INT_H
#define BLOCK_CORE_INT_H

#include "block/block_int.h"
#include "block/freeze.h"
#include "qemu/transaction.h"

/* Main thread only, but for the atomics. */
struct BlockGraph {
    BlockDriver *const *drivers;
    GHashTable *nodes_by_name;                   /* name -> node */
    QTAILQ_HEAD(, BlockDriverState) nodes;       /* in order of creation */
    uint64_t last_number;                        /* of a node */
    QTAILQ_HEAD(, BlockDriverState) monitor_nodes;
    QTAILQ_HEAD(, BlockDriverState) dead;        /* unreferenced, to be closed at unlock */
    unsigned failed_closes;                      /* nodes that lost something when closed */
    QTAILQ_HEAD(, BdrvGate) gates;
    CoMutex control;
    bool control_locked;
    QTAILQ_HEAD(, BdrvFreeze) freezes;
    CoQueue freeze_waiters;                      /* freezers asleep, all in the main thread */
    int kick_pending;                            /* atomic: a kick is on its way */
};

/* ---- block.c: node life ---------------------------------------------------------------------- */

/**
 * A new node with one reference, unopened, named @node_name (NULL: generated).
 * Returns NULL with @errp set if the name cannot be had.
 */
BlockDriverState *bdrv_new_node(const char *node_name, Error **errp);

/** Opened: from now on @bs is found by its name and in the list of nodes. */
void bdrv_publish_node(BlockDriverState *bs);

/** The table of drivers, NULL-terminated. */
BlockDriver *const *bdrv_driver_table(void);

/* ---- claim.c --------------------------------------------------------------------------------- */

struct BdrvOpBlockerList {
    BdrvClaim *claim;
    struct BdrvOpBlockerList *next;
};

/** A claim without rights on @bs, linked; strings of @owner and @reason are copied. */
BdrvClaim *claim_new(BlockDriverState *bs, BdrvOwner owner, const char *reason);
/** Put @claim at the end of @bs's list (and of its op blockers at the head); or take it out. */
void claim_link(BdrvClaim *claim, BlockDriverState *bs);
void claim_unlink(BdrvClaim *claim);
/** Set rights without looking for conflicts. */
void claim_assign(BdrvClaim *claim, BlockRights uses, BlockRights forbids);
/** Forbid @op, and be the latest to do so. */
void claim_forbid_op(BdrvClaim *claim, BlockOpType op);
/** The latest claim that forbids @op to the owner of @asker (NULL: anybody); NULL: none. */
BdrvClaim *claim_find_op_blocker(BlockDriverState *bs, BlockOpType op, const BdrvClaim *asker);
/** Set "Node 'x' is busy: REASON" and the hint that names @holder. */
void claim_report_busy(const BdrvClaim *holder, BlockOpType op, Error **errp);
/** Among all claims on @bs, is there no pair of owners in conflict over data? */
bool claims_agree(BlockDriverState *bs, Error **errp);

/* ---- claim-edges.c --------------------------------------------------------------------------- */

/** claim_assign(), undone when @tran is aborted. */
void claim_assign_tran(Transaction *tran, BdrvClaim *claim, BlockRights uses, BlockRights forbids);
/** What the edges above @bs use and share in sum. */
void claims_sum_edges(const BlockDriverState *bs, BlockRights *uses, BlockRights *shared);

/**
 * Recompute what follows from changed edges above or below @nodes: test each node's claims against
 * one another, tell its driver, go on below.  Undo and completion are added to @tran.
 */
bool coroutine_fn claims_co_refresh(Transaction *tran, BlockDriverState *const *nodes, size_t n,
                                    Error **errp);

/* ---- graph.c --------------------------------------------------------------------------------- */

/** Link a new edge to @bs (its own reference is taken).  Fails if a loop would close. */
BdrvChild *graph_link(Transaction *tran, const BdrvChildSpec *spec, BlockDriverState *bs,
                      Error **errp);
/** Point @child at @new_bs. */
bool graph_repoint(Transaction *tran, BdrvChild *child, BlockDriverState *new_bs, Error **errp);
/** Unlink @child; it is freed, and its reference dropped, at commit. */
void graph_unlink(Transaction *tran, BdrvChild *child);
/** Repoint every movable edge from @from to @to. */
bool graph_move_parents(Transaction *tran, BlockDriverState *from, BlockDriverState *to,
                        Error **errp);
/** The child of @bs called @name, or NULL. */
BdrvChild *graph_find_child(const BlockDriverState *bs, const char *name);
/** May the edge @child (its name, for the message) below a node be altered? */
bool graph_may_change(const BdrvChild *child, Error **errp);
/** End @tran by commit or abort; returns @ok. */
bool graph_finish(Transaction *tran, bool ok);

/* ---- freeze.c -------------------------------------------------------------------------------- */

/** Freeze one gate that may have no node yet. */
BdrvFreeze *coroutine_fn bdrv_co_freeze_gate(BdrvGate *gate);
/** @child was just linked or repointed: freezes over its node now cover what is above it, too. */
void freeze_extend(const BdrvChild *child);
/** @gate goes: no freeze holds it any more. */
void freeze_forget_gate(BdrvGate *gate);
/** @gate has thawed: wake its requests. */
void gate_wake(BdrvGate *gate);

/* ---- temporary-user.c ------------------------------------------------------------------------ */

typedef struct TemporaryUser TemporaryUser;
/** A user of @bs called @what (kept) with rights @perm that shares everything. */
TemporaryUser *coroutine_fn temporary_user_co_new(BlockDriverState *bs, const char *what,
                                                  uint64_t perm, Error **errp);
void coroutine_fn temporary_user_co_free(TemporaryUser *user);
/** One request: the edge to do it on, until temporary_user_leave(). */
BdrvChild *coroutine_fn temporary_user_co_enter(TemporaryUser *user);
void temporary_user_leave(TemporaryUser *user);

/* ---- open.c ---------------------------------------------------------------------------------- */

/** The node or the root of the backend called @name; sets "Cannot find device=..." otherwise. */
BlockDriverState *bdrv_lookup(const char *name, Error **errp);

/* Where in a definition a node is that is being opened. */
typedef struct OpenPlace {
    BlockDriverState *parent; /* the node it is opened for, or NULL */
    const char *path;         /* the keys that lead to it, "test.file"; NULL: the top */
    GHashTable *guessed;      /* paths of nodes whose format was guessed, or NULL */
} OpenPlace;

/** @path (NULL: the top) and the child @name as one path. */
char *open_path_below(const char *path, const char *name);

/** Open the node of @options (taken), a child of a node that does not exist yet. */
BlockDriverState *coroutine_fn open_co_future_child(BlockdevOptions *options,
                                                    const BlockdevOptions *parent_options,
                                                    BdrvChildRole role, int flags,
                                                    const OpenPlace *place, Error **errp);

/* Who is as long as @bs is so now, not when the main loop comes round.  Main thread. */
void bdrv_tell_length(BlockDriverState *bs);

#endif
