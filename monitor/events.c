/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events, from any thread to every QMP session.
 *
 * A guest can provoke some events as often as it likes.  Of those, per device, the first one goes
 * out at once and then at most one a second, the latest; none stays unsent.
 */
#include "qemu/osdep.h"
#include "monitor-int.h"

#include "qapi/events.h"
#include "qapi/gen/emit-events.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"

#define THINNED_INTERVAL_NS NANOSECONDS_PER_SECOND

/* A device whose event was sent less than a second ago. */
typedef struct Thinned {
    char *key;
    EventText *waiting;      /* the latest one not sent; or NULL */
    QEMUTimer *timer;        /* main loop */
} Thinned;

static struct {
    QemuMutex lock;
    GHashTable *thinned;     /* key -> Thinned; NULL: no events are sent */
} events;

/* ---- text ------------------------------------------------------------------------------------ */

static EventText *event_text_new(const QDict *message)
{
    EventText *text = g_new(EventText, 1);

    text->plain = qmp_message_text(message, false);
    text->pretty = qmp_message_text(message, true);
    return text;
}

static void event_text_free(EventText *text)
{
    if (text) {
        g_string_free(text->plain, TRUE);
        g_string_free(text->pretty, TRUE);
        g_free(text);
    }
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(EventText, event_text_free)

static void send_to_session(Monitor *mon, void *opaque)
{
    qmp_session_event(mon, opaque);
}

/* ---- thinning out ---------------------------------------------------------------------------- */

static void thinned_free(void *opaque)
{
    Thinned *thinned = opaque;

    timer_free(thinned->timer);
    event_text_free(thinned->waiting);
    g_free(thinned->key);
    g_free(thinned);
}

static int64_t next_time(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + THINNED_INTERVAL_NS;
}

static void interval_is_over(void *opaque)
{
    Thinned *thinned = opaque;

    QEMU_LOCK_GUARD(&events.lock);
    if (!thinned->waiting) {
        g_hash_table_remove(events.thinned, thinned->key);
        return;
    }
    monitor_foreach_qmp(send_to_session, thinned->waiting);
    g_clear_pointer(&thinned->waiting, event_text_free);
    timer_mod_ns(thinned->timer, next_time());
}

/* What must not be flooded, or NULL if @event is sent whenever it happens. */
static char *thinning_key(int event, const QDict *message)
{
    const QDict *data = qdict_get_qdict(message, "data");

    if (event != QAPI_EVENT_BLOCK_IO_ERROR || !data) {
        return NULL;
    }
    return g_strdup_printf("%d %s", event, qdict_get_try_str(data, "qom-path"));
}

/* Whether @text must wait; then it is taken.  Called with the lock held. */
static bool hold_back(char *key, EventText **text)
{
    Thinned *thinned = g_hash_table_lookup(events.thinned, key);

    if (thinned) {
        event_text_free(thinned->waiting);
        thinned->waiting = g_steal_pointer(text);
        return true;
    }
    thinned = g_new0(Thinned, 1);
    thinned->key = g_strdup(key);
    thinned->timer = timer_new_ns(QEMU_CLOCK_REALTIME, interval_is_over, thinned);
    g_hash_table_insert(events.thinned, thinned->key, thinned);
    timer_mod_ns(thinned->timer, next_time());
    return false;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void send_event(int event, QDict *message)
{
    g_autoptr(EventText) text = event_text_new(message);
    g_autofree char *key = thinning_key(event, message);

    /* Held while sending, so that events of one device keep their order. */
    QEMU_LOCK_GUARD(&events.lock);
    if (!events.thinned || (key && hold_back(key, &text))) {
        return;
    }
    monitor_foreach_qmp(send_to_session, text);
}

void monitor_events_init(void)
{
    qemu_mutex_init(&events.lock);
    events.thinned = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, thinned_free);
    qapi_event_set_emitter(send_event);
}

static void send_waiting(gpointer key, gpointer value, gpointer opaque)
{
    Thinned *thinned = value;

    if (thinned->waiting) {
        monitor_foreach_qmp(send_to_session, thinned->waiting);
    }
}

void monitor_events_done(void)
{
    qapi_event_set_emitter(NULL);
    QEMU_LOCK_GUARD(&events.lock);
    g_hash_table_foreach(events.thinned, send_waiting, NULL);
    g_clear_pointer(&events.thinned, g_hash_table_unref);
}
