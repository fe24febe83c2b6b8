/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encryption of guest data; metadata, bitmaps and compressed clusters are never encrypted.
 *
 * LUKS: header and key slots are in clusters of their own, which an extension of the header names.
 * A sector's number is that of its place in the file, so data that is copied elsewhere must be
 * encrypted anew.  AES: the way of the first qcow2 images; the password is the key, and a sector's
 * number is that of the disk.
 *
 * What a host cluster holds before data is written to it means nothing: it decrypts to noise.  So
 * no cluster counts as fresh (alloc.c), and space that is only reserved is a zero cluster.
 */
#include "qemu/osdep.h"

#include "../luks-volume.h"
#include "../sector-io.h"
#include "block/thread-pool.h"
#include "qemu/atomic.h"
#include "refarray.h"

#define PREFIX "encrypt."
#define AES_KEY_LEN 16

static LuksPlace luks_place(BlockDriverState *bs, const Qcow2Extensions *ext)
{
    return (LuksPlace){
        .child = bs->file, .offset = ext->crypto_offset, .len = ext->crypto_len, .prefix = PREFIX,
    };
}

/* ---- keys ---------------------------------------------------------------------------------- */

/* The first bytes of the password are the key. */
static CryptoSectors *aes_sectors(const char *id, Error **errp)
{
    static const CryptoSectorsSpec spec = {
        .cipher = QCRYPTO_CIPHER_ALGO_AES_128,
        .mode = QCRYPTO_CIPHER_MODE_CBC,
        .ivgen = QCRYPTO_IV_GEN_ALGO_PLAIN64,
    };
    LuksPlace place = { .prefix = PREFIX };
    g_autoptr(CryptoBytes) password = luks_volume_password(&place, id, errp);
    uint8_t key[AES_KEY_LEN] = { 0 };
    CryptoSectors *sectors;

    if (!password) {
        return NULL;
    }
    memcpy(key, password->data, MIN(password->len, sizeof(key)));
    sectors = crypto_sectors_new(&spec, key, sizeof(key), errp);
    crypto_wipe(key, sizeof(key));
    return sectors;
}

/* ---- open ---------------------------------------------------------------------------------- */

static const char *format_name(uint32_t method)
{
    return method == QCOW2_CRYPT_LUKS ? "luks" : "aes";
}

static bool check_format(const Qcow2State *s, const BlockdevQcow2Encryption *o, Error **errp)
{
    uint32_t method = s->header.crypt_method;

    if (method == QCOW2_CRYPT_AES && bdrv_uses_whitelist()) {
        error_setg(errp, "Use of AES-CBC encrypted qcow2 images is no longer supported in system "
                   "emulators");
        error_append_hint(errp, "You can use 'qemu-img convert' to convert your image to an "
                          "alternative supported format, such as unencrypted qcow2, or raw with "
                          "the LUKS format instead.\n");
        return false;
    }
    if (!o || o->format == BLOCKDEV_QCOW2_ENCRYPTION_FORMAT_AUTO) {
        return true;
    }
    if (!method) {
        error_setg(errp, "No encryption in image header, but options specified format '%s'",
                   BlockdevQcow2EncryptionFormat_str(o->format));
        return false;
    }
    if (strcmp(BlockdevQcow2EncryptionFormat_str(o->format), format_name(method)) != 0) {
        error_setg(errp, "Header reported '%s' encryption format but options specify '%s'",
                   format_name(method), BlockdevQcow2EncryptionFormat_str(o->format));
        return false;
    }
    return true;
}

/* The secret's id; the members of all formats are the same. */
static const char *key_secret(const BlockdevQcow2Encryption *o)
{
    return !o ? NULL : o->format == BLOCKDEV_QCOW2_ENCRYPTION_FORMAT_LUKS ? o->u.luks.key_secret
                                                                          : o->u.aes.key_secret;
}

bool coroutine_fn qcow2_crypt_co_open(BlockDriverState *bs, const BlockdevQcow2Encryption *o,
                                      int flags, Error **errp)
{
    Qcow2State *s = bs->opaque;
    LuksPlace place = luks_place(bs, &s->ext);
    const char *id = key_secret(o);
    /* What only looks at metadata needs no key. */
    bool needs_key = !(flags & BDRV_O_NO_IO) && (id || !(flags & BDRV_O_CHECK));

    if (!check_format(s, o, errp)) {
        return false;
    }
    if (!s->header.crypt_method) {
        return true;
    }
    s->key_secret = g_strdup(id);
    bs->encrypted = true;
    if (s->header.crypt_method == QCOW2_CRYPT_AES) {
        s->sectors = needs_key ? aes_sectors(id, errp) : NULL;
        return s->sectors || !needs_key;
    }
    s->luks = g_new0(CryptoLuks, 1);
    if (!luks_volume_co_read(&place, s->luks, errp)) {
        return false;
    }
    s->sectors = needs_key ? luks_volume_co_unlock(&place, s->luks, id, errp) : NULL;
    return s->sectors || !needs_key;
}

