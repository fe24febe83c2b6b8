/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 (docs/interop/qcow2 of QEMU, versions 2 and 3): the driver's table; open, close, reopen.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "bitmap.h"
#include "qemu/atomic.h"
#include "qemu/iszero.h"

/* ---- open: the header ---------------------------------------------------------------------- */

/* The first cluster of the file, parsed and checked. */
static bool coroutine_fn co_read_header(BlockDriverState *bs, int flags, Error **errp)
{
    Qcow2State *s = bs->opaque;
    uint8_t head[QCOW2_HEADER_LEN];
    g_autofree uint8_t *cluster = NULL;
    size_t cluster_size, ext_start, ext_end;
    int ret = bdrv_co_pread(bs->file, 0, sizeof(head), head, 0);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read qcow2 header");
        return false;
    }
    if (!qcow2_header_parse(head, sizeof(head), &s->header, errp)) {
        return false;
    }
    cluster_size = (size_t)1 << s->header.cluster_bits;
    cluster = g_try_malloc(cluster_size);
    if (!cluster) {
        error_setg_errno(errp, ENOMEM, "Could not read qcow2 header cluster");
        return false;
    }
    ret = bdrv_co_pread(bs->file, 0, cluster_size, cluster, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read qcow2 header cluster");
        return false;
    }
    ext_start = s->header.header_len;
    ext_end = qcow2_header_ext_end(&s->header);
    if (!qcow2_extensions_parse(cluster + ext_start, ext_end - ext_start, &s->ext, errp) ||
        !qcow2_header_validate(&s->header, &s->ext, flags & BDRV_O_CHECK, errp)) {
        return false;
    }
    if (s->header.header_len > QCOW2_HEADER_LEN) {
        s->unknown_fields = g_bytes_new(cluster + QCOW2_HEADER_LEN,
                                        s->header.header_len - QCOW2_HEADER_LEN);
    }
    g_free(bs->backing_file);
    g_free(bs->backing_format);
    g_free(bs->auto_backing_file);
    bs->backing_file = s->header.backing_offset
                           ? g_strndup((char *)cluster + s->header.backing_offset,
                                       s->header.backing_len)
                           : g_strdup("");
    bs->backing_format = g_strdup(s->ext.backing_format);
    bs->auto_backing_file = g_strdup(bs->backing_file);
    return true;
}

static void derive_sizes(Qcow2State *s)
{
    const Qcow2Header *h = &s->header;

    s->cluster_bits = h->cluster_bits;
    s->cluster_size = UINT32_C(1) << h->cluster_bits;
    s->has_data_file = h->incompatible & QCOW2_INCOMPAT_DATA_FILE;
    s->is_extended_l2 = h->incompatible & QCOW2_INCOMPAT_EXTL2;
    s->subcluster_bits = h->cluster_bits - (s->is_extended_l2 ? ctz32(QCOW2_SUBCLUSTERS) : 0);
    s->l2_entry_size = s->is_extended_l2 ? 16 : 8;
    s->l2_bits = h->cluster_bits - ctz32(s->l2_entry_size);
    s->l2_size = UINT32_C(1) << s->l2_bits;
    s->refcount_bits = 1U << h->refcount_order;
    s->refcount_max = UINT64_MAX >> (64 - s->refcount_bits);
    s->refblock_bits = h->cluster_bits + 3 - h->refcount_order;
    s->refblock_size = UINT32_C(1) << s->refblock_bits;
    s->codec = h->compression_type == QCOW2_COMPRESSION_ZSTD ? CODEC_ZSTD : CODEC_DEFLATE;
}

/* What this build can do with the image at all. */
static bool check_readable(const Qcow2State *s, Error **errp)
{
    if (!codec_available(s->codec)) {
        error_setg(errp, "qcow2: compression type '%s' is not supported by this build",
                   codec_name(s->codec));
        return false;
    }
    return true;
}

static bool check_writable(const Qcow2State *s, int flags, Error **errp)
{
    if (flags & BDRV_O_CHECK) {
        return true;
    }
    if (s->header.incompatible & QCOW2_INCOMPAT_CORRUPT) {
        error_setg(errp, "qcow2: Image is corrupt; cannot be opened read/write");
        return false;
    }
    return true;
}

