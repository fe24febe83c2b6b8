/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Aligned memory over posix_memalign().
 */
#include "qemu/osdep.h"
#include "qemu/memalign.h"

#include <sys/mman.h>

#define LARGE_PAGE (2 * MiB)

void *qemu_try_memalign(size_t alignment, size_t size)
{
    void *ptr;

    assert(is_power_of_2(alignment));
    /* A size of 0 still gives a pointer that is not NULL, so that NULL only means failure. */
    if (posix_memalign(&ptr, MAX(alignment, sizeof(void *)), MAX(size, 1)) != 0) {
        return NULL;
    }
    return ptr;
}

void *qemu_try_memalign_large(size_t alignment, size_t size)
{
    void *ptr;

    if (size < LARGE_PAGE / 2 || size > SIZE_MAX - LARGE_PAGE) {
        return qemu_try_memalign(alignment, size);
    }
    size = QEMU_ALIGN_UP(size, LARGE_PAGE);
    ptr = qemu_try_memalign(MAX(alignment, LARGE_PAGE), size);
    if (ptr) {
        madvise(ptr, size, MADV_HUGEPAGE); /* small pages do as well */
    }
    return ptr;
}

void *qemu_memalign(size_t alignment, size_t size)
{
    void *ptr = qemu_try_memalign(alignment, size);

    if (!ptr) {
        fprintf(stderr, "Cannot allocate %zu bytes aligned to %zu\n", size, alignment);
        abort();
    }
    return ptr;
}

void qemu_vfree(void *ptr)
{
    free(ptr);
}
