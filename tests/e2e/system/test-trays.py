#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Media in a reader: its tray and door, what the guest sees of them, and who moves them."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from qmptest import run, same      # noqa: E402
from qtest import OPTIONS          # noqa: E402
from readertest import (BUSY, CHANGED, CLOSE, EJECT, ERROR, Guest, LOCK, LOCKED, MEDIUM,  # noqa: E402
                        OPEN, PORTS, READ, SECTOR, TRAY_OPEN, UNLOCK, drive, end_the_job,
                        file_name, moves, put_under_a_job)


def medium(name, sectors):
    """An image in which each sector is filled with its number."""
    with open(name, "wb") as image:
        image.write(b"".join(bytes([n]) * SECTOR for n in range(sectors)))


def tray(vm):
    """(locked, open, file of the medium) as query-block tells."""
    row = drive(vm)
    same((row["removable"], row["qdev"]), (True, "r"))
    return row["locked"], row["tray_open"], file_name(row)


OPENED, CLOSED = [("cd", "r", True)], [("cd", "r", False)]


def the_guest_reads_media(vm):
    medium("a.raw", 7)
    with Guest() as guest:
        same((guest.status(), guest.sectors(), guest.read(0)), (0, 0, None))
        vm.command("blockdev-change-medium", id="r", filename="a.raw", format="raw")
        same((guest.status() & MEDIUM, guest.sectors(), guest.events()), (MEDIUM, 7, CHANGED))
        for n in (0, 6, 3):
            same(guest.read(n), bytes([n]) * SECTOR)
        same((guest.read(7), guest.read(2**32 - 1), guest.events()), (None, None, 0))
        same(guest.command(77) & ERROR, ERROR)
        row, = (row for row in vm.command("query-blockstats") if row["device"] == "cd")
        same((row["stats"]["rd_operations"], row["stats"]["rd_bytes"]), (3, 3 * SECTOR))


def users_move_the_tray(vm):
    medium("a.raw", 7)
    vm.add("m", "raw", file={"driver": "file", "filename": "a.raw"}, read_only=True)
    shut = "Tray of device 'r' is not open"
    vm.refused(shut, "blockdev-insert-medium", id="r", node_name="m")
    vm.refused(shut, "blockdev-remove-medium", id="r")
    vm.command("blockdev-open-tray", id="r")
    same((moves(vm), tray(vm)), (OPENED, (False, True, None)))
    vm.command("blockdev-open-tray", id="r")
    same(moves(vm), [])
    vm.command("blockdev-insert-medium", id="r", node_name="m")
    same(tray(vm), (False, True, "a.raw"))
    with Guest() as guest:
        same((guest.status(), guest.read(0)), (TRAY_OPEN, None))
        vm.refused("Node 'm' is already in use", "blockdev-insert-medium", id="r", node_name="m")
        vm.null("n", read_only=True)
        vm.refused("There already is a medium in device 'r'", "blockdev-insert-medium", id="r",
                   node_name="n")
        vm.command("blockdev-close-tray", id="r")
        same((moves(vm), tray(vm), guest.events()), (CLOSED, (False, False, "a.raw"), CHANGED))
        same(guest.read(1), b"\1" * SECTOR)
    vm.command("blockdev-close-tray", id="r")
    same(moves(vm), [])
    vm.refused(shut, "blockdev-remove-medium", id="r")
    vm.refused("Node m is in use", "blockdev-del", node_name="m")
    vm.command("eject", id="r")
    same((moves(vm), tray(vm)), (OPENED, (False, True, None)))
    vm.command("blockdev-del", node_name="m")


def a_locked_door_is_opened_by_the_guest_or_by_force(vm):
    medium("a.raw", 7)
    medium("b.raw", 3)
    new = {"id": "r", "filename": "b.raw", "format": "raw"}
    vm.command("blockdev-change-medium", **{**new, "filename": "a.raw"})
    locked = "Device 'r' is locked and force was not specified, wait for tray to open and try again"
    with Guest() as guest:
        same(guest.command(LOCK) & (LOCKED | ERROR), LOCKED)
        guest.events()
        moves(vm)
        for name, arguments in (("eject", {"id": "r"}), ("blockdev-open-tray", {"id": "r"}),
                                ("blockdev-change-medium", new)):
            vm.refused(locked, name, **arguments)
            same((tray(vm), moves(vm), guest.events()), ((True, False, "a.raw"), [], EJECT))
        same(vm.hmp("eject cd"), f"Error: {locked}\r\n".replace("'r'", "'cd'"))
        assert "Removable device: locked, tray closed" in vm.hmp("info block")
        # A guest must unlock before it opens the tray.
        same(guest.command(OPEN) & (ERROR | TRAY_OPEN), ERROR)
        same(guest.command(UNLOCK) & (ERROR | LOCKED), 0)
        same(guest.command(OPEN) & (ERROR | TRAY_OPEN), TRAY_OPEN)
        same(moves(vm), OPENED)
        vm.command("blockdev-remove-medium", id="r")
        same(guest.command(CLOSE) & (ERROR | TRAY_OPEN), 0)
        same((moves(vm), tray(vm)), (CLOSED, (False, False, None)))
        # A user who insists.
        for name, arguments, end in (
                ("blockdev-change-medium", new, (False, False, "b.raw")),
                ("blockdev-open-tray", {"id": "r"}, (False, True, "b.raw")),
                ("eject", {"id": "r"}, (False, True, None))):
            guest.command(CLOSE)
            guest.command(LOCK)
            moves(vm)
            vm.command(name, force=True, **arguments)
            same((moves(vm)[0], tray(vm)), (OPENED[0], end))
            same(guest.status() & LOCKED, 0)


