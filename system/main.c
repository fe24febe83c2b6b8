/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-system-e2k: from the command line to a running machine, and its end. */
#include "qemu/osdep.h"

#include <signal.h>
#include <sys/prctl.h>

#include "block/blockdev.h"
#include "block/graph.h"
#include "block/vm-snapshot.h"
#include "hw/e2k/board.h"
#include "hw/e2k/drives.h"
#include "io/chardev.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/gen/block-core-types.h"
#include "qapi/gen/char-types.h"
#include "qapi/gen/control-commands.h"
#include "qapi/gen/device-commands.h"
#include "qapi/gen/introspect-commands.h"
#include "qapi/gen/machine-commands.h"
#include "qapi/gen/monitor-commands.h"
#include "qapi/gen/qom-types.h"
#include "qapi/help.h"
#include "qapi/user-object.h"
#include "qemu/cutils.h"
#include "qemu/log.h"
#include "qemu/main-loop.h"
#include "qemu/version.h"
#include "qobject/json-parser.h"
#include "qobject/opts.h"
#include "qobject/qdict.h"
#include "system/commands.h"
#include "qemu/daemon.h"
#include "system/device.h"
#include "system/machine.h"
#include "system/options.h"
#include "system/qtest.h"
#include "system/runstate.h"
#include "tools/qemu-io-hmp.h"

typedef struct DriveOption {
    QemuOpts *opts;
    const Option *option;
} DriveOption;

typedef struct Startup {
    Options options;
    const MachineType *machine_type;
    bool use_qtest;
    uint64_t ram_size; /* 0: the machine's default */
    GArray *drives;    /* of DriveOption */
    Machine *machine;
    bool shares_serial_with_monitor;
} Startup;

/* ---- options of the machine ------------------------------------------------------------------ */

static bool set_accel(Startup *s, const char *name, Error **errp)
{
    if (!strcmp(name, "qtest")) {
        s->use_qtest = true;
    } else if (strcmp(name, "tcg")) {
        error_setg(errp, "invalid accelerator %s", name);
        return false;
    }
    return true;
}

static bool set_machine_property(void *opaque, const char *name, const char *value, Error **errp)
{
    Startup *s = opaque;

    if (!strcmp(name, "type")) {
        s->machine_type = machine_type_find(value);
        if (!s->machine_type) {
            error_setg(errp, "unsupported machine type: \"%s\"", value);
            error_append_hint(errp, "Use -machine help to list supported machines\n");
            return false;
        }
        return true;
    }
    if (!strcmp(name, "accel")) {
        return set_accel(s, value, errp);
    }
    error_setg(errp, "Property '%s-machine.%s' not found",
               s->machine_type ? s->machine_type->name : "e2k", name);
    return false;
}

static bool parse_machine(const Option *option, void *opaque, Error **errp)
{
    QemuOptsList list = {.name = "machine", .implied_opt_name = "type"};
    QemuOpts *opts;
    bool ok;

    if (!strcmp(option->arg, "help") || !strcmp(option->arg, "?")) {
        g_autofree char *help = machine_help();

        fputs(help, stdout);
        exit(0);
    }
    opts = qemu_opts_parse(&list, option->arg, true, errp);
    ok = opts && qemu_opt_foreach(opts, set_machine_property, opaque, errp);
    qemu_opts_reset(&list);
    return ok;
}

static bool parse_accel(const Option *option, void *opaque, Error **errp)
{
    const char *name = option->arg;

    strstart(name, "accel=", &name);
    if (!strcmp(name, "help") || !strcmp(name, "?")) {
        printf("Accelerators supported in QEMU binary:\ntcg\nqtest\n");
        exit(0);
    }
    return set_accel(opaque, name, errp);
}

static bool parse_memory(const Option *option, void *opaque, Error **errp)
{
    Startup *s = opaque;
    const char *text = option->arg;

    strstart(text, "size=", &text);
    if (qemu_strtosz_MiB(text, NULL, &s->ram_size) < 0) {
        error_setg(errp, "Parameter 'size' expects a size");
        error_append_hint(errp, "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, "
                          "tera-, peta-\nand exabytes, respectively.\n");
        return false;
    }
    s->ram_size = s->ram_size > UINT64_MAX - MEM_PAGE_SIZE
                  ? UINT64_MAX : QEMU_ALIGN_UP(s->ram_size, (uint64_t)MEM_PAGE_SIZE);
    return true;
}

