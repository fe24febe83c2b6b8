// SPDX-License-Identifier: GPL-2.0-or-later
// A driver that breaks the rules of virtio.  After each offence the device must either answer the
// request with an error or ask for a reset (status bit 6), and work again after the reset.
.include "lib.inc"
.include "virtio-blk.inc"

.equ F_INDIRECT, 28
.equ D_NEXT, 1
.equ D_WRITE, 2
.equ D_INDIRECT, 4
.equ NEEDS_RESET, 0x40
.equ TABLE, DMA + 0x3800                // of an indirect descriptor
.equ OUTSIDE, 0x70000000                // no memory there

.set case_number, 0

// Fill in descriptor N of the table at BASE.
.macro descriptor n, address, length, flags, next, base=DMA_DESC
movtd _f64 (\address), %r14
std %r14, 0, \base + 16 * (\n)
movtd _f64 ((\length) | (\flags) << 32 | (\next) << 48), %r14
std %r14, 0, \base + 16 * (\n) + 8
.endm

// The three descriptors of a good read of one sector.
.macro good_chain
descriptor 0, DMA_HEADER, 16, D_NEXT, 1
descriptor 1, DMA_BUFFER, 512, D_NEXT | D_WRITE, 2
descriptor 2, DMA_STATUS, 1, D_WRITE, 0
.endm

// Name the offence; then submit HEAD, judge, and bring the device back.
.macro offence text
.set case_number, case_number + 1
print "guest: "
print \text
.endm

.macro judge head=0
movtd \head, %b[0]
calls submit
movtd case_number, %b[1]
calls verdict
.endm

func _start
movtd 0, %b[0]
calls pci_find
cmpedb %b[0], 0, %pred0
ibranch no_disk ? %pred0
calls virtio_attach
movtd 0, g_irq_mode
movtd 0, %b[0]
calls recover

offence "a chain that loops"
good_chain
descriptor 1, DMA_BUFFER, 512, D_NEXT | D_WRITE, 1
judge
offence "a head beyond the queue"
good_chain
judge 1000
offence "a next beyond the queue"
good_chain
descriptor 1, DMA_BUFFER, 512, D_NEXT | D_WRITE, 999
judge
offence "an available index far ahead"
good_chain
addd g_next, 500, g_next
judge
offence "data outside memory"
good_chain
descriptor 1, OUTSIDE, 512, D_NEXT | D_WRITE, 2
judge
offence "data at the end of the address space"
good_chain
descriptor 1, 0xfffffffffffff000, 0x2000, D_NEXT | D_WRITE, 2
judge
offence "data in device registers"
good_chain
descriptor 1, LAPIC, 512, D_NEXT | D_WRITE, 2
judge
offence "data of 4 GiB"
good_chain
descriptor 1, DMA_BUFFER, 0xffffffff, D_NEXT | D_WRITE, 2
judge
offence "the header outside memory"
good_chain
descriptor 0, OUTSIDE, 16, D_NEXT, 1
judge
offence "the status outside memory"
good_chain
descriptor 2, OUTSIDE, 1, D_WRITE, 0
judge
offence "a short header"
good_chain
descriptor 0, DMA_HEADER, 8, D_NEXT, 1
descriptor 1, DMA_STATUS, 1, D_WRITE, 0
judge
offence "no status"
good_chain
descriptor 0, DMA_HEADER, 16, 0, 0
judge
offence "a status that cannot be written"
good_chain
descriptor 2, DMA_STATUS, 1, 0, 0
judge
offence "an empty descriptor"
good_chain
descriptor 1, DMA_BUFFER, 0, D_NEXT | D_WRITE, 2
judge
offence "an indirect table of odd length"
descriptor 0, TABLE, 40, D_INDIRECT, 0
judge
offence "an indirect table outside memory"
descriptor 0, OUTSIDE, 48, D_INDIRECT, 0
judge
offence "an indirect table of 4 GiB"
descriptor 0, TABLE, 0xfffffff0, D_INDIRECT, 0
judge
offence "an indirect table in an indirect table"
descriptor 0, TABLE, 48, D_INDIRECT, 0
descriptor 0, TABLE, 48, D_INDIRECT, 0, TABLE
judge
offence "an indirect chain that loops"
descriptor 0, TABLE, 48, D_INDIRECT, 0
descriptor 0, DMA_HEADER, 16, D_NEXT, 1, TABLE
descriptor 1, DMA_BUFFER, 512, D_NEXT | D_WRITE, 1, TABLE
judge
offence "an indirect chain that leaves its table"
descriptor 0, TABLE, 48, D_INDIRECT, 0
descriptor 0, DMA_HEADER, 16, D_NEXT, 30, TABLE
judge

// The queue itself in a bad place.
offence "a queue outside memory"
dev_store b, 0, g_common, C_STATUS
calls wait_reset
dev_store b, 3, g_common, C_STATUS
dev_store w, 1, g_common, C_DRIVER_SELECT
dev_store w, 1, g_common, C_DRIVER_FEATURES
dev_store b, 11, g_common, C_STATUS
dev_store h, 0, g_common, C_QUEUE
dev_store w, OUTSIDE, g_common, C_DESC
dev_store w, OUTSIDE, g_common, C_AVAIL
dev_store w, OUTSIDE, g_common, C_USED
dev_store h, 1, g_common, C_QUEUE_ENABLE
dev_store b, 15, g_common, C_STATUS
dev_store h, 0, g_notify, 0
movtd case_number, %b[1]
movtd 0, %b[0]                          // whatever it makes of this, it must come back
calls verdict

