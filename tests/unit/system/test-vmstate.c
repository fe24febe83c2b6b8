/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine's state as a stream: a machine of a device and some RAM is saved, changed and brought
 * back, by good streams and by bad ones.
 */
#include "qemu/osdep.h"

#include "block/coroutine.h"
#include "qemu/error.h"
#include "qemu/crc32c.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "system/device.h"
#include "system/machine.h"
#include "system/vmstate.h"
#include "../../lib/testlib.h"

#define RAM_PAGES 400
#define HEADER 12 /* of a record; 12 bytes are before the first one, too */

typedef struct Organ {
    Device dev;
    uint8_t key;
    uint16_t stops[4];
    uint32_t wind;
    uint64_t pipes;
    bool is_open;
    bool has_swell;
    uint8_t swell;
    uint32_t doubled; /* follows from wind */
    unsigned n_loads;
} Organ;

static void organ_pre_save(void *opaque)
{
    ((Organ *)opaque)->wind = ((Organ *)opaque)->doubled / 2;
}

static bool organ_check(const void *staged, const void *current, Error **errp)
{
    if (((const Organ *)staged)->key > 88) {
        error_setg(errp, "there is no such key");
        return false;
    }
    return true;
}

static void organ_post_load(void *opaque)
{
    Organ *o = opaque;

    o->doubled = o->wind * 2;
    o->n_loads++;
}

static bool swell_is_needed(void *opaque)
{
    return ((Organ *)opaque)->swell != 0;
}

static const VmField organ_fields[] = {
    VM_FIELD(Organ, key), VM_ARRAY(Organ, stops), VM_FIELD(Organ, wind), VM_FIELD(Organ, pipes),
    VM_BOOL(Organ, is_open), {0},
};
static VmStateDescription organ_state = {
    .name = "organ", .version = 1, .size = sizeof(Organ), .fields = organ_fields,
    .pre_save = organ_pre_save, .check = organ_check, .post_load = organ_post_load,
};
static const VmStateDescription swell_state = {
    .name = "swell", .version = 1, .size = sizeof(Organ),
    .fields = (const VmField[]) {VM_FIELD(Organ, swell), {0}},
    .is_needed = swell_is_needed,
};

static void organ_add_state(Device *dev, VmStateParts *parts)
{
    vm_parts_add(parts, &organ_state, 0, dev);
    vm_parts_add(parts, &swell_state, 0, dev);
}

static const DeviceType organ_type = {
    .name = "organ", .instance_size = sizeof(Organ), .add_state = organ_add_state,
};
static const DeviceType mute_type = {
    .name = "mute", .instance_size = sizeof(Device), .has_no_state = true,
};
static const DeviceType secretive_type = {.name = "secretive", .instance_size = sizeof(Device)};
static const MachineType church_type = {.name = "church"};

/* ---- a machine and its stream ---------------------------------------------------------------- */

typedef struct Fixture {
    Machine machine;
    Organ *organ;
    GByteArray *stream;
    Error *err;
    bool ok;
    bool must_fail_again; /* reads fail once the stream was found good */
    unsigned n_reads;
} Fixture;

static uint8_t *page(Fixture *f, unsigned n)
{
    return f->machine.memory->ram[0].host + n * MEM_PAGE_SIZE;
}

static Fixture *fixture_new(void)
{
    Fixture *f = g_new0(Fixture, 1);

    f->machine.type = &church_type;
    f->machine.memory = memory_map_new("memory", false);
    memory_add_ram(f->machine.memory, "low", 0, RAM_PAGES * MEM_PAGE_SIZE, false, &error_abort);
    memory_add_ram(f->machine.memory, "rom", 1 << 30, 2 * MEM_PAGE_SIZE, true, &error_abort);
    f->organ = (Organ *)device_new(&organ_type);
    device_realize(&f->organ->dev, NULL, &error_abort);
    device_realize(device_new(&mute_type), NULL, &error_abort);
    f->stream = g_byte_array_new();
    qemu_clock_enable(QEMU_CLOCK_VIRTUAL, false);
    return f;
}

static void fixture_free(Fixture *f)
{
    device_free_all();
    memory_map_free(f->machine.memory);
    g_byte_array_unref(f->stream);
    error_free(f->err);
    g_free(f);
}

