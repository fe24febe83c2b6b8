# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of check and repair share: running a check, and comparing it with stock's."""

from imgtest import run, sha256, stock

# Where ours says it once for all that is concerned: unreadable counts, tables that are shared; or
# goes on where stock ends: damaged tables of bitmaps.
APART = ("Can't get refcount", "I/O error", "overflow cluster", "aligned", "bitmap_table")

# Said of tables where the counts are right, which is all that stock looks at.
HIDDEN = "something else lies there, too"


def check(tool, name, *options):
    """Check the qcow2 image @name with this program."""
    return run(tool, "check", "-f", "qcow2", *options, name)


def findings(result):
    """What a check says, without what only ours says."""
    lines = result.text.replace("to fix.Leaked", "to fix.\nLeaked").split("\n")
    return [line for line in lines if line and not line.startswith("qcow2: ")]


def compare_findings(name):
    """The same as stock's?  None if so, or if one cannot tell."""
    theirs, ours = check(stock("qemu-img"), name), check("qemu-img", name)
    if any(word in theirs.text for word in APART) or HIDDEN in ours.text:
        return None
    if theirs.status == ours.status and findings(theirs) == findings(ours):
        return None
    if all("Could not open" in result.text for result in (theirs, ours)):
        return None  # refused for one of several reasons
    return f"findings differ:\n{theirs}\n{ours}"


def content(name, *options):
    """Digest of what a guest reads; None if something cannot be read."""
    done = run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", *options, name, "content.raw")
    return sha256("content.raw") if done.status == 0 else None
