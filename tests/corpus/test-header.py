#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Each field of a header, out of range: one sentence of its own, and nothing is opened.  An installed
stock says the same, but where OURS holds."""

import os
import struct
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from imgtest import MiB, Tap, must, run, stock     # noqa: E402

U32, U64 = (1 << 32) - 1, (1 << 64) - 1
EXT_BACKING, EXT_BITMAPS, EXT_CRYPTO = 0xe2792aca, 0x23852875, 0x0537be77
OURS = "ours"       # stock says less, something else, or opens it


def ext(kind, data, length=None):
    """An extension for put(EXTENSIONS)."""
    padded = data + bytes(-len(data) % 8)
    return struct.pack(">II", kind, len(data) if length is None else length) + padded


def bitmaps(nb, reserved, size, offset):
    return ext(EXT_BITMAPS, struct.pack(">IIQQ", nb, reserved, size, offset))


EXTENSIONS = 112    # where they begin
# Field, [(offset, format, value)], the sentence.
FIELDS = (
    ("version", [(4, "I", 4)], "Unsupported qcow2 version 4"),
    ("version", [(4, "I", 0)], "Unsupported qcow2 version 0"),
    ("cluster_bits", [(20, "I", 8)], "Unsupported cluster size: 2^8"),
    ("cluster_bits", [(20, "I", 22)], "Unsupported cluster size: 2^22"),
    ("cluster_bits", [(20, "I", U32)], "Unsupported cluster size: 2^4294967295"),
    ("header_length", [(100, "I", 96)], "qcow2 header too short"),
    ("header_length", [(100, "I", 1 << 20)], "qcow2 header exceeds cluster size"),
    ("header_length", [(100, "I", 109)], "qcow2 header length 109 is not a multiple of 8", OURS),
    ("backing_file_offset", [(8, "Q", 65537)], "Invalid backing file offset"),
    ("backing_file_offset", [(8, "Q", 8)], "Invalid backing file offset", OURS),
    ("backing_file_size", [(8, "Q", 1024), (16, "I", 1024)], "Backing file name too long"),
    ("backing_file_size", [(8, "Q", 65000), (16, "I", 600)], "Backing file name too long"),
    ("size", [(24, "Q", U64)], "Image is too big", OURS),
    ("size", [(24, "Q", 1 << 62)], "Image is too big", OURS),
    ("size", [(24, "Q", 1 << 40)], "L1 table is too small"),
    ("crypt_method", [(32, "I", 3)], "Unsupported encryption method 3"),
    ("l1_size", [(36, "I", 0)], "L1 table is too small"),
    ("l1_size", [(36, "I", (4 << 20) + 1)], "Active L1 table too large"),
    ("l1_table_offset", [(40, "Q", 0x30200)], "Active L1 table offset invalid"),
    ("l1_table_offset", [(40, "Q", 1 << 63)], "Active L1 table offset invalid"),
    ("refcount_table_offset", [(48, "Q", 0x10200)], "Reference count table offset invalid"),
    ("refcount_table_offset", [(48, "Q", 1 << 63)], "Reference count table offset invalid"),
    ("refcount_table_clusters", [(56, "I", 0)], "Image does not contain a reference count table"),
    ("refcount_table_clusters", [(56, "I", 129)], "Reference count table too large"),
    ("refcount_table_clusters", [(56, "I", U32)], "Reference count table too large"),
    ("nb_snapshots", [(60, "I", 65537)], "Snapshot table too large"),
    ("snapshots_offset", [(60, "I", 1), (64, "Q", 512)], "Snapshot table offset invalid"),
    ("incompatible_features", [(72, "Q", 1 << 63)],
     "Unsupported qcow2 feature(s): Unknown incompatible feature: 8000000000000000"),
    ("incompatible_features", [(72, "Q", 8)],
     "qcow2: Compression type incompatible feature bit must not be set"),
    ("compression_type", [(104, "B", 1)],
     "qcow2: Compression type incompatible feature bit must be set"),
    ("compression_type", [(104, "B", 2), (72, "Q", 8)], "qcow2: unknown compression type: 2"),
    ("subclusters", [(72, "Q", 16), (20, "I", 13), (100, "I", 112)], "Unsupported subcluster size: 256"),
    ("autoclear_features", [(88, "Q", 2)], "data-file-raw requires a data file", OURS),
    ("refcount_order", [(96, "I", 7)],
     "Reference count entry width too large; may not exceed 64 bits"),
    ("refcount_order", [(96, "I", U32)],
     "Reference count entry width too large; may not exceed 64 bits"),
    ("extension", [(EXTENSIONS, "II", (0x12345678, 1 << 20))], "Header extension too large"),
    ("backing format", [(EXTENSIONS, "s", ext(EXT_BACKING, bytes(16)))],
     "ERROR: ext_backing_format: len=16 too large (>=16)"),
    ("bitmaps: length", [(EXTENSIONS, "s", ext(EXT_BITMAPS, bytes(16))), (88, "Q", 1)],
     "bitmaps_ext: Invalid extension length"),
    ("bitmaps: none", [(EXTENSIONS, "s", bitmaps(0, 0, 32, 65536)), (88, "Q", 1)],
     "found bitmaps extension with zero bitmaps"),
    ("bitmaps: reserved", [(EXTENSIONS, "s", bitmaps(1, 1, 32, 65536)), (88, "Q", 1)],
     "bitmaps_ext: Reserved field is not zero"),
    ("bitmaps: too many", [(EXTENSIONS, "s", bitmaps(65536, 0, 32, 65536)), (88, "Q", 1)],
     "bitmaps_ext: Image has 65536 bitmaps, exceeding the QEMU supported maximum of 65535"),
    ("bitmaps: directory unaligned", [(EXTENSIONS, "s", bitmaps(1, 0, 32, 512)), (88, "Q", 1)],
     "bitmaps_ext: invalid bitmap directory offset"),
    ("bitmaps: directory too large",
     [(EXTENSIONS, "s", bitmaps(1, 0, 1 << 40, 65536)), (88, "Q", 1)],
     "bitmaps_ext: bitmap directory size (1099511627776) exceeds the maximum supported size "
     "(67107840)"),
    ("LUKS header without encryption", [(EXTENSIONS, "s", ext(EXT_CRYPTO, bytes(16)))],
     "CRYPTO header extension only expected with LUKS encryption method"),
    ("LUKS header: length", [(EXTENSIONS, "s", ext(EXT_CRYPTO, bytes(8))), (32, "I", 2)],
     "CRYPTO header extension size 8, but expected size 16"),
    ("LUKS header: place",
     [(EXTENSIONS, "s", ext(EXT_CRYPTO, struct.pack(">QQ", 512, 512))), (32, "I", 2)],
     "Encryption header offset '512' is not a multiple of cluster size '65536'"),
)


def spoil(patches):
    with open("sound", "rb") as file:
        image = bytearray(file.read())
    for offset, kind, value in patches:
        if kind == "s":
            image[offset:offset + len(value)] = value
        else:
            struct.pack_into(f">{kind}", image, offset,
                             *(value if isinstance(value, tuple) else (value,)))
    with open("image", "wb") as file:
        file.write(image)


def sentence(tool):
    """What it says of the image; None if it opens it."""
    done = run(tool, "info", "-f", "qcow2", "image")
    start = "qemu-img: Could not open 'image': "
    if done.status == 0 or done.crashed or not done.err.startswith(start):
        return str(done)
    return done.err[len(start):].rstrip("\n")


def main():
    tap = Tap()
    must("qemu-img", "create", "-q", "-f", "qcow2", "sound", str(MiB))
    for field, patches, want, *how in FIELDS:
        spoil(patches)
        said = sentence("qemu-img")
        where = f"{field} {[patch[2] for patch in patches if patch[1] != 's']}"
        tap.ok(said == want, f"{where}: {want}", said)
        if stock("qemu-img") and OURS not in how:
            theirs = sentence(stock("qemu-img"))
            tap.ok(theirs == want, f"{where}: so says stock", theirs)
    return tap.finish()


sys.exit(main())
