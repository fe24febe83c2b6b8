/* SPDX-License-Identifier: GPL-2.0-or-later */
/* C values from QObjects: strict, from key=value strings, or from a mixture. */
#include "qemu/osdep.h"
#include "qapi/object-input.h"
#include "qemu/cutils.h"
#include "qobject/flatten.h"
#include "qobject/json-parser.h"
#include "qobject/keyval.h"
#include "qobject/qbool.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"

/* Deeper input is refused, since visiting it recurses on a coroutine's stack. */
#define MAX_DEPTH 200

typedef struct Level {
    const char *name;  /* its key in the level above, NULL for a list element or the root */
    QObject *obj;
    size_t index;      /* list: of the current element */
    guint n_used;      /* dict: where its keys start in ->used */
} Level;

typedef enum Scalars {
    SCALARS_STRICT,
    SCALARS_STRINGS,
    SCALARS_BOTH,
} Scalars;

typedef struct ObjectInput {
    Visitor visitor;
    QObject *root;
    Scalars scalars;
    GArray *levels;
    GPtrArray *used;  /* keys visited, of all open dicts; borrowed from the dicts' visitors */
} ObjectInput;

static ObjectInput *to_input(Visitor *v)
{
    return container_of(v, ObjectInput, visitor);
}

static Level *innermost(ObjectInput *in)
{
    return in->levels->len ? &g_array_index(in->levels, Level, in->levels->len - 1) : NULL;
}

/* ---- names ---- */

static void append_step(GString *path, const ObjectInput *in, const Level *parent,
                        const char *name)
{
    if (parent && qobject_type(parent->obj) == QTYPE_QLIST) {
        g_string_append_printf(path, in->scalars == SCALARS_STRICT ? "[%zu]" : ".%zu",
                               parent->index);
    } else if (name) {
        g_string_append_printf(path, "%s%s", path->len ? "." : "", name);
    }
}

static char *full_name(Visitor *v, const char *name)
{
    ObjectInput *in = to_input(v);
    GString *path = g_string_new(NULL);
    const Level *parent = NULL;

    for (guint i = 0; i < in->levels->len; i++) {
        const Level *level = &g_array_index(in->levels, Level, i);

        append_step(path, in, parent, level->name);
        parent = level;
    }
    append_step(path, in, parent, name);
    if (!path->len) {
        g_string_append(path, "<anonymous>");
    }
    return g_string_free(path, FALSE);
}

static bool wrong_type(Visitor *v, const char *name, const char *expected, Error **errp)
{
    g_autofree char *full = full_name(v, name);

    error_setg(errp, "Invalid parameter type for '%s', expected: %s", full, expected);
    return false;
}

static bool wrong_value(Visitor *v, const char *name, const char *expected, Error **errp)
{
    g_autofree char *full = full_name(v, name);

    error_setg(errp, "Parameter '%s' expects %s", full, expected);
    return false;
}

/* A dict or list where a scalar should be: in key=value terms, keys nobody knows. */
static bool unexpected_keys(Visitor *v, const char *name, Error **errp)
{
    g_autofree char *full = full_name(v, name);

    error_setg(errp, "Parameters '%s.*' are unexpected", full);
    return false;
}

static bool is_container(const QObject *obj)
{
    return qobject_type(obj) == QTYPE_QDICT || qobject_type(obj) == QTYPE_QLIST;
}

/* ---- finding the value that is to be visited ---- */

/* The value called @name, or NULL.  @consume: it counts as used. */
static QObject *try_get(ObjectInput *in, const char *name, bool consume)
{
    Level *level = innermost(in);
    QObject *obj;

    if (!level) {
        return in->root;
    }
    if (qobject_type(level->obj) == QTYPE_QLIST) {
        QList *list = qobject_to(QList, level->obj);

        return level->index < qlist_size(list) ? list->entries[list->head + level->index].value
            : NULL;
    }
    obj = qdict_get(qobject_to(QDict, level->obj), name);
    if (obj && consume) {
        g_ptr_array_add(in->used, (char *)name);
    }
    return obj;
}

static QObject *get(ObjectInput *in, const char *name, Error **errp)
{
    QObject *obj = try_get(in, name, true);

    if (!obj) {
        g_autofree char *full = full_name(&in->visitor, name);

        error_setg(errp, "Parameter '%s' is missing", full);
    }
    return obj;
}

/* ---- structs and lists ---- */

static bool push(ObjectInput *in, const char *name, QObject *obj, Error **errp)
{
    Level level = { .name = name, .obj = obj, .n_used = in->used->len };

    if (in->levels->len >= MAX_DEPTH) {
        error_setg(errp, "Parameters are nested more than %d levels deep", MAX_DEPTH);
        return false;
    }
    g_array_append_val(in->levels, level);
    return true;
}

static void pop(Visitor *v)
{
    ObjectInput *in = to_input(v);

    g_ptr_array_set_size(in->used, innermost(in)->n_used);
    g_array_set_size(in->levels, in->levels->len - 1);
}

