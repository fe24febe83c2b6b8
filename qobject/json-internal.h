/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stages of JSON input: lexer (bytes to tokens), builder (tokens to a value), and the stream
 * that drives both.  Each keeps its own state between calls, so input may come in any pieces and
 * no stage recurses.
 */
#ifndef QOBJECT_JSON_INTERNAL_H
#define QOBJECT_JSON_INTERNAL_H

#include "qemu/error.h"
#include "qobject/qobject.h"

#define JSON_MAX_VALUE_BYTES (64 * MiB)
#define JSON_MAX_TOKENS (2 * MiB)
#define JSON_MAX_NESTING 1024

typedef enum JSONTokenType {
    JSON_LCURLY,
    JSON_RCURLY,
    JSON_LSQUARE,
    JSON_RSQUARE,
    JSON_COLON,
    JSON_COMMA,
    JSON_INTEGER,
    JSON_FLOAT,
    JSON_KEYWORD,
    JSON_STRING,  /* with its quotes */
    JSON_HOLE,    /* %d and so on */
    JSON_ERROR,   /* what could not be a token */
} JSONTokenType;

/* ---- lexer ---- */

/* @text is NUL-terminated, valid during the call. */
typedef void JSONTokenFn(void *opaque, JSONTokenType type, const char *text, size_t len);

typedef struct JSONLexer {
    int state;
    char quote;
    bool holes;  /* whether % starts a hole */
    GString *token;
    JSONTokenFn *emit;
    void *opaque;
} JSONLexer;

void json_lexer_init(JSONLexer *lexer, bool holes, JSONTokenFn *emit, void *opaque);
void json_lexer_done(JSONLexer *lexer);
void json_lexer_feed(JSONLexer *lexer, const char *buffer, size_t size);
/* The input ends: finish a number or keyword; anything else half-read is an error token. */
void json_lexer_flush(JSONLexer *lexer);

/* ---- builder ---- */

typedef struct JSONBuilder JSONBuilder;

/* @ap: arguments for holes, or NULL. */
JSONBuilder *json_builder_new(va_list *ap);
void json_builder_free(JSONBuilder *builder);
/* Forget everything. */
void json_builder_reset(JSONBuilder *builder);
/* Add a token.  After an error, further tokens are ignored until the builder is reset. */
void json_builder_add(JSONBuilder *builder, JSONTokenType type, const char *text, size_t len);
/* Hand over the finished value; or set @errp to what was wrong, "premature EOI" if unfinished. */
QObject *json_builder_take(JSONBuilder *builder, Error **errp);

/* ---- UTF-8, with C0 80 for U+0000 ---- */

/*
 * Decode one character of at most @size bytes; *@len becomes its length, or how many bytes to
 * skip.  Returns: the code point, or -1 if it is malformed, a surrogate or a noncharacter.
 */
int json_utf8_decode(const char *str, size_t size, size_t *len);
/* Append @code, false if it is no character. */
bool json_utf8_append(GString *out, int code);

#endif
