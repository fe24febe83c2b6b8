/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ciphers, hashes and PBKDF2 against published vectors; sectors against their parts. */
#include "qemu/osdep.h"

#include "crypto/sectors.h"
#include "../../lib/testlib.h"

static GByteArray *from_hex(const char *hex)
{
    GByteArray *bytes = g_byte_array_new();

    for (; *hex; hex += 2) {
        uint8_t byte = g_ascii_xdigit_value(hex[0]) << 4 | g_ascii_xdigit_value(hex[1]);

        g_byte_array_append(bytes, &byte, 1);
    }
    return bytes;
}

static void assert_hex(const uint8_t *bytes, const char *hex)
{
    g_autoptr(GByteArray) wanted = from_hex(hex);

    g_assert_cmpmem(bytes, wanted->len, wanted->data, wanted->len);
}

/* ---- ciphers ------------------------------------------------------------------------------- */

typedef struct CipherVector {
    const char *name;
    QCryptoCipherAlgo alg;
    QCryptoCipherMode mode;
    const char *key, *iv, *plain, *secret;
} CipherVector;

static const CipherVector cipher_vectors[] = {
    { "fips-197", QCRYPTO_CIPHER_ALGO_AES_128, QCRYPTO_CIPHER_MODE_ECB,
      "000102030405060708090a0b0c0d0e0f", "", "00112233445566778899aabbccddeeff",
      "69c4e0d86a7b0430d8cdb78070b4c55a" },
    { "fips-197-192", QCRYPTO_CIPHER_ALGO_AES_192, QCRYPTO_CIPHER_MODE_ECB,
      "000102030405060708090a0b0c0d0e0f1011121314151617", "", "00112233445566778899aabbccddeeff",
      "dda97ca4864cdfe06eaf70a0ec0d7191" },
    { "fips-197-256", QCRYPTO_CIPHER_ALGO_AES_256, QCRYPTO_CIPHER_MODE_ECB,
      "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "",
      "00112233445566778899aabbccddeeff", "8ea2b7ca516745bfeafc49904b496089" },
    { "sp800-38a-cbc", QCRYPTO_CIPHER_ALGO_AES_128, QCRYPTO_CIPHER_MODE_CBC,
      "2b7e151628aed2a6abf7158809cf4f3c", "000102030405060708090a0b0c0d0e0f",
      "6bc1bee22e409f96e93d7e117393172a", "7649abac8119b246cee98e9b12e9197d" },
    { "sp800-38a-ctr", QCRYPTO_CIPHER_ALGO_AES_128, QCRYPTO_CIPHER_MODE_CTR,
      "2b7e151628aed2a6abf7158809cf4f3c", "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
      "6bc1bee22e409f96e93d7e117393172a", "874d6191b620e3261bef6864990db6ce" },
    { "ieee-1619-1", QCRYPTO_CIPHER_ALGO_AES_128, QCRYPTO_CIPHER_MODE_XTS,
      "0000000000000000000000000000000000000000000000000000000000000000",
      "00000000000000000000000000000000",
      "0000000000000000000000000000000000000000000000000000000000000000",
      "917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e" },
    { "rfc-2144-cast5", QCRYPTO_CIPHER_ALGO_CAST5_128, QCRYPTO_CIPHER_MODE_ECB,
      "0123456712345678234567893456789a", "", "0123456789abcdef", "238b4fe5847e44b2" },
};

static void test_cipher(gconstpointer data)
{
    const CipherVector *v = data;
    g_autoptr(GByteArray) key = from_hex(v->key);
    g_autoptr(GByteArray) iv = from_hex(v->iv);
    g_autoptr(GByteArray) buf = from_hex(v->plain);
    g_autoptr(CryptoCipher) cipher = crypto_cipher_new(v->alg, v->mode, key->data, key->len,
                                                       &error_abort);

    g_assert_cmpuint(iv->len, ==, crypto_cipher_iv_len(v->alg, v->mode));
    g_assert_cmpint(crypto_cipher_encrypt(cipher, iv->data, buf->data, buf->len), ==, 0);
    assert_hex(buf->data, v->secret);
    g_assert_cmpint(crypto_cipher_decrypt(cipher, iv->data, buf->data, buf->len), ==, 0);
    assert_hex(buf->data, v->plain);
}

