/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/transaction.h"
#include "../../lib/testlib.h"

static GString *seen;

static void on_commit(void *opaque)
{
    g_string_append_printf(seen, "commit %s;", (char *)opaque);
}

static void on_abort(void *opaque)
{
    g_string_append_printf(seen, "abort %s;", (char *)opaque);
}

static void on_clean(void *opaque)
{
    g_string_append_printf(seen, "clean %s;", (char *)opaque);
}

static const TransactionActionDrv all = { on_abort, on_commit, on_clean };
static const TransactionActionDrv none = { NULL, NULL, NULL };

static Transaction *make(void)
{
    Transaction *tran = tran_new();

    g_string_truncate(seen, 0);
    tran_add(tran, &all, (void *)"a");
    tran_add(tran, &none, NULL);
    tran_add(tran, &all, (void *)"b");
    return tran;
}

static void test_commit_in_order(void)
{
    tran_commit(make());
    g_assert_cmpstr(seen->str, ==, "commit a;commit b;clean b;clean a;");
    tran_finalize(make(), 0);
    g_assert_true(g_str_has_prefix(seen->str, "commit"));
}

static void test_abort_newest_first(void)
{
    tran_abort(make());
    g_assert_cmpstr(seen->str, ==, "abort b;abort a;clean b;clean a;");
    tran_finalize(make(), -EIO);
    g_assert_true(g_str_has_prefix(seen->str, "abort"));
}

static void test_leaving_scope_aborts(void)
{
    {
        g_autoptr(Transaction) tran = make();
        g_assert_nonnull(tran);
    }
    g_assert_true(g_str_has_prefix(seen->str, "abort b;"));
    {
        g_autoptr(Transaction) tran = make();
        tran_commit(g_steal_pointer(&tran));
    }
    g_assert_null(strstr(seen->str, "abort"));
    tran_commit(NULL);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    seen = g_string_new(NULL);
    g_test_add_func("/transaction/commit/in-order", test_commit_in_order);
    g_test_add_func("/transaction/abort/newest-first", test_abort_newest_first);
    g_test_add_func("/transaction/autoptr/leaving-scope-aborts", test_leaving_scope_aborts);
    int ret = g_test_run();
    g_string_free(seen, TRUE);
    return ret;
}
