/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The branch "/machine" of the tree that qom-list, qom-get and qom-set walk. */
#include "qemu/osdep.h"

#include "device-int.h"
#include "qapi/gen/device-commands.h"
#include "qapi/object-tree.h"
#include "qemu/cutils.h"
#include "qemu/error.h"
#include "qobject/qbool.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"
#include "system/commands.h"
#include "system/device.h"
#include "system/machine.h"

/* What a path leads to: the machine, one of the places where devices are, or a device. */
typedef enum PlaceKind {
    PLACE_MACHINE,
    PLACE_CONTAINER,
    PLACE_DEVICE,
} PlaceKind;

typedef struct Place {
    PlaceKind kind;
    const char *name; /* of a container */
    Device *dev;
} Place;

static const char *const containers[] = { "peripheral", "peripheral-anon", "unattached" };

/* The latest place found; used before the next search. */
static Place found;

static void *branch_find(const char *path)
{
    g_autofree char *full = g_strdup_printf("/machine/%s", path);

    found = (Place){ .kind = PLACE_MACHINE };
    if (!*path) {
        return &found;
    }
    for (size_t i = 0; i < ARRAY_SIZE(containers); i++) {
        if (strcmp(path, containers[i]) == 0) {
            found = (Place){ .kind = PLACE_CONTAINER, .name = containers[i] };
            return &found;
        }
    }
    found.kind = PLACE_DEVICE;
    found.dev = device_find(strchr(path, '/') ? full : path);
    return found.dev ? &found : NULL;
}

/* ---- properties ------------------------------------------------------------------------------ */

