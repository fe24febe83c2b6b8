#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Repair: samples are damaged in their tables and refcounts, then repaired.

After `check -r all` of a mutant: if we say that all is repaired, a second check, ours and an
installed stock one's, finds nothing; what a guest could read before reads the same; `check -r leaks`
never makes a check worse; and plain findings are stock's, line by line.  $TEST_SEED, $ROUNDS as usual."""

import lzma
import os
import shutil
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from imgcheck import check, compare_findings, content, findings  # noqa: E402
from imgtest import Tap, run, sanitized, stock                   # noqa: E402
import seeds                                                     # noqa: E402

SAMPLES = os.path.join(HERE, "samples")
NAMES = ("q2-v3", "q2-v2-snap", "q2-cs512", "q2-cs4k", "q2-zero", "q2-zlib-4k", "q2-snap", "q2-rb1",
         "q2-rb64-snap", "q2-bitmap", "q2-extl2-16k", "q2-rb2", "q2-rb8", "q2-snap-resized")
COUNT = int((42 if sanitized() else 84) * float(os.environ.get("ROUNDS", "1")))
OFFSET = 0x00fffffffffffe00


class Damage:
    """Changes a few table entries or counts, so that the image still opens."""

    def __init__(self, rng, image):
        self.rng, self.image = rng, bytearray(image)
        self.bits = self.get(20, 4)
        self.l1, self.reftable = self.get(40, 8), self.get(48, 8)

    def get(self, offset, size):
        return int.from_bytes(self.image[offset:offset + size], "big")

    def put(self, offset, size, value):
        if 0 < offset <= len(self.image) - size:
            self.image[offset:offset + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "big")

    def entry(self, old):
        place = self.rng.randrange(len(self.image)) >> self.bits << self.bits
        return self.rng.choice((0, place, place | 1 << 63, old ^ 1 << 63, old + 512, old | 1, old))

    def l2_entry(self):
        tables = [self.get(self.l1 + 8 * i, 8) & OFFSET for i in range(self.get(36, 4))]
        tables = [t for t in tables if t]
        if tables:
            at = self.rng.choice(tables) + 8 * self.rng.randrange(min(64, (1 << self.bits) // 8))
            self.put(at, 8, self.entry(self.get(at, 8)))

    def block(self):
        at = self.reftable + 8 * self.rng.choice((0, 0, 1))
        self.put(at, 8, self.rng.choice((0, self.get(at, 8) ^ 512, 2 << self.bits)))

    def counts(self):
        at = (self.get(self.reftable, 8) & OFFSET) + self.rng.randrange(48)
        for i in range(self.rng.choice((1, 2, 40))):
            self.put(at + i, 1, self.rng.choice((0, 0, self.rng.getrandbits(8))))

    def flag(self):
        at = self.l1 + 8 * self.rng.randrange(max(1, min(4, self.get(36, 4))))
        if self.get(at, 8):
            self.put(at, 8, self.get(at, 8) ^ 1 << 63)

    def damaged(self):
        for _ in range(self.rng.choice((1, 1, 2))):
            self.rng.choice((self.l2_entry, self.l2_entry, self.block, self.counts, self.flag))()
        return bytes(self.image)


def repair(name):
    """Repair @name; what is wrong with the result, or None."""
    before = content(name)
    done = check("qemu-img", name, "-r", "all")
    if done.crashed or done.status not in (0, 1, 2, 3):
        return f"{done.crashed}\n{done}"
    if done.status != 0:
        return None                         # said to be beyond repair
    for tool in filter(None, ("qemu-img", stock("qemu-img"))):
        again = check(tool, name)
        if again.status != 0:
            return f"repaired, but:\n{done}\n{again}"
    if "doubtful" in done.err or "OFLAG_COPIED L2" in done.err:
        return None                         # tables lay in data: the guest is told where
    if before and content(name) != before:
        return f"repair changed what the guest reads\n{done}"
    if not before:
        return None                         # what cannot be read can neither be written
    wrote = run("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 300k", "-c", "read -P 7 0 300k", name)
    after = check("qemu-img", name)
    if "only be opened read-only" in wrote.err:
        return None
    if wrote.status or any(told for told in findings(after) if is_harmful(told)):
        return f"writing after repair:\n{wrote}\n{after}"
    return None


def is_harmful(told):
    """Where two guest clusters had one place, one of them moves away when it is written, and the
    other is then copied once too often: its flag is missing.  Counts past the end of the file are
    seen when it grows over them: leaks."""
    if told.startswith("ERROR OFLAG_COPIED data"):
        return len(told.split("l2_entry=")[1].split()[0]) == 16 or not told.endswith("refcount=1")
    return told.startswith("ERROR")


def try_one(rng, image):
    with open("damaged", "wb") as file:
        file.write(Damage(rng, image).damaged())
    if stock("qemu-img"):
        wrong = compare_findings("damaged")
        if wrong:
            return wrong
    shutil.copyfile("damaged", "leaks")
    before, leaks = check("qemu-img", "damaged"), check("qemu-img", "leaks", "-r", "leaks")
    if leaks.crashed or (before.status == 3 and leaks.status != 0):
        return f"-r leaks:\n{before}\n{leaks}"
    return repair("damaged")


def main():
    tap = Tap()
    for name in NAMES:
        with lzma.open(os.path.join(SAMPLES, name + ".qcow2.xz")) as packed:
            image = packed.read()
        wrong, done = None, 0
        for i in range(COUNT // len(NAMES)):
            found = try_one(seeds.rng(name, i), image)
            done += 1
            if found:
                wrong = f"{wrong or ''}{name} {i}: {found}\n"
        tap.ok(not wrong, f"{name}: {done} damaged images", wrong)
    return tap.finish()


sys.exit(main())
