/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program that is to end ends, also when storage hangs: once no request has made progress for so
 * long (QEMU_SHUTDOWN_SECONDS, 60), it is given up with a message.  Slow storage is waited for as
 * long as something moves.
 */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/graph.h"
#include "qmp-block.h"
#include "qemu/cutils.h"
#include "qemu/daemon.h"
#include "qemu/timer.h"

#define DEFAULT_SECONDS 60
#define CHECKS 6 /* so many while the time runs; the first without progress warns */

/* ---- commands that run without the control lock ---------------------------------------------- */

static int n_unlocked;
static Coroutine *waiting_for_commands;

void coroutine_fn command_co_unlock(void)
{
    n_unlocked++;
    bdrv_co_control_unlock();
}

void coroutine_fn command_co_lock(void)
{
    bdrv_co_control_lock();
    n_unlocked--;
    if (!n_unlocked && waiting_for_commands) {
        aio_co_wake(waiting_for_commands);
    }
}

void coroutine_fn command_co_wait_for_all(void)
{
    waiting_for_commands = qemu_coroutine_self();
    while (n_unlocked) {
        qemu_coroutine_yield();
    }
    waiting_for_commands = NULL;
}

/* ---- the watch ------------------------------------------------------------------------------- */

/* Main thread. */
static struct {
    QEMUTimer *timer; /* NULL: not on */
    int64_t interval_ms;
    uint64_t progress; /* at the last check */
    int still;         /* checks since without any */
} watch;

static void check(void *opaque)
{
    uint64_t progress = bdrv_requests_progress();
    g_autofree char *nodes = NULL;
    watch.still = progress == watch.progress ? watch.still + 1 : 0;
    watch.progress = progress;
    if (watch.still == 1) {
        nodes = bdrv_storage_waited_for();
        warn_report("The end waits for storage that does not answer%s", nodes);
    } else if (watch.still >= CHECKS) {
        nodes = bdrv_storage_waited_for();
        error_report("Ended without closing all images, since storage does not answer%s", nodes);
        daemon_remove_pidfile();
        _exit(1);
    }
    timer_mod(watch.timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + watch.interval_ms);
}

void blockdev_watch_shutdown(void)
{
    const char *text = getenv("QEMU_SHUTDOWN_SECONDS");
    uint64_t seconds = DEFAULT_SECONDS;
    if (watch.timer) {
        return;
    }
    if (text && (qemu_strtou64(text, NULL, 10, &seconds) < 0 || seconds < 1 || seconds > 86400)) {
        warn_report("QEMU_SHUTDOWN_SECONDS is not a number from 1 to 86400: '%s'", text);
        seconds = DEFAULT_SECONDS;
    }
    watch.interval_ms = seconds * 1000 / CHECKS;
    watch.progress = bdrv_requests_progress();
    watch.timer = timer_new_ms(QEMU_CLOCK_REALTIME, check, NULL);
    timer_mod(watch.timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + watch.interval_ms);
}
