/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interval tree: a changing set of byte ranges in which those that overlap a given range are
 * found in O(log n + found).
 *
 * Rules of use:
 *   - A RangeNode is embedded in the caller's object (container_of() leads back) and must not
 *     move while it is in a tree.  Ranges in a tree may overlap and may be equal.
 *   - Ranges are [start, end), 0 <= start <= end.  An empty range overlaps nothing.
 *   - start and end must not change while in the tree.
 *   - No locking inside.
 */
#ifndef QEMU_RANGES_H
#define QEMU_RANGES_H

#include <stdbool.h>
#include <stdint.h>

typedef struct RangeNode RangeNode;
struct RangeNode {
    /* set by the caller before insertion */
    int64_t start;
    int64_t end;
    /* owned by the tree */
    int64_t max_end;            /* the largest end in the subtree */
    RangeNode *left;
    RangeNode *right;
    uint32_t priority;
};

typedef struct RangeTree {
    RangeNode *root;
    uint32_t random;
} RangeTree;

/* An empty tree is all zero: { NULL }; this is the same for storage that is not. */
static inline void range_tree_init(RangeTree *tree)
{
    *tree = (RangeTree){ .root = NULL };
}

static inline bool range_tree_is_empty(const RangeTree *tree)
{
    return !tree->root;
}

/* Insert @node, whose start and end are set; borrowed until removed. */
void range_tree_insert(RangeTree *tree, RangeNode *node);
/* Remove @node, which must be in @tree. */
void range_tree_remove(RangeTree *tree, RangeNode *node);

/* The node with the lowest start that overlaps [@start, @end), or NULL. */
RangeNode *range_tree_first_overlap(const RangeTree *tree, int64_t start, int64_t end);
/**
 * The overlapping node after @node, in ascending order of start; NULL at the end.
 * @node must be in the tree.  To remove nodes while walking, ask for the next one first.
 */
RangeNode *range_tree_next_overlap(const RangeTree *tree, const RangeNode *node, int64_t start,
                                   int64_t end);

/* Whether [@first1, @first1 + @len1) and [@first2, @first2 + @len2) have an element in common. */
static inline bool ranges_overlap(uint64_t first1, uint64_t len1, uint64_t first2, uint64_t len2)
{
    /* Written without sums, so that ranges up to the very end of uint64_t work. */
    return len1 && len2 && (first1 <= first2 ? first2 - first1 < len1 : first1 - first2 < len2);
}

#endif
