/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects that users make: object-add and object-del, and the kinds the block layer offers.
 */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/throttle-group.h"
#include "crypto/secret.h"
#include "qapi/gen/qom-commands.h"
#include "qapi/object-tree.h"
#include "qapi/user-object.h"
#include "qemu/iothread.h"
#include "qmp-block.h"
#include "qobject/qnum.h"

/* ---- iothread -------------------------------------------------------------------------------- */

typedef struct IothreadObject {
    UserObject parent;
    IOThread *thread;
} IothreadObject;

static bool check_limits(const IothreadProperties *p, Error **errp)
{
    const struct {
        const char *name;
        bool present;
        int64_t value;
    } limits[] = {
        { "poll-max-ns", p->has_poll_max_ns, p->poll_max_ns },
        { "poll-grow", p->has_poll_grow, p->poll_grow },
        { "poll-shrink", p->has_poll_shrink, p->poll_shrink },
        { "aio-max-batch", p->has_aio_max_batch, p->aio_max_batch },
        { "thread-pool-min", p->has_thread_pool_min, p->thread_pool_min },
        { "thread-pool-max", p->has_thread_pool_max, p->thread_pool_max },
    };
    for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
        if (limits[i].present && limits[i].value < 0) {
            error_setg(errp, "%s value must be in range [0, %" PRId64 "]", limits[i].name,
                       INT64_MAX);
            return false;
        }
    }
    /* The pool of workers and the batches belong to the process, not to one loop. */
    if (p->has_thread_pool_min || p->has_thread_pool_max || p->aio_max_batch) {
        error_setg(errp, "Properties thread-pool-min, thread-pool-max and aio-max-batch cannot be "
                   "set for one iothread");
        return false;
    }
    return true;
}

static bool iothread_object_create(UserObject *obj, const ObjectOptions *options, Error **errp)
{
    IothreadObject *self = (IothreadObject *)obj;
    const IothreadProperties *p = &options->u.iothread;
    IOThreadPollParams poll;
    if (!check_limits(p, errp)) {
        return false;
    }
    self->thread = iothread_create(options->id, errp);
    if (!self->thread) {
        return false;
    }
    iothread_get_poll_params(self->thread, &poll);
    poll.max_ns = p->has_poll_max_ns ? p->poll_max_ns : poll.max_ns;
    poll.grow = p->has_poll_grow ? p->poll_grow : poll.grow;
    poll.shrink = p->has_poll_shrink ? p->poll_shrink : poll.shrink;
    iothread_set_poll_params(self->thread, &poll);
    return true;
}

static void iothread_object_destroy(UserObject *obj)
{
    /* An export may go on to use it, as with stock; the id is free at once. */
    iothread_hide(((IothreadObject *)obj)->thread);
    iothread_unref(((IothreadObject *)obj)->thread);
}

/* The poll parameter called @property in @poll, or NULL. */
static int64_t *poll_param(IOThreadPollParams *poll, const char *property)
{
    if (strcmp(property, "poll-max-ns") == 0) {
        return &poll->max_ns;
    }
    if (strcmp(property, "poll-grow") == 0) {
        return &poll->grow;
    }
    return strcmp(property, "poll-shrink") == 0 ? &poll->shrink : NULL;
}

static QObject *iothread_object_get(UserObject *obj, const char *property, Error **errp)
{
    IOThreadPollParams poll;
    iothread_get_poll_params(((IothreadObject *)obj)->thread, &poll);
    int64_t *value = poll_param(&poll, property);
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
    IOThreadPollParams poll;
    iothread_get_poll_params(thread, &poll);
    int64_t *param = poll_param(&poll, property);
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
    iothread_set_poll_params(thread, &poll);
    return true;
}

static const UserObjectProperty iothread_properties[] = {
    { "poll-max-ns", "int" },
    { "poll-grow", "int" },
    { "poll-shrink", "int" },
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

void block_objects_register(void)
{
    user_object_register_type(&iothread_type);
    throttle_group_register_type();
    crypto_secret_register_type();
    user_object_register_branch();
}

/* ---- commands -------------------------------------------------------------------------------- */

void coroutine_fn qmp_object_add(ObjectOptions *arg, Error **errp)
{
    user_object_add(arg, errp);
}

void coroutine_fn qmp_object_del(const char *id, Error **errp)
{
    user_object_del(id, errp);
}

ObjectPropertyInfoList *coroutine_fn qmp_qom_list(const char *path, Error **errp)
{
    return object_tree_list(path, errp);
}

QObject *coroutine_fn qmp_qom_get(const char *path, const char *property, Error **errp)
{
    return object_tree_get(path, property, errp);
}

void coroutine_fn qmp_qom_set(const char *path, const char *property, QObject *value,
                              Error **errp)
{
    object_tree_set(path, property, value, errp);
}

ObjectTypeInfoList *coroutine_fn qmp_qom_list_types(const char *implements, bool has_abstract,
                                                    bool abstract, Error **errp)
{
    return object_tree_types(implements, has_abstract && abstract);
}

ObjectPropertyInfoList *coroutine_fn qmp_qom_list_properties(const char *type, Error **errp)
{
    return object_tree_type_properties(type, errp);
}
