// SPDX-License-Identifier: GPL-2.0-or-later
// The processor's own test: each block that goes wrong ends the run with its number.
.include "lib.inc"

.set check_number, 0
// Fail with the number of this check unless register A equals B.
.macro expect a, b
.set check_number, check_number + 1
cmpedb \a, \b, %pred30
ibranch expect_\@ ? %pred30
{ movtd check_number, %b[0] ; movtd \a, %b[1] }
calls failed
expect_\@:
.endm

// Fail unless predicate P is V.
.macro expect_pred p, v
movtd 0, %r15
movtd 1, %r15 ? \p
expect %r15, \v
.endm

func _start
print "selftest: alu\n"
calls test_alu
print "selftest: predicates\n"
calls test_predicates
print "selftest: memory\n"
calls test_memory
print "selftest: loops\n"
calls test_loops
print "selftest: windows\n"
calls test_windows
print "selftest: calls\n"
calls test_calls
print "selftest: user stack\n"
calls test_stack
print "selftest: system entry\n"
calls test_system
print "selftest: traps\n"
calls test_traps
print "selftest: PASS "
print_dec number_of_checks
print " checks\n"
exit 0

func failed                             // r0 = check, r1 = the value found
print "selftest: FAIL check "
print_dec %r0
print ", value "
print_hex %r1
print "\n"
movtd %r0, %b[0]
cmpbdb %r0, 63, %pred0
movtd 63, %b[0] ? ~%pred0
calls exit_run

// ---- arithmetic and literals -----------------------------------------------------------------
func test_alu
movtd _f64 0x0123456789abcdef, %r0
movtd -2, %r1
addd %r0, %r1, %r2
expect %r2, 0x0123456789abcded
subd %r1, 5, %r2
expect %r2, -7
{ andd %r0, 0xff, %r2 ; ord %r0, 0xf0, %r3 ; xord %r0, -1, %r4 }
expect %r2, 0xef
expect %r3, 0x0123456789abcdff
expect %r4, 0xfedcba9876543210
{ shld %r0, 8, %r2 ; shrd %r0, 8, %r3 ; sard %r1, 1, %r4 }
expect %r2, 0x23456789abcdef00
expect %r3, 0x000123456789abcd
expect %r4, -1
{ scld %r0, 4, %r2 ; scrd %r0, 4, %r3 ; andnd %r0, 0xf, %r4 }
expect %r2, 0x123456789abcdef0
expect %r3, 0xf0123456789abcde
expect %r4, 0x0123456789abcde0
sxt 0, 0x80, %r2
expect %r2, -128
sxt 4, %r0, %r2
expect %r2, 0xef
sxt 2, _f32s 0x89abcdef, %r2
expect %r2, 0xffffffff89abcdef
getfd %r0, 8 | 12 << 6, %r2             // 12 bits from bit 8
expect %r2, 0xbcd
// Both sources of a bundle are read before anything is written.
{ movtd %r0, %r1 ; movtd %r1, %r0 }
expect %r0, -2
expect %r1, 0x0123456789abcdef
// Literals of every width, side by side in one bundle.
{ addd 0, 0x1234, %r2 ; addd 0, -2, %r3 ; addd 0, 0x12345678, %r4 ; addd 0, 15, %r5 }
expect %r2, 0x1234
expect %r3, -2
expect %r4, 0x12345678
expect %r5, 15
ret

// ---- compares, conditional execution, predicate logic, merges --------------------------------
func test_predicates
movtd -1, %r0
movtd 1, %r1
cmpldb %r0, %r1, %pred0
expect_pred %pred0, 1
cmpbdb %r0, %r1, %pred1
expect_pred %pred1, 0
cmpledb %r1, 1, %pred2
expect_pred %pred2, 1
cmpbedb %r1, 0, %pred3
expect_pred %pred3, 0
cmpandedb %r1, 2, %pred4
expect_pred %pred4, 1
cmpsdb %r0, 0, %pred5
expect_pred %pred5, 1
{ pass %pred0, @p0 ; pass %pred1, @p1 ; andp @p0, ~@p1, @p4 ; pass @p4, %pred6 }
expect_pred %pred6, 1
{ pass %pred0, @p0 ; pass %pred1, @p1 ; landp @p0, @p1, @p4 ; pass @p4, %pred6 }
expect_pred %pred6, 0
// Two levels: pred7 := (p0 and p2) and not (p1 and p3).
{ pass %pred0, @p0 ; pass %pred2, @p1 ; andp @p0, @p1, @p4
  pass %pred1, @p2 ; pass %pred3, @p3 ; andp @p2, @p3, @p5
  andp @p4, ~@p5, @p6 ; pass @p6, %pred7 }
