/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copying the content of images into another, by several workers. */
#include "qemu/osdep.h"

#include "block/block-sharing.h"
#include "block/coroutine.h"
#include "copy.h"
#include "qemu/bucket.h"
#include "qemu/co-lock.h"
#include "qemu/iszero.h"
#include "qemu/memalign.h"
#include "qemu/progress.h"

/* Zeroes are told apart at most this coarsely when the target has clusters: a part of a cluster
 * costs a second request. */
#define MAX_ZERO_UNIT (64 * 1024)

/* One request to write zeroes. */
#define ZERO_CHUNK (INT64_C(1) << 30)

/* No file system has larger blocks that is made with its defaults. */
#define HOST_BLOCK 4096

/* Looked up in a source at a time. */
#define EXTENTS_AT_ONCE 256

typedef enum PieceKind {
    PIECE_DATA,
    PIECE_ZERO,
    PIECE_BACKING, /* the target's backing file has it */
} PieceKind;

typedef struct Piece {
    int64_t offset, bytes;
    PieceKind kind;
} Piece;

typedef struct CopyState {
    const ImgCopy *copy;
    int64_t *ends;      /* of each source, in the concatenation */
    int64_t bytes;      /* end of what is copied, in the concatenation */
    int64_t unit;       /* in which zeroes are looked for */
    int64_t cluster;    /* compressed: unit of writing */
    bool is_allocating; /* where the target puts data depends on the order of all its steps */
    bool offload;       /* still worth trying */
    BlockSharing sharing;
    ThrottleState throttle;
    bool throttled;

    /* Taking pieces. */
    CoMutex pick_lock;
    int64_t next;       /* first byte not taken */
    Piece extent;       /* what is known to be alike around next */
    BdrvExtent *extents; /* behind it, of the same source */
    int n_extents, next_extent;
    int64_t extents_end; /* of those that were taken, in the concatenation */

    /* Data being copied. */
    CoQueue room;
    int64_t in_flight;  /* bytes */
    GPtrArray *buffers; /* free ones; those used last are taken first: caches have them */

    /* Writing in order. */
    CoQueue turn;
    int64_t write_next; /* all requests of pieces before this have begun, or ended */

    int64_t done;       /* bytes */
    int ret;            /* first error */
    int running;        /* workers */
    Coroutine *waiter;
} CopyState;

/* ---- errors ---------------------------------------------------------------------------------- */

static void fail(CopyState *s, int ret, const char *doing, int64_t offset)
{
    if (s->ret < 0) {
        return;
    }
    s->ret = ret;
    error_report("error while %s at byte %" PRId64 ": %s", doing, offset, g_strerror(-ret));
    qemu_co_queue_restart_all(&s->turn);
    qemu_co_queue_restart_all(&s->room);
}

/* Whether there is still a point in going on. */
static bool goes_on(CopyState *s)
{
    if (s->ret >= 0 && s->copy->is_interrupted()) {
        s->ret = -EINTR;
        error_report("interrupted");
        qemu_co_queue_restart_all(&s->turn);
        qemu_co_queue_restart_all(&s->room);
    }
    return s->ret >= 0;
}

/* ---- sources --------------------------------------------------------------------------------- */

int64_t coroutine_fn img_co_copy_length(const ImgCopy *copy)
{
    int64_t total = 0;
    for (int i = 0; i < copy->n_sources; i++) {
        int64_t bytes = blk_co_getlength(copy->sources[i]);
        if (bytes < 0) {
            return bytes;
        }
        if (bytes > INT64_MAX - total) {
            return -EFBIG;
        }
        total += bytes;
    }
    return total;
}

static int source_at(const CopyState *s, int64_t offset)
{
    int i = 0;
    while (offset >= s->ends[i]) {
        i++;
    }
    return i;
}

static int64_t source_start(const CopyState *s, int i)
{
    return i ? s->ends[i - 1] : 0;
}

/* Where in the target @offset of the concatenation goes. */
static int64_t target_offset(const CopyState *s, int64_t offset)
{
    return offset - s->copy->skip;
}

static PieceKind kind_of(const CopyState *s, int flags)
{
    if (flags & BDRV_BLOCK_ZERO) {
        return PIECE_ZERO;
    }
    if (!(flags & (BDRV_BLOCK_DATA | BDRV_BLOCK_ALLOCATED)) && s->copy->target_has_backing) {
        return PIECE_BACKING;
    }
    return PIECE_DATA;
}

