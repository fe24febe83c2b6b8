/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects that are monitors: monitor-qmp and monitor-hmp.  The object holds a session; whichever
 * ends first tells the other.
 */
#include "qemu/osdep.h"
#include "monitor-int.h"

#include "qapi/gen/qom-types.h"
#include "qapi/user-object.h"
#include "qemu/main-loop.h"
#include "qobject/qbool.h"
#include "qobject/qstring.h"

typedef struct MonitorObject {
    UserObject parent;
    Monitor *mon;            /* NULL: the program ends, and has ended it */
    char *chardev;
    bool mode;               /* QMP: is it pretty?  HMP: does it have readline? */
    MonitorCloseAction close_action;
    bool must_go;            /* its client has gone, and it is to follow */
} MonitorObject;

/* Begin the session. */
static bool begin(MonitorObject *self, const char *chardev, bool mode,
                  Monitor *(*session_new)(Chardev *chr, bool mode, Error **errp), Error **errp)
{
    Chardev *chr = monitor_find_chardev(chardev, errp);
    Monitor *mon = chr ? session_new(chr, mode, errp) : NULL;

    if (!mon) {
        return false;
    }
    self->mon = mon;
    self->chardev = g_strdup(chardev);
    self->mode = mode;
    mon->object = self;
    return true;
}

void monitor_object_lost(MonitorObject *object)
{
    object->mon = NULL;
}

static void object_destroy(UserObject *obj)
{
    MonitorObject *self = (MonitorObject *)obj;

    if (self->mon) {
        self->mon->object = NULL;
        monitor_retire(self->mon);
    }
    g_free(self->chardev);
}

static bool has_property(const UserObjectType *type, const char *name)
{
    const UserObjectProperty *p = type->properties;

    while (p->name && strcmp(p->name, name)) {
        p++;
    }
    return p->name;
}

static QObject *object_get(UserObject *obj, const char *property, Error **errp)
{
    const MonitorObject *self = (MonitorObject *)obj;

    if (!has_property(obj->type, property)) {
        return NULL;
    }
    if (!strcmp(property, "chardev")) {
        return QOBJECT(qstring_from_str(self->chardev));
    }
    if (!strcmp(property, "close-action")) {
        return QOBJECT(qstring_from_str(MonitorCloseAction_str(self->close_action)));
    }
    return QOBJECT(qbool_from_bool(self->mode));
}

/* ---- monitor-qmp ----------------------------------------------------------------------------- */

static bool qmp_object_create(UserObject *obj, const ObjectOptions *options, Error **errp)
{
    MonitorObject *self = (MonitorObject *)obj;
    const MonitorQmpProperties *p = &options->u.monitor_qmp;

    self->close_action = p->has_close_action ? p->close_action : MONITOR_CLOSE_ACTION_NONE;
    return begin(self, p->chardev, p->has_pretty && p->pretty, monitor_new_qmp, errp);
}

static const UserObjectProperty qmp_properties[] = {
    { "chardev", "string" },
    { "pretty", "bool" },
    { "close-action", "MonitorCloseAction" },
    { NULL, NULL },
};

static const UserObjectType qmp_type = {
    .name = "monitor-qmp",
    .size = sizeof(MonitorObject),
    .create = qmp_object_create,
    .destroy = object_destroy,
    .is_late = true,
    .properties = qmp_properties,
    .get = object_get,
};

static void find_leaving(UserObject *obj, void *opaque)
{
    const UserObject **found = opaque;

    if (obj->type == &qmp_type && ((MonitorObject *)obj)->must_go) {
        *found = obj;
    }
}

static void delete_leaving(void *opaque)
{
    for (;;) {
        const UserObject *obj = NULL;

        user_object_foreach(find_leaving, &obj);
        if (!obj) {
            return;
        }
        user_object_del(obj->id, &error_abort);
    }
}

void monitor_object_client_gone(Monitor *mon)
{
    if (mon->object && mon->object->close_action == MONITOR_CLOSE_ACTION_DELETE) {
        mon->object->must_go = true;
        /* Not now: the device is in the midst of telling its user. */
        aio_bh_schedule_oneshot(qemu_get_aio_context(), delete_leaving, NULL);
    }
}

/* ---- monitor-hmp ----------------------------------------------------------------------------- */

static bool hmp_object_create(UserObject *obj, const ObjectOptions *options, Error **errp)
{
    const MonitorHmpProperties *p = &options->u.monitor_hmp;

    return begin((MonitorObject *)obj, p->chardev, !p->has_readline || p->readline,
                 monitor_new_hmp, errp);
}

static const UserObjectProperty hmp_properties[] = {
    { "chardev", "string" },
    { "readline", "bool" },
    { NULL, NULL },
};

static const UserObjectType hmp_type = {
    .name = "monitor-hmp",
    .size = sizeof(MonitorObject),
    .create = hmp_object_create,
    .destroy = object_destroy,
    .is_late = true,
    .properties = hmp_properties,
    .get = object_get,
};

void monitor_register_objects(bool allow_hmp)
{
    user_object_register_type(&qmp_type);
    if (allow_hmp) {
        user_object_register_type(&hmp_type);
    }
}
