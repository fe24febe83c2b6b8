/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal snapshots against arrays: random writes, discards, snapshots made, applied, looked into
 * and deleted, for many cluster sizes and refcount widths; each step leaves an image that a check
 * finds perfect.
 */
#include "qemu/osdep.h"

#include "../../../block/format/qcow2/counts.h"
#include "block/snapshot.h"
#include "qcow2-test.h"

#define DISK_BYTES (1 * MiB)
#define MAX_BYTES (2 * MiB)
#define STEPS 60

typedef struct Shape {
    uint32_t cluster_size;
    int refcount_bits;
    bool is_v2, has_backing;
    int max_snapshots;
    bool is_extended_l2;
} Shape;

static const Shape shapes[] = {
    { 65536, 16, false, false, 20, false },
    { 512, 16, false, true, 20, false },
    { 512, 1, false, false, 0, false },
    { 512, 2, false, false, 2, false },
    { 1024, 4, false, false, 14, false },
    { 4096, 8, false, true, 20, false },
    { 4096, 16, true, false, 20, false },
    { 512, 64, false, false, 20, false },
    { 2097152, 32, false, true, 5, false },
    { 16384, 16, false, false, 20, true },
    { 16384, 8, false, true, 20, true },
};

/* A disk that the image once was. */
typedef struct Model {
    char *name;
    int64_t bytes;
    uint8_t *data;
} Model;

typedef struct Test {
    const Shape *shape;
    MemUser *user;
    GRand *rand;
    Model disk;
    GArray *snapshots; /* of Model, oldest first */
    int next_name;
} Test;

static void model_clear(void *item)
{
    Model *m = item;

    g_free(m->name);
    g_free(m->data);
}

static Model model_copy(const Model *m, char *name)
{
    return (Model){ name, m->bytes, g_memdup2(m->data, MAX_BYTES) };
}

static MemUser *coroutine_fn co_open(const Shape *shape, int flags)
{
    QDict *options = qcow2_test_options("top");

    if (shape->has_backing) {
        qdict_put_str(options, "backing.driver", "raw");
        qdict_put_str(options, "backing.file.driver", "file");
        qdict_put_str(options, "backing.file.filename", "base");
    }
    return mem_co_use(options, flags, &error_abort);
}

