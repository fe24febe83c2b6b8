#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every pair (running job, command about devices, drives and media) on every node of a chain of four.

The machine's half of test-job-matrix.py: the disk v, of drive d and in iothread io, writes to top; the
reader r, of drive cd, has the column's node as its medium, and the reader e is empty and open.  Where
that node is top, cd is d and v has no drive with a name.  A refused command must leave everything as it
was.  Prints the table and compares it with
../qmp/matrix/devices.txt; --write writes that file."""

import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../lib"))

from celltable import TableTest           # noqa: E402
from jobchain import CHAIN, IMAGES, JOBS, Lab, SIZE, make_images  # noqa: E402
from qmptest import QMPError, Vm          # noqa: E402

EXPECTED = os.path.join(HERE, "../qmp/matrix/devices.txt")
EMULATOR = "qemu-system-e2k"
HEAD = """\
Running job (headings) x second command (rows) x node that is the medium of reader r (columns): the
answers.  The chain is base <- mid1 <- mid2 <- top; disk v, of drive d and in iothread io, writes to
top.  N is the column's node; r is of drive cd, which is d where N is top; e is another reader, open.
-: the job does not start, as it would take away what the reader reads.
Written by test-device-matrix.py --write.""".splitlines()
MACHINE = [
    "-M", "e2k", "-accel", "qtest", "-display", "none", "-nodefaults", "-object", "iothread,id=io",
    "-object", "throttle-group,id=g", "-drive", "if=none,media=cdrom,id=cd", "-drive",
    "if=none,media=cdrom,id=cd2", "-device", "isa-cdrom,drive=cd,id=r,share-rw=on", "-device",
    "isa-cdrom,drive=cd2,id=e,share-rw=on,iobase=0x540"]
TOP = ("drive_add 0 if=none,id=d,driver=qcow2,node-name=top,file.driver=file,file.node-name=f-top,"
       "file.filename=work/top.qcow2,file.cache.no-flush=on,backing=mid2")


# ---- the commands: name, command or line for people, arguments --------------------------------------

def qmp(name, command, /, **arguments):
    return name, command, {key.replace("_", "-"): value for key, value in arguments.items()}


def hmp(line):
    return line, None, line


COMMANDS = (
    qmp("device_del v", "device_del", id="v"),
    qmp("device_add a disk of N", "device_add", driver="virtio-blk-pci", id="x", drive="N"),
    qmp("device_add a disk of N, share-rw", "device_add", driver="virtio-blk-pci", id="x", drive="N",
        share_rw=True),
    hmp("drive_del d"),
    hmp("drive_del cd"),
    qmp("eject r", "eject", id="r"),
    qmp("eject r, force", "eject", id="r", force=True),
    qmp("blockdev-open-tray r", "blockdev-open-tray", id="r"),
    qmp("blockdev-remove-medium r", "blockdev-remove-medium", id="r"),
    qmp("blockdev-change-medium r", "blockdev-change-medium", id="r", filename="images/s2.qcow2",
        format="qcow2", read_only_mode="read-only"),
    qmp("blockdev-insert-medium t into e", "blockdev-insert-medium", id="e", node_name="t"),
    qmp("blockdev-insert-medium over into e", "blockdev-insert-medium", id="e", node_name="over"),
    qmp("blockdev-del N", "blockdev-del", node_name="N"),
    qmp("object-del io", "object-del", id="io"),
    qmp("object-del g", "object-del", id="g"),
    qmp("x-blockdev-set-iothread N", "x-blockdev-set-iothread", node_name="N", iothread="io",
        force=True),
    ("block_set_io_throttle v", "block_set_io_throttle", {
        "id": "v", "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 9, "iops_rd": 0, "iops_wr": 0}),
    qmp("block_resize d", "block_resize", device="d", size=2 * SIZE),
    qmp("blockdev-set-active N off", "blockdev-set-active", node_name="N", active=False),
    hmp("commit d"),
    hmp("snapshot_blkdev d new.qcow2 qcow2"),
    hmp("block_stream d"),
)

UNDO = {
    "device_add a disk of N": (("device_del", {"id": "x"}),),
    "device_add a disk of N, share-rw": (("device_del", {"id": "x"}),),
    "object-del g": (("object-add", {"qom-type": "throttle-group", "id": "g"}),),
    "block_set_io_throttle v": (("block_set_io_throttle", {
        "id": "v", "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}),),
    "blockdev-open-tray r": (("blockdev-close-tray", {"id": "r"}),),
    "blockdev-insert-medium t into e": (("blockdev-remove-medium", {"id": "e"}),),
    "blockdev-insert-medium over into e": (("blockdev-remove-medium", {"id": "e"}),),
    "x-blockdev-set-iothread N": (("x-blockdev-set-iothread", {"node-name": "N", "iothread": None,
                                                               "force": True}),),
}
READER_IN_THE_WAY = "are both required by block device 'cd'"
# They open it before they find that the medium must stay, as with stock.
MOVE_THE_TRAY = ("blockdev-remove-medium", "eject", "blockdev-change-medium")


class MachineLab(Lab):
    """Of the emulator; in the reader r lies @medium."""

    def __init__(self, job_wanted, medium):
        super().__init__(job_wanted)
        self.medium = medium

    def nodes(self):
        for node in IMAGES:
            if node == "top" != self.medium:
                text = self.vm.hmp(TOP)
                assert text == "OK\r\n", text
                continue
            self.add_image(node)

    def start(self):
        """False if the job cannot run beside the reader."""
        self.fresh_images()
        self.vm = Vm(*MACHINE, program=EMULATOR)
        self.nodes()
        for reader in "re":
            self.vm.command("blockdev-open-tray", id=reader)
        self.vm.command("blockdev-insert-medium", id="r", node_name=self.medium)
        self.vm.command("blockdev-close-tray", id="r")
        self.vm.command("device_add", driver="virtio-blk-pci", id="v", iothread="io", share_rw=True,
                        drive="top" if self.medium == "top" else "d")
        try:
            self.start_job()
        except QMPError as error:
            assert READER_IN_THE_WAY in error.desc, error
            return False
        self.before = self.state()
        return True

    def state(self):
        """And what devices have."""
        drives = [(row["device"], row.get("qdev"), row.get("tray_open"),
                   row.get("inserted", {}).get("file")) for row in self.vm.command("query-block")]
        return super().state(), drives

    def refusal(self, command, arguments):
        """Carry it out: what is said against it, or None."""
        drive = "cd" if self.medium == "top" else "d"
        words = {"N": self.medium, "d": drive}
        if not command:
            text = self.vm.hmp(arguments.replace(" d", f" {drive}"))
            return None if text in ("", "OK\r\n") else self.general(text.removeprefix("Error: "))
        try:
            self.vm.execute(command, {key: words.get(str(value), value)
                                      for key, value in arguments.items()})
        except QMPError as error:
            return self.general(error.desc)
        return None

    def general(self, text):
        """Its first line, in which a node is called by its name and not by that of its drive."""
        return text.splitlines()[0].replace("Node 'cd'", f"Node '{self.medium}'")

    def ask(self, entry):
        """The answer of one cell."""
        name, command, arguments = entry
        if not self.vm and not self.start():
            self.stop()
            return "-"
        try:
            if command == "blockdev-remove-medium":
                self.vm.command("blockdev-open-tray", id="r")
            refusal = self.refusal(command, arguments)
            if refusal:
                if command in MOVE_THE_TRAY:
                    self.vm.command("blockdev-close-tray", id="r")
                return refusal + self.complaint()
            for undo in UNDO.get(name, ()):
                self.refusal(*undo)
            if name not in UNDO or self.state() != self.before:
                self.stop()
        except ConnectionError:
            self.stop()
            return "THE PROGRAM DIED"
        return "ok"


def answers(_program, jobs):
    """(job, command) -> the answers for the nodes of the chain."""
    make_images("images")
    found = {(job, entry[0]): [] for job in jobs for entry in COMMANDS}
    for job in jobs:
        for node in CHAIN:
            lab = MachineLab(JOBS[job], node)
            try:
                for entry in COMMANDS:
                    found[job, entry[0]].append(lab.ask(entry))
            finally:
                lab.stop()
    return found


TableTest(EXPECTED, HEAD, CHAIN, JOBS, answers).main(EMULATOR)
