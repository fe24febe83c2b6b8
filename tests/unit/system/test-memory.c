/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Address spaces: RAM, ROM, registers, windows, code pages; DMA.
 */
#include "qemu/osdep.h"

#include "qemu/error.h"
#include "qemu/iov.h"
#include "qemu/main-loop.h"
#include "system/dma.h"
#include "system/irq.h"
#include "system/memory.h"
#include "../../lib/testlib.h"

#define RAM_SIZE 0x4000
#define ROM_BASE 0x4000 /* directly behind the RAM */
#define IO_BASE 0x10000

/* Registers that remember what was done to them. */
typedef struct Recorder {
    GString *log;
    uint64_t answer;
    bool had_lock;
} Recorder;

static uint64_t recorder_read(void *opaque, hwaddr offset, unsigned size)
{
    Recorder *r = opaque;

    r->had_lock = bql_locked();
    g_string_append_printf(r->log, "r%u@%" PRIx64 " ", size, offset);
    return r->answer;
}

static void recorder_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
    Recorder *r = opaque;

    r->had_lock = bql_locked();
    g_string_append_printf(r->log, "w%u@%" PRIx64 "=%" PRIx64 " ", size, offset, value);
}

static const MemoryOps any_ops = {.read = recorder_read, .write = recorder_write};
static const MemoryOps word_ops = {
    .read = recorder_read, .write = recorder_write, .min_size = 4, .max_size = 4,
};
static const MemoryOps byte_ops = {
    .read = recorder_read, .write = recorder_write, .max_size = 1,
};

typedef struct Fixture {
    MemoryMap *map;
    Recorder rec;
} Fixture;

static void set_up(Fixture *f, gconstpointer unused)
{
    f->map = memory_map_new("test", false);
    memory_add_ram(f->map, "ram", 0, RAM_SIZE, false, &error_abort);
    memory_add_ram(f->map, "rom", ROM_BASE, 0x1000, true, &error_abort);
    f->rec = (Recorder) {.log = g_string_new(NULL), .answer = UINT64_C(0x8877665544332211)};
}

static void tear_down(Fixture *f, gconstpointer unused)
{
    memory_map_free(f->map);
    g_string_free(f->rec.log, true);
}

static uint64_t load(MemoryMap *map, hwaddr addr, unsigned size)
{
    uint64_t value;

    g_assert_cmpint(mem_load(map, addr, size, &value), ==, MEM_OK);
    return value;
}

static void assert_log(Fixture *f, const char *expected)
{
    g_assert_cmpstr(f->rec.log->str, ==, expected);
    g_string_truncate(f->rec.log, 0);
}

/* ---- RAM and ROM ----------------------------------------------------------------------------- */

static void test_ram_is_little_endian(Fixture *f, gconstpointer unused)
{
    g_assert_cmpint(mem_store(f->map, 0x101, 8, UINT64_C(0x1122334455667788)), ==, MEM_OK);
    g_assert_cmphex(load(f->map, 0x101, 8), ==, UINT64_C(0x1122334455667788));
    g_assert_cmphex(load(f->map, 0x101, 1), ==, 0x88);
    g_assert_cmphex(load(f->map, 0x102, 2), ==, 0x6677);
    g_assert_cmphex(load(f->map, 0x105, 4), ==, 0x11223344);
}

static void test_rom_ignores_stores(Fixture *f, gconstpointer unused)
{
    mem_write_rom(f->map, ROM_BASE, "abcd", 4);
    g_assert_cmpint(mem_store(f->map, ROM_BASE, 4, 0), ==, MEM_OK);
    g_assert_cmpint(mem_write(f->map, ROM_BASE, "zz", 2), ==, MEM_OK);
    g_assert_cmphex(load(f->map, ROM_BASE, 4), ==, 0x64636261);
}

static void test_access_across_blocks_is_split(Fixture *f, gconstpointer unused)
{
    mem_write_rom(f->map, ROM_BASE, "abcd", 4);
    g_assert_cmpint(mem_store(f->map, ROM_BASE - 2, 4, 0xaabbccdd), ==, MEM_OK);
    g_assert_cmphex(load(f->map, ROM_BASE - 2, 4), ==, 0x6261ccdd);
}

