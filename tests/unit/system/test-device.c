/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device tree: properties, names, buses, what users ask for.
 */
#include "qemu/osdep.h"

#include "qemu/error.h"
#include "qobject/opts.h"
#include "qobject/qdict.h"
#include "system/device.h"
#include "../../lib/testlib.h"

typedef struct Lamp {
    Device dev;
    bool is_lit;
    int mode, colour;
    uint8_t u8;
    uint16_t u16;
    uint64_t u64;
    int32_t i32;
    uint32_t size32;
    uint64_t size;
    char *label;
} Lamp;

static const char *const colours[] = {"red", "green", NULL};

static const DeviceProperty lamp_props[] = {
    DEVICE_PROP("lit", prop_kind_bool, Lamp, is_lit, "on", NULL),
    DEVICE_PROP("mode", prop_kind_on_off_auto, Lamp, mode, NULL, NULL),
    DEVICE_PROP("u8", prop_kind_uint8, Lamp, u8, "7", "a small number"),
    DEVICE_PROP("u16", prop_kind_uint16, Lamp, u16, NULL, NULL),
    DEVICE_PROP("u64", prop_kind_uint64, Lamp, u64, NULL, NULL),
    DEVICE_PROP("i32", prop_kind_int32, Lamp, i32, NULL, NULL),
    DEVICE_PROP("size32", prop_kind_size32, Lamp, size32, NULL, NULL),
    DEVICE_PROP("size", prop_kind_size, Lamp, size, NULL, NULL),
    DEVICE_PROP("label", prop_kind_string, Lamp, label, NULL, NULL),
    { .name = "colour", .kind = &prop_kind_enum, .offset = offsetof(Lamp, colour),
      .default_value = "red", .values = colours },
    {0},
};

static int n_realized;

static bool lamp_realize(Device *dev, Error **errp)
{
    if (!((Lamp *)dev)->is_lit) {
        error_setg(errp, "lamp is broken");
        return false;
    }
    n_realized++;
    return true;
}

static void lamp_unrealize(Device *dev)
{
    n_realized--;
}

static const DeviceType lamp_type = {
    .name = "lamp",
    .alias = "light",
    .bus = "WALL",
    .description = "a lamp",
    .category = DEVICE_CATEGORY_MISC,
    .user_creatable = true,
    .hotpluggable = true,
    .instance_size = sizeof(Lamp),
    .properties = (const DevicePropertyTable[]) {{NULL, lamp_props}, {0}},
    .child = "bulb",
    .realize = lamp_realize,
    .unrealize = lamp_unrealize,
};
static const DeviceType wire_type = {
    .name = "wire", .category = DEVICE_CATEGORY_MISC, .instance_size = sizeof(Device),
};
static const DeviceType nail_type = {
    .name = "nail", .category = DEVICE_CATEGORY_STORAGE, .user_creatable = true,
    .instance_size = sizeof(Device),
};
static const DeviceType *const types[] = {&lamp_type, &nail_type, &wire_type, NULL};

static const BusType wall_type = {.name = "WALL", .hotpluggable = true};
static const BusType fixed_type = {.name = "WALL"};
static Bus wall, fixed;

static Device *add(const char *text, bool is_hotplug, Error **errp)
{
    QemuOptsList list = {.name = "device", .implied_opt_name = "driver"};
    QemuOpts *opts = qemu_opts_parse(&list, text, true, &error_abort);
    g_autoptr(QDict) dict = qemu_opts_to_qdict(opts, NULL);

    qemu_opts_reset(&list);
    return device_add(dict, is_hotplug, errp);
}

