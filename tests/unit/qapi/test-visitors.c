/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qapi/clone.h"
#include "qapi/gen/zoo-visit.h"
#include "qapi/object-input.h"
#include "qapi/object-output.h"
#include "qobject/flatten.h"
#include "qobject/json-parser.h"
#include "qobject/json-writer.h"
#include "qobject/keyval.h"
#include "../../lib/testlib.h"

/* ---- helpers ---- */

static bool input_everything(const char *json, Everything **obj, Error **errp)
{
    g_autoptr(QObject) value = qobject_from_json(json, &error_abort);

    return qapi_from_qobject(obj, &qapi_type_Everything, value, errp);
}

static void assert_output(const void *obj, const QapiType *type, const char *expected)
{
    g_autoptr(QObject) value = qapi_to_qobject(&obj, type);
    GString *text = qobject_to_json(value);

    g_assert_cmpstr(text->str, ==, expected);
    g_string_free(text, TRUE);
}

/* In, copied, out again. */
static void assert_round(const char *json, const char *expected)
{
    g_autoptr(Everything) obj = NULL;
    g_autoptr(Everything) copy = NULL;

    input_everything(json, &obj, &error_abort);
    copy = QAPI_CLONE(Everything, obj);
    g_assert_true(qapi_equal(obj, copy, &qapi_type_Everything));
    g_clear_pointer(&obj, qapi_free_Everything);
    assert_output(copy, &qapi_type_Everything, expected);
}

static void assert_refused(const char *json, const char *message)
{
    Everything *obj = (Everything *)1;
    Error *err = NULL;

    g_assert_false(input_everything(json, &obj, &err));
    g_assert_null(obj);
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_free(err);
}

static Everything *from_keyval(const char *params, Error **errp)
{
    g_autoptr(QDict) dict = keyval_parse(params, NULL, NULL, &error_abort);
    g_autoptr(Visitor) v = qobject_input_visitor_new_keyval(QOBJECT(dict));
    Everything *obj = NULL;

    visit_type_Everything(v, NULL, &obj, errp);
    return obj;
}

