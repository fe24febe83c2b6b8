/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Claims: whatever anyone does to a node, or forbids others to do, is one record.
 *
 * The only rule: claims a and b of two owners on one node conflict iff
 *        a.uses & b.forbids   or   b.uses & a.forbids.
 *
 *  - An edge embeds a claim (uses = its permissions, forbids = what it does not share), so
 *  attaching
 *    to a node is claiming it.  These change only through claim transactions (graph.h).
 *  - An op blocker (block.h) is a claim that uses nothing.
 *  - A running operation holds a claim from bdrv_claim() for its scope.
 *
 * Data rights (bits 0-4) are held: tested both ways at every change.  Node operations (bits 16 and
 * up) are asked: tested once, when the user asks, against what is forbidden then; a later forbid
 * breaks no claim made before.
 *
 * Main thread; nothing here yields, so queries need no lock.
 */
#ifndef BLOCK_CLAIM_H
#define BLOCK_CLAIM_H

#include "block/block.h"
#include "qemu/queue.h"

typedef uint64_t BlockRights;

/* What is done to data: QEMU's permission names. */
#define BLK_PERM_CONSISTENT_READ (UINT64_C(1) << 0)
#define BLK_PERM_WRITE (UINT64_C(1) << 1)
#define BLK_PERM_WRITE_UNCHANGED (UINT64_C(1) << 2)
#define BLK_PERM_RESIZE (UINT64_C(1) << 3)
#define BLK_PERM_ALL (UINT64_C(0xf))
/* Altering an edge below the node; jobs forbid it along their chain. */
#define BLK_RIGHT_CHANGE_CHILDREN (UINT64_C(1) << 4)
#define BLK_DATA_RIGHTS (UINT64_C(0x1f))
/* What is done to the node: one bit per operation type. */
#define BLK_RIGHT_OP(op) (UINT64_C(1) << (16 + (op)))
#define BLK_RIGHTS_ALL_OPS (((UINT64_C(1) << BLOCK_OP_TYPE_MAX) - 1) << 16)

typedef enum BdrvOwnerKind {
    BDRV_OWNER_EDGE,       /* a node above; id = its node name */
    BDRV_OWNER_DEVICE,     /* a guest device or a named backend */
    BDRV_OWNER_JOB,
    BDRV_OWNER_EXPORT,
    BDRV_OWNER_OPERATION,  /* a command that runs */
    BDRV_OWNER_OP_BLOCKER, /* the 2014 API, owner unknown but for its reason */
    BDRV_OWNER_DRIVER,     /* the node's own driver */
    BDRV_OWNER_MIGRATION,
    BDRV_OWNER_USER,       /* an unnamed backend: a tool, a monitor command */
    BDRV_OWNER_KIND_MAX,
} BdrvOwnerKind;

/*
 * Who.  Two claims have the same owner iff their keys are equal and not NULL: a job, the filters it
 * inserted and their edges pass the job's address.  Strings are copied by whoever keeps an owner.
 */
typedef struct BdrvOwner {
    BdrvOwnerKind kind;
    const void *key;
    const char *id;          /* job id, export id, device id, node name; NULL: none */
    const char *description; /* e.g. "backup job 'j0'", "block device 'd0'", "node 'top'" */
} BdrvOwner;

struct BdrvClaim {
    BlockDriverState *node;
    BdrvOwnerKind kind;
    const void *key;
    char *id, *description;
    BlockRights uses, forbids;
    char *reason;        /* completes "is busy: "; NULL for edges */
    int64_t since_ns;    /* CLOCK_MONOTONIC */
    Error *seed_reason;  /* identity key of the 2014 API, borrowed; else NULL */
    BdrvChild *edge;     /* the edge this is embedded in, or NULL */
    QTAILQ_ENTRY(BdrvClaim) next; /* in node's list, oldest first */
};

/** The rule.  Pure. */
bool claim_conflict(const BdrvClaim *a, const BdrvClaim *b);

/**
 * Claim rights on @bs, or say who is in the way.
 *
 * @uses, @forbids: rights this owner exercises, and rights others must not have.
 * @reason: a clause that follows "is busy: "; copied.
 * Context: main thread.  Does not yield.
 * Returns: the claim, owned by the caller (bdrv_claim_release), or NULL
 *          with @errp set and the holder named in its hint.
 */
BdrvClaim *bdrv_claim(BlockDriverState *bs, BdrvOwner owner, BlockRights uses, BlockRights forbids,
                      const char *reason, Error **errp);

/** Give a claim back; NULL is fine.  Never fails. */
void bdrv_claim_release(BdrvClaim *claim);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BdrvClaim, bdrv_claim_release)

/** Would @rights (data or ops) be refused on @bs to @owner_key now?  Sets @errp if so. */
bool bdrv_rights_available(BlockDriverState *bs, BlockRights rights, const void *owner_key,
                           Error **errp);

/** Sum over all claims on @bs: what is used, what is forbidden. */
void bdrv_get_cumulative_rights(BlockDriverState *bs, BlockRights *uses, BlockRights *forbids);

/** Visit each claim on @bs, oldest first; stop when @fn returns false. */
void bdrv_claim_foreach(BlockDriverState *bs, bool (*fn)(const BdrvClaim *claim, void *opaque),
                        void *opaque);

/** Who holds @claim, for an edge whoever is above it.  Strings: valid until the graph changes. */
BdrvOwner bdrv_claim_owner(const BdrvClaim *claim);
/**
 * "node 'top'", "block device 'd0'", "backup job 'j'", "an unnamed block device". Free with
 * g_free.
 */
char *bdrv_claim_holder(const BdrvClaim *claim);

/**
 * The same for hints and queries: exports by their id, and the filters of a job as that job's.
 * Free with g_free.
 */
char *bdrv_claim_holder_with_id(const BdrvClaim *claim);

/** Seconds a claim has been held. */
double bdrv_claim_age(const BdrvClaim *claim);

/**
 * What would end @claim, for a human: "wait for job 'j0', or job-cancel id=j0". Free with g_free.
 */
char *bdrv_claim_remedy(const BdrvClaim *claim);

/** Add to @errp's hint who holds @claim, for how long, and what would end that. */
void bdrv_claim_append_hint(const BdrvClaim *claim, Error **errp);
/** The same of every edge from a node above @bs (not a root node), and of jobs. */
void bdrv_append_users_hint(BlockDriverState *bs, Error **errp);

/** Names of rights: "consistent read, write" (error text) or schema words.  Free with g_free. */
char *bdrv_rights_text(BlockRights rights);
/** Schema word of a single right ("write", "backup-source", "change-children"); NULL if none. */
const char *bdrv_right_name(BlockRights right);

#endif
