// SPDX-License-Identifier: GPL-2.0-or-later
// The demonstration guest: finds the virtio disk, tells what file system is on it, and keeps
// writing numbered, checksummed records to the end of the disk, reading every one back.
//
// Words of the command line (-append), all decimal:
//   records=N   stop after N records; 0 (default) = until a 'q' comes on the serial line
//   area=N      KiB at the end of the disk to write to (4096)
//   flush=N     flush after every N records, then read those back (16)
//   progress=N  tell every N records (256)
//   run=N       number of this run, goes into every record (1)
//   disk=N      which virtio-blk function (0)
//   irq=N       0 polls (default), 1 sleeps until an interrupt by INTx, 2 by MSI-X
//
// Exit value: 0 all well, 1 no disk or it cannot be started, 2 unsuitable options, 3 a request
// failed, 4 a record read back is not what was written.
.include "lib.inc"
.include "virtio-blk.inc"
.include "records.inc"

.reg r_seq, %r0                         // the record to be written next
.reg r_slot, %r1
.reg r_generation, %r2
.reg r_limit, %r3
.reg r_flush, %r4                       // records between flushes
.reg r_unflushed, %r5
.reg r_seen, %r6                        // the record to be verified next
.reg r_seen_slot, %r7
.reg r_progress, %r8
.reg r_next_progress, %r9
.reg r_stop, %r10

.macro get_option target, name, default
ibranch option_over_\@
option_name_\@: .asciz \name
.align 8
option_over_\@:
{ movtd option_name_\@, %b[0] ; movtd \default, %b[1] }
movtd %r15, %b[2]
calls option
movtd %b[0], \target
.endm

// Fail with VALUE unless PREDICATE.
.macro require predicate, value, text
ibranch require_\@ ? \predicate
print "guest: FAIL "
print \text
print "\n"
exit \value
require_\@:
.endm

func _start
addd %r0, BOOT_CMDLINE, %r15
get_option %r14, "disk", 0
movtd %r14, %b[0]
calls pci_find
cmpedb %b[0], 0, %pred0
require ~%pred0, 1, "no virtio-blk function found"
calls virtio_attach
cmpedb %b[0], 0, %pred0
require %pred0, 1, "the function lacks register blocks of the modern interface"
movtd 0, g_irq_mode
get_option %r14, "irq", 0
cmpedb %r14, 0, %pred0
ibranch start ? %pred0
movtd %r14, %b[0]
calls blk_interrupts
cmpedb %b[0], 0, %pred0
require %pred0, 1, "the function has no such interrupt"
start:
movtd 1 << F_FLUSH | 1 << F_RO, %b[0]
calls blk_start
cmpedb %b[0], 0, %pred0
require %pred0, 1, "the device could not be started"
print "guest: disk of "
print_dec g_capacity
print " sectors\n"
calls show_file_system
movtd %b[0], %r13                       // end of the file system, bytes
cmpandedb g_features, 1 << F_RO, %pred0
require %pred0, 2, "the disk is read-only"

get_option r_limit, "records", 0
get_option %r14, "area", 4096
get_option r_flush, "flush", 16
get_option r_progress, "progress", 256
get_option g_run, "run", 1
{ shld g_capacity, 9, %r12 ; shld %r14, 10, %r14 }
{ andd %r12, -RECORD_SIZE, %r12 ; andd %r14, -RECORD_SIZE, %r14 }
cmpbedb %r14, %r12, %pred0
require %pred0, 2, "the area is larger than the disk"
subd %r12, %r14, g_area
shrd %r14, 12, g_slots
cmpbedb g_slots, 1, %pred0
require ~%pred0, 2, "the area holds fewer than two records"
cmpbedb %r13, g_area, %pred0
require %pred0, 2, "the area overlaps the file system"
{ cmpbedb r_flush, g_slots, %pred0 ; cmpedb r_flush, 0, %pred1 }
require %pred0, 2, "more records between flushes than the area holds"
require ~%pred1, 2, "flush=0"
cmpedb r_progress, 0, %pred1
require ~%pred1, 2, "progress=0"
print "guest: run "
print_dec g_run
print ", "
print_dec g_slots
print " slots from byte "
print_dec g_area
print "\n"
{ movtd 1, r_seq ; movtd 1, r_slot ; movtd 0, r_generation }
{ movtd 0, r_unflushed ; movtd 1, r_seen ; movtd 1, r_seen_slot }
{ movtd r_progress, r_next_progress ; movtd 0, r_stop }

