#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged images: random mutations of the samples go through info, check, map, convert and a
write.  Whatever the bytes: no signal, no abort, no hang, no memory beyond a bound, and status 1
comes with words.  $TEST_SEED and $ROUNDS (a factor) are heeded; a find is kept in $MUTANTS, if set."""

import lzma
import os
import shutil
import struct
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from imgtest import MiB, Tap, run, sanitized  # noqa: E402
import seeds                                  # noqa: E402

SAMPLES = os.path.join(HERE, "samples")
NAMES = ("q2-v3", "q2-v2-snap", "q2-cs512", "q2-cs4k", "q2-zero", "q2-zlib-4k", "q2-zstd", "q2-snap",
         "q2-rb1", "q2-rb64-snap", "q2-bitmap", "q2-extl2-16k", "q2-lazy-dirty", "q2-unknown",
         "q2-empty-v3", "q2-shrunk", "q2-luks-comp", "q2-aes", "q2-extdata", "q2-vmstate")
COUNT = int((100 if sanitized() else 200) * float(os.environ.get("ROUNDS", "1")))
SECONDS = 5             # of processor time for one program; it takes a fraction of one
MEMORY = 1024 * MiB     # of address space, of which threads' stacks and libraries take the most
EXTREMES = (0, 1, 2, 0x7f, 0x80, 0xff, 0x200, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
            1 << 40, (1 << 55) + 1, (1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 512,
            (1 << 64) - 1)
HEADER = ((4, 4), (8, 8), (16, 4), (20, 4), (24, 8), (32, 4), (36, 4), (40, 8), (48, 8), (56, 4),
          (60, 4), (64, 8), (72, 8), (80, 8), (88, 8), (96, 4), (100, 4), (104, 1))


class Mutator:
    """Changes an image in a few places where it matters."""

    def __init__(self, rng, image):
        self.rng, self.image = rng, bytearray(image)
        self.bits = min(max(struct.unpack_from(">I", image, 20)[0], 9), 21)

    def put(self, offset, size, value):
        if 0 <= offset <= len(self.image) - size:
            self.image[offset:offset + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "big")

    def get(self, offset, size):
        return int.from_bytes(self.image[offset:offset + size], "big")

    def value(self, old):
        """A number that may hurt: an extreme, a neighbour, a place in the file, another bit."""
        rng = self.rng
        return rng.choice((lambda: rng.choice(EXTREMES), lambda: old + rng.choice((-1, 1, 8, 512)),
                           lambda: rng.randrange(len(self.image)) >> self.bits << self.bits,
                           lambda: rng.randrange(len(self.image)) | 1 << 63,
                           lambda: old ^ (1 << rng.randrange(64)),
                           lambda: rng.getrandbits(64)))()

    def header(self):
        offset, size = self.rng.choice(HEADER)
        self.put(offset, size, self.value(self.get(offset, size)))

    def extension(self):
        """In the first bytes behind the header: extensions, backing file name."""
        offset = 72 + self.rng.randrange(400)
        if self.rng.random() < 0.5:
            self.put(offset, 1, self.rng.getrandbits(8))
        else:
            self.put(offset & ~7, 8, self.value(self.get(offset & ~7, 8)))

    def table(self):
        """In a table that the header points to, or one level below it."""
        base = self.get(self.rng.choice((40, 48, 64)), 8)
        if self.rng.random() < 0.5:
            base = self.get(base, 8) & 0x00fffffffffffe00
        offset = base + 8 * self.rng.choice((0, 1, 2, 3, self.rng.randrange(64)))
        self.put(offset, 8, self.value(self.get(offset, 8)))

    def cut(self):
        del self.image[self.rng.randrange(len(self.image)):]

    def noise(self):
        for _ in range(self.rng.randrange(1, 64)):
            self.put(self.rng.randrange(len(self.image)), 1, self.rng.getrandbits(8))

    def mutant(self):
        actions = (self.header, self.header, self.table, self.table, self.extension, self.noise)
        for _ in range(self.rng.choice((1, 1, 2, 4))):
            self.rng.choice(actions)()
        if self.rng.random() < 0.1:
            self.cut()
        return bytes(self.image)


def commands(rng):
    """What is done to a mutant; most of it each time."""
    yield ["qemu-img", "info", "-f", "qcow2", "mutant"]
    yield ["qemu-img", "check", "-f", "qcow2", "mutant"]
    # The length is bounded, because a damaged size may be petabytes, all of them zeroes.
    yield ["qemu-io", "-r", "-f", "qcow2", "-c", "read 0 1M", "-c", "map", "mutant"]
    if rng.random() < 0.5:
        yield ["qemu-io", "-f", "qcow2", "-c", "write 0 200k", "-c", "discard 64k 64k", "-c",
               "write -z 300k 100k", "-c", "flush", "-c", "truncate 1200k", "mutant"]
        yield ["qemu-img", "check", "-f", "qcow2", "mutant"]
    if os.path.getsize("mutant") > 32 and is_small():
        yield ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "mutant", "out.raw"]


def is_small():
    """The size in the header lets the whole disk be read in time."""
    with open("mutant", "rb") as file:
        return int.from_bytes(file.read(32)[24:32], "big") <= 64 * MiB


def complaint(result):
    """What is wrong with the way it ended; None if nothing is."""
    if result.crashed:
        return result.crashed
    if result.status and not result.text.strip():
        return "failed without a word"
    if result.status not in (0, 1, 2, 3):
        return f"ended with {result.status}"
    return None


def try_mutant(rng, image):
    """Returns (what is wrong, or None; number of programs run)."""
    with open("mutant", "wb") as file:
        file.write(Mutator(rng, image).mutant())
    runs, limit = 0, SECONDS * (10 if sanitized() else 1)
    for words in commands(rng):
        result = run(*words, timeout=SECONDS * 60, memory=MEMORY)
        runs += 1
        wrong = complaint(result)
        if not wrong and result.cpu_seconds > limit:
            wrong = f"took {result.cpu_seconds:.1f} s of processor time"
        if wrong:
            return f"{wrong}\n{result}", runs
    return None, runs


def unpack(name):
    with lzma.open(os.path.join(SAMPLES, name + ".qcow2.xz")) as packed:
        return packed.read()


def keep(label):
    """Save the mutant that failed for whoever looks into it."""
    if os.environ.get("MUTANTS"):
        shutil.copyfile("mutant", os.path.join(os.environ["MUTANTS"], label))


def main():
    tap = Tap()
    for name in NAMES:
        image, wrong, runs, done = unpack(name), None, 0, 0
        for i in range(COUNT // len(NAMES)):
            found, count = try_mutant(seeds.rng(name, i), image)
            runs, done = runs + count, done + 1
            if found:
                keep(f"{name}-{seeds.seed()}-{i}")
                wrong = f"{wrong or ''}mutant {i}: {found}\n"
        tap.ok(not wrong, f"R1 {name}: {done} mutants, {runs} programs survived them", wrong)
    return tap.finish()


sys.exit(main())
