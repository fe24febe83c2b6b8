#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Byte locks between processes, ours and stock's in both directions: who is refused, what the hint
says of the holder, and --wait-lock."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import BUILD, PATIENCE, Tap, must, run, stock  # noqa: E402
from qmptest import Vm                                      # noqa: E402

DAEMON = "qemu-storage-daemon"
IMAGE = "i.qcow2"
WRITE = 'Failed to get "write" lock'
SHARED = 'Failed to get shared "write" lock'
HINT = f"Is another process using the image [{IMAGE}]?"
WRITER = "it uses consistent read, write, resize and keeps others from write, resize."
READER = "it uses consistent read and keeps others from write, resize."

# How an image is held -> what the other side gets when it opens it so; None: it gets in.
HOLD = {"rw": [], "ro": ["-r"], "shared": ["-r", "-U"]}
TRY = {"rw": [], "ro": ["-r"], "shared": ["-r", "-U"]}
EXPECTED = {
    ("rw", "rw"): WRITE, ("rw", "ro"): SHARED, ("rw", "shared"): None,
    ("ro", "rw"): WRITE, ("ro", "ro"): None, ("ro", "shared"): None,
    ("shared", "rw"): None, ("shared", "ro"): None, ("shared", "shared"): None,
}


def program(name, is_stock):
    """The path of ours or stock's, or None."""
    return stock(name) if is_stock else os.path.join(BUILD, name)