static void refuse_keyval(const char *params, const char *message)
{
    Error *err = NULL;

    g_assert_null(from_keyval(params, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_free(err);
}

/* ---- strict input, output, clone ---- */

static void test_scalars(void)
{
    assert_round("{}", "{}");
    assert_round("{'i8': -128, 'i16': 32767, 'i32': -2147483648, 'i64': -9223372036854775808,"
                 "'u8': 255, 'u16': 65535, 'u32': 4294967295, 'u64': 18446744073709551615,"
                 "'size': 4096, 'flag': false, 'number': 1.5, 'str': '', 'null': null}",
                 "{\"i8\": -128, \"i16\": 32767, \"i32\": -2147483648, "
                 "\"i64\": -9223372036854775808, \"u8\": 255, \"u16\": 65535, "
                 "\"u32\": 4294967295, \"u64\": 18446744073709551615, \"size\": 4096, "
                 "\"flag\": false, \"number\": 1.5, \"str\": \"\", \"null\": null}");
    assert_round("{'any': {'x': [1, null]}, 'qtype': 'qdict', 'default': 'd'}",
                 "{\"any\": {\"x\": [1, null]}, \"qtype\": \"qdict\", \"default\": \"d\"}");
    assert_round("{'number': 3}", "{\"number\": 3}");
}

static void test_compounds(void)
{
    assert_round("{'animal': {'kind': 'fish', 'depth': 2.5, 'cage': 1, 'name': 'n', "
                 "'school': [{'cage': 2}, {'cage': 3}]}}",
                 "{\"animal\": {\"kind\": \"fish\", \"cage\": 1, \"name\": \"n\", "
                 "\"depth\": 2.5, \"school\": [{\"cage\": 2}, {\"cage\": 3}]}}");
    assert_round("{'animal': {'kind': 'stone', 'alias': 'a'}}",
                 "{\"animal\": {\"kind\": \"stone\", \"alias\": \"a\"}}");
    assert_round("{'foods': ['24h-buffet', 'hay'], 'places': [], 'ints': [-1, 2]}",
                 "{\"foods\": [\"24h-buffet\", \"hay\"], \"places\": [], \"ints\": [-1, 2]}");
}

static void test_alternates(void)
{
    assert_round("{'ref': 'id'}", "{\"ref\": \"id\"}");
    assert_round("{'ref': 5}", "{\"ref\": 5}");
    assert_round("{'ref': null}", "{\"ref\": null}");
    assert_round("{'ref': true}", "{\"ref\": true}");
    assert_round("{'ref': ['a', 'b']}", "{\"ref\": [\"a\", \"b\"]}");
    assert_round("{'ref': {'kind': 'cat', 'lives': 9, 'friends': ['x']}}",
                 "{\"ref\": {\"kind\": \"cat\", \"lives\": 9, \"friends\": [\"x\"]}}");
}

static void test_c_layout(void)
{
    g_autoptr(Everything) obj = NULL;

    input_everything("{'ref': {'kind': 'cat', 'lives': 9, 'friends': []}, 'i8': 1}", &obj,
                     &error_abort);
    g_assert_cmpint(obj->ref->type, ==, QTYPE_QDICT);
    g_assert_cmpint(obj->ref->u.definition.kind, ==, KIND_CAT);
    g_assert_cmpint(obj->ref->u.definition.u.cat.lives, ==, 9);
    g_assert_true(obj->ref->u.definition.u.cat.has_friends);
    g_assert_null(obj->ref->u.definition.u.cat.friends);
    g_assert_false(obj->ref->u.definition.u.cat.has_food);
    g_assert_true(obj->has_i8 && !obj->has_i16 && !obj->str);
    g_assert_cmpint(ZOO_FOOD_24H_BUFFET, ==, 2);
    g_assert_cmpint(ZOO_FOOD__MAX, ==, 3);
}

static void test_errors(void)
{
    assert_refused("{'bogus': 1}", "Parameter 'bogus' is unexpected");
    assert_refused("{'animal': {'kind': 'cat', 'lives': 1, 'depth': 2}}",
                   "Parameter 'animal.depth' is unexpected");
    assert_refused("{'animal': {'lives': 1}}", "Parameter 'animal.kind' is missing");
    assert_refused("{'animal': {'kind': 'dog'}}", "Parameter 'kind' does not accept value 'dog'");
    assert_refused("{'animal': {'kind': 1}}",
                   "Invalid parameter type for 'animal.kind', expected: string");
    assert_refused("{'places': [{'cage': 1}, {'cage': 2, 'x': 3}]}",
                   "Parameter 'places[1].x' is unexpected");
    assert_refused("{'places': {}}", "Invalid parameter type for 'places', expected: array");
    assert_refused("{'ints': [1, '2']}",
                   "Invalid parameter type for 'ints[1]', expected: integer");
    assert_refused("{'animal': 1}", "Invalid parameter type for 'animal', expected: object");
    assert_refused("{'ref': 1.5}", "Invalid parameter type for 'ref', expected: integer");
    assert_refused("{'u8': 256}", "Parameter 'u8' expects uint8_t");
    assert_refused("{'i16': -32769}", "Parameter 'i16' expects int16_t");
    assert_refused("{'i': 9223372036854775808}",
                   "Invalid parameter type for 'i', expected: integer");
    assert_refused("{'flag': 'on'}", "Invalid parameter type for 'flag', expected: boolean");
    assert_refused("{'null': 1}", "Invalid parameter type for 'null', expected: null");
    assert_refused("{'foods': ['gone']}", "Parameter 'null' does not accept value 'gone'");
    assert_refused("[]", "Invalid parameter type for '<anonymous>', expected: object");
}

static void test_alternate_error(void)
{
    static const QapiType *const only_str[QTYPE__MAX] = { [QTYPE_QSTRING] = &qapi_type_str };
    static const QapiType type = {
        .name = "Narrow", .kind = QAPI_ALTERNATE, .size = sizeof(AnimalRef),
        .by_qtype = only_str, .offset = offsetof(AnimalRef, u),
    };
    g_autoptr(QNull) null = qnull();
    void *obj = NULL;
    Error *err = NULL;

    g_assert_false(qapi_from_qobject(&obj, &type, QOBJECT(null), &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Invalid parameter type for 'null', expected: Narrow");
    error_free(err);
}

static void test_deep_input_is_refused(void)
{
    g_autoptr(QObject) value = QOBJECT(qdict_from_jsonf_nofail("{'a': 1}"));
    g_autoptr(Visitor) v = NULL;
    Error *err = NULL;
    bool ok = true;

    for (int i = 0; i < 300; i++) {
        value = QOBJECT(qdict_from_jsonf_nofail("{'a': %p}", value));
    }
    v = qobject_input_visitor_new(value);
    for (int i = 0; ok && i < 300; i++) {
        ok = visit_start_struct(v, i ? "a" : NULL, NULL, 0, &err);
    }
    g_assert_false(ok);
    g_assert_cmpstr(error_get_pretty(err), ==, "Parameters are nested more than 200 levels deep");
    error_free(err);
}

/* ---- other inputs ---- */

static void test_keyval(void)
{
    g_autoptr(Everything) obj = from_keyval("i8=-5,u64=0x10,size=64k,flag=on,number=1.5,str=a,,b,"
                                            "animal.kind=fish,animal.depth=2,animal.cage=7,"
                                            "ints.0=1,ints.1=2,foods.0=hay,ref=x",
                                            &error_abort);

    assert_output(obj, &qapi_type_Everything,
                  "{\"i8\": -5, \"u64\": 16, \"size\": 65536, \"flag\": true, \"number\": 1.5, "
                  "\"str\": \"a,b\", \"ref\": \"x\", \"animal\": {\"kind\": \"fish\", "
                  "\"cage\": 7, \"depth\": 2}, \"foods\": [\"hay\"], \"ints\": [1, 2]}");
}

static void test_keyval_errors(void)
{
    refuse_keyval("i=x", "Parameter 'i' expects integer");
    refuse_keyval("size=x", "Parameter 'size' expects size");
    refuse_keyval("number=x", "Parameter 'number' expects number");
    refuse_keyval("flag=maybe", "Parameter 'flag' expects 'on' or 'off'");
    refuse_keyval("animal.kind=cat,animal.lives=1,animal.x=1",
                  "Parameter 'animal.x' is unexpected");
    refuse_keyval("places.0.cage=1,places.1.name=n", "Parameter 'places.1.cage' is missing");
    refuse_keyval("str.a=x", "Parameters 'str.*' are unexpected");
    refuse_keyval("animal.kind=cat,animal.lives.0=x", "Parameters 'animal.lives.*' are "
                  "unexpected");
    refuse_keyval("animal=x", "Invalid parameter type for 'animal', expected: object");
}

static void test_confused(void)
{
    g_autoptr(QDict) flat = qdict_from_jsonf_nofail(
        "{'i8': '1', 'i16': 2, 'flag': true, 'str': 5, 'size': '1k', 'animal.kind': 'cat', "
        "'animal.lives': '3', 'default': false}");
    g_autoptr(Visitor) v = qobject_input_visitor_new_flat_confused(flat, &error_abort);
    g_autoptr(Everything) obj = NULL;

    visit_type_Everything(v, NULL, &obj, &error_abort);
    assert_output(obj, &qapi_type_Everything,
                  "{\"i8\": 1, \"i16\": 2, \"size\": 1024, \"flag\": true, \"str\": \"5\", "
                  "\"animal\": {\"kind\": \"cat\", \"lives\": 3}, \"default\": \"off\"}");
}

static void test_from_str(void)
{
    g_autoptr(Visitor) a = qobject_input_visitor_new_str("cat,lives=7", "kind", &error_abort);
    g_autoptr(Visitor) b = qobject_input_visitor_new_str("{'kind': 'cat', 'lives': 7}", "kind",
                                                         &error_abort);
    g_autoptr(Animal) x = NULL;
    g_autoptr(Animal) y = NULL;
    Error *err = NULL;

    visit_type_Animal(a, NULL, &x, &error_abort);
    visit_type_Animal(b, NULL, &y, &error_abort);
    g_assert_true(qapi_equal(x, y, &qapi_type_Animal));
    g_assert_null(qobject_input_visitor_new_str("{", NULL, &err));
    error_free(err);
}

static void test_list_macros(void)
{
    strList *list = NULL;
    strList **tail = &list;
    g_autoptr(strList) copy = NULL;

    QAPI_LIST_APPEND(tail, g_strdup("b"));
    QAPI_LIST_APPEND(tail, g_strdup("c"));
    QAPI_LIST_PREPEND(list, g_strdup("a"));
    g_assert_cmpuint(QAPI_LIST_LENGTH(list), ==, 3);
    copy = QAPI_CLONE(strList, list);
    qapi_free_strList(list);
    assert_output(copy, &qapi_type_strList, "[\"a\", \"b\", \"c\"]");
}

static void test_enum_parse(void)
{
    Error *err = NULL;

    g_assert_cmpint(qapi_enum_parse(&ZooFood_lookup, "x-fish", -1, &error_abort), ==,
                    ZOO_FOOD_X_FISH);
    g_assert_cmpint(qapi_enum_parse(&ZooFood_lookup, NULL, 7, &error_abort), ==, 7);
    g_assert_cmpint(qapi_enum_parse(&ZooFood_lookup, "soup", -1, &err), ==, -1);
    g_assert_cmpstr(error_get_pretty(err), ==, "invalid parameter value: soup");
    error_free(err);
    g_assert_cmpstr(ZooFood_str(ZOO_FOOD_HAY), ==, "hay");
    g_assert_cmpint(ZooFood_lookup.features[ZOO_FOOD_X_FISH], ==, QAPI_FEATURE_UNSTABLE);
}

static void test_clone_members(void)
{
    Animal src = { .kind = KIND_CAT, .alias = (char *)"a", .u.cat.lives = 3 };
    Animal dst;

    QAPI_CLONE_MEMBERS(Animal, &dst, &src);
    g_assert_true(dst.alias != src.alias);
    g_assert_true(qapi_equal(&dst, &src, &qapi_type_Animal));
    dst.u.cat.lives = 4;
    g_assert_false(qapi_equal(&dst, &src, &qapi_type_Animal));
    qapi_free_members(&dst, &qapi_type_Animal);
    g_assert_null(dst.alias);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/visitors/strict/scalars", test_scalars);
    g_test_add_func("/visitors/strict/compounds", test_compounds);
    g_test_add_func("/visitors/strict/alternates", test_alternates);
    g_test_add_func("/visitors/strict/c-layout", test_c_layout);
    g_test_add_func("/visitors/strict/errors", test_errors);
    g_test_add_func("/visitors/strict/alternate-without-branch", test_alternate_error);
    g_test_add_func("/visitors/strict/deep-input-is-refused", test_deep_input_is_refused);
    g_test_add_func("/visitors/keyval/values", test_keyval);
    g_test_add_func("/visitors/keyval/errors", test_keyval_errors);
    g_test_add_func("/visitors/confused/strings-or-values", test_confused);
    g_test_add_func("/visitors/from-str/keyval-or-json", test_from_str);
    g_test_add_func("/visitors/lists/macros", test_list_macros);
    g_test_add_func("/visitors/enum/parse", test_enum_parse);
    g_test_add_func("/visitors/clone/members", test_clone_members);
    return g_test_run();
}
