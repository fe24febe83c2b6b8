/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Key slots change so that at every instant a password that shall open the image does: key material
 * is on stable storage before the header that names it, and a slot is out of the header before its
 * material is overwritten.
 */
#include "qemu/osdep.h"

#include "block/thread-pool.h"
#include "luks-volume.h"

#define ERASE_PASSES 40

/* ---- reading and writing ------------------------------------------------------------------- */

static bool coroutine_fn co_read_at(const LuksPlace *place, uint64_t offset, void *buf, size_t len,
                                    Error **errp)
{
    int ret = -EINVAL;

    if (!place->len || (offset <= place->len && len <= place->len - offset)) {
        ret = bdrv_co_pread(place->child, place->offset + offset, len, buf, 0);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Unable to read encryption header");
        return false;
    }
    return true;
}

static bool coroutine_fn co_write_at(const LuksPlace *place, uint64_t offset, const void *buf,
                                     size_t len, Error **errp)
{
    int ret = -EINVAL;

    if (!place->len || (offset <= place->len && len <= place->len - offset)) {
        ret = bdrv_co_pwrite(place->child, place->offset + offset, len, buf, 0);
    }
    if (ret >= 0) {
        ret = bdrv_co_flush(place->child->bs);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Unable to write encryption header");
        return false;
    }
    return true;
}

static uint64_t slot_offset(const CryptoLuks *luks, unsigned index)
{
    return (uint64_t)luks->slots[index].key_sector * CRYPTO_SECTOR_SIZE;
}

static bool coroutine_fn co_write_header(const LuksPlace *place, const CryptoLuks *luks,
                                         Error **errp)
{
    uint8_t buf[CRYPTO_LUKS_HEADER_LEN];

    crypto_luks_build(luks, buf);
    return co_write_at(place, 0, buf, sizeof(buf), errp);
}

bool coroutine_fn luks_volume_co_read(const LuksPlace *place, CryptoLuks *luks, Error **errp)
{
    uint8_t buf[CRYPTO_LUKS_HEADER_LEN];
    int64_t file_len = bdrv_co_getlength(place->child->bs);
    uint64_t end = 0;

    if (file_len >= 0 && file_len < (int64_t)sizeof(buf)) {
        error_setg(errp, "The file is too short for a LUKS header");
        return false;
    }
    if (!co_read_at(place, 0, buf, sizeof(buf), errp) || !crypto_luks_parse(buf, luks, errp)) {
        return false;
    }
    for (unsigned i = 0; i < CRYPTO_LUKS_SLOTS; i++) {
        end = MAX(end, slot_offset(luks, i) + crypto_luks_material_len(luks));
    }
    if (place->len && end > place->len) {
        error_setg(errp, "The LUKS key slots lie past the end of the encryption header");
        return false;
    }
    return true;
}

/* ---- passwords ----------------------------------------------------------------------------- */

CryptoBytes *luks_volume_password(const LuksPlace *place, const char *id, Error **errp)
{
    if (!id) {
        error_setg(errp, "Parameter '%skey-secret' is required for cipher", place->prefix);
        return NULL;
    }
    return crypto_secret_lookup_utf8(id, errp);
}

/* A password that is tried on slots, one after the other, in workers. */
typedef struct Trial {
    const LuksPlace *place;
    const CryptoLuks *luks;
    const CryptoBytes *password;
    int64_t left_ms; /* of the time that it may take */
    /* The slot being tried: */
    unsigned index;
    uint8_t *material;
    CryptoBytes *key;
    Error *err;
} Trial;

static int run_trial(void *arg)
{
    Trial *t = arg;

    return crypto_luks_take_time(t->luks, t->index, &t->left_ms, &t->err)
               ? crypto_luks_open_slot(t->luks, t->index, t->password, t->material, &t->key,
                                       &t->err)
               : -1;
}

static bool begin_trial(Trial *t, const LuksPlace *place, const CryptoLuks *luks,
                        const CryptoBytes *password, Error **errp)
{
    *t = (Trial){ .place = place, .luks = luks, .password = password };
    return crypto_luks_time_limit(&t->left_ms, errp);
}

