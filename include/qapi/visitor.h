/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Visiting: one walk over a C value, many meanings.
 *
 * - An input visitor makes the C value from something (a QObject, a string); an output visitor
 *   makes something from the C value.
 * - @name is the key inside a struct, ignored in lists, NULL or a label at the top.
 * - Functions return false with @errp set; what an input visit has built up to the error is
 *   freed again, and *obj is NULL.
 * - For types of the schema call the generated visit_type_X(); visit_start_struct and friends
 *   are for values that have none.
 */
#ifndef QAPI_VISITOR_H
#define QAPI_VISITOR_H

#include "qapi/types.h"
#include "qobject/qobject.h"

typedef struct Visitor Visitor;

/* What every list element starts with. */
typedef struct GenericList {
    struct GenericList *next;
} GenericList;

/* What a visitor does; private to the visitors.  Optional ones may be NULL. */
typedef struct VisitorOps {
    bool is_input;
    bool (*start_struct)(Visitor *v, const char *name, Error **errp);
    bool (*check_struct)(Visitor *v, Error **errp);  /* optional: all input used up? */
    void (*end_struct)(Visitor *v);
    /* @more: input: whether there is a first element. */
    bool (*start_list)(Visitor *v, const char *name, bool *more, Error **errp);
    bool (*next_list)(Visitor *v);                   /* input: is there another? */
    bool (*check_list)(Visitor *v, Error **errp);    /* optional */
    void (*end_list)(Visitor *v);
    bool (*start_alternate)(Visitor *v, const char *name, QType *type, Error **errp); /* input */
    bool (*optional)(Visitor *v, const char *name);  /* input: is it there? */
    bool (*type_int64)(Visitor *v, const char *name, int64_t *obj, Error **errp);
    bool (*type_uint64)(Visitor *v, const char *name, uint64_t *obj, Error **errp);
    bool (*type_size)(Visitor *v, const char *name, uint64_t *obj, Error **errp);
    bool (*type_bool)(Visitor *v, const char *name, bool *obj, Error **errp);
    bool (*type_str)(Visitor *v, const char *name, char **obj, Error **errp);
    bool (*type_number)(Visitor *v, const char *name, double *obj, Error **errp);
    bool (*type_any)(Visitor *v, const char *name, QObject **obj, Error **errp);
    bool (*type_null)(Visitor *v, const char *name, QNull **obj, Error **errp);
    /* optional: the full name of @name for messages; to be freed */
    char *(*full_name)(Visitor *v, const char *name);
    void (*complete)(Visitor *v, void *opaque);
    void (*free)(Visitor *v);
} VisitorOps;

struct Visitor {
    const VisitorOps *ops;
};

/** An output visitor's result is put where its _new() was told; call once, at the end. */
void visit_complete(Visitor *v, void *opaque);
void visit_free(Visitor *v);
bool visit_is_input(const Visitor *v);

/* ---- by type table; what the generated functions call ---- */

/**
 * Visit one value.  @obj points to the variable: to the scalar, or to the pointer.
 */
bool visit_type(Visitor *v, const char *name, void *obj, const QapiType *type, Error **errp);

/** Visit the members of the struct or union at @obj, inside a visit_start_struct. */
bool visit_type_members(Visitor *v, void *obj, const QapiType *type, Error **errp);

/* ---- by hand ---- */

/** Enter a struct.  Input: *@obj becomes @size zeroed bytes (@obj NULL: none). */
bool visit_start_struct(Visitor *v, const char *name, void **obj, size_t size, Error **errp);
/** Fail if the input has members that were not visited. */
bool visit_check_struct(Visitor *v, Error **errp);
void visit_end_struct(Visitor *v, void **obj);

/** Whether optional @name follows: sets *@present on input, reads it on output; returns it. */
bool visit_optional(Visitor *v, const char *name, bool *present);

bool visit_type_int(Visitor *v, const char *name, int64_t *obj, Error **errp);
bool visit_type_int8(Visitor *v, const char *name, int8_t *obj, Error **errp);
bool visit_type_int16(Visitor *v, const char *name, int16_t *obj, Error **errp);
bool visit_type_int32(Visitor *v, const char *name, int32_t *obj, Error **errp);
bool visit_type_int64(Visitor *v, const char *name, int64_t *obj, Error **errp);
bool visit_type_uint8(Visitor *v, const char *name, uint8_t *obj, Error **errp);
bool visit_type_uint16(Visitor *v, const char *name, uint16_t *obj, Error **errp);
bool visit_type_uint32(Visitor *v, const char *name, uint32_t *obj, Error **errp);
bool visit_type_uint64(Visitor *v, const char *name, uint64_t *obj, Error **errp);
/** Bytes; string input may have a suffix: 64k. */
bool visit_type_size(Visitor *v, const char *name, uint64_t *obj, Error **errp);
bool visit_type_bool(Visitor *v, const char *name, bool *obj, Error **errp);
bool visit_type_str(Visitor *v, const char *name, char **obj, Error **errp);
bool visit_type_number(Visitor *v, const char *name, double *obj, Error **errp);
bool visit_type_any(Visitor *v, const char *name, QObject **obj, Error **errp);
bool visit_type_null(Visitor *v, const char *name, QNull **obj, Error **errp);
bool visit_type_enum(Visitor *v, const char *name, int *obj, const QEnumLookup *lookup,
                     Error **errp);
bool visit_type_strList(Visitor *v, const char *name, strList **obj, Error **errp);
bool visit_type_intList(Visitor *v, const char *name, intList **obj, Error **errp);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Visitor, visit_free)

#endif
