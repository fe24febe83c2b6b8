/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checking: L1 and L2 tables.  The L1 tables are read first; an L2 table that many of them name, as
 * with snapshots, is read once and its references count as often as it is named.
 */
#include "qemu/osdep.h"

#include "check.h"
#include "qemu/iszero.h"

/* All L1 tables together; those of an image that is in order never come near. */
#define MAX_L1_BYTES (4 * GiB)
/* Tables at impossible places that are read all the same, for what their entries say. */
#define MAX_ODD_TABLES 1024

/* For the fragmentation figures, which look at each L2 table alone. */
typedef struct FragInfo {
    bool wanted;
    uint64_t next_offset; /* where the next cluster would have to be; 0: anywhere */
} FragInfo;

/* The table that is walked. */
typedef struct TableWalk {
    uint64_t offset;
    uint64_t *words;      /* big endian */
    uint64_t times;
    uint64_t guest;       /* offset of what the first entry maps, where the table was first named */
    bool is_active, is_dirty;
    bool can_repair;      /* entries may be changed: nothing else is known to lie here */
    FragInfo frag;
} TableWalk;

/* ---- entries ------------------------------------------------------------------------------- */

static void count_fragmentation(Qcow2Check *c, FragInfo *frag, uint64_t host, bool is_compressed)
{
    if (!frag->wanted) {
        return;
    }
    c->res->bfi.allocated_clusters++;
    if (is_compressed) {
        c->res->bfi.compressed_clusters++;
        c->res->bfi.fragmented_clusters++;
        return;
    }
    if (frag->next_offset && frag->next_offset != host) {
        c->res->bfi.fragmented_clusters++;
    }
    frag->next_offset = host + c->s->cluster_size;
}

static void check_compressed(Qcow2Check *c, TableWalk *t, uint32_t index, uint64_t entry,
                             uint64_t bitmap)
{
    uint64_t offset;
    uint32_t len;

    if (entry & QCOW2_COPIED) {
        qcow2_check_report(c, "ERROR: coffset=0x%" PRIx64 ": copied flag must never be set for "
                           "compressed clusters", entry & ~(QCOW2_COPIED | QCOW2_COMPRESSED) &
                           ((UINT64_C(1) << (62 - (c->s->cluster_bits - 8))) - 1));
        entry &= ~QCOW2_COPIED;
        c->res->corruptions += t->times;
        if (t->can_repair) {
            t->words[(size_t)index * (c->s->l2_entry_size / 8)] = cpu_to_be64(entry);
            t->is_dirty = true;
            c->res->corruptions -= t->times;
            c->res->corruptions_fixed += t->times;
        }
    }
    if (bitmap) {
        qcow2_check_report(c, "ERROR compressed cluster %" PRIu32 " with non-zero subcluster "
                           "allocation bitmap, entry=0x%" PRIx64, index, entry);
        c->res->corruptions += t->times;
        return;
    }
    qcow2_parse_compressed(c->s, entry, &offset, &len);
    qcow2_check_add(c, offset, len, t->times);
    count_fragmentation(c, &t->frag, 0, true);
}

/* The entry becomes one that reads as zeroes: what it reserved was never written. */
static void make_plain_zero(Qcow2Check *c, TableWalk *t, uint32_t index)
{
    size_t words = c->s->l2_entry_size / 8;

    t->words[index * words] = words == 1 ? cpu_to_be64(QCOW2_ZERO) : 0;
    t->is_dirty = true;
    c->res->corruptions -= t->times;
    c->res->corruptions_fixed += t->times;
}

/* Returns whether the entry is to be counted all the same. */
static bool check_alignment(Qcow2Check *c, TableWalk *t, uint32_t index, uint64_t entry,
                            uint64_t bitmap)
{
    uint64_t host = entry & QCOW2_OFFSET_MASK;
    bool has_data = c->s->is_extended_l2 ? (uint32_t)bitmap != 0 : !(entry & QCOW2_ZERO);

    if (!qcow2_offset_in_cluster(c->s, host)) {
        return true;
    }
    c->res->corruptions += t->times;
    if (has_data) {
        qcow2_check_report(c, "ERROR offset=%" PRIx64 ": Data cluster is not properly aligned; L2 "
                           "entry corrupted.", host);
        c->any_lost = true;
        return true;
    }
    qcow2_check_report(c, "%s offset=%" PRIx64 ": Preallocated cluster is not properly aligned; L2 "
                       "entry corrupted.", t->can_repair ? "Repairing" : "ERROR", host);
    if (t->can_repair) {
        make_plain_zero(c, t, index);
    }
    return !t->can_repair;
}

