// SPDX-License-Identifier: GPL-2.0-or-later
// A program at user level that writes PSR: exception 1, so the run must end with failure 65.
.org 0x10000
user_start:
setwd wsz=8, nfx=1, dbl=1
movtd 1, %r0
rwd %r0, %psr
movtd 0, %r5                            // not reached: exit(0)
{ setbn rsz=3, rbs=4, rcur=0 }
{ movtd 1, %b[0] ; movtd 0, %b[1] }
sdisp %ctpr1, 3
call %ctpr1, wbs=4
.include "shim.inc"
