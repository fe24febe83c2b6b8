/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file: an image in a regular file of the host.  Reading and writing is in file-io.c, zeroes and
 * holes are in file-status.c, sizes in file-resize.c; byte locks tell other processes what is
 * claimed here (file-locks.c).
 */
#include "qemu/osdep.h"

#include "file.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

#include "block/lock-wait.h"
#include "block/thread-pool.h"
#include "qemu/atomic.h"
#include "qemu/cutils.h"
#include "qemu/hostfile.h"

/* ---- names ----------------------------------------------------------------------------------- */

bool file_strip_prefix(const char *prefix, const char *filename, QDict *options)
{
    const char *path = filename;
    bool had_prefix = strstart(filename, prefix, &path);

    if (had_prefix && path[strcspn(path, ":/")] == ':') {
        /* Without its prefix, the path's own colon would be taken for one. */
        g_autofree char *guarded = g_strconcat("./", path, NULL);

        qdict_put_str(options, "filename", guarded);
    } else {
        qdict_put_str(options, "filename", path);
    }
    return true;
}

static bool file_parse_filename(const char *filename, QDict *options, Error **errp)
{
    return file_strip_prefix("file:", filename, options);
}

void file_refresh_filename(BlockDriverState *bs)
{
    g_free(bs->exact_filename);
    bs->exact_filename = g_strdup(bs->options->u.file.filename);
}

/* ---- direct I/O alignment -------------------------------------------------------------------- */

static bool probe_read(int fd, void *buf, size_t len)
{
    ssize_t ret;

    do {
        ret = pread(fd, buf, len, 0);
    } while (ret < 0 && errno == EINTR);
    /* Only EINVAL says "misaligned"; other errors will come back with the request itself. */
    return ret >= 0 || errno != EINVAL;
}

/* Find what O_DIRECT wants; 1 and 1 without it. */
static bool probe_alignment(FileState *s, Error **errp)
{
    QEMU_AUTO_VFREE uint8_t *buf = NULL;
    size_t align;
    int sector_size;

    s->request_align = s->mem_align = 1;
    if (!s->direct || file_is_sg(s->fd)) {
        return true;
    }
    buf = qemu_memalign(FILE_MAX_ALIGN, 2 * FILE_MAX_ALIGN);
    if (ioctl(s->fd, BLKSSZGET, &sector_size) == 0 && sector_size >= 512 &&
        sector_size <= FILE_MAX_ALIGN && is_power_of_2(sector_size)) {
        s->request_align = sector_size;
    } else if (probe_read(s->fd, buf, 1)) {
        /* A file system that takes one byte does not tell the truth about its device. */
        s->request_align = FILE_MAX_ALIGN;
    } else {
        for (align = 512; align <= FILE_MAX_ALIGN && !probe_read(s->fd, buf, align); align *= 2) {
        }
        s->request_align = align <= FILE_MAX_ALIGN ? align : 0;
    }
    for (align = 1; align <= FILE_MAX_ALIGN; align = align == 1 ? 512 : align * 2) {
        if (probe_read(s->fd, buf + align, FILE_MAX_ALIGN)) {
            break;
        }
    }
    s->mem_align = align > FILE_MAX_ALIGN ? 0 : align == 1 ? s->request_align : align;
    if (!s->request_align || !s->mem_align) {
        error_setg(errp, "Could not find working O_DIRECT alignment");
        error_append_hint(errp, "Try cache.direct=off\n");
        return false;
    }
    return true;
}

void file_refresh_limits(BlockDriverState *bs)
{
    FileState *s = bs->opaque;

    bs->bl.request_alignment = s->request_align;
    bs->bl.min_mem_alignment = s->mem_align;
    bs->bl.opt_mem_alignment = MAX(s->mem_align, (size_t)FILE_MAX_ALIGN);
    bs->bl.max_iov = IOV_MAX;
}

