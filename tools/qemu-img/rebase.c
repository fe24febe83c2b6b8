/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img rebase: another backing file for an image, which reads as before (or, with -u, as the
 * new backing file says).
 *
 * Where the image has nothing of its own and the new backing file says something else, the image
 * gets what it shows.  Until its header changes, as the last step and after a flush, that changes
 * nothing for who reads it; so it may be interrupted at any time.
 */
#include "qemu/osdep.h"

#include <getopt.h>

#include "block/block-sharing.h"
#include "block/coroutine.h"
#include "block/graph.h"
#include "qemu-img.h"
#include "qemu/co-lock.h"
#include "qemu/iszero.h"
#include "qemu/memalign.h"
#include "qemu/progress.h"

/* What is under way shall fit the processors' caches: it is compared and written soon after. */
#define WORKERS 4
#define CHUNK (1 * MiB)
/* Read in parts that a page cache gives at once, without a thread. */
#define CACHED_READ (256 * KiB)
#define MIN_UNIT 4096

typedef struct RebaseOptions {
    bool quiet, image_opts, force_share, progress, unsafe, compress;
    const char *format, *cache, *source_cache, *base, *base_format;
} RebaseOptions;

static const ImgOption rebase_options[] = {
    IMG_OPT_QUIET(RebaseOptions),
    IMG_OPT_FORMAT(RebaseOptions),
    IMG_OPT_CACHE(RebaseOptions),
    { 'T', "source-cache", IMG_STRING, offsetof(RebaseOptions, source_cache), "MODE",
      "cache mode of the new backing file (default: writeback)" },
    { 'b', "backing", IMG_STRING, offsetof(RebaseOptions, base), "BASE",
      "the new backing file; \"\": none" },
    { 'F', "backing-format", IMG_STRING, offsetof(RebaseOptions, base_format), "FMT",
      "format of BASE" },
    { 'B', NULL, IMG_STRING, offsetof(RebaseOptions, base_format), NULL, NULL },
    { 'u', "backing-unsafe", IMG_FLAG, offsetof(RebaseOptions, unsafe), NULL,
      "change the name alone: BASE must say the same, or FILE reads differently" },
    { 'c', "compress", IMG_FLAG, offsetof(RebaseOptions, compress), NULL,
      "write compressed" },
    IMG_OPT_PROGRESS(RebaseOptions),
    { 'U', "force-share", IMG_FLAG, offsetof(RebaseOptions, force_share), NULL,
      "open BASE even if it is in use, as it is right now" },
    IMG_OPT_IMAGE_OPTS(RebaseOptions),
    IMG_OPT_OBJECT,
    { 0 },
};

/* What a worker takes at once. */
typedef struct Piece {
    int64_t offset, bytes;
    uint64_t number;           /* of pieces taken before */
} Piece;

typedef struct Rebase {
    ImgBackend *image, *base;  /* base NULL: none */
    BlockDriverState *below;   /* what is not allocated above it is alike; NULL: none is */
    int64_t length, base_length;
    int64_t unit;              /* bytes that are written together */
    int64_t chunk;             /* bytes a worker takes at once, whole units */
    bool compress;
    BlockSharing sharing;      /* with the old backing file */
    CoMutex pick_lock;
    int64_t next;              /* first byte not taken */
    uint64_t nb_taken;         /* pieces */
    CoQueue turn;
    uint64_t nb_written;       /* pieces: they are written in order, so that places do not depend
                                  on timing */
    int64_t done;
    int ret;                   /* first error, reported */
    int running;
    Coroutine *waiter;
} Rebase;

/* ---- the work -------------------------------------------------------------------------------- */

static void fail(Rebase *r, int ret, const char *doing, int64_t offset)
{
    if (r->ret >= 0) {
        r->ret = ret;
        error_report("error while %s offset %" PRId64 ": %s", doing, offset, g_strerror(-ret));
    }
}

/* Can the two differ from r->next on?  *@bytes: as far as that holds. */
static int coroutine_fn co_may_differ(Rebase *r, int64_t *bytes)
{
    int64_t offset = r->next, left = r->length - r->next, n;
    BlockDriverState *backing = bdrv_backing_chain_next(blk_bs(r->image));
    int ret = blk_co_is_allocated_above(r->image, backing, false, offset, left, bytes);

    if (ret != 0) {
        return ret < 0 ? ret : 0;
    }
    if (r->below) {
        ret = blk_co_is_allocated_above(r->image, r->below, false, offset, *bytes, &n);
        *bytes = ret < 0 ? *bytes : n;
        return ret;
    }
    if (!r->base) {
        ret = blk_co_block_status_above(r->image, NULL, offset, *bytes, &n, NULL, NULL, NULL);
        *bytes = ret < 0 ? *bytes : n;
        return ret < 0 ? ret : !(ret & BDRV_BLOCK_ZERO);
    }
    return 1;
}

