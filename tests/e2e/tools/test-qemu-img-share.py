#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-img and files that can share blocks.

On most file systems they cannot, so tests/lib/ioshim.c plays one where they do, by copying; it
tells what was shared.  The output has to be the same bytes as without, whatever was shared, and
whichever request to share fails."""

import errno
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from chaintest import case, check_all, make_chain, must, tap, MiB  # noqa: E402
from imgtest import KiB, shim                                      # noqa: E402
import seeds                                                       # noqa: E402

RNG = seeds.rng()
BLOCK = 4 * KiB
CHAIN = ("base", "mid", "top")
TARGETS = ("-O raw", "-O raw -S 64k", "-O qcow2",
           "-O qcow2 -o cluster_size=4k", "-O qcow2 -o cluster_size=2M",
           "-O qcow2 -o extended_l2=on", "-O qcow2 -o preallocation=metadata",
           "-O qcow2 -o data_file=target.data")
ALONE = ("-O raw -S 0", "-O raw --salvage", "-O qcow2 -c",
         "-O raw -o preallocation=falloc", "-O qcow2 -o preallocation=full", "-n -O raw",
         "-O luks --object secret,id=s,data=x -o key-secret=s,iter-time=10")
REFUSALS = (errno.EINVAL, errno.ENOSPC, errno.EXDEV, errno.EIO)


def make_source():
    """Data at offsets that fit blocks or do not, zeroes among it, holes, an odd end."""
    with open("source.raw", "wb") as file:
        file.truncate(24 * MiB + 512)
        for start, length in ((0, 3 * MiB), (4 * MiB + 512, MiB), (7 * MiB, 100 * KiB),
                              (8 * MiB - BLOCK, 5 * MiB), (14 * MiB, 60 * KiB),
                              (22 * MiB, 2 * MiB + 512)):
            file.seek(start)
            file.write(RNG.randbytes(length))
        for start in (MiB, 9 * MiB + 3 * BLOCK):
            file.seek(start)
            file.write(bytes(200 * KiB))


def read(name):
    with open(name, "rb") as file:
        return file.read()


def shared(fail=None):
    """The environment in which what is written may share blocks, and those requests that do."""
    if os.path.exists("clones"):
        os.remove("clones")
    return shim("/target:/target.data:/base:/top", clone="clones", fail=fail)


def bytes_shared():
    if not os.path.exists("clones"):
        return 0
    return sum(int(line.split()[1]) for line in read("clones").splitlines())


def remove(*names):
    for name in names:
        if os.path.exists(name):
            os.remove(name)


def outputs(source, options, env=None):
    """The bytes that converting makes, of all files."""
    remove("target", "target.data")
    if "-n" in options:
        with open("target", "wb") as file:
            file.truncate(os.path.getsize(source))
    must("qemu-img", "convert", *options.split(), source, "target", env=env)
    return [read(n) for n in ("target", "target.data") if os.path.exists(n)]


def converts(source, options, least):
    plain = outputs(source, options)
    assert outputs(source, options, shared()) == plain, "other bytes"
    assert bytes_shared() >= least, f"only {bytes_shared()} bytes are shared"
    assert outputs(source, options, shim("/target:/target.data")) == plain, "other bytes"


def owns(options):
    plain = outputs("source.raw", options)
    done = outputs("source.raw", options, shared())
    assert "luks" in options or done == plain, "other bytes"
    assert bytes_shared() == 0, f"{bytes_shared()} bytes are shared"


def copies_what_fails(options):
    plain = outputs("source.raw", options)
    outputs("source.raw", options, shared())
    for call in range(1, len(read("clones").splitlines()) + 1):
        for more in ("", "+"):
            error = RNG.choice(REFUSALS)
            env = shared(fail=f"{call}{more}:{error}:c")
            assert outputs("source.raw", options, env) == plain, f"call {call}: {error}"


def operands():
    must("qemu-img", "dd", "bs=1M", "skip=1", "if=source.raw", "of=target", env=shared())
    assert read("target") == read("source.raw")[MiB:], "other bytes"
    assert bytes_shared() > 5 * MiB, f"only {bytes_shared()} bytes are shared"
    must("qemu-img", "dd", "bs=512", "skip=1", "if=source.raw", "of=target", env=shared())
    assert read("target") == read("source.raw")[512:], "other bytes"
    assert bytes_shared() == 0, "blocks that do not fit"


def in_chain(words, changed):
    """Run it with and without; the images it changes are the same, and nobody finds fault."""
    make_chain(RNG, CHAIN, (4, 4, 4))
    for name in reversed(CHAIN):  # over what is longer they would be filled with zeroes
        must("qemu-img", "resize", "-q", "-f", "qcow2", name, "6M")
    for name, write in zip(CHAIN, ("4M 1M", "5M 512k", "5632k 256k")):
        must("qemu-io", "-f", "qcow2", "-c", f"write -P {len(write)} {write}", name)
        shutil.copyfile(name, name + ".before")
    results = []
    for env in (None, shared()):
        for name in CHAIN:
            shutil.copyfile(name + ".before", name)
        must("qemu-img", *words, env=env)
        results.append([read(n) for n in changed])
    assert results[0] == results[1], "other bytes"
    assert bytes_shared() >= 256 * KiB, f"only {bytes_shared()} bytes are shared"
    check_all(CHAIN)


make_source()
shutil.copyfile("source.raw", "even.raw")
os.truncate("even.raw", 24 * MiB)
must("qemu-img", "convert", "-O", "qcow2", "source.raw", "source.qcow2")
must("qemu-img", "create", "-q", "-f", "qcow2", "-b", "source.qcow2", "-F", "qcow2", "over.qcow2")
must("qemu-io", "-f", "qcow2", "-c", "write -P 3 1M 3M", "-c", "write -c -P 4 10M 64k",
     "over.qcow2")
for target in TARGETS:
    # Of large clusters some are not data alone; what is not at a block's start is not shared.
    size = 2 * MiB if "2M" in target else 6 * MiB
    for image in ("source.raw", "source.qcow2", "over.qcow2"):
        case(f"convert {target} {image}", converts, image, target, size)
case("convert past the cache", converts, "even.raw", "-O raw -t none -T none -m 16", 6 * MiB)
for target in ALONE:
    case(f"convert {target} has blocks of its own", owns, target)
for target in ("-O raw", "-O qcow2"):
    case(f"convert {target} copies what is not shared after all", copies_what_fails, target)
case("dd", operands)
case("commit", in_chain, ("commit", "-q", "-d", "-f", "qcow2", "top"), ("mid",))
case("commit of a chain", in_chain, ("commit", "-q", "-b", "base", "-f", "qcow2", "top"),
     ("base",))
case("rebase", in_chain, ("rebase", "-f", "qcow2", "-b", "", "top"), ("top",))
case("rebase to another one", in_chain,
     ("rebase", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top"), ("top",))
sys.exit(tap.finish())
