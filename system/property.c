/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kinds of properties that every layer may use. */
#include "qemu/osdep.h"

#include "qemu/cutils.h"
#include "qemu/error.h"
#include "system/device.h"

static bool parse_bool(const char *value, bool *result)
{
    static const char *const yes[] = {"on", "yes", "true", "y"};
    static const char *const no[] = {"off", "no", "false", "n"};

    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        if (!strcmp(value, yes[i]) || !strcmp(value, no[i])) {
            *result = !strcmp(value, yes[i]);
            return true;
        }
    }
    return false;
}

static bool set_bool(Device *dev, const DeviceProperty *prop, const char *value, Error **errp)
{
    if (!parse_bool(value, device_field(dev, prop))) {
        error_setg(errp, "Parameter '%s' expects 'on' or 'off'", prop->name);
        return false;
    }
    return true;
}

static char *get_bool(const Device *dev, const DeviceProperty *prop)
{
    return g_strdup(*(const bool *)device_field(dev, prop) ? "true" : "false");
}

const PropertyKind prop_kind_bool = {
    .name = "bool", .description = "on/off", .set = set_bool, .get = get_bool,
};

static bool set_on_off_auto(Device *dev, const DeviceProperty *prop, const char *value,
                            Error **errp)
{
    int *field = device_field(dev, prop);
    bool is_on;

    if (!strcmp(value, "auto")) {
        *field = ON_OFF_PROP_AUTO;
    } else if (parse_bool(value, &is_on)) {
        *field = is_on ? ON_OFF_PROP_ON : ON_OFF_PROP_OFF;
    } else {
        error_setg(errp, "Parameter '%s' does not accept value '%s'", prop->name, value);
        return false;
    }
    return true;
}

static char *get_on_off_auto(const Device *dev, const DeviceProperty *prop)
{
    static const char *const names[] = {"auto", "on", "off"};

    return g_strdup(names[*(const int *)device_field(dev, prop)]);
}

const PropertyKind prop_kind_on_off_auto = {
    .name = "OnOffAuto", .description = "on/off/auto",
    .set = set_on_off_auto, .get = get_on_off_auto,
};

bool property_parse_uint(const DeviceProperty *prop, const char *value, const char *type,
                         uint64_t max, uint64_t *result, Error **errp)
{
    char *end;

    errno = 0;
    *result = g_ascii_strtoull(value, &end, 0);
    if (errno || end == value || *end || strchr(value, '-')) {
        error_setg(errp, "Parameter '%s' expects integer", prop->name);
        return false;
    }
    if (*result > max) {
        error_setg(errp, "Parameter '%s' expects %s", prop->name, type);
        return false;
    }
    return true;
}

static bool set_uint8(Device *dev, const DeviceProperty *prop, const char *value, Error **errp)
{
    uint64_t number;

    if (!property_parse_uint(prop, value, "uint8_t", UINT8_MAX, &number, errp)) {
        return false;
    }
    *(uint8_t *)device_field(dev, prop) = number;
    return true;
}

static char *get_uint8(const Device *dev, const DeviceProperty *prop)
{
    return g_strdup_printf("%u", *(const uint8_t *)device_field(dev, prop));
}

const PropertyKind prop_kind_uint8 = {.name = "uint8", .set = set_uint8, .get = get_uint8};

static bool set_uint16(Device *dev, const DeviceProperty *prop, const char *value, Error **errp)
{
    uint64_t number;

    if (!property_parse_uint(prop, value, "uint16_t", UINT16_MAX, &number, errp)) {
        return false;
    }
    *(uint16_t *)device_field(dev, prop) = number;
    return true;
}

static char *get_uint16(const Device *dev, const DeviceProperty *prop)
{
    return g_strdup_printf("%u", *(const uint16_t *)device_field(dev, prop));
}

const PropertyKind prop_kind_uint16 = {.name = "uint16", .set = set_uint16, .get = get_uint16};

static bool set_uint32(Device *dev, const DeviceProperty *prop, const char *value, Error **errp)
{
    uint64_t number;

    if (!property_parse_uint(prop, value, "uint32_t", UINT32_MAX, &number, errp)) {
        return false;
    }
    *(uint32_t *)device_field(dev, prop) = number;
    return true;
}

