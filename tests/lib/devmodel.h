/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices that this machine does not have, as models behind the calls that a program makes: a file
 * whose path ends with dev_match passes for a zoned disk, a CD drive or an sg device.  For one
 * program file: unit tests include it, devshim.c makes it a library to preload.
 *
 * A model lives in shared memory, so a test sees and changes what the device sees.  It keeps the
 * rules of the kernel and of null_blk; what is wrong gets the same errors.
 *
 * O_DIRECT is left out (the file system below need not have it), io_uring is missing (it would go
 * round the model).
 */
#ifndef TESTS_LIB_DEVMODEL_H
#define TESTS_LIB_DEVMODEL_H

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/blkzoned.h>
#include <linux/cdrom.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sched.h>
#include <scsi/scsi_ioctl.h>
#include <scsi/sg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#define DEV_MAX_ZONES 64
#define DEV_MAJOR 259
#define DEV_MINOR 4242

/* Of a zone; sectors of 512 bytes. */
typedef struct DevZone {
    uint64_t cap, wp;
    uint8_t type, cond;
    uint8_t pad[6];
} DevZone;

typedef struct DevModel {
    uint32_t kind; /* 'z'oned, 'c'd drive, 's'g, or 'b'lock device without more */
    /* Zoned: */
    uint32_t is_host_aware;
    uint32_t zone_sectors, n_zones;
    uint32_t max_open, max_active; /* 0: no limit */
    uint32_t granularity;          /* bytes */
    uint32_t max_append;           /* bytes */
    /* The n-th write from now does only its first half; the n-th change of state fails. */
    uint32_t tear_write, fail_mgmt, mgmt_errno;
    uint32_t n_mgmt, n_reports, n_writes; /* calls so far */
    /* CD drive: */
    uint32_t has_disc, is_tray_open, is_locked;
    uint32_t is_changed;   /* since the kernel was asked last */
    uint32_t drive_errno;  /* of moving the tray, locking and SG_IO; 0: it goes well */
    uint32_t known_bytes;  /* what the kernel thinks the disc has: found out by opening */
    uint32_t n_moves;
    /* sg: */
    uint32_t n_commands, n_transfers; /* SG_IO; reads and writes, which must not be */
    uint32_t pad;
    DevZone zone[DEV_MAX_ZONES];
} DevModel;

static DevModel *dev;
static const char *dev_match; /* NULL: nothing is a device */
static pthread_mutex_t dev_lock = PTHREAD_MUTEX_INITIALIZER;

#define DEV_REAL(name) \
    static __typeof__(name) *real_##name; \
    if (!real_##name) { \
        real_##name = (__typeof__(name) *)dlsym(RTLD_NEXT, #name); \
    }

static bool dev_is_path(const char *path)
{
    size_t len = strlen(path), n = dev_match ? strlen(dev_match) : 0;

    return n && len >= n && !strcmp(path + len - n, dev_match);
}

static bool dev_is_fd(int fd)
{
    char link[64], path[PATH_MAX];
    ssize_t len;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = dev_match ? readlink(link, path, sizeof(path) - 1) : -1;
    if (len < 0) {
        return false;
    }
    path[len] = '\0';
    return dev_is_path(path);
}

/* The device by whatever name. */
static bool dev_is_named(const char *path)
{
    int fd;

    return dev_is_path(path) ||
           (sscanf(path, "/proc/self/fd/%d", &fd) == 1 && dev_is_fd(fd));
}

/* ---- zones: the rules, under the lock -------------------------------------------------------- */

static bool dev_zone_is_open(const DevZone *z)
{
    return z->cond == BLK_ZONE_COND_IMP_OPEN || z->cond == BLK_ZONE_COND_EXP_OPEN;
}

static unsigned dev_count(bool closed_too)
{
    unsigned n = 0;

    for (unsigned i = 0; i < dev->n_zones; i++) {
        n += dev_zone_is_open(&dev->zone[i]) ||
             (closed_too && dev->zone[i].cond == BLK_ZONE_COND_CLOSED);
    }
    return n;
}

static uint64_t dev_zone_start(const DevZone *z)
{
    return (uint64_t)(z - dev->zone) * dev->zone_sectors;
}

static void dev_close_zone(DevZone *z)
{
    z->cond = z->wp == dev_zone_start(z) ? BLK_ZONE_COND_EMPTY : BLK_ZONE_COND_CLOSED;
}