/* ---- open: the tables ---------------------------------------------------------------------- */

uint32_t qcow2_table_next(const Qcow2Table *table, uint32_t i)
{
    while (i < table->size && !table->entries[i]) {
        uint32_t n = MIN(table->size - i, 512);

        i += i % 512 == 0 && buffer_is_zero(&table->entries[i], n * 8) ? n : 1;
    }
    return i;
}

static bool coroutine_fn co_load_table(BlockDriverState *bs, Qcow2Table *table, uint64_t offset,
                                       uint32_t size, const char *name, Error **errp)
{
    int ret;

    *table = (Qcow2Table){ .offset = offset, .size = size };
    table->entries = g_try_new(uint64_t, MAX(size, 1));
    if (!table->entries) {
        error_setg(errp, "Could not allocate the %s", name);
        return false;
    }
    ret = bdrv_co_pread(bs->file, offset, (int64_t)size * 8, table->entries, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read %s", name);
        return false;
    }
    for (uint32_t i = qcow2_table_next(table, 0); i < size; i = qcow2_table_next(table, i + 1)) {
        be64_to_cpus(&table->entries[i]);
    }
    return true;
}

static bool coroutine_fn co_load_tables(BlockDriverState *bs, int flags, Error **errp)
{
    Qcow2State *s = bs->opaque;
    uint32_t reftable_size = s->header.reftable_clusters * (s->cluster_size / 8);
    int64_t file_len = bdrv_co_getlength(bs->file->bs);

    if (file_len < 0) {
        error_setg_errno(errp, -file_len, "Could not get the length of the image file");
        return false;
    }
    if (s->header.l1_size && s->header.l1_offset >= (uint64_t)file_len && !(flags & BDRV_O_CHECK)) {
        error_setg(errp, "qcow2: The L1 table at offset %#" PRIx64 " lies past the end of the file",
                   s->header.l1_offset);
        return false;
    }
    s->fresh_from = qcow2_nb_clusters(s, file_len);
    return co_load_table(bs, &s->l1, s->header.l1_offset, s->header.l1_size, "L1 table", errp) &&
           co_load_table(bs, &s->reftable, s->header.reftable_offset, reftable_size,
                         "refcount table", errp);
}

static void make_caches(Qcow2State *s)
{
    s->slice_bytes = s->opt.l2_slice_bytes;
    s->slice_entries = s->slice_bytes / s->l2_entry_size;
    s->l2_cache = qcow2_cache_new(s->slice_bytes, s->opt.l2_cache_bytes);
    s->refcount_cache = qcow2_cache_new(s->cluster_size, s->opt.refcount_cache_bytes);
}

void qcow2_caches_renew(Qcow2State *s)
{
    qcow2_cache_free(s->l2_cache);
    qcow2_cache_free(s->refcount_cache);
    make_caches(s);
    /* Clusters may have become free, or others: nothing known of streams holds. */
    s->packed_end = 0;
    qcow2_unpacked_drop(s->unpacked, 0, INT64_MAX);
}

/* ---- tables that nobody uses any more ------------------------------------------------------ */

static void set_clean_timer(Qcow2State *s)
{
    if (s->opt.clean_interval_ms) {
        timer_mod(&s->clean_timer,
                  qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + s->opt.clean_interval_ms);
    } else {
        timer_del(&s->clean_timer);
    }
}

static void coroutine_fn co_clean_caches(void *opaque)
{
    Qcow2State *s = opaque;

    /* Where somebody is at work there is no hurry. */
    if (qemu_co_mutex_trylock(&s->lock)) {
        qcow2_cache_age(s->l2_cache);
        qcow2_cache_age(s->refcount_cache);
        qemu_co_mutex_unlock(&s->lock);
    }
    set_clean_timer(s);
}

static void clean_timer_fires(void *opaque)
{
    /* It does not wait for anything, so it is over when this returns. */
    qemu_coroutine_enter(qemu_coroutine_create(co_clean_caches, opaque));
}

/* ---- open: what was not closed ------------------------------------------------------------- */

