/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checking and repairing: what check.c, check-refs.c, check-tables.c and repair.c share.
 *
 * References are counted window by window: a window is a range of host clusters, for which both the
 * references found and the counts on disk are in memory as arrays.  An ordinary image is one window
 * (2 TiB of 64 KiB clusters); for a larger one, or a hostile one with references all over the
 * place, the tables are walked once per window that has anything in it.
 *
 * Everything comes from the file and may be wrong; a place outside the file is reported and not
 * followed.  Both locks are held and nobody else uses the node meanwhile.
 */
#ifndef BLOCK_FORMAT_QCOW2_CHECK_H
#define BLOCK_FORMAT_QCOW2_CHECK_H

#include "refarray.h"

/* An L2 table, however many L1 entries name it. */
typedef struct Qcow2CheckTable {
    uint64_t times;     /* L1 entries that name it */
    bool is_active;     /* one of them belongs to the active image */
    uint32_t l1_index;  /* the first of them */
} Qcow2CheckTable;

/* An L2 table that lies where something else does, too. */
typedef struct Qcow2SharedTable {
    uint64_t offset;
    uint64_t times;     /* L1 entries that name it */
} Qcow2SharedTable;

/* Clusters to be remembered as used twice; of more only the first are told. */
#define QCOW2_CHECK_MAX_DOUBTFUL (1 * MiB)

typedef struct Qcow2Check {
    BlockDriverState *bs;
    Qcow2State *s;
    BdrvCheckResult *res;      /* of this pass: the caller's, or thrown away if all was said */
    BdrvCheckResult *final;    /* the caller's */
    int fix;                   /* BdrvCheckMode */
    bool needs_rebuild;        /* the refcount structures cannot be mended in place */
    int64_t file_len;
    int64_t first_len;         /* the same before any repair */
    bool is_incomplete;        /* not all references were counted: none may be taken for missing */
    bool any_lost;             /* references to no valid place in the file were seen */
    uint64_t nb_clusters;      /* of the file */
    uint64_t highest;          /* cluster in use */
    uint64_t beyond;           /* end of references a little past the end of the file */
    int64_t bad_flags;         /* COPIED flags seen that contradict the counts on disk */
    BdrvCheckResult counts;    /* leaks and corruptions among the counts alone */
    uint64_t list_faults;      /* of the list of snapshots; in ->res when they are mended or not */
    bool replaces_list;        /* and they will be mended */
    GArray *doubtful;          /* of uint64_t: clusters that more refer to than were counted */

    /* Tables that lie where something else does: see check-shared.c. */
    bool any_shared;           /* seen in this pass */
    GArray *shared_l2;         /* of Qcow2SharedTable */
    GArray *shared_snapshots;  /* of guint: those whose L1 tables do */
    bool moves_tables;         /* what repair moves: these, the active L1 table, the list */
    bool moves_list;           /* the list of snapshots is one of them */
    bool was_rebuilt;          /* the refcount structures are new */
    uint64_t told_movable;     /* findings; in ->res when they are mended or not */
    uint64_t told_fixed;       /* of those that no repair mends */
    bool wants_repeat;         /* another pass is to see how it is now */

    /* Tables, in the order of their first mention: see check-tables.c. */
    GArray *l2_offsets;        /* of uint64_t, each a valid L1 entry */
    GArray *l2_tables;         /* of Qcow2CheckTable, the same order */
    uint32_t nb_odd;           /* tables at impossible places that were looked at all the same */

    /* The window. */
    uint64_t first, end;       /* clusters; end 0: none is loaded */
    uint64_t limit;            /* clusters: no window reaches further */
    uint16_t *refs;            /* references found; UINT16_MAX: look in many_refs */
    GHashTable *many_refs;     /* cluster -> count, if large */
    Qcow2RefArray *disk;       /* counts in the file; covers the window */
    bool is_counted;           /* all references are in */
    uint64_t next;             /* the first cluster past the window with a reference */
    unsigned nb_windows;       /* seen in this pass */
    unsigned nb_reports;       /* lines told */
} Qcow2Check;

