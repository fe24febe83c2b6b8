/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP sessions.
 *
 * One coroutine per session carries out its commands in order.  Input is read while it has nothing
 * to do, so what a client sends ahead waits in the socket, and at most one read's worth of requests
 * is queued.  Descriptors belong to the request whose bytes they came with.
 *
 * A client that asked for the oob capability is read on while a command runs: what it wants to be
 * carried out of band gets a coroutine of its own at once, the rest waits in the queue.
 */
#include "qemu/osdep.h"
#include "monitor-int.h"

#include "qemu/fdset.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/version.h"
#include "qobject/json-parser.h"
#include "qobject/json-writer.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"

/* Of a client with oob no more than this, and what came in one read, waits or runs out of band. */
#define OOB_QUEUE_MAX 8

/* One thing that the parser found. */
typedef struct Request {
    QObject *value;
    Error *err;              /* instead of a value */
    GArray *fds;             /* of int */
    unsigned generation;     /* of the connection */
} Request;

typedef struct QmpSession {
    Monitor common;
    bool is_pretty;
    JSONMessageParser *parser;
    GQueue queue;            /* of Request */
    Request *running;
    Coroutine *co;           /* NULL: not started, or ended */
    enum { IDLE, SCHEDULED, RUNNING, WAITING_FOR_ROOM } state;
    bool is_ending;
    unsigned generation;     /* counts connections */
    bool has_oob;            /* this client asked for it */
    unsigned n_oob;          /* commands that run out of band */
    bool is_connected;       /* a client is counted as a user of descriptor sets */
    bool is_negotiated;      /* under common.lock: looked at by event senders */
} QmpSession;

static const QmpCommandList *offered;
static QmpCommandList *negotiation;

static void coroutine_fn session_loop(void *opaque);

/* ---- requests -------------------------------------------------------------------------------- */

static void request_free(Request *req)
{
    if (!req) {
        return;
    }
    qobject_unref(req->value);
    error_free(req->err);
    for (guint i = 0; i < req->fds->len; i++) {
        close(g_array_index(req->fds, int, i));
    }
    g_array_unref(req->fds);
    g_free(req);
}

static void drop_queue(QmpSession *s)
{
    g_queue_clear_full(&s->queue, (GDestroyNotify)request_free);
}

/* Let the session's coroutine look at the queue. */
static void kick(QmpSession *s)
{
    if (s->state != IDLE || monitor_is_deaf(&s->common)) {
        return;
    }
    if (!s->co) {
        s->co = qemu_coroutine_create(session_loop, s);
    }
    s->state = SCHEDULED;
    aio_co_schedule(qemu_get_aio_context(), s->co);
}

/* ---- replies --------------------------------------------------------------------------------- */

GString *qmp_message_text(const QDict *message, bool is_pretty)
{
    GString *text = qobject_to_json_pretty(QOBJECT(message), is_pretty);

    g_string_append_c(text, '\n');
    g_string_replace(text, "\n", "\r\n", 0); /* a line break within a string is escaped */
    return text;
}

static void send_message(QmpSession *s, const QDict *message)
{
    g_autoptr(GString) text = qmp_message_text(message, s->is_pretty);

    monitor_send(&s->common, text->str, text->len);
}

static void send_greeting(QmpSession *s)
{
    g_autoptr(QDict) greeting = qdict_from_jsonf_nofail(
        "{'QMP': {'version': {'qemu': {'micro': %d, 'minor': %d, 'major': %d}, 'package': %s},"
        " 'capabilities': ['oob']}}",
        QEMU_VERSION_MICRO, QEMU_VERSION_MINOR, QEMU_VERSION_MAJOR, QEMU_PACKAGE);

    send_message(s, greeting);
}

void qmp_session_event(Monitor *mon, const EventText *event)
{
    QmpSession *s = container_of(mon, QmpSession, common);
    const GString *text = s->is_pretty ? event->pretty : event->plain;
    bool is_wanted;

    WITH_QEMU_LOCK_GUARD(&mon->lock) {
        is_wanted = s->is_negotiated && !mon->is_retired;
    }
    if (is_wanted) {
        monitor_send_event(mon, text->str, text->len);
    }
}

/* ---- carrying out ---------------------------------------------------------------------------- */

static const char *command_name(const Request *req)
{
    const QDict *dict = qobject_to(QDict, req->value);

    if (!dict) {
        return NULL;
    }
    return qdict_get_try_str(dict, qmp_is_oob(dict) ? "exec-oob" : "execute");
}

