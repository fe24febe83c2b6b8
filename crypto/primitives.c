/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What does not depend on the library: sizes, wiping, the time that iterations take. */
#include "qemu/osdep.h"

#include <time.h>

#include "crypto/primitives.h"

/* Measuring takes as long as what it is for, within these. */
#define MIN_MEASURE_MS 2
#define MAX_MEASURE_MS 50
#define FIRST_GUESS 4096
#define MAX_GUESS (1U << 30)

/* ---- memory -------------------------------------------------------------------------------- */

void crypto_wipe(void *buf, size_t len)
{
    if (len) {
        explicit_bzero(buf, len);
    }
}

void crypto_free(void *buf, size_t len)
{
    if (buf) {
        crypto_wipe(buf, len);
        g_free(buf);
    }
}

/* ---- sizes --------------------------------------------------------------------------------- */

static const struct {
    uint8_t key_len, block_len;
} ciphers[QCRYPTO_CIPHER_ALGO__MAX] = {
    [QCRYPTO_CIPHER_ALGO_AES_128] = { 16, 16 },
    [QCRYPTO_CIPHER_ALGO_AES_192] = { 24, 16 },
    [QCRYPTO_CIPHER_ALGO_AES_256] = { 32, 16 },
    [QCRYPTO_CIPHER_ALGO_DES] = { 8, 8 },
    [QCRYPTO_CIPHER_ALGO_3DES] = { 24, 8 },
    [QCRYPTO_CIPHER_ALGO_CAST5_128] = { 16, 8 },
    [QCRYPTO_CIPHER_ALGO_SERPENT_128] = { 16, 16 },
    [QCRYPTO_CIPHER_ALGO_SERPENT_192] = { 24, 16 },
    [QCRYPTO_CIPHER_ALGO_SERPENT_256] = { 32, 16 },
    [QCRYPTO_CIPHER_ALGO_TWOFISH_128] = { 16, 16 },
    [QCRYPTO_CIPHER_ALGO_TWOFISH_192] = { 24, 16 },
    [QCRYPTO_CIPHER_ALGO_TWOFISH_256] = { 32, 16 },
    [QCRYPTO_CIPHER_ALGO_SM4] = { 16, 16 },
};

size_t crypto_cipher_key_len(QCryptoCipherAlgo alg)
{
    return ciphers[alg].key_len;
}

size_t crypto_cipher_block_len(QCryptoCipherAlgo alg)
{
    return ciphers[alg].block_len;
}

size_t crypto_cipher_iv_len(QCryptoCipherAlgo alg, QCryptoCipherMode mode)
{
    return mode == QCRYPTO_CIPHER_MODE_ECB ? 0 : ciphers[alg].block_len;
}

size_t crypto_hash_len(QCryptoHashAlgo alg)
{
    static const uint8_t lens[QCRYPTO_HASH_ALGO__MAX] = {
        [QCRYPTO_HASH_ALGO_MD5] = 16,    [QCRYPTO_HASH_ALGO_SHA1] = 20,
        [QCRYPTO_HASH_ALGO_SHA224] = 28, [QCRYPTO_HASH_ALGO_SHA256] = 32,
        [QCRYPTO_HASH_ALGO_SHA384] = 48, [QCRYPTO_HASH_ALGO_SHA512] = 64,
        [QCRYPTO_HASH_ALGO_RIPEMD160] = 20, [QCRYPTO_HASH_ALGO_SM3] = 32,
    };

    return lens[alg];
}

/* ---- iterations ---------------------------------------------------------------------------- */

static int64_t thread_time_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* Iterations in a millisecond, by measuring for some @millisec; 0 with @errp set. */
static double measure_speed(QCryptoHashAlgo hash, size_t out_len, uint64_t millisec, Error **errp)
{
    static const uint8_t sample[32];
    uint8_t out[CRYPTO_MAX_DIGEST];
    CryptoPbkdf kdf = { hash, sample, sizeof(sample), sample, sizeof(sample), FIRST_GUESS };
    uint64_t measure_ns = MIN(MAX(millisec, MIN_MEASURE_MS), MAX_MEASURE_MS) * 1000000;
    int64_t spent;

    assert(out_len <= sizeof(out));
    for (;; kdf.iterations *= 2) {
        int64_t start = thread_time_ns();

        if (!crypto_pbkdf2(&kdf, out, out_len, errp)) {
            return 0;
        }
        spent = thread_time_ns() - start;
        if (spent >= (int64_t)measure_ns || kdf.iterations >= MAX_GUESS) {
            return (double)kdf.iterations / spent * 1e6;
        }
    }
}

uint32_t crypto_pbkdf2_iterations(QCryptoHashAlgo hash, size_t out_len, uint64_t millisec,
                                  uint32_t minimum, Error **errp)
{
    double speed = measure_speed(hash, out_len, millisec, errp), wanted = speed * millisec;

    if (speed == 0) {
        return 0;
    }
    if (wanted > UINT32_MAX) {
        error_setg(errp, "PBKDF iterations %.0f larger than %" PRIu32, wanted, UINT32_MAX);
        return 0;
    }
    return MAX((uint32_t)wanted, minimum);
}

int64_t crypto_pbkdf2_millisec(QCryptoHashAlgo hash, size_t out_len, uint32_t iterations,
                               Error **errp)
{
    double speed;

    if (iterations <= CRYPTO_PBKDF2_FEW) {
        return iterations / 1000;
    }
    speed = measure_speed(hash, out_len, MAX_MEASURE_MS, errp);
    return speed > 0 ? (int64_t)(iterations / speed) : -1;
}
