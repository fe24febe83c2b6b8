/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Local APIC of the one CPU.  Not there: SMI, INIT and start-up messages, external PICs, thermal
 * and performance interrupts' sources (their registers can be written and read).
 */
#include "qemu/osdep.h"

#include "hw/intc/apic.h"
#include "qemu/error.h"
#include "qemu/timer.h"
#include "system/bql.h"
#include "system/vmstate.h"

#define APIC_VERSION 0x14
#define N_LVT 6
#define SPURIOUS_ENABLE 0x100
#define LVT_MASKED 0x10000
#define LVT_PERIODIC 0x20000
#define LVT_LEVEL 0x8000
#define ESR_RECEIVED_ILLEGAL 0x40
#define ESR_SENT_ILLEGAL 0x20
#define DEST_BROADCAST 0xff

enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR };
enum { MODE_FIXED = 0, MODE_LOWEST = 1, MODE_NMI = 4 };

enum { /* registers, by offset / 16 */
    REG_ID = 0x02, REG_VERSION = 0x03, REG_TPR = 0x08, REG_APR = 0x09, REG_PPR = 0x0a,
    REG_EOI = 0x0b, REG_LDR = 0x0d, REG_DFR = 0x0e, REG_SPURIOUS = 0x0f, REG_ISR = 0x10,
    REG_TMR = 0x18, REG_IRR = 0x20, REG_ESR = 0x28, REG_ICR_LOW = 0x30, REG_ICR_HIGH = 0x31,
    REG_LVT = 0x32, REG_INITIAL = 0x38, REG_CURRENT = 0x39, REG_DIVIDE = 0x3e,
    REG_VECTOR = 0xff,
};

struct LocalApic {
    Device dev;
    VCpu *cpu;
    IoApic *ioapic;
    MemoryRegion *region;
    QEMUTimer *timer;

    uint8_t id, tpr, ldr;
    uint32_t dfr, spurious, icr[2], lvt[N_LVT];
    uint32_t isr[8], tmr[8], irr[8];
    uint32_t esr, esr_pending;
    uint32_t initial_count, divide;
    int64_t timer_start_ns; /* when the running countdown began */
    int64_t timer_expires_ns; /* -1: it does not run; while it is saved or loaded */
};

/* ---- vectors --------------------------------------------------------------------------------- */

static void bit_set(uint32_t *bits, uint8_t vector)
{
    bits[vector / 32] |= UINT32_C(1) << (vector % 32);
}

static void bit_clear(uint32_t *bits, uint8_t vector)
{
    bits[vector / 32] &= ~(UINT32_C(1) << (vector % 32));
}

static bool bit_test(const uint32_t *bits, uint8_t vector)
{
    return bits[vector / 32] & (UINT32_C(1) << (vector % 32));
}

static int bit_highest(const uint32_t *bits)
{
    for (int i = 7; i >= 0; i--) {
        if (bits[i]) {
            return i * 32 + 31 - __builtin_clz(bits[i]);
        }
    }
    return -1;
}

static uint8_t apic_ppr(const LocalApic *s)
{
    int in_service = bit_highest(s->isr);
    uint8_t isr_class = in_service < 0 ? 0 : in_service & 0xf0;

    return (s->tpr & 0xf0) >= isr_class ? s->tpr : isr_class;
}

/* The vector the CPU would get now, or -1. */
static int deliverable(const LocalApic *s)
{
    int pending = bit_highest(s->irr);

    if (!(s->spurious & SPURIOUS_ENABLE) || pending < 0 ||
        (pending & 0xf0) <= (apic_ppr(s) & 0xf0)) {
        return -1;
    }
    return pending;
}

static void apic_update(LocalApic *s)
{
    if (s->cpu) {
        vcpu_interrupt(s->cpu, deliverable(s) >= 0);
    }
}

static void apic_error(LocalApic *s, uint32_t bit);

static void apic_raise(LocalApic *s, uint8_t vector, bool level)
{
    if (vector < 16) {
        apic_error(s, ESR_RECEIVED_ILLEGAL);
        return;
    }
    bit_set(s->irr, vector);
    if (level) {
        bit_set(s->tmr, vector);
    } else {
        bit_clear(s->tmr, vector);
    }
    apic_update(s);
}