static void test_nothing_there(Fixture *f, gconstpointer unused)
{
    MemoryMap *quiet = memory_map_new("quiet", true);
    uint64_t value = 0;

    g_assert_cmpint(mem_load(f->map, 0x90000, 4, &value), ==, MEM_NO_DEVICE);
    g_assert_cmphex(value, ==, UINT32_MAX);
    g_assert_cmpint(mem_store(f->map, 0x90000, 4, 0), ==, MEM_NO_DEVICE);
    g_assert_cmpint(mem_load(f->map, UINT64_MAX - 3, 8, &value), ==, MEM_NO_DEVICE);
    g_assert_cmphex(load(quiet, 5, 2), ==, 0xffff);
    g_assert_cmpint(mem_store(quiet, 5, 2, 0), ==, MEM_OK);
    memory_map_free(quiet);
}

/* ---- registers ------------------------------------------------------------------------------- */

static void test_io_runs_locked(Fixture *f, gconstpointer unused)
{
    memory_add_io(f->map, "io", IO_BASE, 0x10, &any_ops, &f->rec);
    g_assert_cmphex(load(f->map, IO_BASE + 4, 4), ==, 0x44332211);
    g_assert_true(f->rec.had_lock);
    g_assert_false(bql_locked());
    bql_lock();
    mem_store(f->map, IO_BASE, 8, 7);
    g_assert_true(bql_locked());
    bql_unlock();
    assert_log(f, "r4@4 w8@0=7 ");
}

static void test_io_large_is_split(Fixture *f, gconstpointer unused)
{
    memory_add_io(f->map, "io", IO_BASE, 0x10, &byte_ops, &f->rec);
    mem_store(f->map, IO_BASE + 1, 4, 0x44332211);
    assert_log(f, "w1@1=11 w1@2=22 w1@3=33 w1@4=44 ");
}

static void test_io_small_read_is_taken_from_word(Fixture *f, gconstpointer unused)
{
    f->rec.answer = 0x44332211;
    memory_add_io(f->map, "io", IO_BASE, 0x10, &word_ops, &f->rec);
    g_assert_cmphex(load(f->map, IO_BASE + 6, 1), ==, 0x33);
    mem_store(f->map, IO_BASE + 6, 2, 0xffff);
    assert_log(f, "r4@4 ");
}

static void test_io_last_enabled_wins(Fixture *f, gconstpointer unused)
{
    Recorder other = {.log = g_string_new(NULL), .answer = 5};
    MemoryRegion *top;

    memory_add_io(f->map, "below", IO_BASE, 0x100, &any_ops, &f->rec);
    top = memory_add_io(f->map, "above", IO_BASE + 0x10, 0x10, &any_ops, &other);
    g_assert_cmphex(load(f->map, IO_BASE + 0x10, 1), ==, 5);
    memory_region_set_enabled(top, false);
    g_assert_cmphex(load(f->map, IO_BASE + 0x10, 1), ==, 0x11);
    memory_region_move(top, IO_BASE + 0x20);
    memory_region_set_enabled(top, true);
    g_assert_cmphex(load(f->map, IO_BASE + 0x20, 1), ==, 5);
    g_assert_cmphex(load(f->map, IO_BASE + 0x10, 1), ==, 0x11);
    memory_region_del(top);
    g_assert_cmphex(load(f->map, IO_BASE + 0x20, 1), ==, 0x11);
    g_string_free(other.log, true);
}

static void test_io_access_reaching_beyond_region(Fixture *f, gconstpointer unused)
{
    uint64_t value;

    memory_add_io(f->map, "io", IO_BASE, 2, &any_ops, &f->rec);
    g_assert_cmpint(mem_load(f->map, IO_BASE, 4, &value), ==, MEM_NO_DEVICE);
    g_assert_cmphex(value, ==, 0xffff2211);
    assert_log(f, "r2@0 ");
}

static void test_window_shows_other_map(Fixture *f, gconstpointer unused)
{
    MemoryMap *ports = memory_map_new("ports", true);

    memory_add_io(ports, "io", 0x3f8, 8, &any_ops, &f->rec);
    memory_add_window(f->map, "ports", 0x100000, 0x10000, ports, 0);
    mem_store(f->map, 0x1003f8 + 3, 1, 0x55);
    assert_log(f, "w1@3=55 ");
    g_assert_cmphex(load(f->map, 0x100000, 4), ==, UINT32_MAX);
    memory_map_free(ports);
}

static void test_window_onto_itself_ends(Fixture *f, gconstpointer unused)
{
    uint64_t value;

    memory_add_window(f->map, "loop", 0x100000, 0x1000, f->map, 0x100000);
    mem_load(f->map, 0x100000, 4, &value);
    mem_store(f->map, 0x100000, 4, 1);
}