/* ---- open and close -------------------------------------------------------------------------- */

typedef struct OpenFile {
    const char *path;     /* what is opened, and ... */
    const char *filename; /* ... what it is called in messages */
    const FileKind *kind;
    int flags;
    int64_t length;
    Error *err;
    int fd;
} OpenFile;

/* Nonblocking at first, so that a FIFO or a device without a medium does not hang us. */
static int open_checked(OpenFile *open, struct stat *st)
{
    open->fd = qemu_open_as(open->path, open->filename, open->flags | O_NONBLOCK, &open->err);
    if (open->fd < 0) {
        return -errno;
    }
    if (fstat(open->fd, st) < 0) {
        error_setg_errno(&open->err, errno, "Could not stat file");
        return -EIO;
    }
    if (!open->kind->is_right_type(st->st_mode)) {
        error_setg(&open->err, open->kind->wrong_type, open->filename);
        return -EINVAL;
    }
    if (!qemu_set_blocking(open->fd, true, &open->err)) {
        return -EIO;
    }
    return open->kind->check ? open->kind->check(open->fd, open->flags, &open->err) : 0;
}

/* Worker: open, look what it is. */
static int open_file(void *opaque)
{
    OpenFile *open = opaque;
    struct stat st;
    int ret = open_checked(open, &st);

    if (ret < 0) {
        if (open->fd >= 0) {
            qemu_close(open->fd);
        }
        return ret;
    }
    open->length = open->kind->length(open->fd);
    return 0;
}

/* True with open->fd and length set, or false with @errp set. */
static bool coroutine_fn file_co_open_fd(const FileKind *kind, OpenFile *open, bool writable,
                                         bool direct, Error **errp)
{
    open->kind = kind;
    open->flags = (writable ? O_RDWR : O_RDONLY) | (direct ? O_DIRECT : 0) | O_CLOEXEC;
    if (thread_pool_submit_co(open_file, open) < 0) {
        error_propagate(errp, open->err);
        return false;
    }
    return true;
}

static bool check_aio(FileState *s, Error **errp)
{
    if (s->aio == BLOCKDEV_AIO_OPTIONS_NATIVE) {
        if (!s->direct) {
            error_setg(errp, "aio=native was specified, but it requires cache.direct=on, "
                       "which was not specified.");
            return false;
        }
        return laio_setup(errp);
    }
    return s->aio != BLOCKDEV_AIO_OPTIONS_IO_URING || luring_setup(errp);
}

static BlockdevAioOptions default_aio(const BlockdevOptionsFile *opts, int flags)
{
    if (opts->has_aio) {
        return opts->aio;
    }
    if (flags & BDRV_O_NATIVE_AIO) {
        return BLOCKDEV_AIO_OPTIONS_NATIVE;
    }
    return flags & BDRV_O_IO_URING ? BLOCKDEV_AIO_OPTIONS_IO_URING : BLOCKDEV_AIO_OPTIONS_THREADS;
}

static bool choose_locking(FileState *s, const BlockdevOptionsFile *opts, Error **errp)
{
    OnOffAuto locking = opts->has_locking ? opts->locking : ON_OFF_AUTO_AUTO;

    if (locking == ON_OFF_AUTO_ON && !qemu_has_ofd_lock()) {
        error_setg(errp, "File lock requested but OFD locks are unavailable on this host");
        return false;
    }
    s->locking = locking != ON_OFF_AUTO_OFF && qemu_has_ofd_lock();
    return true;
}

/* With auto-read-only the descriptor is for writing only while somebody writes. */
static bool needs_writable(int flags, BlockRights uses)
{
    const BlockRights writes = BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED | BLK_PERM_RESIZE;

    return (flags & BDRV_O_RDWR) && (!(flags & BDRV_O_AUTO_RDONLY) || (uses & writes));
}

