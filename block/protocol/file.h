/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the file and host_device drivers share: an open descriptor of the host with its
 * locks, and I/O on it.  A FileKind says in what regular files and devices differ.
 */
#ifndef BLOCK_PROTOCOL_FILE_H
#define BLOCK_PROTOCOL_FILE_H

#include <sys/stat.h>

#include "block/block_int.h"
#include "block/thread-pool.h"

/* No host wants memory or requests for direct I/O aligned to more. */
#define FILE_MAX_ALIGN 4096

/* Byte locks of one open file: bit i of @uses is byte 100+i, of @unshared byte 200+i. */
typedef struct FileLocks {
    BlockRights uses, unshared;
} FileLocks;

typedef enum FileSharing {
    FILE_SHARING_UNKNOWN,
    FILE_MAY_SHARE,
    FILE_SHARES_NOTHING,
} FileSharing;

/* All run in workers, and may block. */
typedef struct FileKind {
    bool (*is_right_type)(mode_t mode);
    const char *wrong_type; /* message with one %s, the file name */
    /* Further checks of a new descriptor; NULL: none. */
    int (*check)(int fd, int flags, Error **errp);
    int64_t (*length)(int fd); /* or negative errno */
    bool writes_in_turn;       /* the host does cached writes one after the other */
    /* Take a FileRequest; NULL: by fallocate. */
    int (*zero)(void *request);
    int (*discard)(void *request);
} FileKind;

struct sg_io_hdr;
typedef struct PrManager PrManager;
typedef struct FileState FileState;
struct FileState {
    const FileKind *kind;

    /* Changed only while frozen. */
    int fd;
    int lock_fd;   /* the first fd: locks belong to it, and it stays when fd is replaced */
    bool writable; /* fd */
    bool direct;   /* O_DIRECT */
    BlockdevAioOptions aio;
    int64_t max_batch;        /* aio-max-batch */
    bool locking;
    ThreadPoolGroup *writes;  /* cached ones, by workers; NULL: they need not wait for each other */
    bool keeps_cache;         /* drop-cache=off */
    bool checks_cache;        /* x-check-cache-dropped=on */
    size_t mem_align, request_align;

    /* Main thread, control lock. */
    FileLocks locks;      /* held, or what would be without locking */
    FileLocks new_locks;  /* between check_perm and set_perm or abort; so is the next */
    int new_fd;           /* takes fd's place then; -1: none */
    bool new_writable;
    FileState *reopening; /* what a reopen under way brings, or NULL */

    /* Atomics: what the host's file system turned out not to have. */
    bool no_punch, no_zero_range, no_fallocate, no_nowait_read, no_nowait_write;
    FileSharing sharing; /* of blocks with other files, by the host's file system */
    bool flush_failed; /* the page cache can no longer be trusted to be written */
    uint64_t discards_ok, discards_failed, discard_bytes_ok;

    struct FileZones *zones; /* zoned.c; NULL: not zoned */
    PrManager *pr_manager;   /* pr-manager.c; NULL: none */

    /* What SEEK_DATA told of (file-status.c): sorted extents of data, disjoint; NULL: none. */
    QemuMutex extent_lock;
    GArray *extents;
};

/* One request on its way to a worker. */
typedef struct FileRequest {
    FileState *s;
    int64_t offset, bytes;
    const struct iovec *iov;
    int niov;
    bool may_unmap, no_fallback;
} FileRequest;

/* ---- locks (file-locks.c) -------------------------------------------------------------------- */

/**
 * Get the locks of @want that are not in @held, and look for others' that conflict.  May block on a
 * network file system: runs in a worker.  On failure @held is what is held still.
 */
bool coroutine_fn file_locks_co_get(int fd, const FileLocks *held, const FileLocks *want,
                                    const char *filename, Error **errp);
/* Give up the locks of @have that are not in @keep.  Failures are only warned of. */
void file_locks_drop(int fd, const FileLocks *have, const FileLocks *keep);

/* ---- for both drivers (file.c; file-io.c: reading and writing) ------------------------------- */

/* Open bs's file; see BlockDriver.bdrv_co_open. */
bool coroutine_fn file_co_open_kind(BlockDriverState *bs, const FileKind *kind,
                                    const BlockdevOptionsFile *opts, Error **errp);
/* Put @filename without @prefix into @options. */
bool file_strip_prefix(const char *prefix, const char *filename, QDict *options);
/* Resize to @offset bytes. */
int coroutine_fn file_co_truncate_fd(int fd, int64_t offset, PreallocMode prealloc, Error **errp);
/* Call @method, unless it is known not to be there; remember it when it says -ENOTSUP. */
int file_try_method(int (*method)(int fd, int64_t offset, int64_t len), bool *is_missing,
                    FileRequest *req);

/* ---- where data is (file-status.c) ----------------------------------------------------------- */

void file_extents_init(FileState *s);
void file_extents_destroy(FileState *s);
/* Ask the host again about this range. */
void file_extents_forget(FileState *s, int64_t offset, int64_t bytes);

/* ---- copying (file-copy.c): as BlockDriver's members ----------------------------------------- */

int coroutine_fn file_co_copy_range_from(BlockDriverState *bs, BdrvChild *src, int64_t src_offset,
                                         BdrvChild *dst, int64_t dst_offset, int64_t bytes,
                                         unsigned flags);
int coroutine_fn file_co_copy_range_to(BlockDriverState *bs, BdrvChild *src, int64_t src_offset,
                                       BdrvChild *dst, int64_t dst_offset, int64_t bytes,
                                       unsigned flags);

/* ---- zoned devices (zoned.c): each does nothing, or what file_* does, without zones -------- */

