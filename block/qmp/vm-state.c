/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine and its disks: saved to snapshots, and brought back.
 *
 * Saving: the machine rests, its state goes to one disk, and then all disks, frozen together, get
 * their snapshots.  Loading: the state is read and found good before anything changes; then the
 * disks go back, and the machine.  The control lock is held all the time.
 */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/freeze.h"
#include "block/graph.h"
#include "block/snapshot.h"
#include "block/vm-snapshot.h"
#include "qemu/memalign.h"
#include "qemu/timer.h"
#include "qmp-block.h"

/* ---- the machine's state in a disk ----------------------------------------------------------- */

static const VmSnapshotMachine *the_machine;

void vm_snapshot_set_machine(const VmSnapshotMachine *machine)
{
    the_machine = machine;
}

/* The disk among @disks that the state lies in: @vmstate, or (NULL) the first. */
static BlockDriverState *find_vmstate(const GPtrArray *disks, const char *vmstate, Error **errp)
{
    for (guint i = 0; i < disks->len; i++) {
        BlockDriverState *bs = disks->pdata[i];
        if (!vmstate || strcmp(vmstate, bdrv_get_node_name(bs)) == 0) {
            return bs;
        }
    }
    if (vmstate) {
        error_setg(errp, "vmstate block device '%s' does not exist", vmstate);
    } else {
        error_setg(errp, "no block device can store vmstate for snapshot");
    }
    return NULL;
}

/* Bytes on their way to or from a disk, a piece at a time. */
typedef struct StateStream {
    BlockDriverState *bs;
    const char *id;   /* of the snapshot that is read */
    Job *job;         /* that may be cancelled; or NULL */
    int64_t pos;      /* where buf lies */
    size_t len;       /* bytes in it */
    uint8_t *buf;     /* STATE_PIECE bytes */
} StateStream;

#define STATE_PIECE ((size_t)MiB)

static bool stream_init(StateStream *stream, BlockDriverState *bs, const char *id, Job *job,
                        Error **errp)
{
    *stream = (StateStream) {bs, id, job, 0, 0, qemu_try_memalign(4096, STATE_PIECE)};
    if (!stream->buf) {
        error_setg_errno(errp, ENOMEM, "Could not open VM state file");
    }
    return stream->buf;
}

static bool stream_is_cancelled(const StateStream *stream, Error **errp)
{
    if (stream->job && job_is_cancelled(stream->job)) {
        error_setg(errp, "The job was cancelled");
        return true;
    }
    return false;
}

static bool coroutine_fn stream_co_flush(StateStream *stream, Error **errp)
{
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, stream->buf, stream->len);
    int ret;

    if (!stream->len) {
        return true;
    }
    if (stream_is_cancelled(stream, errp)) {
        return false;
    }
    ret = bdrv_co_save_vmstate(stream->bs, &qiov, stream->pos);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the machine's state to '%s'",
                         bdrv_get_device_or_node_name(stream->bs));
        return false;
    }
    stream->pos += stream->len;
    stream->len = 0;
    return true;
}

static bool coroutine_fn stream_co_write(void *opaque, const void *buf, size_t len, Error **errp)
{
    StateStream *stream = opaque;
    const uint8_t *from = buf;

    while (len) {
        size_t n = MIN(len, STATE_PIECE - stream->len);

        memcpy(stream->buf + stream->len, from, n);
        stream->len += n;
        from += n;
        len -= n;
        if (stream->len == STATE_PIECE && !stream_co_flush(stream, errp)) {
            return false;
        }
    }
    return true;
}

/* Have the piece with @pos in the buffer. */
static bool coroutine_fn stream_co_fill(StateStream *stream, int64_t pos, Error **errp)
{
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, stream->buf, STATE_PIECE);
    int ret;

    if (stream->len && pos >= stream->pos && pos - stream->pos < (int64_t)stream->len) {
        return true;
    }
    if (stream_is_cancelled(stream, errp)) {
        return false;
    }
    stream->pos = QEMU_ALIGN_DOWN(pos, (int64_t)STATE_PIECE);
    stream->len = 0;
    ret = bdrv_co_snapshot_load_vmstate(stream->bs, stream->id, &qiov, stream->pos);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the machine's state from '%s'",
                         bdrv_get_device_or_node_name(stream->bs));
        return false;
    }
    stream->len = STATE_PIECE;
    return true;
}

