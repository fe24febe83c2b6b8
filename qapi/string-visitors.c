/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One scalar, or a list of integers, from and to text. */
#include "qemu/osdep.h"
#include "qapi/string-visitors.h"
#include "qemu/cutils.h"
#include "qobject/qnull.h"

/* How many numbers a list of ranges may stand for. */
#define MAX_ELEMENTS 65536

typedef struct StringInput {
    Visitor visitor;
    const char *text;
    const char *pos;     /* list: what is left of the text, behind the current range */
    bool in_list;
    size_t n;
    /* list: the range being handed out; unsigned arithmetic serves both signs */
    uint64_t next, last;
} StringInput;

static StringInput *to_input(Visitor *v)
{
    return container_of(v, StringInput, visitor);
}

static bool wrong_type(const char *name, const char *expected, Error **errp)
{
    error_setg(errp, "Invalid parameter type for '%s', expected: %s", name ? name : "null",
               expected);
    return false;
}

static bool wrong_value(const char *name, const char *expected, Error **errp)
{
    error_setg(errp, "Parameter '%s' expects %s", name ? name : "null", expected);
    return false;
}

static bool input_start_struct(Visitor *v, const char *name, Error **errp)
{
    error_setg(errp, "Parameter '%s' cannot be given as a string", name ? name : "null");
    return false;
}

static void input_end_struct(Visitor *v)
{
}

static bool input_start_list(Visitor *v, const char *name, bool *more, Error **errp)
{
    StringInput *in = to_input(v);

    if (in->in_list) {
        return input_start_struct(v, name, errp);
    }
    in->in_list = true;
    in->pos = in->text;
    in->n = 0;
    in->next = 1;
    in->last = 0;
    *more = *in->text;
    return true;
}

static bool range_done(const StringInput *in)
{
    return in->next == in->last + 1;
}

static bool input_next_list(Visitor *v)
{
    StringInput *in = to_input(v);

    return !range_done(in) || *in->pos;
}

static void input_end_list(Visitor *v)
{
    to_input(v)->in_list = false;
}

/* Parse one bound at in->pos. */
static bool parse_bound(StringInput *in, bool is_signed, uint64_t *value)
{
    return is_signed ? qemu_strtoi64(in->pos, &in->pos, 0, (int64_t *)value) == 0
        : qemu_strtou64(in->pos, &in->pos, 0, value) == 0;
}

/* Parse "5" or "5-7" at in->pos, and the comma behind it if more follows. */
static bool parse_range(StringInput *in, bool is_signed)
{
    uint64_t first, last;

    if (!parse_bound(in, is_signed, &first)) {
        return false;
    }
    last = first;
    if (*in->pos == '-') {
        in->pos++;
        if (!parse_bound(in, is_signed, &last)) {
            return false;
        }
    }
    if (is_signed ? (int64_t)first > (int64_t)last : first > last) {
        return false;
    }
    if (last - first >= MAX_ELEMENTS - in->n) {
        return false;
    }
    if (*in->pos == ',') {
        in->pos++;
        if (!*in->pos) {
            return false;
        }
    } else if (*in->pos) {
        return false;
    }
    in->next = first;
    in->last = last;
    in->n += last - first + 1;
    return true;
}

static bool list_element(StringInput *in, const char *name, bool is_signed, uint64_t *value,
                         Error **errp)
{
    if (range_done(in) && !parse_range(in, is_signed)) {
        return wrong_value(name, is_signed ? "a list of int64 values or ranges"
                           : "a list of uint64 values or ranges", errp);
    }
    *value = in->next++;
    return true;
}

static bool input_int64(Visitor *v, const char *name, int64_t *value, Error **errp)
{
    StringInput *in = to_input(v);

    if (in->in_list) {
        return list_element(in, name, true, (uint64_t *)value, errp);
    }
    return qemu_strtoi64(in->text, NULL, 0, value) == 0 || wrong_type(name, "int64", errp);
}

static bool input_uint64(Visitor *v, const char *name, uint64_t *value, Error **errp)
{
    StringInput *in = to_input(v);

    if (in->in_list) {
        return list_element(in, name, false, value, errp);
    }
    return qemu_strtou64(in->text, NULL, 0, value) == 0 || wrong_type(name, "uint64", errp);
}

/* Only integers make lists. */
static bool no_list(StringInput *in, const char *name, Error **errp)
{
    if (in->in_list) {
        error_setg(errp, "Parameter '%s' cannot be given as a string", name ? name : "null");
    }
    return !in->in_list;
}

static bool input_size(Visitor *v, const char *name, uint64_t *value, Error **errp)
{
    StringInput *in = to_input(v);

    return no_list(in, name, errp)
        && (qemu_strtosz(in->text, NULL, value) == 0 || wrong_value(name, "a size value", errp));
}

static bool input_bool(Visitor *v, const char *name, bool *value, Error **errp)
{
    StringInput *in = to_input(v);

    return no_list(in, name, errp)
        && qapi_bool_parse(name ? name : "null", in->text, value, errp);
}

static bool input_str(Visitor *v, const char *name, char **value, Error **errp)
{
    StringInput *in = to_input(v);

    if (!no_list(in, name, errp)) {
        return false;
    }
    *value = g_strdup(in->text);
    return true;
}

static bool input_number(Visitor *v, const char *name, double *value, Error **errp)
{
    StringInput *in = to_input(v);

    return no_list(in, name, errp)
        && (qemu_strtod_finite(in->text, NULL, value) == 0 || wrong_type(name, "number", errp));
}

