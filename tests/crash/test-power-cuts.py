#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Power cuts.  Random requests go through qemu-io to a qcow2 image while all that reaches the file
is recorded, by blklogwrites or by the preloaded tests/lib/ioshim.c (which sees truncation, too).
Then, for each moment, files are built that a cut could leave: all that was flushed, and of the rest
all, some writes, or some of their 512-byte sectors.  Each must check with leaks at most and hold
what the last acknowledged flush promised.  $TEST_SEED and $ROUNDS (a factor) are heeded."""

import os
import struct
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from imgtest import History, KiB, MiB, QemuIo, Tap, must, run, shim, stock  # noqa: E402
import seeds                                                                # noqa: E402

ROUNDS = float(os.environ.get("ROUNDS", "1"))
SECTOR = 512
LANES = 4          # requests in flight at a time, each in its part of the disk
BACKING = 0xba
# Name, options of create, bytes of disk, over a backing file, batches, recorder.
CASES = (
    ("64k clusters", ["-o", "cluster_size=64k"], 1 * MiB, False, 40, "ioshim"),
    ("4k clusters", ["-o", "cluster_size=4k"], 512 * KiB, False, 50, "blklogwrites"),
    ("512 byte clusters", ["-o", "cluster_size=512"], 512 * KiB, False, 50, "ioshim"),
    ("512 byte clusters, 64-bit refcounts", ["-o", "cluster_size=512,refcount_bits=64"],
     512 * KiB, False, 40, "ioshim"),
    ("version 2", ["-o", "cluster_size=4k,compat=v2"], 512 * KiB, False, 40, "ioshim"),
    ("64k clusters over a backing file",
     ["-o", "cluster_size=64k", "-b", "base.raw", "-F", "raw"], 1 * MiB, True, 40, "blklogwrites"),
    ("4k clusters over a backing file",
     ["-o", "cluster_size=4k", "-b", "base.raw", "-F", "raw"], 512 * KiB, True, 40, "ioshim"),
)


class Entry:
    """What happened to the file: kind (as in ioshim.c), where, data, and the log's length then."""

    def __init__(self, kind, offset, length, data, end):
        self.kind, self.offset, self.length, self.data, self.end = kind, offset, length, data, end


# ---- reading logs ----------------------------------------------------------------------------------

def read_shim_log(path):
    with open(path, "rb") as file:
        log = file.read()
    entries, at = [], 0
    while at < len(log):
        kind, offset, length = struct.unpack_from("<QQQ", log, at)
        at += 24
        data = log[at:at + length] if kind == ord("w") else None
        at += length if kind == ord("w") else 0
        entries.append(Entry(chr(kind), offset, length, data, at))
    return entries


def read_dm_log(path):
    """The format of dm-log-writes: a superblock, then headers with their data, all in sectors."""
    with open(path, "rb") as file:
        log = file.read()
    magic, version, count, size = struct.unpack_from("<QQQI", log, 0)
    assert (magic, version) == (0x6a736677736872, 1), "no log of writes"
    entries, at = [], size
    for _ in range(count):
        sector, length, flags, data_len = struct.unpack_from("<QQQQ", log, at)
        at += size
        offset, length = sector * size, length * size
        if flags & 8:  # a mark
            at += data_len
        elif flags & 4:
            entries.append(Entry("z", offset, length, None, at))
        elif length:
            entries.append(Entry("w", offset, length, log[at:at + length], at + length))
            at += length
        if flags & 3:  # a flush before what follows, or a write that is flushed at once
            entries.append(Entry("f", 0, 0, None, at))
    return entries


# ---- recording -------------------------------------------------------------------------------------

class Workload:
    """Random requests, and the books on them."""

    def __init__(self, rng, size, initial):
        self.rng, self.sectors = rng, size // SECTOR
        self.history = History(self.sectors, initial)
        self.value = 0

    def range_in(self, lane):
        part = self.sectors // LANES
        count = min(self.rng.choice((1, 3, 8, 16, 64, 128)), part)
        first = lane * part + self.rng.randrange(part - count + 1)
        if self.rng.random() < 0.4:  # whole clusters of 4k, so that some are freed
            first, count = first // 8 * 8, (count + 7) // 8 * 8
            count = min(count, (lane + 1) * part - first)
        return first, count

    def request(self, io, lane, now):
        """Start one; its record, or None if nothing is ever certain about it."""
        first, count = self.range_in(lane)
        where = f"{first * SECTOR} {count * SECTOR}"
        dice = self.rng.random()
        if dice < 0.12:
            self.history.discard(first, count, now)
            io.ask(f"discard -q {where}")
            return None
        if dice < 0.3:
            io.ask(f"aio_write -q -z -u {where}")
            return self.history.begin(first, count, 0, now)
        self.value = self.value % 250 + 1
        io.ask(f"aio_write -q -P {self.value} {where}")
        return self.history.begin(first, count, self.value, now)

    def batch(self, io, clock):
        """Several requests at a time; sometimes a flush.  @clock() tells the time."""
        now = clock()
        records = [self.request(io, lane, now) for lane in range(LANES)]
        io.ask("aio_flush")
        now = clock()
        for record in filter(None, records):
            self.history.end(record, now)
        if self.rng.random() < 0.3:
            io.ask("flush")
            self.history.flushed(now, clock())


