#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The assembler against the vectors, and its language and error messages."""

import gzip
import os
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
SCRIPTS = os.path.join(HERE, "..", "..", "scripts")
sys.path[:0] = [HERE, SCRIPTS]

from bundle_form import Malformed, form       # noqa: E402
from e2kas import expr, ops, table                # noqa: E402
from e2kas.errors import AsmError             # noqa: E402
from tap import Tap                           # noqa: E402


# ---- vectors ----------------------------------------------------------------------------------
def check_vectors(tap):
    """Every source column must assemble to the words given, or to an equivalent bundle."""
    op_table = table.OpTable()
    rows = same = 0
    wrong = []
    with gzip.open(os.path.join(HERE, "data", "vectors.tsv.gz"), "rt") as vectors:
        for line in vectors:
            if line.startswith("#"):
                continue
            version, address, _, words, _, source = line.rstrip("\n").split("\t")
            rows += 1
            try:
                got = encode(op_table, int(version[1:]), int(address, 16), source)
                want = [int(word, 16) for word in words.split()]
                same += got == want
                if got != want and form(got) != form(want):
                    wrong.append(f"{version} {source}: {words}, not "
                                 + " ".join(f"{word:08x}" for word in got))
            except (AsmError, Malformed) as error:
                wrong.append(f"{version} {source}: {error}")
    tap.ok(rows > 4700, "vectors are all there", f"only {rows} rows")
    tap.ok(not wrong, f"{rows} vectors assemble ({same} word for word)", "\n".join(wrong[:20]))


def encode(op_table, version, address, source):
    context = ops.Context(op_table, version, {"f0": 0},
                          lambda text: expr.parse(text, address))
    statements = [(text.strip(), None) for text in source.split(" ; ")]
    return ops.build(statements, context).words(address, context.symbols)


def check_forms_differ(tap):
    """The comparison itself must tell bundles apart."""
    op_table = table.OpTable()
    base = "addd,0 %r1, 0x1234, %r2 ? %pred1"
    others = ["addd,0 %r1, 0x1235, %r2 ? %pred1", "addd,1 %r1, 0x1234, %r2 ? %pred1",
              "addd,0 %r1, 0x1234, %r3 ? %pred1", "addd,0 %r1, 0x1234, %r2 ? ~%pred1",
              "addd,0 %r1, 0x1234, %r2", "subd,0 %r1, 0x1234, %r2 ? %pred1"]
    reference = form(encode(op_table, 4, 0, base))
    equal = [text for text in others if form(encode(op_table, 4, 0, text)) == reference]
    tap.ok(not equal, "a different bundle compares as different", "\n".join(equal))
    wide = form(encode(op_table, 4, 0, "addd,0 %r1, _f64 0x1234, %r2 ? %pred1"))
    tap.ok(wide == reference, "a wider literal of equal value compares as equal")


