# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations: from the text of one bundle's statements to a filled Bundle."""

import re

from . import expr
from . import operands as o
from .bundle import Bundle
from .errors import AsmError
from .table import QUAD_PAIRS

HEAD = re.compile(r"([A-Za-z_][\w.]*)((?:\s*,\s*(?:[0-5]|sm)(?![\w\[.]))*)\s*(.*)$", re.S)
TARGET = re.compile(r"%ctpr([123])\s*(?:,\s*(.*))?$", re.S)
WAIT_BITS = ("all_c", "all_e", "st_c", "ld_c", "fl_c", "ma_c", "trap", "sas", "sal")
MOVA_OPS = {"movab": 1, "movah": 2, "movaw": 3, "movad": 4, "movaq": 5, "movaqp": 7}
MAS_SHIFT = {0: 21, 2: 14, 3: 7, 5: 0}
PRED_OPS = {"andp": 0, "landp": 1, "movep": 3}
LOOP_CONDITIONS = {("", "#LOOP_END"): 4, ("", "#NOT_LOOP_END"): 5, ("||", "#LOOP_END"): 6,
                   ("~||", "#LOOP_END"): 14, ("~&&", "#NOT_LOOP_END"): 7,
                   ("&&", "#NOT_LOOP_END"): 15}
AAU_KINDS = {"aad": (0, 32), "aasti": (1, 16), "aaind": (2, 16), "aaincr": (3, 8)}


class Context:
    """What operations need to know about their surroundings."""

    def __init__(self, table, version, symbols, expression=expr.parse):
        self.table, self.version, self.symbols = table, version, symbols
        self.expression = expression    # parses an expression in this place


def _split_condition(text):
    """Operands and condition; a '?' in quotes is a character."""
    masked = re.sub(r"'(\\.|[^'\\])'", lambda m: "_" * len(m.group(0)), text)
    at = masked.find("?")
    return (text, "") if at < 0 else (text[:at], text[at + 1:].strip())


class _Alop:
    """An arithmetic-channel statement, split but not yet placed on a channel."""

    def __init__(self, name, flags, rest, place):
        self.name, self.place = name, place
        flags = [f.strip() for f in flags.split(",") if f.strip()]
        self.speculative = "sm" in flags
        numbers = [int(f) for f in flags if f != "sm"]
        if len(numbers) > 1:
            raise AsmError(f"'{name}' names two channels")
        self.channel = numbers[0] if numbers else None
        text, self.condition = _split_condition(rest)
        self.operands = o.split_commas(text)
        self.mas = None
        for text in [t for t in self.operands if re.match(r"mas\s*=", t)]:
            self.operands.remove(text)
            self.mas = text.partition("=")[2]


def build(statements, ctx):
    """Make a Bundle of (text, place) STATEMENTS and lay it out."""
    bundle = Bundle()
    bundle.place = statements[0][1] if statements else None
    waiting = []
    for text, place in statements:
        try:
            m = HEAD.match(text)
            if not m:
                raise AsmError(f"'{text}' is not an operation")
            name, flags, rest = m.groups()
            handler = CONTROL.get(name)
            if name in MOVA_OPS:
                _mova(bundle, name, flags, rest, ctx)
            elif handler and not (name in ctx.table):
                handler(bundle, name, (flags + " " + rest).lstrip(", "), ctx)
            elif name in ctx.table:
                waiting.append(_Alop(name, flags, rest, place))
            else:
                raise AsmError(f"unknown operation '{name}'")
        except AsmError as error:
            raise AsmError(error.message, error.place or place) from None
    _place_alops(bundle, waiting, ctx)
    bundle.layout(ctx.symbols)
    return bundle


# ---- arithmetic channels ----------------------------------------------------------------------
def _choices(alop, ctx):
    """The channel tuples ALOP may use: one channel, or two for a 128-bit operation."""
    result = []
    for form in ctx.table.lookup(alop.name, ctx.version):
        if _fills_two_channels(form):
            pairs = QUAD_PAIRS["".join(map(str, form.channels))]
            result += [(form, pair) for pair in pairs]
        else:
            result += [(form, (c,)) for c in form.channels]
    if alop.channel is not None:
        result = [(f, chans) for f, chans in result if alop.channel in chans]
    if alop.mas is not None and _needs_long(alop, ctx):
        result = [(f, chans) for f, chans in result if set(chans) <= {2, 5}]
    if not result:
        where = f" on channel {alop.channel}" if alop.channel is not None else ""
        raise AsmError(f"'{alop.name}' cannot run{where}")
    return result


