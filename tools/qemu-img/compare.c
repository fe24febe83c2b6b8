/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img compare: do two images have the same content?
 *
 * A few pieces are read ahead, each by a coroutine that reads both images at once; what differs is
 * told in order of offset.
 */
#include "qemu/osdep.h"

#include <getopt.h>

#include "block/coroutine.h"
#include "qemu-img.h"
#include "qemu/iszero.h"
#include "qemu/memalign.h"
#include "qemu/progress.h"

/* What is read ahead shall fit the processors' caches: it is compared soon after. */
#define CHUNK_BYTES (512 * 1024)
#define MAX_READERS 2

/* Exit statuses that scripts rely on. */
enum {
    COMPARE_SAME = 0,
    COMPARE_DIFFERENT = 1,
    COMPARE_OPEN_FAILED = 2,
    COMPARE_MAP_FAILED = 3,
    COMPARE_READ_FAILED = 4,
};

typedef struct CompareOptions {
    bool quiet, image_opts, force_share, strict, progress;
    const char *format, *format2, *cache;
} CompareOptions;

static const ImgOption compare_options[] = {
    IMG_OPT_QUIET(CompareOptions),
    { 'f', "a-format", IMG_STRING, offsetof(CompareOptions, format), "FMT",
      "format of FILE1 (default: probed)" },
    { 'F', "b-format", IMG_STRING, offsetof(CompareOptions, format2), "FMT",
      "format of FILE2 (default: probed)" },
    { 'T', "cache", IMG_STRING, offsetof(CompareOptions, cache), "CACHE",
      "cache mode of both (default: writeback)" },
    { 's', "strict", IMG_FLAG, offsetof(CompareOptions, strict), NULL,
      "sizes and what is allocated must be the same, too" },
    IMG_OPT_PROGRESS(CompareOptions),
    IMG_OPT_FORCE_SHARE(CompareOptions),
    IMG_OPT_IMAGE_OPTS(CompareOptions),
    IMG_OPT_OBJECT,
    { 0 },
};

/* One of the two. */
typedef struct Side {
    const char *name;
    ImgBackend *image;
    int64_t bytes;
    int64_t known_end;  /* flags hold up to here */
    int flags;
} Side;

/* What is being compared, by one reader. */
typedef struct Piece {
    int64_t offset, bytes;
    bool reads[2];      /* false: that side is zero there */
    uint8_t *buf[2];
    int pending;        /* reads under way */
    int failed;         /* side + 1 */
    int ret;
    Coroutine *waiter;
} Piece;

typedef struct Read {
    const Side *side;
    Piece *piece;
    int index;
} Read;

typedef struct Compare {
    const CompareOptions *opts;
    Side side[2];
    int64_t end;        /* of the longer one */
    int64_t next;       /* not looked at yet */
    Piece pieces[MAX_READERS]; /* a ring */
    int first, n_pieces;
} Compare;

/* ---- reading --------------------------------------------------------------------------------- */

static void coroutine_fn co_read_entry(void *opaque)
{
    Read *read = opaque;
    Piece *piece = read->piece;
    int i = read->index;
    uint8_t *buf = piece->buf[i];
    int ret = buf ? blk_co_pread(read->side->image, piece->offset, piece->bytes, buf, 0) : -ENOMEM;
    if (ret < 0 && !piece->failed) {
        piece->failed = i + 1;
        piece->ret = ret;
    }
    g_free(read);
    if (--piece->pending == 0 && piece->waiter) {
        aio_co_wake(g_steal_pointer(&piece->waiter));
    }
}

static void coroutine_fn co_start_reads(Compare *c, Piece *piece)
{
    piece->pending = piece->reads[0] + piece->reads[1];
    for (int i = 0; i < 2; i++) {
        if (!piece->reads[i]) {
            continue;
        }
        if (!piece->buf[i]) {
            piece->buf[i] = blk_try_blockalign(c->side[i].image, CHUNK_BYTES);
        }
        Read *read = g_new(Read, 1);
        *read = (Read){ &c->side[i], piece, i };
        qemu_coroutine_enter(qemu_coroutine_create(co_read_entry, read));
    }
}