static void play(Fixture *f, uint8_t tune)
{
    Organ *o = f->organ;

    o->key = tune % 88;
    for (int i = 0; i < 4; i++) {
        o->stops[i] = tune * 1000 + i;
    }
    o->doubled = tune * 2;
    o->pipes = UINT64_C(0x123456789abc) * tune;
    o->is_open = tune % 2;
    o->swell = tune % 3;
    memset(page(f, 0), 0, RAM_PAGES * MEM_PAGE_SIZE);
    page(f, 3)[5] = tune;
    memset(page(f, 255), tune, 2 * MEM_PAGE_SIZE);
    page(f, tune + 280)[0] = 1;
    page(f, RAM_PAGES - 1)[MEM_PAGE_SIZE - 1] = tune;
    f->machine.memory->ram[1].host[0] = tune;
}

static GByteArray *look(Fixture *f)
{
    GByteArray *seen = g_byte_array_new();
    const Organ *o = f->organ;

    g_byte_array_append(seen, page(f, 0), RAM_PAGES * MEM_PAGE_SIZE);
    g_byte_array_append(seen, f->machine.memory->ram[1].host, 2 * MEM_PAGE_SIZE);
    g_byte_array_append(seen, &o->key, 1);
    g_byte_array_append(seen, (const uint8_t *)o->stops, sizeof(o->stops));
    g_byte_array_append(seen, (const uint8_t *)&o->pipes, sizeof(o->pipes));
    g_byte_array_append(seen, (const uint8_t *)&o->doubled, sizeof(o->doubled));
    g_byte_array_append(seen, (const uint8_t *)&o->is_open, 1);
    g_byte_array_append(seen, &o->swell, 1);
    return seen;
}

static bool is_same(const GByteArray *a, const GByteArray *b)
{
    return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

static bool coroutine_fn append(void *opaque, const void *buf, size_t len, Error **errp)
{
    g_byte_array_append(((Fixture *)opaque)->stream, buf, len);
    return true;
}

static bool coroutine_fn fetch(void *opaque, int64_t pos, void *buf, size_t len, Error **errp)
{
    Fixture *f = opaque;

    if (f->must_fail_again && ++f->n_reads > 3) {
        error_setg(errp, "The disk is gone");
        return false;
    }
    g_assert_cmpint(pos, >=, 0);
    g_assert_cmpuint(pos + len, <=, f->stream->len);
    memcpy(buf, f->stream->data + pos, len);
    return true;
}

static void coroutine_fn save_entry(void *opaque)
{
    Fixture *f = opaque;

    g_byte_array_set_size(f->stream, 0);
    f->ok = vmstate_co_save(&f->machine, RUN_STATE_RUNNING, append, f, &f->err);
}

static void coroutine_fn load_entry(void *opaque)
{
    Fixture *f = opaque;
    g_autoptr(VmStateLoad) load = vmstate_co_check(&f->machine, f->stream->len, fetch, f, &f->err);

    f->n_reads = 0;
    f->must_fail_again &= load != NULL;
    f->ok = load && vmstate_load_after(load) == RUN_STATE_RUNNING && vmstate_co_load(load, &f->err);
}

static void save(Fixture *f)
{
    co_run(save_entry, f);
    g_assert_true(f->ok);
}

/* Loading fails. */
static void assert_bad(Fixture *f)
{
    co_run(load_entry, f);
    g_assert_false(f->ok);
    g_assert_nonnull(f->err);
    error_free(f->err);
    f->err = NULL;
}

/* Loading fails with @why, where '#' stands for the path of @dev, and nothing is changed. */
static void assert_refused(Fixture *f, const Device *dev, const char *why)
{
    g_autoptr(GByteArray) before = look(f), after = NULL;
    g_auto(GStrv) parts = g_strsplit(why, "#", 2);
    g_autofree char *text = g_strjoinv(dev ? dev->path : "#", parts);
    unsigned n_loads = f->organ->n_loads;

    co_run(load_entry, f);
    after = look(f);
    g_assert_false(f->ok);
    g_assert_cmpstr(error_get_pretty(f->err), ==, text);
    error_free(f->err);
    f->err = NULL;
    g_assert_true(is_same(before, after));
    g_assert_cmpuint(f->organ->n_loads, ==, n_loads);
}

/* ---- cases ----------------------------------------------------------------------------------- */

static void test_comes_back(void)
{
    Fixture *f = fixture_new();

    for (unsigned tune = 1; tune < 8; tune++) {
        g_autoptr(GByteArray) then = NULL, now = NULL;
        int64_t clock = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);

        play(f, tune);
        then = look(f);
        save(f);
        g_assert_cmpuint(f->stream->len, <, 16 * MEM_PAGE_SIZE);
        play(f, 77);
        qemu_clock_set_ns(QEMU_CLOCK_VIRTUAL, clock + 12345);
        co_run(load_entry, f);
        g_assert_true(f->ok);
        now = look(f);
        g_assert_true(is_same(then, now));
        g_assert_cmpint(qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL), ==, clock);
    }
    g_assert_cmpuint(f->organ->n_loads, ==, 7);
    fixture_free(f);
}