def _needs_long(alop, ctx):
    """Device accesses without a channel go to 2 or 5, where modifier 6 means just that."""
    if alop.channel is not None:
        return False
    return o.constant(alop.mas, ctx, 0, 127, "mas") & 7 == 6


def _fills_two_channels(form):
    if form.form in ("F3", "F13"):
        return form.sizes[2] == "Q"
    return form.sizes[-1] == "Q" and form.form not in ("AAURW", "AAURR", "F10", "F19")


def _place_alops(bundle, alops, ctx):
    def options(alop):
        try:
            return _choices(alop, ctx)
        except AsmError as error:
            raise AsmError(error.message, error.place or alop.place) from None

    todo = [(options(alop), alop) for alop in alops]
    todo.sort(key=lambda item: (item[1].channel is None, len(item[0])))
    placed = []
    for choices, alop in todo:
        free = [c for c in choices if not any(ch in bundle.als for ch in c[1])]
        if not free:
            raise AsmError(f"no channel is free for '{alop.name}'", alop.place)
        form, channels = free[0]
        for channel in channels:
            bundle.als[channel] = 0
        placed.append((alops.index(alop), alop, form, channels))
    for _, alop, form, channels in sorted(placed, key=lambda item: item[0]):
        try:
            _encode_alop(bundle, alop, form, channels, ctx)
        except AsmError as error:
            raise AsmError(error.message, error.place or alop.place) from None


def _encode_alop(bundle, alop, form, channels, ctx):
    encoder = ENCODERS.get(form.form)
    if encoder is None:
        raise AsmError(f"'{alop.name}' has an operand form this assembler does not know")
    for index, channel in enumerate(channels):
        word, src2, lo = encoder(form, alop, ctx)
        if len(channels) == 2:
            word, src2, lo = _quad_half(form, index, word, src2, lo)
        if form.opce1 is not None:
            word |= form.opce1 << 16
        if form.cmpop is not None:
            word |= form.cmpop << 5
        bundle.als[channel] |= alop.speculative << 31 | form.opcode << 24 | word
        if src2 is not None:
            bundle.src2[channel] = src2
        if form.page is not None:
            bundle.ales[channel] = form.page << 8 | lo
    _alop_extras(bundle, alop, form, channels, ctx)


def _alop_extras(bundle, alop, form, channels, ctx):
    if alop.condition:
        source, inverted = o.condition_source(alop.condition)
        bundle.add_condition(0, channels, source, inverted)
    if form.form in ("MERGE", "F21_MERGE", "F11_MERGE"):
        source, inverted = o.condition_source(alop.operands[-1])
        bundle.add_condition(2, channels, source, inverted)
    mas = 0x3f if form.form in ("AAURW", "AAURR") else None
    if alop.mas is not None:
        if not form.mas:
            raise AsmError(f"'{alop.name}' takes no mas")
        mas = o.constant(alop.mas, ctx, 0, 127, "mas")
    if mas is not None:
        for channel in channels:
            bundle.merge_cs1(6, mas << MAS_SHIFT[channel])


def _quad_half(form, index, word, src2, lo):
    """The encoding of half INDEX: which of the registers step, and which are rounded to even."""
    memory = form.form in ("F3", "F13") or form.mas
    rounds = memory or form.form == "F11"
    sizes = form.sizes
    step = lambda byte, even: (byte & ~1 if even and byte < 0xc0 or even and byte >= 0xe0
                               else byte) + (index if not 0xc0 <= byte < 0xe0 else 0)
    dst = step(word & 0xff, rounds)
    word = word & ~0xff | dst
    if not memory:
        if form.form in ("F1", "F11") and sizes[0] == "Q":
            word = word & ~0xff0000 | step(word >> 16 & 0xff, True) << 16
        src2_size = sizes[1] if form.form in ("F1", "F11") else sizes[0]
        if src2_size == "Q" and isinstance(src2, int):
            src2 = step(src2, True)
    return word, src2, lo


def _want(alop, count):
    if len(alop.operands) != count:
        raise AsmError(f"'{alop.name}' takes {count} operands, not {len(alop.operands)}")
    return alop.operands


def _address(alop, texts, count):
    """Operands with '[ base + offset ]' opened up; COUNT operands are expected."""
    out = []
    for text in texts:
        if text.startswith("["):
            inner = text[1:-1].strip() if text.endswith("]") else None
            if not inner:
                raise AsmError(f"'{text}' is not an address")
            m = re.match(r"(%?[\w.\[\]]+)\s*(?:([+-])\s*(.*))?$", inner, re.S)
            if not m:
                raise AsmError(f"'{text}' is not an address")
            offset = m.group(3) or "0"
            if m.group(2) == "-":
                offset = f"-({offset})"
            out += [m.group(1), offset]
        else:
            out.append(text)
    alop.operands = out
    return _want(alop, count)