static bool coroutine_fn stream_co_read(void *opaque, int64_t pos, void *buf, size_t len,
                                        Error **errp)
{
    StateStream *stream = opaque;
    uint8_t *to = buf;

    while (len) {
        size_t n;

        if (!stream_co_fill(stream, pos, errp)) {
            return false;
        }
        n = MIN(len, stream->len - (pos - stream->pos));
        memcpy(to, stream->buf + (pos - stream->pos), n);
        to += n;
        pos += n;
        len -= n;
    }
    return true;
}

/* ---- rest ------------------------------------------------------------------------------------ */

static bool machine_can_be_saved(Error **errp)
{
    if (!the_machine) {
        error_setg(errp, "There is no machine to be saved or loaded");
        return false;
    }
    return the_machine->can_save(errp);
}

/* What would refuse a snapshot in the end refuses it before the machine is stopped. */
static bool none_is_blocked(const GPtrArray *disks, BlockOpType op, Error **errp)
{
    for (guint i = 0; i < disks->len; i++) {
        if (bdrv_op_is_blocked(disks->pdata[i], op, errp)) {
            return false;
        }
    }
    return true;
}

/* All that devices use, also what gets no snapshot; devices neither come nor go meanwhile. */
static BdrvFreeze *hurry_devices(void)
{
    g_autoptr(GPtrArray) used = g_ptr_array_new();

    for (BlockBackend *blk = blk_all_next(NULL); blk; blk = blk_all_next(blk)) {
        if (blk_get_attached_dev(blk) && blk_bs(blk)) {
            g_ptr_array_add(used, blk_bs(blk));
        }
    }
    return bdrv_hurry((BlockDriverState *const *)used->pdata, used->len);
}

/*
 * Requests that a throttled disk or medium holds back go on at once, and so does what is on its way
 * there: until none is left.
 */
static void coroutine_fn co_bring_to_rest(bool is_load)
{
    g_autoptr(BdrvFreeze) hurry = NULL;

    the_machine->co_hold(is_load);
    hurry = hurry_devices();
    the_machine->co_settle();
}

/* ---- saving ---------------------------------------------------------------------------------- */

typedef struct Saving {
    const GPtrArray *disks;
    BlockDriverState *vmstate;
    Job *job;
    SnapshotInfo info; /* of the disk with the state; others have none */
} Saving;

static void set_time(SnapshotInfo *info)
{
    int64_t now_us = g_get_real_time(), vm_clock = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);

    info->date_sec = now_us / G_USEC_PER_SEC;
    info->date_nsec = now_us % G_USEC_PER_SEC * 1000;
    info->vm_clock_sec = vm_clock / NANOSECONDS_PER_SECOND;
    info->vm_clock_nsec = vm_clock % NANOSECONDS_PER_SECOND;
}

/* Returns the size of the state, or 0 with @errp set. */
static int64_t coroutine_fn co_write_state(const Saving *saving, Error **errp)
{
    StateStream stream;
    bool ok;

    if (bdrv_co_drop_vmstate(saving->vmstate) < 0) {
        error_setg(errp, "Could not free the state of an earlier machine in '%s'",
                   bdrv_get_device_or_node_name(saving->vmstate));
        return 0;
    }
    ok = stream_init(&stream, saving->vmstate, NULL, saving->job, errp) &&
         the_machine->co_save(stream_co_write, &stream, errp) && stream_co_flush(&stream, errp);
    qemu_vfree(stream.buf);
    return ok ? stream.pos : 0;
}

/* The snapshot that was made of @bs last: @name's newest. */
static char *newest_id(BlockDriverState *bs, const char *name)
{
    g_autoptr(SnapshotInfoList) list = bdrv_snapshot_list(bs);
    const char *id = NULL;

    for (SnapshotInfoList *entry = list; entry; entry = entry->next) {
        id = strcmp(entry->value->name, name) == 0 ? entry->value->id : id;
    }
    return g_strdup(id);
}

/* Delete a snapshot that was made a moment ago, after another one failed. */
static void coroutine_fn co_take_back(BlockDriverState *bs, const char *name)
{
    g_autofree char *id = newest_id(bs, name);
    Error *err = NULL;

    if (id && !bdrv_co_snapshot_delete(bs, id, &err)) {
        error_reportf_err(err, "Could not delete the unfinished snapshot '%s' on '%s': ", name,
                          bdrv_get_device_or_node_name(bs));
    }
}