static void test_bulk_spans_ram_and_registers(Fixture *f, gconstpointer unused)
{
    MemoryMap *map = memory_map_new("bulk", false);
    uint8_t buf[24];

    memory_add_ram(map, "ram", 0, 0x1000, false, &error_abort);
    memory_add_io(map, "io", 0x1000, 0x10, &any_ops, &f->rec);
    memset(buf, 0xab, sizeof(buf));
    g_assert_cmpint(mem_write(map, 0x1000 - 8, buf, sizeof(buf)), ==, MEM_OK);
    assert_log(f, "w8@0=abababababababab w8@8=abababababababab ");
    g_assert_cmpint(mem_read(map, 0x1000 - 8, buf, sizeof(buf)), ==, MEM_OK);
    g_assert_cmphex(buf[7], ==, 0xab);
    g_assert_cmphex(buf[8], ==, 0x11);
    g_assert_cmphex(buf[23], ==, 0x88);
    memory_map_free(map);
}

/* ---- code pages ------------------------------------------------------------------------------ */

static void count_code(void *opaque, hwaddr addr, uint64_t len)
{
    (*(int *)opaque)++;
}

static void test_code_listener_hears_each_mark_once(Fixture *f, gconstpointer unused)
{
    QEMUIOVector qiov;
    int n = 0;

    mem_add_code_listener(f->map, count_code, &n);
    mem_store(f->map, 0x1000, 8, 1);
    g_assert_cmpint(n, ==, 0);
    mem_code_mark(f->map, 0x1ff0);
    mem_store(f->map, 0x2000, 8, 1);
    g_assert_cmpint(n, ==, 0);
    mem_store(f->map, 0x1000, 8, 1);
    mem_store(f->map, 0x1000, 8, 1);
    g_assert_cmpint(n, ==, 1);
    mem_code_mark(f->map, 0x1000);
    mem_store(f->map, 0x0ffc, 8, 1);
    g_assert_cmpint(n, ==, 2);
    mem_code_mark(f->map, 0x3000);
    dma_write(f->map, 0x2f00, "x", 1);
    g_assert_cmpint(n, ==, 2);
    dma_set(f->map, 0x2000, 0, 0x1800);
    g_assert_cmpint(n, ==, 3);
    mem_code_mark(f->map, 0x3000);
    qemu_iovec_init(&qiov, 1);
    dma_map_iov(f->map, 0x2800, 0x1000, DMA_FROM_DEVICE, &qiov);
    dma_written(f->map, &qiov, 0x700);
    g_assert_cmpint(n, ==, 3);
    dma_written(f->map, &qiov, 0x1000);
    g_assert_cmpint(n, ==, 4);
    qemu_iovec_destroy(&qiov);
    mem_code_mark(f->map, 0x900000);
}

/* ---- DMA ------------------------------------------------------------------------------------- */

static void test_dma_refuses_registers(Fixture *f, gconstpointer unused)
{
    uint8_t buf[16] = {0};
    uint16_t word;

    memory_add_io(f->map, "io", IO_BASE, 0x1000, &any_ops, &f->rec);
    g_assert_cmpint(dma_read(f->map, IO_BASE, buf, 4), ==, MEM_NO_DEVICE);
    g_assert_cmpint(dma_write(f->map, IO_BASE, buf, 4), ==, MEM_NO_DEVICE);
    g_assert_cmpint(dma_load_le16(f->map, IO_BASE, &word), ==, MEM_NO_DEVICE);
    assert_log(f, "");
}

static void test_dma_write_is_all_or_none(Fixture *f, gconstpointer unused)
{
    uint8_t buf[16];

    memset(buf, 0xff, sizeof(buf));
    g_assert_cmpint(dma_write(f->map, ROM_BASE - 8, buf, 16), ==, MEM_NO_DEVICE);
    g_assert_cmphex(load(f->map, ROM_BASE - 8, 8), ==, 0);
    g_assert_cmpint(dma_read(f->map, ROM_BASE - 8, buf, 16), ==, MEM_OK);
    g_assert_cmphex(buf[0], ==, 0);
    g_assert_cmpint(dma_write(f->map, UINT64_MAX - 3, buf, 16), ==, MEM_NO_DEVICE);
}