static bool input_any(Visitor *v, const char *name, QObject **value, Error **errp)
{
    return input_start_struct(v, name, errp);
}

static bool input_null(Visitor *v, const char *name, QNull **value, Error **errp)
{
    if (*to_input(v)->text) {
        return wrong_type(name, "null", errp);
    }
    *value = qnull();
    return true;
}

static bool input_optional(Visitor *v, const char *name)
{
    return true;
}

static void input_free(Visitor *v)
{
    g_free(to_input(v));
}

static const VisitorOps input_ops = {
    .is_input = true,
    .start_struct = input_start_struct,
    .end_struct = input_end_struct,
    .start_list = input_start_list,
    .next_list = input_next_list,
    .end_list = input_end_list,
    .optional = input_optional,
    .type_int64 = input_int64,
    .type_uint64 = input_uint64,
    .type_size = input_size,
    .type_bool = input_bool,
    .type_str = input_str,
    .type_number = input_number,
    .type_any = input_any,
    .type_null = input_null,
    .free = input_free,
};

Visitor *string_input_visitor_new(const char *str)
{
    StringInput *in = g_new0(StringInput, 1);

    in->visitor.ops = &input_ops;
    in->text = str;
    return &in->visitor;
}

/* ---- output ---- */

typedef struct StringOutput {
    Visitor visitor;
    bool human;
    bool in_list;
    GString *text;
    char **result;
} StringOutput;

static StringOutput *to_output(Visitor *v)
{
    return container_of(v, StringOutput, visitor);
}

/* The buffer, with a separator behind an earlier element. */
static GString *begin(Visitor *v)
{
    StringOutput *out = to_output(v);

    if (out->in_list && out->text->len) {
        g_string_append(out->text, ", ");
    }
    return out->text;
}

static bool output_start_struct(Visitor *v, const char *name, Error **errp)
{
    error_setg(errp, "Parameter '%s' cannot be shown as a string", name ? name : "null");
    return false;
}

static void output_end_struct(Visitor *v)
{
}

static bool output_start_list(Visitor *v, const char *name, bool *more, Error **errp)
{
    to_output(v)->in_list = true;
    return true;
}

static bool output_next_list(Visitor *v)
{
    return false;
}

static void output_end_list(Visitor *v)
{
    to_output(v)->in_list = false;
}

static bool output_int64(Visitor *v, const char *name, int64_t *value, Error **errp)
{
    g_string_append_printf(begin(v), "%" PRId64, *value);
    return true;
}

static bool output_uint64(Visitor *v, const char *name, uint64_t *value, Error **errp)
{
    g_string_append_printf(begin(v), "%" PRIu64, *value);
    return true;
}

static bool output_size(Visitor *v, const char *name, uint64_t *value, Error **errp)
{
    g_autofree char *rounded = NULL;

    if (!to_output(v)->human) {
        return output_uint64(v, name, value, errp);
    }
    rounded = size_to_str(*value);
    g_string_append_printf(begin(v), "%" PRIu64 " (%s)", *value, rounded);
    return true;
}

static bool output_bool(Visitor *v, const char *name, bool *value, Error **errp)
{
    g_string_append(begin(v), *value ? "true" : "false");
    return true;
}

static bool output_str(Visitor *v, const char *name, char **value, Error **errp)
{
    bool human = to_output(v)->human;

    if (human && !*value) {
        g_string_append(begin(v), "<null>");
    } else {
        g_string_append_printf(begin(v), human ? "\"%s\"" : "%s", *value ? *value : "");
    }
    return true;
}

static bool output_number(Visitor *v, const char *name, double *value, Error **errp)
{
    char buf[G_ASCII_DTOSTR_BUF_SIZE];

    g_string_append(begin(v), g_ascii_formatd(buf, sizeof(buf), "%.17g", *value));
    return true;
}

static bool output_any(Visitor *v, const char *name, QObject **value, Error **errp)
{
    return output_start_struct(v, name, errp);
}

static bool output_null(Visitor *v, const char *name, QNull **value, Error **errp)
{
    g_string_append(begin(v), to_output(v)->human ? "<null>" : "");
    return true;
}

static void output_complete(Visitor *v, void *opaque)
{
    StringOutput *out = to_output(v);

    assert(opaque == out->result);
    *out->result = g_string_free(out->text, FALSE);
    out->text = NULL;
}

static void output_free(Visitor *v)
{
    StringOutput *out = to_output(v);

    if (out->text) {
        g_string_free(out->text, TRUE);
    }
    g_free(out);
}

static const VisitorOps output_ops = {
    .start_struct = output_start_struct,
    .end_struct = output_end_struct,
    .start_list = output_start_list,
    .next_list = output_next_list,
    .end_list = output_end_list,
    .type_int64 = output_int64,
    .type_uint64 = output_uint64,
    .type_size = output_size,
    .type_bool = output_bool,
    .type_str = output_str,
    .type_number = output_number,
    .type_any = output_any,
    .type_null = output_null,
    .complete = output_complete,
    .free = output_free,
};

Visitor *string_output_visitor_new(bool human, char **result)
{
    StringOutput *out = g_new0(StringOutput, 1);

    *result = NULL;
    out->visitor.ops = &output_ops;
    out->human = human;
    out->text = g_string_new(NULL);
    out->result = result;
    return &out->visitor;
}
