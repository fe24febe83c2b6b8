/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-io: options, then commands from -c or standard input.
 */
#include "qemu/osdep.h"

#include "qemu-io.h"

#include <getopt.h>

#include "block/blockdev.h"
#include "block/graph.h"
#include "block/lock-wait.h"
#include "block/thread-pool.h"
#include "qapi/user-object.h"
#include "qemu/daemon.h"
#include "qemu/main-loop.h"
#include "qemu/version.h"
#include "qobject/opts.h"

typedef struct Program {
    QemuIo io;
    IoOpen open;
    GPtrArray *commands; /* of char *, from -c */
    const char *filename, *format;
    bool image_opts;
    bool failed;
} Program;

enum { OPT_IMAGE_OPTS = 256, OPT_OBJECT, OPT_WAIT_LOCK };

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },
    { "cmd", required_argument, NULL, 'c' },
    { "format", required_argument, NULL, 'f' },
    { "read-only", no_argument, NULL, 'r' },
    { "snapshot", no_argument, NULL, 's' },
    { "nocache", no_argument, NULL, 'n' },
    { "copy-on-read", no_argument, NULL, 'C' },
    { "misalign", no_argument, NULL, 'm' },
    { "native-aio", no_argument, NULL, 'k' },
    { "aio", required_argument, NULL, 'i' },
    { "cache", required_argument, NULL, 't' },
    { "discard", required_argument, NULL, 'd' },
    { "force-share", no_argument, NULL, 'U' },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "wait-lock", required_argument, NULL, OPT_WAIT_LOCK },
    { .name = NULL },
};

static const char usage_text[] =
    "Usage: qemu-io [OPTIONS]... [-c STRING]... [file]\n"
    "Requests on a disk image, by hand\n\n"
    "  --image-opts         file is an option string\n"
    "  -c, --cmd STRING     run this command; may be given several times\n"
    "  -f, --format FMT     format of the image\n"
    "  -r, --read-only      open read-only\n"
    "  -s, --snapshot       writes go to a temporary file\n"
    "  -n, --nocache        bypass the host's cache, as -t none\n"
    "  -m, --misalign       use buffers that direct I/O does not like\n"
    "  -k, --native-aio     as -i native\n"
    "  -i, --aio=MODE       threads, native or io_uring\n"
    "  -t, --cache=MODE     cache mode of the image\n"
    "  -d, --discard=MODE   ignore or unmap\n"
    "  -U, --force-share    share all permissions\n"
    "  --wait-lock=SECONDS  wait that long for an image that another process has locked\n"
    "  -h, --help           this text\n"
    "  -V, --version        version\n\n"
    "See 'qemu-io -c help' for information on available commands.\n";

/* ---- options --------------------------------------------------------------------------------- */

static QEMU_NORETURN void bad_option(const char *what, const char *value)
{
    error_report("Invalid %s option: %s", what, value);
    exit(1);
}

static void add_object(const char *arg)
{
    Error *err = NULL;
    g_autofree char *help = user_object_help(arg);

    if (help) {
        fputs(help, stdout);
        exit(0);
    }
    if (!user_object_add_from_str(arg, &err)) {
        error_report_err(err);
        exit(1);
    }
}

static void parse_option(Program *p, int c)
{
    Error *err = NULL;

    switch (c) {
    case 'c':
        g_ptr_array_add(p->commands, optarg);
        break;
    case 'f':
        p->format = optarg;
        break;
    case 'r':
        p->open.flags &= ~BDRV_O_RDWR;
        break;
    case 's':
        p->open.flags |= BDRV_O_SNAPSHOT;
        break;
    case 'n':
        p->open.flags |= BDRV_O_NOCACHE;
        p->open.writethrough = false;
        break;
    case 'C':
        p->open.flags |= BDRV_O_COPY_ON_READ;
        break;
    case 'm':
        p->io.misalign = true;
        break;
    case 'k':
        p->open.flags |= BDRV_O_NATIVE_AIO;
        break;
    case 'i':
        if (!bdrv_parse_aio(optarg, &p->open.flags)) {
            bad_option("aio", optarg);
        }
        break;
    case 't':
        if (!bdrv_parse_cache_mode(optarg, &p->open.flags, &p->open.writethrough)) {
            bad_option("cache", optarg);
        }
        break;
    case 'd':
        if (!bdrv_parse_discard_flags(optarg, &p->open.flags)) {
            bad_option("discard", optarg);
        }
        break;
    case 'U':
        p->open.force_share = true;
        break;
    case OPT_IMAGE_OPTS:
        p->image_opts = true;
        break;
    case OPT_OBJECT:
        add_object(optarg);
        break;
    case OPT_WAIT_LOCK:
        if (!bdrv_parse_lock_wait(optarg, &err)) {
            error_report_err(err);
            exit(1);
        }
        break;
    case 'h':
        fputs(usage_text, stdout);
        exit(0);
    case 'V':
        printf("qemu-io version %s\n", QEMU_FULL_VERSION);
        exit(0);
    default:
        fprintf(stderr, "Try 'qemu-io --help' for more information.\n");
        exit(1);
    }
}