static bool parse_smp(const Option *option, void *opaque, Error **errp)
{
    const char *text = option->arg;
    uint64_t cpus;

    strstart(text, "cpus=", &text);
    if (qemu_strtou64(text, NULL, 10, &cpus) < 0 || !cpus) {
        error_setg(errp, "Parameter 'cpus' expects a number");
        return false;
    }
    if (cpus > 1) {
        error_setg(errp, "Invalid SMP CPUs %" PRIu64 ". The max CPUs supported by machine 'e2k' "
                   "is 1", cpus);
        return false;
    }
    return true;
}

static bool parse_only_none(const Option *option, void *opaque, Error **errp)
{
    if (strcmp(option->arg, "none")) {
        error_setg(errp, "this machine has no such device; only 'none' is accepted");
        return false;
    }
    return true;
}

static void print_cpus(const CpuType *type)
{
    printf("Available CPUs:\n");
    for (int i = 0; type->models[i]; i++) {
        printf("  %-16s %s\n", type->models[i], type->descriptions[i]);
    }
}

static bool parse_cpu(const Option *option, void *opaque, Error **errp)
{
    Startup *s = opaque;

    if (!strcmp(option->arg, "help") || !strcmp(option->arg, "?")) {
        print_cpus(e2k_machine_type.cpu_type);
        exit(0);
    }
    if (!s->machine_type->cpu_type) {
        error_setg(errp, "machine '%s' has no CPU", s->machine_type->name);
        return false;
    }
    return true;
}

static bool parse_action(const Option *option, void *opaque, Error **errp)
{
    g_auto(GStrv) items = g_strsplit(option->arg, ",", 0);
    RebootAction *reboot = ((void **)opaque)[0];
    ShutdownAction *shutdown = ((void **)opaque)[1];

    for (char **item = items; *item; item++) {
        if (!strcmp(*item, "reboot=reset") || !strcmp(*item, "reboot=shutdown")) {
            *reboot = strcmp(*item, "reboot=reset") ? REBOOT_SHUTDOWN : REBOOT_RESET;
        } else if (!strcmp(*item, "shutdown=poweroff") || !strcmp(*item, "shutdown=pause")) {
            *shutdown = strcmp(*item, "shutdown=pause") ? SHUTDOWN_POWEROFF : SHUTDOWN_PAUSE;
        } else {
            error_setg(errp, "Invalid parameter '%s'", *item);
            return false;
        }
    }
    return true;
}

static bool parse_log_items(const Option *option, void *opaque, Error **errp)
{
    int *mask = opaque, more;

    if (!strcmp(option->arg, "help")) {
        qemu_print_log_usage(stdout);
        exit(0);
    }
    if (!qemu_str_to_log_mask(option->arg, &more, errp)) {
        return false;
    }
    *mask |= more;
    return true;
}

static bool set_log_file(const Option *option, void *opaque, Error **errp)
{
    return qemu_set_log_filename(option->arg, errp);
}

static const QemuOptDesc name_desc[] = {
    { .name = "guest", .type = QEMU_OPT_STRING, .help = "name of the guest" },
    { .name = "process", .type = QEMU_OPT_STRING, .help = "name of the process" },
    /* Threads always have names. */
    { .name = "debug-threads", .type = QEMU_OPT_BOOL, .help = "whether threads have names" },
    { .name = NULL },
};

static bool parse_name(const Option *option, void *opaque, Error **errp)
{
    QemuOptsList list = { .name = "name", .implied_opt_name = "guest", .desc = name_desc };
    QemuOpts *opts = qemu_opts_parse(&list, option->arg, true, errp);
    const char *guest = opts ? qemu_opt_get(opts, "guest") : NULL;
    const char *process = opts ? qemu_opt_get(opts, "process") : NULL;

    if (guest) {
        system_set_name(guest);
    }
    if (process) {
        prctl(PR_SET_NAME, process);
    }
    qemu_opts_reset(&list);
    return opts;
}

