/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encrypted qcow2 images in memory: what the labs and the programs do not reach. */
#include "qemu/osdep.h"

#include "../../block/format/qcow2/qcow2.h"
#include "../lab/secrets.h"
#include "block/snapshot.h"
#include "qcow2-test.h"
#include "qemu/iszero.h"
#include "qobject/opts.h"

#define CLUSTER 4096
#define DISK (256 * KiB)

static void coroutine_fn co_create(QCryptoBlockFormat format)
{
    QCryptoBlockCreateOptions encrypt = { .format = format };
    BlockdevCreateOptionsQcow2 o = {
        .size = DISK, .has_cluster_size = true, .cluster_size = CLUSTER, .encrypt = &encrypt,
    };

    if (format == QCRYPTO_BLOCK_FORMAT_LUKS) {
        encrypt.u.luks = (QCryptoBlockCreateOptionsLUKS){
            .key_secret = (char *)"a", .has_iter_time = true, .iter_time = 1,
            .has_cipher_alg = true, .cipher_alg = QCRYPTO_CIPHER_ALGO_AES_128,
        };
    } else {
        encrypt.u.qcow.key_secret = (char *)"a";
    }
    g_assert_true(qcow2_test_create("disk", &o, &error_abort));
}

static MemUser *coroutine_fn co_open(const char *secret, int flags)
{
    QDict *options = qcow2_test_options("disk");

    if (secret) {
        qdict_put_str(options, "encrypt.key-secret", secret);
    }
    return mem_co_use(options, flags, &error_abort);
}

static void coroutine_fn co_write(MemUser *user, int64_t offset, int64_t bytes, uint8_t value)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    memset(buf, value, bytes);
    g_assert_cmpint(bdrv_co_pwrite(user->root, offset, bytes, buf, 0), ==, 0);
}

static void coroutine_fn co_expect(MemUser *user, int64_t offset, int64_t bytes, uint8_t value)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    g_assert_cmpint(bdrv_co_pread(user->root, offset, bytes, buf, 0), ==, 0);
    for (int64_t i = 0; i < bytes; i++) {
        g_assert_cmphex(buf[i], ==, value);
    }
}

/* ---- the state of a machine ---------------------------------------------------------------- */

static void coroutine_fn co_vmstate(MemUser *user, bool is_write, int64_t pos, uint8_t *buf,
                                    size_t len)
{
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, len);

    g_assert_cmpint(is_write ? bdrv_co_save_vmstate(user->bs, &qiov, pos)
                             : bdrv_co_load_vmstate(user->bs, &qiov, pos), ==, 0);
}

static void coroutine_fn test_vmstate_of_any_alignment(void)
{
    uint8_t state[10000], got[sizeof(state)];
    MemUser *user;

    co_create(QCRYPTO_BLOCK_FORMAT_LUKS);
    user = co_open("a", BDRV_O_RDWR);
    for (size_t i = 0; i < sizeof(state); i++) {
        state[i] = i * 31 >> 3;
    }
    for (size_t pos = 0, n; pos < sizeof(state); pos += n) {
        n = MIN(sizeof(state) - pos, 1 + pos % 700);
        co_vmstate(user, true, pos, state + pos, n);
    }
    co_vmstate(user, false, 0, got, sizeof(got));
    g_assert_cmpmem(got, sizeof(got), state, sizeof(state));
    co_vmstate(user, false, 777, got, 3);
    g_assert_cmpmem(got, 3, state + 777, 3);
    g_assert_cmpint(qcow2_test_check(user), ==, 0);
    mem_co_unuse(user);
}

/* ---- zero clusters of snapshots ------------------------------------------------------------ */

static bool coroutine_fn co_amend_to_v2(MemUser *user, Error **errp)
{
    g_autoptr(QemuOpts) opts = qemu_opts_create(bdrv_amend_opts(&bdrv_qcow2), NULL, false,
                                                &error_abort);

    g_assert_true(qemu_opts_do_parse(opts, "compat=0.10", NULL, &error_abort));
    return bdrv_co_amend_options(user->bs, opts, false, NULL, errp);
}

