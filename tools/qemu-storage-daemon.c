/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-storage-daemon: block nodes, jobs and exports without a machine.
 *
 * Options are carried out in the order of the command line, so that a later one can name what an
 * earlier one made; then monitors are made and served until "quit" or a signal.
 */
#include "qemu/osdep.h"

#include <getopt.h>

#include "block/blockdev.h"
#include "block/export.h"
#include "block/graph.h"
#include "block/lock-wait.h"
#include "io/chardev.h"
#include "monitor/monitor.h"
#include "qapi/gen/block-core-types.h"
#include "qapi/gen/block-export-commands.h"
#include "qapi/gen/block-export-visit.h"
#include "qapi/gen/char-types.h"
#include "qapi/gen/control-commands.h"
#include "qapi/gen/introspect-commands.h"
#include "qapi/gen/qom-types.h"
#include "qapi/help.h"
#include "qapi/object-input.h"
#include "qapi/user-object.h"
#include "qemu/daemon.h"
#include "qemu/main-loop.h"
#include "qemu/version.h"

static bool exit_requested;

void coroutine_fn qmp_quit(Error **errp)
{
    blockdev_watch_shutdown();
    exit_requested = true;
}

/* ---- options --------------------------------------------------------------------------------- */

enum {
    OPT_BLOCKDEV = 256,
    OPT_CHARDEV,
    OPT_DAEMONIZE,
    OPT_EXPORT,
    OPT_MONITOR,
    OPT_NBD_SERVER,
    OPT_OBJECT,
    OPT_PIDFILE,
    OPT_WAIT_LOCK,
};

static const struct option long_options[] = {
    { "blockdev", required_argument, NULL, OPT_BLOCKDEV },
    { "chardev", required_argument, NULL, OPT_CHARDEV },
    { "daemonize", no_argument, NULL, OPT_DAEMONIZE },
    { "export", required_argument, NULL, OPT_EXPORT },
    { "help", no_argument, NULL, 'h' },
    { "monitor", required_argument, NULL, OPT_MONITOR },
    { "nbd-server", required_argument, NULL, OPT_NBD_SERVER },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "pidfile", required_argument, NULL, OPT_PIDFILE },
    { "version", no_argument, NULL, 'V' },
    { "wait-lock", required_argument, NULL, OPT_WAIT_LOCK },
    { NULL, 0, NULL, 0 },
};

static void print_help(void)
{
    printf("Usage: %s [options]\n"
           "QEMU storage daemon\n"
           "\n"
           "  -h, --help             display this help and exit\n"
           "  -V, --version          output version information and exit\n"
           "\n"
           "  --blockdev [driver=]<driver>[,node-name=<N>][,discard=ignore|unmap]\n"
           "             [,cache.direct=on|off][,cache.no-flush=on|off]\n"
           "             [,read-only=on|off][,auto-read-only=on|off]\n"
           "             [,force-share=on|off][,detect-zeroes=on|off|unmap]\n"
           "             [,driver specific parameters...]\n"
           "                         configure a block backend\n"
           "\n"
           "  --chardev <options>    configure a character device backend\n"
           "                         (see the emulator's manual for possible options)\n"
           "\n"
           "  --daemonize            daemonize the process, and have the parent exit\n"
           "                         once startup is complete\n"
           "\n"
           "  --export [type=]nbd,id=<id>,node-name=<node-name>[,name=<export-name>]\n"
           "           [,writable=on|off]\n"
           "                         export the specified block node over NBD\n"
           "                         (requires --nbd-server)\n"
           "\n"
           "  --monitor [chardev=]name[,mode=control][,pretty[=on|off]]\n"
           "                         configure a QMP monitor\n"
           "\n"
           "  --nbd-server addr.type=inet,addr.host=<host>,addr.port=<port>\n"
           "               [,max-connections=<n>][,handshake-max-seconds=<n>]\n"
           "  --nbd-server addr.type=unix,addr.path=<path>[,max-connections=<n>]\n"
           "                         start an NBD server for exporting block nodes\n"
           "\n"
           "  --object iothread,id=<id>[,poll-max-ns=<n>]...\n"
           "                         create a new object of the given type\n"
           "\n"
           "  --pidfile <path>       write process ID to a file after startup\n"
           "\n"
           "  --wait-lock <seconds>  while these options are carried out, wait that long\n"
           "                         for each image that another process has locked\n",
           error_get_progname());
}