static void apic_error(LocalApic *s, uint32_t bit)
{
    bool is_new = !(s->esr_pending & bit);
    uint8_t vector = s->lvt[LVT_ERROR];

    s->esr_pending |= bit;
    if (is_new && !(s->lvt[LVT_ERROR] & LVT_MASKED) && vector >= 16) {
        apic_raise(s, vector, false);
    }
}

static uint32_t apic_accept(LocalApic *s)
{
    int vector = deliverable(s);

    if (vector < 0) {
        return s->spurious & 0xff;
    }
    bit_clear(s->irr, vector);
    bit_set(s->isr, vector);
    apic_update(s);
    return vector;
}

static void apic_eoi(LocalApic *s)
{
    int vector = bit_highest(s->isr);

    if (vector < 0) {
        return;
    }
    bit_clear(s->isr, vector);
    if (bit_test(s->tmr, vector) && s->ioapic) {
        io_apic_eoi(s->ioapic, vector);
    }
    apic_update(s);
}

/* ---- messages -------------------------------------------------------------------------------- */

static bool is_addressed(const LocalApic *s, uint8_t dest, bool logical)
{
    if (dest == DEST_BROADCAST) {
        return true;
    }
    if (!logical) {
        return dest == s->id;
    }
    if ((s->dfr >> 28) == 0xf) { /* flat */
        return dest & s->ldr;
    }
    return (dest & 0xf0) == (s->ldr & 0xf0) && (dest & s->ldr & 0x0f);
}

void local_apic_deliver(LocalApic *s, const ApicMessage *message)
{
    if (!is_addressed(s, message->dest, message->dest_logical)) {
        return;
    }
    switch (message->delivery_mode) {
    case MODE_FIXED:
    case MODE_LOWEST:
        apic_raise(s, message->vector, message->level_triggered);
        break;
    case MODE_NMI:
        if (s->cpu) {
            vcpu_set_pending(s->cpu, VCPU_NMI);
        }
        break;
    }
}

void local_apic_msi(LocalApic *s, hwaddr addr, uint32_t data)
{
    ApicMessage message = {
        .vector = data & 0xff,
        .delivery_mode = (data >> 8) & 7,
        .dest = (addr >> 12) & 0xff,
        .dest_logical = addr & 4,
        .level_triggered = data & 0x8000,
    };

    if (addr - MSI_ADDR_BASE < MSI_ADDR_SIZE) {
        local_apic_deliver(s, &message);
    }
}

static void apic_send(LocalApic *s)
{
    uint32_t icr = s->icr[0];
    unsigned shorthand = (icr >> 18) & 3;
    ApicMessage message = {
        .vector = icr & 0xff,
        .delivery_mode = (icr >> 8) & 7,
        .dest = s->icr[1] >> 24,
        .dest_logical = icr & 0x800,
        .level_triggered = icr & 0x8000,
    };

    if (message.delivery_mode <= MODE_LOWEST && message.vector < 16) {
        apic_error(s, ESR_SENT_ILLEGAL);
        return;
    }
    if (shorthand == 3) { /* all but self: there is nobody else */
        return;
    }
    if (shorthand) {
        message.dest = DEST_BROADCAST;
        message.dest_logical = false;
    }
    local_apic_deliver(s, &message);
}

/* ---- timer: counts nanoseconds, divided ------------------------------------------------------ */

static int64_t timer_tick_ns(const LocalApic *s)
{
    unsigned code = (s->divide & 3) | ((s->divide >> 1) & 4);

    return code == 7 ? 1 : INT64_C(2) << code;
}

static void timer_arm(LocalApic *s)
{
    if (s->initial_count) {
        timer_mod(s->timer, s->timer_start_ns + s->initial_count * timer_tick_ns(s));
    } else {
        timer_del(s->timer);
    }
}

static uint32_t timer_current(const LocalApic *s)
{
    int64_t ticks = (qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) - s->timer_start_ns) /
                    timer_tick_ns(s);

    if (!s->initial_count) {
        return 0;
    }
    if (s->lvt[LVT_TIMER] & LVT_PERIODIC) {
        return s->initial_count - ticks % s->initial_count;
    }
    return ticks >= s->initial_count ? 0 : s->initial_count - ticks;
}

