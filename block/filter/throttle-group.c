/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Throttle groups: who may start, in which order (throttle-group.h); and the object type.
 *
 * Per direction there is one timer.  Whoever finds nobody waiting and no need to wait passes; else
 * it queues in its member.  The timer fires when the first may go; members are served round-robin.
 * Waiters are woken after the group's lock is released, since waking may run them at once.
 */
#include "qemu/osdep.h"

#include "block/throttle-group.h"

#include "block/aio.h"
#include "qapi/gen/qom-visit.h"
#include "qapi/object-input.h"
#include "qapi/object-output.h"
#include "qapi/user-object.h"
#include "qemu/lockable.h"
#include "qemu/thread.h"
#include "qobject/qnum.h"

typedef QTAILQ_HEAD(ThrottleWaiterList, ThrottleWaiter) ThrottleWaiterList;

/* A request that may not start yet; on its coroutine's stack. */
struct ThrottleWaiter {
    Coroutine *co;
    int64_t bytes;
    QTAILQ_ENTRY(ThrottleWaiter) next;
};

/* One direction of a group. */
typedef struct Lane {
    ThrottleGroup *group;
    ThrottleDirection direction;
    unsigned n_waiters;
    QEMUTimer timer;
} Lane;

struct ThrottleGroup {
    char *name;
    unsigned refs;       /* main thread */
    bool is_object;      /* main thread: made by object-add */
    QEMUClockType clock;
    QTAILQ_ENTRY(ThrottleGroup) next_group;

    QemuMutex lock;      /* for all that follows */
    ThrottleState state;
    Lane lanes[THROTTLE_MAX];
    QTAILQ_HEAD(, ThrottleMember) members; /* whose turn it is comes first */
};

static QTAILQ_HEAD(, ThrottleGroup) groups = QTAILQ_HEAD_INITIALIZER(groups);
static QEMUClockType clock_of_new_groups = QEMU_CLOCK_REALTIME;

/* ---- who goes next --------------------------------------------------------------------------- */

/* The first waiter of the member whose turn it is; that one goes to the end of the round. */
static ThrottleWaiter *take_next(Lane *lane)
{
    ThrottleGroup *group = lane->group;
    ThrottleMember *member;

    QTAILQ_FOREACH(member, &group->members, next) {
        ThrottleWaiter *waiter = QTAILQ_FIRST(&member->waiters[lane->direction]);

        if (waiter) {
            QTAILQ_REMOVE(&member->waiters[lane->direction], waiter, next);
            lane->n_waiters--;
            QTAILQ_REMOVE(&group->members, member, next);
            QTAILQ_INSERT_TAIL(&group->members, member, next);
            return waiter;
        }
    }
    return NULL;
}

/* Under the lock: move all who may start now to @ready; set the timer for the others. */
static void collect_ready(Lane *lane, ThrottleWaiterList *ready)
{
    ThrottleGroup *group = lane->group;

    while (lane->n_waiters) {
        int64_t now = qemu_clock_get_ns(group->clock);
        int64_t wait_ns = throttle_wait_ns(&group->state, lane->direction, now);
        ThrottleWaiter *waiter;

        if (wait_ns > 0) {
            timer_mod_ns(&lane->timer, now + wait_ns);
            return;
        }
        waiter = take_next(lane);
        throttle_account(&group->state, lane->direction, waiter->bytes);
        QTAILQ_INSERT_TAIL(ready, waiter, next);
    }
    timer_del(&lane->timer);
}

/* Without the lock. */
static void wake(ThrottleWaiterList *ready)
{
    ThrottleWaiter *waiter, *after;

    /* A record vanishes as soon as its coroutine runs. */
    QTAILQ_FOREACH_SAFE(waiter, ready, next, after) {
        aio_co_wake(waiter->co);
    }
}

static void lane_timer_cb(void *opaque)
{
    Lane *lane = opaque;
    ThrottleWaiterList ready = QTAILQ_HEAD_INITIALIZER(ready);

    qemu_mutex_lock(&lane->group->lock);
    collect_ready(lane, &ready);
    qemu_mutex_unlock(&lane->group->lock);
    wake(&ready);
}

