/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * read, write, readv, writev, discard, flush: one request at a time.
 */
#include "qemu/osdep.h"

#include "qemu-io.h"

static int coroutine_fn co_one(QemuIo *io, const IoRequestSyntax *syntax, int argc, char **argv)
{
    static const char *const failed[] = { "read", "write", "discard" };
    static const char *const done[] = { "read", "wrote", "discard" };
    IoRequest req;
    int ret = qemuio_request_parse(&req, syntax, argc, argv);

    if (ret >= 0) {
        ret = qemuio_request_fill(io, &req);
    }
    if (ret >= 0) {
        ret = qemuio_co_request(io, &req);
        if (ret < 0) {
            printf("%s failed: %s\n", failed[syntax->kind], strerror(-ret));
        } else {
            ret = qemuio_request_verify(&req) ? 0 : -EINVAL;
            qemuio_request_report(&req, done[syntax->kind]);
        }
    }
    qemuio_request_clear(io, &req);
    return ret;
}

static int coroutine_fn co_read(QemuIo *io, int argc, char **argv)
{
    static const IoRequestSyntax syntax = { io_rw_commands, IO_REQUEST_READ, "abCl:pP:qrs:v",
                                            false };

    return co_one(io, &syntax, argc, argv);
}

static int coroutine_fn co_readv(QemuIo *io, int argc, char **argv)
{
    static const IoRequestSyntax syntax = { io_rw_commands, IO_REQUEST_READ, "CP:qrv", true };

    return co_one(io, &syntax, argc, argv);
}

static int coroutine_fn co_write(QemuIo *io, int argc, char **argv)
{
    static const IoRequestSyntax syntax = { io_rw_commands, IO_REQUEST_WRITE, "bcCfnpP:qrs:uz",
                                            false };

    return co_one(io, &syntax, argc, argv);
}

static int coroutine_fn co_writev(QemuIo *io, int argc, char **argv)
{
    static const IoRequestSyntax syntax = { io_rw_commands, IO_REQUEST_WRITE, "CfP:qr", true };

    return co_one(io, &syntax, argc, argv);
}

static int coroutine_fn co_discard(QemuIo *io, int argc, char **argv)
{
    static const IoRequestSyntax syntax = { io_rw_commands, IO_REQUEST_DISCARD, "Cq", false };

    return co_one(io, &syntax, argc, argv);
}

static int coroutine_fn co_flush(QemuIo *io, int argc, char **argv)
{
    int ret = blk_co_flush(io->blk);

    if (ret < 0) {
        printf("flush failed: %s\n", strerror(-ret));
    }
    return ret;
}

const IoCommand io_rw_commands[] = {
    { "read", "r", 2, -1, "[-abCqrv] [-P pattern [-s off] [-l len]] off len",
      "reads a number of bytes at a specified offset",
      "\n reads a range of bytes from the given offset\n\n"
      " Example:\n 'read -v 512 1k' - dumps 1 KiB, read from byte 512 on\n\n"
      " -C, -- numbers for programs instead of text\n"
      " -l, -- how many bytes to verify (with -P)\n"
      " -P, -- verify that each byte is this one\n"
      " -q, -- no report\n"
      " -s, -- from where in the data to verify (with -P)\n"
      " -v, -- dump what was read\n",
      false, BLK_PERM_CONSISTENT_READ, co_read },
    { "readv", NULL, 2, -1, "[-Cqrv] [-P pattern] off len [len..]",
      "reads a number of bytes at a specified offset",
      "\n reads into several buffers, one for each length; options as for read\n",
      false, BLK_PERM_CONSISTENT_READ, co_readv },
    { "write", "w", 2, -1, "[-bcCfnqruz] [-P pattern | -s source_file] off len",
      "writes a number of bytes at a specified offset",
      "\n writes a range of bytes from the given offset, filled with 0xcd\n\n"
      " Example:\n 'write 512 1k' - writes 1 KiB from byte 512 on\n\n"
      " -c, -- compressed\n"
      " -C, -- numbers for programs instead of text\n"
      " -f, -- on stable storage when it is done (FUA)\n"
      " -n, -- with -z: fail rather than write buffers\n"
      " -P, -- fill with this byte\n"
      " -q, -- no report\n"
      " -s, -- fill with the content of a file, over and over\n"
      " -u, -- with -z: the range may become unallocated\n"
      " -z, -- write zeroes without data\n",
      false, BLK_PERM_WRITE, co_write },
    { "writev", NULL, 2, -1, "[-Cfqr] [-P pattern] off len [len..]",
      "writes a number of bytes at a specified offset",
      "\n writes from several buffers, one for each length; options as for write\n",
      false, BLK_PERM_WRITE, co_writev },
    { "discard", "d", 2, -1, "[-Cq] off len", "discards a number of bytes at a specified offset",
      NULL, false, BLK_PERM_WRITE, co_discard },
    { "flush", "f", 0, 0, "", "flush all in-core file state to disk", NULL, false, 0, co_flush },
    { .name = NULL },
};
