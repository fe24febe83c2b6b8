/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal snapshots: creating, applying, deleting, looking into one.  Each change is one shadow
 * switch (R9, R15).
 */
#include "qemu/osdep.h"

#include "qemu/cutils.h"
#include "shadow.h"

/* ---- begin and end ------------------------------------------------------------------------- */

/*
 * Nothing cached is unwritten; wb_lock held.  Freed clusters that an older request may still use
 * go on waiting: they are counted, and nothing refers to them.
 */
static bool coroutine_fn co_settle(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;

    /* One round drops references, the next counts, the third writes these. */
    for (int round = 0; round < 3; round++) {
        int ret = qcow2_co_write_back_locked(bs);

        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not write back the metadata");
            return false;
        }
    }
    if (s->pending_frees->len) {
        error_setg(errp, "The image is in use");
        return false;
    }
    return true;
}

Qcow2Shadow *coroutine_fn qcow2_shadow_co_lock(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;
    int ret = qcow2_co_before_change(bs);
    bool settled;

    qemu_co_mutex_lock(&s->wb_lock);
    settled = ret >= 0 && co_settle(bs, errp);
    qemu_co_mutex_lock(&s->lock);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "The image cannot be changed");
    } else if (s->header.incompatible & QCOW2_INCOMPAT_DATA_FILE) {
        error_setg(errp, "Internal snapshots do not include an external data file");
    } else if (settled) {
        return qcow2_shadow_co_begin(bs, errp);
    }
    return NULL;
}

void coroutine_fn qcow2_shadow_co_unlock(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    qemu_co_mutex_unlock(&s->lock);
    qemu_co_mutex_unlock(&s->wb_lock);
}

static int find_by_id(const Qcow2State *s, const char *id, Error **errp)
{
    for (guint i = 0; i < s->snapshots->len; i++) {
        if (strcmp(g_array_index(s->snapshots, Qcow2Snapshot, i).id, id) == 0) {
            return i;
        }
    }
    error_setg(errp, "Can't find the snapshot");
    return -1;
}

bool coroutine_fn qcow2_shadow_co_put_list(Qcow2Shadow *sh, GArray *snapshots, Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    g_autoptr(GByteArray) table = qcow2_snapshots_build(snapshots, errp);
    int64_t offset = 0;

    if (!table) {
        return false;
    }
    sh->snapshots_bytes = table->len;
    if (snapshots->len) {
        g_byte_array_set_size(table, QEMU_ALIGN_UP(table->len, BDRV_SECTOR_SIZE));
        memset(table->data + sh->snapshots_bytes, 0, table->len - sh->snapshots_bytes);
        offset = qcow2_shadow_co_write_new(sh, table->data, table->len, errp);
    }
    if (offset < 0 ||
        !qcow2_shadow_co_retire(sh, s->header.snapshots_offset, s->snapshots_bytes, errp)) {
        return false;
    }
    for (guint i = 0; i < snapshots->len; i++) {
        Qcow2Snapshot *sn = &g_array_index(snapshots, Qcow2Snapshot, i);

        sn->extra_len = qcow2_snapshot_extra_len(sn);
    }
    sh->header.nb_snapshots = snapshots->len;
    sh->header.snapshots_offset = offset;
    sh->snapshots = g_array_ref(snapshots);
    return true;
}

uint64_t *coroutine_fn qcow2_snapshot_co_read_l1(BlockDriverState *bs, const Qcow2Snapshot *sn,
                                                 Error **errp)
{
    uint64_t *l1;
    int ret;

    if (!qcow2_snapshot_l1_is_sane(bs->opaque, sn)) {
        error_setg(errp, (uint64_t)sn->l1_size * 8 > QCOW2_MAX_L1_BYTES
                   ? "Snapshot L1 table too large" : "Snapshot L1 table offset invalid");
        return NULL;
    }
    l1 = qcow2_co_read_l1(bs, sn->l1_offset, sn->l1_size, &ret);
    if (!l1) {
        error_setg_errno(errp, -ret, "Could not read the L1 table of snapshot '%s'", sn->id);
    }
    return l1;
}

/* ---- create -------------------------------------------------------------------------------- */

