#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Monitors as objects: monitor-qmp in both programs, monitor-hmp in the emulator."""

import json
import os
import select
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import PATIENCE, Tap, have  # noqa: E402
from qmptest import Client, QMPError, Vm, case_name, run_one, same, skip_unless  # noqa: E402

EMULATOR = "qemu-system-e2k"
MACHINE = ("-M", "e2k", "-accel", "qtest", "-display", "none", "-nodefaults")
LATE = "monitor-qmp,id=late,chardev=d"


def connect(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE)
    sock.connect(path)
    return sock


def until(sock, text):
    """What comes, up to @text."""
    got = b""
    while not got.endswith(text):
        chunk = sock.recv(1)
        assert chunk, f"closed after {got!r}"
        got += chunk
    return got


def rest(sock):
    """What comes until the other end closes."""
    got = b""
    while chunk := sock.recv(65536):
        got += chunk
    return got


def objects(vm):
    return [(row["name"], row["type"]) for row in vm.command("qom-list", path="/objects")
            if row["type"].startswith("child<monitor")]


def add(vm, **more):
    vm.command("object-add", **{"qom_type": "monitor-qmp", "id": "m", "chardev": "c", **more})


def gone(vm, name="m"):
    """Wait until object @name is no more; each question lets the program's loop turn."""
    for _ in range(100000):
        if name not in [row[0] for row in objects(vm)]:
            return
    raise AssertionError(f"{name} is still there")


# ---- both programs -------------------------------------------------------------------------------

def a_session_comes_and_goes(vm):
    """Twenty times, on one device; what it shows, and that its client sees the end."""
    for turn in range(20):
        add(vm)
        same(objects(vm), [("late", "child<monitor-qmp>"), ("m", "child<monitor-qmp>")])
        with Client("c") as client:
            same(client.command("query-jobs"), [])
            vm.command("object-del", id="m")
            same(rest(client.sock), b"")
        same(objects(vm), [("late", "child<monitor-qmp>")])
        if turn % 2:
            add(vm)
            vm.command("object-del", id="m")


def its_properties_can_be_read(vm):
    add(vm, pretty=True, close_action="delete")
    same({name: vm.command("qom-get", path="m", property=name)
          for name in ("type", "chardev", "pretty", "close-action")},
         {"type": "monitor-qmp", "chardev": "c", "pretty": True, "close-action": "delete"})
    vm.refused("Property 'monitor-qmp.x' not found", "qom-get", path="m", property="x")
    for row in vm.command("qom-list", path="late"):
        vm.command("qom-get", path="late", property=row["name"])
    try:
        vm.command("qom-set", path="m", property="pretty", value=False)
    except QMPError:
        return
    raise AssertionError("a property was set")


def what_cannot_be_is_refused(vm):
    make = {"qom_type": "monitor-qmp", "id": "m"}
    vm.refused('chardev "nope" not found', "object-add", chardev="nope", **make)
    vm.refused("Device 'd' is in use", "object-add", chardev="d", **make)
    vm.refused("Parameter 'chardev' is missing", "object-add", **make)
    add(vm)
    vm.refused("Device 'c' is in use", "object-add", qom_type="monitor-qmp", id="n", chardev="c")
    vm.refused("attempt to add duplicate property 'm' to object (type 'container')", "object-add",
               chardev="c", **make)
    same([name for name, _ in objects(vm)], ["late", "m"])


def pretty_spreads_over_lines(vm):
    add(vm, pretty=True)
    sock = connect("c")
    assert until(sock, b"\r\n}\r\n").startswith(b'{\r\n    "QMP"'), "the greeting is on one line"
    sock.sendall(b'{"execute": "qmp_capabilities"}')
    same(until(sock, b"\r\n}\r\n"), b'{\r\n    "return": {\r\n    }\r\n}\r\n')
    sock.close()


def a_session_deletes_itself(vm):
    """The answer comes, then the end; what was sent after it is not carried out."""
    for _ in range(5):
        add(vm)
        sock = connect("c")
        until(sock, b"\r\n")
        sock.sendall(b'{"execute": "qmp_capabilities"}{"execute": "query-jobs", "id": 1}'
                     b'{"execute": "object-del", "arguments": {"id": "m"}, "id": 2}'
                     b'{"execute": "quit", "id": 3}')
        same([json.loads(line) for line in rest(sock).splitlines()],
             [{"return": {}}, {"return": [], "id": 1}, {"return": {}, "id": 2}])
        sock.close()
        gone(vm)


def a_session_deletes_itself_out_of_band(vm):
    """While a command out of band and one of the queue are about."""
    add(vm)
    sock = connect("c")
    until(sock, b"\r\n")
    sock.sendall(b'{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}')
    same(until(sock, b"\r\n"), b'{"return": {}}\r\n')
    sock.sendall(b'{"execute": "object-del", "arguments": {"id": "m"}, "id": 1}'
                 b'{"exec-oob": "query-jobs", "id": 2}')
    answers = {row["id"]: row for row in map(json.loads, rest(sock).splitlines())}
    same(answers[1], {"return": {}, "id": 1})
    same(answers.get(2, {"return": [], "id": 2}), {"return": [], "id": 2})
    gone(vm)


def a_busy_session_is_deleted(vm):
    """Every answer it gives is whole, in order, and then it is closed."""
    for _ in range(5):
        add(vm)
        sock = connect("c")
        until(sock, b"\r\n")
        sock.sendall(b'{"execute": "qmp_capabilities"}' + b"".join(
            b'{"execute": "query-commands", "id": %d}' % n for n in range(40)))
        until(sock, b'"id": 0}\r\n')
        vm.command("object-del", id="m")
        answers = rest(sock)
        assert answers == b"" or answers.endswith(b"\r\n"), answers[-80:]
        same([json.loads(line)["id"] for line in answers.splitlines()],
             list(range(1, 1 + len(answers.splitlines()))))
        sock.close()
        vm.command("query-jobs")