/* The writer of a dirty image did not keep its refcounts exact; nobody may allocate by them. */
static bool coroutine_fn co_repair_dirty(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;
    BdrvCheckResult res = { 0 };
    int ret;

    if (!(s->header.incompatible & QCOW2_INCOMPAT_DIRTY)) {
        return true;
    }
    CO_LOCK_GUARD(&s->wb_lock);
    CO_LOCK_GUARD(&s->lock);
    ret = qcow2_co_check_repair(bs, &res, BDRV_FIX_LEAKS | BDRV_FIX_ERRORS);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not repair dirty image");
        return false;
    }
    if (res.check_errors || res.corruptions) {
        error_setg(errp, "Could not repair dirty image: %" PRId64 " errors are left",
                   res.check_errors + res.corruptions);
        return false;
    }
    if (res.corruptions_fixed || res.leaks_fixed) {
        info_report("Node '%s' was not closed cleanly; %" PRId64 " errors and %" PRId64
                    " leaked clusters were repaired", bs->node_name, res.corruptions_fixed,
                    res.leaks_fixed);
    }
    return true;
}

/* ---- open and close ------------------------------------------------------------------------ */

static void free_state(Qcow2State *s)
{
    timer_del(&s->clean_timer);
    g_clear_pointer(&s->no_snapshots, bdrv_claim_release);
    qcow2_cache_free(s->l2_cache);
    qcow2_cache_free(s->refcount_cache);
    qcow2_unpacked_free(s->unpacked);
    g_clear_pointer(&s->pack_spare, g_ptr_array_unref);
    qcow2_crypt_free(s);
    g_free(s->l1.entries);
    g_free(s->reftable.entries);
    qcow2_snapshots_clear(s);
    qcow2_extensions_clear(&s->ext);
    g_clear_pointer(&s->bitmaps, g_array_unref);
    g_clear_pointer(&s->pending_frees, g_array_unref);
    g_clear_pointer(&s->gone_frees, g_array_unref);
    g_clear_pointer(&s->metadata, g_hash_table_destroy);
    g_clear_pointer(&s->inactive_l2, g_hash_table_destroy);
    g_clear_pointer(&s->unknown_fields, g_bytes_unref);
}

static void init_state(Qcow2State *s)
{
    qemu_co_mutex_init(&s->wb_lock);
    qemu_co_mutex_init(&s->lock);
    QLIST_INIT(&s->allocs);
    qemu_co_queue_init(&s->pack_waiters);
    qemu_co_sem_init(&s->packers, 2);
    s->pack_spare = g_ptr_array_new_with_free_func(g_free);
    aio_timer_init(qemu_get_aio_context(), &s->clean_timer, QEMU_CLOCK_REALTIME, SCALE_MS,
                   clean_timer_fires, s);
    s->pending_frees = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
    s->gone_frees = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
}

