#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""measure against the files that come of it, over random options: what it calls fully allocated and
required is never less than what an image takes, and not much more.  More of them with $ROUNDS."""

import json
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))

from imgtest import KiB, MiB, Tap, must, run    # noqa: E402
import seeds                                    # noqa: E402

SECRET = ["--object", "secret,id=s0,data=password"]
ENCRYPTED = "encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=10"


def random_options(rand, with_crypto):
    """Options of an image; those of a combination that is refused are not made."""
    cluster = 512 << rand.randrange(13)
    options = {"cluster_size": cluster}
    if rand.random() < .2:
        options["compat"] = "v2"
    else:
        options["refcount_bits"] = 1 << rand.randrange(7)
        if cluster >= 16 * KiB and rand.random() < .5:
            options["extended_l2"] = "on"
    text = ",".join(f"{key}={value}" for key, value in options.items())
    if with_crypto and rand.random() < .3:
        text += "," + ENCRYPTED
    return cluster, text


def measured(*words):
    return json.loads(must("qemu-img", "measure", "--output=json", *SECRET, "-O", "qcow2",
                           *words).out)


def end_of(name):
    """Length of the file; preallocation may leave a hole at the end, which counts."""
    return os.stat(name).st_size


def fitting(told, real, cluster, is_encrypted):
    """Not less than is needed, and little more: a table of another length; and where LUKS headers
    are longer than what a small refcount block counts, the gaps beside them."""
    gaps = 6 * MiB if is_encrypted and cluster <= 2048 else 0
    return real <= told <= real + real // 4 + 16 * cluster + 64 * KiB + gaps


def new_image(tap, rand, with_crypto):
    """An image without a source, fully preallocated."""
    cluster, text = random_options(rand, with_crypto)
    size = rand.randrange(1, 24 * MiB if cluster > 4096 else 6 * MiB) // 512 * 512
    preallocation = rand.choice(("falloc", "metadata"))
    if os.path.exists("new"):
        os.remove("new")
    must("qemu-img", "create", "-q", *SECRET, "-f", "qcow2", "-o",
         f"{text},preallocation={preallocation}", "new", size)
    told = measured("-o", f"{text},preallocation={preallocation}", "--size", size)
    real = end_of("new")
    tap.ok(fitting(told["fully-allocated"], real, cluster, "luks" in text) and
           (preallocation == "metadata" or told["required"] == told["fully-allocated"]),
           f"{text}, {size} bytes, preallocation={preallocation}", f"{told}, file {real}")


def write_source(rand, size):
    """A source with data here and there, snapshots and bitmaps; which options it has: who cares."""
    if os.path.exists("source"):
        os.remove("source")
    must("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "source", size)
    commands = []
    for _ in range(rand.randrange(1, 60)):
        offset = rand.randrange(size)
        length = min(rand.randrange(1, 1 << rand.randrange(10, 20)), size - offset)
        zero = rand.random() < .2
        commands += ["-c", f"write {'-z' if zero else '-P 5'} {offset} {length}"]
    must("qemu-io", "-f", "qcow2", *commands, "source")
    if rand.random() < .5:
        must("qemu-img", "snapshot", "-c", "one", "source")
        must("qemu-io", "-f", "qcow2", "-c", f"write -P 6 0 {min(size, 64 * KiB)}", "source")
    for i in range(rand.randrange(3)):
        must("qemu-img", "bitmap", "--add", "source", f"b{i}", "-g",
             512 << rand.randrange(4, 10))


def converted(tap, rand, with_crypto):
    """A copy of an image: required is enough for it, with its bitmaps."""
    size = rand.randrange(1, 16 * MiB) // 512 * 512 + 512
    write_source(rand, size)
    cluster, text = random_options(rand, with_crypto)
    told = measured("-o", text, "-f", "qcow2", "source")
    with_bitmaps = "v2" not in text
    if os.path.exists("copy"):
        os.remove("copy")
    fills = rand.random() < .3
    must("qemu-img", "convert", *SECRET, "-S", 0 if fills else 512, "-f", "qcow2", "-O", "qcow2",
         *(["--bitmaps"] if with_bitmaps else []), "-o", text, "source", "copy")
    allowed = (told["fully-allocated" if fills else "required"] +
               (told["bitmaps"] if with_bitmaps else 0))
    tap.ok(end_of("copy") <= allowed, f"a copy of {size} bytes with {text}, -S 0: {fills}",
           f"{told}, file {end_of('copy')}")


def main():
    tap = Tap()
    rand = seeds.rng()
    rounds = int(12 * float(os.environ.get("ROUNDS", "1")))
    with_crypto = "not supported" not in run("qemu-img", "create", "-q", *SECRET, "-f", "qcow2",
                                             "-o", ENCRYPTED, "probe", "1M").text
    for _ in range(rounds):
        new_image(tap, rand, with_crypto)
        converted(tap, rand, with_crypto)
    return tap.finish()


sys.exit(main())
