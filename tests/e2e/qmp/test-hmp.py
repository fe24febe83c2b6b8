#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The human monitor's commands about disks: all of them are there, and do what they say."""

import json
import os
import socket
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../lib"))

from answertest import difference  # noqa: E402
from imgtest import PATIENCE, must  # noqa: E402
from nbdtest import NbdClient, NbdError  # noqa: E402
from qmptest import MiB, Vm, make_qcow2, make_raw, run_alone, same  # noqa: E402

EMULATOR = "qemu-system-e2k"
COMMANDS = """drive_add drive_del block_resize block_stream block_set_io_throttle block_job_cancel
    block_job_complete block_job_pause block_job_resume block_job_set_speed drive_mirror drive_backup
    snapshot_blkdev snapshot_blkdev_internal snapshot_delete_blkdev_internal commit eject change
    nbd_server_start nbd_server_add nbd_server_remove nbd_server_stop qemu-io savevm loadvm delvm
    object_add object_del device_add device_del""".split()
INFOS = "block blockstats block-jobs snapshots blockers".split()


def vm_with(*drives):
    args = ["-M", "none", "-display", "none", "-nodefaults", "-S"]
    return Vm(*args, *(word for drive in drives for word in ("-drive", drive)), program=EMULATOR)


def chain(names, size="4M"):
    """Images, each on top of the one before; each has a MiB of its own and one of all."""
    for n, name in enumerate(names):
        below = ("-b", names[n - 1], "-F", "qcow2") if n else ()
        make_qcow2(name, *below, size=size)
        must("qemu-io", "-f", "qcow2", "-c", f"write -q -P {n + 1} {n}M 1M", "-c",
             f"write -q -P {n + 1} 3M 64k", name)


def holds(name, *patterns):
    """(byte, offset, length) as the image says; ours or not."""
    must("qemu-io", "-r", "-f", "qcow2",
         *(word for byte, at, n in patterns for word in ("-c", f"read -q -P {byte} {at} {n}")), name)


def every_command_has_help():
    with vm_with() as vm:
        for name in COMMANDS:
            text = vm.hmp(f"help {name}")
            assert text.startswith(name) and " -- " in text, text
        text = vm.hmp("help info")
        for name in INFOS:
            assert name in text, name


def commit_moves_data_down_and_empties():
    chain(["base.qcow2", "top.qcow2"])
    with vm_with("if=none,id=d,node-name=n,file=top.qcow2,format=qcow2") as vm:
        same(vm.hmp("commit d"), "")
        # The disk still is what it was, and no job was seen.
        same(vm.command("query-block")[0]["inserted"]["file"], "top.qcow2")
        same([e for e in vm.events if e["event"].startswith(("JOB", "BLOCK_JOB"))], [])
        same(vm.command("query-block-jobs"), [])
        same(vm.hmp('qemu-io d "read -P 2 1M 1M"').count("verification failed"), 0)
        same(vm.hmp('qemu-io d "write -P 9 0 64k"'), "")
        # The base is read-only again.
        same({row["file"]: row["ro"] for row in vm.command("query-named-block-nodes")
              if row["drv"] == "qcow2"}, {"base.qcow2": True, "top.qcow2": False})
    holds("base.qcow2", (1, 0, "1M"), (2, "1M", "1M"), (2, "3M", "64k"))
    said = must("qemu-img", "map", "--output=json", "top.qcow2").out
    same(said.count('"depth": 0'), 1)
    must("qemu-img", "check", "top.qcow2")
    must("qemu-img", "check", "base.qcow2")


def commit_goes_one_image_down():
    chain(["base.qcow2", "mid.qcow2", "top.qcow2"])
    with vm_with("if=none,id=d,file=top.qcow2,format=qcow2") as vm:
        same(vm.hmp("commit d"), "")
    holds("mid.qcow2", (1, 0, "1M"), (2, "1M", "1M"), (3, "2M", "1M"), (3, "3M", "64k"))
    holds("base.qcow2", (1, 0, "1M"), (0, "1M", "1M"), (1, "3M", "64k"))


def commit_all_takes_each_disk_that_can():
    chain(["base.qcow2", "top.qcow2"])
    chain(["base2.qcow2", "top2.qcow2"], size="8M")
    make_raw("r.raw")
    with vm_with("if=none,id=a,file=top.qcow2,format=qcow2", "if=none,id=cd,media=cdrom",
                 "if=none,id=r,file=r.raw,format=raw",
                 "if=none,id=b,file=top2.qcow2,format=qcow2") as vm:
        same(vm.hmp("commit all"), "")
    for name in ("base.qcow2", "base2.qcow2"):
        holds(name, (2, "1M", "1M"))


