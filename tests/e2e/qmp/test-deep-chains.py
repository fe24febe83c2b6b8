#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Backing chains of a thousand images, and stacks of filters: opened, asked about, changed, read,
closed."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import must, run as run_tool, sanitized  # noqa: E402
from qmptest import MiB, make_qcow2, run, same  # noqa: E402

DEPTH = 1000


def make_chain():
    """c0000.qcow2 <- ... <- c0999.qcow2; the lowest holds data."""
    make_qcow2("c0000.qcow2")
    must("qemu-io", "-c", "write -P 5 1M 64k", "c0000.qcow2")
    make_qcow2("model.qcow2", "-b", "c0000.qcow2", "-F", "qcow2", size=None)
    with open("model.qcow2", "rb") as file:
        model = file.read()
    for i in range(1, DEPTH):
        with open(f"c{i:04}.qcow2", "wb") as file:
            file.write(model.replace(b"c0000.qcow2", b"c%04d.qcow2" % (i - 1)))
    return f"c{DEPTH - 1:04}.qcow2"


def a_daemon_lives_with_it(vm):
    top = make_chain()
    start = time.monotonic()
    vm.add("top", "qcow2", file={"driver": "file", "filename": top})
    seconds = time.monotonic() - start
    print(f"# opened {DEPTH} images in {seconds:.2f} s", flush=True)
    same(len(vm.command("query-named-block-nodes", flat=True)), 2 * DEPTH)
    same(len(vm.command("query-named-block-nodes")), 2 * DEPTH)
    same(len(vm.command("query-block-blockers")), 2 * DEPTH - 1)
    vm.command("query-blockstats", query_nodes=True)
    vm.command("x-debug-query-block-graph")
    make_qcow2("over.qcow2")
    vm.add("over", "qcow2", file={"driver": "file", "filename": "over.qcow2"}, backing=None)
    vm.command("blockdev-snapshot", node="top", overlay="over")
    vm.command("blockdev-set-active", active=False)
    vm.command("blockdev-set-active", active=True)
    vm.command("block_resize", node_name="over", size=8 * MiB)
    vm.null("dst", 8 * MiB)
    vm.command("blockdev-backup", job_id="j", device="over", target="dst", sync="full")
    vm.wait_event("BLOCK_JOB_COMPLETED")
    vm.command("blockdev-del", node_name="over")
    vm.command("blockdev-del", node_name="top")
    vm.command("blockdev-del", node_name="dst")
    same(vm.nodes(), {})


def filters_in_a_stack_cost_what_they_are(vm):
    """Reading through them and asking about them was quadratic and worse: minutes."""
    make_qcow2("base.qcow2")
    must("qemu-io", "-c", "write -P 5 1M 64k", "base.qcow2")
    make_qcow2("over.qcow2", "-b", "base.qcow2", "-F", "qcow2", size=None)
    empty = os.path.getsize("over.qcow2")
    vm.add("n0", "qcow2", file={"driver": "file", "filename": "over.qcow2"})
    for i in range(1, DEPTH + 1):
        vm.add(f"n{i}", "copy-on-read", file=f"n{i - 1}")
    vm.null("dst", 4 * MiB)
    vm.command("blockdev-backup", job_id="j", device=f"n{DEPTH}", target="dst", sync="full")
    vm.wait_event("BLOCK_JOB_COMPLETED")
    rows = vm.command("query-named-block-nodes")
    same(len(rows), DEPTH + 5)
    for row in rows:
        assert row["image"]["virtual-size"] > 0, row
    for i in range(DEPTH, -1, -1):
        vm.command("blockdev-del", node_name=f"n{i}")
    assert os.path.getsize("over.qcow2") > empty, "nothing was copied up"
    must("qemu-img", "compare", "over.qcow2", "base.qcow2")


def the_tools_read_and_write_through_it(vm):
    top = make_chain()
    for command in ("read -P 5 1M 64k", "read -P 0 0 64k", "write -P 6 1000 70000",
                    "read -P 6 1000 70000", "write -z 2M 64k", "discard 0 64k", "flush"):
        result = run_tool("qemu-io", "-c", command, top)
        assert result.status == 0 and "verification failed" not in result.out, result
    must("qemu-img", "check", top)
    must("qemu-img", "map", top)
    must("qemu-img", "info", "--backing-chain", top)


if sanitized():
    DEPTH = 200
run("deep-chains", [a_daemon_lives_with_it, filters_in_a_stack_cost_what_they_are,
                    the_tools_read_and_write_through_it])