def _f1(form, alop, ctx):
    a, b, d = _address(alop, alop.operands, 3)
    word = o.source1(a, ctx) << 16 | o.destination_byte(d)
    return word, o.source2(b, ctx, form.sizes[1]), form.lo


def _f1_merge(form, alop, ctx):
    a, b, d, _ = _want(alop, 4)
    return (o.source1(a, ctx) << 16 | o.destination_byte(d),
            o.source2(b, ctx, form.sizes[1]), form.lo)


def _f2(form, alop, ctx):
    b, d = _want(alop, 2)
    return o.destination_byte(d), o.source2(b, ctx, form.sizes[0]), form.lo


def _store(form, alop, ctx):
    value, base, offset = _address(alop, alop.operands, 3)
    word = o.source1(base, ctx) << 16 | o.register_only(value)
    return word, o.source2(offset, ctx, form.sizes[1]), form.lo


def _compare(form, alop, ctx):
    a, b, p = _want(alop, 3)
    return (o.source1(a, ctx) << 16 | o.predicate(p),
            o.source2(b, ctx, form.sizes[1]), form.lo)


def _compare1(form, alop, ctx):
    b, p = _want(alop, 2)
    return o.predicate(p), o.source2(b, ctx, form.sizes[0]), form.lo


def _lit8(form, alop, ctx):
    a, b, literal, d = _want(alop, 4)
    return (o.source1(a, ctx) << 16 | o.destination_byte(d), o.source2(b, ctx, form.sizes[1]),
            o.constant(literal, ctx, 0, 255, "literal"))


def _pshufh(form, alop, ctx):
    b, literal, d = _want(alop, 3)
    return (o.destination_byte(d), o.source2(b, ctx, form.sizes[0]),
            o.constant(literal, ctx, 0, 255, "literal"))


def _write_state(form, alop, ctx):
    b, reg = _want(alop, 2)
    return 0xc0 << 16 | o.state_register(reg), o.source2(b, ctx, form.sizes[0]), form.lo


def _read_state(form, alop, ctx):
    reg, d = _want(alop, 2)
    return o.state_register(reg) << 16 | o.destination_byte(d), 0xc0, form.lo


def _f21(form, alop, ctx):
    a, b, c, d = _want(alop, 5 if form.form == "F21_MERGE" else 4)[:4]
    return (o.source1(a, ctx) << 16 | o.destination_byte(d),
            o.source2(b, ctx, form.sizes[1]), o.register_only(c))


def _aau_register(text):
    m = re.match(r"%(aad|aasti|aaind|aaincr)(\d+)$", text)
    if not m or int(m.group(2)) >= AAU_KINDS[m.group(1)][1]:
        raise AsmError(f"'{text}' is not a register of the array unit")
    kind, _ = AAU_KINDS[m.group(1)]
    number = int(m.group(2))
    return kind << 10 | number << (19 if kind == 0 else 15)


def _aau_write(form, alop, ctx):
    value, reg = _want(alop, 2)
    return _aau_register(reg) & 0xff0000 | o.register_only(value), \
        _aau_register(reg) >> 8 & 0xff, form.lo


def _aau_read(form, alop, ctx):
    reg, d = _want(alop, 2)
    return _aau_register(reg) & 0xff0000 | o.destination_byte(d), \
        _aau_register(reg) >> 8 & 0xff, form.lo


ENCODERS = {"F1": _f1, "F11": _f1, "MERGE": _f1_merge, "F11_MERGE": _f1_merge, "F2": _f2,
            "F12": _f2, "F22": _f2, "F3": _store, "F13": _store, "F7": _compare,
            "F17": _compare, "F8": _compare1, "F11_LIT8": _lit8, "F12_PSHUFH": _pshufh,
            "F15": _write_state, "F16": _read_state, "F21": _f21, "F21_MERGE": _f21,
            "AAURW": _aau_write, "AAURR": _aau_read}


# ---- control ----------------------------------------------------------------------------------
def _transfer_condition(bundle, text):
    """Set the condition of a transfer; empty text means always."""
    text = text.strip()
    if not text:
        value = 1 << 5
    elif text == "%MLOCK":
        value = 8 << 5
    else:
        m = re.match(r"(~?)\s*(%pred\d+)?\s*(\|\||&&)?\s*(#\w+)?$", text)
        if not m:
            raise AsmError(f"'{text}' is not a condition")
        invert, pred, join, loop = m.groups()
        number = o.predicate(pred) if pred else 0
        if pred and not join and not loop:
            value = (3 if invert else 2) << 5 | number
        else:
            kind = LOOP_CONDITIONS.get((invert + (join or ""), loop))
            if kind is None or bool(pred) != bool(join):
                raise AsmError(f"'{text}' is not a condition")
            value = kind << 5 | number
    bundle.set_ss("condition", value)


