/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encryption of sectors.  A cipher is used by one at a time, so that there are as many as users. */
#include "qemu/osdep.h"

#include "crypto/sectors.h"
#include "qemu/bswap.h"
#include "qemu/thread.h"

/* What one thread works with. */
typedef struct Engine {
    CryptoCipher *data;
    CryptoCipher *essiv; /* or NULL */
} Engine;

struct CryptoSectors {
    CryptoSectorsSpec spec;
    size_t key_len, iv_len;
    QCryptoCipherAlgo essiv_alg;
    uint8_t salt[CRYPTO_MAX_DIGEST]; /* ESSIV: the key of its cipher */

    QemuMutex lock;
    GPtrArray *idle; /* of Engine; under lock */
    uint8_t key[];
};

/* ---- engines ------------------------------------------------------------------------------- */

static void engine_free(void *opaque)
{
    Engine *e = opaque;

    crypto_cipher_free(e->data);
    crypto_cipher_free(e->essiv);
    g_free(e);
}

static Engine *engine_new(const CryptoSectors *s, Error **errp)
{
    Engine *e = g_new0(Engine, 1);

    e->data = crypto_cipher_new(s->spec.cipher, s->spec.mode, s->key, s->key_len, errp);
    if (e->data && s->spec.ivgen == QCRYPTO_IV_GEN_ALGO_ESSIV) {
        e->essiv = crypto_cipher_new(s->essiv_alg, QCRYPTO_CIPHER_MODE_ECB, s->salt,
                                     crypto_cipher_key_len(s->essiv_alg), errp);
    }
    if (!e->data || (s->spec.ivgen == QCRYPTO_IV_GEN_ALGO_ESSIV && !e->essiv)) {
        engine_free(e);
        return NULL;
    }
    return e;
}

static Engine *engine_take(CryptoSectors *s)
{
    Engine *e = NULL;

    qemu_mutex_lock(&s->lock);
    if (s->idle->len) {
        e = g_ptr_array_steal_index_fast(s->idle, s->idle->len - 1);
    }
    qemu_mutex_unlock(&s->lock);
    return e ? e : engine_new(s, NULL);
}

static void engine_give_back(CryptoSectors *s, Engine *e)
{
    qemu_mutex_lock(&s->lock);
    g_ptr_array_add(s->idle, e);
    qemu_mutex_unlock(&s->lock);
}

/* ---- ESSIV --------------------------------------------------------------------------------- */

/* The cipher of the same family whose key is as long as a digest. */
static bool find_essiv_cipher(const CryptoSectorsSpec *spec, QCryptoCipherAlgo *alg, Error **errp)
{
    static const QCryptoCipherAlgo families[][3] = {
        { QCRYPTO_CIPHER_ALGO_AES_128, QCRYPTO_CIPHER_ALGO_AES_192, QCRYPTO_CIPHER_ALGO_AES_256 },
        { QCRYPTO_CIPHER_ALGO_SERPENT_128, QCRYPTO_CIPHER_ALGO_SERPENT_192,
          QCRYPTO_CIPHER_ALGO_SERPENT_256 },
        { QCRYPTO_CIPHER_ALGO_TWOFISH_128, QCRYPTO_CIPHER_ALGO_TWOFISH_192,
          QCRYPTO_CIPHER_ALGO_TWOFISH_256 },
    };
    size_t wanted = crypto_hash_len(spec->ivgen_hash);

    for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
        const QCryptoCipherAlgo *of = families[f];
        bool is_member = of[0] == spec->cipher || of[1] == spec->cipher || of[2] == spec->cipher;

        for (int i = 0; is_member && i < 3; i++) {
            if (crypto_cipher_key_len(of[i]) == wanted) {
                *alg = of[i];
                return true;
            }
        }
    }
    if (crypto_cipher_key_len(spec->cipher) == wanted) {
        *alg = spec->cipher; /* a family of one */
        return true;
    }
    error_setg(errp, "No cipher like %s has a key of %zu bytes, as long as a digest of %s",
               QCryptoCipherAlgo_str(spec->cipher), wanted, QCryptoHashAlgo_str(spec->ivgen_hash));
    return false;
}

static bool set_up_essiv(CryptoSectors *s, Error **errp)
{
    return find_essiv_cipher(&s->spec, &s->essiv_alg, errp) &&
           crypto_hash(s->spec.ivgen_hash, NULL, 0, s->key, s->key_len, s->salt, errp);
}

/* ---- the object ---------------------------------------------------------------------------- */

CryptoSectors *crypto_sectors_new(const CryptoSectorsSpec *spec, const uint8_t *key,
                                  size_t key_len, Error **errp)
{
    CryptoSectors *s = g_malloc0(sizeof(*s) + key_len);
    Engine *first = NULL;

    s->spec = *spec;
    s->key_len = key_len;
    s->iv_len = crypto_cipher_iv_len(spec->cipher, spec->mode);
    memcpy(s->key, key, key_len);
    qemu_mutex_init(&s->lock);
    s->idle = g_ptr_array_new_with_free_func(engine_free);
    if (spec->ivgen != QCRYPTO_IV_GEN_ALGO_ESSIV || set_up_essiv(s, errp)) {
        first = engine_new(s, errp);
    }
    if (!first) {
        crypto_sectors_free(s);
        return NULL;
    }
    g_ptr_array_add(s->idle, first);
    return s;
}

void crypto_sectors_free(CryptoSectors *s)
{
    if (s) {
        g_ptr_array_unref(s->idle);
        qemu_mutex_destroy(&s->lock);
        crypto_free(s, sizeof(*s) + s->key_len);
    }
}

/* ---- work ---------------------------------------------------------------------------------- */

static int make_iv(const CryptoSectors *s, Engine *e, uint64_t sector, uint8_t iv[CRYPTO_MAX_IV])
{
    uint64_t le = cpu_to_le64(s->spec.ivgen == QCRYPTO_IV_GEN_ALGO_PLAIN ? (uint32_t)sector
                                                                         : sector);
    memset(iv, 0, CRYPTO_MAX_IV);
    memcpy(iv, &le, sizeof(le));
    /* Blocks have 8 or 16 bytes, as initialisation vectors do. */
    return e->essiv && s->iv_len ? crypto_cipher_encrypt(e->essiv, NULL, iv, s->iv_len) : 0;
}

typedef int CipherFunc(CryptoCipher *cipher, const uint8_t *iv, void *buf, size_t len);

static int do_sectors(CryptoSectors *s, uint64_t sector, uint8_t *buf, size_t len, CipherFunc *func)
{
    Engine *e = engine_take(s);
    int ret = e ? 0 : -ENOMEM;

    assert(len % CRYPTO_SECTOR_SIZE == 0);
    for (; len && ret == 0; len -= CRYPTO_SECTOR_SIZE, buf += CRYPTO_SECTOR_SIZE, sector++) {
        uint8_t iv[CRYPTO_MAX_IV];

        ret = make_iv(s, e, sector, iv);
        if (ret == 0) {
            ret = func(e->data, iv, buf, CRYPTO_SECTOR_SIZE);
        }
    }
    if (e) {
        engine_give_back(s, e);
    }
    return ret;
}

int crypto_sectors_encrypt(CryptoSectors *s, uint64_t sector, void *buf, size_t len)
{
    return do_sectors(s, sector, buf, len, crypto_cipher_encrypt);
}

int crypto_sectors_decrypt(CryptoSectors *s, uint64_t sector, void *buf, size_t len)
{
    return do_sectors(s, sector, buf, len, crypto_cipher_decrypt);
}
