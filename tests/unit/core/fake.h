/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests of the core: drivers without storage, users without a backend, and a frame that runs a
 * case in a coroutine that holds the control lock.
 *
 * "file" is a protocol that holds zeroes.  "qcow2" is a format whose backing file follows from its
 * own name: "c7" is backed by "c6", "c0" by nothing, "loop-a" and "loop-b" by each other, "self"
 * by itself.
 */
#ifndef TESTS_UNIT_CORE_FAKE_H
#define TESTS_UNIT_CORE_FAKE_H

#include "block/block_int.h"
#include "block/freeze.h"
#include "qemu/main-loop.h"
#include "qobject/json-parser.h"
#include "../../lib/testlib.h"

#define FAKE_BYTES (1 * MiB)

/* ---- protocol -------------------------------------------------------------------------------- */

static int fake_check_perm_calls, fake_set_perm_calls, fake_abort_perm_calls;
static BlockRights fake_refused_rights; /* host locks say no to these */
static BlockRights fake_last_uses, fake_last_shared;

static bool coroutine_fn fake_file_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                           int flags, Error **errp)
{
    if (g_str_has_prefix(options->u.file.filename, "missing")) {
        error_setg(errp, "Could not open '%s': No such file or directory",
                   options->u.file.filename);
        return false;
    }
    bs->total_bytes = FAKE_BYTES;
    bs->exact_filename = g_strdup(options->u.file.filename);
    return true;
}

static void fake_file_refresh_filename(BlockDriverState *bs)
{
    g_free(bs->exact_filename);
    bs->exact_filename = g_strdup(bs->options->u.file.filename);
}

static bool coroutine_fn fake_file_co_check_perm(BlockDriverState *bs, BlockRights uses,
                                                 BlockRights shared, Error **errp)
{
    fake_check_perm_calls++;
    if (uses & fake_refused_rights) {
        error_setg(errp, "Failed to get \"write\" lock");
        return false;
    }
    return true;
}

static void fake_file_set_perm(BlockDriverState *bs, BlockRights uses, BlockRights shared)
{
    fake_set_perm_calls++;
    fake_last_uses = uses;
    fake_last_shared = shared;
}

static void fake_file_abort_perm(BlockDriverState *bs)
{
    fake_abort_perm_calls++;
}

static bool coroutine_fn fake_co_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    return true;
}

static int coroutine_fn fake_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                       QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    qemu_iovec_memset(qiov, qiov_offset, 0, bytes);
    return 0;
}

static int coroutine_fn fake_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    return 0;
}

static BlockDriver fake_file = {
    .format_name = "file",
    .protocol_name = "file",
    .options_type = BLOCKDEV_DRIVER_FILE,
    .is_protocol = true,
    .bdrv_co_open = fake_file_co_open,
    .bdrv_refresh_filename = fake_file_refresh_filename,
    .bdrv_co_check_perm = fake_file_co_check_perm,
    .bdrv_set_perm = fake_file_set_perm,
    .bdrv_abort_perm_update = fake_file_abort_perm,
    .bdrv_co_reopen_prepare = fake_co_reopen_prepare,
    .bdrv_co_preadv = fake_co_preadv,
    .bdrv_co_pwritev = fake_co_pwritev,
};

/* ---- format ---------------------------------------------------------------------------------- */

static char *fake_backing_of(const char *name)
{
    if (strcmp(name, "loop-a") == 0) {
        return g_strdup("loop-b");
    } else if (strcmp(name, "loop-b") == 0) {
        return g_strdup("loop-a");
    } else if (strcmp(name, "self") == 0) {
        return g_strdup("self");
    } else if (strcmp(name, "bad") == 0) {
        return g_strdup("missing");
    } else if (name[0] == 'c' && atoi(name + 1) > 0) {
        return g_strdup_printf("c%d", atoi(name + 1) - 1);
    }
    return NULL;
}

static bool coroutine_fn fake_format_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                             int flags, Error **errp)
{
    if (!bdrv_co_open_file_child(bs, options->u.qcow2.file, errp)) {
        return false;
    }
    bs->total_bytes = FAKE_BYTES;
    bs->backing_file = fake_backing_of(bdrv_get_filename(bs->file->bs));
    bs->backing_format = g_strdup("qcow2");
    return bdrv_co_open_backing(bs, options->u.qcow2.backing, errp);
}

static const char *const fake_mutable_opts[] = { "lazy-refcounts", NULL };

