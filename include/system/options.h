/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line of the emulator, taken apart but not yet acted upon.
 */
#ifndef SYSTEM_OPTIONS_H
#define SYSTEM_OPTIONS_H

#include <glib.h>
#include <stdbool.h>

#include "qemu/error.h"
#include "qobject/opts.h"

typedef enum OptionId {
    OPT_NONE,
    OPT_ACCEL, OPT_ACTION, OPT_APPEND, OPT_BIOS, OPT_BLOCKDEV, OPT_CDROM, OPT_CHARDEV,
    OPT_CPU, OPT_D, OPT_DAEMONIZE, OPT_DEBUGCON, OPT_DEVICE, OPT_DISPLAY, OPT_DRIVE, OPT_FDA,
    OPT_FDB, OPT_HDA, OPT_HDB, OPT_HDC, OPT_HDD, OPT_HELP, OPT_INITRD, OPT_KERNEL, OPT_LOADVM,
    OPT_LOG_FILE, OPT_M, OPT_MACHINE, OPT_MON, OPT_MONITOR, OPT_MTDBLOCK, OPT_NAME,
    OPT_NODEFAULTS, OPT_NOGRAPHIC, OPT_NO_REBOOT, OPT_NO_SHUTDOWN, OPT_NO_USER_CONFIG,
    OPT_OBJECT, OPT_ONLY_NONE, OPT_PFLASH, OPT_PIDFILE, OPT_PRECONFIG, OPT_QMP, OPT_QMP_PRETTY,
    OPT_QTEST, OPT_QTEST_LOG, OPT_S, OPT_SD, OPT_SERIAL, OPT_SMP, OPT_SNAPSHOT, OPT_VERSION,
} OptionId;

typedef struct Option {
    OptionId id;
    const char *arg; /* NULL: it has none */
    int argv_index, argv_count;
} Option;

typedef struct Options {
    char **argv;
    GArray *list; /* of Option, in the order given */
} Options;

/** Take the command line apart; exits with a message if it can't be. */
void options_parse(Options *options, int argc, char **argv);

/** The argument of the last option @id (an empty string if it takes none), or NULL. */
const char *options_last(const Options *options, OptionId id);

static inline bool options_has(const Options *options, OptionId id)
{
    return options_last(options, id) != NULL;
}

/**
 * Call @fn for each option @id in order, with errors located at that option; exits with status 1,
 * having reported the error, when it returns false.
 */
void options_foreach(const Options *options, OptionId id,
                     bool (*fn)(const Option *option, void *opaque, Error **errp), void *opaque);

/** Report @err (taken) at the last option @id, and exit with status 1. */
void options_fail(const Options *options, OptionId id, Error *err) G_GNUC_NORETURN;

/** Let query-command-line-options tell of an option's parameters; @name and @desc are kept. */
void options_add_group(const char *name, const QemuOptDesc *desc);

/** Print the text of -help. */
void options_print_help(const char *program);

#endif