/* Before negotiation nothing but qmp_capabilities exists; say so in a way that helps. */
static void explain_negotiation(QDict *response)
{
    QDict *error = qdict_get_qdict(response, "error");

    if (error && g_strcmp0(qdict_get_try_str(error, "class"), "CommandNotFound") == 0) {
        qdict_put_str(error, "desc",
                      "Expecting capabilities negotiation with 'qmp_capabilities'");
    }
}

static QDict *coroutine_fn carry_out(QmpSession *s, Request *req)
{
    bool is_negotiated = s->is_negotiated;
    const QmpCommandList *commands = is_negotiated ? offered : negotiation;
    const char *name = command_name(req);
    bool is_exempt = !name || !qmp_find_command(commands, name) ||
                     monitor_command_is_exempt(name);
    QDict *response;

    if (req->err) {
        return qmp_error_response(req->err);
    }
    monitor_set_cur(&s->common);
    monitor_enter_command(is_exempt);
    response = qmp_dispatch(commands, req->value, s->has_oob, monitor_is_preconfig());
    monitor_leave_command(is_exempt);
    monitor_set_cur(NULL);
    if (!is_negotiated && response) {
        explain_negotiation(response);
    }
    return response;
}

static void coroutine_fn wait_for_room(QmpSession *s, unsigned generation)
{
    while (monitor_pending_output(&s->common) > MONITOR_OUT_SOFT_MAX &&
           s->generation == generation) {
        s->state = WAITING_FOR_ROOM;
        qemu_coroutine_yield();
        s->state = RUNNING;
    }
}

/* A reply is for the client that asked, not for one that came since. */
static void answer(QmpSession *s, const Request *req, const QDict *response)
{
    if (response && req->generation == s->generation) {
        send_message(s, response);
    }
}

static void coroutine_fn session_loop(void *opaque)
{
    QmpSession *s = opaque;

    while (!s->is_ending) {
        Request *req = monitor_is_deaf(&s->common) ? NULL : g_queue_pop_head(&s->queue);
        g_autoptr(QDict) response = NULL;

        if (!req) {
            s->state = IDLE;
            chr_fe_accept_input(&s->common.fe);
            monitor_may_end(&s->common);
            qemu_coroutine_yield();
            continue;
        }
        s->state = RUNNING;
        if (s->has_oob) {
            chr_fe_accept_input(&s->common.fe);
        }
        wait_for_room(s, req->generation);
        if (req->generation == s->generation && !monitor_is_deaf(&s->common)) {
            s->running = req;
            response = carry_out(s, req);
            s->running = NULL;
        }
        answer(s, req, response);
        request_free(req);
    }
    s->co = NULL;
    s->state = IDLE;
}

typedef struct OobCall {
    QmpSession *s;
    Request *req;
} OobCall;

static void coroutine_fn oob_entry(void *opaque)
{
    g_autofree OobCall *call = opaque;
    QmpSession *s = call->s;
    g_autoptr(QDict) response = carry_out(s, call->req);

    answer(s, call->req, response);
    request_free(call->req);
    s->n_oob--;
    monitor_may_end(&s->common);
    chr_fe_accept_input(&s->common.fe);
}

/* Now, whatever else runs. */
static void run_oob(QmpSession *s, Request *req)
{
    OobCall *call = g_new(OobCall, 1);

    call->s = s;
    call->req = req;
    s->n_oob++;
    aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_create(oob_entry, call));
}

/* ---- input ----------------------------------------------------------------------------------- */

static void on_parsed(void *opaque, QObject *value, Error *err)
{
    QmpSession *s = opaque;
    Request *req = g_new0(Request, 1);
    int fd;

    req->value = value;
    req->err = err;
    req->generation = s->generation;
    req->fds = g_array_new(FALSE, FALSE, sizeof(int));
    while ((fd = chr_fe_take_fd(&s->common.fe)) >= 0) {
        g_array_append_val(req->fds, fd);
    }
    if (s->has_oob && value && qobject_to(QDict, value) && qmp_is_oob(qobject_to(QDict, value))) {
        run_oob(s, req);
        return;
    }
    g_queue_push_tail(&s->queue, req);
    kick(s);
}

static size_t qmp_can_receive(void *opaque)
{
    QmpSession *s = opaque;

    if (monitor_is_deaf(&s->common)) {
        return 0;
    }
    if (s->has_oob) {
        return g_queue_get_length(&s->queue) + s->n_oob < OOB_QUEUE_MAX &&
               monitor_pending_output(&s->common) <= MONITOR_OUT_SOFT_MAX ? SIZE_MAX : 0;
    }
    return s->state == IDLE && g_queue_is_empty(&s->queue) ? SIZE_MAX : 0;
}

