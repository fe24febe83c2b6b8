/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QNull: the JSON null.  Compare by type, not by pointer. */
#ifndef QOBJECT_QNULL_H
#define QOBJECT_QNULL_H

#include "qobject/qobject.h"

struct QNull {
    struct QObjectHead base;
};

/** A new QNull. */
QNull *qnull(void);

static inline void qnull_unref(QNull *qnull)
{
    qobject_unref(qnull);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QNull, qnull_unref)

#endif
