/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kinds of objects that are event loops: iothread makes one, main-loop sets that of the program.
 */
#include "qemu/osdep.h"

#include "block/thread-pool.h"
#include "qapi/gen/qom-types.h"
#include "qapi/user-object.h"
#include "qemu/iothread.h"
#include "qmp-block.h"
#include "qobject/qnum.h"

/* ---- limits ---------------------------------------------------------------------------------- */

typedef struct Limit {
    const char *name;
    bool present;
    int64_t value;
} Limit;

static bool check_range(const Limit *limits, size_t n, Error **errp)
{
    for (size_t i = 0; i < n; i++) {
        if (limits[i].present && limits[i].value < 0) {
            error_setg(errp, "%s value must be in range [0, %" PRId64 "]", limits[i].name,
                       INT64_MAX);
            return false;
        }
    }
    return true;
}

/* ---- iothread -------------------------------------------------------------------------------- */

typedef struct IothreadObject {
    UserObject parent;
    IOThread *thread;
} IothreadObject;

static bool check_iothread(const IothreadProperties *p, Error **errp)
{
    const Limit limits[] = {
        { "poll-max-ns", p->has_poll_max_ns, p->poll_max_ns },
        { "poll-grow", p->has_poll_grow, p->poll_grow },
        { "poll-shrink", p->has_poll_shrink, p->poll_shrink },
        { "poll-weight", p->has_poll_weight, p->poll_weight },
        { "aio-max-batch", p->has_aio_max_batch, p->aio_max_batch },
        { "thread-pool-min", p->has_thread_pool_min, p->thread_pool_min },
        { "thread-pool-max", p->has_thread_pool_max, p->thread_pool_max },
    };
    if (!check_range(limits, ARRAY_SIZE(limits), errp)) {
        return false;
    }
    if (p->has_thread_pool_min || p->has_thread_pool_max) {
        error_setg(errp, "The workers serve all loops: thread-pool-min and thread-pool-max belong "
                   "to the main-loop object");
        return false;
    }
    return true;
}

/* What can be seen and changed. */
typedef struct IothreadParams {
    IOThreadPollParams poll;
    int64_t max_batch;
} IothreadParams;

static void get_params(IOThread *thread, IothreadParams *params)
{
    iothread_get_poll_params(thread, &params->poll);
    params->max_batch = aio_context_max_batch(iothread_get_aio_context(thread));
}

static void set_params(IOThread *thread, const IothreadParams *params)
{
    iothread_set_poll_params(thread, &params->poll);
    aio_context_set_max_batch(iothread_get_aio_context(thread), params->max_batch);
}

static bool iothread_object_create(UserObject *obj, const ObjectOptions *options, Error **errp)
{
    IothreadObject *self = (IothreadObject *)obj;
    const IothreadProperties *p = &options->u.iothread;
    IothreadParams params;
    if (!check_iothread(p, errp)) {
        return false;
    }
    self->thread = iothread_create(options->id, errp);
    if (!self->thread) {
        return false;
    }
    get_params(self->thread, &params);
    params.poll.max_ns = p->has_poll_max_ns ? p->poll_max_ns : params.poll.max_ns;
    params.poll.grow = p->has_poll_grow ? p->poll_grow : params.poll.grow;
    params.poll.shrink = p->has_poll_shrink ? p->poll_shrink : params.poll.shrink;
    params.poll.weight = p->has_poll_weight ? p->poll_weight : params.poll.weight;
    params.max_batch = p->aio_max_batch;
    set_params(self->thread, &params);
    return true;
}

static void iothread_object_destroy(UserObject *obj)
{
    /* An export may go on to use it, as with stock; the id is free at once. */
    iothread_hide(((IothreadObject *)obj)->thread);
    iothread_unref(((IothreadObject *)obj)->thread);
}

/* The one called @property, or NULL. */
static int64_t *find_param(IothreadParams *params, const char *property)
{
    const struct {
        const char *name;
        int64_t *value;
    } all[] = {
        { "poll-max-ns", &params->poll.max_ns },
        { "poll-grow", &params->poll.grow },
        { "poll-shrink", &params->poll.shrink },
        { "poll-weight", &params->poll.weight },
        { "aio-max-batch", &params->max_batch },
    };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        if (strcmp(all[i].name, property) == 0) {
            return all[i].value;
        }
    }
    return NULL;
}

static QObject *iothread_object_get(UserObject *obj, const char *property, Error **errp)
{
    IothreadParams params;
    get_params(((IothreadObject *)obj)->thread, &params);
    int64_t *value = find_param(&params, property);
    if (!value) {
        error_setg(errp, "Property 'iothread.%s' not found", property);
        return NULL;
    }
    return QOBJECT(qnum_from_int(*value));
}

static bool iothread_object_set(UserObject *obj, const char *property, QObject *value,
                                Error **errp)
{
    IOThread *thread = ((IothreadObject *)obj)->thread;
    IothreadParams params;
    get_params(thread, &params);
    int64_t *param = find_param(&params, property);
    QNum *number = qobject_to(QNum, value);
    int64_t wanted;
    if (!param) {
        error_setg(errp, "Property 'iothread.%s' not found", property);
        return false;
    }
    if (!number || !qnum_get_try_int(number, &wanted) || wanted < 0) {
        error_setg(errp, "%s value must be in range [0, %" PRId64 "]", property, INT64_MAX);
        return false;
    }
    *param = wanted;
    set_params(thread, &params);
    return true;
}