/* ---- what takes the control lock ------------------------------------------------------------- */

typedef struct ControlCall {
    bool coroutine_fn (*fn)(const char *arg, Error **errp);
    const char *arg;
    Error **errp;
    bool ok;
} ControlCall;

static void coroutine_fn control_call_entry(void *opaque)
{
    ControlCall *call = opaque;
    BDRV_CONTROL_GUARD();
    call->ok = call->fn(call->arg, call->errp);
}

static bool call_controlled(bool coroutine_fn (*fn)(const char *arg, Error **errp),
                            const char *arg, Error **errp)
{
    ControlCall call = { .fn = fn, .arg = arg, .errp = errp };
    co_run(control_call_entry, &call);
    return call.ok;
}

static bool coroutine_fn co_add_blockdev(const char *arg, Error **errp)
{
    g_autoptr(BlockdevOptions) options = blockdev_parse(arg, errp);
    return options && blockdev_co_add(options, errp);
}

static bool coroutine_fn co_start_nbd_server(const char *arg, Error **errp)
{
    g_autoptr(Visitor) v = qobject_input_visitor_new_str(arg, NULL, errp);
    g_autoptr(NbdServerOptions) options = NULL;
    if (!v || !visit_type_NbdServerOptions(v, NULL, &options, errp)) {
        return false;
    }
    return nbd_server_start(options->addr,
                            options->has_handshake_max_seconds ? options->handshake_max_seconds
                                                               : NBD_HANDSHAKE_MAX_SECONDS,
                            options->has_max_connections ? options->max_connections
                                                         : NBD_MAX_CONNECTIONS, errp);
}

static bool coroutine_fn co_add_export(const char *arg, Error **errp)
{
    g_autoptr(Visitor) v = qobject_input_visitor_new_str(arg, "type", errp);
    g_autoptr(BlockExportOptions) options = NULL;
    if (!v || !visit_type_BlockExportOptions(v, NULL, &options, errp)) {
        return false;
    }
    return blk_exp_co_add(options, errp) != NULL;
}

static bool carry_out(int option, const char *arg, Error **errp)
{
    switch (option) {
    case OPT_BLOCKDEV:
        return call_controlled(co_add_blockdev, arg, errp);
    case OPT_CHARDEV:
        return chardev_new_from_opts(arg, errp) != NULL;
    case OPT_EXPORT:
        return call_controlled(co_add_export, arg, errp);
    case OPT_MONITOR:
        return monitor_parse_mon(arg, false, errp);
    case OPT_NBD_SERVER:
        return call_controlled(co_start_nbd_server, arg, errp);
    case OPT_OBJECT:
        return user_object_add_from_str(arg, errp);
    default:
        return true;
    }
}

/* ---- the command line ------------------------------------------------------------------------ */

typedef struct Settings {
    bool daemonize;
    const char *pidfile;
} Settings;

