/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 at its edges: requests past the end of the disk, refcounts that lie, and power cuts while
 * the name of the backing file changes.
 */
#include "qemu/osdep.h"

#include "block/snapshot.h"
#include "qemu/iszero.h"
#include "qcow2-test.h"
#include "../../../block/format/qcow2/qcow2.h"

#define DISK_BYTES (256 * KiB)

static void coroutine_fn co_make(uint32_t cluster_size, int refcount_bits, const char *backing)
{
    BlockdevCreateOptionsQcow2 o = {
        .size = DISK_BYTES,
        .has_cluster_size = true,
        .cluster_size = cluster_size,
        .has_refcount_bits = true,
        .refcount_bits = refcount_bits,
        .backing_file = (char *)backing,
    };

    g_assert_true(qcow2_test_create("disk", &o, &error_abort));
}

static bool swallow_report(const char *text)
{
    return true;
}

/* ---- past the end -------------------------------------------------------------------------- */

static void coroutine_fn co_past_end(void)
{
    uint8_t buf[8192];
    MemUser *user;

    co_make(65536, 16, NULL);
    user = qcow2_test_open("disk", BDRV_O_RDWR | BDRV_O_UNMAP);
    memset(buf, 0x11, sizeof(buf));
    g_assert_cmpint(bdrv_co_pwrite(user->root, DISK_BYTES - 4096, 8192, buf, 0), ==, -ENOSPC);
    g_assert_cmpint(bdrv_co_pwrite(user->root, DISK_BYTES, 512, buf, 0), ==, -ENOSPC);
    g_assert_cmpint(bdrv_co_pwrite(user->root, DISK_BYTES + 1, 1, buf, 0), ==, -ENOSPC);
    g_assert_cmpint(bdrv_co_pwrite_zeroes(user->root, DISK_BYTES, 65536, 0), ==, -ENOSPC);
    g_assert_cmpint(bdrv_co_pdiscard(user->root, DISK_BYTES - 65536, 131072), ==, 0);
    g_assert_cmpint(bdrv_getlength(user->bs), ==, DISK_BYTES);
    g_assert_cmpint(bdrv_co_pread(user->root, DISK_BYTES - 4096, 4096, buf, 0), ==, 0);
    g_assert_cmpint(buf[0], ==, 0);
    g_assert_cmpint(qcow2_test_check(user), ==, 0);
    mem_co_unuse(user);
}

/* A freed cluster may lie past the end of the file; the file is no longer for its discard. */
static void coroutine_fn co_discard_past_end_of_file(void)
{
    MemUser *user;
    int64_t len;

    co_make(65536, 16, NULL);
    user = qcow2_test_open("disk", BDRV_O_RDWR | BDRV_O_UNMAP);
    len = bdrv_getlength(user->bs->file->bs);
    g_assert_cmpint(bdrv_co_pdiscard(user->bs->file, len + 65536, 65536), ==, 0);
    g_assert_cmpint(bdrv_co_pdiscard(user->bs->file, 131072, len), ==, 0);
    g_assert_cmpint(bdrv_getlength(user->bs->file->bs), ==, len);
    mem_co_unuse(user);
}

/* The host gets the space back by the flush; a guest may do nothing else for a long time. */
static void coroutine_fn co_flush_discards(void)
{
    g_autofree uint8_t *buf = g_malloc(65536);
    MemFile *file;
    MemUser *user;

    co_make(65536, 16, NULL);
    file = mem_file("disk");
    file->may_discard = true;
    user = qcow2_test_open("disk", BDRV_O_RDWR | BDRV_O_UNMAP);
    memset(buf, 0x77, 65536);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 65536, 65536, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
    g_assert_nonnull(memmem(file->data->data, file->data->len, buf, 65536));
    g_assert_cmpint(bdrv_co_pdiscard(user->root, 65536, 65536), ==, 0);
    g_assert_nonnull(memmem(file->data->data, file->data->len, buf, 65536));
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
    g_assert_null(memmem(file->data->data, file->data->len, buf, 65536));
    g_assert_cmpint(qcow2_test_check(user), ==, 0);
    mem_co_unuse(user);
}