static void parse_command_line(Program *p, int argc, char **argv)
{
    int c;

    while ((c = getopt_long(argc, argv, "hVc:d:f:rsnCmki:t:U", long_options, NULL)) != -1) {
        parse_option(p, c);
    }
    if (argc - optind > 1) {
        fputs(usage_text, stderr);
        exit(1);
    }
    p->filename = argv[optind];
    if (p->format && p->image_opts) {
        error_report("--image-opts and -f are mutually exclusive");
        exit(1);
    }
}

/* ---- running --------------------------------------------------------------------------------- */

static QemuOptsList file_opts = { .name = "file", .implied_opt_name = "file" };

static bool coroutine_fn co_open_file(Program *p)
{
    Error *err = NULL;

    if (p->image_opts) {
        g_autoptr(QemuOpts) opts = qemu_opts_parse(&file_opts, p->filename, false, &err);

        if (!opts) {
            error_report_err(err);
            return false;
        }
        p->open.options = qemu_opts_to_qdict(opts, NULL);
    } else {
        p->open.filename = p->filename;
        if (p->format) {
            p->open.options = qdict_new();
            qdict_put_str(p->open.options, "driver", p->format);
        }
    }
    return qemuio_co_open(&p->io, &p->open);
}

/* Worker: a line of standard input, or NULL. */
typedef struct ReadLine {
    char *line;
} ReadLine;

static int read_line(void *opaque)
{
    ReadLine *read = opaque;
    size_t size = 0;
    ssize_t len = getline(&read->line, &size, stdin);

    if (len <= 0) {
        return -1;
    }
    if (read->line[len - 1] == '\n') {
        read->line[len - 1] = '\0';
    }
    return 0;
}

static void coroutine_fn co_read_commands(Program *p)
{
    while (!p->io.quit) {
        ReadLine read = { NULL };
        int ret;

        printf("qemu-io> ");
        fflush(stdout);
        ret = thread_pool_submit_co(read_line, &read);
        if (ret < 0) {
            free(read.line);
            /* The shell's prompt shall not follow ours; scripts compare every byte. */
            printf("%s", isatty(STDIN_FILENO) ? "\n" : "");
            break;
        }
        p->failed |= !qemuio_co_command(&p->io, read.line);
        free(read.line);
    }
}

static void coroutine_fn co_main(void *opaque)
{
    Program *p = opaque;

    qemu_co_queue_init(&p->io.aio_done);
    if (p->filename && !co_open_file(p)) {
        p->failed = true;
        return;
    }
    for (unsigned i = 0; i < p->commands->len && !p->io.quit; i++) {
        p->failed |= !qemuio_co_command(&p->io, p->commands->pdata[i]);
    }
    if (!p->commands->len) {
        co_read_commands(p);
    }
    p->failed |= !qemuio_co_close(&p->io);
    bdrv_co_close_all();
}

int main(int argc, char **argv)
{
    Program p = { .open.flags = BDRV_O_UNMAP | BDRV_O_RDWR };

    daemon_prepare_process();
    error_init(argv[0]);
    qemu_init_main_loop(&error_fatal);
    bdrv_init();
    block_objects_register();
    p.commands = g_ptr_array_new();
    parse_command_line(&p, argc, argv);
    co_run(co_main, &p);
    user_object_del_all();
    g_ptr_array_unref(p.commands);
    return p.failed;
}
