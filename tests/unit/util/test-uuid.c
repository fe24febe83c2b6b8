/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/uuid.h"
#include "../../lib/testlib.h"

static void test_text_round_trip(void)
{
    static const char text[] = "586ece27-7f09-41e0-9e74-e901317e9d42";
    g_autofree char *again = NULL;
    QemuUUID uuid, swapped;

    g_assert_cmpint(qemu_uuid_parse(text, &uuid), ==, 0);
    g_assert_cmphex(uuid.data[0], ==, 0x58);
    again = qemu_uuid_unparse_strdup(&uuid);
    g_assert_cmpstr(again, ==, text);
    g_assert_cmpuint(strlen(again), ==, UUID_STR_LEN);
    swapped = qemu_uuid_bswap(uuid);
    g_assert_cmphex(swapped.data[0], ==, 0x27);
    g_assert_cmphex(swapped.data[5], ==, 0x7f);
    g_assert_cmphex(swapped.data[8], ==, 0x9e);
    swapped = qemu_uuid_bswap(swapped);
    g_assert_true(qemu_uuid_is_equal(&uuid, &swapped));
}

static void test_parse_refuses_other_forms(void)
{
    static const char *const bad[] = {
        "", "586ece27", "586ece27-7f09-41e0-9e74-e901317e9d4", "586ece277f0941e09e74e901317e9d42",
        "586ece27-7f09-41e0-9e74-e901317e9d42a", "586ece27-7f09-41e0-9e74-e901317e9d4g",
        "{586ece27-7f09-41e0-9e74-e901317e9d42}",
    };
    QemuUUID uuid;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_assert_cmpint(qemu_uuid_parse(bad[i], &uuid), ==, -1);
    }
    g_assert_cmpint(qemu_uuid_parse(UUID_NONE, &uuid), ==, 0);
    g_assert_true(qemu_uuid_is_null(&uuid));
}

static void test_generate_is_version_4(void)
{
    QemuUUID a, b;

    qemu_uuid_generate(&a);
    qemu_uuid_generate(&b);
    g_assert_false(qemu_uuid_is_equal(&a, &b));
    g_assert_cmphex(a.data[6] >> 4, ==, 4);
    g_assert_cmphex(a.data[8] >> 6, ==, 2);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/uuid/text/round-trip", test_text_round_trip);
    g_test_add_func("/uuid/parse/refuses-other-forms", test_parse_refuses_other_forms);
    g_test_add_func("/uuid/generate/is-version-4", test_generate_is_version_4);
    return g_test_run();
}
