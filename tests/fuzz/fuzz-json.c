/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON streams: whatever the bytes, the parser survives, and what it accepts it writes so that it
 * reads back and is written the same again.
 */
#include "qemu/osdep.h"
#include "qobject/json-parser.h"
#include "qobject/json-writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_value(void *opaque, QObject *obj, Error *err)
{
    GString *text, *again;
    g_autoptr(QObject) back = NULL;

    error_free(err);
    if (!obj) {
        return;
    }
    text = qobject_to_json(obj);
    back = qobject_from_json(text->str, &error_abort);
    again = qobject_to_json(back);
    if (!g_str_equal(text->str, again->str)) {
        abort();
    }
    g_string_free(again, TRUE);
    g_string_free(text, TRUE);
    qobject_unref(obj);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(JSONMessageParser) parser = json_message_parser_new(check_value, NULL);
    size_t half = size / 2;

    json_message_parser_feed(parser, (const char *)data, half);
    json_message_parser_feed(parser, (const char *)data + half, size - half);
    json_message_parser_flush(parser);
    return 0;
}
