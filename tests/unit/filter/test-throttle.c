/* SPDX-License-Identifier: GPL-2.0-or-later */
/* throttle: the rate holds, groups are shared fairly, and no freeze waits for a limit. */
#include "qemu/osdep.h"

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include "block/throttle-group.h"
#include "qapi/user-object.h"
#include "qemu/iothread.h"
#include "qobject/json-parser.h"
#include "qobject/qnum.h"

extern BlockDriver bdrv_throttle;
static BlockDriver *const drivers[] = { &memdisk_driver, &bdrv_throttle, NULL };

#define DISK_BYTES (1 * MiB)

/* ---- disks below throttle nodes, and their users; time passes only when told to -------------- */

typedef struct Limited {
    BlockDriverState *disk, *filter;
    MemUser user;
    int started, done; /* requests */
} Limited;

static ThrottleGroup *group_with(const char *name, ThrottleBucket bucket, uint64_t avg,
                                 uint64_t max, uint64_t length)
{
    ThrottleGroup *group = throttle_group_use_or_new(name);
    ThrottleConfig cfg;

    throttle_config_init(&cfg);
    cfg.buckets[bucket].avg = avg;
    cfg.buckets[bucket].max = max;
    cfg.buckets[bucket].burst_length = length;
    throttle_group_set_config(group, &cfg);
    return group;
}

static void coroutine_fn co_set_up(Limited *l, const char *name, ThrottleGroup *group)
{
    memset(l, 0, sizeof(*l));
    l->disk = memdisk_co_new(name, DISK_BYTES);
    l->filter = throttle_filter_co_open(l->disk, group, &error_abort);
    g_assert_cmpint(bdrv_getlength(l->filter), ==, DISK_BYTES);
    memuser_co_attach(&l->user, l->filter, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                      BLK_PERM_ALL);
}

static void coroutine_fn co_tear_down(Limited *l)
{
    g_assert_cmpint(l->started, ==, l->done);
    memuser_co_detach(&l->user);
    bdrv_unref(l->filter);
    bdrv_unref(l->disk);
}

typedef struct Request {
    Limited *limited;
    bool is_write;
    int64_t bytes;
} Request;

static void coroutine_fn co_request(void *opaque)
{
    g_autofree Request *r = opaque;
    g_autofree uint8_t *buf = g_malloc0(r->bytes);
    Limited *l = r->limited;

    bdrv_gate_co_enter(&l->user.gate);
    if (r->is_write) {
        g_assert_cmpint(bdrv_co_pwrite(l->user.root, 0, r->bytes, buf, 0), ==, 0);
    } else {
        g_assert_cmpint(bdrv_co_pread(l->user.root, 0, r->bytes, buf, 0), ==, 0);
    }
    qatomic_inc(&l->done);
    bdrv_gate_leave(&l->user.gate);
    bdrv_freeze_kick();
}

static void start(Limited *l, int n, bool is_write, int64_t bytes)
{
    for (int i = 0; i < n; i++) {
        Request *r = g_new(Request, 1);

        *r = (Request){ .limited = l, .is_write = is_write, .bytes = bytes };
        l->started++;
        aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_create(co_request, r));
    }
}

