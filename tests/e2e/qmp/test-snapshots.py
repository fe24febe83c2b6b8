#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""External snapshots: blockdev-snapshot and blockdev-snapshot-sync."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from qmptest import BUILD, MiB, make_qcow2, make_raw, run, same  # noqa: E402


def add_image(vm, node_name, filename, **options):
    vm.add(node_name, "qcow2", file={"driver": "file", "filename": filename}, **options)


def an_overlay_goes_on_top(vm):
    make_qcow2("a.qcow2")
    make_qcow2("o.qcow2")
    add_image(vm, "a", "a.qcow2")
    add_image(vm, "o", "o.qcow2", backing=None)
    vm.command("blockdev-snapshot", node="a", overlay="o")
    nodes = vm.nodes()
    same((nodes["o"]["backing_file"], nodes["o"]["backing_file_depth"]), ("a.qcow2", 1))
    same((nodes["a"]["ro"], nodes["o"]["ro"]), (True, False))


def an_overlay_must_fit(vm):
    make_qcow2("a.qcow2")
    make_qcow2("o.qcow2")
    make_qcow2("o2.qcow2", "-b", "a.qcow2", "-F", "qcow2", size=None)
    make_raw("r.raw")
    add_image(vm, "a", "a.qcow2")
    add_image(vm, "o", "o.qcow2", backing=None)
    vm.command("blockdev-snapshot", node="a", overlay="o")
    vm.refused("Node 'a' is busy: node is used as backing hd of 'o'", "blockdev-snapshot",
               node="a", overlay="o")
    vm.refused("Cannot find device='nope' nor node-name='nope'", "blockdev-snapshot",
               node="nope", overlay="o")
    vm.add("r", "raw", file={"driver": "file", "filename": "r.raw"})
    vm.refused("The overlay does not support backing images", "blockdev-snapshot", node="o",
               overlay="r")
    add_image(vm, "o2", "o2.qcow2")
    vm.refused("The overlay already has a backing image", "blockdev-snapshot", node="o",
               overlay="o2")


def parents_follow(vm):
    make_qcow2("a.qcow2")
    make_qcow2("o.qcow2")
    add_image(vm, "a", "a.qcow2")
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    vm.command("block-export-add", type="nbd", id="e", node_name="a", writable=True)
    add_image(vm, "o", "o.qcow2", backing=None)
    vm.command("blockdev-snapshot", node="a", overlay="o")
    export, = vm.command("query-block-exports")
    same(export["node-name"], "o")


def sync_makes_the_image(vm):
    make_qcow2("a.qcow2")
    add_image(vm, "a", "a.qcow2")
    vm.command("blockdev-snapshot-sync", node_name="a", snapshot_file="s1.qcow2",
               snapshot_node_name="s1")
    same(vm.nodes()["s1"]["backing_file"], "a.qcow2")
    vm.command("blockdev-snapshot-sync", node_name="s1", snapshot_file="s2.qcow2",
               snapshot_node_name="s2")
    same(vm.nodes()["s2"]["backing_file_depth"], 2)
    vm.command("quit")
    vm.finish()
    info = subprocess.run([os.path.join(BUILD, "qemu-img"), "info", "--output=json", "s2.qcow2"],
                          check=True, capture_output=True)
    info = json.loads(info.stdout)
    same((info["backing-filename"], info["backing-filename-format"], info["virtual-size"]),
         ("s1.qcow2", "qcow2", 4 * MiB))


def a_refused_sync_changes_nothing(vm):
    make_qcow2("a.qcow2")
    add_image(vm, "a", "a.qcow2")
    sync = {"node_name": "a", "snapshot_file": "s.qcow2", "snapshot_node_name": "s"}
    vm.refused("New overlay node-name missing", "blockdev-snapshot-sync", node_name="a",
               snapshot_file="s.qcow2")
    vm.refused("New overlay node-name already in use", "blockdev-snapshot-sync",
               **{**sync, "snapshot_node_name": "a"})
    vm.refused("Unknown file format 'nosuch'", "blockdev-snapshot-sync", format="nosuch", **sync)
    vm.refused("Could not open 's.qcow2': No such file or directory", "blockdev-snapshot-sync",
               mode="existing", **sync)
    nodes = vm.nodes()
    same((nodes["a"]["ro"], "s" in nodes, os.path.exists("s.qcow2")), (False, False, False))


run("snapshots", [an_overlay_goes_on_top, an_overlay_must_fit, parents_follow,
                  sync_makes_the_image, a_refused_sync_changes_nothing])
