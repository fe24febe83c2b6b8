/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Null, bool, string and list; freeing and comparing values of every type. */
#include "qemu/osdep.h"
#include "qobject-internal.h"
#include "qobject/qbool.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qnull.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"

/* ---- null ---- */

QNull *qnull(void)
{
    QNull *null = g_new(QNull, 1);

    qobject_head_init(&null->base, QTYPE_QNULL);
    return null;
}

/* ---- bool ---- */

QBool *qbool_from_bool(bool value)
{
    QBool *qb = g_new(QBool, 1);

    qobject_head_init(&qb->base, QTYPE_QBOOL);
    qb->value = value;
    return qb;
}

/* ---- string ---- */

QString *qstring_take(char *string)
{
    QString *qs = g_new(QString, 1);

    qobject_head_init(&qs->base, QTYPE_QSTRING);
    qs->string = string;
    return qs;
}

QString *qstring_from_str(const char *str)
{
    return qstring_take(g_strdup(str));
}

QString *qstring_from_substr(const char *str, size_t len)
{
    return qstring_take(g_strndup(str, len));
}

QString *qstring_from_gstring(GString *gstr)
{
    return qstring_take(g_string_free(gstr, FALSE));
}

/* ---- list ---- */

QList *qlist_new(void)
{
    QList *list = g_new0(QList, 1);

    qobject_head_init(&list->base, QTYPE_QLIST);
    return list;
}

void qlist_append_obj(QList *list, QObject *value)
{
    if (list->end == list->allocated) {
        if (list->head > list->allocated / 2) {
            memmove(list->entries, list->entries + list->head,
                    qlist_size(list) * sizeof(list->entries[0]));
            list->end -= list->head;
            list->head = 0;
        } else {
            list->allocated = list->allocated ? list->allocated * 2 : 4;
            list->entries = g_renew(QListEntry, list->entries, list->allocated);
        }
    }
    list->entries[list->end++].value = value;
}

void qlist_append_int(QList *list, int64_t value)
{
    qlist_append(list, qnum_from_int(value));
}

QObject *qlist_pop(QList *list)
{
    return qlist_empty(list) ? NULL : list->entries[list->head++].value;
}

QObject *qlist_peek(const QList *list)
{
    return qlist_empty(list) ? NULL : list->entries[list->head].value;
}

static void qlist_destroy(QList *list)
{
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(list, entry) {
        qobject_unref(entry->value);
    }
    g_free(list->entries);
    g_free(list);
}

/* ---- every type ---- */

void qobject_destroy(QObject *obj)
{
    switch (obj->base.type) {
    case QTYPE_QSTRING:
        g_free(((QString *)obj)->string);
        g_free(obj);
        break;
    case QTYPE_QNULL:
    case QTYPE_QNUM:
    case QTYPE_QBOOL:
        g_free(obj);
        break;
    case QTYPE_QDICT:
        qdict_destroy((QDict *)obj);
        break;
    case QTYPE_QLIST:
        qlist_destroy((QList *)obj);
        break;
    default:
        g_assert_not_reached();
    }
}

static bool qlist_is_equal(const QList *a, const QList *b)
{
    if (qlist_size(a) != qlist_size(b)) {
        return false;
    }
    for (size_t i = 0; i < qlist_size(a); i++) {
        if (!qobject_is_equal(a->entries[a->head + i].value, b->entries[b->head + i].value)) {
            return false;
        }
    }
    return true;
}

static bool qdict_is_equal(const QDict *a, const QDict *b)
{
    if (qdict_size(a) != qdict_size(b)) {
        return false;
    }
    for (const QDictEntry *e = qdict_first(a); e; e = qdict_next(a, e)) {
        if (!qobject_is_equal(qdict_entry_value(e), qdict_get(b, qdict_entry_key(e)))) {
            return false;
        }
    }
    return true;
}

bool qobject_is_equal(const QObject *a, const QObject *b)
{
    if (!a || !b || a == b) {
        return a == b;
    }
    if (a->base.type != b->base.type) {
        return false;
    }
    switch (a->base.type) {
    case QTYPE_QNULL:
        return true;
    case QTYPE_QNUM:
        return qnum_is_equal((const QNum *)a, (const QNum *)b);
    case QTYPE_QSTRING:
        return g_str_equal(((const QString *)a)->string, ((const QString *)b)->string);
    case QTYPE_QDICT:
        return qdict_is_equal((const QDict *)a, (const QDict *)b);
    case QTYPE_QLIST:
        return qlist_is_equal((const QList *)a, (const QList *)b);
    case QTYPE_QBOOL:
        return ((const QBool *)a)->value == ((const QBool *)b)->value;
    default:
        g_assert_not_reached();
    }
}
