#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""blockdev-create of qcow2: each option alone, in pairs and out of range, and nodes that will not do.

The table of answers, with what qemu-img finds in the image that was made, is matrix/qcow2-create.txt,
which --write writes anew.  --stock PROGRAM compares with QEMU's storage daemon, and lets both qemu-img
describe and check both images; cells that differ are explained by differences."""

import itertools
import json
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../lib"))

from imgtest import built_with, run, stock           # noqa: E402
from qmptable import QmpTable, answer_of, finished   # noqa: E402
from qmptest import MiB, make_qcow2, make_raw        # noqa: E402

LUKS = {"format": "luks", "key-secret": "s", "iter-time": 10, "cipher-alg": "aes-128"}
PREALLOCATIONS = ("off", "metadata", "falloc", "full")

# Options of which each pair is tried; all of them are taken alone.
PAIRS = (("version", "v2"), ("cluster-size", 512), ("cluster-size", 2 * MiB), ("refcount-bits", 1),
         ("refcount-bits", 16), ("lazy-refcounts", True), ("extended-l2", True), ("data-file", "d"),
         ("data-file-raw", True), ("backing-file", "b.qcow2"), ("backing-fmt", "qcow2"),
         ("preallocation", "metadata"), ("preallocation", "full"), ("compression-type", "zstd"),
         ("encrypt", LUKS), ("size", 0))

VALUES = {
    "version": ("v2", "v3", "v4", "", 3, None),
    "cluster-size": (0, 1, 511, 512, 513, 3000, 65536, 2 * MiB, 4 * MiB, 1 << 32, -1, "64k", "x"),
    "refcount-bits": (0, 1, 2, 3, 8, 16, 32, 64, 65, 128, -1, 1 << 32, 1 << 63, "16"),
    "lazy-refcounts": (True, False, "on", None),
    "extended-l2": (True, False),
    "data-file": ("d", "none", "f", "small", "q", "b.qcow2", "", None,
                  {"driver": "file", "filename": "d.raw"}),
    "data-file-raw": (True, False),
    "backing-file": ("b.qcow2", "b.raw", "none.qcow2", "", "a" * 1023, "a" * 1024, "json:{", "nbd:x"),
    "backing-fmt": ("qcow2", "raw", "none", ""),
    "preallocation": (*PREALLOCATIONS, "none"),
    "compression-type": ("zlib", "zstd", "lz4"),
    "size": (0, 1, 511, 512, 513, 1 << 40, 1 << 50, 1 << 56, 1 << 60, 1 << 62, (1 << 63) - 512,
             (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -1, "1M", None),
    "file": ("ro", "small", "used", "q", "none", "", None, {"driver": "file", "filename": "b.raw"},
             {"driver": "null-co", "size": 0}, {"driver": "null-co", "size": MiB}),
    "encrypt": (LUKS, {"format": "luks"}, {"format": "luks", "key-secret": "none"},
                {"format": "luks", "key-secret": ""},
                {"format": "qcow", "key-secret": "s"}, {"format": "aes", "key-secret": "s"},
                {"key-secret": "s"}, {},
                *({**LUKS, **more} for more in (
                    {"cipher-alg": "aes-256"}, {"cipher-alg": "3des"}, {"cipher-alg": "des"},
                    {"cipher-alg": "x"}, {"cipher-mode": "cbc"}, {"cipher-mode": "ecb"},
                    {"cipher-mode": "ctr"}, {"ivgen-alg": "essiv"}, {"ivgen-alg": "plain"},
                    {"ivgen-alg": "essiv", "cipher-mode": "cbc"},
                    {"ivgen-alg": "essiv", "ivgen-hash-alg": "sha1"},
                    {"ivgen-alg": "essiv", "ivgen-hash-alg": "md5", "cipher-mode": "cbc"},
                    {"ivgen-hash-alg": "sha512"}, {"hash-alg": "sha1"}, {"hash-alg": "md5"},
                    {"hash-alg": "sha3"}, {"iter-time": 0}, {"iter-time": -1},
                    {"iter-time": 1 << 62}, {"cipher-alg": "serpent-128"},
                    {"cipher-alg": "twofish-256", "cipher-mode": "cbc"},
                    {"cipher-alg": "cast5-128", "cipher-mode": "cbc"}, {"cipher-alg": "cast5-128"}))),
}

# Three and more.
TOGETHER = (
    {"version": "v2", "refcount-bits": 16, "lazy-refcounts": False, "extended-l2": False},
    {"version": "v2", "compression-type": "zlib", "data-file-raw": False},
    {"extended-l2": True, "cluster-size": 8192}, {"extended-l2": True, "cluster-size": 16384},
    {"extended-l2": True, "backing-file": "b.qcow2", "backing-fmt": "qcow2",
     "preallocation": "metadata"},
    {"extended-l2": True, "preallocation": "metadata", "refcount-bits": 64},
    {"extended-l2": True, "encrypt": LUKS, "cluster-size": 2 * MiB},
    {"data-file": "d", "data-file-raw": True, "backing-file": "b.raw", "backing-fmt": "raw"},
    {"data-file": "d", "data-file-raw": True, "encrypt": LUKS},
    {"data-file": "d", "data-file-raw": True, "extended-l2": True},
    {"data-file": "d", "data-file-raw": True, "extended-l2": True, "preallocation": "metadata"},
    *({"data-file": "d", "data-file-raw": True, "preallocation": mode} for mode in PREALLOCATIONS),
    *({"data-file": "d", "preallocation": mode} for mode in PREALLOCATIONS),
    *({"encrypt": LUKS, "preallocation": mode} for mode in PREALLOCATIONS),
    *({"backing-file": "b.raw", "backing-fmt": "raw", "preallocation": mode}
      for mode in PREALLOCATIONS),
    {"backing-file": "", "backing-fmt": "raw"},
    {"backing-file": "b.raw", "backing-fmt": "raw", "encrypt": LUKS},
    {"backing-file": "b.raw", "backing-fmt": "qcow2"},
    {"cluster-size": 512, "size": 1 << 40}, {"cluster-size": 512, "size": 1 << 37},
    {"cluster-size": 2 * MiB, "size": 1 << 60}, {"cluster-size": 2 * MiB, "size": 1 << 61},
    {"cluster-size": 2 * MiB, "refcount-bits": 1}, {"cluster-size": 2 * MiB, "refcount-bits": 64},
    {"cluster-size": 512, "refcount-bits": 64, "preallocation": "metadata", "size": 64 * MiB},
    {"cluster-size": 512, "refcount-bits": 1, "preallocation": "metadata", "size": 64 * MiB},
)


def title(options):
    """Long names by their length, and of LUKS only what is unusual."""
    shown = {name: f"... ({len(value)})" if isinstance(value, str) and len(value) > 99 else value
             for name, value in options.items()}
    encrypt = options.get("encrypt", {})
    if "iter-time" in encrypt:
        shown["encrypt"] = {"usual": True, **{name: value for name, value in encrypt.items()
                                              if value != LUKS.get(name)}}
    return json.dumps(shown)


class Create(QmpTable):
    """A fresh file, called f, for each cell; the other nodes are there for all."""

    area, expected = "qcow2-create", os.path.join(HERE, "matrix", "qcow2-create.txt")
    head = "blockdev-create of qcow2, 1 MiB where no size is given; what qemu-img info says."
    differences = (
        (r"^backing-file: .*\(1024\)", "what is wrong with the name is told, the name is not"),
        (r"^(cluster-size|size): .*(\"x\"|\"64k\"|\"1M\"|null)\}", "QEMU 10.0 says it so"),
        (r"^size: .*(7205|1152|46116|9223)\d+\}|^together: .*512, \"size\": 1099511627776",
         "what can be done about it is told"),
        (r"^file: .*\"used\"", "who it is is said"),
        (r"^encrypt: .*\"3?des\"", "all ciphers that cannot be had are told in the same words"),
        (r"^encrypt: .*essiv.*sha1", "the reason is told"),
        (r"^encrypt: .*(-1|4611686018427387904)", "the limit is told; see docs/STATUS.md"),
        (r"^encrypt: .*cast5-128\"\}", "the reason is told"),
        (r"^pairs: .*data-file-raw.*backing-fmt", "of two reasons we tell the other"),
        (r"^pairs: .*\"full\".*\"size\": 0", "an empty disk needs no table"),
        (r"data-file-raw.*usual", "what is encrypted is not raw"),
        (r"512.*(137438953472|bits\": 64.*67108864|usual)", "tables lie elsewhere in the file"),
        (r"usual.*(falloc|full)", "stock cannot"),
    )

    def make_images(self):
        make_qcow2("b.qcow2", size="3M")
        make_qcow2("q.qcow2")
        make_qcow2("used.qcow2")
        make_raw("b.raw", 3 * MiB)
        make_raw("ro.raw", 0)

    def prepare(self, vm, part):
        vm.command("object-add", qom_type="secret", id="s", data="word")
        vm.null("small", 4096)
        vm.add("ro", "file", filename="ro.raw", read_only=True)
        vm.add("q", "qcow2", file={"driver": "file", "filename": "q.qcow2", "node-name": "q-file"})
        vm.add("user", "qcow2", file={"driver": "file", "filename": "used.qcow2",
                                      "node-name": "used"})

    def parts(self):
        for name, values in VALUES.items():
            yield name, [(title({name: value}), {name: value}) for value in values]
        pairs = [dict(pair) for pair in itertools.combinations(PAIRS, 2)
                 if pair[0][0] != pair[1][0]]
        yield "pairs", [(title(options), options) for options in pairs]
        yield "together", [(title(options), options) for options in TOGETHER]

    def described(self, program, is_checked):
        """What qemu-img says of the image."""
        result = run(program, "info", "-U", "--output=json", "f.raw")
        if result.status:
            return f"info: {result.err.strip()}"
        info = json.loads(result.out)
        if "backing-filename-format" in info:
            info["fmt"] = info.pop("backing-filename-format")
        words = [info["format"], str(info["virtual-size"]), str(info.get("cluster-size"))]
        for key in ("encrypted", "backing-filename", "fmt"):
            if key in info:
                words.append(f"{key}={str(info[key])[:20]}")
        data = info.get("format-specific", {}).get("data", {})
        encrypt = data.pop("encrypt", {})
        words += [f"{key}={value}" for key, value in sorted(data.items())]
        words += [f"{key}={value}" for key, value in sorted(encrypt.items())
                  if key not in ("slots", "uuid", "master-key-iters", "detached-header")]
        check = self.check(program, encrypt, "data-file" in data) if is_checked else None
        if check and check.status:
            words.append(f"check {check.status}: {check.text[:200]}")
        return " ".join(words)

    def check(self, program, is_encrypted, has_data_file):
        image = {"driver": "qcow2", "file.filename": "f.raw", "backing": None}
        if is_encrypted:
            image["encrypt"] = {"format": "luks", "key-secret": "s"}
        if has_data_file:
            image["data-file"] = {"driver": "file", "filename": "d.raw"}
        return run(program, "check", "-q", "-U", "--object", "secret,id=s,data=word",
                   "json:" + json.dumps(image))

    def attempt(self, vm, step, is_compared):
        for name in ("f.raw", "d.raw"):
            make_raw(name, 0)
        vm.add("f", "file", filename="f.raw")
        vm.add("d", "file", filename="d.raw")
        answer = answer_of(lambda: finished(vm, "blockdev-create", {"options": {
            "driver": "qcow2", "file": "f", "size": MiB, **step}}))
        vm.command("blockdev-del", node_name="d")
        vm.command("blockdev-del", node_name="f")
        if answer != "ok" or "file" in step:
            return answer
        # Pairs are checked in the long form only: that is what takes time.
        is_checked = is_compared or len(step) != 2
        answer += " " + self.described("qemu-img", is_checked)
        if is_compared and stock("qemu-img"):
            other = "ok " + self.described(stock("qemu-img"), True)
            if other != answer:
                answer += f" (stock's qemu-img: {other})"
        return f"{answer} sizes={os.path.getsize('f.raw')}+{os.path.getsize('d.raw')}"


if __name__ == "__main__":
    if not (built_with("GCRYPT") and built_with("ZSTD")):
        print("1..0 # SKIP built without libgcrypt or zstd")
        sys.exit(0)
    sys.exit(Create().main(__doc__))
