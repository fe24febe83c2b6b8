/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dotted keys, key=value lists, QemuOpts. */
#include "qemu/osdep.h"
#include "qobject/flatten.h"
#include "qobject/json-parser.h"
#include "qobject/json-writer.h"
#include "qobject/keyval.h"
#include "qobject/opts.h"
#include "qobject/qnum.h"
#include "../../lib/testlib.h"

static QDict *dict_of(const char *json)
{
    QDict *dict = qobject_to(QDict, qobject_from_json(json, &error_abort));

    g_assert_nonnull(dict);
    return dict;
}

static void assert_json(const QObject *obj, const char *expected)
{
    GString *text = qobject_to_json(obj);

    g_assert_cmpstr(text->str, ==, expected);
    g_string_free(text, TRUE);
}

static void assert_error(Error *err, const char *message)
{
    g_assert_nonnull(err);
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_free(err);
}

/* ---- flatten ---- */

static void test_flatten(void)
{
    g_autoptr(QDict) dict = dict_of("{'a': {'b': 1, 'c': [2, {'d': 3}]}, 'e': {}, 'f': [], "
                                    "'g': 'x'}");

    qdict_flatten(dict);
    assert_json(QOBJECT(dict), "{\"a.b\": 1, \"a.c.0\": 2, \"a.c.1.d\": 3, \"e\": {}, "
                "\"f\": [], \"g\": \"x\"}");
}

static void test_crumple(void)
{
    g_autoptr(QDict) dict = dict_of("{'a.b': 1, 'a.c.1.d': 3, 'a.c.0': 2, 'e..f': 4, 'g': {}}");
    g_autoptr(QObject) nested = qdict_crumple(dict, &error_abort);

    assert_json(nested, "{\"a\": {\"b\": 1, \"c\": [2, {\"d\": 3}]}, \"e.f\": 4, \"g\": {}}");
}

static void test_crumple_to_list(void)
{
    g_autoptr(QDict) dict = dict_of("{'1': 'b', '0': 'a'}");
    g_autoptr(QObject) list = qdict_crumple(dict, &error_abort);

    assert_json(list, "[\"a\", \"b\"]");
}

/* A value that has a flat form: no empty containers, no keys of digits in dicts. */
static QObject *random_nested(GRand *rand, int depth)
{
    int kind = depth ? g_rand_int_range(rand, 0, 3) : 0;
    QDict *dict;
    QList *list;

    if (kind == 0) {
        return QOBJECT(qnum_from_int(g_rand_int_range(rand, -9, 9)));
    }
    if (kind == 1) {
        list = qlist_new();
        for (int n = g_rand_int_range(rand, 1, 12); n; n--) {
            qlist_append_obj(list, random_nested(rand, depth - 1));
        }
        return QOBJECT(list);
    }
    dict = qdict_new();
    for (int n = g_rand_int_range(rand, 1, 12); n; n--) {
        g_autofree char *key = g_strdup_printf("k%d", g_rand_int_range(rand, 0, 20));

        qdict_put_obj(dict, key, random_nested(rand, depth - 1));
    }
    return QOBJECT(dict);
}

static void test_crumple_undoes_flatten(void)
{
    g_autoptr(GRand) rand = test_rand_new();

    for (int i = 0; i < 200; i++) {
        g_autoptr(QDict) dict = qdict_new();
        g_autoptr(QDict) flat = NULL;
        g_autoptr(QObject) back = NULL;

        qdict_put_obj(dict, "root", random_nested(rand, 4));
        flat = qdict_clone_shallow(dict);
        qdict_flatten(flat);
        back = qdict_crumple(flat, &error_abort);
        g_assert_true(qobject_is_equal(QOBJECT(dict), back));
    }
}

static void refuse_crumple(const char *json, const char *message)
{
    g_autoptr(QDict) dict = dict_of(json);
    Error *err = NULL;

    g_assert_null(qdict_crumple(dict, &err));
    assert_error(err, message);
}

static void test_crumple_errors(void)
{
    g_autofree char *dots = g_strnfill(1000, 'a');
    g_autofree char *deep = NULL;

    for (int i = 1; i < 1000; i += 2) {
        dots[i] = '.';
    }
    deep = g_strdup_printf("{'%sz': 1}", dots);
    refuse_crumple("{'a': 1, 'a.b': 2}", "Cannot mix scalar and non-scalar keys");
    refuse_crumple("{'a.b': 1, 'a': 2}", "Cannot mix scalar and non-scalar keys");
    refuse_crumple("{'a.0': 1, 'a.b': 2}", "Cannot mix list and non-list keys");
    refuse_crumple("{'a.0': 1, 'a.2': 2}", "Missing list index 1");
    refuse_crumple("{'a.00': 1}", "Missing list index 0");
    refuse_crumple("{'a': {'b': 1}}", "Value a is not a scalar");
    refuse_crumple(deep, "Key 'a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a....' has more than 200 "
                   "parts");
}

