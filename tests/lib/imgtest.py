# SPDX-License-Identifier: GPL-2.0-or-later
"""What the Python tests of images and tools share: finding and running the programs, the stock
ones beside them, and the guest content that the samples hold.

A test runs in a scratch folder (tests/run-tests); $BUILD says where the programs are."""

import functools
import hashlib
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time

SRC = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BUILD = os.environ.get("BUILD", os.path.join(SRC, "build"))
sys.path.insert(0, os.path.join(SRC, "tests", "emulator"))

from tap import Tap                           # noqa: E402,F401 (for those who import us)

KiB, MiB = 1 << 10, 1 << 20


@functools.lru_cache(None)
def sanitized():
    """True if the programs carry a sanitizer, which maps terabytes and slows everything down."""
    with open(os.path.join(BUILD, "config.mak"), encoding="utf-8") as mak:
        return "-fsanitize" in mak.read()


def have(name):
    """True if program @name is built."""
    return os.access(os.path.join(BUILD, name), os.X_OK)


@functools.lru_cache(None)
def stock(name):
    """The path of an installed stock @name; None if there is none, or if it is ours."""
    path = shutil.which(name)
    if not path:
        return None
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    return path if "version" in text and "e2k" not in text else None


class Run:
    """A finished program: status (negative: the signal; None: it hung and was killed), out, err."""

    def __init__(self, words, status, out, err):
        self.words, self.status, self.out, self.err = words, status, out, err

    @property
    def text(self):
        """All it printed."""
        return self.out + self.err

    @property
    def crashed(self):
        """Why it did not end by itself; None if it did."""
        if self.status is None:
            return "hung"
        if self.status < 0:
            return signal.Signals(-self.status).name
        for mark in ("Sanitizer", "runtime error:", "Assertion", "assertion"):
            if mark in self.err:
                return f"said '{mark}'"
        return None

    def __str__(self):
        return f"$ {' '.join(self.words)}\nstatus {self.status}\n{self.text[-4000:]}"


def run(*words, timeout=60, memory=None, stdin=None):
    """Run a program; a bare name means ours, a path is taken as it is.  @memory bounds the
    address space in bytes."""
    words = [str(w) for w in words]
    path = words[0] if os.sep in words[0] else os.path.join(BUILD, words[0])

    def limit():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if memory and not sanitized():
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    with subprocess.Popen([path, *words[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, preexec_fn=limit) as process:
        try:
            out, err = process.communicate(stdin.encode() if stdin else b"", timeout)
            status = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            status = None
    return Run(words, status, out.decode(errors="replace"), err.decode(errors="replace"))


def must(*words, **options):
    """As run(), for what has to go well."""
    result = run(*words, **options)
    if result.status != 0:
        raise RuntimeError(str(result))
    return result


def sha256(path):
    """The digest of a file, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(MiB):
            digest.update(block)
    return digest.hexdigest()


def snapshot_of(folder):
    """{name: digest} of the files below @folder, to see that nothing was left or harmed."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            if os.path.isfile(path):
                found[os.path.relpath(path, folder)] = sha256(path)
    return found


def pattern(first, count):
    """@count sectors that tell their numbers, from sector @first on."""
    return b"".join(struct.pack(">Q", s) + bytes((s * 7 + i) & 255 for i in range(504))
                    for s in range(first, first + count))


class Clock:
    """A budget of seconds, longer where sanitizers slow the programs down."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds * (3 if sanitized() else 1)

    def is_over(self):
        """True once it is spent."""
        return time.monotonic() > self.end
