# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulator with a guest that goes on writing records to its disk and reading them back."""

import contextlib
import os
import queue
import subprocess
import threading

from imgtest import PATIENCE                  # noqa: E402
from qmptest import BUILD, Client, same       # noqa: E402



class Guest:
    """The emulator with the record-writing guest; killed at the end of the with block."""

    def __init__(self, *args, run=1, words=""):
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "qemu-system-e2k"), "-m", "64", "-display", "none", "-nodefaults",
             "-kernel", os.path.join(BUILD, "guests/disk.elf"),
             "-append", f"records=0 area=1024 flush=16 run={run} {words}", "-device", "isa-debug-exit",
             "-serial", "stdio", "-qmp", "unix:qmp.sock,server=on,wait=off", *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.said = queue.Queue()
        self.ear = threading.Thread(target=self.listen, daemon=True)
        self.ear.start()
        self.vm = Client("qmp.sock", timeout=PATIENCE)

    def listen(self):
        for line in self.process.stdout:
            self.said.put(line.decode(errors="replace").strip())
        self.said.put(None)

    def until(self, words):
        """Read the console up to a new line with @words in it."""
        while True:
            line = self.said.get(timeout=PATIENCE)
            assert line is not None, f"the guest ended before it said '{words}'"
            if words in line:
                return line

    def works(self):
        """It gets on: a progress line that was not there yet, and one more begun after it."""
        while not self.said.empty():
            self.said.get()
        self.until("verified")

    def stop(self):
        """End it; it must have found all its records."""
        self.process.stdin.write(b"q")
        self.process.stdin.flush()
        self.until("guest: PASS")
        same(self.process.wait(timeout=PATIENCE), 1)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()
        self.ear.join()
        self.vm.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink("qmp.sock")
