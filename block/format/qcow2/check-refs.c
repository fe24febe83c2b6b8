/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checking: references to host clusters, window by window; see check.h. */
#include "qemu/osdep.h"

#include "check.h"
#include "qemu/bitmap.h"
#include "qemu/memalign.h"

#define WINDOW_CLUSTERS (UINT64_C(1) << 25)
#define WINDOW_COUNT_BYTES (64 * MiB)
/* Where the references lie so far apart, they are damage; a walk for each would take forever. */
#define MAX_WINDOWS 256
/* New refcount structures keep away from references that lie no further past the end. */
#define MAX_BEYOND_BYTES (1 * GiB)

/* ---- counting ------------------------------------------------------------------------------ */

uint64_t qcow2_check_refs(const Qcow2Check *c, uint64_t cluster)
{
    uint16_t count = c->refs[cluster - c->first];
    const uint64_t *many;

    if (likely(count != UINT16_MAX)) {
        return count;
    }
    many = g_hash_table_lookup(c->many_refs, &cluster);
    return many ? *many : count;
}

static void report_overflow(Qcow2Check *c, uint64_t cluster)
{
    qcow2_check_report(c, "ERROR: overflow cluster offset=0x%" PRIx64,
                       cluster << c->s->cluster_bits);
    qcow2_check_report(c, "Use qemu-img amend to increase the refcount entry width or qemu-img "
                       "convert to create a clean copy if the image cannot be opened for writing");
    c->res->corruptions++;
}

/* The rare cases: many references, or more than the image can count. */
static void add_many(Qcow2Check *c, uint64_t cluster, uint64_t times)
{
    uint64_t old = qcow2_check_refs(c, cluster), sum;

    if (times > c->s->refcount_max - MIN(old, c->s->refcount_max)) {
        report_overflow(c, cluster);
        sum = c->s->refcount_max;
    } else {
        sum = old + times;
    }
    c->refs[cluster - c->first] = MIN(sum, UINT16_MAX);
    if (sum >= UINT16_MAX) {
        g_hash_table_replace(c->many_refs, g_memdup2(&cluster, sizeof(cluster)),
                             g_memdup2(&sum, sizeof(sum)));
    }
}

/* @cluster is in the window. */
static void add_one(Qcow2Check *c, uint64_t cluster, uint64_t times)
{
    uint64_t sum = c->refs[cluster - c->first] + times;

    if (likely(sum < UINT16_MAX && sum <= c->s->refcount_max)) {
        c->refs[cluster - c->first] = sum;
    } else {
        add_many(c, cluster, times);
    }
}

/* [@i, @end) is in the window: four at a time, as long as none of them comes near the limits. */
static void add_range(Qcow2Check *c, uint64_t i, uint64_t end, uint64_t times)
{
    uint16_t *refs = &c->refs[i - c->first];
    uint64_t n = end - i;

    if (c->s->refcount_bits >= 16 && times < 0x4000) {
        for (; n >= 4 && !(ldq_he_p(refs) & (QCOW2_FOUR_16 * 0xc000)); n -= 4, refs += 4) {
            stq_he_p(refs, ldq_he_p(refs) + QCOW2_FOUR_16 * times);
        }
    }
    for (i = end - n; i < end; i++) {
        add_one(c, i, times);
    }
}

/* Is the range past the end of the file?  Less than a cluster may be missing there. */
static bool is_beyond_file(Qcow2Check *c, uint64_t offset, uint64_t bytes, uint64_t times)
{
    if (offset <= (uint64_t)INT64_MAX - bytes &&
        (int64_t)(offset + bytes) - c->file_len < (int64_t)c->s->cluster_size) {
        return false;
    }
    qcow2_check_report(c, "ERROR: counting reference for region exceeding the end of the file by "
                       "one cluster or more: offset 0x%" PRIx64 " size 0x%" PRIx64, offset, bytes);
    c->res->corruptions += times;
    c->any_lost = true;
    if (offset < (uint64_t)c->file_len + MAX_BEYOND_BYTES && bytes < MAX_BEYOND_BYTES) {
        c->beyond = MAX(c->beyond, qcow2_nb_clusters(c->s, offset + bytes));
    }
    return true;
}

