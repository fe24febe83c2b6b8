/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compressed clusters: how often their streams are read, and reads of many at once. */
#include "qemu/osdep.h"

#include "qcow2-test.h"
#include "../../../block/format/qcow2/qcow2.h"

#define CLUSTER (64 * KiB)
#define CLUSTERS 40
#define DISK_BYTES (CLUSTERS * (int64_t)CLUSTER - 512) /* the last cluster is not whole */

static GRand *rand_;

/* Half of it can be compressed; all of cluster 7 cannot. */
static uint8_t *make_content(void)
{
    uint8_t *content = g_malloc0(DISK_BYTES);

    for (int64_t i = 0; i < DISK_BYTES; i++) {
        content[i] = i / 512 % 2 || i / CLUSTER == 7 ? g_rand_int(rand_) : i / 4096;
    }
    return content;
}

static MemUser *coroutine_fn co_make(const uint8_t *content, const char *kind)
{
    BlockdevCreateOptionsQcow2 o = {
        .size = DISK_BYTES,
        .has_compression_type = true,
        .compression_type = !strcmp(kind, "zstd") ? QCOW2_COMPRESSION_TYPE_ZSTD
                                                  : QCOW2_COMPRESSION_TYPE_ZLIB,
    };
    MemUser *user;

    g_assert_true(qcow2_test_create("disk", &o, &error_abort));
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 0, DISK_BYTES, content, BDRV_REQ_WRITE_COMPRESSED),
                    ==, 0);
    g_assert_cmpint(qcow2_test_check(user), ==, 0);
    mem_co_unuse(user);
    return qcow2_test_open("disk", BDRV_O_RDWR);
}

/* Reads of the file from now on are counted; returns those until now. */
static guint count_reads(void)
{
    guint calls = mem_fault.calls;

    mem_fault = (MemFault){ .kinds = "r", .at = G_MAXUINT };
    return calls;
}

static void expect_content(const uint8_t *content, int64_t offset, const void *buf, int64_t bytes)
{
    g_assert_cmpmem(buf, bytes, content + offset, bytes);
}

/* ---- how often ----------------------------------------------------------------------------- */

static void coroutine_fn co_sequential(void)
{
    g_autofree uint8_t *content = make_content();
    MemUser *user = co_make(content, "zlib");
    uint8_t buf[4096];

    /* The first brings the tables. */
    g_assert_cmpint(bdrv_co_pread(user->root, 0, sizeof(buf), buf, 0), ==, 0);
    count_reads();
    for (int64_t at = 0; at < 7 * (int64_t)CLUSTER; at += sizeof(buf)) {
        g_assert_cmpint(bdrv_co_pread(user->root, at, sizeof(buf), buf, 0), ==, 0);
        expect_content(content, at, buf, sizeof(buf));
    }
    /* The first cluster was there already. */
    g_assert_cmpuint(count_reads(), ==, 6);
    mem_co_unuse(user);
}

/* Over and over in a few clusters, in any order. */
static void coroutine_fn co_random(void)
{
    g_autofree uint8_t *content = make_content();
    MemUser *user = co_make(content, "zlib");
    uint8_t buf[4096];

    g_assert_cmpint(bdrv_co_pread(user->root, 0, sizeof(buf), buf, 0), ==, 0);
    count_reads();
    for (int i = 0; i < 500; i++) {
        int64_t at = g_rand_int_range(rand_, CLUSTER, 7 * CLUSTER - sizeof(buf));

        g_assert_cmpint(bdrv_co_pread(user->root, at, sizeof(buf), buf, 0), ==, 0);
        expect_content(content, at, buf, sizeof(buf));
    }
    g_assert_cmpuint(count_reads(), <=, 6);
    mem_co_unuse(user);
}

/* A cluster that was overwritten is inflated again, if its stream's place has another. */
static void coroutine_fn co_overwritten(void)
{
    g_autofree uint8_t *content = make_content();
    MemUser *user = co_make(content, "zlib");
    uint8_t buf[4096];

    for (int round = 0; round < 20; round++) {
        int64_t cluster = g_rand_int_range(rand_, 0, 6) * (int64_t)CLUSTER;

        memset(content + cluster, round, CLUSTER / 2);
        g_assert_cmpint(bdrv_co_pwrite(user->root, cluster, CLUSTER, content + cluster,
                                       BDRV_REQ_WRITE_COMPRESSED), ==, 0);
        if (round % 4 == 0) {
            g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
        }
        for (int64_t at = 0; at < 6 * (int64_t)CLUSTER; at += CLUSTER / 4) {
            g_assert_cmpint(bdrv_co_pread(user->root, at, sizeof(buf), buf, 0), ==, 0);
            expect_content(content, at, buf, sizeof(buf));
        }
    }
    mem_co_unuse(user);
}

/* ---- many at once -------------------------------------------------------------------------- */

