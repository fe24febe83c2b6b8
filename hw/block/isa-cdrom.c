/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * isa-cdrom: a reader of removable media by programmed I/O, without interrupts.
 *
 * Ports, from iobase on, little-endian:
 *
 *   0  byte   read: status; write: a command
 *   1  byte   events since it was read last
 *   4  dword  number of the sector (2 KiB) to be read; read and write
 *   8  dword  sectors of the medium, 0 without one
 *  12  dword  the next four bytes of the sector that was read
 *
 * With tray=off the medium is in a slot instead: it may be taken out at any time.
 */
#include "qemu/osdep.h"

#include "block/coroutine.h"
#include "hw/block/conf.h"
#include "hw/isa/isa.h"
#include "qemu/bswap.h"
#include "qemu/error.h"
#include "qemu/main-loop.h"
#include "system/bql.h"
#include "system/runstate.h"
#include "system/vmstate.h"

#define N_PORTS 16
#define SECTOR_SIZE 2048

enum { PORT_COMMAND = 0, PORT_EVENTS = 1, PORT_SECTOR = 4, PORT_SECTORS = 8, PORT_DATA = 12 };
enum {
    COMMAND_READ = 1, COMMAND_OPEN = 2, COMMAND_CLOSE = 3, COMMAND_LOCK = 4, COMMAND_UNLOCK = 5,
};
enum {
    STATUS_BUSY = 1, STATUS_DATA = 2, STATUS_ERROR = 4, STATUS_MEDIUM = 8, STATUS_TRAY_OPEN = 16,
    STATUS_LOCKED = 32,
};
enum { EVENT_CHANGED = 1, EVENT_EJECT = 2 };

typedef struct CdRom {
    Device dev;
    BlockConf conf;
    uint32_t iobase;
    bool has_tray;
    MemoryRegion *region;
    QEMUBH *bh;           /* does in the main loop what a command asks for */
    /* The request's while it is in flight, else under the machine lock. */
    uint8_t data[SECTOR_SIZE];
    QEMUIOVector qiov;
    /* machine lock */
    uint8_t command;      /* that the machine has not carried out yet, or 0 */
    bool is_stale;        /* a reset came meanwhile: nobody waits for it */
    bool is_parked;       /* it failed and is tried again when the machine goes on */
    bool is_error, is_tray_open, is_locked;
    bool was_open;        /* what the tray was said to be last: loading changes is_tray_open */
    uint8_t events;
    uint32_t sector;
    unsigned next, end;   /* of the bytes in data that were not taken yet */
    Coroutine *waiter;    /* sleeps until nothing is in flight */
} CdRom;

/* ---- carrying out commands, in the main loop ------------------------------------------------- */

static void wake_waiter(CdRom *s)
{
    if (s->waiter) {
        aio_co_schedule(qemu_get_aio_context(), g_steal_pointer(&s->waiter));
    }
}

static void command_done(CdRom *s, int ret)
{
    BQL_GUARD();
    s->is_error = ret < 0 && !s->is_stale;
    s->end = s->command == COMMAND_READ && ret >= 0 && !s->is_stale ? SECTOR_SIZE : 0;
    s->next = 0;
    s->command = 0;
    s->is_stale = false;
    wake_waiter(s);
}

static void read_done(void *opaque, int ret)
{
    CdRom *s = opaque;
    BlockBackend *blk = s->conf.blk;

    if (ret < 0 && ret != -ENOMEDIUM) {
        BlockErrorAction action = blk_get_error_action(blk, true, -ret);

        BQL_GUARD();
        s->is_parked = action == BLOCK_ERROR_ACTION_STOP && !s->is_stale;
        blk_error_action(blk, action, true, -ret);
        if (s->is_parked) {
            wake_waiter(s);
            return;
        }
        ret = action == BLOCK_ERROR_ACTION_IGNORE ? 0 : ret;
    }
    command_done(s, ret);
}

static void start_read(CdRom *s)
{
    int64_t offset = (int64_t)s->sector * SECTOR_SIZE;
    int64_t length = blk_getlength(s->conf.blk);

    /* Without a medium the drive is asked whether one has come. */
    if (s->is_tray_open || !blk_bs(s->conf.blk) ||
        (blk_is_inserted(s->conf.blk) && offset > length - SECTOR_SIZE)) {
        command_done(s, -EIO);
        return;
    }
    blk_aio_preadv(s->conf.blk, offset, &s->qiov, 0, read_done, s);
}

/* A door that a drive of the host has is locked, too. */
static void set_locked(CdRom *s, bool locked)
{
    if (s->is_locked != locked) {
        s->is_locked = locked;
        blk_lock_medium(s->conf.blk, locked);
    }
}

