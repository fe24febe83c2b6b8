#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Check the records that the guest tests/emulator/guests/disk.s left in a raw image.

Says which records are there and whether they are one moment of the guest's history; the format
and the rules are in docs/guest-records.md.  Exit status 0 consistent, 1 not, 2 cannot tell.
"""

import argparse
import os
import struct
import sys
from array import array
from collections import namedtuple

RECORD = 4096
MAGIC = 0x3144524F43455245
MASK = (1 << 64) - 1
SEED = 0x9E3779B97F4A7C15

Record = namedtuple("Record", "magic seq slot position generation run slots sum")


class Unusable(Exception):
    """The check cannot be made."""


def checksum(words):
    """The guest's sum over 512 words, the field itself taken as 0."""
    s1 = s2 = 0
    for i, word in enumerate(words):
        s1 += 0 if i == 7 else word
        s2 += s1
    s1 &= MASK
    return (s2 & MASK) ^ (s1 >> 32 | (s1 << 32) & MASK)


def filler(run, seq):
    """The 504 words after the header."""
    x = (run << 40 & MASK) ^ seq ^ SEED
    words = array("Q")
    for _ in range((RECORD - 64) // 8):
        x ^= x << 13 & MASK
        x ^= x >> 7
        x ^= x << 17 & MASK
        words.append(x)
    return words


def parse(data, run, slot, slots, position):
    """(record, None) or (None, why) of one slot; why is '' when no record was ever there."""
    record = Record(*struct.unpack_from("<8Q", data))
    if record.magic != MAGIC or record.run != run:
        return None, ""
    words = array("Q", data)
    if sys.byteorder == "big":
        words.byteswap()
    if checksum(words) != record.sum:
        return None, f"slot {slot}: record {record.seq} has a wrong checksum"
    if (record.slot, record.slots, record.position) != (slot, slots, position):
        return None, f"slot {slot}: holds a record of slot {record.slot} at {record.position}"
    if record.seq % slots != slot or record.generation != record.seq // slots:
        return None, f"slot {slot}: record {record.seq} does not belong there"
    if words[8:] != filler(run, record.seq):
        return None, f"slot {slot}: the filler of record {record.seq} is wrong"
    return record, None


def find_run(image, start, slots):
    """The highest run number with a valid-looking record."""
    runs = set()
    for slot in range(slots):
        image.seek(start + slot * RECORD)
        record = Record(*struct.unpack("<8Q", image.read(64)))
        if record.magic == MAGIC and record.slot == slot and record.slots == slots:
            runs.add(record.run)
    if not runs:
        raise Unusable("no records were found; are --size and --area those of the guest?")
    return max(runs)


def check_moment(found, newest, slots):
    """Complaints unless FOUND is exactly the state after record NEWEST."""
    bad = []
    for slot in range(slots):
        want = newest - (newest - slot) % slots
        have = found.get(slot)
        if want >= 1 and have != want:
            bad.append(f"slot {slot}: holds {'nothing' if have is None else f'record {have}'}, "
                       f"not record {want}")
    return bad


def check_crash(found, torn, args, slots):
    """Complaints when a record that was flushed, or a later one in its place, is missing.

    A slot may be torn where a record after the last flush can have been on its way.
    """
    bad = []
    last = max(max(found.values()), args.flushed) + args.ahead
    torn_slots = {slot for slot, _ in torn}
    for slot in range(slots):
        want = args.flushed - (args.flushed - slot) % slots
        have = found.get(slot)
        if slot in torn_slots and want + slots <= last:
            continue
        if want >= 1 and (have is None or have < want):
            bad.append(f"slot {slot}: flushed record {want} is "
                       f"{'lost' if have is None else f'older: {have}'}")
    return bad


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("image", help="raw image, as large as the guest's disk")
    parser.add_argument("--area", type=int, default=4096, metavar="KIB", help="area= of the guest")
    parser.add_argument("--size", type=int, help="the guest's disk size in bytes, if not the "
                                                 "image's")
    parser.add_argument("--run", type=int, help="run= of the guest (default: the highest found)")
    parser.add_argument("--min", type=int, default=1, help="the newest record is at least this")
    parser.add_argument("--max", type=int, help="the newest record is at most this")
    parser.add_argument("--flushed", type=int, metavar="N",
                        help="an image after a crash: only ask for the records up to N, which "
                             "were flushed; later ones may be there, be missing or be torn")
    parser.add_argument("--ahead", type=int, default=16, metavar="N",
                        help="flush= of the guest, with --flushed (16)")
    return parser.parse_args()


def read_area(args, image):
    size = args.size or os.fstat(image.fileno()).st_size
    area = args.area * 1024 // RECORD * RECORD
    start = size // RECORD * RECORD - area
    slots = area // RECORD
    if slots < 2 or start < 0:
        raise Unusable(f"an area of {args.area} KiB does not fit {size} bytes")
    if os.fstat(image.fileno()).st_size < start + area:
        raise Unusable(f"the image ends before the area, which is at {start}..{start + area}")
    run = find_run(image, start, slots) if args.run is None else args.run
    found, torn = {}, []
    for slot in range(slots):
        position = start + slot * RECORD
        image.seek(position)
        record, why = parse(image.read(RECORD), run, slot, slots, position)
        if record:
            found[slot] = record.seq
        elif why:
            torn.append((slot, why))
    return run, slots, found, torn


def check(args):
    with open(args.image, "rb") as image:
        run, slots, found, torn = read_area(args, image)
    if not found:
        raise Unusable(f"no record of run {run} was found")
    newest = max(found.values())
    if args.flushed is not None:
        bad = check_crash(found, torn, args, slots)
    else:
        bad = [why for _, why in torn] + check_moment(found, newest, slots)
    if newest < args.min:
        bad.append(f"the newest record is {newest}, older than {args.min}")
    if args.max is not None and newest > args.max:
        bad.append(f"the newest record is {newest}, newer than {args.max}")
    oldest = min(found.values())
    print(f"run {run}: records {oldest}..{newest} in {len(found)} of {slots} slots")
    for line in bad[:20]:
        print(line)
    if len(bad) > 20:
        print(f"and {len(bad) - 20} more")
    print(f"not consistent: {len(bad)} faults" if bad else f"consistent as of record {newest}")
    return 1 if bad else 0


def main():
    args = parse_arguments()
    try:
        return check(args)
    except (Unusable, OSError, struct.error) as error:
        reason = f"cannot read '{args.image}': {error.strerror}" if isinstance(error, OSError) \
            else str(error)
        print(f"check-records.py: {reason}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