/* @old: what was known of the image before it is read again, else NULL. */
static bool coroutine_fn co_open_image(BlockDriverState *bs, const BlockdevOptionsQcow2 *options,
                                       const Qcow2State *old, int flags, Error **errp)
{
    Qcow2State *s = bs->opaque;

    if (!co_read_header(bs, flags, errp) || !check_readable(s, errp)) {
        return false;
    }
    derive_sizes(s);
    if (!bs->read_only && !check_writable(s, flags, errp)) {
        return false;
    }
    if (!qcow2_options_read(bs, options, flags, &s->opt, errp) ||
        !qcow2_data_file_co_open(bs, options ? options->data_file : NULL, old, flags, errp) ||
        !qcow2_crypt_co_open(bs, options ? options->encrypt : NULL, flags, errp)) {
        return false;
    }
    make_caches(s);
    s->unpacked = qcow2_unpacked_new(s->cluster_size);
    if (!co_load_tables(bs, flags, errp) ||
        !qcow2_snapshots_co_read(bs, flags & BDRV_O_CHECK, errp)) {
        return false;
    }
    s->bitmaps = qcow2_bitmaps_co_read(bs, errp);
    if (!s->bitmaps || qcow2_overlap_co_load(bs, errp) < 0) {
        return false;
    }
    if (s->ext.has_bitmaps && !(s->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        warn_report("a program lacking bitmap support modified this file, so all bitmaps are now "
                    "considered inconsistent");
        error_printf("Some clusters may be leaked, run 'qemu-img check -r' on the image file to "
                     "fix.\n");
    }
    s->needs_autoclear = s->header.autoclear != 0;
    s->is_corrupt = s->header.incompatible & QCOW2_INCOMPAT_CORRUPT;
    return true;
}

static bool coroutine_fn co_repair_if_writable(BlockDriverState *bs, int flags, Error **errp)
{
    return bs->read_only || (flags & BDRV_O_CHECK) || co_repair_dirty(bs, errp);
}

/* What the node shows of the image. */
static void show_image(BlockDriverState *bs)
{
    const Qcow2State *s = bs->opaque;

    qatomic_set(&bs->total_bytes, QEMU_ALIGN_DOWN((int64_t)s->header.size, BDRV_SECTOR_SIZE));
    bs->encrypted = s->header.crypt_method != 0;
    bs->supported_zero_flags = BDRV_REQ_NO_FALLBACK |
                               (s->header.version >= 3 ? BDRV_REQ_MAY_UNMAP : 0);
    bs->supported_truncate_flags = BDRV_REQ_ZERO_WRITE;
}

static bool coroutine_fn qcow2_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                       int flags, Error **errp)
{
    Qcow2State *s = bs->opaque;
    const BlockdevOptionsQcow2 *o = options ? &options->u.qcow2 : NULL;

    if (!bdrv_co_open_file_child(bs, o ? o->file : NULL, errp)) {
        return false;
    }
    init_state(s);
    if (!co_open_image(bs, o, NULL, flags, errp) || !co_repair_if_writable(bs, flags, errp)) {
        free_state(s);
        return false;
    }
    show_image(bs);
    if (!bdrv_co_open_backing(bs, o ? o->backing : NULL, errp)) {
        free_state(s);
        return false;
    }
    if (!(flags & (BDRV_O_NO_IO | BDRV_O_CHECK)) && !bs->inactive &&
        !qcow2_bitmaps_co_load(bs, errp)) {
        free_state(s);
        return false;
    }
    set_clean_timer(s);
    return true;
}

static int coroutine_fn qcow2_co_flush_to_os(BlockDriverState *bs)
{
    return qcow2_co_write_back(bs);
}

/* Everything.  The first round drops references, the second the counts of what was freed. */
static int coroutine_fn co_write_all(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    int ret;

    qemu_co_mutex_lock(&s->lock);
    s->wants_cut |= s->room_end;
    qemu_co_mutex_unlock(&s->lock);
    ret = qcow2_co_write_back(bs);
    return ret < 0 ? ret : qcow2_co_write_back(bs);
}

static void coroutine_fn store_bitmaps(BlockDriverState *bs)
{
    Error *local_err = NULL;

    if (qcow2_bitmaps_co_store(bs, &local_err) < 0) {
        error_reportf_err(local_err, "Lost persistent bitmaps during inactivation of node '%s': ",
                          bdrv_get_node_name(bs));
        bdrv_note_failed_close();
    }
}

/* Some readers want whole sectors, also of a stream at the end of the file. */
static int coroutine_fn co_complete_last_sector(BlockDriverState *bs)
{
    static const uint8_t zeroes[BDRV_SECTOR_SIZE];
    Qcow2State *s = bs->opaque;
    uint64_t end = s->packed_end;

    /* Nobody has the bytes behind the last stream. */
    return end % BDRV_SECTOR_SIZE == 0
               ? 0 : bdrv_co_pwrite(bs->file, end, BDRV_SECTOR_SIZE - end % BDRV_SECTOR_SIZE,
                                    zeroes, 0);
}

static void coroutine_fn qcow2_co_close(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    if (!bs->inactive) {
        store_bitmaps(bs);
    }
    if (!bs->read_only && !bs->inactive) {
        int ret = co_write_all(bs);

        if (ret >= 0) {
            ret = co_complete_last_sector(bs);
        }
        if (ret < 0) {
            error_report("qcow2: Could not write back the metadata of '%s': %s",
                         bdrv_get_filename(bs), strerror(-ret));
            bdrv_note_failed_close();
        }
    }
    free_state(s);
}

/* ---- handing over -------------------------------------------------------------------------- */

