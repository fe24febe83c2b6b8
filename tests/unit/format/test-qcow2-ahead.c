/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * New clusters that are linked before their data is written: who meets in them, what a flush may
 * say of them meanwhile, and what becomes of them if the write fails.
 */
#include "qemu/osdep.h"

#include "qcow2-test.h"
#include "../../../block/format/qcow2/qcow2.h"

#define CLUSTER (64 * KiB)
#define PART 4096
#define DISK_BYTES (16 * (int64_t)CLUSTER)

typedef enum Shape { PLAIN, EXTENDED, OVER_BASE, OVER_BASE_V2, WITH_DATA_FILE } Shape;

static MemUser *coroutine_fn co_make(Shape shape)
{
    BlockdevRef data = { .type = QTYPE_QSTRING, .u.reference = (char *)"data" };
    BlockdevCreateOptionsQcow2 o = {
        .size = DISK_BYTES,
        .has_extended_l2 = true,
        .extended_l2 = shape == EXTENDED,
        .has_version = shape == OVER_BASE_V2,
        .version = BLOCKDEV_QCOW2_VERSION_V2,
    };
    BlockDriverState *file = NULL;

    if (shape == OVER_BASE || shape == OVER_BASE_V2) {
        g_autofree uint8_t *base = g_malloc(4 * CLUSTER);

        memset(base, 0xba, 4 * CLUSTER);
        mem_set_content("base", base, 4 * CLUSTER);
        o.backing_file = (char *)"base";
        o.has_backing_fmt = true;
        o.backing_fmt = BLOCKDEV_DRIVER_RAW;
    }
    if (shape == WITH_DATA_FILE) {
        QDict *options = qdict_new();

        qdict_put_str(options, "driver", "file");
        qdict_put_str(options, "filename", "data-file");
        qdict_put_str(options, "node-name", "data");
        file = bdrv_co_open(NULL, NULL, options, BDRV_O_RDWR | BDRV_O_PROTOCOL, &error_abort);
        o.data_file = &data;
    }
    g_assert_true(qcow2_test_create("disk", &o, &error_abort));
    if (file) {
        bdrv_unref(file);
        bdrv_co_control_unlock();
        bdrv_co_control_lock();
        mem_set_content("data-file", "", 0);
    }
    return qcow2_test_open("disk", BDRV_O_RDWR | BDRV_O_UNMAP);
}

/* ---- writers --------------------------------------------------------------------------------- */

typedef struct Writer {
    MemUser *user;
    int64_t offset, bytes;
    uint8_t value;
    int ret; /* -EINPROGRESS: it has not come back */
} Writer;

static void coroutine_fn co_write(void *opaque)
{
    Writer *w = opaque;
    g_autofree uint8_t *buf = g_malloc(w->bytes);

    memset(buf, w->value, w->bytes);
    w->ret = bdrv_co_pwrite(w->user->root, w->offset, w->bytes, buf, 0);
}

/* Begin to write; if it is held, its data is not in the file yet. */
static void start(Writer *w, MemUser *user, int64_t offset, uint8_t value, bool is_held)
{
    *w = (Writer){ user, offset, PART, value, -EINPROGRESS };
    mem_hold_next = is_held;
    qemu_coroutine_enter(qemu_coroutine_create(co_write, w));
    g_assert_cmpint(w->ret, ==, is_held ? -EINPROGRESS : 0);
    g_assert_true(!is_held || mem_held);
}

/* Its data gets to the file now, or it fails. */
static void coroutine_fn co_end(const Writer *w, Coroutine *held, int error)
{
    if (error) {
        mem_fault = (MemFault){ .kinds = "w", .error = error, .at = 1 };
    }
    aio_co_schedule(qemu_get_current_aio_context(), held);
    while (w->ret == -EINPROGRESS) {
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
    mem_fault = (MemFault){ 0 };
    g_assert_cmpint(w->ret, ==, -error);
}

/* ---- what there is -------------------------------------------------------------------------- */

static void coroutine_fn co_expect(MemUser *user, int64_t offset, int64_t bytes, uint8_t value)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    g_assert_cmpint(bdrv_co_pread(user->root, offset, bytes, buf, 0), ==, 0);
    for (int64_t i = 0; i < bytes; i++) {
        g_assert_cmphex(buf[i], ==, value);
    }
}

static Qcow2Kind coroutine_fn co_kind(MemUser *user, int64_t offset)
{
    Qcow2State *s = user->bs->opaque;
    Qcow2Mapping map;

    CO_LOCK_GUARD(&s->lock);
    g_assert_cmpint(qcow2_co_map(user->bs, offset, 512, &map), ==, 0);
    return map.kind;
}