static void assert_add_fails(const char *text, bool is_hotplug, const char *message)
{
    g_autoptr(Error) err = NULL;
    int before = n_realized;

    g_assert_null(add(text, is_hotplug, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    g_assert_cmpint(n_realized, ==, before);
}

static void test_property_values(void)
{
    static const struct {
        const char *name, *value, *shown, *error;
    } rows[] = {
        {"lit", "off", "false", NULL},
        {"lit", "maybe", NULL, "Parameter 'lit' expects 'on' or 'off'"},
        {"mode", "auto", "auto", NULL},
        {"mode", "on", "on", NULL},
        {"mode", "7", NULL, "Parameter 'mode' does not accept value '7'"},
        {"u8", "255", "255", NULL},
        {"u8", "256", NULL, "Parameter 'u8' expects uint8_t"},
        {"u8", "", NULL, "Parameter 'u8' expects integer"},
        {"u16", "0x10", "16", NULL},
        {"u16", "-1", NULL, "Parameter 'u16' expects integer"},
        {"u64", "18446744073709551615", "18446744073709551615", NULL},
        {"u64", "18446744073709551616", NULL, "Parameter 'u64' expects integer"},
        {"i32", "-5", "-5", NULL},
        {"i32", "2147483648", NULL, "Parameter 'i32' expects int32_t"},
        {"size", "1G", "1073741824", NULL},
        {"size", "1X", NULL, "Parameter 'size' expects size"},
        {"size32", "4G", NULL,
         "Property lamp.size32 doesn't take value 4294967296 (maximum: 4294967295)"},
        {"label", "x y", "x y", NULL},
        {"colour", "green", "green", NULL},
        {"colour", "blue", NULL, "Parameter 'colour' does not accept value 'blue'"},
        {"weight", "1", NULL, "Property 'lamp.weight' not found"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        Device *dev = device_new(&lamp_type);
        g_autoptr(Error) err = NULL;
        g_autofree char *shown = NULL;

        g_assert_cmpint(device_set(dev, rows[i].name, rows[i].value, &err), ==, !rows[i].error);
        if (rows[i].error) {
            g_assert_cmpstr(error_get_pretty(err), ==, rows[i].error);
        } else {
            shown = device_get(dev, rows[i].name);
            g_assert_cmpstr(shown, ==, rows[i].shown);
        }
        device_free(dev);
    }
}

static void test_property_defaults(void)
{
    Device *dev = device_new(&lamp_type);
    g_autofree char *lit = device_get(dev, "lit");
    g_autofree char *u8 = device_get(dev, "u8");

    g_assert_cmpstr(lit, ==, "true");
    g_assert_cmpstr(u8, ==, "7");
    g_assert_null(device_get(dev, "label"));
    device_free(dev);
}

static void test_add_and_names(void)
{
    Device *a = add("lamp,id=a,colour=green", false, &error_abort);
    Device *b = add("light", false, &error_abort);
    g_autofree char *backend = device_backend_path(a);

    g_assert_cmpstr(a->path, ==, "/machine/peripheral/a");
    g_assert_cmpstr(backend, ==, "/machine/peripheral/a/bulb");
    g_assert_cmpstr(b->path, ==, "/machine/peripheral-anon/device[0]");
    g_assert_true(device_find("a") == a);
    g_assert_true(device_find("/machine/peripheral/a/bulb") == a);
    g_assert_true(a->bus == &wall);
    g_assert_cmpint(n_realized, ==, 2);
    g_assert_cmpuint(wall.children->len, ==, 2);
    assert_add_fails("lamp,id=a", false, "Duplicate device ID 'a'");
    assert_add_fails("lamp,lit=off", false, "lamp is broken");
    g_assert_true(device_del("a", &error_abort));
    device_free_all();
    g_assert_cmpint(n_realized, ==, 0);
    g_assert_cmpuint(wall.children->len, ==, 0);
}

static void test_add_refusals(void)
{
    g_autoptr(Error) err = NULL;

    assert_add_fails("sofa", false, "'sofa' is not a valid device model name");
    assert_add_fails("wire", false, "Parameter 'driver' expects a pluggable device type");
    assert_add_fails("lamp,bus=street", false, "Bus 'street' not found");
    assert_add_fails("lamp,bus=fixed.0", true, "Bus 'fixed.0' does not support hotplugging");
    assert_add_fails("nail,bus=wall.0", false, "Device 'nail' plugs into no bus");
    assert_add_fails("nail", true, "Device 'nail' does not support hotplugging");
    assert_add_fails("lamp,size=1,size=z", false, "Parameter 'size' expects size");
    g_assert_false(device_del("nobody", &err));
    g_assert_cmpint(error_get_class(err), ==, ERROR_CLASS_DEVICE_NOT_FOUND);
}

static void test_help(void)
{
    g_autofree char *all = device_help();
    g_autofree char *lamp = device_type_help("light");

    g_assert_cmpstr(all, ==,
                    "Storage devices:\nname \"nail\"\n\n"
                    "Misc devices:\nname \"lamp\", bus WALL, alias \"light\", desc \"a lamp\"\n");
    g_assert_nonnull(strstr(lamp, "lamp options:\n"));
    g_assert_nonnull(strstr(lamp, "  u8=<uint8>             - a small number (default: 7)\n"));
    g_assert_nonnull(strstr(lamp, "  label=<str>\n"));
    g_assert_null(device_type_help("wire"));
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    device_register_types(types);
    bus_init(&wall, &wall_type, NULL, "wall.0");
    bus_init(&fixed, &fixed_type, NULL, "fixed.0");
    g_test_add_func("/device/property/values", test_property_values);
    g_test_add_func("/device/property/defaults", test_property_defaults);
    g_test_add_func("/device/add/names-and-lifetime", test_add_and_names);
    g_test_add_func("/device/add/refusals", test_add_refusals);
    g_test_add_func("/device/help/text", test_help);
    return g_test_run();
}
