#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""One damage after the other, each of a kind that check knows: what check tells is what an installed
stock tells; what stock repairs, `check -r all` repairs, and both then find nothing; and where the
guest does not get back what it had, the ranges are named.  What the counts hide we find all the same, and
part it so that neither side loses anything."""

import os
import struct
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from imgcheck import HIDDEN, check, compare_findings, content   # noqa: E402
from imgtest import KiB, MiB, Tap, must, run, stock     # noqa: E402

CLUSTER = 4 * KiB
OFFSET = 0x00fffffffffffe00
COPIED = 1 << 63
BEYOND = 1 << 30            # past the end of every file here
L1, REFTABLE, NB_SNAPSHOTS, SNAPSHOTS, BITMAP_DIR = 40, 48, 60, 64, 136


class Image:
    """An image with data, zeroes, compressed clusters, a snapshot; fields by name."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = bytearray(file.read())
        self.l1, self.reftable = self.get(L1), self.get(REFTABLE)
        self.l2 = self.get(self.l1) & OFFSET
        self.refblock = self.get(self.reftable)
        self.snapshots = self.get(SNAPSHOTS)

    def get(self, at, kind="Q"):
        return struct.unpack_from(f">{kind}", self.bytes, at)[0]

    def put(self, at, value, kind="Q"):
        struct.pack_into(f">{kind}", self.bytes, at, value)

    def change(self, at, function, kind="Q"):
        self.put(at, function(self.get(at, kind)), kind)

    def entry(self, guest):
        """Where the L2 entry of this guest offset is."""
        return self.l2 + guest // CLUSTER * 8

    def host(self, guest):
        return self.get(self.entry(guest)) & OFFSET

    def count(self, host, value):
        self.put(self.refblock + host // CLUSTER * 2, value, "H")

    def new_snapshot_table(self, entries, nb):
        """At the end of the file, which is sparse there: (offset in the table, bytes) each."""
        at = -(-len(self.bytes) // CLUSTER) * CLUSTER
        length = max(offset + len(data) for offset, data in entries)
        self.bytes += bytes(at + length - len(self.bytes))
        for offset, data in entries:
            self.bytes[at + offset:at + offset + len(data)] = data
        self.put(NB_SNAPSHOTS, nb, "I")
        self.put(SNAPSHOTS, at)

    def snapshot(self, extra, name=b"one", l1=None, l1_size=None):
        """An entry for the tree of the snapshot that is there."""
        old = self.snapshots
        head = struct.pack(">QIHHIIQII", l1 or self.get(old), l1_size or self.get(old + 8, "I"), 1,
                           len(name), 1, 0, 0, 0, len(extra))
        data = head + extra + b"1" + name
        return data + bytes(-len(data) % 8)


SLOW_FOR_STOCK = ("too many snapshots", "too large a snapshot table")   # seconds each
KNOWN = struct.pack(">QQQ", 0, MiB, (1 << 64) - 1)


def many_snapshots(image, nb):
    """The first of them has an L1 table, the others begin with zeroes."""
    image.new_snapshot_table([(0, image.snapshot(KNOWN))], nb)


def large_snapshots(image):
    """Names of 64,000 zeroes, until the table is too big."""
    entry = image.snapshot(KNOWN, bytes(64000))
    image.new_snapshot_table([(i * len(entry), entry[:64]) for i in range(1100)], 1100)


# Name, damage, whether all of it is repaired, words that the repair says besides.
DAMAGES = (
    ("refcounts too high", lambda i: i.count(i.host(0), 9), True, ""),
    ("a refcount too low", lambda i: i.put(i.entry(4096), i.get(i.entry(0))), True,
     "doubtful"),
    ("refcounts of zero", lambda i: i.count(i.host(0), 0), True, "Rebuilding"),
    ("leaks", lambda i: i.count(len(i.bytes) - 1, 0) or i.put(i.entry(0), 0), True, ""),
    ("no refcount block", lambda i: i.put(i.reftable, 0), True, "Rebuilding"),
    ("an unaligned refcount block", lambda i: i.put(i.reftable, i.refblock + 512), True,
     "Rebuilding"),
    ("a refcount block past the end", lambda i: i.put(i.reftable + 8, len(i.bytes) + 64 * KiB), True,
     ""),
    ("a refcount block far past the end", lambda i: i.put(i.reftable + 8, BEYOND << 10), True, ""),
    ("a refcount block that is data", lambda i: i.put(i.reftable, i.host(0)), True, "Rebuilding"),
    ("reserved bits in the refcount table", lambda i: i.change(i.reftable, lambda e: e | 1), True,
     "Rebuilding"),
    ("a refcount table past the end", lambda i: i.put(REFTABLE, BEYOND), True, "Rebuilding"),
    ("no refcount table", lambda i: i.put(56, 0, "I"), True, "Rebuilding"),
    ("COPIED missing in L1", lambda i: i.change(i.l1 + 8, lambda e: e ^ COPIED), True, ""),
    ("COPIED missing in L2", lambda i: i.change(i.entry(128 * KiB), lambda e: e ^ COPIED), True, ""),
    ("COPIED of what a snapshot has", lambda i: i.change(i.entry(0), lambda e: e ^ COPIED), True, ""),
    ("COPIED of a compressed cluster", lambda i: i.change(i.entry(256 * KiB), lambda e: e | COPIED),
     True, ""),
    ("an unaligned cluster", lambda i: i.change(i.entry(0), lambda e: e + 512), False,
     "4096 bytes at guest offset 0 is lost"),
    ("an unaligned preallocated cluster", lambda i: i.change(i.entry(0), lambda e: e + 512 | 1),
     True, ""),
    ("a cluster past the end", lambda i: i.put(i.entry(8192), COPIED | BEYOND), False,
     "4096 bytes at guest offset 0x2000 is lost"),
    ("a cluster a little past the end, and no refcounts",
     lambda i: i.put(i.entry(8192), COPIED | len(i.bytes) // CLUSTER * CLUSTER + 10 * CLUSTER) or
     i.count(i.host(0), 0), True, "4096 bytes at guest offset 0x2000 is lost"),
    ("a compressed cluster past the end",
     lambda i: i.put(i.entry(8192), 1 << 62 | BEYOND), False,
     "4096 bytes at guest offset 0x2000 is lost"),
    ("a compressed cluster over data",
     lambda i: i.put(i.entry(256 * KiB), 1 << 62 | i.host(0) + 100), True, "doubtful"),
    ("reserved bits in L2", lambda i: i.change(i.entry(0), lambda e: e | 2), False, ""),
    ("reserved bits in L1", lambda i: i.change(i.l1, lambda e: e | 2), False, ""),
    ("an unaligned L2 table", lambda i: i.change(i.l1, lambda e: e + 512), False, "is lost"),
    ("an L2 table past the end", lambda i: i.put(i.l1, COPIED | BEYOND), False,
     "2097152 bytes at guest offset 0 is lost"),
    ("an L2 table that is data", lambda i: i.put(i.l1, COPIED | i.host(128 * KiB)), False, ""),
    ("an L1 table past the end", lambda i: i.put(L1, BEYOND), False, ""),
    ("an unaligned L1 table of a snapshot",
     lambda i: i.change(i.snapshots, lambda e: e + 512), False, ""),
    ("an endless L1 table of a snapshot",
     lambda i: i.put(i.snapshots + 8, 5 << 20, "I"), False, ""),
    ("an incomplete snapshot",
     lambda i: i.new_snapshot_table([(0, i.snapshot(bytes(8)))], 1), True,
     "Repairing snapshot table entry 0 is incomplete"),
    ("too much extra data of a snapshot",
     lambda i: i.new_snapshot_table([(0, i.snapshot(KNOWN + bytes(3000)))], 1), True,
     "Discarding too much extra metadata in snapshot table entry 0 (3024 > 1024)"),
    ("too many snapshots", lambda i: many_snapshots(i, 65540), True,
     "Discarding 4 overhanging snapshots"),
    ("too large a snapshot table", large_snapshots, True,
     "overhanging snapshots (snapshot table is too big)"),
)
# The same for an image with a bitmap.  A stock that repairs one forgets its snapshots (7.2), so it
# has none.
BITMAP_DAMAGES = (
    ("a bitmap directory past the end", lambda i: i.put(BITMAP_DIR, BEYOND), None, ""),
    ("a bitmap directory that is data", lambda i: i.put(BITMAP_DIR, i.host(128 * KiB)), None, ""),
    ("more bitmaps than there are", lambda i: i.put(120, 2, "I"), None,
     "Less bitmaps found than specified in header extension"),
    ("fewer bitmaps than there are", lambda i: i.put(120, 0, "I"), None, ""),
    ("a bitmap table past the end", lambda i: i.put(i.get(BITMAP_DIR), BEYOND), False, ""),
    ("a bitmap in a data cluster",
     lambda i: i.put(i.get(i.get(BITMAP_DIR)), i.host(0)), True, "doubtful"),
    ("reserved bits in a bitmap table",
     lambda i: i.change(i.get(i.get(BITMAP_DIR)), lambda e: e | 4), False, ""),
)


def also_data(image, guest, table):
    """The table is data of the guest, too, and every count and flag says so."""
    image.put(image.entry(guest), table)
    image.count(table, 2)
    image.change(image.l1, lambda e: e & ~COPIED if e & OFFSET == table else e)


# Stock finds nothing: it looks at the counts, and these are right.  Name, damage, what we say, is it
# repaired?
COUNTED = (
    ("an L2 table is data", "sound", lambda i: also_data(i, 8192, i.l2), "L2 table", True),
    ("an L2 table of a snapshot is data", "sound",
     lambda i: also_data(i, 128 * KiB, i.get(i.get(i.snapshots)) & OFFSET), "L2 table", True),
    ("the L1 table is data", "sound", lambda i: also_data(i, 128 * KiB, i.l1), "L1 table", True),
    ("the L1 table of a snapshot is data", "sound",
     lambda i: also_data(i, 128 * KiB, i.get(i.snapshots)), "L1 table of a snapshot", True),
    ("the snapshot table is data", "sound", lambda i: also_data(i, 128 * KiB, i.snapshots),
     "snapshot table", True),
    ("the refcount table is data", "sound", lambda i: also_data(i, 128 * KiB, i.reftable),
     "refcount table", True),
    ("the bitmap directory is data", "bitmaps", lambda i: also_data(i, 8192, i.get(BITMAP_DIR)),
     "bitmap directory", False),
    ("the header is compressed data", "bitmaps",
     lambda i: i.put(i.entry(8192), 1 << 62 | 64) or i.count(0, 2), "header", False),
)


def make_sound():
    must("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "sound", "1M")
    must("qemu-io", "-f", "qcow2", "-c", "write -q -P 1 0 64k", "-c", "write -q -z 64k 16k",
         "-c", "write -q -c -P 2 256k 4k", "-c", "write -q -c -P 3 260k 4k", "sound")
    must("qemu-img", "snapshot", "-c", "one", "sound")
    # Of its own, past what the snapshot has.
    must("qemu-io", "-f", "qcow2", "-c", "write -q -P 4 128k 64k", "sound")
    must("qemu-img", "resize", "-q", "-f", "qcow2", "sound", "3M")
    must("qemu-io", "-f", "qcow2", "-c", "write -q -P 5 2M 4k", "sound")
    must("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "bitmaps", "1M")
    must("qemu-img", "bitmap", "-f", "qcow2", "--add", "bitmaps", "bitmap")
    must("qemu-io", "-f", "qcow2", "-c", "write -q -P 1 0 256k", "bitmaps")


def compare_repairs(ours):
    """What stock repairs of "theirs" and we of "ours" reads the same, or we say what does not."""
    peer = stock("qemu-img")
    theirs = run(peer, "check", "-f", "qcow2", "-r", "all", "theirs")
    if theirs.status != 0 or check(peer, "theirs").status != 0:
        return None
    if ours.status != 0:
        return f"stock repairs it:\n{theirs}\n{ours}"
    if content("theirs") != content("ours") and " at guest offset " not in ours.text:
        return f"the content differs, nothing is said\n{theirs}\n{ours}"
    return None


def try_damage(sound, name, damage, repaired, words):
    """What is wrong; None if nothing is."""
    image = Image(sound)
    damage(image)
    for copy in ("ours", "theirs"):
        with open(copy, "wb") as file:
            file.write(image.bytes)
    wrong = compare_findings("ours") if stock("qemu-img") else None
    if wrong:
        return wrong
    done = check("qemu-img", "ours", "-r", "all")
    if done.crashed or words not in done.text or \
            (repaired is not None and (done.status == 0) != repaired):
        return f"{done.crashed}\n{done}"
    peer = stock("qemu-img") if name not in SLOW_FOR_STOCK else None
    for tool in filter(None, ("qemu-img", peer if repaired else None)):
        again = check(tool, "ours")
        if repaired and again.status != 0:
            return f"repaired, but:\n{done}\n{again}"
    return compare_repairs(done) if peer else None


def misplaced_in_data_file():
    """What is wrong with how a cluster elsewhere in a data file is met; None if nothing is."""
    must("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k,data_file=apart.data", "apart",
         "1M")
    must("qemu-io", "-f", "qcow2", "-c", "write -q -P 1 0 12k", "apart")
    image = Image("apart")
    image.put(image.entry(4096), image.get(image.entry(8192)))
    with open("apart", "wb") as file:
        file.write(image.bytes)
    done = check("qemu-img", "apart")
    if done.status != 2 or "host offset=0x2000 does not match guest offset=0x1000" not in done.text:
        return f"check: {done}"
    sentence = "External data file host cluster offset 0x2000 does not match guest cluster offset: 0x1000"
    for tool in filter(None, ("qemu-io", stock("qemu-io"))):
        done = run(tool, "-r", "-f", "qcow2", "-c", "read 4k 4k", "apart")
        if sentence not in done.text or "read failed" not in done.text:
            return f"{tool}: {done}"
    # map looks at many clusters at once where it can.
    for tool in filter(None, ("qemu-img", stock("qemu-img"))):
        done = run(tool, "map", "--output=json", "-f", "qcow2", "apart")
        if sentence not in done.text or done.status != 1 or '"offset": 8192' in done.text:
            return f"{tool} map: {done}"
    done = run("qemu-io", "-f", "qcow2", "-c", "write 5k 1k", "-c", "read -P 1 8k 4k", "apart")
    return None if sentence in done.text and "write failed" in done.text else str(done)


def reference_past_all_counts():
    """What is wrong with how snapshots meet a cluster that no refcount could count; None if nothing is."""
    for command in (["-c", "new"], ["-a", "one"], ["-d", "one"]):
        image = Image("sound")
        image.put(image.entry(0), 1 << 50 | 1 << 63)
        with open("ours", "wb") as file:
            file.write(image.bytes)
        done = run("qemu-img", "snapshot", *command, "ours")
        refused = "The reference to a cluster at 0x4000000000000 is damaged; check the image first"
        if done.crashed or (done.status != 0 and refused not in done.text):
            return str(done)
        if check("qemu-img", "ours").crashed:
            return "check crashed"
    return None


def try_counted(sound, damage, table, repaired):
    """What is wrong; None if nothing is."""
    image = Image(sound)
    damage(image)
    with open("ours", "wb") as file:
        file.write(image.bytes)
    views = [()] if sound == "bitmaps" else [(), ("-l", "one")]
    before, found = [content("ours", *view) for view in views], check("qemu-img", "ours")
    sentence = f"ERROR {table} at offset 0x"
    if found.status != 2 or sentence not in found.text or HIDDEN not in found.text:
        return f"not found:\n{found}"
    done = check("qemu-img", "ours", "-r", "all")
    if done.crashed or (done.status == 0) != repaired or \
            [content("ours", *view) for view in views] != before:
        return f"repair: {done.crashed}\n{done}"
    again = check("qemu-img", "ours")
    if (again.status == 0) != repaired or (not repaired and sentence not in again.text):
        return f"repaired, but:\n{done}\n{again}"
    if repaired and stock("qemu-img"):
        theirs = check(stock("qemu-img"), "ours")
        return str(theirs) if theirs.status else None
    return None


def main():
    tap = Tap()
    make_sound()
    for sound, damages in (("sound", DAMAGES), ("bitmaps", BITMAP_DAMAGES)):
        for name, *how in damages:
            wrong = try_damage(sound, name, *how)
            tap.ok(not wrong, name, wrong)
    for name, *how in COUNTED:
        wrong = try_counted(*how)
        tap.ok(not wrong, f"{name}, as the counts say", wrong)
    wrong = reference_past_all_counts()
    tap.ok(not wrong, "snapshots meet a cluster past all counts", wrong)
    wrong = misplaced_in_data_file()
    tap.ok(not wrong, "a cluster of a data file at another's place", wrong)
    return tap.finish()


sys.exit(main())
