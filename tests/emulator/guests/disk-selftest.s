// SPDX-License-Identifier: GPL-2.0-or-later
// Every kind of virtio-blk request, good and bad, on the last MiB of the first disk.  A check
// that goes wrong ends the run with its number.
.include "lib.inc"
.include "virtio-blk.inc"

.equ CHUNK, 0x10000                     // bytes moved at a time
.equ CHUNK_SECTORS, CHUNK / 512
.equ S_OK, 0
.equ S_IOERR, 1
.equ S_UNSUPP, 2

.reg r_base, %r0                        // first sector of the scratch area

.set check_number, 0
.macro expect a, b
.set check_number, check_number + 1
cmpedb \a, \b, %pred30
ibranch expect_\@ ? %pred30
{ movtd check_number, %b[0] ; movtd \a, %b[1] }
calls failed
expect_\@:
.endm

// A request on the scratch area; SECTOR is an expression with respect to r_base, or a register.
.macro request type, sector, buffer, length, status
{ movtd \type, %b[0] ; addd r_base, \sector, %b[1] }
{ movtd \buffer, %b[2] ; movtd \length, %b[3] }
calls blk_request
expect %b[0], \status
.endm

// A discard or write-zeroes request over COUNT sectors.
.macro range_request type, sector, count, flags, status
addd r_base, \sector, %r14
std %r14, 0, DMA_BUFFER2
movtd _f64 (\count | \flags << 32), %r14
std %r14, 0, DMA_BUFFER2 + 8
{ movtd \type, %b[0] ; movtd 0, %b[1] }
{ movtd DMA_BUFFER2, %b[2] ; movtd 16, %b[3] }
calls blk_request
expect %b[0], \status
.endm

func _start
movtd 0, %b[0]
calls pci_find
movtd %b[0], %r1
cmpedb %r1, 0, %pred0
ibranch no_disk ? %pred0
movtd %r1, %b[0]
calls virtio_attach
expect %b[0], 0
movtd 0, g_irq_mode
movtd 1 << F_FLUSH | 1 << F_DISCARD | 1 << F_WRITE_ZEROES, %b[0]
calls blk_start
expect %b[0], 0
subd g_capacity, 2048, r_base

// Identity.
request BLK_GET_ID, 0, DMA_BUFFER, 20, S_OK
print "guest: id '"
{ movtd DMA_BUFFER, %b[0] ; movtd 20, %b[1] }
calls put_field
print "'\n"

print "guest: write and read\n"
{ movtd 0x1111, %b[0] ; movtd DMA_BUFFER, %b[1] }
calls pattern_make
request BLK_OUT, 0, DMA_BUFFER, CHUNK, S_OK
{ movtd 0x2222, %b[0] ; movtd DMA_BUFFER2, %b[1] }
calls pattern_make                      // so that a read that does nothing is seen
request BLK_IN, 0, DMA_BUFFER2, CHUNK, S_OK
{ movtd 0x1111, %b[0] ; movtd DMA_BUFFER2, %b[1] ; movtd CHUNK, %b[2] }
calls pattern_differs
expect %b[0], 0
// One sector in the middle leaves its neighbours alone.
{ movtd 0x3333, %b[0] ; movtd DMA_BUFFER, %b[1] }
calls pattern_make
request BLK_OUT, 5, DMA_BUFFER, 512, S_OK
request BLK_IN, 0, DMA_BUFFER2, CHUNK, S_OK
{ movtd 0x1111, %b[0] ; movtd DMA_BUFFER2, %b[1] ; movtd 5 * 512, %b[2] }
calls pattern_differs
expect %b[0], 0
{ movtd 0x3333, %b[0] ; movtd DMA_BUFFER2 + 5 * 512, %b[1] ; movtd 512, %b[2] }
calls pattern_differs
expect %b[0], 0
ldd 0, DMA_BUFFER + 8, %r1
request BLK_IN, 6, DMA_BUFFER2, 512, S_OK
{ movtd 0x1111, %b[0] ; movtd DMA_BUFFER, %b[1] }
calls pattern_make
ldd 0, DMA_BUFFER2, %r1
ldd 0, DMA_BUFFER + 6 * 512, %r2
expect %r1, %r2

print "guest: flush\n"
{ movtd BLK_FLUSH, %b[0] ; movtd 0, %b[1] ; movtd 0, %b[2] ; movtd 0, %b[3] }
calls blk_request
expect %b[0], S_OK

print "guest: write zeroes\n"
cmpandedb g_features, 1 << F_WRITE_ZEROES, %pred10
ibranch no_write_zeroes ? %pred10
range_request BLK_WRITE_ZEROES, 8, 8, 0, S_OK
request BLK_IN, 7, DMA_BUFFER, 10 * 512, S_OK
{ movtd DMA_BUFFER + 512, %b[0] ; movtd 8 * 512, %b[1] }
calls not_zero
expect %b[0], 0
{ movtd DMA_BUFFER, %b[0] ; movtd 512, %b[1] }
calls not_zero
expect %b[0], 1
{ movtd DMA_BUFFER + 9 * 512, %b[0] ; movtd 512, %b[1] }
calls not_zero
expect %b[0], 1
range_request BLK_WRITE_ZEROES, 16, 8, 1, S_OK  // may unmap
request BLK_IN, 16, DMA_BUFFER, 8 * 512, S_OK
{ movtd DMA_BUFFER, %b[0] ; movtd 8 * 512, %b[1] }
calls not_zero
expect %b[0], 0
range_request BLK_WRITE_ZEROES, 2044, 8, 0, S_IOERR
range_request BLK_WRITE_ZEROES, 0, 8, 2, S_UNSUPP
no_write_zeroes:

