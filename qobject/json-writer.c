/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "json-internal.h"
#include "qobject/json-writer.h"
#include "qobject/qbool.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"

struct JSONWriter {
    bool pretty;
    bool need_comma;
    GString *text;
    GByteArray *closers;  /* the brackets that are open: '}' or ']' */
};

JSONWriter *json_writer_new(bool pretty)
{
    JSONWriter *writer = g_new0(JSONWriter, 1);

    writer->pretty = pretty;
    writer->text = g_string_new(NULL);
    writer->closers = g_byte_array_new();
    return writer;
}

void json_writer_free(JSONWriter *writer)
{
    if (writer) {
        g_string_free(writer->text, TRUE);
        g_byte_array_free(writer->closers, TRUE);
        g_free(writer);
    }
}

GString *json_writer_get_and_free(JSONWriter *writer)
{
    GString *text = writer->text;

    assert(writer->closers->len == 0);
    writer->text = g_string_new(NULL);
    json_writer_free(writer);
    return text;
}

static void write_code_point(GString *out, int code)
{
    static const char from[] = "\"\\\b\f\n\r\t";
    static const char to[] = "\"\\bfnrt";
    const char *found = code ? strchr(from, code < 0x80 ? code : 0) : NULL;

    if (found && *found) {
        g_string_append_c(out, '\\');
        g_string_append_c(out, to[found - from]);
    } else if (code >= 0x20 && code < 0x7f) {
        g_string_append_c(out, code);
    } else if (code > 0xffff) {
        g_string_append_printf(out, "\\u%04X\\u%04X", 0xd800 + ((code - 0x10000) >> 10),
                               0xdc00 + ((code - 0x10000) & 0x3ff));
    } else {
        g_string_append_printf(out, "\\u%04X", code);
    }
}

/* How many bytes at @str are characters that stand for themselves. */
static size_t plain_run(const char *str)
{
    size_t n = 0;

    while (str[n] >= 0x20 && str[n] < 0x7f && str[n] != '"' && str[n] != '\\') {
        n++;
    }
    return n;
}

static void write_quoted(GString *out, const char *str)
{
    const char *end = str + strlen(str);

    g_string_append_c(out, '"');
    while (str < end) {
        size_t len = plain_run(str);
        int code;

        g_string_append_len(out, str, len);
        str += len;
        if (str == end) {
            break;
        }
        code = json_utf8_decode(str, end - str, &len);
        write_code_point(out, code < 0 ? 0xfffd : code);
        str += len;
    }
    g_string_append_c(out, '"');
}

static void new_line(JSONWriter *writer)
{
    g_string_append_c(writer->text, '\n');
    for (guint i = 0; i < writer->closers->len; i++) {
        g_string_append(writer->text, "    ");
    }
}

/* What comes before a value: comma, line break, name. */
static void begin_value(JSONWriter *writer, const char *name)
{
    bool inside = writer->closers->len > 0;
    bool in_object = inside && writer->closers->data[writer->closers->len - 1] == '}';

    assert(in_object == (name != NULL));
    if (writer->need_comma) {
        g_string_append(writer->text, writer->pretty ? "," : ", ");
    }
    if (writer->pretty && inside) {
        new_line(writer);
    }
    if (name) {
        write_quoted(writer->text, name);
        g_string_append(writer->text, ": ");
    }
    writer->need_comma = true;
}

static void open_bracket(JSONWriter *writer, const char *name, char open, guint8 close)
{
    begin_value(writer, name);
    g_string_append_c(writer->text, open);
    g_byte_array_append(writer->closers, &close, 1);
    writer->need_comma = false;
}

static void close_bracket(JSONWriter *writer, guint8 close)
{
    guint len = writer->closers->len;

    assert(len && writer->closers->data[len - 1] == close);
    g_byte_array_set_size(writer->closers, len - 1);
    if (writer->pretty) {
        new_line(writer);
    }
    g_string_append_c(writer->text, close);
    writer->need_comma = true;
}

void json_writer_start_object(JSONWriter *writer, const char *name)
{
    open_bracket(writer, name, '{', '}');
}

void json_writer_end_object(JSONWriter *writer)
{
    close_bracket(writer, '}');
}

void json_writer_start_array(JSONWriter *writer, const char *name)
{
    open_bracket(writer, name, '[', ']');
}

void json_writer_end_array(JSONWriter *writer)
{
    close_bracket(writer, ']');
}

void json_writer_bool(JSONWriter *writer, const char *name, bool value)
{
    begin_value(writer, name);
    g_string_append(writer->text, value ? "true" : "false");
}

void json_writer_null(JSONWriter *writer, const char *name)
{
    begin_value(writer, name);
    g_string_append(writer->text, "null");
}

void json_writer_int64(JSONWriter *writer, const char *name, int64_t value)
{
    begin_value(writer, name);
    g_string_append_printf(writer->text, "%" PRId64, value);
}

void json_writer_uint64(JSONWriter *writer, const char *name, uint64_t value)
{
    begin_value(writer, name);
    g_string_append_printf(writer->text, "%" PRIu64, value);
}

void json_writer_double(JSONWriter *writer, const char *name, double value)
{
    g_autoptr(QNum) qn = qnum_from_double(value);
    g_autofree char *text = qnum_to_string(qn);

    begin_value(writer, name);
    g_string_append(writer->text, text);
}

void json_writer_str(JSONWriter *writer, const char *name, const char *value)
{
    begin_value(writer, name);
    write_quoted(writer->text, value);
}

static void write_dict(JSONWriter *writer, const char *name, const QDict *dict)
{
    json_writer_start_object(writer, name);
    for (const QDictEntry *e = qdict_first(dict); e; e = qdict_next(dict, e)) {
        json_writer_value(writer, qdict_entry_key(e), qdict_entry_value(e));
    }
    json_writer_end_object(writer);
}

static void write_list(JSONWriter *writer, const char *name, const QList *list)
{
    const QListEntry *e;

    json_writer_start_array(writer, name);
    QLIST_FOREACH_ENTRY(list, e) {
        json_writer_value(writer, NULL, e->value);
    }
    json_writer_end_array(writer);
}

void json_writer_value(JSONWriter *writer, const char *name, const QObject *value)
{
    g_autofree char *number = NULL;

    switch (qobject_type(value)) {
    case QTYPE_QNULL:
        json_writer_null(writer, name);
        break;
    case QTYPE_QNUM:
        number = qnum_to_string(qobject_to(QNum, value));
        begin_value(writer, name);
        g_string_append(writer->text, number);
        break;
    case QTYPE_QSTRING:
        json_writer_str(writer, name, qstring_get_str(qobject_to(QString, value)));
        break;
    case QTYPE_QDICT:
        write_dict(writer, name, qobject_to(QDict, value));
        break;
    case QTYPE_QLIST:
        write_list(writer, name, qobject_to(QList, value));
        break;
    case QTYPE_QBOOL:
        json_writer_bool(writer, name, qbool_get_bool(qobject_to(QBool, value)));
        break;
    default:
        g_assert_not_reached();
    }
}

GString *qobject_to_json_pretty(const QObject *obj, bool pretty)
{
    JSONWriter *writer = json_writer_new(pretty);

    json_writer_value(writer, NULL, obj);
    return json_writer_get_and_free(writer);
}

GString *qobject_to_json(const QObject *obj)
{
    return qobject_to_json_pretty(obj, false);
}
