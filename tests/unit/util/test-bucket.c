/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/average.h"
#include "qemu/bucket.h"
#include "../../lib/testlib.h"

#define SECOND NANOSECONDS_PER_SECOND

static void expect_invalid(const ThrottleConfig *cfg, const char *message)
{
    Error *err = NULL;

    g_assert_false(throttle_is_valid(cfg, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_free(err);
}

static ThrottleConfig config(void)
{
    ThrottleConfig cfg;

    throttle_config_init(&cfg);
    return cfg;
}

static void test_bad_configurations_are_refused(void)
{
    ThrottleConfig cfg = config();

    g_assert_true(throttle_is_valid(&cfg, &error_abort));
    g_assert_false(throttle_enabled(&cfg));
    cfg.buckets[THROTTLE_BPS_TOTAL].avg = 1;
    g_assert_true(throttle_enabled(&cfg));
    cfg.buckets[THROTTLE_BPS_WRITE].avg = 1;
    expect_invalid(&cfg, "bps/iops/max total values and read/write values cannot be used at the "
                   "same time");
    cfg = config();
    cfg.op_size = 4096;
    expect_invalid(&cfg, "iops size requires an iops value to be set");
    cfg = config();
    cfg.buckets[THROTTLE_OPS_READ].avg = THROTTLE_VALUE_MAX + 1;
    expect_invalid(&cfg, "bps/iops/max values must be within [0, 1000000000000000]");
    cfg = config();
    cfg.buckets[THROTTLE_OPS_READ].burst_length = 0;
    expect_invalid(&cfg, "the burst length cannot be 0");
    cfg.buckets[THROTTLE_OPS_READ].burst_length = 2;
    expect_invalid(&cfg, "burst length set without burst rate");
    cfg.buckets[THROTTLE_OPS_READ].max = THROTTLE_VALUE_MAX;
    expect_invalid(&cfg, "burst length too high for this burst rate");
    cfg.buckets[THROTTLE_OPS_READ].max = 5;
    expect_invalid(&cfg, "bps_max/iops_max require corresponding bps/iops values");
    cfg.buckets[THROTTLE_OPS_READ].avg = 6;
    expect_invalid(&cfg, "bps_max/iops_max cannot be lower than bps/iops");
    cfg.buckets[THROTTLE_OPS_READ].avg = 5;
    g_assert_true(throttle_is_valid(&cfg, &error_abort));
}

/* Issue requests as fast as allowed; returns how many started before @until_ns. */
static int64_t run(ThrottleState *ts, ThrottleDirection direction, uint64_t bytes,
                   int64_t from_ns, int64_t until_ns)
{
    int64_t now_ns = from_ns, done = 0;

    while (true) {
        int64_t wait_ns = throttle_wait_ns(ts, direction, now_ns);
        g_assert_cmpint(wait_ns, >=, 0);
        now_ns += wait_ns;
        if (now_ns >= until_ns) {
            return done;
        }
        if (!wait_ns) {
            throttle_account(ts, direction, bytes);
            done++;
        }
        /* A request does not take no time at all, and rounding must not stop the clock. */
        now_ns += 1000;
    }
}

static void test_rate_is_kept(void)
{
    ThrottleConfig cfg = config();
    ThrottleState ts;
    int64_t done;

    throttle_init(&ts, 0);
    cfg.buckets[THROTTLE_OPS_TOTAL].avg = 100;
    throttle_set_config(&ts, &cfg, 0);
    done = run(&ts, THROTTLE_READ, 512, 0, 10 * SECOND);
    /* 100 a second, and a tenth of a second at once in the beginning. */
    g_assert_cmpint(done, >=, 1000);
    g_assert_cmpint(done, <=, 1012);
}

static void test_directions_are_apart(void)
{
    ThrottleConfig cfg = config();
    ThrottleState ts;

    cfg.buckets[THROTTLE_BPS_WRITE].avg = 4096;
    throttle_set_config(&ts, &cfg, 0);
    throttle_account(&ts, THROTTLE_WRITE, 1 << 20);
    g_assert_cmpint(throttle_wait_ns(&ts, THROTTLE_READ, 0), ==, 0);
    g_assert_cmpint(throttle_wait_ns(&ts, THROTTLE_WRITE, 0), >, 200 * SECOND);
    g_assert_cmpint(throttle_wait_ns(&ts, THROTTLE_WRITE, 300 * SECOND), ==, 0);
}

static void test_burst_lasts_its_length(void)
{
    ThrottleConfig cfg = config();
    ThrottleState ts;
    int64_t burst, later;

    cfg.buckets[THROTTLE_OPS_TOTAL].avg = 100;
    cfg.buckets[THROTTLE_OPS_TOTAL].max = 1000;
    cfg.buckets[THROTTLE_OPS_TOTAL].burst_length = 5;
    throttle_set_config(&ts, &cfg, 0);
    burst = run(&ts, THROTTLE_WRITE, 512, 0, 5 * SECOND);
    later = run(&ts, THROTTLE_WRITE, 512, 7 * SECOND, 17 * SECOND);
    g_assert_cmpint(burst, >=, 4900);
    g_assert_cmpint(burst, <=, 5200);
    g_assert_cmpint(later, <=, 1900);
}

static void test_op_size_counts_large_requests(void)
{
    ThrottleConfig cfg = config();
    ThrottleState ts;

    cfg.buckets[THROTTLE_OPS_TOTAL].avg = 10;
    cfg.op_size = 4096;
    throttle_set_config(&ts, &cfg, 0);
    throttle_account(&ts, THROTTLE_READ, 512);
    g_assert_cmpint(throttle_wait_ns(&ts, THROTTLE_READ, 0), ==, 0);
    throttle_account(&ts, THROTTLE_READ, 4096 * 10);
    g_assert_cmpint(throttle_wait_ns(&ts, THROTTLE_READ, 0), ==, SECOND);
    throttle_get_config(&ts, &cfg);
    g_assert_cmpuint(cfg.op_size, ==, 4096);
}

static void test_average_forgets(void)
{
    TimedAverage ta;
    uint64_t elapsed;

    timed_average_init(&ta, 10 * SECOND, 0);
    g_assert_cmpuint(timed_average_min(&ta, 0), ==, 0);
    timed_average_account(&ta, 10, 1 * SECOND);
    timed_average_account(&ta, 30, 2 * SECOND);
    g_assert_cmpuint(timed_average_min(&ta, 2 * SECOND), ==, 10);
    g_assert_cmpuint(timed_average_max(&ta, 2 * SECOND), ==, 30);
    g_assert_cmpuint(timed_average_avg(&ta, 2 * SECOND), ==, 20);
    /* After half a period the other window answers and still knows. */
    timed_average_account(&ta, 50, 6 * SECOND);
    g_assert_cmpuint(timed_average_sum(&ta, 6 * SECOND, &elapsed), ==, 90);
    g_assert_cmpuint(elapsed, ==, 6 * SECOND);
    g_assert_cmpuint(timed_average_sum(&ta, 11 * SECOND, &elapsed), ==, 50);
    g_assert_cmpuint(elapsed, ==, 6 * SECOND);
    g_assert_cmpuint(timed_average_max(&ta, 1000 * SECOND), ==, 0);
    timed_average_account(&ta, 7, 1001 * SECOND);
    g_assert_cmpuint(timed_average_avg(&ta, 1001 * SECOND), ==, 7);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/bucket/valid/bad-configurations-are-refused",
                    test_bad_configurations_are_refused);
    g_test_add_func("/bucket/wait/rate-is-kept", test_rate_is_kept);
    g_test_add_func("/bucket/wait/directions-are-apart", test_directions_are_apart);
    g_test_add_func("/bucket/burst/lasts-its-length", test_burst_lasts_its_length);
    g_test_add_func("/bucket/op-size/counts-large-requests", test_op_size_counts_large_requests);
    g_test_add_func("/average/windows/forget-after-a-period", test_average_forgets);
    return g_test_run();
}
