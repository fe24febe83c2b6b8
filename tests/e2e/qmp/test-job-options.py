#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What each option of the jobs stream, commit, mirror and backup does."""

import json
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import must  # noqa: E402
from nbdtest import NbdClient  # noqa: E402
from qmptest import MiB, make_qcow2, make_raw, run, same  # noqa: E402

SIZE = 4 * MiB


def write(name, byte, at, length="64k", fmt="qcow2"):
    must("qemu-io", "-f", fmt, "-c", f"write -q -P {byte} {at} {length}", name)


def content(name, fmt="qcow2"):
    must("qemu-img", "convert", "-U", "-f", fmt, "-O", "raw", name, "content.raw")
    with open("content.raw", "rb") as image:
        return image.read()


def info(name):
    return json.loads(must("qemu-img", "info", "-U", "--output=json", name).out)


def depth_of_data(name):
    """Depths at which the image finds data."""
    rows = json.loads(must("qemu-img", "map", "--output=json", name).out)
    return {row["depth"] for row in rows if row["data"]}


def chain(vm, *names):
    """Images over each other as nodes of the same names, with some data of each."""
    below = None
    for n, name in enumerate(names):
        make_qcow2(name + ".img", *(("-b", below + ".img", "-F", "qcow2") if below else ()))
        write(name + ".img", n + 1, f"{n}M")
        below = name
    below = None
    for name in names:
        vm.add(name, "qcow2", file={"driver": "file", "filename": name + ".img"},
               **({"backing": below} if below else {}))
        below = name


def two_raw(vm, data="2M", source=None, target=None):
    """Nodes a, with data, and b, raw files; @source, @target: rules of blkdebug for them."""
    for node, rules in (("a", source), ("b", target)):
        make_raw(node + ".raw", SIZE)
        file = {"driver": "file", "filename": node + ".raw"}
        if rules:
            file = {"driver": "blkdebug", "image": file, "inject-error": [rules]}
        if node == "a" and data:
            write("a.raw", 7, 0, data, fmt="raw")
        vm.add(node, "raw", file=file)


def ended(vm, job="j"):
    """The data of the event that tells the job's end."""
    while True:
        event = vm.next_event()
        if event["event"] in ("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED") and (
                event["data"]["device"] == job):
            return event["data"]


def succeeded(vm, job="j"):
    data = ended(vm, job)
    assert "error" not in data, data
    return data


def close(vm, *nodes):
    for node in nodes:
        vm.command("blockdev-del", node_name=node)


# ---- stream ------------------------------------------------------------------------------------

def stream_stops_above(vm, expected_backing, **options):
    """The same content, on another image."""
    chain(vm, "a", "b", "c", "d")
    before = content("d.img")
    vm.command("block-stream", job_id="j", device="d", **options)
    succeeded(vm)
    close(vm, "d")
    same(info("d.img").get("backing-filename"), expected_backing)
    same(content("d.img"), before)


def stream_base(vm):
    stream_stops_above(vm, "a.img", base="a.img")


def stream_base_node(vm):
    stream_stops_above(vm, "b.img", base_node="b")


def stream_bottom(vm):
    stream_stops_above(vm, "a.img", bottom="b")


def stream_everything(vm):
    stream_stops_above(vm, None)
    same(depth_of_data("d.img"), {0})


def stream_backing_file(vm):
    """What is written into the image is the user's word for the base."""
    os.symlink("b.img", "other.img")
    stream_stops_above(vm, "other.img", base_node="b", backing_file="other.img")


