/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 16550A serial port.  Everything is guarded by the machine lock.
 *
 * Sending takes no time unless the other end is slow: then bytes stay in the transmit FIFO, the
 * line status says so, and the guest waits as it would for a slow modem.
 */
#include "qemu/osdep.h"

#include "hw/char/chardev-prop.h"
#include "hw/isa/isa.h"
#include "io/chardev.h"
#include "qemu/error.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "system/bql.h"
#include "system/vmstate.h"

#define FIFO_SIZE 16
#define BASE_BAUD 115200

enum { /* interrupt enable */
    IER_RX = 1, IER_TX = 2, IER_LINE = 4, IER_MODEM = 8,
};
enum { /* interrupt identification */
    IIR_NONE = 0x01, IIR_MODEM = 0x00, IIR_TX = 0x02, IIR_RX = 0x04, IIR_LINE = 0x06,
    IIR_TIMEOUT = 0x0c, IIR_ID = 0x0f, IIR_FIFO = 0xc0,
};
enum { /* FIFO control */
    FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4, FCR_DMA = 8, FCR_TRIGGER = 0xc0,
};
enum { LCR_DLAB = 0x80 };
enum { /* modem control */
    MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 0x10,
};
enum { /* line status */
    LSR_READY = 1, LSR_OVERRUN = 2, LSR_BREAK = 0x10, LSR_TX_EMPTY = 0x20, LSR_IDLE = 0x40,
    LSR_ANY_ERROR = 0x1e,
};
enum { /* modem status; low nibble: deltas */
    MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80, MSR_ANY_DELTA = 0x0f,
};

typedef struct Fifo {
    uint8_t data[FIFO_SIZE];
    unsigned head, count;
} Fifo;

typedef struct Serial {
    Device dev;
    uint32_t iobase;
    uint32_t irq_number;
    CharFrontend chr;
    MemoryRegion *region;
    IrqLine *irq;
    QEMUBH *send_bh;    /* tries to send */
    QEMUTimer *timeout; /* received bytes have waited for four characters' time */

    uint16_t divisor;
    uint8_t ier, iir, fcr, lcr, mcr, lsr, msr, scratch;
    Fifo rx, tx;
    bool tx_interrupt;      /* the transmitter became empty and nobody has looked */
    bool timeout_interrupt;
    int64_t timeout_ns;     /* when that timer is due, -1: never; while it is saved or loaded */
} Serial;

/* ---- FIFOs and interrupts -------------------------------------------------------------------- */

static void fifo_clear(Fifo *fifo)
{
    fifo->head = fifo->count = 0;
}

static void fifo_push(Fifo *fifo, uint8_t byte)
{
    fifo->data[(fifo->head + fifo->count++) % FIFO_SIZE] = byte;
}

static uint8_t fifo_pop(Fifo *fifo)
{
    uint8_t byte = fifo->data[fifo->head];

    fifo->head = (fifo->head + 1) % FIFO_SIZE;
    fifo->count--;
    return byte;
}

/* How many bytes a FIFO holds in the current mode. */
static unsigned fifo_room(const Serial *s, const Fifo *fifo)
{
    unsigned size = s->fcr & FCR_ENABLE ? FIFO_SIZE : 1;

    return fifo->count < size ? size - fifo->count : 0;
}

static unsigned rx_trigger(const Serial *s)
{
    static const uint8_t levels[] = {1, 4, 8, 14};

    return s->fcr & FCR_ENABLE ? levels[s->fcr >> 6] : 1;
}

static void serial_update_irq(Serial *s)
{
    uint8_t id = IIR_NONE;

    if ((s->ier & IER_LINE) && (s->lsr & LSR_ANY_ERROR)) {
        id = IIR_LINE;
    } else if ((s->ier & IER_RX) && s->timeout_interrupt) {
        id = IIR_TIMEOUT;
    } else if ((s->ier & IER_RX) && s->rx.count >= rx_trigger(s)) {
        id = IIR_RX;
    } else if ((s->ier & IER_TX) && s->tx_interrupt) {
        id = IIR_TX;
    } else if ((s->ier & IER_MODEM) && (s->msr & MSR_ANY_DELTA)) {
        id = IIR_MODEM;
    }
    s->iir = id | (s->fcr & FCR_ENABLE ? IIR_FIFO : 0);
    irq_set(s->irq, id != IIR_NONE);
}

