# SPDX-License-Identifier: GPL-2.0-or-later
"""Writing compressed images of content of many kinds: how large, and at what cost."""

import glob
import json
import os
import random
import shutil
import subprocess

MIB = 1 << 20


def files_of(*patterns):
    top = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
    return [name for pattern in patterns for name in sorted(glob.glob(os.path.join(top, pattern), recursive=True))]


def text():
    """English, as far as there is any on every machine."""
    return files_of('**/*.md') + sorted(glob.glob('/usr/share/common-licenses/*'))


def sources():
    return files_of('block/**/*.[ch]', 'util/**/*.[ch]', 'hw/**/*.[ch]', 'include/**/*.h')


def programs(build):
    return [os.path.join(build, name) for name in ('qemu-img', 'qemu-storage-daemon', 'qemu-io')]


def log_lines():
    """A log in JSON, the same in each run."""
    rand = random.Random(1)
    words = ('connect', 'timeout', 'GET', 'POST', 'index.html', 'user', 'session', 'error', 'retry', 'disk', 'node')
    now = 1.7e9
    while True:
        now += rand.random()
        yield (json.dumps({'ts': round(now, 6), 'level': rand.choice(('INFO', 'WARN', 'ERROR')),
                           'host': f'web-{rand.randrange(40):02d}', 'pid': rand.randrange(65536),
                           'msg': ' '.join(rand.choices(words, k=rand.randrange(3, 9))),
                           'ms': round(rand.expovariate(.01), 3)}) + '\n').encode()


class CompressBench:
    def __init__(self, bench):
        self.bench = bench
        self.size = (8 if bench.quick else 32) * MIB

    def from_files(self, names):
        with open('corpus.raw', 'wb') as f:
            while names and f.tell() < self.size:
                for name in names:
                    with open(name, 'rb') as source:
                        f.write(source.read())
            f.truncate(self.size)

    def from_lines(self):
        lines = log_lines()
        with open('corpus.raw', 'wb') as f:
            while f.tell() < self.size:
                f.write(next(lines))
            f.truncate(self.size)

    def from_noise(self):
        with open('corpus.raw', 'wb') as f:
            f.write(random.Random(2).randbytes(self.size))

    def from_ext4(self):
        """A file system with our own sources, texts and programs in it; False without mke2fs."""
        tool = shutil.which('mke2fs', path=os.environ['PATH'] + ':/sbin:/usr/sbin')
        if not tool:
            return False
        os.mkdir('tree')
        for i, name in enumerate(sources() + text() + programs(self.bench.build)):
            shutil.copyfile(name, f'tree/{i}')
        subprocess.run([tool, '-q', '-t', 'ext4', '-d', 'tree', 'corpus.raw', '64M'], check=True)
        shutil.rmtree('tree')
        return True

    def measure(self, kind):
        bench, sizes = self.bench, []
        arguments = ['convert', '-c', '-f', 'raw', '-O', 'qcow2', 'corpus.raw', 'corpus.qcow2']
        bench.compare(f'corpus {kind} to compressed zlib', arguments,
                      before=lambda: os.path.exists('corpus.qcow2') and os.unlink('corpus.qcow2'))
        for tool in filter(None, (bench.ours, bench.stock)):
            bench.seconds(tool, arguments)
            subprocess.run([bench.stock or bench.ours, 'compare', '-q', 'corpus.raw', 'corpus.qcow2'], check=True)
            sizes.append(os.path.getsize('corpus.qcow2') / 1024)
        bench.row(f'compressed zlib, {kind}, size', sizes[0], sizes[1] if bench.stock else None, 'KiB')
        os.unlink('corpus.qcow2')
        os.unlink('corpus.raw')

    def run(self):
        if not self.bench.wanted('compressed'):
            return
        for kind, make in (('text', lambda: self.from_files(text())),
                           ('sources', lambda: self.from_files(sources())),
                           ('programs', lambda: self.from_files(programs(self.bench.build))),
                           ('log', self.from_lines), ('noise', self.from_noise), ('ext4', self.from_ext4)):
            if make() is not False:
                self.measure(kind)
