#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Wrong arguments: for every command of both programs, and every member its schema has, what is
missing, of a wrong type, or unknown; then names of things that are not there, as a table."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from qmptest import QMPError, Tap, Vm, have, same  # noqa: E402
from qmp import Schema  # noqa: E402

# Their arguments are not checked by the schema: those of device_add depend on the device.
FREE = {"device_add"}
WRONG = {"string": (5, "string"), "int": ("x", "integer"), "boolean": (5, "boolean"),
         "enum": (5, "string"), "array": (5, "array"), "object": (5, "object"),
         "number": ("x", "number")}


class Generator:
    """Arguments that a command's schema accepts."""

    def __init__(self, rows):
        self.schema = Schema(rows)

    def required(self, key):
        """Members that must be there, in order, with those of the branch that value() chooses."""
        row = self.schema.rows[key]
        found = [member for member in row["members"] if "default" not in member]
        return found + [member for member in self.branch(row) if "default" not in member]

    def members(self, key):
        row = self.schema.rows[key]
        return row["members"] + self.branch(row)

    def branch(self, row):
        if "tag" not in row:
            return []
        tag = next(m for m in row["members"] if m["name"] == row["tag"])
        case = self.value(tag["type"])
        chosen = [v["type"] for v in row["variants"] if v["case"] == case]
        return self.schema.rows[chosen[0]]["members"] if chosen else []

    def value(self, key):
        """A value of that type."""
        row, kind = self.schema.rows[key], self.schema.kind(key)
        if kind == "object":
            return {m["name"]: self.value(m["type"]) for m in self.required(key)}
        if kind == "alternate":
            # An object may lead to itself again.
            return self.value(min((m["type"] for m in row["members"]),
                                  key=lambda choice: self.schema.kind(choice) == "object"))
        if kind == "enum":
            return row["values"][0]
        return {"string": "x", "int": 1, "number": 1, "boolean": False, "array": [],
                "null": None, "value": 1}[kind]


def refusal(vm, name, arguments):
    try:
        result = vm.execute(name, arguments)
    except QMPError as error:
        return error.desc
    return f"it was accepted: {result}"


def wrong_values(generator, member):
    """Values that the member cannot have, and what is said of them."""
    name, kind = member["name"], generator.schema.kind(member["type"])
    if kind in WRONG:
        value, wanted = WRONG[kind]
        yield value, f"Invalid parameter type for '{name}', expected: {wanted}"
    if kind == "enum":
        yield "no such", f"Parameter '{name}' does not accept value 'no such'"
    if kind == "int":
        yield 2**70, f"Invalid parameter type for '{name}', expected: integer"


def check_command(vm, generator, name):
    """All that can be wrong with a command's arguments; returns what was not refused rightly."""
    key = generator.schema.arguments(name)
    good, faults = generator.value(key), []

    def check(arguments, *wanted):
        said = refusal(vm, name, arguments)
        if said not in wanted:
            faults.append(f"{name} {arguments}: {said}\n   wanted: {' | '.join(wanted)}")

    for member in generator.required(key):
        check({k: v for k, v in good.items() if k != member["name"]},
              f"Parameter '{member['name']}' is missing")
    for member in generator.members(key):
        for value, text in wrong_values(generator, member):
            # Of a size a negative number may be said, too, that it is none.
            check({**good, member["name"]: value}, text,
                  text.replace("integer", "uint64"), text.replace("integer", "size"))
    check({**good, "no such": 1}, "Parameter 'no such' is unexpected")
    return faults


def every_command(tap, program, *args):
    with Vm(*args, program=program) as vm:
        generator = Generator(vm.command("query-qmp-schema"))
        for row in sorted(vm.command("query-commands"), key=lambda row: row["name"]):
            if row["name"] not in FREE:
                faults = check_command(vm, generator, row["name"])
                tap.ok(not faults, f"/arguments/{program}/{row['name']}", "\n".join(faults))


