# SPDX-License-Identifier: GPL-2.0-or-later
"""One bundle: the parts the operations asked for, laid out and turned into words.

Life of a Bundle: operations fill it (ops.py), layout() allots literals and fixes the length,
words() is called when every label has its address.
"""

from .errors import AsmError

ALES_NONE = 0x01c0
LONG_CHANNELS = (2, 5)


class Bundle:
    """The parts of one wide instruction."""

    def __init__(self):
        self.als = {}           # channel -> word, the second source (bits 15:8) left out
        self.src2 = {}          # channel -> operand byte or Literal
        self.ales = {}          # channel -> half word
        self.ss = {}            # name -> value, see SS_FIELDS
        self.cs0 = None         # (control, parameter) or (control, Expr) for a branch
        self.cs1 = None         # (operation, parameter bits)
        self.setwd = None       # LTS0 as setwd and vfrpsz want it
        self.cds = []           # half words, in the order given
        self.pls = {}           # index -> word
        self.aas = {}           # array channel -> (half word, destination byte)
        self.nop = 0
        self.loop_mode = 0
        self.place = None
        self._literals = None
        self._size = None

    # ---- filling ------------------------------------------------------------------------------
    def set_ss(self, name, value):
        """Claim a field of the SS word; two different claims contradict each other."""
        if self.ss.get(name, value) != value:
            raise AsmError(f"two operations of this bundle want a different {name}")
        self.ss[name] = value

    def set_cs0(self, control, parameter):
        """Claim CS0."""
        if self.cs0 is not None:
            raise AsmError("two operations of this bundle need CS0")
        self.cs0 = (control, parameter)

    def merge_cs1(self, operation, bits):
        """Claim CS1; setwd, setbn, setbp and mas specifiers of several channels combine."""
        if self.cs1 is None:
            self.cs1 = (operation, bits)
            return
        present, old = self.cs1
        window = {0, 1, 4}
        if present in window and operation in window:
            self.cs1 = (1 if 1 in (present, operation) else min(present, operation), old | bits)
        elif present == operation and operation in (3, 6, 7):
            self.cs1 = (operation, old | bits)
        else:
            raise AsmError("two operations of this bundle need CS1")

    def add_condition(self, kind, channels, source, inverted):
        """Attach a predicate (kind 0 execution, 2 merge) to the channels."""
        for cluster in (0, 1):
            mask = 0
            for channel in channels:
                if channel // 3 == cluster:
                    mask |= 1 << (channel % 3)
            if mask:
                half = (kind | cluster) << 14 | mask << 10 | (mask << 7 if inverted else 0) | source
                self._merge_cds(half)

    def _merge_cds(self, half):
        # Channels of one cluster with the same predicate share an entry.
        for i, old in enumerate(self.cds):
            if old & 0xe07f == half & 0xe07f:
                self.cds[i] = old | half
                return
        self.cds.append(half)
        if len(self.cds) > 6:
            raise AsmError("a bundle holds at most six different conditions")

    # ---- layout -------------------------------------------------------------------------------
    def _allot_literals(self, symbols):
        """Give each literal its operand byte; returns the list of LTS slots."""
        slots = [None] * 4              # None, ("w", getter), or [high, low] getters
        placed = {}
        if self.setwd is not None:
            slots[0] = ("w", lambda _: self.setwd)
        wanted = [lit for lit in self.src2.values() if not isinstance(lit, int)]
        for width in (64, 32, 16):
            for lit in (lit for lit in wanted if lit.width == width):
                key = lit.key(symbols)
                if key not in placed:
                    placed[key] = self._place(slots, lit)
                lit.byte = placed[key]
        return slots

    @staticmethod
    def _place(slots, lit):
        if lit.width == 64:
            for n in range(3):
                if slots[n] is None and slots[n + 1] is None:
                    slots[n] = ("w", lambda s: lit.bits(s) & 0xffffffff)
                    slots[n + 1] = ("w", lambda s: lit.bits(s) >> 32)
                    return 0xdc | n
        elif lit.width == 32:
            for n in range(4):
                if slots[n] is None:
                    slots[n] = ("w", lit.bits)
                    return 0xd8 | n
        else:
            for n in range(2):
                if slots[n] is None:
                    slots[n] = [lit.bits, None]
                    return 0xd4 | n
                if isinstance(slots[n], list) and slots[n][1] is None:
                    slots[n][1] = lit.bits
                    return 0xd0 | n
            # Both half-word places are taken: use a whole word.
            for n in range(2, 4):
                if slots[n] is None:
                    slots[n] = ("w", lambda s: _sign_extend(lit.bits(s), 16))
                    return 0xd8 | n
        raise AsmError("the literals of this bundle do not fit its four literal words")

    def layout(self, symbols):
        """Fix literal places and the size; returns the size in bytes."""
        self._literals = self._allot_literals(symbols)
        used = [i for i, slot in enumerate(self._literals) if slot is not None]
        tail = (len(self.cds) + 1) // 2 + self._pls_count() + (used[-1] + 1 if used else 0)
        words = self._front_count() + (len(self._halves()) + 1) // 2 + tail
        self._size = (words + 1) // 2 * 2
        if self._size > 16:
            raise AsmError(f"the bundle takes {words} words, more than sixteen")
        return self._size * 4

    def _has_ss(self):
        return bool(self.ss) or bool(self.aas)

    def _has_long_ales(self):
        return any(self.ales.get(c, ALES_NONE) != ALES_NONE for c in LONG_CHANNELS)

    def _pls_count(self):
        return max(self.pls) + 1 if self.pls else 0

    def _front_count(self):
        return (1 + self._has_ss() + len(self.als) + (self.cs0 is not None)
                + self._has_long_ales() + (self.cs1 is not None))

    def _halves(self):
        halves = [self.ales[c] for c in (0, 1, 3, 4) if c in self.ales]
        if self.aas:
            for pair in ((0, 1), (2, 3)):
                if any(c in self.aas for c in pair):
                    halves.append(sum(self.aas[c][1] << (0 if c % 2 else 8)
                                      for c in pair if c in self.aas))
            halves += [self.aas[c][0] for c in sorted(self.aas)]
        return halves

    # ---- encoding -----------------------------------------------------------------------------
    def words(self, address, symbols):
        """The words of the bundle at ADDRESS."""
        front = [self._header()]
        if self._has_ss():
            front.append(self._ss_word())
        for channel in sorted(self.als):
            operand = self.src2.get(channel, 0)
            byte = operand if isinstance(operand, int) else operand.byte
            front.append(self.als[channel] | byte << 8)
        if self.cs0 is not None:
            front.append(self._cs0_word(address, symbols))
        if self._has_long_ales():
            front.append(self.ales.get(2, ALES_NONE) << 16 | self.ales.get(5, ALES_NONE))
        if self.cs1 is not None:
            front.append(self.cs1[0] << 28 | self.cs1[1])
        halves = self._halves()
        halves += [0] * (len(halves) % 2)
        front += [halves[i] << 16 | halves[i + 1] for i in range(0, len(halves), 2)]
        tail = self._tail(symbols)
        return front + [0] * (self._size - len(front) - len(tail)) + tail[::-1]

    def _tail(self, symbols):
        cds = self.cds + [0] * (len(self.cds) % 2)
        tail = [cds[i] << 16 | cds[i + 1] for i in range(0, len(cds), 2)]
        tail += [self.pls.get(i, 0) for i in range(self._pls_count())]
        used = [i for i, slot in enumerate(self._literals) if slot is not None]
        for slot in self._literals[:used[-1] + 1 if used else 0]:
            if slot is None:
                tail.append(0)
            elif isinstance(slot, tuple):
                tail.append(slot[1](symbols) & 0xffffffff)
            else:
                high, low = slot
                tail.append(high(symbols) << 16 | (low(symbols) if low else 0))
        return tail

    def _header(self):
        mask = lambda channels: sum(1 << c for c in channels)
        cs1 = self.cs1 is not None
        return (self._front_count() - 1 | (self._size // 2 - 1) << 4 | self.nop << 7
                | self.loop_mode << 10 | self._has_ss() << 12 | (self.cs0 is not None) << 14
                | cs1 << 15 | (len(self.cds) + 1) // 2 << 16 | self._pls_count() << 18
                | mask(self.ales) << 20 | mask(self.als) << 26)

    def _ss_word(self):
        ss = self.ss
        stub = lambda name, shift: (ss.get(name + "f", 0) << 1 | ss.get(name + "t", 0)) << shift
        return (ss.get("ipd", 3) << 30 | ss.get("eap", 0) << 29 | ss.get("bap", 0) << 28
                | ss.get("abgi", 0) << 24 | ss.get("abgd", 0) << 23
                | stub("abn", 21) | stub("abp", 18) | stub("alc", 16)
                | sum(1 << (12 + c) for c in self.aas) | ss.get("ctop", 0) << 10
                | ss.get("condition", 0))

    def _cs0_word(self, address, symbols):
        control, parameter = self.cs0
        if isinstance(parameter, int):
            return control << 28 | parameter
        distance = parameter.value(symbols) - address
        if distance % 8:
            raise AsmError(f"'{parameter.text}' is not on an 8-byte boundary")
        if not -(1 << 30) <= distance < 1 << 30:
            raise AsmError(f"'{parameter.text}' is out of reach")
        return control << 28 | (distance >> 3) & 0xfffffff


def _sign_extend(value, bits):
    return (value ^ (1 << (bits - 1))) - (1 << (bits - 1))
