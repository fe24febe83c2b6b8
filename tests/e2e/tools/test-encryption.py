#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Ciphers, modes, initialisation vectors and hashes of LUKS, in luks and qcow2 images: what we write
the stock programs read, and the reverse.  A few combinations; all of them with $ROUNDS of 10."""

import itertools
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))

from imgtest import Tap, run, stock    # noqa: E402

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
UNTIMED = "accurate CPU usage"    # stock's measuring of time fails now and then


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
    for _ in range(8):
        if os.path.exists("disk"):
            os.remove("disk")
        result = run(img, "create", "-q", *SECRET, "-f", row[-1], "-o", options(row), "disk",
                     "512k")
        if UNTIMED not in result.err:
            break
    return None if result.status == 0 else result


def good(result):
    return result.status == 0 and "failed" not in result.text


def direction(tap, name, row, writer, reader):
    """@writer and @reader: (qemu-img, qemu-io)."""
    refusal = make(writer[0], row)
    if refusal:
        return refusal
    wrote = run(writer[1], *SECRET, *SCRIPT, *opened(row))
    if good(wrote):
        wrote = run(reader[1], *SECRET, *CHECKS, *opened(row))
    tap.ok(good(wrote), f"{name}: {writer[0]} writes, {reader[0]} reads", wrote)
    return None


def main():
    tap = Tap()
    ours, theirs = ("qemu-img", "qemu-io"), (stock("qemu-img"), stock("qemu-io"))
    rows = CHOSEN if float(os.environ.get("ROUNDS", "1")) < 10 else everything()
    if "not supported by this build" in str(make(ours[0], CHOSEN[0])):
        tap.skip("all", "built without libgcrypt")
        return tap.finish()
    for row in rows:
        name = " ".join(row)
        # Key material of 192-bit keys does not fill its last sector: stock fails an assertion.
        peer = theirs if all(theirs) and "-192" not in row[0] else None
        refused = direction(tap, name, row, ours, peer or ours)
        if not peer:
            continue
        stock_refused = direction(tap, name, row, peer, ours)
        if stock_refused and UNTIMED in stock_refused.err:
            tap.skip(f"{name}: stock writes", "it cannot measure time here")
        elif refused or stock_refused:
            tap.ok(bool(refused) and bool(stock_refused), f"{name}: both refuse it",
                   f"{refused}\n{stock_refused}")
    return tap.finish()


sys.exit(main())
