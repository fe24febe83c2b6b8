/* SPDX-License-Identifier: GPL-2.0-or-later */
/* copy-on-read: what is copied, what is not, and that no guest write is lost to a copy. */
#include "qemu/osdep.h"

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include "qobject/json-parser.h"

extern BlockDriver *const bdrv_drivers[];

#define CLUSTER (64 * KiB)
#define N_CLUSTERS 16
#define DISK_BYTES (N_CLUSTERS * CLUSTER)

/* ---- a chain of qcow2 images over a base in memory ------------------------------------------- */

typedef struct Setup {
    BlockDriverState *base, *mid, *top, *cor;
    MemUser user;
    int running;
} Setup;

static BlockDriverState *coroutine_fn co_open_json(const char *format, ...) G_GNUC_PRINTF(1, 2);

static BlockDriverState *coroutine_fn co_open_json(const char *format, ...)
{
    g_autofree char *text = NULL;
    g_autoptr(QObject) obj = NULL;
    va_list ap;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    obj = qobject_from_json(text, &error_abort);
    return bdrv_co_open(NULL, NULL, qobject_ref(qobject_to(QDict, obj)), BDRV_O_RDWR, &error_abort);
}

static BlockDriverState *coroutine_fn co_overlay(const char *name, const char *backing)
{
    g_autofree char *path = test_tmpfile(name);
    BdrvImgCreate create = {
        .filename = path,
        .format = "qcow2",
        .size = DISK_BYTES,
        .quiet = true,
    };

    g_assert_true(bdrv_co_img_create(&create, &error_abort));
    return co_open_json("{'driver': 'qcow2', 'node-name': '%s', 'backing': '%s', 'file': "
                        "{'driver': 'file', 'filename': '%s'}}", name, backing, path);
}

static void coroutine_fn co_set_up(Setup *s, const char *bottom)
{
    g_autofree char *option = bottom ? g_strdup_printf(", 'bottom': '%s'", bottom) : g_strdup("");

    memset(s, 0, sizeof(*s));
    s->base = memdisk_co_new("base", DISK_BYTES);
    memset(memdisk(s->base)->data, 0xbb, DISK_BYTES);
    memset(memdisk(s->base)->data + 3 * CLUSTER, 0, CLUSTER);
    s->mid = co_overlay("mid", "base");
    s->top = co_overlay("top", "mid");
    s->cor = co_open_json("{'driver': 'copy-on-read', 'node-name': 'cor', 'file': 'top'%s}",
                          option);
    memuser_co_attach(&s->user, s->cor, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE, BLK_PERM_ALL);
}

static void coroutine_fn co_tear_down(Setup *s)
{
    memuser_co_detach(&s->user);
    bdrv_unref(s->cor);
    bdrv_unref(s->top);
    bdrv_unref(s->mid);
    bdrv_unref(s->base);
}

static bool coroutine_fn co_is_copied(Setup *s, int cluster)
{
    int64_t n;
    int ret = bdrv_co_is_allocated(s->top, cluster * CLUSTER, CLUSTER, &n);

    g_assert_cmpint(ret, >=, 0);
    g_assert_cmpint(n, >=, CLUSTER);
    return ret;
}

static void coroutine_fn co_read(Setup *s, int64_t offset, int64_t bytes, uint8_t expected)
{
    g_autofree uint8_t *buf = g_malloc0(bytes);

    g_assert_cmpint(bdrv_co_pread(s->user.root, offset, bytes, buf, 0), ==, 0);
    for (int64_t i = 0; i < bytes; i++) {
        g_assert_cmpint(buf[i], ==, expected);
    }
}

/* ---- what is copied -------------------------------------------------------------------------- */

static void coroutine_fn co_whole_clusters(void)
{
    Setup s;

    co_set_up(&s, NULL);
    co_read(&s, 5 * CLUSTER + 700, CLUSTER, 0xbb); /* parts of two */
    g_assert_false(co_is_copied(&s, 4));
    g_assert_true(co_is_copied(&s, 5));
    g_assert_true(co_is_copied(&s, 6));
    g_assert_false(co_is_copied(&s, 7));
    /* From now on from the top. */
    memset(memdisk(s.base)->data, 0xcc, DISK_BYTES);
    co_read(&s, 5 * CLUSTER, 2 * CLUSTER, 0xbb);
    co_read(&s, 7 * CLUSTER, CLUSTER, 0xcc);
    co_tear_down(&s);
}

static void coroutine_fn co_zeroes_take_no_room(void)
{
    int64_t before, n, map;
    BlockDriverState *file;
    Setup s;

    co_set_up(&s, NULL);
    co_read(&s, 0, CLUSTER, 0xbb); /* what tables need is there */
    before = bdrv_co_getlength(s.top->file->bs);
    co_read(&s, 3 * CLUSTER + 512, 512, 0);
    g_assert_true(co_is_copied(&s, 3));
    g_assert_true(bdrv_co_block_status(s.top, 3 * CLUSTER, CLUSTER, &n, &map, &file) &
                  BDRV_BLOCK_ZERO);
    g_assert_cmpint(bdrv_co_getlength(s.top->file->bs), ==, before);
    co_tear_down(&s);
}

