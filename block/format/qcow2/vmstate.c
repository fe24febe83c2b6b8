/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of a machine: kept as guest data past the end of the disk, from the first L1 entry that
 * the disk does not reach.  A snapshot with a vm_state_size takes it.
 */
#include "qemu/osdep.h"

#include "qcow2.h"
#include "qemu/bswap.h"

/* Offset of @pos in guest space, or a negative errno. */
static int64_t vm_offset(const Qcow2State *s, int64_t pos, int64_t bytes)
{
    uint64_t reach = UINT64_C(1) << (s->cluster_bits + s->l2_bits);
    uint64_t start = qcow2_vm_state_offset(s);
    uint64_t max = QCOW2_MAX_L1_BYTES / 8 * reach;

    if (start > max || (uint64_t)(pos + bytes) > max - start) {
        return -EFBIG;
    }
    return start + pos;
}

/* Whole sectors around a range, which encryption needs, and the range in them. */
typedef struct Sectors {
    int64_t offset, bytes;
    uint8_t *buf;
    QEMUIOVector qiov;
    size_t skip;
} Sectors;

static bool is_whole(const Qcow2State *s, int64_t offset, int64_t bytes)
{
    return !s->header.crypt_method || (offset | bytes) % CRYPTO_SECTOR_SIZE == 0;
}

static int coroutine_fn co_read_sectors(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        Sectors *all)
{
    all->offset = QEMU_ALIGN_DOWN(offset, (int64_t)CRYPTO_SECTOR_SIZE);
    all->bytes = QEMU_ALIGN_UP(offset + bytes, (int64_t)CRYPTO_SECTOR_SIZE) - all->offset;
    all->skip = offset - all->offset;
    all->buf = bdrv_try_blockalign(bs, all->bytes);
    if (!all->buf) {
        return -ENOMEM;
    }
    qemu_iovec_init_buf(&all->qiov, all->buf, all->bytes);
    return qcow2_co_preadv(bs, all->offset, all->bytes, &all->qiov, 0, 0);
}

static int coroutine_fn co_write(BlockDriverState *bs, int64_t offset, QEMUIOVector *qiov)
{
    Sectors all;
    int ret;

    if (is_whole(bs->opaque, offset, qiov->size)) {
        return qcow2_co_pwritev(bs, offset, qiov->size, qiov, 0, 0);
    }
    ret = co_read_sectors(bs, offset, qiov->size, &all);
    if (ret >= 0) {
        qemu_iovec_to_buf(qiov, 0, all.buf + all.skip, qiov->size);
        ret = qcow2_co_pwritev(bs, all.offset, all.bytes, &all.qiov, 0, 0);
    }
    qemu_vfree(all.buf);
    return ret;
}

int coroutine_fn qcow2_co_save_vmstate(BlockDriverState *bs, QEMUIOVector *qiov, int64_t pos)
{
    Qcow2State *s = bs->opaque;
    int64_t offset = vm_offset(s, pos, qiov->size);
    int ret;

    if (s->header.incompatible & QCOW2_INCOMPAT_DATA_FILE) {
        return -ENOTSUP;
    }
    if (offset < 0) {
        return offset;
    }
    ret = qcow2_co_before_change(bs);
    if (ret >= 0) {
        ret = qcow2_co_grow_l1(bs, offset + qiov->size);
    }
    return ret < 0 ? ret : co_write(bs, offset, qiov);
}

int coroutine_fn qcow2_co_load_vmstate(BlockDriverState *bs, QEMUIOVector *qiov, int64_t pos)
{
    int64_t offset = vm_offset(bs->opaque, pos, qiov->size);
    Sectors all;
    int ret;

    if (offset < 0) {
        return offset;
    }
    if (is_whole(bs->opaque, offset, qiov->size)) {
        return qcow2_co_preadv(bs, offset, qiov->size, qiov, 0, 0);
    }
    ret = co_read_sectors(bs, offset, qiov->size, &all);
    if (ret >= 0) {
        qemu_iovec_from_buf(qiov, 0, all.buf + all.skip, qiov->size);
    }
    qemu_vfree(all.buf);
    return ret;
}

/* ---- of a snapshot ------------------------------------------------------------------------- */

static const Qcow2Snapshot *find_snapshot(const Qcow2State *s, const char *id)
{
    for (guint i = 0; i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot, i);

        if (strcmp(sn->id, id) == 0) {
            return qcow2_snapshot_l1_is_sane(s, sn) ? sn : NULL;
        }
    }
    return NULL;
}

/* The L2 table of a snapshot that has @offset; 0: there is none. */
static int coroutine_fn co_find_table(BlockDriverState *bs, const Qcow2Snapshot *sn,
                                      int64_t offset, uint64_t *l2_offset)
{
    uint64_t index = qcow2_l1_index(bs->opaque, offset), entry = 0;
    int ret = 0;

    if (index < sn->l1_size) {
        ret = bdrv_co_pread(bs->file, sn->l1_offset + index * 8, 8, &entry, 0);
    }
    *l2_offset = be64_to_cpu(entry) & QCOW2_OFFSET_MASK;
    return ret;
}

/* The mapping of a prefix of a range by the snapshot's tables. */
static int coroutine_fn co_map_snapshot(BlockDriverState *bs, const Qcow2Snapshot *sn,
                                        int64_t offset, int64_t bytes, Qcow2Mapping *map)
{
    Qcow2State *s = bs->opaque;
    uint64_t l2_offset;
    int ret = co_find_table(bs, sn, offset, &l2_offset);

    if (ret < 0) {
        return ret;
    }
    CO_LOCK_GUARD(&s->lock);
    return qcow2_co_map_by_table(bs, l2_offset, offset, bytes, map);
}

/*
 * Tables of a snapshot do not change while it is there, so they can be read as they are.  What was
 * never written is zero: no backing file reaches here.
 */
int coroutine_fn qcow2_co_snapshot_load_vmstate(BlockDriverState *bs, const char *id,
                                                QEMUIOVector *qiov, int64_t pos)
{
    Qcow2State *s = bs->opaque;
    const Qcow2Snapshot *sn = find_snapshot(s, id);
    uint64_t reach = UINT64_C(1) << (s->cluster_bits + s->l2_bits);
    int64_t offset, left = qiov->size;

    if (!sn || sn->disk_size > BDRV_MAX_LENGTH / 4 || pos > BDRV_MAX_LENGTH / 4) {
        return -EINVAL;
    }
    offset = ROUND_UP(sn->disk_size, reach) + pos;
    while (left > 0) {
        size_t done = qiov->size - left;
        Qcow2Mapping map;
        int ret = co_map_snapshot(bs, sn, offset, left, &map);

        if (ret >= 0 && (map.kind == QCOW2_UNALLOCATED || map.kind == QCOW2_UNALLOCATED_RESERVED)) {
            qemu_iovec_memset(qiov, done, 0, map.bytes);
        } else if (ret >= 0) {
            ret = qcow2_co_read_mapped(bs, &map, offset, qiov, done);
        }
        if (ret < 0) {
            return ret;
        }
        offset += map.bytes;
        left -= map.bytes;
    }
    return 0;
}
