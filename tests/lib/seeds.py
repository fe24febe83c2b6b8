# SPDX-License-Identifier: GPL-2.0-or-later
"""Chance for tests: all of it comes from one number, TEST_SEED, which run-tests sets.

As a program, `seeds.py BYTES [PURPOSE]` writes that many random bytes."""

import functools
import os
import random
import sys


@functools.cache
def seed():
    """TEST_SEED of the environment, else a new one.  The first call tells it."""
    number = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"# TEST_SEED={number}", file=sys.stderr, flush=True)
    return number


def rng(*purpose):
    """A generator of random numbers; another purpose gets other numbers."""
    return random.Random(" ".join(map(str, (seed(), *purpose))))


if __name__ == "__main__":
    sys.stdout.buffer.write(rng(*sys.argv[2:]).randbytes(int(sys.argv[1])))
