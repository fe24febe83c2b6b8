# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of answers: who does what on which node, and what the program said.

A cell is 'ok' or the text of a refusal.  Frequent texts have a short word (WORDS), others get a
number and are told below the table, so that the file reads as a matrix and still holds each text."""

import difflib
import re

# Short word, and the text, in which N is the node of the column and JOB the type of any job.
WORDS = (
    ("busy", "Node 'N' is busy: block device is in use by block job: JOB"),
    ("root", "Need a root block node"),
    ("used", "Node N is in use"),
    ("device", "Block device N is in use"),
    ("backing", "Node 'N' is busy: node is used as backing hd of 'N+1'"),
    ("read-only", "Block node is read-only"),
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
        legend = ["ok         accepted"] + [f"{word.ljust(11)}{text}" for word, text in WORDS]
        notes = [f"[{i + 1}]".ljust(6) + text for i, text in enumerate(self.notes)]
        return "\n".join([*head, "", *legend, *self.lines, "", *notes]) + "\n"


def difference(wanted, got):
    """A unified difference of two texts, or None."""
    lines = list(difflib.unified_diff(wanted.splitlines(), got.splitlines(), "expected", "got",
                                      lineterm="", n=1))
    return "\n".join(lines) or None
