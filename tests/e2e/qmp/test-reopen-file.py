#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes in use whose file becomes another one: everything that was written goes to the old file, all
that is read comes from the new one, and a change that fails leaves both as they were."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import must                                                # noqa: E402
from nbdtest import NbdClient                                           # noqa: E402
from qmptest import MiB, QMPError, Vm, make_qcow2, make_raw, run, same  # noqa: E402

BLOCK = 65536


def serve(vm, node):
    """A client of a writable export of @node."""
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    vm.command("block-export-add", type="nbd", id="e", node_name=node, writable=True)
    return NbdClient("s", export=node)


def end_of_service(vm, client):
    client.close()
    vm.command("nbd-server-stop")


def reopen(vm, *nodes):
    vm.command("blockdev-reopen", options=list(nodes))


def qcow2(file, **options):
    return {"node-name": "q", "driver": "qcow2", "file": file, **options}


def add_images(vm, **images):
    """Files of qcow2 images, by node name; q is over the first of them."""
    for name, options in images.items():
        make_qcow2(f"{name}.qcow2", *options)
        vm.add(name, "file", filename=f"{name}.qcow2")
    vm.add("q", "qcow2", file=next(iter(images)))


def size_of(vm, node="q"):
    return vm.nodes()[node]["image"]["virtual-size"]


def reads(name, *commands):
    """qemu-io finds these patterns in an image, which is sound."""
    must("qemu-img", "check", "-q", name)
    must("qemu-io", "-r", *(word for command in commands for word in ("-c", command)), name)


def each_image_keeps_what_was_written_to_it(vm):
    make_qcow2("b.qcow2", size="8M")
    must("qemu-io", "-c", "write -P 9 0 1M", "b.qcow2")
    add_images(vm, a=())
    vm.add("b", "file", filename="b.qcow2")
    client = serve(vm, "q")
    client.write(0, b"\1" * BLOCK)
    reopen(vm, qcow2("b"))
    same(size_of(vm), 8 * MiB)
    same(client.read(0, BLOCK), b"\x09" * BLOCK)
    client.write(BLOCK, b"\2" * BLOCK)
    client.write(3 * MiB, b"\3" * BLOCK)
    reopen(vm, qcow2("a"))
    same(size_of(vm), 4 * MiB)
    same(client.read(0, 2 * BLOCK), b"\1" * BLOCK + bytes(BLOCK))
    client.write(3 * MiB, b"\4" * BLOCK)
    end_of_service(vm, client)
    vm.command("blockdev-del", node_name="q")
    for name in "ab":
        vm.command("blockdev-del", node_name=name)
    reads("a.qcow2", "read -P 1 0 64k", "read -P 0 64k 1M", "read -P 4 3M 64k")
    reads("b.qcow2", "read -P 9 0 64k", "read -P 2 64k 64k", "read -P 9 128k 896k",
          "read -P 3 3M 64k")


def images_that_cannot_be_used_change_nothing(vm):
    make_raw("raw.raw", 4 * MiB)
    make_qcow2("map.qcow2")
    must("qemu-img", "bitmap", "--add", "map.qcow2", "b0")
    add_images(vm, a=(), data=("-o", "data_file=d.raw"))
    for name, file in (("raw", "raw.raw"), ("map", "map.qcow2")):
        vm.add(name, "file", filename=file)
    client = serve(vm, "q")
    client.write(0, b"\1" * BLOCK)
    for node, why in (("raw", "Image is not in qcow2 format"),
                      ("map", "There are bitmaps in the new file"),
                      ("data", "The external data file is not the one that the image had before")):
        vm.refused(f"Could not change the file of node 'q': {why}", "blockdev-reopen",
                   options=[qcow2(node)])
        same(client.read(0, 2 * BLOCK), b"\1" * BLOCK + bytes(BLOCK))
        client.write(BLOCK, b"\2" * BLOCK)
        client.write(BLOCK, bytes(BLOCK))
    end_of_service(vm, client)
    vm.command("blockdev-del", node_name="q")
    vm.command("blockdev-del", node_name="a")
    reads("a.qcow2", "read -P 1 0 64k", "read -P 0 64k 1M")


