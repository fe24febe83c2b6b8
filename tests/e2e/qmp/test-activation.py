#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Inactive nodes: images handed from one process to another and back."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import must, run as run_tool  # noqa: E402
from nbdtest import NbdClient             # noqa: E402
from qmptest import MiB, Vm, make_qcow2, make_raw, run, same  # noqa: E402

FILE = {"driver": "file", "node-name": "f", "filename": "a.qcow2"}


def active(vm):
    """{node: is it active?}"""
    return {name: row["active"] for name, row in vm.nodes().items()}


def set_active(vm, on, node=None):
    vm.command("blockdev-set-active", active=on, **({"node_name": node} if node else {}))


def children_are_as_active_as_their_parent(vm):
    make_qcow2("a.qcow2")
    vm.add("q", "qcow2", file=FILE, active=False)
    same(active(vm), {"q": False, "f": False})
    set_active(vm, True, "q")
    same(active(vm), {"q": True, "f": True})
    set_active(vm, False, "q")
    same(active(vm), {"q": False, "f": False})


def an_inactive_node_locks_nothing(vm):
    make_qcow2("a.qcow2")
    vm.add("q", "qcow2", file=FILE)
    refused = run_tool("qemu-io", "-c", "write -P 1 0 64k", "a.qcow2")
    assert 'Failed to get "write" lock' in refused.err, refused
    set_active(vm, False)
    must("qemu-io", "-c", "write -P 1 0 64k", "a.qcow2")
    set_active(vm, True)
    refused = run_tool("qemu-io", "-c", "write -P 1 0 64k", "a.qcow2")
    assert 'Failed to get "write" lock' in refused.err, refused


def what_others_wrote_is_read_again(vm):
    make_qcow2("a.qcow2")
    vm.add("q", "qcow2", file=FILE)
    set_active(vm, False, "q")
    must("qemu-img", "resize", "-q", "a.qcow2", "8M")
    must("qemu-io", "-c", "write -P 7 5M 1M", "a.qcow2")
    set_active(vm, True, "q")
    same(vm.nodes()["q"]["image"]["virtual-size"], 8 * MiB)
    # A copy made by the daemon shows what it reads; what it allocates must not hit the other's.
    make_raw("copy.raw", 8 * MiB)
    vm.add("copy", "raw", file={"driver": "file", "filename": "copy.raw"})
    vm.command("blockdev-backup", job_id="j", device="q", target="copy", sync="full")
    vm.wait_event("BLOCK_JOB_COMPLETED", device="j")
    vm.command("block_resize", node_name="q", size=16 * MiB)
    vm.command("blockdev-del", node_name="q")
    vm.command("blockdev-del", node_name="copy")
    must("qemu-img", "check", "a.qcow2")
    must("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "copy.raw", "a.qcow2")
    seen = must("qemu-io", "-c", "read -P 7 5M 1M", "a.qcow2")
    assert "verification failed" not in seen.out, seen


def what_others_wrote_into_a_layer_is_seen(vm):
    """Also by who has read through that layer before, three layers above."""
    backing = []
    for i in range(4):
        make_qcow2(f"{i}.qcow2", *backing, size=None if backing else "4M")
        backing = ["-b", f"{i}.qcow2", "-F", "qcow2"]
    for i in range(4):
        vm.add(f"q{i}", "qcow2", file={"driver": "file", "filename": f"{i}.qcow2"},
               **({"backing": f"q{i - 1}"} if i else {}))
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    vm.command("block-export-add", type="nbd", id="e", node_name="q3", allow_inactive=True)
    client = NbdClient("s", export="q3")
    for _ in range(3):
        same(client.read(0, 4096), bytes(4096))
    set_active(vm, False)
    must("qemu-io", "-c", "write -P 7 0 1M", "1.qcow2")
    set_active(vm, True)
    same(client.read(0, 4096), b"\7" * 4096)
    client.close()


def an_external_data_file_is_the_same_child(vm):
    make_qcow2("a.qcow2", "-o", "data_file=d.raw")
    vm.add("q", "qcow2", file=FILE)
    set_active(vm, False)
    must("qemu-io", "-c", "write -P 7 0 1M", "a.qcow2")
    set_active(vm, True)
    same([edge["name"] for edge in vm.command("x-debug-query-block-graph")["edges"]],
         ["file", "data-file"])
    same(len(vm.nodes()), 3)


def two_daemons_take_turns(vm):
    make_qcow2("a.qcow2")
    vm.add("q", "qcow2", file=FILE)
    with Vm() as other:
        other.add("q", "qcow2", file=FILE, active=False)
        other.refused('Failed to get "write" lock', "blockdev-set-active", node_name="q",
                      active=True)
        same(active(other), {"q": False, "f": False})
        for turn in range(1, 4):
            vm.command("block_resize", node_name="q", size=(4 + 2 * turn) * MiB)
            set_active(vm, False)
            set_active(other, True)
            same(other.nodes()["q"]["image"]["virtual-size"], (4 + 2 * turn) * MiB)
            other.command("block_resize", node_name="q", size=(5 + 2 * turn) * MiB)
            set_active(other, False)
            set_active(vm, True)
            same(vm.nodes()["q"]["image"]["virtual-size"], (5 + 2 * turn) * MiB)
        set_active(vm, False)
    set_active(vm, True)
    vm.command("blockdev-del", node_name="q")
    must("qemu-img", "check", "a.qcow2")


def a_writer_keeps_its_node(vm):
    make_qcow2("a.qcow2")
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "nbd.sock"}})
    vm.add("q", "qcow2", file=FILE)
    vm.command("block-export-add", type="nbd", id="e", node_name="q", writable=True)
    for node in ({"node_name": "q"}, {}):
        vm.refused("Failed to inactivate node: Operation not permitted", "blockdev-set-active",
                   active=False, **node)
        same(active(vm), {"q": True, "f": True})
    vm.command("block-export-del", id="e")
    set_active(vm, False)
    vm.refused("Permission 'write' unavailable on inactive node", "block-export-add", type="nbd",
               id="e", node_name="q", writable=True, allow_inactive=True)
    same(active(vm), {"q": False, "f": False})
    vm.command("block-export-add", type="nbd", id="e", node_name="q", writable=True)
    same(active(vm), {"q": True, "f": True})


