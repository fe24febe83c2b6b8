/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Life of a BlockBackend: names, root, permissions, the attached device.
 */
#include "qemu/osdep.h"

#include "backend-int.h"

#include "qapi/gen/block-core-events.h"
#include "qemu/atomic.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"

#define DEFAULT_MEM_ALIGN 4096

/* Every backend, in order of creation.  Main thread. */
static QTAILQ_HEAD(, BlockBackend) all_backends = QTAILQ_HEAD_INITIALIZER(all_backends);

static BlockBackend *from_gate(BdrvGate *gate)
{
    return container_of(gate, BlockBackend, gate);
}

/* ---- the gate's questions -------------------------------------------------------------------- */

static const char *describe(BlockBackend *blk)
{
    const char *id = blk->name ? blk->name : blk->dev_id;

    g_free(blk->description);
    if (id) {
        blk->description = g_strdup_printf("block device '%s'", id);
    } else if (blk->owner.description) {
        blk->description = g_strdup(blk->owner.description);
    } else {
        blk->description = g_strdup("an unnamed block device");
    }
    return blk->description;
}

static BdrvOwner gate_owner(BdrvGate *gate)
{
    BlockBackend *blk = from_gate(gate);
    bool is_device = blk->name || blk->dev_id;

    return (BdrvOwner){
        .kind = is_device ? BDRV_OWNER_DEVICE : blk->owner.kind,
        .key = blk->owner.key ? blk->owner.key : blk,
        .id = blk->name ? blk->name : blk->dev_id ? blk->dev_id : blk->owner.id,
        .description = describe(blk),
    };
}

static const char *gate_name(BdrvGate *gate)
{
    return from_gate(gate)->name;
}

static void gate_quiesce(BdrvGate *gate)
{
    BlockBackend *blk = from_gate(gate);

    if (blk->dev_ops && blk->dev_ops->drained_begin) {
        blk->dev_ops->drained_begin(blk->dev_opaque);
    }
}

static void gate_resume(BdrvGate *gate)
{
    BlockBackend *blk = from_gate(gate);

    if (blk->dev_ops && blk->dev_ops->drained_end) {
        blk->dev_ops->drained_end(blk->dev_opaque);
    }
}

static bool gate_busy(BdrvGate *gate)
{
    BlockBackend *blk = from_gate(gate);

    return blk->dev_ops && blk->dev_ops->drained_poll &&
           blk->dev_ops->drained_poll(blk->dev_opaque);
}

static int64_t look_at_length(BlockBackend *blk)
{
    int64_t length = blk_is_inserted(blk) ? bdrv_getlength(blk->root->bs) : -ENOMEDIUM;

    qatomic_set(&blk->length, length);
    return length;
}

static void gate_resized(BdrvGate *gate)
{
    BlockBackend *blk = from_gate(gate);

    look_at_length(blk);
    if (blk->dev_ops && blk->dev_ops->resize_cb) {
        blk->dev_ops->resize_cb(blk->dev_opaque);
    }
}

static void gate_media_changed(BdrvGate *gate, bool loaded)
{
    BlockBackend *blk = from_gate(gate);

    /* Where there is a tray, the guest learns of a medium when the tray closes. */
    if (!blk_dev_has_tray(blk) && blk->dev_ops && blk->dev_ops->change_media_cb) {
        blk->dev_ops->change_media_cb(blk->dev_opaque, loaded, NULL);
    }
}

static const BdrvGateOps blk_gate_ops = {
    .owner = gate_owner,
    .name = gate_name,
    .quiesce = gate_quiesce,
    .resume = gate_resume,
    .busy = gate_busy,
    .resized = gate_resized,
    .media_changed = gate_media_changed,
};

/* ---- life ------------------------------------------------------------------------------------ */

BlockBackend *blk_new(uint64_t perm, uint64_t shared)
{
    BlockBackend *blk = g_new0(BlockBackend, 1);

    blk->refcnt = 1;
    blk->perm = perm;
    blk->shared = shared;
    blk->owner.kind = BDRV_OWNER_USER;
    blk->write_cache = true;
    blk->ctx = qemu_get_aio_context();
    blk->on_read_error = BLOCKDEV_ON_ERROR_REPORT;
    blk->on_write_error = BLOCKDEV_ON_ERROR_ENOSPC;
    block_acct_init(&blk->stats, true, true);
    qemu_co_mutex_init(&blk->drive_lock);
    bdrv_gate_init(&blk->gate, &blk_gate_ops);
    QTAILQ_INSERT_TAIL(&all_backends, blk, next);
    return blk;
}

BlockBackend *blk_ref(BlockBackend *blk)
{
    assert(blk->refcnt > 0);
    blk->refcnt++;
    return blk;
}

