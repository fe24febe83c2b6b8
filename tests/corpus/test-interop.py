#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kind of qcow2 image passes between us and an installed stock: one makes and writes it, the
other writes it too; both find it sound and read the same.  Then features whose traces in the file
are what others rely on."""

import lzma
import os
import struct
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from imgcheck import check                                   # noqa: E402
from imgtest import KiB, MiB, Tap, must, run, sha256, stock  # noqa: E402

SAMPLES = os.path.join(HERE, "samples")
COPIED, OFFSET = 1 << 63, 0x00fffffffffffe00
CLUSTERS = ["512", "1k", "2k", "4k", "8k", "16k", "32k", "64k", "128k", "256k", "512k", "1M", "2M"]
KINDS = (
    [f"cluster_size={size}" for size in CLUSTERS] +
    [f"cluster_size=4k,refcount_bits={1 << bits}" for bits in range(7)] +
    [f"cluster_size=512,refcount_bits={bits}" for bits in (1, 64)] +
    [f"compat=0.10,cluster_size={size}" for size in ("512", "64k", "2M")] +
    ["lazy_refcounts=on,cluster_size=4k", "lazy_refcounts=on,refcount_bits=1"] +
    [f"extended_l2=on,cluster_size={size}" for size in ("16k", "64k", "2M")] +
    ["extended_l2=on,cluster_size=16k,refcount_bits=64,lazy_refcounts=on",
     "compression_type=zstd,cluster_size=8k", "data_file=data,cluster_size=16k",
     "data_file=data,data_file_raw=on", "data_file=data,extended_l2=on,cluster_size=32k"])
SIZE = 3 * MiB + 512


def write(tool, first, packs):
    """Requests at places that cross clusters, in bytes from @first up."""
    commands = [f"write -q -P {first} 0 700k", f"write -q -P {first + 1} 699k 3k",
                f"write -q -z {first * 3}k 70k", "discard -q 256k 128k",
                f"write -q -P {first + 2} {2 * MiB - 1536} 5k",
                f"write -q -z -u {first}k 9k", f"write -q -P {first + 3} {3 * MiB - 512} 1k"]
    if packs:
        commands.append(f"write -q -c -P {first + 4} 2M 2k")
    words = [word for command in commands[:-1] for word in ("-c", command)]
    must(tool, "-f", "qcow2", "-d", "unmap", *words, "image")
    if packs:  # whole clusters only: some kinds have larger ones
        run(tool, "-f", "qcow2", "-c", commands[-1], "image")


def content(tool):
    must(tool, "convert", "-f", "qcow2", "-O", "raw", "image", "out.raw")
    return sha256("out.raw")


def pass_on(kind, makers):
    """What is wrong with an image of @kind that the first maker makes and both write."""
    bare = "data_file" in kind
    for name in ("image", "data"):
        if os.path.exists(name):
            os.remove(name)
    must(makers[0][0], "create", "-q", "-f", "qcow2", "-o", kind, "image", str(SIZE))
    for i, (img, io) in enumerate(makers):
        write(io, 10 * i + 11, not bare)
        if not bare and "refcount_bits=1" not in kind.split(","):
            must(img, "snapshot", "-c", f"s{i}", "image")
            write(io, 10 * i + 41, not bare)
    if not bare and "refcount_bits=1" not in kind.split(","):
        must(makers[0][0], "snapshot", "-d", "s1", "image")
    for img, _ in makers:
        done = check(img, "image")
        if done.status != 0:
            return str(done)
    seen = {content(img) for img, _ in makers}
    return None if len(seen) == 1 else "they do not read the same"


def test_kinds(tap):
    ours = ("qemu-img", "qemu-io")
    theirs = (stock("qemu-img"), stock("qemu-io"))
    for kind in KINDS:
        for name, makers in (("ours first", (ours, theirs)), ("theirs first", (theirs, ours))):
            wrong = pass_on(kind, makers)
            tap.ok(not wrong, f"{kind}, {name}", wrong)


# ---- sizes, snapshots, bitmaps ---------------------------------------------------------------------

def agree(makers):
    """What is wrong with the image as both see it; None if nothing is."""
    for img, _ in makers:
        done = check(img, "image")
        if done.status != 0:
            return str(done)
    return None if len({content(img) for img, _ in makers}) == 1 else "they do not read the same"


def resized(mode, makers):
    """One makes the disk larger and writes there, the other smaller, and the first larger again."""
    (img, io_), (other_img, other_io) = makers
    for name in ("image", "data"):
        if os.path.exists(name):
            os.remove(name)
    must(img, "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "image", "1M")
    must(io_, "-f", "qcow2", "-c", "write -q -P 1 0 1M", "image")
    must(img, "resize", "-q", "-f", "qcow2", f"--preallocation={mode}", "image", "3M")
    must(other_io, "-f", "qcow2", "-c", "write -q -P 2 1500k 700k", "image")
    must(other_img, "resize", "-q", "-f", "qcow2", "--shrink", "image", "1900k")
    wrong = agree(makers)
    must(img, "resize", "-q", "-f", "qcow2", f"--preallocation={mode}", "image", "2M")
    done = run(other_io, "-r", "-f", "qcow2", "-c", "read -P 2 1500k 400k", "-c", "read -P 0 1900k 148k",
               "image")
    if done.status or "Pattern verification failed" in done.text:
        wrong = f"{wrong or ''}{done}"
    return wrong or agree(makers)


def snapshots_of_sizes(makers):
    """A snapshot of each size that the disk had, made by one and applied by the other."""
    (img, io_), (other_img, other_io) = makers
    must(img, "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "image", "1M")
    must(io_, "-f", "qcow2", "-c", "write -q -P 1 0 1M", "image")
    must(img, "snapshot", "-c", "small", "image")
    must(other_img, "resize", "-q", "-f", "qcow2", "image", "3M")
    must(other_io, "-f", "qcow2", "-c", "write -q -P 2 512k 2M", "image")
    must(other_img, "snapshot", "-c", "large", "image")
    for name, size in (("small", MiB), ("large", 3 * MiB), ("small", MiB)):
        must(img, "snapshot", "-a", name, "image")
        for tool, _ in makers:
            must(tool, "convert", "-f", "qcow2", "-O", "raw", "image", "out.raw")
            if os.path.getsize("out.raw") != size:
                return f"{name} has {os.path.getsize('out.raw')} bytes for {tool}"
        wrong = agree(makers)
        if wrong:
            return wrong
        makers = makers[::-1]
        img = makers[0][0]
    must(other_img, "snapshot", "-d", "large", "image")
    return agree(makers)


def bits(name):
    """The content of bitmap @name as the file has it, and its flags."""
    at = 112
    while field(at, "I") != 0x23852875:
        at += 8 + (field(at + 4, "I") + 7 & ~7)
    at = field(at + 8 + 16)
    while True:
        table, entries, flags, _, _, length, extra = struct.unpack(
            ">QIIBBHI", b"".join(field(at + i, "c") for i in range(24)))
        with open("image", "rb") as file:
            file.seek(at + 24 + extra)
            if file.read(length).decode() == name:
                break
        at += 24 + extra + length + 7 & ~7
    content_ = b""
    for i in range(entries):
        entry = field(table + 8 * i)
        with open("image", "rb") as file:
            file.seek(entry & OFFSET)
            content_ += file.read(64 * KiB) if entry & OFFSET else bytes([255 * (entry & 1)]) * 64 * KiB
    return int.from_bytes(content_[:32], "little"), flags


def bitmaps(makers):
    """Each adds a bitmap, writes, merges what the other has, and removes one."""
    (img, io_), (other_img, other_io) = makers
    must(img, "create", "-q", "-f", "qcow2", "image", "1M")
    must(img, "bitmap", "--add", "-g", "64k", "image", "first")
    must(other_io, "-f", "qcow2", "-c", "write -q 64k 100k", "image")
    must(other_img, "bitmap", "--add", "-g", "64k", "image", "second")
    must(io_, "-f", "qcow2", "-c", "write -q 640k 1k", "image")
    seen = [bits("first"), bits("second")]
    must(img, "bitmap", "--disable", "image", "second")
    must(io_, "-f", "qcow2", "-c", "write -q 0 1k", "image")
    must(other_img, "bitmap", "--add", "--merge", "first", "-g", "64k", "image", "third")
    must(img, "bitmap", "--remove", "image", "first")
    seen += [bits("second"), bits("third")]
    want = [(0x406, 2), (0x400, 2), (0x400, 0), (0x407, 2)]
    return f"{seen} and not {want}" if seen != want else agree(makers)


def test_changes(tap):
    ours, theirs = ("qemu-img", "qemu-io"), (stock("qemu-img"), stock("qemu-io"))
    for name, makers in (("ours first", (ours, theirs)), ("theirs first", (theirs, ours))):
        for mode in ("off", "metadata", "falloc", "full"):
            wrong = resized(mode, makers)
            tap.ok(not wrong, f"resize, preallocation {mode}, {name}", wrong)
        wrong = snapshots_of_sizes(makers)
        tap.ok(not wrong, f"snapshots of a disk that changed its size, {name}", wrong)
        wrong = bitmaps(makers)
        tap.ok(not wrong, f"bitmaps added, written, merged, removed, {name}", wrong)


# ---- traces in the file ----------------------------------------------------------------------------

def field(offset, kind="Q"):
    with open("image", "rb") as file:
        file.seek(offset)
        return struct.unpack(f">{kind}", file.read(struct.calcsize(kind)))[0]


def put(offset, value):
    with open("image", "r+b") as file:
        file.seek(offset)
        file.write(struct.pack(">Q", value))


def entry_of(guest):
    """Where the L2 entry is, of an image with clusters of 64k."""
    return (field(field(40)) & OFFSET) + guest // (64 * KiB) * 8


def make(options="cluster_size=64k"):
    must("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "image", "1M")


def io(*commands, options=""):
    words = [word for command in commands for word in ("-c", command)]
    return run("qemu-io", "-d", "unmap", "--image-opts", *words,
               f"driver=qcow2,file.driver=file,file.filename=image{options}")


def test_overlap(tap):
    """R8, R12: a cluster that is said to be data, and is not."""
    for name, place, template, class_name in (
            ("the refcount table", lambda: field(48), "constant", "refcount table"),
            ("a refcount block", lambda: field(field(48)), "cached", "refcount block"),
            ("the active L1 table", lambda: field(40), "constant", "active L1 table"),
            ("an L2 table", lambda: field(field(40)) & OFFSET, "cached", "active L2 table")):
        for how in ("", f",overlap-check={template}", f",overlap-check.template={template}"):
            make()
            io("write -q 0 64k")
            put(entry_of(128 * KiB), place() | COPIED)
            before = field(place())
            done = io("write 128k 4k", "write 512k 4k", options=how)
            good = done.text.count("Input/output error") == 2 and class_name in done.err and \
                field(72) & 2 and field(place()) == before
            again = io("write 512k 4k")
            tap.ok(good and "Image is corrupt; cannot be opened read/write" in again.err,
                   f"nothing is written over {name}{how}, and the image is marked", f"{done}\n{again}")
        make()
        io("write -q 0 64k")
        put(entry_of(128 * KiB), place() | COPIED)
        done = io("write -q 128k 512", options=",overlap-check=none")
        tap.ok(done.status == 0 and "error" not in done.text,
               f"overlap-check=none lets {name} be written over", done)


def test_discard_no_unref(tap):
    make()
    io("write -q -P 1 0 256k")
    place = field(entry_of(64 * KiB)) & OFFSET
    done = io("discard -q 64k 64k", "read -q -P 0 64k 64k", options=",discard-no-unref=on")
    entry = field(entry_of(64 * KiB))
    tap.ok(done.status == 0 and entry & OFFSET == place and entry & 1 and
           check("qemu-img", "image").status == 0,
           "discard-no-unref: the place is kept, and reads as zeroes", f"{done}\n{entry:#x}")
    done = io("discard -q 128k 64k")
    tap.ok(not field(entry_of(128 * KiB)) & OFFSET, "without it the place is given up", done)


def test_unknown(tap):
    """Extensions and feature bits that we do not know."""
    with lzma.open(os.path.join(SAMPLES, "q2-unknown.qcow2.xz")) as packed:
        image = packed.read()
    with open("image", "wb") as file:
        file.write(image)
    kept, cleared = field(80), field(88)
    must("qemu-io", "-r", "-f", "qcow2", "-c", "read -q 0 64k", "image")
    tap.ok(field(88) == cleared != 0, "reading leaves an unknown autoclear bit")
    must("qemu-io", "-f", "qcow2", "-c", "write -q -P 3 0 64k", "image")
    tap.ok(field(88) == 0 and field(80) == kept != 0,
           "writing clears the autoclear bit and keeps the compatible one")
    must("qemu-img", "amend", "-f", "qcow2", "-o", "lazy_refcounts=on", "image")
    must("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "other", "-F", "raw", "image")
    with open("image", "rb") as file:
        after = file.read(4096)
    at = 112
    unknown = []
    while at < 4096 and (kind := struct.unpack_from(">I", image, at)[0]):
        length = struct.unpack_from(">I", image, at + 4)[0]
        if kind not in (0x6803f857, 0xe2792aca):
            unknown.append(image[at:at + 8 + length])
        at += 8 + (length + 7 & ~7)
    tap.ok(unknown and all(part in after for part in unknown),
           "unknown extensions are there when the header was written anew", str(unknown))


def main():
    tap = Tap()
    if stock("qemu-img") and stock("qemu-io"):
        test_kinds(tap)
        test_changes(tap)
    test_overlap(tap)
    test_discard_no_unref(tap)
    test_unknown(tap)
    return tap.finish()


sys.exit(main())
