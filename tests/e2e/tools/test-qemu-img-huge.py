#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Internal snapshots of an image of 12 TiB, whose refcounts have no room in memory as a whole."""

import os
import resource
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))

from imgtest import MiB, Tap, must, run, sanitized  # noqa: E402
from qcow2_image import write_image  # noqa: E402

SIZE = 12 << 40
# Few refcount blocks change, or (the long form) more than there is room for.
CLUSTERS = 5000 if "ROUNDS" in os.environ else 300
MEMORY = 256 * MiB
STEPS = (("-c", "one"), ("-c", "two"), ("-a", "one"), ("-d", "two"), ("-d", "one"))


def blocks_of(path):
    return os.stat(path).st_blocks * 512


def main():
    tap = Tap()
    try:
        # All over the file, named by few L2 tables.
        write_image("image", SIZE, CLUSTERS, scattered=True, spread=True, tables=8)
    except OSError as error:
        print(f"1..0 # SKIP a file of 12 TiB: {error}")
        return 0
    tap.ok(blocks_of("image") < 256 * MiB, "the image is sparse", str(blocks_of("image")))
    must("qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 64k", "image")
    before = must("qemu-img", "map", "--output=json", "image").out
    for option, name in STEPS:
        done = run("qemu-img", "snapshot", option, name, "image", timeout=300)
        tap.ok(done.status == 0, f"snapshot {option} {name}", str(done))
        if name == "one" and option == "-c":
            must("qemu-io", "-f", "qcow2", "-c", "write -q -P 8 0 64k", "image")
        value = 7 if option != "-c" else 8
        done = run("qemu-io", "-r", "-f", "qcow2", "-c", f"read -P {value} 0 64k", "image")
        tap.ok(done.status == 0 and "failed" not in done.text, f"{option} {name}: the content", str(done))
        done = run("qemu-img", "check", "image", timeout=300)
        tap.ok(done.status == 0, f"{option} {name}: no fault, no leak", str(done))
    after = must("qemu-img", "map", "--output=json", "image").out
    tap.ok(after == before, "all is where it was", f"{len(before)} and {len(after)} bytes")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    tap.ok(sanitized() or peak < MEMORY, "not more than 256 MiB of memory", str(peak))
    return tap.finish()


sys.exit(main())
