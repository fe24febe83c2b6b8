/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "block/coroutine.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/gen/control-commands.h"
#include "qapi/gen/device-commands.h"
#include "qapi/gen/device-events.h"
#include "qapi/gen/machine-commands.h"
#include "qemu/error.h"
#include "qemu/iothread.h"
#include "qobject/opts.h"
#include "qobject/qdict.h"
#include "system/commands.h"
#include "system/device.h"
#include "system/machine.h"
#include "system/runstate.h"
#include "device-int.h"

/* ---- running and stopping -------------------------------------------------------------------- */

StatusInfo *coroutine_fn qmp_query_status(Error **errp)
{
    StatusInfo *info = g_new0(StatusInfo, 1);

    info->running = runstate_is_running();
    info->status = runstate_get();
    return info;
}

/* Let the main loop act on requests once, then go on. */
static void coroutine_fn wait_for_main_loop(void)
{
    aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
    qemu_coroutine_yield();
}

void coroutine_fn qmp_stop(Error **errp)
{
    vm_stop_request(RUN_STATE_PAUSED);
    do {
        wait_for_main_loop();
    } while (vm_stop_is_pending());
}

void coroutine_fn qmp_cont(Error **errp)
{
    RunState state;

    /* Of the error that somebody was told of and answers with this, for one. */
    while (vm_stop_is_pending()) {
        wait_for_main_loop();
    }
    state = runstate_get();
    if (state == RUN_STATE_SHUTDOWN || state == RUN_STATE_INTERNAL_ERROR) {
        error_setg(errp, "Resetting the Virtual Machine is required");
        return;
    }
    vm_start();
}

void coroutine_fn qmp_system_reset(Error **errp)
{
    system_reset_request(SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET);
}

void coroutine_fn qmp_system_powerdown(Error **errp)
{
    system_powerdown_request();
}

static char *guest_name;

void system_set_name(const char *name)
{
    g_free(guest_name);
    guest_name = g_strdup(name);
}

NameInfo *coroutine_fn qmp_query_name(Error **errp)
{
    NameInfo *info = g_new0(NameInfo, 1);

    info->name = g_strdup(guest_name);
    return info;
}

UuidInfo *coroutine_fn qmp_query_uuid(Error **errp)
{
    UuidInfo *info = g_new0(UuidInfo, 1);

    info->UUID = g_strdup("00000000-0000-0000-0000-000000000000");
    return info;
}

TargetInfo *coroutine_fn qmp_query_target(Error **errp)
{
    TargetInfo *info = g_new0(TargetInfo, 1);

    info->arch = SYS_EMU_TARGET_E2K;
    return info;
}

void coroutine_fn qmp_quit(Error **errp)
{
    system_shutdown_request(SHUTDOWN_CAUSE_HOST_QMP_QUIT);
    /* Reply after the SHUTDOWN event. */
    wait_for_main_loop();
}

static int add_iothread(IOThread *iothread, void *opaque)
{
    IOThreadInfoList ***tail = opaque;
    IOThreadInfo *info = g_new0(IOThreadInfo, 1);
    IOThreadPollParams poll;

    iothread_get_poll_params(iothread, &poll);
    info->id = g_strdup(iothread_get_id(iothread));
    info->thread_id = iothread_get_thread_id(iothread);
    info->poll_max_ns = poll.max_ns;
    info->poll_grow = poll.grow;
    info->poll_shrink = poll.shrink;
    info->aio_max_batch = aio_context_max_batch(iothread_get_aio_context(iothread));
    QAPI_LIST_APPEND(*tail, info);
    return 0;
}

IOThreadInfoList *coroutine_fn qmp_query_iothreads(Error **errp)
{
    IOThreadInfoList *list = NULL;
    IOThreadInfoList **tail = &list;

    iothread_foreach(add_iothread, &tail);
    return list;
}

/* ---- before there is a machine --------------------------------------------------------------- */

static bool preconfig_is_over = true; /* until preconfig_wait() */
static bool preconfig_must_end;

bool preconfig_wait(void)
{
    preconfig_is_over = false;
    monitor_set_preconfig(true);
    return system_main_loop_until(&preconfig_must_end);
}

