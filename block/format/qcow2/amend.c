/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * amend: what is wanted, whether it can be, and in which order it is done.  Each step leaves a good
 * image, so that a failure or a crash between steps only leaves some of them undone.
 */
#include "qemu/osdep.h"

#include "../luks-volume.h"
#include "amend.h"
#include "block/freeze.h"

/* Where the flags of compatible features are. */
#define HDR_COMPAT 80

QemuOptsList qcow2_amend_opts = {
    .name = "qcow2-amend-opts",
    .desc = (const QemuOptDesc[]){
        LUKS_AMEND_OPTIONS("encrypt."),
        QCOW2_COMMON_OPTIONS(NULL, NULL),
        { NULL, QEMU_OPT_STRING, NULL, NULL },
    },
};

/* What the image shall be. */
typedef struct Wish {
    uint32_t version;
    unsigned refcount_order;
    bool lazy_refcounts, data_file_raw;
    uint64_t size;
    const char *data_file; /* NULL: as it is; "": the image names none */
    bool has_encrypt;      /* change key slots */
    QCryptoBlockAmendOptionsLUKS encrypt;
} Wish;

/* ---- what is wanted ------------------------------------------------------------------------ */

static bool read_version(const QemuOpts *opts, Wish *wish, Error **errp)
{
    const char *compat = qemu_opt_get(opts, "compat");

    if (!compat) {
        return true;
    }
    if (strcmp(compat, "0.10") == 0 || strcmp(compat, "v2") == 0) {
        wish->version = 2;
    } else if (strcmp(compat, "1.1") == 0 || strcmp(compat, "v3") == 0) {
        wish->version = 3;
    } else {
        error_setg(errp, "Unknown compatibility level %s", compat);
        return false;
    }
    return true;
}

static bool read_numbers(QemuOpts *opts, Wish *wish, Error **errp)
{
    uint64_t bits = qemu_opt_get_number(opts, "refcount_bits", 1U << wish->refcount_order);

    if (bits == 0 || bits > 64 || !is_power_of_2(bits)) {
        error_setg(errp, "Refcount width must be a power of two and may not exceed 64 bits");
        return false;
    }
    wish->refcount_order = ctz64(bits);
    wish->lazy_refcounts = qemu_opt_get_bool(opts, "lazy_refcounts", wish->lazy_refcounts);
    wish->data_file_raw = qemu_opt_get_bool(opts, "data_file_raw", wish->data_file_raw);
    wish->size = qemu_opt_get_size(opts, "size", wish->size);
    return true;
}

/* Properties that stay as they are, or cannot come, may be said to be as they are. */
static bool check_fixed(BlockDriverState *bs, const QemuOpts *opts, const Wish *wish, Error **errp)
{
    const Qcow2State *s = bs->opaque;
    const char *backing_file = qemu_opt_get(opts, "backing_file");
    const char *backing_fmt = qemu_opt_get(opts, "backing_fmt");
    bool has_data_file = s->header.incompatible & QCOW2_INCOMPAT_DATA_FILE;

    if ((backing_file && strcmp(backing_file, bs->backing_file) != 0) ||
        (backing_fmt && strcmp(backing_fmt, bs->backing_format) != 0)) {
        error_setg(errp, "Cannot amend the backing file");
        error_append_hint(errp, "You can use 'qemu-img rebase' instead.\n");
        return false;
    }
    if (qemu_opt_get(opts, "data_file") && !has_data_file) {
        error_setg(errp, "data-file can only be set for images that use an external data file");
        return false;
    }
    if (wish->data_file_raw && !(s->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW)) {
        error_setg(errp, "data-file-raw cannot be set on existing images");
        return false;
    }
    return true;
}

static bool read_encryption(BlockDriverState *bs, const QemuOpts *opts, Wish *wish, Error **errp)
{
    Error *local_err = NULL;

    luks_amend_options_read(opts, "encrypt.", &wish->has_encrypt, &wish->encrypt, &local_err);
    if (wish->has_encrypt && !qcow2_crypt_can_amend(bs, errp)) {
        error_free(local_err); /* what is wrong with options that cannot be used anyway */
        return false;
    }
    error_propagate(errp, local_err);
    return !local_err;
}

static bool check_wish(const Wish *wish, Error **errp)
{
    if (wish->version < 3 && wish->refcount_order != 4) {
        error_setg(errp, "Refcount widths other than 16 bits require compatibility level 1.1 or "
                   "above (use compat=1.1 or greater)");
        return false;
    }
    if (wish->version < 3 && wish->lazy_refcounts) {
        error_setg(errp, "Lazy refcounts only supported with compatibility level 1.1 and above "
                   "(use compat=1.1 or greater)");
        return false;
    }
    if (!QEMU_IS_ALIGNED(wish->size, BDRV_SECTOR_SIZE)) {
        error_setg(errp, "The new size must be a multiple of %d", (int)BDRV_SECTOR_SIZE);
        return false;
    }
    return true;
}

