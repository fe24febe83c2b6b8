/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal snapshots: the table that lists them, read and built.  What they share with the active
 * image is protected by its refcounts and by COPIED flags that are not set.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

#define FIXED_LEN 40
#define KNOWN_EXTRA_LEN 24
#define READ_CHUNK (1 * MiB)

static void snapshot_clear(void *item)
{
    Qcow2Snapshot *sn = item;

    g_free(sn->id);
    g_free(sn->name);
    g_clear_pointer(&sn->unknown_extra, g_bytes_unref);
}

static GArray *new_list(void)
{
    GArray *snapshots = g_array_new(FALSE, FALSE, sizeof(Qcow2Snapshot));

    g_array_set_clear_func(snapshots, snapshot_clear);
    return snapshots;
}

GArray *qcow2_snapshots_copy(const GArray *snapshots)
{
    GArray *copy = new_list();

    for (guint i = 0; i < snapshots->len; i++) {
        Qcow2Snapshot sn = g_array_index(snapshots, Qcow2Snapshot, i);

        sn.id = g_strdup(sn.id);
        sn.name = g_strdup(sn.name);
        sn.unknown_extra = sn.unknown_extra ? g_bytes_ref(sn.unknown_extra) : NULL;
        g_array_append_val(copy, sn);
    }
    return copy;
}

void qcow2_snapshots_clear(Qcow2State *s)
{
    g_clear_pointer(&s->snapshots, g_array_unref);
}

bool qcow2_snapshot_l1_is_sane(const Qcow2State *s, const Qcow2Snapshot *sn)
{
    return (uint64_t)sn->l1_size * 8 <= QCOW2_MAX_L1_BYTES &&
           !qcow2_offset_in_cluster(s, sn->l1_offset) &&
           sn->l1_offset < QCOW2_MAX_HOST_OFFSET;
}

/*
 * One entry from the @len bytes at @buf.  Returns its padded length, or 0 with @errp set.
 */
static size_t parse_snapshot(const Qcow2State *s, const uint8_t *buf, size_t len,
                             Qcow2Snapshot *sn, Error **errp)
{
    size_t id_len, name_len, total;

    if (len < FIXED_LEN) {
        error_setg(errp, "Snapshot table is truncated");
        return 0;
    }
    *sn = (Qcow2Snapshot){
        .l1_offset = ldq_be_p(buf),
        .l1_size = ldl_be_p(buf + 8),
        .date_sec = ldl_be_p(buf + 16),
        .date_nsec = ldl_be_p(buf + 20),
        .vm_clock_nsec = ldq_be_p(buf + 24),
        .vm_state_size = (uint32_t)ldl_be_p(buf + 32),
        .disk_size = s->header.size,
        .icount = UINT64_MAX,
        .extra_len = ldl_be_p(buf + 36),
    };
    id_len = lduw_be_p(buf + 12);
    name_len = lduw_be_p(buf + 14);
    if (sn->extra_len > QCOW2_MAX_SNAPSHOT_EXTRA) {
        error_setg(errp, "Too much extra metadata in snapshot table entry");
        return 0;
    }
    total = FIXED_LEN + sn->extra_len + id_len + name_len;
    if (total > len) {
        error_setg(errp, "Snapshot table is truncated");
        return 0;
    }
    if (sn->extra_len >= 8) {
        sn->vm_state_size = ldq_be_p(buf + FIXED_LEN);
    }
    if (sn->extra_len >= 16) {
        sn->disk_size = ldq_be_p(buf + FIXED_LEN + 8);
    }
    if (sn->extra_len >= 24) {
        sn->icount = ldq_be_p(buf + FIXED_LEN + 16);
    }
    if (sn->extra_len > KNOWN_EXTRA_LEN) {
        sn->unknown_extra = g_bytes_new(buf + FIXED_LEN + KNOWN_EXTRA_LEN,
                                        sn->extra_len - KNOWN_EXTRA_LEN);
    }
    sn->id = g_strndup((const char *)buf + FIXED_LEN + sn->extra_len, id_len);
    sn->name = g_strndup((const char *)buf + FIXED_LEN + sn->extra_len + id_len, name_len);
    return QEMU_ALIGN_UP(total, 8);
}

