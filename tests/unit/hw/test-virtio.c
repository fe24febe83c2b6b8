/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio devices and split virtqueues, with friendly and hostile drivers.
 */
#include "qemu/osdep.h"

#include "../../lib/testlib.h"
#include "hw/virtio/virtio.h"
#include "qemu/bswap.h"
#include "qemu/error.h"
#include "qemu/main-loop.h"
#include "system/dma.h"

#define RAM_SIZE 0x40000
#define QUEUE_SIZE 8
#define DESC 0x1000
#define AVAIL 0x2000
#define USED 0x3000
#define INDIRECT 0x4000
#define DATA 0x10000
#define N_RANDOM 20000

enum { NEXT = 1, WRITE = 2, IS_INDIRECT = 4 };

typedef struct Echo {
    VirtioDevice vdev;
    MemoryMap *map;
    unsigned n_interrupts, n_config_interrupts, n_resets;
    bool must_hold; /* keep requests instead of answering */
    GPtrArray *held;
} Echo;

/* Answers each request with as much of what it was sent as fits. */
static void echo_answer(VirtQueue *vq, VirtQueueElement *elem)
{
    uint8_t buf[256];
    size_t n = iov_to_buf(elem->out, elem->n_out, 0, buf, sizeof(buf));

    n = iov_from_buf(elem->in, elem->n_in, 0, buf, n);
    virtqueue_push(vq, elem, n);
    virtqueue_notify(vq);
    g_free(elem);
}

static void echo_handle(VirtioDevice *vdev, VirtQueue *vq)
{
    Echo *e = container_of(vdev, Echo, vdev);
    VirtQueueElement *elem;

    virtqueue_set_notification(vq, false);
    while ((elem = virtqueue_pop(vq, sizeof(*elem)))) {
        if (e->must_hold) {
            g_ptr_array_add(e->held, elem);
        } else {
            echo_answer(vq, elem);
        }
    }
    virtqueue_set_notification(vq, true);
}

static uint64_t echo_features(VirtioDevice *vdev)
{
    return 1;
}

static void echo_get_config(VirtioDevice *vdev, uint8_t *config)
{
    memcpy(config, "abcd", 4);
}

static bool echo_quiesce(VirtioLoop *loop)
{
    return !container_of(loop->vdev, Echo, vdev)->held->len;
}

static const VirtioDeviceOps echo_ops = {
    .name = "echo", .get_features = echo_features, .config_size = 4,
    .get_config = echo_get_config, .handle_queue = echo_handle, .quiesce = echo_quiesce,
};

static void echo_notify(void *opaque, uint8_t isr, uint16_t vector)
{
    Echo *e = opaque;

    *(isr == VIRTIO_ISR_QUEUE ? &e->n_interrupts : &e->n_config_interrupts) += 1;
}

static void echo_reset(void *opaque)
{
    ((Echo *)opaque)->n_resets++;
}

static const VirtioTransport transport = {.notify = echo_notify, .reset = echo_reset};

static void set_up(Echo *e, gconstpointer unused)
{
    VirtioInit init = {
        .ops = &echo_ops, .transport = &transport, .transport_opaque = e,
        .ctx = qemu_get_aio_context(), .n_queues = 1, .queue_size = QUEUE_SIZE,
        .event_idx = true, .indirect_desc = true,
    };

    bql_lock();
    memset(e, 0, sizeof(*e));
    e->map = memory_map_new("test", false);
    memory_add_ram(e->map, "ram", 0, RAM_SIZE, false, &error_abort);
    e->held = g_ptr_array_new();
    init.dma = e->map;
    virtio_init(&e->vdev, &init);
}

static void tear_down(Echo *e, gconstpointer unused)
{
    g_assert_cmpuint(e->held->len, ==, 0);
    virtio_reset_sync(&e->vdev);
    virtio_done(&e->vdev);
    g_ptr_array_unref(e->held);
    memory_map_free(e->map);
    bql_unlock();
}

