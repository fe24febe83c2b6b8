/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What commands that read, write and discard share: options, ranges, buffers, checks, reports.
 */
#include "qemu/osdep.h"

#include "block/snapshot.h"
#include "qemu-io.h"

#include <getopt.h>

#define READ_PATTERN 0xab
#define WRITE_PATTERN 0xcd

/* ---- the command line ---- */

/* An option with a value. */
static int parse_value(IoRequest *req, int option)
{
    int64_t value;

    if (option == 'P') {
        req->has_pattern = true;
        req->pattern = qemuio_pattern(optarg);
        return req->pattern < 0 ? -EINVAL : 0;
    }
    if (option == 's' && req->kind == IO_REQUEST_WRITE) {
        req->source = optarg;
        return 0;
    }
    value = qemuio_number(optarg);
    if (value < 0) {
        return value;
    }
    *(option == 's' ? &req->check_offset : &req->check_len) = value;
    req->has_check_range = true;
    req->has_check_len |= option == 'l';
    return 0;
}

static int parse_options(IoRequest *req, const IoRequestSyntax *syntax, int argc, char **argv)
{
    static const struct {
        char letter;
        unsigned flag; /* of the request; or */
        size_t member; /* the bool that says it */
    } plain[] = {
        { 'C', 0, offsetof(IoRequest, machine) },
        { 'b', 0, offsetof(IoRequest, vm_state) },
        { 'c', 0, offsetof(IoRequest, compressed) },
        { 'f', BDRV_REQ_FUA, 0 },
        { 'i', 0, offsetof(IoRequest, invalid) },
        { 'n', BDRV_REQ_NO_FALLBACK, 0 },
        { 'q', 0, offsetof(IoRequest, quiet) },
        { 'u', BDRV_REQ_MAY_UNMAP, 0 },
        { 'v', 0, offsetof(IoRequest, dump) },
        { 'z', 0, offsetof(IoRequest, zeroes) },
    };
    int c;

    while ((c = getopt(argc, argv, syntax->options)) != -1) {
        if (c == '?') {
            return qemuio_usage(syntax->table, argv[0]);
        }
        if (optarg) {
            int ret = parse_value(req, c);

            if (ret < 0) {
                return ret;
            }
            continue;
        }
        /* -a, -p and -r once meant something; scripts still say them. */
        for (unsigned i = 0; i < ARRAY_SIZE(plain); i++) {
            if (plain[i].letter == c && plain[i].flag) {
                req->flags |= plain[i].flag;
            } else if (plain[i].letter == c) {
                *(bool *)((char *)req + plain[i].member) = true;
            }
        }
    }
    return 0;
}

static int check_options(const IoRequest *req, bool vector)
{
    bool fua = req->flags & BDRV_REQ_FUA;
    const char *what = NULL;

    if (req->vm_state && req->zeroes) {
        what = "-b and -z cannot be specified at the same time";
    } else if (fua && req->vm_state) {
        what = "-f and -b or -c cannot be specified at the same time";
    } else if (req->vm_state && req->compressed) {
        what = "-b and -c cannot be specified at the same time";
    } else if (fua && req->compressed) {
        what = "-c and -f cannot be specified at the same time";
    } else if (req->compressed && req->zeroes) {
        what = "-c and -z cannot be specified at the same time";
    } else if ((req->flags & BDRV_REQ_NO_FALLBACK) && !req->zeroes) {
        what = "-n requires -z to be specified";
    } else if ((req->flags & BDRV_REQ_MAY_UNMAP) && !req->zeroes) {
        what = "-u requires -z to be specified";
    } else if (!vector && req->zeroes + req->has_pattern + !!req->source > 1) {
        what = "Only one of -z, -P, and -s can be specified at the same time";
    } else if (req->zeroes && req->n_lens != 1) {
        what = "-z supports only a single length parameter";
    }
    if (what) {
        printf("%s\n", what);
    }
    return what ? -EINVAL : 0;
}

/* A length of a request, which has a limit, unless it is one that needs no buffer ever. */
static int64_t parse_length(const IoRequest *req, const IoRequestSyntax *syntax, const char *text)
{
    bool unlimited = req->zeroes && (req->flags & BDRV_REQ_NO_FALLBACK);
    int64_t len = qemuio_number(text);

    if (len < 0 || unlimited || len <= BDRV_REQUEST_MAX_BYTES - req->bytes) {
        return len;
    }
    if (syntax->vector) {
        printf("Argument '%s' exceeds maximum size %" PRId64 "\n", text,
               (int64_t)BDRV_REQUEST_MAX_BYTES);
    } else {
        printf("length cannot exceed %" PRId64 "%s, given %s\n", (int64_t)BDRV_REQUEST_MAX_BYTES,
               req->kind == IO_REQUEST_WRITE ? " without -n" : "", text);
    }
    return -EINVAL;
}

