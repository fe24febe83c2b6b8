/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QObject: a reference-counted JSON value.
 *
 * - Every value type (QNull, QNum, QString, QDict, QList, QBool) starts with the same head, so
 *   QOBJECT(x) goes up and qobject_to(QDict, obj) goes down (NULL if it is another type).
 * - A new value has one reference, owned by the caller.  Functions that store a value in a dict
 *   or list take over one reference.
 * - Reference counts are not atomic: a value belongs to one thread at a time.
 * - Each type has g_autoptr support.
 */
#ifndef QOBJECT_QOBJECT_H
#define QOBJECT_QOBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <glib.h>
#include "qemu/compiler.h"

typedef enum QType {
    QTYPE_NONE,
    QTYPE_QNULL,
    QTYPE_QNUM,
    QTYPE_QSTRING,
    QTYPE_QDICT,
    QTYPE_QLIST,
    QTYPE_QBOOL,
    QTYPE__MAX,
} QType;

struct QObjectHead {
    QType type;
    size_t refcnt;
};

typedef struct QObject {
    struct QObjectHead base;
} QObject;

typedef struct QNull QNull;
typedef struct QNum QNum;
typedef struct QString QString;
typedef struct QDict QDict;
typedef struct QList QList;
typedef struct QBool QBool;

/* The QObject of a value of any type; NULL stays NULL. */
#define QOBJECT(x) \
    ({ __typeof__(x) qobject_x_ = (x); \
       qobject_x_ ? container_of(&qobject_x_->base, QObject, base) : (QObject *)NULL; })

/* @obj as a @type, or NULL if it is NULL or of another type. */
#define qobject_to(type, obj) ((type *)qobject_check_type(obj, QOBJECT_TAG_##type))
#define QOBJECT_TAG_QNull QTYPE_QNULL
#define QOBJECT_TAG_QNum QTYPE_QNUM
#define QOBJECT_TAG_QString QTYPE_QSTRING
#define QOBJECT_TAG_QDict QTYPE_QDICT
#define QOBJECT_TAG_QList QTYPE_QLIST
#define QOBJECT_TAG_QBool QTYPE_QBOOL

/* One more reference; evaluates to its argument, type included.  NULL is allowed. */
#define qobject_ref(x) \
    ({ __typeof__(x) qobject_r_ = (x); qobject_ref_impl(QOBJECT(qobject_r_)); qobject_r_; })

/* One reference less; the last one frees the value.  NULL is allowed. */
#define qobject_unref(x) qobject_unref_impl(QOBJECT(x))

/** Free a value whose last reference is gone.  For qobject_unref() only. */
void qobject_destroy(QObject *obj);

/**
 * Compare two values, deeply.  Integers are equal whatever their kind;
 * a double never equals
 * an integer.  Dicts are equal whatever the order of their keys.  NULL equals only NULL.
 */
bool qobject_is_equal(const QObject *a, const QObject *b);

static inline QType qobject_type(const QObject *obj)
{
    return obj->base.type;
}

static inline void *qobject_check_type(const QObject *obj, QType type)
{
    return obj && obj->base.type == type ? (void *)obj : NULL;
}

static inline void qobject_head_init(struct QObjectHead *head, QType type)
{
    head->type = type;
    head->refcnt = 1;
}

static inline void qobject_ref_impl(QObject *obj)
{
    if (obj) {
        obj->base.refcnt++;
    }
}

static inline void qobject_unref_impl(QObject *obj)
{
    if (obj && --obj->base.refcnt == 0) {
        qobject_destroy(obj);
    }
}

/* For G_DEFINE_AUTOPTR_CLEANUP_FUNC, which wants a function. */
static inline void qobject_cleanup(QObject *obj)
{
    qobject_unref_impl(obj);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QObject, qobject_cleanup)

#endif
