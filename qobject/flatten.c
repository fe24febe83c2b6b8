/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qobject-internal.h"
#include "qobject/flatten.h"
#include "qobject/qstring.h"

/* Keys come from users; nesting what they say recurses. */
#define MAX_KEY_PARTS 200

void qdict_set_default_str(QDict *dst, const char *key, const char *value)
{
    if (!qdict_haskey(dst, key)) {
        qdict_put_str(dst, key, value);
    }
}

/* ---- flatten ---- */

static void flatten_into(QDict *flat, GString *path, QObject *value);

/* Flatten one member under @path extended by @name. */
static void flatten_member(QDict *flat, GString *path, const char *name, QObject *value)
{
    gsize len = path->len;

    if (len) {
        g_string_append_c(path, '.');
    }
    g_string_append(path, name);
    flatten_into(flat, path, value);
    g_string_truncate(path, len);
}

static void flatten_into(QDict *flat, GString *path, QObject *value)
{
    QDict *dict = qobject_to(QDict, value);
    QList *list = qobject_to(QList, value);

    if (dict && qdict_size(dict)) {
        for (const QDictEntry *e = qdict_first(dict); e; e = qdict_next(dict, e)) {
            flatten_member(flat, path, qdict_entry_key(e), qdict_entry_value(e));
        }
    } else if (list && !qlist_empty(list)) {
        char name[32];

        for (size_t i = 0; i < qlist_size(list); i++) {
            snprintf(name, sizeof(name), "%zu", i);
            flatten_member(flat, path, name, list->entries[list->head + i].value);
        }
    } else {
        qdict_put_obj(flat, path->str, qobject_ref(value));
    }
}

void qdict_flatten(QDict *dict)
{
    g_autoptr(QDict) flat = qdict_new();
    g_autoptr(GString) path = g_string_new(NULL);

    for (const QDictEntry *e = qdict_first(dict); e; e = qdict_next(dict, e)) {
        flatten_member(flat, path, qdict_entry_key(e), qdict_entry_value(e));
    }
    qdict_swap(dict, flat);
}

/* ---- crumple ---- */

/* Take the first part of the dotted key at *@rest; *@rest becomes NULL at the end. */
static char *next_part(const char **rest)
{
    GString *part = g_string_new(NULL);
    const char *p = *rest;

    for (; *p; p++) {
        if (*p == '.' && *++p != '.') {
            *rest = p;
            return g_string_free(part, FALSE);
        }
        g_string_append_c(part, *p);
    }
    *rest = NULL;
    return g_string_free(part, FALSE);
}

static bool is_container(const QObject *obj)
{
    return qobject_type(obj) == QTYPE_QDICT || qobject_type(obj) == QTYPE_QLIST;
}

/* Scalars, and containers that stand for themselves because they are empty. */
static bool is_flat(const QObject *obj)
{
    return !is_container(obj)
        || (qobject_to(QDict, obj) && !qdict_size(qobject_to(QDict, obj)))
        || (qobject_to(QList, obj) && qlist_empty(qobject_to(QList, obj)));
}

/* Put @value (borrowed) at the dotted @key of the nested dict @root. */
static bool crumple_one(QDict *root, const char *key, QObject *value, Error **errp)
{
    QDict *dict = root;
    const char *rest = key;

    for (int parts = 0;; parts++) {
        g_autofree char *part = next_part(&rest);
        QObject *known = qdict_get(dict, part);
        QDict *child;

        if (!rest) {
            if (known) {
                error_setg(errp, "Cannot mix scalar and non-scalar keys");
                return false;
            }
            qdict_put_obj(dict, part, qobject_ref(value));
            return true;
        }
        if (parts >= MAX_KEY_PARTS) {
            error_setg(errp, "Key '%.40s...' has more than %d parts", key, MAX_KEY_PARTS);
            return false;
        }
        child = qobject_to(QDict, known);
        if (known && (!child || !qdict_size(child))) {
            error_setg(errp, "Cannot mix scalar and non-scalar keys");
            return false;
        }
        if (!child) {
            child = qdict_new();
            qdict_put(dict, part, child);
        }
        dict = child;
    }
}

static bool all_digits(const char *str)
{
    return *str && strspn(str, "0123456789") == strlen(str);
}

/* Whether the keys of @dict are those of a list; false with *@mixed set if some are. */
static bool is_list(const QDict *dict, bool *mixed)
{
    size_t n = 0;

    for (const QDictEntry *e = qdict_first(dict); e; e = qdict_next(dict, e)) {
        n += all_digits(qdict_entry_key(e));
    }
    *mixed = n && n < qdict_size(dict);
    return n && !*mixed;
}

