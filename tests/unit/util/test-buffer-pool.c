/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/buffer-pool.h"
#include "../../lib/testlib.h"

#define SIZE 12288
#define MANY (BUFFER_POOL_SPARE + 3)

static void test_the_one_put_back_last_comes_first(void)
{
    BufferPool pool;
    void *a, *b;

    buffer_pool_init(&pool, 4096, SIZE);
    a = buffer_pool_get(&pool);
    b = buffer_pool_get(&pool);
    g_assert_true(a && b && a != b);
    g_assert_cmpuint(((uintptr_t)a | (uintptr_t)b) % 4096, ==, 0);
    memset(a, 1, SIZE);
    memset(b, 2, SIZE);
    buffer_pool_put(&pool, a);
    buffer_pool_put(&pool, b);
    g_assert_true(buffer_pool_get(&pool) == b);
    g_assert_true(buffer_pool_get(&pool) == a);
    buffer_pool_put(&pool, a);
    buffer_pool_put(&pool, b);
    buffer_pool_put(&pool, NULL);
    buffer_pool_done(&pool);
}

static void test_more_than_are_kept(void)
{
    BufferPool pool;
    void *taken[MANY];

    buffer_pool_init(&pool, 512, SIZE);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            taken[i] = buffer_pool_get(&pool);
            g_assert_nonnull(taken[i]);
            memset(taken[i], i, SIZE);
        }
        for (int i = 0; i < MANY; i++) {
            g_assert_cmpint(((uint8_t *)taken[i])[SIZE - 1], ==, i);
            buffer_pool_put(&pool, taken[i]);
        }
        g_assert_cmpuint(pool.n_spare, ==, BUFFER_POOL_SPARE);
    }
    buffer_pool_done(&pool);
}

static gpointer use_pool(gpointer opaque)
{
    BufferPool *pool = opaque;

    for (int i = 0; i < 2000; i++) {
        uint32_t *one = buffer_pool_get(pool), *two = buffer_pool_get(pool);

        one[0] = two[0] = i;
        g_assert_true(one != two);
        g_assert_cmpuint(one[0], ==, i);
        buffer_pool_put(pool, one);
        buffer_pool_put(pool, two);
    }
    return NULL;
}

static void test_threads_never_share_a_buffer(void)
{
    BufferPool pool;
    GThread *threads[3];

    buffer_pool_init(&pool, 512, SIZE);
    for (int i = 0; i < 3; i++) {
        threads[i] = g_thread_new("user", use_pool, &pool);
    }
    for (int i = 0; i < 3; i++) {
        g_thread_join(threads[i]);
    }
    buffer_pool_done(&pool);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/buffer-pool/get/the-one-put-back-last-comes-first",
                    test_the_one_put_back_last_comes_first);
    g_test_add_func("/buffer-pool/put/more-than-are-kept", test_more_than_are_kept);
    g_test_add_func("/buffer-pool/threads-never-share-a-buffer",
                    test_threads_never_share_a_buffer);
    return g_test_run();
}
