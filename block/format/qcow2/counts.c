/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Refcounts of an image in the making; see counts.h. */
#include "qemu/osdep.h"

#include "counts.h"
#include "qemu/bitmap.h"

/* As much as 6 TiB of 64 KiB clusters need. */
uint64_t qcow2_counts_budget = 216 * MiB;

#define MIN_LOADED 4
#define MAX_RUNS (1024 * 1024)

/* Memory of a block. */
typedef struct Page {
    uint8_t *counts;
    unsigned long *used;
} Page;

static uint64_t block_clusters(const Qcow2Counts *c)
{
    return UINT64_C(1) << c->block_bits;
}

static uint64_t bit_words(const Qcow2Counts *c)
{
    return BITS_TO_LONGS(block_clusters(c));
}

static unsigned long *dropped_bits(const Qcow2Counts *c, const Qcow2CountBlock *block)
{
    return block->used + bit_words(c);
}

static void fail(Qcow2Counts *c, int ret, const char *what)
{
    if (!c->err) {
        error_setg_errno(&c->err, -ret, "%s", what);
    }
}

static void write_count(const Qcow2Counts *c, Qcow2CountBlock *block, uint64_t i, uint64_t count)
{
    if (c->bits == 16) {
        stw_be_p(block->counts + i * 2, count);
    } else {
        qcow2_refcount_write(block->counts, c->bits, i, count);
    }
    block->is_changed = block->is_unwritten = true;
}

/* ---- begin and end ------------------------------------------------------------------------- */

static void note_used(Qcow2Counts *c, Qcow2CountBlock *block)
{
    uint32_t per_word = 64 / c->bits;

    memset(block->used, 0, 2 * bit_words(c) * sizeof(long));
    for (uint32_t at = 0; at < c->block_bytes; at += QCOW2_WORDS_AT_ONCE * 8) {
        for (uint64_t used = buffer_used_words(block->counts + at); used; used &= used - 1) {
            uint64_t i = (uint64_t)(at / 8 + ctz64(used)) * per_word;

            for (uint64_t end = i + per_word; i < end; i++) {
                if (qcow2_count_at(block->counts, c->bits, i)) {
                    set_bit(i, block->used);
                }
            }
        }
    }
}

/* All blocks at once, by large requests. */
static bool coroutine_fn co_load_all(Qcow2Counts *c, uint64_t nb_there, Error **errp)
{
    g_autofree Qcow2Place *places = g_try_new(Qcow2Place, MAX(nb_there, 1));
    size_t bytes = MAX(nb_there, 1) * c->block_bytes;
    uint64_t n = 0;
    int ret;

    c->slab = qemu_try_memalign_large(bdrv_opt_mem_align(c->bs->file->bs), bytes);
    c->slab_bits = g_try_new(unsigned long, MAX(nb_there, 1) * 2 * bit_words(c));
    if (!places || !c->slab || !c->slab_bits) {
        error_setg(errp, "Not enough memory for the refcounts of the image");
        return false;
    }
    c->slab_end = c->slab + bytes;
    for (uint64_t i = 0; i < c->nb_blocks; i++) {
        Qcow2CountBlock *block = &c->blocks[i];

        if (block->place) {
            block->counts = c->slab + n * c->block_bytes;
            block->used = c->slab_bits + n * 2 * bit_words(c);
            places[n++] = (Qcow2Place){ .offset = block->place, .buf = block->counts };
        }
    }
    ret = qcow2_co_read_places(c->bs, places, n);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the refcounts");
        return false;
    }
    c->nb_loaded = n;
    for (uint64_t i = 0; i < c->nb_blocks; i++) {
        if (c->blocks[i].counts) {
            note_used(c, &c->blocks[i]);
        }
    }
    return true;
}

static bool coroutine_fn co_take_places(Qcow2Counts *c, uint64_t *nb_there, Error **errp)
{
    const Qcow2State *s = c->bs->opaque;
    int64_t file_len = bdrv_co_getlength(c->bs->file->bs);

    if (file_len < 0) {
        error_setg_errno(errp, -file_len, "Could not get the length of the image file");
        return false;
    }
    *nb_there = 0;
    for (uint64_t i = 0; i < c->nb_blocks; i++) {
        uint64_t place = s->reftable.entries[i] & QCOW2_REFTABLE_MASK;

        if (qcow2_offset_in_cluster(s, place) || place >= MAX((uint64_t)file_len, 1)) {
            error_setg(errp, "The refcount block at %#" PRIx64 " is damaged; check the image first",
                       place);
            return false;
        }
        c->blocks[i].place = place;
        *nb_there += place > 0;
    }
    return true;
}

