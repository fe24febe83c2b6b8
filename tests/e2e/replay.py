#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Play a transcript: run its commands with our programs, compare with what it says.

  replay.py [-v] BUILD FILE...      BUILD holds the programs; -v shows what differs

A transcript is a text file of steps, each a line of the kind its first character tells:
  # comment     $ shell command     | line on stdout     ! line on stderr     = exit status
and "\\" alone after a line of output: that line ended without a newline.
All steps of a file run in one empty folder.  What no script could rely on is not compared: times,
rates, progress, the host's disk usage, ids of processes and nodes, the order of members in JSON.
"""
import argparse
import difflib
import json
import os
import re
import subprocess
import sys
import tempfile

TIME_LIMIT = 120  # seconds for one step

# Volatile text and what stands for it.
VOLATILE = [(re.compile(pattern, re.M), text) for pattern, text in (
    (r'[\d.]+ (?:KiB|MiB|GiB|TiB|bytes), (\d+) ops; .*$', r'\1 ops'),
    (r'(\d+,\d+),\d+:\d\d:\d\d\.\d\d,[\d.]+,[\d.]+', r'\1,TIMES'),
    (r'(?:\\r)?    \(\d+\.\d\d/100%\)', ''),
    (r'^( *disk size:) .*$', r'\1 N'),
    # Of a file, where its file system has such; or what grep left of that.
    (r'^ {4,}Format specific information:\n(?: *extent size hint: \d+\n|(?! {8}))', ''),
    (r'^qemu-img: warning: Failed to set extent size hint: .*\n', ''),
    (r'Run completed in [\d.]+ seconds', 'Run completed in N seconds'),
    (r'^( *(?:master key )?iters:) \d+$', r'\1 N'),
    (r'[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}', 'UUID'),
    (r'#block\d+', '#block'),
    (r'\bpid[= ]*\d+', 'pid'),
    (r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d', 'DATE'),
    (r'^bash: line \d+: +\d+ ', 'bash: '),
    (r'/tmp/vl\.\w+', '/tmp/vl'),
    (r'^The lock is held by .*\.\n', ''),  # more than the transcripts' QEMU tells
)]
VOLATILE_MEMBERS = {'actual-size'}


class Step:
    """A command, and what it printed."""

    def __init__(self, command):
        self.command, self.out, self.err, self.status = command, '', '', None

    def lines(self):
        """As in a transcript, for people."""
        yield '$ ' + self.command
        for mark, text in (('|', self.out), ('!', self.err)):
            for line in text.splitlines():
                yield f'{mark} {line}'
            if text and not text.endswith('\n'):
                yield '\\'
        yield f'= {self.status}'


def parse(path):
    steps, last = [], None
    with open(path, encoding='utf-8', errors='surrogateescape') as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip('\n')
            kind, rest = line[:1], line[2:]
            if kind in ('', '#'):
                continue
            if kind == '$':
                steps.append(Step(rest))
            elif kind in '|!' and steps:
                last = 'out' if kind == '|' else 'err'
                setattr(steps[-1], last, getattr(steps[-1], last) + rest + '\n')
            elif kind == '\\' and last:
                setattr(steps[-1], last, getattr(steps[-1], last)[:-1])
            elif kind == '=' and steps:
                steps[-1].status = int(rest)
            else:
                raise ValueError(f'{path}:{number}: not a line of a transcript')
    return steps


def is_about_host(key, value):
    """What a file system says of a file: nothing, on most of them."""
    return key == 'format-specific' and isinstance(value, dict) and value.get('type') == 'file'


def canonical_json(value):
    if isinstance(value, dict):
        return {k: 'N' if k in VOLATILE_MEMBERS else canonical_json(v) for k, v in value.items()
                if not is_about_host(k, v)}
    if isinstance(value, list):
        return [canonical_json(v) for v in value]
    return value


def comparable(text):
    try:
        return json.dumps(canonical_json(json.loads(text)), sort_keys=True)
    except ValueError:
        pass
    for pattern, replacement in VOLATILE:
        text = pattern.sub(replacement, text)
    return text


def same(want, got):
    out_want, out_got = comparable(want.out), comparable(got.out)
    if 'aio_' in want.command:
        # Requests in flight together end in any order.
        out_want, out_got = sorted(out_want.split('\n')), sorted(out_got.split('\n'))
    return (want.status == got.status and out_want == out_got
            and comparable(want.err) == comparable(got.err))


def run(command, folder, build):
    """Run @command in @folder, with the programs of @build first in the path."""
    step = Step(command)
    env = {'PATH': build + ':/usr/sbin:/usr/bin:/sbin:/bin', 'LC_ALL': 'C', 'TZ': 'UTC', 'HOME': '/',
           'TMPDIR': folder + '.tmp'}
    for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS'):
        if name in os.environ:
            env[name] = os.environ[name]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(['bash', '-c', command], cwd=folder, env=env, stdout=out, stderr=err,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            step.status = process.wait(TIME_LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            step.status = 124
        for name, file in (('out', out), ('err', err)):
            file.seek(0)
            text = file.read().decode('utf-8', 'backslashreplace').replace('\r', '\\r')
            setattr(step, name, text.replace(folder + '/', '').replace(folder, '.'))
    return step


def play(path, build):
    """The steps that differ: number (from 1) -> (wanted, got)."""
    differing = {}
    with tempfile.TemporaryDirectory(prefix='replay-') as top:
        folder = os.path.join(top, 'work')
        os.mkdir(folder)
        os.mkdir(folder + '.tmp')
        for number, want in enumerate(parse(path), 1):
            got = run(want.command, folder, os.path.abspath(build))
            if not same(want, got):
                differing[number] = want, got
    return differing


def difference(want, got):
    return '\n'.join(difflib.unified_diff(list(want.lines()), list(got.lines()), 'transcript', 'here',
                                          lineterm=''))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-v', '--verbose', action='store_true')
    parser.add_argument('build')
    parser.add_argument('files', nargs='+')
    args = parser.parse_args()
    failed = 0
    for path in args.files:
        differing = play(path, args.build)
        failed += bool(differing)
        for number, (want, got) in differing.items():
            print(f'FAIL {os.path.basename(path)} step {number}: {want.command}')
            if args.verbose:
                print(difference(want, got))
    print(f'{len(args.files) - failed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
