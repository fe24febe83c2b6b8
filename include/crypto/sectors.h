/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encryption of sectors: a cipher, and an initialisation vector made from each sector's number.
 *
 *  - Any thread, several at once.  Takes time: for more than some sectors, call it in a worker.
 *  - Sectors are 512 bytes, whatever the disk's are.
 */
#ifndef CRYPTO_SECTORS_H
#define CRYPTO_SECTORS_H

#include "crypto/primitives.h"

#define CRYPTO_SECTOR_SIZE 512

typedef struct CryptoSectorsSpec {
    QCryptoCipherAlgo cipher;
    QCryptoCipherMode mode;
    QCryptoIVGenAlgo ivgen;
    QCryptoHashAlgo ivgen_hash; /* ESSIV only */
} CryptoSectorsSpec;

typedef struct CryptoSectors CryptoSectors;

/** @key is copied.  NULL with @errp set if @spec cannot be, here or at all. */
CryptoSectors *crypto_sectors_new(const CryptoSectorsSpec *spec, const uint8_t *key,
                                  size_t key_len, Error **errp);
/** NULL is fine. */
void crypto_sectors_free(CryptoSectors *sectors);

/** In place; @len is a multiple of CRYPTO_SECTOR_SIZE, @sector the first's number.  0 or -EIO. */
int crypto_sectors_encrypt(CryptoSectors *sectors, uint64_t sector, void *buf, size_t len);
int crypto_sectors_decrypt(CryptoSectors *sectors, uint64_t sector, void *buf, size_t len);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(CryptoSectors, crypto_sectors_free)

#endif
