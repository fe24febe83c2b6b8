/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the generator knows about a QAPI type, as data.
 *
 * The generated headers define plain C structs, enums and lists; for each there is one constant
 * QapiType.  Visiting, copying, freeing and defaults are one engine each that walks these tables,
 * not generated code.
 *
 * How a value lies in memory:
 * - integers, bool, number, enums: by value.  An optional one has a bool has_NAME before it.
 * - str, struct, union, alternate, any, null: a pointer; NULL is "absent" if it is optional.
 * - a list: pointer to the first element, NULL if empty; an optional one has has_NAME.
 * - a union: the members of its base, then a C union u; the branch is u.BRANCH.
 * - an alternate: QType type, then a C union u.
 */
#ifndef QAPI_TYPES_H
#define QAPI_TYPES_H

#include <stdint.h>
#include "qemu/error.h"
#include "qobject/qobject.h"

/* ---- enums ---- */

typedef enum QapiFeature {
    QAPI_FEATURE_DEPRECATED = 1,
    QAPI_FEATURE_UNSTABLE = 2,
} QapiFeature;

typedef struct QEnumLookup {
    const char *const *names;  /* indexed by value; NULL where a value is compiled out */
    const uint8_t *features;   /* QapiFeature bits by value, or NULL */
    int size;
} QEnumLookup;

/** The name of @value, which is in range. */
const char *qapi_enum_lookup(const QEnumLookup *lookup, int value);

/**
 * The value named @name.
 * Returns: @def if @name is NULL, or is unknown; for the latter @errp is set too.
 */
int qapi_enum_parse(const QEnumLookup *lookup, const char *name, int def, Error **errp);

/** "on" or "off" (yes/no, true/false, y/n) for a parameter called @name. */
bool qapi_bool_parse(const char *name, const char *value, bool *result, Error **errp);

extern const QEnumLookup QType_lookup;

/* ---- type tables ---- */

typedef enum QapiKind {
    QAPI_INT8,
    QAPI_INT16,
    QAPI_INT32,
    QAPI_INT64,
    QAPI_UINT8,
    QAPI_UINT16,
    QAPI_UINT32,
    QAPI_UINT64,
    QAPI_SIZE,
    QAPI_BOOL,
    QAPI_NUMBER,
    QAPI_ENUM,
    /* from here on a pointer */
    QAPI_STR,
    QAPI_ANY,
    QAPI_NULL,
    QAPI_STRUCT,
    QAPI_UNION,
    QAPI_ALTERNATE,
    QAPI_LIST,
} QapiKind;

typedef struct QapiType QapiType;

typedef struct QapiMember {
    const char *name;  /* NULL ends a member array */
    const QapiType *type;
    uint32_t offset;
    int32_t has_offset;  /* of the has_ flag; -1: none */
    bool optional;
    uint8_t features;  /* QapiFeature bits */
} QapiMember;

struct QapiType {
    const char *name;
    QapiKind kind;
    uint32_t size;  /* of what a pointer points to; of the value itself for scalars */
    union {
        const QEnumLookup *lookup;  /* enum */
        struct {                    /* struct, union */
            const QapiType *base;   /* its members come first, at the same offsets; or NULL */
            const QapiMember *members;
            const QapiMember *tag;           /* union: the enum that selects the branch */
            const QapiType *const *branches; /* union: by value of the tag; NULL: no members */
        };
        struct {                              /* alternate */
            const QapiType *const *by_qtype;  /* QTYPE__MAX entries; NULL: refused */
        };
        struct {                              /* list */
            const QapiType *element;
        };
    };
    uint32_t offset;  /* of u in a union or alternate, of value in a list element */
};

/** Whether a variable of @type is a pointer. */
static inline bool qapi_type_is_pointer(const QapiType *type)
{
    return type->kind >= QAPI_STR;
}

/** Free @obj, a struct, union, alternate or list of @type, and all it holds.  NULL is allowed. */
void qapi_free(void *obj, const QapiType *type);

