/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Accounting: counters, latencies and histograms of one backend.  Every entry takes the lock of the
 * statistics once.
 */
#include "qemu/osdep.h"

#include "block/accounting.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"

void block_acct_init(BlockAcctStats *stats, bool account_invalid, bool account_failed)
{
    memset(stats, 0, sizeof(*stats));
    qemu_mutex_init(&stats->lock);
    stats->account_invalid = account_invalid;
    stats->account_failed = account_failed;
    QSLIST_INIT(&stats->intervals);
}

static void histogram_clear(BlockLatencyHistogram *hist)
{
    g_clear_pointer(&hist->boundaries, g_free);
    g_clear_pointer(&hist->bins, g_free);
    hist->nbins = 0;
}

void block_acct_cleanup(BlockAcctStats *stats)
{
    while (!QSLIST_EMPTY(&stats->intervals)) {
        BlockAcctTimedStats *timed = QSLIST_FIRST(&stats->intervals);
        QSLIST_REMOVE_HEAD(&stats->intervals, next);
        g_free(timed);
    }
    for (int type = 0; type < BLOCK_ACCT_MAX; type++) {
        histogram_clear(&stats->histogram[type]);
    }
    qemu_mutex_destroy(&stats->lock);
}

void block_acct_add_interval(BlockAcctStats *stats, unsigned interval_s)
{
    BlockAcctTimedStats *timed = g_new0(BlockAcctTimedStats, 1);
    timed->interval_s = interval_s;
    for (int type = 0; type < BLOCK_ACCT_MAX; type++) {
        timed_average_init(&timed->latency[type], interval_s * NANOSECONDS_PER_SECOND,
                           qemu_clock_get_ns(QEMU_CLOCK_REALTIME));
    }
    QEMU_LOCK_GUARD(&stats->lock);
    QSLIST_INSERT_HEAD(&stats->intervals, timed, next);
}

BlockAcctTimedStats *block_acct_interval_next(BlockAcctStats *stats, BlockAcctTimedStats *s)
{
    return s ? QSLIST_NEXT(s, next) : QSLIST_FIRST(&stats->intervals);
}

void block_acct_start(BlockAcctStats *stats, BlockAcctCookie *cookie, int64_t bytes,
                      BlockAcctType type)
{
    cookie->bytes = bytes;
    cookie->type = type;
    cookie->start_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
}

/* ---- histograms ------------------------------------------------------------------------------ */

bool block_latency_histogram_set(BlockAcctStats *stats, BlockAcctType type,
                                 const uint64_t *boundaries, int n)
{
    for (int i = 0; i < n; i++) {
        if (boundaries[i] <= (i ? boundaries[i - 1] : 0)) {
            return false;
        }
    }
    QEMU_LOCK_GUARD(&stats->lock);
    BlockLatencyHistogram *hist = &stats->histogram[type];
    histogram_clear(hist);
    hist->nbins = n + 1;
    hist->boundaries = g_memdup2(boundaries, n * sizeof(*boundaries));
    hist->bins = g_new0(uint64_t, hist->nbins);
    return true;
}

void block_latency_histograms_clear(BlockAcctStats *stats)
{
    QEMU_LOCK_GUARD(&stats->lock);
    for (int type = 0; type < BLOCK_ACCT_MAX; type++) {
        histogram_clear(&stats->histogram[type]);
    }
}

static void histogram_account(BlockLatencyHistogram *hist, int64_t latency_ns)
{
    if (!hist->bins) {
        return;
    }
    int low = 0, high = hist->nbins - 1; /* the bin is in [low, high] */
    while (low < high) {
        int mid = (low + high) / 2;
        if ((uint64_t)latency_ns < hist->boundaries[mid]) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    hist->bins[low]++;
}

/* ---- the end of a request -------------------------------------------------------------------- */

static void account_latency(BlockAcctStats *stats, BlockAcctType type, int64_t now_ns,
                            int64_t latency_ns)
{
    BlockAcctTimedStats *timed;
    stats->total_time_ns[type] += latency_ns;
    stats->last_access_ns = now_ns;
    QSLIST_FOREACH(timed, &stats->intervals, next) {
        timed_average_account(&timed->latency[type], latency_ns, now_ns);
    }
}

static void account_end(BlockAcctStats *stats, BlockAcctCookie *cookie, bool failed)
{
    BlockAcctType type = cookie->type;
    if (type == BLOCK_ACCT_NONE) {
        return;
    }
    int64_t now_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    int64_t latency_ns = now_ns - cookie->start_ns;
    cookie->type = BLOCK_ACCT_NONE; /* each request counts once */
    QEMU_LOCK_GUARD(&stats->lock);
    if (failed) {
        stats->failed_ops[type]++;
    } else {
        stats->bytes[type] += cookie->bytes;
        stats->ops[type]++;
    }
    histogram_account(&stats->histogram[type], latency_ns);
    if (!failed || stats->account_failed) {
        account_latency(stats, type, now_ns, latency_ns);
    }
}

void block_acct_done(BlockAcctStats *stats, BlockAcctCookie *cookie)
{
    account_end(stats, cookie, false);
}

void block_acct_failed(BlockAcctStats *stats, BlockAcctCookie *cookie)
{
    account_end(stats, cookie, true);
}

void block_acct_invalid(BlockAcctStats *stats, BlockAcctType type)
{
    QEMU_LOCK_GUARD(&stats->lock);
    stats->invalid_ops[type]++;
    if (stats->account_invalid) {
        stats->last_access_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    }
}

void block_acct_merge_done(BlockAcctStats *stats, BlockAcctType type, int num_requests)
{
    QEMU_LOCK_GUARD(&stats->lock);
    stats->merged[type] += num_requests;
}

int64_t block_acct_idle_time_ns(BlockAcctStats *stats)
{
    QEMU_LOCK_GUARD(&stats->lock);
    return qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - stats->last_access_ns;
}

double block_acct_queue_depth(BlockAcctStats *stats, BlockAcctTimedStats *timed, BlockAcctType type)
{
    uint64_t elapsed_ns;
    QEMU_LOCK_GUARD(&stats->lock);
    uint64_t sum_ns = timed_average_sum(&timed->latency[type],
                                        qemu_clock_get_ns(QEMU_CLOCK_REALTIME), &elapsed_ns);
    return elapsed_ns ? (double)sum_ns / elapsed_ns : 0;
}
