#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What becomes of a guest's discards in a qcow2 image, as blockdev-reopen says while it is used."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import must                             # noqa: E402
from nbdtest import CMD_FLUSH, CMD_TRIM, NbdClient   # noqa: E402
from qmptest import MiB, make_qcow2, run, same       # noqa: E402

FREED, KEPT = "the host has its space back", "the clusters have their place"

# Options that reopen gives, one after the other (else their defaults, but discard=unmap), and what a
# discard of 1 MiB then does.
STEPS = (
    ({}, {FREED}),
    ({"discard": "ignore"}, {KEPT}),
    ({}, {FREED}),
    ({"pass-discard-request": False}, set()),
    ({"pass-discard-request": True}, {FREED}),
    ({"discard": "ignore", "pass-discard-request": True}, {KEPT}),
    ({"discard-no-unref": True}, {FREED, KEPT}),
    ({"discard-no-unref": True, "pass-discard-request": False}, {KEPT}),
    ({"lazy-refcounts": True}, {FREED}),
    ({"cache-size": 0, "l2-cache-size": 0}, {FREED}),
    ({"l2-cache-entry-size": 512, "overlap-check": "none"}, {FREED}),
)


def space(name):
    return os.stat(name).st_blocks * 512


def is_placed(name, offset, length):
    rows = json.loads(must("qemu-img", "map", "-U", "--output=json", name).out)
    return any("offset" in row and row["start"] < offset + length and
               offset < row["start"] + row["length"] for row in rows)


def follows_the_options(vm):
    make_qcow2("i", size="16M")
    vm.add("f", "file", filename="i", discard="unmap")
    node = {"driver": "qcow2", "node-name": "n", "file": "f", "discard": "unmap"}
    vm.execute("blockdev-add", node)
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    vm.command("block-export-add", type="nbd", id="e", node_name="n", writable=True)
    with NbdClient("s", export="n") as client:
        for number, (options, wanted) in enumerate(STEPS):
            vm.command("blockdev-reopen", options=[{**node, **options}])
            client.write(number * MiB, os.urandom(MiB))
            client.call(CMD_FLUSH)
            before = space("i")
            client.call(CMD_TRIM, number * MiB, MiB)
            client.call(CMD_FLUSH)
            found = {FREED} if before - space("i") >= MiB else set()
            if is_placed("i", number * MiB, MiB):
                found.add(KEPT)
            same((options, found), (options, wanted))
    vm.command("nbd-server-stop")
    vm.command("blockdev-del", node_name="n")
    must("qemu-img", "check", "-q", "i")


run("discard", [follows_the_options])
