/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk on a real backend, in the main loop and in an iothread.
 */
#include "qemu/osdep.h"

#include "../../lib/testlib.h"
#include "block/block.h"
#include "block/graph.h"
#include "hw/virtio/virtio-blk.h"
#include "qemu/atomic.h"
#include "qemu/error.h"
#include "qemu/main-loop.h"
#include "system/dma.h"

#define RAM_SIZE 0x100000
#define QUEUE_SIZE 64
#define DESC 0x1000
#define AVAIL 0x2000
#define USED 0x3000
#define HEADERS 0x4000 /* 32 bytes for each request: header, status */
#define DATA 0x10000
#define DISK_SIZE (1 << 20)
#define N_ROUNDS 200

enum { TYPE_READ = 0, TYPE_WRITE = 1, TYPE_FLUSH = 4 };
enum { NEXT = 1, WRITE = 2 };

static const DeviceType disk_type = {.name = "disk", .instance_size = sizeof(Device)};

typedef struct Fixture {
    VirtioBlk blk;
    VirtioBlkConf conf;
    Device *dev;
    MemoryMap *map;
    unsigned n_interrupts; /* machine lock */
    unsigned n_requests;
    const char *latency_ns;
} Fixture;

static void count_interrupt(void *opaque, uint8_t isr, uint16_t vector)
{
    g_assert_true(bql_locked());
    ((Fixture *)opaque)->n_interrupts++;
}

static void ignore_reset(void *opaque)
{
}

static const VirtioTransport transport = {.notify = count_interrupt, .reset = ignore_reset};

static void coroutine_fn realize_entry(void *opaque)
{
    Fixture *f = opaque;
    QDict *options = qdict_new();
    BlockDriverState *bs;

    bdrv_co_control_lock();
    qdict_put_str(options, "driver", "null-co");
    qdict_put_str(options, "node-name", "disk");
    qdict_put_int(options, "size", DISK_SIZE);
    qdict_put_bool(options, "read-zeroes", true);
    if (f->latency_ns) {
        qdict_put_int(options, "latency-ns", atoi(f->latency_ns));
    }
    bs = bdrv_co_open(NULL, NULL, options, BDRV_O_RDWR, &error_abort);
    f->conf.block.blk = blk_co_new_with_bs(bs, 0, BLK_PERM_ALL, &error_abort);
    bdrv_unref(bs);
    virtio_blk_realize(&f->blk, f->dev, &f->conf, &transport, f, f->map, &error_abort);
    bdrv_co_control_unlock();
}

static void coroutine_fn unrealize_entry(void *opaque)
{
    Fixture *f = opaque;

    bdrv_co_control_lock();
    virtio_blk_unrealize(&f->blk);
    blk_co_unref(f->conf.block.blk);
    bdrv_co_control_unlock();
}

static void set_up_with(Fixture *f, bool has_iothread, const char *latency_ns)
{
    bql_lock();
    memset(f, 0, sizeof(*f));
    f->latency_ns = latency_ns;
    f->map = memory_map_new("test", false);
    memory_add_ram(f->map, "ram", 0, RAM_SIZE, false, &error_abort);
    f->dev = device_new(&disk_type);
    device_realize(f->dev, NULL, &error_abort);
    f->conf = (VirtioBlkConf) {
        .block.discard_granularity = UINT32_MAX,
        .num_queues = 1,
        .queue_size = QUEUE_SIZE,
    };
    f->conf.block.rerror = f->conf.block.werror = BLOCKDEV_ON_ERROR_AUTO;
    f->conf.iothread = has_iothread ? iothread_create("io0", &error_abort) : NULL;
    co_run(realize_entry, f);
}

static void set_up(Fixture *f, gconstpointer iothread)
{
    set_up_with(f, iothread, NULL);
}

static void set_up_slow(Fixture *f, gconstpointer iothread)
{
    set_up_with(f, iothread, "2000000");
}

static void tear_down(Fixture *f, gconstpointer unused)
{
    co_run(unrealize_entry, f);
    iothread_unref(f->conf.iothread);
    device_free(f->dev);
    memory_map_free(f->map);
    bql_unlock();
}

static void driver_start(Fixture *f)
{
    VirtQueue *vq = &f->blk.vdev.queues[0];

    f->n_requests = 0;
    virtio_set_status(&f->blk.vdev, 3);
    virtio_set_features(&f->blk.vdev, UINT64_MAX);
    virtio_set_status(&f->blk.vdev, 11);
    vq->desc = DESC;
    vq->avail = AVAIL;
    vq->used = USED;
    dma_set(f->map, DESC, 0, 0x3000);
    virtio_queue_enable(vq);
    virtio_set_status(&f->blk.vdev, 15);
}

static void put_desc(Fixture *f, unsigned n, hwaddr addr, uint32_t len, uint16_t flags)
{
    mem_store(f->map, DESC + 16 * n, 8, addr);
    mem_store(f->map, DESC + 16 * n + 8, 4, len);
    mem_store(f->map, DESC + 16 * n + 12, 2, flags);
    mem_store(f->map, DESC + 16 * n + 14, 2, n + 1);
}

