#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The tree of objects (qom-*), and commands that are about one node."""

import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from nbdtest import NbdClient  # noqa: E402
from qmptest import make_raw, run, same  # noqa: E402

ERROR = {"error_class": "DeviceNotFound"}


def names(rows):
    return [row["name"] for row in rows]


def the_daemon_shows_its_objects(vm):
    vm.command("object-add", qom_type="iothread", id="io0", poll_max_ns=7)
    vm.command("object-add", qom_type="throttle-group", id="g", limits={"iops-total": 100})
    same(vm.command("qom-list", path="/"), [{"name": "type", "type": "string"},
                                            {"name": "objects", "type": "child<container>"}])
    same(vm.command("qom-list", path="/objects"),
         [{"name": "type", "type": "string"}, {"name": "io0", "type": "child<iothread>"},
          {"name": "g", "type": "child<throttle-group>"}])
    same(vm.command("qom-get", path="/objects/io0", property="poll-max-ns"), 7)
    vm.command("qom-set", path="io0", property="poll-max-ns", value=9)
    same(vm.command("qom-get", path="io0", property="poll-max-ns"), 9)
    vm.command("object-add", qom_type="iothread", id="io1", poll_weight=3)
    same(vm.command("qom-get", path="io1", property="poll-weight"), 3)
    vm.refused(f"poll-weight value must be in range [0, {2 ** 63 - 1}]", "object-add",
               qom_type="iothread", id="io2", poll_weight=-1)
    vm.command("qom-set", path="io0", property="aio-max-batch", value=16)
    same(vm.command("qom-get", path="io0", property="aio-max-batch"), 16)
    same(vm.command("qom-get", path="/objects/g", property="type"), "throttle-group")
    same(vm.command("qom-get", path="g", property="limits")["iops-total"], 100)
    for row in vm.command("qom-list", path="io0"):
        vm.command("qom-get", path="io0", property=row["name"])


def values_come_together(vm):
    vm.command("object-add", qom_type="iothread", id="io0", poll_max_ns=7)
    folder, thread = (r["properties"] for r in vm.command("qom-list-get",
                                                          paths=["/objects", "io0"]))
    same(folder, [{"name": "type", "type": "string", "value": "container"},
                  {"name": "io0", "type": "child<iothread>"}])
    same([{"name": r["name"], "type": r["type"]} for r in thread],
         [{"name": r["name"], "type": r["type"]} for r in vm.command("qom-list", path="io0")])
    same({r["name"]: r["value"] for r in thread},
         {n: vm.command("qom-get", path="io0", property=n) for n in names(thread)})
    vm.refused("Device 'x' not found", "qom-list-get", paths=["io0", "x"], **ERROR)


def what_is_not_there_is_refused(vm):
    vm.command("object-add", qom_type="iothread", id="io0")
    vm.refused("Device '/objects/x' not found", "qom-list", path="/objects/x", **ERROR)
    vm.refused("Device '/objectsx' not found", "qom-list", path="/objectsx", **ERROR)
    vm.refused("Device '' not found", "qom-list", path="", **ERROR)
    vm.refused("Property 'iothread.x' not found", "qom-get", path="io0", property="x")
    vm.refused("Property 'container.x' not found", "qom-set", path="/objects", property="x",
               value=1)
    vm.refused("Class 'x' not found", "qom-list-properties", typename="x", **ERROR)
    vm.refused("Device 'x' not found", "block-set-write-threshold", node_name="x",
               write_threshold=1)


def types_have_properties(vm):
    rows = vm.command("qom-list-types")
    assert {"iothread", "throttle-group"} <= set(names(rows)), rows
    for name in names(rows):
        assert names(vm.command("qom-list-properties", typename=name))[0] == "type"
    same(names(vm.command("qom-list-types", implements="iothread")), ["iothread"])
    same(vm.command("qom-list-types", implements="nothing"), [])


def a_write_threshold_is_told_once(vm):
    vm.null("n")
    vm.command("block-set-write-threshold", node_name="n", write_threshold=65536)
    same(vm.nodes()["n"]["write_threshold"], 65536)
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "nbd.sock"}})
    vm.command("block-export-add", type="nbd", id="e", node_name="n", writable=True)
    with NbdClient("nbd.sock", "n") as client:
        client.write(61440, bytes(4096))
        client.write(65536, bytes(4096))
        client.write(65536, bytes(8192))
    event = vm.wait_event("BLOCK_WRITE_THRESHOLD")
    same(event["data"], {"node-name": "n", "amount-exceeded": 4096, "write-threshold": 65536})
    same(vm.nodes()["n"]["write_threshold"], 0)