write_loop:
movtd DMA_BUFFER, %b[0]
{ movtd r_seq, %b[1] ; movtd r_slot, %b[2] ; movtd r_generation, %b[3] }
calls record_make
{ movtd BLK_OUT, %b[0] ; movtd r_slot, %b[1] }
movtd DMA_BUFFER, %b[2]
calls record_io
{ cmpedb r_seq, r_limit, %pred0 ; addd r_slot, 1, r_slot ; addd r_unflushed, 1, r_unflushed }
{ cmpedb r_slot, g_slots, %pred1 ; addd r_seq, 1, r_seq ; movtd 1, r_stop ? %pred0 }
{ movtd 0, r_slot ? %pred1 ; addd r_generation, 1, r_generation ? %pred1 }
{ cmpedb r_unflushed, r_flush, %pred2 ; cmpedb r_stop, 1, %pred3 }
{ pass %pred2, @p0 ; pass %pred3, @p1 ; andp ~@p0, ~@p1, @p4 ; pass @p4, %pred4 }
ibranch write_loop ? %pred4

movtd 0, r_unflushed
calls disk_flush
verify_loop:                            // everything since the flush before
{ movtd r_seen, %b[0] ; movtd r_seen_slot, %b[1] }
calls record_check
{ addd r_seen, 1, r_seen ; addd r_seen_slot, 1, r_seen_slot }
{ cmpedb r_seen_slot, g_slots, %pred0 ; cmpedb r_seen, r_seq, %pred1 }
{ movtd 0, r_seen_slot ? %pred0 ; ibranch verify_loop ? ~%pred1 }

cmpbedb r_seq, r_next_progress, %pred0
ibranch no_progress ? %pred0
{ subd r_seq, 1, %b[0] ; subd r_seen, 1, %b[1] }
calls show_progress
more_progress:
addd r_next_progress, r_progress, r_next_progress
cmpbedb r_seq, r_next_progress, %pred0
ibranch more_progress ? ~%pred0
no_progress:
calls getc
cmpedb %b[0], 'q', %pred0
movtd 1, r_stop ? %pred0
cmpedb r_stop, 0, %pred0
ibranch write_loop ? %pred0

// Once more through all slots that were written: the newest records are there, each in place.
subd r_seq, g_slots, %r11
cmpldb %r11, 1, %pred0
{ movtd r_slot, %r12 ; movtd 1, %r11 ? %pred0 }
movtd 1, %r12 ? %pred0
final_loop:
{ movtd %r11, %b[0] ; movtd %r12, %b[1] }
calls record_check
{ addd %r11, 1, %r11 ; addd %r12, 1, %r12 }
{ cmpedb %r12, g_slots, %pred0 ; cmpedb %r11, r_seq, %pred1 }
{ movtd 0, %r12 ? %pred0 ; ibranch final_loop ? ~%pred1 }
subd r_seq, 1, %r11
cmpedb g_irq_mode, 0, %pred0
ibranch pass ? %pred0
print "guest: "
print_dec g_irq_count
print " interrupts\n"
pass:
print "guest: PASS "
print_dec %r11
print " records\n"
exit 0

func show_progress                      // r0 = written, r1 = verified
print "guest: "
print_dec %r0
print " records, "
print_dec %r1
print " verified\n"
ret

// Transfer one record: r0 = type, r1 = slot, r2 = buffer; a failure ends the run.
func record_io
{ movtd %r0, %b[0] ; shld %r1, 12, %r4 }
addd %r4, g_area, %r4
{ shrd %r4, 9, %b[1] ; movtd %r2, %b[2] }
movtd RECORD_SIZE, %b[3]
calls blk_request
cmpedb %b[0], 0, %pred0
movtd %b[0], %r5
ibranch 1f ? %pred0
print "guest: FAIL request type "
print_dec %r0
print " at byte "
print_dec %r4
print ": status "
print_dec %r5
print "\n"
exit 3
1: ret

func disk_flush
cmpandedb g_features, 1 << F_FLUSH, %pred0
ibranch 1f ? %pred0
{ movtd BLK_FLUSH, %b[0] ; movtd 0, %b[1] ; movtd 0, %b[2] ; movtd 0, %b[3] }
calls blk_request
cmpedb %b[0], 0, %pred0
movtd %b[0], %r5
ibranch 1f ? %pred0
print "guest: FAIL flush: status "
print_dec %r5
print "\n"
exit 3
1: ret

func record_check                       // r0 = seq, r1 = slot: it must be there, whole
{ movtd BLK_IN, %b[0] ; movtd %r1, %b[1] }
movtd DMA_BUFFER2, %b[2]
calls record_io
movtd DMA_BUFFER2, %b[0]
{ movtd %r0, %b[1] ; movtd %r1, %b[2] }
calls record_verify
cmpedb %b[0], 0, %pred0
movtd %b[0], %r2
ibranch 1f ? %pred0
print "guest: FAIL record "
print_dec %r0
print " in slot "
print_dec %r1
print ": "
cmpedb %r2, 1, %pred1
cmpedb %r2, 2, %pred2
ibranch 2f ? %pred1
ibranch 3f ? %pred2
print "wrong checksum\n"
ibranch 4f
2:
print "no record there\n"
ibranch 4f
3:
print "another record there\n"
4:
exit 4
1: ret

