/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON tokens to one value, without recursion: a stack of the containers that are open, and what
 * is expected next.
 */
#include "qemu/osdep.h"
#include <math.h>
#include "json-internal.h"
#include "qobject/qbool.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qnull.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"

typedef enum Expect {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_END,  /* after [ */
    EXPECT_KEY,
    EXPECT_KEY_OR_END,    /* after { */
    EXPECT_COLON,
    EXPECT_SEPARATOR,     /* , or the end of the innermost container */
    EXPECT_NOTHING,       /* the value is complete */
} Expect;

typedef struct Level {
    QObject *container;
    char *key;  /* of the value being read, in a dict */
} Level;

struct JSONBuilder {
    Expect expect;
    GArray *levels;
    QObject *result;
    Error *err;
    va_list *ap;
};

#define fail(builder, ...) error_setg(&(builder)->err, "JSON parse error, " __VA_ARGS__)

static Level *innermost(JSONBuilder *builder)
{
    return builder->levels->len
        ? &g_array_index(builder->levels, Level, builder->levels->len - 1) : NULL;
}

JSONBuilder *json_builder_new(va_list *ap)
{
    JSONBuilder *builder = g_new0(JSONBuilder, 1);

    builder->levels = g_array_new(FALSE, FALSE, sizeof(Level));
    builder->ap = ap;
    return builder;
}

void json_builder_free(JSONBuilder *builder)
{
    json_builder_reset(builder);
    g_array_free(builder->levels, TRUE);
    g_free(builder);
}

void json_builder_reset(JSONBuilder *builder)
{
    /* Innermost first: freeing the outermost whole would recurse, though not deeper than the
     * limit on nesting. */
    for (Level *level; (level = innermost(builder));) {
        qobject_unref(level->container);
        g_free(level->key);
        g_array_set_size(builder->levels, builder->levels->len - 1);
    }
    qobject_unref(builder->result);
    error_free(builder->err);
    builder->result = NULL;
    builder->err = NULL;
    builder->expect = EXPECT_VALUE;
}

QObject *json_builder_take(JSONBuilder *builder, Error **errp)
{
    if (!builder->err && builder->expect != EXPECT_NOTHING) {
        fail(builder, "premature EOI");
    }
    if (builder->err) {
        error_propagate(errp, g_steal_pointer(&builder->err));
        return NULL;
    }
    return g_steal_pointer(&builder->result);
}

/* ---- scalars ---- */

/* Four hexadecimal digits, or -1. */
static int parse_hex4(const char *str)
{
    int code = 0;

    for (int i = 0; i < 4; i++) {
        if (!g_ascii_isxdigit(str[i])) {
            return -1;
        }
        code = code * 16 + g_ascii_xdigit_value(str[i]);
    }
    return code;
}

/* Decode what follows "\u"; returns behind it, or NULL with the builder's error set. */
static const char *unescape_unicode(JSONBuilder *builder, const char *p, GString *out)
{
    const char *begin = p - 2;
    int code = parse_hex4(p);

    if (code >= 0) {
        p += 4;
        if (code >= 0xd800 && code < 0xdc00 && p[0] == '\\' && p[1] == 'u') {
            int low = parse_hex4(p + 2);

            if (low >= 0xdc00 && low < 0xe000) {
                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                p += 6;
            }
        }
    }
    if (!json_utf8_append(out, code)) {
        fail(builder, "%.6s is not a valid Unicode character", begin);
        return NULL;
    }
    return p;
}

/* Decode what follows a backslash; returns behind it, or NULL with the builder's error set. */
static const char *unescape(JSONBuilder *builder, const char *p, GString *out)
{
    static const char from[] = "\"'\\/bfnrt";
    static const char to[] = "\"'\\/\b\f\n\r\t";
    const char *found = strchr(from, *p);

    if (*p == 'u') {
        return unescape_unicode(builder, p + 1, out);
    }
    if (!found) {
        fail(builder, "invalid escape sequence in string");
        return NULL;
    }
    g_string_append_c(out, to[found - from]);
    return p + 1;
}

/* @text in its quotes, NUL-terminated.  NULL with the builder's error set if it is malformed. */
static char *parse_string(JSONBuilder *builder, const char *text, size_t len)
{
    g_autoptr(GString) out = g_string_sized_new(len);
    const char *end = text + len - 1;
    const char *p = text + 1;

    while (p < end) {
        size_t n;

        if (*p == '\\') {
            p = unescape(builder, p + 1, out);
            if (!p) {
                return NULL;
            }
        } else if ((unsigned char)*p < 0x80) {
            const char *run = p;

            while (p < end && *p != '\\' && (unsigned char)*p < 0x80) {
                p++;
            }
            g_string_append_len(out, run, p - run);
        } else if (json_utf8_decode(p, end - p, &n) >= 0) {
            g_string_append_len(out, p, n);
            p += n;
        } else {
            fail(builder, "invalid UTF-8 sequence in string");
            return NULL;
        }
    }
    return g_string_free(g_steal_pointer(&out), FALSE);
}

