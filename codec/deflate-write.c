/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing raw deflate with a window of 4 KiB.
 *
 * In so small a window two guesses are enough for each place: the last one with the same four bytes
 * (near), and the last one with the same eight where a token began or might have (far).  The first
 * is looked up for many places in one loop without a branch, whether these are searched then or
 * not: no processor foresees where matches begin and end, and that is where the time of others
 * goes.  The second is there for longer matches further back, of which the first knows nothing; as
 * what comes again is mostly cut in the same places, it need not know the places between them.
 * The bytes depend on the input alone.
 */
#include "qemu/osdep.h"

#include <pthread.h>

#include "qemu/bits.h"
#include "qemu/bswap.h"

#include "codec-int.h"
#include "deflate-int.h"

#define WINDOW (1U << DEFLATE_WRITE_WINDOW_BITS)
static_assert(WINDOW == LONGEST_DISTANCE, "tokens have distances up to the window's size");

/*
 * Of the near guesses hardly one shall be lost to another with the same hash before it leaves the
 * window: a match that is found where it begins takes less time than one that is found later.
 */
#define NEAR_BITS 15
#define FAR_BITS 13

/* Places that are looked up at once, before they are searched. */
#define STEP 512
static_assert(STEP >= LONGEST_LENGTH, "the places inside a match are looked up at once, too");

/* A match below eight bytes is given up if at the next place another of eight or more begins. */
#define SHORT_MATCH 8

/* After so many bytes without a match (as a power of two) every second is tried, and so on. */
#define MISSES_BITS 9
#define MAX_STRIDE 16
/* Where nothing matches at that stride only one step of four is looked at. */
#define HOPELESS (MAX_STRIDE << MISSES_BITS)

/* Statistics are compared each PIECE bytes; a block ends where they change, or with BLOCK bytes. */
#define PIECE 16384
#define BLOCK (4 * PIECE)
/* Bits that another block should save: what its header takes, and then some for its time. */
#define BLOCK_COST 800

/* Behind a place that is searched as many bytes may be read. */
#define TAIL 9

typedef struct Writer {
    /* Where bytes of this hash were seen last, modulo 64 KiB; what is stale is found to differ. */
    uint16_t last_near[1 << NEAR_BITS], last_far[1 << FAR_BITS];
    uint16_t near[STEP]; /* the same for each place of the step, before it */

    uint32_t what_counts[TOKEN_WHATS], distance_counts[32]; /* of the piece */
    size_t misses; /* bytes since the last match */
    DeflateBlock block;
    uint64_t block_cost;
    size_t n_tokens; /* of the block and the piece behind it */
    Token tokens[BLOCK + PIECE + LONGEST_LENGTH];
} Writer;

typedef struct Match {
    unsigned len, distance;
} Match;

/* ---- tables -------------------------------------------------------------------------------- */

#define LOG_BITS 8

/* log2(1 + i / 256), times 256. */
static uint16_t log_table[1 << LOG_BITS];
static uint8_t distance_symbol[LONGEST_DISTANCE + 1];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

/* Logarithms bit by bit, by squaring: the same on every machine. */
static void make_tables(void)
{
    for (unsigned i = 1; i <= LONGEST_DISTANCE; i++) {
        distance_symbol[i] = symbol_of(i - 1, 1).symbol;
    }
    for (uint64_t i = 0; i < 1 << LOG_BITS; i++) {
        uint64_t x = (256 + i) << 22; /* 30 bits behind the point */

        for (unsigned bit = 0; bit < LOG_BITS; bit++) {
            bool is_above = x * x >> 61;

            x = x * x >> (30 + is_above);
            log_table[i] = log_table[i] << 1 | is_above;
        }
    }
}

/* ---- the cost of a block ------------------------------------------------------------------- */

/* @n times its logarithm, times 256. */
static uint64_t n_log_n(uint32_t n)
{
    unsigned k = n ? 31 - __builtin_clz(n) : 0;

    return (uint64_t)n * (k << LOG_BITS | log_table[((uint64_t)n << LOG_BITS >> k) & 255]);
}

static uint64_t alphabet_cost(const uint32_t *counts, unsigned n)
{
    uint64_t total = 0, sum = 0;

    for (unsigned i = 0; i < n; i++) {
        total += counts[i];
        sum += n_log_n(counts[i]);
    }
    return (n_log_n(total) - sum) >> LOG_BITS;
}

/* Bits that the symbols need; extra bits are the same in every block. */
static uint64_t cost_of(const SymbolCounts *counts)
{
    return alphabet_cost(counts->literal, N_LITERALS) +
           alphabet_cost(counts->distance, N_DISTANCES);
}

/* ---- searching ----------------------------------------------------------------------------- */

