#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qcow2 images by QMP while they are used: internal snapshots, and blockdev-reopen.

The table of answers is matrix/qcow2-change.txt, which --write writes anew.  --stock PROGRAM compares
with QEMU's storage daemon; cells that differ are explained by differences."""

import filecmp
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../lib"))

from imgtest import built_with, must, run, stock         # noqa: E402
from qmptable import (IMAGES, WORDS, QmpTable, add, answer_of, bitmap, closed, file,  # noqa: E402
                      make_images, opened, options, resized, together)
from qmptest import MiB, make_raw                    # noqa: E402

LUKS = {"format": "luks", "key-secret": "s"}
AES = {"format": "aes", "key-secret": "s"}
LONG = "x" * 255
KILL, ABORT = ("kill", {}), ("abort", {})


def made(name, node="n"):
    return ("blockdev-snapshot-internal-sync", {"device": node, "name": name})


def gone(name=None, node="n", **by):
    return ("blockdev-snapshot-delete-internal-sync",
            {"device": node, **({} if name is None else {"name": name}), **by})


def reopened(*nodes, **more):
    """Of node n, or of several as pairs (node, options)."""
    nodes = nodes or [("n", more)]
    return ("blockdev-reopen", {"options": [
        {"driver": "qcow2", "node-name": node, "file": f"{node}-file", **options(**change)}
        for node, change in nodes]})


def above(driver, node="f", **more):
    return ("blockdev-add", {"driver": driver, "node-name": node, "file": "n", **options(**more)})


def started(kind, **more):
    return (kind, {"job-id": "j", "auto-finalize": False, **options(**more)})


ENDED, STOPPED = ("job-cancel", {"id": "j"}), ("block-job-cancel", {"device": "j", "force": True})
MANY = (made("a"), made("b"), gone("a"), made("c"), gone("b"), gone("c"))
AGAIN = (closed(), opened())

