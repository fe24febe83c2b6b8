/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include <elf.h>

#include "qemu/error.h"
#include "system/loader.h"

/* Bytes to be written at reset.  What reaches from data_len to size is zero. */
typedef struct Blob {
    char *name;
    MemoryMap *map;
    hwaddr addr;
    uint64_t size;
    uint64_t data_len;
    uint8_t *data;
} Blob;

/* Main thread. */
static GPtrArray *blobs;

static void blob_free(void *opaque)
{
    Blob *blob = opaque;

    g_free(blob->name);
    g_free(blob->data);
    g_free(blob);
}

/* Whether all of the range is RAM or ROM. */
static bool range_is_memory(MemoryMap *map, hwaddr addr, uint64_t size)
{
    while (size) {
        uint64_t n = size;

        if (!mem_ram_ptr(map, addr, &n, false)) {
            return false;
        }
        addr += n;
        size -= n;
    }
    return true;
}

/* Takes @data. */
static bool blob_add(MemoryMap *map, const char *name, hwaddr addr, uint64_t size, uint8_t *data,
                     uint64_t data_len, Error **errp)
{
    Blob *blob;

    if (size > UINT64_MAX - addr || !range_is_memory(map, addr, size)) {
        error_setg(errp, "'%s' does not fit into memory: %" PRIu64 " bytes at 0x%" PRIx64, name,
                   size, addr);
        g_free(data);
        return false;
    }
    for (guint i = 0; blobs && i < blobs->len; i++) {
        const Blob *other = blobs->pdata[i];

        if (other->map == map && addr < other->addr + other->size && other->addr < addr + size) {
            error_setg(errp, "'%s' at 0x%" PRIx64 " overlaps '%s' at 0x%" PRIx64, name, addr,
                       other->name, other->addr);
            g_free(data);
            return false;
        }
    }
    if (!blobs) {
        blobs = g_ptr_array_new_with_free_func(blob_free);
    }
    blob = g_new0(Blob, 1);
    *blob = (Blob) {g_strdup(name), map, addr, size, data_len, data};
    g_ptr_array_add(blobs, blob);
    return true;
}

bool loader_add_bytes(MemoryMap *map, const char *name, hwaddr addr, const void *bytes,
                      uint64_t len, Error **errp)
{
    return blob_add(map, name, addr, len, g_memdup2(bytes, len), len, errp);
}

void loader_reset(void)
{
    static const uint8_t zeroes[4096];

    for (guint i = 0; blobs && i < blobs->len; i++) {
        const Blob *blob = blobs->pdata[i];

        mem_write_rom(blob->map, blob->addr, blob->data, blob->data_len);
        for (uint64_t at = blob->data_len; at < blob->size; at += sizeof(zeroes)) {
            mem_write_rom(blob->map, blob->addr + at, zeroes,
                          MIN(sizeof(zeroes), blob->size - at));
        }
    }
}

void loader_clear(void)
{
    g_clear_pointer(&blobs, g_ptr_array_unref);
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool read_file(const char *filename, uint8_t **data, uint64_t *len, Error **errp)
{
    g_autoptr(GError) gerr = NULL;
    gsize size;

    if (!g_file_get_contents(filename, (char **)data, &size, &gerr)) {
        error_setg(errp, "could not load '%s': %s", filename, gerr->message);
        return false;
    }
    *len = size;
    return true;
}

bool loader_add_raw(MemoryMap *map, const char *filename, hwaddr addr, uint64_t max_size,
                    LoadedImage *image, Error **errp)
{
    uint8_t *data;
    uint64_t len;

    if (!read_file(filename, &data, &len, errp)) {
        return false;
    }
    if (!len || len > max_size) {
        error_setg(errp, "could not load '%s': %s", filename, len ? "too large" : "it is empty");
        g_free(data);
        return false;
    }
    *image = (LoadedImage) {.entry = addr, .low = addr, .high = addr + len};
    return blob_add(map, filename, addr, len, data, len, errp);
}

bool loader_is_elf(const char *filename, bool *is_elf, Error **errp)
{
    char magic[SELFMAG];
    FILE *f = fopen(filename, "rb");

    if (!f) {
        error_setg_errno(errp, errno, "could not load '%s'", filename);
        return false;
    }
    *is_elf = fread(magic, sizeof(magic), 1, f) == 1 && !memcmp(magic, ELFMAG, SELFMAG);
    fclose(f);
    return true;
}

/* ELF files are little-endian here, as e2k is; other hosts would need to swap. */
static_assert(G_BYTE_ORDER == G_LITTLE_ENDIAN, "the ELF loader reads headers in host order");

static const char *elf_problem(const Elf64_Ehdr *ehdr, uint64_t len, uint16_t machine)
{
    if (len < sizeof(*ehdr) || memcmp(ehdr->e_ident, ELFMAG, SELFMAG)) {
        return "not an ELF file";
    }
    if (ehdr->e_ident[EI_CLASS] != ELFCLASS64 || ehdr->e_ident[EI_DATA] != ELFDATA2LSB) {
        return "not a 64-bit little-endian ELF file";
    }
    if (ehdr->e_machine != machine) {
        return "the ELF file is for another architecture";
    }
    if (ehdr->e_type != ET_EXEC && ehdr->e_type != ET_DYN) {
        return "the ELF file is not executable";
    }
    if (ehdr->e_phentsize != sizeof(Elf64_Phdr) || ehdr->e_phoff > len ||
        (uint64_t)ehdr->e_phnum * sizeof(Elf64_Phdr) > len - ehdr->e_phoff) {
        return "the program headers lie outside of the ELF file";
    }
    return NULL;
}

static bool add_segment(MemoryMap *map, const char *filename, const uint8_t *data, uint64_t len,
                        const Elf64_Phdr *phdr, Error **errp)
{
    if (phdr->p_filesz > phdr->p_memsz || phdr->p_offset > len ||
        phdr->p_filesz > len - phdr->p_offset) {
        error_setg(errp, "could not load '%s': a segment lies outside of the ELF file", filename);
        return false;
    }
    return blob_add(map, filename, phdr->p_paddr, phdr->p_memsz,
                    g_memdup2(data + phdr->p_offset, phdr->p_filesz), phdr->p_filesz, errp);
}

bool loader_add_elf(MemoryMap *map, const char *filename, uint16_t machine, LoadedImage *image,
                    Error **errp)
{
    g_autofree uint8_t *data = NULL;
    uint64_t len;
    Elf64_Ehdr ehdr = {0};
    const char *problem;

    if (!read_file(filename, &data, &len, errp)) {
        return false;
    }
    memcpy(&ehdr, data, MIN(len, sizeof(ehdr)));
    problem = elf_problem(&ehdr, len, machine);
    if (problem) {
        error_setg(errp, "could not load '%s': %s", filename, problem);
        return false;
    }
    *image = (LoadedImage) {.entry = ehdr.e_entry, .low = UINT64_MAX};
    for (unsigned i = 0; i < ehdr.e_phnum; i++) {
        Elf64_Phdr phdr;

        memcpy(&phdr, data + ehdr.e_phoff + i * sizeof(phdr), sizeof(phdr));
        if (phdr.p_type != PT_LOAD || !phdr.p_memsz) {
            continue;
        }
        if (!add_segment(map, filename, data, len, &phdr, errp)) {
            return false;
        }
        image->low = MIN(image->low, phdr.p_paddr);
        image->high = MAX(image->high, phdr.p_paddr + phdr.p_memsz);
    }
    if (!image->high) {
        error_setg(errp, "could not load '%s': the ELF file has nothing to load", filename);
        return false;
    }
    return true;
}