print "guest: discard\n"
cmpandedb g_features, 1 << F_DISCARD, %pred10
ibranch no_discard ? %pred10
range_request BLK_DISCARD, 64, 32, 0, S_OK
range_request BLK_DISCARD, 2044, 8, 0, S_IOERR
range_request BLK_DISCARD, 0, 8, 1, S_UNSUPP
request BLK_IN, 63, DMA_BUFFER, 512, S_OK
{ movtd DMA_BUFFER, %b[0] ; movtd 512, %b[1] }
calls not_zero
expect %b[0], 1                         // beside the discarded range
no_discard:

print "guest: bad requests\n"
request BLK_IN, 2048, DMA_BUFFER, 512, S_IOERR          // behind the end
request BLK_IN, 2047, DMA_BUFFER, 1024, S_IOERR         // across the end
request BLK_OUT, 2047, DMA_BUFFER, 1024, S_IOERR
request BLK_IN, 0, DMA_BUFFER, 100, S_IOERR             // not whole sectors
movtd _f64 0x7ffffffffffffff0, %r3
subd %r3, r_base, %r3
request BLK_IN, %r3, DMA_BUFFER, 512, S_IOERR           // byte offset overflows
request BLK_OUT, %r3, DMA_BUFFER, 512, S_IOERR
{ movtd 0x77, %b[0] ; movtd 0, %b[1] }
{ movtd DMA_BUFFER, %b[2] ; movtd 512, %b[3] }
calls blk_request
expect %b[0], S_UNSUPP
request BLK_IN, 2047, DMA_BUFFER, 512, S_OK             // and it still works

print "guest: reset\n"
{ movtd 0x4444, %b[0] ; movtd DMA_BUFFER, %b[1] }
calls pattern_make
request BLK_OUT, 0, DMA_BUFFER, CHUNK, S_OK
movtd g_config, %b[0]
calls virtio_attach
expect %b[0], 0
movtd 1 << F_FLUSH | 1 << F_DISCARD | 1 << F_WRITE_ZEROES, %b[0]
calls blk_start
expect %b[0], 0
request BLK_IN, 0, DMA_BUFFER2, CHUNK, S_OK
{ movtd 0x4444, %b[0] ; movtd DMA_BUFFER2, %b[1] ; movtd CHUNK, %b[2] }
calls pattern_differs
expect %b[0], 0
{ movtd BLK_FLUSH, %b[0] ; movtd 0, %b[1] ; movtd 0, %b[2] ; movtd 0, %b[3] }
calls blk_request
expect %b[0], S_OK
print "guest: PASS "
print_dec number_of_checks
print " checks\n"
exit 0

no_disk:
print "guest: FAIL no virtio-blk function found\n"
exit 1

func failed                             // r0 = check, r1 = the value found
print "guest: FAIL check "
print_dec %r0
print ", value "
print_hex %r1
print "\n"
movtd %r0, %b[0]
cmpbdb %r0, 63, %pred0
movtd 63, %b[0] ? ~%pred0
calls exit_run

func pattern_make                       // r0 = seed, r1 = address: CHUNK bytes, none of them zero
addd %r1, CHUNK - 8, %r2
movtd 0, %r4
1:
shld %r0, 32, %r3
{ ord %r3, %r4, %r3 ; addd %r4, 8, %r4 }
ord %r3, _f64 0x0101010101010101, %r3
{ std %r3, %r1, 0 ; cmpedb %r1, %r2, %pred0 ; addd %r1, 8, %r1 }
ibranch 1b ? ~%pred0
ret

// r0 = seed, r1 = address, r2 = length: r0 := 0 when it holds the beginning of that pattern.
func pattern_differs
addd %r1, %r2, %r2
movtd 0, %r5
1:
shld %r0, 32, %r3
ord %r3, %r5, %r3
ord %r3, _f64 0x0101010101010101, %r3
ldd %r1, 0, %r4
{ cmpedb %r3, %r4, %pred0 ; addd %r5, 8, %r5 ; addd %r1, 8, %r1 }
ibranch 2f ? ~%pred0
cmpedb %r1, %r2, %pred0
ibranch 1b ? ~%pred0
movtd 0, %r0
ret
2:
movtd 1, %r0
ret

func not_zero                           // r0 = address, r1 = length: r0 := 0 when all is zero
addd %r0, %r1, %r1
movtd 0, %r3
1:
{ ldd %r0, 0, %r2 ; addd %r0, 8, %r0 }
{ ord %r3, %r2, %r3 ; cmpedb %r0, %r1, %pred0 }
ibranch 1b ? ~%pred0
cmpedb %r3, 0, %pred0
movtd 1, %r0
movtd 0, %r0 ? %pred0
ret

.equ number_of_checks, check_number
