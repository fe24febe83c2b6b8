/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Repairing refcounts and COPIED flags.
 *
 * At every instant the image is no worse than before: counts rise before they fall, with a flush
 * between; a rebuilt refcount structure is complete in a new place before one write of the header
 * makes it valid; flags are mended when the counts are on disk.  So a repair that was cut short is
 * repeated, nothing else.
 */
#include "qemu/osdep.h"

#include "check.h"
#include "qemu/bitmap.h"
#include "shadow.h"

#define BUFFER_BYTES (1 * MiB)

/* ---- counts in place ----------------------------------------------------------------------- */

/* Write the blocks that changed, and flush. */
static int coroutine_fn co_write_counts(Qcow2Check *c)
{
    Qcow2RefArray *disk = c->disk;
    g_autofree Qcow2Place *places = g_try_new(Qcow2Place, MAX(disk->nb_blocks, 1));
    size_t n = 0;
    int ret;

    if (!places) {
        return -ENOMEM;
    }
    for (uint64_t i = find_next_bit(disk->dirty, disk->nb_blocks, 0); i < disk->nb_blocks;
         i = find_next_bit(disk->dirty, disk->nb_blocks, i + 1)) {
        places[n++] = (Qcow2Place){
            .offset = c->s->reftable.entries[disk->first_block + i] & QCOW2_REFTABLE_MASK,
            .buf = disk->counts + i * disk->block_bytes,
        };
    }
    bitmap_zero(disk->dirty, disk->nb_blocks);
    ret = qcow2_co_write_places(c->bs, places, n);
    return ret < 0 || n == 0 ? ret : bdrv_co_flush(c->bs->file->bs);
}

/* Tell about a wrong count; raise it if that is its repair.  Returns whether it is to fall. */
static bool mend_count(Qcow2Check *c, uint64_t cluster, uint64_t count, uint64_t refs)
{
    bool raises = count > 0 && count < refs && (c->fix & BDRV_FIX_ERRORS);
    bool falls = count > refs && (c->fix & BDRV_FIX_LEAKS);

    qcow2_check_report(c, "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
                       raises || falls ? "Repairing" : count < refs ? "ERROR" : "Leaked", cluster,
                       count, refs);
    if (raises) {
        qcow2_refarray_set(c->disk, cluster, refs);
        c->res->corruptions_fixed++;
    } else if (falls) {
        c->res->leaks_fixed++;
    } else if (count < refs) {
        c->res->corruptions++;
    } else {
        c->res->leaks++;
    }
    c->needs_rebuild |= count == 0;
    return falls;
}

/* What nothing refers to reads as zeroes one day; advice only.  Not where references are lost. */
static void coroutine_fn co_discard(Qcow2Check *c, uint64_t first, uint64_t n)
{
    if (n > 0 && !c->res->corruptions && !c->res->check_errors) {
        bdrv_co_pdiscard(c->bs->file, first << c->s->cluster_bits, n << c->s->cluster_bits);
    }
}

/* The first cluster past the end of the file may be in use, too: it reads as zeroes. */
static int coroutine_fn co_lower_counts(Qcow2Check *c, uint64_t end)
{
    uint64_t run = 0;

    for (uint64_t i = c->first; i < end; i++) {
        uint64_t refs = qcow2_check_refs(c, i), count = qcow2_refarray_get(c->disk, i);
        bool falls = count > refs && (refs > 0 || i < c->nb_clusters);
        bool is_freed = falls && refs == 0;

        if (falls) {
            qcow2_refarray_set(c->disk, i, refs);
        }
        if (!is_freed) {
            co_discard(c, i - run, run);
        }
        run = is_freed ? run + 1 : 0;
    }
    co_discard(c, end - run, run);
    return co_write_counts(c);
}

int coroutine_fn qcow2_repair_co_counts(Qcow2Check *c, void *opaque)
{
    uint64_t end = MIN(c->end, c->nb_clusters + 1);
    bool any_falls = false;
    int ret;

    for (uint64_t i = c->first; i < end; i++) {
        uint64_t refs = qcow2_check_refs(c, i), count = qcow2_refarray_get(c->disk, i);

        if (!(refs | count) || (i == c->nb_clusters && !refs) ||
            qcow2_check_block_is_lost(c, (i - c->first) >> c->s->refblock_bits)) {
            continue;
        }
        c->highest = MAX(c->highest, i);
        if (refs != count) {
            any_falls |= mend_count(c, i, count, refs);
        }
    }
    ret = co_write_counts(c);
    return ret < 0 || !any_falls ? ret : co_lower_counts(c, end);
}

