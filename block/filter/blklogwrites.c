/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blklogwrites: passes requests on to "file" and appends each change to "log", in the format of the
 * kernel's dm-log-writes, so that its replay-log can rebuild the disk as it was at any moment.
 *
 * The log: sector 0 is the superblock; then one entry after another: a header, padded to a sector,
 * and for writes the data.  Numbers are little endian, positions in sectors of the log.
 *
 * A write is logged when it has ended, a flush before it begins: what is logged before a flush is
 * exactly what its caller could rely on.  Entries are written one at a time, under a lock, so the
 * log never has a hole; a debugging aid may be slow.
 */
#include "qemu/osdep.h"

#include "block/block_int.h"
#include "qemu/lockable.h"

#define LOG_MAGIC UINT64_C(0x6a736677736872)
#define LOG_VERSION 1
#define MAX_SECTOR_SIZE (8 * MiB)
#define DEFAULT_UPDATE_INTERVAL 4096

typedef enum LogFlags {
    LOG_FLUSH = 1 << 0,
    LOG_FUA = 1 << 1,
    LOG_DISCARD = 1 << 2,
    LOG_MARK = 1 << 3,
    LOG_ALL_FLAGS = 0xf,
} LogFlags;

typedef struct QEMU_PACKED LogSuper {
    uint64_t magic, version, nr_entries;
    uint32_t sector_size;
} LogSuper;

typedef struct QEMU_PACKED LogEntry {
    uint64_t sector, nr_sectors, flags;
    uint64_t data_len; /* of a mark's name */
} LogEntry;

static_assert(sizeof(LogSuper) == 28, "as the kernel has it");
static_assert(sizeof(LogEntry) == 32, "as the kernel has it");

typedef struct BlkLogWritesState {
    /* Fixed after open. */
    BdrvChild *log;
    uint32_t sector_size;
    uint64_t update_interval; /* entries; 0: superblock at flushes and close only */

    CoMutex lock;
    uint64_t next_sector; /* where the next entry goes */
    uint64_t nr_entries;
    uint64_t unpublished; /* entries the superblock does not count yet */
} BlkLogWritesState;

/* ---- the log --------------------------------------------------------------------------------- */

static int coroutine_fn log_co_write_super(BlkLogWritesState *s)
{
    QEMU_AUTO_VFREE uint8_t *sector = bdrv_try_blockalign(s->log->bs, s->sector_size);
    LogSuper super = {
        .magic = cpu_to_le64(LOG_MAGIC),
        .version = cpu_to_le64(LOG_VERSION),
        .nr_entries = cpu_to_le64(s->nr_entries),
        .sector_size = cpu_to_le32(s->sector_size),
    };
    int ret;

    if (!sector) {
        return -ENOMEM;
    }
    memset(sector, 0, s->sector_size);
    memcpy(sector, &super, sizeof(super));
    ret = bdrv_co_pwrite(s->log, 0, s->sector_size, sector, 0);
    if (ret >= 0) {
        s->unpublished = 0;
    }
    return ret;
}

/* Under the lock: write header and data, or header and zeroes, at the end of the log. */
static int coroutine_fn log_co_write_entry(BlkLogWritesState *s, const LogEntry *entry,
                                           QEMUIOVector *qiov, size_t qiov_offset,
                                           int64_t data_bytes)
{
    QEMU_AUTO_VFREE uint8_t *sector = bdrv_try_blockalign(s->log->bs, s->sector_size);
    int64_t offset = s->next_sector * s->sector_size;
    QEMUIOVector log_qiov;
    int ret;

    if (!sector) {
        return -ENOMEM;
    }
    memset(sector, 0, s->sector_size);
    memcpy(sector, entry, sizeof(*entry));
    qemu_iovec_init(&log_qiov, 1 + (qiov ? qiov->niov : 0));
    qemu_iovec_add(&log_qiov, sector, s->sector_size);
    if (qiov) {
        qemu_iovec_concat(&log_qiov, qiov, qiov_offset, data_bytes);
    }
    ret = bdrv_co_pwritev(s->log, offset, log_qiov.size, &log_qiov, 0);
    qemu_iovec_destroy(&log_qiov);
    if (ret >= 0 && !qiov && data_bytes) {
        ret = bdrv_co_pwrite_zeroes(s->log, offset + s->sector_size, data_bytes, 0);
    }
    return ret;
}

