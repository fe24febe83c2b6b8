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
    g_test_init(&argc, &argv, NULL);
    qemu_init_main_loop(&error_abort);
    g_test_add_func("/accounting/count/each-request-once", test_counts);
    g_test_add_func("/accounting/histogram/bins", test_histogram);
    g_test_add_data_func(cases[0].path, &cases[0], fake_run_case);
    return g_test_run();
}
