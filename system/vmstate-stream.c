/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stream: a magic number and a version, then records, all little-endian.
 *
 *   record   kind (4), length of the payload (4), CRC-32C (4), payload; the sum covers kind,
 *            length, the number of records before it (8) and the payload
 *   facts    what must be the same (machine, CPU, RAM), the virtual clock, what the machine did
 *   ram      block (4), first page (8), pages (8), pages with data (4); if there are any, a bit for
 *            each page and then these pages.  In order, without a gap: RAM is complete
 *   part     see vmstate.c
 *   end      nothing
 *
 * The reader goes through all of it twice: once to see that it is good, and then for RAM.
 */
#include "qemu/osdep.h"

#include "block/coroutine.h"
#include "memory-int.h"
#include "qemu/crc32c.h"
#include "qemu/iszero.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "vmstate-int.h"

#define MAGIC "e2kstate"
#define MAGIC_SIZE 8
#define VERSION 1
#define PROLOGUE_SIZE (MAGIC_SIZE + 4)
#define RECORD_HEADER 12
#define PIECE_PAGES 256 /* with data in one record: 1 MiB */
#define MAX_PAYLOAD (2 * MiB)
/* So much may be looked at before others get their turn. */
#define PAGES_AT_A_TIME 4096

enum { RECORD_FACTS = 1, RECORD_RAM = 2, RECORD_PART = 3, RECORD_END = 4 };

static uint32_t record_sum(uint32_t kind, uint32_t len, uint64_t number, const uint8_t *payload)
{
    uint32_t head[4] = {GUINT32_TO_LE(kind), GUINT32_TO_LE(len), GUINT32_TO_LE((uint32_t)number),
                        GUINT32_TO_LE((uint32_t)(number >> 32))};

    return crc32c(~crc32c(UINT32_MAX, (const uint8_t *)head, sizeof(head)), payload, len);
}

/* A chance for other coroutines and events. */
static void coroutine_fn co_breathe(void)
{
    aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
    qemu_coroutine_yield();
}

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct Writer {
    VmStateWrite *write;
    void *opaque;
    uint64_t n_records;
    GByteArray *out; /* the record being made, behind room for its header */
} Writer;

static void begin_record(Writer *w)
{
    g_byte_array_set_size(w->out, RECORD_HEADER);
}

static bool coroutine_fn end_record(Writer *w, uint32_t kind, Error **errp)
{
    uint32_t len = w->out->len - RECORD_HEADER;
    uint32_t sum = record_sum(kind, len, w->n_records++, w->out->data + RECORD_HEADER);
    uint32_t head[3] = {GUINT32_TO_LE(kind), GUINT32_TO_LE(len), GUINT32_TO_LE(sum)};

    memcpy(w->out->data, head, sizeof(head));
    return w->write(w->opaque, w->out->data, w->out->len, errp);
}

static bool coroutine_fn put_facts(Writer *w, const Machine *machine, RunState after, Error **errp)
{
    const MemoryMap *map = machine->memory;

    begin_record(w);
    vm_put_str(w->out, machine->type->name);
    vm_put_str(w->out, machine->cpu ? machine->cpu_model : "");
    vm_put_uint(w->out, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL), 8);
    vm_put_str(w->out, RunState_str(after));
    vm_put_uint(w->out, map->n_ram, 4);
    for (unsigned i = 0; i < map->n_ram; i++) {
        vm_put_str(w->out, map->ram[i].name);
        vm_put_uint(w->out, map->ram[i].base, 8);
        vm_put_uint(w->out, map->ram[i].size, 8);
    }
    return end_record(w, RECORD_FACTS, errp);
}

static bool page_is_zero(const RamBlock *block, uint64_t page)
{
    return buffer_is_zero(block->host + (page << MEM_PAGE_BITS), MEM_PAGE_SIZE);
}

