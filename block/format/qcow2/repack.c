/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Moving compressed clusters; see repack.h. */
#include "qemu/osdep.h"

#include "repack.h"

#define BUFFER_BYTES (1 * MiB)

typedef struct Piece {
    uint64_t entry;    /* as L2 tables have it */
    uint64_t offset;
    uint32_t len;      /* to the end of its last sector */
    uint32_t size;     /* to where the next one begins in that sector */
    uint64_t refs;
    uint64_t new;      /* entry from now on; 0: it stays */
} Piece;

struct Qcow2Repack {
    Qcow2Shadow *sh;
    Qcow2State *s;
    uint64_t floor;          /* host offset */
    GArray *pieces;          /* of Piece, by place once they are all in */
    uint64_t file_len;
    uint32_t buf_bytes;      /* of each of the two; no piece is longer */
    uint8_t *read_buf;       /* part of the file */
    uint64_t read_start, read_len;
    uint8_t *write_buf;      /* adjacent pieces that wait */
    uint64_t write_start, write_len;
    uint64_t next;           /* host offset of what is free behind the last piece */
    uint64_t room;           /* bytes there in clusters that were taken */
    uint64_t held;           /* clusters counted once without a piece: [held, held_end) */
    uint64_t held_end;
};

/* ---- the pieces ---------------------------------------------------------------------------- */

Qcow2Repack *qcow2_repack_new(Qcow2Shadow *sh, uint64_t floor)
{
    Qcow2Repack *r = g_new0(Qcow2Repack, 1);

    r->sh = sh;
    r->s = sh->bs->opaque;
    r->floor = floor << r->s->cluster_bits;
    r->pieces = g_array_new(FALSE, FALSE, sizeof(Piece));
    return r;
}

void qcow2_repack_free(Qcow2Repack *r)
{
    if (r) {
        g_array_unref(r->pieces);
        g_free(r->read_buf);
        g_free(r->write_buf);
        g_free(r);
    }
}

void qcow2_repack_add(Qcow2Repack *r, uint64_t entry, uint64_t times)
{
    Piece piece = { .entry = entry & ~QCOW2_COPIED, .refs = times };

    qcow2_parse_compressed(r->s, entry, &piece.offset, &piece.len);
    piece.size = piece.len;
    if (piece.offset + piece.len > r->floor) {
        g_array_append_val(r->pieces, piece);
    }
}

static gint compare_pieces(gconstpointer a, gconstpointer b)
{
    const Piece *x = a, *y = b;

    if (x->offset != y->offset) {
        return x->offset < y->offset ? -1 : 1;
    }
    return x->len < y->len ? -1 : x->len > y->len;
}

void qcow2_repack_finish(Qcow2Repack *r)
{
    Piece *pieces = (Piece *)(void *)r->pieces->data;
    guint n = 0;

    g_array_sort(r->pieces, compare_pieces);
    for (guint i = 0; i < r->pieces->len; i++) {
        if (n > 0 && pieces[n - 1].entry == pieces[i].entry) {
            pieces[n - 1].refs += pieces[i].refs;
        } else {
            pieces[n++] = pieces[i];
        }
    }
    g_array_set_size(r->pieces, n);
    /* A length is in sectors: what of the last one belongs to the next piece is not this one's. */
    for (guint i = 0; i + 1 < n; i++) {
        uint64_t end = pieces[i].offset + pieces[i].len, next = pieces[i + 1].offset;

        if (next < end && next > end - BDRV_SECTOR_SIZE && next > pieces[i].offset) {
            pieces[i].size = next - pieces[i].offset;
        }
    }
}

uint64_t qcow2_repack_entry(const Qcow2Repack *r, uint64_t entry)
{
    Piece key = { .entry = entry & ~QCOW2_COPIED };
    guint index;

    qcow2_parse_compressed(r->s, entry, &key.offset, &key.len);
    if (g_array_binary_search(r->pieces, &key, compare_pieces, &index)) {
        uint64_t new = g_array_index(r->pieces, Piece, index).new;

        return new ? new : entry;
    }
    return entry;
}

/* ---- copying ------------------------------------------------------------------------------- */

static bool coroutine_fn co_flush(Qcow2Repack *r, Error **errp)
{
    int ret = 0;

    if (r->write_len) {
        ret = bdrv_co_pwrite(r->sh->bs->file, r->write_start, r->write_len, r->write_buf, 0);
    }
    r->write_len = 0;
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not move compressed data");
    }
    return ret >= 0;
}

/* The bytes of @piece, as far as the file has them; behind it zeroes.  NULL with @errp set. */
static const uint8_t *coroutine_fn co_read_piece(Qcow2Repack *r, const Piece *piece, Error **errp)
{
    if (piece->offset < r->read_start ||
        piece->offset + piece->size > r->read_start + r->read_len) {
        uint64_t left = piece->offset < r->file_len ? r->file_len - piece->offset : 0;
        uint64_t bytes = MIN(left, r->buf_bytes);
        int ret = bytes ? bdrv_co_pread(r->sh->bs->file, piece->offset, bytes, r->read_buf, 0) : 0;

        r->read_len = 0;
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not read compressed data");
            return NULL;
        }
        memset(r->read_buf + bytes, 0, r->buf_bytes - bytes);
        r->read_start = piece->offset;
        r->read_len = r->buf_bytes;
    }
    return r->read_buf + (piece->offset - r->read_start);
}

