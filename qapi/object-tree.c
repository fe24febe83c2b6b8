/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tree of objects: its root, and finding the branch that knows the rest. */
#include "qemu/osdep.h"

#include "qapi/object-tree.h"
#include "qemu/error.h"
#include "qobject/qstring.h"

#define MAX_BRANCHES 4

static const ObjectTreeBranch *branches[MAX_BRANCHES];
static unsigned n_branches;

/* What a path leads to. */
typedef struct Found {
    const ObjectTreeBranch *branch;
    void *obj;
} Found;

void object_tree_register(const ObjectTreeBranch *branch)
{
    assert(n_branches < MAX_BRANCHES);
    branches[n_branches++] = branch;
}

void object_tree_add_row(ObjectPropertyInfoList ***tail, const char *name, const char *type,
                         const char *description)
{
    ObjectPropertyInfo *info = g_new0(ObjectPropertyInfo, 1);

    info->name = g_strdup(name);
    info->type = g_strdup(type);
    info->description = g_strdup(description);
    QAPI_LIST_APPEND(*tail, info);
}

void object_tree_add_child(ObjectPropertyInfoList ***tail, const char *name, const char *type)
{
    g_autofree char *child_type = g_strdup_printf("child<%s>", type);

    object_tree_add_row(tail, name, child_type, NULL);
}

/* ---- the root -------------------------------------------------------------------------------- */

static const char *root_type(void *obj)
{
    return "container";
}

static char *root_path(void *obj)
{
    return g_strdup("");
}

static void root_rows(void *obj, ObjectPropertyInfoList ***tail)
{
    for (unsigned i = 0; i < n_branches; i++) {
        object_tree_add_child(tail, branches[i]->name, branches[i]->type);
    }
}

static QObject *root_get(void *obj, const char *property, Error **errp)
{
    return NULL;
}

static bool root_set(void *obj, const char *property, QObject *value, Error **errp)
{
    return false;
}

static const ObjectTreeBranch root_branch = {
    .type_of = root_type,
    .path_of = root_path,
    .rows = root_rows,
    .get = root_get,
    .set = root_set,
};

/* ---- paths ----------------------------------------------------------------------------------- */

/* What follows the branch's name in @path, which begins after the first '/'; NULL if another's. */
static const char *below(const ObjectTreeBranch *branch, const char *path)
{
    size_t len = strlen(branch->name);

    if (strncmp(path, branch->name, len) != 0 || (path[len] && path[len] != '/')) {
        return NULL;
    }
    return path[len] ? path + len + 1 : path + len;
}

static bool find_absolute(const char *path, Found *found)
{
    *found = (Found){ .branch = &root_branch };
    if (!*path) {
        return true;
    }
    for (unsigned i = 0; i < n_branches && !found->obj; i++) {
        const char *rest = below(branches[i], path);

        if (rest) {
            *found = (Found){ branches[i], branches[i]->find(rest) };
        }
    }
    return found->obj;
}

/* Part of a path, as long as only one branch knows it. */
static bool find_partial(const char *path, Found *found)
{
    unsigned n_found = 0;

    for (unsigned i = 0; i < n_branches; i++) {
        void *obj = *path ? branches[i]->find_partial(path) : NULL;

        if (obj) {
            *found = (Found){ branches[i], obj };
            n_found++;
        }
    }
    return n_found == 1;
}

static bool find(const char *path, Found *found, Error **errp)
{
    if (*path == '/' ? find_absolute(path + 1, found) : find_partial(path, found)) {
        return true;
    }
    error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", path);
    return false;
}

/* ---- objects --------------------------------------------------------------------------------- */

ObjectPropertyInfoList *object_tree_list(const char *path, Error **errp)
{
    ObjectPropertyInfoList *list = NULL, **tail = &list;
    Found found;

    if (find(path, &found, errp)) {
        object_tree_add_row(&tail, "type", "string", NULL);
        found.branch->rows(found.obj, &tail);
    }
    return list;
}

static void refuse_property(const Found *found, const char *property, Error **errp)
{
    error_setg(errp, "Property '%s.%s' not found", found->branch->type_of(found->obj), property);
}

/* The value of a child is its path. */
static QObject *get_child(const Found *parent, const char *name)
{
    g_autofree char *above = parent->branch->path_of(parent->obj);
    g_autofree char *path = g_strdup_printf("%s/%s", above, name);
    Found child;

    return *name && find_absolute(path + 1, &child) ? QOBJECT(qstring_from_str(path)) : NULL;
}

QObject *object_tree_get(const char *path, const char *property, Error **errp)
{
    Error *err = NULL;
    Found found;

    if (!find(path, &found, errp)) {
        return NULL;
    }
    if (strcmp(property, "type") == 0) {
        return QOBJECT(qstring_from_str(found.branch->type_of(found.obj)));
    }
    QObject *value = found.branch->get(found.obj, property, &err);
    if (!value && !err) {
        value = get_child(&found, property);
    }
    if (!value && !err) {
        refuse_property(&found, property, &err);
    }
    error_propagate(errp, err);
    return value;
}

bool object_tree_set(const char *path, const char *property, QObject *value, Error **errp)
{
    Error *err = NULL;
    Found found;

    if (!find(path, &found, errp)) {
        return false;
    }
    if (found.branch->set(found.obj, property, value, &err)) {
        return true;
    }
    if (!err) {
        refuse_property(&found, property, &err);
    }
    error_propagate(errp, err);
    return false;
}

/* ---- types ----------------------------------------------------------------------------------- */

typedef struct TypeSearch {
    const char *implements;
    bool abstract;
    ObjectTypeInfoList **tail;
} TypeSearch;

static void add_type(const char *name, const char *parent, bool is_abstract, void *opaque)
{
    TypeSearch *search = opaque;
    const char *wanted = search->implements;

    if (is_abstract && !search->abstract) {
        return;
    }
    /* Every type is an object, and at most two steps away from that. */
    if (wanted && strcmp(wanted, "object") != 0 && strcmp(wanted, name) != 0 &&
        strcmp(wanted, parent) != 0) {
        return;
    }
    ObjectTypeInfo *info = g_new0(ObjectTypeInfo, 1);
    info->name = g_strdup(name);
    info->parent = g_strdup(parent);
    info->has_abstract = is_abstract;
    info->abstract = is_abstract;
    QAPI_LIST_APPEND(search->tail, info);
}

ObjectTypeInfoList *object_tree_types(const char *implements, bool abstract)
{
    ObjectTypeInfoList *list = NULL;
    TypeSearch search = { implements, abstract, &list };

    for (unsigned i = 0; i < n_branches; i++) {
        branches[i]->types(add_type, &search);
    }
    return list;
}

ObjectPropertyInfoList *object_tree_type_properties(const char *name, Error **errp)
{
    ObjectPropertyInfoList *list = NULL, **tail = &list;

    object_tree_add_row(&tail, "type", "string", NULL);
    for (unsigned i = 0; i < n_branches; i++) {
        if (branches[i]->type_rows(name, &tail)) {
            return list;
        }
    }
    qapi_free_ObjectPropertyInfoList(list);
    error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Class '%s' not found", name);
    return NULL;
}
