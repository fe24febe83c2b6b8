# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of answers: who does what on which node, and what the program said.

A cell is 'ok' or the text of a refusal.  Frequent texts have a short word (WORDS), others get a
number and are told below the table, so that the file reads as a matrix and still holds each text."""

import os
import re
import sys

from answertest import AnswerTest

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


class TableTest(AnswerTest):
    """A test that is a table with columns.

    ask(program, headings) returns (heading, row) -> one answer for each of @columns, "-" where there
    is none.  The headings @ours mean nothing to stock."""

    def __init__(self, expected, head, columns, headings, ask, ours=()):
        self.area = os.path.basename(expected).removesuffix(".txt")
        self.expected, self.head, self.columns = expected, head, columns
        self.headings, self.ask_rows, self.ours = headings, ask, ours

    def ask_all(self, program, names):
        headings = [name for name in names or self.headings if not program or name not in self.ours]
        return {(*key, column): answer
                for key, cells in self.ask_rows(program or self.program, headings).items()
                for column, answer in zip(self.columns, cells)}

    def text(self, answers):
        table, last, rows = Table(self.columns), None, {}
        for (heading, row, _), answer in answers.items():
            rows.setdefault((heading, row), []).append(answer)
        for (heading, row), cells in rows.items():
            if heading != last:
                table.heading(heading)
            last = heading
            table.row(row, cells)
        return table.text(self.head)

    def compare(self, tap, ours, others, is_whole):
        known = {cell: answer for cell, answer in others.items() if "-" not in (answer, ours[cell])}
        super().compare(tap, ours, known, is_whole)

    def main(self, program="qemu-storage-daemon"):  # pylint: disable=arguments-renamed
        """The command line; exits."""
        self.program = program
        sys.exit(super().main(f"The table {self.expected}."))
