/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Program images: well-formed, malformed, and at random.
 */
#include "qemu/osdep.h"

#include <elf.h>

#include "qemu/error.h"
#include "system/loader.h"
#include "../../lib/testlib.h"

#define RAM_SIZE 0x10000
#define MACHINE 175
#define N_RANDOM 300

typedef struct Image {
    Elf64_Ehdr ehdr;
    Elf64_Phdr phdr[2];
    char text[16];
} Image;

static MemoryMap *map;

static Image good_image(void)
{
    return (Image) {
        .ehdr = {
            .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1},
            .e_type = ET_EXEC,
            .e_machine = MACHINE,
            .e_entry = 0x2008,
            .e_phoff = offsetof(Image, phdr),
            .e_phentsize = sizeof(Elf64_Phdr),
            .e_phnum = 2,
        },
        .phdr = {
            {.p_type = PT_LOAD, .p_offset = offsetof(Image, text), .p_paddr = 0x2000,
             .p_filesz = 16, .p_memsz = 0x40},
            {.p_type = PT_NOTE, .p_offset = UINT64_MAX, .p_filesz = 99},
        },
        .text = "0123456789abcde",
    };
}

static char *write_image(const void *bytes, size_t len)
{
    char *path = test_tmpfile("image");

    g_assert_true(g_file_set_contents(path, bytes, len, NULL));
    return path;
}

static bool load_elf(const void *bytes, size_t len, LoadedImage *image, Error **errp)
{
    g_autofree char *path = write_image(bytes, len);

    loader_clear();
    return loader_add_elf(map, path, MACHINE, image, errp);
}

static void test_elf_is_loaded_at_each_reset(void)
{
    Image file = good_image();
    LoadedImage image;
    uint64_t value;

    g_assert_true(load_elf(&file, sizeof(file), &image, &error_abort));
    g_assert_cmphex(image.entry, ==, 0x2008);
    g_assert_cmphex(image.low, ==, 0x2000);
    g_assert_cmphex(image.high, ==, 0x2040);
    for (int i = 0; i < 2; i++) {
        mem_store(map, 0x2000, 8, UINT64_MAX);
        mem_store(map, 0x2038, 8, UINT64_MAX);
        loader_reset();
        mem_load(map, 0x2000, 4, &value);
        g_assert_cmphex(value, ==, 0x33323130);
        mem_load(map, 0x2038, 8, &value);
        g_assert_cmphex(value, ==, 0);
    }
}

static void assert_refused(const Image *file, size_t len, const char *reason)
{
    g_autoptr(Error) err = NULL;
    LoadedImage image;

    g_assert_false(load_elf(file, len, &image, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), reason));
}

static void test_elf_malformed_is_refused(void)
{
    Image file = good_image();

    assert_refused(&file, 10, "not an ELF file");
    assert_refused(&file, sizeof(Elf64_Ehdr) + 4, "program headers lie outside");
    assert_refused(&file, offsetof(Image, text) + 3, "segment lies outside");
    file.ehdr.e_machine = EM_X86_64;
    assert_refused(&file, sizeof(file), "another architecture");
    file = good_image();
    file.ehdr.e_phoff = UINT64_MAX - 8;
    assert_refused(&file, sizeof(file), "program headers lie outside");
    file = good_image();
    file.phdr[0].p_offset = UINT64_MAX - 4;
    assert_refused(&file, sizeof(file), "segment lies outside");
    file = good_image();
    file.phdr[0].p_filesz = 0x41;
    assert_refused(&file, sizeof(file), "segment lies outside");
    file = good_image();
    file.phdr[0].p_paddr = UINT64_MAX - 4;
    assert_refused(&file, sizeof(file), "does not fit into memory");
    file = good_image();
    file.phdr[0].p_memsz = UINT64_MAX;
    assert_refused(&file, sizeof(file), "does not fit into memory");
    file = good_image();
    file.phdr[0].p_type = PT_NULL;
    assert_refused(&file, sizeof(file), "nothing to load");
    file = good_image();
    file.phdr[1] = file.phdr[0];
    assert_refused(&file, sizeof(file), "overlaps");
}

static void test_raw_limits(void)
{
    g_autofree char *path = write_image("hello", 5);
    g_autofree char *missing = test_tmpfile("missing");
    g_autoptr(Error) err = NULL, err2 = NULL, err3 = NULL;
    LoadedImage image;

    loader_clear();
    g_assert_true(loader_add_raw(map, path, 0x100, 5, &image, &error_abort));
    g_assert_cmphex(image.high, ==, 0x105);
    g_assert_false(loader_add_raw(map, path, 0x200, 4, &image, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "too large"));
    g_assert_false(loader_add_raw(map, path, 0x104, 5, &image, &err2));
    g_assert_nonnull(strstr(error_get_pretty(err2), "overlaps"));
    g_assert_false(loader_add_raw(map, missing, 0x100, 5, &image, &err3));
}

/* Nothing to assert but that it neither crashes nor writes outside. */
static void test_elf_random(void)
{
    g_autoptr(GRand) rand = test_rand_new();

    for (int i = 0; i < N_RANDOM; i++) {
        Image file = good_image();
        LoadedImage image;

        for (int n = 0; n < 4; n++) {
            ((uint8_t *)&file)[test_rand_below(rand, sizeof(file))] = test_rand_below(rand, 256);
        }
        if (load_elf(&file, sizeof(file) - test_rand_below(rand, 20), &image, NULL)) {
            loader_reset();
        }
    }
}

int main(int argc, char **argv)
{
    int ret;

    test_init(&argc, &argv);
    map = memory_map_new("test", false);
    memory_add_ram(map, "ram", 0, RAM_SIZE, false, &error_abort);
    g_test_add_func("/loader/elf/is-loaded-at-each-reset", test_elf_is_loaded_at_each_reset);
    g_test_add_func("/loader/elf/malformed-is-refused", test_elf_malformed_is_refused);
    g_test_add_func("/loader/raw/limits", test_raw_limits);
    g_test_add_func("/loader/elf/random", test_elf_random);
    ret = g_test_run();
    loader_clear();
    memory_map_free(map);
    return ret;
}
