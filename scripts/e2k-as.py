#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Assemble e2k source into an ELF or flat image; see docs/e2k-assembler.md."""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from e2kas import output                      # noqa: E402
from e2kas.assembler import Assembler         # noqa: E402
from e2kas.errors import AsmError             # noqa: E402
from e2kas.table import ARCHES, OpTable       # noqa: E402


def parse_arguments():
    parser = argparse.ArgumentParser(prog="e2k-as.py", description=__doc__)
    parser.add_argument("source", help="assembly source")
    parser.add_argument("-o", "--output", required=True, help="file to write")
    parser.add_argument("-f", "--format", choices=("elf", "flat"), default="elf")
    parser.add_argument("-m", "--march", choices=sorted(ARCHES), default="e8c")
    parser.add_argument("-I", "--include", action="append", default=[], help="folder to search")
    parser.add_argument("-D", "--define", action="append", default=[], metavar="NAME[=VALUE]")
    parser.add_argument("-M", "--depend", metavar="FILE", help="write a make dependency rule")
    parser.add_argument("-s", "--symbols", metavar="FILE", help="write 'address name' lines")
    parser.add_argument("--table", help="operation table (default: the one in the tree)")
    return parser.parse_args()


def parse_defines(texts):
    defines = {}
    for text in texts:
        name, eq, value = text.partition("=")
        try:
            defines[name] = int(value, 0) if eq else 1
        except ValueError:
            raise AsmError(f"-D {text}: the value is not a number") from None
    return defines


def write_symbols(path, symbols):
    with open(path, "w", encoding="utf-8") as out:
        for name, value in sorted(symbols.items(), key=lambda item: (str(item[1]), item[0])):
            if isinstance(value, int) and "#" not in name:
                out.write(f"{value:016x} {name}\n")


def write_output(args, image):
    """Write whole or not at all."""
    temporary = f"{args.output}.tmp{os.getpid()}"
    try:
        with open(temporary, "wb") as out:
            out.write(image)
        os.replace(temporary, args.output)
    except OSError as error:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise AsmError(f"cannot write '{args.output}': {error.strerror}") from None


def run(args):
    version = ARCHES[args.march]
    assembler = Assembler(OpTable(args.table), version, args.include, parse_defines(args.define))
    assembler.read(args.source)
    chunks = assembler.assemble()
    if not chunks:
        raise AsmError("the source holds neither code nor data", args.source)
    entry = assembler.entry_address(chunks)
    image = output.flat(chunks) if args.format == "flat" else output.elf(chunks, entry, version)
    write_output(args, image)
    if args.symbols:
        write_symbols(args.symbols, assembler.symbols)
    if args.depend:
        with open(args.depend, "w", encoding="utf-8") as out:
            out.write(f"{args.output}: {' '.join(assembler.reader.files)}\n")
            for path in assembler.reader.files[1:]:
                out.write(f"{path}:\n")


def main():
    args = parse_arguments()
    try:
        run(args)
    except AsmError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
