# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulator driven over qtest, and a driver for its disk."""

import subprocess

import guest_run

PORTS = 0x101000000
ECAM = 0x200000000
IO_APIC = 0xfec00000
WINDOW = 0x80000000
SLOT = 2                                      # the first disk's
QUEUE = 0x100000                              # rings of its queue 0 in guest memory
DESC, AVAIL, USED, DATA = 0, 0x1000, 0x2000, QUEUE + 0x3000
QUEUE_STRIDE, DISK_STRIDE = 0x10000, 0x100000


class Machine:
    """An emulator that executes what a test says, by lines on its standard streams."""

    def __init__(self, *options):
        words = [guest_run.emulator(), "-accel", "qtest", "-qtest", "stdio", "-qtest-log", "none",
                 "-display", "none", "-nodefaults", *options]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.events = []

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        while True:
            line = self.process.stdout.readline().strip()
            if not line.startswith("IRQ "):
                return line
            self.events.append(line[4:])

    def read(self, addr, suffix="l"):
        return int(self.ask(f"read{suffix} {addr:#x}").split()[1], 0)

    def write(self, addr, value, suffix="l"):
        assert self.ask(f"write{suffix} {addr:#x} {value:#x}") == "OK"

    def end(self):
        self.process.stdin.close()
        self.process.terminate()
        self.process.stdout.close()
        errors = self.process.stderr.read()
        self.process.stderr.close()
        return self.process.wait(guest_run.TIMEOUT), errors


class Disk:
    """A driver for a virtio disk, just enough for one request at a time in each queue."""

    def __init__(self, m, features=1 << 32, slot=SLOT, queues=1):
        self.m, self.config, self.count = m, ECAM + (slot << 15), [0] * queues
        self.place = (slot - SLOT) * DISK_STRIDE
        m.write(self.config + 0x20, WINDOW + self.place)
        m.write(self.config + 0x24, 0)
        m.write(self.config + 4, 6, "w")
        self.set(0x14, 0, "b")
        while self.get(0x14, "b"):
            pass
        self.set(0x14, 3, "b")
        for word in range(2):
            self.set(0x08, word)
            self.set(0x0c, features >> 32 * word & 0xffffffff)
        self.set(0x14, 11, "b")
        for queue in range(queues):
            m.ask(f"memset {self.ring(queue):#x} 0x3000 0")
            self.set(0x16, queue, "w")
            self.set(0x18, 8, "w")
            for reg, offset in ((0x20, DESC), (0x28, AVAIL), (0x30, USED)):
                self.set(reg, self.ring(queue, offset))
            self.set(0x1c, 1, "w")
        self.set(0x14, 15, "b")

    def ring(self, queue, offset=0):
        return QUEUE + self.place + QUEUE_STRIDE * queue + offset

    def data(self, queue=0):
        return DATA + self.place + QUEUE_STRIDE * queue

    def get(self, reg, suffix="l"):
        return self.m.read(WINDOW + self.place + reg, suffix)

    def set(self, reg, value, suffix="l"):
        self.m.write(WINDOW + self.place + reg, value, suffix)

    def start(self, kind, sector, size, from_device, queue=0):
        """Make a request with data at data(); the queue has no other."""
        m, data = self.m, self.data(queue)
        m.write(data - 32, kind)
        m.write(data - 24, sector, "q")
        m.write(data - 1, 0xff, "b")
        for n, (addr, length, flags) in enumerate((
                (data - 32, 16, 1), (data, size, 3 if from_device else 1), (data - 1, 1, 2))):
            m.write(self.ring(queue, DESC + 16 * n), addr, "q")
            m.write(self.ring(queue, DESC + 16 * n + 8), length)
            m.write(self.ring(queue, DESC + 16 * n + 12), (n + 1) << 16 | flags)
        m.write(self.ring(queue, AVAIL + 4 + 2 * (self.count[queue] % 8)), 0, "w")
        self.count[queue] += 1
        m.write(self.ring(queue, AVAIL + 2), self.count[queue], "w")
        self.set(0x3000 + 4 * queue, queue, "w")

    def is_done(self, queue=0):
        return self.m.read(self.ring(queue, USED + 2), "w") == self.count[queue] & 0xffff

    def status(self, queue=0):
        """The status byte of the request when it is done; None if that takes too long."""
        for _ in range(100000):
            if self.is_done(queue):
                return self.m.read(self.data(queue) - 1, "b")
        return None

    def request(self, kind, sector, size, from_device, queue=0):
        """Make a request; returns its status byte."""
        self.start(kind, sector, size, from_device, queue)
        return self.status(queue)
