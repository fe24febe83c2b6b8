/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Throttle groups: limits that several users share.
 *
 * A group has a name and a configuration (qemu/bucket.h).  Its members take turns, so one with many
 * requests does not starve one with few; within a member and direction requests go in order.  What
 * may not start yet sleeps in the group; a timer of the main loop lets it go.
 *
 * - Groups are made by object-add (throttle-group), or by name where none exists (-drive, the
 *   command block_set_io_throttle); the latter live as long as somebody uses them.
 * - Life, names and configuration: main thread.  throttle_group_co_wait(): any thread.
 */
#ifndef BLOCK_THROTTLE_GROUP_H
#define BLOCK_THROTTLE_GROUP_H

#include "block/block.h"
#include "qapi/gen/qom-types.h"
#include "qemu/bucket.h"
#include "qemu/queue.h"
#include "qemu/timer.h"

typedef struct ThrottleGroup ThrottleGroup;
typedef struct ThrottleWaiter ThrottleWaiter;

/* One user of a group; embed it. */
typedef struct ThrottleMember {
    ThrottleGroup *group;
    /* Under the group's lock. */
    bool is_released; /* between release and hold: nobody waits */
    QTAILQ_HEAD(, ThrottleWaiter) waiters[THROTTLE_MAX];
    QTAILQ_ENTRY(ThrottleMember) next;
} ThrottleMember;

/* ---- groups ---------------------------------------------------------------------------------- */

/** The group called @name, with a reference; NULL with @errp set if there is none. */
ThrottleGroup *throttle_group_use(const char *name, Error **errp);
/** The same, making one without limits if there is none. */
ThrottleGroup *throttle_group_use_or_new(const char *name);
/** Drop a reference; the last one frees the group.  Main thread. */
void throttle_group_unref(ThrottleGroup *group);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ThrottleGroup, throttle_group_unref)

/** Its name, as long as @group lives. */
const char *throttle_group_name(const ThrottleGroup *group);

/** Use @cfg, which is valid, from now on; whoever need not wait any more goes. */
void throttle_group_set_config(ThrottleGroup *group, const ThrottleConfig *cfg);
/** A copy of what is in force. */
void throttle_group_get_config(ThrottleGroup *group, ThrottleConfig *cfg);

/** @limits over @cfg: members that are given replace what is there.  Checks the result. */
bool throttle_limits_apply(const ThrottleLimits *limits, ThrottleConfig *cfg, Error **errp);

/** Make object-add know the type throttle-group. */
void throttle_group_register_type(void);

/** For tests: the clock of groups made from now on. */
void throttle_group_set_clock(QEMUClockType clock);

/* ---- members --------------------------------------------------------------------------------- */

/** Join @group, taking the caller's reference. */
void throttle_member_init(ThrottleMember *member, ThrottleGroup *group);
/** Leave; nobody of @member waits. */
void throttle_member_done(ThrottleMember *member);

/** Wait until a request of @bytes may start, and account it. */
void coroutine_fn throttle_group_co_wait(ThrottleMember *member, ThrottleDirection direction,
                                         int64_t bytes);

/** Let go of all who wait, and make nobody wait until throttle_member_hold().  Does not wait. */
void throttle_member_release(ThrottleMember *member);
/** Limits count again. */
void throttle_member_hold(ThrottleMember *member);

/* ---- the filter that -drive and block_set_io_throttle put over a drive's node ---------------- */

/**
 * An implicit throttle node in @group (the caller's reference is taken) over @below; not yet used
 * by anybody.  Context: control lock.
 */
BlockDriverState *coroutine_fn throttle_filter_co_open(BlockDriverState *below,
                                                       ThrottleGroup *group, Error **errp);
/** @bs if it is such a node, else NULL. */
BlockDriverState *throttle_filter_cast(BlockDriverState *bs);
ThrottleGroup *throttle_filter_group(BlockDriverState *filter);
/** Move to another group (the caller's reference is taken).  Context: control lock. */
void coroutine_fn throttle_filter_co_set_group(BlockDriverState *filter, ThrottleGroup *group);

#endif
