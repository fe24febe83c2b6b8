/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LUKS in memory: headers made, read back and spoilt; key slots. */
#include "qemu/osdep.h"

#include "crypto/luks.h"
#include "qemu/bswap.h"
#include "../../lib/testlib.h"

static CryptoBytes *password(const char *text)
{
    return crypto_bytes_new(text, strlen(text));
}

static void plan(const QCryptoBlockCreateOptionsLUKS *options, CryptoLuks *luks)
{
    g_assert_true(crypto_luks_plan(options, false, luks, &error_abort));
}

/* Header and the key material of slot @index for password "pw". */
static uint8_t *make(CryptoLuks *luks, unsigned index, CryptoBytes **key)
{
    g_autoptr(CryptoBytes) pw = password("pw");
    uint8_t *material = g_malloc(crypto_luks_material_len(luks));

    *key = crypto_luks_make_key(luks, 1, &error_abort);
    g_assert_true(crypto_luks_fill_slot(luks, index, *key, pw, 1, material, &error_abort));
    return material;
}

static void test_layout(void)
{
    QCryptoBlockCreateOptionsLUKS options = { 0 };
    CryptoLuks luks;

    plan(&options, &luks);
    g_assert_cmpuint(luks.payload_sector, ==, 4040);
    g_assert_cmpuint(luks.slots[1].key_sector, ==, 512);
    options.has_cipher_alg = options.has_cipher_mode = true;
    options.cipher_alg = QCRYPTO_CIPHER_ALGO_AES_128;
    options.cipher_mode = QCRYPTO_CIPHER_MODE_CBC;
    plan(&options, &luks);
    g_assert_cmpuint(luks.payload_sector, ==, 1032);
    g_assert_cmpuint(luks.slots[7].key_sector, ==, 904);
    g_assert_true(crypto_luks_plan(&options, true, &luks, &error_abort));
    g_assert_cmpuint(luks.payload_sector, ==, 0);
    g_assert_cmpuint(crypto_luks_new_len(&luks), ==, 1032 * 512);
}

