/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "qemu/cutils.h"
#include "qemu/error.h"
#include "device-int.h"

/* All that is known about types, buses and devices; main thread, machine lock. */
static struct {
    const DeviceType *const *types;
    GPtrArray *buses;   /* in order of making */
    GPtrArray *devices; /* realized, in order of realizing */
    unsigned n_anon;    /* for paths of devices without id */
    unsigned n_board;
} tree;

static GPtrArray *tree_list(GPtrArray **list)
{
    if (!*list) {
        *list = g_ptr_array_new();
    }
    return *list;
}

/* ---- types ----------------------------------------------------------------------------------- */

void device_register_types(const DeviceType *const *types)
{
    tree.types = types;
}

const DeviceType *const *device_types(void)
{
    static const DeviceType *const none[] = {NULL};

    return tree.types ? tree.types : none;
}

const DeviceType *device_type_find(const char *name)
{
    for (const DeviceType *const *type = device_types(); *type; type++) {
        if (!strcmp((*type)->name, name) || ((*type)->alias && !strcmp((*type)->alias, name))) {
            return *type;
        }
    }
    return NULL;
}

/* ---- properties ------------------------------------------------------------------------------ */

const DeviceProperty *device_property_find(const DeviceType *type, const char *name)
{
    const DevicePropertyTable *table = type->properties;

    for (; table && table->props; table++) {
        for (const DeviceProperty *prop = table->props; prop->name; prop++) {
            if (!strcmp(prop->name, name)) {
                return prop;
            }
        }
    }
    return NULL;
}

static void property_foreach(Device *dev, void (*fn)(Device *dev, const DeviceProperty *prop))
{
    const DevicePropertyTable *table = dev->type->properties;

    for (; table && table->props; table++) {
        for (const DeviceProperty *prop = table->props; prop->name; prop++) {
            fn(dev, prop);
        }
    }
}

const char *device_property_owner(const DeviceType *type, const DeviceProperty *wanted)
{
    const DevicePropertyTable *table = type->properties;

    for (; table && table->props; table++) {
        for (const DeviceProperty *prop = table->props; prop->name; prop++) {
            if (prop == wanted) {
                return table->owner ? table->owner : type->name;
            }
        }
    }
    return type->name;
}

static void property_set_default(Device *dev, const DeviceProperty *prop)
{
    if (prop->default_value) {
        prop->kind->set(dev, prop, prop->default_value, &error_abort);
    }
}

static void property_release(Device *dev, const DeviceProperty *prop)
{
    if (prop->kind->release) {
        prop->kind->release(dev, prop);
    }
}

/* ---- devices --------------------------------------------------------------------------------- */

Device *device_new(const DeviceType *type)
{
    Device *dev = g_malloc0(type->instance_size);

    assert(type->instance_size >= sizeof(Device));
    dev->type = type;
    dev->buses = g_ptr_array_new();
    property_foreach(dev, property_set_default);
    if (type->init) {
        type->init(dev);
    }
    return dev;
}

static bool id_is_taken(const char *id)
{
    for (guint i = 0; i < tree_list(&tree.devices)->len; i++) {
        Device *dev = tree.devices->pdata[i];

        if (dev->id && !strcmp(dev->id, id)) {
            return true;
        }
    }
    return false;
}

bool device_set_id(Device *dev, const char *id, Error **errp)
{
    if (!id_wellformed(id)) {
        error_setg(errp, "Parameter 'id' expects an identifier");
        error_append_hint(errp, "Identifiers consist of letters, digits, "
                          "'-', '.', '_', starting with a letter.\n");
        return false;
    }
    if (id_is_taken(id)) {
        error_setg(errp, "Duplicate device ID '%s'", id);
        return false;
    }
    g_free(dev->id);
    dev->id = g_strdup(id);
    return true;
}

static const DeviceProperty *property_to_set(const Device *dev, const char *name, Error **errp)
{
    const DeviceProperty *prop = device_property_find(dev->type, name);

    if (!prop) {
        error_setg(errp, "Property '%s.%s' not found", dev->type->name, name);
    }
    return prop;
}

bool device_set(Device *dev, const char *name, const char *value, Error **errp)
{
    const DeviceProperty *prop = property_to_set(dev, name, errp);

    return prop && prop->kind->set(dev, prop, value, errp);
}

bool device_set_object(Device *dev, const char *name, QObject *value, Error **errp)
{
    const DeviceProperty *prop = property_to_set(dev, name, errp);

    if (prop && !prop->kind->set_object) {
        error_setg(errp, "Invalid parameter type for '%s', expected: string", name);
        return false;
    }
    return prop && prop->kind->set_object(dev, prop, value, errp);
}

char *device_get(const Device *dev, const char *name)
{
    const DeviceProperty *prop = device_property_find(dev->type, name);

    return prop ? prop->kind->get(dev, prop) : NULL;
}

