#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 at any moment.  qemu-io, or a client of qemu-storage-daemon, writes with several requests
in flight, flushes, zeroes, discards; the program is killed, and the image is opened again as it is:
check finds leaks at most, and what a flush was answered for is there.  The next round goes on with
the same image.  Then qemu-img's commands are killed: the disk is what it was.

$TEST_SEED and $ROUNDS (a factor) are heeded: with 75 each kind is killed 300 times."""

import collections
import hashlib
import os
import re
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from imgtest import BUILD, Clock, History, KiB, QemuIo, Tap, must, run, sha256  # noqa: E402
import nbdtest                                                                # noqa: E402
import seeds                                                                  # noqa: E402

ROUNDS = int(4 * float(os.environ.get("ROUNDS", "1")))
SECTOR = 512
DISK = 1024 * KiB
LANES = 4

# Which part of the requests are such, the rest being plain writes; how long they are, in sectors, and
# what they are aligned to; how often the disk becomes longer meanwhile, or as it was.
Mix = collections.namedtuple("Mix", "discard zero compressed length align resize",
                             defaults=(64, 1, 0))
RANDOM = Mix(0.1, 0.15, 0)
CASES = (
    ("random writes, 64k clusters", "cluster_size=64k", RANDOM),
    ("random writes, 512 byte clusters", "cluster_size=512", RANDOM),
    ("random writes, 4k clusters, 1-bit refcounts", "cluster_size=4k,refcount_bits=1", RANDOM),
    ("random writes, subclusters", "cluster_size=16k,extended_l2=on", RANDOM),
    ("writes of parts of clusters", "cluster_size=64k", Mix(0.05, 0.05, 0, 4)),
    ("writes of parts of subclusters", "cluster_size=64k,extended_l2=on", Mix(0.05, 0.05, 0, 4)),
    ("compressed writes", "cluster_size=4k", Mix(0.1, 0.1, 0.6, 64, 8)),
    ("discards", "cluster_size=4k", Mix(0.5, 0.05, 0)),
    ("zeroes", "cluster_size=4k", Mix(0.05, 0.5, 0)),
    ("resize", "cluster_size=512", Mix(0.1, 0.1, 0, 16, 1, 0.5)),
)


class IoPort:
    """Requests through qemu-io.  All methods: False when it is dead."""

    def __init__(self, image, options):
        self.io = QemuIo("-f", "qcow2", "-d", "unmap", *options, image)
        self.process = self.io.process

    def send(self, kind, first, count, value):
        where = f"{first * SECTOR} {count * SECTOR}"
        return self.io.ask({"discard": f"aio_discard {where}", "zero": f"aio_write -z -u {where}",
                            "compressed": f"write -c -P {value} {where}",
                            "write": f"aio_write -P {value} {where}"}[kind]) is not None

    def resize(self, size):
        answer = self.io.ask(f"truncate {size}")
        assert not re.search("qemu-io:|rror|ailed|annot", answer or ""), answer
        return answer is not None

    def settle(self):
        return self.io.ask("aio_flush") is not None

    def flush(self):
        return self.io.ask("flush") is not None

    def close(self):
        self.io.close()


class DaemonPort:
    """The same through an export of qemu-storage-daemon."""

    def __init__(self, image, _options):
        if os.path.exists("nbd.sock"):
            os.remove("nbd.sock")
        self.process = subprocess.Popen([
            os.path.join(BUILD, "qemu-storage-daemon"), "--blockdev",
            f"driver=qcow2,node-name=disk,discard=unmap,file.driver=file,file.filename={image}",
            "--nbd-server", "addr.type=unix,addr.path=nbd.sock", "--export",
            "type=nbd,id=disk,node-name=disk,writable=on"], stderr=subprocess.DEVNULL)
        self.client, self.pending = None, 0
        while self.process.poll() is None and not self.client:
            try:
                self.client = nbdtest.NbdClient("nbd.sock", "disk")
            except OSError:
                time.sleep(0.005)

    def try_to(self, action):
        try:
            if self.client:
                action()
            return self.client is not None
        except OSError:
            return False

    def send(self, kind, first, count, value):
        command = {"discard": nbdtest.CMD_TRIM, "zero": nbdtest.CMD_WRITE_ZEROES,
                   "write": nbdtest.CMD_WRITE}[kind]
        data = bytes([value]) * (count * SECTOR) if kind == "write" else b""
        self.pending += 1
        return self.try_to(lambda: self.client.request(command, first * SECTOR, count * SECTOR,
                                                       data))

    def collect(self):
        while self.pending:
            error, _, _ = self.client.reply()
            assert not error, error
            self.pending -= 1

    def settle(self):
        return self.try_to(self.collect)

    def flush(self):
        return self.try_to(self.client.flush)

    def close(self):
        if self.client:
            self.client.close()
        self.process.wait()


class Writer:
    """Requests through one program until it is killed."""

    def __init__(self, rng, history, clock, port, mix):
        self.rng, self.history, self.now, self.port, self.mix = rng, history, clock, port, mix
        self.flushes = 0

    def tick(self):
        self.now += 1
        return self.now

    def choose(self):
        rng, mix = self.rng, self.mix
        kind = rng.choices(("discard", "zero", "compressed", "write"),
                           (*mix[:3], 1 - sum(mix[:3])))[0]
        return kind, rng.randrange(1, 256) if kind in ("compressed", "write") else 0

    def request(self, port, lane):
        """A request within the lane's part of the disk; (is it on its way, its record)."""
        rng, part, align = self.rng, DISK // SECTOR // LANES, self.mix.align
        count = rng.randrange(align, self.mix.length, align)
        first = lane * part + rng.randrange(0, part - count, align)
        kind, value = self.choose()
        if kind == "discard":
            self.history.discard(first, count, self.tick())
            return port.send("discard", first, count, 0), None
        record = self.history.begin(first, count, value, self.tick())
        return port.send(kind, first, count, value), record

    def batch(self, port):
        """Requests at once, all of which have ended; False if the program is dead."""
        records = []
        for lane in range(LANES):
            sent, record = self.request(port, lane)
            records.append(record)
            if not sent:
                return False
        if self.rng.random() < self.mix.resize:
            more = self.rng.choice((0, self.rng.randrange(0, 8 * DISK, SECTOR)))
            if not port.resize(DISK + more):
                return False
        if not port.settle():
            return False
        for record in filter(None, records):
            History.end(record, self.tick())
        return self.rng.random() < 0.5 or self.flush(port)

    def flush(self, port):
        begin = self.tick()
        if not port.flush():
            return False
        self.history.flushed(begin, self.tick())
        self.flushes += 1
        return True

    def run(self, image, options):
        port = self.port(image, options)
        delay = self.rng.uniform(0.005, 0.2)
        timer = threading.Timer(delay, port.process.kill)
        timer.start()
        while self.batch(port):
            pass
        timer.join()
        port.close()


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


