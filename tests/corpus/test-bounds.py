#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Images made to cost as much as possible: the largest tables the format allows, tables that name
themselves or one another many thousand times.  These commands end by themselves, within seconds of the
processor's time and 256 MiB beyond what a sound small image takes."""

import errno
import os
import resource
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from imgtest import BUILD, MiB, Tap, must, sanitized  # noqa: E402

SECONDS = 150 if sanitized() else 30     # of the processor; RLIMIT_CPU ends what takes longer
MEMORY = 256 * MiB
CLUSTER = 64 << 10
COPIED = 1 << 63
LOOK = (["info"], ["snapshot", "-l"], ["map", "--output=json", "--max-length=64M"])
COMMANDS = LOOK + (["check"], ["measure", "-O", "qcow2"], ["measure", "-O", "raw"],
                   ["check", "-r", "all"])


class Image:
    """A sparse file to which tables are put; the header comes last."""

    def __init__(self, size, cluster_bits=16):
        self.file = open("image", "wb")
        self.bits, self.header = cluster_bits, {24: ("Q", size)}

    def put(self, offset, entries, times=1):
        """The entries, in a row @times over; little is in memory, for a child begins with that."""
        self.file.seek(offset)
        packed = struct.pack(f">{len(entries)}Q", *entries)
        repeat = max(1, min(times, MiB // len(packed)))
        for _ in range(times // repeat):
            self.file.write(packed * repeat)

    def field(self, offset, kind, value):
        self.header[offset] = (kind, value)

    def tables(self, l1, l1_entries, reftable, reftable_clusters):
        for offset, kind, value in ((36, "I", l1_entries), (40, "Q", l1), (48, "Q", reftable),
                                    (56, "I", reftable_clusters)):
            self.field(offset, kind, value)

    def close(self, length):
        head = bytearray(256)
        struct.pack_into(">II", head, 0, 0x514649fb, 3)
        struct.pack_into(">I", head, 20, self.bits)
        struct.pack_into(">II", head, 96, 4, 112)
        for offset, (kind, value) in self.header.items():
            struct.pack_into(f">{kind}", head, offset,
                             *(value if isinstance(value, tuple) else (value,)))
        self.file.seek(0)
        self.file.write(head)
        self.file.truncate(length)
        self.file.close()


def one_l2_table_for_all():
    """4 Mi entries of L1, all the same L2 table, all of whose entries are the same cluster."""
    image = Image(1 << 50)
    image.put(40 * MiB, [COPIED | 41 * MiB], CLUSTER // 8)
    image.put(4 * MiB, [COPIED | 40 * MiB], 4 << 20)
    image.put(1 * MiB, [2 * MiB])
    image.tables(4 * MiB, 4 << 20, 1 * MiB, 1)
    image.close(42 * MiB)


def the_l1_table_is_its_own_l2():
    image = Image(1 << 50)
    image.put(4 * MiB, [COPIED | 4 * MiB + i * CLUSTER for i in range(512)], 8192)
    image.put(1 * MiB, [2 * MiB])
    image.tables(4 * MiB, 4 << 20, 1 * MiB, 1)
    image.close(36 * MiB)


def one_refcount_block_for_all():
    """A table of 8 MiB that names one block, or itself, a million times."""
    image = Image(64 * MiB)
    image.put(4 * MiB, [2 * MiB, 4 * MiB], 512 << 10)
    image.tables(1 * MiB, 1, 4 * MiB, 128)
    image.close(12 * MiB)


def clusters_as_far_as_can_be():
    """References to the end of the space of addresses, with small clusters."""
    image = Image(4 * MiB, cluster_bits=9)
    image.put(1 * MiB, [COPIED | 2 * MiB + i * 512 for i in range(128)])
    for i in range(128):
        image.put(2 * MiB + i * 512, [COPIED | (1 << 55) + (i << 40) + k * 512 for k in range(64)])
    image.put(3 * MiB, [3 * MiB + 4096])
    image.tables(1 * MiB, 128, 3 * MiB, 1)
    image.close(4 * MiB)


def snapshots_without_end():
    """65,536 entries, each with an L1 table of 32 MiB, all at the same place."""
    image = Image(1 * MiB)
    entry = struct.pack(">QIHHIIQII", 4 * MiB, 4 << 20, 1, 1, 0, 0, 0, 0, 16)
    entry += struct.pack(">QQ", 0, 1 * MiB) + b"ss" + bytes(6)
    image.put(1 * MiB, [2 * MiB])
    image.put(4 * MiB, [5 * MiB], 4 << 20)
    image.file.seek(40 * MiB)
    for _ in range(64):
        image.file.write(entry * 1024)
    image.tables(3 * MiB, 1, 1 * MiB, 1)
    image.field(60, "I", 65536)
    image.field(64, "Q", 40 * MiB)
    image.close(48 * MiB)


def compressed_into_one_place():
    """Each cluster of a large disk is the same stream, as long as can be."""
    image = Image(1 << 40)
    word = 1 << 62 | 0xff << 54 | 5 * MiB + 511
    image.put(4 * MiB, [COPIED | 6 * MiB + i * CLUSTER for i in range(512)])
    for i in range(512):
        image.put(6 * MiB + i * CLUSTER, [word], CLUSTER // 8)
    image.put(1 * MiB, [2 * MiB])
    image.tables(4 * MiB, 2048, 1 * MiB, 1)
    image.close(6 * MiB + 512 * CLUSTER)


def a_million_snapshots():
    """More entries than there may be: none of the commands but a repair opens it."""
    image = Image(1 * MiB)
    entry = struct.pack(">QIHHIIQII", 4 * MiB, 1, 1, 1, 0, 0, 0, 0, 16)
    entry += struct.pack(">QQ", 0, 1 * MiB) + b"ss" + bytes(6)
    image.put(1 * MiB, [2 * MiB])
    image.file.seek(8 * MiB)
    for _ in range(1024):
        image.file.write(entry * 1024)
    image.tables(3 * MiB, 1, 1 * MiB, 1)
    image.field(60, "I", 1 << 20)
    image.field(64, "Q", 8 * MiB)
    image.close(80 * MiB)


def bitmaps_without_end():
    """65,535 entries, all with the same table, all of whose entries are the same cluster."""
    image = Image(1 << 40)
    count, entries = 65535, b""
    image.put(1 * MiB, [2 * MiB])
    image.put(64 * MiB, [8 * MiB], 8192)
    image.file.seek(32 * MiB)
    for i in range(count):
        entries += struct.pack(">QIIBBHI8s", 64 * MiB, 8192, 0, 1, 16, 8, 0, b"b%07d" % i)
        if len(entries) >= MiB or i == count - 1:
            image.file.write(entries)
            entries = b""
    image.field(112, "II", (0x23852875, 24))
    image.field(120, "IIQQ", (count, 0, 32 * count, 32 * MiB))
    image.field(88, "Q", 1)
    image.tables(3 * MiB, 2048, 1 * MiB, 1)
    image.close(65 * MiB)


def the_longest_refcount_table():
    """8 MiB that name a million blocks, each another one, in a file that is one hole."""
    image = Image(64 * MiB)
    for i in range(0, 1 << 20, 1 << 16):
        image.put(4 * MiB + 8 * i, [(i + k) * CLUSTER + 16 * MiB for k in range(1 << 16)])
    image.tables(1 * MiB, 1, 4 * MiB, 128)
    image.close(16 * MiB + (CLUSTER << 20))


def measured(words):
    """(status, seconds of the processor, bytes of memory at most)."""
    def limit():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))

    with subprocess.Popen([os.path.join(BUILD, "qemu-img"), *words, "image"], preexec_fn=limit,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def complaints(make, commands, base):
    """What is wrong with the ways the commands end on the image that @make makes."""
    wrong, most = [], 0
    for words in commands:
        make()
        status, seconds, memory = measured(words)
        most = max(most, memory)
        label = " ".join(words)
        if status < 0:
            wrong.append(f"{label}: ended by signal {-status} after {seconds:.1f} s")
        elif memory > base + MEMORY and not sanitized():
            wrong.append(f"{label}: {memory >> 20} MiB")
    return wrong, most


def main():
    tap = Tap()
    must("qemu-img", "create", "-q", "-f", "qcow2", "image", "1M")
    base = measured(["check"])[2]
    for make in (one_l2_table_for_all, the_l1_table_is_its_own_l2, one_refcount_block_for_all,
                 clusters_as_far_as_can_be, snapshots_without_end, compressed_into_one_place,
                 a_million_snapshots, bitmaps_without_end, the_longest_refcount_table):
        name = f"R1 {make.__name__.replace('_', ' ')}"
        try:
            wrong, most = complaints(make, COMMANDS, base)
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            tap.skip(name, "the file system has no files so large")
            continue
        tap.ok(not wrong, f"{name}: {most >> 20} MiB", "\n".join(wrong))
    return tap.finish()


sys.exit(main())
