/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host_device: a block or character device of the host.  As file, but for its length, zeroes,
 * discard and resizing; zones are in zoned.c.  SCSI passthrough (sg) is not supported.
 *
 * host_cdrom: a drive whose medium comes and goes, so its length is asked for anew, and opening it
 * does not wait for a medium.
 */
#include "qemu/osdep.h"

#include "file.h"

#include <linux/cdrom.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "qemu/atomic.h"
#include "qemu/hostfile.h"

/* ---- what a device is ------------------------------------------------------------------------ */

static bool is_device(mode_t mode)
{
    return S_ISBLK(mode) || S_ISCHR(mode);
}

static int host_device_probe_device(const char *filename)
{
    struct stat st;

    return stat(filename, &st) == 0 && is_device(st.st_mode) ? 100 : 0;
}

static bool host_device_parse_filename(const char *filename, QDict *options, Error **errp)
{
    return file_strip_prefix("host_device:", filename, options);
}

/* A device may be open for writing and still refuse it. */
static int check_device(int fd, int flags, Error **errp)
{
    int is_read_only;

    if ((flags & O_ACCMODE) != O_RDONLY && ioctl(fd, BLKROGET, &is_read_only) == 0 &&
        is_read_only) {
        error_setg_errno(errp, EACCES, "The device is not writable");
        return -EACCES;
    }
    return 0;
}

static int64_t device_length(int fd)
{
    int64_t len = lseek(fd, 0, SEEK_END);
    uint64_t bytes;

    if (len < 0) {
        return -errno;
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
static int device_zero(void *opaque)
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
static int device_discard(void *opaque)
{
    FileRequest *req = opaque;

    return file_try_method(discard, &req->s->no_fallocate, req);
}

/* ---- size ------------------------------------------------------------------------------------ */

static int coroutine_fn host_device_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
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
    .is_right_type = is_device,
    .wrong_type = "'host_device' driver requires '%s' to be either a character or block device",
    .check = check_device,
    .length = device_length,
    .zero = device_zero,
    .discard = device_discard,
};

/* A drive without a medium has no length, rather than none that could be told. */
static int64_t cdrom_length(int fd)
{
    int64_t len = device_length(fd);

    return len == -ENOMEDIUM ? 0 : len;
}

static const FileKind cdrom_kind = {
    .is_right_type = is_device,
    .wrong_type = "'host_cdrom' driver requires '%s' to be either a character or block device",
    .check = check_device,
    .length = cdrom_length,
    .zero = device_zero,
    .discard = device_discard,
};

/* Only a CD drive knows what is in its tray. */
static int host_cdrom_probe_device(const char *filename)
{
    int fd = open(filename, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    bool is_drive;

    if (fd < 0) {
        return 0;
    }
    is_drive = fstat(fd, &st) == 0 && S_ISBLK(st.st_mode) &&
               ioctl(fd, CDROM_DRIVE_STATUS, CDSL_CURRENT) >= 0;
    close(fd);
    return is_drive ? 200 : 0;
}

static bool host_cdrom_parse_filename(const char *filename, QDict *options, Error **errp)
{
    return file_strip_prefix("host_cdrom:", filename, options);
}

static bool coroutine_fn host_cdrom_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                            int flags, Error **errp)
{
    return file_co_open_kind(bs, &cdrom_kind, &options->u.host_cdrom, errp);
}

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

    return is_write && s->zones ? BDRV_MAP_NONE : file_map(bs, is_write, offset, bytes, map);
}

static void host_device_refresh_limits(BlockDriverState *bs)
{
    file_refresh_limits(bs);
    file_zones_refresh_limits(bs->opaque, &bs->bl);
}

/* Zeroes are written in order as data; discarding is what resetting a zone is for. */
static int coroutine_fn host_device_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                                     int64_t bytes, unsigned flags)
{
    const FileState *s = bs->opaque;

    return s->zones ? -ENOTSUP : file_co_pwrite_zeroes(bs, offset, bytes, flags);
}

static int coroutine_fn host_device_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                                int64_t bytes)
{
    const FileState *s = bs->opaque;

    return s->zones ? -ENOTSUP : file_co_pdiscard(bs, offset, bytes);
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

static const char *const host_device_strong_opts[] = { "filename", NULL };
static const char *const host_device_mutable_opts[] = {
    "aio", "aio-max-batch", "drop-cache", "x-check-cache-dropped", NULL
};

/* What both have in common. */
#define DEVICE_DRIVER \
    .instance_size = sizeof(FileState), \
    .is_protocol = true, \
    .strong_runtime_opts = host_device_strong_opts, \
    .mutable_opts = host_device_mutable_opts, \
    .bdrv_refresh_filename = file_refresh_filename, \
    .bdrv_reopen_commit = file_reopen_commit, \
    .bdrv_reopen_abort = file_reopen_abort, \
    .bdrv_abort_perm_update = file_abort_perm_update, \
    .bdrv_co_preadv = file_co_preadv, \
    .bdrv_submit = file_submit, \
    .bdrv_co_flush_to_disk = file_co_flush_to_disk, \
    .bdrv_co_truncate = host_device_co_truncate, \
    .bdrv_co_getlength = file_co_getlength, \
    .bdrv_co_get_allocated_file_size = file_co_allocated_size, \
    .bdrv_get_info = file_get_info, \
    .bdrv_get_specific_stats = file_get_specific_stats

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
    .bdrv_co_pwritev = file_zones_co_pwritev,
    .bdrv_map = host_device_map,
    .bdrv_co_pwrite_zeroes = host_device_co_pwrite_zeroes,
    .bdrv_co_pdiscard = host_device_co_pdiscard,
    .bdrv_co_zone_report = file_zones_co_report,
    .bdrv_co_zone_mgmt = file_zones_co_mgmt,
    .bdrv_co_zone_append = file_zones_co_append,
    DEVICE_DRIVER
};

BlockDriver bdrv_host_cdrom = {
    .format_name = "host_cdrom",
    .protocol_name = "host_cdrom",
    .options_type = BLOCKDEV_DRIVER_HOST_CDROM,
    .has_variable_length = true,
    .bdrv_probe_device = host_cdrom_probe_device,
    .bdrv_parse_filename = host_cdrom_parse_filename,
    .bdrv_co_open = host_cdrom_co_open,
    .bdrv_co_close = file_co_close,
    .bdrv_co_activate = file_co_activate,
    .bdrv_co_reopen_prepare = file_co_reopen_prepare,
    .bdrv_co_check_perm = file_co_check_perm,
    .bdrv_set_perm = file_set_perm,
    .bdrv_refresh_limits = file_refresh_limits,
    .bdrv_co_pwritev = file_co_pwritev,
    .bdrv_map = file_map,
    .bdrv_co_pwrite_zeroes = file_co_pwrite_zeroes,
    .bdrv_co_pdiscard = file_co_pdiscard,
    DEVICE_DRIVER
};