expect_pred %pred7, 1
{ pass %pred1, @p0 ; pass %pred0, @p1 ; movep @p0, @p1, @p4 ; pass @p4, %pred8 }
cmpedb 0, 1, %pred8
{ pass %pred0, @p0 ; pass %pred2, @p1 ; movep @p0, @p1, @p4 ; pass @p4, %pred8 }
expect_pred %pred8, 1
{ merged %r0, 7, %r2, %pred0 ; merged %r0, 7, %r3, %pred1 }
expect %r2, 7
expect %r3, -1
movtd 3, %r4
{ movtd 4, %r4 ? %pred1 ; movtd 5, %r5 ? ~%pred1 }
expect %r4, 3
expect %r5, 5
// A store whose condition is false must not reach memory, nor may its address matter.
movtd 0, %r6
std %r6, 0, test_area
movtd _f64 0x7fffffffff000000, %r7
std %r0, 0, test_area ? %pred1
std %r0, %r7, 0 ? %pred1
ldd 0, test_area, %r6
expect %r6, 0
// setbp rotates the numbering of the low predicates.
setbp psz=31
cmpedb 0, 0, %pred9
{ nop ; abp abpf=1, abpt=1 }            // no transfer: counts as not taken, pcur steps back
expect_pred %pred10, 1
setbp psz=0
ret

// ---- loads and stores ------------------------------------------------------------------------
func test_memory
movtd test_area, %r0
movtd _f64 0x8899aabbccddeeff, %r1
std %r1, %r0, 0
ldb %r0, 1, %r2
expect %r2, 0xee
ldh %r0, 2, %r2
expect %r2, 0xccdd
ldw %r0, 4, %r2
expect %r2, 0x8899aabb
ldd %r0, 0, %r2
expect %r2, 0x8899aabbccddeeff
stb %r0, %r0, 8
sth %r1, %r0, 2
stw %r1, %r0, 4
ldd %r0, 0, %r2
expect %r2, 0xccddeeffeeffeeff
ldd %r0, 3, %r2                         // unaligned; bytes 8.. are checked below
andd %r2, 0xffffffff, %r2
expect %r2, 0xddeeffee
// Loads of a bundle see memory as it was before the stores of the bundle's later channels.
{ ldd,0 %r0, 0, %r3 ; std,2 %r0, %r0, 0 }
expect %r3, 0xccddeeffeeffeeff
ldd %r0, 0, %r3
expect %r3, test_area
// Physical access (mas 1) reaches the same memory.
ldd,2 %r0, 0, %r3, mas=1
expect %r3, test_area
// An atomic exchange.
movtd 5, %r4
1:
ldd,0 %r0, 0, %r3, mas=7
{ std,2 %r4, %r0, 0, mas=2 ; ibranch 1b ? %MLOCK }
expect %r3, test_area
ldd %r0, 0, %r3
expect %r3, 5
// Self-modified code runs after a flush: replace "movtd 1, %r5" by "movtd 2, %r5".
ldd 0, patch_source, %r6
std %r6, 0, patch_target
stw,2 %r0, 0, 0x20, mas=0x27            // instruction cache flush
ibranch 2f
2:
patch_target: movtd 1, %r5
expect %r5, 2
ret
patch_source: movtd 2, %r5

