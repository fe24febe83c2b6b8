/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-system-e2k: the order in which it starts, how it runs, and its end. */
#include "qemu/osdep.h"

#include <signal.h>

#include "block/blockdev.h"
#include "block/vm-snapshot.h"
#include "hw/e2k/board.h"
#include "io/chardev.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/gen/control-commands.h"
#include "qapi/gen/device-commands.h"
#include "qapi/gen/introspect-commands.h"
#include "qapi/gen/machine-commands.h"
#include "qapi/gen/monitor-commands.h"
#include "qapi/user-object.h"
#include "qemu/daemon.h"
#include "qemu/main-loop.h"
#include "qemu/version.h"
#include "startup.h"
#include "system/commands.h"
#include "system/device.h"
#include "system/qtest.h"
#include "system/runstate.h"
#include "tools/qemu-io-hmp.h"

/* ---- monitors -------------------------------------------------------------------------------- */

static bool create_qmp(const Option *option, void *opaque, Error **errp)
{
    return monitor_parse_qmp(option->arg, option->id == OPT_QMP_PRETTY, errp);
}

static bool create_hmp(const Option *option, void *opaque, Error **errp)
{
    return monitor_parse_hmp(option->arg, errp);
}

static bool create_mon(const Option *option, void *opaque, Error **errp)
{
    return monitor_parse_mon(option->arg, true, errp);
}

/* Those that let clients in; the others came before the disks. */
static bool create_late_object(const Option *option, void *opaque, Error **errp)
{
    return !user_object_str_is_late(option->arg) || user_object_add_from_str(option->arg, errp);
}

static void create_monitors(Startup *s)
{
    options_foreach(&s->options, OPT_MON, create_mon, NULL);
    options_foreach(&s->options, OPT_MONITOR, create_hmp, NULL);
    options_foreach(&s->options, OPT_QMP, create_qmp, NULL);
    options_foreach(&s->options, OPT_QMP_PRETTY, create_qmp, NULL);
    options_foreach(&s->options, OPT_OBJECT, create_late_object, NULL);
}

static void coroutine_fn hmp_info_pci(Monitor *mon, const QDict *args)
{
    g_autofree char *text = board_describe_pci(machine_get());

    monitor_puts(mon, text ? text : "No PCI devices\n");
}

static const HMPCommand board_infos[] = {
    { "pci", "", "", "show PCI info", hmp_info_pci, true },
    { .name = NULL },
};

static QmpCommandList *register_commands(void)
{
    QmpCommandList *commands = qmp_command_list_new();

    qmp_init_control_commands(commands);
    qmp_init_introspect_commands(commands);
    qmp_init_monitor_commands(commands);
    qmp_init_machine_commands(commands);
    qmp_init_device_commands(commands);
    options_add_group("name", startup_name_desc);
    options_add_group("drive", drive_option_desc);
    system_register_commands();
    system_register_branch();
    blockdev_register_commands(commands, true);
    hmp_register_info(board_infos);
    board_offer_snapshots();
    qemuio_register_hmp();
    return commands;
}

/* ---- running --------------------------------------------------------------------------------- */

static void coroutine_fn flush_entry(void *opaque)
{
    blk_co_flush_all();
}

/* A stopped machine's images are complete on disk; a machine that goes on starts without errors. */
static void disks_follow_run_state(void *opaque, bool is_running)
{
    if (is_running) {
        for (BlockBackend *blk = blk_all_next(NULL); blk; blk = blk_all_next(blk)) {
            blk_iostatus_reset(blk);
        }
    } else {
        co_run(flush_entry, NULL);
    }
}

static void signalled(const QemuSignalInfo *info, void *opaque)
{
    if (info->signo == SIGTERM || info->signo == SIGHUP) {
        error_report("terminating on signal %d from pid %d", info->signo, info->pid);
    } else {
        error_report("terminating on signal %d", info->signo);
    }
    system_shutdown_request(SHUTDOWN_CAUSE_HOST_SIGNAL);
}

/* Control-a x at a terminal that the monitor shares. */
static void exit_key_pressed(void)
{
    system_shutdown_request(SHUTDOWN_CAUSE_HOST_UI);
}

static void set_up_signals(void)
{
    chardev_set_exit_request(exit_key_pressed);
    signal(SIGPIPE, SIG_IGN);
    qemu_main_loop_set_signal(SIGINT, signalled, NULL);
    qemu_main_loop_set_signal(SIGTERM, signalled, NULL);
    qemu_main_loop_set_signal(SIGHUP, signalled, NULL);
}

