#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Each field of a header out of range, of its extensions, of an entry of the table of snapshots and of
the directory of bitmaps: one sentence of its own, and nothing is opened.  An installed stock says the
same, but where OURS holds."""

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
    ("magic", [(0, "I", 0x514649fa)], "Image is not in qcow2 format"),
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
    ("l1_table_offset", [(40, "Q", 1 << 40)],
     "qcow2: The L1 table at offset 0x10000000000 lies past the end of the file", OURS),
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
    ("LUKS header: none", [(32, "I", 2)], "Missing CRYPTO header for crypt method 2",
     OURS),
    ("LUKS header: no place",
     [(EXTENSIONS, "s", ext(EXT_CRYPTO, struct.pack(">QQ", 0, 4096))), (32, "I", 2)],
     "Encryption header offset '0' is invalid", OURS),
    ("LUKS header: too far",
     [(EXTENSIONS, "s", ext(EXT_CRYPTO, struct.pack(">QQ", 1 << 60, 4096))), (32, "I", 2)],
     "Encryption header offset '1152921504606846976' is invalid", OURS),
    ("LUKS header: too small",
     [(EXTENSIONS, "s", ext(EXT_CRYPTO, struct.pack(">QQ", 65536, 591))), (32, "I", 2)],
     "Encryption header of 591 bytes is too small", OURS),
    ("LUKS header: too large",
     [(EXTENSIONS, "s", ext(EXT_CRYPTO, struct.pack(">QQ", 65536, 1 << 40))), (32, "I", 2)],
     "Encryption header of 1099511627776 bytes is too large", OURS),
    ("LUKS header: place",
     [(EXTENSIONS, "s", ext(EXT_CRYPTO, struct.pack(">QQ", 512, 512))), (32, "I", 2)],
     "Encryption header offset '512' is not a multiple of cluster size '65536'"),
)


# The same for places counted from the entry of a snapshot; the command that needs them.
LOAD = ("convert", "-f", "qcow2", "-O", "raw", "-l", "s1", "image", "out.raw")
INFO = ("info", "-f", "qcow2", "image")
NOT_LOADED = "Failed to load snapshot: "
NOT_OPEN = "Could not open 'image': "
SNAPSHOT = (
    ("l1_table_offset", [(0, "Q", 512)], "Snapshot L1 table offset invalid", LOAD),
    ("l1_table_offset", [(0, "Q", 1 << 60)], "Snapshot L1 table offset invalid", LOAD, OURS),
    ("l1_size", [(8, "I", (4 << 20) + 1)], "Snapshot L1 table too large", LOAD),
    ("l1_size", [(8, "I", U32)], "Snapshot L1 table too large", LOAD),
    ("extra data size", [(36, "I", 1025)], "Too much extra metadata in snapshot table entry 0\n"
     "You can force-remove this extra metadata with qemu-img check -r all", INFO),
    ("extra data size", [(36, "I", U32)], "Too much extra metadata in snapshot table entry 0\n"
     "You can force-remove this extra metadata with qemu-img check -r all", INFO),
)
# From the extension that says where the bitmaps are.
EXTENSION = (
    ("number", [(0, "I", 2)], "Less bitmaps found than specified in header extension", INFO),
    ("directory size", [(8, "Q", 64)], "More bitmaps found than specified in header extension", INFO),
    ("directory size", [(8, "Q", 0)], "Requested bitmap directory size is zero", INFO),
    ("directory offset", [(16, "Q", 1 << 63)], "bitmaps_ext: invalid bitmap directory offset", INFO,
     OURS),
)
# From the entry of a bitmap, and from its table.
BAD = "Bitmap directory entry 0 is invalid: "
CLEAR = ("bitmap", "--clear", "-f", "qcow2", "image", "b0")
BITMAP = (
    ("table offset", [(0, "Q", 0)], BAD + "the offset of its table", INFO, OURS),
    ("table offset", [(0, "Q", 512)], BAD + "the offset of its table", INFO, OURS),
    ("table offset", [(0, "Q", 1 << 60)], BAD + "the offset of its table", INFO, OURS),
    ("table size", [(8, "I", 0)], BAD + "the size of its table", INFO, OURS),
    ("table size", [(8, "I", 0x8000001)], BAD + "the size of its table", INFO, OURS),
    ("table size", [(8, "I", 5)], "Bitmap 'b0' does not have the size that the disk needs", CLEAR,
     OURS),
    ("flags", [(12, "I", 4)], BAD + "a flag that is not known", INFO, OURS),
    ("flags", [(12, "I", 1 << 31)], BAD + "a flag that is not known", INFO, OURS),
    ("type", [(16, "B", 0)], BAD + "its type", INFO, OURS),
    ("type", [(16, "B", 2)], BAD + "its type", INFO, OURS),
    ("granularity", [(17, "B", 8)], BAD + "its granularity", INFO, OURS),
    ("granularity", [(17, "B", 32)], BAD + "its granularity", INFO, OURS),
    ("name length", [(18, "H", 0)], BAD + "the length of its name", INFO, OURS),
    ("name length", [(18, "H", 1024)], BAD + "the length of its name", INFO, OURS),
    ("name length", [(18, "H", 20)], BAD + "the length of its name", INFO, OURS),
    ("name", [(24, "B", 0)], BAD + "its name", INFO, OURS),
    ("extra data", [(20, "I", 4)], BAD + "extra data, which nobody knows", INFO, OURS),
)
TABLE = (
    ("entry", [(0, "Q", 65536 + 512)], "Entry 0 of the table of bitmap 'b0' is invalid: 0x10200",
     CLEAR, OURS),
    ("entry", [(0, "Q", 2)], "Entry 0 of the table of bitmap 'b0' is invalid: 0x2", CLEAR, OURS),
    ("entry", [(0, "Q", 1 << 60)],
     "Entry 0 of the table of bitmap 'b0' is invalid: 0x1000000000000000", CLEAR, OURS),
)


def spoil(patches, sound="sound", base=0):
    """Make "image" of @sound, with each patch at its offset from @base."""
    with open(sound, "rb") as file:
        image = bytearray(file.read())
    for offset, kind, value in patches:
        offset += base
        if kind == "s":
            image[offset:offset + len(value)] = value
        else:
            struct.pack_into(f">{kind}", image, offset,
                             *(value if isinstance(value, tuple) else (value,)))
    with open("image", "wb") as file:
        file.write(image)


def sentence(tool, command):
    """What it says of the image; None if it opens it."""
    done = run(tool, *command)
    said = done.err.removeprefix("qemu-img: ").rstrip("\n")
    for start in (NOT_OPEN, NOT_LOADED):
        if done.status == 1 and not done.crashed and said.startswith(start):
            return said[len(start):]
    return str(done)


def try_field(tap, where, want, how, command=INFO):
    said = sentence("qemu-img", command)
    tap.ok(said == want, f"{where}: {want.splitlines()[0]}", said)
    if stock("qemu-img") and OURS not in how:
        theirs = sentence(stock("qemu-img"), command)
        tap.ok(theirs == want, f"{where}: so says stock", theirs)


def place(offset, kind="Q", base=0):
    """A number in the image with a snapshot and a bitmap."""
    with open("full", "rb") as file:
        file.seek(base + offset)
        return struct.unpack(f">{kind}", file.read(struct.calcsize(kind)))[0]


def make_full():
    """An image with snapshot s1 and bitmap b0: where the snapshot's entry, the extension for bitmaps,
    the bitmap's entry and its table are."""
    must("qemu-img", "create", "-q", "-f", "qcow2", "full", str(MiB))
    must("qemu-io", "-f", "qcow2", "-c", "write -q 0 64k", "full")
    must("qemu-img", "snapshot", "-c", "s1", "full")
    must("qemu-img", "bitmap", "-f", "qcow2", "--add", "full", "b0")
    at = EXTENSIONS
    while place(at, "I") != EXT_BITMAPS:
        at += 8 + (place(at + 4, "I") + 7 & ~7)
    directory = place(at + 8 + 16)
    return place(64), at + 8, directory, place(directory)


def main():
    tap = Tap()
    must("qemu-img", "create", "-q", "-f", "qcow2", "sound", str(MiB))
    for field, patches, want, *how in FIELDS:
        spoil(patches)
        try_field(tap, f"{field} {[patch[2] for patch in patches if patch[1] != 's']}", want, how)
    for (what, rows), base in zip((("snapshot", SNAPSHOT), ("extension for bitmaps", EXTENSION),
                                   ("bitmap", BITMAP), ("table of bitmap", TABLE)), make_full()):
        for field, patches, want, command, *how in rows:
            spoil(patches, "full", base)
            try_field(tap, f"{what}: {field} {patches[0][2]}", want, how, command)
    return tap.finish()


sys.exit(main())
