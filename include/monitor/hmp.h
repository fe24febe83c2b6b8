/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of commands for people.
 *
 * Arguments are described by a list "NAME:TYPE,...", in order:
 *   s  a word, or text in quotes        S  the rest of the line
 *   F  a file name                      B  a device
 *   i  a 32-bit number                  l  a 64-bit number
 *   o  a size, suffixes allowed, MiB without one
 *   b  on or off
 *   -X a flag; the argument is true if -X is there
 * A "?" behind the type makes the argument optional.
 */
#ifndef MONITOR_HMP_H
#define MONITOR_HMP_H

#include "monitor/monitor.h"
#include "qobject/qdict.h"

/**
 * Add what an argument that begins with @prefix may be, by hmp_add_choice().  @before: the
 * arguments in front of it, without flags.
 */
typedef void HMPCompleter(GPtrArray *words, const GPtrArray *before, const char *prefix);

typedef struct HMPCommand {
    const char *name;      /* several names as "quit|q"; NULL ends a table */
    const char *args_type;
    const char *params;    /* for help: "[-f] device [speed]" */
    const char *help;
    void coroutine_fn (*run)(Monitor *mon, const QDict *args);
    bool is_exempt;        /* runs without the control lock */
} HMPCommand;

/** Offer commands; the table is not copied. */
void hmp_register_commands(const HMPCommand *table);
/** The same for what follows "info"; all of them are exempt. */
void hmp_register_info(const HMPCommand *table);
/** What completes argument @n, from 0 on, of @command, or with NULL all arguments of type B. */
void hmp_set_completer(const char *command, unsigned n, HMPCompleter *completer);
/** Append a copy of @word, if it begins with @prefix and is not there. */
void hmp_add_choice(GPtrArray *words, const char *word, const char *prefix);

/** Report @err (taken) as "Error: MESSAGE", if there is one; true then. */
bool hmp_handle_error(Monitor *mon, Error *err);

#endif
