/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linked lists against a model: an array that holds what the list should.
 */
#include "qemu/osdep.h"

#include "qemu/queue.h"
#include "../../lib/testlib.h"

enum { N = 32, STEPS = 20000 };

typedef struct Item {
    int id;
    bool is_in;
    QTAILQ_ENTRY(Item) tail_link;
    QLIST_ENTRY(Item) list_link;
    QSIMPLEQ_ENTRY(Item) simple_link;
} Item;

typedef struct Model {
    Item *order[N];
    int n;
} Model;

static int model_find(const Model *m, const Item *item)
{
    for (int i = 0; i < m->n; i++) {
        if (m->order[i] == item) {
            return i;
        }
    }
    g_assert_not_reached();
}

static void model_insert(Model *m, int at, Item *item)
{
    memmove(&m->order[at + 1], &m->order[at], (m->n - at) * sizeof(m->order[0]));
    m->order[at] = item;
    m->n++;
    item->is_in = true;
}

static void model_remove(Model *m, Item *item)
{
    int at = model_find(m, item);

    m->n--;
    memmove(&m->order[at], &m->order[at + 1], (m->n - at) * sizeof(m->order[0]));
    item->is_in = false;
}

static Item *random_member(const Model *m)
{
    return m->n ? m->order[g_test_rand_int_range(0, m->n)] : NULL;
}

/* ---- QTAILQ ---------------------------------------------------------------------------------- */
typedef QTAILQ_HEAD(, Item) TailHead;

static void tail_check(const TailHead *head, const Model *m)
{
    Item *item;
    int i = 0;

    QTAILQ_FOREACH(item, head, tail_link) {
        g_assert_true(item == m->order[i]);
        g_assert_true(QTAILQ_PREV(item, tail_link) == (i ? m->order[i - 1] : NULL));
        i++;
    }
    g_assert_cmpint(i, ==, m->n);
    g_assert_true(QTAILQ_LAST(head) == (m->n ? m->order[m->n - 1] : NULL));
    QTAILQ_FOREACH_REVERSE(item, head, tail_link) {
        g_assert_true(item == m->order[--i]);
    }
    g_assert_cmpint(i, ==, 0);
}

static void tail_insert(TailHead *head, Model *m, Item *item)
{
    Item *where = random_member(m);

    switch (g_test_rand_int_range(0, where ? 4 : 2)) {
    case 0:
        QTAILQ_INSERT_HEAD(head, item, tail_link);
        model_insert(m, 0, item);
        break;
    case 1:
        QTAILQ_INSERT_TAIL(head, item, tail_link);
        model_insert(m, m->n, item);
        break;
    case 2:
        QTAILQ_INSERT_BEFORE(where, item, tail_link);
        model_insert(m, model_find(m, where), item);
        break;
    case 3:
        QTAILQ_INSERT_AFTER(head, where, item, tail_link);
        model_insert(m, model_find(m, where) + 1, item);
        break;
    }
}

static void test_tailq(void)
{
    Item items[N] = { 0 };
    Model m = { .n = 0 };
    TailHead head = QTAILQ_HEAD_INITIALIZER(head);

    for (int step = 0; step < STEPS; step++) {
        Item *item = &items[g_test_rand_int_range(0, N)];

        g_assert_cmpint(QTAILQ_IN_USE(item, tail_link), ==, item->is_in);
        if (item->is_in) {
            QTAILQ_REMOVE(&head, item, tail_link);
            model_remove(&m, item);
        } else {
            tail_insert(&head, &m, item);
        }
        tail_check(&head, &m);
    }
}

/* ---- QLIST ----------------------------------------------------------------------------------- */
typedef QLIST_HEAD(, Item) ListHead;

