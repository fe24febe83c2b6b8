#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Encrypted images by QMP: made, opened, described, amended, targets of jobs."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import built_with, have, must, stock                  # noqa: E402
from qmptest import JobError, MiB, Vm, make_qcow2, make_raw, run, same   # noqa: E402

PASSWORD = "a word nobody may see"
LUKS = {"format": "luks", "key-secret": "a", "iter-time": 10, "cipher-alg": "aes-128"}


def secrets(vm):
    vm.command("object-add", qom_type="secret", id="a", data=PASSWORD)
    vm.command("object-add", qom_type="secret", id="b", data="another")


def create(vm, name, **options):
    """The file @name becomes an encrypted image of 1 MiB; its node is f-@name."""
    with open(name, "wb"):
        pass
    vm.add(f"f-{name}", "file", filename=name)
    vm.command("blockdev-create", job_id="c", options={
        "driver": "qcow2", "file": f"f-{name}", "size": MiB, "encrypt": LUKS, **options})
    vm.wait_job("c")


def opened(name, secret="a"):
    return ["--image-opts", f"driver=qcow2,encrypt.key-secret={secret},file.filename={name}"]


SECRET = ["--object", f"secret,id=a,data={PASSWORD}"]


def is_made_opened_and_described(vm):
    secrets(vm)
    create(vm, "i")
    vm.add("n", "qcow2", file="f-i", encrypt={"format": "luks", "key-secret": "a"})
    node = vm.nodes()["n"]
    same(node["encrypted"], True)
    same(node["image"]["encrypted"], True)
    info = node["image"]["format-specific"]["data"]["encrypt"]
    same((info["format"], info["cipher-alg"], info["cipher-mode"]), ("luks", "aes-128", "xts"))
    same([slot["active"] for slot in info["slots"]], [True] + 7 * [False])
    assert PASSWORD not in str(vm.command("query-named-block-nodes"))
    same(vm.nodes()["f-i"]["encrypted"], False)


def the_format_is_named_or_auto(vm):
    secrets(vm)
    create(vm, "i")
    vm.refused("Parameter 'encrypt.format' is missing", "blockdev-add", node_name="n",
               driver="qcow2", file="f-i", encrypt={"key-secret": "a"})
    vm.refused("Header reported 'luks' encryption format but options specify 'aes'",
               "blockdev-add", node_name="n", driver="qcow2", file="f-i",
               encrypt={"format": "aes", "key-secret": "a"})
    vm.refused("Parameter 'encrypt.key-secret' is required for cipher", "blockdev-add",
               node_name="n", driver="qcow2", file="f-i")
    vm.refused("Invalid password, cannot unlock any keyslot", "blockdev-add", node_name="n",
               driver="qcow2", file="f-i", encrypt={"format": "luks", "key-secret": "b"})
    vm.add("n", "qcow2", file="f-i", encrypt={"format": "auto", "key-secret": "a"})


def passwords_are_changed(vm):
    secrets(vm)
    create(vm, "i")
    vm.add("n", "qcow2", file="f-i", encrypt={"format": "luks", "key-secret": "a"})
    for change in ({"state": "active", "new-secret": "b", "iter-time": 10},
                   {"state": "inactive", "old-secret": "a"}):
        vm.command("x-blockdev-amend", job_id="j", node_name="n",
                   options={"driver": "qcow2", "encrypt": {"format": "luks", **change}})
        vm.wait_job("j")
    info = vm.nodes()["n"]["image"]["format-specific"]["data"]["encrypt"]
    same([slot["active"] for slot in info["slots"]], [False, True] + 6 * [False])
    vm.command("x-blockdev-amend", job_id="j", node_name="n", options={
        "driver": "qcow2", "encrypt": {"format": "luks", "state": "inactive", "keyslot": 1}})
    try:
        vm.wait_job("j")
    except JobError as error:
        assert "the only active keyslot" in str(error), error
    else:
        raise AssertionError("the last password was taken away")
    vm.command("blockdev-del", node_name="n")
    vm.add("n", "qcow2", file="f-i", encrypt={"format": "luks", "key-secret": "b"})


def a_plain_image_has_no_passwords(vm):
    secrets(vm)
    make_qcow2("p")
    vm.add("n", "qcow2", file={"driver": "file", "filename": "p"})
    vm.command("x-blockdev-amend", job_id="j", node_name="n", options={
        "driver": "qcow2", "encrypt": {"format": "luks", "state": "active", "new-secret": "a"}})
    try:
        vm.wait_job("j")
    except JobError as error:
        assert "image is not encrypted, can't amend" in str(error), error
    else:
        raise AssertionError("a plain image got a password")


