/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The check tells of each count that is wrong, and of no other: images whose clusters lie in runs
 * of any length, some counted very often; counts that differ at random.
 */
#include "qemu/osdep.h"

#include "block/snapshot.h"
#include "qcow2-test.h"
#include "qemu/bswap.h"

#define CLUSTER 1024
#define DISK_CLUSTERS 1500
#define PER_BLOCK (CLUSTER / 2)
#define NB_DAMAGES 200

typedef struct Shape {
    const char *path;
    int snapshots;
} Shape;

static const Shape shapes[] = {
    { "/qcow2/check/wrong-counts-are-told/no-snapshot", 0 },
    { "/qcow2/check/wrong-counts-are-told/two-snapshots", 2 },
    { "/qcow2/check/wrong-counts-are-told/counts-of-two-bytes", 260 },
};

static const Shape *current_shape;

/* ---- an image ------------------------------------------------------------------------------- */

/* Data in runs, with holes of any length in guest and file. */
static void coroutine_fn co_make(GRand *rand)
{
    BlockdevCreateOptionsQcow2 o = {
        .size = (uint64_t)DISK_CLUSTERS * CLUSTER,
        .has_cluster_size = true,
        .cluster_size = CLUSTER,
    };
    g_autofree uint8_t *buf = g_malloc0(128 * CLUSTER);
    MemUser *user;

    memset(buf, 0x5a, 128 * CLUSTER);
    g_assert_true(qcow2_test_create("disk", &o, &error_abort));
    user = qcow2_test_open("disk", BDRV_O_RDWR | BDRV_O_UNMAP);
    for (int i = 0; i < 60; i++) {
        int64_t n = 1 + g_rand_int_range(rand, 0, 128);
        int64_t at = g_rand_int_range(rand, 0, DISK_CLUSTERS - n + 1);

        if (i % 3 == 2) {
            n = MIN(n, 10);
            g_assert_cmpint(bdrv_co_pdiscard(user->root, at * CLUSTER, n * CLUSTER), ==, 0);
        } else {
            g_assert_cmpint(bdrv_co_pwrite(user->root, at * CLUSTER, n * CLUSTER, buf, 0), >=, 0);
        }
    }
    for (int i = 0; i < current_shape->snapshots; i++) {
        g_autofree char *name = g_strdup_printf("s%d", i);

        g_assert_true(bdrv_co_snapshot_create_now(user->bs, name, &error_abort));
    }
    mem_co_unuse(user);
}

/* The count of @cluster in the file, big endian; NULL: there is no block for it. */
static uint8_t *count_at(uint64_t cluster)
{
    uint8_t *file = mem_file("disk")->data->data;
    uint8_t *table = file + ldq_be_p(file + 48);
    uint64_t block = ldq_be_p(table + cluster / PER_BLOCK * 8);

    return block ? file + block + cluster % PER_BLOCK * 2 : NULL;
}

/* ---- what the check says -------------------------------------------------------------------- */

static void note_line(void *opaque, const char *line)
{
    GHashTable *lines = opaque;

    if (g_str_has_prefix(line, "ERROR cluster ") || g_str_has_prefix(line, "Leaked cluster ")) {
        g_assert_true(g_hash_table_add(lines, g_strdup(line)));
    }
}

static BdrvCheckResult coroutine_fn co_check(GHashTable *lines)
{
    BdrvCheckResult res = { .report = note_line, .opaque = lines };
    MemUser *user = qcow2_test_open("disk", 0);

    g_assert_cmpint(bdrv_co_check(user->bs, &res, 0), ==, 0);
    g_assert_cmpint(res.check_errors, ==, 0);
    mem_co_unuse(user);
    return res;
}

/* Another count for a cluster; what is to be said of it goes to @lines. */
static void damage(GRand *rand, uint64_t cluster, GHashTable *lines)
{
    uint8_t *count = count_at(cluster);
    uint16_t old = count ? lduw_be_p(count) : 0, new;
    const uint16_t some[] = { 0, 1, 2, 255, 256, 257, old & 0xff, 0x100 + old, old + 1, old - 1 };

    new = some[g_rand_int_range(rand, 0, ARRAY_SIZE(some))];
    if (!count || new == old || new == UINT16_MAX) {
        return;
    }
    stw_be_p(count, new);
    g_hash_table_add(lines, g_strdup_printf("%s cluster %" PRIu64 " refcount=%u reference=%u",
                                            new > old ? "Leaked" : "ERROR", cluster, new, old));
}

