/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * raw: the node below as it is, or a window of it (offset, size).  There is no header.
 *
 * Raw is also what is guessed when no format is recognised.  A guest could then write a format's
 * signature to the start of its disk and be given, at the next start, whatever host file that
 * "image" names as its backing file; so a guessed raw node refuses such writes.
 */
#include "qemu/osdep.h"

#include "block/block_int.h"

typedef struct RawState {
    /* Fixed after open, but for reopen, which is frozen. */
    int64_t offset; /* where the window begins */
    int64_t size;   /* its length in bytes, if has_size */
    bool has_size;
} RawState;

/* ---- the window ------------------------------------------------------------------------------ */

/* A request of the node to one of its file; 0 or negative errno. */
static int raw_map_range(const RawState *s, int64_t *offset, int64_t bytes, bool is_write)
{
    if (s->has_size && (*offset > s->size || bytes > s->size - *offset)) {
        return is_write ? -ENOSPC : -EINVAL;
    }
    if (*offset > BDRV_MAX_LENGTH - s->offset) {
        return -EINVAL;
    }
    *offset += s->offset;
    return 0;
}

static bool coroutine_fn raw_co_set_window(RawState *s, const BlockdevOptionsRaw *opts,
                                           BdrvChild *file, Error **errp)
{
    int64_t offset = opts->has_offset ? opts->offset : 0;
    int64_t file_bytes = bdrv_co_getlength(file->bs);
    if (file_bytes < 0 && file_bytes != -ENOMEDIUM) {
        error_setg_errno(errp, -file_bytes, "Could not get image size");
        return false;
    }
    if (offset < 0 || (opts->has_size && opts->size < 0)) {
        error_setg(errp, "Parameter '%s' expects a non-negative number below 2^64",
                   offset < 0 ? "offset" : "size");
        return false;
    }
    if (file_bytes >= 0 && offset > file_bytes) {
        error_setg(errp, "Offset (%" PRId64 ") cannot be greater than size of the containing file "
                   "(%" PRId64 ")", offset, file_bytes);
        return false;
    }
    if (file_bytes >= 0 && opts->has_size && opts->size > file_bytes - offset) {
        error_setg(errp, "The sum of offset (%" PRId64 ") and size (%" PRId64 ") has to be smaller "
                   "or equal to the  actual size of the containing file (%" PRId64 ")", offset,
                   opts->size, file_bytes);
        return false;
    }
    if (opts->has_size && opts->size % BDRV_SECTOR_SIZE) {
        error_setg(errp, "Specified size is not multiple of %" PRId64, BDRV_SECTOR_SIZE);
        return false;
    }
    *s = (RawState) { .offset = offset, .size = opts->size, .has_size = opts->has_size };
    return true;
}

/* ---- open, reopen ---------------------------------------------------------------------------- */

static void warn_of_guess(BlockDriverState *bs)
{
    error_printf("WARNING: Image format was not specified for '%s' and probing guessed raw.\n"
                 "         Automatically detecting the format is dangerous for raw images, write "
                 "operations on block 0 will be restricted.\n"
                 "         Specify the 'raw' format explicitly to remove the restrictions.\n",
                 bdrv_get_filename(bs->file->bs));
}

static bool coroutine_fn raw_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                     int flags, Error **errp)
{
    const BlockdevOptionsRaw *opts = &options->u.raw;
    bool has_window = (opts->has_offset && opts->offset) || opts->has_size;
    BdrvChildRole role = BDRV_CHILD_PRIMARY |
                         (has_window ? BDRV_CHILD_DATA : BDRV_CHILD_FILTERED);
    if (!bdrv_co_open_child(bs, "file", role, opts->file, false, errp) ||
        !raw_co_set_window(bs->opaque, opts, bs->file, errp)) {
        return false;
    }
    BlockDriverState *file = bs->file->bs;
    bs->sg = file->sg;
    bs->supported_read_flags = file->supported_read_flags;
    bs->supported_write_flags = BDRV_REQ_FUA & file->supported_write_flags;
    bs->supported_zero_flags = (BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK) &
                               file->supported_zero_flags;
    bs->supported_truncate_flags = file->supported_truncate_flags & BDRV_REQ_ZERO_WRITE;
    if (bs->probed && !bs->read_only) {
        warn_of_guess(bs);
    }
    return true;
}

static bool coroutine_fn raw_co_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    g_autofree RawState *new_state = g_new0(RawState, 1);
    if (!raw_co_set_window(new_state, &state->options->u.raw, state->bs->file, errp)) {
        return false;
    }
    state->opaque = g_steal_pointer(&new_state);
    return true;
}

