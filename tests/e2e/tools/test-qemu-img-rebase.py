#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-img rebase: after a safe one the image reads as before; chains of three with random content.

The new backing file is another image, one of the image's own chain, or none.  All images pass ours' and
stock's check, and stock reads the same.
"""
import itertools
import os
import random
import subprocess
import sys

BUILD = os.environ['BUILD']
QEMU_IMG, QEMU_IO = os.path.join(BUILD, 'qemu-img'), os.path.join(BUILD, 'qemu-io')
STOCK = '/usr/bin/qemu-img'
KINDS = ('', 'cluster_size=512', 'cluster_size=4k', 'extended_l2=on', 'compat=0.10')
SIZES = ((4, 4, 4, 4), (2, 3, 6, 5), (6, 2, 4, 3), (4, 6, 4, 7))  # MiB of base, mid, top, other
number = failed = 0


def run(*command, want=0):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == want, f'{command}: {done.returncode}: {done.stdout}'
    return done.stdout


def case(name, function, *args):
    global number, failed
    number += 1
    try:
        function(*args)
        print(f'ok {number} - {name}')
    except AssertionError as problem:
        failed += 1
        print(f'not ok {number} - {name}')
        print('  # ' + str(problem).replace('\n', '\n  # '))


def content(program, image):
    run(program, 'convert', '-f', 'qcow2', '-O', 'raw', image, 'content.raw')
    with open('content.raw', 'rb') as file:
        return file.read()


def fill(rng, image, size, compresses):
    commands = []
    for _ in range(12):
        length = rng.randrange(1, 300) << 9
        offset = rng.randrange(0, size - length) & ~511
        kind = rng.choice(['write -P %d' % rng.randrange(1, 255)] * 3 + ['write -z', 'write -z -u', 'discard'])
        commands += ['-c', f'{kind} {offset} {length}']
    if compresses:
        commands += ['-c', 'write -c -P 77 1M 128k']
    run(QEMU_IO, '-f', 'qcow2', *commands, image)


def make_images(rng, kind, sizes):
    below = []
    for name, size in zip(('base', 'mid', 'top', 'other'), sizes):
        if os.path.exists(name):
            os.remove(name)
        options = ['-o', kind] if kind else []
        run(QEMU_IMG, 'create', '-q', '-f', 'qcow2', *options, *([] if name == 'other' else below), name, f'{size}M')
        fill(rng, name, size << 20, 'extended' not in kind)
        below = ['-b', name, '-F', 'qcow2']


def backing():
    return [line for line in run(QEMU_IMG, 'info', '-f', 'qcow2', 'top').splitlines() if 'backing file:' in line]


def rebased(kind, sizes, onto, arguments, seed):
    make_images(random.Random(seed), kind, sizes)
    before = content(QEMU_IMG, 'top')
    named = ['-F', 'qcow2'] if onto else []
    run(QEMU_IMG, 'rebase', '-f', 'qcow2', *arguments, '-b', onto, *named, 'top')
    lines = backing()
    assert bool(lines) == bool(onto) and (not onto or onto in lines[0]), f'the header says {lines}'
    for program in (QEMU_IMG, STOCK):
        if os.path.exists(program):
            assert content(program, 'top') == before, f'{program} reads something else'
            report = run(program, 'check', '-f', 'qcow2', 'top')
            assert 'No errors' in report, f'{program}: {report}'


def only_differences_are_written():
    for name, options in (('a', []), ('b', []), ('top', ['-b', 'a', '-F', 'qcow2'])):
        run(QEMU_IMG, 'create', '-q', '-f', 'qcow2', *options, name, '8M')
    for name, other in (('a', 3), ('b', 4)):
        run(QEMU_IO, '-f', 'qcow2', '-c', 'write -P 1 0 8M', '-c', f'write -P {other} 3M 64k', name)
    run(QEMU_IMG, 'rebase', '-f', 'qcow2', '-b', 'b', '-F', 'qcow2', 'top')
    own = [line for line in run(QEMU_IMG, 'map', '-f', 'qcow2', 'top').splitlines() if line.endswith('top')]
    assert len(own) == 1 and own[0].split()[:2] == ['0x300000', '0x10000'], own


def broken_write_keeps_all():
    make_images(random.Random(5), '', (4, 4, 4, 4))
    before = content(QEMU_IMG, 'top')
    spec = ('driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=top,'
            'file.inject-error.0.event=write_aio,file.inject-error.0.errno=5,file.inject-error.0.once=off')
    out = run(QEMU_IMG, 'rebase', '--image-opts', '-b', '', spec, want=1)
    assert 'error while writing to overlay image at offset' in out, out
    assert 'mid' in backing()[0], 'the header was changed'
    assert content(QEMU_IMG, 'top') == before, 'the image reads something else'


def main():
    targets = itertools.cycle(('other', 'base', '', 'other', ''))
    for seed, (kind, sizes) in enumerate(itertools.product(KINDS, SIZES)):
        onto = next(targets)
        arguments = ['-c'] if seed % 3 == 1 else []
        case(f'{kind or "default"}, sizes {sizes}, onto {onto or "nothing"} {" ".join(arguments)}', rebased, kind,
             sizes, onto, arguments, seed)
    case('only what differs is written', only_differences_are_written)
    case('an error of writing leaves the image as it was', broken_write_keeps_all)
    print(f'1..{number}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