/* ---- a new structure ----------------------------------------------------------------------- */

/* Blocks one after the other from ->start on, then the table. */
typedef struct Rebuild {
    GArray *table;             /* of uint64_t: places of the new blocks */
    uint64_t start, next;      /* clusters: of the first new block, of the one to be made */
    uint64_t tail;             /* index of the block that counts ->start */
    uint8_t *buf;
    size_t buf_blocks, used;   /* size of buf, blocks waiting in it */
    uint64_t *tail_refs;       /* counts in that block of what is before ->start */
} Rebuild;

static int coroutine_fn co_flush_blocks(Qcow2Check *c, Rebuild *r)
{
    uint64_t first = r->next - r->used;
    int ret = 0;

    if (r->used > 0) {
        ret = bdrv_co_pwrite(c->bs->file, first << c->s->cluster_bits,
                             (int64_t)r->used << c->s->cluster_bits, r->buf, 0);
    }
    r->used = 0;
    return ret;
}

/* A zeroed block for entry @index of the table, in *@block. */
static int coroutine_fn co_new_block(Qcow2Check *c, Rebuild *r, uint64_t index, uint8_t **block)
{
    int ret = r->used == r->buf_blocks ? co_flush_blocks(c, r) : 0;

    if (ret < 0) {
        return ret;
    }
    if (index * 8 >= QCOW2_MAX_REFTABLE_BYTES) {
        return -EFBIG;
    }
    if (r->table->len <= index) {
        g_array_set_size(r->table, index + 1);
    }
    g_array_index(r->table, uint64_t, index) = r->next << c->s->cluster_bits;
    *block = r->buf + (r->used << c->s->cluster_bits);
    memset(*block, 0, c->s->cluster_size);
    r->used++;
    r->next++;
    return 0;
}

static bool any_refs(const uint16_t *refs, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (refs[i]) {
            return true;
        }
    }
    return false;
}

/* A visit: the blocks of the window, as far as they lie before the tail. */
static int coroutine_fn co_rebuild_window(Qcow2Check *c, void *opaque)
{
    Rebuild *r = opaque;
    const Qcow2State *s = c->s;

    for (uint64_t i = 0; i < c->disk->nb_blocks; i++) {
        uint64_t index = c->disk->first_block + i, from = c->first + (i << s->refblock_bits);
        uint8_t *block;
        int ret;

        if (index > r->tail || !any_refs(c->refs + (i << s->refblock_bits), s->refblock_size)) {
            continue;
        }
        if (index == r->tail) {
            for (uint64_t at = from; at < r->start; at++) {
                r->tail_refs[at - from] = qcow2_check_refs(c, at);
            }
            continue;
        }
        ret = co_new_block(c, r, index, &block);
        if (ret < 0) {
            return ret;
        }
        for (uint32_t k = 0; k < s->refblock_size; k++) {
            uint64_t refs = qcow2_check_refs(c, from + k);

            if (refs) {
                qcow2_refcount_write(block, s->refcount_bits, k, refs);
            }
        }
    }
    return 0;
}

/* The blocks that count the new structure itself, @table_clusters included. */
static int coroutine_fn co_write_tail(Qcow2Check *c, Rebuild *r, uint64_t *table_clusters)
{
    const Qcow2State *s = c->s;
    uint64_t nb_blocks = 0, end;

    *table_clusters = 0;
    for (;;) {
        uint64_t tables, blocks;

        end = r->next + nb_blocks + *table_clusters;
        blocks = DIV_ROUND_UP(end, s->refblock_size) - r->tail;
        tables = qcow2_nb_clusters(s, (r->tail + blocks) * 8);
        if (blocks <= nb_blocks && tables <= *table_clusters) {
            break;
        }
        nb_blocks = MAX(blocks, nb_blocks);
        *table_clusters = MAX(tables, *table_clusters);
    }
    for (uint64_t i = 0; i < nb_blocks; i++) {
        uint64_t from = (r->tail + i) << s->refblock_bits;
        uint8_t *block;
        int ret = co_new_block(c, r, r->tail + i, &block);

        if (ret < 0) {
            return ret;
        }
        for (uint32_t k = 0; k < s->refblock_size && from + k < end; k++) {
            uint64_t refs = from + k >= r->start ? 1 : i == 0 ? r->tail_refs[k] : 0;

            qcow2_refcount_write(block, s->refcount_bits, k, refs);
        }
    }
    return co_flush_blocks(c, r);
}

