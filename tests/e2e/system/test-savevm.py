#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that writes records and reads them back, saved and brought back while it does.

The guest knows what it wrote: a disk that does not fit to its memory, a request or an interrupt
that is lost, or registers of a device that are not as they were, make it fail or stop."""

import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from guesttest import Guest                                            # noqa: E402
from imgtest import PATIENCE, SRC, must, shim, stock                   # noqa: E402
from qmptest import BUILD, Vm, make_qcow2, make_raw, run_alone, same   # noqa: E402
from qtest import OPTIONS                                              # noqa: E402
from readertest import BUSY, PORTS, READ, SECTOR, Guest as Reader      # noqa: E402
import seeds                                                           # noqa: E402

IMG = os.path.join(BUILD, "qemu-img")
ROUNDS = int(os.environ.get("ROUNDS", "3"))


def disk(name="a.qcow2", node="a", device="virtio-blk-pci"):
    return ["-blockdev", f"qcow2,node-name={node},file.driver=file,file.filename={name}",
            "-device", f"{device},drive={node}"]


def iothread(name="a.qcow2", node="a"):
    return ["-object", "iothread,id=io0", *disk(name, node, "virtio-blk-pci,iothread=io0")]


def checked(*names):
    """Images are clean, without a cluster too many, and hold the records of one moment."""
    for name in names:
        subprocess.run([IMG, "check", "-q", name], check=True)
        subprocess.run([IMG, "convert", "-O", "raw", name, name + ".raw"], check=True)
        subprocess.run([sys.executable, os.path.join(SRC, "scripts/check-records.py"),
                        "--area", "1024", "--min", "1", name + ".raw"], check=True,
                       stdout=subprocess.DEVNULL)


def count(guest):
    """How many records the guest has verified, by its next progress line."""
    return int(re.search(r"(\d+) verified", guest.until("verified"))[1])


def hmp(guest, line, said=""):
    same(guest.vm.hmp(line), said)


def restless(guest, instant):
    """Save and load at random instants; the guest is each time where it was when it was saved."""
    for _ in range(ROUNDS):
        for _ in range(instant.randrange(1, 400)):      # a while, in round trips
            guest.vm.command("query-status")
        hmp(guest, "savevm s")
        at = count(guest)
        guest.works()
        later = count(guest)
        assert later > at, (at, later)
        hmp(guest, "loadvm s")
        while not guest.said.empty():
            guest.said.get()
        again = count(guest)
        assert again <= later, (at, later, again)
        same(guest.vm.command("query-status"), {"running": True, "status": "running"})


def goes_back(irq, *devices):
    def case():
        make_qcow2("a.qcow2")
        with Guest(*devices, words=f"progress=64 irq={irq}") as guest:
            guest.works()
            restless(guest, seeds.rng(irq, *devices))
            guest.stop()
        checked("a.qcow2")
    return case


def begins_where_another_process_ended():
    make_qcow2("a.qcow2")
    with Guest(*disk(), words="progress=64 irq=2") as guest:
        guest.works()
        hmp(guest, "savevm s")
        at = count(guest)
        guest.works()
    with Guest(*iothread(), "-loadvm", "s", words="progress=64 irq=2") as guest:
        again = count(guest)
        assert again <= at, (at, again)
        guest.works()
        guest.stop()
    checked("a.qcow2")
    with Guest(*disk(), "-S", "-loadvm", "s", words="progress=64 irq=2") as guest:
        same(guest.vm.command("query-status"), {"running": False, "status": "prelaunch"})
        guest.vm.command("cont")
        guest.works()
        guest.stop()
    checked("a.qcow2")


def survives(tool):
    """What is saved is seen, kept and changed beside by @tool, and then the guest goes on from it."""
    def sizes(program):
        info = json.loads(must(program, "info", "--output=json", "a.qcow2").out)
        return {row["name"]: row["vm-state-size"] for row in info["snapshots"]}

    make_qcow2("a.qcow2")
    with Guest(*disk(), words="progress=64 irq=2") as guest:
        for name in "st":
            guest.works()
            hmp(guest, f"savevm {name}")
        guest.works()
    found = sizes(tool)
    same(found, sizes("qemu-img"))
    assert found.keys() == {"s", "t"} and min(found.values()) > 64 << 10, found
    must(tool, "check", "-q", "-r", "leaks", "a.qcow2")    # the guest was killed
    must(tool, "snapshot", "-a", "s", "a.qcow2")
    must(tool, "resize", "-q", "a.qcow2", "+1M")
    must(tool, "snapshot", "-c", "u", "a.qcow2")
    must(tool, "amend", "-o", "lazy_refcounts=on", "a.qcow2")
    must(tool, "snapshot", "-d", "t", "a.qcow2")
    must(tool, "check", "-q", "a.qcow2")
    same(sizes("qemu-img"), {"s": found["s"], "u": 0})
    with Guest(*disk(), "-loadvm", "s", words="progress=64 irq=2") as guest:
        guest.works()
        guest.stop()
    checked("a.qcow2")


def is_refused_at_start():
    make_qcow2("a.qcow2")
    done = subprocess.run([os.path.join(BUILD, "qemu-system-e2k"), "-nodefaults", "-display",
                           "none", *disk(), "-loadvm", "s"], capture_output=True, text=True,
                          check=False, timeout=PATIENCE)
    same((done.returncode, done.stderr), (1, "qemu-system-e2k: Snapshot 's' does not exist in "
                                             "one or more devices\n"))


def job(guest, name, **arguments):
    """Run a job on disks a and b; its error, and the events meanwhile."""
    vm = guest.vm
    vm.events.clear()
    vm.command(name, job_id="j", tag="s", devices=["a", "b"], **arguments)
    vm.wait_event("JOB_STATUS_CHANGE", id="j", status="concluded")
    events = [e["data"].get("status", e["event"]) if "data" in e else e["event"]
              for e in vm.events]
    row, = vm.command("query-jobs")
    vm.command("job-dismiss", id="j")
    return row.get("error"), events


def takes_all_disks():
    for name in ("a.qcow2", "b.qcow2"):
        make_qcow2(name)
    words = {"words": "progress=64 irq=1"}
    with Guest(*disk(), *disk("b.qcow2", "b"), **words) as guest:
        guest.works()
        same(job(guest, "snapshot-save", vmstate="b"),
             (None, ["created", "running", "STOP", "RESUME", "waiting", "pending"]))
        at = count(guest)
        guest.works()
        same(job(guest, "snapshot-load", vmstate="b"),
             (None, ["created", "running", "STOP", "RESUME", "waiting", "pending"]))
        while not guest.said.empty():
            guest.said.get()
        guest.works()
        guest.stop()
        del at
    checked("a.qcow2")
    for name in ("a.qcow2", "b.qcow2"):
        subprocess.run([IMG, "check", "-q", name], check=True)
        listed = subprocess.run([IMG, "snapshot", "-l", name], check=True, capture_output=True,
                                text=True).stdout
        same([line.split()[1] for line in listed.splitlines()[2:]], ["s"])
    with Guest(*disk(), *disk("b.qcow2", "b"), "-loadvm", "s", **words) as guest:
        guest.works()
        guest.stop()


def is_stopped_and_started_meanwhile():
    """What users say while it is held comes true when it is not; a paused machine stays so."""
    make_qcow2("a.qcow2")
    with Guest(*disk(), words="progress=64") as guest:
        guest.works()
        guest.vm.command("stop")
        hmp(guest, "savevm s")
        same(guest.vm.command("query-status"), {"running": False, "status": "paused"})
        hmp(guest, "loadvm s")
        same(guest.vm.command("query-status"), {"running": False, "status": "paused"})
        guest.vm.command("cont")
        guest.works()
        guest.vm.command("snapshot-save", job_id="j", tag="t", vmstate="a", devices=["a"])
        guest.vm.command("stop")
        guest.vm.wait_event("JOB_STATUS_CHANGE", id="j", status="concluded")
        same(guest.vm.command("query-status"), {"running": False, "status": "paused"})
        guest.vm.command("job-dismiss", id="j")
        guest.vm.command("snapshot-load", job_id="j", tag="t", vmstate="a", devices=["a"])
        guest.vm.command("cont")
        guest.vm.wait_event("JOB_STATUS_CHANGE", id="j", status="concluded")
        same(guest.vm.command("query-status"), {"running": True, "status": "running"})
        guest.works()
        guest.stop()
    checked("a.qcow2")


# A medium of which each read after the first would take half an hour.
SLOW_CD = ("-object", "throttle-group,id=slow,x-bps-read=1",
           "-blockdev", "raw,node-name=m,read-only=on,file.driver=file,file.filename=cd.raw",
           "-blockdev", "throttle,node-name=cd,read-only=on,throttle-group=slow,file=m")


def does_not_wait_for_a_slow_medium():
    """What a limit holds back on a disk that gets no snapshot goes on at once, too."""
    make_qcow2("a.qcow2")
    make_raw("cd.raw", 4 * SECTOR)
    with Vm("-M", "e2k", "-display", "none", "-nodefaults", *OPTIONS,
            "-blockdev", "qcow2,node-name=a,file.driver=file,file.filename=a.qcow2",
            *SLOW_CD,
            "-device", "isa-cdrom,drive=cd", program="qemu-system-e2k") as vm, Reader() as reader:
        assert reader.read(0)
        for line in ("savevm s", "loadvm s"):
            reader.ask(f"outb {PORTS:#x} {READ}")
            vm.command("query-status")
            same((line, reader.status() & BUSY), (line, BUSY))
            same(vm.hmp(line), "")
            same((line, reader.status() & BUSY), (line, 0))


def does_not_wait_for_a_slow_medium_that_is_asked_late():
    """The same for what is held back while another medium is waited for already: calls on h.raw
    hang while there is a file "hang" (tests/lib/ioshim.c)."""
    other = PORTS + 0x20
    make_qcow2("a.qcow2")
    make_raw("cd.raw", 4 * SECTOR)
    make_raw("h.raw", 4 * SECTOR)
    with Vm("-M", "e2k", "-display", "none", "-nodefaults", *OPTIONS,
            "-blockdev", "qcow2,node-name=a,file.driver=file,file.filename=a.qcow2",
            *SLOW_CD,
            "-blockdev", "raw,node-name=h,read-only=on,file.driver=file,file.filename=h.raw",
            "-device", "isa-cdrom,drive=cd", "-device", f"isa-cdrom,drive=h,iobase={other}",
            program="qemu-system-e2k", env=shim("/h.raw", hang="hang")) as vm, Reader() as reader:
        assert reader.read(0)
        with open("hang", "wb"):
            reader.ask(f"outb {other:#x} {READ}")
        vm.send(json.dumps({"execute": "human-monitor-command",
                            "arguments": {"command-line": "savevm s"}}))
        vm.wait_event("STOP")
        reader.status()
        reader.ask(f"outb {PORTS:#x} {READ}")
        os.unlink("hang")
        same(vm.read_reply(), {"return": ""})
        same((reader.status() & BUSY, reader.ask(f"inb {other:#x}") & BUSY), (0, 0))


def named(name, case):
    case.__name__ = name
    return case


run_alone("savevm", [
    *(named(f"goes_back_irq_{irq}{'_iothread' * with_iothread}",
            goes_back(irq, *(iothread() if with_iothread else disk())))
      for irq in range(3) for with_iothread in (False, True)),
    begins_where_another_process_ended, is_refused_at_start, takes_all_disks,
    *(named(f"survives_{owner}_tools", lambda tool=tool: survives(tool))
      for owner, tool in (("our", "qemu-img"), ("stock", stock("qemu-img"))) if tool),
    is_stopped_and_started_meanwhile, does_not_wait_for_a_slow_medium,
    does_not_wait_for_a_slow_medium_that_is_asked_late,
], "qemu-system-e2k")