/* Replace dicts that stand for lists by lists, from the leaves up.  Takes @dict. */
static QObject *listify(QDict *dict, Error **errp)
{
    g_autoptr(QDict) owned = dict;
    g_autoptr(QList) list = NULL;
    bool mixed;

    for (const QDictEntry *e = qdict_first(dict); e; e = qdict_next(dict, e)) {
        QDict *child = qobject_to(QDict, qdict_entry_value(e));

        if (child && qdict_size(child)) {
            QObject *value = listify(qobject_ref(child), errp);

            if (!value) {
                return NULL;
            }
            qdict_put_obj(dict, qdict_entry_key(e), value);
        }
    }
    if (!is_list(dict, &mixed)) {
        if (mixed) {
            error_setg(errp, "Cannot mix list and non-list keys");
            return NULL;
        }
        return QOBJECT(g_steal_pointer(&owned));
    }
    list = qlist_new();
    for (size_t i = 0; i < qdict_size(dict); i++) {
        char key[32];
        QObject *value;

        snprintf(key, sizeof(key), "%zu", i);
        value = qdict_get(dict, key);
        if (!value) {
            error_setg(errp, "Missing list index %zu", i);
            return NULL;
        }
        qlist_append_obj(list, qobject_ref(value));
    }
    return QOBJECT(g_steal_pointer(&list));
}

QObject *qdict_crumple(const QDict *src, Error **errp)
{
    g_autoptr(QDict) root = qdict_new();

    for (const QDictEntry *e = qdict_first(src); e; e = qdict_next(src, e)) {
        if (!is_flat(qdict_entry_value(e))) {
            error_setg(errp, "Value %s is not a scalar", qdict_entry_key(e));
            return NULL;
        }
        if (!crumple_one(root, qdict_entry_key(e), qdict_entry_value(e), errp)) {
            return NULL;
        }
    }
    return listify(g_steal_pointer(&root), errp);
}

/* ---- taking flat dicts apart ---- */

void qdict_extract_subqdict(QDict *src, QDict **dst, const char *prefix)
{
    const QDictEntry *next;

    *dst = qdict_new();
    for (const QDictEntry *e = qdict_first(src); e; e = next) {
        const char *rest;

        next = qdict_next(src, e);
        if (strstart(qdict_entry_key(e), prefix, &rest)) {
            qdict_put_obj(*dst, rest, qobject_ref(qdict_entry_value(e)));
            qdict_del(src, qdict_entry_key(e));
        }
    }
}

static size_t count_prefixed(const QDict *src, const char *prefix)
{
    size_t n = 0;

    for (const QDictEntry *e = qdict_first(src); e; e = qdict_next(src, e)) {
        n += strstart(qdict_entry_key(e), prefix, NULL);
    }
    return n;
}

void qdict_array_split(QDict *src, QList **dst)
{
    *dst = qlist_new();
    for (unsigned i = 0; i < UINT_MAX; i++) {
        g_autofree char *key = g_strdup_printf("%u", i);
        g_autofree char *prefix = g_strdup_printf("%u.", i);
        QObject *scalar = qdict_get(src, key);
        QDict *sub;

        if ((scalar != NULL) == (count_prefixed(src, prefix) > 0)) {
            return;  /* neither, or both: not an element */
        }
        if (scalar) {
            qlist_append_obj(*dst, qobject_ref(scalar));
            qdict_del(src, key);
        } else {
            qdict_extract_subqdict(src, &sub, prefix);
            qlist_append(*dst, sub);
        }
    }
}

int qdict_array_entries(const QDict *src, const char *subqdict)
{
    size_t used = 0;
    int n;

    for (n = 0; n < INT_MAX; n++) {
        g_autofree char *key = g_strdup_printf("%s%d", subqdict, n);
        g_autofree char *prefix = g_strdup_printf("%s%d.", subqdict, n);
        bool scalar = qdict_haskey(src, key);
        size_t members = count_prefixed(src, prefix);

        if (scalar && members) {
            return -EINVAL;
        }
        if (!scalar && !members) {
            break;
        }
        used += scalar + members;
    }
    return used == count_prefixed(src, subqdict) ? n : -EINVAL;
}

void qdict_join(QDict *dst, QDict *src, bool overwrite)
{
    const QDictEntry *next;

    for (const QDictEntry *e = qdict_first(src); e; e = next) {
        next = qdict_next(src, e);
        if (overwrite || !qdict_haskey(dst, qdict_entry_key(e))) {
            qdict_put_obj(dst, qdict_entry_key(e), qobject_ref(qdict_entry_value(e)));
            qdict_del(src, qdict_entry_key(e));
        }
    }
}

bool qdict_rename_keys(QDict *dict, const QDictRenames *renames, Error **errp)
{
    for (; renames->from; renames++) {
        QObject *value = qdict_get(dict, renames->from);

        if (!value) {
            continue;
        }
        if (qdict_haskey(dict, renames->to)) {
            error_setg(errp, "'%s' and its alias '%s' can't be used at the same time",
                       renames->to, renames->from);
            return false;
        }
        qdict_put_obj(dict, renames->to, qobject_ref(value));
        qdict_del(dict, renames->from);
    }
    return true;
}
