#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-img commit: chains of three with random content, before and after, beside stock's.

After a commit the base reads as the chain did (down to the length of the overlay), the overlay
reads as before, all images pass our check and stock's, and stock's commit of the same chain leaves
the same.
"""
import itertools
import os
import random
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from chaintest import (BUILD, KINDS, case, check_all, compare, content, fill,  # noqa: E402
                       make_chain, must, refused, stock, tap, MiB)

MOUNT_READ_ONLY = "mount --bind mnt mnt && mount -o remount,bind,ro mnt"
CHAIN = ("base", "mid", "top")
SIZES = ((4, 4, 4), (2, 4, 6), (6, 4, 3), (4, 6, 4))  # MiB of base, mid, top


def committed(kind, sizes, arguments, seed):
    """Commit top into mid, or the chain into base."""
    make_chain(random.Random(seed), CHAIN, sizes, kind)
    into = "base" if "-b" in arguments else "mid"
    before, whole = content("top"), {n: content(n) for n in CHAIN}
    for name in CHAIN:
        shutil.copyfile(name, name + ".ours")
    must("qemu-img", "commit", "-q", "-f", "qcow2", *arguments, "top")
    target = content(into)
    compare(f"{into}, where top was,", target[:len(before)], before)
    compare(f"{into} behind top", target[len(before):], whole[into][len(before):])
    # With -b what lies between may read differently, as it is not supposed to be used any more.
    compare("top", content("top"), before)
    check_all(CHAIN)
    if not set(arguments) & {"-b", "-d"}:
        shown = must("qemu-img", "map", "--output=json", "-f", "qcow2", "top").out
        assert '"depth": 0' not in shown, "top is not empty"
    if not stock("qemu-img"):
        return
    for name in CHAIN:
        os.replace(name + ".ours", name)
    must(stock("qemu-img"), "commit", "-q", "-f", "qcow2", *arguments, "top")
    compare(f"{into} after stock's commit", content(into), target)


def snapshots_stay():
    rng = random.Random(7)
    make_chain(rng, CHAIN, (4, 4, 4))
    must("qemu-io", "-f", "qcow2", "-c", "write -P 5 0 4M", "top")
    then = content("top")
    must("qemu-img", "snapshot", "-c", "s", "top")
    fill(rng, "top", 4 * MiB)
    now = content("top")
    must("qemu-img", "commit", "-q", "-f", "qcow2", "top")
    compare("top", content("top"), now)
    check_all(CHAIN)
    must("qemu-img", "convert", "-l", "s", "-f", "qcow2", "-O", "raw", "top", "content.raw")
    with open("content.raw", "rb") as file:
        compare("the snapshot", file.read(), then)


def file_gets_small():
    make_chain(random.Random(8), CHAIN, (4, 4, 4))
    before = os.path.getsize("top")
    must("qemu-img", "commit", "-q", "-f", "qcow2", "top")
    after = os.path.getsize("top")
    assert after <= before // 2, f"top had {before} bytes, has {after}"


def rate_limits():
    out = refused("qemu-img", "commit", "-r", "x", "top")
    assert "Invalid rate limit specified: 'x'." in out, out


def write_error_is_told():
    """What cannot be written below stays in the overlay."""
    make_chain(random.Random(9), CHAIN, (4, 4, 4))
    before = content("top")
    spec = ("driver=qcow2,file.filename=top,backing.driver=qcow2,backing.file.driver=blkdebug,"
            "backing.file.image.driver=file,backing.file.image.filename=mid,"
            "backing.file.inject-error.0.event=write_aio,backing.file.inject-error.0.errno=28,"
            "backing.file.inject-error.0.once=off")
    out = refused("qemu-img", "commit", "--image-opts", spec)
    assert "Block job failed: No space left on device" in out, out
    assert "Image committed" not in out, out
    compare("top", content("top"), before)
    check_all(CHAIN)


def with_mounts(script):
    """Run a script in a name space of its own for mounts, which go with it."""
    return subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True,
                          check=False)


def read_only_file_system():
    os.mkdir("mnt")
    must("qemu-img", "create", "-q", "-f", "raw", "mnt/base", "64k")
    must("qemu-img", "create", "-q", "-f", "qcow2", "-b", "mnt/base", "-F", "raw", "top")
    for tool in (os.path.join(BUILD, "qemu-img"), stock("qemu-img")):
        done = with_mounts(f"{MOUNT_READ_ONLY} && {tool} commit -f qcow2 top") if tool else None
        assert not done or (done.returncode, done.stderr) == (
            1, "qemu-img: Could not open 'mnt/base': Read-only file system\n"), done


def main():
    for seed, (kind, sizes) in enumerate(itertools.product(KINDS, SIZES)):
        for arguments in ([], ["-d"], ["-b", "base"])[seed % 2::2]:
            case(f"{kind or 'default'}, sizes {sizes}, {' '.join(arguments) or 'plain'}", committed,
                 kind, sizes, arguments, seed)
    case("the snapshots of the overlay stay", snapshots_stay)
    case("the overlay's file gets small", file_gets_small)
    case("a rate limit that is none", rate_limits)
    case("an error of writing is told, and nothing is lost", write_error_is_told)
    name = "a base on a read-only file system"
    if shutil.which("unshare") and with_mounts("mount --bind . .").returncode == 0:
        case(name, read_only_file_system)
    else:
        tap.skip(name, "may not mount in a name space of its own")
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
