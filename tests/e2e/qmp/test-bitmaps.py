#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Dirty bitmaps by QMP; writes come through an NBD export."""

import hashlib
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import must  # noqa: E402
from nbdtest import NbdClient  # noqa: E402
from qmptest import BUILD, MiB, Vm, make_qcow2, run, same  # noqa: E402

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


def qcow2(vm, **options):
    vm.command("blockdev-add", driver="qcow2", node_name="a",
               file={"driver": "file", "filename": "t.qcow2"}, **options)


def persistent(vm):
    """Node 'a', an image with the bitmap 'b' of which the first chunk is dirty."""
    make_qcow2("t.qcow2")
    qcow2(vm)
    add(vm, "b", persistent=True)
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    write_through_export(vm, 0)


def write_through_export(vm, offset, server="s"):
    vm.command("block-export-add", type="nbd", id="e", node_name="a", writable=True)
    with NbdClient(server, "a") as client:
        client.write(offset, b"x")
    vm.command("block-export-del", id="e", mode="hard")
    vm.wait_event("BLOCK_EXPORT_DELETED")


def again(vm, **options):
    """Close the image and open it again."""
    vm.command("blockdev-del", node_name="a")
    qcow2(vm, **options)


def it_is_there_after_closing(vm):
    persistent(vm)
    same(count(vm, "b"), CHUNK)
    again(vm)
    same((count(vm, "b"), bitmaps(vm)["b"]["persistent"]), (CHUNK, True))
    again(vm, read_only=True)
    same(count(vm, "b"), CHUNK)
    vm.refused("Bitmap 'b' is readonly and cannot be modified", "block-dirty-bitmap-clear",
               node="a", name="b")


def it_is_stored_when_the_node_becomes_read_only(vm):
    persistent(vm)
    options = {"driver": "qcow2", "node-name": "a", "file": "f"}
    vm.command("blockdev-del", node_name="a")
    vm.command("blockdev-add", driver="file", node_name="f", filename="t.qcow2")
    vm.command("blockdev-add", driver="qcow2", node_name="a", file="f")
    vm.command("block-dirty-bitmap-clear", node="a", name="b")
    vm.command("blockdev-reopen", options=[dict(options, **{"read-only": True})])
    vm.refused("Bitmap 'b' is readonly and cannot be modified", "block-dirty-bitmap-remove",
               node="a", name="b")
    vm.command("blockdev-reopen", options=[options])
    write_through_export(vm, MiB)
    same(count(vm, "b"), CHUNK)
    vm.command("blockdev-del", node_name="a")
    vm.command("blockdev-add", driver="qcow2", node_name="a", file="f")
    same(count(vm, "b"), CHUNK)


def it_follows_the_image_that_is_handed_over(vm):
    persistent(vm)
    vm.command("blockdev-set-active", active=False, node_name="a")
    vm.refused("Node 'a' is inactive, so its bitmap 'b' belongs to another process",
               "block-dirty-bitmap-clear", node="a", name="b")
    vm.command("blockdev-set-active", active=True, node_name="a")
    same(count(vm, "b"), CHUNK)
    write_through_export(vm, MiB)
    again(vm)
    same(count(vm, "b"), 2 * CHUNK)


def hand_over(giver, taker):
    giver.command("blockdev-set-active", active=False, node_name="a")
    taker.command("blockdev-set-active", active=True, node_name="a")


def it_goes_from_process_to_process(vm):
    """With its bits, on or off, as that of a machine that moves to another host; one that is not
    kept in the image stays behind."""
    persistent(vm)
    add(vm, "off", persistent=True, disabled=True)
    add(vm, "here")
    with Vm() as other:
        qcow2(other, active=False)
        other.command("nbd-server-start", addr={"type": "unix", "data": {"path": "o"}})
        hand_over(vm, other)
        same({name: (row["count"], row["recording"], row["persistent"], "inconsistent" in row)
              for name, row in bitmaps(other).items()},
             {"b": (CHUNK, True, True, False), "off": (0, False, True, False)})
        write_through_export(other, MiB, "o")
        hand_over(other, vm)
        same((count(vm, "b"), count(vm, "off"), bitmaps(vm)["off"]["recording"]),
             (2 * CHUNK, 0, False))
        assert bitmaps(vm)["here"]["recording"], "it was here all the time"
        vm.command("block-dirty-bitmap-enable", node="a", name="off")
        vm.command("block-dirty-bitmap-remove", node="a", name="b")
        hand_over(vm, other)
        same({name: row["recording"] for name, row in bitmaps(other).items()}, {"off": True})
    same(json.loads(must("qemu-img", "check", "--output=json", "t.qcow2").out)["check-errors"], 0)


