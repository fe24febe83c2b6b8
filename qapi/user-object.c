/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qapi/gen/qom-visit.h"
#include "qapi/help.h"
#include "qapi/object-input.h"
#include "qapi/object-tree.h"
#include "qapi/user-object.h"
#include "qemu/cutils.h"
#include "qobject/qstring.h"

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

char *user_object_help(const char *str)
{
    return qapi_option_help(&qapi_type_ObjectOptions, "List of user creatable objects:", str);
}

bool user_object_str_is_late(const char *str)
{
    g_autoptr(Visitor) v = qobject_input_visitor_new_str(str, "qom-type", NULL);
    g_autoptr(ObjectOptions) options = NULL;
    const UserObjectType *type;

    if (!v || !visit_type_ObjectOptions(v, NULL, &options, NULL)) {
        return false;
    }
    type = user_object_find_type(ObjectType_str(options->qom_type));
    return type && type->is_late;
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

void user_object_foreach(void (*fn)(UserObject *obj, void *opaque), void *opaque)
{
    for (guint i = 0; objects && i < objects->len; i++) {
        fn(g_ptr_array_index(objects, i), opaque);
    }
}

/* ---- the branch "/objects" ------------------------------------------------------------------- */

/* Stands for the branch itself. */
static UserObject root;

static void *branch_find(const char *path)
{
    return *path ? user_object_find(path) : &root;
}

static void *branch_find_partial(const char *path)
{
    return user_object_find(path);
}

static const char *branch_type_of(void *opaque)
{
    UserObject *obj = opaque;

    return obj == &root ? "container" : obj->type->name;
}

static char *branch_path_of(void *opaque)
{
    UserObject *obj = opaque;

    return obj == &root ? g_strdup("/objects") : g_strdup_printf("/objects/%s", obj->id);
}

static void add_type_rows(const UserObjectType *type, ObjectPropertyInfoList ***tail)
{
    for (const UserObjectProperty *p = type->properties; p && p->name; p++) {
        object_tree_add_row(tail, p->name, p->type, NULL);
    }
}

static void branch_rows(void *opaque, ObjectPropertyInfoList ***tail)
{
    UserObject *obj = opaque;

    if (obj != &root) {
        add_type_rows(obj->type, tail);
        return;
    }
    for (guint i = 0; objects && i < objects->len; i++) {
        const UserObject *child = g_ptr_array_index(objects, i);

        object_tree_add_child(tail, child->id, child->type->name);
    }
}

static QObject *branch_get(void *opaque, const char *property, Error **errp)
{
    UserObject *obj = opaque;

    return obj != &root && obj->type->get ? obj->type->get(obj, property, errp) : NULL;
}

static bool branch_set(void *opaque, const char *property, QObject *value, Error **errp)
{
    UserObject *obj = opaque;

    return obj != &root && obj->type->set && obj->type->set(obj, property, value, errp);
}

static void branch_types(void (*fn)(const char *name, const char *parent, bool is_abstract,
                                    void *opaque), void *opaque)
{
    fn("container", "object", false, opaque);
    for (guint i = 0; types && i < types->len; i++) {
        fn(((const UserObjectType *)g_ptr_array_index(types, i))->name, "object", false, opaque);
    }
}

static bool branch_type_rows(const char *name, ObjectPropertyInfoList ***tail)
{
    const UserObjectType *type = user_object_find_type(name);

    if (type) {
        add_type_rows(type, tail);
    }
    return type || strcmp(name, "container") == 0;
}

static const ObjectTreeBranch objects_branch = {
    .name = "objects",
    .type = "container",
    .find = branch_find,
    .find_partial = branch_find_partial,
    .type_of = branch_type_of,
    .path_of = branch_path_of,
    .rows = branch_rows,
    .get = branch_get,
    .set = branch_set,
    .types = branch_types,
    .type_rows = branch_type_rows,
};

void user_object_register_branch(void)
{
    object_tree_register(&objects_branch);
}
