#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Internal snapshots: the QMP commands, in transactions, and what queries tell of them."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from qmptest import BUILD, make_qcow2, make_raw, run, same  # noqa: E402


def add_image(vm, node_name, filename, **options):
    vm.add(node_name, "qcow2", file={"driver": "file", "filename": filename}, **options)


def names(vm, node):
    image = vm.nodes()[node]["image"]
    return [(s["id"], s["name"]) for s in image.get("snapshots", [])]


def check(filename):
    done = subprocess.run([os.path.join(BUILD, "qemu-img"), "check", filename],
                          capture_output=True, text=True)
    same((done.returncode, done.stderr), (0, ""))


def are_made_and_deleted(vm):
    make_qcow2("a.qcow2")
    add_image(vm, "a", "a.qcow2")
    for name in ("one", "two", "three"):
        vm.command("blockdev-snapshot-internal-sync", device="a", name=name)
    same(names(vm, "a"), [("1", "one"), ("2", "two"), ("3", "three")])
    gone = vm.command("blockdev-snapshot-delete-internal-sync", device="a", name="two")
    same((gone["id"], gone["name"], gone["vm-state-size"]), ("2", "two", 0))
    vm.command("blockdev-snapshot-delete-internal-sync", device="a", id="1", name="one")
    vm.command("blockdev-snapshot-internal-sync", device="a", name="four")
    same(names(vm, "a"), [("3", "three"), ("4", "four")])
    vm.command("blockdev-del", node_name="a")
    check("a.qcow2")


def say_why_not(vm):
    make_qcow2("a.qcow2")
    make_raw("r.raw")
    add_image(vm, "a", "a.qcow2")
    vm.add("r", "raw", file={"driver": "file", "filename": "r.raw"})
    make, delete = "blockdev-snapshot-internal-sync", "blockdev-snapshot-delete-internal-sync"
    vm.command(make, device="a", name="one")
    vm.refused("Snapshot with name 'one' already exists on device 'a'", make, device="a",
               name="one")
    vm.refused("Name is empty", make, device="a", name="")
    vm.refused("Block format 'raw' used by device 'r' does not support internal snapshots", make,
               device="r", name="s")
    vm.refused("Name or id must be provided", delete, device="a")
    vm.refused("Snapshot with id '7' and name 'null' does not exist on device 'a'", delete,
               device="a", id="7")
    vm.refused("Snapshot with id '7' and name 'one' does not exist on device 'a'", delete,
               device="a", id="7", name="one")
    make_qcow2("o.qcow2")
    add_image(vm, "o", "o.qcow2", backing="a")
    vm.refused("Need a root block node", make, device="a", name="two")


def do_not_go_with_a_data_file(vm):
    make_qcow2("d.qcow2", "-o", "data_file=d.raw")
    add_image(vm, "d", "d.qcow2")
    why = "Node 'd' is busy: internal snapshots do not include an external data file"
    vm.refused(why, "blockdev-snapshot-internal-sync", device="d", name="one")
    vm.refused(why, "blockdev-snapshot-delete-internal-sync", device="d", name="one")
    row, = [row for row in vm.command("query-block-blockers", node_name="d") if "reason" in row]
    same((row["owner"]["kind"], sorted(row["forbids"])),
         ("driver", ["internal-snapshot", "internal-snapshot-delete"]))
    vm.command("blockdev-del", node_name="d")


def are_undone_in_a_transaction(vm):
    make_qcow2("a.qcow2")
    make_qcow2("b.qcow2")
    add_image(vm, "a", "a.qcow2")
    add_image(vm, "b", "b.qcow2")

    def actions(*kinds):
        return [{"type": kind, "data": data} for kind, data in kinds]

    both = [("blockdev-snapshot-internal-sync", {"device": d, "name": "t"}) for d in "ab"]
    vm.refused("Transaction aborted using Abort action", "transaction",
               actions=actions(*both, ("abort", {})))
    same((names(vm, "a"), names(vm, "b")), ([], []))
    vm.command("transaction", actions=actions(*both))
    same((names(vm, "a"), names(vm, "b")), ([("1", "t")], [("1", "t")]))


def are_seen_through_filters(vm):
    make_qcow2("a.qcow2")
    add_image(vm, "a", "a.qcow2")
    vm.add("c", "copy-on-read", file="a")
    vm.command("blockdev-snapshot-internal-sync", device="c", name="one")
    same((names(vm, "a"), names(vm, "c")), ([("1", "one")], [("1", "one")]))


run("internal snapshots", [are_made_and_deleted, say_why_not,
                           do_not_go_with_a_data_file, are_undone_in_a_transaction,
                           are_seen_through_filters])