void coroutine_fn throttle_group_co_wait(ThrottleMember *member, ThrottleDirection direction,
                                         int64_t bytes)
{
    ThrottleGroup *group = member->group;
    Lane *lane = &group->lanes[direction];
    ThrottleWaiter me = { .co = qemu_coroutine_self(), .bytes = bytes };
    int64_t now, wait_ns;

    qemu_mutex_lock(&group->lock);
    now = qemu_clock_get_ns(group->clock);
    wait_ns = throttle_wait_ns(&group->state, direction, now);
    if (member->is_released || (wait_ns == 0 && !lane->n_waiters)) {
        throttle_account(&group->state, direction, bytes);
        qemu_mutex_unlock(&group->lock);
        return;
    }
    QTAILQ_INSERT_TAIL(&member->waiters[direction], &me, next);
    if (lane->n_waiters++ == 0) {
        timer_mod_ns(&lane->timer, now + wait_ns);
    }
    qemu_mutex_unlock(&group->lock);
    /* Woken from another thread before this yields, it goes on after it has. */
    qemu_coroutine_yield();
}

/* ---- members --------------------------------------------------------------------------------- */

void throttle_member_init(ThrottleMember *member, ThrottleGroup *group)
{
    *member = (ThrottleMember){ .group = group };
    for (int dir = 0; dir < THROTTLE_MAX; dir++) {
        QTAILQ_INIT(&member->waiters[dir]);
    }
    QEMU_LOCK_GUARD(&group->lock);
    QTAILQ_INSERT_TAIL(&group->members, member, next);
}

void throttle_member_done(ThrottleMember *member)
{
    ThrottleGroup *group = member->group;

    qemu_mutex_lock(&group->lock);
    for (int dir = 0; dir < THROTTLE_MAX; dir++) {
        assert(QTAILQ_EMPTY(&member->waiters[dir]));
    }
    QTAILQ_REMOVE(&group->members, member, next);
    qemu_mutex_unlock(&group->lock);
    throttle_group_unref(group);
}

void throttle_member_release(ThrottleMember *member)
{
    ThrottleGroup *group = member->group;
    ThrottleWaiterList ready = QTAILQ_HEAD_INITIALIZER(ready);

    qemu_mutex_lock(&group->lock);
    member->is_released = true;
    for (int dir = 0; dir < THROTTLE_MAX; dir++) {
        ThrottleWaiter *waiter;

        /* They are accounted: the others of the group wait for it. */
        while ((waiter = QTAILQ_FIRST(&member->waiters[dir]))) {
            QTAILQ_REMOVE(&member->waiters[dir], waiter, next);
            group->lanes[dir].n_waiters--;
            throttle_account(&group->state, dir, waiter->bytes);
            QTAILQ_INSERT_TAIL(&ready, waiter, next);
        }
    }
    qemu_mutex_unlock(&group->lock);
    wake(&ready);
}

void throttle_member_hold(ThrottleMember *member)
{
    QEMU_LOCK_GUARD(&member->group->lock);
    member->is_released = false;
}

/* ---- groups ---------------------------------------------------------------------------------- */

static ThrottleGroup *group_find(const char *name)
{
    ThrottleGroup *group;

    QTAILQ_FOREACH(group, &groups, next_group) {
        if (strcmp(group->name, name) == 0) {
            return group;
        }
    }
    return NULL;
}

/* With one reference. */
static ThrottleGroup *group_new(const char *name)
{
    ThrottleGroup *group = g_new0(ThrottleGroup, 1);

    group->name = g_strdup(name);
    group->refs = 1;
    group->clock = clock_of_new_groups;
    qemu_mutex_init(&group->lock);
    QTAILQ_INIT(&group->members);
    throttle_init(&group->state, qemu_clock_get_ns(group->clock));
    for (int dir = 0; dir < THROTTLE_MAX; dir++) {
        Lane *lane = &group->lanes[dir];

        lane->group = group;
        lane->direction = dir;
        aio_timer_init(qemu_get_aio_context(), &lane->timer, group->clock, SCALE_NS,
                       lane_timer_cb, lane);
    }
    QTAILQ_INSERT_TAIL(&groups, group, next_group);
    return group;
}

ThrottleGroup *throttle_group_use(const char *name, Error **errp)
{
    ThrottleGroup *group = group_find(name);

    if (!group) {
        error_setg(errp, "Throttle group '%s' does not exist", name);
        return NULL;
    }
    group->refs++;
    return group;
}

ThrottleGroup *throttle_group_use_or_new(const char *name)
{
    ThrottleGroup *group = throttle_group_use(name, NULL);

    return group ? group : group_new(name);
}

void throttle_group_unref(ThrottleGroup *group)
{
    if (--group->refs) {
        return;
    }
    assert(QTAILQ_EMPTY(&group->members));
    for (int dir = 0; dir < THROTTLE_MAX; dir++) {
        timer_del(&group->lanes[dir].timer);
    }
    QTAILQ_REMOVE(&groups, group, next_group);
    qemu_mutex_destroy(&group->lock);
    g_free(group->name);
    g_free(group);
}