/* Does the password open slot @index, which must be active?  As crypto_luks_open_slot(). */
static int coroutine_fn co_try_slot(Trial *t, unsigned index, CryptoBytes **key, Error **errp)
{
    size_t len = crypto_luks_material_len(t->luks);
    int ret = -1;

    *key = NULL;
    if (!t->luks->slots[index].active) {
        return 0;
    }
    t->index = index;
    t->material = g_try_malloc(len);
    if (!t->material) {
        error_setg_errno(errp, ENOMEM, "Unable to read encryption header");
        return -1;
    }
    if (co_read_at(t->place, slot_offset(t->luks, index), t->material, len, errp)) {
        ret = thread_pool_submit_co(run_trial, t);
        error_propagate(errp, g_steal_pointer(&t->err));
        *key = g_steal_pointer(&t->key);
    }
    crypto_free(t->material, len);
    return ret;
}

/* The master key, from the first slot that @password opens. */
static CryptoBytes *coroutine_fn co_find_key(const LuksPlace *place, const CryptoLuks *luks,
                                             const CryptoBytes *password, Error **errp)
{
    Trial trial;

    if (!begin_trial(&trial, place, luks, password, errp)) {
        return NULL;
    }
    for (unsigned i = 0; i < CRYPTO_LUKS_SLOTS; i++) {
        CryptoBytes *key;
        int ret = co_try_slot(&trial, i, &key, errp);

        if (ret != 0) {
            return ret > 0 ? key : NULL;
        }
    }
    error_setg(errp, "Invalid password, cannot unlock any keyslot");
    return NULL;
}

CryptoSectors *coroutine_fn luks_volume_co_unlock(const LuksPlace *place, const CryptoLuks *luks,
                                                  const char *id, Error **errp)
{
    g_autoptr(CryptoBytes) password = luks_volume_password(place, id, errp);
    g_autoptr(CryptoBytes) key = NULL;

    if (password) {
        key = co_find_key(place, luks, password, errp);
    }
    return key ? crypto_sectors_new(&luks->spec, key->data, key->len, errp) : NULL;
}

/* ---- making -------------------------------------------------------------------------------- */

/* Keys made in a worker. */
typedef struct Making {
    CryptoLuks *luks;
    unsigned index;
    CryptoBytes *key; /* NULL: to be made, too */
    const CryptoBytes *password;
    uint64_t iter_time;
    uint8_t *material;
    Error *err;
} Making;

static int run_making(void *arg)
{
    Making *m = arg;

    if (!m->key) {
        m->key = crypto_luks_make_key(m->luks, m->iter_time, &m->err);
    }
    return m->key && crypto_luks_fill_slot(m->luks, m->index, m->key, m->password, m->iter_time,
                                           m->material, &m->err) ? 0 : -EINVAL;
}

/* Fill slot @index of *@luks and write it, then the header.  *@key is made if it is NULL. */
static bool coroutine_fn co_make_slot(const LuksPlace *place, CryptoLuks *luks, unsigned index,
                                      CryptoBytes **key, const CryptoBytes *password,
                                      uint64_t iter_time, Error **errp)
{
    CryptoLuks new_luks = *luks;
    size_t len = crypto_luks_material_len(luks);
    Making m = { &new_luks, index, *key, password, iter_time, g_malloc(len), NULL };
    bool ok = thread_pool_submit_co(run_making, &m) >= 0;

    error_propagate(errp, m.err);
    ok = ok && co_write_at(place, slot_offset(luks, index), m.material, len, errp) &&
         co_write_header(place, &new_luks, errp);
    if (ok) {
        *luks = new_luks;
    }
    *key = m.key;
    crypto_free(m.material, len);
    return ok;
}

static bool read_iter_time(bool has, int64_t value, uint64_t *iter_time, Error **errp)
{
    int64_t limit;

    *iter_time = has ? value : CRYPTO_LUKS_DEFAULT_ITER_TIME;
    if (!has) {
        return true;
    }
    if (value < 0) {
        error_setg(errp, "iter-time must not be negative");
        return false;
    }
    if (!crypto_luks_time_limit(&limit, errp)) {
        return false;
    }
    if (value > limit / 2) { /* nobody could open it, at least on a machine half as fast */
        error_setg(errp, "iter-time is more than %" PRId64 " milliseconds, half of what opening "
                   "may take", limit / 2);
        return false;
    }
    return true;
}

bool coroutine_fn luks_volume_co_format(const LuksPlace *place, CryptoLuks *luks,
                                        const QCryptoBlockCreateOptionsLUKS *o,
                                        CryptoSectors **sectors, Error **errp)
{
    g_autoptr(CryptoBytes) password = luks_volume_password(place, o->key_secret, errp);
    g_autoptr(CryptoBytes) key = NULL;
    uint64_t iter_time;

    if (!password || !read_iter_time(o->has_iter_time, o->iter_time, &iter_time, errp) ||
        !co_make_slot(place, luks, 0, &key, password, iter_time, errp)) {
        return false;
    }
    if (sectors) {
        *sectors = crypto_sectors_new(&luks->spec, key->data, key->len, errp);
    }
    return !sectors || *sectors;
}

