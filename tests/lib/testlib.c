/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small help for unit tests.
 */
#include "qemu/osdep.h"

#include <ftw.h>

#include "testlib.h"

static uint32_t test_seed;
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

static uint32_t choose_seed(void)
{
    const char *wanted = g_getenv("TEST_SEED");

    return wanted ? (uint32_t)g_ascii_strtoull(wanted, NULL, 10) : g_random_int();
}

/* g_test_init() with one more argument: the seed of g_test_rand_int() and its like. */
static void init_gtest(int *argc, char ***argv, uint32_t seed)
{
    static char option[64];
    static char **words; /* in use, and so no leak, until the very end */

    words = g_new(char *, *argc + 2);
    snprintf(option, sizeof(option), "--seed=R02S%08" PRIx32 "%08x%08x%08x", seed, 0, 0, 0);
    memcpy(words, *argv, *argc * sizeof(*words));
    words[(*argc)++] = option;
    words[*argc] = NULL;
    *argv = words;
    g_test_init(argc, argv, NULL);
}

void test_init(int *argc, char ***argv)
{
    test_seed = choose_seed();
    init_gtest(argc, argv, test_seed);
    g_random_set_seed(test_seed);
    if (!g_test_subprocess()) {
        printf("# TEST_SEED=%" PRIu32 "\n", test_seed);
        fflush(stdout);
    }
    atexit(remove_tmpdir);
}

GRand *test_rand_new(void)
{
    return g_rand_new_with_seed(test_seed);
}

uint64_t test_rand_below(GRand *rand, uint64_t limit)
{
    uint64_t value = (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand);

    return value % limit;
}

unsigned test_states_wanted(void)
{
    const char *text = g_getenv("LAB_STATES");

    return text ? g_ascii_strtoull(text, NULL, 10) : 0;
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
