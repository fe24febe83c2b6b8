#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qcow2 images by QMP once they are made: options of opening, x-blockdev-amend, dirty bitmaps.

The table of answers is matrix/qcow2-use.txt, which --write writes anew.  --stock PROGRAM compares with
QEMU's storage daemon; cells that differ are explained by differences."""

import json
import os
import re
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../lib"))

from imgtest import built_with, must, run            # noqa: E402
from qmptable import (IMAGES, SECRETS, WORDS, QmpTable, add, answer_of, bitmap, closed,  # noqa: E402
                      file, finished, make_images, merge, opened, options, resized, together)
from qmptest import MiB, make_raw                    # noqa: E402

# ---- opening -------------------------------------------------------------------------------------

SIZES = (0, 1, -1, 512, 65536, MiB, 1 << 40, 1 << 62, (1 << 63) - 1, 1 << 63, "1M")
OVERLAPS = ("none", "constant", "cached", "all", "x", "", True, None, 0, {}, {"template": "all"},
            {"template": "x"}, {"main-header": False}, {"template": "none", "inactive-l2": True},
            {"bogus": True}, {"main-header": "on"})
ENCRYPTS = (*({"format": form, "key-secret": secret} for form in ("luks", "aes", "auto")
              for secret in ("s", "s2", "none") if (form, secret) != ("aes", "s2")),
            {"format": "luks"}, {"format": "x"}, {"key-secret": "s"}, {}, "luks", None)
DATA_FILES = (None, "", "nope", "x", "d", "n", "n-file", file("d.raw"), file("none.raw"),
              file("d.raw", **{"read-only": True}), file("q.qcow2"),
              {"driver": "qcow2", "file": file("q.qcow2")}, {"driver": "null-co", "size": MiB},
              {"driver": "raw", "file": file("d.raw")})
BACKINGS = (None, "", "nope", "b", "n", file("x.raw"), file("none.raw"),
            {"driver": "qcow2", "file": file("x.raw")}, {"driver": "qcow2", "file": "v2-file"},
            {"driver": "qcow2"}, {"driver": "qcow2", "file": file("v2.qcow2"), "backing": None},
            {"backing": None}, 5)
FILES = (None, "", "nope", "x", "b", "v2-file", file("none"), {"driver": "null-co"},
         {"driver": "qcow2", "file": file("q.qcow2")}, file("q.qcow2", **{"read-only": True}))


def each(name, values):
    return [{name: value} for value in values]


def open_plain():
    bools = ("pass-discard-request", "pass-discard-snapshot", "pass-discard-other",
             "discard-no-unref")
    return [{}, *each("lazy-refcounts", (True, False, "on", None)),
            *(step for name in bools for step in each(name, (True, False, 1))),
            *each("overlap-check", OVERLAPS), {"overlap-check.template": "all"},
            *each("file", FILES), *each("read-only", (True,)), *each("discard", ("unmap", "x")),
            *each("auto-read-only", (True,)), *each("force-share", (True,)),
            *each("detect-zeroes", ("on", "unmap")), {"cache": {"direct": True, "no-flush": True}},
            {"cache": {"bogus": 1}}, {"bogus": 1}, {"size": 5}, {"extended-l2": True},
            options(detect_zeroes="unmap", discard="unmap"),
            options(read_only=True, force_share=True)]


def open_caches():
    names = ("cache-size", "l2-cache-size", "refcount-cache-size")
    together = ((MiB, MiB, MiB >> 2), (MiB, MiB, 0), (MiB, 2 * MiB, None), (MiB, None, 2 * MiB),
                (MiB, None, MiB), (MiB, MiB >> 1, None), (None, MiB >> 1, MiB >> 1), (0, 0, None),
                (0, 0, 0))
    return [*(step for name in names for step in each(name, SIZES)),
            *({name: value for name, value in zip(names, values) if value is not None}
              for values in together),
            *each("l2-cache-entry-size", (0, 1, 256, 512, 1000, 4096, 65536, 131072, -1, 1 << 40)),
            *each("cache-clean-interval", (0, 1, 600, -1, 1 << 31, 1 << 32, (1 << 32) - 1, 1 << 62))]


