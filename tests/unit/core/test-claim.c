/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Claims: the op-blocker API, the conflict rule, conflicts between users of a graph. */
#include "qemu/osdep.h"

#include "fake.h"

/* ---- op blockers ----------------------------------------------------------------------------- */

static void coroutine_fn co_block_one(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    Error *reason = NULL, *err = NULL;
    error_setg(&reason, "block device is in use by block job: mirror");

    g_assert_true(bdrv_op_blocker_is_empty(bs));
    bdrv_op_block(bs, BLOCK_OP_TYPE_RESIZE, reason);
    g_assert_true(bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_RESIZE, &err));
    g_assert_false(bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_EJECT, NULL));
    g_assert_false(bdrv_op_blocker_is_empty(bs));
    g_assert_nonnull(strstr(error_get_hint(err), "Held by"));
    fake_expect_error(err, "Node 'n' is busy: block device is in use by block job: mirror");

    bdrv_op_unblock(bs, BLOCK_OP_TYPE_RESIZE, reason);
    g_assert_false(bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_RESIZE, NULL));
    g_assert_true(bdrv_op_blocker_is_empty(bs));
    error_free(reason);
}

static void coroutine_fn co_latest_is_reported(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    Error *one = NULL, *two = NULL, *err = NULL;
    error_setg(&one, "one");
    error_setg(&two, "two");
    bdrv_op_block(bs, BLOCK_OP_TYPE_EJECT, one);
    bdrv_op_block(bs, BLOCK_OP_TYPE_EJECT, two);
    g_assert_true(bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_EJECT, &err));
    fake_expect_error(g_steal_pointer(&err), "Node 'n' is busy: two");

    /* Again, the older one: it is the latest now, and one unblock removes both. */
    bdrv_op_block(bs, BLOCK_OP_TYPE_EJECT, one);
    g_assert_true(bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_EJECT, &err));
    fake_expect_error(g_steal_pointer(&err), "Node 'n' is busy: one");
    bdrv_op_unblock(bs, BLOCK_OP_TYPE_EJECT, one);
    g_assert_true(bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_EJECT, &err));
    fake_expect_error(g_steal_pointer(&err), "Node 'n' is busy: two");
    bdrv_op_unblock(bs, BLOCK_OP_TYPE_EJECT, two);
    g_assert_true(bdrv_op_blocker_is_empty(bs));
    error_free(one);
    error_free(two);
}

static void coroutine_fn co_unblock_by_pointer(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    Error *one = NULL, *same_text = NULL;
    error_setg(&one, "text");
    error_setg(&same_text, "text");
    bdrv_op_block(bs, BLOCK_OP_TYPE_STREAM, one);
    bdrv_op_unblock(bs, BLOCK_OP_TYPE_STREAM, same_text);
    bdrv_op_unblock(bs, BLOCK_OP_TYPE_RESIZE, one);
    g_assert_true(bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_STREAM, NULL));
    bdrv_op_unblock_all(bs, same_text);
    g_assert_true(bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_STREAM, NULL));
    bdrv_op_unblock_all(bs, one);
    g_assert_true(bdrv_op_blocker_is_empty(bs));
    error_free(one);
    error_free(same_text);
}

static void coroutine_fn co_block_all_but_one(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    Error *reason = NULL;
    error_setg(&reason, "busy");
    bdrv_op_block_all(bs, reason);
    bdrv_op_unblock(bs, BLOCK_OP_TYPE_DRIVE_DEL, reason);
    for (int op = 0; op < BLOCK_OP_TYPE_MAX; op++) {
        g_assert_cmpint(bdrv_op_is_blocked(bs, op, NULL), ==, op != BLOCK_OP_TYPE_DRIVE_DEL);
    }
    bdrv_op_unblock_all(bs, reason);
    g_assert_true(bdrv_op_blocker_is_empty(bs));
    error_free(reason);
}

static void coroutine_fn co_device_name_is_told(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    FakeUser user = { .name = "drive0", .description = "block device 'drive0'" };
    Error *reason = NULL, *err = NULL;
    error_setg(&reason, "why");
    g_assert_true(fake_co_attach(&user, bs, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL, &error_abort));
    bdrv_op_block(bs, BLOCK_OP_TYPE_RESIZE, reason);
    g_assert_true(bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_RESIZE, &err));
    fake_expect_error(err, "Node 'drive0' is busy: why");
    bdrv_op_unblock_all(bs, reason);
    fake_co_detach(&user);
    error_free(reason);
}

