# SPDX-License-Identifier: GPL-2.0-or-later
"""The operation table (target/e2k/ops.def, which the decoder reads too), special registers."""

import os
import re
from collections import namedtuple

from .errors import AsmError

Form = namedtuple("Form", "name form opcode channels sizes opce1 cmpop page lo mas minver maxver")

DEFAULT_TABLE = os.path.join(os.path.dirname(__file__), "..", "..", "target", "e2k", "ops.def")

ARCHES = {"v2": 2, "v3": 3, "v4": 4, "v5": 5, "v6": 6,
          "e2c+": 2, "e2s": 3, "e8c": 4, "e8c2": 5, "e16c": 6}

# Destination bytes 0xd1..0xd3 name the transfer registers, the next ones the type converters.
SPECIAL_DST = {"ctpr1": 0xd1, "ctpr2": 0xd2, "ctpr3": 0xd3,
               "tst": 0xcd, "tc": 0xce, "tcd": 0xcf, "empty": 0xdf}

STATE_REGS = {
    0x00: "psr", 0x01: "wd", 0x04: "core_mode", 0x06: "cwd", 0x07: "psp.hi", 0x09: "psp.lo",
    0x0b: "pshtp", 0x0d: "pcsp.hi", 0x0f: "pcsp.lo", 0x13: "pcshtp", 0x15: "ctpr1",
    0x16: "ctpr2", 0x17: "ctpr3", 0x1e: "sbr", 0x21: "cutd", 0x23: "eir", 0x25: "cuir",
    0x26: "oscud.hi", 0x27: "oscud.lo", 0x28: "osgd.hi", 0x29: "osgd.lo", 0x2a: "osem",
    0x2c: "usd.hi", 0x2d: "usd.lo", 0x2f: "osr0", 0x30: "cud.hi", 0x31: "cud.lo",
    0x32: "gd.hi", 0x33: "gd.lo", 0x34: "cs.hi", 0x35: "cs.lo", 0x36: "ds.hi", 0x37: "ds.lo",
    0x38: "es.hi", 0x39: "es.lo", 0x3a: "fs.hi", 0x3b: "fs.lo", 0x3c: "gs.hi", 0x3d: "gs.lo",
    0x3e: "ss.hi", 0x3f: "ss.lo", 0x40: "dibcr", 0x41: "dimcr", 0x42: "dibsr", 0x43: "dtcr",
    0x48: "dibar0", 0x49: "dibar1", 0x4a: "dibar2", 0x4b: "dibar3", 0x4c: "dimar0",
    0x4d: "dimar1", 0x4e: "dtarf", 0x4f: "dtart", 0x51: "cr0.hi", 0x53: "cr0.lo",
    0x55: "cr1.hi", 0x57: "cr1.lo", 0x70: "sclkm1", 0x71: "sclkm2", 0x78: "cu_hw0",
    0x79: "cu_hw1", 0x80: "upsr", 0x81: "ip", 0x82: "nip", 0x83: "lsr", 0x84: "pfpfr",
    0x85: "fpcr", 0x86: "fpsr", 0x87: "ilcr", 0x88: "br", 0x89: "bgr", 0x8a: "idr",
    0x90: "clkr", 0x91: "rndpr", 0x92: "sclkr", 0x9c: "tir.hi", 0x9d: "tir.lo",
    0xa0: "rpr.lo", 0xa1: "sbbp", 0xa2: "rpr.hi", 0xc0: "upsrm", 0xc3: "lsr1", 0xc7: "ilcr1",
}
STATE_REG_NUMBER = {name: number for number, name in STATE_REGS.items()}

# Channel pairs over which a 128-bit operation is spread, by the channels its halves may use.
QUAD_PAIRS = {"0134": ((0, 1), (3, 4)), "01": ((0, 1),), "0235": ((0, 2), (3, 5)),
              "25": ((2, 5),), "03": ()}


# { FORM, "channels", "sizes", page, opce1, compare, ales, flags, first, last, "name=opcode ..." }
GROUP = re.compile(r'\{\s*(\w+)\s*,\s*"(\d+)"\s*,\s*"(\w+)"\s*,([^"{}]*),((?:\s*"[^"]*")+)\s*\}')


def _number(text):
    return None if text.strip() == "ANY" else int(text, 0)


class OpTable:
    """All operations by name; one name may have several forms (versions, channels)."""

    def __init__(self, path=None):
        self.forms = {}
        with open(path or DEFAULT_TABLE, encoding="ascii") as table:
            text = re.sub(r"/\*.*?\*/", "", table.read(), flags=re.S)
        found = 0
        for m in GROUP.finditer(text):
            self._add_group(*m.groups())
            found += 1
        if found != text.count("{") or not found:
            raise AsmError("the operation table has a group this program cannot read", path)

    def _add_group(self, form, channels, sizes, facts, names):
        page, opce1, cmpop, ales, flags, first, last = (f.strip() for f in facts.split(","))
        lo = _number(ales)
        for pair in "".join(re.findall(r'"([^"]*)"', names)).split():
            name, _, opcode = pair.partition("=")
            self.forms.setdefault(name, []).append(
                Form(name, form, int(opcode, 16), tuple(int(c) for c in channels), sizes,
                     _number(opce1), _number(cmpop), _number(page) or None,
                     0xc0 if lo is None else lo, "MAS" in flags,
                     int(first), int(last)))

    def __contains__(self, name):
        return name in self.forms

    def lookup(self, name, version):
        """The forms of NAME on VERSION of the instruction set, at least one."""
        forms = [f for f in self.forms[name] if f.minver <= version <= f.maxver]
        if not forms:
            raise AsmError(f"'{name}' does not exist in version {version} of the instruction set")
        return forms
