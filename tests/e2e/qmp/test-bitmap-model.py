#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Random operations on dirty bitmaps against a model of them, through clean restarts and kills.

$TEST_SEED and $ROUNDS (a factor) are heeded."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from imgtest import must  # noqa: E402
from nbdtest import NbdClient  # noqa: E402
from qmptest import MiB, Vm, make_qcow2, run_alone, same  # noqa: E402
import seeds                                              # noqa: E402

SIZE = 4 * MiB
CONTEXT = "qemu:dirty-bitmap:"


class Bitmap:
    """What a bitmap of node a or b must be."""

    def __init__(self, granularity, persistent, recording):
        self.granularity, self.persistent, self.recording = granularity, persistent, recording
        self.bits = set()
        self.stored = False        # the image has it since it was opened
        self.inconsistent = False

    def mark(self, offset, length):
        self.bits |= set(range(offset // self.granularity,
                               (offset + length - 1) // self.granularity + 1))

    def ranges(self):
        """Merged (offset, length) of what is dirty."""
        result = []
        for bit in sorted(self.bits):
            start = bit * self.granularity
            if result and sum(result[-1]) == start:
                result[-1] = (result[-1][0], result[-1][1] + self.granularity)
            else:
                result.append((start, self.granularity))
        return result


class World:
    """The program, its image, and the model of both."""

    def __init__(self, rng):
        self.rng, self.names, self.models = rng, 0, {"a": {}, "b": {}}
        make_qcow2("a.qcow2")
        self.start()

    def start(self):
        self.vm = Vm()
        self.vm.__enter__()
        self.open()
        self.vm.null("b", SIZE)
        self.models["b"] = {}

    def open(self):
        self.vm.add("a", "qcow2", file={"driver": "file", "filename": "a.qcow2"})
        self.vm.command("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})

    def close(self):
        self.vm.command("nbd-server-stop")
        self.vm.command("blockdev-del", node_name="a")

    def pick(self, node="a", sound=True):
        """The name of a bitmap, or None."""
        names = [name for name, bitmap in self.models[node].items()
                 if not (sound and bitmap.inconsistent)]
        return self.rng.choice(names) if names else None

    # ---- operations ----

    def add(self):
        node = self.rng.choice("aab")
        if len(self.models[node]) >= 6:
            return
        self.names += 1
        bitmap = Bitmap(1 << self.rng.randrange(12, 18), node == "a" and self.rng.random() < .7,
                        self.rng.random() < .7)
        self.vm.command("block-dirty-bitmap-add", node=node, name=f"m{self.names}",
                        granularity=bitmap.granularity, persistent=bitmap.persistent,
                        disabled=not bitmap.recording)
        self.models[node][f"m{self.names}"] = bitmap

    def remove(self):
        name = self.pick(sound=False)
        if name and self.rng.random() < .5:
            self.vm.command("block-dirty-bitmap-remove", node="a", name=name)
            del self.models["a"][name]

    def clear(self):
        name = self.pick()
        if name:
            self.vm.command("block-dirty-bitmap-clear", node="a", name=name)
            self.models["a"][name].bits = set()

    def switch(self):
        name = self.pick()
        if name:
            on = self.rng.random() < .6
            self.vm.command(f"block-dirty-bitmap-{'enable' if on else 'disable'}", node="a",
                            name=name)
            self.models["a"][name].recording = on

    def merge(self):
        target = self.pick()
        sources = [(node, self.pick(node)) for node in self.rng.choices("aab", k=3)]
        sources = [(node, name) for node, name in sources if name]
        if not target or not sources:
            return
        self.vm.command("block-dirty-bitmap-merge", node="a", target=target,
                        bitmaps=[{"node": node, "name": name} for node, name in sources])
        for node, name in sources:
            for offset, length in self.models[node][name].ranges():
                self.models["a"][target].mark(offset, length)

    def transaction(self):
        """Swap: what is clear begins to record where the other one stops; or nothing at all."""
        old, new = self.pick(), self.pick()
        if not old or old == new:
            return
        actions = [{"type": f"block-dirty-bitmap-{verb}", "data": {"node": "a", "name": name}}
                   for verb, name in (("disable", old), ("clear", new), ("enable", new))]
        if self.rng.random() < .4:
            actions.append({"type": "block-dirty-bitmap-clear",
                            "data": {"node": "a", "name": "nope"}})
            self.vm.refused("Dirty bitmap 'nope' not found", "transaction", actions=actions)
            return
        self.vm.command("transaction", actions=actions)
        self.models["a"][old].recording = False
        self.models["a"][new].recording, self.models["a"][new].bits = True, set()

    def write(self):
        node = self.rng.choice("aaab")
        self.vm.command("block-export-add", type="nbd", id="w", node_name=node, name="w",
                        writable=True)
        with NbdClient("s", "w") as guest:
            for _ in range(self.rng.randrange(1, 5)):
                offset = self.rng.randrange(SIZE // 512) * 512
                length = min(SIZE - offset, 512 * self.rng.randrange(1, 300))
                guest.write(offset, b"w" * length)
                for bitmap in self.models[node].values():
                    if bitmap.recording and not bitmap.inconsistent:
                        bitmap.mark(offset, length)
        self.end_export("w")

    def reopen(self):
        self.close()
        self.models["a"] = {n: b for n, b in self.models["a"].items() if b.persistent}
        for bitmap in self.models["a"].values():
            bitmap.stored = True
        if self.rng.random() < .3:
            self.vm.__exit__(None, None, None)
            must("qemu-img", "check", "a.qcow2")
            self.start()
        else:
            self.open()

    def kill(self):
        """Afterwards a bitmap that the image had is right, or known to be wrong."""
        self.vm.process.kill()
        self.vm.__exit__(RuntimeError)
        self.start()
        there = {row["name"]: row for row in self.vm.nodes()["a"].get("dirty-bitmaps", [])}
        models = {}
        for name, bitmap in self.models["a"].items():
            if name not in there:
                assert not bitmap.stored, f"bitmap {name} is lost"
                continue
            bitmap.inconsistent |= there[name].get("inconsistent", False)
            bitmap.stored = True
            models[name] = bitmap
        self.models["a"] = models

    # ---- what must hold ----

    def end_export(self, exp_id):
        self.vm.command("block-export-del", id=exp_id, mode="hard")
        self.vm.wait_event("BLOCK_EXPORT_DELETED", id=exp_id)

    def check(self):
        for node, models in self.models.items():
            rows = {row["name"]: row for row in self.vm.nodes()[node].get("dirty-bitmaps", [])}
            same(sorted(rows), sorted(models))
            for name, bitmap in models.items():
                row = rows[name]
                same((name, row.get("inconsistent", False), row["persistent"], row["busy"]),
                     (name, bitmap.inconsistent, bitmap.persistent, False))
                if not bitmap.inconsistent:
                    same((name, row["granularity"], row["recording"], row["count"]),
                         (name, bitmap.granularity, bitmap.recording,
                          sum(length for _, length in bitmap.ranges())))
            self.check_bits(node, [n for n, bitmap in models.items() if not bitmap.inconsistent])

    def check_bits(self, node, names):
        if not names:
            return
        self.vm.command("block-export-add", type="nbd", id="c", node_name=node, name="c",
                        writable=True, bitmaps=names)
        with NbdClient("s", "c", contexts=[CONTEXT + name for name in names]) as client:
            for context, runs in client.status(0, SIZE).items():
                at, dirty = 0, []
                for length, number in runs:
                    dirty += [(at, length)] if number else []
                    at += length
                same((context, dirty),
                     (context, self.models[node][context[len(CONTEXT):]].ranges()))
        self.end_export("c")


def random_operations():
    world = World(seeds.rng())
    try:
        operations = [(World.add, 6), (World.remove, 3), (World.clear, 3), (World.switch, 5),
                      (World.merge, 5), (World.transaction, 3), (World.write, 10),
                      (World.reopen, 4), (World.kill, 2)]
        for _ in range(int(120 * float(os.environ.get("ROUNDS", 1)))):
            operation, = world.rng.choices([op for op, _ in operations],
                                           [weight for _, weight in operations])
            operation(world)
            world.check()
    finally:
        world.vm.__exit__(*sys.exc_info())
    must("qemu-img", "check", "a.qcow2")


run_alone("bitmap-model", [random_operations])
