#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""-drive and -blockdev of the emulator, and the human monitor's commands about disks."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import PATIENCE  # noqa: E402
from qmptest import BUILD, MiB, QMPError, Vm, make_qcow2, make_raw, run_alone, same  # noqa: E402

EMULATOR = "qemu-system-e2k"
BASE = ["-M", "none", "-display", "none", "-nodefaults", "-S"]


def fails(message, option, argument):
    """The emulator must not start and say why, with the option in front."""
    done = subprocess.run([os.path.join(BUILD, EMULATOR), *BASE, option, argument],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False)
    same(done.stderr.decode(), f"{EMULATOR}: {option} {argument}: {message}\n")
    same(done.returncode, 1)


def vm_with(*drives, machine="none"):
    args = [word for drive in drives for word in ("-drive", drive)]
    return Vm(*BASE, "-M", machine, *args, program=EMULATOR)


def bad_drives_are_refused():
    make_qcow2("t.qcow2")
    t = "if=none,file=t.qcow2,"
    for message, argument in (
            ("Could not open 'none.qcow2': No such file or directory", "file=none.qcow2,if=none"),
            ("unsupported bus type 'bogus'", "file=t.qcow2,if=bogus"),
            ("Unknown driver 'nosuch'", t + "format=nosuch"),
            ("Cannot specify both 'driver' and 'format'", t + "driver=raw,format=raw"),
            ("Block format 'qcow2' does not support the option 'bogus'", t + "bogus=1"),
            ("invalid cache option", t + "cache=bogus"),
            ("invalid aio option", t + "aio=bogus"),
            ("Invalid discard option", t + "discard=bogus"),
            ("invalid parameter value: bogus", t + "detect-zeroes=bogus"),
            ("'bogus' invalid write error action", t + "werror=bogus"),
            ("'enospc' invalid read error action", t + "rerror=enospc"),
            ("'bogus' invalid media", t + "media=bogus"),
            ("index cannot be used with bus and unit", t + "bus=0,unit=0,index=0"),
            ("Parameter 'index' expects a number", t + "index=x"),
            ("Parameter 'read-only' expects 'on' or 'off'", t + "read-only=maybe"),
            ("bps/iops/max total values and read/write values cannot be used at the same time",
             t + "iops=10,iops_rd=5"),
            ("Parameter 'bogus' is unexpected", t + "throttling.bogus=1"),
            ("Device 'none0' has no medium", "if=none,iops=10"),
            ("machine type does not support if=ide,bus=0,unit=0", "if=ide,file=t.qcow2"),
            ("unit 2 too big (max is 1)", "if=ide,unit=2"),
            ("werror is not supported by this bus type", "if=floppy,werror=stop"),
            ("Invalid interval length: 0", "stats-intervals.0=0"),
            ("Invalid interval length: -1", "stats-intervals.0=-1"),
            ("Invalid option stats-intervals.x", "stats-intervals.x=1")):
        fails(message, "-drive", argument)
    fails("'node-name' must be specified for the root node", "-blockdev",
          "driver=file,filename=t.qcow2")


def places_are_taken_once():
    with vm_with("if=none,index=0,id=a") as vm:
        same(vm.hmp("drive_add 0 if=none,index=0,id=b"),
             "drive with bus=0, unit=0 (index=0) exists\r\n")
        same(vm.hmp("drive_add 0 if=none,id=a"), "Duplicate ID 'a' for drive\r\n")
        same(vm.hmp("drive_add 0 if=none,id=c"), "OK\r\n")


def limits(vm):
    node = vm.command("query-block")[0]["inserted"]
    return (node["drv"], node["iops"], node.get("iops_max"), node.get("group"))


def set_limits(vm, **more):
    arguments = {"device": "d", "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0,
                 "iops_wr": 0}
    return vm.execute("block_set_io_throttle", {**arguments, **more})