static void qmp_receive(void *opaque, const uint8_t *buf, size_t size)
{
    QmpSession *s = opaque;

    json_message_parser_feed(s->parser, (const char *)buf, size);
}

static void set_negotiated(QmpSession *s, bool is_negotiated)
{
    QEMU_LOCK_GUARD(&s->common.lock);

    s->is_negotiated = is_negotiated;
}

static void qmp_writable(void *opaque)
{
    QmpSession *s = opaque;

    monitor_flush(&s->common);
    monitor_may_end(&s->common);
    if (s->state == WAITING_FOR_ROOM) {
        s->state = SCHEDULED;
        aio_co_schedule(qemu_get_aio_context(), s->co);
    }
    if (s->has_oob) {
        chr_fe_accept_input(&s->common.fe);
    }
}

static void on_opened(QmpSession *s)
{
    set_negotiated(s, false);
    s->has_oob = false;
    s->generation++;
    fdset_monitor_opened();
    s->is_connected = true;
    send_greeting(s);
}

static void on_closed(QmpSession *s)
{
    set_negotiated(s, false);
    s->has_oob = false;
    s->generation++;
    fdset_monitor_closed();
    s->is_connected = false;
    drop_queue(s);
    monitor_drop_output(&s->common);
    json_message_parser_free(s->parser);
    s->parser = json_message_parser_new(on_parsed, s);
    qmp_writable(s);
    monitor_object_client_gone(&s->common);
}

static void qmp_event(void *opaque, ChrEvent event)
{
    if (event == CHR_EVENT_OPENED) {
        on_opened(opaque);
    } else if (event == CHR_EVENT_CLOSED) {
        on_closed(opaque);
    }
}

static const ChrHandlers qmp_handlers = {
    .can_receive = qmp_can_receive,
    .receive = qmp_receive,
    .event = qmp_event,
    .writable = qmp_writable,
};

/* ---- life ------------------------------------------------------------------------------------ */

Monitor *monitor_new_qmp(Chardev *chr, bool pretty, Error **errp)
{
    QmpSession *s = g_new0(QmpSession, 1);

    monitor_data_init(&s->common, true);
    s->is_pretty = pretty;
    s->parser = json_message_parser_new(on_parsed, s);
    if (!monitor_attach(&s->common, chr, errp)) {
        qmp_session_free(&s->common);
        return NULL;
    }
    chr_fe_set_echo(&s->common.fe, true);
    chr_fe_set_handlers(&s->common.fe, &qmp_handlers, s);
    return &s->common;
}

void qmp_session_free(Monitor *mon)
{
    QmpSession *s = container_of(mon, QmpSession, common);

    assert(!s->running);
    drop_queue(s);
    s->is_ending = true;
    s->generation++;
    while (s->n_oob) {
        aio_poll(qemu_get_aio_context(), true);
    }
    while (s->co) {
        if (s->state == IDLE || s->state == WAITING_FOR_ROOM) {
            qemu_coroutine_enter(s->co);
        } else {
            aio_poll(qemu_get_aio_context(), false);
        }
    }
    if (s->is_connected) {
        fdset_monitor_closed();
    }
    json_message_parser_free(s->parser);
    monitor_data_done(mon);
    g_free(s);
}

bool qmp_session_is_busy(const Monitor *mon)
{
    const QmpSession *s = container_of(mon, QmpSession, common);

    return s->running || s->state == SCHEDULED || s->n_oob;
}

bool qmp_session_negotiated(Monitor *mon, bool oob)
{
    QmpSession *s = container_of(mon, QmpSession, common);

    if (s->is_negotiated) {
        return false;
    }
    s->has_oob = oob;
    set_negotiated(s, true);
    return true;
}

int qmp_session_take_fd(Monitor *mon)
{
    Request *req = container_of(mon, QmpSession, common)->running;
    int fd;

    if (!req || !req->fds->len) {
        return -1;
    }
    fd = g_array_index(req->fds, int, 0);
    g_array_remove_index(req->fds, 0);
    return fd;
}

const QmpCommandList *qmp_session_commands(void)
{
    return offered;
}

void qmp_sessions_init(const QmpCommandList *commands)
{
    const QmpCommand *cmd = qmp_find_command(commands, "qmp_capabilities");

    offered = commands;
    negotiation = qmp_command_list_new();
    if (cmd) {
        qmp_register_command(negotiation, cmd);
    }
}

void qmp_sessions_done(void)
{
    g_clear_pointer(&negotiation, qmp_command_list_free);
    offered = NULL;
}
