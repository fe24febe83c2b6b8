/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values to JSON text, in ASCII: everything else is escaped. */
#ifndef QOBJECT_JSON_WRITER_H
#define QOBJECT_JSON_WRITER_H

#include "qobject/qobject.h"

/** @obj on one line: {"a": 1, "b": [1, 2]}. */
GString *qobject_to_json(const QObject *obj);

/** As qobject_to_json(); if @pretty, on many lines, indented by four. */
GString *qobject_to_json_pretty(const QObject *obj, bool pretty);

/*
 * Writing without building values first.  Inside an object each call names its member; elsewhere
 * @name is NULL.  Nesting is asserted.
 */
typedef struct JSONWriter JSONWriter;

JSONWriter *json_writer_new(bool pretty);
void json_writer_free(JSONWriter *writer);

/** The text so far; to be freed by the caller.  Frees the writer. */
GString *json_writer_get_and_free(JSONWriter *writer);

void json_writer_start_object(JSONWriter *writer, const char *name);
void json_writer_end_object(JSONWriter *writer);
void json_writer_start_array(JSONWriter *writer, const char *name);
void json_writer_end_array(JSONWriter *writer);
void json_writer_bool(JSONWriter *writer, const char *name, bool value);
void json_writer_null(JSONWriter *writer, const char *name);
void json_writer_int64(JSONWriter *writer, const char *name, int64_t value);
void json_writer_uint64(JSONWriter *writer, const char *name, uint64_t value);
void json_writer_double(JSONWriter *writer, const char *name, double value);
void json_writer_str(JSONWriter *writer, const char *name, const char *value);
void json_writer_value(JSONWriter *writer, const char *name, const QObject *value);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(JSONWriter, json_writer_free)

#endif
