/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device tree: device types with typed properties, buses they plug into, and the names by
 * which users reach them.
 *
 * Rules of use:
 *  - A DeviceType is a constant table.  The program hands all of them to device_register_types()
 *    once, at start-up.  A device's structure begins with a Device.
 *  - Life: device_new, device_set for each property, device_realize; then device_unrealize (it
 *    leaves its bus) and device_free.  A type's unrealize() undoes its realize() only.
 *  - Values come and go as strings, in the syntax of -device, whatever the property's kind; a list
 *    or dict, which only JSON can express, as a QObject.
 *  - Main thread, machine lock held (or before threads run).  Setting properties, realizing and
 *    freeing may yield where disks are concerned: do it in a coroutine that holds the control lock.
 */
#ifndef SYSTEM_DEVICE_H
#define SYSTEM_DEVICE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qemu/compiler.h"

typedef struct Error Error;
typedef struct QDict QDict;
typedef struct QObject QObject;
typedef struct Device Device;
typedef struct DeviceType DeviceType;
typedef struct DeviceProperty DeviceProperty;
typedef struct Bus Bus;
typedef struct VmStateDescription VmStateDescription;
typedef struct VmStateParts VmStateParts;

/* ---- properties ------------------------------------------------------------------------------ */

/* How a kind of property is parsed and shown.  Layers above may have kinds of their own. */
typedef struct PropertyKind {
    const char *name; /* as `-device X,help` shows it */
    const char *description; /* used when the property has none; may be NULL */
    /** Parse @value into the field.  @prop says where; errors name the property. */
    bool (*set)(Device *dev, const DeviceProperty *prop, const char *value, Error **errp);
    /** The current value as text (to be freed), or NULL if it has none. */
    char *(*get)(const Device *dev, const DeviceProperty *prop);
    /** For values that are lists or dicts, which set() never sees; both or neither. */
    bool (*set_object)(Device *dev, const DeviceProperty *prop, QObject *value, Error **errp);
    QObject *(*get_object)(const Device *dev, const DeviceProperty *prop); /* a new reference */
    /** Free what set() allocated; may be NULL. */
    void (*release)(Device *dev, const DeviceProperty *prop);
} PropertyKind;

struct DeviceProperty {
    const char *name;
    const PropertyKind *kind;
    size_t offset;             /* of the field in the device's structure */
    const char *default_value; /* NULL: the field stays zero */
    const char *description;   /* or NULL */
    const char *const *values; /* PROP_ENUM: NULL-terminated */
};

/* A table of properties and whose they are; tables end with a NULL name. */
typedef struct DevicePropertyTable {
    const char *owner; /* type named in error messages; NULL: the device's own type */
    const DeviceProperty *props;
} DevicePropertyTable;

extern const PropertyKind prop_kind_bool;    /* bool */
extern const PropertyKind prop_kind_on_off_auto; /* int: 0 auto, 1 on, 2 off */
extern const PropertyKind prop_kind_uint8;
extern const PropertyKind prop_kind_uint16;
extern const PropertyKind prop_kind_uint32;
extern const PropertyKind prop_kind_uint64;
extern const PropertyKind prop_kind_int32;
extern const PropertyKind prop_kind_size32;  /* uint32_t, with suffixes */
extern const PropertyKind prop_kind_size;    /* uint64_t, with suffixes */
extern const PropertyKind prop_kind_string;  /* char *, owned by the device */
extern const PropertyKind prop_kind_enum;    /* int: index into values */

enum { ON_OFF_PROP_AUTO, ON_OFF_PROP_ON, ON_OFF_PROP_OFF };

/* DEVICE_PROP("queue-size", prop_kind_uint16, VirtioBlk, queue_size, "256", NULL) */
#define DEVICE_PROP(_name, _kind, _struct, _field, _default, _description) \
    { .name = (_name), .kind = &(_kind), .offset = offsetof(_struct, _field), \
      .default_value = (_default), .description = (_description) }

/** The field of @prop in @dev. */
static inline void *device_field(const Device *dev, const DeviceProperty *prop)
{
    return (char *)dev + prop->offset;
}

/** The type that error messages name as the owner of a property. */
const char *device_property_owner(const DeviceType *type, const DeviceProperty *prop);

/** Parse an unsigned number up to @max as properties do; errors name @prop and @type. */
bool property_parse_uint(const DeviceProperty *prop, const char *value, const char *type,
                         uint64_t max, uint64_t *result, Error **errp);

/* ---- devices --------------------------------------------------------------------------------- */

typedef enum DeviceCategory {
    DEVICE_CATEGORY_BRIDGE,
    DEVICE_CATEGORY_STORAGE,
    DEVICE_CATEGORY_INPUT,
    DEVICE_CATEGORY_MISC,
    DEVICE_CATEGORY__MAX,
} DeviceCategory;

