/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The build has no library: whoever wants encryption is told so. */
#include "qemu/osdep.h"

#include "crypto/primitives.h"

static bool refuse(Error **errp)
{
    error_setg(errp, "Encryption is not supported by this build (libgcrypt was not found)");
    return false;
}

bool crypto_available(void)
{
    return false;
}

bool crypto_random(void *buf, size_t len, Error **errp)
{
    return refuse(errp);
}

CryptoCipher *crypto_cipher_new(QCryptoCipherAlgo alg, QCryptoCipherMode mode, const uint8_t *key,
                                size_t key_len, Error **errp)
{
    refuse(errp);
    return NULL;
}

void crypto_cipher_free(CryptoCipher *cipher)
{
}

int crypto_cipher_encrypt(CryptoCipher *cipher, const uint8_t *iv, void *buf, size_t len)
{
    return -ENOTSUP;
}

int crypto_cipher_decrypt(CryptoCipher *cipher, const uint8_t *iv, void *buf, size_t len)
{
    return -ENOTSUP;
}

bool crypto_hash_supports(QCryptoHashAlgo alg)
{
    return false;
}

bool crypto_hash(QCryptoHashAlgo alg, const void *prefix, size_t prefix_len, const void *buf,
                 size_t len, uint8_t *digest, Error **errp)
{
    return refuse(errp);
}

bool crypto_hmac(QCryptoHashAlgo alg, const void *key, size_t key_len, const void *buf, size_t len,
                 uint8_t *digest, Error **errp)
{
    return refuse(errp);
}

bool crypto_pbkdf2(const CryptoPbkdf *kdf, uint8_t *out, size_t out_len, Error **errp)
{
    return refuse(errp);
}