static int coroutine_fn qcow2_co_inactivate(BlockDriverState *bs)
{
    Error *local_err = NULL;
    int ret = bs->read_only ? 0 : qcow2_bitmaps_co_store(bs, &local_err);

    if (ret < 0) {
        error_report_err(local_err);
        return ret;
    }
    if (bs->read_only) {
        return 0;
    }
    ret = co_write_all(bs);
    return ret < 0 ? ret : co_complete_last_sector(bs);
}

/* What was known of an image, to be had back. */
typedef struct OldImage {
    Qcow2State *s;
    char *backing_file, *backing_format, *auto_backing_file;
} OldImage;

static OldImage take_image(BlockDriverState *bs)
{
    OldImage old = {
        .s = bs->opaque,
        .backing_file = g_steal_pointer(&bs->backing_file),
        .backing_format = g_steal_pointer(&bs->backing_format),
        .auto_backing_file = g_steal_pointer(&bs->auto_backing_file),
    };

    timer_del(&old.s->clean_timer);
    bs->opaque = g_malloc0(bs->drv->instance_size);
    init_state(bs->opaque);
    return old;
}

/* Free @s, and what belongs to it. */
static void free_image(Qcow2State *s, char *backing_file, char *backing_format,
                       char *auto_backing_file)
{
    free_state(s);
    g_free(s);
    g_free(backing_file);
    g_free(backing_format);
    g_free(auto_backing_file);
}

static void forget_image(OldImage *old)
{
    free_image(old->s, old->backing_file, old->backing_format, old->auto_backing_file);
}

static void put_image_back(BlockDriverState *bs, OldImage *old)
{
    free_image(bs->opaque, bs->backing_file, bs->backing_format, bs->auto_backing_file);
    bs->opaque = old->s;
    bs->backing_file = old->backing_file;
    bs->backing_format = old->backing_format;
    bs->auto_backing_file = old->auto_backing_file;
    show_image(bs);
    set_clean_timer(old->s);
}

/* Into the new state that take_image() has left. */
static bool coroutine_fn co_read_image(BlockDriverState *bs, const OldImage *old, Error **errp)
{
    const BlockdevOptionsQcow2 *options = bs->options ? &bs->options->u.qcow2 : NULL;

    if (!co_open_image(bs, options, old->s, bs->open_flags, errp)) {
        return false;
    }
    show_image(bs);
    set_clean_timer(bs->opaque);
    return true;
}

static bool coroutine_fn qcow2_co_activate(BlockDriverState *bs, Error **errp)
{
    OldImage old = take_image(bs);

    if (!co_read_image(bs, &old, errp) || !co_repair_if_writable(bs, bs->open_flags, errp) ||
        !qcow2_bitmaps_co_reload(bs, errp)) {
        put_image_back(bs, &old);
        return false;
    }
    forget_image(&old);
    return true;
}

/* ---- reopen -------------------------------------------------------------------------------- */

typedef struct Reopen {
    Qcow2Options opt;
    OldImage old; /* with another file; else old.s is NULL */
} Reopen;

static bool check_not_dirty(const Qcow2State *s, Error **errp)
{
    if (s->header.incompatible & QCOW2_INCOMPAT_DIRTY) {
        error_setg(errp, "qcow2: Image was not closed cleanly; it is repaired when it is opened "
                   "read/write, not when it is reopened");
        return false;
    }
    return true;
}

static bool coroutine_fn qcow2_co_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    BlockDriverState *bs = state->bs;
    Qcow2State *s = bs->opaque;
    bool writable = state->flags & BDRV_O_RDWR;
    g_autofree Reopen *reopen = g_new0(Reopen, 1);
    int ret;

    if (state->other_file) {
        state->opaque = g_steal_pointer(&reopen);
        return true;
    }
    if (writable && bs->read_only && !check_writable(s, state->flags, errp)) {
        return false;
    }
    if (writable && !check_not_dirty(s, errp)) {
        return false;
    }
    if (!qcow2_options_read(bs, state->options ? &state->options->u.qcow2 : NULL, state->flags,
                            &reopen->opt, errp)) {
        return false;
    }
    if (!writable && !bs->read_only && qcow2_bitmaps_co_store(bs, errp) < 0) {
        error_prepend(errp, "Cannot make the node read-only: ");
        return false;
    }
    /* Caches may be replaced, and a read-only node can write nothing back. */
    ret = bs->read_only ? 0 : co_write_all(bs);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write back the metadata of node '%s'",
                         bs->node_name);
        return false;
    }
    state->opaque = g_steal_pointer(&reopen);
    return true;
}