def old_commands_make_exports(vm):
    vm.null("n")
    vm.refused("Cannot find device='x' nor node-name='x'", "nbd-server-add", device="x")
    vm.refused("NBD server not running", "nbd-server-add", device="n")
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "nbd.sock"}})
    vm.command("nbd-server-add", device="n", name="e", writable=True)
    vm.refused("Block export id 'e' is already in use", "nbd-server-add", device="n",
               name="e")
    vm.command("nbd-server-add", device="n")
    same(sorted(row["id"] for row in vm.command("query-block-exports")), ["e", "n"])
    vm.command("nbd-server-remove", name="e")
    vm.command("nbd-server-remove", name="n", mode="hard")
    vm.refused("Export 'e' is not found", "nbd-server-remove", name="e")
    vm.command("nbd-server-stop")


def the_main_loop_has_an_object(vm):
    main = {"qom_type": "main-loop", "id": "m"}
    wrong = "bad thread-pool-min/thread-pool-max values"
    vm.refused(wrong, "object-add", thread_pool_min=5, thread_pool_max=4, **main)
    vm.refused(wrong, "object-add", thread_pool_max=0, **main)
    vm.refused("thread-pool-min value must be in range [0, 9223372036854775807]", "object-add",
               thread_pool_min=-1, **main)
    vm.command("object-add", thread_pool_min=1, thread_pool_max=2, **main)
    vm.refused("only one main-loop instance allowed", "object-add", qom_type="main-loop", id="m2")
    vm.refused("object 'm' is in use, can not be deleted", "object-del", id="m")
    same(vm.command("qom-get", path="m", property="thread-pool-max"), 2)
    vm.refused(wrong, "qom-set", path="m", property="thread-pool-max", value=0)
    vm.refused(wrong, "qom-set", path="m", property="thread-pool-min", value=3)
    vm.refused("Property 'main-loop.x' not found", "qom-set", path="m", property="x", value=3)
    vm.command("qom-set", path="m", property="thread-pool-max", value=3)
    same(vm.command("qom-get", path="m", property="thread-pool-max"), 3)
    # A job's reads of a file are the work of threads; these limits hold for them.
    make_raw("r.raw")
    vm.add("r", "file", filename="r.raw")
    vm.null("t")
    vm.command("blockdev-backup", job_id="j", device="r", target="t", sync="full")
    vm.wait_event("BLOCK_JOB_COMPLETED", device="j")
    workers = 0
    for task in os.listdir(f"/proc/{vm.process.pid}/task"):
        with open(f"/proc/{vm.process.pid}/task/{task}/comm", encoding="utf-8") as name:
            workers += name.read().startswith("worker")
    assert workers <= 3, workers


def iothreads_leave_workers_to_the_main_loop(vm):
    vm.refused("The workers serve all loops: thread-pool-min and thread-pool-max belong to the "
               "main-loop object", "object-add", qom_type="iothread", id="i", thread_pool_max=3)
    vm.refused(f"aio-max-batch value must be in range [0, {2**63 - 1}]",
               "object-add", qom_type="iothread", id="i", aio_max_batch=-3)
    vm.command("object-add", qom_type="iothread", id="i", aio_max_batch=3)
    same(vm.command("qom-get", path="i", property="aio-max-batch"), 3)


def reservations_have_a_manager(vm):
    manager = {"qom_type": "pr-manager-helper", "id": "pr0", "path": os.path.abspath("pr.sock")}
    make_raw("r.raw")
    disk = {"driver": "file", "node-name": "r", "filename": "r.raw"}
    vm.refused(f"Failed to connect to '{manager['path']}': No such file or directory",
               "object-add", **manager)
    vm.refused("No persistent reservation manager with id 'pr0'", "blockdev-add",
               **disk, pr_manager="pr0")
    same(vm.command("query-pr-managers"), [])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(manager["path"])
        listener.listen(0)
        vm.command("object-add", **manager)
        same(vm.wait_event("PR_MANAGER_STATUS_CHANGED")["data"], {"id": "pr0", "connected": True})
        same(vm.command("query-pr-managers"), [{"id": "pr0", "connected": True}])
        same(vm.command("qom-get", path="pr0", property="path"), manager["path"])
        # Nobody waits for a helper that takes no more connections.
        vm.refused(f"Failed to connect to '{manager['path']}': Resource temporarily unavailable",
                   "object-add", **{**manager, "id": "pr1"})
    vm.command("blockdev-add", **disk, pr_manager="pr0")
    vm.refused("object 'pr0' is in use, can not be deleted", "object-del", id="pr0")
    vm.command("blockdev-reopen", options=[{**disk, "pr-manager": "pr0", "read-only": True}])
    vm.refused("Option 'pr-manager' cannot be reset to its default value", "blockdev-reopen",
               options=[disk])
    vm.command("blockdev-del", node_name="r")
    vm.command("object-del", id="pr0")


run("objects", [the_daemon_shows_its_objects, values_come_together, what_is_not_there_is_refused,
                types_have_properties, a_write_threshold_is_told_once, old_commands_make_exports,
                the_main_loop_has_an_object, reservations_have_a_manager,
                iothreads_leave_workers_to_the_main_loop])
