/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON text to values, whole or in pieces.
 *
 * Accepted beyond RFC 8259: strings in single quotes, the escape \', and 0xFF between values as
 * a request to start afresh.  Refused: duplicate keys, more than 1,024 levels, a token above
 * 64 MiB, more than 2 Mi tokens in a value, invalid UTF-8, integers keep 64 bits (QNum).
 *
 * A stream survives errors: after a syntax error it goes on behind the value's last bracket;
 * after a character that cannot be, at the next structural character or control character
 * (newline) or 0xFF.
 */
#ifndef QOBJECT_JSON_PARSER_H
#define QOBJECT_JSON_PARSER_H

#include "qemu/error.h"
#include "qobject/qdict.h"
#include "qobject/qobject.h"

/**
 * Receives each value (takes @obj), or what was wrong (takes @err); exactly one is not NULL.
 */
typedef void JSONMessageEmit(void *opaque, QObject *obj, Error *err);

typedef struct JSONMessageParser JSONMessageParser;

/** A new stream parser that calls @emit. */
JSONMessageParser *json_message_parser_new(JSONMessageEmit *emit, void *opaque);
void json_message_parser_free(JSONMessageParser *parser);

/** Parse the next @size bytes; calls emit as values end. */
void json_message_parser_feed(JSONMessageParser *parser, const char *buffer, size_t size);

/** The input ends here: an unfinished value is an error.  The parser is then as new. */
void json_message_parser_flush(JSONMessageParser *parser);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(JSONMessageParser, json_message_parser_free)

/** Parse @string as one value.  NULL with @errp set if it is not exactly one. */
QObject *qobject_from_json(const char *string, Error **errp);

/**
 * Build a value from literal JSON with holes, for code and tests, not for input: %s string,
 * %d %ld %lld %u %lu %llu numbers, %f double, %i bool, %p value (takes its reference).
 * Asserts that the text is valid.
 */
QObject *qobject_from_vjsonf_nofail(const char *format, va_list ap) QEMU_PRINTF(1, 0);
QObject *qobject_from_jsonf_nofail(const char *format, ...) QEMU_PRINTF(1, 2);
QDict *qdict_from_jsonf_nofail(const char *format, ...) QEMU_PRINTF(1, 2);

#endif
