/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk on a real backend, in the main loop, in an iothread, and with queues in several.
 */
#include "qemu/osdep.h"

#include "../../lib/testlib.h"
#include "../../../block/qmp/qmp-block.h"
#include "block/block.h"
#include "block/graph.h"
#include "hw/virtio/virtio-blk.h"
#include "qapi/user-object.h"
#include "qemu/atomic.h"
#include "qemu/error.h"
#include "qemu/main-loop.h"
#include "qobject/json-parser.h"
#include "system/dma.h"

#define RAM_SIZE 0x100000
#define QUEUE_SIZE 64
#define N_SLOTS (QUEUE_SIZE / 4)
#define MAX_QUEUES 5
#define QUEUE_STRIDE 0x20000 /* each queue has its part of memory, with these places in it: */
#define DESC 0x1000
#define AVAIL 0x2000
#define USED 0x3000
#define HEADERS 0x4000 /* 32 bytes for each request: header, status */
#define DATA 0x10000
#define DISK_SIZE (1 << 20)
#define N_ROUNDS 200

enum { TYPE_READ = 0, TYPE_WRITE = 1, TYPE_FLUSH = 4 };
enum { NEXT = 1, WRITE = 2 };

typedef struct Disk {
    Device dev;
    VqMapping *mapping;
} Disk;

static const DeviceProperty disk_props[] = {
    DEVICE_PROP("iothread-vq-mapping", prop_kind_vq_mapping, Disk, mapping, NULL, NULL),
    {0},
};
static const DeviceType disk_type = {
    .name = "disk", .instance_size = sizeof(Disk),
    .properties = (const DevicePropertyTable[]) {{NULL, disk_props}, {0}},
};

/* Who processes the queues. */
typedef struct Loops {
    const char *name;
    unsigned n_queues, n_loops;
    bool has_iothread;
    const char *mapping; /* JSON, or NULL */
} Loops;

static const Loops all_loops[] = {
    {"main-loop", 1, 1, false, NULL},
    {"iothread", 1, 1, true, NULL},
    {"iothread-of-all", 3, 1, true, NULL},
    {"by-turns", MAX_QUEUES, 2, false, "[{'iothread': 'io0'}, {'iothread': 'io1'}]"},
    {"by-list", 4, 2, false,
     "[{'iothread': 'io1', 'vqs': [3, 0]}, {'iothread': 'io0', 'vqs': [2, 1]}]"},
};

/* Where a request lies. */
typedef struct Slot {
    unsigned queue, n;
} Slot;

