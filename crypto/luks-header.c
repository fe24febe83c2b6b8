/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header of LUKS version 1: parse, check, build, plan, tell. */
#include "qemu/osdep.h"

#include "crypto/luks.h"
#include "qapi/types.h"
#include "qemu/bswap.h"

/* ---- on disk, big endian ------------------------------------------------------------------- */

static const uint8_t magic[6] = { 'L', 'U', 'K', 'S', 0xba, 0xbe };

#define VERSION 1
#define SLOT_ACTIVE 0x00ac71f3U
#define SLOT_INACTIVE 0x0000deadU

/* Offsets of fields. */
#define OFF_VERSION 6
#define OFF_CIPHER 8
#define OFF_MODE 40
#define OFF_HASH 72
#define OFF_PAYLOAD 104
#define OFF_KEY_LEN 108
#define OFF_DIGEST 112
#define OFF_DIGEST_SALT 132
#define OFF_DIGEST_ITERATIONS 164
#define OFF_UUID 168
#define OFF_SLOTS 208
#define SLOT_LEN 48
#define NAME_LEN 32
#define UUID_LEN 40

#define HEADER_SECTORS (DIV_ROUND_UP(CRYPTO_LUKS_HEADER_LEN, CRYPTO_SECTOR_SIZE))
#define SLOT_ALIGN 8 /* sectors; also where the first slot is */

/* ---- names --------------------------------------------------------------------------------- */

static const struct {
    const char *family;
    QCryptoCipherAlgo alg;
} families[] = {
    { "aes", QCRYPTO_CIPHER_ALGO_AES_128 },         { "aes", QCRYPTO_CIPHER_ALGO_AES_192 },
    { "aes", QCRYPTO_CIPHER_ALGO_AES_256 },         { "cast5", QCRYPTO_CIPHER_ALGO_CAST5_128 },
    { "serpent", QCRYPTO_CIPHER_ALGO_SERPENT_128 }, { "serpent", QCRYPTO_CIPHER_ALGO_SERPENT_192 },
    { "serpent", QCRYPTO_CIPHER_ALGO_SERPENT_256 }, { "twofish", QCRYPTO_CIPHER_ALGO_TWOFISH_128 },
    { "twofish", QCRYPTO_CIPHER_ALGO_TWOFISH_192 }, { "twofish", QCRYPTO_CIPHER_ALGO_TWOFISH_256 },
    { "sm4", QCRYPTO_CIPHER_ALGO_SM4 },
};

static bool find_cipher(const char *family, size_t key_len, QCryptoCipherAlgo *alg, Error **errp)
{
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        if (strcmp(families[i].family, family) == 0 &&
            crypto_cipher_key_len(families[i].alg) == key_len) {
            *alg = families[i].alg;
            return true;
        }
    }
    error_setg(errp, "Algorithm '%s' with key size %zu bytes not supported", family, key_len);
    return false;
}

static const char *family_of(QCryptoCipherAlgo alg)
{
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        if (families[i].alg == alg) {
            return families[i].family;
        }
    }
    return NULL;
}

/* The number of @name, or -1 with @errp set. */
static int find_name(const QEnumLookup *lookup, const char *name, const char *what, Error **errp)
{
    for (int i = 0; i < lookup->size; i++) {
        if (g_strcmp0(lookup->names[i], name) == 0) {
            return i;
        }
    }
    error_setg(errp, "%s '%s' not supported", what, name);
    return -1;
}

/* ---- parse --------------------------------------------------------------------------------- */

bool crypto_luks_probe(const uint8_t *buf, size_t len)
{
    return len >= OFF_CIPHER && memcmp(buf, magic, sizeof(magic)) == 0 &&
           lduw_be_p(buf + OFF_VERSION) == VERSION;
}

/* A text field, which ends with a zero. */
static bool get_text(const uint8_t *field, size_t room, const char *what, char *text, Error **errp)
{
    if (!memchr(field, 0, room)) {
        error_setg(errp, "LUKS header %s is not NUL terminated", what);
        return false;
    }
    memcpy(text, field, room);
    return true;
}

