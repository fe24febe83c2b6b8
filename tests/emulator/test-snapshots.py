#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Registers of all devices, set by qtest, are after loadvm what they were at savevm: in the same
process after a reset, and in a new one."""

import os
import subprocess
import sys
import tempfile
import traceback

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../lib")]

import guest_run                              # noqa: E402
from qmptest import Client, make_qcow2, make_raw, same  # noqa: E402
from qtest_machine import ECAM, IO_APIC, PORTS, SLOT, WINDOW, Disk, Machine  # noqa: E402
from tap import Tap                           # noqa: E402

READ, WRITE = 0, 1
APIC, TIMER = 0xfee00000, 0xfed00000
SERIAL, DEBUGCON, CDROM = PORTS + 0x3f8, PORTS + 0x300, PORTS + 0x530
MSIX = WINDOW + 0x200000
BUSY_ECHO = 0x10                              # modem control: what is sent comes back
SLOTS = (1, SLOT, SLOT + 1, 31)
APIC_REGISTERS = [n << 4 for n in (2, 3, 8, 0xa, 0xd, 0xe, 0xf, *range(0x10, 0x29), 0x30, 0x31,
                                   *range(0x32, 0x38), 0x38, 0x39, 0x3e)]


def words(folder, *more):
    def path(name):
        return os.path.join(folder, name)
    return ["-qmp", f"unix:{path('qmp')},server=on,wait=off", "-m", "16", "-serial", "null",
            "-chardev", "null,id=c", "-device", "isa-debugcon,chardev=c",
            "-object", "iothread,id=io0", "-object", "iothread,id=io1",
            "-blockdev", f"qcow2,node-name=a,file.driver=file,file.filename={path('a')}",
            "-blockdev", f"qcow2,node-name=b,file.driver=file,file.filename={path('b')}",
            "-blockdev", f"raw,node-name=m,read-only=on,file.driver=file,file.filename={path('m')}",
            "-device", "virtio-blk-pci,drive=a,num-queues=2",
            "-device", '{"driver": "virtio-blk-pci", "drive": "b", "num-queues": 2, '
                       '"iothread-vq-mapping": [{"iothread": "io0"}, {"iothread": "io1"}]}',
            "-device", "isa-cdrom,drive=m", *more]


def set_interrupts(m):
    for reg, value in ((0x80, 0x20), (0xd0, 0x5 << 24), (0xe0, 0x7fffffff), (0xf0, 0x1fe),
                       (0x320, 0x20041), (0x370, 0x43), (0x3e0, 0xb), (0x380, 100000)):
        m.write(APIC + reg, value)
    m.write(APIC + 0x300, 0x40066)            # to itself: one waits, and one is served
    m.write(APIC + 0x300, 0x40077)
    same(m.read(APIC + 0xff0) & 0xff, 0x77)
    m.write(APIC + 0x300, 0x40088)
    for pin, entry in ((2, 0x10051), (4, 0x8052), (11, 0x155), (17, 0xa053)):
        m.write(IO_APIC, 0x10 + 2 * pin)
        m.write(IO_APIC + 0x10, entry)
        m.write(IO_APIC, 0x11 + 2 * pin)
        m.write(IO_APIC + 0x10, pin << 24)
    m.write(TIMER, 5000 << 9)
    m.write(TIMER + 4, 100 << 9)
    m.write(TIMER + 12, 3)


def set_ports(m):
    for port, value in ((3, 0x83), (0, 7), (1, 1), (3, 0x1b), (2, 0x81), (4, BUSY_ECHO | 2),
                        (1, 5), (7, 0x5a), (0, 0x41), (0, 0x42)):
        m.write(SERIAL + port, value, "b")
    m.write(CDROM + 4, 1)
    m.write(CDROM, 1, "b")
    while m.read(CDROM, "b") & 1:
        pass
    same(m.read(CDROM + 12), 0x01010101)
    m.write(CDROM, 4, "b")
    while m.read(CDROM, "b") & 1:
        pass
    m.write(PORTS + 0xcf8, 0x80001044)


def set_disks(m):
    """Drivers of both disks, one with INTx that nobody has served, one with MSI-X."""
    disks = [Disk(m, slot=slot, queues=2) for slot in (SLOT, SLOT + 1)]
    config = ECAM + (SLOT + 1 << 15)
    m.write(config + 0x14, MSIX)
    table = 0x40                              # the capabilities end with that of MSI-X
    while m.read(config + table, "b") != 0x11:
        table = m.read(config + table + 1, "b") or 0x34
        table = m.read(config + table, "b") if table == 0x34 else table
    m.write(config + table + 2, 0xc000, "w")  # on, and all masked: interrupts wait
    for entry in range(3):
        m.write(MSIX + 16 * entry, APIC)
        m.write(MSIX + 16 * entry + 8, 0x60 + entry)
        m.write(MSIX + 16 * entry + 12, entry & 1)
    for queue in range(2):
        disks[1].set(0x16, queue, "w")
        disks[1].set(0x1a, queue + 1, "w")
    for disk in disks:
        for queue in range(2):
            m.ask(f"memset {disk.data(queue):#x} 512 {0x21 + queue:#x}")
            same(disk.request(WRITE, 8 * queue, 512, False, queue), 0)
        disk.set(0x2020, 0, "b")              # its write cache, off
    return disks


def look(m):
    """All registers that can be read without changing them, by name."""
    seen = {f"apic {reg:#x}": m.read(APIC + reg) for reg in APIC_REGISTERS}
    select = m.read(IO_APIC)
    for reg in range(0x40):
        m.write(IO_APIC, reg)
        seen[f"ioapic {reg:#x}"] = m.read(IO_APIC + 0x10)
    m.write(IO_APIC, select)
    seen["ioapic select"] = select
    for reg in (0, 4, 8, 12, 0x1c, 0x20, 0x28, 0x2c):
        seen[f"timer {reg:#x}"] = m.read(TIMER + reg)
    for port in (1, 3, 4, 5, 6, 7):
        seen[f"serial {port}"] = m.read(SERIAL + port, "b")
    for port in (0, 4, 8):
        seen[f"cdrom {port}"] = m.read(CDROM + port, "b" if not port else "l")
    seen["debugcon"] = m.read(DEBUGCON + 1, "b")
    seen["pci address"] = m.read(PORTS + 0xcf8)
    for slot in SLOTS:
        for reg in range(0, 256, 4):
            seen[f"pci {slot} {reg:#x}"] = m.read(ECAM + (slot << 15) + reg)
    for n in range(2):
        base = WINDOW + n * 0x100000
        for reg in (*range(0, 0x38, 4), *range(0x2000, 0x203c, 4)):
            seen[f"virtio {n} {reg:#x}"] = m.read(base + reg)
    for reg in (*range(0, 48, 4), 0x800):
        seen[f"msix {reg:#x}"] = m.read(MSIX + reg)
    return seen


def same_registers(got, wanted):
    different = {name: (got[name], wanted[name]) for name in wanted if got[name] != wanted[name]}
    assert not different, different


def goes_on(m, disks):
    """Timers end when they would have, bytes are still there, queues carry requests."""
    m.ask("clock_step 2000000")
    told = [m.read(APIC + 0x220), m.read(APIC + 0x390), m.read(TIMER + 8)]
    told += [m.read(SERIAL, "b"), m.read(SERIAL, "b")]
    told += [m.read(CDROM + 12), m.read(CDROM + 12)]
    for disk in disks:
        for queue in range(2):
            m.ask(f"memset {disk.data(queue):#x} 512 0")
            same(disk.request(READ, 8 * queue, 512, True, queue), 0)
            same(m.read(disk.data(queue) + 511, "b"), 0x21 + queue)
    return told


def check(folder):
    counts = []
    m = Machine(*words(folder))
    vm = Client(os.path.join(folder, "qmp"), timeout=guest_run.TIMEOUT)
    m.ask("clock_step 1000000")
    set_interrupts(m)
    set_ports(m)
    disks = set_disks(m)
    m.ask("clock_step 300")
    m.write(0x300000, 0xabcdef)
    wanted = look(m)
    counts = [list(disk.count) for disk in disks]
    same(vm.hmp("savevm s"), "")
    same_registers(look(m), wanted)
    first = goes_on(m, disks)
    vm.command("system_reset")
    vm.wait_event("RESET")
    m.write(0x300000, 0)
    assert sum(look(m)[name] != wanted[name] for name in wanted) > 50
    for round_ in range(2):
        for disk, count in zip(disks, counts):
            disk.count = list(count)
        same(vm.hmp("loadvm s"), "")
        same_registers(look(m), wanted)
        same(m.read(0x300000), 0xabcdef)
        same((round_, goes_on(m, disks)), (round_, first))
    vm.close()
    same(m.end()[0], 0)
    m = Machine(*words(folder, "-loadvm", "s"))
    for disk, count in zip(disks, counts):
        disk.m, disk.count = m, list(count)
    same_registers(look(m), wanted)
    same(goes_on(m, disks), first)
    same(m.end()[0], 0)


def main():
    tap = Tap()
    if not guest_run.emulator():
        print("1..0 # SKIP qemu-system-e2k is not built")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        home = os.getcwd()
        os.chdir(folder)
        try:
            make_qcow2("a")
            make_qcow2("b")
            make_raw("m", 8192)
            with open("m", "r+b") as medium:
                medium.write(b"\1" * 8192)
            check(folder)
            for name in "ab":
                subprocess.run([os.path.join(guest_run.build_dir(), "qemu-img"), "check", "-q",
                                name], check=True)
            tap.ok(True, "registers come back")
        except Exception:  # pylint: disable=broad-except
            tap.ok(False, "registers come back", traceback.format_exc())
        finally:
            os.chdir(home)
    return tap.finish()


sys.exit(main())