static void raw_reopen_commit(BdrvReopenState *state)
{
    *(RawState *)state->bs->opaque = *(RawState *)state->opaque;
    g_free(state->opaque);
}

static void raw_reopen_abort(BdrvReopenState *state)
{
    g_free(state->opaque);
}

/* As a filter; but what shows a window cannot bear that others move the end. */
static BdrvChildClaims raw_child_claims(BlockDriverState *bs, const BdrvChild *child,
                                        BdrvChildRole role, BlockRights parent_uses,
                                        BlockRights parent_shared)
{
    BdrvChildClaims claims = bdrv_default_child_claims(bs, child, BDRV_CHILD_FILTERED, parent_uses,
                                                       parent_shared);
    if (role & BDRV_CHILD_DATA) {
        claims.shared &= ~BLK_PERM_RESIZE;
    }
    return claims;
}

/* A window that begins and ends where zones do shows these zones; any other shows none. */
static void take_window_of_zones(BlockDriverState *bs, const RawState *s)
{
    const BlockZoneLimits *below = &bs->file->bs->bl.zones;
    int64_t end = bdrv_getlength(bs->file->bs);
    int64_t size = s->has_size ? s->size : MAX(end - s->offset, 0);
    if (!below->model || s->offset % below->zone_size || size <= 0 ||
        (size % below->zone_size && s->offset + size != end)) {
        return;
    }
    bs->bl.zones = *below;
    bs->bl.zones.nr_zones = DIV_ROUND_UP(size, below->zone_size);
}

static void raw_refresh_limits(BlockDriverState *bs)
{
    const RawState *s = bs->opaque;
    if (s->offset || s->has_size) {
        take_window_of_zones(bs, s);
    }
    if (bs->probed) {
        /* Only whole blocks can be looked at for signatures. */
        bs->bl.request_alignment = MAX(bs->bl.request_alignment, BDRV_PROBE_BYTES);
    }
}

static int raw_probe(const uint8_t *buf, size_t len, const char *filename)
{
    return 1; /* everything can be raw: the others have been asked first */
}

/* ---- data ------------------------------------------------------------------------------------ */

static int coroutine_fn raw_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    int ret = raw_map_range(bs->opaque, &offset, bytes, false);
    if (ret < 0) {
        return ret;
    }
    BLKDBG_CO_EVENT(bs->file, READ_AIO);
    return bdrv_co_preadv_part(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

/*
 * Look at data for the start of the image, of at least a block.  The block is copied into @start,
 * so that what was looked at is what is written: @guarded, to be destroyed.  0 or negative errno.
 */
static int guard_start(BlockDriverState *bs, uint8_t *start, QEMUIOVector *qiov,
                       size_t qiov_offset, int64_t bytes, QEMUIOVector *guarded)
{
    if (!start) {
        return -ENOMEM;
    }
    qemu_iovec_to_buf(qiov, qiov_offset, start, BDRV_PROBE_BYTES);
    if (bdrv_probe_all(start, BDRV_PROBE_BYTES, NULL) != bs->drv) {
        return -EPERM;
    }
    qemu_iovec_init(guarded, qiov->niov + 1);
    qemu_iovec_add(guarded, start, BDRV_PROBE_BYTES);
    qemu_iovec_concat(guarded, qiov, qiov_offset + BDRV_PROBE_BYTES, bytes - BDRV_PROBE_BYTES);
    return 0;
}

static int coroutine_fn write_guarded(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    QEMU_AUTO_VFREE uint8_t *start = bdrv_try_blockalign(bs->file->bs, BDRV_PROBE_BYTES);
    QEMUIOVector guarded;
    int ret = guard_start(bs, start, qiov, qiov_offset, bytes, &guarded);
    if (ret >= 0) {
        ret = bdrv_co_pwritev(bs->file, offset, bytes, &guarded, flags);
        qemu_iovec_destroy(&guarded);
    }
    return ret;
}

static int coroutine_fn raw_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                       QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    bool touches_start = offset < BDRV_PROBE_BYTES && bytes > 0;
    int ret = raw_map_range(bs->opaque, &offset, bytes, true);
    if (ret < 0) {
        return ret;
    }
    BLKDBG_CO_EVENT(bs->file, WRITE_AIO);
    if (bs->probed && touches_start) {
        return write_guarded(bs, offset, bytes, qiov, qiov_offset, flags);
    }
    return bdrv_co_pwritev_part(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

static BdrvMapKind raw_map(BlockDriverState *bs, bool is_write, int64_t offset, int64_t bytes,
                           BdrvMapping *map)
{
    if ((is_write && bs->probed && offset < BDRV_PROBE_BYTES) ||
        raw_map_range(bs->opaque, &offset, bytes, is_write) < 0) {
        return BDRV_MAP_NONE;
    }
    map->child = bs->file;
    map->offset = offset;
    return BDRV_MAP_CHILD;
}

static int coroutine_fn raw_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                             unsigned flags)
{
    int ret = raw_map_range(bs->opaque, &offset, bytes, true);
    return ret < 0 ? ret : bdrv_co_pwrite_zeroes(bs->file, offset, bytes, flags);
}

static int coroutine_fn raw_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int ret = raw_map_range(bs->opaque, &offset, bytes, true);
    return ret < 0 ? ret : bdrv_co_pdiscard(bs->file, offset, bytes);
}

