/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The monitor commands that are about the machine: the handlers of the schema's modules machine
 * and device, of quit, and their counterparts for people.
 */
#ifndef SYSTEM_COMMANDS_H
#define SYSTEM_COMMANDS_H

#include <stdbool.h>

/**
 * Offer those for people, and prepare the others, which the program registers by
 * qmp_init_machine_commands() and qmp_init_device_commands().  Once, at start-up.
 */
void system_register_commands(void);

/** Show devices in the tree that qom-list walks (qapi/object-tree.h).  Once, at start-up. */
void system_register_branch(void);

/**
 * -preconfig: serve monitors, which offer only what needs no machine, until x-exit-preconfig.
 * Returns: false if the run has ended instead.
 */
bool preconfig_wait(void);
/** There is a machine now. */
void preconfig_end(void);

/** The machine's name, as query-name tells it; copied. */
void system_set_name(const char *name);

#endif