const char *throttle_group_name(const ThrottleGroup *group)
{
    return group->name;
}

void throttle_group_set_config(ThrottleGroup *group, const ThrottleConfig *cfg)
{
    ThrottleWaiterList ready = QTAILQ_HEAD_INITIALIZER(ready);

    qemu_mutex_lock(&group->lock);
    throttle_set_config(&group->state, cfg, qemu_clock_get_ns(group->clock));
    for (int dir = 0; dir < THROTTLE_MAX; dir++) {
        collect_ready(&group->lanes[dir], &ready);
    }
    qemu_mutex_unlock(&group->lock);
    wake(&ready);
}

void throttle_group_get_config(ThrottleGroup *group, ThrottleConfig *cfg)
{
    QEMU_LOCK_GUARD(&group->lock);
    throttle_get_config(&group->state, cfg);
}

void throttle_group_set_clock(QEMUClockType clock)
{
    clock_of_new_groups = clock;
}

/* ---- limits as users write them -------------------------------------------------------------- */

typedef enum LimitPart { LIMIT_AVG, LIMIT_MAX, LIMIT_LENGTH, LIMIT_OP_SIZE } LimitPart;

/* A member of ThrottleLimits, and of ThrottleGroupProperties with x- before its name. */
typedef struct LimitField {
    const char *name;
    ThrottleBucket bucket;
    LimitPart part;
    size_t has, value;     /* offsets in ThrottleLimits */
    size_t x_has, x_value; /* offsets in ThrottleGroupProperties */
} LimitField;

