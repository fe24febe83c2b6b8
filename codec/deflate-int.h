/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside the deflate writer: what its three steps hand on.
 *
 *  - deflate-write.c turns bytes into tokens, and cuts them into blocks;
 *  - deflate-block.c turns a block into bits;
 *  - huffman.c finds its codes.
 */
#ifndef CODEC_DEFLATE_INT_H
#define CODEC_DEFLATE_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Alphabets of RFC 1951, 3.2.5: bytes, the block's end and lengths; distances. */
#define N_LITERALS 286
#define N_DISTANCES 30
#define END_OF_BLOCK 256
#define FIRST_LENGTH 257

#define SHORTEST_LENGTH 3
#define LONGEST_LENGTH 258
#define LONGEST_DISTANCE 4096

/*
 * A byte, or a match.  Bits 0-8: the byte, or 256 and what the length is above the shortest;
 * from 9: the distance, 0 for a byte.
 */
typedef uint32_t Token;

#define TOKEN_WHATS 512
#define TOKEN_WHAT(t) ((t) & 511)
#define TOKEN_DISTANCE(t) ((t) >> 9)

/* How often each symbol stands in some tokens. */
typedef struct SymbolCounts {
    uint32_t literal[N_LITERALS];
    uint32_t distance[N_DISTANCES];
} SymbolCounts;

/* A number in deflate's half logarithmic form. */
typedef struct Symbol {
    uint16_t symbol;
    uint8_t extra_bits;
    uint16_t extra;
} Symbol;

/* @bits: of the mantissa, 1 for distances and 2 for lengths; @v: from 0. */
static inline Symbol symbol_of(unsigned v, unsigned bits)
{
    unsigned k = v >> bits ? 31 - __builtin_clz(v) - bits : 0;

    return (Symbol){ (k << bits) + (v >> k), k, v & ((1U << k) - 1) };
}

/* Of a match's @length in the alphabet of literals. */
static inline Symbol symbol_of_length(unsigned length)
{
    Symbol s = { FIRST_LENGTH + 28, 0, 0 };

    if (length < LONGEST_LENGTH) {
        s = symbol_of(length - SHORTEST_LENGTH, 2);
        s.symbol += FIRST_LENGTH;
    }
    return s;
}

/* Bits of the number behind a literal's @symbol: a length's. */
static inline unsigned length_extra_bits(unsigned symbol)
{
    unsigned i = symbol - FIRST_LENGTH;

    return symbol < FIRST_LENGTH + 8 || i == 28 ? 0 : i / 4 - 1;
}

/* Bits of the number behind a distance's @symbol. */
static inline unsigned distance_extra_bits(unsigned symbol)
{
    return symbol < 4 ? 0 : symbol / 2 - 1;
}

/** Bits on their way to memory, the lowest first.  A writer never goes past @end. */
typedef struct BitWriter {
    uint64_t bits;
    unsigned n;
    uint8_t *out;
    const uint8_t *end;
} BitWriter;

/** What becomes one block: @tokens stand for @src. */
typedef struct DeflateBlock {
    const uint8_t *src;
    size_t src_len;
    const Token *tokens;
    size_t n_tokens;
    SymbolCounts counts; /* of the tokens; the end is not among them */
} DeflateBlock;

/**
 * Write @block in the shortest of deflate's three forms.
 * False: @w has too little room, and nothing was written.
 */
bool deflate_block_write(BitWriter *w, const DeflateBlock *block, bool is_last);

/** Write the last bits, if any.  False: no room. */
bool deflate_bits_end(BitWriter *w);

/**
 * The lengths, @limit at most, of the best prefix codes for @n symbols that occur @counts times
 * each (1 << @limit >= @n; @n <= 288); 0 for those that do not, but two symbols have a code always.
 */
void huffman_lengths(uint8_t *lengths, const uint32_t *counts, unsigned n, unsigned limit);

/** The codes that follow from @lengths (RFC 1951, 3.2.2), their first bit lowest. */
void huffman_codes(uint16_t *codes, const uint8_t *lengths, unsigned n);

#endif