/*
 * A place that is kept is discarded when older requests have ended.  By then it was written to, and
 * the table on disk names that, even if the guest has wiped it again (R4).
 */
static void coroutine_fn co_kept_place_cut(unsigned zero_flags)
{
    g_autofree uint8_t *data = g_malloc(65536), *buf = g_malloc(65536);
    QDict *options = qcow2_test_options("disk");
    MemFile *file;
    MemUser *user;
    BdrvRequest old;

    co_make(65536, 16, NULL);
    file = mem_file("disk");
    file->may_discard = true;
    qdict_put_str(options, "discard-no-unref", "on");
    user = mem_co_use(options, BDRV_O_RDWR | BDRV_O_UNMAP, &error_abort);
    memset(data, 0x77, 65536);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 0, 65536, data, 0), ==, 0);
    g_assert_cmpint(bdrv_request_co_begin(&old, user->bs, BDRV_REQUEST_READ, 0, 512, 1, false,
                                          false), ==, 0);
    g_assert_cmpint(bdrv_co_pdiscard(user->root, 0, 65536), ==, 0);
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 0, 65536, data, 0), ==, 0);
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
    g_assert_cmpint(bdrv_co_pwrite_zeroes(user->root, 0, 65536, zero_flags), ==, 0);
    bdrv_request_end(&old);

    /* The power goes when the first table would be written. */
    mem_fault = (MemFault){ .kinds = "w", .error = EIO, .at = 1 };
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, -EIO);
    mem_fault = (MemFault){ 0 };
    mem_set_content("cut", file->data->data, file->data->len);
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
    if (zero_flags & BDRV_REQ_MAY_UNMAP) {
        /* It was only put off. */
        g_assert_null(memmem(file->data->data, file->data->len, data, 65536));
    }
    mem_co_unuse(user);

    user = qcow2_test_open("cut", 0);
    g_assert_cmpint(bdrv_co_pread(user->root, 0, 65536, buf, 0), ==, 0);
    g_assert_true(buffer_is_zero(buf, 65536) || memcmp(buf, data, 65536) == 0);
    mem_co_unuse(user);
}

static void coroutine_fn co_kept_place_cuts(void)
{
    co_kept_place_cut(0);
    mem_set_content("disk", NULL, 0);
    co_kept_place_cut(BDRV_REQ_MAY_UNMAP);
}

