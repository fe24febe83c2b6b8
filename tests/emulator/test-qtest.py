#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-system-e2k driven over qtest: the machine without a processor.  Run in the build folder."""

import os
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, HERE)

import guest_run                              # noqa: E402
from qtest_machine import DATA, PORTS, Disk, Machine    # noqa: E402
from tap import Tap                           # noqa: E402


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
