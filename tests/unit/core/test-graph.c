/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Edges and their rearranging: rank, loops, filters, overlays, chains, reopening. */
#include "qemu/osdep.h"

#include "fake.h"

static BlockDriver fake_filter = { .format_name = "fake-filter", .is_filter = true };

/* ---- opening chains -------------------------------------------------------------------------- */

static BlockDriverState *coroutine_fn co_open_chain(const char *name, Error **errp)
{
    QDict *options = qdict_new();
    qdict_put_str(options, "driver", "qcow2");
    return bdrv_co_open(name, NULL, options, BDRV_O_RDWR, errp);
}

static void coroutine_fn co_long_chain(void)
{
    g_autoptr(BlockDriverState) top = co_open_chain("c1000", &error_abort);
    int depth = 0;
    for (BlockDriverState *bs = top; bs; bs = bdrv_backing_chain_next(bs)) {
        g_autofree char *name = g_strdup_printf("c%d", 1000 - depth);
        g_assert_cmpstr(bdrv_get_filename(bs), ==, name);
        g_assert_cmpint(bdrv_is_read_only(bs), ==, depth > 0);
        depth++;
    }
    g_assert_cmpint(depth, ==, 1001);
    g_assert_cmpint(top->rank, ==, 1001);
    g_assert_true(bdrv_chain_contains(top, bdrv_cow_bs(bdrv_cow_bs(top))));
    g_assert_true(bdrv_find_overlay(top, bdrv_cow_bs(top)) == top);
}

static void coroutine_fn co_chain_errors(void)
{
    Error *err = NULL;
    g_assert_null(co_open_chain("loop-a", &err));
    fake_expect_error(g_steal_pointer(&err), "Could not open backing file: Backing file 'loop-a' "
                      "creates an infinite loop.");
    g_assert_null(co_open_chain("self", &err));
    fake_expect_error(g_steal_pointer(&err), "Could not open backing file: Backing file 'self' "
                      "creates an infinite loop.");
    g_assert_null(co_open_chain("bad", &err));
    fake_expect_error(g_steal_pointer(&err), "Could not open backing file: Could not open "
                      "'missing': No such file or directory");
}

static void coroutine_fn co_backing_options(void)
{
    g_autoptr(BlockDriverState) top = fake_co_open_json(
        "{'driver': 'qcow2', 'file.filename': 'c3', 'backing.node-name': 'mid', "
        "'backing.backing': null}", &error_abort);
    BlockDriverState *mid = bdrv_cow_bs(top);
    g_assert_cmpstr(bdrv_get_node_name(mid), ==, "mid");
    g_assert_null(bdrv_cow_bs(mid));
    g_assert_true(g_str_has_prefix(bdrv_get_filename(top), "json:"));
}

/* ---- loops ----------------------------------------------------------------------------------- */

static void coroutine_fn co_loop_is_refused(void)
{
    g_autoptr(BlockDriverState) top = co_open_chain("c3", &error_abort);
    BlockDriverState *base = bdrv_cow_bs(bdrv_cow_bs(bdrv_cow_bs(top)));
    int rank = top->rank;
    Error *err = NULL;
    g_assert_false(bdrv_co_set_backing(base, top, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "would create a cycle"));
    g_clear_pointer(&err, error_free);
    g_assert_false(bdrv_co_set_backing(base, base, &err));
    error_free(err);
    g_assert_null(base->backing);
    g_assert_cmpint(top->rank, ==, rank);
}

/* ---- moving ---------------------------------------------------------------------------------- */

static void coroutine_fn co_filter_in_and_out(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    g_autoptr(BlockDriverState) filter = bdrv_co_open_driver(&fake_filter, "flt", BDRV_O_RDWR,
                                                             &error_abort);
    FakeUser user = { .name = "d0", .description = "block device 'd0'" };
    BlockRights uses, forbids;
    g_assert_true(fake_co_attach(&user, bs, BLK_PERM_WRITE, BLK_PERM_CONSISTENT_READ,
                                 &error_abort));

    g_assert_true(bdrv_co_insert_filter(filter, bs, "file", &error_abort));
    g_assert_true(user.root->bs == filter && bdrv_filter_bs(filter) == bs);
    g_assert_cmpint(bdrv_getlength(filter), ==, FAKE_BYTES);
    bdrv_get_cumulative_rights(bs, &uses, &forbids);
    g_assert_cmphex(uses, ==, BLK_PERM_WRITE);
    g_assert_cmphex(forbids, ==, BLK_PERM_ALL & ~BLK_PERM_CONSISTENT_READ);
    g_assert_false(bdrv_is_root_node(bs));
    g_assert_cmpstr(bdrv_get_device_name(bs), ==, "");
    filter->implicit = true;
    g_assert_true(bdrv_is_root_node(bs));
    g_assert_cmpstr(bdrv_get_device_name(bs), ==, "d0");
    filter->implicit = false;

    g_assert_true(bdrv_co_remove_filter(filter, &error_abort));
    g_assert_true(user.root->bs == bs && !filter->file);
    g_assert_cmpint(bdrv_parent_count(filter), ==, 0);
    fake_co_detach(&user);
}