def jobs_copy_into_and_out_of_it(vm):
    secrets(vm)
    make_qcow2("p", size="1M")
    must("qemu-io", "-c", "write -P 1 0 300k", "-c", "write -P 2 700k 100k", "p")
    vm.add("p", "qcow2", file={"driver": "file", "filename": "p"})
    for name, command in (("i", "blockdev-backup"), ("m", "blockdev-mirror")):
        create(vm, name)
        vm.add(name, "qcow2", file=f"f-{name}", encrypt={"format": "luks", "key-secret": "a"})
        vm.command(command, job_id="j", device="p", target=name, sync="full")
        if command == "blockdev-mirror":
            vm.wait_event("BLOCK_JOB_READY", device="j")
            vm.command("job-complete", id="j")
        vm.wait_event("BLOCK_JOB_COMPLETED", device="j")
    make_qcow2("back", size="1M")
    vm.add("back", "qcow2", file={"driver": "file", "filename": "back"})
    vm.command("blockdev-backup", job_id="j", device="i", target="back", sync="full")
    vm.wait_event("BLOCK_JOB_COMPLETED", device="j")
    vm.command("quit")
    vm.finish()
    must("qemu-img", "compare", "p", "back")
    for name in "im":
        must("qemu-img", "compare", *SECRET, "--image-opts", "driver=qcow2,file.filename=p",
             opened(name)[1])
        with open(name, "rb") as image:
            assert bytes([1]) * 64 not in image.read(), f"{name} has plain data"


def it_is_compacted(vm):
    secrets(vm)
    create(vm, "i", **{"cluster-size": 4096})
    write = ["-c", "write -P 1 0 512k", "-c", "write -P 2 512k 512k", "-c", "discard 0 512k"]
    must("qemu-io", *SECRET, "-d", "unmap", *write, *opened("i"))
    vm.add("n", "qcow2", file="f-i", encrypt={"format": "luks", "key-secret": "a"})
    before = os.path.getsize("i")
    vm.command("block-compact", job_id="j", node_name="n", step=64 << 10)
    vm.wait_event("JOB_STATUS_CHANGE", id="j", status="null")
    assert os.path.getsize("i") < before - 400 * 1024, (before, os.path.getsize("i"))
    vm.command("quit")
    vm.finish()
    result = must("qemu-io", *SECRET, "-c", "read -P 0 0 512k", "-c", "read -P 2 512k 512k",
                  *opened("i"))
    assert "failed" not in result.text, result.text


def it_is_handed_over(vm):
    secrets(vm)
    create(vm, "i")
    vm.add("n", "qcow2", file="f-i", encrypt={"format": "luks", "key-secret": "a"}, active=False)
    vm.command("blockdev-set-active", active=True, node_name="n")
    same(vm.nodes()["n"]["active"], True)


def it_lies_in_a_luks_volume_and_grows_there(vm):
    secrets(vm)
    make_raw("l", 0)
    vm.add("f-l", "file", filename="l")
    vm.command("blockdev-create", job_id="c", options={
        "driver": "luks", "file": "f-l", "size": 0, "key-secret": "a", "iter-time": 10})
    vm.wait_job("c")
    vm.add("l", "luks", file="f-l", key_secret="a")
    vm.command("blockdev-create", job_id="c", options={
        "driver": "qcow2", "file": "l", "size": 4 * MiB})
    vm.wait_job("c")
    vm.command("quit")
    vm.finish()
    image = "driver=qcow2,file.driver=luks,file.key-secret=a,file.file.filename=l"
    must("qemu-io", *SECRET, "-c", "write -P 1 5k 3k", "-c", "write -P 2 1000k 600k",
         "-c", "write -P 3 4095k 1k", "--image-opts", image)
    make_raw("plain", 4 * MiB)
    must("qemu-io", "-f", "raw", "-c", "write -P 1 5k 3k", "-c", "write -P 2 1000k 600k",
         "-c", "write -P 3 4095k 1k", "plain")
    for program in filter(None, ("qemu-img", stock("qemu-img"))):
        must(program, "compare", *SECRET, "--image-opts", "driver=raw,file.filename=plain", image)
        must(program, "check", *SECRET, "--image-opts", image)


def an_image_in_an_image_of_fixed_length(vm):
    make_qcow2("q", size="1M")
    vm.add("q", "qcow2", file={"driver": "file", "filename": "q"})
    vm.command("blockdev-create", job_id="c", options={
        "driver": "qcow2", "file": "q", "size": 4 * MiB})
    vm.wait_job("c")
    same(vm.nodes()["q"]["image"]["virtual-size"], MiB)
    vm.add("n", "qcow2", file="q")
    same(vm.nodes()["n"]["image"]["virtual-size"], 4 * MiB)