/* "help" as an argument ends the program. */
static void answer_help(int option, const char *arg)
{
    static const struct {
        int option;
        const QapiType *type;
        const char *caption;
    } kinds[] = {
        { OPT_BLOCKDEV, &qapi_type_BlockdevOptions, "Supported block drivers:" },
        { OPT_CHARDEV, &qapi_type_ChardevOptions, "Available chardev backend types:" },
        { OPT_EXPORT, &qapi_type_BlockExportOptions, "Available export types:" },
        { OPT_MONITOR, &qapi_type_MonitorOptions, "monitor options:" },
        { OPT_NBD_SERVER, &qapi_type_NbdServerOptions, "nbd-server options:" },
        { OPT_OBJECT, &qapi_type_ObjectOptions, "List of user creatable objects:" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        g_autofree char *help = kinds[i].option != option ? NULL
            : qapi_option_help(kinds[i].type, kinds[i].caption, arg);
        if (help) {
            fputs(help, stdout);
            exit(0);
        }
    }
}

/* What holds for the process as a whole, before anything is made. */
static void look_through_options(int argc, char **argv, Settings *settings)
{
    int option;
    Error *err = NULL;
    while ((option = getopt_long(argc, argv, "-hV", long_options, NULL)) != -1) {
        switch (option) {
        case 'h':
            print_help();
            exit(0);
        case 'V':
            printf("qemu-storage-daemon version %s\n%s\n", QEMU_FULL_VERSION, QEMU_COPYRIGHT);
            exit(0);
        case OPT_DAEMONIZE:
            settings->daemonize = true;
            break;
        case OPT_PIDFILE:
            settings->pidfile = optarg;
            break;
        case OPT_WAIT_LOCK:
            if (!bdrv_parse_lock_wait(optarg, &err)) {
                error_report_err(err);
                exit(1);
            }
            break;
        case '?':
            exit(1);
        case 1:
            error_report("%s: Unexpected argument", optarg);
            exit(1);
        default:
            answer_help(option, optarg);
            break;
        }
    }
    if (optind < argc) {
        error_report("%s: Unexpected argument", argv[optind]);
        exit(1);
    }
}

/*
 * In the order of the line; monitors last, since opening images runs the loop, and a client that is
 * served before all options are carried out would see half of what it was promised.
 */
static void carry_out_options(int argc, char **argv, bool only_monitors)
{
    Location loc;
    int option;
    loc_push_none(&loc);
    optind = 1;
    for (int first = 1; ; first = optind) {
        option = getopt_long(argc, argv, "-hV", long_options, NULL);
        if (option == -1) {
            break;
        }
        Error *err = NULL;
        bool is_monitor = option == OPT_MONITOR ||
                          (option == OPT_OBJECT && user_object_str_is_late(optarg));
        if (is_monitor != only_monitors) {
            continue;
        }
        loc_set_cmdline(argv, first, MAX(1, optind - first));
        if (!carry_out(option, optarg, &err)) {
            error_report_err(err);
            exit(1);
        }
    }
    loc_pop(&loc);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void on_signal(const QemuSignalInfo *info, void *opaque)
{
    blockdev_watch_shutdown();
    exit_requested = true;
}

static void coroutine_fn close_entry(void *opaque)
{
    nbd_server_stop();
    blockdev_co_close_all();
}

static void shut_down(void)
{
    monitor_stop_commands();
    co_run(close_entry, NULL);
    monitor_cleanup();
    user_object_del_all();
    chardev_cleanup();
    daemon_remove_pidfile();
}

static QmpCommandList *register_commands(void)
{
    QmpCommandList *commands = qmp_command_list_new();
    qmp_init_control_commands(commands);
    qmp_init_introspect_commands(commands);
    return commands;
}

int main(int argc, char **argv)
{
    Settings settings = { 0 };
    Error *err = NULL;
    daemon_prepare_process();
    error_init(argv[0]);
    look_through_options(argc, argv, &settings);
    if (settings.daemonize) {
        daemon_fork();
    }
    signal(SIGPIPE, SIG_IGN);
    if (!qemu_init_main_loop(&err)) {
        error_report_err(err);
        return 1;
    }
    qemu_main_loop_set_signal(SIGINT, on_signal, NULL);
    qemu_main_loop_set_signal(SIGTERM, on_signal, NULL);
    qemu_main_loop_set_signal(SIGHUP, on_signal, NULL);
    bdrv_init();
    g_autoptr(QmpCommandList) commands = register_commands();
    blockdev_register_commands(commands, false);
    monitor_init(commands);
    monitor_register_objects(false);
    if (settings.pidfile && !daemon_write_pidfile(settings.pidfile, &err)) {
        error_report_err(err);
        return 1;
    }
    carry_out_options(argc, argv, false);
    bdrv_set_lock_wait(0);
    carry_out_options(argc, argv, true);
    daemon_ready();
    while (!exit_requested) {
        main_loop_wait(false);
    }
    shut_down();
    return 0;
}
