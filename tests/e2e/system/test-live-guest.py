#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that writes records, and what is done to its disk meanwhile."""

import os
import subprocess
import sys
import tempfile
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from guesttest import Guest                                            # noqa: E402
from imgtest import PATIENCE, SRC, stock                               # noqa: E402
from qmptest import BUILD, MiB, Tap, have, make_qcow2, make_raw, same  # noqa: E402

IMG = os.path.join(BUILD, "qemu-img")


def drive(name, *more, image_format="qcow2"):
    return ["-drive", ",".join([f"file={name},if=none,id=d,format={image_format}", *more])]


DEVICE = ["-device", "virtio-blk-pci,drive=d,id=v"]


def consistent(name, run=1):
    """Image @name is clean and holds the records as they were at one moment."""
    subprocess.run([IMG, "check", "-q", name], check=True)
    subprocess.run([IMG, "convert", "-O", "raw", name, name + ".raw"], check=True)
    subprocess.run([sys.executable, os.path.join(SRC, "scripts/check-records.py"), "--area", "1024",
                    "--run", str(run), "--min", "1", name + ".raw"], check=True,
                   stdout=subprocess.DEVNULL)


def snapshots_and_resizes():
    make_qcow2("a.qcow2")
    with Guest(*drive("a.qcow2"), *DEVICE) as guest:
        guest.works()
        guest.vm.command("blockdev-snapshot-sync", device="d", snapshot_file="b.qcow2")
        guest.works()
        guest.vm.command("transaction", actions=[
            {"type": "blockdev-snapshot-sync",
             "data": {"device": "d", "snapshot-file": "c.qcow2", "snapshot-node-name": "c"}}])
        guest.works()
        for size in (8 * MiB, 4 * MiB):
            guest.vm.command("block_resize", device="d", size=size)
            guest.works()
        guest.stop()
    for name in ("a.qcow2", "b.qcow2", "c.qcow2"):
        consistent(name)


def backup_from_an_iothread():
    make_qcow2("a.qcow2")
    with Guest("-object", "iothread,id=io0", *drive("a.qcow2"),
               "-device", "virtio-blk-pci,drive=d,iothread=io0", run=7) as guest:
        guest.works()
        for name, sync in (("full.qcow2", "full"), ("top.qcow2", "top")):
            guest.vm.command("drive-backup", job_id="j", device="d", target=name, sync=sync,
                             format="qcow2")
            guest.vm.wait_job("j")
            guest.works()
        guest.stop()
    consistent("a.qcow2", run=7)
    consistent("full.qcow2", run=7)


def finished(guest, ready=False):
    """The job comes to its end, after it was completed if it gets ready; the guest works on."""
    if ready:
        guest.vm.wait_event("BLOCK_JOB_READY", device="j")
        guest.works()
        guest.vm.command("job-complete", id="j")
    done = guest.vm.wait_event("BLOCK_JOB_COMPLETED", device="j")
    same(done["data"].get("error"), None)
    guest.works()


def jobs_along_the_chain():
    """Chain a <- b <- c <- x grows and shrinks by every job; the guest's disk ends as mirror 'm'."""
    make_qcow2("a.qcow2")
    with Guest("-object", "iothread,id=io0", *drive("a.qcow2", "node-name=a"),
               "-device", "virtio-blk-pci,drive=d,iothread=io0", run=3) as guest:
        guest.works()
        for name in "bcx":
            guest.vm.command("blockdev-snapshot-sync", device="d", snapshot_node_name=name,
                             snapshot_file=name + ".qcow2")
            guest.works()
        guest.vm.command("block-commit", job_id="j", device="d", top_node="b", base_node="a")
        finished(guest)
        guest.vm.command("block-stream", job_id="j", device="c")
        finished(guest)
        guest.vm.command("block-commit", job_id="j", device="d", base_node="c")
        finished(guest, ready=True)
        guest.vm.command("blockdev-snapshot-sync", device="d", snapshot_node_name="e",
                         snapshot_file="e.qcow2")
        guest.vm.command("block-stream", job_id="j", device="d")
        finished(guest)
        guest.vm.command("drive-mirror", job_id="j", device="d", target="m.qcow2", sync="full",
                         format="qcow2")
        finished(guest, ready=True)
        guest.stop()
    for name in ("c.qcow2", "e.qcow2", "m.qcow2"):
        consistent(name, run=3)


def stock_respects_the_guests_disk():
    if not stock("qemu-io"):
        return "stock qemu-io is not installed"
    make_raw("a.raw", 4 * MiB)
    with Guest(*drive("a.raw", image_format="raw"), *DEVICE) as guest:
        guest.works()
        for words, status in ((["-f", "raw"], 1), (["-r", "-U", "-f", "raw"], 0)):
            done = subprocess.run([stock("qemu-io"), *words, "-c", "quit", "a.raw"], text=True,
                                  capture_output=True, check=False, timeout=PATIENCE)
            same((done.returncode, '"write" lock' in done.stderr), (status, status == 1))
        guest.stop()
    return None


def a_disk_that_is_pulled_is_safe():
    make_qcow2("a.qcow2")
    with Guest(*drive("a.qcow2"), *DEVICE) as guest:
        guest.works()
        guest.vm.command("human-monitor-command", command_line="drive_del d")
        guest.until("status 1")
        same(guest.process.wait(timeout=PATIENCE), 7)
    consistent("a.qcow2")


def main():
    tap = Tap()
    if not have("qemu-system-e2k"):
        print("1..0 # SKIP qemu-system-e2k is not built")
        return 0
    home = os.getcwd()
    for case in (snapshots_and_resizes, backup_from_an_iothread, jobs_along_the_chain,
                 stock_respects_the_guests_disk, a_disk_that_is_pulled_is_safe):
        name = f"/live-guest/{case.__name__.replace('_', '-')}"
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                reason = case()
                tap.skip(name, reason) if reason else tap.ok(True, name)
            except Exception:  # pylint: disable=broad-except
                tap.ok(False, name, traceback.format_exc())
            finally:
                os.chdir(home)
    return tap.finish()


sys.exit(main())
