/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host_cdrom: a drive of the host whose medium comes and goes.
 *
 * The drive is asked by workers: it may take seconds to answer.  A medium that has come is noticed
 * by opening the device once more, which has the kernel look how large it is.
 */
#include "qemu/osdep.h"

#include "file.h"

#include <linux/cdrom.h>
#include <sys/ioctl.h>

#include "qemu/atomic.h"

/* ---- asking the drive ------------------------------------------------------------------------ */

typedef struct Look {
    int fd;
    bool was_there; /* a medium, when it was looked at before */
    bool is_there;
    int64_t length; /* bytes, 0 without a medium, or negative errno */
} Look;

/* Have the kernel read the size of the medium. */
static void revalidate(int fd)
{
    g_autofree char *self = g_strdup_printf("/proc/self/fd/%d", fd);
    int again = open(self, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    if (again >= 0) {
        close(again);
    }
}

static bool has_medium(int fd)
{
    int status = ioctl(fd, CDROM_DRIVE_STATUS, CDSL_CURRENT);

    /* What is no drive, or cannot tell, has what it has. */
    return status < 0 || status == CDS_NO_INFO || status == CDS_DISC_OK;
}

static int64_t cdrom_length(int fd)
{
    int64_t len = has_medium(fd) ? device_length(fd) : 0;

    return len == -ENOMEDIUM ? 0 : len;
}

/* Worker. */
static int look_worker(void *opaque)
{
    Look *look = opaque;

    look->is_there = has_medium(look->fd);
    if (look->is_there &&
        (!look->was_there || ioctl(look->fd, CDROM_MEDIA_CHANGED, CDSL_CURRENT) == 1)) {
        revalidate(look->fd);
    }
    look->length = look->is_there ? cdrom_length(look->fd) : 0;
    return 0;
}

static Look coroutine_fn co_look(BlockDriverState *bs)
{
    const FileState *s = bs->opaque;
    Look look = { .fd = s->fd, .was_there = !qatomic_read(&bs->no_medium) };

    thread_pool_submit_co(look_worker, &look);
    bdrv_note_medium(bs, look.is_there);
    return look;
}

static bool coroutine_fn host_cdrom_co_is_inserted(BlockDriverState *bs)
{
    return co_look(bs).is_there;
}

static int64_t coroutine_fn host_cdrom_co_getlength(BlockDriverState *bs)
{
    return co_look(bs).length;
}

/* ---- tray and door --------------------------------------------------------------------------- */

static int coroutine_fn co_move(BlockDriverState *bs, unsigned long request, bool arg)
{
    int ret = device_co_ioctl(bs, request, (void *)(uintptr_t)arg);

    return ret == -ENOSYS ? -ENOTSUP : ret;
}

static int coroutine_fn host_cdrom_co_eject(BlockDriverState *bs, bool eject)
{
    return co_move(bs, eject ? CDROMEJECT : CDROMCLOSETRAY, false);
}

static int coroutine_fn host_cdrom_co_lock_medium(BlockDriverState *bs, bool locked)
{
    return co_move(bs, CDROM_LOCKDOOR, locked);
}

/* ---- I/O ------------------------------------------------------------------------------------- */

/* After an error: perhaps the medium was taken out. */
static int coroutine_fn co_explain(BlockDriverState *bs, int ret)
{
    return ret >= 0 || co_look(bs).is_there ? ret : -ENOMEDIUM;
}

static int coroutine_fn host_cdrom_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                             QEMUIOVector *qiov, size_t qiov_offset,
                                             unsigned flags)
{
    return co_explain(bs, file_co_preadv(bs, offset, bytes, qiov, qiov_offset, flags));
}

static int coroutine_fn host_cdrom_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                              QEMUIOVector *qiov, size_t qiov_offset,
                                              unsigned flags)
{
    return co_explain(bs, file_co_pwritev(bs, offset, bytes, qiov, qiov_offset, flags));
}

/* ---- the driver ------------------------------------------------------------------------------ */

static const FileKind cdrom_kind = {
    .is_right_type = device_is_right_type,
    .wrong_type = "'host_cdrom' driver requires '%s' to be either a character or block device",
    .check = device_check,
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
    if (!file_co_open_kind(bs, &cdrom_kind, &options->u.host_cdrom, errp)) {
        return false;
    }
    co_look(bs);
    return true;
}

static void coroutine_fn host_cdrom_co_close(BlockDriverState *bs)
{
    bdrv_note_medium(bs, true); /* it is none of ours any more */
    file_co_close(bs);
}

BlockDriver bdrv_host_cdrom = {
    .format_name = "host_cdrom",
    .protocol_name = "host_cdrom",
    .options_type = BLOCKDEV_DRIVER_HOST_CDROM,
    .has_variable_length = true,
    .bdrv_probe_device = host_cdrom_probe_device,
    .bdrv_parse_filename = host_cdrom_parse_filename,
    .bdrv_co_open = host_cdrom_co_open,
    .bdrv_co_close = host_cdrom_co_close,
    .bdrv_co_activate = file_co_activate,
    .bdrv_co_reopen_prepare = file_co_reopen_prepare,
    .bdrv_co_check_perm = file_co_check_perm,
    .bdrv_set_perm = file_set_perm,
    .bdrv_refresh_limits = file_refresh_limits,
    .bdrv_co_preadv = host_cdrom_co_preadv,
    .bdrv_co_pwritev = host_cdrom_co_pwritev,
    .bdrv_co_pwrite_zeroes = file_co_pwrite_zeroes,
    .bdrv_co_pdiscard = file_co_pdiscard,
    .bdrv_co_flush_to_disk = file_co_flush_to_disk,
    .bdrv_co_getlength = host_cdrom_co_getlength,
    .bdrv_co_is_inserted = host_cdrom_co_is_inserted,
    .bdrv_co_eject = host_cdrom_co_eject,
    .bdrv_co_lock_medium = host_cdrom_co_lock_medium,
    DEVICE_DRIVER,
};