static int coroutine_fn co_write_reftable(Qcow2Check *c, Rebuild *r, uint64_t table_clusters)
{
    int64_t bytes = table_clusters << c->s->cluster_bits;
    g_autofree uint64_t *table = NULL;
    int ret;

    if (bytes > QCOW2_MAX_REFTABLE_BYTES) {
        return -EFBIG;
    }
    table = g_try_malloc0(bytes);
    if (!table) {
        return -ENOMEM;
    }
    for (guint i = 0; i < r->table->len; i++) {
        table[i] = cpu_to_be64(g_array_index(r->table, uint64_t, i));
    }
    ret = bdrv_co_pwrite(c->bs->file, r->next << c->s->cluster_bits, bytes, table, 0);
    return ret < 0 ? ret : bdrv_co_flush(c->bs->file->bs);
}

/* R5: one write of the header, then memory follows. */
static int coroutine_fn co_switch(Qcow2Check *c, Rebuild *r, uint64_t table_clusters)
{
    Qcow2State *s = c->s;
    uint64_t offset = r->next << s->cluster_bits;
    uint32_t size = table_clusters * (s->cluster_size / 8);
    uint64_t *entries = g_try_new0(uint64_t, size);
    Qcow2Header header = s->header;
    int ret;

    if (!entries) {
        return -ENOMEM;
    }
    header.reftable_offset = offset;
    header.reftable_clusters = table_clusters;
    ret = qcow2_header_co_switch(c->bs, &header, QCOW2_HDR_REFTABLE, QCOW2_HDR_REFTABLE + 12);
    if (ret < 0) {
        g_free(entries);
        return ret;
    }
    memcpy(entries, r->table->data, (size_t)r->table->len * 8);
    g_free(s->reftable.entries);
    s->reftable = (Qcow2Table){ entries, size, offset, 0, 0 };
    s->header.reftable_offset = offset;
    s->header.reftable_clusters = table_clusters;
    return 0;
}

static int coroutine_fn co_rebuild(Qcow2Check *c, Rebuild *r)
{
    uint64_t table_clusters;
    int64_t len;
    int ret = qcow2_check_co_windows(c, false, co_rebuild_window, r);

    if (ret >= 0) {
        ret = co_write_tail(c, r, &table_clusters);
    }
    if (ret >= 0) {
        ret = co_write_reftable(c, r, table_clusters);
    }
    if (ret >= 0) {
        ret = co_switch(c, r, table_clusters);
    }
    if (ret < 0) {
        return ret;
    }
    len = bdrv_co_getlength(c->bs->file->bs);
    if (len < 0) {
        return len;
    }
    c->file_len = len;
    c->nb_clusters = qcow2_nb_clusters(c->s, len);
    return 0;
}

int coroutine_fn qcow2_repair_co_rebuild(Qcow2Check *c)
{
    Rebuild r = { .start = MAX(MAX(c->nb_clusters, c->highest + 1), c->beyond) };
    int ret = -ENOMEM;

    r.next = r.start;
    r.tail = r.start >> c->s->refblock_bits;
    r.buf_blocks = MAX(BUFFER_BYTES / c->s->cluster_size, 1);
    r.buf = bdrv_try_blockalign(c->bs->file->bs, r.buf_blocks * c->s->cluster_size);
    r.tail_refs = g_try_new0(uint64_t, c->s->refblock_size);
    r.table = g_array_new(FALSE, TRUE, sizeof(uint64_t));
    if (r.buf && r.tail_refs) {
        ret = co_rebuild(c, &r);
    }
    if (ret < 0) {
        qcow2_check_report(c, "ERROR writing the new refcount structure: %s", strerror(-ret));
    }
    qemu_vfree(r.buf);
    g_free(r.tail_refs);
    g_array_unref(r.table);
    return ret;
}

/* ---- flags --------------------------------------------------------------------------------- */

/* Is there a count of @host in the window (or none anywhere, which is 0 and told once)? */
static bool find_count(const Qcow2Check *c, uint64_t host, uint64_t *count)
{
    uint64_t cluster = host >> c->s->cluster_bits;

    if (qcow2_check_in_window(c, cluster)) {
        *count = qcow2_refarray_get(c->disk, cluster);
        return !qcow2_check_block_is_lost(c, (cluster - c->first) >> c->s->refblock_bits);
    }
    *count = 0;
    return c->first == 0 && qcow2_check_is_nowhere(c, cluster);
}

