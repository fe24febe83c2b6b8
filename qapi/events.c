/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include <sys/time.h>
#include "qapi/events.h"
#include "qapi/object-output.h"

static QapiEventEmit *emitter;

void qapi_event_set_emitter(QapiEventEmit *emit)
{
    emitter = emit;
}

QDict *qapi_event_timestamp(void)
{
    QDict *dict = qdict_new();
    struct timeval now;

    gettimeofday(&now, NULL);
    qdict_put_int(dict, "seconds", now.tv_sec);
    qdict_put_int(dict, "microseconds", now.tv_usec);
    return dict;
}

void qapi_event_emit(int event, const char *name, const void *data, const QapiType *type)
{
    g_autoptr(QDict) message = NULL;

    if (!emitter) {
        return;
    }
    message = qdict_new();
    qdict_put(message, "timestamp", qapi_event_timestamp());
    qdict_put_str(message, "event", name);
    if (data) {
        qdict_put_obj(message, "data", qapi_to_qobject(&data, type));
    }
    emitter(event, message);
}