void qcow2_check_add(Qcow2Check *c, uint64_t offset, uint64_t bytes, uint64_t times)
{
    uint64_t first = offset >> c->s->cluster_bits, last;

    if (bytes == 0 || is_beyond_file(c, offset, bytes, times)) {
        return;
    }
    last = (offset + bytes - 1) >> c->s->cluster_bits;
    if (last >= c->end) {
        c->next = MIN(c->next, MAX(first, c->end));
    }
    first = MAX(first, c->first);
    last = MIN(last + 1, c->end);
    if (first < last) {
        add_range(c, first, last, times);
    }
}

uint64_t qcow2_check_snapshots_in_file(const Qcow2Check *c)
{
    uint64_t end = QEMU_ALIGN_UP((uint64_t)c->first_len, c->s->cluster_size);
    uint64_t start = c->s->header.snapshots_offset;

    return start < end ? MIN(c->s->snapshots_bytes, end - start) : 0;
}

/* ---- windows ------------------------------------------------------------------------------- */

static uint64_t window_blocks(const Qcow2State *s)
{
    uint64_t blocks = WINDOW_CLUSTERS >> s->refblock_bits;

    return MAX(MIN(blocks, WINDOW_COUNT_BYTES / s->cluster_size), 1);
}

void qcow2_check_drop_window(Qcow2Check *c)
{
    g_clear_pointer(&c->refs, qemu_vfree);
    g_clear_pointer(&c->many_refs, g_hash_table_destroy);
    g_clear_pointer(&c->disk, qcow2_refarray_free);
    c->first = c->end = 0;
    c->is_counted = false;
}

/*
 * Blocks whose counts matter: those of the file.  What the refcount table says of space past its
 * end costs nothing, and damage may let a million entries name one block.
 */
static uint64_t nb_file_blocks(const Qcow2Check *c)
{
    return DIV_ROUND_UP(c->nb_clusters + 1, c->s->refblock_size);
}

static uint16_t *new_refs(uint64_t n)
{
    uint16_t *refs = qemu_try_memalign_large(sizeof(uint64_t), n * sizeof(*refs));

    if (refs) {
        memset(refs, 0, n * sizeof(*refs));
    }
    return refs;
}

int coroutine_fn qcow2_check_co_window(Qcow2Check *c, uint64_t cluster)
{
    uint64_t per_window = window_blocks(c->s);
    uint64_t first_block = (cluster >> c->s->refblock_bits) / per_window * per_window;
    uint64_t nb_file = nb_file_blocks(c);
    uint64_t end_block = MAX(MIN(nb_file, first_block + per_window), first_block + 1);
    uint64_t nb_blocks = end_block - first_block;

    qcow2_check_drop_window(c);
    c->refs = new_refs(nb_blocks << c->s->refblock_bits);
    c->disk = qcow2_refarray_co_load(c->bs, first_block, nb_blocks);
    c->many_refs = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    if (!c->refs || !c->disk) {
        qcow2_check_drop_window(c);
        c->res->check_errors++;
        return -ENOMEM;
    }
    c->first = c->disk->first;
    c->end = c->disk->end;
    c->limit = nb_file << c->s->refblock_bits;
    c->next = UINT64_MAX;
    return 0;
}

bool qcow2_check_block_is_lost(const Qcow2Check *c, uint64_t block)
{
    uint64_t index = c->disk->first_block + block;
    uint64_t offset = index < c->s->reftable.size
                          ? c->s->reftable.entries[index] & QCOW2_REFTABLE_MASK : 0;

    return test_bit(block, c->disk->bad) &&
           (qcow2_offset_in_cluster(c->s, offset) || offset < (uint64_t)c->file_len);
}

bool qcow2_check_next_window(Qcow2Check *c, uint64_t *cluster)
{
    const Qcow2State *s = c->s;
    uint64_t index = c->end >> s->refblock_bits;
    uint64_t nb_blocks = MIN(s->reftable.size, nb_file_blocks(c));

    while (index < nb_blocks && !(s->reftable.entries[index] & QCOW2_REFTABLE_MASK)) {
        index++;
    }
    *cluster = index < nb_blocks ? MIN(c->next, index << s->refblock_bits) : c->next;
    if (*cluster == UINT64_MAX) {
        return false;
    }
    if (++c->nb_windows >= MAX_WINDOWS) {
        qcow2_check_report(c, "ERROR: references are scattered over more of the file than can be "
                           "checked; the check ends at offset 0x%" PRIx64,
                           c->end << s->cluster_bits);
        c->res->check_errors++;
        return false;
    }
    return true;
}