void qcow2_crypt_free(Qcow2State *s)
{
    g_clear_pointer(&s->sectors, crypto_sectors_free);
    g_clear_pointer(&s->luks, g_free);
    g_clear_pointer(&s->key_secret, g_free);
}

/* ---- data ---------------------------------------------------------------------------------- */

/* The number by which the encryption knows a sector of the disk at @offset, stored at @host. */
static uint64_t sector_number(const Qcow2State *s, int64_t offset, uint64_t host)
{
    return (s->header.crypt_method == QCOW2_CRYPT_LUKS ? host : (uint64_t)offset) /
           CRYPTO_SECTOR_SIZE;
}

int coroutine_fn qcow2_co_read_data(BlockDriverState *bs, int64_t offset, uint64_t host,
                                    int64_t bytes, QEMUIOVector *qiov, size_t qiov_offset)
{
    const Qcow2State *s = bs->opaque;

    if (!s->header.crypt_method) {
        return bdrv_co_preadv_part(qcow2_data(bs), host, bytes, qiov, qiov_offset, 0);
    }
    if (!s->sectors || (offset | bytes) % CRYPTO_SECTOR_SIZE) {
        return s->sectors ? -EINVAL : -ENOTSUP;
    }
    return sector_io_co_read(s->sectors, qcow2_data(bs), host, sector_number(s, offset, host),
                             bytes, qiov, qiov_offset);
}

int coroutine_fn qcow2_co_write_data(BlockDriverState *bs, int64_t offset, uint64_t host,
                                     int64_t bytes, QEMUIOVector *qiov, size_t qiov_offset)
{
    const Qcow2State *s = bs->opaque;

    if (!s->header.crypt_method) {
        return bdrv_co_pwritev_part(qcow2_data(bs), host, bytes, qiov, qiov_offset, 0);
    }
    if (!s->sectors || (offset | bytes) % CRYPTO_SECTOR_SIZE) {
        return s->sectors ? -EINVAL : -ENOTSUP;
    }
    return sector_io_co_write(s->sectors, qcow2_data(bs), host, sector_number(s, offset, host),
                              bytes, qiov, qiov_offset, 0);
}

int coroutine_fn qcow2_co_write_zero_cluster(BlockDriverState *bs, uint64_t host)
{
    const Qcow2State *s = bs->opaque;
    g_autofree uint8_t *zeroes = NULL;
    QEMUIOVector qiov;

    if (!s->header.crypt_method) {
        return bdrv_co_pwrite_zeroes(bs->file, host, s->cluster_size, 0);
    }
    if (s->header.crypt_method != QCOW2_CRYPT_LUKS) {
        return -ENOTSUP; /* that depends on where the guest sees it */
    }
    zeroes = g_try_malloc0(s->cluster_size);
    if (!zeroes) {
        return -ENOMEM;
    }
    qemu_iovec_init_buf(&qiov, zeroes, s->cluster_size);
    return qcow2_co_write_data(bs, 0, host, s->cluster_size, &qiov, 0);
}

/* ---- data that moves ----------------------------------------------------------------------- */

/* Clusters that were read from @from and are to be written at @to, shared out among workers. */
typedef struct Moving {
    const Qcow2State *s;
    const Qcow2Place *from, *to;
    size_t n, next;
} Moving;

