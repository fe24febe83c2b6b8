/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads that run a loop.
 */
#include "qemu/osdep.h"

#include "aio-internal.h"
#include "qemu/error.h"
#include "qemu/iothread.h"

/* Iterations that a stopping thread grants to what is queued. */
#define DRAIN_MAX 1000

struct IOThread {
    /* Fixed. */
    char *id;
    AioContext *ctx;

    /* Main thread. */
    int refcount;
    bool is_running;
    bool is_hidden; /* not in the list */
    QemuThread thread;
    IOThreadPollParams poll;
    QTAILQ_ENTRY(IOThread) next;

    /* Written by the thread before @started is set. */
    int thread_id;
    QemuEvent started;

    /* The thread's own, set by a bottom half. */
    bool is_stopping;
};

/* Main thread. */
static QTAILQ_HEAD(, IOThread) all_iothreads = QTAILQ_HEAD_INITIALIZER(all_iothreads);

static void *iothread_main(void *opaque)
{
    IOThread *iothread = opaque;

    aio_context_set_home(iothread->ctx);
    iothread->thread_id = qemu_get_thread_id();
    qemu_event_set(&iothread->started);

    while (!iothread->is_stopping) {
        aio_poll(iothread->ctx, true);
    }
    /* A descriptor that nobody reads any more must not keep us here. */
    for (int i = 0; i < DRAIN_MAX && aio_poll(iothread->ctx, false); i++) {
        continue;
    }
    aio_context_set_home(NULL);
    return NULL;
}

IOThread *iothread_create(const char *id, Error **errp)
{
    AioContext *ctx = aio_context_new(errp);
    g_autofree char *name = g_strdup_printf("IO %s", id);
    IOThread *iothread;
    int ret;

    if (!ctx) {
        return NULL;
    }
    iothread = g_new0(IOThread, 1);
    iothread->id = g_strdup(id);
    iothread->ctx = ctx;
    iothread->refcount = 1;
    iothread->thread_id = -1;
    qemu_event_init(&iothread->started, false);
    QTAILQ_INSERT_TAIL(&all_iothreads, iothread, next);
    iothread_set_poll_params(iothread, &(IOThreadPollParams) {
        .max_ns = IOTHREAD_POLL_MAX_NS_DEFAULT,
    });

    ret = qemu_thread_try_create(&iothread->thread, name, iothread_main, iothread,
                                 QEMU_THREAD_JOINABLE);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not start iothread '%s'", id);
        iothread_unref(iothread);
        return NULL;
    }
    iothread->is_running = true;
    qemu_event_wait(&iothread->started);
    return iothread;
}

IOThread *iothread_ref(IOThread *iothread)
{
    iothread->refcount++;
    return iothread;
}

void iothread_unref(IOThread *iothread)
{
    if (!iothread || --iothread->refcount > 0) {
        return;
    }
    iothread_stop(iothread);
    iothread_hide(iothread);
    aio_context_unref(iothread->ctx);
    qemu_event_destroy(&iothread->started);
    g_free(iothread->id);
    g_free(iothread);
}

void iothread_hide(IOThread *iothread)
{
    if (!iothread->is_hidden) {
        iothread->is_hidden = true;
        QTAILQ_REMOVE(&all_iothreads, iothread, next);
    }
}

static void iothread_stop_bh(void *opaque)
{
    IOThread *iothread = opaque;

    iothread->is_stopping = true;
}

void iothread_stop(IOThread *iothread)
{
    if (!iothread->is_running) {
        return;
    }
    assert(!iothread_is_self(iothread));
    aio_bh_schedule_oneshot(iothread->ctx, iothread_stop_bh, iothread);
    qemu_thread_join(&iothread->thread);
    iothread->is_running = false;
    iothread->thread_id = -1;
}

/* ---- queries --------------------------------------------------------------------------------- */
const char *iothread_get_id(const IOThread *iothread)
{
    return iothread->id;
}

AioContext *iothread_get_aio_context(const IOThread *iothread)
{
    return iothread->ctx;
}

int iothread_get_thread_id(const IOThread *iothread)
{
    return iothread->thread_id;
}

bool iothread_is_self(const IOThread *iothread)
{
    return in_aio_context_home_thread(iothread->ctx);
}

IOThread *iothread_by_id(const char *id)
{
    IOThread *iothread;

    QTAILQ_FOREACH(iothread, &all_iothreads, next) {
        if (strcmp(iothread->id, id) == 0) {
            return iothread;
        }
    }
    return NULL;
}

int iothread_foreach(int (*fn)(IOThread *iothread, void *opaque), void *opaque)
{
    IOThread *iothread, *next;
    int ret = 0;

    QTAILQ_FOREACH_SAFE(iothread, &all_iothreads, next, next) {
        ret = fn(iothread, opaque);
        if (ret) {
            break;
        }
    }
    return ret;
}

void iothread_set_poll_params(IOThread *iothread, const IOThreadPollParams *params)
{
    iothread->poll = *params;
    aio_context_set_poll_params(iothread->ctx, params->max_ns, params->grow, params->shrink,
                                params->weight);
}

void iothread_get_poll_params(const IOThread *iothread, IOThreadPollParams *params)
{
    *params = iothread->poll;
}
