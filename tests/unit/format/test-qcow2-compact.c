/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compaction leaves a file that is as short as its content: random images with data, compressed
 * clusters, snapshots and bitmaps, of which some are inconsistent; encrypted ones.  Afterwards the
 * disk, the snapshots and the bitmaps are what they were, check finds nothing, not even a leak, and
 * the file has no more free clusters than one step needs.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "block/snapshot.h"
#include "qcow2-test.h"
#include "../../../block/format/qcow2/bitmap.h"
#include "../../../block/format/qcow2/counts.h"
#include "../lab/secrets.h"

#define DISK_BYTES (4 * MiB)
#define REQUESTS 120

/* How an image is made. */
typedef struct Kind {
    uint32_t cluster_size;
    int refcount_bits;
    bool has_extended_l2;
    int compressed;     /* of ten writes */
    int snapshots;
    int bitmaps;        /* of these the odd ones are inconsistent */
    int method;         /* of encryption: QCOW2_CRYPT_... */
} Kind;

static GRand *rand_;

static void coroutine_fn co_write(MemUser *user, const Kind *k, int64_t offset, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc0(bytes);
    bool packs = g_rand_int_range(rand_, 0, 10) < k->compressed;
    int64_t noise = packs ? g_rand_int_range(rand_, 1, k->cluster_size) : bytes;

    for (int64_t i = 0; i < bytes; i++) {
        buf[i] = i % k->cluster_size < noise ? g_rand_int(rand_) : 0x5a;
    }
    g_assert_cmpint(bdrv_co_pwrite(user->root, offset, bytes, buf,
                                   packs ? BDRV_REQ_WRITE_COMPRESSED : 0), ==, 0);
}

/* Many writes, then much is dropped, so that there are holes everywhere. */
static void coroutine_fn co_use(MemUser *user, const Kind *k, int round)
{
    int64_t clusters = DISK_BYTES / k->cluster_size;

    for (int i = 0; i < REQUESTS; i++) {
        int64_t first = g_rand_int_range(rand_, 0, clusters);
        int64_t n = g_rand_int_range(rand_, 1, 1 + MAX(clusters / 40, 1));
        int64_t offset = first * k->cluster_size;
        int64_t bytes = MIN(n, clusters - first) * k->cluster_size;

        if (i % 3 != 2) {
            co_write(user, k, offset, bytes);
        } else {
            g_assert_cmpint(bdrv_co_pdiscard(user->root, offset, bytes), ==, 0);
        }
    }
    if (round < k->snapshots) {
        g_autofree char *name = g_strdup_printf("s%d", round);

        g_assert_true(bdrv_co_snapshot_create_now(user->bs, name, &error_abort));
    }
}

static void coroutine_fn co_add_bitmaps(MemUser *user, const Kind *k)
{
    for (int i = 0; i < k->bitmaps; i++) {
        g_autofree char *name = g_strdup_printf("b%d", i);
        BdrvDirtyBitmap *bitmap = bdrv_create_dirty_bitmap(user->bs, 512, name, &error_abort);

        bdrv_dirty_bitmap_set_persistence(bitmap, true);
    }
}

/* Say in the file that every other bitmap was not stored when it changed last. */
static void spoil_bitmaps(void)
{
    uint8_t *data = mem_file("disk")->data->data;
    uint8_t *ext = data + ldl_be_p(data + 100);

    while (ldl_be_p(ext) && ldl_be_p(ext) != QCOW2_EXT_BITMAPS) {
        ext += 8 + QEMU_ALIGN_UP(ldl_be_p(ext + 4), 8);
    }
    if (ldl_be_p(ext)) {
        uint8_t *entry = data + ldq_be_p(ext + 24);

        for (uint32_t i = 0, n = ldl_be_p(ext + 8); i < n; i++) {
            stl_be_p(entry + 12, ldl_be_p(entry + 12) | (i % 2 ? QCOW2_BITMAP_IN_USE : 0));
            entry += QEMU_ALIGN_UP(24 + lduw_be_p(entry + 18) + ldl_be_p(entry + 20), 8);
        }
    }
}

static MemUser *coroutine_fn co_open(const Kind *k, int flags)
{
    QDict *options = qcow2_test_options("disk");

    if (k->method) {
        qdict_put_str(options, "encrypt.key-secret", "a");
    }
    return mem_co_use(options, flags, &error_abort);
}

