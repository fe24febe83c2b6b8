#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP client: a library and a shell, standard library only.

Library:
    from qmp import Client, QMPError
    with Client('/tmp/qmp.sock') as vm:            # or Client(('localhost', 4444)), Client(popen)
        vm.command('query-status')                  # returns the "return" value or raises QMPError
        vm.command('blockdev-backup', device='d', target='t', sync='full', job_id='j')
        vm.wait_job('j', progress=print)            # until it has concluded; raises if it failed

Shell:
    qmp.py SOCKET                                   # interactive; TAB completes commands
    qmp.py SOCKET query-block-blockers op=resize    # one command: NAME KEY=VALUE ... (values: JSON or text)
    qmp.py --wait-job ID SOCKET                     # progress bar until the job ends
"""
import argparse
import json
import select
import socket
import subprocess
import sys
import time


class QMPError(Exception):
    """The server answered with an error."""

    def __init__(self, reply):
        error = reply['error']
        super().__init__(error['desc'])
        self.error_class, self.desc, self.reply = error['class'], error['desc'], reply


class Client:
    """One monitor session.  Not thread-safe."""

    def __init__(self, address, timeout=60.0, negotiate=True):
        self.timeout, self.events, self.buffer = timeout, [], b''
        self.sock = self.process = None
        if isinstance(address, subprocess.Popen):
            self.process = address
            self.reader, self.writer = address.stdout.fileno(), address.stdin
        else:
            family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
            self.sock = socket.socket(family, socket.SOCK_STREAM)
            self.connect(address)
            self.reader, self.writer = self.sock.fileno(), self.sock.makefile('wb')
        self.greeting = self.read_object()
        if 'QMP' not in self.greeting:
            raise ConnectionError(f'no QMP greeting, but {self.greeting}')
        if negotiate:
            self.command('qmp_capabilities')

    def connect(self, address):
        """The server may still be starting: try until the timeout."""
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                return self.sock.connect(address)
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        if self.sock:
            self.sock.close()

    def read_object(self, timeout=None):
        """Next JSON object; lines that are none (program output on the same stdout) are passed over."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            while b'\n' in self.buffer:
                line, self.buffer = self.buffer.split(b'\n', 1)
                if line.lstrip().startswith(b'{'):
                    return json.loads(line)
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.reader], [], [], left)[0]:
                raise TimeoutError('no answer from the monitor')
            chunk = self.sock.recv(65536) if self.sock else self.read_pipe()
            if not chunk:
                raise ConnectionError('the monitor closed the connection')
            self.buffer += chunk

    def read_pipe(self):
        import os
        return os.read(self.reader, 65536)

    def send(self, text):
        self.writer.write(text.encode() + b'\n')
        self.writer.flush()

    def raw(self, request):
        """Send an object; return the whole reply.  Events that come first are kept."""
        self.send(json.dumps(request))
        while True:
            reply = self.read_object()
            if 'event' not in reply:
                return reply
            self.events.append(reply)

    def command(self, name, /, **arguments):
        """Run a command; '_' in argument names stands for '-'."""
        return self.execute(name, {k.replace('_', '-'): v for k, v in arguments.items()})

    def execute(self, name, arguments=None):
        request = {'execute': name}
        if arguments:
            request['arguments'] = arguments
        reply = self.raw(request)
        if 'error' in reply:
            raise QMPError(reply)
        return reply['return']

    def hmp(self, line):
        return self.command('human-monitor-command', command_line=line)

    def next_event(self, timeout=None):
        if self.events:
            return self.events.pop(0)
        while True:
            obj = self.read_object(timeout)
            if 'event' in obj:
                return obj

    def wait_event(self, name, timeout=None, **fields):
        """Wait for an event with these data fields; others stay queued."""
        kept, deadline = [], time.monotonic() + (self.timeout if timeout is None else timeout)
        try:
            while True:
                event = self.next_event(max(0.0, deadline - time.monotonic()))
                data = event.get('data', {})
                if event['event'] == name and all(data.get(k.replace('_', '-')) == v for k, v in fields.items()):
                    return event
                kept.append(event)
        finally:
            self.events = kept + self.events

    def wait_job(self, job_id, timeout=600.0, progress=None):
        """Wait until the job has ended; returns its BLOCK_JOB_COMPLETED data."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for name in ('BLOCK_JOB_COMPLETED', 'BLOCK_JOB_CANCELLED'):
                try:
                    done = self.wait_event(name, timeout=0.0, device=job_id)
                except TimeoutError:
                    continue
                if done['data'].get('error'):
                    raise RuntimeError(f"job '{job_id}' failed: {done['data']['error']}")
                if progress:
                    progress(done['data']['offset'], done['data']['len'])
                return done['data']
            for job in self.command('query-jobs'):
                if job['id'] == job_id and progress:
                    progress(job['current-progress'], job['total-progress'])
            try:
                self.events.append(self.next_event(timeout=0.1) if not self.events else
                                   self.read_event(0.1))
            except TimeoutError:
                pass
        raise TimeoutError(f"job '{job_id}' has not ended within {timeout:.0f} s")

    def read_event(self, timeout):
        while True:
            obj = self.read_object(timeout)
            if 'event' in obj:
                return obj


def bar(done, total, width=40):
    """One line of a progress bar."""
    filled = width if not total else width * done // total
    percent = 100.0 if not total else 100.0 * done / total
    return f"[{'#' * filled}{'.' * (width - filled)}] {percent:5.1f}%"


def parse_arguments(words):
    arguments = {}
    for word in words:
        key, sep, value = word.partition('=')
        if not sep:
            raise ValueError(f"'{word}' is not KEY=VALUE")
        try:
            arguments[key] = json.loads(value)
        except json.JSONDecodeError:
            arguments[key] = value
    return arguments


def run_line(client, words):
    try:
        result = client.execute(words[0], parse_arguments(words[1:]))
        print(json.dumps(result, indent=4))
        return 0
    except (QMPError, ValueError) as e:
        print(f'error: {e}', file=sys.stderr)
        return 1


def shell(client):
    import readline
    names = sorted(c['name'] for c in client.command('query-commands'))
    readline.set_completer(lambda text, n: ([w + ' ' for w in names if w.startswith(text)] + [None])[n])
    readline.set_completer_delims(' ')
    readline.parse_and_bind('tab: complete')
    while True:
        try:
            words = input('(qmp) ').split()
        except EOFError:
            return 0
        if words:
            run_line(client, words)
        for event in client.events:
            print(json.dumps(event))
        client.events.clear()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--wait-job', metavar='ID', help='show the progress of a job until it ends')
    parser.add_argument('socket', help='path of a unix socket, or HOST:PORT')
    parser.add_argument('command', nargs='*', help='NAME KEY=VALUE ...')
    args = parser.parse_args()
    host, sep, port = args.socket.rpartition(':')
    address = (host, int(port)) if sep and port.isdigit() else args.socket
    try:
        with Client(address, timeout=10) as client:
            if args.wait_job:
                client.wait_job(args.wait_job, progress=lambda d, t: print('\r' + bar(d, t), end='', flush=True))
                print()
                return 0
            return run_line(client, args.command) if args.command else shell(client)
    except (OSError, RuntimeError) as e:
        print(f'qmp.py: {args.socket}: {e}', file=sys.stderr)
        return 1


if __name__ == '__main__':
    sys.exit(main())