static bool check_options(BlockDriverState *bs, const BlockdevOptionsFile *opts, Error **errp)
{
    if (!*opts->filename) {
        error_setg(errp, "The '%s' block driver requires a file name", bs->drv->format_name);
        return false;
    }
    if (opts->has_aio_max_batch && opts->aio_max_batch < 0) {
        error_setg(errp, "aio-max-batch must not be negative");
        return false;
    }
    return true;
}

/* The size of batches; is the page cache dropped when the file is taken over, is that checked? */
static void take_options(FileState *s, const BlockdevOptionsFile *opts)
{
    s->max_batch = opts->has_aio_max_batch ? opts->aio_max_batch : 0;
    s->keeps_cache = opts->has_drop_cache && !opts->drop_cache;
    s->checks_cache = opts->has_x_check_cache_dropped && opts->x_check_cache_dropped;
}

bool coroutine_fn file_co_open_kind(BlockDriverState *bs, const FileKind *kind,
                                    const BlockdevOptionsFile *opts, Error **errp)
{
    FileState *s = bs->opaque;
    OpenFile open = { .path = opts->filename, .filename = opts->filename };

    s->kind = kind;
    s->new_fd = -1;
    s->direct = bs->open_flags & BDRV_O_NOCACHE;
    s->aio = default_aio(opts, bs->open_flags);
    take_options(s, opts);
    s->writable = !bs->read_only && needs_writable(bs->open_flags, 0);
    if (!check_options(bs, opts, errp) || !choose_locking(s, opts, errp) || !check_aio(s, errp) ||
        !file_co_open_fd(kind, &open, s->writable, s->direct, errp)) {
        return false;
    }
    s->fd = s->lock_fd = open.fd;
    s->pr_manager = opts->pr_manager ? pr_manager_use(opts->pr_manager, errp) : NULL;
    if ((opts->pr_manager && !s->pr_manager) || !probe_alignment(s, errp)) {
        pr_manager_release(s->pr_manager);
        qemu_close(s->fd);
        return false;
    }
    file_extents_init(s);
    s->writes = kind->writes_in_turn ? thread_pool_group_new(file_write_group) : NULL;
    bs->total_bytes = open.length;
    bs->supported_zero_flags = BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK;
    return true;
}

static bool is_regular(mode_t mode)
{
    return S_ISREG(mode);
}

static int64_t end_of_file(int fd)
{
    int64_t len = lseek(fd, 0, SEEK_END);

    return len < 0 ? -errno : len;
}

static const FileKind regular_file = {
    .is_right_type = is_regular,
    .wrong_type = "'file' driver requires '%s' to be a regular file",
    .length = end_of_file,
    .writes_in_turn = true,
};

static bool coroutine_fn file_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                      int flags, Error **errp)
{
    /* New space of a file reads as zeroes. */
    bs->supported_truncate_flags = BDRV_REQ_ZERO_WRITE;
    return file_co_open_kind(bs, &regular_file, &options->u.file, errp);
}

void coroutine_fn file_co_close(BlockDriverState *bs)
{
    FileState *s = bs->opaque;

    qemu_close(s->fd);
    if (s->lock_fd != s->fd) {
        qemu_close(s->lock_fd);
    }
    file_extents_destroy(s);
    thread_pool_group_free(s->writes);
    pr_manager_release(s->pr_manager);
}

/* ---- reopen: another descriptor for the same file -------------------------------------------- */

/* Another descriptor of what @s has open, whatever the name may mean by now; -1 with @errp set. */
static int coroutine_fn file_co_reopen_fd(const FileState *s, const char *filename, bool writable,
                                          bool direct, Error **errp)
{
    g_autofree char *self = g_strdup_printf("/proc/self/fd/%d", s->fd);
    /* Of a set of descriptors passed to us, the one with the right access mode is taken. */
    bool is_passed = strstart(filename, "/dev/fdset/", NULL);
    OpenFile open = { .path = is_passed ? filename : self, .filename = filename };

    return file_co_open_fd(s->kind, &open, writable, direct, errp) ? open.fd : -1;
}

