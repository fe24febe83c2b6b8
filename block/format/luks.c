/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * luks: LUKS version 1.  A header with key slots, then the data, encrypted sector by sector; or the
 * header in a file of its own.
 *
 * The header is read once, when the node is opened or its file is another one, and changed by amend
 * only, which is frozen; so requests need no lock.
 */
#include "qemu/osdep.h"

#include "creation.h"
#include "luks-volume.h"
#include "sector-io.h"

typedef struct LuksState {
    BdrvChild *header_child; /* with a detached header, else NULL */
    CryptoLuks luks;
    CryptoSectors *sectors;  /* NULL: opened without I/O */
    int64_t payload;         /* where the data begins in the file */
    char *key_secret;
} LuksState;

static LuksPlace place_of(BlockDriverState *bs, const LuksState *s)
{
    return (LuksPlace){
        .child = s->header_child ? s->header_child : bs->file, .prefix = "",
    };
}

/* ---- open ---------------------------------------------------------------------------------- */

static bool check_detached(const LuksState *s, Error **errp)
{
    if (!s->header_child && s->payload == 0) {
        error_setg(errp, "The LUKS header is detached from its data: option 'header' is needed");
        return false;
    }
    if (s->header_child && s->payload != 0) {
        error_setg(errp, "The LUKS header in 'header' is not a detached one");
        return false;
    }
    return true;
}

static bool coroutine_fn co_check_length(BlockDriverState *bs, const LuksState *s, Error **errp)
{
    int64_t bytes = bdrv_co_getlength(bs->file->bs);

    if (bytes < 0) {
        error_setg_errno(errp, -bytes, "Could not get the length of the image file");
    } else if (bytes < s->payload) {
        error_setg(errp, "The LUKS payload begins behind the end of the file");
    }
    return bytes >= s->payload;
}

/* Header and key, into @s. */
static bool coroutine_fn co_read_volume(BlockDriverState *bs, LuksState *s, const char *key_secret,
                                        int flags, Error **errp)
{
    LuksPlace place = place_of(bs, s);

    if (!luks_volume_co_read(&place, &s->luks, errp)) {
        return false;
    }
    s->payload = (int64_t)s->luks.payload_sector * CRYPTO_SECTOR_SIZE;
    /* "info" takes a header without its data. */
    if ((!(flags & BDRV_O_NO_IO) && !check_detached(s, errp)) || !co_check_length(bs, s, errp)) {
        return false;
    }
    if (!(flags & BDRV_O_NO_IO)) {
        s->sectors = luks_volume_co_unlock(&place, &s->luks, key_secret, errp);
        if (!s->sectors) {
            return false;
        }
    }
    s->key_secret = g_strdup(key_secret);
    return true;
}

static bool coroutine_fn luks_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                      int flags, Error **errp)
{
    LuksState *s = bs->opaque;
    const BlockdevOptionsLUKS *o = options ? &options->u.luks : NULL;

    if (!bdrv_co_open_file_child(bs, o ? o->file : NULL, errp)) {
        return false;
    }
    if (o && o->header) {
        s->header_child = bdrv_co_open_child(bs, "header", BDRV_CHILD_METADATA, o->header, false,
                                             errp);
        if (!s->header_child) {
            return false;
        }
        bs->file->role &= ~BDRV_CHILD_METADATA;
    }
    if (!co_read_volume(bs, s, o ? o->key_secret : NULL, flags, errp)) {
        return false;
    }
    bs->encrypted = true;
    bs->supported_write_flags = BDRV_REQ_FUA & bs->file->bs->supported_write_flags;
    return true;
}

static void free_volume(LuksState *s)
{
    crypto_sectors_free(s->sectors);
    g_free(s->key_secret);
}

static void coroutine_fn luks_co_close(BlockDriverState *bs)
{
    free_volume(bs->opaque);
}

/* ---- reopen -------------------------------------------------------------------------------- */

/* Nothing to prepare: key and header stay as they are, but for those of another file. */
static bool coroutine_fn luks_co_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    return true;
}

static bool coroutine_fn luks_co_reopen_file(BdrvReopenState *state, Error **errp)
{
    BlockDriverState *bs = state->bs;
    LuksState *s = bs->opaque, *other = g_new0(LuksState, 1);

    state->opaque = other;
    return co_read_volume(bs, other, s->key_secret, bs->open_flags, errp);
}