static void coroutine_fn co_flush(MemUser *user)
{
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
}

/* What others find in the file right now: no damage, and no leak that counts (within the file). */
static MemUser *coroutine_fn co_look(void)
{
    const MemFile *file = mem_file("disk");
    MemUser *copy;

    mem_set_content("copy", file->data->data, file->data->len);
    copy = qcow2_test_open("copy", BDRV_O_RDWR);
    g_assert_cmpint(qcow2_test_check(copy), ==, 0);
    return copy;
}

/* Nothing has leaked, here and in the file. */
static void coroutine_fn co_finish(MemUser *user)
{
    Qcow2State *s = user->bs->opaque;

    g_assert_true(QLIST_EMPTY(&s->allocs));
    co_flush(user);
    g_assert_cmpint(qcow2_test_check(user), ==, 0);
    mem_co_unuse(user);
    mem_co_unuse(co_look());
}

/* ---- cases ---------------------------------------------------------------------------------- */

/* Nobody waits for another's data. */
static void coroutine_fn co_meet(void)
{
    MemUser *user = co_make(PLAIN);
    Writer first, second, third;
    Coroutine *held;

    start(&first, user, 0, 0x11, true);
    held = mem_held;
    start(&second, user, 2 * PART, 0x22, false);
    start(&third, user, CLUSTER - PART, 0x33, false);
    g_assert_cmpint(co_kind(user, 0), ==, QCOW2_DATA);
    co_expect(user, 0, 2 * PART, 0);
    co_expect(user, 2 * PART, PART, 0x22);
    co_end(&first, held, 0);
    co_expect(user, 0, PART, 0x11);
    co_expect(user, PART, PART, 0);
    co_expect(user, CLUSTER - PART, PART, 0x33);
    co_finish(user);
}

/* R2: a flush says nothing of clusters that the file does not reach, and forgets nothing else. */
static void coroutine_fn co_flush_before_data(void)
{
    MemUser *user = co_make(PLAIN), *copy;
    Writer first, second;
    Coroutine *held;

    start(&first, user, 0, 0x11, false);
    start(&second, user, CLUSTER, 0x22, true);
    held = mem_held;
    co_flush(user);
    copy = co_look();
    co_expect(copy, 0, PART, 0x11);
    co_expect(copy, PART, 2 * CLUSTER - PART, 0);
    g_assert_cmpint(co_kind(copy, CLUSTER), ==, QCOW2_UNALLOCATED);
    mem_co_unuse(copy);
    g_assert_cmpint(co_kind(user, CLUSTER), ==, QCOW2_DATA);
    co_end(&second, held, 0);
    co_flush(user);
    copy = co_look();
    co_expect(copy, CLUSTER, PART, 0x22);
    mem_co_unuse(copy);
    co_finish(user);
}

/* Once the file reaches a cluster it may be named: it reads as zeroes there, too. */
static void coroutine_fn co_flush_behind(void)
{
    MemUser *user = co_make(PLAIN), *copy;
    Writer first, second;
    Coroutine *held;

    start(&first, user, 0, 0x11, true);
    held = mem_held;
    start(&second, user, CLUSTER, 0x22, false);
    co_flush(user);
    copy = co_look();
    g_assert_cmpint(co_kind(copy, 0), ==, QCOW2_DATA);
    co_expect(copy, 0, CLUSTER, 0);
    co_expect(copy, CLUSTER, PART, 0x22);
    mem_co_unuse(copy);
    co_end(&first, held, 0);
    co_finish(user);
}

/* What nobody has written to is as before. */
static void coroutine_fn co_fails(void)
{
    MemUser *user = co_make(PLAIN);
    Writer first;

    start(&first, user, CLUSTER, 0x11, true);
    co_end(&first, mem_held, ENOSPC);
    co_expect(user, 0, DISK_BYTES, 0);
    co_flush(user);
    g_assert_cmpint(co_kind(user, CLUSTER), ==, QCOW2_UNALLOCATED);
    co_expect(user, 0, DISK_BYTES, 0);
    mem_co_unuse(co_look());
    start(&first, user, CLUSTER, 0x22, false);
    co_expect(user, CLUSTER, PART, 0x22);
    co_finish(user);
}

/* Without a flush, too: it is settled when the image is closed. */
static void coroutine_fn co_fails_at_last(void)
{
    MemUser *user = co_make(PLAIN);
    Writer first;

    start(&first, user, CLUSTER, 0x11, true);
    co_end(&first, mem_held, EIO);
    mem_co_unuse(user);
    user = co_look();
    g_assert_cmpint(co_kind(user, CLUSTER), ==, QCOW2_UNALLOCATED);
    mem_co_unuse(user);
}

