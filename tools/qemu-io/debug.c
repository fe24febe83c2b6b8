/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Breakpoints of blkdebug, and ways to wait or to die.
 */
#include "qemu/osdep.h"

#include "qemu-io.h"

#include <signal.h>

#include "block/debug.h"

static int coroutine_fn co_break(QemuIo *io, int argc, char **argv)
{
    int ret = bdrv_debug_breakpoint(blk_bs(io->blk), argv[1], argv[2]);

    if (ret < 0) {
        printf("Could not set breakpoint: %s\n", strerror(-ret));
    }
    return ret;
}

static int coroutine_fn co_remove_break(QemuIo *io, int argc, char **argv)
{
    int ret = bdrv_debug_remove_breakpoint(blk_bs(io->blk), argv[1]);

    if (ret < 0) {
        printf("Could not remove breakpoint %s: %s\n", argv[1], strerror(-ret));
    }
    return ret;
}

static int coroutine_fn co_resume(QemuIo *io, int argc, char **argv)
{
    int ret = bdrv_debug_resume(blk_bs(io->blk), argv[1]);

    if (ret < 0) {
        printf("Could not resume request: %s\n", strerror(-ret));
    }
    return ret;
}

/* How often wait_break looks. */
#define LOOK_NS 1000000

static int coroutine_fn co_wait_break(QemuIo *io, int argc, char **argv)
{
    while (!bdrv_debug_is_suspended(blk_bs(io->blk), argv[1])) {
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, LOOK_NS);
    }
    return 0;
}

static int coroutine_fn co_sleep(QemuIo *io, int argc, char **argv)
{
    char *end;
    long ms = strtol(argv[1], &end, 0);

    if (end == argv[1] || *end || ms < 0) {
        printf("%s is not a valid number\n", argv[1]);
        return -EINVAL;
    }
    qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, ms * INT64_C(1000000));
    return 0;
}

static int coroutine_fn co_sigraise(QemuIo *io, int argc, char **argv)
{
    int64_t sig = qemuio_number(argv[1]);

    if (sig < 0) {
        return sig;
    }
    if (sig > NSIG) {
        printf("signal argument '%s' is too large to be a valid signal\n", argv[1]);
        return -EINVAL;
    }
    /* stdout may be a pipe: what was said before must get out. */
    fflush(stdout);
    raise(sig);
    return 0;
}

static int coroutine_fn co_abort(QemuIo *io, int argc, char **argv)
{
    abort();
}

const IoCommand io_debug_commands[] = {
    { "break", NULL, 2, 2, "event tag",
      "sets a breakpoint on event and tags the stopped request as tag",
      NULL, false, 0, co_break },
    { "remove_break", NULL, 1, 1, "tag", "remove a breakpoint by tag", NULL, false, 0,
      co_remove_break },
    { "resume", NULL, 1, 1, "tag", "resumes the request tagged as tag", NULL, false, 0, co_resume },
    { "wait_break", NULL, 1, 1, "tag", "waits for the suspension of a request", NULL, false, 0,
      co_wait_break },
    { "sleep", NULL, 1, 1, "ms", "waits for the given value in milliseconds",
      NULL, true, 0, co_sleep },
    { "sigraise", NULL, 1, 1, "signal", "raises a signal", NULL, true, 0, co_sigraise },
    { "abort", NULL, 0, 0, "", "simulate a program crash using abort(3)", NULL, true, 0, co_abort },
    { .name = NULL },
};