static void free_owner(BlockBackend *blk)
{
    g_free((char *)blk->owner.id);
    g_free((char *)blk->owner.description);
}

static void blk_free(BlockBackend *blk)
{
    assert(!blk->root && !blk->dev);
    QTAILQ_REMOVE(&all_backends, blk, next);
    bdrv_gate_done(&blk->gate);
    block_acct_cleanup(&blk->stats);
    free_owner(blk);
    g_free(blk->description);
    g_free(blk->dev_id);
    g_free(blk->name);
    g_free(blk);
}

/* Detaching may yield (file locks): a coroutine of the main loop does it under the control lock. */
static void coroutine_fn co_detach_and_free(void *opaque)
{
    BlockBackend *blk = opaque;

    bdrv_co_control_lock();
    blk_co_remove_bs(blk);
    blk_free(blk);
    bdrv_co_control_unlock();
}

void coroutine_fn blk_co_unref(BlockBackend *blk)
{
    if (!blk) {
        return;
    }
    assert(blk->refcnt > 0);
    if (--blk->refcnt == 0) {
        blk_co_remove_bs(blk);
        blk_free(blk);
    }
}

void blk_unref(BlockBackend *blk)
{
    if (!blk) {
        return;
    }
    assert(blk->refcnt > 0);
    if (--blk->refcnt > 0) {
        return;
    }
    if (!blk->root) {
        blk_free(blk);
    } else {
        aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_create(co_detach_and_free, blk));
    }
}

/* ---- the root -------------------------------------------------------------------------------- */

bool coroutine_fn blk_co_insert_bs(BlockBackend *blk, BlockDriverState *bs, Error **errp)
{
    BdrvChildSpec spec = {
        .name = "root",
        .role = BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY,
        .gate = &blk->gate,
        .perm = blk->perm,
        .shared = blk->shared,
    };

    assert(!blk->root);
    blk->root = bdrv_co_attach_child(&spec, bdrv_ref(bs), errp);
    look_at_length(blk);
    return blk->root != NULL;
}

void coroutine_fn blk_co_remove_bs(BlockBackend *blk)
{
    BdrvChild *root = blk->root;

    if (root) {
        blk_co_drain(blk);
        blk->root = NULL;
        look_at_length(blk);
        bdrv_co_detach_child(root);
    }
}

BlockBackend *coroutine_fn blk_co_new_with_bs(BlockDriverState *bs, uint64_t perm, uint64_t shared,
                                              Error **errp)
{
    BlockBackend *blk = blk_new(perm, shared);

    if (!blk_co_insert_bs(blk, bs, errp)) {
        blk_unref(blk);
        return NULL;
    }
    return blk;
}

BlockBackend *coroutine_fn blk_co_new_open(const char *filename, const char *reference,
                                           QDict *options, int flags, Error **errp)
{
    g_autoptr(BlockDriverState) bs = bdrv_co_open(filename, reference, options, flags, errp);
    uint64_t perm = BLK_PERM_CONSISTENT_READ;

    if (!bs) {
        return NULL;
    }
    if (flags & BDRV_O_RDWR) {
        perm |= BLK_PERM_WRITE; /* and not only if the options happen to allow it */
    }
    /* A tool shares all: conflicts between processes are the file locks' business. */
    return blk_co_new_with_bs(bs, perm, BLK_PERM_ALL, errp);
}

BlockDriverState *blk_bs(const BlockBackend *blk)
{
    return blk->root ? blk->root->bs : NULL;
}

BdrvChild *blk_root(const BlockBackend *blk)
{
    return blk->root;
}

bool coroutine_fn blk_co_set_perm(BlockBackend *blk, uint64_t perm, uint64_t shared, Error **errp)
{
    if (blk->root && !bdrv_co_child_set_perm(blk->root, perm, shared, errp)) {
        return false;
    }
    blk->perm = perm;
    blk->shared = shared;
    return true;
}

void blk_get_perm(const BlockBackend *blk, uint64_t *perm, uint64_t *shared)
{
    *perm = blk->perm;
    *shared = blk->shared;
}

/* ---- names ----------------------------------------------------------------------------------- */

const char *blk_name(const BlockBackend *blk)
{
    return blk->name ? blk->name : "";
}

bool blk_set_name(BlockBackend *blk, const char *name, Error **errp)
{
    if (name && !id_wellformed(name)) {
        error_setg(errp, "Invalid device name");
        return false;
    }
    if (name && blk_by_name(name)) {
        error_setg(errp, "Device with id '%s' already exists", name);
        return false;
    }
    if (name && bdrv_find_node(name)) {
        error_setg(errp, "Device name '%s' conflicts with an existing node name", name);
        return false;
    }
    g_free(blk->name);
    blk->name = g_strdup(name);
    qatomic_set(&blk->accounts, true);
    return true;
}