/* @qiov NULL: zeroes, or (discard, flush) no data at all. */
static int coroutine_fn log_co_append(BlkLogWritesState *s, int64_t offset, int64_t bytes,
                                      QEMUIOVector *qiov, size_t qiov_offset, LogFlags flags)
{
    int64_t data_bytes = flags & LOG_DISCARD ? 0 : bytes;
    LogEntry entry = {
        .sector = cpu_to_le64(offset / s->sector_size),
        .nr_sectors = cpu_to_le64(bytes / s->sector_size),
        .flags = cpu_to_le64(flags),
    };
    int ret;

    qemu_co_mutex_lock(&s->lock);
    ret = log_co_write_entry(s, &entry, qiov, qiov_offset, data_bytes);
    if (ret >= 0) {
        s->next_sector += 1 + data_bytes / s->sector_size;
        s->nr_entries++;
        s->unpublished++;
        if ((flags & LOG_FLUSH) || (s->update_interval && s->unpublished >= s->update_interval)) {
            ret = log_co_write_super(s);
        }
    }
    qemu_co_mutex_unlock(&s->lock);
    return MIN(ret, 0);
}

/* ---- requests -------------------------------------------------------------------------------- */

static int coroutine_fn blk_log_writes_co_preadv(BlockDriverState *bs, int64_t offset,
                                                 int64_t bytes, QEMUIOVector *qiov,
                                                 size_t qiov_offset, unsigned flags)
{
    return bdrv_co_preadv_part(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

/* What failed may have been done all the same, so it is logged, too. */
static int coroutine_fn log_co_after(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                     QEMUIOVector *qiov, size_t qiov_offset, LogFlags flags,
                                     int ret)
{
    int log_ret = log_co_append(bs->opaque, offset, bytes, qiov, qiov_offset, flags);

    return ret < 0 ? ret : log_ret;
}

static int coroutine_fn blk_log_writes_co_pwritev(BlockDriverState *bs, int64_t offset,
                                                  int64_t bytes, QEMUIOVector *qiov,
                                                  size_t qiov_offset, unsigned flags)
{
    int ret = bdrv_co_pwritev_part(bs->file, offset, bytes, qiov, qiov_offset, flags);

    return log_co_after(bs, offset, bytes, qiov, qiov_offset, flags & BDRV_REQ_FUA ? LOG_FUA : 0,
                        ret);
}

static int coroutine_fn blk_log_writes_co_pwritev_compressed(BlockDriverState *bs, int64_t offset,
                                                             int64_t bytes, QEMUIOVector *qiov,
                                                             size_t qiov_offset)
{
    const BlkLogWritesState *s = bs->opaque;

    /* Compressed writes are not padded; the log has whole sectors only. */
    if (!QEMU_IS_ALIGNED(offset | bytes, (int64_t)s->sector_size)) {
        return -EINVAL;
    }
    return blk_log_writes_co_pwritev(bs, offset, bytes, qiov, qiov_offset,
                                     BDRV_REQ_WRITE_COMPRESSED);
}

static int coroutine_fn blk_log_writes_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                                        int64_t bytes, unsigned flags)
{
    int ret = bdrv_co_pwrite_zeroes(bs->file, offset, bytes, flags);

    if (ret == -ENOTSUP) {
        return ret; /* buffers will follow */
    }
    return log_co_after(bs, offset, bytes, NULL, 0, flags & BDRV_REQ_FUA ? LOG_FUA : 0, ret);
}

static int coroutine_fn blk_log_writes_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                                   int64_t bytes)
{
    int ret = bdrv_co_pdiscard(bs->file, offset, bytes);

    return log_co_after(bs, offset, bytes, NULL, 0, LOG_DISCARD, ret);
}