static void test_dma_map_leaves_iov_on_failure(Fixture *f, gconstpointer unused)
{
    QEMUIOVector qiov;

    qemu_iovec_init(&qiov, 1);
    g_assert_cmpint(dma_map_iov(f->map, 0, RAM_SIZE + 0x800, DMA_TO_DEVICE, &qiov), ==, MEM_OK);
    g_assert_cmpint(qiov.niov, ==, 2);
    g_assert_cmpint(dma_map_iov(f->map, 0, RAM_SIZE + 1, DMA_FROM_DEVICE, &qiov), ==,
                    MEM_NO_DEVICE);
    g_assert_cmpint(dma_map_iov(f->map, 0x4800, 0x1000, DMA_TO_DEVICE, &qiov), ==, MEM_NO_DEVICE);
    g_assert_cmpint(qiov.niov, ==, 2);
    qemu_iovec_destroy(&qiov);
}

static void test_dma_words_must_be_aligned(Fixture *f, gconstpointer unused)
{
    uint16_t v16;
    uint32_t v32;
    uint64_t v64;

    g_assert_cmpint(dma_store_le32(f->map, 0x10, 0x12345678), ==, MEM_OK);
    g_assert_cmpint(dma_load_le16(f->map, 0x12, &v16), ==, MEM_OK);
    g_assert_cmphex(v16, ==, 0x1234);
    g_assert_cmpint(dma_load_le32(f->map, 0x12, &v32), ==, MEM_NO_DEVICE);
    g_assert_cmpint(dma_load_le64(f->map, 0x10, &v64), ==, MEM_OK);
    g_assert_cmpint(dma_store_le16(f->map, ROM_BASE, 1), ==, MEM_NO_DEVICE);
}

/* ---- interrupt lines ------------------------------------------------------------------------- */

static void record_level(void *opaque, int n, bool level)
{
    g_string_append_printf(opaque, "%d%c ", n, level ? '+' : '-');
}

static void test_irq_lines(void)
{
    g_autoptr(GString) log = g_string_new(NULL);
    g_autoptr(GString) seen = g_string_new(NULL);
    IrqLine *a = irq_new(record_level, log, 1);
    IrqLine *b = irq_new(record_level, log, 2);
    IrqLine *not_b = irq_invert(b);
    IrqLine *both = irq_split(a, not_b);

    irq_raise(NULL);
    irq_raise(both);
    irq_lower(both);
    g_assert_cmpstr(log->str, ==, "1+ 2- 1- 2+ ");
    g_assert_false(irq_intercept(NULL, record_level, seen, 0, true));
    g_assert_true(irq_intercept(a, record_level, seen, 7, false));
    irq_pulse(a);
    g_assert_cmpstr(seen->str, ==, "7+ 7- ");
    g_assert_cmpstr(log->str, ==, "1+ 2- 1- 2+ ");
    irq_free(both);
    irq_free(not_b);
    irq_free(b);
    irq_free(a);
}

#define ADD(path, fn) g_test_add("/memory/" path, Fixture, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    ADD("ram/is-little-endian", test_ram_is_little_endian);
    ADD("rom/ignores-stores", test_rom_ignores_stores);
    ADD("ram/access-across-blocks-is-split", test_access_across_blocks_is_split);
    ADD("load/nothing-there", test_nothing_there);
    ADD("io/runs-locked", test_io_runs_locked);
    ADD("io/large-is-split", test_io_large_is_split);
    ADD("io/small-read-is-taken-from-word", test_io_small_read_is_taken_from_word);
    ADD("io/last-enabled-wins", test_io_last_enabled_wins);
    ADD("io/access-reaching-beyond-region", test_io_access_reaching_beyond_region);
    ADD("window/shows-other-map", test_window_shows_other_map);
    ADD("window/onto-itself-ends", test_window_onto_itself_ends);
    ADD("bulk/spans-ram-and-registers", test_bulk_spans_ram_and_registers);
    ADD("code/listener-hears-each-mark-once", test_code_listener_hears_each_mark_once);
    ADD("dma/refuses-registers", test_dma_refuses_registers);
    ADD("dma/write-is-all-or-none", test_dma_write_is_all_or_none);
    ADD("dma/map-leaves-iov-on-failure", test_dma_map_leaves_iov_on_failure);
    ADD("dma/words-must-be-aligned", test_dma_words_must_be_aligned);
    g_test_add_func("/irq/lines/pass-levels-on", test_irq_lines);
    return g_test_run();
}
