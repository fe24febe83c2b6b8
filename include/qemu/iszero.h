/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is this memory all zero?  Runs at memory speed with the widest vectors the processor has.
 */
#ifndef QEMU_ISZERO_H
#define QEMU_ISZERO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether all @len bytes at @buf are 0; true for @len 0.  Any alignment, any thread. */
bool buffer_is_zero(const void *buf, size_t len);

/* How many of the @n words of 8 bytes at @buf, from the first on, are 0.  Any alignment. */
size_t buffer_count_zero_words(const void *buf, size_t n);

/* Which of the 64 words of 8 bytes at @buf are not 0: bit i is set for word i.  Any alignment. */
uint64_t buffer_used_words(const void *buf);

/* For tests: the number of implementations this processor can run, and calls of one of them. */
int buffer_is_zero_variants(void);
bool buffer_is_zero_variant(int variant, const void *buf, size_t len);
size_t buffer_count_zero_words_variant(int variant, const void *buf, size_t n);
uint64_t buffer_used_words_variant(int variant, const void *buf);

#endif
