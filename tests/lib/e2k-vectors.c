/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include <zlib.h>

#include "e2k-vectors.h"

char **e2k_vectors_load(const char *name)
{
    g_autofree char *path = g_build_filename(SOURCE_PATH, "tests", "emulator", "data", name,
                                              NULL);
    g_autoptr(GString) text = g_string_new(NULL);
    char buffer[65536];
    int n;

    gzFile file = gzopen(path, "rb");
    if (!file) {
        g_error("cannot open %s", path);
    }
    while ((n = gzread(file, buffer, sizeof(buffer))) > 0) {
        g_string_append_len(text, buffer, n);
    }
    if (n < 0 || gzclose(file) != Z_OK) {
        g_error("cannot decompress %s", path);
    }
    return g_strsplit(text->str, "\n", 0);
}

unsigned e2k_vector_bytes(const char *words, uint8_t *code, unsigned size)
{
    unsigned n = 0;
    char *end;

    while (*words) {
        uint32_t word = strtoul(words, &end, 16);

        g_assert_true(end != words && n + 4 <= size);
        for (unsigned i = 0; i < 4; i++) {
            code[n++] = word >> (i * 8);
        }
        words = end + strspn(end, " ");
    }
    return n;
}
