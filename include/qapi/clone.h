/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Deep copies of QAPI values. */
#ifndef QAPI_CLONE_H
#define QAPI_CLONE_H

#include "qapi/types.h"

/** A deep copy of @src; values of type any and null are shared.  NULL gives NULL. */
void *qapi_clone(const void *src, const QapiType *type);

/** Copy the struct or union @src over *@dst, which holds nothing. */
void qapi_clone_members(void *dst, const void *src, const QapiType *type);

/* A new @type like @src.  Lists too: QAPI_CLONE(strList, list). */
#define QAPI_CLONE(type, src) \
    ({ const type *qapi_src_ = (src); (type *)qapi_clone(qapi_src_, &qapi_type_##type); })

/* As QAPI_CLONE, into memory the caller has; free with qapi_free_members(). */
#define QAPI_CLONE_MEMBERS(type, dst, src) \
    do { \
        type *qapi_dst_ = (dst); \
        const type *qapi_src_ = (src); \
        qapi_clone_members(qapi_dst_, qapi_src_, &qapi_type_##type); \
    } while (0)

/** Whether two values of a struct, union, alternate or list type are the same, deeply. */
bool qapi_equal(const void *a, const void *b, const QapiType *type);

#endif
