/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `-device loader`: a file or a number put into memory at each reset.
 */
#ifndef HW_MISC_LOADER_H
#define HW_MISC_LOADER_H

#include "system/device.h"

extern const DeviceType generic_loader_type;

#endif
