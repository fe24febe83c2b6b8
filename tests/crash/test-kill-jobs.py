#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 of the storage daemon in the middle of a job, or of operations one after the other, while a
guest writes by NBD.

Afterwards every image checks with leaks at most, by an installed stock qemu-img, too, and the image
that is the guest's disk then holds what a flush was answered for.  The next round goes on with what
was left, the job is started again.  $TEST_SEED and $ROUNDS (a factor) are heeded: with 75 each kind is
killed 300 times."""

import copy
import os
import shutil
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from imgtest import Clock, History, KiB, Tap, must, run, stock          # noqa: E402
from nbdtest import (CMD_FLUSH, CMD_WRITE, CMD_WRITE_ZEROES, NbdClient,  # noqa: E402
                     NbdError)
from qmptest import QMPError, Vm                                         # noqa: E402
import seeds                                                             # noqa: E402

ROUNDS = int(4 * float(os.environ.get("ROUNDS", "1")))
SECTOR = 512
DISK = 1024 * KiB
LAYERS = ("n0", "n1", "n2", "n3")
DEAD = (ConnectionError, OSError, ValueError, TimeoutError, NbdError, QMPError)


# ---- what is done ----------------------------------------------------------------------------------

def snapshots(vm, rng):
    while True:
        name = f"s{rng.randrange(1 << 32)}"
        vm.command("blockdev-snapshot-internal-sync", device="n3", name=name)
        vm.command("blockdev-snapshot-delete-internal-sync", device="n3", name=name)


def bitmaps(vm, rng):
    """Those of the image are removed; others are stored at the end, which is killed."""
    for bitmap in vm.nodes()["n3"].get("dirty-bitmaps", []):
        vm.command("block-dirty-bitmap-remove", node="n3", name=bitmap["name"])
    for i in range(rng.randrange(1, 5)):
        vm.command("block-dirty-bitmap-add", node="n3", name=f"b{i}", persistent=True,
                   granularity=SECTOR)
    for _ in range(rng.randrange(100)):
        vm.command("query-jobs")        # meanwhile the guest writes
    vm.command("quit")
    try:
        vm.process.wait(rng.uniform(0, 0.02))
    except subprocess.TimeoutExpired:
        vm.process.kill()


def compact(vm, _rng):
    while True:
        vm.command("block-compact", job_id="j", node_name="n3", auto_dismiss=False)
        vm.wait_job("j")


# Name, command, arguments, image that is the disk when the job was told to be complete.  Instead of a
# command, operations until the end.
CASES = (
    ("snapshots made and deleted", snapshots, {}, "n3"),
    ("bitmaps stored and removed", bitmaps, {}, "n3"),
    ("compact", compact, {}, "n3"),
    ("stream into the top", "block-stream", {"device": "n3"}, "n3"),
    ("stream into the middle", "block-stream", {"device": "n2", "base-node": "n0"}, "n3"),
    ("commit of the middle", "block-commit",
     {"device": "n3", "top-node": "n2", "base-node": "n0"}, "n3"),
    ("commit of the top", "block-commit", {"device": "n3", "base-node": "n1"}, "n1"),
    ("mirror", "blockdev-mirror", {"device": "n3", "target": "t", "sync": "full"}, "t"),
    ("mirror, write-blocking", "blockdev-mirror",
     {"device": "n3", "target": "t", "sync": "full", "copy-mode": "write-blocking"}, "t"),
    ("backup", "blockdev-backup", {"device": "n3", "target": "t", "sync": "full"}, "n3"),
)


def make_images(rng):
    """In folder 'fresh': each layer has pieces of its own.  Returns what is there, for good."""
    history = History(DISK // SECTOR)
    os.mkdir("fresh")
    os.chdir("fresh")
    for i, name in enumerate(LAYERS):
        backing = ["-b", LAYERS[i - 1], "-F", "qcow2"] if i else []
        must("qemu-img", "create", "-q", "-f", "qcow2", "-o",
             f"cluster_size={rng.choice(('4k', '16k', '64k'))}", *backing, name, str(DISK))
        words = []
        for _ in range(12):
            count = rng.randrange(1, 96)
            first, value = rng.randrange(DISK // SECTOR - count), rng.randrange(1, 256)
            words += ["-c", f"write -q -P {value} {first * SECTOR} {count * SECTOR}"]
            history.end(history.begin(first, count, value, 0), 0)
        must("qemu-io", "-t", "unsafe", "-f", "qcow2", *words, name)
    os.chdir("..")
    history.flushed(0, 0)
    return history


def open_chain(vm, disk):
    """The chain as the headers have it, but with names; the disk is exported."""
    depth = {}
    while disk:
        depth[disk] = None
        disk = backing_of(disk)
    for name in reversed(list(depth)):
        below = backing_of(name)
        vm.add(name, "qcow2", backing=below, discard="unmap", read_only=name != next(iter(depth)),
               file={"driver": "file", "filename": name})
    return list(depth)


def backing_of(name):
    """By the header."""
    for line in must("qemu-img", "info", "-U", name).out.splitlines():
        if line.startswith("backing file:"):
            return os.path.basename(line.split()[2])
    return None


class Guest(threading.Thread):
    """Writes until it is told to rest or the daemon is dead."""

    def __init__(self, rng, history, now):
        super().__init__()
        self.rng, self.history, self.now, self.rest = rng, history, now, False
        self.nbd = NbdClient("nbd.sock", "disk")

    def tick(self):
        self.now += 1
        return self.now

    def turn(self):
        rng = self.rng
        if rng.random() < 0.1:
            begin = self.tick()
            self.nbd.call(CMD_FLUSH)
            self.history.flushed(begin, self.tick())
            return
        count = rng.randrange(1, 64)
        first, value = rng.randrange(DISK // SECTOR - count), rng.randrange(1, 256)
        zero = rng.random() < 0.2
        record = self.history.begin(first, count, 0 if zero else value, self.tick())
        if zero:
            self.nbd.call(CMD_WRITE_ZEROES, first * SECTOR, count * SECTOR)
        else:
            self.nbd.call(CMD_WRITE, first * SECTOR, count * SECTOR,
                          bytes([value]) * (count * SECTOR))
        self.history.end(record, self.tick())

    def run(self):
        try:
            while not self.rest:
                self.turn()
        except DEAD:
            pass


def one_round(rng, case, guest_of, disk):
    """Start the job, kill at some moment; returns the time, the image that is the disk now, and
    whether the job was at work when it was killed."""
    _, command, arguments, target = case
    at_work = False
    with Vm("--nbd-server", "addr.type=unix,addr.path=nbd.sock") as vm:
        chain = open_chain(vm, disk)
        if arguments.get("target") == "t":
            must("qemu-img", "create", "-q", "-f", "qcow2", "t", str(DISK))
            vm.add("t", "qcow2", discard="unmap", file={"driver": "file", "filename": "t"})
        vm.command("block-export-add", id="e", type="nbd", node_name=disk, name="disk",
                   writable=True)
        guest = guest_of()
        guest.start()
        timer = threading.Timer(rng.uniform(0.002, 0.15), vm.process.kill)
        timer.start()
        try:
            names = {"device", "base-node", "top-node"} & set(arguments)
            if callable(command):
                at_work = True
                command(vm, rng)
            elif all(arguments[name] in chain for name in names):
                vm.execute(command, {"job-id": "j", "speed": rng.choice((0, 4 * DISK)),
                                     **arguments})
                at_work = True
                disk = see_through(vm, guest, target)
                at_work = False
        except DEAD as error:
            if callable(command) and isinstance(error, QMPError):
                raise
        timer.join()
        vm.process.wait()
        guest.join()
        guest.nbd.close()
        vm.__exit__(InterruptedError)
        at_work = at_work and vm.process.returncode < 0
    return guest.now, disk, at_work


def see_through(vm, guest, target):
    """Until it ends.  While it is completed the guest rests: so either image may be the disk."""
    while True:
        event = vm.next_event()
        if event["event"] == "BLOCK_JOB_READY":
            guest.rest = True
            guest.join()
            vm.command("job-complete", id="j")
        if event["event"] == "BLOCK_JOB_COMPLETED":
            assert "error" not in event["data"], event
            return target


def check(name):
    """What is wrong with an image, by ours and by stock."""
    for program in filter(None, ("qemu-img", stock("qemu-img"))):
        for _ in range(100):
            # The kernel may take a moment to give up the locks of a process that was killed.
            done = run(program, "check", "-f", "qcow2", name)
            if "lock" not in done.text:
                break
            time.sleep(0.05)
        if done.status not in (0, 3):
            return str(done)
    return None


def verdict(history, now, disk):
    for name in filter(os.path.exists, (*LAYERS, "t")):
        wrong = check(name)
        if wrong:
            return wrong
    must("qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk, "raw")
    wrong = history.complaint("raw", now)
    if wrong:
        return f"{disk}: {wrong}"
    with open("raw", "rb") as file:
        data = file.read()
    # What was lost stays lost: this is what the next round begins with.
    for sector, records in enumerate(history.records):
        records[:] = [[now, now, data[sector * SECTOR]]]
    history.flushed(now, now)
    return None


def one_case(rng, case, fresh):
    rounds, at_work, clock = 0, 0, Clock(3 * ROUNDS)
    while rounds < ROUNDS and not (rounds and clock.is_over()):
        history, now, disk = copy.deepcopy(fresh), 0, "n3"
        if os.path.exists("t"):
            os.remove("t")
        for name in LAYERS:
            shutil.copyfile(f"fresh/{name}", name)
        for _ in range(2):
            now, disk, killed = one_round(rng, case, lambda n=now: Guest(rng, history, n), disk)
            wrong = verdict(history, now, disk)
            rounds += 1
            at_work += killed
            if wrong or disk not in LAYERS:
                break
        if wrong:
            return f"round {rounds}: {wrong}", rounds, at_work
    return None, rounds, at_work


def main():
    tap = Tap()
    fresh = make_images(seeds.rng())
    for case in CASES:
        wrong, rounds, at_work = one_case(seeds.rng(case[0]), case, fresh)
        tap.ok(not wrong, f"{case[0]}: killed {rounds} times, {at_work} with the job at work", wrong)
    return tap.finish()


sys.exit(main())
