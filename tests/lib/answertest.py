# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests whose cases are answers kept in a file, in whatever form, and compared with stock's.

celltable.TableTest is the case of tables that have the same columns everywhere."""

import argparse
import difflib
import os
import re
import tempfile

from imgtest import Tap, have, stock


def without_numbers(answer):
    return re.sub(r"#block\d+", "#block", answer)


def difference(wanted, got):
    """A unified difference of two texts, or None."""
    lines = list(difflib.unified_diff(wanted.splitlines(), got.splitlines(), "expected", "got",
                                      lineterm="", n=1))
    return "\n".join(lines) or None


class AnswerTest:
    """A test whose cases are a table of answers, kept in a file: what TAP it prints, how the table is
    written, and how QEMU's own programs are compared.

    A cell is a tuple of texts.  @differences: (pattern of cells, why stock answers otherwise there)."""

    area = ""              # begins the names of cases
    expected = ""          # file of the table
    program = ""           # is needed
    stock_program = None   # can be compared with
    differences = ()

    def make_images(self):
        """In the scratch folder."""

    def ask_all(self, program, names):
        """Cell -> answer; @program: stock's, or None for ours; @names: of parts, or () for all."""
        raise NotImplementedError

    def text(self, answers):
        """The table."""
        raise NotImplementedError

    def more(self, tap, answers):
        """Other cases, in the scratch folder."""

    def reasons(self):
        """For the head of the table."""
        return ["Where QEMU 7.2 answers otherwise, and why:" if self.differences else "",
                *(f"  {pattern}\n      {reason}" for pattern, reason in self.differences), "",
                "Written by the test beside it, with --write."]

    def compare(self, tap, ours, others, is_whole):
        """Stock's answers differ where that is explained, and nowhere else."""
        unused = {pattern for pattern, _ in self.differences}
        for cell, answer in others.items():
            text = ": ".join(cell)
            if without_numbers(str(ours.get(cell))) == without_numbers(answer):
                continue
            patterns = [pattern for pattern, _ in self.differences if re.search(pattern, text)]
            unused.difference_update(patterns)
            if not patterns:
                tap.ok(False, f"/{self.area}/stock/{text}",
                       f"ours   {ours.get(cell)}\nstock  {answer}")
        tap.ok(not (is_whole and unused), f"/{self.area}/stock/differences",
               f"no cell differs for {unused}")

    def ask(self, tap, other, names):
        """Everything that needs the scratch folder."""
        home = os.getcwd()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                self.make_images()
                answers = self.ask_all(None, names)
                if other:
                    self.compare(tap, answers, self.ask_all(other, names), not names)
                self.more(tap, answers)
            finally:
                os.chdir(home)
        return answers

    def main(self, description):
        parser = argparse.ArgumentParser(description=description,
                                         formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--write", action="store_true", help="write the table")
        parser.add_argument("--stock", metavar="PROGRAM", help="compare with this program, too")
        parser.add_argument("names", nargs="*", help="parts to be asked; prints them")
        args = parser.parse_args()
        if not have(self.program):
            print(f"1..0 # SKIP {self.program} is not built")
            return 0
        is_long = float(os.environ.get("ROUNDS", 1)) > 1
        other = args.stock or (stock(self.stock_program)
                               if is_long and self.stock_program else None)
        tap = Tap()
        text = self.text(self.ask(tap, other, args.names))
        if args.write:
            with open(self.expected, "w", encoding="utf-8") as file:
                file.write(text)
        for line in text.splitlines():
            print(f"# {line}".rstrip())
        if not args.names:
            with open(self.expected, encoding="utf-8") as file:
                wrong = difference(file.read(), text)
            tap.ok(not wrong, f"/{self.area}/as-expected", wrong)
        return tap.finish()