Qcow2Counts *coroutine_fn qcow2_counts_co_new(BlockDriverState *bs, Qcow2PlaceBlock *co_place,
                                              void *opaque, Error **errp)
{
    const Qcow2State *s = bs->opaque;
    Qcow2Counts *c = g_new0(Qcow2Counts, 1);
    uint64_t nb_there;

    *c = (Qcow2Counts){
        .bs = bs,
        .max = s->refcount_max,
        .bits = s->refcount_bits,
        .block_bits = s->refblock_bits,
        .block_bytes = s->cluster_size,
        .max_loaded = MAX(qcow2_counts_budget / (s->cluster_size + s->refblock_size / 4),
                          MIN_LOADED),
        .co_place = co_place,
        .opaque = opaque,
        .dropped = g_array_new(FALSE, FALSE, sizeof(Qcow2ClusterRun)),
        .spare = g_array_new(FALSE, FALSE, sizeof(Page)),
    };
    if (!qcow2_counts_extend(c, qcow2_refarray_used_blocks(s))) {
        error_setg(errp, "Not enough memory for the refcounts of the image");
    } else if (co_take_places(c, &nb_there, errp) &&
               (nb_there > c->max_loaded || co_load_all(c, nb_there, errp))) {
        return c;
    }
    qcow2_counts_free(c);
    return NULL;
}

static void free_page(const Qcow2Counts *c, const Page *page)
{
    if (page->counts < c->slab || page->counts >= c->slab_end) {
        qemu_vfree(page->counts);
        g_free(page->used);
    }
}

void qcow2_counts_free(Qcow2Counts *c)
{
    if (!c) {
        return;
    }
    for (uint64_t i = 0; i < c->nb_blocks; i++) {
        free_page(c, &(Page){ c->blocks[i].counts, c->blocks[i].used });
    }
    for (guint i = 0; i < c->spare->len; i++) {
        free_page(c, &g_array_index(c->spare, Page, i));
    }
    g_array_unref(c->spare);
    g_array_unref(c->dropped);
    qemu_vfree(c->slab);
    g_free(c->slab_bits);
    g_free(c->blocks);
    error_free(c->err);
    g_free(c);
}

bool qcow2_counts_extend(Qcow2Counts *c, uint64_t nb_blocks)
{
    Qcow2CountBlock *blocks = g_try_renew(Qcow2CountBlock, c->blocks, MAX(nb_blocks, 1));

    if (!blocks) {
        return false;
    }
    memset(blocks + c->nb_blocks, 0, (nb_blocks - c->nb_blocks) * sizeof(*blocks));
    c->blocks = blocks;
    c->nb_blocks = nb_blocks;
    c->end = nb_blocks << c->block_bits;
    return true;
}

/* ---- blocks in memory ---------------------------------------------------------------------- */

static bool take_page(Qcow2Counts *c, Page *page)
{
    if (c->spare->len) {
        *page = g_array_index(c->spare, Page, c->spare->len - 1);
        g_array_set_size(c->spare, c->spare->len - 1);
        return true;
    }
    page->counts = qemu_try_memalign(bdrv_opt_mem_align(c->bs->file->bs), c->block_bytes);
    page->used = g_try_new(unsigned long, 2 * bit_words(c));
    if (page->counts && page->used) {
        return true;
    }
    qemu_vfree(page->counts);
    g_free(page->used);
    return false;
}

static void give_page(Qcow2Counts *c, Qcow2CountBlock *block)
{
    Page page = { block->counts, block->used };

    g_array_append_val(c->spare, page);
    block->counts = NULL;
    block->used = NULL;
}

static int coroutine_fn co_read_block(Qcow2Counts *c, uint64_t offset, uint8_t *buf)
{
    if (!offset) {
        memset(buf, 0, c->block_bytes);
        return 0;
    }
    return bdrv_co_pread(c->bs->file, offset, c->block_bytes, buf, 0);
}

Qcow2CountBlock *coroutine_fn qcow2_counts_co_load(Qcow2Counts *c, uint64_t index, bool create)
{
    const Qcow2State *s = c->bs->opaque;
    Qcow2CountBlock *block = &c->blocks[index];
    uint64_t old = index < s->reftable.size ? s->reftable.entries[index] & QCOW2_REFTABLE_MASK : 0;
    Page page;
    int ret;

    if (block->counts) {
        return block;
    }
    if (!block->place && !create) {
        return NULL;
    }
    if (!take_page(c, &page)) {
        fail(c, -ENOMEM, "Could not read the refcounts");
        return NULL;
    }
    block->counts = page.counts;
    block->used = page.used;
    ret = co_read_block(c, old, block->counts);
    if (ret >= 0) {
        note_used(c, block);
        ret = block->place == old ? 0 : co_read_block(c, block->place, block->counts);
    }
    if (ret < 0) {
        fail(c, ret, "Could not read the refcounts");
        give_page(c, block);
        return NULL;
    }
    c->nb_loaded++;
    return block;
}