def record(case, rng):
    """Run the workload on a new image; returns (its history, image before, entries)."""
    _, options, size, backed, batches, recorder = case
    # By its full name, because a node made of options has no folder of its own.
    options = [os.path.abspath(word) if word == "base.raw" else word for word in options]
    must("qemu-img", "create", "-q", "-f", "qcow2", *options, "disk.qcow2", str(size))
    with open("disk.qcow2", "rb") as file:
        before = bytearray(file.read())
    with open("log", "wb"):
        pass
    if recorder == "ioshim":
        io = QemuIo("-f", "qcow2", "-d", "unmap", "disk.qcow2", env=shim("disk.qcow2", log="log"))
    else:
        io = QemuIo("-d", "unmap", "--image-opts", "driver=qcow2,file.driver=blklogwrites,"
                    "file.file.driver=file,file.file.filename=disk.qcow2,file.log.driver=file,"
                    "file.log.filename=log,file.log-super-update-interval=1")
    work = Workload(rng, size, BACKING if backed else 0)
    for _ in range(batches):
        work.batch(io, lambda: os.path.getsize("log"))
    result = io.close()
    if result.status != 0:
        raise RuntimeError(str(result))
    entries = (read_shim_log if recorder == "ioshim" else read_dm_log)("log")
    return work.history, before, entries


# ---- building what a cut leaves --------------------------------------------------------------------

def extend(image, length):
    if length > len(image):
        image.extend(bytes(length - len(image)))


def apply(image, entry, keep=None):
    """Carry out @entry; of its sectors only those for which @keep() is true."""
    if entry.kind == "t":
        extend(image, entry.length)
        del image[entry.length:]
    elif entry.kind == "e":
        extend(image, entry.length)
    elif entry.kind in "wz":
        at, end = entry.offset, entry.offset + entry.length
        if entry.kind == "z":
            end = min(end, len(image))
        while at < end:
            part = end - at if not keep else min(end - at, SECTOR - at % SECTOR)
            if not keep or keep():
                extend(image, at + part)
                start = at - entry.offset
                image[at:at + part] = entry.data[start:start + part] if entry.data else bytes(part)
            at += part


def variants(rng, durable, window):
    """Images that a cut may leave when @window came after the last flush."""
    image = bytearray(durable)
    for entry in window:
        apply(image, entry)
    yield image
    if len(window) < 1:
        return
    image = bytearray(durable)       # whole writes, any of them
    for entry in window:
        if rng.random() < 0.5:
            apply(image, entry)
    yield image
    image = bytearray(durable)       # torn
    chance = rng.choice((0.2, 0.5, 0.8))
    for entry in window:
        if entry.kind in "wz" or rng.random() < 0.5:
            apply(image, entry, lambda: rng.random() < chance)
    yield image


# ---- checking --------------------------------------------------------------------------------------

class Judge:
    """Looks at one image after the other."""

    def __init__(self, history):
        self.history, self.states, self.peers = history, 0, 0

    def verdict(self, image, now):
        """What is wrong with it; None if nothing is."""
        self.states += 1
        with open("cut.qcow2", "wb") as file:
            file.write(image)
        check = run("qemu-img", "check", "-f", "qcow2", "cut.qcow2")
        if check.status not in (0, 3):
            return str(check)
        if self.states % 10 == 0 and stock("qemu-img"):
            self.peers += 1
            peer = run(stock("qemu-img"), "check", "-f", "qcow2", "cut.qcow2")
            if peer.status != check.status:
                return f"{peer}\n{check}"
        copy = run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", "cut.qcow2", "cut.raw")
        if copy.status != 0:
            return str(copy)
        wrong = self.history.complaint("cut.raw", now)
        if not wrong and self.states % 20 == 0:
            wrong = self.goes_on()
        return wrong

    def goes_on(self):
        """It can be written again."""
        size = len(self.history.records) * SECTOR
        again = run("qemu-io", "-f", "qcow2", "-c", f"write -q -P 0xfe 0 {size}", "-c", "flush",
                    "-c", f"read -q -P 0xfe 0 {size}", "cut.qcow2")
        check = run("qemu-img", "check", "-f", "qcow2", "cut.qcow2")
        good = again.status == 0 and "failed" not in again.text and check.status in (0, 3)
        return None if good else f"{again}\n{check}"


def cuts(rng, entries, limit):
    """@limit numbers of entries after which to cut: half of them around flushes, if so many are, and the end."""
    edges = {at for i, entry in enumerate(entries) if entry.kind == "f" for at in (i, i + 1)}
    others = set(range(len(entries))) - edges

    def some(of, count):
        return set(rng.sample(sorted(of), min(len(of), count)))

    chosen = some(edges, limit // 2)
    return sorted(chosen | some(others, limit - len(chosen)) | {len(entries)})


def try_case(tap, case):
    """Record, cut, judge."""
    name, rng = case[0], seeds.rng(case[0])
    history, durable, entries = record(case, rng)
    judge, wrong, flushed = Judge(history), None, 0
    chosen = cuts(rng, entries, int(25 * ROUNDS))
    for cut in chosen:
        for i in range(flushed, cut):
            if entries[i].kind == "f":
                for entry in entries[flushed:i + 1]:
                    apply(durable, entry)
                flushed = i + 1
        now = entries[cut - 1].end if cut else 0
        for image in variants(rng, durable, entries[flushed:cut]):
            wrong = wrong or judge.verdict(image, now)
        if wrong:
            wrong = f"cut after {cut} of {len(entries)} entries\n{wrong}"
            break
    tap.ok(not wrong and judge.states > 20 and history.acks,
           f"{name}: {judge.states} states after {len(chosen)} cuts in {len(entries)} "
           f"entries, {len(history.acks)} flushes, {judge.peers} also by stock, by {case[-1]}",
           wrong or f"only {judge.states} states")
    return judge.states


def main():
    tap = Tap()
    with open("base.raw", "wb") as base:
        base.write(bytes([BACKING]) * MiB)
    states = sum(try_case(tap, case) for case in CASES)
    print(f"# {states} states tried")
    return tap.finish()


sys.exit(main())