static void test_flat_tools(void)
{
    g_autoptr(QDict) dict = dict_of("{'file.x': 1, 'file.y': 2, 'z': 3}");
    g_autoptr(QDict) sub = NULL;
    g_autoptr(QDict) list_dict = dict_of("{'0.a': 1, '1': 2, '3': 4, 'z': 5}");
    g_autoptr(QList) list = NULL;
    const QDictRenames renames[] = { { "z", "zz" }, { NULL, NULL } };
    g_autoptr(QDict) both = dict_of("{'z': 1, 'zz': 2}");
    Error *err = NULL;

    qdict_extract_subqdict(dict, &sub, "file.");
    assert_json(QOBJECT(sub), "{\"x\": 1, \"y\": 2}");
    assert_json(QOBJECT(dict), "{\"z\": 3}");
    qdict_array_split(list_dict, &list);
    assert_json(QOBJECT(list), "[{\"a\": 1}, 2]");
    assert_json(QOBJECT(list_dict), "{\"3\": 4, \"z\": 5}");
    qdict_join(sub, dict, false);
    g_assert_cmpuint(qdict_size(dict), ==, 0);
    g_assert_true(qdict_rename_keys(sub, renames, &error_abort));
    assert_json(QOBJECT(sub), "{\"x\": 1, \"y\": 2, \"zz\": 3}");
    g_assert_false(qdict_rename_keys(both, renames, &err));
    assert_error(err, "'zz' and its alias 'z' can't be used at the same time");
}

static void test_array_entries(void)
{
    g_autoptr(QDict) dict = dict_of("{'a.0': 1, 'a.1.x': 2, 'a.1.y': 3, 'b.0': 1, 'b.x': 2}");

    g_assert_cmpint(qdict_array_entries(dict, "a."), ==, 2);
    g_assert_cmpint(qdict_array_entries(dict, "b."), ==, -EINVAL);
    g_assert_cmpint(qdict_array_entries(dict, "c."), ==, 0);
}

/* ---- keyval ---- */

static void accept_keyval(const char *params, const char *implied, const char *json)
{
    g_autoptr(QDict) dict = keyval_parse(params, implied, NULL, &error_abort);

    assert_json(QOBJECT(dict), json);
}

static void refuse_keyval(const char *params, const char *implied, const char *message)
{
    Error *err = NULL;

    g_assert_null(keyval_parse(params, implied, NULL, &err));
    assert_error(err, message);
}

static void test_keyval(void)
{
    accept_keyval("", NULL, "{}");
    accept_keyval("qcow2,file.driver=file,file.filename=a,,b,x=", "driver",
                  "{\"driver\": \"qcow2\", \"file\": {\"driver\": \"file\", "
                  "\"filename\": \"a,b\"}, \"x\": \"\"}");
    accept_keyval("a.1=y,a.0=x,b.0.c=1,", NULL,
                  "{\"a\": [\"x\", \"y\"], \"b\": [{\"c\": \"1\"}]}");
    accept_keyval("a=1,a=2", NULL, "{\"a\": \"2\"}");
    accept_keyval("a=b=c", NULL, "{\"a\": \"b=c\"}");
}

static void test_keyval_errors(void)
{
    refuse_keyval("a", NULL, "Expected '=' after parameter 'a'");
    refuse_keyval("x,a", "driver", "Expected '=' after parameter 'a'");
    refuse_keyval("=1", NULL, "Invalid parameter ''");
    refuse_keyval(",a=1", NULL, "Invalid parameter ''");
    refuse_keyval("a..b=1", NULL, "Invalid parameter 'a..b'");
    refuse_keyval("0.a=1", NULL, "Invalid parameter '0.a'");
    refuse_keyval("a.=1", NULL, "Invalid parameter 'a.'");
    refuse_keyval("a=1,a.b=2", NULL, "Parameters 'a.*' used inconsistently");
    refuse_keyval("a.b=1,a=2", NULL, "Parameters 'a.*' used inconsistently");
    refuse_keyval("a.0=1,a.b=2", NULL, "Parameters 'a.*' used inconsistently");
    refuse_keyval("a.1=1", NULL, "Parameter 'a.0' missing");
    refuse_keyval("help", NULL, "Help is not available for this option");
}

