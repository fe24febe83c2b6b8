#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may do what to a node while others use it, and what query-block-blockers says of that."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from qmptest import BUILD, MiB, Vm, make_qcow2, make_raw, run, same  # noqa: E402

BUSY = "Node '{}' is busy: block device is in use by block job: backup"
OPERATIONS = ["backup-source", "backup-target", "change", "commit-source", "commit-target",
              "drive-del", "eject", "external-snapshot", "internal-snapshot",
              "internal-snapshot-delete", "mirror-source", "mirror-target", "resize", "stream",
              "replace"]


def start_nbd(vm):
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "nbd.sock"}})


def export(vm, node, exp_id="e", **options):
    vm.command("block-export-add", type="nbd", id=exp_id, node_name=node, **options)


def start_backup(vm):
    """A backup of 'src' to 'dst' that makes no progress."""
    vm.null("src", 64 * MiB, read_zeroes=True)
    vm.null("dst", 64 * MiB)
    vm.command("blockdev-backup", job_id="j", device="src", target="dst", sync="full", speed=1)


def rows(vm, **arguments):
    return vm.command("query-block-blockers", **arguments)


def a_free_node_has_no_claims(vm):
    vm.null("a")
    same(rows(vm), [])


def a_backing_node_names_its_overlay(vm):
    make_qcow2("base.qcow2")
    make_qcow2("top.qcow2", "-b", "base.qcow2", "-F", "qcow2", size=None)
    vm.add("base", "qcow2", file={"driver": "file", "filename": "base.qcow2"})
    vm.add("top", "qcow2", backing="base", file={"driver": "file", "filename": "top.qcow2"})
    busy = "Node 'base' is busy: node is used as backing hd of 'top'"
    vm.refused(busy, "block_resize", node_name="base", size=8 * MiB)
    vm.refused(busy, "blockdev-del", node_name="base")
    row, = rows(vm, node_name="base")
    same(row["owner"], {"kind": "node", "id": "top", "description": "node 'top'"})
    same(row["reason"], "node is used as backing hd of 'top'")
    free = {"commit-target", "stream", "backup-source", "backup-target"}
    same(set(OPERATIONS) - set(row["forbids"]), free)
    vm.command("blockdev-del", node_name="top")
    vm.command("block_resize", node_name="base", size=8 * MiB)


def a_format_keeps_others_off_its_file(vm):
    make_qcow2("a.qcow2")
    start_nbd(vm)
    vm.add("f", "file", filename="a.qcow2")
    vm.add("q", "qcow2", file="f")
    conflict = ("Permission conflict on node 'f': permissions '{}' are both required by {} "
                "and unshared by {}.")
    user = "an unnamed block device (uses node 'f' as 'root' child)"
    node = "node 'q' (uses node 'f' as 'file' child)"
    vm.refused(conflict.format("write", user, node), "block-export-add", type="nbd", id="e",
               node_name="f", writable=True)
    vm.refused(conflict.format("resize", user, node), "block_resize", node_name="f", size=MiB)
    vm.refused(conflict.format("resize", node, user), "block-export-add", type="nbd", id="e",
               node_name="f")


def an_export_keeps_its_size(vm):
    make_raw("r.raw")
    start_nbd(vm)
    vm.add("r", "raw", file={"driver": "file", "filename": "r.raw"})
    export(vm, "r", writable=True)
    user = "an unnamed block device (uses node 'r' as 'root' child)"
    vm.refused("Permission conflict on node 'r': permissions 'resize' are both required by "
               f"{user} and unshared by {user}.", "block_resize", node_name="r", size=2 * MiB)
    vm.refused("Node r is in use", "blockdev-del", node_name="r")
    row, = rows(vm, node_name="r")
    same(row["owner"], {"kind": "export", "id": "e", "description": "export 'e'"})
    same((row["uses"], row["forbids"]), (["consistent-read", "write"], ["resize"]))
    same(row["unblock"], "block-export-del id=e")
    vm.command("block-export-del", id="e")
    same(rows(vm, node_name="r"), [])
    vm.command("block_resize", node_name="r", size=2 * MiB)
    vm.command("blockdev-del", node_name="r")


def a_backup_blocks_its_target(vm):
    start_backup(vm)
    vm.refused(BUSY.format("dst"), "block_resize", node_name="dst", size=MiB)
    vm.refused(BUSY.format("dst"), "blockdev-del", node_name="dst")
    vm.refused(BUSY.format("dst"), "blockdev-backup", job_id="k", device="src", target="dst",
               sync="full")
    vm.refused("Block device src is in use", "blockdev-del", node_name="src")
    vm.command("block-job-cancel", device="j", force=True)
    vm.wait_event("BLOCK_JOB_CANCELLED", device="j")
    vm.command("blockdev-del", node_name="dst")
    vm.command("blockdev-del", node_name="src")


def a_job_is_named_with_its_remedy(vm):
    start_backup(vm)
    job = [row for row in rows(vm, node_name="dst") if row["owner"]["kind"] == "job"]
    assert job, f"no row of a job: {rows(vm)}"
    same({row["owner"]["id"] for row in job}, {"j"})
    forbidden = set().union(*(row["forbids"] for row in job))
    assert set(OPERATIONS) <= forbidden, f"not forbidden: {set(OPERATIONS) - forbidden}"
    blocking = [row for row in job if "drive-del" in row["forbids"]]
    same({row["reason"] for row in blocking}, {"block device is in use by block job: backup"})
    same({row["unblock"] for row in blocking}, {"wait for job 'j', or job-cancel id=j"})


