/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * key=value,... to nested dicts.
 *
 *   items = [ item { "," item } [ "," ] ]
 *   item  = key "=" value | help | value (the first one, if there is an implied key)
 *   key   = name { "." ( name | index ) }
 *   value = text in which ",," stands for a comma
 */
#include "qemu/osdep.h"
#include "qobject/keyval.h"
#include "qobject/qstring.h"
#include "qobject-internal.h"

#define MAX_PART 127
#define MAX_PARTS 200

typedef struct Keyval {
    QDict *root;
    const char *implied_key;
    bool *help;
} Keyval;

static bool is_help(const char *item, size_t len)
{
    return (len == 4 && !memcmp(item, "help", 4)) || (len == 1 && item[0] == '?');
}

/* The length of the QAPI name at @str, 0 if there is none. */
static size_t name_length(const char *str)
{
    const char *p = str;

    if (p[0] == '_' && p[1] == '_') {
        /* a vendor's reversed domain name */
        for (p += 2; g_ascii_isalnum(*p) || *p == '-' || *p == '.'; p++) {
        }
        if (*p++ != '_') {
            return 0;
        }
    }
    if (!g_ascii_isalpha(*p)) {
        return 0;
    }
    for (; g_ascii_isalnum(*p) || *p == '-' || *p == '_'; p++) {
    }
    return p - str;
}

/* The length of one part of a key: a name, or behind the first a list index. */
static size_t part_length(const char *str, bool first)
{
    size_t digits = strspn(str, "0123456789");

    return !first && digits ? digits : name_length(str);
}

static bool invalid(const char *key, size_t len, Error **errp)
{
    error_setg(errp, "Invalid parameter '%.*s'", (int)MIN(len, MAX_PART), key);
    return false;
}

/*
 * Walk the key of @len bytes from @root, making dicts on the way.
 * Returns: the dict that holds the last part, put into *@last; NULL with @errp set.
 */
static QDict *walk_key(QDict *root, const char *key, size_t len, char last[MAX_PART + 1],
                       Error **errp)
{
    const char *end = key + len;
    const char *p = key;
    QDict *dict = root;

    for (int parts = 0; parts < MAX_PARTS; parts++) {
        size_t n = part_length(p, p == key);
        QObject *known;

        if (!n || p + n > end || (p + n < end && p[n] != '.')) {
            invalid(key, len, errp);
            return NULL;
        }
        if (n > MAX_PART) {
            error_setg(errp, "Parameter%s '%.*s' is too long", p == key ? "" : " fragment",
                       (int)MAX_PART, p);
            return NULL;
        }
        memcpy(last, p, n);
        last[n] = 0;
        p += n;
        if (p == end) {
            return dict;
        }
        known = qdict_get(dict, last);
        if (known && qobject_type(known) != QTYPE_QDICT) {
            error_setg(errp, "Parameters '%.*s.*' used inconsistently", (int)(p - key), key);
            return NULL;
        }
        if (!known) {
            known = QOBJECT(qdict_new());
            qdict_put_obj(dict, last, known);
        }
        dict = qobject_to(QDict, known);
        p++;
    }
    error_setg(errp, "Parameter '%.40s...' has more than %d parts", key, MAX_PARTS);
    return NULL;
}

static bool put_value(QDict *root, const char *key, size_t len, char *value, Error **errp)
{
    g_autofree char *owned = value;
    char last[MAX_PART + 1];
    QDict *dict = walk_key(root, key, len, last, errp);
    QObject *known = dict ? qdict_get(dict, last) : NULL;

    if (!dict) {
        return false;
    }
    if (known && qobject_type(known) != QTYPE_QSTRING) {
        error_setg(errp, "Parameters '%.*s.*' used inconsistently", (int)len, key);
        return false;
    }
    qdict_put(dict, last, qstring_take(g_steal_pointer(&owned)));
    return true;
}

/* Parse the item at *@p, up to its comma.  @first: it may be the implied key's value. */
static bool parse_item(Keyval *kv, const char **p, bool first, Error **errp)
{
    const char *item = *p;
    size_t len = strcspn(item, "=,");

    if (item[len] == '=') {
        *p = item + len + 1;
        return put_value(kv->root, item, len, option_value_read(p), errp);
    }
    *p = item + len + (item[len] == ',');
    if (is_help(item, len)) {
        if (!kv->help) {
            error_setg(errp, "Help is not available for this option");
            return false;
        }
        *kv->help = true;
        return true;
    }
    if (first && kv->implied_key && len) {
        return put_value(kv->root, kv->implied_key, strlen(kv->implied_key),
                         g_strndup(item, len), errp);
    }
    if (!len || part_length(item, true) == 0) {
        return invalid(item, len, errp);
    }
    error_setg(errp, "Expected '=' after parameter '%.*s'", (int)MIN(len, MAX_PART), item);
    return false;
}

