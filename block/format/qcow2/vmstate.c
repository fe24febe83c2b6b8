/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of a machine: kept as guest data past the end of the disk, from the first L1 entry that
 * the disk does not reach.  A snapshot with a vm_state_size takes it.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

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
    return ret < 0 ? ret : qcow2_co_pwritev(bs, offset, qiov->size, qiov, 0, 0);
}

int coroutine_fn qcow2_co_load_vmstate(BlockDriverState *bs, QEMUIOVector *qiov, int64_t pos)
{
    int64_t offset = vm_offset(bs->opaque, pos, qiov->size);

    return offset < 0 ? offset : qcow2_co_preadv(bs, offset, qiov->size, qiov, 0, 0);
}
