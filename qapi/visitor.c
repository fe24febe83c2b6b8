/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The walk: enum tables, built-in type tables, and visiting any value by its table. */
#include "qemu/osdep.h"
#include "qapi/visitor.h"
#include "qobject/opts.h"

/* ---- enums ---- */

const char *qapi_enum_lookup(const QEnumLookup *lookup, int value)
{
    assert(value >= 0 && value < lookup->size);
    return lookup->names[value];
}

static int enum_find(const QEnumLookup *lookup, const char *name)
{
    for (int i = 0; i < lookup->size; i++) {
        if (lookup->names[i] && g_str_equal(lookup->names[i], name)) {
            return i;
        }
    }
    return -1;
}

int qapi_enum_parse(const QEnumLookup *lookup, const char *name, int def, Error **errp)
{
    int value;

    if (!name) {
        return def;
    }
    value = enum_find(lookup, name);
    if (value < 0) {
        error_setg(errp, "invalid parameter value: %s", name);
        return def;
    }
    return value;
}

bool qapi_bool_parse(const char *name, const char *value, bool *result, Error **errp)
{
    return qemu_opts_parse_bool(name, value, result, errp);
}

static const char *const QType_names[] = {
    [QTYPE_NONE] = "none",
    [QTYPE_QNULL] = "qnull",
    [QTYPE_QNUM] = "qnum",
    [QTYPE_QSTRING] = "qstring",
    [QTYPE_QDICT] = "qdict",
    [QTYPE_QLIST] = "qlist",
    [QTYPE_QBOOL] = "qbool",
};

const QEnumLookup QType_lookup = {
    .names = QType_names,
    .size = QTYPE__MAX,
};

/* ---- built-in types ---- */

#define SCALAR(id, k, c_type) \
    const QapiType qapi_type_##id = { .name = #id, .kind = k, .size = sizeof(c_type) }; \
    const QapiType qapi_type_##id##List = { \
        .name = #id "List", .kind = QAPI_LIST, .size = sizeof(id##List), \
        .element = &qapi_type_##id, .offset = offsetof(id##List, value) \
    }

SCALAR(int, QAPI_INT64, int64_t);
SCALAR(int8, QAPI_INT8, int8_t);
SCALAR(int16, QAPI_INT16, int16_t);
SCALAR(int32, QAPI_INT32, int32_t);
SCALAR(int64, QAPI_INT64, int64_t);
SCALAR(uint8, QAPI_UINT8, uint8_t);
SCALAR(uint16, QAPI_UINT16, uint16_t);
SCALAR(uint32, QAPI_UINT32, uint32_t);
SCALAR(uint64, QAPI_UINT64, uint64_t);
SCALAR(size, QAPI_SIZE, uint64_t);
SCALAR(bool, QAPI_BOOL, bool);
SCALAR(number, QAPI_NUMBER, double);
SCALAR(str, QAPI_STR, char *);
SCALAR(any, QAPI_ANY, QObject *);
SCALAR(null, QAPI_NULL, QNull *);

const QapiType qapi_type_QType = {
    .name = "QType",
    .kind = QAPI_ENUM,
    .size = sizeof(QType),
    .lookup = &QType_lookup,
};

/* ---- visitor life ---- */

void visit_complete(Visitor *v, void *opaque)
{
    assert(v->ops->complete);
    v->ops->complete(v, opaque);
}

void visit_free(Visitor *v)
{
    if (v) {
        v->ops->free(v);
    }
}

bool visit_is_input(const Visitor *v)
{
    return v->ops->is_input;
}

/* ---- structs by hand ---- */

bool visit_start_struct(Visitor *v, const char *name, void **obj, size_t size, Error **errp)
{
    bool input = v->ops->is_input && obj;

    if (input) {
        *obj = NULL;
    }
    if (!v->ops->start_struct(v, name, errp)) {
        return false;
    }
    if (input) {
        *obj = g_malloc0(size);
    }
    return true;
}

bool visit_check_struct(Visitor *v, Error **errp)
{
    return !v->ops->check_struct || v->ops->check_struct(v, errp);
}