def a_node_below_an_active_one_stays(vm):
    make_qcow2("a.qcow2")
    vm.add("f", "file", filename="a.qcow2")
    vm.add("q", "qcow2", file="f")
    vm.refused("Node has active parent node", "blockdev-set-active", node_name="f", active=False)
    set_active(vm, False, "q")
    same(active(vm), {"q": False, "f": False})


def nothing_active_stands_on_an_inactive_node(vm):
    make_qcow2("a.qcow2")
    vm.add("f", "file", filename="a.qcow2", active=False)
    vm.refused("Inactive 'f' can't be a file child of active 'q'", "blockdev-add",
               driver="qcow2", node_name="q", file="f")
    vm.add("q", "qcow2", file="f", active=False)


def a_shared_base_stays_for_the_other_overlay(vm):
    make_qcow2("base.qcow2")
    vm.add("base", "qcow2", read_only=True, file={"driver": "file", "filename": "base.qcow2"})
    for name in ("x", "y"):
        make_qcow2(f"{name}.qcow2", "-b", "base.qcow2", "-F", "qcow2", size=None)
        vm.add(name, "qcow2", backing="base", file={"driver": "file",
                                                    "filename": f"{name}.qcow2"})
    set_active(vm, False, "x")
    same((active(vm)["x"], active(vm)["y"], active(vm)["base"]), (False, True, True))
    set_active(vm, False, "y")
    same((active(vm)["y"], active(vm)["base"]), (False, False))
    set_active(vm, True, "x")
    same((active(vm)["x"], active(vm)["y"], active(vm)["base"]), (True, False, True))


def reopen_leaves_activity_alone(vm):
    make_qcow2("a.qcow2")
    vm.add("f", "file", filename="a.qcow2", active=False)
    vm.refused("Cannot change the option 'active'", "blockdev-reopen",
               options=[{"driver": "file", "node-name": "f", "filename": "a.qcow2",
                         "active": True}])
    vm.command("blockdev-reopen", options=[{"driver": "file", "node-name": "f",
                                            "filename": "a.qcow2", "read-only": True}])
    same(active(vm), {"f": False})


def a_damaged_image_stays_inactive(vm):
    make_qcow2("a.qcow2")
    vm.add("q", "qcow2", file=FILE)
    set_active(vm, False)
    with open("a.qcow2", "r+b") as image:
        image.write(b"nothing")
    vm.refused("Could not activate node 'q': Image is not in qcow2 format", "blockdev-set-active",
               active=True)
    same(active(vm), {"q": False, "f": False})
    with open("a.qcow2", "r+b") as image:
        image.write(b"QFI\xfb\0\0\0")
    set_active(vm, True)
    vm.command("block_resize", node_name="q", size=8 * MiB)


run("activation", [
    children_are_as_active_as_their_parent,
    an_inactive_node_locks_nothing,
    what_others_wrote_is_read_again,
    what_others_wrote_into_a_layer_is_seen,
    an_external_data_file_is_the_same_child,
    two_daemons_take_turns,
    a_writer_keeps_its_node,
    a_node_below_an_active_one_stays,
    nothing_active_stands_on_an_inactive_node,
    a_shared_base_stays_for_the_other_overlay,
    reopen_leaves_activity_alone,
    a_damaged_image_stays_inactive,
])
