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

# Seconds until a test gives up what hangs.  What goes well never takes that long, on no machine.
PATIENCE = 300


@functools.lru_cache(None)
def sanitized():
    """True if the programs carry a sanitizer, which maps terabytes and slows everything down."""
    with open(os.path.join(BUILD, "config.mak"), encoding="utf-8") as mak:
        return "-fsanitize" in mak.read()


def built_with(library):
    """True if the programs use @library: "ZSTD", "GCRYPT"."""
    with open(os.path.join(BUILD, "config.mak"), encoding="utf-8") as mak:
        return f"CONFIG_{library} := y" in mak.read()


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
        self.seconds = self.cpu_seconds = 0.0

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


def run(*words, timeout=PATIENCE, memory=None, stdin=None, env=None):
    """Run a program; a bare name means ours, a path is taken as it is.  @memory bounds the
    address space in bytes."""
    words = [str(w) for w in words]
    path = words[0] if os.sep in words[0] else os.path.join(BUILD, words[0])

    def limit():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if memory and not sanitized():
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    start, before = time.monotonic(), os.times()
    with subprocess.Popen([path, *words[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, preexec_fn=limit,
                          env=dict(os.environ, **(env or {}))) as process:
        try:
            out, err = process.communicate(stdin.encode() if stdin else b"", timeout)
            status = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            status = None
    result = Run(words, status, out.decode(errors="replace"), err.decode(errors="replace"))
    result.seconds = time.monotonic() - start
    after = os.times()
    result.cpu_seconds = (after.children_user + after.children_system - before.children_user -
                          before.children_system)
    return result


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


class History:
    """What each sector of a disk may hold: bytes of one value, by the requests that ran.

    Times are any growing numbers.  A request's end is None until it succeeded; what a flush that
    succeeded had seen ended stays, unless something later replaced it."""

    def __init__(self, sectors, initial=0):
        self.initial = initial
        self.records = [[] for _ in range(sectors)]      # [begin, end, value], oldest first
        self.acks = []                                   # (begin, end) of flushes

    def begin(self, first, count, value, now):
        """A write of @value starts; give what it returns to end()."""
        record = [now, None, value]
        for sector in range(first, first + count):
            self.records[sector].append(record)
        return record

    @staticmethod
    def end(record, now):
        """It succeeded."""
        record[1] = now

    def discard(self, first, count, now):
        """May have been zeroed, or show what is below, or have stayed: never certain."""
        self.begin(first, count, 0, now)
        self.begin(first, count, self.initial, now)

    def flushed(self, begin, end):
        """A flush succeeded."""
        self.acks.append((begin, end))

    def allowed(self, sector, now, everything=False):
        """The values that the sector may hold if all stopped at @now.  @everything: and was
        written back, so that all that ended counts."""
        acked = now if everything else max((b for b, e in self.acks if e <= now), default=-1)
        values = set()
        for begin, end, value in reversed(self.records[sector]):
            if begin > now:
                continue
            values.add(value)
            if end is not None and end <= acked:
                return values
        values.add(self.initial)
        return values

    def complaint(self, path, now, everything=False):
        """What is wrong with the raw file @path; None if nothing is."""
        with open(path, "rb") as file:
            data = file.read()
        if len(data) < 512 * len(self.records):
            return f"only {len(data)} bytes"
        for sector in range(len(self.records)):
            part = data[sector * 512:sector * 512 + 512]
            allowed = self.allowed(sector, now, everything)
            if part[0] not in allowed or part != part[:1] * 512:
                return f"sector {sector} holds {part[:2].hex()}..{part[-2:].hex()}, allowed: " \
                       f"{sorted(allowed)}"
        return None


class QemuIo:
    """qemu-io with its prompt on pipes: one command after the other."""

    def __init__(self, *words, env=None):
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "qemu-io"), *words], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(os.environ, **(env or {})))
        self.output = ""

    def ask(self, command):
        """Run a command; what it printed, or None if the program ended."""
        try:
            self.process.stdin.write(f"{command}\nhelp length\n".encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            return None
        text = ""
        while "length -- " not in text:
            line = self.process.stdout.readline()
            if not line:
                self.output += text
                return None
            text += line.decode(errors="replace")
        answer = text.split("length -- ")[0].replace("qemu-io> ", "")
        self.output += f"{command}\n{answer}"
        return answer

    def close(self):
        """End it; returns a Run."""
        try:
            out, _ = self.process.communicate(b"", 60)
            status = self.process.returncode
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, _ = self.process.communicate()
            status = None
        text = self.output + out.decode(errors="replace")
        return Run(self.process.args, status, text, text)


def short_of_memory(n, size, mark):
    """The environment in which the @n-th allocation of @size bytes or more fails (allocshim.c)."""
    return {"LD_PRELOAD": os.path.join(BUILD, "tests/lib/liballocshim.so"),
            "ALLOCSHIM": f"{n}:{size}", "IOSHIM_MARK": mark}


def shim(match, log=None, fail=None, mark=None, short=None, hang=None, clone=None):
    """The environment that lets tests/lib/ioshim.c record, fail, shorten or hang calls on files named
    @match, and lets these seem to share blocks with others."""
    env = {"LD_PRELOAD": os.path.join(BUILD, "tests/lib/libioshim.so"), "IOSHIM_MATCH": match}
    if sanitized():
        env["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    for name, value in (("LOG", log), ("FAIL", fail), ("MARK", mark), ("SHORT", short),
                        ("HANG", hang), ("CLONE", clone)):
        if value is not None:
            env["IOSHIM_" + name] = str(value)
    return env


class Clock:
    """A budget of seconds, longer where sanitizers slow the programs down."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds * (3 if sanitized() else 1)

    def is_over(self):
        """True once it is spent."""
        return time.monotonic() > self.end
