/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests of jobs: a chain of qcow2 images on disk, and guests in any threads that write to it at
 * random and know what they have to find.
 */
#ifndef TESTS_UNIT_LAB_JOB_GUESTS_H
#define TESTS_UNIT_LAB_JOB_GUESTS_H

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include "block/block-backend.h"
#include "block/blockjob.h"
#include "block/freeze.h"
#include "qemu/iothread.h"

#include <glib/gstdio.h>

#define SECTORS 4096 /* of the disk */
#define DISK_BYTES (SECTORS * 512)
#define GUESTS 4
#define LAYERS 4 /* n0 is the lowest */

typedef struct Chain {
    char *folder;
    BlockDriverState *node[LAYERS];
    BlockBackend *blk;
    uint8_t shadow[SECTORS]; /* the byte that fills each sector */
    uint8_t *instant;        /* all of the disk at one instant, or NULL */
} Chain;

/* ---- the chain ------------------------------------------------------------------------------- */

static inline char *image_name(const Chain *chain, const char *name)
{
    return g_strdup_printf("%s/%s.qcow2", chain->folder, name);
}

static inline void coroutine_fn co_make_image(const Chain *chain, const char *name, int64_t cluster,
                                       const char *backing)
{
    g_autofree char *file = image_name(chain, name);
    g_autofree char *back = backing ? image_name(chain, backing) : NULL;
    g_autofree char *options = g_strdup_printf("cluster_size=%" PRId64, cluster);
    BdrvImgCreate create = {
        .filename = file,
        .format = "qcow2",
        .backing_filename = back,
        .backing_format = back ? "qcow2" : NULL,
        .options = options,
        .size = DISK_BYTES,
        .flags = BDRV_O_NO_BACKING,
        .quiet = true,
    };

    g_assert_true(bdrv_co_img_create(&create, &error_abort));
}

static inline BlockDriverState *coroutine_fn co_open_image(const Chain *chain, const char *name,
                                                    const char *backing, int flags)
{
    g_autofree char *file = image_name(chain, name);
    QDict *options = qdict_new();

    qdict_put_str(options, "driver", "qcow2");
    qdict_put_str(options, "node-name", name);
    qdict_put_str(options, "discard", "unmap");
    qdict_put_str(options, "cache.no-flush", "on");
    if (backing) {
        qdict_put_str(options, "backing", backing);
    }
    return bdrv_co_open(file, NULL, options, flags, &error_abort);
}

/* Fill a third of the disk at random, in pieces of up to 64 sectors. */
static inline void coroutine_fn co_fill(Chain *chain, BlockDriverState *bs)
{
    BlockBackend *blk = blk_co_new_with_bs(bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                                           BLK_PERM_ALL, &error_abort);
    g_autofree uint8_t *buf = g_malloc(64 * 512);

    for (int i = 0; i < SECTORS / 100; i++) {
        int first = g_random_int_range(0, SECTORS - 64), n = g_random_int_range(1, 64);
        uint8_t value = g_random_int_range(1, 256);

        memset(buf, value, n * 512);
        memset(chain->shadow + first, value, n);
        g_assert_cmpint(blk_co_pwrite(blk, first * 512, n * 512, buf, 0), ==, 0);
    }
    blk_co_unref(blk);
}

static inline void coroutine_fn co_chain_make(Chain *chain)
{
    static const int64_t clusters[] = { 65536, 4096, 16384, 65536 };

    memset(chain, 0, sizeof(*chain));
    chain->folder = g_dir_make_tmp("jobs-XXXXXX", NULL);
    for (int i = 0; i < LAYERS; i++) {
        g_autofree char *name = g_strdup_printf("n%d", i);
        g_autofree char *below = i ? g_strdup_printf("n%d", i - 1) : NULL;

        co_make_image(chain, name, clusters[g_random_int_range(0, 4)], below);
        chain->node[i] = co_open_image(chain, name, below, BDRV_O_RDWR);
        co_fill(chain, chain->node[i]);
        if (i < LAYERS - 1) {
            g_assert_true(bdrv_co_reopen_set_read_only(chain->node[i], true, &error_abort));
        }
    }
    chain->blk = blk_co_new_with_bs(chain->node[LAYERS - 1],
                                    BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                                    BLK_PERM_ALL & ~(BLK_PERM_RESIZE | BLK_PERM_WRITE),
                                    &error_abort);
}

static inline void coroutine_fn co_chain_free(Chain *chain)
{
    g_autoptr(GDir) dir = NULL;
    const char *name;

    blk_co_unref(chain->blk);
    for (int i = LAYERS - 1; i >= 0; i--) {
        g_assert_true(bdrv_op_blocker_is_empty(chain->node[i]) || i < LAYERS - 1);
        bdrv_unref(chain->node[i]);
    }
    bdrv_co_control_unlock();
    bdrv_co_control_lock();
    dir = g_dir_open(chain->folder, 0, NULL);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(chain->folder, name, NULL);

        g_unlink(path);
    }
    g_rmdir(chain->folder);
    g_free(chain->instant);
    g_free(chain->folder);
}