def _prepare(bundle, name, text, ctx):
    m = TARGET.match(text.strip())
    if not m or not m.group(2):
        raise AsmError(f"'{name}' takes %ctprN and a target")
    n, target = int(m.group(1)), m.group(2)
    if name == "sdisp":
        bundle.set_cs0(n << 2 | 2, o.constant(target, ctx, 0, 31, "system entry"))
        return
    if name == "ldisp" and n != 2:
        raise AsmError("ldisp works on %ctpr2 only")
    bundle.set_cs0(n << 2 | (1 if name == "ldisp" else 0), ctx.expression(target))


def _return(bundle, name, text, ctx):
    if text.strip() != "%ctpr3":
        raise AsmError("return works on %ctpr3 only")
    bundle.set_cs0(0xf, 0)


def _ct(bundle, name, text, ctx):
    where, _, condition = text.partition("?")
    m = TARGET.match(where.strip())
    if not m or m.group(2):
        raise AsmError("'ct' takes %ctprN and a condition")
    bundle.set_ss("ctop", int(m.group(1)))
    _transfer_condition(bundle, condition)


def _call(bundle, name, text, ctx):
    where, _, condition = text.partition("?")
    m = TARGET.match(where.strip())
    if not m or not m.group(2):
        raise AsmError("'call' takes %ctprN, wbs=W and a condition")
    bundle.set_ss("ctop", int(m.group(1)))
    wbs = o.keywords([m.group(2).strip()], ctx, {"wbs": 127})["wbs"]
    bundle.merge_cs1(5, wbs)
    _transfer_condition(bundle, condition)


def _branch(bundle, name, text, ctx):
    target, _, condition = text.partition("?")
    bundle.set_cs0(0, ctx.expression(target))
    if name == "rbranch" and condition:
        raise AsmError("rbranch takes no condition")
    bundle.set_ss("ctop", 0)
    _transfer_condition(bundle, "%MLOCK" if name == "rbranch" else condition)


def _leave(bundle, name, text, ctx):
    bundle.set_cs0(3, {"done": 0, "iret": 2, "hret": 3, "glaunch": 4}[name])
    bundle.set_ss("ctop", 0)
    _transfer_condition(bundle, text.partition("?")[2])


def _cs1_constant(bundle, name, text, ctx):
    if text.strip():
        raise AsmError(f"'{name}' takes no operand")
    bundle.merge_cs1(*{"flushr": (7, 1), "flushc": (7, 2), "fillr": (7, 4), "fillc": (7, 8),
                       "setsft": (2, 1 << 27)}[name])


def _setei(bundle, name, text, ctx):
    bundle.merge_cs1(2, o.constant(text, ctx, 0, 255, "setei"))


def _wait(bundle, name, text, ctx):
    found = o.keywords(o.split_commas(text), ctx, {bit: 1 for bit in WAIT_BITS})
    bundle.merge_cs1(3, sum(found.get(bit, 0) << i for i, bit in enumerate(WAIT_BITS)))


def _setwd(bundle, name, text, ctx):
    found = o.keywords(o.split_commas(text), ctx, {"wsz": 112, "nfx": 1, "dbl": 1})
    if "wsz" not in found:
        raise AsmError("setwd needs wsz=")
    bits = found["wsz"] << 5 | found.get("nfx", 0) << 4 | found.get("dbl", 0) << 3
    bundle.setwd = (bundle.setwd or 0) | bits
    bundle.merge_cs1(0, 0)


def _vfrpsz(bundle, name, text, ctx):
    size = o.keywords(o.split_commas(text), ctx, {"rpsz": 32}).get("rpsz", 0)
    if size < 1:
        raise AsmError("vfrpsz needs rpsz=1..32")
    bundle.setwd = (bundle.setwd or 0) | (size - 1) << 12
    bundle.merge_cs1(1, 0)


def _setbn(bundle, name, text, ctx):
    found = o.keywords(o.split_commas(text), ctx, {"rsz": 63, "rbs": 63, "rcur": 63})
    bundle.merge_cs1(4, 1 << 26 | found.get("rbs", 0) | found.get("rsz", 0) << 6
                     | found.get("rcur", 0) << 12)