static int move_tray(CdRom *s, bool open)
{
    if (!s->has_tray || (open && s->is_locked)) {
        return -EIO;
    }
    if (s->is_tray_open != open) {
        s->is_tray_open = s->was_open = open;
        s->events |= open ? 0 : EVENT_CHANGED;
        blk_eject(s->conf.blk, open);
    }
    return 0;
}

static void command_bh(void *opaque)
{
    CdRom *s = opaque;

    BQL_GUARD();
    switch (s->command) {
    case COMMAND_READ:
        start_read(s);
        break;
    case COMMAND_OPEN:
    case COMMAND_CLOSE:
        command_done(s, move_tray(s, s->command == COMMAND_OPEN));
        break;
    case COMMAND_LOCK:
    case COMMAND_UNLOCK:
        set_locked(s, s->command == COMMAND_LOCK);
        command_done(s, 0);
        break;
    default:
        command_done(s, -EINVAL);
        break;
    }
}

static void cdrom_run_state(void *opaque, bool is_running)
{
    CdRom *s = opaque;

    BQL_GUARD();
    if (is_running && s->is_parked) {
        s->is_parked = false;
        qemu_bh_schedule(s->bh);
    }
}

/* ---- registers ------------------------------------------------------------------------------- */

/* Sectors of the medium that can be read. */
static uint32_t n_sectors(const CdRom *s)
{
    int64_t length = s->is_tray_open ? 0 : blk_getlength(s->conf.blk);

    return MIN(MAX(length, 0) / SECTOR_SIZE, UINT32_MAX);
}

static uint8_t read_status(const CdRom *s)
{
    return (s->command ? STATUS_BUSY : 0) | (s->next < s->end ? STATUS_DATA : 0) |
           (s->is_error ? STATUS_ERROR : 0) |
           (n_sectors(s) ? STATUS_MEDIUM : 0) |
           (s->is_tray_open ? STATUS_TRAY_OPEN : 0) | (s->is_locked ? STATUS_LOCKED : 0);
}

static uint32_t read_data(CdRom *s)
{
    uint32_t value = s->next < s->end ? (uint32_t)ldl_le_p(s->data + s->next) : UINT32_MAX;

    s->next += s->next < s->end ? sizeof(value) : 0;
    return value;
}

static uint64_t cdrom_read(void *opaque, hwaddr offset, unsigned size)
{
    CdRom *s = opaque;
    uint8_t events;

    switch (offset) {
    case PORT_COMMAND:
        return read_status(s);
    case PORT_EVENTS:
        events = s->events;
        s->events = 0;
        return events;
    case PORT_SECTOR:
        return s->sector;
    case PORT_SECTORS:
        return n_sectors(s);
    case PORT_DATA:
        return size == sizeof(uint32_t) ? read_data(s) : UINT32_MAX;
    default:
        return UINT32_MAX;
    }
}

static void cdrom_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
    CdRom *s = opaque;

    /* A busy reader takes nothing. */
    if (s->command) {
        return;
    }
    if (offset == PORT_SECTOR && size == sizeof(uint32_t)) {
        s->sector = value;
    } else if (offset == PORT_COMMAND && (uint8_t)value) {
        s->command = value;
        s->next = s->end = 0;
        qemu_bh_schedule(s->bh);
    }
}

static const MemoryOps cdrom_ops = {.read = cdrom_read, .write = cdrom_write, .max_size = 4};

/* ---- the user and the tray ------------------------------------------------------------------- */

static void cdrom_change_media(void *opaque, bool load, Error **errp)
{
    CdRom *s = opaque;

    BQL_GUARD();
    s->is_tray_open = s->was_open = s->has_tray && !load;
    s->events |= load ? EVENT_CHANGED : 0;
}

static void cdrom_eject_request(void *opaque, bool force)
{
    CdRom *s = opaque;

    BQL_GUARD();
    s->events |= EVENT_EJECT;
    set_locked(s, s->is_locked && !force);
}

static bool cdrom_is_tray_open(void *opaque)
{
    CdRom *s = opaque;

    BQL_GUARD();
    return s->is_tray_open;
}

static bool cdrom_is_medium_locked(void *opaque)
{
    CdRom *s = opaque;

    BQL_GUARD();
    return s->is_locked;
}

static char *cdrom_get_path(void *opaque)
{
    CdRom *s = opaque;

    return device_backend_path(&s->dev);
}

static const BlockDevOps tray_ops = {
    .change_media_cb = cdrom_change_media,
    .eject_request_cb = cdrom_eject_request,
    .is_tray_open = cdrom_is_tray_open,
    .is_medium_locked = cdrom_is_medium_locked,
    .get_path = cdrom_get_path,
};

static const BlockDevOps slot_ops = {
    .change_media_cb = cdrom_change_media,
    .get_path = cdrom_get_path,
};

/* ---- life ------------------------------------------------------------------------------------ */

