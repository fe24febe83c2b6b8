#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP client: a library and a shell in one file, standard library only.

Library:
    from qmp import Client, JobError, QMPError
    with Client("/tmp/qmp.sock") as vm:        # or ("localhost", 4444), or a Popen with pipes
        vm.command("query-status")             # the value of "return"; QMPError if refused
        vm.command("blockdev-backup", job_id="j", device="d", target="t", sync="full")
        vm.wait_job("j", progress=print)       # until it has ended; JobError if it failed
        vm.wait_event("DEVICE_DELETED", device="disk1")

Shell:
    qmp.py SOCKET                              # TAB completes commands, arguments and values
    qmp.py SOCKET block_resize node-name=d size=64M
    qmp.py SOCKET blockdev-add driver=raw node-name=d file.driver=file file.filename=d.raw
    qmp.py --wait-job j SOCKET [COMMAND ...]   # a progress bar until job j has ended
    qmp.py SOCKET < FILE                       # a command a line; ends at the first that fails

A line is NAME KEY=VALUE..., or a whole request as JSON.  Values are read as the server's schema
says: text is text, numbers may end in K, M, G or T, switches are on or off, everything else is
JSON; blanks may stand within quotes and brackets only.  Dots in keys lead into inner objects and
lists: children.0=a.  Beside the server's commands there are: help [COMMAND], jobs, wait-job ID,
hmp LINE, events, exit.
"""
import argparse
import json
import os
import select
import socket
import subprocess
import sys
import time

SUFFIXES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class QMPError(Exception):
    """The server answered with an error."""

    def __init__(self, reply):
        error = reply["error"]
        super().__init__(error["desc"])
        self.error_class, self.desc, self.reply = error["class"], error["desc"], reply


class JobError(RuntimeError):
    """A job failed or was cancelled, or there is none of that name."""


# ---- library -------------------------------------------------------------------------------------

class Client:
    """One monitor session.  Not thread-safe.  Events that nobody waited for are kept in .events."""

    def __init__(self, address, timeout=60.0, negotiate=True):
        self.address, self.timeout, self.negotiate = address, timeout, negotiate
        self.events, self.buffer, self.last_id = [], b"", 0
        self.sock = self.process = None
        if isinstance(address, subprocess.Popen):
            self.process = address
            self.reader, self.writer = address.stdout.fileno(), address.stdin
        else:
            self.connect()
        self.greet()

    def connect(self):
        """The server may still be starting: try until the timeout."""
        family = socket.AF_INET if isinstance(self.address, tuple) else socket.AF_UNIX
        deadline = time.monotonic() + self.timeout
        while True:
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.connect(self.address)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                sock.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            except OSError:
                sock.close()
                raise
        self.sock = sock
        self.reader, self.writer = sock.fileno(), sock.makefile("wb")

    def greet(self):
        self.greeting = self.read_object()
        if "QMP" not in self.greeting:
            raise ConnectionError(f"no QMP greeting, but {self.greeting}")
        if self.negotiate:
            self.command("qmp_capabilities")

    def reconnect(self):
        """Start a new session at the same address; events not yet waited for are kept."""
        if not self.sock:
            raise ConnectionError("a session over pipes cannot be started again")
        self.close()
        self.buffer = b""
        self.connect()
        self.greet()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        if self.sock:
            try:
                self.writer.close()
            except OSError:
                pass  # what was not sent cannot be sent any more
            self.sock.close()

    def read_object(self, timeout=None):
        """Next JSON object; other lines (program output on the same stdout) are passed over."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            while b"\n" in self.buffer:
                line, self.buffer = self.buffer.split(b"\n", 1)
                if line.lstrip().startswith(b"{"):
                    return json.loads(line)
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self.reader], [], [], left)[0]:
                raise TimeoutError("no answer from the monitor")
            chunk = os.read(self.reader, 65536)
            if not chunk:
                raise ConnectionError("the monitor closed the connection")
            self.buffer += chunk

    def send(self, text):
        """A line, as it is."""
        try:
            self.writer.write(text.encode() + b"\n")
            self.writer.flush()
        except BrokenPipeError:
            raise ConnectionError("the monitor closed the connection") from None

    def read_reply(self):
        """The next object that is no event; events are kept."""
        while True:
            reply = self.read_object()
            if "event" not in reply:
                return reply
            self.events.append(reply)

    def raw(self, request):
        """Send an object; return the whole reply."""
        self.send(json.dumps(request))
        return self.read_reply()

    def command(self, name, /, **arguments):
        """Run a command; '_' in argument names stands for '-'."""
        return self.execute(name, {k.replace("_", "-"): v for k, v in arguments.items()})

    def execute(self, name, arguments=None):
        """Run a command.  The reply to an earlier one that timed out is passed over."""
        self.last_id += 1
        request = {"execute": name, "id": self.last_id}
        if arguments:
            request["arguments"] = arguments
        self.send(json.dumps(request))
        reply = self.read_reply()
        while reply.get("id", self.last_id) != self.last_id:
            reply = self.read_reply()
        if "error" in reply:
            raise QMPError(reply)
        return reply["return"]

    def hmp(self, line):
        """Run a command of the human monitor; returns what it prints."""
        return self.command("human-monitor-command", command_line=line)

    def next_event(self, timeout=None):
        """The oldest event not yet taken."""
        if self.events:
            return self.events.pop(0)
        return self.read_event(timeout)

    def read_event(self, timeout=None):
        while True:
            obj = self.read_object(timeout)
            if "event" in obj:
                return obj

    def wait_event(self, name, timeout=None, **fields):
        """Wait for an event with these data fields; others stay queued."""
        kept, deadline = [], time.monotonic() + (self.timeout if timeout is None else timeout)
        try:
            while True:
                event = self.next_event(max(0.0, deadline - time.monotonic()))
                data = event.get("data", {})
                if event["event"] == name and all(data.get(k.replace("_", "-")) == v
                                                  for k, v in fields.items()):
                    return event
                kept.append(event)
        finally:
            self.events = kept + self.events

    def job(self, job_id):
        """The job's row of query-jobs, or None."""
        return next((row for row in self.command("query-jobs") if row["id"] == job_id), None)

    def wait_job(self, job_id, timeout=600.0, progress=None):
        """Wait until the job has ended, or until it is ready: in step, and waiting for the word.

        Returns its last row of query-jobs, which is given to @progress from time to time, too.  One
        that waits to be dismissed is dismissed.  Raises JobError if it failed or was cancelled."""
        deadline, last = time.monotonic() + timeout, None
        while time.monotonic() < deadline:
            row = self.job(job_id)
            if not row:
                return self.gone_job(job_id, last, progress)
            last = row
            if progress:
                progress(row)
            if row["status"] == "concluded":
                self.command("job-dismiss", id=job_id)
                if row.get("error"):
                    raise JobError(f"job '{job_id}' failed: {row['error']}")
                return row
            if row["status"] == "ready":
                return row
            try:
                self.events.append(self.read_event(0.1))
            except TimeoutError:
                pass
        raise TimeoutError(f"job '{job_id}' has not ended within {timeout:.0f} s")

    def gone_job(self, job_id, last, progress):
        """How a job ended that is not there any more; takes its events."""
        ends = [event for event in self.events if event.get("data", {}).get("device") == job_id and
                event["event"] in ("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED")]
        if not ends and not last:
            raise JobError(f"there is no job '{job_id}'")
        self.events = [event for event in self.events if event not in ends]
        row = {"id": job_id, "status": "null", **(last or {})}
        if ends:
            data = ends[-1]["data"]
            row.update({"current-progress": data["offset"], "total-progress": data["len"]})
            if "error" in data:
                raise JobError(f"job '{job_id}' failed: {data['error']}")
            if ends[-1]["event"] == "BLOCK_JOB_CANCELLED":
                raise JobError(f"job '{job_id}' was cancelled")
        if progress:
            progress(row)
        return row


