/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first include of every .c file: configuration, the C library, GLib, and a handful of
 * macros that nearly every file uses.  Never included by a header.
 */
#ifndef QEMU_OSDEP_H
#define QEMU_OSDEP_H

#include "config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <glib.h>

#include "qemu/bits.h"
#include "qemu/compiler.h"

#endif
