/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * aio_read, aio_write, aio_discard, aio_flush: several requests at a time.  Each is a coroutine of
 * its own, which reports when it is done.
 */
#include "qemu/osdep.h"

#include "qemu-io.h"

#include <getopt.h>

typedef enum AioKind { AIO_KIND_READ, AIO_KIND_WRITE, AIO_KIND_DISCARD } AioKind;

typedef struct AioRequest {
    QemuIo *io;
    AioKind kind;
    int64_t offset, bytes, start;
    unsigned flags;
    bool machine, quiet, dump, check, zeroes;
    int pattern;
    uint8_t *buf;
    QEMUIOVector qiov;
} AioRequest;

static void report(AioRequest *req, int ret)
{
    static const char *const failed[] = { "readv failed", "aio_write failed",
                                         "aio_discard failed" };
    static const char *const done[] = { "read", "wrote", "discarded " };

    if (ret < 0) {
        printf("%s: %s\n", failed[req->kind], strerror(-ret));
        return;
    }
    if (req->check && !qemuio_is_pattern(req->buf, req->pattern, req->bytes)) {
        printf("Pattern verification failed at offset %" PRId64 ", %" PRId64 " bytes\n",
               req->offset, req->bytes);
    }
    if (!req->quiet) {
        if (req->dump) {
            qemuio_dump(req->buf, req->offset, req->bytes);
        }
        qemuio_report(done[req->kind], req->start, req->offset, req->bytes, req->bytes,
                      req->machine);
    }
}

static void request_free(AioRequest *req)
{
    if (req->buf) {
        qemu_iovec_destroy(&req->qiov);
        qemuio_buffer_free(req->io, req->buf);
    }
    g_free(req);
}

static void coroutine_fn co_run_request(void *opaque)
{
    AioRequest *req = opaque;
    QemuIo *io = req->io;
    int ret;

    if (req->kind == AIO_KIND_READ) {
        ret = blk_co_preadv(io->blk, req->offset, req->bytes, &req->qiov, req->flags);
    } else if (req->kind == AIO_KIND_DISCARD) {
        ret = blk_co_pdiscard(io->blk, req->offset, req->bytes);
    } else if (req->zeroes) {
        ret = blk_co_pwrite_zeroes(io->blk, req->offset, req->bytes, req->flags);
    } else {
        ret = blk_co_pwritev(io->blk, req->offset, req->bytes, &req->qiov, req->flags);
    }
    report(req, ret);
    request_free(req);
    if (--io->aio_in_flight == 0) {
        qemu_co_queue_restart_all(&io->aio_done);
    }
}

static void start(AioRequest *req)
{
    req->start = qemuio_now_ns();
    req->io->aio_in_flight++;
    aio_co_enter(qemu_get_current_aio_context(), qemu_coroutine_create(co_run_request, req));
}

void coroutine_fn qemuio_co_wait_aio(QemuIo *io)
{
    while (io->aio_in_flight) {
        qemu_co_queue_wait(&io->aio_done, NULL);
    }
}

/* 1: go on; else what the command returns. */
static int parse_options(AioRequest *req, int argc, char **argv, const char *options)
{
    int c;

    while ((c = getopt(argc, argv, options)) != -1) {
        switch (c) {
        case 'C':
            req->machine = true;
            break;
        case 'f':
            req->flags |= BDRV_REQ_FUA;
            break;
        case 'i':
            printf("injecting invalid %s request\n",
                   req->kind == AIO_KIND_READ ? "read" : "write");
            block_acct_invalid(blk_get_stats(req->io->blk),
                               req->kind == AIO_KIND_READ ? BLOCK_ACCT_READ : BLOCK_ACCT_WRITE);
            return 0;
        case 'P':
            req->check = req->kind == AIO_KIND_READ;
            req->pattern = qemuio_pattern(optarg);
            if (req->pattern < 0) {
                return -EINVAL;
            }
            break;
        case 'q':
            req->quiet = true;
            break;
        case 'r':
            break; /* once meant something; scripts still say it */
        case 'u':
            req->flags |= BDRV_REQ_MAY_UNMAP;
            break;
        case 'v':
            req->dump = true;
            break;
        case 'z':
            req->zeroes = true;
            break;
        default:
            return qemuio_usage(io_aio_commands, argv[0]);
        }
    }
    return optind > argc - 2 ? qemuio_usage(io_aio_commands, argv[0]) : 1;
}

/* Offset and lengths behind the options. */
static int parse_range(AioRequest *req, int argc, char **argv)
{
    req->offset = qemuio_number(argv[optind]);
    if (req->offset < 0) {
        return req->offset;
    }
    for (int i = optind + 1; i < argc; i++) {
        int64_t len = qemuio_number(argv[i]);

        if (len < 0) {
            return len;
        }
        if (len > BDRV_REQUEST_MAX_BYTES - req->bytes) {
            printf("length cannot exceed %" PRId64 ", given %s\n",
                   (int64_t)BDRV_REQUEST_MAX_BYTES, argv[i]);
            return -EINVAL;
        }
        req->bytes += len;
    }
    return 0;
}

static int coroutine_fn co_aio(QemuIo *io, AioKind kind, const char *options, int argc, char **argv)
{
    AioRequest *req = g_new0(AioRequest, 1);
    int ret;

    req->io = io;
    req->kind = kind;
    req->pattern = kind == AIO_KIND_WRITE ? 0xcd : 0xab;
    ret = parse_options(req, argc, argv, options);
    if (ret == 1 && (req->flags & BDRV_REQ_MAY_UNMAP) && !req->zeroes) {
        printf("-u requires -z to be specified\n");
        ret = -EINVAL;
    }
    if (ret == 1 && req->zeroes && optind != argc - 2) {
        printf("-z supports only a single length parameter\n");
        ret = -EINVAL;
    }
    if (ret == 1) {
        ret = parse_range(req, argc, argv);
        ret = ret < 0 ? ret : 1;
    }
    if (ret != 1) {
        request_free(req);
        return ret;
    }
    if (kind != AIO_KIND_DISCARD && !req->zeroes) {
        req->buf = qemuio_buffer(io, req->bytes, req->check ? 0xab : req->pattern);
        qemu_iovec_init(&req->qiov, 1);
        qemu_iovec_add(&req->qiov, req->buf, req->bytes);
    }
    start(req);
    return 0;
}

static int coroutine_fn co_aio_read(QemuIo *io, int argc, char **argv)
{
    return co_aio(io, AIO_KIND_READ, "CP:iqrv", argc, argv);
}

static int coroutine_fn co_aio_write(QemuIo *io, int argc, char **argv)
{
    return co_aio(io, AIO_KIND_WRITE, "CfiP:qruz", argc, argv);
}

static int coroutine_fn co_aio_discard(QemuIo *io, int argc, char **argv)
{
    return co_aio(io, AIO_KIND_DISCARD, "Cq", argc, argv);
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
