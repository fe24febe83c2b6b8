/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keys of LUKS version 1.  The master key encrypts the data.  Each active slot holds it, split
 * into stripes that must all be there to join it (anti-forensic splitting), and encrypted with a
 * key made from a password.
 */
#include "qemu/osdep.h"

#include "crypto/luks.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/uuid.h"

#define MIN_ITERATIONS 1000

/* ---- anti-forensic splitting --------------------------------------------------------------- */

/* Each part of @block, as long as a digest, becomes the hash of its number and itself. */
static bool diffuse(QCryptoHashAlgo hash, uint8_t *block, size_t len, Error **errp)
{
    size_t digest_len = crypto_hash_len(hash);
    uint8_t digest[CRYPTO_MAX_DIGEST];

    for (size_t i = 0, done = 0; done < len; i++, done += digest_len) {
        size_t n = MIN(digest_len, len - done);
        uint32_t number = cpu_to_be32(i);

        if (!crypto_hash(hash, &number, sizeof(number), block + done, n, digest, errp)) {
            return false;
        }
        memcpy(block + done, digest, n);
    }
    crypto_wipe(digest, sizeof(digest));
    return true;
}

static void xor_into(uint8_t *dst, const uint8_t *src, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        dst[i] ^= src[i];
    }
}

/* What all stripes but the last come to. */
static bool gather(QCryptoHashAlgo hash, const uint8_t *stripes, uint8_t *block, size_t len,
                   Error **errp)
{
    memset(block, 0, len);
    for (unsigned i = 0; i < CRYPTO_LUKS_STRIPES - 1; i++) {
        xor_into(block, stripes + i * len, len);
        if (!diffuse(hash, block, len, errp)) {
            return false;
        }
    }
    return true;
}

static bool split(QCryptoHashAlgo hash, const CryptoBytes *key, uint8_t *stripes, Error **errp)
{
    uint8_t *last = stripes + (CRYPTO_LUKS_STRIPES - 1) * key->len;

    if (!crypto_random(stripes, (CRYPTO_LUKS_STRIPES - 1) * key->len, errp) ||
        !gather(hash, stripes, last, key->len, errp)) {
        return false;
    }
    xor_into(last, key->data, key->len);
    return true;
}

static CryptoBytes *merge(const CryptoLuks *luks, const uint8_t *stripes, Error **errp)
{
    uint8_t block[CRYPTO_LUKS_MAX_KEY];
    CryptoBytes *key = NULL;

    if (gather(luks->hash, stripes, block, luks->key_len, errp)) {
        xor_into(block, stripes + (CRYPTO_LUKS_STRIPES - 1) * (size_t)luks->key_len,
                 luks->key_len);
        key = crypto_bytes_new(block, luks->key_len);
    }
    crypto_wipe(block, sizeof(block));
    return key;
}

/* ---- the master key ------------------------------------------------------------------------ */

static bool digest_of_key(const CryptoLuks *luks, const CryptoBytes *key,
                          uint8_t digest[CRYPTO_LUKS_DIGEST_LEN], Error **errp)
{
    CryptoPbkdf kdf = {
        luks->hash, key->data, key->len, luks->digest_salt, sizeof(luks->digest_salt),
        luks->digest_iterations,
    };

    return crypto_pbkdf2(&kdf, digest, CRYPTO_LUKS_DIGEST_LEN, errp);
}

CryptoBytes *crypto_luks_make_key(CryptoLuks *luks, uint64_t iter_time, Error **errp)
{
    uint8_t raw[CRYPTO_LUKS_MAX_KEY];
    g_autoptr(CryptoBytes) key = NULL;
    QemuUUID uuid;

    if (!crypto_random(raw, luks->key_len, errp) ||
        !crypto_random(luks->digest_salt, sizeof(luks->digest_salt), errp)) {
        return NULL;
    }
    key = crypto_bytes_new(raw, luks->key_len);
    crypto_wipe(raw, sizeof(raw));
    luks->digest_iterations = crypto_pbkdf2_iterations(luks->hash, CRYPTO_LUKS_DIGEST_LEN,
                                                       iter_time / 8, MIN_ITERATIONS, errp);
    if (!luks->digest_iterations || !digest_of_key(luks, key, luks->digest, errp)) {
        return NULL;
    }
    qemu_uuid_generate(&uuid);
    qemu_uuid_unparse(&uuid, luks->uuid);
    return g_steal_pointer(&key);
}

/* ---- slots --------------------------------------------------------------------------------- */