static void assert_same_lines(GHashTable *told, GHashTable *wanted)
{
    GHashTableIter iter;
    gpointer line;

    g_hash_table_iter_init(&iter, wanted);
    while (g_hash_table_iter_next(&iter, &line, NULL)) {
        if (!g_hash_table_contains(told, line)) {
            g_error("not told: %s", (char *)line);
        }
    }
    g_assert_cmpuint(g_hash_table_size(told), ==, g_hash_table_size(wanted));
}

static GHashTable *new_lines(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

static void coroutine_fn co_run_shape(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autoptr(GHashTable) told = new_lines(), wanted = new_lines(), hit = NULL;
    BdrvCheckResult sound;
    uint64_t nb_clusters, last;

    co_make(rand);
    sound = co_check(told);
    g_assert_cmpint(sound.corruptions, ==, 0);
    g_assert_cmpuint(g_hash_table_size(told), ==, 0);
    nb_clusters = DIV_ROUND_UP(mem_file("disk")->data->len, CLUSTER);
    for (last = nb_clusters - 1; !count_at(last) || !lduw_be_p(count_at(last)); last--) {
    }
    g_assert_cmpint(sound.image_end_offset, ==, (last + 1) * CLUSTER);

    hit = g_hash_table_new(g_direct_hash, g_direct_equal);
    for (int i = 0; i < NB_DAMAGES; i++) {
        /* Half of them close together. */
        uint64_t cluster = i % 2 ? nb_clusters / 2 + g_rand_int_range(rand, 0, 40)
                                 : test_rand_below(rand, nb_clusters);

        if (cluster < nb_clusters && g_hash_table_add(hit, GSIZE_TO_POINTER(cluster))) {
            damage(rand, cluster, wanted);
        }
    }
    co_check(told);
    assert_same_lines(told, wanted);
}

/*
 * A file that was cut within a cluster: whatever lies there, the last entry of a table too, is in
 * use.  Clusters in one run, so that they are looked at several at a time.
 */
static void coroutine_fn co_cut_within_a_cluster(void)
{
    BlockdevCreateOptionsQcow2 o = {
        .size = (uint64_t)DISK_CLUSTERS * CLUSTER,
        .has_cluster_size = true,
        .cluster_size = CLUSTER,
    };
    const int64_t bytes = 3 * (CLUSTER / 8) * CLUSTER; /* of three tables */
    g_autofree uint8_t *buf = g_malloc0(bytes);
    GByteArray *file;
    MemUser *user;

    memset(buf, 0x5a, bytes);
    g_assert_true(qcow2_test_create("disk", &o, &error_abort));
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 0, bytes, buf, 0), ==, 0);
    mem_co_unuse(user);
    file = mem_file("disk")->data;
    for (uint64_t cluster = file->len / CLUSTER - 1; cluster > (uint64_t)bytes / CLUSTER / 2;
         cluster--) {
        g_autoptr(GHashTable) told = new_lines();
        g_autofree char *leaked = g_strdup_printf("Leaked cluster %" PRIu64 " refcount=1 "
                                                  "reference=0", cluster);
        BdrvCheckResult res = { .report = note_line, .opaque = told };

        g_byte_array_set_size(file, cluster * CLUSTER + CLUSTER / 2);
        user = qcow2_test_open("disk", 0);
        g_assert_cmpint(bdrv_co_check(user->bs, &res, 0), ==, 0);
        mem_co_unuse(user);
        g_assert_false(g_hash_table_contains(told, leaked));
    }
}

static void test_cut(void)
{
    mem_run_case(qcow2_drivers, co_cut_within_a_cluster);
}

static void test_shape(gconstpointer data)
{
    current_shape = data;
    mem_run_case(qcow2_drivers, co_run_shape);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        g_test_add_data_func(shapes[i].path, &shapes[i], test_shape);
    }
    g_test_add_func("/qcow2/check/file-that-ends-within-a-cluster", test_cut);
    return g_test_run();
}
