/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * read, write, readv, writev, discard, flush: one request at a time.
 */
#include "qemu/osdep.h"

#include "block/snapshot.h"
#include "qemu-io.h"

#include <getopt.h>

#define READ_PATTERN 0xab
#define WRITE_PATTERN 0xcd

typedef struct ReadArgs {
    bool machine, quiet, dump, vm_state;
    bool check;
    int pattern;
    int64_t check_offset, check_len;
    bool has_check_len, has_check_range;
} ReadArgs;

/* Two numbers behind the options: offset and length, the latter within a request's limit. */
static int get_range(char **argv, const char *limit_note, int64_t *offset, int64_t *len)
{
    *offset = qemuio_number(argv[optind]);
    if (*offset < 0) {
        return *offset;
    }
    *len = qemuio_number(argv[optind + 1]);
    if (*len < 0) {
        return *len;
    }
    if (limit_note && *len > BDRV_REQUEST_MAX_BYTES) {
        printf("length cannot exceed %" PRId64 "%s, given %s\n", (int64_t)BDRV_REQUEST_MAX_BYTES,
               limit_note, argv[optind + 1]);
        return -EINVAL;
    }
    return 0;
}

/* Compare what was read; true if there is nothing to complain of. */
static bool verify(const ReadArgs *args, const uint8_t *buf, int64_t offset)
{
    if (!args->check || qemuio_is_pattern(buf + args->check_offset, args->pattern,
                                          args->check_len)) {
        return true;
    }
    printf("Pattern verification failed at offset %" PRId64 ", %" PRId64 " bytes\n",
           offset + args->check_offset, args->check_len);
    return false;
}

/* The state of a machine is accessed in whole sectors. */
static int check_vm_range(int64_t offset, int64_t len)
{
    if (QEMU_IS_ALIGNED(offset, BDRV_SECTOR_SIZE) && QEMU_IS_ALIGNED(len, BDRV_SECTOR_SIZE)) {
        return 0;
    }
    if (!QEMU_IS_ALIGNED(offset, BDRV_SECTOR_SIZE)) {
        printf("%" PRId64 " is not a sector-aligned value for 'offset'\n", offset);
    } else {
        printf("%" PRId64 " is not a sector-aligned value for 'count'\n", len);
    }
    return -EINVAL;
}

static int parse_read_options(ReadArgs *args, int argc, char **argv, const char *options)
{
    int c;

    while ((c = getopt(argc, argv, options)) != -1) {
        switch (c) {
        case 'C':
            args->machine = true;
            break;
        case 'q':
            args->quiet = true;
            break;
        case 'v':
            args->dump = true;
            break;
        case 'a':
        case 'p':
        case 'r':
            break; /* once meant something; scripts still say it */
        case 'b':
            args->vm_state = true;
            break;
        case 'P':
            args->check = true;
            args->pattern = qemuio_pattern(optarg);
            if (args->pattern < 0) {
                return -EINVAL;
            }
            break;
        case 's':
        case 'l': {
            int64_t value = qemuio_number(optarg);

            if (value < 0) {
                return value;
            }
            *(c == 's' ? &args->check_offset : &args->check_len) = value;
            args->has_check_range = true;
            args->has_check_len |= c == 'l';
            break;
        }
        default:
            return qemuio_usage(io_rw_commands, argv[0]);
        }
    }
    return args->has_check_range && !args->check ? qemuio_usage(io_rw_commands, argv[0]) : 0;
}

static int fit_check_range(ReadArgs *args, int64_t len)
{
    if (!args->has_check_len) {
        args->check_len = MAX(len - args->check_offset, 0);
    }
    if (args->check_offset > len || args->check_len > len - args->check_offset ||
        (args->check_offset == len && args->has_check_range && len)) {
        printf("pattern verification range exceeds end of read data\n");
        return -EINVAL;
    }
    return 0;
}

static int coroutine_fn co_do_read(QemuIo *io, ReadArgs *args, int64_t offset, QEMUIOVector *qiov,
                                   uint8_t *buf)
{
    int64_t start = qemuio_now_ns();
    int ret = args->vm_state ? bdrv_co_load_vmstate(blk_bs(io->blk), qiov, offset)
                             : blk_co_preadv(io->blk, offset, qiov->size, qiov, 0);
    bool good;

    if (ret < 0) {
        printf("read failed: %s\n", strerror(-ret));
        return ret;
    }
    good = verify(args, buf, offset);
    if (!args->quiet) {
        if (args->dump) {
            qemuio_dump(buf, offset, qiov->size);
        }
        qemuio_report("read", start, offset, qiov->size, qiov->size, args->machine);
    }
    return good ? 0 : -EINVAL;
}

