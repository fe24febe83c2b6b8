/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The length of a node that grows by being written to, when several learn of it at once.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "fake.h"
#include "qemu/atomic.h"

#define STEP 4096

static FakeUser user;
static int64_t length;          /* of the medium */
static bool grows_meanwhile;    /* the driver looks; then a write makes it longer */
static uint8_t data[STEP];

static int coroutine_fn co_append(void)
{
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, data, STEP);

    return bdrv_co_pwritev(user.root, length, STEP, &qiov, 0);
}

static int coroutine_fn grower_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                         QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    qemu_iovec_memset(qiov, qiov_offset, 0x11, bytes);
    return 0;
}

static int coroutine_fn grower_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                          QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    length = MAX(length, offset + bytes);
    return 0;
}

static int64_t coroutine_fn grower_co_getlength(BlockDriverState *bs)
{
    int64_t seen = length;

    if (grows_meanwhile) {
        grows_meanwhile = false;
        g_assert_cmpint(co_append(), ==, 0);
    }
    return seen;
}

static BlockDriver grower = {
    .format_name = "grower",
    .options_type = BLOCKDEV_DRIVER__MAX,
    .is_protocol = true,
    .bdrv_co_preadv = grower_co_preadv,
    .bdrv_co_pwritev = grower_co_pwritev,
    .bdrv_co_getlength = grower_co_getlength,
};

static BlockDriverState *coroutine_fn co_medium(void)
{
    BlockDriverState *bs;

    length = STEP;
    memset(data, 0x11, STEP);
    bs = bdrv_co_open_driver(&grower, "medium", BDRV_O_RDWR, &error_abort);
    bdrv_co_refresh_length(bs);
    g_assert_true(fake_co_attach(&user, bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                                 BLK_PERM_ALL, &error_abort));
    return bs;
}

static void coroutine_fn co_done(BlockDriverState *bs)
{
    fake_co_detach(&user);
    bdrv_unref(bs);
}

/* ---- cases ----------------------------------------------------------------------------------- */

/* What was acknowledged is there, whoever asks how long the node is while it is written. */
static void coroutine_fn co_asked_while_it_grows(void)
{
    BlockDriverState *bs = co_medium();
    uint8_t back[STEP] = { 0 };

    grows_meanwhile = true;
    g_assert_cmpint(bdrv_co_getlength(bs), ==, 2 * STEP);
    g_assert_false(grows_meanwhile);
    g_assert_cmpint(bdrv_getlength(bs), ==, 2 * STEP);
    g_assert_cmpint(bdrv_co_pread(user.root, STEP, STEP, back, 0), ==, 0);
    g_assert_cmpint(memcmp(back, data, STEP), ==, 0);

    /* But what the driver says then is what counts: a medium may also become shorter. */
    length = STEP;
    g_assert_cmpint(bdrv_co_getlength(bs), ==, STEP);
    g_assert_cmpint(bdrv_getlength(bs), ==, STEP);
    co_done(bs);
}

#define APPENDS 50000

typedef struct Appender {
    BlockDriverState *bs;
    int first; /* 0 or 1: one appends the even, the other the odd blocks */
    int lost;
    int *nb_ready;
} Appender;

static void *append(void *opaque)
{
    Appender *a = opaque;

    qatomic_inc(a->nb_ready);
    while (qatomic_read(a->nb_ready) < 2) {
        /* Both begin at once. */
    }
    for (int64_t i = a->first; i < APPENDS; i += 2) {
        bdrv_grew(a->bs, (i + 1) * STEP);
        a->lost += bdrv_getlength(a->bs) < (i + 1) * STEP;
    }
    return NULL;
}

static void coroutine_fn co_two_threads(void)
{
    BlockDriverState *bs = co_medium();
    BdrvDirtyBitmap *bitmap = bdrv_create_dirty_bitmap(bs, STEP, "b", &error_abort);
    int nb_ready = 0;
    Appender appenders[2] = { { bs, 0, 0, &nb_ready }, { bs, 1, 0, &nb_ready } };
    GThread *thread = g_thread_new("append", append, &appenders[0]);

    append(&appenders[1]);
    g_thread_join(thread);
    g_assert_cmpint(appenders[0].lost + appenders[1].lost, ==, 0);
    g_assert_cmpint(bdrv_getlength(bs), ==, APPENDS * (int64_t)STEP);
    bdrv_set_dirty(bs, 0, INT64_MAX);
    g_assert_cmpint(bdrv_get_dirty_count(bitmap), ==, APPENDS * (int64_t)STEP);
    co_done(bs);
}

int main(int argc, char **argv)
{
    static const FakeCase cases[] = {
        { "/length/refresh/sees-what-was-written-meanwhile", co_asked_while_it_grows },
        { "/length/grew/two-threads-lose-nothing", co_two_threads },
    };

    return fake_main(argc, argv, cases, ARRAY_SIZE(cases));
}
