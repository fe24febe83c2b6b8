/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Creating image files on the host.
 */
#include "qemu/osdep.h"

#include "file.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

#include "qemu/cutils.h"
#include "qemu/hostfile.h"

static void set_nocow(int fd)
{
    int attr;

    /* File systems without it say so; nothing is lost then. */
    if (ioctl(fd, FS_IOC_GETFLAGS, &attr) == 0) {
        attr |= FS_NOCOW_FL;
        if (ioctl(fd, FS_IOC_SETFLAGS, &attr) < 0) {
            return;
        }
    }
}

static int set_extent_size(int fd, uint64_t hint)
{
    struct fsxattr attr;

    if (ioctl(fd, FS_IOC_FSGETXATTR, &attr) < 0) {
        return -errno;
    }
    attr.fsx_xflags |= FS_XFLAG_EXTSIZE;
    attr.fsx_extsize = hint;
    return ioctl(fd, FS_IOC_FSSETXATTR, &attr) < 0 ? -errno : 0;
}

#define DEFAULT_EXTENT_SIZE_HINT (1 * MiB)

/* @fd is locked: empty it and give it its size. */
static bool coroutine_fn co_fill_new(int fd, const BlockdevCreateOptionsFile *opts, Error **errp)
{
    uint64_t hint = opts->has_extent_size_hint ? opts->extent_size_hint : DEFAULT_EXTENT_SIZE_HINT;
    PreallocMode prealloc = opts->has_preallocation ? opts->preallocation : PREALLOC_MODE_OFF;
    int ret;

    if (file_co_truncate_fd(fd, 0, PREALLOC_MODE_OFF, errp) < 0) {
        error_prepend(errp, "Could not clear file: ");
        return false;
    }
    if (opts->has_nocow && opts->nocow) {
        set_nocow(fd);
    }
    ret = hint ? set_extent_size(fd, hint) : 0;
    if (ret < 0 && opts->has_extent_size_hint) {
        warn_report("Failed to set extent size hint: %s", strerror(-ret));
    }
    return file_co_truncate_fd(fd, opts->size, prealloc, errp) >= 0;
}

/* Open @filename, made if it is not there; *@is_new: it was made. */
static int open_for_create(const char *filename, bool *is_new, Error **errp)
{
    int fd = qemu_create(filename, O_RDWR | O_EXCL, 0644, NULL);

    *is_new = fd >= 0;
    return fd >= 0 ? fd : qemu_create(filename, O_RDWR, 0644, errp);
}

static bool coroutine_fn co_create_file(const BlockdevCreateOptionsFile *opts, Error **errp)
{
    FileLocks none = { 0 };
    FileLocks locks = { .uses = BLK_PERM_WRITE | BLK_PERM_RESIZE, .unshared = BLK_PERM_RESIZE };
    int fd;
    bool ok, is_new;

    if (opts->size > BDRV_MAX_LENGTH) {
        error_setg(errp, "Image size %" PRIu64 " is too large", opts->size);
        return false;
    }
    if (opts->has_preallocation && opts->preallocation == PREALLOC_MODE_METADATA) {
        error_setg(errp, "Unsupported preallocation mode: %s",
                   PreallocMode_str(opts->preallocation));
        return false;
    }
    fd = open_for_create(opts->filename, &is_new, errp);
    if (fd < 0) {
        return false;
    }
    ok = !qemu_has_ofd_lock() || file_locks_co_get(fd, &none, &locks, opts->filename, errp);
    if (ok) {
        ok = co_fill_new(fd, opts, errp);
    }
    if (!ok && is_new) {
        unlink(opts->filename); /* a failed create leaves nothing */
    }
    qemu_close(fd);
    return ok;
}

bool coroutine_fn file_co_create(const BlockdevCreateOptions *options, Error **errp)
{
    return co_create_file(&options->u.file, errp);
}

bool coroutine_fn file_co_create_opts(BlockDriver *drv, const char *filename, QemuOpts *opts,
                                      Error **errp)
{
    BlockdevCreateOptionsFile create = { 0 };
    g_autofree char *prealloc = NULL;
    Error *local_err = NULL;

    strstart(filename, "file:", &filename);
    prealloc = qemu_opt_get_del(opts, "preallocation");
    create.preallocation = qapi_enum_parse(&PreallocMode_lookup, prealloc, PREALLOC_MODE_OFF,
                                           &local_err);
    if (local_err) {
        error_propagate(errp, local_err);
        return false;
    }
    create.filename = (char *)filename;
    create.size = QEMU_ALIGN_UP(qemu_opt_get_size_del(opts, "size", 0), BDRV_SECTOR_SIZE);
    create.has_preallocation = true;
    create.has_nocow = true;
    create.nocow = qemu_opt_get_bool_del(opts, "nocow", false);
    create.has_extent_size_hint = qemu_opt_get(opts, "extent_size_hint") != NULL;
    create.extent_size_hint = qemu_opt_get_size_del(opts, "extent_size_hint", 0);
    return co_create_file(&create, errp);
}

QemuOptsList file_create_opts = {
    .name = "raw-create-opts",
    .desc = (const QemuOptDesc[]){
        { "size", QEMU_OPT_SIZE, "Virtual disk size", NULL },
        { "nocow", QEMU_OPT_BOOL, "Turn off copy-on-write (valid only on btrfs)", NULL },
        { "preallocation", QEMU_OPT_STRING,
          "Preallocation mode (allowed values: off, falloc, full)", NULL },
        { "extent_size_hint", QEMU_OPT_SIZE,
          "Extent size hint for the image file, 0 to disable", NULL },
        { .name = NULL },
    },
};
