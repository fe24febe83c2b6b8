/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of qemu-img about LUKS, for the driver luks and, with a prefix, for qcow2. */
#include "qemu/osdep.h"

#include "luks-volume.h"

/* The value of option @prefix@name, or NULL. */
static const char *get(const QemuOpts *opts, const char *prefix, const char *name)
{
    g_autofree char *full = g_strconcat(prefix, name, NULL);

    return qemu_opt_get(opts, full);
}

/* Sets *@has and *@value if option @name is given; false if it is no word of @lookup. */
static bool read_word(const QemuOpts *opts, const char *prefix, const char *name,
                      const QEnumLookup *lookup, bool *has, int *value, Error **errp)
{
    const char *word = get(opts, prefix, name);

    *has = word;
    for (*value = 0; word && *value < lookup->size; ++*value) {
        if (g_strcmp0(lookup->names[*value], word) == 0) {
            return true;
        }
    }
    if (word) {
        error_setg(errp, "Parameter '%s' does not accept value '%s'", name, word);
    }
    return !word;
}

static void read_number(const QemuOpts *opts, const char *prefix, const char *name, bool *has,
                        int64_t *value)
{
    g_autofree char *full = g_strconcat(prefix, name, NULL);

    *has = qemu_opt_is_set(opts, full);
    /* A negative number is read as a large one. */
    *value = *has ? (int64_t)qemu_opt_get_number(opts, full, 0) : 0;
}

bool luks_create_options_read(const QemuOpts *opts, const char *prefix,
                              QCryptoBlockCreateOptionsLUKS *o, Error **errp)
{
    int cipher, mode, ivgen, ivgen_hash, hash;

    *o = (QCryptoBlockCreateOptionsLUKS){ .key_secret = (char *)get(opts, prefix, "key-secret") };
    if (!read_word(opts, prefix, "cipher-alg", &QCryptoCipherAlgo_lookup, &o->has_cipher_alg,
                   &cipher, errp) ||
        !read_word(opts, prefix, "cipher-mode", &QCryptoCipherMode_lookup, &o->has_cipher_mode,
                   &mode, errp) ||
        !read_word(opts, prefix, "ivgen-alg", &QCryptoIVGenAlgo_lookup, &o->has_ivgen_alg, &ivgen,
                   errp) ||
        !read_word(opts, prefix, "ivgen-hash-alg", &QCryptoHashAlgo_lookup,
                   &o->has_ivgen_hash_alg, &ivgen_hash, errp) ||
        !read_word(opts, prefix, "hash-alg", &QCryptoHashAlgo_lookup, &o->has_hash_alg, &hash,
                   errp)) {
        return false;
    }
    o->cipher_alg = cipher;
    o->cipher_mode = mode;
    o->ivgen_alg = ivgen;
    o->ivgen_hash_alg = ivgen_hash;
    o->hash_alg = hash;
    read_number(opts, prefix, "iter-time", &o->has_iter_time, &o->iter_time);
    return true;
}

bool luks_amend_options_read(const QemuOpts *opts, const char *prefix, bool *any,
                             QCryptoBlockAmendOptionsLUKS *o, Error **errp)
{
    bool has_state;
    int state;

    *o = (QCryptoBlockAmendOptionsLUKS){
        .new_secret = (char *)get(opts, prefix, "new-secret"),
        .old_secret = (char *)get(opts, prefix, "old-secret"),
    };
    if (!read_word(opts, prefix, "state", &QCryptoBlockLUKSKeyslotState_lookup, &has_state, &state,
                   errp)) {
        return false;
    }
    read_number(opts, prefix, "keyslot", &o->has_keyslot, &o->keyslot);
    read_number(opts, prefix, "iter-time", &o->has_iter_time, &o->iter_time);
    *any = has_state || o->new_secret || o->old_secret || o->has_keyslot || o->has_iter_time;
    if (*any && !has_state) {
        error_setg(errp, "Parameter 'state' is missing");
        return false;
    }
    o->state = state;
    return true;
}