/* The id after the highest that is a number; behind the highest of all comes the first free one. */
static char *new_id(const Qcow2State *s)
{
    uint64_t number = 0;

    for (guint i = 0; i < s->snapshots->len; i++) {
        const char *id = g_array_index(s->snapshots, Qcow2Snapshot, i).id;

        number = MAX(number, g_ascii_strtoull(id, NULL, 10));
    }
    while (true) {
        g_autofree char *id = g_strdup_printf("%" PRIu64, ++number);

        if (find_by_id(s, id, NULL) < 0) {
            return g_steal_pointer(&id);
        }
    }
}

/*
 * The active image and the snapshot share all tables; but the machine's state, if there is any,
 * goes to the snapshot alone.  @l1 becomes the snapshot's table.
 */
static bool coroutine_fn co_share_tree(Qcow2Shadow *sh, bool has_vm_state, uint64_t *l1,
                                       Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    uint32_t first_vm = qcow2_l1_index(s, qcow2_vm_state_offset(s));

    for (uint32_t i = 0; i < sh->l1_size; i++) {
        l1[i] = sh->l1[i] & QCOW2_OFFSET_MASK;
    }
    for (uint32_t i = first_vm; has_vm_state && i < sh->l1_size; i++) {
        sh->l1[i] = 0;
    }
    return qcow2_shadow_co_count_tree(sh, sh->l1, sh->l1_size, 1, errp) &&
           qcow2_shadow_co_fix_flags(sh, l1, errp);
}

static bool coroutine_fn co_create(Qcow2Shadow *sh, const SnapshotInfo *info, Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    g_autoptr(GArray) list = qcow2_snapshots_copy(s->snapshots);
    g_autofree uint64_t *l1 = g_try_new(uint64_t, MAX(sh->l1_size, 1));
    int64_t l1_offset;

    if (!l1) {
        error_setg(errp, "Not enough memory for an L1 table");
        return false;
    }
    if (!co_share_tree(sh, info->vm_state_size > 0, l1, errp)) {
        return false;
    }
    l1_offset = qcow2_shadow_co_write_l1(sh, l1, sh->l1_size, errp);
    if (l1_offset < 0) {
        return false;
    }
    Qcow2Snapshot sn = {
        .l1_offset = l1_offset,
        .l1_size = sh->l1_size,
        .id = new_id(s),
        .name = g_strdup(info->name),
        .date_sec = info->date_sec,
        .date_nsec = info->date_nsec,
        .vm_clock_nsec = info->vm_clock_sec * NANOSECONDS_PER_SECOND + info->vm_clock_nsec,
        .vm_state_size = info->vm_state_size,
        .disk_size = s->header.size,
        .icount = info->has_icount ? (uint64_t)info->icount : UINT64_MAX,
    };
    g_array_append_val(list, sn);
    return qcow2_shadow_co_put_list(sh, list, errp) && qcow2_shadow_co_commit(sh, errp);
}

bool coroutine_fn qcow2_co_snapshot_create(BlockDriverState *bs, const SnapshotInfo *info,
                                           Error **errp)
{
    Qcow2State *s = bs->opaque;
    bool ok = false;

    if (s->snapshots->len >= QCOW2_MAX_SNAPSHOTS) {
        error_setg(errp, "The image has %d snapshots, the most it can have", QCOW2_MAX_SNAPSHOTS);
        return false;
    }
    if (strlen(info->name) > UINT16_MAX) {
        error_setg(errp, "The name of the snapshot is too long");
        return false;
    }
    g_autoptr(Qcow2Shadow) sh = qcow2_shadow_co_lock(bs, errp);
    if (sh) {
        ok = co_create(sh, info, errp);
    }
    qcow2_shadow_co_unlock(bs);
    return ok;
}

/* ---- changes of one snapshot --------------------------------------------------------------- */

typedef bool coroutine_fn SnapshotChange(Qcow2Shadow *sh, guint index, Error **errp);

static bool coroutine_fn co_change(BlockDriverState *bs, const char *id, SnapshotChange *change,
                                   Error **errp)
{
    int index = find_by_id(bs->opaque, id, errp);
    bool ok = false;

    if (index < 0) {
        return false;
    }
    g_autoptr(Qcow2Shadow) sh = qcow2_shadow_co_lock(bs, errp);
    if (sh) {
        ok = change(sh, index, errp);
    }
    qcow2_shadow_co_unlock(bs);
    return ok;
}

/* ---- apply --------------------------------------------------------------------------------- */

