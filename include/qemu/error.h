/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Error objects of the control path, and reports to the person at the terminal or monitor.
 *
 * Rules of errp:
 *   - `Error **errp` is the last parameter.  A function that fails sets it exactly once, and says
 *     so by its return value as well (false, NULL or negative).
 *   - Callers look at the return value, not at *errp: errp may be NULL ("I do not care").
 *   - A caller that needs to look inside passes the address of its own `Error *local_err = NULL`
 *     and then either error_propagate()s, reports or frees it.
 *   - &error_abort: failing is a bug, the process aborts at the place that sets the error.
 *     &error_fatal: failing is reported and the process exits with status 1.
 *   - A message is one sentence without full stop or newline; advice goes into the hint, whose
 *     lines end with a newline.
 *   - Report or return, never both.
 *
 * An Error is not locked: it belongs to one thread at a time.
 * Reports may be made by any thread; the location stack is per thread.
 */
#ifndef QEMU_ERROR_H
#define QEMU_ERROR_H

#include <glib.h>
#include <stdarg.h>
#include <stdbool.h>

#include "qemu/compiler.h"

typedef struct Error Error;

/* Classes that a QMP client can see.  Only Generic is for new code. */
typedef enum ErrorClass {
    ERROR_CLASS_GENERIC_ERROR,
    ERROR_CLASS_COMMAND_NOT_FOUND,
    ERROR_CLASS_DEVICE_NOT_ACTIVE,
    ERROR_CLASS_DEVICE_NOT_FOUND,
    ERROR_CLASS_KVM_MISSING_CAP,
    ERROR_CLASS__MAX,
} ErrorClass;

/* Magic destinations, see the rules above.  Never dereferenced by callers. */
extern Error *error_abort;
extern Error *error_fatal;

/* ---- setting -------------------------------------------------------------------------------- */

/* Set a generic error; printf arguments.  @errp may be NULL. */
#define error_setg(errp, ...) \
    error_setg_internal((errp), __FILE__, __LINE__, __func__, __VA_ARGS__)

/* Like error_setg(), then ": " and the text of errno @os_errno when that is not 0. */
#define error_setg_errno(errp, os_errno, ...) \
    error_setg_errno_internal((errp), __FILE__, __LINE__, __func__, (os_errno), __VA_ARGS__)

/* Like error_setg() with a class other than generic. */
#define error_set(errp, err_class, ...) \
    error_set_internal((errp), __FILE__, __LINE__, __func__, (err_class), __VA_ARGS__)

void error_setg_internal(Error **errp, const char *file, int line, const char *func,
                         const char *fmt, ...) QEMU_PRINTF(5, 6);
void error_setg_errno_internal(Error **errp, const char *file, int line, const char *func,
                               int os_errno, const char *fmt, ...) QEMU_PRINTF(6, 7);
void error_set_internal(Error **errp, const char *file, int line, const char *func,
                        ErrorClass err_class, const char *fmt, ...) QEMU_PRINTF(6, 7);

/* ---- passing on ----------------------------------------------------------------------------- */

/**
 * Hand @local_err (taken; may be NULL) to @dst_errp.
 * When @dst_errp is NULL or holds an error already, @local_err is freed: the first error wins.
 */
void error_propagate(Error **dst_errp, Error *local_err);

/* error_propagate() after putting the formatted text before the message. */
void error_propagate_prepend(Error **dst_errp, Error *local_err, const char *fmt, ...)
    QEMU_PRINTF(3, 4);

/* Put formatted text before the message of *@errp; nothing happens when there is none. */
void error_prepend(Error *const *errp, const char *fmt, ...) QEMU_PRINTF(2, 3);
void error_vprepend(Error *const *errp, const char *fmt, va_list ap) QEMU_PRINTF(2, 0);

/**
 * Add advice for humans to *@errp; lines end with a newline.  QMP clients never see it.
 * Nothing happens when @errp is NULL or unset.
 */
