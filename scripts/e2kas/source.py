# SPDX-License-Identifier: GPL-2.0-or-later
"""From files to statements: comments, braces, .include, .macro, .if, .rept.

Reader yields ("statement", text, place), ("open", ...), ("close", ...) with macros expanded.
"""

import os
import re

from . import operands as o
from .errors import AsmError

NAME = re.compile(r"[A-Za-z_.$][\w.$]*")
MAX_DEPTH = 64
MAX_STATEMENTS = 4_000_000


def strip_comments(text):
    """Blank out // and /* */ outside quotes, keeping the line structure."""
    pattern = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\''
                         r'|//[^\n]*|/\*.*?(?:\*/|\Z)', re.S)

    def blank(m):
        return m.group(0) if m.group(0)[0] in "\"'" else re.sub(r"[^\n]", " ", m.group(0))
    return pattern.sub(blank, text)


def split_line(line):
    """The statements and braces of one line."""
    parts, start, quote, i = [], 0, None, 0
    while i < len(line):
        ch = line[i]
        if quote:
            if ch == "\\":
                i += 1
            elif ch == quote:
                quote = None
        elif ch == '"':
            quote = ch
        elif ch == "'" and re.match(r"'(\\.|[^'\\])'", line[i:i + 4]):
            i += 3 if line[i + 1] == "\\" else 2
        elif ch in ";{}":
            parts.append(line[start:i].strip())
            if ch != ";":
                parts.append(ch)
            start = i + 1
        i += 1
    if quote:
        raise AsmError("a string is not closed")
    parts.append(line[start:].strip())
    return [part for part in parts if part]


class Macro:
    """A named body with parameters."""

    def __init__(self, name, text):
        self.name = name
        self.body = []
        self.params = []
        for param in o.split_commas(text):
            pname, eq, default = (part.strip() for part in param.partition("="))
            if not NAME.fullmatch(pname):
                raise AsmError(f"'{pname}' cannot name a macro parameter")
            self.params.append((pname, default if eq else None))

    def expand(self, text, serial):
        """The body's lines with the parameters filled in."""
        given = o.split_commas(text)
        if len(given) > len(self.params):
            raise AsmError(f"macro '{self.name}' takes {len(self.params)} arguments, "
                           f"not {len(given)}")
        values = {"@": str(serial)}
        for i, (pname, default) in enumerate(self.params):
            value = given[i] if i < len(given) and given[i] else default
            if value is None:
                raise AsmError(f"macro '{self.name}' needs the argument '{pname}'")
            values[pname] = value

        def replace(m):
            name = m.group(1)
            return "" if name == "()" else values.get(name, m.group(0))
        return [(re.sub(r"\\(\(\)|@|[A-Za-z_]\w*)", replace, line), place)
                for line, place in self.body]


class Reader:
    """Walks the source; the assembler supplies CONDITION to evaluate .if and .rept counts."""

    def __init__(self, condition, include_dirs=()):
        self.condition = condition
        self.include_dirs = list(include_dirs)
        self.macros = {}
        self.serial = 0
        self.count = 0
        self.files = []

    def file(self, path, place=None, depth=0):
        """Yield everything of the file at PATH."""
        try:
            with open(path, encoding="utf-8") as source:
                text = source.read()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise AsmError(f"cannot read '{path}': {reason}", place) from None
        self.files.append(path)
        lines = [(line, f"{path}:{n}") for n, line in
                 enumerate(strip_comments(text).split("\n"), 1)]
        yield from self._lines(lines, depth)

    def _lines(self, lines, depth):
        if depth > MAX_DEPTH:
            place = lines[0][1] if lines else None
            raise AsmError("macros or includes are nested too deeply", place)
        i = 0
        while i < len(lines):
            line, place = lines[i]
            i += 1
            try:
                first = line.split(None, 1)[0] if line.split() else ""
                if first in (".macro", ".if", ".rept"):
                    i = yield from self._block(lines, i, first, depth)
                    continue
                parts = split_line(line)
            except AsmError as error:
                raise AsmError(error.message, error.place or place) from None
            for part in parts:
                yield from self._part(part, place, depth)

    def _block(self, lines, i, first, depth):
        """Handle a construct with a body that starts before line I; returns the line after."""
        head, place = lines[i - 1]
        text = head.split(None, 1)[1] if len(head.split(None, 1)) > 1 else ""
        end = {".macro": ".endm", ".if": ".endif", ".rept": ".endr"}[first]
        body, other, i = self._collect(lines, i, first, end, place)
        if first == ".macro":
            name, _, params = text.strip().replace("\t", " ").partition(" ")
            if not NAME.fullmatch(name):
                raise AsmError(f"'{name}' cannot name a macro", place)
            macro = Macro(name, params)
            macro.body = body
            self.macros[name] = macro
        elif first == ".if":
            yield from self._lines(body if self.condition(text, place) else other, depth + 1)
        else:
            for _ in range(max(0, self.condition(text, place))):
                yield from self._lines(body, depth + 1)
        return i

    @staticmethod
    def _collect(lines, i, first, end, place):
        nested, body, other = 0, [], []
        target = body
        while i < len(lines):
            word = lines[i][0].split(None, 1)[0] if lines[i][0].split() else ""
            if word == first:
                nested += 1
            elif word == end and nested == 0:
                return body, other, i + 1
            elif word == end:
                nested -= 1
            elif word == ".else" and first == ".if" and nested == 0:
                target = other
                i += 1
                continue
            target.append(lines[i])
            i += 1
        raise AsmError(f"{first} has no {end}", place)

    def _part(self, part, place, depth):
        self.count += 1
        if self.count > MAX_STATEMENTS:
            raise AsmError("the source expands to too many statements", place)
        while True:
            m = re.match(r"([A-Za-z_.$][\w.$]*|\d+)\s*:(?!:)\s*", part)
            if not m:
                break
            yield ("label", m.group(1), place)
            part = part[m.end():]
        if not part:
            return
        if part in "{}":
            yield ("open" if part == "{" else "close", part, place)
            return
        word, _, rest = part.replace("\t", " ").partition(" ")
        if word in self.macros:
            self.serial += 1
            try:
                body = self.macros[word].expand(rest.strip(), self.serial)
            except AsmError as error:
                raise AsmError(error.message, error.place or place) from None
            yield from self._lines(body, depth + 1)
        elif word == ".include":
            yield from self._include(rest.strip(), place, depth)
        else:
            yield ("statement", part, place)

    def _include(self, name, place, depth):
        m = re.fullmatch(r'"([^"]+)"', name)
        if not m:
            raise AsmError('.include takes a "file name"', place)
        here = os.path.dirname(place.rsplit(":", 1)[0])
        for folder in [here] + self.include_dirs:
            path = os.path.join(folder, m.group(1))
            if os.path.exists(path):
                yield from self.file(path, place, depth + 1)
                return
        raise AsmError(f"cannot find '{m.group(1)}'", place)
