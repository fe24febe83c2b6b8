/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts while anything may happen: a guest writes, zeroes, discards and packs; in random order
 * snapshots are made, applied and deleted, the image is resized, amended and compacted, bitmaps
 * come, are stored and go, and in the end all is committed to the image below, which takes over.
 * In each state the disk holds what it may; snapshots, and bitmaps that say they are good, are
 * there as long as they shall be and tell the truth.  An installed stock checks some states, too.
 */
#include "qemu/osdep.h"

#include "block/freeze.h"
#include "block/snapshot.h"
#include "crash-lab.h"
#include "job-lab.h"

#define QCOW2(name) \
    "{'driver': 'qcow2', 'discard': 'unmap', 'file': {'driver': 'file', 'filename': '" name "'}}"
#define PHASES 4
#define COMMIT_PHASE 2
#define STEPS 6            /* operations of one phase */
#define STOCK_EVERY 500    /* states */

/* A snapshot, or a bitmap. */
typedef struct Kept {
    char *name;
    bool is_below;   /* it is in the image that takes over */
    bool is_bitmap;
    guint from;      /* operations recorded when it was sure to be there; G_MAXUINT: not yet */
    guint until;     /* ... when it began to go */
    guint doubtful;  /* ... when its content began to change */
    uint32_t *words; /* what each sector held when it was made; NULL: not known */
} Kept;

static GPtrArray *kept; /* of Kept, of the current run */
static guint stock_judged;

static void kept_free(void *opaque)
{
    Kept *k = opaque;

    g_free(k->name);
    g_free(k->words);
    g_free(k);
}

static Kept *keep(const CrashRun *r, bool is_bitmap, uint32_t *words)
{
    Kept *k = g_new0(Kept, 1);

    *k = (Kept) {
        .name = g_strdup_printf("%c%u", is_bitmap ? 'b' : 's', kept->len),
        .is_below = r->switched != G_MAXUINT, .is_bitmap = is_bitmap,
        .from = G_MAXUINT, .until = G_MAXUINT, .doubtful = G_MAXUINT, .words = words,
    };
    g_ptr_array_add(kept, k);
    return k;
}

/* Any of those that are there, or NULL. */
static Kept *pick_kept(const CrashRun *r, bool is_bitmap)
{
    g_autoptr(GPtrArray) there = g_ptr_array_new();

    for (guint i = 0; i < kept->len; i++) {
        Kept *k = g_ptr_array_index(kept, i);

        if (k->is_bitmap == is_bitmap && k->is_below == (r->switched != G_MAXUINT) &&
            k->until == G_MAXUINT) {
            g_ptr_array_add(there, k);
        }
    }
    return there->len ? g_ptr_array_index(there, test_rand_below(r->rand, there->len)) : NULL;
}

static uint32_t *coroutine_fn co_words(const CrashRun *r, BdrvChild *root)
{
    g_autofree uint32_t *buf = g_malloc(r->k->disk_bytes);
    uint32_t *words = g_new(uint32_t, crash_sectors(r));

    g_assert_cmpint(bdrv_co_pread(root, 0, r->k->disk_bytes, buf, 0), ==, 0);
    for (int64_t i = 0; i < crash_sectors(r); i++) {
        words[i] = buf[i * 128];
    }
    return words;
}

/* ---- operations; false: refused -------------------------------------------------------------- */

/* Made while no request runs, so that its content is known, or while some do. */
static bool coroutine_fn co_snapshot(CrashRun *r, Error **errp)
{
    g_autoptr(BdrvFreeze) freeze = NULL;
    Kept *k;

    if (g_rand_int_range(r->rand, 0, 4)) {
        freeze = bdrv_co_freeze_node(r->user->bs);
    }
    k = keep(r, false, freeze ? co_words(r, r->user->root) : NULL);
    if (!bdrv_co_snapshot_create_now(r->user->bs, k->name, errp)) {
        k->until = 0;
        return false;
    }
    k->from = r->log->len;
    return true;
}

static bool coroutine_fn co_delete(CrashRun *r, Error **errp)
{
    Kept *k = pick_kept(r, false);
    g_autoptr(SnapshotInfo) info = k ? bdrv_snapshot_find(r->user->bs, NULL, k->name) : NULL;

    if (!k) {
        error_setg(errp, "There is no snapshot");
        return false;
    }
    k->until = r->log->len;
    return bdrv_co_snapshot_delete(r->user->bs, info->id, errp);
}