// ---- what is on the disk ---------------------------------------------------------------------
.macro load_bytes reg, offset, count
movtd 0, \reg
.set load_at, \offset + \count - 1
.rept \count
shld \reg, 8, \reg
ldb 0, DMA_BUFFER + load_at, %g17
ord \reg, %g17, \reg
.set load_at, load_at - 1
.endr
.endm

func show_file_system                   // r0 := bytes the file system takes, 0 when unknown
{ movtd BLK_IN, %b[0] ; movtd 0, %b[1] }
{ movtd DMA_BUFFER, %b[2] ; movtd 4096, %b[3] }
calls blk_request
cmpedb %b[0], 0, %pred0
require %pred0, 3, "the first sectors cannot be read"
load_bytes %r1, 1024 + 56, 2
cmpedb %r1, 0xef53, %pred0
ibranch is_ext ? %pred0
load_bytes %r1, 510, 2
cmpedb %r1, 0xaa55, %pred0
ibranch no_fs ? ~%pred0
load_bytes %r1, 0x36, 3
cmpedb %r1, 'F' | 'A' << 8 | 'T' << 16, %pred0
movtd DMA_BUFFER + 0x2b, %r2
ibranch is_fat ? %pred0
load_bytes %r1, 0x52, 3
cmpedb %r1, 'F' | 'A' << 8 | 'T' << 16, %pred0
movtd DMA_BUFFER + 0x47, %r2
ibranch is_fat ? %pred0
no_fs:
print "guest: no file system that I know\n"
movtd 0, %r0
ret

is_ext:
load_bytes %r3, 1024 + 4, 4             // blocks
load_bytes %r4, 1024 + 96, 4            // incompatible features: 0x80 = 64-bit counts
cmpandedb %r4, 0x80, %pred0
ibranch 1f ? %pred0
load_bytes %r4, 1024 + 0x150, 4
shld %r4, 32, %r4
ord %r3, %r4, %r3
1:
load_bytes %r4, 1024 + 24, 4
addd %r4, 10, %r4
movtd 1, %r5
{ shld %r5, %r4, %r5 ; shld %r3, %r4, %r6 }
print "guest: ext file system, label '"
{ movtd DMA_BUFFER + 1024 + 120, %b[0] ; movtd 16, %b[1] }
calls put_field
print "', uuid "
movtd 0, %r7
2:
ldb %r7, DMA_BUFFER + 1024 + 104, %r8
print_hex %r8, 2
addd %r7, 1, %r7
{ cmpedb %r7, 4, %pred0 ; cmpedb %r7, 6, %pred1 }
{ cmpedb %r7, 8, %pred2 ; cmpedb %r7, 10, %pred3 }
{ pass %pred0, @p0 ; pass %pred1, @p1 ; andp ~@p0, ~@p1, @p4
  pass %pred2, @p2 ; pass %pred3, @p3 ; andp ~@p2, ~@p3, @p5
  andp @p4, @p5, @p6 ; pass @p6, %pred4 }
ibranch 3f ? %pred4
print "-"
3:
cmpedb %r7, 16, %pred0
ibranch 2b ? ~%pred0
print ", "
print_dec %r3
print " blocks of "
print_dec %r5
print " bytes\n"
movtd %r6, %r0
ret

is_fat:
load_bytes %r3, 11, 2                   // bytes per sector
load_bytes %r4, 19, 2                   // sectors; 0 = the 32-bit count holds
cmpedb %r4, 0, %pred0
ibranch 4f ? ~%pred0
load_bytes %r4, 32, 4
4:
print "guest: FAT file system, made by '"
{ movtd DMA_BUFFER + 3, %b[0] ; movtd 8, %b[1] }
calls put_field
print "', label '"
{ movtd %r2, %b[0] ; movtd 11, %b[1] }
calls put_field
print "', "
print_dec %r4
print " sectors of "
print_dec %r3
print " bytes\n"
movtd 0, %r0                            // sectors times bytes, by doubling
5:
cmpbedb %r3, 1, %pred0
{ addd %r4, 0, %r0 ? %pred0 ; shld %r4, 1, %r4 ? ~%pred0 ; shrd %r3, 1, %r3 ? ~%pred0 }
ibranch 5b ? ~%pred0
ret