static void list_insert(ListHead *head, Model *m, Item *item)
{
    Item *where = random_member(m);

    switch (g_test_rand_int_range(0, where ? 3 : 1)) {
    case 0:
        QLIST_INSERT_HEAD(head, item, list_link);
        model_insert(m, 0, item);
        break;
    case 1:
        QLIST_INSERT_BEFORE(where, item, list_link);
        model_insert(m, model_find(m, where), item);
        break;
    case 2:
        QLIST_INSERT_AFTER(where, item, list_link);
        model_insert(m, model_find(m, where) + 1, item);
        break;
    }
}

static void test_list(void)
{
    Item items[N] = { 0 };
    Model m = { .n = 0 };
    ListHead head = QLIST_HEAD_INITIALIZER(head);

    for (int step = 0; step < STEPS; step++) {
        Item *item = &items[g_test_rand_int_range(0, N)], *seen;
        int i = 0;

        if (item->is_in) {
            model_remove(&m, item);
            QLIST_REMOVE(item, list_link);
        } else {
            list_insert(&head, &m, item);
        }
        QLIST_SAFE_REMOVE(&items[0], list_link);
        if (items[0].is_in) {
            model_remove(&m, &items[0]);
        }
        QLIST_FOREACH(seen, &head, list_link) {
            g_assert_true(seen == m.order[i++]);
        }
        g_assert_cmpint(i, ==, m.n);
    }
}

/* ---- QSIMPLEQ -------------------------------------------------------------------------------- */
typedef QSIMPLEQ_HEAD(, Item) SimpleHead;

static void simple_check(const SimpleHead *head, const Model *m)
{
    Item *item;
    int i = 0;

    QSIMPLEQ_FOREACH(item, head, simple_link) {
        g_assert_true(item == m->order[i++]);
    }
    g_assert_cmpint(i, ==, m->n);
    g_assert_true(QSIMPLEQ_LAST(head, Item, simple_link) == (m->n ? m->order[m->n - 1] : NULL));
}

/* Cut at a random place and join again, in either way. */
static void simple_cut_and_join(SimpleHead *head, const Model *m)
{
    Item *where = random_member(m);
    SimpleHead rest;

    if (!where) {
        return;
    }
    QSIMPLEQ_SPLIT_AFTER(head, where, simple_link, &rest);
    if (g_test_rand_bit()) {
        QSIMPLEQ_CONCAT(head, &rest);
    } else {
        QSIMPLEQ_PREPEND(&rest, head);
        QSIMPLEQ_CONCAT(head, &rest);
    }
    g_assert_true(QSIMPLEQ_EMPTY(&rest));
}

static void simple_change(SimpleHead *head, Model *m, Item *item)
{
    Item *where = random_member(m);

    if (item->is_in && m->order[0] == item) {
        QSIMPLEQ_REMOVE_HEAD(head, simple_link);
        model_remove(m, item);
    } else if (item->is_in) {
        QSIMPLEQ_REMOVE(head, item, Item, simple_link);
        model_remove(m, item);
    } else if (where && g_test_rand_bit()) {
        QSIMPLEQ_INSERT_AFTER(head, where, item, simple_link);
        model_insert(m, model_find(m, where) + 1, item);
    } else if (g_test_rand_bit()) {
        QSIMPLEQ_INSERT_HEAD(head, item, simple_link);
        model_insert(m, 0, item);
    } else {
        QSIMPLEQ_INSERT_TAIL(head, item, simple_link);
        model_insert(m, m->n, item);
    }
}

static void test_simpleq(void)
{
    Item items[N] = { 0 };
    Model m = { .n = 0 };
    SimpleHead head = QSIMPLEQ_HEAD_INITIALIZER(head);

    for (int step = 0; step < STEPS; step++) {
        simple_change(&head, &m, &items[g_test_rand_int_range(0, N)]);
        simple_check(&head, &m);
        simple_cut_and_join(&head, &m);
        simple_check(&head, &m);
    }
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    g_test_add_func("/queue/qtailq/matches-model", test_tailq);
    g_test_add_func("/queue/qlist/matches-model", test_list);
    g_test_add_func("/queue/qsimpleq/matches-model", test_simpleq);
    return g_test_run();
}