static void run_loop(void)
{
    while (aio_poll(qemu_get_aio_context(), false)) {
    }
}

/* What a driver does to begin. */
static void driver_start(Echo *e, uint64_t features)
{
    VirtQueue *vq = &e->vdev.queues[0];

    virtio_set_status(&e->vdev, 3);
    virtio_set_features(&e->vdev, features | VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
    virtio_set_status(&e->vdev, 11);
    g_assert_cmphex(e->vdev.status, ==, 11);
    vq->desc = DESC;
    vq->avail = AVAIL;
    vq->used = USED;
    vq->vector = 0;
    dma_set(e->map, DESC, 0, 0x4000);
    virtio_queue_enable(vq);
    virtio_set_status(&e->vdev, 15);
}

static void put_desc(Echo *e, hwaddr table, unsigned n, uint64_t addr, uint32_t len,
                     uint16_t flags, uint16_t next)
{
    mem_store(e->map, table + 16 * n, 8, addr);
    mem_store(e->map, table + 16 * n + 8, 4, len);
    mem_store(e->map, table + 16 * n + 12, 2, flags);
    mem_store(e->map, table + 16 * n + 14, 2, next);
}

/* Makes descriptor @head available as the @n-th request and kicks. */
static void offer(Echo *e, uint16_t n, uint16_t head)
{
    mem_store(e->map, AVAIL + 4 + 2 * (n % QUEUE_SIZE), 2, head);
    mem_store(e->map, AVAIL + 2, 2, (uint16_t)(n + 1));
    virtio_kick(&e->vdev, 0);
    run_loop();
}

static uint16_t used_idx(Echo *e)
{
    uint64_t value;

    mem_load(e->map, USED + 2, 2, &value);
    return value;
}

static void test_request_is_answered(Echo *e, gconstpointer unused)
{
    char answer[5] = "";

    driver_start(e, 0);
    dma_write(e->map, DATA, "ping", 4);
    put_desc(e, DESC, 0, DATA, 4, NEXT, 1);
    put_desc(e, DESC, 1, DATA + 0x100, 2, WRITE | NEXT, 5);
    put_desc(e, DESC, 5, DATA + 0x102, 2, WRITE, 0);
    for (int i = 0; i < 3 * QUEUE_SIZE; i++) {
        offer(e, i, 0);
        g_assert_cmpuint(used_idx(e), ==, i + 1);
        g_assert_cmpuint(e->n_interrupts, ==, i + 1);
    }
    dma_read(e->map, DATA + 0x100, answer, 4);
    g_assert_cmpstr(answer, ==, "ping");
}

static void test_indirect_request(Echo *e, gconstpointer unused)
{
    driver_start(e, VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC));
    put_desc(e, INDIRECT, 0, DATA, 4, NEXT, 1);
    put_desc(e, INDIRECT, 1, DATA + 0x100, 4, WRITE, 0);
    put_desc(e, DESC, 3, INDIRECT, 32, IS_INDIRECT, 0);
    offer(e, 0, 3);
    g_assert_cmpuint(used_idx(e), ==, 1);
    g_assert_false(e->vdev.is_broken);
}

static void test_interrupts_can_be_declined(Echo *e, gconstpointer unused)
{
    driver_start(e, 0);
    put_desc(e, DESC, 0, DATA, 4, 0, 0);
    mem_store(e->map, AVAIL, 2, 1);
    offer(e, 0, 0);
    g_assert_cmpuint(used_idx(e), ==, 1);
    g_assert_cmpuint(e->n_interrupts, ==, 0);
}