def a_dry_run_tells_without_trying(vm):
    start_backup(vm)
    blocking = [row for row in rows(vm, node_name="dst", op="drive-del") if row["blocks-op"]]
    assert blocking, "nobody blocks deleting the target"
    same([row for row in rows(vm, node_name="src", op="backup-source") if row["blocks-op"]], [])
    assert all("blocks-op" not in row for row in rows(vm)), "blocks-op without an operation"
    vm.refused("Parameter 'op' does not accept value 'nonsense'", "query-block-blockers",
               op="nonsense")
    vm.refused("Cannot find device='nope' nor node-name='nope'", "query-block-blockers",
               node_name="nope")


def a_dry_run_knows_data_rights(vm):
    start_nbd(vm)
    make_qcow2("a.qcow2")
    vm.add("f", "file", filename="a.qcow2")
    vm.add("q", "qcow2", file="f")
    row, = rows(vm, node_name="f", op="write")
    same((row["blocks-op"], row["owner"]["id"]), (True, "q"))
    row, = rows(vm, node_name="f", op="consistent-read")
    same(row["blocks-op"], False)
    vm.refused("Permission conflict on node 'f': permissions 'write' are both required by an "
               "unnamed block device (uses node 'f' as 'root' child) and unshared by node 'q' "
               "(uses node 'f' as 'file' child).", "block-export-add", type="nbd", id="e",
               node_name="f", writable=True)


def a_filter_of_a_job_is_named_with_its_job(vm):
    start_backup(vm)
    owners = [row["owner"]["description"] for row in rows(vm, node_name="src")]
    assert any("backup job 'j'" in text for text in owners), owners


def the_name_in_a_header_is_changed(vm):
    make_qcow2("base.qcow2")
    make_qcow2("top.qcow2", "-b", "base.qcow2", "-F", "qcow2", size=None)
    vm.add("top", "qcow2", file={"driver": "file", "filename": "top.qcow2"})
    vm.refused("not allowing backing file change on an image without a backing file",
               "change-backing-file", device="top", backing_file="x",
               image_node_name=vm.nodes()["top"]["children"][0]["node-name"])
    os.rename("base.qcow2", "moved.qcow2")
    vm.command("change-backing-file", device="top", image_node_name="top",
               backing_file="moved.qcow2")
    vm.command("blockdev-del", node_name="top")
    vm.add("top", "qcow2", file={"driver": "file", "filename": "top.qcow2"})
    same(vm.nodes()["top"]["backing_file"], "moved.qcow2")


def without_ages(text):
    return re.sub(r"for \d+\.\d s\n", "for ... s\n", text.replace("\r\n", "\n"))


def the_tools_say_the_same(vm):
    """qemu-io and HMP answer in the same words, and as the query does."""
    make_qcow2("a.qcow2")
    nodes = ["driver=qcow2,node-name=q,file=f", "driver=file,node-name=f,filename=a.qcow2"]
    with Vm("-M", "none", "-nodefaults", "-display", "none", "-blockdev", nodes[1], "-blockdev",
            nodes[0], program="qemu-system-e2k") as emulator:
        rows_of_f = rows(emulator, node_name="f", op="resize")
        told = [emulator.hmp(f"info block-blockers {question}")
                for question in ("f", "f resize", "f backup-source", "f nonsense", "nope")]
    shown = subprocess.run(
        [os.path.join(BUILD, "qemu-io"), "-c", "open -o node-name=q,file.node-name=f a.qcow2",
         "-c", "blockers f", "-c", "blockers f resize", "-c", "blockers f backup-source",
         "-c", "blockers f nonsense", "-c", "blockers nope"],
        capture_output=True, text=True, check=False)
    same(without_ages("".join(told[:3])), without_ages(shown.stdout))
    for row in rows_of_f:
        same((row["blocks-op"], shown.stdout.count(f"    reason:  {row['reason']}\n")), (True, 2))
    errors = ["invalid parameter value: nonsense", "Cannot find device='nope' nor node-name='nope'"]
    same(shown.stderr, "".join(f"qemu-io: {error}\n" for error in errors))
    same(told[3:], [f"Error: {error}\r\n" for error in errors])


def claims_grow_older(vm):
    make_qcow2("a.qcow2")
    vm.add("q", "qcow2", file={"driver": "file", "node-name": "f", "filename": "a.qcow2"})
    first, = rows(vm, node_name="f")
    second, = rows(vm, node_name="f")
    assert 0 <= first["held-for"] <= second["held-for"] < 60, (first, second)


def one_image_is_not_opened_twice(vm):
    make_qcow2("a.qcow2")
    file = {"driver": "file", "filename": "a.qcow2"}
    vm.add("a", "qcow2", file=file)
    vm.refused('Failed to get "write" lock', "blockdev-add", driver="qcow2", node_name="b",
               file=file)
    vm.refused('Failed to get shared "write" lock', "blockdev-add", driver="qcow2",
               node_name="b", file=file, read_only=True)
    vm.refused("force-share=on can only be used with read-only images", "blockdev-add",
               driver="qcow2", node_name="b", file=file, force_share=True)


run("blockers", [a_free_node_has_no_claims, a_backing_node_names_its_overlay,
                 a_format_keeps_others_off_its_file, an_export_keeps_its_size,
                 a_backup_blocks_its_target, a_job_is_named_with_its_remedy,
                 a_dry_run_tells_without_trying, a_dry_run_knows_data_rights,
                 a_filter_of_a_job_is_named_with_its_job, the_name_in_a_header_is_changed,
                 claims_grow_older, the_tools_say_the_same,
                 one_image_is_not_opened_twice])
