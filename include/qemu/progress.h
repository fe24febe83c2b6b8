/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Progress: the meter of a job, and the percentage the tools print with -p.
 */
#ifndef QEMU_PROGRESS_H
#define QEMU_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* ---- meter: any thread may call ------------------------------------------------------------- */

typedef struct ProgressMeter {
    /* atomic: */
    uint64_t current;           /* work done; any unit, usually bytes */
    uint64_t remaining;         /* work known to be left */
} ProgressMeter;

void progress_init(ProgressMeter *pm);
/* Work done, and the total as known now.  The two are read one after the other. */
void progress_get_snapshot(const ProgressMeter *pm, uint64_t *current, uint64_t *total);
/* @done units of what remained are done; more than remained is fine. */
void progress_work_done(ProgressMeter *pm, uint64_t done);
void progress_set_remaining(ProgressMeter *pm, uint64_t remaining);
void progress_increase_remaining(ProgressMeter *pm, uint64_t delta);

/* ---- percentage on the terminal: one thread ------------------------------------------------- */

/**
 * Begin.  @enabled: print to stdout; otherwise SIGUSR1 prints one line to stderr at the next
 * qemu_progress_print().  @min_skip: percents that must pass before printing again.
 */
void qemu_progress_init(bool enabled, float min_skip);
/* End the line, and forget SIGUSR1. */
void qemu_progress_end(void);
/* @delta percent of a part that is @max percent of the whole are done; @max 0: @delta percent of
 * the whole is where we are. */
void qemu_progress_print(float delta, int max);

#endif