/* Fill the list from s->next on. */
static int coroutine_fn co_look_up(CopyState *s)
{
    int i = source_at(s, s->next);
    ImgBackend *source = s->copy->sources[i];
    BlockDriverState *base = NULL;
    if (s->copy->target_has_backing) {
        base = bdrv_backing_chain_next(blk_bs(source));
    }
    int n = blk_co_block_extents_above(source, base, s->next - source_start(s, i),
                                       s->ends[i] - s->next, s->extents, EXTENTS_AT_ONCE);
    n = n == 0 ? -EIO : n;
    if (n < 0 && s->copy->salvage) {
        s->extents[0] = (BdrvExtent){ .bytes = MIN(IMG_COPY_CHUNK, s->ends[i] - s->next),
                                      .flags = BDRV_BLOCK_DATA };
        n = 1;
    }
    s->n_extents = MAX(n, 0);
    s->next_extent = 0;
    s->extents_end = s->next;
    return MIN(n, 0);
}

/* What is at s->next, as far as it is alike. */
static int coroutine_fn co_find_extent(CopyState *s)
{
    int ret = s->next_extent == s->n_extents ? co_look_up(s) : 0;
    if (ret < 0) {
        return ret;
    }
    const BdrvExtent *extent = &s->extents[s->next_extent++];
    s->extent = (Piece){ s->extents_end, extent->bytes, kind_of(s, extent->flags) };
    s->extents_end += extent->bytes;
    return 0;
}

/* Read in small steps; what cannot be read is zeroes. */
static void coroutine_fn co_read_salvaging(CopyState *s, ImgBackend *source, int64_t offset,
                                           int64_t bytes, uint8_t *buf)
{
    int64_t step = MAX(BDRV_SECTOR_SIZE, blk_get_request_alignment(source));
    while (bytes > 0) {
        int64_t n = MIN(bytes, step - offset % step);
        int ret = blk_co_pread(source, offset, n, buf, 0);
        if (ret < 0) {
            if (!s->copy->quiet) {
                warn_report("error while reading offset %" PRId64 ": %s", offset,
                            g_strerror(-ret));
            }
            memset(buf, 0, n);
        }
        offset += n;
        bytes -= n;
        buf += n;
    }
}

static int coroutine_fn co_read(CopyState *s, int64_t offset, int64_t bytes, uint8_t *buf)
{
    while (bytes > 0) {
        int i = source_at(s, offset);
        int64_t at = offset - source_start(s, i);
        int64_t n = MIN(bytes, s->ends[i] - offset);
        int ret = blk_co_pread(s->copy->sources[i], at, n, buf, 0);
        if (ret < 0 && !s->copy->salvage) {
            return ret;
        }
        if (ret < 0) {
            co_read_salvaging(s, s->copy->sources[i], at, n, buf);
        }
        offset += n;
        bytes -= n;
        buf += n;
    }
    return 0;
}

/* ---- taking pieces --------------------------------------------------------------------------- */

static int coroutine_fn co_extent_here(CopyState *s)
{
    if (s->next >= s->extent.offset + s->extent.bytes) {
        return co_find_extent(s);
    }
    return 0;
}

/* The cluster at s->next; one that is not all alike is data. */
static int coroutine_fn co_take_cluster(CopyState *s, Piece *piece)
{
    int64_t end = MIN(s->next + s->cluster, s->bytes);
    *piece = (Piece){ s->next, end - s->next, s->extent.kind };
    while (s->next < end) {
        int ret = co_extent_here(s);
        if (ret < 0) {
            return ret;
        }
        if (s->extent.kind != piece->kind) {
            piece->kind = PIECE_DATA;
        }
        s->next = MIN(end, s->extent.offset + s->extent.bytes);
    }
    return 0;
}

/* Whole clusters, as many as are known to be alike: the target compresses them side by side. */
static int coroutine_fn co_take_clusters(CopyState *s, Piece *piece)
{
    int ret = co_take_cluster(s, piece);
    if (piece->kind == PIECE_ZERO && s->copy->sparse_bytes == 0) {
        piece->kind = PIECE_DATA;
    }
    int64_t size = piece->kind == PIECE_DATA ? MAX(IMG_COPY_CHUNK, s->cluster) : ZERO_CHUNK;
    int64_t stop = MIN(piece->offset - piece->offset % size + size, s->bytes);
    while (ret >= 0 && s->next < stop) {
        ret = co_extent_here(s);
        int64_t end = MIN(s->extent.offset + s->extent.bytes, stop);
        if (end < s->bytes) {
            end -= end % s->cluster;
        }
        if (ret < 0 || end <= s->next || s->extent.kind != piece->kind) {
            break;
        }
        piece->bytes += end - s->next;
        s->next = end;
    }
    return ret;
}