/* The entry with the flag as it should be; tells if it was wrong. */
static uint64_t mend_flag(Qcow2Check *c, uint64_t entry, int64_t l1_index, bool repairs)
{
    const char *verb = repairs ? "Repairing" : "ERROR";
    uint64_t count;

    if (!find_count(c, entry & QCOW2_OFFSET_MASK, &count) ||
        (count == 1) == !!(entry & QCOW2_COPIED)) {
        return entry;
    }
    if (l1_index >= 0) {
        qcow2_check_report(c, "%s OFLAG_COPIED L2 cluster: l1_index=%" PRId64 " l1_entry=%" PRIx64
                           " refcount=%" PRIu64, verb, l1_index, entry, count);
    } else {
        qcow2_check_report(c, "%s OFLAG_COPIED data cluster: l2_entry=%" PRIx64 " refcount=%"
                           PRIu64, verb, entry, count);
    }
    c->res->corruptions++;
    return entry ^ QCOW2_COPIED;
}

/* @n flags were mended if @ret says so. */
static int note_mended(Qcow2Check *c, int64_t n, int ret, const char *what)
{
    if (ret < 0) {
        qcow2_check_report(c, "ERROR: Could not write %s table: %s", what, strerror(-ret));
        c->res->check_errors++;
        return ret;
    }
    c->res->corruptions -= n;
    c->res->corruptions_fixed += n;
    return 0;
}

static int coroutine_fn co_mend_table(Qcow2Check *c, const Qcow2Place *place, bool repairs)
{
    const Qcow2State *s = c->s;
    size_t words = s->l2_entry_size / 8;
    uint64_t *table = (uint64_t *)place->buf;
    int64_t n = 0;
    int ret;

    for (size_t i = 0; i < (size_t)s->l2_size * words; i += words) {
        uint64_t entry = be64_to_cpu(table[i]), mended;

        if (!(entry & QCOW2_OFFSET_MASK) || (entry & QCOW2_COMPRESSED) || s->has_data_file) {
            continue;
        }
        mended = mend_flag(c, entry, -1, repairs);
        if (mended != entry) {
            table[i] = cpu_to_be64(mended);
            n++;
        }
    }
    if (n == 0 || !repairs) {
        return 0;
    }
    ret = qcow2_overlap_is_l2_only(s, place->offset)
              ? bdrv_co_pwrite(c->bs->file, place->offset, s->cluster_size, table, 0) : -EIO;
    return note_mended(c, n, ret, "L2");
}

static int coroutine_fn co_write_l1_entry(Qcow2Check *c, uint32_t index, uint64_t entry)
{
    uint64_t raw = cpu_to_be64(entry);
    int ret = bdrv_co_pwrite(c->bs->file, c->s->l1.offset + (uint64_t)index * 8, 8, &raw, 0);

    if (ret >= 0) {
        c->s->l1.entries[index] = entry;
    }
    return note_mended(c, 1, ret, "L1");
}

static int coroutine_fn co_mend_l1_entry(Qcow2Check *c, uint32_t index, bool repairs)
{
    uint64_t entry = c->s->l1.entries[index];
    uint64_t mended = mend_flag(c, entry, index, repairs);

    return mended != entry && repairs ? co_write_l1_entry(c, index, mended) : 0;
}

/*
 * The active L1 table with each L2 table at its first entry only: where damage names one table
 * millions of times, it is read once.
 */
static uint64_t *without_repeats(const Qcow2State *s)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_direct_hash, g_direct_equal);
    uint64_t *entries = g_try_new(uint64_t, MAX(s->l1.size, 1));

    for (uint32_t i = 0; entries && i < s->l1.size; i++) {
        uint64_t offset = s->l1.entries[i] & QCOW2_OFFSET_MASK;
        bool is_new = offset && g_hash_table_add(seen, GSIZE_TO_POINTER(offset));

        entries[i] = is_new ? s->l1.entries[i] : 0;
    }
    return entries;
}

