#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Exports, and the NBD server against good and bad clients."""

import glob
import os
import random
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

import nbdtest as nbd  # noqa: E402
from nbdtest import NbdClient, NbdError  # noqa: E402
from qmptest import MiB, by_an_iothread, make_raw, run, same  # noqa: E402
import seeds                                                  # noqa: E402

EINVAL = 22


def start(vm, **options):
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}}, **options)


def export(vm, exp_id="e", node="a", **options):
    vm.command("block-export-add", type="nbd", id=exp_id, node_name=node,
               **{**vm.served_by, **options})


def export_file(vm, **options):
    make_raw("r.raw")
    vm.add("a", "raw", file={"driver": "file", "filename": "r.raw"})
    start(vm)
    export(vm, **options)


def fails(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except NbdError as caught:
        same(caught.args[0], error)
        return
    raise AssertionError("the request was carried out")


def ids_and_servers_are_checked(vm):
    vm.null("a")
    add = {"type": "nbd", "node_name": "a"}
    vm.refused("NBD server not running", "block-export-add", id="e", **add)
    start(vm)
    vm.refused("NBD server already running", "nbd-server-start",
               addr={"type": "unix", "data": {"path": "s2"}})
    vm.refused("Invalid block export id", "block-export-add", id="9", **add)
    vm.refused("Cannot find device='' nor node-name='x'", "block-export-add", type="nbd", id="e",
               node_name="x")
    export(vm)
    vm.refused("Block export id 'e' is already in use", "block-export-add", id="e", **add)
    vm.refused("NBD server already has export named 'a'", "block-export-add", id="f", **add)
    vm.refused("Export 'f' is not found", "block-export-del", id="f")
    same(vm.command("query-block-exports"),
         [{"id": "e", "type": "nbd", "node-name": "a", "shutting-down": False}])
    vm.command("nbd-server-stop")
    same(vm.command("query-block-exports"), [])
    vm.refused("NBD server not running", "nbd-server-stop")


def a_read_only_node_is_not_exported_writable(vm):
    vm.null("a", read_only=True)
    start(vm)
    vm.refused("Cannot export read-only node as writable", "block-export-add", type="nbd",
               id="e", node_name="a", writable=True)


def an_export_in_use_goes_by_force_only(vm):
    vm.null("a")
    start(vm)
    export(vm)
    client = NbdClient("s", "a")
    vm.refused("export 'e' still in use", "block-export-del", id="e")
    vm.command("block-export-del", id="e", mode="hard")
    assert client.is_closed()
    vm.wait_event("BLOCK_EXPORT_DELETED", id="e")
    vm.command("blockdev-del", node_name="a")


def data_arrives(vm):
    export_file(vm, writable=True)
    with NbdClient("s", "a") as client:
        same(client.size, MiB)
        client.write(1000, b"hello", nbd.FLAG_FUA)
        same(client.read(999, 7), b"\0hello\0")
        client.call(nbd.CMD_WRITE_ZEROES, 1000, 2)
        same(client.read(1000, 5), b"\0\0llo")
        client.call(nbd.CMD_TRIM, 4096, 4096)
        client.flush()
    with open("r.raw", "rb") as image:
        same(image.read()[1000:1005], b"\0\0llo")


def many_requests_run_at_once(vm):
    rng = random.Random(3)
    export_file(vm, writable=True)
    with NbdClient("s", "a") as client:
        blocks = {n: rng.randbytes(4096) for n in rng.sample(range(256), 100)}
        waiting = {client.request(nbd.CMD_WRITE, n * 4096, 4096, data)
                   for n, data in blocks.items()}
        while waiting:
            error, cookie, _ = client.reply()
            same(error, 0)
            waiting.remove(cookie)
        for n, data in blocks.items():
            same(client.read(n * 4096, 4096), data)


def bad_requests_are_answered(vm):
    export_file(vm, writable=True)
    with NbdClient("s", "a") as client:
        fails(EINVAL, client.read, MiB, 512)
        fails(EINVAL, client.read, MiB - 1, 2)
        fails(EINVAL, client.read, 2**64 - 1, 2)
        fails(EINVAL, client.read, 0, 33 * MiB)
        fails(EINVAL, client.write, MiB, b"x" * 512)
        fails(EINVAL, client.call, 42)
        fails(EINVAL, client.call, 65535, flags=65535)
        fails(EINVAL, client.call, nbd.CMD_READ, 0, 1, flags=4)
        same(client.read(0, 0), b"")
        same(client.read(0, 4), b"\0\0\0\0")


def a_read_only_export_is_not_written(vm):
    export_file(vm)
    with NbdClient("s", "a") as client:
        same(client.flags & 2, 2)
        fails(EINVAL, client.write, 0, b"x")
        fails(EINVAL, client.call, nbd.CMD_TRIM, 0, 512)
        fails(EINVAL, client.call, nbd.CMD_WRITE_ZEROES, 0, 512)
        same(client.read(0, 1), b"\0")


def options_are_answered(vm):
    vm.null("a")
    start(vm)
    export(vm, name="x", description="text")
    with NbdClient("s") as client:
        same(client.option(99)[0], (nbd.ERR_UNSUP, b"Unsupported option 99 (<unknown>)"))
        same(client.option(nbd.OPT_LIST), [(nbd.REP_SERVER, b"\0\0\0\1xtext"),
                                           (nbd.REP_ACK, b"")])
        same(client.option(nbd.OPT_LIST, b"x")[0][0], nbd.ERR_INVALID)
        same(client.option(nbd.OPT_STARTTLS)[0], (nbd.ERR_POLICY, b"TLS not configured"))
        same(client.option(nbd.OPT_INFO, client.info_data("nope")),
             [(nbd.ERR_UNKNOWN, b"export 'nope' not present")])
        same(client.option(nbd.OPT_INFO, client.info_data("x", 1, 2, 3))[:2],
             [(nbd.REP_INFO, b"\0\1x"), (nbd.REP_INFO, b"\0\2text")])
        same(client.option(nbd.OPT_ABORT), [(nbd.REP_ACK, b"")])
        assert client.is_closed()


def an_old_client_enters_by_name(vm):
    vm.null("a", read_zeroes=True)
    start(vm)
    export(vm)
    for flags, zeroes in ((0, 124), (2, 0)):
        with NbdClient("s", flags=flags) as client:
            client.send(struct.pack(">QII", nbd.IHAVEOPT, nbd.OPT_EXPORT_NAME, 1) + b"a")
            same(struct.unpack(">Q", client.recv(8))[0], MiB)
            client.recv(2 + zeroes)
            same(client.read(0, 4), b"\0\0\0\0")


def nonsense_ends_the_connection(vm):
    vm.null("a")
    start(vm)
    export(vm)
    option = struct.pack(">Q", nbd.IHAVEOPT)
    for data in (b"\0" * 16, option + struct.pack(">II", 3, 2**32 - 1),
                 option + struct.pack(">II", 3, 33 * MiB),
                 option + struct.pack(">II", nbd.OPT_EXPORT_NAME, 4) + b"nope",
                 option + struct.pack(">II", nbd.OPT_EXPORT_NAME, 5000) + b"x" * 5000):
        with NbdClient("s") as client:
            client.send(data)
            assert client.is_closed(), data
    with NbdClient("s", flags=255) as client:
        assert client.is_closed()
    with NbdClient("s", "a") as client:
        client.send(b"\0" * 28)
        assert client.is_closed()
    NbdClient("s", "a").close()


def malformed_options_are_survived(vm):
    vm.null("a")
    start(vm)
    export(vm)
    good = NbdClient.info_data("a")
    with NbdClient("s") as client:
        for data in (b"", b"\0" * 5, good[:-1], good + b"x", struct.pack(">I", 2**32 - 1) + good,
                     struct.pack(">IH", 0, 9), NbdClient.info_data("a\0b"),
                     NbdClient.info_data("x" * 4097)):
            same(client.option(nbd.OPT_GO, data)[0][0], nbd.ERR_INVALID)
        same(client.option(nbd.OPT_GO, b"x" * 70000)[0][0], nbd.ERR_TOO_BIG)
        kind, text = client.option(nbd.OPT_GO, client.info_data("\x1b" * 4095))[0]
        same(kind, nbd.ERR_UNKNOWN)
        assert len(text) < 500 and b"\x1b" not in text, text
        client.go("a")


def clients_may_leave_at_any_byte(vm):
    vm.null("a")
    start(vm)
    export(vm, writable=True)
    whole = (struct.pack(">I", 3) + struct.pack(">QII", nbd.IHAVEOPT, nbd.OPT_GO, 7) +
             NbdClient.info_data("a") +
             struct.pack(">IHHQQI", 0x25609513, 0, nbd.CMD_WRITE, 1, 0, 512) + b"x" * 512)
    for cut in list(range(0, 80, 3)) + [200, len(whole) - 1, len(whole)]:
        client = NbdClient.__new__(NbdClient)
        client.sock = nbd.socket.socket(nbd.socket.AF_UNIX)
        client.sock.connect("s")
        client.send(whole[:cut])
        client.close()
    with NbdClient("s", "a") as client:
        client.write(0, b"still there")


def random_bytes_are_survived(vm):
    rng = seeds.rng()
    vm.null("a")
    start(vm)
    export(vm, writable=True)
    for n in range(60):
        with NbdClient("s", "a" if n % 2 else None) as client:
            try:
                client.send(rng.randbytes(rng.randrange(400)))
            except OSError:
                pass
    with NbdClient("s", "a") as client:
        client.write(0, b"still there")


def connections_are_limited(vm):
    vm.null("a")
    start(vm, max_connections=2)
    export(vm)
    first, second = NbdClient("s", "a"), NbdClient("s", "a")
    third = nbd.socket.socket(nbd.socket.AF_UNIX)
    third.connect("s")
    third.settimeout(0.2)
    try:
        raise AssertionError(f"a third client is greeted: {third.recv(1)}")
    except TimeoutError:
        pass
    first.close()
    third.settimeout(nbd.PATIENCE)
    same(third.recv(8), b"NBDMAGIC")
    third.close()
    second.close()


def slow_handshakes_end(vm):
    vm.null("a")
    start(vm, handshake_max_seconds=1)
    export(vm)
    with NbdClient("s", "a") as patient, NbdClient("s") as idle:
        assert idle.is_closed()
        patient.read(0, 1)


def the_iothread_must_be_there(vm):
    vm.null("a")
    start(vm)
    vm.refused('iothread "nope" not found', "block-export-add", type="nbd", id="e", node_name="a",
               iothread="nope", fixed_iothread=True)
    same(vm.command("query-block-exports"), [])


def one_export_has_several_iothreads(vm):
    export_file(vm)
    for n in range(3):
        vm.command("object-add", qom_type="iothread", id=f"t{n}")
    vm.refused("The list of iothreads must not be empty", "block-export-add", type="nbd", id="e0",
               node_name="a", iothread=[])
    vm.refused('iothread "nope" not found', "block-export-add", type="nbd", id="e0",
               node_name="a", iothread=["t1", "nope"])
    export(vm, "e0", name="x", writable=True, iothread=["t0", "t1", "t2"])
    before = thread_times(vm)
    write_together(vm, [NbdClient("s", "x") for _ in range(3)])
    after = thread_times(vm)
    for name in ("t0", "t1", "t2"):
        assert after[name] > before[name], f"{name} has served nobody: {before}, {after}"


def thread_times(vm):
    """What the threads have used of the processors, by the last word of their names.  A new thread
    has the name of who started it until it takes its own; it has used the least."""
    times = {}
    for path in glob.glob(f"/proc/{vm.process.pid}/task/*/comm"):
        try:
            with open(path, encoding="utf-8") as comm, open(path[:-4] + "schedstat") as stat:
                name, time = comm.read().split()[-1], int(stat.read().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # an idle one that has ended
        times[name] = max(time, times.get(name, 0))
    return times


def threads_serve_one_node_together(vm):
    export_file(vm, writable=True)
    for n in range(3):
        vm.command("object-add", qom_type="iothread", id=f"t{n}")
        export(vm, f"e{n}", name=f"x{n}", writable=True, iothread=f"t{n}", fixed_iothread=True)
    write_together(vm, [NbdClient("s", f"x{n}") for n in range(3)])


def write_together(vm, clients):
    """Three clients fill a disk, each every third block; then a job reads it."""
    for n, client in enumerate(clients):
        for block in range(40):
            client.request(nbd.CMD_WRITE, (3 * block + n) * 4096, 4096, bytes([n + 1]) * 4096)
    for client in clients:
        same({client.reply()[0] for _ in range(40)}, {0})
    same(clients[0].read(0, 120 * 4096), b"".join(bytes([n % 3 + 1]) * 4096 for n in range(120)))
    vm.command("blockdev-backup", job_id="j", device="a", target=sink(vm), sync="full")
    vm.wait_event("BLOCK_JOB_COMPLETED", device="j")


def sink(vm):
    vm.null("sink")
    return "sink"


def a_deleted_iothread_serves_on(vm):
    vm.null("a")
    start(vm)
    vm.command("object-add", qom_type="iothread", id="t")
    export(vm, writable=True, iothread="t")
    with NbdClient("s", "a") as client:
        vm.command("object-del", id="t")
        same([row["name"] for row in vm.command("qom-list", path="/objects")], ["type"])
        client.write(0, b"still there")
        vm.command("object-add", qom_type="iothread", id="t")
        export(vm, "e2", name="b", writable=True, iothread="t")
        with NbdClient("s", "b") as second:
            second.write(0, b"by a new one")
        client.write(0, b"still there")
        vm.command("block-export-del", id="e", mode="hard")
        assert client.is_closed()


def an_inactive_node_may_be_read(vm):
    make_raw("r.raw")
    file = {"driver": "file", "filename": "r.raw"}
    vm.add("a", "raw", file=file, active=False)
    start(vm)
    export(vm, allow_inactive=True)
    same(vm.nodes()["a"]["active"], False)
    with open("r.raw", "r+b") as image:
        image.write(b"written by another")
    with NbdClient("s", "a") as client:
        same(client.read(0, 7), b"written")
        fails(EINVAL, client.write, 0, b"x")
        client.flush()
        vm.command("blockdev-set-active", node_name="a", active=True)
        vm.command("blockdev-set-active", node_name="a", active=False)
        same(client.read(0, 7), b"written")
    vm.refused("Permission 'write' unavailable on inactive node", "block-export-add", type="nbd",
               id="w", node_name="a", name="w", writable=True, allow_inactive=True)
    export(vm, "f", name="f", writable=True)
    same(vm.nodes()["a"]["active"], True)


SERVED = [an_export_in_use_goes_by_force_only, data_arrives, many_requests_run_at_once,
          bad_requests_are_answered, a_read_only_export_is_not_written,
          nonsense_ends_the_connection, clients_may_leave_at_any_byte, random_bytes_are_survived]

run("exports", [by_an_iothread(case) for case in SERVED] + [
    ids_and_servers_are_checked, a_read_only_node_is_not_exported_writable, *SERVED,
    options_are_answered, an_old_client_enters_by_name, malformed_options_are_survived,
    connections_are_limited, slow_handshakes_end, the_iothread_must_be_there,
    threads_serve_one_node_together, one_export_has_several_iothreads,
    a_deleted_iothread_serves_on, an_inactive_node_may_be_read,
])
