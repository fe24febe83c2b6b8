/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What vmstate.c (parts) and vmstate-stream.c (records, RAM) share: bytes of the stream, which are
 * little-endian, and the list of parts.
 */
#ifndef SYSTEM_VMSTATE_INT_H
#define SYSTEM_VMSTATE_INT_H

#include "system/machine.h"
#include "system/vmstate.h"

/* ---- bytes ----------------------------------------------------------------------------------- */

/* What is left of some bytes.  Reading past the end gives zeroes and is_short. */
typedef struct VmCursor {
    const uint8_t *at;
    size_t left;
    bool is_short;
} VmCursor;

/** Append the low @size bytes of @value. */
void vm_put_uint(GByteArray *out, uint64_t value, unsigned size);
/** Append a string of at most 65,535 bytes. */
void vm_put_str(GByteArray *out, const char *text);
uint64_t vm_get_uint(VmCursor *cursor, unsigned size);
/** The next @len bytes, or NULL. */
const uint8_t *vm_get_bytes(VmCursor *cursor, size_t len);
/** A string, to be freed; NULL if it is cut off or holds a zero byte. */
char *vm_get_str(VmCursor *cursor);
/** Whether everything was read, and nothing past the end. */
bool vm_cursor_is_done(const VmCursor *cursor);

/* ---- parts ----------------------------------------------------------------------------------- */

typedef struct VmPart {
    const VmStateDescription *desc;
    char *owner; /* path of the device */
    uint32_t instance;
    void *opaque;
    void *staged; /* a copy of the structure with the stream's fields; or NULL */
    bool is_read; /* the stream has it */
} VmPart;

struct VmStateParts {
    GPtrArray *list; /* of VmPart, those of an owner together */
    char *owner;     /* whose parts are added now */
};

/** All parts of @machine, or NULL with @errp set if a device cannot be saved. */
VmStateParts *vm_parts_collect(Machine *machine, Error **errp);
void vm_parts_free(VmStateParts *parts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VmStateParts, vm_parts_free)

/** Append what a part's record says, or nothing if it need not be saved. */
void vm_part_put(const VmPart *part, GByteArray *out);
/** Read a part's record into the copy it belongs to. */
bool vm_parts_stage(VmStateParts *parts, VmCursor *cursor, Error **errp);
/** All records were read: is every part there, and may the machine be like that? */
bool vm_parts_check(VmStateParts *parts, Error **errp);
/** Make the machine as the copies say. */
void vm_parts_commit(VmStateParts *parts);

#endif