static int coroutine_fn raw_co_copy_range_from(BlockDriverState *bs, BdrvChild *src,
                                               int64_t src_offset, BdrvChild *dst,
                                               int64_t dst_offset, int64_t bytes, unsigned flags)
{
    int ret = raw_map_range(bs->opaque, &src_offset, bytes, false);
    return ret < 0 ? ret : bdrv_co_copy_range_from(bs->file, src_offset, dst, dst_offset, bytes,
                                                   flags);
}

static int coroutine_fn raw_co_copy_range_to(BlockDriverState *bs, BdrvChild *src,
                                             int64_t src_offset, BdrvChild *dst,
                                             int64_t dst_offset, int64_t bytes, unsigned flags)
{
    if (bs->probed && dst_offset < BDRV_PROBE_BYTES) {
        return -ENOTSUP; /* what passes by unseen cannot be looked at */
    }
    int ret = raw_map_range(bs->opaque, &dst_offset, bytes, true);
    return ret < 0 ? ret : bdrv_co_copy_range_to(src, src_offset, bs->file, dst_offset, bytes,
                                                 flags);
}

static int coroutine_fn raw_co_block_status(BlockDriverState *bs, bool want_zero, int64_t offset,
                                            int64_t bytes, int64_t *pnum, int64_t *map,
                                            BlockDriverState **file)
{
    const RawState *s = bs->opaque;
    *pnum = bytes;
    *file = bs->file->bs;
    *map = offset + s->offset;
    return BDRV_BLOCK_RAW | BDRV_BLOCK_OFFSET_VALID;
}

static int coroutine_fn raw_co_ioctl(BlockDriverState *bs, unsigned long request, void *arg)
{
    const RawState *s = bs->opaque;
    /* A device does not know of windows. */
    return s->offset || s->has_size ? -ENOTSUP : bdrv_co_ioctl(bs->file, request, arg);
}

/* ---- zones ----------------------------------------------------------------------------------- */

static int coroutine_fn raw_co_zone_report(BlockDriverState *bs, int64_t offset,
                                           unsigned *nr_zones, BlockZoneDescriptor *zones)
{
    const RawState *s = bs->opaque;
    int64_t end = bdrv_getlength(bs);
    int ret = bdrv_co_zone_report(bs->file, offset + s->offset, nr_zones, zones);
    unsigned n = 0;
    if (ret < 0) {
        return ret;
    }
    for (; n < *nr_zones && zones[n].start - s->offset < end; n++) {
        zones[n].start -= s->offset;
        zones[n].wp -= s->offset;
    }
    *nr_zones = n;
    return 0;
}

static int coroutine_fn raw_co_zone_mgmt(BlockDriverState *bs, BlockZoneOp op, int64_t offset,
                                         int64_t bytes)
{
    int ret = raw_map_range(bs->opaque, &offset, bytes, true);
    return ret < 0 ? ret : bdrv_co_zone_mgmt(bs->file, op, offset, bytes);
}

/* The start of the image may be where it goes. */
static int coroutine_fn append_guarded(BlockDriverState *bs, int64_t *offset, QEMUIOVector *qiov)
{
    QEMU_AUTO_VFREE uint8_t *start = bdrv_try_blockalign(bs->file->bs, BDRV_PROBE_BYTES);
    QEMUIOVector guarded;
    int ret = qiov->size < BDRV_PROBE_BYTES
                  ? -EINVAL : guard_start(bs, start, qiov, 0, qiov->size, &guarded);
    if (ret >= 0) {
        ret = bdrv_co_zone_append(bs->file, offset, &guarded, 0);
        qemu_iovec_destroy(&guarded);
    }
    return ret;
}