/* What a shrink frees is cut off the file, except for what is needed behind it. */
static void coroutine_fn co_shrink_cuts_the_file(void)
{
    g_autofree uint8_t *buf = g_malloc(DISK_BYTES);
    MemUser *user;
    int64_t empty, len;

    co_make(4096, 16, NULL);
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    empty = bdrv_getlength(user->bs->file->bs);
    memset(buf, 0x11, DISK_BYTES);
    /* The disk's first half comes last in the file. */
    g_assert_cmpint(bdrv_co_pwrite(user->root, DISK_BYTES / 2, DISK_BYTES / 2, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 0, DISK_BYTES / 2, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
    len = bdrv_getlength(user->bs->file->bs);
    g_assert_cmpint(bdrv_co_truncate(user->root, DISK_BYTES / 4, true, PREALLOC_MODE_OFF, 0,
                                     &error_abort), ==, 0);
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
    g_assert_cmpint(bdrv_getlength(user->bs->file->bs), ==, len - DISK_BYTES / 4);
    g_assert_cmpint(bdrv_co_truncate(user->root, 0, true, PREALLOC_MODE_OFF, 0, &error_abort), ==,
                    0);
    mem_co_unuse(user);
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    g_assert_cmpint(bdrv_getlength(user->bs->file->bs), <, empty + 4096);
    g_assert_cmpint(qcow2_test_check(user), ==, 0);
    mem_co_unuse(user);
}

/* A device cannot be cut: what was there before is there still, and must not show. */
static void coroutine_fn co_shrink_on_device(void)
{
    g_autofree uint8_t *buf = g_malloc(DISK_BYTES);
    MemUser *user;

    co_make(4096, 16, NULL);
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    memset(buf, 0x11, DISK_BYTES);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 0, DISK_BYTES, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
    mem_file("disk")->is_device = true;
    g_assert_cmpint(bdrv_co_truncate(user->root, 4096, true, PREALLOC_MODE_OFF, 0, &error_abort),
                    ==, 0);
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
    g_assert_cmpint(bdrv_co_truncate(user->root, DISK_BYTES, true, PREALLOC_MODE_OFF, 0,
                                     &error_abort), ==, 0);
    g_assert_cmpint(bdrv_co_pwrite(user->root, DISK_BYTES / 2, 512, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_pread(user->root, DISK_BYTES / 2 + 512, 4096, buf, 0), ==, 0);
    g_assert_true(buffer_is_zero(buf, 4096));
    mem_co_unuse(user);
}

/* The same after compacting. */
static void coroutine_fn co_compact_on_device(void)
{
    g_autofree uint8_t *buf = g_malloc(DISK_BYTES);
    MemUser *user;
    int64_t left;

    co_make(4096, 16, NULL);
    user = qcow2_test_open("disk", BDRV_O_RDWR | BDRV_O_UNMAP);
    memset(buf, 0x11, DISK_BYTES);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 0, DISK_BYTES, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_pdiscard(user->root, 0, DISK_BYTES - 4096), ==, 0);
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
    mem_file("disk")->is_device = true;
    bdrv_co_compact(user->bs, DISK_BYTES, &left, &error_abort);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 0, 512, buf, 0), ==, 0);
    for (int64_t at = 4096; at < DISK_BYTES - 4096; at += 4096) {
        g_assert_cmpint(bdrv_co_pwrite(user->root, at, 512, buf, 0), ==, 0);
    }
    for (int64_t at = 0; at < DISK_BYTES - 4096; at += 4096) {
        g_assert_cmpint(bdrv_co_pread(user->root, at + 512, 3584, buf, 0), ==, 0);
        g_assert_true(buffer_is_zero(buf, 3584));
    }
    mem_co_unuse(user);
}

/* ---- refcounts that lie -------------------------------------------------------------------- */

static uint64_t reftable_offset(void)
{
    return ldq_be_p(mem_file("disk")->data->data + 48);
}

static void expect_corrupt(bool yes)
{
    g_assert_cmpint(mem_file("disk")->data->data[72 + 7] & 2, ==, yes ? 2 : 0);
}

static void coroutine_fn co_write_is_refused(void)
{
    uint8_t buf[512] = { 1 };
    MemUser *user = qcow2_test_open("disk", BDRV_O_RDWR);

    g_assert_cmpint(bdrv_co_pread(user->root, 0, 512, buf, 0), ==, 0);
    expect_corrupt(false);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 0, 512, buf, 0), ==, -EIO);
    expect_corrupt(true);
    mem_co_unuse(user);
}

/* A table whose every entry names one and the same block: a search would go on for ages. */
static void coroutine_fn co_one_block_for_all(void)
{
    uint8_t *table;

    co_make(65536, 16, NULL);
    table = mem_file("disk")->data->data + reftable_offset();
    for (int i = 1; i < 65536 / 8; i++) {
        memcpy(table + i * 8, table, 8);
    }
    co_write_is_refused();
}

/* Real blocks, all full: the first free cluster is beyond a terabyte in a file of 3 MiB. */
static void coroutine_fn co_far_away(void)
{
    GByteArray *data;
    guint old_len;

    co_make(65536, 1, NULL);
    data = mem_file("disk")->data;
    old_len = QEMU_ALIGN_UP(data->len, 65536);
    mem_resize(data, old_len + 40 * 65536);
    memset(data->data + old_len, 0xff, 40 * 65536);
    for (int i = 0; i < 40; i++) {
        stq_be_p(data->data + reftable_offset() + i * 8, old_len + i * UINT64_C(65536));
    }
    co_write_is_refused();
}