static bool coroutine_fn co_make_one(const Saving *saving, BlockDriverState *bs, Error **errp)
{
    SnapshotInfo info = saving->info;

    info.vm_state_size = bs == saving->vmstate ? info.vm_state_size : 0;
    if (!bdrv_co_snapshot_create(bs, &info, errp)) {
        error_prepend(errp, "Could not create snapshot '%s' on '%s': ", info.name,
                      bdrv_get_device_or_node_name(bs));
        return false;
    }
    return true;
}

/* All of the same instant: jobs and exports may write, too. */
static bool coroutine_fn co_make_all(const Saving *saving, Error **errp)
{
    const GPtrArray *disks = saving->disks;
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze((BlockDriverState *const *)disks->pdata,
                                                  disks->len);

    for (guint i = 0; i < disks->len; i++) {
        if (!co_make_one(saving, disks->pdata[i], errp)) {
            while (i-- > 0) {
                co_take_back(disks->pdata[i], saving->info.name);
            }
            return false;
        }
    }
    return true;
}

/* Delete what savevm replaces: snapshots of that name but the newest, which is the new one. */
static bool coroutine_fn co_delete_older(BlockDriverState *bs, const char *tag, Error **errp)
{
    g_autoptr(SnapshotInfoList) list = bdrv_snapshot_list(bs);
    g_autofree char *newest = newest_id(bs, tag);

    for (SnapshotInfoList *entry = list; entry; entry = entry->next) {
        const SnapshotInfo *info = entry->value;

        if (strcmp(info->name, tag) == 0 && strcmp(info->id, newest) != 0 &&
            !bdrv_co_snapshot_delete(bs, info->id, errp)) {
            error_prepend(errp, "The snapshot was made, but the one it replaces is still on '%s': ",
                          bdrv_get_device_or_node_name(bs));
            return false;
        }
    }
    return true;
}

static bool coroutine_fn co_delete_replaced(const GPtrArray *disks, const char *tag, Error **errp)
{
    for (guint i = 0; i < disks->len; i++) {
        if (!co_delete_older(disks->pdata[i], tag, errp)) {
            return false;
        }
    }
    return true;
}

/* Two of a name on one disk would be mixed up with another disk's. */
static bool is_on_any(const GPtrArray *disks, const char *tag)
{
    for (guint i = 0; i < disks->len; i++) {
        g_autoptr(SnapshotInfo) info = bdrv_snapshot_find(disks->pdata[i], NULL, tag);

        if (info) {
            return true;
        }
    }
    return false;
}

static bool coroutine_fn co_save_at_rest(Saving *saving, Error **errp)
{
    set_time(&saving->info);
    saving->info.vm_state_size = co_write_state(saving, errp);
    if (saving->info.vm_state_size && co_make_all(saving, errp)) {
        return true;
    }
    bdrv_co_drop_vmstate(saving->vmstate); /* to free space; the next one does it otherwise */
    return false;
}

bool coroutine_fn vm_snapshot_co_save(const GPtrArray *disks, const char *tag, const char *vmstate,
                                      Job *job, Error **errp)
{
    Saving saving = {
        .disks = disks,
        .job = job,
        .info = { .id = (char *)"", .name = (char *)tag },
    };
    bool ok;

    if (!vm_disks_can_snapshot(disks, errp)) {
        return false;
    }
    /* savevm, which names no node for the state, may replace one. */
    if (vmstate && is_on_any(disks, tag)) {
        error_setg(errp, "Snapshot '%s' already exists in one or more devices", tag);
        return false;
    }
    saving.vmstate = find_vmstate(disks, vmstate, errp);
    if (!saving.vmstate || !machine_can_be_saved(errp) ||
        !none_is_blocked(disks, BLOCK_OP_TYPE_INTERNAL_SNAPSHOT, errp)) {
        return false;
    }
    co_bring_to_rest(false);
    ok = co_save_at_rest(&saving, errp);
    the_machine->release();
    return ok && (vmstate || co_delete_replaced(disks, tag, errp));
}

/* ---- loading --------------------------------------------------------------------------------- */

/* A name for what a disk was before, should another disk fail to go back. */
static char *undo_name(const char *tag)
{
    return g_strdup_printf("before-%s", tag);
}

/* Put disks [0, @n) back to what they were, by their newest snapshots called @undo. */
static void coroutine_fn co_undo(const GPtrArray *disks, guint n, const char *undo)
{
    for (guint i = 0; i < n; i++) {
        g_autofree char *id = newest_id(disks->pdata[i], undo);
        Error *err = NULL;

        if (!id) {
            error_setg(&err, "It is gone");
        } else {
            bdrv_co_snapshot_goto_with_users(disks->pdata[i], id, &err);
        }
        if (err) {
            error_reportf_err(err, "Disk '%s' cannot go back to snapshot '%s', as it was before: ",
                              bdrv_get_device_or_node_name(disks->pdata[i]), undo);
        }
    }
}