static int coroutine_fn co_read(QemuIo *io, int argc, char **argv)
{
    ReadArgs args = { 0 };
    int64_t offset, len;
    QEMUIOVector qiov;
    uint8_t *buf;
    int ret = parse_read_options(&args, argc, argv, "abCl:pP:qrs:v");

    if (ret < 0) {
        return ret;
    }
    if (optind != argc - 2) {
        return qemuio_usage(io_rw_commands, argv[0]);
    }
    ret = get_range(argv, "", &offset, &len);
    if (ret >= 0 && args.vm_state) {
        ret = check_vm_range(offset, len);
    }
    if (ret >= 0) {
        ret = fit_check_range(&args, len);
    }
    if (ret < 0) {
        return ret;
    }
    buf = qemuio_buffer(io, len, READ_PATTERN);
    qemu_iovec_init_buf(&qiov, buf, len);
    ret = co_do_read(io, &args, offset, &qiov, buf);
    qemuio_buffer_free(io, buf);
    return ret;
}

/* The lengths behind the offset, over one buffer. */
static int make_iovec(QemuIo *io, int argc, char **argv, int pattern, QEMUIOVector *qiov,
                      uint8_t **buf)
{
    g_autofree int64_t *lens = g_new(int64_t, argc);
    int64_t total = 0;
    uint8_t *p;

    for (int i = 0; i < argc; i++) {
        lens[i] = qemuio_number(argv[i]);
        if (lens[i] < 0) {
            return lens[i];
        }
        if (lens[i] > BDRV_REQUEST_MAX_BYTES - total) {
            printf("Argument '%s' exceeds maximum size %" PRId64 "\n", argv[i],
                   (int64_t)BDRV_REQUEST_MAX_BYTES);
            return -EINVAL;
        }
        total += lens[i];
    }
    *buf = p = qemuio_buffer(io, total, pattern);
    qemu_iovec_init(qiov, argc);
    for (int i = 0; i < argc; i++) {
        qemu_iovec_add(qiov, p, lens[i]);
        p += lens[i];
    }
    return 0;
}

static int coroutine_fn co_readv(QemuIo *io, int argc, char **argv)
{
    ReadArgs args = { 0 };
    QEMUIOVector qiov;
    int64_t offset;
    uint8_t *buf;
    int ret = parse_read_options(&args, argc, argv, "CP:qrv");

    if (ret < 0) {
        return ret;
    }
    if (optind > argc - 2) {
        return qemuio_usage(io_rw_commands, argv[0]);
    }
    offset = qemuio_number(argv[optind]);
    if (offset < 0) {
        return offset;
    }
    ret = make_iovec(io, argc - optind - 1, argv + optind + 1, READ_PATTERN, &qiov, &buf);
    if (ret < 0) {
        return ret;
    }
    args.check_len = qiov.size;
    ret = co_do_read(io, &args, offset, &qiov, buf);
    qemu_iovec_destroy(&qiov);
    qemuio_buffer_free(io, buf);
    return ret;
}

typedef struct WriteArgs {
    bool machine, quiet, compressed, zeroes, has_pattern, no_fallback, vm_state;
    int pattern;
    const char *source;
    unsigned flags;
} WriteArgs;

static int parse_write_options(WriteArgs *args, int argc, char **argv, const char *options)
{
    int c;

    args->pattern = WRITE_PATTERN;
    while ((c = getopt(argc, argv, options)) != -1) {
        switch (c) {
        case 'b':
            args->vm_state = true;
            break;
        case 'c':
            args->compressed = true;
            break;
        case 'C':
            args->machine = true;
            break;
        case 'f':
            args->flags |= BDRV_REQ_FUA;
            break;
        case 'n':
            args->flags |= BDRV_REQ_NO_FALLBACK;
            break;
        case 'p':
        case 'r':
            break; /* once meant something; scripts still say it */
        case 'q':
            args->quiet = true;
            break;
        case 'u':
            args->flags |= BDRV_REQ_MAY_UNMAP;
            break;
        case 'z':
            args->zeroes = true;
            break;
        case 's':
            args->source = optarg;
            break;
        case 'P':
            args->has_pattern = true;
            args->pattern = qemuio_pattern(optarg);
            if (args->pattern < 0) {
                return -EINVAL;
            }
            break;
        default:
            return qemuio_usage(io_rw_commands, argv[0]);
        }
    }
    return 0;
}

static int check_write_args(const WriteArgs *args)
{
    const char *what = NULL;

    if (args->vm_state && args->zeroes) {
        what = "-b and -z cannot be specified at the same time";
    } else if ((args->flags & BDRV_REQ_FUA) && args->vm_state) {
        what = "-f and -b or -c cannot be specified at the same time";
    } else if (args->vm_state && args->compressed) {
        what = "-b and -c cannot be specified at the same time";
    } else if ((args->flags & BDRV_REQ_FUA) && args->compressed) {
        what = "-c and -f cannot be specified at the same time";
    } else if (args->compressed && args->zeroes) {
        what = "-c and -z cannot be specified at the same time";
    } else if ((args->flags & BDRV_REQ_NO_FALLBACK) && !args->zeroes) {
        what = "-n requires -z to be specified";
    } else if ((args->flags & BDRV_REQ_MAY_UNMAP) && !args->zeroes) {
        what = "-u requires -z to be specified";
    } else if (args->zeroes + args->has_pattern + !!args->source > 1) {
        what = "Only one of -z, -P, and -s can be specified at the same time";
    }
    if (what) {
        printf("%s\n", what);
    }
    return what ? -EINVAL : 0;
}

