/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "hw/misc/loader.h"
#include "qemu/error.h"
#include "system/loader.h"
#include "system/machine.h"

#define ELF_MACHINE_E2K 175

typedef struct GenericLoader {
    Device dev;
    char *file;
    uint64_t addr;
    uint64_t data;
    uint8_t data_len;
    bool force_raw;
} GenericLoader;

static bool load_data(GenericLoader *s, MemoryMap *map, Error **errp)
{
    uint64_t bytes = GUINT64_TO_LE(s->data);

    if (s->data_len > sizeof(bytes)) {
        error_setg(errp, "data-len cannot be greater then 8 bytes");
        return false;
    }
    return loader_add_bytes(map, "loader", s->addr, &bytes, s->data_len, errp);
}

static bool load_file(GenericLoader *s, MemoryMap *map, Error **errp)
{
    LoadedImage image;
    bool is_elf;

    if (!loader_is_elf(s->file, &is_elf, errp)) {
        return false;
    }
    return is_elf && !s->force_raw
           ? loader_add_elf(map, s->file, ELF_MACHINE_E2K, &image, errp)
           : loader_add_raw(map, s->file, s->addr, UINT64_MAX, &image, errp);
}

static bool generic_loader_realize(Device *dev, Error **errp)
{
    GenericLoader *s = (GenericLoader *)dev;
    MemoryMap *map = machine_get()->memory;

    if (s->file && s->data_len) {
        error_setg(errp, "Specifying data-len is not supported when a file is given");
        return false;
    }
    if (!s->file && !s->data_len) {
        error_setg(errp, "please include valid arguments");
        return false;
    }
    return s->file ? load_file(s, map, errp) : load_data(s, map, errp);
}

static const DeviceProperty generic_loader_props[] = {
    DEVICE_PROP("file", prop_kind_string, GenericLoader, file, NULL, NULL),
    DEVICE_PROP("addr", prop_kind_uint64, GenericLoader, addr, "0", NULL),
    DEVICE_PROP("data", prop_kind_uint64, GenericLoader, data, "0", NULL),
    DEVICE_PROP("data-len", prop_kind_uint8, GenericLoader, data_len, "0", NULL),
    DEVICE_PROP("force-raw", prop_kind_bool, GenericLoader, force_raw, "off", NULL),
    {0},
};

const DeviceType generic_loader_type = {
    .name = "loader",
    .description = "Generic Loader",
    .category = DEVICE_CATEGORY_MISC,
    .user_creatable = true,
    .instance_size = sizeof(GenericLoader),
    .properties = (const DevicePropertyTable[]) {{NULL, generic_loader_props}, {0}},
    .realize = generic_loader_realize,
    .has_no_state = true,
};
