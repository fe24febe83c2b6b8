/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by mirror.c (the job) and mirror-create.c (what its creators may ask for).
 */
#ifndef BLOCK_JOB_MIRROR_H
#define BLOCK_JOB_MIRROR_H

#include "copying.h"

#define MIRROR_MAX_WORKERS 16

/* What is to be copied when the job begins. */
typedef enum MirrorFirst {
    MIRROR_FIRST_ALL,
    MIRROR_FIRST_ALLOCATED, /* from the source down to bottom */
    MIRROR_FIRST_NONZERO,   /* what the whole chain does not know to be zeroes */
    MIRROR_FIRST_NOTHING,
} MirrorFirst;

/* Checked arguments; nodes and strings are borrowed. */
typedef struct MirrorSetup {
    BlockJobArgs job; /* all but the driver */
    BlockDriverState *source, *target;
    const char *filter_node_name, *replaces; /* or NULL */
    MirrorFirst first;
    BlockDriverState *bottom;  /* with MIRROR_FIRST_ALLOCATED: the last that counts; NULL: all */
    MirrorBackingMode backing_mode;
    BlockDriverState *backing; /* with MIRROR_SOURCE_BACKING, or NULL: none */
    bool is_commit, empties_source;
    bool in_order;             /* what is there at first is written from start to end */
    bool share;                /* blocks, by the files of the host, instead of copying */
    MirrorCopyMode copy_mode;
    uint32_t granularity;
    int64_t buf_size;
    bool keep_allocated;
    BlockdevOnError on_source_error, on_target_error;
} MirrorSetup;

typedef struct MirrorJob {
    BlockJob common;
    BlockDriverState *filter;          /* mirror_top, a reference; NULL: out of the graph */
    BlockDriverState *source, *target; /* references */
    BlockDriverState *bottom;          /* a reference, or NULL */
    BlockDriverState *backing;         /* a reference, or NULL */
    BlockDriverState *to_replace;      /* a reference, or NULL: source */
    MirrorBackingMode backing_mode;
    char *replaces; /* or NULL */
    bool is_commit;
    MirrorFirst first;
    bool empties_source; /* when completed, instead of letting the target take its place */
    bool target_was_read_only;
    bool should_complete, has_pivoted;
    BlockCopyState *state; /* the filter's */
    JobCopying copying;
} MirrorJob;

/** Would users of @bs see the same if @to_replace were replaced by a copy of @bs? */
bool mirror_can_replace(BlockDriverState *bs, BlockDriverState *to_replace);

/** Make the job.  Control lock. */
BlockJob *coroutine_fn mirror_job_co_begin(const MirrorSetup *setup, Error **errp);

#endif