/* ---- the backing file's name --------------------------------------------------------------- */

typedef struct Naming {
    const char *file, *format;
} Naming;

static guint n_extensions; /* unknown ones, of 700 bytes each */

/* The name is @a's or @b's, and everything else is in order. */
static void coroutine_fn co_check_naming(const Naming *a, const Naming *b)
{
    QDict *options = qcow2_test_options("crash");
    MemUser *user;
    Qcow2State *s;
    bool is_a, is_b;

    qdict_put_null(options, "backing");
    user = mem_co_use(options, 0, &error_abort);
    s = user->bs->opaque;
    is_a = !strcmp(user->bs->backing_file, a->file) && !strcmp(user->bs->backing_format, a->format);
    is_b = !strcmp(user->bs->backing_file, b->file) && !strcmp(user->bs->backing_format, b->format);
    g_assert_true(is_a || is_b);
    g_assert_cmpuint(s->ext.unknown->len, ==, n_extensions);
    for (guint i = 0; i < n_extensions; i++) {
        g_assert_cmpuint(g_bytes_get_size(g_array_index(s->ext.unknown, Qcow2UnknownExt, i).data),
                         ==, 700);
    }
    g_assert_cmpint(qcow2_test_check(user), ==, 0);
    mem_co_unuse(user);
}

static bool pick_any(void *opaque)
{
    return g_rand_boolean(opaque);
}

/* The log's operations up to the last flush before @t, and any sectors of those after it. */
static void coroutine_fn co_cut(const GByteArray *start, const GArray *log, guint t, GRand *rand)
{
    guint flushed = 0;

    mem_set_content("crash", start->data, start->len);
    for (guint i = 0; i < t; i++) {
        flushed = g_array_index(log, MemOp, i).kind == MEM_FLUSH ? i : flushed;
    }
    for (guint i = 0; i < t; i++) {
        mem_apply(mem_file("crash")->data, &g_array_index(log, MemOp, i),
                  i < flushed ? NULL : pick_any, rand);
    }
}

static void coroutine_fn co_rename(const Naming *a, const Naming *b, GRand *rand)
{
    g_autoptr(GByteArray) start = g_byte_array_new();
    QDict *options = qcow2_test_options("disk");
    MemFile *file = mem_file("disk");
    MemUser *user;

    qdict_put_null(options, "backing");
    user = mem_co_use(options, BDRV_O_RDWR, &error_abort);
    g_assert_cmpint(bdrv_co_change_backing_file(user->bs, a->file, a->format, false), ==, 0);
    g_byte_array_append(start, file->data->data, file->data->len);
    mem_record(file);
    g_assert_cmpint(bdrv_co_change_backing_file(user->bs, b->file, b->format, false), ==, 0);
    for (guint t = 0; t <= file->log->len; t++) {
        for (int i = 0; i < 6; i++) {
            co_cut(start, file->log, t, rand);
            co_check_naming(a, b);
        }
    }
    g_clear_pointer(&file->log, g_array_unref);
    mem_co_unuse(user);
}

static void coroutine_fn co_rename_cuts(void)
{
    static const Naming names[] = {
        { "", "" },
        { "a", "" },
        { "base", "qcow2" },
        { "a-longer-name-of-a-file-that-is-more-than-any-sector-has-left-over", "" },
        { "a-longer-name-of-a-file-that-is-more-than-any-sector-has-left-over", "raw" },
        { "another-long-one-with-other-letters-and-yet-another-length-of-its-own", "qcow2" },
    };
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree char *huge = g_strnfill(900, 'x');
    Naming last = { huge, "raw" };

    co_make(65536, 16, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
            co_rename(&names[i], &names[k], rand);
        }
        co_rename(&names[i], &last, rand);
        co_rename(&last, &names[i], rand);
    }
}