def commit_makes_a_short_base_longer():
    make_qcow2("base.qcow2", size="1M")
    make_qcow2("top.qcow2", "-b", "base.qcow2", "-F", "qcow2")
    must("qemu-io", "-f", "qcow2", "-c", "write -q -P 5 3M 64k", "top.qcow2")
    with vm_with("if=none,id=d,file=top.qcow2,format=qcow2") as vm:
        same(vm.hmp("commit d"), "")
    holds("base.qcow2", (0, "1M", "2M"), (5, "3M", "64k"))


def commit_says_why_not():
    chain(["base.qcow2", "top.qcow2"])
    make_raw("r.raw")
    with vm_with("if=none,id=d,node-name=n,file=top.qcow2,format=qcow2",
                 "if=none,id=cd,media=cdrom", "if=none,id=r,file=r.raw,format=raw") as vm:
        same(vm.hmp("commit nope"), "Device 'nope' not found\r\n")
        same(vm.hmp("commit cd"), "Device 'cd' has no medium\r\n")
        same(vm.hmp("commit r"), "'commit' error for 'r': The image has no backing file: Operation "
                                 "not supported\r\n")
        same(vm.hmp("drive_backup -f d b.qcow2 qcow2"), "")
        vm.wait_event("BLOCK_JOB_COMPLETED", device="d")
        vm.command("blockdev-add", node_name="t", driver="null-co", size=4 * MiB)
        vm.command("blockdev-backup", job_id="j", device="d", target="t", sync="none")
        text = vm.hmp("commit d")
        assert text.startswith("'commit' error for 'd': ") and "backup" in text, text
        vm.command("job-cancel", id="j")
        vm.wait_event("BLOCK_JOB_CANCELLED", device="j")
        same(vm.hmp("commit d"), "")


def commit_lets_guests_write():
    """What is written while the monitor waits is in the disk afterwards, and base and top agree."""
    chain(["base.qcow2", "top.qcow2"], size="64M")
    must("qemu-io", "-f", "qcow2", "-c", "write -q -P 3 8M 56M", "top.qcow2")
    with vm_with("if=none,id=d,node-name=n,file=top.qcow2,format=qcow2") as vm:
        vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
        vm.command("block-export-add", type="nbd", id="e", node_name="n", name="n", writable=True)
        with NbdClient("s", "n") as guest:
            vm.send('{"execute": "human-monitor-command", "arguments": '
                    '{"command-line": "commit d"}}')
            for n in range(200):
                guest.write(n * 300001, bytes([n + 1]) * 5000)
            same(vm.read_object(), {"return": ""})
            for n in range(200):
                same(guest.read(n * 300001, 5000), bytes([n + 1]) * 5000)
            same(vm.hmp("commit d"), "")
            content = guest.read(0, 32 * MiB) + guest.read(32 * MiB, 32 * MiB)
    must("qemu-img", "convert", "-f", "qcow2", "-O", "raw", "base.qcow2", "base.raw")
    with open("base.raw", "rb") as image:
        assert image.read() == content
    must("qemu-img", "check", "top.qcow2")


def jobs_are_started_and_steered():
    chain(["base.qcow2", "top.qcow2"])
    with vm_with("if=none,id=d,file=top.qcow2,format=qcow2") as vm:
        same(vm.hmp("drive_mirror -f d m.qcow2 qcow2"), "")
        vm.wait_event("BLOCK_JOB_READY", device="d")
        for line in ("block_job_pause d", "block_job_resume d", "block_job_set_speed d 1M"):
            same(vm.hmp(line), "")
        same(vm.command("query-block-jobs")[0]["speed"], MiB)
        same(vm.hmp("block_job_cancel d"), "")
        vm.wait_event("BLOCK_JOB_COMPLETED", device="d")
        same(vm.hmp("drive_backup -f -c d b.qcow2 qcow2"), "")
        vm.wait_event("BLOCK_JOB_COMPLETED", device="d")
        same(vm.hmp("drive_mirror -n -f d m.qcow2 qcow2"), "")
        vm.wait_event("BLOCK_JOB_READY", device="d")
        same(vm.hmp("block_job_complete d"), "")
        vm.wait_event("BLOCK_JOB_COMPLETED", device="d")
        same(vm.command("query-block")[0]["inserted"]["file"], "m.qcow2")
        assert "Job not found" not in vm.hmp("info block-jobs")
    for copy in ("m.qcow2", "b.qcow2"):
        must("qemu-img", "compare", "top.qcow2", copy)
    assert "100.00% compressed" in must("qemu-img", "check", "b.qcow2").out


