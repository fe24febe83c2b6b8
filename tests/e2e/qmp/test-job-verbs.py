#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What jobs are told in each status that a client can see: accepted, or refused with which words.

Prints the table and compares it with matrix/verbs.txt; --write writes that file.  --stock PROGRAM
tells where another storage daemon answers otherwise."""

import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../lib"))

from celltable import TableTest           # noqa: E402
from qmptest import MiB, QMPError, Vm     # noqa: E402

EXPECTED = os.path.join(HERE, "matrix", "verbs.txt")
HEAD = """\
What is told (rows) to a job (headings) in each status (columns): the answers.
'waiting' is a job of a group whose other job works on.
Written by test-job-verbs.py --write.""".splitlines()

STATUSES = ("running", "paused", "ready", "standby", "waiting", "pending", "concluded")
JOBS = {"mirror": "blockdev-mirror", "backup": "blockdev-backup"}
MANUAL = {"auto-finalize": False, "auto-dismiss": False}

VERBS = [(verb, verb, {"id": "j"}) for verb in
         ("job-pause", "job-resume", "job-cancel", "job-complete", "job-finalize", "job-dismiss")]
VERBS += [(verb, verb, {"device": "j"}) for verb in
          ("block-job-pause", "block-job-resume", "block-job-cancel", "block-job-complete")]
VERBS += [(verb, verb, {"id": "j"}) for verb in ("block-job-finalize", "block-job-dismiss")]
VERBS += [
    ("block-job-cancel, force", "block-job-cancel", {"device": "j", "force": True}),
    ("block-job-set-speed", "block-job-set-speed", {"device": "j", "speed": MiB}),
    ("block-job-set-speed, wrong", "block-job-set-speed", {"device": "j", "speed": -1}),
    ("block-job-change", "block-job-change",
     {"id": "j", "type": "mirror", "copy-mode": "write-blocking"}),
]


def wait_status(vm, status):
    vm.wait_event("JOB_STATUS_CHANGE", id="j", status=status)


def start(vm, name, status):
    """A job in @status; False if such a job never is."""
    speed = 1 if status in ("running", "paused") else 0
    arguments = {"job-id": "j", "device": "src", "target": "dst", "sync": "full",
                 "speed": speed, **MANUAL}
    if name == "backup" and status in ("ready", "standby") or \
            name == "mirror" and status == "waiting":
        return False
    if status == "waiting":
        other = {**arguments, "job-id": "k", "device": "src2", "target": "dst2", "speed": 1}
        vm.execute("transaction", {
            "properties": {"completion-mode": "grouped"},
            "actions": [{"type": JOBS[name], "data": data} for data in (arguments, other)]})
        wait_status(vm, "waiting")
        return True
    vm.execute(JOBS[name], arguments)
    if name == "mirror" and status not in ("running", "paused"):
        wait_status(vm, "ready")
        if status in ("pending", "concluded"):
            vm.command("job-complete", id="j")
    if status in ("paused", "standby"):
        vm.command("job-pause", id="j")
        wait_status(vm, status)
    if status in ("pending", "concluded"):
        wait_status(vm, "pending")
    if status == "concluded":
        vm.command("job-finalize", id="j")
        wait_status(vm, "concluded")
    return True


def answer(program, name, verb, status):
    _, command, arguments = verb
    with Vm(program=program) as vm:
        for node in ("src", "dst", "src2", "dst2"):
            vm.null(node, 4 * MiB, read_zeroes=True)
        if not start(vm, name, status):
            said = "-"
        else:
            try:
                vm.execute(command, arguments)
                said = "ok"
            except QMPError as error:
                said = "-" if error.error_class == "CommandNotFound" else error.desc
        # No clean end: that is another test's.
        vm.process.kill()
        vm.process.wait()
    return said


def ask(program, names):
    return {(name, verb[0]): [answer(program, name, verb, status) for status in STATUSES]
            for name in names for verb in VERBS}


TableTest(EXPECTED, HEAD, STATUSES, JOBS, ask).main()