static int encrypt_anew(void *arg)
{
    Moving *m = arg;
    size_t i;

    while ((i = qatomic_fetch_inc(&m->next)) < m->n) {
        uint8_t *buf = m->to[i].buf;
        int ret = crypto_sectors_decrypt(m->s->sectors, m->from[i].offset / CRYPTO_SECTOR_SIZE,
                                         buf, m->s->cluster_size);

        if (ret >= 0) {
            ret = crypto_sectors_encrypt(m->s->sectors, m->to[i].offset / CRYPTO_SECTOR_SIZE,
                                         buf, m->s->cluster_size);
        }
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

int coroutine_fn qcow2_crypt_co_move(BlockDriverState *bs, const Qcow2Place *from,
                                     const Qcow2Place *to, size_t n)
{
    const Qcow2State *s = bs->opaque;
    Moving moving = { s, from, to, n, 0 };

    if (s->header.crypt_method != QCOW2_CRYPT_LUKS || n == 0) {
        return 0;
    }
    return s->sectors ? thread_pool_share_co(encrypt_anew, &moving, MIN(n, INT_MAX)) : -ENOTSUP;
}

/* ---- information, amend -------------------------------------------------------------------- */

ImageInfoSpecificQCow2Encryption *qcow2_crypt_info(const Qcow2State *s)
{
    ImageInfoSpecificQCow2Encryption *info;

    if (!s->header.crypt_method) {
        return NULL;
    }
    info = g_new0(ImageInfoSpecificQCow2Encryption, 1);
    info->format = BLOCKDEV_QCOW2_ENCRYPTION_FORMAT_AES;
    if (s->luks) {
        g_autofree QCryptoBlockInfoLUKS *luks = crypto_luks_info(s->luks);

        info->format = BLOCKDEV_QCOW2_ENCRYPTION_FORMAT_LUKS;
        info->u.luks = *luks; /* what it points to goes with it */
    }
    return info;
}

bool qcow2_crypt_can_amend(BlockDriverState *bs, Error **errp)
{
    const Qcow2State *s = bs->opaque;

    if (!s->header.crypt_method) {
        error_setg(errp, "Can't amend encryption options - encryption not present");
        return false;
    }
    if (!s->luks) {
        error_setg(errp, "Only LUKS encryption options can be amended");
        return false;
    }
    return true;
}

bool coroutine_fn qcow2_crypt_co_amend(BlockDriverState *bs,
                                       const QCryptoBlockAmendOptionsLUKS *o, bool force,
                                       Error **errp)
{
    Qcow2State *s = bs->opaque;
    LuksPlace place = luks_place(bs, &s->ext);

    return qcow2_crypt_can_amend(bs, errp) &&
           luks_volume_co_amend(&place, s->luks, s->key_secret, o, force, errp);
}

/* ---- creation ------------------------------------------------------------------------------ */

bool qcow2_crypt_check_create(const QCryptoBlockCreateOptions *o, Error **errp)
{
    LuksPlace place = { .prefix = PREFIX };
    bool is_luks = o->format == QCRYPTO_BLOCK_FORMAT_LUKS;
    g_autoptr(CryptoBytes) password =
        luks_volume_password(&place, is_luks ? o->u.luks.key_secret : o->u.qcow.key_secret, errp);
    g_autoptr(CryptoSectors) sectors = NULL;
    CryptoLuks luks;

    if (!password) {
        return false;
    }
    if (is_luks) {
        return crypto_luks_plan(&o->u.luks, false, &luks, errp);
    }
    sectors = aes_sectors(o->u.qcow.key_secret, errp); /* is it in this build? */
    return sectors;
}

/* Clusters for header and key slots, empty; nothing names them yet. */
static bool coroutine_fn co_make_room(BlockDriverState *bs, Qcow2Extensions *ext, Error **errp)
{
    Qcow2State *s = bs->opaque;
    uint64_t n;
    int64_t offset;
    int ret;

    ext->has_crypto = true;
    ext->crypto_len = crypto_luks_new_len(s->luks);
    n = qcow2_nb_clusters(s, ext->crypto_len);
    offset = qcow2_co_alloc_unlocked(bs, n);
    ext->crypto_offset = MAX(offset, 0);
    ret = offset < 0 ? offset
                     : bdrv_co_pwrite_zeroes(bs->file, offset, n << s->cluster_bits, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not make room for the encryption header");
    }
    return ret >= 0;
}

static bool coroutine_fn co_set_up_luks(BlockDriverState *bs, Qcow2Extensions *ext,
                                        const QCryptoBlockCreateOptionsLUKS *o, Error **errp)
{
    Qcow2State *s = bs->opaque;
    LuksPlace place;
    int ret;

    s->luks = g_new0(CryptoLuks, 1);
    if (!crypto_luks_plan(o, false, s->luks, errp) || !co_make_room(bs, ext, errp)) {
        return false;
    }
    place = luks_place(bs, ext);
    if (!luks_volume_co_format(&place, s->luks, o, &s->sectors, errp)) {
        return false;
    }
    ret = qcow2_co_write_back(bs); /* the counts of the clusters come before what names them */
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the metadata");
    }
    return ret >= 0;
}

bool coroutine_fn qcow2_crypt_co_set_up(BlockDriverState *bs, const QCryptoBlockCreateOptions *o,
                                        Error **errp)
{
    Qcow2State *s = bs->opaque;
    Qcow2Extensions ext = s->ext;
    Qcow2Header header;

    if (o->format == QCRYPTO_BLOCK_FORMAT_LUKS) {
        if (!co_set_up_luks(bs, &ext, &o->u.luks, errp)) {
            return false;
        }
    } else {
        s->sectors = aes_sectors(o->u.qcow.key_secret, errp);
        if (!s->sectors) {
            return false;
        }
    }
    CO_LOCK_GUARD(&s->lock);
    header = s->header;
    header.crypt_method = s->luks ? QCOW2_CRYPT_LUKS : QCOW2_CRYPT_AES;
    bs->encrypted = true;
    return qcow2_header_co_rewrite(bs, &header, &ext, bs->backing_file, errp) >= 0;
}