static void timer_fired(void *opaque)
{
    LocalApic *s = opaque;

    BQL_GUARD();
    if (!(s->lvt[LVT_TIMER] & LVT_MASKED)) {
        apic_raise(s, s->lvt[LVT_TIMER] & 0xff, false);
    }
    if (s->lvt[LVT_TIMER] & LVT_PERIODIC) {
        int64_t period = s->initial_count * timer_tick_ns(s);
        int64_t late = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) - s->timer_start_ns;

        /* Ticks that were missed are not made up for. */
        s->timer_start_ns += late / period * period;
        timer_arm(s);
    }
}

/* ---- registers ------------------------------------------------------------------------------- */

static uint64_t apic_read(void *opaque, hwaddr offset, unsigned size)
{
    LocalApic *s = opaque;
    unsigned reg = offset >> 4;

    if (offset & 0xf) {
        return 0;
    }
    switch (reg) {
    case REG_ID:
        return (uint32_t)s->id << 24;
    case REG_VERSION:
        return APIC_VERSION | (N_LVT - 1) << 16;
    case REG_TPR:
        return s->tpr;
    case REG_PPR:
        return apic_ppr(s);
    case REG_LDR:
        return (uint32_t)s->ldr << 24;
    case REG_DFR:
        return s->dfr;
    case REG_SPURIOUS:
        return s->spurious;
    case REG_ISR ... REG_ISR + 7:
        return s->isr[reg - REG_ISR];
    case REG_TMR ... REG_TMR + 7:
        return s->tmr[reg - REG_TMR];
    case REG_IRR ... REG_IRR + 7:
        return s->irr[reg - REG_IRR];
    case REG_ESR:
        return s->esr;
    case REG_ICR_LOW:
    case REG_ICR_HIGH:
        return s->icr[reg - REG_ICR_LOW];
    case REG_LVT ... REG_LVT + N_LVT - 1:
        return s->lvt[reg - REG_LVT];
    case REG_INITIAL:
        return s->initial_count;
    case REG_CURRENT:
        return timer_current(s);
    case REG_DIVIDE:
        return s->divide;
    case REG_VECTOR:
        return apic_accept(s);
    default:
        return 0;
    }
}

static void write_spurious(LocalApic *s, uint32_t value)
{
    s->spurious = value & 0x1ff;
    if (!(value & SPURIOUS_ENABLE)) {
        for (int i = 0; i < N_LVT; i++) {
            s->lvt[i] |= LVT_MASKED;
        }
    }
    apic_update(s);
}

static void write_lvt(LocalApic *s, unsigned n, uint32_t value)
{
    static const uint32_t writable[N_LVT] = {
        [LVT_TIMER] = 0x300ff, [LVT_THERMAL] = 0x107ff, [LVT_PERF] = 0x107ff,
        [LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff, [LVT_ERROR] = 0x100ff,
    };

    s->lvt[n] = value & writable[n];
    if (!(s->spurious & SPURIOUS_ENABLE)) {
        s->lvt[n] |= LVT_MASKED;
    }
}

static void apic_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
    LocalApic *s = opaque;
    unsigned reg = offset >> 4;

    if (offset & 0xf) {
        return;
    }
    switch (reg) {
    case REG_ID:
        s->id = value >> 24;
        break;
    case REG_TPR:
        s->tpr = value;
        apic_update(s);
        break;
    case REG_EOI:
        apic_eoi(s);
        break;
    case REG_LDR:
        s->ldr = value >> 24;
        break;
    case REG_DFR:
        s->dfr = value | 0x0fffffff;
        break;
    case REG_SPURIOUS:
        write_spurious(s, value);
        break;
    case REG_ESR: /* any write latches what happened since the last one */
        s->esr = s->esr_pending;
        s->esr_pending = 0;
        break;
    case REG_ICR_LOW:
        s->icr[0] = value & 0xcdfff;
        apic_send(s);
        break;
    case REG_ICR_HIGH:
        s->icr[1] = value & 0xff000000;
        break;
    case REG_LVT ... REG_LVT + N_LVT - 1:
        write_lvt(s, reg - REG_LVT, value);
        break;
    case REG_INITIAL:
        s->initial_count = value;
        s->timer_start_ns = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
        timer_arm(s);
        break;
    case REG_DIVIDE:
        s->divide = value & 0xb;
        timer_arm(s);
        break;
    }
}

