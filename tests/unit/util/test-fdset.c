/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/fdset.h"
#include "qemu/hostfile.h"
#include "../../lib/testlib.h"

static int open_null(int flags)
{
    return qemu_open("/dev/null", flags, &error_abort);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static guint count_sets(void)
{
    g_autoptr(GPtrArray) sets = fdset_query();

    return sets->len;
}

static void assert_error(Error *err, const char *expected)
{
    g_assert_cmpstr(error_get_pretty(err), ==, expected);
    error_free(err);
}

static void test_numbers_are_lowest_free(void)
{
    const int64_t five = 5, negative = -1;
    Error *err = NULL;
    int fd;

    g_assert_cmpint(fdset_add_fd(open_null(O_RDONLY), NULL, NULL, &error_abort), ==, 0);
    g_assert_cmpint(fdset_add_fd(open_null(O_RDONLY), &five, "text", &error_abort), ==, 5);
    g_assert_cmpint(fdset_add_fd(open_null(O_RDONLY), NULL, NULL, &error_abort), ==, 1);
    g_autoptr(GPtrArray) sets = fdset_query();
    g_assert_cmpuint(sets->len, ==, 3);
    const FdsetDesc *last = sets->pdata[2];
    g_assert_cmpint(last->id, ==, 5);
    g_assert_cmpstr(g_array_index(last->fds, FdsetFdDesc, 0).opaque, ==, "text");

    fd = open_null(O_RDONLY);
    g_assert_cmpint(fdset_add_fd(fd, &negative, NULL, &err), ==, -1);
    error_free_or_abort(&err);
    g_assert_true(is_open(fd));
    qemu_close(fd);
    for (int64_t id = 0; id < 6; id++) {
        fdset_remove_fd(id, -1, NULL);
    }
    g_assert_cmpuint(count_sets(), ==, 0);
}

static void test_open_picks_by_access_mode(void)
{
    const int64_t id = 7;
    int reader = open_null(O_RDONLY), both = open_null(O_RDWR);
    Error *err = NULL;
    int fd;

    fdset_add_fd(reader, &id, NULL, &error_abort);
    fd = qemu_open("/dev/fdset/7", O_RDWR, &err);
    g_assert_cmpint(fd, ==, -1);
    g_assert_cmpint(errno, ==, EACCES);
    error_free_or_abort(&err);
    fdset_add_fd(both, &id, NULL, &error_abort);
    fd = qemu_open("/dev/fdset/7", O_RDWR | O_NONBLOCK, &error_abort);
    g_assert_cmpint(fcntl(fd, F_GETFL) & O_ACCMODE, ==, O_RDWR);
    g_assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    g_assert_true(fd != both && fd != reader);

    /* The set stays while a duplicate is in use. */
    g_assert_true(fdset_remove_fd(id, -1, &error_abort));
    g_assert_false(is_open(both) || is_open(reader));
    g_assert_cmpuint(count_sets(), ==, 1);
    qemu_close(fd);
    g_assert_cmpuint(count_sets(), ==, 0);

    g_assert_cmpint(qemu_open("/dev/fdset/7", O_RDWR, &err), ==, -1);
    g_assert_cmpint(errno, ==, ENOENT);
    error_free_or_abort(&err);
    g_assert_cmpint(qemu_open("/dev/fdset/x", O_RDWR, &err), ==, -1);
    error_free_or_abort(&err);
}

static void test_remove_says_what_is_missing(void)
{
    Error *err = NULL;
    int64_t id = fdset_add_fd(open_null(O_RDONLY), NULL, NULL, &error_abort);

    g_assert_false(fdset_remove_fd(id, 9999, &err));
    assert_error(g_steal_pointer(&err),
                 "File descriptor named 'fdset-id:0, fd:9999' not found");
    g_assert_false(fdset_remove_fd(33, -1, &err));
    assert_error(g_steal_pointer(&err), "File descriptor named 'fdset-id:33' not found");
    g_assert_true(fdset_remove_fd(id, -1, &error_abort));
}

static void test_last_monitor_closes_sets(void)
{
    int unused = open_null(O_RDONLY), used = open_null(O_RDONLY);
    int64_t used_id;
    int fd;

    fdset_monitor_opened();
    fdset_monitor_opened();
    fdset_add_fd(unused, NULL, NULL, &error_abort);
    used_id = fdset_add_fd(used, NULL, NULL, &error_abort);
    fd = fdset_dup_fd(used_id, O_RDONLY, &error_abort);
    fdset_monitor_closed();
    g_assert_true(is_open(unused));
    fdset_monitor_closed();
    g_assert_false(is_open(unused));
    g_assert_true(is_open(used));
    fdset_remove_fd(used_id, -1, &error_abort);
    qemu_close(fd);
    g_assert_cmpuint(count_sets(), ==, 0);
}

static void test_names_are_used_once(void)
{
    Error *err = NULL;
    int first = open_null(O_RDONLY), second = open_null(O_RDONLY);

    g_assert_false(named_fd_add("1x", first, &err));
    error_free_or_abort(&err);
    g_assert_true(named_fd_add("x", first, &error_abort));
    g_assert_true(named_fd_add("x", second, &error_abort));
    g_assert_false(is_open(first));
    g_assert_cmpint(named_fd_param("x", &error_abort), ==, second);
    g_assert_cmpint(named_fd_take("x", &err), ==, -1);
    assert_error(g_steal_pointer(&err), "File descriptor named 'x' has not been found");
    g_assert_true(named_fd_add("y", second, &error_abort));
    g_assert_true(named_fd_close("y", &error_abort));
    g_assert_false(is_open(second));
    g_assert_false(named_fd_close("y", &err));
    assert_error(g_steal_pointer(&err), "File descriptor named 'y' not found");
    g_assert_cmpint(named_fd_param("12", &error_abort), ==, 12);
    g_assert_cmpint(named_fd_param("12q", &err), ==, -1);
    error_free_or_abort(&err);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/fdset/add/numbers-are-lowest-free", test_numbers_are_lowest_free);
    g_test_add_func("/fdset/open/picks-by-access-mode", test_open_picks_by_access_mode);
    g_test_add_func("/fdset/remove/says-what-is-missing", test_remove_says_what_is_missing);
    g_test_add_func("/fdset/monitor/last-one-closes-sets", test_last_monitor_closes_sets);
    g_test_add_func("/fdset/names/are-used-once", test_names_are_used_once);
    return g_test_run();
}
