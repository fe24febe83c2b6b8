/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events: generated qapi_event_send_X() functions build the message, the monitor sends it.
 */
#ifndef QAPI_EVENTS_H
#define QAPI_EVENTS_H

#include "qapi/types.h"
#include "qobject/qdict.h"

/** Receives each event message (borrowed) with its QAPIEvent number.  Any thread may call it. */
typedef void QapiEventEmit(int event, QDict *message);

/** Set who receives events, or NULL: they are dropped.  Before any other thread runs. */
void qapi_event_set_emitter(QapiEventEmit *emit);

/** Send event number @event, called @name, with the members of @data (or NULL) as data. */
void qapi_event_emit(int event, const char *name, const void *data, const QapiType *type);

/** {"seconds": …, "microseconds": …}: now. */
QDict *qapi_event_timestamp(void);

#endif