static const UserObjectProperty iothread_properties[] = {
    { "poll-max-ns", "int" },
    { "poll-grow", "int" },
    { "poll-shrink", "int" },
    { "poll-weight", "int" },
    { "aio-max-batch", "int" },
    { NULL, NULL },
};

static const UserObjectType iothread_type = {
    .name = "iothread",
    .size = sizeof(IothreadObject),
    .create = iothread_object_create,
    .destroy = iothread_object_destroy,
    .properties = iothread_properties,
    .get = iothread_object_get,
    .set = iothread_object_set,
};

/* ---- main-loop ------------------------------------------------------------------------------- */

#define DEFAULT_MAX_WORKERS 64

typedef struct MainLoopObject {
    UserObject parent;
    int64_t min_workers, max_workers;
} MainLoopObject;

/* At most one. */
static MainLoopObject *main_loop;

static bool set_workers(MainLoopObject *self, int64_t min, int64_t max, Error **errp)
{
    const Limit limits[] = {
        { "thread-pool-min", true, min },
        { "thread-pool-max", true, max },
    };
    if (!check_range(limits, ARRAY_SIZE(limits), errp)) {
        return false;
    }
    if (min > max || max == 0 || max > INT_MAX) {
        error_setg(errp, "bad thread-pool-min/thread-pool-max values");
        return false;
    }
    self->min_workers = min;
    self->max_workers = max;
    thread_pool_set_limits(min, max);
    return true;
}

static bool main_loop_object_create(UserObject *obj, const ObjectOptions *options, Error **errp)
{
    const MainLoopProperties *p = &options->u.main_loop;
    const Limit batch = { "aio-max-batch", p->has_aio_max_batch, p->aio_max_batch };
    if (main_loop) {
        error_setg(errp, "only one main-loop instance allowed");
        return false;
    }
    if (!check_range(&batch, 1, errp) ||
        !set_workers((MainLoopObject *)obj, p->has_thread_pool_min ? p->thread_pool_min : 0,
                     p->has_thread_pool_max ? p->thread_pool_max : DEFAULT_MAX_WORKERS, errp)) {
        return false;
    }
    aio_context_set_max_batch(qemu_get_aio_context(), p->aio_max_batch);
    main_loop = (MainLoopObject *)obj;
    return true;
}

static void main_loop_object_destroy(UserObject *obj)
{
    main_loop = NULL;
}

/* It stands for the loop, which stays. */
static bool main_loop_object_in_use(UserObject *obj)
{
    return true;
}

static QObject *main_loop_object_get(UserObject *obj, const char *property, Error **errp)
{
    const MainLoopObject *self = (MainLoopObject *)obj;
    if (strcmp(property, "thread-pool-min") == 0) {
        return QOBJECT(qnum_from_int(self->min_workers));
    }
    if (strcmp(property, "thread-pool-max") == 0) {
        return QOBJECT(qnum_from_int(self->max_workers));
    }
    if (strcmp(property, "aio-max-batch") == 0) {
        return QOBJECT(qnum_from_int(aio_context_max_batch(qemu_get_aio_context())));
    }
    error_setg(errp, "Property 'main-loop.%s' not found", property);
    return NULL;
}

static bool main_loop_object_set(UserObject *obj, const char *property, QObject *value,
                                 Error **errp)
{
    MainLoopObject *self = (MainLoopObject *)obj;
    bool is_min = strcmp(property, "thread-pool-min") == 0;
    bool is_batch = strcmp(property, "aio-max-batch") == 0;
    QNum *number = qobject_to(QNum, value);
    int64_t wanted;
    if (!is_min && !is_batch && strcmp(property, "thread-pool-max") != 0) {
        error_setg(errp, "Property 'main-loop.%s' not found", property);
        return false;
    }
    if (!number || !qnum_get_try_int(number, &wanted)) {
        error_setg(errp, "Invalid parameter type for '%s', expected: integer", property);
        return false;
    }
    if (is_batch) {
        const Limit batch = { property, true, wanted };
        if (!check_range(&batch, 1, errp)) {
            return false;
        }
        aio_context_set_max_batch(qemu_get_aio_context(), wanted);
        return true;
    }
    return set_workers(self, is_min ? wanted : self->min_workers,
                       is_min ? self->max_workers : wanted, errp);
}

static const UserObjectProperty main_loop_properties[] = {
    { "thread-pool-min", "int" },
    { "thread-pool-max", "int" },
    { "aio-max-batch", "int" },
    { NULL, NULL },
};

static const UserObjectType main_loop_type = {
    .name = "main-loop",
    .size = sizeof(MainLoopObject),
    .create = main_loop_object_create,
    .destroy = main_loop_object_destroy,
    .in_use = main_loop_object_in_use,
    .properties = main_loop_properties,
    .get = main_loop_object_get,
    .set = main_loop_object_set,
};

void loop_objects_register(void)
{
    user_object_register_type(&iothread_type);
    user_object_register_type(&main_loop_type);
}
