/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The primitives by libgcrypt. */
#include "qemu/osdep.h"

#include <gcrypt.h>

#include "crypto/primitives.h"
#include "qemu/library.h"

#define MIN_VERSION "1.9.0"

struct CryptoCipher {
    gcry_cipher_hd_t handle;
    QCryptoCipherMode mode;
    size_t iv_len;
};

/* ---- the library --------------------------------------------------------------------------- */

#define FUNCTIONS(F)                                                                             \
    F(check_version) F(control) F(strerror) F(randomize) F(kdf_derive)                           \
    F(cipher_open) F(cipher_close) F(cipher_setkey) F(cipher_setiv) F(cipher_setctr)             \
    F(cipher_encrypt) F(cipher_decrypt)                                                          \
    F(md_algo_info) F(md_hash_buffers) F(md_open) F(md_close) F(md_setkey) F(md_write) F(md_read)

#define MEMBER(name) typeof(gcry_##name) *name;
static struct {
    FUNCTIONS(MEMBER)
} lib;
#undef MEMBER

static bool load_library(void)
{
#define SYMBOL(name) { "gcry_" #name, (void **)&lib.name },
    static const LibrarySymbol symbols[] = { FUNCTIONS(SYMBOL) { NULL, NULL } };
#undef SYMBOL

    return library_load("libgcrypt.so.20", symbols) && lib.check_version(MIN_VERSION);
}

/* Any thread may be the first. */
static bool init_library(void)
{
    static gsize once;

    if (g_once_init_enter(&once)) {
        bool ok = load_library();

        if (ok && !lib.control(GCRYCTL_INITIALIZATION_FINISHED_P)) {
            /* Locked pages are few; secrets are wiped by who holds them. */
            lib.control(GCRYCTL_DISABLE_SECMEM, 0);
            lib.control(GCRYCTL_INITIALIZATION_FINISHED, 0);
        }
        g_once_init_leave(&once, ok ? 1 : 2);
    }
    return once == 1;
}

bool crypto_available(void)
{
    return init_library();
}

static bool check_library(Error **errp)
{
    if (!init_library()) {
        error_setg(errp, "libgcrypt is missing, or older than version " MIN_VERSION);
        return false;
    }
    return true;
}

bool crypto_random(void *buf, size_t len, Error **errp)
{
    if (!check_library(errp)) {
        return false;
    }
    lib.randomize(buf, len, GCRY_STRONG_RANDOM);
    return true;
}

/* ---- ciphers ------------------------------------------------------------------------------- */

static const int cipher_ids[QCRYPTO_CIPHER_ALGO__MAX] = {
    [QCRYPTO_CIPHER_ALGO_AES_128] = GCRY_CIPHER_AES128,
    [QCRYPTO_CIPHER_ALGO_AES_192] = GCRY_CIPHER_AES192,
    [QCRYPTO_CIPHER_ALGO_AES_256] = GCRY_CIPHER_AES256,
    [QCRYPTO_CIPHER_ALGO_DES] = GCRY_CIPHER_DES,
    [QCRYPTO_CIPHER_ALGO_3DES] = GCRY_CIPHER_3DES,
    [QCRYPTO_CIPHER_ALGO_CAST5_128] = GCRY_CIPHER_CAST5,
    [QCRYPTO_CIPHER_ALGO_SERPENT_128] = GCRY_CIPHER_SERPENT128,
    [QCRYPTO_CIPHER_ALGO_SERPENT_192] = GCRY_CIPHER_SERPENT192,
    [QCRYPTO_CIPHER_ALGO_SERPENT_256] = GCRY_CIPHER_SERPENT256,
    [QCRYPTO_CIPHER_ALGO_TWOFISH_128] = GCRY_CIPHER_TWOFISH128,
    [QCRYPTO_CIPHER_ALGO_TWOFISH_192] = GCRY_CIPHER_NONE, /* the library has no such key */
    [QCRYPTO_CIPHER_ALGO_TWOFISH_256] = GCRY_CIPHER_TWOFISH,
    [QCRYPTO_CIPHER_ALGO_SM4] = GCRY_CIPHER_SM4,
};

static const int mode_ids[QCRYPTO_CIPHER_MODE__MAX] = {
    [QCRYPTO_CIPHER_MODE_ECB] = GCRY_CIPHER_MODE_ECB,
    [QCRYPTO_CIPHER_MODE_CBC] = GCRY_CIPHER_MODE_CBC,
    [QCRYPTO_CIPHER_MODE_XTS] = GCRY_CIPHER_MODE_XTS,
    [QCRYPTO_CIPHER_MODE_CTR] = GCRY_CIPHER_MODE_CTR,
};

static bool check_key(QCryptoCipherAlgo alg, QCryptoCipherMode mode, size_t key_len, Error **errp)
{
    size_t wanted = crypto_cipher_key_len(alg);

    if (mode == QCRYPTO_CIPHER_MODE_XTS) {
        if (crypto_cipher_block_len(alg) != 16) {
            error_setg(errp, "XTS mode needs a cipher with blocks of 16 bytes");
            return false;
        }
        wanted *= 2;
    }
    if (key_len != wanted) {
        error_setg(errp, "Cipher key length %zu should be %zu", key_len, wanted);
        return false;
    }
    return true;
}