/* Let what is ready run. */
static void coroutine_fn co_settle(void)
{
    for (int i = 0; i < 20; i++) {
        aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
}

static int64_t now_ns;

static void step_bh(void *opaque)
{
    qemu_clock_step_to(now_ns);
}

/* Time passes; timers fire outside of coroutines, as ever. */
static void coroutine_fn co_pass_ms(int64_t ms)
{
    now_ns += ms * SCALE_MS;
    aio_bh_schedule_oneshot(qemu_get_aio_context(), step_bh, NULL);
    co_settle();
}

/* ---- rates ----------------------------------------------------------------------------------- */

static void coroutine_fn co_operations_per_second(void)
{
    Limited l;

    /* A tenth of a second's worth may pass at once: 1 request, then one each 100 ms. */
    co_set_up(&l, "a", group_with("g", THROTTLE_OPS_TOTAL, 10, 0, 1));
    start(&l, 6, false, 4096);
    co_settle();
    g_assert_cmpint(l.done, <=, 2);
    co_pass_ms(250);
    g_assert_cmpint(l.done, >=, 3);
    g_assert_cmpint(l.done, <=, 5);
    co_pass_ms(350);
    g_assert_cmpint(l.done, ==, 6);
    co_tear_down(&l);
}

static void coroutine_fn co_bytes_per_second(void)
{
    Limited l;

    co_set_up(&l, "a", group_with("g", THROTTLE_BPS_WRITE, 64 * KiB, 0, 1));
    start(&l, 4, true, 64 * KiB); /* a second each */
    start(&l, 4, false, 64 * KiB); /* reads are free */
    co_settle();
    g_assert_cmpint(l.done, ==, 5);
    co_pass_ms(500);
    g_assert_cmpint(l.done, ==, 5);
    co_pass_ms(500);
    g_assert_cmpint(l.done, ==, 6);
    co_pass_ms(1000);
    g_assert_cmpint(l.done, ==, 7);
    co_pass_ms(1000);
    g_assert_cmpint(l.done, ==, 8);
    co_tear_down(&l);
}

static void coroutine_fn co_burst(void)
{
    Limited l;

    /* 100 a second for 2 seconds, then 10. */
    co_set_up(&l, "a", group_with("g", THROTTLE_OPS_TOTAL, 10, 100, 2));
    start(&l, 300, false, 512);
    for (int i = 0; i < 200; i++) {
        co_pass_ms(10);
    }
    g_assert_cmpint(l.done, >=, 190);
    g_assert_cmpint(l.done, <=, 240);
    int after_burst = l.done;
    for (int i = 0; i < 100; i++) {
        co_pass_ms(10);
    }
    g_assert_cmpint(l.done - after_burst, >=, 5);
    g_assert_cmpint(l.done - after_burst, <=, 30);
    throttle_group_set_config(throttle_filter_group(l.filter), &(ThrottleConfig){ 0 });
    co_settle();
    g_assert_cmpint(l.done, ==, 300);
    co_tear_down(&l);
}

static void coroutine_fn co_large_requests_count_more(void)
{
    ThrottleGroup *group = group_with("g", THROTTLE_OPS_TOTAL, 10, 0, 1);
    ThrottleConfig cfg;
    Limited l;

    throttle_group_get_config(group, &cfg);
    cfg.op_size = 4096;
    throttle_group_set_config(group, &cfg);
    co_set_up(&l, "a", group);
    start(&l, 2, false, 40960); /* ten operations each */
    co_settle();
    g_assert_cmpint(l.done, ==, 1);
    co_pass_ms(800);
    g_assert_cmpint(l.done, ==, 1);
    co_pass_ms(300);
    g_assert_cmpint(l.done, ==, 2);
    co_tear_down(&l);
}

/* ---- sharing --------------------------------------------------------------------------------- */

static void coroutine_fn co_members_take_turns(void)
{
    ThrottleGroup *group = group_with("g", THROTTLE_OPS_TOTAL, 10, 0, 1);
    Limited a, b;

    co_set_up(&a, "a", group);
    co_set_up(&b, "b", throttle_group_use("g", &error_abort));
    start(&a, 100, false, 512);
    co_settle();
    start(&b, 5, false, 512);
    co_settle();
    for (int i = 0; i < 12; i++) {
        co_pass_ms(100);
    }
    g_assert_cmpint(b.done, ==, 5);
    g_assert_cmpint(a.done, <, 15);
    throttle_group_set_config(group, &(ThrottleConfig){ 0 });
    co_settle();
    co_tear_down(&a);
    co_tear_down(&b);
}

/* ---- freezing -------------------------------------------------------------------------------- */

static void coroutine_fn co_freeze_does_not_wait(void)
{
    Limited l;

    co_set_up(&l, "a", group_with("g", THROTTLE_OPS_TOTAL, 1, 0, 1));
    start(&l, 50, true, 512);
    co_settle();
    g_assert_cmpint(l.done, <=, 2);
    bdrv_co_drain(l.disk); /* the clock stands still: only a release lets it return */
    co_settle();
    g_assert_cmpint(l.done, ==, 50);
    /* They are paid for. */
    start(&l, 1, true, 512);
    co_pass_ms(40 * 1000);
    g_assert_cmpint(l.done, ==, 50);
    co_pass_ms(20 * 1000);
    g_assert_cmpint(l.done, ==, 51);
    co_tear_down(&l);
}

static void coroutine_fn co_change_of_group(void)
{
    Limited l;

    co_set_up(&l, "a", group_with("g", THROTTLE_OPS_TOTAL, 1, 0, 1));
    throttle_filter_co_set_group(l.filter, group_with("h", THROTTLE_OPS_TOTAL, 1000, 0, 1));
    g_assert_cmpstr(throttle_group_name(throttle_filter_group(l.filter)), ==, "h");
    g_assert_null(throttle_group_use("g", NULL));
    start(&l, 50, true, 512);
    co_pass_ms(100);
    g_assert_cmpint(l.done, ==, 50);
    /* In the new group limits hold as well. */
    start(&l, 200, true, 512);
    co_settle();
    g_assert_cmpint(l.done, <, 250);
    co_pass_ms(1000);
    g_assert_cmpint(l.done, ==, 250);
    co_tear_down(&l);
}

/* ---- threads: members in three loops, in real time ------------------------------------------- */

typedef struct Worker {
    Limited limited;
    IOThread *thread;
} Worker;

static void coroutine_fn co_threads(void)
{
    enum { N = 3, REQUESTS = 100 };
    Worker workers[N];
    int64_t start_ns, took_ns;

    throttle_group_set_clock(QEMU_CLOCK_REALTIME);
    ThrottleGroup *group = group_with("g", THROTTLE_OPS_TOTAL, 1000, 0, 1);
    for (int i = 0; i < N; i++) {
        g_autofree char *name = g_strdup_printf("disk%d", i);

        co_set_up(&workers[i].limited, name, i ? throttle_group_use("g", &error_abort) : group);
        workers[i].thread = iothread_create(name, &error_abort);
    }
    start_ns = get_clock();
    for (int i = 0; i < N; i++) {
        for (int n = 0; n < REQUESTS; n++) {
            Request *r = g_new(Request, 1);

            *r = (Request){ .limited = &workers[i].limited, .is_write = n % 2, .bytes = 512 };
            workers[i].limited.started++;
            aio_co_schedule(iothread_get_aio_context(workers[i].thread),
                            qemu_coroutine_create(co_request, r));
        }
    }
    for (int i = 0; i < N; i++) {
        while (qatomic_read(&workers[i].limited.done) < REQUESTS) {
            qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, SCALE_MS);
        }
    }
    took_ns = get_clock() - start_ns;
    /* 300 requests, 100 of them at once. */
    g_assert_cmpint(took_ns, >=, 150 * SCALE_MS);
    for (int i = 0; i < N; i++) {
        bdrv_co_drain(workers[i].limited.disk);
        iothread_unref(workers[i].thread);
        co_tear_down(&workers[i].limited);
    }
    throttle_group_set_clock(QEMU_CLOCK_VIRTUAL);
}