static void begin_ram(Writer *w, unsigned block, uint64_t first, uint64_t n, uint32_t n_data)
{
    begin_record(w);
    vm_put_uint(w->out, block, 4);
    vm_put_uint(w->out, first, 8);
    vm_put_uint(w->out, n, 8);
    vm_put_uint(w->out, n_data, 4);
}

/* @n pages, of which the @n_data in the bitmap are not zero. */
static bool coroutine_fn put_pages(Writer *w, const MemoryMap *map, unsigned index, uint64_t first,
                                   unsigned n, const uint8_t *bitmap, uint32_t n_data,
                                   Error **errp)
{
    const RamBlock *block = &map->ram[index];

    begin_ram(w, index, first, n, n_data);
    g_byte_array_append(w->out, bitmap, DIV_ROUND_UP(n, 8));
    for (unsigned i = 0; i < n; i++) {
        if (bitmap[i / 8] >> (i % 8) & 1) {
            g_byte_array_append(w->out, block->host + ((first + i) << MEM_PAGE_BITS),
                                MEM_PAGE_SIZE);
        }
    }
    return end_record(w, RECORD_RAM, errp);
}

static bool coroutine_fn put_zeroes(Writer *w, unsigned index, uint64_t first, uint64_t n,
                                    Error **errp)
{
    if (!n) {
        return true;
    }
    begin_ram(w, index, first, n, 0);
    return end_record(w, RECORD_RAM, errp);
}

static bool coroutine_fn put_block(Writer *w, const MemoryMap *map, unsigned index, Error **errp)
{
    const RamBlock *block = &map->ram[index];
    uint64_t end = block->size >> MEM_PAGE_BITS, zeroes = 0;

    for (uint64_t at = 0; at < end; at += PIECE_PAGES) {
        unsigned n = MIN(PIECE_PAGES, end - at);
        uint8_t bitmap[PIECE_PAGES / 8] = {0};
        uint32_t n_data = 0;

        for (unsigned i = 0; i < n; i++) {
            if (!page_is_zero(block, at + i)) {
                bitmap[i / 8] |= 1 << (i % 8);
                n_data++;
            }
        }
        if (n_data && (!put_zeroes(w, index, at - zeroes, zeroes, errp) ||
                       !put_pages(w, map, index, at, n, bitmap, n_data, errp))) {
            return false;
        }
        zeroes = n_data ? 0 : zeroes + n;
        if (at % PAGES_AT_A_TIME == 0) {
            co_breathe();
        }
    }
    return put_zeroes(w, index, end - zeroes, zeroes, errp);
}

/* All at the same instant: nothing is written between. */
static GPtrArray *save_parts(const VmStateParts *parts)
{
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);

    for (guint i = 0; i < parts->list->len; i++) {
        GByteArray *bytes = g_byte_array_new();

        g_ptr_array_add(list, bytes);
        vm_part_put(parts->list->pdata[i], bytes);
    }
    return list;
}

static bool coroutine_fn put_parts(Writer *w, const VmStateParts *parts, Error **errp)
{
    g_autoptr(GPtrArray) list = save_parts(parts);

    for (guint i = 0; i < list->len; i++) {
        const GByteArray *bytes = list->pdata[i];

        begin_record(w);
        g_byte_array_append(w->out, bytes->data, bytes->len);
        if (bytes->len && !end_record(w, RECORD_PART, errp)) {
            return false;
        }
    }
    return true;
}

static bool coroutine_fn put_all(Writer *w, Machine *machine, RunState after,
                                 const VmStateParts *parts, Error **errp)
{
    g_autoptr(GByteArray) prologue = g_byte_array_new();

    g_byte_array_append(prologue, (const uint8_t *)MAGIC, MAGIC_SIZE);
    vm_put_uint(prologue, VERSION, 4);
    if (!w->write(w->opaque, prologue->data, prologue->len, errp) ||
        !put_facts(w, machine, after, errp)) {
        return false;
    }
    for (unsigned i = 0; i < machine->memory->n_ram; i++) {
        if (!put_block(w, machine->memory, i, errp)) {
            return false;
        }
    }
    if (!put_parts(w, parts, errp)) {
        return false;
    }
    begin_record(w);
    return end_record(w, RECORD_END, errp);
}

