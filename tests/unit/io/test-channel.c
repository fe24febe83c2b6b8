/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Channels: waiting transfers, ends, descriptors passed along. */
#include "qemu/osdep.h"
#include <sys/socket.h>

#include "io/channel.h"
#include "qemu/main-loop.h"
#include "../../lib/testlib.h"

#define BIG (4 * MiB)

typedef struct Pair {
    QIOChannel *a;
    QIOChannel *b;
} Pair;

static Pair socket_pair(void)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    return (Pair){ qio_channel_socket_new_fd(fds[0]), qio_channel_socket_new_fd(fds[1]) };
}

static Pair pipe_pair(void)
{
    int fds[2];

    g_assert_cmpint(pipe(fds), ==, 0);
    return (Pair){ qio_channel_file_new_fds(-1, fds[1]), qio_channel_file_new_fds(fds[0], -1) };
}

static void pair_done(Pair *pair)
{
    qio_channel_unref(pair->a);
    qio_channel_unref(pair->b);
}

typedef struct Transfer {
    Pair *pair;
    uint8_t *out;
    uint8_t *in;
    bool is_sent;
    bool is_received;
} Transfer;

static void coroutine_fn send_co(void *opaque)
{
    Transfer *t = opaque;
    struct iovec iov[2] = {
        { .iov_base = t->out, .iov_len = 1000 },
        { .iov_base = t->out + 1000, .iov_len = BIG - 1000 },
    };

    g_assert_cmpint(qio_channel_co_writev_all(t->pair->a, iov, 2, &error_abort), ==, 0);
    t->is_sent = true;
}

static void coroutine_fn receive_co(void *opaque)
{
    Transfer *t = opaque;

    g_assert_cmpint(qio_channel_co_read_all(t->pair->b, t->in, BIG, &error_abort), ==, 1);
    t->is_received = true;
}

static void check_big_transfer(Pair pair)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree uint8_t *out = g_malloc(BIG);
    g_autofree uint8_t *in = g_malloc0(BIG);
    Transfer t = { .pair = &pair, .out = out, .in = in };

    test_rand_fill(rand, out, BIG);
    qemu_coroutine_enter(qemu_coroutine_create(send_co, &t));
    qemu_coroutine_enter(qemu_coroutine_create(receive_co, &t));
    while (!t.is_sent || !t.is_received) {
        aio_poll(qemu_get_aio_context(), true);
    }
    g_assert_cmpmem(in, BIG, out, BIG);
    pair_done(&pair);
}

static void test_big_socket(void)
{
    check_big_transfer(socket_pair());
}

static void test_big_pipe(void)
{
    check_big_transfer(pipe_pair());
}

static void coroutine_fn ends_co(void *opaque)
{
    Pair *pair = opaque;
    g_autoptr(Error) err = NULL;
    char buf[8];

    g_assert_cmpint(qio_channel_co_write_all(pair->a, "abc", 3, &error_abort), ==, 0);
    qio_channel_shutdown(pair->a, QIO_CHANNEL_SHUTDOWN_WRITE);
    g_assert_cmpint(qio_channel_co_read_all(pair->b, buf, 8, &err), ==, -1);
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Unexpected end-of-file before all data were read");
    g_assert_cmpint(qio_channel_co_read_all(pair->b, buf, 8, &error_abort), ==, 0);
}

static void test_ends(void)
{
    Pair pair = socket_pair();

    co_run(ends_co, &pair);
    pair_done(&pair);
}

static void coroutine_fn gone_co(void *opaque)
{
    Pair *pair = opaque;
    g_autoptr(Error) err = NULL;
    char buf[1];

    qio_channel_close(pair->b);
    g_assert_cmpint(qio_channel_co_write_all(pair->a, "abc", 3, &err), ==, -1);
    g_assert_nonnull(strstr(error_get_pretty(err), "Unable to write to socket"));
    g_assert_cmpint(qio_channel_co_read_all(pair->b, buf, 1, NULL), ==, -1);
}

static void test_gone(void)
{
    Pair pair = socket_pair();

    co_run(gone_co, &pair);
    pair_done(&pair);
}

static void test_blocks(void)
{
    Pair pair = socket_pair();
    char byte;
    struct iovec iov = { &byte, 1 };

    g_assert_cmpint(qio_channel_readv(pair.a, &iov, 1, NULL, NULL, &error_abort), ==,
                    QIO_CHANNEL_ERR_BLOCK);
    pair_done(&pair);
}

static void test_fds(void)
{
    Pair pair = socket_pair();
    char byte = 'x';
    struct iovec iov = { &byte, 1 };
    int *fds;
    size_t nfds;
    int zero = open("/dev/null", O_RDONLY);
    int both[2] = { zero, zero };
    struct stat st;

    g_assert_true(qio_channel_passes_fds(pair.a));
    g_assert_cmpint(qio_channel_writev(pair.a, &iov, 1, both, 2, &error_abort), ==, 1);
    g_assert_cmpint(qio_channel_readv(pair.b, &iov, 1, &fds, &nfds, &error_abort), ==, 1);
    g_assert_cmpint(nfds, ==, 2);
    for (size_t i = 0; i < nfds; i++) {
        g_assert_cmpint(fstat(fds[i], &st), ==, 0);
        g_assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        close(fds[i]);
    }
    g_free(fds);
    close(zero);
    pair_done(&pair);
}

static void coroutine_fn wait_co(void *opaque)
{
    Pair *pair = opaque;

    qio_channel_co_wait_read(pair->a);
    pair->b = NULL;
}

static void test_wake(void)
{
    Pair pair = socket_pair();
    QIOChannel *b = pair.b;

    qemu_coroutine_enter(qemu_coroutine_create(wait_co, &pair));
    g_assert_nonnull(pair.b);
    qio_channel_wake_read(pair.a);
    g_assert_null(pair.b);
    qio_channel_wake_read(pair.a); /* nobody waits: nothing happens */
    qio_channel_unref(b);
    qio_channel_unref(pair.a);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    g_test_add_func("/channel/transfer/big-socket", test_big_socket);
    g_test_add_func("/channel/transfer/big-pipe", test_big_pipe);
    g_test_add_func("/channel/read-all/tells-ends-apart", test_ends);
    g_test_add_func("/channel/write/peer-gone", test_gone);
    g_test_add_func("/channel/read/would-block", test_blocks);
    g_test_add_func("/channel/read/receives-descriptors", test_fds);
    g_test_add_func("/channel/wait/can-be-ended", test_wake);
    return g_test_run();
}
