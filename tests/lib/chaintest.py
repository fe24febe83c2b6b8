# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of whole backing chains share: chains of qcow2 images with random content, and
what they read as."""

import itertools
import os

from imgtest import BUILD, MiB, Tap, must, run, stock  # noqa: F401 (for those who import us)

KINDS = ("", "cluster_size=512", "cluster_size=4k", "extended_l2=on", "compat=0.10")
tap = Tap()


def case(name, function, *args):
    """Run one case; an AssertionError or a program that fails fails it."""
    try:
        function(*args)
        tap.ok(True, name)
    except (AssertionError, RuntimeError) as problem:
        tap.ok(False, name, problem)


def programs():
    """Our qemu-img, and stock's where there is one."""
    return [p for p in ("qemu-img", stock("qemu-img")) if p]


def refused(*words):
    """What a program says that has to end with status 1."""
    done = run(*words)
    assert done.status == 1, done
    return done.text


def content(image, program="qemu-img"):
    """What a guest would read of @image."""
    must(program, "convert", "-f", "qcow2", "-O", "raw", image, "content.raw")
    with open("content.raw", "rb") as file:
        return file.read()


def fill(rng, image, size, options=""):
    """Random writes, zeroes and discards below @size bytes."""
    commands = []
    for _ in range(12):
        length = rng.randrange(1, 300) << 9
        offset = rng.randrange(0, size - length) & ~511
        kind = rng.choice([f"write -P {rng.randrange(1, 255)}"] * 3 +
                          ["write -z", "write -z -u", "discard"])
        commands += ["-c", f"{kind} {offset} {length}"]
    if "extended" not in options:
        commands += ["-c", "write -c -P 77 1M 128k"]
    must("qemu-io", "-f", "qcow2", *commands, image)


def make_image(rng, name, mib, options="", backing=None):
    """A filled image with the create options @options over @backing."""
    if os.path.exists(name):
        os.remove(name)
    must("qemu-img", "create", "-q", "-f", "qcow2", *(["-o", options] if options else []),
         *(["-b", backing, "-F", "qcow2"] if backing else []), name, f"{mib}M")
    fill(rng, name, mib * MiB, options)


def make_chain(rng, names, mibs, options=""):
    """Images over each other, the first one at the bottom."""
    below = None
    for name, mib in zip(names, mibs):
        make_image(rng, name, mib, options, below)
        below = name


def check_all(names):
    """Nobody finds anything wrong with the images."""
    for program, name in itertools.product(programs(), names):
        done = run(program, "check", "-f", "qcow2", name)
        assert done.status == 0 and "No errors" in done.text, done


def compare(what, got, want):
    """The two are alike, as far as a shorter one reads as zeroes behind its end."""
    length = max(len(got), len(want))
    got, want = got.ljust(length, b"\0"), want.ljust(length, b"\0")
    if got != want:
        at = next(i for i in range(length) if got[i] != want[i])
        raise AssertionError(f"{what} differs at {at}")
