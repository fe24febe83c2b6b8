// SPDX-License-Identifier: GPL-2.0-or-later
// Firmware for -bios: checks the state after reset, says so on the debug console and on the serial
// line, sets up its own stacks and makes a call.
.equ ROM,       0x100000000
.equ PORTS,     0x101000000
.equ EXIT_PORT, PORTS + 0x501

.org ROM
_start:
// The window after reset has 16 registers, the rotated area begins at %r8.
rrd %psr, %r0
here: rrd %ip, %r1
movtd 1, %r15
movtd %b[7], %r2
{ cmpedb %r0, 1, %pred0 ; cmpedb %r2, 1, %pred1 }
cmpedb %r1, _f64 here, %pred2
movtd 2, %r14
ibranch finish ? ~%pred0
movtd 3, %r14
ibranch finish ? ~%pred1
movtd 4, %r14
ibranch finish ? ~%pred2
movtd _f64 text, %r3
1:
ldb %r3, 0, %r4
cmpedb %r4, 0, %pred0
ibranch 2f ? %pred0
stb %r4, 0, PORTS + 0x300, mas=6
stb %r4, 0, PORTS + 0x3f8, mas=6
addd %r3, 1, %r3
ibranch 1b
2:
// The ROM ignores stores.
ldd 0, _f64 text, %r4
std %r0, 0, _f64 text
ldd 0, _f64 text, %r5
cmpedb %r4, %r5, %pred0
movtd 5, %r14
ibranch finish ? ~%pred0
// Stacks in RAM, then a call.
movtd 0x10000, %r0
rwd %r0, %psp.lo
rwd _f64 (0x8000 << 32), %psp.hi
movtd 0x20000, %r0
rwd %r0, %pcsp.lo
rwd _f64 (0x8000 << 32), %pcsp.hi
setbn rsz=3, rbs=4, rcur=0
movtd 41, %b[0]
disp %ctpr1, plus_one
call %ctpr1, wbs=4
cmpedb %b[0], 42, %pred0
movtd 6, %r14
movtd 0, %r14 ? %pred0
finish:
stb %r14, 0, EXIT_PORT, mas=6
1: ibranch 1b

plus_one:
addd %r0, 1, %r0
return %ctpr3
ct %ctpr3

text: .asciz "Hello from the ROM\n"
.align 8
