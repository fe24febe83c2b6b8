/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Macros over compiler features and plain arithmetic.  No types, no functions that allocate.
 */
#ifndef QEMU_COMPILER_H
#define QEMU_COMPILER_H

#include <stddef.h>
#include <stdint.h>

#define QEMU_PACKED __attribute__((packed))
#define QEMU_ALIGNED(n) __attribute__((aligned(n)))
#define QEMU_NORETURN __attribute__((noreturn))
#define QEMU_WARN_UNUSED __attribute__((warn_unused_result))
#define QEMU_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Marks a function that may yield and must run in a coroutine; read by check-style. */
#define coroutine_fn

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

#define KiB (INT64_C(1) << 10)
#define MiB (INT64_C(1) << 20)
#define GiB (INT64_C(1) << 30)
#define TiB (INT64_C(1) << 40)
#define PiB (INT64_C(1) << 50)
#define EiB (INT64_C(1) << 60)

#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
/* For any @d > 0. */
#define ROUND_DOWN(n, d) ((n) / (d) * (d))
#define ROUND_UP(n, d) ROUND_DOWN((n) + (d) - 1, d)
/* For @m a power of two. */
#define QEMU_ALIGN_DOWN(n, m) ((n) & -(__typeof__(n))(m))
#define QEMU_ALIGN_UP(n, m) QEMU_ALIGN_DOWN((n) + (m) - 1, m)
#define QEMU_IS_ALIGNED(n, m) (((n) & ((m) - 1)) == 0)

#define NANOSECONDS_PER_SECOND INT64_C(1000000000)

#endif