BlockBackend *blk_by_name(const char *name)
{
    BlockBackend *blk;

    QTAILQ_FOREACH(blk, &all_backends, next) {
        if (blk->name && !strcmp(blk->name, name)) {
            return blk;
        }
    }
    return NULL;
}

BlockBackend *blk_all_next(BlockBackend *blk)
{
    return blk ? QTAILQ_NEXT(blk, next) : QTAILQ_FIRST(&all_backends);
}

BlockBackend *blk_next(BlockBackend *blk)
{
    do {
        blk = blk_all_next(blk);
    } while (blk && !blk->name);
    return blk;
}

void blk_set_owner(BlockBackend *blk, BdrvOwner owner)
{
    free_owner(blk);
    blk->owner = owner;
    blk->owner.id = g_strdup(owner.id);
    blk->owner.description = g_strdup(owner.description);
}

BlockDriverState *bdrv_lookup_bs(const char *device, const char *node_name, Error **errp)
{
    BlockBackend *blk = device ? blk_by_name(device) : NULL;
    BlockDriverState *bs;

    if (blk) {
        bs = blk_bs(blk);
        if (!bs) {
            error_setg(errp, "Device '%s' has no medium", device);
        }
        return bs ? bdrv_skip_implicit_filters(bs) : NULL;
    }
    bs = node_name ? bdrv_find_node(node_name) : NULL;
    if (!bs) {
        error_setg(errp, "Cannot find device='%s' nor node-name='%s'", device ? device : "",
                   node_name ? node_name : "");
    }
    return bs;
}

/* ---- the device ------------------------------------------------------------------------------ */

bool blk_attach_dev(BlockBackend *blk, void *dev, const char *id, Error **errp)
{
    if (blk->dev) {
        error_setg(errp, "Drive '%s' is already in use by another block device", blk_name(blk));
        return false;
    }
    blk_ref(blk);
    blk->dev = dev;
    blk->dev_id = g_strdup(id);
    qatomic_set(&blk->accounts, true);
    blk_iostatus_reset(blk);
    return true;
}

void blk_detach_dev(BlockBackend *blk, void *dev)
{
    assert(blk->dev == dev);
    blk->dev = NULL;
    g_clear_pointer(&blk->dev_id, g_free);
    blk->dev_ops = NULL;
    blk->dev_opaque = NULL;
    blk_unref(blk);
}

void *blk_get_attached_dev(const BlockBackend *blk)
{
    return blk->dev;
}

const char *blk_get_attached_dev_id(const BlockBackend *blk)
{
    return blk->dev_id ? blk->dev_id : "";
}

/* Is @path the device called @id, or the part of it that owns the disk? */
static bool is_path_of(const char *path, const char *id)
{
    const char *name;

    return strstart(path, "/machine/peripheral/", &name) && strstart(name, id, &name) &&
           (*name == '\0' || *name == '/');
}

BlockBackend *blk_by_qdev_id(const char *id, Error **errp)
{
    BlockBackend *blk;

    QTAILQ_FOREACH(blk, &all_backends, next) {
        if (blk->dev_id && *id && (!strcmp(blk->dev_id, id) || is_path_of(blk->dev_id, id))) {
            return blk;
        }
    }
    error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", id);
    return NULL;
}

void blk_set_dev_ops(BlockBackend *blk, const BlockDevOps *ops, void *opaque)
{
    blk->dev_ops = ops;
    blk->dev_opaque = opaque;
    /* A device that comes while the gate is frozen starts frozen. */
    if (ops && qatomic_read(&blk->gate.frozen) && ops->drained_begin) {
        ops->drained_begin(opaque);
    }
}

bool blk_dev_has_removable_media(const BlockBackend *blk)
{
    return !blk->dev || (blk->dev_ops && blk->dev_ops->change_media_cb);
}

bool blk_dev_has_tray(const BlockBackend *blk)
{
    return blk->dev_ops && blk->dev_ops->is_tray_open;
}

bool blk_dev_is_tray_open(const BlockBackend *blk)
{
    return blk_dev_has_tray(blk) && blk->dev_ops->is_tray_open(blk->dev_opaque);
}

bool blk_dev_is_medium_locked(const BlockBackend *blk)
{
    return blk->dev_ops && blk->dev_ops->is_medium_locked &&
           blk->dev_ops->is_medium_locked(blk->dev_opaque);
}

void blk_dev_eject_request(BlockBackend *blk, bool force)
{
    if (blk->dev_ops && blk->dev_ops->eject_request_cb) {
        blk->dev_ops->eject_request_cb(blk->dev_opaque, force);
    }
}