static inline void look_up_place(Writer *w, const uint8_t *src, size_t at, size_t i)
{
    uint32_t hash = ldl_le_p(src + at + i) * 0x9e3779b1U >> (32 - NEAR_BITS);

    w->near[i] = w->last_near[hash];
    w->last_near[hash] = at + i;
}

/* The places from @at to @end take the place of others like them, which become their guesses. */
static void look_up(Writer *w, const uint8_t *src, size_t at, size_t end)
{
    const size_t n = end - at;
    size_t i = 0;

    /* Unrolled by hand: GCC does not at -O2, and it saves a tenth of the whole time. */
    for (; i + 4 <= n; i += 4) {
        look_up_place(w, src, at, i);
        look_up_place(w, src, at, i + 1);
        look_up_place(w, src, at, i + 2);
        look_up_place(w, src, at, i + 3);
    }
    for (; i < n; i++) {
        look_up_place(w, src, at, i);
    }
}

/*
 * A guess becomes a distance.  Whatever it is, the distance is not above @at: a guess was a place
 * before, or is zero.
 */
static inline unsigned distance_to(size_t at, uint16_t guess)
{
    return (uint16_t)(at - guess);
}

/* The place @at takes the place of another like it; returns the distance between them. */
static inline unsigned look_up_far(Writer *w, const uint8_t *src, size_t at)
{
    uint64_t hash = ldq_le_p(src + at) * 0x9e3779b185ebca87ULL >> (64 - FAR_BITS);
    uint16_t guess = w->last_far[hash];

    w->last_far[hash] = at;
    return distance_to(at, guess);
}

static inline bool is_same8(const uint8_t *src, size_t at, unsigned distance)
{
    return (ldq_le_p(src + at) == ldq_le_p(src + at - distance)) & (distance - 1 < WINDOW);
}

/* Of @len bytes at most, of which the first eight are known to be the same. */
static unsigned long_match_length(const uint8_t *a, const uint8_t *b, size_t len)
{
    const unsigned max = MIN(len, LONGEST_LENGTH);
    unsigned n = 8;

    for (; n + 8 <= max; n += 8) {
        uint64_t differ = ldq_le_p(a + n) ^ ldq_le_p(b + n);

        if (differ) {
            return n + (ctz64(differ) >> 3);
        }
    }
    while (n < max && a[n] == b[n]) {
        n++;
    }
    return n;
}

/* The same, quick where it is below sixteen, as most are. */
static inline unsigned match_length(const uint8_t *src, size_t at, unsigned distance, size_t len)
{
    const uint8_t *a = src + at, *b = a - distance;

    if (likely(at + 16 <= len)) {
        uint64_t differ = ldq_le_p(a + 8) ^ ldq_le_p(b + 8);

        if (likely(differ)) {
            return 8 + (ctz64(differ) >> 3);
        }
    }
    return long_match_length(a, b, len - at);
}

/* The match at the place @i of the step: of four bytes at least, or 0 if there is none. */
static inline Match find(Writer *w, const uint8_t *src, size_t at, size_t i, size_t len)
{
    unsigned near = distance_to(at, w->near[i]), far = look_up_far(w, src, at);
    uint64_t differ = ldq_le_p(src + at) ^ ldq_le_p(src + at - near);

    if (((uint32_t)differ != 0) | (near - 1 >= WINDOW)) {
        return (Match){ 0, 0 };
    }
    if (!differ) {
        return (Match){ match_length(src, at, near, len), near };
    }
    if (is_same8(src, at, far)) {
        return (Match){ match_length(src, at, far, len), far };
    }
    return (Match){ (unsigned)ctz64(differ) >> 3, near };
}

/* ---- tokens -------------------------------------------------------------------------------- */

static inline Token count_byte(Writer *w, uint8_t byte)
{
    w->what_counts[byte]++;
    return byte;
}

static inline Token count_match(Writer *w, Match m)
{
    unsigned what = 256 + m.len - SHORTEST_LENGTH;

    w->what_counts[what]++;
    w->distance_counts[distance_symbol[m.distance]]++;
    return what | m.distance << 9;
}

static void add_bytes(Writer *w, const uint8_t *src, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        w->tokens[w->n_tokens++] = count_byte(w, src[i]);
    }
}

/* Tokens for what is from @at to @end and what a match takes behind it; returns where that ends. */
static size_t write_step(Writer *w, const uint8_t *src, size_t len, size_t at, size_t end)
{
    Token *to = w->tokens + w->n_tokens;
    const size_t start = at;
    size_t match_end = at - w->misses;

    look_up(w, src, at, end);
    while (at < end) {
        Match m = find(w, src, at, at - start, len);
        unsigned next_far;

        if (!m.len) {
            size_t more = MIN((at - match_end) >> MISSES_BITS, MAX_STRIDE - 1);

            *to++ = count_byte(w, src[at++]);
            for (; unlikely(more) && at < end; more--) {
                *to++ = count_byte(w, src[at++]);
            }
            continue;
        }
        next_far = look_up_far(w, src, at + 1);
        if (m.len < SHORT_MATCH && is_same8(src, at + 1, next_far)) {
            *to++ = count_byte(w, src[at++]);
            m = (Match){ match_length(src, at, next_far, len), next_far };
        }
        *to++ = count_match(w, m);
        at += m.len;
        match_end = at;
        if (at + TAIL <= len) {
            look_up_far(w, src, at - 1);
        }
    }
    w->misses = at - match_end;
    w->n_tokens = to - w->tokens;
    return at;
}