typedef struct Fixture {
    VirtioBlk blk;
    VirtioBlkConf conf;
    Device *dev;
    MemoryMap *map;
    unsigned n_interrupts; /* machine lock */
    unsigned n_requests[MAX_QUEUES];
    unsigned n_submitted; /* queues take turns */
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

static void set_mapping(Device *dev, const char *json)
{
    QObject *value = qobject_from_json(json, &error_abort);

    device_set_object(dev, "iothread-vq-mapping", value, &error_abort);
    qobject_unref(value);
}

static void set_up_with(Fixture *f, const Loops *loops, const char *latency_ns)
{
    bql_lock();
    memset(f, 0, sizeof(*f));
    f->latency_ns = latency_ns;
    f->map = memory_map_new("test", false);
    memory_add_ram(f->map, "ram", 0, RAM_SIZE, false, &error_abort);
    f->dev = device_new(&disk_type);
    if (loops->mapping) {
        set_mapping(f->dev, loops->mapping);
    }
    device_realize(f->dev, NULL, &error_abort);
    f->conf = (VirtioBlkConf) {
        .block.discard_granularity = UINT32_MAX,
        .num_queues = loops->n_queues,
        .queue_size = QUEUE_SIZE,
        .vq_mapping = ((Disk *)f->dev)->mapping,
    };
    f->conf.block.rerror = f->conf.block.werror = BLOCKDEV_ON_ERROR_AUTO;
    f->conf.iothread = loops->has_iothread ? iothread_ref(iothread_by_id("io0")) : NULL;
    co_run(realize_entry, f);
    g_assert_cmpuint(f->blk.vdev.n_loops, ==, loops->n_loops);
}

static void set_up(Fixture *f, gconstpointer loops)
{
    set_up_with(f, loops, NULL);
}

static void set_up_slow(Fixture *f, gconstpointer loops)
{
    set_up_with(f, loops, "2000000");
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
    memset(f->n_requests, 0, sizeof(f->n_requests));
    virtio_set_status(&f->blk.vdev, 3);
    virtio_set_features(&f->blk.vdev, UINT64_MAX);
    virtio_set_status(&f->blk.vdev, 11);
    for (unsigned q = 0; q < f->conf.num_queues; q++) {
        VirtQueue *vq = &f->blk.vdev.queues[q];

        vq->desc = q * QUEUE_STRIDE + DESC;
        vq->avail = q * QUEUE_STRIDE + AVAIL;
        vq->used = q * QUEUE_STRIDE + USED;
        dma_set(f->map, vq->desc, 0, 0x3000);
        virtio_queue_enable(vq);
    }
    virtio_set_status(&f->blk.vdev, 15);
}

/* @base: where the queue's memory begins. */
static void put_desc(Fixture *f, hwaddr base, unsigned n, hwaddr addr, uint32_t len,
                     uint16_t flags)
{
    hwaddr desc = base + DESC + 16 * n;

    mem_store(f->map, desc, 8, base + addr);
    mem_store(f->map, desc + 8, 4, len);
    mem_store(f->map, desc + 12, 2, flags);
    mem_store(f->map, desc + 14, 2, n + 1);
}

/* Makes a request available; slots are reused round robin, so few may be in flight. */
static Slot submit(Fixture *f, uint32_t type, uint64_t sector, uint32_t bytes)
{
    unsigned queue = f->n_submitted++ % f->conf.num_queues;
    unsigned count = f->n_requests[queue]++;
    Slot slot = {queue, count % N_SLOTS};
    hwaddr base = queue * QUEUE_STRIDE;
    hwaddr header = HEADERS + 32 * slot.n;
    unsigned d = 3 * slot.n;

    mem_store(f->map, base + header, 8, type);
    mem_store(f->map, base + header + 8, 8, sector);
    mem_store(f->map, base + header + 16, 1, 0xff);
    put_desc(f, base, d, header, 16, NEXT);
    put_desc(f, base, d + 1, DATA + slot.n * 0x1000, bytes,
             NEXT | (type == TYPE_READ ? WRITE : 0));
    put_desc(f, base, d + 2, header + 16, 1, WRITE);
    mem_store(f->map, base + AVAIL + 4 + 2 * (count % QUEUE_SIZE), 2, d);
    smp_mb();
    mem_store(f->map, base + AVAIL + 2, 2, (uint16_t)(count + 1));
    virtio_kick(&f->blk.vdev, queue);
    return slot;
}

static bool all_are_done(Fixture *f)
{
    for (unsigned q = 0; q < f->conf.num_queues; q++) {
        uint16_t used;

        dma_load_le16(f->map, q * QUEUE_STRIDE + USED + 2, &used);
        if (used != (uint16_t)f->n_requests[q]) {
            return false;
        }
    }
    return true;
}

static void wait_for_all(Fixture *f)
{
    while (!all_are_done(f)) {
        aio_poll(qemu_get_aio_context(), false);
        /* Completions may need the machine lock. */
        bql_unlock();
        g_thread_yield();
        bql_lock();
    }
    smp_mb();
}

static uint8_t status_of(Fixture *f, Slot slot)
{
    uint64_t value;

    mem_load(f->map, slot.queue * QUEUE_STRIDE + HEADERS + 32 * slot.n + 16, 1, &value);
    return value;
}

static void test_requests_complete(Fixture *f, gconstpointer unused)
{
    driver_start(f);
    for (int i = 0; i < N_ROUNDS; i++) {
        Slot slots[4] = {
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
        Slot slot = submit(f, TYPE_READ, rows[i].sector, rows[i].bytes);

        wait_for_all(f);
        g_assert_cmphex(status_of(f, slot), ==, rows[i].status);
    }
}

/* Guest memory is left alone from the moment the guest sees the reset finished. */
static void test_reset_while_requests_run(Fixture *f, gconstpointer unused)
{
    for (int i = 0; i < 10; i++) {
        driver_start(f);
        for (int n = 0; n < 20; n++) {
            submit(f, TYPE_READ, n, 512);
        }
        aio_poll(qemu_get_aio_context(), false);
        virtio_set_status(&f->blk.vdev, 0);
        while (f->blk.vdev.status) {
            aio_poll(qemu_get_aio_context(), true);
        }
        for (unsigned l = 0; l < f->blk.vdev.n_loops; l++) {
            g_assert_cmpuint(f->blk.loops[l]->n_in_flight, ==, 0);
        }
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

static void test_mapping_holds_its_iothreads(void)
{
    Device *dev = device_new(&disk_type);
    g_autoptr(Error) err = NULL;

    set_mapping(dev, "[{'iothread': 'io0'}]");
    g_assert_false(user_object_del("io0", NULL));
    set_mapping(dev, "[{'iothread': 'io1', 'vqs': []}]");
    g_assert_cmpuint(user_object_find("io0")->users, ==, 0);
    g_assert_false(device_set(dev, "iothread-vq-mapping", "io0", &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Invalid parameter type for 'iothread-vq-mapping', expected: array");
    g_assert_cmpuint(user_object_find("io1")->users, ==, 1);
    device_free(dev);
    g_assert_cmpuint(user_object_find("io1")->users, ==, 0);
}

static bool apply(const char *json, unsigned n_queues, AioContext **loops, Error **errp)
{
    Device *dev = device_new(&disk_type);
    QObject *value = qobject_from_json(json, &error_abort);
    bool ok = device_set_object(dev, "iothread-vq-mapping", value, errp) &&
              vq_mapping_apply(((Disk *)dev)->mapping, n_queues, loops, errp);

    qobject_unref(value);
    device_free(dev);
    return ok;
}

static void test_mapping_is_checked(void)
{
    static const struct {
        const char *json, *error;
    } rows[] = {
        {"[]", "iothread-vq-mapping must name at least one IOThread"},
        {"[{'iothread': 'x'}]", "IOThread \"x\" object does not exist"},
        {"[{'vqs': [0]}]", "Parameter 'iothread-vq-mapping[0].iothread' is missing"},
        {"[{'iothread': 'io0'}, {'iothread': 'io0'}]",
         "duplicate IOThread name \"io0\" in iothread-vq-mapping"},
        {"[{'iothread': 'io0', 'vqs': [0, 1]}, {'iothread': 'io1'}]",
         "either all items in iothread-vq-mapping must have vqs or none of them must have it"},
        {"[{'iothread': 'io0', 'vqs': [0, 2]}]",
         "vq index 2 for IOThread \"io0\" must be less than num_queues 2 in iothread-vq-mapping"},
        {"[{'iothread': 'io0', 'vqs': [0, 1]}, {'iothread': 'io1', 'vqs': [1]}]",
         "cannot assign vq 1 to IOThread \"io1\" because it is already assigned"},
        {"[{'iothread': 'io0', 'vqs': [1]}]",
         "missing vq 0 IOThread assignment in iothread-vq-mapping"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(Error) err = NULL;
        AioContext *loops[2];

        g_assert_false(apply(rows[i].json, 2, loops, &err));
        g_assert_cmpstr(error_get_pretty(err), ==, rows[i].error);
        g_assert_cmpuint(user_object_find("io0")->users, ==, 0);
    }
}

static void test_mapping_assigns_queues(void)
{
    AioContext *io0 = iothread_get_aio_context(iothread_by_id("io0"));
    AioContext *io1 = iothread_get_aio_context(iothread_by_id("io1"));
    AioContext *loops[3];

    g_assert_true(apply("[{'iothread': 'io0'}, {'iothread': 'io1'}]", 3, loops, &error_abort));
    g_assert_true(loops[0] == io0 && loops[1] == io1 && loops[2] == io0);
    g_assert_true(apply("[{'iothread': 'io0', 'vqs': [2]}, {'iothread': 'io1', 'vqs': [1, 0]}]",
                        3, loops, &error_abort));
    g_assert_true(loops[0] == io1 && loops[1] == io1 && loops[2] == io0);
}

static void add(const char *name, void (*set)(Fixture *, gconstpointer),
                void (*fn)(Fixture *, gconstpointer))
{
    for (size_t i = 0; i < ARRAY_SIZE(all_loops); i++) {
        g_autofree char *path = g_strdup_printf("/virtio-blk/%s/%s", all_loops[i].name, name);

        g_test_add(path, Fixture, &all_loops[i], set, fn, tear_down);
    }
}

int main(int argc, char **argv)
{
    int status;

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    bdrv_init();
    loop_objects_register();
    user_object_add_from_str("iothread,id=io0", &error_abort);
    user_object_add_from_str("iothread,id=io1", &error_abort);
    g_test_add_func("/vq-mapping/set/holds-its-iothreads", test_mapping_holds_its_iothreads);
    g_test_add_func("/vq-mapping/apply/is-checked", test_mapping_is_checked);
    g_test_add_func("/vq-mapping/apply/assigns-queues", test_mapping_assigns_queues);
    add("requests-complete", set_up, test_requests_complete);
    add("ranges-are-checked", set_up, test_ranges_are_checked);
    add("reset-while-requests-run", set_up_slow, test_reset_while_requests_run);
    add("unplug-while-requests-run", set_up_slow, test_unplug_while_requests_run);
    status = g_test_run();
    user_object_del_all();
    return status;
}