# ---- schema --------------------------------------------------------------------------------------

class Schema:
    """What query-qmp-schema says, as far as values and completion need it."""

    def __init__(self, rows):
        self.rows = {row["name"]: row for row in rows}
        self.commands = sorted(row["name"] for row in rows if row["meta-type"] == "command")

    def kind(self, key):
        """A type by its number: "string", "int", "boolean", "enum", "array", "object", ..."""
        row = self.rows[key]
        return row.get("json-type") or row["meta-type"]

    def members(self, key):
        """Name -> member of an object, of all branches of a union, of the object an alternate can
        be; or none."""
        row, found = self.rows[key], {}
        if row["meta-type"] == "alternate":
            for choice in row["members"]:
                found.update(self.members(choice["type"]))
        elif row["meta-type"] == "object":
            for variant in row.get("variants", []):
                found.update(self.members(variant["type"]))
            found.update({member["name"]: member for member in row["members"]})
        return found

    def inner(self, key, path):
        """The type behind a path of keys, or None."""
        for name in path:
            if key and self.kind(key) == "array" and name.isdigit():
                key = self.rows[key]["element-type"]
                continue
            member = self.members(key).get(name) if key else None
            key = member["type"] if member else None
        return key

    def arguments(self, command):
        """The type of a command's arguments, or None."""
        row = self.rows.get(command)
        return row["arg-type"] if row and row["meta-type"] == "command" else None

    def values(self, key):
        """The words that a value of this type may be."""
        row = self.rows[key]
        if row["meta-type"] == "enum":
            return row["values"]
        if row["meta-type"] == "alternate":
            return [word for choice in row["members"] for word in self.values(choice["type"])]
        return ["on", "off"] if self.kind(key) == "boolean" else []

    def describe(self, key):
        """A type in a word or two."""
        kind = self.kind(key)
        if kind == "array":
            return "list of " + self.describe(self.rows[key]["element-type"])
        if kind == "enum":
            return "|".join(self.values(key))
        return kind if kind != "alternate" else " or ".join(
            self.describe(choice["type"]) for choice in self.rows[key]["members"])

    def help(self, command):
        """A command and its arguments."""
        if not self.arguments(command):
            raise ValueError(f"there is no command '{command}'")
        row, lines = self.rows[self.arguments(command)], [command]
        own = {member["name"] for member in row["members"]}
        members = self.members(row["name"])
        for name in sorted(members, key=lambda name: (name not in own, name)):
            member = members[name]
            optional = "default" in member or name not in own
            lines.append(f"  {name}{'' if optional else ' (required)'}: "
                         f"{self.describe(member['type'])}")
        return "\n".join(lines)


