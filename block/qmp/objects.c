/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects that users make: object-add and object-del, the tree they are in, and which kinds there
 * are.
 */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/pr-manager.h"
#include "block/throttle-group.h"
#include "crypto/secret.h"
#include "qapi/gen/block-info-commands.h"
#include "qapi/gen/qom-commands.h"
#include "qapi/object-tree.h"
#include "qapi/user-object.h"
#include "qmp-block.h"

void block_objects_register(void)
{
    loop_objects_register();
    throttle_group_register_type();
    pr_manager_register_type();
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

PRManagerInfoList *coroutine_fn qmp_query_pr_managers(Error **errp)
{
    return pr_manager_query();
}

ObjectPropertyInfoList *coroutine_fn qmp_qom_list(const char *path, Error **errp)
{
    return object_tree_list(path, errp);
}

QObject *coroutine_fn qmp_qom_get(const char *path, const char *property, Error **errp)
{
    return object_tree_get(path, property, errp);
}

static ObjectPropertiesValues *values_of(const char *path, Error **errp)
{
    g_autoptr(ObjectPropertyInfoList) infos = NULL;
    ObjectPropertiesValues *values;
    ObjectPropertyValueList **tail;
    Error *local_err = NULL;

    infos = object_tree_list(path, &local_err);
    if (local_err) {
        error_propagate(errp, local_err);
        return NULL;
    }
    values = g_new0(ObjectPropertiesValues, 1);
    tail = &values->properties;
    for (ObjectPropertyInfoList *at = infos; at; at = at->next) {
        ObjectPropertyValue *value = g_new0(ObjectPropertyValue, 1);

        value->name = g_strdup(at->value->name);
        value->type = g_strdup(at->value->type);
        if (!g_str_has_prefix(value->type, "child<")) {
            value->value = object_tree_get(path, value->name, NULL);
        }
        QAPI_LIST_APPEND(tail, value);
    }
    return values;
}

ObjectPropertiesValuesList *coroutine_fn qmp_qom_list_get(strList *paths, Error **errp)
{
    g_autoptr(ObjectPropertiesValuesList) list = NULL;
    ObjectPropertiesValuesList **tail = &list;

    for (; paths; paths = paths->next) {
        ObjectPropertiesValues *values = values_of(paths->value, errp);

        if (!values) {
            return NULL;
        }
        QAPI_LIST_APPEND(tail, values);
    }
    return g_steal_pointer(&list);
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
