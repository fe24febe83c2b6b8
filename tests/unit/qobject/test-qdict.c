/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values, lists and dicts. */
#include "qemu/osdep.h"
#include "qobject/qbool.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"
#include "../../lib/testlib.h"

static void test_order(void)
{
    g_autoptr(QDict) dict = qdict_new();
    GString *keys = g_string_new(NULL);

    qdict_put_int(dict, "z", 1);
    qdict_put_int(dict, "a", 2);
    qdict_put_int(dict, "m", 3);
    qdict_put_int(dict, "z", 4);
    qdict_del(dict, "a");
    qdict_put_int(dict, "a", 5);
    for (const QDictEntry *e = qdict_first(dict); e; e = qdict_next(dict, e)) {
        g_string_append(keys, qdict_entry_key(e));
    }
    g_assert_cmpstr(keys->str, ==, "zma");
    g_assert_cmpint(qdict_get_int(dict, "z"), ==, 4);
    g_string_free(keys, TRUE);
}

static void test_getters(void)
{
    g_autoptr(QDict) dict = qdict_new();

    qdict_put_str(dict, "s", "x");
    qdict_put_bool(dict, "b", true);
    qdict_put_uint(dict, "u", UINT64_MAX);
    qdict_put_null(dict, "n");
    g_assert_cmpstr(qdict_get_try_str(dict, "s"), ==, "x");
    g_assert_null(qdict_get_try_str(dict, "b"));
    g_assert_true(qdict_get_try_bool(dict, "b", false));
    g_assert_true(qdict_get_try_bool(dict, "s", true));
    g_assert_cmpint(qdict_get_try_int(dict, "u", -5), ==, -5);
    g_assert_true(qdict_haskey(dict, "n"));
    g_assert_null(qdict_get(dict, "none"));
    g_assert_null(qdict_get_qdict(dict, "s"));
}

/* Against GHashTable, across the border where hashing begins. */
static void test_random(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autoptr(QDict) dict = qdict_new();
    GHashTable *model = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (int i = 0; i < 20000; i++) {
        int limit = i < 10000 ? 12 : 500;
        g_autofree char *key = g_strdup_printf("key-%d", g_rand_int_range(rand, 0, limit));

        if (g_rand_int_range(rand, 0, 3)) {
            qdict_put_int(dict, key, i);
            g_hash_table_insert(model, g_strdup(key), GINT_TO_POINTER(i));
        } else {
            qdict_del(dict, key);
            g_hash_table_remove(model, key);
        }
        g_assert_cmpuint(qdict_size(dict), ==, g_hash_table_size(model));
    }
    for (const QDictEntry *e = qdict_first(dict); e; e = qdict_next(dict, e)) {
        gpointer value;

        g_assert_true(g_hash_table_lookup_extended(model, qdict_entry_key(e), NULL, &value));
        g_assert_cmpint(qnum_get_int(qobject_to(QNum, qdict_entry_value(e))), ==,
                        GPOINTER_TO_INT(value));
        g_assert_true(g_hash_table_remove(model, qdict_entry_key(e)));
    }
    g_assert_cmpuint(g_hash_table_size(model), ==, 0);
    g_hash_table_destroy(model);
}

static void test_clone_shares_values(void)
{
    g_autoptr(QDict) dict = qdict_new();
    g_autoptr(QDict) copy = NULL;

    qdict_put(dict, "l", qlist_new());
    copy = qdict_clone_shallow(dict);
    g_assert_true(qdict_get(copy, "l") == qdict_get(dict, "l"));
    qdict_del(dict, "l");
    g_assert_true(qdict_haskey(copy, "l"));
}

static void test_list(void)
{
    g_autoptr(QList) list = qlist_new();
    const QListEntry *e;
    int64_t next = 0;

    for (int i = 0; i < 100; i++) {
        qlist_append_int(list, i);
        if (i % 3 == 0) {
            g_autoptr(QObject) first = qlist_pop(list);

            g_assert_cmpint(qnum_get_int(qobject_to(QNum, first)), ==, next++);
        }
    }
    g_assert_cmpuint(qlist_size(list), ==, 66);
    QLIST_FOREACH_ENTRY(list, e) {
        g_assert_cmpint(qnum_get_int(qobject_to(QNum, e->value)), ==, next++);
    }
    g_assert_cmpint(next, ==, 100);
    while (!qlist_empty(list)) {
        qobject_unref(qlist_pop(list));
    }
    g_assert_null(qlist_pop(list));
    g_assert_null(qlist_peek(list));
}

static void test_casts(void)
{
    g_autoptr(QString) str = qstring_from_substr("abcdef", 3);
    QObject *obj = QOBJECT(str);

    g_assert_true(qobject_to(QString, obj) == str);
    g_assert_null(qobject_to(QDict, obj));
    g_assert_null(qobject_to(QDict, (QObject *)NULL));
    g_assert_null(QOBJECT((QDict *)NULL));
    g_assert_cmpstr(qstring_get_str(str), ==, "abc");
    qobject_unref((QDict *)NULL);
}

static void assert_equal(QObject *a, QObject *b, bool equal)
{
    g_assert_true(qobject_is_equal(a, b) == equal);
    g_assert_true(qobject_is_equal(b, a) == equal);
    qobject_unref(a);
    qobject_unref(b);
}

static void test_equal(void)
{
    QDict *a = qdict_new(), *b = qdict_new();

    assert_equal(QOBJECT(qnum_from_int(1)), QOBJECT(qnum_from_uint(1)), true);
    assert_equal(QOBJECT(qnum_from_int(-1)), QOBJECT(qnum_from_uint(UINT64_MAX)), false);
    assert_equal(QOBJECT(qnum_from_int(1)), QOBJECT(qnum_from_double(1)), false);
    assert_equal(QOBJECT(qnull()), QOBJECT(qnull()), true);
    assert_equal(QOBJECT(qnull()), NULL, false);
    qdict_put_int(a, "x", 1);
    qdict_put_int(a, "y", 2);
    qdict_put_int(b, "y", 2);
    qdict_put_int(b, "x", 1);
    assert_equal(QOBJECT(a), QOBJECT(b), true);
}

static void test_num_conversions(void)
{
    g_autoptr(QNum) big = qnum_from_uint(UINT64_MAX);
    g_autoptr(QNum) negative = qnum_from_int(-1);
    g_autoptr(QNum) real = qnum_from_double(1.0);
    int64_t i = 42;
    uint64_t u = 42;

    g_assert_false(qnum_get_try_int(big, &i));
    g_assert_false(qnum_get_try_uint(negative, &u));
    g_assert_false(qnum_get_try_int(real, &i));
    g_assert_cmpint(i, ==, 42);
    g_assert_cmpuint(u, ==, 42);
    g_assert_true(qnum_get_try_uint(big, &u));
    g_assert_cmpfloat(qnum_get_double(negative), ==, -1.0);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/qdict/iterate/insertion-order", test_order);
    g_test_add_func("/qdict/get/by-type", test_getters);
    g_test_add_func("/qdict/random/like-a-hash-table", test_random);
    g_test_add_func("/qdict/clone/shares-values", test_clone_shares_values);
    g_test_add_func("/qlist/append-and-pop", test_list);
    g_test_add_func("/qobject/casts", test_casts);
    g_test_add_func("/qobject/is-equal", test_equal);
    g_test_add_func("/qnum/conversions", test_num_conversions);
    return g_test_run();
}