static void test_keyval_help(void)
{
    bool help;
    g_autoptr(QDict) a = keyval_parse("x=1,help", NULL, &help, &error_abort);
    g_autoptr(QDict) b = NULL;

    g_assert_true(help);
    b = keyval_parse("x=help", NULL, &help, &error_abort);
    g_assert_false(help);
}

static void test_keyval_merge(void)
{
    g_autoptr(QDict) dst = dict_of("{'a': {'b': '1'}, 'l': ['x'], 's': '1'}");
    g_autoptr(QDict) src = dict_of("{'a': {'c': '2'}, 'l': ['y'], 's': '2'}");
    g_autoptr(QDict) bad = dict_of("{'a': 'scalar'}");
    Error *err = NULL;

    g_assert_true(keyval_merge(dst, src, &error_abort));
    assert_json(QOBJECT(dst), "{\"a\": {\"b\": \"1\", \"c\": \"2\"}, \"l\": [\"x\", \"y\"], "
                "\"s\": \"2\"}");
    g_assert_false(keyval_merge(dst, bad, &err));
    assert_error(err, "Parameter 'a' used inconsistently");
}

/* ---- QemuOpts ---- */

static const QemuOptDesc image_desc[] = {
    { .name = "size", .type = QEMU_OPT_SIZE, .help = "Virtual disk size" },
    { .name = "lazy_refcounts", .type = QEMU_OPT_BOOL, .help = "Postpone refcount updates" },
    { .name = "refcount_bits", .type = QEMU_OPT_NUMBER, .help = "Width", .def_value_str = "16" },
    { .name = "backing_file", .type = QEMU_OPT_STRING, .help = "File name of a base image" },
    { .name = NULL },
};

static const QemuOptsList image_list = { .name = "image", .desc = image_desc };

static void test_opts_types(void)
{
    QemuOptsList *list = qemu_opts_append(NULL, &image_list);
    QemuOpts *opts = qemu_opts_parse(list, "size=1.5G,lazy_refcounts=yes,backing_file=a,,b,size=2M",
                                     false, &error_abort);
    g_autofree char *backing = NULL;

    g_assert_cmpuint(qemu_opt_get_size(opts, "size", 0), ==, 2 * MiB);
    g_assert_true(qemu_opt_get_bool(opts, "lazy_refcounts", false));
    g_assert_cmpuint(qemu_opt_get_number(opts, "refcount_bits", 0), ==, 16);
    g_assert_false(qemu_opt_is_set(opts, "refcount_bits"));
    backing = qemu_opt_get_del(opts, "backing_file");
    g_assert_cmpstr(backing, ==, "a,b");
    g_assert_null(qemu_opt_get(opts, "backing_file"));
    g_assert_true(qemu_opt_set_number(opts, "refcount_bits", 8, &error_abort));
    g_assert_cmpuint(qemu_opt_get_number_del(opts, "refcount_bits", 0), ==, 8);
    qemu_opts_free(list);
}

static void refuse_opts(const char *params, const char *message)
{
    QemuOptsList *list = qemu_opts_append(NULL, &image_list);
    Error *err = NULL;

    g_assert_null(qemu_opts_parse(list, params, false, &err));
    assert_error(err, message);
    qemu_opts_free(list);
}

static void test_opts_errors(void)
{
    refuse_opts("bogus=1", "Invalid parameter 'bogus'");
    refuse_opts("=5", "Invalid parameter ''");
    refuse_opts("lazy_refcounts=maybe", "Parameter 'lazy_refcounts' expects 'on' or 'off'");
    refuse_opts("refcount_bits=x", "Parameter 'refcount_bits' expects a number");
    refuse_opts("refcount_bits=99999999999999999999",
                "Value '99999999999999999999' is too large for parameter 'refcount_bits'");
    refuse_opts("size=abc", "Parameter 'size' expects a non-negative number below 2^64");
    refuse_opts("size=", "Parameter 'size' expects a non-negative number below 2^64");
    refuse_opts("size=99999999999E", "Value '99999999999E' is out of range for parameter 'size'");
    refuse_opts("id=1a", "Parameter 'id' expects an identifier");
}