struct DeviceType {
    const char *name;
    const char *alias;       /* or NULL */
    const char *bus;         /* name of the BusType it plugs into; NULL: none */
    const char *description; /* or NULL */
    DeviceCategory category;
    bool user_creatable;
    bool hotpluggable;
    size_t instance_size;
    const DevicePropertyTable *properties; /* ends with NULL props; may be NULL */
    const void *bus_class;   /* what its kind of bus needs to know, e.g. PCI ids */
    const char *child;       /* path element of the part that owns a disk, or NULL */
    /** Set up fields that are neither zero nor properties; may be NULL. */
    void (*init)(Device *dev);
    /** Check the properties and become visible to the guest.  On failure leave nothing behind. */
    bool (*realize)(Device *dev, Error **errp);
    /** Disappear: no request in flight, no timer, no register.  May be NULL if not hotpluggable. */
    void (*unrealize)(Device *dev);
    /** As after power-on; may be NULL. */
    void (*reset)(Device *dev);
    /** What must be saved of it (system/vmstate.h): one part, or a function that lists them. */
    const VmStateDescription *state;
    void (*add_state)(Device *dev, VmStateParts *parts);
    bool has_no_state;       /* nothing must be; with none of the three it cannot be saved */
    /**
     * The stopped machine is about to be saved or changed: begin nothing new until it runs again,
     * unless that takes a CPU; and wait until what was begun has ended.  Either may be NULL.
     */
    void (*hold)(Device *dev);
    void coroutine_fn (*co_settle)(Device *dev);
};

struct Device {
    const DeviceType *type;
    char *id;         /* NULL if the user gave none */
    char *path;       /* "/machine/peripheral/ID"; fixed once realized */
    Bus *bus;         /* where it is plugged in, or NULL */
    GPtrArray *buses; /* buses it provides, owned */
    bool is_realized;
    bool is_user;     /* made by -device or device_add */
};

/** Make all types known; @types ends with NULL and is not copied.  Once, at start-up. */
void device_register_types(const DeviceType *const *types);

/** The type called @name (or that alias), or NULL. */
const DeviceType *device_type_find(const char *name);

/** A new unrealized device with default properties.  Free with device_free(). */
Device *device_new(const DeviceType *type);

/** Set the id; false if it is not well-formed or taken. */
bool device_set_id(Device *dev, const char *id, Error **errp);

/** Set a property from text; false if there is none of that name or the text does not fit. */
bool device_set(Device *dev, const char *name, const char *value, Error **errp);

/** As device_set(), from a list or dict; kinds without set_object() refuse it. */
bool device_set_object(Device *dev, const char *name, QObject *value, Error **errp);

/** The value of a property (to be freed), or NULL if there is none. */
char *device_get(const Device *dev, const char *name);

/**
 * Plug @dev into @bus (NULL if its type needs none), make it work and give it its path.
 * On failure @dev is as before.
 */
bool device_realize(Device *dev, Bus *bus, Error **errp);

/** Take @dev out of the machine; the opposite of device_realize(). */
void device_unrealize(Device *dev);

/** Free @dev (taken), unrealizing it if need be, and everything on its buses. */
void device_free(Device *dev);

/** Path of the part of @dev that owns a disk: the path, plus the type's child if it has one. */
char *device_backend_path(const Device *dev);

/** Reset all devices, children after parents. */
void device_reset_all(void);

/** Free all devices, at exit; youngest first. */
void device_free_all(void);

/** The realized device with that id or path (a path of its child will do), or NULL. */
Device *device_find(const char *id_or_path);

/** Call @fn for each realized device in the order they were realized, until it returns false. */
void device_foreach(bool (*fn)(Device *dev, void *opaque), void *opaque);

/* ---- buses ----------------------------------------------------------------------------------- */

typedef struct BusType {
    const char *name; /* "PCI" */
    bool hotpluggable;
    /** Whether there is room for @dev, and note its place.  May be NULL. */
    bool (*attach)(Bus *bus, Device *dev, Error **errp);
    /** Forget @dev's place.  May be NULL. */
    void (*detach)(Bus *bus, Device *dev);
} BusType;

struct Bus {
    const BusType *type;
    char *name;          /* "pci.0" */
    Device *parent;      /* who provides it; NULL: the board */
    GPtrArray *children; /* borrowed, in order of plugging */
};

/** Set up @bus (embedded in the provider's structure) and make it findable. */
void bus_init(Bus *bus, const BusType *type, Device *parent, const char *name);

/** Make @bus unknown and free what it holds; no device may be left on it. */
void bus_done(Bus *bus);

/** The bus called @name, or NULL. */
Bus *bus_find(const char *name);

/** A bus of @type_name, the first one made, or NULL. */
Bus *bus_find_type(const char *type_name);

/* ---- what users ask for ---------------------------------------------------------------------- */

/**
 * Carry out a -device or device_add: find the type, the bus, set properties, realize.
 *
 * @opts: "driver", and then "id", "bus" and properties.
 * @is_hotplug: the machine is complete; type and bus must allow plugging now.
 * Returns: the device, or NULL with @errp set.
 */
Device *device_add(const QDict *opts, bool is_hotplug, Error **errp);

/** Carry out device_del.  False with @errp set if there is no such device or it must stay. */
bool device_del(const char *id_or_path, Error **errp);

/** Text of `-device help`. */
char *device_help(void);

/** Text of `-device @name,help`, or NULL if there is no such type (that the user may create). */
char *device_type_help(const char *name);

/** Append the tree as `info qtree` shows it. */
void device_describe_tree(GString *out);

/** Called after a device was deleted: @id may be NULL.  For DEVICE_DELETED. */
void device_set_deleted_hook(void (*hook)(const char *id, const char *path));

#endif
