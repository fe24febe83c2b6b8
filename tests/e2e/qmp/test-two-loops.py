#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Two iothreads serve one node through filters of one throttle group, while a client of QMP changes
all that may be changed of it.  Each NBD client has a half of the disk and knows what must be there.
Under ThreadSanitizer this finds state that is shared without care.  $TEST_SEED and $ROUNDS."""

import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from nbdtest import NbdClient                                    # noqa: E402
from qmptest import MiB, QMPError, make_qcow2, run, same         # noqa: E402
import seeds                                                     # noqa: E402

COMMANDS = int(400 * float(os.environ.get("ROUNDS", 1)))
HALF = 2 * MiB


class Guest(threading.Thread):
    """Writes and reads in its half, until it is told to end."""

    def __init__(self, number):
        super().__init__()
        self.random, self.start_at = seeds.rng(number), number * HALF
        self.client, self.model = NbdClient("s", export=f"t{number}"), bytearray(HALF)
        self.is_over, self.failure, self.count = False, None, 0

    def step(self):
        offset = self.random.randrange(0, HALF - 65536) & ~511
        length = self.random.randrange(1, 128) * 512
        kind = self.random.randrange(4)
        if kind == 0:
            self.client.flush()
        elif kind == 1:
            same(self.client.read(self.start_at + offset, length),
                 bytes(self.model[offset:offset + length]))
        else:
            data = bytes([self.random.randrange(256)]) * length
            self.client.write(self.start_at + offset, data)
            self.model[offset:offset + length] = data

    def run(self):
        try:
            while not self.is_over or self.count < 20:
                self.step()
                self.count += 1
            same(self.client.read(self.start_at, HALF), bytes(self.model))
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error

    def end(self):
        self.is_over = True
        self.join()
        self.client.close()
        if self.failure:
            raise self.failure


def commands(rnd):
    """One of each kind of command, with random arguments."""
    bitmap = {"node": "q", "name": f"b{rnd.randrange(3)}"}
    throttle = {"driver": "throttle", "node-name": "t0", "file": "q",
                "throttle-group": rnd.choice(["g", "h"])}
    qcow2 = {"driver": "qcow2", "node-name": "q", "file": "f", "backing": "base",
             "detect-zeroes": rnd.choice(["on", "off"]), "discard": rnd.choice(["ignore", "unmap"]),
             "l2-cache-size": rnd.choice([65536, 1 << 20])}
    return (("block-dirty-bitmap-add", {**bitmap, "persistent": bool(rnd.randrange(2))}),
            *((f"block-dirty-bitmap-{verb}", bitmap) for verb in ("remove", "enable", "disable",
                                                                 "clear")),
            ("block-set-write-threshold", {"node-name": rnd.choice(["q", "f", "t0"]),
                                           "write-threshold": rnd.randrange(2 * HALF)}),
            ("qom-set", {"path": "/objects/g", "property": "limits",
                         "value": {"iops-total": rnd.randrange(1000, 9000)}}),
            ("qom-set", {"path": "/objects/io0", "property": "poll-max-ns",
                         "value": rnd.choice([0, 32768])}),
            ("query-named-block-nodes", {}), ("query-blockstats", {"query-nodes": True}),
            ("query-block-blockers", {}), ("x-debug-query-block-graph", {}),
            ("blockdev-reopen", {"options": [throttle]}), ("blockdev-reopen", {"options": [qcow2]}))


def all_may_change_under_two_loops(vm):
    rnd = seeds.rng()
    make_qcow2("base.qcow2")
    make_qcow2("q.qcow2", "-b", "base.qcow2", "-F", "qcow2", size=None)
    for group in "gh":
        vm.command("object-add", qom_type="throttle-group", id=group,
                   limits={"bps-total": 200 * MiB})
    vm.execute("blockdev-add", {"driver": "qcow2", "node-name": "base", "read-only": True,
                                "file": {"driver": "file", "filename": "base.qcow2"}})
    vm.add("q", "qcow2", backing="base", file={"driver": "file", "node-name": "f",
                                               "filename": "q.qcow2"})
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    for i in range(2):
        vm.command("object-add", qom_type="iothread", id=f"io{i}")
        vm.execute("blockdev-add", {"driver": "throttle", "node-name": f"t{i}", "file": "q",
                                    "throttle-group": "g"})
        vm.command("block-export-add", type="nbd", id=f"e{i}", node_name=f"t{i}", writable=True,
                   iothread=f"io{i}")
    guests = [Guest(i) for i in range(2)]
    for guest in guests:
        guest.start()
    accepted = 0
    for _ in range(COMMANDS):
        name, arguments = rnd.choice(commands(rnd))
        try:
            vm.execute(name, arguments)
            accepted += 1
        except QMPError as error:
            assert "itmap" in error.desc, error  # which is there, or is not
    for guest in guests:
        guest.end()
    assert accepted > COMMANDS / 3


run("two-loops", [all_may_change_under_two_loops])
