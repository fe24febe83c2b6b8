/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host_device: a block or character device of the host.  As file, but for its length, zeroes,
 * discard and resizing; zones are in zoned.c.
 *
 * The sg device of a SCSI disk, drive or tape takes commands and nothing else: it has no length,
 * and is neither read nor written.
 */
#include "qemu/osdep.h"

#include "file.h"

#include <linux/fs.h>
#include <scsi/scsi_ioctl.h>
#include <scsi/sg.h>
#include <sys/ioctl.h>

#include "qemu/atomic.h"
#include "qemu/hostfile.h"

/* ---- what a device is ------------------------------------------------------------------------ */

bool device_is_right_type(mode_t mode)
{
    return S_ISBLK(mode) || S_ISCHR(mode);
}

static int host_device_probe_device(const char *filename)
{
    struct stat st;

    return stat(filename, &st) == 0 && device_is_right_type(st.st_mode) ? 100 : 0;
}

static bool host_device_parse_filename(const char *filename, QDict *options, Error **errp)
{
    return file_strip_prefix("host_device:", filename, options);
}

bool file_is_sg(int fd)
{
    struct stat st;
    struct sg_scsi_id id;
    int version;

    return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
           ioctl(fd, SG_GET_VERSION_NUM, &version) == 0 && ioctl(fd, SG_GET_SCSI_ID, &id) == 0;
}

/* A device may be open for writing and still refuse it. */
int device_check(int fd, int flags, Error **errp)
{
    int is_read_only;

    if ((flags & O_ACCMODE) != O_RDONLY && ioctl(fd, BLKROGET, &is_read_only) == 0 &&
        is_read_only) {
        error_setg_errno(errp, EACCES, "The device is not writable");
        return -EACCES;
    }
    return 0;
}

int64_t device_length(int fd)
{
    int64_t len = lseek(fd, 0, SEEK_END);
    uint64_t bytes;

    if (len < 0) {
        int error = errno;

        return file_is_sg(fd) ? 0 : -error;
    }
    if (len == 0 && ioctl(fd, BLKGETSIZE64, &bytes) == 0) {
        return MIN(bytes, (uint64_t)BDRV_MAX_LENGTH);
    }
    return len;
}

/* ---- zeroes, discard ------------------------------------------------------------------------- */

static int device_ioctl(int fd, unsigned long request, int64_t offset, int64_t len)
{
    uint64_t range[2] = { offset, len };
    int ret;

    do {
        ret = ioctl(fd, request, range);
    } while (ret < 0 && errno == EINTR);
    if (ret == 0) {
        return 0;
    }
    return errno == EOPNOTSUPP || errno == ENOSYS || errno == ENOTTY || errno == ENODEV
               ? -ENOTSUP : -errno;
}

static int zero_out(int fd, int64_t offset, int64_t len)
{
    return device_ioctl(fd, BLKZEROOUT, offset, len);
}

static int discard(int fd, int64_t offset, int64_t len)
{
    return device_ioctl(fd, BLKDISCARD, offset, len);
}

/* Worker. */
int device_zero(void *opaque)
{
    FileRequest *req = opaque;
    FileState *s = req->s;

    if (req->may_unmap) {
        int ret = file_try_method(qemu_punch_hole, &s->no_punch, req);

        if (ret != -ENOTSUP && ret != -EINVAL && ret != -EBUSY) {
            return ret;
        }
    }
    /* It writes zeroes if the device has nothing better, and leaves the page cache as it was. */
    if (s->direct && !req->no_fallback) {
        return file_try_method(zero_out, &s->no_zero_range, req);
    }
    return -ENOTSUP;
}

/* Worker. */
int device_discard(void *opaque)
{
    FileRequest *req = opaque;

    return file_try_method(discard, &req->s->no_fallocate, req);
}

/* ---- size ------------------------------------------------------------------------------------ */

int coroutine_fn device_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                                    PreallocMode prealloc, unsigned flags, Error **errp)
{
    int64_t bytes = file_co_getlength(bs);

    if (prealloc != PREALLOC_MODE_OFF) {
        error_setg(errp, "Preallocation mode '%s' unsupported for this non-regular file",
                   PreallocMode_str(prealloc));
        return -ENOTSUP;
    }
    if (bytes < 0) {
        error_setg_errno(errp, -bytes, "Could not get the length of the device");
        return bytes;
    }
    if (offset != bytes && exact) {
        error_setg(errp, "Cannot resize device files");
        return -ENOTSUP;
    }
    if (offset > bytes) {
        error_setg(errp, "Cannot grow device files");
        return -EINVAL;
    }
    return 0;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static const FileKind device_kind = {
    .is_right_type = device_is_right_type,
    .wrong_type = "'host_device' driver requires '%s' to be either a character or block device",
    .check = device_check,
    .length = device_length,
    .zero = device_zero,
    .discard = device_discard,
};

static bool coroutine_fn host_device_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                             int flags, Error **errp)
{
    FileState *s = bs->opaque;

    if (!file_co_open_kind(bs, &device_kind, &options->u.host_device, errp)) {
        return false;
    }
    if (!file_zones_co_open(s, errp)) {
        file_co_close(bs);
        return false;
    }
    bs->sg = file_is_sg(s->fd);
    return true;
}

static void coroutine_fn host_device_co_close(BlockDriverState *bs)
{
    file_zones_free(bs->opaque);
    file_co_close(bs);
}

/* Where writes have an order they take the full path. */
static BdrvMapKind host_device_map(BlockDriverState *bs, bool is_write, int64_t offset,
                                   int64_t bytes, BdrvMapping *map)
{
    const FileState *s = bs->opaque;

    return bs->sg || (is_write && s->zones) ? BDRV_MAP_NONE
                                            : file_map(bs, is_write, offset, bytes, map);
}

