/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "driver=qcow2,file.driver=file,file.filename=a,,b" to a nested dict of strings.
 *
 * A key is words joined by dots; a word of digits is a list index; two commas are one comma in a
 * value.  Later pairs replace earlier ones.  The result is for qobject_input_visitor_new_keyval.
 */
#ifndef QOBJECT_KEYVAL_H
#define QOBJECT_KEYVAL_H

#include "qemu/error.h"
#include "qobject/qdict.h"

/**
 * Parse @params.
 *
 * @implied_key: key of the first value if it stands without one, or NULL.
 * @help: set to whether "help" or "?" was among the items; NULL: then help is an error.
 * Returns: a new dict; NULL with @errp set.
 */
QDict *keyval_parse(const char *params, const char *implied_key, bool *help, Error **errp);

/** As keyval_parse(), putting into @dict, which may hold pairs already.  False on error. */
bool keyval_parse_into(QDict *dict, const char *params, const char *implied_key, bool *help,
                       Error **errp);

/**
 * Merge @src into @dst, dict by dict; lists are appended, scalars replaced.
 * Returns: false with @errp set if something is a dict or list on one side only.
 */
bool keyval_merge(QDict *dst, const QDict *src, Error **errp);

#endif