static const char *schema_type(const PropertyKind *kind)
{
    static const struct {
        const PropertyKind *kind;
        const char *name;
    } names[] = {
        { &prop_kind_bool, "bool" },     { &prop_kind_uint8, "uint8" },
        { &prop_kind_uint16, "uint16" }, { &prop_kind_uint32, "uint32" },
        { &prop_kind_uint64, "uint64" }, { &prop_kind_int32, "int32" },
        { &prop_kind_size32, "size" },   { &prop_kind_size, "size" },
        { &prop_kind_string, "str" },    { &prop_kind_on_off_auto, "OnOffAuto" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (names[i].kind == kind) {
            return names[i].name;
        }
    }
    return kind->name;
}

static void add_properties(const DeviceType *type, ObjectPropertyInfoList ***tail)
{
    object_tree_add_row(tail, "type", "string", NULL);
    for (const DevicePropertyTable *t = type->properties; t && t->props; t++) {
        for (const DeviceProperty *p = t->props; p->name; p++) {
            object_tree_add_row(tail, p->name, schema_type(p->kind),
                                p->description ? p->description : p->kind->description);
        }
    }
}

typedef struct ChildSearch {
    const char *prefix;
    ObjectPropertyInfoList **tail;
} ChildSearch;

static bool add_child(Device *dev, void *opaque)
{
    ChildSearch *search = opaque;
    const char *name;

    if (strstart(dev->path, search->prefix, &name)) {
        g_autofree char *type = g_strdup_printf("child<%s>", dev->type->name);

        object_tree_add_row(&search->tail, name, type, NULL);
    }
    return true;
}

static ObjectPropertyInfoList *branch_list(void *opaque)
{
    const Place *place = opaque;
    ObjectPropertyInfoList *list = NULL, **tail = &list;

    if (place->kind == PLACE_DEVICE) {
        add_properties(place->dev->type, &tail);
        return list;
    }
    object_tree_add_row(&tail, "type", "string", NULL);
    if (place->kind == PLACE_MACHINE) {
        for (size_t i = 0; i < ARRAY_SIZE(containers); i++) {
            object_tree_add_row(&tail, containers[i], "child<container>", NULL);
        }
        return list;
    }
    g_autofree char *prefix = g_strdup_printf("/machine/%s/", place->name);
    ChildSearch search = { prefix, tail };
    device_foreach(add_child, &search);
    return list;
}

/* ---- values ---------------------------------------------------------------------------------- */

static QObject *value_of(const Device *dev, const DeviceProperty *prop)
{
    g_autofree char *text = prop->kind->get(dev, prop);
    const void *field = (const char *)dev + prop->offset;

    if (prop->kind == &prop_kind_bool) {
        return QOBJECT(qbool_from_bool(*(const bool *)field));
    } else if (prop->kind == &prop_kind_uint8) {
        return QOBJECT(qnum_from_uint(*(const uint8_t *)field));
    } else if (prop->kind == &prop_kind_uint16) {
        return QOBJECT(qnum_from_uint(*(const uint16_t *)field));
    } else if (prop->kind == &prop_kind_uint32 || prop->kind == &prop_kind_size32) {
        return QOBJECT(qnum_from_uint(*(const uint32_t *)field));
    } else if (prop->kind == &prop_kind_uint64 || prop->kind == &prop_kind_size) {
        return QOBJECT(qnum_from_uint(*(const uint64_t *)field));
    } else if (prop->kind == &prop_kind_int32) {
        return QOBJECT(qnum_from_int(*(const int32_t *)field));
    }
    return QOBJECT(qstring_from_str(text ? text : ""));
}

static const char *type_of(const Place *place)
{
    switch (place->kind) {
    case PLACE_MACHINE:
        return "machine";
    case PLACE_CONTAINER:
        return "container";
    default:
        return place->dev->type->name;
    }
}

static QObject *branch_get(void *opaque, const char *property, Error **errp)
{
    const Place *place = opaque;
    const DeviceProperty *prop;

    if (strcmp(property, "type") == 0) {
        return QOBJECT(qstring_from_str(type_of(place)));
    }
    prop = place->kind == PLACE_DEVICE ? device_property_find(place->dev->type, property) : NULL;
    if (!prop) {
        error_setg(errp, "Property '%s.%s' not found", type_of(place), property);
        return NULL;
    }
    return value_of(place->dev, prop);
}

/* Devices in the machine have the properties that they were made with. */
static bool branch_set(void *opaque, const char *property, QObject *value, Error **errp)
{
    const Place *place = opaque;
    const Device *dev = place->dev;

    if (place->kind == PLACE_DEVICE && device_property_find(dev->type, property)) {
        error_setg(errp, "Attempt to set property '%s' on device '%s' (type '%s') after it was "
                   "realized", property, dev->id ? dev->id : "", dev->type->name);
    } else {
        error_setg(errp, "Property '%s.%s' not found", type_of(place), property);
    }
    return false;
}

/* ---- types ----------------------------------------------------------------------------------- */

static void branch_types(void (*fn)(const char *name, const char *parent, bool is_abstract,
                                    void *opaque), void *opaque)
{
    fn("device", "object", true, opaque);
    for (const DeviceType *const *type = device_types(); *type; type++) {
        fn((*type)->name, "device", false, opaque);
    }
}

static bool branch_type_properties(const char *name, ObjectPropertyInfoList **list)
{
    const DeviceType *type = device_type_find(name);
    ObjectPropertyInfoList **tail = list;

    if (type) {
        add_properties(type, &tail);
    }
    return type;
}

static const ObjectTreeBranch machine_branch = {
    .name = "machine",
    .type = "machine",
    .find = branch_find,
    .list = branch_list,
    .get = branch_get,
    .set = branch_set,
    .types = branch_types,
    .type_properties = branch_type_properties,
};

void system_register_branch(void)
{
    object_tree_register(&machine_branch);
}

ObjectPropertyInfoList *coroutine_fn qmp_device_list_properties(const char *type, Error **errp)
{
    ObjectPropertyInfoList *list = NULL;

    if (!branch_type_properties(type, &list)) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", type);
    }
    return list;
}