static bool coroutine_fn co_remove_bitmap(CrashRun *r, Error **errp)
{
    Kept *k = pick_kept(r, true);

    if (!k) {
        error_setg(errp, "There is no bitmap");
        return false;
    }
    k->until = r->log->len;
    if (bdrv_co_remove_persistent_dirty_bitmap(r->user->bs, k->name, errp) < 0) {
        return false;
    }
    bdrv_release_dirty_bitmap(bdrv_find_dirty_bitmap(r->user->bs, k->name));
    return true;
}

/* All bitmaps go first, as they must. */
static bool coroutine_fn co_apply(CrashRun *r, Error **errp)
{
    Kept *k = pick_kept(r, false);
    g_autoptr(BdrvFreeze) freeze = NULL;

    if (!k || !k->words) {
        error_setg(errp, "There is no snapshot with known content");
        return false;
    }
    while (pick_kept(r, true)) {
        if (!co_remove_bitmap(r, errp)) {
            return false;
        }
    }
    freeze = bdrv_co_freeze_node(r->user->bs);
    for (int64_t i = 0; i < crash_sectors(r); i++) {
        crash_stamp_begin(r, i, 1, k->words[i]);
    }
    if (!bdrv_co_snapshot_goto(r->user->bs, k->name, errp)) {
        return false;
    }
    crash_stamp_end(r, 0, crash_sectors(r));
    return true;
}

/* Longer, with data there, or as short as it may be. */
static bool coroutine_fn co_resize(CrashRun *r, Error **errp)
{
    int64_t more = g_rand_int_range(r->rand, 0, 3) * (r->k->disk_bytes / 2 + 512);
    g_autofree uint8_t *buf = g_malloc(8192);

    if (bdrv_co_truncate(r->user->root, r->k->disk_bytes + more, true,
                         g_rand_boolean(r->rand) ? PREALLOC_MODE_METADATA : PREALLOC_MODE_OFF, 0,
                         errp) < 0) {
        return false;
    }
    memset(buf, 0x77, 8192);
    return !more || bdrv_co_pwrite(r->user->root, r->k->disk_bytes + more / 2, 8192, buf, 0) == 0;
}

static bool coroutine_fn co_amend(CrashRun *r, Error **errp)
{
    static const char *const ways[] = {
        "refcount_bits=64", "refcount_bits=8", "refcount_bits=32", "lazy_refcounts=on",
        "lazy_refcounts=off", "compat=0.10,refcount_bits=16", "compat=1.1", "refcount_bits=16",
    };
    const char *way = ways[test_rand_below(r->rand, ARRAY_SIZE(ways))];

    if (pick_kept(r, true) && strstr(way, "0.10")) {
        error_setg(errp, "A bitmap that is not stored yet would be lost");
        return false;
    }
    return lab_co_amend(r->user->bs, way, false, errp);
}

static bool coroutine_fn co_compact(CrashRun *r, Error **errp)
{
    int64_t left;

    return bdrv_co_compact(r->user->bs, 64 * KiB, &left, errp) >= 0;
}

/* It is stored when the image is closed. */
static bool coroutine_fn co_add_bitmap(CrashRun *r, Error **errp)
{
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(r->user->bs);
    uint32_t granularity = 512u << test_rand_below(r->rand, 4);
    BdrvDirtyBitmap *bitmap;
    Kept *k;

    /* Version 2 cannot. */
    if (!bdrv_co_can_store_new_dirty_bitmap(r->user->bs, "new", granularity, errp)) {
        return false;
    }
    k = keep(r, true, co_words(r, r->user->root));
    bitmap = bdrv_create_dirty_bitmap(r->user->bs, granularity, k->name, &error_abort);
    bdrv_dirty_bitmap_set_persistence(bitmap, true);
    return true;
}

static const struct {
    const char *kind;
    bool coroutine_fn (*co_do)(CrashRun *r, Error **errp);
} operations[] = {
    { "snapshot made", co_snapshot },
    { "snapshot made", co_snapshot },
    { "snapshot deleted", co_delete },
    { "snapshot applied", co_apply },
    { "resize", co_resize },
    { "amend", co_amend },
    { "compact", co_compact },
    { "bitmap added", co_add_bitmap },
    { "bitmap removed", co_remove_bitmap },
};