static void test_opts_help(void)
{
    static const QemuOptDesc more[] = {
        { .name = "size", .type = QEMU_OPT_STRING, .help = "hidden by the first" },
        { .name = "nocow", .type = QEMU_OPT_BOOL, .help = "Turn off copy-on-write" },
        { .name = NULL },
    };
    const QemuOptsList more_list = { .name = "more", .desc = more };
    QemuOptsList *list = qemu_opts_append(qemu_opts_append(NULL, &image_list), &more_list);
    GString *text = g_string_new(NULL);

    qemu_opts_print_help(list, NULL, text);
    g_assert_cmpstr(text->str, ==,
                    "Supported options:\n"
                    "  backing_file=<str>     - File name of a base image\n"
                    "  lazy_refcounts=<bool (on/off)> - Postpone refcount updates\n"
                    "  nocow=<bool (on/off)>  - Turn off copy-on-write\n"
                    "  refcount_bits=<num>    - Width (default: 16)\n"
                    "  size=<size>            - Virtual disk size\n");
    g_string_free(text, TRUE);
    qemu_opts_free(list);
}

static void test_opts_dicts(void)
{
    QemuOptsList *list = qemu_opts_append(NULL, &image_list);
    g_autoptr(QDict) dict = dict_of("{'size': 512, 'lazy_refcounts': true, 'x.y': 'rest'}");
    g_autoptr(QDict) back = NULL;
    QemuOpts *opts = qemu_opts_create(list, "me", true, &error_abort);
    Error *err = NULL;

    g_assert_true(qemu_opts_absorb_qdict(opts, dict, &error_abort));
    assert_json(QOBJECT(dict), "{\"x.y\": \"rest\"}");
    back = qemu_opts_to_qdict(opts, NULL);
    assert_json(QOBJECT(back),
                "{\"id\": \"me\", \"size\": \"512\", \"lazy_refcounts\": \"on\"}");
    g_assert_null(qemu_opts_from_qdict(list, back, &err));
    assert_error(err, "Duplicate ID 'me' for image");
    qemu_opts_del(opts);
    opts = qemu_opts_from_qdict(list, back, &error_abort);
    g_assert_true(qemu_opts_find(list, "me") == opts);
    qemu_opts_free(list);
}

static void test_opts_any_list(void)
{
    QemuOptsList list = { .name = "drive", .implied_opt_name = "file" };
    QemuOpts *opts = qemu_opts_parse(&list, "a,,b=c,if=none,id=d0", true, &error_abort);
    static const QemuOptDesc desc[] = {
        { .name = "file", .type = QEMU_OPT_STRING },
        { .name = NULL },
    };
    Error *err = NULL;

    g_assert_cmpstr(qemu_opts_id(opts), ==, "d0");
    g_assert_cmpstr(qemu_opt_get(opts, "if"), ==, "none");
    g_assert_false(qemu_opts_validate(opts, desc, &err));
    error_free(err);
    qemu_opts_reset(&list);
}

static void test_option_strings(void)
{
    g_assert_true(has_help_option("help"));
    g_assert_true(has_help_option("a=1,?"));
    g_assert_false(has_help_option("a=help"));
    g_assert_false(has_help_option("a,,help"));
    g_assert_true(is_valid_option_list("a=1,b=2"));
    g_assert_true(is_valid_option_list("a=1,,2"));
    g_assert_true(is_valid_option_list("a=1,,"));
    g_assert_false(is_valid_option_list(",a=1"));
    g_assert_false(is_valid_option_list("a=1,"));
    g_assert_false(is_valid_option_list(""));
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/flatten/flatten", test_flatten);
    g_test_add_func("/flatten/crumple", test_crumple);
    g_test_add_func("/flatten/crumple/to-list", test_crumple_to_list);
    g_test_add_func("/flatten/crumple/undoes-flatten", test_crumple_undoes_flatten);
    g_test_add_func("/flatten/crumple/contradictions", test_crumple_errors);
    g_test_add_func("/flatten/split-and-join", test_flat_tools);
    g_test_add_func("/flatten/array-entries", test_array_entries);
    g_test_add_func("/keyval/parse", test_keyval);
    g_test_add_func("/keyval/parse/errors", test_keyval_errors);
    g_test_add_func("/keyval/parse/help", test_keyval_help);
    g_test_add_func("/keyval/merge", test_keyval_merge);
    g_test_add_func("/opts/types-and-defaults", test_opts_types);
    g_test_add_func("/opts/errors", test_opts_errors);
    g_test_add_func("/opts/help-text", test_opts_help);
    g_test_add_func("/opts/dicts", test_opts_dicts);
    g_test_add_func("/opts/list-without-descriptions", test_opts_any_list);
    g_test_add_func("/opts/option-strings", test_option_strings);
    return g_test_run();
}