OPENS = {
    "q": open_plain() + each("encrypt", ENCRYPTS) + each("data-file", DATA_FILES) +
         each("backing", BACKINGS),
    "q, caches": open_caches(),
    "v2": [*each("lazy-refcounts", (True, False)), options(discard_no_unref=True),
           options(read_only=True, lazy_refcounts=True)],
    "c512": each("l2-cache-entry-size", (512, 1024)),
    "luks": [{}, *each("encrypt", ENCRYPTS)],
    "aes": [{}, *each("encrypt", ENCRYPTS)],
    "df": [{}, *each("data-file", DATA_FILES), options(read_only=True),
           options(read_only=True, data_file=file("d.raw"))],
    "dfr": [{}, *each("data-file", DATA_FILES)],
    "top": [{}, *each("backing", BACKINGS)],
    "lost": [{}, *each("backing", BACKINGS)],
}

# ---- amend ---------------------------------------------------------------------------------------


def luks(state=None, word=None, **more):
    """Options of amend for key slots; iter-time only with new passwords."""
    change = {"format": "luks", **({"state": state} if state else {})}
    if state == "active" and word:
        change.update({"new-secret": word, "iter-time": 10})
    elif word:
        change["old-secret"] = word
    return {"encrypt": {**change, **{key.replace("_", "-"): value for key, value in more.items()}}}


AMENDS = [(node, change, None) for node in ("q", "v2", "luks", "aes", "df", "ro", "luks-ro", "nope",
                                            "q-file", "filter", "raw")
          for change in ({}, luks("active", "s2"))]
AMENDS += [("luks", change, None) for change in (
    luks("active", "nope"), luks("active"), luks("active", "s2", old_secret="s"),
    luks("active", "s2", keyslot=0), luks("active", "s2", keyslot=5), luks("active", "s2", keyslot=8),
    luks("active", "s2", keyslot=-1), luks("active", "s2", keyslot=1 << 40),
    luks("active", "s2", iter_time=-5), luks("active", "s2", secret="s"), luks("bogus"), luks(),
    luks("inactive"), luks("inactive", new_secret="s2"), luks("inactive", iter_time=5, keyslot=1),
    luks("inactive", keyslot=7), luks("inactive", keyslot=8), luks("inactive", keyslot=-1),
    luks("inactive", keyslot=5), luks("inactive", "s", keyslot=1), luks("inactive", "s3"),
    luks("inactive", "nope"), luks("inactive", "s2"), luks("inactive", "s"),
    luks("inactive", keyslot=0), luks("active", "s2", keyslot=0))]
AMENDS += [("luks", change, True) for change in (
    luks("active", "s2", keyslot=0), luks("active", "s", keyslot=1), luks("inactive", keyslot=7),
    luks("inactive", "s2"), luks("inactive", keyslot=1), luks("inactive", keyslot=0),
    luks("active", "s"))]
AMENDS += [(node, {"encrypt": change}, None) for node in ("luks", "aes", "q") for change in (
    {"format": "qcow"}, {"format": "qcow", "key-secret": "s"}, {"format": "x"}, {})]
AMENDS += [("q", change, None) for change in (
    {"size": 5}, {"version": "v2"}, {"lazy-refcounts": True}, {"driver": "raw"}, {"driver": "x"},
    {"driver": "luks", "state": "inactive"})]
AMENDS += [("raw", {"driver": "raw"}, None), ("q-file", {"driver": "file"}, None),
           ("q", {}, True), ("q", luks("inactive"), True)]

# ---- bitmaps -------------------------------------------------------------------------------------

LONG = "x" * 1023


def reopened(read_only):
    return ("blockdev-reopen", {"options": [{"driver": "qcow2", "node-name": "n", "file": "n-file",
                                             "read-only": read_only}]})


