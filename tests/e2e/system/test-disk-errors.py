#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest meets when its disk fails: werror and rerror, stopping and going on, the event, the
status, and how it is counted."""

import json
import os
import sys
import tempfile
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from guesttest import Guest                                          # noqa: E402
from imgtest import PATIENCE, must                                   # noqa: E402
from qmptest import BUILD, MiB, Tap, have, make_qcow2, make_raw, same  # noqa: E402


def disk(*rules, node="disk"):
    """Words for a disk that fails by the rules of blkdebug."""
    node = {"driver": "blkdebug", "node-name": node, "inject-error": list(rules),
            "image": {"driver": "file", "filename": "t.raw"}}
    return ["-blockdev", json.dumps(node)]


def guest(rule, policy):
    make_raw("t.raw", 4 * MiB)
    return Guest("-S", *disk(rule), "-object", "iothread,id=io0",
                 "-device", f"virtio-blk-pci,drive=disk,id=v,{policy}")


def info(vm):
    return next(row for row in vm.command("query-block") if "inserted" in row)


def fails_and_goes_on(iotype, number, policy, operation, text):
    """One failure stops the machine, `cont` repeats the request, and nobody notices."""
    rule = {"event": "none", "iotype": iotype, "errno": number, "once": True}
    with guest(rule, policy) as it:
        it.vm.command("cont")
        before, error, stop = [it.vm.next_event(timeout=PATIENCE) for _ in range(3)]
        same([event["event"] for event in (before, error, stop)],
             ["RESUME", "BLOCK_IO_ERROR", "STOP"])
        event = error["data"]
        same(event["operation"], operation)
        same(event["action"], "stop")
        same(event["nospace"], number == 28)
        same(event["reason"], text)
        same(event["node-name"], "disk")
        assert "v" in event["qom-path"], event
        same(it.vm.command("query-status")["status"], "io-error")
        same(info(it.vm)["io-status"], "nospace" if number == 28 else "failed")
        it.vm.command("cont")
        same(it.vm.command("query-status")["status"], "running")
        it.works()
        same(info(it.vm)["io-status"], "ok")
        it.stop()


def failed_write_stops():
    fails_and_goes_on("write", 5, "werror=stop", "write", "Input/output error")


def failed_flush_stops():
    fails_and_goes_on("flush", 5, "werror=stop", "write", "Input/output error")


def full_disk_stops_by_default():
    fails_and_goes_on("write", 28, "werror=enospc", "write", "No space left on device")


def an_image_within(container):
    """Words for a disk in qcow2 that has 1 MiB within "room" to grow in, and must have more."""
    make_qcow2("in.qcow2")
    if container["driver"] == "qcow2":
        make_qcow2("out", size="1M")
        must("qemu-img", "convert", "-n", "--image-opts", "driver=raw,file.filename=in.qcow2",
             "--target-image-opts", "driver=qcow2,file.filename=out")
    else:
        os.rename("in.qcow2", "out")
        os.truncate("out", MiB)
    room = {"node-name": "room", "file": {"driver": "file", "node-name": "out", "filename": "out"}}
    return ["-blockdev", json.dumps({"driver": "qcow2", "node-name": "disk",
                                     "file": {**room, **container}})]


def full_image_stops(container):
    """What an image lies in is full: that is no broken disk."""
    it = Guest("-S", *an_image_within(container), "-device",
               "virtio-blk-pci,drive=disk,id=v,werror=enospc")
    with it:
        it.vm.command("cont")
        event = it.vm.wait_event("BLOCK_IO_ERROR", timeout=PATIENCE)["data"]
        same((event["nospace"], event["action"], event["reason"]),
             (True, "stop", "No space left on device"))
        it.vm.wait_event("STOP", timeout=PATIENCE)
        same(info(it.vm)["io-status"], "nospace")
        if container["driver"] == "raw":
            it.vm.command("blockdev-reopen", options=[{"driver": "raw", "node-name": "room",
                                                       "file": "out"}])
            it.vm.command("cont")
            it.works()
            it.stop()
    same(must("qemu-img", "check", "-q", "--image-opts", "driver=qcow2,file.file.filename=out,"
              f"file.driver={container['driver']}").err, "")


def full_image_within_an_image_stops():
    full_image_stops({"driver": "qcow2"})


def full_image_within_a_window_goes_on_in_a_larger_one():
    full_image_stops({"driver": "raw", "size": MiB})


def failed_read_stops():
    fails_and_goes_on("read", 5, "rerror=stop", "read", "Input/output error")


def iothread_tells_of_the_error_before_the_stop():
    fails_and_goes_on("write", 5, "werror=stop,iothread=io0", "write", "Input/output error")


def answer_to_the_error_waits_for_the_stop():
    """Whoever hears of the error and says `cont` at once is not stopped after that."""
    for where in ("", ",iothread=io0"):
        rule = {"event": "none", "iotype": "write", "errno": 5, "once": True}
        with guest(rule, "werror=stop" + where) as it:
            it.vm.command("cont")
            it.vm.wait_event("BLOCK_IO_ERROR", timeout=PATIENCE)
            it.vm.command("cont")
            same(it.vm.command("query-status")["status"], "running")
            it.works()
            same([event["event"] for event in it.vm.events], ["RESUME", "STOP", "RESUME"])
            it.stop()


def error_is_reported_to_the_guest():
    rule = {"event": "none", "iotype": "flush", "errno": 5, "once": True}
    with guest(rule, "werror=report") as it:
        it.vm.command("cont")
        event = it.vm.wait_event("BLOCK_IO_ERROR", timeout=PATIENCE)["data"]
        same((event["operation"], event["action"]), ("write", "report"))
        it.until("FAIL")


def failure_is_ignored():
    rule = {"event": "none", "iotype": "flush", "errno": 5, "once": True}
    with guest(rule, "werror=ignore") as it:
        it.vm.command("cont")
        event = it.vm.wait_event("BLOCK_IO_ERROR", timeout=PATIENCE)["data"]
        same((event["operation"], event["action"]), ("write", "ignore"))
        it.works()
        it.stop()


def requests_are_counted():
    """The bins of a histogram add up to the operations; failures are counted apart."""
    rule = {"event": "none", "iotype": "write", "errno": 5, "once": True}
    with guest(rule, "werror=stop") as it:
        it.vm.command("block-latency-histogram-set", id="v", boundaries=[1000, 1000000])
        it.vm.command("block-latency-histogram-set", id="v", **{"boundaries-flush": [5]})
        it.vm.command("cont")
        it.vm.wait_event("STOP", timeout=PATIENCE)
        it.vm.command("cont")
        it.works()
        it.vm.command("stop")
        stats = it.vm.command("query-blockstats")[0]["stats"]
        same(stats["failed_wr_operations"], 1)
        for kind, failed in (("rd", 0), ("wr", 1), ("flush", 0)):
            bins = stats[f"{kind}_latency_histogram"]["bins"]
            count = stats["flush_operations" if kind == "flush" else f"{kind}_operations"]
            assert count and sum(bins) in (count, count + failed), (kind, bins, count)
        same(stats["rd_latency_histogram"]["boundaries"], [1000, 1000000])
        same(stats["flush_latency_histogram"]["boundaries"], [5])
        it.vm.command("block-latency-histogram-set", id="v")
        assert "rd_latency_histogram" not in it.vm.command("query-blockstats")[0]["stats"]
        it.vm.command("cont")
        it.stop()


def main():
    tap = Tap()
    if not have("qemu-system-e2k") or not os.path.exists(os.path.join(BUILD, "guests/disk.elf")):
        print("1..0 # SKIP the emulator or its guests are not built")
        return 0
    for case in (failed_write_stops, failed_flush_stops, full_disk_stops_by_default,
                 full_image_within_an_image_stops,
                 full_image_within_a_window_goes_on_in_a_larger_one,
                 failed_read_stops, iothread_tells_of_the_error_before_the_stop,
                 answer_to_the_error_waits_for_the_stop, error_is_reported_to_the_guest,
                 failure_is_ignored, requests_are_counted):
        name = f"/disk-errors/{case.__name__.replace('_', '-')}"
        home = os.getcwd()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                case()
                tap.ok(True, name)
            except Exception:  # pylint: disable=broad-except
                tap.ok(False, name, traceback.format_exc())
            finally:
                os.chdir(home)
    return tap.finish()


sys.exit(main())
