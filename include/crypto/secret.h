/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The user object "secret": a password or key that others name by its id.
 *
 * Main thread only.
 */
#ifndef CRYPTO_SECRET_H
#define CRYPTO_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "qemu/error.h"

/* A copy of a secret's bytes, with a 0 behind them; free with crypto_bytes_free(), which wipes. */
typedef struct CryptoBytes {
    size_t len;
    uint8_t data[];
} CryptoBytes;

/** Make the object type known.  Once, at start-up. */
void crypto_secret_register_type(void);

/** The bytes of secret @id; NULL with @errp set if there is none. */
CryptoBytes *crypto_secret_lookup(const char *id, Error **errp);
/** The same for a password, which must be UTF-8. */
CryptoBytes *crypto_secret_lookup_utf8(const char *id, Error **errp);

/** A copy of @len bytes. */
CryptoBytes *crypto_bytes_new(const void *data, size_t len);
/** NULL is fine. */
void crypto_bytes_free(CryptoBytes *bytes);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(CryptoBytes, crypto_bytes_free)

#endif