static bool coroutine_fn co_goto(Qcow2Shadow *sh, guint index, Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot, index);
    uint64_t reach = UINT64_C(1) << (s->cluster_bits + s->l2_bits);
    uint64_t needed = DIV_ROUND_UP(sn->disk_size, reach);
    g_autofree uint64_t *l1 = qcow2_snapshot_co_read_l1(sh->bs, sn, errp);

    if (!l1) {
        return false;
    }
    if (sn->disk_size != s->header.size && s->header.version < 3) {
        error_setg(errp, "Can't resize a v2 image which has snapshots");
        return false;
    }
    if (sn->disk_size > BDRV_MAX_LENGTH || needed > QCOW2_MAX_L1_BYTES / 8) {
        error_setg(errp, "The disk size of the snapshot is too large");
        return false;
    }
    if (!qcow2_shadow_co_count_tree(sh, s->l1.entries, s->l1.size, -1, errp) ||
        !qcow2_shadow_co_count_tree(sh, l1, sn->l1_size, 1, errp)) {
        return false;
    }
    g_free(sh->l1);
    sh->l1_size = MAX(needed, sn->l1_size);
    sh->l1 = g_try_new0(uint64_t, MAX(sh->l1_size, 1));
    if (!sh->l1) {
        error_setg(errp, "Not enough memory for an L1 table");
        return false;
    }
    for (uint32_t i = 0; i < sn->l1_size; i++) {
        sh->l1[i] = l1[i] & QCOW2_OFFSET_MASK;
    }
    sh->header.size = sn->disk_size;
    return qcow2_shadow_co_fix_flags(sh, NULL, errp) && qcow2_shadow_co_commit(sh, errp);
}

bool coroutine_fn qcow2_co_snapshot_goto(BlockDriverState *bs, const char *id, Error **errp)
{
    return co_change(bs, id, co_goto, errp);
}

/* ---- delete -------------------------------------------------------------------------------- */

static bool coroutine_fn co_delete(Qcow2Shadow *sh, guint index, Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot, index);
    g_autoptr(GArray) list = qcow2_snapshots_copy(s->snapshots);
    g_autofree uint64_t *l1 = qcow2_snapshot_co_read_l1(sh->bs, sn, errp);

    g_array_remove_index(list, index);
    return l1 && qcow2_shadow_co_count_tree(sh, l1, sn->l1_size, -1, errp) &&
           qcow2_shadow_co_retire(sh, sn->l1_offset, (uint64_t)sn->l1_size * 8, errp) &&
           qcow2_shadow_co_fix_flags(sh, NULL, errp) && qcow2_shadow_co_put_list(sh, list, errp) &&
           qcow2_shadow_co_commit(sh, errp);
}

bool coroutine_fn qcow2_co_snapshot_delete(BlockDriverState *bs, const char *id, Error **errp)
{
    return co_change(bs, id, co_delete, errp);
}

/* ---- look into one ------------------------------------------------------------------------- */

/*
 * The L1 table in memory becomes the snapshot's; the disk keeps its present size.  The node is
 * read-only, so COPIED flags, which may be wrong in there, are of no interest.
 */
bool coroutine_fn qcow2_co_snapshot_load_tmp(BlockDriverState *bs, const char *id, Error **errp)
{
    Qcow2State *s = bs->opaque;
    int index = find_by_id(s, id, errp);
    const Qcow2Snapshot *sn;
    g_autofree uint64_t *entries = NULL, *l1 = NULL;
    uint32_t size;

    if (index < 0) {
        return false;
    }
    if (!bs->read_only) {
        error_setg(errp, "A snapshot can only be loaded for reading");
        return false;
    }
    sn = &g_array_index(s->snapshots, Qcow2Snapshot, index);
    l1 = qcow2_snapshot_co_read_l1(bs, sn, errp);
    if (!l1) {
        return false;
    }
    CO_LOCK_GUARD(&s->lock);
    size = MAX(sn->l1_size, s->l1.size);
    entries = g_try_new0(uint64_t, MAX(size, 1));
    if (!entries) {
        error_setg(errp, "Not enough memory for an L1 table");
        return false;
    }
    memcpy(entries, l1, (size_t)sn->l1_size * 8);
    g_free(s->l1.entries);
    s->l1 = (Qcow2Table){ g_steal_pointer(&entries), size, sn->l1_offset, 0, 0 };
    qcow2_caches_renew(s);
    return true;
}
