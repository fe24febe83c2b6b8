#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-storage-daemon as a program: its options, their order, their errors, its end."""

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import tty

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import PATIENCE, must  # noqa: E402
from nbdtest import NbdClient  # noqa: E402
from qmptest import BUILD, Client, MiB, make_qcow2, make_raw, run_alone, same  # noqa: E402

DAEMON = os.path.join(BUILD, "qemu-storage-daemon")


def call(*args):
    """Run to the end: status, output, errors."""
    done = subprocess.run([DAEMON, *args], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=PATIENCE, check=False)
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


def what_is_not_here_yet_is_refused():
    """Exports, credentials and drivers of other programs: a sentence, and nothing half done."""
    node = ("--blockdev", "driver=file,node-name=f,filename=r.raw")
    make_raw("r.raw")
    for options in ("fuse,id=e,node-name=f,mountpoint=m", "vhost-user-blk,id=e,node-name=f,addr.type=unix",
                    "vduse-blk,id=e,node-name=f,name=x"):
        kind = options.split(",")[0]
        fails(f"--export type={options}: Parameter 'type' does not accept value '{kind}'", *node,
              "--export", f"type={options}")
    for kind in ("tls-creds-x509", "tls-creds-psk", "authz-list", "secret_keyring"):
        fails(f"--object {kind},id=t: Parameter 'qom-type' does not accept value '{kind}'",
              "--object", f"{kind},id=t")
    nbd = "addr.type=unix,addr.path=s,tls-creds=t"
    fails(f"--nbd-server {nbd}: Parameter 'tls-creds' is unexpected", "--nbd-server", nbd)
    nbd = "driver=nbd,node-name=n,server.type=unix,server.path=x"
    fails(f"--blockdev {nbd}: Parameter 'driver' does not accept value 'nbd'", "--blockdev", nbd)
    stdio = ("--chardev", "stdio,id=m")
    fails("--monitor m,mode=readline: Only QMP is supported", *stdio, "--monitor", "m,mode=readline")
    fails("--chardev stdio,id=m: cannot use stdio with -daemonize", *stdio, "--daemonize")
    for option, words in (("--trace", "unrecognized option '--trace'"),
                          ("--nosuch", "unrecognized option '--nosuch'"),
                          ("--pidfile", "option '--pidfile' requires an argument")):
        status, out, err = call(option)
        same((status, out, words in err), (1, "", True))
    same(sorted(os.listdir(".")), ["r.raw"])


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
                same((process.wait(timeout=PATIENCE), process.stderr.read()), (0, b""))
        same(os.path.exists("pid"), False)


# ---- monitors on every kind of character device that goes both ways -------------------------------

def says_hello(read, write):
    """A greeting, a command, its answer; over plain descriptors."""
    is_terminal = os.isatty(read)
    with os.fdopen(read, "rb", buffering=0, closefd=False) as lines:
        assert b"QMP" in lines.readline()
        os.write(write, b'{"execute": "qmp_capabilities"}\n')
        assert lines.readline().startswith(b'{"return"')
        os.write(write, b'{"execute": "quit"}\n')
        answer = b'{"return": {}}'
        try:
            line = lines.readline().rstrip()
        except OSError:
            line = b""
        # A terminal that hangs up may take the end of the last line with it.
        assert line == answer or (is_terminal and answer.startswith(line)), line


