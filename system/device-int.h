/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What device.c and device-user.c share.
 */
#ifndef SYSTEM_DEVICE_INT_H
#define SYSTEM_DEVICE_INT_H

#include "system/device.h"

/** All registered types, ending with NULL. */
const DeviceType *const *device_types(void);

/** The property @name of @type, or NULL. */
const DeviceProperty *device_property_find(const DeviceType *type, const char *name);

/** Call @fn for each bus in the order they were made. */
void bus_foreach(void (*fn)(Bus *bus, void *opaque), void *opaque);

#endif
