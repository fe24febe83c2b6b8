#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks at the edge of what qcow2 can be, and features that meet: by our tools, and looked at by an
installed stock."""

import json
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))

from imgtest import BUILD, KiB, MiB, Tap, must, run, sha256, stock  # noqa: E402


def unsound(name="image"):
    """What our check, and stock's, finds wrong with the image; None if nothing is."""
    for tool in ["qemu-img"] + [stock("qemu-img")] * bool(stock("qemu-img")):
        done = run(tool, "check", "-f", "qcow2", name)
        if done.status:
            return str(done)
    return None


def make(size, *options, name="image"):
    if os.path.exists(name):
        os.remove(name)
    must("qemu-img", "create", "-q", "-f", "qcow2", *options, name, size)


def all_go_well(tap, what, *commands):
    """Each command of qemu-img on the image ends well and leaves it sound."""
    for words in commands:
        done = run("qemu-img", *words)
        wrong = str(done) if done.status else unsound()
        tap.ok(not wrong, f"{what}: {' '.join(words)}", wrong)


def refused(tap, what, sentence, *words):
    done = run("qemu-img", *words)
    tap.ok(done.status == 1 and sentence in done.err, what, done)


def test_empty_disk(tap):
    for options in ((), ("-o", "cluster_size=512"), ("-o", "compat=0.10"), ("-o", "extended_l2=on")):
        make("0", *options)
        all_go_well(tap, f"a disk of 0 bytes {' '.join(options)}",
                    ["snapshot", "-c", "s", "image"], ["snapshot", "-c", "t", "image"],
                    ["check", "-r", "all", "image"], ["snapshot", "-a", "s", "image"],
                    ["compact", "-q", "image"], ["snapshot", "-d", "s", "image"],
                    ["snapshot", "-d", "t", "image"], ["resize", "-q", "image", "1M"])
    make("1M")
    all_go_well(tap, "a disk that was empty once",
                ["snapshot", "-c", "large", "image"], ["amend", "-o", "size=0", "image"],
                ["snapshot", "-c", "empty", "image"], ["check", "-r", "all", "image"],
                ["snapshot", "-a", "large", "image"], ["snapshot", "-a", "empty", "image"],
                ["snapshot", "-d", "large", "image"], ["snapshot", "-d", "empty", "image"])


def test_bitmaps_of_an_empty_disk(tap):
    """No image with such a bitmap can be opened by stock."""
    sentence = "A disk of 0 bytes cannot have persistent bitmaps"
    make("0")
    refused(tap, "no bitmap for a disk of 0 bytes", sentence, "bitmap", "--add", "image", "b")
    make("1M")
    must("qemu-img", "bitmap", "--add", "image", "b")
    refused(tap, "no size of 0 for a disk with bitmaps", sentence, "amend", "-o", "size=0", "image")
    tap.ok(not unsound(), "that image is as it was", unsound())


def test_bitmaps_to_version_2(tap):
    make("1M")
    for name in ("two", "copy"):
        if os.path.exists(name):
            os.remove(name)
    done = run("qemu-img", "convert", "--bitmaps", "-O", "qcow2", "-o", "compat=0.10", "image", "two")
    tap.ok(done.status == 0, "convert --bitmaps without bitmaps, to version 2", done)
    must("qemu-img", "bitmap", "--add", "image", "b")
    must("qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 1M", "image")
    must("qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", "copy", "1M")
    refused(tap, "with bitmaps it is refused", "Cannot store dirty bitmaps in qcow2 v2 files",
            "convert", "--bitmaps", "-n", "-O", "qcow2", "image", "copy")
    done = run("qemu-io", "-r", "-c", "read -P 0 0 1M", "copy")
    tap.ok("failed" not in done.text, "before anything is copied", done)


def test_preallocation_over_a_backing_file(tap):
    """What the disk gains reads as zeroes, what it had as before."""
    with open("base", "wb") as file:
        file.write(bytes([9]) * 300000)
    for options in ("cluster_size=64k", "cluster_size=4k,compat=0.10", "cluster_size=512",
                    "extended_l2=on,cluster_size=16k", "cluster_size=64k,data_file=data"):
        for mode in ("metadata", "falloc", "full"):
            wrong = None
            for size in (200 << 10, 290 << 10, 299520, 300032, 310 << 10):  # 300032: all of the base
                make(str(size), "-b", "base", "-F", "raw", "-o", options)
                must("qemu-img", "resize", "-q", f"--preallocation={mode}", "image", "1M")
                for tool in ["qemu-img"] + [stock("qemu-img")] * bool(stock("qemu-img")):
                    must(tool, "convert", "-f", "qcow2", "-O", "raw", "image", "out.raw")
                    with open("out.raw", "rb") as file:
                        good = bytes([9]) * min(size, 300000)
                        if file.read() != good + bytes((1 << 20) - len(good)):
                            wrong = f"{tool} of {size}"
                wrong = unsound() or wrong
            place = "data" if "data_file" in options else "image"
            if mode != "metadata" and os.stat(place).st_blocks * 512 < 700 << 10:
                wrong = wrong or "the host has not given the space"
            tap.ok(not wrong, f"resize --preallocation={mode} over a backing file, {options}", wrong)


