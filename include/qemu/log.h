/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log for developers: -d ITEM[,...] chooses what, -D FILE where (default: stderr).
 *
 * Rules of use:
 *   - Nothing is logged, and arguments are not evaluated, while an item is off.
 *   - A message is written whole; its lines end with a newline given by the caller.
 *   - Any thread may log; changing the setting is safe at any time.
 *   - Trace events are named switches, turned on by pattern: -d trace:PATTERN or --trace.
 */
#ifndef QEMU_LOG_H
#define QEMU_LOG_H

#include <glib.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "qemu/compiler.h"
#include "qemu/error.h"

/* What can be logged. */
#define CPU_LOG_TB_IN_ASM   (1 << 1)
#define CPU_LOG_INT         (1 << 4)
#define CPU_LOG_EXEC        (1 << 5)
#define CPU_LOG_TB_CPU      (1 << 8)
#define CPU_LOG_RESET       (1 << 9)
#define LOG_UNIMP           (1 << 10)
#define LOG_GUEST_ERROR     (1 << 11)
#define CPU_LOG_MMU         (1 << 12)
#define LOG_TRACE           (1 << 15)
#define LOG_BLOCK           (1 << 20)
#define LOG_QMP             (1 << 21)

/* Atomic; use qemu_loglevel_mask(). */
extern int qemu_loglevel;

/* Whether any of the items in @mask is on. */
static inline bool qemu_loglevel_mask(int mask)
{
    return unlikely((__atomic_load_n(&qemu_loglevel, __ATOMIC_RELAXED) & mask) != 0);
}

/* ---- writing -------------------------------------------------------------------------------- */

void qemu_log(const char *fmt, ...) QEMU_PRINTF(1, 2);
void qemu_vlog(const char *fmt, va_list ap) QEMU_PRINTF(1, 0);

#define qemu_log_mask(mask, ...) \
    do { \
        if (qemu_loglevel_mask(mask)) { \
            qemu_log(__VA_ARGS__); \
        } \
    } while (0)

/* The log for several writes that belong together; end with qemu_log_unlock(). */
FILE *qemu_log_trylock(void);
void qemu_log_unlock(FILE *file);

/* ---- setting -------------------------------------------------------------------------------- */

typedef struct QEMULogItem {
    int mask;
    const char *name;
    const char *help;
} QEMULogItem;

/* Ends with a zero mask. */
extern const QEMULogItem qemu_log_items[];

/* The mask for a list such as "int,guest_errors", "all" or "none"; trace:PATTERN is turned on at
 * once.  False when an item is unknown. */
bool qemu_str_to_log_mask(const char *items, int *mask, Error **errp);
/* Log the items in @mask and no others. */
void qemu_set_log(int mask);
/* Log to @filename; "%d" in it becomes the process id.  NULL or "": stderr. */
bool qemu_set_log_filename(const char *filename, Error **errp);
/* The help of -d. */
void qemu_print_log_usage(FILE *file);

/* ---- trace events --------------------------------------------------------------------------- */

/* Usually static, one per event: static TraceEvent trace_x = { .name = "x" }; */
typedef struct TraceEvent {
    const char *name;
    uint32_t state;             /* atomic: (generation << 1) | on; see log.c */
} TraceEvent;

/* Atomic. */
extern uint32_t trace_generation;

bool trace_event_update(TraceEvent *event);

static inline bool trace_event_enabled(TraceEvent *event)
{
    uint32_t state = __atomic_load_n(&event->state, __ATOMIC_RELAXED);

    if (unlikely(state >> 1 != __atomic_load_n(&trace_generation, __ATOMIC_RELAXED))) {
        return trace_event_update(event);
    }
    return unlikely(state & 1);
}

void trace_write(const TraceEvent *event, const char *fmt, ...) QEMU_PRINTF(2, 3);

/* One line "NAME: text" in the log when the event is on; no newline in the format. */
#define trace_log(event, ...) \
    do { \
        if (trace_event_enabled(event)) { \
            trace_write((event), __VA_ARGS__); \
        } \
    } while (0)

/* Turn events on whose names match the glob @pattern; "-PATTERN" turns them off.  The last
 * matching pattern decides. */
void trace_enable_events(const char *pattern);

#endif