# ---- lines of the shell --------------------------------------------------------------------------

def split_line(line):
    """Words of a line; blanks within quotes and brackets do not separate."""
    words, word, depth, quoted, escaped = [], "", 0, False, False
    for char in line:
        if char.isspace() and not depth and not quoted:
            if word:
                words.append(word)
            word = ""
            continue
        word += char
        if quoted:
            quoted = escaped or char != '"'
            escaped = char == "\\" and not escaped
        else:
            quoted = char == '"'
            depth += (char in "[{") - (char in "]}")
    if quoted or depth > 0:
        raise ValueError("a quote or bracket is not closed")
    return words + ([word] if word else [])


def parse_number(key, text):
    factor = SUFFIXES.get(text[-1:].upper(), 1)
    try:
        return int(text[:-1] if factor > 1 else text, 0) * factor
    except ValueError:
        raise ValueError(f"{key}: '{text}' is not a number") from None


def parse_value(key, text, kind):
    """A value of type @kind (None: unknown) from what a user wrote."""
    if kind in ("int", "number") and not text.startswith("-") and "." not in text:
        return parse_number(key, text)
    if kind == "boolean":
        if text.lower() not in ("on", "true", "yes", "off", "false", "no"):
            raise ValueError(f"{key}: '{text}' is not on or off")
        return text.lower() in ("on", "true", "yes")
    if kind in ("string", "enum") and not text.startswith('"'):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if text[:1] in ("{", "[", '"') or kind in ("object", "array"):
            raise ValueError(f"{key}: {error}") from None
        return text