def one_case(rng, options, mix, port):
    """What was done, and what is wrong."""
    history, now, flushes, clock = History(DISK // SECTOR), 0, 0, Clock(3 * ROUNDS)
    must("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "image", str(DISK))
    for i in range(ROUNDS):
        if i and clock.is_over():
            i -= 1
            break
        writer = Writer(rng, history, now, port, mix)
        writer.run("image", ["-t", rng.choice(("writeback", "none", "writethrough"))]
                   if rng.random() < 0.3 else [])
        now = writer.now
        flushes += writer.flushes
        done = check()
        wrong = done if done.status not in (0, 3) else wrong_bytes(history, now, "image")
        if wrong:
            return f"round {i}", f"round {i}: {wrong}"
    return f"killed {i + 1} times, {flushes} flushes", None


# ---- tools -----------------------------------------------------------------------------------------

# What does not change the disk, or changes it between contents that it had, whenever it ends.
TOOLS = (
    ("snapshots made and deleted", (["snapshot", "-c", "new", "image"],
                                    ["snapshot", "-d", "new", "image"])),
    ("snapshots applied", (["snapshot", "-a", "one", "image"], ["snapshot", "-a", "two", "image"])),
    ("resize", (["resize", "-q", "image", str(2 * DISK)],
                ["resize", "-q", "--shrink", "image", str(DISK)])),
    ("bitmaps", (["bitmap", "--add", "image", "new"], ["bitmap", "--remove", "image", "new"])),
    ("amend", (["amend", "-o", "refcount_bits=64", "image"],
               ["amend", "-o", "refcount_bits=16", "image"])),
    ("compact", (["compact", "image"],)),
    ("check -r all", (["check", "-r", "all", "image"],)),
    ("commit", (["commit", "image"],)),
    ("rebase", (["rebase", "-b", "other.raw", "-F", "raw", "image"],
                ["rebase", "-b", "base.raw", "-F", "raw", "image"])),
)


class Killer:
    """Runs qemu-img, and kills it at any moment of the time that it takes."""

    def __init__(self, rng):
        self.rng, self.longest, self.kills = rng, 0.03, 0

    def run(self, words):
        with subprocess.Popen([os.path.join(BUILD, "qemu-img"), *words], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            begin = time.monotonic()
            timer = threading.Timer(self.rng.uniform(0.002, self.longest), process.kill)
            timer.start()
            process.wait()
            timer.cancel()
        if process.returncode < 0:
            self.kills += 1
            self.longest = min(1.1 * self.longest, 1)
        else:
            self.longest = max(0.005, 1.2 * (time.monotonic() - begin))


def content():
    """Of the image as a disk of DISK bytes; what may be behind them is zero."""
    must("qemu-img", "convert", "-f", "qcow2", "-O", "raw", "image", "raw")
    with open("raw", "rb") as file:
        disk, rest = file.read(DISK), file.read()
    return "something behind the end" if any(rest) else hashlib.sha256(disk).hexdigest()


def is_whole(contents):
    """What is wrong with the image; None if nothing is."""
    done = check()
    if done.status not in (0, 3):
        return str(done)
    return None if content() in contents else "the disk is not what it was"


def make_image():
    """Over a base, with clusters of all kinds and two snapshots; the contents that it has had."""
    for name in ("base.raw", "other.raw"):
        with open(name, "wb") as file:
            file.write(bytes([len(name)]) * DISK)
    must("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "-b", "base.raw",
         "-F", "raw", "image")
    contents = []
    for turn, snapshot in enumerate(("one", "two")):
        for first in range(turn * 32, DISK // KiB, 64 << turn):
            must("qemu-io", "-f", "qcow2", "-d", "unmap", "-c", f"write -q -P {first % 250 + 1} "
                 f"{first}k 33k", "-c", f"discard -q {first}k 16k", "image")
        must("qemu-img", "snapshot", "-c", snapshot, "image")
        contents.append(content())
    return contents


def refill(rng):
    """Clusters in use, and others that become free before them; the content."""
    first = rng.randrange(0, DISK // KiB - 128, 64)
    must("qemu-io", "-f", "qcow2", "-d", "unmap", "-c", f"write -q -P {rng.randrange(1, 256)} "
         f"{first}k 128k", "-c", f"discard -q {first}k {rng.randrange(8, 120)}k", "image")
    return content()


def one_tool(rng, name, commands):
    """What was done, and what is wrong."""
    contents, killer = make_image(), Killer(rng)
    if name == "commit":  # it leaves nothing that a snapshot could need
        must("qemu-img", "snapshot", "-d", "one", "image")
        must("qemu-img", "snapshot", "-d", "two", "image")
    if name != "snapshots applied":
        del contents[0]
    rounds = max(ROUNDS, 16)
    for i in range(rounds):
        if name in ("commit", "compact"):
            contents = [refill(rng)]
        killer.run(commands[i % len(commands)])
        wrong = is_whole(contents)
        if wrong:
            return f"round {i}", f"round {i}: {wrong}"
    return f"killed {killer.kills} times in {rounds} rounds", None


def kill_convert(rng):
    """What a killed conversion leaves is sound, and its source is as it was."""
    before, killer, rounds = sha256("image"), Killer(rng), max(ROUNDS, 16)
    for i in range(rounds):
        killer.run(["convert", "-f", "qcow2", "-O", "qcow2", "-o", "cluster_size=512", "image",
                    "target"])
        done = run("qemu-img", "check", "-f", "qcow2", "target")
        if done.status not in (0, 3) and "Could not open" not in done.err:
            return f"round {i}", f"round {i}: {done}"
    wrong = None if sha256("image") == before else "the source changed"
    return f"killed {killer.kills} times in {rounds} rounds", wrong


def main():
    tap = Tap()
    for program, port, cases in (("qemu-io", IoPort, CASES), ("the daemon", DaemonPort, CASES[2:4])):
        for name, options, mix in cases:
            did, wrong = one_case(seeds.rng(program, name), options, mix, port)
            tap.ok(not wrong, f"R5 {program}, {name}: {did}", wrong)
    for name, commands in TOOLS:
        did, wrong = one_tool(seeds.rng(name), name, commands)
        tap.ok(not wrong, f"R5 {name}: {did}, and the disk is what it was", wrong)
    did, wrong = kill_convert(seeds.rng("convert"))
    tap.ok(not wrong, f"R5 convert: {did}, its target sound, its source the same", wrong)
    return tap.finish()


sys.exit(main())
