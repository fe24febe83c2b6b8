/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: dirty bitmaps that images keep, against a model in memory, and damaged ones. */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "qcow2-test.h"
#include "../../../block/format/qcow2/bitmap.h"

#define MAX_BITMAPS 4

/* One bitmap as it should be. */
typedef struct Model {
    char name[16];
    uint32_t granularity;
    bool enabled;
    GByteArray *bits; /* a byte for each granule */
} Model;

typedef struct Bench {
    GRand *rand;
    MemUser *user;
    int64_t bytes;
    GArray *models; /* of Model */
    int next_name;
} Bench;

static void coroutine_fn co_make(int64_t bytes, uint32_t cluster_size)
{
    BlockdevCreateOptionsQcow2 o = {
        .size = bytes, .has_cluster_size = true, .cluster_size = cluster_size,
    };

    g_assert_true(qcow2_test_create("disk", &o, &error_abort));
}

static BdrvDirtyBitmap *add(BlockDriverState *bs, const char *name, uint32_t granularity)
{
    BdrvDirtyBitmap *bitmap = bdrv_create_dirty_bitmap(bs, granularity, name, &error_abort);

    bdrv_dirty_bitmap_set_persistence(bitmap, true);
    return bitmap;
}

static GBytes *content(const char *name)
{
    const GByteArray *data = mem_file(name)->data;

    return g_bytes_new(data->data, data->len);
}

/* ---- against a model ----------------------------------------------------------------------- */

static uint32_t nb_granules(const Bench *b, const Model *m)
{
    return DIV_ROUND_UP(b->bytes, m->granularity);
}

static void model_set(const Bench *b, Model *m, int64_t offset, int64_t bytes)
{
    for (int64_t i = offset / m->granularity; i * m->granularity < offset + bytes; i++) {
        m->bits->data[i] = 1;
    }
}

static void compare(const Bench *b)
{
    BdrvDirtyBitmap *bitmap = NULL;
    guint n = 0;

    while ((bitmap = bdrv_dirty_bitmap_next(b->user->bs, bitmap))) {
        n++;
    }
    g_assert_cmpuint(n, ==, b->models->len);
    for (guint i = 0; i < b->models->len; i++) {
        Model *m = &g_array_index(b->models, Model, i);

        bitmap = bdrv_find_dirty_bitmap(b->user->bs, m->name);
        g_assert_nonnull(bitmap);
        g_assert_false(bdrv_dirty_bitmap_inconsistent(bitmap));
        g_assert_cmpuint(bdrv_dirty_bitmap_granularity(bitmap), ==, m->granularity);
        g_assert_cmpint(bdrv_dirty_bitmap_enabled(bitmap), ==, m->enabled);
        g_assert_cmpint(bdrv_dirty_bitmap_size(bitmap), ==, b->bytes);
        for (uint32_t k = 0; k < nb_granules(b, m); k++) {
            g_assert_cmpint(bdrv_dirty_bitmap_get(bitmap, (int64_t)k * m->granularity), ==,
                            m->bits->data[k]);
        }
    }
}

static void coroutine_fn co_add_or_remove(Bench *b)
{
    Model m = { .granularity = 512U << g_rand_int_range(b->rand, 0, 5), .enabled = true };

    if (b->models->len == MAX_BITMAPS) {
        guint i = test_rand_below(b->rand, MAX_BITMAPS);
        Model *victim = &g_array_index(b->models, Model, i);
        BdrvDirtyBitmap *bitmap = bdrv_find_dirty_bitmap(b->user->bs, victim->name);

        g_assert_cmpint(bdrv_co_remove_persistent_dirty_bitmap(b->user->bs, victim->name,
                                                               &error_abort), ==, 0);
        bdrv_release_dirty_bitmap(bitmap);
        g_byte_array_unref(victim->bits);
        g_array_remove_index(b->models, i);
        return;
    }
    snprintf(m.name, sizeof(m.name), "%d", b->next_name++);
    m.bits = g_byte_array_new();
    mem_resize(m.bits, nb_granules(b, &m));
    add(b->user->bs, m.name, m.granularity);
    g_array_append_val(b->models, m);
}