/* "cbc-essiv:sha256" */
static bool parse_mode(char *text, CryptoLuks *luks, Error **errp)
{
    char *ivgen = strchr(text, '-');
    char *hash;
    int value;

    if (!ivgen) {
        error_setg(errp, "Unexpected cipher mode string format '%s'", text);
        return false;
    }
    *ivgen++ = 0;
    hash = strchr(ivgen, ':');
    if (hash) {
        *hash++ = 0;
        value = find_name(&QCryptoHashAlgo_lookup, hash, "Hash algorithm", errp);
        if (value < 0) {
            return false;
        }
        luks->has_ivgen_hash = true;
        luks->spec.ivgen_hash = value;
    }
    value = find_name(&QCryptoCipherMode_lookup, text, "Cipher mode", errp);
    if (value < 0) {
        return false;
    }
    luks->spec.mode = value;
    value = find_name(&QCryptoIVGenAlgo_lookup, ivgen, "IV generator", errp);
    if (value < 0) {
        return false;
    }
    luks->spec.ivgen = value;
    if (value == QCRYPTO_IV_GEN_ALGO_ESSIV && !luks->has_ivgen_hash) {
        error_setg(errp, "Missing IV generator hash specification");
        return false;
    }
    return true;
}

static bool parse_algorithms(const uint8_t *buf, CryptoLuks *luks, Error **errp)
{
    char cipher[NAME_LEN], mode[NAME_LEN], hash[NAME_LEN];
    size_t one_key;
    int value;

    if (!get_text(buf + OFF_CIPHER, NAME_LEN, "cipher name", cipher, errp) ||
        !get_text(buf + OFF_MODE, NAME_LEN, "cipher mode", mode, errp) ||
        !get_text(buf + OFF_HASH, NAME_LEN, "hash spec", hash, errp) ||
        !parse_mode(mode, luks, errp)) {
        return false;
    }
    /* The name of the volume means nothing to us, and may fill its field. */
    memcpy(luks->uuid, buf + OFF_UUID, UUID_LEN);
    value = find_name(&QCryptoHashAlgo_lookup, hash, "Hash algorithm", errp);
    if (value < 0) {
        return false;
    }
    luks->hash = value;
    one_key = luks->key_len;
    if (luks->spec.mode == QCRYPTO_CIPHER_MODE_XTS) {
        if (one_key % 2) {
            error_setg(errp, "XTS cipher key length should be a multiple of 2");
            return false;
        }
        one_key /= 2;
    }
    return find_cipher(cipher, one_key, &luks->spec.cipher, errp);
}

static bool parse_slot(const uint8_t *field, unsigned index, CryptoLuksSlot *slot, Error **errp)
{
    uint32_t state = ldl_be_p(field);

    if (state != SLOT_ACTIVE && state != SLOT_INACTIVE) {
        error_setg(errp, "Keyslot %u state (active/disable) is corrupted", index);
        return false;
    }
    slot->active = state == SLOT_ACTIVE;
    slot->iterations = ldl_be_p(field + 4);
    memcpy(slot->salt, field + 8, sizeof(slot->salt));
    slot->key_sector = ldl_be_p(field + 40);
    slot->stripes = ldl_be_p(field + 44);
    if (slot->active && slot->iterations == 0) {
        error_setg(errp, "Keyslot %u iteration count is zero", index);
        return false;
    }
    if (slot->stripes != CRYPTO_LUKS_STRIPES) {
        error_setg(errp, "Keyslot %u is corrupted (stripes %" PRIu32 " != %d)", index,
                   slot->stripes, CRYPTO_LUKS_STRIPES);
        return false;
    }
    return true;
}

static uint64_t area_sectors(const CryptoLuks *luks)
{
    return QEMU_ALIGN_UP(DIV_ROUND_UP((uint64_t)luks->key_len * CRYPTO_LUKS_STRIPES,
                                      CRYPTO_SECTOR_SIZE), SLOT_ALIGN);
}

/* Slots lie behind the header, before the data, and apart from each other. */
static bool check_places(const CryptoLuks *luks, Error **errp)
{
    uint64_t len = area_sectors(luks);

    for (unsigned i = 0; i < CRYPTO_LUKS_SLOTS; i++) {
        uint64_t start = luks->slots[i].key_sector;

        if (start < HEADER_SECTORS) {
            error_setg(errp, "Keyslot %u is overlapping with the LUKS header", i);
            return false;
        }
        if (luks->payload_sector && start + len > luks->payload_sector) {
            error_setg(errp, "Keyslot %u is overlapping with the encrypted payload", i);
            return false;
        }
        for (unsigned j = 0; j < i; j++) {
            uint64_t other = luks->slots[j].key_sector;

            if (start + len > other && other + len > start) {
                error_setg(errp, "Keyslots %u and %u are overlapping in the header", j, i);
                return false;
            }
        }
    }
    return true;
}

