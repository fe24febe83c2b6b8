/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include <math.h>
#include "qobject-internal.h"
#include "qobject/qnum.h"

static QNum *qnum_new(QNumKind kind)
{
    QNum *qn = g_new(QNum, 1);

    qobject_head_init(&qn->base, QTYPE_QNUM);
    qn->kind = kind;
    return qn;
}

QNum *qnum_from_int(int64_t value)
{
    QNum *qn = qnum_new(QNUM_I64);

    qn->u.i64 = value;
    return qn;
}

QNum *qnum_from_uint(uint64_t value)
{
    QNum *qn = qnum_new(QNUM_U64);

    qn->u.u64 = value;
    return qn;
}

QNum *qnum_from_double(double value)
{
    QNum *qn = qnum_new(QNUM_DOUBLE);

    qn->u.dbl = value;
    return qn;
}

bool qnum_get_try_int(const QNum *qn, int64_t *value)
{
    switch (qn->kind) {
    case QNUM_I64:
        *value = qn->u.i64;
        return true;
    case QNUM_U64:
        if (qn->u.u64 > INT64_MAX) {
            return false;
        }
        *value = qn->u.u64;
        return true;
    default:
        return false;
    }
}

bool qnum_get_try_uint(const QNum *qn, uint64_t *value)
{
    switch (qn->kind) {
    case QNUM_I64:
        if (qn->u.i64 < 0) {
            return false;
        }
        *value = qn->u.i64;
        return true;
    case QNUM_U64:
        *value = qn->u.u64;
        return true;
    default:
        return false;
    }
}

int64_t qnum_get_int(const QNum *qn)
{
    int64_t value = 0;
    bool fits = qnum_get_try_int(qn, &value);

    assert(fits);
    return value;
}

double qnum_get_double(const QNum *qn)
{
    switch (qn->kind) {
    case QNUM_I64:
        return qn->u.i64;
    case QNUM_U64:
        return qn->u.u64;
    default:
        return qn->u.dbl;
    }
}

char *qnum_to_string(const QNum *qn)
{
    char buf[G_ASCII_DTOSTR_BUF_SIZE];

    switch (qn->kind) {
    case QNUM_I64:
        return g_strdup_printf("%" PRId64, qn->u.i64);
    case QNUM_U64:
        return g_strdup_printf("%" PRIu64, qn->u.u64);
    default:
        if (!isfinite(qn->u.dbl)) {
            /* JSON has no such numbers, and "inf" would break the reader's parser. */
            return g_strdup("null");
        }
        if (qn->u.dbl == 0 && signbit(qn->u.dbl)) {
            return g_strdup("-0.0");  /* "-0" would come back as the integer 0 */
        }
        return g_strdup(g_ascii_formatd(buf, sizeof(buf), "%.17g", qn->u.dbl));
    }
}

bool qnum_is_equal(const QNum *a, const QNum *b)
{
    int64_t ia, ib;
    uint64_t ua, ub;

    if (qnum_get_try_int(a, &ia) && qnum_get_try_int(b, &ib)) {
        return ia == ib;
    }
    if (qnum_get_try_uint(a, &ua) && qnum_get_try_uint(b, &ub)) {
        return ua == ub;
    }
    /* A double equals a double only: 2^53 + 1 as integer has none. */
    return a->kind == QNUM_DOUBLE && b->kind == QNUM_DOUBLE && a->u.dbl == b->u.dbl;
}
