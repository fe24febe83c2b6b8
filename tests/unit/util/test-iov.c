/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "../../lib/testlib.h"

/* A vector over pieces of random length, some empty, and its bytes as one buffer. */
typedef struct Scatter {
    QEMUIOVector qiov;
    uint8_t memory[1024];
    size_t size;
} Scatter;

static void scatter_init(Scatter *s, GRand *rand, int pieces)
{
    size_t used = 0;

    qemu_iovec_init(&s->qiov, 1);
    test_rand_fill(rand, s->memory, sizeof(s->memory));
    for (int i = 0; i < pieces; i++) {
        size_t len = test_rand_below(rand, 4) ? test_rand_below(rand, 40) : 0;
        qemu_iovec_add(&s->qiov, s->memory + used, len);
        s->size += len;
        used += len + 3;        /* never adjacent */
    }
    g_assert_cmpuint(used, <=, sizeof(s->memory));
    g_assert_cmpuint(s->qiov.size, ==, s->size);
    g_assert_cmpuint(iov_size(s->qiov.iov, s->qiov.niov), ==, s->size);
}

static void test_copy_matches_model(void)
{
    g_autoptr(GRand) rand = test_rand_new();

    for (int round = 0; round < 500; round++) {
        Scatter s = { .size = 0 };
        uint8_t model[1024], data[1024], seen[1024];

        scatter_init(&s, rand, 1 + test_rand_below(rand, 20));
        g_assert_cmpuint(qemu_iovec_to_buf(&s.qiov, 0, model, sizeof(model)), ==, s.size);

        size_t offset = test_rand_below(rand, s.size + 1);
        size_t want = test_rand_below(rand, sizeof(data) + 1);
        size_t fits = MIN(want, s.size - offset);
        test_rand_fill(rand, data, sizeof(data));
        g_assert_cmpuint(qemu_iovec_from_buf(&s.qiov, offset, data, want), ==, fits);
        memcpy(model + offset, data, fits);

        offset = test_rand_below(rand, s.size + 1);
        fits = MIN(13, s.size - offset);
        g_assert_cmpuint(qemu_iovec_memset(&s.qiov, offset, 0x5a, 13), ==, fits);
        memset(model + offset, 0x5a, fits);

        g_assert_cmpuint(qemu_iovec_to_buf(&s.qiov, 0, seen, sizeof(seen)), ==, s.size);
        g_assert_cmpmem(seen, s.size, model, s.size);
        qemu_iovec_destroy(&s.qiov);
    }
}

static void test_slice_matches_copy(void)
{
    g_autoptr(GRand) rand = test_rand_new();

    for (int round = 0; round < 500; round++) {
        Scatter s = { .size = 0 };
        QEMUIOVector part;
        uint8_t whole[1024], cut[1024];
        size_t head, tail;
        int niov;

        scatter_init(&s, rand, 1 + test_rand_below(rand, 20));
        qemu_iovec_to_buf(&s.qiov, 0, whole, sizeof(whole));
        size_t offset = test_rand_below(rand, s.size + 1);
        size_t len = test_rand_below(rand, s.size - offset + 1);

        qemu_iovec_init_slice(&part, &s.qiov, offset, len);
        g_assert_cmpuint(part.size, ==, len);
        g_assert_cmpuint(qemu_iovec_to_buf(&part, 0, cut, sizeof(cut)), ==, len);
        g_assert_cmpmem(cut, len, whole + offset, len);

        struct iovec *first = qemu_iovec_slice(&s.qiov, offset, len, &head, &tail, &niov);
        g_assert_cmpuint(iov_size(first, niov), ==, head + len + tail);
        g_assert_cmpuint(iov_to_buf(first, niov, head, cut, len), ==, len);
        g_assert_cmpmem(cut, len, whole + offset, len);
        g_assert_cmpint(qemu_iovec_subvec_niov(&s.qiov, offset, len), ==, niov);

        qemu_iovec_destroy(&part);
        qemu_iovec_destroy(&s.qiov);
    }
}