/* Room for one more open zone; a zone that a write opened is closed for it.  0 or errno. */
static int dev_make_room(const DevZone *z)
{
    if (z->cond == BLK_ZONE_COND_EMPTY && dev->max_active && dev_count(true) >= dev->max_active) {
        return EOVERFLOW;
    }
    for (unsigned i = 0; dev->max_open && dev_count(false) >= dev->max_open; i++) {
        if (i == dev->n_zones) {
            return ETOOMANYREFS;
        }
        if (dev->zone[i].cond == BLK_ZONE_COND_IMP_OPEN) {
            dev_close_zone(&dev->zone[i]);
        }
    }
    return 0;
}

/* A write of this many bytes arrives; 0 or errno. */
static int dev_before_write(uint64_t offset, uint64_t bytes)
{
    DevZone *z = &dev->zone[offset / 512 / dev->zone_sectors];
    int error;

    dev->n_writes++;
    if (offset / 512 / dev->zone_sectors >= dev->n_zones || offset % 512 || bytes % 512) {
        return EINVAL;
    }
    if (z->type != BLK_ZONE_TYPE_SEQWRITE_REQ) {
        return z->cond == BLK_ZONE_COND_READONLY || z->cond == BLK_ZONE_COND_OFFLINE ? EIO : 0;
    }
    if (z->cond == BLK_ZONE_COND_FULL || z->cond == BLK_ZONE_COND_READONLY ||
        z->cond == BLK_ZONE_COND_OFFLINE || offset / 512 != z->wp ||
        (offset + bytes) / 512 > dev_zone_start(z) + z->cap || bytes % dev->granularity) {
        return EIO;
    }
    if (!dev_zone_is_open(z)) {
        error = dev_make_room(z);
        if (error) {
            return error;
        }
        z->cond = BLK_ZONE_COND_IMP_OPEN;
    }
    return 0;
}

static void dev_after_write(uint64_t offset, uint64_t bytes)
{
    DevZone *z = &dev->zone[offset / 512 / dev->zone_sectors];

    if (z->type == BLK_ZONE_TYPE_CONVENTIONAL) {
        return;
    }
    z->wp = MAX(z->wp, (offset + bytes) / 512);
    if (z->wp == dev_zone_start(z) + z->cap) {
        z->cond = BLK_ZONE_COND_FULL;
        z->wp = dev_zone_start(z) + dev->zone_sectors;
    }
}

static int dev_open_zone(DevZone *z)
{
    int error = z->cond == BLK_ZONE_COND_FULL ? EIO : 0;

    if (!error && !dev_zone_is_open(z)) {
        error = dev_make_room(z);
    }
    z->cond = error ? z->cond : BLK_ZONE_COND_EXP_OPEN;
    return error;
}

static int dev_finish_zone(DevZone *z)
{
    int error = z->cond == BLK_ZONE_COND_EMPTY ? dev_make_room(z) : 0;

    if (!error) {
        z->cond = BLK_ZONE_COND_FULL;
        z->wp = dev_zone_start(z) + dev->zone_sectors;
    }
    return error;
}

static int dev_reset_zone(int fd, DevZone *z)
{
    DEV_REAL(fallocate64)
    if (real_fallocate64(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, dev_zone_start(z) * 512,
                         dev->zone_sectors * 512) < 0) {
        return errno;
    }
    z->wp = dev_zone_start(z);
    z->cond = BLK_ZONE_COND_EMPTY;
    return 0;
}

/* What a change of state does to one zone; 0 or errno. */
static int dev_change_zone(int fd, unsigned long request, DevZone *z)
{
    if (z->type == BLK_ZONE_TYPE_CONVENTIONAL || z->cond == BLK_ZONE_COND_READONLY ||
        z->cond == BLK_ZONE_COND_OFFLINE) {
        return EIO;
    }
    switch (request) {
    case BLKOPENZONE:
        return dev_open_zone(z);
    case BLKCLOSEZONE:
        if (dev_zone_is_open(z)) {
            dev_close_zone(z);
            return 0;
        }
        return z->cond == BLK_ZONE_COND_CLOSED ? 0 : EIO;
    case BLKFINISHZONE:
        return dev_finish_zone(z);
    default:
        return dev_reset_zone(fd, z);
    }
}