LIMITS = {"bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}
NEITHER = "Cannot find device='x' nor node-name='x'"
NO_BITMAP_NODE = "Node 'x' not found"
NO_NODE = "Cannot find device='' nor node-name='x'"
NO_DEVICE = "Cannot find device='x' nor node-name=''"
NOT_FOUND = "Failed to find node with node-name='x'"
DEVICE = "DeviceNotFound: Device 'x' not found"
NO_JOB = "DeviceNotActive: Block job 'x' not found"

# Nothing is called x; n is a node.
NAMES = [
    ("block-commit", {"device": "x"}, DEVICE),
    ("block-commit", {"device": "n", "base-node": "x"}, NO_NODE),
    ("block-commit", {"device": "n", "top-node": "x"}, NO_NODE),
    ("block-compact", {"job-id": "j", "node-name": "x"}, NO_NODE),
    ("block-dirty-bitmap-add", {"node": "x", "name": "b"}, NEITHER),
    ("block-dirty-bitmap-clear", {"node": "x", "name": "b"}, NO_BITMAP_NODE),
    ("block-dirty-bitmap-clear", {"node": "n", "name": "b"}, "Dirty bitmap 'b' not found"),
    ("block-dirty-bitmap-disable", {"node": "x", "name": "b"}, NO_BITMAP_NODE),
    ("block-dirty-bitmap-enable", {"node": "x", "name": "b"}, NO_BITMAP_NODE),
    ("block-dirty-bitmap-merge", {"node": "x", "target": "b", "bitmaps": []}, NO_BITMAP_NODE),
    ("block-dirty-bitmap-remove", {"node": "x", "name": "b"}, NO_BITMAP_NODE),
    ("block-export-add", {"type": "nbd", "id": "e", "node-name": "x"}, NO_NODE),
    ("block-export-del", {"id": "x"}, "Export 'x' is not found"),
    ("block-job-cancel", {"device": "x"}, NO_JOB),
    ("block-job-change", {"id": "x", "type": "mirror", "copy-mode": "background"}, NO_JOB),
    ("block-job-complete", {"device": "x"}, NO_JOB),
    ("block-job-dismiss", {"id": "x"}, NO_JOB),
    ("block-job-finalize", {"id": "x"}, NO_JOB),
    ("block-job-pause", {"device": "x"}, NO_JOB),
    ("block-job-resume", {"device": "x"}, NO_JOB),
    ("block-job-set-speed", {"device": "x", "speed": 1}, NO_JOB),
    ("block-latency-histogram-set", {"id": "x"}, DEVICE),
    ("block-set-write-threshold", {"node-name": "x", "write-threshold": 1},
     "Device 'x' not found"),
    ("block-stream", {"device": "x"}, NEITHER),
    ("block-stream", {"device": "n", "base-node": "x"}, NO_NODE),
    ("block-stream", {"device": "n", "bottom": "x"}, NO_NODE),
    ("block_resize", {"node-name": "x", "size": 1}, NO_NODE),
    ("block_resize", {"device": "x", "size": 1}, NO_DEVICE),
    ("block_resize", {"size": 1}, "Cannot find device='' nor node-name=''"),
    ("block_set_io_throttle", {"id": "x", **LIMITS}, DEVICE),
    ("block_set_io_throttle", LIMITS, "Need exactly one of 'device' and 'id'"),
    ("blockdev-add", {"driver": "raw", "node-name": "r", "file": "x"}, NEITHER),
    ("blockdev-backup", {"device": "x", "target": "n", "sync": "full"}, NEITHER),
    ("blockdev-backup", {"job-id": "j", "device": "n", "target": "x", "sync": "full"}, NEITHER),
    ("blockdev-change-medium", {"id": "x", "filename": "f"}, DEVICE),
    ("blockdev-change-medium", {"filename": "f"}, "Need exactly one of 'device' and 'id'"),
    ("blockdev-close-tray", {"id": "x"}, DEVICE),
    ("blockdev-del", {"node-name": "x"}, NOT_FOUND),
    ("blockdev-insert-medium", {"id": "x", "node-name": "n"}, DEVICE),
    ("blockdev-mirror", {"device": "x", "target": "n", "sync": "full"}, NEITHER),
    ("blockdev-mirror", {"job-id": "j", "device": "n", "target": "x", "sync": "full"}, NEITHER),
    ("blockdev-open-tray", {"id": "x"}, DEVICE),
    ("blockdev-remove-medium", {"id": "x"}, DEVICE),
    ("blockdev-reopen", {"options": [{"driver": "raw", "node-name": "x", "file": "n"}]}, NOT_FOUND),
    ("blockdev-set-active", {"node-name": "x", "active": True}, NOT_FOUND),
    ("blockdev-snapshot", {"node": "x", "overlay": "n"}, NEITHER),
    ("blockdev-snapshot", {"node": "n", "overlay": "x"}, NEITHER),
    ("blockdev-snapshot-delete-internal-sync", {"device": "x", "name": "s"}, NEITHER),
    ("blockdev-snapshot-internal-sync", {"device": "x", "name": "s"}, NEITHER),
    ("blockdev-snapshot-sync", {"node-name": "x", "snapshot-file": "f"}, NO_NODE),
    ("blockdev-snapshot-sync", {"device": "x", "snapshot-file": "f"}, NO_DEVICE),
    ("change-backing-file", {"device": "x", "image-node-name": "n", "backing-file": "f"}, NEITHER),
    ("change-backing-file", {"device": "n", "image-node-name": "x", "backing-file": "f"}, NO_NODE),
    ("drive-backup", {"device": "x", "target": "f", "sync": "full"}, NEITHER),
    ("drive-mirror", {"device": "x", "target": "f", "sync": "full"}, NEITHER),
    ("eject", {"id": "x"}, DEVICE),
    ("job-cancel", {"id": "x"}, "Job not found"),
    ("job-complete", {"id": "x"}, "Job not found"),
    ("job-dismiss", {"id": "x"}, "Job not found"),
    ("job-finalize", {"id": "x"}, "Job not found"),
    ("job-pause", {"id": "x"}, "Job not found"),
    ("job-resume", {"id": "x"}, "Job not found"),
    ("nbd-server-add", {"device": "x"}, NEITHER),
    ("nbd-server-remove", {"name": "x"}, "Export 'x' is not found"),
    ("object-del", {"id": "x"}, "object 'x' not found"),
    ("query-block-blockers", {"node-name": "x"}, NEITHER),
    ("transaction", {"actions": [{"type": "blockdev-backup", "data": {
        "device": "x", "target": "n", "sync": "full"}}]}, NEITHER),
    ("x-blockdev-amend", {"job-id": "j", "node-name": "x", "options": {
        "driver": "luks", "state": "active", "new-secret": "s"}}, NO_NODE),
    ("x-blockdev-change", {"parent": "x", "node": "n"}, NEITHER),
    ("x-blockdev-change", {"parent": "n", "node": "x"}, "Node 'x' not found"),
    ("x-blockdev-change", {"parent": "n", "child": "x"}, "Node 'n' does not have child 'x'"),
    ("x-blockdev-change", {"parent": "n"}, "Either child or node must be specified"),
    ("x-blockdev-set-iothread", {"node-name": "x", "iothread": None}, NOT_FOUND),
    ("x-blockdev-set-iothread", {"node-name": "n", "iothread": "x"}, "Cannot find iothread x"),
]


def names(tap):
    """The table above; and what was refused has left nothing."""
    with Vm() as vm:
        vm.null("n")
        for number, (name, arguments, text) in enumerate(NAMES):
            wanted = text if ": " in text else "GenericError: " + text
            try:
                got = f"accepted: {vm.execute(name, arguments)}"
            except QMPError as error:
                got = f"{error.error_class}: {error.desc}"
            tap.ok(got == wanted, f"/arguments/names/{number}-{name}",
                   f"{arguments}\ngot    {got}\nwanted {wanted}")
        same(list(vm.nodes()), ["n"])
        same(vm.command("query-jobs"), [])
        same(vm.command("query-block-exports"), [])


def main():
    tap = Tap()
    for program, args in (("qemu-storage-daemon", ()),
                          ("qemu-system-e2k", ("-M", "none", "-display", "none"))):
        if have(program):
            every_command(tap, program, *args)
        else:
            tap.skip(f"/arguments/{program}", "not built")
    if have("qemu-storage-daemon"):
        names(tap)
    return tap.finish()


sys.exit(main())
