/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What both kinds of sessions share: the list of them, output, hooks, options. */
#include "qemu/osdep.h"
#include "monitor-int.h"

#include "qapi/gen/control-visit.h"
#include "qapi/object-input.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"

/* How long monitor_cleanup() waits for commands that still run. */
#define CLEANUP_WAIT_MS 1000
/* How long a session that ends waits for its client to read the last answer. */
#define DRAIN_WAIT_MS 1000

static struct {
    QemuMutex lock;            /* guards the list against event senders of other threads */
    QTAILQ_HEAD(, Monitor) list;
    bool is_initialised;
    /* main thread */
    bool is_deaf;              /* no command is begun any more */
    GHashTable *current;       /* Coroutine -> Monitor */
    const MonitorCommandHooks *hooks;
    GHashTable *exempt;        /* names */
    QEMUTimer *drain_timer;    /* retired sessions have waited enough; NULL after clean-up */
    bool is_preconfig;         /* main thread */
} monitors = {
    .list = QTAILQ_HEAD_INITIALIZER(monitors.list),
};

/* ---- the current session --------------------------------------------------------------------- */

Monitor *monitor_cur(void)
{
    if (!monitors.current || !qemu_in_main_thread() || !qemu_in_coroutine()) {
        return NULL;
    }
    return g_hash_table_lookup(monitors.current, qemu_coroutine_self());
}

bool monitor_cur_is_qmp(void)
{
    Monitor *mon = monitor_cur();

    return mon && mon->is_qmp;
}

bool monitor_cur_is_hmp(void)
{
    Monitor *mon = monitor_cur();

    return mon && !mon->is_qmp;
}

Monitor *coroutine_fn monitor_set_cur(Monitor *mon)
{
    Coroutine *co = qemu_coroutine_self();
    Monitor *old = g_hash_table_lookup(monitors.current, co);

    if (mon) {
        g_hash_table_insert(monitors.current, co, mon);
    } else {
        g_hash_table_remove(monitors.current, co);
    }
    return old;
}

/* ---- output ---------------------------------------------------------------------------------- */

static void disconnect_bh(void *opaque)
{
    Monitor *mon, *next;

    QTAILQ_FOREACH_SAFE(mon, &monitors.list, next, next) {
        bool is_overflowing;

        WITH_QEMU_LOCK_GUARD(&mon->lock) {
            is_overflowing = mon->is_overflowing;
            mon->is_overflowing = false;
        }
        if (is_overflowing) {
            warn_report("monitor on '%s' is disconnected: it does not read what it is sent",
                        chardev_id(mon->fe.chr));
            chr_fe_disconnect(&mon->fe);
        }
    }
}

/* Called with the lock held, as the next. */
static void drop_locked(Monitor *mon)
{
    g_string_truncate(mon->out, 0);
    mon->out_at = 0;
    mon->event_bytes = 0;
}

static void flush_locked(Monitor *mon)
{
    if (!mon->fe.chr || !mon->out->len) {
        return;
    }
    mon->out_at += chr_fe_write(&mon->fe, mon->out->str + mon->out_at,
                                mon->out->len - mon->out_at);
    if (mon->out_at == mon->out->len) {
        drop_locked(mon);
    } else if (mon->out_at > mon->out->len / 2) {
        g_string_erase(mon->out, 0, mon->out_at);
        mon->out_at = 0;
    }
}

void monitor_flush(Monitor *mon)
{
    QEMU_LOCK_GUARD(&mon->lock);

    flush_locked(mon);
}

void monitor_send(Monitor *mon, const char *data, size_t size)
{
    QEMU_LOCK_GUARD(&mon->lock);

    g_string_append_len(mon->out, data, size);
    flush_locked(mon);
}

void monitor_send_event(Monitor *mon, const char *data, size_t size)
{
    QEMU_LOCK_GUARD(&mon->lock);

    if (mon->is_overflowing) {
        return;
    }
    g_string_append_len(mon->out, data, size);
    mon->event_bytes += size;
    flush_locked(mon);
    if (mon->event_bytes > MONITOR_OUT_HARD_MAX) {
        mon->is_overflowing = true;
        aio_bh_schedule_oneshot(qemu_get_aio_context(), disconnect_bh, NULL);
    }
}

size_t monitor_pending_output(Monitor *mon)
{
    QEMU_LOCK_GUARD(&mon->lock);

    return mon->out->len - mon->out_at;
}

void monitor_drop_output(Monitor *mon)
{
    QEMU_LOCK_GUARD(&mon->lock);

    drop_locked(mon);
    mon->is_overflowing = false;
}

void monitor_puts(Monitor *mon, const char *str)
{
    g_autoptr(GString) text = NULL;

    if (!mon || mon->is_qmp) {
        return;
    }
    text = g_string_new(NULL);
    for (; *str; str++) {
        if (*str == '\n') {
            g_string_append_c(text, '\r');
        }
        g_string_append_c(text, *str);
    }
    monitor_send(mon, text->str, text->len);
}

