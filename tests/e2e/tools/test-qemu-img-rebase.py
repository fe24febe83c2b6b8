#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-img rebase: after a safe one the image reads as before; chains of three with random content.

The new backing file is another image, one of the image's own chain, or none.  All images pass our
check and stock's, and stock reads the same.
"""
import itertools
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from chaintest import (KINDS, case, check_all, content, make_chain, make_image,  # noqa: E402
                       must, programs, refused, tap)

SIZES = ((4, 4, 4, 4), (2, 3, 6, 5), (6, 2, 4, 3), (4, 6, 4, 7))  # MiB of base, mid, top, other


def make_images(rng, kind, sizes):
    make_chain(rng, ("base", "mid", "top"), sizes, kind)
    make_image(rng, "other", sizes[3], kind)


def backing():
    info = must("qemu-img", "info", "-f", "qcow2", "top").out
    return [line for line in info.splitlines() if "backing file:" in line]


def rebased(kind, sizes, onto, arguments, seed):
    make_images(random.Random(seed), kind, sizes)
    before = content("top")
    named = ["-F", "qcow2"] if onto else []
    must("qemu-img", "rebase", "-f", "qcow2", *arguments, "-b", onto, *named, "top")
    lines = backing()
    assert bool(lines) == bool(onto) and (not onto or onto in lines[0]), f"the header says {lines}"
    for program in programs():
        assert content("top", program) == before, f"{program} reads something else"
    check_all(["top"])


def only_differences_are_written():
    for name, options in (("a", []), ("b", []), ("top", ["-b", "a", "-F", "qcow2"])):
        must("qemu-img", "create", "-q", "-f", "qcow2", *options, name, "8M")
    for name, other in (("a", 3), ("b", 4)):
        must("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 8M", "-c",
             f"write -P {other} 3M 64k", name)
    must("qemu-img", "rebase", "-f", "qcow2", "-b", "b", "-F", "qcow2", "top")
    shown = must("qemu-img", "map", "-f", "qcow2", "top").out
    own = [line for line in shown.splitlines() if line.endswith("top")]
    assert len(own) == 1 and own[0].split()[:2] == ["0x300000", "0x10000"], own


def first_backing_file(compat):
    """Zeroes that nothing was stored for are stored, so that it does not show."""
    make_image(random.Random(7), "base", 4, "")
    must("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"compat={compat}", "top", "5M")
    must("qemu-io", "-f", "qcow2", "-c", "write -q -P 3 1M 100k", "top")
    before = content("top")
    must("qemu-img", "rebase", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top")
    for program in programs():
        assert content("top", program) == before, f"{program} reads something else"
    check_all(["top"])


def broken_write_keeps_all():
    make_images(random.Random(5), "", (4, 4, 4, 4))
    before = content("top")
    spec = ("driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=top,"
            "file.inject-error.0.event=write_aio,file.inject-error.0.errno=5,"
            "file.inject-error.0.once=off")
    out = refused("qemu-img", "rebase", "--image-opts", "-b", "", spec)
    assert "error while writing to overlay image at offset" in out, out
    assert "mid" in backing()[0], "the header was changed"
    assert content("top") == before, "the image reads something else"


def main():
    targets = itertools.cycle(("other", "base", "", "other", ""))
    for seed, (kind, sizes) in enumerate(itertools.product(KINDS, SIZES)):
        onto = next(targets)
        arguments = ["-c"] if seed % 3 == 1 else []
        case(f"{kind or 'default'}, sizes {sizes}, onto {onto or 'nothing'} {' '.join(arguments)}",
             rebased, kind, sizes, onto, arguments, seed)
    for compat in ("0.10", "1.1"):
        case(f"onto a first backing file, compat={compat}", first_backing_file, compat)
    case("only what differs is written", only_differences_are_written)
    case("an error of writing leaves the image as it was", broken_write_keeps_all)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