/* One fails, and a flush comes, while another still writes to the same cluster. */
static void coroutine_fn co_one_of_two_fails(void)
{
    MemUser *user = co_make(PLAIN);
    Writer first, second;
    Coroutine *held, *other;

    start(&first, user, 0, 0x11, true);
    held = mem_held;
    start(&second, user, PART, 0x22, true);
    other = mem_held;
    co_end(&first, held, EIO);
    co_flush(user);
    mem_co_unuse(co_look());
    co_end(&second, other, 0);
    co_flush(user);
    co_expect(user, 0, PART, 0);
    co_expect(user, PART, PART, 0x22);
    co_finish(user);
    user = co_look();
    co_expect(user, PART, PART, 0x22);
    mem_co_unuse(user);
}

/* The first succeeds, so the cluster is in the file. */
static void coroutine_fn co_last_fails(void)
{
    MemUser *user = co_make(PLAIN);
    Writer first, second;

    start(&first, user, 0, 0x11, false);
    start(&second, user, PART, 0x22, true);
    co_end(&second, mem_held, EIO);
    co_flush(user);
    co_expect(user, 0, PART, 0x11);
    co_expect(user, PART, CLUSTER - PART, 0);
    co_finish(user);
}

/* Zeroes over a backing file stay zeroes. */
static void coroutine_fn co_over_zeroes(void)
{
    MemUser *user = co_make(OVER_BASE), *copy;
    Writer first;
    Coroutine *held;

    g_assert_cmpint(bdrv_co_pwrite_zeroes(user->root, 0, 2 * CLUSTER, BDRV_REQ_MAY_UNMAP), ==, 0);
    start(&first, user, 0, 0x11, true);
    held = mem_held;
    g_assert_cmpint(co_kind(user, 0), ==, QCOW2_DATA);
    co_flush(user);
    copy = co_look();
    co_expect(copy, 0, 2 * CLUSTER, 0);
    co_expect(copy, 2 * CLUSTER, CLUSTER, 0xba);
    mem_co_unuse(copy);
    co_end(&first, held, EIO);
    co_flush(user);
    g_assert_cmpint(co_kind(user, 0), ==, QCOW2_ZERO_PLAIN);
    co_expect(user, 0, 2 * CLUSTER, 0);
    co_finish(user);
}

/* Behind the end of the backing file, in a version that cannot say "zeroes". */
static void coroutine_fn co_old_version(void)
{
    MemUser *user = co_make(OVER_BASE_V2);
    Writer first;
    Coroutine *held;

    start(&first, user, 8 * CLUSTER, 0x11, true);
    held = mem_held;
    g_assert_cmpint(co_kind(user, 8 * CLUSTER), ==, QCOW2_UNALLOCATED);
    co_end(&first, held, 0);
    co_expect(user, 8 * CLUSTER, PART, 0x11);
    co_finish(user);
}

/* A data file may be shorter: entries name what it would have there. */
static void coroutine_fn co_in_data_file(void)
{
    MemUser *user = co_make(WITH_DATA_FILE);
    Writer first;
    Coroutine *held;

    start(&first, user, CLUSTER, 0x11, true);
    held = mem_held;
    g_assert_cmpint(co_kind(user, CLUSTER), ==, QCOW2_DATA);
    co_flush(user);
    co_expect(user, 0, 4 * CLUSTER, 0);
    co_end(&first, held, 0);
    co_expect(user, CLUSTER, PART, 0x11);
    co_flush(user);
    g_assert_cmpint(qcow2_test_check(user), ==, 0);
    mem_co_unuse(user);
}

/* Where something has to be copied beside what is written, the entry waits for it. */
static void coroutine_fn co_with_copy(void)
{
    const Shape shapes[] = { EXTENDED, OVER_BASE };

    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        MemUser *user = co_make(shapes[i]);
        Writer first;

        start(&first, user, 0, 0x11, true);
        g_assert_cmpint(co_kind(user, 0), !=, QCOW2_DATA);
        co_end(&first, mem_held, EIO);
        g_assert_cmpint(co_kind(user, 0), ==, QCOW2_UNALLOCATED);
        co_finish(user);
    }
}

/* What was used before may hold anything. */
static void coroutine_fn co_used_before(void)
{
    MemUser *user = co_make(PLAIN);
    Writer w;
    Coroutine *held;

    start(&w, user, 0, 0x11, false);
    g_assert_cmpint(bdrv_co_pdiscard(user->root, 0, CLUSTER), ==, 0);
    co_flush(user);
    start(&w, user, 0, 0x22, true);
    held = mem_held;
    g_assert_cmpint(co_kind(user, 0), !=, QCOW2_DATA);
    co_end(&w, held, 0);
    co_expect(user, 0, PART, 0x22);
    co_expect(user, PART, CLUSTER - PART, 0);
    co_finish(user);
}

