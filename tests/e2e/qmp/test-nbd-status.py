#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Structured replies of the NBD server: holes, errors with words, block status, bitmaps."""

import json
import os
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

import nbdtest as nbd  # noqa: E402
from imgtest import must, stock  # noqa: E402
from nbdtest import NbdClient, NbdError  # noqa: E402
from qmptest import MiB, by_an_iothread, make_qcow2, run, same  # noqa: E402
import seeds                                                    # noqa: E402

ALLOCATION, DEPTH, BITMAP = "base:allocation", "qemu:allocation-depth", "qemu:dirty-bitmap:"
KiB64 = 65536
HOLE_ZERO, ZERO, DATA = 3, 2, 0
EINVAL = 22


def start(vm, **options):
    """Node a: data at 64 KiB, zeroes at 128 KiB, and of its backing file data at 256 KiB; exported."""
    make_qcow2("below.qcow2")
    must("qemu-io", "-f", "qcow2", "-c", "write -q -P 5 256k 64k", "below.qcow2")
    make_qcow2("a.qcow2", "-b", "below.qcow2", "-F", "qcow2")
    must("qemu-io", "-f", "qcow2", "-c", "write -q -P 7 64k 64k", "-c", "write -q -z 128k 64k",
         "a.qcow2")
    vm.add("a", "qcow2", file={"driver": "file", "filename": "a.qcow2"},
           backing={"driver": "qcow2", "node-name": "below",
                    "file": {"driver": "file", "filename": "below.qcow2"}})
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    export(vm, **options)


def export(vm, exp_id="e", name="x", **options):
    options.setdefault("writable", True)
    vm.command("block-export-add", type="nbd", id=exp_id, node_name="a", name=name,
               **{**vm.served_by, **options})


def bitmap(vm, name, **options):
    vm.command("block-dirty-bitmap-add", node="a", name=name, granularity=KiB64, **options)