/* ---- receiving ------------------------------------------------------------------------------- */

static int64_t four_characters_ns(const Serial *s)
{
    unsigned divisor = s->divisor ? s->divisor : 1;

    /* ten bits a character */
    return 4 * 10 * NANOSECONDS_PER_SECOND / BASE_BAUD * divisor;
}

static void serial_received(Serial *s, uint8_t byte)
{
    if (!fifo_room(s, &s->rx)) {
        s->lsr |= LSR_OVERRUN;
    } else {
        fifo_push(&s->rx, byte);
    }
    s->lsr |= LSR_READY;
    if (s->fcr & FCR_ENABLE) {
        timer_mod(s->timeout, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) + four_characters_ns(s));
    }
}

static void serial_timeout(void *opaque)
{
    Serial *s = opaque;

    BQL_GUARD();
    if (s->rx.count) {
        s->timeout_interrupt = true;
        serial_update_irq(s);
    }
}

static size_t serial_can_receive(void *opaque)
{
    Serial *s = opaque;

    BQL_GUARD();
    return s->mcr & MCR_LOOP ? 0 : fifo_room(s, &s->rx);
}

static void serial_receive(void *opaque, const uint8_t *buf, size_t size)
{
    Serial *s = opaque;

    BQL_GUARD();
    for (size_t i = 0; i < size; i++) {
        serial_received(s, buf[i]);
    }
    serial_update_irq(s);
}

static void serial_event(void *opaque, ChrEvent event)
{
    Serial *s = opaque;

    BQL_GUARD();
    if (event == CHR_EVENT_BREAK) {
        serial_received(s, 0);
        s->lsr |= LSR_BREAK;
        serial_update_irq(s);
    }
}

/* ---- sending --------------------------------------------------------------------------------- */

static void serial_send(Serial *s)
{
    while (s->tx.count) {
        uint8_t byte = s->tx.data[s->tx.head];

        if (s->mcr & MCR_LOOP) {
            serial_received(s, byte);
        } else if (s->chr.chr && !chr_fe_write(&s->chr, &byte, 1)) {
            break;
        }
        fifo_pop(&s->tx);
    }
    if (!s->tx.count && !(s->lsr & LSR_TX_EMPTY)) {
        s->lsr |= LSR_TX_EMPTY | LSR_IDLE;
        s->tx_interrupt = true;
    }
    serial_update_irq(s);
}

static void serial_writable(void *opaque)
{
    BQL_GUARD();
    serial_send(opaque);
}

static const ChrHandlers serial_handlers = {
    .can_receive = serial_can_receive,
    .receive = serial_receive,
    .event = serial_event,
    .writable = serial_writable,
};

/* ---- registers ------------------------------------------------------------------------------- */

static uint8_t read_data(Serial *s)
{
    uint8_t byte = 0;

    if (s->rx.count) {
        byte = fifo_pop(&s->rx);
    }
    s->timeout_interrupt = false;
    if (!s->rx.count) {
        s->lsr &= ~(LSR_READY | LSR_BREAK);
        timer_del(s->timeout);
    }
    serial_update_irq(s);
    if (s->chr.chr && !(s->mcr & MCR_LOOP)) {
        chr_fe_accept_input(&s->chr);
    }
    return byte;
}

