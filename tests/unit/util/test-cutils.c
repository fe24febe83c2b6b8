/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "../../lib/testlib.h"

static void test_pstrcpy_cuts(void)
{
    char buf[5] = "????";

    pstrcpy(buf, sizeof(buf), "abcdefgh");
    g_assert_cmpstr(buf, ==, "abcd");
    pstrcpy(buf, sizeof(buf), "x");
    pstrcat(buf, sizeof(buf), "yzuvw");
    g_assert_cmpstr(buf, ==, "xyzu");
    pstrcpy(buf, 0, "ignored");
    strpadcpy(buf, 4, "a", ' ');
    g_assert_cmpmem(buf, 4, "a   ", 4);
    strpadcpy(buf, 4, "abcdef", ' ');
    g_assert_cmpmem(buf, 4, "abcd", 4);
}

static void test_strstart_gives_rest(void)
{
    const char *rest = NULL;

    g_assert_true(strstart("nbd:host", "nbd:", &rest));
    g_assert_cmpstr(rest, ==, "host");
    g_assert_false(strstart("nb", "nbd:", &rest));
    g_assert_false(strstart("NBD:x", "nbd:", NULL));
    g_assert_true(stristart("NBD:x", "nbd:", &rest));
    g_assert_cmpstr(rest, ==, "x");
}

static void test_strtoi_limits(void)
{
    int i;
    unsigned int u;
    const char *end;

    g_assert_cmpint(qemu_strtoi(" 12", NULL, 0, &i), ==, 0);
    g_assert_cmpint(i, ==, 12);
    g_assert_cmpint(qemu_strtoi("2147483648", NULL, 0, &i), ==, -ERANGE);
    g_assert_cmpint(i, ==, INT_MAX);
    g_assert_cmpint(qemu_strtoi("-2147483649", NULL, 0, &i), ==, -ERANGE);
    g_assert_cmpint(i, ==, INT_MIN);
    g_assert_cmpint(qemu_strtoi("12x", NULL, 0, &i), ==, -EINVAL);
    g_assert_cmpint(i, ==, 0);
    g_assert_cmpint(qemu_strtoi("12x", &end, 0, &i), ==, 0);
    g_assert_cmpstr(end, ==, "x");
    g_assert_cmpint(qemu_strtoi("", &end, 0, &i), ==, -EINVAL);
    g_assert_cmpint(qemu_strtoi(NULL, &end, 0, &i), ==, -EINVAL);
    g_assert_null(end);
    g_assert_cmpint(qemu_strtoi("0x10", NULL, 0, &i), ==, 0);
    g_assert_cmpint(i, ==, 16);
    g_assert_cmpint(qemu_strtoui("4294967295", NULL, 0, &u), ==, 0);
    g_assert_cmpint(qemu_strtoui("4294967296", NULL, 0, &u), ==, -ERANGE);
    g_assert_cmpuint(u, ==, UINT_MAX);
    g_assert_cmpint(qemu_strtoui("-1", NULL, 0, &u), ==, 0);
    g_assert_cmpuint(u, ==, UINT_MAX);
}

static void test_strto64_limits(void)
{
    int64_t i;
    uint64_t u;

    g_assert_cmpint(qemu_strtoi64("-9223372036854775808", NULL, 10, &i), ==, 0);
    g_assert_cmpint(i, ==, INT64_MIN);
    g_assert_cmpint(qemu_strtoi64("9223372036854775808", NULL, 10, &i), ==, -ERANGE);
    g_assert_cmpint(i, ==, INT64_MAX);
    g_assert_cmpint(qemu_strtou64("18446744073709551615", NULL, 10, &u), ==, 0);
    g_assert_cmpuint(u, ==, UINT64_MAX);
    g_assert_cmpint(parse_uint_full("-1", 10, &u), ==, -ERANGE);
    g_assert_cmpuint(u, ==, 0);
    g_assert_cmpint(parse_uint_full("12 ", 10, &u), ==, -EINVAL);
    g_assert_cmpint(parse_uint_full("12", 10, &u), ==, 0);
    g_assert_cmpuint(u, ==, 12);
}

static void test_strtod_refuses_infinity(void)
{
    double d;

    g_assert_cmpint(qemu_strtod("1.5e2", NULL, &d), ==, 0);
    g_assert_cmpfloat(d, ==, 150);
    g_assert_cmpint(qemu_strtod_finite("inf", NULL, &d), ==, -EINVAL);
    g_assert_cmpint(qemu_strtod_finite("nan", NULL, &d), ==, -EINVAL);
}

