# SPDX-License-Identifier: GPL-2.0-or-later
"""The few lines of TAP that the Python tests print."""


class Tap:
    """Counts and prints results; finish() gives the exit status."""

    def __init__(self):
        self.number = 0
        self.failed = 0

    def ok(self, passed, name, detail=""):
        """Report one case."""
        self.number += 1
        self.failed += not passed
        print(f"{'ok' if passed else 'not ok'} {self.number} - {name}", flush=True)
        if not passed:
            for line in str(detail).splitlines()[-40:]:
                print(f"# {line}", flush=True)

    def skip(self, name, reason):
        """Report a case that could not run here."""
        self.number += 1
        print(f"ok {self.number} - {name} # SKIP {reason}", flush=True)

    def finish(self):
        """Print the plan."""
        print(f"1..{self.number}")
        return 1 if self.failed else 0
