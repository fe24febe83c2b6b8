/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include <signal.h>

#include "qemu/log.h"
#include "qemu/progress.h"
#include "../../lib/testlib.h"

static TraceEvent trace_qcow2_write = { .name = "qcow2_write" };
static TraceEvent trace_qcow2_read = { .name = "qcow2_read" };

static int evaluated;

static int count_evaluation(void)
{
    return ++evaluated;
}

/* Log to a file; returns what it holds once logging to stderr again. */
static void log_to(const char *name)
{
    g_autofree char *path = test_tmpfile(name);

    g_assert_true(qemu_set_log_filename(path, &error_abort));
}

static char *logged(const char *name)
{
    g_autofree char *path = test_tmpfile(name);
    char *text = NULL;

    g_assert_true(qemu_set_log_filename(NULL, &error_abort));
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

static void test_only_items_that_are_on(void)
{
    int mask = 0;

    g_assert_true(qemu_str_to_log_mask("int,guest_errors", &mask, &error_abort));
    g_assert_cmpint(mask, ==, CPU_LOG_INT | LOG_GUEST_ERROR);
    log_to("items");
    qemu_set_log(mask);
    qemu_log_mask(CPU_LOG_INT, "a%d\n", count_evaluation());
    qemu_log_mask(CPU_LOG_MMU, "b%d\n", count_evaluation());
    qemu_log_mask(CPU_LOG_MMU | LOG_GUEST_ERROR, "c%d\n", count_evaluation());
    qemu_set_log(0);
    qemu_log_mask(CPU_LOG_INT, "d%d\n", count_evaluation());
    g_autofree char *text = logged("items");
    g_assert_cmpstr(text, ==, "a1\nc2\n");
    g_assert_cmpint(evaluated, ==, 2);
}

static void test_unknown_items_are_refused(void)
{
    Error *err = NULL;
    int mask = 77;

    g_assert_false(qemu_str_to_log_mask("int,nonsense", &mask, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Unknown log item 'nonsense'");
    error_free_or_abort(&err);
    g_assert_cmpint(mask, ==, 77);
    g_assert_true(qemu_str_to_log_mask("none", &mask, &error_abort));
    g_assert_cmpint(mask, ==, 0);
    g_assert_true(qemu_str_to_log_mask("all", &mask, &error_abort));
    g_assert_true((mask & LOG_QMP) && (mask & CPU_LOG_EXEC));
    g_assert_false(qemu_set_log_filename("x-%s-log", &err));
    error_free_or_abort(&err);
    g_assert_false(qemu_set_log_filename("x-%d-%d-log", &err));
    error_free_or_abort(&err);
    g_assert_false(qemu_set_log_filename("/nonexistent/dir/log", &err));
    error_free_or_abort(&err);
}

static void test_trace_follows_patterns(void)
{
    int mask;

    log_to("trace");
    trace_log(&trace_qcow2_write, "off");
    g_assert_true(qemu_str_to_log_mask("trace:qcow2_*", &mask, &error_abort));
    g_assert_cmpint(mask, ==, LOG_TRACE);
    trace_log(&trace_qcow2_write, "offset %d", 1);
    trace_log(&trace_qcow2_read, "offset %d", 2);
    trace_enable_events("-*_read");
    trace_log(&trace_qcow2_read, "off");
    trace_log(&trace_qcow2_write, "offset %d", 3);
    g_autofree char *text = logged("trace");
    g_assert_cmpstr(text, ==, "qcow2_write: offset 1\nqcow2_read: offset 2\n"
                    "qcow2_write: offset 3\n");
    trace_enable_events("-*");
}

static void test_meter_counts(void)
{
    ProgressMeter pm;
    uint64_t current, total;

    progress_init(&pm);
    progress_set_remaining(&pm, 100);
    progress_work_done(&pm, 30);
    progress_increase_remaining(&pm, 10);
    progress_get_snapshot(&pm, &current, &total);
    g_assert_cmpuint(current, ==, 30);
    g_assert_cmpuint(total, ==, 110);
    progress_work_done(&pm, 200);
    progress_get_snapshot(&pm, &current, &total);
    g_assert_cmpuint(current, ==, 230);
    g_assert_cmpuint(total, ==, 230);
}

static void test_percentage_is_printed(void)
{
    if (g_test_subprocess()) {
        qemu_progress_init(true, 1);
        qemu_progress_print(0, 100);
        qemu_progress_print(50, 100);
        qemu_progress_print(0.5, 100);      /* too little */
        qemu_progress_print(100, 0);
        qemu_progress_end();
        exit(0);
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stdout("*    (0.00/100%)\r    (50.00/100%)\r    (100.00/100%)\r\n*");
}

static void test_sigusr1_prints_when_off(void)
{
    if (g_test_subprocess()) {
        qemu_progress_init(false, 1);
        qemu_progress_print(10, 100);
        raise(SIGUSR1);
        qemu_progress_print(10, 100);
        qemu_progress_print(10, 100);
        qemu_progress_end();
        raise(SIGUSR1);
        exit(0);
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr("    (20.00/100%)\n");
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/log/mask/only-items-that-are-on", test_only_items_that_are_on);
    g_test_add_func("/log/mask/unknown-items-are-refused", test_unknown_items_are_refused);
    g_test_add_func("/log/trace/follows-patterns", test_trace_follows_patterns);
    g_test_add_func("/progress/meter/counts", test_meter_counts);
    g_test_add_func("/progress/print/percentage-is-printed", test_percentage_is_printed);
    g_test_add_func("/progress/print/sigusr1-prints-when-off", test_sigusr1_prints_when_off);
    return g_test_run();
}
