/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree of objects that qom-list, qom-get and qom-set walk: "/objects/ID", "/machine/...".
 *
 * - Each layer that has objects registers a branch for them; the block layer knows no device.
 * - A path is absolute, or the id of something under one branch ("g" for "/objects/g").
 * - Main thread only.
 */
#ifndef QAPI_OBJECT_TREE_H
#define QAPI_OBJECT_TREE_H

#include "qapi/gen/qom-types.h"
#include "qobject/qobject.h"

/* What the objects of a branch are is the branch's own business; they stay where they are. */
typedef struct ObjectTreeBranch {
    const char *name; /* first element of its paths: "objects" */
    const char *type; /* of the object there: "container" */
    /*
     * The object at exactly @path below the branch: "" is the branch itself, "g", "peripheral/d".
     * NULL if there is none.
     */
    void *(*find)(const char *path);
    /** The only object whose path ends with @path: "g", "d"; NULL if none or several do. */
    void *(*find_partial)(const char *path);
    const char *(*type_of)(void *obj);
    /** Where @obj is: "/objects/g".  Caller frees. */
    char *(*path_of)(void *obj);
    /** Add a row for each property (but "type") and each child of @obj. */
    void (*rows)(void *obj, ObjectPropertyInfoList ***tail);
    /** A new value; NULL without an error: @obj has no such property. */
    QObject *(*get)(void *obj, const char *property, Error **errp);
    /** False without an error: @obj has no such property. */
    bool (*set)(void *obj, const char *property, QObject *value, Error **errp);
    /** Call @fn for each type: its name, that of the type it is a kind of, is it abstract. */
    void (*types)(void (*fn)(const char *name, const char *parent, bool is_abstract, void *opaque),
                  void *opaque);
    /** Add the properties (but "type") of type @name; false if it is not one of this branch's. */
    bool (*type_rows)(const char *name, ObjectPropertyInfoList ***tail);
} ObjectTreeBranch;

/** Make a branch known.  @branch is not copied. */
void object_tree_register(const ObjectTreeBranch *branch);

/** What qom-list, qom-get and qom-set do. */
ObjectPropertyInfoList *object_tree_list(const char *path, Error **errp);
QObject *object_tree_get(const char *path, const char *property, Error **errp);
bool object_tree_set(const char *path, const char *property, QObject *value, Error **errp);
/** qom-list-types: those that are @implements (NULL: all), with abstract ones if @abstract. */
ObjectTypeInfoList *object_tree_types(const char *implements, bool abstract);
/** qom-list-properties.  NULL with @errp set if there is no such type. */
ObjectPropertyInfoList *object_tree_type_properties(const char *name, Error **errp);

/* For branches: put one more row at the end of a list; @tail as QAPI_LIST_APPEND knows it. */
void object_tree_add_row(ObjectPropertyInfoList ***tail, const char *name, const char *type,
                         const char *description);
void object_tree_add_child(ObjectPropertyInfoList ***tail, const char *name, const char *type);

#endif
