#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/qmp.py as a user has it: the library, the shell on pipes, and what TAB would offer."""

import os
import re
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import PATIENCE, SRC  # noqa: E402
from qmptest import Client, JobError, MiB, QMPError, make_raw, run, same  # noqa: E402
import qmp  # noqa: E402

QMP = os.path.join(SRC, "scripts", "qmp.py")


def shell(*args, stdin=None, status=0):
    """Run the script on the socket m: what it printed; its exit status must be @status."""
    done = subprocess.run([sys.executable, QMP, *args], input=stdin, text=True, timeout=PATIENCE,
                          stdin=None if stdin is not None else subprocess.DEVNULL,
                          capture_output=True, check=False)
    assert done.returncode == status, done
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def caught(kind, call, *args, **kwargs):
    """The text of the exception that must come."""
    try:
        result = call(*args, **kwargs)
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}, but {result}")


# ---- library -------------------------------------------------------------------------------------

def errors_are_exceptions(vm):
    error = caught(QMPError, vm.command, "blockdev-del", node_name="x")
    same(error, "Failed to find node with node-name='x'")
    same(caught(ConnectionError, vm.reconnect),
         "a session over pipes cannot be started again")


def events_are_kept_for_who_waits(vm):
    vm.null("a")
    vm.null("t")
    vm.command("blockdev-backup", job_id="j", device="a", target="t", sync="full")
    vm.wait_event("BLOCK_JOB_COMPLETED", device="j")
    same(vm.wait_event("JOB_STATUS_CHANGE", status="created")["data"]["id"], "j")
    same(caught(TimeoutError, vm.wait_event, "NO_SUCH_EVENT", timeout=0),
         "no answer from the monitor")


def a_session_starts_again(vm):
    with Client("m") as client:
        client.command("query-version")
        client.reconnect()
        same(client.command("query-jobs"), [])
        client.sock.shutdown(socket.SHUT_RDWR)
        same(caught(ConnectionError, client.command, "query-jobs"),
             "the monitor closed the connection")
        client.reconnect()
        same(client.command("query-jobs"), [])


def a_late_answer_is_passed_over(vm):
    """The server is a fake one: it answers a command twice, first with an earlier id."""
    server = socket.socket(socket.AF_UNIX)
    server.bind("fake")
    server.listen(1)

    def serve():
        peer, _ = server.accept()
        peer.sendall(b'noise\n{"QMP": {}}\n')
        peer.recv(4096)
        peer.sendall(b'{"return": {}, "id": 1}\n')
        peer.recv(4096)
        peer.sendall(b'{"return": "late", "id": 1}\n{"return": "right", "id": 2}\n')
        peer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    with Client("fake") as client:
        same(client.command("x"), "right")
    thread.join()
    server.close()


def what_is_no_monitor_is_refused(vm):
    server = socket.socket(socket.AF_UNIX)
    server.bind("fake")
    server.listen(1)

    def serve():
        peer, _ = server.accept()
        peer.sendall(b'{"hello": 1}\n')
        peer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    same(caught(ConnectionError, Client, "fake"), "no QMP greeting, but {'hello': 1}")
    thread.join()
    server.close()


# ---- jobs ----------------------------------------------------------------------------------------

def jobs_are_waited_for(vm):
    vm.null("a")
    vm.null("t")
    backup = {"job_id": "j", "device": "a", "target": "t", "sync": "full"}
    rows = []
    vm.command("blockdev-backup", **backup)
    row = vm.wait_job("j", progress=rows.append)
    same((row["current-progress"], row["total-progress"]), (MiB, MiB))
    same(rows[-1]["current-progress"], MiB)
    vm.command("blockdev-backup", auto_dismiss=False, **backup)
    same(vm.wait_job("j")["status"], "concluded")
    same(vm.command("query-jobs"), [])
    vm.command("blockdev-mirror", **backup)
    same(vm.wait_job("j")["status"], "ready")
    vm.command("block-job-cancel", device="j")
    vm.wait_job("j")