/*
 * The locks stay with the first descriptor.  A later one keeps its number and gets another file
 * description: requests of other users may wait in queues with that number.
 */
static void replace_fd(FileState *s, int fd, bool writable)
{
    if (s->fd == s->lock_fd) {
        s->fd = fd;
    } else if (dup3(fd, s->fd, O_CLOEXEC) >= 0) {
        qemu_close(fd);
    } else {
        qemu_close(s->fd);
        s->fd = fd;
    }
    s->writable = writable;
}

bool coroutine_fn file_co_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    const BlockdevOptionsFile *opts = &state->options->u.file;
    FileState *s = state->bs->opaque;
    g_autofree FileState *new_state = g_new0(FileState, 1);

    new_state->direct = state->flags & BDRV_O_NOCACHE;
    new_state->aio = default_aio(opts, state->flags);
    take_options(new_state, opts);
    new_state->writable = needs_writable(state->flags, s->locks.uses);
    if (!check_options(state->bs, opts, errp) || !check_aio(new_state, errp)) {
        return false;
    }
    new_state->fd = file_co_reopen_fd(s, opts->filename, new_state->writable, new_state->direct,
                                      errp);
    if (new_state->fd < 0) {
        return false;
    }
    if (!probe_alignment(new_state, errp)) {
        qemu_close(new_state->fd);
        return false;
    }
    state->opaque = s->reopening = g_steal_pointer(&new_state);
    return true;
}

void file_reopen_commit(BdrvReopenState *state)
{
    g_autofree FileState *new_state = state->opaque;
    FileState *s = state->bs->opaque;

    replace_fd(s, new_state->fd, new_state->writable);
    s->direct = new_state->direct;
    s->aio = new_state->aio;
    s->max_batch = new_state->max_batch;
    s->keeps_cache = new_state->keeps_cache;
    s->checks_cache = new_state->checks_cache;
    s->mem_align = new_state->mem_align;
    s->request_align = new_state->request_align;
    s->reopening = NULL;
}

void file_reopen_abort(BdrvReopenState *state)
{
    g_autofree FileState *new_state = state->opaque;
    FileState *s = state->bs->opaque;

    qemu_close(new_state->fd);
    s->reopening = NULL;
}

/* Have a descriptor ready that suits @uses: in new_fd, or in the one that a reopen brings. */
static bool coroutine_fn prepare_access(BlockDriverState *bs, BlockRights uses, Error **errp)
{
    FileState *s = bs->opaque;
    FileState *effective = s->reopening ? s->reopening : s;
    bool writable = !bs->read_only && needs_writable(bs->open_flags, uses);
    Error *local_err = NULL;
    int fd;

    if (writable == effective->writable) {
        return true;
    }
    fd = file_co_reopen_fd(s, bs->options->u.file.filename, writable, effective->direct,
                           &local_err);
    if (fd < 0 && !writable) {
        /* More access than needed does no harm. */
        error_free(local_err);
        return true;
    }
    if (fd < 0) {
        error_propagate(errp, local_err);
        return false;
    }
    if (s->reopening) {
        qemu_close(s->reopening->fd);
        s->reopening->fd = fd;
        s->reopening->writable = writable;
    } else {
        s->new_fd = fd;
        s->new_writable = writable;
    }
    return true;
}

/* ---- locks ----------------------------------------------------------------------------------- */