/* Fill @buf with the content of a file, over and over. */
static int fill_from_file(const char *name, uint8_t *buf, int64_t len)
{
    g_autoptr(GError) err = NULL;
    g_autofree char *content = NULL;
    g_autofree char *display = g_filename_display_name(name);
    gsize size;

    if (!g_file_get_contents(name, &content, &size, &err)) {
        fprintf(stderr, "%s: %s\n", display,
                g_error_matches(err, G_FILE_ERROR, G_FILE_ERROR_NOENT)
                    ? "No such file or directory" : err->message);
        return -EINVAL;
    }
    if (size == 0) {
        fprintf(stderr, "%s: file is empty\n", display);
        return -EINVAL;
    }
    for (int64_t done = 0; done < len; done += size) {
        memcpy(buf + done, content, MIN((int64_t)size, len - done));
    }
    return 0;
}

static int coroutine_fn co_do_write(QemuIo *io, const WriteArgs *args, int64_t offset, int64_t len)
{
    unsigned flags = args->flags | (args->compressed ? BDRV_REQ_WRITE_COMPRESSED : 0);
    uint8_t *buf;
    int ret;

    if (args->zeroes) {
        return blk_co_pwrite_zeroes(io->blk, offset, len, flags);
    }
    buf = qemuio_buffer(io, len, args->pattern);
    ret = args->source ? fill_from_file(args->source, buf, len) : 0;
    if (ret >= 0 && args->vm_state) {
        QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, len);

        ret = bdrv_co_save_vmstate(blk_bs(io->blk), &qiov, offset);
    } else if (ret >= 0) {
        ret = blk_co_pwrite(io->blk, offset, len, buf, flags);
    } else {
        ret = -ECANCELED; /* the user knows already */
    }
    qemuio_buffer_free(io, buf);
    return ret;
}

static int write_result(const WriteArgs *args, int64_t start, int64_t offset, int64_t len, int ret)
{
    if (ret < 0) {
        if (ret != -ECANCELED) {
            printf("write failed: %s\n", strerror(-ret));
        }
        return ret;
    }
    if (!args->quiet) {
        qemuio_report("wrote", start, offset, len, len, args->machine);
    }
    return 0;
}

static int coroutine_fn co_write(QemuIo *io, int argc, char **argv)
{
    WriteArgs args = { 0 };
    int64_t offset, len, start;
    int ret = parse_write_options(&args, argc, argv, "bcCfnpP:qrs:uz");

    if (ret < 0) {
        return ret;
    }
    if (optind != argc - 2) {
        return qemuio_usage(io_rw_commands, argv[0]);
    }
    ret = check_write_args(&args);
    if (ret >= 0) {
        bool unlimited = args.zeroes && (args.flags & BDRV_REQ_NO_FALLBACK);

        ret = get_range(argv, unlimited ? NULL : " without -n", &offset, &len);
    }
    if (ret >= 0 && args.vm_state) {
        ret = check_vm_range(offset, len);
    }
    if (ret < 0) {
        return ret;
    }
    start = qemuio_now_ns();
    return write_result(&args, start, offset, len, co_do_write(io, &args, offset, len));
}

static int coroutine_fn co_writev(QemuIo *io, int argc, char **argv)
{
    WriteArgs args = { 0 };
    QEMUIOVector qiov;
    int64_t offset, start;
    uint8_t *buf;
    int ret = parse_write_options(&args, argc, argv, "CfP:qr");

    if (ret < 0) {
        return ret;
    }
    if (optind > argc - 2) {
        return qemuio_usage(io_rw_commands, argv[0]);
    }
    offset = qemuio_number(argv[optind]);
    if (offset < 0) {
        return offset;
    }
    ret = make_iovec(io, argc - optind - 1, argv + optind + 1, args.pattern, &qiov, &buf);
    if (ret < 0) {
        return ret;
    }
    start = qemuio_now_ns();
    ret = blk_co_pwritev(io->blk, offset, qiov.size, &qiov, args.flags);
    ret = write_result(&args, start, offset, qiov.size, ret);
    qemu_iovec_destroy(&qiov);
    qemuio_buffer_free(io, buf);
    return ret;
}

static int coroutine_fn co_discard(QemuIo *io, int argc, char **argv)
{
    WriteArgs args = { 0 };
    int64_t offset, len, start;
    int ret = parse_write_options(&args, argc, argv, "Cq");

    if (ret < 0) {
        return ret;
    }
    if (optind != argc - 2) {
        return qemuio_usage(io_rw_commands, argv[0]);
    }
    ret = get_range(argv, "", &offset, &len);
    if (ret < 0) {
        return ret;
    }
    start = qemuio_now_ns();
    ret = blk_co_pdiscard(io->blk, offset, len);
    if (ret < 0) {
        printf("discard failed: %s\n", strerror(-ret));
        return ret;
    }
    if (!args.quiet) {
        qemuio_report("discard", start, offset, len, len, args.machine);
    }
    return 0;
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
