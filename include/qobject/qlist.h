/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QList: a growing list of values.
 *
 * Entries lie in an array: an entry pointer is valid until the next append or pop.
 */
#ifndef QOBJECT_QLIST_H
#define QOBJECT_QLIST_H

#include <stdint.h>
#include "qobject/qnull.h"
#include "qobject/qobject.h"

typedef struct QListEntry {
    QObject *value;
} QListEntry;

struct QList {
    struct QObjectHead base;
    QListEntry *entries;
    size_t head;  /* index of the first entry; pops move it */
    size_t end;
    size_t allocated;
};

/** A new empty list. */
QList *qlist_new(void);

/** Append @value; takes its reference. */
void qlist_append_obj(QList *list, QObject *value);
#define qlist_append(list, value) qlist_append_obj(list, QOBJECT(value))
void qlist_append_int(QList *list, int64_t value);

/** Remove the first value and hand over its reference; NULL if the list is empty. */
QObject *qlist_pop(QList *list);

/** The first value, borrowed; NULL if the list is empty. */
QObject *qlist_peek(const QList *list);

static inline size_t qlist_size(const QList *list)
{
    return list->end - list->head;
}

static inline bool qlist_empty(const QList *list)
{
    return list->end == list->head;
}

static inline const QListEntry *qlist_first(const QList *list)
{
    return qlist_empty(list) ? NULL : &list->entries[list->head];
}

static inline const QListEntry *qlist_next(const QList *list, const QListEntry *entry)
{
    return entry + 1 < list->entries + list->end ? entry + 1 : NULL;
}

static inline QObject *qlist_entry_obj(const QListEntry *entry)
{
    return entry->value;
}

#define QLIST_FOREACH_ENTRY(list, var) \
    for ((var) = qlist_first(list); (var); (var) = qlist_next(list, var))

static inline void qlist_unref(QList *list)
{
    qobject_unref(list);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QList, qlist_unref)

#endif