static bool coroutine_fn co_copy(Qcow2Repack *r, const Piece *piece, uint64_t to, Error **errp)
{
    const uint8_t *bytes;

    if (r->write_len && (to != r->write_start + r->write_len ||
                         r->write_len + piece->size > r->buf_bytes) && !co_flush(r, errp)) {
        return false;
    }
    bytes = co_read_piece(r, piece, errp);
    if (!bytes) {
        return false;
    }
    if (!r->write_len) {
        r->write_start = to;
    }
    memcpy(r->write_buf + r->write_len, bytes, piece->size);
    r->write_len += piece->size;
    return true;
}

/* ---- places -------------------------------------------------------------------------------- */

static uint64_t cluster_of(const Qcow2Repack *r, uint64_t offset)
{
    return offset >> r->s->cluster_bits;
}

/* Can @refs more be counted in the clusters of [@offset, @offset + @size)? */
static bool coroutine_fn co_can_count(const Qcow2Repack *r, uint64_t offset, uint64_t size,
                                      uint64_t refs)
{
    Qcow2Counts *counts = r->sh->counts;

    for (uint64_t i = cluster_of(r, offset); i <= cluster_of(r, offset + size - 1); i++) {
        uint64_t held = i >= r->held && i < r->held_end;

        if (refs > counts->max - (qcow2_counts_co_get(counts, i) - held)) {
            return false;
        }
    }
    return true;
}

/* Take the cluster behind the last piece, if there is one and it is free. */
static void coroutine_fn co_lengthen(Qcow2Repack *r)
{
    uint64_t cluster = cluster_of(r, r->next + r->room);

    if (r->room && qcow2_shadow_co_take(r->sh, cluster)) {
        r->room += r->s->cluster_size;
        if (r->held == r->held_end) {
            r->held = cluster;
        }
        r->held_end = cluster + 1;
    }
}

/* Other clusters, so many that @bytes have room in them. */
static bool coroutine_fn co_begin_anew(Qcow2Repack *r, uint64_t bytes, Error **errp)
{
    uint64_t n = qcow2_nb_clusters(r->s, bytes);
    int64_t offset;

    /* What was taken for nothing. */
    for (; r->held < r->held_end; r->held++) {
        qcow2_counts_co_set(r->sh->counts, r->held, 0);
    }
    offset = qcow2_shadow_co_alloc(r->sh, n, errp);
    if (offset < 0) {
        return false;
    }
    r->next = offset;
    r->room = n << r->s->cluster_bits;
    r->held = cluster_of(r, offset);
    r->held_end = r->held + n;
    return true;
}

/* The counts of the clusters in [@offset, @offset + @len) change by those of @piece. */
static bool coroutine_fn co_count_piece(Qcow2Repack *r, const Piece *piece, uint64_t offset,
                                        uint64_t len, bool is_new, Error **errp)
{
    Qcow2Counts *counts = r->sh->counts;

    for (uint64_t i = cluster_of(r, offset); i <= cluster_of(r, offset + len - 1); i++) {
        uint64_t count = qcow2_counts_co_get(counts, i);

        if (is_new) {
            bool is_held = i >= r->held && i < r->held_end;

            qcow2_counts_co_set(counts, i, count - is_held + piece->refs);
            r->held += is_held;
        } else if (count < piece->refs) {
            error_setg(errp, "The refcounts of the image are damaged; check it first");
            return false;
        } else {
            qcow2_counts_co_set(counts, i, count - piece->refs);
        }
    }
    return true;
}

static bool coroutine_fn co_move(Qcow2Repack *r, Piece *piece, Error **errp)
{
    if (r->room < piece->size) {
        co_lengthen(r);
    }
    if ((r->room < piece->size || !co_can_count(r, r->next, piece->size, piece->refs)) &&
        !co_begin_anew(r, piece->size, errp)) {
        return false;
    }
    if (!co_copy(r, piece, r->next, errp) ||
        !co_count_piece(r, piece, piece->offset, piece->len, false, errp) ||
        !co_count_piece(r, piece, r->next, piece->size, true, errp)) {
        return false;
    }
    piece->new = qcow2_packed_entry(r->s, r->next, piece->size);
    r->next += piece->size;
    r->room -= piece->size;
    return true;
}

bool coroutine_fn qcow2_repack_co_run(Qcow2Repack *r, uint64_t cutoff, Error **errp)
{
    int64_t len = bdrv_co_getlength(r->sh->bs->file->bs);

    if (len < 0) {
        error_setg_errno(errp, -len, "Could not get the length of the image file");
        return false;
    }
    r->file_len = len;
    r->buf_bytes = MAX(BUFFER_BYTES, 2 * r->s->cluster_size);
    r->read_buf = g_try_malloc(r->buf_bytes);
    r->write_buf = g_try_malloc(r->buf_bytes);
    if (!r->read_buf || !r->write_buf) {
        error_setg(errp, "Not enough memory to move compressed data");
        return false;
    }
    for (guint i = 0; i < r->pieces->len; i++) {
        Piece *piece = &g_array_index(r->pieces, Piece, i);

        if (cluster_of(r, piece->offset + piece->len - 1) >= cutoff && !co_move(r, piece, errp)) {
            return false;
        }
    }
    for (; r->held < r->held_end; r->held++) {
        qcow2_counts_co_set(r->sh->counts, r->held, 0);
    }
    return co_flush(r, errp);
}
