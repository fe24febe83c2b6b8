/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Timed average.
 */
#include "qemu/osdep.h"
#include "qemu/average.h"

static void restart_window(TimedAverageWindow *window, int64_t expiration_ns)
{
    *window = (TimedAverageWindow){ .min = UINT64_MAX, .expiration_ns = expiration_ns };
}

void timed_average_init(TimedAverage *ta, uint64_t period_ns, int64_t now_ns)
{
    assert(period_ns > 0);
    ta->period_ns = period_ns;
    ta->current = 0;
    restart_window(&ta->windows[0], now_ns + period_ns / 2);
    restart_window(&ta->windows[1], now_ns + period_ns);
}

/* Restart windows that are over; returns the one that answers. */
static TimedAverageWindow *update(TimedAverage *ta, int64_t now_ns)
{
    for (int i = 0; i < 2; i++) {
        TimedAverageWindow *window = &ta->windows[i];

        if (window->expiration_ns <= now_ns) {
            /* Whole periods later, so that the two stay half a period apart. */
            int64_t periods = (now_ns - window->expiration_ns) / (int64_t)ta->period_ns + 1;
            restart_window(window, window->expiration_ns + periods * (int64_t)ta->period_ns);
        }
    }
    ta->current = ta->windows[0].expiration_ns < ta->windows[1].expiration_ns ? 0 : 1;
    return &ta->windows[ta->current];
}

void timed_average_account(TimedAverage *ta, uint64_t value, int64_t now_ns)
{
    update(ta, now_ns);
    for (int i = 0; i < 2; i++) {
        TimedAverageWindow *window = &ta->windows[i];

        window->sum += value;
        window->count++;
        window->min = MIN(window->min, value);
        window->max = MAX(window->max, value);
    }
}

uint64_t timed_average_min(TimedAverage *ta, int64_t now_ns)
{
    const TimedAverageWindow *window = update(ta, now_ns);

    return window->count ? window->min : 0;
}

uint64_t timed_average_avg(TimedAverage *ta, int64_t now_ns)
{
    const TimedAverageWindow *window = update(ta, now_ns);

    return window->count ? window->sum / window->count : 0;
}

uint64_t timed_average_max(TimedAverage *ta, int64_t now_ns)
{
    return update(ta, now_ns)->max;
}

uint64_t timed_average_sum(TimedAverage *ta, int64_t now_ns, uint64_t *elapsed_ns)
{
    const TimedAverageWindow *window = update(ta, now_ns);

    if (elapsed_ns) {
        *elapsed_ns = ta->period_ns - (window->expiration_ns - now_ns);
    }
    return window->sum;
}
