# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests of the reader isa-cdrom share: its ports, a guest that uses them, events of its tray."""

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
