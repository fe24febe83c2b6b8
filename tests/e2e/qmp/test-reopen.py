#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""blockdev-reopen: each option of each driver, changed, and taken back to its default.

The table of answers, with what query-named-block-nodes shows of a change, is compared with
matrix/reopen.txt, which --write writes anew.  A refused change must leave all nodes as they were, also
where one of several nodes cannot be changed, first, in the middle or last.  --stock PROGRAM compares
with QEMU's storage daemon; cells that differ are explained by DIFFERENCES."""

import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../lib"))

from answertest import AnswerTest, without_numbers       # noqa: E402
from imgtest import must                                 # noqa: E402
from qmptest import MiB, QMPError, Vm, make_qcow2, make_raw  # noqa: E402

DAEMON = "qemu-storage-daemon"
SIZE = 4 * MiB

# Options that every node has; the second value is another than the default.
COMMON = (("read-only", True), ("auto-read-only", True), ("cache", {"direct": True}),
          ("cache", {"no-flush": True}), ("discard", "unmap"), ("detect-zeroes", "on"),
          ("force-share", True), ("force-share and read-only", None))

# What may be given for "file", or another child: nodes of the lab, and what is none.
CHILDREN = ("f", "g", "small", "ro", "t", "q", "n", "above", "nope", "", None,
            {"driver": "file", "filename": "d.raw"})

# Node under test (always called n) -> its options, and what is tried for the options of its driver.
CASES = {
    "file": ({"driver": "file", "filename": "a.raw"},
             (("filename", "b.raw"), ("filename", "none.raw"), ("aio", "native"),
              ("locking", "off"), ("locking", "on"), ("drop-cache", False),
              ("x-check-cache-dropped", True), ("aio-max-batch", 7))),
    "raw": ({"driver": "raw", "file": "f"},
            (("offset", 65536), ("size", 65536), ("offset", 100), ("size", 1 << 40),
             *(("file", child) for child in CHILDREN))),
    "qcow2": ({"driver": "qcow2", "file": "f2", "backing": "q"},
              (("lazy-refcounts", True), ("pass-discard-request", True),
               ("pass-discard-snapshot", False), ("pass-discard-other", True),
               ("overlap-check", "all"), ("overlap-check", "bogus"),
               ("overlap-check", {"template": "none", "main-header": True}),
               ("cache-size", 1 << 20), ("l2-cache-size", 1 << 20),
               ("refcount-cache-size", 1 << 20), ("l2-cache-entry-size", 4096),
               ("l2-cache-entry-size", 1000), ("cache-clean-interval", 60),
               ("cache-size", 1), ("backing", None), ("backing", "g"), ("backing", "nope"),
               ("backing", "n"), ("file", "other"), ("data-file", "g"),
               *(("file", child) for child in CHILDREN))),
    "luks": ({"driver": "luks", "file": "l", "key-secret": "s"},
             (("key-secret", "s2"), ("file", "l2"), ("header", "l2"),
              *(("file", child) for child in CHILDREN))),
    "throttle": ({"driver": "throttle", "throttle-group": "group1", "file": "f"},
                 (("throttle-group", "group2"), ("throttle-group", "none"),
                  *(("file", child) for child in CHILDREN))),
    "copy-on-read": ({"driver": "copy-on-read", "file": "q"},
                     (("bottom", "f2"), ("bottom", "none"),
                      *(("file", child) for child in CHILDREN))),
    "compress": ({"driver": "compress", "file": "q"}, (("file", "g"), ("file", "t"))),
    "copy-before-write": ({"driver": "copy-before-write", "file": "f", "target": "g"},
                          (("target", "small"), ("on-cbw-error", "break-snapshot"),
                           ("cbw-timeout", 5), ("file", "t"), ("file", "small"))),
    "snapshot-access": ({"driver": "snapshot-access", "file": "cbw"}, (("file", "f"),)),
    "blklogwrites": ({"driver": "blklogwrites", "file": "f", "log": "g"},
                     (("log", "small"), ("log-sector-size", 4096), ("log-append", True),
                      ("log-super-update-interval", 7), ("file", "t"), ("file", "small"))),
    "blkverify": ({"driver": "blkverify", "test": "f", "raw": "g"},
                  (("test", "t"), ("raw", "t"), ("raw", "small"))),
    "quorum": ({"driver": "quorum", "children": ["f", "g"], "vote-threshold": 1},
               (("vote-threshold", 2), ("vote-threshold", 3), ("read-pattern", "fifo"),
                ("rewrite-corrupted", True), ("children", ["f"]), ("children", ["g", "f"]))),
    "null-co": ({"driver": "null-co", "size": SIZE},
                (("size", MiB), ("latency-ns", 5), ("read-zeroes", True))),
    "null-aio": ({"driver": "null-aio", "size": SIZE},
                 (("size", MiB), ("latency-ns", 5), ("read-zeroes", True))),
    "blkdebug": ({"driver": "blkdebug", "image": "f"},
                 (("align", 4096), ("max-transfer", 65536), ("opt-write-zero", 4096),
                  ("max-write-zero", 65536), ("opt-discard", 4096), ("max-discard", 65536),
                  ("config", "rules"), ("inject-error", [{"event": "read_aio"}]),
                  ("set-state", [{"event": "read_aio", "new_state": 2}]),
                  ("image", "g"), ("image", "t"))),
    "preallocate": ({"driver": "preallocate", "file": "f"},
                    (("prealloc-size", 1 << 20), ("prealloc-align", 65536),
                     ("prealloc-align", 3), *(("file", child) for child in CHILDREN))),
}