void preconfig_end(void)
{
    monitor_set_preconfig(false);
    preconfig_is_over = true;
}

/* The reply comes when the machine is there. */
void coroutine_fn qmp_x_exit_preconfig(Error **errp)
{
    if (preconfig_must_end || preconfig_is_over) {
        error_setg(errp, "The command is permitted only before machine initialization");
        return;
    }
    preconfig_must_end = true;
    while (!preconfig_is_over) {
        wait_for_main_loop();
    }
}

/* ---- devices --------------------------------------------------------------------------------- */

void coroutine_fn qmp_device_add(QDict *args, QObject **ret, Error **errp)
{
    device_add(args, machine_get()->is_complete, errp);
}

void coroutine_fn qmp_device_del(const char *id, Error **errp)
{
    device_del(id, errp);
}

void coroutine_fn qmp_device_sync_config(const char *id, Error **errp)
{
    Device *dev = device_find(id);

    if (!dev) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", id);
        return;
    }
    /* No device here has its configuration from another program, so none can be out of date. */
    error_setg(errp, "device-sync-config is not supported for '%s'", dev->type->name);
}

static void device_deleted(const char *id, const char *path)
{
    qapi_event_send_device_deleted(id, path);
}

/* ---- for people ------------------------------------------------------------------------------ */

static void coroutine_fn hmp_stop(Monitor *mon, const QDict *args)
{
    qmp_stop(NULL);
}

