/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * open, close, reopen, and what can be asked or changed about a file as a whole.
 */
#include "qemu/osdep.h"

#include "qemu-io.h"

#include <getopt.h>

#include "block/graph.h"
#include "block/qapi.h"
#include "qobject/keyval.h"
#include "qobject/opts.h"

static QemuOptsList open_opts = {
    .name = "qemu-io",
    .implied_opt_name = NULL,
};

/* "a=b,c.d=e" to a flat dictionary. */
static QDict *parse_options(const char *text)
{
    Error *err = NULL;
    g_autoptr(QemuOpts) opts = qemu_opts_parse(&open_opts, text, false, &err);

    if (!opts) {
        error_report_err(err);
        return NULL;
    }
    return qemu_opts_to_qdict(opts, NULL);
}

/* ---- open and close -------------------------------------------------------------------------- */

bool coroutine_fn qemuio_co_open(QemuIo *io, IoOpen *open)
{
    Error *err = NULL;
    QDict *options = open->options;

    if (io->blk) {
        error_report("file open already, try 'help close'");
        qobject_unref(options);
        return false;
    }
    if (open->force_share) {
        options = options ? options : qdict_new();
        if (qdict_haskey(options, "force-share") &&
            strcmp(qdict_get_try_str(options, "force-share") ?: "", "on")) {
            error_report("-U conflicts with image options");
            qobject_unref(options);
            return false;
        }
        qdict_put_bool(options, "force-share", true);
    }
    bdrv_co_control_lock();
    io->blk = blk_co_new_open(open->filename, NULL, options, open->flags, &err);
    bdrv_co_control_unlock();
    if (!io->blk) {
        error_reportf_err(err, "can't open%s%s: ", open->filename ? " device " : "",
                          open->filename ? open->filename : "");
        return false;
    }
    blk_set_enable_write_cache(io->blk, !open->writethrough);
    return true;
}

bool coroutine_fn qemuio_co_close(QemuIo *io)
{
    unsigned failed = bdrv_failed_closes();

    if (io->blk) {
        qemuio_co_wait_aio(io);
        bdrv_co_control_lock();
        blk_co_unref(io->blk);
        bdrv_co_control_unlock();
        io->blk = NULL;
    }
    return bdrv_failed_closes() == failed;
}

static int coroutine_fn co_open(QemuIo *io, int argc, char **argv)
{
    IoOpen open = { .flags = BDRV_O_UNMAP | BDRV_O_RDWR };
    g_autoptr(QDict) options = NULL;
    int c;

    while ((c = getopt(argc, argv, "snCro:ki:t:d:U")) != -1) {
        switch (c) {
        case 's':
            open.flags |= BDRV_O_SNAPSHOT;
            break;
        case 'n':
            open.flags |= BDRV_O_NOCACHE;
            open.writethrough = false;
            break;
        case 'C':
            open.flags |= BDRV_O_COPY_ON_READ;
            break;
        case 'r':
            open.flags &= ~BDRV_O_RDWR;
            break;
        case 'k':
            open.flags |= BDRV_O_NATIVE_AIO;
            break;
        case 't':
            if (!bdrv_parse_cache_mode(optarg, &open.flags, &open.writethrough)) {
                error_report("Invalid cache option: %s", optarg);
                return -EINVAL;
            }
            break;
        case 'd':
            if (!bdrv_parse_discard_flags(optarg, &open.flags)) {
                error_report("Invalid discard option: %s", optarg);
                return -EINVAL;
            }
            break;
        case 'i':
            if (!bdrv_parse_aio(optarg, &open.flags)) {
                error_report("Invalid aio option: %s", optarg);
                return -EINVAL;
            }
            break;
        case 'o': {
            QDict *given = parse_options(optarg);

            if (!given) {
                return -EINVAL;
            }
            qobject_unref(options);
            options = given;
            break;
        }
        case 'U':
            open.force_share = true;
            break;
        default:
            return qemuio_usage(io_node_commands, argv[0]);
        }
    }
    if (optind < argc - 1 || (optind == argc && !options)) {
        return qemuio_usage(io_node_commands, argv[0]);
    }
    open.filename = argv[optind];
    open.options = g_steal_pointer(&options);
    return qemuio_co_open(io, &open) ? 0 : -EINVAL;
}

static int coroutine_fn co_close(QemuIo *io, int argc, char **argv)
{
    return qemuio_co_close(io) ? 0 : -EIO;
}

static int coroutine_fn co_quit(QemuIo *io, int argc, char **argv)
{
    io->quit = true;
    return 0;
}

/* ---- reopen ---------------------------------------------------------------------------------- */

typedef struct ReopenArgs {
    bool has_rw, writable, has_cache, writethrough;
    int flags;
    QDict *options;
} ReopenArgs;

