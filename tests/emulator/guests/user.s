// SPDX-License-Identifier: GPL-2.0-or-later
// A program at user level under the supervisor of shim.inc.  Ends with exit(0), or exit(n) when
// check n goes wrong.

.macro system number, entry=3
movtd \number, %b[0]
sdisp %ctpr1, \entry
call %ctpr1, wbs=8
.endm

.macro check n, a, b
cmpedb \a, \b, %pred30
ibranch check_\@ ? %pred30
movtd \n, %b[1]
system 1
check_\@:
.endm

.org 0x10000
user_start:
{ setwd wsz=16, nfx=1, dbl=1 ; setbn rsz=7, rbs=8, rcur=0 }
rrd %psr, %r0
andd %r0, 1, %r1
check 1, %r1, 0                         // not privileged
andd %r0, 2, %r1
check 2, %r1, 2                         // interrupts allowed
movtd 1, %b[1]
{ movtd message, %b[2] ; movtd message_end - message, %b[3] }
system 4
check 3, %b[0], message_end - message
rrd %psr, %r1
check 4, %r1, %r0                       // as before the call
system 9999
check 5, %b[0], -38
system 9999, 6
check 6, %b[0], -38
// Memory from the heap.
{ movtd 0, %b[1] ; movtd 5000, %b[2] }
system 90
movtd %b[0], %r2
{ movtd 0, %b[1] ; movtd 1, %b[2] }
system 90
movtd %b[0], %r3
subd %r3, %r2, %r4
check 7, %r4, 8192
movtd 77, %r5
std %r5, %r2, 0
movtd %r2, %b[1]
system 78, 6
check 8, %b[0], 0
ldd %r2, 0, %r5
check 9, %r5, 0
// Deep recursion with window spills, at this level.
movtd 500, %b[0]
disp %ctpr1, sum
call %ctpr1, wbs=8
check 10, %b[0], 125250
// The user stack.
getsp -256, %r6
std %r6, %r6, 0
ldd %r6, 0, %r7
check 11, %r7, %r6
getsp 256, %r7
check 12, %r7, 0x340000
movtd 0, %b[1]
system 1

sum:                                    // r0 := r0 + ... + 0, keeping some on the user stack
{ setwd wsz=16, nfx=1, dbl=1 ; setbn rsz=7, rbs=8, rcur=0 }
cmpedb %r0, 0, %pred0
ibranch 1f ? %pred0
getsp -16, %r7
std %r0, %r7, 0
subd %r0, 1, %b[0]
disp %ctpr1, sum
call %ctpr1, wbs=8
ldd %r7, 0, %r6
addd %r6, %b[0], %r0
1:
return %ctpr3
ct %ctpr3

.align 8
message: .ascii "user level\n"
message_end:
.align 8
.include "shim.inc"
