/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stream of JSON values, cut at balanced brackets.
 *
 * The stream counts brackets whether or not the grammar likes them, so a value with a syntax
 * error still ends where its brackets balance (or close too often), and is reported once.
 */
#include "qemu/osdep.h"
#include "json-internal.h"
#include "qobject/json-parser.h"

struct JSONMessageParser {
    JSONMessageEmit *emit;
    void *opaque;
    JSONLexer lexer;
    JSONBuilder *builder;
    /* of the value being read */
    int braces, brackets;
    size_t tokens, bytes;
};

static void reset(JSONMessageParser *parser)
{
    json_builder_reset(parser->builder);
    parser->braces = parser->brackets = 0;
    parser->tokens = parser->bytes = 0;
}

/* Report @err (taken) and forget what was read. */
static void fail(JSONMessageParser *parser, Error *err)
{
    reset(parser);
    parser->emit(parser->opaque, NULL, err);
}

static void finish(JSONMessageParser *parser)
{
    Error *err = NULL;
    QObject *obj = json_builder_take(parser->builder, &err);

    reset(parser);
    parser->emit(parser->opaque, obj, err);
}

/* Whether the limits hold with one more token of @len bytes; if not, an error. */
static bool check_limits(const JSONMessageParser *parser, size_t len, Error **errp)
{
    if (parser->bytes + len > JSON_MAX_VALUE_BYTES) {
        error_setg(errp, "JSON token size limit exceeded");
        return false;
    }
    if (parser->tokens + 1 > JSON_MAX_TOKENS) {
        error_setg(errp, "JSON token count limit exceeded");
        return false;
    }
    if (parser->braces + parser->brackets > JSON_MAX_NESTING) {
        error_setg(errp, "JSON nesting depth limit exceeded");
        return false;
    }
    return true;
}

static void handle_token(void *opaque, JSONTokenType type, const char *text, size_t len)
{
    JSONMessageParser *parser = opaque;
    Error *err = NULL;

    parser->braces += (type == JSON_LCURLY) - (type == JSON_RCURLY);
    parser->brackets += (type == JSON_LSQUARE) - (type == JSON_RSQUARE);
    if (!check_limits(parser, len, &err)) {
        fail(parser, err);
        return;
    }
    if (type == JSON_ERROR) {
        error_setg(&err, "JSON parse error, stray '%.1000s'", text);
        fail(parser, err);
        return;
    }
    parser->tokens++;
    parser->bytes += len;
    json_builder_add(parser->builder, type, text, len);
    if ((parser->braces > 0 || parser->brackets > 0)
        && parser->braces >= 0 && parser->brackets >= 0) {
        return;
    }
    finish(parser);
}

static JSONMessageParser *parser_new(JSONMessageEmit *emit, void *opaque, va_list *ap)
{
    JSONMessageParser *parser = g_new0(JSONMessageParser, 1);

    parser->emit = emit;
    parser->opaque = opaque;
    parser->builder = json_builder_new(ap);
    json_lexer_init(&parser->lexer, ap != NULL, handle_token, parser);
    return parser;
}

JSONMessageParser *json_message_parser_new(JSONMessageEmit *emit, void *opaque)
{
    return parser_new(emit, opaque, NULL);
}

void json_message_parser_free(JSONMessageParser *parser)
{
    if (!parser) {
        return;
    }
    json_lexer_done(&parser->lexer);
    json_builder_free(parser->builder);
    g_free(parser);
}

void json_message_parser_feed(JSONMessageParser *parser, const char *buffer, size_t size)
{
    json_lexer_feed(&parser->lexer, buffer, size);
}

void json_message_parser_flush(JSONMessageParser *parser)
{
    json_lexer_flush(&parser->lexer);
    if (parser->tokens) {
        finish(parser);
    }
}

/* ---- one value from a string ---- */

typedef struct OneValue {
    QObject *obj;
    Error *err;
} OneValue;

static void keep_one(void *opaque, QObject *obj, Error *err)
{
    OneValue *one = opaque;

    if (one->err || (one->obj && obj)) {
        if (!one->err) {
            error_setg(&one->err, "Expecting at most one JSON value");
        }
        qobject_unref(obj);
        error_free(err);
        return;
    }
    if (err) {
        one->err = err;
    } else {
        one->obj = obj;
    }
}

static QObject *parse_one(const char *string, va_list *ap, Error **errp)
{
    OneValue one = { 0 };
    g_autoptr(JSONMessageParser) parser = parser_new(keep_one, &one, ap);

    json_message_parser_feed(parser, string, strlen(string));
    json_message_parser_flush(parser);
    if (!one.obj && !one.err) {
        error_setg(&one.err, "Expecting a JSON value");
    }
    if (one.err) {
        qobject_unref(one.obj);
        error_propagate(errp, one.err);
        return NULL;
    }
    return one.obj;
}

QObject *qobject_from_json(const char *string, Error **errp)
{
    return parse_one(string, NULL, errp);
}

QObject *qobject_from_vjsonf_nofail(const char *format, va_list ap)
{
    va_list copy;
    QObject *obj;

    va_copy(copy, ap);
    obj = parse_one(format, &copy, &error_abort);
    va_end(copy);
    return obj;
}

QObject *qobject_from_jsonf_nofail(const char *format, ...)
{
    va_list ap;
    QObject *obj;

    va_start(ap, format);
    obj = qobject_from_vjsonf_nofail(format, ap);
    va_end(ap);
    return obj;
}

QDict *qdict_from_jsonf_nofail(const char *format, ...)
{
    va_list ap;
    QDict *dict;

    va_start(ap, format);
    dict = qobject_to(QDict, qobject_from_vjsonf_nofail(format, ap));
    va_end(ap);
    assert(dict);
    return dict;
}
