#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Replay QMP sessions recorded with QEMU 10.0: each request must get the same answer.

  test-transcripts.py [-v] [NAME...]      -v prints the requests whose answers differ

Lines: $ shell command, @ program with a QMP session, > request, < what came back, ~ wait for an
event; others belong to the shell commands, whose output is not compared here.  An answer may have more
members than the recorded one; volatile ones are not compared.  The events of a session must be the
recorded ones, those of each job in their order.  transcripts/DIFFERENCES lists the numbers of the requests whose answers
are known to differ, 'events' where they do, and why; exactly these must differ.
"""
import difflib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [os.path.join(HERE, "../../lib"), os.path.join(HERE, "../../../scripts")]

from imgtest import BUILD, PATIENCE, have  # noqa: E402
from qmp import Client  # noqa: E402

FOLDER = os.path.join(HERE, "transcripts")
PROGRAMS = {"qemu-system-x86_64": "qemu-system-e2k"}
# The machine was another one: ours has no ports for hot-plugging, any slot of its bus will do; and
# instead of IDE and floppy controllers a simple reader of media, in a tray or a slot.
MACHINE = ((re.compile(r" -device isa-fdc\S*"), ""),
           (re.compile(r" -device floppy,"), " -device isa-cdrom,tray=off,"),
           (re.compile(r" -device ide-cd,"), " -device isa-cdrom,"),
           (re.compile(r" -machine q35\b"), ""),
           (re.compile(r" -device pcie-root-port\S*"), ""),
           (re.compile(r', "bus": "rp\d"'), ""))
VOLATILE = {"actual-size", "id", "timestamp", "version", "package", "idle_time_ns", "thread-id"}
# How far a job got when it was paused is a matter of timing.
JOB_VOLATILE = {"busy", "offset", "status"}
TEXTS = ((re.compile(r"#block\d+"), "#block"), (re.compile(r"disk size: [^\\]*"), "disk size"),
         (re.compile(r"(total_time_ns|idle_time_ns)=\d+"), r"\1=N"),
         (re.compile(r"The lock is held by .*?\.\\r\\n"), ""))  # we tell more


def canonical_graph(graph):
    """x-debug-query-block-graph: numbers are arbitrary, so things are named."""
    names = {node["id"]: [node["type"], canonical(node["name"])] for node in graph["nodes"]}
    edges = [[names[edge["parent"]], edge["name"], names[edge["child"]], sorted(edge["perm"]),
              sorted(edge["shared-perm"])] for edge in graph["edges"]]
    return {"nodes": sorted(names.values()), "edges": sorted(edges)}


def canonical(value):
    """Without what changes from run to run."""
    if isinstance(value, dict) and "edges" in value and isinstance(value["edges"], list):
        return canonical_graph(value)
    if isinstance(value, dict):
        return {k: canonical(v) for k, v in value.items()
                if k not in VOLATILE and not (k in JOB_VOLATILE and value.get("paused"))}
    if isinstance(value, list):
        return [canonical(v) for v in value]
    if isinstance(value, str):
        text = json.dumps(value)
        for pattern, replacement in TEXTS:
            text = pattern.sub(replacement, text)
        return json.loads(text)
    return value


def covers(got, wanted):
    """Is all of @wanted in @got?"""
    if isinstance(wanted, dict):
        return isinstance(got, dict) and all(k in got and covers(got[k], v)
                                             for k, v in wanted.items())
    if isinstance(wanted, list):
        return isinstance(got, list) and len(got) == len(wanted) and all(map(covers, got, wanted))
    return got == wanted


def told(event):
    """Whose event, and what must be the same of it; None if it comes whenever a job is held up."""
    name, data = event["event"], event.get("data", {})
    if name == "JOB_STATUS_CHANGE":
        # Each drain pauses jobs; whether they are ready before a request is a matter of timing.
        is_momentary = data["status"] in ("running", "paused", "ready", "standby")
        return None if is_momentary else (f"job {data['id']}", f"{name} {data['status']}")
    volatile = {"path", "qom-path"} | ({"offset"} if name == "BLOCK_JOB_CANCELLED" else set())
    text = json.dumps({k: v for k, v in data.items() if k not in volatile}, sort_keys=True)
    is_job = name.startswith("BLOCK_JOB_")
    return f"job {data.get('id') or data['device']}" if is_job else "others", f"{name} {text}"


class Listener(Client):
    """Keeps what is told of all events, in order."""

    def __init__(self, *args, **options):
        self.heard = []
        super().__init__(*args, **options)

    def read_object(self, timeout=None):
        read = super().read_object(timeout)
        if "event" in read:
            self.heard.append(told(read))
        return read

    def read_to_the_end(self):
        try:
            while True:
                self.read_object()
        except ConnectionError:
            pass


class Player:
    """One transcript in its empty folder."""

    def __init__(self, path, hopeless):
        self.hopeless = hopeless  # requests known to differ: nothing is to be waited for
        with open(path, encoding="utf-8") as file:
            self.lines = [line.rstrip("\n") for line in file]
        self.vm, self.number, self.differing, self.heard = None, 0, {}, []

    def wanted_answer(self, index):
        """The recorded answer to the request in line @index; None if none was recorded."""
        for line in self.lines[index + 1:]:
            if line[:1] in ">@$=":
                break
            if line.startswith("< {") and '"event"' not in line:
                return json.loads(line[2:])
        return None

    def start(self, command):
        for pattern, replacement in MACHINE:
            command = pattern.sub(replacement, command)
        words = shlex.split(command)
        words[0] = os.path.join(BUILD, PROGRAMS.get(words[0], words[0]))
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL)
        self.vm = Listener(process, timeout=PATIENCE, negotiate=False)

    def stop(self, failed=False):
        if self.vm:
            self.vm.process.stdin.close()
            try:
                if not failed:
                    self.vm.read_to_the_end()
                    self.vm.process.wait(PATIENCE)
            finally:
                self.vm.process.kill()
                self.vm.process.stdout.close()
                self.vm.process.wait()
            self.heard += filter(None, self.vm.heard)
            self.vm = None

    def answer(self):
        """The next one; events that come first are kept."""
        while True:
            answer = self.vm.read_object()
            if "event" not in answer:
                return answer
            self.vm.events.append(answer)

    def request(self, index, text):
        self.number += 1
        wanted = self.wanted_answer(index)
        for pattern, replacement in MACHINE:
            text = pattern.sub(replacement, text)
        self.vm.events.clear()  # what is waited for next is what this request leads to
        self.vm.send(text)
        if wanted is None:
            return
        try:
            answer = self.answer()
        except TimeoutError:
            answer = "nothing"
        if not covers(canonical(answer), canonical(wanted)):
            self.differing[self.number] = f"> {text}\n  wanted {wanted}\n  got    {answer}"

    def wait(self, text):
        name, *fields = text.split()
        data = dict(field.split("=", 1) for field in fields)
        try:
            limit = 0.2 if self.number in self.hopeless else PATIENCE
            self.vm.wait_event(name, timeout=limit, **data)
        except TimeoutError:
            self.differing[self.number] = f"no event {text}"

    def play(self):
        env = dict(os.environ, PATH=f"{BUILD}:{os.environ['PATH']}")
        try:
            for index, line in enumerate(self.lines):
                kind, text = line[:1], line[2:]
                if kind in "$@":
                    self.stop()
                if kind == "$" and line:
                    subprocess.run(["bash", "-c", text], env=env, check=False,
                                   stdin=subprocess.DEVNULL, capture_output=True)
                elif kind == "@":
                    self.start(text)
                elif kind == ">":
                    self.request(index, text)
                elif kind == "~":
                    self.wait(text)
        except Exception:
            self.stop(failed=True)
            raise
        self.stop()
        self.compare_events()
        return self.differing

    def compare_events(self):
        """Those of each job in their order, and all others; some come before an answer or after it."""
        wanted = (json.loads(line[2:]) for line in self.lines if line.startswith("< {"))
        # A stable sort by whose they are: jobs that run side by side come in any order.
        sides = [[": ".join(event) for event in sorted(filter(None, events), key=lambda e: e[0])]
                 for events in ((told(event) for event in wanted if "event" in event), self.heard)]
        lines = list(difflib.unified_diff(*sides, "wanted", "got", lineterm="", n=0))
        if lines:
            self.differing["events"] = "\n".join(lines)


def known_differences():
    known = {}
    with open(os.path.join(FOLDER, "DIFFERENCES"), encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                name, numbers, reason = line.strip().split(None, 2)
                known[name] = {int(n) if n.isdigit() else n for n in numbers.split(",")}, reason
    return known


def play(name, hopeless):
    home = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return Player(os.path.join(FOLDER, name + ".txt"), hopeless).play()
        except (OSError, ConnectionError, TimeoutError, subprocess.TimeoutExpired) as error:
            return {0: f"the session broke off: {error!r}"}
        finally:
            os.chdir(home)


def main(words):
    names = sorted(n[:-4] for n in os.listdir(FOLDER) if n.endswith(".txt"))
    if not have("qemu-storage-daemon") or not have("qemu-system-e2k"):
        print("1..0 # SKIP the programs are not built")
        return 0
    verbose = "-v" in words
    names = [w for w in words if w != "-v"] or names
    known, failed = known_differences(), 0
    print(f"1..{len(names)}")
    for number, name in enumerate(names, 1):
        expected, reason = known.get(name, (set(), ""))
        differing = play(name, expected)
        good = set(differing) == expected
        failed += not good
        note = f" # SKIP known difference: {reason}" if good and expected else ""
        print(f"{'ok' if good else 'not ok'} {number} - {name}{note}", flush=True)
        if not good:
            print(f"# differ: {','.join(map(str, differing))}")
        for n, text in differing.items():
            if verbose or (not good and n not in expected):
                print("\n".join("# " + line[:600] for line in f"{n}: {text}".splitlines()))
        if not good and expected - set(differing):
            print(f"# no longer differ: {expected - set(differing)}")
    return 1 if failed else 0


sys.exit(main(sys.argv[1:]))
