#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure our tools, and stock's where they are installed, in one run on the same files.

  bench.py [--build DIR] [--quick] [--stock DIR] [PATTERN ...]

Prints what was measured, ours, stock's, and the ratio stock/ours: above 1 ours is faster or uses less.
Each pair of timings alternates and takes the best of several rounds, qcow2 against raw the median of
many.  Instructions are counted by valgrind where it is installed: the difference between a long and a
short run, so start-up does not count.  Rows that have a goal say whether it is met; times are only
worth something on a quiet machine, processor times on most, counts on any.
"""
import argparse
import fnmatch
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from core_bench import CoreBench
from compress_bench import CompressBench
from job_bench import JobBench

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), '..', 'lib'))

from qcow2_image import CLUSTER, write_image  # noqa: E402

MIB = 1 << 20

# What is to be reached: rows ("name, unit"), and the least ratio to stock or the greatest value.
GOALS = (
    ('check, *scattered, CPU*', 50, None),
    ('check, *in order, CPU*', 10, None),
    ('snapshot create, *100k clusters scattered*, wall*', 100, None),
    ('snapshot delete, *100k clusters scattered*, wall*', 100, None),
    ('map *scattered, CPU*', 20, None),
    ('measure, *scattered, CPU*', 20, None),
    ('info of *times*', None, 1.1),
    ('qcow2 hit 4k *, instructions*', 4, None),
    ('allocating scattered 4k write, CPU*', 3, None),
    ('allocating scattered 4k write, system calls*', None, 3),
    ('allocating sequential * against raw*', None, 1.1),
    ('convert to compressed zlib, CPU*', 4, None),
    ('corpus * to compressed zlib, CPU*', 4, None),
    ('compressed zlib*, size*', 1 / 1.08, None),
    ('convert from compressed zlib, CPU*', 2, None),
    ('convert * compressed zstd, CPU*', 1, None),
    ('convert * raw to qcow2*, CPU*', 1, None),
    ('convert * qcow2 to raw*, CPU*', 1, None),
    ('convert *-t none -T none, wall*', 1, None),
    # Jobs.
    ('qemu-img commit of *', 1, None),
    ('qemu-img rebase of *', 1, None),
    ('mirror of *, CPU*', 1 / 0.8, None),
    ('backup of *, CPU*', 1 / 0.5, None),
    ('stream of *, CPU*', 1 / 0.6, None),
    ('commit of *, CPU*', 1 / 0.8, None),
    ('mirror of *, wall*', 1, None),
    ('backup of *, wall*', 1, None),
    ('stream of *, wall*', 1, None),
    ('commit of *, wall*', 1, None),
    ('random 4k under a backup, p99*', 1, None),
    ('* MiB/s: off by*', None, 5),
    # The core.
    ('null-co 4k depth *, instructions*', 4, None),
    ('read 4k through 8 overlays, instructions*', 8, None),
    ('read 4k through 64 overlays, instructions*', 50, None),
    ('raw hit 4k *, CPU*', 4, None),
    ('raw hit 4k *, system calls*', 4, None),
    ('direct 4k * depth 64, aio=threads, system calls*', 4, None),
    ('direct 4k * depth 64, aio=native, system calls*', None, 1 / 8),
    ('direct 4k * depth 64, aio=io_uring, system calls*', None, 1 / 8),
    ('direct 4k * depth *, aio=*, wall*', 1, None),
    ('against fio: 4k * depth 64, *, wall*', 0.9, None),
    ('1,000 idle nodes, memory*', None, 4096),
    ('chain of 1,000 images, opened, wall*', None, 1000),
    ('start-up: *million instructions', 5, None),
)


def verdict(name, ours, ratio):
    """Of a row that has a goal; "" for the others."""
    for pattern, least, most in GOALS:
        if fnmatch.fnmatch(name, pattern):
            if most is not None:
                return f'  goal <= {most:g}: {"PASS" if ours <= most else "behind"}'
            if ratio is not None:
                return f'  goal {least:.3g}x: {"PASS" if ratio >= least else "behind"}'
    return ''


class Bench:
    def __init__(self, args):
        self.build = os.path.abspath(args.build)
        self.quick, self.patterns, self.rounds = args.quick, args.patterns, 3 if args.quick else 5
        self.ours = os.path.join(self.build, 'qemu-img')
        self.stock = self.find_stock(args.stock)

    def find_stock(self, folder):
        found = os.path.join(folder, 'qemu-img') if folder else shutil.which('qemu-img')
        if not found or not os.path.exists(found):
            return None
        said = subprocess.run([found, '--version'], capture_output=True, text=True).stdout
        return None if 'e2k block layer' in said else found

    def wanted(self, name):
        return not self.patterns or any(p in name for p in self.patterns)

    def row(self, name, ours, stock, unit):
        ratio = stock / max(ours, 1e-9) if stock is not None else None
        right = f'{"-":>12} {"-":>8} ' if ratio is None else f'{stock:12,.1f} {ratio:7.2f}x'
        print(f'{name:44} {ours:12,.{2 if ours < 10 else 1}f} {right}  {unit}{verdict(f"{name}, {unit}", ours, ratio)}', flush=True)

    # ---- measuring ----

    def seconds(self, tool, arguments, before=None):
        """Wall and processor seconds of one run, which must succeed."""
        if before:
            before()
        start, cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([tool, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise RuntimeError(f'{tool} {" ".join(arguments)}: {done.stderr.decode().strip()}')
        return (time.monotonic() - start,
                end.ru_utime + end.ru_stime - cpu.ru_utime - cpu.ru_stime)

    def compare(self, name, arguments, count=None, before=None):
        """Best wall and processor time of both, alternating; returns ours."""
        if not self.wanted(name):
            return None
        best = {}
        for _ in range(self.rounds):
            for tool in filter(None, (self.ours, self.stock)):
                result = self.seconds(tool, arguments, before)
                old = best.get(tool, result)
                best[tool] = (min(old[0], result[0]), min(old[1], result[1]))
        ours, stock = best[self.ours], best.get(self.stock)
        scale, unit = (1e6 / count, 'us per request') if count else (1e3, 'ms')
        self.row(name + ', wall', ours[0] * scale, stock and stock[0] * scale, unit)
        self.row(name + ', CPU', ours[1] * scale, stock and stock[1] * scale, unit)
        return ours

    def instructions(self, tool, arguments):
        log = subprocess.run(['valgrind', '--tool=callgrind', '--callgrind-out-file=/dev/null', tool, *arguments],
                             capture_output=True, text=True)
        m = re.search(r'Collected : (\d+)', log.stderr)
        if log.returncode or not m:
            raise RuntimeError(f'valgrind {tool}: {log.stderr.strip()[-300:]}')
        return int(m.group(1))

    def compare_instructions(self, name, make_arguments, short, long):
        if not self.wanted(name) or not shutil.which('valgrind'):
            return
        def per_request(tool):
            return (self.instructions(tool, make_arguments(long)) -
                    self.instructions(tool, make_arguments(short))) / (long - short)
        self.row(name, per_request(self.ours), self.stock and per_request(self.stock), 'instructions per request')

    def system_calls(self, tool, arguments):
        """Of all threads, counted by the kernel."""
        said = subprocess.run(['perf', 'stat', '-x', ',', '-e', 'raw_syscalls:sys_enter', tool, *arguments],
                              capture_output=True, text=True)
        m = re.search(r'^(\d+),.*raw_syscalls', said.stderr, re.M)
        if said.returncode or not m:
            raise RuntimeError(f'perf {tool}: {said.stderr.strip()[-300:]}')
        return int(m.group(1))

    def can_count_calls(self):
        return shutil.which('perf') and subprocess.run(['perf', 'stat', '-e', 'raw_syscalls:sys_enter', 'true'],
                                                       capture_output=True).returncode == 0

    def compare_calls(self, name, arguments, count, before=None):
        if not self.wanted(name) or not self.can_count_calls():
            return
        figures = []
        for tool in filter(None, (self.ours, self.stock)):
            if before:
                before()
            figures.append(self.system_calls(tool, arguments) / count)
        self.row(name, figures[0], figures[1] if self.stock else None, 'system calls per request')

    # ---- what is measured ----

    def coroutines(self):
        if not self.wanted('coroutine'):
            return
        out = subprocess.run([os.path.join(self.build, 'tests/bench/async/bench-coroutine')],
                             capture_output=True, text=True, check=True).stdout
        for line in out.split('\n'):
            if line:
                key, value = line.split()
                self.row('coroutine ' + key.replace('_ns', ''), float(value), None, 'ns')

    def null(self):
        def arguments(depth):
            return lambda count: ['bench', '-c', str(count), '-d', str(depth), '-s', '4096', '--image-opts',
                                  'driver=null-co,size=1G']
        count = 200000 if self.quick else 1000000
        for depth in (64, 1):
            self.compare(f'null-co 4k depth {depth}', arguments(depth)(count), count)
            self.compare_instructions(f'null-co 4k depth {depth}', arguments(depth), 2000, 22000)

    def hits(self):
        """4 KiB requests in the page cache: raw, and qcow2 with its tables in memory."""
        if not self.wanted('hit'):
            return
        for fmt in ('raw', 'qcow2'):
            image = f'h.{fmt}'
            subprocess.run([self.ours, 'create', '-q', '-f', fmt, image, '64M'], check=True)
            self.seconds(self.ours, ['bench', '-w', '-f', fmt, '-c', '64', '-s', str(MIB), image])
            for what, flags in (('read', []), ('write', ['-w'])):
                def arguments(count):
                    return ['bench', *flags, '-f', fmt, '-c', str(count), '-d', '64', '-s', '4096', image]
                self.compare_instructions(f'{fmt} hit 4k {what} depth 64', arguments, 2000, 12000)
                self.compare(f'{fmt} hit 4k {what} depth 64', arguments(50000), 50000)
                self.compare_calls(f'{fmt} hit 4k {what} depth 64', arguments(50000), 50000)
            os.unlink(image)

    def chains(self):
        """4 KiB reads through overlays that have nothing, over a null node."""
        if not self.wanted('overlays'):
            return
        for depth in (1, 8, 64):
            below, fmt = 'json:{"driver":"null-co","size":67108864}', 'null-co'
            for i in range(depth):
                subprocess.run([self.ours, 'create', '-q', '-u', '-f', 'qcow2', '-b', below, '-F', fmt,
                                f'o{i}.qcow2', '64M'], check=True)
                below, fmt = f'o{i}.qcow2', 'qcow2'
            self.compare_instructions(f'read 4k through {depth} overlays',
                                      lambda count: ['bench', '-f', 'qcow2', '-c', str(count), '-d', '64',
                                                     '-s', '4096', below], 2000, 22000)
            self.compare(f'info of a chain of {depth} overlays', ['info', '--backing-chain', below])

    def engines(self):
        """System calls and time of direct I/O at depth 64."""
        if not self.wanted('direct'):
            return
        with open('d.raw', 'wb') as f:
            f.write(os.urandom(MIB) * 64)
        for aio in ('threads', 'native', 'io_uring'):
            for what, flags in (('read', []), ('write', ['-w'])):
                name = f'direct 4k {what} depth 64, aio={aio}'
                arguments = ['bench', *flags, '-i', aio, '-t', 'none', '-f', 'raw', '-c', '20000', '-d', '64',
                             '-s', '4096', 'd.raw']
                self.compare(name, arguments, 20000)
                self.compare_calls(name, arguments, 20000)
        os.unlink('d.raw')

    def allocation(self):
        """Writes into new clusters of qcow2: scattered small ones, and one after the other against raw."""
        if not self.wanted('allocating'):
            return
        def fresh(fmt='qcow2'):
            return lambda: subprocess.run([self.ours, 'create', '-q', '-f', fmt, 'n.img', '4G'], check=True)
        arguments = ['bench', '-w', '-f', 'qcow2', '-c', '10000', '-d', '16', '-s', '4096', '-S', '266240', 'n.img']
        self.compare('allocating scattered 4k write', arguments, 10000, before=fresh())
        self.compare_calls('allocating scattered 4k write', arguments, 10000, before=fresh())
        for unit, size, count in (('4k', 4096, 40000), ('64k', 65536, 4000), ('1M', MIB, 500)):
            name = f'allocating sequential {unit} write'
            def writes(fmt, *cache):
                # Where qcow2 has its data: the page cache likes 1 MiB better at multiples of that.
                place = ['-o', str(5 * 65536)] if fmt == 'raw' else []
                return ['bench', '-w', '-f', fmt, '-c', str(count), '-d', '16', '-s', str(size), *place, *cache,
                        'n.img']
            def direct(fmt):
                return writes(fmt, '-t', 'none')
            for fmt in ('qcow2', 'raw'):
                self.compare(f'{name}, {fmt}', writes(fmt), count, before=fresh(fmt))
            self.against_raw(f'{name} against raw', writes, fresh)
            self.compare(f'{name}, direct', direct('qcow2'), count, before=fresh())
            self.against_raw(f'{name}, direct, against raw', direct, fresh)
        os.unlink('n.img')

    def against_raw(self, name, arguments, fresh):
        """Our processor time on qcow2 over that on raw: the median of many turns, so that none decides."""
        if not self.wanted(name):
            return
        ratios = []
        for turn in range(9 if self.quick else 21):
            # Who comes second meets what the first left for the kernel to write.
            order = ('qcow2', 'raw') if turn % 2 else ('raw', 'qcow2')
            cpu = {fmt: self.seconds(self.ours, arguments(fmt), before=fresh(fmt))[1] for fmt in order}
            ratios.append(cpu['qcow2'] / cpu['raw'])
        self.row(name, statistics.median(ratios), None, 'times the CPU')

    def scattered(self, fmt):
        """4 KiB requests far from each other (a step that visits all of the image in another order)."""
        size, step = 256 * MIB, 37 * MIB + 4096
        subprocess.run([self.ours, 'create', '-q', '-f', fmt, f'r.{fmt}', str(size)], check=True)
        fill = ['bench', '-w', '-f', fmt, '-c', str(size // MIB), '-s', str(MIB), f'r.{fmt}']
        self.seconds(self.ours, fill)
        count = 20000 if self.quick else 100000
        for what in ('read', 'write'):
            flags = ['-w'] if what == 'write' else []
            self.compare(f'{fmt} scattered 4k {what} depth 64, threads',
                         ['bench', *flags, '-f', fmt, '-c', str(count), '-d', '64', '-s', '4096', '-S', str(step),
                          f'r.{fmt}'], count)
        os.unlink(f'r.{fmt}')

    def large(self):
        """4 KiB reads all over a large image, often enough that most tables are met again."""
        size, clusters, count = 256 << 30, 1000000, 20000 if self.quick else 100000
        name = 'random 4k read of a 256 GiB image'
        if not self.wanted(name):
            return
        write_image('meta.qcow2', size, clusters)
        arguments = ['bench', '-f', 'qcow2', '-c', str(count), '-d', '16', '-s', '4096', '-S', str((2 << 30) - 69632),
                     'meta.qcow2']
        self.compare(name, arguments, count)
        self.compare_calls(name, arguments, count)
        os.unlink('meta.qcow2')

    def convert(self):
        size = 256 if self.quick else 1024
        if self.patterns and not any('convert' in p or 'compare' in p or ' to ' in p for p in self.patterns):
            return
        with open('dense.raw', 'wb') as f:
            block = os.urandom(MIB)
            for i in range(size):
                f.write(i.to_bytes(8, 'little') + block[8:])
        steps = [('raw', 'qcow2', 'dense.raw', 'out.qcow2'), ('qcow2', 'raw', 'dense.qcow2', 'out.raw')]
        subprocess.run([self.ours, 'convert', '-f', 'raw', '-O', 'qcow2', 'dense.raw', 'dense.qcow2'], check=True)
        for src, dst, source, target in steps:
            self.compare(f'convert {size} MiB {src} to {dst}',
                         ['convert', '-f', src, '-O', dst, source, target],
                         before=lambda: os.path.exists(target) and os.unlink(target))
            if self.wanted('convert'):
                subprocess.run([self.ours, 'compare', 'dense.raw', target], check=True, stdout=subprocess.DEVNULL)
        self.compare(f'compare {size} MiB raw and qcow2', ['compare', '-f', 'raw', '-F', 'qcow2', 'dense.raw',
                                                           'dense.qcow2'])
        self.convert_otherwise(size)

    def convert_otherwise(self, size):
        """Past the host's cache; compressed; and what is mostly holes."""
        fragments, block = 2000 if self.quick else 8000, os.urandom(65536)
        with open('sparse.raw', 'wb') as f:
            f.truncate(fragments * 4 * 65536)
            for i in range(fragments):
                f.seek(i * 4 * 65536)
                f.write(block)
        with open('text.raw', 'wb') as f:
            for i in range(16 if self.quick else 64):
                f.write(b''.join(b'%d %d\n' % (i, j * j) for j in range(MIB // 16))[:MIB])
        for name, source, options in ((f'convert {size} MiB raw to qcow2, -t none -T none', 'dense.raw',
                                       ['-t', 'none', '-T', 'none']),
                                      (f'convert {fragments} fragments raw to qcow2', 'sparse.raw', []),
                                      ('convert -c raw to qcow2', 'text.raw', ['-c'])):
            self.compare(name, ['convert', '-f', 'raw', '-O', 'qcow2', *options, source, 'out.qcow2'],
                         before=lambda: os.path.exists('out.qcow2') and os.unlink('out.qcow2'))
            if self.wanted(name):
                subprocess.run([self.ours, 'compare', source, 'out.qcow2'], check=True, stdout=subprocess.DEVNULL)

    def compressed(self):
        """Our own sources and programs, which are neither dense nor empty."""
        size = (16 if self.quick else 64) * MIB
        if not self.wanted('compressed'):
            return
        with open('c.raw', 'wb') as f:
            while f.tell() < size:
                for root, _, names in os.walk(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')):
                    for name in names:
                        path = os.path.join(root, name)
                        if name.endswith(('.c', '.h', '.o', '.py', '.md')) and f.tell() < size:
                            with open(path, 'rb') as source:
                                f.write(source.read())
            f.truncate(size)
        for kind in ('zlib', 'zstd'):
            target = f'c-{kind}.qcow2'
            self.compare(f'convert to compressed {kind}',
                         ['convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o', f'compression_type={kind}', 'c.raw', target],
                         before=lambda: os.path.exists(target) and os.unlink(target))
            self.compressed_size(kind)
            self.compare(f'convert from compressed {kind}', ['convert', '-f', 'qcow2', '-O', 'raw', target, 'c.out'],
                         before=lambda: os.path.exists('c.out') and os.unlink('c.out'))
            self.compare(f'sequential 4k read of compressed {kind}',
                         ['bench', '-f', 'qcow2', '-c', str(size // 4096), '-d', '1', '-s', '4096', target], size // 4096)
            subprocess.run([self.ours, 'compare', 'c.raw', target], check=True, stdout=subprocess.DEVNULL)
        for name in ('c.raw', 'c.out', 'c-zlib.qcow2', 'c-zstd.qcow2'):
            os.unlink(name)

    def compressed_size(self, kind):
        sizes = []
        for tool in filter(None, (self.ours, self.stock)):
            self.seconds(tool, ['convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o', f'compression_type={kind}', 'c.raw',
                                'c.out'])
            sizes.append(os.path.getsize('c.out') / 1024)
        self.row(f'compressed {kind}, size', sizes[0], sizes[1] if self.stock else None, 'KiB')

    def metadata(self):
        """What reads all tables of an image of 256 GiB: clusters all over it and the file, or all of it in order."""
        size = (64 if self.quick else 256) << 30
        for kind, snapshots, scattered, spread, clusters in (
                ('scattered', 3, True, True, 100000),
                ('scattered', 3, True, False, 300000 if self.quick else 1000000),
                ('in order', 0, False, False, size // CLUSTER)):
            rows = ((f'check, {clusters // 1000}k clusters {kind}', ['check', 'meta.qcow2']),
                    (f'measure, {clusters // 1000}k clusters {kind}', ['measure', '-O', 'qcow2', 'meta.qcow2']),
                    (f'map --output=json, {clusters // 1000}k clusters {kind}', ['map', '--output=json', 'meta.qcow2']))
            if not any(self.wanted(name) for name, _ in rows):
                continue
            write_image('meta.qcow2', size if not scattered else 256 << 30, clusters, snapshots, scattered,
                        spread)
            for name, arguments in rows:
                self.compare(name, arguments)
            os.unlink('meta.qcow2')

    def snapshots(self):
        """On the image that check has, on that without snapshots, and on one whose clusters are in a short file."""
        change, steps = ('create', 'delete'), ('create', 'apply', 'delete')
        self.snapshots_of('100k clusters in 6 GiB', steps, 100000, 0, False)
        if self.quick:
            # Stock takes seconds for it, and less than in proportion: no goal.
            self.snapshots_of('5k clusters far apart', change, 5000, 0, True)
        else:
            self.snapshots_of('100k clusters scattered', steps, 100000, 3, True)
            self.snapshots_of('first of 100k clusters scattered', change, 100000, 0, True)

    def snapshots_of(self, name, steps, clusters, there, spread):
        """The median of our rounds; stock's once: it takes minutes where refcounts do not fit its cache."""
        if not any(self.wanted(f'snapshot {what}, {name}') for what in steps):
            return
        median = {}
        for tool in filter(None, (self.ours, self.stock)):
            write_image('meta.qcow2', 256 << 30, clusters, there, True, spread)
            taken = {what: [] for what in steps}
            for _ in range(9 if tool == self.ours else 1):
                for what in steps:
                    os.sync()
                    taken[what].append(self.seconds(tool, ['snapshot', f'-{what[0]}', 's', 'meta.qcow2']))
            for what, results in taken.items():
                median[what, tool] = [statistics.median(kind) for kind in zip(*results)]
            os.unlink('meta.qcow2')
        for what in steps:
            ours, stock = median[what, self.ours], median.get((what, self.stock))
            for i, kind in enumerate(('wall', 'CPU')):
                self.row(f'snapshot {what}, {name}, {kind}', ours[i] * 1e3, stock and stock[i] * 1e3, 'ms')

    def start_up(self):
        subprocess.run([self.ours, 'create', '-q', '-f', 'qcow2', 'info.qcow2', '1G'], check=True)
        arguments = ['info', 'info.qcow2']
        self.compare('start-up: info of a qcow2 image', arguments)
        if self.wanted('start-up') and shutil.which('valgrind'):
            self.row('start-up: info of a qcow2 image', self.instructions(self.ours, arguments) / 1e6,
                     self.stock and self.instructions(self.stock, arguments) / 1e6, 'million instructions')


    def opening(self):
        """Information about a large image and about a small one."""
        name = 'info of 256 GiB with 1000k clusters'
        if not self.wanted(name):
            return
        write_image('large.qcow2', 256 << 30, 1000000)
        subprocess.run([self.ours, 'create', '-q', '-f', 'qcow2', 'small.qcow2', '1M'], check=True)
        if self.can_count_calls():
            calls = [self.system_calls(self.ours, ['info', image]) for image in ('large.qcow2', 'small.qcow2')]
            self.row(name, calls[0] / calls[1], None, 'times the system calls of a small image')
        self.compare(name, ['info', 'large.qcow2'])
        os.unlink('large.qcow2')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--build', default=os.getcwd())
    parser.add_argument('--stock', help='folder of stock tools [from PATH]')
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('patterns', nargs='*', help='only what has this in its name')
    args = parser.parse_args()
    bench = Bench(args)
    print(f'stock: {subprocess.run([bench.stock, "--version"], capture_output=True, text=True).stdout.splitlines()[0]}'
          if bench.stock else 'stock tools are not installed (Debian: apt-get install qemu-utils): ours alone')
    if not shutil.which('valgrind'):
        print('valgrind is not installed: instructions are not counted')
    print(f'{"":44} {"ours":>12} {"stock":>12} {"ratio":>8}')
    with tempfile.TemporaryDirectory(prefix='bench-', dir=bench.build) as work:
        os.chdir(work)
        bench.coroutines()
        bench.null()
        bench.hits()
        bench.chains()
        bench.engines()
        bench.allocation()
        bench.start_up()
        bench.opening()
        bench.scattered('raw')
        bench.scattered('qcow2')
        bench.large()
        bench.convert()
        bench.compressed()
        CompressBench(bench).run()
        bench.metadata()
        bench.snapshots()
        jobs = JobBench(bench)
        CoreBench(bench, (jobs.ours, jobs.stock)).run()
        jobs.run()
    return 0


sys.exit(main())
