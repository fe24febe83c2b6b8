/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counting what a backend did: operations, bytes, time, failures, averages over intervals.
 * A BlockAcctStats has its own lock; every call is thread-safe.
 */
#ifndef BLOCK_ACCOUNTING_H
#define BLOCK_ACCOUNTING_H

#include "qemu/average.h"
#include "qemu/queue.h"
#include "qemu/thread.h"

typedef enum BlockAcctType {
    BLOCK_ACCT_NONE,
    BLOCK_ACCT_READ,
    BLOCK_ACCT_WRITE,
    BLOCK_ACCT_FLUSH,
    BLOCK_ACCT_UNMAP,
    BLOCK_ACCT_ZONE_APPEND,
    BLOCK_ACCT_MAX,
} BlockAcctType;

typedef struct BlockAcctTimedStats {
    unsigned interval_s;
    TimedAverage latency[BLOCK_ACCT_MAX];
    QSLIST_ENTRY(BlockAcctTimedStats) next;
} BlockAcctTimedStats;

/* nbins counters; bin i counts latencies below boundaries[i] (ns), the last the rest. */
typedef struct BlockLatencyHistogram {
    int nbins;
    uint64_t *boundaries;
    uint64_t *bins;
} BlockLatencyHistogram;

typedef struct BlockAcctStats {
    QemuMutex lock;
    uint64_t bytes[BLOCK_ACCT_MAX], ops[BLOCK_ACCT_MAX];
    uint64_t invalid_ops[BLOCK_ACCT_MAX], failed_ops[BLOCK_ACCT_MAX], merged[BLOCK_ACCT_MAX];
    uint64_t total_time_ns[BLOCK_ACCT_MAX];
    int64_t last_access_ns;
    bool account_invalid, account_failed;
    QSLIST_HEAD(, BlockAcctTimedStats) intervals;
    BlockLatencyHistogram histogram[BLOCK_ACCT_MAX];
} BlockAcctStats;

typedef struct BlockAcctCookie {
    int64_t bytes, start_ns;
    BlockAcctType type;
} BlockAcctCookie;

/** Start from zero; clean up frees what was allocated. */
void block_acct_init(BlockAcctStats *stats, bool account_invalid, bool account_failed);
void block_acct_cleanup(BlockAcctStats *stats);
/** Keep averages over @interval_s seconds, too; walk over the intervals (NULL starts and ends). */
void block_acct_add_interval(BlockAcctStats *stats, unsigned interval_s);
BlockAcctTimedStats *block_acct_interval_next(BlockAcctStats *stats, BlockAcctTimedStats *s);
/** A request of @bytes begins, and then is done or failed, once. */
void block_acct_start(BlockAcctStats *stats, BlockAcctCookie *cookie, int64_t bytes,
                      BlockAcctType type);
void block_acct_done(BlockAcctStats *stats, BlockAcctCookie *cookie);
void block_acct_failed(BlockAcctStats *stats, BlockAcctCookie *cookie);
/** A request was refused before it began; @num_requests were merged into one; idle time. */
void block_acct_invalid(BlockAcctStats *stats, BlockAcctType type);
void block_acct_merge_done(BlockAcctStats *stats, BlockAcctType type, int num_requests);
int64_t block_acct_idle_time_ns(BlockAcctStats *stats);
/** Mean number of requests in flight during @timed's interval. */
double block_acct_queue_depth(BlockAcctStats *stats, BlockAcctTimedStats *timed,
                              BlockAcctType type);

/**
 * Start a histogram of @type with @n ascending boundaries > 0 (ns); false if they are not.
 * What was counted before is forgotten.
 */
bool block_latency_histogram_set(BlockAcctStats *stats, BlockAcctType type,
                                 const uint64_t *boundaries, int n);
/** Stop counting in intervals, of all types. */
void block_latency_histograms_clear(BlockAcctStats *stats);

#endif
