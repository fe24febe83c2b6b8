# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts qemu-system-e2k on the guests of this folder and collects what they say."""

import os
import subprocess
import threading

HERE = os.path.dirname(os.path.realpath(__file__))
TIMEOUT = 300

PASS = 1                                      # exit status of a passing guest
SANITIZED = 99                                # of a process in which a sanitizer found something


def build_dir():
    """Where the programs are: BUILD, else the current folder."""
    return os.path.abspath(os.environ.get("BUILD", "."))


def emulator():
    """The emulator's path, or None when it has not been built."""
    path = os.path.join(build_dir(), "qemu-system-e2k")
    return path if os.access(path, os.X_OK) else None


def guest(name):
    """The image of a guest, or None when it has not been built."""
    suffix = ".bin" if name.startswith("rom-") else ".elf"
    path = os.path.join(build_dir(), "guests", name + suffix)
    return path if os.path.exists(path) else None


def command(name, *options, append=None):
    """The command line that runs guest NAME with its serial line on stdout."""
    words = [emulator(), "-M", "e2k", "-nodefaults", "-display", "none", "-serial", "stdio",
             "-device", "isa-debug-exit",
             "-bios" if name.startswith("rom-") else "-kernel", guest(name)]
    if append is not None:
        words += ["-append", append]
    return words + list(options)


def environment():
    """A leak must not look like a pass: the sanitizers' exit status is 1 by default, too."""
    env = dict(os.environ)
    for name in ("ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"):
        env[name] = ":".join(filter(None, (env.get(name), f"exitcode={SANITIZED}")))
    return env


def _wait_for(process, marker):
    """Read lines up to one that holds MARKER, or to the end."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if marker in line:
            break
    return b"".join(lines)


def run(name, *options, append=None, marker=None, answer=b""):
    """Run guest NAME to its end: (exit status, serial output, errors).

    When it has said MARKER, it gets ANSWER on its serial line.
    """
    process = subprocess.Popen(command(name, *options, append=append), env=environment(),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    watchdog = threading.Timer(TIMEOUT, process.kill)
    watchdog.start()
    with process:
        output = _wait_for(process, marker) if marker else b""
        rest, errors = process.communicate(answer)
    if not watchdog.is_alive():
        errors += b"it did not end"
    watchdog.cancel()
    return (process.returncode, (output + rest).decode("latin-1").replace("\r\n", "\n"),
            errors.decode("latin-1"))
