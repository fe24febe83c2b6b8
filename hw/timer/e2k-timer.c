/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The system timer.  Its watchdog is absent: those registers read as zero and ignore writes.
 * Guarded by the machine lock.
 */
#include "qemu/osdep.h"

#include "hw/timer/e2k-timer.h"
#include "qemu/error.h"
#include "qemu/timer.h"
#include "system/bql.h"
#include "system/vmstate.h"

#define TICK_NS 100 /* 10 MHz */
#define VALUE_SHIFT 9
#define VALUE_MASK UINT32_C(0x7ffffe00) /* bits 30:9 */
#define LIMIT_REACHED UINT32_C(0x80000000)

enum {
    REG_LIMIT = 0x00, REG_START = 0x04, REG_COUNTER = 0x08, REG_CONTROL = 0x0c,
    REG_POWER_ON_LOW = 0x1c, REG_POWER_ON_HIGH = 0x20, REG_RESET_LOW = 0x28, REG_RESET_HIGH = 0x2c,
};
enum { CONTROL_START = 1, CONTROL_INVERT = 2, CONTROL_INITIAL = 4 };

typedef struct E2kTimer {
    Device dev;
    IrqLine *irq;
    MemoryRegion *region;
    QEMUTimer *timer;

    uint32_t limit, start, control;
    bool limit_bit;
    uint32_t stopped_value; /* ticks, while it does not run */
    int64_t origin_ns;      /* when the running count was 0 */
    int64_t expires_ns;     /* -1: never; while it is saved or loaded */
    int64_t reset_ns;
    uint32_t high_latch;    /* of the 64-bit counter whose low half was read last */
} E2kTimer;

static int64_t now_ns(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

static uint32_t limit_ticks(const E2kTimer *s)
{
    return s->limit >> VALUE_SHIFT;
}

static uint32_t current_ticks(const E2kTimer *s)
{
    int64_t ticks = (now_ns() - s->origin_ns) / TICK_NS;

    if (!(s->control & CONTROL_START)) {
        return s->stopped_value;
    }
    return limit_ticks(s) ? MIN(ticks, limit_ticks(s)) : ticks & (VALUE_MASK >> VALUE_SHIFT);
}

static void timer_rearm(E2kTimer *s)
{
    if ((s->control & CONTROL_START) && limit_ticks(s)) {
        timer_mod(s->timer, s->origin_ns + (int64_t)limit_ticks(s) * TICK_NS);
    } else {
        timer_del(s->timer);
    }
}

static void limit_reached(void *opaque)
{
    E2kTimer *s = opaque;
    int64_t period = (int64_t)limit_ticks(s) * TICK_NS;

    BQL_GUARD();
    if (!(s->control & CONTROL_START) || !period) {
        return;
    }
    s->limit_bit = s->control & CONTROL_INVERT ? !s->limit_bit : true;
    /* Periods that were missed are not made up for. */
    s->origin_ns += MAX((now_ns() - s->origin_ns) / period, 1) * period;
    timer_rearm(s);
    irq_pulse(s->irq);
}

static uint64_t read_counter64(E2kTimer *s, int64_t since_ns)
{
    uint64_t ticks = (now_ns() - since_ns) / TICK_NS;

    s->high_latch = ticks >> 32;
    return (uint32_t)ticks;
}

static uint64_t e2k_timer_read(void *opaque, hwaddr offset, unsigned size)
{
    E2kTimer *s = opaque;

    switch (offset) {
    case REG_LIMIT:
        return s->limit;
    case REG_START:
        return s->start;
    case REG_COUNTER:
        return current_ticks(s) << VALUE_SHIFT | (s->limit_bit ? LIMIT_REACHED : 0);
    case REG_CONTROL:
        return s->control;
    case REG_POWER_ON_LOW:
        return read_counter64(s, 0);
    case REG_RESET_LOW:
        return read_counter64(s, s->reset_ns);
    case REG_POWER_ON_HIGH:
    case REG_RESET_HIGH:
        return s->high_latch;
    default:
        return 0;
    }
}

static void write_control(E2kTimer *s, uint32_t value)
{
    bool was_running = s->control & CONTROL_START;

    if (was_running && !(value & CONTROL_START)) {
        s->stopped_value = current_ticks(s);
    } else if (!was_running && (value & CONTROL_START)) {
        s->stopped_value = s->start >> VALUE_SHIFT;
        s->origin_ns = now_ns() - (int64_t)s->stopped_value * TICK_NS;
        s->limit_bit = value & CONTROL_INITIAL;
    }
    s->control = value & (CONTROL_START | CONTROL_INVERT | CONTROL_INITIAL);
    timer_rearm(s);
}

static void e2k_timer_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
    E2kTimer *s = opaque;

    switch (offset) {
    case REG_LIMIT:
        s->limit = value & VALUE_MASK;
        s->origin_ns = now_ns(); /* a new limit begins a new period */
        timer_rearm(s);
        break;
    case REG_START:
        s->start = value & VALUE_MASK;
        break;
    case REG_COUNTER:
        s->stopped_value = (value & VALUE_MASK) >> VALUE_SHIFT;
        s->origin_ns = now_ns() - (int64_t)s->stopped_value * TICK_NS;
        s->limit_bit = value & LIMIT_REACHED;
        timer_rearm(s);
        break;
    case REG_CONTROL:
        write_control(s, value);
        break;
    }
}

