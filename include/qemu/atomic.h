/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Atomic access to shared words: names for the compiler's __atomic builtins.
 *
 * - qatomic_read/qatomic_set are relaxed: they only promise that the access is not torn or cached.
 * - Everything that reads and writes in one step is sequentially consistent.
 * - Data is published with qatomic_store_release and picked up with qatomic_load_acquire.
 *   A bare barrier is for store-then-load protocols only, since thread sanitizers cannot see it.
 * - The object must be naturally aligned and not larger than a pointer or int64_t.
 */
#ifndef QEMU_ATOMIC_H
#define QEMU_ATOMIC_H

/* ---- plain accesses ------------------------------------------------------------------------- */
#define qatomic_read(ptr) __atomic_load_n(ptr, __ATOMIC_RELAXED)
#define qatomic_set(ptr, val) __atomic_store_n(ptr, val, __ATOMIC_RELAXED)
#define qatomic_load_acquire(ptr) __atomic_load_n(ptr, __ATOMIC_ACQUIRE)
#define qatomic_store_release(ptr, val) __atomic_store_n(ptr, val, __ATOMIC_RELEASE)
/* A store that no later load may overtake. */
#define qatomic_set_mb(ptr, val) ((void)__atomic_exchange_n(ptr, val, __ATOMIC_SEQ_CST))

/* ---- read-modify-write, sequentially consistent; each returns the old value ------------------ */
#define qatomic_xchg(ptr, val) __atomic_exchange_n(ptr, val, __ATOMIC_SEQ_CST)
#define qatomic_fetch_add(ptr, n) __atomic_fetch_add(ptr, n, __ATOMIC_SEQ_CST)
#define qatomic_fetch_sub(ptr, n) __atomic_fetch_sub(ptr, n, __ATOMIC_SEQ_CST)
#define qatomic_fetch_and(ptr, n) __atomic_fetch_and(ptr, n, __ATOMIC_SEQ_CST)
#define qatomic_fetch_or(ptr, n) __atomic_fetch_or(ptr, n, __ATOMIC_SEQ_CST)
#define qatomic_fetch_xor(ptr, n) __atomic_fetch_xor(ptr, n, __ATOMIC_SEQ_CST)
#define qatomic_fetch_inc(ptr) qatomic_fetch_add(ptr, 1)
#define qatomic_fetch_dec(ptr) qatomic_fetch_sub(ptr, 1)

/* Store @new if *ptr is @old.  Returns what was there: equal to @old on success. */
#define qatomic_cmpxchg(ptr, old, new) \
    ({ \
        __typeof__(*(ptr) + 0) qatomic_old_ = (old); \
        __typeof__(*(ptr)) qatomic_seen_ = qatomic_old_; \
        __atomic_compare_exchange_n(ptr, &qatomic_seen_, new, false, __ATOMIC_SEQ_CST, \
                                    __ATOMIC_SEQ_CST); \
        qatomic_seen_; \
    })

/* ---- the same, result not wanted ------------------------------------------------------------- */
#define qatomic_add(ptr, n) ((void)qatomic_fetch_add(ptr, n))
#define qatomic_sub(ptr, n) ((void)qatomic_fetch_sub(ptr, n))
#define qatomic_and(ptr, n) ((void)qatomic_fetch_and(ptr, n))
#define qatomic_or(ptr, n) ((void)qatomic_fetch_or(ptr, n))
#define qatomic_inc(ptr) ((void)qatomic_fetch_add(ptr, 1))
#define qatomic_dec(ptr) ((void)qatomic_fetch_sub(ptr, 1))

/* ---- barriers -------------------------------------------------------------------------------- */
#define barrier() __asm__ volatile("" ::: "memory")

/* gcc warns that its thread sanitizer ignores fences; the rule at the top makes that harmless. */
#pragma GCC diagnostic push
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif
static inline void smp_mb(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void smp_rmb(void)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}

static inline void smp_wmb(void)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
}
#pragma GCC diagnostic pop

/* Full barrier behind one of the read-modify-write operations above, which on x86 are one. */
static inline void smp_mb__after_rmw(void)
{
#if defined(__x86_64__) || defined(__i386__)
    barrier();
#else
    smp_mb();
#endif
}

/* Tell the processor that this is a spin loop. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#else
    barrier();
#endif
}

#endif