static QObject *parse_double(JSONBuilder *builder, const char *text)
{
    double value = g_ascii_strtod(text, NULL);

    if (!isfinite(value)) {
        fail(builder, "number '%.40s' is out of range", text);
        return NULL;
    }
    return QOBJECT(qnum_from_double(value));
}

static QObject *parse_integer(JSONBuilder *builder, const char *text)
{
    int64_t value;
    uint64_t uvalue;

    errno = 0;
    value = g_ascii_strtoll(text, NULL, 10);
    if (errno != ERANGE) {
        return QOBJECT(qnum_from_int(value));
    }
    errno = 0;
    uvalue = g_ascii_strtoull(text, NULL, 10);
    if (text[0] != '-' && errno != ERANGE) {
        return QOBJECT(qnum_from_uint(uvalue));
    }
    return parse_double(builder, text);
}

static QObject *parse_keyword(JSONBuilder *builder, const char *text)
{
    if (g_str_equal(text, "true") || g_str_equal(text, "false")) {
        return QOBJECT(qbool_from_bool(text[0] == 't'));
    }
    if (g_str_equal(text, "null")) {
        return QOBJECT(qnull());
    }
    fail(builder, "invalid keyword '%.40s'", text);
    return NULL;
}

static QObject *fill_hole(JSONBuilder *builder, const char *text)
{
    va_list *ap = builder->ap;

    if (g_str_equal(text, "%p")) {
        return va_arg(*ap, QObject *);
    } else if (g_str_equal(text, "%i")) {
        return QOBJECT(qbool_from_bool(va_arg(*ap, int)));
    } else if (g_str_equal(text, "%d")) {
        return QOBJECT(qnum_from_int(va_arg(*ap, int)));
    } else if (g_str_equal(text, "%ld")) {
        return QOBJECT(qnum_from_int(va_arg(*ap, long)));
    } else if (g_str_equal(text, "%lld")) {
        return QOBJECT(qnum_from_int(va_arg(*ap, long long)));
    } else if (g_str_equal(text, "%u")) {
        return QOBJECT(qnum_from_uint(va_arg(*ap, unsigned)));
    } else if (g_str_equal(text, "%lu")) {
        return QOBJECT(qnum_from_uint(va_arg(*ap, unsigned long)));
    } else if (g_str_equal(text, "%llu")) {
        return QOBJECT(qnum_from_uint(va_arg(*ap, unsigned long long)));
    } else if (g_str_equal(text, "%s")) {
        return QOBJECT(qstring_from_str(va_arg(*ap, const char *)));
    } else if (g_str_equal(text, "%f")) {
        return QOBJECT(qnum_from_double(va_arg(*ap, double)));
    }
    fail(builder, "invalid interpolation '%s'", text);
    return NULL;
}

/* The value of a token that is one by itself; NULL with the builder's error set. */
static QObject *parse_scalar(JSONBuilder *builder, JSONTokenType type, const char *text,
                             size_t len)
{
    char *str;

    switch (type) {
    case JSON_STRING:
        str = parse_string(builder, text, len);
        return str ? QOBJECT(qstring_take(str)) : NULL;
    case JSON_INTEGER:
        return parse_integer(builder, text);
    case JSON_FLOAT:
        return parse_double(builder, text);
    case JSON_KEYWORD:
        return parse_keyword(builder, text);
    case JSON_HOLE:
        return fill_hole(builder, text);
    default:
        fail(builder, "expecting value");
        return NULL;
    }
}

/* ---- structure ---- */

/* A value is complete: put it where it belongs.  Takes @value. */
static void add_value(JSONBuilder *builder, QObject *value)
{
    Level *level = innermost(builder);

    if (!level) {
        builder->result = value;
        builder->expect = EXPECT_NOTHING;
        return;
    }
    if (level->key) {
        qdict_put_obj(qobject_to(QDict, level->container), level->key, value);
        g_clear_pointer(&level->key, g_free);
    } else {
        qlist_append_obj(qobject_to(QList, level->container), value);
    }
    builder->expect = EXPECT_SEPARATOR;
}