static void parse_early(Startup *s)
{
    RebootAction reboot = options_has(&s->options, OPT_NO_REBOOT) ? REBOOT_SHUTDOWN : REBOOT_RESET;
    ShutdownAction shutdown = options_has(&s->options, OPT_NO_SHUTDOWN) ? SHUTDOWN_PAUSE
                                                                        : SHUTDOWN_POWEROFF;
    void *actions[] = {&reboot, &shutdown};
    int log_mask = 0;

    s->machine_type = machine_type_find(NULL);
    options_foreach(&s->options, OPT_LOG_FILE, set_log_file, NULL);
    options_foreach(&s->options, OPT_D, parse_log_items, &log_mask);
    qemu_set_log(log_mask);
    options_foreach(&s->options, OPT_NAME, parse_name, NULL);
    options_foreach(&s->options, OPT_MACHINE, parse_machine, s);
    options_foreach(&s->options, OPT_ACCEL, parse_accel, s);
    options_foreach(&s->options, OPT_CPU, parse_cpu, s);
    options_foreach(&s->options, OPT_M, parse_memory, s);
    options_foreach(&s->options, OPT_SMP, parse_smp, s);
    options_foreach(&s->options, OPT_ONLY_NONE, parse_only_none, s);
    options_foreach(&s->options, OPT_DISPLAY, parse_only_none, s);
    options_foreach(&s->options, OPT_ACTION, parse_action, actions);
    runstate_set_actions(reboot, shutdown);
    if (s->use_qtest) {
        qtest_set_enabled();
    }
}

/* ---- help that needs no machine -------------------------------------------------------------- */

static bool show_device_help(const Option *option, void *opaque, Error **errp)
{
    g_autofree char *name = g_strndup(option->arg, strcspn(option->arg, ","));
    g_autofree char *help = NULL;

    if (!strcmp(option->arg, "help") || !strcmp(option->arg, "?")) {
        help = device_help();
    } else if (option->arg[0] != '{' && has_help_option(option->arg)) {
        const char *type = name;

        strstart(name, "driver=", &type);
        help = device_type_help(type);
        if (!help) {
            error_setg(errp, "'%s' is not a valid device model name", type);
            return false;
        }
    }
    if (help) {
        fputs(help, stdout);
        exit(0);
    }
    return true;
}

