#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs and transactions as clients see them: events in their order, errors in their words, images."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import must  # noqa: E402
from nbdtest import NbdClient  # noqa: E402
from qmptest import MiB, make_qcow2, make_raw, run, same  # noqa: E402

SIZE = 4 * MiB


def story(vm, job="j", until="null"):
    """What was told of @job, as words, up to the status @until."""
    words = []
    while True:
        event = vm.next_event()
        name, data = event["event"], event["data"]
        if job not in (data.get("id"), data.get("device")):
            continue
        words.append(data["status"] if name == "JOB_STATUS_CHANGE" else name)
        if words[-1] == until:
            return words


def fill(name, byte=7, at=0, length=2 * MiB, fmt="qcow2"):
    must("qemu-io", "-f", fmt, "-c", f"write -q -P {byte} {at} {length}", name)


def identical(one, two):
    must("qemu-img", "compare", one, two)


def two_images(vm, source="a", target="b"):
    """An image with data as node @source, an empty one as @target."""
    for node in (source, target):
        make_qcow2(node + ".qcow2")
    fill(source + ".qcow2")
    for node in (source, target):
        vm.add(node, "qcow2", file={"driver": "file", "filename": node + ".qcow2"})


def close_images(vm, *nodes):
    for node in nodes:
        vm.command("blockdev-del", node_name=node)


def backup(vm, **options):
    arguments = {"job_id": "j", "device": "a", "target": "b", "sync": "full", **options}
    vm.command("blockdev-backup", **arguments)


START = ["created", "running", "paused", "running"]
SUCCESS = ["waiting", "pending", "BLOCK_JOB_COMPLETED", "concluded", "null"]
CANCELLED = ["aborting", "BLOCK_JOB_CANCELLED", "concluded", "null"]


# ---- backup ------------------------------------------------------------------------------------

def backup_copies_everything(vm):
    two_images(vm)
    backup(vm)
    same(story(vm), START + SUCCESS)
    same(vm.command("query-jobs"), [])
    close_images(vm, "a", "b")
    identical("a.qcow2", "b.qcow2")


def the_target_is_free_when_completed(vm):
    make_qcow2("a.qcow2")
    vm.add("a", "qcow2", file={"driver": "file", "filename": "a.qcow2"})
    vm.command("drive-backup", job_id="j", device="a", target="t.qcow2", sync="full")
    vm.wait_event("BLOCK_JOB_COMPLETED", device="j")
    # Another process gets the image's locks at once.
    fill("t.qcow2")


def manual_finalize_and_dismiss(vm):
    two_images(vm)
    backup(vm, auto_finalize=False, auto_dismiss=False)
    same(story(vm, until="BLOCK_JOB_PENDING"),
         START + ["waiting", "pending", "BLOCK_JOB_PENDING"])
    vm.refused("Job 'j' in state 'pending' cannot accept command verb 'dismiss'", "job-dismiss",
               id="j")
    vm.command("job-finalize", id="j")
    same(story(vm, until="concluded"), ["BLOCK_JOB_COMPLETED", "concluded"])
    job, = vm.command("query-jobs")
    same((job["status"], job["current-progress"], job["total-progress"]),
         ("concluded", SIZE, SIZE))
    vm.command("job-dismiss", id="j")
    vm.refused("Job not found", "job-dismiss", id="j")


def verbs_say_why_not(vm):
    two_images(vm)
    backup(vm, speed=65536)
    vm.command("block-job-pause", device="j")
    row, = vm.command("query-block-jobs")
    same((row["paused"], row["speed"], row["io-status"], row["len"]), (True, 65536, "ok", SIZE))
    vm.refused("Job is already paused", "job-pause", id="j")
    vm.refused("The block job for device 'j' is currently paused", "block-job-cancel", device="j")
    vm.command("block-job-resume", device="j")
    vm.refused("Can't resume a job that was not paused", "job-resume", id="j")
    for verb in ("complete", "finalize", "dismiss"):
        vm.refused(f"Job 'j' in state 'running' cannot accept command verb '{verb}'",
                   f"job-{verb}", id="j")
    vm.refused("Parameter 'speed' expects a non-negative value", "block-job-set-speed", device="j",
               speed=-1)
    vm.refused("Block job 'x' not found", "block-job-set-speed", "DeviceNotActive", device="x",
               speed=1)
    vm.refused("Job not found", "job-cancel", id="x")
    vm.command("job-cancel", id="j")
    same(story(vm)[-4:], CANCELLED)