static int parse_reopen(ReopenArgs *args, int argc, char **argv)
{
    int c;

    while ((c = getopt(argc, argv, "c:o:rw")) != -1) {
        switch (c) {
        case 'c':
            args->has_cache = true;
            if (!bdrv_parse_cache_mode(optarg, &args->flags, &args->writethrough)) {
                error_report("Invalid cache option: %s", optarg);
                return -EINVAL;
            }
            break;
        case 'o':
            qobject_unref(args->options);
            args->options = parse_options(optarg);
            if (!args->options) {
                return -EINVAL;
            }
            break;
        case 'r':
        case 'w':
            if (args->has_rw) {
                error_report("Only one -r/-w option may be given");
                return -EINVAL;
            }
            args->has_rw = true;
            args->writable = c == 'w';
            break;
        default:
            return qemuio_usage(io_node_commands, argv[0]);
        }
    }
    return optind != argc ? qemuio_usage(io_node_commands, argv[0]) : 0;
}

/* Put what -r, -w and -c say into the options. */
static int add_flags_to_options(ReopenArgs *args)
{
    args->options = args->options ? args->options : qdict_new();
    if (args->has_rw && qdict_haskey(args->options, "read-only")) {
        error_report("Cannot set both -r/-w and 'read-only'");
        return -EINVAL;
    }
    if (args->has_cache && (qdict_haskey(args->options, "cache.direct") ||
                            qdict_haskey(args->options, "cache.no-flush"))) {
        error_report("Cannot set both -c and the cache options");
        return -EINVAL;
    }
    if (args->has_rw) {
        qdict_put_bool(args->options, "read-only", !args->writable);
    }
    if (args->has_cache) {
        qdict_put_bool(args->options, "cache.direct", args->flags & BDRV_O_NOCACHE);
        qdict_put_bool(args->options, "cache.no-flush", args->flags & BDRV_O_NO_FLUSH);
    }
    return 0;
}

static int coroutine_fn co_reopen(QemuIo *io, int argc, char **argv)
{
    ReopenArgs args = { 0 };
    Error *err = NULL;
    uint64_t perm, shared;
    int ret = parse_reopen(&args, argc, argv);

    if (ret >= 0) {
        ret = add_flags_to_options(&args);
    }
    if (ret < 0) {
        qobject_unref(args.options);
        return ret;
    }
    bdrv_co_control_lock();
    blk_get_perm(io->blk, &perm, &shared);
    if (args.has_rw && !args.writable) {
        blk_co_set_perm(io->blk, perm & ~(BLK_PERM_WRITE | BLK_PERM_RESIZE), shared, &error_abort);
    }
    if (!bdrv_co_reopen(bdrv_skip_implicit_filters(blk_bs(io->blk)), args.options, true, &err)) {
        error_report_err(err);
        ret = -EINVAL;
    } else if (args.has_cache) {
        blk_set_enable_write_cache(io->blk, !args.writethrough);
    }
    bdrv_co_control_unlock();
    return ret;
}

/* ---- size ------------------------------------------------------------------------------------ */

static int coroutine_fn co_truncate(QemuIo *io, int argc, char **argv)
{
    PreallocMode mode = PREALLOC_MODE_OFF;
    Error *err = NULL;
    int64_t offset;
    int c;

    while ((c = getopt(argc, argv, "m:")) != -1) {
        if (c != 'm') {
            return qemuio_usage(io_node_commands, argv[0]);
        }
        c = qapi_enum_parse(&PreallocMode_lookup, optarg, -1, NULL);
        if (c < 0) {
            error_report("Invalid preallocation mode '%s'", optarg);
            return -EINVAL;
        }
        mode = c;
    }
    if (optind != argc - 1) {
        return qemuio_usage(io_node_commands, argv[0]);
    }
    offset = qemuio_number(argv[optind]);
    if (offset < 0) {
        return offset;
    }
    c = blk_co_truncate(io->blk, offset, false, mode, 0, &err);
    if (c < 0) {
        error_report_err(err);
    }
    return c;
}

static int coroutine_fn co_length(QemuIo *io, int argc, char **argv)
{
    int64_t len = blk_co_getlength(io->blk);
    g_autofree char *text = NULL;

    if (len < 0) {
        printf("getlength: %s\n", strerror(-len));
        return len;
    }
    text = qemuio_size(len);
    printf("%s\n", text);
    return 0;
}

/* ---- questions ------------------------------------------------------------------------------- */

static int coroutine_fn co_info(QemuIo *io, int argc, char **argv)
{
    BlockDriverState *bs = blk_bs(io->blk);
    g_autoptr(GString) out = g_string_new(NULL);
    Error *err = NULL;

    printf("format name: %s\n", bdrv_get_format_name(bs));
    if (!bdrv_format_info_dump(bs, out, &err)) {
        error_report_err(err);
        return -EIO;
    }
    fputs(out->str, stdout);
    return 0;
}

