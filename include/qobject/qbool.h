/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QBool: true or false. */
#ifndef QOBJECT_QBOOL_H
#define QOBJECT_QBOOL_H

#include "qobject/qobject.h"

struct QBool {
    struct QObjectHead base;
    bool value;
};

/** A new QBool. */
QBool *qbool_from_bool(bool value);

static inline bool qbool_get_bool(const QBool *qb)
{
    return qb->value;
}

static inline void qbool_unref(QBool *qb)
{
    qobject_unref(qb);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QBool, qbool_unref)

#endif