static int coroutine_fn co_take_piece(CopyState *s, Piece *piece)
{
    int ret = co_extent_here(s);
    if (ret < 0) {
        return ret;
    }
    if (s->copy->compressed) {
        return co_take_clusters(s, piece);
    }
    int64_t bytes = s->extent.offset + s->extent.bytes - s->next;
    PieceKind kind = s->extent.kind;
    if (kind == PIECE_ZERO && s->copy->sparse_bytes == 0) {
        kind = PIECE_DATA; /* zeroes are to take space like everything else */
    }
    /* Pieces end at multiples of their size: no cluster of the target is in two of them. */
    int64_t size = kind == PIECE_DATA ? IMG_COPY_CHUNK : ZERO_CHUNK;
    int64_t fill = size - target_offset(s, s->next) % size;
    *piece = (Piece){ s->next, MIN(MIN(bytes, s->bytes - s->next), fill), kind };
    s->next += piece->bytes;
    return 0;
}

/* Wait until so much data may be under way. */
static void coroutine_fn co_wait_for_room(CopyState *s, int64_t bytes)
{
    while (s->ret >= 0 && s->copy->max_in_flight && s->in_flight > 0 &&
           s->in_flight + bytes > s->copy->max_in_flight) {
        qemu_co_queue_wait(&s->room, NULL);
    }
    s->in_flight += bytes;
}

static void leave_room(CopyState *s, int64_t bytes)
{
    s->in_flight -= bytes;
    qemu_co_queue_restart_all(&s->room);
}

/* False: nothing is left to do, or something failed. */
static bool coroutine_fn co_next_piece(CopyState *s, Piece *piece)
{
    int ret = 0;
    qemu_co_mutex_lock(&s->pick_lock);
    bool go_on = goes_on(s) && s->next < s->bytes;
    int64_t offset = s->next;
    if (go_on) {
        ret = co_take_piece(s, piece);
    }
    if (go_on && ret >= 0 && piece->kind == PIECE_DATA) {
        co_wait_for_room(s, piece->bytes);
    }
    qemu_co_mutex_unlock(&s->pick_lock);
    if (ret < 0) {
        fail(s, ret, "reading block status", offset);
        return false;
    }
    return go_on;
}

/* ---- writing --------------------------------------------------------------------------------- */

static bool coroutine_fn co_wait_for_turn(CopyState *s, const Piece *piece)
{
    if (s->copy->out_of_order) {
        return s->ret >= 0;
    }
    while (s->ret >= 0 && s->write_next < piece->offset) {
        qemu_co_queue_wait(&s->turn, NULL);
    }
    return s->ret >= 0;
}

static void pass_turn(CopyState *s, const Piece *piece)
{
    if (s->write_next == piece->offset) {
        s->write_next += piece->bytes;
        qemu_co_queue_restart_all(&s->turn);
    }
}

/*
 * The last request of a piece is about to begin.  The next writer may follow: it runs when this one
 * yields, so the requests begin in the same order whatever the number of workers.  That is not
 * enough where a request may find clusters in several steps: there the next one waits for the end.
 */
static void pass_turn_early(CopyState *s, const Piece *piece)
{
    if (!s->is_allocating) {
        pass_turn(s, piece);
    }
}

static int coroutine_fn co_write_zeroes(CopyState *s, int64_t offset, int64_t bytes)
{
    if (s->copy->target_is_zero) {
        return 0;
    }
    return blk_co_pwrite_zeroes(s->copy->target, target_offset(s, offset), bytes,
                                s->copy->target_has_backing ? 0 : BDRV_REQ_MAY_UNMAP);
}

/* Bytes from the start of @buf, at @offset of the image, that are all zero or all to be written. */
static int64_t run_length(const CopyState *s, const uint8_t *buf, int64_t offset, int64_t bytes,
                          bool *is_zero)
{
    int64_t n = 0;
    while (n < bytes) {
        int64_t step = MIN(bytes - n, s->unit - (target_offset(s, offset) + n) % s->unit);
        bool zero = buffer_is_zero(buf + n, step);
        if (n == 0) {
            *is_zero = zero;
        } else if (zero != *is_zero) {
            break;
        }
        n += step;
    }
    return n;
}

