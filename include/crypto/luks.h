/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUKS version 1: the header and its key slots, in memory.  Who reads and writes them is somebody
 * else (block/format).
 *
 *  - A header is hostile until crypto_luks_parse() has accepted it; its sizes and places may be
 *    relied upon then.
 *  - Functions that derive keys take as long as the header's iterations say: call them in a worker.
 */
#ifndef CRYPTO_LUKS_H
#define CRYPTO_LUKS_H

#include "crypto/secret.h"
#include "crypto/sectors.h"

#define CRYPTO_LUKS_HEADER_LEN 592
#define CRYPTO_LUKS_SLOTS 8
#define CRYPTO_LUKS_DIGEST_LEN 20
#define CRYPTO_LUKS_SALT_LEN 32
#define CRYPTO_LUKS_STRIPES 4000
#define CRYPTO_LUKS_MAX_KEY 64
#define CRYPTO_LUKS_DEFAULT_ITER_TIME 2000 /* milliseconds */
/* A header may ask for years.  What it gets, and the environment's variable that says otherwise. */
#define CRYPTO_LUKS_MAX_SECONDS 120
#define CRYPTO_LUKS_MAX_SECONDS_ENV "QEMU_LUKS_MAX_SECONDS"

typedef struct CryptoLuksSlot {
    bool active;
    uint32_t iterations;
    uint8_t salt[CRYPTO_LUKS_SALT_LEN];
    uint32_t key_sector; /* where its key material is */
    uint32_t stripes;
} CryptoLuksSlot;

typedef struct CryptoLuks {
    CryptoSectorsSpec spec;
    bool has_ivgen_hash;      /* named in the header */
    QCryptoHashAlgo hash;
    uint32_t payload_sector;  /* 0: the data is somewhere else */
    uint32_t key_len;
    uint8_t digest[CRYPTO_LUKS_DIGEST_LEN];
    uint8_t digest_salt[CRYPTO_LUKS_SALT_LEN];
    uint32_t digest_iterations;
    char uuid[41];
    CryptoLuksSlot slots[CRYPTO_LUKS_SLOTS];
} CryptoLuks;

/* ---- the header ---------------------------------------------------------------------------- */

/** Whether @buf begins as a LUKS header of version 1 does. */
bool crypto_luks_probe(const uint8_t *buf, size_t len);
/** Parse and check the CRYPTO_LUKS_HEADER_LEN bytes at @buf.  Pure. */
bool crypto_luks_parse(const uint8_t *buf, CryptoLuks *luks, Error **errp);
/** The CRYPTO_LUKS_HEADER_LEN bytes of the header.  Pure. */
void crypto_luks_build(const CryptoLuks *luks, uint8_t *buf);
/** Bytes of a slot's key material: whole sectors. */
size_t crypto_luks_material_len(const CryptoLuks *luks);
/** Bytes that header and slots take in a new image: where its data begins. */
uint64_t crypto_luks_new_len(const CryptoLuks *luks);
/** What users are told; free with qapi_free_QCryptoBlockInfoLUKS(). */
QCryptoBlockInfoLUKS *crypto_luks_info(const CryptoLuks *luks);

/* ---- keys ---------------------------------------------------------------------------------- */

/**
 * The header that @options ask for, without a key: sizes and places.  With @detached the data is
 * somewhere else.
 */
bool crypto_luks_plan(const QCryptoBlockCreateOptionsLUKS *options, bool detached,
                      CryptoLuks *luks, Error **errp);
/** Make a master key, its digest and a UUID.  NULL with @errp set on failure.  Slow. */
CryptoBytes *crypto_luks_make_key(CryptoLuks *luks, uint64_t iter_time, Error **errp);
/**
 * Put @key into slot @index: @material gets the crypto_luks_material_len() bytes that are to be
 * written.  Slow.
 */
bool crypto_luks_fill_slot(CryptoLuks *luks, unsigned index, const CryptoBytes *key,
                           const CryptoBytes *password, uint64_t iter_time, uint8_t *material,
                           Error **errp);
/** The time that the slots of a header may take when a password is tried on them. */
bool crypto_luks_time_limit(int64_t *millisec, Error **errp);
/**
 * Take the time for trying slot @index, as the header has it, from *@left milliseconds; false with
 * @errp set if that is not enough.  Slow.
 */
bool crypto_luks_take_time(const CryptoLuks *luks, unsigned index, int64_t *left, Error **errp);
/**
 * Try @password on active slot @index, whose material is @material (it is overwritten).  Returns 1
 * and *@key; 0 if it does not fit; -1 with @errp set.  Slow.
 */
int crypto_luks_open_slot(const CryptoLuks *luks, unsigned index, const CryptoBytes *password,
                          uint8_t *material, CryptoBytes **key, Error **errp);
/** The slot as one that holds nothing. */
void crypto_luks_clear_slot(CryptoLuks *luks, unsigned index);
unsigned crypto_luks_nb_active(const CryptoLuks *luks);

#endif