static void coroutine_fn co_overlay(void)
{
    g_autoptr(BlockDriverState) base = fake_co_open_image("base", "c0");
    g_autoptr(BlockDriverState) top = fake_co_open_image("top", "d0");
    FakeUser user = { .name = "", .description = "an unnamed block device" };
    g_assert_true(fake_co_attach(&user, base, BLK_PERM_WRITE, BLK_PERM_CONSISTENT_READ,
                                 &error_abort));
    g_assert_true(bdrv_co_append(top, base, &error_abort));
    g_assert_true(user.root->bs == top && bdrv_cow_bs(top) == base);
    g_assert_true(bdrv_op_is_blocked(base, BLOCK_OP_TYPE_RESIZE, NULL));

    Error *err = NULL;
    g_assert_false(bdrv_co_append(top, base, &err));
    fake_expect_error(err, "The overlay already has a backing image");
    g_assert_true(bdrv_co_set_backing(top, NULL, &error_abort));
    g_assert_true(bdrv_op_blocker_is_empty(base));
    fake_co_detach(&user);
}

static void coroutine_fn co_staying_edge(void)
{
    g_autoptr(BlockDriverState) from = fake_co_open_image("from", "c0");
    g_autoptr(BlockDriverState) to = fake_co_open_image("to", "d0");
    FakeUser guest = { .name = "" }, job = { .name = "" };
    g_assert_true(fake_co_attach(&guest, from, 0, BLK_PERM_ALL, &error_abort));
    g_assert_true(fake_co_attach(&job, from, 0, BLK_PERM_ALL, &error_abort));
    job.root->stays = true;
    g_assert_true(bdrv_co_replace_node(from, to, &error_abort));
    g_assert_true(guest.root->bs == to && job.root->bs == from);
    fake_co_detach(&guest);
    fake_co_detach(&job);
}

/* A conflict found after edges moved puts all of them back. */
static void coroutine_fn co_replace_rolls_back(void)
{
    g_autoptr(BlockDriverState) from = fake_co_open_image("from", "c0");
    g_autoptr(BlockDriverState) to = fake_co_open_image("to", "d0");
    FakeUser a = { .name = "" }, b = { .name = "" }, exclusive = { .name = "" };
    g_assert_true(fake_co_attach(&a, from, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL, &error_abort));
    g_assert_true(fake_co_attach(&b, from, BLK_PERM_WRITE, BLK_PERM_ALL, &error_abort));
    g_assert_true(fake_co_attach(&exclusive, to, BLK_PERM_WRITE, BLK_PERM_CONSISTENT_READ,
                                 &error_abort));
    Error *err = NULL;
    g_assert_false(bdrv_co_replace_node(from, to, &err));
    error_free(err);
    g_assert_true(a.root->bs == from && b.root->bs == from);
    g_assert_cmpint(bdrv_parent_count(from), ==, 2);
    g_assert_cmpint(bdrv_parent_count(to), ==, 1);
    g_assert_cmpint(from->refcnt, ==, 3);
    g_assert_cmpint(to->refcnt, ==, 2);
    fake_co_detach(&a);
    fake_co_detach(&b);
    fake_co_detach(&exclusive);
}

static void coroutine_fn co_held_chain(void)
{
    g_autoptr(BlockDriverState) top = co_open_chain("c1", &error_abort);
    BdrvOwner owner = { .kind = BDRV_OWNER_JOB, .id = "j", .description = "stream job 'j'" };
    BdrvClaim *claim = bdrv_claim(top, owner, 0, BLK_RIGHT_CHANGE_CHILDREN, "job", &error_abort);
    Error *err = NULL;
    g_assert_false(bdrv_co_set_backing(top, NULL, &err));
    g_autofree char *text = g_strdup_printf("Cannot change frozen 'backing' link from '%s' to '%s'",
                                            bdrv_get_node_name(top),
                                            bdrv_get_node_name(bdrv_cow_bs(top)));
    g_assert_nonnull(strstr(error_get_hint(err), "stream job 'j'"));
    fake_expect_error(err, text);
    bdrv_claim_release(claim);
    g_assert_true(bdrv_co_set_backing(top, NULL, &error_abort));
}

/* ---- reopening ------------------------------------------------------------------------------- */