/* Whole units, not across a chunk's end.  False: nothing is left, or something failed. */
static bool coroutine_fn co_take_piece(Rebase *r, Piece *piece)
{
    bool found = false;

    qemu_co_mutex_lock(&r->pick_lock);
    while (!found && r->ret >= 0 && r->next < r->length) {
        int64_t bytes;
        int ret = co_may_differ(r, &bytes);

        if (ret < 0 || bytes == 0) {
            fail(r, ret < 0 ? ret : -EIO, "reading image metadata at", r->next);
            break;
        }
        found = ret > 0;
        if (found) {
            bytes = MIN(bytes, r->chunk - r->next % r->chunk);
            *piece = (Piece){ r->next, bytes, r->nb_taken++ };
        }
        r->next += bytes;
    }
    qemu_co_mutex_unlock(&r->pick_lock);
    return found;
}

/* False: something failed meanwhile. */
static bool coroutine_fn co_wait_for_turn(Rebase *r, const Piece *piece)
{
    while (r->ret >= 0 && r->nb_written < piece->number) {
        qemu_co_queue_wait(&r->turn, NULL);
    }
    return r->ret >= 0;
}

static void pass_turn(Rebase *r, const Piece *piece)
{
    if (r->nb_written == piece->number) {
        r->nb_written++;
    }
    qemu_co_queue_restart_all(&r->turn);
}

/* Let others run between the parts. */
static int coroutine_fn co_read(ImgBackend *from, int64_t offset, int64_t bytes, uint8_t *buf)
{
    int ret = 0;

    for (int64_t done = 0; done < bytes && ret >= 0; done += CACHED_READ) {
        if (done > 0) {
            aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
            qemu_coroutine_yield();
        }
        ret = blk_co_pread(from, offset + done, MIN(CACHED_READ, bytes - done), buf + done, 0);
    }
    return ret;
}

/* What the new backing file says; *@is_zero: zeroes, and @buf holds nothing. */
static int coroutine_fn co_read_base(Rebase *r, int64_t offset, int64_t bytes, uint8_t *buf,
                                     bool *is_zero)
{
    int64_t there = CLAMP(r->base_length - offset, 0, bytes), n = 0;
    int ret = there ? blk_co_block_status_above(r->base, NULL, offset, there, &n, NULL, NULL, NULL)
                    : BDRV_BLOCK_ZERO;

    *is_zero = ret >= 0 && (ret & BDRV_BLOCK_ZERO) && n >= there;
    if (ret < 0 || *is_zero) {
        return MIN(ret, 0);
    }
    memset(buf + there, 0, bytes - there);
    return co_read(r->base, offset, there, buf);
}

/* Version 2 of qcow2 has no zeroes to say: nothing is stored, and a new backing file would show. */
static int coroutine_fn co_write_zeroes(Rebase *r, int64_t offset, int64_t bytes,
                                        const uint8_t *zeroes)
{
    BlockDriverState *backing = bdrv_backing_chain_next(blk_bs(r->image));
    int ret = blk_co_pwrite_zeroes(r->image, offset, bytes, 0);

    for (int64_t done = 0, n = 0; done < bytes && ret >= 0; done += n) {
        ret = blk_co_is_allocated_above(r->image, backing, false, offset + done, bytes - done, &n);
        if (ret == 0) {
            ret = n ? blk_co_pwrite(r->image, offset + done, n, zeroes, 0) : -EIO;
        }
    }
    return ret;
}

/* Let the image have the same blocks as the file below it that holds the data.  False: it must be
 * written. */
static bool coroutine_fn co_share(Rebase *r, int64_t offset, int64_t bytes)
{
    if (!block_sharing_suits(&r->sharing, bytes)) {
        return false;
    }
    int ret = blk_co_copy_range(r->image, offset, r->image, offset, bytes, BDRV_REQ_NO_FALLBACK);
    return block_sharing_done(&r->sharing, ret);
}

