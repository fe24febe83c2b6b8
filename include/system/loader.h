/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Program images: read once from files, written into guest memory at each reset.
 *
 * Rules of use:
 *  - Files are hostile: sizes and offsets are checked against the file and the memory.
 *  - Two images may not overlap.  Main thread.
 */
#ifndef SYSTEM_LOADER_H
#define SYSTEM_LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "system/memory.h"

typedef struct LoadedImage {
    hwaddr entry;
    hwaddr low, high; /* first byte, and first byte after the last one */
} LoadedImage;

/** Whether the file begins with an ELF header; false with @errp set if it can't be read. */
bool loader_is_elf(const char *filename, bool *is_elf, Error **errp);

/** Queue the segments of an ELF file for @machine (e_machine) at their physical addresses. */
bool loader_add_elf(MemoryMap *map, const char *filename, uint16_t machine, LoadedImage *image,
                    Error **errp);

/** Queue a file as it is at @addr; at most @max_size bytes. */
bool loader_add_raw(MemoryMap *map, const char *filename, hwaddr addr, uint64_t max_size,
                    LoadedImage *image, Error **errp);

/** Queue bytes (copied) at @addr under a name used in messages. */
bool loader_add_bytes(MemoryMap *map, const char *name, hwaddr addr, const void *bytes,
                      uint64_t len, Error **errp);

/** Write everything queued into memory. */
void loader_reset(void);

/** Forget everything queued. */
void loader_clear(void);

#endif