SNAPSHOTS = {
    "names": (made(""), made("a"), made("a"), made("1"), made("2"), made(LONG), made(LONG + "y"),
              made("x" * 65536), made("x" * 1023), made("\u00e4" * 127), made("\u00e4" * 128), made(" "), made("c/d"),
              made("a\nb"), gone(), gone(""), gone(id=""), gone("nope"), gone(id="9"), gone("a", id="9"),
              gone("a", id="2"), gone("1"), gone("2", id="3"), gone(id="1"), made("a"), gone("a"),
              gone(LONG), *AGAIN, gone("x" * 1023)),
    "devices": (made("a", "nope"), made("a", ""), made("a", "n-file"), gone("a", "nope"),
                gone("a", "n-file"), ("blockdev-add", {"driver": "raw", "node-name": "r",
                                                       "file": file("x.raw")}),
                made("a", "r"), gone("a", "r"), above("raw"), made("a", "f"), gone("a", "f"),
                made("a"), gone("a"), closed("f"), above("copy-on-read"), made("a", "f"), made("a"),
                gone("a", "f"), gone("a"), closed("f"), above("throttle", throttle_group="g"),
                made("a", "f"), gone("a", "f"), closed("f")),
    "below an overlay": (opened("o", "r", backing="n"), made("a"), made("a", "o"), gone("a"),
                         gone("a", "o"), closed("o")),
    "read-only": (made("a"), closed(), opened(read_only=True), made("b"), gone("a"), gone("nope"),
                  reopened(read_only=False), gone("a")),
    "v2": (closed(), opened(name="v2"), *MANY, made("a"), resized("n", 8 * MiB), resized("n", MiB),
           gone("a"), resized("n", 8 * MiB)),
    "cluster size": (closed(), opened(name="c512"), *MANY),
    "refcounts of a bit": (closed(), opened(name="narrow"), made("a"), gone("a")),
    "subclusters": (closed(), opened(name="ext"), *MANY),
    "luks": (closed(), opened(name="luks", encrypt=LUKS), *MANY, made("a"),
             resized("n", 8 * MiB), gone("a")),
    "aes": (closed(), opened(name="aes", encrypt=AES), *MANY),
    "data file": (closed(), opened(name="df"), made("a"), gone("a")),
    "raw data file": (closed(), opened(name="dfr"), made("a"), gone("a")),
    "overlay": (closed(), opened(name="top"), *MANY),
    "sizes": (made("a"), resized("n", 8 * MiB), made("b"), resized("n", MiB), made("c"), gone("a"),
              resized("n", 8 * MiB), gone("c"), gone("b")),
    "bitmaps": (add("p"), bitmap("add", "t"), made("a"), bitmap("clear", "p"), *AGAIN, made("b"),
                gone("a"), bitmap("remove", "p"), gone("b"), *AGAIN),
    "transactions": (
        together(made("a"), made("a")), together(made("a"), made("b"), ABORT), together(made("a"), ABORT),
        together(made("a"), made("")), together(made("a"), made("a", "nope")),
        together(made("a"), add("p"), ABORT), together(made("a"), add("p")), together(gone("a")),
        together(made("a")), opened("o", "r", backing=None),
        together(made("b"), made("b", "o")), together(made("c"), made("b", "o")),
        together(made("d"), ("blockdev-snapshot", {"node": "n", "overlay": "o"})),
        together(("blockdev-snapshot", {"node": "n", "overlay": "o"}), made("e")),
        together(("blockdev-snapshot", {"node": "n", "overlay": "o"}), made("e", "o"), ABORT),
        together(bitmap("remove", "p"), made("f"), ABORT), gone("a"), *AGAIN),
    "beside a backup": (opened("o", "r", backing=None),
                        started("blockdev-backup", device="n", target="o", sync="full"), made("a"),
                        made("a", "o"), gone("a"), ENDED, made("a"), made("a", "o")),
    "beside a mirror": (opened("o", "r", backing=None), made("a"),
                        started("blockdev-mirror", device="n", target="o", sync="full"), made("b"),
                        made("b", "o"), gone("a"), STOPPED),
    "beside a commit": (closed(), opened(name="r", node="b"), opened(name="top", backing="b"), made("a"),
                        started("block-commit", device="n"), made("b"), gone("a"), made("b", "b"),
                        STOPPED),
    "beside a stream": (closed(), opened(name="r", node="b"), opened(name="top", backing="b"), made("a"),
                        started("block-stream", device="n"), made("b"), gone("a"), made("b", "b"),
                        ENDED, gone("a")),
    "exported": (("nbd-server-start", {"addr": {"type": "unix", "data": {"path": "socket"}}}),
                 ("block-export-add", {"type": "nbd", "id": "e", "node-name": "n", "writable": True}),
                 made("a"), gone("a"), made("b"), ("nbd-server-stop", {})),
    "killed": (made("a"), made("b"), gone("a"), KILL, opened(), gone("b")),
    "amended beside": (made("a"), ("x-blockdev-amend", {"job-id": "j", "node-name": "n", "options": {
        "driver": "qcow2"}}), made("b")),
}

RW = reopened(read_only=False)
TEMPLATES = ("none", "constant", "cached", "all")
TABLES = ("main-header", "active-l1", "active-l2", "refcount-table", "refcount-block",
          "snapshot-table", "inactive-l1", "inactive-l2", "bitmap-directory")