/* How much a command of an sg device may move. */
static int64_t sg_max_transfer(int fd)
{
    int bytes;

    return ioctl(fd, BLKSECTGET, &bytes) == 0 && bytes >= BDRV_SECTOR_SIZE ? pow2floor(bytes) : 0;
}

static void host_device_refresh_limits(BlockDriverState *bs)
{
    const FileState *s = bs->opaque;

    file_refresh_limits(bs);
    file_zones_refresh_limits(s, &bs->bl);
    if (bs->sg) {
        bs->bl.max_transfer = sg_max_transfer(s->fd);
    }
}

/* ---- I/O: an sg device has none ---- */

static int coroutine_fn host_device_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                              QEMUIOVector *qiov, size_t qiov_offset,
                                              unsigned flags)
{
    return bs->sg ? -ENOTSUP : file_co_preadv(bs, offset, bytes, qiov, qiov_offset, flags);
}

static int coroutine_fn host_device_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                               QEMUIOVector *qiov, size_t qiov_offset,
                                               unsigned flags)
{
    return bs->sg ? -ENOTSUP
                  : file_zones_co_pwritev(bs, offset, bytes, qiov, qiov_offset, flags);
}

static int coroutine_fn host_device_co_flush_to_disk(BlockDriverState *bs)
{
    return bs->sg ? 0 : file_co_flush_to_disk(bs);
}

/* Zeroes are written in order as data; discarding is what resetting a zone is for. */
static int coroutine_fn host_device_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                                     int64_t bytes, unsigned flags)
{
    const FileState *s = bs->opaque;

    return s->zones || bs->sg ? -ENOTSUP : file_co_pwrite_zeroes(bs, offset, bytes, flags);
}

static int coroutine_fn host_device_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                                int64_t bytes)
{
    const FileState *s = bs->opaque;

    return s->zones || bs->sg ? -ENOTSUP : file_co_pdiscard(bs, offset, bytes);
}

typedef struct Ioctl {
    int fd;
    unsigned long request;
    void *arg;
} Ioctl;

/* Worker. */
static int ioctl_worker(void *opaque)
{
    const Ioctl *call = opaque;
    int ret;

    do {
        ret = ioctl(call->fd, call->request, call->arg);
    } while (ret < 0 && errno == EINTR);
    if (ret < 0) {
        return errno == ENOTTY ? -ENOTSUP : -errno;
    }
    return 0;
}

int coroutine_fn device_co_ioctl(BlockDriverState *bs, unsigned long request, void *arg)
{
    const FileState *s = bs->opaque;
    Ioctl call = { s->fd, request, arg };

    if (s->pr_manager && request == SG_IO && pr_manager_takes(arg)) {
        return pr_manager_co_execute(s->pr_manager, s->fd, arg);
    }
    return thread_pool_submit_co(ioctl_worker, &call);
}

/* ---- changes of who uses it, and how ---- */

static bool coroutine_fn host_device_co_check_perm(BlockDriverState *bs, BlockRights uses,
                                                   BlockRights shared, Error **errp)
{
    const FileState *s = bs->opaque;
    bool direct = s->reopening ? s->reopening->direct : s->direct;

    return (!(uses & BLK_PERM_WRITE) || file_zones_check_writes(s, direct, errp)) &&
           file_co_check_perm(bs, uses, shared, errp);
}

static void host_device_set_perm(BlockDriverState *bs, BlockRights uses, BlockRights shared)
{
    FileState *s = bs->opaque;

    if (!(s->locks.uses & BLK_PERM_WRITE)) {
        file_zones_forget(s);
    }
    file_set_perm(bs, uses, shared);
}

static bool coroutine_fn host_device_co_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    const FileState *s = state->bs->opaque;

    return (!(s->locks.uses & BLK_PERM_WRITE) ||
            file_zones_check_writes(s, state->flags & BDRV_O_NOCACHE, errp)) &&
           file_co_reopen_prepare(state, errp);
}

static bool coroutine_fn host_device_co_activate(BlockDriverState *bs, Error **errp)
{
    file_zones_forget(bs->opaque);
    return file_co_activate(bs, errp);
}

BlockDriver bdrv_host_device = {
    .format_name = "host_device",
    .protocol_name = "host_device",
    .options_type = BLOCKDEV_DRIVER_HOST_DEVICE,
    .bdrv_probe_device = host_device_probe_device,
    .bdrv_parse_filename = host_device_parse_filename,
    .bdrv_co_open = host_device_co_open,
    .bdrv_co_close = host_device_co_close,
    .bdrv_co_activate = host_device_co_activate,
    .bdrv_co_reopen_prepare = host_device_co_reopen_prepare,
    .bdrv_co_check_perm = host_device_co_check_perm,
    .bdrv_set_perm = host_device_set_perm,
    .bdrv_refresh_limits = host_device_refresh_limits,
    .bdrv_co_preadv = host_device_co_preadv,
    .bdrv_co_pwritev = host_device_co_pwritev,
    .bdrv_map = host_device_map,
    .bdrv_co_pwrite_zeroes = host_device_co_pwrite_zeroes,
    .bdrv_co_pdiscard = host_device_co_pdiscard,
    .bdrv_co_flush_to_disk = host_device_co_flush_to_disk,
    .bdrv_co_getlength = file_co_getlength,
    .bdrv_co_zone_report = file_zones_co_report,
    .bdrv_co_zone_mgmt = file_zones_co_mgmt,
    .bdrv_co_zone_append = file_zones_co_append,
    DEVICE_DRIVER,
};
