/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What qobject.c needs of the other types. */
#ifndef QOBJECT_INTERNAL_H
#define QOBJECT_INTERNAL_H

#include "qobject/qdict.h"
#include "qobject/qnum.h"

void qdict_destroy(QDict *dict);
bool qnum_is_equal(const QNum *a, const QNum *b);

#endif