def test_sentences(tap):
    make("1M")
    for option in ("encrypt.new-secret=s", "encrypt.keyslot=1", "encrypt.state=active"):
        refused(tap, f"amend -o {option} of an image that is not encrypted",
                "Can't amend encryption options - encryption not present",
                "amend", "-o", option, "image")
    for words in (("-b", ""), ("-o", "backing_file=")):
        refused(tap, f"create {' '.join(words)}", "Expected backing file name, got empty string",
                "create", "-f", "qcow2", *words, "new", "1M")
    make("1M")
    for words in (("-l", "-l"), ("-c", "a", "-c", "b"), ("-l", "-c", "a")):
        refused(tap, f"snapshot {' '.join(words)}", "Cannot mix '-l', '-a', '-c', '-d'", "snapshot", *words, "image")
    refused(tap, "convert --target-is-zero -B",
            "Cannot use --target-is-zero when the destination image has a backing file",
            "convert", "-n", "--target-is-zero", "-B", "image", "-F", "qcow2", "-O", "qcow2", "image", "image")
    done = run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "lazy_refcounts", "new", "1M")
    tap.ok(done.status == 0 and not done.text, "a lone word after -o means yes, without a warning", done)


def test_bitmaps_without_the_backing_file(tap):
    make("1M", name="base")
    make("1M", "-b", "base", "-F", "qcow2", name="top")
    os.remove("base")
    done = run("qemu-img", "bitmap", "--add", "top", "b")
    tap.ok(done.status == 0, "bitmap --add needs no backing file", done)


def test_creation_without_room(tap):
    """What a failed creation leaves: no file where none was; else an empty one, in its place."""
    words = ["/usr/bin/prlimit", f"--fsize={512 * KiB}", os.path.join(BUILD, "qemu-img"), "create", "-f", "qcow2", "-o",
             "preallocation=full"]
    done = run(*words, "none", "4M")
    tap.ok(done.status == 1 and not os.path.exists("none"), "a failed creation leaves no file", done)
    with open("old", "wb") as f:
        f.write(bytes(64 * KiB))
    os.symlink("old", "link")
    done = run(*words, "link", "4M")
    tap.ok(done.status == 1 and os.path.islink("link") and os.path.getsize("old") == 0,
           "nor takes away a link, or the file that it leads to", done)
    must("qemu-img", "create", "-q", "-f", "raw", "large", "4M")
    done = run("/usr/bin/prlimit", f"--fsize={MiB}", os.path.join(BUILD, "qemu-io"), "-f", "raw", "-n", "-c",
               "write 2M 4k", "large")
    tap.ok(done.status == 1 and "File too large" in done.text, "a write behind the limit of a file's size fails", done)


def test_shrunk_data_file(tap):
    """As stock's: what lies beyond the end is cut off, in each kind of data file; a longer raw one is kept."""
    for raw in ("off", "on"):
        make("8M", "-o", f"data_file=data,data_file_raw={raw}")
        must("qemu-io", "-f", "qcow2", "-c", "write -q -P 5 0 8M", "image")
        must("qemu-img", "resize", "-q", "--shrink", "image", "4M")
        tap.ok(os.path.getsize("data") == 4 * MiB and not unsound(), f"data_file_raw={raw}: cut with the disk", unsound())


def test_gain_over_a_longer_backing_file(tap):
    """amend -o size= as resize: no byte of the backing file shows."""
    with open("base", "wb") as file:
        file.write(bytes([9]) * 300000)
    for options in ("cluster_size=64k", "cluster_size=4k,compat=0.10", "cluster_size=64k,data_file=data"):
        make("64k", "-b", "base", "-F", "raw", "-o", options)
        must("qemu-img", "amend", "-o", "size=256k", "image")
        must("qemu-img", "convert", "-f", "qcow2", "-O", "raw", "image", "out.raw")
        with open("out.raw", "rb") as file:
            good = file.read() == bytes([9]) * (64 * KiB) + bytes(192 * KiB)
        tap.ok(good and not unsound(), f"amend -o size= over a longer backing file, {options}", unsound())


def test_refused_step_down(tap):
    """What cannot become version 2 stays as it is, in size, features and counts."""
    for what, options in (("extended L2", "extended_l2=on"), ("a data file", "data_file=data"),
                          ("zstd", "compression_type=zstd"), ("bitmaps", ""), ("a snapshot", "")):
        make("1M", "-o", ",".join(["lazy_refcounts=on", "refcount_bits=64"] + [options] * bool(options)))
        if what == "bitmaps":
            must("qemu-img", "bitmap", "--add", "image", "b")
        if what == "a snapshot":
            must("qemu-img", "snapshot", "-c", "s", "image")
        before = must("qemu-img", "info", "--output=json", "image").out
        done = run("qemu-img", "amend", "-o", "compat=0.10,refcount_bits=16,size=2M", "image")
        after = must("qemu-img", "info", "--output=json", "image").out
        tap.ok(done.status == 1 and before == after and not unsound(), f"version 2 with {what}", f"{done}\n{after}")


