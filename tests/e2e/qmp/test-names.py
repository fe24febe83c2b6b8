#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""File names of nodes: plain where guessing from that file leads to the same node, else json:{...}
with all that it takes to open the same again.  Each name of a json: is opened, too, and must give a
node that is called the same.  The table is kept in matrix/names.txt, which --write writes."""

import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../lib"))

from answertest import AnswerTest                                      # noqa: E402
from imgtest import have, must                                         # noqa: E402
from qmptest import MiB, QMPError, Vm, make_qcow2, make_raw            # noqa: E402

DAEMON, EMULATOR = "qemu-storage-daemon", "qemu-system-e2k"
SECRET = ("--object", "secret,id=s,data=abc")


def over(driver, file="raw", **options):
    """Options of a node over a file, or over another node."""
    return {"driver": driver, "file": FILES[file] if isinstance(file, str) else file, **options}


FILES = {name: {"driver": "file", "filename": f"{name}.{name}"} for name in ("raw", "luks")}
FILES.update({name: {"driver": "file", "filename": f"{name}.qcow2"}
              for name in ("base", "top", "data", "keys")})
FILES["log"] = {"driver": "file", "filename": "log.raw"}
BASE, TOP = over("qcow2", "base"), over("qcow2", "top")
ENCRYPT = {"format": "luks", "key-secret": "s"}
RULES = {"inject-error": [{"event": "read_aio"}]}
NULL = {"driver": "null-co"}

CASES = {
    "file": FILES["raw"],
    "file, by another path": {"driver": "file", "filename": "./raw.raw"},
    "raw": over("raw"),
    "raw, other ways of file": over("raw", {**FILES["raw"], "aio": "threads", "locking": "off"}),
    "raw, offset and size": over("raw", offset=512, size=512),
    "raw over raw": over("raw", over("raw")),
    "raw over qcow2": over("raw", BASE),
    "null-co": NULL,
    "null-co, all options": {**NULL, "size": 4096, "read-zeroes": True, "latency-ns": 7},
    "null-aio": {"driver": "null-aio", "size": 4096},
    "raw over null-co": over("raw", {**NULL, "read-zeroes": True}),
    "qcow2": BASE,
    "qcow2, ways of working": {**BASE, "lazy-refcounts": True, "discard": "unmap"},
    "qcow2 over raw": over("qcow2", over("raw", "base")),
    "qcow2 over throttle": over("qcow2", over("throttle", "base", **{"throttle-group": "g"})),
    "qcow2 over blkdebug": over("qcow2", {"driver": "blkdebug", "image": FILES["base"]}),
    "qcow2, external data": over("qcow2", "data"),
    "qcow2, other data": over("qcow2", "data", **{"data-file": FILES["log"]}),
    "qcow2, encrypted": over("qcow2", "keys", encrypt=ENCRYPT),
    "luks": over("luks", "luks", **{"key-secret": "s"}),
    "overlay": TOP,
    "overlay, the same backing": {**TOP, "backing": BASE},
    "overlay, no backing": {**TOP, "backing": None},
    "overlay, backing offset": {**TOP, "backing": over("raw", offset=512)},
    "overlay, backing throttled": {**TOP, "backing": over("throttle", BASE,
                                                          **{"throttle-group": "g"})},
    "overlay, backing null-co": {**TOP, "backing": NULL},
    "no overlay, but a backing": {**BASE, "backing": FILES["raw"]},
    "throttle": over("throttle", BASE, **{"throttle-group": "g"}),
    "copy-on-read": over("copy-on-read", TOP),
    "compress": over("compress", BASE),
    "preallocate": over("preallocate", **{"prealloc-size": 65536}),
    "copy-before-write": over("copy-before-write", BASE, target={**NULL, "size": MiB}),
    "snapshot-access": over("snapshot-access",
                            over("copy-before-write", target={**NULL, "size": MiB})),
    "blkdebug": {"driver": "blkdebug", "image": FILES["raw"]},
    "blkdebug, limits": {"driver": "blkdebug", "image": FILES["raw"], "align": 4096,
                         "max-transfer": 65536, "opt-write-zero": 4096, "max-write-zero": 65536,
                         "opt-discard": 4096, "max-discard": 65536},
    "blkdebug, a rule": {"driver": "blkdebug", "image": FILES["raw"], **RULES},
    "blkdebug, two rules": {"driver": "blkdebug", "image": FILES["raw"], "inject-error": [
        {"event": "read_aio", "errno": 5, "once": True}, {"event": "write_aio"}]},
    "blkverify": {"driver": "blkverify", "test": BASE, "raw": FILES["raw"]},
    "blkverify, no plain names": {"driver": "blkverify", "test": over("raw", "log", offset=512),
                                  "raw": FILES["raw"]},
    "blklogwrites": over("blklogwrites", log=FILES["log"], **{"log-append": False,
                                                             "log-sector-size": 4096}),
    "quorum": {"driver": "quorum", "children": [FILES["raw"], FILES["log"]], "vote-threshold": 1},
    "quorum, all options": {"driver": "quorum", "children": [FILES["raw"], over("raw", "log")],
                            "vote-threshold": 2, "rewrite-corrupted": False, "blkverify": True,
                            "read-pattern": "quorum"},
}


class Names(AnswerTest):
    """A daemon for each node."""

    area, expected = "names", os.path.join(HERE, "matrix", "names.txt")
    program, stock_program = DAEMON, DAEMON
    differences = (
        ("^overlay, backing (throttled|null-co)$", "stock 7.2 refuses these backing nodes"),
        ("^blkdebug, two rules$", "the options of a rule stand together"),
    )

    def make_images(self):
        for name in ("raw.raw", "log.raw"):
            make_raw(name)
        make_qcow2("base.qcow2", size="1M")
        make_qcow2("top.qcow2", "-b", "base.qcow2", "-F", "qcow2", size=None)
        make_qcow2("data.qcow2", "-o", "data_file=data.raw", size="1M")
        make_qcow2("keys.qcow2", *SECRET, "-o", "encrypt.format=luks,encrypt.key-secret=s,"
                   "encrypt.iter-time=10", size="1M")
        must("qemu-img", "create", "-q", "-f", "luks", *SECRET, "-o", "key-secret=s,iter-time=10",
             "luks.luks", "1M")

    def ask_one(self, program, options):
        with Vm(program=program or DAEMON) as vm:
            vm.command("object-add", qom_type="throttle-group", id="g")
            vm.command("object-add", qom_type="secret", id="s", data="abc")
            try:
                vm.execute("blockdev-add", {"node-name": "n", **options})
            except QMPError as error:
                return error.desc
            row = vm.nodes()["n"]
            assert row["image"]["filename"] == row["file"]
            return row["file"]

    def ask_all(self, program, names):
        return {(name,): self.ask_one(program, options) for name, options in CASES.items()
                if not names or name in names}

    def more(self, tap, answers):
        """A drive that is opened by such a name is called the same."""
        if not have(EMULATOR):
            return
        for (name,), answer in answers.items():
            drive = f"if=none,id=d,file={answer.replace(',', ',,')}"
            with Vm("-M", "none", *SECRET, "--object", "throttle-group,id=g", "-drive", drive,
                    program=EMULATOR) as vm:
                drive, = vm.command("query-block")
            tap.ok(drive["inserted"]["file"] == answer, f"/names/opens-again/{name}", drive)

    def text(self, answers):
        lines = ["What nodes are called: query-named-block-nodes, member file.", "",
                 *self.reasons(), ""]
        for (name,), answer in answers.items():
            lines.append(f"{name.ljust(28)} {answer}")
        return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(Names().main(__doc__))
