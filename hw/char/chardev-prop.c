/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "hw/char/chardev-prop.h"
#include "io/chardev.h"
#include "qemu/error.h"

static bool set_chardev(Device *dev, const DeviceProperty *prop, const char *value, Error **errp)
{
    CharFrontend *fe = device_field(dev, prop);
    Chardev *chr = chardev_find(value);

    if (!chr) {
        error_setg(errp, "Property '%s.%s' can't find value '%s'", dev->type->name, prop->name,
                   value);
        return false;
    }
    chr_fe_deinit(fe);
    if (!chr_fe_init(fe, chr, NULL)) {
        error_setg(errp, "Property '%s.%s' can't take value '%s', it's in use", dev->type->name,
                   prop->name, value);
        return false;
    }
    return true;
}

static char *get_chardev(const Device *dev, const DeviceProperty *prop)
{
    const CharFrontend *fe = device_field(dev, prop);

    return fe->chr ? g_strdup(chardev_id(fe->chr)) : NULL;
}

static void release_chardev(Device *dev, const DeviceProperty *prop)
{
    chr_fe_deinit(device_field(dev, prop));
}

const PropertyKind prop_kind_chardev = {
    .name = "str",
    .description = "ID of a chardev to use as a backend",
    .set = set_chardev,
    .get = get_chardev,
    .release = release_chardev,
};
