/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Throttling arithmetic: six leaky buckets that fill with I/O and leak at the configured rate.
 *
 * Rules of use:
 *   - A request asks throttle_wait_ns() how long it must wait; when that is 0 it may start and is
 *     throttle_account()ed.  Waiting, timers and fairness are the caller's.
 *   - Time is any monotonic clock in nanoseconds, always the same one for a state.
 *   - No locking inside.
 */
#ifndef QEMU_BUCKET_H
#define QEMU_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "qemu/error.h"

/* No rate may be larger. */
#define THROTTLE_VALUE_MAX INT64_C(1000000000000000)

typedef enum ThrottleBucket {
    THROTTLE_BPS_TOTAL,
    THROTTLE_BPS_READ,
    THROTTLE_BPS_WRITE,
    THROTTLE_OPS_TOTAL,
    THROTTLE_OPS_READ,
    THROTTLE_OPS_WRITE,
    BUCKETS_COUNT,
} ThrottleBucket;

typedef enum ThrottleDirection {
    THROTTLE_READ,
    THROTTLE_WRITE,
    THROTTLE_MAX,
} ThrottleDirection;

/*
 * avg units may pass per second in the long run, 0 for no limit.  When max is not 0, max units
 * per second may pass for burst_length seconds before that.
 */
typedef struct LeakyBucket {
    /* configuration */
    uint64_t avg;
    uint64_t max;
    uint64_t burst_length;
    /* state: units above what has leaked; burst_level only counts when burst_length > 1 */
    double level;
    double burst_level;
} LeakyBucket;

typedef struct ThrottleConfig {
    LeakyBucket buckets[BUCKETS_COUNT];
    uint64_t op_size;           /* bytes that count as one operation; 0: any request is one */
} ThrottleConfig;

typedef struct ThrottleState {
    ThrottleConfig cfg;
    int64_t previous_leak_ns;
} ThrottleState;

/* ---- configuration -------------------------------------------------------------------------- */

/* No limits, bursts of one second. */
void throttle_config_init(ThrottleConfig *cfg);
/* Whether anything is limited. */
bool throttle_enabled(const ThrottleConfig *cfg);
/* Whether @cfg makes sense; @errp says why not. */
bool throttle_is_valid(const ThrottleConfig *cfg, Error **errp);

/* ---- state ---------------------------------------------------------------------------------- */

void throttle_init(ThrottleState *ts, int64_t now_ns);
/* Use @cfg, which is valid, from now on, with empty buckets. */
void throttle_set_config(ThrottleState *ts, const ThrottleConfig *cfg, int64_t now_ns);
/* The configuration as it was set. */
void throttle_get_config(const ThrottleState *ts, ThrottleConfig *cfg);

/* How long a request in this direction must still wait; 0 for not at all. */
int64_t throttle_wait_ns(ThrottleState *ts, ThrottleDirection direction, int64_t now_ns);
/* A request of @bytes starts now. */
void throttle_account(ThrottleState *ts, ThrottleDirection direction, uint64_t bytes);

/* ---- one bucket ----------------------------------------------------------------------------- */

void bucket_leak(LeakyBucket *bucket, int64_t delta_ns);
int64_t bucket_wait_ns(const LeakyBucket *bucket);

#endif