/* The core flushes file and log after this. */
static int coroutine_fn blk_log_writes_co_flush(BlockDriverState *bs)
{
    return log_co_append(bs->opaque, 0, 0, NULL, 0, LOG_FLUSH);
}

/* ---- open: going on with a log --------------------------------------------------------------- */

static bool sector_size_is_valid(uint64_t size)
{
    return size >= BDRV_SECTOR_SIZE && size <= MAX_SECTOR_SIZE && is_power_of_2(size);
}

/* Step over @nr_entries entries, to where the next one goes. */
static bool coroutine_fn find_end(BlkLogWritesState *s, uint64_t nr_entries, Error **errp)
{
    int64_t log_bytes = bdrv_co_getlength(s->log->bs);
    uint64_t log_sectors = MAX(log_bytes, 0) / s->sector_size;

    s->next_sector = 1;
    for (uint64_t i = 0; i < nr_entries; i++) {
        LogEntry entry;
        uint64_t flags, data_sectors;

        if (s->next_sector >= log_sectors) {
            error_setg(errp, "Log entry %" PRIu64 " lies beyond the end of the log", i);
            return false;
        }
        if (bdrv_co_pread(s->log, s->next_sector * s->sector_size, sizeof(entry), &entry, 0) < 0) {
            error_setg(errp, "Failed to read log entry %" PRIu64, i);
            return false;
        }
        flags = le64_to_cpu(entry.flags);
        if (flags & ~(uint64_t)LOG_ALL_FLAGS) {
            error_setg(errp, "Invalid flags 0x%" PRIx64 " in log entry %" PRIu64, flags, i);
            return false;
        }
        data_sectors = flags & LOG_DISCARD ? 0 : le64_to_cpu(entry.nr_sectors);
        if (data_sectors > log_sectors - s->next_sector - 1) {
            error_setg(errp, "Log entry %" PRIu64 " lies beyond the end of the log", i);
            return false;
        }
        s->next_sector += 1 + data_sectors;
    }
    return true;
}

static bool coroutine_fn resume_log(BlkLogWritesState *s, Error **errp)
{
    LogSuper super;
    int ret = bdrv_co_pread(s->log, 0, sizeof(super), &super, 0);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read log superblock");
        return false;
    }
    if (le64_to_cpu(super.magic) != LOG_MAGIC) {
        error_setg(errp, "Invalid log superblock magic");
        return false;
    }
    if (le64_to_cpu(super.version) != LOG_VERSION) {
        error_setg(errp, "Unsupported log version %" PRIu64, le64_to_cpu(super.version));
        return false;
    }
    s->sector_size = le32_to_cpu(super.sector_size);
    if (!sector_size_is_valid(s->sector_size)) {
        error_setg(errp, "Invalid log sector size %" PRIu32, s->sector_size);
        return false;
    }
    s->nr_entries = le64_to_cpu(super.nr_entries);
    return find_end(s, s->nr_entries, errp);
}

static bool coroutine_fn start_log(BlkLogWritesState *s, const BlockdevOptionsBlklogwrites *opts,
                                   bool is_read_only, Error **errp)
{
    int ret;

    s->sector_size = opts->has_log_sector_size ? opts->log_sector_size : BDRV_SECTOR_SIZE;
    if (!sector_size_is_valid(s->sector_size)) {
        error_setg(errp, "Invalid log sector size %" PRIu32, s->sector_size);
        return false;
    }
    s->next_sector = 1;
    /* What only reads leaves the log as it is; if that changes, the first flush writes this. */
    ret = is_read_only ? 0 : log_co_write_super(s);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write log superblock");
    }
    return ret >= 0;
}