/* Makes a request available; slots are reused round robin, so few may be in flight. */
static unsigned submit(Fixture *f, uint32_t type, uint64_t sector, uint32_t bytes)
{
    unsigned slot = f->n_requests % (QUEUE_SIZE / 4);
    hwaddr header = HEADERS + 32 * slot;
    unsigned d = 3 * slot;

    mem_store(f->map, header, 8, type);
    mem_store(f->map, header + 8, 8, sector);
    mem_store(f->map, header + 16, 1, 0xff);
    put_desc(f, d, header, 16, NEXT);
    put_desc(f, d + 1, DATA + slot * 0x1000, bytes, NEXT | (type == TYPE_READ ? WRITE : 0));
    put_desc(f, d + 2, header + 16, 1, WRITE);
    mem_store(f->map, AVAIL + 4 + 2 * (f->n_requests % QUEUE_SIZE), 2, d);
    smp_mb();
    mem_store(f->map, AVAIL + 2, 2, (uint16_t)++f->n_requests);
    virtio_kick(&f->blk.vdev, 0);
    return slot;
}

static uint16_t used_idx(Fixture *f)
{
    uint16_t value;

    dma_load_le16(f->map, USED + 2, &value);
    return value;
}

static void wait_for_all(Fixture *f)
{
    while (used_idx(f) != (uint16_t)f->n_requests) {
        aio_poll(qemu_get_aio_context(), false);
        /* Completions may need the machine lock. */
        bql_unlock();
        g_thread_yield();
        bql_lock();
    }
    smp_mb();
}

static uint8_t status_of(Fixture *f, unsigned slot)
{
    uint64_t value;

    mem_load(f->map, HEADERS + 32 * slot + 16, 1, &value);
    return value;
}

static void test_requests_complete(Fixture *f, gconstpointer unused)
{
    driver_start(f);
    for (int i = 0; i < N_ROUNDS; i++) {
        unsigned slots[4] = {
            submit(f, TYPE_WRITE, i, 4096), submit(f, TYPE_READ, i, 4096),
            submit(f, TYPE_FLUSH, 0, 1), submit(f, TYPE_READ, 8 * i, 512),
        };

        wait_for_all(f);
        for (int n = 0; n < 4; n++) {
            g_assert_cmphex(status_of(f, slots[n]), ==, 0);
        }
    }
    g_assert_cmpuint(f->n_interrupts, >, 0);
}

static void test_ranges_are_checked(Fixture *f, gconstpointer unused)
{
    static const struct {
        uint64_t sector;
        uint32_t bytes;
        uint8_t status;
    } rows[] = {
        {0, 512, 0}, {2047, 512, 0}, {2048, 512, 1}, {2047, 1024, 1}, {0, 511, 1},
        {UINT64_MAX, 512, 1}, {UINT64_C(1) << 55, 512, 1}, {(UINT64_C(1) << 55) - 1, 512, 1},
    };

    driver_start(f);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        unsigned slot = submit(f, TYPE_READ, rows[i].sector, rows[i].bytes);

        wait_for_all(f);
        g_assert_cmphex(status_of(f, slot), ==, rows[i].status);
    }
}

/* Guest memory is left alone from the moment the guest sees the reset finished. */
static void test_reset_while_requests_run(Fixture *f, gconstpointer unused)
{
    for (int i = 0; i < 10; i++) {
        driver_start(f);
        for (int n = 0; n < 8; n++) {
            submit(f, TYPE_READ, n, 512);
        }
        aio_poll(qemu_get_aio_context(), false);
        virtio_set_status(&f->blk.vdev, 0);
        while (f->blk.vdev.status) {
            aio_poll(qemu_get_aio_context(), true);
        }
        g_assert_cmpuint(f->blk.n_in_flight, ==, 0);
    }
}

static void test_unplug_while_requests_run(Fixture *f, gconstpointer unused)
{
    driver_start(f);
    for (int n = 0; n < 8; n++) {
        submit(f, TYPE_READ, n, 512);
    }
    aio_poll(qemu_get_aio_context(), false);
    /* tear_down() unplugs */
}

static void add(const char *name, void (*set)(Fixture *, gconstpointer),
                void (*fn)(Fixture *, gconstpointer))
{
    static bool has_iothread = true;
    g_autofree char *main_path = g_strdup_printf("/virtio-blk/main-loop/%s", name);
    g_autofree char *io_path = g_strdup_printf("/virtio-blk/iothread/%s", name);

    g_test_add(main_path, Fixture, NULL, set, fn, tear_down);
    g_test_add(io_path, Fixture, &has_iothread, set, fn, tear_down);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    bdrv_init();
    add("requests-complete", set_up, test_requests_complete);
    add("ranges-are-checked", set_up, test_ranges_are_checked);
    add("reset-while-requests-run", set_up_slow, test_reset_while_requests_run);
    add("unplug-while-requests-run", set_up_slow, test_unplug_while_requests_run);
    return g_test_run();
}
