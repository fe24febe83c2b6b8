#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients that behave badly: the daemon answers what can be answered and serves all others."""

import json
import os
import select
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import PATIENCE  # noqa: E402
from nbdtest import NbdClient  # noqa: E402
from qmptest import MiB, Vm, run, same  # noqa: E402
import seeds                            # noqa: E402

READY = b'{"execute": "qmp_capabilities"}\n'


def connect(path="m"):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE)
    sock.connect(path)
    return sock


class Raw:
    """A connection on which anything can be said."""

    def __init__(self, path="m"):
        self.sock = connect(path)
        self.file = self.sock.makefile("rb")
        assert b"QMP" in self.file.readline()
        self.say(READY)
        same(self.answer(), {"return": {}})

    def say(self, data):
        self.sock.sendall(data)

    def answer(self):
        """The next object that is no event."""
        while True:
            line = self.file.readline()
            if not line:
                raise ConnectionError("closed")
            obj = json.loads(line)
            if "event" not in obj:
                return obj

    def works(self):
        self.say(b'{"execute": "query-version", "id": "w"}\n')
        while True:
            answer = self.answer()
            if answer.get("id") == "w":
                assert "return" in answer, answer
                return

    def close(self):
        self.file.close()
        self.sock.close()


def broken_text_gets_an_error_and_no_more(vm):
    client = Raw()
    for text in (b"}", b"]", b'{"execute":}', b'{"a" "b"}', b"nonsense", b'{"execute": "\xff\xfe"}',
                 b'{"execute": "\xc0\x80"}', b'{"execute": "\xed\xa0\x80"}', b'"\\ud800"',
                 b'{"execute": "a\x00b"}', b'{"execute": "x", "execute": "y"}', b"1e999999",
                 b"-", b'"\\q"', b"{'a': \"b'}"):
        client.say(text + b"\n\xff")  # 0xff: a client that starts anew
        assert "error" in client.answer(), text
        client.works()
    client.close()


def depth_and_size_are_limited(vm):
    client = Raw()
    for text in (b"[" * 100000, b'{"a":' * 2000 + b"1" + b"}" * 2000):
        client.say(text + b"\n\xff")
        client.works()
    # A string of 80 MiB is more than a token may have; what comes behind it is understood.
    client.say(b'{"execute": "')
    block = b"x" * MiB
    for _ in range(80):
        client.say(block)
    client.say(b'"}\n\xff')
    client.works()
    client.close()


def bytes_may_come_one_by_one(vm):
    client = Raw()
    for byte in b'{"execute": "query-version", "id": {"\xc3\xa4": [1, "\\u20ac"]}}\n':
        client.say(bytes([byte]))
    same(client.answer()["id"], {"ä": [1, "€"]})
    client.close()


def a_thousand_commands_are_answered_in_order(vm):
    client = Raw()
    vm.null("n")
    lines = [json.dumps({"execute": "query-named-block-nodes" if n % 10 == 0 else "query-version",
                         "id": n}) for n in range(1000)]
    sender = threading.Thread(target=client.say, args=("".join(lines).encode(),))
    sender.start()
    for number in range(1000):
        same(client.answer()["id"], number)
    sender.join()
    client.close()


def clients_go_in_the_middle(vm):
    vm.null("n")
    for n in range(30):
        client = Raw()
        # Replies that nobody takes, and half a request.
        client.say(b'{"execute": "query-qmp-schema"}' * (n % 7) + b'{"execute": "quer')
        client.close()
    Raw().close()
    same([node for node in vm.nodes()], ["n"])


def one_client_after_another(vm):
    """While one is served the next waits, and starts with its own greeting."""
    first = Raw()
    second = connect()
    first.works()
    first.close()
    assert b"QMP" in second.recv(4096)
    second.close()


