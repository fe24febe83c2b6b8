#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""blockdev-reopen: each option of each driver, changed, and taken back to its default.

The table of answers, with what query-named-block-nodes shows of a change, is compared with
matrix/reopen.txt, which --print writes anew.  A refused change must leave all nodes as they were, also
where one of several nodes cannot be changed, first, in the middle or last.  --stock PROGRAM compares
with QEMU's storage daemon; cells that differ are explained by DIFFERENCES."""

import argparse
import os
import re
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../lib"))

from celltable import difference                         # noqa: E402
from imgtest import Tap, have, must, stock               # noqa: E402
from qmptest import MiB, QMPError, Vm                    # noqa: E402

DAEMON = "qemu-storage-daemon"
EXPECTED = os.path.join(HERE, "matrix", "reopen.txt")
SIZE = 4 * MiB

# Options that every node has; the second value is another than the default.
COMMON = (("read-only", True), ("auto-read-only", True), ("cache", {"direct": True}),
          ("cache", {"no-flush": True}), ("discard", "unmap"), ("detect-zeroes", "on"),
          ("force-share", True), ("force-share and read-only", None))

# Node under test (always called n) -> its options, and what is tried for the options of its driver.
CASES = {
    "file": ({"driver": "file", "filename": "a.raw"},
             (("filename", "b.raw"), ("filename", "none.raw"), ("aio", "native"),
              ("aio", "io_uring"), ("locking", "off"), ("locking", "on"), ("drop-cache", False),
              ("x-check-cache-dropped", True), ("aio-max-batch", 7))),
    "raw": ({"driver": "raw", "file": "f"},
            (("offset", 65536), ("size", 65536), ("offset", 100), ("size", 1 << 40),
             ("file", "g"), ("file", "q"), ("file", "nope"), ("file", None))),
    "qcow2": ({"driver": "qcow2", "file": "f2", "backing": "q"},
              (("lazy-refcounts", True), ("pass-discard-request", True),
               ("pass-discard-snapshot", False), ("pass-discard-other", True),
               ("overlap-check", "all"), ("overlap-check", "bogus"),
               ("overlap-check", {"template": "none", "main-header": True}),
               ("cache-size", 1 << 20), ("l2-cache-size", 1 << 20),
               ("refcount-cache-size", 1 << 20), ("l2-cache-entry-size", 4096),
               ("l2-cache-entry-size", 1000), ("cache-clean-interval", 60),
               ("cache-size", 1), ("backing", None), ("backing", "g"), ("backing", "nope"),
               ("backing", "n"), ("file", "g"), ("data-file", "g"))),
    "throttle": ({"driver": "throttle", "throttle-group": "group1", "file": "f"},
                 (("throttle-group", "group2"), ("throttle-group", "none"), ("file", "g"))),
    "copy-on-read": ({"driver": "copy-on-read", "file": "q"},
                     (("bottom", "f2"), ("bottom", "none"), ("file", "g"))),
    "quorum": ({"driver": "quorum", "children": ["f", "g"], "vote-threshold": 1},
               (("vote-threshold", 2), ("vote-threshold", 3), ("read-pattern", "fifo"),
                ("rewrite-corrupted", True), ("children", ["f"]), ("children", ["g", "f"]))),
    "null-co": ({"driver": "null-co", "size": SIZE},
                (("size", MiB), ("latency-ns", 5), ("read-zeroes", True))),
    "blkdebug": ({"driver": "blkdebug", "image": "f"},
                 (("align", 4096), ("max-transfer", 65536), ("image", "g"))),
    "preallocate": ({"driver": "preallocate", "file": "f"},
                    (("prealloc-size", 1 << 20), ("prealloc-align", 65536),
                     ("prealloc-align", 3), ("file", "g"))),
}


class Lab:
    """A storage daemon with node n, and some others that it could use instead."""

    def __init__(self, program, driver, options):
        self.vm = Vm(program=program)
        self.options = {"node-name": "n", **options}
        for node, name in (("f", "c.raw"), ("g", "d.raw"), ("f1", "base.qcow2"),
                           ("f2", "top.qcow2")):
            self.vm.add(node, "file", filename=name)
        self.vm.add("q", "qcow2", file="f1")
        if driver == "throttle":
            for group in ("group1", "group2"):
                self.vm.command("object-add", qom_type="throttle-group", id=group)
        self.vm.execute("blockdev-add", self.options)

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
            return re.sub(r"#block\d+", "#block", error.desc) + changed
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


