/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-system-e2k: options that say what machine there is and how it runs, and help about options.
 */
#include "qemu/osdep.h"

#include <sys/prctl.h>

#include "hw/e2k/board.h"
#include "qapi/gen/block-core-types.h"
#include "qapi/gen/char-types.h"
#include "qapi/gen/control-types.h"
#include "qapi/gen/qom-types.h"
#include "qapi/help.h"
#include "qemu/cutils.h"
#include "qemu/log.h"
#include "startup.h"
#include "system/commands.h"
#include "system/device.h"
#include "system/qtest.h"
#include "system/runstate.h"

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

const QemuOptDesc startup_name_desc[] = {
    { .name = "guest", .type = QEMU_OPT_STRING, .help = "name of the guest" },
    { .name = "process", .type = QEMU_OPT_STRING, .help = "name of the process" },
    /* Threads always have names. */
    { .name = "debug-threads", .type = QEMU_OPT_BOOL, .help = "whether threads have names" },
    { .name = NULL },
};

static bool parse_name(const Option *option, void *opaque, Error **errp)
{
    QemuOptsList list = { .name = "name", .implied_opt_name = "guest", .desc = startup_name_desc };
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

void startup_parse_options(Startup *s)
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

void startup_show_help(Startup *s)
{
    options_foreach(&s->options, OPT_DEVICE, show_device_help, NULL);
    options_foreach(&s->options, OPT_BLOCKDEV, show_option_help, NULL);
    options_foreach(&s->options, OPT_CHARDEV, show_option_help, NULL);
    options_foreach(&s->options, OPT_MON, show_option_help, NULL);
    options_foreach(&s->options, OPT_OBJECT, show_option_help, NULL);
}
