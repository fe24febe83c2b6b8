/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Freeing, copying and comparing values by their type tables. */
#include "qemu/osdep.h"
#include "qapi/clone.h"
#include "qapi/visitor.h"

static bool is_struct(const QapiType *type)
{
    return type->kind == QAPI_STRUCT || type->kind == QAPI_UNION;
}

/* The branch of a union, or NULL: no members, or (freeing what input left half done) bad tag. */
static const QapiType *branch_of(const void *obj, const QapiType *type)
{
    int tag = *(const int *)((const char *)obj + type->tag->offset);

    return tag >= 0 && tag < type->tag->type->lookup->size ? type->branches[tag] : NULL;
}

/* ---- free ---- */

void qapi_free_value(void *value, const QapiType *type)
{
    switch (type->kind) {
    case QAPI_STR:
        g_free(*(char **)value);
        break;
    case QAPI_ANY:
        qobject_unref(*(QObject **)value);
        break;
    case QAPI_NULL:
        qobject_unref_impl(*(QObject **)value);
        break;
    case QAPI_STRUCT:
    case QAPI_UNION:
    case QAPI_ALTERNATE:
    case QAPI_LIST:
        qapi_free(*(void **)value, type);
        break;
    default:
        break;
    }
}

static void free_struct_members(char *obj, const QapiType *type)
{
    if (type->base) {
        free_struct_members(obj, type->base);
    }
    for (const QapiMember *m = type->members; m->name; m++) {
        qapi_free_value(obj + m->offset, m->type);
    }
    if (type->kind == QAPI_UNION) {
        const QapiType *branch = branch_of(obj, type);

        if (branch) {
            free_struct_members(obj + type->offset, branch);
        }
    }
}

static void free_alternate_members(char *obj, const QapiType *type)
{
    const QapiType *branch = type->by_qtype[*(QType *)obj];

    if (branch && is_struct(branch)) {
        free_struct_members(obj + type->offset, branch);
    } else if (branch) {
        qapi_free_value(obj + type->offset, branch);
    }
}

void qapi_free(void *obj, const QapiType *type)
{
    if (type->kind == QAPI_LIST) {
        GenericList *next;

        for (GenericList *e = obj; e; e = next) {
            next = e->next;
            qapi_free_value((char *)e + type->offset, type->element);
            g_free(e);
        }
        return;
    }
    if (obj) {
        qapi_free_members(obj, type);
        g_free(obj);
    }
}

void qapi_free_members(void *obj, const QapiType *type)
{
    if (type->kind == QAPI_ALTERNATE) {
        free_alternate_members(obj, type);
    } else {
        free_struct_members(obj, type);
    }
    memset(obj, 0, type->size);
}

/* ---- clone: a plain copy, then what its pointers point to ---- */

static void own_struct_members(char *obj, const QapiType *type);

/* Replace what the variable at @value refers to by a copy. */
static void own_value(void *value, const QapiType *type)
{
    switch (type->kind) {
    case QAPI_STR:
        *(char **)value = g_strdup(*(char **)value);
        break;
    case QAPI_ANY:
    case QAPI_NULL:
        qobject_ref_impl(*(QObject **)value);
        break;
    case QAPI_STRUCT:
    case QAPI_UNION:
    case QAPI_ALTERNATE:
    case QAPI_LIST:
        *(void **)value = qapi_clone(*(void **)value, type);
        break;
    default:
        break;
    }
}

static void own_struct_members(char *obj, const QapiType *type)
{
    if (type->base) {
        own_struct_members(obj, type->base);
    }
    for (const QapiMember *m = type->members; m->name; m++) {
        own_value(obj + m->offset, m->type);
    }
    if (type->kind == QAPI_UNION) {
        const QapiType *branch = branch_of(obj, type);

        if (branch) {
            own_struct_members(obj + type->offset, branch);
        }
    }
}

void qapi_clone_members(void *dst, const void *src, const QapiType *type)
{
    memcpy(dst, src, type->size);
    if (type->kind == QAPI_ALTERNATE) {
        const QapiType *branch = type->by_qtype[*(QType *)dst];

        if (branch && is_struct(branch)) {
            own_struct_members((char *)dst + type->offset, branch);
        } else if (branch) {
            own_value((char *)dst + type->offset, branch);
        }
        return;
    }
    own_struct_members(dst, type);
}

static void *clone_list(const GenericList *src, const QapiType *type)
{
    GenericList *head = NULL;
    GenericList **tail = &head;

    for (; src; src = src->next) {
        *tail = g_memdup2(src, type->size);
        own_value((char *)*tail + type->offset, type->element);
        tail = &(*tail)->next;
        *tail = NULL;
    }
    return head;
}

void *qapi_clone(const void *src, const QapiType *type)
{
    void *dst;

    if (!src) {
        return NULL;
    }
    if (type->kind == QAPI_LIST) {
        return clone_list(src, type);
    }
    dst = g_malloc(type->size);
    qapi_clone_members(dst, src, type);
    return dst;
}

/* ---- equal ---- */

static bool value_equal(const void *a, const void *b, const QapiType *type)
{
    switch (type->kind) {
    case QAPI_STR:
        return g_strcmp0(*(char *const *)a, *(char *const *)b) == 0;
    case QAPI_ANY:
    case QAPI_NULL:
        return qobject_is_equal(*(QObject *const *)a, *(QObject *const *)b);
    case QAPI_NUMBER:
        return *(const double *)a == *(const double *)b;
    case QAPI_STRUCT:
    case QAPI_UNION:
    case QAPI_ALTERNATE:
    case QAPI_LIST:
        return qapi_equal(*(void *const *)a, *(void *const *)b, type);
    default:
        return memcmp(a, b, type->size) == 0;
    }
}

static bool member_equal(const char *a, const char *b, const QapiMember *m)
{
    if (m->has_offset >= 0) {
        bool has_a = *(const bool *)(a + m->has_offset);

        if (has_a != *(const bool *)(b + m->has_offset)) {
            return false;
        }
        if (!has_a) {
            return true;
        }
    }
    return value_equal(a + m->offset, b + m->offset, m->type);
}

static bool struct_equal(const char *a, const char *b, const QapiType *type)
{
    if (type->base && !struct_equal(a, b, type->base)) {
        return false;
    }
    for (const QapiMember *m = type->members; m->name; m++) {
        if (!member_equal(a, b, m)) {
            return false;
        }
    }
    if (type->kind == QAPI_UNION) {
        const QapiType *branch = branch_of(a, type);

        return branch == branch_of(b, type)
            && (!branch || struct_equal(a + type->offset, b + type->offset, branch));
    }
    return true;
}

static bool alternate_equal(const char *a, const char *b, const QapiType *type)
{
    const QapiType *branch = type->by_qtype[*(const QType *)a];

    if (*(const QType *)a != *(const QType *)b) {
        return false;
    }
    a += type->offset;
    b += type->offset;
    return is_struct(branch) ? struct_equal(a, b, branch) : value_equal(a, b, branch);
}

static bool list_equal(const GenericList *a, const GenericList *b, const QapiType *type)
{
    for (; a && b; a = a->next, b = b->next) {
        if (!value_equal((const char *)a + type->offset, (const char *)b + type->offset,
                         type->element)) {
            return false;
        }
    }
    return a == b;
}

bool qapi_equal(const void *a, const void *b, const QapiType *type)
{
    if (type->kind == QAPI_LIST) {
        return list_equal(a, b, type);
    }
    if (!a || !b || a == b) {
        return a == b;
    }
    return type->kind == QAPI_ALTERNATE ? alternate_equal(a, b, type) : struct_equal(a, b, type);
}
