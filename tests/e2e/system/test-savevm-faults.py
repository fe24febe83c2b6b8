#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Saving and loading a machine when something fails: each call on the disks' files in turn, the
guest's own requests, and the saved state itself."""

import contextlib
import errno
import json
import os
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from guesttest import Guest                                            # noqa: E402
from imgtest import PATIENCE, sanitized, shim                         # noqa: E402
from qmptest import BUILD, QMPError, Vm, make_qcow2, run_alone, same   # noqa: E402
import seeds                                                           # noqa: E402

EMULATOR = "qemu-system-e2k"
BASE = ["-display", "none", "-nodefaults", "-m", "8", "-accel", "qtest"]
MARK = "mark"
# Each call in the long form; one in so many otherwise.
STRIDE = 1 if "ROUNDS" in os.environ else 8 if sanitized() else 4
MUTANTS = int(os.environ.get("ROUNDS", "1")) * 40


def disk(name):
    return ["-blockdev", f"qcow2,node-name={name},file.driver=file,file.filename={name}.qcow2",
            "-device", f"virtio-blk-pci,drive={name}"]


def names(vm):
    return [[row["name"] for row in vm.nodes()[node]["image"].get("snapshots", [])]
            for node in "ab"]


def outcome(vm, name):
    """Run a job about snapshot s on disks a and b; its error, or None."""
    vm.command(name, job_id="j", tag="s", vmstate="a", devices=["a", "b"])
    vm.wait_event("JOB_STATUS_CHANGE", id="j", status="concluded")
    row, = vm.command("query-jobs")
    return row.get("error")


def attempts(match, kinds):
    """Environments in which another call fails each time, until there are no more."""
    number = seeds.rng(match, kinds).randrange(1, STRIDE + 1)
    print(f"# every {STRIDE}. call on {match} from {number} on")
    while True:
        if os.path.exists(MARK):
            os.remove(MARK)
        yield number, shim(match, fail=f"{number}:{errno.EIO}:{kinds}", mark=MARK)
        if not os.path.exists(MARK):
            return
        number += STRIDE


def fresh(with_snapshot):
    for name in "ab":
        if os.path.exists(f"{name}.qcow2"):
            os.remove(f"{name}.qcow2")
        make_qcow2(f"{name}.qcow2", size="1M")
    if with_snapshot:
        with Vm(*BASE, *disk("a"), *disk("b"), program=EMULATOR) as vm:
            vm.hmp('qemu-io a "write -P 1 0 64k"')
            same(outcome(vm, "snapshot-save"), None)


def checked():
    """No damage; clusters that nobody uses are what a failed write may leave."""
    for name in "ab":
        done = subprocess.run([os.path.join(BUILD, "qemu-img"), "check", f"{name}.qcow2"],
                              capture_output=True, text=True, check=False)
        assert done.returncode in (0, 3), done.stdout + done.stderr


def start(env):
    """A running machine, or None if it could not open its disks."""
    try:
        return Vm(*BASE, *disk("a"), *disk("b"), program=EMULATOR, env=env)
    except (EOFError, OSError, BrokenPipeError):
        return None


def each_failure(operation, judge):
    """@judge says what is wrong after @operation ended with an error."""
    n_failed = 0
    for match in ("a.qcow2", "b.qcow2"):
        for number, env in attempts(match, "rwztf"):
            fresh(operation == "snapshot-load")
            vm = start(env)
            if vm is None:
                continue
            try:
                error = outcome(vm, operation)
                where = f"call {number} on {match}: {error}"
                n_failed += error is not None
                judge(vm, error, where)
                vm.command("quit")
                vm.process.wait(timeout=PATIENCE)
            finally:
                vm.process.kill()
                vm.process.wait()
                for pipe in (vm.process.stdin, vm.process.stdout, vm.log):
                    pipe.close()
            checked()
    assert n_failed, "no call failed in the middle"


def a_failed_save_leaves_nothing():
    def judge(vm, error, where):
        same((where, vm.command("query-status")["status"]), (where, "running"))
        wanted = [[], []] if error else [["s"], ["s"]]
        same((where, names(vm)), (where, wanted))
    each_failure("snapshot-save", judge)