def backing_mask_protocol(vm):
    """Where the base is a protocol node the image says raw."""
    for job, mask, fmt in (("stream", True, "raw"), ("stream", False, "file"),
                           ("commit", True, "raw"), ("commit", False, "file")):
        make_raw("p.img", SIZE)
        write("p.img", 9, "3M", fmt="raw")
        make_qcow2("m.img", "-b", "p.img", "-F", "raw")
        make_qcow2("t.img", "-b", "m.img", "-F", "qcow2")
        vm.add("p", "file", filename="p.img")
        vm.add("m", "qcow2", file={"driver": "file", "filename": "m.img"}, backing="p")
        vm.add("t", "qcow2", file={"driver": "file", "filename": "t.img"}, backing="m")
        if job == "stream":
            vm.command("block-stream", job_id="j", device="t", base_node="p",
                       backing_mask_protocol=mask)
        else:
            vm.command("block-commit", job_id="j", device="t", top_node="m",
                       backing_mask_protocol=mask)
        succeeded(vm)
        same(info("t.img")["backing-filename-format"], fmt)
        nodes = vm.nodes()
        close(vm, *(name for name in "tmp" if name in nodes))


def filter_node_name(vm):
    """The job's filter has that name meanwhile, which must be free."""
    chain(vm, "a", "b", "c")
    make_raw("t.raw", SIZE)
    vm.add("t", "raw", file={"driver": "file", "filename": "t.raw"})
    mirror = {"target": "t", "sync": "full"}
    for name, arguments in (("block-stream", {}), ("block-commit", {"top_node": "b"}),
                            ("block-commit", {}), ("blockdev-mirror", mirror),
                            ("blockdev-backup", mirror)):
        arguments = {"job_id": "j", "device": "c", "speed": 1, **arguments}
        vm.command(name, filter_node_name="f", **arguments)
        assert "f" in vm.nodes()
        vm.command("block-job-cancel", device="j", force=True)
        ended(vm)
        assert "f" not in vm.nodes()
        try:
            vm.command(name, filter_node_name="t", **arguments)
        except Exception as error:  # pylint: disable=broad-except
            assert "uplicate nodes with node-name='t'" in str(error), error
            continue
        raise AssertionError(f"{name} took a name that is in use")


# ---- commit ------------------------------------------------------------------------------------

def commit_names_top_and_base(vm):
    for options in ({"top_node": "c", "base_node": "b"}, {"top": "c.img", "base": "b.img"}):
        chain(vm, "a", "b", "c", "d")
        before = content("d.img")
        vm.command("block-commit", job_id="j", device="d", **options)
        succeeded(vm)
        close(vm, "d")
        same(info("d.img")["backing-filename"], "b.img")
        same(content("d.img"), before)
        same(content("b.img")[2 * MiB:2 * MiB + 65536], b"\3" * 65536)
        close(vm, "c", "b", "a")
    vm.null("n")
    vm.refused("'top-node' and 'top' are mutually exclusive", "block-commit", device="n", top="x",
               top_node="n")
    vm.refused("'base-node' and 'base' are mutually exclusive", "block-commit", device="n",
               base="x", base_node="n")


def commit_backing_file(vm):
    chain(vm, "a", "b", "c")
    os.symlink("a.img", "other.img")
    before = content("c.img")
    vm.command("block-commit", job_id="j", device="c", top_node="b", backing_file="other.img")
    succeeded(vm)
    close(vm, "c")
    same(info("c.img")["backing-filename"], "other.img")
    same(content("c.img"), before)


def commit_of_the_active_node_follows_guests(vm):
    chain(vm, "a", "b", "c")
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    vm.command("block-export-add", type="nbd", id="e", node_name="c", name="c", writable=True)
    with NbdClient("s", "c") as guest:
        vm.command("block-commit", job_id="j", device="c", base_node="a")
        vm.wait_event("BLOCK_JOB_READY", device="j")
        guest.write(3 * MiB, b"x" * 1000)
        vm.command("job-complete", id="j")
        succeeded(vm)
        guest.write(3 * MiB + 1000, b"y" * 1000)
        seen = guest.read(0, SIZE)
        guest.flush()
    vm.command("nbd-server-stop")
    vm.wait_event("BLOCK_EXPORT_DELETED", id="e")
    close(vm, "c", "b", "a")
    same(content("a.img") == seen, True)


# ---- mirror ------------------------------------------------------------------------------------