/* The entries of the L1 table that without_repeats() left out; written all at once. */
static int coroutine_fn co_mend_repeats(Qcow2Check *c, const uint64_t *entries, bool repairs)
{
    Qcow2Table *l1 = &c->s->l1;
    g_autofree uint64_t *table = NULL;
    int64_t n = 0;
    int ret;

    for (uint32_t i = 0; i < l1->size; i++) {
        if (!entries[i] && (l1->entries[i] & QCOW2_OFFSET_MASK)) {
            uint64_t mended = mend_flag(c, l1->entries[i], i, repairs);

            n += mended != l1->entries[i];
            l1->entries[i] = repairs ? mended : l1->entries[i];
        }
    }
    if (n == 0 || !repairs) {
        return 0;
    }
    table = g_try_new(uint64_t, l1->size);
    if (!table) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < l1->size; i++) {
        table[i] = cpu_to_be64(l1->entries[i]);
    }
    ret = bdrv_co_pwrite(c->bs->file, l1->offset, (int64_t)l1->size * 8, table, 0);
    return note_mended(c, n, ret, "L1");
}

static int coroutine_fn co_mend_window(Qcow2Check *c, bool repairs)
{
    Qcow2State *s = c->s;
    g_autofree uint64_t *entries = without_repeats(s);
    g_autoptr(Qcow2Walk) walk = entries ? qcow2_walk_new(c->bs, entries, s->l1.size) : NULL;
    int ret;

    if (!walk) {
        return -ENOMEM;
    }
    while ((ret = qcow2_walk_co_next(walk)) > 0) {
        for (uint32_t i = 0; i < walk->n; i++) {
            ret = co_mend_l1_entry(c, walk->index[i], repairs);
            if (ret >= 0 && walk->places[i].ret >= 0) {
                ret = co_mend_table(c, &walk->places[i], repairs);
            }
            if (ret < 0) {
                return ret;
            }
        }
    }
    return ret < 0 ? ret : co_mend_repeats(c, entries, repairs);
}

int coroutine_fn qcow2_repair_co_flags(Qcow2Check *c)
{
    const BdrvCheckResult *res = c->res;
    /* After leaks only: if nothing is left that might have made the counts wrong. */
    bool repairs = (c->fix & BDRV_FIX_ERRORS) ||
                   (c->fix && !res->check_errors && !res->corruptions && !res->leaks &&
                    !c->list_faults && !c->any_shared);
    uint64_t cluster = 0;
    int ret = 0;

    c->nb_windows = 0;
    do {
        if (c->end == 0 || c->first != cluster) {
            ret = qcow2_check_co_window(c, cluster);
        }
        ret = ret < 0 ? ret : co_mend_window(c, repairs);
    } while (ret >= 0 && qcow2_check_next_window(c, &cluster));
    return ret;
}

/* ---- the list of snapshots ----------------------------------------------------------------- */

int coroutine_fn qcow2_repair_co_snapshot_list(Qcow2Check *c)
{
    g_autoptr(GArray) list = qcow2_snapshots_copy(c->s->snapshots);
    g_autoptr(Qcow2Shadow) sh = NULL;
    Error *local_err = NULL;

    /* The new list takes clusters that nothing counts: the counts must be right by now. */
    if (!c->replaces_list || c->needs_rebuild || c->final->check_errors) {
        c->res->corruptions += c->list_faults;
        return 0;
    }
    /* What is past the end of the file was never counted. */
    c->s->snapshots_bytes = qcow2_check_snapshots_in_file(c);
    sh = qcow2_shadow_co_begin(c->bs, &local_err);
    if (!sh || !qcow2_shadow_co_put_list(sh, list, &local_err) ||
        !qcow2_shadow_co_commit(sh, &local_err)) {
        qcow2_check_report(c, "ERROR failed to update the snapshot table: %s",
                           error_get_pretty(local_err));
        error_free(local_err);
        c->res->corruptions += c->list_faults;
        c->res->check_errors++;
        return -EIO;
    }
    c->s->snapshot_faults = (Qcow2SnapshotFaults){ 0 };
    c->res->corruptions_fixed += c->list_faults;
    c->highest = MAX(c->highest, c->s->fresh_from - 1);
    return 0;
}

/* ---- who is affected ----------------------------------------------------------------------- */

/* L2 tables beyond as many as there are, that is those named twice, that are looked at. */
#define MAX_REPEATED_TABLES 1024