static void check_bitmap(Qcow2Check *c, const TableWalk *t, uint64_t entry, uint64_t bitmap)
{
    bool has_host = qcow2_entry_has_host(c->s, entry);
    uint32_t allocated = bitmap, zero = bitmap >> QCOW2_SUBCLUSTERS;

    if (has_host && (allocated & zero)) {
        qcow2_check_report(c, "ERROR offset=%" PRIx64 ": Allocated cluster has corrupted "
                           "subcluster allocation bitmap", entry & QCOW2_OFFSET_MASK);
        c->res->corruptions += t->times;
    } else if (!has_host && allocated) {
        qcow2_check_report(c, "ERROR: Unallocated cluster has non-zero subcluster allocation map");
        c->res->corruptions += t->times;
    }
}

/* Does the COPIED flag tell the truth about the counts on disk?  Bad ones are counted only. */
static void check_flag(Qcow2Check *c, uint64_t host, bool is_copied)
{
    uint64_t cluster = host >> c->s->cluster_bits;

    if (qcow2_check_in_window(c, cluster)) {
        c->bad_flags += (qcow2_refarray_get(c->disk, cluster) == 1) != is_copied;
    } else if (qcow2_check_is_nowhere(c, cluster)) {
        c->bad_flags += is_copied; /* nothing counts it */
    }
}

static void check_reserved_bits(Qcow2Check *c, const TableWalk *t, uint64_t entry)
{
    uint64_t reserved = ~(QCOW2_OFFSET_MASK | QCOW2_COPIED | QCOW2_COMPRESSED | QCOW2_ZERO);

    if (!(entry & QCOW2_COMPRESSED) && (entry & reserved)) {
        qcow2_check_report(c, "ERROR found l2 entry with reserved bits set: %" PRIx64, entry);
        c->res->corruptions += t->times;
    }
}

/* In a data file each cluster is at its guest offset, and none is compressed. */
static void check_data_file(Qcow2Check *c, const TableWalk *t, uint32_t index, uint64_t entry)
{
    uint64_t guest = t->guest + ((uint64_t)index << c->s->cluster_bits);
    uint64_t host = entry & QCOW2_OFFSET_MASK;

    if (entry & QCOW2_COMPRESSED) {
        qcow2_check_report(c, "ERROR compressed cluster entry found in image with external data "
                           "file: guest offset=%#" PRIx64, guest);
        c->res->corruptions += t->times;
    } else if (qcow2_entry_has_host(c->s, entry) && (host != guest || t->times > 1)) {
        qcow2_check_report(c, "ERROR external data file host offset=%#" PRIx64 " does not match "
                           "guest offset=%#" PRIx64, host, guest);
        c->res->corruptions += t->times;
    }
}

static void check_entry(Qcow2Check *c, TableWalk *t, uint32_t index, uint64_t entry,
                        uint64_t bitmap)
{
    uint64_t host = entry & QCOW2_OFFSET_MASK;

    check_reserved_bits(c, t, entry);
    if (c->s->has_data_file) {
        check_data_file(c, t, index, entry);
    }
    if (entry & QCOW2_COMPRESSED) {
        check_compressed(c, t, index, entry, bitmap);
        return;
    }
    if (c->s->is_extended_l2) {
        check_bitmap(c, t, entry, bitmap);
    }
    if (!qcow2_entry_has_host(c->s, entry)) {
        return;
    }
    if (!check_alignment(c, t, index, entry, bitmap)) {
        return;
    }
    count_fragmentation(c, &t->frag, host, false);
    if (c->s->has_data_file) {
        return; /* not counted */
    }
    qcow2_check_add(c, host, c->s->cluster_size, t->times);
    if (t->is_active) {
        check_flag(c, host, entry & QCOW2_COPIED);
    }
}

/* ---- many entries -------------------------------------------------------------------------- */