static void coroutine_fn co_write(Bench *b)
{
    int64_t offset = test_rand_below(b->rand, b->bytes / 512) * 512;
    int64_t n = (test_rand_below(b->rand, 64) + 1) * 512;
    g_autofree uint8_t *buf = g_malloc0(n);

    n = MIN(n, b->bytes - offset);
    g_assert_cmpint(bdrv_co_pwrite(b->user->root, offset, n, buf, 0), ==, 0);
    for (guint i = 0; i < b->models->len; i++) {
        Model *m = &g_array_index(b->models, Model, i);

        if (m->enabled) {
            model_set(b, m, offset, n);
        }
    }
}

/* What the commands do to one bitmap. */
static void coroutine_fn co_command(Bench *b)
{
    Model *m;
    BdrvDirtyBitmap *bitmap;

    if (!b->models->len) {
        return;
    }
    m = &g_array_index(b->models, Model, test_rand_below(b->rand, b->models->len));
    bitmap = bdrv_find_dirty_bitmap(b->user->bs, m->name);
    g_assert_true(bdrv_co_dirty_bitmap_before_change(bitmap, &error_abort));
    switch (test_rand_below(b->rand, 4)) {
    case 0:
        bdrv_clear_dirty_bitmap(bitmap, NULL);
        memset(m->bits->data, 0, nb_granules(b, m));
        break;
    case 1:
        bdrv_set_dirty_bitmap(bitmap, 0, b->bytes);
        model_set(b, m, 0, b->bytes);
        break;
    case 2:
        bdrv_disable_dirty_bitmap(bitmap);
        m->enabled = false;
        break;
    default:
        bdrv_enable_dirty_bitmap(bitmap);
        m->enabled = true;
        break;
    }
}

static void coroutine_fn co_resize(Bench *b)
{
    int64_t bytes = (test_rand_below(b->rand, 4096) + 8) * 512;

    g_assert_cmpint(bdrv_co_truncate(b->user->root, bytes, true, PREALLOC_MODE_OFF, 0,
                                     &error_abort), ==, 0);
    for (guint i = 0; i < b->models->len; i++) {
        Model *m = &g_array_index(b->models, Model, i);
        guint old = m->bits->len;
        int64_t old_bytes = b->bytes;

        mem_resize(m->bits, DIV_ROUND_UP(bytes, m->granularity));
        /* A grown disk is new content where it grew. */
        if (m->enabled && bytes > old_bytes) {
            b->bytes = bytes;
            model_set(b, m, old_bytes, bytes - old_bytes);
            b->bytes = old_bytes;
        }
        g_assert_cmpuint(m->bits->len, >=, MIN(old, m->bits->len));
    }
    b->bytes = bytes;
}

static void coroutine_fn co_model_run(Bench *b, uint32_t cluster_size)
{
    co_make(b->bytes, cluster_size);
    b->user = qcow2_test_open("disk", BDRV_O_RDWR | BDRV_O_UNMAP);
    for (int i = 0; i < 150; i++) {
        switch (test_rand_below(b->rand, 10)) {
        case 0:
            co_add_or_remove(b);
            break;
        case 1:
        case 2:
            co_command(b);
            break;
        case 3:
            co_resize(b);
            break;
        case 4:
        case 5:
            mem_co_unuse(b->user);
            b->user = qcow2_test_open("disk", i % 3 ? BDRV_O_RDWR | BDRV_O_UNMAP : 0);
            compare(b);
            g_assert_cmpint(qcow2_test_check(b->user), ==, 0);
            if (b->user->bs->read_only) {
                mem_co_unuse(b->user);
                b->user = qcow2_test_open("disk", BDRV_O_RDWR | BDRV_O_UNMAP);
            }
            break;
        default:
            co_write(b);
            break;
        }
        compare(b);
    }
    mem_co_unuse(b->user);
}

static void coroutine_fn co_model(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    const uint32_t sizes[] = { 512, 4096, 65536 };

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        Bench b = { .rand = rand, .bytes = 1 * MiB };

        b.models = g_array_new(FALSE, FALSE, sizeof(Model));
        co_model_run(&b, sizes[i]);
        for (guint k = 0; k < b.models->len; k++) {
            g_byte_array_unref(g_array_index(b.models, Model, k).bits);
        }
        g_array_unref(b.models);
    }
}

/* ---- in use -------------------------------------------------------------------------------- */

/* "disk" with a bitmap, b, that an earlier session stored. */
static MemUser *coroutine_fn co_with_stored_bitmap(void)
{
    MemUser *user;

    co_make(1 * MiB, 4096);
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    add(user->bs, "b", 4096);
    mem_co_unuse(user);
    return qcow2_test_open("disk", BDRV_O_RDWR);
}