def ask_all(program):
    """(driver, title) -> answer; "default" in a title: the option was given before, and is no more."""
    answers = {}
    for driver, (options, _) in CASES.items():
        for title, changed in changes_of(driver):
            with Lab(program, driver, options) as lab:
                answers[driver, title] = lab.reopen({**lab.options, **changed})
            key = next(iter(changed))
            if key in options or not answers[driver, title].startswith("ok"):
                continue
            try:
                with Lab(program, driver, {**options, **changed}) as lab:
                    answer = lab.reopen({"node-name": "n", **options})
            except QMPError:
                continue
            answers[driver, f"{title}, default"] = answer
    return answers


def make_text(answers):
    lines = [*HEAD]
    last = None
    for (driver, title), answer in answers.items():
        if driver != last:
            lines += ["", driver]
            last = driver
        lines.append(f"  {title.ljust(46)} {answer}")
    return "\n".join(lines) + "\n"


def compare(tap, ours, others):
    """Stock's answers differ where DIFFERENCES says so, and nowhere else."""
    unused = {pattern for pattern, _ in DIFFERENCES}
    for cell, answer in others.items():
        text = ": ".join(cell)
        if ours.get(cell) == answer:
            continue
        patterns = [pattern for pattern, _ in DIFFERENCES if re.search(pattern, text)]
        unused.difference_update(patterns)
        if not patterns:
            tap.ok(False, f"/reopen/stock/{text}", f"ours   {ours.get(cell)}\nstock  {answer}")
    tap.ok(not unused, "/reopen/stock/differences", f"no cell differs for {unused}")


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


# ---- the head of the table -----------------------------------------------------------------------

DIFFERENCES = (
    ("force-share", "the locks of an open image can be changed, too"),
    ("^file: aio", "the way of asynchronous I/O can be changed, too"),
    ("^null-co: (size|latency|read)", "a node that keeps nothing can be changed"),
    ("^(file: drop|preallocate: prealloc).*default", "can be taken back, as it can be given"),
    ("^copy-on-read:", "stock cannot reopen it"),
    ("^quorum:", "the option is named that cannot be changed"),
    ("^qcow2: file=", "another file has other metadata than those in memory"),
)

HEAD = [
    "blockdev-reopen of a node: the option that is another, and the answer, with what is shown",
    "differently then.  \"default\": the option was given before, and is not any more.",
    "",
    "Where QEMU's storage daemon (compared with 7.2) answers otherwise, and why:",
    *(f"  {pattern}\n      {reason}" for pattern, reason in DIFFERENCES),
    "",
    "Written by test-reopen.py --print.",
]


def make_images():
    for name in ("a.raw", "b.raw", "c.raw", "d.raw"):
        with open(name, "wb") as file:
            file.truncate(SIZE)
    must("qemu-img", "create", "-q", "-f", "qcow2", "base.qcow2", str(SIZE))
    must("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2",
         "top.qcow2")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", help="write the expected table")
    parser.add_argument("--stock", metavar="PROGRAM", help="compare with this storage daemon")
    args, tap, home = parser.parse_args(), Tap(), os.getcwd()
    if not have(DAEMON):
        print(f"1..0 # SKIP {DAEMON} is not built")
        return 0
    other = args.stock or (stock(DAEMON) if float(os.environ.get("ROUNDS", 1)) > 1 else None)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            make_images()
            answers = ask_all(DAEMON)
            others = ask_all(other) if other else {}
            check_all_or_nothing(tap)
        finally:
            os.chdir(home)
    text = make_text(answers)
    if args.print:
        with open(EXPECTED, "w", encoding="ascii") as file:
            file.write(text)
    if other:
        compare(tap, answers, others)
    tap.ok("AND SOMETHING CHANGED" not in text, "/reopen/refused-changes-change-nothing", text)
    with open(EXPECTED, encoding="ascii") as file:
        wrong = difference(file.read(), text)
    tap.ok(not wrong, "/reopen/as-expected", wrong)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