static void test_strtosz_accepts(void)
{
    static const struct {
        const char *text;
        uint64_t size;
    } cases[] = {
        { "0", 0 }, { "1b", 1 }, { "1B", 1 }, { "512", 512 }, { "1k", 1024 }, { "1K", 1024 },
        { "1M", 1 << 20 }, { "1G", 1 << 30 }, { "1T", UINT64_C(1) << 40 },
        { "1P", UINT64_C(1) << 50 }, { "1E", UINT64_C(1) << 60 }, { "15E", UINT64_C(15) << 60 },
        { "0x1000", 4096 }, { "0x10k", 16384 }, { "0xB", 11 }, { "1.5M", 1572864 },
        { " 1M", 1 << 20 }, { ".5k", 512 }, { "1.k", 1024 }, { "+8", 8 },
        { "0.1k", 102 }, { "9223372036854775807", INT64_MAX }, { "010", 10 },
        { "1.99999999999999999999999k", 2047 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t size = 77;
        g_test_message("%s", cases[i].text);
        g_assert_cmpint(qemu_strtosz(cases[i].text, NULL, &size), ==, 0);
        g_assert_cmpuint(size, ==, cases[i].size);
    }
}

static void test_strtosz_refuses(void)
{
    static const char *const invalid[] = {
        "", " ", "abc", "1e3", "1.5e1k", "1E+3", "1Q", "1kk", "1M ", ".", "1.5", "1.5b", "0x", "-",
        "0x1.8k", "0x1p1", "1..5k", "k", "inf", "nan", "--1", "+-1",
    };
    uint64_t size;

    for (size_t i = 0; i < ARRAY_SIZE(invalid); i++) {
        size = 77;
        g_test_message("%s", invalid[i]);
        g_assert_cmpint(qemu_strtosz(invalid[i], NULL, &size), ==, -EINVAL);
        g_assert_cmpuint(size, ==, 0);
    }
    g_assert_cmpint(qemu_strtosz("16E", NULL, &size), ==, -ERANGE);
    g_assert_cmpuint(size, ==, UINT64_MAX);
    g_assert_cmpint(qemu_strtosz("99999999999999999999", NULL, &size), ==, -ERANGE);
    g_assert_cmpint(qemu_strtosz("-1k", NULL, &size), ==, -ERANGE);
    g_assert_cmpuint(size, ==, 0);
    g_assert_cmpint(qemu_strtosz(NULL, NULL, &size), ==, -EINVAL);
}

static void test_strtosz_end_and_units(void)
{
    const char *end;
    uint64_t size;

    g_assert_cmpint(qemu_strtosz("12Mrest", &end, &size), ==, 0);
    g_assert_cmpstr(end, ==, "rest");
    g_assert_cmpuint(size, ==, 12 << 20);
    g_assert_cmpint(qemu_strtosz("junk", &end, &size), ==, -EINVAL);
    g_assert_cmpstr(end, ==, "junk");
    g_assert_cmpint(qemu_strtosz_MiB("2", NULL, &size), ==, 0);
    g_assert_cmpuint(size, ==, 2 << 20);
    g_assert_cmpint(qemu_strtosz_metric("12k", NULL, &size), ==, 0);
    g_assert_cmpuint(size, ==, 12000);
}

static void test_size_to_str(void)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        { 0, "0 B" }, { 1, "1 B" }, { 999, "999 B" }, { 1000, "0.977 KiB" }, { 1024, "1 KiB" },
        { 4194304, "4 MiB" }, { 197120, "192 KiB" }, { 200704, "196 KiB" },
        { 1572864, "1.5 MiB" }, { UINT64_C(1) << 40, "1 TiB" }, { UINT64_MAX, "16 EiB" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *text = size_to_str(cases[i].bytes);
        g_assert_cmpstr(text, ==, cases[i].text);
    }
}

static void test_ids(void)
{
    g_autofree char *a = id_generate(ID_BLOCK);
    g_autofree char *b = id_generate(ID_BLOCK);

    g_assert_true(g_str_has_prefix(a, "#block"));
    g_assert_cmpstr(a, !=, b);
    g_assert_false(id_wellformed(a));
    g_assert_true(id_wellformed("drive-0.a_b"));
    g_assert_false(id_wellformed("0drive"));
    g_assert_false(id_wellformed(""));
    g_assert_false(id_wellformed("a/b"));
    g_assert_cmpint(qemu_parse_fd("12"), ==, 12);
    g_assert_cmpint(qemu_parse_fd("-1"), ==, -1);
    g_assert_cmpint(qemu_parse_fd("4294967296"), ==, -1);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/cutils/pstrcpy/cuts-and-terminates", test_pstrcpy_cuts);
    g_test_add_func("/cutils/strstart/gives-rest", test_strstart_gives_rest);
    g_test_add_func("/cutils/strtoi/checks-limits", test_strtoi_limits);
    g_test_add_func("/cutils/strtoi64/checks-limits", test_strto64_limits);
    g_test_add_func("/cutils/strtod-finite/refuses-infinity", test_strtod_refuses_infinity);
    g_test_add_func("/cutils/strtosz/accepts-sizes", test_strtosz_accepts);
    g_test_add_func("/cutils/strtosz/refuses-the-rest", test_strtosz_refuses);
    g_test_add_func("/cutils/strtosz/reports-end-and-unit", test_strtosz_end_and_units);
    g_test_add_func("/cutils/size-to-str/three-digits", test_size_to_str);
    g_test_add_func("/cutils/id/generated-is-not-wellformed", test_ids);
    return g_test_run();
}
