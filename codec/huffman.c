/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prefix codes of limited length: by two queues, then mended where codes are too long. */
#include "qemu/osdep.h"

#include "deflate-int.h"

#define MAX_SYMBOLS 288
#define MAX_LENGTH 15

typedef struct Leaf {
    uint16_t weight;
    uint16_t symbol;
} Leaf;

/* By one byte of the weight; equal ones keep their order. */
static void sort_by_byte(Leaf *to, const Leaf *from, unsigned n, unsigned shift)
{
    uint16_t at[257] = { 0 };

    for (unsigned i = 0; i < n; i++) {
        at[(from[i].weight >> shift & 255) + 1]++;
    }
    for (unsigned i = 0; i < 256; i++) {
        at[i + 1] += at[i];
    }
    for (unsigned i = 0; i < n; i++) {
        to[at[from[i].weight >> shift & 255]++] = from[i];
    }
}

/* The symbols that occur, the rarest first; what is more frequent than 2^16 counts as that. */
static unsigned sorted_leaves(Leaf *leaves, const uint32_t *counts, unsigned n)
{
    Leaf unsorted[MAX_SYMBOLS] = { 0 }, half_sorted[MAX_SYMBOLS];
    unsigned n_leaves = 0;

    for (unsigned i = 0; i < n; i++) {
        if (counts[i]) {
            unsorted[n_leaves++] = (Leaf){ MIN(counts[i], UINT16_MAX), i };
        }
    }
    sort_by_byte(half_sorted, unsorted, n_leaves, 0);
    sort_by_byte(leaves, half_sorted, n_leaves, 8);
    return n_leaves;
}

/*
 * How many leaves have each depth in the best tree.  Nodes are made in the order of their weights,
 * so the two lightest are always the heads of two queues: the leaves left, and the nodes left.
 */
static void count_depths(unsigned *at_depth, const Leaf *leaves, unsigned n, unsigned limit)
{
    uint32_t weight[2 * MAX_SYMBOLS];
    uint16_t parent[2 * MAX_SYMBOLS], depth[2 * MAX_SYMBOLS];
    unsigned leaf = 0, node = n, end = n;

    for (unsigned i = 0; i < n; i++) {
        weight[i] = leaves[i].weight;
    }
    for (; end < 2 * n - 1; end++) {
        weight[end] = 0;
        for (int child = 0; child < 2; child++) {
            bool is_leaf = leaf < n && (node == end || weight[leaf] <= weight[node]);
            unsigned i = is_leaf ? leaf++ : node++;

            weight[end] += weight[i];
            parent[i] = end;
        }
    }
    depth[end - 1] = 0;
    for (unsigned i = end - 1; i-- > 0;) {
        depth[i] = depth[parent[i]] + 1;
        if (i < n) {
            at_depth[MIN(depth[i], limit)]++;
        }
    }
}

/* Cut to @limit there are too many codes: each turn splits a shorter one to make room for one. */
static void mend_depths(unsigned *at_depth, unsigned limit)
{
    unsigned used = 0;

    for (unsigned d = 1; d <= limit; d++) {
        used += at_depth[d] << (limit - d);
    }
    for (; used > 1U << limit; used--) {
        unsigned d = limit - 1;

        while (!at_depth[d]) {
            d--;
        }
        at_depth[d]--;
        at_depth[d + 1] += 2;
        at_depth[limit]--;
    }
}

void huffman_lengths(uint8_t *lengths, const uint32_t *counts, unsigned n, unsigned limit)
{
    unsigned at_depth[MAX_LENGTH + 1] = { 0 };
    Leaf leaves[MAX_SYMBOLS], *leaf = leaves;
    unsigned n_leaves = sorted_leaves(leaves, counts, n);

    memset(lengths, 0, n);
    if (n_leaves < 2) {
        unsigned only = n_leaves ? leaves[0].symbol : 0;

        lengths[only] = lengths[only ? 0 : 1] = 1;
        return;
    }
    count_depths(at_depth, leaves, n_leaves, limit);
    mend_depths(at_depth, limit);
    for (unsigned d = limit; d > 0; d--) {
        for (unsigned i = 0; i < at_depth[d]; i++) {
            lengths[leaf++->symbol] = d;
        }
    }
}

static unsigned reverse16(unsigned v)
{
    v = (v & 0x5555) << 1 | (v >> 1 & 0x5555);
    v = (v & 0x3333) << 2 | (v >> 2 & 0x3333);
    v = (v & 0x0f0f) << 4 | (v >> 4 & 0x0f0f);
    return (v & 0xff) << 8 | v >> 8;
}

void huffman_codes(uint16_t *codes, const uint8_t *lengths, unsigned n)
{
    unsigned of_length[MAX_LENGTH + 1] = { 0 }, next[MAX_LENGTH + 1] = { 0 };

    for (unsigned i = 0; i < n; i++) {
        of_length[lengths[i]]++;
    }
    of_length[0] = 0;
    for (unsigned d = 1; d <= MAX_LENGTH; d++) {
        next[d] = (next[d - 1] + of_length[d - 1]) << 1;
    }
    for (unsigned i = 0; i < n; i++) {
        codes[i] = lengths[i] ? reverse16(next[lengths[i]]++) >> (16 - lengths[i]) : 0;
    }
}