static void test_plan_refusals(void)
{
    QCryptoBlockCreateOptionsLUKS options = {
        .has_cipher_alg = true, .cipher_alg = QCRYPTO_CIPHER_ALGO_3DES,
    };
    CryptoLuks luks;
    Error *err = NULL;

    g_assert_false(crypto_luks_plan(&options, false, &luks, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Unsupported cipher algorithm '3des'");
    g_clear_pointer(&err, error_free);
    options = (QCryptoBlockCreateOptionsLUKS){
        .has_ivgen_alg = true, .ivgen_alg = QCRYPTO_IV_GEN_ALGO_ESSIV,
        .has_ivgen_hash_alg = true, .ivgen_hash_alg = QCRYPTO_HASH_ALGO_SHA512,
    };
    g_assert_false(crypto_luks_plan(&options, false, &luks, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "has a key of 64 bytes"));
    error_free(err);
}

static void test_round_trip(void)
{
    static const struct {
        QCryptoCipherAlgo alg;
        QCryptoCipherMode mode;
        QCryptoIVGenAlgo ivgen;
        QCryptoHashAlgo hash;
    } rows[] = {
        { QCRYPTO_CIPHER_ALGO_AES_256, QCRYPTO_CIPHER_MODE_XTS, QCRYPTO_IV_GEN_ALGO_PLAIN64,
          QCRYPTO_HASH_ALGO_SHA256 },
        { QCRYPTO_CIPHER_ALGO_AES_128, QCRYPTO_CIPHER_MODE_CBC, QCRYPTO_IV_GEN_ALGO_ESSIV,
          QCRYPTO_HASH_ALGO_SHA1 },
        { QCRYPTO_CIPHER_ALGO_AES_192, QCRYPTO_CIPHER_MODE_ECB, QCRYPTO_IV_GEN_ALGO_PLAIN,
          QCRYPTO_HASH_ALGO_SHA512 },
        { QCRYPTO_CIPHER_ALGO_CAST5_128, QCRYPTO_CIPHER_MODE_CBC, QCRYPTO_IV_GEN_ALGO_PLAIN64,
          QCRYPTO_HASH_ALGO_SHA256 },
        { QCRYPTO_CIPHER_ALGO_SERPENT_256, QCRYPTO_CIPHER_MODE_CTR, QCRYPTO_IV_GEN_ALGO_PLAIN64,
          QCRYPTO_HASH_ALGO_RIPEMD160 },
        { QCRYPTO_CIPHER_ALGO_TWOFISH_128, QCRYPTO_CIPHER_MODE_XTS, QCRYPTO_IV_GEN_ALGO_ESSIV,
          QCRYPTO_HASH_ALGO_SHA384 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        QCryptoBlockCreateOptionsLUKS options = {
            .has_cipher_alg = true, .cipher_alg = rows[i].alg,
            .has_cipher_mode = true, .cipher_mode = rows[i].mode,
            .has_ivgen_alg = true, .ivgen_alg = rows[i].ivgen,
            .has_hash_alg = true, .hash_alg = rows[i].hash,
        };
        g_autoptr(CryptoBytes) key = NULL, found = NULL, none = NULL;
        g_autoptr(CryptoBytes) pw = password("pw"), wrong = password("PW");
        g_autofree uint8_t *material = NULL, *copy = NULL;
        uint8_t raw[CRYPTO_LUKS_HEADER_LEN];
        CryptoLuks luks, read;

        plan(&options, &luks);
        material = make(&luks, i, &key);
        copy = g_memdup2(material, crypto_luks_material_len(&luks));
        crypto_luks_build(&luks, raw);
        g_assert_true(crypto_luks_probe(raw, sizeof(raw)));
        g_assert_true(crypto_luks_parse(raw, &read, &error_abort));
        g_assert_cmpuint(crypto_luks_nb_active(&read), ==, 1);
        g_assert_cmpstr(read.uuid, ==, luks.uuid);
        g_assert_cmpint(crypto_luks_open_slot(&read, i, wrong, copy, &none, &error_abort), ==, 0);
        g_assert_null(none);
        g_assert_cmpint(crypto_luks_open_slot(&read, i, pw, material, &found, &error_abort), ==,
                        1);
        g_assert_cmpmem(found->data, found->len, key->data, key->len);
        crypto_luks_clear_slot(&read, i);
        g_assert_cmpuint(crypto_luks_nb_active(&read), ==, 0);
    }
}

/* ---- spoilt headers ------------------------------------------------------------------------ */

typedef struct Spoilt {
    const char *name;
    size_t offset, len;
    const char *bytes;
    const char *message; /* how it begins */
} Spoilt;

#define SLOT(i) (208 + (i) * 48)

static const Spoilt spoilt[] = {
    { "magic", 0, 1, "X", "Volume is not in LUKS format" },
    { "version", 7, 1, "\2", "LUKS version 2 is not supported" },
    { "cipher", 8, 4, "rot\0", "Algorithm 'rot' with key size " },
    { "cipher-unended", 8, 32, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
      "LUKS header cipher name is not NUL terminated" },
    { "mode", 40, 8, "xtsplain", "Unexpected cipher mode string format" },
    { "mode-name", 40, 12, "xyz-plain64\0", "Cipher mode 'xyz' not supported" },
    { "ivgen", 40, 10, "xts-other\0", "IV generator 'other' not supported" },
    { "essiv-no-hash", 40, 10, "cbc-essiv\0", "Missing IV generator hash specification" },
    { "hash", 72, 4, "sha\0", "Hash algorithm 'sha' not supported" },
    { "key-0", 108, 4, "\0\0\0\0", "LUKS master key of 0 bytes" },
    { "key-long", 108, 4, "\377\377\377\377", "LUKS master key of 4294967295 bytes" },
    { "key-odd", 108, 4, "\0\0\0\41", "XTS cipher key length" },
    { "key-none", 108, 4, "\0\0\0\42", "Algorithm 'aes' with key size 17 bytes" },
    { "payload", 104, 4, "\0\0\0\100", "Keyslot 0 is overlapping with the encrypted payload" },
    { "iterations", 164, 4, "\0\0\0\0", "LUKS key iteration count is zero" },
    { "slot-state", SLOT(2), 4, "\1\1\1\1", "Keyslot 2 state" },
    { "slot-iterations", SLOT(0) + 4, 4, "\0\0\0\0", "Keyslot 0 iteration count is zero" },
    { "slot-header", SLOT(3) + 40, 4, "\0\0\0\1", "Keyslot 3 is overlapping with the LUKS" },
    { "slot-slot", SLOT(3) + 40, 4, "\0\0\0\11", "Keyslots 0 and 3 are overlapping" },
    { "slot-payload", SLOT(7) + 40, 4, "\377\377\377\377", "Keyslot 7 is overlapping with" },
    { "slot-stripes", SLOT(4) + 44, 4, "\0\0\0\1", "Keyslot 4 is corrupted (stripes 1" },
};

static void test_spoilt(gconstpointer data)
{
    const Spoilt *s = data;
    QCryptoBlockCreateOptionsLUKS options = { 0 };
    uint8_t raw[CRYPTO_LUKS_HEADER_LEN];
    CryptoLuks luks;
    Error *err = NULL;

    plan(&options, &luks);
    luks.slots[0].active = true;
    luks.slots[0].iterations = luks.digest_iterations = 1000;
    crypto_luks_build(&luks, raw);
    g_assert_true(crypto_luks_parse(raw, &luks, &error_abort));
    memcpy(raw + s->offset, s->bytes, s->len);
    g_assert_false(crypto_luks_parse(raw, &luks, &err));
    if (!g_str_has_prefix(error_get_pretty(err), s->message)) {
        g_assert_cmpstr(error_get_pretty(err), ==, s->message);
    }
    error_free(err);
}

/* Stock opens such a volume, too. */
static void test_long_name(void)
{
    static const char name[] = "0123456789012345678901234567890123456789";
    QCryptoBlockCreateOptionsLUKS options = { 0 };
    uint8_t raw[CRYPTO_LUKS_HEADER_LEN], again[CRYPTO_LUKS_HEADER_LEN];
    CryptoLuks luks;

    plan(&options, &luks);
    luks.digest_iterations = 1000;
    crypto_luks_build(&luks, raw);
    memcpy(raw + 168, name, 40);
    g_assert_true(crypto_luks_parse(raw, &luks, &error_abort));
    g_autoptr(QCryptoBlockInfoLUKS) info = crypto_luks_info(&luks);
    g_assert_cmpstr(info->uuid, ==, name);
    crypto_luks_build(&luks, again);
    g_assert_cmpmem(raw, sizeof(raw), again, sizeof(again));
}

/* ---- time ---------------------------------------------------------------------------------- */

static void test_time(void)
{
    QCryptoBlockCreateOptionsLUKS options = { 0 };
    CryptoLuks luks;
    Error *err = NULL;
    int64_t left = 120000;

    plan(&options, &luks);
    luks.slots[3].active = true;
    luks.slots[3].iterations = luks.digest_iterations = 1000000;
    for (int i = 0; i < 60; i++) { /* a second each, as long as they are not measured */
        g_assert_true(crypto_luks_take_time(&luks, 3, &left, &error_abort));
    }
    g_assert_cmpint(left, ==, 0);
    g_assert_false(crypto_luks_take_time(&luks, 3, &left, &err));
    g_assert_true(g_str_has_prefix(error_get_pretty(err), "Trying keyslot 3 would take too long"));
    g_clear_pointer(&err, error_free);
    /* These are measured: no machine does so many in a second. */
    left = 1000;
    luks.slots[3].iterations = UINT32_MAX;
    g_assert_false(crypto_luks_take_time(&luks, 3, &left, &err));
    g_clear_pointer(&err, error_free);
    left = 1000;
    luks.slots[3].iterations = 1000;
    luks.digest_iterations = UINT32_MAX;
    g_assert_false(crypto_luks_take_time(&luks, 3, &left, &err));
    error_free(err);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    if (!crypto_available()) {
        printf("1..0 # SKIP built without libgcrypt\n");
        return 0;
    }
    g_test_add_func("/luks/plan/layout", test_layout);
    g_test_add_func("/luks/plan/refusals", test_plan_refusals);
    g_test_add_func("/luks/slots/round-trip", test_round_trip);
    g_test_add_func("/luks/slots/time", test_time);
    g_test_add_func("/luks/parse/name-fills-its-field", test_long_name);
    for (size_t i = 0; i < ARRAY_SIZE(spoilt); i++) {
        g_autofree char *path = g_strdup_printf("/luks/parse/spoilt-%s", spoilt[i].name);

        g_test_add_data_func(path, &spoilt[i], test_spoilt);
    }
    return g_test_run();
}