static void coroutine_fn co_reasons_nest(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    Error *outer = NULL, *inner = NULL, *err = NULL;
    error_setg(&outer, "outer");
    error_setg(&inner, "inner");
    bdrv_op_block_all(bs, outer);
    bdrv_op_block_all(bs, inner);
    bdrv_op_unblock(bs, BLOCK_OP_TYPE_RESIZE, inner);
    g_assert_true(bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_RESIZE, &err));
    fake_expect_error(g_steal_pointer(&err), "Node 'n' is busy: outer");
    bdrv_op_unblock_all(bs, outer);
    for (int op = 0; op < BLOCK_OP_TYPE_MAX; op++) {
        g_assert_cmpint(bdrv_op_is_blocked(bs, op, NULL), ==, op != BLOCK_OP_TYPE_RESIZE);
    }
    bdrv_op_unblock_all(bs, inner);
    g_assert_true(bdrv_op_blocker_is_empty(bs));
    error_free(outer);
    error_free(inner);
}

/* Blockers bind the node they were put on, whoever takes its place for its users. */
static void coroutine_fn co_blockers_stay_with_their_node(void)
{
    g_autoptr(BlockDriverState) from = fake_co_open_image("from", "c0");
    g_autoptr(BlockDriverState) to = fake_co_open_image("to", "c1");
    FakeUser user = { .description = "a user" };
    Error *reason = NULL;
    error_setg(&reason, "why");
    g_assert_true(fake_co_attach(&user, from, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL,
                                 &error_abort));
    bdrv_op_block_all(from, reason);
    g_assert_true(bdrv_co_replace_node(from, to, &error_abort));
    g_assert_true(user.root->bs == to);
    g_assert_true(bdrv_op_blocker_is_empty(to));
    g_assert_true(bdrv_op_is_blocked(from, BLOCK_OP_TYPE_STREAM, NULL));
    bdrv_op_unblock_all(from, reason);
    g_assert_true(bdrv_op_blocker_is_empty(from));
    fake_co_detach(&user);
    error_free(reason);
}

/* ---- the rule against a model ---------------------------------------------------------------- */

#define MODEL_CLAIMS 12

typedef struct ModelClaim {
    BdrvClaim *claim;
    BlockRights uses, forbids;
    const void *key;
} ModelClaim;

static BlockRights random_rights(void)
{
    BlockRights rights = 0;
    for (int n = g_test_rand_int_range(0, 4); n > 0; n--) {
        rights |= g_test_rand_bit() ? UINT64_C(1) << g_test_rand_int_range(0, 5)
                                    : BLK_RIGHT_OP(g_test_rand_int_range(0, BLOCK_OP_TYPE_MAX));
    }
    return rights;
}

/* As the header says it, right by right, without any cleverness. */
static bool model_allows(const ModelClaim *others, int skip, BlockRights uses,
                         BlockRights asked_ops, BlockRights forbids, const void *key)
{
    for (int i = 0; i < MODEL_CLAIMS; i++) {
        const ModelClaim *o = &others[i];
        if (!o->claim || i == skip || (key && key == o->key)) {
            continue;
        }
        for (int bit = 0; bit < 64; bit++) {
            BlockRights right = UINT64_C(1) << bit;
            bool is_data = bit < 5;
            if ((right & (is_data ? uses : asked_ops)) && (right & o->forbids)) {
                return false;
            }
            if (is_data && (right & forbids) && (right & o->uses)) {
                return false;
            }
        }
    }
    return true;
}

static void model_compare(BlockDriverState *bs, const ModelClaim *model)
{
    BlockRights uses = 0, forbids = 0, actual_uses, actual_forbids;
    for (int i = 0; i < MODEL_CLAIMS; i++) {
        uses |= model[i].claim ? model[i].uses : 0;
        forbids |= model[i].claim ? model[i].forbids : 0;
    }
    bdrv_get_cumulative_rights(bs, &actual_uses, &actual_forbids);
    g_assert_cmphex(actual_uses, ==, uses);
    g_assert_cmphex(actual_forbids, ==, forbids);
    for (int op = 0; op < BLOCK_OP_TYPE_MAX; op++) {
        g_assert_cmpint(bdrv_op_is_blocked(bs, op, NULL), ==, (forbids & BLK_RIGHT_OP(op)) != 0);
    }
    g_assert_cmpint(bdrv_op_blocker_is_empty(bs), ==, !(forbids & BLK_RIGHTS_ALL_OPS));
}