void error_append_hint(Error *const *errp, const char *fmt, ...) QEMU_PRINTF(2, 3);

/* ---- looking inside ------------------------------------------------------------------------- */

/* The message; valid as long as @err. */
const char *error_get_pretty(const Error *err);
ErrorClass error_get_class(const Error *err);
/* The hint, or NULL; valid as long as @err. */
const char *error_get_hint(const Error *err);
/* The name that QMP uses, such as "GenericError". */
const char *error_class_str(ErrorClass err_class);

/* ---- ending --------------------------------------------------------------------------------- */

Error *error_copy(const Error *err);
/* Free @err; NULL is fine. */
void error_free(Error *err);
/* Free *@errp, which must not be NULL, and set it to NULL. */
void error_free_or_abort(Error **errp);
/* Report message and hint as an error (or warning), then free @err (taken). */
void error_report_err(Error *err);
void warn_report_err(Error *err);
/* error_report_err() after putting the formatted text before the message. */
void error_reportf_err(Error *err, const char *fmt, ...) QEMU_PRINTF(2, 3);
void warn_reportf_err(Error *err, const char *fmt, ...) QEMU_PRINTF(2, 3);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Error, error_free)

/* ---- reports to people ---------------------------------------------------------------------- */

/* Remember the base name of @argv0; reports on stderr begin with it. */
void error_init(const char *argv0);
/* The name set by error_init(), or NULL. */
const char *error_get_progname(void);

/* One line "PROGRAM: [LOCATION: ][warning: |info: ]MESSAGE"; no newline in the format. */
void error_report(const char *fmt, ...) QEMU_PRINTF(1, 2);
void warn_report(const char *fmt, ...) QEMU_PRINTF(1, 2);
void info_report(const char *fmt, ...) QEMU_PRINTF(1, 2);
void error_vreport(const char *fmt, va_list ap) QEMU_PRINTF(1, 0);

/* Report the first time this place is passed; true then. */
#define warn_report_once(...) \
    ({ \
        static bool reported_; \
        bool first_ = !__atomic_exchange_n(&reported_, true, __ATOMIC_RELAXED); \
        if (first_) { \
            warn_report(__VA_ARGS__); \
        } \
        first_; \
    })

/* Raw text to the place reports go to: the current monitor if it is for humans, else stderr. */
void error_printf(const char *fmt, ...) QEMU_PRINTF(1, 2);
void error_vprintf(const char *fmt, va_list ap) QEMU_PRINTF(1, 0);

/**
 * Where reports made by a monitor command go.
 * Called with finished text; returns true when it took the text, false to let it go to stderr.
 * Called in the reporting thread.
 */
typedef bool ErrorReportHook(const char *text);
/**
 * Install @hook (NULL: none).  While @is_active (may be NULL) returns true, reports carry neither
 * program name nor location, as a monitor shows them.
 * Context: at start-up, before threads.
 */
void error_set_report_hook(ErrorReportHook *hook, bool (*is_active)(void));

/* ---- where in the user's input we are ------------------------------------------------------- */

/* A place shown in reports.  Linked into a per-thread stack while pushed; usually on the stack. */
typedef struct Location {
    enum { LOC_NONE, LOC_CMDLINE, LOC_FILE } kind;
    int num;                    /* words of the command line, or line of the file */
    const void *ptr;            /* char **words, or const char *file name; borrowed */
    struct Location *prev;
} Location;

/* Push an empty location in storage @loc; returns @loc. */
Location *loc_push_none(Location *loc);
/* Pop @loc, which must be on top. */
Location *loc_pop(Location *loc);
void loc_set_none(void);
/* Words argv[idx] .. argv[idx + cnt - 1] of the command line; borrowed. */
void loc_set_cmdline(char **argv, int idx, int cnt);
/* Line @lno of file @fname (borrowed); 0 for no line; a NULL @fname keeps the current one. */
void loc_set_file(const char *fname, int lno);

#endif