static void luks_reopen_abort(BdrvReopenState *state)
{
    g_autofree LuksState *other = g_steal_pointer(&state->opaque);

    if (other) {
        free_volume(other);
    }
}

static void luks_reopen_commit(BdrvReopenState *state)
{
    LuksState *s = state->bs->opaque;

    if (state->opaque) {
        LuksState old = *s;

        *s = *(LuksState *)state->opaque;
        *(LuksState *)state->opaque = old;
        luks_reopen_abort(state);
    }
}

static void luks_refresh_limits(BlockDriverState *bs)
{
    bs->bl.request_alignment = MAX(bs->bl.request_alignment, CRYPTO_SECTOR_SIZE);
}

static int luks_probe(const uint8_t *buf, size_t len, const char *filename)
{
    return crypto_luks_probe(buf, len) ? 100 : 0;
}

/* ---- data ---------------------------------------------------------------------------------- */

static int coroutine_fn luks_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                       QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    const LuksState *s = bs->opaque;

    if (!s->sectors) {
        return -ENOTSUP;
    }
    return sector_io_co_read(s->sectors, bs->file, s->payload + offset,
                             offset / CRYPTO_SECTOR_SIZE, bytes, qiov, qiov_offset);
}

static int coroutine_fn luks_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    const LuksState *s = bs->opaque;

    if (!s->sectors) {
        return -ENOTSUP;
    }
    return sector_io_co_write(s->sectors, bs->file, s->payload + offset,
                              offset / CRYPTO_SECTOR_SIZE, bytes, qiov, qiov_offset, flags);
}

/* ---- size ---------------------------------------------------------------------------------- */

static int64_t coroutine_fn luks_co_getlength(BlockDriverState *bs)
{
    const LuksState *s = bs->opaque;
    int64_t bytes = bdrv_co_getlength(bs->file->bs);

    if (bytes < 0) {
        return bytes;
    }
    return bytes < s->payload ? -EINVAL : bytes - s->payload;
}

static int coroutine_fn luks_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                                         PreallocMode prealloc, unsigned flags, Error **errp)
{
    const LuksState *s = bs->opaque;

    if (offset > BDRV_MAX_LENGTH - s->payload) {
        error_setg(errp, "The requested file size is too large");
        return -EFBIG;
    }
    return bdrv_co_truncate(bs->file, offset + s->payload, exact, prealloc, 0, errp);
}

/* ---- information, amend -------------------------------------------------------------------- */

static int luks_get_info(BlockDriverState *bs, BlockDriverInfo *info)
{
    return bdrv_get_info(bs->file->bs, info);
}

static ImageInfoSpecific *luks_get_specific_info(BlockDriverState *bs, Error **errp)
{
    const LuksState *s = bs->opaque;
    ImageInfoSpecific *spec = g_new0(ImageInfoSpecific, 1);

    spec->type = IMAGE_INFO_SPECIFIC_KIND_LUKS;
    spec->u.luks.data = crypto_luks_info(&s->luks);
    return spec;
}

static QemuOptsList luks_amend_opts = {
    .name = "luks-amend-opts",
    .desc = (const QemuOptDesc[]){
        LUKS_AMEND_OPTIONS(""),
        { NULL, QEMU_OPT_STRING, NULL, NULL },
    },
};

static bool coroutine_fn luks_co_amend_options(BlockDriverState *bs, QemuOpts *opts, bool force,
                                               const BdrvAmendProgress *progress, Error **errp)
{
    LuksState *s = bs->opaque;
    QCryptoBlockAmendOptionsLUKS o;
    LuksPlace place = place_of(bs, bs->opaque);
    bool any;

    return luks_amend_options_read(opts, "", &any, &o, errp) &&
           (!any || luks_volume_co_amend(&place, &s->luks, s->key_secret, &o, force, errp));
}

static bool coroutine_fn luks_co_amend(BlockDriverState *bs, const BlockdevAmendOptions *options,
                                       bool force, Error **errp)
{
    LuksState *s = bs->opaque;
    LuksPlace place = place_of(bs, bs->opaque);

    return luks_volume_co_amend(&place, &s->luks, s->key_secret,
                                (const QCryptoBlockAmendOptionsLUKS *)&options->u.luks, force,
                                errp);
}