static void test_event_index(Echo *e, gconstpointer unused)
{
    driver_start(e, VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX));
    put_desc(e, DESC, 0, DATA, 4, 0, 0);
    offer(e, 0, 0);
    g_assert_cmpuint(e->n_interrupts, ==, 1); /* the first one always */
    mem_store(e->map, AVAIL + 4 + 2 * QUEUE_SIZE, 2, 3); /* next when 4 are used */
    for (int i = 1; i < 3; i++) {
        offer(e, i, 0);
        g_assert_cmpuint(e->n_interrupts, ==, 1);
    }
    offer(e, 3, 0);
    g_assert_cmpuint(e->n_interrupts, ==, 2);
}

static void test_features_need_version_1(Echo *e, gconstpointer unused)
{
    virtio_set_status(&e->vdev, 3);
    virtio_set_features(&e->vdev, 1);
    virtio_set_status(&e->vdev, 11);
    g_assert_cmphex(e->vdev.status, ==, 3);
    virtio_set_status(&e->vdev, 7);
    g_assert_cmphex(e->vdev.status, ==, 3);
    virtio_set_features(&e->vdev, UINT64_MAX);
    virtio_set_status(&e->vdev, 11);
    g_assert_cmphex(e->vdev.status, ==, 11);
    g_assert_cmphex(e->vdev.guest_features, ==, e->vdev.host_features);
}

static void test_reset_waits_for_requests(Echo *e, gconstpointer unused)
{
    driver_start(e, 0);
    put_desc(e, DESC, 0, DATA + 0x100, 4, WRITE, 0);
    e->must_hold = true;
    offer(e, 0, 0);
    g_assert_cmpuint(e->held->len, ==, 1);
    virtio_set_status(&e->vdev, 0);
    g_assert_cmphex(e->vdev.status, ==, 15); /* under way */
    virtio_set_status(&e->vdev, 3);
    g_assert_cmphex(e->vdev.status, ==, 15);
    g_assert_cmpuint(e->n_resets, ==, 0);
    echo_answer(&e->vdev.queues[0], g_ptr_array_remove_index(e->held, 0));
    virtio_loop_left(e->vdev.queues[0].loop);
    g_assert_cmphex(e->vdev.status, ==, 15); /* not before the loop has gone on */
    virtio_reset_sync(&e->vdev);
    g_assert_cmphex(e->vdev.status, ==, 0);
    g_assert_cmpuint(e->n_resets, ==, 1);
    g_assert_cmpuint(used_idx(e), ==, 0); /* nothing is written after the reset began */
    g_assert_false(e->vdev.queues[0].is_enabled);
}

typedef struct Offence {
    const char *name;
    void (*commit)(Echo *e);
} Offence;

static void commit_head(Echo *e)
{
    offer(e, 0, QUEUE_SIZE);
}

static void commit_loop(Echo *e)
{
    put_desc(e, DESC, 0, DATA, 4, NEXT, 0);
    offer(e, 0, 0);
}

static void commit_next(Echo *e)
{
    put_desc(e, DESC, 0, DATA, 4, NEXT, QUEUE_SIZE);
    offer(e, 0, 0);
}

static void commit_order(Echo *e)
{
    put_desc(e, DESC, 0, DATA, 4, WRITE | NEXT, 1);
    put_desc(e, DESC, 1, DATA, 4, 0, 0);
    offer(e, 0, 0);
}

static void commit_far(Echo *e)
{
    offer(e, QUEUE_SIZE, 0);
}

static void commit_wrap(Echo *e)
{
    put_desc(e, DESC, 0, UINT64_MAX - 3, 8, WRITE, 0);
    offer(e, 0, 0);
}

static void commit_nested(Echo *e)
{
    put_desc(e, INDIRECT, 0, INDIRECT, 16, IS_INDIRECT, 0);
    put_desc(e, DESC, 0, INDIRECT, 16, IS_INDIRECT, 0);
    offer(e, 0, 0);
}

static void commit_late_indirect(Echo *e)
{
    put_desc(e, INDIRECT, 0, DATA, 4, 0, 0);
    put_desc(e, DESC, 0, DATA, 4, NEXT, 1);
    put_desc(e, DESC, 1, INDIRECT, 16, IS_INDIRECT, 0);
    offer(e, 0, 0);
}