static void coroutine_fn co_wait_for_reads(Piece *piece)
{
    if (piece->pending > 0) {
        piece->waiter = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
}

/* ---- judging --------------------------------------------------------------------------------- */

/* The first sector that differs, or -1. */
static int64_t find_difference(const Piece *piece)
{
    const uint8_t *a = piece->reads[0] ? piece->buf[0] : NULL;
    const uint8_t *b = piece->reads[1] ? piece->buf[1] : NULL;
    if (a && b && !memcmp(a, b, piece->bytes)) {
        return -1;
    }
    for (int64_t at = 0; at < piece->bytes; at += BDRV_SECTOR_SIZE) {
        int64_t n = MIN(BDRV_SECTOR_SIZE, piece->bytes - at);
        bool same = a && b ? !memcmp(a + at, b + at, n)
                           : (!a || buffer_is_zero(a + at, n)) && (!b || buffer_is_zero(b + at, n));
        if (!same) {
            return at;
        }
    }
    return -1;
}

/* The oldest piece.  -1: it is the same on both sides; else the exit status. */
static int coroutine_fn co_finish_piece(Compare *c)
{
    Piece *piece = &c->pieces[c->first];
    co_wait_for_reads(piece);
    c->first = (c->first + 1) % MAX_READERS;
    c->n_pieces--;
    if (piece->failed) {
        error_report("Error while reading offset %" PRId64 " of %s: %s", piece->offset,
                     c->side[piece->failed - 1].name, g_strerror(-piece->ret));
        return COMPARE_READ_FAILED;
    }
    int64_t at = find_difference(piece);
    if (at >= 0) {
        if (!c->opts->quiet) {
            printf("Content mismatch at offset %" PRId64 "!\n", piece->offset + at);
        }
        return COMPARE_DIFFERENT;
    }
    qemu_progress_print(100.0 * (piece->offset + piece->bytes) / c->end, 0);
    return -1;
}

static int coroutine_fn co_finish_all(Compare *c)
{
    int status = -1;
    while (status < 0 && c->n_pieces > 0) {
        status = co_finish_piece(c);
    }
    return status;
}

/* ---- what is where --------------------------------------------------------------------------- */

/* False, reported, if the image does not tell. */
static bool coroutine_fn co_look_up(Side *side, int64_t offset)
{
    int64_t bytes;
    if (offset >= side->bytes || offset < side->known_end) {
        return true;
    }
    int flags = blk_co_block_status_above(side->image, NULL, offset, side->bytes - offset, &bytes,
                                          NULL, NULL, NULL);
    if (flags < 0 || bytes == 0) {
        error_report("Sector allocation test failed for %s", side->name);
        return false;
    }
    side->flags = flags;
    side->known_end = offset + bytes;
    return true;
}

static bool needs_reading(const Side *side, int64_t offset)
{
    return offset < side->bytes && !(side->flags & BDRV_BLOCK_ZERO);
}

static bool same_allocation(const Compare *c)
{
    int mask = BDRV_BLOCK_DATA | BDRV_BLOCK_ZERO | BDRV_BLOCK_ALLOCATED;
    return !((c->side[0].flags ^ c->side[1].flags) & mask);
}

/* How far from c->next both sides are alike in what they hold. */
static int64_t span_here(const Compare *c)
{
    int64_t end = c->end;
    for (int i = 0; i < 2; i++) {
        if (c->next < c->side[i].bytes) {
            end = MIN(end, c->side[i].known_end);
        }
    }
    return end - c->next;
}

static int coroutine_fn co_compare_next(Compare *c)
{
    if (!co_look_up(&c->side[0], c->next) || !co_look_up(&c->side[1], c->next)) {
        return COMPARE_MAP_FAILED;
    }
    if (c->opts->strict && !same_allocation(c)) {
        int status = co_finish_all(c); /* a difference before this one goes first */
        if (status < 0 && !c->opts->quiet) {
            printf("Strict mode: Offset %" PRId64 " block status mismatch!\n", c->next);
        }
        return status < 0 ? COMPARE_DIFFERENT : status;
    }
    int64_t bytes = span_here(c);
    bool reads[2] = { needs_reading(&c->side[0], c->next), needs_reading(&c->side[1], c->next) };
    if (reads[0] || reads[1]) {
        if (c->n_pieces == MAX_READERS) {
            int status = co_finish_piece(c);
            if (status >= 0) {
                return status;
            }
        }
        bytes = MIN(bytes, CHUNK_BYTES);
        Piece *piece = &c->pieces[(c->first + c->n_pieces++) % MAX_READERS];
        *piece = (Piece){ .offset = c->next, .bytes = bytes, .reads = { reads[0], reads[1] },
                          .buf = { piece->buf[0], piece->buf[1] } };
        co_start_reads(c, piece);
    }
    c->next += bytes;
    return -1;
}

/* Compare up to @end. */
static int coroutine_fn co_compare_to(Compare *c, int64_t end)
{
    int status = -1;
    while (status < 0 && c->next < end) {
        status = co_compare_next(c);
    }
    return status < 0 ? co_finish_all(c) : status;
}

static int coroutine_fn co_compare(Compare *c)
{
    int64_t common = MIN(c->side[0].bytes, c->side[1].bytes);
    bool sizes_differ = c->side[0].bytes != c->side[1].bytes;
    bool quiet = c->opts->quiet;
    if (sizes_differ && c->opts->strict) {
        if (!quiet) {
            puts("Strict mode: Image size mismatch!");
        }
        return COMPARE_DIFFERENT;
    }
    int status = co_compare_to(c, common);
    if (status < 0 && sizes_differ) {
        if (!quiet) {
            puts("Warning: Image size mismatch!");
        }
        status = co_compare_to(c, c->end); /* the rest must be zero */
    }
    if (status >= 0) {
        return status;
    }
    qemu_progress_print(100, 0);
    if (!quiet) {
        puts("Images are identical.");
    }
    return COMPARE_SAME;
}

/* ---- running --------------------------------------------------------------------------------- */

static bool coroutine_fn co_open_side(Compare *c, int i, const char *name, const char *format)
{
    Side *side = &c->side[i];
    ImgOpen how = {
        .filename = name,
        .format = format,
        .image_opts = c->opts->image_opts,
        .force_share = c->opts->force_share,
    };
    if (!img_parse_cache(&how, "source cache", c->opts->cache ? c->opts->cache : "writeback")) {
        return false;
    }
    side->name = name;
    side->image = img_co_open(&how);
    if (!side->image) {
        return false;
    }
    side->bytes = blk_co_getlength(side->image);
    if (side->bytes < 0) {
        error_report("Can't get size of %s: %s", name, g_strerror(-side->bytes));
        return false;
    }
    c->end = MAX(c->end, side->bytes);
    return true;
}

static void coroutine_fn co_clean_up(Compare *c)
{
    for (int i = 0; i < MAX_READERS; i++) {
        co_wait_for_reads(&c->pieces[i]);
        qemu_vfree(c->pieces[i].buf[0]);
        qemu_vfree(c->pieces[i].buf[1]);
    }
    img_co_close(c->side[0].image);
    img_co_close(c->side[1].image);
}

static int coroutine_fn co_run_compare(int argc, char **argv)
{
    CompareOptions opts = { 0 };
    Compare c = { .opts = &opts };
    int status;
    if (!img_parse(&img_compare, &opts, argc, argv, &status)) {
        return status;
    }
    if (optind != argc - 2) {
        return img_usage_error(&img_compare, "Expecting two image file names");
    }
    qemu_progress_init(opts.progress && !opts.quiet, 2.0);
    qemu_progress_print(0, 100);
    if (co_open_side(&c, 0, argv[optind], opts.format) &&
        co_open_side(&c, 1, argv[optind + 1], opts.format2)) {
        status = co_compare(&c);
    } else {
        status = COMPARE_OPEN_FAILED;
    }
    qemu_progress_end();
    co_clean_up(&c);
    return status;
}

const ImgCommand img_compare = {
    .name = "compare",
    .arguments = "FILE1 FILE2",
    .summary = "Tell whether two images have the same content; where one is shorter, the rest of "
               "the other\nmust be zero.  Exit status: 0 same, 1 different, 2 not opened, 3 not "
               "mapped, 4 not read.",
    .options = compare_options,
    .co_run = co_run_compare,
};