static void open_container(JSONBuilder *builder, JSONTokenType type)
{
    Level level = {
        .container = type == JSON_LCURLY ? QOBJECT(qdict_new()) : QOBJECT(qlist_new()),
    };

    g_array_append_val(builder->levels, level);
    builder->expect = type == JSON_LCURLY ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
}

static void close_container(JSONBuilder *builder)
{
    QObject *container = innermost(builder)->container;

    g_array_set_size(builder->levels, builder->levels->len - 1);
    add_value(builder, container);
}

static void add_key(JSONBuilder *builder, JSONTokenType type, const char *text, size_t len)
{
    Level *level = innermost(builder);
    char *key;

    if (type == JSON_LCURLY || type == JSON_LSQUARE || type == JSON_INTEGER
        || type == JSON_FLOAT || type == JSON_HOLE) {
        fail(builder, "key is not a string in object");
        return;
    }
    if (type != JSON_STRING) {
        g_autoptr(QObject) other = parse_scalar(builder, type, text, len);

        if (other) {
            fail(builder, "key is not a string in object");
        }
        return;
    }
    key = parse_string(builder, text, len);
    if (!key) {
        return;
    }
    if (qdict_haskey(qobject_to(QDict, level->container), key)) {
        fail(builder, "duplicate key");
        g_free(key);
        return;
    }
    level->key = key;
    builder->expect = EXPECT_COLON;
}

static void add_separator(JSONBuilder *builder, JSONTokenType type)
{
    bool in_dict = qobject_type(innermost(builder)->container) == QTYPE_QDICT;

    if (type == JSON_COMMA) {
        builder->expect = in_dict ? EXPECT_KEY : EXPECT_VALUE;
    } else if (type == (in_dict ? JSON_RCURLY : JSON_RSQUARE)) {
        close_container(builder);
    } else {
        fail(builder, "expected separator in %s", in_dict ? "dict" : "list");
    }
}

static void add_value_token(JSONBuilder *builder, JSONTokenType type, const char *text,
                            size_t len)
{
    QObject *value;

    if (type == JSON_LCURLY || type == JSON_LSQUARE) {
        open_container(builder, type);
        return;
    }
    value = parse_scalar(builder, type, text, len);
    if (value) {
        add_value(builder, value);
    }
}

void json_builder_add(JSONBuilder *builder, JSONTokenType type, const char *text, size_t len)
{
    if (builder->err) {
        return;
    }
    switch (builder->expect) {
    case EXPECT_VALUE_OR_END:
        if (type == JSON_RSQUARE) {
            close_container(builder);
            return;
        }
        add_value_token(builder, type, text, len);
        return;
    case EXPECT_VALUE:
        add_value_token(builder, type, text, len);
        return;
    case EXPECT_KEY_OR_END:
        if (type == JSON_RCURLY) {
            close_container(builder);
            return;
        }
        add_key(builder, type, text, len);
        return;
    case EXPECT_KEY:
        add_key(builder, type, text, len);
        return;
    case EXPECT_COLON:
        if (type != JSON_COLON) {
            fail(builder, "missing : in object pair");
            return;
        }
        builder->expect = EXPECT_VALUE;
        return;
    case EXPECT_SEPARATOR:
        add_separator(builder, type);
        return;
    case EXPECT_NOTHING:
        g_assert_not_reached();  /* the stream takes the value first */
    }
}

/* ---- UTF-8 ---- */

static bool is_character(int code)
{
    return code >= 0 && code <= 0x10ffff
        && !(code >= 0xd800 && code < 0xe000)
        && !(code >= 0xfdd0 && code <= 0xfdef)
        && (code & 0xfffe) != 0xfffe;
}

int json_utf8_decode(const char *str, size_t size, size_t *len)
{
    static const int smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned char lead = str[0];
    int need = lead < 0x80 ? 1 : lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3
        : lead < 0xf8 ? 4 : 0;
    int code = need == 1 ? lead : need ? lead & (0x7f >> need) : -1;

    *len = 1;
    for (int i = 1; i < need; i++, ++*len) {
        if ((size_t)i >= size || (str[i] & 0xc0) != 0x80) {
            return -1;
        }
        code = (code << 6) | (str[i] & 0x3f);
    }
    if (need > 1 && code < smallest[need] && !(need == 2 && code == 0)) {
        return -1;
    }
    return is_character(code) ? code : -1;
}

bool json_utf8_append(GString *out, int code)
{
    if (!is_character(code)) {
        return false;
    }
    if (code == 0) {
        g_string_append_len(out, "\xc0\x80", 2);
    } else {
        g_string_append_unichar(out, code);
    }
    return true;
}
