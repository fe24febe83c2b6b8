# SPDX-License-Identifier: GPL-2.0-or-later
"""The one exception with which the assembler refuses its input."""


class AsmError(Exception):
    """A mistake in the source.  The place is filled in by whoever knows it."""

    def __init__(self, message, place=None):
        super().__init__(message)
        self.message = message
        self.place = place

    def __str__(self):
        return f"{self.place}: error: {self.message}" if self.place else f"error: {self.message}"
