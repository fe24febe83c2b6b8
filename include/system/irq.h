/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupt lines: a wire from a device to a pin of whatever handles it.
 *
 * Rules of use:
 *  - The handler's side makes lines (irq_new) and owns them; devices borrow pointers.
 *  - NULL is a line that leads nowhere; all calls accept it.
 *  - Every call below is made with the machine lock held, and handlers run with it held.
 *  - Handlers see levels, not edges: the same level may be set any number of times.
 */
#ifndef SYSTEM_IRQ_H
#define SYSTEM_IRQ_H

#include <stdbool.h>

typedef struct IrqLine IrqLine;

/** Called for each irq_set() on pin @n. */
typedef void IrqHandler(void *opaque, int n, bool level);

/** Make a line to pin @n of @handler. */
IrqLine *irq_new(IrqHandler *handler, void *opaque, int n);

/** Make a line that passes its level on to both @a and @b, which stay their owners'. */
IrqLine *irq_split(IrqLine *a, IrqLine *b);

/** Make a line that passes the opposite level on to @line. */
IrqLine *irq_invert(IrqLine *line);

/** Free a line made here; accepts NULL. */
void irq_free(IrqLine *line);

/** Set the level of @line. */
void irq_set(IrqLine *line, bool level);

/** Set @line to 1. */
static inline void irq_raise(IrqLine *line)
{
    irq_set(line, true);
}

/** Set @line to 0. */
static inline void irq_lower(IrqLine *line)
{
    irq_set(line, false);
}

/** Set @line to 1 and back to 0: an edge. */
static inline void irq_pulse(IrqLine *line)
{
    irq_set(line, true);
    irq_set(line, false);
}

/**
 * Have @observer called before the handler of @line, each time; the handler runs after it only if
 * @pass_on.  One observer a line; used by qtest.  Returns: false if the line leads nowhere.
 */
bool irq_intercept(IrqLine *line, IrqHandler *observer, void *opaque, int n, bool pass_on);

#endif