static gint compare_clusters(gconstpointer a, gconstpointer b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static bool is_doubtful(const Qcow2Check *c, uint64_t cluster)
{
    return g_array_binary_search(c->doubtful, &cluster, compare_clusters, NULL);
}

typedef enum Harm {
    HARM_NONE,
    HARM_SHARED,
    HARM_LOST,
} Harm;

/* Adjacent guest clusters that suffered the same. */
typedef struct HarmRange {
    Harm harm;
    uint64_t start, end;
} HarmRange;

static void tell_range(Qcow2Check *c, const HarmRange *range)
{
    uint64_t end = MIN(range->end, c->s->header.size);

    if (range->harm == HARM_NONE || range->start >= end) {
        return;
    }
    if (range->harm == HARM_SHARED) {
        qcow2_check_report(c, "The content of %" PRIu64 " bytes at guest offset %#" PRIx64
                           " is doubtful: the place was used twice", end - range->start,
                           range->start);
    } else {
        qcow2_check_report(c, "The content of %" PRIu64 " bytes at guest offset %#" PRIx64
                           " is lost: the image file has no valid place for it",
                           end - range->start, range->start);
    }
}

static void add_harm(Qcow2Check *c, HarmRange *range, Harm harm, uint64_t guest)
{
    if (harm != range->harm || guest != range->end) {
        tell_range(c, range);
        *range = (HarmRange){ harm, guest, guest };
    }
    range->end = guest + c->s->cluster_size;
}

static Harm harm_of_entry(const Qcow2Check *c, uint64_t entry)
{
    const Qcow2State *s = c->s;
    uint64_t host = entry & QCOW2_OFFSET_MASK;
    uint32_t len = 1;

    if (entry & QCOW2_COMPRESSED) {
        qcow2_parse_compressed(s, entry, &host, &len);
    } else if (!host || s->has_data_file) {
        return HARM_NONE;
    } else if (qcow2_offset_in_cluster(s, host) && !(entry & QCOW2_ZERO)) {
        return HARM_LOST;
    }
    if (host + len - 1 >= QEMU_ALIGN_UP((uint64_t)c->first_len, s->cluster_size)) {
        return entry & QCOW2_ZERO && !(entry & QCOW2_COMPRESSED) ? HARM_NONE : HARM_LOST;
    }
    return is_doubtful(c, host >> s->cluster_bits) ? HARM_SHARED : HARM_NONE;
}

/* What a table suffered is suffered by all that it maps. */
static Harm harm_of_table(const Qcow2Check *c, const Qcow2Place *table)
{
    if (table->ret < 0 || table->offset >= (uint64_t)c->first_len) {
        return HARM_LOST;
    }
    return is_doubtful(c, table->offset >> c->s->cluster_bits) ? HARM_SHARED : HARM_NONE;
}

static void tell_table(Qcow2Check *c, const Qcow2Place *table, uint32_t l1_index, HarmRange *range)
{
    const Qcow2State *s = c->s;
    const uint64_t *words = (const uint64_t *)table->buf;
    Harm all = harm_of_table(c, table);

    for (uint32_t i = 0; i < s->l2_size; i++) {
        uint64_t guest = (((uint64_t)l1_index << s->l2_bits) + i) << s->cluster_bits;
        uint64_t entry = all ? 0 : be64_to_cpu(words[(size_t)i * (s->l2_entry_size / 8)]);

        add_harm(c, range, all ? all : harm_of_entry(c, entry), guest);
    }
}

int coroutine_fn qcow2_repair_co_tell_affected(Qcow2Check *c)
{
    const Qcow2State *s = c->s;
    g_autoptr(Qcow2Walk) walk = NULL;
    HarmRange range = { HARM_NONE, 0, 0 };
    uint64_t nb_tables = 0;
    int ret;

    if (c->doubtful->len == 0 && !c->any_lost) {
        return 0;
    }
    walk = qcow2_walk_new(c->bs, s->l1.entries, s->l1.size);
    if (!walk) {
        return -ENOMEM;
    }
    g_array_sort(c->doubtful, compare_clusters);
    while ((ret = qcow2_walk_co_next(walk)) > 0) {
        for (uint32_t k = 0; k < walk->n; k++) {
            if (++nb_tables > c->l2_offsets->len + MAX_REPEATED_TABLES) {
                tell_range(c, &range);
                qcow2_check_report(c, "What else of the disk is doubtful was not looked at: the L1 "
                                   "table names the same tables again and again");
                return 0;
            }
            tell_table(c, &walk->places[k], walk->index[k], &range);
        }
    }
    tell_range(c, &range);
    return ret;
}

/* ---- the end ------------------------------------------------------------------------------- */

void coroutine_fn qcow2_repair_co_reset(Qcow2Check *c)
{
    Qcow2State *s = c->s;

    qcow2_caches_renew(s);
    s->free_cluster_index = 0;
    s->fresh_from = MAX(s->fresh_from, c->nb_clusters);
    s->has_shared_tables = false;
    qcow2_overlap_co_reload(c->bs);
}
