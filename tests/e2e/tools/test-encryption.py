#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Ciphers, modes, initialisation vectors and hashes of LUKS, in luks and qcow2 images: what we write
the stock programs read, and the reverse.  A few combinations; all of them with $ROUNDS of 10."""

import itertools
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))

from imgtest import PATIENCE, Tap, run, stock    # noqa: E402

SECRET = ["--object", "secret,id=s0,data=Passw\u00f6rt"]
CIPHERS = ["aes-128", "aes-192", "aes-256", "cast5-128", "serpent-128", "serpent-192",
           "serpent-256", "twofish-128", "twofish-192", "twofish-256"]
MODES = ["ecb", "cbc", "xts", "ctr"]
IVGENS = ["plain", "plain64", "essiv:sha256", "essiv:md5", "essiv:sha1", "essiv:sha224"]
HASHES = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160"]
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
UNTIMED = "accurate CPU usage"    # stock's measuring of time fails now and then, or does not end
STOCK_SECONDS = 30


def everything():
    """Hashes take turns: what they do does not depend on the rest."""
    for i, row in enumerate(itertools.product(CIPHERS, MODES, IVGENS)):
        for k, fmt in enumerate(FORMATS):
            yield (*row, HASHES[(i + 3 * k) % len(HASHES)], fmt)


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


def opened(row):
    prefix = "encrypt." if row[-1] == "qcow2" else ""
    return ["--image-opts", f"driver={row[-1]},{prefix}key-secret=s0,file.filename=disk"]


def make(img, row):
    """An image by program @img; None if it was made, or the result."""
    for _ in range(4):
        if os.path.exists("disk"):
            os.remove("disk")
        result = run(img, "create", "-q", *SECRET, "-f", row[-1], "-o", options(row), "disk",
                     "512k", timeout=PATIENCE if img == "qemu-img" else STOCK_SECONDS)
        if UNTIMED not in result.err:
            break
    return None if result.status == 0 else result


def passes(tap, name, row, writer, reader):
    """What one qemu-io writes the other reads."""
    result = run(writer, *SECRET, *SCRIPT, *opened(row))
    if result.status == 0 and "failed" not in result.text:
        result = run(reader, *SECRET, *CHECKS, *opened(row))
    tap.ok(result.status == 0 and "failed" not in result.text,
           f"{name}: {writer} writes, {reader} reads", result)


def try_row(tap, row, peer, peer_makes):
    """@peer: stock's (qemu-img, qemu-io), or ours."""
    name = " ".join(row)
    refused = make("qemu-img", row)
    if refused:
        tap.ok(bool(make(peer[0], row)), f"{name}: refused by both", refused)
        return
    passes(tap, name, row, "qemu-io", peer[1])
    passes(tap, name, row, peer[1], "qemu-io")
    if peer_makes:
        untimed = make(peer[0], row)
        if untimed and (untimed.status is None or UNTIMED in untimed.err):
            tap.skip(f"{name}: stock makes it", "it cannot measure time here")
        elif untimed:
            tap.ok(False, f"{name}: stock makes it", untimed)
        else:
            passes(tap, f"{name}, made by stock", row, "qemu-io", peer[1])


def main():
    tap = Tap()
    ours, theirs = ("qemu-img", "qemu-io"), (stock("qemu-img"), stock("qemu-io"))
    is_long = float(os.environ.get("ROUNDS", "1")) >= 10
    if "not supported by this build" in str(make(ours[0], CHOSEN[0])):
        tap.skip("all", "built without libgcrypt")
        return tap.finish()
    for row in itertools.chain(CHOSEN, everything() if is_long else ()):
        # Key material of 192-bit keys does not fill its last sector: stock fails an assertion.
        peer = theirs if all(theirs) and "-192" not in row[0] else ours
        try_row(tap, row, peer, peer is theirs and row in CHOSEN)
    return tap.finish()


sys.exit(main())
