/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --wait-lock on command lines.
 */
#include "qemu/osdep.h"

#include "block/lock-wait.h"
#include "qemu/error.h"
#include "../../lib/testlib.h"

static void take_finds_it_anywhere(void)
{
    char *argv[] = { "prog", "--wait-lock=7", "info", "--wait-lock", "9", "a", NULL };
    int argc = G_N_ELEMENTS(argv) - 1;
    g_assert_true(bdrv_take_lock_wait_option(&argc, argv, &error_abort));
    g_assert_cmpint(argc, ==, 3);
    g_assert_cmpstr(argv[0], ==, "prog");
    g_assert_cmpstr(argv[1], ==, "info");
    g_assert_cmpstr(argv[2], ==, "a");
    g_assert_null(argv[3]);
    g_assert_cmpuint(bdrv_lock_wait(), ==, 9);
    bdrv_set_lock_wait(0);
}

static void take_leaves_what_follows_dashes(void)
{
    char *argv[] = { "prog", "info", "--", "--wait-lock=3", NULL };
    int argc = G_N_ELEMENTS(argv) - 1;
    g_assert_true(bdrv_take_lock_wait_option(&argc, argv, &error_abort));
    g_assert_cmpint(argc, ==, 4);
    g_assert_cmpstr(argv[3], ==, "--wait-lock=3");
    g_assert_null(argv[4]);
    g_assert_cmpuint(bdrv_lock_wait(), ==, 0);
}

static void take_leaves_longer_names(void)
{
    char *argv[] = { "prog", "--wait-locks=3", NULL };
    int argc = G_N_ELEMENTS(argv) - 1;
    g_assert_true(bdrv_take_lock_wait_option(&argc, argv, &error_abort));
    g_assert_cmpint(argc, ==, 2);
    g_assert_cmpuint(bdrv_lock_wait(), ==, 0);
}

static void take_refuses_bad_times(void)
{
    static const char *const bad[] = { "--wait-lock=", "--wait-lock=x", "--wait-lock=-1",
                                       "--wait-lock=86401", "--wait-lock" };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        char *argv[] = { "prog", (char *)bad[i], NULL };
        int argc = 2;
        Error *err = NULL;
        g_assert_false(bdrv_take_lock_wait_option(&argc, argv, &err));
        g_assert_nonnull(err);
        error_free(err);
        g_assert_cmpuint(bdrv_lock_wait(), ==, 0);
    }
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/lock-wait/take/finds-it-anywhere", take_finds_it_anywhere);
    g_test_add_func("/lock-wait/take/leaves-what-follows-dashes", take_leaves_what_follows_dashes);
    g_test_add_func("/lock-wait/take/leaves-longer-names", take_leaves_longer_names);
    g_test_add_func("/lock-wait/take/refuses-bad-times", take_refuses_bad_times);
    return g_test_run();
}
