# SPDX-License-Identifier: GPL-2.0-or-later
"""A bundle's meaning, independent of how its literals and conditions are laid out.

form() is written from the encoding rules alone and shares no code with the assembler, so that
two encodings of one bundle compare equal and a wrong one does not.
"""


class Malformed(Exception):
    """The words are no valid bundle."""


def _bits(word, high, low):
    return word >> low & ((1 << (high - low + 1)) - 1)


def _signed(value, bits):
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def _front(words):
    hs = words[0]
    part = {"at": 1}

    def take():
        part["at"] += 1
        return words[part["at"] - 1]
    ss = take() if _bits(hs, 12, 12) else 0xc0000000
    als = {c: take() for c in range(6) if hs >> (26 + c) & 1}
    cs0 = take() if _bits(hs, 14, 14) else None
    front = _bits(hs, 3, 0) + 1
    has_cs1 = _bits(hs, 15, 15)
    extra = front - part["at"] - has_cs1
    if extra not in (0, 1):
        raise Malformed(f"the front part of {front} words does not fit its flags")
    long_ales = take() if extra else 0x01c001c0
    cs1 = take() if has_cs1 else None
    return ss, als, cs0, long_ales, cs1


def _halves(words, at, count):
    return [words[at + k // 2] >> (0 if k % 2 else 16) & 0xffff for k in range(count)]


def _literal(byte, lts):
    """The 64-bit value of a literal operand byte, or None."""
    def word(n):
        if n >= len(lts):
            raise Malformed(f"literal word {n} is missing")
        return lts[n]
    if byte & 0xf0 == 0xc0:
        return byte & 15
    if byte & 0xf8 == 0xd0:
        half = word(byte & 3) >> (16 if byte & 4 else 0) & 0xffff
        return _signed(half, 16) % (1 << 64)
    if byte & 0xfc == 0xd8:
        return _signed(word(byte & 3), 32) % (1 << 64)
    if byte & 0xfc == 0xdc:
        return word(byte & 3) | word((byte & 3) + 1) << 32
    return None


def _conditions(cds):
    found = set()
    for half in (h for word in cds for h in (word >> 16, word & 0xffff)):
        for bit in range(3):
            if half >> (10 + bit) & 1:
                cluster = half >> 14 & 1
                found.add(("merge" if half >> 15 else "run", cluster * 3 + bit,
                           half >> (7 + bit) & 1, half & 0x7f))
        if half >> 13 & 1:
            found.add(("am", half >> 14 & 3, 0, half & 0x7f))
    return found


def form(words):
    """A dictionary that is equal for equivalent bundles."""
    hs = words[0]
    if len(words) != (_bits(hs, 6, 4) + 1) * 2:
        raise Malformed(f"{len(words)} words, but the header says {_bits(hs, 6, 4) * 2 + 2}")
    ss, als, cs0, long_ales, cs1 = _front(words)
    ales_mask = _bits(hs, 25, 20)
    short = [c for c in (0, 1, 3, 4) if ales_mask >> c & 1]
    aas_mask = _bits(ss, 15, 12)
    n_aas = bin(aas_mask).count("1") + bool(aas_mask & 3) + bool(aas_mask & 12)
    front = _bits(hs, 3, 0) + 1
    halves = _halves(words, front, len(short) + n_aas)
    ales = dict(zip(short, halves))
    for channel, shift in ((2, 16), (5, 0)):
        if ales_mask >> channel & 1:
            ales[channel] = long_ales >> shift & 0xffff
    tail = words[front + (len(halves) + 1) // 2:][::-1]
    n_cds, n_pls = _bits(hs, 17, 16), _bits(hs, 19, 18)
    if n_cds + n_pls > len(tail):
        raise Malformed("conditions and predicate logic do not fit")
    lts = tail[n_cds + n_pls:][:4]
    sources = {c: _literal(word >> 8 & 0xff, lts) for c, word in als.items()}
    window = cs1 is not None and cs1 >> 28 in (0, 1)
    return {
        "nop": _bits(hs, 9, 7), "loop mode": _bits(hs, 10, 10), "ss": ss,
        "als": {c: (word & ~0xff00 if sources[c] is not None else word, sources[c])
                for c, word in als.items()},
        "ales": ales, "cs0": cs0, "cs1": cs1, "aas": halves[len(short):],
        "conditions": _conditions(tail[:n_cds]),
        "pls": (tail[n_cds:n_cds + n_pls] + [0, 0, 0])[:3],
        "setwd": _literal(0xd8, lts) if window else None,
    }