/* Only what lies above the bottom or in it. */
static void coroutine_fn co_bottom(void)
{
    g_autofree uint8_t *buf = g_malloc(CLUSTER);
    MemUser writer;
    Setup s;

    co_set_up(&s, "mid");
    memset(buf, 0x11, CLUSTER);
    memuser_co_attach(&writer, s.mid, BLK_PERM_WRITE, BLK_PERM_ALL);
    g_assert_cmpint(bdrv_co_pwrite(writer.root, CLUSTER, CLUSTER, buf, 0), ==, 0);
    memuser_co_detach(&writer);
    co_read(&s, CLUSTER, CLUSTER, 0x11);
    co_read(&s, 2 * CLUSTER, CLUSTER, 0xbb);
    g_assert_true(co_is_copied(&s, 1));
    g_assert_false(co_is_copied(&s, 2));
    co_tear_down(&s);
}

static void coroutine_fn co_bad_bottom(void)
{
    BlockDriverState *base = memdisk_co_new("base", DISK_BYTES);
    BlockDriverState *top = co_overlay("top", "base");
    QDict *options = qdict_new();
    Error *err = NULL;

    qdict_put_str(options, "driver", "copy-on-read");
    qdict_put_str(options, "file", "top");
    qdict_put_str(options, "bottom", "nope");
    g_assert_null(bdrv_co_open(NULL, NULL, options, BDRV_O_RDWR, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Bottom node 'nope' not found");
    error_free(err);
    bdrv_unref(top);
    bdrv_unref(base);
}

static void coroutine_fn co_read_error(void)
{
    uint8_t buf[512];
    Setup s;

    co_set_up(&s, NULL);
    memdisk(s.base)->fail_reads = 1;
    g_assert_cmpint(bdrv_co_pread(s.user.root, 0, 512, buf, 0), ==, -EIO);
    g_assert_false(co_is_copied(&s, 0));
    co_read(&s, 0, 512, 0xbb);
    g_assert_true(co_is_copied(&s, 0));
    co_tear_down(&s);
}

/* ---- guests that write meanwhile ------------------------------------------------------------- */

#define BLOCK 4096
#define N_GUESTS 8

typedef struct Guest {
    Setup *s;
    GRand *rand;
    int number; /* its blocks: those whose number is this, modulo N_GUESTS */
} Guest;

/* It owns some blocks of each cluster; nobody else may change them, whatever is copied around. */
static void coroutine_fn co_guest(void *opaque)
{
    Guest *guest = opaque;
    Setup *s = guest->s;
    uint8_t model[DISK_BYTES / BLOCK], *buf = g_malloc(CLUSTER);
    GRand *rand = guest->rand;

    for (int i = 0; i < DISK_BYTES / BLOCK; i++) {
        model[i] = i / (CLUSTER / BLOCK) == 3 ? 0 : 0xbb;
    }
    for (int round = 0; round < 60; round++) {
        int block = g_rand_int_range(rand, 0, DISK_BYTES / BLOCK / N_GUESTS) * N_GUESTS +
                    guest->number;
        int64_t start = QEMU_ALIGN_DOWN(block * BLOCK, CLUSTER);

        if (g_rand_boolean(rand)) {
            model[block] = g_rand_int_range(rand, 1, 256);
            memset(buf, model[block], BLOCK);
            g_assert_cmpint(bdrv_co_pwrite(s->user.root, block * BLOCK, BLOCK, buf, 0), ==, 0);
        }
        g_assert_cmpint(bdrv_co_pread(s->user.root, start, CLUSTER, buf, 0), ==, 0);
        for (int i = start / BLOCK; i < (start + CLUSTER) / BLOCK; i++) {
            if (i % N_GUESTS == guest->number) {
                g_assert_cmpint(buf[i * BLOCK - start], ==, model[i]);
                g_assert_cmpint(buf[i * BLOCK - start + BLOCK - 1], ==, model[i]);
            }
        }
    }
    g_free(buf);
    s->running--;
}

static void coroutine_fn co_no_write_is_lost(void)
{
    g_autoptr(GRand) rand = test_rand_new();

    for (int run = 0; run < 10; run++) {
        Guest guests[N_GUESTS];
        Setup s;

        co_set_up(&s, NULL);
        memdisk(s.base)->max_yields = 5;
        for (int i = 0; i < N_GUESTS; i++) {
            guests[i] = (Guest){
                .s = &s,
                .rand = rand,
                .number = i,
            };
            s.running++;
            aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_create(co_guest, &guests[i]));
        }
        while (s.running) {
            qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, SCALE_MS);
        }
        co_tear_down(&s);
        bdrv_co_reap();
    }
}

int main(int argc, char **argv)
{
    static const MemCase cases[] = {
        { "/copy-on-read/copy/whole-clusters", co_whole_clusters },
        { "/copy-on-read/copy/zeroes-take-no-room", co_zeroes_take_no_room },
        { "/copy-on-read/copy/failing-read-copies-nothing", co_read_error },
        { "/copy-on-read/bottom/limits-what-is-copied", co_bottom },
        { "/copy-on-read/bottom/must-exist", co_bad_bottom },
        { "/copy-on-read/guests/no-write-is-lost", co_no_write_is_lost },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    mem_drivers = bdrv_drivers;
    mem_add_cases(cases, G_N_ELEMENTS(cases));
    return g_test_run();
}