def block_stream_takes_speed_and_base():
    chain(["base.qcow2", "mid.qcow2", "top.qcow2"])
    with vm_with("if=none,id=d,file=top.qcow2,format=qcow2") as vm:
        same(vm.hmp("block_stream d 1 base.qcow2"), "")
        same(vm.command("query-block-jobs")[0]["speed"], MiB)
        same(vm.hmp("block_job_set_speed d 0"), "")
        vm.wait_event("BLOCK_JOB_COMPLETED", device="d")
        same(vm.command("query-block")[0]["inserted"]["image"]["backing-filename"], "base.qcow2")
        same(vm.hmp("block_stream d 0 nope"),
             "Error: Can't find 'nope' in the backing chain\r\n")
    holds("top.qcow2", (1, 0, "1M"), (2, "1M", "1M"), (3, "2M", "1M"))


def what_cannot_be_done_is_told():
    """As matrix/hmp.txt has it; and each command is in there."""
    with open(os.path.join(HERE, "matrix/hmp.txt"), encoding="ascii") as table:
        wanted = [line for line in table.read().splitlines() if not line.startswith("#")]
    asked = [line[2:] for line in wanted if line.startswith("> ")]
    got = []
    with vm_with("if=none,id=d,driver=null-co,size=1M") as vm:
        for line in asked:
            got += [f"> {line}", *vm.hmp(line).splitlines()]
    same(difference("\n".join(wanted), "\n".join(got)), None)
    # Snapshots of the whole machine have a test of their own.
    same(set(COMMANDS) - {line.split()[0] for line in asked}, {"savevm", "loadvm", "delvm"})


def backups_follow_their_flags():
    """-n: into the image that is there; -f: with what lies below; -c: compressed."""
    chain(["base.qcow2", "top.qcow2"])
    make_qcow2("there.qcow2", "-o", "cluster_size=4k")
    with vm_with("if=none,id=d,file=top.qcow2,format=qcow2") as vm:
        def backup(flags, name):
            same(vm.hmp(f"drive_backup {flags} d {name} qcow2"), "")
            same(vm.wait_event("BLOCK_JOB_COMPLETED", device="d")["data"].get("error"), None)

        backup("-n -f", "there.qcow2")
        backup("-c", "top-only.qcow2")
        backup("-f -c", "all.qcow2")
        assert "No such file" in vm.hmp("drive_backup -n d nope.qcow2 qcow2")
        assert not os.path.exists("nope.qcow2")
    for name in ("there.qcow2", "top-only.qcow2", "all.qcow2"):
        holds(name, (1, 0, "1M"), (2, "1M", "1M"), (2, "3M", "64k"))
    info = {name: json.loads(must("qemu-img", "info", "--output=json", name).out)
            for name in ("there.qcow2", "top-only.qcow2", "all.qcow2")}
    same([(row["cluster-size"], row.get("backing-filename")) for row in info.values()],
         [(4096, None), (65536, "base.qcow2"), (65536, None)])
    same([any(extent["compressed"] for extent in
              json.loads(must("qemu-img", "map", "--output=json", name).out)) for name in info],
         [False, True, True])


def media_are_changed_as_told():
    """With a format, by force, and for reading or writing."""
    make_raw("m.raw")
    with vm_with("if=none,id=cd,media=cdrom") as vm:
        for mode, is_read_only in (("retain", True), ("read-write", False), ("read-only", True)):
            same(vm.hmp(f"change cd -f m.raw raw {mode}"), "")
            inserted = vm.command("query-block")[0]["inserted"]
            same((mode, inserted["drv"], inserted["ro"]), (mode, "raw", is_read_only))
        same(vm.hmp("change cd m.raw raw nope"), "Error: invalid parameter value: nope\r\n")
        assert "nope.raw" in vm.hmp("change cd nope.raw raw")
        same(vm.command("query-block")[0]["inserted"]["file"], "m.raw")


def all_drives_are_served():
    make_raw("a.raw")
    make_raw("b.raw")
    with vm_with("if=none,id=a,file=a.raw,format=raw", "if=none,id=empty,media=cdrom",
                 "if=none,id=b,file=b.raw,format=raw") as vm:
        same(vm.hmp("nbd_server_start -w unix:s"), "Error: -w only valid together with -a\r\n")
        for flags in ("-a", "-a -w"):
            same(vm.hmp(f"nbd_server_start {flags} unix:s"), "")
            same(sorted(row["id"] for row in vm.command("query-block-exports")), ["a", "b"])
            for name in "ab":
                with NbdClient("s", name) as guest:
                    try:
                        guest.write(0, b"x")
                        same(flags, "-a -w")
                    except NbdError:
                        same(flags, "-a")
            same(vm.hmp("nbd_server_stop"), "")
            same(vm.command("query-block-exports"), [])