def failures_of_jobs_are_told(vm):
    vm.add("bad", "blkdebug", image={"driver": "null-co", "size": MiB},
           **{"inject-error": [{"event": "none", "iotype": "write"}]})
    vm.null("a")
    same(caught(JobError, vm.wait_job, "j"), "there is no job 'j'")
    for dismiss in (True, False):
        vm.command("blockdev-backup", job_id="j", device="a", target="bad", sync="full",
                   auto_dismiss=dismiss)
        same(caught(JobError, vm.wait_job, "j"), "job 'j' failed: Input/output error")
    vm.null("t")
    vm.command("blockdev-backup", job_id="j", device="a", target="t", sync="full", speed=1)
    same(caught(TimeoutError, vm.wait_job, "j", timeout=0), "job 'j' has not ended within 0 s")
    vm.command("block-job-cancel", device="j", force=True)
    same(caught(JobError, vm.wait_job, "j"), "job 'j' was cancelled")


def a_bar_is_printed(vm):
    vm.null("a")
    vm.null("t")
    vm.command("blockdev-backup", job_id="j", device="a", target="t", sync="full",
               auto_finalize=False, auto_dismiss=False)
    vm.wait_event("JOB_STATUS_CHANGE", id="j", status="pending")
    assert re.fullmatch(r"j \[#{40}\] 100.0% .*\n", shell("m", "jobs")), shell("m", "jobs")
    vm.command("job-finalize", id="j")
    same(shell("--wait-job", "j", "m"), f"j [{'#' * 40}] 100.0% ended\n")
    same(shell("--wait-job", "j", "m", status=1), "error: there is no job 'j'\n")
    out = shell("--wait-job", "k", "m", "blockdev-backup", "job-id=k", "device=a", "target=t",
                "sync=full", "auto-dismiss=off")
    assert out.endswith("100.0% ended\n"), out
    same([qmp.bar(0, 0, 4), qmp.bar(1, 3, 4), qmp.bar(9, 3, 4)],
         ["[####] 100.0%", "[#...]  33.3%", "[####] 100.0%"])


# ---- shell ---------------------------------------------------------------------------------------

def values_are_read_as_the_schema_says(vm):
    make_raw("r.raw")
    shell("m", "blockdev-add", "driver=raw", "node-name=n", "read-only=on", "file.driver=file",
          "file.filename=r.raw")
    same(vm.nodes()["n"]["ro"], True)
    shell("m", "blockdev-add", "driver=null-co", "node-name=x123", "size=2M")
    same(vm.nodes()["x123"]["image"]["virtual-size"], 2 * MiB)
    for n in range(2):
        vm.null(f"c{n}")
    shell("m", "blockdev-add", "driver=quorum", "node-name=q", "vote-threshold=1", "children.0=c0",
          "children.1=c1")
    shell("m", "blockdev-add", "driver=quorum", "node-name=p", "vote-threshold=1",
          'children=["c0", "c1"]')
    assert {"p", "q"} <= set(vm.nodes()), vm.nodes()
    shell("m", "blockdev-reopen", 'options=[{"driver": "raw", "node-name": "n", "file": "%s"}]'
          % vm.nodes()["n"]["children"][0]["node-name"])
    same(vm.nodes()["n"]["ro"], False)


def mistakes_are_one_line(vm):
    vm.null("n")
    for words, text in (
            (["nosuch"], "The command nosuch has not been found"),
            (["block_resize", "node-name=n"], "Parameter 'size' is missing"),
            (["block_resize", "node-name=n", "size=big"], "size: 'big' is not a number"),
            (["block_resize", "node-name"], "'node-name' is not KEY=VALUE"),
            (["block_resize", "=1"], "'=1' is not KEY=VALUE"),
            (["blockdev-add", "read-only=perhaps"], "read-only: 'perhaps' is not on or off"),
            (["blockdev-add", "file.driver=file", "file.driver=raw"],
             "file.driver is given twice"),
            (["blockdev-add", "file=f", "file.driver=raw"],
             "file.driver: there is a value and something inside it"),
            (["blockdev-add", "driver=quorum", "children.1=a"],
             "children.1: elements of a list are numbered from 0"),
            (["blockdev-reopen", "options=[1,"],
             "options: Expecting value: line 1 column 4 (char 3)"),
            (["help", "nosuch"], "there is no command 'nosuch'"),
            (["wait-job"], "wait-job wants the id of a job")):
        same(shell("m", *words, status=1), f"error: {text}\n")
    same(shell("nowhere", "--timeout", "0", status=1),
         "qmp.py: nowhere: No such file or directory\n")
    out = shell("m", "--bogus", status=2)
    assert "unrecognized arguments: --bogus" in out, out
    out = shell("--help")
    assert "wait-job" in out and "Library:" in out, out


