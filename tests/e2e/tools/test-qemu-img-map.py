#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-img map and measure of images full of all kinds of clusters say what stock's say."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), '../../lib'))

import seeds  # noqa: E402

IMG, IO = (os.path.join(os.environ['BUILD'], name) for name in ('qemu-img', 'qemu-io'))
STOCK = '/usr/bin/qemu-img'
SIZE = 8 << 20
MIDDLE = SIZE - 12 * 512  # the size of the image between
cases = failed = 0


def run(*args):
    return subprocess.run(args, check=True, capture_output=True, text=True).stdout


def ok(good, name, *notes):
    global cases, failed
    cases += 1
    failed += not good
    print('ok' if good else 'not ok', cases, '-', name)
    for note in () if good else notes:
        print('  #', note)


def scribble(rng, name, size, packed):
    commands = []
    for _ in range(150):
        length = rng.randrange(1, 200) * 512
        start = rng.randrange((size - length) // 512) * 512
        verb = rng.choice(['write -P 7', 'write -P 7', 'write -z', 'write -zu', 'discard'] + ['write -c -P 9'] * packed)
        if '-c' in verb:
            start, length = start >> 16 << 16, 65536
        commands += ['-c', f'{verb} {start} {length}']
    subprocess.run([IO, '-f', name.split('.')[-1], '-d', 'unmap', *commands, name], check=True,
                   stdout=subprocess.DEVNULL)


def rows(tool, *args):
    """Neighbours that are alike as one.  Without what older stock leaves out; which data is a hole in the file,
    which we see more often; and the place of subclusters that have nothing, which stock tells."""
    merged = []
    for row in json.loads(run(tool, 'map', '--output=json', *args)):
        row.pop('compressed', None)
        if row['data']:
            row['zero'] = False
        if not row['present']:
            row.pop('offset', None)
        last = merged[-1] if merged else None
        end = last and last['start'] + last['length']
        alike = last and all(last.get(k) == row.get(k) for k in ('depth', 'present', 'zero', 'data'))
        if alike and ('offset' in last) == ('offset' in row) and \
           ('offset' not in row or last['offset'] + last['length'] == row['offset']) and end == row['start']:
            last['length'] += row['length']
        else:
            merged.append(row)
    return merged


def compare(what, *args):
    ours, stock = rows(IMG, *args), rows(STOCK, *args)
    different = next((pair for pair in zip(ours, stock) if pair[0] != pair[1]), (len(ours), len(stock)))
    ok(ours == stock, f'map of {what}', f'ours, stock: {different}')


def sizes(tool, *args):
    return [int(line.split(': ')[1]) for line in run(tool, 'measure', *args).split('\n')[:2]]


def measure(what, fmt, *args):
    ours, stock = (sizes(tool, '-O', fmt, *args) for tool in (IMG, STOCK))
    ok(ours[0] <= stock[0] and ours[1] == stock[1], f'measure -O {fmt} of {what}', f'ours, stock: {ours, stock}')


def main():
    if not os.path.exists(STOCK):
        print('1..0 # SKIP needs', STOCK)
        return 0
    rng = seeds.rng()
    run(IMG, 'create', '-q', '-f', 'raw', 'base.raw', str(SIZE))
    scribble(rng, 'base.raw', SIZE, False)
    run(IMG, 'create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', '-b', 'base.raw', '-F', 'raw', 'middle.qcow2',
        str(MIDDLE))
    scribble(rng, 'middle.qcow2', MIDDLE, False)
    for name, options in (('top.qcow2', 'cluster_size=64k'), ('small.qcow2', 'cluster_size=512'),
                          ('extended.qcow2', 'extended_l2=on,cluster_size=32k'), ('old.qcow2', 'compat=0.10')):
        run(IMG, 'create', '-q', '-f', 'qcow2', '-o', options, '-b', 'middle.qcow2', '-F', 'qcow2', name, str(SIZE))
        scribble(rng, name, SIZE, name in ('top.qcow2', 'old.qcow2'))
        compare(name, name)
        compare(f'a part of {name}', '--start-offset', '123k', '--max-length', '3333k', name)
        measure(name, 'raw', name)
        for more in ((), ('-o', 'cluster_size=4k'), ('-o', 'cluster_size=2M')):
            measure(' '.join((name, *more)), 'qcow2', *more, name)
    # Until it is written back, a file system may change what it says of a file's holes.
    with open('base.raw', 'rb') as base:
        os.fsync(base.fileno())
    compare('a raw file', '-f', 'raw', 'base.raw')
    for name in ('e.qcow2', 'e.raw'):
        run(IMG, 'create', '-q', '-f', name.split('.')[-1], name, '0')
    nothing = {'length': 0, 'depth': 0, 'present': False, 'zero': False, 'data': False, 'compressed': False}
    for words, start in ((('e.qcow2',), 0), (('e.raw',), 0), (('-s', '9M', 'base.raw'), 9 << 20)):
        ok(json.loads(run(IMG, 'map', '--output=json', *words)) == [{'start': start, **nothing}],
           f'map of nothing: {" ".join(words)}')
    print(f'1..{cases}')
    return failed > 0


sys.exit(main())