/* R4: discarded before its data comes, the cluster is nobody else's until it has come. */
static void coroutine_fn co_discarded(void)
{
    MemUser *user = co_make(PLAIN);
    Writer first, second;
    Coroutine *held;

    start(&first, user, 0, 0x11, true);
    held = mem_held;
    g_assert_cmpint(bdrv_co_pdiscard(user->root, 0, CLUSTER), ==, 0);
    co_flush(user);
    start(&second, user, CLUSTER, 0x22, false);
    co_end(&first, held, 0);
    co_expect(user, 0, CLUSTER, 0);
    co_expect(user, CLUSTER, PART, 0x22);
    co_expect(user, CLUSTER + PART, CLUSTER - PART, 0);
    co_flush(user);
    co_finish(user);
}

/* ---- room in the file ------------------------------------------------------------------------ */

/* Some writes and a flush, and all that is left when the image is closed; the longest it was. */
static GBytes *coroutine_fn co_grow(int flags, const char *failing, gsize *longest)
{
    MemFile *file;
    MemUser *user;

    mem_co_unuse(co_make(PLAIN));
    file = mem_file("disk");
    user = qcow2_test_open("disk", BDRV_O_RDWR | flags);
    mem_fault = (MemFault){ .kinds = failing, .error = EFBIG, .at = 1, .persists = true };
    *longest = 0;
    for (int i = 0; i < 12; i++) {
        Writer w;

        start(&w, user, i * CLUSTER, 0x11 + i, false);
        g_assert_cmpint(w.ret, ==, 0);
        *longest = MAX(*longest, file->data->len);
    }
    co_flush(user);
    g_assert_cmpuint(file->data->len, ==, *longest);
    mem_fault = (MemFault){ 0 };
    g_assert_cmpint(qcow2_test_check(user), ==, 0);
    mem_co_unuse(user);
    mem_co_unuse(co_look());
    return g_bytes_new(file->data->data, file->data->len);
}

/* Writes past the host's cache find the file long enough; closed, it is as long as it has to be. */
static void coroutine_fn co_room(void)
{
    gsize plain_len, direct_len, failed_len;
    g_autoptr(GBytes) plain = co_grow(0, "", &plain_len);
    g_autoptr(GBytes) direct = co_grow(BDRV_O_NOCACHE, "", &direct_len);
    g_autoptr(GBytes) failed = co_grow(BDRV_O_NOCACHE, "t", &failed_len);
    const uint8_t *a = g_bytes_get_data(plain, NULL), *b = g_bytes_get_data(direct, NULL);

    g_assert_cmpuint(plain_len, ==, g_bytes_get_size(plain));
    g_assert_cmpuint(failed_len, ==, plain_len);
    g_assert_true(g_bytes_equal(plain, failed));
    g_assert_cmpuint(direct_len, >, plain_len + 2 * CLUSTER);
    /* The last cluster is there to its end. */
    g_assert_cmpuint(g_bytes_get_size(direct), ==, ROUND_UP(plain_len, CLUSTER));
    g_assert_cmpint(memcmp(a, b, plain_len), ==, 0);
}

int main(int argc, char **argv)
{
    static const Qcow2TestCase cases[] = {
        { "/qcow2/ahead/nobody-waits", co_meet },
        { "/qcow2/ahead/R2-flush-before-the-data", co_flush_before_data },
        { "/qcow2/ahead/flush-when-the-file-is-longer", co_flush_behind },
        { "/qcow2/ahead/fails", co_fails },
        { "/qcow2/ahead/fails-before-close", co_fails_at_last },
        { "/qcow2/ahead/one-of-two-fails", co_one_of_two_fails },
        { "/qcow2/ahead/the-last-fails", co_last_fails },
        { "/qcow2/ahead/zeroes-over-a-backing-file", co_over_zeroes },
        { "/qcow2/ahead/not-in-version-2-over-a-backing-file", co_old_version },
        { "/qcow2/ahead/data-file", co_in_data_file },
        { "/qcow2/ahead/not-where-something-is-copied", co_with_copy },
        { "/qcow2/ahead/not-where-something-was", co_used_before },
        { "/qcow2/ahead/R4-discarded-before-the-data", co_discarded },
        { "/qcow2/ahead/room-for-direct-writes", co_room },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    qcow2_test_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