/* Are four entries @entry, @entry + @step and so on? */
static bool are_next(const uint64_t *word, uint64_t entry, uint64_t step)
{
    return !((be64_to_cpu(word[0]) ^ entry) | (be64_to_cpu(word[1]) ^ (entry + step)) |
             (be64_to_cpu(word[2]) ^ (entry + 2 * step)) |
             (be64_to_cpu(word[3]) ^ (entry + 3 * step)));
}

/* Entries from @word on, at most @max, that name adjacent plain clusters, whole in the file. */
static uint32_t plain_run(const Qcow2Check *c, const uint64_t *word, uint32_t max)
{
    uint64_t entry = be64_to_cpu(word[0]), host = entry & QCOW2_OFFSET_MASK;
    uint64_t end = c->file_len, step = c->s->cluster_size;
    uint32_t n = 1;

    if (entry != (host | (entry & QCOW2_COPIED)) || qcow2_offset_in_cluster(c->s, host) || !host ||
        host >= end || end - host < step || c->s->has_data_file) {
        return 0;
    }
    max = MIN((uint64_t)max, (end - host) >> c->s->cluster_bits);
    for (uint64_t next = entry + step; n + 4 <= max && are_next(word + n, next, step); n += 4) {
        next += 4 * step;
    }
    while (n < max && be64_to_cpu(word[n]) == entry + n * step) {
        n++;
    }
    return n;
}

/* As check_flag(), for @n clusters. */
static void check_flags(Qcow2Check *c, uint64_t host, uint32_t n, bool is_copied)
{
    uint64_t first = host >> c->s->cluster_bits;
    const uint8_t *count;
    uint32_t ones = 0;

    if (c->disk->bits != 16 || first < c->first || first + n > c->end) {
        for (uint32_t i = 0; i < n; i++) {
            check_flag(c, host + ((uint64_t)i << c->s->cluster_bits), is_copied);
        }
        return;
    }
    count = c->disk->counts + (first - c->first) * 2;
    while (ones + 4 <= n && ldq_he_p(count + ones * 2) == cpu_to_be16(1) * QCOW2_FOUR_16) {
        ones += 4;
    }
    for (uint32_t i = ones; i < n; i++) {
        ones += lduw_he_p(count + i * 2) == cpu_to_be16(1);
    }
    c->bad_flags += is_copied ? n - ones : ones;
}

/* What check_entry() does with each of a run. */
static void check_run(Qcow2Check *c, TableWalk *t, uint64_t entry, uint32_t n)
{
    uint64_t host = entry & QCOW2_OFFSET_MASK, bytes = (uint64_t)n << c->s->cluster_bits;

    count_fragmentation(c, &t->frag, host, false);
    if (t->frag.wanted) {
        c->res->bfi.allocated_clusters += n - 1;
        t->frag.next_offset = host + bytes;
    }
    qcow2_check_add(c, host, bytes, t->times);
    if (t->is_active) {
        check_flags(c, host, n, entry & QCOW2_COPIED);
    }
}

static void check_entries(Qcow2Check *c, TableWalk *t)
{
    const uint64_t *word = t->words;

    if (c->s->l2_entry_size == 8) {
        uint32_t end = c->s->l2_size, n;

        for (uint32_t i = 0; i < end; i += n) {
            n = buffer_count_zero_words(word + i, end - i);
            if (n > 0) {
                continue;
            }
            n = plain_run(c, word + i, end - i);
            if (n > 0) {
                check_run(c, t, be64_to_cpu(word[i]), n);
            } else {
                check_entry(c, t, i, be64_to_cpu(word[i]), 0);
                n = 1;
            }
        }
        return;
    }
    for (uint32_t i = 0; i < c->s->l2_size; i++, word += 2) {
        if (word[0] | word[1]) {
            check_entry(c, t, i, be64_to_cpu(word[0]), be64_to_cpu(word[1]));
        }
    }
}

/* ---- L2 tables ----------------------------------------------------------------------------- */

static void report_io_error(Qcow2Check *c, const char *where)
{
    qcow2_check_report(c, "ERROR: I/O error in %s", where);
    c->res->check_errors++;
}

/*
 * A table at a place where none can be was not read with the others.  What its entries say counts
 * all the same, as far as the file reaches, unless there are very many such tables.
 */
