// SPDX-License-Identifier: GPL-2.0-or-later
// The system timer interrupts through the I/O APIC: ten ticks must come, none when masked.
.include "lib.inc"

.equ TIMER,    0xfed00000
.equ IOAPIC,   0xfec00000
.equ LAPIC,    0xfee00000
.equ TIMER_PIN, 2
.equ VECTOR,   32 + TIMER_PIN
.equ TICKS,    10

// Write VALUE to register REG of the I/O APIC.
.macro ioapic_write reg, value
movtd \reg, %r0
stw %r0, 0, IOAPIC, mas=6
movtd \value, %r0
stw %r0, 0, IOAPIC + 0x10, mas=6
.endm

.macro lapic_write reg, value
movtd \value, %r0
stw %r0, 0, LAPIC + \reg, mas=6
.endm

.macro timer_write reg, value
movtd \value, %r0
stw %r0, 0, TIMER + \reg, mas=6
.endm

func _start
movtd interrupt, %r0
std %r0, 0, trap_hook
lapic_write 0xf0, 0x1ff                 // enable, spurious vector 255
lapic_write 0x80, 0                     // task priority: everything
ioapic_write 0x10 + 2 * TIMER_PIN + 1, 0
ioapic_write 0x10 + 2 * TIMER_PIN, VECTOR
timer_write 0x00, 10000 << 9            // 1 ms at 10 MHz
timer_write 0x04, 1 << 9
timer_write 0x0c, 7
print "timer: waiting\n"
rrd %psr, %r1
ord %r1, 2, %r1                         // PSR.ie; PSR.uie is off, so UPSR has no say
rwd %r1, %psr
1:
ldd 0, ticks, %r2
cmpbdb %r2, TICKS, %pred0
ibranch 1b ? %pred0
// Masked at the I/O APIC, the count must stand still while the timer goes on.
ioapic_write 0x10 + 2 * TIMER_PIN, VECTOR | 1 << 16
movtd 1000, %r5
2: { subd %r5, 1, %r5 ; cmpedb %r5, 0, %pred0 }   // lets a tick already under way come in
ibranch 2b ? ~%pred0
ldd 0, ticks, %r2
ldw 0, TIMER + 0x1c, %r3, mas=6         // power-on counter, 10 MHz
3:
ldw 0, TIMER + 0x1c, %r4, mas=6
subd %r4, %r3, %r4
andd %r4, 0xffffffff, %r4
cmpbdb %r4, 50000, %pred0               // five periods
ibranch 3b ? %pred0
ldd 0, ticks, %r4
cmpedb %r2, %r4, %pred0
ibranch masked_works ? %pred0
print "timer: FAIL, an interrupt came while masked\n"
exit 1
masked_works:
ldd 0, wrong, %r4
cmpedb %r4, 0, %pred0
ibranch vector_right ? %pred0
print "timer: FAIL, vector or exception "
print_hex %r4
print "\n"
exit 2
vector_right:
print "timer: PASS "
print_dec %r2
print " ticks\n"
exit 0

// Runs in the fresh window trap_entry made.
interrupt:
rrd %tir.hi, %r0
rrd %tir.lo, %r1
shrd %r0, 32, %r2
andd %r2, 1, %r2
ldw 0, LAPIC + 0xff0, %r3, mas=6        // the vector; this acknowledges it
{ cmpedb %r2, 1, %pred0 ; cmpedb %r3, VECTOR, %pred1 }
ord %r0, 1, %r4
std %r4, 0, wrong ? ~%pred0
std %r3, 0, wrong ? ~%pred1
ldd 0, ticks, %r4
addd %r4, 1, %r4
std %r4, 0, ticks
movtd 0, %r5
stw %r5, 0, LAPIC + 0xb0, mas=6
ibranch trap_return

.align 8
ticks: .quad 0
wrong: .quad 0
