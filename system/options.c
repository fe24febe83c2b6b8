/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "system/options.h"

typedef struct OptionInfo {
    const char *name;
    OptionId id;
    bool has_arg;
    const char *params; /* for help; NULL: not shown */
    const char *help;
} OptionInfo;

static const OptionInfo infos[] = {
    {"h", OPT_HELP, false, NULL, NULL},
    {"help", OPT_HELP, false, "", "display this help and exit"},
    {"version", OPT_VERSION, false, "", "display version information and exit"},
    {"machine", OPT_MACHINE, true, "[type=]name[,accel=tcg|qtest]",
     "select emulated machine ('-machine help' for list)"},
    {"M", OPT_MACHINE, true, "name", "like -machine"},
    {"cpu", OPT_CPU, true, "cpu", "select CPU ('-cpu help' for list)"},
    {"accel", OPT_ACCEL, true, "tcg|qtest", "select what drives the machine"},
    {"smp", OPT_SMP, true, "[cpus=]n", "set the number of CPUs; there is one"},
    {"m", OPT_M, true, "[size=]megs", "configure guest RAM"},
    {"name", OPT_NAME, true, "[guest=]name[,process=name][,debug-threads=on|off]",
     "set the name of the guest, and of the process"},
    {"device", OPT_DEVICE, true, "driver[,prop=value][,...]",
     "add device ('-device help' for list, '-device driver,help' for properties)"},
    {"object", OPT_OBJECT, true, "type[,prop=value][,...]", "create an object"},
    {"drive", OPT_DRIVE, true, "[file=file][,if=type][,id=name][,...]",
     "use 'file' as a drive image"},
    {"blockdev", OPT_BLOCKDEV, true, "[driver=]driver[,node-name=N][,...]",
     "configure a block backend"},
    {"hda", OPT_HDA, true, "file", "use 'file' as hard disk 0 image"},
    {"hdb", OPT_HDB, true, "file", "use 'file' as hard disk 1 image"},
    {"hdc", OPT_HDC, true, "file", "use 'file' as hard disk 2 image"},
    {"hdd", OPT_HDD, true, "file", "use 'file' as hard disk 3 image"},
    {"cdrom", OPT_CDROM, true, "file", "use 'file' as CD-ROM image"},
    {"fda", OPT_FDA, true, "file", "use 'file' as floppy disk 0 image"},
    {"fdb", OPT_FDB, true, "file", "use 'file' as floppy disk 1 image"},
    {"pflash", OPT_PFLASH, true, "file", "use 'file' as a parallel flash image"},
    {"sd", OPT_SD, true, "file", "use 'file' as SecureDigital card image"},
    {"mtdblock", OPT_MTDBLOCK, true, "file", "use 'file' as on-board Flash memory image"},
    {"snapshot", OPT_SNAPSHOT, false, "", "write to temporary files instead of disk image files"},
    {"kernel", OPT_KERNEL, true, "file", "use 'file' as kernel: ELF, or raw at 16 MiB"},
    {"append", OPT_APPEND, true, "cmdline", "use 'cmdline' as kernel command line"},
    {"initrd", OPT_INITRD, true, "file", "use 'file' as initial ram disk"},
    {"bios", OPT_BIOS, true, "file", "put 'file' into the boot ROM"},
    {"chardev", OPT_CHARDEV, true, "backend,id=id[,...]", "create a character device"},
    {"serial", OPT_SERIAL, true, "dev", "redirect the serial port to char device 'dev'"},
    {"debugcon", OPT_DEBUGCON, true, "dev", "redirect the debug console to char device 'dev'"},
    {"monitor", OPT_MONITOR, true, "dev", "redirect the monitor to char device 'dev'"},
    {"qmp", OPT_QMP, true, "dev", "like -monitor but opens in 'control' mode"},
    {"qmp-pretty", OPT_QMP_PRETTY, true, "dev", "like -qmp but uses pretty JSON formatting"},
    {"mon", OPT_MON, true, "[chardev=]name[,mode=readline|control]", "set up a monitor"},
    {"nographic", OPT_NOGRAPHIC, false, "", "redirect serial I/O and monitor to the console"},
    {"display", OPT_DISPLAY, true, "none", "there is no display"},
    {"nodefaults", OPT_NODEFAULTS, false, "", "don't create default devices"},
    {"no-user-config", OPT_NO_USER_CONFIG, false, "", "no effect: there is no user config"},
    {"nodefconfig", OPT_NO_USER_CONFIG, false, NULL, NULL},
    {"S", OPT_S, false, "", "freeze CPU at startup (use 'c' to start execution)"},
    {"preconfig", OPT_PRECONFIG, false, "", "pause before the machine is made (experimental)"},
    {"loadvm", OPT_LOADVM, true, "tag", "start right away with a saved state"},
    {"no-reboot", OPT_NO_REBOOT, false, "", "exit instead of rebooting"},
    {"no-shutdown", OPT_NO_SHUTDOWN, false, "", "stop before shutdown"},
    {"action", OPT_ACTION, true, "[reboot=reset|shutdown][,shutdown=poweroff|pause]",
     "what to do on a reboot or shutdown by the guest"},
    {"pidfile", OPT_PIDFILE, true, "file", "write PID to 'file'"},
    {"daemonize", OPT_DAEMONIZE, false, "", "daemonize after initializing"},
    {"d", OPT_D, true, "item1,...", "enable logging of specified items ('-d help' for list)"},
    {"D", OPT_LOG_FILE, true, "logfile", "output log to logfile (default stderr)"},
    {"qtest", OPT_QTEST, true, "dev", "serve the qtest protocol on char device 'dev'"},
    {"qtest-log", OPT_QTEST_LOG, true, "file", "log of the qtest protocol"},
    /* What other machines may have and this one has none of; scripts say so explicitly. */
    {"net", OPT_ONLY_NONE, true, NULL, NULL},
    {"nic", OPT_ONLY_NONE, true, NULL, NULL},
    {"vga", OPT_ONLY_NONE, true, NULL, NULL},
    {"parallel", OPT_ONLY_NONE, true, NULL, NULL},
};