def test_compressed_out_of_order(tap):
    """-W only allows what -c has no use for."""
    with open("source", "wb") as f:
        f.write(b"".join(b"%d bottles of beer, " % i for i in range(200000)))
    must("qemu-img", "convert", "-c", "-O", "qcow2", "source", "plain")
    done = run("qemu-img", "convert", "-c", "-W", "-O", "qcow2", "source", "any")
    tap.ok(done.status == 0 and sha256("any") == sha256("plain"), "convert -c -W gives the bytes of -c", done)


def test_reader_of_what_is_freed(tap):
    """R4 of qcow2: a cluster is not used anew while a request that saw the old mapping may read it."""
    make("4M")
    steps = ("write -q -P 0x11 0 64k", "flush", "break read_aio A", "aio_read -P 0x11 0 64k", "wait_break A",
             "discard -q 0 64k", "flush", "write -q -P 0x22 1M 64k", "flush", "resume A", "aio_flush")
    done = run("qemu-io", *(word for step in steps for word in ("-c", step)), "blkdebug::image")
    tap.ok(done.status == 0 and "read 65536/65536 bytes at offset 0" in done.out and
           "verification failed" not in done.text,
           "a read that began before the discard gets what was there", done)


def test_bitmaps_without_room(tap):
    """One sentence, and the bitmaps that were there can still be used."""
    make("1G")
    must("qemu-img", "bitmap", "--add", "-g", "512", "image", "old")
    size = os.path.getsize("image") + 64 * KiB
    done = run("/usr/bin/prlimit", f"--fsize={size}", os.path.join(BUILD, "qemu-img"), "bitmap", "--add", "-g", "512",
               "image", "new")
    tap.ok(done.status == 1 and done.err.count("\n") == 1, "there is no room for a bitmap", done)
    info = json.loads(must("qemu-img", "info", "--output=json", "image").out)["format-specific"]["data"]["bitmaps"]
    tap.ok([b["name"] for b in info] == ["old"] and info[0]["flags"] == ["auto"], "the others stay as they were", info)


def test_zeroes_over_zeroes_below(tap):
    """Zeroes within a cluster take no room where the backing file has none either."""
    make("4M", name="below")
    must("qemu-io", "-f", "qcow2", "-c", "write -q -P 7 1M 64k", "below")
    make("6M", "-b", "below", "-F", "qcow2")
    writes = [w for at in ("4k", "1028k", "4104k", "5M") for w in ("-c", f"write -q -z {at} 4k")]
    must("qemu-io", "-f", "qcow2", *writes, "image")
    rows = json.loads(must("qemu-img", "map", "--output=json", "-f", "qcow2", "image").out)
    own = {(r["start"] // MiB, r["data"]) for r in rows if r["depth"] == 0 and r["present"]}
    must("qemu-io", "-f", "qcow2", "-c", "read -q -P 7 1M 4k", "-c", "read -q -P 0 1028k 4k",
         "-c", "read -q -P 7 1032k 56k", "image")
    tap.ok(own == {(0, False), (1, True), (4, False), (5, False)} and not unsound(), "zeroes within clusters", rows)


def test_ids_are_not_given_twice(tap):
    """A snapshot in the image has the highest id there is, in either of two ways to write it."""
    for last in (b"-1", b"18446744073709551615"):
        make("1M")
        must("qemu-img", "snapshot", "-c", "x" * (len(last) - 1), "image")
        with open("image", "r+b") as image:
            image.seek(64)
            table = int.from_bytes(image.read(8), "big")
            image.seek(table + 12)
            image.write(len(last).to_bytes(2, "big") + bytes(2))
            image.seek(table + 64)
            image.write(last)
        for name in ("a", "b", "c"):
            must("qemu-img", "snapshot", "-c", name, "image")
        listed = json.loads(must("qemu-img", "info", "--output=json", "image").out)["snapshots"]
        ids = [snapshot["id"] for snapshot in listed]
        tap.ok(len(set(ids)) == 4, f"each snapshot has an id of its own, after {last.decode()}", ids)


def main():
    tap = Tap()
    test_empty_disk(tap)
    test_bitmaps_of_an_empty_disk(tap)
    test_bitmaps_to_version_2(tap)
    test_preallocation_over_a_backing_file(tap)
    test_sentences(tap)
    test_bitmaps_without_the_backing_file(tap)
    test_creation_without_room(tap)
    test_shrunk_data_file(tap)
    test_gain_over_a_longer_backing_file(tap)
    test_refused_step_down(tap)
    test_compressed_out_of_order(tap)
    test_reader_of_what_is_freed(tap)
    test_bitmaps_without_room(tap)
    test_zeroes_over_zeroes_below(tap)
    test_ids_are_not_given_twice(tap)
    return tap.finish()


sys.exit(main())
