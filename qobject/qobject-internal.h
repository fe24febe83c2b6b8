/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of this folder need of one another. */
#ifndef QOBJECT_INTERNAL_H
#define QOBJECT_INTERNAL_H

#include "qobject/qdict.h"
#include "qobject/qnum.h"

void qdict_destroy(QDict *dict);
/* Exchange the contents of two dicts. */
void qdict_swap(QDict *a, QDict *b);
/* Read up to a comma that is not doubled; *@p becomes what follows it.  Free with g_free(). */
char *option_value_read(const char **p);
bool qnum_is_equal(const QNum *a, const QNum *b);

#endif