class Holder:
    """A qemu-io that holds the image until the with block ends."""

    def __init__(self, path, how, image=IMAGE):
        # It prints its answer once the image is open.
        self.process = subprocess.Popen([path, *HOLD[how], image], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def __enter__(self):
        self.process.stdin.write(b"length\n")
        self.process.stdin.flush()
        text = self.process.stdout.readline()
        assert b"4 MiB" in text, text
        return self

    def end(self):
        """Let go."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def __exit__(self, *exc):
        if not self.process.stdin.closed:
            self.end()


def matrix(tap, holder_is_stock, taker_is_stock):
    """Every way to hold against every way to open."""
    names = ["stock" if x else "ours" for x in (holder_is_stock, taker_is_stock)]
    holder, taker = program("qemu-io", holder_is_stock), program("qemu-io", taker_is_stock)
    for (held, tried), text in EXPECTED.items():
        name = f"/locks/{names[0]}-holds-{held}-{names[1]}-opens-{tried}"
        if not holder or not taker:
            tap.skip(name, "stock qemu-io is not installed")
            continue
        with Holder(holder, held) as h:
            result = run(taker, *TRY[tried], "-c", "read 0 512", IMAGE)
        wanted = [f"qemu-io: can't open device {IMAGE}: {text}", HINT] if text else []
        if text and not taker_is_stock:
            wanted.append(f"The lock is held by process {h.process.pid} (qemu-io): "
                          + (WRITER if held == "rw" else READER))
        tap.ok(result.err.splitlines() == wanted and (result.status != 0) == bool(text), name,
               result)


# Options of a daemon's nodes -> does the image stay free for others who look at the locks?
DAEMONS = {
    "auto": ({"locking": "auto"}, {}, False),
    "on": ({"locking": "on"}, {}, False),
    "off": ({"locking": "off"}, {}, True),
    "shared": ({}, {"read-only": True, "force-share": True}, True),
}


def daemons(tap, holder_is_stock, taker_is_stock):
    """Storage daemons that look at locks, or not, against tools that do, or not."""
    names = ["stock" if x else "ours" for x in (holder_is_stock, taker_is_stock)]
    holder, taker = program(DAEMON, holder_is_stock), program("qemu-io", taker_is_stock)
    if not holder or not taker:
        tap.skip(f"/locks/{names[0]}-daemon-{names[1]}-tool", "stock is not installed")
        return
    for how, (file, node, is_free) in DAEMONS.items():
        with Vm(program=holder) as vm:
            vm.execute("blockdev-add", {"driver": "qcow2", "node-name": "n", **node, "file": {
                "driver": "file", "filename": IMAGE, **file}})
            for locking in ("auto", "off"):
                result = run(taker, "--image-opts", "-c", "read 0 512", "driver=qcow2,"
                             f"file.driver=file,file.filename={IMAGE},file.locking={locking}")
                gets_in = is_free or locking == "off"
                is_named = (f"The lock is held by process {vm.process.pid} ({DAEMON}): {WRITER}"
                            in result.err)
                tap.ok((result.status == 0) == gets_in and
                       (gets_in or WRITE in result.err and HINT in result.err) and
                       is_named == (not gets_in and not taker_is_stock),
                       f"/locks/{names[0]}-daemon-{how}-{names[1]}-tool-{locking}", result)


def check_hidden_holder(tap):
    """A holder whose descriptors may not be seen is said to be so."""
    name = "/locks/a-hidden-holder-is-called-hidden"
    if os.getuid() != 0:
        tap.skip(name, "needs root, to become somebody else")
        return
    os.chmod(IMAGE, 0o666)
    os.chmod(".", 0o755)
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
             os.path.join(BUILD, "qemu-img"), "info", os.path.abspath(IMAGE)]
    with Holder(program("qemu-io", False), "rw"):
        probe = subprocess.run([*words[:4], words[4], "--version"], capture_output=True,
                               check=False)
        if probe.returncode:
            tap.skip(name, "another user cannot run the tools here")
            return
        result = subprocess.run(words, capture_output=True, text=True, check=False)
    if "Permission denied" in result.stderr:
        tap.skip(name, "another user cannot reach the scratch folder")
        return
    tap.ok("The lock is held by a process that is not visible to this user.\n" in result.stderr,
           name, result.stderr)


QUIT = '{"execute": "qmp_capabilities"}\n{"execute": "quit"}\n'


def check_wait(tap, words, name, stdin=""):
    """A command that waits goes on as soon as the holder lets go."""
    with Holder(program("qemu-io", False), "rw") as holder:
        with subprocess.Popen([os.path.join(BUILD, words[0]), *words[1:]], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as waiter:
            line = waiter.stderr.readline()
            was_waiting = waiter.poll() is None
            holder.end()
            out, err = waiter.communicate(stdin, timeout=PATIENCE)
    pattern = (r"Waiting for the \"write\" lock on 'i\.qcow2', held by process "
               rf"{holder.process.pid} \(qemu-io\): .* \(0 of 60 s\)\n")
    tap.ok(was_waiting and re.fullmatch(pattern, line) and waiter.returncode == 0, name,
           f"{line}{out}{err}status {waiter.returncode}")


def check_wait_ends(tap):
    """Who waits in vain gets the same answer as who does not wait."""
    with Holder(program("qemu-io", False), "rw"):
        result = run("qemu-img", "info", "--wait-lock=1", IMAGE)
    lines = result.err.splitlines()
    tap.ok(result.status == 1 and len(lines) == 4 and lines[0].startswith("Waiting for the ")
           and lines[1] == f"qemu-img: Could not open '{IMAGE}': {SHARED}"
           and 0.9 < result.seconds < 20, "/locks/waiting-ends", result)


def check_wait_sees_what_changed(tap):
    """What the holder wrote while we waited is read, also where the file has grown."""
    must("qemu-img", "create", "-q", "-f", "qcow2", "grow.qcow2", "4M")
    with Holder(program("qemu-io", False), "rw", "grow.qcow2") as holder:
        with subprocess.Popen([os.path.join(BUILD, "qemu-io"), "--wait-lock", "60", "-r", "-c",
                               "read -P 7 1M 2M", "grow.qcow2"], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiter:
            waiter.stderr.readline()
            holder.process.stdin.write(b"write -P 7 1M 2M\n")
            holder.end()
            out, err = waiter.communicate(timeout=PATIENCE)
    tap.ok(waiter.returncode == 0 and "verification failed" not in out,
           "/locks/waiting-sees-what-changed", out + err)


def check_bad_argument(tap):
    """A time that is none is refused."""
    for words in (["qemu-img", "--wait-lock=soon", "info", IMAGE],
                  ["qemu-io", "--wait-lock=-1", IMAGE],
                  ["qemu-storage-daemon", "--wait-lock", "86401"]):
        result = run(*words)
        tap.ok(result.status == 1 and "Invalid time to wait for a lock" in result.err,
               f"/locks/{words[0]}-refuses-a-bad-time", result)


def main():
    """All cases."""
    tap = Tap()
    must("qemu-img", "create", "-q", "-f", "qcow2", IMAGE, "4M")
    for pair in ((False, False), (True, False), (False, True)):
        matrix(tap, *pair)
        daemons(tap, *pair)
    check_hidden_holder(tap)
    wait = "--wait-lock=60"
    check_wait(tap, ["qemu-img", "info", wait, IMAGE], "/locks/info-waits")
    check_wait(tap, ["qemu-img", wait, "check", IMAGE], "/locks/check-waits")
    check_wait(tap, ["qemu-img", "convert", wait, IMAGE, "out.raw"], "/locks/convert-waits")
    check_wait(tap, ["qemu-img", "resize", wait, IMAGE, "4M"], "/locks/resize-waits")
    check_wait(tap, ["qemu-img", "create", wait, "-q", "-f", "qcow2", IMAGE, "4M"],
               "/locks/create-waits")
    check_wait(tap, ["qemu-io", wait, "-c", "read 0 512", IMAGE], "/locks/qemu-io-waits")
    check_wait(tap, ["qemu-storage-daemon", wait, "--chardev", "stdio,id=m", "--blockdev",
                     f"qcow2,node-name=q,file.driver=file,file.filename={IMAGE}", "--monitor",
                     "m"], "/locks/the-daemon-waits", QUIT)
    check_wait_ends(tap)
    check_wait_sees_what_changed(tap)
    check_bad_argument(tap)
    sys.exit(tap.finish())


if __name__ == "__main__":
    main()
