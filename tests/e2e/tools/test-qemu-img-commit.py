#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-img commit: chains of three with random content, before and after, beside stock's.

After a commit the base reads as the chain did (down to the length of the overlay), the overlay reads as
before, all images pass ours' and stock's check, and stock's commit of the same chain leaves the same.
"""
import itertools
import os
import random
import shutil
import subprocess
import sys

BUILD = os.environ['BUILD']
QEMU_IMG, QEMU_IO = os.path.join(BUILD, 'qemu-img'), os.path.join(BUILD, 'qemu-io')
STOCK = '/usr/bin/qemu-img'
CHAIN = ('base', 'mid', 'top')
KINDS = ('', 'cluster_size=512', 'cluster_size=4k', 'extended_l2=on', 'compat=0.10')
SIZES = ((4, 4, 4), (2, 4, 6), (6, 4, 3), (4, 6, 4))  # MiB of base, mid, top
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


def content(image):
    run(QEMU_IMG, 'convert', '-f', 'qcow2', '-O', 'raw', image, 'content.raw')
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


def make_chain(rng, kind, sizes):
    below = []
    for name, size in zip(CHAIN, sizes):
        for old in (name, name + '.stock'):
            if os.path.exists(old):
                os.remove(old)
        options = ['-o', kind] if kind else []
        run(QEMU_IMG, 'create', '-q', '-f', 'qcow2', *options, *below, name, f'{size}M')
        # Version 2 cannot say that a part of an overlay is zero, so discards there differ; all else is the same.
        fill(rng, name, size << 20, 'extended' not in kind)
        below = ['-b', name, '-F', 'qcow2']


def check_all(programs):
    for program, name in itertools.product(programs, CHAIN):
        report = run(program, 'check', '-f', 'qcow2', name)
        assert 'No errors' in report, f'{program} {name}: {report}'


def compare(what, got, want):
    length = max(len(got), len(want))
    got, want = got.ljust(length, b'\0'), want.ljust(length, b'\0')
    if got != want:
        at = next(i for i in range(length) if got[i] != want[i])
        raise AssertionError(f'{what} differs at {at}')


def committed(kind, sizes, arguments, seed):
    """Commit top into mid, or the chain into base."""
    rng = random.Random(seed)
    make_chain(rng, kind, sizes)
    into = 'base' if '-b' in arguments else 'mid'
    before, whole = content('top'), {n: content(n) for n in CHAIN}
    for name in CHAIN:
        shutil.copyfile(name, name + '.ours')
    run(QEMU_IMG, 'commit', '-q', '-f', 'qcow2', *arguments, 'top')
    target = content(into)
    compare(f'{into}, where top was,', target[:len(before)], before)
    compare(f'{into} behind top', target[len(before):], whole[into][len(before):])
    # With -b what lies between may read differently, as it is not supposed to be used any more.
    compare('top', content('top'), before)
    programs = [QEMU_IMG]
    if os.path.exists(STOCK):
        programs.append(STOCK)
    check_all(programs)
    if not set(arguments) & {'-b', '-d'}:
        assert '"depth": 0' not in run(QEMU_IMG, 'map', '--output=json', '-f', 'qcow2', 'top'), 'top is not empty'
    if len(programs) == 1:
        return
    for name in CHAIN:
        os.replace(name + '.ours', name)
    run(STOCK, 'commit', '-q', '-f', 'qcow2', *arguments, 'top')
    compare(f"{into} after stock's commit", content(into), target)


def snapshots_stay():
    rng = random.Random(7)
    make_chain(rng, '', (4, 4, 4))
    run(QEMU_IO, '-f', 'qcow2', '-c', 'write -P 5 0 4M', 'top')
    then = content('top')
    run(QEMU_IMG, 'snapshot', '-c', 's', 'top')
    fill(rng, 'top', 4 << 20, True)
    now = content('top')
    run(QEMU_IMG, 'commit', '-q', '-f', 'qcow2', 'top')
    compare('top', content('top'), now)
    check_all([QEMU_IMG])
    run(QEMU_IMG, 'convert', '-l', 's', '-f', 'qcow2', '-O', 'raw', 'top', 'content.raw')
    with open('content.raw', 'rb') as file:
        compare('the snapshot', file.read(), then)


def file_gets_small():
    make_chain(random.Random(8), '', (4, 4, 4))
    before = os.path.getsize('top')
    run(QEMU_IMG, 'commit', '-q', '-f', 'qcow2', 'top')
    after = os.path.getsize('top')
    assert after <= before // 2, f'top had {before} bytes, has {after}'


def rate_limits():
    out = run(QEMU_IMG, 'commit', '-r', 'x', 'top', want=1)
    assert "Invalid rate limit specified: 'x'." in out, out


def write_error_is_told():
    """What cannot be written below stays in the overlay."""
    make_chain(random.Random(9), '', (4, 4, 4))
    before = content('top')
    spec = ('driver=qcow2,file.filename=top,backing.driver=qcow2,backing.file.driver=blkdebug,'
            'backing.file.image.driver=file,backing.file.image.filename=mid,backing.file.inject-error.0.event='
            'write_aio,backing.file.inject-error.0.errno=28,backing.file.inject-error.0.once=off')
    out = run(QEMU_IMG, 'commit', '--image-opts', spec, want=1)
    assert 'Block job failed: No space left on device' in out, out
    assert 'Image committed' not in out, out
    compare('top', content('top'), before)
    check_all([QEMU_IMG])


def main():
    for seed, (kind, sizes) in enumerate(itertools.product(KINDS, SIZES)):
        for arguments in ([], ['-d'], ['-b', 'base'])[seed % 2::2]:
            case(f'{kind or "default"}, sizes {sizes}, {" ".join(arguments) or "plain"}', committed, kind, sizes,
                 arguments, seed)
    case('the snapshots of the overlay stay', snapshots_stay)
    case("the overlay's file gets small", file_gets_small)
    case('a rate limit that is none', rate_limits)
    case('an error of writing is told, and nothing is lost', write_error_is_told)
    print(f'1..{number}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
