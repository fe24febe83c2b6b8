#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Storage that does not answer: queries go on, jobs take commands, and programs end.

Calls on r.raw hang while the file "hang" exists (tests/lib/ioshim.c)."""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import PATIENCE, shim            # noqa: E402
from nbdtest import CMD_READ, CMD_WRITE, NbdClient, NbdError  # noqa: E402
from qmptest import (Client, JobError, MiB, Tap, Vm, case_name, have,  # noqa: E402
                     run_one, same)


class Hung(Vm):
    """A program with r.raw as node f, n above it, and a second monitor."""

    def __init__(self, program, *args):
        with open("r.raw", "wb") as image:
            image.write(b"data" * MiB)
        env = shim("/r.raw", hang="hang")
        env["QEMU_SHUTDOWN_SECONDS"] = "1"
        words = ["--chardev" if "storage" in program else "-chardev",
                 "socket,id=second,path=second,server=on,wait=off"]
        words += (["--monitor", "chardev=second"] if "storage" in program else
                  ["-mon", "chardev=second,mode=control"])
        super().__init__(*args, *words, program=program, env=env)
        self.second = Client("second")
        self.add("f", "file", filename="r.raw")
        self.add("n", "raw", file="f")

    def __exit__(self, *exc):
        if os.path.exists("hang"):
            os.unlink("hang")
        self.second.close()
        super().__exit__(*exc)

    def post(self, name, **arguments):
        """A command whose answer is not waited for."""
        self.writer.write(b'{"execute": "%s", "arguments": %s}\n'
                          % (name.encode(), repr(arguments).replace("'", '"').encode()))
        self.writer.flush()

    def answers(self):
        """Every query is answered on the second monitor, while the storage hangs."""
        for name in ("query-block", "query-named-block-nodes", "query-blockstats", "query-jobs",
                     "query-block-jobs", "query-block-exports", "query-block-blockers"):
            self.second.command(name)

    def must_give_up(self, node="f"):
        """It ends by itself, soon, and says for whom it did not wait."""
        status = self.process.wait(timeout=PATIENCE)
        self.log.seek(0)
        said = self.log.read().decode()
        assert status == 1, f"status {status}: {said}"
        assert "warning: The end waits for storage that does not answer" in said, said
        assert "Ended without closing all images, since storage does not answer: " \
               f"node '{node}' (r.raw)" in said, said


def hang():
    """From here on."""
    with open("hang", "wb"):
        pass


def queries_answer_while_resizing(program):
    with Hung(program) as vm:
        hang()
        vm.post("block_resize", **{"node-name": "n", "size": 8 * MiB})
        vm.answers()
        os.unlink("hang")
        same(vm.read_object(), {"return": {}})
        same(vm.nodes()["n"]["image"]["virtual-size"], 8 * MiB)


def queries_answer_while_opening(program):
    """The header cannot be read; another node is made meanwhile by nobody, but all can ask."""
    with Hung(program) as vm:
        hang()
        vm.post("blockdev-add", **{"driver": "qcow2", "node-name": "q", "file": "f"})
        vm.answers()
        os.unlink("hang")
        same(vm.read_object()["error"]["desc"], "Image is not in qcow2 format")
        same(sorted(vm.nodes()), ["f", "n"])


def queries_answer_while_a_node_goes(program):
    """Deleting flushes what was written."""
    with Hung(program) as vm:
        vm.command("block_resize", node_name="n", size=8 * MiB)
        hang()
        vm.post("blockdev-del", **{"node-name": "n"})
        vm.answers()
        os.unlink("hang")
        same(vm.read_object(), {"return": {}})
        same(list(vm.nodes()), ["f"])


def jobs_and_clients_go_on_elsewhere(program):
    """A job and an export on other storage do not notice."""
    with Hung(program) as vm:
        vm.null("a")
        vm.null("b")
        vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
        vm.command("block-export-add", type="nbd", id="e", node_name="a", writable=True)
        start_backup(vm)
        with NbdClient("s", "a") as client:
            for block in range(20):
                client.write(block * 4096, bytes(4096))
        vm.command("blockdev-backup", job_id="k", device="a", target="b", sync="full")
        vm.wait_event("BLOCK_JOB_COMPLETED", device="k")
        same([row["id"] for row in vm.second.command("query-jobs")], ["j"])
        os.unlink("hang")
        vm.wait_job("j")


def quit_during_a_resize(program):
    with Hung(program) as vm:
        hang()
        vm.post("block_resize", **{"node-name": "n", "size": 8 * MiB})
        vm.answers()
        vm.second.command("quit")
        vm.must_give_up()


def start_backup(vm):
    vm.null("target", 4 * MiB)
    hang()
    vm.command("blockdev-backup", job_id="j", device="n", target="target", sync="full")


def quit_during_a_job(program):
    with Hung(program) as vm:
        start_backup(vm)
        vm.answers()
        vm.command("quit")
        vm.must_give_up()


def a_signal_during_a_job(program):
    with Hung(program) as vm:
        start_backup(vm)
        vm.process.send_signal(signal.SIGTERM)
        vm.must_give_up()


def a_job_is_cancelled(program):
    """The command answers; the job ends when the storage does."""
    with Hung(program) as vm:
        start_backup(vm)
        vm.command("block-job-cancel", device="j", force=True)
        vm.answers()
        same(len(vm.second.command("query-jobs")), 1)
        os.unlink("hang")
        try:
            vm.wait_job("j")
        except JobError:
            pass
        same(vm.second.command("query-jobs"), [])


def quit_when_it_answers_late(program):
    """Shorter than the time that is waited: everything is closed."""
    with Hung(program) as vm:
        start_backup(vm)
        vm.command("quit")
        os.unlink("hang")
        vm.finish()


def objects_go_while_it_hangs(program):
    """An iothread that requests wait in goes by name at once, and itself with its last user; a
    group that is used stays."""
    with Hung(program) as vm:
        vm.command("object-add", qom_type="iothread", id="t")
        vm.command("object-add", qom_type="throttle-group", id="g")
        vm.add("limited", "throttle", file="n", **{"throttle-group": "g"})
        vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "nbd"}})
        vm.command("block-export-add", type="nbd", id="e", node_name="limited", iothread="t")
        with NbdClient("nbd", "limited") as client:
            same(client.read(0, 4), b"data")
            hang()
            client.request(CMD_READ, MiB, 65536)
            vm.second.command("object-del", id="t")
            vm.refused("object 'g' is in use, can not be deleted", "object-del", id="g")
            vm.second.command("object-add", qom_type="iothread", id="t")
            vm.second.command("object-del", id="t")
            vm.second.command("block-export-del", id="e", mode="hard")
            vm.answers()
            os.unlink("hang")
        vm.wait_event("BLOCK_EXPORT_DELETED", id="e")
        vm.command("blockdev-del", node_name="limited")
        vm.command("object-del", id="g")


def guarded_by_a_copy(vm, policy):
    """A client of a node whose old content is saved to n, for a second at most."""
    vm.null("src", 4 * MiB, **{"read-zeroes": True})
    vm.add("cbw", "copy-before-write", file="src", target="n", **{
        "on-cbw-error": policy, "cbw-timeout": 1})
    vm.add("moment", "snapshot-access", file="cbw")
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    for name, writable in (("cbw", True), ("moment", False)):
        vm.command("block-export-add", type="nbd", id=name, node_name=name, writable=writable)
    return NbdClient("s", "cbw"), NbdClient("s", "moment")


def a_guest_waits_for_its_snapshot_no_longer_than_told(program):
    """The write fails and the snapshot is whole, or the other way round; queries answer meanwhile."""
    for policy in ("break-guest-write", "break-snapshot"):
        with Hung(program) as vm:
            guest, moment = guarded_by_a_copy(vm, policy)
            with guest, moment:
                guest.write(0, b"x" * 4096)
                same(moment.read(0, 4096), bytes(4096))
                hang()
                cookie = guest.request(CMD_WRITE, MiB, 4096, b"x" * 4096)
                vm.answers()
                error, got, _ = guest.reply()
                same((got, error != 0), (cookie, policy == "break-guest-write"))
                # Its target answers no more, so only what was not written can be told.
                try:
                    same(moment.read(2 * MiB, 4096), bytes(4096))
                    is_whole = True
                except NbdError:
                    is_whole = False
                same(is_whole, policy == "break-guest-write")
                os.unlink("hang")
                guest.write(2 * MiB, b"x" * 4096)
                if is_whole:
                    same(moment.read(2 * MiB, 4096), bytes(4096))


CASES = (queries_answer_while_resizing, queries_answer_while_opening,
         queries_answer_while_a_node_goes, jobs_and_clients_go_on_elsewhere, quit_during_a_resize,
         quit_during_a_job, a_signal_during_a_job, a_job_is_cancelled, quit_when_it_answers_late,
         objects_go_while_it_hangs, a_guest_waits_for_its_snapshot_no_longer_than_told)


def main():
    tap = Tap()
    for program in ("qemu-storage-daemon", "qemu-system-e2k"):
        for case in CASES:
            name = case_name(f"hung-storage/{program}", case)
            if have(program):
                run_one(tap, name, lambda case=case, program=program: case(program))
            else:
                tap.skip(name, "not built")
    sys.exit(tap.finish())


if __name__ == "__main__":
    main()
