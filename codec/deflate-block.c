/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing a block of deflate (RFC 1951, 3.2.3 to 3.2.7). */
#include "qemu/osdep.h"

#include "deflate-int.h"
#include "qemu/bswap.h"

enum { STORED = 0, FIXED = 1, DYNAMIC = 2 };

/* So that a match and its extra bits (14 + 5, 15 + 10) fit beside seven bits that wait. */
#define LITERAL_LIMIT 14
#define DISTANCE_LIMIT 15
/* Bits that fit beside those seven. */
#define MAX_PUT 56

#define N_FIXED_LITERALS 288
#define STORED_MAX 65535

/* The codes' lengths are written in an alphabet of their own, and its lengths in this order. */
#define N_LENGTHS 19
#define LENGTHS_LIMIT 7
static const uint8_t length_order[N_LENGTHS] = {
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
};

/* In it: the length before three to six times more; a run of 3 to 10, of 11 to 138 zeroes. */
enum { REPEAT = 16, ZEROES = 17, MANY_ZEROES = 18 };
static const uint8_t run_extra_bits[N_LENGTHS] = { [REPEAT] = 2, [ZEROES] = 3, [MANY_ZEROES] = 7 };

typedef struct Codes {
    uint8_t literal_len[N_FIXED_LITERALS];
    uint16_t literal[N_FIXED_LITERALS];
    uint8_t distance_len[N_DISTANCES];
    uint16_t distance[N_DISTANCES];
} Codes;

/* How a dynamic block's codes are told. */
typedef struct CodeHeader {
    unsigned n_literals, n_distances, n_lengths;
    uint8_t length_len[N_LENGTHS];
    uint16_t items[N_LITERALS + N_DISTANCES]; /* a symbol, and from bit 5 its extra bits */
    unsigned n_items;
    uint64_t bits;
} CodeHeader;

/* ---- bits ---------------------------------------------------------------------------------- */

/* @n bits, of which with those that wait there may be 64. */
static inline void put(BitWriter *w, uint64_t bits, unsigned n)
{
    w->bits |= bits << w->n;
    w->n += n;
}

/* Whole bytes go out, at most seven bits wait behind it; there must be room for eight bytes. */
static inline void flush_fast(BitWriter *w)
{
    stq_le_p(w->out, w->bits);
    w->out += w->n >> 3;
    w->bits >>= w->n & ~7U;
    w->n &= 7;
}

/* The same where there may be less. */
static void flush(BitWriter *w)
{
    for (; w->n >= 8; w->n -= 8) {
        *w->out++ = w->bits;
        w->bits >>= 8;
    }
}

static bool has_room(const BitWriter *w, uint64_t bits)
{
    return w->n + bits <= (uint64_t)(w->end - w->out) * 8;
}

bool deflate_bits_end(BitWriter *w)
{
    if (!has_room(w, 0)) {
        return false;
    }
    w->n = ROUND_UP(w->n, 8);
    flush(w);
    return true;
}

/* ---- the codes ----------------------------------------------------------------------------- */

