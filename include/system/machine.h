/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine: what -machine, -m, -cpu, -kernel and their kin describe, and what boards build.
 *
 * Rules of use:
 *  - A board is a MachineType; the program registers all of them once.
 *  - There is one Machine, made by machine_create() in the main thread and reached by
 *    machine_get(); it never changes after machine_build().
 */
#ifndef SYSTEM_MACHINE_H
#define SYSTEM_MACHINE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "system/device.h"
#include "system/memory.h"
#include "system/vcpu.h"

typedef struct Machine Machine;

typedef struct MachineType {
    const char *name;
    const char *alias; /* or NULL */
    const char *description;
    bool is_default;
    uint64_t default_ram_size;
    /** Biggest -m; 0: no limit. */
    uint64_t max_ram_size;
    const CpuType *cpu_type; /* NULL: no CPU unless the user names none either */
    /** Make memory, devices and the CPU.  Drives the board can place are placed by main. */
    bool (*build)(Machine *machine, Error **errp);
    /** Free what build() made, after all devices are gone; may be NULL. */
    void (*done)(Machine *machine);
    /** After all -device: put the firmware or kernel where reset will load it. */
    bool (*load)(Machine *machine, Error **errp);
    /** List what must be saved beside devices and CPU (system/vmstate.h); may be NULL. */
    void (*add_state)(Machine *machine, VmStateParts *parts);
    /** CPU and board state after devices were reset and blobs were loaded; may be NULL. */
    void (*reset)(Machine *machine);
} MachineType;

struct Machine {
    const MachineType *type;
    /* from the command line; strings owned */
    uint64_t ram_size;
    bool has_cpu; /* false with -accel qtest: the test drives the machine */
    char *cpu_model;
    char *cpu_features;
    char *kernel, *append, *initrd, *bios;
    /* made by build() */
    MemoryMap *memory; /* physical memory */
    MemoryMap *ports;  /* legacy I/O ports */
    VCpu *cpu;
    void *board; /* the board's own state */
    bool is_complete; /* devices from now on are plugged in hot */
};

/** Make all boards known; @types ends with NULL and is not copied. */
void machine_register_types(const MachineType *const *types);

/** The board called @name (or that alias); with NULL the default one.  NULL if there is none. */
const MachineType *machine_type_find(const char *name);

/** Text of `-machine help`. */
char *machine_help(void);

/** Create the machine, with default values.  Once. */
Machine *machine_create(const MachineType *type);

/** The machine, or NULL before machine_create(). */
Machine *machine_get(void);

/** Build the board. */
bool machine_build(Machine *machine, Error **errp);

/** Free everything, at exit. */
void machine_free(Machine *machine);

#endif
