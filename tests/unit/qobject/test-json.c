/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/error.h"
#include "qobject/json-parser.h"
#include "qobject/json-writer.h"
#include "qobject/qbool.h"
#include "qobject/qdict.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"
#include "../../lib/testlib.h"

/* ---- helpers ---- */

static void assert_json(const QObject *obj, const char *expected)
{
    GString *text = qobject_to_json(obj);

    g_assert_cmpstr(text->str, ==, expected);
    g_string_free(text, TRUE);
}

/* Parse @input, write it again. */
static void assert_round(const char *input, const char *expected)
{
    g_autoptr(QObject) obj = qobject_from_json(input, &error_abort);

    assert_json(obj, expected);
}

static void assert_refused(const char *input, const char *message)
{
    Error *err = NULL;
    QObject *obj = qobject_from_json(input, &err);

    g_assert_null(obj);
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_free(err);
}

/* What a stream emitted, one line per value or error. */
static void record(void *opaque, QObject *obj, Error *err)
{
    GString *log = opaque;

    g_assert_true((obj == NULL) != (err == NULL));
    if (obj) {
        GString *text = qobject_to_json(obj);

        g_string_append_printf(log, "%s\n", text->str);
        g_string_free(text, TRUE);
        qobject_unref(obj);
    } else {
        g_string_append_printf(log, "! %s\n", error_get_pretty(err));
        error_free(err);
    }
}

static char *run_stream(const char *input, size_t size, size_t piece)
{
    GString *log = g_string_new(NULL);
    g_autoptr(JSONMessageParser) parser = json_message_parser_new(record, log);

    for (size_t i = 0; i < size; i += piece) {
        json_message_parser_feed(parser, input + i, MIN(piece, size - i));
    }
    json_message_parser_flush(parser);
    return g_string_free(log, FALSE);
}

/* The same result whole and byte by byte. */
static void assert_stream(const char *input, const char *expected)
{
    g_autofree char *whole = run_stream(input, strlen(input), strlen(input) + 1);
    g_autofree char *bytes = run_stream(input, strlen(input), 1);

    g_assert_cmpstr(whole, ==, expected);
    g_assert_cmpstr(bytes, ==, expected);
}

/* ---- accepted ---- */

static void test_values(void)
{
    assert_round("{}", "{}");
    assert_round(" [ ] ", "[]");
    assert_round("[true,false,null]", "[true, false, null]");
    assert_round("{\"b\":1,\"a\":{\"c\":[1,[2],{}]}}", "{\"b\": 1, \"a\": {\"c\": [1, [2], {}]}}");
    assert_round("\"x\"", "\"x\"");
    assert_round("\t\r\n17", "17");
}

