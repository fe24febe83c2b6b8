/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of the machine as a stream of bytes: what each device keeps, and saving and loading all
 * of it.
 *
 * Rules of use:
 *  - A device's state is one or more parts.  A part is a structure and a table of its fields; the
 *    type's state names it, or add_state() lists several.  A type without state says so
 *    (has_no_state); a device that does neither cannot be saved, and so keeps its machine from
 *    being saved.
 *  - Fields are integers, bools and arrays of them.  What has another form is brought into one by
 *    pre_save() and out of it by post_load().
 *  - Bytes of a stream are hostile.  Each part is read into a copy of the structure, and check()
 *    says whether the machine may be like that; only when all parts, and RAM, have been found good
 *    is anything changed.  post_load() therefore cannot fail.
 *  - A field that is added later gets since = the new version; it is zero in older streams.
 *  - Devices come first, youngest first, interrupt controllers after those who use them, the CPU
 *    last: lines that a post_load() moves are forgotten again by what they lead to.
 *  - Main thread, machine lock held, machine and devices at rest (vm_co_hold, DeviceType.co_hold).
 */
#ifndef SYSTEM_VMSTATE_H
#define SYSTEM_VMSTATE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qemu/compiler.h"
#include "qemu/error.h"
#include "qapi/gen/machine-types.h"

typedef struct Machine Machine;
typedef struct VmStateDescription VmStateDescription;

/* ---- describing a part ----------------------------------------------------------------------- */

typedef struct VmField {
    const char *name;   /* for messages */
    size_t offset;
    uint32_t size;      /* of an element: 1, 2, 4, 8 bytes */
    uint32_t count;     /* of elements */
    uint32_t since;     /* version that brought it; 0 is as good as 1 */
    bool is_bool;
} VmField;

#define VM_MEMBER_(_struct, _field) (((_struct *)NULL)->_field)
#define VM_FIELD(_struct, _field) \
    { .name = #_field, .offset = offsetof(_struct, _field), \
      .size = sizeof(VM_MEMBER_(_struct, _field)), .count = 1 }
#define VM_BOOL(_struct, _field) \
    { .name = #_field, .offset = offsetof(_struct, _field), .size = sizeof(bool), .count = 1, \
      .is_bool = true }
#define VM_ARRAY(_struct, _field) \
    { .name = #_field, .offset = offsetof(_struct, _field), \
      .size = sizeof(VM_MEMBER_(_struct, _field)[0]), \
      .count = sizeof(VM_MEMBER_(_struct, _field)) / sizeof(VM_MEMBER_(_struct, _field)[0]) }

struct VmStateDescription {
    const char *name;      /* of the part among those of its owner */
    uint32_t version;      /* that is written; from 1 on */
    uint32_t min_version;  /* that can still be read; 0 is as good as 1 */
    size_t size;           /* of the structure */
    const VmField *fields; /* ends with a NULL name */
    /** Whether it must be saved; NULL: always.  A part that is not saved is loaded as zeroes. */
    bool (*is_needed)(void *opaque);
    /** Bring the fields up to date; may be NULL. */
    void (*pre_save)(void *opaque);
    /**
     * Whether the machine may have the fields of @staged; may be NULL.
     * @staged: a copy of @current with new fields.  Neither is to be changed.
     */
    bool (*check)(const void *staged, const void *current, Error **errp);
    /** The fields are new: make everything else agree with them; may be NULL. */
    void (*post_load)(void *opaque);
};

/* The parts of a machine, while they are listed. */
typedef struct VmStateParts VmStateParts;

/** List a part. @instance: tells parts of one owner and description apart. */
void vm_parts_add(VmStateParts *parts, const VmStateDescription *desc, uint32_t instance,
                  void *opaque);

/** For check(): is @ns a time that clocks and timers of a machine can have? */
bool vm_check_time(const char *name, int64_t ns, Error **errp);

/* ---- saving and loading ---------------------------------------------------------------------- */

/** Append bytes to the stream. */
typedef bool coroutine_fn VmStateWrite(void *opaque, const void *buf, size_t len, Error **errp);
/** Read bytes of the stream; all of them are there. */
typedef bool coroutine_fn VmStateRead(void *opaque, int64_t pos, void *buf, size_t len,
                                      Error **errp);

/** Whether all devices can be saved; @errp says which one cannot. */
bool vmstate_can_save(Error **errp);

/** Save @machine.  @after: what it does when it is left alone again. */
bool coroutine_fn vmstate_co_save(Machine *machine, RunState after, VmStateWrite *write,
                                  void *opaque, Error **errp);

/* A stream that was found good, with the parts it has. */
typedef struct VmStateLoad VmStateLoad;

/** Read all @size bytes of a stream, and see whether @machine can be like that; change nothing. */
VmStateLoad *coroutine_fn vmstate_co_check(Machine *machine, int64_t size, VmStateRead *read,
                                           void *opaque, Error **errp);

/**
 * Make the machine as the stream says.  Fails only if RAM cannot be read again; then the machine is
 * of no use until it is reset.
 */
bool coroutine_fn vmstate_co_load(VmStateLoad *load, Error **errp);

/** What the saved machine did. */
RunState vmstate_load_after(const VmStateLoad *load);

/** Free it; NULL is fine. */
void vmstate_load_free(VmStateLoad *load);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VmStateLoad, vmstate_load_free)

#endif