bool crypto_luks_parse(const uint8_t *buf, CryptoLuks *luks, Error **errp)
{
    uint16_t version = lduw_be_p(buf + OFF_VERSION);

    *luks = (CryptoLuks){ 0 };
    if (memcmp(buf, magic, sizeof(magic)) != 0) {
        error_setg(errp, "Volume is not in LUKS format");
        return false;
    }
    if (version != VERSION) {
        error_setg(errp, "LUKS version %" PRIu16 " is not supported", version);
        return false;
    }
    luks->payload_sector = ldl_be_p(buf + OFF_PAYLOAD);
    luks->key_len = ldl_be_p(buf + OFF_KEY_LEN);
    luks->digest_iterations = ldl_be_p(buf + OFF_DIGEST_ITERATIONS);
    memcpy(luks->digest, buf + OFF_DIGEST, sizeof(luks->digest));
    memcpy(luks->digest_salt, buf + OFF_DIGEST_SALT, sizeof(luks->digest_salt));
    if (luks->key_len == 0 || luks->key_len > CRYPTO_LUKS_MAX_KEY) {
        error_setg(errp, "LUKS master key of %" PRIu32 " bytes is not supported", luks->key_len);
        return false;
    }
    if (luks->digest_iterations == 0) {
        error_setg(errp, "LUKS key iteration count is zero");
        return false;
    }
    if (!parse_algorithms(buf, luks, errp)) {
        return false;
    }
    for (unsigned i = 0; i < CRYPTO_LUKS_SLOTS; i++) {
        if (!parse_slot(buf + OFF_SLOTS + i * SLOT_LEN, i, &luks->slots[i], errp)) {
            return false;
        }
    }
    return check_places(luks, errp);
}

/* ---- build --------------------------------------------------------------------------------- */

void crypto_luks_build(const CryptoLuks *luks, uint8_t *buf)
{
    memset(buf, 0, CRYPTO_LUKS_HEADER_LEN);
    memcpy(buf, magic, sizeof(magic));
    stw_be_p(buf + OFF_VERSION, VERSION);
    g_strlcpy((char *)buf + OFF_CIPHER, family_of(luks->spec.cipher), NAME_LEN);
    snprintf((char *)buf + OFF_MODE, NAME_LEN, "%s-%s%s%s",
             QCryptoCipherMode_str(luks->spec.mode), QCryptoIVGenAlgo_str(luks->spec.ivgen),
             luks->has_ivgen_hash ? ":" : "",
             luks->has_ivgen_hash ? QCryptoHashAlgo_str(luks->spec.ivgen_hash) : "");
    g_strlcpy((char *)buf + OFF_HASH, QCryptoHashAlgo_str(luks->hash), NAME_LEN);
    stl_be_p(buf + OFF_PAYLOAD, luks->payload_sector);
    stl_be_p(buf + OFF_KEY_LEN, luks->key_len);
    memcpy(buf + OFF_DIGEST, luks->digest, sizeof(luks->digest));
    memcpy(buf + OFF_DIGEST_SALT, luks->digest_salt, sizeof(luks->digest_salt));
    stl_be_p(buf + OFF_DIGEST_ITERATIONS, luks->digest_iterations);
    memcpy(buf + OFF_UUID, luks->uuid, UUID_LEN);
    for (unsigned i = 0; i < CRYPTO_LUKS_SLOTS; i++) {
        const CryptoLuksSlot *slot = &luks->slots[i];
        uint8_t *field = buf + OFF_SLOTS + i * SLOT_LEN;

        stl_be_p(field, slot->active ? SLOT_ACTIVE : SLOT_INACTIVE);
        stl_be_p(field + 4, slot->iterations);
        memcpy(field + 8, slot->salt, sizeof(slot->salt));
        stl_be_p(field + 40, slot->key_sector);
        stl_be_p(field + 44, slot->stripes);
    }
}

/* ---- plan ---------------------------------------------------------------------------------- */

size_t crypto_luks_material_len(const CryptoLuks *luks)
{
    return QEMU_ALIGN_UP((size_t)luks->key_len * CRYPTO_LUKS_STRIPES, CRYPTO_SECTOR_SIZE);
}

uint64_t crypto_luks_new_len(const CryptoLuks *luks)
{
    return (SLOT_ALIGN + CRYPTO_LUKS_SLOTS * area_sectors(luks)) * CRYPTO_SECTOR_SIZE;
}