static bool read_wish(BlockDriverState *bs, QemuOpts *opts, Wish *wish, Error **errp)
{
    const Qcow2State *s = bs->opaque;

    *wish = (Wish){
        .version = s->header.version,
        .refcount_order = s->header.refcount_order,
        .lazy_refcounts = s->header.compatible & QCOW2_COMPAT_LAZY_REFCOUNTS,
        .data_file_raw = s->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW,
        .size = s->header.size,
        .data_file = qemu_opt_get(opts, "data_file"),
    };
    if (!read_version(opts, wish, errp)) {
        return false;
    }
    if (wish->version < 3 && s->header.refcount_order != 4 &&
        !qemu_opt_get(opts, "refcount_bits")) {
        error_setg(errp, "compat=0.10 requires refcount_bits=16");
        return false;
    }
    if (wish->version < 3 && !qemu_opt_get(opts, "lazy_refcounts")) {
        wish->lazy_refcounts = false;
    }
    return read_numbers(opts, wish, errp) && check_fixed(bs, opts, wish, errp) &&
           read_encryption(bs, opts, wish, errp) && check_wish(wish, errp);
}

/* ---- doing it ------------------------------------------------------------------------------ */

/* Set or clear one of the flags in the field of the header at @at, which is *@field in memory. */
static bool coroutine_fn co_set_flag(BlockDriverState *bs, int64_t at, uint64_t *field,
                                     uint64_t flag, bool is_set, Error **errp)
{
    Qcow2State *s = bs->opaque;
    uint64_t bits = is_set ? *field | flag : *field & ~flag;
    uint64_t be = cpu_to_be64(bits);
    int ret;

    if (bits == *field) {
        return true;
    }
    CO_LOCK_GUARD(&s->lock);
    ret = qcow2_header_co_patch(bs, at, &be, sizeof(be));
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not update the image header");
        return false;
    }
    *field = bits;
    return true;
}

static bool coroutine_fn co_set_flags(BlockDriverState *bs, const Wish *wish, Error **errp)
{
    Qcow2Header *header = &((Qcow2State *)bs->opaque)->header;

    return co_set_flag(bs, HDR_COMPAT, &header->compatible, QCOW2_COMPAT_LAZY_REFCOUNTS,
                       wish->lazy_refcounts, errp) &&
           co_set_flag(bs, QCOW2_HDR_AUTOCLEAR, &header->autoclear, QCOW2_AUTOCLEAR_DATA_FILE_RAW,
                       wish->data_file_raw, errp);
}

/* Only the name in the image: the file that is open stays so until it is opened again. */
static bool coroutine_fn co_set_data_file(BlockDriverState *bs, const char *name, Error **errp)
{
    Qcow2State *s = bs->opaque;
    Qcow2Extensions ext = s->ext;
    char *old = s->ext.data_file;

    if (!name || g_strcmp0(name, old ? old : "") == 0) {
        return true;
    }
    ext.data_file = *name ? g_strdup(name) : NULL;
    CO_LOCK_GUARD(&s->lock);
    if (qcow2_header_co_rewrite(bs, &s->header, &ext, bs->backing_file, errp) < 0) {
        g_free(ext.data_file);
        return false;
    }
    g_free(old);
    return true;
}

static bool coroutine_fn co_set_size(BlockDriverState *bs, uint64_t size, Error **errp)
{
    const Qcow2State *s = bs->opaque;

    return size == s->header.size || bdrv_co_truncate_frozen(bs, size, errp) >= 0;
}

bool coroutine_fn qcow2_co_amend_options(BlockDriverState *bs, QemuOpts *opts, bool force,
                                         const BdrvAmendProgress *progress, Error **errp)
{
    Qcow2State *s = bs->opaque;
    Wish wish;
    int ret;

    if (!read_wish(bs, opts, &wish, errp) ||
        (wish.version < s->header.version &&
         !qcow2_amend_check_downgrade(bs, wish.size, force, errp))) {
        return false;
    }
    ret = qcow2_co_before_change(bs);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Image cannot be changed");
        return false;
    }
    if (wish.has_encrypt && !qcow2_crypt_co_amend(bs, &wish.encrypt, force, errp)) {
        return false;
    }
    if (wish.version > s->header.version && !qcow2_amend_co_upgrade(bs, errp)) {
        return false;
    }
    if (wish.refcount_order != s->header.refcount_order &&
        !qcow2_amend_co_refcount_width(bs, wish.refcount_order, progress, errp)) {
        return false;
    }
    if (!co_set_data_file(bs, wish.data_file, errp) ||
        !co_set_flags(bs, &wish, errp) || !co_set_size(bs, wish.size, errp)) {
        return false;
    }
    return wish.version >= s->header.version ||
           qcow2_amend_co_downgrade(bs, progress, errp);
}

bool coroutine_fn qcow2_co_amend(BlockDriverState *bs, const BlockdevAmendOptions *options,
                                 bool force, Error **errp)
{
    const Qcow2State *s = bs->opaque;
    const QCryptoBlockAmendOptions *o = options->u.qcow2.encrypt;

    if (!o) {
        return true;
    }
    if (!s->header.crypt_method) {
        error_setg(errp, "image is not encrypted, can't amend");
        return false;
    }
    if (o->format != QCRYPTO_BLOCK_FORMAT_LUKS) {
        error_setg(errp, "Amend can't be used to change the qcow2 encryption format");
        return false;
    }
    return qcow2_crypt_co_amend(bs, &o->u.luks, force, errp);
}