def drives_are_throttled():
    make_qcow2("t.qcow2")
    with vm_with("if=none,id=d,file=t.qcow2,format=qcow2,node-name=n,iops=100,"
                 "throttling.iops-total-max=200") as vm:
        same(limits(vm), ("qcow2", 100, 200, "d"))
        set_limits(vm, iops=50, group="other")
        same(limits(vm), ("qcow2", 50, None, "other"))
        # What is done to the drive is done to the node below the limits.
        vm.command("blockdev-snapshot-sync", device="d", **{"snapshot-file": "o.qcow2"})
        same(limits(vm), ("qcow2", 50, None, "other"))
        same(vm.command("query-block")[0]["inserted"]["file"], "o.qcow2")
        set_limits(vm)
        same(limits(vm), ("qcow2", 0, None, None))
        set_limits(vm, iops=7)
        same(limits(vm), ("qcow2", 7, None, "d"))
        try:
            set_limits(vm, bps=1, bps_rd=1)
            same("taken", "refused")
        except QMPError as error:
            same(error.desc, "bps/iops/max total values and read/write values cannot be used at the "
                 "same time")
        same(vm.hmp("block_set_io_throttle d 0 0 0 100 0 0"), "")
        same(vm.hmp("info block d").splitlines()[-1],
             "    I/O throttling:   bps=0 bps_rd=0 bps_wr=0 bps_max=0 bps_rd_max=0 bps_wr_max=0 "
             "iops=100 iops_rd=0 iops_wr=0 iops_max=0 iops_rd_max=0 iops_wr_max=0 iops_size=0 "
             "group=d")
        same(vm.hmp("block_set_io_throttle nope 0 0 0 0 0 0"),
             "Error: Device 'nope' not found\r\n")
        same(vm.hmp("drive_del d"), "")
        same([n["node-name"] for n in vm.command("query-named-block-nodes")], [])


def drives_copy_on_read():
    make_raw("base.raw")
    make_qcow2("t.qcow2", "-b", "base.raw", "-F", "raw", size="1M")
    with vm_with("if=none,id=d,file=t.qcow2,format=qcow2,copy-on-read=on,iops=1000") as vm:
        same(limits(vm), ("qcow2", 1000, None, "d"))
        drivers = [node["drv"] for node in vm.command("query-named-block-nodes")]
        same(sorted(drivers), ["copy-on-read", "file", "file", "qcow2", "raw", "throttle"])
        same(vm.hmp("drive_del d"), "")
        same(vm.command("query-named-block-nodes"), [])
    subprocess.run([os.path.join(BUILD, "qemu-io"), "-C", "-f", "qcow2", "-c", "read 64k 4k",
                    "t.qcow2"], capture_output=True, check=True)
    image = subprocess.run([os.path.join(BUILD, "qemu-img"), "map", "--output=json", "t.qcow2"],
                           capture_output=True, check=True).stdout
    same([(e["start"], e["length"]) for e in json.loads(image) if e["depth"] == 0],
         [(65536, 65536)])


def query_block_shows_drives():
    make_qcow2("t.qcow2")
    with vm_with("if=none,id=d,file=t.qcow2,format=qcow2,cache=none,node-name=n",
                 "if=none,id=cd,media=cdrom") as vm:
        disk, cdrom = vm.command("query-block")
        same((disk["device"], disk["inserted"]["node-name"], disk["inserted"]["drv"]),
             ("d", "n", "qcow2"))
        same(disk["inserted"]["cache"], {"writeback": True, "direct": True, "no-flush": False})
        same((cdrom["device"], "inserted" in cdrom), ("cd", False))
        same(vm.hmp("info block d"), "d (n): t.qcow2 (qcow2)\r\n"
             "    Removable device: not locked, tray closed\r\n"
             "    Cache mode:       writeback, direct\r\n")
        stats = {row["device"]: row for row in vm.command("query-blockstats")}
        same(sorted(stats), ["cd", "d"])


def an_empty_drive_may_be_read_only():
    make_raw("r.raw")
    with vm_with("if=none,id=ro,readonly=on", "if=none,id=rw,read-only=off") as vm:
        same(["inserted" in disk for disk in vm.command("query-block")], [False, False])
        for name, read_only in (("ro", True), ("rw", False)):
            vm.command("blockdev-change-medium", device=name, filename="r.raw", format="raw")
            same([disk["inserted"]["ro"] for disk in vm.command("query-block")
                  if disk["device"] == name], [read_only])
            vm.hmp(f"drive_del {name}")


def cache_modes():
    make_raw("r.raw")
    for mode, writeback, direct, no_flush in (
            ("writeback", True, False, False), ("none", True, True, False),
            ("writethrough", False, False, False), ("directsync", False, True, False),
            ("unsafe", True, False, True)):
        with vm_with(f"if=none,id=d,file=r.raw,format=raw,cache={mode}") as vm:
            disk, = vm.command("query-block")
            same(disk["inserted"]["cache"],
                 {"writeback": writeback, "direct": direct, "no-flush": no_flush})