static void fill_encryption(QCryptoBlockCreateOptions *o, int method)
{
    o->format = QCRYPTO_BLOCK_FORMAT_QCOW;
    o->u.qcow.key_secret = (char *)"a";
    if (method == QCOW2_CRYPT_LUKS) {
        o->format = QCRYPTO_BLOCK_FORMAT_LUKS;
        o->u.luks = (QCryptoBlockCreateOptionsLUKS){
            .key_secret = (char *)"a", .has_iter_time = true, .iter_time = 1,
            .has_cipher_alg = true, .cipher_alg = QCRYPTO_CIPHER_ALGO_AES_128,
        };
    }
}

/* The state of a machine lies behind the disk, and moves, too. */
static void coroutine_fn co_vmstate(MemUser *user, const Kind *k, bool is_write)
{
    uint8_t state[1000], got[sizeof(state)];
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, is_write ? state : got, sizeof(state));

    memset(state, 0x77, sizeof(state));
    if (k->method) {
        g_assert_cmpint(is_write ? bdrv_co_save_vmstate(user->bs, &qiov, 100)
                                 : bdrv_co_load_vmstate(user->bs, &qiov, 100), ==, 0);
        g_assert_true(is_write || memcmp(got, state, sizeof(state)) == 0);
    }
}

static MemUser *coroutine_fn co_make(const Kind *k)
{
    QCryptoBlockCreateOptions encrypt = { 0 };
    BlockdevCreateOptionsQcow2 o = {
        .size = DISK_BYTES,
        .has_cluster_size = true, .cluster_size = k->cluster_size,
        .has_refcount_bits = true, .refcount_bits = k->refcount_bits,
        .has_extended_l2 = true, .extended_l2 = k->has_extended_l2,
    };
    MemUser *user;

    if (k->method) {
        fill_encryption(&encrypt, k->method);
        o.encrypt = &encrypt;
    }
    g_assert_true(qcow2_test_create("disk", &o, &error_abort));
    user = co_open(k, BDRV_O_RDWR | BDRV_O_UNMAP);
    for (int round = 0; round < 4; round++) {
        co_use(user, k, round);
        if (round == 1) {
            co_add_bitmaps(user, k);
        }
    }
    co_vmstate(user, k, true);
    g_assert_cmpint(bdrv_co_pdiscard(user->root, DISK_BYTES / 4, DISK_BYTES / 4), ==, 0);
    mem_co_unuse(user);
    spoil_bitmaps();
    return co_open(k, BDRV_O_RDWR | BDRV_O_UNMAP);
}

/* What the image holds, of all its snapshots, too; leaves it open for reading nowhere. */
static GByteArray *coroutine_fn co_content(const Kind *k)
{
    GByteArray *all = g_byte_array_new();
    MemUser *user = co_open(k, 0);

    for (int i = 0; i <= k->snapshots; i++) {
        g_autofree uint8_t *buf = g_malloc(DISK_BYTES);
        g_autofree char *name = g_strdup_printf("s%d", i - 1);

        if (i > 0) {
            g_assert_true(bdrv_co_snapshot_load_tmp(user->bs, NULL, name, &error_abort));
        }
        g_assert_cmpint(bdrv_co_pread(user->root, 0, DISK_BYTES, buf, 0), ==, 0);
        g_byte_array_append(all, buf, DISK_BYTES);
    }
    for (int i = 0; i < k->bitmaps; i++) {
        g_autofree char *name = g_strdup_printf("b%d", i);
        BdrvDirtyBitmap *bitmap = bdrv_find_dirty_bitmap(user->bs, name);
        int64_t count = bdrv_dirty_bitmap_inconsistent(bitmap) ? -1
                                                               : bdrv_get_dirty_count(bitmap);

        g_assert_true(bdrv_dirty_bitmap_inconsistent(bitmap) == (i % 2 == 1));
        g_byte_array_append(all, (const uint8_t *)&count, sizeof(count));
    }
    mem_co_unuse(user);
    return all;
}

/*
 * What moving one cluster writes: tables that name it, and, if it comes to that, all refcounts.
 * Twice that, for a table of several clusters needs free ones in a row.
 */
static uint64_t slack(const Qcow2State *s)
{
    uint64_t l1 = qcow2_nb_clusters(s, (uint64_t)s->l1.size * 8), trees = s->snapshots->len + 1;

    return 2 * (trees * (1 + l1) + s->header.reftable_clusters + 1 +
                qcow2_nb_clusters(s, s->snapshots_bytes) + qcow2_refarray_used_blocks(s));
}

static uint64_t coroutine_fn co_count_free(MemUser *user)
{
    const Qcow2State *s = user->bs->opaque;
    g_autoptr(Qcow2RefArray) counts = qcow2_refarray_co_load(user->bs, 0,
                                                             qcow2_refarray_used_blocks(s));
    uint64_t nb_free = 0, end = qcow2_nb_clusters(s, bdrv_co_getlength(user->bs->file->bs));

    for (uint64_t i = 0; i < end; i++) {
        nb_free += i >= counts->end || qcow2_refarray_get(counts, i) == 0;
    }
    return nb_free;
}