static bool coroutine_fn cdrom_realize(Device *dev, Error **errp)
{
    CdRom *s = (CdRom *)dev;

    if (!s->conf.blk) {
        error_setg(errp, "drive property not set");
        return false;
    }
    if (!block_conf_co_attach(&s->conf, dev, true, true, errp)) {
        return false;
    }
    s->region = isa_register_ports(dev, s->iobase, N_PORTS, &cdrom_ops, errp);
    if (!s->region) {
        block_conf_detach(&s->conf, dev);
        return false;
    }
    qemu_iovec_init_buf(&s->qiov, s->data, sizeof(s->data));
    s->bh = qemu_bh_new(command_bh, s);
    blk_set_dev_ops(s->conf.blk, s->has_tray ? &tray_ops : &slot_ops, s);
    runstate_add_listener(cdrom_run_state, s);
    return true;
}

static void coroutine_fn cdrom_unrealize(Device *dev)
{
    CdRom *s = (CdRom *)dev;

    runstate_del_listener(cdrom_run_state, s);
    qemu_bh_delete(s->bh);
    /* The host's door would stay locked when the drive is closed. */
    set_locked(s, false);
    blk_co_drain(s->conf.blk);
    memory_region_del(s->region);
    block_conf_detach(&s->conf, dev);
}

/* The tray stays as it is, as that of a real drive does. */
static void cdrom_reset(Device *dev)
{
    CdRom *s = (CdRom *)dev;

    s->is_stale = s->command && !s->is_parked;
    if (s->is_parked) {
        s->is_parked = false;
        s->command = 0;
    }
    s->is_error = false;
    set_locked(s, false);
    s->events = 0;
    s->sector = 0;
    s->next = s->end = 0;
}

/* ---- saving ---------------------------------------------------------------------------------- */

/* The CPU has stopped, so there is no other command after this one. */
static void coroutine_fn cdrom_settle(Device *dev)
{
    CdRom *s = (CdRom *)dev;

    while (s->command && !s->is_parked) {
        s->waiter = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
}

static bool cdrom_check(const void *staged, const void *current, Error **errp)
{
    const CdRom *s = staged;

    if (s->command != (s->is_parked ? COMMAND_READ : 0)) {
        error_setg(errp, "it is amid command %u", s->command);
        return false;
    }
    if (s->next > s->end || s->end > SECTOR_SIZE || (s->next | s->end) % sizeof(uint32_t)) {
        error_setg(errp, "bytes %u to %u of a sector cannot be left", s->next, s->end);
        return false;
    }
    if (!s->has_tray && s->is_tray_open) {
        error_setg(errp, "it has a tray, which this one has not");
        return false;
    }
    return true;
}

/* The host's door follows the guest's, whatever it was; its tray, which people see, stays. */
static void cdrom_post_load(void *opaque)
{
    CdRom *s = opaque;

    blk_lock_medium(s->conf.blk, s->is_locked);
    if (s->was_open != s->is_tray_open) {
        s->was_open = s->is_tray_open;
        blk_dev_tray_moved(s->conf.blk, s->is_tray_open);
    }
}

static const VmStateDescription cdrom_state = {
    .name = "cdrom",
    .version = 1,
    .size = sizeof(CdRom),
    .fields = (const VmField[]) {
        VM_ARRAY(CdRom, data),
        VM_FIELD(CdRom, command),
        VM_BOOL(CdRom, is_parked),
        VM_BOOL(CdRom, is_error),
        VM_BOOL(CdRom, is_tray_open),
        VM_BOOL(CdRom, is_locked),
        VM_FIELD(CdRom, events),
        VM_FIELD(CdRom, sector),
        VM_FIELD(CdRom, next),
        VM_FIELD(CdRom, end),
        {0},
    },
    .check = cdrom_check,
    .post_load = cdrom_post_load,
};

static const DeviceProperty cdrom_props[] = {
    BLOCK_CONF_PROPS(CdRom, conf),
    DEVICE_PROP("iobase", prop_kind_uint32, CdRom, iobase, "0x530", NULL),
    DEVICE_PROP("tray", prop_kind_bool, CdRom, has_tray, "on",
                "Whether the medium lies in a tray that can be locked"),
    {0},
};

const DeviceType isa_cdrom_type = {
    .name = "isa-cdrom",
    .description = "reader of removable media",
    .bus = ISA_BUS_TYPE_NAME,
    .category = DEVICE_CATEGORY_STORAGE,
    .user_creatable = true,
    .instance_size = sizeof(CdRom),
    .properties = (const DevicePropertyTable[]) {{NULL, cdrom_props}, {0}},
    .realize = cdrom_realize,
    .unrealize = cdrom_unrealize,
    .reset = cdrom_reset,
    .state = &cdrom_state,
    .co_settle = cdrom_settle,
};
