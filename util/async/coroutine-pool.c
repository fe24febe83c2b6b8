/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where coroutines' stacks come from: a small pool per thread that needs no lock, a pool for all
 * that threads exchange batches with, and mmap.
 */
#include "qemu/osdep.h"

#include <sys/mman.h>

#include "block/coroutine_int.h"
#include "qemu/thread.h"

#if defined(CONFIG_ASAN) || defined(CONFIG_TSAN) || defined(CONFIG_DEBUG)
#define STACK_SIZE ((size_t)1 << 20)    /* such frames are several times larger */
#else
#define STACK_SIZE ((size_t)256 << 10)
#endif
#define POOL_BATCH 32
#define LOCAL_MAX (2 * POOL_BATCH)
#define GLOBAL_MAX 256

typedef QSLIST_HEAD(CoroutinePoolList, Coroutine) CoroutinePoolList;

typedef struct LocalPool {
    CoroutinePoolList free;
    unsigned count;
    Notifier thread_exit;
} LocalPool;

static __thread LocalPool local_pool __attribute__((tls_model("initial-exec")));

static QemuMutex global_lock = QEMU_MUTEX_INITIALIZER;
static CoroutinePoolList global_free;
static unsigned global_count;

/* ---- memory ---------------------------------------------------------------------------------- */
static Coroutine *stack_map(void)
{
    static unsigned next_colour;
    size_t page = getpagesize();
    /*
     * The hot ends of all stacks would fall into the same cache sets, were they not shifted
     * against each other.
     */
    size_t shift = qatomic_fetch_inc(&next_colour) % 32 * 128;
    size_t reserved = ROUND_UP(sizeof(Coroutine), 64);
    char *map = mmap(NULL, page + STACK_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    Coroutine *co;

    if (map == MAP_FAILED || mprotect(map, page, PROT_NONE) < 0) {
        fprintf(stderr, "no memory for a coroutine stack: %s\n", strerror(errno));
        abort();
    }
    co = (Coroutine *)(map + page + STACK_SIZE - reserved - shift);
    co->stack_low = map + page;
    co->stack_size = (char *)co - (map + page);
    return co;
}

static void stack_unmap(Coroutine *co)
{
    size_t page = getpagesize();

    munmap((char *)co->stack_low - page, page + STACK_SIZE);
}

/* ---- pools ----------------------------------------------------------------------------------- */
static Coroutine *list_pop(CoroutinePoolList *list)
{
    Coroutine *co = QSLIST_FIRST(list);

    QSLIST_REMOVE_HEAD(list, scheduled_next);
    return co;
}

/* Give @n of this thread's free stacks away: to the global pool, or to the system. */
static void local_give(unsigned n)
{
    LocalPool *pool = &local_pool;
    CoroutinePoolList surplus = { NULL };

    qemu_mutex_lock(&global_lock);
    while (n-- > 0) {
        Coroutine *co = list_pop(&pool->free);

        pool->count--;
        if (global_count < GLOBAL_MAX) {
            QSLIST_INSERT_HEAD(&global_free, co, scheduled_next);
            global_count++;
        } else {
            QSLIST_INSERT_HEAD(&surplus, co, scheduled_next);
        }
    }
    qemu_mutex_unlock(&global_lock);

    while (!QSLIST_EMPTY(&surplus)) {
        stack_unmap(list_pop(&surplus));
    }
}

static void local_pool_thread_exit(Notifier *notifier, void *data)
{
    (void)notifier;
    (void)data;
    local_give(local_pool.count);
}

/* Fetch a batch from the global pool. */
static void __attribute__((noinline)) local_refill(void)
{
    LocalPool *pool = &local_pool;

    if (!pool->thread_exit.notify) {
        pool->thread_exit.notify = local_pool_thread_exit;
        qemu_thread_atexit_add(&pool->thread_exit);
    }
    qemu_mutex_lock(&global_lock);
    while (pool->count < POOL_BATCH && global_count > 0) {
        Coroutine *co = list_pop(&global_free);

        global_count--;
        QSLIST_INSERT_HEAD(&pool->free, co, scheduled_next);
        pool->count++;
    }
    qemu_mutex_unlock(&global_lock);
}

Coroutine *coroutine_pool_get(void)
{
    LocalPool *pool = &local_pool;

    if (unlikely(pool->count == 0)) {
        local_refill();
        if (pool->count == 0) {
            return stack_map();
        }
    }
    pool->count--;
    return list_pop(&pool->free);
}

void coroutine_pool_put(Coroutine *co)
{
    LocalPool *pool = &local_pool;

    if (unlikely(pool->count >= LOCAL_MAX)) {
        local_give(POOL_BATCH);
    }
    QSLIST_INSERT_HEAD(&pool->free, co, scheduled_next);
    pool->count++;
}