def the_old_cipher_is_for_tools_only(vm):
    secrets(vm)
    create(vm, "old", encrypt={"format": "qcow", "key-secret": "a"})
    vm.add("n", "qcow2", file="f-old", encrypt={"format": "aes", "key-secret": "a"})
    same(vm.nodes()["n"]["image"]["format-specific"]["data"]["encrypt"], {"format": "aes"})
    vm.command("blockdev-del", node_name="n")
    vm.command("blockdev-del", node_name="f-old")
    if not have("qemu-system-e2k"):
        return
    with Vm("-M", "none", program="qemu-system-e2k") as machine:
        secrets(machine)
        machine.refused("Use of AES-CBC encrypted qcow2 images is no longer supported in system "
                        "emulators", "blockdev-add", node_name="n", driver="qcow2",
                        file={"driver": "file", "filename": "old"},
                        encrypt={"format": "aes", "key-secret": "a"})


def io(body, *commands, password="another"):
    """What qemu-io does with the data of a volume whose header is "head"."""
    done = must("qemu-io", "--object", f"secret,id=p,data={password}", "--image-opts",
                *(word for command in commands for word in ("-c", command)),
                f"driver=luks,key-secret=p,file.filename={body},header.driver=file,header.filename=head")
    same(done.err, "")


def the_header_may_be_elsewhere(vm):
    secrets(vm)
    for name in ("body", "head", "whole"):
        make_raw(name, 0)
        vm.add(f"f-{name}", "file", filename=name)
    for files in ({"file": "f-body", "header": "f-head"}, {"file": "f-whole"}):
        vm.command("blockdev-create", job_id="c",
                   options={"driver": "luks", "size": MiB, "key-secret": "a", "iter-time": 10, **files})
        vm.wait_job("c")
    same(os.path.getsize("body"), MiB)
    vm.refused("The LUKS header in 'header' is not a detached one", "blockdev-add", node_name="n",
               driver="luks", file="f-body", header="f-whole", key_secret="a")
    vm.refused("The LUKS header is detached from its data: option 'header' is needed", "blockdev-add",
               node_name="n", driver="luks", file="f-head", key_secret="a")
    vm.refused("Invalid password, cannot unlock any keyslot", "blockdev-add", node_name="n",
               driver="luks", file="f-body", header="f-head", key_secret="b")
    volume = {"driver": "luks", "node-name": "n", "file": "f-body", "header": "f-head", "key-secret": "a"}
    vm.execute("blockdev-add", volume)
    info = vm.nodes()["n"]["image"]
    same((info["virtual-size"], info["format-specific"]["data"]["detached-header"],
          info["format-specific"]["data"]["payload-offset"]), (MiB, True, 0))
    for change in ({"state": "active", "new-secret": "b", "iter-time": 10},
                   {"state": "inactive", "old-secret": "a"}):
        vm.command("x-blockdev-amend", job_id="j", node_name="n", options={"driver": "luks", **change})
        vm.wait_job("j")
    vm.command("block_resize", node_name="n", size=3 * MiB)
    same((os.path.getsize("body"), vm.nodes()["n"]["image"]["virtual-size"]), (3 * MiB, 3 * MiB))
    vm.execute("blockdev-reopen", {"options": [{**volume, "read-only": True}]})
    vm.refused("Cannot change the option 'header'", "blockdev-reopen",
               options=[{**volume, "header": "f-whole"}])
    vm.refused("Option 'header' cannot be reset to its default value", "blockdev-reopen",
               options=[{name: value for name, value in volume.items() if name != "header"}])
    vm.execute("blockdev-reopen", {"options": [volume]})
    vm.refused("Block device f-head is in use", "blockdev-del", node_name="f-head")
    for node in ("n", "f-body", "f-head"):
        vm.command("blockdev-del", node_name=node)
    io("body", "write -P 5 0 3M", "read -P 5 0 3M", "write -P 6 700 9", "read -P 6 700 9")
    with open("body", "rb") as body:
        assert body.read(512) != 512 * b"\5"
    vm.add("f-head", "file", filename="head")
    vm.add("f-body", "file", filename="body")
    vm.refused("Invalid password, cannot unlock any keyslot", "blockdev-add", **{
        key.replace("-", "_"): value for key, value in volume.items()})


if not built_with("GCRYPT"):
    print("1..0 # SKIP built without libgcrypt")
    sys.exit(0)
run("encryption", [
    is_made_opened_and_described, the_format_is_named_or_auto, passwords_are_changed,
    a_plain_image_has_no_passwords, jobs_copy_into_and_out_of_it, it_is_compacted, it_is_handed_over,
    it_lies_in_a_luks_volume_and_grows_there, an_image_in_an_image_of_fixed_length,
    the_header_may_be_elsewhere, the_old_cipher_is_for_tools_only])
