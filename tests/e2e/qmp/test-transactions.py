#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""transaction with every kind of action: fails at each position, and nothing is left of it."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import must  # noqa: E402
from qmptest import MiB, make_qcow2, run, same  # noqa: E402

ABORT = {"type": "abort", "data": {}}
BITMAPS = ("clear", "enable", "disable", "remove", "merge", "source")


def open_image(vm, node):
    make_qcow2(node + ".qcow2")
    vm.add(node, "qcow2", file={"driver": "file", "node-name": node + "-file",
                                "filename": node + ".qcow2"})


def action(kind, **data):
    return {"type": kind, "data": {key.replace("_", "-"): value for key, value in data.items()}}


def make_actions(vm):
    """Nodes, and one action or more of each kind on nodes of their own."""
    for node in ("bits", "src", "dst", "base", "top", "int", "sync", "drv"):
        open_image(vm, node)
    must("qemu-img", "create", "-q", "-f", "qcow2", "over.qcow2", "4M")
    vm.add("over", "qcow2", file={"driver": "file", "filename": "over.qcow2"}, backing=None)
    for name in BITMAPS:
        vm.command("block-dirty-bitmap-add", node="bits", name=name, disabled=name == "enable")
    vm.hmp('qemu-io bits "write 0 192k"')
    return [
        action("block-dirty-bitmap-add", node="bits", name="new", persistent=True),
        action("block-dirty-bitmap-clear", node="bits", name="clear"),
        action("block-dirty-bitmap-enable", node="bits", name="enable"),
        action("block-dirty-bitmap-disable", node="bits", name="disable"),
        action("block-dirty-bitmap-merge", node="bits", target="merge", bitmaps=["source", "clear"]),
        action("block-dirty-bitmap-remove", node="bits", name="remove"),
        action("blockdev-backup", job_id="j1", device="src", target="dst", sync="full"),
        action("blockdev-snapshot", node="base", overlay="over"),
        action("blockdev-snapshot-internal-sync", device="int", name="s"),
        action("blockdev-snapshot-sync", node_name="sync", snapshot_file="sync2.qcow2",
               snapshot_node_name="sync2"),
        action("drive-backup", job_id="j2", device="drv", target="drv2.qcow2", format="qcow2",
               sync="full"),
    ]


def state(vm):
    """All that a transaction could change, but files beside the images."""
    nodes = vm.nodes()
    bitmaps = {row["name"]: (row["count"], row["recording"], row["busy"])
               for row in nodes["bits"].get("dirty-bitmaps", [])}
    blockers = [(row["node-name"], row["uses"], row["forbids"])
                for row in vm.command("query-block-blockers")]
    chains = {name: row.get("backing_file") for name, row in nodes.items()}
    snapshots = [row["name"] for row in nodes["int"]["image"].get("snapshots", [])]
    return bitmaps, sorted(map(str, blockers)), chains, snapshots, vm.command("query-jobs")


def every_kind_of_action_is_here(vm):
    """So that the cases below leave none out."""
    schema = {entry["name"]: entry for entry in vm.command("query-qmp-schema")}
    arguments = schema[schema["transaction"]["arg-type"]]
    listed = next(member for member in arguments["members"] if member["name"] == "actions")
    union = schema[schema[listed["type"]]["element-type"]]
    kinds = {variant["case"] for variant in union["variants"]}
    same({one["type"] for one in make_actions(vm)} | {"abort"}, kinds)


def each_position_may_fail(vm):
    actions = make_actions(vm)
    before = state(vm)
    for place in range(len(actions) + 1):
        vm.refused("Transaction aborted using Abort action", "transaction",
                   actions=actions[:place] + [ABORT] + actions[place:])
        same(state(vm), before)


def each_action_may_fail_last(vm):
    """Each kind fails on its own, behind all others."""
    actions = make_actions(vm)
    before = state(vm)
    wrong = {"node": "nope", "device": "nope", "node-name": "nope"}
    for index, one in enumerate(actions):
        key = next(key for key in ("node-name", "node", "device") if key in one["data"])
        bad = {"type": one["type"], "data": {**one["data"], key: wrong[key]}}
        try:
            vm.command("transaction", actions=actions[:index] + actions[index + 1:] + [bad])
        except Exception as error:  # pylint: disable=broad-except
            assert "nope" in str(error), error
        else:
            raise AssertionError(f"{one['type']} was accepted")
        same(state(vm), before)


def all_happen_together(vm):
    vm.command("transaction", actions=make_actions(vm))
    for job in ("j1", "j2"):
        done = vm.wait_event("BLOCK_JOB_COMPLETED", device=job)
        same(done["data"].get("error"), None)
    bitmaps, _, chains, snapshots, _ = state(vm)
    same(bitmaps, {"new": (0, True, False), "clear": (0, True, False), "enable": (0, True, False),
                   "disable": (192 << 10, False, False), "merge": (192 << 10, True, False),
                   "source": (192 << 10, True, False)})
    same((chains["over"], chains["sync2"], snapshots), ("base.qcow2", "sync.qcow2", ["s"]))


def a_point_in_time_is_one(vm):
    """What is written afterwards is in the bitmap and not in the copy."""
    for node in ("b", "c", "d"):
        open_image(vm, node)
    make_qcow2("a.qcow2")
    same(vm.hmp("drive_add 0 if=none,id=a0,node-name=a,file=a.qcow2,format=qcow2"), "OK\r\n")
    vm.hmp('qemu-io a0 "write -P 1 0 1M"')
    vm.command("transaction", actions=[
        action("blockdev-backup", job_id="j1", device="a", target="b", sync="full"),
        action("blockdev-backup", job_id="j2", device="c", target="d", sync="full"),
        action("block-dirty-bitmap-add", node="a", name="since")])
    vm.hmp('qemu-io a0 "write -P 2 0 64k"')
    for job in ("j1", "j2"):
        vm.wait_event("BLOCK_JOB_COMPLETED", device=job)
    same(vm.nodes()["a"]["dirty-bitmaps"][0]["count"], 64 << 10)
    vm.command("blockdev-del", node_name="b")
    must("qemu-io", "-f", "qcow2", "-c", f"read -q -P 1 0 {MiB}", "b.qcow2")


run("transactions", [every_kind_of_action_is_here, each_position_may_fail, each_action_may_fail_last, all_happen_together,
                     a_point_in_time_is_one],
    args=("-machine", "none", "-display", "none", "-nodefaults"), program="qemu-system-e2k")
