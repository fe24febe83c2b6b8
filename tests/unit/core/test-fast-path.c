/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fast path: who sees its requests, what nodes learn of them, flattened chains. */
#include "qemu/osdep.h"

#include "fake.h"

#include "block/dirty-bitmap.h"
#include "qemu/atomic.h"

#define PIECE (64 * KiB)

/* ---- drivers: a protocol that ends transfers when told to, a format with pieces -------------- */

static GQueue held = G_QUEUE_INIT; /* BdrvDirectIO under way */
static bool ends_at_once;
static int map_calls;
static bool has_piece[8][FAKE_BYTES / PIECE]; /* by the digit of the file's name */

static BdrvMapKind held_map(BlockDriverState *bs, bool is_write, int64_t offset, int64_t bytes,
                            BdrvMapping *map)
{
    return BDRV_MAP_HERE;
}

static int held_submit(BlockDriverState *bs, BdrvDirectIO *io)
{
    if (ends_at_once) {
        return 0;
    }
    g_queue_push_tail(&held, io);
    return BDRV_FAST_PENDING;
}

static void end_oldest(int ret)
{
    BdrvDirectIO *io = g_queue_pop_head(&held);

    io->done(io, ret);
}

static void end_oldest_bh(void *unused)
{
    end_oldest(0);
}

static BdrvMapKind pieces_map(BlockDriverState *bs, bool is_write, int64_t offset, int64_t bytes,
                              BdrvMapping *map)
{
    const bool *has = has_piece[bdrv_get_filename(bs->file->bs)[1] - '0'];
    bool first = has[offset / PIECE];

    map_calls++;
    for (int64_t at = offset / PIECE; at <= (offset + bytes - 1) / PIECE; at++) {
        if (has[at] != first) {
            return BDRV_MAP_NONE;
        }
    }
    map->child = bs->file;
    map->offset = offset;
    return first ? BDRV_MAP_CHILD : is_write ? BDRV_MAP_NONE : BDRV_MAP_BACKING;
}

/* ---- frame ----------------------------------------------------------------------------------- */

static uint8_t buffer[FAKE_BYTES];

typedef struct Request {
    BdrvFastRequest fast;
    QEMUIOVector qiov;
    int ended; /* times */
} Request;

static void request_done(BdrvFastRequest *fast, int ret)
{
    container_of(fast, Request, fast)->ended++;
}

static int request_start(Request *req, BdrvChild *child, bool is_write, int64_t offset,
                         int64_t bytes)
{
    qemu_iovec_init_buf(&req->qiov, buffer, bytes);
    req->ended = 0;
    req->fast.child = child;
    req->fast.offset = offset;
    req->fast.bytes = bytes;
    req->fast.qiov = &req->qiov;
    req->fast.qiov_offset = 0;
    req->fast.is_write = is_write;
    req->fast.done = request_done;
    return bdrv_fast_start(&req->fast);
}

/* An image with all pieces, and a user that writes. */
static BlockDriverState *coroutine_fn co_open_disk(FakeUser *user)
{
    BlockDriverState *bs = fake_co_open_image("n", "c0");

    memset(has_piece, 0, sizeof(has_piece));
    memset(has_piece[0], 1, sizeof(has_piece[0]));
    ends_at_once = false;
    user->name = "";
    g_assert_true(fake_co_attach(user, bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE, BLK_PERM_ALL,
                                 &error_abort));
    return bs;
}

/* A write that overlaps with no other request, in a coroutine of its own. */
typedef struct Exclusive {
    BdrvChild *child;
    int64_t offset;
    unsigned flags;
    int ret;
    bool ended;
} Exclusive;

static void coroutine_fn co_exclusive(void *opaque)
{
    Exclusive *e = opaque;
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buffer, 512);

    e->ret = bdrv_co_pwritev(e->child, e->offset, 512, &qiov, BDRV_REQ_SERIALISING | e->flags);
    e->ended = true;
}

static void exclusive_start(Exclusive *e, BdrvChild *child, int64_t offset, unsigned flags)
{
    *e = (Exclusive){ .child = child, .offset = offset, .flags = flags };
    qemu_coroutine_enter(qemu_coroutine_create(co_exclusive, e));
}

