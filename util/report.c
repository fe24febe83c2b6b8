/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reports to people: stderr with program name and location, or a monitor by a hook.
 */
#include "qemu/osdep.h"
#include "qemu/error.h"

static char *progname;
static ErrorReportHook *report_hook;
static bool (*report_hook_active)(void);

/* The bottom of every thread's stack; never popped. */
static __thread Location base_location;
static __thread Location *current_location;

static Location *location(void)
{
    if (!current_location) {
        current_location = &base_location;
    }
    return current_location;
}

void error_init(const char *argv0)
{
    g_free(progname);
    progname = g_path_get_basename(argv0);
}

const char *error_get_progname(void)
{
    return progname;
}

void error_set_report_hook(ErrorReportHook *hook, bool (*is_active)(void))
{
    report_hook = hook;
    report_hook_active = is_active;
}

static void emit(const char *text)
{
    if (!report_hook || !report_hook(text)) {
        fputs(text, stderr);
        fflush(stderr);
    }
}

void error_vprintf(const char *fmt, va_list ap)
{
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    emit(text);
}

void error_printf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    error_vprintf(fmt, ap);
    va_end(ap);
}

static void append_location(GString *text)
{
    const Location *loc = location();

    switch (loc->kind) {
    case LOC_NONE:
        break;
    case LOC_CMDLINE:
        for (int i = 0; i < loc->num; i++) {
            g_string_append_printf(text, "%s%s", i ? " " : "", ((char *const *)loc->ptr)[i]);
        }
        g_string_append(text, ": ");
        break;
    case LOC_FILE:
        g_string_append_printf(text, "%s:", (const char *)loc->ptr);
        if (loc->num) {
            g_string_append_printf(text, "%d:", loc->num);
        }
        g_string_append_c(text, ' ');
        break;
    }
}

/* One report is one write, so that lines of several threads do not mix. */
static void report(const char *kind, const char *fmt, va_list ap)
{
    int saved_errno = errno;
    GString *text = g_string_new(NULL);
    bool for_monitor = report_hook_active && report_hook_active();

    if (!for_monitor) {
        if (progname) {
            g_string_append_printf(text, "%s: ", progname);
        }
        append_location(text);
    }
    g_string_append(text, kind);
    g_string_append_vprintf(text, fmt, ap);
    g_string_append_c(text, '\n');
    emit(text->str);
    g_string_free(text, TRUE);
    errno = saved_errno;
}

void error_vreport(const char *fmt, va_list ap)
{
    report("", fmt, ap);
}

void error_report(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    report("", fmt, ap);
    va_end(ap);
}

void warn_report(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    report("warning: ", fmt, ap);
    va_end(ap);
}

void info_report(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    report("info: ", fmt, ap);
    va_end(ap);
}

Location *loc_push_none(Location *loc)
{
    *loc = (Location){ .kind = LOC_NONE, .prev = location() };
    current_location = loc;
    return loc;
}

Location *loc_pop(Location *loc)
{
    assert(current_location == loc && loc->prev);
    current_location = loc->prev;
    loc->prev = NULL;
    return loc;
}

void loc_set_none(void)
{
    location()->kind = LOC_NONE;
}

void loc_set_cmdline(char **argv, int idx, int cnt)
{
    Location *loc = location();

    loc->kind = LOC_CMDLINE;
    loc->num = cnt;
    loc->ptr = argv + idx;
}

void loc_set_file(const char *fname, int lno)
{
    Location *loc = location();

    if (fname) {
        loc->ptr = fname;
    } else {
        assert(loc->kind == LOC_FILE);
    }
    loc->kind = LOC_FILE;
    loc->num = lno;
}
