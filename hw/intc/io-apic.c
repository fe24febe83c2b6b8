/* SPDX-License-Identifier: GPL-2.0-or-later */
/* I/O APIC: 24 pins to vectors. */
#include "qemu/osdep.h"

#include "hw/intc/apic.h"
#include "qemu/error.h"
#include "system/vmstate.h"

#define IO_APIC_VERSION 0x20

enum { REG_SELECT = 0x00, REG_DATA = 0x10, REG_EOI = 0x40 };

enum { /* redirection entry */
    REDIR_LOGICAL = 1 << 11,
    REDIR_PENDING = 1 << 12,
    REDIR_ACTIVE_LOW = 1 << 13,
    REDIR_REMOTE_IRR = 1 << 14,
    REDIR_LEVEL = 1 << 15,
    REDIR_MASKED = 1 << 16,
};
#define REDIR_READ_ONLY ((uint64_t)(REDIR_PENDING | REDIR_REMOTE_IRR))
#define REDIR_DEFINED UINT64_C(0xff0000000001ffff)

struct IoApic {
    Device dev;
    LocalApic *local;
    MemoryRegion *region;
    IrqLine *lines[IO_APIC_N_PINS];

    uint8_t id;
    uint8_t select;
    uint32_t levels; /* a bit per pin */
    uint32_t irr;    /* edges not yet delivered, because masked */
    uint64_t redir[IO_APIC_N_PINS];
};

static void pin_deliver(IoApic *s, int n)
{
    uint64_t entry = s->redir[n];
    ApicMessage message = {
        .vector = entry & 0xff,
        .delivery_mode = (entry >> 8) & 7,
        .dest = entry >> 56,
        .dest_logical = entry & REDIR_LOGICAL,
        .level_triggered = entry & REDIR_LEVEL,
    };

    if (entry & REDIR_LEVEL) {
        s->redir[n] |= REDIR_REMOTE_IRR;
    }
    local_apic_deliver(s->local, &message);
}

/* Deliver what pin @n asks for, if it may. */
static void pin_service(IoApic *s, int n)
{
    uint64_t entry = s->redir[n];
    uint32_t bit = UINT32_C(1) << n;

    if (entry & REDIR_MASKED) {
        return;
    }
    if (entry & REDIR_LEVEL) {
        if ((s->levels & bit) && !(entry & REDIR_REMOTE_IRR)) {
            pin_deliver(s, n);
        }
    } else if (s->irr & bit) {
        s->irr &= ~bit;
        pin_deliver(s, n);
    }
}

/* Devices say asserted or not; polarity is a matter of wiring, which we know. */
static void pin_set(void *opaque, int n, bool level)
{
    IoApic *s = opaque;
    uint32_t bit = UINT32_C(1) << n;
    bool was = s->levels & bit;

    s->levels = level ? s->levels | bit : s->levels & ~bit;
    if (level && !was && !(s->redir[n] & REDIR_LEVEL)) {
        s->irr |= bit;
    }
    pin_service(s, n);
}

void io_apic_eoi(IoApic *s, uint8_t vector)
{
    for (int n = 0; n < IO_APIC_N_PINS; n++) {
        if ((s->redir[n] & REDIR_LEVEL) && (s->redir[n] & 0xff) == vector) {
            s->redir[n] &= ~(uint64_t)REDIR_REMOTE_IRR;
            pin_service(s, n);
        }
    }
}

static uint32_t read_selected(const IoApic *s)
{
    unsigned reg = s->select - 0x10;

    switch (s->select) {
    case 0x00:
    case 0x02:
        return (uint32_t)s->id << 24;
    case 0x01:
        return IO_APIC_VERSION | (IO_APIC_N_PINS - 1) << 16;
    default:
        if (s->select < 0x10 || reg / 2 >= IO_APIC_N_PINS) {
            return 0;
        }
        return s->redir[reg / 2] >> (reg & 1 ? 32 : 0);
    }
}