void monitor_vprintf(Monitor *mon, const char *fmt, va_list ap)
{
    if (mon && !mon->is_qmp) {
        g_autofree char *text = g_strdup_vprintf(fmt, ap);

        monitor_puts(mon, text);
    }
}

void monitor_printf(Monitor *mon, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    monitor_vprintf(mon, fmt, ap);
    va_end(ap);
}

static bool report_to_monitor(const char *text)
{
    Monitor *mon = monitor_cur();

    if (!mon || mon->is_qmp) {
        return false;
    }
    monitor_puts(mon, text);
    return true;
}

/* ---- hooks ----------------------------------------------------------------------------------- */

void monitor_set_command_hooks(const MonitorCommandHooks *hooks)
{
    monitors.hooks = hooks;
}

void monitor_exempt_command(const char *name)
{
    if (!monitors.exempt) {
        monitors.exempt = g_hash_table_new(g_str_hash, g_str_equal);
    }
    g_hash_table_add(monitors.exempt, (char *)name);
}

bool monitor_command_is_exempt(const char *name)
{
    return g_str_has_prefix(name, "query-") ||
           (monitors.exempt && g_hash_table_contains(monitors.exempt, name));
}

void coroutine_fn monitor_enter_command(bool is_exempt)
{
    if (monitors.hooks && !is_exempt) {
        monitors.hooks->enter();
    }
}

