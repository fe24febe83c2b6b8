#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every event that management software expects is sent, with the members and types of the contract.

Members beyond it are no fault; one that is missing is, and so is one of another type."""

import json
import os
import struct
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../lib"))

from imgtest import must                      # noqa: E402
from qmptest import MiB, make_qcow2, make_raw, run, same  # noqa: E402
from qtest import OPTIONS, Ports              # noqa: E402

TYPES = {"str": str, "int": int, "uint64": int, "bool": bool}
# Sent when a guest refuses to give up memory or a processor; no device of ours asks its guest.
NEVER = {"DEVICE_UNPLUG_GUEST_ERROR"}


def contract():
    with open(os.path.join(HERE, "../qmp/contract/schema.json"), encoding="utf-8") as source:
        return json.load(source)


def check(event, events, enums):
    """The members of @event are those of the contract."""
    name, data = event["event"], event.get("data", {})
    same(set(event["timestamp"]), {"seconds", "microseconds"})
    for key, member in events[name]["data"].items():
        if key not in data:
            assert member.get("optional"), f"{name} has no {key}: {data}"
        elif member["type"] in enums:
            assert data[key] in enums[member["type"]]["values"], (name, key, data[key])
        else:
            assert isinstance(data[key], TYPES[member["type"]]), (name, key, data[key])


# ---- how each of them comes about ----------------------------------------------------------------

def jobs_and_exports(vm):
    for node in "st":
        vm.null(node)
    vm.command("blockdev-backup", job_id="b", device="s", target="t", sync="full", auto_finalize=False)
    vm.wait_event("BLOCK_JOB_PENDING", id="b")
    vm.command("job-finalize", id="b")
    vm.wait_event("BLOCK_JOB_COMPLETED", device="b")
    vm.command("blockdev-mirror", job_id="m", device="s", target="t", sync="full")
    vm.wait_event("BLOCK_JOB_READY", device="m")
    vm.command("block-job-cancel", device="m", force=True)
    vm.wait_event("BLOCK_JOB_CANCELLED", device="m")
    vm.add("bad", "blkdebug", image={"driver": "null-co", "size": MiB},
           inject_error=[{"event": "none", "iotype": "write", "errno": 5}])
    vm.command("blockdev-backup", job_id="e", device="s", target="bad", sync="full")
    vm.wait_event("BLOCK_JOB_ERROR", device="e")
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    vm.command("block-export-add", type="nbd", id="x", node_name="s")
    vm.command("block-export-del", id="x")
    vm.wait_event("BLOCK_EXPORT_DELETED", id="x")


def write(vm, node):
    vm.hmp(f'qemu-io {node} "write -P 1 0 64k"')


def nodes(vm):
    make_raw("w.raw")
    vm.add("w", "file", filename="w.raw")
    vm.command("block-set-write-threshold", node_name="w", write_threshold=4096)
    write(vm, "w")
    data = vm.wait_event("BLOCK_WRITE_THRESHOLD")["data"]
    same(data, {"node-name": "w", "write-threshold": 4096, "amount-exceeded": 61440})
    # An image whose first cluster is its header.
    make_qcow2("c.qcow2")
    must("qemu-io", "-f", "qcow2", "-c", "write -q 0 64k", "c.qcow2")
    with open("c.qcow2", "r+b") as image:
        image.seek(40)
        image.seek(struct.unpack(">Q", image.read(8))[0])
        image.seek(struct.unpack(">Q", image.read(8))[0] & ~(1 << 63))
        image.write(struct.pack(">Q", 1 << 63 | 0x200))
    vm.add("c", "qcow2", file={"driver": "file", "filename": "c.qcow2"})
    write(vm, "c")
    data = vm.wait_event("BLOCK_IMAGE_CORRUPTED")["data"]
    same((data["device"], data["node-name"], data["fatal"]), ("", "c", True))


def votes(vm):
    """Three parts of which one differs in sector 0, and all in sector 1."""
    for n in range(3):
        make_raw(f"q{n}.raw")
        with open(f"q{n}.raw", "r+b") as image:
            image.write(bytes([n == 0]) * 512 + bytes([n]) * 512)
        vm.add(f"q{n}", "raw", file={"driver": "file", "filename": f"q{n}.raw"})
    vm.add("q", "quorum", vote_threshold=2, children=["q0", "q1", "q2"])
    vm.hmp('qemu-io q "read 0 512"')
    vm.wait_event("QUORUM_REPORT_BAD", **{"node-name": "q0"})
    vm.hmp('qemu-io q "read 512 512"')
    same(vm.wait_event("QUORUM_FAILURE")["data"],
         {"reference": "q", "sector-num": 1, "sectors-count": 1})


def devices(vm):
    make_raw("m.raw")
    vm.command("blockdev-change-medium", id="r", filename="m.raw", format="raw")
    vm.wait_event("DEVICE_TRAY_MOVED", **{"tray-open": False})
    vm.command("eject", id="r")
    vm.add("m", "raw", read_only=True, file={
        "driver": "blkdebug", "image": {"driver": "file", "filename": "m.raw"},
        "inject-error": [{"event": "read_aio", "errno": 5, "once": True}]})
    vm.command("blockdev-insert-medium", id="r", node_name="m")
    vm.command("blockdev-close-tray", id="r")
    with Ports() as guest:
        guest.ask("outb 0x530 1")
        data = vm.wait_event("BLOCK_IO_ERROR")["data"]
        same((data["device"], data["node-name"], data["qom-path"], data["reason"]),
             ("cd", "m", "/machine/peripheral/r", "Input/output error"))
        vm.wait_event("STOP")
        vm.command("cont")
        vm.wait_event("RESUME")
    vm.null("d")
    vm.command("device_add", driver="virtio-blk-pci", id="v", drive="d")
    vm.command("device_del", id="v")
    same(vm.wait_event("DEVICE_DELETED")["data"], {"device": "v", "path": "/machine/peripheral/v"})


def machine(vm):
    vm.command("system_powerdown")
    vm.wait_event("POWERDOWN")
    vm.command("system_reset")
    same(vm.wait_event("RESET")["data"], {"guest": False, "reason": "host-qmp-system-reset"})
    vm.command("quit")
    same(vm.wait_event("SHUTDOWN")["data"], {"guest": False, "reason": "host-qmp-quit"})
    vm.finish()


def every_event_is_as_the_contract_has_it(vm):
    heard, read = [], vm.read_object

    def listen(*args):
        found = read(*args)
        if "event" in found:
            heard.append(found)
        return found
    vm.read_object = listen
    for provoke in (jobs_and_exports, nodes, votes, devices, machine):
        provoke(vm)
    wanted = contract()
    for event in heard:
        if event["event"] in wanted["events"]:
            check(event, wanted["events"], wanted["enums"])
    same(set(wanted["events"]) - {event["event"] for event in heard}, NEVER)


run("events", [every_event_is_as_the_contract_has_it], program="qemu-system-e2k", args=[
    "-M", "e2k", "-display", "none", "-nodefaults", *OPTIONS, "-drive", "if=none,media=cdrom,id=cd",
    "-device", "isa-cdrom,drive=cd,id=r,rerror=stop"])