static BlockMeasureInfo *coroutine_fn luks_co_measure(QemuOpts *opts, BlockDriverState *in_bs,
                                                      Error **errp)
{
    QCryptoBlockCreateOptionsLUKS o;
    BlockMeasureInfo *info;
    CryptoLuks luks;
    int64_t bytes;

    if (!luks_create_options_read(opts, "", &o, errp) ||
        !crypto_luks_plan(&o, false, &luks, errp)) {
        return NULL;
    }
    bytes = in_bs ? bdrv_co_getlength(in_bs)
                  : (int64_t)MIN(qemu_opt_get_size(opts, "size", 0), INT64_MAX);
    if (bytes < 0) {
        error_setg_errno(errp, -bytes, "Cannot determine image size");
        return NULL;
    }
    if ((uint64_t)bytes > BDRV_MAX_LENGTH - crypto_luks_new_len(&luks)) {
        error_setg(errp, "The requested file size is too large");
        return NULL;
    }
    info = g_new0(BlockMeasureInfo, 1);
    info->required = QEMU_ALIGN_UP(bytes, BDRV_SECTOR_SIZE) + crypto_luks_new_len(&luks);
    info->fully_allocated = info->required;
    return info;
}

/* ---- creation ------------------------------------------------------------------------------ */

typedef struct LuksCreation {
    const QCryptoBlockCreateOptionsLUKS *options;
    CryptoLuks luks;
    BlockDriverState *file, *header; /* either may be NULL */
    int64_t size;
    PreallocMode prealloc;
} LuksCreation;

/* All that can be refused before anything is changed. */
static bool check_creation(LuksCreation *c, bool detached, Error **errp)
{
    LuksPlace place = { .prefix = "" };
    CryptoBytes *password = luks_volume_password(&place, c->options->key_secret, errp);

    crypto_bytes_free(password);
    if (!password || !crypto_luks_plan(c->options, detached, &c->luks, errp)) {
        return false;
    }
    if (c->size > BDRV_MAX_LENGTH - (int64_t)crypto_luks_new_len(&c->luks)) {
        error_setg(errp, "The requested file size is too large");
        return false;
    }
    return true;
}

/* Empty, so that nothing of what was there shines through, then @bytes long. */
static bool coroutine_fn co_set_length(BdrvChild *edge, int64_t bytes, PreallocMode prealloc,
                                       Error **errp)
{
    return bdrv_co_truncate(edge, 0, false, PREALLOC_MODE_OFF, 0, errp) >= 0 &&
           bdrv_co_truncate(edge, bytes, false, prealloc, 0, errp) >= 0;
}

static bool coroutine_fn co_create_on(LuksCreation *c, BdrvChild *file, BdrvChild *header,
                                      Error **errp)
{
    LuksPlace place = { .child = header ? header : file, .prefix = "" };
    int64_t header_len = crypto_luks_new_len(&c->luks);

    if (file && !co_set_length(file, c->size + (header ? 0 : header_len), c->prealloc, errp)) {
        return false;
    }
    if (header && !co_set_length(header, header_len, PREALLOC_MODE_OFF, errp)) {
        return false;
    }
    return luks_volume_co_format(&place, &c->luks, c->options, NULL, errp);
}

static bool coroutine_fn co_create_nodes(LuksCreation *c, Error **errp)
{
    BdrvChild *file = NULL, *header = NULL;
    BdrvGate gate;
    bool ok = true;

    creation_gate_init(&gate);
    if (c->file) {
        file = creation_co_use_node(&gate, c->file, errp);
        ok = file;
    }
    if (ok && c->header) {
        header = creation_co_use_node(&gate, c->header, errp);
        ok = header;
    }
    ok = ok && co_create_on(c, file, header, errp);
    if (header) {
        bdrv_co_detach_child(header);
    }
    if (file) {
        bdrv_co_detach_child(file);
    }
    bdrv_gate_done(&gate);
    return ok;
}

static bool coroutine_fn luks_co_create(const BlockdevCreateOptions *options, Error **errp)
{
    const BlockdevCreateOptionsLUKS *o = &options->u.luks;
    g_autoptr(BlockDriverState) file = NULL;
    g_autoptr(BlockDriverState) header = NULL;
    LuksCreation c = {
        .options = (const QCryptoBlockCreateOptionsLUKS *)o,
        .size = MIN(o->size, INT64_MAX),
        .prealloc = o->has_preallocation ? o->preallocation : PREALLOC_MODE_OFF,
    };

    if (!o->file && !o->header) {
        error_setg(errp, "Either the parameter 'header' or 'file' must be specified");
        return false;
    }
    if (o->size % BDRV_SECTOR_SIZE) {
        error_setg(errp, "Image size must be a multiple of %d bytes", (int)BDRV_SECTOR_SIZE);
        return false;
    }
    if (!check_creation(&c, o->header, errp)) {
        return false;
    }
    if (o->file) {
        file = creation_co_open_ref(o->file, errp);
        if (!file) {
            return false;
        }
    }
    if (o->header) {
        header = creation_co_open_ref(o->header, errp);
        if (!header) {
            return false;
        }
    }
    c.file = file;
    c.header = header;
    return co_create_nodes(&c, errp);
}

