/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What users say about devices: -device, device_add, device_del, help, info qtree. */
#include "qemu/osdep.h"

#include "qemu/error.h"
#include "qobject/qbool.h"
#include "qobject/qdict.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"
#include "device-int.h"

/* Column where descriptions of properties begin. */
#define HELP_COLUMN 24

static void (*deleted_hook)(const char *id, const char *path);

void device_set_deleted_hook(void (*hook)(const char *id, const char *path))
{
    deleted_hook = hook;
}

/* ---- adding ---------------------------------------------------------------------------------- */

static Bus *find_bus(const DeviceType *type, const char *name, bool is_hotplug, Error **errp)
{
    Bus *bus = name ? bus_find(name) : bus_find_type(type->bus);

    if (!bus && name) {
        error_setg(errp, "Bus '%s' not found", name);
    } else if (!bus) {
        error_setg(errp, "No '%s' bus found for device '%s'", type->bus, type->name);
    } else if (strcmp(bus->type->name, type->bus)) {
        error_setg(errp, "Device '%s' can't go on %s bus", type->name, bus->type->name);
        bus = NULL;
    } else if (is_hotplug && !bus->type->hotpluggable) {
        error_setg(errp, "Bus '%s' does not support hotplugging", bus->name);
        bus = NULL;
    }
    return bus;
}

static char *scalar_text(const QObject *value)
{
    switch (qobject_type(value)) {
    case QTYPE_QSTRING:
        return g_strdup(qstring_get_str(qobject_to(QString, value)));
    case QTYPE_QBOOL:
        return g_strdup(qbool_get_bool(qobject_to(QBool, value)) ? "on" : "off");
    case QTYPE_QNUM:
        return qnum_to_string(qobject_to(QNum, value));
    default:
        return NULL;
    }
}

static bool set_properties(Device *dev, const QDict *opts, Error **errp)
{
    for (const QDictEntry *e = qdict_first(opts); e; e = qdict_next(opts, e)) {
        const char *key = qdict_entry_key(e);
        g_autofree char *text = scalar_text(qdict_entry_value(e));

        if (!strcmp(key, "driver") || !strcmp(key, "bus") || !strcmp(key, "id")) {
            continue;
        }
        if (text ? !device_set(dev, key, text, errp)
                 : !device_set_object(dev, key, qdict_entry_value(e), errp)) {
            return false;
        }
    }
    return true;
}

/* Makes, names, fills and realizes @dev; the caller frees it on failure. */
static bool set_up_device(Device *dev, const QDict *opts, Bus *bus, Error **errp)
{
    const char *id = qdict_get_try_str(opts, "id");

    dev->is_user = true;
    return (!id || device_set_id(dev, id, errp)) && set_properties(dev, opts, errp) &&
           device_realize(dev, bus, errp);
}

Device *device_add(const QDict *opts, bool is_hotplug, Error **errp)
{
    const char *driver = qdict_get_try_str(opts, "driver");
    const DeviceType *type;
    Device *dev;
    Bus *bus = NULL;

    if (!driver) {
        error_setg(errp, "Parameter 'driver' is missing");
        return NULL;
    }
    type = device_type_find(driver);
    if (!type) {
        error_setg(errp, "'%s' is not a valid device model name", driver);
        return NULL;
    }
    if (!type->user_creatable) {
        error_setg(errp, "Parameter 'driver' expects a pluggable device type");
        return NULL;
    }
    if (is_hotplug && !type->hotpluggable) {
        error_setg(errp, "Device '%s' does not support hotplugging", type->name);
        return NULL;
    }
    if (type->bus) {
        bus = find_bus(type, qdict_get_try_str(opts, "bus"), is_hotplug, errp);
        if (!bus) {
            return NULL;
        }
    } else if (qdict_haskey(opts, "bus")) {
        error_setg(errp, "Device '%s' plugs into no bus", type->name);
        return NULL;
    }
    dev = device_new(type);
    if (!set_up_device(dev, opts, bus, errp)) {
        device_free(dev);
        return NULL;
    }
    return dev;
}

bool device_del(const char *id_or_path, Error **errp)
{
    Device *dev = device_find(id_or_path);
    g_autofree char *id = NULL;
    g_autofree char *path = NULL;

    if (!dev || !dev->is_user) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", id_or_path);
        return false;
    }
    if (dev->bus && !dev->bus->type->hotpluggable) {
        error_setg(errp, "Bus '%s' does not support hotplugging", dev->bus->name);
        return false;
    }
    if (!dev->type->hotpluggable) {
        error_setg(errp, "Device '%s' does not support hotplugging", dev->type->name);
        return false;
    }
    id = g_strdup(dev->id);
    path = g_strdup(dev->path);
    device_free(dev);
    if (deleted_hook) {
        deleted_hook(id, path);
    }
    return true;
}

/* ---- help ------------------------------------------------------------------------------------ */