def a_failed_transaction_changes_nothing(vm):
    persistent(vm)
    wrong = {"type": "block-dirty-bitmap-clear", "data": {"node": "a", "name": "nope"}}
    b = {"node": "a", "name": "b"}
    for action, data in (("remove", b), ("clear", b), ("disable", b),
                         ("add", {"node": "a", "name": "c", "persistent": True}),
                         ("merge", {"node": "a", "target": "b", "bitmaps": ["d"]})):
        if action == "merge":
            add(vm, "d")
        vm.refused("Dirty bitmap 'nope' not found", "transaction",
                   actions=[{"type": f"block-dirty-bitmap-{action}", "data": data}, wrong])
        row = bitmaps(vm)["b"]
        same((row["count"], row["recording"], row["persistent"], row["busy"]),
             (CHUNK, True, True, False))
    same(sorted(bitmaps(vm)), ["b", "d"])
    again(vm)
    same((sorted(bitmaps(vm)), count(vm, "b")), (["b"], CHUNK))


def a_failed_transaction_leaves_it_in_the_file(vm):
    persistent(vm)
    again(vm)
    wrong = {"type": "block-dirty-bitmap-clear", "data": {"node": "a", "name": "nope"}}
    remove = {"type": "block-dirty-bitmap-remove", "data": {"node": "a", "name": "b"}}
    vm.refused("Dirty bitmap 'nope' not found", "transaction", actions=[remove, wrong])
    vm.process.kill()
    vm.process.wait()
    text = subprocess.run([os.path.join(BUILD, "qemu-img"), "info", "--output=json", "t.qcow2"],
                          check=True, capture_output=True, text=True).stdout
    stored = json.loads(text)["format-specific"]["data"]["bitmaps"]
    same([bitmap["name"] for bitmap in stored], ["b"])


def a_backup_that_cleared_it_is_remembered(vm):
    persistent(vm)
    vm.null("target", 4 * MiB)
    vm.command("blockdev-backup", job_id="j", device="a", target="target", sync="incremental",
               bitmap="b")
    vm.wait_event("BLOCK_JOB_COMPLETED")
    same(count(vm, "b"), 0)
    again(vm)
    same(count(vm, "b"), 0)


def sha256(vm, name):
    return vm.command("x-debug-block-dirty-bitmap-sha256", node="a", name=name)["sha256"]


def its_sha256_is_that_of_the_bits(vm):
    with export(vm) as client:
        add(vm, "b")
        add(vm, "c")
        empty = sha256(vm, "b")
        same(sha256(vm, "c"), empty)
        vm.command("block-dirty-bitmap-disable", node="a", name="c")
        client.write(5 * CHUNK, b"x" * (3 * CHUNK))
        same((sha256(vm, "c") == empty, sha256(vm, "b") == empty), (True, False))
        vm.command("block-dirty-bitmap-merge", node="a", target="c", bitmaps=["b"])
        same(sha256(vm, "c"), sha256(vm, "b"))
        # 64 bits, 5 to 7 of them set, as in the memory of a little-endian machine.
        same(sha256(vm, "b"), hashlib.sha256(bytes([0xe0] + [0] * 7)).hexdigest())
    vm.refused("Dirty bitmap 'nope' not found", "x-debug-block-dirty-bitmap-sha256", node="a",
               name="nope")


run("bitmaps", [writes_are_recorded, a_disabled_bitmap_records_nothing, merge_adds_up,
                merge_is_all_or_nothing, bad_arguments_are_refused, it_is_there_after_closing,
                it_is_stored_when_the_node_becomes_read_only,
                it_follows_the_image_that_is_handed_over, it_goes_from_process_to_process,
                a_failed_transaction_changes_nothing,
                a_failed_transaction_leaves_it_in_the_file, a_backup_that_cleared_it_is_remembered,
                its_sha256_is_that_of_the_bits])