REOPENS = {
    "options": (*(reopened(**{name: value}) for name in (
        "lazy_refcounts", "pass_discard_request", "pass_discard_snapshot", "pass_discard_other",
        "discard_no_unref") for value in (True, False)), reopened(lazy_refcounts="on"),
        *(reopened(overlap_check=name) for name in TEMPLATES),
        *(reopened(overlap_check={name: False}) for name in TABLES),
        reopened(overlap_check={"template": "none", "inactive-l2": True}),
        reopened(overlap_check={"bogus": True}), reopened(size=MiB), reopened(bogus=1),
        reopened(extended_l2=True), reopened(discard="unmap", detect_zeroes="unmap"),
        reopened(detect_zeroes="unmap"), reopened(force_share=True), reopened(auto_read_only=True),
        reopened(), ("blockdev-reopen", {"options": [{}]}),
        ("blockdev-reopen", {"options": [{"driver": "qcow2", "node-name": "n"}]}),
        ("blockdev-reopen", {"options": [{"driver": "raw", "node-name": "n", "file": "n-file"}]}),
        ("blockdev-reopen", {"options": [{"driver": "qcow2", "file": "n-file"}]}),
        ("blockdev-reopen", {"options": [{"driver": "qcow2", "node-name": "m", "file": "n-file"}]}),
        reopened(("n", {}), ("n", {})), closed()),
    "caches": (*(reopened(**{name: size}) for name in ("cache_size", "l2_cache_size",
                                                       "refcount_cache_size")
                 for size in (0, 1, MiB, 1 << 40, -1)),
               reopened(cache_size=MiB, l2_cache_size=2 * MiB),
               reopened(cache_size=MiB, l2_cache_size=MiB, refcount_cache_size=MiB),
               *(reopened(l2_cache_entry_size=size) for size in (0, 256, 512, 1000, 65536, 131072)),
               *(reopened(cache_clean_interval=size) for size in (0, 1, 600, -1, 1 << 32)),
               reopened(l2_cache_size=0, cache_clean_interval=1), reopened(), *AGAIN),
    "v2": (closed(), opened(name="v2"), reopened(lazy_refcounts=True), reopened(lazy_refcounts=False),
           reopened(discard_no_unref=True), reopened(read_only=True),
           reopened(read_only=True, lazy_refcounts=True)),
    "lazy": (closed(), opened(name="lazy"), reopened(lazy_refcounts=False), reopened(),
             reopened(read_only=True), reopened(read_only=True, lazy_refcounts=False), RW),
    "read-only": (reopened(read_only=True), reopened(read_only=False), reopened(auto_read_only=True),
                  above("raw"), reopened(read_only=True), closed("f"),
                  above("raw", read_only=True), reopened(read_only=True), RW, closed("f"),
                  reopened(read_only=True), reopened(), RW,
                  ("blockdev-reopen", {"options": [file("q.qcow2", node_name="n-file", read_only=True)]}),
                  ("blockdev-reopen", {"options": [
                      file("q.qcow2", node_name="n-file", read_only=True),
                      {"driver": "qcow2", "node-name": "n", "file": "n-file", "read-only": True}]}),
                  RW, ("blockdev-reopen", {"options": [
                      {"driver": "qcow2", "node-name": "n", "file": "n-file", "read-only": False},
                      file("q.qcow2", node_name="n-file", read_only=False)]}), *AGAIN),
    "bitmaps": (add("p"), add("d", disabled=True), bitmap("add", "t"), reopened(read_only=True),
                bitmap("clear", "p"), bitmap("add", "u"), RW, bitmap("clear", "p"), add("q"),
                reopened(read_only=True), KILL, opened(read_only=True), RW, bitmap("clear", "d"),
                bitmap("remove", "q"), reopened(read_only=True), RW, KILL, opened(),
                bitmap("remove", "p"), reopened(read_only=True), RW, *AGAIN),
    "snapshots": (made("a"), reopened(read_only=True), RW, made("b"), gone("a"),
                  reopened(read_only=True), *AGAIN),
    "luks": (closed(), opened(name="luks", encrypt=LUKS), reopened(), reopened(encrypt=LUKS),
             reopened(encrypt={**LUKS, "key-secret": "s2"}), reopened(encrypt=AES),
             reopened(encrypt={**LUKS, "key-secret": "nope"}), reopened(encrypt={"format": "luks"}),
             reopened(encrypt=LUKS, read_only=True), reopened(encrypt=LUKS, read_only=False), made("a")),
    "aes": (closed(), opened(name="aes", encrypt=AES), reopened(), reopened(encrypt=AES),
            reopened(encrypt={**AES, "key-secret": "s2"}), reopened(encrypt=LUKS)),
    "not encrypted": (reopened(encrypt=LUKS), reopened(encrypt={"format": "x"})),
    "data file": (closed(), opened(name="df"), reopened(), reopened(data_file="x"),
                  reopened(data_file=None), reopened(data_file="nope"), reopened(data_file=file("d.raw")),
                  reopened(read_only=True), RW, closed(),
                  opened(name="df", data_file=file("d.raw", node_name="d")), reopened(),
                  reopened(data_file="d"), reopened(data_file="x"), reopened(data_file=None),
                  reopened(data_file="d", read_only=True), reopened(data_file="d", read_only=False),
                  closed()),
    "no data file": (reopened(data_file="x"), reopened(data_file=None)),
    "backing": (closed(), opened(name="top"), reopened(), reopened(backing=None), reopened(backing="x"),
                reopened(), reopened(backing="nope"), reopened(backing=""), reopened(backing="n"),
                reopened(backing="n-file"), reopened(backing=file("x.raw")),
                reopened(backing="x", read_only=True), reopened(backing=None, read_only=True),
                reopened(backing="x", read_only=False), closed(), opened(name="top", backing="x"), reopened(),
                reopened(backing="x"), reopened(backing=None), *AGAIN, reopened(backing="x"),
                reopened(), reopened(backing=None)),
    "file": (("blockdev-reopen", {"options": [{"driver": "qcow2", "node-name": "n", "file": name}]})
             for name in ("x", "nope", "", None, "n", file("q.qcow2"), "n-file")),
    "several": (opened("m", "r"), reopened(("n", {"read_only": True}), ("m", {"read_only": True})),
                reopened(("n", {}), ("m", {"cache_size": -1})),
                reopened(("n", {}), ("m", {"lazy_refcounts": 1})),
                reopened(("n", {}), ("nope", {})),
                reopened(("n", {"read_only": False}), ("m", {"read_only": False})), closed("m")),
    "beside a backup": (opened("o", "r", backing=None), add("p"),
                        started("blockdev-backup", device="n", target="o", sync="full"),
                        reopened(read_only=True), reopened(read_only=False, lazy_refcounts=True),
                        reopened(backing="x"), reopened(("o", {"read_only": True})),
                        reopened(("o", {})), reopened(("o", {"backing": None})), reopened(backing=None),
                        ENDED, reopened(read_only=True), RW),
    "beside a commit": (closed(), opened(name="r", node="b"), opened(name="top", backing="b"),
                        started("block-commit", device="n"), reopened(backing="b"),
                        reopened(backing="x"), reopened(backing=None),
                        reopened(backing="b", read_only=True), reopened(("b", {"read_only": True})),
                        STOPPED, reopened(backing="x", read_only=False)),
}