static void fixed_codes(Codes *codes)
{
    for (unsigned i = 0; i < N_FIXED_LITERALS; i++) {
        codes->literal_len[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    }
    memset(codes->distance_len, 5, N_DISTANCES);
}

static void add_item(CodeHeader *header, uint32_t *counts, unsigned symbol, unsigned extra)
{
    header->items[header->n_items++] = symbol | extra << 5;
    counts[symbol]++;
}

/* @run times the length @len. */
static void add_run(CodeHeader *header, uint32_t *counts, unsigned len, unsigned run)
{
    if (len) {
        add_item(header, counts, len, 0);
        run--;
    }
    while (run >= 3) {
        unsigned longest = len ? 6 : 138, n = MIN(run, longest);

        if (len) {
            add_item(header, counts, REPEAT, n - 3);
        } else if (n > 10) {
            add_item(header, counts, MANY_ZEROES, n - 11);
        } else {
            add_item(header, counts, ZEROES, n - 3);
        }
        run -= n;
    }
    for (; run; run--) {
        add_item(header, counts, len, 0);
    }
}

static void make_header(CodeHeader *header, const Codes *codes)
{
    uint8_t lengths[N_LITERALS + N_DISTANCES];
    uint32_t counts[N_LENGTHS] = { 0 };
    unsigned n_literals = N_LITERALS, n_distances = N_DISTANCES, n;

    while (!codes->literal_len[n_literals - 1]) {
        n_literals--;
    }
    while (n_distances > 1 && !codes->distance_len[n_distances - 1]) {
        n_distances--;
    }
    header->n_literals = n_literals;
    header->n_distances = n_distances;
    header->n_items = 0;
    memcpy(lengths, codes->literal_len, n_literals);
    memcpy(lengths + n_literals, codes->distance_len, n_distances);
    n = n_literals + n_distances;
    for (unsigned i = 0, run; i < n; i += run) {
        for (run = 1; i + run < n && lengths[i + run] == lengths[i]; run++) {
        }
        add_run(header, counts, lengths[i], run);
    }
    huffman_lengths(header->length_len, counts, N_LENGTHS, LENGTHS_LIMIT);
    header->n_lengths = N_LENGTHS;
    while (header->n_lengths > 4 && !header->length_len[length_order[header->n_lengths - 1]]) {
        header->n_lengths--;
    }
    header->bits = 5 + 5 + 4 + 3 * header->n_lengths;
    for (unsigned i = 0; i < N_LENGTHS; i++) {
        header->bits += counts[i] * (header->length_len[i] + run_extra_bits[i]);
    }
}

static void put_header(BitWriter *w, const CodeHeader *header)
{
    uint16_t codes[N_LENGTHS];

    huffman_codes(codes, header->length_len, N_LENGTHS);
    put(w, header->n_literals - FIRST_LENGTH, 5);
    put(w, header->n_distances - 1, 5);
    put(w, header->n_lengths - 4, 4);
    flush(w);
    for (unsigned i = 0; i < header->n_lengths; i++) {
        put(w, header->length_len[length_order[i]], 3);
        flush(w);
    }
    for (unsigned i = 0; i < header->n_items; i++) {
        unsigned symbol = header->items[i] & 31;

        put(w, codes[symbol], header->length_len[symbol]);
        put(w, header->items[i] >> 5, run_extra_bits[symbol]);
        flush(w);
    }
}

/* ---- blocks -------------------------------------------------------------------------------- */

/* What the tokens and the end take by @codes. */
static uint64_t body_bits(const SymbolCounts *counts, const Codes *codes)
{
    uint64_t bits = codes->literal_len[END_OF_BLOCK];

    for (unsigned i = 0; i < N_LITERALS; i++) {
        bits += (uint64_t)counts->literal[i] * (codes->literal_len[i] + length_extra_bits(i));
    }
    for (unsigned i = 0; i < N_DISTANCES; i++) {
        bits += (uint64_t)counts->distance[i] * (codes->distance_len[i] + distance_extra_bits(i));
    }
    return bits;
}

/* What a token becomes, without a branch for what it is, since that can't be foreseen. */
typedef struct TokenCodes {
    /* From bit 24 the length of what stands below, extra bits among it. */
    uint32_t whats[TOKEN_WHATS];
    /* The same from bit 27; none for the distance 0. */
    uint32_t distances[LONGEST_DISTANCE + 1];
} TokenCodes;

/* Of all distances that have a code. */
static void make_distance_codes(uint32_t *to, const Codes *codes)
{
    to[0] = 0;
    for (unsigned i = 0, distance = 1; distance <= LONGEST_DISTANCE; i++) {
        unsigned len = codes->distance_len[i], extra_bits = distance_extra_bits(i);
        uint32_t code = codes->distance[i] | (uint32_t)(len + extra_bits) << 27;

        for (unsigned extra = 0; len && extra < 1U << extra_bits; extra++) {
            to[distance + extra] = code | extra << len;
        }
        distance += 1U << extra_bits;
    }
}

static void make_token_codes(TokenCodes *to, const Codes *codes)
{
    for (unsigned i = 0; i < 256; i++) {
        to->whats[i] = codes->literal[i] | (uint32_t)codes->literal_len[i] << 24;
    }
    for (unsigned i = SHORTEST_LENGTH; i <= LONGEST_LENGTH; i++) {
        Symbol s = symbol_of_length(i);
        unsigned len = codes->literal_len[s.symbol];

        to->whats[256 + i - SHORTEST_LENGTH] = codes->literal[s.symbol] |
                                               (uint32_t)s.extra << len |
                                               (uint32_t)(len + s.extra_bits) << 24;
    }
    make_distance_codes(to->distances, codes);
}

typedef struct TokenBits {
    uint64_t bits;
    unsigned n;
} TokenBits;

static inline TokenBits token_bits(const TokenCodes *codes, Token t)
{
    uint32_t what = codes->whats[TOKEN_WHAT(t)], distance = codes->distances[TOKEN_DISTANCE(t)];
    unsigned n = what >> 24;

    return (TokenBits){ (what & 0xffffff) | (uint64_t)(distance & 0x7ffffff) << n,
                        n + (distance >> 27) };
}

/* Joined first, since for the bits that wait each must wait for the one before it. */
static inline void put_two_tokens(BitWriter *w, const TokenCodes *codes, const Token *tokens)
{
    TokenBits a = token_bits(codes, tokens[0]), b = token_bits(codes, tokens[1]);

    if (unlikely(a.n + b.n > MAX_PUT)) {
        put(w, a.bits, a.n);
        flush_fast(w);
        a = (TokenBits){ 0, 0 };
    }
    put(w, a.bits | b.bits << a.n, a.n + b.n);
    flush_fast(w);
}

static void put_tokens(BitWriter *to, const Token *tokens, size_t n, const TokenCodes *codes)
{
    /* As many tokens have room for eight bytes at least. */
    const size_t n_last = 64;
    BitWriter w = *to;
    size_t i = 0;

    for (; i + 2 + n_last <= n; i += 2) {
        put_two_tokens(&w, codes, tokens + i);
    }
    for (; i < n; i++) {
        TokenBits t = token_bits(codes, tokens[i]);

        put(&w, t.bits, t.n);
        flush(&w);
    }
    *to = w;
}

static uint64_t stored_bits(const BitWriter *w, size_t len)
{
    size_t n = MAX(DIV_ROUND_UP(len, STORED_MAX), 1);

    /* After the three bits of the first header the byte is filled; later ones begin with one. */
    return ROUND_UP(w->n + 3, 8) - w->n + (n - 1) * 8 + n * 32 + (uint64_t)len * 8;
}

static void put_stored(BitWriter *w, const uint8_t *src, size_t len, bool is_last)
{
    do {
        size_t n = MIN(len, STORED_MAX);

        put(w, (is_last && n == len) | STORED << 1, 3);
        w->n = ROUND_UP(w->n, 8);
        flush(w);
        put(w, n | (uint64_t)(n ^ 0xffff) << 16, 32);
        flush(w);
        memcpy(w->out, src, n);
        w->out += n;
        src += n;
        len -= n;
    } while (len);
}

bool deflate_block_write(BitWriter *w, const DeflateBlock *block, bool is_last)
{
    uint64_t stored = stored_bits(w, block->src_len), fixed, dynamic;
    SymbolCounts counts = block->counts;
    unsigned n_literals = N_LITERALS;
    TokenCodes token_codes;
    CodeHeader header;
    Codes codes;

    fixed_codes(&codes);
    fixed = 3 + body_bits(&counts, &codes);
    counts.literal[END_OF_BLOCK] = 1;
    huffman_lengths(codes.literal_len, counts.literal, N_LITERALS, LITERAL_LIMIT);
    huffman_lengths(codes.distance_len, counts.distance, N_DISTANCES, DISTANCE_LIMIT);
    make_header(&header, &codes);
    dynamic = 3 + header.bits + body_bits(&block->counts, &codes);
    if (!has_room(w, MIN(stored, MIN(fixed, dynamic)))) {
        return false;
    }
    if (stored <= MIN(fixed, dynamic)) {
        put_stored(w, block->src, block->src_len, is_last);
        return true;
    }
    if (fixed <= dynamic) {
        n_literals = N_FIXED_LITERALS;
        fixed_codes(&codes);
        put(w, is_last | FIXED << 1, 3);
    } else {
        put(w, is_last | DYNAMIC << 1, 3);
        put_header(w, &header);
    }
    huffman_codes(codes.literal, codes.literal_len, n_literals);
    huffman_codes(codes.distance, codes.distance_len, N_DISTANCES);
    make_token_codes(&token_codes, &codes);
    put_tokens(w, block->tokens, block->n_tokens, &token_codes);
    put(w, codes.literal[END_OF_BLOCK], codes.literal_len[END_OF_BLOCK]);
    flush(w);
    return true;
}