void visit_end_struct(Visitor *v, void **obj)
{
    v->ops->end_struct(v);
}

bool visit_optional(Visitor *v, const char *name, bool *present)
{
    if (v->ops->optional) {
        *present = v->ops->optional(v, name);
    }
    return *present;
}

/* ---- scalars ---- */

static bool out_of_range(const char *name, const char *type, Error **errp)
{
    error_setg(errp, "Parameter '%s' expects %s", name ? name : "null", type);
    return false;
}

/* @obj is an integer of @size bytes. */
static bool visit_signed(Visitor *v, const char *name, void *obj, unsigned size, Error **errp)
{
    int64_t value = size == 1 ? *(int8_t *)obj : size == 2 ? *(int16_t *)obj : *(int32_t *)obj;
    int64_t limit = INT64_C(1) << (size * 8 - 1);

    if (!v->ops->type_int64(v, name, &value, errp)) {
        return false;
    }
    if (value < -limit || value >= limit) {
        return out_of_range(name, size == 1 ? "int8_t" : size == 2 ? "int16_t" : "int32_t", errp);
    }
    if (size == 1) {
        *(int8_t *)obj = value;
    } else if (size == 2) {
        *(int16_t *)obj = value;
    } else {
        *(int32_t *)obj = value;
    }
    return true;
}

static bool visit_unsigned(Visitor *v, const char *name, void *obj, unsigned size, Error **errp)
{
    uint64_t value = size == 1 ? *(uint8_t *)obj : size == 2 ? *(uint16_t *)obj
        : *(uint32_t *)obj;

    if (!v->ops->type_uint64(v, name, &value, errp)) {
        return false;
    }
    if (value >> (size * 8)) {
        return out_of_range(name, size == 1 ? "uint8_t" : size == 2 ? "uint16_t" : "uint32_t",
                            errp);
    }
    if (size == 1) {
        *(uint8_t *)obj = value;
    } else if (size == 2) {
        *(uint16_t *)obj = value;
    } else {
        *(uint32_t *)obj = value;
    }
    return true;
}

bool visit_type_int(Visitor *v, const char *name, int64_t *obj, Error **errp)
{
    return v->ops->type_int64(v, name, obj, errp);
}

bool visit_type_int64(Visitor *v, const char *name, int64_t *obj, Error **errp)
{
    return v->ops->type_int64(v, name, obj, errp);
}

bool visit_type_int8(Visitor *v, const char *name, int8_t *obj, Error **errp)
{
    return visit_signed(v, name, obj, sizeof(*obj), errp);
}

bool visit_type_int16(Visitor *v, const char *name, int16_t *obj, Error **errp)
{
    return visit_signed(v, name, obj, sizeof(*obj), errp);
}

bool visit_type_int32(Visitor *v, const char *name, int32_t *obj, Error **errp)
{
    return visit_signed(v, name, obj, sizeof(*obj), errp);
}

bool visit_type_uint8(Visitor *v, const char *name, uint8_t *obj, Error **errp)
{
    return visit_unsigned(v, name, obj, sizeof(*obj), errp);
}

bool visit_type_uint16(Visitor *v, const char *name, uint16_t *obj, Error **errp)
{
    return visit_unsigned(v, name, obj, sizeof(*obj), errp);
}

bool visit_type_uint32(Visitor *v, const char *name, uint32_t *obj, Error **errp)
{
    return visit_unsigned(v, name, obj, sizeof(*obj), errp);
}

bool visit_type_uint64(Visitor *v, const char *name, uint64_t *obj, Error **errp)
{
    return v->ops->type_uint64(v, name, obj, errp);
}

bool visit_type_size(Visitor *v, const char *name, uint64_t *obj, Error **errp)
{
    return v->ops->type_size(v, name, obj, errp);
}

bool visit_type_bool(Visitor *v, const char *name, bool *obj, Error **errp)
{
    return v->ops->type_bool(v, name, obj, errp);
}

