/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "system/irq.h"

typedef struct IrqTarget {
    IrqHandler *handler;
    void *opaque;
    int n;
} IrqTarget;

struct IrqLine {
    IrqTarget target;
    IrqTarget observer; /* handler NULL: nobody looks */
    bool pass_on;
    IrqLine *next[2];   /* where split and inverted lines lead */
};

IrqLine *irq_new(IrqHandler *handler, void *opaque, int n)
{
    IrqLine *line = g_new0(IrqLine, 1);

    line->target = (IrqTarget) {handler, opaque, n};
    return line;
}

static void split_handler(void *opaque, int n, bool level)
{
    IrqLine *line = opaque;

    irq_set(line->next[0], level);
    irq_set(line->next[1], level);
}

IrqLine *irq_split(IrqLine *a, IrqLine *b)
{
    IrqLine *line = irq_new(split_handler, NULL, 0);

    line->target.opaque = line;
    line->next[0] = a;
    line->next[1] = b;
    return line;
}

static void invert_handler(void *opaque, int n, bool level)
{
    IrqLine *line = opaque;

    irq_set(line->next[0], !level);
}

IrqLine *irq_invert(IrqLine *to)
{
    IrqLine *line = irq_new(invert_handler, NULL, 0);

    line->target.opaque = line;
    line->next[0] = to;
    return line;
}

void irq_free(IrqLine *line)
{
    g_free(line);
}

void irq_set(IrqLine *line, bool level)
{
    if (!line) {
        return;
    }
    if (line->observer.handler) {
        line->observer.handler(line->observer.opaque, line->observer.n, level);
        if (!line->pass_on) {
            return;
        }
    }
    line->target.handler(line->target.opaque, line->target.n, level);
}

bool irq_intercept(IrqLine *line, IrqHandler *observer, void *opaque, int n, bool pass_on)
{
    if (!line) {
        return false;
    }
    line->observer = (IrqTarget) {observer, opaque, n};
    line->pass_on = pass_on;
    return true;
}
