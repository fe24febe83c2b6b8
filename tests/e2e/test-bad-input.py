#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Wrong input to each program: one clear sentence on stderr (hints may follow it), the documented
exit status, at once; no file left behind, none harmed."""

import fcntl
import os
import re
import struct
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from imgtest import MiB, QemuIo, Tap, have, must, run, snapshot_of, stock  # noqa: E402

IMG, IO, DAEMON, EMULATOR = "qemu-img", "qemu-io", "qemu-storage-daemon", "qemu-system-e2k"
PREFIX = re.compile(r"^(\S*/)?qemu-(img|io|storage-daemon|system-e2k)( \w+)?: ")
# Of qemu-io's commands the sentence is enough.
PLAIN = re.compile(r"^(command |Parsing error: |bad argument count |write failed: |\S+ is not )")
HINTS = ("Try ", "Use ", "Optional suffix ", "and exabytes", "Could not open backing image.",
         "Is another process using ", "The lock is held by ", "Trace events")
CORRUPT_JSON = 'json:{"driver": "qcow2", "file": {"driver": "file", '
DISPLAY = ["-display", "none"]

# Files that cannot be opened as qcow2, and the words that say why.
UNFIT = (
    ("no such file", "nofile", "No such file or directory"),
    ("a directory", "dir", "regular file|Is a directory"),
    ("garbage", "garbage", "Image is not in qcow2 format"),
    ("an empty file", "empty", "Image is not in qcow2 format"),
    ("a truncated header", "short.qcow2", "header too short"),
    ("another format", "plain.raw", "Image is not in qcow2 format"),
    ("an L1 table off its place", "odd.qcow2", "L1 table"),
)
# (title, words of the error, status, command)
WRONG = (
    ("size with a wrong suffix", "Invalid image size specified: '1X'", 1,
     [IMG, "create", "-f", "qcow2", "new.qcow2", "1X"]),
    ("negative size", "nvalid|unrecognized", 1,
     [IMG, "create", "-f", "qcow2", "new.qcow2", "--", "-1M"]),
    ("size of too many bytes", "Invalid image size", 1,
     [IMG, "create", "-f", "qcow2", "new.qcow2", "99E"]),
    ("no size", "needs a size", 1, [IMG, "create", "-f", "qcow2", "new.qcow2"]),
    ("option with a wrong suffix", "cluster_size", 1,
     [IMG, "create", "-q", "-f", "qcow2", "-o", "cluster_size=64q", "new.qcow2", "1M"]),
    ("cluster size out of range", "power of two", 1,
     [IMG, "create", "-q", "-f", "qcow2", "-o", "cluster_size=3k", "new.qcow2", "1M"]),
    ("unknown creation option", "Invalid parameter 'nosuch'", 1,
     [IMG, "create", "-f", "qcow2", "-o", "nosuch=1", "new.qcow2", "1M"]),
    ("unknown format", "Unknown file format 'nosuch'", 1,
     [IMG, "create", "-f", "nosuch", "new.qcow2", "1M"]),
    ("no such folder", "No such file or directory", 1,
     [IMG, "create", "-q", "-f", "qcow2", "nodir/new.qcow2", "1M"]),
    ("backing file that is not there", "nofile.*No such file or directory", 1,
     [IMG, "create", "-q", "-f", "qcow2", "-b", "nofile", "-F", "qcow2", "new.qcow2"]),
    ("backing file of another format", "Image is not in qcow2 format", 1,
     [IMG, "create", "-q", "-f", "qcow2", "-b", "plain.raw", "-F", "qcow2", "new.qcow2"]),
    ("unknown command", "Command not found: nosuch", 1, [IMG, "nosuch"]),
    ("no command", "Not enough arguments", 1, [IMG]),
    ("no file name", "Expecting one image file name", 1, [IMG, "info"]),
    ("unknown option", "unrecognized option '--nosuch'", 1, [IMG, "info", "--nosuch", "good.qcow2"]),
    ("unknown way of output", "--output", 1, [IMG, "info", "--output=xml", "good.qcow2"]),
    ("unknown protocol", "Unknown protocol 'nosuch'", 1, [IMG, "info", "nosuch:x"]),
    ("malformed JSON", "JSON parse error", 1, [IMG, "info", CORRUPT_JSON]),
    ("JSON that is no object", "Invalid JSON object", 1, [IMG, "info", "json:[1]"]),
    ("JSON with an unknown driver", "Unknown driver 'nosuch'", 1,
     [IMG, "info", 'json:{"driver": "qcow2", "file": {"driver": "nosuch"}}']),
    ("JSON of a wrong type", "Invalid parameter type", 1,
     [IMG, "info", 'json:{"driver": "qcow2", "file": 7}']),
    ("deeply nested JSON", "JSON", 1, [IMG, "info", "json:" + "[" * 100000]),
    ("unknown driver option", "does not support the option 'nosuch'", 1,
     [IMG, "info", "--image-opts",
      "driver=qcow2,file.driver=file,file.filename=good.qcow2,nosuch=1"]),
    ("convert to an unknown format", "Unknown file format 'nosuch'", 1,
     [IMG, "convert", "-O", "nosuch", "good.qcow2", "new"]),
    ("convert with an unknown option", "Invalid parameter 'nosuch'", 1,
     [IMG, "convert", "-O", "qcow2", "-o", "nosuch=1", "good.qcow2", "new"]),
    ("convert onto a directory", "Is a directory", 1,
     [IMG, "convert", "-O", "raw", "good.qcow2", "dir"]),
    ("check of a format without checks", "does not support checks", 63,
     [IMG, "check", "-f", "raw", "plain.raw"]),
    ("compare with what is not there", "No such file or directory", 2,
     [IMG, "compare", "good.qcow2", "nofile"]),
    ("unknown qemu-io command", "command \"nosuch\" not found", 1, [IO, "-c", "nosuch",
                                                                     "good.qcow2"]),
    ("qemu-io: wrong suffix", "Parsing error", 1, [IO, "-c", "write 0 1Z", "good.qcow2"]),
    ("qemu-io: too few arguments", "bad argument count", 1, [IO, "-c", "write 0", "good.qcow2"]),
    ("qemu-io: past the end", "Input/output error", 1, [IO, "-c", "write 1M 512", "good.qcow2"]),
    ("qemu-io: not a byte", "not a valid pattern", 1,
     [IO, "-c", "write -P 300 0 512", "good.qcow2"]),
    ("qemu-io: unknown option", "unrecognized option '--nosuch'", 1, [IO, "--nosuch", "good.qcow2"]),
    ("daemon: unknown option", "unrecognized option '--nosuch'", 1, [DAEMON, "--nosuch"]),
    ("daemon: malformed JSON", "JSON parse error", 1, [DAEMON, "--blockdev", '{"driver":']),
    ("daemon: unknown driver", "'nosuch'", 1, [DAEMON, "--blockdev", "driver=nosuch,node-name=a"]),
    ("daemon: unknown parameter", "'nosuch' is unexpected", 1,
     [DAEMON, "--blockdev", "driver=null-co,node-name=a,nosuch=3"]),
    ("daemon: size with a wrong suffix", "'size' expects", 1,
     [DAEMON, "--blockdev", "driver=null-co,node-name=a,size=12Q"]),
    ("daemon: unknown chardev", "'nosuch'", 1, [DAEMON, "--chardev", "nosuch,id=a"]),
    ("daemon: monitor without chardev", "not found", 1, [DAEMON, "--monitor", "nosuch"]),
    ("emulator: unknown option", "invalid option", 1, [EMULATOR, "-nosuch"]),
    ("emulator: no such kernel", "No such file or directory", 1,
     [EMULATOR, *DISPLAY, "-kernel", "nofile"]),
    ("emulator: a directory for a kernel", "Is a directory", 1,
     [EMULATOR, *DISPLAY, "-kernel", "dir"]),
    ("emulator: memory with a wrong suffix", "'size' expects", 1, [EMULATOR, *DISPLAY, "-m", "12Q"]),
    ("emulator: unknown machine", "unsupported machine type", 1, [EMULATOR, "-M", "nosuch"]),
    ("emulator: unknown device", "not a valid device", 1, [EMULATOR, *DISPLAY, "-device", "nosuch"]),
    ("emulator: unknown drive option", "'nosuch'", 1,
     [EMULATOR, *DISPLAY, "-drive", "file=good.qcow2,nosuch=1"]),
    ("emulator: malformed JSON", "JSON parse error", 1,
     [EMULATOR, *DISPLAY, "-blockdev", '{"driver":}']),
)


def prepare():
    """The files that the cases name."""
    must(IMG, "create", "-q", "-f", "qcow2", "good.qcow2", "1M")
    must(IO, "-c", "write -q -P 7 0 64k", "good.qcow2")
    os.mkdir("dir")
    with open("good.qcow2", "rb") as file:
        good = file.read()
    odd = bytearray(good)
    struct.pack_into(">Q", odd, 40, 0x12345)  # the L1 table
    for name, data in (("garbage", bytes(range(1, 200)) * 400), ("empty", b""),
                       ("short.qcow2", good[:60]), ("plain.raw", b"\x55" * MiB),
                       ("odd.qcow2", bytes(odd))):
        with open(name, "wb") as file:
            file.write(data)


def complaint(result, status, words):
    """What is wrong with the way it failed; None if nothing is."""
    lines = result.err.splitlines() or result.out.splitlines()  # qemu-io may answer on stdout
    said = lines[0] if lines else ""
    if result.crashed or result.status != status:
        return f"status {result.status}, not {status}"
    if not PREFIX.match(said) and not PLAIN.match(said):
        return "the first line is no complaint of the program"
    if not re.search(words, said):
        return f"'{words}' is not said"
    for line in lines[1:]:
        if not line.startswith(HINTS):
            return f"more than a sentence: {line}"
    return None


def expect(tap, title, result, status, words, before):
    """Report one case; @before: the files as they were."""
    wrong = complaint(result, status, words)
    if snapshot_of(".") != before or os.path.exists("nodir"):
        wrong = "files changed"
    tap.ok(not wrong, title, f"{wrong}\n{result}")


def openers(path):
    """Every program on a file as qcow2: (name, status, words of the command)."""
    yield "info", 1, [IMG, "info", "-f", "qcow2", path]
    yield "check", 1, [IMG, "check", "-f", "qcow2", path]
    yield "map", 1, [IMG, "map", "-f", "qcow2", path]
    yield "compare", 2, [IMG, "compare", "-f", "qcow2", "-F", "qcow2", path, "good.qcow2"]
    yield "convert", 1, [IMG, "convert", "-f", "qcow2", "-O", "raw", path, "new.raw"]
    yield "overlay", 1, [IMG, "create", "-q", "-f", "qcow2", "-b", path, "-F", "qcow2", "new.qcow2",
                         "1M"]
    yield "qemu-io", 1, [IO, "-f", "qcow2", "-c", "read 0 512", path]
    yield "daemon", 1, [DAEMON, "--blockdev",
                        f"driver=qcow2,node-name=a,file.driver=file,file.filename={path}"]
    yield "emulator", 1, [EMULATOR, *DISPLAY, "-drive", f"file={path},format=qcow2,if=virtio"]


def try_unfit(tap):
    before = snapshot_of(".")
    for title, path, words in UNFIT:
        for name, status, command in openers(path):
            if have(command[0]):
                expect(tap, f"{name}: {title}", run(*command), status, words, before)


def try_wrong(tap):
    before = snapshot_of(".")
    for title, words, status, command in WRONG:
        if have(command[0]):
            expect(tap, title, run(*command), status, words, before)


def try_locked(tap):
    """While another process writes an image, nobody else opens it; -U reads it."""
    for owner in filter(None, ("ours", stock("qemu-io"))):
        # Ours holds the image; stock's locks are the same bytes of the file, taken here.
        before = snapshot_of(".")
        holder = QemuIo("-f", "qcow2", "good.qcow2") if owner == "ours" else hold_like_stock()
        commands = list(openers("good.qcow2"))
        commands.append(("create", 1, [IMG, "create", "-q", "-f", "qcow2", "good.qcow2", "2M"]))
        commands.append(("convert onto it", 1, [IMG, "convert", "-O", "qcow2", "plain.raw",
                                                "good.qcow2"]))
        if owner == "ours":
            holder.ask("length")
        for name, status, command in commands:
            if name in ("compare", "overlay", "daemon") or not have(command[0]):
                continue  # the first opens it as the second; the others do not use it yet
            expect(tap, f"{name}: locked by {os.path.basename(owner)}", run(*command),
                   status, "Failed to get .*lock", before)
        result = run(IMG, "info", "-U", "good.qcow2")
        tap.ok(result.status == 0, f"info -U: reads what {os.path.basename(owner)} has locked",
               result)
        holder.close()


def hold_like_stock():
    """The locks of a stock writer: bytes 100.. say what it does, 200.. what others may not."""
    file = open("good.qcow2", "r+b")
    for byte in (100, 101, 103, 201, 203):
        lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0)
        fcntl.fcntl(file, 37, lock)  # F_OFD_SETLK
    return file


def try_monitor(tap):
    """Malformed JSON on a monitor is answered, and the next command is carried out."""
    talk = ('{"execute":"qmp_capabilities"}\n{"execute": nonsense}\n{"execute":"nosuch"}\n'
            '{"execute":"qmp_capabilities","arguments":{"enable":7}}\n\xff\n{"execute":"quit"}\n')
    for program, words in ((DAEMON, ["--chardev", "stdio,id=m", "--monitor", "chardev=m"]),
                           (EMULATOR, [*DISPLAY, "-S", "-qmp", "stdio"])):
        if have(program):
            result = run(program, *words, stdin=talk)
            good = result.status == 0 and "JSON parse error" in result.out \
                and "CommandNotFound" in result.out and result.out.count('"error"') >= 3
            tap.ok(good, f"{program}: malformed JSON on the monitor", result)


def main():
    tap = Tap()
    prepare()
    try_unfit(tap)
    try_wrong(tap)
    try_locked(tap)
    try_monitor(tap)
    return tap.finish()


sys.exit(main())