static void test_compare_finds_first_difference(void)
{
    g_autoptr(GRand) rand = test_rand_new();

    for (int round = 0; round < 200; round++) {
        Scatter s = { .size = 0 };
        QEMUIOVector flat;
        uint8_t copy[1024];

        scatter_init(&s, rand, 20);
        qemu_iovec_to_buf(&s.qiov, 0, copy, s.size);
        qemu_iovec_init_buf(&flat, copy, s.size);
        g_assert_cmpint(qemu_iovec_compare(&s.qiov, &flat), ==, -1);
        if (s.size) {
            size_t at = test_rand_below(rand, s.size);
            copy[at] ^= 1;
            copy[s.size - 1] ^= 2;
            g_assert_cmpint(qemu_iovec_compare(&s.qiov, &flat), ==, at);
        }
        qemu_iovec_destroy(&s.qiov);
    }
}

static void test_is_zero(void)
{
    uint8_t memory[64] = { 0 };
    struct iovec iov[2] = { { memory, 20 }, { memory + 30, 20 } };
    QEMUIOVector qiov;

    qemu_iovec_init_external(&qiov, iov, 2);
    memory[25] = 1;
    g_assert_true(qemu_iovec_is_zero(&qiov, 0, 40));
    memory[49] = 1;
    g_assert_false(qemu_iovec_is_zero(&qiov, 0, 40));
    g_assert_true(qemu_iovec_is_zero(&qiov, 1, 38));
    g_assert_true(qemu_iovec_is_zero(&qiov, 40, 0));
}

static void test_discard_ends(void)
{
    char memory[30];
    struct iovec array[3] = { { memory, 10 }, { memory + 10, 10 }, { memory + 20, 10 } };
    struct iovec *iov = array;
    unsigned int cnt = 3;

    g_assert_cmpuint(iov_discard_front(&iov, &cnt, 15), ==, 15);
    g_assert_cmpuint(cnt, ==, 2);
    g_assert_true(iov[0].iov_base == memory + 15);
    g_assert_cmpuint(iov_discard_back(iov, &cnt, 12), ==, 12);
    g_assert_cmpuint(cnt, ==, 1);
    g_assert_cmpuint(iov_size(iov, cnt), ==, 3);
    g_assert_cmpuint(iov_discard_front(&iov, &cnt, 99), ==, 3);
    g_assert_cmpuint(cnt, ==, 0);
}

static void test_init_buf(void)
{
    char memory[4] = "abc";
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, memory, 4);
    QEMUIOVector joined;

    g_assert_true(qemu_iovec_buf(&qiov) == memory);
    g_assert_cmpuint(qiov.size, ==, 4);
    qemu_iovec_init(&joined, 0);
    qemu_iovec_concat(&joined, &qiov, 1, 2);
    g_assert_cmpuint(qemu_iovec_concat_iov(&joined, qiov.iov, qiov.niov, 3, 99), ==, 1);
    g_assert_cmpint(joined.niov, ==, 2);
    g_assert_cmpuint(joined.size, ==, 3);
    g_assert_cmpuint(qemu_iovec_discard_back(&joined, 2), ==, 2);
    g_assert_cmpuint(joined.size, ==, 1);
    qemu_iovec_reset(&joined);
    g_assert_cmpuint(joined.size, ==, 0);
    qemu_iovec_destroy(&joined);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/iov/copy/matches-flat-model", test_copy_matches_model);
    g_test_add_func("/iov/slice/matches-copy", test_slice_matches_copy);
    g_test_add_func("/iov/compare/finds-first-difference", test_compare_finds_first_difference);
    g_test_add_func("/iov/is-zero/only-looks-at-range", test_is_zero);
    g_test_add_func("/iov/discard/from-both-ends", test_discard_ends);
    g_test_add_func("/iov/init-buf/one-buffer-and-concat", test_init_buf);
    return g_test_run();
}