/* ---- erasing ------------------------------------------------------------------------------- */

/* Out of the header first, so that a crash leaves no slot that is neither. */
static bool coroutine_fn co_erase_slot(const LuksPlace *place, CryptoLuks *luks, unsigned index,
                                       Error **errp)
{
    size_t len = crypto_luks_material_len(luks);
    g_autofree uint8_t *noise = g_malloc(len);
    CryptoLuks new_luks = *luks;

    crypto_luks_clear_slot(&new_luks, index);
    if (!co_write_header(place, &new_luks, errp)) {
        return false;
    }
    *luks = new_luks;
    for (int i = 0; i < ERASE_PASSES; i++) {
        if (!crypto_random(noise, len, errp) ||
            !co_write_at(place, slot_offset(luks, index), noise, len, errp)) {
            return false;
        }
    }
    return true;
}

/* ---- amend: a new password ----------------------------------------------------------------- */

static int find_free_slot(const CryptoLuks *luks)
{
    for (int i = 0; i < CRYPTO_LUKS_SLOTS; i++) {
        if (!luks->slots[i].active) {
            return i;
        }
    }
    return -1;
}

/* The slot that is to be filled, or -1. */
static int choose_slot(const CryptoLuks *luks, const QCryptoBlockAmendOptionsLUKS *o, bool force,
                       Error **errp)
{
    int index;

    if (o->has_keyslot) {
        if (luks->slots[o->keyslot].active && !force) {
            error_setg(errp, "Refusing to overwrite active keyslot %" PRId64
                       " - please erase it first", o->keyslot);
            return -1;
        }
        return o->keyslot;
    }
    index = find_free_slot(luks);
    if (index < 0) {
        error_setg(errp, "Can't add a keyslot - all keyslots are in use");
    }
    return index;
}

/*
 * Put the password into slot @index.  If that holds one, which may be the last, the new one is in a
 * free slot meanwhile; if there is none, other passwords are left.
 */
static bool coroutine_fn co_put_password(const LuksPlace *place, CryptoLuks *luks, unsigned index,
                                         CryptoBytes *key, const CryptoBytes *password,
                                         uint64_t iter_time, Error **errp)
{
    int spare = luks->slots[index].active ? find_free_slot(luks) : -1;

    if (spare >= 0 && !co_make_slot(place, luks, spare, &key, password, iter_time, errp)) {
        return false;
    }
    if (luks->slots[index].active && !co_erase_slot(place, luks, index, errp)) {
        return false;
    }
    return co_make_slot(place, luks, index, &key, password, iter_time, errp) &&
           (spare < 0 || co_erase_slot(place, luks, spare, errp));
}

static bool coroutine_fn co_activate(const LuksPlace *place, CryptoLuks *luks, const char *id,
                                     const QCryptoBlockAmendOptionsLUKS *o, bool force,
                                     Error **errp)
{
    g_autoptr(CryptoBytes) old_password = NULL, new_password = NULL, key = NULL;
    uint64_t iter_time;
    int index;

    if (!o->new_secret) {
        error_setg(errp, "'new-secret' is required to activate a keyslot");
        return false;
    }
    if (o->old_secret) {
        error_setg(errp, "'old-secret' must not be given when activating keyslots");
        return false;
    }
    index = choose_slot(luks, o, force, errp);
    if (index < 0 || !read_iter_time(o->has_iter_time, o->iter_time, &iter_time, errp)) {
        return false;
    }
    old_password = luks_volume_password(place, o->secret ? o->secret : id, errp);
    new_password = old_password ? crypto_secret_lookup_utf8(o->new_secret, errp) : NULL;
    if (!new_password) {
        return false;
    }
    key = co_find_key(place, luks, old_password, errp);
    return key && co_put_password(place, luks, index, key, new_password, iter_time, errp);
}

/* ---- amend: no password any more ----------------------------------------------------------- */

