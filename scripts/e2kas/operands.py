# SPDX-License-Identifier: GPL-2.0-or-later
"""Operand syntax: registers, literals, predicates, special registers."""

import re

from .errors import AsmError
from .table import SPECIAL_DST, STATE_REG_NUMBER

REGISTER = re.compile(r"%(?:qp|[dqs])?(?:r(\d+)|g(\d+)|b\[(\d+)\])$")
LITERAL = re.compile(r"(_f16s|_f32s|_f64)\s+(.*)$", re.S)
WIDTHS = {"_f16s": 16, "_f32s": 32, "_f64": 64}


class Literal:
    """A number that goes into a literal word; layout gives it its operand byte."""

    def __init__(self, width, expression, forced):
        self.width = width
        self.expression = expression
        self.forced = forced
        self.byte = None

    def key(self, symbols):
        """Literals of equal key may share a word."""
        value = self.expression.try_value(symbols)
        if value is None:
            return (self.width, self.expression.text)
        return (self.width, value % (1 << self.width))

    def bits(self, symbols):
        """The field's content; refuses a value that the field cannot hold."""
        value = self.expression.value(symbols)
        low = -(1 << (self.width - 1))
        # A label is written as an unsigned address; a forced width takes any pattern.
        high = (1 << self.width) if self.forced or self.width == 64 else -low
        if not low <= value < high:
            raise AsmError(f"{self.expression.text} = {value:#x} does not fit a signed "
                           f"literal of {self.width} bits")
        return value % (1 << self.width)


def split_commas(text):
    """Split at commas outside brackets and quotes."""
    parts, depth, start, quote = [], 0, 0, None
    for i, ch in enumerate(text):
        if quote:
            if ch == quote and text[i - 1] != "\\":
                quote = None
        elif ch == '"' or (ch == "'" and re.match(r"'(\\.|[^'\\])'", text[i:i + 4])):
            quote = ch
        elif ch in "([":
            depth += 1
        elif ch in ")]":
            depth -= 1
        elif ch == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    last = text[start:].strip()
    if last or parts:
        parts.append(last)
    return parts


def register_byte(text):
    """The operand byte of a general register, or None when TEXT is not one."""
    m = REGISTER.match(text)
    if not m:
        return None
    for group, limit, base in ((1, 64, 0x80), (2, 32, 0xe0), (3, 128, 0)):
        if m.group(group) is not None:
            number = int(m.group(group))
            if number >= limit:
                raise AsmError(f"register {text} does not exist")
            return base | number
    return None


def destination_byte(text):
    """A register or one of the special destinations."""
    byte = register_byte(text)
    if byte is None and text.startswith("%"):
        byte = SPECIAL_DST.get(text[1:])
    if byte is None:
        raise AsmError(f"'{text}' cannot be a destination")
    return byte


def state_register(text):
    """The number of a special register."""
    if not text.startswith("%") or text[1:] not in STATE_REG_NUMBER:
        raise AsmError(f"'{text}' is not a special register")
    return STATE_REG_NUMBER[text[1:]]


def predicate(text):
    """The number of %predN."""
    m = re.match(r"%pred(\d+)$", text)
    if not m or int(m.group(1)) > 31:
        raise AsmError(f"'{text}' is not a predicate")
    return int(m.group(1))


def condition_source(text):
    """(source field, inverted) of '%predN', '~%predN' or '%pcntN'."""
    inverted = text.startswith("~")
    name = text[1:].strip() if inverted else text
    m = re.match(r"%pcnt(\d+)$", name)
    if m and int(m.group(1)) < 32:
        return 0x40 | int(m.group(1)), inverted
    return 0x60 | predicate(name), inverted


def constant(text, ctx, low, high, what):
    """A number known at once, within bounds."""
    value = ctx.expression(text).value(ctx.symbols)
    if not low <= value <= high:
        raise AsmError(f"{what} {value} is outside {low}..{high}")
    return value


def keywords(texts, ctx, limits):
    """Parse 'name=value' operands; LIMITS maps each allowed name to its largest value."""
    found = {}
    for text in texts:
        name, eq, value = text.partition("=")
        name = name.strip()
        if not eq or name not in limits:
            raise AsmError(f"'{text}' is not one of {', '.join(n + '=' for n in limits)}")
        if name in found:
            raise AsmError(f"{name} is given twice")
        found[name] = constant(value, ctx, 0, limits[name], name)
    return found


def source1(text, ctx):
    """The byte of a first source: a register or 0..31."""
    byte = register_byte(text)
    if byte is not None:
        return byte
    if text.startswith("%"):
        raise AsmError(f"'{text}' cannot be a source")
    value = ctx.expression(text).value(ctx.symbols)
    if not 0 <= value <= 31:
        raise AsmError(f"the first source takes a register or 0..31, not {text}")
    return 0xc0 | value


def source2(text, ctx, size):
    """The byte of a second source, or a Literal.  SIZE is 'S' for a 32-bit operand."""
    byte = register_byte(text)
    if byte is not None:
        return byte
    if text.startswith("%"):
        raise AsmError(f"'{text}' cannot be a source")
    m = LITERAL.match(text)
    if m:
        return Literal(WIDTHS[m.group(1)], ctx.expression(m.group(2)), True)
    expression = ctx.expression(text)
    value = expression.try_value(ctx.symbols)
    if value is None:
        return Literal(32, expression, False)
    if 0 <= value <= 15:
        return 0xc0 | value
    if size == "S" and 1 << 31 <= value < 1 << 32:
        return Literal(32, expression, True)
    for width in (16, 32):
        if -(1 << (width - 1)) <= value < 1 << (width - 1):
            return Literal(width, expression, False)
    if not -(1 << 63) <= value < 1 << 64:
        raise AsmError(f"{text} does not fit 64 bits")
    return Literal(64, expression, False)


def register_only(text):
    """A source that cannot be a literal (third source, stored value)."""
    byte = register_byte(text)
    if byte is None:
        raise AsmError(f"this operand must be a register, not '{text}'")
    return byte