CryptoCipher *crypto_cipher_new(QCryptoCipherAlgo alg, QCryptoCipherMode mode, const uint8_t *key,
                                size_t key_len, Error **errp)
{
    CryptoCipher *cipher;
    gcry_cipher_hd_t handle;
    gcry_error_t err;

    if (!check_library(errp) || !check_key(alg, mode, key_len, errp)) {
        return NULL;
    }
    err = lib.cipher_open(&handle, cipher_ids[alg], mode_ids[mode], 0);
    if (err) {
        error_setg(errp, "Algorithm '%s' with mode '%s' not supported", QCryptoCipherAlgo_str(alg),
                   QCryptoCipherMode_str(mode));
        return NULL;
    }
    err = lib.cipher_setkey(handle, key, key_len);
    if (err) {
        error_setg(errp, "Cannot set the key of the cipher: %s", lib.strerror(err));
        lib.cipher_close(handle);
        return NULL;
    }
    cipher = g_new0(CryptoCipher, 1);
    cipher->handle = handle;
    cipher->mode = mode;
    cipher->iv_len = crypto_cipher_iv_len(alg, mode);
    return cipher;
}

void crypto_cipher_free(CryptoCipher *cipher)
{
    if (cipher) {
        lib.cipher_close(cipher->handle); /* wipes */
        g_free(cipher);
    }
}

static gcry_error_t set_iv(CryptoCipher *cipher, const uint8_t *iv)
{
    if (cipher->mode == QCRYPTO_CIPHER_MODE_CTR) {
        return lib.cipher_setctr(cipher->handle, iv, cipher->iv_len);
    }
    return cipher->iv_len ? lib.cipher_setiv(cipher->handle, iv, cipher->iv_len) : 0;
}

int crypto_cipher_encrypt(CryptoCipher *cipher, const uint8_t *iv, void *buf, size_t len)
{
    if (set_iv(cipher, iv) || lib.cipher_encrypt(cipher->handle, buf, len, NULL, 0)) {
        return -EIO;
    }
    return 0;
}

int crypto_cipher_decrypt(CryptoCipher *cipher, const uint8_t *iv, void *buf, size_t len)
{
    if (set_iv(cipher, iv) || lib.cipher_decrypt(cipher->handle, buf, len, NULL, 0)) {
        return -EIO;
    }
    return 0;
}

/* ---- hashes -------------------------------------------------------------------------------- */

static const int hash_ids[QCRYPTO_HASH_ALGO__MAX] = {
    [QCRYPTO_HASH_ALGO_MD5] = GCRY_MD_MD5,
    [QCRYPTO_HASH_ALGO_SHA1] = GCRY_MD_SHA1,
    [QCRYPTO_HASH_ALGO_SHA224] = GCRY_MD_SHA224,
    [QCRYPTO_HASH_ALGO_SHA256] = GCRY_MD_SHA256,
    [QCRYPTO_HASH_ALGO_SHA384] = GCRY_MD_SHA384,
    [QCRYPTO_HASH_ALGO_SHA512] = GCRY_MD_SHA512,
    [QCRYPTO_HASH_ALGO_RIPEMD160] = GCRY_MD_RMD160,
    [QCRYPTO_HASH_ALGO_SM3] = GCRY_MD_SM3,
};

bool crypto_hash_supports(QCryptoHashAlgo alg)
{
    return init_library() && lib.md_algo_info(hash_ids[alg], GCRYCTL_TEST_ALGO, NULL, NULL) == 0;
}

bool crypto_hash(QCryptoHashAlgo alg, const void *prefix, size_t prefix_len, const void *buf,
                 size_t len, uint8_t *digest, Error **errp)
{
    const gcry_buffer_t parts[2] = {
        { .len = prefix_len, .data = (void *)prefix },
        { .len = len, .data = (void *)buf },
    };

    /* Without a handle: key slots are joined by thousands of hashes of some bytes each. */
    if (!check_library(errp)) {
        return false;
    }
    if (lib.md_hash_buffers(hash_ids[alg], 0, digest, parts, ARRAY_SIZE(parts))) {
        error_setg(errp, "Hash algorithm '%s' not supported", QCryptoHashAlgo_str(alg));
        return false;
    }
    return true;
}

bool crypto_hmac(QCryptoHashAlgo alg, const void *key, size_t key_len, const void *buf, size_t len,
                 uint8_t *digest, Error **errp)
{
    gcry_md_hd_t md;

    if (!check_library(errp)) {
        return false;
    }
    if (lib.md_open(&md, hash_ids[alg], GCRY_MD_FLAG_HMAC)) {
        error_setg(errp, "Hash algorithm '%s' not supported", QCryptoHashAlgo_str(alg));
        return false;
    }
    if (lib.md_setkey(md, key, key_len)) {
        error_setg(errp, "Cannot set the key of HMAC with '%s'", QCryptoHashAlgo_str(alg));
        lib.md_close(md);
        return false;
    }
    lib.md_write(md, buf, len);
    memcpy(digest, lib.md_read(md, 0), crypto_hash_len(alg));
    lib.md_close(md);
    return true;
}

/* ---- keys from passwords ------------------------------------------------------------------- */

bool crypto_pbkdf2(const CryptoPbkdf *kdf, uint8_t *out, size_t out_len, Error **errp)
{
    gcry_error_t err;

    if (!check_library(errp)) {
        return false;
    }
    err = lib.kdf_derive(kdf->password, kdf->password_len, GCRY_KDF_PBKDF2, hash_ids[kdf->hash],
                          kdf->salt, kdf->salt_len, kdf->iterations, out_len, out);
    if (err) {
        error_setg(errp, "Cannot derive a key from the password: %s", lib.strerror(err));
        return false;
    }
    return true;
}
