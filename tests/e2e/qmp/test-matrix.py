#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who holds a node against what somebody else wants to do: the whole matrix of op blockers.

Each holder (a backing chain, every kind of job, exports, formats, filters, drives, a device) meets
every command that asks; the table of answers is compared with matrix/blockers.txt, which --write
writes anew.  Of each cell is also checked that

  - query-block-blockers, asked before, tells the same answer (the dry run),
  - a transaction of the command is refused in the same words,
  - a human monitor is told who holds the node, for how long, and what would end that.

--stock PROGRAM asks QEMU's storage daemon, too: its answers must differ in just the cells that
DIFFERENCES explains.  $ROUNDS above 1 does that with the installed one."""

import os
import re
import shutil
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../lib"))

from answertest import AnswerTest, without_numbers       # noqa: E402
from celltable import Table                              # noqa: E402
from imgtest import must                                 # noqa: E402
from qmptest import MiB, QMPError, Vm                    # noqa: E402

EMULATOR = "qemu-system-e2k"
SIZE = 16 * MiB
PIECES = 32

# ---- what others want ----------------------------------------------------------------------------

# Row, operation or right that it asks for, command, arguments.  N is the node of the column, R the
# last one of the holder.
COMMANDS = (
    ("blockdev-backup N to t", "backup-source", "blockdev-backup",
     {"job-id": "k", "device": "N", "target": "t", "sync": "full"}),
    ("blockdev-backup s to N", "backup-target", "blockdev-backup",
     {"job-id": "k", "device": "s", "target": "N", "sync": "full"}),
    ("change-backing-file of N", "change", "change-backing-file",
     {"device": "R", "image-node-name": "N", "backing-file": "other"}),
    ("block-commit N", "commit-source", "block-commit", {"job-id": "k", "device": "N"}),
    ("block-commit R into N", "commit-target", "block-commit",
     {"job-id": "k", "device": "R", "base-node": "N"}),
    ("blockdev-del N", "drive-del", "blockdev-del", {"node-name": "N"}),
    ("blockdev-snapshot N", "external-snapshot", "blockdev-snapshot",
     {"node": "N", "overlay": "over"}),
    ("blockdev-snapshot-sync N", "external-snapshot", "blockdev-snapshot-sync",
     {"node-name": "N", "snapshot-file": "new.qcow2", "snapshot-node-name": "new"}),
    ("blockdev-snapshot-internal-sync N", "internal-snapshot",
     "blockdev-snapshot-internal-sync", {"device": "N", "name": "s"}),
    ("blockdev-snapshot-delete-internal-sync N", "internal-snapshot-delete",
     "blockdev-snapshot-delete-internal-sync", {"device": "N", "name": "kept"}),
    ("blockdev-mirror N to t", "mirror-source", "blockdev-mirror",
     {"job-id": "k", "device": "N", "target": "t", "sync": "full"}),
    ("blockdev-mirror s to N", "mirror-target", "blockdev-mirror",
     {"job-id": "k", "device": "s", "target": "N", "sync": "full"}),
    ("blockdev-mirror R to t, replaces N", "replace", "blockdev-mirror",
     {"job-id": "k", "device": "R", "target": "t", "sync": "full", "replaces": "N"}),
    ("block_resize N", "resize", "block_resize", {"node-name": "N", "size": 2 * SIZE}),
    ("block-stream N", "stream", "block-stream", {"job-id": "k", "device": "N"}),
    ("block-export-add N", "consistent-read", "block-export-add",
     {"id": "x", "type": "nbd", "node-name": "N", "name": "x"}),
    ("block-export-add N, writable", "write", "block-export-add",
     {"id": "x", "type": "nbd", "node-name": "N", "name": "x", "writable": True}),
)

# What is said of a drive.
DRIVE_COMMANDS = (
    ("eject", "eject", "eject", {"device": "N"}),
    ("blockdev-change-medium", "eject", "blockdev-change-medium",
     {"device": "N", "filename": "work/dst.qcow2"}),
    ("drive_del", "drive-del", "human-monitor-command", {"command-line": "drive_del drive"}),
    ("drive-backup", "backup-source", "drive-backup",
     {"job-id": "k", "device": "N", "target": "target.img", "sync": "full"}),
    ("drive-mirror", "mirror-source", "drive-mirror",
     {"job-id": "k", "device": "N", "target": "target.img", "sync": "full"}),
    ("block-commit", "commit-source", "block-commit", {"job-id": "k", "device": "N"}),
    ("block-stream", "stream", "block-stream", {"job-id": "k", "device": "N"}),
    ("block_resize", "resize", "block_resize", {"device": "N", "size": 2 * SIZE}),
    ("blockdev-snapshot-sync", "external-snapshot", "blockdev-snapshot-sync",
     {"device": "N", "snapshot-file": "new.qcow2"}),
    ("blockdev-snapshot-internal-sync", "internal-snapshot", "blockdev-snapshot-internal-sync",
     {"device": "N", "name": "s"}),
    ("blockdev-snapshot-delete-internal-sync", "internal-snapshot-delete",
     "blockdev-snapshot-delete-internal-sync", {"device": "N", "name": "kept"}),
)

IN_TRANSACTION = ("drive-backup", "blockdev-backup", "blockdev-snapshot", "blockdev-snapshot-sync",
                  "blockdev-snapshot-internal-sync")

# The same by a human monitor, which also prints hints.
FOR_PEOPLE = {
    ("drive-del", "blockdev-del"): "drive_del N",
    ("stream", "block-stream"): "block_stream N",
    ("backup-source", "blockdev-backup"): "drive_backup N target.img",
    ("mirror-source", "blockdev-mirror"): "drive_mirror N target.img",
    ("internal-snapshot", "blockdev-snapshot-internal-sync"): "snapshot_blkdev_internal N s",
    ("eject", "eject"): "eject N",
    ("resize", "block_resize"): "block_resize N 8M",
    ("external-snapshot", "blockdev-snapshot-sync"): "snapshot_blkdev N new2.qcow2",
}
OF_DRIVES = ("block_resize", "blockdev-snapshot-sync")

# ---- holders -----------------------------------------------------------------------------------


def image(vm, node, backing=None, /, **options):
    """A qcow2 node over the file node f-NODE."""
    vm.add(f"f-{node}", "file", filename=f"work/{node}.qcow2", **options)
    vm.add(node, "qcow2", file=f"f-{node}", backing=backing, **options)


def chain(vm):
    image(vm, "base")
    image(vm, "mid", "base")
    image(vm, "top", "mid")


def job(vm, command, ready=False, /, **arguments):
    vm.command(command, job_id="j", speed=0 if ready else 1, **arguments)
    if ready:
        vm.wait_event("BLOCK_JOB_READY", device="j")


def export(vm, node, writable):
    vm.command("block-export-add", id="e", type="nbd", node_name=node, name="e",
               writable=writable)


def pair(vm):
    image(vm, "src")
    image(vm, "dst")


class Holder:
    """How @nodes are made and held, and what is asked of them by others."""

    def __init__(self, function, nodes, commands, words):
        self.function, self.nodes, self.commands = function, nodes, commands
        self.words = words  # the emulator's, if the storage daemon cannot do it


HOLDERS = {}


def holder(text, *nodes, commands=None, words=None):
    """Register a function that makes @nodes and has somebody hold them."""
    def register(function):
        HOLDERS[text] = Holder(function, nodes, commands or COMMANDS, words)
        return function
    return register


@holder("nobody", "src")
def _(vm):
    image(vm, "src")


@holder("backing chain", "base", "mid", "top")
def _(vm):
    chain(vm)


@holder("stream into top", "base", "mid", "top")
def _(vm):
    chain(vm)
    job(vm, "block-stream", device="top")


@holder("commit of mid", "base", "mid", "top")
def _(vm):
    chain(vm)
    job(vm, "block-commit", device="top", top_node="mid", base_node="base")


@holder("active commit, ready", "base", "mid", "top")
def _(vm):
    chain(vm)
    job(vm, "block-commit", True, device="top", base_node="mid")


@holder("mirror src to dst", "src", "dst")
def _(vm):
    pair(vm)
    job(vm, "blockdev-mirror", device="src", target="dst", sync="full")


@holder("mirror src to dst, ready", "src", "dst")
def _(vm):
    pair(vm)
    job(vm, "blockdev-mirror", True, device="src", target="dst", sync="full")


@holder("backup src to dst", "src", "dst")
def _(vm):
    pair(vm)
    job(vm, "blockdev-backup", device="src", target="dst", sync="full")


@holder("NBD export of src, writable", "src")
def _(vm):
    image(vm, "src")
    export(vm, "src", True)


@holder("NBD export of src, read-only", "src")
def _(vm):
    image(vm, "src")
    export(vm, "src", False)


@holder("qcow2 src over its file", "f-src", "src")
def _(vm):
    image(vm, "src")


@holder("qcow2 ext with data file store", "f-ext", "store", "ext")
def _(vm):
    vm.add("f-ext", "file", filename="work/ext.qcow2")
    vm.add("store", "file", filename="work/data.raw")
    vm.add("ext", "qcow2", file="f-ext", data_file="store")


@holder("qcow2 bad, marked corrupt, read-only", "bad")
def _(vm):
    image(vm, "bad", read_only=True)


@holder("qcow2 dirty, marked dirty, read-only", "dirty")
def _(vm):
    image(vm, "dirty", read_only=True)


@holder("quorum of src and dst", "src", "dst", "m")
def _(vm):
    pair(vm)
    vm.add("m", "quorum", children=["src", "dst"], vote_threshold=2)


@holder("throttle over src", "src", "m")
def _(vm):
    vm.command("object-add", qom_type="throttle-group", id="g")
    image(vm, "src")
    vm.add("m", "throttle", throttle_group="g", file="src")


@holder("copy-on-read over top", "top", "m")
def _(vm):
    chain(vm)
    vm.add("m", "copy-on-read", file="top")


@holder("raw over a file", "disk", "m")
def _(vm):
    vm.add("disk", "file", filename="work/data.raw")
    vm.add("m", "raw", file="disk")


@holder("copy-before-write src to dst", "src", "dst", "m")
def _(vm):
    pair(vm)
    vm.add("m", "copy-before-write", file="src", target="dst")


QTEST = ["-M", "e2k", "-accel", "qtest"]


@holder("virtio-blk on src", "src", words=QTEST)
def _(vm):
    image(vm, "src")
    vm.command("device_add", driver="virtio-blk-pci", id="v", drive="src")


@holder("virtio-blk on src, share-rw", "src", words=QTEST)
def _(vm):
    image(vm, "src")
    vm.command("device_add", driver="virtio-blk-pci", id="v", drive="src", share_rw=True)


def drive_holder(text, *job_arguments, **job_options):
    """A drive whose image is the top of the chain, with a job on it."""
    @holder(text, "drive", commands=DRIVE_COMMANDS,
            words=["-M", "none", "-drive", "if=none,id=drive,format=qcow2,file=work/top.qcow2"])
    def _(vm):
        if job_arguments == ("block-export-add",):
            export(vm, vm.command("query-block")[0]["inserted"]["node-name"], True)
        elif job_arguments:
            job(vm, *job_arguments, **job_options)


drive_holder("drive, nobody")
drive_holder("drive, backup", "drive-backup", device="drive", target="held.img", sync="full")
drive_holder("drive, mirror, ready", "drive-mirror", True, device="drive", target="held.img",
             sync="full")
drive_holder("drive, NBD export", "block-export-add")
drive_holder("drive, stream", "block-stream", device="drive")
drive_holder("drive, active commit", "block-commit", True, device="drive")


# ---- the laboratory -----------------------------------------------------------------------------


def make_images():
    """Images with many pieces of their own, so that slow jobs do not end."""
    home = os.getcwd()
    os.mkdir("images")
    os.chdir("images")
    for node, options in (("base", []), ("mid", ["-b", "base.qcow2", "-F", "qcow2"]),
                          ("top", ["-b", "mid.qcow2", "-F", "qcow2"]), ("src", []), ("dst", []),
                          ("ext", ["-o", "data_file=data.raw"]), ("bad", []),
                          ("dirty", ["-o", "lazy_refcounts=on"]), ("over", [])):
        name = f"{node}.qcow2"
        must("qemu-img", "create", "-q", "-f", "qcow2", *options, name, str(SIZE))
        if node not in ("ext", "over"):
            must("qemu-img", "snapshot", "-c", "kept", name)
        if node not in ("over", "dst"):
            where = {"mid": 64, "top": 128}.get(node, 0)
            must("qemu-io", "-f", "qcow2", *(word for piece in range(PIECES) for word in
                                             ("-c", f"write -q {piece * 512 + where}k 64k")), name)
    for name, bit in (("bad.qcow2", 2), ("dirty.qcow2", 1)):
        with open(name, "r+b") as file:
            file.seek(72)  # incompatible features
            file.write(bit.to_bytes(8, "big"))
    os.chdir(home)


def substituted(value, node, root):
    if isinstance(value, dict):
        return {key: substituted(inner, node, root) for key, inner in value.items()}
    return {"N": node, "R": root}.get(value, value)


class Lab:
    """A program with a holder in it; a new one after each command that was accepted."""

    def __init__(self, program, name):
        self.name, self.vm, self.problems = name, None, []
        self.holder = HOLDERS[name]
        self.ours = not program
        self.program = program or EMULATOR

    def start(self):
        shutil.rmtree("work", ignore_errors=True)
        shutil.copytree("images", "work")
        for made in ("target.img", "held.img", "new.qcow2"):
            if os.path.exists(made):
                os.unlink(made)
        words = ["-nodefaults", "-display", "none", *(self.holder.words or ["-M", "none"])]
        self.vm = Vm(*(words if self.ours else []), program=self.program)
        self.vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "nbd.sock"}})
        for node in ("s", "t"):
            self.vm.null(node, SIZE, read_zeroes=True)
        self.vm.add("over", "qcow2", backing=None,
                    file={"driver": "file", "filename": "work/over.qcow2"})
        self.holder.function(self.vm)

    def stop(self):
        if self.vm:
            # Killed: ending well with a job is another test's.
            self.vm.__exit__(InterruptedError)
            self.vm = None

    def ask(self, op, command, arguments, node):
        """The answer of one cell."""
        if not self.vm:
            self.start()
        known = self.claims(op) if self.ours else None
        arguments = substituted(arguments, node, self.holder.nodes[-1])
        try:
            said = self.vm.execute(command, arguments)
            is_hmp = command == "human-monitor-command"
            answer = said.split("\r\n")[0] if is_hmp and said else "ok"
        except QMPError as error:
            answer = error.desc
        if self.ours:
            where = f"{self.name}: {command} ({op}) on {node}: {answer}"
            asked = self.holder.nodes[-1] if op == "change" else node
            self.check_dry_run(known, asked, answer, where)
            if answer != "ok":
                self.check_transaction(command, arguments, answer, where)
                self.check_hint(op, command, node, answer, where)
        if answer == "ok":
            self.stop()
        return answer

    # ---- what each cell has to fulfil ----

    def claims(self, op):
        return self.vm.command("query-block-blockers", op=op)

    def check(self, good, where, detail):
        if not good:
            self.problems.append(f"{where}\n    {detail}")

    def check_dry_run(self, known, node, answer, where):
        blocking = [row for row in known if row["blocks-op"]]
        busy = re.fullmatch(r"Node '(.*?)' is busy: (.*)", answer)
        conflict = re.match(r"Permission conflict on node '(.*?)': permissions '(.*?)'", answer)
        if answer == "ok":
            here = [row for row in blocking if node in (row["node-name"], row.get("device"))]
            self.check(not here, where, f"the dry run says it is refused: {here}")
        elif busy:
            told = [row for row in blocking
                    if busy[1] in (row["node-name"], row.get("device")) and
                    row["reason"] == busy[2]]
            self.check(told, where, f"the dry run does not tell: {blocking}")
        elif conflict:
            told = [row for row in known if row["node-name"] == conflict[1]]
            self.check(told or conflict[1][0] == "#", where, f"nobody is told of: {known}")

    def check_transaction(self, command, arguments, answer, where):
        if command not in IN_TRANSACTION:
            return
        actions = [{"type": command, "data": arguments}]
        try:
            said = self.vm.command("transaction", actions=actions)
        except QMPError as error:
            said = error.desc
        self.check(without_numbers(said) == without_numbers(answer), where,
                   f"as a transaction: {said}")

    def check_hint(self, op, command, node, answer, where):
        line = FOR_PEOPLE.get((op, command))
        if not line or (command in OF_DRIVES and node != "drive") or \
                not re.match(r"Node '.*' is busy|Node .* is in use|Block device|.* on node '[^#]",
                             answer):
            return
        said = self.vm.hmp(line.replace("N", node)).replace("\r\n", "\n").split("\n")
        hints = [re.fullmatch(r"Held by (.+) for \d+\.\d seconds; to end that: (.+)", hint)
                 for hint in said[1:-1]]
        self.check(without_numbers(said[0].removeprefix("Error: ")) == without_numbers(answer),
                   where, f"people are told: {said}")
        self.check(hints and all(hints), where, f"nobody is named: {said}")
        owners = {(row["owner"]["description"], row["unblock"])
                  for row in self.vm.command("query-block-blockers")}
        for hint in filter(None, hints):
            self.check(hint.groups() in owners, where,
                       f"{hint.groups()} is none of the owners {owners}")


# Cells ("holder: row: node") in which stock's storage daemon answers otherwise, and why.
DIFFERENCES = (
    (r": block_resize N: ", "stock before 8.0 told no reason: \"Device '(null)' is in use\""),
    (r"^(mirror|active).*: block-export-add N, writable: (src|top|mid)",
     "what is written beside the job's filter would not get into the copy"),
    (r"^active.*: (block-export-add N, writable|blockdev-backup s to N): base",
     "the job keeps others from writing below the node that it writes to"),
    (r"^(mirror|commit|active).*: blockdev-del N: (dst|base|mid)",
     "the node is busy because of the job, which we say"),
    (r": (block-export-add|blockdev-mirror|block-stream).*",
     "jobs do their I/O themselves, without unnamed devices"),
    (r"data file.*: blockdev-snapshot-.*: ext", "the reason is told, not only that it cannot be"),
    (r"marked.*: (blockdev-snapshot-delete|block-stream)",
     "the reason is told, not what failed in the end"),
    (r": change-backing-file of N: m", "a filter has no backing file"),
)


class Matrix(AnswerTest):
    """The table, and what is wrong with single cells."""

    area, expected = "matrix", os.path.join(HERE, "matrix", "blockers.txt")
    program, stock_program = EMULATOR, "qemu-storage-daemon"
    differences = DIFFERENCES

    def __init__(self):
        self.problems = {}

    def make_images(self):
        make_images()

    def ask_all(self, program, names):
        """(holder, row, node) -> answer."""
        answers = {}
        for name in names or HOLDERS:
            lab = Lab(program, name)
            if program and lab.holder.words:
                continue
            try:
                for text, *entry in lab.holder.commands:
                    for node in lab.holder.nodes:
                        answers[name, text, node] = lab.ask(*entry, node)
            finally:
                lab.stop()
            if not program:
                self.problems[name] = "\n".join(lab.problems)
        return answers

    def more(self, tap, answers):
        for name, problem in self.problems.items():
            tap.ok(not problem, f"/matrix/{name}", problem)

    def text(self, answers):
        whole = Table(())
        for name in self.problems:
            table = Table(HOLDERS[name].nodes)
            table.notes = whole.notes
            table.heading(name)
            for text, *_ in HOLDERS[name].commands:
                table.row(text, [answers[name, text, node] for node in table.columns])
            whole.lines += table.lines
        return whole.text([
            "Who holds nodes (headings) x what others want (rows) x of which node (columns): the",
            "answers.  N is the column's node, R the last of the heading; s and t are other nodes,",
            "over an overlay.",
            "", *self.reasons()])


if __name__ == "__main__":
    sys.exit(Matrix().main(__doc__))
