#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands that only the emulator has, as far as they are about disks: snapshots of everything,
what the command line takes, devices' configuration."""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import must  # noqa: E402
from qmptest import MiB, Vm, make_qcow2, make_raw, run_alone, same  # noqa: E402

EMULATOR = "qemu-system-e2k"
BASE = ["-display", "none", "-nodefaults", "-S", "-accel", "qtest"]


def machine(*args):
    return Vm(*BASE, *args, program=EMULATOR)


def two_disks():
    """A machine with disks a and b, of which only a has snapshot s."""
    for name in "ab":
        make_qcow2(f"{name}.qcow2")
    must("qemu-img", "snapshot", "-c", "s", "a.qcow2")
    return machine(*(word for name in "ab" for word in (
        "-blockdev", f"qcow2,node-name={name},file.driver=file,file.filename={name}.qcow2")))


def one_disk(*args):
    """A machine with disk a, as it was left."""
    return machine("-blockdev", "qcow2,node-name=a,file.driver=file,file.filename=a.qcow2", *args)


def outcome(vm, name, **arguments):
    """Run a job that must be dismissed; its error, or None."""
    vm.command(name, job_id="j", **arguments)
    vm.wait_event("JOB_STATUS_CHANGE", id="j", status="concluded")
    job, = [job for job in vm.command("query-jobs") if job["id"] == "j"]
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


def a_machine_is_saved_and_loaded():
    """What the job says of its arguments; how a running machine fares, in e2e/system."""
    with two_disks() as vm:
        where = {"tag": "t", "vmstate": "b", "devices": ["a", "b"]}
        same(outcome(vm, "snapshot-save", **{**where, "vmstate": "x"}),
             "vmstate block device 'x' does not exist")
        for devices in (["a"], ["b", "a"]):
            same(outcome(vm, "snapshot-save", **{**where, "tag": "s", "vmstate": devices[0],
                                                 "devices": devices}),
                 "Snapshot 's' already exists in one or more devices")
        same((snapshots(vm, "a"), snapshots(vm, "b")), (["s"], []))
        same(outcome(vm, "snapshot-save", **where), None)
        same((snapshots(vm, "a"), snapshots(vm, "b")), (["s", "t"], ["t"]))
        same([vm.nodes()[node]["image"]["snapshots"][-1]["vm-state-size"] > 0 for node in "ab"],
             [False, True])
        same(outcome(vm, "snapshot-load", **where), None)
        same(outcome(vm, "snapshot-load", **{**where, "vmstate": "a"}),
             "This is a disk-only snapshot")
        same(vm.hmp("loadvm t"), "")
        same(snapshots(vm, "a"), ["s", "t"])


IMAGES = (
    [], ["-o", "cluster_size=512"], ["-o", "compat=0.10"],
    ["-o", "extended_l2=on,cluster_size=128k"],
    ["--object", "secret,id=s,data=x", "-o",
     "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"],
)


def every_kind_of_image_keeps_the_state():
    """Also where the disk had another size when it was saved."""
    for number, options in enumerate(IMAGES):
        name = f"{number}.qcow2"
        make_qcow2(name, *options)
        secret = ",encrypt.format=luks,encrypt.key-secret=s" if "--object" in options else ""
        with machine("-object", "secret,id=s,data=x", "-m", "8", "-blockdev",
                     f"qcow2,node-name=a,file.driver=file,file.filename={name}{secret}") as vm:
            same(vm.hmp("savevm one"), "")
            vm.hmp('qemu-io a "write -P 7 0 1M"')
            if "compat=0.10" not in options:        # with snapshots it has one size
                vm.command("block_resize", node_name="a", size=64 * MiB)
            same(vm.hmp("savevm two"), "")
            for tag, size, pattern in (("one", 4, 0), ("two", 64, 7), ("one", 4, 0)):
                same(vm.hmp(f"loadvm {tag}"), "")
                if "compat=0.10" not in options:
                    same(vm.nodes()["a"]["image"]["virtual-size"], size * MiB)
                text = vm.hmp(f'qemu-io a "read -P {pattern} 0 1M"')
                assert "failed" not in text, text
        must("qemu-img", "check", "-q", *(["--object", "secret,id=s,data=x", "--image-opts",
                                           f"driver=qcow2,file.filename={name}{secret}"]
                                          if secret else [name]))