/* Extensions past the first sector: one write cannot change them. */
static void coroutine_fn co_add_long_extension(size_t len)
{
    g_autofree char *bytes = g_strnfill(len, 'u');
    Qcow2UnknownExt ext = { 0x12345678, g_bytes_new(bytes, len) };
    MemUser *user = qcow2_test_open("disk", BDRV_O_RDWR);
    Qcow2State *s = user->bs->opaque;

    g_array_append_val(s->ext.unknown, ext);
    g_assert_cmpint(bdrv_co_change_backing_file(user->bs, "", "", false), ==, 0);
    mem_co_unuse(user);
}

static void coroutine_fn co_rename_cuts_in_long_header(void)
{
    static const Naming names[] = {
        { "a", "" },
        { "a-longer-name", "qcow2" },
        { "", "" },
        { "another-long-one-with-other-letters", "raw" },
    };
    g_autoptr(GRand) rand = test_rand_new();

    co_make(65536, 16, NULL);
    co_add_long_extension(700);
    n_extensions = 1;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
            co_rename(&names[i], &names[k], rand);
        }
    }
    n_extensions = 0;
}

/* Where there is no room for that, nothing is written. */
static void coroutine_fn co_rename_without_room(void)
{
    g_autoptr(GByteArray) before = g_byte_array_new();
    Qcow2UnknownExt ext = { 0x12345678, g_bytes_new_static("", 0) };
    g_autofree char *bytes = g_strnfill(600, 'u');
    MemFile *file = mem_file("disk");
    MemUser *user;
    Qcow2State *s;

    co_make(1024, 16, NULL);
    g_byte_array_append(before, file->data->data, file->data->len);
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    s = user->bs->opaque;
    g_bytes_unref(ext.data);
    ext.data = g_bytes_new(bytes, 600);
    g_array_append_val(s->ext.unknown, ext);
    g_assert_cmpint(bdrv_co_change_backing_file(user->bs, "x", "raw", false), ==, -ENOSPC);
    g_assert_cmpmem(before->data, 1024, file->data->data, 1024);
    mem_co_unuse(user);
}

/* ---- the machine's state ------------------------------------------------------------------- */

/* A disk that grows over it reads as zeroes there, and the image is sound. */
static void coroutine_fn co_grow_over_vm_state(void)
{
    BlockdevCreateOptionsQcow2 o = { .size = 64 * KiB, .has_cluster_size = true,
                                     .cluster_size = 512 };
    g_autofree uint8_t *buf = g_malloc(1 * MiB);
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, 100 * KiB);
    MemUser *user;

    g_assert_true(qcow2_test_create("vm", &o, &error_abort));
    user = qcow2_test_open("vm", BDRV_O_RDWR);
    for (int64_t size = 128 * KiB; size <= 512 * KiB; size *= 2) {
        memset(buf, 0x99, 100 * KiB);
        g_assert_cmpint(bdrv_co_save_vmstate(user->bs, &qiov, 0), ==, 0);
        if (size == 256 * KiB) {
            g_assert_true(bdrv_co_snapshot_create_now(user->bs, "shared", &error_abort));
        }
        g_assert_cmpint(bdrv_co_truncate(user->root, size, true, PREALLOC_MODE_OFF, 0,
                                         &error_abort), ==, 0);
        g_assert_cmpint(bdrv_co_pread(user->root, 0, size, buf, 0), ==, 0);
        g_assert_true(buffer_is_zero(buf, size));
        g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
        g_assert_cmpint(qcow2_test_check(user), ==, 0);
    }
    mem_co_unuse(user);
}

/* ---- main ---------------------------------------------------------------------------------- */

/* Is the first L2 slice in memory?  (Looking is a use.) */
static bool has_slice(Qcow2State *s)
{
    Qcow2CacheEntry *entry = qcow2_cache_peek(s->l2_cache, s->l1.entries[0] & QCOW2_OFFSET_MASK);
    bool found = entry;

    qcow2_cache_put(entry);
    return found;
}