static inline void coroutine_fn co_assert_shadow(const Chain *chain, BlockBackend *blk)
{
    g_autofree uint8_t *data = g_malloc(DISK_BYTES);

    g_assert_cmpint(blk_co_pread(blk, 0, DISK_BYTES, data, 0), ==, 0);
    for (int i = 0; i < SECTORS; i++) {
        for (int k = 0; k < 512; k++) {
            if (data[i * 512 + k] != chain->shadow[i]) {
                g_error("sector %d holds %d, wanted %d", i, data[i * 512 + k], chain->shadow[i]);
            }
        }
    }
}

/* What the disk holds, it being frozen. */
static inline void coroutine_fn co_note_instant(Chain *chain)
{
    MemUser user;

    chain->instant = g_realloc(chain->instant, DISK_BYTES);
    memuser_co_attach(&user, blk_bs(chain->blk), BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL);
    g_assert_cmpint(bdrv_co_pread(user.root, 0, DISK_BYTES, chain->instant, 0), ==, 0);
    memuser_co_detach(&user);
}

static inline void coroutine_fn co_assert_instant(const Chain *chain, BlockDriverState *bs)
{
    g_autofree uint8_t *data = g_malloc(DISK_BYTES);
    MemUser user;

    memuser_co_attach(&user, bs, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL);
    g_assert_cmpint(bdrv_co_pread(user.root, 0, DISK_BYTES, data, 0), ==, 0);
    memuser_co_detach(&user);
    for (int i = 0; i < DISK_BYTES; i++) {
        if (data[i] != chain->instant[i]) {
            g_error("byte %d is %d, wanted %d", i, data[i], chain->instant[i]);
        }
    }
}

/* ---- guests ---------------------------------------------------------------------------------- */

typedef struct Guest {
    Chain *chain;
    int index;
    int *running, *stop; /* atomic */
} Guest;

/* Each has its own blocks of 16 sectors, so that the shadow says what is last. */
static inline void coroutine_fn co_guest_turn(Guest *guest, GRand *rand)
{
    BlockBackend *blk = guest->chain->blk;
    int block = g_rand_int_range(rand, 0, SECTORS / 16 / GUESTS) * GUESTS + guest->index;
    int first = block * 16 + g_rand_int_range(rand, 0, 8), n = g_rand_int_range(rand, 1, 8);
    uint8_t value = g_rand_int_range(rand, 1, 256);
    uint8_t buf[8 * 512], back[8 * 512];

    memset(buf, value, sizeof(buf));
    switch (g_rand_int_range(rand, 0, 5)) {
    case 0:
        memset(guest->chain->shadow + first, 0, n);
        g_assert_cmpint(blk_co_pwrite_zeroes(blk, first * 512, n * 512, 0), ==, 0);
        break;
    case 1:
        g_assert_cmpint(blk_co_pread(blk, first * 512, n * 512, back, 0), ==, 0);
        for (int i = 0; i < n * 512; i++) {
            g_assert_cmpint(back[i], ==, guest->chain->shadow[first + i / 512]);
        }
        break;
    default:
        memset(guest->chain->shadow + first, value, n);
        g_assert_cmpint(blk_co_pwrite(blk, first * 512, n * 512, buf, 0), ==, 0);
    }
}

static inline void coroutine_fn co_guest(void *opaque)
{
    g_autofree Guest *guest = opaque;
    g_autoptr(GRand) rand = g_rand_new_with_seed(g_random_int());

    while (!qatomic_read(guest->stop)) {
        co_guest_turn(guest, rand);
    }
    qatomic_dec(guest->running);
}

/* Start the guests, by turns in the @n threads of @ctxs. */
static inline void coroutine_fn co_start_guests(Chain *chain, AioContext *const *ctxs, int n,
                                                int *running, int *stop)
{
    *running = GUESTS;
    for (int i = 0; i < GUESTS; i++) {
        Guest *guest = g_new(Guest, 1);

        *guest = (Guest) { chain, i, running, stop };
        aio_co_enter(ctxs[i % n], qemu_coroutine_create(co_guest, guest));
    }
}

static inline void coroutine_fn co_turns(int n)
{
    for (int i = 0; i < n; i++) {
        aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
}

/* Until they have come to rest. */
static inline void coroutine_fn co_stop_guests(int *running, int *stop)
{
    qatomic_set(stop, 1);
    while (qatomic_load_acquire(running)) {
        co_turns(1);
    }
}

#endif
