# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of QMP share: a storage daemon or emulator with a monitor, and how cases are run.

A case is a function with one argument, the Vm; it passes when it returns.  run() prints TAP."""

import contextlib
import os
import subprocess
import sys
import tempfile
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.realpath(__file__)))), "scripts"))

from imgtest import BUILD, PATIENCE, Tap, have  # noqa: E402
from qmp import Client, JobError, QMPError    # noqa: E402,F401 (for those who import us)

MiB = 1 << 20


class Vm(Client):
    """A program with a QMP session; ends with the with block."""

    served_by = {}  # arguments for block-export-add: see by_an_iothread()

    def __init__(self, *args, program="qemu-storage-daemon", env=None):
        words = [os.path.join(BUILD, program), *args]
        words += (["--chardev", "stdio,id=qmp", "--monitor", "qmp"] if "storage" in program else
                  ["-qmp", "stdio"])
        self.log = tempfile.TemporaryFile()
        super().__init__(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                          stderr=self.log, env=dict(os.environ, **(env or {}))),
                         timeout=PATIENCE)

    def __exit__(self, *exc):
        if self.process.poll() is None and not exc[0]:
            self.command("quit")
            self.finish()
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            with contextlib.suppress(BrokenPipeError):  # what it did not live to read
                pipe.close()

    def finish(self):
        """Wait for the end; it must be a clean one."""
        status = self.process.wait(timeout=PATIENCE)
        self.log.seek(0)
        said = self.log.read().decode(errors="replace")
        assert status == 0, f"ended with status {status}: {said}"

    def refused(self, text, name, /, error_class="GenericError", **arguments):
        """The command must be refused with exactly this text."""
        try:
            result = self.command(name, **arguments)
        except QMPError as error:
            same(error.desc, text)
            same(error.error_class, error_class)
            return
        raise AssertionError(f"{name} was accepted: {result}")

    def add(self, node_name, driver, **options):
        """blockdev-add."""
        self.command("blockdev-add", node_name=node_name, driver=driver, **options)

    def null(self, node_name, size=MiB, **options):
        """A node that stores nothing."""
        self.add(node_name, "null-co", size=size, **options)

    def nodes(self):
        """Name -> row of query-named-block-nodes."""
        return {row["node-name"]: row for row in self.command("query-named-block-nodes")}


def same(got, wanted):
    """Two values must be equal."""
    assert got == wanted, f"got    {got!r}\nwanted {wanted!r}"


def make_qcow2(name, *args, size="4M"):
    """An empty qcow2 image in the current folder."""
    subprocess.run([os.path.join(BUILD, "qemu-img"), "create", "-q", "-f", "qcow2", *args, name,
                    *([size] if size else [])], check=True)


def make_raw(name, size=MiB):
    """An empty raw image in the current folder."""
    with open(name, "wb") as image:
        image.truncate(size)


def run_one(tap, name, call):
    """Call @call in an empty folder, as case @name."""
    home = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            call()
            tap.ok(True, name)
        except Exception:  # pylint: disable=broad-except
            tap.ok(False, name, traceback.format_exc())
        finally:
            os.chdir(home)


def case_name(area, case):
    return f"/{area}/{case.__name__.replace('_', '-')}"


def skip_unless(program):
    if not have(program):
        print(f"1..0 # SKIP {program} is not built")
        sys.exit(0)


def run(area, cases, args=(), program="qemu-storage-daemon"):
    """Run functions as cases AREA/NAME, each with a fresh program in an empty folder; exits.

    @args: of the program, or a function from a case to them."""
    def call(case):
        with Vm(*(args(case) if callable(args) else args), program=program) as vm:
            case(vm)

    tap = Tap()
    skip_unless(program)
    for case in cases:
        run_one(tap, case_name(area, case), lambda case=case: call(case))
    sys.exit(tap.finish())


def by_an_iothread(case):
    """The same case with exports that an iothread serves: those added with vm.served_by."""
    def call(vm):
        vm.command("object-add", qom_type="iothread", id="io0")
        vm.served_by = {"iothread": "io0"}
        case(vm)
    call.__name__ = case.__name__ + "_by_an_iothread"
    return call


def run_alone(area, cases, program="qemu-storage-daemon"):
    """The same for functions without an argument, which start @program themselves."""
    tap = Tap()
    skip_unless(program)
    for case in cases:
        run_one(tap, case_name(area, case), case)
    sys.exit(tap.finish())