/* What zones the device has, if any. */
bool coroutine_fn file_zones_co_open(FileState *s, Error **errp);
void file_zones_free(FileState *s);
void file_zones_refresh_limits(const FileState *s, BlockLimits *bl);
/* Others may have written: ask again where each zone's write pointer is.  Nobody writes here. */
void file_zones_forget(FileState *s);
/* Zones that take writes in order only are not written through the page cache. */
bool file_zones_check_writes(const FileState *s, bool direct, Error **errp);
int coroutine_fn file_zones_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                       QEMUIOVector *qiov, size_t qiov_offset, unsigned flags);
int coroutine_fn file_zones_co_report(BlockDriverState *bs, int64_t offset, unsigned *nr_zones,
                                      BlockZoneDescriptor *zones);
int coroutine_fn file_zones_co_mgmt(BlockDriverState *bs, BlockZoneOp op, int64_t offset,
                                    int64_t bytes);
int coroutine_fn file_zones_co_append(BlockDriverState *bs, int64_t *offset, QEMUIOVector *qiov);

/* ---- taking over from another host (file-cache.c) ------------------------------------------ */

bool coroutine_fn file_co_activate(BlockDriverState *bs, Error **errp);

/* ---- persistent reservations, by a helper (pr-manager.c) ------------------------------------- */

/* The manager with this id, which stays until it is released.  Main thread. */
PrManager *pr_manager_use(const char *id, Error **errp);
void pr_manager_release(PrManager *mgr);
/* Is it a command about reservations? */
bool pr_manager_takes(const struct sg_io_hdr *header);
/*
 * Have the helper carry out the command on the device @fd; what came of it is in @header, also if
 * there is no helper.  Returns negative errno only if @header makes no sense.
 */
int coroutine_fn pr_manager_co_execute(PrManager *mgr, int fd, struct sg_io_hdr *header);

/* ---- devices (host-device.c) ----------------------------------------------------------------- */

/* Does it take SCSI commands, and nothing else? */
bool file_is_sg(int fd);

/* Parts of a FileKind. */
bool device_is_right_type(mode_t mode);
int device_check(int fd, int flags, Error **errp);
int64_t device_length(int fd);
int device_zero(void *opaque);
int device_discard(void *opaque);

int coroutine_fn device_co_ioctl(BlockDriverState *bs, unsigned long request, void *arg);
int coroutine_fn device_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                                    PreallocMode prealloc, unsigned flags, Error **errp);

extern const char *const file_strong_opts[], *const file_mutable_opts[];

/* What drivers of devices have in common. */
#define DEVICE_DRIVER \
    .instance_size = sizeof(FileState), \
    .is_protocol = true, \
    .strong_runtime_opts = file_strong_opts, \
    .mutable_opts = file_mutable_opts, \
    .bdrv_refresh_filename = file_refresh_filename, \
    .bdrv_reopen_commit = file_reopen_commit, \
    .bdrv_reopen_abort = file_reopen_abort, \
    .bdrv_abort_perm_update = file_abort_perm_update, \
    .bdrv_submit = file_submit, \
    .bdrv_co_truncate = device_co_truncate, \
    .bdrv_co_ioctl = device_co_ioctl, \
    .bdrv_co_get_allocated_file_size = file_co_allocated_size, \
    .bdrv_get_info = file_get_info, \
    .bdrv_get_specific_stats = file_get_specific_stats

/* ---- callbacks of BlockDriver ---------------------------------------------------------------- */

void file_refresh_filename(BlockDriverState *bs);
void file_refresh_limits(BlockDriverState *bs);
void coroutine_fn file_co_close(BlockDriverState *bs);

bool coroutine_fn file_co_reopen_prepare(BdrvReopenState *state, Error **errp);
void file_reopen_commit(BdrvReopenState *state);
void file_reopen_abort(BdrvReopenState *state);
bool coroutine_fn file_co_check_perm(BlockDriverState *bs, BlockRights uses, BlockRights shared,
                                     Error **errp);
void file_set_perm(BlockDriverState *bs, BlockRights uses, BlockRights shared);
void file_abort_perm_update(BlockDriverState *bs);
int coroutine_fn file_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                QEMUIOVector *qiov, size_t qiov_offset, unsigned flags);
int coroutine_fn file_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                 QEMUIOVector *qiov, size_t qiov_offset, unsigned flags);
BdrvMapKind file_map(BlockDriverState *bs, bool is_write, int64_t offset, int64_t bytes,
                     BdrvMapping *map);
int file_submit(BlockDriverState *bs, BdrvDirectIO *io);
int file_write_group(void *const *args, int *rets, int n);
int coroutine_fn file_co_flush_to_disk(BlockDriverState *bs);
int coroutine_fn file_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                       unsigned flags);
int coroutine_fn file_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes);
int coroutine_fn file_co_block_status(BlockDriverState *bs, bool want_zero, int64_t offset,
                                      int64_t bytes, int64_t *pnum, int64_t *map,
                                      BlockDriverState **file);
int coroutine_fn file_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                                  PreallocMode prealloc, unsigned flags, Error **errp);
int64_t coroutine_fn file_co_getlength(BlockDriverState *bs);
int64_t coroutine_fn file_co_allocated_size(BlockDriverState *bs);
int file_get_info(BlockDriverState *bs, BlockDriverInfo *info);
BlockStatsSpecific *file_get_specific_stats(BlockDriverState *bs);

/* ---- creating (file-create.c) ---------------------------------------------------------------- */

bool coroutine_fn file_co_create(const BlockdevCreateOptions *options, Error **errp);
bool coroutine_fn file_co_create_opts(BlockDriver *drv, const char *filename, QemuOpts *opts,
                                      Error **errp);
extern QemuOptsList file_create_opts;

#endif
