/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Timed average: minimum, maximum and mean of the values of the last while.
 *
 * Two windows, each a period long and half a period apart, both collect; the older one answers,
 * so the answer covers between half a period and a whole one and never jumps to nothing.
 * Time is any monotonic clock in nanoseconds.  No locking inside.
 */
#ifndef QEMU_AVERAGE_H
#define QEMU_AVERAGE_H

#include <stdint.h>

typedef struct TimedAverageWindow {
    uint64_t min;
    uint64_t max;
    uint64_t sum;
    uint64_t count;
    int64_t expiration_ns;
} TimedAverageWindow;

typedef struct TimedAverage {
    uint64_t period_ns;
    TimedAverageWindow windows[2];
    unsigned int current;       /* the older one */
} TimedAverage;

/* @period_ns > 0: the length of time the average speaks about. */
void timed_average_init(TimedAverage *ta, uint64_t period_ns, int64_t now_ns);
void timed_average_account(TimedAverage *ta, uint64_t value, int64_t now_ns);
/* 0 when there was no value. */
uint64_t timed_average_min(TimedAverage *ta, int64_t now_ns);
uint64_t timed_average_avg(TimedAverage *ta, int64_t now_ns);
uint64_t timed_average_max(TimedAverage *ta, int64_t now_ns);
/* The sum of the values, and, in *@elapsed_ns (may be NULL), the time they came in. */
uint64_t timed_average_sum(TimedAverage *ta, int64_t now_ns, uint64_t *elapsed_ns);

#endif
