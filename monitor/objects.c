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
    bool is_pretty;          /* QMP */
    MonitorCloseAction close_action;
    bool must_go;            /* its client has gone, and it is to follow */
    bool has_readline;       /* HMP */
} MonitorObject;

static void own(MonitorObject *self, Monitor *mon, const char *chardev)
{
    self->mon = mon;
    self->chardev = g_strdup(chardev);
    mon->object = self;
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

/* ---- monitor-qmp ----------------------------------------------------------------------------- */

static bool qmp_object_create(UserObject *obj, const ObjectOptions *options, Error **errp)
{
    MonitorObject *self = (MonitorObject *)obj;
    const MonitorQmpProperties *p = &options->u.monitor_qmp;
    Chardev *chr = monitor_find_chardev(p->chardev, errp);
    Monitor *mon;

    self->is_pretty = p->has_pretty && p->pretty;
    self->close_action = p->has_close_action ? p->close_action : MONITOR_CLOSE_ACTION_NONE;
    mon = chr ? monitor_new_qmp(chr, self->is_pretty, errp) : NULL;
    if (!mon) {
        return false;
    }
    own(self, mon, p->chardev);
    return true;
}

static QObject *qmp_object_get(UserObject *obj, const char *property, Error **errp)
{
    const MonitorObject *self = (MonitorObject *)obj;

    if (!strcmp(property, "chardev")) {
        return QOBJECT(qstring_from_str(self->chardev));
    }
    if (!strcmp(property, "pretty")) {
        return QOBJECT(qbool_from_bool(self->is_pretty));
    }
    if (!strcmp(property, "close-action")) {
        return QOBJECT(qstring_from_str(MonitorCloseAction_str(self->close_action)));
    }
    return NULL;
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
    .get = qmp_object_get,
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
    MonitorObject *self = (MonitorObject *)obj;
    const MonitorHmpProperties *p = &options->u.monitor_hmp;
    Chardev *chr = monitor_find_chardev(p->chardev, errp);
    Monitor *mon;

    self->has_readline = !p->has_readline || p->readline;
    mon = chr ? monitor_new_hmp(chr, self->has_readline, errp) : NULL;
    if (!mon) {
        return false;
    }
    own(self, mon, p->chardev);
    return true;
}

static QObject *hmp_object_get(UserObject *obj, const char *property, Error **errp)
{
    const MonitorObject *self = (MonitorObject *)obj;

    if (!strcmp(property, "chardev")) {
        return QOBJECT(qstring_from_str(self->chardev));
    }
    if (!strcmp(property, "readline")) {
        return QOBJECT(qbool_from_bool(self->has_readline));
    }
    return NULL;
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
    .get = hmp_object_get,
};

void monitor_register_objects(bool allow_hmp)
{
    user_object_register_type(&qmp_type);
    if (allow_hmp) {
        user_object_register_type(&hmp_type);
    }
}
