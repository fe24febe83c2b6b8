#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The guests on qemu-system-e2k: processor, timer, disk.  Run in the build folder."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, HERE)

import guest_run                              # noqa: E402
from guest_run import PASS                    # noqa: E402
from tap import Tap                           # noqa: E402

CHECK_RECORDS = os.path.join(HERE, "..", "..", "scripts", "check-records.py")
DISK_MIB = 24


class Disk:
    """Images in a folder that disappears."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def raw(self, name="disk.raw", size=DISK_MIB << 20):
        with open(self.path(name), "wb") as image:
            image.truncate(size)
        return self.path(name)


def drive(path, image_format="raw", more=""):
    return ["-drive", f"file={path},format={image_format},if=virtio,id=disk0{more}"]


def check_plain(tap):
    for name, words in (("hello", "Hello from e2k\n"), ("selftest", "selftest: PASS"),
                        ("timer", "timer: PASS"), ("user", "user level\n")):
        status, output, errors = guest_run.run(name)
        tap.ok(status == PASS and words in output, f"{name} passes",
               f"status {status}\n{output}{errors}")
    status, output, errors = guest_run.run("user-trap")
    tap.ok(status == 2 * 65 + 1, "a privileged act at user level traps",
           f"status {status}\n{output}{errors}")


def check_rom(tap):
    status, output, errors = guest_run.run("rom-reset")
    tap.ok(status == PASS and "Hello from the ROM\n" in output, "firmware starts after reset",
           f"status {status}\n{output}{errors}")


def check_reboot(tap):
    status, output, errors = guest_run.run("reboot")
    good = status == PASS and output == "reboot: first run\nreboot: PASS\n"
    tap.ok(good, "a trap without a handler resets the machine",
           f"status {status}\n{output}{errors}")
    status, output, errors = guest_run.run("reboot", "-no-reboot", "-d", "guest_errors")
    good = status == 0 and output == "reboot: first run\n" and "OSCUD.size" in errors
    tap.ok(good, "with -no-reboot that is the end, and the log says why",
           f"status {status}\n{output}{errors}")


def check_no_disk(tap):
    status, output, errors = guest_run.run("disk")
    tap.ok(status == 3 and "no virtio-blk function found" in output,
           "without a disk the guest says so", f"status {status}\n{output}{errors}")


def records(image, *options):
    done = subprocess.run([sys.executable, CHECK_RECORDS, "--area", "1024", *options, image],
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def check_raw_disk(tap, disk):
    image = disk.raw()
    status, output, errors = guest_run.run("disk-selftest", *drive(image, more=",discard=unmap"))
    tap.ok(status == PASS and "guest: PASS" in output, "every kind of request works",
           f"status {status}\n{output}{errors}")
    status, output, errors = guest_run.run("disk", *drive(image),
                                           append="records=600 area=1024 flush=8 progress=100")
    good = status == PASS and "guest: PASS 600 records" in output \
        and "256 slots" in output
    tap.ok(good, "records are written and read back", f"status {status}\n{output}{errors}")
    code, text = records(image, "--min", "600", "--max", "600")
    tap.ok(code == 0, "the image holds them all", text)
    status, output, errors = guest_run.run(
        "disk", *drive(image), append="records=0 area=1024 run=2",
        marker=b"guest: 256 records", answer=b"q")
    tap.ok(status == PASS and "guest: PASS" in output, "a 'q' ends an endless run",
           f"status {status}\n{output}{errors}")
    code, text = records(image)
    tap.ok(code == 0 and "run 2" in text, "the second run is in the image", text)


def check_hostile(tap, disk):
    status, output, errors = guest_run.run("disk-hostile", *drive(disk.raw()))
    tap.ok(status == PASS and "guest: PASS" in output, "a driver that breaks the rules is survived",
           f"status {status}\n{output}{errors}")


def check_interrupts(tap, disk):
    image = disk.raw()
    for mode, name in ((1, "INTx"), (2, "MSI-X")):
        status, output, errors = guest_run.run("disk", *drive(image),
                                               append=f"records=100 area=1024 irq={mode}")
        count = re.search(r"guest: (\d+) interrupts", output)
        tap.ok(status == PASS and count and int(count.group(1)) > 10,
               f"requests complete by {name}", f"status {status}\n{output}{errors}")


def check_iothread(tap, disk):
    device = ["-object", "iothread,id=io0", "-drive",
              f"file={disk.raw()},format=raw,if=none,id=disk0", "-device",
              "virtio-blk-pci,drive=disk0,iothread=io0"]
    for name, append in (("disk-selftest", ""), ("disk-hostile", ""),
                         ("disk", "records=300 area=1024"),
                         ("disk", "records=300 area=1024 irq=2")):
        status, output, errors = guest_run.run(name, *device, append=append)
        tap.ok(status == PASS and "guest: PASS" in output,
               f"{name} {append} passes in an iothread", f"status {status}\n{output}{errors}")


def check_refusals(tap, disk):
    image = disk.raw()
    for append, words in (("area=100000", "the area is larger than the disk"),
                          ("area=4", "fewer than two records"),
                          ("area=64 flush=17", "more records between flushes"),
                          ("flush=0", "flush=0")):
        status, output, errors = guest_run.run("disk", *drive(image), append=append)
        tap.ok(status == 5 and words in output, f"the guest refuses {append}",
               f"status {status}\n{output}{errors}")
    status, output, errors = guest_run.run("disk", *drive(image, more=",readonly=on"),
                                           append="records=1")
    tap.ok(status == 5 and "read-only" in output, "the guest refuses a read-only disk",
           f"status {status}\n{output}{errors}")


def check_fat(tap, disk):
    image = disk.raw()
    with open(image, "r+b") as boot:
        sector = bytearray(512)
        sector[3:11] = b"MKFS\x01FAT"           # no matter what it says, it prints on one line
        sector[11:13] = (512).to_bytes(2, "little")
        sector[32:36] = (20 << 11).to_bytes(4, "little")
        sector[0x47:0x52] = b"RECORDS    "
        sector[0x52:0x57] = b"FAT32"
        sector[510:] = b"\x55\xaa"
        boot.write(sector)
    status, output, errors = guest_run.run("disk", *drive(image), append="records=20 area=1024")
    want = "FAT file system, made by 'MKFS?FAT', label 'RECORDS    ', 40960 sectors of 512 bytes"
    tap.ok(status == PASS and want in output, "a FAT file system is recognised",
           f"status {status}\n{output}{errors}")
    status, output, errors = guest_run.run("disk", *drive(image), append="records=20 area=4100")
    tap.ok(status == 5 and "overlaps" in output, "and not written into",
           f"status {status}\n{output}{errors}")


def check_file_systems(tap, disk):
    mke2fs = shutil.which("mke2fs", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not mke2fs:
        tap.skip("an ext file system is recognised", "mke2fs is not installed")
        return
    image = disk.raw("ext.raw", 8 << 20)
    uuid = "01234567-89ab-cdef-0123-456789abcdef"
    subprocess.run([mke2fs, "-q", "-F", "-t", "ext4", "-b", "1024", "-L", "records", "-U", uuid,
                    image], check=True)
    status, output, errors = guest_run.run("disk", *drive(image), append="area=1024")
    tap.ok(status == 5 and "overlaps the file system" in output,
           "the guest does not write into a file system", f"status {status}\n{output}{errors}")
    with open(image, "r+b") as grown:
        grown.truncate(DISK_MIB << 20)
    status, output, errors = guest_run.run("disk", *drive(image), append="records=300 area=1024")
    want = f"ext file system, label 'records', uuid {uuid}, 8192 blocks of 1024 bytes"
    tap.ok(status == PASS and want in output, "an ext file system is recognised",
           f"status {status}\n{output}{errors}")


def check_qcow2(tap, disk):
    qemu_img = os.path.join(guest_run.build_dir(), "qemu-img")
    if not os.access(qemu_img, os.X_OK):
        tap.skip("records survive in a qcow2 overlay", "qemu-img has not been built")
        return
    base, overlay, flat = disk.raw("base.raw", 8 << 20), disk.path("o.qcow2"), disk.path("o.raw")
    subprocess.run([qemu_img, "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", overlay,
                    f"{DISK_MIB}M"], check=True)
    status, output, errors = guest_run.run("disk", *drive(overlay, "qcow2"),
                                           append="records=600 area=1024")
    subprocess.run([qemu_img, "convert", "-O", "raw", overlay, flat], check=True)
    code, text = records(flat, "--min", "600", "--max", "600")
    tap.ok(status == PASS and code == 0, "records survive in a qcow2 overlay",
           f"status {status}\n{output}{errors}{text}")
    status, output, errors = guest_run.run("disk-selftest", *drive(overlay, "qcow2"))
    tap.ok(status == PASS, "every kind of request works on qcow2",
           f"status {status}\n{output}{errors}")


def main():
    tap = Tap()
    if not guest_run.emulator() or not guest_run.guest("hello"):
        tap.skip("guests", "qemu-system-e2k or the guests have not been built")
        return tap.finish()
    disk = Disk()
    check_plain(tap)
    check_rom(tap)
    check_reboot(tap)
    check_no_disk(tap)
    check_raw_disk(tap, disk)
    check_hostile(tap, disk)
    check_interrupts(tap, disk)
    check_iothread(tap, disk)
    check_refusals(tap, disk)
    check_fat(tap, disk)
    check_file_systems(tap, disk)
    check_qcow2(tap, disk)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