static void coroutine_fn co_reopen_read_only(void)
{
    g_autoptr(BlockDriverState) bs = bdrv_co_open("c0", NULL, qdict_from_jsonf_nofail(
        "{'driver': 'qcow2', 'node-name': 'n'}"), BDRV_O_RDWR, &error_abort);
    FakeUser user = { .name = "" };
    Error *err = NULL;
    g_assert_true(bdrv_co_reopen_set_read_only(bs, true, &error_abort));
    g_assert_true(bdrv_is_read_only(bs) && bdrv_is_read_only(bs->file->bs));
    g_assert_false(bs->file->claim.uses & (BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED));
    g_assert_false(fake_co_attach(&user, bs, BLK_PERM_WRITE, BLK_PERM_ALL, &err));
    fake_expect_error(g_steal_pointer(&err), "Block node is read-only");

    g_assert_true(bdrv_co_reopen_set_read_only(bs, false, &error_abort));
    g_assert_true(fake_co_attach(&user, bs, BLK_PERM_WRITE, BLK_PERM_ALL, &error_abort));
    /* Somebody writes: all stays as it is, the file below as well. */
    g_assert_false(bdrv_co_reopen_set_read_only(bs, true, &err));
    fake_expect_error(err, "Read-only block node 'n' cannot support read-write users");
    g_assert_false(bdrv_is_read_only(bs) || bdrv_is_read_only(bs->file->bs));
    g_assert_false(bs->options->read_only || bs->file->bs->options->read_only);
    fake_co_detach(&user);
}

static void co_expect_reopen_error(BlockDriverState *bs, const char *json, bool keep_old,
                                   const char *text)
{
    Error *err = NULL;
    QDict *options = qobject_to(QDict, qobject_from_json(json, &error_abort));
    g_assert_false(bdrv_co_reopen(bs, options, keep_old, &err));
    fake_expect_error(err, text);
}

static void coroutine_fn co_reopen_options(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    co_expect_reopen_error(bs, "{'driver': 'file', 'file': 'n-file'}", false,
                           "Cannot change the option 'driver'");
    co_expect_reopen_error(bs, "{'bogus': '1'}", true, "Cannot change the option 'bogus'");
    co_expect_reopen_error(bs, "{'cache-size': 4096}", true,
                           "Cannot change the option 'cache-size'");
    co_expect_reopen_error(bs, "{'file.filename': 'other'}", true,
                           "Cannot change the option 'filename'");
    g_assert_true(bdrv_co_reopen(bs, qdict_from_jsonf_nofail("{'lazy-refcounts': true}"), true,
                                 &error_abort));
    g_assert_true(bs->options->u.qcow2.lazy_refcounts);
    g_assert_true(bdrv_co_reopen(bs, qdict_from_jsonf_nofail(
        "{'driver': 'qcow2', 'node-name': 'n', 'file': 'n-file', 'discard': 'unmap'}"), false,
        &error_abort));
    g_assert_false(bs->options->u.qcow2.has_lazy_refcounts);
    g_assert_true(bdrv_get_open_flags(bs) & BDRV_O_UNMAP);
}

static void coroutine_fn co_reopen_backing(void)
{
    g_autoptr(BlockDriverState) other = fake_co_open_image("other", "d0");
    g_autoptr(BlockDriverState) top = co_open_chain("c1", &error_abort);
    g_assert_true(bdrv_co_reopen(top, qdict_from_jsonf_nofail("{'backing': 'other'}"), true,
                                 &error_abort));
    g_assert_true(bdrv_cow_bs(top) == other);
    g_assert_true(bdrv_co_reopen(top, qdict_from_jsonf_nofail("{'backing': null}"), true,
                                 &error_abort));
    g_assert_null(bdrv_cow_bs(top));
}

int main(int argc, char **argv)
{
    static const FakeCase cases[] = {
        { "/graph/chain/a-thousand-images", co_long_chain },
        { "/graph/chain/errors", co_chain_errors },
        { "/graph/chain/incomplete-options-join-the-header", co_backing_options },
        { "/graph/loop/is-refused", co_loop_is_refused },
        { "/graph/filter/in-and-out", co_filter_in_and_out },
        { "/graph/overlay/takes-the-users", co_overlay },
        { "/graph/replace/staying-edges-stay", co_staying_edge },
        { "/graph/replace/conflict-rolls-back", co_replace_rolls_back },
        { "/graph/chain/held-by-a-job", co_held_chain },
        { "/graph/reopen/read-only-and-back", co_reopen_read_only },
        { "/graph/reopen/options", co_reopen_options },
        { "/graph/reopen/backing", co_reopen_backing },
    };
    return fake_main(argc, argv, cases, ARRAY_SIZE(cases));
}