def bitmaps_stay_with_their_file(vm):
    """Wherever above the file they are: what changes is not in them."""
    add_images(vm, a=(), b=())
    vm.add("above", "raw", file="q")
    for node, persistent in (("q", True), ("q", False), ("above", False)):
        vm.command("block-dirty-bitmap-add", node=node, name="b0", persistent=persistent)
        vm.refused(f"Node '{node}' has active dirty bitmaps", "blockdev-reopen",
                   options=[qcow2("b")])
        same([bitmap["name"] for bitmap in vm.nodes()[node]["dirty-bitmaps"]], ["b0"])
        vm.command("block-dirty-bitmap-remove", node=node, name="b0")
    reopen(vm, qcow2("b"))


def jobs_keep_the_file_of_what_they_copy(vm):
    """Also under a filter, and of a node below it: the copy is that of one image."""
    add_images(vm, a=(), b=("-o", "cluster_size=4k"), t=())
    make_raw("g.raw", 4 * MiB)
    for node, driver, options in (("g", "file", {"filename": "g.raw"}), ("r", "raw", {"file": "t"}),
                                  ("x", "copy-on-read", {"file": "r"})):
        vm.add(node, driver, **options)
    client = serve(vm, "q")
    client.write(0, b"\1" * BLOCK)
    busy = "Node '{}' is busy: block device is in use by block job: mirror"
    changes = ((qcow2("b"), "q"), ({"node-name": "r", "driver": "raw", "file": "g"}, "x"))
    for change, source in changes:
        vm.null("sink", size=4 * MiB)
        vm.command("blockdev-mirror", job_id="j", device=source, target="sink", sync="full")
        vm.wait_event("BLOCK_JOB_READY", device="j")
        vm.refused(busy.format(source), "blockdev-reopen", options=[change])
        vm.command("block-job-cancel", device="j", force=True)
        vm.wait_event("BLOCK_JOB_CANCELLED", device="j")
        vm.command("blockdev-del", node_name="sink")
        reopen(vm, change)
    same(client.read(0, BLOCK), bytes(BLOCK))
    end_of_service(vm, client)


def nodes_above_keep_what_they_know_of_a_file(vm):
    """Metadata in memory would be written into another image; an overlay would show other data."""
    make_raw("g.raw", 4 * MiB)
    vm.add("g", "file", filename="g.raw")
    make_qcow2("a.qcow2")
    vm.add("f", "file", filename="a.qcow2")
    vm.add("r", "raw", file="f")
    vm.add("q", "qcow2", file="r")
    other = {"node-name": "r", "driver": "raw", "file": "g"}
    vm.refused("Node 'q' keeps its metadata in node 'r'", "blockdev-reopen", options=[other])
    vm.command("blockdev-del", node_name="q")
    make_qcow2("top.qcow2")
    vm.add("top", "qcow2", file={"driver": "file", "filename": "top.qcow2"}, backing="r")
    vm.refused("Node 'r' is busy: node is used as backing hd of 'top'", "blockdev-reopen",
               options=[other])
    vm.command("blockdev-del", node_name="top")
    reopen(vm, other)


def inactive_nodes_keep_their_file(vm):
    add_images(vm, a=(), b=())
    vm.command("blockdev-set-active", node_name="q", active=False)
    vm.refused("Cannot change the file of node 'q' while it is inactive", "blockdev-reopen",
               options=[qcow2("b", active=False)])
    reopen(vm, qcow2("a", active=False))
    vm.command("blockdev-set-active", node_name="q", active=True)
    reopen(vm, qcow2("b"))


def a_backing_file_that_the_header_names_must_be_given(vm):
    make_qcow2("base.qcow2")
    must("qemu-io", "-c", "write -P 7 0 64k", "base.qcow2")
    add_images(vm, a=(), c=("-b", "base.qcow2", "-F", "qcow2"))
    vm.add("base", "qcow2", file={"driver": "file", "filename": "base.qcow2"})
    client = serve(vm, "q")
    client.write(0, b"\1" * BLOCK)
    vm.refused("backing is missing for 'q'", "blockdev-reopen", options=[qcow2("c")])
    same(client.read(0, BLOCK), b"\1" * BLOCK)
    reopen(vm, qcow2("c", backing="base"))
    same(client.read(0, BLOCK), b"\7" * BLOCK)
    vm.refused("backing is missing for 'q'", "blockdev-reopen", options=[qcow2("a")])
    reopen(vm, qcow2("c", backing=None))
    same(client.read(0, BLOCK), bytes(BLOCK))
    reopen(vm, qcow2("a"))
    same(client.read(0, BLOCK), b"\1" * BLOCK)
    end_of_service(vm, client)