static void coroutine_fn co_reading_writes_nothing(void)
{
    g_autoptr(GBytes) before = NULL, after = NULL;
    uint8_t buf[512];
    MemUser *user;

    co_make(1 * MiB, 4096);
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    bdrv_set_dirty_bitmap(add(user->bs, "b", 4096), 0, 8192);
    mem_co_unuse(user);
    before = content("disk");
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    g_assert_cmpint(bdrv_co_pread(user->root, 0, 512, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_get_dirty_count(bdrv_find_dirty_bitmap(user->bs, "b")), ==, 8192);
    mem_co_unuse(user);
    after = content("disk");
    g_assert_true(g_bytes_equal(before, after));
}

static void coroutine_fn co_killed_writer_leaves_inconsistent(void)
{
    g_autoptr(GBytes) killed = NULL;
    uint8_t buf[512] = { 1 };
    Error *err = NULL;
    BdrvDirtyBitmap *bitmap;
    MemUser *user;

    user = co_with_stored_bitmap();
    g_assert_cmpint(bdrv_co_pwrite(user->root, 0, 512, buf, 0), ==, 0);
    killed = content("disk");
    mem_co_unuse(user);

    mem_set_content("disk", g_bytes_get_data(killed, NULL), g_bytes_get_size(killed));
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    bitmap = bdrv_find_dirty_bitmap(user->bs, "b");
    g_assert_true(bdrv_dirty_bitmap_inconsistent(bitmap));
    g_assert_false(bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_DEFAULT, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Bitmap 'b' is inconsistent and cannot be used");
    g_clear_pointer(&err, error_free);
    g_assert_cmpint(bdrv_co_truncate(user->root, 2 * MiB, true, PREALLOC_MODE_OFF, 0, &err), ==,
                    -ENOTSUP);
    g_clear_pointer(&err, error_free);
    mem_co_unuse(user);
    /* Kept as it is by a session that ends well, and removable. */
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    bitmap = bdrv_find_dirty_bitmap(user->bs, "b");
    g_assert_true(bdrv_dirty_bitmap_inconsistent(bitmap));
    g_assert_cmpint(bdrv_co_remove_persistent_dirty_bitmap(user->bs, "b", &error_abort), ==, 0);
    bdrv_release_dirty_bitmap(bitmap);
    g_assert_cmpint(qcow2_test_check(user), ==, 0);
    mem_co_unuse(user);
}

/* The first write may come from another thread while a query goes through the list. */
static void coroutine_fn co_first_write_keeps_the_list(void)
{
    const GArray *list;
    const char *name;
    uint8_t buf[512] = { 1 };
    MemUser *user;

    user = co_with_stored_bitmap();
    list = ((const Qcow2State *)user->bs->opaque)->bitmaps;
    name = g_array_index(list, Qcow2Bitmap, 0).name;
    g_assert_cmpint(g_array_index(list, Qcow2Bitmap, 0).flags, ==, QCOW2_BITMAP_AUTO);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 0, 512, buf, 0), ==, 0);
    g_assert_true(list == ((const Qcow2State *)user->bs->opaque)->bitmaps);
    g_assert_true(name == g_array_index(list, Qcow2Bitmap, 0).name);
    g_assert_cmpint(g_array_index(list, Qcow2Bitmap, 0).flags, ==,
                    QCOW2_BITMAP_AUTO | QCOW2_BITMAP_IN_USE);
    mem_co_unuse(user);
}

/* ---- storing that fails -------------------------------------------------------------------- */

