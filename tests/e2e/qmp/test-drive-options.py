#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""-drive: combinations of options, and the nodes that come of them.

The table tells each node from the top down; it is kept in matrix/drives.txt, which --write writes.
What cache modes, inheritance and defaults have to come to is also computed here, on its own."""

import itertools
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../lib"))

from answertest import AnswerTest, without_numbers       # noqa: E402
from qmptest import Vm, make_qcow2, make_raw, same       # noqa: E402

EMULATOR = "qemu-system-e2k"
# Mode -> writeback, direct, no-flush.
MODES = {"": (True, False, False), "writeback": (True, False, False), "none": (True, True, False),
         "writethrough": (False, False, False), "directsync": (False, True, False),
         "unsafe": (True, False, True)}
DOTTED = ("cache.writeback=off", "cache.direct=on", "cache.no-flush=on")
AIO = ("", "threads", "native")
RAW, QCOW2 = "file=a.raw,format=raw", "file=top.qcow2,format=qcow2"


def joined(*words):
    return ",".join(word for word in words if word)


def rows():
    """(part, -drive argument without id and if)."""
    for mode, aio, ro in itertools.product(MODES, AIO, ("", "read-only=on")):
        yield "cache x aio x read-only", joined(RAW, mode and f"cache={mode}", aio and f"aio={aio}",
                                                ro)
    for mode, snapshot in itertools.product(MODES, ("", "snapshot=on")):
        yield "cache x snapshot, a chain", joined(QCOW2, mode and f"cache={mode}", snapshot)
    for mode, dotted in itertools.product(MODES, DOTTED):
        yield "cache x cache.*", joined(RAW, mode and f"cache={mode}", dotted)
    for discard, zeroes in itertools.product(("", "ignore", "unmap"), ("", "on", "off", "unmap")):
        yield "discard x detect-zeroes", joined(RAW, discard and f"discard={discard}",
                                                zeroes and f"detect-zeroes={zeroes}")
    for errors in itertools.product(("", "report", "ignore", "enospc", "stop", "auto"),
                                    ("", "report", "ignore", "enospc", "stop", "auto")):
        yield "werror x rerror", joined(RAW, *(value and f"{key}={value}"
                                               for key, value in zip(("werror", "rerror"), errors)))
    for words in ("copy-on-read=on", "copy-on-read=on,read-only=on", "snapshot=on,read-only=on",
                  "file.locking=off", "file.cache.direct=on", "cache=none,file.cache.direct=off",
                  "backing.cache.direct=on", "backing.read-only=off", "backing.detect-zeroes=on",
                  "backing.node-name=low,file.node-name=high,node-name=mid",
                  "throttling.iops-total=10", "throttling.iops-total=10,throttling.group=g",
                  "media=cdrom", "media=disk", "auto-read-only=on", "force-share=on",
                  "force-share=on,read-only=on", "cache=writeback,cache.writeback=on",
                  "lazy-refcounts=on,l2-cache-size=1M", "backing=", "file.read-only=on",
                  "driver=qcow2", "read-only=on,discard=unmap"):
        yield "others, on a chain", joined(QCOW2, words)
    nested = '{"driver":"qcow2","file":{"driver":"raw","file":{"driver":"file","filename":' \
             '"top.qcow2"}},"backing":{"driver":"raw","file":{"driver":"null-co"}}}'
    for text in (nested, '{"driver":"raw","file":{"driver":"null-co"},"size":1024}',
                 '{"driver":"raw"}', '{"driver":"bogus"}', '{', '[]', '{"file.driver":"null-co"}'):
        yield "json:", "file=json:" + text.replace(",", ",,")
    yield "json:", "cache=none,file=json:" + nested.replace(",", ",,")


class Drives(AnswerTest):
    """Each drive, with what comes of it."""

    area, expected = "drive-options", os.path.join(HERE, "matrix", "drives.txt")
    program = EMULATOR

    def __init__(self):
        self.seen, self.wrong = {}, []

    def more(self, tap, answers):
        tap.ok(not self.wrong, "/drive-options/follow-the-rules", "\n".join(self.wrong))

    def make_images(self):
        make_raw("a.raw")
        make_qcow2("base.qcow2")
        make_qcow2("top.qcow2", "-b", "base.qcow2", "-F", "qcow2", size=None)

    def nodes_of(self, vm, name):
        """The nodes below drive @name, from the top: (what it is of its parent, its row)."""
        everything = {row["node-name"]: row
                      for row in vm.command("query-named-block-nodes", flat=True)}
        todo = [("", name)]
        while todo:
            edge, node = todo.pop(0)
            yield edge, everything[node]
            todo = [(child["child"], child["node-name"])
                    for child in sorted(everything[node]["children"],
                                        key=lambda child: child["child"] == "backing")] + todo

    def describe(self, vm, drive):
        inserted = drive["inserted"]
        self.seen["nodes"] = list(self.nodes_of(vm, inserted["node-name"]))
        words = []
        for edge, row in self.seen["nodes"]:
            flags = ["ro" if row["ro"] else "rw"]
            flags += [key for key in ("direct", "no-flush") if row["cache"][key]]
            if row["detect_zeroes"] != "off":
                flags.append(f"detect-zeroes={row['detect_zeroes']}")
            words.append(f"{edge}{':' if edge else ''}{row['drv']}({' '.join(flags)})")
        words.append("" if inserted["cache"]["writeback"] else "writethrough")
        words += [f"iops={inserted['iops']}"] if inserted["iops"] else []
        return " ".join(filter(None, words))

    def ask_all(self, program, names):
        """(part, argument) -> answer."""
        answers = {}
        with Vm("-M", "none", "-nodefaults", "-display", "none", program=EMULATOR) as vm:
            for part, argument in rows():
                if names and part not in names:
                    continue
                self.seen = {}
                said = vm.hmp(f"drive_add 0 if=none,id=d,{argument}").replace("\r\n", "\n")
                first, is_added = without_numbers(said.split("\n")[0]), said.endswith("OK\n")
                answer = first
                if is_added:
                    drive, = vm.command("query-block")
                    answer = self.describe(vm, drive) + (f"; {first}" if first != "OK" else "")
                    try:
                        self.check(part, argument, drive)
                    except AssertionError as error:
                        self.wrong.append(f"{argument}: {error}")
                    same(vm.hmp("drive_del d"), "")
                assert not vm.command("query-block"), (argument, said)
                same(vm.command("query-named-block-nodes"), [])
                answers[part, argument] = answer
        return answers

    def check(self, part, argument, drive):
        """What must come of an argument, by the rules for cache modes, snapshots and chains."""
        if "json" in argument or part.startswith("others"):
            return
        words = dict(word.split("=", 1) for word in argument.split(","))
        writeback, direct, no_flush = MODES[words.get("cache", "")]
        writeback = writeback and words.get("cache.writeback") != "off"
        direct = direct or words.get("cache.direct") == "on"
        no_flush = no_flush or words.get("cache.no-flush") == "on"
        same(drive["inserted"]["cache"]["writeback"], writeback)
        nodes = [row for edge, row in self.seen["nodes"]]
        if "snapshot" in words:
            # The overlay is lost at the end anyway; the image is not written to.
            overlay, file, *nodes = nodes
            same([row["ro"] for row in (overlay, file)], [False, False])
            same([row["cache"]["no-flush"] for row in (overlay, file)], [True, True])
            assert all(row["ro"] for row in nodes), nodes
        elif part.endswith("chain"):
            same([row["ro"] for row in nodes], [False, False, True, True])
        else:
            same({row["ro"] for row in nodes}, {words.get("read-only") == "on"})
        for row in nodes:
            same((row["cache"]["direct"], row["cache"]["no-flush"]), (direct, no_flush))
        zeroes = words.get("detect-zeroes", "off")
        if zeroes == "unmap" and words.get("discard") != "unmap":
            zeroes = "on"  # what it comes to
        same(self.seen["nodes"][0][1]["detect_zeroes"], zeroes)

    def text(self, answers):
        lines = ["The nodes that come of a -drive argument, from the top down, each with the edge",
                 "that leads to it; or the first line of the refusal.", *self.reasons()]
        last = None
        for (part, argument), answer in answers.items():
            lines += ["", part] if part != last else []
            last = part
            lines += [f"  {argument}", f"      {answer}"]
        return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(Drives().main(__doc__))