def all_or_nothing(vm):
    """Whichever of the nodes it is that cannot be changed."""
    add_images(vm, a=(), b=("-o", "cluster_size=4k"))
    make_raw("raw.raw")
    vm.add("f", "file", filename="raw.raw")
    vm.add("r", "raw", file="f")
    client = serve(vm, "q")
    bad = {"node-name": "r", "driver": "raw", "file": "f", "offset": 1 << 40}
    for nodes in ((qcow2("b"), bad), (bad, qcow2("b")), (qcow2("b"), qcow2("f"))):
        client.write(0, b"\1" * BLOCK)
        try:
            reopen(vm, *nodes)
        except QMPError:
            pass
        else:
            raise AssertionError(f"{nodes} was accepted")
        same(vm.nodes()["q"]["file"], "a.qcow2")
        same(client.read(0, BLOCK), b"\1" * BLOCK)
    end_of_service(vm, client)


def exchanging_the_files_of_two_nodes(vm):
    """Each holds what the other wants; in one call there is no moment at which both have it."""
    add_images(vm, a=(), b=())
    vm.add("p", "qcow2", file="b")
    client = serve(vm, "q")
    client.write(0, b"\1" * BLOCK)
    reopen(vm, qcow2("b"), {"node-name": "p", "driver": "qcow2", "file": "a"})
    same(client.read(0, BLOCK), bytes(BLOCK))
    client.write(0, b"\2" * BLOCK)
    end_of_service(vm, client)
    for name in "qpab":
        vm.command("blockdev-del", node_name=name)
    reads("a.qcow2", "read -P 1 0 64k")
    reads("b.qcow2", "read -P 2 0 64k")


def another_process_may_hold_the_new_file(vm):
    add_images(vm, a=())
    make_qcow2("b.qcow2")
    vm.add("b", "file", filename="b.qcow2", read_only=False)
    with Vm() as other:
        other.add("q", "qcow2", file={"driver": "file", "filename": "b.qcow2"})
        vm.refused('Failed to get "write" lock', "blockdev-reopen", options=[qcow2("b")])
        same(vm.nodes()["q"]["file"], "a.qcow2")
    reopen(vm, qcow2("b"))


def preallocated_space_is_given_back_to_its_file(vm):
    for name, size in (("a", MiB), ("b", 8 * MiB)):
        make_raw(f"{name}.raw", size)
        vm.add(name, "file", filename=f"{name}.raw")
    options = {"node-name": "p", "driver": "preallocate", "prealloc-size": 4 * MiB}
    vm.execute("blockdev-add", {**options, "file": "a"})
    vm.add("r", "raw", file="p")
    vm.command("block_resize", node_name="r", size=2 * MiB)
    client = serve(vm, "r")
    client.write(MiB, b"\1" * BLOCK)
    reopen(vm, {**options, "file": "b"})
    same(size_of(vm, "p"), 8 * MiB)
    end_of_service(vm, client)
    for name in ("r", "p", "a", "b"):
        vm.command("blockdev-del", node_name=name)
    same([os.path.getsize(f"{name}.raw") for name in "ab"], [2 * MiB, 8 * MiB])


run("reopen-file", [
    each_image_keeps_what_was_written_to_it,
    images_that_cannot_be_used_change_nothing,
    bitmaps_stay_with_their_file,
    jobs_keep_the_file_of_what_they_copy,
    nodes_above_keep_what_they_know_of_a_file,
    inactive_nodes_keep_their_file,
    a_backing_file_that_the_header_names_must_be_given,
    all_or_nothing,
    exchanging_the_files_of_two_nodes,
    another_process_may_hold_the_new_file,
    preallocated_space_is_given_back_to_its_file,
])
