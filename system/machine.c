/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "qemu/error.h"
#include "system/device.h"
#include "system/loader.h"
#include "system/machine.h"

/* Written by the main thread while no other runs; read by any. */
static Machine *current;
static const MachineType *const *all_types;

void machine_register_types(const MachineType *const *types)
{
    all_types = types;
}

const MachineType *machine_type_find(const char *name)
{
    for (const MachineType *const *t = all_types; t && *t; t++) {
        bool found = name ? !strcmp((*t)->name, name) ||
                            ((*t)->alias && !strcmp((*t)->alias, name))
                          : (*t)->is_default;
        if (found) {
            return *t;
        }
    }
    return NULL;
}

char *machine_help(void)
{
    GString *out = g_string_new("Supported machines are:\n");

    for (const MachineType *const *t = all_types; t && *t; t++) {
        if ((*t)->alias) {
            g_string_append_printf(out, "%-20s %s (alias of %s)\n", (*t)->alias,
                                   (*t)->description, (*t)->name);
        }
        g_string_append_printf(out, "%-20s %s%s\n", (*t)->name, (*t)->description,
                               (*t)->is_default ? " (default)" : "");
    }
    return g_string_free(out, false);
}

Machine *machine_create(const MachineType *type)
{
    assert(!current);
    current = g_new0(Machine, 1);
    current->type = type;
    current->ram_size = type->default_ram_size;
    return current;
}

Machine *machine_get(void)
{
    return current;
}

bool machine_build(Machine *machine, Error **errp)
{
    return !machine->type->build || machine->type->build(machine, errp);
}

void machine_free(Machine *machine)
{
    if (!machine) {
        return;
    }
    vcpu_free(machine->cpu);
    machine->cpu = NULL;
    device_free_all();
    loader_clear();
    if (machine->type->done) {
        machine->type->done(machine);
    }
    memory_map_free(machine->ports);
    memory_map_free(machine->memory);
    g_free(machine->cpu_model);
    g_free(machine->cpu_features);
    g_free(machine->kernel);
    g_free(machine->append);
    g_free(machine->initrd);
    g_free(machine->bios);
    g_free(machine->board);
    g_free(machine);
    current = NULL;
}
