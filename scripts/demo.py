#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The demonstration: a guest writes to a qcow2 disk that is backed up meanwhile.

Real e2k machine code drives a virtio-blk disk of qemu-system-e2k; this script is the management side.
It prints a line per step, and at the end whether everything that must be true was true.
"""
import argparse
import atexit
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import qmp  # noqa: E402

SRC = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MIB = 1 << 20
BASE_MIB, DISK_MIB, AREA_KIB = 32, 96, 4096


class Failed(Exception):
    """Something that must be true was not; one sentence."""


def say(text):
    print(text, flush=True)


def step(number, text):
    say(f'[{number}/5] {text}')


def expect(condition, sentence):
    if not condition:
        raise Failed(sentence)


def run(*command, status=0, quiet=False):
    """Run a program; its output if it ended with the status wanted."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    expect(done.returncode == status,
           f"'{' '.join(command)}' ended with status {done.returncode}, not {status}: {done.stdout.strip()}")
    return done.stdout


class Guest:
    """The emulator with the demonstration guest, its serial line and its monitor."""

    def __init__(self, build, work):
        self.lines, self.said = queue.Queue(), []
        self.records = self.verified = 0
        self.changed = threading.Condition()
        self.errors = os.path.join(work, 'stderr')
        socket = os.path.join(work, 'qmp.sock')
        self.process = subprocess.Popen(
            [os.path.join(build, 'qemu-system-e2k'), '-M', 'e2k', '-m', '128', '-display', 'none', '-nodefaults',
             '-kernel', os.path.join(build, 'guests/disk.elf'),
             '-append', f'records=0 area={AREA_KIB} flush=16 run=1',
             '-drive', 'file=disk.qcow2,if=virtio,id=disk0,format=qcow2,node-name=disk,discard=unmap',
             '-device', 'isa-debug-exit', '-serial', 'stdio', '-no-reboot',
             '-qmp', f'unix:{socket},server=on,wait=off'],
            cwd=work, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(self.errors, 'w'))
        atexit.register(self.kill)
        threading.Thread(target=self.listen, daemon=True).start()
        self.monitor = qmp.Client(socket, timeout=60)

    def listen(self):
        for raw in self.process.stdout:
            line = raw.decode(errors='replace').strip()
            with self.changed:
                self.said.append(line)
                words = line.split()
                if len(words) == 5 and words[0] == 'guest:' and words[2] == 'records,':
                    self.records, self.verified = int(words[1]), int(words[3])
                self.changed.notify_all()

    def wait(self, condition, what, seconds=120):
        with self.changed:
            self.changed.wait_for(lambda: condition() or self.process.poll() is not None, seconds)
            if not condition():
                with open(self.errors) as f:
                    raise Failed(f'the guest did not get to {what}; it said: ' +
                                 ' / '.join(self.said[-5:] + f.read().splitlines()[-5:]))

    def wait_records(self, more):
        goal = self.records + more
        self.wait(lambda: self.records >= goal, f'record {goal}')

    def stop(self):
        """Ask it to end; the status of the process tells whether it passed."""
        try:
            self.process.stdin.write(b'q')
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        return self.process.wait(timeout=120)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


# ---- the five steps -----------------------------------------------------------------------------


def make_images(build):
    step(1, f'a file system of {BASE_MIB} MiB from our own sources, and a qcow2 overlay of {DISK_MIB} MiB on it')
    tree = tempfile.mkdtemp(prefix='tree', dir='.')
    for folder in ('block', 'include', 'docs', 'util', 'scripts'):
        shutil.copytree(os.path.join(SRC, folder), os.path.join(tree, folder),
                        ignore=shutil.ignore_patterns('__pycache__'))
    run('mke2fs', '-q', '-t', 'ext4', '-L', 'sources', '-d', tree, 'base.raw', f'{BASE_MIB}M')
    shutil.rmtree(tree)
    image = os.path.join(build, 'qemu-img')
    say('      ' + run(image, 'create', '-f', 'qcow2', '-b', 'base.raw', '-F', 'raw', 'disk.qcow2',
                       f'{DISK_MIB}M').strip())
    run(image, 'create', '-q', '-f', 'qcow2', 'backup.qcow2', f'{DISK_MIB}M')


def start_guest(build, work):
    step(2, 'an e2k guest reads the file system and writes records')
    guest = Guest(build, work)
    guest.wait(lambda: guest.records > 0, 'its first records')
    for line in guest.said:
        say('      ' + line)
    return guest


def refused(vm, name, must_say, **arguments):
    """The command must be refused with these words."""
    try:
        vm.command(name, **arguments)
    except qmp.QMPError as e:
        expect(must_say in e.desc, f"{name} was refused with '{e.desc}', which does not say '{must_say}'")
        say(f'      {name} {arguments.get("device") or arguments.get("node_name") or ""}: refused: {e.desc}')
        return
    raise Failed(f'{name} {arguments} was accepted during the backup')


def show_progress(row):
    if sys.stdout.isatty():
        print('\r      ' + qmp.bar(row['current-progress'], row['total-progress']), end='', flush=True)