static uint8_t read_msr(Serial *s)
{
    uint8_t value = s->msr;

    if (s->mcr & MCR_LOOP) {
        return (s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
               (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0);
    }
    s->msr &= ~MSR_ANY_DELTA;
    serial_update_irq(s);
    return value;
}

static uint64_t serial_read(void *opaque, hwaddr offset, unsigned size)
{
    Serial *s = opaque;
    uint8_t value;

    switch (offset) {
    case 0:
        return s->lcr & LCR_DLAB ? s->divisor & 0xff : read_data(s);
    case 1:
        return s->lcr & LCR_DLAB ? s->divisor >> 8 : s->ier;
    case 2:
        value = s->iir;
        if ((value & IIR_ID) == IIR_TX) {
            s->tx_interrupt = false;
            serial_update_irq(s);
        }
        return value;
    case 3:
        return s->lcr;
    case 4:
        return s->mcr;
    case 5:
        value = s->lsr;
        s->lsr &= ~LSR_ANY_ERROR;
        serial_update_irq(s);
        return value;
    case 6:
        return read_msr(s);
    default:
        return s->scratch;
    }
}

static void write_data(Serial *s, uint8_t byte)
{
    if (!fifo_room(s, &s->tx)) {
        fifo_pop(&s->tx); /* a full transmitter loses the oldest byte */
    }
    fifo_push(&s->tx, byte);
    s->tx_interrupt = false;
    s->lsr &= ~(LSR_TX_EMPTY | LSR_IDLE);
    serial_send(s);
}

static void write_ier(Serial *s, uint8_t value)
{
    uint8_t raised = ~s->ier & value;

    s->ier = value & 0x0f;
    if ((raised & IER_TX) && (s->lsr & LSR_TX_EMPTY)) {
        s->tx_interrupt = true;
    }
    serial_update_irq(s);
}

static void write_fcr(Serial *s, uint8_t value)
{
    if ((value ^ s->fcr) & FCR_ENABLE) {
        value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
    }
    if (value & FCR_CLEAR_RX) {
        fifo_clear(&s->rx);
        s->lsr &= ~(LSR_READY | LSR_BREAK);
        s->timeout_interrupt = false;
        timer_del(s->timeout);
    }
    if (value & FCR_CLEAR_TX) {
        fifo_clear(&s->tx);
        s->lsr |= LSR_TX_EMPTY | LSR_IDLE;
        s->tx_interrupt = true;
    }
    s->fcr = value & (FCR_ENABLE | FCR_DMA | FCR_TRIGGER);
    serial_update_irq(s);
    if (s->chr.chr) {
        chr_fe_accept_input(&s->chr);
    }
}

static void serial_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
    Serial *s = opaque;

    switch (offset) {
    case 0:
        if (s->lcr & LCR_DLAB) {
            s->divisor = (s->divisor & 0xff00) | (value & 0xff);
        } else {
            write_data(s, value);
        }
        break;
    case 1:
        if (s->lcr & LCR_DLAB) {
            s->divisor = (s->divisor & 0xff) | (value & 0xff) << 8;
        } else {
            write_ier(s, value);
        }
        break;
    case 2:
        write_fcr(s, value);
        break;
    case 3:
        s->lcr = value;
        break;
    case 4:
        s->mcr = value & 0x1f;
        break;
    case 7:
        s->scratch = value;
        break;
    }
}

static const MemoryOps serial_ops = {
    .read = serial_read, .write = serial_write, .max_size = 1,
};

/* ---- the device ------------------------------------------------------------------------------ */

static void serial_reset(Device *dev)
{
    Serial *s = (Serial *)dev;

    fifo_clear(&s->rx);
    fifo_clear(&s->tx);
    timer_del(s->timeout);
    s->ier = s->fcr = s->lcr = s->scratch = 0;
    s->mcr = MCR_OUT2;
    s->lsr = LSR_TX_EMPTY | LSR_IDLE;
    s->msr = MSR_DCD | MSR_DSR | MSR_CTS;
    s->divisor = 12;
    s->tx_interrupt = s->timeout_interrupt = false;
    serial_update_irq(s);
}

