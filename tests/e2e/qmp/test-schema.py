#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""query-qmp-schema against what management software expects (contract/schema.json).

What is absent must be in contract/MISSING, which docs/STATUS.md refers to, and nothing may be
listed there that is present: the list is exact.  What we have beyond the contract is no fault."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))

from qmptest import Tap, Vm, have  # noqa: E402

HERE = os.path.dirname(os.path.realpath(__file__))
PROGRAMS = {"system": "qemu-system-e2k", "qsd": "qemu-storage-daemon"}
BUILTINS = {"int": "int", "int8": "int", "int16": "int", "int32": "int", "int64": "int",
            "uint8": "int", "uint16": "int", "uint32": "int", "uint64": "int", "size": "int",
            "str": "string", "bool": "boolean", "number": "number", "null": "null",
            "any": "value"}


class Comparison:
    """One program's schema, walked along the contract."""

    def __init__(self, contract, schema, program):
        self.contract, self.program = contract, program
        self.schema = {row["name"]: row for row in schema}
        self.missing = set()
        self.seen = set()

    def miss(self, what):
        self.missing.add(what)

    def wanted(self, member):
        return member.get("only", self.program) == self.program

    def commands(self):
        for name, wanted in self.contract["commands"].items():
            if self.program not in wanted["in"]:
                continue
            row = self.schema.get(name)
            if not row or row["meta-type"] != "command":
                self.miss(f"command {name}")
                continue
            if "args-type" in wanted:
                self.type(wanted["args-type"], row["arg-type"])
            else:
                self.members(name, wanted.get("args") or {}, self.schema[row["arg-type"]])
            if wanted.get("returns"):
                self.type(wanted["returns"], row["ret-type"])

    def events(self):
        for name, wanted in self.contract["events"].items():
            if self.program not in wanted["in"]:
                continue
            row = self.schema.get(name)
            if not row or row["meta-type"] != "event":
                self.miss(f"event {name}")
                continue
            self.members(name, wanted.get("data") or {}, self.schema[row["arg-type"]])

    def members(self, owner, wanted, row):
        """The members of a struct or of arguments."""
        present = {member["name"]: member for member in row.get("members", [])}
        for name, member in wanted.items():
            if not self.wanted(member):
                continue
            if name not in present:
                self.miss(f"member {owner}.{name}")
                continue
            if bool(member.get("optional")) != ("default" in present[name]):
                self.miss(f"optional {owner}.{name}")
            self.type(member["type"], present[name]["type"])

    def type(self, name, key):
        """Contract type @name against the schema's type @key."""
        row = self.schema[key]
        if isinstance(name, list):
            if row["meta-type"] != "array":
                self.miss(f"array of {name[0]}")
                return
            self.type(name[0], row["element-type"])
            return
        if (name, key) in self.seen:
            return
        self.seen.add((name, key))
        if name in BUILTINS:
            # A member may take more than the contract says, as long as that is one way.
            if row["meta-type"] == "alternate":
                ways = [self.schema[member["type"]] for member in row["members"]]
                if any(way.get("json-type") == BUILTINS[name] for way in ways):
                    return
            if row.get("json-type") != BUILTINS[name]:
                self.miss(f"builtin {name} is {row.get('json-type') or row['meta-type']}")
            return
        for kind in ("enums", "structs", "unions", "alternates"):
            if name in self.contract[kind]:
                getattr(self, kind)(name, self.contract[kind][name], row)
                return

    def enums(self, name, wanted, row):
        values = set(row.get("values", []))
        for value in wanted["values"]:
            if value not in values:
                self.miss(f"value {name}.{value}")

    def structs(self, name, wanted, row):
        self.members(name, wanted["members"], row)

    def unions(self, name, wanted, row):
        self.members(name, wanted["common"], row)
        variants = {variant["case"]: variant["type"] for variant in row.get("variants", [])}
        if row.get("tag") != wanted["discriminator"]:
            self.miss(f"discriminator {name}.{wanted['discriminator']}")
        for value, branch in wanted["branches"].items():
            if not branch:
                continue
            if value not in variants:
                self.miss(f"branch {name}.{value}")
            else:
                self.type(branch, variants[value])

    def alternates(self, name, wanted, row):
        kinds = {}
        for member in row.get("members", []):
            row = self.schema[member["type"]]
            kinds[row.get("json-type", row["meta-type"])] = member["type"]
        for branch in wanted.values():
            if not isinstance(branch, str):
                continue
            kind = BUILTINS.get(branch) or ("enum" if branch in self.contract["enums"] else
                                            "object")
            if kind not in kinds:
                self.miss(f"alternative {name}.{branch}")
            else:
                self.type(branch, kinds[kind])


def listed():
    """The lines of MISSING: program and what it lacks."""
    with open(os.path.join(HERE, "contract/MISSING"), encoding="utf-8") as lines:
        return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def main():
    tap = Tap()
    with open(os.path.join(HERE, "contract/schema.json"), encoding="utf-8") as source:
        contract = json.load(source)
    found, compared = set(), set()
    for program, binary in PROGRAMS.items():
        if not have(binary):
            tap.skip(f"/schema/{program}", f"{binary} is not built")
            continue
        machine = ["-M", "none", "-display", "none"] if program == "system" else []
        with Vm(*machine, program=binary) as vm:
            comparison = Comparison(contract, vm.command("query-qmp-schema"), program)
        comparison.commands()
        comparison.events()
        found |= {f"{program}: {what}" for what in comparison.missing}
        compared.add(program)
    if "--print" in sys.argv:
        print("\n".join(sorted(found)))
        return 0
    known = {line for line in listed() if line.split(":")[0] in compared}
    for program in sorted(compared):
        absent = sorted(line for line in found - known if line.startswith(program))
        surplus = sorted(line for line in known - found if line.startswith(program))
        tap.ok(not absent, f"/schema/{program}/nothing-is-absent-unlisted", "\n".join(absent))
        tap.ok(not surplus, f"/schema/{program}/nothing-is-listed-that-is-there",
               "\n".join(surplus))
    return tap.finish()


sys.exit(main())