def savevm_replaces_and_names():
    with two_disks() as vm:
        for _ in range(2):
            same(vm.hmp("savevm t"), "")
            same((snapshots(vm, "a"), snapshots(vm, "b")), (["s", "t"], ["t"]))
        same(vm.hmp("savevm"), "")
        name = snapshots(vm, "b")[1]
        assert re.fullmatch(r"vm-\d{14}", name), name


def a_machine_is_not_loaded():
    with two_disks() as vm:
        missing = "Snapshot 's' does not exist in one or more devices"
        same(outcome(vm, "snapshot-load", tag="s", vmstate="a", devices=["a", "b"]), missing)
        same(outcome(vm, "snapshot-load", tag="s", vmstate="a", devices=["a"]),
             "This is a disk-only snapshot")
        same(vm.hmp("loadvm s"), f"Error: {missing}\r\n")
    with two_disks() as vm:
        same(outcome(vm, "snapshot-save", tag="t", vmstate="a", devices=["a"]), None)
    for words, why in ((["-m", "64"], "Length mismatch: ram-low: 0x8000000 in != 0x4000000"),
                       (["-device", "isa-debugcon,chardev=c", "-chardev", "null,id=c"],
                        "State of '/machine/peripheral-anon/device[0]' (debugcon 0): it is missing")):
        with one_disk(*words) as vm:
            same(vm.hmp("loadvm t"), f"Error: {why}\r\n")
            same(vm.command("query-status"), {"running": False, "status": "prelaunch"})


def what_cannot_be_saved_is_found_first():
    """No disk has a half snapshot, and the machine was not even stopped."""
    make_qcow2("d.qcow2", "-o", "data_file=d.raw")
    make_raw("r.raw")
    with two_disks() as vm:
        vm.add("d", "qcow2", file={"driver": "file", "filename": "d.qcow2"})
        vm.add("r", "raw", file={"driver": "file", "filename": "r.raw"})
        vm.command("cont")
        vm.wait_event("RESUME")
        for last, why in (("d", "Node 'd' is busy: internal snapshots do not include an external "
                                "data file"),
                          ("r", "Device 'r' is writable but does not support snapshots")):
            same(outcome(vm, "snapshot-save", tag="t", vmstate="a", devices=["a", last]), why)
        same((snapshots(vm, "a"), snapshots(vm, "d")), (["s"], []))
        same([e for e in vm.events if e["event"] in ("STOP", "RESUME")], [])


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


def before_there_is_a_machine():
    """-preconfig: what needs no machine can be done, and the machine has it."""
    make_qcow2("a.qcow2")
    for option in ("-preconfig", "--preconfig"):
        with machine(option, "-device", "virtio-blk-pci,drive=a,id=v") as vm:
            same(vm.command("query-status"), {"running": False, "status": "prelaunch"})
            for name in ("cont", "device_add", "human-monitor-command"):
                vm.refused(f"The command '{name}' is permitted only after machine initialization "
                           "has completed", name, **({"driver": "x"} if "add" in name else
                                                     {"command-line": "x"} if "human" in name
                                                     else {}))
            for command, arguments in (("qom-list", {"path": "/machine"}),
                                       ("qom-list-types", {}), ("query-block", {}),
                                       ("query-iothreads", {}), ("query-qmp-schema", {})):
                vm.command(command, **arguments)
            vm.add("a", "qcow2", file={"driver": "file", "filename": "a.qcow2"})
            vm.command("x-exit-preconfig")
            row, = [row for row in vm.command("query-block") if row["qdev"]]
            same((row["qdev"], row["inserted"]["node-name"]),
                 ("/machine/peripheral/v/virtio-backend", "a"))
            vm.refused("The command is permitted only before machine initialization",
                       "x-exit-preconfig")
            vm.hmp("info qtree")
    with machine("-preconfig"):
        pass  # it can be ended there


run_alone("machine", [
    snapshots_are_deleted_by_a_job, a_machine_is_saved_and_loaded,
    every_kind_of_image_keeps_the_state, savevm_replaces_and_names,
    a_machine_is_not_loaded, what_cannot_be_saved_is_found_first,
    delvm_deletes_wherever_it_is, the_command_line_is_told, configurations_are_of_this_program,
    before_there_is_a_machine,
], EMULATOR)