def a_failed_load_leaves_what_was_there():
    """The machine runs on, or, if its memory was lost half-way, waits for a reset."""
    def judge(vm, error, where):
        status = vm.command("query-status")["status"]
        assert status in (("running", "internal-error") if error else ("running",)), where
        assert all("s" in row for row in names(vm)), where
        if status == "internal-error":
            vm.refused("Resetting the Virtual Machine is required", "cont")
            vm.command("system_reset")
            vm.wait_event("RESET")
            vm.command("cont")
        same((where, vm.command("query-status")["status"]), (where, "running"))
    each_failure("snapshot-load", judge)


# ---- requests of the guest that failed ---------------------------------------------------------

def failing_disk(*rules):
    """A qcow2 disk whose writes fail by the rules of blkdebug, above the format."""
    return ["-blockdev", json.dumps({
        "driver": "blkdebug", "node-name": "d", "inject-error": list(rules),
        "image": {"driver": "qcow2", "node-name": "q",
                  "file": {"driver": "file", "filename": "q.qcow2"}}})]


def a_request_that_waits_is_saved():
    """It is tried again where the machine is brought back, and the guest does not notice."""
    rule = {"event": "none", "iotype": "write", "errno": 5, "once": True}
    for device in ("virtio-blk-pci,drive=d,werror=stop",
                   "virtio-blk-pci,drive=d,werror=stop,iothread=io0"):
        make_qcow2("q.qcow2")
        more = ["-object", "iothread,id=io0", "-device", device]
        with Guest("-S", *failing_disk(rule), *more, words="progress=16 irq=2") as guest:
            guest.vm.command("cont")
            guest.vm.wait_event("STOP", timeout=PATIENCE)
            same(guest.vm.command("query-status")["status"], "io-error")
            same(guest.vm.hmp("savevm s"), "")
            same(guest.vm.command("query-status")["status"], "io-error")
            guest.vm.command("cont")
            guest.works()
            same(guest.vm.hmp("loadvm s"), "")
            guest.works()
        with Guest("-loadvm", "s", *failing_disk(), *more, words="progress=16 irq=2") as guest:
            guest.works()
            guest.stop()
        os.remove("q.qcow2")


# ---- saved states that are lies ----------------------------------------------------------------

def crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82f63b78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC = crc32c_table()


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ CRC[(crc ^ byte) & 255]
    return crc ^ 0xffffffff


def records(state):
    """(offset, kind, number, length of the payload) of each record of a stream."""
    at, number = 12, 0
    while True:
        kind, length, _ = struct.unpack_from("<III", state, at)
        yield at, kind, number, length
        at, number = at + 12 + length, number + 1
        if kind == 4:
            return


def mutate(state, record, rand):
    """The record with a few bytes changed, and a sum that is right."""
    at, kind, number, length = record
    payload = bytearray(state[at + 12:at + 12 + length])
    for _ in range(rand.choice((1, 1, 2, 8))):
        value = rand.choice((0, 1, 0x7f, 0x80, 0xff, rand.randrange(256)))
        payload[rand.randrange(len(payload))] = value
    crc = crc32c(struct.pack("<IIQ", kind, length, number) + payload)
    return struct.pack("<III", kind, length, crc) + payload


def no_saved_state_does_harm():
    """The guest may go mad; the emulator says what is wrong or runs it, and comes back."""
    rand = seeds.rng()
    make_qcow2("a.qcow2")
    with Guest(*disk("a"), "-no-shutdown", words="progress=64 irq=2") as guest:
        guest.works()
        same(guest.vm.hmp("savevm s"), "")
        with open("a.qcow2", "r+b", buffering=0) as image:
            content = image.read()
            begin = content.index(b"e2kstate")
            state = content[begin:]
            parts = [r for r in records(state) if r[3] and r[3] < 16384]
            for _ in range(MUTANTS):
                record = rand.choice(parts)
                os.pwrite(image.fileno(), mutate(state, record, rand), begin + record[0])
                said = guest.vm.hmp("loadvm s")
                assert said == "" or said.startswith("Error: "), said
                with contextlib.suppress(QMPError):     # it may have come to its end already
                    guest.vm.command("cont")
                for _ in range(20):
                    guest.vm.command("query-status")
                end = record[0] + 12 + record[3]
                os.pwrite(image.fileno(), state[record[0]:end], begin + record[0])
        same(guest.vm.hmp("loadvm s"), "")
        guest.vm.command("cont")
        guest.works()


run_alone("savevm faults", [
    a_failed_save_leaves_nothing, a_failed_load_leaves_what_was_there,
    a_request_that_waits_is_saved, no_saved_state_does_harm,
], EMULATOR)