/* Into pieces of @piece bytes, which hold no cluster wholly if they are small. */
static void coroutine_fn co_read_in_pieces(MemUser *user, const uint8_t *content, int64_t offset,
                                           int64_t bytes, size_t piece)
{
    g_autofree uint8_t *buf = g_malloc(bytes);
    QEMUIOVector qiov;

    qemu_iovec_init(&qiov, 4);
    for (int64_t at = 0; at < bytes; at += piece) {
        qemu_iovec_add(&qiov, buf + at, MIN(piece, (size_t)(bytes - at)));
    }
    g_assert_cmpint(bdrv_co_preadv(user->root, offset, bytes, &qiov, 0), ==, 0);
    expect_content(content, offset, buf, bytes);
    qemu_iovec_destroy(&qiov);
}

static void coroutine_fn co_runs(const char *kind)
{
    g_autofree uint8_t *content = make_content();
    MemUser *user = co_make(content, kind);

    co_read_in_pieces(user, content, 0, 512, 512);
    count_reads();
    co_read_in_pieces(user, content, 0, 7 * CLUSTER, 7 * CLUSTER);
    g_assert_cmpuint(count_reads(), ==, 1);
    co_read_in_pieces(user, content, 0, DISK_BYTES, DISK_BYTES);
    co_read_in_pieces(user, content, 0, DISK_BYTES, 4096);
    co_read_in_pieces(user, content, 0, DISK_BYTES, CLUSTER + 512);
    /* Zeroes, plain data and other places between them. */
    for (int i = 1; i < 8; i++) {
        int64_t at = g_rand_int_range(rand_, 0, CLUSTERS - 1) * (int64_t)CLUSTER;

        memset(content + at, i % 3 ? i : 0, CLUSTER);
        g_assert_cmpint(i % 3 ? bdrv_co_pwrite(user->root, at, CLUSTER, content + at,
                                               i % 2 ? BDRV_REQ_WRITE_COMPRESSED : 0)
                              : bdrv_co_pwrite_zeroes(user->root, at, CLUSTER, 0), ==, 0);
    }
    for (int i = 0; i < 50; i++) {
        int64_t at = g_rand_int_range(rand_, 0, DISK_BYTES / 512) * INT64_C(512);
        int64_t bytes = g_rand_int_range(rand_, 1, (DISK_BYTES - at) / 512 + 1) * INT64_C(512);

        co_read_in_pieces(user, content, at, bytes, 512 * g_rand_int_range(rand_, 8, 400));
    }
    mem_co_unuse(user);
}

static void coroutine_fn co_runs_zlib(void)
{
    co_runs("zlib");
}

static void coroutine_fn co_runs_zstd(void)
{
    if (codec_available(CODEC_ZSTD)) {
        co_runs("zstd");
    } else {
        g_test_skip("built without zstd");
    }
}

/* One damaged stream of many is an error of what has it, not of the others. */
static void coroutine_fn co_damaged(void)
{
    g_autofree uint8_t *content = make_content();
    g_autofree uint8_t *buf = g_malloc(7 * CLUSTER);
    MemUser *user = co_make(content, "zlib");
    Qcow2State *s = user->bs->opaque;
    Qcow2Mapping map;

    qemu_co_mutex_lock(&s->lock);
    g_assert_cmpint(qcow2_co_map(user->bs, 3 * (int64_t)CLUSTER, CLUSTER, &map), ==, 0);
    qemu_co_mutex_unlock(&s->lock);
    g_assert_cmpint(map.kind, ==, QCOW2_DEFLATED);
    memset(mem_file("disk")->data->data + map.host_offset + 2, 0xff, 1000);
    g_assert_cmpint(bdrv_co_pread(user->root, 0, 7 * CLUSTER, buf, 0), ==, -EIO);
    co_read_in_pieces(user, content, 0, 3 * CLUSTER, 3 * CLUSTER);
    co_read_in_pieces(user, content, 4 * CLUSTER, 3 * CLUSTER, 3 * CLUSTER);
    mem_co_unuse(user);
}

int main(int argc, char **argv)
{
    static const Qcow2TestCase cases[] = {
        { "/qcow2/packed/sequential-small-reads-inflate-a-cluster-once", co_sequential },
        { "/qcow2/packed/random-small-reads-inflate-a-cluster-once", co_random },
        { "/qcow2/packed/what-is-overwritten-is-not-kept", co_overwritten },
        { "/qcow2/packed/many-at-once-zlib", co_runs_zlib },
        { "/qcow2/packed/many-at-once-zstd", co_runs_zstd },
        { "/qcow2/packed/one-damaged-among-many", co_damaged },
    };

    int ret;

    test_init(&argc, &argv);
    rand_ = test_rand_new();
    qemu_init_main_loop(&error_abort);
    qcow2_test_add_cases(cases, ARRAY_SIZE(cases));
    ret = g_test_run();
    g_rand_free(rand_);
    return ret;
}
