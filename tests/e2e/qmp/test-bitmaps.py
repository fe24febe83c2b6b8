#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Dirty bitmaps by QMP; writes come through an NBD export."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from nbdtest import NbdClient  # noqa: E402
from qmptest import MiB, run, same  # noqa: E402

CHUNK = 64 << 10


def export(vm):
    """A writable export of node 'a'; the client to write through."""
    vm.null("a", 4 * MiB)
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    vm.command("block-export-add", type="nbd", id="e", node_name="a", writable=True)
    return NbdClient("s", "a")


def add(vm, name, **options):
    vm.command("block-dirty-bitmap-add", node="a", name=name, granularity=CHUNK, **options)


def bitmaps(vm):
    return {row["name"]: row for row in vm.nodes()["a"].get("dirty-bitmaps", [])}


def count(vm, name):
    return bitmaps(vm)[name]["count"]


def writes_are_recorded(vm):
    with export(vm) as client:
        add(vm, "b")
        client.write(10 * CHUNK + 5, b"x")
        client.write(20 * CHUNK - 1, b"xx")
        same(count(vm, "b"), 3 * CHUNK)
        vm.command("block-dirty-bitmap-clear", node="a", name="b")
        same(count(vm, "b"), 0)


def a_disabled_bitmap_records_nothing(vm):
    with export(vm) as client:
        add(vm, "b", disabled=True)
        client.write(0, b"x")
        same((count(vm, "b"), bitmaps(vm)["b"]["recording"]), (0, False))
        vm.command("block-dirty-bitmap-enable", node="a", name="b")
        client.write(0, b"x")
        same(count(vm, "b"), CHUNK)
        vm.command("block-dirty-bitmap-disable", node="a", name="b")
        client.write(MiB, b"x")
        same(count(vm, "b"), CHUNK)


def merge_adds_up(vm):
    with export(vm) as client:
        add(vm, "b0")
        client.write(0, b"x")
        vm.command("block-dirty-bitmap-disable", node="a", name="b0")
        add(vm, "b1")
        client.write(MiB, b"x")
        add(vm, "all", disabled=True)
        vm.command("block-dirty-bitmap-merge", node="a", target="all",
                   bitmaps=["b0", {"node": "a", "name": "b1"}])
        same(count(vm, "all"), 2 * CHUNK)


def merge_is_all_or_nothing(vm):
    with export(vm) as client:
        add(vm, "b0")
        client.write(0, b"x")
        add(vm, "all", disabled=True)
        vm.refused("Dirty bitmap 'nope' not found", "block-dirty-bitmap-merge", node="a",
                   target="all", bitmaps=["b0", "nope"])
        same(count(vm, "all"), 0)


def bad_arguments_are_refused(vm):
    vm.null("a")
    add(vm, "b")
    vm.refused("Bitmap already exists: b", "block-dirty-bitmap-add", node="a", name="b")
    vm.refused("Bitmap name cannot be empty", "block-dirty-bitmap-add", node="a", name="")
    vm.refused("Cannot find device='nope' nor node-name='nope'", "block-dirty-bitmap-add",
               node="nope", name="b")
    for granularity in (100, 256, 3 * 512):
        vm.refused("Granularity must be power of 2 and at least 512", "block-dirty-bitmap-add",
                   node="a", name="g", granularity=granularity)
    vm.refused("Bitmap name too long: " + "x" * 1024, "block-dirty-bitmap-add", node="a",
               name="x" * 1024)
    vm.refused("Can't store persistent bitmaps to a: Operation not supported",
               "block-dirty-bitmap-add", node="a", name="p", persistent=True)
    for verb in ("remove", "clear", "enable", "disable"):
        vm.refused("Dirty bitmap 'nope' not found", f"block-dirty-bitmap-{verb}", node="a",
                   name="nope")
    vm.command("block-dirty-bitmap-remove", node="a", name="b")
    same(bitmaps(vm), {})


run("bitmaps", [writes_are_recorded, a_disabled_bitmap_records_nothing, merge_adds_up,
                merge_is_all_or_nothing, bad_arguments_are_refused])