KILL, ABORT = ("kill", {}), ("abort", {})
AGAIN = (closed(), opened())
SECRET = {"format": "luks", "key-secret": "s"}
BITMAPS = {
    "names": (bitmap("add", ""), add("a"), bitmap("add", "a"), bitmap("add", LONG),
              bitmap("add", LONG + "y"), add(LONG), bitmap("remove", LONG), add(LONG),
              add(LONG + "y"), add("\u00e4" * 511), add("\u00e4" * 512), add(" \n"), add("c/d"),
              bitmap("add", "a", "nope"), *AGAIN),
    "granularities": (*(add(f"g{size}", granularity=size) for size in (
        0, 1, 256, 511, 512, 513, 1000, 4096, MiB, 1 << 30, 1 << 31, 1 << 32, -1, "64k")), *AGAIN),
    "read-only": (add("a"), add("d", disabled=True), closed(), opened(read_only=True), add("b"),
                  bitmap("add", "b"), *(bitmap(verb, "a") for verb in ("clear", "disable", "remove")),
                  bitmap("enable", "d"), merge("b", "a"), merge("a", "b"), merge("a", "d"),
                  together(bitmap("clear", "a")), together(bitmap("remove", "a")),
                  together(bitmap("clear", "b"), bitmap("remove", "b")), reopened(False),
                  bitmap("disable", "a"), reopened(True), bitmap("clear", "a"), reopened(False),
                  bitmap("clear", "a"), *AGAIN),
    "verbs": (add("a"), add("b", disabled=True),
              *(bitmap(verb, name) for verb in ("enable", "disable", "disable", "clear")
                for name in ("a", "b", "nope")), bitmap("clear", "a", "nope"), merge("b", "a"),
              merge("b", "nope"), merge("nope", "a"), merge("a", "a"),
              merge("a", {"node": "n", "name": "b"}), merge("a", {"node": "m", "name": "b"}),
              merge("a", 5), bitmap("remove", "a"), bitmap("remove", "a"),
              bitmap("remove", "a", "nope"), *AGAIN, bitmap("remove", "b"), *AGAIN),
    "sizes": (opened("m", "c512"), opened("l", "ext"), add("a", granularity=512), add("b", "m"),
              add("c", "l", granularity=MiB), merge("a", {"node": "m", "name": "b"}),
              merge("b", {"node": "n", "name": "a"}, node="m"),
              merge("c", {"node": "m", "name": "b"}, {"node": "n", "name": "a"}, node="l"),
              resized("l", 8 * MiB), merge("c", {"node": "n", "name": "a"}, node="l"),
              resized("n", 8 * MiB), merge("c", {"node": "n", "name": "a"}, node="l"),
              resized("n", MiB), *AGAIN),
    "transactions": (
        together(add("a"), add("a")), together(add("a"), bitmap("disable", "a"), bitmap("add", "b")),
        together(bitmap("clear", "a"), bitmap("enable", "a"), bitmap("remove", "b"),
                 bitmap("remove", "nope")),
        together(bitmap("remove", "a"), add("a")), together(bitmap("remove", "a"),
                                                            bitmap("clear", "a")),
        together(merge("a", "b"), bitmap("remove", "b")),
        together(add("c", granularity=4096), merge("c", "a"), bitmap("disable", "a")),
        together(bitmap("remove", "c"), ABORT), together(add("e"), ABORT),
        together(bitmap("clear", "a"), ABORT), *AGAIN),
    "beside a job": (opened("t", "c512"), add("a"),
                     ("blockdev-backup", {"job-id": "j", "device": "n", "target": "t", "bitmap": "a",
                                          "sync": "incremental", "auto-finalize": False}),
                     *(bitmap(verb, "a") for verb in ("clear", "remove", "disable", "enable")),
                     merge("a", "a"), closed(), together(bitmap("remove", "a")),
                     ("job-cancel", {"id": "j"})),
    "below an overlay": (add("a"), opened("o", "lazy", backing=None),
                         ("blockdev-snapshot", {"node": "n", "overlay": "o"}), bitmap("clear", "a"),
                         bitmap("disable", "a"), add("b"), add("a", "o"),
                         merge("a", {"node": "n", "name": "a"}, node="o"), bitmap("remove", "a"),
                         closed("o"), *AGAIN),
    "version 2": (closed(), opened(name="v2"), add("a"), bitmap("add", "a"), closed(),
                  opened(name="v2")),
    "encrypted": (closed(), opened(name="luks", encrypt=SECRET), add("a"), add("b", granularity=512),
                  closed(), opened(name="luks", encrypt=SECRET)),
    "data file": (closed(), opened(name="df"), add("a"), closed(), opened(name="df")),
    "raw data file": (closed(), opened(name="dfr"), add("a"), closed(), opened(name="dfr")),
    "beside a snapshot": (("blockdev-snapshot-internal-sync", {"device": "n", "name": "s"}), add("a"),
                          resized("n", 8 * MiB), *AGAIN,
                          ("blockdev-snapshot-delete-internal-sync", {"device": "n", "name": "s"}),
                          *AGAIN),
    "killed, unchanged": (add("a"), add("d", disabled=True), *AGAIN, KILL, opened(),
                          bitmap("clear", "a")),
    "killed": (add("a"), add("d", disabled=True), *AGAIN, bitmap("clear", "a"), KILL, opened(),
               bitmap("add", "a"), *(bitmap(verb, "a") for verb in ("clear", "enable", "disable")),
               merge("d", "a"), merge("a", "d"), together(bitmap("clear", "a")),
               together(bitmap("remove", "a"), ABORT), closed(), opened(read_only=True),
               bitmap("remove", "a"), *AGAIN, bitmap("remove", "a"), bitmap("remove", "d"), add("a"),
               *AGAIN),
    "merge of nothing": (add("a"), merge("a")),
}


