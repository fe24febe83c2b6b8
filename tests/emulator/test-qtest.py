#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-system-e2k driven over qtest: the machine without a processor.  Run in the build folder."""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, HERE)

import guest_run                              # noqa: E402
from tap import Tap                           # noqa: E402

PORTS = 0x101000000
ECAM = 0x200000000
IO_APIC = 0xfec00000
WINDOW = 0x80000000
QUEUE = 0x100000                              # rings of the disk's queue in guest memory
DESC, AVAIL, USED = QUEUE, QUEUE + 0x1000, QUEUE + 0x2000
DATA = QUEUE + 0x3000


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


def equal(tap, got, wanted, name):
    tap.ok(got == wanted, name, f"got {got!r}, not {wanted!r}")


def check_protocol(tap):
    m = Machine("-M", "none")
    equal(tap, m.ask("endianness"), "OK little", "endianness is told")
    equal(tap, m.ask("frob 1"), "FAIL Unknown command 'frob'", "an unknown command fails")
    equal(tap, m.ask("writeb 1"), "FAIL 'writeb' needs 2 arguments", "missing arguments fail")
    equal(tap, m.ask("read 0 zz"), "FAIL invalid address or size", "a bad number fails")
    equal(tap, m.ask("read 0 0x7fffffffffffffff"), "FAIL invalid address or size",
              "a huge transfer fails")
    equal(tap, m.ask("clock_step 1000"), "OK 1000", "the clock steps")
    equal(tap, m.ask("clock_step"), "OK 1000", "without a timer there is no next step")
    m.end()


def check_memory(tap):
    m = Machine("-M", "e2k", "-m", "64M")
    m.write(0x1000, 0x1122334455667788, "q")
    equal(tap, m.ask("read 0x1000 4"), "OK 0x88776655", "memory is little-endian")
    equal(tap, m.ask("write 0x2000 3 0xc0ffee"), "OK", "bytes are written")
    equal(tap, m.ask("b64read 0x2000 3"), "OK wP/u", "and read as base64")
    equal(tap, m.ask("memset 0x3000 8 0x5a") + str(hex(m.read(0x3000, "q"))),
              "OK0x5a5a5a5a5a5a5a5a", "memset fills")
    equal(tap, m.read(64 << 20), 0xffffffff, "there is nothing behind the memory")
    m.write(0x100000000, 0x12345678)
    equal(tap, m.read(0x100000000), 0, "the ROM cannot be written")
    m.end()


def check_ports(tap):
    m = Machine("-M", "e2k", "-serial", "null")
    m.write(PORTS + 0x3ff, 0xa5, "b")
    equal(tap, m.ask("inb 0x3ff"), "OK 0x00a5", "ports show in memory")
    m.ask("outb 0x3fc 0x10")                  # the serial port's loop
    m.ask("outb 0x3f8 0x41")
    equal(tap, m.ask("inb 0x3f8"), "OK 0x0041", "the serial port loops back")
    equal(tap, m.ask("inb 0x999"), "OK 0x00ff", "a port without device reads as ones")
    m.ask("outl 0xcf8 0x8000f800")
    equal(tap, m.ask("inl 0xcfc"), "OK 0x70008086", "the ISA bridge is at 31.0")
    m.end()


def check_exit(tap):
    m = Machine("-M", "e2k", "-device", "isa-debug-exit")
    m.process.stdin.write("outb 0x501 0x15\n")
    m.process.stdin.flush()
    equal(tap, m.process.wait(guest_run.TIMEOUT), 0x2b, "isa-debug-exit sets the exit status")
    m.end()
    m = Machine("-M", "e2k")
    m.process.stdin.write("outw 0x604 0x2000\n")
    m.process.stdin.flush()
    equal(tap, m.process.wait(guest_run.TIMEOUT), 0, "port 0x604 switches off")
    m.end()


def check_timer(tap):
    m = Machine("-M", "e2k")
    m.ask("irq_intercept_in ioapic")
    m.write(0xfed00000, 10 << 9)              # 1 us
    m.write(0xfed0000c, 7)
    m.ask("clock_step 999")
    equal(tap, m.events, [], "no interrupt before the limit")
    m.ask("clock_step 1")
    m.ask("clock_step 2000")
    equal(tap, m.events, ["raise 2", "lower 2"] * 3, "the timer interrupts at each limit")
    equal(tap, m.ask("irq_intercept_in nobody"), "FAIL Unknown device", "an unknown device fails")
    m.end()


