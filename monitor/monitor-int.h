/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inside of monitor sessions.  Private to monitor/. */
#ifndef MONITOR_MONITOR_INT_H
#define MONITOR_MONITOR_INT_H

#include "block/coroutine.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/gen/control-types.h"
#include "qemu/queue.h"
#include "qemu/thread.h"

/* Above this a session carries out no more commands until its client has read. */
#define MONITOR_OUT_SOFT_MAX ((size_t)1 << 20)
/* With more of events that were not taken the client is disconnected. */
#define MONITOR_OUT_HARD_MAX ((size_t)16 << 20)

struct Monitor {
    bool is_qmp;
    CharFrontend fe;            /* fe.chr NULL: output is collected for human-monitor-command */
    QTAILQ_ENTRY(Monitor) next;

    QemuMutex lock;             /* output comes from any thread */
    GString *out;               /* from out_at on not yet taken */
    size_t out_at;
    size_t event_bytes;         /* of events, since everything had been taken */
    bool is_overflowing;        /* to be disconnected */
    bool is_retired;            /* ends as soon as it can; written by the main thread */
    int64_t drain_deadline_ms;  /* a retired one waits for its client until then; 0: unset */
    struct MonitorObject *object; /* that it belongs to, or NULL */
};

/* ---- monitor.c ------------------------------------------------------------------------------- */
/** The program ends, or @mon does: it begins no command any more. */
bool monitor_is_deaf(const Monitor *mon);
/** The device called @id; NULL with @errp set. */
Chardev *monitor_find_chardev(const char *id, Error **errp);
/**
 * End @mon: at once, or, if it carries out a command, when that was answered and the answer read,
 * or a moment has passed.
 */
void monitor_retire(Monitor *mon);
/** A session has nothing to do now, or its client has read or gone: a retired one may end. */
void monitor_may_end(Monitor *mon);

void monitor_data_init(Monitor *mon, bool is_qmp);
void monitor_data_done(Monitor *mon);
/** Put the session on the list and attach it to @chr.  False with @errp set. */
bool monitor_attach(Monitor *mon, Chardev *chr, Error **errp);
/** Bytes that the client has not taken yet. */
size_t monitor_pending_output(Monitor *mon);
/** Send @size bytes, in whole, in order. */
void monitor_send(Monitor *mon, const char *data, size_t size);
/** The same for what the client did not ask for: it is disconnected if that becomes too much. */
void monitor_send_event(Monitor *mon, const char *data, size_t size);
/** Call @fn for every QMP session; any thread.  @fn must not add or remove sessions. */
void monitor_foreach_qmp(void (*fn)(Monitor *mon, void *opaque), void *opaque);
/** Give the device what it takes now. */
void monitor_flush(Monitor *mon);
/** Forget what was not sent: the client is gone. */
void monitor_drop_output(Monitor *mon);

/** Make @mon the session of the current coroutine; returns what was before. */
Monitor *coroutine_fn monitor_set_cur(Monitor *mon);

/** The hooks, unless @is_exempt.  Between them the command runs. */
void coroutine_fn monitor_enter_command(bool is_exempt);
void monitor_leave_command(bool is_exempt);

/* ---- objects.c ------------------------------------------------------------------------------- */
/** The client of @mon has gone. */
void monitor_object_client_gone(Monitor *mon);
/** @mon, which belonged to @object, ends. */
void monitor_object_lost(struct MonitorObject *object);

/* ---- events.c -------------------------------------------------------------------------------- */
typedef struct EventText {
    GString *plain;             /* on one line */
    GString *pretty;            /* on many */
} EventText;

/** Send events to sessions from now on, or no longer. */
void monitor_events_init(void);
void monitor_events_done(void);

/* ---- qmp.c ----------------------------------------------------------------------------------- */
/** @message as it goes over the wire. */
GString *qmp_message_text(const QDict *message, bool is_pretty);
/** Send an event, unless negotiation has not ended.  Any thread. */
void qmp_session_event(Monitor *mon, const EventText *event);
void qmp_session_free(Monitor *mon);
/** Whether @mon carries out a command just now. */
bool qmp_session_is_busy(const Monitor *mon);
/** End negotiation; @oob: with commands out of band.  False if it was over already. */
bool qmp_session_negotiated(Monitor *mon, bool oob);
/** A descriptor that came with the command that runs; -1 if there is none (left). */
int qmp_session_take_fd(Monitor *mon);
/** What QMP offers. */
const QmpCommandList *qmp_session_commands(void);
void qmp_sessions_init(const QmpCommandList *commands);
void qmp_sessions_done(void);

/* ---- hmp.c ----------------------------------------------------------------------------------- */
void hmp_session_free(Monitor *mon);
bool hmp_session_is_busy(const Monitor *mon);
/** Run @line and return what it prints; the caller frees. */
char *coroutine_fn hmp_run_collecting(const char *line);
/** Commands of this layer. */
void hmp_register_builtin(void);
/** The command that @line begins with, and what follows its name; of "info", what comes behind. */
const HMPCommand *hmp_find_command(const char *line, const char **args);
/** Names of commands, or of what follows "info", that begin with @prefix. */
void hmp_add_command_names(GPtrArray *words, bool is_info, const char *prefix);

/* ---- hmp-complete.c -------------------------------------------------------------------------- */
/** Words (g_free) that the last one of @text may become; the caller frees. */
GPtrArray *hmp_complete(const char *text);

/* ---- hmp-args.c ------------------------------------------------------------------------------ */
/** Parse @text by @cmd->args_type; NULL after telling @mon what is wrong. */
QDict *hmp_parse_args(Monitor *mon, const HMPCommand *cmd, const char *text);

#endif