/* ---- blocks -------------------------------------------------------------------------------- */

/* What the tokens of the piece are; begins to count anew. */
static void take_counts(Writer *w, SymbolCounts *counts)
{
    memset(counts, 0, sizeof(*counts));
    memcpy(counts->literal, w->what_counts, 256 * sizeof(counts->literal[0]));
    memcpy(counts->distance, w->distance_counts, sizeof(counts->distance));
    for (unsigned i = SHORTEST_LENGTH; i <= LONGEST_LENGTH; i++) {
        counts->literal[symbol_of_length(i).symbol] += w->what_counts[256 + i - SHORTEST_LENGTH];
    }
    memset(w->what_counts, 0, sizeof(w->what_counts));
    memset(w->distance_counts, 0, sizeof(w->distance_counts));
}

static void add_counts(SymbolCounts *sum, const SymbolCounts *a, const SymbolCounts *b)
{
    for (unsigned i = 0; i < N_LITERALS; i++) {
        sum->literal[i] = a->literal[i] + b->literal[i];
    }
    for (unsigned i = 0; i < N_DISTANCES; i++) {
        sum->distance[i] = a->distance[i] + b->distance[i];
    }
}

/* The tokens behind the block, of @len bytes at @src, join it or begin one.  False: no room. */
static bool add_piece(Writer *w, BitWriter *bits, const uint8_t *src, size_t len)
{
    DeflateBlock *block = &w->block;
    SymbolCounts piece, both;
    uint64_t cost, cost_of_both;

    take_counts(w, &piece);
    cost = cost_of(&piece);
    if (block->src_len) {
        add_counts(&both, &block->counts, &piece);
        cost_of_both = cost_of(&both);
        if (block->src_len + len <= BLOCK && cost_of_both <= w->block_cost + cost + BLOCK_COST) {
            block->counts = both;
            block->src_len += len;
            block->n_tokens = w->n_tokens;
            w->block_cost = cost_of_both;
            return true;
        }
        if (!deflate_block_write(bits, block, false)) {
            return false;
        }
        w->n_tokens -= block->n_tokens;
        memmove(w->tokens, w->tokens + block->n_tokens, w->n_tokens * sizeof(Token));
    }
    *block = (DeflateBlock){ src, len, w->tokens, w->n_tokens, piece };
    w->block_cost = cost;
    return true;
}

/* One for each worker: it is large. */
static GPrivate writer = G_PRIVATE_INIT(g_free);

static Writer *get_writer(const void *src)
{
    Writer *w = g_private_get(&writer);

    pthread_once(&tables_once, make_tables);
    if (!w) {
        w = g_try_new(Writer, 1);
        if (!w) {
            return NULL;
        }
        g_private_set(&writer, w);
    }
    memset(w, 0, offsetof(Writer, tokens));
    w->block = (DeflateBlock){ .src = src, .tokens = w->tokens };
    return w;
}

ssize_t deflate_write(void *dst, size_t dst_len, const void *src, size_t src_len)
{
    BitWriter bits = { .out = dst, .end = (uint8_t *)dst + dst_len };
    const size_t tail = src_len > TAIL ? src_len - TAIL : 0;
    const uint8_t *bytes = src;
    Writer *w = get_writer(src);

    if (!w) {
        return -ENOMEM;
    }
    for (size_t at = 0; at < src_len;) {
        size_t start = at, piece_end = MIN(start + PIECE, tail);

        while (at < piece_end) {
            size_t end = MIN(at + STEP, piece_end);

            if (w->misses >= HOPELESS && at / STEP % 4) {
                add_bytes(w, bytes + at, end - at);
                w->misses += end - at;
                at = end;
                continue;
            }
            at = write_step(w, bytes, src_len, at, end);
            if (at > end) {
                look_up(w, bytes, end, MIN(at, tail));
            }
        }
        if (at >= tail) {
            add_bytes(w, bytes + at, src_len - at);
            at = src_len;
        }
        if (!add_piece(w, &bits, bytes + start, at - start)) {
            return -ENOSPC;
        }
    }
    if (!deflate_block_write(&bits, &w->block, true) || !deflate_bits_end(&bits)) {
        return -ENOSPC;
    }
    return bits.out - (uint8_t *)dst;
}
