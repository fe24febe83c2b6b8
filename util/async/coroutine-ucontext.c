/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stack switch for processors that coroutine-switch.S does not know, by <ucontext.h>.  Each switch
 * costs two system calls, since the C library also switches the signal mask.
 * A saved context is a ucontext_t, on the stack that it describes.
 */
#include "qemu/osdep.h"

#include "block/coroutine_int.h"

#if defined(CONFIG_COROUTINE_UCONTEXT) || !(defined(__x86_64__) || defined(__aarch64__))

#include <ucontext.h>

void *coroutine_context_init(Coroutine *co)
{
    ucontext_t *uc = (ucontext_t *)co - 1;

    uc = (ucontext_t *)QEMU_ALIGN_DOWN((uintptr_t)uc, 64);
    if (getcontext(uc) < 0) {
        abort();
    }
    uc->uc_stack.ss_sp = co->stack_low;
    uc->uc_stack.ss_size = (char *)uc - (char *)co->stack_low;
    uc->uc_link = NULL;
    makecontext(uc, coroutine_main, 0);
    return uc;
}

void coroutine_context_switch(void **save, void *load)
{
    ucontext_t here;

    *save = &here;
    if (swapcontext(&here, load) < 0) {
        abort();
    }
}

#endif