/* Flush number @n of storing again fails; then the disk changes.  False: it has not so many. */
static bool coroutine_fn co_fail_to_store_at(guint n)
{
    const int64_t offset = 512 * KiB;
    uint8_t buf[512] = { 1 };
    const GByteArray *data;
    BdrvDirtyBitmap *bitmap;
    MemUser *user;
    bool has_failed;

    mem_set_content("disk", NULL, 0);
    co_make(1 * MiB, 4096);
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    add(user->bs, "b", 4096);
    g_assert_cmpint(qcow2_bitmaps_co_store(user->bs, &error_abort), ==, 0);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 0, 512, buf, 0), ==, 0);
    mem_fault = (MemFault){ .kinds = "f", .error = EIO, .at = n };
    qcow2_bitmaps_co_store(user->bs, NULL);
    has_failed = mem_fault.hits;
    mem_fault = (MemFault){ 0 };
    g_assert_cmpint(bdrv_co_pwrite(user->root, offset, 512, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
    data = mem_file("disk")->data;
    mem_set_content("killed", data->data, data->len);
    mem_co_unuse(user);
    user = qcow2_test_open("killed", BDRV_O_RDWR);
    bitmap = bdrv_find_dirty_bitmap(user->bs, "b");
    g_assert_true(bdrv_dirty_bitmap_inconsistent(bitmap));
    mem_co_unuse(user);
    return has_failed;
}

static void coroutine_fn co_failed_store(void)
{
    guint n = 1;

    while (co_fail_to_store_at(n)) {
        n++;
    }
    g_assert_cmpuint(n, >, 1);
}

/* ---- what cannot be stored ----------------------------------------------------------------- */

static void coroutine_fn co_assert_refused(BlockDriverState *bs, const char *name,
                                           uint32_t granularity, const char *why)
{
    Error *err = NULL;

    g_assert_false(bdrv_co_can_store_new_dirty_bitmap(bs, name, granularity, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), why));
    error_free(err);
}

static void coroutine_fn co_limits(void)
{
    g_autofree char *longest = g_strnfill(1024, 'n');
    MemUser *user;

    co_make(INT64_C(16) * 1024 * GiB, 65536);
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    co_assert_refused(user->bs, "b", 512, "Too much space will be occupied by the bitmap");
    co_assert_refused(user->bs, "b", 256, "Granularity is under minimum (512 bytes)");
    co_assert_refused(user->bs, longest, 65536,
                      "Name length exceeds maximum (1023 characters)");
    longest[1023] = 0;
    g_assert_true(bdrv_co_can_store_new_dirty_bitmap(user->bs, longest, 65536, &error_abort));
    mem_co_unuse(user);
}

/* ---- damage -------------------------------------------------------------------------------- */

static void coroutine_fn co_damage(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autoptr(GBytes) good = NULL;
    guint opened = 0, refused = 0;
    MemUser *user;
    size_t len;

    co_make(1 * MiB, 512);
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    bdrv_set_dirty_bitmap(add(user->bs, "first", 512), 0, 8192);
    bdrv_set_dirty_bitmap(add(user->bs, "second", 4096), 0, 8192);
    mem_co_unuse(user);
    good = content("disk");
    for (int i = 0; i < 4000; i++) {
        const uint8_t *old = g_bytes_get_data(good, &len);
        g_autofree uint8_t *data = g_memdup2(old, len);
        /* The extension of the header, or what was written last: tables and directory. */
        size_t at = i % 4 ? len - 1 - test_rand_below(rand, 1024)
                          : 112 + test_rand_below(rand, 64);
        Error *err = NULL;
        uint8_t buf[512] = { 1 };

        data[at] = i % 2 ? data[at] ^ (1U << test_rand_below(rand, 8)) : g_rand_int(rand);
        mem_set_content("disk", data, len);
        user = mem_co_use(qcow2_test_options("disk"), BDRV_O_RDWR, &err);
        if (!user) {
            g_assert_nonnull(err);
            error_free(err);
            refused++;
            continue;
        }
        opened++;
        bdrv_co_pwrite(user->root, 4096, 512, buf, 0);
        mem_co_unuse(user);
    }
    g_assert_cmpuint(opened, >, 0);
    g_assert_cmpuint(refused, >, 0);
}

/* ---- main ---------------------------------------------------------------------------------- */

static bool swallow_report(const char *text)
{
    return true;
}

int main(int argc, char **argv)
{
    static const Qcow2TestCase cases[] = {
        { "/qcow2/bitmap/stored-and-loaded-as-in-a-model", co_model },
        { "/qcow2/bitmap/reading-writes-nothing", co_reading_writes_nothing },
        { "/qcow2/bitmap/killed-writer-leaves-it-inconsistent",
          co_killed_writer_leaves_inconsistent },
        { "/qcow2/bitmap/first-write-keeps-the-list", co_first_write_keeps_the_list },
        { "/qcow2/bitmap/failed-store-leaves-it-in-use", co_failed_store },
        { "/qcow2/bitmap/limits-are-told", co_limits },
        { "/qcow2/bitmap/damage-is-refused-or-harmless", co_damage },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    error_set_report_hook(swallow_report, NULL);
    qcow2_test_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