class Lab:
    """A storage daemon with node n, and some others that it could use instead."""

    def __init__(self, program, driver, options):
        self.vm = Vm(program=program)
        self.options = {"node-name": "n", **options}
        for node, name in (("f", "c.raw"), ("g", "d.raw"), ("f1", "base.qcow2"),
                           ("f2", "top.qcow2"), ("small", "small.raw"), ("l", "a.luks"),
                           ("l2", "b.luks"), ("other", "other.qcow2")):
            self.vm.add(node, "file", filename=name)
        self.vm.execute("blockdev-add", {"node-name": "ro", "driver": "file", "read-only": True,
                                         "filename": "ro.raw"})
        self.vm.add("q", "qcow2", file="f1")
        for group in ("group1", "group2"):
            self.vm.command("object-add", qom_type="throttle-group", id=group)
        for secret in ("s", "s2"):
            self.vm.command("object-add", qom_type="secret", id=secret, data="abc")
        file = options.get("file", options.get("image"))
        if isinstance(file, str) and file != "cbw":
            self.vm.execute("blockdev-add", {"node-name": "t", "driver": "throttle", "file": file,
                                             "throttle-group": "group2"})
        if driver == "snapshot-access":
            self.vm.add("cbw", "copy-before-write", file="f", target="g")
        self.vm.execute("blockdev-add", self.options)
        if driver != "compress":
            self.vm.add("above", "raw", file="n")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.vm.__exit__(InterruptedError)

    def state(self):
        """All that is shown of nodes and edges, but for claims' ages and sizes on disk."""
        graph = self.vm.command("x-debug-query-block-graph")
        edges = sorted((edge["name"], str(edge["perm"]), str(edge["shared-perm"]))
                       for edge in graph["edges"])
        rows = self.vm.command("query-named-block-nodes", flat=True)
        for row in rows:
            row["image"].pop("actual-size", None)
        return sorted(map(str, rows)), edges

    def shown(self):
        """What a change of n may be seen by."""
        row, = [row for row in self.vm.command("query-named-block-nodes", flat=True)
                if row["node-name"] == "n"]
        return {"ro": row["ro"], "direct": row["cache"]["direct"],
                "no-flush": row["cache"]["no-flush"], "detect-zeroes": row["detect_zeroes"],
                "size": row["image"]["virtual-size"],
                "backing": row.get("backing_file")}

    def reopen(self, options):
        """The answer, and what is shown differently."""
        before, old = self.state(), self.shown()
        try:
            self.vm.execute("blockdev-reopen", {"options": [options]})
        except QMPError as error:
            changed = " AND SOMETHING CHANGED" if self.state() != before else ""
            return without_numbers(error.desc) + changed
        new = self.shown()
        words = [f"{key}={new[key]}" for key in new if new[key] != old[key]]
        return " ".join(["ok", *(word.lower() for word in words)])


def changes_of(driver):
    """(title, options that differ) of a driver."""
    for key, value in (*COMMON, *CASES[driver][1]):
        if key == "force-share and read-only":
            yield key, {"force-share": True, "read-only": True}
        else:
            yield f"{key}={value}".lower(), {key: value}


