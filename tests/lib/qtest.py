# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest does at ports, played by qtest over a socket: beside a monitor in the same program."""

import socket

from qmptest import same

# Options of the emulator that Ports needs, in the folder where it is made.
OPTIONS = ["-accel", "qtest", "-qtest-log", "none", "-qtest", "unix:qtest,server=on,wait=off"]


class Ports:
    """A connection; with block."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("qtest")
        self.file = self.sock.makefile("rw")

    def ask(self, line):
        """Carry out a line of qtest's protocol: the number it answers, if any."""
        self.file.write(line + "\n")
        self.file.flush()
        answer = self.file.readline().split()
        same(answer[0], "OK")
        return int(answer[1], 16) if len(answer) > 1 else None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.file.close()
        self.sock.close()
