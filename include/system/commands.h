/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The monitor commands that are about the machine: the schema's modules machine and device, quit,
 * and their counterparts for people.
 */
#ifndef SYSTEM_COMMANDS_H
#define SYSTEM_COMMANDS_H

#include "qapi/dispatch.h"

/** Offer them.  Once, at start-up. */
void system_register_commands(QmpCommandList *commands);

#endif
