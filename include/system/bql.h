/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine lock for a scope, by code that may be called with or without it.
 */
#ifndef SYSTEM_BQL_H
#define SYSTEM_BQL_H

#include "qemu/main-loop.h"

static inline bool bql_guard_enter(void)
{
    bool must_take = !bql_locked();

    if (must_take) {
        bql_lock();
    }
    return must_take;
}

static inline void bql_guard_leave(bool *taken)
{
    if (*taken) {
        bql_unlock();
    }
}

/* Hold the machine lock until the end of the block; fine if the thread holds it already. */
#define BQL_GUARD() \
    __attribute__((cleanup(bql_guard_leave), unused)) bool bql_guard_ = bql_guard_enter()

#endif
