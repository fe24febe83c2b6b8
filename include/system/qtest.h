/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The qtest protocol: a test program drives the machine's bus instead of a CPU.
 *
 * One line is one command; "OK ..." or "FAIL ..." answers it.  "IRQ raise N" and "IRQ lower N" come
 * in between once lines are intercepted.  Main thread.
 */
#ifndef SYSTEM_QTEST_H
#define SYSTEM_QTEST_H

#include <stdbool.h>

#include "system/irq.h"

typedef struct Error Error;

/** Whether -accel qtest was given; set before the machine is built. */
bool qtest_enabled(void);
void qtest_set_enabled(void);

/** Let tests watch or set the @n lines of the device called @name; borrowed. */
void qtest_add_irqs(const char *name, IrqLine *const *lines, int n);

/**
 * Serve the protocol on the character device @chardev, as -qtest names it.
 * @log: file for a log, "none", or NULL for stderr.
 */
bool qtest_init(const char *chardev, const char *log, Error **errp);

/** Stop serving. */
void qtest_cleanup(void);

#endif