static const MemoryOps apic_ops = {
    .read = apic_read, .write = apic_write, .min_size = 4, .max_size = 4,
};

/* ---- the device ------------------------------------------------------------------------------ */

static void apic_reset(Device *dev)
{
    LocalApic *s = (LocalApic *)dev;

    timer_del(s->timer);
    s->id = s->tpr = s->ldr = 0;
    s->dfr = UINT32_MAX;
    s->spurious = 0xff;
    s->esr = s->esr_pending = s->initial_count = s->divide = 0;
    memset(s->icr, 0, sizeof(s->icr));
    memset(s->isr, 0, sizeof(s->isr));
    memset(s->tmr, 0, sizeof(s->tmr));
    memset(s->irr, 0, sizeof(s->irr));
    for (int i = 0; i < N_LVT; i++) {
        s->lvt[i] = LVT_MASKED;
    }
    apic_update(s);
}

static bool apic_realize(Device *dev, Error **errp)
{
    LocalApic *s = (LocalApic *)dev;

    s->timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, timer_fired, s);
    apic_reset(dev);
    return true;
}

static void apic_unrealize(Device *dev)
{
    LocalApic *s = (LocalApic *)dev;

    timer_free(s->timer);
    memory_region_del(s->region);
}

/* ---- saving ---------------------------------------------------------------------------------- */

static void apic_pre_save(void *opaque)
{
    LocalApic *s = opaque;

    s->timer_expires_ns = timer_expire_time_ns(s->timer);
}

static bool apic_check(const void *staged, const void *current, Error **errp)
{
    const LocalApic *s = staged;

    if (s->timer_expires_ns != -1 && !s->initial_count) {
        error_setg(errp, "its timer runs without a count");
        return false;
    }
    return vm_check_time("timer_start_ns", s->timer_start_ns, errp) &&
           vm_check_time("timer_expires_ns", s->timer_expires_ns, errp);
}

/* A countdown that has ended must not end again, so it does not follow from its start. */
static void apic_post_load(void *opaque)
{
    LocalApic *s = opaque;

    timer_restore_ns(s->timer, s->timer_expires_ns);
    apic_update(s);
}

static const VmStateDescription apic_state = {
    .name = "apic",
    .version = 1,
    .size = sizeof(LocalApic),
    .fields = (const VmField[]) {
        VM_FIELD(LocalApic, id),
        VM_FIELD(LocalApic, tpr),
        VM_FIELD(LocalApic, ldr),
        VM_FIELD(LocalApic, dfr),
        VM_FIELD(LocalApic, spurious),
        VM_ARRAY(LocalApic, icr),
        VM_ARRAY(LocalApic, lvt),
        VM_ARRAY(LocalApic, isr),
        VM_ARRAY(LocalApic, tmr),
        VM_ARRAY(LocalApic, irr),
        VM_FIELD(LocalApic, esr),
        VM_FIELD(LocalApic, esr_pending),
        VM_FIELD(LocalApic, initial_count),
        VM_FIELD(LocalApic, divide),
        VM_FIELD(LocalApic, timer_start_ns),
        VM_FIELD(LocalApic, timer_expires_ns),
        {0},
    },
    .pre_save = apic_pre_save,
    .check = apic_check,
    .post_load = apic_post_load,
};

const DeviceType local_apic_type = {
    .name = "e2k-local-apic",
    .category = DEVICE_CATEGORY_MISC,
    .instance_size = sizeof(LocalApic),
    .realize = apic_realize,
    .unrealize = apic_unrealize,
    .reset = apic_reset,
    .state = &apic_state,
};

LocalApic *local_apic_create(MemoryMap *map)
{
    Device *dev = device_new(&local_apic_type);
    LocalApic *s = (LocalApic *)dev;

    device_realize(dev, NULL, &error_abort);
    s->region = memory_add_io(map, "local-apic", LOCAL_APIC_BASE, LOCAL_APIC_SIZE, &apic_ops, s);
    return s;
}

void local_apic_set_cpu(LocalApic *s, VCpu *cpu)
{
    s->cpu = cpu;
    apic_update(s);
}

void local_apic_set_io_apic(LocalApic *s, IoApic *ioapic)
{
    s->ioapic = ioapic;
}
