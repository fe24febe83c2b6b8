#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Block devices: what driver and length they get, reading and writing, zeroes, discard, a device
that grows, one that cannot be written.  On loop devices, where this machine lets us make some."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import KiB, MiB, QemuIo, Tap, must, run  # noqa: E402

SIZE = 8 * MiB
BACKING = "device.img"


def losetup(*words):
    """What losetup printed; None if it may not or is not there."""
    try:
        done = subprocess.run(["losetup", *words], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


class Loop:
    """A loop device over a file; path is None if there is none."""

    def __init__(self, file, *options):
        self.file = file
        with open(file, "wb") as made:
            made.truncate(SIZE)
        self.path = losetup("--find", "--show", *options, file)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.path:
            losetup("--detach", self.path)
        os.remove(self.file)

    def content(self, offset, size):
        """Bytes of the file below, once the device's have arrived there."""
        os.sync()
        with open(self.file, "rb") as file:
            file.seek(offset)
            return file.read(size)


def allocated():
    os.sync()
    return os.stat(BACKING).st_blocks * 512


def has_zero_range():
    """Not so on tmpfs."""
    with open("probe", "wb"):
        words = ["fallocate", "--zero-range", "--length", "4096", "probe"]
    can = subprocess.run(words, capture_output=True, check=False).returncode == 0
    os.remove("probe")
    return can


def opens_as_a_device(path):
    info = must("qemu-img", "info", "-f", "raw", path).out
    assert "virtual size: 8 MiB (8388608 bytes)" in info, info
    assert "protocol type: host_device" in info, info
    refused = run("qemu-io", "-c", "length", f"json:{{'driver':'file','filename':'{path}'}}")
    assert f"'file' driver requires '{path}' to be a regular file" in refused.err, refused
    # A device says nothing about where it has data.
    mapped = must("qemu-img", "map", "--output=json", "-f", "raw", path).out
    assert '"length": 8388608' in mapped and '"zero": false, "data": true' in mapped, mapped


def reads_and_writes(loop):
    for cache in ("none", "writeback"):
        for aio in ("threads", "native", "io_uring"):
            if (cache, aio) == ("writeback", "native"):
                continue
            value = 0x20 + len(cache) + len(aio)
            must("qemu-io", "-f", "raw", "-t", cache, "-i", aio, "-c", f"write -P {value} 1M 3M",
                 "-c", f"write -P {value + 1} 1000000 700", "-c", "flush",
                 "-c", f"read -P {value} 2M 2M", "-c", f"read -P {value + 1} 1000000 700", loop.path)
            assert loop.content(2 * MiB, 2 * MiB) == bytes([value]) * 2 * MiB, (cache, aio)


def zeroes_and_discards(loop, cache):
    """By the device where it can: then the file below has holes; else as data.  Never else."""
    must("qemu-io", "-f", "raw", "-c", "write -P 7 0 8M", "-c", "flush", loop.path)
    full = allocated()
    assert full >= SIZE
    must("qemu-io", "-f", "raw", "-t", cache, "-d", "unmap", "-c", "write -z 1M 1M",
         "-c", "write -zu 2M 1M", "-c", "discard 4M 1M", "-c", "write -z 6000000 5000",
         "-c", "read -P 0 1M 2M", "-c", "read -P 7 0 1M", "-c", "read -P 7 3M 1M",
         "-c", "read -P 0 6000000 5000", "-c", "read -P 7 6005000 5000", "-c", "flush", loop.path)
    assert loop.content(1 * MiB, 2 * MiB) == bytes(2 * MiB)
    assert loop.content(3 * MiB, MiB) == b"\7" * MiB
    assert loop.content(6000000, 5001) == bytes(5000) + b"\7"
    # Unmapped zeroes where the file system below has them, and the discard; what it needs to know
    # of the holes.
    unmapped = 2 * MiB if has_zero_range() else MiB
    assert allocated() <= full - unmapped + 64 * KiB, (full, allocated())
    # What one program left in the page cache is not what another wrote past it.
    must("qemu-io", "-f", "raw", "-c", "read -P 0 1M 2M", loop.path)


def ignores_discards(loop):
    must("qemu-io", "-f", "raw", "-c", "write -P 7 0 8M", "-c", "flush", loop.path)
    full = allocated()
    must("qemu-io", "-f", "raw", "-d", "ignore", "-c", "discard 4M 1M", "-c", "read -P 7 4M 1M",
         loop.path)
    assert allocated() == full


def cannot_be_resized(path):
    for size, words in (("16M", []), ("4M", ["--shrink"])):
        result = run("qemu-img", "resize", "-f", "raw", *words, path, size)
        assert result.err == "qemu-img: Cannot resize device files\n", result
    result = run("qemu-img", "create", "-f", "raw", path, "16M")
    assert result.err == f"qemu-img: {path}: Cannot grow device files\n", result


def takes_an_image(path):
    must("qemu-img", "create", "-q", "-f", "qcow2", path, "64M")
    must("qemu-io", "-f", "qcow2", "-c", "write -P 9 50M 1M", path)
    must("qemu-img", "check", "-q", "-f", "qcow2", path)
    # The device ends: said, and no damage.
    result = run("qemu-io", "-f", "qcow2", "-c", "write -P 9 0 16M", path)
    assert "No space left on device" in result.text, result
    check = run("qemu-img", "check", "-q", "-f", "qcow2", path)
    assert check.status in (0, 3), check
    must("qemu-io", "-f", "qcow2", "-c", "read -P 9 50M 1M", path)


def holds_an_images_data(loop):
    """Its old content shows nowhere, with data_file_raw not even in itself."""
    with open("source.raw", "wb") as file:
        file.truncate(SIZE)
        file.seek(3 * MiB + 512)
        file.write(b"\5" * 100)
    for options in ("data_file_raw=off", "data_file_raw=on", "preallocation=metadata",
                    "preallocation=full", "preallocation=falloc,data_file_raw=on"):
        must("qemu-io", "-f", "raw", "-c", "write -P 7 0 8M", "-c", "flush", loop.path)
        must("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o",
             f"data_file={loop.path},{options}", "source.raw", "with-device.qcow2")
        must("qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", "source.raw",
             "with-device.qcow2")
        must("qemu-img", "check", "-q", "with-device.qcow2")
        if "data_file_raw=on" in options:
            must("qemu-img", "compare", "-q", "-f", "raw", "-F", "raw", "source.raw", loop.path)
    os.remove("source.raw")
    os.remove("with-device.qcow2")


def follows_a_device_that_grows(loop):
    io = QemuIo("-f", "raw", loop.path)
    assert io.ask("length").strip() == "8 MiB"
    with open(BACKING, "r+b") as file:
        file.truncate(2 * SIZE)
    assert losetup("--set-capacity", loop.path) is not None
    assert not io.ask("truncate 16M").strip()
    assert io.ask("length").strip() == "16 MiB"
    assert "wrote 65536/65536" in io.ask("write -P 3 15M 64k")
    assert io.close().status == 0
    assert loop.content(15 * MiB, 64 * KiB) == b"\3" * 64 * KiB


def refuses_writes():
    with Loop("read-only.img", "--read-only") as loop:
        result = run("qemu-io", "-f", "raw", "-c", "write 0 512", loop.path)
        assert result.status == 1 and "The device is not writable: Permission denied" in result.err, \
            result
        must("qemu-io", "-r", "-f", "raw", "-c", "read -P 0 0 8M", loop.path)


def main():
    tap = Tap()
    with Loop(BACKING) as loop:
        cases = [
            ("opens-as-a-device", lambda: opens_as_a_device(loop.path)),
            ("reads-and-writes", lambda: reads_and_writes(loop)),
            ("zeroes-and-discards-direct", lambda: zeroes_and_discards(loop, "none")),
            ("zeroes-and-discards-cached", lambda: zeroes_and_discards(loop, "writeback")),
            ("ignores-discards", lambda: ignores_discards(loop)),
            ("cannot-be-resized", lambda: cannot_be_resized(loop.path)),
            ("takes-an-image", lambda: takes_an_image(loop.path)),
            ("holds-an-images-data", lambda: holds_an_images_data(loop)),
            ("follows-a-device-that-grows", lambda: follows_a_device_that_grows(loop)),
            ("refuses-writes", refuses_writes),
        ]
        for name, case in cases:
            name = f"/host-device/{name}"
            if not loop.path:
                tap.skip(name, "no loop device can be made here")
                continue
            try:
                case()
                tap.ok(True, name)
            except (AssertionError, RuntimeError) as error:
                tap.ok(False, name, str(error))
    return tap.finish()


sys.exit(main())