static bool coroutine_fn co_goto_one(BlockDriverState *bs, const char *tag, Error **errp)
{
    g_autoptr(SnapshotInfo) info = bdrv_snapshot_find(bs, NULL, tag);

    if (!info || !bdrv_co_snapshot_goto_with_users(bs, info->id, errp)) {
        error_prepend(errp, "Could not load snapshot '%s' on '%s': ", tag,
                      bdrv_get_device_or_node_name(bs));
        return false;
    }
    return true;
}

/*
 * All disks, or none.  Going back is atomic for one disk; with several, each but the last has a
 * snapshot of what it was until all are there.
 */
static bool coroutine_fn co_goto_all(const GPtrArray *disks, const char *tag, Error **errp)
{
    g_autofree char *undo = undo_name(tag);
    guint n_undo, n_done = 0;
    bool ok = true;

    for (n_undo = 0; ok && n_undo + 1 < disks->len; n_undo++) {
        ok = bdrv_co_snapshot_create_now(disks->pdata[n_undo], undo, errp);
        if (!ok) {
            error_prepend(errp, "Could not keep what '%s' is: ",
                          bdrv_get_device_or_node_name(disks->pdata[n_undo]));
            break;
        }
    }
    while (ok && n_done < disks->len) {
        ok = co_goto_one(disks->pdata[n_done], tag, errp);
        n_done += ok;
    }
    if (!ok) {
        co_undo(disks, n_done, undo);
    }
    for (guint i = 0; i < n_undo; i++) {
        co_take_back(disks->pdata[i], undo);
    }
    return ok;
}

/* The disk with the state: @vmstate, or (NULL) the first whose snapshot has one. */
static BlockDriverState *find_saved(const GPtrArray *disks, const char *tag, const char *vmstate,
                                    SnapshotInfo **info, Error **errp)
{
    BlockDriverState *bs = find_vmstate(disks, vmstate, errp);

    for (guint i = 0; bs && i < disks->len; i++) {
        g_autoptr(SnapshotInfo) found = bdrv_snapshot_find(disks->pdata[i], NULL, tag);

        if (found->vm_state_size && (!vmstate || disks->pdata[i] == bs)) {
            *info = g_steal_pointer(&found);
            return disks->pdata[i];
        }
    }
    if (bs) {
        error_setg(errp, "This is a disk-only snapshot");
        error_append_hint(errp, "Revert to it offline using qemu-img.\n");
    }
    return NULL;
}

static bool coroutine_fn co_load_at_rest(const GPtrArray *disks, const char *tag,
                                         BlockDriverState *vmstate, const SnapshotInfo *info,
                                         Job *job, Error **errp)
{
    VmSnapshotSaved *saved = NULL;
    StateStream stream;
    bool ok = false;

    if (stream_init(&stream, vmstate, info->id, job, errp)) {
        saved = the_machine->co_check(info->vm_state_size, stream_co_read, &stream, errp);
    }
    if (saved && co_goto_all(disks, tag, errp)) {
        stream.job = NULL; /* there is no way back now */
        ok = the_machine->co_load(saved, errp);
        bdrv_co_drop_vmstate(vmstate); /* the snapshot has it */
    }
    if (saved) {
        the_machine->saved_free(saved);
    }
    qemu_vfree(stream.buf);
    return ok;
}

bool coroutine_fn vm_snapshot_co_go_back(const GPtrArray *disks, const char *tag,
                                         const char *vmstate, Job *job, Error **errp)
{
    g_autoptr(SnapshotInfo) info = NULL;
    BlockDriverState *bs;
    bool ok;

    if (!vm_disks_can_snapshot(disks, errp)) {
        return false;
    }
    if (!vm_disks_have_snapshot(disks, tag)) {
        error_setg(errp, "Snapshot '%s' does not exist in one or more devices", tag);
        return false;
    }
    bs = find_saved(disks, tag, vmstate, &info, errp);
    if (!bs) {
        return false;
    }
    if (!machine_can_be_saved(errp) ||
        !none_is_blocked(disks, BLOCK_OP_TYPE_INTERNAL_SNAPSHOT, errp)) {
        return false;
    }
    co_bring_to_rest(true);
    ok = co_load_at_rest(disks, tag, bs, info, job, errp);
    the_machine->release();
    return ok;
}