static void test_each_flipped_bit_is_seen(void)
{
    Fixture *f = fixture_new();
    g_autoptr(GByteArray) before = NULL, after = NULL;

    play(f, 5);
    save(f);
    play(f, 6);
    before = look(f);
    for (guint i = 0; i < f->stream->len; i += i < 400 || i + 400 > f->stream->len ? 1 : 499) {
        f->stream->data[i] ^= 1 << (i % 8);
        assert_bad(f);
        f->stream->data[i] ^= 1 << (i % 8);
    }
    after = look(f);
    g_assert_true(is_same(before, after));
    co_run(load_entry, f);
    g_assert_true(f->ok);
    fixture_free(f);
}

static void test_each_length_is_seen(void)
{
    Fixture *f = fixture_new();
    guint len;

    play(f, 5);
    save(f);
    len = f->stream->len;
    for (guint i = 0; i < len; i += i < 400 || i + 400 > len ? 1 : 499) {
        f->stream->len = i;
        assert_bad(f);
    }
    f->stream->len = len;
    g_byte_array_append(f->stream, (const uint8_t *)"x", 1);
    assert_refused(f, NULL, "The machine's state is incomplete");
    fixture_free(f);
}

/* ---- streams with sums that are right -------------------------------------------------------- */

typedef struct Spot {
    guint at; /* of the record */
    uint32_t kind, len;
    uint64_t number;
} Spot;

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return GUINT32_FROM_LE(value);
}

static GArray *find_records(Fixture *f)
{
    GArray *spots = g_array_new(false, false, sizeof(Spot));

    for (guint at = HEADER; at + HEADER <= f->stream->len;) {
        const uint8_t *head = f->stream->data + at;
        Spot spot = {at, get32(head), get32(head + 4), spots->len};

        g_array_append_val(spots, spot);
        at += HEADER + spot.len;
    }
    return spots;
}

static void set_sum(Fixture *f, const Spot *spot)
{
    uint8_t *head = f->stream->data + spot->at;
    uint32_t words[4] = {GUINT32_TO_LE(spot->kind), GUINT32_TO_LE(spot->len),
                         GUINT32_TO_LE((uint32_t)spot->number), 0};
    uint32_t sum = crc32c(~crc32c(UINT32_MAX, (const uint8_t *)words, sizeof(words)),
                          head + HEADER, spot->len);

    sum = GUINT32_TO_LE(sum);
    memcpy(head + 8, &sum, sizeof(sum));
}

/* A machine is refused or becomes what the stream says; nothing else happens. */
static void test_no_mutant_does_harm(void)
{
    Fixture *f = fixture_new();
    g_autoptr(GRand) rand = test_rand_new();
    unsigned n_ok = 0;

    play(f, 5);
    save(f);
    g_autoptr(GArray) spots = find_records(f);
    for (int round = 0; round < 1500; round++) {
        Spot *spot = &g_array_index(spots, Spot, g_rand_int_range(rand, 0, spots->len));
        guint reach = MIN(spot->len, 80), at;
        uint8_t old;

        if (!reach) {
            continue;
        }
        at = spot->at + HEADER + g_rand_int_range(rand, 0, reach);
        old = f->stream->data[at];
        f->stream->data[at] = g_rand_int(rand);
        set_sum(f, spot);
        co_run(load_entry, f);
        n_ok += f->ok;
        g_assert_true(f->ok != !!f->err);
        error_free(f->err);
        f->err = NULL;
        g_assert_cmpuint(f->organ->key, <=, 88);
        f->stream->data[at] = old;
        set_sum(f, spot);
    }
    g_assert_cmpuint(n_ok, >, 0);
    fixture_free(f);
}

