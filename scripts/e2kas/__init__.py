# SPDX-License-Identifier: GPL-2.0-or-later
"""The in-tree e2k assembler; docs/e2k-assembler.md describes the language."""
