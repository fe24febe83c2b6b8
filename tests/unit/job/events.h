/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests of jobs: what was sent, as words: "j:created j:running BLOCK_JOB_ERROR:j:write:stop".
 */
#ifndef TESTS_UNIT_JOB_EVENTS_H
#define TESTS_UNIT_JOB_EVENTS_H

#include "qapi/events.h"
#include "qobject/qdict.h"

static GString *events_text;

static void events_emit(int event, QDict *message)
{
    const char *name = qdict_get_str(message, "event");
    QDict *data = qdict_get_qdict(message, "data");
    const char *id = qdict_get_try_str(data, "id");

    if (events_text->len) {
        g_string_append_c(events_text, ' ');
    }
    if (strcmp(name, "JOB_STATUS_CHANGE") == 0) {
        g_string_append_printf(events_text, "%s:%s", id, qdict_get_str(data, "status"));
        return;
    }
    g_string_append_printf(events_text, "%s:%s", name,
                           id ? id : qdict_get_try_str(data, "device"));
    if (qdict_haskey(data, "operation")) {
        g_string_append_printf(events_text, ":%s:%s", qdict_get_str(data, "operation"),
                               qdict_get_str(data, "action"));
    }
    if (qdict_haskey(data, "error")) {
        g_string_append_printf(events_text, ":%s", qdict_get_str(data, "error"));
    }
}

static void events_start(void)
{
    events_text = g_string_new("");
    qapi_event_set_emitter(events_emit);
}

/* What was sent since it was last asked for is exactly @expected. */
static void events_expect(const char *expected)
{
    g_assert_cmpstr(events_text->str, ==, expected);
    g_string_truncate(events_text, 0);
}

static inline void events_forget(void)
{
    g_string_truncate(events_text, 0);
}

#endif
