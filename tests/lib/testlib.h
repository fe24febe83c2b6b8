/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small help for unit tests.  Linked with every one of them, so it uses util at most.
 *
 * The usual main():
 *     test_init(&argc, &argv);
 *     g_test_add_func("/module/function/what-happens", test_function);
 *     return g_test_run();
 */
#ifndef TESTS_LIB_TESTLIB_H
#define TESTS_LIB_TESTLIB_H

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

/* Initialise GTest; removes test_tmpdir() at exit.  All chance comes from TEST_SEED of the
 * environment (else from a new number), which is printed: test_rand_new(), g_test_rand_int(),
 * g_random_int() and their like. */
void test_init(int *argc, char ***argv);

/* A generator that begins with the seed.  Hold it in a g_autoptr(GRand). */
GRand *test_rand_new(void);
/* 0 <= result < @limit, with 64 bits. */
uint64_t test_rand_below(GRand *rand, uint64_t limit);
/* Fill @buf with random bytes. */
void test_rand_fill(GRand *rand, void *buf, size_t len);

/* $LAB_STATES, 0 if there is none: how long a long run is (make check-long). */
unsigned test_states_wanted(void);

/* A directory for this process, made at the first call, removed with all in it at exit. */
const char *test_tmpdir(void);
/* A path in it.  Caller frees. */
char *test_tmpfile(const char *name);

#endif
