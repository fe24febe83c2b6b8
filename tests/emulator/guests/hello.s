// SPDX-License-Identifier: GPL-2.0-or-later
// The smallest guest: a line on the 16550, then a pass through isa-debug-exit.
.include "lib.inc"

func _start
print "Hello from e2k\n"
exit 0