static void coroutine_fn co_compact(MemUser *user)
{
    int64_t step_bytes = (int64_t)g_rand_int_range(rand_, 1, 64) * 64 * KiB, gain, left = 0, before;

    do {
        before = bdrv_co_getlength(user->bs->file->bs);
        gain = bdrv_co_compact(user->bs, step_bytes, &left, &error_abort);
        g_assert_cmpint(before - bdrv_co_getlength(user->bs->file->bs), ==, gain);
        g_assert_cmpint(left, >=, 0);
    } while (gain > 0);
    g_assert_cmpint(left, ==, 0);
}

static void coroutine_fn co_try(const Kind *k)
{
    MemUser *user = co_make(k);
    g_autoptr(GByteArray) before = NULL, after = NULL;
    uint64_t nb_free, bound;

    mem_co_unuse(user);
    before = co_content(k);
    user = co_open(k, BDRV_O_RDWR | BDRV_O_UNMAP);
    nb_free = co_count_free(user);
    co_compact(user);
    bound = slack(user->bs->opaque);
    g_test_message("%" PRIu64 " free clusters, then %" PRIu64 "; %" PRIu64 " allowed", nb_free,
                   co_count_free(user), bound);
    g_assert_cmpuint(co_count_free(user), <=, bound);
    mem_co_unuse(user);
    user = co_open(k, 0);
    g_assert_cmpint(qcow2_test_check(user), ==, 0);
    co_vmstate(user, k, false);
    mem_co_unuse(user);
    after = co_content(k);
    g_assert_cmpmem(before->data, before->len, after->data, after->len);
}

/* ---- kinds --------------------------------------------------------------------------------- */

static const Kind *kind_;

static void coroutine_fn co_case(void)
{
    co_try(kind_);
}

static void test_kind(gconstpointer kind)
{
    kind_ = kind;
    mem_run_case(qcow2_drivers, co_case);
}

/* Refcounts have no room in memory as a whole. */
static void test_in_pieces(gconstpointer kind)
{
    const uint64_t budget = qcow2_counts_budget;

    qcow2_counts_budget = 0;
    test_kind(kind);
    qcow2_counts_budget = budget;
}

#define PREFIX "/qcow2/compact/"

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        Kind kind;
    } cases[] = {
        { PREFIX "plain", { 4096, 16, false, 0, 0, 0, 0 } },
        { PREFIX "small-clusters", { 512, 16, false, 0, 0, 0, 0 } },
        { PREFIX "snapshots", { 4096, 16, false, 0, 3, 0, 0 } },
        { PREFIX "compressed", { 4096, 16, false, 8, 0, 0, 0 } },
        { PREFIX "compressed-snapshots", { 4096, 16, false, 8, 2, 0, 0 } },
        { PREFIX "compressed-large-clusters", { 65536, 16, false, 9, 1, 0, 0 } },
        { PREFIX "compressed-narrow-refcounts", { 4096, 2, false, 8, 0, 0, 0 } },
        { PREFIX "compressed-one-bit", { 4096, 1, false, 8, 0, 0, 0 } },
        { PREFIX "extended-l2", { 16384, 64, true, 3, 1, 0, 0 } },
        { PREFIX "bitmaps", { 4096, 16, false, 0, 0, 3, 0 } },
        { PREFIX "everything", { 1024, 16, false, 4, 2, 3, 0 } },
        { PREFIX "luks", { 4096, 16, false, 0, 2, 1, QCOW2_CRYPT_LUKS } },
        { PREFIX "luks-subclusters", { 16384, 16, true, 0, 1, 0, QCOW2_CRYPT_LUKS } },
        { PREFIX "aes", { 4096, 16, false, 0, 2, 0, QCOW2_CRYPT_AES } },
    };

    bool has_secrets;

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    rand_ = test_rand_new();
    has_secrets = lab_add_secrets();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (cases[i].kind.method && !has_secrets) {
            continue;
        }
        g_test_add_data_func(cases[i].path, &cases[i].kind, test_kind);
        if (cases[i].kind.cluster_size <= 1024 || cases[i].kind.refcount_bits == 64) {
            g_autofree char *path = g_strdup_printf("%s/in-pieces", cases[i].path);

            g_test_add_data_func(path, &cases[i].kind, test_in_pieces);
        }
    }
    return g_test_run();
}
