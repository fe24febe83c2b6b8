/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Several writers of one new cluster at the same time: who links it, and who gives it back. */
#include "qemu/osdep.h"

#include "qcow2-test.h"
#include "../../../block/format/qcow2/qcow2.h"

#define CLUSTER (64 * KiB)
#define DISK_BYTES (16 * (int64_t)CLUSTER)

static MemUser *coroutine_fn co_make(bool is_extended, const char *backing)
{
    BlockdevCreateOptionsQcow2 o = {
        .size = DISK_BYTES,
        .has_extended_l2 = true,
        .extended_l2 = is_extended,
        .backing_file = (char *)backing,
        .has_backing_fmt = backing,
        .backing_fmt = BLOCKDEV_DRIVER_RAW,
    };

    g_assert_true(qcow2_test_create("disk", &o, &error_abort));
    return qcow2_test_open("disk", BDRV_O_RDWR | BDRV_O_UNMAP);
}

/* ---- a writer that takes its time ----------------------------------------------------------- */

typedef struct Writer {
    Qcow2Alloc *alloc;
    int64_t offset, bytes;
    uint64_t host;
} Writer;

/* As io.c does it: somebody starts to write. */
static Writer coroutine_fn co_begin(MemUser *user, int64_t offset, int64_t bytes)
{
    Qcow2State *s = user->bs->opaque;
    Writer w = { NULL, offset, bytes, 0 };

    CO_LOCK_GUARD(&s->lock);
    g_assert_cmpint(qcow2_alloc_co_begin(user->bs, offset, &w.bytes, &w.host, &w.alloc), ==, 0);
    g_assert_cmpint(w.bytes, ==, bytes);
    w.alloc->is_open = w.alloc->reads_zero;
    return w;
}

static Writer coroutine_fn co_join(MemUser *user, int64_t offset, int64_t bytes)
{
    Qcow2State *s = user->bs->opaque;
    Writer w = { NULL, offset, bytes, 0 };

    CO_LOCK_GUARD(&s->lock);
    w.alloc = qcow2_alloc_join(s, offset, &w.bytes, &w.host);
    if (w.alloc) {
        g_assert_cmphex(w.host, ==, w.alloc->host_offset + (offset - w.alloc->guest_offset));
    }
    return w;
}

/* It has written, or failed. */
static void coroutine_fn co_end(MemUser *user, const Writer *w, int result)
{
    g_autofree uint8_t *buf = g_malloc0(w->bytes);

    if (result == 0) {
        g_assert_cmpint(bdrv_co_pwrite(user->bs->file, w->host, w->bytes, buf, 0), ==, 0);
    }
    g_assert_cmpint(qcow2_alloc_co_finish(user->bs, w->alloc, w->offset, w->bytes, result), ==,
                    result);
}

/* Is the cluster of @offset there? */
static bool coroutine_fn co_is_linked(MemUser *user, int64_t offset)
{
    Qcow2State *s = user->bs->opaque;
    Qcow2Mapping map;

    CO_LOCK_GUARD(&s->lock);
    g_assert_cmpint(qcow2_co_map(user->bs, offset, 512, &map), ==, 0);
    return map.kind == QCOW2_DATA;
}

/* Nobody writes any more, nothing has leaked, and the file says so, too. */
static void coroutine_fn co_finish_test(MemUser *user)
{
    Qcow2State *s = user->bs->opaque;

    g_assert_true(QLIST_EMPTY(&s->allocs));
    g_assert_cmpint(qcow2_test_check(user), ==, 0);
    mem_co_unuse(user);
}

static void coroutine_fn co_expect(MemUser *user, int64_t offset, int64_t bytes, uint8_t value)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    g_assert_cmpint(bdrv_co_pread(user->root, offset, bytes, buf, 0), ==, 0);
    for (int64_t i = 0; i < bytes; i++) {
        g_assert_cmphex(buf[i], ==, value);
    }
}

/* ---- requests beside a writer --------------------------------------------------------------- */

typedef struct Beside {
    MemUser *user;
    int64_t offset;
    bool is_discard, done;
} Beside;

static void coroutine_fn co_beside(void *opaque)
{
    Beside *b = opaque;
    uint8_t buf[4096];

    memset(buf, 0x3c, sizeof(buf));
    g_assert_cmpint(b->is_discard ? bdrv_co_pdiscard(b->user->root, b->offset, CLUSTER)
                                  : bdrv_co_pwrite(b->user->root, b->offset, sizeof(buf), buf, 0),
                    ==, 0);
    b->done = true;
}

static void start(Beside *b)
{
    qemu_coroutine_enter(qemu_coroutine_create(co_beside, b));
}