static const OptionInfo *option_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(infos); i++) {
        if (!strcmp(infos[i].name, name)) {
            return &infos[i];
        }
    }
    return NULL;
}

void options_parse(Options *options, int argc, char **argv)
{
    options->argv = argv;
    options->list = g_array_new(false, false, sizeof(Option));
    for (int i = 1; i < argc; i++) {
        Option option = {.argv_index = i, .argv_count = 1};
        const OptionInfo *info;

        loc_set_cmdline(argv, i, 1);
        if (argv[i][0] != '-') {
            /* A bare word is the first disk. */
            option.id = OPT_HDA;
            option.arg = argv[i];
        } else {
            info = option_find(argv[i] + (argv[i][1] == '-' ? 2 : 1));
            if (!info) {
                error_report("invalid option");
                exit(1);
            }
            option.id = info->id;
            if (info->has_arg) {
                if (i + 1 >= argc) {
                    error_report("requires an argument");
                    exit(1);
                }
                option.arg = argv[++i];
                option.argv_count = 2;
            }
        }
        g_array_append_val(options->list, option);
    }
    loc_set_none();
}

static const Option *find_last(const Options *options, OptionId id)
{
    for (guint i = options->list->len; i-- > 0;) {
        const Option *option = &g_array_index(options->list, Option, i);

        if (option->id == id) {
            return option;
        }
    }
    return NULL;
}

const char *options_last(const Options *options, OptionId id)
{
    const Option *option = find_last(options, id);

    return option ? option->arg ? option->arg : "" : NULL;
}

static void fail_at(const Options *options, const Option *option, Error *err)
{
    if (option) {
        loc_set_cmdline(options->argv, option->argv_index, option->argv_count);
    }
    error_report_err(err);
    exit(1);
}

void options_foreach(const Options *options, OptionId id,
                     bool (*fn)(const Option *option, void *opaque, Error **errp), void *opaque)
{
    for (guint i = 0; i < options->list->len; i++) {
        const Option *option = &g_array_index(options->list, Option, i);
        Error *err = NULL;

        if (option->id != id) {
            continue;
        }
        loc_set_cmdline(options->argv, option->argv_index, option->argv_count);
        if (!fn(option, opaque, &err)) {
            fail_at(options, option, err);
        }
        loc_set_none();
    }
}

void options_fail(const Options *options, OptionId id, Error *err)
{
    fail_at(options, find_last(options, id), err);
    g_assert_not_reached();
}

void options_print_help(const char *program)
{
    printf("usage: %s [options]\n\n", program);
    for (size_t i = 0; i < ARRAY_SIZE(infos); i++) {
        if (infos[i].params) {
            g_autofree char *left = g_strdup_printf("-%s %s", infos[i].name, infos[i].params);

            if (strlen(left) < 16) {
                printf("%-16s%s\n", left, infos[i].help);
            } else {
                printf("%s\n%16s%s\n", left, "", infos[i].help);
            }
        }
    }
}