static void test_what_is_wrong_is_said(void)
{
    Fixture *f = fixture_new();

    play(f, 5);
    f->organ->key = 89;
    save(f);
    assert_refused(f, &f->organ->dev, "State of '#' (organ 0): there is no such key");
    play(f, 5);
    organ_state.version = 2;
    save(f);
    organ_state.version = 1;
    assert_refused(f, &f->organ->dev, "State of '#' (organ 0): version 2 is not known");
    save(f);
    memcpy(f->stream->data, "QEVM", 4);
    assert_refused(f, NULL, "Not a migration stream");
    save(f);
    f->machine.memory->ram[0].size -= MEM_PAGE_SIZE;
    co_run(load_entry, f);
    g_assert_cmpstr(error_get_pretty(f->err), ==, "Length mismatch: low: 0x190000 in != 0x18f000");
    f->machine.memory->ram[0].size += MEM_PAGE_SIZE;
    fixture_free(f);
}

/* A field that came later is zero in an older stream. */
static void test_older_streams_are_read(void)
{
    static const VmField newer[] = {
        VM_FIELD(Organ, key), VM_ARRAY(Organ, stops), VM_FIELD(Organ, wind),
        VM_FIELD(Organ, pipes), VM_BOOL(Organ, is_open),
        {.name = "has_swell", .offset = offsetof(Organ, has_swell), .size = 1, .count = 1,
         .is_bool = true, .since = 2},
        {0},
    };
    Fixture *f = fixture_new();

    play(f, 5);
    save(f);
    organ_state.version = 2;
    organ_state.fields = newer;
    f->organ->has_swell = true;
    co_run(load_entry, f);
    g_assert_true(f->ok);
    g_assert_false(f->organ->has_swell);
    organ_state.min_version = 2;
    assert_refused(f, &f->organ->dev, "State of '#' (organ 0): version 1 is not known");
    organ_state.version = 1;
    organ_state.min_version = 0;
    organ_state.fields = organ_fields;
    fixture_free(f);
}

static void test_devices_must_be_the_same(void)
{
    Fixture *f = fixture_new();
    Device *more = device_new(&organ_type);

    play(f, 5);
    save(f);
    device_realize(more, NULL, &error_abort);
    assert_refused(f, more, "State of '#' (organ 0): it is missing");
    save(f);
    device_unrealize(more);
    assert_refused(f, more, "Unknown savevm section or instance '#/organ' 0");
    device_free(more);
    more = device_new(&secretive_type);
    device_realize(more, NULL, &error_abort);
    assert_refused(f, NULL, "State blocked by non-migratable device 'secretive'");
    fixture_free(f);
}

static void test_a_disk_that_goes_away_is_told(void)
{
    Fixture *f = fixture_new();

    play(f, 5);
    save(f);
    f->must_fail_again = true;
    co_run(load_entry, f);
    g_assert_false(f->ok);
    g_assert_cmpstr(error_get_pretty(f->err), ==, "The disk is gone");
    g_assert_cmpuint(f->organ->n_loads, ==, 0);
    fixture_free(f);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    bql_lock();
    g_test_add_func("/vmstate/stream/comes-back", test_comes_back);
    g_test_add_func("/vmstate/stream/each-flipped-bit-is-seen", test_each_flipped_bit_is_seen);
    g_test_add_func("/vmstate/stream/each-length-is-seen", test_each_length_is_seen);
    g_test_add_func("/vmstate/stream/no-mutant-does-harm", test_no_mutant_does_harm);
    g_test_add_func("/vmstate/stream/what-is-wrong-is-said", test_what_is_wrong_is_said);
    g_test_add_func("/vmstate/stream/older-streams-are-read", test_older_streams_are_read);
    g_test_add_func("/vmstate/stream/devices-must-be-the-same", test_devices_must_be_the_same);
    g_test_add_func("/vmstate/stream/a-disk-that-goes-away-is-told",
                    test_a_disk_that_goes_away_is_told);
    return g_test_run();
}
