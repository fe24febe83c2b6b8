/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A visitor that makes a QObject from a C value. */
#ifndef QAPI_OBJECT_OUTPUT_H
#define QAPI_OBJECT_OUTPUT_H

#include "qapi/visitor.h"

/** visit_complete(v, result) stores the new value, owned by the caller, in *@result. */
Visitor *qobject_output_visitor_new(QObject **result);

/** A value of @type as a QObject, without the ceremony.  @obj points to the variable. */
QObject *qapi_to_qobject(const void *obj, const QapiType *type);

/** The reverse, strict.  @obj points to the variable that receives it. */
bool qapi_from_qobject(void *obj, const QapiType *type, QObject *value, Error **errp);

#endif
