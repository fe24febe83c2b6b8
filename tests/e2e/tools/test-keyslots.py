#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes of LUKS key slots by qemu-img amend: what each says, and which slots are in use then.  The
table keyslots.txt has all answers; --write makes it anew; --stock PROGRAM (and a long run) compares
with the qemu-img of QEMU 7.2."""

import json
import os
import shutil
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))

from answertest import AnswerTest          # noqa: E402
from imgtest import PATIENCE, must, run    # noqa: E402

SECRETS = [word for name in "abc" for word in ("--object", f"secret,id={name},data=of {name}")]
FAST = "iter-time=10"
ADD, ERASE = f"state=active,{FAST}", "state=inactive"
STOCK_SECONDS = 30
FULL = [f"{ADD},new-secret=b"] * 7

# Each is a number of changes of an image that password a opens: options, then "force" and the
# password that the image is opened with, if that is another ("-": none).
CHANGES = [
    [f"{ADD},new-secret=b"],
    [f"{ADD},new-secret=b,keyslot=3"],
    [f"{ADD},new-secret=b,keyslot=0"],
    [f"{ADD},new-secret=b,keyslot=0 force", f"{ERASE},keyslot=0 b"],
    [f"{ADD},new-secret=b,keyslot=8"],
    [f"{ADD},new-secret=b,keyslot=-1"],
    [f"{ADD},new-secret=b,old-secret=a"],
    [ADD],
    [f"{ADD},new-secret=zz"],
    [f"{ADD},new-secret=b -"],
    [f"{ADD},new-secret=c b"],
    ["state=active,new-secret=b,iter-time=0"],
    ["state=active,new-secret=b,iter-time=-5"],
    ["state=active,new-secret=b,iter-time=x"],
    [f"{FAST},new-secret=b"],
    [f"{FAST},state=on,new-secret=b"],
    ["keyslot=1"],
    ["old-secret=a"],
    [ERASE],
    [f"{ERASE},old-secret=a"],
    [f"{ERASE},old-secret=a force", f"{ADD},new-secret=b"],
    [f"{ERASE},keyslot=0"],
    [f"{ERASE},keyslot=0 force", f"{ADD},new-secret=b"],
    [f"{ERASE},keyslot=1"],
    [f"{ERASE},keyslot=1 force"],
    [f"{ERASE},keyslot=1 -"],
    [f"{ERASE},keyslot=9"],
    [f"{ERASE},old-secret=b"],
    [f"{ERASE},old-secret=zz"],
    [f"{ERASE},keyslot=0,old-secret=a"],
    [f"{ERASE},keyslot=0,old-secret=b"],
    [f"{ERASE},keyslot=1,old-secret=a"],
    [f"{ERASE},keyslot=1,old-secret=a force"],
    [f"{ERASE},old-secret=a,new-secret=b"],
    [f"{ERASE},keyslot=0,{FAST}"],
    [f"{ADD},new-secret=b", f"{ERASE},old-secret=a"],
    [f"{ADD},new-secret=b", f"{ERASE},old-secret=a b", f"{ADD},new-secret=c", f"{ADD},new-secret=c b"],
    [f"{ADD},new-secret=b", f"{ADD},new-secret=b", f"{ERASE},old-secret=b"],
    [f"{ADD},new-secret=a", f"{ERASE},old-secret=a"],
    [f"{ADD},new-secret=a", f"{ERASE},keyslot=0", f"{ERASE},keyslot=1"],
    [f"{ADD},new-secret=b,keyslot=5", f"{ERASE},keyslot=0,old-secret=a b", f"{ADD},new-secret=c b"],
    [*FULL, f"{ADD},new-secret=c", f"{ADD},new-secret=c,keyslot=4 force", f"{ERASE},old-secret=b",
     f"{ERASE},keyslot=4 c"],
    ["foo=bar"],
    ["cipher-alg=aes-256"],
]
# The same code, with another prefix.
OF_QCOW2 = CHANGES[:2] + CHANGES[4:5] + CHANGES[21:22] + CHANGES[35:36] + CHANGES[-2:]


class KeySlots(AnswerTest):
    area = "keyslots"
    expected = os.path.join(HERE, "keyslots.txt")
    program = stock_program = "qemu-img"
    differences = (
        ("keyslot=-1", "stock takes the number for one without a sign"),
        ("iter-time=-5", "stock takes the number for a large one"),
    )

    def make_images(self):
        for fmt, prefix in (("luks", ""), ("qcow2", "encrypt.")):
            options = f"{prefix}key-secret=a,{prefix}{FAST},{prefix}cipher-alg=aes-128"
            must("qemu-img", "create", "-q", *SECRETS, "-f", fmt, "-o",
                 f"{options},encrypt.format=luks" if prefix else options, f"new.{fmt}", "1M")

    @staticmethod
    def slots():
        data = json.loads(must("qemu-img", "info", "--output=json", "disk").out)
        data = data["format-specific"]["data"]
        return "".join("x" if slot["active"] else "." for slot in
                       data.get("encrypt", data)["slots"])

    def change(self, program, fmt, step):
        options, *others = step.split()
        prefix = "encrypt." if fmt == "qcow2" else ""
        secret = ([word for word in others if word != "force"] or ["a"])[0]
        force = ["--force"] if "force" in others else []
        image = f"driver={fmt},file.filename=disk"
        if secret != "-":
            image += f",{prefix}key-secret={secret}"
        words = ",".join(prefix + word for word in options.split(","))
        shutil.copy("disk", "before")
        for _ in range(8):
            result = run(program or "qemu-img", "amend", *SECRETS, *force, "-o", words,
                         "--image-opts", image, timeout=STOCK_SECONDS if program else PATIENCE)
            # Stock's measuring of time fails now and then, or does not end.
            if result.status is not None and "accurate CPU usage" not in result.err:
                break
            shutil.copy("before", "disk")
        # Only the first line of what stock says is about the slots.
        said = (result.err.splitlines() or ["ok"])[0].removeprefix("qemu-img: ")
        return f"{result.status} {self.slots()} {said.rstrip()}"

    def ask_all(self, program, names):
        answers = {}
        for fmt, all_changes in (("luks", CHANGES), ("qcow2", OF_QCOW2)):
            for n, steps in enumerate(all_changes):
                shutil.copy(f"new.{fmt}", "disk")
                for i, step in enumerate(steps):
                    answers[fmt, f"{n + 1}.{i + 1}", step] = self.change(program, fmt, step)
        return answers

    def text(self, answers):
        lines = ["Changes of LUKS key slots by qemu-img amend.  Of each: the exit status, the slots in",
                 "use after it, and what it said.  1.2 comes after 1.1; password a opened the image",
                 "before, and does if no other is named behind the options.", "", *self.reasons()]
        for (fmt, number, step), answer in answers.items():
            lines += [""] if number.endswith(".1") else []
            lines += [f"{fmt} {number} {step}", f"    {answer}"]
        return "\n".join(lines) + "\n"


if "not supported by this build" in run("qemu-img", "create", "-q", *SECRETS, "-f", "luks", "-o",
                                        "key-secret=a", "probe", "1M").err:
    print("1..0 # SKIP built without libgcrypt")
    sys.exit(0)
sys.exit(KeySlots().main(__doc__))
