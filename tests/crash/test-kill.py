#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 at any moment.  qemu-io, or a client of qemu-storage-daemon, writes with several requests
in flight, flushes, zeroes, discards; the program is killed, and the image is opened again as it is:
check finds leaks at most, and what a flush was answered for is there.  The next round goes on with
the same image.  Then qemu-img's commands are killed: the disk is what it was.  $TEST_SEED and $ROUNDS (a
factor) are heeded."""

import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from imgtest import BUILD, Clock, History, KiB, QemuIo, Tap, must, run, sha256  # noqa: E402
import nbdtest                                                                # noqa: E402
import seeds                                                                  # noqa: E402

ROUNDS = int(8 * float(os.environ.get("ROUNDS", "1")))
SECTOR = 512
DISK = 1024 * KiB
LANES = 4
CASES = (("64k clusters", "cluster_size=64k"), ("512 byte clusters", "cluster_size=512"),
         ("4k clusters, 1-bit refcounts", "cluster_size=4k,refcount_bits=1"),
         ("subclusters", "cluster_size=16k,extended_l2=on"))


class IoPort:
    """Requests through qemu-io.  All methods: False when it is dead."""

    def __init__(self, image, options):
        self.io = QemuIo("-f", "qcow2", "-d", "unmap", *options, image)
        self.process = self.io.process

    def send(self, kind, first, count, value):
        where = f"{first * SECTOR} {count * SECTOR}"
        return self.io.ask({"discard": f"aio_discard {where}", "zero": f"aio_write -z -u {where}",
                            "write": f"aio_write -P {value} {where}"}[kind]) is not None

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

    def __init__(self, rng, history, clock, port):
        self.rng, self.history, self.now, self.port = rng, history, clock, port

    def tick(self):
        self.now += 1
        return self.now

    def request(self, port, lane):
        """A request within the lane's part of the disk; (is it on its way, its record)."""
        rng, part = self.rng, DISK // SECTOR // LANES
        count = rng.randrange(1, 64)
        first = lane * part + rng.randrange(part - count)
        kind, value = rng.random(), rng.randrange(1, 256)
        if kind < 0.1:
            self.history.discard(first, count, self.tick())
            return port.send("discard", first, count, 0), None
        value = 0 if kind < 0.25 else value
        record = self.history.begin(first, count, value, self.tick())
        return port.send("write" if value else "zero", first, count, value), record

    def batch(self, port):
        """Requests at once, all of which have ended; False if the program is dead."""
        records = []
        for lane in range(LANES):
            sent, record = self.request(port, lane)
            records.append(record)
            if not sent:
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
        return True

    def run(self, image, options):
        port = self.port(image, options)
        delay = self.rng.uniform(0.005, 0.25)
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


def one_case(rng, options, port, clock):
    history, now = History(DISK // SECTOR), 0
    must("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "image", str(DISK))
    for i in range(ROUNDS):
        if i and clock.is_over():
            break
        writer = Writer(rng, history, now, port)
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


# ---- tools -----------------------------------------------------------------------------------------

# What does not change the disk, whenever it ends.
TOOLS = (
    ("snapshots", (["snapshot", "-c", "new", "image"], ["snapshot", "-d", "new", "image"])),
    ("bitmaps", (["bitmap", "--add", "image", "new"], ["bitmap", "--remove", "image", "new"])),
    ("amend", (["amend", "-o", "refcount_bits=64", "image"],
               ["amend", "-o", "refcount_bits=16", "image"])),
    ("compact", (["compact", "image"],)),
    ("check -r all", (["check", "-r", "all", "image"],)),
    ("commit", (["commit", "image"],)),
    ("rebase", (["rebase", "-b", "other.raw", "-F", "raw", "image"],
                ["rebase", "-b", "base.raw", "-F", "raw", "image"])),
)


def kill_tool(rng, words):
    """Run qemu-img and kill it in the middle, if it takes so long."""
    with subprocess.Popen([os.path.join(BUILD, "qemu-img"), *words], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(rng.uniform(0.002, 0.03))
        except subprocess.TimeoutExpired:
            process.kill()


def is_whole(content):
    """What is wrong with the image; None if nothing is."""
    done = check()
    if done.status not in (0, 3):
        return str(done)
    must("qemu-img", "convert", "-f", "qcow2", "-O", "raw", "image", "raw")
    return None if sha256("raw") == content else "the disk is not what it was"


def one_tool(rng, commands):
    for name in ("base.raw", "other.raw"):
        with open(name, "wb") as file:
            file.write(bytes([len(name)]) * DISK)
    must("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "-b", "base.raw",
         "-F", "raw", "image")
    for first in range(0, DISK // KiB, 64):
        must("qemu-io", "-f", "qcow2", "-d", "unmap", "-c", f"write -q -P {first % 250 + 1} {first}k "
             "33k", "-c", f"discard -q {first}k 16k", "image")
    must("qemu-img", "convert", "-f", "qcow2", "-O", "raw", "image", "raw")
    content = sha256("raw")
    for i in range(ROUNDS * 2):
        kill_tool(rng, commands[i % len(commands)])
        wrong = is_whole(content)
        if wrong:
            return f"round {i}: {wrong}"
    return None


def kill_convert(rng):
    """What a killed conversion leaves is sound, and its source is as it was."""
    before = sha256("image")
    for i in range(ROUNDS * 2):
        kill_tool(rng, ["convert", "-f", "qcow2", "-O", "qcow2", "-o", "cluster_size=512", "image",
                        "target"])
        done = run("qemu-img", "check", "-f", "qcow2", "target")
        if done.status not in (0, 3) and "Could not open" not in done.err:
            return f"round {i}: {done}"
    return None if sha256("image") == before else "the source changed"


def main():
    tap, clock = Tap(), Clock(20 * max(1, ROUNDS / 8))
    for program, port, cases in (("qemu-io", IoPort, CASES), ("the daemon", DaemonPort, CASES[2:])):
        for name, options in cases:
            rounds, wrong = one_case(seeds.rng(program, name), options, port, clock)
            tap.ok(not wrong, f"R5 {program}, {name}: killed {rounds} times", wrong)
    for name, commands in TOOLS:
        wrong = one_tool(seeds.rng(name), commands)
        tap.ok(not wrong, f"R5 {name}: killed, and the disk is what it was", wrong)
    wrong = kill_convert(seeds.rng("convert"))
    tap.ok(not wrong, "R5 convert: killed, its target sound, its source the same", wrong)
    return tap.finish()


sys.exit(main())