/* The slots, as bits, that @password opens; 0 with @errp set. */
static unsigned coroutine_fn co_matching_slots(const LuksPlace *place, const CryptoLuks *luks,
                                               const CryptoBytes *password, Error **errp)
{
    unsigned found = 0;
    Trial trial;

    if (!begin_trial(&trial, place, luks, password, errp)) {
        return 0;
    }
    for (unsigned i = 0; i < CRYPTO_LUKS_SLOTS; i++) {
        CryptoBytes *key;
        int ret = co_try_slot(&trial, i, &key, errp);

        crypto_bytes_free(key);
        if (ret < 0) {
            return 0;
        }
        found |= ret > 0 ? 1U << i : 0;
    }
    if (!found) {
        error_setg(errp, "No keyslots match given (old) password for erase operation");
    }
    return found;
}

/* One slot by its number, which may have to be opened by a password, too. */
static unsigned coroutine_fn co_slot_to_erase(const LuksPlace *place, const CryptoLuks *luks,
                                              const QCryptoBlockAmendOptionsLUKS *o,
                                              const CryptoBytes *old_password, bool force,
                                              Error **errp)
{
    if (old_password) {
        CryptoBytes *key;
        Trial trial;
        int ret = begin_trial(&trial, place, luks, old_password, errp)
                      ? co_try_slot(&trial, o->keyslot, &key, errp) : -1;

        if (ret == 0) {
            error_setg(errp, "Given keyslot %" PRId64 " doesn't contain the given old password for "
                       "erase operation", o->keyslot);
        }
        if (ret <= 0) {
            return 0;
        }
        crypto_bytes_free(key);
    }
    if (!force && !luks->slots[o->keyslot].active) {
        error_setg(errp, "Given keyslot %" PRId64 " is already erased (inactive) ", o->keyslot);
        return 0;
    }
    if (!force && crypto_luks_nb_active(luks) == 1) {
        error_setg(errp, "Attempt to erase the only active keyslot %" PRId64 " which will erase "
                   "all the data in the image irreversibly - refusing operation", o->keyslot);
        return 0;
    }
    return 1U << o->keyslot;
}

static unsigned coroutine_fn co_slots_to_erase(const LuksPlace *place, const CryptoLuks *luks,
                                               const QCryptoBlockAmendOptionsLUKS *o, bool force,
                                               Error **errp)
{
    g_autoptr(CryptoBytes) old_password = NULL;
    unsigned slots;

    if (o->old_secret) {
        old_password = crypto_secret_lookup_utf8(o->old_secret, errp);
        if (!old_password) {
            return 0;
        }
    }
    if (o->has_keyslot) {
        return co_slot_to_erase(place, luks, o, old_password, force, errp);
    }
    if (!old_password) {
        error_setg(errp, "To erase keyslot(s), either explicit keyslot index or the password "
                   "currently contained in them must be given");
        return 0;
    }
    slots = co_matching_slots(place, luks, old_password, errp);
    if (slots && !force && ctpop32(slots) == (int)crypto_luks_nb_active(luks)) {
        error_setg(errp, "All the active keyslots match the (old) password that was given and "
                   "erasing them will erase all the data in the image irreversibly - refusing "
                   "operation");
        return 0;
    }
    return slots;
}

static bool coroutine_fn co_deactivate(const LuksPlace *place, CryptoLuks *luks,
                                       const QCryptoBlockAmendOptionsLUKS *o, bool force,
                                       Error **errp)
{
    unsigned slots;

    if (o->new_secret) {
        error_setg(errp, "'new-secret' must not be given when erasing keyslots");
        return false;
    }
    if (o->has_iter_time) {
        error_setg(errp, "'iter-time' must not be given when erasing keyslots");
        return false;
    }
    slots = co_slots_to_erase(place, luks, o, force, errp);
    if (!slots) {
        return false;
    }
    for (unsigned i = 0; i < CRYPTO_LUKS_SLOTS; i++) {
        if ((slots >> i & 1) && !co_erase_slot(place, luks, i, errp)) {
            return false;
        }
    }
    return true;
}

bool coroutine_fn luks_volume_co_amend(const LuksPlace *place, CryptoLuks *luks, const char *id,
                                       const QCryptoBlockAmendOptionsLUKS *o, bool force,
                                       Error **errp)
{
    if (o->has_keyslot && (o->keyslot < 0 || o->keyslot >= CRYPTO_LUKS_SLOTS)) {
        error_setg(errp, "Invalid keyslot %" PRId64 " specified, must be between 0 and %d",
                   o->keyslot, CRYPTO_LUKS_SLOTS - 1);
        return false;
    }
    return o->state == QCRYPTO_BLOCK_LUKS_KEYSLOT_STATE_ACTIVE
               ? co_activate(place, luks, id, o, force, errp)
               : co_deactivate(place, luks, o, force, errp);
}
