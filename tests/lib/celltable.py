# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of answers: who does what on which node, and what the program said.

A cell is 'ok' or the text of a refusal.  Frequent texts have a short word (WORDS), others get a
number and are told below the table, so that the file reads as a matrix and still holds each text."""

import argparse
import difflib
import os
import re
import sys
import tempfile

from imgtest import Tap, have

# Short word, and the text, in which N is the node of the column, JOB the type of any job and VERB what
# jobs are told.
WORDS = (
    ("busy", "Node 'N' is busy: block device is in use by block job: JOB"),
    ("root", "Need a root block node"),
    ("used", "Node N is in use"),
    ("device", "Block device N is in use"),
    ("backing", "Node 'N' is busy: node is used as backing hd of 'N+1'"),
    ("read-only", "Block node is read-only"),
    ("verb", "Job 'j' in state 'N' cannot accept command verb 'VERB'"),
)


class Table:
    """Rows of cells under headings; one column for each of @columns."""

    def __init__(self, columns):
        self.columns, self.lines, self.notes = columns, [], []

    def note(self, text):
        """The number of a text."""
        if text not in self.notes:
            self.notes.append(text)
        return f"[{self.notes.index(text) + 1}]"

    def word(self, node, answer):
        """What stands for an answer in the column of @node."""
        if answer in ("ok", "-"):
            return answer
        text = re.sub(rf"\b{node}\b", "N", re.sub(r"#block\d+", "#block", answer))
        general = re.sub(r"(block job: )[a-z-]+$", r"\1JOB", text)
        general = re.sub(r"verb '[a-z-]+'$", "verb 'VERB'", general)
        if node in self.columns[:-1]:
            above = self.columns[self.columns.index(node) + 1]
            general = re.sub(rf"\b{above}\b", "N+1", general)
        for word, known in WORDS:
            if general == known:
                return word
        return self.note(text)

    def heading(self, text):
        self.lines += ["", text.ljust(46) + " ".join(name.ljust(9) for name in self.columns)
                       .rstrip()]

    def row(self, name, answers):
        cells = (self.word(node, answer).ljust(9) for node, answer in zip(self.columns, answers))
        self.lines.append(f"  {name.ljust(44)}{' '.join(cells)}".rstrip())

    def text(self, head):
        cells = set(" ".join(self.lines).split())
        legend = ["ok         accepted"] + [f"{word.ljust(11)}{text}" for word, text in WORDS
                                            if word in cells]
        notes = [f"[{i + 1}]".ljust(6) + text for i, text in enumerate(self.notes)]
        return "\n".join([*head, "", *legend, *self.lines, "", *notes]) + "\n"


def without_numbers(answer):
    return re.sub(r"#block\d+", "#block", answer)


class TableTest:
    """A test that is a table: asks, prints, and compares with the file @expected.

    ask(program, headings) returns (heading, row) -> one answer for each of @columns.  The headings
    @ours mean nothing to stock."""

    def __init__(self, expected, head, columns, headings, ask, ours=()):
        self.expected, self.head, self.columns = expected, head, columns
        self.headings, self.ask, self.ours = headings, ask, ours

    def answers(self, program, headings):
        """Ask, in an empty folder."""
        home = os.getcwd()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                return self.ask(program, headings)
            finally:
                os.chdir(home)

    def text(self, found):
        table, last = Table(self.columns), None
        for (heading, row), cells in found.items():
            if heading != last:
                table.heading(heading)
            last = heading
            table.row(row, cells)
        return table.text(self.head)

    def compare(self, program, found):
        """Print the cells in which another program answers otherwise."""
        theirs = self.answers(program, [name for name in dict.fromkeys(key[0] for key in found)
                                        if name not in self.ours])
        for key, cells in theirs.items():
            for column, a, b in zip(self.columns, found[key], cells):
                if "-" not in (a, b) and without_numbers(a) != without_numbers(b):
                    print(" | ".join((*key, column, a, b)))

    def check(self, found):
        """TAP; the exit status."""
        tap, text = Tap(), self.text(found)
        with open(self.expected, encoding="ascii") as file:
            wrong = difference(file.read(), text)
        print("\n".join(f"# {line}".rstrip() for line in text.splitlines()))
        tap.ok(not wrong, f"{sum(map(len, found.values()))} answers as in "
               f"{os.path.basename(self.expected)}", wrong)
        return tap.finish()

    def main(self, program="qemu-storage-daemon"):
        """The command line; exits."""
        parser = argparse.ArgumentParser()
        parser.add_argument("--write", action="store_true", help=f"write {self.expected}")
        parser.add_argument("--stock", metavar="PROGRAM", help="tell where PROGRAM differs")
        parser.add_argument("headings", nargs="*", help="only these; prints the table")
        options = parser.parse_args()
        if not have(program):
            print(f"1..0 # SKIP {program} is not built")
            sys.exit(0)
        found = self.answers(program, options.headings or self.headings)
        if options.stock:
            self.compare(options.stock, found)
        elif options.write:
            with open(self.expected, "w", encoding="ascii") as file:
                file.write(self.text(found))
        elif options.headings:
            print(self.text(found))
        else:
            sys.exit(self.check(found))


def difference(wanted, got):
    """A unified difference of two texts, or None."""
    lines = list(difflib.unified_diff(wanted.splitlines(), got.splitlines(), "expected", "got",
                                      lineterm="", n=1))
    return "\n".join(lines) or None
