#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Names that an image holds are its maker's words: commands that only look at the image open the
named file and nothing else (goals R2 and R9), be it a device, a pipe, a json: text or the image
itself.  `measure` tells the size of a copy of the whole chain, so it reads what convert reads, but
does not wait for a pipe, either.  And a temporary file has no name to lie in wait at (R9).

Who opens what is told by inotify."""

import ctypes
import os
import struct
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from imgtest import MiB, Tap, have, must, run  # noqa: E402

IN_OPEN, IN_CREATE = 0x20, 0x100
LOOKERS = (("info",), ("info", "--output=json"), ("check",), ("snapshot", "-l"))
# What an image names -> what must not be opened for that.
NAMES = {
    "a file": ("secret.raw", "secret.raw"),
    "a path to a file": ("./secret.raw", "secret.raw"),
    "a protocol": ("file:secret.raw", "secret.raw"),
    "a json text": ('json:{"driver":"file","filename":"secret.raw"}', "secret.raw"),
    "a pipe": ("pipe", "pipe"),
    "a device": ("/dev/zero", None),
    "nothing there": ("absent", None),
    "a server": ("nbd://127.0.0.1:1/x", None),
}


class Watch:
    """The names of @folder that are opened or made until the with block ends."""

    libc = ctypes.CDLL(None, use_errno=True)

    def __init__(self, folder, events):
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.good = self.fd >= 0 and self.libc.inotify_add_watch(self.fd, folder.encode(),
                                                                 events) >= 0
        self.names = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        while True:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                break
            while data:
                length = struct.unpack_from("iIII", data)[3]
                self.names.append(data[16:16 + length].rstrip(b"\0").decode())
                data = data[16 + length:]
        os.close(self.fd)


def rename(image, old, new):
    """Another name of the same length in an image's header."""
    with open(image, "r+b") as file:
        content = file.read()
        file.seek(content.index(old.encode()))
        file.write(new.encode())


def make_images():
    """Images that name each of NAMES as their backing file, and as their data file."""
    with open("secret.raw", "wb") as file:
        file.truncate(MiB)
    os.mkfifo("pipe")
    must("qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "else.qcow2", "-F", "qcow2",
         "self.qcow2", "1M")
    rename("self.qcow2", "else.qcow2", "self.qcow2")
    for i, (name, _) in enumerate(NAMES.values()):
        must("qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", name, "-F", "raw",
             f"backing{i}.qcow2", "1M")
        other = "d" * len(name)
        must("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={other}",
             f"data{i}.qcow2", "1M")
        os.unlink(other)
        rename(f"data{i}.qcow2", other, name)


def looks_only_at(tap, image, words, forbidden, what):
    with Watch(".", IN_OPEN) as watch:
        result = run("qemu-img", words[0], "-f", "qcow2", *words[1:], image)
    name = f"/hostile-names/R2-R9-{' '.join(words)}/{what}"
    if not watch.good:
        tap.skip(name, "no inotify here")
        return
    opened = [other for other in watch.names if other not in (image, "")]
    tap.ok(result.status is not None and not opened and forbidden not in watch.names and
           image in watch.names, name, f"opened {watch.names}\n{result}")


def check_control(tap):
    """The watch sees what is opened where that was asked for."""
    with Watch(".", IN_OPEN) as watch:
        run("qemu-img", "info", "--backing-chain", "backing0.qcow2")
    if watch.good:
        tap.ok("secret.raw" in watch.names, "/hostile-names/R2-a-chain-is-followed-when-asked",
               watch.names)


def check_temporary(tap):
    """snapshot=on writes to a file that never had a name."""
    name = "/hostile-names/R9-temporary-files-have-no-name"
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR))
        except OSError:
            tap.skip(name, "the file system cannot make files without a name")
            return
        with Watch(folder, IN_CREATE) as watch:
            result = run("qemu-io", "-f", "raw", "-s", "-c", "write -P 5 0 64k", "-c",
                         "read -P 5 0 64k", "-c", "read -P 0 64k 64k", "secret.raw",
                         env={"TMPDIR": folder})
        tap.ok(result.status == 0 and not watch.names and not os.listdir(folder), name,
               f"made {watch.names}\n{result}")
    with open("secret.raw", "rb") as file:
        tap.ok(not any(file.read()), "/hostile-names/the-image-itself-is-not-written")


def main():
    tap = Tap()
    if not have("qemu-img"):
        print("1..0 # SKIP qemu-img is not built")
        return 0
    home = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            make_images()
            check_control(tap)
            for words in LOOKERS:
                looks_only_at(tap, "self.qcow2", words, None, "backing: itself")
                for i, (what, (_, forbidden)) in enumerate(NAMES.items()):
                    looks_only_at(tap, f"backing{i}.qcow2", words, forbidden, f"backing: {what}")
                    looks_only_at(tap, f"data{i}.qcow2", words, forbidden, f"data: {what}")
            for image in ("backing4.qcow2", "data4.qcow2", "self.qcow2"):
                result = run("qemu-img", "measure", "-O", "qcow2", image)
                tap.ok(result.status == 1 and not result.crashed,
                       f"/hostile-names/R1-measure-ends/{image}", result)
            check_temporary(tap)
        finally:
            os.chdir(home)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