static void write_redir(IoApic *s, int n, bool high, uint32_t value)
{
    uint64_t old = s->redir[n];
    uint64_t entry = high ? (old & UINT32_MAX) | (uint64_t)value << 32
                          : (old & ~(uint64_t)UINT32_MAX) | value;

    entry = (entry & REDIR_DEFINED & ~REDIR_READ_ONLY) | (old & REDIR_READ_ONLY);
    if (!(entry & REDIR_LEVEL)) {
        entry &= ~(uint64_t)REDIR_REMOTE_IRR;
    }
    s->redir[n] = entry;
    pin_service(s, n);
}

static uint64_t io_apic_read(void *opaque, hwaddr offset, unsigned size)
{
    IoApic *s = opaque;

    switch (offset) {
    case REG_SELECT:
        return s->select;
    case REG_DATA:
        return read_selected(s);
    default:
        return 0;
    }
}

static void io_apic_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
    IoApic *s = opaque;
    unsigned reg = s->select - 0x10;

    switch (offset) {
    case REG_SELECT:
        s->select = value;
        break;
    case REG_DATA:
        if (s->select == 0) {
            s->id = (value >> 24) & 0xf;
        } else if (s->select >= 0x10 && reg / 2 < IO_APIC_N_PINS) {
            write_redir(s, reg / 2, reg & 1, value);
        }
        break;
    case REG_EOI:
        io_apic_eoi(s, value);
        break;
    }
}

static const MemoryOps io_apic_ops = {
    .read = io_apic_read, .write = io_apic_write, .min_size = 4, .max_size = 4,
};

static void io_apic_reset(Device *dev)
{
    IoApic *s = (IoApic *)dev;

    s->id = s->select = 0;
    s->irr = 0;
    for (int n = 0; n < IO_APIC_N_PINS; n++) {
        s->redir[n] = REDIR_MASKED;
    }
}

static bool io_apic_realize(Device *dev, Error **errp)
{
    IoApic *s = (IoApic *)dev;

    for (int n = 0; n < IO_APIC_N_PINS; n++) {
        s->lines[n] = irq_new(pin_set, s, n);
    }
    io_apic_reset(dev);
    return true;
}

static void io_apic_unrealize(Device *dev)
{
    IoApic *s = (IoApic *)dev;

    memory_region_del(s->region);
    for (int n = 0; n < IO_APIC_N_PINS; n++) {
        irq_free(s->lines[n]);
    }
}

/* ---- saving ---------------------------------------------------------------------------------- */

static bool io_apic_check(const void *staged, const void *current, Error **errp)
{
    const IoApic *s = staged;

    for (int n = 0; n < IO_APIC_N_PINS; n++) {
        if (s->redir[n] & ~REDIR_DEFINED) {
            error_setg(errp, "pin %d has undefined bits", n);
            return false;
        }
    }
    return true;
}

static const VmStateDescription io_apic_state = {
    .name = "ioapic",
    .version = 1,
    .size = sizeof(IoApic),
    .fields = (const VmField[]) {
        VM_FIELD(IoApic, id),
        VM_FIELD(IoApic, select),
        VM_FIELD(IoApic, levels),
        VM_FIELD(IoApic, irr),
        VM_ARRAY(IoApic, redir),
        {0},
    },
    .check = io_apic_check,
};

const DeviceType io_apic_type = {
    .name = "ioapic",
    .category = DEVICE_CATEGORY_MISC,
    .instance_size = sizeof(IoApic),
    .realize = io_apic_realize,
    .unrealize = io_apic_unrealize,
    .reset = io_apic_reset,
    .state = &io_apic_state,
};

IoApic *io_apic_create(MemoryMap *map, LocalApic *local)
{
    Device *dev = device_new(&io_apic_type);
    IoApic *s = (IoApic *)dev;

    s->local = local;
    device_realize(dev, NULL, &error_abort);
    s->region = memory_add_io(map, "ioapic", IO_APIC_BASE, IO_APIC_SIZE, &io_apic_ops, s);
    local_apic_set_io_apic(local, s);
    return s;
}

IrqLine *io_apic_pin(IoApic *s, int n)
{
    return s->lines[n];
}