/* What snapshots show through their holes changes; those of the image above are no longer asked. */
static void coroutine_fn co_commit(CrashRun *r)
{
    guint op = crash_op_begin(r, "commit");
    CommitJobArgs args = {
        .job_id = "j", .bs = r->user->bs, .top = r->user->bs, .base = bdrv_cow_bs(r->user->bs),
        .write_blocking = g_rand_boolean(r->rand),
    };

    for (guint i = 0; i < kept->len; i++) {
        Kept *k = g_ptr_array_index(kept, i);

        k->doubtful = k->is_bitmap ? G_MAXUINT : r->log->len;
    }
    BDRV_CONTROL_GUARD();
    lab_co_keep_length(r->user);
    g_assert_true(job_lab_co_run(commit_active_job_co_create(&args, &error_abort), &error_abort));
    crash_op_end(r, op, true);
}

static void coroutine_fn co_mix(CrashRun *r)
{
    for (guint i = 0; i < kept->len; i++) {
        Kept *k = g_ptr_array_index(kept, i);

        /* Those that were there when the image was closed are stored. */
        if (k->is_bitmap && k->until == G_MAXUINT) {
            k->from = MIN(k->from, r->log->len);
        }
    }
    if (r->k->open_switched && r->phase == COMMIT_PHASE) {
        co_commit(r);
        return;
    }
    for (int i = 0; i < STEPS; i++) {
        guint what = test_rand_below(r->rand, ARRAY_SIZE(operations));
        g_autoptr(Error) local_err = NULL;
        guint op;

        crash_co_dawdle(r);
        BDRV_CONTROL_GUARD();
        op = crash_op_begin(r, operations[what].kind);
        crash_op_end(r, op, operations[what].co_do(r, &local_err));
    }
}

static void coroutine_fn co_prepare(CrashRun *r)
{
    g_clear_pointer(&kept, g_ptr_array_unref);
    kept = g_ptr_array_new_with_free_func(kept_free);
}

/* ---- each state ------------------------------------------------------------------------------ */

static bool is_certain(const CrashRun *r, const Kept *k, guint cut)
{
    return k->is_below == (cut >= r->switched) && k->from <= cut && cut <= k->until;
}

static void coroutine_fn co_judge_bitmaps(CrashRun *r, MemUser *user, guint cut)
{
    g_autofree uint32_t *now = co_words(r, user->root);

    for (guint i = 0; i < kept->len; i++) {
        const Kept *k = g_ptr_array_index(kept, i);
        BdrvDirtyBitmap *bitmap = k->is_bitmap ? bdrv_find_dirty_bitmap(user->bs, k->name) : NULL;

        g_assert_true(bitmap || !k->is_bitmap || !is_certain(r, k, cut));
        if (!bitmap || bdrv_dirty_bitmap_inconsistent(bitmap)) {
            continue;
        }
        for (int64_t s = 0; s < crash_sectors(r); s++) {
            if (now[s] != k->words[s] && !bdrv_dirty_bitmap_get(bitmap, s * 512)) {
                g_error("cut at %u: bitmap '%s' misses sector %" PRIi64, cut, k->name, s);
            }
        }
    }
}

/* All are there; one of them shows what it shall. */
static void coroutine_fn co_judge_snapshots(CrashRun *r, MemUser *user, guint cut)
{
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    g_autofree uint32_t *words = NULL;
    const Kept *k;

    for (guint i = 0; i < kept->len; i++) {
        k = g_ptr_array_index(kept, i);
        if (!k->is_bitmap && is_certain(r, k, cut)) {
            g_autoptr(SnapshotInfo) info = bdrv_snapshot_find(user->bs, NULL, k->name);

            g_assert_nonnull(info);
            if (k->words && cut <= k->doubtful) {
                g_ptr_array_add(known, (void *)k);
            }
        }
    }
    if (!known->len) {
        return;
    }
    k = g_ptr_array_index(known, test_rand_below(r->rand, known->len));
    g_assert_true(bdrv_co_snapshot_load_tmp(user->bs, NULL, k->name, &error_abort));
    words = co_words(r, user->root);
    for (int64_t s = 0; s < crash_sectors(r); s++) {
        if (words[s] != k->words[s]) {
            g_error("cut at %u: snapshot '%s' holds %" PRIx32 " and not %" PRIx32 " in sector %"
                    PRIi64, cut, k->name, words[s], k->words[s], s);
        }
    }
}

/* The path of an installed stock qemu-img, or NULL; the caller's. */
static char *stock_program(void)
{
    char *path = g_find_program_in_path("qemu-img");
    g_autofree char *command = g_strdup_printf("%s --version", path ? path : "false");
    g_autofree char *text = NULL;

    if (!g_spawn_command_line_sync(command, &text, NULL, NULL, NULL) || !strstr(text, "version") ||
        strstr(text, "e2k")) {
        g_clear_pointer(&path, g_free);
    }
    return path;
}