/* ---- objects --------------------------------------------------------------------------------- */

static int64_t qnum_value(QObject *obj)
{
    int64_t value;

    g_assert_true(qnum_get_try_int(qobject_to(QNum, obj), &value));
    return value;
}

static void coroutine_fn co_objects(void)
{
    Error *err = NULL;
    UserObject *obj;
    g_autoptr(QObject) value = NULL;
    g_autoptr(QObject) limits = NULL;
    Limited l;

    g_assert_false(user_object_add_from_str("throttle-group,id=g,x-bps-total=1,x-bps-read=2",
                                            &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "bps/iops/max total values and read/write values "
                    "cannot be used at the same time");
    error_free(err);
    err = NULL;
    g_assert_false(user_object_add_from_str("throttle-group,id=g,limits.iops-total=-1", &err));
    error_free(err);
    err = NULL;
    g_assert_true(user_object_add_from_str("throttle-group,id=g,limits.iops-total=5", NULL));
    obj = user_object_find("g");
    value = obj->type->get(obj, "x-iops-total", &error_abort);
    g_assert_cmpint(qnum_value(value), ==, 5);
    co_set_up(&l, "a", throttle_group_use("g", &error_abort));
    g_assert_false(user_object_del("g", &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "object 'g' is in use, can not be deleted");
    error_free(err);
    err = NULL;
    start(&l, 10, false, 512);
    co_settle();
    g_assert_cmpint(l.done, <, 10);
    limits = qobject_from_json("{\"iops-total\": 0}", &error_abort);
    g_assert_true(obj->type->set(obj, "limits", limits, &error_abort));
    co_settle();
    g_assert_cmpint(l.done, ==, 10);
    g_assert_false(obj->type->set(obj, "x-iops-total", value, NULL));
    co_tear_down(&l);
    bdrv_co_reap();
    g_assert_true(user_object_del("g", &error_abort));
}

int main(int argc, char **argv)
{
    static const MemCase cases[] = {
        { "/throttle/rate/operations-per-second", co_operations_per_second },
        { "/throttle/rate/bytes-per-second-of-writes", co_bytes_per_second },
        { "/throttle/rate/burst-then-long-run", co_burst },
        { "/throttle/rate/large-requests-count-more", co_large_requests_count_more },
        { "/throttle/group/members-take-turns", co_members_take_turns },
        { "/throttle/group/across-threads", co_threads },
        { "/throttle/group/change", co_change_of_group },
        { "/throttle/freeze/does-not-wait-for-limits", co_freeze_does_not_wait },
        { "/throttle/object/limits", co_objects },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    qemu_clock_set_stepped();
    throttle_group_set_clock(QEMU_CLOCK_VIRTUAL);
    throttle_group_register_type();
    mem_drivers = drivers;
    mem_add_cases(cases, G_N_ELEMENTS(cases));
    return g_test_run();
}