def mirror(vm, **options):
    vm.command("blockdev-mirror", **{"job_id": "j", "device": "a", "target": "b", "sync": "full",
                                     **options})


def mirror_cancelled_when_ready_leaves_a_copy(vm):
    two_raw(vm)
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    vm.command("block-export-add", type="nbd", id="e", node_name="a", name="a", writable=True)
    with NbdClient("s", "a") as guest:
        mirror(vm)
        vm.wait_event("BLOCK_JOB_READY", device="j")
        for n in range(50):
            guest.write(n * 80000, bytes([n]) * 7000)
        vm.command("block-job-cancel", device="j")
        succeeded(vm)
        at_the_end = guest.read(0, SIZE)
        guest.write(0, b"later")
    with open("b.raw", "rb") as image:
        assert image.read() == at_the_end
    same(vm.nodes()["a"]["file"], "a.raw")


def mirror_cancelled_before_it_is_ready_is_cancelled(vm):
    two_raw(vm)
    mirror(vm, speed=1)
    vm.command("block-job-cancel", device="j")
    assert vm.wait_event("BLOCK_JOB_CANCELLED", device="j")


def mirror_copies_by_granularity(vm):
    """A small write costs one cluster of that size."""
    for granularity in (512, 4096, MiB):
        two_raw(vm, data=None)
        vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
        vm.command("block-export-add", type="nbd", id="e", node_name="a", name="a", writable=True)
        with NbdClient("s", "a") as guest:
            mirror(vm, granularity=granularity, sync="none")
            vm.wait_event("BLOCK_JOB_READY", device="j")
            guest.write(1536 * 1024 + 1, b"x")
            vm.command("block-job-cancel", device="j")
            same(succeeded(vm)["len"], granularity)
        vm.command("nbd-server-stop")
        vm.wait_event("BLOCK_EXPORT_DELETED", id="e")
        close(vm, "a", "b")
    two_raw(vm)
    vm.refused("Parameter 'granularity' expects a power of 2", "blockdev-mirror", device="a",
               target="b", sync="full", granularity=3000)
    vm.refused("Parameter 'granularity' expects a value in range [512B, 64MB]", "blockdev-mirror",
               device="a", target="b", sync="full", granularity=256)


def mirror_of_zeroes_to_a_target_of_zeroes(vm):
    """target-is-zero: what is zero is not written, so a target with data shows what was left out."""
    for is_zero, wanted in ((True, 5), (False, 0)):
        two_raw(vm, data="64k")
        close(vm, "b")
        write("b.raw", 5, 0, "4M", fmt="raw")
        vm.add("b", "raw", file={"driver": "file", "filename": "b.raw"})
        mirror(vm, target_is_zero=is_zero)
        vm.wait_event("BLOCK_JOB_READY", device="j")
        vm.command("block-job-cancel", device="j")
        succeeded(vm)
        close(vm, "a", "b")
        with open("b.raw", "rb") as image:
            data = image.read()
        same((data[0], data[MiB], len(data)), (7, wanted, SIZE))


def mirror_unmap(vm):
    """Zeroes become holes, or stay allocated when not wanted; drive-mirror alone has the option."""
    for unmap in (True, False):
        two_raw(vm, data=None)
        close(vm, "b")
        write("b.raw", 5, 0, "4M", fmt="raw")
        vm.command("drive-mirror", job_id="j", device="a", target="b.raw", format="raw",
                   sync="full", mode="existing", unmap=unmap)
        vm.wait_event("BLOCK_JOB_READY", device="j")
        vm.command("block-job-cancel", device="j")
        succeeded(vm)
        close(vm, "a")
        same(os.stat("b.raw").st_blocks > 1000, not unmap)
        same(content("b.raw", "raw").strip(b"\0"), b"")