bool coroutine_fn vmstate_co_save(Machine *machine, RunState after, VmStateWrite *write,
                                  void *opaque, Error **errp)
{
    g_autoptr(VmStateParts) parts = vm_parts_collect(machine, errp);
    g_autoptr(GByteArray) out = g_byte_array_new();
    Writer w = {write, opaque, 0, out};

    return parts && put_all(&w, machine, after, parts, errp);
}

/* ---- reading records ------------------------------------------------------------------------- */

struct VmStateLoad {
    Machine *machine;
    VmStateRead *read;
    void *opaque;
    int64_t size;
    VmStateParts *parts;
    int64_t clock_ns;
    RunState after;
    /* where the reader is */
    int64_t pos;
    uint64_t n_records;
    unsigned ram_block; /* what RAM comes next */
    uint64_t ram_page;
    bool has_facts;
    bool must_store; /* the second time */
    uint8_t *buf;    /* MAX_PAYLOAD bytes */
};

typedef struct Record {
    uint32_t kind;
    VmCursor payload;
} Record;

static bool coroutine_fn read_bytes(VmStateLoad *load, void *buf, size_t len, Error **errp)
{
    if ((int64_t)len > load->size - load->pos) {
        error_setg(errp, "The machine's state is cut off");
        return false;
    }
    if (!load->read(load->opaque, load->pos, buf, len, errp)) {
        return false;
    }
    load->pos += len;
    return true;
}

static bool coroutine_fn read_prologue(VmStateLoad *load, Error **errp)
{
    uint8_t bytes[PROLOGUE_SIZE];
    VmCursor cursor = {bytes + MAGIC_SIZE, sizeof(bytes) - MAGIC_SIZE, false};

    load->pos = 0;
    load->n_records = load->ram_block = load->ram_page = 0;
    if (!read_bytes(load, bytes, sizeof(bytes), errp)) {
        return false;
    }
    if (memcmp(bytes, MAGIC, MAGIC_SIZE)) {
        error_setg(errp, "Not a migration stream");
        return false;
    }
    if (vm_get_uint(&cursor, 4) != VERSION) {
        error_setg(errp, "Unsupported migration stream version");
        return false;
    }
    return true;
}

static bool coroutine_fn read_record(VmStateLoad *load, Record *record, Error **errp)
{
    uint8_t bytes[RECORD_HEADER];
    VmCursor head = {bytes, sizeof(bytes), false};
    int64_t at = load->pos;
    uint32_t len, sum;

    if (!read_bytes(load, bytes, sizeof(bytes), errp)) {
        return false;
    }
    record->kind = vm_get_uint(&head, 4);
    len = vm_get_uint(&head, 4);
    sum = vm_get_uint(&head, 4);
    if (len > MAX_PAYLOAD) {
        error_setg(errp, "The machine's state has a record of %u bytes at offset %" PRId64, len,
                   at);
        return false;
    }
    if (!read_bytes(load, load->buf, len, errp)) {
        return false;
    }
    if (record_sum(record->kind, len, load->n_records, load->buf) != sum) {
        error_setg(errp, "The machine's state is damaged at offset %" PRId64, at);
        return false;
    }
    load->n_records++;
    record->payload = (VmCursor) {load->buf, len, false};
    return true;
}

/* ---- facts ----------------------------------------------------------------------------------- */

