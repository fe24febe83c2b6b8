#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The examples of docs/qmp-commands.md, run in their order, answer what the document says.

In blocks marked "qmp", "$" is a shell command or the start of a program with a QMP session, "->" a
request, "<-" what comes back: first the reply, then events, which are waited for.  In these "..."
stands for anything, as a member's name or the last element for any further ones.

--write writes the document with the replies as they are, where an example has none yet."""

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import PATIENCE, SRC  # noqa: E402
from qmptest import BUILD, Client, Tap, Vm, have  # noqa: E402

DOCUMENT = os.path.join(SRC, "docs", "qmp-commands.md")
PROGRAMS = ("qemu-storage-daemon", "qemu-system-e2k")
# Commands about a machine or a monitor rather than disks; descriptors come beside the text.
NOT_OF_DISKS = {"add-fd", "closefd", "cont", "getfd", "query-fdsets", "query-name", "query-status",
                "query-target", "query-uuid", "remove-fd", "stop", "system_powerdown",
                "system_reset"}


def matches(wanted, got):
    """Is @got what the document says?"""
    if wanted == "...":
        return True
    if isinstance(wanted, dict) and isinstance(got, dict):
        named = {key: value for key, value in wanted.items() if key != "..."}
        return (all(key in got and matches(value, got[key]) for key, value in named.items())
                and (len(named) < len(wanted) or set(got) == set(named)))
    if isinstance(wanted, list) and isinstance(got, list):
        if wanted[-1:] == ["..."]:
            wanted = wanted[:-1]
            got = got[:len(wanted)]
        return len(wanted) == len(got) and all(map(matches, wanted, got))
    return wanted == got


def steps():
    """(line number, section, kind, text) of each step; texts that go on over lines are joined."""
    found, inside, section = [], False, None
    with open(DOCUMENT, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            line = line.rstrip("\n")
            if line.startswith("## "):
                section = re.sub(r"\W+", "-", line[3:].lower())
            elif line.startswith("```"):
                inside = line == "```qmp"
            elif inside and re.match(r"(\$|->|<-) ", line):
                kind, _, text = line.partition(" ")
                found.append([number, section, kind, text])
            elif inside:
                found[-1][3] += " " + line.strip()
    return found


class Player:
    """Runs the steps."""

    def __init__(self):
        self.process = self.client = None
        self.replied, self.executed = True, set()

    def start(self, words):
        self.stop()
        log = subprocess.DEVNULL
        self.process = subprocess.Popen([os.path.join(BUILD, words[0]), *words[1:]], stderr=log,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.client = Client(self.process, timeout=PATIENCE, negotiate=False)

    def stop(self):
        if self.process:
            self.process.stdin.close()
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def step(self, kind, text):
        """What came back, or None; an AssertionError if it is not what was wanted."""
        if kind == "$":
            words = shlex.split(text)
            if words[0] in PROGRAMS:
                self.start(words)
            else:
                subprocess.run(text, shell=True, check=True,
                               env=dict(os.environ, PATH=f"{BUILD}:{os.environ['PATH']}"))
            return None
        obj = json.loads(text)
        if kind == "->":
            self.executed.add(obj["execute"])
            self.executed.update(action["type"] for action in
                                 obj.get("arguments", {}).get("actions", []))
            self.reply = self.client.raw(obj)
            return self.reply
        if "event" in obj:
            self.wait(obj)
            return None
        assert matches(obj, self.reply), f"got    {json.dumps(self.reply)}\nwanted {text}"
        return None

    def wait(self, wanted):
        """Take the first event that is as wanted; TimeoutError if none comes."""
        wanted = {**wanted, "timestamp": "..."}
        seen = []
        while True:
            event = self.client.next_event(20)
            if matches(wanted, event):
                self.client.events = seen + self.client.events
                return
            seen.append(event)


def play(tap):
    """A case per section, up to the first that fails: they build on each other.  Returns the
    commands that were run."""
    player = Player()
    try:
        for section, group in itertools.groupby(steps(), key=lambda step: step[1]):
            name = f"/doc-examples/{section}"
            for number, _, kind, text in group:
                try:
                    player.step(kind, text)
                except Exception as error:  # pylint: disable=broad-except
                    tap.ok(False, name, f"line {number}: {kind} {text}\n"
                           f"{type(error).__name__}: {error}")
                    return player.executed
            tap.ok(True, name)
    finally:
        player.stop()
    return player.executed


def offered(program, *args):
    with Vm(*args, program=program) as vm:
        return {row["name"] for row in vm.command("query-commands")}


def print_document():
    """The document with missing replies filled in."""
    player, todo = Player(), {number: (kind, text) for number, _, kind, text in steps()}
    numbers, extra = sorted(todo), {}
    for here, after in zip(numbers, numbers[1:] + [None]):
        kind, text = todo[here]
        try:
            reply = player.step(kind, text)
        except (AssertionError, TimeoutError) as error:
            print(f"line {here}: {error}", file=sys.stderr)
        if kind == "->" and (after is None or todo[after][0] != "<-" or
                             '"event"' in todo[after][1]):
            extra[here] = "<- " + json.dumps(reply)
    player.stop()
    with open(DOCUMENT, encoding="utf-8") as lines:
        pending = None
        for number, line in enumerate(lines, 1):
            if pending and re.match(r"(```|->|<-|\$)", line):
                print(pending)
                pending = None
            print(line, end="")
            pending = extra.get(number, pending)


def main():
    tap = Tap()
    if not all(map(have, PROGRAMS)):
        print("1..0 # SKIP the programs are not built")
        return 0
    home = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        if "--write" in sys.argv:
            print_document()
            return 0
        executed = play(tap)
        os.chdir(home)
    commands = offered(PROGRAMS[0]) | offered(PROGRAMS[1], "-M", "none", "-display", "none")
    missing = commands - executed - NOT_OF_DISKS
    tap.ok(not missing, "/doc-examples/every-command-has-one", " ".join(sorted(missing)))
    return tap.finish()


sys.exit(main())
