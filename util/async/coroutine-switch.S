/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stack switch for x86-64 and aarch64.  A saved context is a stack pointer; below it lie the
 * registers that a called function must preserve, and the floating point control words.
 * Other processors use coroutine-ucontext.c.
 */
#include "config.h"

#if !defined(CONFIG_COROUTINE_UCONTEXT) && defined(__x86_64__)

        .text
        .hidden coroutine_main
        .globl  coroutine_context_switch
        .hidden coroutine_context_switch
        .type   coroutine_context_switch, @function
        .p2align 4
/* void coroutine_context_switch(void **save, void *load) */
coroutine_context_switch:
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        stmxcsr (%rsp)
        fnstcw  4(%rsp)
        movl    (%rsp), %eax
        movzwl  4(%rsp), %edx
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
        /* Both stacks look alike here, so the unwind information stays right. */
        cmpl    (%rsp), %eax
        jne     2f
        cmpw    4(%rsp), %dx
        jne     2f
        .cfi_remember_state
1:      addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        /* Not `ret`: its prediction is always wrong here. */
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rcx
        jmp     *%rcx
        /* Loading control words is slow, and they rarely differ. */
2:      .cfi_restore_state
        fldcw   4(%rsp)
        ldmxcsr (%rsp)
        jmp     1b
        .cfi_endproc
        .size   coroutine_context_switch, . - coroutine_context_switch

        .globl  coroutine_context_init
        .hidden coroutine_context_init
        .type   coroutine_context_init, @function
        .p2align 4
/*
 * void *coroutine_context_init(Coroutine *co): co is the aligned end of its own stack.
 * Above the frame that the switch pops, a return address of 0 ends backtraces.
 */
coroutine_context_init:
        .cfi_startproc
        leaq    -72(%rdi), %rax
        xorl    %ecx, %ecx
        stmxcsr (%rax)
        fnstcw  4(%rax)
        movq    %rcx, 8(%rax)
        movq    %rcx, 16(%rax)
        movq    %rcx, 24(%rax)
        movq    %rcx, 32(%rax)
        movq    %rcx, 40(%rax)
        movq    %rcx, 48(%rax)
        movq    %rcx, 64(%rax)
        leaq    coroutine_main(%rip), %rcx
        movq    %rcx, 56(%rax)
        ret
        .cfi_endproc
        .size   coroutine_context_init, . - coroutine_context_init

#elif !defined(CONFIG_COROUTINE_UCONTEXT) && defined(__aarch64__)

        .text
        .hidden coroutine_main
        .globl  coroutine_context_switch
        .hidden coroutine_context_switch
        .type   coroutine_context_switch, %function
        .p2align 4
/* void coroutine_context_switch(void **save, void *load) */
coroutine_context_switch:
        .cfi_startproc
        hint    #34                     /* bti c */
        stp     x29, x30, [sp, #-176]!
        .cfi_adjust_cfa_offset 176
        .cfi_rel_offset x29, 0
        .cfi_rel_offset x30, 8
        stp     x19, x20, [sp, #16]
        stp     x21, x22, [sp, #32]
        stp     x23, x24, [sp, #48]
        stp     x25, x26, [sp, #64]
        stp     x27, x28, [sp, #80]
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        mrs     x9, fpcr
        str     x9, [sp, #160]
        mov     x10, sp
        str     x10, [x0]
        mov     sp, x1
        ldr     x10, [sp, #160]
        /* Writing fpcr is slow; it rarely differs. */
        cmp     x9, x10
        b.eq    1f
        msr     fpcr, x10
1:      ldp     x19, x20, [sp, #16]
        ldp     x21, x22, [sp, #32]
        ldp     x23, x24, [sp, #48]
        ldp     x25, x26, [sp, #64]
        ldp     x27, x28, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        ldp     x29, x30, [sp], #176
        .cfi_adjust_cfa_offset -176
        .cfi_restore x29
        .cfi_restore x30
        ret
        .cfi_endproc
        .size   coroutine_context_switch, . - coroutine_context_switch

        .globl  coroutine_context_init
        .hidden coroutine_context_init
        .type   coroutine_context_init, %function
        .p2align 4
/* void *coroutine_context_init(Coroutine *co): co is the aligned end of its own stack. */
coroutine_context_init:
        .cfi_startproc
        hint    #34                     /* bti c */
        sub     x1, x0, #176
        mrs     x9, fpcr
        str     x9, [x1, #160]
        adrp    x10, .Lentry
        add     x10, x10, :lo12:.Lentry
        stp     xzr, x10, [x1]
        mov     x0, x1
        ret
/* A zero link register ends backtraces. */
.Lentry:
        mov     x30, xzr
        b       coroutine_main
        .cfi_endproc
        .size   coroutine_context_init, . - coroutine_context_init

#endif

        .section .note.GNU-stack, "", %progbits