/* A node with bitmaps in memory gets no other file; those of that one would have to be loaded. */
static bool check_no_bitmaps(const Qcow2State *s, Error **errp)
{
    if (s->bitmaps->len) {
        error_setg(errp, "There are bitmaps in the new file");
        return false;
    }
    return true;
}

static bool coroutine_fn qcow2_co_reopen_file(BdrvReopenState *state, Error **errp)
{
    BlockDriverState *bs = state->bs;
    Reopen *reopen = state->opaque;

    reopen->old = take_image(bs);
    return co_read_image(bs, &reopen->old, errp) && check_no_bitmaps(bs->opaque, errp) &&
           (bs->read_only || check_not_dirty(bs->opaque, errp));
}

/* Those that are stored; others of a read-only node live in memory only. */
static void set_bitmaps_readonly(BlockDriverState *bs, bool readonly)
{
    const Qcow2State *s = bs->opaque;

    for (guint i = 0; i < s->bitmaps->len; i++) {
        const char *name = g_array_index(s->bitmaps, Qcow2Bitmap, i).name;
        BdrvDirtyBitmap *bitmap = bdrv_find_dirty_bitmap(bs, name);

        if (bitmap) {
            bdrv_dirty_bitmap_set_readonly(bitmap, readonly);
        }
    }
}

static void qcow2_reopen_commit(BdrvReopenState *state)
{
    Qcow2State *s = state->bs->opaque;
    g_autofree Reopen *reopen = g_steal_pointer(&state->opaque);

    if (reopen->old.s) {
        forget_image(&reopen->old);
        return;
    }
    set_bitmaps_readonly(state->bs, !(state->flags & BDRV_O_RDWR));
    s->opt = reopen->opt;
    qcow2_caches_renew(s);
    set_clean_timer(s);
}

static void qcow2_reopen_abort(BdrvReopenState *state)
{
    g_autofree Reopen *reopen = g_steal_pointer(&state->opaque);

    if (reopen->old.s) {
        put_image_back(state->bs, &reopen->old);
    }
}

/* ---- the small callbacks ------------------------------------------------------------------- */

static int qcow2_probe(const uint8_t *buf, size_t len, const char *filename)
{
    return len >= 8 && (uint32_t)ldl_be_p(buf) == QCOW2_MAGIC && ldl_be_p(buf + 4) >= 2 ? 100 : 0;
}

static int64_t coroutine_fn qcow2_co_getlength(BlockDriverState *bs)
{
    const Qcow2State *s = bs->opaque;

    return QEMU_ALIGN_DOWN((int64_t)s->header.size, BDRV_SECTOR_SIZE);
}

static void qcow2_refresh_limits(BlockDriverState *bs)
{
    const Qcow2State *s = bs->opaque;

    if (s->header.crypt_method) {
        bs->bl.request_alignment = MAX(bs->bl.request_alignment, CRYPTO_SECTOR_SIZE);
    }
    bs->bl.pwrite_zeroes_alignment = UINT32_C(1) << s->subcluster_bits;
    bs->bl.pdiscard_alignment = s->cluster_size;
}

static int coroutine_fn qcow2_co_change_backing_file(BlockDriverState *bs, const char *file,
                                                     const char *format)
{
    Qcow2State *s = bs->opaque;
    Error *local_err = NULL;
    int ret = qcow2_co_before_change(bs);

    if (ret < 0) {
        return ret;
    }
    if (file && strlen(file) > QCOW2_MAX_BACKING_NAME) {
        return -EINVAL;
    }
    qemu_co_mutex_lock(&s->lock);
    ret = qcow2_header_co_set_backing(bs, file && *file ? file : NULL,
                                      format && *format ? format : NULL, &local_err);
    qemu_co_mutex_unlock(&s->lock);
    if (ret < 0) {
        error_free(local_err);
        return ret;
    }
    g_free(bs->backing_file);
    g_free(bs->backing_format);
    g_free(bs->auto_backing_file);
    bs->backing_file = g_strdup(file ? file : "");
    bs->backing_format = g_strdup(format ? format : "");
    bs->auto_backing_file = g_strdup(bs->backing_file);
    return 0;
}