static BlockDriver fake_format = {
    .format_name = "qcow2",
    .options_type = BLOCKDEV_DRIVER_QCOW2,
    .supports_backing = true,
    .mutable_opts = fake_mutable_opts,
    .bdrv_co_open = fake_format_co_open,
    .bdrv_co_reopen_prepare = fake_co_reopen_prepare,
    .bdrv_co_preadv = fake_co_preadv,
    .bdrv_co_pwritev = fake_co_pwritev,
};

static BlockDriver *const fake_drivers[] = { &fake_format, &fake_file, NULL };

/* ---- a user ---------------------------------------------------------------------------------- */

typedef struct FakeUser {
    BdrvGate gate;
    const char *name;        /* of the backend, or "" */
    const char *description;
    const void *key;
    BdrvChild *root;
    int quiesced, resumed;
    bool busy;
} FakeUser;

static BdrvOwner fake_owner(BdrvGate *gate)
{
    FakeUser *user = container_of(gate, FakeUser, gate);
    return (BdrvOwner) {
        .kind = BDRV_OWNER_DEVICE,
        .key = user->key,
        .id = user->name,
        .description = user->description,
    };
}

static const char *fake_name(BdrvGate *gate)
{
    return container_of(gate, FakeUser, gate)->name;
}

static void fake_quiesce(BdrvGate *gate)
{
    container_of(gate, FakeUser, gate)->quiesced++;
}

static void fake_resume(BdrvGate *gate)
{
    container_of(gate, FakeUser, gate)->resumed++;
}

static bool fake_busy(BdrvGate *gate)
{
    return container_of(gate, FakeUser, gate)->busy;
}

static const BdrvGateOps fake_gate_ops = {
    .owner = fake_owner,
    .name = fake_name,
    .quiesce = fake_quiesce,
    .resume = fake_resume,
    .busy = fake_busy,
};

static inline bool coroutine_fn fake_co_attach(FakeUser *user, BlockDriverState *bs, uint64_t perm,
                                               uint64_t shared, Error **errp)
{
    BdrvChildSpec spec = {
        .name = "root",
        .role = BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY,
        .gate = &user->gate,
        .perm = perm,
        .shared = shared,
    };
    if (!user->gate.ops) {
        bdrv_gate_init(&user->gate, &fake_gate_ops);
    }
    user->root = bdrv_co_attach_child(&spec, bdrv_ref(bs), errp);
    return user->root != NULL;
}

static inline void coroutine_fn fake_co_detach(FakeUser *user)
{
    bdrv_co_detach_child(user->root);
    bdrv_gate_done(&user->gate);
    memset(user, 0, sizeof(*user));
}

/* ---- frame ----------------------------------------------------------------------------------- */

static inline BlockDriverState *coroutine_fn fake_co_open_json(const char *json, Error **errp)
{
    QDict *options = qobject_to(QDict, qobject_from_json(json, &error_abort));
    return bdrv_co_open(NULL, NULL, options, BDRV_O_RDWR, errp);
}

/* A format node and its file node "NAME-file". */
static inline BlockDriverState *coroutine_fn fake_co_open_image(const char *node, const char *file)
{
    g_autofree char *json = g_strdup_printf(
        "{'driver': 'qcow2', 'node-name': '%s', 'file': {'driver': 'file', 'node-name': '%s-file', "
        "'filename': '%s'}}", node, node, file);
    return fake_co_open_json(json, &error_abort);
}

static inline void fake_expect_error(Error *err, const char *text)
{
    g_assert_nonnull(err);
    g_assert_cmpstr(error_get_pretty(err), ==, text);
    error_free(err);
}

typedef struct FakeCase {
    const char *path;
    void (*co_fn)(void);
} FakeCase;

static void coroutine_fn fake_co_case(void *opaque)
{
    const FakeCase *c = opaque;
    bdrv_co_control_lock();
    c->co_fn();
    bdrv_co_control_unlock();
}

static void fake_run_case(gconstpointer data)
{
    bdrv_register_drivers(fake_drivers);
    fake_refused_rights = 0;
    fake_check_perm_calls = fake_set_perm_calls = fake_abort_perm_calls = 0;
    co_run(fake_co_case, (void *)data);
    g_assert_null(bdrv_next_node(NULL));
    bdrv_graph_reset();
}

static inline int fake_main(int argc, char **argv, const FakeCase *cases, size_t n)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    for (size_t i = 0; i < n; i++) {
        g_test_add_data_func(cases[i].path, &cases[i], fake_run_case);
    }
    return g_test_run();
}

#endif
