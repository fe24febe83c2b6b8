#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits of names and sizes: node names, ids, file names, sizes of images; what is taken and what is
refused, in which words.  The table is kept in matrix/limits.txt, which --write writes."""

import os
import re
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../lib"))

from answertest import AnswerTest, without_numbers       # noqa: E402
from imgtest import run, stock                           # noqa: E402
from qmptest import MiB, QMPError, Vm, make_raw          # noqa: E402

DAEMON = "qemu-storage-daemon"
NAMES = ("a", "Z9", "a-b", "a_b", "a.b", "", "1a", "-a", "_a", ".a", "a b", "a/b", "#a", "a:b", "a,b",
         "\u00e4", "a\n", "a" * 31, "a" * 32, "a" * 255, "taken", "f")
SIZES = (0, 1, 511, 512, 513, MiB, 1 << 40, (1 << 62), (1 << 63) - 512, (1 << 63) - 511,
         (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, -1, -(1 << 63))
IMAGE_SIZES = ("0", "1", "513", "1M", "1.5G", "1k", "1K", "1b", "1P", "7E", "8E", "16E", "1Z",
               "9223372036854775807", "9223372036854775808", "18446744073709551615",
               "18446744073709551616", "-1", "-1M", "1X", "x", "", "0x100000", "0x1G", "1e6", "1.1",
               " 1M", "1M ", "nan", "inf")
FORMATS = ("raw", "qcow2")


def short(value):
    """A value as a title: long ones by their length."""
    text = ascii(value)
    return text if len(text) < 40 else f"{text[:12]}... ({len(value)})"


class Limits(AnswerTest):
    """One daemon for all that it is asked; each accepted node is deleted again."""

    area, expected = "limits", os.path.join(HERE, "matrix", "limits.txt")
    program, stock_program = DAEMON, DAEMON
    differences = (
        ("qemu-img create.*: '(1Z|-1|-1M|1X|x||1e6|1.1|1M |nan|inf)'$",
         "QEMU 10.0 says it so, and which word it was"),
        ("qemu-img create.*: '9223372036854775807'$", "the reason is told"),
    )

    def make_images(self):
        make_raw("a.raw")
        os.mkfifo("pipe")
        os.mkdir("dir")

    def attempt(self, vm, name, **arguments):
        try:
            vm.command(name, **arguments)
        except QMPError as error:
            # Long names only by their ends.
            return re.sub(r"(x/|x){50,}", "xxx...", without_numbers(error.desc).replace("\n", "\\n"))
        return "ok"

    def add(self, vm, node_name="n", **options):
        """blockdev-add, and what size comes of it."""
        answer = self.attempt(vm, "blockdev-add", node_name=node_name, **options)
        if answer == "ok":
            size = vm.nodes()[node_name]["image"]["virtual-size"]
            answer += f" {size}"
            vm.command("blockdev-del", node_name=node_name)
        return answer

    def ask_daemon(self, vm, is_ours, answers):
        vm.null("taken", MiB)
        vm.null("target", MiB)
        vm.add("f", "file", filename="a.raw")
        for name in NAMES:
            answers["node name", short(name)] = self.add(vm, name, driver="null-co")
            answer = self.attempt(vm, "object-add", qom_type="throttle-group", id=name)
            answers["id of an object", short(name)] = answer
            if answer == "ok":
                vm.command("object-del", id=name)
            answer = self.attempt(vm, "blockdev-mirror", job_id=name, device="taken",
                                  target="target", sync="full")
            answers["id of a job", short(name)] = answer
            if answer == "ok":
                vm.command("job-cancel", id=name)
                vm.wait_event("JOB_STATUS_CHANGE", id=name, status="null")
        for name in ("none", "dir", "dir/", "pipe", "", "x" * 255, "x" * 256, "x/" * 2000, "x" * 4095,
                     "x" * 5000, "a.raw", "./a.raw", "file:a.raw", "nosuch:a.raw", "/dev/null",
                     "a.raw\n", "json:{}"):
            answers["file name", short(name)] = self.add(vm, driver="file", filename=name)
        for size in SIZES:
            if is_ours:  # stock's dies of some
                answers["size of null-co", str(size)] = self.add(vm, driver="null-co", size=size)
            answers["size of raw", str(size)] = self.add(vm, driver="raw", file="f", size=size)
            answers["offset of raw", str(size)] = self.add(vm, driver="raw", file="f", offset=size)
            answers["block_resize of null-co", str(size)] = self.attempt(
                vm, "block_resize", node_name="taken", size=size)

    def ask_img(self, img, answers):
        for form in FORMATS:
            for size in IMAGE_SIZES:
                if form == "raw" and size in ("1P", "7E"):
                    continue  # as the file system can
                result = run(img, "create", "-q", "-f", form, "new.img", "--", size)
                answer = "ok"
                if result.status:
                    answer = result.err.split("\n")[0].replace(img, "qemu-img")
                elif os.path.exists("new.img"):
                    answer += f" {os.path.getsize('new.img')}" if form == "raw" else ""
                answers[f"qemu-img create -f {form}", short(size)] = answer
                if os.path.exists("new.img"):
                    os.unlink("new.img")

    def ask_all(self, program, names):
        """(part, value) -> answer."""
        answers = {}
        with Vm(program=program or DAEMON) as vm:
            self.ask_daemon(vm, not program, answers)
        self.ask_img(stock("qemu-img") if program else "qemu-img", answers)
        return {cell: answer for cell, answer in answers.items() if not names or cell[0] in names}

    def text(self, answers):
        lines = ["What names and sizes are taken, and the first line of refusals.", "",
                 *self.reasons()]
        for part in dict.fromkeys(cell[0] for cell in answers):
            lines += ["", part]
            lines += [f"  {value.ljust(26)} {answer}" for (of, value), answer in answers.items()
                      if of == part]
        return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(Limits().main(__doc__))
