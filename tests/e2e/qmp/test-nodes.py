#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes: blockdev-add, -del, -reopen, block_resize, and what queries tell of them."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import must  # noqa: E402
from qmptest import MiB, make_qcow2, make_raw, run, same  # noqa: E402


def add_and_delete(vm):
    make_qcow2("a.qcow2")
    vm.add("f", "file", filename="a.qcow2")
    vm.add("q", "qcow2", file="f")
    same(sorted(vm.nodes()), ["f", "q"])
    vm.refused("Block device f is in use", "blockdev-del", node_name="f")
    vm.command("blockdev-del", node_name="q")
    vm.refused("Failed to find node with node-name='q'", "blockdev-del", node_name="q")
    vm.command("blockdev-del", node_name="f")
    same(vm.nodes(), {})


def add_refuses_bad_options(vm):
    make_raw("r.raw")
    vm.refused("Parameter 'driver' is missing", "blockdev-add")
    vm.refused("Parameter 'driver' does not accept value 'nosuch'", "blockdev-add",
               driver="nosuch")
    vm.refused("'node-name' must be specified for the root node", "blockdev-add", driver="null-co")
    vm.refused("Invalid node-name: '9x'", "blockdev-add", driver="null-co", node_name="9x")
    vm.refused("Node name too long", "blockdev-add", driver="null-co", node_name="x" * 40)
    vm.refused("Could not open 'none': No such file or directory", "blockdev-add", driver="file",
               node_name="f", filename="none")
    vm.refused("Parameter 'bogus' is unexpected", "blockdev-add", driver="file", node_name="f",
               filename="r.raw", bogus=1)
    vm.refused("Invalid parameter type for 'filename', expected: string", "blockdev-add",
               driver="file", node_name="f", filename=5)
    vm.refused("Cannot find device='nope' nor node-name='nope'", "blockdev-add", driver="raw",
               node_name="r", file="nope")
    same(vm.nodes(), {})


def a_failed_add_leaves_nothing_open(vm):
    make_raw("r.raw")
    vm.refused("Image is not in qcow2 format", "blockdev-add", driver="qcow2", node_name="q",
               file={"driver": "file", "node-name": "f", "filename": "r.raw"})
    same(vm.nodes(), {})
    vm.add("f", "file", filename="r.raw")


def names_are_unique(vm):
    vm.null("a")
    vm.refused("Duplicate nodes with node-name='a'", "blockdev-add", driver="null-co",
               node_name="a")


def reopen_changes_options(vm):
    make_qcow2("a.qcow2")
    vm.add("f", "file", filename="a.qcow2")
    vm.add("q", "qcow2", file="f")
    options = {"driver": "qcow2", "node-name": "q", "file": "f"}
    vm.command("blockdev-reopen", options=[{**options, "read-only": True}])
    same(vm.nodes()["q"]["ro"], True)
    vm.command("blockdev-reopen", options=[options])
    same(vm.nodes()["q"]["ro"], False)
    vm.refused("Failed to find node with node-name='nope'", "blockdev-reopen",
               options=[{**options, "node-name": "nope"}])
    vm.refused("node-name not specified", "blockdev-reopen",
               options=[{"driver": "qcow2", "file": "f"}])
    vm.refused("Cannot change the option 'driver'", "blockdev-reopen",
               options=[{"driver": "raw", "node-name": "q", "file": "f"}])
    vm.refused("Cannot change the option 'filename'", "blockdev-reopen",
               options=[{"driver": "file", "node-name": "f", "filename": "b"}])


def reopen_is_all_or_nothing(vm):
    make_raw("r.raw")
    vm.null("a")
    vm.add("f", "file", filename="r.raw")
    vm.refused("Cannot change the option 'filename'", "blockdev-reopen",
               options=[{"driver": "null-co", "node-name": "a", "size": MiB, "read-only": True},
                        {"driver": "file", "node-name": "f", "filename": "other.raw"}])
    same(vm.nodes()["a"]["ro"], False)