static int coroutine_fn co_alloc(QemuIo *io, int argc, char **argv)
{
    int64_t start = qemuio_number(argv[1]), offset = start, left, sum = 0, count;
    int64_t len = blk_getlength(io->blk);
    g_autofree char *where = NULL;

    if (start < 0) {
        return start;
    }
    count = argc == 3 ? qemuio_number(argv[2]) : BDRV_SECTOR_SIZE;
    if (count < 0) {
        return count;
    }
    count = MIN(count, MAX(len - start, 0));
    for (left = count; left > 0;) {
        int64_t n;
        int ret = blk_co_is_allocated_above(io->blk, blk_bs(io->blk), true, offset, left, &n);

        if (ret < 0) {
            printf("is_allocated failed: %s\n", strerror(-ret));
            return ret;
        }
        sum += ret ? n : 0;
        offset += n;
        left -= n;
    }
    where = qemuio_size(start);
    printf("%" PRId64 "/%" PRId64 " bytes allocated at offset %s\n", sum, count, where);
    return 0;
}

static int coroutine_fn co_map(QemuIo *io, int argc, char **argv)
{
    int64_t len = blk_getlength(io->blk), offset = 0;

    if (len < 0) {
        error_report("Failed to query image length: %s", strerror(-len));
        return len;
    }
    while (offset < len) {
        g_autofree char *size = NULL, *where = NULL;
        int64_t run = 0, n;
        int first = -1;

        while (offset + run < len) {
            int ret = blk_co_is_allocated_above(io->blk, blk_bs(io->blk), true, offset + run,
                                                len - offset - run, &n);

            if (ret < 0) {
                error_report("Failed to get allocation status: %s", strerror(-ret));
                return ret;
            }
            if (first >= 0 && ret != first) {
                break;
            }
            first = ret;
            run += n;
        }
        size = qemuio_size(run);
        where = qemuio_size(offset);
        printf("%s (0x%" PRIx64 ") bytes %s allocated at offset %s (0x%" PRIx64 ")\n", size, run,
               first ? "   " : "not", where, offset);
        offset += run;
    }
    return 0;
}

static int coroutine_fn co_blockers(QemuIo *io, int argc, char **argv)
{
    g_autoptr(GString) text = g_string_new("");
    Error *err = NULL;

    if (!bdrv_blockers_dump(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL, text, &err)) {
        error_report_err(err);
        return -EINVAL;
    }
    fputs(text->str, stdout);
    return 0;
}

const IoCommand io_node_commands[] = {
    { "open", "o", 1, -1, "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]",
      "open the file specified by path",
      "\n opens a file for the other commands\n\n"
      " Example:\n 'open -n -o driver=raw /tmp/data' - a raw file, read-write, not cached\n\n"
      " -r, -- read-only\n -s, -- writes go to a temporary file\n -n, -- as -t none\n"
      " -U, -- force shared permissions\n -k, -- as -i native\n"
      " -i, -- aio mode (threads, native or io_uring)\n -t, -- cache mode\n"
      " -d, -- discard mode\n -o, -- options of the block driver\n",
      true, 0, co_open },
    { "close", "c", 0, 0, "", "close the current open file", NULL, false, 0, co_close },
    { "reopen", NULL, 0, -1, "[(-r|-w)] [-c cache] [-o options]",
      "reopens an image with new options",
      "\n Example:\n 'reopen -o lazy-refcounts=on'\n\n"
      " -r, -- read-only\n -w, -- read-write\n -c, -- cache mode\n"
      " -o, -- options of the block driver (see 'open')\n",
      false, 0, co_reopen },
    { "truncate", "t", 1, 3, "[-m prealloc_mode] off",
      "truncates the current file at the given offset",
      NULL, false, BLK_PERM_WRITE | BLK_PERM_RESIZE, co_truncate },
    { "length", "l", 0, 0, "", "gets the length of the current file", NULL, false, 0, co_length },
    { "info", "i", 0, 0, "", "prints information about the current file", NULL, false, 0, co_info },
    { "alloc", "a", 1, 2, "offset [count]", "checks if offset is allocated in the file", NULL,
      false, 0,      co_alloc },
    { "map", NULL, 0, 0, "", "prints the allocated areas of a file", NULL, false, 0, co_map },
    { "blockers", NULL, 0, 2, "[node [op]]", "shows who uses which node, what they forbid, and why",
      "\n Example:\n 'blockers disk resize' - who would refuse to let node 'disk' be resized\n\n"
      " As query-block-blockers does; with an operation it names only those who refuse it.\n",
      false, 0, co_blockers },
    { "quit", "q", 0, 0, "", "exit the program", NULL, true, 0, co_quit },
    { .name = NULL },
};