static void coroutine_fn hmp_cont(Monitor *mon, const QDict *args)
{
    Error *err = NULL;

    qmp_cont(&err);
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_system_reset(Monitor *mon, const QDict *args)
{
    qmp_system_reset(NULL);
}

static void coroutine_fn hmp_system_powerdown(Monitor *mon, const QDict *args)
{
    qmp_system_powerdown(NULL);
}

static void coroutine_fn hmp_exit_preconfig(Monitor *mon, const QDict *args)
{
    Error *err = NULL;

    qmp_x_exit_preconfig(&err);
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_quit(Monitor *mon, const QDict *args)
{
    system_shutdown_request(SHUTDOWN_CAUSE_HOST_QMP_QUIT);
}

static void coroutine_fn hmp_device_add(Monitor *mon, const QDict *args)
{
    QemuOptsList list = {.name = "device", .implied_opt_name = "driver"};
    const char *text = qdict_get_str(args, "device");
    g_autoptr(QDict) dict = NULL;
    g_autofree char *help = NULL;
    Error *err = NULL;
    QemuOpts *opts;

    if (!strcmp(text, "help") || !strcmp(text, "?")) {
        help = device_help();
        monitor_puts(mon, help);
        return;
    }
    opts = qemu_opts_parse(&list, text, true, &err);
    if (opts) {
        dict = qemu_opts_to_qdict(opts, NULL);
        qemu_opts_reset(&list);
        device_add(dict, machine_get()->is_complete, &err);
    }
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_device_del(Monitor *mon, const QDict *args)
{
    Error *err = NULL;

    device_del(qdict_get_str(args, "id"), &err);
    hmp_handle_error(mon, err);
}

static void complete_device_type(GPtrArray *words, const GPtrArray *before, const char *prefix)
{
    for (const DeviceType *const *type = device_types(); *type; type++) {
        if ((*type)->user_creatable && (*type)->hotpluggable) {
            hmp_add_choice(words, (*type)->name, prefix);
        }
    }
}

typedef struct Ids {
    GPtrArray *words;
    const char *prefix;
} Ids;

static bool add_device_id(Device *dev, void *opaque)
{
    const Ids *ids = opaque;

    if (dev->id) {
        hmp_add_choice(ids->words, dev->id, ids->prefix);
    }
    return true;
}

static void complete_device_id(GPtrArray *words, const GPtrArray *before, const char *prefix)
{
    Ids ids = {words, prefix};

    device_foreach(add_device_id, &ids);
}

static const HMPCommand hmp_commands[] = {
    { "stop|s", "", "", "stop emulation", hmp_stop, true },
    { "cont|c", "", "", "resume emulation", hmp_cont, true },
    { "system_reset", "", "", "reset the system", hmp_system_reset, true },
    { "system_powerdown", "", "", "send system power down event", hmp_system_powerdown, true },
    { "quit|q", "", "", "quit the emulator", hmp_quit, true },
    { "exit_preconfig", "", "", "exit the preconfig state", hmp_exit_preconfig, true },
    { "device_add", "device:S", "driver[,prop=value][,...]", "add device, like -device on the "
      "command line", hmp_device_add, false },
    { "device_del", "id:s", "device", "remove device", hmp_device_del, false },
    { .name = NULL },
};

static void coroutine_fn hmp_info_status(Monitor *mon, const QDict *args)
{
    RunState state = runstate_get();

    monitor_printf(mon, "VM status: %s", runstate_is_running() ? "running" : "paused");
    if (!runstate_is_running() && state != RUN_STATE_PAUSED) {
        monitor_printf(mon, " (%s)", RunState_str(state));
    }
    monitor_printf(mon, "\n");
}

static void coroutine_fn hmp_info_qtree(Monitor *mon, const QDict *args)
{
    g_autoptr(GString) out = g_string_new(NULL);

    device_describe_tree(out);
    monitor_puts(mon, out->str);
}

static void coroutine_fn hmp_info_mtree(Monitor *mon, const QDict *args)
{
    g_autoptr(GString) out = g_string_new(NULL);
    Machine *machine = machine_get();

    g_string_append(out, "address-space: memory\n");
    memory_describe(machine->memory, out);
    g_string_append(out, "\naddress-space: I/O\n");
    memory_describe(machine->ports, out);
    monitor_puts(mon, out->str);
}

static void dump_cpu(VCpu *cpu, void *opaque)
{
    cpu->ops->dump(cpu, opaque);
}

static void coroutine_fn hmp_info_registers(Monitor *mon, const QDict *args)
{
    g_autoptr(GString) out = g_string_new(NULL);
    VCpu *cpu = machine_get()->cpu;

    if (!cpu) {
        monitor_printf(mon, "No CPU available\n");
        return;
    }
    vcpu_run_paused(cpu, dump_cpu, out);
    monitor_puts(mon, out->str);
}

static void add_iothread_text(const IOThreadInfo *info, Monitor *mon)
{
    monitor_printf(mon, "%s:\n  thread_id=%" PRId64 "\n  poll-max-ns=%" PRId64
                   "\n  poll-grow=%" PRId64 "\n  poll-shrink=%" PRId64 "\n  aio-max-batch=%" PRId64
                   "\n", info->id, info->thread_id, info->poll_max_ns, info->poll_grow,
                   info->poll_shrink, info->aio_max_batch);
}

static void coroutine_fn hmp_info_iothreads(Monitor *mon, const QDict *args)
{
    IOThreadInfoList *list = qmp_query_iothreads(NULL);

    for (IOThreadInfoList *e = list; e; e = e->next) {
        add_iothread_text(e->value, mon);
    }
    qapi_free_IOThreadInfoList(list);
}

static const HMPCommand hmp_infos[] = {
    { "status", "", "", "show the current VM status (running|paused)", hmp_info_status, true },
    { "qtree", "", "", "show device tree", hmp_info_qtree, true },
    { "mtree", "", "", "show memory tree", hmp_info_mtree, true },
    { "registers", "", "", "show the cpu registers", hmp_info_registers, true },
    { "iothreads", "", "", "show iothreads", hmp_info_iothreads, true },
    { .name = NULL },
};

void system_register_commands(void)
{
    hmp_register_commands(hmp_commands);
    hmp_register_info(hmp_infos);
    hmp_set_completer("device_add", 0, complete_device_type);
    hmp_set_completer("device_del", 0, complete_device_id);
    device_set_deleted_hook(device_deleted);
    /* They set flags or stop CPUs; a job that holds the control lock must not delay them. */
    monitor_exempt_command("stop");
    monitor_exempt_command("cont");
    monitor_exempt_command("system_reset");
    monitor_exempt_command("system_powerdown");
    /* The program, which makes the machine then, takes the lock. */
    monitor_exempt_command("x-exit-preconfig");
}