static int coroutine_fn raw_co_zone_append(BlockDriverState *bs, int64_t *offset,
                                           QEMUIOVector *qiov)
{
    const RawState *s = bs->opaque;
    int64_t below = *offset;
    int ret = raw_map_range(s, &below, qiov->size, true);
    if (ret >= 0) {
        ret = bs->probed && *offset == 0 ? append_guarded(bs, &below, qiov)
                                         : bdrv_co_zone_append(bs->file, &below, qiov, 0);
    }
    if (ret >= 0) {
        *offset = below - s->offset;
    }
    return ret;
}

/* ---- size, information, creation ------------------------------------------------------------- */

static int64_t coroutine_fn raw_co_getlength(BlockDriverState *bs)
{
    const RawState *s = bs->opaque;
    int64_t file_bytes = bdrv_co_getlength(bs->file->bs);
    if (file_bytes < 0) {
        return file_bytes;
    }
    int64_t rest = MAX(file_bytes - s->offset, 0);
    return s->has_size ? MIN(s->size, rest) : rest;
}

static int coroutine_fn raw_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                                        PreallocMode prealloc, unsigned flags, Error **errp)
{
    const RawState *s = bs->opaque;
    if (s->has_size) {
        error_setg(errp, "Cannot resize fixed-size raw disks");
        return -ENOTSUP;
    }
    if (offset > BDRV_MAX_LENGTH - s->offset) {
        error_setg(errp, "Disk size too large for the chosen offset");
        return -EINVAL;
    }
    return bdrv_co_truncate(bs->file, offset + s->offset, exact, prealloc, flags, errp);
}

static int raw_get_info(BlockDriverState *bs, BlockDriverInfo *info)
{
    return bdrv_get_info(bs->file->bs, info);
}

static BlockMeasureInfo *coroutine_fn raw_co_measure(QemuOpts *opts, BlockDriverState *in_bs,
                                                     Error **errp)
{
    int64_t bytes = in_bs ? bdrv_getlength(in_bs) : (int64_t)qemu_opt_get_size(opts, "size", 0);
    if (bytes < 0) {
        error_setg_errno(errp, -bytes, "Unable to get image size");
        return NULL;
    }
    BlockMeasureInfo *info = g_new0(BlockMeasureInfo, 1);
    info->required = info->fully_allocated = QEMU_ALIGN_UP(bytes, BDRV_SECTOR_SIZE);
    return info;
}

static bool coroutine_fn raw_co_create_opts(BlockDriver *drv, const char *filename, QemuOpts *opts,
                                            Error **errp)
{
    return bdrv_co_create_file(filename, opts, errp);
}

static const QemuOptDesc raw_create_desc[] = {
    { .name = "size", .type = QEMU_OPT_SIZE, .help = "Virtual disk size" },
    { .name = NULL }
};

static QemuOptsList raw_create_options = {
    .name = "raw-create-opts",
    .desc = raw_create_desc,
};

static const char *const raw_strong_opts[] = { "offset", "size", NULL };

BlockDriver bdrv_raw = {
    .format_name = "raw",
    .instance_size = sizeof(RawState),
    .options_type = BLOCKDEV_DRIVER_RAW,
    .has_variable_length = true,
    .supports_zoned_children = true,
    .strong_runtime_opts = raw_strong_opts,
    .mutable_opts = raw_strong_opts,
    .create_opts = &raw_create_options,
    .bdrv_probe = raw_probe,
    .bdrv_co_open = raw_co_open,
    .bdrv_co_reopen_prepare = raw_co_reopen_prepare,
    .bdrv_reopen_commit = raw_reopen_commit,
    .bdrv_reopen_abort = raw_reopen_abort,
    .bdrv_child_claims = raw_child_claims,
    .bdrv_refresh_limits = raw_refresh_limits,
    .bdrv_co_preadv = raw_co_preadv,
    .bdrv_co_pwritev = raw_co_pwritev,
    .bdrv_map = raw_map,
    .bdrv_co_pwrite_zeroes = raw_co_pwrite_zeroes,
    .bdrv_co_pdiscard = raw_co_pdiscard,
    .bdrv_co_copy_range_from = raw_co_copy_range_from,
    .bdrv_co_copy_range_to = raw_co_copy_range_to,
    .bdrv_co_block_status = raw_co_block_status,
    .bdrv_co_ioctl = raw_co_ioctl,
    .bdrv_co_zone_report = raw_co_zone_report,
    .bdrv_co_zone_mgmt = raw_co_zone_mgmt,
    .bdrv_co_zone_append = raw_co_zone_append,
    .bdrv_co_getlength = raw_co_getlength,
    .bdrv_co_truncate = raw_co_truncate,
    .bdrv_get_info = raw_get_info,
    .bdrv_co_measure = raw_co_measure,
    .bdrv_co_create_opts = raw_co_create_opts,
};
