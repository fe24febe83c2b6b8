/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small help for unit tests.
 */
#include "qemu/osdep.h"

#include <ftw.h>

#include "testlib.h"

static char *tmpdir;
/* Children of fork() must not remove the parent's files. */
static pid_t tmpdir_owner;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void remove_tmpdir(void)
{
    if (tmpdir && tmpdir_owner == getpid()) {
        nftw(tmpdir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        g_clear_pointer(&tmpdir, g_free);
    }
}

void test_init(int *argc, char ***argv)
{
    g_test_init(argc, argv, NULL);
    atexit(remove_tmpdir);
}

GRand *test_rand_new(void)
{
    static uint32_t seed;
    static bool seeded;

    if (!seeded) {
        const char *wanted = g_getenv("TEST_SEED");

        seed = wanted ? (uint32_t)g_ascii_strtoull(wanted, NULL, 0) : g_random_int();
        seeded = true;
        printf("# TEST_SEED=%" PRIu32 "\n", seed);
        fflush(stdout);
    }
    return g_rand_new_with_seed(seed);
}

uint64_t test_rand_below(GRand *rand, uint64_t limit)
{
    uint64_t value = (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand);

    return value % limit;
}

void test_rand_fill(GRand *rand, void *buf, size_t len)
{
    unsigned char *bytes = buf;

    for (size_t i = 0; i < len; i++) {
        bytes[i] = g_rand_int(rand);
    }
}

const char *test_tmpdir(void)
{
    if (!tmpdir) {
        GError *error = NULL;

        tmpdir = g_dir_make_tmp("unit-test-XXXXXX", &error);
        if (!tmpdir) {
            g_error("no temporary directory: %s", error->message);
        }
        tmpdir_owner = getpid();
    }
    return tmpdir;
}

char *test_tmpfile(const char *name)
{
    return g_build_filename(test_tmpdir(), name, NULL);
}