bool coroutine_fn file_co_check_perm(BlockDriverState *bs, BlockRights uses, BlockRights shared,
                                     Error **errp)
{
    FileState *s = bs->opaque;
    FileLocks both;

    s->new_locks.uses = uses & BLK_PERM_ALL;
    s->new_locks.unshared = bs->force_share ? 0 : ~shared & BLK_PERM_ALL;
    both.uses = s->locks.uses | s->new_locks.uses;
    both.unshared = s->locks.unshared | s->new_locks.unshared;
    if (s->locking &&
        !file_locks_co_get(s->lock_fd, &s->locks, &both, bs->options->u.file.filename, errp)) {
        return false;
    }
    if (bdrv_lock_wait()) {
        /* Whoever was waited for may have made the file longer. */
        bdrv_co_refresh_length(bs);
    }
    if (!prepare_access(bs, uses, errp)) {
        file_abort_perm_update(bs);
        return false;
    }
    return true;
}

void file_set_perm(BlockDriverState *bs, BlockRights uses, BlockRights shared)
{
    FileState *s = bs->opaque;

    if (s->new_fd >= 0) {
        replace_fd(s, s->new_fd, s->new_writable);
        s->new_fd = -1;
    }
    if (s->locking) {
        file_locks_drop(s->lock_fd, &s->locks, &s->new_locks);
    }
    s->locks = s->new_locks;
}

void file_abort_perm_update(BlockDriverState *bs)
{
    FileState *s = bs->opaque;

    if (s->new_fd >= 0) {
        qemu_close(s->new_fd);
        s->new_fd = -1;
    }
    if (s->locking) {
        file_locks_drop(s->lock_fd, &s->new_locks, &s->locks);
    }
}

/* ---- flush ----------------------------------------------------------------------------------- */

static int flush_worker(void *opaque)
{
    FileState *s = opaque;

    return fdatasync(s->fd) < 0 ? -errno : 0;
}

/* /dev/null and its like say EINVAL: there is nothing to be made safe. */
static bool has_no_storage(const FileState *s)
{
    struct stat st;

    return fstat(s->fd, &st) == 0 && S_ISCHR(st.st_mode);
}

int coroutine_fn file_co_flush_to_disk(BlockDriverState *bs)
{
    FileState *s = bs->opaque;
    int ret;

    /* After a failed flush the kernel may have dropped dirty pages: nothing can be promised. */
    if (qatomic_read(&s->flush_failed)) {
        return -EIO;
    }
    if (s->aio == BLOCKDEV_AIO_OPTIONS_IO_URING && luring_setup(NULL)) {
        AioFileIO io = { .fd = s->fd, .op = AIO_FILE_FDATASYNC };

        ret = luring_co_submit(&io);
    } else {
        ret = thread_pool_submit_co(flush_worker, s);
    }
    if (ret == -EINVAL && has_no_storage(s)) {
        return 0;
    }
    if (ret < 0 && !s->direct) {
        qatomic_set(&s->flush_failed, true);
    }
    return ret;
}

/* ---- size ------------------------------------------------------------------------------------ */

int64_t coroutine_fn file_co_getlength(BlockDriverState *bs)
{
    const FileState *s = bs->opaque;

    return s->kind->length(s->fd);
}

typedef struct SizeQuestion {
    int fd;
    int64_t allocated; /* bytes, or negative errno */
} SizeQuestion;

static int allocated_worker(void *opaque)
{
    SizeQuestion *question = opaque;
    struct stat st;

    question->allocated = fstat(question->fd, &st) < 0 ? -errno : (int64_t)st.st_blocks * 512;
    return 0;
}

/* By a worker: on network file systems this may hang. */
int64_t coroutine_fn file_co_allocated_size(BlockDriverState *bs)
{
    FileState *s = bs->opaque;
    SizeQuestion question = {.fd = s->fd};

    thread_pool_submit_co(allocated_worker, &question);
    return question.allocated;
}

int file_get_info(BlockDriverState *bs, BlockDriverInfo *info)
{
    return 0; /* no clusters, never dirty */
}

