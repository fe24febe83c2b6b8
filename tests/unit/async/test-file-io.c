/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * linux-aio and io_uring against a temporary file.  Both engines run the same cases.
 */
#include "qemu/osdep.h"

#include <sys/uio.h>

#include "block/aio.h"
#include "qemu/error.h"
#include "qemu/iothread.h"
#include "qemu/main-loop.h"
#include "../../lib/testlib.h"

typedef struct Engine {
    const char *name;
    bool (*setup)(Error **errp);
    void (*submit)(AioFileIO *io);
    int coroutine_fn (*co_submit)(AioFileIO *io);
} Engine;

static const Engine engines[] = {
    { "linux-aio", laio_setup, laio_submit, laio_co_submit },
    { "io-uring", luring_setup, luring_submit, luring_co_submit },
};

static bool engine_ready(const Engine *engine)
{
    Error *err = NULL;

    if (!engine->setup(&err)) {
        g_test_skip(error_get_pretty(err));
        error_free(err);
        return false;
    }
    return true;
}

static int temp_file(void)
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("test-file-io-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    unlink(path);
    return fd;
}

/* ---- coroutines ------------------------------------------------------------------------------ */
typedef struct CoCase {
    const Engine *engine;
    int fd;
    bool done;
} CoCase;

static int coroutine_fn co_io(CoCase *c, AioFileOp op, int64_t offset, void *buf, size_t len)
{
    struct iovec iov = { buf, len };
    AioFileIO io = { .fd = c->fd, .op = op, .offset = offset, .iov = &iov, .niov = 1,
                     .bytes = len };

    return c->engine->co_submit(&io);
}

static int coroutine_fn co_io_vector(CoCase *c, AioFileOp op, int64_t offset,
                                     const QEMUIOVector *qiov)
{
    AioFileIO io = { .fd = c->fd, .op = op, .offset = offset, .iov = qiov->iov,
                     .niov = qiov->niov, .bytes = qiov->size };

    return c->engine->co_submit(&io);
}

static int coroutine_fn co_sync(CoCase *c, int fd)
{
    AioFileIO io = { .fd = fd, .op = AIO_FILE_FDATASYNC };

    return c->engine->co_submit(&io);
}

static void coroutine_fn co_write_then_read(void *opaque)
{
    CoCase *c = opaque;
    char out[5000], in[5000];

    for (size_t i = 0; i < sizeof(out); i++) {
        out[i] = i * 7;
    }
    g_assert_cmpint(co_io(c, AIO_FILE_WRITE, 1000, out, sizeof(out)), ==, 0);
    g_assert_cmpint(co_sync(c, c->fd), ==, 0);
    g_assert_cmpint(co_io(c, AIO_FILE_READ, 1000, in, sizeof(in)), ==, 0);
    g_assert_cmpmem(in, sizeof(in), out, sizeof(out));
}

static void test_write_then_read(const void *data)
{
    CoCase c = { .engine = data, .fd = -1 };

    if (engine_ready(c.engine)) {
        c.fd = temp_file();
        co_run(co_write_then_read, &c);
        close(c.fd);
    }
}

static void coroutine_fn co_read_past_end(void *opaque)
{
    CoCase *c = opaque;
    char buf[300];
    struct iovec iov[3] = { { buf, 70 }, { buf + 70, 60 }, { buf + 130, 170 } };
    QEMUIOVector qiov;

    qemu_iovec_init_external(&qiov, iov, 3);
    memset(buf, 'x', sizeof(buf));
    g_assert_cmpint(co_io(c, AIO_FILE_WRITE, 0, buf, 100), ==, 0);
    memset(buf, 'y', sizeof(buf));
    g_assert_cmpint(co_io_vector(c, AIO_FILE_READ, 0, &qiov), ==, 0);
    for (int i = 0; i < 300; i++) {
        g_assert_cmpint(buf[i], ==, i < 100 ? 'x' : 0);
    }
    g_assert_cmpint(co_io(c, AIO_FILE_READ, 5000, buf, 10), ==, 0);
    g_assert_cmpint(buf[0], ==, 0);
}