bool visit_type_str(Visitor *v, const char *name, char **obj, Error **errp)
{
    if (v->ops->is_input) {
        *obj = NULL;
    }
    return v->ops->type_str(v, name, obj, errp);
}

bool visit_type_number(Visitor *v, const char *name, double *obj, Error **errp)
{
    return v->ops->type_number(v, name, obj, errp);
}

bool visit_type_any(Visitor *v, const char *name, QObject **obj, Error **errp)
{
    if (v->ops->is_input) {
        *obj = NULL;
    }
    return v->ops->type_any(v, name, obj, errp);
}

bool visit_type_null(Visitor *v, const char *name, QNull **obj, Error **errp)
{
    if (v->ops->is_input) {
        *obj = NULL;
    }
    return v->ops->type_null(v, name, obj, errp);
}

bool visit_type_enum(Visitor *v, const char *name, int *obj, const QEnumLookup *lookup,
                     Error **errp)
{
    g_autofree char *input = NULL;
    char *word;
    int value;

    if (!v->ops->is_input) {
        word = (char *)qapi_enum_lookup(lookup, *obj);
        return v->ops->type_str(v, name, &word, errp);
    }
    if (!v->ops->type_str(v, name, &input, errp)) {
        return false;
    }
    value = enum_find(lookup, input);
    if (value < 0) {
        error_setg(errp, "Parameter '%s' does not accept value '%s'", name ? name : "null",
                   input);
        return false;
    }
    *obj = value;
    return true;
}

bool visit_type_strList(Visitor *v, const char *name, strList **obj, Error **errp)
{
    return visit_type(v, name, obj, &qapi_type_strList, errp);
}

bool visit_type_intList(Visitor *v, const char *name, intList **obj, Error **errp)
{
    return visit_type(v, name, obj, &qapi_type_intList, errp);
}

/* ---- structs, unions ---- */

static bool visit_member(Visitor *v, char *obj, const QapiMember *m, Error **errp)
{
    void *value = obj + m->offset;

    if (m->optional) {
        bool *has = m->has_offset >= 0 ? (bool *)(obj + m->has_offset) : NULL;
        bool present = has ? *has : *(void **)value != NULL;

        visit_optional(v, m->name, &present);
        if (has) {
            *has = present;
        }
        if (!present) {
            return true;
        }
    }
    return visit_type(v, m->name, value, m->type, errp);
}

/* The branch of union @obj that its tag selects; NULL if that has no members. */
static const QapiType *union_branch(const void *obj, const QapiType *type)
{
    int tag = *(const int *)((const char *)obj + type->tag->offset);

    assert(tag >= 0 && tag < type->tag->type->lookup->size);
    return type->branches[tag];
}

bool visit_type_members(Visitor *v, void *obj, const QapiType *type, Error **errp)
{
    if (type->base && !visit_type_members(v, obj, type->base, errp)) {
        return false;
    }
    for (const QapiMember *m = type->members; m->name; m++) {
        if (!visit_member(v, obj, m, errp)) {
            return false;
        }
    }
    if (type->kind == QAPI_UNION) {
        const QapiType *branch = union_branch(obj, type);

        return !branch || visit_type_members(v, (char *)obj + type->offset, branch, errp);
    }
    return true;
}

static bool visit_struct(Visitor *v, const char *name, void **obj, const QapiType *type,
                         Error **errp)
{
    bool ok;

    if (!visit_start_struct(v, name, obj, type->size, errp)) {
        return false;
    }
    ok = visit_type_members(v, *obj, type, errp) && visit_check_struct(v, errp);
    visit_end_struct(v, obj);
    return ok;
}

/* ---- lists, alternates ---- */

static bool visit_list_output(Visitor *v, GenericList *list, const QapiType *type, Error **errp)
{
    for (; list; list = list->next) {
        if (!visit_type(v, NULL, (char *)list + type->offset, type->element, errp)) {
            return false;
        }
        v->ops->next_list(v);
    }
    return true;
}

