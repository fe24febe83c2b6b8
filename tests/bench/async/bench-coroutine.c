/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a coroutine costs: prints nanoseconds for one switch and for a whole life.
 */
#include "qemu/osdep.h"

#include "block/coroutine.h"
#include "qemu/error.h"
#include "qemu/main-loop.h"

#define ROUNDS 5000000

static void coroutine_fn co_yield_forever(void *opaque)
{
    bool *stop = opaque;

    while (!*stop) {
        qemu_coroutine_yield();
    }
}

static void coroutine_fn co_do_nothing(void *opaque)
{
}

static double ns_per_round(int64_t start_us)
{
    return (g_get_monotonic_time() - start_us) * 1000.0 / ROUNDS;
}

int main(void)
{
    bool stop = false;
    Coroutine *co;
    int64_t start;

    qemu_init_main_loop(&error_abort);
    co = qemu_coroutine_create(co_yield_forever, &stop);
    start = g_get_monotonic_time();
    for (int i = 0; i < ROUNDS; i++) {
        qemu_coroutine_enter(co);
    }
    printf("switch_ns %.1f\n", ns_per_round(start) / 2);
    stop = true;
    qemu_coroutine_enter(co);

    start = g_get_monotonic_time();
    for (int i = 0; i < ROUNDS; i++) {
        qemu_coroutine_enter(qemu_coroutine_create(co_do_nothing, NULL));
    }
    printf("life_ns %.1f\n", ns_per_round(start));
    return 0;
}
