#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands that only the emulator has, as far as they are about disks: snapshots of everything,
what the command line takes, devices' configuration."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import must  # noqa: E402
from qmptest import Vm, make_qcow2, make_raw, run_alone, same  # noqa: E402

EMULATOR = "qemu-system-e2k"
BASE = ["-display", "none", "-nodefaults", "-S", "-accel", "qtest"]
NO_STATE = "The state of this machine cannot be saved or loaded"


def machine(*args):
    return Vm(*BASE, *args, program=EMULATOR)


def two_disks():
    """A machine with disks a and b, of which only a has snapshot s."""
    for name in "ab":
        make_qcow2(f"{name}.qcow2")
    must("qemu-img", "snapshot", "-c", "s", "a.qcow2")
    return machine(*(word for name in "ab" for word in (
        "-blockdev", f"qcow2,node-name={name},file.driver=file,file.filename={name}.qcow2")))


def outcome(vm, name, **arguments):
    """Run a job that must be dismissed; its error, or None."""
    vm.command(name, job_id="j", **arguments)
    vm.wait_event("JOB_STATUS_CHANGE", id="j", status="concluded")
    job, = vm.command("query-jobs")
    same((job["type"], job["current-progress"], job["total-progress"]), (name, 1, 1))
    vm.command("job-dismiss", id="j")
    return job.get("error")


def snapshots(vm, node):
    return [row["name"] for row in vm.nodes()[node]["image"].get("snapshots", [])]


def snapshots_are_deleted_by_a_job():
    with two_disks() as vm:
        same(outcome(vm, "snapshot-delete", tag="s", devices=["a", "b"]), None)
        same(snapshots(vm, "a"), [])
        same(outcome(vm, "snapshot-delete", tag="s", devices=["a", "b"]), None)
        same(outcome(vm, "snapshot-delete", tag="s", devices=["x"]), "No block device node 'x'")
        same(outcome(vm, "snapshot-delete", tag="s", devices=[]),
             "At least one device is required for snapshot")
        vm.null("n")
        same(outcome(vm, "snapshot-delete", tag="s", devices=["n"]),
             "Device 'n' is writable but does not support snapshots")
        vm.refused("Invalid job ID '9'", "snapshot-delete", job_id="9", tag="s", devices=["a"])


def a_machine_is_not_saved():
    with two_disks() as vm:
        where = {"tag": "t", "vmstate": "a", "devices": ["a", "b"]}
        same(outcome(vm, "snapshot-save", **where), NO_STATE)
        same(outcome(vm, "snapshot-save", **{**where, "vmstate": "x"}),
             "vmstate block device 'x' does not exist")
        same(outcome(vm, "snapshot-save", **{**where, "tag": "s", "devices": ["a"]}),
             "Snapshot 's' already exists in one or more devices")
        for command in ("savevm t", "savevm"):
            assert vm.hmp(command).startswith(f"Error: {NO_STATE}"), command
        same((snapshots(vm, "a"), snapshots(vm, "b")), (["s"], []))


def a_machine_is_not_loaded():
    with two_disks() as vm:
        missing = "Snapshot 's' does not exist in one or more devices"
        same(outcome(vm, "snapshot-load", tag="s", vmstate="a", devices=["a", "b"]), missing)
        same(outcome(vm, "snapshot-load", tag="s", vmstate="a", devices=["a"]), NO_STATE)
        same(vm.hmp("loadvm s"), f"Error: {missing}\r\n")


def delvm_deletes_wherever_it_is():
    with two_disks() as vm:
        assert "snapshots on 'a'" in vm.hmp("info snapshots")
        same(vm.hmp("delvm s"), "")
        same(vm.hmp("info snapshots"), "There is no snapshot available.\r\n")


# A value for each parameter of -drive that the machine tells of; those in groups exclude others.
DRIVE = {
    "id": "d", "file": "r.raw", "format": "raw", "if": "none", "media": "disk",
    "snapshot": "off", "read-only": "off", "auto-read-only": "off", "force-share": "off",
    "cache": "none", "cache.writeback": "on", "cache.direct": "off", "cache.no-flush": "off",
    "aio": "threads", "discard": "unmap", "detect-zeroes": "off", "copy-on-read": "off",
    "werror": "stop", "rerror": "stop", "stats-account-invalid": "on",
    "stats-account-failed": "on", "throttling.iops-total": "1000", "throttling.group": "g",
    "throttling.iops-read": "1000", "throttling.iops-write": "1000",
    "throttling.bps-total": "1000000", "throttling.bps-read": "1000000",
    "throttling.bps-write": "1000000", "index": "1", "bus": "0", "unit": "1",
}


def the_command_line_is_told():
    make_raw("r.raw")
    with machine() as vm:
        rows = {row["option"]: row["parameters"] for row in
                vm.command("query-command-line-options")}
        drive, = vm.command("query-command-line-options", option="drive")
        vm.refused("invalid option name: nosuch", "query-command-line-options", option="nosuch")
    assert {"accel", "chardev", "device", "drive", "machine", "mon", "name"} <= set(rows), rows
    same(drive["parameters"], rows["drive"])
    same(rows["device"], [])
    same({"name": "pretty", "type": "boolean"} in rows["mon"], True)
    same([p["default"] for p in rows["machine"] if p["name"] == "type"], ["e2k"])
    assert {"path", "host", "server"} <= {p["name"] for p in rows["chardev"]}, rows["chardev"]
    same({p["name"] for p in rows["drive"]}, set(DRIVE))
    for name, value in DRIVE.items():
        text = {"file": "r.raw", "format": "raw", "if": "none", name: value}
        with machine("-drive", ",".join(f"{k}={v}" for k, v in text.items())) as vm:
            same(len(vm.command("query-block")), 1)


def configurations_are_of_this_program():
    make_raw("r.raw")
    with machine("-blockdev", "file,node-name=f,filename=r.raw", "-device",
                 "virtio-blk-pci,drive=f,id=v") as vm:
        vm.refused("Device 'x' not found", "device-sync-config", id="x",
                   error_class="DeviceNotFound")
        vm.refused("device-sync-config is not supported for 'virtio-blk-pci'",
                   "device-sync-config", id="v")
        vm.refused("The command is permitted only before machine initialization",
                   "x-exit-preconfig")


run_alone("machine", [
    snapshots_are_deleted_by_a_job, a_machine_is_not_saved, a_machine_is_not_loaded,
    delvm_deletes_wherever_it_is, the_command_line_is_told, configurations_are_of_this_program,
], EMULATOR)