static bool change_media(BlockBackend *blk, bool load, Error **errp)
{
    Error *local_err = NULL;

    blk->dev_ops->change_media_cb(blk->dev_opaque, load, &local_err);
    if (local_err) {
        error_propagate(errp, local_err);
        return false;
    }
    return true;
}

void blk_dev_tray_moved(BlockBackend *blk, bool open)
{
    qapi_event_send_device_tray_moved(blk_name(blk), blk->dev_id ? blk->dev_id : "", open);
}

bool blk_dev_move_tray(BlockBackend *blk, bool open, Error **errp)
{
    assert(blk_dev_has_tray(blk));
    if (!change_media(blk, !open, errp)) {
        return false;
    }
    blk_dev_tray_moved(blk, open);
    return true;
}

bool blk_dev_change_medium(BlockBackend *blk, bool load, Error **errp)
{
    bool is_told = blk->dev_ops && blk->dev_ops->change_media_cb && !blk_dev_has_tray(blk);

    return !is_told || change_media(blk, load, errp);
}

void blk_set_aio_context(BlockBackend *blk, AioContext *ctx)
{
    blk->ctx = ctx;
}

/* ---- state ----------------------------------------------------------------------------------- */

bool blk_is_inserted(BlockBackend *blk)
{
    return blk->root && bdrv_is_inserted(blk->root->bs);
}

bool blk_is_available(BlockBackend *blk)
{
    bool tray_open = blk->dev_ops && blk->dev_ops->is_tray_open &&
                     blk->dev_ops->is_tray_open(blk->dev_opaque);

    return blk_is_inserted(blk) && !tray_open;
}

bool blk_supports_write_perm(BlockBackend *blk)
{
    return !blk->root || !bdrv_is_read_only(blk->root->bs);
}

/* Only the main thread changes a root, and while it does the gate is frozen. */
bool blk_look_begin(BlockBackend *blk)
{
    return qemu_in_main_thread() || bdrv_gate_try_enter(&blk->gate);
}

void blk_look_end(BlockBackend *blk)
{
    if (!qemu_in_main_thread()) {
        bdrv_gate_leave(&blk->gate);
    }
}

int64_t blk_getlength(BlockBackend *blk)
{
    int64_t length;

    if (!blk_look_begin(blk)) {
        return qatomic_read(&blk->length);
    }
    length = look_at_length(blk);
    blk_look_end(blk);
    return length;
}

int64_t coroutine_fn blk_co_getlength(BlockBackend *blk)
{
    return blk_is_inserted(blk) ? bdrv_co_getlength(blk->root->bs) : -ENOMEDIUM;
}

uint32_t blk_get_request_alignment(BlockBackend *blk)
{
    return blk->root ? blk->root->bs->bl.request_alignment : BDRV_SECTOR_SIZE;
}

uint64_t blk_get_max_transfer(BlockBackend *blk)
{
    int64_t max = blk->root ? blk->root->bs->bl.max_transfer : 0;

    return max ? MIN(max, BDRV_REQUEST_MAX_BYTES) : BDRV_REQUEST_MAX_BYTES;
}

BlockZoneLimits blk_get_zone_limits(BlockBackend *blk)
{
    return blk->root ? blk->root->bs->bl.zones : (BlockZoneLimits){ .model = BLK_Z_NONE };
}

bool blk_enable_write_cache(const BlockBackend *blk)
{
    return qatomic_read(&blk->write_cache);
}

void blk_set_enable_write_cache(BlockBackend *blk, bool wce)
{
    qatomic_set(&blk->write_cache, wce);
}

bool blk_get_allow_write_beyond_eof(const BlockBackend *blk)
{
    return qatomic_read(&blk->allow_write_beyond_eof);
}

void blk_set_allow_write_beyond_eof(BlockBackend *blk, bool allow)
{
    qatomic_set(&blk->allow_write_beyond_eof, allow);
}

BlockAcctStats *blk_get_stats(BlockBackend *blk)
{
    qatomic_set(&blk->accounts, true);
    return &blk->stats;
}

/* A guess may be wrong: data that is aligned too little goes through another buffer. */
static size_t mem_align(BlockBackend *blk)
{
    size_t align = DEFAULT_MEM_ALIGN;

    if (blk_look_begin(blk)) {
        align = blk->root ? bdrv_opt_mem_align(blk->root->bs) : align;
        blk_look_end(blk);
    }
    return align;
}

void *blk_try_blockalign(BlockBackend *blk, size_t size)
{
    return qemu_try_memalign(mem_align(blk), size ? size : 1);
}

void *blk_blockalign(BlockBackend *blk, size_t size)
{
    return qemu_memalign(mem_align(blk), size ? size : 1);
}