static bool input_start_struct(Visitor *v, const char *name, Error **errp)
{
    ObjectInput *in = to_input(v);
    QObject *obj = get(in, name, errp);

    if (!obj) {
        return false;
    }
    if (qobject_type(obj) != QTYPE_QDICT) {
        return wrong_type(v, name, "object", errp);
    }
    return push(in, name, obj, errp);
}

static bool is_used(const ObjectInput *in, guint start, const char *key)
{
    for (guint i = start; i < in->used->len; i++) {
        if (g_str_equal(g_ptr_array_index(in->used, i), key)) {
            return true;
        }
    }
    return false;
}

static bool input_check_struct(Visitor *v, Error **errp)
{
    ObjectInput *in = to_input(v);
    Level *level = innermost(in);
    QDict *dict = qobject_to(QDict, level->obj);

    for (const QDictEntry *e = qdict_first(dict); e; e = qdict_next(dict, e)) {
        if (!is_used(in, level->n_used, qdict_entry_key(e))) {
            g_autofree char *full = full_name(v, qdict_entry_key(e));

            error_setg(errp, "Parameter '%s' is unexpected", full);
            return false;
        }
    }
    return true;
}

static bool input_start_list(Visitor *v, const char *name, bool *more, Error **errp)
{
    ObjectInput *in = to_input(v);
    QObject *obj = get(in, name, errp);

    if (!obj) {
        return false;
    }
    if (qobject_type(obj) != QTYPE_QLIST) {
        return wrong_type(v, name, "array", errp);
    }
    *more = !qlist_empty(qobject_to(QList, obj));
    return push(in, name, obj, errp);
}

static bool input_next_list(Visitor *v)
{
    Level *level = innermost(to_input(v));

    return ++level->index < qlist_size(qobject_to(QList, level->obj));
}

static bool input_start_alternate(Visitor *v, const char *name, QType *type, Error **errp)
{
    ObjectInput *in = to_input(v);
    QObject *obj = try_get(in, name, false);

    if (!obj) {
        return get(in, name, errp) != NULL;
    }
    *type = qobject_type(obj);
    return true;
}

static bool input_optional(Visitor *v, const char *name)
{
    return try_get(to_input(v), name, false) != NULL;
}

/* ---- scalars ---- */

/*
 * Get the value called @name; *@str becomes its text if it is to be parsed as such.
 * Returns: false with @errp set if there is none, or it is no string though all must be.
 */
static bool get_scalar(Visitor *v, const char *name, QObject **obj, const char **str,
                       Error **errp)
{
    ObjectInput *in = to_input(v);

    *obj = get(in, name, errp);
    if (!*obj) {
        return false;
    }
    if (in->scalars != SCALARS_STRICT && is_container(*obj)) {
        return unexpected_keys(v, name, errp);
    }
    *str = in->scalars == SCALARS_STRICT ? NULL : qobject_get_try_str(*obj);
    if (in->scalars == SCALARS_STRINGS && !*str) {
        return wrong_type(v, name, "string", errp);
    }
    return true;
}

static bool input_int64(Visitor *v, const char *name, int64_t *value, Error **errp)
{
    QObject *obj;
    const char *str;
    QNum *num;

    if (!get_scalar(v, name, &obj, &str, errp)) {
        return false;
    }
    if (str) {
        return qemu_strtoi64(str, NULL, 0, value) == 0
            || wrong_value(v, name, "integer", errp);
    }
    num = qobject_to(QNum, obj);
    return (num && qnum_get_try_int(num, value)) || wrong_type(v, name, "integer", errp);
}

static bool input_uint64(Visitor *v, const char *name, uint64_t *value, Error **errp)
{
    QObject *obj;
    const char *str;
    QNum *num;
    int64_t negative;

    if (!get_scalar(v, name, &obj, &str, errp)) {
        return false;
    }
    if (str) {
        return qemu_strtou64(str, NULL, 0, value) == 0 || wrong_value(v, name, "integer", errp);
    }
    num = qobject_to(QNum, obj);
    if (num && qnum_get_try_uint(num, value)) {
        return true;
    }
    /* Long-standing clients send large values as negative integers. */
    if (num && qnum_get_try_int(num, &negative)) {
        *value = negative;
        return true;
    }
    return wrong_type(v, name, "uint64", errp);
}

static bool input_size(Visitor *v, const char *name, uint64_t *value, Error **errp)
{
    QObject *obj;
    const char *str;

    if (to_input(v)->scalars == SCALARS_STRICT) {
        return input_uint64(v, name, value, errp);
    }
    if (!get_scalar(v, name, &obj, &str, errp)) {
        return false;
    }
    if (!str) {
        return input_uint64(v, name, value, errp);
    }
    return qemu_strtosz(str, NULL, value) == 0 || wrong_value(v, name, "size", errp);
}

