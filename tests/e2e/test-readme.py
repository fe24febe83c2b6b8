#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The examples of the README, run as they stand there."""

import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../lib"))

from imgtest import BUILD, PATIENCE, SRC, Tap  # noqa: E402

NEEDS = ("qemu-img", "qemu-storage-daemon", "qemu-system-e2k", "guests/disk.elf")


def examples():
    """Lines that begin with a prompt, joined with those they go on in."""
    with open(os.path.join(SRC, "README"), encoding="utf-8") as text:
        return [re.sub(r"\\\n\s*", "", found)
                for found in re.findall(r"^    \$ ((?:.*\\\n)*.*)", text.read(), re.MULTILINE)]


def run(line, background):
    """Status and output; what is started in the background joins that list instead."""
    if line.endswith("&"):
        background.append(subprocess.Popen(["bash", "-c", "exec " + line[:-1]],
                                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        return 0, ""
    done = subprocess.run(["bash", "-c", line], stdin=subprocess.DEVNULL, text=True, timeout=PATIENCE,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout


def main():
    tap = Tap()
    missing = [name for name in NEEDS if not os.path.exists(os.path.join(BUILD, name))]
    if missing:
        print(f"1..0 # SKIP {missing[0]} is not built")
        return 0
    home, background = os.getcwd(), []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.symlink(BUILD, "build")
        os.symlink(os.path.join(SRC, "scripts"), "scripts")
        with open("old.raw", "wb") as image:
            image.truncate(1 << 20)
        for number, line in enumerate(examples(), 1):
            status, out = run(line, background)
            # The guest ends the emulator by its device, with 1 for "passed".
            wanted = 1 if "isa-debug-exit" in line else 0
            good = status == wanted and (not wanted or "PASS" in out)
            tap.ok(good, f"/readme/example-{number}", f"$ {line}\nstatus {status}\n{out}")
        for process in background:
            try:
                status = process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                status = None
            tap.ok(status == 0, "/readme/what-ran-meanwhile-ended")
        os.chdir(home)
    return tap.finish()


sys.exit(main())