/* More of the table into @buf; false if the limit is reached or reading fails. */
static bool coroutine_fn co_read_more(BlockDriverState *bs, GByteArray *buf, Error **errp)
{
    Qcow2State *s = bs->opaque;
    guint old = buf->len;
    int ret;

    if (old >= QCOW2_MAX_SNAPSHOT_TABLE_BYTES) {
        error_setg(errp, "Snapshot table is too large");
        return false;
    }
    g_byte_array_set_size(buf, old + READ_CHUNK);
    ret = bdrv_co_pread(bs->file, s->header.snapshots_offset + old, READ_CHUNK, buf->data + old, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to read snapshot table");
        return false;
    }
    return true;
}

bool coroutine_fn qcow2_snapshots_co_read(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;
    g_autoptr(GByteArray) buf = g_byte_array_new();
    /* The longest entry: lengths are 16 bits, extra data is limited. */
    size_t max_entry = FIXED_LEN + QCOW2_MAX_SNAPSHOT_EXTRA + 2 * UINT16_MAX;
    size_t pos = 0;

    s->snapshots = new_list();
    for (uint32_t i = 0; i < s->header.nb_snapshots; i++) {
        Qcow2Snapshot sn;
        size_t len;

        if (buf->len < pos + max_entry && !co_read_more(bs, buf, errp)) {
            return false;
        }
        len = parse_snapshot(s, buf->data + pos, buf->len - pos, &sn, errp);
        if (!len) {
            return false;
        }
        pos += len;
        g_array_append_val(s->snapshots, sn);
    }
    s->snapshots_bytes = pos;
    return true;
}

/* ---- building ------------------------------------------------------------------------------ */

static void build_one(GByteArray *table, const Qcow2Snapshot *sn)
{
    uint8_t head[FIXED_LEN + KNOWN_EXTRA_LEN] = { 0 };
    static const uint8_t zeroes[8];
    gsize more_len = 0;
    const uint8_t *more = sn->unknown_extra ? g_bytes_get_data(sn->unknown_extra, &more_len) : NULL;
    size_t id_len = strlen(sn->id), name_len = strlen(sn->name);

    stq_be_p(head, sn->l1_offset);
    stl_be_p(head + 8, sn->l1_size);
    stw_be_p(head + 12, id_len);
    stw_be_p(head + 14, name_len);
    stl_be_p(head + 16, sn->date_sec);
    stl_be_p(head + 20, sn->date_nsec);
    stq_be_p(head + 24, sn->vm_clock_nsec);
    stl_be_p(head + 32, sn->vm_state_size <= UINT32_MAX ? sn->vm_state_size : 0);
    stl_be_p(head + 36, KNOWN_EXTRA_LEN + more_len);
    stq_be_p(head + 40, sn->vm_state_size);
    stq_be_p(head + 48, sn->disk_size);
    stq_be_p(head + 56, sn->icount);
    g_byte_array_append(table, head, sizeof(head));
    if (more_len) {
        g_byte_array_append(table, more, more_len);
    }
    g_byte_array_append(table, (const uint8_t *)sn->id, id_len);
    g_byte_array_append(table, (const uint8_t *)sn->name, name_len);
    g_byte_array_append(table, zeroes, QEMU_ALIGN_UP(table->len, 8) - table->len);
}

GByteArray *qcow2_snapshots_build(const GArray *snapshots, Error **errp)
{
    g_autoptr(GByteArray) table = g_byte_array_new();

    for (guint i = 0; i < snapshots->len; i++) {
        build_one(table, &g_array_index(snapshots, Qcow2Snapshot, i));
        if (table->len > QCOW2_MAX_SNAPSHOT_TABLE_BYTES) {
            error_setg(errp, "The snapshot table would become too large");
            return NULL;
        }
    }
    return g_steal_pointer(&table);
}