/* Whether ESSIV can be, and a cipher such as this, is known when one is made. */
static bool try_spec(const CryptoLuks *luks, Error **errp)
{
    static const uint8_t some_key[CRYPTO_LUKS_MAX_KEY] = { 1 };
    CryptoSectors *sectors = crypto_sectors_new(&luks->spec, some_key, luks->key_len, errp);

    crypto_sectors_free(sectors);
    return sectors;
}

bool crypto_luks_plan(const QCryptoBlockCreateOptionsLUKS *o, bool detached, CryptoLuks *luks,
                      Error **errp)
{
    *luks = (CryptoLuks){
        .spec.cipher = o->has_cipher_alg ? o->cipher_alg : QCRYPTO_CIPHER_ALGO_AES_256,
        .spec.mode = o->has_cipher_mode ? o->cipher_mode : QCRYPTO_CIPHER_MODE_XTS,
        .spec.ivgen = o->has_ivgen_alg ? o->ivgen_alg : QCRYPTO_IV_GEN_ALGO_PLAIN64,
        .spec.ivgen_hash = o->has_ivgen_hash_alg ? o->ivgen_hash_alg : QCRYPTO_HASH_ALGO_SHA256,
        .hash = o->has_hash_alg ? o->hash_alg : QCRYPTO_HASH_ALGO_SHA256,
    };
    luks->has_ivgen_hash = o->has_ivgen_hash_alg || luks->spec.ivgen == QCRYPTO_IV_GEN_ALGO_ESSIV;
    if (!family_of(luks->spec.cipher)) {
        error_setg(errp, "Unsupported cipher algorithm '%s'",
                   QCryptoCipherAlgo_str(luks->spec.cipher));
        return false;
    }
    if (!crypto_available()) {
        uint8_t byte;

        return crypto_random(&byte, 1, errp); /* says why */
    }
    if (!crypto_hash_supports(luks->hash)) {
        error_setg(errp, "Hash algorithm '%s' not supported", QCryptoHashAlgo_str(luks->hash));
        return false;
    }
    luks->key_len = crypto_cipher_key_len(luks->spec.cipher);
    luks->key_len *= luks->spec.mode == QCRYPTO_CIPHER_MODE_XTS ? 2 : 1;
    for (unsigned i = 0; i < CRYPTO_LUKS_SLOTS; i++) {
        luks->slots[i].key_sector = SLOT_ALIGN + i * area_sectors(luks);
        luks->slots[i].stripes = CRYPTO_LUKS_STRIPES;
    }
    luks->payload_sector = detached ? 0 : crypto_luks_new_len(luks) / CRYPTO_SECTOR_SIZE;
    return try_spec(luks, errp);
}

/* ---- tell ---------------------------------------------------------------------------------- */

unsigned crypto_luks_nb_active(const CryptoLuks *luks)
{
    unsigned n = 0;

    for (unsigned i = 0; i < CRYPTO_LUKS_SLOTS; i++) {
        n += luks->slots[i].active;
    }
    return n;
}

QCryptoBlockInfoLUKS *crypto_luks_info(const CryptoLuks *luks)
{
    QCryptoBlockInfoLUKS *info = g_new0(QCryptoBlockInfoLUKS, 1);
    QCryptoBlockInfoLUKSSlotList **tail = &info->slots;

    info->cipher_alg = luks->spec.cipher;
    info->cipher_mode = luks->spec.mode;
    info->ivgen_alg = luks->spec.ivgen;
    /* The other generators have no use for one. */
    info->has_ivgen_hash_alg = luks->spec.ivgen == QCRYPTO_IV_GEN_ALGO_ESSIV;
    info->ivgen_hash_alg = luks->spec.ivgen_hash;
    info->hash_alg = luks->hash;
    info->detached_header = luks->payload_sector == 0;
    info->payload_offset = (int64_t)luks->payload_sector * CRYPTO_SECTOR_SIZE;
    info->master_key_iters = luks->digest_iterations;
    info->uuid = g_strdup(luks->uuid);
    for (unsigned i = 0; i < CRYPTO_LUKS_SLOTS; i++) {
        QCryptoBlockInfoLUKSSlot *slot = g_new0(QCryptoBlockInfoLUKSSlot, 1);

        slot->active = luks->slots[i].active;
        slot->key_offset = (int64_t)luks->slots[i].key_sector * CRYPTO_SECTOR_SIZE;
        slot->has_iters = slot->has_stripes = slot->active;
        slot->iters = luks->slots[i].iterations;
        slot->stripes = luks->slots[i].stripes;
        QAPI_LIST_APPEND(tail, slot);
    }
    return info;
}