static int dev_change(int fd, unsigned long request, const struct blk_zone_range *range)
{
    uint64_t total = (uint64_t)dev->n_zones * dev->zone_sectors;
    unsigned first = range->sector / dev->zone_sectors;
    bool all = request == BLKRESETZONE && !range->sector && range->nr_sectors == total;

    dev->n_mgmt++;
    if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY) {
        return EBADF;
    }
    if (!range->nr_sectors || range->sector % dev->zone_sectors ||
        range->nr_sectors % dev->zone_sectors || range->sector + range->nr_sectors > total) {
        return EINVAL;
    }
    for (unsigned i = first; i < first + range->nr_sectors / dev->zone_sectors; i++) {
        int error = dev->fail_mgmt && --dev->fail_mgmt == 0
                        ? (int)dev->mgmt_errno : dev_change_zone(fd, request, &dev->zone[i]);

        if (error && !(all && dev->zone[i].type == BLK_ZONE_TYPE_CONVENTIONAL)) {
            return error;
        }
    }
    return 0;
}

static int dev_report(struct blk_zone_report *report)
{
    unsigned wanted = report->nr_zones, first = report->sector / dev->zone_sectors;

    dev->n_reports++;
    report->flags = BLK_ZONE_REP_CAPACITY;
    report->nr_zones = 0;
    for (unsigned i = first; i < dev->n_zones && report->nr_zones < wanted; i++) {
        const DevZone *z = &dev->zone[i];

        report->zones[report->nr_zones++] = (struct blk_zone){
            .start = dev_zone_start(z), .len = dev->zone_sectors, .capacity = z->cap,
            .wp = z->type == BLK_ZONE_TYPE_CONVENTIONAL ? UINT64_MAX : z->wp,
            .type = z->type, .cond = z->cond,
        };
    }
    return 0;
}

static inline void dev_make_zoned(DevModel *model, unsigned n_zones, unsigned n_conventional,
                                  unsigned zone_sectors, unsigned cap)
{
    memset(model, 0, sizeof(*model));
    model->kind = 'z';
    model->zone_sectors = zone_sectors;
    model->n_zones = n_zones;
    model->granularity = 512;
    for (unsigned i = 0; i < n_zones; i++) {
        bool is_conv = i < n_conventional;

        model->zone[i] = (DevZone){
            .cap = is_conv ? zone_sectors : cap,
            .wp = (uint64_t)i * zone_sectors,
            .type = is_conv ? BLK_ZONE_TYPE_CONVENTIONAL : BLK_ZONE_TYPE_SEQWRITE_REQ,
            .cond = is_conv ? BLK_ZONE_COND_NOT_WP : BLK_ZONE_COND_EMPTY,
        };
    }
}

/* ---- drives ---------------------------------------------------------------------------------- */

static int dev_drive_status(void)
{
    return dev->is_tray_open ? CDS_TRAY_OPEN : dev->has_disc ? CDS_DISC_OK : CDS_NO_DISC;
}

/* 0 or errno; *@value: what the call returns then. */
static int dev_drive_ioctl(unsigned long request, unsigned long arg, int *value)
{
    bool moves = request == CDROMEJECT || request == CDROMCLOSETRAY || request == CDROM_LOCKDOOR;

    __atomic_fetch_add(&dev->n_moves, moves, __ATOMIC_RELAXED);
    if (moves && dev->drive_errno) {
        return dev->drive_errno;
    }
    switch (request) {
    case CDROM_DRIVE_STATUS:
        *value = dev_drive_status();
        return 0;
    case CDROM_MEDIA_CHANGED:
        *value = dev->is_changed;
        dev->is_changed = false;
        return 0;
    case CDROMEJECT:
        if (dev->is_locked) {
            return EBUSY;
        }
        dev->is_tray_open = true;
        return 0;
    case CDROMCLOSETRAY:
        dev->is_tray_open = false;
        return 0;
    case CDROM_LOCKDOOR:
        dev->is_locked = arg;
        return 0;
    case BLKROGET:
        *(int *)arg = 1;
        return 0;
    default:
        return ENOTTY;
    }
}

/* ---- commands: an INQUIRY and writes are answered, the rest gets sense data ------------------ */

