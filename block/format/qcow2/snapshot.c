/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal snapshots: the table that lists them, read and built.  What they share with the active
 * image is protected by its refcounts and by COPIED flags that are not set.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

#define FIXED_LEN 40
#define KNOWN_EXTRA_LEN 24
#define READ_CHUNK (64 * KiB)

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

/* ---- reading ------------------------------------------------------------------------------- */

/* A part of the table at a time: what entries claim to be long is skipped, not read. */
typedef struct TableReader {
    BlockDriverState *bs;
    GByteArray *buf;
    uint64_t start;       /* of buf, in the table */
    uint64_t pos;         /* the next entry */
    uint64_t kept;        /* bytes of the entries so far, without what is too much of them */
    bool tolerates;       /* opened to be checked: damage is noted for repair */
} TableReader;

/* The @n bytes at @at of the table; NULL with @errp set. */
static const uint8_t *coroutine_fn co_peek(TableReader *r, uint64_t at, size_t n, Error **errp)
{
    const Qcow2State *s = r->bs->opaque;
    int ret;

    if (at < r->start || at + n > r->start + r->buf->len) {
        r->start = at;
        g_byte_array_set_size(r->buf, MAX(n, READ_CHUNK));
        ret = bdrv_co_pread(r->bs->file, s->header.snapshots_offset + at, r->buf->len,
                            r->buf->data, 0);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Failed to read snapshot table");
            return NULL;
        }
    }
    return r->buf->data + (at - r->start);
}

static void parse_fixed(const Qcow2State *s, const uint8_t *buf, Qcow2Snapshot *sn)
{
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
}

static void parse_extra(const uint8_t *extra, size_t len, Qcow2Snapshot *sn)
{
    if (len >= 8) {
        sn->vm_state_size = ldq_be_p(extra);
    }
    if (len >= 16) {
        sn->disk_size = ldq_be_p(extra + 8);
    }
    if (len >= KNOWN_EXTRA_LEN) {
        sn->icount = ldq_be_p(extra + 16);
    }
    if (len > KNOWN_EXTRA_LEN) {
        sn->unknown_extra = g_bytes_new(extra + KNOWN_EXTRA_LEN, len - KNOWN_EXTRA_LEN);
    }
}

/* Entry @index, at ->pos. */
static bool coroutine_fn co_read_entry(TableReader *r, uint32_t index, Qcow2Snapshot *sn,
                                       Error **errp)
{
    const uint8_t *buf = co_peek(r, r->pos, FIXED_LEN, errp);
    size_t id_len, name_len, extra_len;
    uint64_t names;

    if (!buf) {
        return false;
    }
    parse_fixed(r->bs->opaque, buf, sn);
    id_len = lduw_be_p(buf + 12);
    name_len = lduw_be_p(buf + 14);
    if (sn->extra_len > QCOW2_MAX_SNAPSHOT_EXTRA && !r->tolerates) {
        error_setg(errp, "Too much extra metadata in snapshot table entry %" PRIu32, index);
        error_append_hint(errp, "You can force-remove this extra metadata with qemu-img check -r "
                          "all\n");
        return false;
    }
    extra_len = MIN(sn->extra_len, QCOW2_MAX_SNAPSHOT_EXTRA);
    buf = co_peek(r, r->pos + FIXED_LEN, extra_len, errp);
    if (!buf) {
        return false;
    }
    parse_extra(buf, extra_len, sn);
    names = r->pos + FIXED_LEN + sn->extra_len;
    buf = co_peek(r, names, id_len + name_len, errp);
    if (!buf) {
        g_clear_pointer(&sn->unknown_extra, g_bytes_unref);
        return false;
    }
    sn->id = g_strndup((const char *)buf, id_len);
    sn->name = g_strndup((const char *)buf + id_len, name_len);
    r->pos = QEMU_ALIGN_UP(names + id_len + name_len, 8);
    r->kept += QEMU_ALIGN_UP(FIXED_LEN + extra_len + id_len + name_len, 8);
    return true;
}

/* The entries from @index on do not fit into what a table may take. */
static bool too_big(TableReader *r, uint32_t index, Error **errp)
{
    Qcow2State *s = r->bs->opaque;

    s->snapshot_faults.nb_too_big = s->header.nb_snapshots -
                                    s->snapshot_faults.nb_overhanging - index;
    if (r->tolerates) {
        return true;
    }
    error_setg(errp, "Snapshot table is too big");
    error_append_hint(errp, "You can force-remove all %" PRIu32 " overhanging snapshots with "
                      "qemu-img check -r all\n", s->snapshot_faults.nb_too_big);
    return false;
}

static bool coroutine_fn co_read_all(TableReader *r, Error **errp)
{
    Qcow2State *s = r->bs->opaque;
    uint32_t n = MIN(s->header.nb_snapshots, QCOW2_MAX_SNAPSHOTS);

    s->snapshot_faults.nb_overhanging = s->header.nb_snapshots - n;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t before = r->pos;
        Qcow2Snapshot sn;

        if (!co_read_entry(r, i, &sn, errp)) {
            return false;
        }
        if (r->kept > QCOW2_MAX_SNAPSHOT_TABLE_BYTES) {
            snapshot_clear(&sn);
            r->pos = before;
            return too_big(r, i, errp);
        }
        if (sn.extra_len > QCOW2_MAX_SNAPSHOT_EXTRA && !s->snapshot_faults.nb_extra++) {
            s->snapshot_faults.first_extra = i;
        }
        g_array_append_val(s->snapshots, sn);
    }
    return true;
}

bool coroutine_fn qcow2_snapshots_co_read(BlockDriverState *bs, bool for_check, Error **errp)
{
    Qcow2State *s = bs->opaque;
    TableReader r = { .bs = bs, .buf = g_byte_array_new(), .tolerates = for_check };
    bool ok;

    s->snapshots = new_list();
    s->snapshot_faults = (Qcow2SnapshotFaults){ 0 };
    ok = co_read_all(&r, errp);
    s->snapshots_bytes = r.pos;
    g_byte_array_unref(r.buf);
    return ok;
}

/* ---- building ------------------------------------------------------------------------------ */

uint32_t qcow2_snapshot_extra_len(const Qcow2Snapshot *sn)
{
    return KNOWN_EXTRA_LEN + (sn->unknown_extra ? g_bytes_get_size(sn->unknown_extra) : 0);
}

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
    stl_be_p(head + 36, qcow2_snapshot_extra_len(sn));
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