/* What was woken by us runs when we yield. */
static void coroutine_fn co_let_others_run(void)
{
    for (int i = 0; i < 3; i++) {
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
}

/* ---- visits ---------------------------------------------------------------------------------- */

static void coroutine_fn co_serialising_waits(void)
{
    FakeUser user = { 0 };
    g_autoptr(BlockDriverState) bs = co_open_disk(&user);
    Request a, b;
    Exclusive e, impatient;

    g_assert_cmpint(request_start(&a, user.root, false, 0, 4096), ==, BDRV_FAST_PENDING);
    exclusive_start(&impatient, user.root, 8192, BDRV_REQ_NO_WAIT);
    g_assert_cmpint(impatient.ret, ==, -EBUSY);
    exclusive_start(&e, user.root, 8192, 0);
    co_let_others_run();
    g_assert_false(e.ended);
    /* Nobody overtakes who waits. */
    g_assert_cmpint(request_start(&b, user.root, false, 0, 4096), ==, BDRV_FAST_NO);
    end_oldest(0);
    g_assert_cmpint(a.ended, ==, 1);
    co_let_others_run();
    if (!e.ended) {
        /* Its own data, which the file's fast path took. */
        end_oldest(0);
        co_let_others_run();
    }
    g_assert_true(e.ended);
    g_assert_cmpint(e.ret, ==, 0);
    g_assert_cmpint(request_start(&b, user.root, false, 0, 4096), ==, BDRV_FAST_PENDING);
    end_oldest(0);
    fake_co_detach(&user);
}

/* What was freed while a request ran is not reused before that has ended, but others may come. */
static void coroutine_fn co_oldest_serial(void)
{
    FakeUser user = { 0 };
    g_autoptr(BlockDriverState) bs = co_open_disk(&user);
    uint64_t freed[20];
    Request req[21];

    g_assert_cmpint(request_start(&req[0], user.root, true, 0, 4096), ==, BDRV_FAST_PENDING);
    for (int i = 0; i < 20; i++) {
        freed[i] = bdrv_current_serial(bs);
        g_assert_cmpuint(bdrv_oldest_serial(bs), <, freed[i]);
        g_assert_cmpint(request_start(&req[i + 1], user.root, true, 0, 4096), ==,
                        BDRV_FAST_PENDING);
        g_assert_cmpuint(bdrv_oldest_serial(bs), <, freed[i]);
        end_oldest(0);
        /* Some turns of the banks later, although there was never a time without a request. */
        if (i >= 2) {
            g_assert_cmpuint(bdrv_oldest_serial(bs), >=, freed[i - 2]);
        }
    }
    end_oldest(0);
    g_assert_cmpuint(bdrv_oldest_serial(bs), >=, freed[19]);
    fake_co_detach(&user);
}

/* Whatever the banks say, a request of the full path counts, too. */
static void coroutine_fn co_oldest_of_both(void)
{
    FakeUser user = { 0 };
    g_autoptr(BlockDriverState) bs = co_open_disk(&user);
    BdrvRequest full;
    Request req[21];

    g_assert_cmpint(bdrv_request_co_begin(&full, bs, BDRV_REQUEST_READ, 0, 512, 1, false, false),
                    ==, 0);
    g_assert_cmpint(request_start(&req[0], user.root, true, 0, 4096), ==, BDRV_FAST_PENDING);
    for (int i = 0; i < 20; i++) {
        g_assert_cmpuint(bdrv_oldest_serial(bs), <=, full.serial);
        g_assert_cmpint(request_start(&req[i + 1], user.root, true, 0, 4096), ==,
                        BDRV_FAST_PENDING);
        g_assert_cmpuint(bdrv_oldest_serial(bs), <=, full.serial);
        end_oldest(0);
    }
    end_oldest(0);
    g_assert_cmpuint(bdrv_oldest_serial(bs), ==, full.serial);
    bdrv_request_end(&full);
    fake_co_detach(&user);
}

static void coroutine_fn co_serialising_waits_for_visits(void)
{
    FakeUser user = { 0 };
    g_autoptr(BlockDriverState) bs = co_open_disk(&user);
    BdrvRequest full;
    Request a;

    g_assert_cmpint(request_start(&a, user.root, true, 0, 4096), ==, BDRV_FAST_PENDING);
    aio_bh_schedule_oneshot(qemu_get_aio_context(), end_oldest_bh, NULL);
    g_assert_cmpint(bdrv_request_co_begin(&full, bs, BDRV_REQUEST_WRITE, 0, 512, 512, true, false),
                    ==, 0);
    g_assert_true(g_queue_is_empty(&held));
    bdrv_request_end(&full);
    /* Perhaps on top of the stack of the request's end. */
    co_let_others_run();
    g_assert_cmpint(a.ended, ==, 1);
    fake_co_detach(&user);
}

/* ---- what nodes learn ------------------------------------------------------------------------ */

static void coroutine_fn co_nodes_learn_of_writes(void)
{
    FakeUser user = { 0 };
    g_autoptr(BlockDriverState) bs = co_open_disk(&user);
    BlockDriverState *nodes[] = { bs, bs->file->bs };
    BdrvDirtyBitmap *bitmaps[2];
    Request a;

    for (int i = 0; i < 2; i++) {
        bitmaps[i] = bdrv_create_dirty_bitmap(nodes[i], 4096, NULL, &error_abort);
        bdrv_write_threshold_set(nodes[i], 8192);
    }
    for (int round = 0; round < 2; round++) {
        int64_t offset = 4096 + round * 8192;

        g_assert_cmpint(request_start(&a, user.root, true, offset, 4096), ==, BDRV_FAST_PENDING);
        g_assert_cmpint(bdrv_get_dirty_count(bitmaps[0]), ==, round * 4096);
        end_oldest(round ? -EIO : 0);
        g_assert_cmpint(a.fast.ret, ==, round ? -EIO : 0);
        for (int i = 0; i < 2; i++) {
            g_assert_cmpint(qatomic_read(&nodes[i]->write_gen), ==, round + 1);
            /* Also after an error: the content is unknown. */
            g_assert_cmpint(bdrv_get_dirty_count(bitmaps[i]), ==, (round + 1) * 4096);
            g_assert_cmpint(qatomic_read(&nodes[i]->wr_highest_offset), ==, 8192);
            g_assert_cmpint(bdrv_write_threshold_get(nodes[i]), ==, round ? 0 : 8192);
        }
    }
    co_let_others_run();
    for (int i = 0; i < 2; i++) {
        bdrv_release_dirty_bitmap(bitmaps[i]);
    }
    fake_co_detach(&user);
}

/* Files grow by writes, in whatever order these end; a write that fails changes no length. */
static void coroutine_fn co_files_grow(void)
{
    FakeUser user = { 0 };
    g_autoptr(BlockDriverState) bs = co_open_disk(&user);
    BlockDriverState *file = bs->file->bs;
    BdrvDirtyBitmap *bitmap = bdrv_create_dirty_bitmap(file, 512, NULL, &error_abort);
    Request a, b, c;

    g_assert_cmpint(request_start(&a, bs->file, false, FAKE_BYTES - 512, 1024), ==, BDRV_FAST_NO);
    g_assert_cmpint(request_start(&a, bs->file, true, BDRV_MAX_LENGTH, 512), ==, BDRV_FAST_NO);
    g_assert_cmpint(request_start(&a, bs->file, true, FAKE_BYTES - 512, 1024), ==,
                    BDRV_FAST_PENDING);
    g_assert_cmpint(request_start(&b, bs->file, true, FAKE_BYTES + 512, 512), ==,
                    BDRV_FAST_PENDING);
    g_assert_cmpint(request_start(&c, bs->file, true, FAKE_BYTES + 4096, 512), ==,
                    BDRV_FAST_PENDING);
    g_assert_cmpint(bdrv_getlength(file), ==, FAKE_BYTES);
    g_queue_reverse(&held);
    end_oldest(-EIO);
    g_assert_cmpint(bdrv_getlength(file), ==, FAKE_BYTES);
    end_oldest(0);
    g_assert_cmpint(bdrv_getlength(file), ==, FAKE_BYTES + 1024);
    end_oldest(0);
    g_assert_cmpint(bdrv_getlength(file), ==, FAKE_BYTES + 1024);
    g_assert_cmpint(bdrv_get_dirty_count(bitmap), ==, 1536); /* also what is new */
    g_assert_cmpint(qatomic_read(&file->activities), ==, 1); /* parents are told once, later */
    co_let_others_run();
    g_assert_cmpint(qatomic_read(&file->activities), ==, 0);
    g_assert_cmpint(bdrv_getlength(bs), ==, FAKE_BYTES);
    bdrv_release_dirty_bitmap(bitmap);
    fake_co_detach(&user);
}

/* Who writes one after the other where nothing is soon stops asking, but not for good. */
static void coroutine_fn co_misses_in_a_row(void)
{
    FakeUser user = { 0 };
    g_autoptr(BlockDriverState) bs = co_open_disk(&user);
    Request req[32];
    int i = 0, first_hit;

    memset(has_piece, false, sizeof(has_piece));
    map_calls = 0;
    for (; i < 24; i++) {
        g_assert_cmpint(request_start(&req[i], user.root, true, i * 4096, 4096), ==, BDRV_FAST_NO);
    }
    g_assert_cmpint(map_calls, ==, 3);
    memset(has_piece, true, sizeof(has_piece));
    while (request_start(&req[i], user.root, true, i * 4096, 4096) == BDRV_FAST_NO) {
        i++;
    }
    first_hit = i++;
    g_assert_cmpint(first_hit, <, 32);
    for (; i < 32; i++) {
        g_assert_cmpint(request_start(&req[i], user.root, true, i * 4096, 4096), ==,
                        BDRV_FAST_PENDING);
    }
    for (i = first_hit; i < 32; i++) {
        end_oldest(0);
    }
    fake_co_detach(&user);
}

static void coroutine_fn co_refuses(void)
{
    FakeUser user = { 0 };
    g_autoptr(BlockDriverState) bs = co_open_disk(&user);
    Request a;

    ends_at_once = true;
    bs->bl.request_alignment = 512;
    g_assert_cmpint(request_start(&a, user.root, false, 100, 512), ==, BDRV_FAST_NO);
    g_assert_cmpint(request_start(&a, user.root, false, 0, 0), ==, BDRV_FAST_NO);
    g_assert_cmpint(request_start(&a, user.root, false, -512, 512), ==, BDRV_FAST_NO);
    g_assert_cmpint(request_start(&a, user.root, false, INT64_MAX - 511, 512), ==, BDRV_FAST_NO);
    g_assert_cmpint(request_start(&a, user.root, false, FAKE_BYTES - 512, 1024), ==,
                    BDRV_FAST_NO);
    bs->bl.max_transfer = 512;
    g_assert_cmpint(request_start(&a, user.root, false, 0, 1024), ==, BDRV_FAST_NO);
    bs->bl.max_transfer = 0;
    bs->detect_zeroes = BLOCKDEV_DETECT_ZEROES_OPTIONS_ON;
    g_assert_cmpint(request_start(&a, user.root, true, 0, 512), ==, BDRV_FAST_NO);
    g_assert_cmpint(request_start(&a, user.root, false, 0, 512), ==, 0);
    bs->detect_zeroes = BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF;
    bdrv_fast_path_enable(false);
    g_assert_cmpint(request_start(&a, user.root, true, 0, 512), ==, BDRV_FAST_NO);
    bdrv_fast_path_enable(true);
    g_assert_cmpint(request_start(&a, user.root, true, 0, 512), ==, 0);
    /* The format answers, its file cannot: the full path goes on there. */
    bs->file->bs->bl.request_alignment = 4096;
    g_assert_cmpint(request_start(&a, user.root, true, 512, 512), ==, BDRV_FAST_REST);
    g_assert_true(a.fast.child == bs->file);
    bdrv_fast_abandon(&a.fast);
    bs->file->bs->bl.request_alignment = 1;
    bs->bl.request_alignment = 1;
    fake_co_detach(&user);
}

/* ---- chains ---------------------------------------------------------------------------------- */

/* Layer @n from the top of the chain over c0. */
static BlockDriverState *layer(BlockDriverState *bs, int n)
{
    while (n-- > 0) {
        bs = bs->backing->bs;
    }
    return bs;
}

static void coroutine_fn co_chain(void)
{
    g_autoptr(BlockDriverState) top = fake_co_open_image("n", "c5");
    BlockDriverState *c3 = layer(top, 2);
    FakeUser user = { .name = "" };

    memset(has_piece, 0, sizeof(has_piece));
    has_piece[0][1] = has_piece[3][2] = true;
    g_assert_true(layer(top, 5)->backing == NULL);
    for (int round = 0; round < 2; round++) {
        map_calls = 0;
        g_assert_null(bdrv_chain_find(top, 4096, 4096));
        g_assert_true(bdrv_chain_find(top, PIECE, 4096)->bs == layer(top, 5));
        g_assert_true(bdrv_chain_find(top, 2 * PIECE + 512, 512)->bs == c3);
        g_assert_true(bdrv_chain_find(top, 2 * PIECE + 4096, 512)->bs == c3);
        /* Over the edge of a piece: each time by asking. */
        g_assert_true(bdrv_chain_find(top, 3 * PIECE - 512, 1024)->bs == c3);
        g_assert_cmpint(map_calls, <=, round ? 2 : 30);
    }

    /* A layer gets content by a write: what was remembered is not believed any more. */
    c3->read_only = c3->file->bs->read_only = false;
    g_assert_true(fake_co_attach(&user, c3, BLK_PERM_WRITE, BLK_PERM_ALL, &error_abort));
    g_assert_true(bdrv_chain_find(top, 2 * PIECE + 512, 512)->bs == c3);
    g_assert_null(bdrv_chain_find(top, 4096, 4096));
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buffer, 4096);
    ends_at_once = true;
    c3->bl.pwrite_zeroes_alignment = PIECE;
    g_assert_cmpint(bdrv_co_pwritev(user.root, PIECE, 4096, &qiov, 0), ==, 0);
    has_piece[3][1] = true;
    g_assert_true(bdrv_chain_find(top, PIECE, 4096)->bs == c3);

    /* But that of other places is; and a file that grows is nobody's layer. */
    map_calls = 0;
    bdrv_size_changed(c3->file->bs, 2 * FAKE_BYTES);
    g_assert_true(bdrv_chain_find(top, 2 * PIECE + 512, 512)->bs == c3);
    g_assert_true(bdrv_chain_find(top, PIECE, 4096)->bs == c3);
    g_assert_null(bdrv_chain_find(top, 4096, 4096));
    g_assert_cmpint(map_calls, ==, 0);

    /* Content that came beside what was written, as the layer allocates it at once. */
    c3->bl.pwrite_zeroes_alignment = 2 * PIECE;
    has_piece[3][1] = false;
    g_assert_cmpint(bdrv_co_pwritev(user.root, PIECE, 4096, &qiov, 0), ==, 0);
    has_piece[3][0] = has_piece[3][1] = true;
    g_assert_true(bdrv_chain_find(top, 4096, 4096)->bs == c3);
    has_piece[3][0] = false;
    c3->bl.pwrite_zeroes_alignment = 0; /* not known: all is forgotten */
    g_assert_cmpint(bdrv_co_pwritev(user.root, 4 * PIECE, 4096, &qiov, 0), ==, 0);
    g_assert_null(bdrv_chain_find(top, 4096, 4096));
    fake_co_detach(&user);

    /* A layer grows, where another may have content. */
    bdrv_size_changed(c3, 2 * FAKE_BYTES);
    g_assert_true(bdrv_chain_find(top, 2 * PIECE + 512, 512)->bs == c3);
    g_assert_cmpint(map_calls, >, 0);
    bdrv_size_changed(c3, FAKE_BYTES);

    /* The graph changes. */
    g_assert_true(bdrv_co_set_backing(layer(top, 1), layer(top, 4), &error_abort));
    g_assert_true(bdrv_chain_find(top, PIECE, 4096)->bs == layer(top, 3));
    g_assert_null(bdrv_chain_find(top, 2 * PIECE, 4096));
}

int main(int argc, char **argv)
{
    static const FakeCase cases[] = {
        { "/fast-path/visit/serialising-request-waits", co_serialising_waits },
        { "/fast-path/visit/older-ones-end-although-others-come", co_oldest_serial },
        { "/fast-path/visit/older-full-requests-count-too", co_oldest_of_both },
        { "/fast-path/visit/is-waited-for", co_serialising_waits_for_visits },
        { "/fast-path/write/all-nodes-passed-learn-of-it", co_nodes_learn_of_writes },
        { "/fast-path/write/files-grow", co_files_grow },
        { "/fast-path/write/misses-in-a-row", co_misses_in_a_row },
        { "/fast-path/start/refuses-what-it-cannot-do", co_refuses },
        { "/fast-path/chain/remembers-and-forgets", co_chain },
    };

    bdrv_fast_path_enable(true);
    fake_file.bdrv_map = held_map;
    fake_file.bdrv_submit = held_submit;
    fake_format.bdrv_map = pieces_map;
    return fake_main(argc, argv, cases, ARRAY_SIZE(cases));
}