static void coroutine_fn co_unused_tables(void)
{
    BlockdevCreateOptionsQcow2 o = { .size = 1 * MiB };
    uint8_t buf[512];
    Qcow2State *s;
    MemUser *user;

    memset(buf, 0x77, sizeof(buf));
    g_assert_true(qcow2_test_create("unused", &o, &error_abort));
    user = qcow2_test_open("unused", BDRV_O_RDWR);
    s = user->bs->opaque;
    g_assert_cmpint(bdrv_co_pwrite(user->root, 0, 512, buf, 0), ==, 0);
    qcow2_cache_age(s->l2_cache);
    qcow2_cache_age(s->l2_cache);
    /* What was changed stays until it is written; what was used lately stays. */
    g_assert_true(has_slice(s));
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
    qcow2_cache_age(s->l2_cache);
    g_assert_true(has_slice(s));
    qcow2_cache_age(s->l2_cache);
    qcow2_cache_age(s->l2_cache);
    g_assert_false(has_slice(s));
    g_assert_cmpint(bdrv_co_pread(user->root, 0, 512, buf, 0), ==, 0);
    g_assert_cmphex(buf[0], ==, 0x77);
    g_assert_true(has_slice(s));
    mem_co_unuse(user);
}

/* ---- snapshots that lie -------------------------------------------------------------------- */

/* A disk whose size is near 2^64 needs no L1 table, if one only counts far enough. */
static void coroutine_fn co_snapshot_of_huge_disk(void)
{
    static const uint64_t sizes[] = { UINT64_MAX, UINT64_MAX - 511, INT64_MAX, UINT64_C(1) << 63 };
    uint8_t *file;
    MemUser *user;

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        Error *err = NULL;

        mem_set_content("disk", NULL, 0);
        co_make(4096, 16, NULL);
        user = qcow2_test_open("disk", BDRV_O_RDWR);
        g_assert_true(bdrv_co_snapshot_create_now(user->bs, "s", &error_abort));
        mem_co_unuse(user);
        file = mem_file("disk")->data->data;
        stq_be_p(file + ldq_be_p(file + 64) + 48, sizes[i]);
        user = qcow2_test_open("disk", BDRV_O_RDWR);
        g_assert_false(bdrv_co_snapshot_goto(user->bs, "s", &err));
        g_assert_nonnull(err);
        error_free(err);
        g_assert_cmpint(bdrv_getlength(user->bs), ==, DISK_BYTES);
        g_assert_true(bdrv_co_snapshot_delete(user->bs, "1", &error_abort));
        mem_co_unuse(user);
    }
}

/* ---- growing while others write ------------------------------------------------------------ */

#define NB_WRITERS 3

typedef struct Writer {
    MemCrew *crew;
    BdrvChild *root;
    int64_t offset;
    int ret;
} Writer;

static void coroutine_fn co_write_one(void *opaque)
{
    Writer *w = opaque;
    uint8_t buf[4096];

    memset(buf, 0x5a, sizeof(buf));
    w->ret = bdrv_co_pwrite(w->root, w->offset, sizeof(buf), buf, 0);
    mem_crew_leave(w->crew);
}