def a_file_of_lines_is_run(vm):
    out = shell("m", stdin='# made by a test\n\nblockdev-add driver=null-co node-name=a size=1K\n'
                '{"execute": "query-jobs"}\nhelp job-cancel\nexit\nquit\n')
    same(out, "{}\n[]\njob-cancel\n  id (required): string\n")
    same(list(vm.nodes()), ["a"])
    out = shell("m", stdin="query-jobs\nblockdev-del node-name=x\nblockdev-del node-name=a\n",
                status=1)
    same(out, "[]\nerror: Failed to find node with node-name='x'\n")
    same(list(vm.nodes()), ["a"])
    for line in ('{"execute": 1', 'blockdev-add file={"driver": "file"', '"x'):
        assert shell("m", stdin=line + "\n", status=1).startswith("error: "), line
    # The server goes: an answer, then nothing to talk to.
    out = shell("m", stdin="help blockdev-del\nevents\n")
    same(out, "blockdev-del\n  node-name (required): string\n")


def words_may_hold_blanks(vm):
    same(qmp.split_line('a  b="c d" e=[1, {"f": 2}]\tg'),
         ["a", 'b="c d"', 'e=[1, {"f": 2}]', "g"])
    same(qmp.split_line(r'a="\" b" c'), [r'a="\" b"', "c"])
    same(qmp.split_line("  "), [])
    same(caught(ValueError, qmp.split_line, "a=[1"), "a quote or bracket is not closed")
    same(qmp.parse_arguments(['a="5"', "b=5", "c=x", "d.e.0=1", "d.e.1=[2]"]),
         {"a": "5", "b": 5, "c": "x", "d": {"e": [1, [2]]}})


def lines_are_completed(vm):
    schema = qmp.Schema(vm.command("query-qmp-schema"))

    def offers(line, names=()):
        return qmp.complete(line, schema, names)

    same(offers("block_r"), ["block_resize "])
    same(offers("wait"), ["wait-job "])
    same(offers("help block_r"), ["block_resize "])
    same(offers("wait-job ", ["j"]), ["j "])
    same(offers("block_resize "), ["device=", "node-name=", "size="])
    same(offers("block_resize size=1 n"), ["node-name="])
    same(offers("block_resize size=1 s"), [])
    same(offers("block_resize node-name=a", ["aa", "ab", "b"]), ["node-name=aa ", "node-name=ab "])
    same(offers("block_resize size=a", ["aa"]), [])
    same(offers("blockdev-backup sync=in"), ["sync=incremental "])
    same(offers("blockdev-add driver=qcow2 read-only="), ["read-only=on ", "read-only=off "])
    assert "cache." in offers("blockdev-add c"), offers("blockdev-add c")
    same(offers("blockdev-add cache.d"), ["cache.direct="])
    same(offers("nosuch "), [])
    same(offers("blockdev-add a.b.c=d"), [])


run("qmp-client", [
    errors_are_exceptions, events_are_kept_for_who_waits, a_session_starts_again,
    a_late_answer_is_passed_over, what_is_no_monitor_is_refused, jobs_are_waited_for,
    failures_of_jobs_are_told, a_bar_is_printed, values_are_read_as_the_schema_says,
    mistakes_are_one_line, a_file_of_lines_is_run, words_may_hold_blanks, lines_are_completed,
], args=("--chardev", "socket,id=m,path=m,server=on,wait=off", "--monitor", "m"))