BlockStatsSpecific *file_get_specific_stats(BlockDriverState *bs)
{
    FileState *s = bs->opaque;
    BlockStatsSpecific *stats = g_new0(BlockStatsSpecific, 1);

    stats->driver = bs->drv->options_type;
    stats->u.file.discard_nb_ok = qatomic_read(&s->discards_ok);
    stats->u.file.discard_nb_failed = qatomic_read(&s->discards_failed);
    stats->u.file.discard_bytes_ok = qatomic_read(&s->discard_bytes_ok);
    return stats;
}

/* What the host's file system was told at creation. */
static ImageInfoSpecific *file_get_specific_info(BlockDriverState *bs, Error **errp)
{
    FileState *s = bs->opaque;
    ImageInfoSpecificFile *file = g_new0(ImageInfoSpecificFile, 1);
    ImageInfoSpecific *info = g_new0(ImageInfoSpecific, 1);
    struct fsxattr attr;

    if (ioctl(s->fd, FS_IOC_FSGETXATTR, &attr) == 0 && attr.fsx_extsize > 0) {
        file->has_extent_size_hint = true;
        file->extent_size_hint = attr.fsx_extsize;
    }
    info->type = IMAGE_INFO_SPECIFIC_KIND_FILE;
    info->u.file.data = file;
    return info;
}

static bool coroutine_fn file_co_delete(BlockDriverState *bs, Error **errp)
{
    const char *filename = bs->options->u.file.filename;

    if (unlink(filename) < 0) {
        error_setg_errno(errp, errno, "Could not delete '%s'", filename);
        return false;
    }
    return true;
}

/* ---- the driver ------------------------------------------------------------------------------ */

const char *const file_strong_opts[] = { "filename", NULL };
const char *const file_mutable_opts[] = {
    "aio", "aio-max-batch", "drop-cache", "x-check-cache-dropped", NULL
};

BlockDriver bdrv_file = {
    .format_name = "file",
    .protocol_name = "file",
    .instance_size = sizeof(FileState),
    .options_type = BLOCKDEV_DRIVER_FILE,
    .is_protocol = true,
    .strong_runtime_opts = file_strong_opts,
    .mutable_opts = file_mutable_opts,
    .create_opts = &file_create_opts,

    .bdrv_parse_filename = file_parse_filename,
    .bdrv_refresh_filename = file_refresh_filename,
    .bdrv_co_open = file_co_open,
    .bdrv_co_close = file_co_close,
    .bdrv_co_activate = file_co_activate,
    .bdrv_co_reopen_prepare = file_co_reopen_prepare,
    .bdrv_reopen_commit = file_reopen_commit,
    .bdrv_reopen_abort = file_reopen_abort,
    .bdrv_co_check_perm = file_co_check_perm,
    .bdrv_set_perm = file_set_perm,
    .bdrv_abort_perm_update = file_abort_perm_update,
    .bdrv_refresh_limits = file_refresh_limits,

    .bdrv_co_preadv = file_co_preadv,
    .bdrv_co_pwritev = file_co_pwritev,
    .bdrv_map = file_map,
    .bdrv_submit = file_submit,
    .bdrv_co_pwrite_zeroes = file_co_pwrite_zeroes,
    .bdrv_co_pdiscard = file_co_pdiscard,
    .bdrv_co_copy_range_from = file_co_copy_range_from,
    .bdrv_co_copy_range_to = file_co_copy_range_to,
    .bdrv_co_flush_to_disk = file_co_flush_to_disk,
    .bdrv_co_block_status = file_co_block_status,

    .bdrv_co_truncate = file_co_truncate,
    .bdrv_co_getlength = file_co_getlength,
    .bdrv_co_get_allocated_file_size = file_co_allocated_size,
    .bdrv_get_info = file_get_info,
    .bdrv_get_specific_info = file_get_specific_info,
    .bdrv_get_specific_stats = file_get_specific_stats,

    .bdrv_co_create = file_co_create,
    .bdrv_co_create_opts = file_co_create_opts,
    .bdrv_co_delete_file = file_co_delete,
};
