#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""One I/O error during each job under each policy: what clients are told, in which order.

Prints the table and compares it with matrix/errors.txt; --write writes that file.  --stock PROGRAM
tells where another storage daemon says otherwise."""

import os
import shutil
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../lib"))

from celltable import TableTest           # noqa: E402
from imgtest import must, run             # noqa: E402
from qmptest import QMPError, Vm          # noqa: E402

EXPECTED = os.path.join(HERE, "matrix", "errors.txt")
HEAD = """\
One read or write (rows) of a job (headings) fails under each policy (columns): the events.
What is stopped is resumed, what is ready is completed, and the error happens only once.
Written by test-job-errors.py --write.""".splitlines()

POLICIES = ("REPORT", "IGNORE", "STOP", "ENOSPC")
# Name: command, arguments, image that is read, image that is written, options of policies.
ONE, TWO = ("on-error",), ("on-source-error", "on-target-error")
JOBS = {
    "stream": ("block-stream", {"device": "top"}, "base", "top", ONE),
    "commit of the middle": ("block-commit", {"device": "top", "top-node": "mid",
                                              "base-node": "base"}, "mid", "base", ONE),
    "commit of the top": ("block-commit", {"device": "top", "base-node": "base"}, "top", "base",
                          ONE),
    "mirror": ("blockdev-mirror", {"device": "top", "target": "target", "sync": "full"}, "base",
               "target", TWO),
    "backup": ("blockdev-backup", {"device": "top", "target": "target", "sync": "full"}, "base",
               "target", TWO),
}
ROWS = {"read fails with EIO": ("read", 5), "write fails with EIO": ("write", 5),
        "write fails with ENOSPC": ("write", 28)}
CHAIN = ("base", "mid", "top")


def make_images():
    """In folder 'fresh', and what the disk shows, 'wanted'."""
    os.mkdir("fresh")
    os.chdir("fresh")
    for i, name in enumerate(CHAIN):
        backing = ["-b", CHAIN[i - 1], "-F", "qcow2"] if i else []
        must("qemu-img", "create", "-q", "-f", "qcow2", *backing, name, *(["1M"] if not i else []))
        must("qemu-io", "-t", "unsafe", "-f", "qcow2", "-c",
             f"write -q -P {i + 1} {i * 128}k 192k", name)
    must("qemu-img", "convert", "-O", "raw", "top", "../wanted")
    os.chdir("..")


def open_nodes(vm, event, number, broken):
    """qcow2 images; the first time that data of @broken are read or written fails."""
    must("qemu-img", "create", "-q", "-f", "qcow2", "target", "1M")
    for name in (*CHAIN, "target"):
        file = {"driver": "file", "filename": name, "cache": {"no-flush": True}}
        if name == broken:
            file = {"driver": "blkdebug", "image": file,
                    "inject-error": [{"event": event, "errno": number, "once": True}]}
        image = {"driver": "qcow2", "node-name": name, "file": file,
                 "read-only": name in CHAIN[:2]}
        if name in CHAIN[1:]:
            image["backing"] = CHAIN[CHAIN.index(name) - 1]
        vm.execute("blockdev-add", image)


def resume(vm):
    """Go on with a job that has stopped; its I/O status."""
    row, = vm.command("query-block-jobs")
    vm.command("job-resume", id="j")
    return row["io-status"]


def story(vm):
    """Events up to the end, as words."""
    words = []
    while True:
        event = vm.next_event()
        name, data = event["event"], event["data"]
        if name == "BLOCK_JOB_ERROR":
            words.append(f"{data['operation']}:{data['action']}")
        elif name == "BLOCK_JOB_COMPLETED":
            words.append("done" + (f":{data['error']}" if "error" in data else ""))
        elif name != "JOB_STATUS_CHANGE":
            words.append(name.replace("BLOCK_JOB_", "").lower())
        elif data["status"] == "null":
            return ", ".join(words)
        if data.get("status") == "paused" and words and words[-1].endswith(":stop"):
            words.append(resume(vm))
        if name == "BLOCK_JOB_READY":
            vm.command("job-complete", id="j")


def images_are_right(name, told):
    """Whatever happened, the chain shows what it showed; what was completed is all there."""
    copy = {"commit of the top": "base", "mirror": "target", "backup": "target"}.get(name)
    for image in ("top", *([copy] if copy and told.endswith("done") else [])):
        done = run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "wanted", image)
        if done.status != 0:
            return f"{image} is wrong"
        if run("qemu-img", "check", "-q", image).status != 0:
            return f"{image} does not check"
    return ""


def answer(program, name, row, policy):
    command, arguments, read, written, options = JOBS[name]
    kind, number = ROWS[row]
    for image in CHAIN:
        shutil.copyfile(f"fresh/{image}", image)
    with Vm(program=program) as vm:
        open_nodes(vm, f"{kind}_aio", number, read if kind == "read" else written)
        try:
            vm.execute(command, {"job-id": "j", **arguments, **{key: policy for key in options}})
            told = story(vm)
        except QMPError as error:
            return error.desc
    wrong = "" if program.startswith("/") else images_are_right(name, told)
    return f"{told} BUT {wrong}" if wrong else told


def ask(program, names):
    make_images()
    return {(name, row): [answer(program, name, row, policy) for policy in map(str.lower, POLICIES)]
            for name in names for row in ROWS}


TableTest(EXPECTED, HEAD, POLICIES, JOBS, ask).main()