def a_guest_may_write_meanwhile(vm):
    """What the target holds is the moment the job was started."""
    two_images(vm)
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    vm.command("block-export-add", type="nbd", id="e", node_name="a", name="a", writable=True)
    make_qcow2("before.qcow2")
    fill("before.qcow2")
    backup(vm, speed=1)
    with NbdClient("s", "a") as guest:
        for offset in range(0, SIZE, 192 * 1024):
            guest.write(offset, b"\x55" * 4096)
        vm.command("block-job-set-speed", device="j", speed=0)
        for offset in range(65536, SIZE - MiB, 160 * 1024):
            guest.write(offset, b"\x66" * 70000)
    same(story(vm)[-5:], SUCCESS)
    vm.command("block-export-del", id="e", mode="hard")
    vm.wait_event("BLOCK_EXPORT_DELETED", id="e")
    close_images(vm, "a", "b")
    identical("before.qcow2", "b.qcow2")


def incremental_copies_what_changed(vm):
    two_images(vm)
    vm.command("block-dirty-bitmap-add", node="a", name="m", granularity=65536)
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    vm.command("block-export-add", type="nbd", id="e", node_name="a", name="a", writable=True)
    backup(vm)
    vm.wait_job("j")
    with NbdClient("s", "a") as guest:
        guest.write(3 * MiB, b"\x11" * 65536)
        guest.write(65536, b"\x22" * 512)
    vm.events.clear()
    backup(vm, sync="incremental", bitmap="m")
    done = vm.wait_event("BLOCK_JOB_COMPLETED", device="j")["data"]
    same((done["len"], done["offset"]), (2 * 65536, 2 * 65536))
    bitmap, = vm.nodes()["a"]["dirty-bitmaps"]
    same(bitmap["count"], 0)
    vm.command("block-export-del", id="e", mode="hard")
    vm.wait_event("BLOCK_EXPORT_DELETED", id="e")
    close_images(vm, "a", "b")
    identical("a.qcow2", "b.qcow2")


def top_copies_the_top_image_alone(vm):
    make_qcow2("base.qcow2")
    fill("base.qcow2", byte=1)
    make_qcow2("a.qcow2", "-b", "base.qcow2", "-F", "qcow2", size=None)
    fill("a.qcow2", byte=2, at=MiB, length=65536)
    vm.add("a", "qcow2", file={"driver": "file", "filename": "a.qcow2"})
    vm.command("drive-backup", job_id="j", device="a", target="t.qcow2", sync="top")
    done = vm.wait_event("BLOCK_JOB_COMPLETED", device="j")["data"]
    same((done["len"], done["offset"]), (SIZE, SIZE))
    close_images(vm, "a")
    assert '"backing-filename": "base.qcow2"' in must("qemu-img", "info", "--output=json",
                                                      "t.qcow2").text
    identical("a.qcow2", "t.qcow2")
    listed = must("qemu-img", "map", "--output=json", "t.qcow2").text
    assert '"start": 1048576, "length": 65536, "depth": 0' in listed, listed


def drive_backup_none_reads_the_rest_from_the_source(vm):
    make_qcow2("a.qcow2")
    fill("a.qcow2")
    vm.add("a", "qcow2", file={"driver": "file", "filename": "a.qcow2"})
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    vm.command("block-export-add", type="nbd", id="g", node_name="a", name="a", writable=True)
    vm.command("drive-backup", job_id="j", device="a", target="t.qcow2", sync="none")
    row, = vm.command("query-block-jobs")
    same((row["len"], row["offset"], row["busy"], row["status"]), (SIZE, 0, False, "running"))
    target, = (name for name, node in vm.nodes().items()
               if node["file"] == "t.qcow2" and node["drv"] == "qcow2")
    vm.command("block-export-add", type="nbd", id="t", node_name=target, name="t")
    with NbdClient("s", "a") as guest, NbdClient("s", "t") as reader:
        guest.write(65536, b"\x11" * 4096)
        same(reader.read(0, 2 * MiB), b"\x07" * (2 * MiB))
        same(guest.read(65536, 4096), b"\x11" * 4096)
    for export in ("g", "t"):
        vm.command("block-export-del", id=export, mode="hard")
    vm.command("block-job-cancel", device="j")
    same(story(vm)[-4:], CANCELLED)
    vm.refused("Unknown file format 'nosuch'", "drive-backup", device="a", target="u.qcow2",
               job_id="j", sync="full", format="nosuch")
    vm.refused("Could not open 'u.qcow2': No such file or directory", "drive-backup", device="a",
               target="u.qcow2", job_id="j", sync="full", mode="existing")