#define FIELD(label, bucket_, part_, member) \
    { label, bucket_, part_, offsetof(ThrottleLimits, has_##member), \
      offsetof(ThrottleLimits, member), offsetof(ThrottleGroupProperties, has_x_##member), \
      offsetof(ThrottleGroupProperties, x_##member) }
#define FIELDS(label, bucket, member) \
    FIELD(label, bucket, LIMIT_AVG, member), \
    FIELD(label "-max", bucket, LIMIT_MAX, member##_max), \
    FIELD(label "-max-length", bucket, LIMIT_LENGTH, member##_max_length)

static const LimitField limit_fields[] = {
    FIELDS("iops-total", THROTTLE_OPS_TOTAL, iops_total),
    FIELDS("iops-read", THROTTLE_OPS_READ, iops_read),
    FIELDS("iops-write", THROTTLE_OPS_WRITE, iops_write),
    FIELDS("bps-total", THROTTLE_BPS_TOTAL, bps_total),
    FIELDS("bps-read", THROTTLE_BPS_READ, bps_read),
    FIELDS("bps-write", THROTTLE_BPS_WRITE, bps_write),
    FIELD("iops-size", THROTTLE_OPS_TOTAL, LIMIT_OP_SIZE, iops_size),
};

static uint64_t *field_in_config(const LimitField *field, ThrottleConfig *cfg)
{
    LeakyBucket *bucket = &cfg->buckets[field->bucket];

    switch (field->part) {
    case LIMIT_AVG:
        return &bucket->avg;
    case LIMIT_MAX:
        return &bucket->max;
    case LIMIT_LENGTH:
        return &bucket->burst_length;
    default:
        return &cfg->op_size;
    }
}

/* A negative number becomes a huge one, which throttle_is_valid() refuses where it matters. */
static bool apply_field(const LimitField *field, int64_t value, ThrottleConfig *cfg, Error **errp)
{
    if (value < 0 && (field->part == LIMIT_LENGTH || field->part == LIMIT_OP_SIZE)) {
        error_setg(errp, "%s value must be in the range [0, %" PRId64 "]", field->name, INT64_MAX);
        return false;
    }
    *field_in_config(field, cfg) = value;
    return true;
}

static bool apply_limits(const ThrottleLimits *limits, ThrottleConfig *cfg, Error **errp)
{
    for (size_t i = 0; i < ARRAY_SIZE(limit_fields); i++) {
        const LimitField *field = &limit_fields[i];

        if (*(const bool *)((const char *)limits + field->has) &&
            !apply_field(field, *(const int64_t *)((const char *)limits + field->value), cfg,
                         errp)) {
            return false;
        }
    }
    return true;
}

bool throttle_limits_apply(const ThrottleLimits *limits, ThrottleConfig *cfg, Error **errp)
{
    return apply_limits(limits, cfg, errp) && throttle_is_valid(cfg, errp);
}

static bool apply_x_properties(const ThrottleGroupProperties *p, ThrottleConfig *cfg, Error **errp)
{
    for (size_t i = 0; i < ARRAY_SIZE(limit_fields); i++) {
        const LimitField *field = &limit_fields[i];

        if (*(const bool *)((const char *)p + field->x_has) &&
            !apply_field(field, *(const int64_t *)((const char *)p + field->x_value), cfg, errp)) {
            return false;
        }
    }
    return true;
}

static void limits_from_config(ThrottleConfig *cfg, ThrottleLimits *limits)
{
    for (size_t i = 0; i < ARRAY_SIZE(limit_fields); i++) {
        const LimitField *field = &limit_fields[i];

        *(bool *)((char *)limits + field->has) = true;
        *(int64_t *)((char *)limits + field->value) = *field_in_config(field, cfg);
    }
}

/* ---- the object type ------------------------------------------------------------------------- */

typedef struct ThrottleObject {
    UserObject parent;
    ThrottleGroup *group;
} ThrottleObject;

static bool throttle_object_create(UserObject *obj, const ObjectOptions *options, Error **errp)
{
    const ThrottleGroupProperties *p = &options->u.throttle_group;
    ThrottleConfig cfg;

    if (group_find(options->id)) {
        error_setg(errp, "A group with this name already exists");
        return false;
    }
    throttle_config_init(&cfg);
    if ((p->limits && !apply_limits(p->limits, &cfg, errp)) ||
        !apply_x_properties(p, &cfg, errp) || !throttle_is_valid(&cfg, errp)) {
        return false;
    }
    ((ThrottleObject *)obj)->group = group_new(options->id);
    throttle_group_set_config(((ThrottleObject *)obj)->group, &cfg);
    return true;
}

/* Users of the group keep it: object-del is refused before. */
static bool throttle_object_in_use(UserObject *obj)
{
    return ((ThrottleObject *)obj)->group->refs > 1;
}

static void throttle_object_destroy(UserObject *obj)
{
    throttle_group_unref(((ThrottleObject *)obj)->group);
}

static const LimitField *find_x_field(const char *property)
{
    for (size_t i = 0; i < ARRAY_SIZE(limit_fields); i++) {
        if (g_str_has_prefix(property, "x-") && strcmp(property + 2, limit_fields[i].name) == 0) {
            return &limit_fields[i];
        }
    }
    return NULL;
}

static QObject *throttle_object_get(UserObject *obj, const char *property, Error **errp)
{
    const LimitField *field = find_x_field(property);
    g_autoptr(Visitor) v = NULL;
    ThrottleLimits limits = { 0 }, *to_visit = &limits;
    ThrottleConfig cfg;
    QObject *result = NULL;

    throttle_group_get_config(((ThrottleObject *)obj)->group, &cfg);
    if (field) {
        return QOBJECT(qnum_from_int(*field_in_config(field, &cfg)));
    }
    if (strcmp(property, "limits") != 0) {
        error_setg(errp, "Property 'throttle-group.%s' not found", property);
        return NULL;
    }
    limits_from_config(&cfg, &limits);
    v = qobject_output_visitor_new(&result);
    visit_type_ThrottleLimits(v, "limits", &to_visit, &error_abort);
    visit_complete(v, &result);
    return result;
}

static bool throttle_object_set(UserObject *obj, const char *property, QObject *value, Error **errp)
{
    g_autoptr(Visitor) v = NULL;
    g_autoptr(ThrottleLimits) limits = NULL;
    ThrottleConfig cfg;

    if (find_x_field(property)) {
        error_setg(errp, "Property cannot be set after initialization");
        return false;
    }
    if (strcmp(property, "limits") != 0) {
        error_setg(errp, "Property 'throttle-group.%s' not found", property);
        return false;
    }
    throttle_group_get_config(((ThrottleObject *)obj)->group, &cfg);
    v = qobject_input_visitor_new(value);
    if (!visit_type_ThrottleLimits(v, "limits", &limits, errp) ||
        !throttle_limits_apply(limits, &cfg, errp)) {
        return false;
    }
    throttle_group_set_config(((ThrottleObject *)obj)->group, &cfg);
    return true;
}

static const UserObjectProperty throttle_object_properties[] = {
    { "limits", "ThrottleLimits" },
    { NULL, NULL },
};

static const UserObjectType throttle_object_type = {
    .name = "throttle-group",
    .size = sizeof(ThrottleObject),
    .create = throttle_object_create,
    .destroy = throttle_object_destroy,
    .in_use = throttle_object_in_use,
    .properties = throttle_object_properties,
    .get = throttle_object_get,
    .set = throttle_object_set,
};

void throttle_group_register_type(void)
{
    user_object_register_type(&throttle_object_type);
}