/* Offset and lengths, which stand behind the options. */
static int parse_range(IoRequest *req, const IoRequestSyntax *syntax, char **words)
{
    req->offset = qemuio_number(words[0]);
    if (req->offset < 0) {
        return req->offset;
    }
    req->lens = g_new(int64_t, req->n_lens);
    for (int i = 0; i < req->n_lens; i++) {
        req->lens[i] = parse_length(req, syntax, words[i + 1]);
        if (req->lens[i] < 0) {
            return req->lens[i];
        }
        req->bytes += req->lens[i];
    }
    return 0;
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

/* What is to be compared lies within what is read. */
static int fit_check_range(IoRequest *req)
{
    if (!req->has_check_len) {
        req->check_len = MAX(req->bytes - req->check_offset, 0);
    }
    if (req->check_offset > req->bytes || req->check_len > req->bytes - req->check_offset ||
        (req->check_offset == req->bytes && req->has_check_range && req->bytes)) {
        printf("pattern verification range exceeds end of read data\n");
        return -EINVAL;
    }
    return 0;
}

int qemuio_request_parse(IoRequest *req, const IoRequestSyntax *syntax, int argc, char **argv)
{
    int ret;

    *req = (IoRequest){
        .kind = syntax->kind,
        .pattern = syntax->kind == IO_REQUEST_WRITE ? WRITE_PATTERN : READ_PATTERN,
    };
    ret = parse_options(req, syntax, argc, argv);
    if (ret < 0 || req->invalid) {
        return ret;
    }
    req->n_lens = argc - optind - 1;
    if (req->n_lens < 1 || (req->n_lens > 1 && !syntax->vector) ||
        (req->has_check_range && !req->has_pattern)) {
        return qemuio_usage(syntax->table, argv[0]);
    }
    ret = check_options(req, syntax->vector);
    if (ret >= 0) {
        ret = parse_range(req, syntax, argv + optind);
    }
    if (ret >= 0 && req->vm_state) {
        ret = check_vm_range(req->offset, req->bytes);
    }
    if (ret >= 0 && req->kind == IO_REQUEST_READ) {
        ret = fit_check_range(req);
    }
    return ret;
}

/* ---- the data ---- */

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

int qemuio_request_fill(QemuIo *io, IoRequest *req)
{
    uint8_t *p;

    if (req->kind == IO_REQUEST_DISCARD || req->zeroes) {
        return 0;
    }
    p = req->buf = qemuio_buffer(io, req->bytes,
                                 req->kind == IO_REQUEST_READ ? READ_PATTERN : req->pattern);
    qemu_iovec_init(&req->qiov, req->n_lens);
    for (int i = 0; i < req->n_lens; i++) {
        qemu_iovec_add(&req->qiov, p, req->lens[i]);
        p += req->lens[i];
    }
    return req->source ? fill_from_file(req->source, req->buf, req->bytes) : 0;
}

void qemuio_request_clear(QemuIo *io, IoRequest *req)
{
    if (req->buf) {
        qemu_iovec_destroy(&req->qiov);
        qemuio_buffer_free(io, req->buf);
        req->buf = NULL;
    }
    g_clear_pointer(&req->lens, g_free);
}

int coroutine_fn qemuio_co_request(QemuIo *io, IoRequest *req)
{
    unsigned flags = req->flags | (req->compressed ? BDRV_REQ_WRITE_COMPRESSED : 0);
    bool is_write = req->kind == IO_REQUEST_WRITE;

    req->start_ns = qemuio_now_ns();
    if (req->kind == IO_REQUEST_DISCARD) {
        return blk_co_pdiscard(io->blk, req->offset, req->bytes);
    }
    if (req->zeroes) {
        return blk_co_pwrite_zeroes(io->blk, req->offset, req->bytes, flags);
    }
    if (req->vm_state) {
        return is_write ? bdrv_co_save_vmstate(blk_bs(io->blk), &req->qiov, req->offset)
                        : bdrv_co_load_vmstate(blk_bs(io->blk), &req->qiov, req->offset);
    }
    return is_write ? blk_co_pwritev(io->blk, req->offset, req->bytes, &req->qiov, flags)
                    : blk_co_preadv(io->blk, req->offset, req->bytes, &req->qiov, flags);
}

bool qemuio_request_verify(const IoRequest *req)
{
    if (req->kind != IO_REQUEST_READ || !req->has_pattern ||
        qemuio_is_pattern(req->buf + req->check_offset, req->pattern, req->check_len)) {
        return true;
    }
    printf("Pattern verification failed at offset %" PRId64 ", %" PRId64 " bytes\n",
           req->offset + req->check_offset, req->check_len);
    return false;
}

void qemuio_request_report(const IoRequest *req, const char *done)
{
    if (req->quiet) {
        return;
    }
    if (req->dump) {
        qemuio_dump(req->buf, req->offset, req->bytes);
    }
    qemuio_report(done, req->start_ns, req->offset, req->bytes, req->bytes, req->machine);
}