static void coroutine_fn co_wait(const Beside *b)
{
    while (!b->done) {
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
}

/* ---- cases ---------------------------------------------------------------------------------- */

static void coroutine_fn co_nobody_waits(void)
{
    MemUser *user = co_make(false, NULL);
    Writer first = co_begin(user, 0, 4096);
    Beside second = { .user = user, .offset = 8192 }, third = { .user = user, .offset = 12288 };

    start(&second);
    g_assert_true(second.done);
    /* It is said to be written, so it is there for everybody. */
    g_assert_true(co_is_linked(user, 0));
    co_expect(user, 0, 8192, 0);
    co_expect(user, 8192, 4096, 0x3c);
    start(&third);
    g_assert_true(third.done);
    co_end(user, &first, 0);
    co_expect(user, 8192, 8192, 0x3c);
    co_finish_test(user);
}

static void coroutine_fn co_first_fails(void)
{
    MemUser *user = co_make(false, NULL);
    Writer first = co_begin(user, 0, 4096), second = co_join(user, 4096, 4096);

    g_assert_true(second.alloc == first.alloc);
    co_end(user, &first, -EIO);
    g_assert_false(co_is_linked(user, 0));
    co_end(user, &second, 0);
    g_assert_true(co_is_linked(user, 0));
    co_finish_test(user);
}

static void coroutine_fn co_last_fails(void)
{
    MemUser *user = co_make(false, NULL);
    Writer first = co_begin(user, 0, 4096), second = co_join(user, 4096, 4096);

    co_end(user, &first, 0);
    co_end(user, &second, -EIO);
    g_assert_true(co_is_linked(user, 0));
    co_finish_test(user);
}

static void coroutine_fn co_all_fail(void)
{
    MemUser *user = co_make(false, NULL);
    Writer first = co_begin(user, 0, 4096), second = co_join(user, 4096, 4096);

    co_end(user, &second, -ENOSPC);
    co_end(user, &first, -ENOSPC);
    g_assert_false(co_is_linked(user, 0));
    co_finish_test(user);
}

/* Who joins links its own clusters alone: the others may lie past the end of the file. */
static void coroutine_fn co_part_of_run(void)
{
    MemUser *user = co_make(false, NULL);
    Writer first = co_begin(user, CLUSTER - 4096, 3 * CLUSTER);
    Writer second = co_join(user, 3 * CLUSTER + 8192, CLUSTER), third = co_join(user, 0, 4096);

    g_assert_cmpint(second.bytes, ==, CLUSTER - 8192);
    co_end(user, &second, 0);
    g_assert_false(co_is_linked(user, 0));
    g_assert_false(co_is_linked(user, 2 * CLUSTER));
    g_assert_true(co_is_linked(user, 3 * CLUSTER));
    co_end(user, &first, -EIO);
    co_end(user, &third, 0);
    g_assert_true(co_is_linked(user, 0));
    g_assert_false(co_is_linked(user, CLUSTER));
    g_assert_false(co_is_linked(user, 2 * CLUSTER));
    g_assert_true(co_is_linked(user, 3 * CLUSTER));
    co_finish_test(user);
}

/* Whoever wants to change the whole cluster waits until it is linked, and no longer. */
static void coroutine_fn co_discard_waits(void)
{
    MemUser *user = co_make(false, NULL);
    Writer first = co_begin(user, 0, 4096), second = co_join(user, 4096, 4096);
    Beside discard = { .user = user, .is_discard = true };

    start(&discard);
    g_assert_false(discard.done);
    co_end(user, &second, 0);
    co_wait(&discard);
    g_assert_false(co_is_linked(user, 0));
    co_end(user, &first, 0);
    g_assert_false(co_is_linked(user, 0));
    co_expect(user, 0, CLUSTER, 0);
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
    co_finish_test(user);
}

/* Where something has to be copied beside what is written, one writes after the other. */
static void coroutine_fn co_with_copy(void)
{
    static const uint8_t data[2 * CLUSTER] = { 1 };

    mem_set_content("base", data, sizeof(data));
    for (int is_extended = 0; is_extended < 2; is_extended++) {
        MemUser *user = co_make(is_extended, is_extended ? NULL : "base");
        Writer first = co_begin(user, 0, 4096), second = co_join(user, 4096, 4096);

        g_assert_null(second.alloc);
        co_end(user, &first, -EIO);
        co_finish_test(user);
    }
}

/* What was used before may hold anything. */
static void coroutine_fn co_used_before(void)
{
    MemUser *user = co_make(false, NULL);
    Writer first = co_begin(user, 0, 4096), second;

    co_end(user, &first, -EIO);
    first = co_begin(user, 0, 4096);
    second = co_join(user, 4096, 4096);
    g_assert_null(second.alloc);
    co_end(user, &first, -EIO);
    co_finish_test(user);
}

int main(int argc, char **argv)
{
    static const Qcow2TestCase cases[] = {
        { "/qcow2/join/nobody-waits", co_nobody_waits },
        { "/qcow2/join/first-fails", co_first_fails },
        { "/qcow2/join/last-fails", co_last_fails },
        { "/qcow2/join/all-fail", co_all_fail },
        { "/qcow2/join/part-of-a-run", co_part_of_run },
        { "/qcow2/join/discard-waits-until-it-is-linked", co_discard_waits },
        { "/qcow2/join/not-where-something-is-copied", co_with_copy },
        { "/qcow2/join/not-where-something-was", co_used_before },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    qcow2_test_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
