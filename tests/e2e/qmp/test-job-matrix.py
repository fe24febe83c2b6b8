#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every pair (running job, second command) on every node of a chain of four.

base <- mid1 <- mid2 <- top, which an export uses; the job is slow or ready.  Prints the table and
compares it with matrix/jobs.txt; --write writes that file.  A refused command must leave the graph
and its claims as they were.  --stock PROGRAM asks another storage daemon and tells where it answers
otherwise; matrix/README.md has the reasons."""

import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../lib"))

from celltable import TableTest           # noqa: E402
from jobchain import (CHAIN, IMAGES, JOBS, Lab, SIZE, below, image_options,  # noqa: E402
                      make_images)
from qmptest import QMPError, Vm          # noqa: E402

EXPECTED = os.path.join(HERE, "matrix", "jobs.txt")

HEAD = """\
Running job (headings) x second command (rows) x node it names (columns): the answers.
The chain is base <- mid1 <- mid2 <- top; an NBD export writes to top.  N is the column's node,
N-1 the one below it; t, t2, s2 are images of their own, f-N is the file of N.
Written by test-job-matrix.py --write.""".splitlines()


# ---- second commands ---------------------------------------------------------------------------


def second(name, command, /, **arguments):
    """N and N-1 in arguments stand for the column's node and the one below."""
    return name, command, {key.replace("_", "-"): value for key, value in arguments.items()}


COMMANDS = (
    second("block-stream into N", "block-stream", job_id="k", speed=1, device="N"),
    second("block-stream N-1 into N", "block-stream", job_id="k", speed=1, device="N", bottom="N-1"),
    second("block-stream into top, base N", "block-stream", job_id="k", speed=1, device="top",
           base_node="N"),
    second("block-commit device N", "block-commit", job_id="k", speed=1, device="N"),
    second("block-commit top N into N-1", "block-commit", job_id="k", speed=1, device="top", top_node="N",
           base_node="N-1"),
    second("block-commit top into N", "block-commit", job_id="k", speed=1, device="top", base_node="N"),
    second("blockdev-mirror N to t2", "blockdev-mirror", job_id="k", speed=1, device="N", target="t2",
           sync="full"),
    second("blockdev-mirror s2 to N", "blockdev-mirror", job_id="k", speed=1, device="s2", target="N",
           sync="full"),
    second("blockdev-mirror s2, replaces N", "blockdev-mirror", job_id="k", speed=1, device="s2",
           target="t2", sync="full", replaces="N"),
    second("blockdev-backup N to t2", "blockdev-backup", job_id="k", speed=1, device="N", target="t2",
           sync="full"),
    second("blockdev-backup s2 to N", "blockdev-backup", job_id="k", speed=1, device="s2", target="N",
           sync="full"),
    second("blockdev-create in f-N", "blockdev-create", job_id="k",
           options={"driver": "qcow2", "file": "f-N", "size": SIZE}),
    second("block-compact N", "block-compact", job_id="k", node_name="N"),
    second("blockdev-snapshot-sync N", "blockdev-snapshot-sync", node_name="N",
           snapshot_file="new.qcow2", snapshot_node_name="new"),
    second("blockdev-snapshot N", "blockdev-snapshot", node="N", overlay="over"),
    second("blockdev-snapshot-internal-sync N", "blockdev-snapshot-internal-sync", device="N",
           name="s"),
    second("blockdev-snapshot-delete-internal-sync", "blockdev-snapshot-delete-internal-sync",
           device="N", name="kept"),
    second("block_resize N", "block_resize", node_name="N", size=2 * SIZE),
    second("block_resize f-N", "block_resize", node_name="f-N", size=2 * SIZE),
    second("change-backing-file of N", "change-backing-file", device="top", image_node_name="N",
           backing_file="other.qcow2"),
    second("blockdev-reopen N as it is", "blockdev-reopen"),
    second("blockdev-reopen N without backing", "blockdev-reopen"),
    second("blockdev-del N", "blockdev-del", node_name="N"),
    second("blockdev-del f-N", "blockdev-del", node_name="f-N"),
    second("block-export-add N", "block-export-add", id="x", type="nbd", node_name="N", name="x"),
    second("block-export-add N writable", "block-export-add", id="x", type="nbd", node_name="N",
           name="x", writable=True),
    second("block-export-add f-N writable", "block-export-add", id="x", type="nbd",
           node_name="f-N", name="x", writable=True),
    second("block-dirty-bitmap-add N", "block-dirty-bitmap-add", node="N", name="b"),
    second("block-dirty-bitmap-add N persistent", "block-dirty-bitmap-add", node="N", name="b",
           persistent=True),
    second("block-dirty-bitmap-remove N", "block-dirty-bitmap-remove", node="N", name="kept"),
    second("block-dirty-bitmap-clear N", "block-dirty-bitmap-clear", node="N", name="kept"),
    second("x-blockdev-change N", "x-blockdev-change", parent="N", node="t2"),
    second("x-blockdev-set-iothread N", "x-blockdev-set-iothread", node_name="N", iothread="io",
           force=True),
    second("block-set-write-threshold f-N", "block-set-write-threshold", node_name="f-N",
           write_threshold=4096),
    second("blockdev-set-active N off", "blockdev-set-active", node_name="N", active=False),
    second("blockdev-add raw over N", "blockdev-add", driver="raw", node_name="user", file="N"),
)