static int coroutine_fn co_read_odd(Qcow2Check *c, Qcow2Place *place)
{
    uint64_t left = place->offset < (uint64_t)c->file_len ? c->file_len - place->offset : 0;
    size_t bytes = MIN(left, c->s->cluster_size);

    if (place->ret != -EINVAL) {
        return place->ret;
    }
    if (!qcow2_offset_in_cluster(c->s, place->offset) || c->nb_odd >= MAX_ODD_TABLES) {
        bytes = 0;
    }
    c->nb_odd++;
    memset(place->buf, 0, c->s->cluster_size);
    return bytes ? bdrv_co_pread(c->bs->file, place->offset, bytes, place->buf, 0) : 0;
}

static int coroutine_fn co_write_table(Qcow2Check *c, const TableWalk *t)
{
    int ret = bdrv_co_pwrite(c->bs->file, t->offset, c->s->cluster_size, t->words, 0);

    if (ret < 0) {
        qcow2_check_report(c, "ERROR: Failed to overwrite L2 table entry: %s", strerror(-ret));
        c->res->check_errors++;
    }
    return ret;
}

static int coroutine_fn co_check_table(Qcow2Check *c, Qcow2Place *place,
                                       const Qcow2CheckTable *table)
{
    TableWalk t = {
        .offset = place->offset,
        .words = (uint64_t *)place->buf,
        .times = table->times,
        .guest = (uint64_t)table->l1_index << (c->s->l2_bits + c->s->cluster_bits),
        .is_active = table->is_active,
        .can_repair = (c->fix & BDRV_FIX_ERRORS) && place->ret >= 0 &&
                      qcow2_overlap_is_l2_only(c->s, place->offset),
        .frag = { .wanted = table->is_active },
    };
    int ret = co_read_odd(c, place);

    qcow2_check_add(c, place->offset, c->s->cluster_size, table->times);
    if (ret < 0) {
        report_io_error(c, "check_refcounts_l2");
        return ret;
    }
    check_entries(c, &t);
    return t.is_dirty ? co_write_table(c, &t) : 0;
}

static int coroutine_fn co_check_l2_tables(Qcow2Check *c)
{
    g_autoptr(Qcow2Walk) walk = qcow2_walk_new(c->bs, (uint64_t *)(void *)c->l2_offsets->data,
                                               c->l2_offsets->len);
    int ret;

    if (!walk) {
        return -ENOMEM;
    }
    c->nb_odd = 0;
    while ((ret = qcow2_walk_co_next(walk)) > 0) {
        for (uint32_t i = 0; i < walk->n; i++) {
            ret = co_check_table(c, &walk->places[i], &g_array_index(c->l2_tables, Qcow2CheckTable,
                                                                     walk->index[i]));
            if (ret < 0) {
                return ret;
            }
        }
    }
    return ret;
}

/* ---- L1 tables ----------------------------------------------------------------------------- */

/* An L1 table, and how often it is named. */
typedef struct L1Table {
    uint64_t offset;
    uint32_t size;
    uint64_t times;
    bool is_active;
} L1Table;

static void note_l2(Qcow2Check *c, GHashTable *seen, uint64_t offset, const L1Table *l1,
                    uint32_t l1_index)
{
    gpointer index = g_hash_table_lookup(seen, GSIZE_TO_POINTER(offset));
    Qcow2CheckTable *known, fresh = { l1->times, l1->is_active, l1_index };

    if (index) {
        known = &g_array_index(c->l2_tables, Qcow2CheckTable, GPOINTER_TO_UINT(index) - 1);
        known->times += l1->times;
        known->is_active |= l1->is_active;
        return;
    }
    g_array_append_val(c->l2_offsets, offset);
    g_array_append_val(c->l2_tables, fresh);
    g_hash_table_insert(seen, GSIZE_TO_POINTER(offset), GUINT_TO_POINTER(c->l2_offsets->len));
}

static void collect_entry(Qcow2Check *c, GHashTable *seen, uint64_t entry, const L1Table *l1,
                          uint32_t l1_index)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK;

    if (entry & ~(QCOW2_OFFSET_MASK | QCOW2_COPIED)) {
        qcow2_check_report(c, "ERROR found L1 entry with reserved bits set: %" PRIx64, entry);
        c->res->corruptions += l1->times;
    }
    if (!offset) {
        return;
    }
    if (qcow2_offset_in_cluster(c->s, offset)) {
        qcow2_check_report(c, "ERROR l2_offset=%" PRIx64 ": Table is not cluster aligned; L1 entry "
                           "corrupted", offset);
        c->res->corruptions += l1->times;
        c->any_lost = true;
    }
    note_l2(c, seen, offset, l1, l1_index);
}