static void test_numbers(void)
{
    static const struct {
        const char *text;
        QNumKind kind;
        const char *written;
    } cases[] = {
        { "0", QNUM_I64, "0" },
        { "-0", QNUM_I64, "0" },
        { "9223372036854775807", QNUM_I64, "9223372036854775807" },
        { "-9223372036854775808", QNUM_I64, "-9223372036854775808" },
        { "9223372036854775808", QNUM_U64, "9223372036854775808" },
        { "18446744073709551615", QNUM_U64, "18446744073709551615" },
        { "18446744073709551616", QNUM_DOUBLE, "1.8446744073709552e+19" },
        { "-9223372036854775809", QNUM_DOUBLE, "-9.2233720368547758e+18" },
        { "1.5", QNUM_DOUBLE, "1.5" },
        { "-0e0", QNUM_DOUBLE, "-0.0" },
        { "1e2", QNUM_DOUBLE, "100" },
        { "0.1", QNUM_DOUBLE, "0.10000000000000001" },
        { "-1.25E-2", QNUM_DOUBLE, "-0.012500000000000001" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autoptr(QObject) obj = qobject_from_json(cases[i].text, &error_abort);
        QNum *num = qobject_to(QNum, obj);

        g_assert_nonnull(num);
        g_assert_cmpint(num->kind, ==, cases[i].kind);
        assert_json(obj, cases[i].written);
    }
}

static void test_strings(void)
{
    assert_round("'it\\'s'", "\"it's\"");
    assert_round("'\"'", "\"\\\"\"");
    assert_round("\"\\b\\f\\n\\r\\t\\/\\\\\"", "\"\\b\\f\\n\\r\\t/\\\\\"");
    assert_round("\"\xc3\xa9\"", "\"\\u00E9\"");
    assert_round("\"\\ud83d\\ude00\"", "\"\\uD83D\\uDE00\"");
    assert_round("\"\xf0\x9f\x98\x80\"", "\"\\uD83D\\uDE00\"");
    assert_round("\"\\u0000\"", "\"\\u0000\"");
    assert_round("\"\x7f\"", "\"\\u007F\"");
}

static void test_bad_utf8_is_written_as_replacement(void)
{
    g_autoptr(QString) str = qstring_from_str("a\xff\xc3z\xed\xa0\x80");

    assert_json(QOBJECT(str), "\"a\\uFFFD\\uFFFDz\\uFFFD\"");
}

/* ---- refused ---- */

static void test_grammar(void)
{
    assert_refused("", "Expecting a JSON value");
    assert_refused("{}{}", "Expecting at most one JSON value");
    assert_refused("{\"a\":1} 2", "Expecting at most one JSON value");
    assert_refused("{", "JSON parse error, premature EOI");
    assert_refused("[1", "JSON parse error, premature EOI");
    assert_refused("{\"a\":}", "JSON parse error, expecting value");
    assert_refused("{\"a\":1,}", "JSON parse error, expecting value");
    assert_refused("[1,]", "JSON parse error, expecting value");
    assert_refused("}", "JSON parse error, expecting value");
    assert_refused(",", "JSON parse error, expecting value");
    assert_refused("{\"a\" 1}", "JSON parse error, missing : in object pair");
    assert_refused("{1:2}", "JSON parse error, key is not a string in object");
    assert_refused("{[]:2}", "JSON parse error, key is not a string in object");
    assert_refused("{\"a\":1 \"b\":2}", "JSON parse error, expected separator in dict");
    assert_refused("[1 2]", "JSON parse error, expected separator in list");
    assert_refused("[1}", "JSON parse error, expected separator in list");
    assert_refused("{'a':1,\"a\":2}", "JSON parse error, duplicate key");
}

static void test_tokens(void)
{
    assert_refused("nul", "JSON parse error, invalid keyword 'nul'");
    assert_refused("NaN", "JSON parse error, stray 'N'");
    assert_refused("01", "JSON parse error, stray '01'");
    assert_refused("+1", "JSON parse error, stray '+'");
    assert_refused("{\"a\":-}", "JSON parse error, stray '-}'");
    assert_refused("[1.]", "JSON parse error, stray '1.]'");
    assert_refused("1e", "JSON parse error, stray '1e'");
    assert_refused("{\"a\":%d}", "JSON parse error, stray '%'");
    assert_refused("\"x", "JSON parse error, stray '\"x'");
    assert_refused("\"a\nb\"", "JSON parse error, stray '\"a\n'");
    assert_refused("1e999", "JSON parse error, number '1e999' is out of range");
    assert_refused("// x\n1", "JSON parse error, stray '/'");
}

static void test_escapes(void)
{
    assert_refused("\"\\x\"", "JSON parse error, invalid escape sequence in string");
    assert_refused("\"\\u12\"", "JSON parse error, \\u12\" is not a valid Unicode character");
    assert_refused("\"\\ud800\"", "JSON parse error, \\ud800 is not a valid Unicode character");
    assert_refused("\"\\ude00\\ud83d\"",
                   "JSON parse error, \\ude00 is not a valid Unicode character");
    assert_refused("\"\\ufffe\"", "JSON parse error, \\ufffe is not a valid Unicode character");
    assert_refused("\"\xc3\"", "JSON parse error, invalid UTF-8 sequence in string");
    assert_refused("\"\xc0\xaf\"", "JSON parse error, invalid UTF-8 sequence in string");
    assert_refused("\"\xed\xa0\x80\"", "JSON parse error, invalid UTF-8 sequence in string");
    assert_refused("\"\xf5\x80\x80\x80\"", "JSON parse error, invalid UTF-8 sequence in string");
}

static void test_depth(void)
{
    g_autofree char *deep = g_strnfill(1024, '[');
    g_autofree char *close = g_strnfill(1024, ']');
    g_autofree char *good = g_strconcat(deep, close, NULL);
    g_autofree char *bad = g_strconcat("[", deep, close, "]", NULL);
    g_autoptr(QObject) obj = qobject_from_json(good, &error_abort);
    Error *err = NULL;

    g_assert_nonnull(obj);
    g_assert_null(qobject_from_json(bad, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "JSON nesting depth limit exceeded");
    error_free(err);
}

static void test_token_count(void)
{
    GString *text = g_string_new("[0");

    for (int i = 0; i < 1024 * 1024; i++) {
        g_string_append(text, ",0");
    }
    g_string_append(text, "]");
    {
        g_autofree char *log = run_stream(text->str, text->len, 1 << 20);

        g_assert_true(g_str_has_prefix(log, "! JSON token count limit exceeded\n"));
    }
    g_string_free(text, TRUE);
}

static void test_token_size(void)
{
    size_t size = 65 * MiB;
    g_autofree char *text = g_malloc(size);
    g_autofree char *log = NULL;

    memset(text, 'x', size);
    text[0] = '"';
    log = run_stream(text, size, 1 << 20);
    g_assert_cmpstr(log, ==, "! JSON token size limit exceeded\n");
}

/* ---- streams ---- */

static void test_pieces(void)
{
    assert_stream("{\"a\": [1, 2.5e1, 'x\\'y'], \"b\": null}  17 \n\"s\"true",
                  "{\"a\": [1, 25, \"x'y\"], \"b\": null}\n17\n\"s\"\ntrue\n");
}

static void test_error_ends_where_brackets_balance(void)
{
    assert_stream("{\"execute\":}{\"a\":1}", "! JSON parse error, expecting value\n{\"a\": 1}\n");
    assert_stream("[1 2, {\"x\": [3]}] 4", "! JSON parse error, expected separator in list\n4\n");
    assert_stream("}[1]", "! JSON parse error, expecting value\n[1]\n");
    assert_stream("[1,, 2, [}] ]5",
                  "! JSON parse error, expecting value\n! JSON parse error, expecting value\n"
                  "! JSON parse error, expecting value\n5\n");
}

static void test_stray_resumes_at_structural(void)
{
    assert_stream("@ foo bar{\"a\":1}", "! JSON parse error, stray '@'\n{\"a\": 1}\n");
    assert_stream("{\"a\":@\n[1]", "! JSON parse error, stray '@'\n[1]\n");
    assert_stream("{\"a\": \"xy\n{\"b\":2}", "! JSON parse error, stray '\"xy\n'\n{\"b\": 2}\n");
}

static void test_ff_starts_afresh(void)
{
    assert_stream("{\"a\":[1,\xff{\"b\":2}", "! JSON parse error, stray '\xff'\n{\"b\": 2}\n");
    assert_stream("{\"a\":\"x\xff{\"b\":2}", "! JSON parse error, stray '\"x\xff'\n{\"b\": 2}\n");
}

static void test_nul_byte(void)
{
    static const char input[] = "1\0[2]";
    g_autofree char *log = run_stream(input, 5, 1);

    g_assert_cmpstr(log, ==, "1\n! JSON parse error, stray ''\n[2]\n");
}

/* ---- random ---- */

static QObject *random_value(GRand *rand, int depth)
{
    int kind = g_rand_int_range(rand, 0, depth ? 8 : 6);

    switch (kind) {
    case 0:
        return QOBJECT(qnull());
    case 1:
        return QOBJECT(qbool_from_bool(g_rand_boolean(rand)));
    case 2:
        return QOBJECT(qnum_from_int((uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand)));
    case 3:
        return QOBJECT(qnum_from_double(g_rand_double_range(rand, -1e20, 1e20)));
    case 4:
    case 5: {
        GString *str = g_string_new(NULL);

        for (int n = g_rand_int_range(rand, 0, 10); n; n--) {
            g_string_append_unichar(str, g_rand_int_range(rand, 1, kind == 4 ? 128 : 0xd800));
        }
        return QOBJECT(qstring_from_gstring(str));
    }
    case 6: {
        QList *list = qlist_new();

        for (int n = g_rand_int_range(rand, 0, 20); n; n--) {
            qlist_append_obj(list, random_value(rand, depth - 1));
        }
        return QOBJECT(list);
    }
    default: {
        QDict *dict = qdict_new();

        for (int n = g_rand_int_range(rand, 0, 20); n; n--) {
            g_autofree char *key = g_strdup_printf("%d", g_rand_int_range(rand, 0, 30));

            qdict_put_obj(dict, key, random_value(rand, depth - 1));
        }
        return QOBJECT(dict);
    }
    }
}

static void test_random_values_survive(void)
{
    g_autoptr(GRand) rand = test_rand_new();

    for (int i = 0; i < 300; i++) {
        g_autoptr(QObject) obj = random_value(rand, 4);
        GString *text = qobject_to_json_pretty(obj, i & 1);
        g_autoptr(QObject) back = qobject_from_json(text->str, &error_abort);

        GString *again = qobject_to_json_pretty(back, i & 1);

        /* Compare texts: a double without fraction comes back as an integer. */
        g_assert_cmpstr(text->str, ==, again->str);
        g_string_free(text, TRUE);
        g_string_free(again, TRUE);
    }
}

static void test_random_bytes_never_crash(void)
{
    static const char alphabet[] = "{}[]:,\"'\\u0e+-.19tn \n\xff\xc3\xa9";
    g_autoptr(GRand) rand = test_rand_new();
    char text[64];

    for (int i = 0; i < 20000; i++) {
        g_autofree char *whole = NULL;
        g_autofree char *bytes = NULL;

        for (size_t k = 0; k < sizeof(text); k++) {
            text[k] = alphabet[g_rand_int_range(rand, 0, sizeof(alphabet) - 1)];
        }
        whole = run_stream(text, sizeof(text), sizeof(text));
        bytes = run_stream(text, sizeof(text), 1 + i % 5);
        g_assert_cmpstr(whole, ==, bytes);
    }
}

/* ---- building and writing ---- */

static void test_jsonf(void)
{
    QList *list = qlist_new();
    g_autoptr(QDict) dict = NULL;

    qlist_append_int(list, 3);
    dict = qdict_from_jsonf_nofail("{'s': %s, 'd': %d, 'u': %llu, 'b': %i, 'f': %f, 'p': %p}",
                                   "a\"b", -7, ULLONG_MAX, true, 0.5, list);
    assert_json(QOBJECT(dict), "{\"s\": \"a\\\"b\", \"d\": -7, \"u\": 18446744073709551615, "
                "\"b\": true, \"f\": 0.5, \"p\": [3]}");
}

static void test_pretty(void)
{
    g_autoptr(QObject) obj = qobject_from_json("{'a': [1, {}], 'b': {'c': []}, 'd': 'x'}",
                                               &error_abort);
    GString *text = qobject_to_json_pretty(obj, true);

    g_assert_cmpstr(text->str, ==,
                    "{\n"
                    "    \"a\": [\n"
                    "        1,\n"
                    "        {\n"
                    "        }\n"
                    "    ],\n"
                    "    \"b\": {\n"
                    "        \"c\": [\n"
                    "        ]\n"
                    "    },\n"
                    "    \"d\": \"x\"\n"
                    "}");
    g_string_free(text, TRUE);
}

static void test_writer(void)
{
    JSONWriter *writer = json_writer_new(false);
    GString *text;

    json_writer_start_object(writer, NULL);
    json_writer_int64(writer, "i", -1);
    json_writer_start_array(writer, "a");
    json_writer_uint64(writer, NULL, UINT64_MAX);
    json_writer_bool(writer, NULL, true);
    json_writer_null(writer, NULL);
    json_writer_end_array(writer);
    json_writer_double(writer, "inf", 1.0 / 0.0);
    json_writer_str(writer, "s", "\n");
    json_writer_end_object(writer);
    text = json_writer_get_and_free(writer);
    g_assert_cmpstr(text->str, ==, "{\"i\": -1, \"a\": [18446744073709551615, true, null], "
                    "\"inf\": null, \"s\": \"\\n\"}");
    g_string_free(text, TRUE);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/json/parse/values", test_values);
    g_test_add_func("/json/parse/numbers-keep-their-kind", test_numbers);
    g_test_add_func("/json/parse/strings", test_strings);
    g_test_add_func("/json/parse/grammar-errors", test_grammar);
    g_test_add_func("/json/parse/token-errors", test_tokens);
    g_test_add_func("/json/parse/escape-errors", test_escapes);
    g_test_add_func("/json/parse/depth-limit", test_depth);
    g_test_add_func("/json/parse/token-count-limit", test_token_count);
    g_test_add_func("/json/parse/size-limit", test_token_size);
    g_test_add_func("/json/stream/pieces", test_pieces);
    g_test_add_func("/json/stream/error-ends-where-brackets-balance",
                    test_error_ends_where_brackets_balance);
    g_test_add_func("/json/stream/stray-resumes-at-structural", test_stray_resumes_at_structural);
    g_test_add_func("/json/stream/ff-starts-afresh", test_ff_starts_afresh);
    g_test_add_func("/json/stream/nul-byte", test_nul_byte);
    g_test_add_func("/json/random/values-survive", test_random_values_survive);
    g_test_add_func("/json/random/bytes-same-in-any-pieces", test_random_bytes_never_crash);
    g_test_add_func("/json/build/interpolation", test_jsonf);
    g_test_add_func("/json/write/pretty", test_pretty);
    g_test_add_func("/json/write/direct", test_writer);
    g_test_add_func("/json/write/bad-utf8-replaced", test_bad_utf8_is_written_as_replacement);
    return g_test_run();
}