static bool serial_realize(Device *dev, Error **errp)
{
    Serial *s = (Serial *)dev;
    Error *local_err = NULL;

    s->irq = isa_get_irq(dev, s->irq_number, &local_err);
    if (local_err) {
        error_propagate(errp, local_err);
        return false;
    }
    s->region = isa_register_ports(dev, s->iobase, 8, &serial_ops, errp);
    if (!s->region) {
        return false;
    }
    s->timeout = timer_new_ns(QEMU_CLOCK_VIRTUAL, serial_timeout, s);
    s->send_bh = qemu_bh_new(serial_writable, s);
    serial_reset(dev);
    if (s->chr.chr) {
        chr_fe_set_handlers(&s->chr, &serial_handlers, s);
    }
    return true;
}

static void serial_unrealize(Device *dev)
{
    Serial *s = (Serial *)dev;

    chr_fe_deinit(&s->chr);
    memory_region_del(s->region);
    timer_free(s->timeout);
    qemu_bh_delete(s->send_bh);
    irq_lower(s->irq);
}

/* ---- saving ---------------------------------------------------------------------------------- */

static void serial_pre_save(void *opaque)
{
    Serial *s = opaque;

    s->timeout_ns = timer_expire_time_ns(s->timeout);
}

static bool serial_check(const void *staged, const void *current, Error **errp)
{
    const Serial *s = staged;

    if (s->rx.head >= FIFO_SIZE || s->rx.count > FIFO_SIZE || s->tx.head >= FIFO_SIZE ||
        s->tx.count > FIFO_SIZE) {
        error_setg(errp, "a FIFO holds more than there is room for");
        return false;
    }
    return vm_check_time("timeout_ns", s->timeout_ns, errp);
}

static void serial_post_load(void *opaque)
{
    Serial *s = opaque;

    timer_restore_ns(s->timeout, s->timeout_ns);
    /* What waited for the other end, which is another one now.  Not yet: it may interrupt. */
    qemu_bh_schedule(s->send_bh);
    if (s->chr.chr) {
        chr_fe_accept_input(&s->chr);
    }
}

static const VmStateDescription serial_state = {
    .name = "serial",
    .version = 1,
    .size = sizeof(Serial),
    .fields = (const VmField[]) {
        VM_FIELD(Serial, divisor),
        VM_FIELD(Serial, ier),
        VM_FIELD(Serial, iir),
        VM_FIELD(Serial, fcr),
        VM_FIELD(Serial, lcr),
        VM_FIELD(Serial, mcr),
        VM_FIELD(Serial, lsr),
        VM_FIELD(Serial, msr),
        VM_FIELD(Serial, scratch),
        VM_ARRAY(Serial, rx.data),
        VM_FIELD(Serial, rx.head),
        VM_FIELD(Serial, rx.count),
        VM_ARRAY(Serial, tx.data),
        VM_FIELD(Serial, tx.head),
        VM_FIELD(Serial, tx.count),
        VM_BOOL(Serial, tx_interrupt),
        VM_BOOL(Serial, timeout_interrupt),
        VM_FIELD(Serial, timeout_ns),
        {0},
    },
    .pre_save = serial_pre_save,
    .check = serial_check,
    .post_load = serial_post_load,
};

static const DeviceProperty serial_props[] = {
    DEVICE_PROP("iobase", prop_kind_uint32, Serial, iobase, "0x3f8", NULL),
    DEVICE_PROP("irq", prop_kind_uint32, Serial, irq_number, "4", NULL),
    DEVICE_PROP("chardev", prop_kind_chardev, Serial, chr, NULL, NULL),
    {0},
};

const DeviceType isa_serial_type = {
    .name = "isa-serial",
    .bus = ISA_BUS_TYPE_NAME,
    .category = DEVICE_CATEGORY_INPUT,
    .user_creatable = true,
    .instance_size = sizeof(Serial),
    .properties = (const DevicePropertyTable[]) {{NULL, serial_props}, {0}},
    .realize = serial_realize,
    .unrealize = serial_unrealize,
    .reset = serial_reset,
    .state = &serial_state,
};
