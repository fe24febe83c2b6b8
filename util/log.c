/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log targets, masks, and trace switches.
 */
#include "qemu/osdep.h"

#include <pthread.h>

#include "qemu/cutils.h"
#include "qemu/log.h"

int qemu_loglevel;

/* Guards log_file; held while a message is written. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *log_file;          /* NULL: stderr */

const QEMULogItem qemu_log_items[] = {
    { CPU_LOG_TB_IN_ASM, "in_asm", "show guest code when it is first decoded" },
    { CPU_LOG_INT, "int", "show interrupts and exceptions" },
    { CPU_LOG_EXEC, "exec", "show each executed block" },
    { CPU_LOG_TB_CPU, "cpu", "show registers before each executed block" },
    { CPU_LOG_RESET, "cpu_reset", "show the state of the processor at reset" },
    { LOG_UNIMP, "unimp", "show guest access to what is not emulated" },
    { LOG_GUEST_ERROR, "guest_errors", "show what the guest does wrong" },
    { CPU_LOG_MMU, "mmu", "show address translation" },
    { LOG_BLOCK, "block", "show graph changes and jobs of the block layer" },
    { LOG_QMP, "qmp", "show QMP commands and replies" },
    { 0, NULL, NULL },
};

/* ---- writing -------------------------------------------------------------------------------- */

FILE *qemu_log_trylock(void)
{
    pthread_mutex_lock(&log_lock);
    return log_file ? log_file : stderr;
}

void qemu_log_unlock(FILE *file)
{
    if (file) {
        fflush(file);
        pthread_mutex_unlock(&log_lock);
    }
}

void qemu_vlog(const char *fmt, va_list ap)
{
    FILE *file = qemu_log_trylock();

    vfprintf(file, fmt, ap);
    qemu_log_unlock(file);
}

void qemu_log(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    qemu_vlog(fmt, ap);
    va_end(ap);
}

/* ---- setting -------------------------------------------------------------------------------- */

static int find_item(const char *name)
{
    int all = 0;

    for (const QEMULogItem *item = qemu_log_items; item->mask; item++) {
        if (g_str_equal(item->name, name)) {
            return item->mask;
        }
        all |= item->mask;
    }
    return g_str_equal(name, "all") ? all : 0;
}

bool qemu_str_to_log_mask(const char *items, int *mask, Error **errp)
{
    g_auto(GStrv) names = g_strsplit(items, ",", 0);
    int result = 0;

    for (char **name = names; *name; name++) {
        const char *pattern;
        int item = find_item(*name);

        if (strstart(*name, "trace:", &pattern) && *pattern) {
            trace_enable_events(pattern);
            item = LOG_TRACE;
        }
        if (!item && !g_str_equal(*name, "none")) {
            error_setg(errp, "Unknown log item '%s'", *name);
            return false;
        }
        result |= item;
    }
    *mask = result;
    return true;
}

void qemu_set_log(int mask)
{
    __atomic_store_n(&qemu_loglevel, mask, __ATOMIC_RELAXED);
}

/* @filename with "%d" replaced, or NULL when it holds another conversion. */
static char *expand_filename(const char *filename)
{
    const char *percent = strchr(filename, '%');

    if (!percent) {
        return g_strdup(filename);
    }
    if (percent[1] != 'd' || strchr(percent + 1, '%')) {
        return NULL;
    }
    return g_strdup_printf("%.*s%ld%s", (int)(percent - filename), filename, (long)getpid(),
                           percent + 2);
}

bool qemu_set_log_filename(const char *filename, Error **errp)
{
    FILE *file = NULL, *old;

    if (filename && *filename) {
        g_autofree char *name = expand_filename(filename);

        if (!name) {
            error_setg(errp, "Bad logfile template '%s'", filename);
            return false;
        }
        file = fopen(name, "we");
        if (!file) {
            error_setg_errno(errp, errno, "Could not open log file '%s'", name);
            return false;
        }
    }
    pthread_mutex_lock(&log_lock);
    old = log_file;
    log_file = file;
    pthread_mutex_unlock(&log_lock);
    if (old) {
        fclose(old);
    }
    return true;
}

void qemu_print_log_usage(FILE *file)
{
    fprintf(file, "Log items (comma separated):\n");
    for (const QEMULogItem *item = qemu_log_items; item->mask; item++) {
        fprintf(file, "%-15s %s\n", item->name, item->help);
    }
    fprintf(file, "%-15s %s\n", "trace:PATTERN", "enable trace events");
}

/* ---- trace events --------------------------------------------------------------------------- */

/*
 * Events are not registered anywhere: each remembers the answer for a generation of patterns and
 * asks again when the generation has moved on.
 */
uint32_t trace_generation = 1;

typedef struct TracePattern {
    GPatternSpec *spec;
    bool on;
} TracePattern;

static pthread_mutex_t trace_lock = PTHREAD_MUTEX_INITIALIZER;
static GArray *trace_patterns;  /* of TracePattern, oldest first */

void trace_enable_events(const char *pattern)
{
    TracePattern entry = { .on = pattern[0] != '-' };

    entry.spec = g_pattern_spec_new(entry.on ? pattern : pattern + 1);
    pthread_mutex_lock(&trace_lock);
    if (!trace_patterns) {
        trace_patterns = g_array_new(FALSE, FALSE, sizeof(TracePattern));
    }
    g_array_append_val(trace_patterns, entry);
    __atomic_fetch_add(&trace_generation, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&trace_lock);
}

bool trace_event_update(TraceEvent *event)
{
    bool on = false;

    pthread_mutex_lock(&trace_lock);
    for (guint i = 0; trace_patterns && i < trace_patterns->len; i++) {
        const TracePattern *entry = &g_array_index(trace_patterns, TracePattern, i);
        if (g_pattern_spec_match_string(entry->spec, event->name)) {
            on = entry->on;
        }
    }
    __atomic_store_n(&event->state, trace_generation << 1 | on, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&trace_lock);
    return on;
}

void trace_write(const TraceEvent *event, const char *fmt, ...)
{
    FILE *file = qemu_log_trylock();
    va_list ap;

    fprintf(file, "%s: ", event->name);
    va_start(ap, fmt);
    vfprintf(file, fmt, ap);
    va_end(ap);
    putc('\n', file);
    qemu_log_unlock(file);
}