def put_value(target, path, value):
    """Set target.a.b.c; numbers as keys make lists, which must be filled in order."""
    for here, after in zip(path, path[1:] + [None]):
        inner = value if after is None else [] if after.isdigit() else {}
        if isinstance(target, list):
            if not here.isdigit() or int(here) > len(target):
                raise ValueError(f"{'.'.join(path)}: elements of a list are numbered from 0")
            if int(here) == len(target):
                target.append(inner)
            here = int(here)
        elif isinstance(target, dict):
            target.setdefault(here, inner)
        else:
            raise ValueError(f"{'.'.join(path)}: there is a value and something inside it")
        if after is None:
            if target[here] is not value:
                raise ValueError(f"{'.'.join(path)} is given twice")
        target = target[here]


def parse_arguments(words, schema=None, command=None):
    """KEY=VALUE words as the arguments of @command."""
    arguments = {}
    top = schema.arguments(command) if schema else None
    for word in words:
        key, sep, text = word.partition("=")
        if not sep or not key:
            raise ValueError(f"'{word}' is not KEY=VALUE")
        path = key.split(".")
        kind = schema.inner(top, path) if top else None
        put_value(arguments, path, parse_value(key, text, schema.kind(kind) if kind else None))
    return arguments


def complete(line, schema, names=()):
    """What the last word of @line may become; @names: what users gave names to."""
    start, _, word = line.rpartition(" ")
    words = start.split()
    if not words:
        return [name + " " for name in sorted([*schema.commands, *BUILTINS])
                if name.startswith(word)]
    if words[0] == "help":
        return [name + " " for name in schema.commands if name.startswith(word)]
    if words[0] == "wait-job":
        return [name + " " for name in names if name.startswith(word)]
    key, sep, text = word.partition("=")
    top = schema.arguments(words[0])
    if not top:
        return []
    *path, last = key.split(".")
    if not sep:
        owner = schema.inner(top, path)
        found = schema.members(owner) if owner else {}
        given = {used.partition("=")[0] for used in words[1:]}
        prefix = "".join(name + "." for name in path)
        return [prefix + name + ("." if schema.kind(found[name]["type"]) == "object" else "=")
                for name in sorted(found)
                if name.startswith(last) and prefix + name not in given]
    kind = schema.inner(top, [*path, last])
    values = schema.values(kind) if kind else []
    if kind and "string" in schema.describe(kind):
        values = [*values, *names]
    return [f"{key}={value} " for value in values if value.startswith(text)]


# ---- what is shown -------------------------------------------------------------------------------