class Disk:
    """A driver for the virtio disk at 2.0, just enough for one request at a time."""

    def __init__(self, m, features=1 << 32):
        self.m, self.config, self.count = m, ECAM + (2 << 15), 0
        m.ask(f"memset {QUEUE:#x} 0x3000 0")
        m.write(self.config + 0x20, WINDOW)
        m.write(self.config + 0x24, 0)
        m.write(self.config + 4, 6, "w")
        self.set(0x14, 3, "b")
        for word in range(2):
            self.set(0x08, word)
            self.set(0x0c, features >> 32 * word & 0xffffffff)
        self.set(0x14, 11, "b")
        self.set(0x18, 8, "w")
        for reg, addr in ((0x20, DESC), (0x28, AVAIL), (0x30, USED)):
            self.set(reg, addr)
        self.set(0x1c, 1, "w")
        self.set(0x14, 15, "b")

    def get(self, reg, suffix="l"):
        return self.m.read(WINDOW + reg, suffix)

    def set(self, reg, value, suffix="l"):
        self.m.write(WINDOW + reg, value, suffix)

    def request(self, kind, sector, size, from_device):
        """Make a request with data at DATA; returns its status byte."""
        m, status = self.m, DATA - 1
        m.write(DATA - 32, kind)
        m.write(DATA - 24, sector, "q")
        m.write(status, 0xff, "b")
        for n, (addr, length, flags) in enumerate((
                (DATA - 32, 16, 1), (DATA, size, 3 if from_device else 1), (status, 1, 2))):
            m.write(DESC + 16 * n, addr, "q")
            m.write(DESC + 16 * n + 8, length)
            m.write(DESC + 16 * n + 12, (n + 1) << 16 | flags)
        m.write(AVAIL + 4 + 2 * (self.count % 8), 0, "w")
        self.count += 1
        m.write(AVAIL + 2, self.count, "w")
        self.set(0x3000, 0, "w")
        for _ in range(100000):
            if m.read(USED + 2, "w") == self.count & 0xffff:
                return m.read(status, "b")
        return None


def check_disk(tap):
    with tempfile.NamedTemporaryFile() as image:
        image.truncate(1 << 20)
        m = Machine("-M", "e2k", "-blockdev",
                    f"driver=raw,node-name=d,file.driver=file,file.filename={image.name}",
                    "-device", "virtio-blk-pci,drive=d,serial=SERIAL7")
        m.ask("irq_intercept_in ioapic")
        disk = Disk(m)
        equal(tap, disk.get(0x2000), 2048, "the configuration tells the size")
        m.ask("memset %#x 4096 0x77" % DATA)
        equal(tap, disk.request(1, 8, 4096, False), 0, "a write succeeds")
        equal(tap, m.events, ["raise 17"], "slot 2 interrupts at pin 17")
        equal(tap, disk.get(0x1000, "b"), 1, "the reason is a queue")
        equal(tap, m.events, ["raise 17", "lower 17"], "reading it ends the interrupt")
        equal(tap, disk.request(4, 0, 1, True), 0, "a flush succeeds")
        image.seek(4096)
        equal(tap, image.read(4096), b"\x77" * 4096, "the bytes are in the image")
        m.ask("memset %#x 4096 0" % DATA)
        equal(tap, disk.request(0, 8, 4096, True), 0, "a read succeeds")
        equal(tap, m.ask("read %#x 2" % DATA), "OK 0x7777", "and gives what was written")
        equal(tap, disk.request(0, 2048, 512, True), 1, "a read beyond the end fails")
        equal(tap, disk.request(0, (1 << 55) + 8, 512, True), 1, "so does one far beyond it")
        equal(tap, disk.request(1, 0, 511, False), 1, "and a write of part of a sector")
        equal(tap, disk.request(99, 0, 512, True), 2, "an unknown request is unsupported")
        equal(tap, disk.request(8, 0, 20, True), 0, "the disk has an id")
        equal(tap, m.ask("read %#x 8" % DATA), "OK 0x53455249414c3700", "which is its serial")
        disk.set(0x14, 0, "b")
        equal(tap, disk.get(0x14, "b"), 0, "a reset ends at once when nothing is in flight")
        disk = Disk(m)
        equal(tap, disk.request(0, 8, 512, True), 0, "and the disk works again")
        m.end()


def main():
    tap = Tap()
    if not guest_run.emulator():
        tap.skip("qtest", "qemu-system-e2k has not been built")
        return tap.finish()
    check_protocol(tap)
    check_memory(tap)
    check_ports(tap)
    check_exit(tap)
    check_timer(tap)
    check_disk(tap)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