static void coroutine_fn co_verify(MemUser *user, const Model *m, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc(MAX_BYTES);

    g_assert_cmpint(bdrv_co_pread(user->root, 0, bytes, buf, 0), ==, 0);
    g_assert_cmpmem(buf, bytes, m->data, bytes);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void coroutine_fn co_change(Test *t)
{
    for (int i = g_rand_int_range(t->rand, 1, 6); i > 0; i--) {
        int64_t offset = 512 * g_rand_int_range(t->rand, 0, t->disk.bytes / 512);
        int64_t bytes = 512 * g_rand_int_range(t->rand, 1, 100);

        bytes = MIN(bytes, t->disk.bytes - offset);
        if (g_rand_int_range(t->rand, 0, 3)) {
            test_rand_fill(t->rand, t->disk.data + offset, bytes);
            g_assert_cmpint(bdrv_co_pwrite(t->user->root, offset, bytes, t->disk.data + offset, 0),
                            ==, 0);
        } else {
            memset(t->disk.data + offset, 0, bytes);
            g_assert_cmpint(bdrv_co_pwrite_zeroes(t->user->root, offset, bytes,
                                                  BDRV_REQ_MAY_UNMAP), ==, 0);
        }
    }
}

static void coroutine_fn co_resize(Test *t)
{
    int64_t bytes = 512 * g_rand_int_range(t->rand, 1, MAX_BYTES / 512);

    if (t->shape->is_v2 || t->shape->has_backing) {
        return;
    }
    g_assert_cmpint(bdrv_co_truncate(t->user->root, bytes, true, PREALLOC_MODE_OFF, 0,
                                     &error_abort), ==, 0);
    memset(t->disk.data + MIN(bytes, t->disk.bytes), 0, MAX_BYTES - MIN(bytes, t->disk.bytes));
    t->disk.bytes = bytes;
}

static void coroutine_fn co_create(Test *t)
{
    g_autofree char *name = g_strdup_printf("s%d", ++t->next_name);
    Error *local_err = NULL;

    if (t->snapshots->len == (guint)t->shape->max_snapshots && t->shape->refcount_bits < 8) {
        /* Every cluster of a new snapshot would be one too many. */
        co_change(t);
        while (t->snapshots->len == (guint)t->shape->max_snapshots &&
               bdrv_co_snapshot_create_now(t->user->bs, name, &local_err)) {
            Model m = model_copy(&t->disk, g_strdup(name));

            g_array_append_val(t->snapshots, m);
        }
        if (local_err) {
            g_assert_nonnull(strstr(error_get_pretty(local_err), "cannot count"));
            error_free(local_err);
        }
        return;
    }
    g_assert_true(bdrv_co_snapshot_create_now(t->user->bs, name, &error_abort));
    Model m = model_copy(&t->disk, g_steal_pointer(&name));
    g_array_append_val(t->snapshots, m);
}

static Model *pick(Test *t)
{
    return t->snapshots->len == 0
               ? NULL
               : &g_array_index(t->snapshots, Model,
                                g_rand_int_range(t->rand, 0, t->snapshots->len));
}

static void coroutine_fn co_apply(Test *t)
{
    Model *m = pick(t);

    if (m && bdrv_co_snapshot_goto(t->user->bs, m->name, &error_abort)) {
        g_free(t->disk.data);
        t->disk = model_copy(m, NULL);
        g_assert_cmpint(bdrv_getlength(t->user->bs), ==, m->bytes);
    }
}

static void coroutine_fn co_delete(Test *t)
{
    Model *m = pick(t);
    g_autoptr(SnapshotInfo) info = m ? bdrv_snapshot_find(t->user->bs, NULL, m->name) : NULL;

    if (m) {
        g_assert_nonnull(info);
        g_assert_true(bdrv_co_snapshot_delete(t->user->bs, info->id, &error_abort));
        g_array_remove_index(t->snapshots, m - (Model *)t->snapshots->data);
    }
}

/* A second look at the file, as another program would open it; and into a snapshot. */
static void coroutine_fn co_look(Test *t)
{
    Model *m = pick(t);
    MemUser *user;

    mem_co_unuse(t->user);
    user = co_open(t->shape, 0);
    g_assert_cmpint(qcow2_test_check(user), ==, 0);
    co_verify(user, &t->disk, t->disk.bytes);
    if (m) {
        g_assert_true(bdrv_co_snapshot_load_tmp_by_text(user->bs, m->name, &error_abort));
        co_verify(user, m, MIN(m->bytes, t->disk.bytes));
    }
    mem_co_unuse(user);
    t->user = co_open(t->shape, BDRV_O_RDWR | BDRV_O_UNMAP);
}

static void coroutine_fn co_steps(Test *t)
{
    static void coroutine_fn (*const steps[])(Test *) = {
        co_change, co_change, co_create, co_create, co_apply, co_delete, co_look, co_resize,
    };

    for (int i = 0; i < STEPS; i++) {
        steps[g_rand_int_range(t->rand, 0, ARRAY_SIZE(steps))](t);
        if (g_rand_int_range(t->rand, 0, 2)) {
            g_assert_cmpint(bdrv_co_flush(t->user->bs), ==, 0);
        }
        co_verify(t->user, &t->disk, t->disk.bytes);
        while (t->snapshots->len > (guint)t->shape->max_snapshots) {
            co_delete(t);
        }
    }
    while (t->snapshots->len) {
        co_apply(t);
        co_delete(t);
        co_look(t);
    }
}

/* ---- frame ----------------------------------------------------------------------------------- */

static const Shape *current_shape;

static void coroutine_fn co_run_shape(void)
{
    const Shape *shape = current_shape;
    BlockdevCreateOptionsQcow2 o = {
        .size = DISK_BYTES,
        .has_version = true,
        .version = shape->is_v2 ? BLOCKDEV_QCOW2_VERSION_V2 : BLOCKDEV_QCOW2_VERSION_V3,
        .has_cluster_size = true,
        .cluster_size = shape->cluster_size,
        .has_refcount_bits = true,
        .refcount_bits = shape->refcount_bits,
        .has_extended_l2 = shape->is_extended_l2,
        .extended_l2 = shape->is_extended_l2,
    };
    g_autoptr(GRand) rand = test_rand_new();
    Test t = {
        .shape = shape,
        .rand = rand,
        .disk = { NULL, DISK_BYTES, g_malloc0(MAX_BYTES) },
        .snapshots = g_array_new(FALSE, FALSE, sizeof(Model)),
    };

    g_test_message("cluster size %" PRIu32 ", refcount bits %d%s%s%s", shape->cluster_size,
                   shape->refcount_bits, shape->is_v2 ? ", version 2" : "",
                   shape->is_extended_l2 ? ", subclusters" : "",
                   shape->has_backing ? ", backing file" : "");
    g_array_set_clear_func(t.snapshots, model_clear);
    mem_rand = rand;
    if (shape->has_backing) {
        test_rand_fill(rand, t.disk.data, DISK_BYTES / 2);
        mem_set_content("base", t.disk.data, DISK_BYTES / 2);
    }
    g_assert_true(qcow2_test_create("top", &o, &error_abort));
    mem_file("top")->may_discard = true;
    t.user = co_open(shape, BDRV_O_RDWR | BDRV_O_UNMAP);
    co_steps(&t);
    mem_co_unuse(t.user);
    g_array_unref(t.snapshots);
    g_free(t.disk.data);
}

static void test_shape(gconstpointer data)
{
    current_shape = data;
    mem_run_case(qcow2_drivers, co_run_shape);
}

/* Refcounts have no room in memory as a whole, and few tables have at a time. */
static void test_in_pieces(gconstpointer data)
{
    const uint64_t budget = qcow2_counts_budget, window = qcow2_walk_window_bytes;

    qcow2_counts_budget = 0;
    qcow2_walk_window_bytes = 2 * ((const Shape *)data)->cluster_size;
    test_shape(data);
    qcow2_counts_budget = budget;
    qcow2_walk_window_bytes = window;
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/snapshot/random-steps-as-in-arrays/%zu", i);

        g_autofree char *pieces = g_strdup_printf("/qcow2/snapshot/refcounts-in-pieces/%zu", i);

        g_test_add_data_func(path, &shapes[i], test_shape);
        g_test_add_data_func(pieces, &shapes[i], test_in_pieces);
    }
    return g_test_run();
}