static int dev_command(sg_io_hdr_t *header)
{
    static const uint8_t answer[36] = { 0, 0, 5, 2, 31, 0, 0, 0, 'T', 'E', 'S', 'T' };
    static const uint8_t sense[18] = { 0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20 };

    dev->n_commands++;
    if (header->interface_id != 'S') {
        return ENOSYS;
    }
    if (dev->drive_errno) {
        return dev->drive_errno;
    }
    header->status = header->host_status = header->driver_status = header->sb_len_wr = 0;
    header->resid = 0;
    if (header->cmdp[0] == 0x12) {
        unsigned n = MIN(header->dxfer_len, sizeof(answer));

        memcpy(header->dxferp, answer, n);
        header->resid = header->dxfer_len - n;
    } else if (header->cmdp[0] != 0x2a) {
        header->status = 2;
        header->sb_len_wr = MIN(header->mx_sb_len, sizeof(sense));
        memcpy(header->sbp, sense, header->sb_len_wr);
    }
    return 0;
}

static int dev_sg_ioctl(unsigned long request, void *arg)
{
    switch (request) {
    case SG_GET_VERSION_NUM:
        *(int *)arg = 30536;
        return 0;
    case SG_GET_SCSI_ID:
        *(struct sg_scsi_id *)arg = (struct sg_scsi_id){ .lun = 1 };
        return 0;
    case BLKSECTGET:
        *(int *)arg = 500 * 1024;
        return 0;
    case SG_IO:
        return dev_command(arg);
    default:
        return ENOTTY;
    }
}

/* ---- the queue in sysfs ---------------------------------------------------------------------- */

/* A descriptor with the attribute's text; -1 with errno set. */
static int dev_open_attribute(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(dup(fd), "w");

    if (!file || dev->kind != 'z') {
        errno = ENOENT;
    } else if (!strcmp(name, "zoned")) {
        fprintf(file, "%s\n", dev->is_host_aware ? "host-aware" : "host-managed");
    } else if (!strcmp(name, "chunk_sectors")) {
        fprintf(file, "%u\n", dev->zone_sectors);
    } else if (!strcmp(name, "zone_write_granularity")) {
        fprintf(file, "%u\n", dev->granularity);
    } else if (!strcmp(name, "zone_append_max_bytes")) {
        fprintf(file, "%u\n", dev->max_append);
    } else if (!strcmp(name, "max_open_zones")) {
        fprintf(file, "%u\n", dev->max_open);
    } else if (!strcmp(name, "max_active_zones")) {
        fprintf(file, "%u\n", dev->max_active);
    }
    if (file) {
        fclose(file);
    }
    if (fd >= 0 && lseek(fd, 0, SEEK_END) == 0) {
        close(fd);
        fd = -1;
        errno = ENOENT;
    }
    if (fd >= 0) {
        lseek(fd, 0, SEEK_SET);
    }
    return fd;
}

/* ---- the calls ------------------------------------------------------------------------------- */

int open64(const char *path, int flags, ...);
int stat64(const char *path, struct stat64 *st);
int fstat64(int fd, struct stat64 *st);
int ioctl(int fd, unsigned long request, ...);
off64_t lseek64(int fd, off64_t offset, int whence);
ssize_t preadv64(int fd, const struct iovec *iov, int count, off64_t offset);
ssize_t preadv64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags);
ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t offset);
ssize_t pwritev64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags);
struct io_uring;
int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);

int open64(const char *path, int flags, ...)
{
    char prefix[64];
    mode_t mode = 0;
    va_list ap;

    DEV_REAL(open64)
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    snprintf(prefix, sizeof(prefix), "/sys/dev/block/%u:%u/queue/", DEV_MAJOR, DEV_MINOR);
    if (dev_match && !strncmp(path, prefix, strlen(prefix))) {
        return dev_open_attribute(path + strlen(prefix));
    }
    if (dev_match && dev_is_named(path)) {
        struct stat64 st;

        flags &= ~O_DIRECT;
        dev->known_bytes = dev->has_disc && stat64(path, &st) == 0 ? st.st_size : 0;
    }
    return real_open64(path, flags, mode);
}

static void dev_fill_stat(struct stat64 *st)
{
    st->st_mode = (st->st_mode & ~S_IFMT) | (dev->kind == 's' ? S_IFCHR : S_IFBLK);
    st->st_rdev = makedev(DEV_MAJOR, DEV_MINOR);
}

int stat64(const char *path, struct stat64 *st)
{
    int ret;

    DEV_REAL(stat64)
    ret = real_stat64(path, st);
    if (ret == 0 && dev_is_path(path)) {
        dev_fill_stat(st);
    }
    return ret;
}

int fstat64(int fd, struct stat64 *st)
{
    int ret;

    DEV_REAL(fstat64)
    ret = real_fstat64(fd, st);
    if (ret == 0 && dev_is_fd(fd)) {
        dev_fill_stat(st);
    }
    return ret;
}

