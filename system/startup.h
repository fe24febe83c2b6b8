/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Steps from the command line of qemu-system-e2k to a machine, for main.c.  Main thread, once each,
 * in this order.  A user's mistake is reported at the place of its option, and ends the program.
 */
#ifndef SYSTEM_STARTUP_H
#define SYSTEM_STARTUP_H

#include "qobject/opts.h"
#include "system/machine.h"
#include "system/options.h"

typedef struct Startup {
    Options options;
    const MachineType *machine_type;
    bool use_qtest;
    uint64_t ram_size; /* 0: the machine's default */
    GArray *drives;    /* of -drive and its short forms, which stay parsed until they are made */
    Machine *machine;
} Startup;

/** What -name takes. */
extern const QemuOptDesc startup_name_desc[];

/** If an option asks for help on what it takes, print that and exit. */
void startup_show_help(Startup *s);
/** Choose the machine, RAM, accelerator; what happens at reset and shutdown; the log. */
void startup_parse_options(Startup *s);
/** Parse -drive and its short forms; a mistake there is told before anything is made. */
void startup_parse_drives(Startup *s);
/** Make objects (but for those that let clients in), character devices, nodes and drives. */
void startup_create_backends(Startup *s);
void startup_create_machine(Startup *s);
/** Make all devices and load what the machine starts with. */
void startup_create_devices(Startup *s);

/** Call @fn in a coroutine that holds the control lock, and wait for it. */
bool startup_control_call(bool coroutine_fn (*fn)(void *opaque, Error **errp), void *opaque,
                          Error **errp);

#endif