static void test_read_past_end_gives_zeroes(const void *data)
{
    CoCase c = { .engine = data, .fd = -1 };

    if (engine_ready(c.engine)) {
        c.fd = temp_file();
        co_run(co_read_past_end, &c);
        close(c.fd);
    }
}

static void coroutine_fn co_errors(void *opaque)
{
    CoCase *c = opaque;
    CoCase read_only = { .engine = c->engine, .fd = open("/dev/null", O_RDONLY) };
    char buf[16] = { 0 };

    g_assert_cmpint(co_io(&read_only, AIO_FILE_WRITE, 0, buf, 16), ==, -EBADF);
    g_assert_cmpint(co_sync(c, -1), ==, -EBADF);
    g_assert_cmpint(co_io(&read_only, AIO_FILE_READ, -16, buf, 16), ==, -EINVAL);
    close(read_only.fd);
}

static void test_errors_are_reported(const void *data)
{
    CoCase c = { .engine = data };

    if (engine_ready(c.engine)) {
        co_run(co_errors, &c);
    }
}

/* A pipe hands over what there is: the rest of the request must follow. */
static void coroutine_fn co_read_in_pieces(void *opaque)
{
    CoCase *c = opaque;
    char buf[6] = { 0 };
    struct iovec iov[2] = { { buf, 4 }, { buf + 4, 2 } };
    QEMUIOVector qiov;

    qemu_iovec_init_external(&qiov, iov, 2);
    g_assert_cmpint(co_io_vector(c, AIO_FILE_READ, -1, &qiov), ==, 0);
    g_assert_cmpmem(buf, 6, "abcdef", 6);
    c->done = true;
}

/* ---- callbacks ------------------------------------------------------------------------------- */
enum { DEPTH = 3000, BLOCK = 512 };

typedef struct Load {
    const Engine *engine;
    int fd;
    int left;
    bool submitting;
    AioFileIO io[DEPTH];
    struct iovec iov[DEPTH];
    char data[DEPTH][BLOCK];
} Load;

static void load_cb(AioFileIO *io, int ret)
{
    Load *load = io->opaque;

    g_assert_false(load->submitting);
    g_assert_cmpint(ret, ==, 0);
    load->left--;
}

static void load_run(Load *load, AioFileOp op)
{
    load->submitting = true;
    load->left = DEPTH;
    for (int i = 0; i < DEPTH; i++) {
        load->iov[i] = (struct iovec) { load->data[i], BLOCK };
        load->io[i] = (AioFileIO) {
            .fd = load->fd,
            .op = op,
            .offset = (int64_t)i * BLOCK,
            .iov = &load->iov[i],
            .niov = 1,
            .bytes = BLOCK,
            .cb = load_cb,
            .opaque = load,
        };
        load->engine->submit(&load->io[i]);
    }
    load->submitting = false;
    while (load->left > 0) {
        aio_poll(qemu_get_current_aio_context(), true);
    }
}

static void load_all(Load *load)
{
    for (int i = 0; i < DEPTH; i++) {
        memset(load->data[i], i % 251, BLOCK);
    }
    load_run(load, AIO_FILE_WRITE);
    load_run(load, AIO_FILE_FDATASYNC);
    memset(load->data, 0xff, sizeof(load->data));
    load_run(load, AIO_FILE_READ);
    for (int i = 0; i < DEPTH; i++) {
        g_assert_cmpint((unsigned char)load->data[i][0], ==, i % 251);
        g_assert_cmpint((unsigned char)load->data[i][BLOCK - 1], ==, i % 251);
    }
}

/* More at once than the kernel's queues hold. */
static void test_deep_queue_completes(const void *data)
{
    g_autofree Load *load = g_new0(Load, 1);

    load->engine = data;
    if (engine_ready(load->engine)) {
        load->fd = temp_file();
        load_all(load);
        close(load->fd);
    }
}