/* 0, or errno; ENOTTY for what the device does not know. */
static int dev_zoned_ioctl(int fd, unsigned long request, void *arg)
{
    switch (request) {
    case BLKSSZGET:
        *(int *)arg = 512;
        return 0;
    case BLKROGET:
        *(int *)arg = 0;
        return 0;
    case BLKREPORTZONE:
        return dev_report(arg);
    case BLKOPENZONE:
    case BLKCLOSEZONE:
    case BLKFINISHZONE:
    case BLKRESETZONE:
        return dev_change(fd, request, arg);
    default:
        return ENOTTY;
    }
}

int ioctl(int fd, unsigned long request, ...)
{
    int error, value = 0;
    va_list ap;
    void *arg;

    DEV_REAL(ioctl)
    va_start(ap, request);
    arg = va_arg(ap, void *);
    va_end(ap);
    if (!dev_is_fd(fd)) {
        return real_ioctl(fd, request, arg);
    }
    pthread_mutex_lock(&dev_lock);
    error = dev->kind == 'c'   ? dev_drive_ioctl(request, (unsigned long)arg, &value)
            : dev->kind == 's' ? dev_sg_ioctl(request, arg) : dev_zoned_ioctl(fd, request, arg);
    pthread_mutex_unlock(&dev_lock);
    errno = error;
    return error ? -1 : value;
}

off64_t lseek64(int fd, off64_t offset, int whence)
{
    DEV_REAL(lseek64)
    if (dev_match && dev_is_fd(fd) && dev->kind == 's') {
        errno = ESPIPE;
        return -1;
    }
    return dev_match && dev_is_fd(fd) && dev->kind == 'c' && whence == SEEK_END
               ? dev->known_bytes : real_lseek64(fd, offset, whence);
}

/* Can it be read now?  Else errno is set. */
static bool dev_is_readable(void)
{
    dev->n_transfers++;
    errno = dev->kind == 's' ? EIO : ENOMEDIUM;
    return dev->kind != 's' && (dev->kind != 'c' || dev_drive_status() == CDS_DISC_OK);
}

ssize_t preadv64(int fd, const struct iovec *iov, int count, off64_t offset)
{
    DEV_REAL(preadv64)
    return dev_is_fd(fd) && !dev_is_readable() ? -1 : real_preadv64(fd, iov, count, offset);
}

ssize_t preadv64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
{
    DEV_REAL(preadv64v2)
    return dev_is_fd(fd) && !dev_is_readable() ? -1
                                               : real_preadv64v2(fd, iov, count, offset, flags);
}

static ssize_t dev_pwritev(int fd, const struct iovec *iov, int count, off64_t offset)
{
    struct iovec half = iov[0];
    uint64_t bytes = 0;
    bool is_torn;
    ssize_t ret;
    int error;

    DEV_REAL(pwritev64)
    if (dev->kind != 'z') {
        dev->n_transfers++;
        return real_pwritev64(fd, iov, count, offset);
    }
    for (int i = 0; i < count; i++) {
        bytes += iov[i].iov_len;
    }
    /* Two at once: whoever sent them cannot know which comes first. */
    sched_yield();
    pthread_mutex_lock(&dev_lock);
    is_torn = dev->tear_write && --dev->tear_write == 0;
    error = dev_before_write(offset, bytes);
    if (error) {
        ret = -1;
    } else if (is_torn) {
        half.iov_len = MIN(half.iov_len, bytes / 2 & ~511u);
        dev_after_write(offset, MAX(real_pwritev64(fd, &half, 1, offset), 0));
        ret = -1;
        error = EIO;
    } else {
        ret = real_pwritev64(fd, iov, count, offset);
        error = errno;
        dev_after_write(offset, MAX(ret, 0));
    }
    pthread_mutex_unlock(&dev_lock);
    errno = error;
    return ret;
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t offset)
{
    DEV_REAL(pwritev64)
    return dev_is_fd(fd) ? dev_pwritev(fd, iov, count, offset)
                         : real_pwritev64(fd, iov, count, offset);
}

ssize_t pwritev64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
{
    DEV_REAL(pwritev64v2)
    return dev_is_fd(fd) ? dev_pwritev(fd, iov, count, offset)
                         : real_pwritev64v2(fd, iov, count, offset, flags);
}

int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
    DEV_REAL(io_uring_queue_init)
    return dev_match ? -ENOSYS : real_io_uring_queue_init(entries, ring, flags);
}

#endif