static QemuOptsList luks_create_opts = {
    .name = "luks-create-opts",
    .desc = (const QemuOptDesc[]){
        { "size", QEMU_OPT_SIZE, "Virtual disk size", NULL },
        LUKS_CREATE_OPTIONS("", "ID of the secret that provides the AES encryption key"),
        { "detached-header", QEMU_OPT_BOOL, "Create a detached LUKS header", NULL },
        { NULL, QEMU_OPT_STRING, NULL, NULL },
    },
};

static bool read_prealloc(const QemuOpts *opts, PreallocMode *mode, Error **errp)
{
    const char *word = qemu_opt_get(opts, "preallocation");

    for (int i = 0; word && i < PREALLOC_MODE__MAX; i++) {
        if (strcmp(word, PreallocMode_str(i)) == 0) {
            *mode = i;
            return true;
        }
    }
    if (word) {
        error_setg(errp, "Parameter 'preallocation' does not accept value '%s'", word);
    }
    return !word;
}

static bool coroutine_fn luks_co_create_opts(BlockDriver *drv, const char *filename,
                                             QemuOpts *opts, Error **errp)
{
    bool detached = qemu_opt_get_bool(opts, "detached-header", false);
    uint64_t size = qemu_opt_get_size(opts, "size", 0);
    QCryptoBlockCreateOptionsLUKS o;
    LuksCreation c = { .options = &o };
    g_autoptr(BlockDriverState) file = NULL;
    bool is_new;

    if (size > BDRV_MAX_LENGTH) {
        error_setg(errp, "The requested file size is too large");
        return false;
    }
    c.size = QEMU_ALIGN_UP((int64_t)size, BDRV_SECTOR_SIZE);
    if (!read_prealloc(opts, &c.prealloc, errp) ||
        !luks_create_options_read(opts, "", &o, errp) || !check_creation(&c, detached, errp)) {
        return false;
    }
    /* These mean the disk, not the file. */
    qemu_opt_unset(opts, "size");
    qemu_opt_unset(opts, "preallocation");
    file = creation_co_make_file(filename, opts, &is_new, errp);
    c.file = detached ? NULL : file;
    c.header = detached ? file : NULL;
    if (!file || !co_create_nodes(&c, errp)) {
        creation_co_take_back(file, is_new);
        return false;
    }
    return true;
}

/* ---- the table ----------------------------------------------------------------------------- */

static const char *const strong_opts[] = { "key-secret", "header", NULL };

BlockDriver bdrv_luks = {
    .format_name = "luks",
    .instance_size = sizeof(LuksState),
    .options_type = BLOCKDEV_DRIVER_LUKS,
    .strong_runtime_opts = strong_opts,
    .new_is_undefined = true,
    .has_variable_length = true, /* that of the file, less the header */
    .create_opts = &luks_create_opts,
    .amend_opts = &luks_amend_opts,

    .bdrv_probe = luks_probe,
    .bdrv_co_open = luks_co_open,
    .bdrv_co_close = luks_co_close,
    .bdrv_co_reopen_prepare = luks_co_reopen_prepare,
    .bdrv_reopen_commit = luks_reopen_commit,
    .bdrv_reopen_abort = luks_reopen_abort,
    .bdrv_co_reopen_file = luks_co_reopen_file,
    .bdrv_refresh_limits = luks_refresh_limits,

    .bdrv_co_preadv = luks_co_preadv,
    .bdrv_co_pwritev = luks_co_pwritev,
    .bdrv_co_truncate = luks_co_truncate,
    .bdrv_co_getlength = luks_co_getlength,

    .bdrv_co_create = luks_co_create,
    .bdrv_co_create_opts = luks_co_create_opts,
    .bdrv_co_measure = luks_co_measure,
    .bdrv_co_amend = luks_co_amend,
    .bdrv_co_amend_options = luks_co_amend_options,
    .bdrv_get_info = luks_get_info,
    .bdrv_get_specific_info = luks_get_specific_info,
};
