/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading the recorded e2k test vectors (tests/emulator/data).
 */
#ifndef TESTS_LIB_E2K_VECTORS_H
#define TESTS_LIB_E2K_VECTORS_H

#include <glib.h>
#include <stdint.h>

/** The lines of the gzip-compressed file @name; aborts the test if it cannot be read. */
char **e2k_vectors_load(const char *name);

/** Turn "words in hex, separated by blanks" into little-endian bytes; returns how many. */
unsigned e2k_vector_bytes(const char *words, uint8_t *code, unsigned size);

#endif
