/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into a program under test: $ALLOCSHIM=N:BYTES lets the N-th allocation (from 1) of at
 * least BYTES fail.  File $IOSHIM_MARK is made when that happens, so that a test knows when it has
 * tried all.
 */
#include "qemu/osdep.h"

#include <fcntl.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *ptr, size_t size);
void *__libc_memalign(size_t align, size_t size);

static long alloc_fail_at, alloc_calls; /* the latter atomic */
static size_t alloc_min;

__attribute__((constructor)) static void alloc_start(void)
{
    const char *text = getenv("ALLOCSHIM");
    char *end;

    if (text) {
        alloc_fail_at = strtol(text, &end, 10);
        alloc_min = strtoul(end + 1, NULL, 10);
    }
}

/* Is it this call's turn to fail? */
static bool alloc_fails(size_t size)
{
    const char *mark;

    if (!alloc_fail_at || size < alloc_min ||
        __atomic_add_fetch(&alloc_calls, 1, __ATOMIC_RELAXED) != alloc_fail_at) {
        return false;
    }
    mark = getenv("IOSHIM_MARK");
    if (mark) {
        close(open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    }
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return alloc_fails(size) ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    size_t bytes;

    return __builtin_mul_overflow(n, size, &bytes) || alloc_fails(bytes) ? NULL
                                                                         : __libc_calloc(n, size);
}

void *realloc(void *ptr, size_t size)
{
    return alloc_fails(size) ? NULL : __libc_realloc(ptr, size);
}

void *memalign(size_t align, size_t size)
{
    return alloc_fails(size) ? NULL : __libc_memalign(align, size);
}

void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

int posix_memalign(void **ptr, size_t align, size_t size)
{
    void *memory = memalign(align, size);

    if (!memory) {
        return ENOMEM;
    }
    *ptr = memory;
    return 0;
}
