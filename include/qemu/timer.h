/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clocks and timers.  A timer belongs to one loop and calls back in that loop's thread.
 *
 * - Start, move and stop a timer from any thread.  A callback that is running already is not
 *   waited for; free a timer in its loop's thread only.
 * - A timer is off when its callback runs, which may start it again or free it.
 * - Times are absolute; those of timer_mod are in the timer's own scale.
 */
#ifndef QEMU_TIMER_H
#define QEMU_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "qemu/compiler.h"

#define SCALE_NS 1
#define SCALE_US 1000
#define SCALE_MS 1000000

typedef struct AioContext AioContext;

typedef enum QEMUClockType {
    QEMU_CLOCK_REALTIME,  /* monotonic, always runs */
    QEMU_CLOCK_VIRTUAL,   /* the guest's time: starts at 0, stands still while the VM is stopped */
    QEMU_CLOCK_HOST,      /* wall clock, may jump */
    QEMU_CLOCK__MAX,
} QEMUClockType;

typedef void QEMUTimerCB(void *opaque);

/* Initialise with timer_init_full; do not look inside. */
typedef struct QEMUTimer {
    AioContext *ctx;
    QEMUTimerCB *cb;
    void *opaque;
    QEMUClockType type;
    int scale;
    /* Under the lock of the loop's timer list. */
    int64_t expire_ns;
    int slot;             /* in the heap of its list; -1: off */
} QEMUTimer;

/* ---- clocks ---------------------------------------------------------------------------------- */
int64_t qemu_clock_get_ns(QEMUClockType type);
int64_t qemu_clock_get_ms(QEMUClockType type);

/** Monotonic time, whatever the VM does. */
int64_t get_clock(void);

/**
 * Let the virtual clock run, or stop it; it runs from program start.  Any thread.
 * While it is stopped its timers do not fire; on return no callback of another thread is
 * guaranteed to have ended.
 */
void qemu_clock_enable(QEMUClockType type, bool enabled);

/** Whether @type runs; always true but for a stopped virtual clock. */
bool qemu_clock_is_enabled(QEMUClockType type);

/** Set the virtual clock, which stands still, to @ns >= 0.  Its timers stay where they are. */
void qemu_clock_set_ns(QEMUClockType type, int64_t ns);

/* ---- a virtual clock for tests: it moves only when told to ----------------------------------- */
/** Make the virtual clock stand at 0 and move by qemu_clock_step_to() only.  Before any timer. */
void qemu_clock_set_stepped(void);
/** When the main loop's next timer on the virtual clock is due; INT64_MAX if there is none. */
int64_t qemu_clock_next_virtual_ns(void);
/** Move the stepped clock forward, firing the main loop's timers on the way.  Main thread. */
void qemu_clock_step_to(int64_t ns);

/* ---- timers ---------------------------------------------------------------------------------- */
/** Initialise @t, off, for the loop @ctx. @scale: nanoseconds in one unit of timer_mod. */
void timer_init_full(QEMUTimer *t, AioContext *ctx, QEMUClockType type, int scale,
                     QEMUTimerCB *cb, void *opaque);
void aio_timer_init(AioContext *ctx, QEMUTimer *t, QEMUClockType type, int scale, QEMUTimerCB *cb,
                    void *opaque);

/** The same on the heap; ends with timer_free. */
QEMUTimer *aio_timer_new(AioContext *ctx, QEMUClockType type, int scale, QEMUTimerCB *cb,
                         void *opaque);

/** The same for the main loop. */
QEMUTimer *timer_new(QEMUClockType type, int scale, QEMUTimerCB *cb, void *opaque);
QEMUTimer *timer_new_ns(QEMUClockType type, QEMUTimerCB *cb, void *opaque);
QEMUTimer *timer_new_ms(QEMUClockType type, QEMUTimerCB *cb, void *opaque);

/** Stop and free; NULL is fine. */
void timer_free(QEMUTimer *t);

/** Stop; the timer is off when this returns. */
void timer_del(QEMUTimer *t);

/** Fire once when the clock reaches @expire_time (in units of the scale), instead of before. */
void timer_mod(QEMUTimer *t, int64_t expire_time);
void timer_mod_ns(QEMUTimer *t, int64_t expire_ns);

/** Fire no later than @expire_ns. */
void timer_mod_anticipate_ns(QEMUTimer *t, int64_t expire_ns);

bool timer_pending(QEMUTimer *t);

/** Whether @t is on and due at @now_ns. */
bool timer_expired(QEMUTimer *t, int64_t now_ns);

/** When it will fire; -1 if off. */
int64_t timer_expire_time_ns(QEMUTimer *t);

/** Make @t as it was when timer_expire_time_ns() gave @expire_ns: off, or due then. */
void timer_restore_ns(QEMUTimer *t, int64_t expire_ns);

#endif
