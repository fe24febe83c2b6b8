#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Ciphers, modes, initialisation vectors and hashes of LUKS, in luks and qcow2 images: what we write
the stock programs read, and the reverse.

A few combinations.  With $ROUNDS of 10 every cipher with every mode, generator and format, each with
one of the hashes, of which the seed draws the first, so that other seeds try others; stock, which
measures for seconds, makes one image in eight.  With $MATRIX=all everything, which takes an hour."""

import itertools
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))

from imgtest import PATIENCE, Tap, run, stock    # noqa: E402
import seeds                                     # noqa: E402

SECRET = ["--object", "secret,id=s0,data=Passw\u00f6rt"]
CIPHERS = ["aes-128", "aes-192", "aes-256", "cast5-128", "serpent-128", "serpent-192",
           "serpent-256", "twofish-128", "twofish-192", "twofish-256"]
MODES = ["ecb", "cbc", "xts", "ctr"]
HASHES = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160"]
IVGENS = ["plain", "plain64", *(f"essiv:{name}" for name in HASHES)]
FORMATS = ["luks", "qcow2"]
# What make check tries: each cipher, mode, generator and hash at least once.
CHOSEN = [
    ("aes-128", "cbc", "essiv:sha256", "sha1", "qcow2"),
    ("aes-192", "ecb", "plain", "md5", "luks"),
    ("aes-256", "xts", "plain64", "sha512", "qcow2"),
    ("cast5-128", "cbc", "essiv:md5", "sha256", "qcow2"),
    ("serpent-128", "ctr", "plain64", "sha224", "luks"),
    ("serpent-256", "xts", "plain", "sha384", "qcow2"),
    ("twofish-128", "cbc", "essiv:sha256", "ripemd160", "luks"),
    ("twofish-256", "ctr", "essiv:sha256", "sha256", "qcow2"),
]
# Ends in the middle of a sector's cluster and crosses the size from which workers are used.
SCRIPT = [word for command in ("write -P 0x51 0 300k", "write -P 0x52 131k 1k",
                               "write -P 0x53 511k 1k", "flush") for word in ("-c", command)]
CHECKS = [word for command in ("read -P 0x51 0 131k", "read -P 0x52 131k 1k",
                               "read -P 0x51 132k 168k", "read -P 0x53 511k 1k")
          for word in ("-c", command)]
GROUP = 32                        # images that a program has to do with at once
UNTIMED = "accurate CPU usage"    # stock's measuring of time fails now and then, or does not end
STOCK_SECONDS = 30


def wanted():
    """The rows, and whether stock makes such an image, too."""
    chosen = [(row, True) for row in CHOSEN]
    if os.environ.get("MATRIX") == "all":
        return chosen + [(row, turn == 0) for turn in range(len(HASHES)) for row in matrix(turn)]
    if float(os.environ.get("ROUNDS", "1")) < 10:
        return chosen
    rng = seeds.rng("matrix")
    return chosen + [(row, rng.random() < 1 / 8) for row in matrix(rng.randrange(len(HASHES)))]


def matrix(turn):
    """All but the last hashes, of which each row has one; it has another at each turn."""
    for i, row in enumerate(itertools.product(CIPHERS, MODES, IVGENS)):
        for k, fmt in enumerate(FORMATS):
            yield *row, HASHES[(i + 3 * k + turn) % len(HASHES)], fmt


def options(row):
    cipher, mode, ivgen, hash_name, fmt = row
    generator, _, ivgen_hash = ivgen.partition(":")
    prefix = "encrypt." if fmt == "qcow2" else ""
    words = {"key-secret": "s0", "iter-time": "10", "cipher-alg": cipher, "cipher-mode": mode,
             "ivgen-alg": generator, "hash-alg": hash_name}
    if ivgen_hash:
        words["ivgen-hash-alg"] = ivgen_hash
    if prefix:
        words["format"] = "luks"
    return ",".join(f"{prefix}{key}={value}" for key, value in words.items())


class Image:
    """One row, and the image that is made of it."""

    def __init__(self, number, row, peer):
        self.row, self.peer, self.file = row, peer, f"disk{number}"
        self.name = " ".join(row)

    def make(self, img):
        """By program @img; None if it was made, or the result."""
        for _ in range(4):
            if os.path.exists(self.file):
                os.remove(self.file)
            result = run(img, "create", "-q", *SECRET, "-f", self.row[-1], "-o",
                         options(self.row), self.file, "512k",
                         timeout=PATIENCE if img == "qemu-img" else STOCK_SECONDS)
            if UNTIMED not in result.err:
                break
        return None if result.status == 0 else result

    def commands(self, script):
        """Of qemu-io, which open it, carry out @script and close it."""
        prefix = "encrypt." if self.row[-1] == "qcow2" else ""
        return ["-c", f"open -o driver={self.row[-1]},{prefix}key-secret=s0,"
                f"file.filename={self.file}", *script, "-c", "close"]


def went(program, images, script):
    """The result of carrying out @script on all @images by one qemu-io, and whether it went well."""
    result = run(program, *SECRET, *(word for image in images for word in image.commands(script)))
    said = result.text.lower()
    return result, result.status == 0 and "failed" not in said and "can't open" not in said


def passes(tap, how, images, writer, reader):
    """What one qemu-io writes the other reads.  All images at once; if that fails, one by one."""
    result, ok = went(writer, images, SCRIPT)
    if ok:
        result, ok = went(reader, images, CHECKS)
    if not ok and len(images) > 1:
        for image in images:
            passes(tap, how, [image], writer, reader)
        return
    for image in images:
        tap.ok(ok, f"{image.name}{how}: {writer} writes, {reader} reads", result)


def try_images(tap, images, peer_makes):
    """Images with one peer: stock's (qemu-img, qemu-io), or ours."""
    img, io = images[0].peer
    made = []
    for image in images:
        refused = image.make("qemu-img")
        if refused:
            tap.ok(bool(image.make(img)), f"{image.name}: refused by both", refused)
        else:
            made.append(image)
    passes(tap, "", made, "qemu-io", io)
    passes(tap, "", made, io, "qemu-io")
    if not peer_makes:
        return
    theirs = []
    for image in made:
        failed = image.make(img)
        if failed and (failed.status is None or UNTIMED in failed.err):
            tap.skip(f"{image.name}: stock makes it", "it cannot measure time here")
        elif failed:
            tap.ok(False, f"{image.name}: stock makes it", failed)
        else:
            theirs.append(image)
    passes(tap, ", made by stock", theirs, "qemu-io", io)


def main():
    tap = Tap()
    ours, theirs = ("qemu-img", "qemu-io"), (stock("qemu-img"), stock("qemu-io"))
    if "not supported by this build" in str(Image(0, CHOSEN[0], ours).make(ours[0])):
        tap.skip("all", "built without libgcrypt")
        return tap.finish()
    rows = wanted()
    for first in range(0, len(rows), GROUP):
        part = rows[first:first + GROUP]
        for peer_makes, peer in itertools.product((True, False), (theirs, ours)):
            # Key material of 192-bit keys does not fill its last sector: stock fails an assertion.
            images = [Image(i, row, peer) for i, (row, makes) in enumerate(part)
                      if (makes and all(theirs) and "-192" not in row[0]) == peer_makes and
                      (theirs if all(theirs) and "-192" not in row[0] else ours) == peer]
            if images:
                try_images(tap, images, peer_makes)
    return tap.finish()


sys.exit(main())