def bar(done, total, width=40):
    """One line of a progress bar."""
    filled = width if not total else min(width, width * done // total)
    percent = 100.0 if not total else min(100.0, 100.0 * done / total)
    return f"[{'#' * filled}{'.' * (width - filled)}] {percent:5.1f}%"


def job_line(row):
    """A job's row as a progress bar with what it is at."""
    is_over = row["status"] in ("concluded", "null")
    state = "ended" if is_over else row.get("waits-for") or row["status"]
    return f"{row['id']} {bar(row.get('current-progress', 0), row.get('total-progress', 0))} {state}"


class ProgressLine:
    """The bar in place on a terminal; elsewhere only its last state is printed."""

    def __init__(self):
        self.is_terminal, self.width, self.line = sys.stdout.isatty(), 0, None

    def __call__(self, row):
        self.line = job_line(row)
        if self.is_terminal:
            self.width = max(self.width, len(self.line))
            print("\r" + self.line.ljust(self.width), end="", flush=True)

    def finish(self):
        if self.line:
            print("" if self.is_terminal else self.line)


def show(value):
    print(json.dumps(value, indent=4, ensure_ascii=False))


# ---- shell ---------------------------------------------------------------------------------------

class Shell:
    """Runs lines on a client.  Its methods raise QMPError, JobError or ValueError."""

    def __init__(self, client):
        self.client, self.schema = client, None

    def get_schema(self):
        """Asked for once; a server that does not tell has its values taken as JSON or text."""
        if not self.schema:
            try:
                rows = self.client.command("query-qmp-schema")
            except QMPError:
                rows = []
            self.schema = Schema(rows)
        return self.schema

    def run(self, words):
        """One command."""
        name = words[0]
        if name in BUILTINS:
            return BUILTINS[name](self, words[1:])
        schema = self.get_schema() if len(words) > 1 else None
        return show(self.client.execute(name, parse_arguments(words[1:], schema, name)))

    def run_line(self, line):
        """One line; false when it was the last."""
        if line.lstrip().startswith("{"):
            reply = self.client.raw(json.loads(line))
            if "error" in reply:
                raise QMPError(reply)
            show(reply.get("return", reply))
            return True
        words = line.split(None, 1) if line.lstrip().startswith("hmp ") else split_line(line)
        if words == ["exit"]:
            return False
        if words and not words[0].startswith("#"):
            self.run(words)
        return True

    def wait_job(self, words):
        if len(words) != 1:
            raise ValueError("wait-job wants the id of a job")
        line = ProgressLine()
        try:
            self.client.wait_job(words[0], timeout=float("inf"), progress=line)
        finally:
            line.finish()

    def help(self, words):
        schema = self.get_schema()
        print("\n".join(schema.help(word) for word in words) if words else
              "\n".join([*schema.commands, "", "of this shell: " + " ".join(sorted(BUILTINS))]))

    def jobs(self, words):
        for row in self.client.command("query-jobs"):
            print(job_line(row) + (f": {row['error']}" if row.get("error") else ""))

    def hmp(self, words):
        print(self.client.hmp(" ".join(words)).replace("\r\n", "\n"), end="")

    def events(self, words=()):
        """Print what has happened."""
        while True:
            try:
                print(json.dumps(self.client.next_event(0)))
            except TimeoutError:
                return

    def names(self):
        """What nodes and jobs are called."""
        try:
            rows = self.client.command("query-named-block-nodes", flat=True)
            return sorted({row["node-name"] for row in rows} |
                          {row["id"] for row in self.client.command("query-jobs")})
        except QMPError:
            return []

    def complete(self, text, number):
        """For readline: the @number-th completion of the line so far."""
        import readline
        if number == 0:
            try:
                line = readline.get_line_buffer()[:readline.get_endidx()]
                self.found = complete(line, self.get_schema(), self.names())
            except OSError:
                self.found = []
        return self.found[number] if number < len(self.found) else None

    def read_lines(self):
        """From a terminal with completion and history, or from whatever stdin is."""
        if not sys.stdin.isatty():
            yield from sys.stdin
            return
        import readline
        readline.set_completer(self.complete)
        readline.set_completer_delims(" ")
        readline.parse_and_bind("tab: complete")
        while True:
            self.events()
            try:
                yield input("(qmp) ")
            except KeyboardInterrupt:
                print()
            except EOFError:
                print()
                return

    def loop(self):
        """All lines; a terminal goes on after an error, a file does not.  Exit status."""
        for line in self.read_lines():
            try:
                if not self.run_line(line):
                    break
            except (QMPError, JobError, ValueError) as error:
                print(f"error: {error}", file=sys.stderr)
                if not sys.stdin.isatty():
                    return 1
            except KeyboardInterrupt:
                print()
        return 0


BUILTINS = {"events": Shell.events, "exit": None, "help": Shell.help, "hmp": Shell.hmp,
            "jobs": Shell.jobs, "wait-job": Shell.wait_job}


def parse_command_line():
    parser = argparse.ArgumentParser(description=__doc__, usage="qmp.py [options] SOCKET [COMMAND "
                                     "[KEY=VALUE ...]]",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS",
                        help="how long to wait for the server and each of its answers "
                        "(default: 10)")
    parser.add_argument("--wait-job", metavar="ID",
                        help="show the progress of a job until it ends, after COMMAND if there is "
                        "one")
    parser.add_argument("socket", help="path of a unix socket, or HOST:PORT")
    parser.add_argument("command", nargs="*", help="NAME KEY=VALUE ...")
    return parser.parse_args()


def main():
    args = parse_command_line()
    host, sep, port = args.socket.rpartition(":")
    address = (host, int(port)) if sep and port.isdigit() else args.socket
    try:
        with Client(address, timeout=args.timeout) as client:
            shell = Shell(client)
            if args.command:
                shell.run(args.command)
            if args.wait_job:
                shell.wait_job([args.wait_job])
            return 0 if args.command or args.wait_job else shell.loop()
    except OSError as error:
        print(f"qmp.py: {args.socket}: {error.strerror or error}", file=sys.stderr)
    except (QMPError, JobError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
