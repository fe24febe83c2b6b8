/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/error.h"
#include "../../lib/testlib.h"

static void test_setg_message(void)
{
    g_autoptr(Error) err = NULL;

    error_setg(&err, "disk %d is gone", 7);
    g_assert_cmpstr(error_get_pretty(err), ==, "disk 7 is gone");
    g_assert_cmpint(error_get_class(err), ==, ERROR_CLASS_GENERIC_ERROR);
    g_assert_null(error_get_hint(err));
    error_setg(NULL, "nobody listens");
}

static void test_setg_errno(void)
{
    g_autoptr(Error) err = NULL;

    errno = EBUSY;
    error_setg_errno(&err, ENOENT, "Could not open 'x'");
    g_assert_cmpstr(error_get_pretty(err), ==, "Could not open 'x': No such file or directory");
    g_assert_cmpint(errno, ==, EBUSY);
}

static void test_set_class(void)
{
    g_autoptr(Error) err = NULL;

    error_set(&err, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", "d0");
    g_assert_cmpstr(error_class_str(error_get_class(err)), ==, "DeviceNotFound");
}

static void test_propagate_first_wins(void)
{
    Error *first = NULL, *second = NULL;
    g_autoptr(Error) dst = NULL;

    error_setg(&first, "first");
    error_setg(&second, "second");
    error_propagate(&dst, first);
    error_propagate(&dst, second);
    error_propagate(&dst, NULL);
    g_assert_cmpstr(error_get_pretty(dst), ==, "first");
    first = NULL;
    error_setg(&first, "dropped");
    error_propagate(NULL, first);
}

static void test_prepend_and_hint(void)
{
    g_autoptr(Error) err = NULL;
    g_autoptr(Error) copy = NULL;
    Error *local = NULL;

    error_prepend(&err, "no error, no effect: ");
    error_append_hint(&err, "no error, no effect\n");
    g_assert_null(err);
    error_setg(&local, "cause");
    error_propagate_prepend(&err, local, "Could not do '%s': ", "x");
    error_append_hint(&err, "Try %d\n", 1);
    error_append_hint(&err, "or 2\n");
    copy = error_copy(err);
    g_assert_cmpstr(error_get_pretty(copy), ==, "Could not do 'x': cause");
    g_assert_cmpstr(error_get_hint(copy), ==, "Try 1\nor 2\n");
}

static void test_abort_says_where(void)
{
    if (g_test_subprocess()) {
        error_setg(&error_abort, "it broke");
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*test_abort_says_where*it broke*");
}

static void test_fatal_reports_and_exits(void)
{
    if (g_test_subprocess()) {
        Error *err = NULL;
        error_init("/usr/bin/qemu-img");
        error_setg(&err, "it broke");
        error_append_hint(&err, "Try again\n");
        error_propagate(&error_fatal, err);
        exit(0);
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("qemu-img: it broke\nTry again\n");
}

static GString *hooked;

static bool take_text(const char *text)
{
    g_string_append(hooked, text);
    return true;
}

static bool hook_is_active(void)
{
    return true;
}

static void test_report_goes_to_hook(void)
{
    Error *err = NULL;

    hooked = g_string_new(NULL);
    error_set_report_hook(take_text, hook_is_active);
    error_setg(&err, "bad");
    error_append_hint(&err, "hint\n");
    error_report_err(err);
    warn_report("odd");
    info_report("so");
    error_set_report_hook(NULL, NULL);
    g_assert_cmpstr(hooked->str, ==, "bad\nhint\nwarning: odd\ninfo: so\n");
    g_string_free(hooked, TRUE);
}

static void test_report_shows_location(void)
{
    char *argv[] = { (char *)"x", (char *)"-drive", (char *)"file=a" };
    Location loc, inner;

    hooked = g_string_new(NULL);
    error_set_report_hook(take_text, NULL);
    error_init("dir/prog");
    loc_push_none(&loc);
    loc_set_cmdline(argv, 1, 2);
    error_report("no");
    loc_push_none(&inner);
    loc_set_file("conf", 12);
    error_report("no");
    loc_pop(&inner);
    loc_pop(&loc);
    error_report("no");
    error_set_report_hook(NULL, NULL);
    g_assert_cmpstr(hooked->str, ==, "prog: -drive file=a: no\nprog: conf:12: no\nprog: no\n");
    g_string_free(hooked, TRUE);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/error/setg/keeps-message", test_setg_message);
    g_test_add_func("/error/setg-errno/appends-reason-and-keeps-errno", test_setg_errno);
    g_test_add_func("/error/set/keeps-class", test_set_class);
    g_test_add_func("/error/propagate/first-error-wins", test_propagate_first_wins);
    g_test_add_func("/error/prepend/and-hint-accumulate", test_prepend_and_hint);
    g_test_add_func("/error/abort/says-where", test_abort_says_where);
    g_test_add_func("/error/fatal/reports-and-exits", test_fatal_reports_and_exits);
    g_test_add_func("/error/report/goes-to-hook", test_report_goes_to_hook);
    g_test_add_func("/error/report/shows-location", test_report_shows_location);
    return g_test_run();
}