/* What the schema says of an option's argument. */
static bool show_option_help(const Option *option, void *opaque, Error **errp)
{
    static const struct {
        OptionId id;
        const QapiType *type;
        const char *caption;
    } kinds[] = {
        {OPT_BLOCKDEV, &qapi_type_BlockdevOptions, "Supported block drivers:"},
        {OPT_CHARDEV, &qapi_type_ChardevOptions, "Available chardev backend types:"},
        {OPT_MON, &qapi_type_MonitorOptions, "mon options:"},
        {OPT_OBJECT, &qapi_type_ObjectOptions, "List of user creatable objects:"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        g_autofree char *help = kinds[i].id != option->id ? NULL
            : qapi_option_help(kinds[i].type, kinds[i].caption, option->arg);

        if (help) {
            fputs(help, stdout);
            exit(0);
        }
    }
    return true;
}

/* ---- objects, character devices, disks ------------------------------------------------------- */

/* In two rounds: what lets clients in comes with the monitors. */
static bool create_object(const Option *option, void *opaque, Error **errp)
{
    return user_object_str_is_late(option->arg) || user_object_add_from_str(option->arg, errp);
}

static bool create_late_object(const Option *option, void *opaque, Error **errp)
{
    return !user_object_str_is_late(option->arg) || user_object_add_from_str(option->arg, errp);
}

static bool create_chardev(const Option *option, void *opaque, Error **errp)
{
    return chardev_new_from_opts(option->arg, errp);
}

/* A call that must run in a coroutine that holds the control lock. */
typedef struct ControlCall {
    bool coroutine_fn (*fn)(void *opaque, Error **errp);
    void *opaque;
    Error **errp;
    bool result;
} ControlCall;

static void coroutine_fn control_call_entry(void *opaque)
{
    ControlCall *call = opaque;

    bdrv_co_control_lock();
    call->result = call->fn(call->opaque, call->errp);
    bdrv_co_control_unlock();
}

static bool control_call(bool coroutine_fn (*fn)(void *opaque, Error **errp), void *opaque,
                         Error **errp)
{
    ControlCall call = {fn, opaque, errp, false};

    co_run(control_call_entry, &call);
    return call.result;
}

static bool coroutine_fn blockdev_entry(void *opaque, Error **errp)
{
    return blockdev_co_add(opaque, errp);
}

static bool create_blockdev(const Option *option, void *opaque, Error **errp)
{
    g_autoptr(BlockdevOptions) options = blockdev_parse(option->arg, errp);

    return options && control_call(blockdev_entry, options, errp);
}

static bool coroutine_fn drive_entry(void *opaque, Error **errp)
{
    void **args = opaque;

    return drive_co_new(args[0], *(BlockInterfaceType *)args[1], errp);
}

static bool parse_drive(const Option *option, void *opaque, Error **errp)
{
    GArray *drives = opaque;
    DriveOption drive = {drive_parse(option->arg, errp), option};

    if (drive.opts) {
        g_array_append_val(drives, drive);
    }
    return drive.opts;
}

/* -hda and its kin. */
static bool parse_disk_shortcut(const Option *option, void *opaque, Error **errp)
{
    static const struct {
        OptionId id;
        BlockInterfaceType type;
        int index;
        const char *opts;
    } shortcuts[] = {
        {OPT_HDA, IF_DEFAULT, 0, "media=disk"}, {OPT_HDB, IF_DEFAULT, 1, "media=disk"},
        {OPT_HDC, IF_DEFAULT, 2, "media=disk"}, {OPT_HDD, IF_DEFAULT, 3, "media=disk"},
        {OPT_CDROM, IF_DEFAULT, 2, "media=cdrom"}, {OPT_FDA, IF_FLOPPY, 0, ""},
        {OPT_FDB, IF_FLOPPY, 1, ""}, {OPT_PFLASH, IF_PFLASH, -1, ""}, {OPT_SD, IF_SD, -1, ""},
        {OPT_MTDBLOCK, IF_MTD, -1, ""},
    };
    GArray *drives = opaque;

    for (size_t i = 0; i < ARRAY_SIZE(shortcuts); i++) {
        if (shortcuts[i].id == option->id) {
            DriveOption drive = {
                drive_add(shortcuts[i].type, shortcuts[i].index, option->arg, shortcuts[i].opts),
                option,
            };

            g_array_append_val(drives, drive);
        }
    }
    return true;
}

static bool is_disk_shortcut(OptionId id)
{
    switch (id) {
    case OPT_HDA:
    case OPT_HDB:
    case OPT_HDC:
    case OPT_HDD:
    case OPT_CDROM:
    case OPT_FDA:
    case OPT_FDB:
    case OPT_PFLASH:
    case OPT_SD:
    case OPT_MTDBLOCK:
        return true;
    default:
        return false;
    }
}

/* Reports an error at the place of @option and exits. */
static void fail_at_option(const Startup *s, const Option *option, Error *err)
{
    loc_set_cmdline(s->options.argv, option->argv_index, option->argv_count);
    error_report_err(err);
    exit(1);
}

static void parse_drives(Startup *s)
{
    s->drives = g_array_new(false, false, sizeof(DriveOption));
    for (guint i = 0; i < s->options.list->len; i++) {
        const Option *option = &g_array_index(s->options.list, Option, i);
        Error *err = NULL;
        bool ok = true;

        loc_set_cmdline(s->options.argv, option->argv_index, option->argv_count);
        if (option->id == OPT_DRIVE) {
            ok = parse_drive(option, s->drives, &err);
        } else if (is_disk_shortcut(option->id)) {
            ok = parse_disk_shortcut(option, s->drives, &err);
        }
        if (!ok) {
            fail_at_option(s, option, err);
        }
    }
    loc_set_none();
}

static void create_drives(Startup *s)
{
    BlockInterfaceType type = drives_default_type(s->machine_type);

    for (guint i = 0; i < s->drives->len; i++) {
        DriveOption *drive = &g_array_index(s->drives, DriveOption, i);
        void *args[] = {drive->opts, &type};
        Error *err = NULL;

        loc_set_cmdline(s->options.argv, drive->option->argv_index, drive->option->argv_count);
        if (options_has(&s->options, OPT_SNAPSHOT)) {
            qemu_opt_set(drive->opts, "snapshot", "on", &error_abort);
        }
        if (!control_call(drive_entry, args, &err)) {
            fail_at_option(s, drive->option, err);
        }
    }
    loc_set_none();
}

/* ---- the machine and its devices ------------------------------------------------------------- */

static void set_cpu_model(Machine *machine, const char *text)
{
    const CpuType *type = machine->type->cpu_type;
    const char *comma = text ? strchr(text, ',') : NULL;

    if (!type) {
        return;
    }
    machine->cpu_model = text ? g_strndup(text, strcspn(text, ",")) : g_strdup(type->models[0]);
    machine->cpu_features = comma ? g_strdup(comma + 1) : NULL;
}

static void create_machine(Startup *s)
{
    Machine *machine = machine_create(s->machine_type);
    Error *err = NULL;

    s->machine = machine;
    machine->has_cpu = !s->use_qtest && machine->type->cpu_type;
    machine->kernel = g_strdup(options_last(&s->options, OPT_KERNEL));
    machine->append = g_strdup(options_last(&s->options, OPT_APPEND));
    machine->initrd = g_strdup(options_last(&s->options, OPT_INITRD));
    machine->bios = g_strdup(options_last(&s->options, OPT_BIOS));
    set_cpu_model(machine, options_last(&s->options, OPT_CPU));
    if (s->ram_size) {
        machine->ram_size = s->ram_size;
    }
    if (machine->type->max_ram_size && machine->ram_size > machine->type->max_ram_size) {
        error_setg(&err, "at most %" PRIu64 " MiB of RAM are supported by machine '%s'",
                   machine->type->max_ram_size / MiB, machine->type->name);
        options_fail(&s->options, OPT_M, err);
    }
    if (!machine_build(machine, &err)) {
        error_report_err(err);
        exit(1);
    }
}

/* A device of the machine's own, with one property, on the ISA bus. */
static bool coroutine_fn chardev_device_entry(void *opaque, Error **errp)
{
    const char *const *args = opaque;
    g_autoptr(QDict) opts = qdict_new();

    qdict_put_str(opts, "driver", args[0]);
    if (args[1]) {
        qdict_put_str(opts, "chardev", args[1]);
    }
    return device_add(opts, false, errp);
}

static bool create_chardev_device(const char *driver, Chardev *chr, Error **errp)
{
    const char *args[] = {driver, chr ? chardev_id(chr) : NULL};

    return control_call(chardev_device_entry, args, errp);
}

static bool create_serial(const Option *option, void *opaque, Error **errp)
{
    Startup *s = opaque;
    Error *err = NULL;
    bool is_shared = false;
    Chardev *chr = chardev_new_from_legacy("serial0", option->arg, &is_shared, &err);

    if (err) {
        error_propagate(errp, err);
        return false;
    }
    if (s->machine->type != &e2k_machine_type) {
        return true;
    }
    /* Of a shared terminal's users, the last one has it at first: the guest. */
    return (!is_shared || monitor_new_hmp(chr, true, errp)) &&
           create_chardev_device("isa-serial", chr, errp);
}

static bool create_debugcon(const Option *option, void *opaque, Error **errp)
{
    Error *err = NULL;
    Chardev *chr = chardev_new_from_legacy("debugcon", option->arg, NULL, &err);

    if (err) {
        error_propagate(errp, err);
        return false;
    }
    return !chr || create_chardev_device("isa-debugcon", chr, errp);
}

/* The serial port that is there unless -nodefaults, and always if -serial asks for it. */
static void create_serial_port(Startup *s)
{
    bool is_nographic = options_has(&s->options, OPT_NOGRAPHIC);
    bool has_serial = options_has(&s->options, OPT_SERIAL);
    Option option = {.id = OPT_SERIAL, .arg = "null"};
    Error *err = NULL;

    options_foreach(&s->options, OPT_SERIAL, create_serial, s);
    if (has_serial || options_has(&s->options, OPT_NODEFAULTS)) {
        return;
    }
    if (is_nographic) {
        option.arg = options_has(&s->options, OPT_MONITOR) || options_has(&s->options, OPT_QMP) ||
                     options_has(&s->options, OPT_MON) ? "stdio" : "mon:stdio";
    }
    if (!create_serial(&option, s, &err)) {
        error_report_err(err);
        exit(1);
    }
}

static bool coroutine_fn device_entry(void *opaque, Error **errp)
{
    return device_add(opaque, false, errp);
}

static QDict *parse_device(const char *arg, Error **errp)
{
    QemuOptsList list = {.name = "device", .implied_opt_name = "driver"};
    QemuOpts *opts;
    QDict *dict;

    if (arg[0] == '{') {
        QObject *obj = qobject_from_json(arg, errp);

        dict = qobject_to(QDict, obj);
        if (obj && !dict) {
            error_setg(errp, "Invalid parameter type for 'device', expected: object");
            qobject_unref(obj);
        }
        return dict;
    }
    opts = qemu_opts_parse(&list, arg, true, errp);
    dict = opts ? qemu_opts_to_qdict(opts, NULL) : NULL;
    qemu_opts_reset(&list);
    return dict;
}

static bool create_device(const Option *option, void *opaque, Error **errp)
{
    g_autoptr(QDict) opts = parse_device(option->arg, errp);

    return opts && control_call(device_entry, opts, errp);
}

static bool coroutine_fn drives_entry(void *opaque, Error **errp)
{
    return drives_co_create_devices(opaque, errp);
}

/* A drive that asks for an interface the machine does not have is the user's mistake there. */
static void fail_for_orphans(const Startup *s)
{
    Error *err = NULL;

    if (drive_check_orphans(&err)) {
        return;
    }
    for (DriveInfo *drive = drive_next(NULL); drive; drive = drive_next(drive)) {
        bool is_orphan = !drive->claimed && !drive->is_default && drive->type != IF_NONE &&
                         !blk_get_attached_dev(drive->blk);

        for (guint i = 0; is_orphan && i < s->drives->len; i++) {
            DriveOption *option = &g_array_index(s->drives, DriveOption, i);

            if (option->opts == drive->opts) {
                fail_at_option(s, option->option, err);
            }
        }
    }
    error_report_err(err);
    exit(1);
}

static void create_devices(Startup *s)
{
    Error *err = NULL;

    create_serial_port(s);
    if (options_has(&s->options, OPT_DEBUGCON)) {
        options_foreach(&s->options, OPT_DEBUGCON, create_debugcon, s);
    }
    if (!control_call(drives_entry, s->machine, &err)) {
        error_report_err(err);
        exit(1);
    }
    options_foreach(&s->options, OPT_DEVICE, create_device, s);
    if (!s->machine->type->load(s->machine, &err)) {
        error_report_err(err);
        exit(1);
    }
    fail_for_orphans(s);
    s->machine->is_complete = true;
}

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
    options_add_group("name", name_desc);
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

static void stop_on_io_error(void)
{
    vm_stop_request(RUN_STATE_IO_ERROR);
}

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
    control_call(close_entry, s->machine, &error_abort);
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

    if (tag && !control_call(loadvm_entry, (void *)tag, &err)) {
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
    blk_set_stop_hook(stop_on_io_error);
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
    options_foreach(&s.options, OPT_DEVICE, show_device_help, NULL);
    options_foreach(&s.options, OPT_BLOCKDEV, show_option_help, NULL);
    options_foreach(&s.options, OPT_CHARDEV, show_option_help, NULL);
    options_foreach(&s.options, OPT_MON, show_option_help, NULL);
    options_foreach(&s.options, OPT_OBJECT, show_option_help, NULL);
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
    parse_early(&s);
    parse_drives(&s);
    if (options_has(&s.options, OPT_PIDFILE) &&
        !daemon_write_pidfile(options_last(&s.options, OPT_PIDFILE), &err)) {
        options_fail(&s.options, OPT_PIDFILE, err);
    }
    options_foreach(&s.options, OPT_OBJECT, create_object, NULL);
    options_foreach(&s.options, OPT_CHARDEV, create_chardev, NULL);
    options_foreach(&s.options, OPT_BLOCKDEV, create_blockdev, NULL);
    create_drives(&s);
    if (wait_for_user(&s)) {
        create_machine(&s);
        create_devices(&s);
        start(&s);
        preconfig_end();
    }
    daemon_ready();
    status = system_main_loop();
    shut_down(&s);
    qmp_command_list_free(commands);
    return status;
}