static const Offence offences[] = {
    {"head", commit_head}, {"loop", commit_loop}, {"next", commit_next}, {"order", commit_order},
    {"far", commit_far}, {"wrap", commit_wrap}, {"nested", commit_nested},
    {"late-indirect", commit_late_indirect},
};

static void test_offence_breaks_device(Echo *e, gconstpointer data)
{
    const Offence *offence = data;

    driver_start(e, VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC));
    offence->commit(e);
    g_assert_true(e->vdev.is_broken);
    g_assert_cmphex(e->vdev.status & VIRTIO_STATUS_NEEDS_RESET, !=, 0);
    g_assert_cmpuint(e->n_config_interrupts, ==, 1);
    g_assert_cmpuint(used_idx(e), ==, 0);
    virtio_set_status(&e->vdev, 0);
    driver_start(e, 0);
    put_desc(e, DESC, 0, DATA, 4, 0, 0);
    offer(e, 0, 0);
    g_assert_cmpuint(used_idx(e), ==, 1); /* well again */
}

/* Rings of noise: whatever happens, memory outside of the machine stays untouched. */
static void test_random_rings(Echo *e, gconstpointer unused)
{
    g_autoptr(GRand) rand = test_rand_new();
    uint8_t noise[64];

    for (int i = 0; i < N_RANDOM; i++) {
        if (!(e->vdev.status & VIRTIO_STATUS_DRIVER_OK) || e->vdev.is_broken) {
            virtio_set_status(&e->vdev, 0);
            driver_start(e, (uint64_t)g_rand_int(rand));
        }
        for (unsigned d = 0; d < QUEUE_SIZE; d++) {
            put_desc(e, test_rand_below(rand, 4) ? DESC : INDIRECT, d,
                     test_rand_below(rand, RAM_SIZE + 0x100), test_rand_below(rand, 0x400),
                     test_rand_below(rand, 8), test_rand_below(rand, QUEUE_SIZE + 1));
        }
        if (test_rand_below(rand, 16) == 0) {
            test_rand_fill(rand, noise, sizeof(noise));
            dma_write(e->map, AVAIL, noise, sizeof(noise));
        }
        offer(e, e->vdev.queues[0].last_avail + test_rand_below(rand, 2),
              test_rand_below(rand, QUEUE_SIZE + 1));
    }
}

static void test_config_bounds(Echo *e, gconstpointer unused)
{
    g_assert_cmphex(virtio_config_read(&e->vdev, 0, 4), ==, 0x64636261);
    g_assert_cmphex(virtio_config_read(&e->vdev, 3, 1), ==, 'd');
    g_assert_cmphex(virtio_config_read(&e->vdev, 3, 2), ==, 0);
    g_assert_cmphex(virtio_config_read(&e->vdev, UINT32_MAX, 4), ==, 0);
    virtio_config_write(&e->vdev, 0, 4, 0);
}

#define ADD(path, fn) g_test_add("/virtio/" path, Echo, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    ADD("queue/request-is-answered", test_request_is_answered);
    ADD("queue/indirect-request", test_indirect_request);
    ADD("queue/interrupts-can-be-declined", test_interrupts_can_be_declined);
    ADD("queue/event-index", test_event_index);
    ADD("status/features-need-version-1", test_features_need_version_1);
    ADD("reset/waits-for-requests", test_reset_waits_for_requests);
    ADD("config/bounds", test_config_bounds);
    for (size_t i = 0; i < ARRAY_SIZE(offences); i++) {
        g_autofree char *path = g_strdup_printf("/virtio/offence/%s-breaks-device",
                                                offences[i].name);

        g_test_add(path, Echo, &offences[i], set_up, test_offence_breaks_device, tear_down);
    }
    ADD("queue/random-rings", test_random_rings);
    return g_test_run();
}
