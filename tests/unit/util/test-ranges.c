/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/ranges.h"
#include "../../lib/testlib.h"

#define NODES 200

typedef struct Item {
    RangeNode node;
    bool inserted;
    bool found;
} Item;

static bool overlaps(const RangeNode *node, int64_t start, int64_t end)
{
    return node->start < node->end && start < end && node->start < end && start < node->end;
}

static void assert_query(const RangeTree *tree, Item *items, int64_t start, int64_t end)
{
    int64_t last = -1;

    for (int i = 0; i < NODES; i++) {
        items[i].found = false;
    }
    for (RangeNode *node = range_tree_first_overlap(tree, start, end); node;
         node = range_tree_next_overlap(tree, node, start, end)) {
        Item *item = container_of(node, Item, node);
        g_assert_false(item->found);
        g_assert_cmpint(node->start, >=, last);
        last = node->start;
        item->found = true;
    }
    for (int i = 0; i < NODES; i++) {
        g_assert_cmpint(items[i].found, ==,
                        items[i].inserted && overlaps(&items[i].node, start, end));
    }
}

static void test_random_against_list(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree Item *items = g_new0(Item, NODES);
    RangeTree tree;

    range_tree_init(&tree);
    for (int round = 0; round < 5000; round++) {
        Item *item = &items[test_rand_below(rand, NODES)];

        if (item->inserted) {
            range_tree_remove(&tree, &item->node);
        } else {
            item->node.start = test_rand_below(rand, 1000);
            item->node.end = item->node.start + test_rand_below(rand, 60);
            range_tree_insert(&tree, &item->node);
        }
        item->inserted = !item->inserted;
        int64_t start = test_rand_below(rand, 1100);
        assert_query(&tree, items, start, start + test_rand_below(rand, 100));
    }
    for (int i = 0; i < NODES; i++) {
        if (items[i].inserted) {
            range_tree_remove(&tree, &items[i].node);
        }
    }
    g_assert_true(range_tree_is_empty(&tree));
}

static void test_edges_do_not_overlap(void)
{
    RangeTree tree = { 0 };
    RangeNode a = { .start = 10, .end = 20 }, huge = { .start = 0, .end = INT64_MAX };

    range_tree_insert(&tree, &a);
    g_assert_null(range_tree_first_overlap(&tree, 0, 10));
    g_assert_null(range_tree_first_overlap(&tree, 20, 30));
    g_assert_null(range_tree_first_overlap(&tree, 15, 15));
    g_assert_true(range_tree_first_overlap(&tree, 19, 20) == &a);
    range_tree_insert(&tree, &huge);
    g_assert_true(range_tree_first_overlap(&tree, 19, 20) == &huge);
    g_assert_true(range_tree_next_overlap(&tree, &huge, 19, 20) == &a);
}

static void test_ranges_overlap_at_the_end_of_numbers(void)
{
    g_assert_true(ranges_overlap(0, 10, 9, 1));
    g_assert_false(ranges_overlap(0, 10, 10, 1));
    g_assert_false(ranges_overlap(5, 0, 0, 10));
    g_assert_true(ranges_overlap(UINT64_MAX, 1, 0, UINT64_MAX) == false);
    g_assert_true(ranges_overlap(UINT64_MAX - 5, 6, UINT64_MAX, 1));
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/ranges/random/matches-list", test_random_against_list);
    g_test_add_func("/ranges/edges/do-not-overlap", test_edges_do_not_overlap);
    g_test_add_func("/ranges/overlap/at-the-end-of-numbers",
                    test_ranges_overlap_at_the_end_of_numbers);
    return g_test_run();
}
