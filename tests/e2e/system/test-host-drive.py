#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A drive of the host behind the guest's: media that come and go, the tray, the door.  The drive is
a model behind the host's calls (tests/lib/devmodel.h)."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from devtest import Drive                     # noqa: E402
from imgtest import PATIENCE, Clock, run      # noqa: E402
from qmptest import Vm, make_qcow2, run_alone, same  # noqa: E402
from qtest import OPTIONS                     # noqa: E402
from readertest import (CLOSE, ERROR, Guest, LOCK, LOCKED, MEDIUM, OPEN, SECTOR,  # noqa: E402
                        TRAY_OPEN, UNLOCK, moves)

DISC = b"a" * SECTOR + b"b" * 3 * SECTOR


def start(drive, *more):
    node = f"format=raw,file.driver=host_cdrom,file.filename={drive.path}"
    return Vm("-M", "e2k", "-display", "none", "-nodefaults", *OPTIONS, "-drive",
              f"if=none,id=cd,read-only=on,{node}", "-device", "isa-cdrom,drive=cd,id=r", *more,
              program="qemu-system-e2k", env=drive.env)


def state(vm):
    """(locked, open, size of the medium or None) as query-block tells."""
    row, = vm.command("query-block")
    inserted = row.get("inserted")
    return row["locked"], row["tray_open"], inserted and inserted["image"]["virtual-size"]


def until(check):
    """The drive's commands are carried out in the background."""
    clock = Clock(PATIENCE)
    while not check():
        assert not clock.is_over(), "it never comes"


def media_come_and_go():
    drive = Drive("sr0")
    with start(drive) as vm, Guest() as guest:
        same((state(vm), guest.status() & MEDIUM, guest.sectors()), ((False, False, None), 0, 0))
        same(guest.read(0), None)
        drive.insert(DISC)
        same(guest.read(0), b"a" * SECTOR)
        same((guest.sectors(), state(vm)), (4, (False, False, 4 * SECTOR)))
        # Out by the button: the next read fails, and the guest sees why.
        drive.take_out()
        same(guest.read(1), None)
        same((guest.status() & MEDIUM, state(vm)), (0, (False, False, None)))
        # Another one, of another length; a query notices it, too.
        drive.insert(b"c" * 7 * SECTOR)
        same(state(vm), (False, False, 7 * SECTOR))
        same((guest.sectors(), guest.read(6)), (7, b"c" * SECTOR))
        # Exchanged without anybody having looked in between.
        drive.insert(b"d" * 2 * SECTOR)
        same(state(vm), (False, False, 2 * SECTOR))
        same((guest.read(1), guest.read(2)), (b"d" * SECTOR, None))


def people_see_no_medium():
    drive = Drive("sr0")
    with start(drive) as vm:
        text = vm.hmp("info block")
        assert "cd: [not inserted]" in text, text
        drive.insert(DISC)
        text = vm.hmp("info block")
        assert "json:" in text or "sr0" in text, text


def the_guest_moves_the_host_s_tray():
    drive = Drive("sr0", DISC)
    with start(drive) as vm, Guest() as guest:
        same(state(vm), (False, False, 4 * SECTOR))
        guest.command(LOCK)
        until(lambda: drive.get("is_locked") == 1)
        same(guest.command(OPEN) & ERROR, ERROR)
        same(drive.get("n_moves"), 1)
        guest.command(UNLOCK)
        same(guest.command(OPEN) & (ERROR | TRAY_OPEN), TRAY_OPEN)
        until(lambda: drive.get("is_tray_open") == 1)
        same((drive.get("is_locked"), drive.get("n_moves")), (0, 3))
        until(lambda: state(vm) == (False, True, None))
        same(moves(vm), [("cd", "r", True)])
        same(guest.command(CLOSE) & TRAY_OPEN, 0)
        until(lambda: state(vm) == (False, False, 4 * SECTOR))
        same(guest.read(0), b"a" * SECTOR)
        # What a reset of the machine unlocks, it unlocks on the host.
        guest.command(LOCK)
        until(lambda: drive.get("is_locked") == 1)
        vm.command("system_reset")
        until(lambda: drive.get("is_locked") == 0)


