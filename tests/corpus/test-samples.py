#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Images that other programs made: each reads as samples/MANIFEST.tsv says and is checked with the
known result, or is refused in words that name the feature; and none is changed by that."""

import csv
import json
import lzma
import os
import re
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from imgtest import Tap, must, run, sha256, stock    # noqa: E402

SAMPLES = os.path.join(HERE, "samples")

# What is refused, and the words that say why.
REFUSED = {
    # A bit that no program knows: refusing it, by info too, is what the format asks for.
    "q2-badincompat": "Unsupported qcow2 feature(s): Unknown incompatible feature: 40000000",
}
# Exit status of check; 0 where nothing is said: 2 errors, 3 leaks.
CHECKED = {
    "q2-dupref": 2, "q2-refcorrupt": 2, "q2-lazy-dirty": 2,
    "q2-leak": 3, "q2-bitmap-noauto": 3, "q2-bitmap-ones": 3,
}
HUGE = {"q2-big"}  # too large for a raw copy


def stem(row):
    return row["file"].split(".")[0]


def unpack():
    """The rows of the manifest, with all images beside us."""
    for name in sorted(os.listdir(SAMPLES)):
        if name.endswith(".xz"):
            with lzma.open(os.path.join(SAMPLES, name)) as packed, open(name[:-3], "wb") as out:
                out.write(packed.read())
    with open(os.path.join(SAMPLES, "MANIFEST.tsv"), encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text, delimiter="\t"))


def refuse(tap, row):
    """Whoever wants its data is refused with the same words and status 1."""
    image, words = row["file"][:-3], REFUSED[stem(row)]
    commands = [["check", image], ["convert", "-O", "raw", image, "out.raw"]]
    if "incompatible" in words:
        commands.append(["info", image])
    else:
        describe(tap, row, ["-f", "qcow2", image])
    for command in commands:
        result = run("qemu-img", *command)
        good = (result.status == 1 and result.err.startswith("qemu-img: ") and
                result.err.endswith(f"'{image}': {words}\n") and result.err.count("\n") == 1
                and not os.path.exists("out.raw"))
        tap.ok(good, f"{image}: {command[0]} refuses it", result)


def read(tap, row):
    """Convert gives the content, by us and, if it is there, by the stock program."""
    image, args = row["file"][:-3], row["open_args"].split()
    result = run("qemu-img", "convert", *args[:-1], "-O", "raw", args[-1], "out.raw")
    if "not supported by this build" in result.err:
        tap.skip(f"{image}: reads as its maker wrote it", result.err.rpartition(": ")[2].strip())
        return
    good = result.status == 0 and sha256("out.raw") == row["guest_sha256"] \
        and os.path.getsize("out.raw") == int(row["virtual_size"])
    tap.ok(good, f"{image}: reads as its maker wrote it", result)
    for peer in filter(None, [stock("qemu-img")]):
        must(peer, "convert", *args[:-1], "-O", "raw", args[-1], "stock.raw")
        tap.ok(sha256("stock.raw") == sha256("out.raw"), f"{image}: stock reads the same")
        os.remove("stock.raw")
    os.remove("out.raw")


def read_huge(tap, row):
    """4 KiB of 0x99 at 63 TiB, zeroes around them."""
    image, at = row["file"][:-3], 63 << 40
    result = run("qemu-io", "-r", "-f", "qcow2", "-c", f"read -P 0x99 {at} 4k",
                 "-c", f"read -P 0 {at - 65536} 64k", "-c", f"read -P 0 {at + 4096} 60k",
                 "-c", "read -P 0 0 1M", "-c", f"read -P 0 {(64 << 40) - 65536} 64k", image)
    tap.ok(result.status == 0 and "failed" not in result.text, f"{image}: reads as made", result)


def describe(tap, row, args):
    """info says format and size."""
    image = row["file"][:-3]
    result = run("qemu-img", "info", "--output=json", *args)
    try:
        info = json.loads(result.out)
        good = info["format"] == row["format"] and \
            info["virtual-size"] == int(row["virtual_size"])
    except (ValueError, KeyError):
        good = False
    tap.ok(good, f"{image}: info says format and size", result)


def check(tap, row):
    """The known verdict, which is also the stock program's."""
    image, want = row["file"][:-3], CHECKED.get(stem(row), 0)
    result = run("qemu-img", "check", "-f", "qcow2", image)
    detail = True
    complaint = re.search(r"(?:ERROR|Leaked) cluster .*", row["note"])
    if complaint:
        detail = complaint.group(0) in result.text
    tap.ok(result.status == want and detail, f"{image}: check ends with {want}", result)
    for peer in filter(None, [stock("qemu-img")]):
        # It wants the password; we need none for that.
        args = row["open_args"].split() if "encrypt" in row["open_args"] else ["-f", "qcow2", image]
        other = run(peer, "check", *args)
        counts = re.compile(r"^\d+ (?:errors|leaked clusters) were found on the image\.$", re.M)
        same = result.status == other.status and counts.findall(result.text) == \
            counts.findall(other.text)
        tap.ok(same, f"{image}: stock's check counts the same", f"{result}\n{other}")


def main():
    tap = Tap()
    rows = unpack()
    for row in rows:
        if stem(row) in REFUSED:
            refuse(tap, row)
            continue
        (read_huge if stem(row) in HUGE else read)(tap, row)
        describe(tap, row, row["open_args"].split())
        if row["format"] == "qcow2":
            check(tap, row)
    for row in rows:
        tap.ok(sha256(row["file"][:-3]) == row["image_sha256"], f"{row['file'][:-3]}: unchanged")
    return tap.finish()


sys.exit(main())