/* Zero clusters that keep their place become data that reads as zeroes, also in the snapshot. */
static void coroutine_fn test_zeroes_of_snapshots_become_data(void)
{
    MemUser *user;

    co_create(QCRYPTO_BLOCK_FORMAT_LUKS);
    user = co_open("a", BDRV_O_RDWR);
    co_write(user, 0, 16 * CLUSTER, 0x5a);
    g_assert_cmpint(bdrv_co_pwrite_zeroes(user->root, CLUSTER, 4 * CLUSTER, 0), ==, 0);
    g_assert_true(bdrv_co_snapshot_create_now(user->bs, "one", &error_abort));
    co_write(user, 0, 3 * CLUSTER, 0x77);
    g_assert_true(co_amend_to_v2(user, &error_abort));
    co_expect(user, 0, 3 * CLUSTER, 0x77);
    co_expect(user, 3 * CLUSTER, 2 * CLUSTER, 0);
    co_expect(user, 5 * CLUSTER, 11 * CLUSTER, 0x5a);
    g_assert_true(bdrv_co_snapshot_goto(user->bs, "one", &error_abort));
    co_expect(user, 0, CLUSTER, 0x5a);
    co_expect(user, CLUSTER, 4 * CLUSTER, 0);
    co_expect(user, 5 * CLUSTER, 11 * CLUSTER, 0x5a);
    g_assert_cmpint(qcow2_test_check(user), ==, 0);
    mem_co_unuse(user);
}

/* ---- the header ---------------------------------------------------------------------------- */

/* An image without damage counts the clusters of keys; a table that names them is damage. */
static void coroutine_fn test_keys_are_not_overwritten(void)
{
    MemUser *user;
    const Qcow2State *s;
    GByteArray *data;
    uint64_t l2, keys;

    co_create(QCRYPTO_BLOCK_FORMAT_LUKS);
    user = co_open("a", BDRV_O_RDWR);
    co_write(user, 0, CLUSTER, 1);
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
    g_assert_cmpint(qcow2_test_check(user), ==, 0);
    s = user->bs->opaque;
    l2 = s->l1.entries[0] & QCOW2_OFFSET_MASK;
    keys = s->ext.crypto_offset;
    mem_co_unuse(user);

    data = mem_file("disk")->data;
    stq_be_p(data->data + l2, (keys + CLUSTER) | QCOW2_COPIED);
    user = co_open("a", BDRV_O_RDWR);
    g_autofree uint8_t *buf = g_malloc0(CLUSTER);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 0, CLUSTER, buf, 0), ==, -EIO);
    mem_co_unuse(user);
    user = co_open("a", 0);
    mem_co_unuse(user);
}

/* ---- without a key ------------------------------------------------------------------------- */

static void coroutine_fn test_check_needs_no_key(void)
{
    static const QCryptoBlockFormat formats[] = {
        QCRYPTO_BLOCK_FORMAT_LUKS, QCRYPTO_BLOCK_FORMAT_QCOW,
    };
    uint8_t buf[512];

    for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
        MemUser *user;

        co_create(formats[i]);
        user = co_open("a", BDRV_O_RDWR);
        co_write(user, 0, CLUSTER, 1);
        mem_co_unuse(user);
        user = co_open(NULL, BDRV_O_CHECK);
        g_assert_true(bdrv_is_encrypted(user->bs));
        g_assert_cmpint(qcow2_test_check(user), ==, 0);
        g_assert_cmpint(bdrv_co_pread(user->root, 0, sizeof(buf), buf, 0), ==, -ENOTSUP);
        mem_co_unuse(user);
    }
}

/* A wrong password is no error with AES, which has nothing to tell it by: it reads noise. */
static void coroutine_fn test_wrong_passwords(void)
{
    QDict *options = qcow2_test_options("disk");
    Error *err = NULL;
    MemUser *user;
    uint8_t buf[512];

    co_create(QCRYPTO_BLOCK_FORMAT_QCOW);
    user = co_open("a", BDRV_O_RDWR);
    co_write(user, 0, CLUSTER, 0);
    mem_co_unuse(user);
    user = co_open("keeper", 0);
    g_assert_cmpint(bdrv_co_pread(user->root, 0, sizeof(buf), buf, 0), ==, 0);
    g_assert_false(buffer_is_zero(buf, sizeof(buf)));
    mem_co_unuse(user);

    co_create(QCRYPTO_BLOCK_FORMAT_LUKS);
    qdict_put_str(options, "encrypt.key-secret", "keeper");
    g_assert_null(bdrv_co_open(NULL, NULL, options, 0, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Invalid password, cannot unlock any keyslot");
    error_free(err);
}

static const Qcow2TestCase cases[] = {
    { "/qcow2/crypt/vmstate/of-any-alignment", test_vmstate_of_any_alignment },
    { "/qcow2/crypt/amend/zeroes-of-snapshots-become-data", test_zeroes_of_snapshots_become_data },
    { "/qcow2/crypt/overlap/keys-are-not-overwritten", test_keys_are_not_overwritten },
    { "/qcow2/crypt/open/check-needs-no-key", test_check_needs_no_key },
    { "/qcow2/crypt/open/wrong-passwords", test_wrong_passwords },
};

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    if (!lab_with_secrets()) {
        return 0;
    }
    qcow2_test_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
