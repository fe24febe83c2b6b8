/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Aligned memory, as direct I/O needs it.  Freed with qemu_vfree() only.
 */
#ifndef QEMU_MEMALIGN_H
#define QEMU_MEMALIGN_H

#include <stddef.h>

#include "qemu/compiler.h"

/**
 * Allocate @size bytes (0 is fine) aligned to @alignment, a power of two.
 * Returns: the memory, or NULL.  For sizes that a guest or file chooses.
 */
void *qemu_try_memalign(size_t alignment, size_t size) QEMU_WARN_UNUSED;
/* Like qemu_try_memalign(), but the process aborts when memory is short. */
void *qemu_memalign(size_t alignment, size_t size) QEMU_WARN_UNUSED;
/**
 * Like qemu_try_memalign(), for tables that are used all over: of the host's large pages if it has
 * them, since faults for each small one take longer than most work on the table.
 */
void *qemu_try_memalign_large(size_t alignment, size_t size) QEMU_WARN_UNUSED;
/* Free @ptr; NULL is fine. */
void qemu_vfree(void *ptr);

static inline void qemu_cleanup_vfree(void *ptr_to_ptr)
{
    qemu_vfree(*(void **)ptr_to_ptr);
}
/* A local pointer that is freed by qemu_vfree() at the end of its scope. */
#define QEMU_AUTO_VFREE __attribute__((cleanup(qemu_cleanup_vfree)))

#endif