def storage_that_hangs_holds_up_nobody(vm):
    """A request takes seconds; who asks for something else has the answer before that one comes."""
    vm.add("slow", "blkdebug", image={"driver": "null-co", "latency-ns": 4 * 10**9, "size": MiB})
    client = Raw()
    client.say(b'{"execute": "block_resize", "arguments": {"node-name": "slow", "size": 4096}}\n')
    client.say(b'{"execute": "blockdev-del", "arguments": {"node-name": "slow"}, "id": 2}\n')
    same(client.answer()["error"]["desc"], "Image format driver does not support resize")
    for name in ("query-block-jobs", "query-named-block-nodes", "query-block-exports", "query-jobs",
                 "query-block-blockers", "x-debug-query-block-graph", "query-blockstats"):
        vm.command(name)
    same(select.select([client.sock], [], [], 0)[0], [])
    same(client.answer(), {"return": {}, "id": 2})
    client.close()


def a_silent_client_does_not_stop_the_data(vm):
    """Events of a client that does not read are kept, then it is dropped; NBD goes on."""
    vm.null("n", size=16 * MiB)
    client = Raw()
    vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    vm.command("block-export-add", type="nbd", id="e", node_name="n", writable=True)
    client.say(b'{"execute": "query-qmp-schema"}' * 200)  # 40 MB of answers that nobody takes
    with NbdClient("s", "n") as disk:
        for n in range(200):
            disk.write(n * 4096, b"x" * 4096)
    for n in range(200):
        vm.command("object-add", qom_type="throttle-group", id=f"g{n}")
        vm.command("object-del", id=f"g{n}")
    client.close()


VOICES = 12


class Voice(threading.Thread):
    """A client of its own monitor that makes and deletes nodes, its bytes cut at random."""

    def __init__(self, number, nodes):
        super().__init__()
        self.number, self.nodes, self.error = number, nodes, None
        self.rng = seeds.rng(number)

    def requests(self):
        for n in range(self.nodes):
            name = f"v{self.number}-{n}"
            yield {"execute": "blockdev-add", "arguments": {
                "driver": "null-co", "node-name": name}, "id": f"add {name}"}
            yield {"execute": "query-named-block-nodes", "arguments": {"flat": True},
                   "id": f"query {name}"}
            yield {"execute": "blockdev-del", "arguments": {"node-name": name},
                   "id": f"del {name}"}

    def talk(self):
        client = Raw(f"m{self.number}")
        text = "".join(map(json.dumps, self.requests())).encode()
        sender = threading.Thread(target=self.cut, args=(client, text))
        sender.start()
        for request in self.requests():
            answer = client.answer()
            same((answer["id"], "return" in answer), (request["id"], True))
        sender.join()
        client.close()

    def cut(self, client, text):
        while text:
            size = self.rng.choice((1, 7, 100, 3000))
            client.say(text[:size])
            text = text[size:]

    def run(self):
        try:
            self.talk()
        except Exception as error:  # pylint: disable=broad-except
            self.error = error


def many_clients_talk_at_once(vm):
    """Each has its own answers, in its own order."""
    with Vm(*(word for n in range(VOICES) for word in (
            "--chardev", f"socket,id=m{n},path=m{n},server=on,wait=off", "--monitor",
            f"m{n}"))) as crowd:
        voices = [Voice(n, 30) for n in range(VOICES)]
        for voice in voices:
            voice.start()
        for voice in voices:
            voice.join()
            assert not voice.error, voice.error
        same(crowd.nodes(), {})


def clients_go_in_the_middle_of_a_reply(vm):
    """They read a part of a long answer, and of the events, and are gone."""
    vm.null("n")
    vm.null("t")
    for size in (0, 1, 4096, 200000):
        client = Raw()
        client.say(b'{"execute": "query-qmp-schema"}\n' * 3)
        left = size
        while left:
            left -= len(client.sock.recv(left))
        vm.command("blockdev-backup", job_id="j", device="n", target="t", sync="full")
        client.close()
        vm.wait_event("BLOCK_JOB_COMPLETED", device="j")
    Raw().close()
    same(vm.command("query-jobs"), [])


run("robustness", [
    many_clients_talk_at_once, clients_go_in_the_middle_of_a_reply,
    broken_text_gets_an_error_and_no_more, depth_and_size_are_limited, bytes_may_come_one_by_one,
    a_thousand_commands_are_answered_in_order, clients_go_in_the_middle, one_client_after_another,
    storage_that_hangs_holds_up_nobody, a_silent_client_does_not_stop_the_data,
], args=("--chardev", "socket,id=m,path=m,server=on,wait=off", "--monitor", "m"))