/* What encrypts the stripes of a slot. */
static CryptoSectors *slot_cipher(const CryptoLuks *luks, const CryptoLuksSlot *slot,
                                  const CryptoBytes *password, Error **errp)
{
    uint8_t key[CRYPTO_LUKS_MAX_KEY];
    CryptoPbkdf kdf = {
        luks->hash, password->data, password->len, slot->salt, sizeof(slot->salt),
        slot->iterations,
    };
    CryptoSectors *sectors = NULL;

    if (crypto_pbkdf2(&kdf, key, luks->key_len, errp)) {
        sectors = crypto_sectors_new(&luks->spec, key, luks->key_len, errp);
    }
    crypto_wipe(key, sizeof(key));
    return sectors;
}

bool crypto_luks_fill_slot(CryptoLuks *luks, unsigned index, const CryptoBytes *key,
                           const CryptoBytes *password, uint64_t iter_time, uint8_t *material,
                           Error **errp)
{
    CryptoLuksSlot *slot = &luks->slots[index];
    g_autoptr(CryptoSectors) sectors = NULL;
    size_t len = crypto_luks_material_len(luks);

    slot->iterations = crypto_pbkdf2_iterations(luks->hash, luks->key_len, iter_time,
                                                MIN_ITERATIONS, errp);
    if (!slot->iterations || !crypto_random(slot->salt, sizeof(slot->salt), errp)) {
        return false;
    }
    sectors = slot_cipher(luks, slot, password, errp);
    memset(material, 0, len);
    if (!sectors || !split(luks->hash, key, material, errp)) {
        return false;
    }
    if (crypto_sectors_encrypt(sectors, 0, material, len) < 0) {
        error_setg(errp, "The master key could not be encrypted");
        return false;
    }
    slot->active = true;
    return true;
}

/* ---- time ---------------------------------------------------------------------------------- */

bool crypto_luks_time_limit(int64_t *millisec, Error **errp)
{
    const char *text = getenv(CRYPTO_LUKS_MAX_SECONDS_ENV);
    unsigned seconds = CRYPTO_LUKS_MAX_SECONDS;

    if (text && qemu_strtoui(text, NULL, 10, &seconds) < 0) {
        error_setg(errp, "Variable " CRYPTO_LUKS_MAX_SECONDS_ENV " is no number of seconds: '%s'",
                   text);
        return false;
    }
    *millisec = seconds * INT64_C(1000);
    return true;
}

bool crypto_luks_take_time(const CryptoLuks *luks, unsigned index, int64_t *left, Error **errp)
{
    uint32_t iterations = luks->slots[index].iterations;
    int64_t slot = crypto_pbkdf2_millisec(luks->hash, luks->key_len, iterations, errp), digest;

    digest = slot < 0 ? -1 : crypto_pbkdf2_millisec(luks->hash, CRYPTO_LUKS_DIGEST_LEN,
                                                    luks->digest_iterations, errp);
    if (digest < 0) {
        return false;
    }
    *left -= slot + digest;
    if (*left < 0) {
        error_setg(errp, "Trying keyslot %u would take too long (%" PRIu32 " iterations, and %"
                   PRIu32 " for the master key)", index, iterations, luks->digest_iterations);
        error_append_hint(errp, "If you trust the image, set variable " CRYPTO_LUKS_MAX_SECONDS_ENV
                          " to the seconds that opening may take.\n");
        return false;
    }
    return true;
}

int crypto_luks_open_slot(const CryptoLuks *luks, unsigned index, const CryptoBytes *password,
                          uint8_t *material, CryptoBytes **key, Error **errp)
{
    g_autoptr(CryptoSectors) sectors = slot_cipher(luks, &luks->slots[index], password, errp);
    g_autoptr(CryptoBytes) found = NULL;
    uint8_t digest[CRYPTO_LUKS_DIGEST_LEN];

    if (!sectors) {
        return -1;
    }
    if (crypto_sectors_decrypt(sectors, 0, material, crypto_luks_material_len(luks)) < 0) {
        error_setg(errp, "The master key could not be decrypted");
        return -1;
    }
    found = merge(luks, material, errp);
    if (!found || !digest_of_key(luks, found, digest, errp)) {
        return -1;
    }
    if (memcmp(digest, luks->digest, sizeof(digest)) != 0) {
        return 0;
    }
    *key = g_steal_pointer(&found);
    return 1;
}

void crypto_luks_clear_slot(CryptoLuks *luks, unsigned index)
{
    CryptoLuksSlot *slot = &luks->slots[index];

    slot->active = false;
    slot->iterations = 0;
    memset(slot->salt, 0, sizeof(slot->salt));
}
