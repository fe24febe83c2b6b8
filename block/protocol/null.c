/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * null-co, null-aio: a disk that stores nothing, for measuring what is above it.  Names null-co://
 * and null-aio://.  Writes vanish; reads leave the buffer alone unless read-zeroes is on.
 * null-aio answers from the event loop even without a latency, null-co in the caller's stack.
 */
#include "qemu/osdep.h"

#include "block/block_int.h"

#define NULL_DEFAULT_BYTES (1 * GiB)

typedef struct NullState {
    /* Fixed after open, but for reopen, which is frozen. */
    int64_t length;
    uint64_t latency_ns;
    bool read_zeroes;
    bool always_yield;
} NullState;

static const BlockdevOptionsNull *null_options(const BlockdevOptions *options)
{
    return options->driver == BLOCKDEV_DRIVER_NULL_AIO ? &options->u.null_aio
                                                       : &options->u.null_co;
}

static bool parse_name(const char *filename, const char *prefix, Error **errp)
{
    if (strcmp(filename, prefix) != 0) {
        error_setg(errp, "The only allowed filename for this driver is '%s'", prefix);
        return false;
    }
    return true;
}

static bool null_co_parse_name(const char *filename, QDict *options, Error **errp)
{
    return parse_name(filename, "null-co://", errp);
}

static bool null_aio_parse_name(const char *filename, QDict *options, Error **errp)
{
    return parse_name(filename, "null-aio://", errp);
}

static bool null_set_options(NullState *s, const BlockdevOptions *options, Error **errp)
{
    const BlockdevOptionsNull *opts = null_options(options);
    int64_t length = opts->has_size ? opts->size : NULL_DEFAULT_BYTES;
    if (length < 0 || length > BDRV_MAX_LENGTH) {
        error_setg(errp, "size must be between 0 and %" PRId64 " bytes", BDRV_MAX_LENGTH);
        return false;
    }
    if (opts->has_latency_ns && opts->latency_ns > INT64_MAX) {
        error_setg(errp, "latency-ns is invalid");
        return false;
    }
    s->length = length;
    s->latency_ns = opts->has_latency_ns ? opts->latency_ns : 0;
    s->read_zeroes = opts->has_read_zeroes && opts->read_zeroes;
    s->always_yield = options->driver == BLOCKDEV_DRIVER_NULL_AIO;
    return true;
}

static bool coroutine_fn null_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                      int flags, Error **errp)
{
    bs->supported_write_flags = BDRV_REQ_FUA;
    bs->supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP;
    return null_set_options(bs->opaque, options, errp);
}

static bool coroutine_fn null_co_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    g_autofree NullState *new_state = g_new0(NullState, 1);
    if (!null_set_options(new_state, state->options, errp)) {
        return false;
    }
    state->opaque = g_steal_pointer(&new_state);
    return true;
}

static void null_reopen_commit(BdrvReopenState *state)
{
    *(NullState *)state->bs->opaque = *(NullState *)state->opaque;
    g_free(state->opaque);
}

static void null_reopen_abort(BdrvReopenState *state)
{
    g_free(state->opaque);
}

static void null_refresh_filename(BlockDriverState *bs)
{
    const NullState *s = bs->opaque;
    g_free(bs->exact_filename);
    /* The name says nothing of options that decide about content. */
    bs->exact_filename = s->length == NULL_DEFAULT_BYTES && !s->read_zeroes
        ? g_strdup_printf("%s://", bs->drv->protocol_name) : g_strdup("");
}

static int coroutine_fn null_co_wait(const NullState *s)
{
    if (s->latency_ns || s->always_yield) {
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, s->latency_ns);
    }
    return 0;
}

static int coroutine_fn null_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                       QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    const NullState *s = bs->opaque;
    if (s->read_zeroes) {
        qemu_iovec_memset(qiov, qiov_offset, 0, bytes);
    }
    return null_co_wait(s);
}

static int coroutine_fn null_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    return null_co_wait(bs->opaque);
}

static BdrvMapKind null_map(BlockDriverState *bs, bool is_write, int64_t offset, int64_t bytes,
                            BdrvMapping *map)
{
    const NullState *s = bs->opaque;
    if (s->latency_ns || s->always_yield) {
        return BDRV_MAP_NONE;
    }
    return s->read_zeroes && !is_write ? BDRV_MAP_ZERO : BDRV_MAP_HERE;
}

static int null_submit(BlockDriverState *bs, BdrvDirectIO *io)
{
    return 0;
}

static int coroutine_fn null_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                              unsigned flags)
{
    return null_co_wait(bs->opaque);
}

static int coroutine_fn null_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return null_co_wait(bs->opaque);
}

static int coroutine_fn null_co_flush(BlockDriverState *bs)
{
    return null_co_wait(bs->opaque);
}

static int coroutine_fn null_co_block_status(BlockDriverState *bs, bool want_zero, int64_t offset,
                                             int64_t bytes, int64_t *pnum, int64_t *map,
                                             BlockDriverState **file)
{
    const NullState *s = bs->opaque;
    *pnum = bytes;
    *map = offset;
    *file = bs;
    return BDRV_BLOCK_OFFSET_VALID | (s->read_zeroes ? BDRV_BLOCK_ZERO : 0);
}

static int64_t coroutine_fn null_co_getlength(BlockDriverState *bs)
{
    return ((NullState *)bs->opaque)->length;
}

static int64_t coroutine_fn null_co_get_allocated_file_size(BlockDriverState *bs)
{
    return 0;
}

static const char *const null_strong_opts[] = { "size", "read-zeroes", NULL };
static const char *const null_mutable_opts[] = { "size", "latency-ns", "read-zeroes", NULL };

#define NULL_CALLBACKS \
    .instance_size = sizeof(NullState), \
    .is_protocol = true, \
    .strong_runtime_opts = null_strong_opts, \
    .mutable_opts = null_mutable_opts, \
    .bdrv_co_open = null_co_open, \
    .bdrv_co_reopen_prepare = null_co_reopen_prepare, \
    .bdrv_reopen_commit = null_reopen_commit, \
    .bdrv_reopen_abort = null_reopen_abort, \
    .bdrv_refresh_filename = null_refresh_filename, \
    .bdrv_co_preadv = null_co_preadv, \
    .bdrv_co_pwritev = null_co_pwritev, \
    .bdrv_map = null_map, \
    .bdrv_submit = null_submit, \
    .bdrv_co_pwrite_zeroes = null_co_pwrite_zeroes, \
    .bdrv_co_pdiscard = null_co_pdiscard, \
    .bdrv_co_flush_to_disk = null_co_flush, \
    .bdrv_co_block_status = null_co_block_status, \
    .bdrv_co_getlength = null_co_getlength, \
    .bdrv_co_get_allocated_file_size = null_co_get_allocated_file_size

BlockDriver bdrv_null_co = {
    .format_name = "null-co",
    .protocol_name = "null-co",
    .options_type = BLOCKDEV_DRIVER_NULL_CO,
    .bdrv_parse_filename = null_co_parse_name,
    NULL_CALLBACKS,
};

BlockDriver bdrv_null_aio = {
    .format_name = "null-aio",
    .protocol_name = "null-aio",
    .options_type = BLOCKDEV_DRIVER_NULL_AIO,
    .bdrv_parse_filename = null_aio_parse_name,
    NULL_CALLBACKS,
};