static void describe_type(const DeviceType *type, GString *out)
{
    g_string_append_printf(out, "name \"%s\"", type->name);
    if (type->bus) {
        g_string_append_printf(out, ", bus %s", type->bus);
    }
    if (type->alias) {
        g_string_append_printf(out, ", alias \"%s\"", type->alias);
    }
    if (type->description) {
        g_string_append_printf(out, ", desc \"%s\"", type->description);
    }
    g_string_append_c(out, '\n');
}

static int compare_types(const void *a, const void *b)
{
    return strcmp((*(const DeviceType *const *)a)->name, (*(const DeviceType *const *)b)->name);
}

char *device_help(void)
{
    static const char *const titles[DEVICE_CATEGORY__MAX] = {
        [DEVICE_CATEGORY_BRIDGE] = "Controller/Bridge/Hub",
        [DEVICE_CATEGORY_STORAGE] = "Storage",
        [DEVICE_CATEGORY_INPUT] = "Input",
        [DEVICE_CATEGORY_MISC] = "Misc",
    };
    GString *out = g_string_new(NULL);

    for (int category = 0; category < DEVICE_CATEGORY__MAX; category++) {
        g_autoptr(GPtrArray) types = g_ptr_array_new();

        for (const DeviceType *const *type = device_types(); *type; type++) {
            if ((*type)->category == (DeviceCategory)category && (*type)->user_creatable) {
                g_ptr_array_add(types, (gpointer)*type);
            }
        }
        if (types->len) {
            g_string_append_printf(out, "%s%s devices:\n", out->len ? "\n" : "",
                                   titles[category]);
            qsort(types->pdata, types->len, sizeof(gpointer), compare_types);
        }
        for (guint i = 0; i < types->len; i++) {
            describe_type(types->pdata[i], out);
        }
    }
    return g_string_free(out, false);
}

static char *describe_property(const DeviceProperty *prop)
{
    GString *line = g_string_new(NULL);
    const char *text = prop->description ? prop->description : prop->kind->description;

    g_string_append_printf(line, "  %s=<%s>", prop->name, prop->kind->name);
    if (text || prop->default_value) {
        g_string_append_printf(line, "%*s - ", MAX(0, HELP_COLUMN - (int)line->len), "");
    }
    g_string_append(line, text ? text : "");
    if (prop->default_value) {
        g_string_append_printf(line, "%s(default: %s)", text ? " " : " ", prop->default_value);
    }
    return g_string_free(line, false);
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char *device_type_help(const char *name)
{
    const DeviceType *type = device_type_find(name);
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    GString *out;

    if (!type || !type->user_creatable) {
        return NULL;
    }
    out = g_string_new(NULL);
    for (const DevicePropertyTable *table = type->properties; table && table->props; table++) {
        for (const DeviceProperty *prop = table->props; prop->name; prop++) {
            g_ptr_array_add(lines, describe_property(prop));
        }
    }
    if (!lines->len) {
        g_string_append_printf(out, "There are no options for %s.\n", type->name);
    } else {
        g_string_append_printf(out, "%s options:\n", type->name);
        qsort(lines->pdata, lines->len, sizeof(gpointer), compare_strings);
    }
    for (guint i = 0; i < lines->len; i++) {
        g_string_append_printf(out, "%s\n", (char *)lines->pdata[i]);
    }
    return g_string_free(out, false);
}

/* ---- info qtree ------------------------------------------------------------------------------ */

static void describe_device(const Device *dev, int indent, GString *out);

static void describe_bus(const Bus *bus, int indent, GString *out)
{
    g_string_append_printf(out, "%*sbus: %s\n%*stype %s\n", indent, "", bus->name, indent + 2, "",
                           bus->type->name);
    for (guint i = bus->children->len; i-- > 0;) {
        describe_device(bus->children->pdata[i], indent + 2, out);
    }
}

static void describe_device(const Device *dev, int indent, GString *out)
{
    const DevicePropertyTable *table = dev->type->properties;

    g_string_append_printf(out, "%*sdev: %s, id \"%s\"\n", indent, "", dev->type->name,
                           dev->id ? dev->id : "");
    for (; table && table->props; table++) {
        for (const DeviceProperty *prop = table->props; prop->name; prop++) {
            g_autofree char *value = prop->kind->get(dev, prop);

            g_string_append_printf(out, "%*s%s = %s\n", indent + 2, "", prop->name,
                                   value ? value : "<null>");
        }
    }
    for (guint i = 0; i < dev->buses->len; i++) {
        describe_bus(dev->buses->pdata[i], indent + 2, out);
    }
}

static bool describe_if_top(Device *dev, void *opaque)
{
    if (!dev->bus) {
        describe_device(dev, 2, opaque);
    }
    return true;
}

static void describe_board_bus(Bus *bus, void *opaque)
{
    if (!bus->parent) {
        describe_bus(bus, 2, opaque);
    }
}

void device_describe_tree(GString *out)
{
    g_string_append(out, "bus: main-system-bus\n  type System\n");
    device_foreach(describe_if_top, out);
    bus_foreach(describe_board_bus, out);
}
