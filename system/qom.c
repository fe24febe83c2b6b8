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

/*
 * An object is a place in the machine, which is an element of this table, or else a Device.  The
 * machine itself is the first.
 */
static struct Place {
    const char *name;
} places[] = { { "machine" }, { "peripheral" }, { "peripheral-anon" }, { "unattached" } };

static const struct Place *as_place(const void *obj)
{
    const struct Place *place = obj;

    return place >= places && place < places + ARRAY_SIZE(places) ? place : NULL;
}

/* ---- paths ----------------------------------------------------------------------------------- */

static void *find_container(const char *name)
{
    for (size_t i = 1; i < ARRAY_SIZE(places); i++) {
        if (strcmp(name, places[i].name) == 0) {
            return &places[i];
        }
    }
    return NULL;
}

static void *branch_find(const char *path)
{
    g_autofree char *full = g_strdup_printf("/machine/%s", path);
    void *container = find_container(path);

    if (!*path) {
        return &places[0];
    }
    return container ? container : device_find(full);
}

typedef struct TailSearch {
    const char *tail;
    Device *found;
    unsigned n_found;
} TailSearch;

static bool match_tail(Device *dev, void *opaque)
{
    TailSearch *search = opaque;
    g_autofree char *backend = device_backend_path(dev);

    if (g_str_has_suffix(dev->path, search->tail) || g_str_has_suffix(backend, search->tail)) {
        search->found = dev;
        search->n_found++;
    }
    return true;
}

static void *branch_find_partial(const char *path)
{
    g_autofree char *tail = g_strdup_printf("/%s", path);
    TailSearch search = { tail, NULL, 0 };
    void *container = find_container(path);

    device_foreach(match_tail, &search);
    if (container) {
        return search.n_found ? NULL : container;
    }
    return search.n_found == 1 ? search.found : NULL;
}

static char *branch_path_of(void *obj)
{
    const struct Place *place = as_place(obj);
    const Device *dev = obj;

    if (!place) {
        return g_strdup(dev->path);
    }
    return place == places ? g_strdup("/machine") : g_strdup_printf("/machine/%s", place->name);
}

static const char *branch_type_of(void *obj)
{
    const struct Place *place = as_place(obj);
    const Device *dev = obj;

    if (!place) {
        return dev->type->name;
    }
    return place == places ? "machine" : "container";
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
    for (const DevicePropertyTable *t = type->properties; t && t->props; t++) {
        for (const DeviceProperty *p = t->props; p->name; p++) {
            object_tree_add_row(tail, p->name, schema_type(p->kind),
                                p->description ? p->description : p->kind->description);
        }
    }
}

typedef struct ChildSearch {
    const char *prefix;
    ObjectPropertyInfoList ***tail;
} ChildSearch;

static bool add_child(Device *dev, void *opaque)
{
    ChildSearch *search = opaque;
    const char *name;

    if (strstart(dev->path, search->prefix, &name)) {
        object_tree_add_child(search->tail, name, dev->type->name);
    }
    return true;
}

static void branch_rows(void *obj, ObjectPropertyInfoList ***tail)
{
    const struct Place *place = as_place(obj);
    const Device *dev = obj;

    if (!place) {
        add_properties(dev->type, tail);
        return;
    }
    if (place == places) {
        for (size_t i = 1; i < ARRAY_SIZE(places); i++) {
            object_tree_add_child(tail, places[i].name, "container");
        }
        return;
    }
    g_autofree char *prefix = g_strdup_printf("/machine/%s/", place->name);
    ChildSearch search = { prefix, tail };
    device_foreach(add_child, &search);
}

/* ---- values ---------------------------------------------------------------------------------- */

static QObject *value_of(const Device *dev, const DeviceProperty *prop)
{
    if (prop->kind->get_object) {
        return prop->kind->get_object(dev, prop);
    }
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

static const DeviceProperty *property_of(void *obj, const char *name)
{
    const Device *dev = obj;

    return as_place(obj) ? NULL : device_property_find(dev->type, name);
}

static QObject *branch_get(void *obj, const char *name, Error **errp)
{
    const DeviceProperty *property = property_of(obj, name);

    return property ? value_of(obj, property) : NULL;
}

/* Devices in the machine have the properties that they were made with. */
static bool branch_set(void *obj, const char *name, QObject *value, Error **errp)
{
    const Device *dev = obj;

    if (property_of(obj, name)) {
        error_setg(errp, "Attempt to set property '%s' on device '%s' (type '%s') after it was "
                   "realized", name, dev->id ? dev->id : "", dev->type->name);
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

static bool branch_type_rows(const char *name, ObjectPropertyInfoList ***tail)
{
    const DeviceType *type = device_type_find(name);

    if (type) {
        add_properties(type, tail);
    }
    return type;
}

static const ObjectTreeBranch machine_branch = {
    .name = "machine",
    .type = "machine",
    .find = branch_find,
    .find_partial = branch_find_partial,
    .type_of = branch_type_of,
    .path_of = branch_path_of,
    .rows = branch_rows,
    .get = branch_get,
    .set = branch_set,
    .types = branch_types,
    .type_rows = branch_type_rows,
};

void system_register_branch(void)
{
    object_tree_register(&machine_branch);
}

ObjectPropertyInfoList *coroutine_fn qmp_device_list_properties(const char *type, Error **errp)
{
    ObjectPropertyInfoList *list = NULL, **tail = &list;

    object_tree_add_row(&tail, "type", "string", NULL);
    if (!branch_type_rows(type, &tail)) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", type);
        g_clear_pointer(&list, qapi_free_ObjectPropertyInfoList);
    }
    return list;
}