static int coroutine_fn co_collect_l1(Qcow2Check *c, GHashTable *seen, const L1Table *l1)
{
    g_autofree uint64_t *entries = NULL;
    int ret;

    if (l1->offset + (uint64_t)l1->size * 8 > (uint64_t)c->file_len + c->s->cluster_size) {
        return 0; /* reported when its references are counted */
    }
    entries = qcow2_co_read_l1(c->bs, l1->offset, l1->size, &ret);
    if (!entries) {
        report_io_error(c, "check_refcounts_l1");
        return ret;
    }
    for (uint32_t i = 0; i < l1->size; i++) {
        if (entries[i]) {
            collect_entry(c, seen, entries[i], l1, i);
        }
    }
    return 0;
}

/* Snapshots' L1 tables that may be looked at; the same table once. */
static void collect_snapshots(Qcow2Check *c, GArray *l1s)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_direct_hash, g_direct_equal);

    for (guint i = 0; i < c->s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(c->s->snapshots, Qcow2Snapshot, i);
        L1Table l1 = { sn->l1_offset, sn->l1_size, 1, false };
        guint known;

        if (!qcow2_snapshot_l1_is_sane(c->s, sn)) {
            continue; /* check.c reports it */
        }
        known = GPOINTER_TO_UINT(g_hash_table_lookup(seen, GSIZE_TO_POINTER(l1.offset)));
        if (known && g_array_index(l1s, L1Table, known - 1).size == l1.size) {
            g_array_index(l1s, L1Table, known - 1).times++;
            continue;
        }
        g_array_append_val(l1s, l1);
        g_hash_table_insert(seen, GSIZE_TO_POINTER(l1.offset), GUINT_TO_POINTER(l1s->len));
    }
}

int coroutine_fn qcow2_check_co_collect(Qcow2Check *c)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_direct_hash, g_direct_equal);
    g_autoptr(GArray) l1s = g_array_new(FALSE, FALSE, sizeof(L1Table));
    L1Table active = { c->s->header.l1_offset, c->s->header.l1_size, 1, true };
    uint64_t bytes = 0;
    int ret = 0;

    c->l2_offsets = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    c->l2_tables = g_array_new(FALSE, FALSE, sizeof(Qcow2CheckTable));
    g_array_append_val(l1s, active);
    collect_snapshots(c, l1s);
    for (guint i = 0; i < l1s->len && ret >= 0; i++) {
        const L1Table *l1 = &g_array_index(l1s, L1Table, i);

        bytes += (uint64_t)l1->size * 8;
        if (bytes > MAX_L1_BYTES) {
            qcow2_check_report(c, "ERROR: the L1 tables of the snapshots take more than %" PRIu64
                               " GiB; those left are not checked", (uint64_t)(MAX_L1_BYTES / GiB));
            c->res->check_errors++;
            c->is_incomplete = true;
            break;
        }
        ret = co_collect_l1(c, seen, l1);
    }
    return ret;
}

void qcow2_check_free_tables(Qcow2Check *c)
{
    g_clear_pointer(&c->l2_offsets, g_array_unref);
    g_clear_pointer(&c->l2_tables, g_array_unref);
}

int coroutine_fn qcow2_check_co_tables(Qcow2Check *c)
{
    const Qcow2State *s = c->s;

    qcow2_check_add(c, s->header.l1_offset, (uint64_t)s->header.l1_size * 8, 1);
    for (guint i = 0; i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot, i);

        if (qcow2_snapshot_l1_is_sane(s, sn)) {
            qcow2_check_add(c, sn->l1_offset, (uint64_t)sn->l1_size * 8, 1);
        }
    }
    /* The flags of L1 entries are looked at in repair.c, all at once. */
    for (uint32_t i = 0; i < s->l1.size; i++) {
        uint64_t entry = s->l1.entries[i];

        if (entry & QCOW2_OFFSET_MASK) {
            check_flag(c, entry & QCOW2_OFFSET_MASK, entry & QCOW2_COPIED);
        }
    }
    return co_check_l2_tables(c);
}