static int coroutine_fn co_write(Rebase *r, int64_t offset, int64_t bytes, const uint8_t *buf)
{
    int64_t cluster = bdrv_get_cluster_size(blk_bs(r->image)), end = offset + bytes;
    bool is_whole = cluster && offset % cluster == 0 && (end % cluster == 0 || end == r->length);

    if (buffer_is_zero(buf, bytes)) {
        return co_write_zeroes(r, offset, bytes, buf);
    }
    if (is_whole && !r->compress && co_share(r, offset, bytes)) {
        return 0;
    }
    return blk_co_pwrite(r->image, offset, bytes, buf,
                         r->compress && is_whole ? BDRV_REQ_WRITE_COMPRESSED : 0);
}

/* Write each run of units that differ; @new NULL: zeroes. */
static int coroutine_fn co_write_differing(Rebase *r, int64_t offset, int64_t bytes,
                                           const uint8_t *old, const uint8_t *new)
{
    int64_t at = 0, run = 0;
    int ret = 0;

    while (at < bytes && ret >= 0) {
        int64_t n = MIN(r->unit - (offset + at) % r->unit, bytes - at);
        bool differs = new ? memcmp(old + at, new + at, n) != 0 : !buffer_is_zero(old + at, n);

        at += n;
        run = differs ? run + n : run;
        if (run && (!differs || at == bytes)) {
            int64_t end = differs ? at : at - n;

            ret = co_write(r, offset + end - run, run, old + end - run);
            run = 0;
        }
    }
    return ret;
}

static void coroutine_fn co_copy_piece(Rebase *r, const Piece *piece, uint8_t *buf)
{
    int64_t offset = piece->offset, bytes = piece->bytes;
    uint8_t *new = buf + r->chunk;
    bool is_zero;
    int ret = co_read(r->image, offset, bytes, buf);

    if (ret < 0) {
        fail(r, ret, "reading from old backing file at", offset);
        return;
    }
    ret = co_read_base(r, offset, bytes, new, &is_zero);
    if (ret < 0) {
        fail(r, ret, "reading from new backing file at", offset);
        return;
    }
    if (!co_wait_for_turn(r, piece)) {
        return;
    }
    ret = co_write_differing(r, offset, bytes, buf, is_zero ? NULL : new);
    if (ret < 0) {
        fail(r, ret, "writing to overlay image at", offset);
    }
}

static void coroutine_fn co_work(void *opaque)
{
    Rebase *r = opaque;
    uint8_t *buf = blk_try_blockalign(r->image, 2 * r->chunk);
    Piece piece = { 0 };

    if (!buf) {
        fail(r, -ENOMEM, "reading from old backing file at", r->next);
    }
    while (co_take_piece(r, &piece)) {
        co_copy_piece(r, &piece, buf);
        pass_turn(r, &piece);
        r->done = MAX(r->done, piece.offset + piece.bytes);
        qemu_progress_print(100.0 * r->done / r->length, 0);
    }
    qemu_vfree(buf);
    if (--r->running == 0 && r->waiter) {
        aio_co_wake(r->waiter);
    }
}

