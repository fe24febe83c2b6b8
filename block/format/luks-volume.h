/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A LUKS header in a file, wherever it begins: at its start for the driver luks, in clusters of
 * their own for qcow2.  Deriving keys is done in workers.
 *
 * Context: the control path (open, creation, amend); the main thread, where secrets are.
 */
#ifndef BLOCK_FORMAT_LUKS_VOLUME_H
#define BLOCK_FORMAT_LUKS_VOLUME_H

#include "block/block_int.h"
#include "crypto/luks.h"

/* Options of qemu-img, named with @prefix; luks_create_options_read() and ..amend.. read them. */
#define LUKS_CREATE_OPTIONS(prefix, key_secret_help) \
    { prefix "key-secret", QEMU_OPT_STRING, key_secret_help, NULL }, \
    { prefix "cipher-alg", QEMU_OPT_STRING, "Name of encryption cipher algorithm", NULL }, \
    { prefix "cipher-mode", QEMU_OPT_STRING, "Name of encryption cipher mode", NULL }, \
    { prefix "ivgen-alg", QEMU_OPT_STRING, "Name of IV generator algorithm", NULL }, \
    { prefix "ivgen-hash-alg", QEMU_OPT_STRING, "Name of IV generator hash algorithm", NULL }, \
    { prefix "hash-alg", QEMU_OPT_STRING, "Name of encryption hash algorithm", NULL }, \
    { prefix "iter-time", QEMU_OPT_NUMBER, "Time to spend in PBKDF in milliseconds", NULL }
#define LUKS_AMEND_OPTIONS(prefix) \
    { prefix "state", QEMU_OPT_STRING, "Select new state of affected keyslots (active/inactive)", \
      NULL }, \
    { prefix "keyslot", QEMU_OPT_NUMBER, "Select a single keyslot to modify explicitly", NULL }, \
    { prefix "old-secret", QEMU_OPT_STRING, "Select all keyslots that match this password", \
      NULL }, \
    { prefix "new-secret", QEMU_OPT_STRING, \
      "New secret to set in the matching keyslots. Empty string to erase", NULL }, \
    { prefix "iter-time", QEMU_OPT_NUMBER, "Time to spend in PBKDF in milliseconds", NULL }

/* Where a header is. */
typedef struct LuksPlace {
    BdrvChild *child;
    uint64_t offset;
    uint64_t len;       /* nothing of the header or its slots lies past it; 0: the whole file */
    const char *prefix; /* of option names in messages: "" or "encrypt." */
} LuksPlace;

/** Read and check the header. */
bool coroutine_fn luks_volume_co_read(const LuksPlace *place, CryptoLuks *luks, Error **errp);

/** What en- and decrypts the data, by the password in secret @id (NULL is an error). */
CryptoSectors *coroutine_fn luks_volume_co_unlock(const LuksPlace *place, const CryptoLuks *luks,
                                                  const char *id, Error **errp);

/** Look up the password of @options: what can be refused without any work. */
CryptoBytes *luks_volume_password(const LuksPlace *place, const char *id, Error **errp);

/**
 * Make keys for what crypto_luks_plan() made of @options, write slot 0 and then the header, and
 * flush.  *@sectors (may be NULL) becomes what en- and decrypts the data.
 */
bool coroutine_fn luks_volume_co_format(const LuksPlace *place, CryptoLuks *luks,
                                        const QCryptoBlockCreateOptionsLUKS *options,
                                        CryptoSectors **sectors, Error **errp);

/** Change key slots; @luks follows.  @id: the secret the image was opened with, or NULL. */
bool coroutine_fn luks_volume_co_amend(const LuksPlace *place, CryptoLuks *luks, const char *id,
                                       const QCryptoBlockAmendOptionsLUKS *options, bool force,
                                       Error **errp);

/** Fill @options (without the strings' ownership) from options of qemu-img, named with @prefix. */
bool luks_create_options_read(const QemuOpts *opts, const char *prefix,
                              QCryptoBlockCreateOptionsLUKS *options, Error **errp);
/** The same for amend; sets *@any if there are any. */
bool luks_amend_options_read(const QemuOpts *opts, const char *prefix, bool *any,
                             QCryptoBlockAmendOptionsLUKS *options, Error **errp);

#endif
