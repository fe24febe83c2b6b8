#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/check-records.py on images made here: it must accept and refuse the right ones."""

import importlib.util
import os
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
PROGRAM = os.path.join(HERE, "..", "..", "scripts", "check-records.py")
sys.path.insert(0, HERE)

from tap import Tap                           # noqa: E402

spec = importlib.util.spec_from_file_location("check_records", PROGRAM)
check_records = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_records)

SLOTS = 16
SIZE = 256 * 1024 + 512                       # not a whole number of records
START = 256 * 1024 - SLOTS * 4096


def record(seq, run=1):
    slot = seq % SLOTS
    header = struct.pack("<7Q", check_records.MAGIC, seq, slot, START + slot * 4096,
                         seq // SLOTS, run, SLOTS)
    body = check_records.filler(run, seq).tobytes()
    words = struct.unpack("<512Q", header + bytes(8) + body)
    return header + struct.pack("<Q", check_records.checksum(words)) + body


def image_of(seqs, run=1):
    image = bytearray(SIZE)
    for seq in seqs:
        at = START + seq % SLOTS * 4096
        image[at:at + 4096] = record(seq, run)
    return image


def main():
    tap = Tap()
    folder = tempfile.TemporaryDirectory()
    path = os.path.join(folder.name, "image")

    def case(name, image, status, *options):
        with open(path, "wb") as out:
            out.write(image)
        done = subprocess.run([sys.executable, PROGRAM, "--area", str(SLOTS * 4), *options, path],
                              capture_output=True, text=True, check=False)
        tap.ok(done.returncode == status, name, done.stdout + done.stderr)

    case("a first round is consistent", image_of(range(1, 11)), 0)
    case("a later round is consistent", image_of(range(1, 41)), 0)
    case("bounds are kept", image_of(range(1, 41)), 0, "--min", "40", "--max", "40")
    case("a newest record out of bounds is refused", image_of(range(1, 41)), 1, "--max", "39")
    case("a stale newest record is refused", image_of(range(1, 41)), 1, "--min", "41")
    case("a missing record is refused", image_of(s for s in range(1, 11) if s != 5), 1)
    mixed = image_of(range(1, 41))
    at = START + 30 % SLOTS * 4096
    mixed[at:at + 4096] = record(30 - SLOTS)
    case("a mix of two moments is refused", mixed, 1)
    case("a stale record is accepted after a crash", mixed, 0, "--flushed", "29")
    case("a flushed record that is stale is refused after a crash", mixed, 1, "--flushed", "30")
    torn = image_of(range(1, 41))
    torn[START + 40 % SLOTS * 4096 + 3000] ^= 1
    case("a torn record is refused", torn, 1)
    case("a torn record that was not flushed is accepted after a crash", torn, 0,
         "--flushed", "36")
    torn[START + 30 % SLOTS * 4096 + 3000] ^= 1
    case("a torn record that was flushed is refused after a crash", torn, 1, "--flushed", "36",
         "--ahead", "4")
    case("records of an older run count as nothing", image_of([3], 1), 2, "--run", "2")
    both = image_of(range(1, 41), 1)
    for seq in range(1, 4):
        at = START + seq * 4096
        both[at:at + 4096] = record(seq, 2)
    case("the newest run is taken", both, 0, "--max", "3")
    case("an empty image is no success", bytes(SIZE), 2)
    case("a short image is no success", bytes(4096), 2)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
