/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Waiting for something that the main loop brings about.
 */
#ifndef TESTS_LIB_WAITUNTIL_H
#define TESTS_LIB_WAITUNTIL_H

#include "block/aio.h"
#include "qemu/main-loop.h"

/* Polls, so what comes from other threads and programs is seen, too.  The limit only ends what
 * hangs; what goes well never takes that long, on no machine. */
#define wait_until(condition) \
    do { \
        gint64 until_ = g_get_monotonic_time() + 300 * G_USEC_PER_SEC; \
        while (!(condition)) { \
            g_assert_cmpint(g_get_monotonic_time(), <, until_); \
            aio_poll(qemu_get_aio_context(), false); \
        } \
    } while (0)

#endif