/* ---- the table ----------------------------------------------------------------------------- */

static const char *const mutable_opts[] = {
    "lazy-refcounts", "pass-discard-request", "pass-discard-snapshot", "pass-discard-other",
    "discard-no-unref", "overlap-check", "cache-size", "l2-cache-size", "l2-cache-entry-size",
    "refcount-cache-size", "cache-clean-interval", NULL,
};

static const char *const strong_opts[] = { "encrypt.key-secret", "data-file", NULL };

BlockDriver bdrv_qcow2 = {
    .format_name = "qcow2",
    .instance_size = sizeof(Qcow2State),
    .options_type = BLOCKDEV_DRIVER_QCOW2,
    .supports_backing = true,
    .strong_runtime_opts = strong_opts,
    .mutable_opts = mutable_opts,
    .create_opts = &qcow2_create_opts,
    .amend_opts = &qcow2_amend_opts,

    .bdrv_probe = qcow2_probe,
    .bdrv_co_open = qcow2_co_open,
    .bdrv_co_close = qcow2_co_close,
    .bdrv_co_activate = qcow2_co_activate,
    .bdrv_co_inactivate = qcow2_co_inactivate,
    .bdrv_co_reopen_prepare = qcow2_co_reopen_prepare,
    .bdrv_reopen_commit = qcow2_reopen_commit,
    .bdrv_reopen_abort = qcow2_reopen_abort,
    .bdrv_co_reopen_file = qcow2_co_reopen_file,
    .bdrv_refresh_limits = qcow2_refresh_limits,

    .bdrv_map = qcow2_map,
    .bdrv_co_preadv = qcow2_co_preadv,
    .bdrv_co_pwritev = qcow2_co_pwritev,
    .bdrv_co_pwritev_compressed = qcow2_co_pwritev_compressed,
    .bdrv_co_copy_range_from = qcow2_co_copy_range_from,
    .bdrv_co_copy_range_to = qcow2_co_copy_range_to,
    .bdrv_co_pwrite_zeroes = qcow2_co_pwrite_zeroes,
    .bdrv_co_pdiscard = qcow2_co_pdiscard,
    .bdrv_co_flush_to_os = qcow2_co_flush_to_os,
    .bdrv_co_block_status = qcow2_co_block_status,
    .bdrv_co_block_extents = qcow2_co_block_extents,

    .bdrv_co_truncate = qcow2_co_truncate,
    .bdrv_co_getlength = qcow2_co_getlength,

    .bdrv_co_create = qcow2_co_create,
    .bdrv_co_create_opts = qcow2_co_create_opts,
    .bdrv_co_measure = qcow2_co_measure,
    .bdrv_co_compact = qcow2_co_compact,
    .bdrv_co_check = qcow2_co_check,
    .bdrv_co_amend = qcow2_co_amend,
    .bdrv_co_amend_options = qcow2_co_amend_options,
    .bdrv_co_make_empty = qcow2_co_make_empty,
    .bdrv_co_change_backing_file = qcow2_co_change_backing_file,
    .bdrv_get_info = qcow2_get_info,
    .bdrv_get_specific_info = qcow2_get_specific_info,
    .bdrv_get_snapshots = qcow2_get_snapshots,
    .bdrv_co_snapshot_create = qcow2_co_snapshot_create,
    .bdrv_co_snapshot_goto = qcow2_co_snapshot_goto,
    .bdrv_co_snapshot_delete = qcow2_co_snapshot_delete,
    .bdrv_co_snapshot_load_tmp = qcow2_co_snapshot_load_tmp,
    .bdrv_co_save_vmstate = qcow2_co_save_vmstate,
    .bdrv_co_load_vmstate = qcow2_co_load_vmstate,
    .bdrv_co_snapshot_load_vmstate = qcow2_co_snapshot_load_vmstate,
    .bdrv_co_drop_vmstate = qcow2_co_drop_vmstate,

    .bdrv_co_can_store_new_dirty_bitmap = qcow2_co_can_store_new_dirty_bitmap,
    .bdrv_co_remove_persistent_dirty_bitmap = qcow2_co_remove_persistent_dirty_bitmap,
    .bdrv_co_before_bitmap_change = qcow2_co_before_change,
};
