/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Error objects: making, passing on and ending them.  Reports to people are in report.c.
 */
#include "qemu/osdep.h"
#include "qemu/error.h"

struct Error {
    char *msg;
    ErrorClass err_class;
    GString *hint;              /* NULL until something is appended */
    const char *file;           /* where it was set, for error_abort */
    const char *func;
    int line;
};

Error *error_abort;
Error *error_fatal;

static const char *const class_names[ERROR_CLASS__MAX] = {
    [ERROR_CLASS_GENERIC_ERROR] = "GenericError",
    [ERROR_CLASS_COMMAND_NOT_FOUND] = "CommandNotFound",
    [ERROR_CLASS_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
    [ERROR_CLASS_DEVICE_NOT_FOUND] = "DeviceNotFound",
    [ERROR_CLASS_KVM_MISSING_CAP] = "KVMMissingCap",
};

/* End the process when @errp is one of the magic destinations. */
static void die_if_magic(Error **errp, Error *err)
{
    if (errp == &error_abort) {
        fprintf(stderr, "Unexpected error in %s() at %s:%d:\n", err->func, err->file, err->line);
        error_report("%s", error_get_pretty(err));
        if (err->hint) {
            error_printf("%s", err->hint->str);
        }
        abort();
    }
    if (errp == &error_fatal) {
        error_report_err(err);
        exit(EXIT_FAILURE);
    }
}

/* Fill *@errp; @errp is not NULL.  The caller's errno survives. */
static void set_error(Error **errp, Error where, int os_errno, const char *fmt, va_list ap)
{
    int saved_errno = errno;
    Error *err = g_new(Error, 1);

    assert(!*errp);
    *err = where;
    err->msg = g_strdup_vprintf(fmt, ap);
    if (os_errno) {
        char *with_reason = g_strdup_printf("%s: %s", err->msg, g_strerror(os_errno));
        g_free(err->msg);
        err->msg = with_reason;
    }
    die_if_magic(errp, err);
    *errp = err;
    errno = saved_errno;
}

void error_setg_internal(Error **errp, const char *file, int line, const char *func,
                         const char *fmt, ...)
{
    if (errp) {
        va_list ap;
        va_start(ap, fmt);
        set_error(errp, (Error){ .file = file, .line = line, .func = func }, 0, fmt, ap);
        va_end(ap);
    }
}

void error_setg_errno_internal(Error **errp, const char *file, int line, const char *func,
                               int os_errno, const char *fmt, ...)
{
    if (errp) {
        va_list ap;
        va_start(ap, fmt);
        set_error(errp, (Error){ .file = file, .line = line, .func = func }, os_errno, fmt, ap);
        va_end(ap);
    }
}

void error_set_internal(Error **errp, const char *file, int line, const char *func,
                        ErrorClass err_class, const char *fmt, ...)
{
    if (errp) {
        va_list ap;
        Error where = { .file = file, .line = line, .func = func, .err_class = err_class };
        va_start(ap, fmt);
        set_error(errp, where, 0, fmt, ap);
        va_end(ap);
    }
}

void error_propagate(Error **dst_errp, Error *local_err)
{
    if (!local_err) {
        return;
    }
    die_if_magic(dst_errp, local_err);
    if (dst_errp && !*dst_errp) {
        *dst_errp = local_err;
    } else {
        error_free(local_err);
    }
}

void error_propagate_prepend(Error **dst_errp, Error *local_err, const char *fmt, ...)
{
    if (local_err) {
        va_list ap;
        va_start(ap, fmt);
        error_vprepend(&local_err, fmt, ap);
        va_end(ap);
        error_propagate(dst_errp, local_err);
    }
}

void error_vprepend(Error *const *errp, const char *fmt, va_list ap)
{
    if (errp && *errp) {
        GString *text = g_string_new(NULL);
        g_string_vprintf(text, fmt, ap);
        g_string_append(text, (*errp)->msg);
        g_free((*errp)->msg);
        (*errp)->msg = g_string_free(text, FALSE);
    }
}

void error_prepend(Error *const *errp, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    error_vprepend(errp, fmt, ap);
    va_end(ap);
}

void error_append_hint(Error *const *errp, const char *fmt, ...)
{
    if (errp && *errp) {
        int saved_errno = errno;
        va_list ap;
        Error *err = *errp;

        if (!err->hint) {
            err->hint = g_string_new(NULL);
        }
        va_start(ap, fmt);
        g_string_append_vprintf(err->hint, fmt, ap);
        va_end(ap);
        errno = saved_errno;
    }
}

const char *error_get_pretty(const Error *err)
{
    return err->msg;
}

ErrorClass error_get_class(const Error *err)
{
    return err->err_class;
}

const char *error_get_hint(const Error *err)
{
    return err->hint ? err->hint->str : NULL;
}

const char *error_class_str(ErrorClass err_class)
{
    assert(err_class < ERROR_CLASS__MAX);
    return class_names[err_class];
}

Error *error_copy(const Error *err)
{
    Error *copy = g_new(Error, 1);

    *copy = *err;
    copy->msg = g_strdup(err->msg);
    copy->hint = err->hint ? g_string_new(err->hint->str) : NULL;
    return copy;
}

void error_free(Error *err)
{
    if (err) {
        g_free(err->msg);
        if (err->hint) {
            g_string_free(err->hint, TRUE);
        }
        g_free(err);
    }
}

void error_free_or_abort(Error **errp)
{
    assert(errp && *errp);
    error_free(*errp);
    *errp = NULL;
}

void error_report_err(Error *err)
{
    error_report("%s", err->msg);
    if (err->hint) {
        error_printf("%s", err->hint->str);
    }
    error_free(err);
}

void warn_report_err(Error *err)
{
    warn_report("%s", err->msg);
    if (err->hint) {
        error_printf("%s", err->hint->str);
    }
    error_free(err);
}

void error_reportf_err(Error *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    error_vprepend(&err, fmt, ap);
    va_end(ap);
    error_report_err(err);
}

void warn_reportf_err(Error *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    error_vprepend(&err, fmt, ap);
    va_end(ap);
    warn_report_err(err);
}
