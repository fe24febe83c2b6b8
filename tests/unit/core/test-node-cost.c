/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a node that does nothing costs: memory, with its name, options, edges and claims. */
#include "qemu/osdep.h"

#include <malloc.h>

#include "fake.h"

#define LAYERS 1000

static void coroutine_fn co_memory(void)
{
    struct mallinfo2 before = mallinfo2(), after;
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c999");
    int nodes = 0;

    for (BlockDriverState *layer = bs; layer; layer = layer->backing ? layer->backing->bs : NULL) {
        nodes += 2; /* the format's and its file's */
    }
    g_assert_cmpint(nodes, ==, 2 * LAYERS);
    after = mallinfo2();
    if (after.uordblks <= before.uordblks) {
        g_test_skip("a sanitizer has its own heap");
        return;
    }
    g_test_message("%zu bytes per node", (after.uordblks - before.uordblks) / nodes);
    g_assert_cmpuint((after.uordblks - before.uordblks) / nodes, <, 4096);
}

int main(int argc, char **argv)
{
    static const FakeCase cases[] = {
        { "/node-cost/memory/below-a-page", co_memory },
    };
    return fake_main(argc, argv, cases, ARRAY_SIZE(cases));
}