/* The next blocks to go: of uint64_t. */
static GArray *choose_victims(Qcow2Counts *c, uint64_t n)
{
    GArray *victims = g_array_new(FALSE, FALSE, sizeof(uint64_t));

    for (uint64_t i = 0; i < c->nb_blocks && victims->len < n; i++) {
        uint64_t index = (c->hand + i) % c->nb_blocks;

        if (c->blocks[index].counts) {
            g_array_append_val(victims, index);
        }
    }
    if (victims->len) {
        c->hand = g_array_index(victims, uint64_t, victims->len - 1) + 1;
    }
    return victims;
}

/* Blocks that are in memory and have a new place: written to that. */
static int coroutine_fn co_write_some(Qcow2Counts *c, const uint64_t *indices, uint64_t n)
{
    g_autoptr(GArray) places = g_array_new(FALSE, FALSE, sizeof(Qcow2Place));
    int ret;

    for (uint64_t i = 0; i < n; i++) {
        Qcow2CountBlock *block = &c->blocks[indices ? indices[i] : i];
        Qcow2Place place = { .offset = block->place, .buf = block->counts };

        if (block->counts && block->is_unwritten && block->is_placed) {
            g_array_append_val(places, place);
            block->is_unwritten = false;
        }
    }
    ret = qcow2_co_write_places(c->bs, (Qcow2Place *)places->data, places->len);
    if (ret < 0) {
        fail(c, ret, "Could not write new refcounts");
    }
    return ret;
}

int coroutine_fn qcow2_counts_co_write(Qcow2Counts *c)
{
    return co_write_some(c, NULL, c->nb_blocks);
}

static void keep_dropped(Qcow2Counts *c, uint64_t index)
{
    unsigned long *bits = dropped_bits(c, &c->blocks[index]);
    uint64_t n = block_clusters(c), i = 0;

    while ((i = find_next_bit(bits, n, i)) < n && c->dropped->len < MAX_RUNS) {
        uint64_t end = find_next_zero_bit(bits, n, i);
        Qcow2ClusterRun run = { (index << c->block_bits) + i, end - i };

        g_array_append_val(c->dropped, run);
        i = end;
    }
}

void coroutine_fn qcow2_counts_co_trim(Qcow2Counts *c)
{
    if (c->nb_loaded < c->max_loaded || c->is_trimming || c->err) {
        return;
    }
    c->is_trimming = true;
    g_autoptr(GArray) victims = choose_victims(c, c->nb_loaded - c->max_loaded +
                                               MAX(c->max_loaded / 16, 1));
    const uint64_t *indices = (const uint64_t *)victims->data;

    for (guint i = 0; i < victims->len && !c->err; i++) {
        const Qcow2CountBlock *block = &c->blocks[indices[i]];

        if (block->is_changed && !block->is_placed) {
            c->co_place(c->opaque, indices[i], &c->err);
        }
    }
    /* To place one may change others: written only now. */
    if (!c->err && co_write_some(c, indices, victims->len) >= 0) {
        for (guint i = 0; i < victims->len; i++) {
            if (c->blocks[indices[i]].is_unwritten) {
                continue; /* changed by placing another one, and has no place yet */
            }
            keep_dropped(c, indices[i]);
            give_page(c, &c->blocks[indices[i]]);
            c->nb_loaded--;
        }
    }
    c->is_trimming = false;
}

bool qcow2_counts_next_window(const Qcow2Counts *c, Qcow2Window *window)
{
    uint64_t blocks = c->max_loaded - c->max_loaded / 4;

    window->first = window->end;
    window->end = c->slab ? UINT64_MAX : MIN(window->end + (blocks << c->block_bits), c->end);
    return window->first < c->end;
}

/* ---- counts -------------------------------------------------------------------------------- */

void coroutine_fn qcow2_counts_co_set(Qcow2Counts *c, uint64_t cluster, uint64_t count)
{
    Qcow2CountBlock *block = qcow2_counts_co_load(c, cluster >> c->block_bits, true);

    if (block) {
        write_count(c, block, cluster & (block_clusters(c) - 1), count);
    }
}

