# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows about the core itself: direct I/O against fio, what idle nodes cost, and long chains."""
import os
import resource
import shutil
import subprocess
import time

from job_bench import Daemon

MIB = 1 << 20
BLOCK, SIZE = 4096, 64 * MIB
# The engines of qemu-img bench, and what fio calls them; its threads do one request each.
ENGINES = (('native', ['--ioengine=libaio', '--iodepth=64']),
           ('io_uring', ['--ioengine=io_uring', '--iodepth=64']),
           ('threads', ['--ioengine=psync', '--numjobs=64', '--thread', '--group_reporting']))


class CoreBench:
    """@bench: its rows, rounds and tools; @daemons: ours and stock's storage daemon, or None."""

    def __init__(self, bench, daemons):
        self.bench, self.daemons = bench, daemons

    # ---- direct I/O ----

    def fio_arguments(self, what, engine, depth, count):
        size, share = SIZE, count
        if depth == 1:
            engine = [word for word in engine if 'iodepth' not in word]
        elif '--numjobs=64' in engine:
            size, share = SIZE // 64, count // 64
            engine = [*engine, f'--offset_increment={size}']
        return ['--name=x', '--filename=f.raw', f'--rw={what}', f'--bs={BLOCK}', '--direct=1', f'--size={size}',
                f'--io_size={share * BLOCK}', '--output=/dev/null', *engine]

    def against_fio(self):
        """fio, in stock's column, does the same: the time of the disk and the kernel, and little more."""
        if not self.bench.wanted('fio'):
            return
        if not shutil.which('fio'):
            print('fio is not installed (Debian: apt-get install fio): no rows against it')
            return
        with open('f.raw', 'wb') as f:
            f.write(os.urandom(MIB) * (SIZE // MIB))
        # At depth 1 engines differ little, and the disk decides.
        for depth, count, engines in ((64, 16000, ENGINES), (1, 4000, ENGINES[:1])):
            for aio, engine in engines:
                for what, flags in (('read', []), ('write', ['-w'])):
                    ours = ['bench', *flags, '-i', aio, '-t', 'none', '-f', 'raw', '-c', str(count), '-d', str(depth),
                            '-s', str(BLOCK), 'f.raw']
                    self.pair(f'against fio: 4k {what} depth {depth}, {aio}', ours,
                              self.fio_arguments(what, engine, depth, count), count)
        os.unlink('f.raw')

    def pair(self, name, ours, fio, count):
        """Best of alternating runs, without what starting takes."""
        best = {}
        for _ in range(self.bench.rounds + 2):
            for tool, long in ((self.bench.ours, ours), ('fio', fio)):
                result = self.bench.seconds(tool, long)
                best[tool] = [min(pair) for pair in zip(best.get(tool, result), result)]
        start = {self.bench.ours: self.best_start(self.bench.ours, ['--version']),
                 'fio': self.best_start('fio', ['--name=x', '--filename=f.raw', '--rw=read', f'--size={BLOCK}',
                                                '--output=/dev/null'])}
        for i, kind in enumerate(('wall', 'CPU')):
            mine, other = ((best[t][i] - start[t][i]) * 1e6 / count for t in (self.bench.ours, 'fio'))
            self.bench.row(f'{name}, {kind}', mine, other, 'us per request')

    def best_start(self, tool, arguments):
        runs = [self.bench.seconds(tool, arguments) for _ in range(self.bench.rounds)]
        return [min(values) for values in zip(*runs)]

    # ---- many nodes ----

    def idle_nodes(self):
        """1,000 nodes that nobody uses, each by a command of its own."""
        name, count = '1,000 idle nodes', 1000
        if not self.bench.wanted(name):
            return
        results = []
        for program in filter(None, self.daemons):
            with Daemon(program) as daemon:
                before, start = self.memory(daemon), time.monotonic()
                for i in range(count):
                    daemon.command('blockdev-add', node_name=f'n{i}', driver='null-co', size=MIB)
                seconds = time.monotonic() - start
                results.append((seconds * 1e3, (self.memory(daemon) - before) / count))
        for i, (what, unit) in enumerate((('made', 'ms'), ('memory', 'bytes per node'))):
            self.bench.row(f'{name}, {what}', results[0][i], results[1][i] if len(results) > 1 else None, unit)

    @staticmethod
    def memory(daemon):
        """Private bytes of the process."""
        with open(f'/proc/{daemon.process.pid}/statm', encoding='ascii') as f:
            _, resident, shared = (int(word) for word in f.read().split()[:3])
        return (resident - shared) * os.sysconf('SC_PAGE_SIZE')

    def long_chain(self):
        """Reading through 1,000 images."""
        name, count = 'chain of 1,000 images', 1000
        if not self.bench.wanted(name):
            return
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        below = []
        for i in range(count):
            subprocess.run([self.bench.ours, 'create', '-q', '-u', '-f', 'qcow2', *below, f'c{i}.qcow2', '1M'],
                           check=True)
            below = ['-b', f'c{i}.qcow2', '-F', 'qcow2']
        self.bench.compare(f'{name}, opened', ['bench', '-c', '1', '-d', '1', '-f', 'qcow2', f'c{count - 1}.qcow2'])
        for i in range(count):
            os.unlink(f'c{i}.qcow2')

    def run(self):
        self.against_fio()
        self.idle_nodes()
        self.long_chain()
