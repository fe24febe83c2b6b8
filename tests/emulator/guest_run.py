# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts qemu-system-e2k on the guests of this folder and collects what they say."""

import os
import subprocess

HERE = os.path.dirname(os.path.realpath(__file__))
TIMEOUT = 120

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


def run(name, *options, append=None, stdin=b""):
    """Run guest NAME to its end: (exit status, serial output, errors)."""
    try:
        done = subprocess.run(command(name, *options, append=append), input=stdin,
                              env=environment(), capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as stuck:
        return None, (stuck.stdout or b"").decode("latin-1"), "it did not end"
    return (done.returncode, done.stdout.decode("latin-1").replace("\r\n", "\n"),
            done.stderr.decode("latin-1"))
