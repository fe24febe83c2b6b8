/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counting of requests, histograms, and the write threshold. */
#include "qemu/osdep.h"

#include "block/accounting.h"
#include "block/qapi.h"
#include "fake.h"
#include "qapi/events.h"

static void test_counts(void)
{
    BlockAcctStats stats;
    BlockAcctCookie cookie;
    block_acct_init(&stats, true, false);
    block_acct_add_interval(&stats, 60);
    block_acct_start(&stats, &cookie, 4096, BLOCK_ACCT_READ);
    block_acct_done(&stats, &cookie);
    block_acct_done(&stats, &cookie); /* the same request again: not counted */
    block_acct_start(&stats, &cookie, 512, BLOCK_ACCT_WRITE);
    block_acct_failed(&stats, &cookie);
    block_acct_invalid(&stats, BLOCK_ACCT_WRITE);
    block_acct_merge_done(&stats, BLOCK_ACCT_WRITE, 3);

    g_autoptr(BlockDeviceStats) info = g_new0(BlockDeviceStats, 1);
    bdrv_stats_from_accounting(&stats, info);
    g_assert_cmpint(info->rd_operations, ==, 1);
    g_assert_cmpint(info->rd_bytes, ==, 4096);
    g_assert_cmpint(info->wr_operations, ==, 0);
    g_assert_cmpint(info->wr_bytes, ==, 0);
    g_assert_cmpint(info->failed_wr_operations, ==, 1);
    g_assert_cmpint(info->invalid_wr_operations, ==, 1);
    g_assert_cmpint(info->wr_merged, ==, 3);
    g_assert_cmpint(info->wr_total_time_ns, ==, 0); /* account_failed is off */
    g_assert_true(info->has_idle_time_ns && info->idle_time_ns >= 0);
    g_assert_cmpint(info->timed_stats->value->interval_length, ==, 60);
    g_assert_null(info->rd_latency_histogram);
    block_acct_cleanup(&stats);
}

/* Each kind of request has its own counters. */
static void test_every_counter(void)
{
    BlockAcctStats stats;
    g_autoptr(BlockDeviceStats) info = g_new0(BlockDeviceStats, 1);

    block_acct_init(&stats, false, true);
    for (int type = 0; type < BLOCK_ACCT_MAX; type++) {
        stats.bytes[type] = 1000 + type;
        stats.ops[type] = 2000 + type;
        stats.invalid_ops[type] = 3000 + type;
        stats.failed_ops[type] = 4000 + type;
        stats.merged[type] = 5000 + type;
        stats.total_time_ns[type] = 6000 + type;
    }
    bdrv_stats_from_accounting(&stats, info);
    const struct {
        BlockAcctType type;
        int64_t bytes, ops, invalid, failed, merged, time;
    } rows[] = {
        { BLOCK_ACCT_READ, info->rd_bytes, info->rd_operations, info->invalid_rd_operations,
          info->failed_rd_operations, info->rd_merged, info->rd_total_time_ns },
        { BLOCK_ACCT_WRITE, info->wr_bytes, info->wr_operations, info->invalid_wr_operations,
          info->failed_wr_operations, info->wr_merged, info->wr_total_time_ns },
        { BLOCK_ACCT_ZONE_APPEND, info->zone_append_bytes, info->zone_append_operations,
          info->invalid_zone_append_operations, info->failed_zone_append_operations,
          info->zone_append_merged, info->zone_append_total_time_ns },
        { BLOCK_ACCT_UNMAP, info->unmap_bytes, info->unmap_operations,
          info->invalid_unmap_operations, info->failed_unmap_operations, info->unmap_merged,
          info->unmap_total_time_ns },
        { BLOCK_ACCT_FLUSH, 1000 + BLOCK_ACCT_FLUSH, info->flush_operations,
          info->invalid_flush_operations, info->failed_flush_operations, 5000 + BLOCK_ACCT_FLUSH,
          info->flush_total_time_ns },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_assert_cmpint(rows[i].bytes, ==, 1000 + rows[i].type);
        g_assert_cmpint(rows[i].ops, ==, 2000 + rows[i].type);
        g_assert_cmpint(rows[i].invalid, ==, 3000 + rows[i].type);
        g_assert_cmpint(rows[i].failed, ==, 4000 + rows[i].type);
        g_assert_cmpint(rows[i].merged, ==, 5000 + rows[i].type);
        g_assert_cmpint(rows[i].time, ==, 6000 + rows[i].type);
    }
    g_assert_false(info->account_invalid);
    g_assert_true(info->account_failed);
    block_acct_cleanup(&stats);
}