def refused(error, text, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except NbdError as caught:
        same(caught.args, (error, text))
        return
    raise AssertionError("the request was carried out")


def contexts_are_offered_as_asked_for(vm):
    start(vm)
    bitmap(vm, "b0", disabled=True)
    bitmap(vm, "b1", disabled=True)
    export(vm, "e2", "y", allocation_depth=True,
           bitmaps=["b1", {"node": "a", "name": "b0"}], writable=False)
    with NbdClient("s") as client:
        def listed(name):
            replies = client.option(nbd.OPT_LIST_META, client.meta_data(name, []))
            return [data[4:].decode() for kind, data in replies if kind == nbd.REP_META]
        same(listed("x"), [ALLOCATION])
        same(listed("y"), [ALLOCATION, DEPTH, BITMAP + "b1", BITMAP + "b0"])
        same(client.option(nbd.OPT_SET_META, client.meta_data("x", [ALLOCATION])),
             [(nbd.ERR_INVALID, b"request option 'set meta context' when structured reply is not "
                                b"negotiated")])
        same(client.option(nbd.OPT_LIST_META, client.meta_data("nope", [])),
             [(nbd.ERR_UNKNOWN, b"export 'nope' not present")])
        same(client.option(nbd.OPT_LIST_META, b"\0\0\0\1x")[0][0], nbd.ERR_INVALID)
    with NbdClient("s", "y", contexts=[BITMAP + "b0", DEPTH, "no:such"]) as client:
        same(client.contexts, {1: DEPTH, 3: BITMAP + "b0"})
        same(client.flags, 0x58f)
    with NbdClient("s", "x", contexts=[]) as client:
        same(client.flags, 0xded)
    with NbdClient("s", "x") as client:
        same(client.flags, 0xd6d)


def status_is_that_of_the_chain(vm):
    start(vm, allocation_depth=True)
    with NbdClient("s", "x", contexts=[ALLOCATION, DEPTH]) as client:
        same(client.status(0, 4 * MiB), {
            ALLOCATION: [(KiB64, HOLE_ZERO), (KiB64, DATA), (KiB64, ZERO), (KiB64, HOLE_ZERO),
                         (KiB64, DATA), (4 * MiB - 5 * KiB64, HOLE_ZERO)],
            DEPTH: [(KiB64, 0), (2 * KiB64, 1), (KiB64, 0), (KiB64, 2),
                    (4 * MiB - 5 * KiB64, 0)]})
        same(client.status(100, 50), {ALLOCATION: [(50, HOLE_ZERO)], DEPTH: [(50, 0)]})
        same(client.status(KiB64 + 1, 4 * KiB64, nbd.FLAG_ONE),
             {ALLOCATION: [(KiB64 - 1, DATA)], DEPTH: [(2 * KiB64 - 1, 1)]})
        client.write(MiB, b"x")
        same(client.status(MiB, KiB64)[DEPTH], [(KiB64, 1)])
        refused(EINVAL, "need non-zero length", client.status, 0, 0)
        refused(EINVAL, f"operation past EOF; From: {4 * MiB - 1}, Len: 2, Size: {4 * MiB}",
                client.status, 4 * MiB - 1, 2)


def a_large_map_is_told_in_parts(vm):
    """Every other 512 bytes dirty: more runs than one reply may have."""
    vm.null("a", 80 * MiB)
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    vm.command("block-dirty-bitmap-add", node="a", name="m", granularity=512)
    export(vm, bitmaps=["m"])
    with NbdClient("s", "x", contexts=[BITMAP + "m"]) as client:
        count, batch = 66000, 1000
        for first in range(0, count, batch):
            client.send(b"".join(struct.pack(">IHHQQI", 0x25609513, 0, nbd.CMD_WRITE, n, n * 1024, 1)
                                 + b"x" for n in range(first, first + batch)))
            same({client.reply()[0] for _ in range(batch)}, {0})
        runs, at = [], 0
        while at < 80 * MiB:
            part = client.status(at, 80 * MiB - at)[BITMAP + "m"]
            assert len(part) <= 131072
            runs += part
            at += sum(length for length, _ in part)
        same(at, 80 * MiB)
        same(sum(length for length, number in runs if number), count * 512)
        same(len(runs), 2 * count)


def reads_leave_out_zeroes(vm):
    start(vm)
    with NbdClient("s", "x", contexts=[]) as client:
        def kinds(offset, length, flags=0):
            cookie = client.request(nbd.CMD_READ, offset, length, flags=flags)
            return [(kind, len(data)) for kind, data in client.chunks(cookie)]
        same(kinds(0, 2 * KiB64), [(nbd.CHUNK_HOLE, 12), (nbd.CHUNK_DATA, 8 + KiB64)])
        same(kinds(0, 2 * KiB64, nbd.FLAG_DF), [(nbd.CHUNK_DATA, 8 + 2 * KiB64)])
        same(kinds(7, 0), [(nbd.CHUNK_NONE, 0)])
        same(client.read(KiB64 - 3, 6), b"\0\0\0\7\7\7")
        same(client.read(KiB64 + 1, 5 * KiB64),
             b"\7" * (KiB64 - 1) + bytes(2 * KiB64) + b"\5" * KiB64 + bytes(KiB64 + 1))
        client.call(nbd.CMD_CACHE, 0, MiB)
        client.write(0, b"y", nbd.FLAG_FUA)
        same(client.read(0, 2), b"y\0")


def refusals_have_words(vm):
    start(vm)
    export(vm, "r", "r", writable=False)
    with NbdClient("s", "x", contexts=[]) as client:
        refused(EINVAL, f"operation past EOF; From: {4 * MiB}, Len: 512, Size: {4 * MiB}",
                client.read, 4 * MiB, 512)
        refused(EINVAL, "len (34603008) is larger than max len (33554432)", client.read, 0,
                33 * MiB)
        refused(EINVAL, "invalid request type (42) received", client.call, 42)
        refused(EINVAL, "unsupported flags for command write (got 0x4)", client.write, 0, b"x", 4)
        # Nothing was selected, so nothing can be asked.
        refused(EINVAL, "invalid request type (7) received", client.status, 0, 512)
    with NbdClient("s", "r", contexts=[]) as client:
        refused(EINVAL, "Export is read-only", client.write, 0, b"x")
    with NbdClient("s", "x") as client:
        try:
            client.call(nbd.CMD_STATUS, 0, 512)
            raise AssertionError("block status without structured replies")
        except NbdError as caught:
            same(caught.args, (EINVAL,))
        same(client.read(KiB64, 2), b"\7\7")


def bitmaps_are_checked(vm):
    start(vm)
    bitmap(vm, "on")
    bitmap(vm, "off", disabled=True)
    add = {"type": "nbd", "id": "n", "node_name": "a", "name": "n"}
    vm.refused("Bitmap 'nope' is not found", "block-export-add", **add, bitmaps=["nope"])
    vm.refused("Bitmap 'off' is not found", "block-export-add", **add,
               bitmaps=[{"node": "below", "name": "off"}])
    vm.refused("Cannot find device='nope' nor node-name='nope'", "block-export-add", **add,
               bitmaps=[{"node": "nope", "name": "off"}])
    vm.refused("Enabled bitmap 'on' incompatible with readonly export", "block-export-add", **add,
               bitmaps=["off", "on"])
    vm.refused("Bitmap name 'off' is exported twice", "block-export-add", **add,
               bitmaps=["off", {"node": "a", "name": "off"}])
    # Nothing of it was taken.
    same({row["name"]: row["busy"] for row in vm.nodes()["a"]["dirty-bitmaps"]},
         {"on": False, "off": False})
    export(vm, "n", "n", writable=False, bitmaps=["off"])
    busy = "Bitmap 'off' is currently in use by another operation and cannot be used"
    vm.refused(busy, "block-dirty-bitmap-remove", node="a", name="off")
    vm.refused(busy, "block-export-add", type="nbd", id="o", node_name="a", name="o",
               bitmaps=["off"])
    vm.command("block-export-del", id="n")
    vm.wait_event("BLOCK_EXPORT_DELETED", id="n")
    vm.command("block-dirty-bitmap-remove", node="a", name="off")


def a_bitmap_below_stays_while_it_is_exported(vm):
    """It is found down the chain, and outlives its node's leaving of the chain."""
    start(vm)
    vm.command("block-dirty-bitmap-add", node="below", name="old", disabled=True)
    export(vm, "b", "b", writable=True, bitmaps=["old"])
    vm.command("block-stream", job_id="j", device="a")
    vm.wait_event("BLOCK_JOB_COMPLETED", device="j")
    with NbdClient("s", "b", contexts=[BITMAP + "old"]) as client:
        same(client.status(0, 4 * MiB), {BITMAP + "old": [(4 * MiB, 0)]})
    vm.command("block-export-del", id="b", mode="hard")
    vm.wait_event("BLOCK_EXPORT_DELETED", id="b")


def dirty(client, name):
    """Ranges that the bitmap has marked."""
    at, found = 0, []
    for length, number in client.status(0, client.size)[BITMAP + name]:
        if number:
            found.append((at, length))
        at += length
    return found


def pull_incremental_backups(vm):
    """What a client reads by bitmaps, over its copy of the last time, is the disk at each time."""
    rng = seeds.rng()
    start(vm)
    copy = bytearray(4 * MiB)
    bitmap(vm, "now")
    with NbdClient("s", "x", contexts=[ALLOCATION]) as guest:
        copy[:] = guest.read(0, 4 * MiB)
        for turn in range(3):
            vm.command("transaction", actions=[
                {"type": "block-dirty-bitmap-disable", "data": {"node": "a", "name": "now"}},
                {"type": "block-dirty-bitmap-add", "data": {"node": "a", "name": f"t{turn}",
                                                            "disabled": True}}])
            vm.command("block-dirty-bitmap-enable", node="a", name="now")
            for _ in range(20):
                guest.write(rng.randrange(4 * MiB - 9000), rng.randbytes(rng.randrange(1, 9000)))
            now = guest.read(0, 4 * MiB)
            vm.command("transaction", actions=[
                {"type": "block-dirty-bitmap-merge",
                 "data": {"node": "a", "target": f"t{turn}", "bitmaps": ["now"]}},
                {"type": "block-dirty-bitmap-clear", "data": {"node": "a", "name": "now"}}])
            export(vm, "p", "p", writable=False, bitmaps=[f"t{turn}"])
            with NbdClient("s", "p", contexts=[BITMAP + f"t{turn}"]) as client:
                pieces = dirty(client, f"t{turn}")
                assert pieces
                for offset, length in pieces:
                    copy[offset:offset + length] = client.read(offset, length)
            vm.command("block-export-del", id="p", mode="hard")
            vm.wait_event("BLOCK_EXPORT_DELETED", id="p")
            assert copy == now, f"turn {turn}"


def stock_clients_agree(vm):
    """What QEMU's own client makes of the allocation, the depth and a bitmap."""
    tool = stock("qemu-img")
    if not tool:
        return
    start(vm, allocation_depth=True)
    with NbdClient("s", "x") as guest:
        bitmap(vm, "m")
        guest.write(MiB, b"z" * KiB64)
        guest.flush()
    vm.command("block-dirty-bitmap-disable", node="a", name="m")
    export(vm, "m", "m", writable=False, bitmaps=["m"])

    def ranges(wanted, name, **options):
        words = ["driver=nbd", "server.type=unix", "server.path=s", f"export={name}"]
        words += [f"{key.replace('_', '-')}={value}" for key, value in options.items()]
        said = subprocess.run([tool, "map", "--output=json", "--image-opts", ",".join(words)],
                              capture_output=True, check=True).stdout
        return [(row["start"], row["length"]) for row in json.loads(said) if wanted(row)]
    same(ranges(lambda row: row["data"] and not row["zero"], "x"),
         [(KiB64, KiB64), (4 * KiB64, KiB64), (MiB, KiB64)])
    same(ranges(lambda row: not row["data"], "m", x_dirty_bitmap=BITMAP + "m"), [(MiB, KiB64)])
    same(ranges(lambda row: not row["data"] and not row["zero"], "x", x_dirty_bitmap=DEPTH),
         [(KiB64, 2 * KiB64), (MiB, KiB64)])
    done = subprocess.run([tool, "compare", "-U", "-f", "raw", "-F", "qcow2",
                           "nbd+unix:///x?socket=s", "a.qcow2"],
                          capture_output=True, text=True, check=False)
    same((done.stdout, done.returncode), ("Images are identical.\n", 0))


def malformed_queries_are_survived(vm):
    rng = seeds.rng()
    start(vm)
    good = NbdClient.meta_data("x", [ALLOCATION, BITMAP, "\x1b" * 30])
    with NbdClient("s") as client:
        client.option(nbd.OPT_STRUCTURED)
        for n in range(300):
            data = bytearray(good)
            for _ in range(rng.randrange(1, 4)):
                data[rng.randrange(len(data))] = rng.choice((0, 255, rng.randrange(256)))
            kind, _ = client.option(rng.choice((nbd.OPT_LIST_META, nbd.OPT_SET_META)),
                                    bytes(data[:rng.randrange(len(data) + 1)] if n % 2 else data)
                                    )[-1]
            assert kind in (nbd.REP_ACK, nbd.ERR_INVALID, nbd.ERR_UNKNOWN), hex(kind)
        client.go("x")


CASES = [contexts_are_offered_as_asked_for, status_is_that_of_the_chain,
         a_large_map_is_told_in_parts, reads_leave_out_zeroes, refusals_have_words,
         bitmaps_are_checked, a_bitmap_below_stays_while_it_is_exported,
         pull_incremental_backups, stock_clients_agree, malformed_queries_are_survived]

run("nbd-status", CASES + [by_an_iothread(case) for case in (
    status_is_that_of_the_chain, a_large_map_is_told_in_parts, reads_leave_out_zeroes,
    pull_incremental_backups)])
