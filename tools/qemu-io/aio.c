/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * aio_read, aio_write, aio_discard, aio_flush: several requests at a time.  Each is a coroutine of
 * its own, which reports when it is done.
 */
#include "qemu/osdep.h"

#include "qemu-io.h"

typedef struct AioRequest {
    QemuIo *io;
    IoRequest req;
} AioRequest;

static void report(const IoRequest *req, int ret)
{
    static const char *const failed[] = { "readv failed", "aio_write failed",
                                         "aio_discard failed" };
    static const char *const done[] = { "read", "wrote", "discarded " };

    if (ret < 0) {
        printf("%s: %s\n", failed[req->kind], strerror(-ret));
        return;
    }
    qemuio_request_verify(req);
    qemuio_request_report(req, done[req->kind]);
}

static void aio_free(AioRequest *aio)
{
    qemuio_request_clear(aio->io, &aio->req);
    g_free(aio);
}

static void coroutine_fn co_run_request(void *opaque)
{
    AioRequest *aio = opaque;
    QemuIo *io = aio->io;

    report(&aio->req, qemuio_co_request(io, &aio->req));
    aio_free(aio);
    if (--io->aio_in_flight == 0) {
        qemu_co_queue_restart_all(&io->aio_done);
    }
}

void coroutine_fn qemuio_co_wait_aio(QemuIo *io)
{
    while (io->aio_in_flight) {
        qemu_co_queue_wait(&io->aio_done, NULL);
    }
}

static void count_invalid(QemuIo *io, IoRequestKind kind)
{
    bool is_read = kind == IO_REQUEST_READ;

    printf("injecting invalid %s request\n", is_read ? "read" : "write");
    block_acct_invalid(blk_get_stats(io->blk), is_read ? BLOCK_ACCT_READ : BLOCK_ACCT_WRITE);
}

static int coroutine_fn co_aio(QemuIo *io, const IoRequestSyntax *syntax, int argc, char **argv)
{
    AioRequest *aio = g_new0(AioRequest, 1);
    int ret;

    aio->io = io;
    ret = qemuio_request_parse(&aio->req, syntax, argc, argv);
    if (ret >= 0 && !aio->req.invalid) {
        ret = qemuio_request_fill(io, &aio->req);
    }
    if (ret < 0 || aio->req.invalid) {
        if (ret >= 0) {
            count_invalid(io, syntax->kind);
        }
        aio_free(aio);
        return ret;
    }
    io->aio_in_flight++;
    aio_co_enter(qemu_get_current_aio_context(), qemu_coroutine_create(co_run_request, aio));
    return 0;
}

static int coroutine_fn co_aio_read(QemuIo *io, int argc, char **argv)
{
    static const IoRequestSyntax syntax = { io_aio_commands, IO_REQUEST_READ, "CP:iqrv", true };

    return co_aio(io, &syntax, argc, argv);
}

static int coroutine_fn co_aio_write(QemuIo *io, int argc, char **argv)
{
    static const IoRequestSyntax syntax = { io_aio_commands, IO_REQUEST_WRITE, "CfiP:qruz", true };

    return co_aio(io, &syntax, argc, argv);
}

static int coroutine_fn co_aio_discard(QemuIo *io, int argc, char **argv)
{
    static const IoRequestSyntax syntax = { io_aio_commands, IO_REQUEST_DISCARD, "Cq", false };

    return co_aio(io, &syntax, argc, argv);
}

static int coroutine_fn co_aio_flush(QemuIo *io, int argc, char **argv)
{
    qemuio_co_wait_aio(io);
    return 0;
}

const IoCommand io_aio_commands[] = {
    { "aio_read", NULL, 2, -1, "[-Ciqrv] [-P pattern] off len [len..]",
      "asynchronously reads a number of bytes",
      "\n starts a read and goes on; aio_flush waits for it; options as for read\n"
      " -i, -- count an invalid request instead\n",
      false, BLK_PERM_CONSISTENT_READ, co_aio_read },
    { "aio_write", NULL, 2, -1, "[-Cfiqruz] [-P pattern] off len [len..]",
      "asynchronously writes a number of bytes",
      "\n starts a write and goes on; aio_flush waits for it; options as for write\n"
      " -i, -- count an invalid request instead\n",
      false, BLK_PERM_WRITE, co_aio_write },
    { "aio_discard", NULL, 2, -1, "[-Cq] off len", "asynchronously discards a number of bytes",
      NULL, false, BLK_PERM_WRITE, co_aio_discard },
    { "aio_flush", NULL, 0, 0, "", "completes all outstanding aio requests", NULL, false, 0,
      co_aio_flush },
    { .name = NULL },
};
