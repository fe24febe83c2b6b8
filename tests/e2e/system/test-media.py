#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Media that are taken out, put in and exchanged, of a drive and of a disk that must keep its own."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from qmptest import make_qcow2, make_raw, run, same                   # noqa: E402
from readertest import drive, end_the_job, file_name, put_under_a_job  # noqa: E402


def inserted(vm):
    """File name of the medium in cd and whether it is read-only; None without a medium."""
    row = drive(vm)
    return (file_name(row), row["inserted"]["ro"]) if "inserted" in row else None


def a_medium_is_changed(vm):
    make_raw("a.raw")
    make_qcow2("b.qcow2")
    same(inserted(vm), None)
    vm.command("blockdev-change-medium", device="cd", filename="a.raw", format="raw")
    same(inserted(vm), ("a.raw", True))
    vm.command("blockdev-change-medium", device="cd", filename="b.qcow2",
               read_only_mode="read-write")
    same(inserted(vm), ("b.qcow2", False))
    vm.command("blockdev-change-medium", device="cd", filename="a.raw", format="raw",
               read_only_mode="read-only")
    same(inserted(vm), ("a.raw", True))
    vm.command("eject", device="cd")
    same(inserted(vm), None)
    vm.command("eject", device="cd")


def what_cannot_be_opened_takes_nothing_out(vm):
    make_raw("a.raw")
    vm.command("blockdev-change-medium", device="cd", filename="a.raw", format="raw")
    vm.refused("Could not open 'none.iso': No such file or directory", "blockdev-change-medium",
               device="cd", filename="none.iso")
    same(inserted(vm), ("a.raw", True))


def a_medium_in_use_stays(vm):
    busy = put_under_a_job(vm, device="cd")
    vm.refused(busy, "eject", device="cd")
    vm.refused(busy, "eject", device="cd", force=True)
    vm.refused(busy, "blockdev-change-medium", device="cd", filename="a.raw", format="raw")
    end_the_job(vm)
    same(inserted(vm), ("a.raw", False))
    vm.command("eject", device="cd")


def a_disk_is_not_removable(vm):
    make_raw("a.raw")
    for name, more in (("eject", {}), ("blockdev-open-tray", {}), ("blockdev-close-tray", {}),
                       ("blockdev-change-medium", {"filename": "a.raw", "format": "raw"})):
        vm.refused("Device 'd' is not removable", name, device="d", **more)
        vm.refused("Device 'v' is not removable", name, id="v", **more)
    vm.refused("Device 'v' is not removable", "blockdev-remove-medium", id="v")
    vm.null("other")
    vm.refused("Device 'v' is not removable", "blockdev-insert-medium", id="v", node_name="other")


def drives_are_named_in_one_way(vm):
    one = "Need exactly one of 'device' and 'id'"
    vm.refused(one, "eject")
    vm.refused(one, "eject", device="d", id="v")
    absent = {"error_class": "DeviceNotFound"}
    vm.refused("Device 'x' not found", "eject", device="x", **absent)
    vm.refused("Device 'x' not found", "blockdev-open-tray", id="x", **absent)
    vm.refused("Node 'x' not found", "blockdev-insert-medium", id="v", node_name="x")


def people_change_media_too(vm):
    make_raw("a.raw")
    same(vm.hmp("change cd a.raw raw"), "")
    same(inserted(vm), ("a.raw", True))
    same(vm.hmp("change cd none.iso"),
         "Error: Could not open 'none.iso': No such file or directory\r\n")
    same(vm.hmp("change cd a.raw raw read-write"), "")
    same(inserted(vm), ("a.raw", False))
    same(vm.hmp("eject -f cd"), "")
    same(inserted(vm), None)
    same(vm.hmp("eject d"), "Error: Device 'd' is not removable\r\n")
    same(vm.hmp("eject nope"), "Error: Device 'nope' not found\r\n")
    same(vm.hmp("change nope x"), "Error: Device 'nope' not found\r\n")


run("media", [a_medium_is_changed, what_cannot_be_opened_takes_nothing_out, a_medium_in_use_stays,
              a_disk_is_not_removable, drives_are_named_in_one_way, people_change_media_too],
    program="qemu-system-e2k", args=[
        "-M", "e2k", "-accel", "qtest", "-display", "none", "-nodefaults",
        "-drive", "if=none,media=cdrom,id=cd", "-drive", "driver=null-co,size=1M,if=none,id=d",
        "-device", "virtio-blk-pci,drive=d,id=v"])
