/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QString: an immutable string (UTF-8, where U+0000 is spelled C0 80, so it never holds a NUL). */
#ifndef QOBJECT_QSTRING_H
#define QOBJECT_QSTRING_H

#include "qobject/qobject.h"

struct QString {
    struct QObjectHead base;
    char *string;
};

/** A new QString that copies @str. */
QString *qstring_from_str(const char *str);

/** A new QString that copies @len bytes of @str, which has no NUL among them. */
QString *qstring_from_substr(const char *str, size_t len);

/** A new QString; takes @string, which is freed with g_free(). */
QString *qstring_take(char *string);

/** A new QString; takes the GString. */
QString *qstring_from_gstring(GString *gstr);

static inline const char *qstring_get_str(const QString *qs)
{
    return qs->string;
}

/** The string of @obj if it is a QString, else NULL.  @obj may be NULL. */
static inline const char *qobject_get_try_str(const QObject *obj)
{
    const QString *qs = qobject_to(QString, obj);

    return qs ? qs->string : NULL;
}

static inline void qstring_unref(QString *qs)
{
    qobject_unref(qs);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QString, qstring_unref)

#endif