def drives_come_and_go():
    make_qcow2("t.qcow2")
    make_qcow2("u.qcow2")
    with vm_with("if=none,id=d0,file=t.qcow2") as vm:
        same(vm.hmp("drive_add 0 if=none,id=d1,file=u.qcow2"), "OK\r\n")
        same(vm.hmp("drive_add 0 if=none,id=d2,file=none"),
             "Could not open 'none': No such file or directory\r\n")
        same(vm.hmp("drive_add -n 0 driver=null-co,node-name=n0,size=1M"), "")
        same(vm.hmp("drive_add -n 0 driver=null-co"), "'node-name' needs to be specified\r\n")
        same(vm.hmp("drive_del d1"), "")
        same(vm.hmp("drive_del d1"), "Device 'd1' not found\r\n")
        same(vm.hmp("drive_del n0"), "")
        same([disk["device"] for disk in vm.command("query-block")], ["d0"])
        same(vm.hmp("drive_add 0 if=none,id=d1,file=u.qcow2"), "OK\r\n")


def hmp_resizes_and_snapshots():
    make_qcow2("t.qcow2")
    with vm_with("if=none,id=d,file=t.qcow2,format=qcow2") as vm:
        same(vm.hmp("block_resize d 8"), "")
        same(vm.command("query-block")[0]["inserted"]["image"]["virtual-size"], 8 * MiB)
        same(vm.hmp("block_resize nope 8M"),
             "Error: Cannot find device='nope' nor node-name=''\r\n")
        same(vm.hmp("snapshot_blkdev d"), "Error: Parameter 'snapshot-file' is missing\r\n")
        same(vm.hmp("snapshot_blkdev d s.qcow2 qcow2"), "")
        same(vm.command("query-block")[0]["inserted"]["file"], "s.qcow2")
        same(vm.hmp("info block-jobs"), "No active jobs\r\n")
        text = vm.hmp("info block-blockers")
        assert "node is used as backing hd of" in text, text


def snapshot_on_leaves_the_image_alone():
    make_raw("r.raw")
    with vm_with("if=none,id=d,file=r.raw,format=raw,snapshot=on") as vm:
        disk, = vm.command("query-block")
        same((disk["inserted"]["drv"], disk["inserted"]["backing_file"], disk["inserted"]["ro"]),
             ("qcow2", "r.raw", False))


def requests_are_counted_over_intervals():
    with vm_with("if=none,id=d,driver=null-co,size=1M,read-zeroes=on,stats-intervals.0=60,"
                 "stats-intervals.1=3600", machine="e2k") as vm:
        for command in ("aio_read 0 64k", "aio_write 0 4k", "aio_write -i 0 4k", "flush"):
            same(vm.hmp(f'qemu-io d "{command}"'), "")
        stats = vm.command("query-blockstats")[0]["stats"]
        same([stats[key] for key in ("rd_operations", "rd_bytes", "wr_operations", "wr_bytes",
                                     "invalid_wr_operations", "failed_rd_operations")],
             [1, 64 << 10, 1, 4 << 10, 1, 0])
        same(sorted(row["interval_length"] for row in stats["timed_stats"]), [60, 3600])
        for row in stats["timed_stats"]:
            for kind in ("rd", "wr", "flush"):
                low, middle, high = (row[f"{what}_{kind}_latency_ns"] for what in ("min", "avg", "max"))
                assert 0 < low <= middle <= high, row
            assert row["avg_rd_queue_depth"] > 0 and row["avg_wr_queue_depth"] > 0, row
            same((row["max_zone_append_latency_ns"], row["avg_zone_append_queue_depth"]), (0, 0))
        # Each kind of request has a histogram of its own.
        vm.command("device_add", driver="virtio-blk-pci", drive="d", id="v", account_failed="off")
        for kind in ("read", "write", "flush"):
            vm.command("block-latency-histogram-set", id="v", **{f"boundaries_{kind}": [1, 10**15]})
            vm.hmp('qemu-io d "%s"' % ("flush" if kind == "flush" else f"{kind} 0 4k"))
        row, = vm.command("query-blockstats")
        for kind in ("rd", "wr", "flush"):
            same(row["stats"][f"{kind}_latency_histogram"],
                 {"boundaries": [1, 10**15], "bins": [0, 1, 0]})
        assert "zone_append_latency_histogram" not in row["stats"]
        same((row["stats"]["account_failed"], row["stats"]["account_invalid"]), (False, True))