static bool visit_list_input(Visitor *v, GenericList **tail, const QapiType *type, bool more,
                             Error **errp)
{
    for (; more; more = v->ops->next_list(v)) {
        *tail = g_malloc0(type->size);
        if (!visit_type(v, NULL, (char *)*tail + type->offset, type->element, errp)) {
            return false;
        }
        tail = &(*tail)->next;
    }
    return !v->ops->check_list || v->ops->check_list(v, errp);
}

static bool visit_list(Visitor *v, const char *name, GenericList **obj, const QapiType *type,
                       Error **errp)
{
    bool more = false;
    bool ok;

    if (v->ops->is_input) {
        *obj = NULL;
    }
    if (!v->ops->start_list(v, name, &more, errp)) {
        return false;
    }
    ok = v->ops->is_input ? visit_list_input(v, obj, type, more, errp)
        : visit_list_output(v, *obj, type, errp);
    v->ops->end_list(v);
    return ok;
}

static bool visit_alternate(Visitor *v, const char *name, void **obj, const QapiType *type,
                            Error **errp)
{
    QType qtype;
    const QapiType *branch;
    void *value;

    if (v->ops->is_input) {
        *obj = NULL;
        if (!v->ops->start_alternate) {
            error_setg(errp, "Invalid parameter type for '%s', expected: %s",
                       name ? name : "null", type->name);
            return false;
        }
        if (!v->ops->start_alternate(v, name, &qtype, errp)) {
            return false;
        }
        if (!type->by_qtype[qtype]) {
            error_setg(errp, "Invalid parameter type for '%s', expected: %s",
                       name ? name : "null", type->name);
            return false;
        }
        *obj = g_malloc0(type->size);
        *(QType *)*obj = qtype;
    }
    branch = type->by_qtype[*(QType *)*obj];
    value = (char *)*obj + type->offset;
    if (branch->kind == QAPI_STRUCT || branch->kind == QAPI_UNION) {
        bool ok;

        if (!v->ops->start_struct(v, name, errp)) {
            return false;
        }
        ok = visit_type_members(v, value, branch, errp) && visit_check_struct(v, errp);
        v->ops->end_struct(v);
        return ok;
    }
    return visit_type(v, name, value, branch, errp);
}

/* ---- any value ---- */

static bool visit_compound(Visitor *v, const char *name, void **obj, const QapiType *type,
                           Error **errp)
{
    bool ok = type->kind == QAPI_LIST ? visit_list(v, name, (GenericList **)obj, type, errp)
        : type->kind == QAPI_ALTERNATE ? visit_alternate(v, name, obj, type, errp)
        : visit_struct(v, name, obj, type, errp);

    if (!ok && v->ops->is_input) {
        qapi_free(*obj, type);
        *obj = NULL;
    }
    return ok;
}

bool visit_type(Visitor *v, const char *name, void *obj, const QapiType *type, Error **errp)
{
    switch (type->kind) {
    case QAPI_INT8:
    case QAPI_INT16:
    case QAPI_INT32:
        return visit_signed(v, name, obj, type->size, errp);
    case QAPI_UINT8:
    case QAPI_UINT16:
    case QAPI_UINT32:
        return visit_unsigned(v, name, obj, type->size, errp);
    case QAPI_INT64:
        return v->ops->type_int64(v, name, obj, errp);
    case QAPI_UINT64:
        return v->ops->type_uint64(v, name, obj, errp);
    case QAPI_SIZE:
        return v->ops->type_size(v, name, obj, errp);
    case QAPI_BOOL:
        return v->ops->type_bool(v, name, obj, errp);
    case QAPI_NUMBER:
        return v->ops->type_number(v, name, obj, errp);
    case QAPI_ENUM:
        return visit_type_enum(v, name, obj, type->lookup, errp);
    case QAPI_STR:
        return visit_type_str(v, name, obj, errp);
    case QAPI_ANY:
        return visit_type_any(v, name, obj, errp);
    case QAPI_NULL:
        return visit_type_null(v, name, obj, errp);
    default:
        return visit_compound(v, name, obj, type, errp);
    }
}