static void device_set_path(Device *dev)
{
    if (dev->path) {
        return;
    }
    if (dev->id) {
        dev->path = g_strdup_printf("/machine/peripheral/%s", dev->id);
    } else if (dev->is_user) {
        dev->path = g_strdup_printf("/machine/peripheral-anon/device[%u]", tree.n_anon++);
    } else {
        dev->path = g_strdup_printf("/machine/unattached/device[%u]", tree.n_board++);
    }
}

static void device_leave_bus(Device *dev)
{
    if (dev->bus) {
        if (dev->bus->type->detach) {
            dev->bus->type->detach(dev->bus, dev);
        }
        g_ptr_array_remove(dev->bus->children, dev);
        dev->bus = NULL;
    }
}

bool device_realize(Device *dev, Bus *bus, Error **errp)
{
    assert(!dev->is_realized);
    if (bus) {
        if (bus->type->attach && !bus->type->attach(bus, dev, errp)) {
            return false;
        }
        dev->bus = bus;
        g_ptr_array_add(bus->children, dev);
    }
    device_set_path(dev);
    if (dev->type->realize && !dev->type->realize(dev, errp)) {
        device_leave_bus(dev);
        return false;
    }
    dev->is_realized = true;
    g_ptr_array_add(tree_list(&tree.devices), dev);
    return true;
}

static void device_free_children(Device *dev)
{
    while (dev->buses->len) {
        Bus *bus = dev->buses->pdata[dev->buses->len - 1];

        while (bus->children->len) {
            device_free(bus->children->pdata[bus->children->len - 1]);
        }
        bus_done(bus);
    }
}

void device_unrealize(Device *dev)
{
    if (dev->is_realized) {
        device_free_children(dev);
        if (dev->type->unrealize) {
            dev->type->unrealize(dev);
        }
        dev->is_realized = false;
        g_ptr_array_remove(tree.devices, dev);
        device_leave_bus(dev);
    }
}

void device_free(Device *dev)
{
    if (dev) {
        device_unrealize(dev);
        property_foreach(dev, property_release);
        g_ptr_array_unref(dev->buses);
        g_free(dev->id);
        g_free(dev->path);
        g_free(dev);
    }
}

char *device_backend_path(const Device *dev)
{
    return dev->type->child ? g_strdup_printf("%s/%s", dev->path, dev->type->child)
                            : g_strdup(dev->path);
}

void device_reset_all(void)
{
    for (guint i = 0; i < tree_list(&tree.devices)->len; i++) {
        Device *dev = tree.devices->pdata[i];

        if (dev->type->reset) {
            dev->type->reset(dev);
        }
    }
}

void device_free_all(void)
{
    while (tree_list(&tree.devices)->len) {
        device_free(tree.devices->pdata[tree.devices->len - 1]);
    }
}

static bool path_matches(const Device *dev, const char *path)
{
    g_autofree char *backend = device_backend_path(dev);

    return !strcmp(dev->path, path) || !strcmp(backend, path);
}

Device *device_find(const char *id_or_path)
{
    for (guint i = 0; i < tree_list(&tree.devices)->len; i++) {
        Device *dev = tree.devices->pdata[i];

        if ((dev->id && !strcmp(dev->id, id_or_path)) || path_matches(dev, id_or_path)) {
            return dev;
        }
    }
    return NULL;
}

void device_foreach(bool (*fn)(Device *dev, void *opaque), void *opaque)
{
    for (guint i = 0; i < tree_list(&tree.devices)->len; i++) {
        if (!fn(tree.devices->pdata[i], opaque)) {
            return;
        }
    }
}

/* ---- buses ----------------------------------------------------------------------------------- */

void bus_init(Bus *bus, const BusType *type, Device *parent, const char *name)
{
    bus->type = type;
    bus->name = g_strdup(name);
    bus->parent = parent;
    bus->children = g_ptr_array_new();
    g_ptr_array_add(tree_list(&tree.buses), bus);
    if (parent) {
        g_ptr_array_add(parent->buses, bus);
    }
}

void bus_done(Bus *bus)
{
    assert(!bus->children->len);
    g_ptr_array_remove(tree.buses, bus);
    if (bus->parent) {
        g_ptr_array_remove(bus->parent->buses, bus);
    }
    g_ptr_array_unref(bus->children);
    g_free(bus->name);
}

Bus *bus_find(const char *name)
{
    for (guint i = 0; i < tree_list(&tree.buses)->len; i++) {
        Bus *bus = tree.buses->pdata[i];

        if (!strcmp(bus->name, name)) {
            return bus;
        }
    }
    return NULL;
}

Bus *bus_find_type(const char *type_name)
{
    for (guint i = 0; i < tree_list(&tree.buses)->len; i++) {
        Bus *bus = tree.buses->pdata[i];

        if (!strcmp(bus->type->name, type_name)) {
            return bus;
        }
    }
    return NULL;
}

void bus_foreach(void (*fn)(Bus *bus, void *opaque), void *opaque)
{
    for (guint i = 0; i < tree_list(&tree.buses)->len; i++) {
        fn(tree.buses->pdata[i], opaque);
    }
}
