#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 at any moment.  qemu-io writes with several requests in flight, flushes,
zeroes, discards; it is killed, and the image is opened again as it is: check finds leaks at most,
and what a flush was answered for is there.  The next round goes on with the same image.  $SEED and
$ROUNDS (a factor) are heeded."""

import os
import random
import sys
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from imgtest import Clock, History, KiB, QemuIo, Tap, must, run  # noqa: E402

ROUNDS = int(8 * float(os.environ.get("ROUNDS", "1")))
SECTOR = 512
DISK = 1024 * KiB
LANES = 4
CASES = (("64k clusters", "cluster_size=64k"), ("512 byte clusters", "cluster_size=512"),
         ("4k clusters, 1-bit refcounts", "cluster_size=4k,refcount_bits=1"),
         ("subclusters", "cluster_size=16k,extended_l2=on"))


class Writer:
    """Requests through one qemu-io until it is killed."""

    def __init__(self, rng, history, clock):
        self.rng, self.history, self.now = rng, history, clock

    def tick(self):
        self.now += 1
        return self.now

    def command(self, lane):
        """A request within the lane's part of the disk, and its record."""
        rng, part = self.rng, DISK // SECTOR // LANES
        count = rng.randrange(1, 64)
        first = lane * part + rng.randrange(part - count)
        where = f"{first * SECTOR} {count * SECTOR}"
        kind, value = rng.random(), rng.randrange(1, 256)
        if kind < 0.1:
            self.history.discard(first, count, self.tick())
            return f"aio_discard {where}", None
        if kind < 0.25:
            return f"aio_write -z -u {where}", self.history.begin(first, count, 0, self.tick())
        return (f"aio_write -P {value} {where}",
                self.history.begin(first, count, value, self.tick()))

    def batch(self, io):
        """Requests at once, all of which have ended; False if the program is dead."""
        records = []
        for lane in range(LANES):
            text, record = self.command(lane)
            records.append(record)
            if io.ask(text) is None:
                return False
        if io.ask("aio_flush") is None:
            return False
        for record in filter(None, records):
            History.end(record, self.tick())
        return self.rng.random() < 0.5 or self.flush(io)

    def flush(self, io):
        begin = self.tick()
        if io.ask("flush") is None:
            return False
        self.history.flushed(begin, self.tick())
        return True

    def run(self, image, options):
        io = QemuIo("-f", "qcow2", "-d", "unmap", *options, image)
        delay = self.rng.uniform(0.005, 0.25)
        timer = threading.Timer(delay, io.process.kill)
        timer.start()
        while self.batch(io):
            pass
        timer.join()
        io.close()


def check():
    """The kernel may take a moment to give up the locks of a process that had requests in flight."""
    for _ in range(100):
        done = run("qemu-img", "check", "-f", "qcow2", "image")
        if "lock" not in done.text:
            break
        time.sleep(0.05)
    return done


def wrong_bytes(history, now, image):
    must("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, "raw")
    with open("raw", "rb") as file:
        disk = file.read()
    for sector in range(DISK // SECTOR):
        part = disk[sector * SECTOR:(sector + 1) * SECTOR]
        if len(set(part)) != 1 or part[0] not in history.allowed(sector, now):
            return (f"sector {sector} holds {part[:8].hex()} of {history.records[sector][-5:]}, "
                    f"flushes {history.acks[-3:]}, now {now}")
        # What was lost stays lost: this is what the next round begins with.
        history.records[sector] = [[now, now, part[0]]]
    history.flushed(now, now)
    return None


def one_case(rng, options, clock):
    history, now = History(DISK // SECTOR), 0
    must("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "image", str(DISK))
    for i in range(ROUNDS):
        if i and clock.is_over():
            break
        writer = Writer(rng, history, now)
        writer.run("image", ["-t", rng.choice(("writeback", "none", "writethrough"))]
                   if rng.random() < 0.3 else [])
        now = writer.now
        done = check()
        if done.status not in (0, 3):
            return i, f"round {i}: {done}"
        found = wrong_bytes(history, now, "image")
        if found:
            return i, f"round {i}: {found}"
    return i + 1, None


def main():
    tap, clock = Tap(), Clock(20 * max(1, ROUNDS / 8))
    seed = os.environ.get("SEED") or str(random.SystemRandom().randrange(1 << 32))
    print(f"# SEED={seed}")
    for name, options in CASES:
        rounds, wrong = one_case(random.Random(f"{seed} {name}"), options, clock)
        tap.ok(not wrong, f"R5 {name}: killed {rounds} times", f"SEED={seed}: {wrong}")
    return tap.finish()


sys.exit(main())