static bool check_ram_block(VmCursor *in, const RamBlock *block, Error **errp)
{
    g_autofree char *name = vm_get_str(in);
    uint64_t base = vm_get_uint(in, 8), size = vm_get_uint(in, 8);

    if (!name || strcmp(name, block->name) || base != block->base) {
        error_setg(errp, "Unknown ramblock \"%s\", cannot accept migration", name ? name : "");
        return false;
    }
    if (size != block->size) {
        error_setg(errp, "Length mismatch: %s: 0x%" PRIx64 " in != 0x%" PRIx64, name, size,
                   block->size);
        return false;
    }
    return true;
}

static bool check_ram_blocks(VmCursor *in, const MemoryMap *map, Error **errp)
{
    uint32_t n = vm_get_uint(in, 4);

    for (unsigned i = 0; i < map->n_ram && i < n; i++) {
        if (!check_ram_block(in, &map->ram[i], errp)) {
            return false;
        }
    }
    if (n != map->n_ram) {
        error_setg(errp, "The saved machine has %u pieces of memory, this one has %u", n,
                   map->n_ram);
        return false;
    }
    return true;
}

static bool check_names(const Machine *machine, const char *type, const char *cpu, Error **errp)
{
    const char *our_cpu = machine->cpu ? machine->cpu_model : "";

    if (!type || !cpu) {
        error_setg(errp, "The machine's state does not say what machine it is of");
        return false;
    }
    if (strcmp(type, machine->type->name)) {
        error_setg(errp, "Machine type received is '%s' and local is '%s'", type,
                   machine->type->name);
        return false;
    }
    if (strcmp(cpu, our_cpu)) {
        error_setg(errp, "The saved machine has %s%s, this one has %s%s", *cpu ? "CPU " : "no CPU",
                   cpu, *our_cpu ? "CPU " : "no CPU", our_cpu);
        return false;
    }
    return true;
}

static bool parse_facts(VmStateLoad *load, VmCursor *in, Error **errp)
{
    g_autofree char *type = vm_get_str(in);
    g_autofree char *cpu = vm_get_str(in);
    int64_t clock_ns = vm_get_uint(in, 8);
    g_autofree char *after = vm_get_str(in);
    int state = after ? qapi_enum_parse(&RunState_lookup, after, -1, NULL) : -1;

    if (!check_names(load->machine, type, cpu, errp)) {
        return false;
    }
    if (state < 0) {
        error_setg(errp, "Received state %s is not known", after ? after : "");
        return false;
    }
    if (!vm_check_time("virtual clock", MAX(clock_ns, 0), errp)) {
        return false;
    }
    if (clock_ns < 0) {
        error_setg(errp, "The saved virtual clock is negative");
        return false;
    }
    load->clock_ns = clock_ns;
    load->after = state;
    load->has_facts = true;
    return check_ram_blocks(in, load->machine->memory, errp);
}

/* ---- RAM ------------------------------------------------------------------------------------- */

static void store_page(RamBlock *block, uint64_t page, const uint8_t *data)
{
    uint8_t *to = block->host + (page << MEM_PAGE_BITS);

    if (data) {
        memcpy(to, data, MEM_PAGE_SIZE);
    } else if (!buffer_is_zero(to, MEM_PAGE_SIZE)) {
        memset(to, 0, MEM_PAGE_SIZE);
    }
}

static bool bit_is_set(const uint8_t *bitmap, unsigned n)
{
    return bitmap && (bitmap[n / 8] >> (n % 8) & 1);
}

static unsigned count_bits(const uint8_t *bitmap, unsigned n)
{
    unsigned count = 0;

    for (unsigned i = 0; i < n; i++) {
        count += bit_is_set(bitmap, i);
    }
    return count;
}