def _setbp(bundle, name, text, ctx):
    found = o.keywords(o.split_commas(text), ctx, {"psz": 31})
    bundle.merge_cs1(4, 1 << 27 | found.get("psz", 0) << 18)


def _stub(bundle, name, text, ctx):
    found = o.keywords(o.split_commas(text), ctx, {name + "f": 1, name + "t": 1})
    for key in (name + "f", name + "t"):
        bundle.set_ss(key, found.get(key, 0))


def _flag(bundle, name, text, ctx):
    if text.strip():
        raise AsmError(f"'{name}' takes no operand")
    if name == "loop_mode":
        bundle.loop_mode = 1
    else:
        bundle.set_ss(name, 1)


def _ipd(bundle, name, text, ctx):
    bundle.set_ss("ipd", o.constant(text, ctx, 0, 3, "ipd"))


def _nop(bundle, name, text, ctx):
    bundle.nop = o.constant(text, ctx, 0, 7, "nop") if text.strip() else 0


def _mova(bundle, name, flags, rest, ctx):
    numbers = [f.strip() for f in flags.split(",") if f.strip()]
    if len(numbers) != 1 or numbers[0] not in ("0", "1", "2", "3"):
        raise AsmError(f"'{name}' needs an array channel 0..3")
    channel = int(numbers[0])
    if channel in bundle.aas:
        raise AsmError(f"array channel {channel} is used twice")
    texts = o.split_commas(rest)
    found = o.keywords(texts[:-1], ctx, {"area": 31, "ind": 31, "am": 1, "be": 1})
    bundle.aas[channel] = (found.get("be", 0) << 15 | MOVA_OPS[name] << 12
                           | found.get("area", 0) << 6 | found.get("ind", 0) << 1
                           | found.get("am", 0), o.destination_byte(texts[-1]))


# ---- predicate logic --------------------------------------------------------------------------
def _pass(bundle, name, text, ctx):
    parts = o.split_commas(text)
    if len(parts) != 2:
        raise AsmError("'pass' takes two operands")
    source, target = parts
    m = re.match(r"@p([0-6])$", source)
    if m:                               # result of the logic into a predicate
        index = int(m.group(1)) - 4
        if index < 0:
            raise AsmError(f"'{source}' cannot be written to a predicate")
        _pls_or(bundle, index, 1 << 5 | o.predicate(target))
        return
    m = re.match(r"@p([0-3])$", target)
    if not m:
        raise AsmError(f"'{target}' is not @p0..@p3")
    number = int(m.group(1))
    field = 0 if source == "%lcntex" else o.condition_source(source)[0]
    if source.startswith("~"):
        raise AsmError("'pass' cannot invert; invert where the value is used")
    _pls_or(bundle, number // 2, field << (16 if number % 2 else 24))


def _logic(bundle, name, text, ctx):
    parts = [re.match(r"(~?)@p([0-6])$", part) for part in o.split_commas(text)]
    if len(parts) != 3 or not all(parts) or parts[2].group(1) or int(parts[2].group(2)) < 4:
        raise AsmError(f"'{name}' takes two inputs and one of @p4..@p6")
    index = int(parts[2].group(2)) - 4
    word = PRED_OPS[name] << 14
    for part, place in ((parts[0], 10), (parts[1], 6)):
        number = int(part.group(2))
        if number > (1, 4, 5)[index]:
            raise AsmError(f"@p{number} cannot be an input of @p{index + 4}")
        word |= bool(part.group(1)) << (place + 3) | number << place
    _pls_or(bundle, index, word)


def _pls_or(bundle, index, bits):
    bundle.pls[index] = bundle.pls.get(index, 0) | bits


CONTROL = {"disp": _prepare, "ldisp": _prepare, "sdisp": _prepare, "return": _return, "ct": _ct,
           "call": _call, "ibranch": _branch, "rbranch": _branch, "done": _leave,
           "iret": _leave, "hret": _leave, "glaunch": _leave, "flushr": _cs1_constant,
           "flushc": _cs1_constant, "fillr": _cs1_constant, "fillc": _cs1_constant,
           "setsft": _cs1_constant, "setei": _setei, "wait": _wait, "setwd": _setwd,
           "vfrpsz": _vfrpsz, "setbn": _setbn, "setbp": _setbp, "alc": _stub, "abn": _stub,
           "abp": _stub, "loop_mode": _flag, "bap": _flag, "eap": _flag, "ipd": _ipd,
           "nop": _nop, "pass": _pass, "andp": _logic, "landp": _logic, "movep": _logic}