def a_failing_target_pauses_and_resumes(vm):
    make_raw("a.raw", SIZE)
    make_raw("b.raw", SIZE)
    fill("a.raw", fmt="raw")
    vm.add("a", "raw", file={"driver": "file", "filename": "a.raw"})
    vm.add("b", "raw", file={"driver": "blkdebug",
                             "image": {"driver": "file", "filename": "b.raw"},
                             "inject-error": [{"event": "none", "iotype": "write", "errno": 28,
                                               "once": True}]})
    backup(vm, on_target_error="enospc", x_perf={"max-workers": 1})
    error = vm.wait_event("BLOCK_JOB_ERROR", device="j")["data"]
    same((error["operation"], error["action"]), ("write", "stop"))
    vm.wait_event("JOB_STATUS_CHANGE", id="j", status="paused")
    row, = vm.command("query-block-jobs")
    same(row["io-status"], "nospace")
    vm.command("block-job-resume", device="j")
    vm.wait_job("j")
    close_images(vm, "a", "b")
    identical("a.raw", "b.raw")


def quitting_ends_a_running_job(vm):
    two_images(vm)
    backup(vm, speed=1)
    vm.command("quit")
    vm.finish()
    must("qemu-img", "check", "b.qcow2")


# ---- blockdev-create ---------------------------------------------------------------------------

def create_makes_an_image(vm):
    vm.command("blockdev-create", job_id="c1", options={"driver": "file", "filename": "n.qcow2",
                                                        "size": 0})
    same(story(vm, "c1", "concluded"), ["created", "running", "waiting", "pending", "concluded"])
    job, = vm.command("query-jobs")
    same(job, {"id": "c1", "type": "create", "status": "concluded", "current-progress": 1,
               "total-progress": 1, "waits-for": "It is over and waits for job-dismiss"})
    vm.add("f", "file", filename="n.qcow2")
    vm.command("blockdev-create", job_id="c2", options={"driver": "qcow2", "file": "f",
                                                        "size": SIZE, "cluster-size": 3})
    same(story(vm, "c2", "concluded"), ["created", "running", "aborting", "concluded"])
    same([job.get("error") for job in vm.command("query-jobs")],
         ["Cluster size must be a power of two between 512 and 2048k", None])
    for job in ("c1", "c2"):
        vm.command("job-dismiss", id=job)
    vm.command("blockdev-create", job_id="c1", options={"driver": "qcow2", "file": "f",
                                                        "size": SIZE})
    story(vm, "c1", "concluded")
    vm.refused("Job ID 'c1' already in use", "blockdev-create", job_id="c1",
               options={"driver": "file", "filename": "x", "size": 0})
    vm.command("blockdev-del", node_name="f")
    must("qemu-img", "check", "n.qcow2")


# ---- transactions ------------------------------------------------------------------------------

def bitmap(kind, node, name, **more):
    return {"type": "block-dirty-bitmap-" + kind, "data": {"node": node, "name": name, **more}}


def backup_action(job, device, target, **more):
    return {"type": "blockdev-backup", "data": {"job-id": job, "device": device, "target": target,
                                                "sync": "full", **more}}


def bitmaps_of(vm, node):
    return {row["name"]: row["recording"] for row in vm.nodes()[node].get("dirty-bitmaps", [])}


def a_failing_action_undoes_the_others(vm):
    vm.null("a")
    vm.command("block-dirty-bitmap-add", node="a", name="old")
    actions = [bitmap("add", "a", "new"), bitmap("disable", "a", "old"), bitmap("clear", "a", "old"),
               {"type": "block-dirty-bitmap-merge",
                "data": {"node": "a", "target": "old", "bitmaps": ["new"]}},
               bitmap("remove", "a", "old")]
    vm.refused("Transaction aborted using Abort action", "transaction",
               actions=actions + [{"type": "abort", "data": {}}])
    same(bitmaps_of(vm, "a"), {"old": True})
    vm.refused("Dirty bitmap 'nope' not found", "transaction",
               actions=actions + [bitmap("clear", "a", "nope")])
    same(bitmaps_of(vm, "a"), {"old": True})
    vm.command("transaction", actions=actions)
    same(bitmaps_of(vm, "a"), {"new": True})
    vm.command("transaction", actions=[])


