#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulator's devices in the tree of objects, and what it says of itself."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from qmptest import run, same    # noqa: E402

ERROR = {"error_class": "DeviceNotFound"}


def names(rows):
    return [row["name"] for row in rows]


def the_emulator_shows_its_devices(vm):
    assert {"objects", "machine"} <= set(names(vm.command("qom-list", path="/")))
    same(names(vm.command("qom-list", path="/machine/peripheral")), ["type", "d"])
    same(vm.command("qom-get", path="/machine/peripheral/d", property="drive"), "n")
    same(vm.command("qom-get", path="d", property="num-queues"), 1)
    vm.refused("Attempt to set property 'num-queues' on device 'd' (type 'virtio-blk-pci') "
               "after it was realized", "qom-set", path="d", property="num-queues", value=3)
    same(vm.command("qom-get", path="/machine/peripheral", property="d"), "/machine/peripheral/d")
    same(vm.command("qom-get", path="/", property="machine"), "/machine")
    for row in vm.command("qom-list", path="d"):
        vm.command("qom-get", path="d", property=row["name"])
    board = vm.command("qom-list", path="/machine/unattached")
    assert "child<e2k-timer>" in [row["type"] for row in board], board
    assert "drive" in names(vm.command("device-list-properties", typename="virtio-blk-pci"))
    vm.refused("Device 'x' not found", "device-list-properties", typename="x", **ERROR)
    devices = vm.command("qom-list-types", implements="device")
    assert "virtio-blk-pci" in names(devices), devices
    assert "device" not in names(devices)
    assert "device" in names(vm.command("qom-list-types", abstract=True))
    same(vm.command("query-name"), {"name": "g1"})
    same(vm.command("query-target"), {"arch": "e2k"})
    same(vm.command("query-uuid"), {"UUID": "00000000-0000-0000-0000-000000000000"})


def a_path_says_where_a_device_is(vm):
    for path in ("peripheral/d", "/machine/peripheral/d", "/machine/peripheral/d/virtio-backend"):
        same(vm.command("qom-get", path=path, property="num-queues"), 1)
    for path in ("/machine/d", "/machine/unattached/d", "/d", "machine/peripheral", "eripheral"):
        vm.refused(f"Device '{path}' not found", "qom-list", path=path, **ERROR)


run("objects", [the_emulator_shows_its_devices, a_path_says_where_a_device_is],
    program="qemu-system-e2k", args=[
        "-M", "e2k", "-accel", "qtest", "-display", "none", "-nodefaults",
        "-name", "guest=g1,debug-threads=on", "-blockdev", "null-co,node-name=n",
        "-device", "virtio-blk-pci,drive=n,id=d"])