static const MemoryOps e2k_timer_ops = {
    .read = e2k_timer_read, .write = e2k_timer_write, .min_size = 4, .max_size = 4,
};

static void e2k_timer_reset(Device *dev)
{
    E2kTimer *s = (E2kTimer *)dev;

    timer_del(s->timer);
    s->limit = s->start = s->control = s->stopped_value = s->high_latch = 0;
    s->limit_bit = false;
    s->reset_ns = now_ns();
}

static bool e2k_timer_realize(Device *dev, Error **errp)
{
    E2kTimer *s = (E2kTimer *)dev;

    s->timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, limit_reached, s);
    e2k_timer_reset(dev);
    return true;
}

static void e2k_timer_unrealize(Device *dev)
{
    E2kTimer *s = (E2kTimer *)dev;

    timer_free(s->timer);
    memory_region_del(s->region);
}

static void e2k_timer_pre_save(void *opaque)
{
    E2kTimer *s = opaque;

    s->expires_ns = timer_expire_time_ns(s->timer);
}

static bool e2k_timer_check(const void *staged, const void *current, Error **errp)
{
    const E2kTimer *s = staged;

    if ((s->limit | s->start) & ~VALUE_MASK) {
        error_setg(errp, "limit or start has undefined bits");
        return false;
    }
    return vm_check_time("origin_ns", s->origin_ns, errp) &&
           vm_check_time("reset_ns", s->reset_ns, errp) &&
           vm_check_time("expires_ns", s->expires_ns, errp);
}

static void e2k_timer_post_load(void *opaque)
{
    E2kTimer *s = opaque;

    timer_restore_ns(s->timer, s->expires_ns);
}

static const VmStateDescription e2k_timer_state = {
    .name = "timer",
    .version = 1,
    .size = sizeof(E2kTimer),
    .fields = (const VmField[]) {
        VM_FIELD(E2kTimer, limit),
        VM_FIELD(E2kTimer, start),
        VM_FIELD(E2kTimer, control),
        VM_BOOL(E2kTimer, limit_bit),
        VM_FIELD(E2kTimer, stopped_value),
        VM_FIELD(E2kTimer, origin_ns),
        VM_FIELD(E2kTimer, reset_ns),
        VM_FIELD(E2kTimer, high_latch),
        VM_FIELD(E2kTimer, expires_ns),
        {0},
    },
    .pre_save = e2k_timer_pre_save,
    .check = e2k_timer_check,
    .post_load = e2k_timer_post_load,
};

const DeviceType e2k_timer_type = {
    .name = "e2k-timer",
    .category = DEVICE_CATEGORY_MISC,
    .instance_size = sizeof(E2kTimer),
    .realize = e2k_timer_realize,
    .unrealize = e2k_timer_unrealize,
    .reset = e2k_timer_reset,
    .state = &e2k_timer_state,
};

Device *e2k_timer_create(MemoryMap *map, IrqLine *irq)
{
    Device *dev = device_new(&e2k_timer_type);
    E2kTimer *s = (E2kTimer *)dev;

    s->irq = irq;
    device_realize(dev, NULL, &error_abort);
    s->region = memory_add_io(map, "e2k-timer", E2K_TIMER_BASE, E2K_TIMER_SIZE, &e2k_timer_ops, s);
    return dev;
}