def a_backup_is_undone_before_it_starts(vm):
    two_images(vm)
    vm.refused("Transaction aborted using Abort action", "transaction",
               actions=[backup_action("j", "a", "b"), {"type": "abort", "data": {}}])
    same(story(vm), ["created", "aborting", "concluded", "null"])
    vm.refused("Node 'b' is busy: block device is in use by block job: backup", "transaction",
               actions=[backup_action("j", "a", "b"), backup_action("k", "a", "b")])
    same(story(vm), ["created", "aborting", "concluded", "null"])
    same(vm.command("query-block-blockers", node_name="b"), [])


def a_snapshot_is_undone(vm):
    two_images(vm)
    snapshot = {"type": "blockdev-snapshot-sync",
                "data": {"node-name": "a", "snapshot-file": "s.qcow2", "snapshot-node-name": "s"}}
    vm.refused("Transaction aborted using Abort action", "transaction",
               actions=[snapshot, {"type": "abort", "data": {}}])
    assert "s" not in vm.nodes()
    snapshot["data"]["mode"] = "existing"
    vm.command("transaction", actions=[snapshot, bitmap("add", "s", "m")])
    same(bitmaps_of(vm, "s"), {"m": True})


def a_paused_mirror_is_completed_when_it_goes_on(vm):
    two_images(vm)
    vm.command("blockdev-mirror", job_id="j", device="a", target="b", sync="full")
    vm.wait_event("BLOCK_JOB_READY", device="j")
    vm.command("job-pause", id="j")
    vm.wait_event("JOB_STATUS_CHANGE", id="j", status="standby")
    vm.command("job-complete", id="j")
    row, = vm.command("query-jobs")
    same(row["status"], "standby")
    vm.command("job-resume", id="j")
    same(vm.wait_event("BLOCK_JOB_COMPLETED", device="j")["data"].get("error"), None)
    close_images(vm, "b", "a")
    identical("a.qcow2", "b.qcow2")


def jobs_on_disjoint_parts_run_side_by_side(vm):
    """n0 <- ... <- n6: a stream, a commit and a backup at once; what the disk shows stays."""
    names = [f"n{i}" for i in range(7)]
    for i, name in enumerate(names):
        make_qcow2(name, *(["-b", names[i - 1], "-F", "qcow2"] if i else []),
                   size=None if i else "4M")
        fill(name, i + 1, i * 256 << 10, 512 << 10)
        vm.add(name, "qcow2", file={"driver": "file", "filename": name},
               backing=names[i - 1] if i else None, read_only=i < 6)
    must("qemu-img", "convert", "-U", "-O", "raw", "n6", "before.raw")
    make_raw("copy.raw", SIZE)
    vm.add("copy", "raw", file={"driver": "file", "filename": "copy.raw"})
    slow = {"speed": 65536}
    vm.command("block-stream", job_id="s", device="n2", base_node="n0", **slow)
    vm.command("block-commit", job_id="c", device="n6", top_node="n5", base_node="n4", **slow)
    vm.command("blockdev-backup", job_id="b", device="n3", target="copy", sync="full", **slow)
    same(sorted(row["id"] for row in vm.command("query-jobs")), ["b", "c", "s"])
    for job in "scb":
        vm.command("block-job-set-speed", device=job, speed=0)
    for job in "scb":
        same(vm.wait_event("BLOCK_JOB_COMPLETED", device=job)["data"].get("error"), None)
    chain = {name: row.get("backing_file") for name, row in vm.nodes().items()
             if name in names}
    same((chain["n2"], chain["n3"], chain["n6"]), ("n0", "n2", "n4"))
    close_images(vm, "n6", "copy")
    identical("n6", "before.raw")


def grouped_jobs_end_together(vm):
    two_images(vm)
    two_images(vm, "a2", "b2")
    grouped = {"completion-mode": "grouped"}
    vm.command("transaction", properties=grouped,
               actions=[backup_action("j1", "a", "b"), backup_action("j2", "a2", "b2", speed=1)])
    vm.wait_event("JOB_STATUS_CHANGE", id="j1", status="waiting")
    vm.command("block-job-set-speed", device="j2", speed=0)
    vm.wait_event("BLOCK_JOB_COMPLETED", device="j1")
    vm.wait_event("BLOCK_JOB_COMPLETED", device="j2")
    vm.wait_event("JOB_STATUS_CHANGE", id="j1", status="null")
    vm.command("transaction", properties=grouped,
               actions=[backup_action("j1", "a", "b"), backup_action("j2", "a2", "b2", speed=1)])
    vm.wait_event("JOB_STATUS_CHANGE", id="j1", status="waiting")
    vm.command("job-cancel", id="j2")
    vm.wait_event("BLOCK_JOB_CANCELLED", device="j1")
    vm.wait_event("BLOCK_JOB_CANCELLED", device="j2")
    vm.refused("Action 'block-dirty-bitmap-add' does not support transaction property "
               "completion-mode = grouped", "transaction", properties=grouped,
               actions=[bitmap("add", "a", "m")])