def reopen_wants_to_know_of_the_backing_node(vm):
    make_qcow2("base.qcow2")
    make_qcow2("top.qcow2", "-b", "base.qcow2", "-F", "qcow2", size=None)
    vm.add("base", "qcow2", file={"driver": "file", "filename": "base.qcow2"})
    vm.add("f", "file", filename="top.qcow2")
    vm.add("top", "qcow2", file="f", backing="base")
    options = {"driver": "qcow2", "node-name": "top", "file": "f"}
    vm.refused("backing is missing for 'top'", "blockdev-reopen", options=[options])
    vm.command("blockdev-reopen", options=[{**options, "backing": None}])
    vm.command("blockdev-del", node_name="base")


def backing_names(vm, name):
    """What the image says its backing file is."""
    return json.loads(must("qemu-img", "info", "-U", "--output=json", name).out).get(
        "backing-filename")


def the_name_of_a_backing_file_is_changed(vm):
    make_qcow2("base.qcow2")
    for name, backing in (("mid", "base"), ("top", "mid")):
        make_qcow2(f"{name}.qcow2", "-b", f"{backing}.qcow2", "-F", "qcow2", size=None)
    make_qcow2("other.qcow2", "-b", "base.qcow2", "-F", "qcow2", size=None)
    vm.add("base", "qcow2", file={"driver": "file", "filename": "base.qcow2"}, read_only=True)
    vm.add("mid", "qcow2", file={"driver": "file", "filename": "mid.qcow2"}, read_only=True,
           backing="base")
    vm.add("top", "qcow2", file={"driver": "file", "filename": "top.qcow2"}, backing="mid")
    vm.add("other", "qcow2", file={"driver": "file", "filename": "other.qcow2"}, backing="base")
    change = {"device": "top", "backing_file": "./new.qcow2"}
    vm.refused("not allowing backing file change on an image without a backing file",
               "change-backing-file", image_node_name="base", **change)
    vm.refused("'top' and image file are not in the same chain", "change-backing-file",
               image_node_name="other", **change)
    vm.refused("Need a root block node", "change-backing-file", device="mid",
               image_node_name="mid", backing_file="x")
    # One that is read-only is made writable for a moment.
    for name in ("mid", "top"):
        vm.command("change-backing-file", image_node_name=name, **change)
        same(backing_names(vm, f"{name}.qcow2"), "./new.qcow2")
    same([vm.nodes()[name]["ro"] for name in ("mid", "top")], [True, False])
    vm.refused("Could not change backing file to '%s': Invalid argument" % ("x" * 2000),
               "change-backing-file", device="top", image_node_name="top",
               backing_file="x" * 2000)
    same(backing_names(vm, "top.qcow2"), "./new.qcow2")


def children_of_a_quorum_come_and_go(vm):
    for name in "abc":
        vm.null(name)
    vm.add("q", "quorum", vote_threshold=2, children=["a", "b"])
    vm.refused("The parameters child and node are in conflict", "x-blockdev-change", parent="q",
               child="children.0", node="c")
    vm.refused("Node 'q' does not have child 'children.7'", "x-blockdev-change", parent="q",
               child="children.7")
    vm.refused("The number of children cannot be lower than the vote threshold 2",
               "x-blockdev-change", parent="q", child="children.0")
    vm.refused("The node a does not support adding a child", "x-blockdev-change", parent="a",
               node="c")
    vm.command("x-blockdev-change", parent="q", node="c")
    vm.refused("Block device c is in use", "blockdev-del", node_name="c")
    vm.command("x-blockdev-change", parent="q", child="children.0")
    vm.command("blockdev-del", node_name="a")
    same({child["node-name"] for child in vm.nodes()["q"]["children"]}, {"b", "c"})