def every_counter_counts():
    """All fields of query-blockstats that requests move, against requests that are known."""
    make_qcow2("base.qcow2")
    make_qcow2("t.qcow2", "-b", "base.qcow2", "-F", "qcow2", size=None)
    bad = ("if=none,id=bad,driver=blkdebug,image.driver=null-co,image.size=1M,"
           "inject-error.0.event=none,inject-error.0.iotype=%s")
    with vm_with("if=none,id=d,file=t.qcow2,format=qcow2,discard=unmap", bad % "read",
                 "if=none,id=quiet,driver=null-co,size=1M,stats-account-invalid=off") as vm:
        # The file loses what was discarded when the tables that say so have been written.
        for line in ("write 0 64k", "discard 0 64k", "flush", "write 1M 4k", "flush", "read 0 8k",
                     "read 4M 512", "write 100M 4k"):
            vm.hmp(f'qemu-io d "{line}"')
        for line in ("read 0 4k", "read 0 4k", "write 0 4k"):
            vm.hmp(f'qemu-io bad "{line}"')
        vm.hmp('qemu-io quiet "read 2M 512"')
        rows = {row["device"]: row for row in vm.command("query-blockstats")}
    disk = rows["d"]["stats"]
    moved = {"rd_bytes": 8192, "wr_bytes": 69632, "unmap_bytes": 65536, "rd_operations": 1,
             "wr_operations": 2, "flush_operations": 2, "unmap_operations": 1,
             "wr_highest_offset": MiB + 4096, "invalid_rd_operations": 1,
             "invalid_wr_operations": 1, "account_invalid": True, "account_failed": True,
             "timed_stats": []}
    same({key: disk[key] for key in moved}, moved)
    times = {"rd_total_time_ns", "wr_total_time_ns", "flush_total_time_ns",
             "unmap_total_time_ns", "idle_time_ns"}
    assert all(disk[key] > 0 for key in times), disk
    same({key: value for key, value in disk.items() if key not in moved and key not in times},
         {key: 0 for key in disk if key not in moved and key not in times})
    failed = rows["bad"]["stats"]
    same((failed["failed_rd_operations"], failed["failed_wr_operations"],
          failed["rd_operations"], failed["wr_operations"]), (2, 0, 0, 1))
    same((rows["quiet"]["stats"]["account_invalid"],
          rows["quiet"]["stats"]["invalid_rd_operations"]), (False, 1))
    assert "idle_time_ns" not in rows["quiet"]["stats"], rows["quiet"]
    # What is below: the file, and the backing image with its own.
    assert rows["d"]["parent"]["stats"]["wr_highest_offset"] > 0, rows["d"]
    same(rows["d"]["parent"]["driver-specific"],
         {"driver": "file", "discard-nb-ok": 1, "discard-nb-failed": 0, "discard-bytes-ok": 65536})
    same(rows["d"]["backing"]["parent"]["driver-specific"]["driver"], "file")


def a_disk_keeps_what_it_claims_after_qemu_io():
    make_raw("r.raw")
    with vm_with("if=none,id=d,file=r.raw,format=raw") as vm:
        before = vm.command("query-block-blockers")
        same(vm.hmp('qemu-io d "write -P 7 0 4k"'), "")
        same(vm.hmp("qemu-io -d nope length"), "Error: Device 'nope' not found\r\n")
        same([row["uses"] for row in vm.command("query-block-blockers")],
             [row["uses"] for row in before])
    with open("r.raw", "rb") as image:
        same(image.read(4096), b"\7" * 4096)


run_alone("drives", [
    bad_drives_are_refused, places_are_taken_once, drives_are_throttled, drives_copy_on_read,
    query_block_shows_drives, an_empty_drive_may_be_read_only, cache_modes, drives_come_and_go,
    hmp_resizes_and_snapshots, snapshot_on_leaves_the_image_alone, requests_are_counted_over_intervals,
    every_counter_counts, a_disk_keeps_what_it_claims_after_qemu_io,
], EMULATOR)
