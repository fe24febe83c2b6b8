# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests of media share: the ports of the reader isa-cdrom, a guest that uses them, events of its
tray; what lies in a drive, and a job that keeps it there."""

import os

from qmptest import MiB, make_raw
from qtest import Ports

SECTOR = 2048
PORTS = 0x530
READ, OPEN, CLOSE, LOCK, UNLOCK = range(1, 6)
BUSY, DATA, ERROR, MEDIUM, TRAY_OPEN, LOCKED = (1 << n for n in range(6))
CHANGED, EJECT = 1, 2


class Guest(Ports):
    """What a guest does at the ports of the reader."""

    def status(self):
        return self.ask(f"inb {PORTS:#x}")

    def events(self):
        return self.ask(f"inb {PORTS + 1:#x}")

    def sectors(self):
        return self.ask(f"inl {PORTS + 8:#x}")

    def command(self, number):
        """Carry it out: the status afterwards."""
        self.ask(f"outb {PORTS:#x} {number}")
        while self.status() & BUSY:
            pass
        return self.status()

    def read(self, sector):
        """The bytes of a sector, or None if it cannot be read."""
        self.ask(f"outl {PORTS + 4:#x} {sector}")
        if self.command(READ) & ERROR:
            return None
        words = []
        while self.status() & DATA:
            words.append(self.ask(f"inl {PORTS + 12:#x}"))
        return b"".join(word.to_bytes(4, "little") for word in words)


def moves(vm):
    """The events of trays so far: (device, id, open)."""
    vm.command("query-version")
    found = [(e["data"]["device"], e["data"]["id"], e["data"]["tray-open"]) for e in vm.events
             if e["event"] == "DEVICE_TRAY_MOVED"]
    vm.events.clear()
    return found


def drive(vm, name="cd"):
    """What query-block tells of a drive."""
    row, = (row for row in vm.command("query-block") if row["device"] == name)
    return row


def file_name(row):
    """Of the medium in such a drive; None without one."""
    return os.path.basename(row["inserted"]["file"]) if "inserted" in row else None


def put_under_a_job(vm, **which):
    """A medium that a backup reads: what refuses to take it out says."""
    make_raw("a.raw", 2 * MiB)
    vm.command("blockdev-change-medium", filename="a.raw", format="raw",
               read_only_mode="read-write", **which)
    vm.null("t", 2 * MiB)
    vm.command("blockdev-backup", job_id="j", device="cd", target="t", sync="full", speed=1)
    return "Node 'cd' is busy: block device is in use by block job: backup"


def end_the_job(vm):
    vm.command("job-cancel", id="j")
    vm.wait_event("BLOCK_JOB_CANCELLED")
