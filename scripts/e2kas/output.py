# SPDX-License-Identifier: GPL-2.0-or-later
"""Image formats: flat binary and minimal ELF64 for e2k (e_machine 175, PT_LOAD only)."""

import struct

from .errors import AsmError

EM_MCST_ELBRUS = 175
FLAT_LIMIT = 1 << 30
PAGE = 4096


def flat(chunks):
    """All chunks from the lowest address on, gaps filled with zeros."""
    base = chunks[0].address
    end = chunks[-1].address + len(chunks[-1].data)
    if end - base > FLAT_LIMIT:
        raise AsmError("the chunks lie too far apart for a flat image; make an ELF file")
    image = bytearray(end - base)
    for chunk in chunks:
        image[chunk.address - base:chunk.address - base + len(chunk.data)] = chunk.data
    return bytes(image)


def elf(chunks, entry, version):
    """An executable with one PT_LOAD a chunk, physical = virtual address."""
    header_size = 64 + 56 * len(chunks)
    offset = header_size
    headers, body = b"", b""
    for chunk in chunks:
        pad = (chunk.address - offset) % PAGE
        body += bytes(pad) + chunk.data
        offset += pad
        size = len(chunk.data)
        headers += struct.pack("<IIQQQQQQ", 1, 7, offset, chunk.address, chunk.address,
                               size, size, PAGE)
        offset += size
    ident = b"\x7fELF" + bytes([2, 1, 1, 0]) + bytes(8)
    head = ident + struct.pack("<HHIQQQIHHHHHH", 2, EM_MCST_ELBRUS, 1, entry, 64, 0,
                               version << 24, 64, 56, len(chunks), 64, 0, 0)
    return head + headers + body
