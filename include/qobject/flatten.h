/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between nested dicts and flat ones with dotted keys ("file.driver", "children.0.driver").
 *
 * In a flat dict a list shows as keys 0, 1, 2 … without a gap.  An empty dict or list has no
 * flat form and stays as it is.
 */
#ifndef QOBJECT_FLATTEN_H
#define QOBJECT_FLATTEN_H

#include "qemu/error.h"
#include "qobject/qdict.h"

/** Set @key of @dst to the string @value, if it is not there. */
void qdict_set_default_str(QDict *dst, const char *key, const char *value);

/** Replace every nested dict and list of @dict by dotted keys, in place. */
void qdict_flatten(QDict *dict);

/**
 * Nest a flat dict; the reverse of qdict_flatten().  "..": a dot in a key.
 *
 * @src: every value is a scalar or an empty dict or list; anything else is an error.
 * Returns: a new QDict or QList; NULL with @errp set if keys contradict each other.
 */
QObject *qdict_crumple(const QDict *src, Error **errp);

/** Move the keys of @src that start with @prefix, without it, into a new dict @dst. */
void qdict_extract_subqdict(QDict *src, QDict **dst, const char *prefix);

/**
 * Cut a flat list in pieces: for n = 0, 1 …, either key "n" or all keys "n.*" (as a dict, moved).
 * What is left in @src at the end was not part of the list.
 */
void qdict_array_split(QDict *src, QList **dst);

/**
 * Count the list elements that keys "@subqdict0", "@subqdict0.*", "@subqdict1" … make up.
 * @subqdict: prefix ending in a dot, or empty.
 * Returns: the number; -EINVAL if the keys under @subqdict do not form a list.
 */
int qdict_array_entries(const QDict *src, const char *subqdict);

/** Move what @src has into @dst; keys both have stay in @src unless @overwrite. */
void qdict_join(QDict *dst, QDict *src, bool overwrite);

typedef struct QDictRenames {
    const char *from;
    const char *to;
} QDictRenames;

/** Rename keys; @renames ends with a NULL @from.  False with @errp set if both names are there. */
bool qdict_rename_keys(QDict *dict, const QDictRenames *renames, Error **errp);

#endif
