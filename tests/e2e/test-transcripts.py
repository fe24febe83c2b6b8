#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Replay every transcript of tests/e2e/transcripts; one test case each.

transcripts/DIFFERENCES says which steps are known to differ, and why.  Exactly these must differ: a step
that is listed there and is as the transcript says fails too, so that the list stays true.
"""
import concurrent.futures
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
import replay  # noqa: E402

FOLDER = os.path.join(HERE, 'transcripts')
JOBS = 6  # most wait for each other's locks, not for the processor


def known_differences():
    """Name of the transcript -> (numbers of the steps that differ, reason)."""
    known = {}
    with open(os.path.join(FOLDER, 'DIFFERENCES'), encoding='utf-8') as file:
        for line in file:
            if line.strip() and not line.startswith('#'):
                name, numbers, reason = line.strip().split(None, 2)
                known[name] = {int(n) for n in numbers.split(',')}, reason
    return known


def report(number, name, differing, known):
    expected, reason = known or (set(), '')
    if set(differing) == expected:
        print(f'ok {number} - {name}' + (f' # SKIP known difference: {reason}' if expected else ''))
        return True
    print(f'not ok {number} - {name}')
    for step, (want, got) in differing.items():
        if step not in expected:
            print(f'  step {step} differs')
            for line in replay.difference(want, got).splitlines():
                print('  ' + line)
    for step in sorted(expected - set(differing)):
        print(f'  step {step} is as the transcript says; take it off DIFFERENCES')
    return False


def main():
    build = os.environ['BUILD']
    names = sorted(n[:-4] for n in os.listdir(FOLDER) if n.endswith('.txt'))
    known = known_differences()
    good = True
    print(f'1..{len(names)}')
    for name in sorted(set(known) - set(names)):
        print(f'# DIFFERENCES names {name}, which does not exist')
        good = False
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        results = pool.map(lambda n: replay.play(os.path.join(FOLDER, n + '.txt'), build), names)
        for number, (name, differing) in enumerate(zip(names, results), 1):
            good = report(number, name, differing, known.get(name)) and good
            sys.stdout.flush()
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
