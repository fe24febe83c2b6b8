#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-storage-daemon as a program: its options, their order, their errors, its end."""

import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from nbdtest import NbdClient  # noqa: E402
from qmptest import BUILD, Client, make_raw, run_alone, same  # noqa: E402

DAEMON = os.path.join(BUILD, "qemu-storage-daemon")


def call(*args):
    """Run to the end: status, output, errors."""
    done = subprocess.run([DAEMON, *args], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=60, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def fails(message, *args):
    """It must end with status 1 and this one line, after its name and the option."""
    status, out, err = call(*args)
    same((status, out, err), (1, "", f"qemu-storage-daemon: {message}\n"))


def help_and_version():
    for option, start in (("--help", "Usage: "), ("--version", "qemu-storage-daemon version ")):
        status, out, err = call(option)
        same((status, err), (0, ""))
        assert out.startswith(start), out


def options_explain_themselves():
    for args, line in ((("--object", "help"), "  iothread"),
                       (("--object", "iothread,help"), "  poll-max-ns=<int>"),
                       (("--chardev", "help"), "  socket"),
                       (("--chardev", "socket,?"), "  wait=on|off"),
                       (("--export", "help"), "  nbd"),
                       (("--export", "type=nbd,help"), "  node-name=<str>  (required)"),
                       (("--monitor", "help"), "  mode=readline|control"),
                       (("--nbd-server", "help"), "  addr.path=<str>  (required)  (addr.type=unix)"),
                       (("--blockdev", "help"), "  qcow2"),
                       (("--blockdev", "driver=qcow2,help"), "  backing=<str>|..."),
                       (("--blockdev", "file,help"), "  filename=<str>  (required)")):
        status, out, err = call("--pidfile", "never", *args)
        same((status, err, line in out.splitlines()), (0, "", True))
        same(os.path.exists("never"), False)
    fails("--blockdev nosuch,help: Help is not available for this option", "--blockdev",
          "nosuch,help")


def bad_options_are_refused():
    make_raw("r.raw")
    node = "driver=file,node-name=f,filename=r.raw"
    fails("--blockdev x: Parameter 'driver' does not accept value 'x'", "--blockdev", "x")
    fails("--blockdev driver=qcow2: Parameter 'file' is missing", "--blockdev", "driver=qcow2")
    fails("--blockdev {\"driver\":\"file\": JSON parse error, premature EOI", "--blockdev",
          '{"driver":"file"')
    fails(f"--blockdev {node},bogus=1: Parameter 'bogus' is unexpected", "--blockdev",
          f"{node},bogus=1")
    fails(f"--blockdev {node}: Duplicate nodes with node-name='f'", "--blockdev", node,
          "--blockdev", node)
    fails("--monitor nope: chardev \"nope\" not found", "--monitor", "nope")
    fails("--export nbd,id=e,node-name=x: Cannot find device='' nor node-name='x'", "--export",
          "nbd,id=e,node-name=x")
    fails("--nbd-server addr.type=foo: Parameter 'type' does not accept value 'foo'",
          "--nbd-server", "addr.type=foo")
    fails("--object foo,id=x: Parameter 'qom-type' does not accept value 'foo'", "--object",
          "foo,id=x")
    fails("junk: Unexpected argument", "junk")
    fails("cannot create PID file: Could not create 'nodir/x': No such file or directory",
          "--pidfile", "nodir/x")


def a_later_option_names_what_an_earlier_made():
    make_raw("r.raw")
    file = "driver=file,node-name=f,filename=r.raw"
    fails("--blockdev driver=raw,node-name=r,file=f: Cannot find device='f' nor node-name='f'",
          "--blockdev", "driver=raw,node-name=r,file=f", "--blockdev", file)


def it_serves_in_the_background():
    make_raw("r.raw")
    here = os.getcwd()
    status, out, err = call(
        "--daemonize", "--pidfile", "pid", "--chardev", f"socket,id=m,path={here}/m,server=on,wait=off",
        "--monitor", "m", "--blockdev", f"driver=file,node-name=f,filename={here}/r.raw",
        "--nbd-server", f"addr.type=unix,addr.path={here}/s", "--export",
        "nbd,id=e,node-name=f,writable=on")
    same((status, out, err), (0, "", ""))
    with open("pid", encoding="ascii") as file:
        pid = int(file.read())
    os.kill(pid, 0)
    with NbdClient("s", "f") as client:
        client.write(0, b"hello")
    with Client("m") as vm:
        same([row["id"] for row in vm.command("query-block-exports")], ["e"])
        vm.command("quit")
        while vm.sock.recv(4096):
            pass  # perhaps the event of the export's end, then nothing
    for _ in range(1000):
        if not os.path.exists("pid"):
            break
        subprocess.run(["sleep", "0.01"], check=True)
    same(sorted(os.listdir(".")), ["r.raw"] + (["s"] if os.path.exists("s") else []))
    with open("r.raw", "rb") as image:
        same(image.read(5), b"hello")


def a_signal_ends_it_cleanly():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        make_raw("r.raw")
        with subprocess.Popen([DAEMON, "--blockdev", "driver=file,node-name=f,filename=r.raw",
                               "--nbd-server", "addr.type=unix,addr.path=s", "--export",
                               "nbd,id=e,node-name=f,writable=on", "--pidfile", "pid", "--chardev",
                               "socket,id=m,path=m,server=on,wait=off", "--monitor", "m"],
                              stderr=subprocess.PIPE) as process:
            with Client("m"), NbdClient("s", "f") as client:
                client.write(0, b"data")
                process.send_signal(number)
                same((process.wait(timeout=30), process.stderr.read()), (0, b""))
        same(os.path.exists("pid"), False)


run_alone("daemon", [
    help_and_version, options_explain_themselves, bad_options_are_refused,
    a_later_option_names_what_an_earlier_made, it_serves_in_the_background,
    a_signal_ends_it_cleanly,
])