int coroutine_fn qcow2_counts_co_add(Qcow2Counts *c, uint64_t first, uint64_t n, int change)
{
    for (uint64_t cluster = first; cluster < first + n; cluster++) {
        uint64_t i = cluster & (block_clusters(c) - 1), count;
        Qcow2CountBlock *block = &c->blocks[cluster >> c->block_bits];

        if (!block->counts && !qcow2_counts_co_load(c, cluster >> c->block_bits, true)) {
            return -EIO;
        }
        count = qcow2_count_at(block->counts, c->bits, i);
        if (change > 0 ? count == c->max : count == 0) {
            return change > 0 ? -ERANGE : -EINVAL;
        }
        write_count(c, block, i, count + change);
    }
    return 0;
}

void coroutine_fn qcow2_counts_co_touch(Qcow2Counts *c, uint64_t index)
{
    Qcow2CountBlock *block = qcow2_counts_co_load(c, index, true);

    if (block) {
        block->is_changed = block->is_unwritten = true;
    }
}

bool coroutine_fn qcow2_counts_co_is_free(Qcow2Counts *c, uint64_t cluster)
{
    const Qcow2CountBlock *block = qcow2_counts_co_load(c, cluster >> c->block_bits, false);

    if (!block) {
        return !c->err;
    }
    return !test_bit(cluster & (block_clusters(c) - 1), block->used) &&
           !qcow2_counts_co_get(c, cluster);
}

/* The first that the old image does not use, of its block at least, or the end of that. */
static uint64_t coroutine_fn co_skip_used(Qcow2Counts *c, uint64_t cluster)
{
    const Qcow2CountBlock *block = qcow2_counts_co_load(c, cluster >> c->block_bits, false);
    uint64_t n = block_clusters(c), start = cluster & ~(n - 1);

    return block ? start + find_next_zero_bit(block->used, n, cluster - start) : cluster;
}

uint64_t coroutine_fn qcow2_counts_co_find_free(Qcow2Counts *c, uint64_t first, uint64_t n)
{
    while (first < c->end && !c->err) {
        uint64_t i;

        qcow2_counts_co_trim(c);
        i = co_skip_used(c, first);
        if (i > first) {
            first = i;
            continue;
        }
        while (i < MIN(first + n, c->end) && qcow2_counts_co_is_free(c, i)) {
            i++;
        }
        if (i == first + n || i == c->end) {
            return first;
        }
        first = i + 1;
    }
    return c->end;
}

uint64_t coroutine_fn qcow2_counts_co_used_end(Qcow2Counts *c)
{
    uint64_t end = c->end;

    while (end > 0 && !c->err) {
        uint64_t index = (end - 1) >> c->block_bits;

        qcow2_counts_co_trim(c);
        if (!qcow2_counts_co_load(c, index, false)) {
            end = index << c->block_bits;
        } else if (qcow2_counts_co_get(c, end - 1)) {
            return end;
        } else {
            end--;
        }
    }
    return 0;
}

/* ---- what was given up --------------------------------------------------------------------- */

void coroutine_fn qcow2_counts_co_drop(Qcow2Counts *c, uint64_t cluster)
{
    Qcow2CountBlock *block = qcow2_counts_co_load(c, cluster >> c->block_bits, true);

    if (block) {
        set_bit(cluster & (block_clusters(c) - 1), dropped_bits(c, block));
    }
}

GArray *coroutine_fn qcow2_counts_co_dropped(Qcow2Counts *c)
{
    GArray *free_runs = g_array_new(FALSE, FALSE, sizeof(Qcow2ClusterRun));

    for (uint64_t i = 0; i < c->nb_blocks; i++) {
        if (c->blocks[i].counts) {
            keep_dropped(c, i);
            bitmap_zero(dropped_bits(c, &c->blocks[i]), block_clusters(c));
        }
    }
    for (guint i = 0; i < c->dropped->len; i++) {
        Qcow2ClusterRun run = g_array_index(c->dropped, Qcow2ClusterRun, i), part = { 0 };

        qcow2_counts_co_trim(c);
        /* Something new may be there, or the other tree refers to it. */
        for (uint64_t cluster = run.first; cluster < run.first + run.n; cluster++) {
            if (!qcow2_counts_co_get(c, cluster)) {
                part = part.n ? (Qcow2ClusterRun){ part.first, part.n + 1 }
                              : (Qcow2ClusterRun){ cluster, 1 };
            } else if (part.n) {
                g_array_append_val(free_runs, part);
                part.n = 0;
            }
        }
        if (part.n) {
            g_array_append_val(free_runs, part);
        }
    }
    return free_runs;
}