def shown(value):
    """Long names are shortened."""
    return re.sub(r"x{50,}", "xxx...", re.sub(r"(\\u00e4|\u00e4){50,}", "aaa...", value))


def title(command, arguments):
    """A step in few words."""
    kind = command.removeprefix("blockdev-").removesuffix("-internal-sync")
    nodes = arguments.get("options", ()) if kind == "reopen" else [arguments] * (kind == "add")
    usual = [dict(driver="qcow2") | {"node-name": node["node-name"]} for node in nodes
             if "node-name" in node and isinstance(node.get("file"), (str, dict))]
    words = []
    for node, start in zip(nodes, usual) if len(usual) == len(nodes) else ():
        name, more = node["node-name"], {key: value for key, value in node.items()
                                         if key != "file" and start.get(key) != value}
        if node["file"] == f"{name}-file":
            words.append(f"{name} {json.dumps(more)}")
        elif isinstance(node["file"], dict) and node["file"].get("node-name") == f"{name}-file":
            words.append(f"{name} {node['file']['filename']} {json.dumps(more)}")
    if not words or len(words) != len(nodes):
        words = [json.dumps(arguments, ensure_ascii=False)]
    return shown(" ".join((kind, *words)).removesuffix(" {}"))


def snapshots_of(image):
    return " ".join(f"{one['id']}:{one['name']}".replace("\n", "/") for one in image.get("snapshots", ()))