/* A value of 16 bits times this: four of them side by side. */
#define QCOW2_FOUR_16 UINT64_C(0x0001000100010001)

/** Tell a finding. */
void qcow2_check_report(Qcow2Check *c, const char *fmt, ...) QEMU_PRINTF(2, 3);

/* ---- check-refs.c -------------------------------------------------------------------------- */

/** Every cluster that [@offset, @offset + @bytes) touches is referred to @times more. */
void qcow2_check_add(Qcow2Check *c, uint64_t offset, uint64_t bytes, uint64_t times);
/** References found to @cluster, which lies in the window. */
uint64_t qcow2_check_refs(const Qcow2Check *c, uint64_t cluster);
static inline bool qcow2_check_in_window(const Qcow2Check *c, uint64_t cluster)
{
    return cluster >= c->first && cluster < c->end;
}
/** Length of the list of snapshots as far as the file reached at first. */
uint64_t qcow2_check_snapshots_in_file(const Qcow2Check *c);
/** Is @cluster past the end of the file, and nothing counts it? */
static inline bool qcow2_check_is_nowhere(const Qcow2Check *c, uint64_t cluster)
{
    uint64_t block = cluster >> c->s->refblock_bits;

    return cluster >= c->limit && (block >= c->s->reftable.size || !c->s->reftable.entries[block]);
}
/** Load the window that begins at @cluster (rounded down); no references yet. */
int coroutine_fn qcow2_check_co_window(Qcow2Check *c, uint64_t cluster);
/** Begin of the next window with anything in it; false: there is none. */
bool qcow2_check_next_window(Qcow2Check *c, uint64_t *cluster);
void qcow2_check_drop_window(Qcow2Check *c);
/** Is @block of ->disk misplaced or unreadable, not merely past the end of the file? */
bool qcow2_check_block_is_lost(const Qcow2Check *c, uint64_t block);

/* ---- check-tables.c ------------------------------------------------------------------------ */

/** Find all L2 tables; reports what is wrong with L1 tables. */
int coroutine_fn qcow2_check_co_collect(Qcow2Check *c);
void qcow2_check_free_tables(Qcow2Check *c);
/** Count the references of all L1 and L2 tables. */
int coroutine_fn qcow2_check_co_tables(Qcow2Check *c);

/* ---- check-shared.c ------------------------------------------------------------------------ */

/** Tell which tables of the window, whose references are all in, lie where something else does. */
void qcow2_check_find_shared(Qcow2Check *c);
/** Add them to the findings; with ->fix move them to places of their own. */
void coroutine_fn qcow2_repair_co_shared(Qcow2Check *c);

/* ---- check.c ------------------------------------------------------------------------------- */

typedef int coroutine_fn Qcow2CheckVisit(Qcow2Check *c, void *opaque);

/** Call @visit for each window with anything in it.  @tell: report what is found on the way. */
int coroutine_fn qcow2_check_co_windows(Qcow2Check *c, bool tell, Qcow2CheckVisit *visit,
                                        void *opaque);

/* ---- repair.c ------------------------------------------------------------------------------ */

/** A visit: lower leaked counts, raise those that are too low, as ->fix allows. */
int coroutine_fn qcow2_repair_co_counts(Qcow2Check *c, void *opaque);
/**
 * Write all refcounts anew, in new places, and switch to them by one write of the header.  The old
 * ones are leaked then.
 */
int coroutine_fn qcow2_repair_co_rebuild(Qcow2Check *c);
/** Compare COPIED flags with the counts on disk; mend them if ->fix allows. */
int coroutine_fn qcow2_repair_co_flags(Qcow2Check *c);
/** Count ->list_faults; with ->fix the list is written anew, without what is too much of it. */
int coroutine_fn qcow2_repair_co_snapshot_list(Qcow2Check *c);
/** Tell which guest ranges lie in clusters that something else uses, too, or nowhere. */
int coroutine_fn qcow2_repair_co_tell_affected(Qcow2Check *c);
/** Forget what is cached: the file was changed behind the caches. */
void coroutine_fn qcow2_repair_co_reset(Qcow2Check *c);

#endif