// Things that must simply have no effect.
print "guest: odd register accesses"
dev_store h, 77, g_notify, 0
dev_store w, 0xffffffff, g_notify, 0
dev_store h, 99, g_common, C_QUEUE
ldh g_common, C_QUEUE_SIZE, %r1, mas=6
dev_store h, 1, g_common, C_QUEUE_ENABLE
dev_store h, 0, g_common, C_QUEUE
dev_store b, 0xff, g_common, C_QUEUE_SIZE
ldb g_common, C_QUEUE_SIZE + 1, %r2, mas=6
ldw g_common, 0x800, %r2, mas=6
dev_store w, 0x55aa55aa, g_common, 0x800
dev_store w, 0x55aa55aa, g_device, 0
std,2 %r1, g_common, C_DESC, mas=6
movtd 0, %b[0]
movtd 99, %b[1]
calls verdict
cmpedb %r1, 0, %pred0
ibranch 1f ? %pred0
print "guest: FAIL a queue that does not exist has a size\n"
exit 60
1:
// A reset while a request is on its way; then everything works.
print "guest: reset under way"
movtd 100, %r1
2:
good_chain
movtd 0, %b[0]
calls ring_doorbell
dev_store b, 0, g_common, C_STATUS
calls wait_reset
movtd 0, %b[0]
calls recover
{ subd %r1, 1, %r1 ; cmpedb %r1, 1, %pred0 }
ibranch 2b ? ~%pred0
movtd 0, %b[0]
movtd 98, %b[1]
calls verdict
print "guest: PASS "
print_dec number_of_cases
print " offences\n"
exit 0
no_disk:
print "guest: FAIL no virtio-blk function found\n"
exit 1

func wait_reset
1:
ldb g_common, C_STATUS, %r2, mas=6
cmpedb %r2, 0, %pred0
ibranch 1b ? ~%pred0
ret

func ring_doorbell                      // r0 = head
movtd 0, %r4
stw %r4, 0, DMA_HEADER
stw %r4, 0, DMA_HEADER + 4
std %r4, 0, DMA_HEADER + 8
movtd 255, %r5
stb %r5, 0, DMA_STATUS
andd g_next, g_mask, %r8
shld %r8, 1, %r8
sth %r0, %r8, DMA_AVAIL + 4
addd g_next, 1, g_next
andd g_next, 0xffff, g_next
sth g_next, 0, DMA_AVAIL + 2
wait st_c=1
sth %r4, g_notify, 0, mas=6
ret

// Submit the chain with head r0; r0 := 0 it was answered with an error, 1 the device asks for a
// reset, 2 it was answered as if it were good, 3 nothing happened.
func submit
ldh 0, DMA_USED + 2, %r2
movtd %r0, %b[0]
calls ring_doorbell
movtd 3000000, %r1
1:
ldb g_common, C_STATUS, %r3, mas=6
cmpandedb %r3, NEEDS_RESET, %pred0
{ movtd 1, %r0 ; ibranch 9f ? ~%pred0 }
ldh 0, DMA_USED + 2, %r3
cmpedb %r3, %r2, %pred1
{ subd %r1, 1, %r1 ; cmpedb %r1, 0, %pred2 ; ibranch 2f ? ~%pred1 }
ibranch 1b ? ~%pred2
movtd 3, %r0
ret
2:
ldb 0, DMA_STATUS, %r3
cmpedb %r3, 0, %pred0
movtd 0, %r0
movtd 2, %r0 ? %pred0
9: ret

// Bring the device up and read a sector: r0 := 0 when that works.
func recover
movtd g_config, %b[0]
calls virtio_attach
movtd _f64 (1 << F_FLUSH | 1 << F_INDIRECT), %b[0]
calls blk_start
movtd %b[0], %r0
cmpedb %r0, 0, %pred0
ibranch 9f ? ~%pred0
{ movtd BLK_IN, %b[0] ; movtd 0, %b[1] }
{ movtd DMA_BUFFER, %b[2] ; movtd 512, %b[3] }
calls blk_request
movtd %b[0], %r0
9: ret

func verdict                            // r0 = what submit said, r1 = number of the case
cmpbedb %r0, 1, %pred0
ibranch 1f ? %pred0
print ": FAIL, answer "
print_dec %r0
print "\n"
movtd %r1, %b[0]
calls exit_run
1:
cmpedb %r0, 0, %pred1
ibranch 2f ? %pred1
print ": wants a reset"
2:
calls recover
cmpedb %b[0], 0, %pred0
ibranch 3f ? %pred0
print ": FAIL, does not work afterwards\n"
movtd %r1, %b[0]
calls exit_run
3:
print "\n"
ret

.equ number_of_cases, case_number