def resize(vm):
    make_raw("r.raw")
    vm.add("f", "file", filename="r.raw")
    vm.add("r", "raw", file="f")
    vm.refused("Parameter 'size' expects a >0 size", "block_resize", node_name="r", size=-1)
    vm.refused("Cannot find device='' nor node-name='nope'", "block_resize", node_name="nope",
               size=1)
    vm.command("block_resize", node_name="r", size=4 * MiB)
    same(vm.nodes()["r"]["image"]["virtual-size"], 4 * MiB)
    same(os.stat("r.raw").st_size, 4 * MiB)
    vm.command("block_resize", node_name="r", size=MiB)
    same(os.stat("r.raw").st_size, MiB)


def the_space_taken_on_the_host_is_told(vm):
    make_raw("r.raw")
    with open("r.raw", "r+b") as image:
        image.write(b"x" * 100000)
    vm.add("r", "raw", file={"driver": "file", "filename": "r.raw"})
    same(vm.nodes()["r"]["image"]["actual-size"], os.stat("r.raw").st_blocks * 512)
    for _ in range(20):
        vm.add("f", "file", filename="r.raw", read_only=True)
        vm.nodes()
        vm.command("blockdev-del", node_name="f")


def the_graph_is_told(vm):
    make_qcow2("a.qcow2")
    vm.add("f", "file", filename="a.qcow2")
    vm.add("q", "qcow2", file="f")
    graph = vm.command("x-debug-query-block-graph")
    names = {node["id"]: node["name"] for node in graph["nodes"]}
    edge, = graph["edges"]
    same((names[edge["parent"]], edge["name"], names[edge["child"]]), ("q", "file", "f"))
    same(edge["perm"], ["consistent-read", "write", "resize"])
    same(edge["shared-perm"], ["consistent-read", "write-unchanged"])


def counters_are_told_by_node(vm):
    vm.null("a")
    row, = vm.command("query-blockstats", query_nodes=True)
    same((row["node-name"], row["stats"]["wr_highest_offset"]), ("a", 0))
    same(vm.command("query-blockstats"), [])
    same(vm.command("query-block"), [])


def objects_come_and_go(vm):
    vm.command("object-add", qom_type="iothread", id="io0", poll_max_ns=1000)
    vm.refused("attempt to add duplicate property 'io0' to object (type 'container')",
               "object-add", qom_type="iothread", id="io0")
    vm.refused("Parameter 'qom-type' does not accept value 'bogus'", "object-add",
               qom_type="bogus", id="x")
    vm.refused("poll-grow value must be in range [0, 9223372036854775807]", "object-add",
               qom_type="iothread", id="io1", poll_grow=-1)
    vm.command("object-del", id="io0")
    vm.refused("object 'io0' not found", "object-del", id="io0")


def quorum_reports_what_lost(vm):
    for i in range(3):
        make_raw(f"q{i}.raw")
        vm.add(f"q{i}", "raw", file={"driver": "file", "filename": f"q{i}.raw"})
    with open("q1.raw", "r+b") as file:
        file.seek(4096)
        file.write(b"x")
    vm.add("q", "quorum", vote_threshold=2, children=["q0", "q1", "q2"])
    vm.null("t")
    vm.command("blockdev-backup", job_id="j", device="q", target="t", sync="full")
    data = vm.wait_event("QUORUM_REPORT_BAD")["data"]
    same((data["type"], data["node-name"], "error" in data), ("read", "q1", False))
    vm.wait_event("BLOCK_JOB_COMPLETED")


run("nodes", [add_and_delete, add_refuses_bad_options, a_failed_add_leaves_nothing_open,
              names_are_unique, reopen_changes_options, reopen_is_all_or_nothing,
              reopen_wants_to_know_of_the_backing_node, resize,
              the_name_of_a_backing_file_is_changed, children_of_a_quorum_come_and_go,
              the_space_taken_on_the_host_is_told, the_graph_is_told,
              counters_are_told_by_node, objects_come_and_go, quorum_reports_what_lost])
