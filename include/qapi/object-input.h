/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Visitors that make C values from a QObject. */
#ifndef QAPI_OBJECT_INPUT_H
#define QAPI_OBJECT_INPUT_H

#include "qapi/visitor.h"

/** Strict: types as in JSON; members nobody asked for are an error.  Refers to @obj. */
Visitor *qobject_input_visitor_new(QObject *obj);

/** For what keyval_parse() makes: every scalar is a string.  Refers to @obj. */
Visitor *qobject_input_visitor_new_keyval(QObject *obj);

/**
 * For a dict whose scalars may be either: strings (command line) are read as keyval does, other
 * values strictly.  This is what block options are, after json: and -drive met in one dict.
 */
Visitor *qobject_input_visitor_new_flat_confused(QDict *flat, Error **errp);

/** A visitor for @str: JSON if it starts with '{', else key=value,...  NULL with @errp set. */
Visitor *qobject_input_visitor_new_str(const char *str, const char *implied_key, Error **errp);

#endif
