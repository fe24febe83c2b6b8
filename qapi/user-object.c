/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qapi/gen/qom-visit.h"
#include "qapi/object-input.h"
#include "qapi/user-object.h"
#include "qemu/cutils.h"

/* Main thread only; both in order of registration or creation. */
static GPtrArray *types;
static GPtrArray *objects;

void user_object_register_type(const UserObjectType *type)
{
    assert(type->size >= sizeof(UserObject) && !user_object_find_type(type->name));
    if (!types) {
        types = g_ptr_array_new();
    }
    g_ptr_array_add(types, (gpointer)type);
}

const UserObjectType *user_object_find_type(const char *name)
{
    for (guint i = 0; types && i < types->len; i++) {
        const UserObjectType *type = g_ptr_array_index(types, i);

        if (g_str_equal(type->name, name)) {
            return type;
        }
    }
    return NULL;
}

UserObject *user_object_find(const char *id)
{
    for (guint i = 0; objects && i < objects->len; i++) {
        UserObject *obj = g_ptr_array_index(objects, i);

        if (g_str_equal(obj->id, id)) {
            return obj;
        }
    }
    return NULL;
}

bool user_object_add(const ObjectOptions *options, Error **errp)
{
    const char *type_name = ObjectType_str(options->qom_type);
    const UserObjectType *type = user_object_find_type(type_name);
    UserObject *obj;

    if (!type) {
        error_setg(errp, "Object type '%s' is not available in this program", type_name);
        return false;
    }
    if (!id_wellformed(options->id)) {
        error_setg(errp, "Parameter 'id' expects an identifier");
        error_append_hint(errp, "Identifiers consist of letters, digits, '-', '.', '_', "
                          "starting with a letter.\n");
        return false;
    }
    if (user_object_find(options->id)) {
        error_setg(errp, "attempt to add duplicate property '%s' to object (type 'container')",
                   options->id);
        return false;
    }
    obj = g_malloc0(type->size);
    obj->type = type;
    obj->id = g_strdup(options->id);
    if (!type->create(obj, options, errp)) {
        g_free(obj->id);
        g_free(obj);
        return false;
    }
    if (!objects) {
        objects = g_ptr_array_new();
    }
    g_ptr_array_add(objects, obj);
    return true;
}

bool user_object_add_from_str(const char *str, Error **errp)
{
    g_autoptr(Visitor) v = qobject_input_visitor_new_str(str, "qom-type", errp);
    g_autoptr(ObjectOptions) options = NULL;

    return v && visit_type_ObjectOptions(v, NULL, &options, errp)
        && user_object_add(options, errp);
}

static void destroy(UserObject *obj)
{
    g_ptr_array_remove(objects, obj);
    obj->type->destroy(obj);
    g_free(obj->id);
    g_free(obj);
}

bool user_object_del(const char *id, Error **errp)
{
    UserObject *obj = user_object_find(id);

    if (!obj) {
        error_setg(errp, "object '%s' not found", id);
        return false;
    }
    if (obj->users || (obj->type->in_use && obj->type->in_use(obj))) {
        error_setg(errp, "object '%s' is in use, can not be deleted", id);
        return false;
    }
    destroy(obj);
    return true;
}

void user_object_del_all(void)
{
    while (objects && objects->len) {
        destroy(g_ptr_array_index(objects, objects->len - 1));
    }
    g_clear_pointer(&objects, g_ptr_array_unref);
}

UserObject *user_object_use(const char *id, const char *type_name, Error **errp)
{
    UserObject *obj = user_object_find(id);

    if (!obj) {
        error_setg(errp, "No object with id '%s'", id);
        return NULL;
    }
    if (!g_str_equal(obj->type->name, type_name)) {
        error_setg(errp, "Object '%s' is not of type '%s' but '%s'", id, type_name,
                   obj->type->name);
        return NULL;
    }
    obj->users++;
    return obj;
}

void user_object_release(UserObject *obj)
{
    assert(obj->users);
    obj->users--;
}

UserObject *user_object_resolve_path(const char *path, Error **errp)
{
    const char *id = path;
    UserObject *obj;

    strstart(path, "/objects/", &id);
    obj = user_object_find(id);
    if (!obj) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", path);
    }
    return obj;
}

void user_object_foreach(void (*fn)(UserObject *obj, void *opaque), void *opaque)
{
    for (guint i = 0; objects && i < objects->len; i++) {
        fn(g_ptr_array_index(objects, i), opaque);
    }
}
