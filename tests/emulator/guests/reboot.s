// SPDX-License-Identifier: GPL-2.0-or-later
// A trap without a handler resets the machine.  Memory outlives the reset, this image is loaded
// again, and the second run passes; with -no-reboot there is none.
.include "lib.inc"

.equ MARK, 0x02000000
.equ MARK_VALUE, 0x6f6f626572

func _start
ldd 0, MARK, %r1
cmpedb %r1, MARK_VALUE, %pred0
ldd 0, changed, %r2
{ cmpedb %r2, 0, %pred1 }
ibranch second ? %pred0
print "reboot: first run\n"
movtd _f64 MARK_VALUE, %r1
std %r1, 0, MARK
std %r1, 0, changed
movtd 0, %r1
rwd %r1, %oscud.hi
.word 0x00008001, 0x90000000            // no such operation
print "reboot: FAIL the machine went on\n"
exit 1
second:
ibranch fresh ? %pred1
print "reboot: FAIL the image was not loaded again\n"
exit 2
fresh:
print "reboot: PASS\n"
exit 0

.align 8
changed: .quad 0
