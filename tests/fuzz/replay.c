/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main() for a fuzz entry in a normal build: feeds it the seeds in tests/fuzz/seeds/<entry>/ and of
 * each some random mutants, in long runs a fifth of LAB_STATES.  $G_TEST_SRCDIR says where the
 * sources are, $TEST_SEED chooses; $FUZZ_KEEP is a file that each input is put into first: after a
 * crash it has the culprit.
 */
#include "qemu/osdep.h"

#include <glib/gstdio.h>

#include "../lib/testlib.h"

#define MUTANTS 300u
#define LONG_SHARE 5 /* of the states of a long run */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Optional; as libFuzzer has it. */
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);
__attribute__((weak)) size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                                                     unsigned int seed);

static void feed(const GByteArray *bytes)
{
    /* An allocation of its own, so that a sanitizer sees a byte read too far. */
    g_autofree uint8_t *copy = g_malloc(MAX(bytes->len, 1));
    const char *keep = g_getenv("FUZZ_KEEP");

    if (keep) {
        g_unlink(keep); /* setting a shorter content would leave the end of a longer one */
        g_assert_true(g_file_set_contents_full(keep, (const char *)bytes->data, bytes->len,
                                               G_FILE_SET_CONTENTS_NONE, 0600, NULL));
    }
    if (bytes->len) {
        memcpy(copy, bytes->data, bytes->len);
    }
    LLVMFuzzerTestOneInput(copy, bytes->len);
}

/* One change of some bytes of @bytes, which may be empty. */
static void mutate_blindly(GByteArray *bytes, GRand *rand)
{
    guint at = bytes->len ? g_rand_int_range(rand, 0, bytes->len) : 0;
    uint8_t byte = g_rand_int_range(rand, 0, 256);
    static const uint8_t edges[] = { 0, 1, 0x7f, 0x80, 0xff, '"', '{', ',', '=', '\\' };

    switch (g_rand_int_range(rand, 0, 6)) {
    case 0:
        g_byte_array_append(bytes, &byte, 1);
        break;
    case 1:
        g_byte_array_set_size(bytes, at);
        break;
    case 2:
        if (bytes->len) {
            g_byte_array_remove_range(bytes, at, MIN(bytes->len - at, (guint)byte % 9));
        }
        break;
    case 3:
        if (bytes->len && bytes->len < 64 * KiB) {
            g_autofree uint8_t *part = g_memdup2(bytes->data + at, bytes->len - at);

            g_byte_array_append(bytes, part, bytes->len - at);
        }
        break;
    default:
        if (bytes->len) {
            bytes->data[at] = byte & 1 ? byte : edges[byte % G_N_ELEMENTS(edges)];
        }
    }
}

/* An entry that knows what its input looks like makes most of the changes. */
static void mutate(GByteArray *bytes, GRand *rand)
{
    if (LLVMFuzzerCustomMutator && bytes->len && g_rand_int_range(rand, 0, 16)) {
        size_t len = LLVMFuzzerCustomMutator(bytes->data, bytes->len, bytes->len, g_rand_int(rand));

        g_byte_array_set_size(bytes, len);
    } else {
        mutate_blindly(bytes, rand);
    }
}

static void test_seed(gconstpointer path)
{
    g_autoptr(GRand) rand = test_rand_new();
    guint mutants = MAX(MUTANTS, test_states_wanted() / LONG_SHARE);
    g_autofree char *content = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(path, &content, &len, NULL));
    for (guint i = 0; i <= mutants; i++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();

        g_byte_array_append(bytes, (const uint8_t *)content, len);
        for (int changes = i ? g_rand_int_range(rand, 1, 6) : 0; changes; changes--) {
            mutate(bytes, rand);
        }
        feed(bytes);
    }
}

int main(int argc, char **argv)
{
    g_autofree char *entry = g_path_get_basename(argv[0]);
    g_autofree char *folder = NULL;
    g_autoptr(GDir) dir = NULL;
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    g_assert_true(g_str_has_prefix(entry, "test-fuzz-"));
    test_init(&argc, &argv);
    folder = g_test_build_filename(G_TEST_DIST, "tests", "fuzz", "seeds",
                                   entry + strlen("test-fuzz-"), NULL);
    if (LLVMFuzzerInitialize) {
        LLVMFuzzerInitialize(&argc, &argv);
    }
    dir = g_dir_open(folder, 0, NULL);
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_strdup_printf("/fuzz/%s/%s", entry + strlen("test-fuzz-"), name);

        g_ptr_array_add(paths, g_build_filename(folder, name, NULL));
        g_test_add_data_func(path, g_ptr_array_index(paths, paths->len - 1), test_seed);
    }
    g_assert_cmpint(paths->len, >, 0);
    return g_test_run();
}