/* Keep in the image what it shows and the new backing file does not. */
static bool coroutine_fn co_copy(Rebase *r)
{
    int ret;

    r->unit = MAX(bdrv_get_cluster_size(blk_bs(r->image)), MIN_UNIT);
    r->chunk = MAX(CHUNK, r->unit);
    r->length = blk_co_getlength(r->image);
    r->base_length = r->base ? blk_co_getlength(r->base) : 0;
    if (r->length < 0 || r->base_length < 0) {
        error_report("Could not get the size of the images: %s",
                     g_strerror(-MIN(r->length, r->base_length)));
        return false;
    }
    qemu_co_mutex_init(&r->pick_lock);
    qemu_co_queue_init(&r->turn);
    r->running = WORKERS;
    for (int i = 0; i < WORKERS; i++) {
        qemu_coroutine_enter(qemu_coroutine_create(co_work, r));
    }
    if (r->running > 0) {
        r->waiter = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
    if (r->ret < 0) {
        return false;
    }
    ret = blk_co_flush(r->image);
    if (ret < 0) {
        error_report("Could not flush the image: %s", g_strerror(-ret));
    }
    return ret >= 0;
}

/* ---- the images ------------------------------------------------------------------------------ */

/* A node between that is shorter hides what is below its end; then each byte is compared. */
static BlockDriverState *coroutine_fn co_find_in_chain(BlockDriverState *bs, const char *path)
{
    BlockDriverState *base = bdrv_co_find_backing_image(bs, path), *between = bs;

    while (base && (between = bdrv_backing_chain_next(between)) && between != base) {
        if (bdrv_getlength(between) < bdrv_getlength(bs)) {
            return NULL;
        }
    }
    return base;
}

static bool coroutine_fn co_open_base(const RebaseOptions *opts, Rebase *r, int flags)
{
    Error *local_err = NULL;
    QDict *options = qdict_new();
    g_autofree char *path = NULL;

    if (opts->base_format) {
        qdict_put_str(options, "driver", opts->base_format);
    }
    BDRV_CONTROL_GUARD();
    path = bdrv_resolve_backing_filename(blk_bs(r->image), opts->base, &local_err);
    if (!path) {
        qdict_unref(options);
        error_reportf_err(local_err, "Could not resolve backing filename: ");
        return false;
    }
    r->below = co_find_in_chain(blk_bs(r->image), path);
    r->base = blk_co_new_open(path, NULL, options, flags, &local_err);
    if (!r->base) {
        error_reportf_err(local_err, "Could not open new backing file '%s': ", opts->base);
        return false;
    }
    return true;
}

static bool coroutine_fn co_change_header(const RebaseOptions *opts, ImgBackend *image)
{
    bool names = opts->base && *opts->base;
    int ret;

    BDRV_CONTROL_GUARD();
    ret = bdrv_co_change_backing_file(blk_bs(image), names ? opts->base : NULL,
                                      names ? opts->base_format : NULL, names);
    if (ret == -ENOSPC) {
        error_report("Could not change the backing file to '%s': No space left in the file header",
                     names ? opts->base : "");
    } else if (ret == -EINVAL && names && !opts->base_format) {
        error_report("Could not change the backing file to '%s': backing format must be specified",
                     opts->base);
    } else if (ret < 0) {
        error_report("Could not change the backing file to '%s': %s", names ? opts->base : "",
                     g_strerror(-ret));
    }
    return ret >= 0;
}

static bool coroutine_fn co_rebase(const RebaseOptions *opts, ImgBackend *image, int base_flags)
{
    Rebase r = { .image = image, .compress = opts->compress };
    bool ok = true;

    if (opts->compress && !bdrv_supports_compressed_writes(blk_bs(image))) {
        error_report("Compression is not supported for this file format");
        return false;
    }
    if (opts->base_format && !bdrv_find_format(opts->base_format)) {
        error_report("Invalid format name: '%s'", opts->base_format);
        return false;
    }
    if (!opts->unsafe && *opts->base) {
        ok = co_open_base(opts, &r, base_flags);
    }
    /* An image that has no place for the name keeps its content, too. */
    if (ok && !opts->unsafe && bdrv_supports_backing(blk_bs(image))) {
        ok = co_copy(&r);
    }
    ok = ok && co_change_header(opts, image);
    img_co_close(r.base);
    return ok;
}

static int coroutine_fn co_run_with(const RebaseOptions *opts, const char *filename)
{
    ImgOpen how = {
        .filename = filename,
        .format = opts->format,
        .image_opts = opts->image_opts,
        .flags = BDRV_O_RDWR | (opts->unsafe ? BDRV_O_NO_BACKING : 0),
    };
    ImgOpen base = { .flags = opts->force_share ? BDRV_O_FORCE_SHARE : 0 };
    bool ok;

    if (!img_parse_cache(&how, "cache", opts->cache ? opts->cache : "writeback") ||
        !img_parse_cache(&base, "source cache", opts->source_cache ? opts->source_cache
                                                                   : "writeback")) {
        return 1;
    }
    g_autoptr(ImgBackend) image = img_co_open(&how);
    if (!image) {
        return 1;
    }
    qemu_progress_init(opts->progress && !opts->quiet, 1.0);
    qemu_progress_print(0, 100);
    ok = co_rebase(opts, image, base.flags);
    if (ok) {
        qemu_progress_print(100, 0);
    }
    qemu_progress_end();
    return ok ? 0 : 1;
}

static int coroutine_fn co_run_rebase(int argc, char **argv)
{
    RebaseOptions opts = { 0 };
    int status;

    if (!img_parse(&img_rebase, &opts, argc, argv, &status)) {
        return status;
    }
    if (argc - optind != 1) {
        return img_usage_error(&img_rebase, "Expecting one image file name");
    }
    if (!opts.unsafe && !opts.base) {
        return img_usage_error(&img_rebase,
                               "Must specify backing file (-b) or use unsafe mode (-u)");
    }
    return co_run_with(&opts, argv[optind]);
}

const ImgCommand img_rebase = {
    .name = "rebase",
    .arguments = "FILE",
    .summary = "Give FILE another backing file.",
    .options = rebase_options,
    .co_run = co_run_rebase,
};