/* A full batch goes to the kernel at once; reads of what is cached are done there and then. */
static void check_batch(Load *load, int64_t of_request, int64_t of_loop, int expected)
{
    aio_context_set_max_batch(qemu_get_aio_context(), of_loop);
    memset(load->data, 0xff, sizeof(load->data));
    load->submitting = true;
    load->left = expected;
    for (int i = 0; i < expected; i++) {
        g_assert_cmpint((unsigned char)load->data[0][0], ==, 0xff);
        load->iov[i] = (struct iovec) { load->data[i], BLOCK };
        load->io[i] = (AioFileIO) {
            .fd = load->fd, .op = AIO_FILE_READ, .offset = i * BLOCK, .iov = &load->iov[i],
            .niov = 1, .bytes = BLOCK, .max_batch = of_request, .cb = load_cb, .opaque = load,
        };
        load->engine->submit(&load->io[i]);
    }
    for (int i = 0; i < expected; i++) {
        g_assert_cmpint(load->data[i][0], ==, 0);
    }
    load->submitting = false;
    while (load->left > 0) {
        aio_poll(qemu_get_aio_context(), true);
    }
    aio_context_set_max_batch(qemu_get_aio_context(), 0);
}

/* Not all file systems do: others have reads done by threads of the kernel's. */
static bool reads_without_waiting(int fd)
{
    char byte;
    struct iovec iov = { &byte, 1 };

    return preadv2(fd, &iov, 1, 0, RWF_NOWAIT) == 1;
}

static void test_full_batch_does_not_wait(const void *data)
{
    g_autofree Load *load = g_new0(Load, 1);

    load->engine = data;
    if (engine_ready(load->engine)) {
        load->fd = temp_file();
        g_assert_cmpint(write(load->fd, load->data, sizeof(load->data)), ==, sizeof(load->data));
        if (!reads_without_waiting(load->fd)) {
            g_test_skip("reads wait on this file system");
            close(load->fd);
            return;
        }
        check_batch(load, 4, 0, 4);
        check_batch(load, 0, 7, 7);
        check_batch(load, 9, 3, 3);
        check_batch(load, 1, 3, 1);
        close(load->fd);
    }
}

typedef struct RemoteLoad {
    Load *load;
    bool ready;
} RemoteLoad;

static void remote_load_bh(void *opaque)
{
    RemoteLoad *r = opaque;

    r->ready = r->load->engine->setup(NULL);
    if (r->ready) {
        load_all(r->load);
    }
}

static void test_iothread_has_its_own_queue(const void *data)
{
    g_autofree Load *load = g_new0(Load, 1);
    g_autoptr(IOThread) iothread = iothread_create("io", &error_abort);
    RemoteLoad r = { .load = load };

    load->engine = data;
    load->fd = temp_file();
    aio_wait_bh_oneshot(iothread_get_aio_context(iothread), remote_load_bh, &r);
    if (!r.ready) {
        g_test_skip("the kernel refuses");
    }
    close(load->fd);
}

static void test_uring_continues_short_reads(const void *data)
{
    CoCase c = { .engine = data };
    int fds[2];

    if (!engine_ready(c.engine)) {
        return;
    }
    g_assert_cmpint(pipe(fds), ==, 0);
    c.fd = fds[0];
    qemu_coroutine_enter(qemu_coroutine_create(co_read_in_pieces, &c));
    g_assert_cmpint(write(fds[1], "abc", 3), ==, 3);
    for (int i = 0; i < 10; i++) {
        aio_poll(qemu_get_aio_context(), false);
    }
    g_assert_cmpint(write(fds[1], "def", 3), ==, 3);
    while (!c.done) {
        aio_poll(qemu_get_aio_context(), true);
    }
    close(fds[0]);
    close(fds[1]);
}

static void add_cases(const Engine *engine)
{
    const struct {
        const char *name;
        GTestDataFunc fn;
    } cases[] = {
        { "co/write-then-read", test_write_then_read },
        { "co/read-past-end-gives-zeroes", test_read_past_end_gives_zeroes },
        { "batch/full-one-does-not-wait", test_full_batch_does_not_wait },
        { "co/errors-are-reported", test_errors_are_reported },
        { "submit/deep-queue-completes", test_deep_queue_completes },
        { "submit/iothread-has-its-own-queue", test_iothread_has_its_own_queue },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = g_strdup_printf("/%s/%s", engine->name, cases[i].name);

        g_test_add_data_func(path, engine, cases[i].fn);
    }
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
        add_cases(&engines[i]);
    }
    g_test_add_data_func("/io-uring/co/continues-short-reads", &engines[1],
                         test_uring_continues_short_reads);
    return g_test_run();
}