# ---- block-compact -----------------------------------------------------------------------------

def image_with_gaps(vm):
    """4 MiB of data at the end of a file whose first half is free; a copy of what it says."""
    make_qcow2("a.qcow2", size="8M")
    fill("a.qcow2", 1, 0, 4 * MiB)
    fill("a.qcow2", 2, 4 * MiB, 4 * MiB)
    must("qemu-io", "-f", "qcow2", "-c", "discard -q 0 4M", "a.qcow2")
    must("qemu-img", "convert", "-O", "raw", "a.qcow2", "before.raw")
    vm.add("a", "qcow2", discard="unmap", file={"driver": "file", "filename": "a.qcow2"})


def a_file_gets_shorter_step_by_step(vm):
    image_with_gaps(vm)
    before = os.path.getsize("a.qcow2")
    vm.command("block-compact", job_id="j", node_name="a", step=256 << 10, auto_dismiss=False)
    vm.refused("Node 'a' is busy: block device is in use by block job: compact", "blockdev-del",
               node_name="a")
    words = story(vm, until="concluded")
    same(words[:2] + words[-3:], ["created", "running", "waiting", "pending", "concluded"])
    job, = vm.command("query-jobs")
    same((job["type"], job["current-progress"] == job["total-progress"], "error" in job),
         ("compact", True, False))
    assert job["current-progress"] >= 3 * MiB, job
    vm.command("job-dismiss", id="j")
    close_images(vm, "a")
    assert os.path.getsize("a.qcow2") <= before - 3 * MiB, (before, os.path.getsize("a.qcow2"))
    must("qemu-img", "check", "-q", "a.qcow2")
    identical("a.qcow2", "before.raw")


def compacting_can_be_stopped_at_any_step(vm):
    image_with_gaps(vm)
    vm.command("block-compact", job_id="j", node_name="a", step=64 << 10)
    vm.command("job-pause", id="j")
    vm.command("job-cancel", id="j")
    same(story(vm)[-3:], ["aborting", "concluded", "null"])
    close_images(vm, "a")
    must("qemu-img", "check", "-q", "a.qcow2")
    identical("a.qcow2", "before.raw")


def what_cannot_be_compacted_is_refused(vm):
    make_raw("r.raw")
    make_qcow2("q.qcow2")
    vm.add("r", "raw", file={"driver": "file", "filename": "r.raw"})
    vm.add("q", "qcow2", read_only=True, file={"driver": "file", "filename": "q.qcow2"})
    for message, arguments in (
            ("Cannot find device='' nor node-name='nope'", {"node_name": "nope"}),
            ("Node 'q' is read-only", {"node_name": "q"}),
            ("Parameter 'step' expects a size from 64 KiB to 1 GiB",
             {"node_name": "r", "step": 1})):
        vm.refused(message, "block-compact", job_id="j", **arguments)
    vm.command("block-compact", job_id="j", node_name="r", auto_dismiss=False)
    story(vm, until="concluded")
    same(vm.command("query-jobs")[0]["error"], "Block driver 'raw' does not support compaction")
    vm.command("job-dismiss", id="j")


run("jobs", [
    backup_copies_everything, the_target_is_free_when_completed, manual_finalize_and_dismiss,
    verbs_say_why_not, a_guest_may_write_meanwhile, incremental_copies_what_changed,
    top_copies_the_top_image_alone, drive_backup_none_reads_the_rest_from_the_source,
    a_failing_target_pauses_and_resumes, quitting_ends_a_running_job, create_makes_an_image,
    a_failing_action_undoes_the_others, a_backup_is_undone_before_it_starts, a_snapshot_is_undone,
    a_paused_mirror_is_completed_when_it_goes_on, jobs_on_disjoint_parts_run_side_by_side,
    grouped_jobs_end_together, a_file_gets_shorter_step_by_step,
    compacting_can_be_stopped_at_any_step, what_cannot_be_compacted_is_refused,
])
