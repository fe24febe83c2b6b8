/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Throttling arithmetic.
 */
#include "qemu/osdep.h"
#include "qemu/bucket.h"

/* Without a burst rate, this part of a second may pass at once, so that single requests on an idle
 * disk need not wait; with one it is the same part of a second at the burst rate. */
#define SLACK_PER_SECOND 10

static const ThrottleBucket buckets_of[THROTTLE_MAX][4] = {
    [THROTTLE_READ] = {
        THROTTLE_BPS_TOTAL, THROTTLE_BPS_READ, THROTTLE_OPS_TOTAL, THROTTLE_OPS_READ,
    },
    [THROTTLE_WRITE] = {
        THROTTLE_BPS_TOTAL, THROTTLE_BPS_WRITE, THROTTLE_OPS_TOTAL, THROTTLE_OPS_WRITE,
    },
};

static bool counts_bytes(ThrottleBucket bucket)
{
    return bucket <= THROTTLE_BPS_WRITE;
}

/* ---- one bucket ----------------------------------------------------------------------------- */

void bucket_leak(LeakyBucket *bucket, int64_t delta_ns)
{
    const double seconds = (double)delta_ns / NANOSECONDS_PER_SECOND;

    bucket->level = MAX(bucket->level - bucket->avg * seconds, 0);
    if (bucket->burst_length > 1) {
        bucket->burst_level = MAX(bucket->burst_level - bucket->max * seconds, 0);
    }
}

/* Time until @excess units have leaked at @rate. */
static int64_t time_to_leak_ns(double excess, uint64_t rate)
{
    return excess > 0 ? (int64_t)(excess * NANOSECONDS_PER_SECOND / rate) : 0;
}

int64_t bucket_wait_ns(const LeakyBucket *bucket)
{
    int64_t wait_ns;

    if (!bucket->avg) {
        return 0;
    }
    if (!bucket->max) {
        const double room = (double)bucket->avg / SLACK_PER_SECOND;
        return time_to_leak_ns(bucket->level - room, bucket->avg);
    }
    /* The long run first: its wait is the longer one. */
    wait_ns = time_to_leak_ns(bucket->level - (double)bucket->max * bucket->burst_length,
                              bucket->avg);
    if (!wait_ns && bucket->burst_length > 1) {
        const double room = (double)bucket->max / SLACK_PER_SECOND;
        wait_ns = time_to_leak_ns(bucket->burst_level - room, bucket->max);
    }
    return wait_ns;
}

/* ---- configuration -------------------------------------------------------------------------- */

void throttle_config_init(ThrottleConfig *cfg)
{
    *cfg = (ThrottleConfig){ .op_size = 0 };
    for (int i = 0; i < BUCKETS_COUNT; i++) {
        cfg->buckets[i].burst_length = 1;
    }
}

bool throttle_enabled(const ThrottleConfig *cfg)
{
    for (int i = 0; i < BUCKETS_COUNT; i++) {
        if (cfg->buckets[i].avg) {
            return true;
        }
    }
    return false;
}

/* Whether a total is given together with one of its parts. */
static bool has_conflict(const ThrottleConfig *cfg, ThrottleBucket total)
{
    const LeakyBucket *bucket = &cfg->buckets[total];

    return (bucket[0].avg && (bucket[1].avg || bucket[2].avg)) ||
           (bucket[0].max && (bucket[1].max || bucket[2].max));
}

static bool bucket_is_valid(const LeakyBucket *bucket, Error **errp)
{
    if (bucket->avg > THROTTLE_VALUE_MAX || bucket->max > THROTTLE_VALUE_MAX) {
        error_setg(errp, "bps/iops/max values must be within [0, %" PRId64 "]",
                   THROTTLE_VALUE_MAX);
        return false;
    }
    if (!bucket->burst_length) {
        error_setg(errp, "the burst length cannot be 0");
        return false;
    }
    if (bucket->burst_length > 1 && !bucket->max) {
        error_setg(errp, "burst length set without burst rate");
        return false;
    }
    if (bucket->max && bucket->burst_length > THROTTLE_VALUE_MAX / bucket->max) {
        error_setg(errp, "burst length too high for this burst rate");
        return false;
    }
    if (bucket->max && !bucket->avg) {
        error_setg(errp, "bps_max/iops_max require corresponding bps/iops values");
        return false;
    }
    if (bucket->max && bucket->max < bucket->avg) {
        error_setg(errp, "bps_max/iops_max cannot be lower than bps/iops");
        return false;
    }
    return true;
}

bool throttle_is_valid(const ThrottleConfig *cfg, Error **errp)
{
    if (has_conflict(cfg, THROTTLE_BPS_TOTAL) || has_conflict(cfg, THROTTLE_OPS_TOTAL)) {
        error_setg(errp, "bps/iops/max total values and read/write values cannot be used at the "
                   "same time");
        return false;
    }
    if (cfg->op_size && !cfg->buckets[THROTTLE_OPS_TOTAL].avg &&
        !cfg->buckets[THROTTLE_OPS_READ].avg && !cfg->buckets[THROTTLE_OPS_WRITE].avg) {
        error_setg(errp, "iops size requires an iops value to be set");
        return false;
    }
    for (int i = 0; i < BUCKETS_COUNT; i++) {
        if (!bucket_is_valid(&cfg->buckets[i], errp)) {
            return false;
        }
    }
    return true;
}

/* ---- state ---------------------------------------------------------------------------------- */

void throttle_init(ThrottleState *ts, int64_t now_ns)
{
    throttle_config_init(&ts->cfg);
    ts->previous_leak_ns = now_ns;
}

void throttle_set_config(ThrottleState *ts, const ThrottleConfig *cfg, int64_t now_ns)
{
    ts->cfg = *cfg;
    for (int i = 0; i < BUCKETS_COUNT; i++) {
        ts->cfg.buckets[i].level = 0;
        ts->cfg.buckets[i].burst_level = 0;
    }
    ts->previous_leak_ns = now_ns;
}

void throttle_get_config(const ThrottleState *ts, ThrottleConfig *cfg)
{
    *cfg = ts->cfg;
}

int64_t throttle_wait_ns(ThrottleState *ts, ThrottleDirection direction, int64_t now_ns)
{
    int64_t wait_ns = 0;

    if (now_ns > ts->previous_leak_ns) {
        for (int i = 0; i < BUCKETS_COUNT; i++) {
            bucket_leak(&ts->cfg.buckets[i], now_ns - ts->previous_leak_ns);
        }
        ts->previous_leak_ns = now_ns;
    }
    for (size_t i = 0; i < ARRAY_SIZE(buckets_of[direction]); i++) {
        const LeakyBucket *bucket = &ts->cfg.buckets[buckets_of[direction][i]];
        wait_ns = MAX(wait_ns, bucket_wait_ns(bucket));
    }
    return wait_ns;
}

void throttle_account(ThrottleState *ts, ThrottleDirection direction, uint64_t bytes)
{
    const uint64_t op_size = ts->cfg.op_size;
    const double operations = op_size && bytes > op_size ? (double)bytes / op_size : 1;

    for (size_t i = 0; i < ARRAY_SIZE(buckets_of[direction]); i++) {
        const ThrottleBucket which = buckets_of[direction][i];
        LeakyBucket *bucket = &ts->cfg.buckets[which];
        const double units = counts_bytes(which) ? (double)bytes : operations;

        bucket->level += units;
        if (bucket->burst_length > 1) {
            bucket->burst_level += units;
        }
    }
}
