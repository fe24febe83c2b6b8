/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QDict: string keys to values, iterated in the order the keys were first put.
 *
 * - Putting a key that exists replaces its value and keeps its place.
 * - An entry pointer is valid until that key is deleted.
 * - Getters without "try" assert that the key exists with that type: for dicts the caller built
 *   or checked, never for what a user sent.
 */
#ifndef QOBJECT_QDICT_H
#define QOBJECT_QDICT_H

#include <stdint.h>
#include "qobject/qlist.h"
#include "qobject/qnull.h"
#include "qobject/qobject.h"

typedef struct QDictEntry QDictEntry;

/* All fields are private. */
struct QDict {
    struct QObjectHead base;
    QDictEntry *first, *last;
    size_t size;
    QDictEntry **buckets;  /* NULL: not hashed yet */
    size_t n_buckets;      /* a power of two */
};

/** A new empty dict. */
QDict *qdict_new(void);

/** Put @value under @key (copied); takes the reference. */
void qdict_put_obj(QDict *dict, const char *key, QObject *value);
#define qdict_put(dict, key, value) qdict_put_obj(dict, key, QOBJECT(value))
void qdict_put_int(QDict *dict, const char *key, int64_t value);
void qdict_put_uint(QDict *dict, const char *key, uint64_t value);
void qdict_put_bool(QDict *dict, const char *key, bool value);
void qdict_put_str(QDict *dict, const char *key, const char *value);
void qdict_put_null(QDict *dict, const char *key);

/** Delete @key if it exists. */
void qdict_del(QDict *dict, const char *key);

/** The value of @key, borrowed, or NULL. */
QObject *qdict_get(const QDict *dict, const char *key);

bool qdict_haskey(const QDict *dict, const char *key);
size_t qdict_size(const QDict *dict);

/** The value of @key, which exists with that type. */
int64_t qdict_get_int(const QDict *dict, const char *key);
bool qdict_get_bool(const QDict *dict, const char *key);
const char *qdict_get_str(const QDict *dict, const char *key);

/** The value of @key if it has that type; else @def, or NULL. */
int64_t qdict_get_try_int(const QDict *dict, const char *key, int64_t def);
bool qdict_get_try_bool(const QDict *dict, const char *key, bool def);
const char *qdict_get_try_str(const QDict *dict, const char *key);
QDict *qdict_get_qdict(const QDict *dict, const char *key);
QList *qdict_get_qlist(const QDict *dict, const char *key);

/** Iterate in insertion order; NULL ends. */
const QDictEntry *qdict_first(const QDict *dict);
const QDictEntry *qdict_next(const QDict *dict, const QDictEntry *entry);
const char *qdict_entry_key(const QDictEntry *entry);
QObject *qdict_entry_value(const QDictEntry *entry);

/** A new dict with the same keys that shares the values of @src. */
QDict *qdict_clone_shallow(const QDict *src);

static inline void qdict_unref(QDict *dict)
{
    qobject_unref(dict);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QDict, qdict_unref)

#endif