def mirror_write_blocking_keeps_up(vm):
    two_raw(vm)
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    vm.command("block-export-add", type="nbd", id="e", node_name="a", name="a", writable=True)
    with NbdClient("s", "a") as guest:
        mirror(vm, copy_mode="write-blocking")
        vm.wait_event("BLOCK_JOB_READY", device="j")
        same(vm.command("query-block-jobs")[0]["actively-synced"], True)
        guest.write(SIZE - 5000, b"z" * 5000)
        # It is there before the guest is told.
        with open("b.raw", "rb") as image:
            same(image.read()[-5000:], b"z" * 5000)
        same(vm.command("query-block-jobs")[0]["actively-synced"], True)
        vm.command("job-complete", id="j")
        succeeded(vm)


def mirror_changes_its_copy_mode(vm):
    two_raw(vm)
    mirror(vm)
    vm.wait_event("BLOCK_JOB_READY", device="j")
    same(vm.command("query-block-jobs")[0]["actively-synced"], False)
    vm.command("block-job-change", id="j", type="mirror", copy_mode="write-blocking")
    same(vm.command("query-block-jobs")[0]["actively-synced"], True)
    vm.command("block-job-cancel", device="j")
    succeeded(vm)


def mirror_replaces_a_part_of_a_quorum(vm):
    for node in ("x", "y", "new"):
        make_raw(node + ".raw", SIZE)
        vm.add(node, "raw", file={"driver": "file", "filename": node + ".raw"})
    vm.add("a", "quorum", vote_threshold=1, children=["x", "y"])
    mirror(vm, target="new", replaces="y")
    vm.wait_event("BLOCK_JOB_READY", device="j")
    vm.command("job-complete", id="j")
    succeeded(vm)
    graph = vm.command("x-debug-query-block-graph")
    names = {node["id"]: node["name"] for node in graph["nodes"]}
    same(sorted(names[edge["child"]] for edge in graph["edges"] if names[edge["parent"]] == "a"),
         ["new", "x"])


def mirror_buf_size_is_checked(vm):
    two_raw(vm)
    vm.refused("Invalid parameter 'buf-size'", "blockdev-mirror", device="a", target="b",
               sync="full", buf_size=-1)
    for size in (1, 4096, 64 * MiB):
        mirror(vm, buf_size=size)
        vm.wait_event("BLOCK_JOB_READY", device="j")
        vm.command("block-job-cancel", device="j")
        succeeded(vm)
    close(vm, "a", "b")
    must("qemu-img", "compare", "a.raw", "b.raw")


def mirror_has_no_bitmap_modes(vm):
    two_raw(vm)
    for sync in ("incremental", "bitmap"):
        vm.refused(f"Sync mode '{sync}' not supported", "blockdev-mirror", device="a", target="b",
                   sync=sync)


# ---- backup ------------------------------------------------------------------------------------

def backup(vm, **options):
    vm.command("blockdev-backup", **{"job_id": "j", "device": "a", "target": "b", "sync": "full",
                                     **options})


def backup_x_perf(vm):
    two_raw(vm, data="3M")
    for perf in ({"max-workers": 1}, {"max-workers": 3, "max-chunk": 65536},
                 {"use-copy-range": True}, {"use-copy-range": True, "max-chunk": 2 * MiB},
                 {"min-cluster-size": 262144}, {"min-cluster-size": 262144, "max-chunk": 262144}):
        backup(vm, x_perf=perf)
        succeeded(vm)
        must("qemu-img", "compare", "-U", "a.raw", "b.raw")
    for text, perf in (
            ("max-workers must be between 1 and 2147483647", {"max-workers": 0}),
            ("max-chunk must be zero (which means no limit) or positive", {"max-chunk": -1}),
            ("Required max-chunk (512) is less than backup cluster size (65536)",
             {"max-chunk": 512}),
            ("Required max-chunk (65536) is less than backup cluster size (131072)",
             {"max-chunk": 65536, "min-cluster-size": 131072}),
            ("min-cluster-size needs to be a power of 2", {"min-cluster-size": 100000})):
        vm.refused(text, "blockdev-backup", job_id="j", device="a", target="b", sync="full",
                   x_perf=perf)