UNDO = {
    "block-export-add": ("block-export-del", {"id": "x", "mode": "hard"}),
    "block-dirty-bitmap-add": ("block-dirty-bitmap-remove", {"node": "N", "name": "b"}),
    "block-dirty-bitmap-remove": ("block-dirty-bitmap-add", {"node": "N", "name": "kept"}),
    "x-blockdev-set-iothread": ("x-blockdev-set-iothread",
                                {"node-name": "N", "iothread": None, "force": True}),
    "block-set-write-threshold": ("block-set-write-threshold",
                                  {"node-name": "f-N", "write-threshold": 0}),
    "blockdev-add": ("blockdev-del", {"node-name": "user"}),
}


def filled(value, node):
    if isinstance(value, dict):
        return {key: filled(inner, node) for key, inner in value.items()}
    if isinstance(value, str):
        words = {"N": node, "N-1": below(node), "f-N": f"f-{node}"}
        return words.get(value, value)
    return value


def arguments_of(entry, node):
    name, command, arguments = entry
    if command != "blockdev-reopen":
        return filled(arguments, node)
    options = image_options(node)
    if "without" in name:
        options["backing"] = None
    return {"options": [options]}


# ---- the laboratory -----------------------------------------------------------------------------

class DaemonLab(Lab):
    """Of the storage daemon, ours or stock's."""

    def __init__(self, program, job_wanted):
        super().__init__(job_wanted)
        self.program = program
        self.is_stock = program.startswith("/")

    def start(self):
        self.fresh_images()
        self.vm = Vm("--object", "iothread,id=io", "--nbd-server",
                     "addr.type=unix,addr.path=nbd.sock", program=self.program)
        if self.is_stock:
            self.vm.timeout = 5.0
        for node in IMAGES:
            self.add_image(node)
        for node in CHAIN:
            self.vm.command("block-dirty-bitmap-add", node=node, name="kept")
        self.vm.command("block-export-add", id="guest", type="nbd", node_name="top",
                        writable=True)
        self.start_job()
        self.before = self.state()

    def claims(self):
        return [] if self.is_stock else super().claims()

    def complaint(self):
        """Of ours; stock is not judged here."""
        text = super().complaint()
        return "" if self.is_stock else text

    def ask(self, entry, node):
        """The answer of one cell."""
        if node == "base" and "N-1" in entry[0]:
            return "-"
        if not self.vm:
            self.start()
        try:
            self.vm.execute(entry[1], arguments_of(entry, node))
        except QMPError as error:
            if error.error_class == "CommandNotFound":
                return "-"
            return error.desc + self.complaint()
        except (ConnectionError, TimeoutError) as error:
            self.stop()
            return "THE PROGRAM DIED" if isinstance(error, ConnectionError) else "NO ANSWER"
        self.undo(entry, node)
        return "ok"

    def undo(self, entry, node):
        """Take back what was accepted, where that is possible; else begin anew."""
        if "job-id" in entry[2]:
            self.end_second_job()
        elif entry[1] in UNDO:
            command, arguments = UNDO[entry[1]]
            self.vm.execute(command, filled(arguments, node))
        if self.state() != self.before:
            self.stop()

    def end_second_job(self):
        """Cancelled, or over already."""
        try:
            self.vm.command("job-cancel", id="k")
            while self.vm.next_event().get("data", {}) != {"id": "k", "status": "null"}:
                pass
        except QMPError:
            pass


def answers(program, jobs):
    """(job, command) -> the answers for the nodes of the chain."""
    make_images("images")
    found = {}
    for name in jobs:
        lab = DaemonLab(program, JOBS[name])
        for entry in COMMANDS:
            found[name, entry[0]] = [lab.ask(entry, node) for node in CHAIN]
        lab.stop()
    return found


TableTest(EXPECTED, HEAD, CHAIN, JOBS, answers, ours={"compact top"}).main()