def loading_moves_the_host_s_door():
    drive = Drive("sr0", DISC)
    make_qcow2("a.qcow2")
    with start(drive, "-blockdev", "qcow2,node-name=a,file.driver=file,file.filename=a.qcow2") as vm, \
            Guest() as guest:
        same(vm.hmp("savevm free"), "")
        guest.command(LOCK)
        same(vm.hmp("savevm locked"), "")
        guest.command(UNLOCK)
        guest.command(OPEN)
        until(lambda: drive.get("is_tray_open") == 1)
        same(vm.hmp("savevm open"), "")
        same(moves(vm), [("cd", "r", True)])
        same((vm.hmp("loadvm locked"), guest.status() & (LOCKED | TRAY_OPEN)), ("", LOCKED))
        until(lambda: drive.get("is_locked") == 1)
        same(moves(vm), [("cd", "r", False)])
        same((vm.hmp("loadvm free"), guest.status() & (LOCKED | TRAY_OPEN)), ("", 0))
        until(lambda: drive.get("is_locked") == 0)
        same(moves(vm), [])
        same((vm.hmp("loadvm open"), guest.status() & TRAY_OPEN), ("", TRAY_OPEN))
        same(moves(vm), [("cd", "r", True)])


def an_emulator_that_ends_unlocks():
    drive = Drive("sr0", DISC)
    with start(drive), Guest() as guest:
        guest.command(LOCK)
        until(lambda: drive.get("is_locked") == 1)
    same(drive.get("is_locked"), 0)


def a_tray_that_is_stuck_is_warned_of():
    drive = Drive("sr0", DISC)
    with start(drive) as vm, Guest() as guest:
        drive.set(drive_errno=5)
        same(guest.command(OPEN) & ERROR, 0)
        until(lambda: drive.get("n_moves") == 1)
        vm.command("quit")
        vm.finish()
        vm.log.seek(0)
        said = vm.log.read().decode()
        assert "warning: The host's drive did not open its tray: Input/output error" in said, said


def users_take_the_drive_away():
    """Media commands are about which node is in the guest's drive; the host's tray stays shut."""
    drive = Drive("sr0", DISC)
    with start(drive) as vm, Guest() as guest:
        guest.command(LOCK)
        vm.refused("Device 'cd' is locked and force was not specified, wait for tray to open and "
                   "try again", "eject", device="cd")
        vm.command("eject", device="cd", force=True)
        same(state(vm), (False, True, None))
        same(drive.get("is_tray_open"), 0)
        vm.add("again", "raw", read_only=True, file={"driver": "host_cdrom",
                                                     "filename": drive.path})
        vm.command("blockdev-insert-medium", id="r", node_name="again")
        vm.command("blockdev-close-tray", id="r")
        same(guest.read(3), b"b" * SECTOR)
        # Empty drives may be added as well.
        vm.command("blockdev-open-tray", id="r")
        vm.command("blockdev-remove-medium", id="r")
        vm.command("blockdev-del", node_name="again")
        drive.take_out()
        vm.add("empty", "raw", read_only=True, file={"driver": "host_cdrom",
                                                     "filename": drive.path})
        same(vm.nodes()["empty"]["image"]["virtual-size"], 0)
        vm.command("blockdev-insert-medium", id="r", node_name="empty")
        vm.command("blockdev-close-tray", id="r")
        same(state(vm), (False, False, None))
        same(guest.status() & MEDIUM, 0)


def tools_read_a_drive():
    """Found to be one by its name; an empty one has no format to be guessed."""
    drive = Drive("sr0", DISC * 100)
    path = os.path.realpath(drive.path)
    done = run("qemu-img", "info", "-f", "raw", path, env=drive.env)
    assert "host_cdrom" in done.out and "virtual size: 800 KiB" in done.out, done
    done = run("qemu-img", "convert", "-f", "raw", "-O", "raw", path, "copy.raw", env=drive.env)
    same((done.status, os.path.getsize("copy.raw")), (0, len(DISC) * 100))
    with open("copy.raw", "rb") as copy:
        same(copy.read(), DISC * 100)
    drive.take_out()
    done = run("qemu-img", "info", path, env=drive.env)
    assert "file format: raw" in done.out and "virtual size: 0 B" in done.out, done
    done = run("qemu-io", "-r", "-f", "raw", "-c", "read 0 512", path, env=drive.env)
    same((done.status, done.out), (1, "read failed: No medium found\n"))


run_alone("host-drive", [media_come_and_go, people_see_no_medium, the_guest_moves_the_host_s_tray,
                         loading_moves_the_host_s_door, an_emulator_that_ends_unlocks,
                         a_tray_that_is_stuck_is_warned_of, users_take_the_drive_away,
                         tools_read_a_drive], program="qemu-system-e2k")