def shown(value):
    """Long names are shortened."""
    return re.sub(r"x{50,}", "xxx...", re.sub(r"(\\u00e4|\u00e4){50,}", "aaa...", value))


class Use(QmpTable):
    area, expected = "qcow2-use", os.path.join(HERE, "matrix", "qcow2-use.txt")
    head = ("Options of opening qcow2, and what then stays of it; x-blockdev-amend, and the key slots of "
            "node luks\nafter it; bitmaps after each command: granularity, bytes dirty, R recording, "
            "P persistent, B busy,\nI inconsistent.  qemu-img tells what the file holds at last.")
    differences = (
        (r"discard-no-unref|\"format\": \"auto\"", "newer than 7.2"),
        (r"cache.*-1\}", "the reason is told"),
        (r"caches: \{\"(refcount-)?cache-size\": [0-9]{13}", "memory is taken as tables are used"),
        (r"^open q: \{\"data-file\"", "that the image has none is found before another is opened"),
        (r"^open dfr?: \{\"data-file\": \"n\"", "a node is not yet there while it is opened"),
        (r"\"backing\": \"nope\"", "a node that the user named needs no explanation"),
        (r"\"backing\": \{\"driver\": (\"file\"|\"qcow2\", \"file\": \"v2-file\")",
         "stock mixes it with the name in the image"),
        (r"^amend: (luks-)?ro ", "what cannot be written is not amended"),
        (r"^amend: aes .*luks", "qemu-img amend says the same"),
        (r"^amend: .*(\"keyslot\": (-1|1099)|\"iter-time\": -5)", "the number is told as it was given"),
        (r"granularities: .*64k", "QEMU 10.0 says it so"),
        (r"^bitmaps: (sizes|beside a snapshot): ", "what a disk gains is dirty: it may have held something "
         "before it was shrunk"),
        (r"^bitmaps: killed, unchanged", "nothing had changed, so nothing is lost"),
        (r"^bitmaps: killed: ", "stock removes the bitmap though the transaction was aborted"),
        (r"^bitmaps: merge of nothing", "stock 7.2 crashes"),
    )

    def make_images(self):
        make_images()
        must("qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "none", "-F", "raw", "lost.qcow2",
             "4M")
        make_raw("x.raw", 4 * MiB)

    def parts(self):
        for name, steps in OPENS.items():
            yield f"open {name}", [(json.dumps(step), ("open", name.split(",")[0], step))
                                   for step in steps]
        yield "amend", [(f"{node} {json.dumps(change)}" + (" by force" if force else ""),
                         ("amend", node, change, force)) for node, change, force in AMENDS]
        for name, steps in BITMAPS.items():
            yield f"bitmaps: {name}", [
                (shown(f"{command} {json.dumps(arguments, ensure_ascii=False)}"),
                 ("command", command, arguments)) for command, arguments in (opened(), *steps)]

    def prepare(self, vm, part):
        for name, word in WORDS.items():
            vm.command("object-add", qom_type="secret", id=name, data=word)
        if part.startswith("open"):
            vm.add("x", "file", filename="x.raw")
            vm.add("d", "file", filename="d.raw")
            vm.add("v2-file", "file", filename="v2.qcow2", read_only=True)
            vm.add("b", "raw", file=file("x.raw"), read_only=True)
        if part == "amend":
            for name in ("q", "v2", "df"):
                vm.add(name, "qcow2", file=file(f"{name}.qcow2", **{"node-name": f"{name}-file"}))
            vm.add("luks", "qcow2", file=file("luks.qcow2"), encrypt=SECRET)
            vm.add("aes", "qcow2", file=file("aes.qcow2"), encrypt={**SECRET, "format": "aes"})
            vm.add("ro", "qcow2", file=file("c512.qcow2"), read_only=True)
            must("qemu-img", "create", "-q", "-f", "qcow2", *SECRETS, "-o", IMAGES["luks"], "l.qcow2",
                 "4M")
            vm.add("luks-ro", "qcow2", file=file("l.qcow2"), encrypt=SECRET, read_only=True)
            vm.add("lazy", "qcow2", file=file("lazy.qcow2"))
            vm.add("filter", "copy-on-read", file="lazy")
            vm.add("raw", "raw", file=file("x.raw"))

    def attempt(self, vm, step, is_compared):
        return shown(getattr(self, step[0])(vm, *step[1:]))

    def open(self, vm, name, step):
        """blockdev-add, and how the node shows it."""
        step = {"file": file(f"{name}.qcow2", **{"node-name": "n-file"}), **step}
        answer = answer_of(lambda: vm.execute("blockdev-add", {"driver": "qcow2", "node-name": "n",
                                                               **step}))
        if answer == "ok":
            row = vm.nodes()["n"]
            cache = [key for key, value in sorted(row["cache"].items()) if value]
            answer += f" {row['file']} ro={row['ro']} encrypted={row['encrypted']} {','.join(cache)}"
            answer += f" detect-zeroes={row['detect_zeroes']} backing={row.get('backing_file')}"
            vm.command("blockdev-del", node_name="n")
        return answer

    def amend(self, vm, node, change, force):
        vm.events.clear()
        answer = answer_of(lambda: finished(vm, "x-blockdev-amend", {
            "node-name": node, "options": {"driver": "qcow2", **change},
            **({"force": True} if force else {})}))
        slots = vm.nodes()["luks"]["image"]["format-specific"]["data"]["encrypt"]["slots"]
        return f"{answer}; slots {''.join('-x'[slot['active']] for slot in slots)}"

    def command(self, vm, command, arguments):
        if command == "kill":
            raise ConnectionError("killed")
        answer = answer_of(lambda: vm.execute(command, arguments))
        if command == "job-cancel":
            vm.wait_event("JOB_STATUS_CHANGE", id=arguments["id"], status="null")
        for name, row in sorted(vm.nodes().items()):
            maps = sorted((bitmap for bitmap in row.get("dirty-bitmaps", ()) if "name" in bitmap),
                          key=lambda bitmap: bitmap["name"])
            if maps and name[0] != "#":
                answer += f"; {name}:"
            for one in maps * (name[0] != "#"):
                letters = "".join(key[0].upper() for key in ("recording", "persistent", "busy",
                                                             "inconsistent") if one.get(key))
                answer += f" {one['name']}={one['granularity']}/{one['count']}{letters}"
        return answer

    def finish(self, part, answers):
        """What the file holds after bitmaps were made and removed."""
        if not part.startswith("bitmaps"):
            return
        for name in ("q", "v2", "luks", "df"):
            info = json.loads(must("qemu-img", "info", "--output=json", f"{name}.qcow2").out)
            maps = info["format-specific"]["data"].get("bitmaps", ())
            text = ", ".join(f"{one['name']} {one['granularity']} {'+'.join(one['flags'])}".strip()
                             for one in maps)
            check = run("qemu-img", "check", "-q", f"{name}.qcow2")
            if check.status:
                text += f" check {check.status}: {check.text}"
            if text:
                answers[part, f"at last in {name}.qcow2"] = shown(text)


if __name__ == "__main__":
    if not built_with("GCRYPT"):
        print("1..0 # SKIP built without libgcrypt")
        sys.exit(0)
    sys.exit(Use().main(__doc__))
