/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What drives and devices of the host can do beside I/O: media that come and go, trays, commands
 * passed through.
 *
 * Whether there is a medium is asked for by a worker and remembered (bs->no_medium), since every
 * request looks at it: after an error, when a request is refused for the lack of one, and by
 * queries.
 */
#include "qemu/osdep.h"

#include "io.h"

#include <scsi/sg.h>

#include "block/dirty-bitmap.h"
#include "block/scsi.h"
#include "qemu/atomic.h"

/* ---- media ----------------------------------------------------------------------------------- */

static int n_absent; /* atomic: nodes without a medium, hardly ever any */

void bdrv_note_medium(BlockDriverState *bs, bool is_there)
{
    bool was_absent = qatomic_xchg(&bs->no_medium, !is_there);

    if (was_absent != !is_there) {
        qatomic_add(&n_absent, is_there ? -1 : 1);
    }
}

static BlockDriverState *below(const BlockDriverState *bs)
{
    return bs->file ? bs->file->bs : bdrv_filter_bs(bs);
}

bool bdrv_is_inserted(const BlockDriverState *bs)
{
    if (!bs->drv || likely(!qatomic_read(&n_absent))) {
        return bs->drv;
    }
    for (; bs; bs = below(bs)) {
        if (!bs->drv || qatomic_read(&bs->no_medium)) {
            return false;
        }
    }
    return true;
}

/* The drive at or below @bs, if its medium can be taken out; else NULL. */
static BlockDriverState *find_drive(BlockDriverState *bs)
{
    while (bs && bs->drv && !bs->drv->bdrv_co_is_inserted) {
        bs = below(bs);
    }
    return bs && bs->drv ? bs : NULL;
}

bool bdrv_has_drive(BlockDriverState *bs)
{
    return find_drive(bs);
}

bool coroutine_fn bdrv_co_refresh_medium(BlockDriverState *bs)
{
    BlockDriverState *drive = find_drive(bs);
    bool is_there;

    if (!drive) {
        return bs->drv;
    }
    is_there = drive->drv->bdrv_co_is_inserted(drive);
    bdrv_note_medium(drive, is_there);
    bdrv_co_refresh_length(bs);
    return is_there;
}

int coroutine_fn bdrv_co_eject(BlockDriverState *bs, bool eject)
{
    BlockDriverState *drive = find_drive(bs);
    int ret;

    if (!drive || !drive->drv->bdrv_co_eject) {
        return -ENOTSUP;
    }
    ret = drive->drv->bdrv_co_eject(drive, eject);
    bdrv_co_refresh_medium(bs);
    return ret;
}

int coroutine_fn bdrv_co_lock_medium(BlockDriverState *bs, bool locked)
{
    BlockDriverState *drive = find_drive(bs);

    return drive && drive->drv->bdrv_co_lock_medium
               ? drive->drv->bdrv_co_lock_medium(drive, locked) : -ENOTSUP;
}

/* ---- commands -------------------------------------------------------------------------------- */

/* Of the host's requests those that are meant for guests; others would go round the claims. */
static bool is_passed(unsigned long request)
{
    return request == SG_IO || request == SG_GET_VERSION_NUM || request == SG_GET_SCSI_ID ||
           request == SG_GET_TIMEOUT || request == SG_SET_TIMEOUT ||
           request == SG_GET_RESERVED_SIZE || request == SG_SET_RESERVED_SIZE;
}

static bool may_change_data(unsigned long request, const void *arg)
{
    const sg_io_hdr_t *header = arg;

    return request == SG_IO && !scsi_command_only_reads(header->cmdp, header->cmd_len);
}

typedef struct IoctlCall {
    unsigned long request;
    void *arg;
} IoctlCall;

static int64_t coroutine_fn co_deeper_ioctl(const BdrvDeepCall *call)
{
    const IoctlCall *ioctl = call->opaque;

    return bdrv_co_ioctl(call->child, ioctl->request, ioctl->arg);
}

int coroutine_fn bdrv_co_ioctl(BdrvChild *child, unsigned long request, void *arg)
{
    BlockDriverState *bs = child->bs;
    bool changes;
    int ret;

    if (unlikely(qemu_co_stack_is_low())) {
        BdrvDeepCall call = { .fn = co_deeper_ioctl, .child = child,
                              .opaque = &(IoctlCall){ request, arg } };

        return bdrv_co_deeper(&call);
    }
    if (!bs->drv) {
        return -ENOMEDIUM;
    }
    if (!bs->drv->bdrv_co_ioctl || !is_passed(request)) {
        return -ENOTSUP;
    }
    changes = may_change_data(request, arg);
    ret = changes ? bdrv_check_io(child, 0, 0, true) : 0;
    if (ret < 0) {
        return ret;
    }
    ret = bs->drv->bdrv_co_ioctl(bs, request, arg);
    if (changes) {
        /* Nobody here knows what it wrote, even if it failed. */
        qatomic_inc(&bs->write_gen);
        bdrv_set_dirty(bs, 0, qatomic_read(&bs->total_bytes));
    }
    return ret;
}