/*
 * Let the files have the same blocks.  Returns the bytes from the start of the range for which they
 * do.  Whether or not they do, the target gets its clusters in the same order.
 */
static int64_t coroutine_fn co_share(CopyState *s, int64_t offset, int64_t bytes)
{
    int i = source_at(s, offset);
    int64_t at = offset - source_start(s, i), to = target_offset(s, offset);
    int64_t unit = MAX(HOST_BLOCK, bdrv_get_cluster_size(blk_bs(s->copy->target)));

    bytes = QEMU_ALIGN_DOWN(MIN(bytes, s->ends[i] - offset), unit);
    if (!block_sharing_suits(&s->sharing, bytes) || at % HOST_BLOCK || to % unit) {
        return 0;
    }
    int ret = blk_co_copy_range(s->copy->sources[i], at, s->copy->target, to, bytes,
                                BDRV_REQ_NO_FALLBACK);
    return block_sharing_done(&s->sharing, ret) ? bytes : 0;
}

/* The same bytes are in @buf. */
static int coroutine_fn co_write_run(CopyState *s, int64_t offset, int64_t bytes,
                                     const uint8_t *buf)
{
    int64_t shared = co_share(s, offset, bytes);

    if (shared == bytes) {
        return 0;
    }
    return blk_co_pwrite(s->copy->target, target_offset(s, offset) + shared, bytes - shared,
                         buf + shared, s->copy->compressed ? BDRV_REQ_WRITE_COMPRESSED : 0);
}

/* What is zero as zeroes, the rest as data; passes the turn on. */
static int coroutine_fn co_write_data(CopyState *s, const Piece *piece, const uint8_t *buf)
{
    int64_t offset = piece->offset, bytes = piece->bytes;
    int ret = 0;
    while (bytes > 0 && ret >= 0) {
        bool is_zero = false;
        int64_t n = s->copy->sparse_bytes ? run_length(s, buf, offset, bytes, &is_zero) : bytes;
        if (n == bytes) {
            pass_turn_early(s, piece);
        }
        if (is_zero) {
            ret = co_write_zeroes(s, offset, n);
        } else {
            ret = co_write_run(s, offset, n, buf);
        }
        offset += n;
        bytes -= n;
        buf += n;
    }
    return ret;
}

/* Let the host copy.  False: it can not, and will not be asked again. */
static bool coroutine_fn co_offload(CopyState *s, const Piece *piece)
{
    int i = source_at(s, piece->offset);
    if (piece->offset + piece->bytes > s->ends[i]) {
        return false;
    }
    int ret = blk_co_copy_range(s->copy->sources[i], piece->offset - source_start(s, i),
                                s->copy->target, target_offset(s, piece->offset), piece->bytes, 0);
    s->offload = s->offload && ret >= 0;
    return ret >= 0;
}

static void coroutine_fn co_copy_data(CopyState *s, const Piece *piece, uint8_t *buf)
{
    if (s->offload) {
        if (!co_wait_for_turn(s, piece)) {
            return;
        }
        pass_turn_early(s, piece);
        if (co_offload(s, piece)) {
            return;
        }
    }
    int ret = co_read(s, piece->offset, piece->bytes, buf);
    if (ret < 0) {
        fail(s, ret, "reading", piece->offset);
        return;
    }
    if (!co_wait_for_turn(s, piece)) {
        return;
    }
    ret = co_write_data(s, piece, buf);
    if (ret < 0) {
        fail(s, ret, "writing", piece->offset);
    }
}

/* ---- workers --------------------------------------------------------------------------------- */

/* False: something happened that makes waiting pointless. */
static bool coroutine_fn co_throttle(CopyState *s, const Piece *piece)
{
    int64_t wait_ns;
    if (!s->throttled || piece->kind != PIECE_DATA) {
        return true;
    }
    while ((wait_ns = throttle_wait_ns(&s->throttle, THROTTLE_WRITE,
                                       qemu_clock_get_ns(QEMU_CLOCK_REALTIME))) > 0) {
        /* In steps, so that an interrupt is noticed. */
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, MIN(wait_ns, 200 * 1000 * 1000));
        if (!goes_on(s)) {
            return false;
        }
    }
    throttle_account(&s->throttle, THROTTLE_WRITE, piece->bytes);
    return true;
}

