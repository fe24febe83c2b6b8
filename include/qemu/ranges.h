/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranges of numbers. */
#ifndef QEMU_RANGES_H
#define QEMU_RANGES_H

#include <stdbool.h>
#include <stdint.h>

/* Whether [@first1, @first1 + @len1) and [@first2, @first2 + @len2) have an element in common. */
static inline bool ranges_overlap(uint64_t first1, uint64_t len1, uint64_t first2, uint64_t len2)
{
    /* Written without sums, so that ranges up to the very end of uint64_t work. */
    return len1 && len2 && (first1 <= first2 ? first2 - first1 < len1 : first1 - first2 < len2);
}

#endif