def backup_compress(vm):
    for cluster in (65536, 2 * MiB):
        make_raw("a.raw", SIZE)
        write("a.raw", 7, 0, "3M", fmt="raw")
        make_qcow2("b.qcow2", "-o", f"cluster_size={cluster}")
        vm.add("a", "raw", file={"driver": "file", "filename": "a.raw"})
        vm.add("b", "qcow2", file={"driver": "file", "filename": "b.qcow2"})
        backup(vm, compress=True)
        succeeded(vm)
        close(vm, "a", "b")
        must("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "a.raw", "b.qcow2")
        check = json.loads(must("qemu-img", "check", "--output=json", "b.qcow2").out)
        same(check["compressed-clusters"], check["allocated-clusters"])


def failing_cbw(vm, on_cbw_error):
    """A guest's write while the target fails: the guest's result and the job's."""
    two_raw(vm, data="4M",
            target={"event": "none", "iotype": "write", "errno": 5, "sector": 6144})
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    vm.command("block-export-add", type="nbd", id="e", node_name="a", name="a", writable=True)
    write_at = 3 * MiB
    with NbdClient("s", "a") as guest:
        backup(vm, sync="none", on_cbw_error=on_cbw_error)
        try:
            guest.write(write_at, b"new")
            result = "written"
        except Exception:  # pylint: disable=broad-except
            result = "failed"
        same(guest.read(write_at, 3), b"new" if result == "written" else b"\7\7\7")
    return result


def on_cbw_error_break_guest_write(vm):
    same(failing_cbw(vm, "break-guest-write"), "failed")
    vm.command("job-cancel", id="j")
    same(vm.wait_event("BLOCK_JOB_CANCELLED", device="j")["data"]["type"], "backup")


def on_cbw_error_break_snapshot(vm):
    same(failing_cbw(vm, "break-snapshot"), "written")
    assert "error" in ended(vm)


# ---- bitmaps and backup ------------------------------------------------------------------------

def backup_bitmap_modes(vm):
    """sync x bitmap-mode x result: what the bitmap says afterwards, and what was copied."""
    first, second = (0, 65536), (2 * MiB, 65536)  # dirty before; written while the job waits
    for sync, mode, fails in ((s, m, f) for s in ("full", "top", "bitmap", "incremental")
                              for m in ("on-success", "always", "never") for f in (False, True)):
        if (sync in ("full", "top") and mode == "never") or (
                sync == "incremental" and mode != "on-success"):
            continue
        make_qcow2("a.qcow2")
        make_raw("b.raw", SIZE)
        rules = [{"event": "none", "iotype": "write", "errno": 5, "sector": 0}] if fails else []
        vm.add("a", "qcow2", file={"driver": "file", "filename": "a.qcow2"})
        vm.add("b", "raw", file={"driver": "blkdebug", "inject-error": rules,
                                 "image": {"driver": "file", "filename": "b.raw"}})
        vm.command("block-dirty-bitmap-add", node="a", name="m", granularity=65536)
        vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
        vm.command("block-export-add", type="nbd", id="e", node_name="a", name="a", writable=True)
        with NbdClient("s", "a") as guest:
            guest.write(first[0], b"1" * first[1])
            backup(vm, sync=sync, bitmap="m", bitmap_mode=mode, auto_finalize=False)
            if not fails:
                vm.wait_event("BLOCK_JOB_PENDING", id="j")
                guest.write(second[0], b"2" * second[1])
                vm.command("job-finalize", id="j")
            same("error" in ended(vm), fails)
        vm.command("nbd-server-stop")
        vm.wait_event("BLOCK_EXPORT_DELETED", id="e")
        row, = vm.nodes()["a"]["dirty-bitmaps"]
        same((row["busy"], row["recording"]), (False, True))
        if fails and mode == "always" and sync in ("full", "top"):
            # It names what the target lacks, which is more than was written.
            assert first[1] <= row["count"] <= SIZE, (sync, row)
            want = row["count"]
        elif fails:
            want = first[1]
        else:
            want = second[1] + (first[1] if mode == "never" else 0)
        same((sync, mode, fails, row["count"]), (sync, mode, fails, want))
        vm.command("block-dirty-bitmap-remove", node="a", name="m")
        close(vm, "a", "b")


# ---- errors ------------------------------------------------------------------------------------

COMMANDS = {"stream": ("block-stream", {"device": "top"}),
            "commit": ("block-commit", {"device": "top", "top_node": "mid"}),
            "active commit": ("block-commit", {"device": "top"}),
            "mirror": ("blockdev-mirror", {"device": "top", "target": "t", "sync": "full"}),
            "backup": ("blockdev-backup", {"device": "top", "target": "t", "sync": "full"})}
# Where the data of each job comes from and goes to: nodes of failing_chain().
SIDES = {"stream": ("mid", "top"), "commit": ("mid", "base"), "active commit": ("mid", "base"),
         "mirror": ("mid", "t"), "backup": ("mid", "t")}


CHAIN = {"base": None, "mid": "base", "top": "mid", "t": None}


def make_chain():
    """Files for failing_chain()."""
    for node, below in CHAIN.items():
        make_qcow2(node + ".qcow2", *(("-b", below + ".qcow2", "-F", "qcow2") if below else ()))
        if node in ("base", "mid"):
            write(node + ".qcow2", 3, "1M", "1M")
        shutil.copyfile(node + ".qcow2", node + ".before")


def failing_chain(vm, job, operation, error):
    """Nodes base, mid, top over each other and t, with one failure for the job to meet."""
    place = SIDES[job][operation == "write"]
    event = "read_aio" if operation == "read" else "write_aio"
    rules = [{"event": event, "iotype": operation, "errno": error, "once": True}]
    for node, below in CHAIN.items():
        shutil.copyfile(node + ".before", node + ".qcow2")
        image = {"driver": "file", "filename": node + ".qcow2"}
        vm.add(node, "qcow2", **({"backing": below} if below else {}),
               file={"driver": "blkdebug", "image": image,
                     "inject-error": rules if node == place else []})


def jobs_meet_errors(vm):
    """policy x side x errno, for each job: the event, the state, the end, the content."""
    make_chain()
    for job, (name, arguments) in COMMANDS.items():
        for operation in ("read", "write"):
            for policy, error in (("report", 5), ("ignore", 5), ("stop", 5), ("enospc", 5),
                                  ("enospc", 28)):
                options = ({"on_error": policy} if name in ("block-stream", "block-commit") else
                           {"on_source_error": policy, "on_target_error": policy})
                failing_chain(vm, job, operation, error)
                vm.command(name, job_id="j", **arguments, **options)
                one_failure(vm, job, operation, policy, error)
                nodes = vm.nodes()
                close(vm, *(n for n in ("top", "mid", "base", "t") if n in nodes))


def one_failure(vm, job, operation, policy, error):
    what = (job, operation, policy, error)
    action = {"report": "report", "ignore": "ignore", "stop": "stop",
              "enospc": "stop" if error == 28 else "report"}[policy]
    if job == "stream":
        operation = "read"  # it fills its image by reading
    event = vm.wait_event("BLOCK_JOB_ERROR")["data"]
    same((what, event), (what, {"device": "j", "operation": operation, "action": action}))
    if action == "stop":
        while True:
            row, = vm.command("query-block-jobs")
            if row["status"] == "paused":
                break
        same((what, row["paused"], row["io-status"]),
             (what, True, "nospace" if error == 28 else "failed"))
        verb = "reading" if operation == "read" else "writing"
        same((what, row["waits-for"]),
             (what, f"It is paused since {verb} failed: {os.strerror(error)}, and waits for "
                    "job-resume"))
        vm.command("block-job-resume", device="j")
    if job in ("mirror", "active commit") and action != "report":
        vm.wait_event("BLOCK_JOB_READY", device="j")
        same((what, vm.command("query-block-jobs")[0]["io-status"]), (what, "ok"))
        vm.command("job-complete", id="j")
    fails = action == "report" or (action == "ignore" and job == "stream")
    end = ended(vm)
    same((what, "error" in end), (what, fails))
    if not fails:
        for image in {"stream": ["top"], "mirror": ["t"], "backup": ["t"]}.get(job, ["base"]):
            must("qemu-io", "-r", "-U", "-f", "qcow2", "-c", "read -q -P 3 1M 1M", image + ".qcow2")


def jobs_say_what_they_wait_for(vm):
    two_raw(vm)

    def waits():
        one, = vm.command("query-jobs")
        other, = vm.command("query-block-jobs")
        # Both say the same, but for the time that passes between.
        same(one["waits-for"].split(",")[0], other["waits-for"].split(",")[0])
        return one["waits-for"]
    mirror(vm, speed=1, auto_dismiss=False)
    vm.wait_event("JOB_STATUS_CHANGE", id="j", status="running")
    while "waits-for" not in vm.command("query-jobs")[0]:
        pass
    text = waits()
    assert text.startswith("It waits for the speed limit, for another "), text
    assert 0 < int(text.split()[-2]) <= 65536 * 1000, text
    vm.command("job-pause", id="j")
    same(waits(), "It is paused by a user, and waits for job-resume")
    vm.command("job-resume", id="j")
    vm.command("block-job-set-speed", device="j", speed=0)
    vm.wait_event("BLOCK_JOB_READY", device="j")
    same(waits(), "It waits for writes to copy, job-complete or job-cancel")
    vm.command("job-cancel", id="j")
    ended(vm)
    same(waits(), "It is over and waits for job-dismiss")
    vm.command("job-dismiss", id="j")
    backup(vm, sync="none")
    same(waits(), "It waits for job-cancel")
    vm.command("job-cancel", id="j")


# ---- the end -----------------------------------------------------------------------------------

def every_job_waits_to_be_finalized_and_dismissed(vm):
    for job, (name, arguments) in COMMANDS.items():
        chain(vm, "base", "mid", "top")
        make_raw("t.raw", SIZE)
        vm.add("t", "raw", file={"driver": "file", "filename": "t.raw"})
        vm.command(name, job_id="j", auto_finalize=False, auto_dismiss=False, **arguments)
        if job in ("mirror", "active commit"):
            vm.wait_event("BLOCK_JOB_READY", device="j")
            vm.command("job-complete", id="j")
        vm.wait_event("BLOCK_JOB_PENDING", id="j")
        row, = vm.command("query-block-jobs")
        same((row["status"], row["auto-finalize"], row["auto-dismiss"], row["waits-for"]),
             ("pending", False, False, "Its work is done; it waits for job-finalize"))
        vm.command("block-job-finalize", id="j")
        succeeded(vm)
        row, = vm.command("query-jobs")
        same((job, row["status"], row["waits-for"]),
             (job, "concluded", "It is over and waits for job-dismiss"))
        vm.command("block-job-dismiss", id="j")
        same(vm.command("query-jobs"), [])
        nodes = vm.nodes()
        close(vm, *(n for n in ("top", "mid", "base", "t") if n in nodes))


run("job-options", [
    stream_base, stream_base_node, stream_bottom, stream_everything, stream_backing_file,
    backing_mask_protocol, filter_node_name, commit_names_top_and_base, commit_backing_file,
    commit_of_the_active_node_follows_guests, mirror_cancelled_when_ready_leaves_a_copy,
    mirror_cancelled_before_it_is_ready_is_cancelled, mirror_copies_by_granularity,
    mirror_of_zeroes_to_a_target_of_zeroes, mirror_unmap, mirror_write_blocking_keeps_up,
    mirror_changes_its_copy_mode, mirror_replaces_a_part_of_a_quorum, mirror_buf_size_is_checked,
    mirror_has_no_bitmap_modes, backup_x_perf, backup_compress, on_cbw_error_break_guest_write,
    on_cbw_error_break_snapshot, backup_bitmap_modes, jobs_meet_errors,
    jobs_say_what_they_wait_for,
    every_job_waits_to_be_finalized_and_dismissed])