def daemon(*args, **options):
    return subprocess.Popen([DAEMON, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            **options)


def monitors_speak_over_pipes():
    for name in ("p.in", "p.out"):
        os.mkfifo(name)
    with daemon("--chardev", "pipe,id=m,path=p", "--monitor", "m") as process:
        write = os.open("p.in", os.O_WRONLY)
        read = os.open("p.out", os.O_RDONLY)
        says_hello(read, write)
        same(process.wait(timeout=PATIENCE), 0)
        os.close(write)
        os.close(read)


def monitors_speak_over_terminals():
    with daemon("--chardev", "pty,id=m", "--monitor", "m,pretty=off") as process:
        line = process.stdout.readline().decode()
        path = re.search(r"char device redirected to (\S+) \(label m\)", line)
        assert path, line
        terminal = os.open(path.group(1), os.O_RDWR | os.O_NOCTTY)
        tty.setraw(terminal)
        says_hello(terminal, terminal)
        same(process.wait(timeout=PATIENCE), 0)
        os.close(terminal)


def monitors_take_sockets_they_are_given():
    """A listening descriptor, as a service manager passes one; and one monitor beside another."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("given")
    listener.listen(1)
    number = listener.fileno()
    with daemon("--chardev", f"socket,id=m,fd={number},server=on,wait=off", "--monitor", "m",
                "--chardev", "socket,id=n,path=n,server=on,wait=off", "--monitor", "n",
                pass_fds=[number]) as process:
        listener.close()
        with Client("given") as first, Client("n") as second:
            same(first.command("query-jobs"), second.command("query-jobs"))
            second.command("quit")
        same((process.wait(timeout=PATIENCE), process.stdout.read()), (0, b""))


# ---- signals while jobs run ----------------------------------------------------------------------

JOBS = {
    "backup": ("blockdev-backup", {"device": "top", "target": "t", "sync": "full"}),
    "mirror": ("blockdev-mirror", {"device": "top", "target": "t", "sync": "full"}),
    "stream": ("block-stream", {"device": "top"}),
    "commit": ("block-commit", {"device": "top"}),
    "intermediate": ("block-commit", {"device": "top", "top-node": "mid"}),
    "create": ("blockdev-create", {"options": {"driver": "qcow2", "file": "g", "size": 8 * MiB}}),
}


def chain_with_data():
    make_qcow2("base.qcow2", size="8M")
    must("qemu-io", "-t", "unsafe", "-c", "write -P 1 0 8M", "base.qcow2")
    for name, backing in (("mid", "base"), ("top", "mid")):
        make_qcow2(f"{name}.qcow2", "-b", f"{backing}.qcow2", "-F", "qcow2", size=None)
    must("qemu-io", "-t", "unsafe", "-c", "write -P 2 1M 2M", "mid.qcow2")
    must("qemu-io", "-t", "unsafe", "-c", "write -P 3 2M 2M", "top.qcow2")
    make_qcow2("t.qcow2", size="8M")
    make_raw("g.raw", 0)


def content():
    done = must("qemu-img", "convert", "-f", "qcow2", "-O", "raw", "top.qcow2", "content.raw")
    same(done.err, "")
    with open("content.raw", "rb") as image:
        return image.read()


def a_signal_during_jobs_closes_all_images():
    numbers = itertools.cycle((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    for number, (job, (command, arguments)) in zip(numbers, JOBS.items()):
        chain_with_data()
        before = content()
        with daemon("--pidfile", "pid", "--chardev", "socket,id=m,path=m,server=on,wait=off",
                    "--monitor", "m") as process, Client("m") as vm:
            for name in ("base", "mid", "top", "t"):
                backing = {"mid": "base", "top": "mid"}.get(name)
                vm.command("blockdev-add", driver="qcow2", node_name=name,
                           file={"driver": "file", "filename": f"{name}.qcow2"},
                           **({"backing": backing} if backing else {}))
            vm.command("blockdev-add", driver="file", node_name="g", filename="g.raw")
            slow = {} if job == "create" else {"speed": 65536}
            vm.execute(command, {"job-id": "j", **slow, **arguments})
            process.send_signal(number)
            same((job, process.wait(timeout=PATIENCE), process.stdout.read()), (job, 0, b""))
        assert not os.path.exists("pid"), job
        for name in ("base", "mid", "top", "t"):
            must("qemu-img", "check", f"{name}.qcow2")
        same((job, content() == before), (job, True))
        for name in os.listdir("."):
            os.unlink(name)


run_alone("daemon", [
    monitors_speak_over_pipes, monitors_speak_over_terminals,
    monitors_take_sockets_they_are_given, a_signal_during_jobs_closes_all_images,
    help_and_version, what_is_not_here_yet_is_refused, options_explain_themselves, bad_options_are_refused,
    a_later_option_names_what_an_earlier_made, it_serves_in_the_background,
    a_signal_ends_it_cleanly,
])
