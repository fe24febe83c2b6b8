/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-system-e2k: objects, character devices, disks, the machine and its devices, as the command
 * line wants them.
 */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/graph.h"
#include "hw/e2k/board.h"
#include "hw/e2k/drives.h"
#include "io/chardev.h"
#include "monitor/monitor.h"
#include "qapi/user-object.h"
#include "qemu/main-loop.h"
#include "qobject/json-parser.h"
#include "qobject/qdict.h"
#include "startup.h"
#include "system/device.h"

typedef struct DriveOption {
    QemuOpts *opts;
    const Option *option;
} DriveOption;

/* ---- objects, character devices, disks ------------------------------------------------------- */

/* What lets clients in comes later, with the monitors. */
static bool create_object(const Option *option, void *opaque, Error **errp)
{
    return user_object_str_is_late(option->arg) || user_object_add_from_str(option->arg, errp);
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

bool startup_control_call(bool coroutine_fn (*fn)(void *opaque, Error **errp), void *opaque,
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

    return options && startup_control_call(blockdev_entry, options, errp);
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

void startup_parse_drives(Startup *s)
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
        if (!startup_control_call(drive_entry, args, &err)) {
            fail_at_option(s, drive->option, err);
        }
    }
    loc_set_none();
}

void startup_create_backends(Startup *s)
{
    options_foreach(&s->options, OPT_OBJECT, create_object, NULL);
    options_foreach(&s->options, OPT_CHARDEV, create_chardev, NULL);
    options_foreach(&s->options, OPT_BLOCKDEV, create_blockdev, NULL);
    create_drives(s);
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

void startup_create_machine(Startup *s)
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

    return startup_control_call(chardev_device_entry, args, errp);
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

    return opts && startup_control_call(device_entry, opts, errp);
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

void startup_create_devices(Startup *s)
{
    Error *err = NULL;

    create_serial_port(s);
    if (options_has(&s->options, OPT_DEBUGCON)) {
        options_foreach(&s->options, OPT_DEBUGCON, create_debugcon, s);
    }
    if (!startup_control_call(drives_entry, s->machine, &err)) {
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
