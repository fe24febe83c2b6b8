# SPDX-License-Identifier: GPL-2.0-or-later
"""The assembler proper: one pass gives every item its address, then everything is encoded.

Sizes never depend on labels that come later: a literal whose value is unknown when its bundle is
met takes 32 bits.
"""

import re
import struct
from collections import ChainMap

from . import expr, ops
from . import operands as o
from .errors import AsmError
from .source import Reader

DATA_SIZES = {".byte": 1, ".half": 2, ".word": 4, ".quad": 8}
IMAGE_LIMIT = 1 << 30


class Chunk:
    """Consecutive bytes from one .org on."""

    def __init__(self, address):
        self.address = address
        self.data = bytearray()


class Assembler:
    """Source files in, chunks and symbols out."""

    def __init__(self, table, version=4, include_dirs=(), defines=None):
        self.table, self.version = table, version
        self.symbols = dict(defines or {})
        self.aliases = {}
        self.variables = {}             # what .set defined, with the value of the moment
        self.items = []                 # (address, place, kind, payload)
        self.address = 0
        self.local_count = {}
        self.group = None
        self.group_place = None
        self.entry = None
        self.reader = Reader(self._condition, include_dirs)

    # ---- first pass ---------------------------------------------------------------------------
    def read(self, path):
        """Take in one file."""
        for kind, text, place in self.reader.file(path):
            try:
                self._element(kind, text, place)
            except AsmError as error:
                raise AsmError(error.message, error.place or place) from None
        if self.group is not None:
            raise AsmError("this bundle is not closed", self.group_place)

    def _element(self, kind, text, place):
        if kind == "open":
            if self.group is not None:
                raise AsmError("'{' inside a bundle")
            self.group, self.group_place = [], place
        elif kind == "close":
            if self.group is None:
                raise AsmError("'}' without '{'")
            group, self.group = self.group, None
            self._bundle(group or [("nop", self.group_place)], self.group_place)
        elif kind == "label":
            if self.group is not None:
                raise AsmError("a label inside a bundle")
            self._label(text)
        elif text.startswith("."):
            self._directive(text, place)
        elif self.group is not None:
            self.group.append((self._unalias(text), place))
        else:
            self._bundle([(self._unalias(text), place)], place)

    def _unalias(self, text):
        if not self.aliases:
            return text
        return re.sub(r"(?<![\w.%$@#])([A-Za-z_]\w*)(?![\w.(])",
                      lambda m: self.aliases.get(m.group(1), m.group(0)), text)

    def _bundle(self, statements, place):
        if self.address % 8:
            raise AsmError("code must start on an 8-byte boundary; use .align 8", place)
        context = ops.Context(self.table, self.version, self.symbols, self._expression)
        bundle = ops.build(statements, context)
        self._item(place, "bundle", bundle, bundle.layout(self.symbols))

    def _item(self, place, kind, payload, size):
        self.items.append((self.address, place, kind, payload))
        self.address += size

    def _define(self, name, value):
        if name in self.symbols:
            raise AsmError(f"'{name}' is defined twice")
        self.symbols[name] = value

    def _label(self, name):
        if name.isdigit():
            self.local_count[name] = self.local_count.get(name, 0) + 1
            name = f"{name}#{self.local_count[name]}"
        self._define(name, self.address)

    def _local(self, reference):
        name = reference[:-1]
        count = self.local_count.get(name, 0)
        if reference[-1] == "f":
            return f"{name}#{count + 1}"
        if not count:
            raise AsmError(f"there is no label '{name}:' before this")
        return f"{name}#{count}"

    def _expression(self, text):
        return expr.parse(text, self.address, self._local, self.variables)

    def _condition(self, text, place):
        try:
            return self._expression(text).value(self.symbols)
        except AsmError as error:
            raise AsmError(error.message, place) from None

    # ---- directives ---------------------------------------------------------------------------
    def _directive(self, text, place):
        word, _, rest = text.replace("\t", " ").partition(" ")
        rest = rest.strip()
        if self.group is not None:
            raise AsmError(f"{word} inside a bundle")
        if word in DATA_SIZES:
            values = [self._expression(part) for part in o.split_commas(rest)]
            size = DATA_SIZES[word]
            self._item(place, "data", (size, values), size * len(values))
        elif word in (".ascii", ".asciz"):
            data = self._string(rest) + (b"\0" if word == ".asciz" else b"")
            self._item(place, "bytes", data, len(data))
        elif word in (".equ", ".set"):
            name, comma, value = rest.partition(",")
            name = name.strip()
            if not comma or not re.fullmatch(r"[A-Za-z_.$][\w.$]*", name):
                raise AsmError(f"{word} takes a name and a value")
            self._assign(word, name, self._expression(value))
        elif word == ".reg":
            self._alias(rest)
        elif word == ".entry":
            self.entry = (self._expression(rest), place)
        elif word in (".org", ".align", ".space"):
            self._move(word, rest, place)
        else:
            raise AsmError(f"unknown directive '{word}'")

    def _assign(self, word, name, expression):
        if word == ".equ":
            known = expression.try_value(self.symbols)
            self._define(name, expression if known is None else known)
            return
        if name in self.symbols and name not in self.variables:
            raise AsmError(f"'{name}' is defined twice")
        self.symbols[name] = self.variables[name] = expression.value(self.symbols)

    def _alias(self, rest):
        name, _, register = rest.partition(",")
        name, register = name.strip(), register.strip()
        if not re.fullmatch(r"[A-Za-z_]\w*", name) or name in self.table or name in ops.CONTROL:
            raise AsmError(f"'{name}' cannot name a register")
        if not re.fullmatch(r"%[\w.]+(\[\d+\])?", register):
            raise AsmError(f"'{register}' is not a register")
        self.aliases[name] = register

    def _move(self, word, rest, place):
        value = self._expression(rest).value(self.symbols)
        if word == ".org":
            if value < self.address and self.items:
                raise AsmError(f".org goes back from {self.address:#x} to {value:#x}")
            self.address = value
            return
        if word == ".align":
            if value <= 0 or value & (value - 1):
                raise AsmError(".align takes a power of two")
            value = -self.address % value
        if not 0 <= value <= IMAGE_LIMIT:
            raise AsmError(f"{word} {rest} is out of range")
        if value:
            self._item(place, "bytes", bytes(value), value)

    @staticmethod
    def _string(text):
        m = re.fullmatch(r'"((?:\\.|[^"\\])*)"', text)
        if not m:
            raise AsmError(f"{text} is not a string")

        def escape(e):
            ch = e.group(1)
            if ch[0] == "x":
                return chr(int(ch[1:], 16))
            if ch not in expr.ESCAPES:
                raise AsmError(f"unknown escape '\\{ch}'")
            return chr(expr.ESCAPES[ch])
        plain = re.sub(r"\\(x[0-9a-fA-F]{2}|.)", escape, m.group(1))
        try:
            return plain.encode("latin-1")
        except UnicodeEncodeError:
            raise AsmError("a string holds only characters of one byte") from None

    # ---- second pass --------------------------------------------------------------------------
    def assemble(self):
        """Encode everything; returns the chunks in address order."""
        chunks = []
        for address, place, kind, payload in self.items:
            try:
                data = self._encode(address, kind, payload)
            except AsmError as error:
                raise AsmError(error.message, error.place or place) from None
            last = chunks[-1] if chunks else None
            if last is None or last.address + len(last.data) != address:
                last = Chunk(address)
                chunks.append(last)
            last.data += data
        if sum(len(chunk.data) for chunk in chunks) > IMAGE_LIMIT:
            raise AsmError("the image is too large")
        return chunks

    def _encode(self, address, kind, payload):
        if kind == "bytes":
            return payload
        if kind == "bundle":
            words = payload.words(address, ChainMap({}, self.symbols))
            return struct.pack(f"<{len(words)}I", *words)
        size, values = payload
        data = b""
        for value in values:
            number = value.value(self.symbols)
            if not -(1 << (8 * size - 1)) <= number < 1 << (8 * size):
                raise AsmError(f"{value.text} = {number:#x} does not fit {size} bytes")
            data += (number % (1 << (8 * size))).to_bytes(size, "little")
        return data

    def entry_address(self, chunks):
        """Where .entry, '_start' or the first byte is."""
        if self.entry:
            expression, place = self.entry
            try:
                return expression.value(self.symbols)
            except AsmError as error:
                raise AsmError(error.message, place) from None
        start = self.symbols.get("_start")
        return start if isinstance(start, int) else chunks[0].address
