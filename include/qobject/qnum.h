/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QNum: a number, kept as it was written: int64_t, else uint64_t (only values above INT64_MAX
 * come from JSON so), else double.  Reading converts between the integer kinds where the value
 * fits, and from any kind to double.
 */
#ifndef QOBJECT_QNUM_H
#define QOBJECT_QNUM_H

#include <stdint.h>
#include "qobject/qobject.h"

typedef enum QNumKind {
    QNUM_I64,
    QNUM_U64,
    QNUM_DOUBLE,
} QNumKind;

struct QNum {
    struct QObjectHead base;
    QNumKind kind;
    union {
        int64_t i64;
        uint64_t u64;
        double dbl;
    } u;
};

/** A new QNum of each kind. */
QNum *qnum_from_int(int64_t value);
QNum *qnum_from_uint(uint64_t value);
QNum *qnum_from_double(double value);

/** Read as int64_t; false, leaving *@value alone, if the number is a double or too large. */
bool qnum_get_try_int(const QNum *qn, int64_t *value);

/** Read as uint64_t; false, leaving *@value alone, if it is a double or negative. */
bool qnum_get_try_uint(const QNum *qn, uint64_t *value);

/** Read a number that the caller knows to fit; asserts it does. */
int64_t qnum_get_int(const QNum *qn);

/** Read as double, rounding large integers. */
double qnum_get_double(const QNum *qn);

/** The number as JSON text, in any locale; a double reads back as the same double.  To be freed. */
char *qnum_to_string(const QNum *qn);

static inline void qnum_unref(QNum *qn)
{
    qobject_unref(qn);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QNum, qnum_unref)

#endif
