#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a backing file is looked for: beside the file at the bottom of what the image lies in, whatever
that is called; and that the data found there is read."""

import json
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import Tap, must, run  # noqa: E402

FILE = {"driver": "file", "filename": "sub/top.qcow2"}
OTHER = {"driver": "file", "filename": "sub/other.qcow2"}
GROUP = ("--object", "throttle-group,id=g")
# What the header says, and where it leads; None: nowhere.
HEADERS = (
    ("base.qcow2", "sub/base.qcow2"),
    ("./base.qcow2", "sub/./base.qcow2"),
    ("deep/../base.qcow2", "sub/deep/../base.qcow2"),
    ("../sub/base.qcow2", "sub/../sub/base.qcow2"),
    ("file:base.qcow2", None),
    ("file:sub/base.qcow2", "file:sub/base.qcow2"),
    ("{}/sub/base.qcow2", "{}/sub/base.qcow2"),
    ('json:{"driver":"qcow2","file":{"driver":"file","filename":"sub/base.qcow2"}}',) * 2,
    ('json:{"driver":"qcow2","file.driver":"file","file.filename":"base.qcow2"}', None),
    ("none.qcow2", None),
)
# What the image lies in, by which one file is found.
NODES = {
    "file": FILE,
    "raw": {"driver": "raw", "file": FILE},
    "raw, offset": {"driver": "raw", "offset": 0, "file": FILE},
    "blkdebug": {"driver": "blkdebug", "image": FILE},
    "blkdebug, align": {"driver": "blkdebug", "align": 4096, "image": FILE},
    "throttle": {"driver": "throttle", "throttle-group": "g", "file": FILE},
    "preallocate": {"driver": "preallocate", "file": FILE},
}
SEVERAL = {
    "blkverify": {"driver": "blkverify", "test": FILE, "raw": OTHER},
    "quorum": {"driver": "quorum", "vote-threshold": 1, "children": [FILE, OTHER]},
}


def make_top(header):
    must("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", header, "-F", "qcow2",
         "sub/top.qcow2", "1M")


def opened(node):
    return "json:" + json.dumps({"driver": "qcow2", "file": node})


def follows(header, full):
    """The data is that of the file it leads to; None: there is none, and that is said."""
    make_top(header)
    for name in ("sub/top.qcow2", opened(FILE)):
        result = run("qemu-io", "-c", "read -P 7 0 4k", name)
        if not full:
            assert result.status and "Could not open backing file" in result.err, result
            continue
        assert result.status == 0, result
        info = json.loads(must("qemu-img", "info", "--output=json", name).out)
        assert info["full-backing-filename"] == full, info


def starts_at_the_bottom(node):
    make_top("base.qcow2")
    chain = json.loads(must("qemu-img", "info", *GROUP, "--backing-chain", "--output=json",
                            opened(node)).out)
    assert chain[0]["full-backing-filename"] == "sub/base.qcow2", chain
    assert chain[1]["filename"] == "sub/base.qcow2", chain
    must("qemu-io", *GROUP, "-c", "read -P 7 0 4k", opened(node))


def starts_nowhere(node):
    make_top("base.qcow2")
    shutil.copy("sub/top.qcow2", "sub/other.qcow2")
    result = run("qemu-io", "-c", "read 0 4k", opened(node))
    assert f"Cannot generate a base directory for {node['driver']} nodes" in result.err, result
    result = run("qemu-img", "info", "--backing-chain", opened(node))
    assert result.err == ("qemu-img: Could not determine absolute backing filename, but backing "
                          "filename 'base.qcow2' present\n"), result


def main():
    tap, here = Tap(), os.getcwd()
    os.makedirs("sub/deep")
    must("qemu-img", "create", "-q", "-f", "qcow2", "sub/base.qcow2", "1M")
    must("qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 4k", "sub/base.qcow2")
    cases = [(f"header/{header}", follows, (header.replace("{}/", f"{here}/"),
                                            full and full.replace("{}/", f"{here}/")))
             for header, full in HEADERS]
    cases += [(f"below/{name}", starts_at_the_bottom, (node,)) for name, node in NODES.items()]
    cases += [(f"below/{name}", starts_nowhere, (node,)) for name, node in SEVERAL.items()]
    for name, case, args in cases:
        try:
            case(*args)
            tap.ok(True, f"/backing-names/{name}")
        except (AssertionError, RuntimeError) as error:
            tap.ok(False, f"/backing-names/{name}", str(error))
    return tap.finish()


sys.exit(main())
