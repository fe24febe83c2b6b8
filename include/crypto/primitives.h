/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ciphers, hashes, keys from passwords, random bytes.  Hides which library does it (libgcrypt).
 *
 *  - Functions are plain: no I/O, no yielding.  Any thread; an object is used by one at a time.
 *  - Without a library (crypto_available() is false) everything is refused with one sentence.
 *  - What is secret is wiped (crypto_wipe) before its memory is given back.
 */
#ifndef CRYPTO_PRIMITIVES_H
#define CRYPTO_PRIMITIVES_H

#include <stddef.h>
#include <stdint.h>

#include "qapi/gen/crypto-types.h"
#include "qemu/compiler.h"

#define CRYPTO_MAX_IV 16
#define CRYPTO_MAX_DIGEST 64

/* ---- the library --------------------------------------------------------------------------- */

/** Whether there is one in this build. */
bool crypto_available(void);

/** Fill @buf with random bytes fit for keys and salts. */
bool crypto_random(void *buf, size_t len, Error **errp);

/* ---- memory that held secrets -------------------------------------------------------------- */

/** Overwrite; the compiler does not leave it out.  NULL is fine if @len is 0. */
void crypto_wipe(void *buf, size_t len);
/** Wipe and g_free() @buf of @len bytes; NULL is fine. */
void crypto_free(void *buf, size_t len);

/* ---- ciphers ------------------------------------------------------------------------------- */

typedef struct CryptoCipher CryptoCipher;

/** Bytes of the key for one use of @alg; XTS takes two of them. */
size_t crypto_cipher_key_len(QCryptoCipherAlgo alg);
/** Bytes of a block. */
size_t crypto_cipher_block_len(QCryptoCipherAlgo alg);
/** Bytes of the initialisation vector: 0 for ECB. */
size_t crypto_cipher_iv_len(QCryptoCipherAlgo alg, QCryptoCipherMode mode);

/** A cipher with its key; NULL with @errp set if there is none such, or @key_len is wrong. */
CryptoCipher *crypto_cipher_new(QCryptoCipherAlgo alg, QCryptoCipherMode mode, const uint8_t *key,
                                size_t key_len, Error **errp);
void crypto_cipher_free(CryptoCipher *cipher);

/**
 * Encrypt or decrypt @len bytes, a multiple of the block, in place.  @iv is of the length that
 * crypto_cipher_iv_len() says.  Returns 0 or -EIO.
 */
int crypto_cipher_encrypt(CryptoCipher *cipher, const uint8_t *iv, void *buf, size_t len);
int crypto_cipher_decrypt(CryptoCipher *cipher, const uint8_t *iv, void *buf, size_t len);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(CryptoCipher, crypto_cipher_free)

/* ---- hashes -------------------------------------------------------------------------------- */

/** Bytes of a digest, at most CRYPTO_MAX_DIGEST. */
size_t crypto_hash_len(QCryptoHashAlgo alg);
/** Whether this build has @alg. */
bool crypto_hash_supports(QCryptoHashAlgo alg);
/** The digest of @prefix and @buf, one after the other. */
bool crypto_hash(QCryptoHashAlgo alg, const void *prefix, size_t prefix_len, const void *buf,
                 size_t len, uint8_t *digest, Error **errp);
/** HMAC. */
bool crypto_hmac(QCryptoHashAlgo alg, const void *key, size_t key_len, const void *buf, size_t len,
                 uint8_t *digest, Error **errp);

/* ---- keys from passwords ------------------------------------------------------------------- */

typedef struct CryptoPbkdf {
    QCryptoHashAlgo hash;
    const uint8_t *password;
    size_t password_len;
    const uint8_t *salt;
    size_t salt_len;
    uint32_t iterations;
} CryptoPbkdf;

/** PBKDF2 with HMAC.  Takes as long as iterations say: for workers. */
bool crypto_pbkdf2(const CryptoPbkdf *kdf, uint8_t *out, size_t out_len, Error **errp);

/**
 * How many iterations take @millisec of this thread's time here, at least @minimum.  Measures,
 * which takes at most some 100 milliseconds.  0 with @errp set if that is more than fits.
 */
uint32_t crypto_pbkdf2_iterations(QCryptoHashAlgo hash, size_t out_len, uint64_t millisec,
                                  uint32_t minimum, Error **errp);

/* So many take some seconds wherever they are made: not worth measuring. */
#define CRYPTO_PBKDF2_FEW (1U << 22)
/**
 * About how many milliseconds @iterations take here.  Measures if they are more than
 * CRYPTO_PBKDF2_FEW.  -1 with @errp set if this build has no such hash.
 */
int64_t crypto_pbkdf2_millisec(QCryptoHashAlgo hash, size_t out_len, uint32_t iterations,
                               Error **errp);

#endif
