# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows about block jobs: the storage daemons' processor and wall time for one job, what a guest's
requests take while a backup runs, and how well speed limits hold."""
import os
import random
import shutil
import subprocess
import sys
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.realpath(__file__)), p) for p in ('../../scripts', '../lib')]

from nbdtest import CMD_READ, CMD_WRITE, NbdClient  # noqa: E402
from qmp import Client  # noqa: E402

MIB = 1 << 20


class Daemon(Client):
    def __init__(self, program):
        super().__init__(subprocess.Popen([program, '--chardev', 'stdio,id=m', '--monitor', 'm'],
                                          stdin=subprocess.PIPE, stdout=subprocess.PIPE))

    def __exit__(self, *exc):
        if exc[0]:
            self.process.kill()
        else:
            self.command('quit')
        _, self.process.returncode, self.used = os.wait4(self.process.pid, 0)

    def cpu(self):
        """Processor seconds up to now, of the threads that are there."""
        total = 0
        for thread in os.listdir(f'/proc/{self.process.pid}/task'):
            with open(f'/proc/{self.process.pid}/task/{thread}/schedstat', encoding='ascii') as f:
                total += int(f.read().split()[0])
        return total / 1e9

    def image(self, node, **options):
        self.command('blockdev-add', node_name=node, driver='qcow2',
                     file={'driver': 'file', 'filename': node + '.qcow2'}, **options)

    def run_job(self, name, ready=False, **arguments):
        """Start a job, complete it when ready, and wait for its end."""
        self.command(name, job_id='j', **arguments)
        if ready:
            self.wait_event('BLOCK_JOB_READY', timeout=600, device='j')
            self.command('block-job-complete', device='j')
        end = self.wait_event('BLOCK_JOB_COMPLETED', timeout=600, device='j')
        if end['data'].get('error'):
            raise RuntimeError(end['data']['error'])


class JobBench:
    """@bench: its rows, rounds and tools."""

    def __init__(self, bench):
        self.bench = bench
        self.ours = os.path.join(bench.build, 'qemu-storage-daemon')
        folder = os.path.dirname(bench.stock) if bench.stock else None
        found = folder and (os.path.join(folder, 'qemu-storage-daemon')
                            if os.path.exists(os.path.join(folder, 'qemu-storage-daemon')) else
                            shutil.which('qemu-storage-daemon'))
        self.stock = found or None
        self.size = (256 if bench.quick else 2048) * MIB

    def create(self, name, *arguments):
        subprocess.run([self.bench.ours, 'create', '-q', '-f', 'qcow2', *arguments, name + '.qcow2',
                        str(self.size)], check=True)

    def fill(self, name, share=1):
        """Data everywhere, or in every @share-th MiB."""
        subprocess.run([self.bench.ours, 'bench', '-w', '-f', 'qcow2', '-c', str(self.size // MIB // share),
                        '-s', str(MIB), '-S', str(share * MIB), '--pattern', '119', name + '.qcow2'],
                       check=True, stdout=subprocess.DEVNULL)

    def start(self, program, *images):
        daemon = Daemon(program)
        below = None
        for image in images:
            daemon.image(image, **({'backing': below} if image.startswith('c-') else {}))
            below = image
        return daemon

    def compare(self, name, images, job, ready=False, before=None, **arguments):
        """Best processor and wall time of one job of each daemon, alternating."""
        if not self.bench.wanted(name):
            return
        best = {}
        for _ in range(self.bench.rounds):
            for program in filter(None, (self.ours, self.stock)):
                before()
                with self.start(program, *images) as daemon:
                    start, cpu = time.monotonic(), daemon.cpu()
                    daemon.run_job(job, ready=ready, **arguments)
                # To the end of the program: some flush when a job ends, some when an image is closed.
                result = time.monotonic() - start, daemon.used.ru_utime + daemon.used.ru_stime - cpu
                old = best.get(program, result)
                best[program] = min(old[0], result[0]), min(old[1], result[1])
        ours, stock = best[self.ours], best.get(self.stock)
        for i, kind in enumerate(('wall', 'CPU')):
            self.bench.row(f'{name}, {kind}', ours[i] * 1e3, stock and stock[i] * 1e3, 'ms')

    def tool(self):
        """qemu-img commit and rebase of the same chains."""
        size = f'{self.size // MIB} MiB'

        def chain():
            for name, below in (('base', None), ('other', None), ('c-0', 'base')):
                self.create(name, *(('-b', below + '.qcow2', '-F', 'qcow2') if below else ()))
            self.fill('c-0')

        def two_bases():
            chain()
            self.create('c-0', '-b', 'base.qcow2', '-F', 'qcow2')
            self.fill('base')
        self.bench.compare(f'qemu-img commit of {size}', ['commit', '-q', '-d', '-f', 'qcow2', 'c-0.qcow2'],
                           before=chain)
        self.bench.compare(f'qemu-img rebase of {size}', ['rebase', '-f', 'qcow2', '-b', 'other.qcow2', '-F', 'qcow2',
                                                          'c-0.qcow2'], before=two_bases)

    def jobs(self):
        size = f'{self.size // MIB} MiB'

        def target():
            if not os.path.exists('s.qcow2'):
                self.create('s')
                self.fill('s')
            self.create('t')

        def chain(*shares):
            def make():
                self.create('base')
                below = 'base'
                for i, share in enumerate(shares):
                    self.create(f'c-{i}', '-b', below + '.qcow2', '-F', 'qcow2')
                    below = f'c-{i}'
                    if share:
                        self.fill(below, share)
            return make

        def full_base():
            chain(8)()
            self.fill('base')
        for job in ('mirror', 'backup'):
            self.compare(f'{job} of {size}', ('s', 't'), f'blockdev-{job}', ready=job == 'mirror', before=target,
                         device='s', target='t', sync='full')
        self.compare(f'stream of {size}', ('base', 'c-0'), 'block-stream', before=full_base, device='c-0')
        self.compare(f'commit of {size}', ('base', 'c-0'), 'block-commit', ready=True, before=chain(1), device='c-0')
        self.compare(f'commit of {size} below the top', ('base', 'c-0', 'c-1'), 'block-commit', before=chain(1, 0),
                     device='c-1', top_node='c-0')

    def one_latency(self, program):
        """Seconds that each of a guest's 4 KiB requests took while a backup ran, depth 1; all."""
        self.create('t')
        dice, took = random.Random(7), []
        with self.start(program, 's', 't') as daemon:
            daemon.command('nbd-server-start', addr={'type': 'unix', 'data': {'path': 'nbd.sock'}})
            daemon.command('block-export-add', type='nbd', id='e', node_name='s', name='s', writable=True)
            with NbdClient('nbd.sock', 's') as guest:
                daemon.command('blockdev-backup', job_id='j', device='s', target='t', sync='full')
                while not self.over(daemon, len(took)):
                    offset = dice.randrange(self.size // 4096) * 4096
                    start = time.perf_counter()
                    if dice.random() < 0.5:
                        guest.call(CMD_WRITE, offset, 4096, bytes(4096))
                    else:
                        guest.call(CMD_READ, offset, 4096)
                    took.append(time.perf_counter() - start)
            daemon.command('nbd-server-stop')
        if os.path.exists('nbd.sock'):
            os.unlink('nbd.sock')
        return took

    @staticmethod
    def over(daemon, n):
        return n % 16 == 0 and not daemon.command('query-block-jobs')

    def latency(self):
        name = 'random 4k under a backup'
        if not self.bench.wanted(name):
            return
        self.create('s')
        self.fill('s')
        figures = {}
        for _ in range(self.bench.rounds):
            for program in filter(None, (self.ours, self.stock)):
                figures.setdefault(program, []).extend(self.one_latency(program))
        for part in (0.5, 0.99):
            pair = [sorted(figures[p])[int(len(figures[p]) * part)] if p else None for p in (self.ours, self.stock)]
            self.bench.row(f'{name}, p{part * 100:.0f}', pair[0] * 1e6, pair[1] and pair[1] * 1e6, 'us')

    def limits(self):
        """How far from its limit each job's speed is, percent, taken over ten seconds of a longer job."""
        speed, seconds = 24 * MIB, 3 if self.bench.quick else 10
        for name, job, images, arguments in (
                ('backup', 'blockdev-backup', ('s', 't'), {'device': 's', 'target': 't', 'sync': 'full'}),
                ('mirror', 'blockdev-mirror', ('s', 't'), {'device': 's', 'target': 't', 'sync': 'full'}),
                ('stream', 'block-stream', ('s', 'c-0'), {'device': 'c-0'}),
                ('commit', 'block-commit', ('base', 'c-0'), {'device': 'c-0'})):
            title = f'{name} at {speed // MIB} MiB/s: off by'
            if not self.bench.wanted(title):
                continue
            self.create('base')
            self.create('s')
            self.create('t')
            self.create('c-0', '-b', images[0] + '.qcow2', '-F', 'qcow2')
            self.fill('c-0' if name == 'commit' else 's')
            found = [self.one_limit(p, images, job, speed, seconds, arguments) if p else None
                     for p in (self.ours, self.stock)]
            self.bench.row(title, found[0], found[1], 'percent of the limit')

    def one_limit(self, program, images, job, speed, seconds, arguments):
        with self.start(program, *images) as daemon:
            daemon.command(job, job_id='j', speed=speed, **arguments)
            time.sleep(0.5)
            marks = []
            for wait in (seconds, 0):
                marks.append((time.monotonic(), daemon.command('query-block-jobs')[0]['offset']))
                time.sleep(wait)
            daemon.command('block-job-cancel', device='j', force=True)
            daemon.wait_event('BLOCK_JOB_CANCELLED', device='j')
        (t0, b0), (t1, b1) = marks
        return abs((b1 - b0) / (t1 - t0) / speed - 1) * 100

    def run(self):
        if not self.stock:
            print('stock qemu-storage-daemon is not installed (Debian: apt-get install qemu-system-common): '
                  'jobs of ours alone')
        self.tool()
        self.jobs()
        self.latency()
        self.limits()
