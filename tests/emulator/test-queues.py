#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk whose queues are processed by several iothreads, driven over qtest and QMP."""

import json
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../lib")]

import guest_run                              # noqa: E402
from qmptest import Client, QMPError, same    # noqa: E402
from qtest_machine import SLOT, Disk, Machine                        # noqa: E402
from tap import Tap                           # noqa: E402

READ, WRITE = 0, 1
QUEUES = 4
LISTS = [{"iothread": "io0", "vqs": [0, 2]}, {"iothread": "io1", "vqs": [1, 3]}]
TURNS = [{"iothread": "io0"}, {"iothread": "io1"}]


def device(drive, name, mapping, **options):
    return {"driver": "virtio-blk-pci", "drive": drive, "id": name,
            "iothread-vq-mapping": mapping, **options}


def refused(vm, words, name, **arguments):
    try:
        vm.command(name, **arguments)
    except QMPError as error:
        assert words in error.desc, error.desc
        return
    raise AssertionError(f"{name} was accepted")


def queues_carry_data(m, vm, image):
    disk = Disk(m, queues=QUEUES)
    same(vm.command("qom-get", path="v", property="iothread-vq-mapping"), LISTS)
    for queue in range(QUEUES):
        m.ask(f"memset {disk.data(queue):#x} 4096 {0x11 * (queue + 1):#x}")
        disk.start(WRITE, 8 * queue, 4096, False, queue)
    same([disk.status(queue) for queue in range(QUEUES)], [0] * QUEUES)
    with open(image, "rb") as data:
        for queue in range(QUEUES):
            same(data.read(4096), bytes([0x11 * (queue + 1)]) * 4096)
    for queue in range(QUEUES):
        disk.start(READ, 8 * (QUEUES - 1 - queue), 4096, True, queue)
    for queue in range(QUEUES):
        same(disk.status(queue), 0)
        same(m.read(disk.data(queue) + 4095, "b"), 0x11 * (QUEUES - queue))


def failed_writes(vm):
    return next(row for row in vm.command("query-blockstats") if "v" in row["qdev"].split("/"))[
        "stats"]["failed_wr_operations"]


def failed_writes_of_all_loops_go_on(m, vm, image):
    """The rules fail one write of each queue; each loop parks its own and repeats it."""
    disk = Disk(m, queues=QUEUES)
    for queue in range(QUEUES):
        m.ask(f"memset {disk.data(queue):#x} 512 {0xa0 + queue:#x}")
        disk.start(WRITE, 64 + queue, 512, False, queue)
    while failed_writes(vm) < QUEUES:
        pass
    same([disk.is_done(queue) for queue in range(QUEUES)], [False] * QUEUES)
    vm.wait_event("STOP", timeout=guest_run.TIMEOUT)
    same(vm.command("query-status")["status"], "io-error")
    vm.command("cont")
    same([disk.status(queue) for queue in range(QUEUES)], [0] * QUEUES)
    with open(image, "rb") as data:
        data.seek(64 * 512)
        same(data.read(QUEUES * 512), b"".join(bytes([0xa0 + q]) * 512 for q in range(QUEUES)))


def add_slow_disk(m, vm):
    vm.command("device_add", **device("slow", "w", TURNS, addr=hex(SLOT + 1),
                                      **{"num-queues": 3}))
    disk = Disk(m, slot=SLOT + 1, queues=3)
    for queue in range(3):
        disk.start(READ, queue, 512, True, queue)
    return disk


def reset_waits_for_all_loops(m, vm, image):
    disk = add_slow_disk(m, vm)
    disk.set(0x14, 0, "b")
    same(disk.get(0x14, "b"), 15)     # requests take longer than this
    while disk.get(0x14, "b"):
        pass
    same([disk.is_done(queue) for queue in range(3)], [False] * 3)
    disk = Disk(m, slot=SLOT + 1, queues=3)
    same([disk.request(READ, queue, 512, True, queue) for queue in range(3)], [0] * 3)
    vm.command("device_del", id="w")
    vm.wait_event("DEVICE_DELETED", timeout=guest_run.TIMEOUT, device="w")


def unplugged_while_requests_run(m, vm, image):
    for _ in range(3):
        add_slow_disk(m, vm)
        refused(vm, "io0", "object-del", id="io0")
        vm.command("device_del", id="w")
        vm.wait_event("DEVICE_DELETED", timeout=guest_run.TIMEOUT, device="w")
    vm.command("device_del", id="v")
    vm.wait_event("DEVICE_DELETED", timeout=guest_run.TIMEOUT, device="v")
    vm.command("object-del", id="io0")


def nonsense_is_refused(m, vm, image):
    for mapping, words in (
            ([], "at least one"), ("io0", "expected: array"),
            ([{"iothread": "x"}], "does not exist"),
            ([{"iothread": "io0", "vqs": [4]}], "vq index 4"),
            ([{"iothread": "io0", "vqs": [1]}], "missing vq 0")):
        refused(vm, words, "device_add",
                **device("slow", "x", mapping, **{"num-queues": 2}))
    refused(vm, "cannot be set at the same time", "device_add",
            **device("slow", "x", TURNS, iothread="io0"))
    refused(vm, "Invalid parameter type for 'serial', expected: string", "device_add",
            driver="virtio-blk-pci", drive="slow", serial=["a"])
    vm.command("device_add", **device("slow", "x", TURNS))
    same(vm.command("qom-get", path="x", property="num-queues"), len(TURNS))
    vm.command("device_del", id="x")


def machine(folder, image):
    rules = [{"event": "none", "iotype": "write", "sector": 64 + queue, "once": True}
             for queue in range(QUEUES)]
    node = {"driver": "blkdebug", "node-name": "d", "inject-error": rules,
            "image": {"driver": "file", "filename": image}}
    slow = {"driver": "null-co", "node-name": "slow", "size": 1 << 20, "latency-ns": 200000000}
    return Machine("-M", "e2k", "-qmp", f"unix:{folder}/qmp,server=on,wait=off",
                   "-object", "iothread,id=io0", "-object", "iothread,id=io1",
                   "-blockdev", json.dumps(node), "-blockdev", json.dumps(slow), "-device",
                   json.dumps(device("d", "v", LISTS, **{"num-queues": QUEUES,
                                                         "werror": "stop"})))


def main():
    tap = Tap()
    if not guest_run.emulator():
        tap.skip("queues", "qemu-system-e2k has not been built")
        return tap.finish()
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, "image")
        with open(image, "wb") as data:
            data.truncate(1 << 20)
        m = machine(folder, image)
        with Client(os.path.join(folder, "qmp"), timeout=guest_run.TIMEOUT) as vm:
            for case in (queues_carry_data, failed_writes_of_all_loops_go_on, nonsense_is_refused,
                         reset_waits_for_all_loops, unplugged_while_requests_run):
                try:
                    case(m, vm, image)
                    tap.ok(True, case.__name__.replace("_", " "))
                except Exception as error:  # pylint: disable=broad-except
                    tap.ok(False, case.__name__.replace("_", " "), repr(error))
        status, errors = m.end()
        tap.ok(status == 0, "the emulator ends well", f"status {status}\n{errors}")
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