static void test_cipher_refusals(void)
{
    static const uint8_t key[64];
    Error *err = NULL;

    g_assert_null(crypto_cipher_new(QCRYPTO_CIPHER_ALGO_AES_128, QCRYPTO_CIPHER_MODE_CBC, key, 24,
                                    &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Cipher key length 24 should be 16");
    g_clear_pointer(&err, error_free);
    g_assert_null(crypto_cipher_new(QCRYPTO_CIPHER_ALGO_CAST5_128, QCRYPTO_CIPHER_MODE_XTS, key,
                                    32, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "XTS mode needs a cipher with blocks of 16 bytes");
    error_free(err);
}

/* ---- hashes -------------------------------------------------------------------------------- */

static void test_hash(void)
{
    static const struct {
        QCryptoHashAlgo alg;
        const char *digest; /* of "abc" */
    } rows[] = {
        { QCRYPTO_HASH_ALGO_MD5, "900150983cd24fb0d6963f7d28e17f72" },
        { QCRYPTO_HASH_ALGO_SHA1, "a9993e364706816aba3e25717850c26c9cd0d89d" },
        { QCRYPTO_HASH_ALGO_SHA224, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7" },
        { QCRYPTO_HASH_ALGO_SHA256,
          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { QCRYPTO_HASH_ALGO_RIPEMD160, "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc" },
        { QCRYPTO_HASH_ALGO_SM3,
          "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t digest[CRYPTO_MAX_DIGEST];

        g_assert_true(crypto_hash(rows[i].alg, "a", 1, "bc", 2, digest, &error_abort));
        assert_hex(digest, rows[i].digest);
        g_assert_cmpuint(strlen(rows[i].digest), ==, 2 * crypto_hash_len(rows[i].alg));
    }
}

/* RFC 4231, case 1. */
static void test_hmac(void)
{
    uint8_t key[20], digest[CRYPTO_MAX_DIGEST];

    memset(key, 0x0b, sizeof(key));
    g_assert_true(crypto_hmac(QCRYPTO_HASH_ALGO_SHA256, key, sizeof(key), "Hi There", 8, digest,
                              &error_abort));
    assert_hex(digest, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
}

/* RFC 6070. */
static void test_pbkdf2(void)
{
    CryptoPbkdf kdf = {
        QCRYPTO_HASH_ALGO_SHA1, (const uint8_t *)"password", 8, (const uint8_t *)"salt", 4, 4096,
    };
    uint8_t out[20];

    g_assert_true(crypto_pbkdf2(&kdf, out, sizeof(out), &error_abort));
    assert_hex(out, "4b007901b765489abead49d926f721d065a429c1");
}

static void test_iterations(void)
{
    Error *err = NULL;

    g_assert_cmpuint(crypto_pbkdf2_iterations(QCRYPTO_HASH_ALGO_SHA256, 32, 0, 1000, &err), ==,
                     1000);
    g_assert_cmpuint(crypto_pbkdf2_iterations(QCRYPTO_HASH_ALGO_SHA256, 32, 1000, 1000, &err), >,
                     1000);
    g_assert_null(err);
    g_assert_cmpuint(crypto_pbkdf2_iterations(QCRYPTO_HASH_ALGO_SHA256, 32, UINT64_MAX, 1, &err),
                     ==, 0);
    g_assert_nonnull(err);
    error_free(err);
}

/* ---- sectors ------------------------------------------------------------------------------- */

/* The IVs of a sample made by another program, from its master key. */
static void test_essiv(void)
{
    CryptoSectorsSpec spec = {
        QCRYPTO_CIPHER_ALGO_AES_128, QCRYPTO_CIPHER_MODE_CBC, QCRYPTO_IV_GEN_ALGO_ESSIV,
        QCRYPTO_HASH_ALGO_SHA256,
    };
    static const char *const ivs[] = {
        "7c481950881833b003755c6ef1ff88d7", "eb607942b62a3381f89ef78a9002abdf",
    };
    g_autoptr(GByteArray) key = from_hex("cad3ee8fdfb03b4ce32081a327c809a2");
    g_autoptr(CryptoSectors) s = crypto_sectors_new(&spec, key->data, key->len, &error_abort);
    g_autoptr(CryptoCipher) ecb = crypto_cipher_new(spec.cipher, QCRYPTO_CIPHER_MODE_ECB,
                                                    key->data, key->len, &error_abort);
    uint8_t sectors[2 * CRYPTO_SECTOR_SIZE] = { 0 }, block[16] = { 0 };

    /* The first block of CBC is the decrypted block with the IV added. */
    g_assert_cmpint(crypto_sectors_decrypt(s, 0, sectors, sizeof(sectors)), ==, 0);
    g_assert_cmpint(crypto_cipher_decrypt(ecb, NULL, block, sizeof(block)), ==, 0);
    for (int i = 0; i < 2; i++) {
        uint8_t iv[16];

        for (int j = 0; j < 16; j++) {
            iv[j] = sectors[i * CRYPTO_SECTOR_SIZE + j] ^ block[j];
        }
        assert_hex(iv, ivs[i]);
    }
}

/* Any combination gives back what went in, sector by sector or all at once. */
static void test_sectors_round_trip(void)
{
    static const uint8_t key[64] = { 1, 2, 3 };
    unsigned done = 0;

    for (int alg = 0; alg < QCRYPTO_CIPHER_ALGO__MAX; alg++) {
        for (int mode = 0; mode < QCRYPTO_CIPHER_MODE__MAX; mode++) {
            CryptoSectorsSpec spec = { alg, mode, QCRYPTO_IV_GEN_ALGO_PLAIN64, 0 };
            size_t len = crypto_cipher_key_len(alg) * (mode == QCRYPTO_CIPHER_MODE_XTS ? 2 : 1);
            g_autoptr(CryptoSectors) s = crypto_sectors_new(&spec, key, len, NULL);
            uint8_t buf[4 * CRYPTO_SECTOR_SIZE] = { 5 };

            if (!s) {
                continue;
            }
            done++;
            g_assert_cmpint(crypto_sectors_encrypt(s, 77, buf, sizeof(buf)), ==, 0);
            g_assert_cmpint(buf[0], !=, 5);
            for (int i = 3; i >= 0; i--) {
                g_assert_cmpint(crypto_sectors_decrypt(s, 77 + i, buf + i * CRYPTO_SECTOR_SIZE,
                                                       CRYPTO_SECTOR_SIZE), ==, 0);
            }
            g_assert_cmpint(buf[0], ==, 5);
            for (size_t i = 1; i < sizeof(buf); i++) {
                g_assert_cmpint(buf[i], ==, 0);
            }
        }
    }
    g_assert_cmpuint(done, >=, 20);
}

/* "plain" has 32 bits of the number. */
static void test_plain_wraps(void)
{
    static const uint8_t key[16];
    CryptoSectorsSpec spec = { QCRYPTO_CIPHER_ALGO_AES_128, QCRYPTO_CIPHER_MODE_CBC,
                               QCRYPTO_IV_GEN_ALGO_PLAIN, 0 };
    g_autoptr(CryptoSectors) s = crypto_sectors_new(&spec, key, sizeof(key), &error_abort);
    uint8_t a[CRYPTO_SECTOR_SIZE] = { 0 }, b[CRYPTO_SECTOR_SIZE] = { 0 };

    crypto_sectors_encrypt(s, 3, a, sizeof(a));
    crypto_sectors_encrypt(s, (UINT64_C(1) << 32) + 3, b, sizeof(b));
    g_assert_cmpmem(a, sizeof(a), b, sizeof(b));
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    if (!crypto_available()) {
        printf("1..0 # SKIP built without libgcrypt\n");
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(cipher_vectors); i++) {
        g_autofree char *path = g_strdup_printf("/crypto/cipher/%s", cipher_vectors[i].name);

        g_test_add_data_func(path, &cipher_vectors[i], test_cipher);
    }
    g_test_add_func("/crypto/cipher/refusals", test_cipher_refusals);
    g_test_add_func("/crypto/hash/vectors", test_hash);
    g_test_add_func("/crypto/hmac/vector", test_hmac);
    g_test_add_func("/crypto/pbkdf2/vector", test_pbkdf2);
    g_test_add_func("/crypto/pbkdf2/iterations-by-time", test_iterations);
    g_test_add_func("/crypto/sectors/essiv-of-a-sample", test_essiv);
    g_test_add_func("/crypto/sectors/round-trip", test_sectors_round_trip);
    g_test_add_func("/crypto/sectors/plain-has-32-bits", test_plain_wraps);
    return g_test_run();
}