// ---- loop registers, rotating registers ------------------------------------------------------
func test_loops
movtd 0, %r0
movtd _f64 (1 << 37 | 10), %r1          // vlc, lcnt = 10
rwd %r1, %lsr
disp %ctpr1, 1f
1:
{ addd %r0, 1, %r0 ; alc alcf=1, alct=1 ; ct %ctpr1 ? #NOT_LOOP_END }
expect %r0, 10
// Rotation: after abn, what was %b[0] is %b[2].
setbn rsz=3, rbs=8, rcur=0
movtd 77, %b[0]
{ nop ; abn abnf=1, abnt=1 }
movtd %b[2], %r2
{ nop ; abn abnf=1, abnt=1 }
movtd %b[4], %r3
setbn rsz=7, rbs=8, rcur=0
expect %r2, 77
expect %r3, 77
expect %b[0], 77
// A counted loop over predicates and a plain branch.
movtd 1000, %r2
movtd 0, %r3
2:
{ subd %r2, 1, %r2 ; addd %r3, %r2, %r3 ; cmpedb %r2, 1, %pred0 }
ibranch 2b ? ~%pred0
expect %r3, 500500
ret

// ---- register windows: recursion far deeper than 224 registers -------------------------------
func test_windows
movtd 900, %b[0]
calls sum_down
expect %b[0], 405450
movtd 12, %b[0]
calls fibonacci
expect %b[0], 144
// The caller's registers are untouched by all that.
movtd 11, %r0
movtd 22, %r15
movtd 33, %b[15]
movtd 300, %b[0]
calls sum_down
expect %r0, 11
expect %r15, 22
expect %b[0], 45150
// Registers of the window past the passed ones belong to the callee after a call; the pushed
// part must be intact, as just seen.
ret

func sum_down                           // r0 := r0 + (r0 - 1) + ... + 0
cmpedb %r0, 0, %pred0
ibranch 1f ? %pred0
movtd %r0, %r7
subd %r0, 1, %b[0]
calls sum_down
addd %r7, %b[0], %r0
1: ret

func fibonacci                          // r0 := fibonacci(r0)
cmpbdb %r0, 2, %pred0
ibranch 1f ? %pred0
subd %r0, 1, %b[0]
calls fibonacci
movtd %b[0], %r1
subd %r0, 2, %b[0]
calls fibonacci
addd %r1, %b[0], %r0
1: ret

// ---- calls -----------------------------------------------------------------------------------
func test_calls
// Predicates belong to the procedure.
{ cmpedb 0, 0, %pred0 ; cmpedb 0, 1, %pred1 }
calls clobber
expect_pred %pred0, 1
expect_pred %pred1, 0
// Through a register.
movtd plus_one, %r1
movtd %r1, %ctpr2
movtd 41, %b[0]
call %ctpr2, wbs=8
expect %b[0], 42
// A call whose condition is false falls through.
movtd 1, %b[0]
disp %ctpr1, plus_one
call %ctpr1, wbs=8 ? %pred1
expect %b[0], 1
disp %ctpr1, plus_one
call %ctpr1, wbs=8 ? %pred0
expect %b[0], 2
// Another window base: callee's %r0 is our %r20.
movtd 9, %r20
disp %ctpr3, plus_one
call %ctpr3, wbs=10
expect %r20, 10
// %ip and %nip.
1: rrd %ip, %r2
expect %r2, 1b
ret

func clobber
{ cmpedb 0, 1, %pred0 ; cmpedb 0, 0, %pred1 }
ret

func plus_one
addd %r0, 1, %r0
ret

// ---- the user stack --------------------------------------------------------------------------
func test_stack
rrd %usd.lo, %r0
andd %r0, 0xffffffff, %r0
getsp -64, %r1
addd %r1, 64, %r2
expect %r2, %r0
std %r0, %r1, 0
calls uses_stack
ldd %r1, 0, %r3
expect %r3, %r0
getsp 0, %r2                            // the callee's allocation is gone
expect %r2, %r1
getsp 64, %r2
expect %r2, %r0
ret

func uses_stack
getsp -1024, %r0
std %r0, %r0, 0
ret

// ---- system entry ----------------------------------------------------------------------------
func test_system
rrd %psr, %r1
movtd 5, %b[0]
sdisp %ctpr1, 1
call %ctpr1, wbs=8
expect %b[0], 1005
andd %b[1], 1, %r2
expect %r2, 1                           // privileged inside
rrd %psr, %r2
expect %r2, %r1                         // and as before after it
ret

// ---- traps -----------------------------------------------------------------------------------
.align 8
trap_seen: .quad 0                      // exception bits of the last trap
trap_ip:   .quad 0                      // its address
test_area: .space 64

// Handler: note what happened, skip the bundle at fault and return.
skip_fault:
rrd %tir.hi, %r0
rrd %tir.lo, %r1
rrd %cr0.hi, %r2
std %r0, 0, trap_seen
std %r2, 0, trap_ip
ldw %r2, 0, %r3
{ shrd %r3, 4, %r3 ; addd %r2, 8, %r2 }
andd %r3, 7, %r3
shld %r3, 3, %r3
addd %r2, %r3, %r2
rwd %r2, %cr0.hi
ibranch trap_return

// Run the bundle that follows with traps caught, expect exception BIT.
.macro expect_trap bit
ldd 0, trap_seen, %r14
andd %r14, 0xfffffffffff, %r14
expect %r14, \bit
movtd 0, %r14
std %r14, 0, trap_seen
.endm

func test_traps
movtd skip_fault, %r0
std %r0, 0, trap_hook
movtd 17, %r5
// An all-zero CS1 operation 9 does not exist.
1: .word 0x00008001, 0x90000000
expect_trap 1 << 0
ldd 0, trap_ip, %r1
expect %r1, 1b
// Window bounds: %r63 lies outside 32 registers.
addd %r63, 1, %r6
expect_trap 1 << 9
// Nothing behind this address.
movtd _f64 0x3000000000, %r7
ldd %r7, 0, %r6
expect_trap 1 << 29
std %r6, %r7, 0
expect_trap 1 << 29
// Registers and predicates of the interrupted procedure are whole.
expect %r5, 17
cmpedb 0, 0, %pred3
.word 0x00008001, 0x90000000
expect_trap 1 << 0
expect_pred %pred3, 1
// A speculative load does not trap.
ldd,0,sm %r7, 0, %r6
expect_trap 0
// An unaligned device access does.
movtd UART + 1, %r7
ldw,2 %r7, 0, %r6, mas=6
expect_trap 1 << 19

movtd 0, %r0
std %r0, 0, trap_hook
ret

.equ number_of_checks, check_number