static void count_one(BlockAcctStats *stats, int64_t latency_ns)
{
    BlockAcctCookie cookie;
    block_acct_start(stats, &cookie, 1, BLOCK_ACCT_READ);
    cookie.start_ns -= latency_ns;
    block_acct_done(stats, &cookie);
}

static void test_histogram(void)
{
    static const uint64_t hour = UINT64_C(3600000000000);
    const uint64_t boundaries[] = { hour, 2 * hour, 3 * hour };
    const uint64_t unsorted[] = { 2, 1 }, zero[] = { 0 };
    BlockAcctStats stats;
    block_acct_init(&stats, true, true);
    g_assert_false(block_latency_histogram_set(&stats, BLOCK_ACCT_READ, unsorted, 2));
    g_assert_false(block_latency_histogram_set(&stats, BLOCK_ACCT_READ, zero, 1));
    g_assert_true(block_latency_histogram_set(&stats, BLOCK_ACCT_READ, boundaries, 3));
    count_one(&stats, 0);
    count_one(&stats, hour - hour / 2);
    count_one(&stats, hour); /* a boundary belongs to the bin above it */
    count_one(&stats, 2 * hour + 1);
    count_one(&stats, 9 * hour);
    count_one(&stats, 3 * hour);
    const uint64_t expected[] = { 2, 1, 1, 2 };
    for (int i = 0; i < 4; i++) {
        g_assert_cmpuint(stats.histogram[BLOCK_ACCT_READ].bins[i], ==, expected[i]);
    }
    block_latency_histograms_clear(&stats);
    g_assert_null(stats.histogram[BLOCK_ACCT_READ].bins);
    block_acct_cleanup(&stats);
}

/* ---- write threshold ------------------------------------------------------------------------- */

static int events;

static void note_event(int event, QDict *message)
{
    QDict *data = qdict_get_qdict(message, "data");
    events++;
    g_assert_cmpstr(qdict_get_str(message, "event"), ==, "BLOCK_WRITE_THRESHOLD");
    g_assert_cmpstr(qdict_get_str(data, "node-name"), ==, "n");
    g_assert_cmpint(qdict_get_int(data, "amount-exceeded"), ==, 512);
    g_assert_cmpint(qdict_get_int(data, "write-threshold"), ==, 4096);
}

static void coroutine_fn co_threshold(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    FakeUser user = { .name = "" };
    uint8_t buf[512] = { 0 };
    events = 0;
    qapi_event_set_emitter(note_event);
    g_assert_true(fake_co_attach(&user, bs, BLK_PERM_WRITE, BLK_PERM_ALL, &error_abort));
    bdrv_write_threshold_set(bs, 4096);
    bdrv_gate_co_enter(&user.gate);
    g_assert_cmpint(bdrv_co_pwrite(user.root, 4096 - 512, 512, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_write_threshold_get(bs), ==, 4096);
    g_assert_cmpint(bdrv_co_pwrite(user.root, 4096, 512, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_pwrite(user.root, 8192, 512, buf, 0), ==, 0);
    bdrv_gate_leave(&user.gate);
    g_assert_cmpint(bdrv_write_threshold_get(bs), ==, 0);
    fake_co_detach(&user); /* waits for the event, which holds an activity */
    bdrv_co_drain(bs);
    g_assert_cmpint(events, ==, 1);
    qapi_event_set_emitter(NULL);
}

int main(int argc, char **argv)
{
    static const FakeCase cases[] = {
        { "/write-threshold/event/is-sent-once", co_threshold },
    };
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    g_test_add_func("/accounting/count/each-request-once", test_counts);
    g_test_add_func("/accounting/count/every-kind-apart", test_every_counter);
    g_test_add_func("/accounting/histogram/bins", test_histogram);
    g_test_add_data_func(cases[0].path, &cases[0], fake_run_case);
    return g_test_run();
}
