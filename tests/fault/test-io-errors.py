#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every file call fails once: the 1st, the 2nd, ... until an operation has no more of them.

The program must say why and end by itself; what was flushed is there; the image has leaks at most
and goes on to work.  A failed create or convert leaves no file, and harms none but its target.
tests/lib/ioshim.c does the failing."""

import errno
import itertools
import os
import shutil
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from imgtest import History, KiB, MiB, QemuIo, Tap, must, run, sanitized  # noqa: E402
from imgtest import sha256, shim, short_of_memory                                # noqa: E402
import seeds                                                                     # noqa: E402

MARK = "mark"
# Name, errno, kinds of calls, and '+' if all later ones fail, too.
MODES = (("EIO once", errno.EIO, "rwztf", ""), ("ENOSPC once", errno.ENOSPC, "wzt", ""),
         ("EIO for good", errno.EIO, "rwztf", "+"), ("ENOSPC for good", errno.ENOSPC, "wzt", "+"))
DISK = 1 * MiB
GUARD = 4000  # no operation here has so many calls
FEW = 4  # the first calls all fail in turn; of the rest one in so many, another in each loop
LOOPS = itertools.count()
MEMORY = 64 * KiB  # allocations from this size on fail

# (command, first sector, sectors, value): enough to allocate, copy, free, and flush between.
WORKLOAD = (
    ("write", 0, 128, 0x11), ("write", 256, 3, 0x12), ("flush",), ("write", 1000, 200, 0x13),
    ("zero", 64, 128, 0), ("write", 1, 1, 0x14), ("flush",), ("discard", 1024, 128),
    ("write", 1024, 64, 0x15), ("write", 1900, 148, 0x16), ("flush",), ("write", 300, 9, 0x17),
)
IMAGES = (
    ("64k clusters", ["-o", "cluster_size=64k"], 0),
    ("512 byte clusters", ["-o", "cluster_size=512"], 0),
    ("version 2", ["-o", "cluster_size=4k,compat=v2"], 0),
    ("4k clusters over a backing file", ["-o", "cluster_size=4k", "-b", "base.raw", "-F", "raw"],
     0xba),
)


def command(op):
    kind, *args = op
    if kind == "flush":
        return "flush"
    where = f"{args[0] * 512} {args[1] * 512}"
    return {"write": f"write -q -P {args[-1]} {where}", "zero": f"write -q -z -u {where}",
            "discard": f"discard -q {where}"}[kind]


class Guest:
    """Runs the workload and keeps the books."""

    def __init__(self, initial):
        self.history, self.now = History(DISK // 512, initial), 0

    def work(self, env):
        """Returns the finished qemu-io."""
        io = QemuIo("-f", "qcow2", "-d", "unmap", "disk.qcow2", env=env)
        for op in WORKLOAD:
            self.now += 2
            record = None
            if op[0] in ("write", "zero"):
                record = self.history.begin(*op[1:], self.now)
            elif op[0] == "discard":
                self.history.discard(*op[1:], self.now)
            text = io.ask(command(op))
            if text is None:
                break
            if text.strip():
                continue  # it failed
            if record:
                self.history.end(record, self.now + 1)
            elif op[0] == "flush":
                self.history.flushed(self.now, self.now + 1)
        return io.close()

    def verdict(self, everything):
        """What is wrong with the image; None if nothing is."""
        check = run("qemu-img", "check", "-f", "qcow2", "disk.qcow2")
        if check.status not in (0, 3):
            return str(check)
        copy = run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", "disk.qcow2", "out.raw")
        if copy.status:
            return str(copy)
        return self.history.complaint("out.raw", self.now + 1, everything)


def remove(*names):
    for name in names:
        if os.path.exists(name):
            os.remove(name)


def failing(match, mode, n):
    """The environment in which the n-th call on @match fails."""
    _, number, kinds, plus = mode
    remove(MARK)
    return shim(match, fail=f"{n}{plus}:{number}:{kinds}", mark=MARK)


def tells_why(result, mode):
    """It failed in the documented way, with the reason."""
    return result.status == 1 and os.strerror(mode[1]) in result.text


def try_workload(n, mode, initial):
    """One round; returns (what is wrong or None, whether the call was there to fail)."""
    shutil.copyfile("fresh.qcow2", "disk.qcow2")
    guest = Guest(initial)
    result = guest.work(failing("disk.qcow2", mode, n))
    hit = os.path.exists(MARK)
    # At close, after all requests went well, qemu-io can only say what was lost.
    absorbed = result.status == 0 and os.strerror(mode[1]) not in result.text
    if result.crashed or not (absorbed or (hit and os.strerror(mode[1]) in result.text)):
        return str(result), hit
    wrong = guest.verdict(everything=absorbed)
    if wrong:
        return f"{result}\n{wrong}", hit
    again = guest.work({})
    wrong = guest.verdict(everything=True) if again.status == 0 else str(again)
    return (f"{result}\nand then, without errors: {wrong}" if wrong else None), hit


def calls_to_fail(phase):
    """1, 2, ...: all with $LAB_STATES (make check-long), else some."""
    step = 1 if os.environ.get("LAB_STATES") else FEW * 2 if sanitized() else FEW
    yield from range(1, FEW)
    yield from range(FEW + phase % step, GUARD, step)


def loop(tap, name, attempt):
    """Call @attempt(n) for numbers of calls until there are no more to fail."""
    tries = 0
    for n in calls_to_fail(next(LOOPS)):
        wrong, hit = attempt(n)
        if wrong or not hit:
            break
        tries += 1
    else:
        wrong = "it never ends"
    tap.ok(not wrong and tries > 0, f"R4 {name}: {tries} calls failed in turn",
           f"at call {n}:\n{wrong}")


def test_workloads(tap):
    with open("base.raw", "wb") as base:
        base.write(b"\xba" * DISK)
    for name, options, initial in IMAGES:
        must("qemu-img", "create", "-q", "-f", "qcow2", *options, "fresh.qcow2", str(DISK))
        for mode in MODES:
            loop(tap, f"writes, {name}, {mode[0]}",
                 lambda n, m=mode, i=initial: try_workload(n, m, i))


def try_tool(n, mode, words, target, content):
    """A tool that makes @target, which then reads as @content, or is not there."""
    remove(target)
    result = run("qemu-img", *words, env=failing(target, mode, n))
    hit = os.path.exists(MARK)
    if result.status == 0:
        if target.endswith(".qcow2"):
            check = run("qemu-img", "check", "-q", "-f", "qcow2", target)
            if check.status:
                return f"{result}\n{check}", hit
        must("qemu-img", "convert", "-O", "raw", target, "out.raw")
        return None if sha256("out.raw") == content else f"{result}\nother content", hit
    good = hit and not result.crashed and tells_why(result, mode) and not os.path.exists(target)
    return None if good else f"{result}\ntarget left: {os.path.exists(target)}", hit


def test_tools(tap):
    with open("source.raw", "wb") as source:
        source.write(b"\x5a" * (96 * KiB) + bytes(288 * KiB) + seeds.rng().randbytes(640 * KiB))
    must("qemu-img", "convert", "-O", "qcow2", "-o", "cluster_size=4k", "source.raw",
         "source.qcow2")
    with open("zero.raw", "wb") as zero:
        zero.truncate(DISK)
    full, zero = sha256("source.raw"), sha256("zero.raw")
    create = ["create", "-q", "-f", "qcow2"]
    for name, words, target, content in (
            ("create", create + ["new.qcow2", "1M"], "new.qcow2", zero),
            ("create, metadata preallocated",
             create + ["-o", "preallocation=metadata,cluster_size=4k", "new.qcow2", "1M"],
             "new.qcow2", zero),
            ("create, all preallocated",
             create + ["-o", "preallocation=full", "new.qcow2", "1M"], "new.qcow2", zero),
            ("create an overlay",
             create + ["-b", "source.raw", "-F", "raw", "new.qcow2"], "new.qcow2", full),
            ("create raw", ["create", "-q", "-f", "raw", "new.raw", "1M"], "new.raw", zero),
            ("convert to qcow2", ["convert", "-t", "writeback", "-O", "qcow2", "-o",
                                  "cluster_size=4k", "source.raw", "new.qcow2"],
             "new.qcow2", full),
            ("convert to raw", ["convert", "-t", "writeback", "-O", "raw", "source.qcow2",
                                "new.raw"], "new.raw", full)):
        for mode in MODES:
            loop(tap, f"{name}, {mode[0]}",
                 lambda n, m=mode, w=words, t=target, c=content: try_tool(n, m, w, t, c))


def says_io_error(result):
    """By errno, or in the words of check."""
    return os.strerror(errno.EIO) in result.text or "ERROR: I/O error in" in result.text


def try_reading(n, words):
    """A tool whose source cannot be read."""
    before = sha256("source.qcow2")
    remove("out.raw")
    mode = ("EIO", errno.EIO, "r", "+")
    result = run("qemu-img", *words, env=failing("source.qcow2", mode, n))
    hit = os.path.exists(MARK)
    good = result.status == 0 if not hit else \
        result.status == 1 and says_io_error(result) and \
        not os.path.exists("out.raw")
    return None if good and before == sha256("source.qcow2") else str(result), hit


def test_reading(tap):
    for words in (["info", "source.qcow2"], ["check", "source.qcow2"],
                  ["convert", "-O", "raw", "source.qcow2", "out.raw"]):
        loop(tap, f"{words[0]}, unreadable source",
             lambda n, w=words: try_reading(n, w))


def try_short(n, initial):
    """The n-th transfer does only half: nobody may notice."""
    shutil.copyfile("fresh.qcow2", "disk.qcow2")
    remove(MARK)
    guest = Guest(initial)
    result = guest.work(shim("disk.qcow2", short=n, mark=MARK))
    wrong = guest.verdict(everything=True) if result.status == 0 else str(result)
    return wrong, os.path.exists(MARK)


def test_short(tap):
    for name, options, initial in IMAGES:
        must("qemu-img", "create", "-q", "-f", "qcow2", *options, "fresh.qcow2", str(DISK))
        loop(tap, f"short transfers, {name}", lambda n, i=initial: try_short(n, i))


def try_memory(n, words, target, content):
    """The n-th large allocation fails: the tool does without, or says so and leaves no target."""
    remove(MARK)
    if target:
        remove(target)
    result = run("qemu-img", *words, env=short_of_memory(n, MEMORY, MARK))
    hit = os.path.exists(MARK)
    if result.status == 0:
        if target:
            must("qemu-img", "convert", "-O", "raw", target, "out.raw")
        return None if not target or sha256("out.raw") == content else "other content", hit
    # compare and check have words of their own.
    said = any(words in result.text for words in (
        os.strerror(errno.ENOMEM), "Could not allocate", "Sector allocation test failed",
        "internal errors"))
    good = hit and result.status > 0 and not result.crashed and said and not (target and os.path.exists(target))
    return None if good else f"{result}\n{result.crashed}", hit


def test_memory(tap):
    if sanitized():
        print("# not with a sanitizer: its allocator is in the way")
        return
    must("qemu-img", "convert", "-O", "qcow2", "-o", "cluster_size=2M", "source.raw",
         "large.qcow2")
    full = sha256("source.raw")
    for name, words, target in (
            ("open", ["info", "large.qcow2"], None),
            ("check", ["check", "large.qcow2"], None),
            ("convert to raw", ["convert", "-O", "raw", "large.qcow2", "new.raw"], "new.raw"),
            ("convert to large clusters",
             ["convert", "-O", "qcow2", "-o", "cluster_size=2M", "source.raw", "new.qcow2"],
             "new.qcow2"),
            ("compare", ["compare", "large.qcow2", "source.raw"], None)):
        loop(tap, f"no memory: {name}",
             lambda n, w=words, t=target: try_memory(n, w, t, full))


def main():
    tap = Tap()
    test_workloads(tap)
    test_tools(tap)
    test_reading(tap)
    test_short(tap)
    test_memory(tap)
    return tap.finish()


sys.exit(main())
