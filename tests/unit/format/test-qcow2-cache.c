/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much of the tables qcow2 keeps: all of an image by default, else what is asked for. */
#include "qemu/osdep.h"

#include "qcow2-test.h"
#include "../../../block/format/qcow2/qcow2.h"

/* With clusters of 512 bytes an L2 table describes 32 KiB. */
#define TABLES 256
#define PER_TABLE (32 * KiB)
#define DISK_BYTES (TABLES * (int64_t)PER_TABLE)

/* An image with data in one cluster of each table. */
static void coroutine_fn co_make(void)
{
    BlockdevCreateOptionsQcow2 o = {
        .size = DISK_BYTES,
        .has_cluster_size = true,
        .cluster_size = 512,
    };
    uint8_t buf[512];
    MemUser *user;

    memset(buf, 0x21, sizeof(buf));
    g_assert_true(qcow2_test_create("disk", &o, &error_abort));
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    for (int64_t at = 0; at < DISK_BYTES; at += PER_TABLE) {
        g_assert_cmpint(bdrv_co_pwrite(user->root, at, sizeof(buf), buf, 0), ==, 0);
    }
    mem_co_unuse(user);
}

/* @option: name and value, or NULL. */
static MemUser *coroutine_fn co_open(const char *const *option)
{
    QDict *options = qcow2_test_options("disk");

    for (; option && option[0]; option += 2) {
        qdict_put_str(options, option[0], option[1]);
    }
    return mem_co_use(options, BDRV_O_RDWR, &error_abort);
}

/* Reads of the file that reading all data takes, besides the data's own. */
static guint coroutine_fn co_count_loads(MemUser *user)
{
    uint8_t buf[512];

    mem_fault = (MemFault){ .kinds = "r", .at = G_MAXUINT };
    for (int64_t at = 0; at < DISK_BYTES; at += PER_TABLE) {
        g_assert_cmpint(bdrv_co_pread(user->root, at, sizeof(buf), buf, 0), ==, 0);
        g_assert_cmphex(buf[511], ==, 0x21);
    }
    return mem_fault.calls - TABLES;
}

static void coroutine_fn co_auto(void)
{
    MemUser *user;

    co_make();
    user = co_open(NULL);
    g_assert_cmpuint(co_count_loads(user), ==, TABLES);
    g_assert_cmpuint(co_count_loads(user), ==, 0);
    mem_co_unuse(user);
}

static void coroutine_fn co_limited(void)
{
    static const char *const small[] = { "l2-cache-size", "4096", NULL };
    static const char *const whole[] = { "l2-cache-size", "131072", NULL };
    MemUser *user;

    co_make();
    user = co_open(small);
    g_assert_cmpuint(co_count_loads(user), ==, TABLES);
    g_assert_cmpuint(co_count_loads(user), ==, TABLES);
    mem_co_unuse(user);
    user = co_open(whole);
    g_assert_cmpuint(co_count_loads(user), ==, TABLES);
    g_assert_cmpuint(co_count_loads(user), ==, 0);
    mem_co_unuse(user);
}

/* Of a total the L2 cache gets what the disk needs, the refcount cache the rest. */
static void coroutine_fn co_divided(void)
{
    static const struct {
        const char *option[5];
        uint64_t l2, refcounts;
    } cases[] = {
        { { "cache-size", "1048576" }, 131072, 1048576 - 131072 },
        { { "cache-size", "65536" }, 65536 - 2048, 2048 },
        { { "cache-size", "65536", "l2-cache-size", "4096" }, 4096, 65536 - 4096 },
        { { "cache-size", "65536", "refcount-cache-size", "4096" }, 65536 - 4096, 4096 },
        { { "l2-cache-size", "8192", "refcount-cache-size", "4096" }, 8192, 4096 },
    };

    co_make();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        MemUser *user = co_open(cases[i].option);
        const Qcow2State *s = user->bs->opaque;

        g_assert_cmpuint(s->opt.l2_cache_bytes, ==, cases[i].l2);
        g_assert_cmpuint(s->opt.refcount_cache_bytes, ==, cases[i].refcounts);
        mem_co_unuse(user);
    }
}

int main(int argc, char **argv)
{
    static const Qcow2TestCase cases[] = {
        { "/qcow2/cache/covers-the-image-by-default", co_auto },
        { "/qcow2/cache/takes-what-it-was-given", co_limited },
        { "/qcow2/cache/total-is-divided", co_divided },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    qcow2_test_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
