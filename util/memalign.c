/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Aligned memory over posix_memalign().
 */
#include "qemu/osdep.h"
#include "qemu/memalign.h"

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
