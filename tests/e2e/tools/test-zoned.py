#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The zone commands of qemu-io on a zoned device: a model behind the host's calls
(tests/lib/devmodel.h), and null_blk where this machine has it and lets us make one."""

import contextlib
import glob
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from devtest import Zoned                     # noqa: E402
from imgtest import Tap, run                  # noqa: E402

OPTIONS = "driver=host_device,cache.direct=on,filename="


def io(device, *commands, options="", mode=()):
    """qemu-io on the device; returns status and all it said."""
    words = [word for command in commands for word in ("-c", command)]
    done = run("qemu-io", *mode, "--image-opts", *words, OPTIONS + device.path + options, env=device.env)
    return done.status, done.text


def same(actual, expected):
    assert actual == expected, f"{actual!r} instead of {expected!r}"


def reports(device):
    same(io(device, "zone_report 0 3"), (0, """\
start: 0x0, len 0x100, cap 0x100, wptr 0x100, zcond:0, [type: 1]
start: 0x100, len 0x100, cap 0xc0, wptr 0x100, zcond:1, [type: 2]
start: 0x200, len 0x100, cap 0xc0, wptr 0x200, zcond:1, [type: 2]
"""))
    same(io(device, "zrp 0x80000 9")[1].count("\n"), 4)
    same(io(device, "zrp 1M 1"), (1, "zone report failed: Invalid argument\n"))
    same(io(device, "zrp"), (1, "bad argument count 0 to zone_report, expected 2 arguments\n"))


def changes_states(device):
    line = "start: 0x100, len 0x100, cap 0xc0, wptr 0x%x, zcond:%u, [type: 2]\n"
    look = "zrp 128k 1"
    same(io(device, "zo 128k 128k", look), (0, line % (0x100, 3)))
    same(io(device, "zc 128k 128k", look), (0, line % (0x100, 1)))
    same(io(device, "zf 128k 128k", look), (0, line % (0x200, 14)))
    same(io(device, "zrs 128k 128k", look), (0, line % (0x100, 1)))
    same(io(device, "zone_reset 128k 4k"), (1, "zone reset failed: Invalid argument\n"))
    same(io(device, "zone_open 0 128k"), (1, "zone open failed: Input/output error\n"))
    device.set(fail_mgmt=1, mgmt_errno=121)
    same(io(device, "zone_finish 128k 128k"), (1, "zone finish failed: Remote I/O error\n"))
    same(io(device, "zone_close 128k 128k"), (1, "zone close failed: Input/output error\n"))


def appends(device):
    same(io(device, "zap -p 256k 4k 8k", "zap 256k 512 512", "zap -p 256k 4k 4k",
            "read -P 0xcd 256k 21k", "zrp 256k 1")[1].splitlines()[::4],
         ["After zap done, the append sector is 0x200",
          "start: 0x200, len 0x100, cap 0xc0, wptr 0x22a, zcond:2, [type: 2]"])
    same(io(device, "zap -p 256k 4k 4k"), (0, "After zap done, the append sector is 0x22a\n"))
    same(io(device, "zap 257k 4k 4k"), (1, "zone append failed: Invalid argument\n"))
    same(io(device, "zap 256k 40k 40k"), (1, "zone append failed: Input/output error\n"))
    status, text = io(device, "zap -x 0 4k 4k")
    assert status == 1 and "zone_append [-p] offset len [len..] -- " in text, text


def needs_direct_io(device):
    status, text = io(device, "write 0 4k", options=",cache.direct=off")
    same(status, 1)
    assert "A host-managed zoned device can only be written with cache.direct=on" in text, text
    same(io(device, "zrp 0 1", options=",cache.direct=off", mode=["-r"])[0], 0)


def keeps_formats_away(device):
    done = run("qemu-io", "--image-opts", "-c", "length", "driver=qcow2,file.driver=host_device,"
               "file.cache.direct=on,file.filename=" + device.path, env=device.env)
    assert "Driver 'qcow2' cannot use '" in done.err and \
           "a host-managed zoned device" in done.err, done


@contextlib.contextmanager
def null_blk():
    """The path of a zoned null_blk; None where there is none to be had."""
    with contextlib.suppress(OSError):
        subprocess.run(["modprobe", "null_blk", "nr_devices=0"], check=False,
                       stderr=subprocess.DEVNULL)
    folder = f"/sys/kernel/config/nullb/e2k-test-{os.getpid()}"
    try:
        os.mkdir(folder)
    except OSError:
        yield None
        return
    try:
        for name, value in (("size", 16), ("zoned", 1), ("zone_size", 1), ("zone_nr_conv", 2),
                            ("memory_backed", 1), ("power", 1)):
            with open(os.path.join(folder, name), "w", encoding="ascii") as file:
                file.write(str(value))
        with open(os.path.join(folder, "index"), encoding="ascii") as file:
            yield f"/dev/nullb{file.read().strip()}"
    finally:
        os.rmdir(folder)


def real_device(path):
    """The same by the kernel."""
    commands = ["zrp 0 16", "zo 2M 1M", "zap -p 2M 4k 8k", "write 2109440 4k", "zap -p 2M 4k 4k",
                "zrp 2M 1", "zf 2M 1M", "zrs 2M 1M", "zrp 2M 1", "write 0 64k"]
    words = [word for command in commands for word in ("-c", command)]
    done = run("qemu-io", *mode, "--image-opts", *words, OPTIONS + path)
    same(done.status, 0)
    assert "the append sector is 0x1000\n" in done.out and \
           "the append sector is 0x1020\n" in done.out, done
    assert "wptr 0x1030, zcond:3, [type: 2]" in done.out, done
    done = run("qemu-io", "--image-opts", "-c", "write 3149824 4k", OPTIONS + path)
    assert "write failed: Input/output error" in done.out, done


def main():
    tap = Tap()
    for case in (reports, changes_states, appends, needs_direct_io, keeps_formats_away):
        device = Zoned("zoned.img", 8, 1, 256, 192)
        name = f"/zoned/{case.__name__.replace('_', '-')}"
        try:
            case(device)
            tap.ok(True, name)
        except AssertionError as error:
            tap.ok(False, name, str(error))
        device.remove()
    with null_blk() as path:
        if not path or not glob.glob(path):
            tap.skip("/zoned/null-blk", "no null_blk can be made here")
        else:
            try:
                real_device(path)
                tap.ok(True, "/zoned/null-blk")
            except AssertionError as error:
                tap.ok(False, "/zoned/null-blk", str(error))
    return tap.finish()


sys.exit(main())
