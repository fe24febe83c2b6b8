/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QObjects from C values. */
#include "qemu/osdep.h"
#include "qapi/object-input.h"
#include "qapi/object-output.h"
#include "qobject/qbool.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"

typedef struct ObjectOutput {
    Visitor visitor;
    GPtrArray *levels;  /* the open dicts and lists, borrowed from their parents */
    QObject *root;
    QObject **result;
} ObjectOutput;

static ObjectOutput *to_output(Visitor *v)
{
    return container_of(v, ObjectOutput, visitor);
}

/* Takes @value. */
static bool add(Visitor *v, const char *name, QObject *value)
{
    ObjectOutput *out = to_output(v);
    QObject *parent;

    if (!out->levels->len) {
        assert(!out->root);
        out->root = value;
        return true;
    }
    parent = g_ptr_array_index(out->levels, out->levels->len - 1);
    if (qobject_type(parent) == QTYPE_QDICT) {
        qdict_put_obj(qobject_to(QDict, parent), name, value);
    } else {
        qlist_append_obj(qobject_to(QList, parent), value);
    }
    return true;
}

static bool push(Visitor *v, const char *name, QObject *value)
{
    add(v, name, value);
    g_ptr_array_add(to_output(v)->levels, value);
    return true;
}

static void pop(Visitor *v)
{
    ObjectOutput *out = to_output(v);

    g_ptr_array_set_size(out->levels, out->levels->len - 1);
}

static bool output_start_struct(Visitor *v, const char *name, Error **errp)
{
    return push(v, name, QOBJECT(qdict_new()));
}

static bool output_start_list(Visitor *v, const char *name, bool *more, Error **errp)
{
    return push(v, name, QOBJECT(qlist_new()));
}

static bool output_next_list(Visitor *v)
{
    return false;
}

static bool output_int64(Visitor *v, const char *name, int64_t *obj, Error **errp)
{
    return add(v, name, QOBJECT(qnum_from_int(*obj)));
}

static bool output_uint64(Visitor *v, const char *name, uint64_t *obj, Error **errp)
{
    return add(v, name, QOBJECT(qnum_from_uint(*obj)));
}

static bool output_bool(Visitor *v, const char *name, bool *obj, Error **errp)
{
    return add(v, name, QOBJECT(qbool_from_bool(*obj)));
}

static bool output_str(Visitor *v, const char *name, char **obj, Error **errp)
{
    return add(v, name, QOBJECT(qstring_from_str(*obj ? *obj : "")));
}

static bool output_number(Visitor *v, const char *name, double *obj, Error **errp)
{
    return add(v, name, QOBJECT(qnum_from_double(*obj)));
}

static bool output_any(Visitor *v, const char *name, QObject **obj, Error **errp)
{
    return add(v, name, *obj ? qobject_ref(*obj) : QOBJECT(qnull()));
}

static bool output_null(Visitor *v, const char *name, QNull **obj, Error **errp)
{
    return add(v, name, QOBJECT(qnull()));
}

static void output_complete(Visitor *v, void *opaque)
{
    ObjectOutput *out = to_output(v);

    assert(opaque == out->result && !out->levels->len);
    *out->result = g_steal_pointer(&out->root);
}

static void output_free(Visitor *v)
{
    ObjectOutput *out = to_output(v);

    qobject_unref(out->root);
    g_ptr_array_free(out->levels, TRUE);
    g_free(out);
}

static const VisitorOps output_ops = {
    .start_struct = output_start_struct,
    .end_struct = pop,
    .start_list = output_start_list,
    .next_list = output_next_list,
    .end_list = pop,
    .type_int64 = output_int64,
    .type_uint64 = output_uint64,
    .type_size = output_uint64,
    .type_bool = output_bool,
    .type_str = output_str,
    .type_number = output_number,
    .type_any = output_any,
    .type_null = output_null,
    .complete = output_complete,
    .free = output_free,
};

Visitor *qobject_output_visitor_new(QObject **result)
{
    ObjectOutput *out = g_new0(ObjectOutput, 1);

    *result = NULL;
    out->visitor.ops = &output_ops;
    out->levels = g_ptr_array_new();
    out->result = result;
    return &out->visitor;
}

QObject *qapi_to_qobject(const void *obj, const QapiType *type)
{
    QObject *result;
    g_autoptr(Visitor) v = qobject_output_visitor_new(&result);

    /* Output only reads what it visits. */
    visit_type(v, NULL, (void *)obj, type, &error_abort);
    visit_complete(v, &result);
    return result;
}

bool qapi_from_qobject(void *obj, const QapiType *type, QObject *value, Error **errp)
{
    g_autoptr(Visitor) v = qobject_input_visitor_new(value);

    return visit_type(v, NULL, obj, type, errp);
}