static bool coroutine_fn blk_log_writes_co_open(BlockDriverState *bs,
                                                const BlockdevOptions *options, int flags,
                                                Error **errp)
{
    const BlockdevOptionsBlklogwrites *opts = &options->u.blklogwrites;
    bool is_append = opts->has_log_append && opts->log_append;
    BlkLogWritesState *s = bs->opaque;

    if (is_append && opts->has_log_sector_size) {
        error_setg(errp, "log-append and log-sector-size are mutually exclusive");
        return false;
    }
    qemu_co_mutex_init(&s->lock);
    s->update_interval = opts->has_log_super_update_interval ? opts->log_super_update_interval
                                                             : DEFAULT_UPDATE_INTERVAL;
    if (!bdrv_co_open_file_child(bs, opts->file, errp)) {
        return false;
    }
    s->log = bdrv_co_open_child(bs, "log", BDRV_CHILD_METADATA, opts->log, false, errp);
    if (!s->log) {
        return false;
    }
    return is_append ? resume_log(s, errp) : start_log(s, opts, bdrv_is_read_only(bs), errp);
}

static void coroutine_fn blk_log_writes_co_close(BlockDriverState *bs)
{
    BlkLogWritesState *s = bs->opaque;

    /* Each flush has told its errors; the last entries are still in the log, only not counted. */
    if (s->unpublished) {
        log_co_write_super(s);
    }
}

static BdrvChildClaims blk_log_writes_child_claims(BlockDriverState *bs, const BdrvChild *child,
                                                   BdrvChildRole role, BlockRights parent_uses,
                                                   BlockRights parent_shared)
{
    if (role & BDRV_CHILD_FILTERED) {
        return bdrv_default_child_claims(bs, child, role, parent_uses, parent_shared);
    }
    return (BdrvChildClaims) {
        .uses = BLK_PERM_CONSISTENT_READ |
                (bdrv_is_writable(bs) ? BLK_PERM_WRITE | BLK_PERM_RESIZE : 0),
        .shared = BLK_PERM_ALL & ~(BLK_PERM_WRITE | BLK_PERM_RESIZE),
    };
}

static void blk_log_writes_refresh_limits(BlockDriverState *bs)
{
    const BlkLogWritesState *s = bs->opaque;
    const BlockDriverState *file = bs->file->bs;

    bs->bl.request_alignment = MAX(bs->bl.request_alignment, s->sector_size);
    /* FUA is wanted here, to be logged; the node below emulates what it cannot do. */
    bs->supported_write_flags = BDRV_REQ_WRITE_UNCHANGED | BDRV_REQ_FUA;
    bs->supported_zero_flags = BDRV_REQ_WRITE_UNCHANGED | BDRV_REQ_FUA |
        ((BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK) & file->supported_zero_flags);
}

/* ---- the driver ------------------------------------------------------------------------------ */

static const char *const blk_log_writes_strong_opts[] = { "log-append", "log-sector-size", NULL };

BlockDriver bdrv_blklogwrites = {
    .format_name = "blklogwrites",
    .instance_size = sizeof(BlkLogWritesState),
    .options_type = BLOCKDEV_DRIVER_BLKLOGWRITES,
    .is_filter = true,
    .strong_runtime_opts = blk_log_writes_strong_opts,
    .bdrv_co_open = blk_log_writes_co_open,
    .bdrv_co_close = blk_log_writes_co_close,
    .bdrv_child_claims = blk_log_writes_child_claims,
    .bdrv_refresh_limits = blk_log_writes_refresh_limits,
    .bdrv_co_preadv = blk_log_writes_co_preadv,
    .bdrv_co_pwritev = blk_log_writes_co_pwritev,
    .bdrv_co_pwritev_compressed = blk_log_writes_co_pwritev_compressed,
    .bdrv_co_pwrite_zeroes = blk_log_writes_co_pwrite_zeroes,
    .bdrv_co_pdiscard = blk_log_writes_co_pdiscard,
    .bdrv_co_flush_to_disk = blk_log_writes_co_flush,
};