static bool coroutine_fn parse_ram(VmStateLoad *load, VmCursor *in, Error **errp)
{
    MemoryMap *map = load->machine->memory;
    uint32_t index = vm_get_uint(in, 4);
    uint64_t first = vm_get_uint(in, 8), n = vm_get_uint(in, 8);
    uint32_t n_data = vm_get_uint(in, 4);
    RamBlock *block = index < map->n_ram ? &map->ram[index] : NULL;
    const uint8_t *bitmap = NULL;

    if (!block || index != load->ram_block || first != load->ram_page || !n ||
        n > (block->size >> MEM_PAGE_BITS) - first || (n_data && n > PIECE_PAGES)) {
        error_setg(errp, "The saved memory is not in order");
        return false;
    }
    if (n_data) {
        bitmap = vm_get_bytes(in, DIV_ROUND_UP(n, 8));
    }
    if (in->is_short || in->left != (uint64_t)n_data * MEM_PAGE_SIZE ||
        count_bits(bitmap, n_data ? n : 0) != n_data) {
        error_setg(errp, "A record of memory has a wrong length");
        return false;
    }
    for (uint64_t i = 0; load->must_store && i < n; i++) {
        store_page(block, first + i,
                   bit_is_set(bitmap, i) ? vm_get_bytes(in, MEM_PAGE_SIZE) : NULL);
        if (i % PAGES_AT_A_TIME == PAGES_AT_A_TIME - 1) {
            co_breathe();
        }
    }
    load->ram_page += n;
    if (load->ram_page == block->size >> MEM_PAGE_BITS) {
        load->ram_block++;
        load->ram_page = 0;
    }
    return true;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static bool coroutine_fn parse_record(VmStateLoad *load, Record *record, Error **errp)
{
    VmCursor *in = &record->payload;

    if (load->has_facts == (record->kind == RECORD_FACTS) && !load->must_store) {
        error_setg(errp, "The machine's state does not begin with what machine it is of");
        return false;
    }
    switch (record->kind) {
    case RECORD_FACTS:
        return load->must_store || parse_facts(load, in, errp);
    case RECORD_RAM:
        return parse_ram(load, in, errp);
    case RECORD_PART:
        return load->must_store || vm_parts_stage(load->parts, in, errp);
    case RECORD_END:
        if (load->ram_block == load->machine->memory->n_ram && load->pos == load->size) {
            return true;
        }
        error_setg(errp, "The machine's state is incomplete");
        return false;
    default:
        error_setg(errp, "The machine's state has a record of unknown kind %u", record->kind);
        return false;
    }
}

static bool coroutine_fn read_all(VmStateLoad *load, Error **errp)
{
    Record record;

    if (!read_prologue(load, errp)) {
        return false;
    }
    do {
        if (!read_record(load, &record, errp) || !parse_record(load, &record, errp)) {
            return false;
        }
    } while (record.kind != RECORD_END);
    return true;
}

VmStateLoad *coroutine_fn vmstate_co_check(Machine *machine, int64_t size, VmStateRead *read,
                                           void *opaque, Error **errp)
{
    g_autoptr(VmStateLoad) load = g_new0(VmStateLoad, 1);

    load->machine = machine;
    load->read = read;
    load->opaque = opaque;
    load->size = size;
    load->buf = g_malloc(MAX_PAYLOAD);
    load->parts = vm_parts_collect(machine, errp);
    if (!load->parts || !read_all(load, errp) || !vm_parts_check(load->parts, errp)) {
        return NULL;
    }
    return g_steal_pointer(&load);
}

bool coroutine_fn vmstate_co_load(VmStateLoad *load, Error **errp)
{
    MemoryMap *map = load->machine->memory;
    bool ok;

    load->must_store = true;
    ok = read_all(load, errp);
    for (unsigned i = 0; i < map->n_ram; i++) {
        mem_written(map, &map->ram[i], map->ram[i].base, map->ram[i].size);
    }
    if (ok) {
        qemu_clock_set_ns(QEMU_CLOCK_VIRTUAL, load->clock_ns);
        vm_parts_commit(load->parts);
    }
    return ok;
}

RunState vmstate_load_after(const VmStateLoad *load)
{
    return load->after;
}

void vmstate_load_free(VmStateLoad *load)
{
    if (load) {
        vm_parts_free(load->parts);
        g_free(load->buf);
        g_free(load);
    }
}