static char *get_uint32(const Device *dev, const DeviceProperty *prop)
{
    return g_strdup_printf("%u", *(const uint32_t *)device_field(dev, prop));
}

const PropertyKind prop_kind_uint32 = {.name = "uint32", .set = set_uint32, .get = get_uint32};

static bool set_uint64(Device *dev, const DeviceProperty *prop, const char *value, Error **errp)
{
    return property_parse_uint(prop, value, "uint64_t", UINT64_MAX, device_field(dev, prop), errp);
}

static char *get_uint64(const Device *dev, const DeviceProperty *prop)
{
    return g_strdup_printf("%" PRIu64, *(const uint64_t *)device_field(dev, prop));
}

const PropertyKind prop_kind_uint64 = {.name = "uint64", .set = set_uint64, .get = get_uint64};

static bool set_int32(Device *dev, const DeviceProperty *prop, const char *value, Error **errp)
{
    gint64 number;
    char *end;

    errno = 0;
    number = g_ascii_strtoll(value, &end, 0);
    if (errno || end == value || *end) {
        error_setg(errp, "Parameter '%s' expects integer", prop->name);
        return false;
    }
    if (number < INT32_MIN || number > INT32_MAX) {
        error_setg(errp, "Parameter '%s' expects int32_t", prop->name);
        return false;
    }
    *(int32_t *)device_field(dev, prop) = number;
    return true;
}

static char *get_int32(const Device *dev, const DeviceProperty *prop)
{
    return g_strdup_printf("%d", *(const int32_t *)device_field(dev, prop));
}

const PropertyKind prop_kind_int32 = {.name = "int32", .set = set_int32, .get = get_int32};

static bool parse_size(const DeviceProperty *prop, const char *value, uint64_t *result,
                       Error **errp)
{
    if (qemu_strtosz(value, NULL, result) < 0) {
        error_setg(errp, "Parameter '%s' expects size", prop->name);
        return false;
    }
    return true;
}

static bool set_size32(Device *dev, const DeviceProperty *prop, const char *value, Error **errp)
{
    uint64_t number;

    if (!parse_size(prop, value, &number, errp)) {
        return false;
    }
    if (number > UINT32_MAX) {
        error_setg(errp, "Property %s.%s doesn't take value %" PRIu64 " (maximum: %u)",
                   dev->type->name, prop->name, number, UINT32_MAX);
        return false;
    }
    *(uint32_t *)device_field(dev, prop) = number;
    return true;
}

const PropertyKind prop_kind_size32 = {.name = "size", .set = set_size32, .get = get_uint32};

static bool set_size(Device *dev, const DeviceProperty *prop, const char *value, Error **errp)
{
    return parse_size(prop, value, device_field(dev, prop), errp);
}

const PropertyKind prop_kind_size = {.name = "size", .set = set_size, .get = get_uint64};

static bool set_string(Device *dev, const DeviceProperty *prop, const char *value, Error **errp)
{
    char **field = device_field(dev, prop);

    g_free(*field);
    *field = g_strdup(value);
    return true;
}

static char *get_string(const Device *dev, const DeviceProperty *prop)
{
    return g_strdup(*(char *const *)device_field(dev, prop));
}

static void release_string(Device *dev, const DeviceProperty *prop)
{
    g_clear_pointer((char **)device_field(dev, prop), g_free);
}

const PropertyKind prop_kind_string = {
    .name = "str", .set = set_string, .get = get_string, .release = release_string,
};

static bool set_enum(Device *dev, const DeviceProperty *prop, const char *value, Error **errp)
{
    for (int i = 0; prop->values[i]; i++) {
        if (!strcmp(prop->values[i], value)) {
            *(int *)device_field(dev, prop) = i;
            return true;
        }
    }
    error_setg(errp, "Parameter '%s' does not accept value '%s'", prop->name, value);
    return false;
}

static char *get_enum(const Device *dev, const DeviceProperty *prop)
{
    return g_strdup(prop->values[*(const int *)device_field(dev, prop)]);
}

const PropertyKind prop_kind_enum = {.name = "enum", .set = set_enum, .get = get_enum};