/* The one that fails gives back clusters before those of the others, which growing then takes. */
static void coroutine_fn co_grow_among_writers(uint32_t seed)
{
    MemUser *user = qcow2_test_open("disk", BDRV_O_RDWR);
    MemCrew crew = { 0 };
    Writer w[NB_WRITERS];
    uint8_t buf[4096];

    mem_rand = g_rand_new_with_seed(seed);
    mem_fault = (MemFault){ .kinds = "w", .error = EIO, .at = 1 };
    for (int i = 0; i < NB_WRITERS; i++) {
        w[i] = (Writer){ &crew, user->root, i * 8192, 0 };
        mem_crew_start(&crew, co_write_one, &w[i]);
    }
    while (mem_fault.hits == 0) {
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
    g_assert_cmpint(bdrv_co_truncate(user->root, DISK_BYTES + 4096, true, PREALLOC_MODE_METADATA,
                                     0, NULL), ==, 0);
    mem_crew_wait(&crew);
    mem_fault = (MemFault){ 0 };
    g_clear_pointer(&mem_rand, g_rand_free);
    for (int i = 0; i < NB_WRITERS; i++) {
        g_assert_cmpint(bdrv_co_pread(user->root, w[i].offset, sizeof(buf), buf, 0), ==, 0);
        g_assert_cmpint(buf[0], ==, w[i].ret < 0 ? 0 : 0x5a);
    }
    mem_co_unuse(user);
}

static void coroutine_fn co_grow_cuts_nothing(void)
{
    for (uint32_t seed = 0; seed < 200; seed++) {
        mem_set_content("disk", NULL, 0);
        co_make(4096, 16, NULL);
        co_grow_among_writers(seed);
    }
}

/* ---- a guest beside preallocation ---------------------------------------------------------- */

typedef struct Beside {
    MemUser *user;
    Coroutine *waiter; /* for the end of this */
    bool is_grown;
    int nb_writes;
} Beside;

static void coroutine_fn co_write_beside(void *opaque)
{
    Beside *beside = opaque;
    const uint8_t byte = 0x44;

    while (!beside->is_grown) {
        g_assert_cmpint(bdrv_co_pwrite(beside->user->root, 0, 1, &byte, 0), ==, 0);
        beside->nb_writes++;
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
    aio_co_wake(beside->waiter);
}

/* No step waits for storage here, and still others have their turn. */
static void coroutine_fn co_preallocate_gives_way(void)
{
    Beside beside = { .waiter = qemu_coroutine_self() };

    co_make(4096, 16, NULL);
    beside.user = qcow2_test_open("disk", BDRV_O_RDWR);
    qemu_coroutine_enter(qemu_coroutine_create(co_write_beside, &beside));
    g_assert_cmpint(beside.nb_writes, ==, 1);
    g_assert_cmpint(bdrv_co_truncate(beside.user->root, 64 * MiB, true, PREALLOC_MODE_METADATA, 0,
                                     &error_abort), ==, 0);
    g_assert_cmpint(beside.nb_writes, >, 8);
    beside.is_grown = true;
    qemu_coroutine_yield();
    g_assert_cmpint(qcow2_test_check(beside.user), ==, 0);
    mem_co_unuse(beside.user);
}

int main(int argc, char **argv)
{
    static const Qcow2TestCase cases[] = {
        { "/qcow2/edges/past-end-is-refused", co_past_end },
        { "/qcow2/edges/discard-does-not-lengthen-the-file", co_discard_past_end_of_file },
        { "/qcow2/edges/flush-gives-discarded-space-back", co_flush_discards },
        { "/qcow2/edges/kept-place-named-on-disk-is-not-discarded", co_kept_place_cuts },
        { "/qcow2/edges/shrink-cuts-the-file", co_shrink_cuts_the_file },
        { "/qcow2/edges/one-refcount-block-for-all-is-damage", co_one_block_for_all },
        { "/qcow2/edges/clusters-far-away-are-damage", co_far_away },
        { "/qcow2/edges/unused-tables-leave-the-cache", co_unused_tables },
        { "/qcow2/edges/power-cut-leaves-old-or-new-backing-name", co_rename_cuts },
        { "/qcow2/edges/power-cut-leaves-old-or-new-long-header", co_rename_cuts_in_long_header },
        { "/qcow2/edges/long-header-without-room-is-refused-unchanged", co_rename_without_room },
        { "/qcow2/edges/growing-over-the-machine-state-shows-zeroes", co_grow_over_vm_state },
        { "/qcow2/edges/shrunk-on-a-device-shows-nothing-old", co_shrink_on_device },
        { "/qcow2/edges/compacted-on-a-device-shows-nothing-old", co_compact_on_device },
        { "/qcow2/edges/snapshot-of-a-huge-disk-is-refused", co_snapshot_of_huge_disk },
        { "/qcow2/edges/growing-cuts-off-nothing-others-write", co_grow_cuts_nothing },
        { "/qcow2/edges/preallocation-gives-way", co_preallocate_gives_way },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    error_set_report_hook(swallow_report, NULL);
    qcow2_test_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
