/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `chardev` property of devices: a CharFrontend, attached when the property is set.
 */
#ifndef HW_CHAR_CHARDEV_PROP_H
#define HW_CHAR_CHARDEV_PROP_H

#include "system/device.h"

extern const PropertyKind prop_kind_chardev; /* CharFrontend */

#endif
