# SPDX-License-Identifier: GPL-2.0-or-later
"""The text of a schema, as expressions with their comments."""

import re


class SchemaError(Exception):
    def __init__(self, where, message):
        super().__init__(f'{where}: {message}')


TOKEN = re.compile(r"""
    (?P<space>[ \t]+) | (?P<newline>\n) | (?P<doc>\#\#[^\n]*) | (?P<comment>\#[^\n]*)
  | (?P<punct>[{}\[\],:]) | (?P<string>'(?:[^'\\\n]|\\.)*') | (?P<word>true|false)
""", re.VERBOSE)


class Where:
    """A place in the schema, for messages."""

    def __init__(self, path, line):
        self.path, self.line = path, line

    def __str__(self):
        return f'{self.path}:{self.line}'


class Doc:
    """One ## block: the definition's text, a text per argument, tagged sections."""

    TAG = re.compile(r'(Returns|Errors|Since|Features|Notes?|Examples?):(?:\s+|$)(.*)')

    def __init__(self, where, lines):
        self.where = where
        self.symbol = None
        self.body, self.args, self.features, self.sections = [], {}, {}, []
        self._in_features = False
        current = self.body
        for line in lines:
            current = self._line(line, current)

    def _line(self, line, current):
        symbol = re.match(r'@([\w.-]+):\s*(.*)$', line)
        tag = self.TAG.match(line)
        if symbol and self.symbol is None and not any(l.strip() for l in self.body):
            self.symbol = symbol[1]
            current = self.body
            line = symbol[2]
        elif symbol and self.symbol is not None:
            current = []
            group = self.features if self._in_features else self.args
            if symbol[1] in group:
                raise SchemaError(self.where, f"'{symbol[1]}' is documented twice")
            group[symbol[1]] = current
            line = symbol[2]
        elif tag:
            self._in_features = tag[1] == 'Features'
            current = []
            if not self._in_features:
                self.sections.append((tag[1], current))
            line = tag[2]
        elif line and not line.startswith(' ') and current is not self.body \
                and not self._in_section(current):
            current = []  # an unindented line ends the argument
            self.sections.append((None, current))
        current.append(line)
        return current

    def _in_section(self, current):
        return any(current is text for _, text in self.sections)


class Parser:
    """One schema file.  .exprs is a list of (where, expr, doc)."""

    def __init__(self, path, shown):
        self.shown = shown
        self.line = 1
        self.exprs = []
        self.free_docs = []
        with open(path, encoding='utf-8') as f:
            self.text = f.read()
        self.pos = 0
        self.kind = self.value = None
        self._advance()
        self._file()

    def error(self, message):
        return SchemaError(Where(self.shown, self.line), message)

    def _advance(self):
        while True:
            if self.pos >= len(self.text):
                self.kind, self.value = 'end', None
                return
            match = TOKEN.match(self.text, self.pos)
            if not match:
                raise self.error(f'stray {self.text[self.pos]!r}')
            self.pos = match.end()
            self.kind, self.value = match.lastgroup, match[0]
            if self.kind == 'newline':
                self.line += 1
            elif self.kind == 'string':
                self.value = re.sub(r'\\(.)', r'\1', self.value[1:-1])
                return
            elif self.kind in ('punct', 'word', 'doc'):
                return

    def _doc(self):
        where = Where(self.shown, self.line)
        lines = []
        while True:
            if self.text[self.pos:self.pos + 1] != '\n':
                raise self.error("the end of a documentation block, '##', is missing")
            self.pos += 1
            self.line += 1
            end = self.text.find('\n', self.pos)
            end = len(self.text) if end < 0 else end
            line = self.text[self.pos:end]
            self.pos = end
            if line.startswith('##'):
                self._advance()
                return Doc(where, lines)
            if not line.startswith('#'):
                raise self.error("a line of a documentation block must start with '#'")
            lines.append(line[2:].rstrip() if line.startswith('# ') else line[1:].rstrip())

    def _file(self):
        doc = None
        while self.kind != 'end':
            if self.kind == 'doc':
                if doc:
                    self.free_docs.append((len(self.exprs), doc))
                doc = self._doc()
                if doc.symbol is None:
                    self.free_docs.append((len(self.exprs), doc))
                    doc = None
                continue
            where = Where(self.shown, self.line)
            expr = self._value()
            if not isinstance(expr, dict):
                raise SchemaError(where, 'expected an object')
            self.exprs.append((where, expr, doc))
            doc = None

    def _expect(self, punct):
        if self.kind != 'punct' or self.value != punct:
            raise self.error(f"expected '{punct}', not {self.value!r}")
        self._advance()

    def _value(self):
        kind, value = self.kind, self.value
        if kind == 'string':
            self._advance()
            return value
        if kind == 'word':
            self._advance()
            return value == 'true'
        if (kind, value) == ('punct', '{'):
            return self._object()
        if (kind, value) == ('punct', '['):
            return self._array()
        raise self.error(f'expected a value, not {value!r}')

    def _object(self):
        self._advance()
        result = {}
        while self.value != '}' or self.kind != 'punct':
            if result:
                self._expect(',')
            if self.kind != 'string':
                raise self.error(f'expected a key, not {self.value!r}')
            key = self.value
            self._advance()
            self._expect(':')
            if key in result:
                raise self.error(f"duplicate key '{key}'")
            result[key] = self._value()
        self._advance()
        return result

    def _array(self):
        self._advance()
        result = []
        while self.value != ']' or self.kind != 'punct':
            if result:
                self._expect(',')
            result.append(self._value())
        self._advance()
        return result