static void coroutine_fn co_random_against_model(void)
{
    static const char keys[3];
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    ModelClaim model[MODEL_CLAIMS] = { 0 };
    for (int round = 0; round < 20000; round++) {
        int i = g_test_rand_int_range(0, MODEL_CLAIMS);
        ModelClaim *m = &model[i];
        BlockRights uses = random_rights(), forbids = random_rights();
        if (!m->claim) {
            int k = g_test_rand_int_range(0, 4);
            BdrvOwner owner = {
                .kind = BDRV_OWNER_OPERATION,
                .key = k < 3 ? &keys[k] : NULL,
                .description = "operation",
            };
            bool allowed = model_allows(model, i, uses, uses, forbids, owner.key);
            m->claim = bdrv_claim(bs, owner, uses, forbids, "test", NULL);
            g_assert_cmpint(m->claim != NULL, ==, allowed);
            if (allowed) {
                m->uses = uses;
                m->forbids = forbids;
                m->key = owner.key;
            }
        } else {
            bdrv_claim_release(m->claim);
            m->claim = NULL;
        }
        model_compare(bs, model);
    }
    for (int i = 0; i < MODEL_CLAIMS; i++) {
        bdrv_claim_release(model[i].claim);
    }
}

static void coroutine_fn co_rule_is_symmetric(void)
{
    for (int round = 0; round < 2000; round++) {
        BdrvClaim a = { .uses = random_rights(), .forbids = random_rights() };
        BdrvClaim b = { .uses = random_rights(), .forbids = random_rights() };
        bool expected = (a.uses & b.forbids) || (b.uses & a.forbids);
        g_assert_cmpint(claim_conflict(&a, &b), ==, expected);
        g_assert_cmpint(claim_conflict(&b, &a), ==, expected);
        a.key = b.key = &a;
        g_assert_false(claim_conflict(&a, &b));
    }
}

/* ---- in a graph ------------------------------------------------------------------------------ */

static void coroutine_fn co_writer_below_format(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("q", "c0");
    FakeUser user = { .name = "", .description = "an unnamed block device" };
    Error *err = NULL;
    g_assert_false(fake_co_attach(&user, bs->file->bs, BLK_PERM_WRITE, BLK_PERM_ALL, &err));
    fake_expect_error(g_steal_pointer(&err), "Permission conflict on node 'q-file': permissions "
                      "'write' are both required by an unnamed block device (uses node 'q-file' "
                      "as 'root' child) and unshared by node 'q' (uses node 'q-file' as 'file' "
                      "child).");
    g_assert_false(fake_co_attach(&user, bs->file->bs, BLK_PERM_CONSISTENT_READ,
                                  BLK_PERM_ALL & ~BLK_PERM_RESIZE, &err));
    fake_expect_error(err, "Permission conflict on node 'q-file': permissions 'resize' are both "
                      "required by node 'q' (uses node 'q-file' as 'file' child) and unshared by "
                      "an unnamed block device (uses node 'q-file' as 'root' child).");
    g_assert_cmpint(bdrv_parent_count(bs->file->bs), ==, 1);
    bdrv_gate_done(&user.gate);
}

static void coroutine_fn co_read_only_node(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_json(
        "{'driver': 'file', 'filename': 'x', 'node-name': 'ro', 'read-only': true}", &error_abort);
    FakeUser user = { .name = "" };
    Error *err = NULL;
    g_assert_false(fake_co_attach(&user, bs, BLK_PERM_WRITE, BLK_PERM_ALL, &err));
    fake_expect_error(err, "Block node is read-only");
    bdrv_gate_done(&user.gate);
}

static void coroutine_fn co_inactive_node(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_json(
        "{'driver': 'file', 'filename': 'x', 'node-name': 'i', 'active': false}", &error_abort);
    FakeUser user = { .name = "" };
    Error *err = NULL;
    g_assert_false(fake_co_attach(&user, bs, BLK_PERM_RESIZE, BLK_PERM_ALL, &err));
    fake_expect_error(err, "Permission 'resize' unavailable on inactive node");
    bdrv_gate_done(&user.gate);
}