def who_does_not_read_is_closed_all_the_same(vm):
    """A second after the deletion nobody waits for the client any more."""
    add(vm)
    sock = connect("c")
    until(sock, b"\r\n")
    sock.setblocking(False)
    ask = b'{"execute": "qmp_capabilities"}' + b'{"execute": "query-qmp-schema"}' * 100
    try:
        while select.select([], [sock], [], 0.2)[1]:
            ask = ask[sock.send(ask):] or b'{"execute": "query-qmp-schema"}' * 100
    except BlockingIOError:
        pass
    vm.command("object-del", id="m")
    same([name for name, _ in objects(vm)], ["late"])
    for _ in range(100000):
        try:
            add(vm)
            break
        except QMPError as error:
            same(error.desc, "Device 'c' is in use")
    sock.close()
    same([name for name, _ in objects(vm)], ["late", "m"])
    with Client("c") as client:
        same(client.command("query-jobs"), [])


def close_action_says_what_comes_of_it(vm):
    add(vm, close_action="none")
    with Client("c") as client:
        client.command("query-jobs")
    with Client("c") as client:
        client.command("object-del", id="m")
    for _ in range(10):
        add(vm, close_action="delete")
        with Client("c") as client:
            client.command("query-jobs")
            same(len(objects(vm)), 2)
        gone(vm)
    add(vm, close_action="delete")
    sock = connect("c")
    sock.sendall(b'{"execute": "qmp_capabilities"}' + b'{"execute": "query-commands"}' * 20)
    sock.close()
    gone(vm)


def the_command_line_makes_one(vm):
    """Whatever the order of options; and the program ends with sessions that are open."""
    with Client("d") as client:
        same(client.command("query-jobs"), [])
        client.command("object-del", id="late")
    same(objects(vm), [])
    add(vm)
    connect("c").close()
    vm.clients = [Client("c")]


# ---- programs that differ ------------------------------------------------------------------------

def the_daemon_has_none_for_people(vm):
    vm.refused("Object type 'monitor-hmp' is not available in this program", "object-add",
               qom_type="monitor-hmp", id="m", chardev="c")


def people_have_one(vm):
    hmp = {"qom_type": "monitor-hmp", "chardev": "c"}
    for turn in range(20):
        add(vm, readline=bool(turn % 2), **hmp)
        same(vm.command("qom-get", path="m", property="readline"), bool(turn % 2))
        sock = connect("c")
        until(sock, b"(qemu) ")
        sock.sendall(b"info versionX\x08\n" if turn % 2 else b"info version\n")
        until(sock, b"\r\n(qemu) ")
        if turn % 4 < 2:
            vm.command("object-del", id="m")
        else:
            sock.sendall(b"object_del m\nquit\n")
        rest(sock)
        sock.close()
        gone(vm)
    vm.refused('chardev "nope" not found', "object-add", qom_type="monitor-hmp", id="m",
               chardev="nope")
    vm.refused("Device 'd' is in use", "object-add", qom_type="monitor-hmp", id="m", chardev="d")
    same(vm.hmp("object_add monitor-hmp,id=m,chardev=c,readline=off"), "")
    same(vm.hmp("object_del m"), "")


def a_shared_terminal_goes_to_the_next(vm):
    add(vm, qom_type="monitor-hmp", chardev="shared", id="first")
    add(vm, qom_type="monitor-hmp", chardev="shared", id="last")
    sock = connect("shared")
    until(sock, b"(qemu) ")
    sock.sendall(b"object_del last\n")
    until(sock, b"(qemu) ")
    sock.sendall(b"info version\n")
    until(sock, b"e2k block layer\r\n(qemu) ")
    vm.command("object-del", id="first")
    add(vm, qom_type="monitor-hmp", chardev="shared", id="new")
    until(sock, b"(qemu) ")
    sock.sendall(b"info version\n")
    until(sock, b"e2k block layer\r\n(qemu) ")
    sock.close()


BOTH = [a_session_comes_and_goes, its_properties_can_be_read, what_cannot_be_is_refused,
        pretty_spreads_over_lines, a_session_deletes_itself, a_session_deletes_itself_out_of_band,
        a_busy_session_is_deleted, who_does_not_read_is_closed_all_the_same,
        close_action_says_what_comes_of_it, the_command_line_makes_one]


def main():
    tap = Tap()

    def go(area, case, dashes, program, words=()):
        def call():
            args = [f"{dashes}object", LATE]
            for name in ("c", "d"):
                args += [f"{dashes}chardev", f"socket,id={name},path={name},server=on,wait=off"]
            with Vm(*words, *args, program=program) as vm:
                case(vm)
        run_one(tap, case_name(area, case), call)

    skip_unless("qemu-storage-daemon")
    for case in BOTH + [the_daemon_has_none_for_people]:
        go("monitor-objects/daemon", case, "--", "qemu-storage-daemon")
    for case in BOTH + [people_have_one, a_shared_terminal_goes_to_the_next] if have(EMULATOR) else []:
        go("monitor-objects/emulator", case, "-", EMULATOR,
           MACHINE + ("-chardev", "socket,id=shared,path=shared,server=on,wait=off,mux=on"))
    sys.exit(tap.finish())


main()