static bool input_bool(Visitor *v, const char *name, bool *value, Error **errp)
{
    QObject *obj;
    const char *str;
    QBool *qb;

    if (!get_scalar(v, name, &obj, &str, errp)) {
        return false;
    }
    if (str) {
        g_autofree char *full = full_name(v, name);

        return qapi_bool_parse(full, str, value, errp);
    }
    qb = qobject_to(QBool, obj);
    if (!qb) {
        return wrong_type(v, name, "boolean", errp);
    }
    *value = qbool_get_bool(qb);
    return true;
}

static bool input_str(Visitor *v, const char *name, char **value, Error **errp)
{
    ObjectInput *in = to_input(v);
    QObject *obj = get(in, name, errp);

    if (!obj) {
        return false;
    }
    if (qobject_type(obj) == QTYPE_QSTRING) {
        *value = g_strdup(qstring_get_str(qobject_to(QString, obj)));
    } else if (in->scalars == SCALARS_BOTH && qobject_type(obj) == QTYPE_QNUM) {
        *value = qnum_to_string(qobject_to(QNum, obj));
    } else if (in->scalars == SCALARS_BOTH && qobject_type(obj) == QTYPE_QBOOL) {
        *value = g_strdup(qbool_get_bool(qobject_to(QBool, obj)) ? "on" : "off");
    } else if (in->scalars != SCALARS_STRICT && is_container(obj)) {
        return unexpected_keys(v, name, errp);
    } else {
        return wrong_type(v, name, "string", errp);
    }
    return true;
}

static bool input_number(Visitor *v, const char *name, double *value, Error **errp)
{
    QObject *obj;
    const char *str;
    QNum *num;

    if (!get_scalar(v, name, &obj, &str, errp)) {
        return false;
    }
    if (str) {
        return qemu_strtod_finite(str, NULL, value) == 0
            || wrong_value(v, name, "number", errp);
    }
    num = qobject_to(QNum, obj);
    if (!num) {
        return wrong_type(v, name, "number", errp);
    }
    *value = qnum_get_double(num);
    return true;
}

static bool input_any(Visitor *v, const char *name, QObject **value, Error **errp)
{
    QObject *obj = get(to_input(v), name, errp);

    *value = qobject_ref(obj);
    return obj != NULL;
}

static bool input_null(Visitor *v, const char *name, QNull **value, Error **errp)
{
    QObject *obj;
    const char *str;

    if (!get_scalar(v, name, &obj, &str, errp)) {
        return false;
    }
    if (str ? *str : qobject_type(obj) != QTYPE_QNULL) {
        return wrong_type(v, name, "null", errp);
    }
    *value = qnull();
    return true;
}

static void input_free(Visitor *v)
{
    ObjectInput *in = to_input(v);

    qobject_unref(in->root);
    g_array_free(in->levels, TRUE);
    g_ptr_array_free(in->used, TRUE);
    g_free(in);
}

static const VisitorOps input_ops = {
    .is_input = true,
    .start_struct = input_start_struct,
    .check_struct = input_check_struct,
    .end_struct = pop,
    .start_list = input_start_list,
    .next_list = input_next_list,
    .end_list = pop,
    .start_alternate = input_start_alternate,
    .optional = input_optional,
    .type_int64 = input_int64,
    .type_uint64 = input_uint64,
    .type_size = input_size,
    .type_bool = input_bool,
    .type_str = input_str,
    .type_number = input_number,
    .type_any = input_any,
    .type_null = input_null,
    .full_name = full_name,
    .free = input_free,
};

/* Takes @root. */
static Visitor *input_new(QObject *root, Scalars scalars)
{
    ObjectInput *in = g_new0(ObjectInput, 1);

    in->visitor.ops = &input_ops;
    in->root = root;
    in->scalars = scalars;
    in->levels = g_array_new(FALSE, FALSE, sizeof(Level));
    in->used = g_ptr_array_new();
    return &in->visitor;
}

Visitor *qobject_input_visitor_new(QObject *obj)
{
    return input_new(qobject_ref(obj), SCALARS_STRICT);
}

Visitor *qobject_input_visitor_new_keyval(QObject *obj)
{
    return input_new(qobject_ref(obj), SCALARS_STRINGS);
}

Visitor *qobject_input_visitor_new_flat_confused(QDict *flat, Error **errp)
{
    QObject *nested = qdict_crumple(flat, errp);

    return nested ? input_new(nested, SCALARS_BOTH) : NULL;
}

Visitor *qobject_input_visitor_new_str(const char *str, const char *implied_key, Error **errp)
{
    QDict *dict;
    QObject *obj;

    if (str[0] != '{') {
        dict = keyval_parse(str, implied_key, NULL, errp);
        return dict ? input_new(QOBJECT(dict), SCALARS_STRINGS) : NULL;
    }
    obj = qobject_from_json(str, errp);
    if (!obj) {
        return NULL;
    }
    assert(qobject_type(obj) == QTYPE_QDICT);  /* it starts with a brace */
    return input_new(obj, SCALARS_STRICT);
}
