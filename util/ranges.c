/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interval tree: a treap (binary tree by key, heap by random priority) ordered by start, then by
 * address, in which each node knows the largest end below it.
 */
#include "qemu/osdep.h"
#include "qemu/ranges.h"

static bool before(const RangeNode *a, const RangeNode *b)
{
    if (a->start != b->start) {
        return a->start < b->start;
    }
    return (uintptr_t)a < (uintptr_t)b;
}

static void update_max(RangeNode *node)
{
    node->max_end = node->end;
    if (node->left) {
        node->max_end = MAX(node->max_end, node->left->max_end);
    }
    if (node->right) {
        node->max_end = MAX(node->max_end, node->right->max_end);
    }
}

/* Split @node into what is before @key and the rest. */
static void split(RangeNode *node, const RangeNode *key, RangeNode **low, RangeNode **high)
{
    if (!node) {
        *low = *high = NULL;
    } else if (before(node, key)) {
        split(node->right, key, &node->right, high);
        update_max(node);
        *low = node;
    } else {
        split(node->left, key, low, &node->left);
        update_max(node);
        *high = node;
    }
}

/* Join two trees, all of @low being before all of @high. */
static RangeNode *join(RangeNode *low, RangeNode *high)
{
    if (!low || !high) {
        return low ? low : high;
    }
    if (low->priority > high->priority) {
        low->right = join(low->right, high);
        update_max(low);
        return low;
    }
    high->left = join(low, high->left);
    update_max(high);
    return high;
}

/* xorshift: the priorities only have to be independent of the keys. */
static uint32_t next_priority(RangeTree *tree)
{
    uint32_t x = tree->random ? tree->random : UINT32_C(2463534242);

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    tree->random = x;
    return x;
}

void range_tree_insert(RangeTree *tree, RangeNode *node)
{
    RangeNode **link = &tree->root;

    assert(node->start >= 0 && node->start <= node->end);
    node->priority = next_priority(tree);
    while (*link && (*link)->priority >= node->priority) {
        (*link)->max_end = MAX((*link)->max_end, node->end);
        link = before(*link, node) ? &(*link)->right : &(*link)->left;
    }
    split(*link, node, &node->left, &node->right);
    update_max(node);
    *link = node;
}

static RangeNode *remove_from(RangeNode *root, RangeNode *node)
{
    assert(root);
    if (root == node) {
        return join(node->left, node->right);
    }
    if (before(node, root)) {
        root->left = remove_from(root->left, node);
    } else {
        root->right = remove_from(root->right, node);
    }
    update_max(root);
    return root;
}

void range_tree_remove(RangeTree *tree, RangeNode *node)
{
    tree->root = remove_from(tree->root, node);
    node->left = node->right = NULL;
}

/* The first node after @after (NULL: any) that overlaps [start, end). */
static RangeNode *find_overlap(RangeNode *node, const RangeNode *after, int64_t start,
                               int64_t end)
{
    while (node && node->max_end > start) {
        if (!after || before(after, node)) {
            RangeNode *found = find_overlap(node->left, after, start, end);
            if (found) {
                return found;
            }
            if (node->start >= end) {
                return NULL;
            }
            if (node->end > start && node->end > node->start) {
                return node;
            }
        }
        node = node->right;
    }
    return NULL;
}

RangeNode *range_tree_first_overlap(const RangeTree *tree, int64_t start, int64_t end)
{
    return start < end ? find_overlap(tree->root, NULL, start, end) : NULL;
}

RangeNode *range_tree_next_overlap(const RangeTree *tree, const RangeNode *node, int64_t start,
                                   int64_t end)
{
    return start < end ? find_overlap(tree->root, node, start, end) : NULL;
}