def a_changed_medium_tells_of_both_moves(vm):
    medium("a.raw", 7)
    for _ in range(2):
        vm.command("blockdev-change-medium", device="cd", filename="a.raw", format="raw")
        same(moves(vm), OPENED + CLOSED)
    vm.refused("Could not open 'none': No such file or directory", "blockdev-change-medium",
               device="cd", filename="none")
    same((moves(vm), tray(vm)), ([], (False, False, "a.raw")))
    # The reader never writes, so that a medium others may write to is none of its business.
    vm.command("blockdev-change-medium", id="r", filename="a.raw", format="raw",
               read_only_mode="read-write")
    same(drive(vm)["inserted"]["ro"], False)


def a_medium_under_a_job_stays(vm):
    busy = put_under_a_job(vm, id="r")
    moves(vm)
    vm.refused(busy, "eject", id="r")
    same((moves(vm), tray(vm)[:2]), (OPENED, (False, True)))
    assert "inserted" in drive(vm)
    vm.refused(busy, "blockdev-remove-medium", id="r")
    end_the_job(vm)
    vm.command("blockdev-remove-medium", id="r")
    same(tray(vm), (False, True, None))


def a_slot_has_no_tray(vm):
    medium("a.raw", 7)
    with Guest() as guest:
        row = drive(vm)
        assert row["removable"] and "tray_open" not in row, row
        vm.add("m", "raw", file={"driver": "file", "filename": "a.raw"}, read_only=True)
        vm.command("blockdev-open-tray", id="r")
        vm.command("blockdev-insert-medium", id="r", node_name="m")
        same((guest.events(), guest.read(5)), (CHANGED, b"\5" * SECTOR))
        same(guest.command(OPEN) & ERROR, ERROR)
        vm.command("blockdev-remove-medium", id="r")
        same((guest.sectors(), guest.read(5)), (0, None))
        vm.command("blockdev-close-tray", id="r")
        same(moves(vm), [])


def errors_go_by_the_policy(vm):
    """rerror=stop: the machine stops, and the sector is read once more when it goes on."""
    medium("a.raw", 7)
    vm.add("m", "raw", read_only=True, file={
        "driver": "blkdebug", "image": {"driver": "file", "filename": "a.raw"},
        "inject-error": [{"event": "read_aio", "errno": 5, "once": True}]})
    vm.command("blockdev-insert-medium", id="r", node_name="m")
    with Guest() as guest:
        guest.ask(f"outl {PORTS + 4:#x} 5")
        guest.ask(f"outb {PORTS:#x} {READ}")
        data = vm.wait_event("BLOCK_IO_ERROR")["data"]
        same((data["action"], data["operation"]), ("stop", "read"))
        vm.wait_event("STOP")
        same(guest.status() & (BUSY | ERROR), BUSY)
        vm.command("cont")
        while guest.status() & BUSY:
            pass
        same(guest.ask(f"inl {PORTS + 12:#x}"), 0x05050505)


def args(*device):
    return ["-M", "e2k", "-display", "none", "-nodefaults", *OPTIONS, "-drive",
            "if=none,media=cdrom,id=cd", "-device", ",".join(["isa-cdrom,drive=cd,id=r", *device])]


SLOT = {a_slot_has_no_tray: ["tray=off"], errors_go_by_the_policy: ["tray=off", "rerror=stop"]}
run("trays", [the_guest_reads_media, users_move_the_tray,
              a_locked_door_is_opened_by_the_guest_or_by_force,
              a_changed_medium_tells_of_both_moves, a_medium_under_a_job_stays,
              *SLOT], args=lambda case: args(*SLOT.get(case, ())), program="qemu-system-e2k")