/* The files of this state, as files; stock finds leaks at most. */
static void judge_by_stock(const CrashRun *r, guint cut)
{
    g_autofree char *program = stock_program();
    g_autofree char *folder = g_dir_make_tmp("lab-XXXXXX", NULL);
    const char *names[] = { "base", "mid", "disk" };
    char *argv[] = { program, (char *)"check", (char *)"-q", (char *)"-f", (char *)"qcow2",
                     (char *)(cut >= r->switched ? "mid" : "disk"), NULL };
    g_autofree char *text = NULL, *errors = NULL;
    int status = -1;

    for (size_t i = 0; program && i < ARRAY_SIZE(names); i++) {
        g_autofree char *path = g_build_filename(folder, names[i], NULL);
        const GByteArray *data = mem_file(names[i])->data;

        g_assert_true(g_file_set_contents_full(path, (char *)data->data, data->len,
                                               G_FILE_SET_CONTENTS_NONE, 0600, NULL));
    }
    if (program) {
        g_assert_true(g_spawn_sync(folder, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &text, &errors,
                                   &status, NULL));
        stock_judged++;
        if (!WIFEXITED(status) || (WEXITSTATUS(status) && WEXITSTATUS(status) != 3)) {
            g_error("cut at %u: stock's check ends with status %#x\n%s%s", cut, status, text,
                    errors);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        g_autofree char *path = g_build_filename(folder, names[i], NULL);

        unlink(path);
    }
    g_assert_cmpint(rmdir(folder), ==, 0);
}

static void coroutine_fn co_judge(CrashRun *r, MemUser *user, guint cut)
{
    BlockDriverState *below = bdrv_cow_bs(user->bs);
    MemUser lower = { .bs = below };

    if (below && strcmp(below->drv->format_name, "raw")) {
        lab_co_check(&lower);
    }
    co_judge_bitmaps(r, user, cut);
    co_judge_snapshots(r, user, cut);
    if (r->states % STOCK_EVERY == 0) {
        judge_by_stock(r, cut);
    }
}

/* The guest has left the image that it began with. */
static bool has_left_top(const CrashRun *r)
{
    return bdrv_skip_filters(r->user->root->bs) != r->user->bs;
}

/* Some of the cuts will do. */
static bool is_sampled(const CrashRun *r, guint cut)
{
    return cut % 16 == 0;
}

static const char *const kinds[] = {
    "write", "write of part of a cluster", "compressed write", "zero", "discard", "snapshot made",
    "snapshot deleted", "snapshot applied", "resize", "amend", "compact", "bitmaps stored",
    "commit", NULL,
};

#define MAKE(name, size, more) \
    "{'driver': 'qcow2', 'file': 'file-" name "', 'size': 262144, 'cluster-size': " #size more "}"
#define BACKING(name, format) ", 'backing-file': '" name "', 'backing-fmt': '" format "'"
#define CASE(name, size, ...) \
    { .path = "/qcow2/crash/mixed/" name, .disk_bytes = 256 * KiB, \
      .cluster_size = size, .rounds = 12, .step = 3, .unlocked = true, .phases = PHASES, \
      .co_prepare = co_prepare, .co_beside = co_mix, .co_judge = co_judge, \
      .wants_cut = is_sampled, __VA_ARGS__ }

static const CrashCase cases[] = {
    CASE("chain", 4096, .has_base = true, .shows_base = true,
         .create = { MAKE("mid", 4096, BACKING("base", "raw")),
                     MAKE("disk", 4096, BACKING("mid", "qcow2")) },
         .open = QCOW2("disk"), .files = { "disk", "mid" },
         .mix = { 8, 3, 3, 3, 16, .compress = 4 },
         .has_switched = has_left_top, .open_switched = QCOW2("mid"), .kinds = kinds),
    CASE("small-clusters", 512, .create = { MAKE("disk", 512, ", 'refcount-bits': 8") },
         .open = QCOW2("disk"), .mix = { 8, 3, 3, 3, 16, .compress = 4 }),
    CASE("subclusters", 16384, .has_base = true,
         .create = { MAKE("disk", 16384, ", 'extended-l2': true" BACKING("base", "raw")) },
         .open = QCOW2("disk"), .mix = { 8, 3, 3, 3, 16 }),
};

int main(int argc, char **argv)
{
    int ret = crash_lab_main(argc, argv, cases, ARRAY_SIZE(cases));

    g_clear_pointer(&kept, g_ptr_array_unref);
    printf("# %u states judged by stock, too\n", stock_judged);
    return ret;
}