# ---- language ---------------------------------------------------------------------------------
class Sandbox:
    """Runs the program on source text in a folder that disappears."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.source = os.path.join(self.folder.name, "t.s")
        self.output = os.path.join(self.folder.name, "t.out")

    def run(self, text, *options):
        with open(self.source, "w", encoding="utf-8") as out:
            out.write(text)
        if os.path.exists(self.output):
            os.unlink(self.output)
        program = os.path.join(SCRIPTS, "e2k-as.py")
        done = subprocess.run([sys.executable, program, "-o", self.output, *options, self.source],
                              capture_output=True, text=True, check=False)
        image = b""
        if os.path.exists(self.output):
            with open(self.output, "rb") as out:
                image = out.read()
        return done.returncode, done.stderr.replace(self.folder.name + "/", ""), image


FLAT_CASES = [
    ("data directives", ".org 0x100\n.byte 1, -1, 'A'\n.half 0x1234\n.align 8\n.word 5\n.quad -2",
     b"\x01\xff\x41\x34\x12\0\0\0\x05\0\0\0" + struct.pack("<q", -2)),
    ("strings", '.ascii "a;{}//\\n"\n.asciz "\\x41\\""', b'a;{}//\nA"\0'),
    ("expressions", ".quad (1 + 2) * 3 << 4 | 1 ^ 3, ~0 & 0xff, -7 / 2, end - . \nend:",
     struct.pack("<4q", 9 << 4 | 1 ^ 3, 255, -3, 32)),
    ("forward .equ", ".equ a, b + 1\n.word a\n.equ b, 6", b"\x07\0\0\0"),
    (".if and .rept", ".rept 3\n.byte 7\n.endr\n.if 1 - 1\n.byte 1\n.else\n.byte 2\n.endif",
     b"\7\7\7\2"),
    ("macros", ".macro m x, y=4\n.byte \\x, \\y, \\@\n.endm\nm 1\nm 2, 3\n", b"\1\4\1\2\3\2"),
    ("local labels", "1: .word 1f - 1b\n1: .word 1b\n", b"\4\0\0\0\4\0\0\0"),
    (".set redefines", ".set n, 1\n.byte n\n.set n, n + 1\n.byte n", b"\1\2"),
    ("comments", "// one\n.byte 1 /* two\n three */\n.byte 2 // {", b"\1\2"),
]


def check_language(tap, box):
    for name, text, want in FLAT_CASES:
        status, errors, image = box.run(text, "-f", "flat")
        tap.ok(status == 0 and image == want, name, f"{errors}{image!r}, not {want!r}")
    one = box.run("{ addd %r1, %r2, %r3\n subd %r4, %r5, %r6 }", "-f", "flat")[2]
    two = box.run("{ addd,0 %r1, %r2, %r3 ; subd,1 %r4, %r5, %r6 }", "-f", "flat")[2]
    tap.ok(one == two and len(one) == 16, "channels are chosen where none is given", one.hex())
    load = box.run("ldw [ %r1 + 4 ], %r2, mas=6", "-f", "flat")[2]
    tap.ok(load == box.run("ldw,2 %r1, 4, %r2, mas=0x6", "-f", "flat")[2] and load,
           "a device load goes to channel 2", load.hex())
    quoted = box.run("movtd '?', %r1 ? %pred1", "-f", "flat")[2]
    tap.ok(quoted and quoted == box.run("movtd 63, %r1 ? %pred1", "-f", "flat")[2],
           "a quoted question mark starts no condition", quoted.hex())
    named = box.run(".reg n, %r9\naddd n, 1, n", "-f", "flat")[2]
    tap.ok(named == box.run("addd %r9, 1, %r9", "-f", "flat")[2], "registers can be named")


def check_elf(tap, box):
    text = ".org 0x10000\n.quad 1\n.org 0x40000\n_start: nop\n"
    status, errors, image = box.run(text)
    tap.ok(status == 0 and image[:4] == b"\x7fELF", "an ELF file is made", errors)
    kind, machine, _, entry, phoff = struct.unpack_from("<HHIQQ", image, 16)
    tap.ok((kind, machine, entry) == (2, 175, 0x40000), "its header names e2k and the entry",
           f"{kind} {machine} {entry:#x}")
    loads = [struct.unpack_from("<IIQQQQQQ", image, phoff + 56 * i) for i in range(2)]
    good = all(p[0] == 1 and p[2] % 4096 == p[4] % 4096 and p[5] == 8 for p in loads)
    tap.ok(good and [p[4] for p in loads] == [0x10000, 0x40000], "each .org becomes a PT_LOAD",
           str(loads))


ERROR_CASES = [
    ("frob %r1, %r2", "t.s:1: error: unknown operation 'frob'"),
    ("\nldd %r1, %r2", "t.s:2: error: 'ldd' takes 3 operands, not 2"),
    ("addd 40, %r1, %r2", "t.s:1: error: the first source takes a register or 0..31, not 40"),
    ("addd,1 %r1, nowhere, %r2", "t.s:1: error: undefined symbol 'nowhere'"),
    ("{ addd,0 %r1, %r2, %r3\nsubd,0 %r1, %r2, %r3 }",
     "t.s:2: error: no channel is free for 'subd'"),
    ("a:\na:", "t.s:2: error: 'a' is defined twice"),
    (".byte 256", "t.s:1: error: 256 = 0x100 does not fit 1 bytes"),
    ("{ nop", "t.s:1: error: this bundle is not closed"),
    (".byte 1\nnop", "t.s:2: error: code must start on an 8-byte boundary; use .align 8"),
    (".macro m a\nfrob \\a\n.endm\n\nm 3", "t.s:2: error: unknown operation 'frob'"),
    ("disp %ctpr1, 4", "t.s:1: error: '4' is not on an 8-byte boundary"),
    ("addd %r64, %r1, %r2", "t.s:1: error: register %r64 does not exist"),
    ("ct %ctpr1 ? %pred1 && #LOOP_END", "is not a condition"),
    ("ldqp %r1, %r2, %r3", "t.s:1: error: 'ldqp' does not exist in version 4 of the "
                           "instruction set"),
    (".include \"none\"", "t.s:1: error: cannot find 'none'"),
    (".if 1\n", "t.s:1: error: .if has no .endif"),
    (".equ a, a + 1\n.byte a", "refers to itself"),
    ("stw,2 5, %r1, %r2", "t.s:1: error: this operand must be a register, not '5'"),
]


def check_errors(tap, box):
    for text, want in ERROR_CASES:
        status, errors, image = box.run(text)
        good = status == 1 and want in errors and errors.count("\n") == 1 and not image
        tap.ok(good, f"refused: {want.rpartition('error: ')[2]}", f"status {status}: {errors}")


def main():
    tap = Tap()
    check_vectors(tap)
    check_forms_differ(tap)
    box = Sandbox()
    check_language(tap, box)
    check_elf(tap, box)
    check_errors(tap, box)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