static bool coroutine_fn close_entry(void *opaque, Error **errp)
{
    Machine *machine = opaque;

    machine_free(machine);
    return true;
}

static void coroutine_fn close_disks_entry(void *opaque)
{
    blockdev_co_close_all();
}

static void shut_down(Startup *s)
{
    blockdev_watch_shutdown();
    monitor_stop_commands();
    qtest_cleanup();
    startup_control_call(close_entry, s->machine, &error_abort);
    co_run(close_disks_entry, NULL);
    monitor_cleanup();
    user_object_del_all();
    chardev_cleanup();
    daemon_remove_pidfile();
}

static bool start_qtest(const Option *option, void *opaque, Error **errp)
{
    return qtest_init(option->arg, options_last(opaque, OPT_QTEST_LOG), errp);
}

static bool coroutine_fn loadvm_entry(void *opaque, Error **errp)
{
    return vm_snapshot_co_load(opaque, errp);
}

static void load_snapshot(const Startup *s)
{
    const char *tag = options_last(&s->options, OPT_LOADVM);
    Error *err = NULL;

    if (tag && !startup_control_call(loadvm_entry, (void *)tag, &err)) {
        error_report_err(err);
        exit(1);
    }
}

/* Whether there is to be a machine at all. */
static bool wait_for_user(Startup *s)
{
    if (!options_has(&s->options, OPT_PRECONFIG)) {
        return true;
    }
    create_monitors(s);
    return preconfig_wait();
}

static void start(Startup *s)
{
    if (s->machine->cpu) {
        vcpu_start(s->machine->cpu);
    }
    qemu_clock_enable(QEMU_CLOCK_VIRTUAL, false);
    system_reset(SHUTDOWN_CAUSE_NONE);
    runstate_add_listener(disks_follow_run_state, NULL);
    runstate_set_end_hook(blockdev_watch_shutdown);
    blk_set_stop_hooks(vm_announce_error_stop, vm_error_stop_request);
    load_snapshot(s); /* nobody sees the machine before */
    options_foreach(&s->options, OPT_QTEST, start_qtest, &s->options);
    if (!options_has(&s->options, OPT_PRECONFIG)) {
        create_monitors(s);
    }
    /* A machine that was saved after its end cannot run. */
    if (!options_has(&s->options, OPT_S) && runstate_get() == RUN_STATE_PRELAUNCH) {
        vm_start();
    }
}

static bool check_daemonize(const Options *options, Error **errp)
{
    const char *serial = options_last(options, OPT_SERIAL);

    if (options_has(options, OPT_PRECONFIG)) {
        error_setg(errp, "-daemonize and -preconfig are mutually exclusive");
        return false;
    }
    if (options_has(options, OPT_NOGRAPHIC) || (serial && strstr(serial, "stdio"))) {
        error_setg(errp, "-nographic and stdio cannot be used with -daemonize");
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    Startup s = {0};
    Error *err = NULL;
    QmpCommandList *commands;
    int status;

    daemon_prepare_process();
    error_init(argv[0]);
    machine_register_types(all_machine_types);
    device_register_types(all_device_types);
    options_parse(&s.options, argc, argv);
    if (options_has(&s.options, OPT_HELP)) {
        options_print_help(error_get_progname());
        return 0;
    }
    if (options_has(&s.options, OPT_VERSION)) {
        printf("QEMU emulator version %s\n%s\n", QEMU_FULL_VERSION, QEMU_COPYRIGHT);
        return 0;
    }
    startup_show_help(&s);
    if (options_has(&s.options, OPT_DAEMONIZE)) {
        if (!check_daemonize(&s.options, &err)) {
            options_fail(&s.options, OPT_DAEMONIZE, err);
        }
        daemon_fork();
    }
    if (!qemu_init_main_loop(&err)) {
        error_report_err(err);
        return 1;
    }
    bql_lock();
    set_up_signals();
    bdrv_init_with_whitelist();
    commands = register_commands();
    monitor_init(commands);
    monitor_register_objects(true);
    startup_parse_options(&s);
    startup_parse_drives(&s);
    if (options_has(&s.options, OPT_PIDFILE) &&
        !daemon_write_pidfile(options_last(&s.options, OPT_PIDFILE), &err)) {
        options_fail(&s.options, OPT_PIDFILE, err);
    }
    startup_create_backends(&s);
    if (wait_for_user(&s)) {
        startup_create_machine(&s);
        startup_create_devices(&s);
        start(&s);
        preconfig_end();
    }
    daemon_ready();
    status = system_main_loop();
    shut_down(&s);
    qmp_command_list_free(commands);
    return status;
}