def check_all_or_nothing(tap):
    """One of three nodes cannot be changed: none is, wherever it stands in the list."""
    with Vm() as vm:
        nodes = []
        for i, name in enumerate(("a.raw", "b.raw", "c.raw")):
            vm.add(f"f{i}", "file", filename=name)
            vm.add(f"r{i}", "raw", file=f"f{i}")
            nodes.append({"driver": "raw", "node-name": f"r{i}", "file": f"f{i}"})
        good = [{**node, "read-only": True, "detect-zeroes": "on"} for node in nodes]
        bad = {"in its driver": {"driver": "qcow2"}, "in its options": {"force-share": True,
                                                                        "read-only": False},
               "in its size": {"offset": 1 << 50}, "in its children": {"file": "nope"}}
        for what, change in bad.items():
            for position in range(3):
                before = vm.nodes()
                options = [{**node, **(change if i == position else {})}
                           for i, node in enumerate(good)]
                refused = None
                try:
                    vm.execute("blockdev-reopen", {"options": options})
                except QMPError as error:
                    refused = error.desc
                tap.ok(refused and vm.nodes() == before,
                       f"/reopen/all-or-nothing/{what}/{position}", refused)
        vm.execute("blockdev-reopen", {"options": good})
        rows = [vm.nodes()[f"r{i}"] for i in range(3)]
        tap.ok(all(row["ro"] and row["detect_zeroes"] == "on" for row in rows),
               "/reopen/several-at-once", rows)


# ---- the table -----------------------------------------------------------------------------------

# Cells ("driver: title") in which stock's storage daemon answers otherwise, and why.
DIFFERENCES = (
    ("force-share", "the locks of an open image can be changed, too"),
    ("^file: aio", "the way of asynchronous I/O can be changed, too"),
    ("^null-(co|aio): (size|latency|read)", "a node that keeps nothing can be changed"),
    ("^(file: drop|preallocate: prealloc).*default", "can be taken back, as it can be given"),
    ("^luks: header=", "stock 7.2 has no detached headers"),
    ("^throttle: file=small", "stock goes on telling the size of the old file"),
    ("^(copy-on-read|compress|copy-before-write|blklogwrites|blkverify):",
     "stock cannot reopen them; another image is refused here, too"),
    ("^quorum:", "the option is named that cannot be changed"),
    ("^(qcow2|luks): file=", "the metadata of another file are read, and must be there"),
)


class Reopen(AnswerTest):
    """The table, and the cases of several nodes at once."""

    area, expected = "reopen", os.path.join(HERE, "matrix", "reopen.txt")
    program, stock_program = DAEMON, DAEMON
    differences = DIFFERENCES

    def make_images(self):
        for name in ("a.raw", "b.raw", "c.raw", "d.raw", "ro.raw"):
            make_raw(name, SIZE)
        make_raw("small.raw")
        with open("rules", "w", encoding="ascii") as rules:
            rules.write("[inject-error]\nevent = \"read_aio\"\n")
        for name, size in (("a.luks", "4M"), ("b.luks", "2M")):
            must("qemu-img", "create", "-q", "-f", "luks", "--object", "secret,id=s,data=abc", "-o",
                 "key-secret=s,iter-time=10", name, size)
        make_qcow2("other.qcow2", size="8M")
        make_qcow2("base.qcow2")
        make_qcow2("top.qcow2", "-b", "base.qcow2", "-F", "qcow2", size=None)

    def ask_driver(self, program, driver, answers):
        options = CASES[driver][0]
        for title, changed in changes_of(driver):
            with Lab(program, driver, options) as lab:
                answer = lab.reopen({**lab.options, **changed})
            answers[driver, title] = answer
            if next(iter(changed)) in options or not answer.startswith("ok"):
                continue
            try:
                with Lab(program, driver, {**options, **changed}) as lab:
                    answers[driver, f"{title}, default"] = lab.reopen({"node-name": "n", **options})
            except QMPError:
                continue  # it cannot be given in the first place

    def ask_all(self, program, names):
        """(driver, title) -> answer; ", default": the option was given before, and is no more."""
        answers = {}
        for driver in names or CASES:
            self.ask_driver(program or DAEMON, driver, answers)
        return answers

    def more(self, tap, answers):
        wrong = {cell: answer for cell, answer in answers.items() if "CHANGED" in answer}
        tap.ok(not wrong, "/reopen/refused-changes-change-nothing", wrong)
        check_all_or_nothing(tap)

    def text(self, answers):
        lines = ["blockdev-reopen of a node: the option that is another, and the answer, with what",
                 "is shown differently then.  \"default\": the option was given before, and is not",
                 "any more.", "", *self.reasons()]
        last = None
        for (driver, title), answer in answers.items():
            lines += ["", driver] if driver != last else []
            last = driver
            lines.append(f"  {title.ljust(46)} {answer}")
        return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(Reopen().main(__doc__))