/** Free what the members of *@obj hold, and zero it; for a struct that is not on the heap. */
void qapi_free_members(void *obj, const QapiType *type);

/** Free what the variable at @value of @type holds; nothing for scalars. */
void qapi_free_value(void *value, const QapiType *type);

/* ---- built-in types ---- */

extern const QapiType qapi_type_int, qapi_type_int8, qapi_type_int16, qapi_type_int32,
    qapi_type_int64, qapi_type_uint8, qapi_type_uint16, qapi_type_uint32, qapi_type_uint64,
    qapi_type_size, qapi_type_bool, qapi_type_number, qapi_type_str, qapi_type_any,
    qapi_type_null, qapi_type_QType;

extern const QapiType qapi_type_intList, qapi_type_int8List, qapi_type_int16List,
    qapi_type_int32List, qapi_type_int64List, qapi_type_uint8List, qapi_type_uint16List,
    qapi_type_uint32List, qapi_type_uint64List, qapi_type_sizeList, qapi_type_boolList,
    qapi_type_numberList, qapi_type_strList, qapi_type_anyList, qapi_type_nullList;

typedef struct strList {
    struct strList *next;
    char *value;
} strList;

typedef struct intList {
    struct intList *next;
    int64_t value;
} intList;

typedef struct int8List {
    struct int8List *next;
    int8_t value;
} int8List;

typedef struct int16List {
    struct int16List *next;
    int16_t value;
} int16List;

typedef struct int32List {
    struct int32List *next;
    int32_t value;
} int32List;

typedef struct int64List {
    struct int64List *next;
    int64_t value;
} int64List;

typedef struct uint8List {
    struct uint8List *next;
    uint8_t value;
} uint8List;

typedef struct uint16List {
    struct uint16List *next;
    uint16_t value;
} uint16List;

typedef struct uint32List {
    struct uint32List *next;
    uint32_t value;
} uint32List;

typedef struct uint64List {
    struct uint64List *next;
    uint64_t value;
} uint64List;

typedef struct sizeList {
    struct sizeList *next;
    uint64_t value;
} sizeList;

typedef struct boolList {
    struct boolList *next;
    bool value;
} boolList;

typedef struct numberList {
    struct numberList *next;
    double value;
} numberList;

typedef struct anyList {
    struct anyList *next;
    QObject *value;
} anyList;

typedef struct nullList {
    struct nullList *next;
    QNull *value;
} nullList;

static inline void qapi_free_strList(strList *list)
{
    qapi_free(list, &qapi_type_strList);
}

static inline void qapi_free_intList(intList *list)
{
    qapi_free(list, &qapi_type_intList);
}

static inline void qapi_free_uint64List(uint64List *list)
{
    qapi_free(list, &qapi_type_uint64List);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(strList, qapi_free_strList)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(intList, qapi_free_intList)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(uint64List, qapi_free_uint64List)

/* ---- building lists ---- */

/* Put @element in front of the list @head. */
#define QAPI_LIST_PREPEND(head, element) do { \
    __typeof__(head) qapi_l_ = g_malloc(sizeof(*(head))); \
    qapi_l_->value = (element); \
    qapi_l_->next = (head); \
    (head) = qapi_l_; \
} while (0)

/* Append: @tail starts as &head and always points to the last next pointer. */
#define QAPI_LIST_APPEND(tail, element) do { \
    *(tail) = g_malloc0(sizeof(**(tail))); \
    (*(tail))->value = (element); \
    (tail) = &(*(tail))->next; \
} while (0)

/* How many elements a list has. */
#define QAPI_LIST_LENGTH(list) \
    ({ size_t qapi_n_ = 0; \
       for (__typeof__(list) qapi_e_ = (list); qapi_e_; qapi_e_ = qapi_e_->next) { \
           qapi_n_++; \
       } \
       qapi_n_; })

#endif
