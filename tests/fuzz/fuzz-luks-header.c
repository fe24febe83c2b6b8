/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUKS headers: whatever the bytes, parsing survives; what passes has its slots where they may be,
 * can be told of, and is built again as it was read.
 */
#include "qemu/osdep.h"

#include "crypto/luks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_slots(const CryptoLuks *luks)
{
    uint64_t len = crypto_luks_material_len(luks);

    for (unsigned i = 0; i < CRYPTO_LUKS_SLOTS; i++) {
        uint64_t start = (uint64_t)luks->slots[i].key_sector * CRYPTO_SECTOR_SIZE;
        uint64_t payload = (uint64_t)luks->payload_sector * CRYPTO_SECTOR_SIZE;

        if (start < CRYPTO_LUKS_HEADER_LEN || (payload && start + len > payload)) {
            abort();
        }
    }
}

static void build_and_compare(const CryptoLuks *luks)
{
    uint8_t built[CRYPTO_LUKS_HEADER_LEN], twice[CRYPTO_LUKS_HEADER_LEN];
    CryptoLuks again;

    crypto_luks_build(luks, built);
    if (!crypto_luks_parse(built, &again, NULL)) {
        abort();
    }
    crypto_luks_build(&again, twice);
    if (memcmp(built, twice, sizeof(built)) != 0 || again.key_len != luks->key_len ||
        crypto_luks_nb_active(&again) != crypto_luks_nb_active(luks)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CryptoLuks luks;
    bool is_luks = crypto_luks_probe(data, size);

    if (size < CRYPTO_LUKS_HEADER_LEN || !crypto_luks_parse(data, &luks, NULL)) {
        return 0;
    }
    if (!is_luks) {
        abort();
    }
    check_slots(&luks);
    build_and_compare(&luks);
    qapi_free_QCryptoBlockInfoLUKS(crypto_luks_info(&luks));
    return 0;
}
