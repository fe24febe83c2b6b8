# SPDX-License-Identifier: GPL-2.0-or-later
"""Integer expressions: parsed once, evaluated when every label is known."""

import re

from .errors import AsmError

TOKEN = re.compile(r"\s*(?:(0[xX][0-9a-fA-F]+|0[bB][01]+|\d+[bf](?![\w.])|\d+)"
                   r"|([A-Za-z_.$][\w.$]*)|'(\\.|[^'\\])'|(<<|>>|[-+*/&|^~()]))")
LEVELS = (("|",), ("^",), ("&",), ("<<", ">>"), ("+", "-"), ("*", "/"))
ESCAPES = {"n": 10, "r": 13, "t": 9, "0": 0, "\\": 92, "'": 39, '"': 34}


class Undefined(AsmError):
    """A symbol has no value (yet)."""


def _apply(op, a, b):
    if op == "/":
        if b == 0:
            raise AsmError("division by zero in an expression")
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    if op in ("<<", ">>") and not 0 <= b <= 64:
        raise AsmError(f"shift count {b} is out of range")
    return {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "&": lambda: a & b,
            "|": lambda: a | b, "^": lambda: a ^ b, "<<": lambda: a << b,
            ">>": lambda: a >> b}[op]()


class Expr:
    """A parsed expression.  Nodes: int, str (a symbol), (op, node) or (op, node, node)."""

    def __init__(self, node, text):
        self.node = node
        self.text = text

    def value(self, symbols):
        """The value; SYMBOLS maps a name to a number or another Expr."""
        return self._eval(self.node, symbols, 0)

    def try_value(self, symbols):
        """The value, or None while a symbol is undefined."""
        try:
            return self.value(symbols)
        except Undefined:
            return None

    def _eval(self, node, symbols, depth):
        if depth > 200:
            raise AsmError(f"'{self.text}' refers to itself or is nested too deeply")
        if isinstance(node, int):
            return node
        if isinstance(node, str):
            if node not in symbols:
                raise Undefined(f"undefined symbol '{node}'")
            found = symbols[node]
            return self._eval(found.node, symbols, depth + 1) if isinstance(found, Expr) else found
        values = [self._eval(part, symbols, depth + 1) for part in node[1:]]
        if len(values) == 1:
            return -values[0] if node[0] == "-" else ~values[0]
        return _apply(node[0], *values)


class _Parser:
    def __init__(self, text, here, local, fixed):
        self.text, self.here, self.local, self.fixed = text, here, local, fixed
        self.tokens = []
        pos, end = 0, len(text.rstrip())
        while pos < end:
            m = TOKEN.match(text, pos)
            if not m:
                raise AsmError(f"'{text.strip()}' is not an expression")
            self.tokens.append(m)
            pos = m.end()
        self.at = 0

    def _operator(self):
        return self.tokens[self.at].group(4) if self.at < len(self.tokens) else None

    def binary(self, level):
        if level == len(LEVELS):
            return self.unary()
        node = self.binary(level + 1)
        while self._operator() in LEVELS[level]:
            op = self._operator()
            self.at += 1
            node = (op, node, self.binary(level + 1))
        return node

    def unary(self):
        if self.at >= len(self.tokens):
            raise AsmError(f"the expression '{self.text.strip()}' is incomplete")
        number, name, char, op = self.tokens[self.at].groups()
        self.at += 1
        if op in ("-", "~", "+"):
            operand = self.unary()
            return operand if op == "+" else (op, operand)
        if op == "(":
            node = self.binary(0)
            if self._operator() != ")":
                raise AsmError(f"')' is missing in '{self.text.strip()}'")
            self.at += 1
            return node
        if number is not None:
            return self._number(number)
        if name is not None:
            return self.here if name == "." else self.fixed.get(name, name)
        if char is not None:
            return ESCAPES.get(char[1], ord(char[1])) if char[0] == "\\" else ord(char)
        raise AsmError(f"'{op}' is out of place in '{self.text.strip()}'")

    def _number(self, number):
        if number[:2].lower() in ("0x", "0b"):
            return int(number, 0)
        return self.local(number) if number[-1] in "bf" else int(number)


def parse(text, here=0, local=None, fixed=None):
    """Parse TEXT.  '.' means HERE; LOCAL maps '1b' and '1f' to the name of that label; FIXED
    holds the symbols whose value of this moment counts."""
    parser = _Parser(text, here, local or (lambda number: number), fixed or {})
    node = parser.binary(0)
    if parser.at != len(parser.tokens):
        raise AsmError(f"'{text.strip()}' is not an expression")
    return Expr(node, text.strip())