static void coroutine_fn co_copy_piece(CopyState *s, const Piece *piece, uint8_t *buf)
{
    if (!co_throttle(s, piece)) {
        return;
    }
    if (piece->kind == PIECE_DATA) {
        co_copy_data(s, piece, buf);
    } else if (co_wait_for_turn(s, piece)) {
        pass_turn_early(s, piece);
        int ret = piece->kind == PIECE_ZERO ? co_write_zeroes(s, piece->offset, piece->bytes) : 0;
        if (ret < 0) {
            fail(s, ret, "writing", piece->offset);
        }
    }
    if (s->is_allocating) {
        pass_turn(s, piece);
    }
    s->done += piece->bytes;
    if (s->ret >= 0) {
        qemu_progress_print(100.0 * s->done / (s->bytes - s->copy->skip), 0);
    }
}

/* A buffer for one piece; NULL: there is no memory, which is reported. */
static uint8_t *take_buffer(CopyState *s, const Piece *piece)
{
    if (s->buffers->len > 0) {
        return g_ptr_array_steal_index(s->buffers, s->buffers->len - 1);
    }
    /* Of small pages the faults would take a tenth of a copy's time. */
    uint8_t *buf = qemu_try_memalign_large(IMG_COPY_CHUNK, MAX(IMG_COPY_CHUNK, s->cluster));
    if (!buf) {
        fail(s, -ENOMEM, "reading", piece->offset);
    }
    return buf;
}

static void coroutine_fn co_work(void *opaque)
{
    CopyState *s = opaque;
    Piece piece;
    while (co_next_piece(s, &piece)) {
        if (piece.kind != PIECE_DATA) {
            co_copy_piece(s, &piece, NULL);
            continue;
        }
        uint8_t *buf = take_buffer(s, &piece);
        if (buf) {
            co_copy_piece(s, &piece, buf);
            g_ptr_array_add(s->buffers, buf);
        }
        leave_room(s, piece.bytes);
    }
    if (--s->running == 0 && s->waiter) {
        aio_co_wake(s->waiter);
    }
}

static void set_rate(CopyState *s, uint64_t rate)
{
    ThrottleConfig cfg;
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    throttle_config_init(&cfg);
    cfg.buckets[THROTTLE_BPS_TOTAL].avg = rate;
    throttle_init(&s->throttle, now);
    throttle_set_config(&s->throttle, &cfg, now);
    s->throttled = rate > 0;
}

static void coroutine_fn co_run_workers(CopyState *s)
{
    s->running = s->copy->n_workers;
    for (int i = 0; i < s->copy->n_workers; i++) {
        qemu_coroutine_enter(qemu_coroutine_create(co_work, s));
    }
    if (s->running > 0) {
        s->waiter = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
}

int coroutine_fn img_co_copy(const ImgCopy *copy)
{
    int64_t cluster = bdrv_get_cluster_size(blk_bs(copy->target));
    g_autofree int64_t *ends = g_new(int64_t, copy->n_sources);
    g_autofree BdrvExtent *extents = g_new(BdrvExtent, EXTENTS_AT_ONCE);
    CopyState s = {
        .copy = copy,
        .ends = ends,
        .extents = extents,
        .bytes = img_co_copy_length(copy),
        .next = copy->skip,
        .write_next = copy->skip,
        .unit = copy->compressed ? MAX(cluster, 1)
                                 : MAX(copy->sparse_bytes, MIN(cluster, MAX_ZERO_UNIT)),
        .cluster = copy->compressed ? cluster : 0,
        .is_allocating = cluster > 1 && !copy->compressed && !copy->out_of_order,
        .offload = copy->offload,
        .sharing.is_off = !copy->share || copy->compressed || copy->salvage,
    };
    if (s.bytes < 0) {
        error_report("Could not get the size of the source: %s", g_strerror(-s.bytes));
        return s.bytes;
    }
    for (int i = 0; i < copy->n_sources; i++) {
        ends[i] = (i ? ends[i - 1] : 0) + blk_getlength(copy->sources[i]);
    }
    if (copy->limit && copy->limit < s.bytes - copy->skip) {
        s.bytes = copy->skip + copy->limit;
    }
    qemu_co_mutex_init(&s.pick_lock);
    qemu_co_queue_init(&s.turn);
    qemu_co_queue_init(&s.room);
    s.buffers = g_ptr_array_new_with_free_func(qemu_vfree);
    set_rate(&s, copy->rate);
    co_run_workers(&s);
    g_ptr_array_unref(s.buffers);
    return s.ret;
}