def a_ready_mirror_is_cancelled_softly_or_by_force():
    make_raw("r.raw")
    with vm_with("if=none,id=d,file=r.raw,format=raw") as vm:
        for flag, event in (("", "BLOCK_JOB_COMPLETED"), ("-f", "BLOCK_JOB_CANCELLED")):
            same(vm.hmp("drive_mirror -f d copy.raw raw"), "")
            vm.wait_event("BLOCK_JOB_READY", device="d")
            same(vm.hmp(f"block_job_cancel {flag} d"), "")
            vm.wait_event(event, device="d")
        same(vm.command("query-block")[0]["inserted"]["file"], "r.raw")


class Terminal:
    """A human monitor with line editing."""

    def __init__(self, path):
        self.sock, self.seen = socket.socket(socket.AF_UNIX), b""
        self.sock.settimeout(PATIENCE)
        self.sock.connect(path)
        self.until(b"(qemu) ")

    def until(self, words):
        """What came up to @words."""
        while words not in self.seen:
            self.seen += self.sock.recv(4096)
        screen, self.seen = self.seen.split(words, 1)
        return screen

    def type(self, text):
        """What came to the screen while @text was typed and completed; then the line is given up."""
        self.sock.sendall(text.encode() + b"\t\x15zz\n")
        screen = self.until(b"unknown command: 'zz'")
        self.until(b"(qemu) ")
        return screen.decode()


def words_are_completed():
    make_raw("disk.img")
    make_qcow2("s.qcow2")
    os.mkdir("folder")
    words = ("-chardev", "socket,id=h,path=h,server=on,wait=off", "-mon", "chardev=h,mode=readline")
    with Vm("-M", "e2k", "-accel", "qtest", "-display", "none", "-nodefaults", "-object",
            "iothread,id=thread1", "-object", "throttle-group,id=group1", "-drive",
            "if=none,id=drive1,driver=null-co", "-drive", "if=none,id=drives,media=cdrom", "-device",
            "virtio-blk-pci,drive=drive1,id=disk1", *words, program=EMULATOR) as vm:
        terminal = Terminal("h")
        vm.add("snaps", "qcow2", file={"driver": "file", "filename": "s.qcow2"})
        for name in ("morning", "noon"):
            vm.command("blockdev-snapshot-internal-sync", device="snaps", name=name)
        vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "nbd"}})
        vm.command("nbd-server-add", device="drive1", name="export1")
        for typed, shown in (
                ("block_resi", "block_resize "), ("info blockst", "info blockstats "),
                ("help eje", "help eject "), ("eject d", "eject drive"),
                ("eject -f drives", "eject -f drives "), ("commit ", "commit drive"),
                ("block_resize drive1", "block_resize drive1 "),
                ("info block -v drives", "info block -v drives "),
                ("change drives di", "change drives disk.img "),
                ("change drives fo", "change drives folder/"),
                ("device_del d", "device_del disk1 "),
                ("device_add virtio", "device_add virtio-blk-pci "),
                ("loadvm m", "loadvm morning "), ("delvm n", "delvm noon "),
                ("snapshot_delete_blkdev_internal snaps m",
                 "snapshot_delete_blkdev_internal snaps morning "),
                ("nbd_server_remove -f e", "nbd_server_remove -f export1 "),
                ("object_del th", "object_del thread1 "),
                ("object_add throttle-g", "object_add throttle-group ")):
            screen = terminal.type(typed)
            assert shown in screen, (typed, screen)
        assert "drive1              drives" in terminal.type("eject drive"), "no choices"
        for typed in ("nosuch x", "savevm m", "loadvm evening", "loadvm morning m",
                      "snapshot_delete_blkdev_internal nosuch m", "block_resize drive1 8", "eject nosuch", "info nosuch "):
            assert typed + " " not in terminal.type(typed), typed
        terminal.sock.close()
        same(vm.command("query-status")["running"], True)


run_alone("hmp", [
    every_command_has_help, what_cannot_be_done_is_told, words_are_completed, commit_moves_data_down_and_empties, commit_goes_one_image_down,
    commit_all_takes_each_disk_that_can, commit_makes_a_short_base_longer, commit_says_why_not,
    backups_follow_their_flags, media_are_changed_as_told, all_drives_are_served,
    a_ready_mirror_is_cancelled_softly_or_by_force, commit_lets_guests_write, jobs_are_started_and_steered, block_stream_takes_speed_and_base,
], EMULATOR)
