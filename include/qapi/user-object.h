/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects that users make by object-add or --object: iothreads, secrets, throttle groups ...
 *
 * - Each kind is a UserObjectType; whoever implements it registers it at start-up.
 * - An object is a struct that starts with UserObject, found by its id.  While it has users
 *   (user_object_use) it cannot be deleted.
 * - Main thread only.
 */
#ifndef QAPI_USER_OBJECT_H
#define QAPI_USER_OBJECT_H

#include "qapi/types.h"
#include "qobject/qobject.h"

typedef struct UserObject UserObject;
struct ObjectOptions;

/* What qom-list says of a property; a table ends with a NULL name. */
typedef struct UserObjectProperty {
    const char *name, *type;
} UserObjectProperty;

typedef struct UserObjectType {
    const char *name;  /* a value of the schema's ObjectType */
    size_t size;       /* of the struct that starts with UserObject */
    /* Fill the zeroed rest of @obj from @options (borrowed).  On failure it leaves nothing. */
    bool (*create)(UserObject *obj, const struct ObjectOptions *options, Error **errp);
    void (*destroy)(UserObject *obj);
    /* Lets clients in: at start-up it is made when all that they may ask for is there. */
    bool is_late;
    /* Optional: users that user_object_use() does not count. */
    bool (*in_use)(UserObject *obj);
    /* Optional: properties as qom-get and qom-set see them.  get: a new value. */
    const UserObjectProperty *properties;
    QObject *(*get)(UserObject *obj, const char *property, Error **errp);
    bool (*set)(UserObject *obj, const char *property, QObject *value, Error **errp);
} UserObjectType;

struct UserObject {
    const UserObjectType *type;
    char *id;
    unsigned users;
};

/** Make a kind known.  @type is not copied. */
void user_object_register_type(const UserObjectType *type);
const UserObjectType *user_object_find_type(const char *name);

/** Make an object.  False with @errp set if the id is malformed or taken, or create fails. */
bool user_object_add(const struct ObjectOptions *options, Error **errp);

/** As user_object_add(), from "TYPE,id=ID,key=value..." or JSON. */
bool user_object_add_from_str(const char *str, Error **errp);

/** The answer to "help" in such a string, for the caller to free; NULL: it is not asked for. */
char *user_object_help(const char *str);

/** Whether user_object_add_from_str(@str) would make an object of a kind that is_late. */
bool user_object_str_is_late(const char *str);

/** Delete object @id; refused while it has users. */
bool user_object_del(const char *id, Error **errp);

/** Delete all objects, in reverse order of creation; at exit, when nobody uses any. */
void user_object_del_all(void);

/** The object called @id, or NULL. */
UserObject *user_object_find(const char *id);

/** The object called @id if it is of kind @type_name, counted as used; NULL with @errp set. */
UserObject *user_object_use(const char *id, const char *type_name, Error **errp);
/** The reverse of user_object_use(). */
void user_object_release(UserObject *obj);

/** Call @fn for each object in order of creation. */
void user_object_foreach(void (*fn)(UserObject *obj, void *opaque), void *opaque);

/** Show the objects in the tree that qom-list walks (object-tree.h).  Once, at start-up. */
void user_object_register_branch(void);

#endif