void monitor_leave_command(bool is_exempt)
{
    if (monitors.hooks && !is_exempt) {
        monitors.hooks->leave();
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

void monitor_data_init(Monitor *mon, bool is_qmp)
{
    mon->is_qmp = is_qmp;
    mon->out = g_string_new(NULL);
    qemu_mutex_init(&mon->lock);
}

void monitor_data_done(Monitor *mon)
{
    if (mon->object) {
        monitor_object_lost(mon->object);
    }
    chr_fe_deinit(&mon->fe);
    g_string_free(mon->out, TRUE);
    qemu_mutex_destroy(&mon->lock);
}

void monitor_foreach_qmp(void (*fn)(Monitor *mon, void *opaque), void *opaque)
{
    Monitor *mon;

    QEMU_LOCK_GUARD(&monitors.lock);
    QTAILQ_FOREACH(mon, &monitors.list, next) {
        if (mon->is_qmp) {
            fn(mon, opaque);
        }
    }
}

bool monitor_attach(Monitor *mon, Chardev *chr, Error **errp)
{
    if (!chr_fe_init(&mon->fe, chr, errp)) {
        return false;
    }
    QEMU_LOCK_GUARD(&monitors.lock);
    QTAILQ_INSERT_TAIL(&monitors.list, mon, next);
    return true;
}

static bool session_is_busy(const Monitor *mon)
{
    return mon->is_qmp ? qmp_session_is_busy(mon) : hmp_session_is_busy(mon);
}

static void session_free(Monitor *mon)
{
    WITH_QEMU_LOCK_GUARD(&monitors.lock) {
        QTAILQ_REMOVE(&monitors.list, mon, next);
    }
    if (mon->is_qmp) {
        qmp_session_free(mon);
    } else {
        hmp_session_free(mon);
    }
}

/* Whether the client has what it is to have, or had the time to take it. */
static bool has_drained(Monitor *mon)
{
    int64_t now = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);

    monitor_flush(mon);
    if (!monitor_pending_output(mon) || !chr_fe_is_open(&mon->fe) || !monitors.drain_timer) {
        return true;
    }
    if (!mon->drain_deadline_ms) {
        mon->drain_deadline_ms = now + DRAIN_WAIT_MS;
    }
    if (now >= mon->drain_deadline_ms) {
        return true;
    }
    timer_mod(monitors.drain_timer, mon->drain_deadline_ms);
    return false;
}

static void end_if_possible(Monitor *mon)
{
    if (!session_is_busy(mon) && has_drained(mon)) {
        chr_fe_hang_up(&mon->fe);
        session_free(mon);
    }
}

static void end_retired(void *opaque)
{
    Monitor *mon, *next;

    QTAILQ_FOREACH_SAFE(mon, &monitors.list, next, next) {
        if (mon->is_retired) {
            end_if_possible(mon);
        }
    }
}

void monitor_may_end(Monitor *mon)
{
    if (mon->is_retired) {
        aio_bh_schedule_oneshot(qemu_get_aio_context(), end_retired, NULL);
    }
}

void monitor_retire(Monitor *mon)
{
    WITH_QEMU_LOCK_GUARD(&mon->lock) {
        mon->is_retired = true;
    }
    end_if_possible(mon);
}

void monitor_set_preconfig(bool is_preconfig)
{
    monitors.is_preconfig = is_preconfig;
}

bool monitor_is_preconfig(void)
{
    return monitors.is_preconfig;
}

void monitor_init(const QmpCommandList *commands)
{
    static const char *const exempt[] = {
        "qmp_capabilities", "human-monitor-command", "add-fd", "remove-fd", "getfd", "closefd",
        "quit",
    };

    assert(!monitors.is_initialised);
    monitors.is_initialised = true;
    qemu_mutex_init(&monitors.lock);
    monitors.current = g_hash_table_new(NULL, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(exempt); i++) {
        monitor_exempt_command(exempt[i]);
    }
    hmp_register_builtin();
    qmp_sessions_init(commands);
    monitors.drain_timer = timer_new_ms(QEMU_CLOCK_REALTIME, end_retired, NULL);
    error_set_report_hook(report_to_monitor, monitor_cur_is_hmp);
    monitor_events_init();
}

static bool any_session_is_busy(void)
{
    Monitor *mon;

    QTAILQ_FOREACH(mon, &monitors.list, next) {
        if (session_is_busy(mon)) {
            return true;
        }
    }
    return false;
}

bool monitor_is_deaf(const Monitor *mon)
{
    return monitors.is_deaf || mon->is_retired;
}

void monitor_stop_commands(void)
{
    int64_t deadline = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + CLEANUP_WAIT_MS;

    monitors.is_deaf = true;
    while (any_session_is_busy() && qemu_clock_get_ms(QEMU_CLOCK_REALTIME) < deadline) {
        if (!aio_poll(qemu_get_aio_context(), false)) {
            g_usleep(1000);
        }
    }
}

void monitor_cleanup(void)
{
    Monitor *mon, *next;

    if (!monitors.is_initialised) {
        return;
    }
    monitor_stop_commands();
    monitor_events_done();
    error_set_report_hook(NULL, NULL);
    QTAILQ_FOREACH_SAFE(mon, &monitors.list, next, next) {
        monitor_flush(mon);
        if (session_is_busy(mon)) {
            continue; /* its coroutine still refers to it, and the process is about to end */
        }
        session_free(mon);
    }
    qmp_sessions_done();
    g_clear_pointer(&monitors.drain_timer, timer_free);
    g_clear_pointer(&monitors.exempt, g_hash_table_unref);
    if (QTAILQ_EMPTY(&monitors.list)) {
        g_clear_pointer(&monitors.current, g_hash_table_unref);
        qemu_mutex_destroy(&monitors.lock);
        monitors.is_initialised = monitors.is_deaf = false;
    }
}

/* ---- options --------------------------------------------------------------------------------- */

/* A device for a monitor given in the short form; NULL without @errp for "none". */
static Chardev *compat_chardev(const char *text, Error **errp)
{
    static int n_compat;
    g_autofree char *label = g_strdup_printf("compat_monitor%d", n_compat++);

    return chardev_new_from_legacy(label, text, NULL, errp);
}

bool monitor_parse_qmp(const char *optarg, bool pretty, Error **errp)
{
    Error *err = NULL;
    Chardev *chr = compat_chardev(optarg, &err);

    if (err) {
        error_propagate(errp, err);
        return false;
    }
    return !chr || monitor_new_qmp(chr, pretty, errp);
}

bool monitor_parse_hmp(const char *optarg, Error **errp)
{
    Error *err = NULL;
    Chardev *chr = compat_chardev(optarg, &err);

    if (err) {
        error_propagate(errp, err);
        return false;
    }
    return !chr || monitor_new_hmp(chr, true, errp);
}

Chardev *monitor_find_chardev(const char *id, Error **errp)
{
    Chardev *chr = chardev_find(id);

    if (!chr) {
        error_setg(errp, "chardev \"%s\" not found", id);
    }
    return chr;
}

bool monitor_parse_mon(const char *optarg, bool allow_hmp, Error **errp)
{
    g_autoptr(MonitorOptions) opts = NULL;
    Visitor *v = qobject_input_visitor_new_str(optarg, "chardev", errp);
    bool is_qmp;
    Chardev *chr;

    if (!v) {
        return false;
    }
    visit_type_MonitorOptions(v, NULL, &opts, errp);
    visit_free(v);
    if (!opts) {
        return false;
    }
    chr = monitor_find_chardev(opts->chardev, errp);
    if (!chr) {
        return false;
    }
    is_qmp = opts->has_mode ? opts->mode == MONITOR_MODE_CONTROL : !allow_hmp;
    if (is_qmp) {
        return monitor_new_qmp(chr, opts->has_pretty && opts->pretty, errp);
    }
    if (!allow_hmp) {
        error_setg(errp, "Only QMP is supported");
        return false;
    }
    if (opts->has_pretty) {
        error_setg(errp, "'pretty' is not compatible with HMP monitors");
        return false;
    }
    return monitor_new_hmp(chr, true, errp);
}