def wait_job(vm, job_id):
    result = vm.wait_job(job_id, progress=show_progress)
    if sys.stdout.isatty():
        print()
    say('      ' + qmp.bar(result['current-progress'], result['total-progress']) + f" job '{job_id}' completed")


def show_blockers(vm):
    rows = vm.command('query-block-blockers')
    expect(any('resize' in r['forbids'] and r['owner']['kind'] == 'job' for r in rows),
           'query-block-blockers does not show the job that forbids resizing')
    say('      who blocks what, why, since when, and what ends it:')
    for row in rows:
        if row['owner']['kind'] not in ('job', 'device', 'op-blocker'):
            continue
        forbids = row['forbids']
        what = ', '.join(forbids[:3]) + (f' and {len(forbids) - 3} more' if len(forbids) > 3 else '')
        if what:
            say(f"        {row['node-name']}: {row['owner'].get('description', row['owner']['kind'])} forbids {what}; "
                f"{row.get('reason') or 'it uses ' + ', '.join(row['uses'])}; for {row['held-for']:.1f} s; "
                f"{row.get('unblock', '')}")


def back_up(guest):
    step(3, 'a backup of the disk while the guest writes')
    vm = guest.monitor
    vm.command('blockdev-add', driver='qcow2', node_name='target',
               file={'driver': 'file', 'filename': 'backup.qcow2'})
    guest.wait_records(200)
    before = guest.records
    vm.command('blockdev-backup', job_id='nightly', device='disk0', target='target', sync='full', speed=8 * MIB)
    size = DISK_MIB * MIB
    busy = "Node 'target' is busy: block device is in use by block job: backup"
    refused(vm, 'block_resize', busy, node_name='target', size=size)
    refused(vm, 'blockdev-del', busy, node_name='target')
    refused(vm, 'blockdev-backup', busy, job_id='second', device='disk', target='target', sync='full')
    refused(vm, 'block_resize', 'conflict', node_name='disk', size=size)
    refused(vm, 'block-export-add', 'Permission conflict', type='nbd', id='e', node_name='disk', writable=True)
    show_blockers(vm)
    guest.wait_records(100)
    vm.command('block-job-set-speed', device='nightly', speed=0)
    wait_job(vm, 'nightly')
    after = guest.records
    say('      the job is gone, and the same commands are accepted:')
    vm.command('block_resize', node_name='target', size=size)
    vm.command('block_resize', node_name='disk', size=size)
    vm.command('blockdev-del', node_name='target')
    say('      block_resize target: done; block_resize disk: done; blockdev-del target: done')
    vm.command('drive-backup', job_id='second', device='disk0', target='second.qcow2', format='qcow2', sync='full')
    wait_job(vm, 'second')
    return before, after


def check_results(build, guest, bounds):
    step(4, 'the guest ends; every image is checked')
    guest.wait_records(50)
    status = guest.stop()
    say('      ' + guest.said[-1])
    expect(status == 1 and guest.said[-1].startswith('guest: PASS'),
           f'the guest did not pass: status {status}, {guest.said[-1]}')
    image = os.path.join(build, 'qemu-img')
    for name in ('disk.qcow2', 'backup.qcow2', 'second.qcow2'):
        say(f'      {name}: ' + run(image, 'check', name).split('\n')[0])
    for name in ('backup', 'second'):
        run(image, 'convert', '-O', 'raw', f'{name}.qcow2', f'{name}.raw')
        options = ['--min', str(bounds[0])] + (['--max', str(bounds[1] + 1)] if name == 'backup' else [])
        say(f'      {name}.raw: ' + run(sys.executable, os.path.join(SRC, 'scripts/check-records.py'), '--area',
                                        str(AREA_KIB), *options, f'{name}.raw').strip().split('\n')[-1])
        run('e2fsck', '-fn', f'{name}.raw')
        say(f'      {name}.raw: e2fsck finds the file system clean')


def closing(build, work):
    step(5, 'try next')
    tool = os.path.relpath(build)
    say(f'      {tool}/qemu-img map --output=json {work}/disk.qcow2')
    say(f'      {tool}/qemu-io -c "blockers" {work}/disk.qcow2')
    say(f'      {tool}/qemu-system-e2k -M e2k -kernel {tool}/guests/hello.elf -serial stdio -display none '
        '-device isa-debug-exit')


def ended_by_signal(number, frame):
    """End as at the end of main(), so that the guest ends, too; once."""
    for again in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(again, signal.SIG_IGN)
    sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--build', default='build')
    parser.add_argument('--work', help='folder for the images [BUILD/demo]')
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    work = os.path.abspath(args.work or os.path.join(build, 'demo'))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended_by_signal)
    home = os.getcwd()
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    os.chdir(work)
    guest, start = None, time.monotonic()
    try:
        make_images(build)
        guest = start_guest(build, work)
        bounds = back_up(guest)
        check_results(build, guest, bounds)
        os.chdir(home)
        closing(build, os.path.relpath(work))
    except (Failed, qmp.QMPError, OSError, RuntimeError) as e:
        say(f'FAILED: {e}')
        return 1
    finally:
        if guest:
            guest.kill()
    say(f'PASSED: the backup is the disk as it was at one moment, nothing was lost ({time.monotonic() - start:.0f} s)')
    return 0


sys.exit(main())