/* Refused by the host at the bottom: everything above is as before. */
static void coroutine_fn co_host_refuses(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_json(
        "{'driver': 'file', 'filename': 'x', 'node-name': 'f'}", &error_abort);
    FakeUser user = { .name = "" };
    BlockRights uses, forbids;
    Error *err = NULL;
    g_assert_true(fake_co_attach(&user, bs, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL, &error_abort));
    fake_refused_rights = BLK_PERM_WRITE;
    g_assert_false(bdrv_co_child_set_perm(user.root, BLK_PERM_WRITE, BLK_PERM_CONSISTENT_READ,
                                          &err));
    fake_expect_error(err, "Failed to get \"write\" lock");
    bdrv_get_cumulative_rights(bs, &uses, &forbids);
    g_assert_cmphex(uses, ==, BLK_PERM_CONSISTENT_READ);
    g_assert_cmphex(forbids, ==, 0);
    g_assert_cmphex(fake_last_uses, ==, BLK_PERM_CONSISTENT_READ);
    fake_co_detach(&user);
    g_assert_cmphex(fake_last_uses, ==, 0);
}

static void coroutine_fn co_backing_is_busy(void)
{
    g_autoptr(BlockDriverState) top = bdrv_co_open("c1", NULL, qdict_from_jsonf_nofail(
        "{'driver': 'qcow2', 'node-name': 'top'}"), BDRV_O_RDWR, &error_abort);
    BlockDriverState *base = bdrv_cow_bs(top);
    Error *err = NULL;
    g_assert_true(bdrv_op_is_blocked(base, BLOCK_OP_TYPE_RESIZE, &err));
    g_autofree char *text = g_strdup_printf(
        "Node '%s' is busy: node is used as backing hd of 'top'", bdrv_get_node_name(base));
    fake_expect_error(err, text);
    g_assert_false(bdrv_op_is_blocked(base, BLOCK_OP_TYPE_COMMIT_TARGET, NULL));
    g_assert_false(bdrv_op_is_blocked(base, BLOCK_OP_TYPE_BACKUP_SOURCE, NULL));
}

static void coroutine_fn co_inactive_user_shares(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("q", "c0");
    FakeUser one = { .name = "", .description = "block device 'v0'" };
    FakeUser two = { .name = "", .description = "export 'e'" };
    Error *err = NULL;
    g_assert_true(fake_co_attach(&one, bs, BLK_PERM_WRITE, BLK_PERM_CONSISTENT_READ, &error_abort));
    g_assert_false(fake_co_attach(&two, bs, BLK_PERM_WRITE, BLK_PERM_ALL, &err));
    fake_expect_error(err, "Permission conflict on node 'q': permissions 'write' are both required "
                      "by export 'e' (uses node 'q' as 'root' child) and unshared by block device "
                      "'v0' (uses node 'q' as 'root' child).");
    g_assert_true(bdrv_co_child_set_perm(one.root, 0, BLK_PERM_ALL, &error_abort));
    g_assert_true(fake_co_attach(&two, bs, BLK_PERM_WRITE, BLK_PERM_ALL, &error_abort));
    fake_co_detach(&two);
    fake_co_detach(&one);
}

int main(int argc, char **argv)
{
    static const FakeCase cases[] = {
        { "/claim/op/block-and-unblock", co_block_one },
        { "/claim/op/latest-is-reported", co_latest_is_reported },
        { "/claim/op/unblock-by-pointer", co_unblock_by_pointer },
        { "/claim/op/block-all-but-one", co_block_all_but_one },
        { "/claim/op/device-name-is-told", co_device_name_is_told },
        { "/claim/op/reasons-nest", co_reasons_nest },
        { "/claim/op/stay-when-a-node-is-replaced", co_blockers_stay_with_their_node },
        { "/claim/random/agrees-with-model", co_random_against_model },
        { "/claim/rule/is-symmetric", co_rule_is_symmetric },
        { "/claim/graph/writer-below-format-is-refused", co_writer_below_format },
        { "/claim/graph/read-only-node-refuses-write", co_read_only_node },
        { "/claim/graph/inactive-node-refuses-resize", co_inactive_node },
        { "/claim/graph/host-refusal-changes-nothing", co_host_refuses },
        { "/claim/graph/backing-node-is-busy", co_backing_is_busy },
        { "/claim/graph/giving-up-lets-others-in", co_inactive_user_shares },
    };
    return fake_main(argc, argv, cases, ARRAY_SIZE(cases));
}