/* ---- lists ---- */

static bool is_index(const char *key)
{
    return key[strspn(key, "0123456789")] == 0;
}

/* The number of indexes among the keys of @dict. */
static size_t count_indexes(const QDict *dict)
{
    size_t n = 0;

    for (const QDictEntry *e = qdict_first(dict); e; e = qdict_next(dict, e)) {
        n += is_index(qdict_entry_key(e));
    }
    return n;
}

/* @dict, whose keys are all indexes, as a list.  @path: its key, with a dot, for messages. */
static QList *make_list(const QDict *dict, const char *path, Error **errp)
{
    g_autoptr(QList) list = qlist_new();

    for (size_t i = 0; i < qdict_size(dict); i++) {
        g_autofree char *key = g_strdup_printf("%zu", i);
        QObject *value = qdict_get(dict, key);

        if (!value) {
            error_setg(errp, "Parameter '%s%s' missing", path, key);
            return NULL;
        }
        qlist_append_obj(list, qobject_ref(value));
    }
    return g_steal_pointer(&list);
}

/* Turn dicts below @dict whose keys are indexes into lists, innermost first. */
static bool listify(QDict *dict, GString *path, Error **errp)
{
    gsize len = path->len;

    for (const QDictEntry *e = qdict_first(dict); e; e = qdict_next(dict, e)) {
        QDict *child = qobject_to(QDict, qdict_entry_value(e));
        size_t n;
        QList *list;

        if (!child) {
            continue;
        }
        g_string_append_printf(path, "%s.", qdict_entry_key(e));
        if (!listify(child, path, errp)) {
            return false;
        }
        n = count_indexes(child);
        if (n && n < qdict_size(child)) {
            error_setg(errp, "Parameters '%s*' used inconsistently", path->str);
            return false;
        }
        if (n) {
            list = make_list(child, path->str, errp);
            if (!list) {
                return false;
            }
            qdict_put(dict, qdict_entry_key(e), list);
        }
        g_string_truncate(path, len);
    }
    return true;
}

/* ---- interface ---- */

bool keyval_parse_into(QDict *dict, const char *params, const char *implied_key, bool *help,
                       Error **errp)
{
    g_autoptr(GString) path = g_string_new(NULL);
    Keyval kv = { .root = dict, .implied_key = implied_key, .help = help };
    const char *p = params;

    if (help) {
        *help = false;
    }
    while (*p) {
        if (!parse_item(&kv, &p, p == params, errp)) {
            return false;
        }
    }
    return listify(dict, path, errp);
}

QDict *keyval_parse(const char *params, const char *implied_key, bool *help, Error **errp)
{
    g_autoptr(QDict) dict = qdict_new();

    if (!keyval_parse_into(dict, params, implied_key, help, errp)) {
        return NULL;
    }
    return g_steal_pointer(&dict);
}

static bool merge(QDict *dst, const QDict *src, GString *path, Error **errp)
{
    gsize len = path->len;

    for (const QDictEntry *e = qdict_first(src); e; e = qdict_next(src, e)) {
        const char *key = qdict_entry_key(e);
        QObject *value = qdict_entry_value(e);
        QObject *known = qdict_get(dst, key);
        QType type = known ? qobject_type(known) : qobject_type(value);
        const QListEntry *element;

        g_string_append_printf(path, "%s%s", len ? "." : "", key);
        if ((type == QTYPE_QDICT || type == QTYPE_QLIST || qobject_type(value) == QTYPE_QDICT
             || qobject_type(value) == QTYPE_QLIST) && type != qobject_type(value)) {
            error_setg(errp, "Parameter '%s%s' used inconsistently", path->str,
                       type == QTYPE_QDICT || type == QTYPE_QLIST ? "" : ".*");
            return false;
        }
        if (known && type == QTYPE_QDICT) {
            if (!merge(qobject_to(QDict, known), qobject_to(QDict, value), path, errp)) {
                return false;
            }
        } else if (known && type == QTYPE_QLIST) {
            QLIST_FOREACH_ENTRY(qobject_to(QList, value), element) {
                qlist_append_obj(qobject_to(QList, known), qobject_ref(element->value));
            }
        } else {
            qdict_put_obj(dst, key, qobject_ref(value));
        }
        g_string_truncate(path, len);
    }
    return true;
}

bool keyval_merge(QDict *dst, const QDict *src, Error **errp)
{
    g_autoptr(GString) path = g_string_new(NULL);

    return merge(dst, src, path, errp);
}