class Change(QmpTable):
    area, expected = "qcow2-change", os.path.join(HERE, "matrix", "qcow2-change.txt")
    head = ("Internal snapshots of qcow2 by QMP, and what nodes have after each command, as id:name;\n"
            "blockdev-reopen, and how node n is then.  At last what qemu-img finds in the images.")
    differences = (
        (r"^snapshots: names: ", "stock cuts names off after 255 bytes, so that two have the same"),
        (r"^snapshots: read-only: ", "stock forgets the snapshot that it could not delete"),
        (r"^snapshots: (raw )?data file: ", "the reason is told"),
        (r"^snapshots: transactions: add n ", "names are looked at before files are opened"),
        (r"discard-no-unref", "newer than 7.2"),
        (r"options: reopen n \{\"detect-zeroes\": \"unmap\"", "the two options are looked at together"),
        (r"options: reopen n \{\"force-share\"", "the reason is told"),
        (r"cache-size\": 1099511627776", "memory is taken as tables are used"),
        (r"cache-size\": -1", "the reason is told"),
        (r"^reopen: read-only: reopen n$", "stock leaves the file read-only"),
        (r"^reopen: bitmaps: ", "bitmaps are in use from the first change on, and there was none"),
        (r"^reopen: (luks|aes): .*\"(s2|nope)\"", "stock takes a secret that it never looks at"),
        (r"^reopen: .*: reopen n \{\"encrypt\": \{\"format\": ", "the format is an option like others"),
        (r"^reopen: data file: reopen n", "stock asks for the file that the image names"),
    )

    def make_images(self):
        make_images()
        make_raw("x.raw", 4 * MiB)

    def parts(self):
        for group, tables in (("snapshots", SNAPSHOTS), ("reopen", REOPENS)):
            for name, steps in tables.items():
                yield f"{group}: {name}", [(title(*step), step) for step in (opened(), *steps)]

    def prepare(self, vm, part):
        for name, word in WORDS.items():
            vm.command("object-add", qom_type="secret", id=name, data=word)
        vm.command("object-add", qom_type="throttle-group", id="g")
        if part.startswith("reopen"):
            vm.add("x", "file", filename="x.raw")

    def attempt(self, vm, step, is_compared):
        command, arguments = step
        if command == "kill":
            raise ConnectionError("killed")
        answer = answer_of(lambda: vm.execute(command, arguments))
        if command in ("job-cancel", "block-job-cancel") and answer == "ok":
            vm.wait_event("JOB_STATUS_CHANGE", id="j", status="null")
        elif command in ("blockdev-backup", "blockdev-mirror", "block-commit", "block-stream",
                         "x-blockdev-amend") and answer == "ok":
            self.settle(vm, arguments["job-id"])
        return shown(answer + self.state(vm, command))

    @staticmethod
    def settle(vm, job):
        """The job has done what it does before it is told to end."""
        while True:
            event = vm.wait_event("JOB_STATUS_CHANGE", id=job)
            if event["data"]["status"] in ("pending", "ready", "concluded"):
                return

    @staticmethod
    def state(vm, command):
        text, nodes = "", vm.nodes()
        for name, row in sorted(nodes.items()):
            if name[0] != "#" and row["drv"] == "qcow2":
                text += f"; {name} {snapshots_of(row['image'])}".rstrip() * ("snapshots" in row["image"])
                maps = sorted((one for one in row.get("dirty-bitmaps", ()) if "name" in one),
                              key=lambda one: one["name"])
                for one in maps:
                    text += f"; {one['name']}" + "".join(key[0].upper() for key in (
                        "recording", "persistent", "busy", "inconsistent") if one.get(key))
        if command == "blockdev-reopen" and "n" in nodes:
            row = nodes["n"]
            text += "; " + "rw ro".split()[row["ro"]] + f" {row['detect_zeroes']}"
            text += f" backing={row.get('backing_file')} {row['image']['virtual-size'] // 1024}k"
        return text

    def finish(self, part, answers):
        """What the files hold."""
        for name in IMAGES:
            if filecmp.cmp(f"{name}.qcow2", os.path.join("kept", f"{name}.qcow2"), shallow=False):
                continue
            info = json.loads(must("qemu-img", "info", "--output=json", f"{name}.qcow2").out)
            text = snapshots_of(info)
            for one in info["format-specific"]["data"].get("bitmaps", ()):
                text += f"; {one['name']} {'+'.join(one['flags'])}".rstrip()
            for program in filter(None, ("qemu-img", stock("qemu-img"))):
                check = run(program, "check", "-q", f"{name}.qcow2")
                if check.status:
                    text += f"; check {check.status}: {check.text}"
            if text:
                answers[part, f"at last in {name}.qcow2"] = shown(text.lstrip("; "))


if __name__ == "__main__":
    if not built_with("GCRYPT"):
        print("1..0 # SKIP built without libgcrypt")
        sys.exit(0)
    sys.exit(Change().main(__doc__))
